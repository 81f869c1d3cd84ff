/* Oracle: the status is clean UTF-8 that fits, a READY=1 on a line of its own is heard, and nothing
 * depends on what was in the result before. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/core/escape.h"
#include "supervisor/core/notify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct notify_message one, other;
	char text[4096 + 9];

	if (size > 4096)
		return 0;
	memcpy(text, data, size);
	memset(&one, 0x5a, sizeof one);
	memset(&other, 0xa5, sizeof other);
	notify_parse(text, size, &one);
	notify_parse(text, size, &other);
	must(memcmp(&one, &other, sizeof one) == 0);
	must(memchr(one.status, '\0', sizeof one.status) != NULL);
	must(one.has_status || one.status[0] == '\0');
	must(one.has_extend || one.extend_usec == 0);
	for (const char *s = one.status; *s;) {
		size_t length = utf8_sequence(s, strlen(s));

		must(length > 0 && (unsigned char)*s >= ' ' && *s != 0x7f);
		s += length;
	}
	memcpy(text + size, "\nREADY=1\n", 9);
	notify_parse(text, size + 9, &other);
	must(other.ready && other.watchdog == one.watchdog && other.stopping == one.stopping);
	return 0;
}
