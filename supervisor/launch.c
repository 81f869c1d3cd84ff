/*
 * launch - what a policy says of its workers, looked up once a generation.
 *
 * GLUE. The program, the user, the limits, what is inherited. What differs from worker to
 * worker is put together in errand.c.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor/core/envp.h"
#include "supervisor/internal.h"
#include "supervisor/owner.h"

static const char *const login_names[LOGIN_NAMES] = { "HOME", "LOGNAME", "USER" };

/* As execve(2) would answer: it runs no folder, which access(2) allows. */
static int may_run(const char *path)
{
	struct stat info;

	if (access(path, X_OK) < 0 || stat(path, &info) < 0)
		return -errno;
	return S_ISREG(info.st_mode) ? 0 : -EACCES;
}

/* The program is executed in its directory, so a relative path begins there. */
void launch_file(const struct policy *policy, const char *path, char *ret, size_t size)
{
	bool whole = path[0] == '/' || !policy->cluster_directory[0];

	snprintf(ret, size, "%s%s%s", whole ? "" : policy->cluster_directory, whole ? "" : "/", path);
}

static int find_program(const struct policy *policy, char *path, char *problem, size_t size)
{
	const char *program = policy->cluster_command.text;
	char where[PATH_MAX], reason[256];
	int rc = spawn_resolve(program, getenv("PATH"), path, PATH_MAX);

	if (rc < 0) {
		snprintf(problem, size, "program %s: %s", program,
		         rc == -ENOENT ? "not found in PATH" : strerror(-rc));
		return rc;
	}
	launch_file(policy, path, where, sizeof where);
	rc = may_run(where);
	if (rc == 0)
		return 0;
	spawn_explain(where, -rc, reason, sizeof reason);
	snprintf(problem, size, "program %s: %s", where, reason);
	return rc == -ENOTDIR ? -ENOENT : rc;
}

static int find_groups(struct spawn_identity *who, const struct passwd *user)
{
	int count = SPAWN_GROUPS_MAX;

	if (getgrouplist(user->pw_name, who->gid, who->groups, &count) < 0)
		return -E2BIG;
	who->group_count = (size_t)count;
	return 0;
}

static int find_identity(const struct policy *policy, struct spawn_identity *who, char *problem,
                         size_t size)
{
	const struct passwd *user = NULL;

	*who = (struct spawn_identity){ .uid = geteuid(), .gid = getegid() };
	if (!policy->cluster_user[0] && !policy->cluster_group[0])
		return 0;
	who->given = true;
	if (policy->cluster_user[0]) {
		user = getpwnam(policy->cluster_user);
		snprintf(problem, size, "cluster.user: there is no user %s", policy->cluster_user);
		if (!user)
			return -EINVAL;
		who->uid = user->pw_uid;
		who->gid = user->pw_gid;
	}
	snprintf(problem, size, "cluster.group: there is no group %s", policy->cluster_group);
	if (policy->cluster_group[0] && owner_group(policy->cluster_group, &who->gid) < 0)
		return -EINVAL;
	snprintf(problem, size, "cluster.user: %s is in more than %d groups", policy->cluster_user,
	         SPAWN_GROUPS_MAX);
	if (user && find_groups(who, user) < 0)
		return -EINVAL;
	snprintf(problem, size, "cluster.user: only root may run workers as another user");
	return geteuid() != 0 && (who->uid != geteuid() || who->gid != getegid()) ? -EPERM : 0;
}

static void add_limit(struct launch *launch, int resource, const struct rlimit_pair *limit,
                      const char *step)
{
	if (limit->given)
		launch->limits[launch->limit_count++] = (struct spawn_limit){
			.resource = resource, .soft = limit->soft, .hard = limit->hard, .step = step
		};
}

/* clusterd's own raised limit is not for the workers: select(2) breaks above 1024. */
static void add_limits(const struct supervisor *s, struct launch *launch)
{
	const struct policy *p = &launch->policy;
	struct rlimit_pair nofile = p->limit_nofile;

	if (!nofile.given)
		nofile = (struct rlimit_pair){ true, s->nofile.rlim_cur, s->nofile.rlim_max };
	add_limit(launch, RLIMIT_NOFILE, &nofile, "setrlimit nofile");
	add_limit(launch, RLIMIT_CORE, &p->limit_core, "setrlimit core");
	add_limit(launch, RLIMIT_MEMLOCK, &p->limit_memlock, "setrlimit memlock");
	add_limit(launch, RLIMIT_AS, &p->limit_as, "setrlimit as");
	add_limit(launch, RLIMIT_NPROC, &p->limit_nproc, "setrlimit nproc");
	add_limit(launch, RLIMIT_STACK, &p->limit_stack, "setrlimit stack");
}

