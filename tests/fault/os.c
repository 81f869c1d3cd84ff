/*
 * The cases for supervisor/os: `fault_os CASE`, or all without an argument.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/os/cgroup.h"
#include "supervisor/os/cpus.h"
#include "supervisor/os/filelimit.h"
#include "supervisor/os/holder.h"
#include "supervisor/os/inherit.h"
#include "supervisor/os/listen.h"
#include "supervisor/os/logsink.h"
#include "supervisor/os/notifysock.h"
#include "supervisor/os/pidfile.h"
#include "supervisor/os/pollset.h"
#include "supervisor/os/proc.h"
#include "supervisor/os/reap.h"
#include "supervisor/os/sdnotify.h"
#include "supervisor/os/spawn.h"
#include "supervisor/os/unixdiag.h"
#include "tests/fault/fault.h"

enum { DEADLINE_MS = 10000 };

static char folder[] = "/tmp/clusterd-fault-XXXXXX";
static char path[64];

/* ---- spawn and reap ---- */

/* Ends the worker whatever happens: a fault in reap() must not leave a zombie. */
static int finish_worker(struct spawned *child, const char **failed)
{
	struct pollfd watch = { .fd = child->pidfd, .events = POLLIN };
	struct reaped end;
	int answer;

	if (poll(&watch, 1, DEADLINE_MS) != 1)
		return -ETIMEDOUT;
	*failed = "reap";
	answer = reap(child->pidfd, &end);
	close(child->pidfd);
	return answer < 0 ? answer : end.code == 0 && end.signal == 0 ? 0 : -EPROTO;
}

static int spawn_everything(const char **failed)
{
	static const struct spawn_fd fds[] = { { SPAWN_NULL, 0 }, { 1, 1 }, { 2, 2 }, { 2, 5 } };
	static const struct spawn_limit limits[] = { { RLIMIT_CORE, 0, 0, "setrlimit core" } };
	char pid[SPAWN_PID_SIZE];
	char *argv[] = { "true", NULL }, *envp[] = { NULL };
	cpu_set_t cpus;
	struct spawned child;
	struct spawn_plan plan = {
		.path = "/bin/true",
		.argv = argv,
		.envp = envp,
		.pid_text = { pid },
		.fds = fds,
		.fd_count = sizeof fds / sizeof *fds,
		.process_group = true,
		.no_new_privs = true,
		.clear_ambient = true,
		.death_signal = 9,
		.directory = "/",
		.has_umask = true,
		.has_nice = true,
		.has_oom_score = true,
		.nice = 1,
		.oom_score = 1,
		.limits = limits,
		.limit_count = 1,
		.cpus = &cpus,
		.cpus_size = sizeof cpus,
	};
	int error;

	sched_getaffinity(0, sizeof cpus, &cpus);
	if (geteuid() == 0)
		plan.identity = (struct spawn_identity){ true, 65534, 65534, 1, { 65534 } };
	error = spawn(&plan, &child, failed);
	return error ? error : finish_worker(&child, failed);
}

static bool is_nobody(void *context, pid_t pid)
{
	return context && pid == 0;
}

static int strangers(const char **failed)
{
	pid_t orphan = fork(), blocked;
	int count;

	if (orphan == 0)
		_exit(0);
	waitid(P_PID, (id_t)orphan, &(siginfo_t){ 0 }, WEXITED | WNOWAIT);
	*failed = "reap_strangers";
	count = reap_strangers(&(struct reap_who){ .is_ours = is_nobody }, 8, &blocked);
	while (waitpid(-1, NULL, 0) > 0)
		;
	return count < 0 ? count : count == 1 ? 0 : -EPROTO;
}

static int resolve(const char **failed)
{
	char found[128];

	*failed = "spawn_resolve";
	return spawn_resolve("true", "/bin", found, sizeof found);
}

/* ---- sockets ---- */

static int open_and_close(const struct address *address, const char **failed)
{
	struct listen_spec spec = { .address = address,
				    .backlog = 8,
				    .mode = 0600,
				    .owner = geteuid(),
				    .group = getegid(),
				    .share_port = address->kind == ADDRESS_TCP };
	struct listening made;
	int error = listen_open(&spec, &made, failed);

	if (error)
		return error;
	close(made.fd);
	if (made.path[0])
		unlink(made.path);
	return 0;
}

