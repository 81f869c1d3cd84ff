#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/adoption.h"
#include "supervisor/core/tlv.h"
#include "supervisor/os/populate.h"
#include "supervisor/os/reuseport.h"
#include "supervisor/state.h"

/* ---- helpers ---- */

static bool get_bytes(const struct tlv *in, uint16_t tag, void *ret, size_t size)
{
	struct tlv record;

	if (!tlv_find(in->bytes, in->size, tag, &record) || record.size != size)
		return false;
	memcpy(ret, record.bytes, size);
	return true;
}

static bool get_fd(const struct tlv *in, uint16_t tag, int *ret)
{
	uint64_t number;

	if (!tlv_number(in, tag, &number))
		return false;
	*ret = (int)(int64_t)number;
	return *ret >= -1;
}

static bool get_u32(const struct tlv *in, uint16_t tag, uint32_t *ret)
{
	uint64_t number;

	if (!tlv_number(in, tag, &number) || number > UINT32_MAX)
		return false;
	*ret = (uint32_t)number;
	return true;
}

/* ---- the parts ---- */

struct number {
	uint16_t tag;
	uint64_t *ret;
};

static bool get_numbers(const struct tlv *in, const struct number *numbers, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!tlv_number(in, numbers[i].tag, numbers[i].ret))
			return false;
	return true;
}

static bool load_numbers(struct supervisor *s, const struct tlv *in)
{
	uint64_t generation, flags, told, trouble = 0;
	const struct number numbers[] = {
		{ STATE_STARTED_MS, &s->started_ms }, { STATE_POLICY_MS, &s->policy_ms },
		{ STATE_STARTED_WALL_MS, &s->started_wall_ms },
		{ STATE_POLICY_WALL_MS, &s->policy_wall_ms },
		{ STATE_GENERATION, &generation },    { STATE_FLAGS, &flags },
		{ STATE_WORKERS_TOLD, &told },        { STATE_OOM_KILLS, &s->oom_kills },
		{ STATE_SYSTEMD_MS, &s->systemd_ms }, { STATE_BEGUN_US, &s->upgrade_us },
	};

	if (!get_numbers(in, numbers, sizeof numbers / sizeof *numbers))
		return false;
	/* An older clusterd did not write it. */
	if (!tlv_number(in, STATE_POLICY_CHANGED_MS, &s->policy_changed_wall_ms))
		s->policy_changed_wall_ms = s->policy_wall_ms;
	(void)tlv_number(in, STATE_TROUBLE, &trouble); /* nor this */
	(void)tlv_text(in, STATE_SELF, s->self, sizeof s->self);
	(void)get_fd(in, STATE_OOM_FD, &s->oom_fd);
	s->trouble = (uint8_t)trouble;
	s->generation = (uint32_t)generation;
	s->told_workers = (uint32_t)told;
	s->up = flags & 1;
	s->scaled = flags >> 1 & 1;
	s->no_strangers = flags >> 2 & 1;
	s->policy_back = flags >> 3 & 1;
	return tlv_text(in, STATE_NAME, s->name, sizeof s->name) && state_get_policy(in, &s->policy, NULL);
}

/* A clusterd before this version had none: nothing waits. */
static bool load_log(struct supervisor *s, const struct tlv *in)
{
	struct log_image *image = &s->carried_log;
	struct tlv log;
	const uint16_t tags[] = { STATE_LOG_OUT, STATE_LOG_FILL };
	const struct number numbers[] = {
		{ STATE_LOG_LOST, &image->lost }, { STATE_LOG_TOLD, &image->told },
		{ STATE_LOG_OUTPUT_LOST, &image->output_lost },
	};

	if (!tlv_find(in->bytes, in->size, STATE_LOG, &log))
		return true;
	if (!tlv_valid(log.bytes, log.size))
		return false;
	for (int i = 0; i < 2; i++)
		if (!state_hold_text(&log, tags[i], &image->text[i], &image->size[i]) ||
		    image->size[i] >= LOG_BUFFER_MAX)
			return false;
	return get_numbers(&log, numbers, sizeof numbers / sizeof *numbers) && image->told <= image->lost;
}

