#include <stdio.h>
#include <string.h>

#include "config/load.h"
#include "config/rules.h"
#include "config/words.h"

enum { COMMENT_COLUMN = 40 };

struct dumper {
	config_sink *sink;
	void *context;
	char *value; /* VALUE_TEXT_MAX bytes */
	bool bare;   /* no comments, no empty lines */
};

static void print(struct dumper *d, const char *line)
{
	d->sink(d->context, line);
}

static void origin_text(const struct origin *origin, char *text, size_t size)
{
	if (!origin->source)
		snprintf(text, size, "; default");
	else if (origin->line == 0)
		snprintf(text, size, "; %.100s", origin->source);
	else
		snprintf(text, size, "; from %.100s:%u", origin->source, origin->line);
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

/*
 * How much of the value fits `room`: up to a blank outside of quotes, that included, or up to the end of
 * one of the quoted pieces of a word. word_quote wrote the value, so no ' is inside a piece.
 */
static size_t take_piece(const char *value, size_t room)
{
	size_t best = 0;
	bool quoted = false;

	if (strlen(value) <= room)
		return strlen(value);
	for (size_t i = 0; i < room; i++) {
		if (value[i] == '\'')
			quoted = !quoted;
		if (!quoted && (value[i] == ' ' || (value[i] == '\'' && value[i + 1] != ' ')))
			best = i + 1;
	}
	return best;
}

/* Each line but the last ends in a backslash, so that nothing in the next can look like a key. */
static void print_value(struct dumper *d, const char *name, const struct origin *origin)
{
	char line[LINE_TEXT_MAX + 1], comment[160] = "";
	const char *rest = d->value;
	int length = snprintf(line, sizeof(line), "%s =%s", name, *rest ? " " : "");
	size_t piece;

	if (!d->bare)
		origin_text(origin, comment, sizeof(comment));
	if (*comment && (size_t)length + strlen(rest) + 1 + strlen(comment) > LINE_TEXT_MAX) {
		print(d, comment);
		comment[0] = '\0';
	}
	for (;;) {
		piece = take_piece(rest, LINE_TEXT_MAX - 1 - (size_t)length);
		length += snprintf(line + length, sizeof(line) - (size_t)length, "%.*s", (int)piece, rest);
		rest += piece;
		if (!*rest)
			break;
		snprintf(line + length, sizeof(line) - (size_t)length, "\\");
		print(d, line);
		length = snprintf(line, sizeof(line), "\t");
	}
	if (*comment)
		snprintf(line + length, sizeof(line) - (size_t)length, "%*s%s",
			 length < COMMENT_COLUMN ? COMMENT_COLUMN - length : 1, "", comment);
	print(d, line);
}

static void print_section(struct dumper *d, const char *section, const char *instance)
{
	char line[LINE_TEXT_MAX + 1];

	if (!d->bare)
		print(d, "");
	snprintf(line, sizeof(line), "[%s%s%s]", section, *instance ? " " : "", instance);
	print(d, line);
}

/* Is the value that of the table? */
static bool is_fallback(const struct key *key, const void *base)
{
	_Alignas(max_align_t) char fallback[sizeof(struct words)] = { 0 };
	char problem[PROBLEM_TEXT_MAX];

	return key->type->parse(key, key->fallback, fallback, problem) == 0 &&
	       memcmp(fallback, key_field(key, base), key->size) == 0;
}

/* A default is written as the table has it: 60s and not 1m. */
static void print_key(struct dumper *d, const struct key *key, const void *base,
		      const struct origin *origin)
{
	if (is_fallback(key, base))
		snprintf(d->value, VALUE_TEXT_MAX, "%s", key->fallback);
	else
		key->type->format(key, key_field(key, base), d->value);
	print_value(d, key->name, origin);
}

static void dump_rules(struct dumper *d, const struct config *config)
{
	const struct exit_rule *rule = config->policy.rules;
	char text[RULE_TEXT_MAX];

	for (uint32_t i = 0; i < config->policy.rule_count; i++, rule++) {
		rule_format(rule, text);
		print_section(d, "exit", text);
		for (size_t k = 0; k < EXIT_KEYS_MAX; k++) {
			const struct key *key = &exit_keys[k];

			if (strcmp(key->name, "delay") != 0 || rule->has_delay)
				print_key(d, key, rule, &config->origins.rules[i].keys[k]);
		}
	}
}

static void dump_env(struct dumper *d, const struct config *config)
{
	const char *entry = config->policy.env;
	char name[NAME_TEXT_MAX];

	for (uint32_t i = 0; i < config->policy.env_count; i++, entry += strlen(entry) + 1) {
		const char *value = strchr(entry, '=') + 1;

		snprintf(name, sizeof(name), "%.*s", (int)(value - entry - 1), entry);
		if (*value)
			word_quote(value, d->value);
		else
			*d->value = '\0';
		print_value(d, name, &config->origins.env[i]);
	}
}

static void dump(struct config *config, struct dumper d)
{
	for (size_t k = 0; k < KEYS_MAX; k++) {
		if (k == 0 || strcmp(keys[k].section, keys[k - 1].section) != 0)
			print_section(&d, keys[k].section, "");
		print_key(&d, &keys[k], &config->policy, &config->origins.keys[k]);
	}
	for (uint32_t i = 0; i < config->policy.listener_count; i++) {
		print_section(&d, "listen", config->policy.listeners[i].name);
		for (size_t k = 0; k < LISTEN_KEYS_MAX; k++)
			print_key(&d, &listen_keys[k], &config->policy.listeners[i],
				  &config->origins.listeners[i].keys[k]);
	}
	dump_rules(&d, config);
	if (config->policy.env_count > 0) {
		print_section(&d, "env", "");
		dump_env(&d, config);
	}
}

void config_dump(struct config *config, config_sink *sink, void *context)
{
	sink(context, "; clusterd.conf(5) explains the keys");
	dump(config, (struct dumper){ sink, context, config->value, false });
}

void config_text(struct config *config, config_sink *sink, void *context)
{
	dump(config, (struct dumper){ sink, context, config->value, true });
}
