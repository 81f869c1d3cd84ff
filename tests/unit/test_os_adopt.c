/* Real children under the filter; this process plays clusterd. */
#include "supervisor/os/adopt.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/os/adopt_unix.h"
#include "supervisor/os/spawn.h"
#include "tests/unit/suite.h"

enum { WAIT_MS = 20000, TURN_MS = 10 };

static const char *failed;
static uint16_t port = 1337; /* what the children bind */

struct worker {
	pid_t pid;
	int notify;
	bool ended;
	int status; /* once it has ended */
};

static const struct adopt_filter plain = { 0 };

static void enter(const struct adopt_filter *filter, int socket)
{
	struct adopt_hook hook = { .filter = *filter, .socket = socket };
	const char *step;

	if (adopt_spawn_hook(&hook, &step) < 0)
		_exit(99);
}

static struct worker collect(pid_t pid, int pair[2])
{
	struct worker w = { .pid = pid };

	ck_assert_int_gt(pid, 0);
	close(pair[1]);
	ck_assert_int_eq(poll(&(struct pollfd){ .fd = pair[0], .events = POLLIN }, 1, WAIT_MS), 1);
	w.notify = adopt_recv_fd(pair[0], &failed);
	ck_assert_msg(w.notify >= 0, "%s: %s", failed, strerror(-w.notify));
	ck_assert_int_eq(fcntl(w.notify, F_GETFD), FD_CLOEXEC);
	close(pair[0]);
	return w;
}

/* A child that runs a function and exits with what it returns. */
static struct worker start(const struct adopt_filter *filter, int (*run)(void))
{
	int pair[2];
	pid_t pid;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		enter(filter, pair[1]);
		_exit(run());
	}
	return collect(pid, pair);
}

/* A program, started as clusterd does: between vfork and execve there is our memory only. */
static struct worker start_program(char *const argv[])
{
	int quiet = open("/dev/null", O_RDWR | O_CLOEXEC);
	int pair[2];
	pid_t pid;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	pid = vfork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(quiet, 1);
		dup2(quiet, 2);
		enter(&plain, pair[1]);
		execvp(argv[0], argv);
		_exit(127);
	}
	close(quiet);
	return collect(pid, pair);
}

static void reap_if_ended(struct worker *w, int options)
{
	if (!w->ended)
		w->ended = waitpid(w->pid, &w->status, options) == w->pid;
}

static int exit_of(struct worker *w)
{
	reap_if_ended(w, 0);
	ck_assert(w->ended);
	close(w->notify);
	return WIFEXITED(w->status) ? WEXITSTATUS(w->status) : -WTERMSIG(w->status);
}

/*
 * Waits for the next request, or for the end of everything under the filter (-EPIPE). To Linux 6.1
 * a zombie is still under it.
 */
static int next(struct worker *w, struct adopt_request *r)
{
	struct pollfd wait = { .fd = w->notify, .events = POLLIN };
	int error;

	for (int turns = WAIT_MS / TURN_MS; turns > 0 && poll(&wait, 1, TURN_MS) == 0; turns--)
		reap_if_ended(w, WNOHANG);
	ck_assert_int_ne(wait.revents, 0);
	error = adopt_receive(w->notify, r, &failed);
	return error == 0 ? adopt_look(w->notify, r, &failed) : error;
}

static void expect(struct worker *w, enum adopt_call call, struct adopt_request *r)
{
	int error = next(w, r);

	ck_assert_msg(error == 0, "%s: %s", failed, strerror(-error));
	ck_assert_int_eq(r->call, call);
}

static struct sockaddr_in loopback(uint16_t number)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons(number),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
}

