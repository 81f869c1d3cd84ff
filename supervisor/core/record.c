#include "supervisor/core/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *word_of(const struct record_row *row)
{
	return row->asked ? "asked" : row->starting ? "starting" : "worker";
}

static void fill(char ret[RECORD_ROW], const char *text)
{
	size_t length = strnlen(text, RECORD_ROW - 1);

	memset(ret, ' ', RECORD_ROW);
	memcpy(ret, text, length);
	ret[RECORD_ROW - 1] = '\n';
}

void record_head(const char boot_id[BOOT_ID_SIZE], char ret[RECORD_ROW])
{
	char text[RECORD_ROW];

	snprintf(text, sizeof text, "clusterd workers 1 %.*s", BOOT_ID_SIZE - 1, boot_id);
	fill(ret, text);
}

void record_write(const struct record_row *row, char ret[RECORD_ROW])
{
	char text[RECORD_ROW] = "";

	if (row)
		snprintf(text, sizeof text, "%s %" PRId32 " %" PRIu64 " %" PRIu32 " %" PRIu32,
			 word_of(row), row->pid, row->started, row->slot, row->generation);
	fill(ret, text);
}

/* A number after one space; *at moves behind it. What is no number reads as 0. */
static uint64_t number(const char **at)
{
	char *end;
	uint64_t value;

	if (**at != ' ')
		return 0;
	value = strtoull(*at + 1, &end, 10);
	*at = end;
	return value;
}

/* Signs, zeros in front, other spaces, numbers too large: all that is not the one way to write it
 * is found by writing it again. */
enum record_kind record_read(const char text[RECORD_ROW], struct record_row *ret)
{
	struct record_row row = { 0 };
	char copy[RECORD_ROW], again[RECORD_ROW];
	const char *at;

	record_write(NULL, again);
	if (memcmp(text, again, RECORD_ROW) == 0)
		return RECORD_EMPTY;
	memcpy(copy, text, RECORD_ROW);
	copy[RECORD_ROW - 1] = '\0';
	row.asked = copy[0] == 'a';
	row.starting = copy[0] == 's';
	at = copy + strlen(word_of(&row));
	row.pid = (int32_t)number(&at);
	row.started = number(&at);
	row.slot = (uint32_t)number(&at);
	row.generation = (uint32_t)number(&at);
	record_write(&row, again);
	if (row.pid <= 1 || memcmp(text, again, RECORD_ROW) != 0)
		return RECORD_GARBAGE;
	*ret = row;
	return RECORD_WORKER;
}
