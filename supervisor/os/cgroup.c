#include "supervisor/os/cgroup.h"

#include <limits.h>
#include <string.h>

#include "supervisor/os/scope.h"
#include "supervisor/os/sys.h"

enum { LINE_TEXT_MAX = 4096, OOM_TEXT_MAX = 1024 };

/* One mount of a cgroup tree, or one line of /proc/PID/cgroup: the parts point into the line. */
struct tree {
	const char *root;  /* which part of the tree is mounted */
	const char *mount; /* where */
};

/* Is `word` in a list parted by commas? */
static bool lists(const char *list, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = list; at; at = strchr(at, ',')) {
		at += *at == ',';
		if (strncmp(at, word, length) == 0 && strchr(",\n", at[length]))
			return true;
	}
	return false;
}

static FILE *open_text(const char *path)
{
	int fd = sys_open(path, O_RDONLY | O_CLOEXEC, 0);
	FILE *stream = fd < 0 ? NULL : fdopen(fd, "r");

	if (fd >= 0 && !stream)
		fd_close(&fd);
	return stream;
}

static FILE *open_proc(const char *root, const char *process, const char *file)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof path, "%s/proc/%s/%s", root, process, file) >= (int)sizeof path) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	return open_text(path);
}

/* `ID:CONTROLLERS:PATH`; v2 is `0::PATH` (cgroups(7)). Returns PATH if the line is the tree's. */
static char *match_membership(char *line, const char *controller)
{
	char *list = strchr(line, ':');
	char *path = list ? strchr(list + 1, ':') : NULL;

	if (!path)
		return NULL;
	*path++ = '\0';
	list++;
	path[strcspn(path, "\n")] = '\0';
	if (!*controller)
		return strncmp(line, "0:", 2) == 0 && !*list ? path : NULL;
	return lists(list, controller) ? path : NULL;
}

static int find_membership(const char *root, pid_t pid, const char *controller, char *ret,
			   size_t size)
{
	char process[16] = "self", line[LINE_TEXT_MAX];
	int error = -ENOENT;
	FILE *file;

	if (pid > 0)
		snprintf(process, sizeof process, "%d", (int)pid);
	file = open_proc(root, process, "cgroup");
	if (!file)
		return -errno;
	while (error == -ENOENT && fgets(line, sizeof line, file)) {
		const char *path = match_membership(line, controller);

		if (path)
			error = snprintf(ret, size, "%s", path) < (int)size ? 0 : -ENAMETOOLONG;
	}
	fclose(file);
	return error;
}

/*
 * `36 35 0:30 ROOT MOUNT options … - TYPE SOURCE SUPER`, proc(5). Spaces in the two paths are
 * written as \040, which no cgroup mount has: such a line simply does not match a directory.
 */
static bool match_mount(char *line, const char *controller, struct tree *ret)
{
	char *fields[5] = { NULL }, *type = strstr(line, " - "), *super, *rest = line;

	if (!type)
		return false;
	*type = '\0';
	type += strlen(" - ");
	super = strchr(type, ' ');
	super = super ? strchr(super + 1, ' ') : NULL;
	if (!super)
		return false;
	for (int i = 0; i < 5; i++) {
		fields[i] = strsep(&rest, " ");
		if (!fields[i])
			return false;
	}
	*ret = (struct tree){ .root = fields[3], .mount = fields[4] };
	if (!*controller)
		return strncmp(type, "cgroup2 ", 8) == 0;
	return strncmp(type, "cgroup ", 7) == 0 && lists(super + 1, controller);
}

/* The path inside the mount, or NULL if the mount does not show it. */
static const char *inside(const char *path, const char *mount_root)
{
	size_t length = strlen(mount_root);

	if (strcmp(mount_root, "/") == 0)
		return strcmp(path, "/") == 0 ? "" : path;
	if (strncmp(path, mount_root, length) != 0 || !strchr("/", path[length]))
		return NULL;
	return path + length;
}

/*
 * A process of a cgroup namespace sees "/" or "/../…" while the mount, made outside, shows a
 * branch: then the mount point is the nearest that can be seen.
 */
static int join(const char *root, const struct tree *tree, const char *path, struct cgroup_dir *ret)
{
	const char *below = inside(path, tree->root);
	int mount = snprintf(ret->path, sizeof ret->path, "%s%s", root, tree->mount);

	if (mount >= (int)sizeof ret->path)
		return -ENAMETOOLONG;
	ret->mount_size = (size_t)mount;
	if (!below || strncmp(below, "/..", 3) == 0)
		return 0;
	return snprintf(ret->path + mount, sizeof ret->path - (size_t)mount, "%s", below) <
		       (int)sizeof ret->path - mount
		   ? 0
		   : -ENAMETOOLONG;
}

int cgroup_find(const char *root, pid_t pid, const char *controller, struct cgroup_dir *ret)
{
	char path[CGROUP_PATH_MAX], line[LINE_TEXT_MAX];
	struct tree tree;
	FILE *file;
	int error = find_membership(root, pid, controller, path, sizeof path);

	if (error)
		return error;
	file = open_proc(root, "self", "mountinfo");
	if (!file)
		return -errno;
	error = -ENOENT;
	while (error == -ENOENT && fgets(line, sizeof line, file)) {
		if (match_mount(line, controller, &tree))
			error = join(root, &tree, path, ret);
	}
	fclose(file);
	return error;
}

bool cgroup_parent(struct cgroup_dir *dir)
{
	char *slash = strrchr(dir->path + dir->mount_size, '/');

	if (!slash)
		return false;
	*slash = '\0';
	return true;
}

static FILE *open_file(const struct cgroup_dir *dir, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/%s", dir->path, name);
	return open_text(path);
}

int cgroup_read(const struct cgroup_dir *dir, const char *name, char *ret, size_t size)
{
	FILE *file = open_file(dir, name);
	bool read;

	if (!file)
		return -errno;
	read = fgets(ret, (int)size, file);
	fclose(file);
	if (!read)
		return -EBADMSG;
	ret[strcspn(ret, "\n")] = '\0';
	return 0;
}

int cgroup_oom_read(int fd, uint64_t *ret)
{
	static const char key[] = "oom_kill ";
	char text[OOM_TEXT_MAX];
	ssize_t size = sys_pread(fd, text, sizeof text - 1, 0);
	const char *line = text;

	if (size < 0)
		return -errno;
	text[size] = '\0';
	while (strncmp(line, key, sizeof key - 1) != 0) {
		line = strchr(line, '\n');
		if (!line++)
			return -ENOENT;
	}
	*ret = strtoull(line + sizeof key - 1, NULL, 10);
	return 0;
}

int cgroup_oom_open(const char *root, pid_t pid)
{
	const char *name = "memory.oom_control";
	struct cgroup_dir dir;
	char path[PATH_MAX];
	int error = cgroup_find(root, pid, "memory", &dir), fd;

	if (error == -ENOENT) {
		name = "memory.events";
		error = cgroup_find(root, pid, "", &dir);
	}
	if (error)
		return error;
	snprintf(path, sizeof path, "%s/%s", dir.path, name);
	fd = sys_open(path, O_RDONLY | O_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}
