/*
 * The cases for supervisor/os/takeback and rowfile: `fault_os_takeback CASE`, or all without an argument.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/os/proc.h"
#include "supervisor/os/rowfile.h"
#include "supervisor/os/takeback.h"
#include "tests/fault/fault.h"
#include "tests/fault/wait_for_closer.h"

static char folder[] = "/tmp/clusterd-fault-XXXXXX";
static char path[64];

/* A process that holds one socket at the address, made without the seam. */
static pid_t holder(const struct address *address, int type)
{
	int ready[2];
	char byte;
	pid_t pid;

	if (pipe(ready) < 0)
		exit(1);
	pid = fork();
	if (pid == 0) {
		int fd = socket(address->sa.ss_family, type, 0);

		setpgid(0, 0);
		if (bind(fd, (const struct sockaddr *)&address->sa, address->size) < 0)
			_exit(1);
		if (type == SOCK_STREAM)
			listen(fd, 8);
		if (write(ready[1], "", 1) == 1)
			pause();
		_exit(0);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		exit(1);
	close(ready[0]);
	return pid;
}

/* In clock ticks after boot; read without the seam. */
static unsigned long long started(pid_t pid)
{
	unsigned long long ticks = 0;
	char name[64];
	FILE *file;

	snprintf(name, sizeof name, "/proc/%d/stat", (int)pid);
	file = fopen(name, "re");
	if (fscanf(file, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
		   &ticks) != 1)
		exit(1);
	fclose(file);
	return ticks;
}

static int use(pid_t pid, int pidfd, const struct address *address, const char **failed)
{
	struct listen_spec spec = { .address = address, .backlog = 8, .nonblock = true, .mode = 0600 };
	struct takeback set = { .list = NULL };
	struct listening got = { .fd = -1 };
	int error = takeback_collect(&set, pidfd, pid, failed);

	spec.owner = LISTEN_KEEP_UID;
	spec.group = LISTEN_KEEP_GID;
	if (!error)
		error = takeback_take(&set, &spec, &got, failed);
	if (error == 1)
		listen_close(&got);
	takeback_finish(&set);
	return error < 0 ? error : 0;
}

static int take(const struct address *address, int type, const char **failed)
{
	pid_t pid = holder(address, type);
	int pidfd = takeback_identify(pid, started(pid), failed);
	int error = pidfd < 0 ? pidfd : use(pid, pidfd, address, failed);

	if (!error) {
		*failed = "group";
		error = takeback_signal_group(pidfd, pid, 9);
	}
	kill(pid, 9);
	waitpid(pid, NULL, 0);
	if (pidfd >= 0)
		close(pidfd);
	unlink(path);
	wait_for_closer(); /* that of listen_pid_at() is still in the queue */
	return error;
}

static int tcp(const char **failed)
{
	struct address address = { .kind = ADDRESS_TCP, .size = sizeof(struct sockaddr_in) };
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t size = sizeof sin;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	/* The kernel chooses, and gives it back at once. */
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&sin, size) < 0 || getsockname(fd, (struct sockaddr *)&sin, &size) < 0)
		exit(1);
	close(fd);
	address.port = ntohs(sin.sin_port);
	memcpy(&address.sa, &sin, sizeof sin);
	return take(&address, SOCK_STREAM, failed);
}

static int unix_path(const char **failed)
{
	struct address address = { .kind = ADDRESS_UNIX };
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	memcpy(sun.sun_path, path, strlen(path));
	memcpy(&address.sa, &sun, sizeof sun);
	address.size = (uint16_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
	return take(&address, SOCK_STREAM, failed);
}

static int identify(const char **failed)
{
	int fd = takeback_identify(getpid(), started(getpid()), failed);

	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

static int rows(const char **failed)
{
	struct rowfile file = { .file.fd = -1 };
	char row[ROWFILE_ROW] = "";
	int error = rowfile_open(path, &file, failed);

	if (!error)
		error = rowfile_clear(&file, failed);
	*failed = error ? *failed : "row";
	if (!error)
		error = rowfile_write(&file, 1, row);
	if (!error)
		error = rowfile_read(&file, 1, row);
	if (file.file.fd >= 0)
		rowfile_close(&file, true);
	unlink(path);
	return error;
}

static const struct fault_case cases[] = {
	{ "identify", identify, 0 },
	{ "tcp", tcp, 1 },        /* the group is signalled in the old way too */
	{ "path", unix_path, 4 }, /* the same, and who can not be asked is not trusted */
	{ "rows", rows, 1 },      /* the lstat before the unlink */
};

int main(int argc, char **argv)
{
	int status;

	fault_begin(argv);
	if (!mkdtemp(folder))
		return 1;
	snprintf(path, sizeof path, "%s/s", folder);
	status = fault_main(cases, sizeof cases / sizeof *cases, argc, argv);
	rmdir(folder);
	return status;
}
