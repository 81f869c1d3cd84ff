#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "cmd/clusterctl/ctl.h"

enum { REDRAW_MS = 1000 };

struct screen {
	struct termios before;
	bool keys; /* standard input is a terminal: q ends */
};

/* Alternate screen, no cursor; keys come without Enter and are not shown. */
static void screen_begin(struct screen *screen)
{
	struct termios raw;

	screen->keys = isatty(0) && tcgetattr(0, &screen->before) == 0;
	if (screen->keys) {
		raw = screen->before;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		tcsetattr(0, TCSANOW, &raw);
	}
	fputs("\033[?1049h\033[?25l", stdout);
}

static void screen_end(const struct screen *screen)
{
	fputs("\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	if (screen->keys)
		tcsetattr(0, TCSANOW, &screen->before);
}

/* Bytes of an escape sequence that sets a colour, or 0. */
static size_t colour_size(const char *text)
{
	size_t size = *text == '\033' ? strcspn(text, "m\n") : 0;

	return size > 0 && text[size] == 'm' ? size + 1 : 0;
}

/* A line that wraps would shift all below it. Colours take no room and go on behind the cut. */
static void put_cut(const char *line, size_t size, int columns)
{
	size_t colour;

	for (size_t at = 0; at < size; at += colour ? colour : 1) {
		colour = colour_size(line + at);
		if (!colour && ((unsigned char)line[at] & 0xc0) != 0x80)
			columns--;
		if (colour || columns >= 0)
			fwrite(line + at, 1, colour ? colour : 1, stdout);
	}
}

static int count_lines(const char *text)
{
	int lines = 0;

	for (; *text; text++)
		lines += *text == '\n';
	return lines;
}

/* As much of `text` as fits, over what stood there; 0 columns are no limit. */
static void screen_draw(const char *text, int rows, int columns)
{
	int lines = count_lines(text), fit = lines < rows ? lines : rows > 2 ? rows - 2 : 0;

	fputs("\033[H", stdout);
	for (int i = 0; i < fit; i++) {
		size_t size = strcspn(text, "\n");

		put_cut(text, size, columns > 0 ? columns : INT_MAX);
		fputs("\033[K\n", stdout);
		text += size + 1;
	}
	if (fit < lines)
		printf("%d more line%s; see: clusterctl status\033[K", lines - fit, lines - fit == 1 ? "" : "s");
	fputs("\033[J", stdout);
	fflush(stdout);
}

static void screen_size(struct ctl *ctl)
{
	struct winsize size;

	ctl->rows = 24;
	if (ioctl(1, TIOCGWINSZ, &size) < 0)
		return;
	if (size.ws_row > 0)
		ctl->rows = size.ws_row;
	if (size.ws_col > 0 && !ctl->width)
		ctl->columns = size.ws_col;
}

/* Waits for the next redraw; true when it is time to end. */
static bool pause_or_end(const struct screen *screen)
{
	struct pollfd look = { .fd = 0, .events = POLLIN };
	char key;

	/* A terminal that is gone is readable for ever, and takes no more lines. */
	if (poll(&look, screen->keys ? 1 : 0, REDRAW_MS) > 0 && (read(0, &key, 1) != 1 || key == 'q'))
		return true;
	return ctl_interrupted || ferror(stdout);
}

static int draw(struct ctl *ctl)
{
	struct status status;
	char *text = NULL;
	size_t size = 0;
	FILE *out;
	int code;

	screen_size(ctl);
	status_init(&status);
	code = ctl_look(ctl, "status", status_line, &status);
	out = code == CTL_DONE && status.cluster ? open_memstream(&text, &size) : NULL;
	if (out) {
		status_print(&status, ctl, out);
		fclose(out);
		screen_draw(text, ctl->rows, ctl->columns);
	}
	free(text);
	status_free(&status);
	return code;
}

int run_top(struct ctl *ctl)
{
	struct screen screen;
	int code, fd;

	if (!ctl->terminal || ctl->json || !ctl_draws())
		return run_status(ctl);
	fd = ctl_connect(ctl, false, &code); /* what is said now stays on the screen */
	if (fd < 0)
		return code;
	close(fd);
	screen_begin(&screen);
	do
		code = draw(ctl);
	while (code == CTL_DONE && !pause_or_end(&screen));
	screen_end(&screen);
	if (code != CTL_DONE)
		ctl_say("%s: %s", ctl->shown, code == CTL_NOT_RUNNING
		        ? "not running any more"
		        : "does not answer any more; see: clusterctl status");
	return code;
}
