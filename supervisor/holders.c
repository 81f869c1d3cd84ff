/*
 * holders - who has an address that we want, or that we leave.
 *
 * GLUE.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "supervisor/internal.h"
#include "supervisor/os/holder.h"
#include "supervisor/os/proc.h"
#include "supervisor/os/reuseport.h"

enum { SOCKETS_MAX = 256, LOOKS = 6, FIRST_PAUSE_MS = 10 };

/* As /proc numbers us: it may be that of another pid namespace than ours. */
static pid_t own_pid(void)
{
	char text[16];
	ssize_t size = readlink("/proc/self", text, sizeof text - 1);

	text[size > 0 ? size : 0] = '\0';
	return (pid_t)strtol(text, NULL, 10);
}

void holder_text(const struct address *address, char *text, size_t size)
{
	struct holder holder;
	ino_t inode;
	int rc = holder_inode("/proc", address, &inode);
	bool connection = rc == -ENOENT && address->kind == ADDRESS_TCP;

	if (rc == 0)
		rc = holder_find("/proc", &inode, 1, 0, own_pid(), &holder);
	if (rc == 0)
		snprintf(text, size, ", by %s (pid %d)", holder.name, (int)holder.pid);
	else if (connection) /* its local port; for a minute after its end too */
		snprintf(text, size,
		         "; nobody listens there, but a connection of this machine has the port: "
		         "`ss -tan 'sport = :%u'` shows it", address->port);
	else
		snprintf(text, size, "; `ss -l%cnp` shows to root by whom",
		         address->kind == ADDRESS_UNIX ? 'x' : address->kind == ADDRESS_UDP ? 'u' : 't');
}

/* The sockets that are to be free when we have ended: not those that somebody gave us. */
struct left {
	ino_t inodes[SOCKETS_MAX];
	const struct sock *socks[SOCKETS_MAX];
	size_t count;
};

static void add(struct left *left, const struct sock *sock, int fd)
{
	struct stat info;

	if (left->count == SOCKETS_MAX || fd < 0 || fstat(fd, &info) < 0)
		return;
	left->socks[left->count] = sock;
	left->inodes[left->count++] = info.st_ino;
}

static void gather(const struct supervisor *s, struct left *left)
{
	for (uint32_t i = 0; i < s->sock_count; i++) {
		const struct sock *sock = &s->socks[i];

		if (!sock->in_use || sock->inherited)
			continue;
		if (!sock->group)
			add(left, sock, sock->listening.fd);
		for (uint32_t slot = 0; sock->group && slot < SOCKETS_MAX; slot++)
			add(left, sock, reuseport_fd(sock->group, slot));
	}
}

/* Who was killed just now takes a moment to let go, and so does the short command of a script: 0.3 s in all. */
static bool look(const struct left *left, pid_t self, uint64_t since, struct holder *ret)
{
	struct timespec pause = { .tv_nsec = FIRST_PAUSE_MS * 1000000L };

	for (int n = 1;; n++, pause.tv_nsec *= 2) {
		if (holder_find("/proc", left->inodes, left->count, since, self, ret) < 0)
			return false;
		if (n == LOOKS)
			return true;
		nanosleep(&pause, NULL);
	}
}

/* "4711 4712 4713": what has to be ended, as far as it is known. */
static void list_pids(const struct holder *holder, char *text, size_t size)
{
	int used = snprintf(text, size, "%d", (int)holder->pid);

	for (size_t i = 0; i < holder->more_count && used > 0 && (size_t)used < size; i++)
		used += snprintf(text + used, size - (size_t)used, " %d", (int)holder->more[i]);
}

void holders_down(struct supervisor *s, const struct sock *sock, const char *step, int error, int retry_s)
{
	char address[ADDRESS_TEXT_MAX];

	address_format(&sock->bound, address);
	if (sock_is_abstract(sock) && error == -EADDRINUSE)
		sup_note(s, LOG_LEVEL_ERROR,
		         "listener %s %s is down: a worker has shut it down, and its name is not free while a worker "
		         "holds it: `clusterctl drain all` lets go of it, then it listens again and workers are started",
		         sock->config.name, address);
	else
		sup_note(s, LOG_LEVEL_ERROR,
		         "listener %s %s is down: %s: %s; next try in %ds, and then each %ds until it listens",
		         sock->config.name, address, step, strerror(-error), retry_s, retry_s);
}

void holders_left(struct supervisor *s)
{
	static struct left left;
	struct proc_info me;
	struct holder holder;
	char address[ADDRESS_TEXT_MAX], pids[192], others[32] = "";
	pid_t self = own_pid();

	left.count = 0;
	gather(s, &left);
	/* Only who was started under us can have it. */
	if (left.count == 0 || proc_read("/proc", self, &me) < 0 || !look(&left, self, me.started, &holder))
		return;
	address_format(&left.socks[holder.which]->bound, address);
	list_pids(&holder, pids, sizeof pids);
	if (holder.more_count > 0)
		snprintf(others, sizeof others, " and %zu more", holder.more_count);
	sup_note(s, LOG_LEVEL_WARN,
	         "%s is still held by %s (pid %d)%s, which a worker left behind: nobody else can listen there "
	         "until %s (kill %s)",
	         address, holder.name, (int)holder.pid, others, others[0] ? "they end" : "it ends", pids);
}
