/*
 * steer_program - the eBPF program that gives each connection to the next slot of a list, and the
 * memory it shares with us.
 *
 * Pure: numbers in, instructions and offsets out; reuseport.c makes the system calls.
 *
 * Source  linux Documentation/bpf/, include/uapi/linux/bpf.h (SK_REUSEPORT, since 4.19;
 *         SELECT_OR_MIGRATE since 5.14, which is the oldest kernel that takes the program),
 *         instruction encoding: RFC 9669.
 *
 * The shared memory is the one value of a BPF_F_MMAPABLE array map:
 *
 *	0               struct steer_control
 *	list[0], [1]    struct steer_list, list_stride bytes each
 *	handed          uint64_t per slot: connections given to it
 *
 * One list is in force (control.current), the other is ours to write; storing `current` puts it in
 * force for every run that starts later. A run that started before goes on in the old list, which
 * is not touched before the next change: it hands out at most one connection by the old list.
 * Should it sleep through two changes (it can not: it runs with preemption off; a stolen virtual
 * CPU can), each word it reads is still checked against the capacity, so the worst is one
 * connection for a slot listed a moment ago.
 *
 * Each run takes list.next++ modulo list.count, but that for the RST of no connection. A slot whose
 * socket left the group by itself (a worker called shutdown) is passed over, up to STEER_TRIES of
 * them; then the kernel's hash picks.
 *
 * For datagrams the index is the packet's hash (source and destination address and port) modulo
 * list.count: a flow keeps its slot for as long as the list keeps its length.
 *
 * A packet from 127.0.0.0/8 or ::1 whose source port is probe_base + slot goes to that slot, and is
 * not counted in handed. When the slot has no socket it is one like any other: nobody probes an empty
 * slot, so it is a client that got that port.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_STEER_PROGRAM_H
#define CLUSTERD_SUPERVISOR_OS_STEER_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	STEER_ROOM_MIN = 256,       /* entries of a list, see steer_layout() */
	STEER_PROGRAM_MAX = 160,    /* instructions */
	STEER_TRIES = 4,
	STEER_MAGIC = 0x72727564,
	STEER_VERSION = 1, /* of this memory layout */
};

struct steer_control {
	uint32_t magic;
	uint32_t version;
	uint32_t capacity;
	uint32_t current; /* 0 or 1 */
	unsigned char pad[48];
};

struct steer_list {
	uint64_t next; /* a cache line of its own: every connection writes it */
	unsigned char pad[56];
	uint32_t count;  /* 0: the kernel's hash picks */
	uint32_t slot[]; /* room entries */
};

/* Byte offsets inside the shared memory. */
struct steer_layout {
	uint32_t capacity; /* slots are 0 ... capacity - 1 */
	uint32_t room;     /* entries of a list: capacity, but at least STEER_ROOM_MIN */
	uint32_t list;
	uint32_t list_stride;
	uint32_t handed;
	uint32_t size;
};

/* Computes the offsets. capacity is 1 ... REUSEPORT_SLOTS_MAX (reuseport.h). */
struct steer_layout steer_layout(uint32_t capacity);

struct steer_params {
	struct steer_layout layout;
	int control_fd;      /* array map */
	int sockets_fd;      /* reuseport sockarray */
	bool datagram;       /* choose by hash instead of in turn */
	uint16_t probe_base; /* first source port of the probes; 0: none */
};

struct bpf_insn;

/*
 * Writes the program, at most STEER_PROGRAM_MAX instructions, and returns how many. Every pointer
 * is formed as a map value plus one bounded number, the same on all paths, because the verifier
 * asks for that of a loader that has CAP_BPF without CAP_PERFMON.
 */
size_t steer_program(const struct steer_params *params, struct bpf_insn *ret_program);

#endif
