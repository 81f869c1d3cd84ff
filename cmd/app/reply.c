#include "cmd/app/reply.h"

#include <stdio.h>
#include <string.h>

static const struct {
	unsigned status;
	const char *line;
} lines[] = {
	{ 200, "HTTP/1.1 200 OK" },
	{ 400, "HTTP/1.1 400 Bad Request" },
	{ 404, "HTTP/1.1 404 Not Found" },
	{ 405, "HTTP/1.1 405 Method Not Allowed" },
	{ 408, "HTTP/1.1 408 Request Timeout" },
	{ 413, "HTTP/1.1 413 Content Too Large" },
	{ 414, "HTTP/1.1 414 URI Too Long" },
	{ 415, "HTTP/1.1 415 Unsupported Media Type" },
	{ 417, "HTTP/1.1 417 Expectation Failed" },
	{ 421, "HTTP/1.1 421 Misdirected Request" },
	{ 431, "HTTP/1.1 431 Request Header Fields Too Large" },
	{ 501, "HTTP/1.1 501 Not Implemented" },
	{ 503, "HTTP/1.1 503 Service Unavailable" },
	{ 505, "HTTP/1.1 505 HTTP Version Not Supported" },
};

static const char other_line[] = "HTTP/1.1 500 Internal Server Error";

enum { PHRASE_AT = sizeof "HTTP/1.1 200 " - 1, DATE_AT = sizeof "Date: " - 1, DATE_SIZE = 29 };

static const char *status_line(unsigned status)
{
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		if (lines[i].status == status)
			return lines[i].line;
	}
	return other_line;
}

/* IMF-fixdate of RFC 9110 5.6.7, always in English whatever the locale. */
static void write_date(char text[DATE_SIZE + 1], time_t second)
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct tm tm;

	gmtime_r(&second, &tm);
	snprintf(text, DATE_SIZE + 1, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
		 days + 3 * tm.tm_wday, (unsigned)tm.tm_mday % 100, months + 3 * tm.tm_mon,
		 ((unsigned)tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 100,
		 (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
}

void reply_common_init(struct reply_common *common, long pid)
{
	char date[DATE_SIZE + 1];

	common->second = 0;
	write_date(date, 0);
	common->size = (size_t)snprintf(
	    common->text, sizeof common->text,
	    "Date: %s\r\nX-Pid: %ld\r\nContent-Type: application/json\r\n", date, pid);
}

/* The text is written once a second; the clock is read without a system call. */
static void refresh_date(struct reply_common *common)
{
	char date[DATE_SIZE + 1];
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	if (now.tv_sec == common->second)
		return;
	common->second = now.tv_sec;
	write_date(date, now.tv_sec);
	memcpy(common->text + DATE_AT, date, DATE_SIZE);
}

void reply_write(struct reply_common *common, const struct reply *reply, struct buffer *out)
{
	static const char *const connections[] = {
		[REPLY_KEEP] = "",
		[REPLY_KEEP_1_0] = "Connection: keep-alive\r\n",
		[REPLY_CLOSE] = "Connection: close\r\n",
	};

	refresh_date(common);
	buffer_append_text(out, status_line(reply->status));
	buffer_append(out, "\r\n", 2);
	buffer_append(out, common->text, common->size);
	buffer_append_text(out, connections[reply->connection]);
	if (reply->allow) {
		buffer_append_text(out, "Allow: ");
		buffer_append_text(out, reply->allow);
		buffer_append_text(out, "\r\n");
	}
	buffer_append_text(out, "Content-Length: ");
	buffer_append_number(out, reply->body_size);
	buffer_append_text(out, "\r\n\r\n");
	if (!reply->head_only)
		buffer_append(out, reply->body, reply->body_size);
}

void reply_write_continue(struct buffer *out)
{
	buffer_append_text(out, "HTTP/1.1 100 Continue\r\n\r\n");
}

const char *reply_phrase(unsigned status)
{
	return status_line(status) + PHRASE_AT;
}
