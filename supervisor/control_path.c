#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "supervisor/control_internal.h"
#include "supervisor/os/clock.h"
#include "supervisor/os/folder.h"
#include "supervisor/owner.h"

static int tell(char problem[CONTROL_PROBLEM_MAX], int error, const char *path, const char *what)
{
	snprintf(problem, CONTROL_PROBLEM_MAX, "%s: %s", path, what);
	return error;
}

/* Made with mode 0700 if it is missing; nobody else may be able to replace what is in it. */
static int folder_ready(const char *folder, char problem[CONTROL_PROBLEM_MAX])
{
	const char *why;
	int rc;

	if (mkdir(folder, 0700) < 0 && errno != EEXIST)
		return tell(problem, -errno, folder, strerror(errno));
	rc = folder_trust(folder, &why);
	return rc < 0 ? tell(problem, rc, folder, why) : 0;
}

static int in_use(const char *path, char problem[CONTROL_PROBLEM_MAX])
{
	pid_t pid = listen_pid_at(path);
	char what[64];

	if (pid > 0)
		snprintf(what, sizeof what, "in use by process %d", (int)pid);
	else
		snprintf(what, sizeof what, "in use by another process");
	return tell(problem, -EADDRINUSE, path, what);
}

static int bind_path(const struct control *control, const struct policy *policy, bool hurried,
                     struct listening *ret, char problem[CONTROL_PROBLEM_MAX])
{
	struct address address = { .kind = ADDRESS_UNIX, .size = sizeof(struct sockaddr_un) };
	struct sockaddr_un *sa = (struct sockaddr_un *)&address.sa;
	struct listen_spec spec = {
		.address = &address,
		.backlog = 64,
		.nonblock = true,
		.hurried = hurried,
		.mode = policy->control_mode.given ? (mode_t)policy->control_mode.value : 0600,
		.owner = LISTEN_KEEP_UID,
		.group = control->group == (gid_t)-1 ? LISTEN_KEEP_GID : control->group,
	};
	const char *failed = "path";
	char what[128];
	int r = -ENAMETOOLONG;

	sa->sun_family = AF_UNIX;
	if (strlen(control->path) < sizeof sa->sun_path) {
		memcpy(sa->sun_path, control->path, strlen(control->path) + 1);
		address.size = (uint16_t)(offsetof(struct sockaddr_un, sun_path) +
		                          strlen(control->path) + 1);
		r = listen_open(&spec, ret, &failed);
	}
	if (r == -EADDRINUSE)
		return in_use(control->path, problem);
	if (r < 0) {
		snprintf(what, sizeof what, "%s: %s%s", failed, strerror(-r),
		         r == -ENOTSOCK ? "; it is not touched: remove it, or choose another path" : "");
		return tell(problem, r, control->path, what);
	}
	return 0;
}

/* `folder` is the part before the last slash of control->path. Hurried: waits for no lock. */
static int open_in(const struct control *control, const char *folder, const struct policy *policy,
                   bool hurried, struct listening *ret, char problem[CONTROL_PROBLEM_MAX])
{
	int r = folder_ready(folder, problem);

	if (r < 0)
		return r;
	/* listen_open() locks the folder: of several servers that start at once, one at a time looks
	 * and binds. */
	return bind_path(control, policy, hurried, ret, problem);
}

/* The part before the last slash. */
static void folder_of(const char path[CONTROL_PATH_MAX], char folder[CONTROL_PATH_MAX])
{
	char *slash;

	memcpy(folder, path, CONTROL_PATH_MAX);
	slash = strrchr(folder, '/');
	if (!slash)
		memcpy(folder, ".", sizeof ".");
	else
		slash[slash == folder] = '\0';
}

static int open_given(struct control *control, const struct policy *policy,
                      char problem[CONTROL_PROBLEM_MAX])
{
	char folder[CONTROL_PATH_MAX];

	if (strlen(policy->control_socket) >= sizeof control->path)
		return tell(problem, -ENAMETOOLONG, policy->control_socket,
		            "longer than a unix socket's path may be (107 bytes)");
	snprintf(control->path, sizeof control->path, "%s", policy->control_socket);
	folder_of(control->path, folder);
	return open_in(control, folder, policy, false, &control->listening, problem);
}

static int open_default(struct control *control, const struct policy *policy, const char *name,
                        char problem[CONTROL_PROBLEM_MAX])
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char folder[sizeof control->path];
	int r = tell(problem, -ENOENT, name, "there is no folder for it");

	for (unsigned i = 0; proto_folder(i, geteuid(), runtime, folder, sizeof folder); i++) {
		int length = snprintf(control->path, sizeof control->path, "%s/%s.sock", folder, name);

		if (length < 0 || (size_t)length >= sizeof control->path) {
			r = tell(problem, -ENAMETOOLONG, folder, "with the name longer than 107 bytes");
			continue;
		}
		r = open_in(control, folder, policy, false, &control->listening, problem);
		if (r == -EADDRINUSE)
			snprintf(problem + strlen(problem), CONTROL_PROBLEM_MAX - strlen(problem), "%s",
			         "; if that is a cluster of the same name, choose another --name");
		if (r == 0 || r == -EADDRINUSE)
			return r;
	}
	return r;
}

