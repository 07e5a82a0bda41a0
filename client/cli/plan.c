/* plan.c - EXPLAIN. */
#include "client/cli/plan.h"

#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX 8

/* The prefix of a tree's line stops growing there, and the tree with it. */
#define PREFIX_MAX 100

struct plan_row {
	char *cells[COLUMNS_MAX]; /* owned; NULL for NULL */
	int64_t numbers[4];       /* of the first columns */
	int indent;
	bool yields;
};

struct plan {
	struct plan_row *rows;
	size_t rows_n;
	size_t rows_cap;
};

void
plan_free(struct plan *plan)
{
	if (!plan)
		return;
	for (size_t i = 0; i < plan->rows_n; i++)
		for (size_t j = 0; j < COLUMNS_MAX; j++)
			free(plan->rows[i].cells[j]);
	free(plan->rows);
	free(plan);
}

static struct plan_row *
append_row(struct output *o)
{
	struct plan *plan = o->plan;

	if (!plan) {
		plan = calloc(1, sizeof(*plan));
		if (!plan)
			return NULL;
		o->plan = plan;
	}
	if (plan->rows_n == plan->rows_cap) {
		size_t cap = plan->rows_cap ? 2 * plan->rows_cap : 32;
		struct plan_row *rows = realloc(
		    plan->rows, cap * sizeof(*rows));

		if (!rows)
			return NULL;
		plan->rows = rows;
		plan->rows_cap = cap;
	}
	plan->rows[plan->rows_n] = (struct plan_row){ .indent = 0 };
	return &plan->rows[plan->rows_n++];
}

int
plan_row(struct output *o)
{
	struct plan_row *row = append_row(o);

	if (!row)
		return -1;
	for (size_t i = 0; i < o->columns_n && i < COLUMNS_MAX; i++) {
		const char *text = output_get_text(o, i);
		char *copy;

		if (i < 4)
			row->numbers[i] = sqlpool_column_int64(o->result, i);
		if (!text)
			continue;
		copy = strdup(text);
		if (!copy)
			return -1;
		row->cells[i] = copy;
	}
	return 0;
}

/* ---- the tree: id, parent, notused, detail ---- */

/* The next row after at with this parent; rows_n when there is none. */
static size_t
find_child(const struct plan *plan, size_t at, int64_t parent)
{
	while (at < plan->rows_n && plan->rows[at].numbers[1] != parent)
		at++;
	return at;
}

static void
put_level(
    FILE *f, const struct plan *plan, int64_t parent, char prefix[PREFIX_MAX])
{
	size_t n = strlen(prefix);
	size_t at = find_child(plan, 0, parent);

	while (at < plan->rows_n) {
		const struct plan_row *row = &plan->rows[at];
		size_t next = find_child(plan, at + 1, parent);
		bool more = next < plan->rows_n;

		fprintf(f, "%s%s%s\n", prefix, more ? "|--" : "`--",
		    row->cells[3] ? row->cells[3] : "");
		if (n + 7 < PREFIX_MAX && row->numbers[0] != parent) {
			snprintf(prefix + n, PREFIX_MAX - n, "%s",
			    more ? "|  " : "   ");
			put_level(f, plan, row->numbers[0], prefix);
			prefix[n] = '\0';
		}
		at = next;
	}
}

void
plan_end(struct output *o)
{
	char prefix[PREFIX_MAX] = "";

	if (!o->plan)
		return;
	fputs("QUERY PLAN\n", o->f);
	put_level(o->f, o->plan, 0, prefix);
}

/* ---- the program: addr, opcode, p1, p2, p3, p4, p5, comment ---- */

static bool
is_one_of(const char *s, const char *const *names)
{
	for (; s && *names; names++)
		if (strcmp(s, *names) == 0)
			return true;
	return false;
}

/* What a jump back from row at encloses is a loop.  P2 counts within the
 * row's own program; a trigger's begins at address 0 again. */
static void
indent_loop(struct plan *plan, size_t at)
{
	static const char *const next[] = { "Next", "Prev", "VPrev", "VNext",
		"SorterNext", "Return", NULL };
	const struct plan_row *row = &plan->rows[at];
	int64_t to = row->numbers[3] + (int64_t)at - row->numbers[0];
	bool loop;

	if (is_one_of(row->cells[1], next))
		loop = to > 0;
	else
		loop = row->cells[1] && strcmp(row->cells[1], "Goto") == 0 &&
		    to >= 0 && to < (int64_t)at &&
		    (plan->rows[to].yields || row->numbers[2] != 0);
	for (int64_t i = to; loop && i < (int64_t)at; i++)
		plan->rows[i].indent += 2;
}

int
program_row(struct output *o)
{
	static const char *const yield[] = { "Yield", "SeekLT", "SeekGT",
		"RowSetRead", "Rewind", NULL };
	struct plan_row *row;

	if (plan_row(o) < 0)
		return -1;
	row = &o->plan->rows[o->plan->rows_n - 1];
	row->yields = is_one_of(row->cells[1], yield);
	indent_loop(o->plan, o->plan->rows_n - 1);
	return 0;
}

static void
put_padded(FILE *f, const char *s, int width)
{
	int n = fprintf(f, "%s", s);

	fprintf(f, "%*s", n < width ? width - n : 0, "");
}

void
program_end(struct output *o)
{
	static const int widths[COLUMNS_MAX] = { 4, 13, 4, 4, 4, 13, 2, 13 };

	if (!o->plan)
		return;
	for (size_t i = 0; i < COLUMNS_MAX; i++) {
		put_padded(o->f, sqlpool_column_name(o->result, i), widths[i]);
		fputs(i + 1 < COLUMNS_MAX ? "  " : "\n", o->f);
	}
	for (size_t i = 0; i < COLUMNS_MAX; i++)
		fprintf(o->f, "%.*s%s", widths[i], "-------------",
		    i + 1 < COLUMNS_MAX ? "  " : "\n");
	for (size_t r = 0; r < o->plan->rows_n; r++) {
		const struct plan_row *row = &o->plan->rows[r];

		for (size_t i = 0; i < COLUMNS_MAX; i++) {
			bool last = i + 1 == COLUMNS_MAX;

			if (i == 1)
				fprintf(o->f, "%*s", row->indent, "");
			put_padded(o->f,
			    row->cells[i] ? row->cells[i] : o->style->null_text,
			    last ? 0 : widths[i]);
			fputs(last ? "\n" : "  ", o->f);
		}
	}
}