static struct address tcp(void)
{
	struct address address = { .kind = ADDRESS_TCP, .any = true };
	struct sockaddr_in6 sin = { .sin6_family = AF_INET6 };

	memcpy(&address.sa, &sin, sizeof sin);
	address.size = sizeof sin;
	return address;
}

static struct address local(void)
{
	struct address address = { .kind = ADDRESS_UNIX };
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	memcpy(sun.sun_path, path, strlen(path));
	memcpy(&address.sa, &sun, sizeof sun);
	address.size = (uint16_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
	return address;
}

static int listen_tcp(const char **failed)
{
	struct address address = tcp();

	return open_and_close(&address, failed);
}

static int listen_path(const char **failed)
{
	struct address address = local();

	return open_and_close(&address, failed);
}

/* Over a left-over. Whatever fails, the path exists or is free, and nothing lies beside it. */
static int listen_stale(const char **failed)
{
	struct address address = local();
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int error = bind(fd, (const struct sockaddr *)&address.sa, address.size) < 0 ? -errno : 0;
	char beside[128];

	close(fd);
	if (!error)
		error = open_and_close(&address, failed);
	unlink(path);
	snprintf(beside, sizeof beside, "%s.%d", path, (int)getpid());
	if (access(beside, F_OK) == 0) {
		unlink(beside);
		*failed = "a file was left beside the path";
		return -ENOTEMPTY;
	}
	return error;
}

/* Everything that listen_keep() can have to do. */
static int put_back(int fd, const char **failed)
{
	struct timeval second = { .tv_sec = 1 };
	struct listen_keep keep;
	int small = 5000, error = listen_keep_init(fd, 8, true, &keep, failed);

	if (error)
		return error;
	fcntl(fd, F_SETFL, O_ASYNC);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &second, sizeof second);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
	error = listen_keep(fd, &keep, LISTEN_NONBLOCK, failed);
	return error < 0 ? error : 0;
}

static int unix_waits(const char **failed)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), error;
	uint32_t queue, limit;

	bind(fd, (const struct sockaddr *)&name, sizeof name.sun_family);
	listen(fd, 8);
	*failed = "unixdiag_queue";
	error = unixdiag_queue(fd, &queue, &limit);
	close(fd);
	return error;
}

static int attack_and_repair(const struct listening *made, const char **failed)
{
	uint32_t queue, limit, dropped;
	struct listening same;
	int down, error;

	*failed = "listen_is_down";
	down = listen_is_down(made->fd);
	if (down < 0)
		return down;
	shutdown(made->fd, SHUT_RDWR);
	error = listen_repair(made, 8, failed);
	if (!error)
		error = put_back(made->fd, failed);
	if (!error)
		error = listen_check_inherited(made->fd, &same, failed);
	if (error)
		return error;
	*failed = "listen_queue";
	error = listen_queue(made->fd, &queue, &limit);
	if (error)
		return error;
	*failed = "listen_dropped";
	error = listen_dropped(made->fd, &dropped);
	return error ? error : unix_waits(failed);
}

static int watch(const char **failed)
{
	struct address address = tcp();
	struct listen_spec spec = { .address = &address, .backlog = 8 };
	struct listening made;
	int error = listen_open(&spec, &made, failed);

	if (error)
		return error;
	error = attack_and_repair(&made, failed);
	close(made.fd);
	return error;
}

static int inherit(const char **failed)
{
	struct inherited list[INHERIT_MAX];
	char pid[16];
	int count;

	dup2(0, 3);
	dup2(0, 4);
	snprintf(pid, sizeof pid, "%d", (int)getpid());
	count = inherit_take(pid, "2", "a:b", list, failed);
	for (int i = 0; i < count; i++)
		close(list[i].fd);
	close(3);
	close(4);
	return count < 0 ? count : 0;
}

