/*
 * start - everything that must work once, in the order in which it can fail.
 *
 * GLUE. Each step logs its own error and names the exit status (clusterd(8), EXIT STATUS).
 * Nothing is started before all of it has succeeded.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "config/files.h"
#include "supervisor/adoption.h"
#include "supervisor/control.h"
#include "supervisor/internal.h"
#include "supervisor/metrics.h"
#include "supervisor/orphans.h"
#include "supervisor/os/cgroup.h"
#include "supervisor/os/cpus.h"
#include "supervisor/os/filelimit.h"
#include "supervisor/os/scope.h"
#include "supervisor/probe.h"
#include "supervisor/state.h"

/* The workers themselves get the former limit back. A worker for which it is too low tells so. */
static void raise_file_limit(struct supervisor *s, uint32_t workers)
{
	if (getrlimit(RLIMIT_NOFILE, &s->nofile) == 0)
		filelimit_raise(policy_files(&s->policy, workers));
}

uint32_t workers_wanted(const struct policy *policy)
{
	struct cpus cpus;

	if (policy->cluster_workers > 0)
		return policy->cluster_workers;
	return cpus_usable("", &cpus) < 0 ? 1 : cpus.usable;
}

/* Of a socket or a file that could not be had. */
static int status_of(int rc, int otherwise)
{
	return rc == -EACCES || rc == -EPERM ? STATUS_NOT_PERMITTED : otherwise;
}

static int start_log(struct supervisor *s)
{
	const struct policy *p = &s->policy;
	int rc = log_open(&s->log, &s->loop, s->name, p->log_format, p->log_level, p->log_file);

	if (rc == 0)
		return 0;
	log_early("clusterd: log.file %s: %s", p->log_file, log_error(rc));
	return status_of(rc, STATUS_SYSTEM);
}

static int start_inherited(struct supervisor *s)
{
	const char *failed = "";
	int rc = inherit_take(getenv("LISTEN_PID"), getenv("LISTEN_FDS"), getenv("LISTEN_FDNAMES"),
	                      s->inherited, &failed);

	/* What the service manager told us is not meant for the workers. */
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	if (rc < 0) {
		sup_note(s, LOG_LEVEL_ERROR, "inherited sockets: %s: %s", failed, strerror(-rc));
		return STATUS_SOCKET;
	}
	s->inherited_count = rc;
	return 0;
}

static int start_pidfile(struct supervisor *s)
{
	const char *path = s->policy.supervisor_pid_file, *failed = "";
	pid_t owner = 0;
	int rc;

	if (!path[0])
		return 0;
	rc = pidfile_open(path, &s->pidfile, &owner, &failed);
	if (rc == 0)
		return 0;
	if (rc == -EWOULDBLOCK)
		sup_note(s, LOG_LEVEL_ERROR, "pid file %s: held by process %d, which is running",
		         path, (int)owner);
	else
		sup_note(s, LOG_LEVEL_ERROR, "pid file %s: %s: %s", path, failed, pidfile_reason(rc));
	return rc == -EWOULDBLOCK ? STATUS_SOCKET : status_of(rc, STATUS_SYSTEM);
}

/* The generation that is found among the orphans comes before the first of ours. */
static int start_program(struct supervisor *s)
{
	struct launch *launch;
	char problem[512];
	int rc;

	orphans_find(s);
	rc = launch_create(s, &s->policy, s->generation, &launch, problem, sizeof problem);
	if (rc == 0) {
		s->launches = launch;
		return 0;
	}
	sup_note(s, LOG_LEVEL_ERROR, "%s", problem);
	switch (-rc) {
	case ENOENT: return STATUS_NOT_FOUND;
	case EPERM: return STATUS_NOT_PERMITTED;
	case EINVAL: return STATUS_POLICY;
	case ENOMEM: return STATUS_SYSTEM;
	default: return STATUS_NOT_EXECUTABLE;
	}
}

static void on_log_line(void *context, enum log_id id, int64_t slot, const char *json, size_t size)
{
	struct supervisor *s = context;

	(void)id;
	(void)slot;
	control_log_line(s->control, json, size);
}

static void on_output_line(void *context, uint32_t slot, bool error, const char *text, size_t size)
{
	struct supervisor *s = context;

	control_output_line(s->control, slot, error, text, size);
}

