#include "supervisor/core/proto.h"

#include <string.h>

static const struct {
	const char *word;
	unsigned min, max;
	bool acts;
	unsigned options;
} requests[REQUESTS_MAX] = {
#define REQUEST(id, word, min, max, acts, options) { word, min, max, acts, options },
#include "supervisor/core/requests.def"
#undef REQUEST
};

static const struct {
	const char *word;
	enum request_option option;
} options[] = {
	{ "--no-wait", OPTION_NO_WAIT }, { "--dry-run", OPTION_DRY_RUN }, { "--follow", OPTION_FOLLOW },
	{ "-f", OPTION_FOLLOW },         { "--now", OPTION_NOW },         { "--last", OPTION_LAST },
};

bool request_acts(const struct request *request)
{
	return requests[request->what].acts && !(request->options & OPTION_DRY_RUN);
}

const char *request_word(const struct request *request)
{
	return requests[request->what].word;
}

/* Cuts the next word off; NULL at the end. */
static char *next_word(char **at, char *end)
{
	char *word;

	while (*at < end && (**at == ' ' || **at == '\t'))
		(*at)++;
	if (*at == end)
		return NULL;
	word = *at;
	while (*at < end && **at != ' ' && **at != '\t')
		(*at)++;
	if (*at < end)
		*(*at)++ = '\0';
	return word;
}

static int request_find(const char *word)
{
	for (int i = 0; i < REQUESTS_MAX; i++)
		if (strcmp(requests[i].word, word) == 0)
			return i;
	return -1;
}

static unsigned option_find(const char *word)
{
	for (size_t i = 0; i < sizeof options / sizeof *options; i++)
		if (strcmp(options[i].word, word) == 0)
			return options[i].option;
	return 0;
}

/* -2 is an argument of scale, -f is not. */
static bool is_option(const char *word)
{
	return word[0] == '-' && !(word[1] >= '0' && word[1] <= '9');
}

static int add_option(struct request *request, const char *word, char **at, char *end,
                      const char **problem)
{
	unsigned option = option_find(word);
	const char *value;

	*problem = "this request has no such option";
	if ((requests[request->what].options & option) == 0)
		return -1;
	request->options |= option;
	if (option != OPTION_LAST)
		return 0;
	*problem = "--last wants a number";
	value = next_word(at, end);
	return value && proto_number(value, UINT32_MAX - 1, &request->last) ? 0 : -1;
}

static int add_word(struct request *request, const char *word, const char **problem)
{
	*problem = "too many arguments";
	if (request->count == requests[request->what].max || request->count == REQUEST_WORDS_MAX)
		return -1;
	request->words[request->count++] = word;
	return 0;
}

static bool printable(const char *line, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if ((line[i] < ' ' || line[i] > '~') && line[i] != '\t')
			return false;
	return true;
}

/* Options and arguments, once the first word is known. */
static int parse_rest(struct request *request, char *at, char *end, const char **problem)
{
	for (char *word; (word = next_word(&at, end)) != NULL;) {
		int r = is_option(word) ? add_option(request, word, &at, end, problem)
		                        : add_word(request, word, problem);

		if (r < 0)
			return r;
	}
	*problem = "an argument is missing";
	return request->count < requests[request->what].min ? -1 : 0;
}

int request_parse(char *line, size_t size, struct request *ret, const char **problem)
{
	struct request request = { .last = UINT32_MAX };
	char *at = line, *end, *word;
	int what;

	if (size > 0 && line[size - 1] == '\r')
		size--;
	end = line + size;
	*problem = "a request is a line of printable ASCII";
	if (!printable(line, size))
		return -1;
	*problem = "an empty request";
	word = next_word(&at, end);
	if (!word)
		return -1;
	*end = '\0'; /* where the newline or the carriage return was */
	*problem = "no such request";
	what = request_find(word);
	if (what < 0)
		return -1;
	request.what = (enum request_what)what;
	if (parse_rest(&request, at, end, problem) < 0)
		return -1;
	*ret = request;
	return 0;
}

/* Where the text ends in the line, or NULL. */
static const char *after(const char *line, size_t size, const char *text)
{
	size_t length = strlen(text);

	for (size_t at = 0; at + length <= size; at++)
		if (memcmp(line + at, text, length) == 0)
			return line + at + length;
	return NULL;
}

static const char *skip_blanks(const char *at, const char *end)
{
	while (at < end && (*at == ' ' || *at == '\t'))
		at++;
	return at;
}

bool proto_is_ack(const char *line, size_t size)
{
	static const char ack[] = "\"worker:ack\"";
	const char *end = line + size, *at;

	if (size > 3 && memcmp(line, "---", 3) == 0)
		return after(line, size, "%0Acommand: worker:ack%0A") != NULL;
	if (size == 0 || line[0] != '{')
		return false;
	at = after(line, size, "\"command\"");
	at = at ? skip_blanks(at, end) : end;
	if (at == end || *at != ':')
		return false;
	at = skip_blanks(at + 1, end);
	return (size_t)(end - at) >= sizeof ack - 1 && memcmp(at, ack, sizeof ack - 1) == 0;
}

bool proto_number(const char *word, uint32_t max, uint32_t *ret)
{
	uint64_t value = 0;

	if (*word == '\0')
		return false;
	for (; *word; word++) {
		if (*word < '0' || *word > '9')
			return false;
		value = value * 10 + (uint64_t)(*word - '0');
		if (value > max)
			return false;
	}
	*ret = (uint32_t)value;
	return true;
}

bool proto_count(const char *word, uint32_t now, uint32_t max, uint32_t *ret)
{
	uint32_t value;
	bool more = *word == '+', less = *word == '-';

	if (!proto_number(word + (more || less), max, &value))
		return false;
	if ((more && value > max - now) || (less && value > now))
		return false;
	*ret = more ? now + value : less ? now - value : value;
	return *ret <= max;
}

/* Appends; false when it does not fit. */
static bool append(char *text, size_t size, const char *more)
{
	size_t used = strlen(text), length = strlen(more);

	if (used + length >= size)
		return false;
	memcpy(text + used, more, length + 1);
	return true;
}

static const char *decimal(uint32_t value, char text[12])
{
	char *at = text + 11;

	*at = '\0';
	do {
		*--at = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	return at;
}

bool proto_folder(unsigned index, uid_t uid, const char *runtime, char *ret, size_t size)
{
	char digits[12];
	const char *number = decimal(uid, digits);
	/* One that is too long is none: the next one may be had. */
	bool has_runtime = runtime && runtime[0] == '/' && strlen(runtime) + sizeof "/clusterd" <= size;

	if (size == 0)
		return false;
	ret[0] = '\0';
	if (uid == 0)
		return index == 0 && append(ret, size, "/run/clusterd");
	if (!has_runtime)
		index++;
	switch (index) {
	case 0:
		return append(ret, size, runtime) && append(ret, size, "/clusterd");
	case 1:
		return append(ret, size, "/run/user/") && append(ret, size, number) &&
		       append(ret, size, "/clusterd");
	case 2:
		return append(ret, size, "/tmp/clusterd-") && append(ret, size, number);
	default:
		return false;
	}
}
