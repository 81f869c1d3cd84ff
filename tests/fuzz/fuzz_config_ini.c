/*
 * Oracles: a file with a complaint leaves the policy alone; one without comes back from its dump, byte
 * for byte; config_check judges any policy without harm.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct config config, again;
static struct policy untouched;
static char dump[1 << 20];
static size_t dump_length;
static int told;

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void hear(void *context, const char *source, unsigned line, const char *text)
{
	(void)context;
	must(source && *text && strlen(text) < COMPLAINT_TEXT_MAX);
	must(line > 0 || strcmp(source, "f") != 0);
	for (; *text; text++)
		must((unsigned char)*text >= ' ' && *text != 0x7f);
	told++;
}

static void keep(void *context, const char *line)
{
	size_t length = strlen(line);

	(void)context;
	must(length <= LINE_TEXT_MAX && !strchr(line, '\n'));
	must(dump_length + length + 1 < sizeof(dump));
	memcpy(dump + dump_length, line, length);
	dump[dump_length + length] = '\n';
	dump_length += length + 1;
}

static void read_back(void)
{
	config_init(&again);
	must(config_parse(&again, dump, dump_length, "g", hear, NULL) == 0);
	must(memcmp(&again.policy, &config.policy, sizeof(config.policy)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int complaints;

	config_init(&config);
	memcpy(&untouched, &config.policy, sizeof(untouched));
	told = 0;
	complaints = config_parse(&config, (const char *)data, size, "f", hear, NULL);
	must(complaints == told);
	if (complaints > 0) {
		must(memcmp(&untouched, &config.policy, sizeof(untouched)) == 0);
		config_take_draft(&config);
		told = 0;
		complaints = config_check(&config, hear, NULL);
		must(complaints == told);
		return 0;
	}
	dump_length = 0;
	config_dump(&config, keep, NULL);
	read_back();
	dump_length = 0;
	config_text(&config, keep, NULL);
	read_back();
	told = 0;
	complaints = config_check(&config, hear, NULL);
	must(complaints == told);
	return 0;
}
