/*
 * errand - from a launch to a running worker.
 *
 * GLUE. Puts together what differs from worker to worker: its sockets, pipes, arguments,
 * environment and CPU.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "supervisor/adoption.h"
#include "supervisor/control.h"
#include "supervisor/core/envp.h"
#include "supervisor/os/adopt.h"
#include "supervisor/os/cpus.h"
#include "supervisor/os/notifysock.h"
#include "supervisor/os/scope.h"

enum {
	SCRATCH_FIRST = 16384,
	CPU_SET_BYTES = CPUS_MAX / 8,
};

/* What one spawn holds until the child has its own. */
struct errand {
	struct worker *worker;
	const struct launch *launch;
	struct spawn_fd fds[SPAWN_FDS_MAX];
	size_t fd_count;
	struct envp_socket sockets[LISTENERS_MAX];
	size_t socket_count;
	const struct address *first; /* listener: PORT and %{port} */
	int adopt_fds[2]; /* ours, the child's; -1 unless it runs under the filter */
	char notify_name[NOTIFYSOCK_NAME_MAX];
	int output_fds[2];
	int ready_write;
	union {
		cpu_set_t set;
		char room[CPU_SET_BYTES];
	} cpus;
	struct envp env;
};

static void place(struct errand *e, int source, int target)
{
	e->fds[e->fd_count++] = (struct spawn_fd){ source, target };
}

static int place_sockets(struct errand *e, const char **failed)
{
	const struct policy *policy = &e->launch->policy;
	int target = FIRST_FD;

	for (uint32_t i = 0; i < policy->listener_count; i++) {
		struct sock *sock = sock_of(e->worker->s, &policy->listeners[i]);
		int fd = sock ? socket_fd(sock, e->worker->slot, e->worker->seat) : -1;

		*failed = "socket";
		if (fd < 0)
			return -EBADF;
		if (!e->first)
			e->first = &sock->home;
		/* The program of an adopting listener makes its own, and gets ours in its place. */
		if (sock->config.adopt)
			continue;
		if (sock->config.stdin)
			e->fds[0].source = fd;
		place(e, fd, target++);
		e->sockets[e->socket_count++] = (struct envp_socket){
			.name = policy->listeners[i].name, .fd = target - 1, .address = &sock->bound
		};
	}
	return 0;
}

static int open_output(struct errand *e, const char **failed)
{
	struct supervisor *s = e->worker->s;
	struct output_options options = {
		.log = &s->log,
		.slot = e->worker->slot,
		.overflow = s->policy.log_overflow,
		.tail = e->launch->policy.log_tail,
	};

	e->output_fds[0] = e->output_fds[1] = -1;
	if (e->launch->policy.log_output == OUTPUT_INHERIT)
		return 0;
	return output_open(&options, &e->worker->output, e->output_fds, failed);
}

static int open_ready(struct errand *e, const char **failed)
{
	int ends[2];

	e->ready_write = -1;
	if (e->launch->policy.ready_when.when != READY_FD)
		return 0;
	*failed = "pipe";
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	e->worker->ready_fd = ends[0];
	e->ready_write = ends[1];
	return 0;
}

/* 0, 1, 2, the sockets, READY_FD, and nothing else; ascending. */
static int gather_fds(struct errand *e, const char **failed)
{
	int rc = open_output(e, failed);

	if (rc == 0)
		rc = open_ready(e, failed);
	if (rc < 0)
		return rc;
	place(e, e->worker->s->null_fd, STDIN_FILENO);
	place(e, e->output_fds[0] < 0 ? STDOUT_FILENO : e->output_fds[0], STDOUT_FILENO);
	place(e, e->output_fds[1] < 0 ? STDERR_FILENO : e->output_fds[1], STDERR_FILENO);
	rc = place_sockets(e, failed);
	if (rc == 0 && e->ready_write >= 0)
		place(e, e->ready_write, FIRST_FD + (int)e->socket_count);
	return rc;
}

static int build_env(struct errand *e, const char **failed)
{
	struct supervisor *s = e->worker->s;
	const struct policy *policy = &e->launch->policy;
	struct envp_input in = {
		.inherited = e->launch->inherited,
		.inherited_count = e->launch->inherited_count,
		.env = policy->env,
		.env_count = policy->env_count,
		.command = &policy->cluster_command,
		.name = s->name,
		.slot = e->worker->slot,
		.workers = s->told_workers,
		.generation = e->launch->generation,
		.sockets = e->sockets,
		.socket_count = e->socket_count,
		.first = e->first,
		.styles = policy->cluster_activation,
		.notify_socket = e->notify_name,
		.watchdog_ms = policy->health_watchdog,
		.ready_fd = e->ready_write < 0 ? -1 : FIRST_FD + (int)e->socket_count,
		.master_pid = getpid(),
	};
	size_t need;

	if (control_path(s->control)[0])
		in.einhorn_socket = control_path(s->control);
	need = envp_build(&in, s->scratch, s->scratch_size, &e->env);

	*failed = "memory for the environment";
	if (need <= s->scratch_size)
		return 0;
	free(s->scratch);
	s->scratch_size = need > SCRATCH_FIRST ? 2 * need : SCRATCH_FIRST;
	s->scratch = malloc(s->scratch_size);
	if (!s->scratch) {
		s->scratch_size = 0;
		return -ENOMEM;
	}
	envp_build(&in, s->scratch, s->scratch_size, &e->env);
	return 0;
}

