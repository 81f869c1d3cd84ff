/* Any bytes as JSON: what is echoed is JSON again, and its own echo. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/app/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buffer once = { 0 }, twice = { 0 };
	char complaint[JSON_COMPLAINT_MAX] = "";
	unsigned status = json_echo((const char *)data, size, &once, complaint);

	if (status == 0) {
		if (json_echo(once.data, once.size, &twice, complaint) != 0)
			abort();
		if (once.size != twice.size || memcmp(once.data, twice.data, once.size) != 0)
			abort();
	} else if (status != 400 || complaint[0] == '\0') {
		abort();
	}
	buffer_finish(&once);
	buffer_finish(&twice);
	return 0;
}
