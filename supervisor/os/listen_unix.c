#include "supervisor/os/listen_unix.h"

#include <linux/sockios.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>

#include "supervisor/os/scope.h"
#include "supervisor/os/sys.h"

#ifndef SIOCUNIXFILE
#define SIOCUNIXFILE (SIOCPROTOPRIVATE + 0) /* linux/un.h, which can not stand beside sys/un.h */
#endif

enum {
	LOCK_TRIES = 500, /* x LOCK_PAUSE_MS: how long another start may take to replace its path */
	LOCK_PAUSE_MS = 2,
};

static int open_socket(const struct listen_spec *spec)
{
	int type = SOCK_STREAM | SOCK_CLOEXEC | (spec->nonblock ? SOCK_NONBLOCK : 0);
	int fd = sys_socket(AF_UNIX, type, 0);

	return fd < 0 ? -errno : fd;
}

static int open_abstract(const struct listen_spec *spec, struct listening *ret, const char **failed)
{
	scoped_fd fd = -1;

	*failed = "socket";
	fd = open_socket(spec);
	if (fd < 0)
		return fd;
	*failed = "bind";
	if (sys_bind(fd, (const struct sockaddr *)&spec->address->sa, spec->address->size) < 0)
		return -errno;
	*failed = "listen";
	if (sys_listen(fd, spec->backlog) < 0)
		return -errno;
	*ret = (struct listening){ .size = spec->address->size, .sa = spec->address->sa };
	ret->fd = fd_take(&fd);
	return 0;
}

/*
 * Owner and mode of the very file that bind(2) made: it is held by an O_PATH fd and checked first,
 * so in a directory of somebody else nothing can be slipped under. chmod(2) of such an fd goes
 * through /proc/self/fd (open(2), O_PATH).
 */
static int dress(const char *path, const struct listen_spec *spec, struct listening *made,
		 const char **failed)
{
	char self[sizeof "/proc/self/fd/2147483647"];
	struct stat info;
	scoped_fd fd = -1;

	*failed = "open socket file";
	fd = sys_open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
	if (fd < 0 || sys_fstat(fd, &info) < 0)
		return -errno;
	if (!S_ISSOCK(info.st_mode))
		return -ENOTSOCK;
	made->dev = info.st_dev;
	made->ino = info.st_ino;

	*failed = "chown";
	if ((spec->owner != LISTEN_KEEP_UID || spec->group != LISTEN_KEEP_GID) &&
	    sys_fchownat(fd, "", spec->owner, spec->group, AT_EMPTY_PATH) < 0)
		return -errno;

	*failed = "chmod through /proc";
	snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
	return sys_chmod(self, spec->mode) < 0 ? -errno : 0;
}

/*
 * A socket bound to `path`, not yet listening. fchmod(2) before bind(2) gives the new file its mode
 * (net/unix/af_unix.c, unix_bind_bsd): none, until dress() has set the owner.
 */
static int bind_path(const char *path, const struct listen_spec *spec, const char **failed)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	scoped_fd fd = -1;

	*failed = "socket";
	fd = open_socket(spec);
	if (fd < 0)
		return fd;
	*failed = "fchmod";
	if (sys_fchmod(fd, 0) < 0)
		return -errno;
	*failed = "bind";
	memcpy(address.sun_path, path, strlen(path) + 1);
	if (sys_bind(fd, (const struct sockaddr *)&address, sizeof address) < 0)
		return -errno;
	return fd_take(&fd);
}

/* Binds, dresses and listens at `path`; a file that was made does not outlive a failure. */
static int open_at(const char *path, const struct listen_spec *spec, struct listening *made,
		   const char **failed)
{
	scoped_fd fd = bind_path(path, spec, failed);
	int error;

	if (fd < 0)
		return fd;
	error = dress(path, spec, made, failed);
	if (!error) {
		*failed = "listen";
		error = sys_listen(fd, spec->backlog) < 0 ? -errno : 0;
	}
	if (error) {
		unlink(path);
		return error;
	}
	made->fd = fd_take(&fd);
	return 0;
}

