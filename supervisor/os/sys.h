/*
 * sys - the seam between supervisor/os and the kernel.
 *
 * Every call of this folder that can fail is made as sys_NAME(), from the one
 * list in sys.def. Normally that is the call itself, inlined. With
 * -DCLUSTERD_FAULT each first asks fault_hit("NAME"), which the tests provide
 * (tests/fault): true means "fail here", with errno already set.
 *
 * Not in the list, because nothing can be done about their failure or they have
 * none: close, munmap, madvise, getpid, getppid, umask, clock_gettime, nanosleep, the
 * unlink that clears up after another failure, and all that only smooths the way to a
 * close(2) (closer.c, listen_let_go(), notifysock_close(), peersock.c) or is made by
 * another thread (spawnguard.c).
 *
 * Needs Linux 5.9 (close_range; P_PIDFD is 5.4, CLONE_PIDFD 5.2) and a 64-bit
 * machine: the 32-bit ones have other numbers for the uid calls.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_SYS_H
#define CLUSTERD_SUPERVISOR_OS_SYS_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

_Static_assert(sizeof(long) == 8, "supervisor/os is written for 64-bit Linux");

#ifdef CLUSTERD_FAULT
bool fault_hit(const char *call);
/* -1 as a pointer is MAP_FAILED. */
#define SYS_FAULT(result, name)                                                                    \
	if (fault_hit(#name))                                                                      \
		return (result)-1L;
#else
#define SYS_FAULT(result, name)
#endif

#define SYS_BARE(...) __VA_ARGS__
#define SYS(result, name, parameters, arguments)                                                   \
	static inline result sys_##name parameters                                                 \
	{                                                                                          \
		SYS_FAULT(result, name)                                                            \
		return name arguments;                                                             \
	}
#define RAW(result, name, parameters, arguments)                                                   \
	static inline result sys_##name parameters                                                 \
	{                                                                                          \
		SYS_FAULT(result, name)                                                            \
		return (result)syscall(SYS_##name, SYS_BARE arguments);                            \
	}
#include "supervisor/os/sys.def"
#undef SYS
#undef RAW

#endif
