#include "supervisor/os/steer_program.h"

#include <arpa/inet.h>
#include <assert.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <netinet/tcp.h>

enum label { LABEL_CHOOSE, LABEL_PROBE4, LABEL_PROBE, LABEL_TAKEN, LABEL_PASS, LABEL_MAX };

enum { FIXES_MAX = 32, TCP_FLAGS = 13 };

struct assembler {
	struct bpf_insn *program;
	size_t count;
	size_t fixes;
	size_t at[LABEL_MAX];
	struct {
		size_t at;
		enum label to;
	} fix[FIXES_MAX];
};

/*
 * Registers that live on: r6 the context, r7 the list in force, r8 the slot that was chosen; r10 is the
 * frame pointer, r0 to r5 are used up by each call. A probe has its slot in r7: it needs no list.
 * Stack of the program: the key of the sockarray, and room for an IPv6 address.
 */
enum { KEY = -4, ADDRESS = -24 };

/* Of the source address, in the header of IPv4 and of IPv6. */
enum { SOURCE4 = 12, SOURCE6 = 8 };

static_assert(sizeof(struct steer_control) == 64, "a cache line");
static_assert(offsetof(struct steer_list, count) == 64, "next has a cache line of its own");

static uint32_t lines(size_t bytes)
{
	return (uint32_t)((bytes + 63) / 64 * 64);
}

struct steer_layout steer_layout(uint32_t capacity)
{
	struct steer_layout layout = {
		.capacity = capacity,
		.room = capacity < STEER_ROOM_MIN ? STEER_ROOM_MIN : capacity,
		.list = sizeof(struct steer_control),
	};

	layout.list_stride =
	    lines(offsetof(struct steer_list, slot) + layout.room * sizeof(uint32_t));
	layout.handed = layout.list + 2 * layout.list_stride;
	layout.size = lines(layout.handed + capacity * sizeof(uint64_t));
	return layout;
}

static void emit(struct assembler *a, int code, int dst, int src, int off, int32_t imm)
{
	assert(a->count < STEER_PROGRAM_MAX);
	a->program[a->count++] = (struct bpf_insn){
		.code = (uint8_t)code,
		.dst_reg = (uint8_t)(dst & 15),
		.src_reg = (uint8_t)(src & 15),
		.off = (int16_t)off,
		.imm = imm,
	};
}

static void jump(struct assembler *a, int code, int dst, int src, int32_t imm, enum label to)
{
	assert(a->fixes < FIXES_MAX);
	a->fix[a->fixes].at = a->count;
	a->fix[a->fixes++].to = to;
	emit(a, BPF_JMP | code, dst, src, 0, imm);
}

static void place(struct assembler *a, enum label label)
{
	a->at[label] = a->count;
}

static void resolve(struct assembler *a)
{
	for (size_t i = 0; i < a->fixes; i++) {
		size_t from = a->fix[i].at;

		a->program[from].off = (int16_t)((long)a->at[a->fix[i].to] - (long)from - 1);
	}
}

static void move(struct assembler *a, int dst, int src)
{
	emit(a, BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0);
}

static void set(struct assembler *a, int dst, int32_t value)
{
	emit(a, BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, value);
}

static void load(struct assembler *a, int size, int dst, int src, int off)
{
	emit(a, BPF_LDX | BPF_MEM | size, dst, src, off, 0);
}

static void call(struct assembler *a, int32_t function)
{
	emit(a, BPF_JMP | BPF_CALL, 0, 0, 0, function);
}

/* dst = 64-bit constant, map, or address inside the one value of a map. */
static void load_wide(struct assembler *a, int dst, int kind, int32_t low, int32_t high)
{
	emit(a, BPF_LD | BPF_DW | BPF_IMM, dst, kind, 0, low);
	emit(a, 0, 0, 0, 0, high);
}

/* r0 = 0 when the socket of the slot in KEY was taken. */
static void select_socket(struct assembler *a, const struct steer_params *p)
{
	move(a, 1, 6);
	load_wide(a, 2, BPF_PSEUDO_MAP_FD, p->sockets_fd, 0);
	move(a, 3, 10);
	emit(a, BPF_ALU64 | BPF_ADD | BPF_K, 3, 0, 0, KEY);
	set(a, 4, 0);
	call(a, BPF_FUNC_sk_select_reuseport);
}