/* Of another size, or not there: nothing is left of what clusterd was started with. */
static void load_inherited(struct supervisor *s, const struct tlv *in)
{
	struct tlv record;

	if (!tlv_find(in->bytes, in->size, STATE_INHERITED, &record) || record.size % sizeof *s->inherited ||
	    record.size > sizeof s->inherited)
		return;
	memcpy(s->inherited, record.bytes, record.size);
	s->inherited_count = (int)(record.size / sizeof *s->inherited);
	for (int i = 0; i < s->inherited_count; i++)
		s->inherited[i].name[INHERIT_NAME_MAX - 1] = '\0';
}

/* What is carried as it is: its size is the check of its version. */
/* One that is not there, or of another version, is begun anew: orphans_resume(). */
static void load_record(struct supervisor *s, const struct tlv *in)
{
	struct rowfile *file = &s->record.file;

	if (!get_bytes(in, STATE_RECORD, file, sizeof *file) ||
	    !memchr(file->path, '\0', sizeof file->path))
		*file = (struct rowfile){ .file.fd = -1 };
}

static void load_counts(struct supervisor *s, const struct tlv *in)
{
	(void)state_hold_text(in, STATE_COUNTS, &s->carried_counts.bytes, &s->carried_counts.size);
}

static bool load_structs(struct supervisor *s, const struct tlv *in)
{
	load_record(s, in);
	load_inherited(s, in);
	load_counts(s, in);
	(void)get_bytes(in, STATE_BY_HAND, &s->by_hand, sizeof s->by_hand);
	return get_fd(in, STATE_CONTROL_FD, &s->carried_control) &&
	       get_fd(in, STATE_METRICS_FD, &s->carried_metrics) &&
	       get_bytes(in, STATE_NOFILE, &s->nofile, sizeof s->nofile) &&
	       get_bytes(in, STATE_SDNOTIFY, &s->sd, sizeof s->sd) &&
	       get_bytes(in, STATE_PIDFILE, &s->pidfile, sizeof s->pidfile);
}

static bool load_pool(struct supervisor *s, const struct tlv *in)
{
	struct tlv record;
	uint32_t slots, instances;
	void *memory;

	if (!tlv_find(in->bytes, in->size, STATE_POOL, &record) ||
	    !pool_load_size(record.bytes, record.size, &slots, &instances))
		return false;
	memory = malloc(pool_size(slots, instances));
	if (!memory || memory_grow(s, slots) < 0) {
		free(memory);
		return false;
	}
	populate(memory, pool_size(slots, instances));
	s->slots_max = slots;
	s->instances_max = instances;
	s->pool = pool_load(record.bytes, record.size, memory, slots, instances, &s->policy);
	if (!s->pool)
		free(memory);
	return s->pool != NULL;
}

static bool load_launch(struct supervisor *s, const struct tlv *in, const struct policy_text *known)
{
	struct launch **end = &s->launches;
	struct launch *launch = calloc(1, sizeof *launch);

	if (!launch)
		return false;
	if (!get_u32(in, STATE_GENERATION, &launch->generation) ||
	    !tlv_text(in, STATE_LAUNCH_PATH, launch->path, sizeof launch->path) ||
	    !get_bytes(in, STATE_LAUNCH_IDENTITY, &launch->identity, sizeof launch->identity) ||
	    !state_get_policy(in, &launch->policy, known) || launch_derive(s, launch) < 0) {
		launch_free(launch);
		return false;
	}
	while (*end)
		end = &(*end)->next;
	*end = launch;
	return true;
}