/* Listens on a port that the kernel chooses, and sets `port`. */
static int our_listener(int family)
{
	struct sockaddr_in6 any6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in in = loopback(0);
	socklen_t size = sizeof(any6);
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int bound = family == AF_INET ? bind(fd, (void *)&in, sizeof(in))
				      : bind(fd, (void *)&any6, sizeof(any6));

	ck_assert_msg(bound == 0, "bind: %s", strerror(errno));
	ck_assert_int_eq(listen(fd, 64), 0);
	ck_assert_int_eq(getsockname(fd, (void *)&any6, &size), 0);
	port = ntohs(any6.sin6_port); /* at the same place in both */
	return fd;
}

static int number_of(int fd, int level, int name)
{
	int value = -1;
	socklen_t size = sizeof(value);

	return getsockopt(fd, level, name, &value, &size) < 0 ? -errno : value;
}

/* The children. Exit status: 0, or the line of the check that did not hold. ---------------------
 */

#define NEED(condition)                                                                            \
	do {                                                                                       \
		if (!(condition))                                                                  \
			return __LINE__ % 250 + 1;                                                 \
	} while (0)

static int set_number(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value));
}

static int options_then_serve(void)
{
	struct sockaddr_in in = loopback(port), name;
	socklen_t size = sizeof(name);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int client;

	NEED(set_number(fd, IPPROTO_TCP, TCP_NODELAY, 1) == 0);
	NEED(set_number(fd, IPPROTO_TCP, TCP_KEEPIDLE, 77) == 0);
	NEED(set_number(fd, SOL_SOCKET, SO_KEEPALIVE, 1) == 0);
	NEED(set_number(fd, SOL_SOCKET, SO_RCVBUF, 40000) == 0);
	NEED(bind(fd, (void *)&in, sizeof(in)) == 0);
	NEED(listen(fd, 7) == 0);
	NEED(getsockname(fd, (void *)&name, &size) == 0 && name.sin_port == htons(port));
	NEED((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
	NEED(fcntl(fd, F_GETFD) == FD_CLOEXEC);
	NEED(number_of(fd, IPPROTO_TCP, TCP_NODELAY) == 1);
	NEED(number_of(fd, SOL_SOCKET, SO_RCVBUF) == 80000);
	NEED(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, WAIT_MS) == 1);
	client = accept(fd, NULL, NULL);
	NEED(client >= 0);
	NEED(number_of(client, IPPROTO_TCP, TCP_KEEPIDLE) == 77);
	NEED(write(client, "hello", 5) == 5);
	close(client);
	return 0;
}

/* As Boost.Asio does it. */
static int waits_before_it_binds(void)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.u64 = 0x0123456789abcdef };
	struct sockaddr_in in = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int set = epoll_create1(0), client;

	NEED(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0);
	NEED(bind(fd, (void *)&in, sizeof(in)) == 0);
	NEED(listen(fd, 7) == 0);
	while (epoll_wait(set, &event, 1, WAIT_MS) == 1 && event.events != EPOLLIN)
		continue; /* EPOLLHUP: of the one that was not bound yet */
	NEED(event.data.u64 == 0x0123456789abcdef);
	client = accept(fd, NULL, NULL);
	NEED(write(client, "hello", 5) == 5 && close(client) == 0);
	NEED(epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL) == 0);
	return 0;
}

/* So many sets with so much in them that it would take long to find the socket. */
static int hides_among_many(void)
{
	enum { WAITS = 100, SETS = 200 };
	struct epoll_event event = { .events = EPOLLIN };
	struct sockaddr_in in = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM, 0), waits[WAITS], set;

	for (int i = 0; i < WAITS; i++)
		NEED((waits[i] = eventfd(0, 0)) >= 0);
	for (int sets = 0; sets < SETS; sets++) {
		NEED((set = epoll_create1(0)) >= 0);
		for (int i = 0; i < WAITS; i++)
			NEED(epoll_ctl(set, EPOLL_CTL_ADD, waits[i], &event) == 0);
	}
	NEED(epoll_ctl(set = epoll_create1(0), EPOLL_CTL_ADD, fd, &event) == 0);
	NEED(bind(fd, (void *)&in, sizeof(in)) == 0);
	return 0;
}

