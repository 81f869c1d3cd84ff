/*
 * reuseport - one socket per slot behind one port, and who gets the next connection.
 *
 * A group of SO_REUSEPORT sockets, one per worker slot, all opened and held by clusterd: a dead
 * worker's queue survives, and no worker can shut down, starve or filter the socket of another.
 * The kernel spreads connections by hash, or (steer) an eBPF program gives each to the next slot
 * of a list that reuseport_steer() replaces by plain memory writes; see steer_program.h.
 *
 * Source  socket(7) SO_REUSEPORT, SO_LOCK_FILTER; bpf(2); net/core/sock_reuseport.c (selection,
 *         migration of queues since Linux 5.14). No libbpf: bpf(2) directly.
 * Rights  steer needs CAP_BPF (or CAP_SYS_ADMIN); hash needs none.
 * Owner   the group owns every fd; they are close-on-exec. reuseport_fd() lends one out.
 *
 * Functions return 0 or -errno; on error *failed names the step: "bpf(BPF_PROG_LOAD)", "bind".
 */
#ifndef CLUSTERD_SUPERVISOR_OS_REUSEPORT_H
#define CLUSTERD_SUPERVISOR_OS_REUSEPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { REUSEPORT_SLOTS_MAX = 16384 };

struct reuseport_params {
	struct sockaddr_storage address; /* AF_INET or AF_INET6; port 0: the kernel chooses */
	socklen_t length;                /* of address */
	int type;                        /* SOCK_STREAM (TCP) or SOCK_DGRAM (UDP) */
	bool v6only;
	int backlog;
	uint32_t capacity;   /* slots ever: 0 ... capacity - 1; at most REUSEPORT_SLOTS_MAX */
	bool steer;          /* eBPF; false: the kernel's hash */
	uint16_t probe_base; /* steer: a source port of probe_base + slot on 127.0.0.0/8 or ::1
				reaches that slot, if it has a socket; 0: no probes */
};

struct reuseport;

/*
 * Makes the maps and loads the program; opens no socket yet. -EPERM: CAP_BPF is missing (also
 * the answer of a container's seccomp profile). -EINVAL: parameters (step "parameters"), or a
 * kernel before 5.14 (step "bpf(...)").
 */
int reuseport_create(const struct reuseport_params *params, struct reuseport **ret_group,
		     const char **failed);

/* Closes everything: queued connections are reset. Takes NULL. */
void reuseport_destroy(struct reuseport *group);

/*
 * Opens the socket of a slot; it listens. The first socket of a group is bound without
 * SO_REUSEPORT, so a port that is in use by anybody, another clusterd included, is -EADDRINUSE.
 * With steer the slot gets nothing until reuseport_steer() lists it; with hash it gets its share
 * at once. Its filters are locked: a worker can neither attach nor replace one. -EEXIST: the slot
 * has a socket.
 */
int reuseport_add(struct reuseport *group, uint32_t slot, const char **failed);

/*
 * Makes a socket that belongs to this very port already, of a clusterd that was killed, that of a
 * slot: its queue is kept, its backlog and lock are set anew. The first one puts our program in the
 * place of the old one. Takes the fd over on success. -EEXIST: the slot has a socket.
 */
int reuseport_take(struct reuseport *group, uint32_t slot, int fd, const char **failed);

/*
 * Closes the socket of a slot, after taking it off the list. With steer the queued connections
 * move to the siblings. The slot's worker should be gone: its accept(2) would say EINVAL. With
 * hash the socket is only closed here: the queue lives on as long as a worker holds it, and is
 * reset then. -ENOENT: the slot has no socket.
 */
int reuseport_remove(struct reuseport *group, uint32_t slot, const char **failed);

/*
 * With hash only: the socket of a slot, with what waits in its queue, becomes that of another slot.
 * -ENOENT: the slot has none; -EEXIST: the other one has; -EINVAL: no such slot; -EOPNOTSUPP with steer.
 */
int reuseport_move(struct reuseport *group, uint32_t from, uint32_t to);

