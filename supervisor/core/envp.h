/*
 * envp - the arguments and the environment of one worker.
 *
 * Pure: everything is built in memory of the caller, before the fork.
 *
 * A name appears once. Ours win over [env], which wins over what clusterd itself
 * was started with; of the latter the variables that described clusterd's own
 * sockets and supervisor are left out (NOTIFY_SOCKET, WATCHDOG_*, LISTEN_FD*,
 * LISTEN_PID*, READY_FD, CLUSTERD_* and the other activation protocols' names).
 *
 * Sources of the protocols: sd_listen_fds(3), sd_watchdog_enabled(3);
 * Server::Starter's start_server(1); Einhorn's README ("ACK" and "Environment");
 * ngx_add_inherited_sockets() (NGINX=); unicorn's UNICORN_FD; puma's
 * PUMA_INHERIT_n; php-fpm's fpm_sockets.c (FPM_SOCKETS).
 */
#ifndef CLUSTERD_CORE_ENVP_H
#define CLUSTERD_CORE_ENVP_H

#include <stddef.h>
#include <stdint.h>

#include "config/policy.h"

enum { ENVP_PID_SIZE = 11 }; /* room at each pid_text: ten digits and the NUL */

/* One socket of the worker, in the order of the fds. */
struct envp_socket {
	const char *name;              /* of the [listen NAME] section; for LISTEN_FDNAMES */
	int fd;                        /* its number in the worker: 3, 4, … */
	const struct address *address; /* what it is really bound to: TCP, UDP or unix, port filled in */
};

struct envp_input {
	char *const *inherited;        /* what envp_inherit() answered; NULL for none (env_clear) */
	size_t inherited_count;
	const char *env;               /* policy->env: NUL-terminated strings in a row */
	uint32_t env_count;
	const struct words *command;   /* arguments with %{…} in them */
	const char *name;              /* of the cluster */
	uint32_t slot, workers, generation;
	const struct envp_socket *sockets;
	size_t socket_count;
	const struct address *first;   /* of the first listener, whether its socket is passed or
	                                  adopted: PORT, %{port}, %{address}; NULL: none */
	uint32_t styles;               /* enum style bits; without a socket none of them counts */
	const char *notify_socket;     /* NULL: none */
	uint64_t watchdog_ms;          /* 0: none */
	int ready_fd;                  /* number in the worker; -1: none */
	int master_pid;                /* clusterd's */
	const char *einhorn_socket;    /* EINHORN_SOCK_PATH; NULL: none */
};

struct envp {
	char **argv; /* NULL-terminated, as is envp */
	char **envp;
	char *pid_text[2]; /* LISTEN_PID, WATCHDOG_PID: "0" with ENVP_PID_SIZE bytes of room, or NULL */
};

/*
 * What of clusterd's own environment all workers of one policy inherit: this is the same for each,
 * so it is asked once and not at every spawn. ret has room for all of outer, which is
 * NULL-terminated; it gets pointers into outer. PORT comes last, for only the sockets of a worker
 * tell whether it is inherited. Returns how many they are.
 */
size_t envp_inherit(char *const *outer, const char *env, uint32_t env_count, char **ret);

/*
 * Builds both into memory[size], aligned as malloc aligns. Returns the bytes
 * needed; *ret is set only if that is at most `size`. With size 0 it only counts.
 * What is inherited and what [env] says is not copied: ret points there.
 */
size_t envp_build(const struct envp_input *in, void *memory, size_t size, struct envp *ret);

#endif
