/*
 * listen - open, watch and repair the sockets that workers share.
 *
 * A listening socket is one open file description held by clusterd and all
 * workers, so any worker can shut it down, shrink its backlog or change its
 * flags for everybody. listen_is_down(), listen_repair() and listen_keep() undo that.
 *
 * Functions return 0 or a positive answer, or -errno; on error *failed names the
 * step ("bind"). Fds are close-on-exec. No function here waits for the network.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_LISTEN_H
#define CLUSTERD_SUPERVISOR_OS_LISTEN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "config/address.h"

#define LISTEN_KEEP_UID ((uid_t)-1)
#define LISTEN_KEEP_GID ((gid_t)-1)

enum { LISTEN_PATH_MAX = 108 }; /* of a unix socket, sun_path, its NUL included */

struct listen_spec {
	const struct address *address; /* TCP, UDP or UNIX */
	int backlog;                   /* cut to net.core.somaxconn by the kernel; not for UDP */
	bool nonblock;
	bool hurried;    /* -EWOULDBLOCK at once where another start has the lock of a unix path's folder; else
	                    it is waited for, a second at most */
	bool share_port; /* SO_REUSEPORT, set after bind: a stranger's port is still refused */
	mode_t mode;     /* of a unix path */
	uid_t owner;     /* of a unix path; LISTEN_KEEP_UID */
	gid_t group;     /* of a unix path; LISTEN_KEEP_GID */
};

struct stat;

/* One open socket. The caller owns fd. */
struct listening {
	int fd;
	socklen_t size;             /* of sa */
	struct sockaddr_storage sa; /* as bound: with the port the kernel chose */
	dev_t dev;                  /* the unix path that we made; ino 0 = none */
	ino_t ino;
	char path[LISTEN_PATH_MAX]; /* "" unless a unix path */
};

/*
 * Opens the socket. An address in use by anyone, another clusterd included, is
 * -EADDRINUSE: TCP has SO_REUSEADDR, which on Linux never lets two listeners
 * share a port, UDP has nothing. `*` is one dual-stack socket, or IPv4 where
 * there is no IPv6; a given IPv6 host is V6ONLY.
 *
 * A unix path that exists: a socket nobody listens on (connect says
 * ECONNREFUSED) is replaced by rename(2), so that at no instant the path is
 * missing, unless PATH.PID is too long or taken; a live one is -EADDRINUSE;
 * anything else (file, directory, symbolic link) is -ENOTSOCK and left alone. The
 * new file has no permission bits until owner and mode are right.
 */
int listen_open(const struct listen_spec *spec, struct listening *ret, const char **failed);

/* Closes and, if the path is still the file that we made, unlinks it. */
void listen_close(struct listening *listening);
int listen_unlink_own(const struct listening *listening, const char **failed);

/*
 * 1 when the file of a unix listener is gone, or another one has its place: nobody can connect any
 * more, and nothing tells of it. 0 when it is there, or is a file that was not made here. Or -errno.
 */
int listen_path_lost(const struct listening *listening, const char *path);

/* Closes a listening fd and forgets it. Connections that wait at a unix socket may have brought fds
 * along: then it is left to closer.h, and an abstract name is free a moment later. */
void listen_let_go(int *fd);

/* Port of a TCP or UDP socket, 0 for others, or -errno. */
int listen_port(int fd);

/* What a socket really is. listen_inspect() fails with -ENOTSOCK on any other fd. */
struct listen_facts {
	int domain;   /* AF_INET, AF_INET6, AF_UNIX */
	int type;     /* SOCK_STREAM, SOCK_DGRAM */
	bool accepts; /* SO_ACCEPTCONN */
	bool nonblock;
	int port; /* or 0 */
	socklen_t size;
	struct sockaddr_storage sa;
};
int listen_inspect(int fd, struct listen_facts *ret, const char **failed);

/*
 * An inherited socket must be what its user expects: a stream socket that
 * listens (TCP or unix), or a bound datagram socket. Fills *ret like
 * listen_open(); *ret owns fd only on success.
 */
int listen_check_inherited(int fd, struct listening *ret, const char **failed);

