#include "supervisor/os/pollset.h"

#include "supervisor/os/sys.h"

int pollset_open(void)
{
	int fd = sys_epoll_create1(EPOLL_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int pollset_add(int set, int fd, void *owner)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = owner };

	return sys_epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int pollset_drop(int set, int fd)
{
	return sys_epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL) < 0 ? -errno : 0;
}

int pollset_look(int set, struct epoll_event *events, int max)
{
	int n;

	do
		n = sys_epoll_wait(set, events, max, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}
