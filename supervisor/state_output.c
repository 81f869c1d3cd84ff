/*
 * state_output - the pipes of workers in a state, and what was read of them and is no line yet.
 *
 * GLUE. Also of those that outlive their worker, because a process that it started holds
 * them: without a reader it would be ended by SIGPIPE.
 */
#include <stdlib.h>
#include <string.h>

#include "supervisor/core/tlv.h"
#include "supervisor/state.h"

struct left_output {
	struct left_output *next;
	uint32_t slot;
	struct output_image *image;
};

void state_put_output(struct tlv_writer *w, const struct output *output)
{
	struct output_image image;

	output_export(output, &image);
	tlv_put(w, STATE_WORKER_OUTPUT, image.fds, sizeof image.fds);
	tlv_put(w, STATE_WORKER_HELD_OUT, image.held[0], image.held_size[0]);
	tlv_put(w, STATE_WORKER_HELD_ERR, image.held[1], image.held_size[1]);
	tlv_put(w, STATE_WORKER_TAIL, image.tail[0], image.tail_size[0]);
	tlv_put(w, STATE_WORKER_TAIL_WRAPPED, image.tail[1], image.tail_size[1]);
	tlv_put_number(w, STATE_WORKER_TAIL_CUT, image.tail_cut);
	tlv_put_number(w, STATE_WORKER_LOST, image.lost);
	tlv_put_number(w, STATE_WORKER_LOST_TOLD, image.told);
}

bool state_hold_text(const struct tlv *in, uint16_t tag, const char **ret, size_t *ret_size)
{
	struct tlv held;
	char *copy;

	if (!tlv_find(in->bytes, in->size, tag, &held))
		return false;
	if (held.size == 0)
		return true;
	copy = malloc(held.size);
	if (!copy)
		return false;
	memcpy(copy, held.bytes, held.size);
	*ret = copy;
	*ret_size = held.size;
	return true;
}

/* An older clusterd did not write it. */
static bool get_told(const struct tlv *in, struct output_image *image)
{
	const uint16_t tags[] = { STATE_WORKER_TAIL, STATE_WORKER_TAIL_WRAPPED };
	uint64_t cut, lost, told;
	struct tlv record;

	for (int i = 0; i < 2; i++)
		if (tlv_find(in->bytes, in->size, tags[i], &record) &&
		    !state_hold_text(in, tags[i], &image->tail[i], &image->tail_size[i]))
			return false;
	image->tail_cut = tlv_number(in, STATE_WORKER_TAIL_CUT, &cut) && cut != 0;
	if (tlv_number(in, STATE_WORKER_LOST, &lost) && tlv_number(in, STATE_WORKER_LOST_TOLD, &told) &&
	    told <= lost) {
		image->lost = lost;
		image->told = told;
	}
	return true;
}

bool state_get_output(const struct tlv *in, struct output_image **ret)
{
	struct output_image *image;
	struct tlv record;

	if (!tlv_find(in->bytes, in->size, STATE_WORKER_OUTPUT, &record) || record.size != sizeof image->fds)
		return true;
	image = *ret = calloc(1, sizeof *image);
	if (!image)
		return false;
	memcpy(image->fds, record.bytes, sizeof image->fds);
	return state_hold_text(in, STATE_WORKER_HELD_OUT, &image->held[0], &image->held_size[0]) &&
	       state_hold_text(in, STATE_WORKER_HELD_ERR, &image->held[1], &image->held_size[1]) &&
	       get_told(in, image);
}

void state_free_image(struct output_image *image)
{
	for (int i = 0; image && i < 2; i++) { /* copies of state_hold_text() */
		free((void *)(uintptr_t)image->held[i]);
		free((void *)(uintptr_t)image->tail[i]);
	}
	free(image);
}

/* ---- without a worker ---- */

static void put_left(void *context, const struct output *output, uint32_t slot)
{
	struct tlv_writer *w = context;
	size_t mark = tlv_begin(w, STATE_OUTPUT);

	tlv_put_number(w, STATE_OUTPUT_SLOT, slot);
	state_put_output(w, output);
	tlv_end(w, mark);
}

void state_put_left(struct tlv_writer *w, const struct log *log)
{
	outputs_left(log, put_left, w);
}

bool state_get_left(struct supervisor *s, const struct tlv *in)
{
	struct left_output *left = calloc(1, sizeof *left);
	uint64_t slot;

	if (!left)
		return false;
	left->next = s->carried_outputs;
	s->carried_outputs = left;
	if (!tlv_number(in, STATE_OUTPUT_SLOT, &slot) || !state_get_output(in, &left->image))
		return false;
	left->slot = (uint32_t)slot;
	return left->image != NULL;
}

static void take(struct supervisor *s, const struct left_output *left)
{
	struct output_options options = {
		.log = &s->log, .slot = left->slot, .overflow = s->policy.log_overflow
	};
	struct output *output = NULL;
	const char *failed;

	if (output_adopt(&options, left->image, &output, &failed) == 0)
		output_close(output);
}

void state_take_left(struct supervisor *s)
{
	for (const struct left_output *left = s->carried_outputs; left; left = left->next)
		take(s, left);
	state_forget_left(s);
}

void state_forget_left(struct supervisor *s)
{
	while (s->carried_outputs) {
		struct left_output *left = s->carried_outputs;

		s->carried_outputs = left->next;
		state_free_image(left->image);
		free(left);
	}
}
