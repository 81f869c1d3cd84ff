#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "supervisor/control.h"
#include "supervisor/orphans.h"
#include "supervisor/os/clock.h"
#include "supervisor/os/proc.h"
#include "supervisor/os/scope.h"

#define RECORD_SUFFIX ".workers"
#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"

enum { LOCK_TRIES = 500, LOCK_PAUSE_MS = 2 };

_Static_assert((int)RECORD_ROW == (int)ROWFILE_ROW, "one row");

static void complain(struct supervisor *s, const char *path, const char *step, int error)
{
	if (s->record.failed)
		return;
	s->record.failed = true;
	s->record.tried_ms = clock_ms();
	sup_note(s, LOG_LEVEL_WARN,
	         "on_death = keep: %s: %s: %s; workers that outlive this clusterd can not be taken "
	         "over by the next one",
	         path, step, strerror(-error));
}

/* ---- rows ---- */

/* Room in the list of free rows for every row, so that giving one back never fails. */
static bool grow(struct record *record)
{
	uint32_t size = record->size ? 2 * record->size : 64;
	uint32_t *list;

	if (record->rows < record->size)
		return true;
	if (record->rows >= ROWFILE_ROWS_MAX)
		return false;
	list = realloc(record->free, size * sizeof *list);
	if (!list)
		return false;
	record->free = list;
	record->size = size;
	return true;
}

/* 0 when there is no memory for one. */
static uint32_t take_row(struct record *record)
{
	if (record->free_count > 0)
		return record->free[--record->free_count];
	return grow(record) ? record->rows++ : 0;
}

void record_set(struct supervisor *s, uint32_t row, const struct record_row *is)
{
	char text[RECORD_ROW];
	int rc;

	if (row == 0 || s->record.file.file.fd < 0)
		return;
	record_write(is, text);
	rc = rowfile_write(&s->record.file, row, text);
	if (rc < 0)
		complain(s, s->record.file.path, "write", rc);
}

void record_gone(struct supervisor *s, uint32_t row)
{
	if (row == 0 || s->record.file.file.fd < 0)
		return;
	record_set(s, row, NULL);
	s->record.free[s->record.free_count++] = row;
}

/* False: no record is wanted, or it can not be kept. */
static bool kept(struct supervisor *s, const struct launch *launch)
{
	if (!launch || launch->policy.supervisor_on_death != ON_DEATH_KEEP)
		return false;
	return s->record.file.file.fd >= 0 || (!s->record.failed && record_open(s, NULL));
}

void record_starting(struct supervisor *s, uint32_t slot, uint32_t generation)
{
	struct record_row is = { .pid = getpid(), .slot = slot, .generation = generation, .starting = true };

	if (is.pid == 1 || !kept(s, launch_find(s, generation)))
		return; /* nobody outlives pid 1 */
	is.started = clock_boot_ticks();
	s->record.starting = take_row(&s->record);
	record_set(s, s->record.starting, &is);
}

static void record_worker(struct worker *worker)
{
	struct supervisor *s = worker->s;
	struct record_row is = { .pid = worker->pid, .slot = worker->slot, .generation = worker->generation };
	struct proc_info info;
	int rc;

	if (!kept(s, worker->launch))
		return;
	rc = proc_read("/proc", worker->pid, &info);
	worker->record_row = rc < 0 ? 0 : take_row(&s->record);
	is.started = rc < 0 ? 0 : info.started;
	if (worker->record_row == 0)
		complain(s, s->record.file.path, "a row", rc < 0 ? rc : -ENOMEM);
	record_set(s, worker->record_row, &is);
}

void record_started(struct supervisor *s, struct worker *worker)
{
	if (worker)
		record_worker(worker);
	record_gone(s, s->record.starting);
	s->record.starting = 0;
}

/* ---- the file ---- */

