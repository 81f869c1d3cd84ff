/* Oracle: no byte beyond the line is touched, what is refused leaves the result alone, what is taken
 * keeps the promises of proto.h; and any bytes make one well-formed line of JSON. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/core/json.h"
#include "supervisor/core/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void parse(const uint8_t *data, size_t size)
{
	char line[REQUEST_LINE_MAX + 2];
	struct request request, untouched;
	const char *problem = NULL;
	uint32_t count;

	memcpy(line, data, size);
	line[size] = '\n';
	line[size + 1] = '#';
	memset(&request, 0x5a, sizeof request);
	memcpy(&untouched, &request, sizeof request);
	if (request_parse(line, size, &request, &problem) < 0) {
		must(problem && *problem);
		must(memcmp(&request, &untouched, sizeof request) == 0);
	} else {
		must(request.what < REQUESTS_MAX && request.count <= REQUEST_WORDS_MAX);
		for (unsigned i = 0; i < request.count; i++) {
			must(request.words[i] > line && request.words[i] < line + size);
			must(request.words[i][0] != '\0');
			must(strlen(request.words[i]) < size);
			if (proto_count(request.words[i], 4, 100, &count))
				must(count <= 100);
		}
	}
	must(line[size + 1] == '#');
}

static void write_json(const uint8_t *data, size_t size)
{
	static char out[JSON_TEXT_MAX(REQUEST_LINE_MAX) + 64];
	struct json j;
	size_t length;

	json_begin(&j, out, sizeof out);
	json_text(&j, "t", (const char *)data, size);
	length = json_end(&j);
	must(length >= sizeof "{\"v\":1,\"t\":\"\"}\n" - 1);
	must(memcmp(out, "{\"v\":1,\"t\":\"", 12) == 0 && memcmp(out + length - 3, "\"}\n", 3) == 0);
	for (size_t i = 12; i < length - 3; i++) {
		must((unsigned char)out[i] >= ' ' && out[i] != 0x7f && out[i] != '"');
		if (out[i] == '\\')
			i++;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > REQUEST_LINE_MAX)
		return 0;
	parse(data, size);
	write_json(data, size);
	return 0;
}
