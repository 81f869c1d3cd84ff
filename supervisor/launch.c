/*
 * launch - from a policy to a running program.
 *
 * GLUE. What can be looked up once a generation is looked up in launch_create():
 * the program, the user, the limits. What differs from worker to worker is put
 * together in launch_spawn().
 */
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor/adoption.h"
#include "supervisor/control.h"
#include "supervisor/core/envp.h"
#include "supervisor/core/proto.h"
#include "supervisor/os/adopt.h"
#include "supervisor/os/cpus.h"
#include "supervisor/os/notifysock.h"
#include "supervisor/os/scope.h"

enum {
	SCRATCH_FIRST = 16384,
	CPU_SET_BYTES = CPUS_MAX / 8,
};

/* ---- once a generation ---- */

/* As execve(2) would answer: it runs no folder, which access(2) allows. */
static int may_run(const char *path)
{
	struct stat info;

	if (access(path, X_OK) < 0 || stat(path, &info) < 0)
		return -errno;
	return S_ISREG(info.st_mode) ? 0 : -EACCES;
}

/* The program is executed in its directory, so a relative path begins there. */
void launch_file(const struct policy *policy, const char *path, char *ret, size_t size)
{
	bool whole = path[0] == '/' || !policy->cluster_directory[0];

	snprintf(ret, size, "%s%s%s", whole ? "" : policy->cluster_directory, whole ? "" : "/", path);
}

static int find_program(const struct policy *policy, char *path, char *problem, size_t size)
{
	const char *program = policy->cluster_command.text;
	char where[PATH_MAX], reason[256];
	int rc = spawn_resolve(program, getenv("PATH"), path, PATH_MAX);

	if (rc < 0) {
		snprintf(problem, size, "program %s: %s", program,
		         rc == -ENOENT ? "not found in PATH" : strerror(-rc));
		return rc;
	}
	launch_file(policy, path, where, sizeof where);
	rc = may_run(where);
	if (rc == 0)
		return 0;
	spawn_explain(where, -rc, reason, sizeof reason);
	snprintf(problem, size, "program %s: %s", where, reason);
	return rc == -ENOTDIR ? -ENOENT : rc;
}

static int find_group(const char *name, gid_t *ret)
{
	const struct group *group = getgrnam(name);
	uint32_t number = group ? group->gr_gid : 0;

	/* 2^32 - 1 stands for "as it is" in setresgid(2) and chown(2). */
	if (!group && !proto_number(name, UINT32_MAX - 1, &number))
		return -EINVAL;
	*ret = number;
	return 0;
}

static int find_groups(struct spawn_identity *who, const struct passwd *user)
{
	int count = SPAWN_GROUPS_MAX;

	if (getgrouplist(user->pw_name, who->gid, who->groups, &count) < 0)
		return -E2BIG;
	who->group_count = (size_t)count;
	return 0;
}

static int find_identity(const struct policy *policy, struct spawn_identity *who, char *problem,
                         size_t size)
{
	const struct passwd *user = NULL;

	*who = (struct spawn_identity){ .uid = geteuid(), .gid = getegid() };
	if (!policy->cluster_user[0] && !policy->cluster_group[0])
		return 0;
	who->given = true;
	if (policy->cluster_user[0]) {
		user = getpwnam(policy->cluster_user);
		snprintf(problem, size, "cluster.user: there is no user %s", policy->cluster_user);
		if (!user)
			return -EINVAL;
		who->uid = user->pw_uid;
		who->gid = user->pw_gid;
	}
	snprintf(problem, size, "cluster.group: there is no group %s", policy->cluster_group);
	if (policy->cluster_group[0] && find_group(policy->cluster_group, &who->gid) < 0)
		return -EINVAL;
	snprintf(problem, size, "cluster.user: %s is in more than %d groups", policy->cluster_user,
	         SPAWN_GROUPS_MAX);
	if (user && find_groups(who, user) < 0)
		return -EINVAL;
	snprintf(problem, size, "cluster.user: only root may run workers as another user");
	return geteuid() != 0 && (who->uid != geteuid() || who->gid != getegid()) ? -EPERM : 0;
}

static void add_limit(struct launch *launch, int resource, const struct rlimit_pair *limit,
                      const char *step)
{
	if (limit->given)
		launch->limits[launch->limit_count++] = (struct spawn_limit){
			.resource = resource, .soft = limit->soft, .hard = limit->hard, .step = step
		};
}

/* clusterd's own raised limit is not for the workers: select(2) breaks above 1024. */
void launch_limits(const struct supervisor *s, struct launch *launch)
{
	const struct policy *p = &launch->policy;
	struct rlimit_pair nofile = p->limit_nofile;

	if (!nofile.given)
		nofile = (struct rlimit_pair){ true, s->nofile.rlim_cur, s->nofile.rlim_max };
	add_limit(launch, RLIMIT_NOFILE, &nofile, "setrlimit nofile");
	add_limit(launch, RLIMIT_CORE, &p->limit_core, "setrlimit core");
	add_limit(launch, RLIMIT_MEMLOCK, &p->limit_memlock, "setrlimit memlock");
	add_limit(launch, RLIMIT_AS, &p->limit_as, "setrlimit as");
	add_limit(launch, RLIMIT_NPROC, &p->limit_nproc, "setrlimit nproc");
	add_limit(launch, RLIMIT_STACK, &p->limit_stack, "setrlimit stack");
}

int launch_create(struct supervisor *s, const struct policy *policy, uint32_t generation,
                  struct launch **ret, char *problem, size_t size)
{
	struct launch *launch = calloc(1, sizeof *launch);
	int rc;

	snprintf(problem, size, "no memory");
	if (!launch)
		return -ENOMEM;
	launch->generation = generation;
	launch->policy = *policy;
	rc = find_program(policy, launch->path, problem, size);
	if (rc == 0)
		rc = find_identity(policy, &launch->identity, problem, size);
	launch_limits(s, launch);
	if (rc == 0)
		rc = launch_rehearse(launch, problem, size);
	if (rc < 0) {
		free(launch);
		return rc;
	}
	*ret = launch;
	return 0;
}

struct launch *launch_find(const struct supervisor *s, uint32_t generation)
{
	struct launch *launch = s->launches;

	while (launch && launch->generation != generation)
		launch = launch->next;
	return launch;
}

/* Forgets the generations that no slot can need any more. True if there were any. */
bool launch_prune(struct supervisor *s)
{
	struct launch **at = &s->launches;
	bool pruned = false;

	while (*at) {
		struct launch *launch = *at;

		if (pool_generation_used(s->pool, launch->generation)) {
			at = &launch->next;
			continue;
		}
		*at = launch->next;
		free(launch);
		pruned = true;
	}
	return pruned;
}

void launches_free(struct supervisor *s)
{
	while (s->launches) {
		struct launch *launch = s->launches;

		s->launches = launch->next;
		free(launch);
	}
	free(s->scratch);
}

/* ---- once a worker ---- */

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
			.name = sock->config.name, .fd = target - 1, .address = &sock->bound
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
		.inherited = policy->cluster_env_clear ? NULL : environ,
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
