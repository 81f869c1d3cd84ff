/*
 * reload_try - what can be tried of a policy before anything that runs is touched.
 *
 * GLUE. For reload.c only.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/un.h>

#include "config/files.h"
#include "supervisor/os/filelimit.h"
#include "supervisor/os/folder.h"
#include "supervisor/reload_plan.h"

/* Every socket of those that stay is there; one that goes is there until the workers have been replaced. */
static int try_room(struct reload *r, uint32_t workers)
{
	struct pool_view view;

	pool_view(r->s->pool, &view);
	if (workers <= view.wanted || workers <= steer_room(r->s))
		return 0;
	reload_object(r, "cluster.workers: %" PRIu32 ": " STEER_NO_ROOM "; nothing was changed", workers);
	return -1;
}

static int try_files(struct reload *r, uint32_t workers)
{
	uint64_t files = policy_files(r->fresh, workers);
	struct rlimit limit;

	if (filelimit_raise(files) != -EPERM || getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 0;
	reload_object(r, "%" PRIu32 " workers need %" PRIu64 " open files with this policy, and the hard limit is %" PRIu64
	              ": that takes a start with a higher one (ulimit -n, systemd: LimitNOFILE=), or fewer workers; "
	              "nothing was changed", workers, files, (uint64_t)limit.rlim_max);
	return -1;
}

/* A plan makes no file: it looks at the folder only. */
static int try_log(struct reload *r)
{
	const char *file = r->fresh->log_file;
	char folder[PATH_TEXT_MAX];
	int rc = 0;

	if (strcmp(file, r->s->policy.log_file) == 0 || strcmp(file, "-") == 0)
		return 0;
	rc = r->dry_run ? folder_file_check(file, folder, sizeof folder) : log_try(file);
	if (rc < 0)
		reload_object(r, "log.file: %.250s: %s; nothing was changed", file, log_error(rc));
	return rc;
}

/* As far as it can be seen without opening them. */
static int try_new_paths(struct reload *r)
{
	char folder[PATH_TEXT_MAX];
	int status = 0;

	for (uint32_t i = 0; i < r->fresh->listener_count; i++) {
		const struct listener *listener = &r->fresh->listeners[i];
		const char *path = ((const struct sockaddr_un *)&listener->address.sa)->sun_path;
		const char *failed;
		uid_t owner;
		gid_t group;
		int rc;

		if (listener->address.kind != ADDRESS_UNIX || !path[0] || sock_of(r->s, listener))
			continue;
		rc = folder_check(path, folder, sizeof folder);
		if (rc < 0)
			reload_object(r, "[listen %s]: the folder %s: %s", listener->name, folder, strerror(-rc));
		else if ((rc = sock_owner(listener, &owner, &group, &failed)) < 0)
			reload_object(r, "[listen %s]: %s", listener->name, failed);
		status = rc < 0 ? -1 : status;
	}
	return status;
}

int reload_try(struct reload *r, uint32_t workers)
{
	int room = try_room(r, workers), files = try_files(r, workers), log = try_log(r);
	int paths = r->dry_run ? try_new_paths(r) : 0; /* else they are opened next */

	return room < 0 || files < 0 || log < 0 || paths < 0 ? -1 : 0;
}
