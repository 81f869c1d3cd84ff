/*
 * adopt - give sockets of ours to a program that insists on binding by itself.
 *
 * The worker runs under a seccomp filter that stops bind(2) and listen(2) and asks us (user
 * notification). We look at the call, and either let it go on, or put a socket of ours over the
 * worker's own (same fd number) and answer 0. The program sees nothing of it; static binaries,
 * shells in between and programs that fork by themselves are covered, since filters are inherited.
 *
 *	child, before execve   adopt_filter_install(), adopt_send_fd()
 *	clusterd               adopt_recv_fd(); poll(2) the notify fd; adopt_receive(); if the
 *	                       address is of interest adopt_look(); then exactly one of
 *	                       adopt_replace(), adopt_continue(), adopt_answer()
 *
 * The notify fd must outlive the worker and everything that it started: once it is closed, each
 * trapped call fails with ENOSYS. It survives execve(2) of clusterd, a pending call included.
 * Close it when adopt_receive() says -EPIPE: nobody is left under the filter.
 *
 * Not seen: binds of io_uring, of 32-bit programs on a 64-bit kernel (they run unhindered), and
 * where the runtime has a notifying filter of its own (-EBUSY: the kernel allows one a process).
 * It is no security boundary: a call that goes on is read again by the kernel.
 *
 * Source  seccomp(2), seccomp_unotify(2), pidfd_getfd(2). Linux 5.9 (ADDFD); x86-64 and aarch64.
 *
 * Functions return 0 or -errno; on error *failed names the step: "seccomp(SET_MODE_FILTER)".
 */
#ifndef CLUSTERD_SUPERVISOR_OS_ADOPT_H
#define CLUSTERD_SUPERVISOR_OS_ADOPT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

/* In the child ------------------------------------------------------------------------------- */

struct adopt_filter {
	bool unix_too;    /* also trap calls whose address is too short for IPv4: the netlink
			     binds of getaddrinfo(3) then ask too, 16 us each */
	bool keep_setuid; /* no no_new_privs, so setuid programs work; needs CAP_SYS_ADMIN */
};

/*
 * Puts the calling thread and what it will start under the filter. Returns the notify fd
 * (close-on-exec). Safe after vfork(2) and CLONE_VM: system calls only. -EACCES: keep_setuid
 * without CAP_SYS_ADMIN. -EBUSY: see above. -ENOSYS: no seccomp, or another architecture.
 */
int adopt_filter_install(const struct adopt_filter *filter, const char **failed);

/* Passes an fd over a unix stream or seqpacket socket; never waits. Safe after vfork(2). */
int adopt_send_fd(int socket, int fd, const char **failed);

/*
 * Both of these, in the form of spawn_plan.hook. context is a struct adopt_hook; its socket is the
 * child's end of a socketpair(AF_UNIX, SOCK_STREAM), and clusterd has adopt_recv_fd() the other.
 */
struct adopt_hook {
	struct adopt_filter filter;
	int socket;
};
int adopt_spawn_hook(void *context, const char **failed);

/*
 * Returns the passed fd (close-on-exec, the caller's); never waits: -EAGAIN. -EPIPE: the other
 * end closed without passing one.
 */
int adopt_recv_fd(int socket, const char **failed);

/* In clusterd -------------------------------------------------------------------------------- */

enum adopt_call { ADOPT_BIND, ADOPT_LISTEN };

enum { ADOPT_OPTIONS_MAX = 32, ADOPT_OPTION_SIZE = 16 };

/* One socket option of the worker's socket: index into the table in adopt_option.c. */
struct adopt_option {
	uint8_t index;
	uint8_t size; /* bytes of value */
	unsigned char value[ADOPT_OPTION_SIZE];
};

enum { ADOPT_EPOLLS_MAX = 4 };

/* An epoll set in which the worker's socket is already. */
struct adopt_epoll {
	int fd; /* the worker's number */
	uint32_t events;
	uint64_t data;
};