static int notify(const char **failed)
{
	static struct notifysock_message message;
	char name[NOTIFYSOCK_NAME_MAX];
	struct sdnotify sd = { .fd = -1 };
	int fd, error = notifysock_open(name, &fd, failed);

	if (error)
		return error;
	error = sdnotify_init(&sd, name, failed);
	if (!error) {
		*failed = "send";
		error = sdnotify_ready(&sd, "status");
		error = error < 0 ? error : 0;
	}
	if (!error) {
		*failed = "receive";
		error = notifysock_receive(fd, &message);
		error = error < 0 ? error : error == 1 ? 0 : -EPROTO;
	}
	sdnotify_finish(&sd);
	close(fd);
	return error;
}

/* ---- files ---- */

static int pid_file(const char **failed)
{
	struct pidfile file = { .fd = -1 };
	pid_t owner;
	int error = pidfile_open(path, &file, &owner, failed);

	pidfile_close(&file, path);
	unlink(path);
	return error;
}

static int log_file(const char **failed)
{
	int fd, error = logsink_open(path, &fd, failed);

	unlink(path);
	if (!error)
		close(fd);
	return error;
}

static int of_proc(const char **failed)
{
	struct proc_info info;

	*failed = "proc";
	return proc_read("/proc", getpid(), &info);
}

/* Who can not be looked at is not the holder. */
static int of_holder(const char **failed)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct address address = { .kind = ADDRESS_TCP, .port = 1, .size = sizeof sa };
	struct holder holder;
	ino_t inode;
	int error;

	*failed = "holder";
	memcpy(&address.sa, &sa, sizeof sa);
	error = holder_inode("/proc/self", &address, &inode);
	if (error != -ENOENT)
		return error;
	inode = 1;
	error = holder_find("/proc/self/task", &inode, 1, 0, 0, &holder); /* each thread looks like a process */
	return error == -ENOENT ? 0 : error;
}

/* No quota can be read: then there is none. Only the affinity must work. */
static int of_cpus(const char **failed)
{
	struct cpus cpus;
	int number;

	*failed = "cpus";
	number = cpus_number(0);
	return number < 0 ? number : cpus_usable("", &cpus);
}

static int file_limit(const char **failed)
{
	*failed = "filelimit";
	return filelimit_raise(1);
}

/* A set with the end of a pipe in it, on which something is to be read. */
static int poll_set(const char **failed)
{
	struct epoll_event event = { .data.ptr = NULL };
	int ends[2], set, rc;

	*failed = "pollset";
	set = pollset_open();
	if (set < 0)
		return set;
	rc = pipe(ends) < 0 ? -EPROTO : pollset_add(set, ends[0], path);
	if (rc == 0)
		rc = write(ends[1], "x", 1) == 1 ? pollset_look(set, &event, 1) : -EPROTO;
	if (rc >= 0)
		rc = rc == 1 && event.data.ptr == path ? pollset_drop(set, ends[0]) : -EPROTO;
	close(ends[0]);
	close(ends[1]);
	close(set);
	return rc;
}

static const struct fault_case cases[] = {
	{ "spawn", spawn_everything, 1 }, /* waitid is repeated after EINTR */
	{ "strangers", strangers, 0 },
	{ "resolve", resolve, 0 },
	{ "listen_tcp", listen_tcp, 0 },
	{ "listen_path", listen_path, 1 }, /* the lock is tried again */
	{ "listen_stale", listen_stale,
	  2 }, /* the same, and a refused probe is what it hopes for */
	{ "watch", watch, 0 },
	{ "inherit", inherit, 0 },
	{ "notify", notify, 2 },    /* EINTR of both directions */
	{ "pidfile", pid_file, 1 }, /* the lstat before the unlink */
	{ "logsink", log_file, 0 },
	{ "proc", of_proc, 0 },
	{ "filelimit", file_limit, 0 },
	{ "pollset", poll_set, 1 }, /* EINTR of the look */
	{ "holder", of_holder, 100 },
	{ "cpus", of_cpus, 100 },
};

int main(int argc, char **argv)
{
	int status;

	fault_begin(argv);
	if (!mkdtemp(folder))
		return 1;
	chmod(folder, 0755);
	snprintf(path, sizeof path, "%s/s", folder);
	status = fault_main(cases, sizeof cases / sizeof *cases, argc, argv);
	rmdir(folder);
	return status;
}
