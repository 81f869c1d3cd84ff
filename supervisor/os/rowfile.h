/*
 * rowfile - a locked file of rows that all have one length.
 *
 * A row is written by one pwrite(2) at a place of its own, inside one page, so a reader
 * that comes after the writer was killed finds each row as it was or as it should be.
 * The lock (flock) is held while the writer lives and tells a reader that it is gone.
 * A file of another user, one that others may write to, a link or anything but a plain
 * file is refused.
 *
 * Functions return 0, or -errno with *failed the step.
 */
#ifndef CLUSTERD_SUPERVISOR_OS_ROWFILE_H
#define CLUSTERD_SUPERVISOR_OS_ROWFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "supervisor/os/pidfile.h"

enum {
	ROWFILE_ROW = 64,
	ROWFILE_ROWS_MAX = 1 << 17, /* what is beyond is never looked at */
	ROWFILE_PATH_MAX = 128,
};

struct rowfile {
	struct pidfile file; /* fd -1: none */
	uint32_t rows;       /* whole ones, as opened */
	char path[ROWFILE_PATH_MAX];
};

/* Made if it is missing. -EWOULDBLOCK: its writer lives; -EPERM: it is not safe to use. */
int rowfile_open(const char *path, struct rowfile *ret, const char **failed);

/* A row that is not there reads as -ENODATA. */
int rowfile_read(const struct rowfile *file, uint32_t row, char ret[ROWFILE_ROW]);

int rowfile_write(const struct rowfile *file, uint32_t row, const char text[ROWFILE_ROW]);

/* Empties it. */
int rowfile_clear(struct rowfile *file, const char **failed);

/* Lets go of the lock; `remove`: unlinks the file too, if the path still is ours. */
void rowfile_close(struct rowfile *file, bool remove);

#endif
