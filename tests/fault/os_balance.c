/* Every call of steering and adoption fails once. `os_balance child` is a program that binds. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/os/adopt.h"
#include "supervisor/os/reuseport.h"
#include "tests/fault/fault.h"
#include "tests/fault/wait_for_closer.h"

enum { SLOTS = 3 };

static struct reuseport_params group_params(int type, bool steer)
{
	struct reuseport_params p = {
		.length = sizeof(struct sockaddr_in6),
		.type = type,
		.v6only = true,
		.backlog = 16,
		.capacity = SLOTS,
		.steer = steer,
	};
	struct sockaddr_in6 *in = (struct sockaddr_in6 *)&p.address;

	in->sin6_family = AF_INET6;
	in->sin6_addr = in6addr_loopback;
	return p;
}

/* A life of a group: all that can be done to one. */
static int live(struct reuseport *g, bool steer, const char **failed)
{
	static const uint32_t slots[] = { 0, 1, 2 };
	int error = 0;

	for (uint32_t slot = 0; error == 0 && slot < SLOTS; slot++)
		error = reuseport_add(g, slot, failed);
	if (error == 0 && steer)
		error = reuseport_steer(g, slots, SLOTS, failed);
	if (error == 0 && steer && reuseport_export(g).params.type == SOCK_STREAM)
		error = reuseport_move_queue(g, 1, failed);
	if (error == 0)
		error = reuseport_relisten(g, 2, failed);
	if (error == 0)
		error = reuseport_reattach(g, failed);
	if (error == 0)
		error = reuseport_remove(g, 0, failed);
	return error;
}

static int copy(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static void drop(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* As over execve: a second group is made of the fds, here of copies, and then the first goes. */
static int reopen(struct reuseport **g, const char **failed)
{
	struct reuseport_image image = reuseport_export(*g);
	struct reuseport *back = NULL;
	int sockets[SLOTS], error;

	for (uint32_t slot = 0; slot < SLOTS; slot++)
		sockets[slot] = copy(reuseport_fd(*g, slot));
	image.control_fd = copy(image.control_fd);
	image.sockets_fd = copy(image.sockets_fd);
	image.program_fd = copy(image.program_fd);
	error = reuseport_adopt_fds(&image, sockets, SLOTS, &back, failed);
	if (error == 0) {
		reuseport_destroy(*g);
		*g = back;
		return 0;
	}
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		drop(sockets[slot]);
	drop(image.control_fd);
	drop(image.sockets_fd);
	drop(image.program_fd);
	return error;
}

/* As after a kill: of the first group nothing is left but the sockets, and a second one takes them. */
static int outlive(struct reuseport **g, const struct reuseport_params *p, const char **failed)
{
	struct reuseport_params again = *p;
	int sockets[SLOTS], error = 0;

	for (uint32_t slot = 0; slot < SLOTS; slot++)
		sockets[slot] = copy(reuseport_fd(*g, slot));
	again.address = *reuseport_address(*g);
	reuseport_destroy(*g);
	*g = NULL;
	error = reuseport_create(&again, g, failed);
	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		if (error == 0 && sockets[slot] >= 0)
			error = reuseport_take(*g, slot, sockets[slot], failed);
		if (*g == NULL || reuseport_fd(*g, slot) < 0)
			drop(sockets[slot]);
	}
	return error;
}

static int group(int type, bool steer, const char **failed)
{
	struct reuseport_params p = group_params(type, steer);
	struct reuseport *g = NULL;
	int error = reuseport_create(&p, &g, failed);

	if (error == 0)
		error = live(g, steer, failed);
	if (error == 0)
		error = reopen(&g, failed);
	if (error == 0)
		error = outlive(&g, &p, failed);
	reuseport_destroy(g);
	return error;
}

static int run_steer_tcp(const char **failed)
{
	return group(SOCK_STREAM, true, failed);
}

static int run_steer_udp(const char **failed)
{
	return group(SOCK_DGRAM, true, failed);
}

static int run_hash(const char **failed)
{
	return group(SOCK_STREAM, false, failed);
}

static int child(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(1337) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &(int){ 1 }, sizeof(int));
	epoll_ctl(epoll_create1(0), EPOLL_CTL_ADD, fd, &(struct epoll_event){ .events = EPOLLIN });
	bind(fd, (struct sockaddr *)&in, sizeof(in));
	return 0;
}

/* What the child of vfork tells: it writes in our memory. */
static int hook_error;

static pid_t start(int pair[2], const char **failed)
{
	static char name[] = "os_balance", word[] = "child";
	static char *const argv[] = { name, word, NULL };
	struct adopt_hook hook = { .socket = pair[1] };
	pid_t pid = vfork();

	if (pid == 0) {
		hook_error = adopt_spawn_hook(&hook, failed);
		if (hook_error == 0)
			execv("/proc/self/exe", argv);
		_exit(1);
	}
	return pid;
}

static int serve(int notify, int ours, const char **failed)
{
	struct adopt_request r;
	const char *lost = NULL;
	int error;

	if (poll(&(struct pollfd){ .fd = notify, .events = POLLIN }, 1, 10000) != 1)
		return -ETIMEDOUT;
	error = adopt_receive(notify, &r, failed);
	if (error == 0) {
		*failed = "address";
		error = r.error;
	}
	if (error == 0)
		error = adopt_look(notify, &r, failed);
	if (error == 0)
		error = adopt_replace(notify, &r, ours, &lost, failed);
	return error;
}

/* Closing the notify fd is what frees a child whose call was not answered. */
static int run_adopt(const char **failed)
{
	int ours = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int pair[2], notify = -1, error;
	pid_t pid;

	if (ours < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	pid = start(pair, failed);
	error = hook_error;
	if (error == 0)
		error = notify = adopt_recv_fd(pair[0], failed);
	if (notify >= 0)
		error = serve(notify, ours, failed);
	close(pair[0]);
	close(pair[1]);
	if (notify >= 0)
		close(notify);
	close(ours);
	waitpid(pid, NULL, 0);
	wait_for_closer(); /* our copy of the worker's socket */
	return error;
}

/* What can not be learnt about the worker's socket is left unknown; an option that can not be
 * read is not carried over: two calls an option, and the files of /proc. So it is of an epoll set. */
static const struct fault_case cases[] = {
	{ "steer_tcp", run_steer_tcp, 0 },
	{ "steer_udp", run_steer_udp, 0 },
	{ "hash", run_hash, 0 },
	{ "adopt", run_adopt, 100 },
};

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "child") == 0)
		return child();
	if (argc == 2 && strncmp(argv[1], "steer_", 6) == 0 && reuseport_probe_kernel() != REUSEPORT_OK) {
		printf("skipped: no CAP_BPF, or kernel before 5.14\n");
		return 77;
	}
	fault_begin(argv);
	return fault_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
