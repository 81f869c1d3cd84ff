/*
 * output - what a worker writes, captured: read from two pipes, cut into lines,
 * each line with a prefix into the log's sink ([log] file, or standard error).
 *
 *   text      web[3] the line
 *   logfmt    time=… level=info event=output name=web slot=3 stream=err line="…"
 *   json      {"v":1,"time":"…",…,"event":"output","slot":3,"stream":"err","line":"…"}
 *
 * A worker is hostile: control characters and bytes that are not UTF-8 are
 * escaped; a line is cut at OUTPUT_LINE_MAX bytes with a mark (at a quarter of that
 * in json and logfmt, and where bytes are escaped); at most OUTPUT_TURN bytes of a
 * pipe are read per turn of the loop. Nothing is held for a worker that writes
 * nothing, but two polls and this struct.
 *
 * With `drop` a line that does not fit is counted (output.lost says so when there
 * is room again). With `block` a pipe is not read while there is no room, so
 * the worker waits in write(2) and no line is lost; a sink that fails (a full
 * disk) is not waited for: its lines are lost and counted.
 *
 * GLUE. One thread. An output outlives its worker for as long as a process of
 * its holds the pipes, to a limit of bytes, and of such outputs.
 */
#ifndef CLUSTERD_SUPERVISOR_OUTPUT_H
#define CLUSTERD_SUPERVISOR_OUTPUT_H

#include <stddef.h>
#include <stdint.h>

#include "supervisor/log.h"

enum {
	OUTPUT_LINE_MAX = 64 * 1024,   /* bytes of a line; longer ones are cut and marked */
	OUTPUT_TURN = 256 * 1024,      /* read from one pipe in one turn of the loop: a few ms in JSON */
	OUTPUT_DRAIN_MAX = 1024 * 1024, /* read from one pipe by output_drain() */
	OUTPUT_ORPHAN_MAX = 1024 * 1024, /* read from one pipe after output_close() */
};

struct output;

struct output_options {
	struct log *log;       /* outlives the output */
	uint32_t slot;
	enum overflow overflow;
	size_t tail;           /* last bytes of stderr to keep; 0 for none */
};

/*
 * Opens both pipes and begins to read. ret_fds are the write ends for the worker's
 * fds 1 and 2, close-on-exec; they belong to the caller, who closes them after the
 * spawn. 0, or -errno with *failed the step.
 */
int output_open(const struct output_options *options, struct output **ret, int ret_fds[2],
                const char **failed);

/*
 * The worker has ended: reads what is in the pipes now, and logs a last line
 * without newline, so that all it said stands before its exit record. Does not
 * wait for other holders of the pipes.
 */
void output_drain(struct output *output);

/* Lets go; NULL is fine. What is still open goes on in the background and is freed at the end. */
void output_close(struct output *output);

/* The last whole or partial line of stderr, escaped; "" if there was none. Valid until the next
 * turn of the loop. */
const char *output_last_line(struct output *output);

/* The last `tail` bytes of stderr, from the beginning of a line on, escaped; returns the length. */
size_t output_tail(const struct output *output, char *ret, size_t size);

/* A reload has changed [log] overflow. */
void output_set_overflow(struct output *output, enum overflow overflow);

/*
 * For an upgrade: the read ends, -1 where closed, and what was read of a line that has not ended.
 * The text is borrowed from the output; output_adopt() copies it and owns the fds once it
 * has succeeded.
 */
struct output_image {
	int fds[2];
	const char *held[2];
	size_t held_size[2];
	const char *tail[2]; /* the last of standard error, in two pieces */
	size_t tail_size[2];
	bool tail_cut;       /* there was more before it */
	uint64_t lost, told; /* lines */
};
void output_export(const struct output *output, struct output_image *ret);
/* Those that output_close() has let go, and whose pipes somebody still holds. */
typedef void output_visit(void *context, const struct output *output, uint32_t slot);
void outputs_left(const struct log *log, output_visit *visit, void *context);
int output_adopt(const struct output_options *options, const struct output_image *image,
                 struct output **ret, const char **failed);

#endif