static int others(void)
{
	struct sockaddr_nl nl = { .nl_family = AF_NETLINK };
	struct sockaddr_in in = loopback(0);
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd;

	fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	NEED(fd >= 0 && bind(fd, (void *)&nl, sizeof(nl)) == 0);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	NEED(bind(fd, (void *)&in, sizeof(in)) == 0);
	fd = socket(AF_UNIX, SOCK_STREAM, 0); /* an abstract name that the kernel chooses */
	NEED(bind(fd, (void *)&un, sizeof(un.sun_family)) == 0);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	NEED(bind(fd, (void *)&in, sizeof(in)) == 0);
	NEED(bind(-1, (void *)&in, sizeof(in)) < 0 && errno == EBADF);
	NEED(bind(fd, NULL, sizeof(in)) < 0 && errno == EFAULT);
	NEED(listen(fd, 5) == 0);
	return 0;
}

static int bind_once(void)
{
	struct sockaddr_in in = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return bind(fd, (void *)&in, sizeof(in)) < 0 ? errno : 0;
}

static void *bind_in_thread(void *unused)
{
	(void)unused;
	return (void *)(intptr_t)bind_once();
}

static int thread_binds(void)
{
	pthread_t thread;
	void *error;

	NEED(pthread_create(&thread, NULL, bind_in_thread, NULL) == 0);
	NEED(pthread_join(thread, &error) == 0);
	return (int)(intptr_t)error;
}

/* The child goes at once; its own child binds after that: the pipe ends with its writers. */
static int orphan_binds(void)
{
	int ends[2];
	char byte;

	NEED(pipe(ends) == 0);
	if (fork() != 0)
		return 0;
	close(ends[1]);
	NEED(read(ends[0], &byte, 1) == 0);
	return bind_once();
}

static int nested(void)
{
	const char *step;

	return adopt_filter_install(&plain, &step) == -EBUSY ? 0 : 1;
}

static int says_no_new_privs(void)
{
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
}

/* The tests -------------------------------------------------------------------------------------
 */

static void hear(const char *send_first, const char *want)
{
	struct sockaddr_in in = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct timeval patience = { .tv_sec = WAIT_MS / 1000 };
	char text[16] = "", rest[4096];

	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	ck_assert_int_eq(connect(fd, (void *)&in, sizeof(in)), 0);
	ck_assert_int_ge(write(fd, send_first, strlen(send_first)), 0);
	ck_assert_int_ge(recv(fd, text, strlen(want), MSG_WAITALL), 1);
	ck_assert_str_eq(text, want);
	while (recv(fd, rest, sizeof(rest), 0) > 0)
		continue;
	close(fd);
}

/* Docker's default profile: pidfd_getfd says EPERM. */
static void deny_getfd(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_getfd, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { 4, filter };

	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), 0);
}

static void become_nobody(void)
{
	if (getuid() != 0)
		return;
	ck_assert_int_eq(setgid(65534), 0);
	ck_assert_int_eq(setuid(65534), 0);
	prctl(PR_SET_DUMPABLE, 1); /* as after execve: setuid cleared it */
}

static void as_we_are(void)
{
}

static void (*const conditions[])(void) = { as_we_are, become_nobody };

