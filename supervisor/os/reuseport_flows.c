/*
 * Who gets which datagrams. The table has as many entries as it has room for, whoever is there, and each slot
 * has the same number of them, or one more. A flow is an entry, and moves only when that does. An entry is at
 * home with a key, which a worker and the one that replaces it have in common: it is with the slot of that
 * key, or a guest with another one while there is none. A slot that comes takes its share from all.
 */
#include <string.h>

#include "supervisor/os/reuseport_group.h"

struct quota {
	uint32_t each, more; /* `more` of them may have one more */
};

static bool take(struct reuseport *group, uint32_t slot, struct quota *quota)
{
	uint32_t *share = &group->share[slot];

	if (*share > quota->each || (*share == quota->each && quota->more == 0))
		return false;
	quota->more -= *share == quota->each;
	(*share)++;
	return true;
}

/* The slot of each key, and nobody has anything yet. */
static void begin_flows(struct reuseport *group, uint32_t n)
{
	memset(group->share, 0, group->params.capacity * sizeof(*group->share));
	for (uint32_t key = 0; key < group->params.capacity; key++)
		group->slot_of[key] = NO_SLOT;
	for (uint32_t i = 0; i < n; i++)
		group->slot_of[group->slots[group->actives[i]].key] = group->actives[i];
}

static uint32_t home_of(const struct reuseport *group, uint32_t entry)
{
	return group->homes[entry] == NO_SLOT ? NO_SLOT : group->slot_of[group->homes[entry]];
}

/* Those at home first, then the guests, where they were. */
static void keep_flows(struct reuseport *group, const struct steer_list *old, struct steer_list *list,
		       struct quota *quota)
{
	for (uint32_t e = 0; e < list->count; e++) {
		uint32_t home = home_of(group, e);

		list->slot[e] = home != NO_SLOT && take(group, home, quota) ? home : NO_SLOT;
	}
	for (uint32_t e = 0; e < list->count && old->count == list->count; e++) {
		uint32_t slot = old->slot[e];

		if (list->slot[e] != NO_SLOT || !has_socket(group, slot) ||
		    group->slot_of[group->slots[slot].key] != slot || !take(group, slot, quota))
			continue;
		list->slot[e] = slot;
		if (group->homes[e] == NO_SLOT)
			group->homes[e] = group->slots[slot].key;
	}
}

void reuseport_fill_flows(struct reuseport *group, const struct steer_list *old, struct steer_list *list, uint32_t n)
{
	struct quota quota = { 0, 0 };
	uint32_t at = 0;

	list->count = n > 0 ? group->layout.room : 0;
	if (n == 0)
		return;
	quota = (struct quota){ list->count / n, list->count % n };
	begin_flows(group, n);
	keep_flows(group, old, list, &quota);
	for (uint32_t e = 0; e < list->count; e++) {
		if (list->slot[e] != NO_SLOT)
			continue;
		while (!take(group, group->actives[at], &quota)) { /* all of them together have room for all */
			group->actives[at] = group->actives[--n];
			at = at < n ? at : 0;
		}
		list->slot[e] = group->actives[at];
		if (group->homes[e] == NO_SLOT || home_of(group, e) != NO_SLOT)
			group->homes[e] = group->slots[list->slot[e]].key;
		at = at + 1 < n ? at + 1 : 0;
	}
}
