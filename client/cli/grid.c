/* grid.c - aligned columns. */
#include "client/cli/grid.h"

#include <stdlib.h>
#include <string.h>

/* One line of a row of the result, or the header. */
struct grid_line {
	bool last;     /* of its row */
	char *cells[]; /* columns_n, owned */
};

struct grid {
	size_t columns_n;
	size_t *widths;           /* in characters */
	struct grid_line **lines; /* the first is the header */
	size_t lines_n;
	size_t lines_cap;
	bool multiline; /* some row has several lines */
};

static bool
is_continuation(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

static size_t
count_chars(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += !is_continuation(*s);
	return n;
}

/* ---- taking rows ---- */

static void
free_line(struct grid_line *line, size_t columns_n)
{
	if (!line)
		return;
	for (size_t i = 0; i < columns_n; i++)
		free(line->cells[i]);
	free(line);
}

void
grid_free(struct grid *grid)
{
	if (!grid)
		return;
	for (size_t i = 0; i < grid->lines_n; i++)
		free_line(grid->lines[i], grid->columns_n);
	free(grid->lines);
	free(grid->widths);
	free(grid);
}

/* A line being copied. */
struct cut {
	const char *from;
	char *to;
	size_t bytes;
	size_t column;
	size_t wrap;
};

static bool
has_room(const struct cut *cut)
{
	return !cut->wrap || cut->column < cut->wrap;
}

/* A tab goes to the next multiple of eight. */
static void
copy_tab(struct cut *cut)
{
	do {
		cut->to[cut->bytes++] = ' ';
		cut->column++;
	} while (cut->column % 8 != 0 && has_room(cut));
	cut->from++;
}

static void
copy_char(struct cut *cut)
{
	do {
		cut->to[cut->bytes++] = *cut->from++;
	} while (is_continuation(*cut->from));
	cut->column++;
}

/* Cut the first line off *s: at a control character, or at wrap characters.
 * *s becomes NULL at the end.  Returns the line, owned; NULL when memory ran
 * out. */
static char *
cut_line(const char **s, size_t wrap)
{
	struct cut cut = { .from = *s, .wrap = wrap };
	const char *p;

	cut.to = malloc(8 * strlen(*s) + 1);
	if (!cut.to)
		return NULL;
	while (has_room(&cut)) {
		if (*cut.from == '\t')
			copy_tab(&cut);
		else if ((unsigned char)*cut.from >= ' ')
			copy_char(&cut);
		else
			break;
	}
	cut.to[cut.bytes] = '\0';
	p = cut.from;
	if (!has_room(&cut) && (unsigned char)*p >= ' ')
		*s = p;
	else if (p[0] == '\r' && p[1] == '\n')
		*s = p[2] ? p + 2 : NULL;
	else
		*s = p[0] && p[1] ? p + 1 : NULL;
	return cut.to;
}

/* Append a line, owned from now on.  -1 when memory ran out. */
static int
append_line(struct grid *grid, struct grid_line *line)
{
	if (grid->lines_n == grid->lines_cap) {
		size_t cap = grid->lines_cap ? 2 * grid->lines_cap : 64;
		struct grid_line **lines = realloc(
		    grid->lines, cap * sizeof(struct grid_line *));

		if (!lines)
			return -1;
		grid->lines = lines;
		grid->lines_cap = cap;
	}
	grid->lines[grid->lines_n++] = line;
	for (size_t i = 0; i < grid->columns_n; i++) {
		size_t n = count_chars(line->cells[i]);

		if (n > grid->widths[i])
			grid->widths[i] = n;
	}
	return 0;
}

/* Take one line of each column's rest; a rest that is used up is NULL. */
static struct grid_line *
make_line(struct grid *grid, const char **rests, size_t wrap)
{
	struct grid_line *line = calloc(
	    1, sizeof(*line) + grid->columns_n * sizeof(line->cells[0]));

	if (!line)
		return NULL;
	line->last = true;
	for (size_t i = 0; i < grid->columns_n; i++) {
		line->cells[i] = rests[i] ? cut_line(&rests[i], wrap)
					  : strdup("");
		if (!line->cells[i]) {
			free_line(line, grid->columns_n);
			return NULL;
		}
		if (rests[i])
			line->last = false;
	}
	return line;
}

/* Take a row: texts[] of all columns.  first_only: the header, whose further
 * lines sqlite3 drops. */
static int
take_row(struct grid *grid, const char **texts, size_t wrap, bool first_only)
{
	bool last;

	do {
		struct grid_line *line = make_line(grid, texts, wrap);

		if (!line)
			return -1;
		last = line->last || first_only;
		if (!last)
			grid->multiline = true;
		if (append_line(grid, line) < 0) {
			free_line(line, grid->columns_n);
			return -1;
		}
	} while (!last);
	return 0;
}

static struct grid *
make_grid(size_t columns_n)
{
	struct grid *grid = calloc(1, sizeof(*grid));

	if (!grid)
		return NULL;
	grid->columns_n = columns_n;
	grid->widths = calloc(columns_n + 1, sizeof(*grid->widths));
	if (!grid->widths) {
		free(grid);
		return NULL;
	}
	return grid;
}

int
grid_row(struct output *o)
{
	const char **texts = calloc(o->columns_n + 1, sizeof(char *));
	int rc = 0;

	if (!texts)
		return -1;
	if (!o->grid) {
		o->grid = make_grid(o->columns_n);
		for (size_t i = 0; i < o->columns_n; i++)
			texts[i] = sqlpool_column_name(o->result, i);
		rc = o->grid ? take_row(o->grid, texts, o->style->wrap, true)
			     : -1;
	}
	for (size_t i = 0; i < o->columns_n; i++) {
		texts[i] = output_get_text(o, i);
		if (!texts[i])
			texts[i] = o->style->null_text;
	}
	if (rc == 0)
		rc = take_row(o->grid, texts, o->style->wrap, false);
	free(texts);
	return rc;
}

/* ---- printing ---- */

/* How a grid looks.  A rule is left, middle, right and what fills it; NULL
 * fill: no such rule. */
struct grid_look {
	const char *row_left;
	const char *row_middle;
	const char *row_right;
	const char *top[4];
	const char *inner[4];
	const char *bottom[4];
	bool center_header;
	bool rule_between; /* rows, when one has several lines */
};

static void
put_times(FILE *f, const char *s, size_t n)
{
	while (n-- > 0)
		fputs(s, f);
}

/* pad: characters around what stands in a column, in rules */
static void
put_rule(
    FILE *f, const struct grid *grid, const char *const rule[4], size_t pad)
{
	if (!rule[3])
		return;
	fputs(rule[0], f);
	for (size_t i = 0; i < grid->columns_n; i++) {
		if (i > 0)
			fputs(rule[1], f);
		put_times(f, rule[3], grid->widths[i] + pad);
	}
	fputs(rule[2], f);
	fputc('\n', f);
}

static void
put_line(FILE *f, const struct grid *grid, const struct grid_line *line,
    const struct grid_look *look, bool center)
{
	fputs(look->row_left, f);
	for (size_t i = 0; i < grid->columns_n; i++) {
		size_t room = grid->widths[i] - count_chars(line->cells[i]);
		size_t before = center ? room / 2 : 0;

		if (i > 0)
			fputs(look->row_middle, f);
		put_times(f, " ", before);
		fputs(line->cells[i], f);
		put_times(f, " ", room - before);
	}
	fputs(look->row_right, f);
	fputc('\n', f);
}

static void
put_grid(struct output *o, const struct grid_look *look, bool header)
{
	const struct grid *grid = o->grid;
	size_t pad = look->row_left[0] ? 2 : 0;

	if (!grid || grid->columns_n == 0)
		return;
	put_rule(o->f, grid, look->top, pad);
	if (header) {
		put_line(o->f, grid, grid->lines[0], look, look->center_header);
		put_rule(o->f, grid, look->inner, pad);
	}
	for (size_t i = 1; i < grid->lines_n; i++) {
		put_line(o->f, grid, grid->lines[i], look, false);
		if (!grid->multiline || !grid->lines[i]->last ||
		    i + 1 == grid->lines_n || !look->rule_between)
			continue;
		if (look->top[3])
			put_rule(o->f, grid, look->inner, pad);
		else
			fputc('\n', o->f);
	}
	put_rule(o->f, grid, look->bottom, pad);
}

void
grid_end_column(struct output *o)
{
	static const struct grid_look look = {
		.row_left = "",
		.row_middle = "  ",
		.row_right = "",
		.inner = { "", "  ", "", "-" },
		.rule_between = true,
	};

	put_grid(o, &look, o->style->header);
}

void
grid_end_box(struct output *o)
{
	static const struct grid_look look = {
		.row_left = "│ ",
		.row_middle = " │ ",
		.row_right = " │",
		.top = { "┌", "┬", "┐", "─" },
		.inner = { "├", "┼", "┤", "─" },
		.bottom = { "└", "┴", "┘", "─" },
		.center_header = true,
		.rule_between = true,
	};

	put_grid(o, &look, true);
}

void
grid_end_table(struct output *o)
{
	static const struct grid_look look = {
		.row_left = "| ",
		.row_middle = " | ",
		.row_right = " |",
		.top = { "+", "+", "+", "-" },
		.inner = { "+", "+", "+", "-" },
		.bottom = { "+", "+", "+", "-" },
		.center_header = true,
		.rule_between = true,
	};

	put_grid(o, &look, true);
}

void
grid_end_markdown(struct output *o)
{
	static const struct grid_look look = {
		.row_left = "| ",
		.row_middle = " | ",
		.row_right = " |",
		.inner = { "|", "|", "|", "-" },
		.center_header = true,
	};

	put_grid(o, &look, true);
}
