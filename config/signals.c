#include "config/signals.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { RT_FIRST = 34, RT_LAST = 64 };

static const struct {
	const char *name;
	int number;
} signals[] = {
#define SIGNAL(name) { #name, SIG##name }
	SIGNAL(HUP),  SIGNAL(INT),	SIGNAL(QUIT), SIGNAL(ILL),  SIGNAL(TRAP), SIGNAL(ABRT),
	SIGNAL(BUS),  SIGNAL(FPE),	SIGNAL(KILL), SIGNAL(USR1), SIGNAL(SEGV), SIGNAL(USR2),
	SIGNAL(PIPE), SIGNAL(ALRM),	SIGNAL(TERM), SIGNAL(CHLD), SIGNAL(CONT), SIGNAL(STOP),
	SIGNAL(TSTP), SIGNAL(TTIN),	SIGNAL(TTOU), SIGNAL(URG),  SIGNAL(XCPU), SIGNAL(XFSZ),
	SIGNAL(PROF), SIGNAL(VTALRM),	SIGNAL(IO),   SIGNAL(PWR),  SIGNAL(SYS),  SIGNAL(WINCH),
#ifdef SIGSTKFLT
	SIGNAL(STKFLT),
#endif
	{ "POLL", SIGIO }, { "IOT", SIGABRT }, { "CLD", SIGCHLD },
#undef SIGNAL
};

/* 0 to 64, the whole of `text`; -1 for anything else. */
static int small_number(const char *text)
{
	size_t length = strlen(text);
	int number = 0;

	if (length == 0 || length > 2 || strspn(text, "0123456789") != length)
		return -1;
	for (; *text; text++)
		number = number * 10 + (*text - '0');
	return number <= RT_LAST ? number : -1;
}

/* "RTMIN", "RTMIN+n", "RTMAX", "RTMAX-n" */
static int real_time_number(const char *name)
{
	bool up = strncmp(name, "RTMIN", 5) == 0;
	int number = 0;

	if (!up && strncmp(name, "RTMAX", 5) != 0)
		return -1;
	if (name[5])
		number = name[5] == (up ? '+' : '-') ? small_number(name + 6) : -1;
	if (number < 0 || number > RT_LAST - RT_FIRST)
		return -1;
	return up ? RT_FIRST + number : RT_LAST - number;
}

int signal_number(const char *name)
{
	int number = small_number(name);

	if (number >= 0)
		return number > 0 ? number : -1;
	if (strncmp(name, "SIG", 3) == 0)
		name += 3;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (strcmp(name, signals[i].name) == 0)
			return signals[i].number;
	return real_time_number(name);
}

const char *signal_name(int number, char text[SIGNAL_TEXT_MAX])
{
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		if (signals[i].number == number) {
			snprintf(text, SIGNAL_TEXT_MAX, "SIG%s", signals[i].name);
			return text;
		}
	}
	if (number == RT_FIRST)
		snprintf(text, SIGNAL_TEXT_MAX, "SIGRTMIN");
	else if (number > RT_FIRST && number <= RT_LAST)
		snprintf(text, SIGNAL_TEXT_MAX, "SIGRTMIN+%d", number - RT_FIRST);
	else
		snprintf(text, SIGNAL_TEXT_MAX, "%d", number);
	return text;
}