/* Is anybody behind the path? 0: no, it is a left-over. connect(2) of AF_UNIX never waits here. */
static int probe(const struct address *address, const char **failed)
{
	struct stat info;
	scoped_fd fd = -1;

	*failed = "bind";
	if (sys_lstat(((const struct sockaddr_un *)&address->sa)->sun_path, &info) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(info.st_mode))
		return -ENOTSOCK;

	*failed = "probe socket";
	fd = sys_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	*failed = "bind";
	if (sys_connect(fd, (const struct sockaddr *)&address->sa, address->size) < 0 &&
	    (errno == ECONNREFUSED || errno == ENOENT))
		return 0;
	return -EADDRINUSE;
}

/*
 * Two starts that both find the same left-over must not replace each other's new socket. The lock
 * is on the directory itself, so there is no lock file to leave behind.
 */
static int lock_directory(const char *path, bool hurried, int *ret_fd)
{
	char folder[sizeof((struct sockaddr_un *)0)->sun_path + 2];
	const char *slash = strrchr(path, '/');
	scoped_fd fd = -1;

	if (slash)
		snprintf(folder, sizeof folder, "%.*s/", (int)(slash - path), path);
	else
		snprintf(folder, sizeof folder, ".");
	fd = sys_open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	for (int i = 0; sys_flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
		if (errno != EWOULDBLOCK || hurried || i == LOCK_TRIES)
			return -errno;
		nanosleep(&(struct timespec){ .tv_nsec = LOCK_PAUSE_MS * 1000000L }, NULL);
	}
	*ret_fd = fd_take(&fd);
	return 0;
}

/* Where there is no room beside it: between the two steps nobody can connect. */
static int replace_in_two_steps(const char *path, const struct listen_spec *spec,
				struct listening *made, const char **failed)
{
	*failed = "unlink";
	if (sys_unlink(path) < 0 && errno != ENOENT)
		return -errno;
	return open_at(path, spec, made, failed);
}

/*
 * The new socket is made beside the dead one and takes its name in one step. What is beside it
 * already was left by one with our pid that was killed in between; the lock says that it is dead.
 */
static int replace(const char *path, const struct listen_spec *spec, struct listening *made,
		   const char **failed)
{
	char beside[sizeof((struct sockaddr_un *)0)->sun_path];
	int error = -ENAMETOOLONG;

	if (snprintf(beside, sizeof beside, "%s.%d", path, (int)getpid()) < (int)sizeof beside)
		error = open_at(beside, spec, made, failed);
	if (error == -ENAMETOOLONG || error == -EADDRINUSE)
		return replace_in_two_steps(path, spec, made, failed);
	if (error)
		return error;
	*failed = "rename";
	if (sys_rename(beside, path) == 0)
		return 0;
	error = -errno;
	unlink(beside);
	fd_close(&made->fd);
	return error;
}

static int open_path(const char *path, const struct listen_spec *spec, struct listening *made,
		     const char **failed)
{
	scoped_fd lock = -1;
	int error;

	*failed = "its folder";
	error = lock_directory(path, spec->hurried, &lock);
	if (error)
		return error;
	error = open_at(path, spec, made, failed);
	if (error != -EADDRINUSE)
		return error;
	error = probe(spec->address, failed);
	return error ? error : replace(path, spec, made, failed);
}

int listen_unix_open(const struct listen_spec *spec, struct listening *ret, const char **failed)
{
	struct listening made = { .fd = -1, .size = spec->address->size, .sa = spec->address->sa };
	const char *path = ((const struct sockaddr_un *)&spec->address->sa)->sun_path;
	int error;

	_Static_assert(sizeof made.path == sizeof((struct sockaddr_un *)0)->sun_path, "same path");
	if (!path[0])
		return open_abstract(spec, ret, failed);
	if (!memchr(path, '\0', sizeof made.path)) {
		*failed = "bind";
		return -ENAMETOOLONG;
	}
	memcpy(made.path, path, strlen(path) + 1);
	error = open_path(path, spec, &made, failed);
	if (!error)
		*ret = made;
	return error;
}

