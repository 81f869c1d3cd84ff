/*
 * record - the live workers as text, for a clusterd that comes after one that was killed.
 *
 *   clusterd workers 1 6b1c0c4e-8d0f-4f0e-9c0b-0e5d6f0a7c11
 *   worker 4242 183746 0 3
 *   asked 4243 183746 1 2
 *
 * Rows of one length, so that one write at a place of its own tells of a start or an
 * end, whatever else the file holds, and a writer that is killed leaves no half of it.
 * The head names the boot, a row pid, start time, slot and generation; `asked` is an
 * orphan that was told to stop. Pid and start time together are never given twice in
 * one boot (proc(5), stat). `starting` stands there while a worker is being started, and
 * its pid is not known yet: the pid is that of clusterd, the time no later than the worker's.
 *
 * Pure.
 */
#ifndef CLUSTERD_CORE_RECORD_H
#define CLUSTERD_CORE_RECORD_H

#include <stdbool.h>
#include <stdint.h>

enum {
	RECORD_ROW = 64, /* bytes, filled up with spaces; the last one is a newline */
	BOOT_ID_SIZE = 37, /* of /proc/sys/kernel/random/boot_id, with its NUL */
};

struct record_row {
	int32_t pid;
	uint64_t started; /* clock ticks after boot */
	uint32_t slot, generation;
	bool asked, starting; /* not both */
};

void record_head(const char boot_id[BOOT_ID_SIZE], char ret[RECORD_ROW]);

/* NULL: an empty row. */
void record_write(const struct record_row *row, char ret[RECORD_ROW]);

/* Only what record_write() writes is read; *ret is set for RECORD_WORKER only. */
enum record_kind { RECORD_EMPTY, RECORD_WORKER, RECORD_GARBAGE };
enum record_kind record_read(const char text[RECORD_ROW], struct record_row *ret);

#endif
