/* Sockets and open files: what can be told before anything is bound. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "cmd/clusterd/verify.h"
#include "config/files.h"
#include "supervisor/log.h"
#include "supervisor/os/cpus.h"
#include "supervisor/os/filelimit.h"
#include "supervisor/os/folder.h"
#include "supervisor/os/pidfile.h"

static void verify_folder(struct verifier *v, const struct origin *origin, const char *what,
			  const char *path)
{
	char folder[PATH_TEXT_MAX];
	int error = -folder_check(path, folder, sizeof(folder));

	if (error == 0)
		return;
	verify_complain(v, origin, "%s: the folder %.200s: %s%s", what, folder, strerror(error),
			error == ENOENT		     ? "; create it, it is not made" :
			error == EACCES || error == EROFS ? "; this user has to be able to read and write it" :
							    "");
}

/* What is only written; "-" is none. */
static void verify_file(struct verifier *v, const char *key, const char *what, const char *path)
{
	char looked[PATH_TEXT_MAX];
	int error;

	if (!path[0] || strcmp(path, "-") == 0)
		return;
	error = -folder_file_check(path, looked, sizeof(looked));
	if (error != 0)
		verify_complain(v, verify_origin(v, key), "%s: %s%.200s: %s%s", what,
				strcmp(looked, path) == 0 ? "" : "the folder ", looked, strerror(error),
				error == ENOENT ? "; create it, it is not made" : "");
}

static void verify_pid_file(struct verifier *v, const char *path)
{
	struct stat status;
	int error = 0;

	verify_file(v, "supervisor.pid_file", "[supervisor] pid_file", path);
	if (!path[0] || lstat(path, &status) < 0 || S_ISDIR(status.st_mode))
		return;
	if (!S_ISREG(status.st_mode))
		error = S_ISLNK(status.st_mode) ? -ELOOP : -EINVAL;
	else if (status.st_nlink > 1)
		error = -EMLINK;
	if (error != 0)
		verify_complain(v, verify_origin(v, "supervisor.pid_file"), "[supervisor] pid_file %.200s: %s", path,
				pidfile_reason(error));
}

/* Its folder is made, but not the one that is in. */
static void verify_control(struct verifier *v)
{
	const char *path = v->config->policy.control_socket;
	char folder[PATH_TEXT_MAX], above[PATH_TEXT_MAX];
	const char *why;
	int rc;

	if (!path[0] || strcmp(path, "off") == 0)
		return;
	rc = folder_check(path, folder, sizeof(folder));
	if (rc == 0 && folder_trust(folder, &why) < 0)
		verify_complain(v, verify_origin(v, "control.socket"), "[control] socket: the folder %.200s: %s",
				folder, why);
	else if (rc != -ENOENT || folder_check(folder, above, sizeof(above)) < 0)
		verify_folder(v, verify_origin(v, "control.socket"), "[control] socket", path);
}

static void verify_path(struct verifier *v, const struct origin *origin, const char *what,
			const struct address *address)
{
	const struct sockaddr_un *path = (const struct sockaddr_un *)&address->sa;

	if (address->kind == ADDRESS_UNIX && path->sun_path[0])
		verify_folder(v, origin, what, path->sun_path);
}

void verify_sockets(struct verifier *v)
{
	const struct policy *policy = &v->config->policy;
	char what[NAME_TEXT_MAX + 16];
	struct stat status;

	for (uint32_t i = 0; i < policy->listener_count; i++) {
		snprintf(what, sizeof(what), "listener %s", policy->listeners[i].name);
		verify_path(v, &v->config->origins.listeners[i].section, what,
			    &policy->listeners[i].address);
		if (policy->listeners[i].owner[0] && !verify_is_user(policy->listeners[i].owner))
			verify_complain(v, &v->config->origins.listeners[i].section, "%s: owner %s: no such user", what,
					policy->listeners[i].owner);
		if (!verify_is_group(policy->listeners[i].group))
			verify_complain(v, &v->config->origins.listeners[i].section, "%s: group %s: no such group", what,
					policy->listeners[i].group);
	}
	verify_path(v, verify_origin(v, "metrics.listen"), "[metrics] listen", &policy->metrics_listen);
	verify_control(v);
	verify_file(v, "log.file", "[log] file", policy->log_file);
	if (lstat(policy->log_file, &status) == 0 && S_ISLNK(status.st_mode))
		verify_complain(v, verify_origin(v, "log.file"), "[log] file %.200s: %s", policy->log_file, log_error(-ELOOP));
	verify_pid_file(v, policy->supervisor_pid_file);
}

/* Tried, not computed; and undone, since the workers get the limits that clusterd was started with. */
static bool may_open(uint64_t files, const struct rlimit *now)
{
	bool may = filelimit_raise(files) != -EPERM;

	setrlimit(RLIMIT_NOFILE, now);
	return may;
}

void verify_open_files(struct verifier *v)
{
	const struct policy *policy = &v->config->policy;
	uint32_t workers = policy->cluster_workers;
	struct rlimit limit;
	struct cpus cpus;
	uint64_t files;

	if (workers == 0)
		workers = cpus_usable("", &cpus) < 0 ? 1 : cpus.usable;
	files = policy_files(policy, workers);
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || files <= limit.rlim_max || may_open(files, &limit))
		return;
	verify_complain(v, verify_origin(v, "cluster.workers"),
		    "%u workers need %llu open files here, and the hard limit is %llu: raise it "
		    "(ulimit -n, systemd: LimitNOFILE=) or start fewer",
		    workers, (unsigned long long)files, (unsigned long long)limit.rlim_max);
}