static void pin(struct errand *e, struct spawn_plan *plan)
{
	int cpu;

	if (e->launch->policy.cluster_cpu != CPU_PIN)
		return;
	cpu = cpus_number(e->worker->slot);
	if (cpu < 0 || cpu >= CPUS_MAX)
		return;
	memset(&e->cpus, 0, sizeof e->cpus);
	CPU_SET_S((size_t)cpu, sizeof e->cpus, &e->cpus.set);
	plan->cpus = &e->cpus.set;
	plan->cpus_size = sizeof e->cpus;
}

static int run_program(struct errand *e, struct adopt_hook *hook, struct spawned *ret,
                       const char **failed)
{
	const struct launch *launch = e->launch;
	const struct policy *policy = &launch->policy;
	struct spawn_plan plan = {
		.path = launch->path,
		.argv = e->env.argv,
		.envp = e->env.envp,
		.pid_text = { e->env.pid_text[0], e->env.pid_text[1] },
		.fds = e->fds,
		.fd_count = e->fd_count,
		.signals = e->worker->s->signals,
		.process_group = true,
		.no_new_privs = policy->cluster_no_new_privs,
		.clear_ambient = launch->identity.given,
		.death_signal = policy->supervisor_on_death == ON_DEATH_STOP ? SIGKILL : 0,
		.directory = policy->cluster_directory[0] ? policy->cluster_directory : NULL,
		.has_umask = policy->cluster_umask.given,
		.umask = (mode_t)policy->cluster_umask.value,
		.has_nice = policy->cluster_nice.given,
		.nice = policy->cluster_nice.value,
		.limits = launch->limits,
		.limit_count = launch->limit_count,
		.identity = launch->identity,
		.hook = hook ? adopt_spawn_hook : NULL,
		.hook_context = hook,
	};

	pin(e, &plan);
	return spawn(&plan, ret, failed);
}

/*
 * Under the filter if the policy adopts. As root it works without no_new_privs, so
 * setuid programs go on working; a container may deny that, which is found out once.
 */
static int run_filtered(struct errand *e, struct spawned *ret, const char **failed)
{
	struct supervisor *s = e->worker->s;
	struct adopt_hook hook = {
		.filter.keep_setuid = s->adopt_keeps_setuid && !e->launch->policy.cluster_no_new_privs,
		.filter.unix_too = policy_adopts_path(&e->launch->policy),
	};
	int rc;

	if (!policy_adopts(&e->launch->policy))
		return run_program(e, NULL, ret, failed);
	*failed = "socketpair";
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, e->adopt_fds) < 0)
		return -errno;
	hook.socket = e->adopt_fds[1];
	rc = run_program(e, &hook, ret, failed);
	if (rc == -EACCES && hook.filter.keep_setuid && strncmp(*failed, "seccomp", 7) == 0) {
		s->adopt_keeps_setuid = hook.filter.keep_setuid = false;
		rc = run_program(e, &hook, ret, failed);
	}
	return rc;
}

static int begin_adoption(struct errand *e, const char **failed)
{
	int fd;

	if (e->adopt_fds[0] < 0)
		return 0;
	fd = adopt_recv_fd(e->adopt_fds[0], failed);
	if (fd < 0)
		return fd;
	*failed = "adopt";
	return adoption_begin(e->worker->s, e->worker, fd);
}

static void errand_end(struct errand *e)
{
	fd_close(&e->output_fds[0]);
	fd_close(&e->output_fds[1]);
	fd_close(&e->adopt_fds[0]);
	fd_close(&e->adopt_fds[1]);
	fd_close(&e->ready_write);
}

static int open_notify(struct errand *e, const char **failed)
{
	struct supervisor *s = e->worker->s;

	if (s->spare_fd < 0)
		return notifysock_open(e->notify_name, &e->worker->notify_fd, failed);
	memcpy(e->notify_name, s->spare_name, sizeof e->notify_name);
	e->worker->notify_fd = s->spare_fd;
	s->spare_fd = -1;
	return 0;
}

int launch_spawn(struct worker *worker, const struct launch *launch, struct spawned *ret,
                 const char **failed)
{
	static struct errand errand; /* too big for the stack; one spawn at a time */
	struct errand *e = &errand;
	int rc;

	memset(e, 0, sizeof *e);
	e->worker = worker;
	e->launch = launch;
	e->output_fds[0] = e->output_fds[1] = e->ready_write = -1;
	e->adopt_fds[0] = e->adopt_fds[1] = -1;
	rc = open_notify(e, failed);
	if (rc == 0)
		rc = gather_fds(e, failed);
	if (rc == 0)
		rc = build_env(e, failed);
	if (rc == 0)
		rc = run_filtered(e, ret, failed);
	if (rc == 0) {
		worker->pid = ret->pid;
		worker->pidfd = ret->pidfd;
		rc = begin_adoption(e, failed);
	}
	errand_end(e);
	return rc;
}
