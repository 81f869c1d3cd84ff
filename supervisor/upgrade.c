/*
 * upgrade - clusterd replaces itself by the program at the path it was started by.
 *
 * GLUE. Same pid, same sockets, same workers: execve(2) keeps the fds, a sealed
 * memfd carries the rest (state.h). First the new program is run as a child that
 * only reads the state (trial); unless it says yes within TRIAL_MS nothing happens.
 * Exit status 0 alone is no yes, for any program may have that: a clusterd that
 * understands the state has wound back the memfd, whose position the two share.
 * Should execve itself fail, it returns and clusterd goes on as before.
 *
 * Between the two programs no signal is lost: all are blocked, stay so over
 * execve, and are unblocked when the new one listens to them. A worker that dies
 * meanwhile makes its pidfd readable, which the new one sees at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/signals.h"
#include "supervisor/control.h"
#include "supervisor/metrics.h"
#include "supervisor/os/clock.h"
#include "supervisor/os/closer.h"
#include "supervisor/os/notifysock.h"
#include "supervisor/os/populate.h"
#include "supervisor/os/scope.h"
#include "supervisor/probe.h"
#include "supervisor/state.h"

#define OTHER_PROGRAM "%s was changed while it was tried"

enum { TRIAL_MS = 10000, STATE_MAX = 512 * 1024 * 1024, TRIAL_FD = 3 };

struct trial {
	struct supervisor *s;
	uv_poll_t poll;
	uv_timer_t timer;
	unsigned handles;
	pid_t pid;
	int pidfd;
	int state_fd;
	struct stat program; /* what was tried */
	bool hung;           /* for TRIAL_MS, and was killed for it */
};

static void on_trial_closed(uv_handle_t *handle)
{
	struct trial *trial = handle->data;

	if (--trial->handles > 0)
		return;
	fd_close(&trial->pidfd);
	fd_close(&trial->state_fd);
	free(trial);
}

static void trial_close(struct trial *trial)
{
	trial->s->trial = NULL;
	log_rest(&trial->s->log, false);
	uv_close((uv_handle_t *)&trial->poll, on_trial_closed);
	uv_close((uv_handle_t *)&trial->timer, on_trial_closed);
}

/* The end of the path, so that the reason behind it finds room. */
static const char *shown(const struct supervisor *s)
{
	size_t length = strlen(s->self);

	return length > PROBLEM_PATH_MAX ? s->self + length - PROBLEM_PATH_MAX : s->self;
}

