#include <string.h>

#include "cmd/clusterctl/ctl.h"
#include "config/signals.h"
#include "supervisor/core/proto.h"

/* What a word of the `arguments` of verbs.def stands for, and how that is said. */
static bool is_slot(const char *word)
{
	uint32_t slot;

	return strcmp(word, "all") == 0 || proto_number(word, UINT32_MAX - 1, &slot);
}

static bool is_state(const char *word)
{
	return strcmp(word, "ready") == 0 || strcmp(word, "stopped") == 0;
}

static bool is_count(const char *word)
{
	uint32_t count;

	return proto_count(word, word[0] == '-' ? UINT32_MAX : 0, UINT32_MAX, &count);
}

static bool is_signal(const char *word)
{
	return signal_number(word) > 0;
}

static const struct {
	const char *name;
	bool (*fits)(const char *word);
	const char *wanted;
} kinds[] = {
	{ "SLOT", is_slot, "the number of a slot, as status shows it" },
	{ "SLOT|all", is_slot, "the number of a slot, as status shows it, or all" },
	{ "STATE", is_state, "ready or stopped" },
	{ "N|+N|-N", is_count, "a number of workers, or one with + or - in front" },
	{ "SIGNAL", is_signal, "the name or number of a signal" },
};

bool arguments_fit(const struct ctl *ctl, const char *arguments)
{
	for (unsigned i = 0; i < ctl->count; i++, arguments += strcspn(arguments, " ")) {
		size_t size;

		arguments += strspn(arguments, " [");
		size = strcspn(arguments, " ]");
		for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
			if (strlen(kinds[k].name) != size || memcmp(kinds[k].name, arguments, size) != 0 ||
			    kinds[k].fits(ctl->words[i]))
				continue;
			fprintf(stderr, "clusterctl: %s ", ctl->verb);
			put_clean(stderr, ctl->words[i]);
			fprintf(stderr, ": give %s\n", kinds[k].wanted);
			return false;
		}
	}
	return true;
}
