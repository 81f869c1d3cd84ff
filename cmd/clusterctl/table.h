/*
 * table - rows of text in columns that fit a width.
 *
 * Pure but for memory: nothing is printed before table_print. Columns are as wide as
 * their widest cell, two blanks apart. Where a line would be longer than the
 * width, columns go in the order of their `rank` (highest first; 0 never), and what
 * is still too long is cut. A cell that could not be stored for lack of memory is empty.
 */
#ifndef CLUSTERD_CTL_TABLE_H
#define CLUSTERD_CTL_TABLE_H

#include "cmd/clusterctl/ctl.h"

enum { TABLE_COLUMNS_MAX = 16 };

struct column {
	const char *title;
	bool right;
	unsigned rank;
};

struct cell {
	char *text;
	enum hue hue;
};

struct table {
	const struct column *columns;
	unsigned count;
	size_t rows, size;
	struct cell *cells;
};

void table_init(struct table *table, const struct column *columns, unsigned count);
/* Begins a row; its cells follow from left to right by table_cell. */
void table_row(struct table *table);
void table_cell(struct table *table, unsigned column, enum hue hue, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* width 0 = no limit. */
void table_print(const struct table *table, int width, bool paint, FILE *out);
void table_free(struct table *table);

/* Columns that a text takes on a terminal: its UTF-8 characters. */
size_t text_width(const char *text);

#endif
