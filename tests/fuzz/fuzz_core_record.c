/* Oracle: what is read as a worker is written the same way, names no process group and not init, and
 * nothing depends on what was in the result before. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/core/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct record_row one, other;
	char text[RECORD_ROW], again[RECORD_ROW];
	enum record_kind kind;

	/* Shorter ones are filled up, so that the fuzzer need not find the length. */
	memset(text, ' ', sizeof text);
	text[RECORD_ROW - 1] = '\n';
	memcpy(text, data, size < RECORD_ROW ? size : RECORD_ROW);
	memset(&one, 0x5a, sizeof one);
	memset(&other, 0xa5, sizeof other);
	kind = record_read(text, &one);
	must(record_read(text, &other) == kind);
	if (kind != RECORD_WORKER)
		return 0;
	must(one.pid == other.pid && one.started == other.started && one.slot == other.slot &&
	     one.generation == other.generation && one.asked == other.asked);
	must(one.pid > 1);
	record_write(&one, again);
	must(memcmp(text, again, RECORD_ROW) == 0);
	return 0;
}
