#include "supervisor/os/adopt.h"

#include <linux/seccomp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include "supervisor/os/adopt_epoll.h"
#include "supervisor/os/adopt_option.h"
#include "supervisor/os/adopt_peer.h"
#include "supervisor/os/closer.h"
#include "supervisor/os/sys.h"

enum { NOTIFICATION_ROOM = 512 }; /* the kernel's structs may be larger than ours */

union notification {
	struct seccomp_notif notif;
	unsigned char room[NOTIFICATION_ROOM];
};

union answer {
	struct seccomp_notif_resp resp;
	unsigned char room[NOTIFICATION_ROOM];
};

/* NOTIF_RECV waits when there is nothing, whatever O_NONBLOCK says; so poll first. */
static int fetch(int notify_fd, union notification *n, const char **failed)
{
	struct pollfd wait = { .fd = notify_fd, .events = POLLIN };
	int ready = sys_poll(&wait, 1, 0);

	*failed = "poll";
	if (ready < 0)
		return -errno;
	if (ready == 0)
		return -EAGAIN;
	if ((wait.revents & POLLIN) == 0)
		return -EPIPE;
	*failed = "ioctl(NOTIF_RECV)";
	memset(n, 0, sizeof(*n)); /* the kernel insists */
	return sys_ioctl(notify_fd, SECCOMP_IOCTL_NOTIF_RECV, n) < 0 ? -errno : 0;
}

/*
 * The caller may be killed and its pid given to another at any time; what was read from its memory
 * and from /proc counts only if the request still stands afterwards.
 */
static int still_valid(int notify_fd, uint64_t id, const char **failed)
{
	*failed = "ioctl(NOTIF_ID_VALID)";
	return sys_ioctl(notify_fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) < 0 ? -errno : 0;
}

int adopt_receive(int notify_fd, struct adopt_request *ret, const char **failed)
{
	union notification n;
	int error = fetch(notify_fd, &n, failed);

	if (error != 0)
		return error;
	memset(ret, 0, sizeof(*ret));
	ret->id = n.notif.id;
	ret->tid = ret->pid = (pid_t)n.notif.pid;
	ret->fd = (int)n.notif.data.args[0];
	ret->domain = ret->type = ret->protocol = -1;
	/* x32 has the numbers of x86-64 plus bit 30 */
	if ((n.notif.data.nr & ~(1 << 30)) == SYS_listen) {
		ret->call = ADOPT_LISTEN;
		ret->backlog = (int)n.notif.data.args[1];
		return 0;
	}
	ret->call = ADOPT_BIND;
	adopt_peer_address(ret, n.notif.data.args[1], n.notif.data.args[2]);
	return still_valid(notify_fd, ret->id, failed);
}

int adopt_look(int notify_fd, struct adopt_request *request, const char **failed)
{
	*failed = "closer";
	if (!closer_has_room(-1))
		return -EBUSY;
	adopt_peer_look(request);
	return still_valid(notify_fd, request->id, failed);
}

static int answer(int notify_fd, uint64_t id, int error, uint32_t flags, const char **failed)
{
	union answer a;

	memset(&a, 0, sizeof(a));
	a.resp.id = id;
	a.resp.error = error;
	a.resp.flags = flags;
	*failed = "ioctl(NOTIF_SEND)";
	return sys_ioctl(notify_fd, SECCOMP_IOCTL_NOTIF_SEND, &a) < 0 ? -errno : 0;
}

int adopt_continue(int notify_fd, const struct adopt_request *request, const char **failed)
{
	return answer(notify_fd, request->id, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE, failed);
}

int adopt_answer(int notify_fd, const struct adopt_request *request, int error, const char **failed)
{
	return answer(notify_fd, request->id, -error, 0, failed);
}

static int raise_nonblock(int fd, const char **failed)
{
	int flags = sys_fcntl(fd, F_GETFL, 0);

	*failed = "fcntl";
	if (flags < 0 ||
	    ((flags & O_NONBLOCK) == 0 && sys_fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0))
		return -errno;
	return 0;
}

