#include "cmd/clusterctl/table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { GAP = 2, CELL_MAX = 512 };

void table_init(struct table *table, const struct column *columns, unsigned count)
{
	*table = (struct table){ .columns = columns, .count = count };
}

void table_row(struct table *table)
{
	size_t size = table->size ? table->size * 2 : 16;
	struct cell *cells;

	if (table->rows == table->size) {
		cells = realloc(table->cells, size * table->count * sizeof *cells);
		if (!cells)
			return;
		table->cells = cells;
		table->size = size;
	}
	memset(table->cells + table->rows * table->count, 0, table->count * sizeof *table->cells);
	table->rows++;
}

static bool is_control(unsigned char c)
{
	return c < ' ' || c == 0x7f;
}

void table_cell(struct table *table, unsigned column, enum hue hue, const char *format, ...)
{
	char text[CELL_MAX];
	struct cell *cell;
	va_list args;

	if (table->rows == 0)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	for (char *at = text; *at; at++)
		if (is_control((unsigned char)*at))
			*at = '?';
	cell = &table->cells[(table->rows - 1) * table->count + column];
	free(cell->text);
	*cell = (struct cell){ strdup(text), hue };
}

size_t text_width(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

static const char *cell_text(const struct table *table, size_t row, unsigned column)
{
	const char *text = table->cells[row * table->count + column].text;

	return text ? text : "";
}

static void measure(const struct table *table, size_t widths[TABLE_COLUMNS_MAX])
{
	for (unsigned c = 0; c < table->count; c++) {
		widths[c] = text_width(table->columns[c].title);
		for (size_t r = 0; r < table->rows; r++) {
			size_t width = text_width(cell_text(table, r, c));

			if (width > widths[c])
				widths[c] = width;
		}
	}
}

/* Drops columns, as width 0, until what is left fits or none may go. */
static void fit(const struct table *table, size_t widths[TABLE_COLUMNS_MAX], size_t room)
{
	for (;;) {
		size_t total = 0;
		unsigned victim = table->count;

		for (unsigned c = 0; c < table->count; c++) {
			if (widths[c] == 0)
				continue;
			total += widths[c] + GAP;
			if (table->columns[c].rank > 0 &&
			    (victim == table->count ||
			     table->columns[c].rank > table->columns[victim].rank))
				victim = c;
		}
		if (total <= room + GAP || victim == table->count)
			return;
		widths[victim] = 0;
	}
}

/* At most `room` characters of `text`; a cut one ends in "..". */
static void put_cut(FILE *out, const char *text, size_t room)
{
	bool cut = text_width(text) > room;
	size_t keep = cut && room >= 2 ? room - 2 : room;

	for (; *text && (keep > 0 || ((unsigned char)*text & 0xc0) == 0x80); text++) {
		if (((unsigned char)*text & 0xc0) != 0x80)
			keep--;
		putc(*text, out);
	}
	if (cut && room >= 2)
		fputs("..", out);
}

static void put_blanks(FILE *out, size_t count)
{
	while (count-- > 0)
		putc(' ', out);
}

struct line {
	FILE *out;
	size_t used, room; /* room 0 = no limit */
	size_t owed;       /* blanks that come only if text follows */
};

static void put_cell(struct line *line, const char *text, enum hue hue, size_t width, bool right,
                     bool paint)
{
	size_t own = text_width(text), room = own;

	line->owed += right ? width - own : 0;
	if (own > 0) {
		put_blanks(line->out, line->owed);
		line->used += line->owed;
		line->owed = 0;
		if (line->room && line->used + own > line->room)
			room = line->used < line->room ? line->room - line->used : 0;
		put_hue(line->out, paint, hue, "");
		put_cut(line->out, text, room);
		if (paint && hue != HUE_NONE)
			fputs("\033[0m", line->out);
		line->used += own;
	}
	line->owed += (right ? 0 : width - own) + GAP;
}

static void put_line(const struct table *table, const size_t *widths, long row, size_t room,
                     bool paint, FILE *out)
{
	struct line line = { .out = out, .room = room };

	for (unsigned c = 0; c < table->count; c++) {
		const char *text = table->columns[c].title;
		enum hue hue = HUE_TITLE;

		if (widths[c] == 0)
			continue;
		if (row >= 0) {
			text = cell_text(table, (size_t)row, c);
			hue = table->cells[(size_t)row * table->count + c].hue;
		}
		put_cell(&line, text, hue, widths[c], table->columns[c].right, paint);
	}
	putc('\n', out);
}

void table_print(const struct table *table, int width, bool paint, FILE *out)
{
	size_t widths[TABLE_COLUMNS_MAX] = { 0 }, room = width > 0 ? (size_t)width : 0;

	measure(table, widths);
	if (room > 0)
		fit(table, widths, room);
	for (long row = -1; row < (long)table->rows; row++)
		put_line(table, widths, row, room, paint, out);
}

void table_free(struct table *table)
{
	for (size_t i = 0; i < table->rows * table->count; i++)
		free(table->cells[i].text);
	free(table->cells);
}