START_TEST(worker_serves_on_our_socket)
{
	struct adopt_request r;
	const char *lost = "";
	struct worker w;
	int ours;

	conditions[_i]();
	ours = our_listener(AF_INET);
	w = start(&plain, options_then_serve);
	expect(&w, ADOPT_BIND, &r);
	ck_assert_int_eq(r.error, 0);
	ck_assert_int_eq(r.pid, w.pid);
	ck_assert_int_eq(r.tid, w.pid);
	ck_assert_int_eq(r.domain, AF_INET);
	ck_assert_int_eq(r.type, SOCK_STREAM);
	ck_assert_int_eq(r.protocol, IPPROTO_TCP);
	ck_assert(r.nonblock && r.cloexec && r.looked_inside && !r.v6only);
	ck_assert_int_eq(((struct sockaddr_in *)&r.address)->sin_port, htons(port));
	ck_assert(!adopt_same_socket(&r, ours));
	ck_assert_int_eq(adopt_replace(w.notify, &r, ours, &lost, &failed), 0);
	ck_assert_ptr_null(lost);
	expect(&w, ADOPT_LISTEN, &r);
	ck_assert_int_eq(r.backlog, 7);
	ck_assert(adopt_same_socket(&r, ours));
	ck_assert_int_eq(adopt_answer(w.notify, &r, 0, &failed), 0);
	ck_assert_int_eq(adopt_receive(w.notify, &r, &failed), -EAGAIN);
	hear("", "hello");
	ck_assert_int_eq(next(&w, &r), -EPIPE);
	ck_assert_int_eq(exit_of(&w), 0);
	close(ours);
}
END_TEST

START_TEST(who_waits_before_it_binds_hears_of_ours)
{
	struct worker w;
	struct adopt_request r;
	const char *lost;
	int ours;

	conditions[_i]();
	ours = our_listener(AF_INET);
	w = start(&plain, waits_before_it_binds);
	expect(&w, ADOPT_BIND, &r);
	ck_assert_uint_eq(r.epolls, 1);
	ck_assert_int_eq(adopt_replace(w.notify, &r, ours, &lost, &failed), 0);
	ck_assert(!r.deaf);
	expect(&w, ADOPT_LISTEN, &r);
	ck_assert_uint_eq(r.epolls, 0);
	ck_assert_int_eq(adopt_answer(w.notify, &r, 0, &failed), 0);
	hear("", "hello");
	ck_assert_int_eq(next(&w, &r), -EPIPE);
	ck_assert_int_eq(exit_of(&w), 0);
	close(ours);
}
END_TEST

START_TEST(the_look_at_what_it_waits_for_is_bounded)
{
	struct worker w = start(&plain, hides_among_many);
	struct adopt_request r;

	expect(&w, ADOPT_BIND, &r);
	ck_assert_uint_eq(r.epolls, 0);
	ck_assert_int_eq(adopt_continue(w.notify, &r, &failed), 0);
	ck_assert_int_eq(next(&w, &r), -EPIPE);
	ck_assert_int_eq(exit_of(&w), 0);
}
END_TEST

START_TEST(type_is_known_without_getfd)
{
	struct adopt_request r;
	struct worker w;

	deny_getfd();
	w = start(&plain, bind_once);
	expect(&w, ADOPT_BIND, &r);
	ck_assert_int_eq(r.domain, AF_INET);
	ck_assert_int_eq(r.type, SOCK_STREAM);
	ck_assert_uint_ne(r.inode, 0);
	ck_assert(!r.looked_inside);
	ck_assert_uint_eq(r.options, 0);
	ck_assert_int_eq(adopt_answer(w.notify, &r, EADDRNOTAVAIL, &failed), 0);
	ck_assert_int_eq(exit_of(&w), EADDRNOTAVAIL);
}
END_TEST

START_TEST(unrelated_binds_go_through)
{
	struct adopt_filter filter = { .unix_too = _i };
	struct worker w = start(&filter, others);
	struct adopt_request r;
	unsigned binds = 0, listens = 0, unreadable = 0;
	int error;

	while ((error = next(&w, &r)) == 0) {
		binds += r.call == ADOPT_BIND;
		listens += r.call == ADOPT_LISTEN;
		unreadable += r.error != 0;
		ck_assert_int_eq(adopt_continue(w.notify, &r, &failed), 0);
	}
	ck_assert_int_eq(error, -EPIPE);
	ck_assert_uint_eq(binds, _i ? 6 : 4);
	ck_assert_uint_eq(listens, 1);
	ck_assert_uint_eq(unreadable, 1);
	ck_assert_int_eq(exit_of(&w), 0);
}
END_TEST