/* ADDFD with FLAG_SEND would make bind return the fd number instead of 0; so two steps. */
int adopt_replace(int notify_fd, struct adopt_request *request, int socket_fd,
		  const char **ret_lost, const char **failed)
{
	struct seccomp_notif_addfd over = {
		.id = request->id,
		.flags = SECCOMP_ADDFD_FLAG_SETFD,
		.srcfd = (uint32_t)socket_fd,
		.newfd = (uint32_t)request->fd,
		.newfd_flags = request->cloexec ? O_CLOEXEC : 0,
	};
	const char *lost = adopt_options_copy(request, socket_fd);
	int error = request->nonblock ? raise_nonblock(socket_fd, failed) : 0;

	if (error != 0)
		return error;
	*failed = "ioctl(NOTIF_ADDFD)";
	if (sys_ioctl(notify_fd, SECCOMP_IOCTL_NOTIF_ADDFD, &over) < 0)
		return -errno;
	request->deaf = !adopt_epoll_join(request, socket_fd);
	error = answer(notify_fd, request->id, 0, 0, failed);
	if (error == 0)
		*ret_lost = lost;
	return error;
}

bool adopt_same_socket(const struct adopt_request *request, int socket_fd)
{
	struct stat info;

	return request->inode != 0 && sys_fstat(socket_fd, &info) == 0 &&
	       info.st_ino == request->inode;
}

/* Addresses ---------------------------------------------------------------------------------- */

/* An internet address as what it receives. */
struct reach {
	bool v4, v6;
	bool any;
	in_port_t port;
	struct in6_addr address; /* IPv4 as mapped */
};

static bool internet(const struct sockaddr_storage *a)
{
	return a->ss_family == AF_INET || a->ss_family == AF_INET6;
}

static struct reach reach_of(const struct sockaddr_storage *a, bool v6only)
{
	const struct sockaddr_in *in = (const void *)a;
	const struct sockaddr_in6 *in6 = (const void *)a;
	struct reach r = { .port = in->sin_port }; /* at the same place in both */

	if (a->ss_family == AF_INET) {
		r.address.s6_addr[10] = r.address.s6_addr[11] = 0xff;
		memcpy(&r.address.s6_addr[12], &in->sin_addr, sizeof(in->sin_addr));
	} else {
		r.address = in6->sin6_addr;
	}
	r.v4 = IN6_IS_ADDR_V4MAPPED(&r.address);
	r.v6 = !r.v4;
	r.any = IN6_IS_ADDR_UNSPECIFIED(&r.address) ||
		(r.v4 && memcmp(&r.address.s6_addr[12], "\0\0\0\0", 4) == 0);
	if (r.v6 && r.any)
		r.v4 = !v6only;
	return r;
}

/* All that `inner` receives, `outer` does. */
static bool includes(const struct reach *outer, const struct reach *inner)
{
	if (!outer->any)
		return memcmp(&outer->address, &inner->address, sizeof(outer->address)) == 0;
	return (outer->v4 || !inner->v4) && (outer->v6 || !inner->v6);
}

static bool same_path(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	const struct sockaddr_un *x = (const void *)a, *y = (const void *)b;

	return x->sun_path[0] != '\0' &&
	       strncmp(x->sun_path, y->sun_path, sizeof(x->sun_path)) == 0;
}

bool adopt_same_address(const struct sockaddr_storage *a, bool a_v6only,
			const struct sockaddr_storage *b, bool b_v6only)
{
	const struct sockaddr_in6 *x = (const void *)a, *y = (const void *)b;

	if (a->ss_family != b->ss_family)
		return false;
	if (a->ss_family == AF_UNIX)
		return same_path(a, b);
	if (a->ss_family == AF_INET6) {
		return x->sin6_port == y->sin6_port && x->sin6_scope_id == y->sin6_scope_id &&
		       a_v6only == b_v6only && IN6_ARE_ADDR_EQUAL(&x->sin6_addr, &y->sin6_addr);
	}
	return a->ss_family == AF_INET &&
	       ((const struct sockaddr_in *)(const void *)a)->sin_port ==
		   ((const struct sockaddr_in *)(const void *)b)->sin_port &&
	       ((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr ==
		   ((const struct sockaddr_in *)(const void *)b)->sin_addr.s_addr;
}

bool adopt_covers(const struct sockaddr_storage *listener, bool v6only,
		  const struct sockaddr_storage *asked)
{
	struct reach a, b;

	if (listener->ss_family == AF_UNIX && asked->ss_family == AF_UNIX)
		return same_path(listener, asked);
	if (!internet(listener) || !internet(asked))
		return false;
	a = reach_of(listener, v6only);
	b = reach_of(asked, false);
	return a.port == b.port && a.port != 0 && (includes(&a, &b) || includes(&b, &a));
}