static int start_control(struct supervisor *s)
{
	char problem[CONTROL_PROBLEM_MAX];
	int rc = control_start(s, &s->policy, s->name, s->carried_control, &s->control, problem);

	if (rc < 0) {
		sup_note(s, LOG_LEVEL_ERROR, "control socket: %s", problem);
		return status_of(rc, STATUS_SOCKET);
	}
	s->tap = (struct log_tap){ .line = on_log_line, .output = on_output_line, .context = s };
	if (s->control)
		log_tap_add(&s->log, &s->tap);
	rc = metrics_start(s, &s->policy, s->carried_metrics, &s->metrics, problem);
	metrics_resume(s->metrics, s->carried_counts.bytes, s->carried_counts.size);
	state_forget_counts(s);
	if (rc < 0) {
		sup_note(s, LOG_LEVEL_ERROR, "metrics: %s", problem);
		return status_of(rc, STATUS_SOCKET);
	}
	return 0;
}

static int start_probes(struct supervisor *s)
{
	char problem[256];

	if (probe_possible(s, &s->policy, problem, sizeof problem))
		return 0;
	sup_note(s, LOG_LEVEL_ERROR, "%s", problem);
	return STATUS_POLICY;
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool is_one_of(const char *const *names, const char *name)
{
	while (*names && strcmp(*names, name) != 0)
		names++;
	return *names != NULL;
}

/* The beginning of a file, "" if it can not be read or is none. */
static void read_head(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t length = fd < 0 ? -1 : read(fd, text, size - 1);

	text[length > 0 ? length : 0] = '\0';
	if (fd >= 0)
		close(fd);
}

/* "#!/bin/sh", "#!/usr/bin/env bash" */
static bool is_shell_script(const char *text)
{
	static const char *const shells[] = { "sh", "bash", "dash", NULL };
	char line[128], *rest, *word;

	if (strncmp(text, "#!", 2) != 0)
		return false;
	snprintf(line, sizeof line, "%.*s", (int)strcspn(text + 2, "\n"), text + 2);
	word = strtok_r(line, " \t", &rest);
	if (word && strcmp(last_part(word), "env") == 0)
		word = strtok_r(NULL, " \t", &rest);
	return word && is_one_of(shells, last_part(word));
}

/* The script of `sh -e SCRIPT`, or "". */
static const char *first_operand(const struct words *command)
{
	const char *word = command->text;

	for (uint16_t i = 1; i < command->count; i++) {
		word += strlen(word) + 1;
		if (word[0] != '-')
			return word;
	}
	return "";
}

/* Whether what it starts becomes another program as far as its words, or its script, can tell. */
static bool is_wrapper(const struct supervisor *s, const char *program)
{
	static const char *const wrappers[] = { "sh", "bash", "dash", "npm", "npx", "pnpm", "yarn", "bundle", NULL };
	const struct words *command = &s->policy.cluster_command;
	const char *word = command->text;
	static char script[65536];

	for (uint16_t i = 0; i < command->count; i++, word += strlen(word) + 1)
		if (strstr(word, "exec "))
			return false;
	script[0] = '\0';
	if (!is_one_of(wrappers, program)) {
		read_head(s->launches->path, script, sizeof script);
		if (!is_shell_script(script))
			return false;
	} else {
		read_head(first_operand(command), script, sizeof script);
	}
	return !strstr(script, "exec ");
}

/*
 * LISTEN_PID names the process we start. A shell or a package runner that starts the
 * program as its child instead of becoming it makes the program ignore its sockets, silently.
 */
static void name_wrapper(struct supervisor *s)
{
	const struct policy *policy = &s->policy;
	const char *program = last_part(policy->cluster_command.text);

	if (policy->listener_count == 0 || policy_adopts(policy) ||
	    !(policy->cluster_activation & STYLE_SYSTEMD) || !is_wrapper(s, program))
		return;
	sup_note(s, LOG_LEVEL_INFO,
		         "%s: a program that it starts as a child has another pid than LISTEN_PID says, and ignores "
		         "its sockets: write `exec PROGRAM` or `clusterd-exec PROGRAM`", program);
}

/* Without this a socket of the service manager waits for ever, beside the one that is served. */
static void name_unused(struct supervisor *s)
{
	for (int i = 0; i < s->inherited_count; i++)
		if (s->inherited[i].fd >= 0)
			sup_note(s, LOG_LEVEL_WARN, "no listener uses the socket that was passed as fd %d%s%s: "
			         "-l inherit:%d does", s->inherited[i].number, s->inherited[i].name[0] ? ", " : "",
			         s->inherited[i].name, s->inherited[i].number);
}

static int start_pool(struct supervisor *s, uint32_t workers)
{
	if (sup_pool_grow(s, workers) == 0)
		return 0;
	sup_note(s, LOG_LEVEL_ERROR, "no memory for %u workers", workers);
	return STATUS_SYSTEM;
}

/* What every start of a worker needs, so that none has to look for it. */
static void prepare_spawns(struct supervisor *s)
{
	s->signals = spawn_signals();
	s->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
}

static int start_loop(struct supervisor *s)
{
	int rc = sockets_watch(s);

	prepare_spawns(s);
	if (rc == 0)
		rc = monitor_start(s);
	if (rc == 0)
		rc = watch_start(s);
	if (rc == 0)
		return 0;
	sup_note(s, LOG_LEVEL_ERROR, "event loop: %s", uv_strerror(rc));
	return STATUS_SYSTEM;
}

static void open_oom_counter(struct supervisor *s)
{
	int fd = cgroup_oom_open("", 0);

	s->oom_fd = fd < 0 ? -1 : fd;
}

/* To find it reads all mounts. It can be read no more when its cgroup was removed. */
static void resume_oom_counter(struct supervisor *s)
{
	uint64_t count;

	if (s->oom_fd >= 0 && cgroup_oom_read(s->oom_fd, &count) == 0)
		return;
	fd_close(&s->oom_fd);
	open_oom_counter(s);
}

int start_all(struct supervisor *s)
{
	uint32_t workers = workers_wanted(&s->policy);
	int status;

	raise_file_limit(s, workers);
	s->adopt_keeps_setuid = geteuid() == 0;
	open_oom_counter(s);
	if (s->oom_fd < 0 || cgroup_oom_read(s->oom_fd, &s->oom_kills) < 0)
		s->oom_kills = UINT64_MAX;
	status = start_log(s);
	if (status == 0)
		status = start_inherited(s);
	systemd_start(s);
	if (status == 0)
		status = start_pidfile(s);
	if (status == 0)
		status = start_program(s);
	if (status == 0)
		status = sockets_open(s, workers);
	if (status == 0)
		status = start_probes(s);
	if (status == 0)
		status = start_control(s);
	if (status == 0)
		status = start_pool(s, workers);
	if (status == 0)
		status = start_loop(s);
	if (status != 0)
		return status;
	sup_begun(s, workers);
	name_wrapper(s);
	name_unused(s);
	orphans_begin(s);
	sup_feed(s, &(struct event){ .what = EV_START, .count = workers });
	return 0;
}

/* A log that can not be opened is no reason to end what has served so far: standard error it is. */
static int resume_log(struct supervisor *s)
{
	int status = start_log(s);

	log_started(&s->log);
	if (s->log.open)
		log_import(&s->log, &s->carried_log);
	state_forget_log(s);
	return s->log.open ? 0 : status;
}

int start_load(struct supervisor *s)
{
	const char *problem = "";

	if (s->options->state_fd < 0)
		return 0;
	if (upgrade_load(s, s->options->state_fd, &problem) < 0) {
		log_early("clusterd: upgrade: %s", problem);
		return STATUS_BUG;
	}
	close(s->options->state_fd);
	return 0;
}

/* The other side of an upgrade: nothing is opened that the state has brought. */
int start_upgraded(struct supervisor *s)
{
	const char *problem = "";
	int status;

	resume_oom_counter(s);
	s->adopt_keeps_setuid = geteuid() == 0;
	status = resume_log(s);
	if (status == 0 && state_take_over(s, &problem) < 0) {
		sup_note(s, LOG_LEVEL_ERROR, "upgrade: %s", problem);
		status = STATUS_BUG;
	}
	if (status == 0)
		status = start_control(s);
	if (status == 0)
		status = start_loop(s);
	if (status != 0)
		return status;
	systemd_resume(s);
	strangers_soon(s);
	notice_prepare(s);
	sup_upgraded(s);
	orphans_resume(s);
	sup_settle(s);
	return 0;
}
