/*
 * adopt_link - a unix path for programs that unlink it and bind it by themselves.
 *
 * GLUE. The socket lives beside the path, at PATH.clusterd, and the path is a
 * symbolic link to it. A program that unlinks the path, at its start or when one
 * of several ends, takes only the link away: the folder is watched (inotify(7)),
 * and the link is made again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "supervisor/adoption.h"
#include "supervisor/os/adopt_unix.h"

#define REAL_SUFFIX ".clusterd"

static const char *path_of(const struct address *address)
{
	return ((const struct sockaddr_un *)&address->sa)->sun_path;
}

bool adopts_path(const struct sock *sock)
{
	return sock->config.adopt && sock->config.address.kind == ADDRESS_UNIX;
}

/* Sets sock->form to where the socket really is. */
int adopt_link_form(struct sock *sock, const char **failed)
{
	struct sockaddr_un *real = (struct sockaddr_un *)&sock->form.sa;
	const char *path = path_of(&sock->config.address);

	*failed = "the path and " REAL_SUFFIX " are too long for a unix socket";
	if (strlen(path) + sizeof REAL_SUFFIX > sizeof real->sun_path)
		return -ENAMETOOLONG;
	snprintf(real->sun_path, sizeof real->sun_path, "%.90s" REAL_SUFFIX, path);
	sock->form.size = sock->config.address.size + sizeof REAL_SUFFIX - 1;
	return 0;
}

/* The link as seen from its folder. */
static const char *target_of(const struct sock *sock)
{
	const char *real = path_of(&sock->form), *slash = strrchr(real, '/');

	return slash ? slash + 1 : real;
}

void adopt_link_publish(struct supervisor *s, struct sock *sock)
{
	const char *failed = "";
	int rc = adopt_unix_publish(target_of(sock), path_of(&sock->config.address), &failed);

	if (rc < 0 && rc != sock->link_error)
		sup_note(s, LOG_LEVEL_ERROR, "listener %s: link %s: %s: %s", sock->config.name,
		         path_of(&sock->config.address), failed, strerror(-rc));
	sock->link_error = rc;
}

static void on_folder(uv_fs_event_t *watch, const char *name, int events, int status)
{
	struct supervisor *s = watch->loop->data;
	const char *base;

	(void)events;
	(void)status;
	for (uint32_t i = 0; i < s->sock_count; i++) {
		struct sock *sock = &s->socks[i];

		if (!sock->in_use || sock->link_watch != watch)
			continue;
		base = strrchr(path_of(&sock->config.address), '/');
		base = base ? base + 1 : path_of(&sock->config.address);
		if (!name || strcmp(name, base) == 0)
			adopt_link_publish(s, sock);
	}
}

/* Makes the link and keeps it. Without inotify the link is only made at each bind. */
void adopt_link_begin(struct supervisor *s, struct sock *sock)
{
	char folder[sizeof((struct sockaddr_un *)0)->sun_path + 1];
	char *slash;
	int rc = -ENOMEM;

	adopt_link_publish(s, sock);
	snprintf(folder, sizeof folder, "%s", path_of(&sock->config.address));
	slash = strrchr(folder, '/');
	if (!slash)
		snprintf(folder, sizeof folder, ".");
	else
		slash[slash == folder ? 1 : 0] = '\0';
	sock->link_watch = malloc(sizeof *sock->link_watch);
	if (sock->link_watch)
		rc = uv_fs_event_init(&s->loop, sock->link_watch);
	if (rc == 0)
		rc = uv_fs_event_start(sock->link_watch, on_folder, folder, 0);
	if (rc < 0)
		sup_note(s, LOG_LEVEL_WARN, "listener %s: %s can not be watched: %s; a program that "
		         "unlinks its path mutes the others until the next one binds it",
		         sock->config.name, folder, uv_strerror(rc));
}

static void on_watch_closed(uv_handle_t *handle)
{
	free(handle);
}

void adopt_link_end(struct sock *sock)
{
	const char *failed;

	if (sock->link_watch)
		uv_close((uv_handle_t *)sock->link_watch, on_watch_closed);
	sock->link_watch = NULL;
	/* Orphans serve on at that path, and it is theirs. */
	if (sock->taken_back && !sock->listening.path[0])
		return;
	adopt_unix_withdraw(target_of(sock), path_of(&sock->config.address), &failed);
}
