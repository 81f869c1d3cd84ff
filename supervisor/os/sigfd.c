#include "supervisor/os/sigfd.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>

#include "supervisor/os/sys.h"

enum { KERNEL_SIGSET_SIZE = 8 };

int sigfd_open(const int *signals, size_t count, int *ret_fd, const char **failed)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	for (size_t i = 0; i < count; i++)
		sigaddset(&set, signals[i]);
	*failed = "signalfd";
	fd = sys_signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	*failed = "sigprocmask";
	if (sys_rt_sigprocmask(SIG_SETMASK, &set, NULL, KERNEL_SIGSET_SIZE) < 0) {
		int error = errno;

		close(fd);
		return -error;
	}
	*ret_fd = fd;
	return 0;
}

int sigfd_next(int fd, struct sigfd_signal *ret)
{
	struct signalfd_siginfo info;
	ssize_t size = sys_read(fd, &info, sizeof info);

	if (size < 0)
		return errno == EAGAIN ? 0 : -errno;
	*ret = (struct sigfd_signal){
		.number = (int)info.ssi_signo,
		.sent = info.ssi_code <= 0, /* SI_FROMUSER of siginfo.h */
		.pid = (pid_t)info.ssi_pid,
		.uid = (uid_t)info.ssi_uid,
	};
	return 1;
}
