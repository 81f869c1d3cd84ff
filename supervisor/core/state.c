/*
 * state - a pool as bytes, and back.
 *
 *   head    "CLDPOOL\n", byte order mark, version, size of the whole, checksum of the rest
 *           (FNV-1a, 64 bits), slots, instances
 *   then    records, each with its length before it: the pool, and for each slot the
 *           slot and its instances
 *
 * One function per record serves both directions, so what is written and what is read
 * can not drift apart. Indices of instances are not saved: they are given anew. What can
 * be counted is counted, not read.
 */
#include <string.h>

#include "supervisor/core/roll.h"

enum {
	VERSION = 2,
	ORDER_MARK = 0x01020304,
	MAGIC_SIZE = 8,
	HEAD_SIZE = MAGIC_SIZE + 4 + 4 + 8 + 8 + 4 + 4,
	CHECKED_FROM = HEAD_SIZE - 8, /* the checksum covers the counts and all records */
	SLOTS_LIMIT = 1 << 20, /* what no state of ours comes near */
};

static const char magic[MAGIC_SIZE + 1] = "CLDPOOL\n";

struct codec {
	bool reading;
	bool bad;
	const unsigned char *in;
	unsigned char *out;
	size_t size, at;
};

struct head {
	char magic[MAGIC_SIZE];
	uint32_t order, version;
	uint64_t size, sum;
	uint32_t slots, instances;
};

/* ---- values ---- */

static void bytes(struct codec *c, void *value, size_t size)
{
	bool fits = c->at <= c->size && size <= c->size - c->at;

	if (c->reading && !fits) {
		c->bad = true;
		memset(value, 0, size);
		return;
	}
	if (c->reading)
		memcpy(value, c->in + c->at, size);
	else if (fits)
		memcpy(c->out + c->at, value, size);
	c->at += size;
}

static void u8(struct codec *c, uint8_t *value)
{
	bytes(c, value, sizeof(*value));
}

static void u32(struct codec *c, uint32_t *value)
{
	bytes(c, value, sizeof(*value));
}

static void u64(struct codec *c, uint64_t *value)
{
	bytes(c, value, sizeof(*value));
}

static void flag(struct codec *c, bool *value)
{
	uint8_t byte = *value;

	u8(c, &byte);
	if (byte > 1)
		c->bad = true;
	*value = byte == 1;
}

/* Only the entries that are in use. */
static void ring(struct codec *c, uint32_t *used, uint64_t *at_ms, uint32_t size)
{
	u32(c, used);
	if (*used >= 2 * size)
		c->bad = true;
	for (uint32_t n = 0; n < size && n < *used && !c->bad; n++)
		u64(c, &at_ms[n]);
}

static void list(struct codec *c, struct list *list)
{
	u32(c, &list->first);
	u32(c, &list->last);
}

/* ---- records: the length is known after the fields, so it is filled in behind them ---- */

static size_t record_begin(struct codec *c, uint32_t *ret_length)
{
	*ret_length = 0;
	u32(c, ret_length);
	return c->at;
}

static void record_end(struct codec *c, size_t from, uint32_t length)
{
	uint32_t real = (uint32_t)(c->at - from);

	if (c->reading)
		c->bad |= real != length;
	else if (c->at <= c->size)
		memcpy(c->out + from - sizeof(real), &real, sizeof(real));
}

static void roll_record(struct codec *c, struct roll *roll)
{
	u32(c, &roll->number);
	u32(c, &roll->generation);
	u32(c, &roll->cookie);
	u32(c, &roll->done);
	flag(c, &roll->back);
	flag(c, &roll->proven);
	u64(c, &roll->begin_ms);
	u64(c, &roll->pause_ms);
}

static void pool_record(struct codec *c, struct pool *pool)
{
	uint32_t length, status = (uint32_t)pool->status, why = pool->why;
	size_t from = record_begin(c, &length);

	u64(c, &pool->now_ms);
	u64(c, &pool->dice);
	u32(c, &pool->last_cookie);
	u32(c, &pool->generation);
	u32(c, &pool->rolls);
	u32(c, &pool->wanted);
	flag(c, &pool->started);
	flag(c, &pool->up);
	flag(c, &pool->ever_spawned);
	flag(c, &pool->ever_ready);
	flag(c, &pool->stopping);
	flag(c, &pool->stop_asked);
	flag(c, &pool->exited);
	u32(c, &status);
	u32(c, &why);
	pool->status = (int)(status & 0xff);
	pool->why = why < WHYS ? (enum why)why : WHY_ASKED;
	c->bad |= status > 0xff || why >= WHYS;
	list(c, &pool->waiting);
	for (int kind = 0; kind < REPLACES; kind++)
		list(c, &pool->queues[kind]);
	roll_record(c, &pool->roll);
	ring(c, &pool->cluster.used, pool->cluster.at_ms, CLUSTER_BURST_MAX);
	record_end(c, from, length);
}

