/*
 * reuseport_group - what reuseport.c (sockets, list, queues), reuseport_flows.c (datagrams) and
 * reuseport_life.c (making, unmaking, execve) share. Private to these three.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_REUSEPORT_GROUP_H
#define CLUSTERD_SUPERVISOR_OS_REUSEPORT_GROUP_H

#include "supervisor/os/reuseport.h"
#include "supervisor/os/steer_program.h"

#define NO_SLOT UINT32_MAX

struct reuseport_slot {
	int fd; /* -1: none */
	bool listed;
	uint32_t key; /* who it is for datagrams, below the capacity */
};

struct reuseport {
	struct reuseport_params params;
	struct steer_layout layout;
	int control_fd;
	int sockets_fd;
	int program_fd;
	unsigned char *memory; /* of control_fd, layout.size bytes; NULL with hash */
	uint64_t changed_us;   /* when the list was last changed */
	uint32_t open;         /* slots that have a socket */
	uint32_t *actives;     /* room to build a list: capacity entries each */
	uint32_t *share;
	uint32_t *slot_of;     /* by key */
	uint32_t *homes;       /* of the entries of a list of datagrams: a key, or NO_SLOT */
	struct reuseport_slot slots[];
};

static inline struct steer_control *control_of(const struct reuseport *group)
{
	return (struct steer_control *)(void *)group->memory;
}

static inline struct steer_list *list_of(const struct reuseport *group, uint32_t which)
{
	return (struct steer_list *)(void *)(group->memory + group->layout.list +
					     (size_t)which * group->layout.list_stride);
}

static inline bool has_socket(const struct reuseport *group, uint32_t slot)
{
	return slot < group->params.capacity && group->slots[slot].fd >= 0;
}

/* reuseport_flows.c. `old` is the list in force; the first n of `actives`, which have sockets, get all. */
void reuseport_fill_flows(struct reuseport *group, const struct steer_list *old, struct steer_list *list, uint32_t n);

#endif
