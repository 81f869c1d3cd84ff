#include "cmd/clusterd/features.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { CGROUP2_MAGIC = 0x63677270 }; /* statfs(2) */

/* Each returns 0, or the errno that tells why not. */
static int probe_pidfd(void)
{
	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

/* With a size of 0 the call is refused before it does anything: EINVAL where it exists. */
static int probe_clone3(void)
{
	return syscall(SYS_clone3, NULL, 0) < 0 && errno != EINVAL ? errno : 0;
}

static int probe_close_range(void)
{
	return syscall(SYS_close_range, ~0U, ~0U, 0) < 0 ? errno : 0;
}

static int probe_cgroup2(void)
{
	struct statfs fs;

	if (statfs("/sys/fs/cgroup", &fs) < 0)
		return errno;
	return fs.f_type == CGROUP2_MAGIC ? 0 : ENODEV;
}

/* An attribute of size 0 is refused, but only after the check of the rights: bpf(2). */
static int probe_bpf(void)
{
	return syscall(SYS_bpf, 0, NULL, 0) < 0 && (errno == EPERM || errno == ENOSYS) ? errno : 0;
}

static int probe_seccomp_notify(void)
{
	uint32_t action = SECCOMP_RET_USER_NOTIF;

	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0 ? errno : 0;
}

static int probe_ipv6(void)
{
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static const struct {
	const char *name;
	int (*probe)(void);
} features[] = {
	{ "pidfd", probe_pidfd },
	{ "clone3", probe_clone3 },
	{ "close_range", probe_close_range },
	{ "cgroup2", probe_cgroup2 },
	{ "ipv6", probe_ipv6 },
	{ "bpf", probe_bpf },
	{ "seccomp_notify", probe_seccomp_notify },
};

void features_print(FILE *out)
{
	struct utsname name;

	fprintf(out, "kernel %s", uname(&name) == 0 ? name.release : "unknown");
	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		int error = features[i].probe();

		if (error == 0)
			fprintf(out, " +%s", features[i].name);
		else
			fprintf(out, " -%s (%s)", features[i].name, strerror(error));
	}
	fputc('\n', out);
}