static bool is_login(const char *variable)
{
	for (size_t i = 0; i < LOGIN_NAMES; i++) {
		size_t size = strlen(login_names[i]);

		if (strncmp(variable, login_names[i], size) == 0 && variable[size] == '=')
			return true;
	}
	return false;
}

/* Who has no such user is told by find_identity(). */
static int find_login(struct launch *launch)
{
	const char *name = launch->policy.cluster_user;
	const struct passwd *user = name[0] ? getpwnam(name) : NULL;

	for (size_t i = 0; user && i < LOGIN_NAMES; i++) {
		const char *value = i == 0 ? user->pw_dir : user->pw_name;
		size_t size = strlen(login_names[i]) + strlen(value) + 2;

		launch->login[i] = malloc(size);
		if (!launch->login[i])
			return -ENOMEM;
		snprintf(launch->login[i], size, "%s=%s", login_names[i], value);
	}
	return 0;
}

/* As systemd.exec(5) has it: the home is that of who runs, and not of who started clusterd. */
static int find_environment(struct launch *launch)
{
	const struct policy *p = &launch->policy;
	size_t count = 0, kept = 0;
	char **outer;
	int rc = find_login(launch);

	if (rc < 0)
		return rc;
	while (environ[count])
		count++;
	count += LOGIN_NAMES + 1;
	outer = calloc(count, sizeof *outer);
	launch->inherited = calloc(count, sizeof *launch->inherited);
	if (!outer || !launch->inherited) {
		free(outer);
		return -ENOMEM;
	}
	for (size_t i = 0; i < LOGIN_NAMES && launch->login[i]; i++)
		outer[kept++] = launch->login[i];
	for (char **v = environ; *v; v++) {
		if (!launch->login[0] || !is_login(*v))
			outer[kept++] = *v;
	}
	launch->inherited_count = envp_inherit(outer, p->env, p->env_count, launch->inherited);
	free(outer);
	return 0;
}

int launch_derive(const struct supervisor *s, struct launch *launch)
{
	add_limits(s, launch);
	return launch->policy.cluster_env_clear ? 0 : find_environment(launch);
}

void launch_free(struct launch *launch)
{
	if (!launch)
		return;
	for (size_t i = 0; i < LOGIN_NAMES; i++)
		free(launch->login[i]);
	free(launch->inherited);
	free(launch);
}

int launch_create(struct supervisor *s, const struct policy *policy, uint32_t generation,
                  struct launch **ret, char *problem, size_t size)
{
	struct launch *launch = calloc(1, sizeof *launch);
	int rc;

	snprintf(problem, size, "no memory");
	if (!launch)
		return -ENOMEM;
	launch->generation = generation;
	launch->policy = *policy;
	rc = launch_derive(s, launch);
	if (rc == 0)
		rc = find_program(policy, launch->path, problem, size);
	if (rc == 0)
		rc = find_identity(policy, &launch->identity, problem, size);
	if (rc == 0)
		rc = launch_rehearse(launch, problem, size);
	if (rc < 0) {
		launch_free(launch);
		return rc;
	}
	*ret = launch;
	return 0;
}

struct launch *launch_find(const struct supervisor *s, uint32_t generation)
{
	struct launch *launch = s->launches;

	while (launch && launch->generation != generation)
		launch = launch->next;
	return launch;
}

/* Forgets the generations that no slot can need any more. True if there were any. */
bool launch_prune(struct supervisor *s)
{
	struct launch **at = &s->launches;
	bool pruned = false;

	while (*at) {
		struct launch *launch = *at;

		if (pool_generation_used(s->pool, launch->generation)) {
			at = &launch->next;
			continue;
		}
		*at = launch->next;
		launch_free(launch);
		pruned = true;
	}
	return pruned;
}

void launches_free(struct supervisor *s)
{
	while (s->launches) {
		struct launch *launch = s->launches;

		s->launches = launch->next;
		launch_free(launch);
	}
	free(s->scratch);
}