START_TEST(thread_is_traced_to_its_process)
{
	struct worker w = start(&plain, thread_binds);
	struct adopt_request r;

	expect(&w, ADOPT_BIND, &r);
	ck_assert_int_ne(r.tid, w.pid);
	ck_assert_int_eq(r.pid, w.pid);
	ck_assert_int_eq(r.type, SOCK_STREAM);
	ck_assert_int_eq(adopt_answer(w.notify, &r, EACCES, &failed), 0);
	ck_assert_int_eq(exit_of(&w), EACCES);
}
END_TEST

START_TEST(orphan_is_served_too)
{
	struct worker w = start(&plain, orphan_binds);
	struct adopt_request r;
	int status;

	ck_assert_int_eq(waitpid(w.pid, &status, 0), w.pid);
	expect(&w, ADOPT_BIND, &r);
	ck_assert_int_ne(r.pid, w.pid);
	ck_assert_int_eq(adopt_answer(w.notify, &r, 0, &failed), 0);
	ck_assert_int_eq(next(&w, &r), -EPIPE);
	close(w.notify);
}
END_TEST

START_TEST(killed_caller_is_noticed)
{
	struct worker w = start(&plain, bind_once);
	struct adopt_request r;
	const char *lost;
	int ours = our_listener(AF_INET);

	expect(&w, ADOPT_BIND, &r);
	ck_assert_int_eq(kill(w.pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(w.pid, NULL, 0), w.pid);
	ck_assert_int_eq(adopt_replace(w.notify, &r, ours, &lost, &failed), -ENOENT);
	ck_assert_str_eq(failed, "ioctl(NOTIF_ADDFD)");
	ck_assert_int_eq(adopt_look(w.notify, &r, &failed), -ENOENT);
	ck_assert_int_eq(adopt_answer(w.notify, &r, 0, &failed), -ENOENT);
	ck_assert_int_eq(adopt_receive(w.notify, &r, &failed), -EPIPE);
	close(w.notify);
	close(ours);
}
END_TEST

START_TEST(one_listener_a_process)
{
	struct worker w = start(&plain, nested);

	ck_assert_int_eq(exit_of(&w), 0);
}
END_TEST

START_TEST(no_new_privs_is_a_choice)
{
	struct adopt_filter filter = { .keep_setuid = _i };
	struct worker w;

	if (_i && getuid() != 0) {
		printf("skipped: not root\n");
		return;
	}
	w = start(&filter, says_no_new_privs);
	ck_assert_int_eq(exit_of(&w), !_i);
}
END_TEST

START_TEST(fd_passing_tells_why_not)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(adopt_recv_fd(pair[0], &failed), -EAGAIN);
	ck_assert_int_eq(write(pair[1], "x", 1), 1);
	ck_assert_int_eq(adopt_recv_fd(pair[0], &failed), -EPIPE);
	close(pair[1]);
	ck_assert_int_eq(adopt_recv_fd(pair[0], &failed), -EPIPE);
	ck_assert_int_eq(adopt_send_fd(pair[0], 0, &failed), -EPIPE);
	close(pair[0]);
}
END_TEST

/* Two copies of an unmodified server on one port. */
static const struct {
	int family;
	const char *argv[6];
} programs[] = {
	{ AF_INET, { "python3", "-m", "http.server", "-b", "127.0.0.1", NULL } },
	{ AF_INET6,
	  { "node", "-e",
	    "require('http').createServer((q, a) => a.end('hi')).listen(process.argv[1])", NULL } },
};

static bool installed(const char *program)
{
	char command[64];

	snprintf(command, sizeof(command), "command -v %s >/dev/null", program);
	return system(command) == 0; /* NOLINT: our own words */
}

