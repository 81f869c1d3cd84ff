/*
 * orphan_sockets - what orphans hold becomes ours.
 *
 * GLUE. A shared socket is lent to all as it is. Of a group each orphan has a socket of its own: with
 * hash the new worker of the slot shares it; with round-robin the orphan keeps it to itself, as the old
 * worker does in a roll, in a seat beyond those of the slots, and when it has ended what
 * waits there goes to the siblings (steer.c).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "supervisor/orphans.h"
#include "supervisor/os/adopt.h"
#include "supervisor/os/reuseport.h"

enum { PIDS_TEXT_MAX = 160 };

void orphans_collect(struct supervisor *s)
{
	for (struct orphan *o = s->orphans->first; o; o = o->next) {
		const char *failed;
		int rc = takeback_collect(&s->orphans->set, o->pidfd, o->is.pid, &failed);

		if (rc == 0 || rc == -ESRCH)
			continue;
		s->orphans->refused = rc;
		s->orphans->refused_step = failed;
	}
}

static bool is_open(const struct supervisor *s, const struct takeback_socket *is)
{
	for (uint32_t i = 0; i < s->sock_count; i++) {
		const struct sock *sock = &s->socks[i];

		if (sock->in_use && adopt_same_address(&sock->bound.sa,
		                                       sock->bound.sa.ss_family == AF_INET6 && !sock->form.any,
		                                       &is->facts.sa, is->v6only))
			return true;
	}
	return false;
}

static bool is_for(const struct takeback_socket *is, const struct address *home)
{
	return is->fd >= 0 && is->facts.type == SOCK_STREAM && is->facts.domain != AF_UNIX &&
	       adopt_covers(&home->sa, !home->any, &is->facts.sa);
}

/* An adopting listener has the form that the program asked for, which need not be that of the policy. */
bool orphans_form(struct supervisor *s, struct sock *sock)
{
	const struct takeback *set = s->orphans ? &s->orphans->set : NULL;

	if (!set || !sock->config.adopt || sock->config.address.kind != ADDRESS_TCP)
		return false;
	for (uint32_t i = 0; i < set->count; i++) {
		const struct takeback_socket *is = &set->list[i];

		if (!is_for(is, &sock->config.address) || is_open(s, is))
			continue;
		sock->form.sa = is->facts.sa;
		sock->form.size = (uint16_t)is->facts.size;
		sock->form.any = is->facts.domain == AF_INET6 && !is->v6only;
		sock->adopted = true;
		return true;
	}
	return false;
}

/* Of a program that binds more than one form, such as 0.0.0.0 and [::]: the others. */
void orphans_variants(struct supervisor *s, const struct sock *of, uint32_t workers)
{
	const char *failed = "";
	struct sock *sock = NULL, like = { .config = of->config, .form = of->form, .home = of->home, .variant = true };

	while (orphans_form(s, &like) && (sock = sock_place(s)) != NULL) {
		*sock = like;
		if (sock_open(s, sock, workers, &failed) == 0)
			continue;
		sock_close(s, sock);
		sup_note(s, LOG_LEVEL_ERROR, "listener %s: what its orphans have beside it can not be taken "
		         "back: %s", of->config.name, failed);
		return;
	}
}

int orphans_lend(struct supervisor *s, const struct listen_spec *spec, struct listening *ret,
                 const char **failed)
{
	return s->orphans ? takeback_take(&s->orphans->set, spec, ret, failed) : 0;
}

/* Where the socket of an orphan goes. A hash group has one for each slot, and the new worker of the slot
 * shares it; a steered one has room beyond the slots. */
static uint32_t seat_for(const struct orphan *orphan, const struct sock *sock, uint32_t workers,
                         uint32_t order)
{
	return sock->mode == BALANCE_HASH ? orphan->is.slot : workers + order;
}

/* 1: its socket is in the group now; 0: it stays the orphan's alone. */
static int lend_one(struct orphan *orphan, struct sock *sock, uint32_t seat, const char **failed)
{
	int fd = -1, rc;

	if (!takeback_member(&orphan->s->orphans->set, orphan->is.pid, &sock->form, &fd))
		return 0;
	rc = reuseport_take(sock->group, seat, fd, failed);
	if (rc < 0) {
		close(fd);
		return rc == -EEXIST || rc == -EINVAL ? 0 : rc; /* two of one slot, or no room */
	}
	if (sock->mode == BALANCE_ROUND_ROBIN)
		orphan->seat = seat;
	return 1;
}