static int read_boot_id(char ret[BOOT_ID_SIZE])
{
	scoped_fd fd = open(BOOT_ID_FILE, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	ret[BOOT_ID_SIZE - 1] = '\0';
	return read(fd, ret, BOOT_ID_SIZE - 1) == BOOT_ID_SIZE - 1 ? 0 : -EIO;
}

/* False: it is empty, of another boot, or no record at all. */
static bool is_record(struct supervisor *s, const char head[RECORD_ROW])
{
	struct record *record = &s->record;
	char text[RECORD_ROW];

	if (record->file.rows == 0 || rowfile_read(&record->file, 0, text) < 0)
		return false;
	if (memcmp(text, head, RECORD_ROW) == 0)
		return true;
	/* The first words are those of any version; the boot comes last. */
	if (memcmp(text, head, strcspn(head, "0123456789")) != 0)
		sup_note(s, LOG_LEVEL_WARN, "%s: not a record of workers; it is begun anew",
		         record->file.path);
	return false;
}

static void read_rows(struct supervisor *s, record_found *found)
{
	struct record *record = &s->record;
	struct record_row is;
	char text[RECORD_ROW];
	uint32_t garbage = 0;

	for (record->rows = 1; record->rows < record->file.rows && grow(record); record->rows++) {
		enum record_kind kind = RECORD_GARBAGE;

		if (rowfile_read(&record->file, record->rows, text) == 0)
			kind = record_read(text, &is);
		garbage += kind == RECORD_GARBAGE;
		if (kind == RECORD_GARBAGE)
			record_gone(s, record->rows);
		else if (kind == RECORD_EMPTY)
			record->free[record->free_count++] = record->rows;
		else if (found)
			found(s, record->rows, &is);
	}
	if (garbage > 0)
		sup_note(s, LOG_LEVEL_WARN, "%s: %u rows make no sense and are ignored",
		         record->file.path, garbage);
}

/* What a row that found() gave back needs: room for the row itself. */
static int begin(struct supervisor *s, record_found *found, const char **failed)
{
	struct record *record = &s->record;
	char boot_id[BOOT_ID_SIZE], head[RECORD_ROW];
	int rc = read_boot_id(boot_id);

	*failed = BOOT_ID_FILE;
	if (rc < 0)
		return rc;
	record_head(boot_id, head);
	if (!is_record(s, head)) {
		rc = rowfile_clear(&record->file, failed);
		if (rc < 0)
			return rc;
		*failed = "write";
		rc = rowfile_write(&record->file, 0, head);
	}
	if (rc == 0)
		read_rows(s, found);
	return rc;
}

/*
 * A process that a clusterd was about to start when it was killed holds the lock until it
 * executes its program, so at a start it is waited for.
 */
static int open_locked(const char *path, bool wait, struct rowfile *ret, const char **failed)
{
	int rc = rowfile_open(path, ret, failed);

	for (int i = 0; rc == -EWOULDBLOCK && wait && i < LOCK_TRIES; i++) {
		nanosleep(&(struct timespec){ .tv_nsec = LOCK_PAUSE_MS * 1000000L }, NULL);
		rc = rowfile_open(path, ret, failed);
	}
	return rc;
}

bool record_open(struct supervisor *s, record_found *found)
{
	char path[ROWFILE_PATH_MAX] = "", problem[CONTROL_PROBLEM_MAX];
	const char *failed = problem;
	int rc = control_beside(&s->policy, s->name, RECORD_SUFFIX, path, sizeof path, problem);

	if (rc == 0)
		rc = open_locked(path, found != NULL, &s->record.file, &failed);
	if (rc == 0) {
		rc = begin(s, found, &failed);
		if (rc < 0)
			rowfile_close(&s->record.file, s->record.file.rows == 0);
	}
	if (rc < 0)
		complain(s, path[0] ? path : "record",
		         rc == -EWOULDBLOCK ? "held by another clusterd of this name" : failed, rc);
	return rc == 0;
}

/* The clusterd before the upgrade kept none. */
static void record_all(struct supervisor *s)
{
	FOR_EACH_WORKER (s, w)
		record_worker(w);
}

static void forget_rows(struct supervisor *s)
{
	struct record *record = &s->record;

	free(record->free);
	record->free = NULL;
	record->free_count = record->size = record->rows = record->starting = 0;
	FOR_EACH_WORKER (s, w)
		w->record_row = 0;
}

/* The disk may have had no room; it was said that nothing is kept, so it is that it is. */
static void try_again(struct supervisor *s)
{
	struct record *record = &s->record;
	const char *failed;

	if (s->orphans || clock_ms() - record->tried_ms < FILE_AGAIN_MS)
		return;
	record->tried_ms = clock_ms();
	/* All that it names will be written again. */
	if (record->file.file.fd >= 0) {
		rowfile_clear(&record->file, &failed);
		rowfile_close(&record->file, false);
	}
	forget_rows(s);
	if (!record_open(s, NULL))
		return;
	record->failed = false;
	record_all(s);
	if (!record->failed)
		sup_note(s, LOG_LEVEL_WARN, "on_death = keep: %s can be kept again", record->file.path);
}

void record_keep(struct supervisor *s)
{
	struct rowfile *file = &s->record.file;
	struct stat info;

	if (s->record.failed && s->policy.supervisor_on_death == ON_DEATH_KEEP)
		try_again(s);
	if (file->file.fd < 0 || s->orphans || lstat(file->path, &info) == 0 || errno != ENOENT)
		return;
	rowfile_close(file, false);
	forget_rows(s);
	if (!record_open(s, NULL))
		return;
	record_all(s);
	sup_note(s, LOG_LEVEL_WARN, "on_death = keep: %s had been removed; it is there again", file->path);
}

void record_resume(struct supervisor *s, record_found *found)
{
	struct record *record = &s->record;
	off_t size;

	if (record->file.file.fd < 0) {
		record_all(s);
		return;
	}
	size = lseek(record->file.file.fd, 0, SEEK_END);
	record->file.rows = size < 0 ? 0 : (uint32_t)(size / ROWFILE_ROW);
	read_rows(s, found);
}

/* It stays as long as it names a process that may live. */
void record_close(struct supervisor *s)
{
	struct record *record = &s->record;

	if (record->file.file.fd >= 0)
		rowfile_close(&record->file, record->free_count + 1 >= record->rows);
	free(record->free);
	record->free = NULL;
}
