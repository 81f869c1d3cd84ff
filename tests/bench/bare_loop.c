/*
 * The physical limit that supervision is measured against: one socket, clone(2) with CLONE_VM,
 * CLONE_VFORK and CLONE_PIDFD, one epoll, and no policy at all. Who dies is replaced at once.
 *
 *   bare_loop WORKERS PORT|- PROGRAM [ARG...]
 *
 * The socket is fd 3 of the workers. At SIGTERM or SIGINT it ends them and itself.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LISTEN_FD = 3, BACKLOG = 4096, EVENTS = 256, STACK_SIZE = 64 * 1024, MINE = -1 };

struct plan {
	char **argv;
	sigset_t mask;
	int listener;
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int child(void *argument)
{
	const struct plan *plan = argument;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (plan->listener >= 0 && dup2(plan->listener, LISTEN_FD) < 0)
		return 126;
	sigprocmask(SIG_SETMASK, &plan->mask, NULL);
	execv(plan->argv[0], plan->argv);
	return 127;
}

static int start(struct plan *plan, int epoll, int slot)
{
	static char stack[STACK_SIZE] __attribute__((aligned(16)));
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = 0 };
	int pidfd;

	if (clone(child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, plan,
	          &pidfd) < 0)
		die("clone");
	event.data.fd = slot;
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, pidfd, &event) < 0)
		die("epoll_ctl");
	return pidfd;
}

/* Above the fds that the workers get, so that dup2 always clears close-on-exec. */
static int listen_on(const char *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		                       .sin_port = htons((uint16_t)atoi(port)),
		                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int one = 1, fd = -1;

	for (int i = 0; i < 2; i++)
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, BACKLOG) < 0)
		die("listen");
	return fd;
}

static int watch_signals(struct plan *plan, int epoll)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = MINE };
	sigset_t ending;
	int fd;

	sigemptyset(&ending);
	sigaddset(&ending, SIGTERM);
	sigaddset(&ending, SIGINT);
	sigprocmask(SIG_BLOCK, &ending, &plan->mask);
	fd = signalfd(-1, &ending, SFD_CLOEXEC);
	if (fd < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		die("signalfd");
	return fd;
}

static void allow_fds(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
	struct plan plan = { .listener = -1 };
	struct epoll_event events[EVENTS];
	int epoll = epoll_create1(EPOLL_CLOEXEC), workers, *pidfds;
	siginfo_t info;

	if (argc < 4)
		return 2;
	allow_fds();
	workers = atoi(argv[1]);
	plan.argv = argv + 3;
	if (argv[2][0] != '-')
		plan.listener = listen_on(argv[2]);
	watch_signals(&plan, epoll);
	pidfds = calloc((size_t)workers, sizeof *pidfds);
	if (!pidfds)
		die("calloc");
	for (int i = 0; i < workers; i++)
		pidfds[i] = start(&plan, epoll, i);
	for (;;) {
		int n = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			int slot = events[i].data.fd;

			if (slot == MINE)
				return 0; /* and PR_SET_PDEATHSIG ends the workers */
			if (waitid(P_PIDFD, (id_t)pidfds[slot], &info, WEXITED) < 0)
				die("waitid");
			/* A child keeps its copy for a moment after execve(2) has let us go on. */
			epoll_ctl(epoll, EPOLL_CTL_DEL, pidfds[slot], NULL);
			close(pidfds[slot]);
			pidfds[slot] = start(&plan, epoll, slot);
		}
	}
}
