#include "supervisor/os/hangup.h"

#include <errno.h>
#include <sys/epoll.h>

#include "supervisor/os/sys.h"

int hangup_open(int *ret_fd, const char **failed)
{
	int fd = sys_epoll_create1(EPOLL_CLOEXEC);

	*failed = "epoll_create";
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

int hangup_watch(int epoll_fd, int fd, uint32_t tag, const char **failed)
{
	struct epoll_event event = { .events = EPOLLRDHUP | EPOLLET, .data.u32 = tag };

	*failed = "epoll_ctl";
	return sys_epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int hangup_forget(int epoll_fd, int fd, const char **failed)
{
	struct epoll_event event = { .events = 0 };

	*failed = "epoll_ctl";
	return sys_epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, &event) < 0 ? -errno : 0;
}

int hangup_next(int epoll_fd, uint32_t *ret_tag)
{
	struct epoll_event event;
	int n = sys_epoll_wait(epoll_fd, &event, 1, 0);

	if (n < 0)
		return -errno;
	if (n > 0)
		*ret_tag = event.data.u32;
	return n;
}
