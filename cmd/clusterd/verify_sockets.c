/* Sockets and open files: what can be told before anything is bound. */
#include <errno.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd/clusterd/options.h"
#include "config/files.h"
#include "supervisor/os/cpus.h"
#include "supervisor/os/filelimit.h"

enum { UNPRIVILEGED_PORT = 1024 }; /* where the kernel does not say */

struct verifier {
	config_complaint *complain;
	void *context;
	int complaints;
};

__attribute__((format(printf, 3, 4))) static void
complain_at(struct verifier *v, const struct origin *origin, const char *format, ...)
{
	char line[COMPLAINT_TEXT_MAX];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	v->complaints++;
	v->complain(v->context, origin->source ? origin->source : "policy", origin->line, line);
}

static void verify_folder(struct verifier *v, const struct origin *origin, const char *what,
			  const char *path)
{
	char folder[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
	const char *slash = strrchr(path, '/');
	struct stat status;

	if (!slash)
		return;
	snprintf(folder, sizeof(folder), "%.*s", slash > path ? (int)(slash - path) : 1, path);
	if (stat(folder, &status) < 0)
		complain_at(v, origin, "%s: the folder %s: %s%s", what, folder, strerror(errno),
			    errno == ENOENT ? "; create it, it is not made" : "");
	else if (!S_ISDIR(status.st_mode))
		complain_at(v, origin, "%s: %s is no folder", what, folder);
	else if (access(folder, R_OK | W_OK | X_OK) < 0)
		complain_at(v, origin,
			    "%s: the folder %s: %s; this user has to be able to read and "
			    "write it",
			    what, folder, strerror(errno));
}

/* The kernel's answer for this process; where it has none, bind will tell. */
static bool may_bind_any_port(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) < 0)
		return true;
	return (data[0].effective & (UINT32_C(1) << CAP_NET_BIND_SERVICE)) != 0;
}

static int first_free_port(void)
{
	FILE *file = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "re");
	int port = UNPRIVILEGED_PORT;

	if (!file)
		return port;
	if (fscanf(file, "%d", &port) != 1)
		port = UNPRIVILEGED_PORT;
	fclose(file);
	return port;
}

static void verify_address(struct verifier *v, const struct origin *origin, const char *what,
			   const struct address *address)
{
	const struct sockaddr_un *path = (const struct sockaddr_un *)&address->sa;
	bool has_port = address->kind == ADDRESS_TCP || address->kind == ADDRESS_UDP;
	int first = first_free_port();

	if (address->kind == ADDRESS_UNIX && path->sun_path[0])
		verify_folder(v, origin, what, path->sun_path);
	if (has_port && address->port > 0 && address->port < first && !may_bind_any_port())
		complain_at(v, origin,
			    "%s: port %d is below %d: that needs root or the capability "
			    "CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=, file: setcap)",
			    what, address->port, first);
}

int verify_sockets(const struct config *config, config_complaint *complain, void *context)
{
	struct verifier v = { complain, context, 0 };
	const struct policy *policy = &config->policy;
	char what[NAME_TEXT_MAX + 16];

	for (uint32_t i = 0; i < policy->listener_count; i++) {
		snprintf(what, sizeof(what), "listener %s", policy->listeners[i].name);
		verify_address(&v, &config->origins.listeners[i].section, what,
			       &policy->listeners[i].address);
	}
	verify_address(&v, &config->origins.keys[key_find("metrics.listen") - keys],
		       "[metrics] listen", &policy->metrics_listen);
	return v.complaints;
}

/* Tried, not computed; and undone, since the workers get the limits that clusterd was started with. */
static bool may_open(uint64_t files, const struct rlimit *now)
{
	bool may = filelimit_raise(files) != -EPERM;

	setrlimit(RLIMIT_NOFILE, now);
	return may;
}

int verify_fds(const struct config *config, config_complaint *complain, void *context)
{
	struct verifier v = { complain, context, 0 };
	const struct policy *policy = &config->policy;
	uint32_t workers = policy->cluster_workers;
	struct rlimit limit;
	struct cpus cpus;
	uint64_t files;

	if (workers == 0)
		workers = cpus_usable("", &cpus) < 0 ? 1 : cpus.usable;
	files = policy_files(policy, workers);
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || files <= limit.rlim_max || may_open(files, &limit))
		return 0;
	complain_at(&v, &config->origins.keys[key_find("cluster.workers") - keys],
		    "%u workers need %llu open files here, and the hard limit is %llu: raise it "
		    "(ulimit -n, systemd: LimitNOFILE=) or start fewer",
		    workers, (unsigned long long)files, (unsigned long long)limit.rlim_max);
	return v.complaints;
}