int orphans_lend_group(struct supervisor *s, struct sock *sock, uint32_t workers, const char **failed)
{
	uint32_t order = 0, listed[REUSEPORT_SLOTS_MAX], count = 0;
	int rc = 0;

	for (struct orphan *o = s->orphans ? s->orphans->first : NULL; o && rc >= 0; o = o->next) {
		uint32_t seat = seat_for(o, sock, workers, order++);

		/* In a slot that is no more nobody would accept from it. */
		if (count == REUSEPORT_SLOTS_MAX || (sock->mode == BALANCE_HASH && seat >= workers))
			continue;
		rc = lend_one(o, sock, seat, failed);
		if (rc > 0)
			listed[count++] = seat;
	}
	sock->taken_back = count > 0;
	if (rc < 0 || count == 0 || sock->mode != BALANCE_ROUND_ROBIN)
		return rc < 0 ? rc : 0;
	return reuseport_steer(sock->group, listed, count, failed);
}

void orphans_seats(struct supervisor *s, bool on)
{
	for (const struct orphan *o = s->orphans->first; o; o = o->next)
		if (o->seat > 0)
			steer_orphan(s, o->seat, on);
	steer_apply(s);
}

static void name_pids(const struct orphans *orphans, char text[PIDS_TEXT_MAX])
{
	size_t used = 0;

	text[0] = '\0';
	for (const struct orphan *o = orphans->first; o && used < PIDS_TEXT_MAX - 16; o = o->next)
		used += (size_t)snprintf(text + used, PIDS_TEXT_MAX - used, " %d", (int)o->is.pid);
	if (used >= PIDS_TEXT_MAX - 16)
		snprintf(text + used, PIDS_TEXT_MAX - used, " ...");
}

void orphans_explain(struct supervisor *s, int error)
{
	char pids[PIDS_TEXT_MAX];

	if (error != -EADDRINUSE || !s->orphans)
		return;
	name_pids(s->orphans, pids);
	if (s->orphans->refused == -EPERM)
		sup_note(s, LOG_LEVEL_ERROR,
		         "it may be held by orphans of a killed clusterd, and taking it back needs the "
		         "capability CAP_SYS_PTRACE (from another user CAP_DAC_READ_SEARCH too) or "
		         "kernel.yama.ptrace_scope = 0 (%s: %s): grant it, or stop them: kill%s",
		         s->orphans->refused_step, strerror(-s->orphans->refused), pids);
	else if (s->orphans->refused)
		sup_note(s, LOG_LEVEL_ERROR,
		         "it may be held by orphans of a killed clusterd, and their sockets can not be "
		         "had (%s: %s): stop them: kill%s",
		         s->orphans->refused_step, strerror(-s->orphans->refused), pids);
	else
		sup_note(s, LOG_LEVEL_ERROR,
		         "it may be held by orphans of a killed clusterd, and can not be taken back if "
		         "balance was shared and is not now, or the other way round: give it the "
		         "former value, or stop them: kill%s",
		         pids);
}

/* The paths of unix sockets are ours as soon as the orphans go. */
void orphans_claim_paths(struct supervisor *s)
{
	for (uint32_t i = 0; i < s->sock_count; i++) {
		struct sock *sock = &s->socks[i];

		if (sock->in_use && sock->taken_back && sock->listening.ino)
			snprintf(sock->listening.path, sizeof sock->listening.path, "%.107s",
			         ((const struct sockaddr_un *)&sock->form.sa)->sun_path);
	}
}

/* The seats of a steered group that nobody else has. Whose each is does not matter any more: those
 * who are asked to stop get nothing new. */
void orphans_find_seats(struct supervisor *s)
{
	struct orphan *orphan = s->orphans->first;

	for (uint32_t seat = s->slots_max; orphan && seat < s->steer.size; seat++) {
		if (!steer_is_stray(s, seat))
			continue;
		orphan->seat = seat;
		steer_orphan(s, seat, !orphan->is.asked);
		orphan = orphan->next;
	}
}
