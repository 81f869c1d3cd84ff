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

/* As much of `text` as there are lines, over what stood there. */
static void screen_draw(const char *text, int rows)
{
	fputs("\033[H", stdout);
	for (int i = 0; i < rows - 1 && *text; i++) {
		size_t size = strcspn(text, "\n");

		fwrite(text, 1, size, stdout);
		fputs("\033[K\n", stdout);
		text += size + (text[size] == '\n');
	}
	fputs("\033[J", stdout);
	fflush(stdout);
}

static void screen_size(struct ctl *ctl, int *ret_rows)
{
	struct winsize size;

	*ret_rows = 24;
	if (ioctl(1, TIOCGWINSZ, &size) < 0)
		return;
	if (size.ws_row > 0)
		*ret_rows = size.ws_row;
	if (size.ws_col > 0 && !ctl->width)
		ctl->columns = size.ws_col;
}

/* Waits for the next redraw; true when it is time to end. */
static bool pause_or_end(const struct screen *screen)
{
	struct pollfd look = { .fd = 0, .events = POLLIN };
	char key;

	if (poll(&look, screen->keys ? 1 : 0, REDRAW_MS) > 0 && read(0, &key, 1) == 1 && key == 'q')
		return true;
	return ctl_interrupted;
}

static int draw(struct ctl *ctl)
{
	struct status status;
	char *text = NULL;
	size_t size = 0;
	int rows, code;
	FILE *out;

	screen_size(ctl, &rows);
	status_init(&status);
	code = ctl_look(ctl, "status", status_line, &status);
	out = code == CTL_DONE && status.cluster ? open_memstream(&text, &size) : NULL;
	if (out) {
		status_print(&status, ctl, true, out);
		fclose(out);
		screen_draw(text, rows);
	}
	free(text);
	status_free(&status);
	return code;
}

int run_top(struct ctl *ctl)
{
	struct screen screen;
	int code, fd;

	if (!ctl->terminal || ctl->json)
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
		fprintf(stderr, "%s: %s\n", ctl->shown, code == CTL_NOT_RUNNING
		        ? "not running any more"
		        : "does not answer any more; see: clusterctl status");
	return code;
}