/* The pid, or -errno: -ECONNREFUSED where nobody listens, -EAGAIN where the queue is full. */
static int pid_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct ucred peer;
	socklen_t size = sizeof peer;
	scoped_fd fd = -1;

	if (strlen(path) >= sizeof address.sun_path)
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = sys_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || sys_connect(fd, (const struct sockaddr *)&address, sizeof address) < 0)
		return -errno;
	return sys_getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ? -errno : peer.pid;
}

pid_t listen_pid_at(const char *path)
{
	int pid = pid_at(path);

	return pid < 0 ? 0 : pid;
}

/* A socket that replaced a dead one goes on being called what replace() had called it beside that. */
static void cut_beside(char *path)
{
	char suffix[sizeof ".2147483647"];
	size_t size = strlen(path), length;

	length = (size_t)snprintf(suffix, sizeof suffix, ".%d", (int)getpid());
	if (size > length && strcmp(path + size - length, suffix) == 0)
		path[size - length] = '\0';
}

/* SIOCUNIXFILE opens the very file that the socket was bound to (Linux 4.13). */
static bool is_bound_to(int fd, const char *path)
{
	scoped_fd file = sys_ioctl(fd, SIOCUNIXFILE, NULL);
	struct stat bound, there;

	return file >= 0 && sys_fstat(file, &bound) == 0 && sys_lstat(path, &there) == 0 &&
	       bound.st_dev == there.st_dev && bound.st_ino == there.st_ino;
}

int listen_unix_again(int fd, const struct listen_spec *spec, struct listening *made, const char **failed)
{
	const char *path = ((const struct sockaddr_un *)&spec->address->sa)->sun_path;

	*failed = "path";
	if (!path[0])
		return 0;
	/* Nobody gets through to one whose queue is full. */
	if (listen_pid_at(path) != getpid() && !is_bound_to(fd, path))
		return -ESTALE;
	return dress(path, spec, made, failed);
}

bool listen_claim(struct listening *listening)
{
	const struct sockaddr_un *address = (const struct sockaddr_un *)&listening->sa;
	char path[sizeof address->sun_path + 1] = "";
	struct stat info;
	bool own;

	if (listening->sa.ss_family != AF_UNIX)
		return false;
	memcpy(path, address->sun_path, sizeof address->sun_path);
	own = listen_pid_at(path) == getpid();
	if (!own) {
		cut_beside(path);
		own = path[0] && listen_pid_at(path) == getpid();
	}
	if (!own || strlen(path) >= sizeof listening->path || sys_lstat(path, &info) < 0)
		return false;
	listening->dev = info.st_dev;
	listening->ino = info.st_ino;
	memcpy(listening->path, path, strlen(path) + 1);
	return true;
}

/* Nobody gets through to it, and it is not dead either: then it may be ours. */
static bool is_full(const char *path)
{
	int pid = pid_at(path);

	return pid < 0 && pid != -ECONNREFUSED;
}

bool listen_path_own(struct listening *listening, const char *path, const struct stat *there, bool lost)
{
	if (!listening->ino && !lost && !listen_claim(listening))
		return S_ISSOCK(there->st_mode) && is_full(path);
	return there->st_dev == listening->dev && there->st_ino == listening->ino;
}

void listen_path_made(const struct listening *listening, char ret[LISTEN_PATH_MAX])
{
	const struct sockaddr_un *address = (const struct sockaddr_un *)&listening->sa;

	snprintf(ret, LISTEN_PATH_MAX, "%.*s", (int)sizeof address->sun_path, address->sun_path);
	cut_beside(ret);
}