/* Reads `size` bytes of the IP header to ADDRESS; falls to CHOOSE when there is none. */
static void load_address(struct assembler *a, int32_t offset, int32_t size)
{
	move(a, 1, 6);
	set(a, 2, offset);
	move(a, 3, 10);
	emit(a, BPF_ALU64 | BPF_ADD | BPF_K, 3, 0, 0, ADDRESS);
	set(a, 4, size);
	set(a, 5, BPF_HDR_START_NET);
	call(a, BPF_FUNC_skb_load_bytes_relative);
	jump(a, BPF_JNE | BPF_K, 0, 0, 0, LABEL_CHOOSE);
}

/*
 * Both TCP and UDP begin with the source port. A run for a migration has no packet: data_end says
 * so, and it is never taken for a probe.
 */
static void probe(struct assembler *a, const struct steer_params *p)
{
	load(a, BPF_DW, 2, 6, offsetof(struct sk_reuseport_md, data));
	load(a, BPF_DW, 3, 6, offsetof(struct sk_reuseport_md, data_end));
	move(a, 4, 2);
	emit(a, BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, 2);
	jump(a, BPF_JGT | BPF_X, 4, 3, 0, LABEL_CHOOSE);
	load(a, BPF_H, 7, 2, 0);
	emit(a, BPF_ALU | BPF_END | BPF_TO_BE, 7, 0, 0, 16);
	emit(a, BPF_ALU64 | BPF_SUB | BPF_K, 7, 0, 0, p->probe_base);
	jump(a, BPF_JGE | BPF_K, 7, 0, (int32_t)p->layout.capacity, LABEL_CHOOSE);
	load(a, BPF_W, 4, 6, offsetof(struct sk_reuseport_md, eth_protocol));
	jump(a, BPF_JEQ | BPF_K, 4, 0, htons(ETH_P_IP), LABEL_PROBE4);
	jump(a, BPF_JNE | BPF_K, 4, 0, htons(ETH_P_IPV6), LABEL_CHOOSE);

	load_address(a, SOURCE6, 16);
	load(a, BPF_DW, 4, 10, ADDRESS);
	jump(a, BPF_JNE | BPF_K, 4, 0, 0, LABEL_CHOOSE);
	load(a, BPF_DW, 4, 10, ADDRESS + 8);
	emit(a, BPF_ALU | BPF_END | BPF_TO_BE, 4, 0, 0, 64);
	jump(a, BPF_JNE | BPF_K, 4, 0, 1, LABEL_CHOOSE);
	jump(a, BPF_JA, 0, 0, 0, LABEL_PROBE);

	place(a, LABEL_PROBE4);
	load_address(a, SOURCE4, 1);
	load(a, BPF_B, 4, 10, ADDRESS);
	jump(a, BPF_JNE | BPF_K, 4, 0, 127, LABEL_CHOOSE);

	place(a, LABEL_PROBE);
	emit(a, BPF_STX | BPF_MEM | BPF_W, 10, 7, KEY, 0);
	select_socket(a, p);
	jump(a, BPF_JEQ | BPF_K, 0, 0, 0, LABEL_PASS);
	/* Nobody sits there, so nobody asks there either: it is a client who got that port. */
	jump(a, BPF_JA, 0, 0, 0, LABEL_CHOOSE);
}

/*
 * The RST of a connection whose socket is gone looks for a listener too. It is nobody's turn; the
 * kernel's hash finds some socket that ignores it.
 */
static void pass_reset(struct assembler *a)
{
	load(a, BPF_DW, 2, 6, offsetof(struct sk_reuseport_md, data));
	load(a, BPF_DW, 3, 6, offsetof(struct sk_reuseport_md, data_end));
	move(a, 4, 2);
	emit(a, BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, TCP_FLAGS + 1);
	jump(a, BPF_JGT | BPF_X, 4, 3, 0, LABEL_CHOOSE);
	load(a, BPF_B, 4, 2, TCP_FLAGS);
	jump(a, BPF_JSET | BPF_K, 4, 0, TH_RST, LABEL_PASS);
}