/* A call that waits for our answer. A plain value; no fd in it. */
struct adopt_request {
	/* Set by adopt_receive(). */
	uint64_t id;
	pid_t tid; /* the calling thread */
	enum adopt_call call;
	int fd;                          /* the worker's number */
	int backlog;                     /* listen */
	struct sockaddr_storage address; /* bind; length 0: see error */
	socklen_t length;
	int error; /* 0, or why the address could not be read: -EPERM when the worker has another
		      uid and we have no CAP_SYS_PTRACE; let such a call go on */

	/* Set by adopt_look(). */
	pid_t pid;     /* of the thread's process: the worker or a descendant of it */
	bool nonblock; /* O_NONBLOCK and close-on-exec of the worker's fd */
	bool cloexec;
	uint64_t inode; /* of the socket; 0 = unknown */
	int domain;     /* AF_INET, ...; -1 = unknown */
	int type;       /* SOCK_STREAM, SOCK_DGRAM, ...; -1 = unknown */
	int protocol;   /* IPPROTO_TCP, ...; -1 = unknown */
	bool v6only;
	bool looked_inside; /* the worker's socket could be read (pidfd_getfd): v6only and options
			       are true; else v6only is net.ipv6.bindv6only and there are none */
	unsigned options;
	struct adopt_option option[ADOPT_OPTIONS_MAX];
	unsigned epolls; /* of a bind */
	struct adopt_epoll epoll[ADOPT_EPOLLS_MAX];

	bool deaf; /* set by adopt_replace(): an epoll set could not be told of our socket, so the worker
		      will not hear of connections */
};

/*
 * Takes one request; never waits. -EAGAIN: none. -ENOENT: the caller was killed meanwhile, nothing
 * to answer. -EPIPE: nobody is left under the filter, close the fd.
 */
int adopt_receive(int notify_fd, struct adopt_request *ret, const char **failed);

/*
 * Looks at the caller's socket: a step of its own, because it costs more than the rest and binds
 * of no interest (a resolver's, one a query) should not pay for it. -ENOENT as above. -EBUSY: not now,
 * too much that was looked at is still being closed (closer.h); let the call go on.
 */
int adopt_look(int notify_fd, struct adopt_request *request, const char **failed);

/*
 * Copies the options onto socket_fd where they differ, raises O_NONBLOCK if the worker's fd has it
 * (never clears it: the socket may be shared, and its users hang or spin if it changes), puts the
 * socket over the worker's fd and into the epoll sets that had its own, and answers 0. socket_fd
 * stays the caller's. *ret_lost is NULL or the name of an option that could not be carried over
 * ("TCP_CONGESTION").
 *
 * On error nothing was answered: adopt_answer() the errno. -ENOENT: the caller is gone.
 */
int adopt_replace(int notify_fd, struct adopt_request *request, int socket_fd,
		  const char **ret_lost, const char **failed);

/* Lets the call run as it is; makes it fail, without running, with errno `error` (a positive
 * number, EADDRINUSE), or succeed (0). */
int adopt_continue(int notify_fd, const struct adopt_request *request, const char **failed);
int adopt_answer(int notify_fd, const struct adopt_request *request, int error,
		 const char **failed);

/* True when the worker's fd is this socket of ours already (a listen(2), or a second bind). */
bool adopt_same_socket(const struct adopt_request *request, int socket_fd);

/*
 * Two sockets can stand for each other: same family, address and port, and for IPv6 same v6only.
 * An IPv4 address mapped into IPv6 is not the IPv4 one: programs look at the family (nginx drops
 * every connection of the other one).
 */
bool adopt_same_address(const struct sockaddr_storage *a, bool a_v6only,
			const struct sockaddr_storage *b, bool b_v6only);

/*
 * The worker asks for what a listener means: the same port, and the same address, or either one
 * is a wildcard of a family that includes the other. Unix: the same path.
 */
bool adopt_covers(const struct sockaddr_storage *listener, bool v6only,
		  const struct sockaddr_storage *asked);

/* What this kernel allows. */
enum adopt_support {
	ADOPT_OK,
	ADOPT_TOO_OLD, /* no user notification (Linux 5.9), no seccomp, another architecture */
};
enum adopt_support adopt_probe_kernel(void);

#endif
