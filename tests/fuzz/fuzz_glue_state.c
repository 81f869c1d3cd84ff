/*
 * Oracle: a state is refused with a reason or read, and what was read can be let go of again, whatever
 * it says. The input is a change to a good state: `at` (3 bytes), a value, and so on; a first byte of 255
 * makes the rest the state itself. The checksum of the pool inside is not mended here: core_state does that.
 *
 * The good state is one a running clusterd wrote. It holds plain structs, so it is of one architecture:
 * FUZZ_STATE names the file, or else a state is made here (see good_state).
 */
#include <stdlib.h>
#include <string.h>

#include "config/keys.h"
#include "supervisor/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SLOTS = 3, INSTANCES = 12, CHANGE = 4, VERBATIM = 255 };

static uint8_t *good;
static size_t good_size;

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void no_action(void *context, const struct action *action)
{
	(void)context;
	(void)action;
}

static void make_sock(struct supervisor *s)
{
	struct sock *sock = &s->socks[s->sock_count++];

	sock->in_use = true;
	sock->config = s->policy.listeners[0];
	sock->listening.fd = 900;
}

/* Cookies count from 1: the pool has just started a worker in each slot. */
static void make_workers(struct supervisor *s)
{
	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		struct worker *worker = worker_new(s, slot, slot + 1);

		must(worker != NULL);
		worker->pid = (pid_t)(100 + slot);
		worker->pidfd = (int)(910 + slot);
		worker->generation = 1;
		worker->launch = s->launches;
		strcpy(worker->status, "a = b\n; [c]");
		memory_add_end(s, slot, &(struct end_record){ .pid = 42, .code = 7 });
		memory_last_line(s, slot, "last words");
	}
}

static struct supervisor *make_supervisor(void)
{
	struct supervisor *s = calloc(1, sizeof *s);
	void *memory = malloc(pool_size(SLOTS, INSTANCES));

	must(s && memory && memory_grow(s, SLOTS) == 0);
	policy_defaults(&s->policy);
	strcpy(s->name, "fuzz");
	s->generation = 1;
	s->slots_max = SLOTS;
	s->instances_max = INSTANCES;
	s->pidfile.fd = s->sd.fd = s->carried_control = s->carried_metrics = -1;
	s->pool = pool_init(memory, SLOTS, INSTANCES, &s->policy, 1, 1);
	pool_step(s->pool, 1, &(struct event){ .what = EV_START, .count = SLOTS }, no_action, NULL);
	s->launches = calloc(1, sizeof *s->launches);
	must(s->launches != NULL);
	s->launches->generation = 1;
	s->launches->policy = s->policy;
	strcpy(s->launches->path, "/bin/true");
	make_sock(s);
	make_workers(s);
	return s;
}

static int load(const uint8_t *bytes, size_t size)
{
	struct supervisor *s = calloc(1, sizeof *s);
	const char *problem = NULL;
	int rc;

	must(s != NULL);
	s->generation = 1;
	s->hangup_fd = s->pidfile.fd = s->sd.fd = s->carried_control = s->carried_metrics = -1;
	rc = state_load(s, bytes, size, &problem);
	must(rc == 0 || (rc < 0 && problem && problem[0]));
	state_forget(s);
	free(s);
	return rc;
}

static void good_state(void)
{
	struct supervisor *s = make_supervisor();

	must(state_save(s, &good, &good_size) == 0);
	state_forget(s);
	free(s);
	must(load(good, good_size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *state;

	if (!good)
		good_state();
	if (size > 0 && data[0] == VERBATIM) {
		load(data + 1, size - 1);
		return 0;
	}
	state = malloc(good_size);
	must(state != NULL);
	memcpy(state, good, good_size);
	for (; size >= CHANGE; data += CHANGE, size -= CHANGE) {
		size_t at = (size_t)data[0] << 16 | (size_t)data[1] << 8 | data[2];

		state[at % good_size] = data[3];
	}
	/* What is left over is cut off the end. */
	load(state, good_size - (size > 0 ? data[0] % good_size : 0));
	free(state);
	return 0;
}
