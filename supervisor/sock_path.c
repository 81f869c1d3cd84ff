/*
 * sock_path - the file of a unix listener.
 *
 * GLUE. A socket whose file was removed (by a cleaner of /tmp, by a worker when it ended) lives on, but
 * nobody can connect to it, and no event tells of it: keep.c looks when clusterd wakes up and tells it,
 * a reload and a roll make it again. A new socket takes the path, as it does after a shutdown(2), and
 * the workers, who hold the old one, are replaced.
 */
#include <errno.h>
#include <string.h>
#include <sys/un.h>

#include "supervisor/internal.h"
#include "supervisor/os/hangup.h"
#include "supervisor/owner.h"

static const char *path_of(const struct sock *sock)
{
	return ((const struct sockaddr_un *)&sock->form.sa)->sun_path;
}

bool sock_is_abstract(const struct sock *sock)
{
	return sock->form.kind == ADDRESS_UNIX && path_of(sock)[0] == '\0';
}

int sock_owner(const struct listener *config, uid_t *ret_owner, gid_t *ret_group, const char **failed)
{
	*ret_owner = LISTEN_KEEP_UID;
	*ret_group = LISTEN_KEEP_GID;
	*failed = "owner: no such user";
	if (config->owner[0] && owner_user(config->owner, ret_owner) < 0)
		return -ENOENT;
	*failed = "group: no such group";
	return config->group[0] && owner_group(config->group, ret_group) < 0 ? -ENOENT : 0;
}

static void let_go(struct supervisor *s, int *fd)
{
	const char *failed;

	if (*fd >= 0)
		hangup_forget(s->hangup_fd, *fd, &failed);
	listen_let_go(fd);
}

/* An abstract name is taken as long as anybody holds the old one: that has to wait until there is no worker. */
int sock_path_renew(struct supervisor *s, struct sock *sock, const char **failed)
{
	struct listening fresh = { .fd = -1 };
	struct pool_view view;
	int rc;

	pool_view(s->pool, &view);
	if (sock_is_abstract(sock) && view.live == 0)
		let_go(s, &sock->listening.fd);
	rc = sock_open_shared(s, sock, &fresh, failed);
	if (rc < 0)
		return rc;
	let_go(s, &sock->listening.fd);
	sock->listening = fresh;
	sock->kept = sock->lost = false;
	sockets_watch_slot(s, sock, 0);
	return 2;
}

bool sock_path_lost(const struct sock *sock)
{
	return sock->in_use && !sock->inherited && sock->form.kind == ADDRESS_UNIX && !sock_is_abstract(sock) &&
	       listen_path_lost(&sock->listening, path_of(sock)) > 0;
}

int sock_path_restore(struct supervisor *s, struct sock *sock, const char **failed)
{
	char address[ADDRESS_TEXT_MAX];
	int rc = sock_path_renew(s, sock, failed);

	if (rc < 0)
		return rc;
	address_format(&sock->bound, address);
	LOG(&s->log, LOG_LISTEN_RESTORED, F_TEXT("listener", sock->config.name), F_TEXT("address", address));
	return 0;
}

void sock_paths_restore(struct supervisor *s)
{
	const char *failed = "";
	int rc;

	for (uint32_t i = 0; i < s->sock_count; i++) {
		struct sock *sock = &s->socks[i];

		rc = sock_path_lost(sock) ? sock_path_restore(s, sock, &failed) : 0;
		if (rc < 0)
			sup_note(s, LOG_LEVEL_ERROR,
			         "listener %s: its file was removed and can not be made again: %s: %s; "
			         "next try at the next reload or roll",
			         sock->config.name, failed, strerror(-rc));
	}
}