static void slot_record(struct codec *c, struct slot *slot, uint32_t *instances)
{
	uint32_t length;
	size_t from = record_begin(c, &length);

	u32(c, instances);
	u32(c, &slot->generation);
	u32(c, &slot->replace_roll);
	u32(c, &slot->replace_tries);
	u64(c, &slot->replace_since_ms);
	u64(c, &slot->recycle_ms);
	u8(c, &slot->state);
	u8(c, &slot->replace);
	u8(c, &slot->replace_cause);
	u8(c, &slot->boot_failures);
	flag(c, &slot->replacing);
	flag(c, &slot->waits);
	flag(c, &slot->counted);
	flag(c, &slot->settled);
	flag(c, &slot->steered);
	flag(c, &slot->ended_well);
	flag(c, &slot->recycle_told);
	flag(c, &slot->tell_gone);
	flag(c, &slot->tell_drained);
	for (int due = 0; due < SLOT_DUES; due++)
		u64(c, &slot->due_ms[due]);
	for (int link = 0; link < LINKS; link++) {
		u32(c, &slot->links[link].prev);
		u32(c, &slot->links[link].next);
	}
	u32(c, &slot->history.streak);
	ring(c, &slot->history.used, slot->history.at_ms, BURST_MAX);
	record_end(c, from, length);
}

static void instance_record(struct codec *c, struct instance *i)
{
	uint32_t length;
	size_t from = record_begin(c, &length);

	u32(c, &i->cookie);
	u32(c, &i->generation);
	u32(c, &i->watchdog_ms);
	u8(c, &i->state);
	u8(c, &i->role);
	u8(c, &i->cause);
	u8(c, &i->when);
	u8(c, &i->pending);
	u8(c, &i->unkillable);
	flag(c, &i->spawned);
	flag(c, &i->abandoned);
	u64(c, &i->spawned_ms);
	u64(c, &i->ready_ms);
	u64(c, &i->killed_ms);
	for (int due = 0; due < DUES; due++)
		u64(c, &i->due_ms[due]);
	record_end(c, from, length);
}

static void head_record(struct codec *c, struct head *head)
{
	bytes(c, head->magic, sizeof(head->magic));
	u32(c, &head->order);
	u32(c, &head->version);
	u64(c, &head->size);
	u64(c, &head->sum);
	u32(c, &head->slots);
	u32(c, &head->instances);
}

/* ---- save ---- */

static uint64_t checksum(const unsigned char *at, size_t size)
{
	uint64_t sum = 0xcbf29ce484222325;

	while (size-- > 0)
		sum = (sum ^ *at++) * 0x100000001b3;
	return sum;
}

static void save_instance(struct codec *c, const struct pool *pool, uint32_t index)
{
	struct instance copy;

	if (index == NO_INDEX)
		return;
	copy = pool->instances[index];
	instance_record(c, &copy);
}

static void save_slot(struct codec *c, const struct pool *pool, uint32_t s)
{
	struct slot copy = pool->slots[s];
	uint32_t count = copy.olds + (copy.current != NO_INDEX) + (copy.next != NO_INDEX);

	slot_record(c, &copy, &count);
	save_instance(c, pool, copy.current);
	save_instance(c, pool, copy.next);
	for (uint32_t n = copy.old; n != NO_INDEX; n = pool->instances[n].next)
		save_instance(c, pool, n);
}

size_t pool_save(const struct pool *pool, void *out, size_t size)
{
	struct codec c = { .out = out, .size = size };
	struct head head = {
		.order = ORDER_MARK,
		.version = VERSION,
		.slots = pool->slots_max,
		.instances = pool->instances_max,
	};
	struct pool copy = *pool;

	memcpy(head.magic, magic, MAGIC_SIZE);
	head_record(&c, &head);
	pool_record(&c, &copy);
	for (uint32_t s = 0; s < pool->slots_max; s++)
		save_slot(&c, pool, s);
	if (c.at > size)
		return c.at;
	head.size = c.at;
	head.sum = checksum(c.out + CHECKED_FROM, c.at - CHECKED_FROM);
	c.at = 0;
	head_record(&c, &head);
	return head.size;
}

