/* What a start by this user would be refused for lack of root or of a capability. */
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cmd/clusterd/verify.h"

enum {
	UNPRIVILEGED_PORT = 1024, /* where the kernel does not say */
	CAPABILITY_BPF = 39,      /* the headers may be older than Linux 5.8 */
};

/* The kernel's answer for this process; where it has none, the start will tell. */
static bool is_capable(unsigned capability)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) < 0)
		return true;
	return (data[capability / 32].effective & (UINT32_C(1) << capability % 32)) != 0;
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

static void verify_port(struct verifier *v, const struct origin *origin, const char *what,
			const struct address *address)
{
	bool has_port = address->kind == ADDRESS_TCP || address->kind == ADDRESS_UDP;
	int first = first_free_port();

	if (!has_port || address->port == 0 || address->port >= first || is_capable(CAP_NET_BIND_SERVICE))
		return;
	verify_complain(v, origin,
			"%s: port %d is below %d: that needs root or the capability "
			"CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=, file: setcap)",
			what, address->port, first);
}

static bool asks_by_http(const struct policy *policy)
{
	return policy->ready_when.when == READY_HTTP || policy->health_http[0];
}

static void verify_listener(struct verifier *v, uint32_t i)
{
	const struct listener *listener = &v->config->policy.listeners[i];
	const struct origin *origin = &v->config->origins.listeners[i].section;
	char what[NAME_TEXT_MAX + 16];

	snprintf(what, sizeof(what), "listener %s", listener->name);
	verify_port(v, origin, what, &listener->address);
	if (is_capable(CAPABILITY_BPF) || is_capable(CAP_SYS_ADMIN))
		return;
	if (listener->balance == BALANCE_ROUND_ROBIN)
		verify_complain(v, origin,
				"%s: balance = round-robin needs root or the capability CAP_BPF "
				"(systemd: AmbientCapabilities=, file: setcap), or use round-robin? "
				"or hash",
				what);
	if (listener->balance == BALANCE_ROUND_ROBIN_OR_HASH && asks_by_http(&v->config->policy))
		verify_complain(v, origin,
				"%s: [ready] when = http and [health] http need round-robin, and that "
				"root or the capability CAP_BPF (systemd: AmbientCapabilities=, file: "
				"setcap)",
				what);
}

static void verify_user(struct verifier *v)
{
	const struct policy *policy = &v->config->policy;
	const struct passwd *user = policy->cluster_user[0] ? getpwnam(policy->cluster_user) : NULL;

	if (geteuid() != 0 && user && user->pw_uid != geteuid())
		verify_complain(v, verify_origin(v, "cluster.user"),
				"%.64s: only root may run workers as another user",
				policy->cluster_user);
	else if (user && user->pw_uid != geteuid() && policy_adopts(policy) && !is_capable(CAP_SYS_PTRACE))
		verify_complain(v, verify_origin(v, "cluster.user"),
				"adopt of workers that run as %.64s needs the capability CAP_SYS_PTRACE "
				"(container: --cap-add SYS_PTRACE), or leave out user",
				policy->cluster_user);
}

/* setpriority(2): 20 - RLIMIT_NICE is as far as a process without CAP_SYS_NICE may go. */
static void verify_nice(struct verifier *v)
{
	const struct optional *nice = &v->config->policy.cluster_nice;
	struct rlimit limit;

	if (!nice->given || nice->value >= getpriority(PRIO_PROCESS, 0) || is_capable(CAP_SYS_NICE) ||
	    getrlimit(RLIMIT_NICE, &limit) < 0 || (int64_t)limit.rlim_cur >= 20 - nice->value)
		return;
	verify_complain(v, verify_origin(v, "cluster.nice"),
			"nice = %d needs root or the capability CAP_SYS_NICE (systemd: LimitNICE= or "
			"AmbientCapabilities=)",
			(int)nice->value);
}

void verify_rights(struct verifier *v)
{
	for (uint32_t i = 0; i < v->config->policy.listener_count; i++)
		verify_listener(v, i);
	verify_port(v, verify_origin(v, "metrics.listen"), "[metrics] listen",
		    &v->config->policy.metrics_listen);
	verify_user(v);
	verify_nice(v);
}
