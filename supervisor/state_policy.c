/*
 * state_policy - policies in the state: that in force, and that of each generation.
 *
 * GLUE. As text, so that a version with other keys still understands it. Most generations have the one in
 * force: its text is made once and parsed once, for an upgrade is judged by its microseconds.
 */
#include <stdlib.h>
#include <string.h>

#include "config/load.h"
#include "supervisor/core/tlv.h"
#include "supervisor/state.h"

static void put_line(void *context, const char *line)
{
	tlv_append(context, line, strlen(line));
	tlv_append(context, "\n", 1);
}

static bool holds(const struct policy_text *known, const struct policy *policy)
{
	return known->text.bytes && memcmp(known->policy, policy, sizeof *policy) == 0;
}

void state_put_policy(struct tlv_writer *w, const struct policy *policy, struct policy_text *known)
{
	size_t mark, begin;

	if (holds(known, policy)) {
		tlv_put(w, STATE_POLICY, known->text.bytes, known->text.size);
		return;
	}
	mark = tlv_begin(w, STATE_POLICY);
	begin = w->used;
	known->scratch->policy = *policy;
	config_text(known->scratch, put_line, w);
	tlv_end(w, mark);
	if (!known->text.bytes && w->used <= w->size) {
		known->policy = policy;
		known->text = (struct tlv){ STATE_POLICY, (uint32_t)(w->used - begin), w->out + begin };
	}
}

static void no_complaint(void *context, const char *source, unsigned line, const char *text)
{
	(void)context;
	(void)source;
	(void)line;
	(void)text;
}

static bool parse(const struct tlv *text, struct policy *ret)
{
	struct config *config = malloc(sizeof *config);
	bool ok = config;

	if (ok) {
		config_init(config);
		ok = config_parse(config, (const char *)text->bytes, text->size, "state", no_complaint, NULL) == 0;
	}
	if (ok)
		*ret = config->policy;
	free(config);
	return ok;
}

bool state_get_policy(const struct tlv *in, struct policy *ret, const struct policy_text *known)
{
	struct tlv text;

	if (!tlv_find(in->bytes, in->size, STATE_POLICY, &text))
		return false;
	if (!known || text.size != known->text.size || memcmp(text.bytes, known->text.bytes, text.size) != 0)
		return parse(&text, ret);
	*ret = *known->policy;
	return true;
}
