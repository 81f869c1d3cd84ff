#include "config/rules.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "config/signals.h"

static const struct {
	const char *word;
	enum exit_kind kind;
} causes[] = {
	{ "oom", EXIT_OOM },
	{ "timeout", EXIT_TIMEOUT },
	{ "watchdog", EXIT_WATCHDOG },
};

/* Reads 0 to 255; returns what follows the digits, or NULL. */
static const char *take_status(const char *text, int16_t *ret)
{
	size_t length = strspn(text, "0123456789");
	int value = 0;

	if (length == 0 || length > 3)
		return NULL;
	for (size_t i = 0; i < length; i++)
		value = value * 10 + (text[i] - '0');
	if (value > 255)
		return NULL;
	*ret = (int16_t)value;
	return text + length;
}

static int parse_status(const char *word, struct exit_rule *rule, const char **problem)
{
	const char *end = take_status(word, &rule->low);

	rule->kind = EXIT_CODES;
	rule->high = rule->low;
	if (end && *end == '-')
		end = take_status(end + 1, &rule->high);
	if (!end || *end)
		*problem = "an exit status is 0 to 255, or a range such as 64-78";
	else if (rule->low > rule->high)
		*problem = "the range of exit statuses is empty";
	else
		return 1;
	return -1;
}

static int parse_word(const char *word, struct exit_rule *rule, const char **problem)
{
	int number;

	if (*word >= '0' && *word <= '9')
		return parse_status(word, rule, problem);
	for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
		if (strcmp(word, causes[i].word) == 0) {
			rule->kind = causes[i].kind;
			rule->low = rule->high = 0;
			return 1;
		}
	}
	number = signal_number(word);
	if (number < 0) {
		*problem = "neither an exit status, nor a signal, nor oom, timeout or watchdog";
		return -1;
	}
	rule->kind = EXIT_SIGNAL;
	rule->low = rule->high = (int16_t)number;
	return 1;
}

int rule_parse(const char **text, struct exit_rule *ret, const char **problem)
{
	char word[RULE_TEXT_MAX];
	const char *start = *text + strspn(*text, " \t,");
	size_t length = strcspn(start, " \t,");

	*text = start + length;
	if (length == 0)
		return 0;
	if (length >= sizeof(word)) {
		*problem = "neither an exit status, nor a signal, nor oom, timeout or watchdog";
		return -1;
	}
	memcpy(word, start, length);
	word[length] = '\0';
	return parse_word(word, ret, problem);
}

void rule_format(const struct exit_rule *rule, char text[RULE_TEXT_MAX])
{
	char name[SIGNAL_TEXT_MAX];

	if (rule->kind == EXIT_SIGNAL) {
		snprintf(text, RULE_TEXT_MAX, "%s", signal_name(rule->low, name));
	} else if (rule->kind == EXIT_CODES) {
		if (rule->low == rule->high)
			snprintf(text, RULE_TEXT_MAX, "%d", rule->low);
		else
			snprintf(text, RULE_TEXT_MAX, "%d-%d", rule->low, rule->high);
	} else {
		for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++)
			if (causes[i].kind == rule->kind)
				snprintf(text, RULE_TEXT_MAX, "%s", causes[i].word);
	}
}

bool rule_equal(const struct exit_rule *a, const struct exit_rule *b)
{
	return a->kind == b->kind && a->low == b->low && a->high == b->high;
}

/* How far a rule is from the end: causes first, then the width of a range; INT_MAX is no match. */
static int distance(const struct exit_rule *rule, const struct rule_end *end)
{
	bool holds = false;

	switch (rule->kind) {
	case EXIT_WATCHDOG: return end->watchdog ? -3 : INT_MAX;
	case EXIT_TIMEOUT: return end->timeout ? -2 : INT_MAX;
	case EXIT_OOM: return end->oom ? -1 : INT_MAX;
	case EXIT_SIGNAL: holds = end->signal == rule->low; break;
	case EXIT_CODES:
		holds = end->signal == 0 && end->code >= rule->low && end->code <= rule->high;
		break;
	}
	return holds ? rule->high - rule->low : INT_MAX;
}

const struct exit_rule *exit_rule_find(const struct policy *policy, const struct rule_end *end)
{
	const struct exit_rule *best = NULL;
	int nearest = INT_MAX;

	for (uint32_t i = 0; i < policy->rule_count; i++) {
		int d = distance(&policy->rules[i], end);

		if (d < nearest) {
			nearest = d;
			best = &policy->rules[i];
		}
	}
	return best;
}
