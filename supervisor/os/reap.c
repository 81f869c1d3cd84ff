#include "supervisor/os/reap.h"

#include "supervisor/os/sys.h"

static uint64_t to_ms(struct timeval time)
{
	return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_usec / 1000;
}

static int end_code(const siginfo_t *info)
{
	return info->si_code == CLD_EXITED ? info->si_status : 0;
}

static int end_signal(const siginfo_t *info)
{
	return info->si_code == CLD_EXITED ? 0 : info->si_status;
}

/* waitid(2): the fifth argument of the system call, which libc hides, is the rusage. */
static int wait_pidfd(int pidfd, int options, struct reaped *ret)
{
	siginfo_t info = { 0 };
	struct rusage usage = { 0 };

	while (sys_waitid(P_PIDFD, pidfd, &info, WEXITED | WNOHANG | options, &usage) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	if (info.si_pid == 0)
		return 0;
	*ret = (struct reaped){
		.pid = info.si_pid,
		.code = end_code(&info),
		.signal = end_signal(&info),
		.core = info.si_code == CLD_DUMPED,
		.user_ms = to_ms(usage.ru_utime),
		.sys_ms = to_ms(usage.ru_stime),
		.max_rss_kb = (uint64_t)usage.ru_maxrss,
	};
	return 1;
}

int reap_peek(int pidfd, struct reaped *ret)
{
	return wait_pidfd(pidfd, WNOWAIT, ret);
}

int reap(int pidfd, struct reaped *ret)
{
	return wait_pidfd(pidfd, 0, ret);
}

int reap_wait(int pidfd, int timeout_ms, struct reaped *ret)
{
	struct pollfd watch = { .fd = pidfd, .events = POLLIN };

	if (sys_poll(&watch, 1, timeout_ms) < 0 && errno != EINTR)
		return -errno;
	return reap(pidfd, ret);
}

int reap_open(pid_t pid)
{
	int pidfd = sys_pidfd_open(pid, 0);

	return pidfd < 0 ? -errno : pidfd;
}

int reap_signal(int pidfd, int signal)
{
	return sys_pidfd_send_signal(pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

int reap_signal_group(pid_t group, int signal)
{
	if (group <= 1)
		return -EINVAL; /* kill(2) reads 0 as "mine" and -1 as "everybody" */
	if (sys_kill(-group, signal) < 0 && errno != ESRCH)
		return -errno;
	return 0;
}

int reap_strangers(const struct reap_who *who, int budget, pid_t *ret_blocked)
{
	int reaped = 0;

	*ret_blocked = 0;
	while (reaped < budget) {
		siginfo_t info = { 0 };

		if (sys_waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT, NULL) < 0)
			return errno == ECHILD ? reaped : -errno;
		if (info.si_pid == 0)
			return reaped;
		if (who->is_ours(who->context, info.si_pid)) {
			*ret_blocked = info.si_pid;
			return reaped;
		}
		if (sys_waitid(P_PID, info.si_pid, &info, WEXITED | WNOHANG, NULL) < 0)
			return -errno;
		if (who->told)
			who->told(who->context, &(struct reaped){ .pid = info.si_pid,
								  .code = end_code(&info),
								  .signal = end_signal(&info),
								  .core = info.si_code == CLD_DUMPED });
		reaped++;
	}
	return reaped;
}
