/* Up to adopt_spawn_hook() it runs between vfork and execve: no memory but the stack, no stdio, no locks. */
#include "supervisor/os/adopt.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

#include "supervisor/os/scope.h"
#include "supervisor/os/sys.h"

/*
 * x32 has the calls of x86-64 with bit 30 set, and bind and listen under the same numbers and with
 * the same addresses; masking the bit covers both.
 */
#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#define NUMBER_MASK 0xbfffffffU
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#define NUMBER_MASK 0xffffffffU
#else
#define ARCH 0U
#define NUMBER_MASK 0U
#endif

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

/* The low half of an argument: both architectures are little-endian. */
#define ARGUMENT(n) (uint32_t)(offsetof(struct seccomp_data, args) + (n) * sizeof(uint64_t))
#define FIELD(name) (uint32_t) offsetof(struct seccomp_data, name)

/*
 * WAIT_KILLABLE_RECV (5.19): once we have seen the call only a fatal signal ends it, so a program
 * with a busy timer signal does not restart it for ever. SPEC_ALLOW: no slow-down of the program
 * for side-channel reasons, on kernels that tie that to seccomp.
 */
static int install(const struct sock_fprog *program)
{
	static const unsigned long optional[] = {
		SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV | SECCOMP_FILTER_FLAG_SPEC_ALLOW,
		SECCOMP_FILTER_FLAG_SPEC_ALLOW,
		0,
	};
	int fd = -1;

	for (size_t i = 0; i < sizeof(optional) / sizeof(optional[0]); i++) {
		unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | optional[i];

		fd = sys_seccomp(SECCOMP_SET_MODE_FILTER, (unsigned int)flags, (void *)program);
		if (fd >= 0 || errno != EINVAL)
			break;
	}
	return fd;
}

/*
 * A bind whose address is shorter than sockaddr_in can not be for IPv4 or IPv6. Everything but
 * bind and listen is decided by its number alone, which the kernel caches (5.11): no cost then.
 */
int adopt_filter_install(const struct adopt_filter *filter, const char **failed)
{
	uint32_t shortest = filter->unix_too ? 0 : sizeof(struct sockaddr_in);
	struct sock_filter program[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FIELD(arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 0, 7),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FIELD(nr)),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, NUMBER_MASK),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_listen, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bind, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARGUMENT(2)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, shortest, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog fprog = { sizeof(program) / sizeof(program[0]), program };
	int fd;

	*failed = "architecture";
	if (ARCH == 0)
		return -ENOSYS;
	*failed = "prctl(PR_SET_NO_NEW_PRIVS)";
	if (!filter->keep_setuid && sys_prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0) < 0)
		return -errno;
	*failed = "seccomp(SET_MODE_FILTER)";
	fd = install(&fprog);
	return fd < 0 ? -errno : fd;
}

union fd_message {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr header;
};

int adopt_send_fd(int socket, int fd, const char **failed)
{
	char byte = 0;
	struct iovec io = { .iov_base = &byte, .iov_len = 1 };
	union fd_message control;
	struct msghdr message = {
		.msg_iov = &io,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};

	memset(&control, 0, sizeof(control));
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	*failed = "sendmsg";
	return sys_sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

int adopt_spawn_hook(void *context, const char **failed)
{
	const struct adopt_hook *hook = context;
	scoped_fd fd = adopt_filter_install(&hook->filter, failed);

	return fd < 0 ? fd : adopt_send_fd(hook->socket, fd, failed);
}

int adopt_recv_fd(int socket, const char **failed)
{
	char byte;
	struct iovec io = { .iov_base = &byte, .iov_len = 1 };
	union fd_message control;
	struct msghdr message = {
		.msg_iov = &io,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	const struct cmsghdr *header;
	ssize_t size;
	int fd;

	*failed = "recvmsg";
	size = sys_recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (size < 0)
		return -errno;
	header = CMSG_FIRSTHDR(&message);
	if (size == 0 || header == NULL || header->cmsg_type != SCM_RIGHTS ||
	    header->cmsg_len != CMSG_LEN(sizeof(int)))
		return -EPIPE;
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

enum adopt_support adopt_probe_kernel(void)
{
	struct seccomp_notif_sizes sizes;
	uint32_t action = SECCOMP_RET_USER_NOTIF;

	if (ARCH == 0 || sys_seccomp(SECCOMP_GET_NOTIF_SIZES, 0, &sizes) < 0 ||
	    sys_seccomp(SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0)
		return ADOPT_TOO_OLD;
	return ADOPT_OK;
}