/* The numbers of a group's sockets, in the order of the slots; kept until they are taken over. */
static bool load_group(struct sock *sock, const struct tlv *in)
{
	struct tlv_reader r = tlv_reader(in->bytes, in->size);
	struct tlv record;
	uint32_t slot = 0;

	sock->image = calloc(1, sizeof *sock->image);
	if (!sock->image || !get_bytes(in, STATE_SOCK_IMAGE, sock->image, sizeof *sock->image) ||
	    sock->image->params.capacity > REUSEPORT_SLOTS_MAX)
		return false;
	sock->image_fds = calloc(sock->image->params.capacity + 1, sizeof *sock->image_fds);
	if (!sock->image_fds)
		return false;
	while (tlv_next(&r, &record) > 0) {
		if (record.tag != STATE_SOCK_FDS)
			continue;
		if (record.size != sizeof(int32_t) || slot >= sock->image->params.capacity)
			return false;
		memcpy(&sock->image_fds[slot++], record.bytes, sizeof(int32_t));
	}
	return slot == sock->image->params.capacity;
}

static bool load_sock(struct supervisor *s, const struct tlv *in)
{
	struct sock *sock = &s->socks[s->sock_count];
	struct tlv image;
	uint32_t mode;
	uint64_t flags;

	if (s->sock_count == SOCKS_MAX ||
	    !get_bytes(in, STATE_SOCK_LISTENER, &sock->config, sizeof sock->config) ||
	    !get_bytes(in, STATE_SOCK_LISTENING, &sock->listening, sizeof sock->listening) ||
	    !get_bytes(in, STATE_SOCK_BOUND, &sock->bound, sizeof sock->bound) ||
	    !get_u32(in, STATE_SOCK_MODE, &mode) || mode > BALANCE_ROUND_ROBIN ||
	    !get_bytes(in, STATE_SOCK_FORM, &sock->form, sizeof sock->form) ||
	    !get_bytes(in, STATE_SOCK_HOME, &sock->home, sizeof sock->home) ||
	    !tlv_number(in, STATE_SOCK_FLAGS, &flags) ||
	    !tlv_number(in, STATE_SOCK_REPAIRED, &sock->repaired))
		return false;
	sock->mode = (enum balance)mode;
	sock->inherited = flags & 1;
	sock->variant = flags >> 1 & 1;
	sock->adopted = flags >> 2 & 1;
	sock->taken_back = flags >> 3 & 1;
	sock->in_use = true;
	s->sock_count++;
	if (tlv_find(in->bytes, in->size, STATE_SOCK_IMAGE, &image))
		return load_group(sock, in);
	return true;
}

static bool load_slot(struct supervisor *s, const struct tlv *in)
{
	struct tlv_reader r = tlv_reader(in->bytes, in->size);
	struct tlv record;
	struct slot_memory *m;
	char line[LAST_LINE_MAX + 1], problem[PROBLEM_MAX + 1];
	uint32_t slot;

	if (!get_u32(in, STATE_SLOT_INDEX, &slot) || slot >= s->slots_max)
		return false;
	m = &s->memory[slot];
	if (!tlv_number(in, STATE_SLOT_STARTS, &m->starts) ||
	    !tlv_number(in, STATE_SLOT_UNASKED, &m->unasked) ||
	    !tlv_number(in, STATE_SLOT_HANDED, &m->handed))
		return false;
	while (tlv_next(&r, &record) > 0) {
		struct end_record end;

		if (record.tag != STATE_SLOT_ENDS)
			continue;
		if (record.size != sizeof end)
			return false;
		memcpy(&end, record.bytes, sizeof end);
		memory_add_end(s, slot, &end);
	}
	if (tlv_text(in, STATE_SLOT_LAST_LINE, line, sizeof line))
		memory_last_line(s, slot, line);
	if (tlv_text(in, STATE_SLOT_PROBLEM, problem, sizeof problem))
		memory_problem(s, slot, problem);
	if (tlv_text(in, STATE_SLOT_DECISION, problem, DECISION_MAX + 1))
		memory_decision(s, slot, problem);
	return true;
}

