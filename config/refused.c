#include "config/refused.h"

#include <string.h>

/* The draft has every listener that the policy has, in the same places. */
static void refuse_listener(struct config *config, const char *instance)
{
	for (uint32_t i = 0; i < LISTENERS_MAX; i++)
		if (!instance || strcmp(config->draft.listeners[i].name, instance) == 0)
			config->refused_listeners[i] = true;
}

void config_refuse(struct config *config, const char *section, const char *instance,
		   const char *key)
{
	const struct key *known = key ? key_in_section(section, key) : NULL;

	if (strcmp(section, "listen") == 0) {
		refuse_listener(config, instance);
		return;
	}
	for (size_t i = 0; i < KEYS_MAX; i++)
		if (strcmp(keys[i].section, section) == 0 && (!known || known == &keys[i]))
			config->refused[i] = true;
}

static bool section_refused(const struct config *config, const char *section)
{
	for (size_t i = 0; i < LISTENERS_MAX && strcmp(section, "listen") == 0; i++)
		if (config->refused_listeners[i])
			return true;
	for (size_t i = 0; i < KEYS_MAX; i++)
		if (config->refused[i] && strcmp(keys[i].section, section) == 0)
			return true;
	return false;
}

bool config_refused(const struct config *config, const char *name)
{
	const struct key *key = key_find(name);

	if (key)
		return config->refused[key - keys];
	return section_refused(config, name);
}