/* r7 = the list in force. */
static void find_list(struct assembler *a, const struct steer_params *p)
{
	const struct steer_layout *l = &p->layout;

	place(a, LABEL_CHOOSE);
	load_wide(a, 7, BPF_PSEUDO_MAP_VALUE, p->control_fd, 0);
	load(a, BPF_W, 8, 7, offsetof(struct steer_control, current));
	emit(a, BPF_ALU64 | BPF_AND | BPF_K, 8, 0, 0, 1);
	emit(a, BPF_ALU64 | BPF_MUL | BPF_K, 8, 0, 0, (int32_t)l->list_stride);
	load_wide(a, 7, BPF_PSEUDO_MAP_VALUE, p->control_fd, (int32_t)l->list);
	emit(a, BPF_ALU64 | BPF_ADD | BPF_X, 7, 8, 0, 0);
}

/* r8 = a slot of the list, `number` tries after the first one. */
static void choose(struct assembler *a, const struct steer_params *p, int32_t number)
{
	const struct steer_layout *l = &p->layout;

	load(a, BPF_W, 2, 7, offsetof(struct steer_list, count));
	jump(a, BPF_JEQ | BPF_K, 2, 0, 0, LABEL_PASS);
	if (p->datagram) {
		load(a, BPF_W, 8, 6, offsetof(struct sk_reuseport_md, hash));
		emit(a, BPF_ALU64 | BPF_ADD | BPF_K, 8, 0, 0, STEER_TRIES - number);
	} else {
		set(a, 8, 1);
		emit(a, BPF_STX | BPF_ATOMIC | BPF_DW, 7, 8, offsetof(struct steer_list, next),
		     BPF_ADD | BPF_FETCH);
	}
	emit(a, BPF_ALU64 | BPF_MOD | BPF_X, 8, 2, 0, 0);
	jump(a, BPF_JGE | BPF_K, 8, 0, (int32_t)l->room, LABEL_PASS);
	emit(a, BPF_ALU64 | BPF_LSH | BPF_K, 8, 0, 0, 2);
	move(a, 3, 7);
	emit(a, BPF_ALU64 | BPF_ADD | BPF_X, 3, 8, 0, 0);
	load(a, BPF_W, 8, 3, offsetof(struct steer_list, slot));
	jump(a, BPF_JGE | BPF_K, 8, 0, (int32_t)l->capacity, LABEL_PASS);
	emit(a, BPF_STX | BPF_MEM | BPF_W, 10, 8, KEY, 0);
}

/*
 * Not a loop: that of a process with CAP_BPF but without CAP_PERFMON looks endless to the verifier
 * of some kernels, such as 6.1.
 */
static void try_slots(struct assembler *a, const struct steer_params *p)
{
	for (int32_t number = 0; number < STEER_TRIES; number++) {
		choose(a, p, number);
		select_socket(a, p);
		jump(a, BPF_JEQ | BPF_K, 0, 0, 0, LABEL_TAKEN);
	}
	jump(a, BPF_JA, 0, 0, 0, LABEL_PASS);
}

static void finish(struct assembler *a, const struct steer_params *p)
{
	place(a, LABEL_TAKEN);
	load_wide(a, 2, BPF_PSEUDO_MAP_VALUE, p->control_fd, (int32_t)p->layout.handed);
	emit(a, BPF_ALU64 | BPF_LSH | BPF_K, 8, 0, 0, 3);
	emit(a, BPF_ALU64 | BPF_ADD | BPF_X, 2, 8, 0, 0);
	set(a, 1, 1);
	emit(a, BPF_STX | BPF_ATOMIC | BPF_DW, 2, 1, 0, BPF_ADD);

	place(a, LABEL_PASS);
	set(a, 0, SK_PASS);
	emit(a, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

size_t steer_program(const struct steer_params *params, struct bpf_insn *ret_program)
{
	struct assembler a = { .program = ret_program };

	move(&a, 6, 1);
	if (!params->datagram)
		pass_reset(&a);
	if (params->probe_base != 0)
		probe(&a, params);
	find_list(&a, params);
	try_slots(&a, params);
	finish(&a, params);
	resolve(&a);
	return a.count;
}