START_TEST(unmodified_servers_share_a_port)
{
	const char *argv[8];
	char digits[8];
	struct worker w[2];
	int ours, n = 0;

	if (!installed(programs[_i].argv[0])) {
		printf("skipped: no %s\n", programs[_i].argv[0]);
		return;
	}
	ours = our_listener(programs[_i].family);
	snprintf(digits, sizeof(digits), "%d", port);
	while (programs[_i].argv[n] != NULL) {
		argv[n] = programs[_i].argv[n];
		n++;
	}
	argv[n] = digits;
	argv[n + 1] = NULL;
	for (int i = 0; i < 2; i++) {
		struct adopt_request r;
		const char *lost = NULL;
		bool listening = false;

		w[i] = start_program((char *const *)argv);
		while (!listening) {
			ck_assert_int_eq(next(&w[i], &r), 0);
			listening = r.call == ADOPT_LISTEN && adopt_same_socket(&r, ours);
			if (listening) {
				ck_assert_int_eq(adopt_answer(w[i].notify, &r, 0, &failed), 0);
			} else if (r.call == ADOPT_BIND && r.type == SOCK_STREAM) {
				ck_assert_int_eq(r.domain, programs[_i].family);
				ck_assert_int_eq(
				    adopt_replace(w[i].notify, &r, ours, &lost, &failed), 0);
				ck_assert_ptr_null(lost);
			} else {
				ck_assert_int_eq(adopt_continue(w[i].notify, &r, &failed), 0);
			}
		}
	}
	for (int i = 0; i < 10; i++)
		hear("GET / HTTP/1.0\r\n\r\n", "HTTP/1.");
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(kill(w[i].pid, SIGTERM), 0);
		ck_assert_int_eq(exit_of(&w[i]), -SIGTERM);
		if (i == 0) /* the other one goes on */
			hear("GET / HTTP/1.0\r\n\r\n", "HTTP/1.");
	}
	close(ours);
}
END_TEST

static struct sockaddr_un unix_path(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	ck_assert_uint_lt(strlen(path), sizeof(un.sun_path));
	memcpy(un.sun_path, path, strlen(path));
	return un;
}

static char public_path[64], real_path[64];

