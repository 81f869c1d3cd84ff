#include "supervisor/os/reuseport.h"

#include <netinet/in.h>
#include <string.h>
#include <time.h>

#include "supervisor/os/bpf_map.h"
#include "supervisor/os/clock.h"
#include "supervisor/os/listen.h"
#include "supervisor/os/reuseport_group.h"
#include "supervisor/os/scope.h"
#include "supervisor/os/sys.h"

static int set_option(int fd, int level, int option, int value, const char *step,
		      const char **failed)
{
	if (sys_setsockopt(fd, level, option, &value, sizeof(value)) == 0)
		return 0;
	*failed = step;
	return -errno;
}

/* Sockets of the group ----------------------------------------------------------------------- */

static int set_shared(int fd, const char **failed)
{
	return set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT", failed);
}

static int prepare(const struct reuseport_params *p, int fd, bool first, const char **failed)
{
	int error = 0;

	if (p->address.ss_family == AF_INET6)
		error = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, p->v6only, "IPV6_V6ONLY", failed);
	if (error == 0 && p->type == SOCK_STREAM)
		error = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR", failed);
	if (error == 0 && !first)
		error = set_shared(fd, failed);
	return error;
}

static int bind_to(int fd, const struct reuseport_params *p, const char **failed)
{
	*failed = "bind";
	if (sys_bind(fd, (const struct sockaddr *)&p->address, p->length) < 0)
		return -errno;
	return 0;
}

static int start_listening(int fd, const struct reuseport_params *p, const char **failed)
{
	*failed = "listen";
	if (p->type == SOCK_STREAM && sys_listen(fd, p->backlog) < 0)
		return -errno;
	return 0;
}

int reuseport_set_backlog(struct reuseport *group, int backlog, const char **failed)
{
	int error = 0;

	group->params.backlog = backlog;
	for (uint32_t slot = 0; error == 0 && slot < group->params.capacity; slot++)
		if (has_socket(group, slot))
			error = start_listening(group->slots[slot].fd, &group->params, failed);
	return error;
}

static int learn_address(int fd, struct reuseport_params *p, const char **failed)
{
	socklen_t length = sizeof(p->address);

	*failed = "getsockname";
	if (sys_getsockname(fd, (struct sockaddr *)&p->address, &length) < 0)
		return -errno;
	return 0;
}

/*
 * The first socket shares its port only once it listens: until then two clusterds that start at
 * the same instant could both pass bind (SO_REUSEADDR allows it while none listens), and with
 * SO_REUSEPORT set the second listen(2) would join the group instead of failing.
 */
