/*
 * cpus, cgroup and proc on made-up trees: catalogue row H5 and facts about containers.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor/os/cgroup.h"
#include "supervisor/os/cpus.h"
#include "supervisor/os/proc.h"
#include "tests/unit/suite.h"

static char folder[] = "/tmp/clusterd-cpus-XXXXXX";

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void teardown(void)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
	snprintf(folder, sizeof folder, "/tmp/clusterd-cpus-XXXXXX");
}

/* Writes folder/name, with the folders above it. */
static void put(const char *name, const char *text)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	for (char *slash = path + strlen(folder); (slash = strchr(slash + 1, '/'));) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
	file = fopen(path, "we");
	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	fclose(file);
}

#define V2_MOUNT "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_MOUNT "31 23 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
#define HYBRID "32 23 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
#define DISTRACTION                                                                                \
	"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"                                                    \
	"33 23 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"

enum { FILES_MAX = 4 };

static const struct tree {
	const char *what;
	const char *mounts;
	const char *membership;
	const char *files[FILES_MAX][2];
	uint32_t quota; /* thousandths */
} trees[] = {
	{ "nothing at all", NULL, NULL, { { NULL } }, 0 },
	{ "no mount", DISTRACTION, "0::/\n", { { NULL } }, 0 },
	{ "v2 root without a file", V2_MOUNT, "0::/\n", { { NULL } }, 0 },
	{ "v2 max", V2_MOUNT, "0::/a\n", { { "sys/fs/cgroup/a/cpu.max", "max 100000\n" } }, 0 },
	{ "v2 half",
	  V2_MOUNT,
	  "0::/a\n",
	  { { "sys/fs/cgroup/a/cpu.max", "50000 100000\n" } },
	  500 },
	{ "v2 1.5",
	  V2_MOUNT,
	  "0::/a\n",
	  { { "sys/fs/cgroup/a/cpu.max", "150000 100000\n" } },
	  1500 },
	{ "v2 other period",
	  V2_MOUNT,
	  "0::/a\n",
	  { { "sys/fs/cgroup/a/cpu.max", "20000 10000\n" } },
	  2000 },
	{ "v2 no period",
	  V2_MOUNT,
	  "0::/a\n",
	  { { "sys/fs/cgroup/a/cpu.max", "300000\n" } },
	  3000 },
	{ "v2 rounding up",
	  V2_MOUNT,
	  "0::/a\n",
	  { { "sys/fs/cgroup/a/cpu.max", "100001 100000\n" } },
	  1001 },
	{ "v2 garbage", V2_MOUNT, "0::/a\n", { { "sys/fs/cgroup/a/cpu.max", "x y\n" } }, 0 },
	{ "v2 empty", V2_MOUNT, "0::/a\n", { { "sys/fs/cgroup/a/cpu.max", "" } }, 0 },
	{ "v2 zero period", V2_MOUNT, "0::/a\n", { { "sys/fs/cgroup/a/cpu.max", "1 0\n" } }, 0 },
	{ "v2 negative", V2_MOUNT, "0::/a\n", { { "sys/fs/cgroup/a/cpu.max", "-1 100000\n" } }, 0 },
	{ "v2 huge",
	  V2_MOUNT,
	  "0::/a\n",
	  { { "sys/fs/cgroup/a/cpu.max", "9223372036854775807 1\n" } },
	  0 },
	{ "v2 grandparent is the smallest",
	  V2_MOUNT,
	  "0::/a/b/c\n",
	  { { "sys/fs/cgroup/a/cpu.max", "70000 100000\n" },
	    { "sys/fs/cgroup/a/b/cpu.max", "max 100000\n" },
	    { "sys/fs/cgroup/a/b/c/cpu.max", "400000 100000\n" } },
	  700 },
	{ "v2 own is the smallest",
	  V2_MOUNT,
	  "0::/a/b\n",
	  { { "sys/fs/cgroup/a/cpu.max", "400000 100000\n" },
	    { "sys/fs/cgroup/a/b/cpu.max", "200000 100000\n" } },
	  2000 },
	{ "v2 sibling does not count",
	  V2_MOUNT,
	  "0::/a/b\n",
	  { { "sys/fs/cgroup/a/c/cpu.max", "10000 100000\n" } },
	  0 },
	{ "v2 the mount's own file counts (cgroup namespace)",
	  V2_MOUNT,
	  "0::/\n",
	  { { "sys/fs/cgroup/cpu.max", "250000 100000\n" } },
	  2500 },
	{ "v2 seen from outside a namespace",
	  V2_MOUNT,
	  "0::/../../x\n",
	  { { "sys/fs/cgroup/cpu.max", "250000 100000\n" } },
	  2500 },
	{ "v2 container: the mount's root is a prefix",
	  "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
	  "0::/docker/abc/app\n",
	  { { "sys/fs/cgroup/cpu.max", "300000 100000\n" },
	    { "sys/fs/cgroup/app/cpu.max", "200000 100000\n" } },
	  2000 },
	{ "v2 container: the prefix must end at a slash",
	  "30 23 0:26 /docker/ab /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
	  "0::/docker/abc\n",
	  { { "sys/fs/cgroup/cpu.max", "300000 100000\n" } },
	  3000 },
	{ "v1 none",
	  V1_MOUNT,
	  "2:cpu,cpuacct:/a\n",
	  { { "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "-1\n" },
	    { "sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n" } },
	  0 },
	{ "v1 quarter",
	  V1_MOUNT,
	  "2:cpu,cpuacct:/a\n",
	  { { "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "25000\n" },
	    { "sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n" } },
	  250 },
	{ "v1 without a period file",
	  V1_MOUNT,
	  "2:cpuacct,cpu:/a\n",
	  { { "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "250000\n" } },
	  2500 },
	{ "v1 parent",
	  V1_MOUNT,
	  "2:cpu,cpuacct:/a/b\n",
	  { { "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "150000\n" },
	    { "sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "50000\n" } },
	  3000 },
	{ "v1 cpuset alone is no cpu controller",
	  DISTRACTION,
	  "3:cpuset:/a\n0::/\n",
	  { { "sys/fs/cgroup/cpuset/a/cpu.cfs_quota_us", "1000\n" } },
	  0 },
	{ "hybrid: v1 has the controller",
	  DISTRACTION V1_MOUNT HYBRID,
	  "2:cpu,cpuacct:/a\n1:name=x:/\n0::/b\n",
	  { { "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "120000\n" },
	    { "sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n" } },
	  1200 },
	{ "hybrid: the smaller of both",
	  DISTRACTION V1_MOUNT HYBRID,
	  "2:cpu,cpuacct:/a\n0::/b\n",
	  { { "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "220000\n" },
	    { "sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n" },
	    { "sys/fs/cgroup/unified/b/cpu.max", "110000 100000\n" } },
	  1100 },
	{ "a process whose cgroup was removed", V2_MOUNT, "0::/a (deleted)\n", { { NULL } }, 0 },
	{ "membership without colons", V2_MOUNT, "garbage\n", { { NULL } }, 0 },
	{ "a mount line cut short",
	  "30 23 0:26 - cgroup2\n30 23 - cgroup2 x y\n",
	  "0::/\n",
	  { { NULL } },
	  0 },
};

START_TEST(quota)
{
	const struct tree *tree = &trees[_i];
	struct cpus cpus;
	uint32_t limit;

	if (tree->mounts)
		put("proc/self/mountinfo", tree->mounts);
	if (tree->membership)
		put("proc/self/cgroup", tree->membership);
	for (int i = 0; i < FILES_MAX && tree->files[i][0]; i++)
		put(tree->files[i][0], tree->files[i][1]);
	ck_assert_int_eq(cpus_usable(folder, &cpus), 0);
	ck_assert_msg(cpus.quota == tree->quota, "%s: %u, not %u", tree->what, cpus.quota,
		      tree->quota);
	limit = (tree->quota + 999) / 1000;
	ck_assert_uint_eq(cpus.usable, limit && limit < cpus.affinity ? limit : cpus.affinity);
}
END_TEST

START_TEST(affinity)
{
	cpu_set_t all, one;
	struct cpus cpus;
	int first, count;

	ck_assert_int_eq(sched_getaffinity(0, sizeof all, &all), 0);
	count = CPU_COUNT(&all);
	ck_assert_int_eq(cpus_usable(folder, &cpus), 0);
	ck_assert_uint_eq(cpus.affinity, (uint32_t)count);
	for (int i = 0; i < 3 * count; i++) {
		int cpu = cpus_number((uint32_t)i);

		ck_assert_int_ge(cpu, 0);
		ck_assert(CPU_ISSET((size_t)cpu, &all));
		ck_assert_int_eq(cpu, cpus_number((uint32_t)(i + count)));
	}
	first = cpus_number((uint32_t)count - 1);
	CPU_ZERO(&one);
	CPU_SET((size_t)first, &one);
	ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
	ck_assert_int_eq(cpus_usable(folder, &cpus), 0);
	ck_assert_uint_eq(cpus.usable, 1);
	ck_assert_int_eq(cpus_number(7), first);
}
END_TEST

/* Opens and reads it as clusterd does, but at once. */
static int oom_kills_of(pid_t pid, uint64_t *ret)
{
	int fd = cgroup_oom_open(folder, pid), rc;

	if (fd < 0)
		return fd;
	rc = cgroup_oom_read(fd, ret);
	close(fd);
	return rc;
}

START_TEST(oom_kills)
{
	uint64_t kills = 77;

	ck_assert_int_eq(oom_kills_of(42, &kills), -ENOENT);
	put("proc/self/mountinfo", V2_MOUNT);
	put("proc/42/cgroup", "0::/a\n");
	ck_assert_int_eq(oom_kills_of(42, &kills), -ENOENT);
	put("sys/fs/cgroup/a/memory.events",
	    "low 0\nhigh 9\nmax 4\noom 3\noom_kill 2\noom_group_kill 1\n");
	ck_assert_int_eq(oom_kills_of(42, &kills), 0);
	ck_assert_uint_eq(kills, 2);
	put("proc/self/mountinfo",
	    V2_MOUNT "40 23 0:40 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
	put("proc/42/cgroup", "5:memory:/m\n0::/a\n");
	put("sys/fs/cgroup/memory/m/memory.oom_control",
	    "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n");
	ck_assert_int_eq(oom_kills_of(42, &kills), 0);
	ck_assert_uint_eq(kills, 5);
	put("sys/fs/cgroup/memory/m/memory.oom_control", "oom_kill_disable 0\n");
	ck_assert_int_eq(oom_kills_of(42, &kills), -ENOENT);
	ck_assert_uint_eq(kills, 5);
}
END_TEST

START_TEST(oom_counter_is_kept)
{
	uint64_t kills;
	int fd;

	put("proc/self/mountinfo", V2_MOUNT);
	put("proc/42/cgroup", "0::/a\n");
	put("sys/fs/cgroup/a/memory.events", "oom 0\noom_kill 1\n");
	fd = cgroup_oom_open(folder, 42);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(cgroup_oom_read(fd, &kills), 0);
	ck_assert_uint_eq(kills, 1);
	put("sys/fs/cgroup/a/memory.events", "oom 9\noom_kill 10\n");
	ck_assert_int_eq(cgroup_oom_read(fd, &kills), 0);
	ck_assert_uint_eq(kills, 10);
	close(fd);
	ck_assert_int_eq(cgroup_oom_read(fd, &kills), -EBADF);
}
END_TEST

START_TEST(proc_of_a_tree)
{
	struct proc_info info = { .state = '?' };
	const uint64_t tick_ms = 1000 / (uint64_t)sysconf(_SC_CLK_TCK);

	put("42/stat", "42 (a) b) S 7 8 9 0 -1 4194560 1 2 3 4 50 60 70 80 20 0 5 0 12345 4096 10 "
		       "18446744073709551615 1 1 0\n");
	ck_assert_int_eq(proc_read(folder, 42, &info), 0);
	ck_assert_int_eq(info.state, 'S');
	ck_assert_int_eq(info.ppid, 7);
	ck_assert_int_eq(info.group, 8);
	ck_assert_int_eq(info.session, 9);
	ck_assert_uint_eq(info.user_ms, 50 * tick_ms);
	ck_assert_uint_eq(info.sys_ms, 60 * tick_ms);
	ck_assert_uint_eq(info.threads, 5);
	ck_assert_uint_eq(info.started, 12345);
	ck_assert_uint_eq(info.rss_bytes, 10 * (uint64_t)sysconf(_SC_PAGESIZE));
	info.state = '?';
	ck_assert_int_eq(proc_read(folder, 43, &info), -ENOENT);
	put("44/stat", "44 (cut) S 7 8");
	ck_assert_int_eq(proc_read(folder, 44, &info), -EBADMSG);
	put("45/stat", "");
	ck_assert_int_eq(proc_read(folder, 45, &info), -EBADMSG);
	ck_assert_int_eq(info.state, '?');
}
END_TEST

START_TEST(proc_of_ourselves)
{
	struct proc_info info;

	ck_assert_int_eq(proc_read("/proc", getpid(), &info), 0);
	ck_assert_int_eq(info.ppid, getppid());
	ck_assert_uint_gt(info.rss_bytes, 0);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_loop_test(tests, quota, 0, sizeof trees / sizeof *trees);
	tcase_add_test(tests, affinity);
	tcase_add_test(tests, oom_kills);
	tcase_add_test(tests, oom_counter_is_kept);
	tcase_add_test(tests, proc_of_a_tree);
	tcase_add_test(tests, proc_of_ourselves);
}

int main(void)
{
	return run_suite("os/cpus", add_tests);
}