/*
 * Sends new connections to these slots, in turn; the turn goes on where it stood. Replaces the
 * list at once for all later connections. Slots without a socket are left out; if nothing is left
 * (n = 0, say), all sockets are listed, so that connections wait in queues instead of being
 * refused. Datagrams: a flow keeps its slot while that is listed; one that comes takes its
 * share from all. Hash: -EOPNOTSUPP. -EINVAL: a slot beyond the capacity.
 */
int reuseport_steer(struct reuseport *group, const uint32_t *slots, uint32_t n,
		    const char **failed);

/* The same; flows that a slot with the key had before, or were on loan from it, are this slot's. */
int reuseport_steer_keys(struct reuseport *group, const uint32_t *slots, const uint32_t *keys, uint32_t n,
			 const char **failed);

/*
 * Moves what waits in the queue of a slot to the siblings on the list: takes the slot off the
 * list, shutdown(2), listen(2). The socket is then as new, off the list. Workers that block in
 * accept(2) on it get EINVAL. Connections stay where they are, and are reset, when no sibling is
 * listed: -EAGAIN says that nothing was done. -EOPNOTSUPP: hash, or datagrams. Waits up to 0.2 ms
 * after a change of the list, so that handshakes which began before it are done; one of a client so
 * far away that it lasts longer can meet the shutdown in a window of microseconds, and is reset.
 */
int reuseport_move_queue(struct reuseport *group, uint32_t slot, const char **failed);

/*
 * Makes a socket listen again that a worker shut down (poll(2): POLLHUP), on the same port and in
 * the group. Harmless on one that listens.
 */
int reuseport_relisten(struct reuseport *group, uint32_t slot, const char **failed);

/*
 * Puts the program back in force. SO_LOCK_FILTER does not stop a worker from detaching it
 * (SO_DETACH_REUSEPORT_BPF; seen on Linux 6.18), after which the kernel's hash decides; nothing
 * tells us, so call it now and then. Costs a socket opened and closed.
 */
int reuseport_reattach(struct reuseport *group, const char **failed);

/* Another backlog, for the sockets there are and those to come. */
int reuseport_set_backlog(struct reuseport *group, int backlog, const char **failed);

/* The slot's socket, lent, or -1. */
int reuseport_fd(const struct reuseport *group, uint32_t slot);

/* How many slots have a socket. */
uint32_t reuseport_open(const struct reuseport *group);

/* The address as bound: with the port the kernel chose. Lent. */
const struct sockaddr_storage *reuseport_address(const struct reuseport *group);

/*
 * Connections (datagrams) given to the slot by the program since the group was made, those that
 * moved in included. 0 with hash. This less the queue (listen_queue()) tells whether the worker
 * still accepts.
 */
uint64_t reuseport_handed(const struct reuseport *group, uint32_t slot);

/*
 * For execve(2): what, beside the fd of each slot, a group is made of. The fds are lent; the
 * caller clears their close-on-exec flags, and those of the sockets, right before execve.
 */
struct reuseport_image {
	struct reuseport_params params; /* address as bound */
	int control_fd;                 /* -1 with hash, as the next two */
	int sockets_fd;
	int program_fd;
};
struct reuseport_image reuseport_export(const struct reuseport *group);

/*
 * Makes a group of what survived an execve. sockets[i] is the fd of slot i, -1 for none, count is
 * at most params.capacity. All fds become close-on-exec and the group's, only on success; the
 * list in force and the counters go on. -EPROTO: the memory is not of this version's layout; the
 * caller makes a new group (the port is then free only when all old sockets are closed).
 */
int reuseport_adopt_fds(const struct reuseport_image *image, const int *sockets, uint32_t count,
			struct reuseport **ret_group, const char **failed);

/* What this kernel and these rights allow. Opens nothing that stays open. */
enum reuseport_support {
	REUSEPORT_OK,
	REUSEPORT_NO_RIGHT, /* CAP_BPF is missing, or bpf(2) is filtered */
	REUSEPORT_TOO_OLD,  /* the program needs Linux 5.14 */
};
enum reuseport_support reuseport_probe_kernel(void);

#endif