static int open_socket(struct reuseport *group, bool first, const char **failed)
{
	struct reuseport_params *p = &group->params;
	scoped_fd fd = -1;
	int error;

	*failed = "socket";
	fd = sys_socket(p->address.ss_family, p->type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	error = prepare(p, fd, first, failed);
	if (error == 0)
		error = bind_to(fd, p, failed);
	if (error == 0)
		error = start_listening(fd, p, failed);
	if (error == 0 && first)
		error = set_shared(fd, failed);
	if (error == 0 && first)
		error = learn_address(fd, p, failed);
	if (error != 0)
		return error;
	return fd_take(&fd);
}

/*
 * Attaching takes a socket that is in the group and whose filters are not locked yet; one that
 * joins for that and leaves again. Its joining also makes the kernel set up the group, which a
 * lone socket that got SO_REUSEPORT late is not part of. Connections that fell to it before the
 * program was there move on when it closes.
 */
int reuseport_reattach(struct reuseport *group, const char **failed)
{
	scoped_fd fd = -1;

	if (!group->params.steer)
		return 0;
	fd = open_socket(group, false, failed);
	if (fd < 0)
		return fd;
	return set_option(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, group->program_fd,
			  "SO_ATTACH_REUSEPORT_EBPF", failed);
}

int reuseport_add(struct reuseport *group, uint32_t slot, const char **failed)
{
	struct sockaddr_storage asked = group->params.address;
	bool first = group->open == 0;
	scoped_fd fd = -1;
	int error = 0;

	*failed = "slot";
	if (slot >= group->params.capacity)
		return -EINVAL;
	if (has_socket(group, slot))
		return -EEXIST;
	fd = open_socket(group, first, failed);
	if (fd < 0)
		return fd;
	if (first)
		error = reuseport_reattach(group, failed);
	if (error == 0)
		error = listen_lock_filter(fd, failed);
	if (error == 0 && group->params.steer)
		error = bpf_socket_put(group->sockets_fd, slot, fd, failed);
	if (error != 0) {
		group->params.address = asked;
		return error;
	}
	group->slots[slot] = (struct reuseport_slot){ .fd = fd_take(&fd) };
	group->open++;
	return 0;
}

/*
 * A socket is in one map only (net/core: reuseport_array_update_check), and leaves that of the old
 * program when the kernel has freed it: some milliseconds after nobody uses it any more.
 */
static int put_when_free(struct reuseport *group, uint32_t slot, int fd, const char **failed)
{
	enum { TRIES = 500, PAUSE_MS = 2 };
	int error = bpf_socket_put(group->sockets_fd, slot, fd, failed);

	for (int i = 0; error == -EBUSY && i < TRIES; i++) {
		nanosleep(&(struct timespec){ .tv_nsec = PAUSE_MS * 1000000L }, NULL);
		error = bpf_socket_put(group->sockets_fd, slot, fd, failed);
	}
	return error;
}

/* The program of the dead goes: ours takes its place, or the kernel's hash. */
static int replace_program(struct reuseport *group, int fd, const char **failed)
{
	int none = 0;

	if (group->params.steer)
		return reuseport_reattach(group, failed);
	*failed = "SO_DETACH_REUSEPORT_BPF";
	if (sys_setsockopt(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &none, sizeof(none)) < 0 &&
	    errno != ENOENT)
		return -errno;
	return 0;
}

int reuseport_take(struct reuseport *group, uint32_t slot, int fd, const char **failed)
{
	struct sockaddr_storage asked = group->params.address;
	int error = 0;

	*failed = "slot";
	if (slot >= group->params.capacity)
		return -EINVAL;
	if (has_socket(group, slot))
		return -EEXIST;
	if (group->open == 0)
		error = learn_address(fd, &group->params, failed);
	if (error == 0 && group->open == 0)
		error = replace_program(group, fd, failed);
	if (error == 0)
		error = start_listening(fd, &group->params, failed);
	if (error == 0)
		error = listen_lock_filter(fd, failed);
	if (error == 0 && group->params.steer)
		error = put_when_free(group, slot, fd, failed);
	if (error != 0) {
		group->params.address = asked;
		return error;
	}
	group->slots[slot] = (struct reuseport_slot){ .fd = fd, .key = slot };
	group->open++;
	return 0;
}

/* The list ----------------------------------------------------------------------------------- */

/* Where the new list goes on: at the slot that the old one would have served next, or after it. */
static uint64_t next_turn(const struct steer_list *old, const struct steer_list *new)
{
	uint32_t due, i;

	if (old->count == 0)
		return 0;
	due = old->slot[__atomic_load_n(&old->next, __ATOMIC_RELAXED) % old->count];
	for (i = 0; i < new->count && new->slot[i] < due; i++)
		continue;
	return i < new->count ? i : 0;
}

static uint32_t collect(struct reuseport *group, bool listed_only, uint32_t *slots)
{
	uint32_t n = 0;

	for (uint32_t slot = 0; slot < group->params.capacity; slot++)
		if (has_socket(group, slot) && (group->slots[slot].listed || !listed_only))
			slots[n++] = slot;
	return n;
}

/* Builds the list that is not in force from the slots' flags, then puts it in force. */
static void write_list(struct reuseport *group)
{
	uint32_t current = control_of(group)->current & 1;
	struct steer_list *list = list_of(group, !current);
	uint32_t n = collect(group, true, group->actives);

	if (n == 0)
		n = collect(group, false, group->actives);
	if (group->params.type == SOCK_DGRAM) {
		reuseport_fill_flows(group, list_of(group, current), list, n);
	} else {
		memcpy(list->slot, group->actives, n * sizeof(list->slot[0]));
		list->count = n;
		list->next = next_turn(list_of(group, current), list);
	}
	__atomic_store_n(&control_of(group)->current, !current, __ATOMIC_RELEASE);
	group->changed_us = clock_us();
}

int reuseport_steer_keys(struct reuseport *group, const uint32_t *slots, const uint32_t *keys, uint32_t n,
			 const char **failed)
{
	*failed = "steer";
	if (!group->params.steer)
		return -EOPNOTSUPP;
	for (uint32_t i = 0; i < n; i++)
		if (slots[i] >= group->params.capacity || keys[i] >= group->params.capacity)
			return -EINVAL;
	for (uint32_t slot = 0; slot < group->params.capacity; slot++)
		group->slots[slot].listed = false;
	for (uint32_t i = 0; i < n; i++) {
		group->slots[slots[i]].listed = true;
		group->slots[slots[i]].key = keys[i];
	}
	write_list(group);
	return 0;
}

int reuseport_steer(struct reuseport *group, const uint32_t *slots, uint32_t n, const char **failed)
{
	return reuseport_steer_keys(group, slots, slots, n, failed);
}

static void unlist(struct reuseport *group, uint32_t slot)
{
	bool listed = group->slots[slot].listed;

	if (!group->params.steer)
		return;
	group->slots[slot].listed = false;
	/* Of connections; flows count all sockets, and with nobody listed all of them are. */
	if (group->params.type == SOCK_STREAM && !listed && collect(group, true, group->actives) > 0)
		return;
	write_list(group);
}

/* Queues ------------------------------------------------------------------------------------- */

/*
 * A handshake that began by the former list may be half done: should its last step meet the shutdown
 * of its socket on another CPU, the kernel resets it (inet_csk_complete_hashdance). On the machine
 * itself a handshake takes a few microseconds, so wait until there can be none.
 */
static void settle(const struct reuseport *group)
{
	enum { HANDSHAKE_US = 200 };
	uint64_t since = clock_us() - group->changed_us;
	struct timespec rest = { 0 };

	if (group->params.type != SOCK_STREAM || since >= HANDSHAKE_US)
		return;
	rest.tv_nsec = (long)(HANDSHAKE_US - since) * 1000;
	nanosleep(&rest, NULL);
}

int reuseport_remove(struct reuseport *group, uint32_t slot, const char **failed)
{
	int fd, error = 0;

	*failed = "slot";
	if (!has_socket(group, slot))
		return -ENOENT;
	fd = group->slots[slot].fd;
	group->slots[slot].fd = -1;
	group->open--;
	if (group->params.steer) {
		unlist(group, slot);
		error = bpf_socket_delete(group->sockets_fd, slot, failed);
		settle(group);
		/* The worker may hold a copy, so close(2) alone would not move the queue. */
		if (sys_shutdown(fd, SHUT_RDWR) < 0 && errno != ENOTCONN && error == 0) {
			*failed = "shutdown";
			error = -errno;
		}
	}
	fd_close(&fd);
	return error;
}

int reuseport_move(struct reuseport *group, uint32_t from, uint32_t to)
{
	if (group->params.steer)
		return -EOPNOTSUPP;
	if (to >= group->params.capacity)
		return -EINVAL;
	if (!has_socket(group, from))
		return -ENOENT;
	if (has_socket(group, to))
		return -EEXIST;
	group->slots[to] = group->slots[from];
	group->slots[from] = (struct reuseport_slot){ .fd = -1 };
	return 0;
}

int reuseport_relisten(struct reuseport *group, uint32_t slot, const char **failed)
{
	int fd, error;

	*failed = "slot";
	if (!has_socket(group, slot))
		return -ENOENT;
	fd = group->slots[slot].fd;
	/*
	 * A port that the kernel chose is given back by shutdown (getsockname still tells it), and
	 * listen would choose another. EINVAL: the socket is bound as it was.
	 */
	error = bind_to(fd, &group->params, failed);
	if (error == 0 || error == -EINVAL)
		error = start_listening(fd, &group->params, failed);
	if (error != 0 || !group->params.steer)
		return error;
	error = bpf_socket_put(group->sockets_fd, slot, fd, failed);
	return error == -EBUSY ? 0 : error; /* it never left the map */
}

int reuseport_move_queue(struct reuseport *group, uint32_t slot, const char **failed)
{
	bool listed;

	*failed = "slot";
	if (!group->params.steer || group->params.type != SOCK_STREAM)
		return -EOPNOTSUPP;
	if (!has_socket(group, slot))
		return -ENOENT;
	listed = group->slots[slot].listed;
	group->slots[slot].listed = false;
	if (collect(group, true, group->actives) == 0) {
		group->slots[slot].listed = listed;
		*failed = "no sibling";
		return -EAGAIN;
	}
	if (listed)
		write_list(group);
	settle(group);
	*failed = "shutdown";
	if (sys_shutdown(group->slots[slot].fd, SHUT_RDWR) < 0 && errno != ENOTCONN)
		return -errno;
	return reuseport_relisten(group, slot, failed);
}

/* What the caller may look at ---------------------------------------------------------------- */

int reuseport_fd(const struct reuseport *group, uint32_t slot)
{
	return has_socket(group, slot) ? group->slots[slot].fd : -1;
}

uint32_t reuseport_open(const struct reuseport *group)
{
	return group->open;
}

const struct sockaddr_storage *reuseport_address(const struct reuseport *group)
{
	return &group->params.address;
}

uint64_t reuseport_handed(const struct reuseport *group, uint32_t slot)
{
	const uint64_t *handed;

	if (group->memory == NULL || slot >= group->params.capacity)
		return 0;
	handed = (const uint64_t *)(const void *)(group->memory + group->layout.handed);
	return __atomic_load_n(&handed[slot], __ATOMIC_RELAXED);
}
