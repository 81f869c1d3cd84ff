#include "supervisor/os/cpus.h"

#include <sched.h>
#include <string.h>

#include "supervisor/os/cgroup.h"
#include "supervisor/os/sys.h"

enum { NUMBER_TEXT_MAX = 64 };

struct affinity {
	cpu_set_t sets[CPUS_MAX / CPU_SETSIZE];
};

static int read_affinity(struct affinity *ret)
{
	memset(ret, 0, sizeof *ret);
	return sys_sched_getaffinity(0, sizeof *ret, ret->sets) < 0 ? -errno : 0;
}

/* Thousandths of a CPU, rounded up; 0 = no limit. */
static uint32_t thousandths(long long quota, long long period)
{
	const long long most = (long long)CPUS_MAX * 1000;
	long long answer;

	if (quota <= 0 || period <= 0 || quota > INT64_MAX / 1000 - period)
		return 0;
	answer = (quota * 1000 + period - 1) / period;
	return (uint32_t)(answer < most ? answer : most);
}

/* v2: `QUOTA PERIOD` or `max PERIOD`. */
static uint32_t quota_v2(const struct cgroup_dir *dir)
{
	char text[NUMBER_TEXT_MAX];
	long long quota, period = 100000;

	if (cgroup_read(dir, "cpu.max", text, sizeof text) < 0 ||
	    sscanf(text, "%lld %lld", &quota, &period) < 1)
		return 0;
	return thousandths(quota, period);
}

/* v1: one number each; the quota is -1 when there is none. */
static uint32_t quota_v1(const struct cgroup_dir *dir)
{
	char quota[NUMBER_TEXT_MAX], period[NUMBER_TEXT_MAX];

	if (cgroup_read(dir, "cpu.cfs_quota_us", quota, sizeof quota) < 0)
		return 0;
	if (cgroup_read(dir, "cpu.cfs_period_us", period, sizeof period) < 0)
		return thousandths(strtoll(quota, NULL, 10), 100000);
	return thousandths(strtoll(quota, NULL, 10), strtoll(period, NULL, 10));
}

/* Smallest of `best` and all quotas from the process's own directory up to the mount point. */
static uint32_t walk_up(const char *root, const char *controller,
			uint32_t (*read)(const struct cgroup_dir *), uint32_t best)
{
	struct cgroup_dir dir;

	if (cgroup_find(root, 0, controller, &dir) < 0)
		return best;
	do {
		uint32_t quota = read(&dir);

		if (quota > 0 && (best == 0 || quota < best))
			best = quota;
	} while (cgroup_parent(&dir));
	return best;
}

int cpus_usable(const char *root, struct cpus *ret)
{
	struct affinity affinity;
	struct cpus cpus = { 0 };
	uint32_t limit;
	int error = read_affinity(&affinity);

	if (error)
		return error;
	cpus.affinity = (uint32_t)CPU_COUNT_S(sizeof affinity, affinity.sets);
	cpus.quota = walk_up(root, "cpu", quota_v1, walk_up(root, "", quota_v2, 0));
	limit = cpus.quota ? (cpus.quota + 999) / 1000 : cpus.affinity;
	cpus.usable = limit < cpus.affinity ? limit : cpus.affinity;
	if (cpus.usable < 1)
		cpus.usable = 1;
	*ret = cpus;
	return 0;
}

int cpus_number(uint32_t i)
{
	struct affinity affinity;
	int error = read_affinity(&affinity);
	uint32_t count, left;

	if (error)
		return error;
	count = (uint32_t)CPU_COUNT_S(sizeof affinity, affinity.sets);
	if (count == 0)
		return -ENODATA;
	left = i % count;
	for (int cpu = 0; cpu < CPUS_MAX; cpu++) {
		if (CPU_ISSET_S((size_t)cpu, sizeof affinity, affinity.sets) && left-- == 0)
			return cpu;
	}
	return -ENODATA;
}
