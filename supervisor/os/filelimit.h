/*
 * filelimit - how many files this process may have open.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_FILELIMIT_H
#define CLUSTERD_SUPERVISOR_OS_FILELIMIT_H

#include <stdint.h>

/*
 * Raises the soft limit to the hard one, and the hard one to `wanted` if it is lower, which takes
 * CAP_SYS_RESOURCE and no more than sysctl fs.nr_open (setrlimit(2)). 0; -EPERM: the hard limit
 * stays too low; or -errno.
 */
int filelimit_raise(uint64_t wanted);

#endif
