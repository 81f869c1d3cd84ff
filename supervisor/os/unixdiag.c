#include "supervisor/os/unixdiag.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "supervisor/os/scope.h"
#include "supervisor/os/sys.h"

enum { LISTENS = 10 /* TCP_LISTEN, of a unix socket too */ };

struct answer {
	struct nlmsghdr header;
	union {
		struct nlmsgerr error;
		struct unix_diag_msg unix_socket;
	};
	char attributes[512]; /* one of 12 bytes is asked for */
};

static int ask(int diag, uint32_t inode)
{
	struct {
		struct nlmsghdr header;
		struct unix_diag_req body;
	} request = {
		.header = { .nlmsg_len = sizeof request,
			    .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			    .nlmsg_flags = NLM_F_REQUEST },
		.body = { .sdiag_family = AF_UNIX,
			  .udiag_states = UINT32_MAX,
			  .udiag_ino = inode,
			  .udiag_show = UDIAG_SHOW_RQLEN,
			  .udiag_cookie = { UINT32_MAX, UINT32_MAX } },
	};
	struct iovec iov = { .iov_base = &request, .iov_len = sizeof request };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

	return sys_sendmsg(diag, &message, 0) < 0 ? -errno : 0;
}

static int find(const struct answer *answer, size_t size, struct unix_diag_rqlen *ret)
{
	const struct rtattr *at = (const void *)(&answer->unix_socket + 1);
	size_t left;

	if (size < NLMSG_LENGTH(sizeof answer->unix_socket))
		return -EPROTO;
	if (answer->unix_socket.udiag_state != LISTENS)
		return -EOPNOTSUPP;
	left = size - NLMSG_LENGTH(sizeof answer->unix_socket);
	for (; RTA_OK(at, left); at = RTA_NEXT(at, left)) {
		if (at->rta_type != UNIX_DIAG_RQLEN || RTA_PAYLOAD(at) < sizeof *ret)
			continue;
		memcpy(ret, RTA_DATA(at), sizeof *ret);
		return 0;
	}
	return -EPROTO;
}

static int hear(int diag, struct unix_diag_rqlen *ret)
{
	struct answer answer = { 0 };
	struct iovec iov = { .iov_base = &answer, .iov_len = sizeof answer };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n = sys_recvmsg(diag, &message, MSG_DONTWAIT); /* it was written by the request */
	size_t size = n < 0 ? 0 : (size_t)n;

	if (n < 0)
		return -errno;
	if (size < NLMSG_HDRLEN || answer.header.nlmsg_len > size)
		return -EPROTO;
	if (answer.header.nlmsg_type == SOCK_DIAG_BY_FAMILY)
		return find(&answer, answer.header.nlmsg_len, ret);
	if (answer.header.nlmsg_type != NLMSG_ERROR || size < NLMSG_LENGTH(sizeof answer.error) ||
	    answer.error.error >= 0)
		return -EPROTO;
	return answer.error.error;
}

int unixdiag_queue(int fd, uint32_t *ret_queue, uint32_t *ret_limit)
{
	struct unix_diag_rqlen found;
	scoped_fd diag = -1;
	struct stat info;
	int error;

	if (sys_fstat(fd, &info) < 0)
		return -errno;
	diag = sys_socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (diag < 0)
		return -errno;
	error = ask(diag, (uint32_t)info.st_ino);
	if (!error)
		error = hear(diag, &found);
	if (error)
		return error;
	*ret_queue = found.udiag_rqueue;
	*ret_limit = found.udiag_wqueue;
	return 0;
}