/* What its queue was when it was last looked at is seen anew. */
static void get_left_out(const struct tlv *in, struct accepting *ret)
{
	uint64_t image[4];

	if (get_bytes(in, STATE_WORKER_LEFT_OUT, image, sizeof image))
		*ret = (struct accepting){
			.since_ms = image[0], .back_ms = image[1], .trial_ms = image[2], .out = image[3] != 0,
		};
}

static bool fill_worker(struct worker *worker, const struct tlv *in)
{
	uint64_t pid, seat, generation;
	const struct number numbers[] = {
		{ STATE_WORKER_PID, &pid },
		{ STATE_WORKER_SEAT, &seat },
		{ STATE_WORKER_GENERATION, &generation },
		{ STATE_WORKER_HANDED, &worker->handed_before },
		{ STATE_WORKER_SPAWNED_MS, &worker->spawned_ms },
	};

	if (!get_numbers(in, numbers, sizeof numbers / sizeof *numbers) || pid < 2 || pid > INT32_MAX)
		return false;
	worker->pid = (pid_t)pid;
	worker->seat = (uint32_t)seat;
	worker->generation = (uint32_t)generation;
	worker->launch = launch_find(worker->s, worker->generation);
	worker->served = true; /* for all we know */
	(void)tlv_number(in, STATE_WORKER_LEAVING_MS, &worker->leaving_ms); /* nor this */
	tlv_text(in, STATE_WORKER_STATUS, worker->status, sizeof worker->status);
	(void)get_u32(in, STATE_WORKER_STANDING, &worker->standing);
	(void)get_bytes(in, STATE_WORKER_SERVER, &worker->server.image, sizeof worker->server.image);
	get_left_out(in, &worker->accepting);
	(void)get_bytes(in, STATE_WORKER_PROBED, &worker->probed, sizeof worker->probed);
	return worker->launch && get_fd(in, STATE_WORKER_PIDFD, &worker->pidfd) &&
	       worker->pidfd >= 0 && get_fd(in, STATE_WORKER_NOTIFY_FD, &worker->notify_fd) &&
	       get_fd(in, STATE_WORKER_READY_FD, &worker->ready_fd);
}

static bool load_worker(struct supervisor *s, const struct tlv *in)
{
	struct instance_view view;
	struct worker *worker;
	uint32_t cookie, slot;

	if (!get_u32(in, STATE_WORKER_COOKIE, &cookie) || !get_u32(in, STATE_WORKER_SLOT, &slot) ||
	    slot >= s->slots_max || !pool_instance(s->pool, cookie, &view))
		return false;
	worker = worker_new(s, slot, cookie);
	return worker && fill_worker(worker, in) && state_get_output(in, &worker->image);
}

static bool load_adoption(struct supervisor *s, const struct tlv *in)
{
	struct adoption *a = calloc(1, sizeof *a);
	uint64_t given;

	if (!a)
		return false;
	a->s = s;
	if (!get_u32(in, STATE_ADOPTION_COOKIE, &a->cookie) ||
	    !get_u32(in, STATE_ADOPTION_SLOT, &a->slot) || a->slot >= s->slots_max ||
	    !get_u32(in, STATE_ADOPTION_SEAT, &a->seat) ||
	    !get_fd(in, STATE_ADOPTION_FD, &a->notify_fd) || a->notify_fd < 0 ||
	    !tlv_number(in, STATE_ADOPTION_GIVEN, &given)) {
		free(a);
		return false;
	}
	a->given = given != 0;
	a->next = s->adoptions;
	s->adoptions = a;
	return true;
}

/* 1 and *ret: the next with that tag; 0 at the end; -1: it is not well formed. */
static int next_with(struct tlv_reader *r, uint16_t tag, struct tlv *ret)
{
	while (tlv_next(r, ret) > 0)
		if (ret->tag == tag)
			return tlv_valid(ret->bytes, ret->size) ? 1 : -1;
	return 0;
}

