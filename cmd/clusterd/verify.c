#include <errno.h>
#include <glob.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/clusterd/options.h"
#include "cmd/clusterd/verify.h"
#include "config/refused.h"
#include "config/words.h"
#include "supervisor/os/spawn.h"
#include "supervisor/owner.h"

void verify_complain(struct verifier *v, const struct origin *origin, const char *format, ...)
{
	char line[COMPLAINT_TEXT_MAX];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	v->complaints++;
	v->complain(v->context, origin->source ? origin->source : "policy", origin->line, line);
}

const struct origin *verify_origin(const struct verifier *v, const char *name)
{
	return &v->config->origins.keys[key_find(name) - keys];
}

static void complain_about(struct verifier *v, const char *name, const char *text, const char *why)
{
	verify_complain(v, verify_origin(v, name), "%.250s: %.250s", text, why);
}

/* Are there file formats that the kernel hands to an interpreter of its own? */
static bool has_own_formats(void)
{
	glob_t found = { 0 };
	bool answer = glob("/proc/sys/fs/binfmt_misc/*", 0, NULL, &found) == 0 && found.gl_pathc > 2;

	globfree(&found); /* two of them are status and register */
	return answer;
}

/* Returns 0, or the error that execve(2) would give. */
static int why_no_program(const char *path)
{
	int error = -spawn_check(path);

	return error == ENOEXEC && has_own_formats() ? 0 : error;
}

/* A relative path with a slash starts at [cluster] directory, for that is where exec happens. */
static void verify_program(struct verifier *v, const char *key, const struct words *words)
{
	const struct policy *policy = &v->config->policy;
	const char *program = words_next(words, NULL);
	char file[PATH_TEXT_MAX * 2 + WORDS_TEXT_MAX];
	bool is_relative = program && *program != '/' && policy->cluster_directory[0];
	char text[COMPLAINT_TEXT_MAX];
	int error;

	if (!program || config_refused(v->config, "cluster.directory"))
		return;
	snprintf(file, sizeof(file), "%s%s%s", is_relative ? policy->cluster_directory : "",
		 is_relative ? "/" : "", program);
	/* In our own PATH, as the start does it; that of [env] is for the worker. */
	if (!strchr(program, '/') && spawn_resolve(program, getenv("PATH"), file, sizeof(file)) < 0) {
		complain_about(v, key, program, "No such file in PATH");
		return;
	}
	error = why_no_program(file);
	if (error == 0)
		return;
	spawn_explain(file, error, text, sizeof(text));
	complain_about(v, key, file, text);
}

static bool is_id(const char *name)
{
	return strspn(name, "0123456789") == strlen(name);
}

bool verify_is_group(const char *name)
{
	gid_t group;

	return !*name || owner_group(name, &group) == 0;
}

bool verify_is_user(const char *name)
{
	uid_t user;

	return owner_user(name, &user) == 0;
}

static void verify_names(struct verifier *v)
{
	const struct policy *policy = &v->config->policy;
	struct stat status;

	if (policy->cluster_user[0] && !getpwnam(policy->cluster_user))
		complain_about(v, "cluster.user", policy->cluster_user,
			       is_id(policy->cluster_user) ? "no such user; a name is needed" :
							     "no such user");
	if (!verify_is_group(policy->cluster_group))
		complain_about(v, "cluster.group", policy->cluster_group, "no such group");
	if (!verify_is_group(policy->control_group))
		complain_about(v, "control.group", policy->control_group, "no such group");
	if (policy->cluster_directory[0] &&
	    (stat(policy->cluster_directory, &status) < 0 || !S_ISDIR(status.st_mode)))
		complain_about(v, "cluster.directory", policy->cluster_directory,
			       "No such file or directory");
}

/* Root may lack the right to raise a hard limit, in a container for one: tried, not computed, and undone. */
static bool may_raise(__rlimit_resource_t resource, const struct rlimit *now, rlim_t hard)
{
	const struct rlimit raised = { .rlim_cur = now->rlim_cur, .rlim_max = hard };
	bool may = setrlimit(resource, &raised) == 0;

	setrlimit(resource, now);
	return may;
}

static void verify_limits(struct verifier *v)
{
	const struct policy *p = &v->config->policy;
	const struct {
		const char *key;
		const struct rlimit_pair *wanted;
		__rlimit_resource_t resource;
	} limits[] = {
		{ "limit.nofile", &p->limit_nofile, RLIMIT_NOFILE },
		{ "limit.core", &p->limit_core, RLIMIT_CORE },
		{ "limit.memlock", &p->limit_memlock, RLIMIT_MEMLOCK },
		{ "limit.as", &p->limit_as, RLIMIT_AS },
		{ "limit.nproc", &p->limit_nproc, RLIMIT_NPROC },
		{ "limit.stack", &p->limit_stack, RLIMIT_STACK },
	};
	struct rlimit now;

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		if (limits[i].wanted->given && getrlimit(limits[i].resource, &now) == 0 &&
		    limits[i].wanted->hard > now.rlim_max &&
		    !may_raise(limits[i].resource, &now, limits[i].wanted->hard))
			verify_complain(v, verify_origin(v, limits[i].key),
					"%s: above the hard limit of %llu, and this user may not raise it",
					limits[i].key, (unsigned long long)now.rlim_max);
}

int verify_system(const struct config *config, config_complaint *complain, void *context)
{
	struct verifier v = { config, complain, context, 0 };

	verify_program(&v, "cluster.command", &config->policy.cluster_command);
	verify_program(&v, "ready.command", &config->policy.ready_command);
	verify_names(&v);
	verify_limits(&v);
	verify_sockets(&v);
	verify_rights(&v);
	verify_open_files(&v);
	return v.complaints;
}

int verify_start(const struct config *config, config_complaint *complain, void *context)
{
	struct verifier v = { config, complain, context, 0 };

	verify_open_files(&v);
	return v.complaints;
}
