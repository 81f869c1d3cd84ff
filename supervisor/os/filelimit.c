#include "supervisor/os/filelimit.h"

#include <errno.h>
#include <sys/resource.h>

#include "supervisor/os/sys.h"

int filelimit_raise(uint64_t wanted)
{
	struct rlimit limit;
	rlim_t hard;

	if (sys_getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	hard = limit.rlim_max;
	if (wanted > hard) {
		limit = (struct rlimit){ wanted, wanted };
		if (sys_setrlimit(RLIMIT_NOFILE, &limit) == 0)
			return 0;
	}
	limit = (struct rlimit){ hard, hard };
	if (sys_setrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	return wanted > hard ? -EPERM : 0;
}