int control_open(struct control *control, const struct policy *policy, const char *name,
                 char problem[CONTROL_PROBLEM_MAX])
{
	if (policy->control_group[0] && owner_group(policy->control_group, &control->group) < 0)
		return tell(problem, -ENOENT, policy->control_group, "there is no such group");
	if (policy->control_socket[0])
		return open_given(control, policy, problem);
	return open_default(control, policy, name, problem);
}

/* Where the control socket will be, as far as that can be told before. */
static int place(const struct policy *policy, const char *name, char ret[CONTROL_PATH_MAX],
                 char problem[CONTROL_PROBLEM_MAX])
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char folder[CONTROL_PATH_MAX];
	int r = tell(problem, -ENOENT, name, "there is no folder for it");

	if (policy->control_socket[0] && strcmp(policy->control_socket, "off") != 0) {
		snprintf(ret, CONTROL_PATH_MAX, "%.107s", policy->control_socket);
		folder_of(ret, folder);
		return folder_ready(folder, problem);
	}
	for (unsigned i = 0; proto_folder(i, geteuid(), runtime, folder, sizeof folder); i++) {
		r = folder_ready(folder, problem);
		if (r == 0 && faccessat(AT_FDCWD, folder, W_OK, AT_EACCESS) < 0)
			r = tell(problem, -errno, folder, strerror(errno));
		if (r == 0 && snprintf(ret, CONTROL_PATH_MAX, "%s/%s.sock", folder, name) < CONTROL_PATH_MAX)
			return 0;
	}
	return r < 0 ? r : -ENAMETOOLONG;
}

int control_beside(const struct policy *policy, const char *name, const char *suffix, char *ret,
                   size_t size, char problem[CONTROL_PROBLEM_MAX])
{
	char path[CONTROL_PATH_MAX];
	int r = place(policy, name, path, problem);
	size_t length;

	if (r < 0)
		return r;
	length = strlen(path);
	if (length > strlen(".sock") && strcmp(path + length - strlen(".sock"), ".sock") == 0)
		path[length - strlen(".sock")] = '\0';
	if (snprintf(ret, size, "%s%s", path, suffix) >= (int)size)
		return tell(problem, -ENAMETOOLONG, path, "too long");
	return 0;
}

int control_adopt(struct control *control, const struct policy *policy, int fd,
                  char problem[CONTROL_PROBLEM_MAX])
{
	const char *failed;
	int r = listen_check_inherited(fd, &control->listening, &failed);

	if (r < 0)
		return tell(problem, r, "inherited", failed);
	if (policy->control_group[0])
		owner_group(policy->control_group, &control->group);
	if (listen_claim(&control->listening))
		memcpy(control->path, control->listening.path, sizeof control->path);
	else
		listen_path_made(&control->listening, control->path);
	return 0;
}

/* ---- a path that was taken away ---- */

static int look(struct control *control, char problem[CONTROL_PROBLEM_MAX])
{
	struct stat info;

	if (lstat(control->path, &info) < 0)
		return tell(problem, -errno, control->path, strerror(errno));
	if (listen_path_own(&control->listening, control->path, &info, control->lost))
		return 0;
	return tell(problem, -EEXIST, control->path,
	            "another file has its place; clusterctl does not reach this clusterd until that is removed");
}

static int make_anew(struct control *control, const struct policy *policy,
                     char problem[CONTROL_PROBLEM_MAX])
{
	struct listening fresh = { .fd = -1 };
	char folder[CONTROL_PATH_MAX];
	int r;

	folder_of(control->path, folder);
	r = open_in(control, folder, policy, true, &fresh, problem);
	if (r < 0)
		return r;
	control_swap(control, &fresh);
	return 1;
}

/* Whoever has its place may have ended, and left his file. */
static bool has_gone(struct control *control, const struct policy *policy)
{
	char problem[CONTROL_PROBLEM_MAX];

	if (clock_ms() - control->asked_ms < FILE_AGAIN_MS)
		return false;
	control->asked_ms = clock_ms();
	return make_anew(control, policy, problem) > 0;
}

int control_keep(struct control *control, const struct policy *policy,
                 char problem[CONTROL_PROBLEM_MAX])
{
	int r;

	if (!control)
		return 0;
	r = look(control, problem);
	if (r == -ENOENT)
		r = make_anew(control, policy, problem);
	else if (r < 0 && control->lost && has_gone(control, policy))
		r = 1;
	if (r < 0 && control->lost)
		return 0; /* it was told */
	if (r < 0)
		control->asked_ms = clock_ms();
	control->lost = r < 0;
	return r;
}