static void refuse(struct supervisor *s, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void refuse(struct supervisor *s, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(s->upgrade_problem, sizeof s->upgrade_problem, format, list);
	va_end(list);
	LOG_AT(&s->log, LOG_UPGRADE, LOG_LEVEL_ERROR, F_TEXT("result", "refused, this clusterd goes on"),
	       F_TEXT("detail", s->upgrade_problem));
	control_upgrade_failed(s->control, s->upgrade_problem);
}

/* ---- the state ---- */

static int state_fd(struct supervisor *s, int *ret)
{
	scoped_fd fd = memfd_create("clusterd-state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	uint8_t *bytes;
	size_t size, done = 0;
	int rc = fd < 0 ? -errno : state_save(s, &bytes, &size);

	if (rc < 0)
		return rc;
	while (rc == 0 && done < size) {
		ssize_t n = write(fd, bytes + done, size - done);

		if (n < 0)
			rc = -errno;
		else
			done += (size_t)n;
	}
	free(bytes);
	if (rc < 0)
		return rc;
	fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
	*ret = fd_take(&fd);
	return 0;
}

/* The environment with UPGRADE_ENV=`how` in it: heap memory, the strings are not. */
static char **environ_with(char *how)
{
	size_t count = 0, kept = 0;
	char **list;

	while (environ[count])
		count++;
	list = calloc(count + 2, sizeof *list);
	if (!list)
		return NULL;
	for (size_t i = 0; i < count; i++)
		if (strncmp(environ[i], UPGRADE_ENV "=", sizeof UPGRADE_ENV) != 0)
			list[kept++] = environ[i];
	list[kept] = how;
	return list;
}

/* ---- the step over ---- */

static void survive(int fd, void *context)
{
	const bool *yes = context;

	if (fd >= 0)
		fcntl(fd, F_SETFD, *yes ? 0 : FD_CLOEXEC);
}

/* Whoever deploys twice in a hurry: what stands there now nobody has tried. One that is gone execve(2) tells. */
static bool changed(const struct supervisor *s, const struct stat *program)
{
	struct stat now;

	return stat(s->self, &now) == 0 &&
	       (now.st_dev != program->st_dev || now.st_ino != program->st_ino ||
	        now.st_size != program->st_size || now.st_mtim.tv_sec != program->st_mtim.tv_sec ||
	        now.st_mtim.tv_nsec != program->st_mtim.tv_nsec);
}

static void step_over(struct supervisor *s, const struct stat *program)
{
	char how[64];
	char **list;
	sigset_t all, before;
	bool yes = true, no = false, other = false;
	int fd = -1, rc;

	s->upgrade_us = clock_us();
	control_reconnect(s->control);
	/* execve(2) would wait for what somebody has put into it. */
	notifysock_close(&s->spare_fd);
	probes_interrupt(s);
	log_flush(&s->log, 100);
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	rc = state_fd(s, &fd);
	snprintf(how, sizeof how, UPGRADE_ENV "=take:%d", fd);
	list = environ_with(how);
	if (rc == 0 && list) {
		state_each_fd(s, survive, &yes);
		survive(fd, &yes);
		closer_leave();
		other = changed(s, program);
		if (!other)
			execve(s->self, s->options->argv, list);
		rc = -errno;
		state_each_fd(s, survive, &no);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	free(list);
	fd_close(&fd);
	if (other)
		refuse(s, OTHER_PROGRAM, shown(s));
	else
		refuse(s, "exec %s: %s", shown(s), strerror(rc < 0 ? -rc : ENOMEM));
}

/* ---- the trial ---- */

void upgrade_agree(int fd)
{
	lseek(fd, 0, SEEK_SET);
}

static bool agreed(const struct trial *trial)
{
	return lseek(trial->state_fd, 0, SEEK_CUR) == 0;
}

/* What it has started too: it may be a script around clusterd. */
static void kill_trial(pid_t pid, int pidfd)
{
	reap_signal_group(pid, SIGKILL);
	reap_signal(pidfd, SIGKILL);
}

static void on_trial_end(uv_poll_t *poll, int status, int events)
{
	struct trial *trial = poll->data;
	struct supervisor *s = trial->s;
	char signal[SIGNAL_TEXT_MAX];
	struct reaped reaped;
	struct stat program;
	bool hung, yes;
	int rc;

	(void)events;
	rc = status < 0 ? status : reap(trial->pidfd, &reaped);
	if (rc == 0)
		return;
	hung = trial->hung;
	yes = agreed(trial);
	program = trial->program;
	trial_close(trial);
	if (rc < 0)
		refuse(s, "the trial run of %s got lost: %s", shown(s), strerror(-rc));
	else if (reaped.signal && hung)
		refuse(s, "the trial run of %s hung for %ds and was killed", shown(s),
		       TRIAL_MS / 1000);
	else if (reaped.signal)
		refuse(s, "the trial run of %s was ended by %s", shown(s),
		       signal_name(reaped.signal, signal));
	else if (reaped.code)
		refuse(s, "the trial run of %s failed with exit status %d", shown(s), reaped.code);
	else if (!yes)
		refuse(s, "the trial run of %s ended well without a word about the state: it is no clusterd, or an older one",
		       shown(s));
	else if (s->stopping)
		refuse(s, "the cluster is stopping");
	else if (changed(s, &program))
		refuse(s, OTHER_PROGRAM, shown(s));
	else
		step_over(s, &program);
}

static void on_trial_timeout(uv_timer_t *timer)
{
	struct trial *trial = timer->data;

	sup_note(trial->s, LOG_LEVEL_ERROR, "upgrade: the trial run hangs; it is killed");
	trial->hung = true;
	kill_trial(trial->pid, trial->pidfd);
}

static int run_trial(struct supervisor *s, int fd, struct spawned *ret, const char **failed)
{
	char how[64];
	char **list;
	struct spawn_fd fds[] = {
		{ SPAWN_NULL, STDIN_FILENO },
		{ STDOUT_FILENO, STDOUT_FILENO },
		{ STDERR_FILENO, STDERR_FILENO },
		{ fd, TRIAL_FD },
	};
	struct spawn_plan plan = {
		.path = s->self,
		.argv = s->options->argv,
		.fds = fds,
		.fd_count = 4,
		.death_signal = SIGKILL,
		.process_group = true,
	};
	int rc;

	snprintf(how, sizeof how, UPGRADE_ENV "=check:%d", TRIAL_FD);
	list = environ_with(how);
	*failed = "memory";
	if (!list)
		return -ENOMEM;
	plan.envp = list;
	rc = spawn(&plan, ret, failed);
	free(list);
	return rc;
}

/* Takes the fd of the state over, on success. */
static int watch_trial(struct supervisor *s, const struct spawned *spawned, const struct stat *program,
                       int state_fd)
{
	struct trial *trial = calloc(1, sizeof *trial);

	if (!trial)
		return -ENOMEM;
	*trial = (struct trial){ .s = s, .pid = spawned->pid, .pidfd = spawned->pidfd,
	                          .state_fd = -1, .program = *program, .handles = 2 };
	trial->poll.data = trial->timer.data = trial;
	uv_timer_init(&s->loop, &trial->timer);
	if (uv_poll_init(&s->loop, &trial->poll, spawned->pidfd) < 0) {
		trial->handles = 1;
		trial->pidfd = -1;
		uv_close((uv_handle_t *)&trial->timer, on_trial_closed);
		return -ENOMEM;
	}
	uv_timer_start(&trial->timer, on_trial_timeout, TRIAL_MS, 0);
	uv_poll_start(&trial->poll, UV_READABLE, on_trial_end);
	trial->state_fd = state_fd;
	s->trial = trial;
	return 0;
}

static int begin(struct supervisor *s, const char **failed)
{
	struct spawned spawned;
	struct reaped reaped;
	struct stat program = { 0 };
	scoped_fd fd = -1;
	int rc;

	*failed = "an upgrade is under way";
	if (s->trial)
		return -1;
	*failed = "the cluster is stopping";
	if (s->stopping)
		return -1;
	rc = state_fd(s, &fd);
	if (rc < 0) {
		snprintf(s->upgrade_problem, sizeof s->upgrade_problem, "the state can not be written: %s",
		         strerror(-rc));
		*failed = s->upgrade_problem;
		return -1;
	}
	stat(s->self, &program);
	rc = run_trial(s, fd, &spawned, failed);
	if (rc < 0) {
		snprintf(s->upgrade_problem, sizeof s->upgrade_problem, "trial run of %.*s: %s: %s",
		         PROBLEM_PATH_MAX, shown(s), *failed, strerror(-rc));
		*failed = s->upgrade_problem;
		return -1;
	}
	*failed = "no memory for the trial run";
	s->upgrade_problem[0] = '\0';
	if (watch_trial(s, &spawned, &program, fd) == 0) {
		log_rest(&s->log, true);
		fd_take(&fd);
		return 0;
	}
	kill_trial(spawned.pid, spawned.pidfd);
	reap_wait(spawned.pidfd, KILLED_MS, &reaped);
	close(spawned.pidfd);
	return -1;
}

int sup_upgrade(struct supervisor *s, const char **failed)
{
	int rc = begin(s, failed);

	if (rc < 0)
		sup_note(s, LOG_LEVEL_ERROR, "upgrade: %s; this clusterd goes on", *failed);
	return rc;
}

void upgrade_stop(struct supervisor *s)
{
	struct reaped reaped;

	if (!s->trial)
		return;
	kill_trial(s->trial->pid, s->trial->pidfd);
	reap_wait(s->trial->pidfd, KILLED_MS, &reaped);
	trial_close(s->trial);
}

pid_t upgrade_trial(const struct supervisor *s)
{
	return s->trial ? s->trial->pid : -1;
}

/* ---- the other side ---- */

static int read_state(int fd, uint8_t **ret, size_t *ret_size)
{
	struct stat info;
	uint8_t *bytes;

	if (fstat(fd, &info) < 0 || info.st_size <= 0 || info.st_size > STATE_MAX)
		return -EINVAL;
	bytes = malloc((size_t)info.st_size);
	populate(bytes, (size_t)info.st_size);
	if (!bytes || pread(fd, bytes, (size_t)info.st_size, 0) != info.st_size) {
		free(bytes);
		return -EIO;
	}
	*ret = bytes;
	*ret_size = (size_t)info.st_size;
	return 0;
}

int upgrade_load(struct supervisor *s, int fd, const char **problem)
{
	uint8_t *bytes;
	size_t size;
	int rc = read_state(fd, &bytes, &size);

	*problem = "the state can not be read";
	if (rc < 0)
		return rc;
	rc = state_load(s, bytes, size, problem);
	free(bytes);
	return rc;
}
