/*
 * rehearse - may workers have the priority and the limits that the policy says?
 *
 * GLUE. Which it is depends on capabilities, user namespaces and limits of this process, so
 * nothing is computed: a child sets them as a worker will, and then fails to execute a folder.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "supervisor/internal.h"

static const char limit_step[] = "setrlimit ";

static void explain_limit(const struct launch *launch, const char *step, char *problem, size_t size)
{
	const char *key = step + sizeof limit_step - 1;
	char unit[16] = "";
	struct rlimit now = { 0 };

	for (size_t i = 0; i < launch->limit_count; i++)
		if (strcmp(launch->limits[i].step, step) == 0)
			getrlimit((__rlimit_resource_t)launch->limits[i].resource, &now);
	for (size_t i = 0; key[i] && i < sizeof unit - 1; i++)
		unit[i] = (char)(key[i] & ~0x20);
	snprintf(problem, size,
		 "limit.%s: not permitted, the hard limit of clusterd is %llu; lower it, or start "
		 "clusterd with more (Limit%s= of its unit, prlimit --%s)%s",
		 key, (unsigned long long)now.rlim_max, unit, key,
		 strcmp(key, "nofile") == 0 ? "; sysctl fs.nr_open bounds both" : "");
}

static void explain_nice(const struct launch *launch, char *problem, size_t size)
{
	snprintf(problem, size,
		 "cluster.nice = %d: not permitted; leave it out, or give clusterd the right to "
		 "(LimitNICE= or AmbientCapabilities=CAP_SYS_NICE of its unit, or root)",
		 (int)launch->policy.cluster_nice.value);
}

int launch_rehearse(const struct launch *launch, char *problem, size_t size)
{
	char *const argv[] = { "/", NULL }, *const envp[] = { NULL };
	const struct spawn_plan plan = {
		.path = "/",
		.argv = argv,
		.envp = envp,
		.has_nice = launch->policy.cluster_nice.given,
		.nice = launch->policy.cluster_nice.value,
		.limits = launch->limits,
		.limit_count = launch->limit_count,
	};
	struct spawned never;
	const char *failed = "";
	int rc = spawn(&plan, &never, &failed);

	if (rc != -EPERM && rc != -EACCES)
		return 0;
	if (strncmp(failed, limit_step, sizeof limit_step - 1) == 0)
		explain_limit(launch, failed, problem, size);
	else if (strcmp(failed, "nice") == 0)
		explain_nice(launch, problem, size);
	else
		return 0;
	return -EPERM;
}
