/*
 * cgroup - where a process is in the cgroup trees, and what they say of it.
 *
 * A hybrid system has several trees: v1 ones for some controllers, a v2 one for
 * the rest or for none. Which mount shows which tree is in
 * /proc/self/mountinfo, the place of a process in each in /proc/PID/cgroup
 * (cgroups(7)). In a container the mount often shows only a branch: its root is
 * then a prefix of the path, and must be cut off.
 *
 * `root` is "" or the folder of a made-up tree: "/proc/…" and the mount points
 * are looked up below it.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_CGROUP_H
#define CLUSTERD_SUPERVISOR_OS_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { CGROUP_PATH_MAX = 1024 };

struct cgroup_dir {
	char path[CGROUP_PATH_MAX]; /* the process's own directory, `root` included */
	size_t mount_size;          /* how much of it is the mount point: the walk up ends there */
};

/*
 * Finds the directory of `pid` (0 = self) in the v1 tree of `controller`, or in the v2 tree if
 * controller is "". 0, -ENOENT if there is none, or -errno.
 */
int cgroup_find(const char *root, pid_t pid, const char *controller, struct cgroup_dir *ret);

/* One step up: false at the mount point. */
bool cgroup_parent(struct cgroup_dir *dir);

/* First line of a file of the directory, without the newline. -ENOENT without the file, -EBADMSG if
 * it is empty. */
int cgroup_read(const struct cgroup_dir *dir, const char *name, char *ret, size_t size);

/*
 * The counter of processes that the kernel killed in the cgroup of `pid` for lack of memory:
 * oom_kill of v2 memory.events or v1 memory.oom_control. Compare before and after a death: only
 * then an OOM kill is known and not guessed. It counts for the whole cgroup, which workers share
 * with clusterd. The fd is kept, because to find the file costs more than to start a worker; it
 * stays that of the cgroup which `pid` was in when it was opened.
 *
 * The fd, which is the caller's, close-on-exec and never blocks; -ENOENT: there is no such file.
 */
int cgroup_oom_open(const char *root, pid_t pid);

/* The count now. -ENOENT if the file (of a kernel before 4.13) does not tell it. */
int cgroup_oom_read(int fd, uint64_t *ret);

#endif
