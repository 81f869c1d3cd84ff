/*
 * cpus - how many CPUs this process may really use, and which.
 *
 *	max(1, min(CPUs of the affinity mask, ceil(smallest quota)))
 *
 * with the smallest of the quotas of its own cgroup and all ancestors: v2 cpu.max, v1
 * cpu.cfs_quota_us / cpu.cfs_period_us (kernel Documentation/admin-guide/cgroup-v2.rst,
 * Documentation/scheduler/sched-bwc.rst). An unreadable quota is none.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_CPUS_H
#define CLUSTERD_SUPERVISOR_OS_CPUS_H

#include <stdint.h>

enum { CPUS_MAX = 8192 }; /* CONFIG_NR_CPUS of the largest distribution kernels */

struct cpus {
	uint32_t affinity; /* CPUs in the mask */
	uint32_t quota;    /* thousandths of a CPU; 0 = no limit */
	uint32_t usable;   /* the formula */
};

/* `root` is "" or the folder of a made-up tree, for the quota only. 0 or -errno. */
int cpus_usable(const char *root, struct cpus *ret);

/* Number of the i-th CPU of the affinity mask, counted round: i may pass the end. Or -errno. */
int cpus_number(uint32_t i);

#endif