/* The pid of who listens at a unix path: SO_PEERCRED of a connection names the caller of
 * listen(2) (unix(7)). 0 when nobody does. */
pid_t listen_pid_at(const char *path);

/*
 * After an execve(2): takes charge again of the path of a unix socket that this very process made,
 * so that listen_close() unlinks it. It is ours while who connects there meets this process.
 * *listening is what listen_check_inherited() filled; true when its path is known now.
 */
bool listen_claim(struct listening *listening);

/*
 * Whether the file that is `there`, at a path of ours, is that of the socket. After an execve(2) a path whose
 * queue was full just then is not known to be ours: any socket of which nobody can be named counts then,
 * unless it is `lost`: known to be gone or another's.
 */
bool listen_path_own(struct listening *listening, const char *path, const struct stat *there, bool lost);

/* The path of such a socket, whether it can be claimed or not: one that replaced a dead one was made
 * beside it, and goes on being called that. */
void listen_path_made(const struct listening *listening, char ret[LISTEN_PATH_MAX]);

/*
 * 1 after a worker's shutdown(2) or connect(AF_UNSPEC), 0 while it listens, or -errno. poll(2)
 * wakes for it: TCP with POLLHUP, AF_UNIX with POLLRDHUP, which must be asked for.
 * A unix socket can not be repaired: listen_open() the path again, which
 * finds the old one dead and replaces it; the workers need the new one.
 */
int listen_is_down(int fd);

/*
 * Makes the same TCP socket listen again on the same port. bind(2) comes first,
 * because a port chosen by the kernel is given back by shutdown and a bare
 * listen(2) would choose another. -EADDRINUSE: somebody took the port.
 */
int listen_repair(const struct listening *listening, int backlog, const char **failed);

/* What a shared socket is to be like; made by listen_keep_init(). */
struct listen_keep {
	int domain;
	int backlog;       /* 0: whatever it is; may be changed: then limit = 0 too */
	int receive, send; /* buffer sizes, as getsockopt(2) tells them; 0: whatever they are */
	uint32_t limit;    /* the backlog that the kernel made of it; 0: not known yet */
};

/* Whether accept(2) waits, and who decides that. */
enum listen_blocking { LISTEN_AS_WORKERS_LIKE, LISTEN_BLOCK, LISTEN_NONBLOCK };

/* What had been changed: bits of the answer of listen_keep(). */
enum {
	LISTEN_BACKLOG = 1,
	LISTEN_FLAGS = 2,    /* O_NONBLOCK, O_ASYNC */
	LISTEN_TIMEOUTS = 4, /* SO_RCVTIMEO, SO_SNDTIMEO: there are none */
	LISTEN_BUFFERS = 8,  /* SO_RCVBUF, SO_SNDBUF, SO_BUF_LOCK: those of a new socket */
};

/* The buffer sizes are those of a new socket of the same kind, which is made for that, or 0. */
int listen_keep_init(int fd, int backlog, bool buffers, struct listen_keep *ret, const char **failed);

/*
 * Puts back what workers changed of a socket that listens; the bits say what. Cheap (one system call
 * for LISTEN_AS_WORKERS_LIKE, which keeps the backlog only, else seven), so that it may be called each
 * time that clusterd wakes up. A backlog of another size than the last time is taken for a change.
 */
int listen_keep(int fd, struct listen_keep *keep, enum listen_blocking blocking, const char **failed);

/* Forbids to attach filters and reuseport programs to a listening socket, for good; accepted
 * connections inherit that. SO_LOCK_FILTER, socket(7). */
int listen_lock_filter(int fd, const char **failed);

/* Connections that wait for accept(2), and the limit (TCP_INFO of a listener: tcp(7),
 * net/ipv4/tcp.c tcp_get_info). -EOPNOTSUPP for other sockets. */
int listen_queue(int fd, uint32_t *ret_queue, uint32_t *ret_limit);

/* What it has dropped ever, because its queue was full or else (SO_MEMINFO: net/core/sock.c sk_get_meminfo,
 * since Linux 4.12). Wraps. 0 or -errno. */
int listen_dropped(int fd, uint32_t *ret_dropped);

#endif