static bool each(struct supervisor *s, const struct tlv *in, uint16_t tag,
                 bool (*load)(struct supervisor *, const struct tlv *))
{
	struct tlv_reader r = tlv_reader(in->bytes, in->size);
	struct tlv record;
	int rc;

	while ((rc = next_with(&r, tag, &record)) > 0)
		if (!load(s, &record))
			return false;
	return rc == 0;
}

static bool load_left(struct supervisor *s, const struct tlv *in)
{
	return each(s, in, STATE_OUTPUT, state_get_left);
}

static bool load_slots(struct supervisor *s, const struct tlv *in)
{
	return each(s, in, STATE_SLOT, load_slot);
}

static bool load_launches(struct supervisor *s, const struct tlv *in)
{
	struct tlv_reader r = tlv_reader(in->bytes, in->size);
	struct policy_text known = { .policy = &s->policy };
	struct tlv record;
	int rc;

	if (!tlv_find(in->bytes, in->size, STATE_POLICY, &known.text))
		return false;
	while ((rc = next_with(&r, STATE_LAUNCH, &record)) > 0)
		if (!load_launch(s, &record, &known))
			return false;
	return rc == 0;
}

static bool load_socks(struct supervisor *s, const struct tlv *in)
{
	return each(s, in, STATE_SOCK, load_sock);
}

static bool load_workers(struct supervisor *s, const struct tlv *in)
{
	return each(s, in, STATE_WORKER, load_worker) && each(s, in, STATE_ADOPTION, load_adoption);
}

/* In this order: each part refers to those before it. */
static const struct {
	bool (*load)(struct supervisor *s, const struct tlv *in);
	const char *problem;
} parts[] = {
	{ load_numbers, "the numbers or the policy in the state are not understood" },
	{ load_structs, "the fds in the state are not understood" },
	{ load_pool, "the pool in the state is not understood" },
	{ load_launches, "a generation in the state is not understood" },
	{ load_socks, "a socket in the state is not understood" },
	{ load_left, "an output in the state is not understood" },
	{ load_log, "the log in the state is not understood" },
	{ load_slots, "a slot in the state is not understood" },
	{ load_workers, "a worker in the state is not understood" },
};

int state_load(struct supervisor *s, const uint8_t *bytes, size_t size, const char **problem)
{
	struct tlv head;
	uint64_t version;

	*problem = "this is no state of clusterd";
	if (!tlv_valid(bytes, size) || !tlv_find(bytes, size, STATE_HEAD, &head) ||
	    !tlv_valid(head.bytes, head.size) || !tlv_number(&head, STATE_VERSION_TAG, &version))
		return -EPROTO;
	*problem = "the state is of another version";
	if (version != STATE_VERSION)
		return -EPROTONOSUPPORT;
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		*problem = parts[i].problem;
		if (!parts[i].load(s, &head))
			return -EPROTO;
	}
	return 0;
}

void state_forget_output(struct worker *worker)
{
	state_free_image(worker->image);
	worker->image = NULL;
}

void state_forget_log(struct supervisor *s)
{
	for (int i = 0; i < 2; i++)
		free((void *)(uintptr_t)s->carried_log.text[i]);
	s->carried_log = (struct log_image){ 0 };
}

void state_forget_counts(struct supervisor *s)
{
	free((void *)(uintptr_t)s->carried_counts.bytes);
	s->carried_counts.bytes = NULL;
	s->carried_counts.size = 0;
}

void state_forget(struct supervisor *s)
{
	state_forget_log(s);
	state_forget_counts(s);
	state_forget_left(s);
	for (uint32_t i = 0; i < WORKER_HASH; i++)
		while (s->workers[i]) {
			struct worker *worker = s->workers[i];

			s->workers[i] = worker->hash_next;
			state_forget_output(worker);
			free(worker);
		}
	while (s->adoptions) {
		struct adoption *a = s->adoptions;

		s->adoptions = a->next;
		free(a);
	}
	for (uint32_t i = 0; i < SOCKS_MAX; i++) {
		free(s->socks[i].image);
		free(s->socks[i].image_fds);
	}
	launches_free(s);
	memory_free(s);
	free(s->pool);
}
