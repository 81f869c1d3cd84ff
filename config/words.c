#include "config/words.h"

#include <string.h>

_Static_assert(WORDS_MAX == 512, "a text says 512");

const char word_too_long[] = "too long";
const char word_not_closed[] = "a quote is not closed";

enum { PIECE_MAX = 120 }; /* bytes of one quoted piece, less its quotes: LINE_TEXT_MAX has room for a key and one */

/* A cursor over the text, and where the bytes of the word go. */
struct splitter {
	const char *next;
	char *out;
	size_t length, size;
	const char *problem;
};

static void put(struct splitter *s, char byte)
{
	if (s->length + 1 < s->size)
		s->out[s->length++] = byte;
	else
		s->problem = word_too_long;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* One escape of $'...'; `next` is behind the backslash. */
static void take_escape(struct splitter *s)
{
	static const char names[] = "ntre\\'\"", bytes[] = "\n\t\r\033\\'\"";
	const char *found = *s->next ? strchr(names, *s->next) : NULL;

	if (found) {
		put(s, bytes[found - names]);
		s->next++;
	} else if (*s->next == 'x' && hex_digit(s->next[1]) >= 0 && hex_digit(s->next[2]) >= 0) {
		int byte = hex_digit(s->next[1]) * 16 + hex_digit(s->next[2]);

		if (byte == 0)
			s->problem = "\\x00 can not be part of a word";
		put(s, (char)byte);
		s->next += 3;
	} else {
		s->problem = "unknown escape in $'...'; it knows \\n \\t \\r \\e \\\\ \\' \\\" \\xHH";
	}
}

/* The inside of quotes, the closing one included; `kind` is ' or " or $ for $'...'. */
static void take_quoted(struct splitter *s, char kind)
{
	char end = kind == '"' ? '"' : '\'';

	while (*s->next && *s->next != end && !s->problem) {
		char c = *s->next++;

		if (c != '\\' || kind == '\'')
			put(s, c);
		else if (kind == '$')
			take_escape(s);
		else
			put(s, *s->next && strchr("\"\\$`", *s->next) ? *s->next++ : c);
	}
	if (!s->problem && !*s->next)
		s->problem = word_not_closed;
	s->next += *s->next != '\0';
}

/* One word up to a blank or the end. */
static void take_word(struct splitter *s)
{
	if (*s->next == '#')
		s->problem = "a comment starts with ; and not with #; a word that starts with # "
			     "needs quotes";
	while (*s->next && !is_blank(*s->next) && !s->problem) {
		char c = *s->next++;

		if (c == '\'' || c == '"') {
			take_quoted(s, c);
		} else if (c == '$' && *s->next == '\'') {
			s->next++;
			take_quoted(s, '$');
		} else if (c == '\\') {
			if (!*s->next)
				s->problem = "a backslash at the end quotes nothing";
			else
				put(s, *s->next++);
		} else {
			put(s, c);
		}
	}
	s->out[s->length] = '\0';
}

static const char *skip_blanks(const char *text)
{
	while (is_blank(*text))
		text++;
	return text;
}

int words_parse(const char *text, struct words *ret, const char **problem)
{
	struct words words = { 0 };
	struct splitter s = { .next = skip_blanks(text), .out = words.text, .size = sizeof(words.text) };

	while (*s.next && !s.problem) {
		if (words.count == WORDS_MAX || s.size == 0) {
			s.problem = "more than 512 words";
			break;
		}
		take_word(&s);
		words.count++;
		s.out += s.length + 1;
		s.size -= s.length + 1;
		s.length = 0;
		s.next = skip_blanks(s.next);
	}
	if (s.problem) {
		*problem = s.problem;
		return -1;
	}
	words.size = (uint16_t)(s.out - words.text);
	memcpy(ret, &words, sizeof(words));
	return 0;
}

int words_append(struct words *words, const char *word)
{
	size_t size = strlen(word) + 1;

	if (words->count == WORDS_MAX || size > sizeof(words->text) - words->size)
		return -1;
	memcpy(words->text + words->size, word, size);
	words->size = (uint16_t)(words->size + size);
	words->count++;
	return 0;
}

const char *words_next(const struct words *words, const char *word)
{
	const char *next = word ? word + strlen(word) + 1 : words->text;

	return next < words->text + words->size ? next : NULL;
}

int word_unquote(const char *text, char *ret, size_t size, const char **problem)
{
	struct splitter s = { .next = text, .out = ret, .size = size };
	size_t length = strlen(text);

	if (*text == '\'' || *text == '"' || (text[0] == '$' && text[1] == '\'')) {
		take_word(&s);
		if (!s.problem && *s.next)
			s.problem = "text after the closing quote";
	} else if (strstr(text, " # ")) {
		s.problem = "a comment starts with ; and not with #; a # as part of it needs quotes";
	} else if (length >= size) {
		s.problem = word_too_long;
	} else {
		memcpy(ret, text, length + 1);
		s.length = length;
	}
	if (s.problem) {
		*problem = s.problem;
		return -1;
	}
	memset(ret + s.length, 0, size - s.length);
	return 0;
}

static bool is_bare(const char *word)
{
	static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				   "%+,-./:=@_[]{}?*!^~";

	return *word && strlen(word) <= PIECE_MAX && strspn(word, safe) == strlen(word);
}

/* A blank before ; would start a comment, and a control byte would end the line. */
static bool needs_hex(char c)
{
	unsigned char byte = (unsigned char)c;

	return byte < ' ' || byte == 0x7f || c == ';' || c == '\'' || c == '\\';
}

size_t word_quote(const char *word, char *text)
{
	static const char hex[] = "0123456789abcdef";
	const char *open = "'";
	char *out = text, *piece;

	if (is_bare(word)) {
		memcpy(text, word, strlen(word) + 1);
		return strlen(word);
	}
	for (const char *p = word; *p; p++)
		if (needs_hex(*p))
			open = "$'";
	do {
		memcpy(out, open, strlen(open));
		out += strlen(open);
		for (piece = out; *word && out - piece < PIECE_MAX; word++) {
			if (needs_hex(*word)) {
				*out++ = '\\';
				*out++ = 'x';
				*out++ = hex[(unsigned char)*word >> 4];
				*out++ = hex[(unsigned char)*word & 15];
			} else {
				*out++ = *word;
			}
		}
		*out++ = '\'';
	} while (*word);
	*out = '\0';
	return (size_t)(out - text);
}
