/*
 * What adoption costs a program: each bind that we answer, each that goes on, and every other
 * system call, which only passes the filter. Prints a table; judges nothing.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "supervisor/os/adopt.h"

enum { BINDS = 1000, CALLS = 1000000, ROUNDS = 8 };

/* In ns a call; written by the children. */
struct figures {
	double tcp, udp, other;
};

/* One child a round, first without the filter, then with it: both see the same machine. */
struct round {
	struct figures bare, filtered;
	double empty; /* other, with a filter that only allows: what seccomp costs by itself */
};

static in_port_t port; /* of our socket; a bind to another one goes on */

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double bind_ns(int type, in_port_t to)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = to };
	double spent = 0;

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (int i = 0; i < BINDS; i++) {
		int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
		double begin = now_ns();

		if (fd < 0 || bind(fd, (const struct sockaddr *)&in, sizeof(in)) < 0)
			_exit(2);
		spent += now_ns() - begin;
		close(fd);
	}
	return spent / BINDS;
}

static double call_ns(void)
{
	double begin = now_ns();

	for (int i = 0; i < CALLS; i++)
		syscall(SYS_getppid);
	return (now_ns() - begin) / CALLS;
}

static struct figures measure(in_port_t to)
{
	return (struct figures){
		.tcp = bind_ns(SOCK_STREAM, to),
		.udp = bind_ns(SOCK_DGRAM, 0),
		.other = call_ns(),
	};
}

static int child_with_empty_filter(struct round *r)
{
	struct sock_filter allow[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
	struct sock_fprog program = { 1, allow };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
		return 4;
	r->empty = call_ns();
	return 0;
}

static int child(struct round *r, int socket)
{
	static const struct adopt_filter filter = { 0 };
	const char *failed;
	int fd;

	r->bare = measure(0);
	fd = adopt_filter_install(&filter, &failed);
	if (fd < 0 || adopt_send_fd(socket, fd, &failed) < 0)
		return 3;
	close(fd);
	r->filtered = measure(port);
	return 0;
}

/* Plays clusterd until the child has gone. */
static void answer(int notify, int ours)
{
	struct adopt_request r;
	const char *lost, *failed;

	while (poll(&(struct pollfd){ .fd = notify, .events = POLLIN }, 1, 60000) == 1) {
		int error = adopt_receive(notify, &r, &failed);

		if (error == -EPIPE)
			return;
		if (error != 0)
			continue;
		if (((struct sockaddr_in *)&r.address)->sin_port == port &&
		    adopt_look(notify, &r, &failed) == 0)
			adopt_replace(notify, &r, ours, &lost, &failed);
		else
			adopt_continue(notify, &r, &failed);
	}
}

static int run_empty(struct round *r)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(child_with_empty_filter(r));
	waitpid(pid, &status, 0);
	return status;
}

static int run(struct round *r, int ours)
{
	const char *failed;
	int pair[2], fd, status = -1;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(child(r, pair[1]));
	}
	close(pair[1]);
	if (poll(&(struct pollfd){ .fd = pair[0], .events = POLLIN }, 1, 60000) == 1) {
		fd = adopt_recv_fd(pair[0], &failed);
		if (fd >= 0)
			answer(fd, ours);
		close(fd);
	}
	waitpid(pid, &status, 0);
	close(pair[0]);
	return status;
}

static int our_listener(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t size = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&in, size) < 0 || listen(fd, 16) < 0 ||
	    getsockname(fd, (struct sockaddr *)&in, &size) < 0)
		return -1;
	port = in.sin_port;
	return fd;
}

static double lower(double a, double b)
{
	return a == 0 || b < a ? b : a;
}

static void keep_best(struct figures *best, const struct figures *f)
{
	best->tcp = lower(best->tcp, f->tcp);
	best->udp = lower(best->udp, f->udp);
	best->other = lower(best->other, f->other);
}

static void row(const char *what, double bare, double filtered, double unit, const char *name,
		const char *goal)
{
	printf("%-34s %9.1f %9.1f %+9.1f %-2s  %s\n", what, bare / unit, filtered / unit,
	       (filtered - bare) / unit, name, goal);
}

int main(void)
{
	struct round *r =
	    mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct round best = { 0 };
	int ours = our_listener();

	if (r == MAP_FAILED || ours < 0 || adopt_probe_kernel() != ADOPT_OK) {
		fprintf(stderr, "bench_adopt: can not run here\n");
		return EXIT_FAILURE;
	}
	for (int i = 0; i < ROUNDS; i++) {
		if (run(r, ours) != 0 || run_empty(r) != 0) {
			fprintf(stderr, "bench_adopt: a child failed\n");
			return EXIT_FAILURE;
		}
		keep_best(&best.bare, &r->bare);
		keep_best(&best.filtered, &r->filtered);
		best.empty = lower(best.empty, r->empty);
	}
	printf("%-34s %9s %9s %9s     %s\n", "best of the rounds", "bare", "filtered", "cost",
	       "goal");
	row("bind, adopted", best.bare.tcp, best.filtered.tcp, 1000, "us", "<= 150 us");
	row("bind, passed through (UDP)", best.bare.udp, best.filtered.udp, 1000, "us", "");
	row("any other system call (getppid)", best.bare.other, best.filtered.other, 1, "ns",
	    "<= 15 ns");
	row("the same, an empty filter", best.bare.other, best.empty, 1, "ns", "");
	return EXIT_SUCCESS;
}
