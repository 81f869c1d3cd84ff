/* Oracle: what is refused leaves the result alone; what is taken comes back from its own text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char input[512], text[ADDRESS_TEXT_MAX];
	struct address address, again, untouched;
	const char *problem = NULL;
	int length;

	if (size >= sizeof(input))
		return 0;
	memcpy(input, data, size);
	input[size] = '\0';
	memset(&address, 0x5a, sizeof(address));
	memcpy(&untouched, &address, sizeof(address));
	if (address_parse(input, &address, &problem) < 0) {
		must(problem && *problem);
		must(memcmp(&address, &untouched, sizeof(address)) == 0);
		return 0;
	}
	length = address_format(&address, text);
	must(length > 0 && length < ADDRESS_TEXT_MAX && strlen(text) == (size_t)length);
	memset(&again, 0xa5, sizeof(again));
	must(address_parse(text, &again, &problem) == 0);
	must(memcmp(&address, &again, sizeof(address)) == 0);
	must(address_equal(&address, &again) || address.port == 0);
	return 0;
}