/* What most servers do: remove what is there, bind, listen. */
static int unlink_then_bind(void)
{
	struct sockaddr_un un = unix_path(public_path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	int client;

	NEED(unlink(public_path) == 0 || errno == ENOENT);
	NEED(bind(fd, (void *)&un, sizeof(un)) == 0);
	NEED(listen(fd, 5) == 0);
	client = accept(fd, NULL, NULL);
	NEED(client >= 0 && write(client, "x", 1) == 1);
	return 0;
}

static void serve_unix(int ours)
{
	struct adopt_filter filter = { .unix_too = true };
	struct worker w = start(&filter, unlink_then_bind);
	struct sockaddr_un un = unix_path(public_path);
	struct adopt_request r;
	const char *lost = NULL;
	int client = socket(AF_UNIX, SOCK_STREAM, 0);
	char byte;

	expect(&w, ADOPT_BIND, &r);
	ck_assert_int_eq(r.domain, AF_UNIX);
	ck_assert_str_eq(((struct sockaddr_un *)&r.address)->sun_path, public_path);
	ck_assert_int_eq(adopt_unix_publish(real_path, public_path, &failed), 0);
	ck_assert_int_eq(adopt_unix_publish(real_path, public_path, &failed), 0);
	ck_assert_int_eq(adopt_replace(w.notify, &r, ours, &lost, &failed), 0);
	ck_assert_ptr_null(lost);
	expect(&w, ADOPT_LISTEN, &r);
	ck_assert_int_eq(adopt_answer(w.notify, &r, 0, &failed), 0);
	ck_assert_int_eq(connect(client, (void *)&un, sizeof(un)), 0);
	ck_assert_int_eq(read(client, &byte, 1), 1);
	close(client);
	ck_assert_int_eq(exit_of(&w), 0);
}

START_TEST(unix_path_is_a_link)
{
	char folder[] = "/tmp/adopt-XXXXXX";
	struct sockaddr_un un;
	int ours = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(public_path, sizeof(public_path), "%s/public", folder);
	snprintf(real_path, sizeof(real_path), "%s/real", folder);
	un = unix_path(real_path);
	ck_assert_int_eq(bind(ours, (void *)&un, sizeof(un)), 0);
	ck_assert_int_eq(listen(ours, 5), 0);
	serve_unix(ours);
	serve_unix(ours); /* a second worker removes the link of the first */
	ck_assert_int_eq(adopt_unix_withdraw("/elsewhere", public_path, &failed), 0);
	ck_assert_int_eq(adopt_unix_publish("/elsewhere", public_path, &failed), -EEXIST);
	ck_assert_int_eq(adopt_unix_withdraw(real_path, public_path, &failed), 0);
	ck_assert_int_eq(access(public_path, F_OK), -1);
	ck_assert_int_eq(adopt_unix_withdraw(real_path, public_path, &failed), 0);
	ck_assert_int_eq(adopt_unix_publish(real_path, real_path, &failed), -EEXIST);
	ck_assert_int_eq(adopt_unix_withdraw(real_path, real_path, &failed), 0);
	ck_assert_int_eq(unlink(real_path), 0);
	ck_assert_int_eq(rmdir(folder), 0);
	close(ours);
}
END_TEST

/* By spawn(): the hook runs in a child that has our memory, and what it needs passes the filter. */
START_TEST(spawn_runs_the_hook)
{
	char program[] = "/bin/true";
	char *argv[] = { program, NULL }, *envp[] = { NULL };
	struct adopt_hook hook = { 0 };
	struct spawn_plan plan = { .path = program, .argv = argv, .envp = envp };
	struct spawned child;
	struct worker w;
	struct adopt_request r;
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	hook.socket = pair[1];
	plan.hook = adopt_spawn_hook;
	plan.hook_context = &hook;
	ck_assert_msg(spawn(&plan, &child, &failed) == 0, "%s", failed);
	close(child.pidfd);
	w = collect(child.pid, pair);
	ck_assert_int_eq(next(&w, &r), -EPIPE);
	ck_assert_int_eq(exit_of(&w), 0);

	hook.socket = -1;
	ck_assert_int_eq(spawn(&plan, &child, &failed), -EBADF);
	ck_assert_str_eq(failed, "sendmsg");
}
END_TEST

#define COUNT(rows) (int)(sizeof(rows) / sizeof((rows)[0]))

static void add_tests(TCase *tests)
{
	tcase_add_loop_test(tests, worker_serves_on_our_socket, 0, COUNT(conditions));
	tcase_add_loop_test(tests, who_waits_before_it_binds_hears_of_ours, 0, COUNT(conditions));
	tcase_add_test(tests, the_look_at_what_it_waits_for_is_bounded);
	tcase_add_test(tests, type_is_known_without_getfd);
	tcase_add_loop_test(tests, unrelated_binds_go_through, 0, 2);
	tcase_add_test(tests, thread_is_traced_to_its_process);
	tcase_add_test(tests, orphan_is_served_too);
	tcase_add_test(tests, killed_caller_is_noticed);
	tcase_add_test(tests, one_listener_a_process);
	tcase_add_loop_test(tests, no_new_privs_is_a_choice, 0, 2);
	tcase_add_test(tests, fd_passing_tells_why_not);
	tcase_add_loop_test(tests, unmodified_servers_share_a_port, 0, COUNT(programs));
	tcase_add_test(tests, unix_path_is_a_link);
	tcase_add_test(tests, spawn_runs_the_hook);
}

int main(void)
{
	if (adopt_probe_kernel() != ADOPT_OK) {
		printf("skipped: no seccomp user notification\n");
		return EXIT_SUCCESS;
	}
	return run_suite("os/adopt", add_tests);
}