/* ---- load ---- */

static bool read_head(struct codec *c, struct head *ret)
{
	*ret = (struct head){ 0 };
	head_record(c, ret);
	return !c->bad && memcmp(ret->magic, magic, MAGIC_SIZE) == 0 && ret->order == ORDER_MARK &&
	       ret->version == VERSION && ret->size == c->size && ret->slots <= SLOTS_LIMIT &&
	       ret->instances <= 8 * SLOTS_LIMIT &&
	       ret->sum == checksum(c->in + CHECKED_FROM, c->size - CHECKED_FROM);
}

bool pool_load_size(const void *in, size_t size, uint32_t *ret_slots, uint32_t *ret_instances)
{
	struct codec c = { .reading = true, .in = in, .size = size };
	struct head head;

	if (!read_head(&c, &head))
		return false;
	*ret_slots = head.slots;
	*ret_instances = head.instances;
	return true;
}

/* A free instance takes the place it has in its slot, the old ones in the order they had. */
static bool place(struct pool *pool, uint32_t s, const struct instance *read, uint32_t *last_old)
{
	struct slot *slot = &pool->slots[s];
	uint32_t index = pool->free;
	struct instance *i;
	uint32_t *taken = read->role == ROLE_CURRENT ? &slot->current : &slot->next;

	if (index == NO_INDEX || read->cookie == 0 || instance_find(pool, read->cookie) != NO_INDEX)
		return false;
	if (read->role != ROLE_OLD && *taken != NO_INDEX)
		return false;
	i = &pool->instances[index];
	pool->free = i->next;
	*i = *read;
	i->slot = s;
	i->prev = i->next = NO_INDEX;
	instance_hash_add(pool, index);
	instance_arm(pool, index);
	pool->live++;
	pool->abandoned += i->abandoned;
	if (i->role != ROLE_OLD) {
		*taken = index;
		return true;
	}
	i->prev = *last_old;
	if (i->prev == NO_INDEX)
		slot->old = index;
	else
		pool->instances[i->prev].next = index;
	*last_old = index;
	slot->olds++;
	return true;
}

static void count_slot(struct pool *pool, uint32_t s)
{
	const struct slot *slot = &pool->slots[s];
	bool wanted = s < pool->wanted;

	pool->ready += slot->steered;
	pool->retired += slot->state == SLOT_RETIRED;
	pool->unsettled += wanted && !slot->settled;
	pool->boot_failed += wanted && slot->boot_failures >= BOOT_FAILURES;
	pool->roll.done += roll_counts(pool, s);
	if (slot->replacing && slot->replace < REPLACES)
		pool->replacing[slot->replace]++;
}

static bool load_slot(struct codec *c, struct pool *pool, uint32_t s)
{
	uint32_t count = 0, last_old = NO_INDEX;

	slot_record(c, &pool->slots[s], &count);
	while (count-- > 0 && !c->bad) {
		struct instance read = { 0 };

		instance_record(c, &read);
		if (c->bad || read.role >= ROLES || !place(pool, s, &read, &last_old))
			return false;
	}
	slot_arm(pool, s);
	count_slot(pool, s);
	return !c->bad;
}

struct pool *pool_load(const void *in, size_t size, void *memory, uint32_t slots_max,
		       uint32_t instances_max, const struct policy *policy)
{
	struct codec c = { .reading = true, .in = in, .size = size };
	struct pool *pool;
	struct head head;

	if (!read_head(&c, &head) || head.slots > slots_max)
		return NULL;
	pool = pool_lay_out(memory, slots_max, instances_max);
	pool->policy = policy;
	pool_record(&c, pool);
	pool->roll.done = 0;
	for (uint32_t s = 0; s < head.slots; s++)
		if (c.bad || !load_slot(&c, pool, s))
			return NULL;
	if (c.bad || c.at != size || !pool_valid(pool))
		return NULL;
	heap_set(&pool->heap, heap_id_of_roll(pool), rank_of_roll, pool->roll.pause_ms);
	return pool;
}
