/* output.c - the modes that print a row at a time, and the table of all. */
#include "client/cli/output.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/grid.h"
#include "client/cli/plan.h"

struct output_mode {
	const char *name;
	/* what .mode and the options set; NULL leaves it */
	const char *col_sep;
	const char *command_row_sep;
	const char *option_row_sep;
	bool command_header; /* .mode turns headers on */
	bool command_wrap;   /* .mode wraps at 60 columns */
	int (*row)(struct output *o);
	void (*end)(struct output *o);
};

/* ---- values ---- */

const char *
output_get_text(struct output *o, size_t column)
{
	/* SQLite's own digits: they differ from printf's in the 15th */
	if (sqlpool_column_type(o->result, column) == SQLPOOL_TYPE_REAL) {
		sqlite3_snprintf(sizeof(o->reals[0]), o->reals[column],
		    "%!.15g", sqlpool_column_double(o->result, column));
		return o->reals[column];
	}
	return sqlpool_column_text(o->result, column, NULL);
}

static const char *
get_shown(struct output *o, size_t column)
{
	const char *text = output_get_text(o, column);

	return text ? text : o->style->null_text;
}

static void
put_real_exactly(FILE *f, double v)
{
	char text[50];

	sqlite3_snprintf(sizeof(text), text, "%!.20g", v);
	fputs(text, f);
}

void
output_put_quoted(FILE *f, const char *s)
{
	fputc('\'', f);
	for (; *s; s++) {
		if (*s == '\'')
			fputc('\'', f);
		fputc(*s, f);
	}
	fputc('\'', f);
}

/* ---- list, tabs, ascii ---- */

static int
row_list(struct output *o)
{
	if (o->rows_n == 0 && o->style->header)
		for (size_t i = 0; i < o->columns_n; i++)
			fprintf(o->f, "%s%s", sqlpool_column_name(o->result, i),
			    i + 1 < o->columns_n ? o->style->col_sep
						 : o->style->row_sep);
	for (size_t i = 0; i < o->columns_n; i++) {
		fputs(get_shown(o, i), o->f);
		fputs(i + 1 < o->columns_n ? o->style->col_sep
					   : o->style->row_sep,
		    o->f);
	}
	return 0;
}

/* ---- csv ---- */

static bool
needs_csv_quotes(const char *s, const char *col_sep)
{
	if (!*s || strstr(s, col_sep))
		return true;
	for (; *s; s++)
		if (*s <= ' ' || *s == '"' || *s == '\'' || *s == 0x7f)
			return true; /* bytes above 0x7f are negative */
	return false;
}

static void
put_csv(struct output *o, const char *s)
{
	if (!s) {
		fputs(o->style->null_text, o->f);
		return;
	}
	if (!needs_csv_quotes(s, o->style->col_sep)) {
		fputs(s, o->f);
		return;
	}
	fputc('"', o->f);
	for (; *s; s++) {
		if (*s == '"')
			fputc('"', o->f);
		fputc(*s, o->f);
	}
	fputc('"', o->f);
}

static void
put_csv_row(struct output *o, const char *(*get)(struct output *, size_t))
{
	for (size_t i = 0; i < o->columns_n; i++) {
		put_csv(o, get(o, i));
		if (i + 1 < o->columns_n)
			fputs(o->style->col_sep, o->f);
	}
	fputs(o->style->row_sep, o->f);
}

static const char *
get_name(struct output *o, size_t column)
{
	return sqlpool_column_name(o->result, column);
}

static int
row_csv(struct output *o)
{
	if (o->rows_n == 0 && o->style->header)
		put_csv_row(o, get_name);
	put_csv_row(o, output_get_text);
	return 0;
}

/* ---- json ---- */

static void
put_json_string(FILE *f, const char *s, size_t n)
{
	static const char shorts[32] = { ['\b'] = 'b',
		['\f'] = 'f',
		['\n'] = 'n',
		['\r'] = 'r',
		['\t'] = 't' };

	fputc('"', f);
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c == '\\' || c == '"')
			fprintf(f, "\\%c", c);
		else if (c > 0x1f)
			fputc(c, f);
		else if (shorts[c])
			fprintf(f, "\\%c", shorts[c]);
		else
			fprintf(f, "\\u%04x", c);
	}
	fputc('"', f);
}

static void
put_json_value(struct output *o, size_t column)
{
	struct sqlpool_result *result = o->result;
	const char *p;
	size_t n;
	double v;

	switch (sqlpool_column_type(result, column)) {
	case SQLPOOL_TYPE_NULL:
		fputs("null", o->f);
		break;
	case SQLPOOL_TYPE_INTEGER:
		fputs(output_get_text(o, column), o->f);
		break;
	case SQLPOOL_TYPE_REAL:
		v = sqlpool_column_double(result, column);
		if (v - v != 0) /* infinite */
			fputs(v > 0 ? "1e999" : "-1e999", o->f);
		else
			put_real_exactly(o->f, v);
		break;
	case SQLPOOL_TYPE_TEXT:
		p = sqlpool_column_text(result, column, NULL);
		put_json_string(o->f, p, strlen(p));
		break;
	case SQLPOOL_TYPE_BLOB:
		p = sqlpool_column_blob(result, column, &n);
		put_json_string(o->f, p, n);
		break;
	}
}

static int
row_json(struct output *o)
{
	fputs(o->rows_n == 0 ? "[{" : ",\n{", o->f);
	for (size_t i = 0; i < o->columns_n; i++) {
		const char *name = sqlpool_column_name(o->result, i);

		if (i > 0)
			fputc(',', o->f);
		put_json_string(o->f, name, strlen(name));
		fputc(':', o->f);
		put_json_value(o, i);
	}
	fputc('}', o->f);
	return 0;
}

static void
end_json(struct output *o)
{
	if (o->rows_n > 0)
		fputs("]\n", o->f);
}

/* ---- line ---- */

static int
row_line(struct output *o)
{
	int width = 5;

	for (size_t i = 0; i < o->columns_n; i++) {
		int n = (int)strlen(sqlpool_column_name(o->result, i));

		if (n > width)
			width = n;
	}
	if (o->rows_n > 0)
		fputs(o->style->row_sep, o->f);
	for (size_t i = 0; i < o->columns_n; i++)
		fprintf(o->f, "%*s = %s%s", width,
		    sqlpool_column_name(o->result, i), get_shown(o, i),
		    o->style->row_sep);
	return 0;
}

/* ---- quote ---- */

static void
put_hex_blob(FILE *f, const unsigned char *p, size_t n)
{
	fputs("X'", f);
	for (size_t i = 0; i < n; i++)
		fprintf(f, "%02x", p[i]);
	fputc('\'', f);
}

static void
put_quote(struct output *o, size_t column)
{
	const void *p;
	size_t n;

	switch (sqlpool_column_type(o->result, column)) {
	case SQLPOOL_TYPE_NULL:
		fputs("NULL", o->f);
		break;
	case SQLPOOL_TYPE_INTEGER:
		fputs(output_get_text(o, column), o->f);
		break;
	case SQLPOOL_TYPE_REAL:
		put_real_exactly(
		    o->f, sqlpool_column_double(o->result, column));
		break;
	case SQLPOOL_TYPE_TEXT:
		output_put_quoted(o->f, output_get_text(o, column));
		break;
	case SQLPOOL_TYPE_BLOB:
		p = sqlpool_column_blob(o->result, column, &n);
		put_hex_blob(o->f, p, n);
		break;
	}
}

static int
row_quote(struct output *o)
{
	if (o->rows_n == 0 && o->style->header) {
		for (size_t i = 0; i < o->columns_n; i++) {
			if (i > 0)
				fputs(o->style->col_sep, o->f);
			output_put_quoted(
			    o->f, sqlpool_column_name(o->result, i));
		}
		fputs(o->style->row_sep, o->f);
	}
	for (size_t i = 0; i < o->columns_n; i++) {
		if (i > 0)
			fputs(o->style->col_sep, o->f);
		put_quote(o, i);
	}
	fputs(o->style->row_sep, o->f);
	return 0;
}

/* ---- html ---- */

static void
put_html(FILE *f, const char *tag, const char *s)
{
	fprintf(f, "<%s>", tag);
	for (; *s; s++) {
		switch (*s) {
		case '<':
			fputs("&lt;", f);
			break;
		case '>':
			fputs("&gt;", f);
			break;
		case '&':
			fputs("&amp;", f);
			break;
		case '"':
			fputs("&quot;", f);
			break;
		case '\'':
			fputs("&#39;", f);
			break;
		default:
			fputc(*s, f);
		}
	}
	fprintf(f, "</%s>\n", tag);
}

static int
row_html(struct output *o)
{
	if (o->rows_n == 0 && o->style->header) {
		fputs("<TR>", o->f);
		for (size_t i = 0; i < o->columns_n; i++)
			put_html(o->f, "TH", sqlpool_column_name(o->result, i));
		fputs("</TR>\n", o->f);
	}
	fputs("<TR>", o->f);
	for (size_t i = 0; i < o->columns_n; i++)
		put_html(o->f, "TD", get_shown(o, i));
	fputs("</TR>\n", o->f);
	return 0;
}

/* ---- the table ---- */

static const struct output_mode modes[] = {
	{ "ascii", "\x1f", "\x1e", "\x1e", false, false, row_list, NULL },
	{ "box", NULL, NULL, NULL, false, true, grid_row, grid_end_box },
	{ "column", NULL, "\n", NULL, true, true, grid_row, grid_end_column },
	{ "csv", ",", "\r\n", NULL, false, false, row_csv, NULL },
	{ "html", NULL, NULL, NULL, false, false, row_html, NULL },
	{ "json", NULL, NULL, NULL, false, false, row_json, end_json },
	{ "line", NULL, "\n", NULL, false, false, row_line, NULL },
	{ "list", "|", "\n", NULL, false, false, row_list, NULL },
	{ "markdown", NULL, NULL, NULL, false, true, grid_row,
	    grid_end_markdown },
	{ "quote", ",", "\n", "\n", false, false, row_quote, NULL },
	{ "table", NULL, NULL, NULL, false, true, grid_row, grid_end_table },
	{ "tabs", "\t", NULL, "\n", false, false, row_list, NULL },
};

/* What EXPLAIN prints whatever the mode. */
static const struct output_mode mode_plan = {
	.name = "plan", .row = plan_row, .end = plan_end
};
static const struct output_mode mode_program = {
	.name = "program", .row = program_row, .end = program_end
};

#define MODES (sizeof(modes) / sizeof(modes[0]))

const struct output_mode *
output_find_mode(const char *name)
{
	for (size_t i = 0; i < MODES; i++)
		if (strcmp(modes[i].name, name) == 0)
			return &modes[i];
	return NULL;
}

const char *
output_get_mode_name(size_t i)
{
	return i < MODES ? modes[i].name : NULL;
}

const char *
output_mode_name(const struct output_mode *mode)
{
	return mode->name;
}

void
output_style_init(struct output_style *style)
{
	*style = (struct output_style){ .mode = output_find_mode("list"),
		.col_sep = "|",
		.row_sep = "\n" };
}

void
output_style_set_mode(
    struct output_style *style, const struct output_mode *mode, bool command)
{
	const char *row_sep = command ? mode->command_row_sep
				      : mode->option_row_sep;
	/* "-list" leaves the separator, ".mode list" does not */
	bool list_option = !command && mode == output_find_mode("list");

	style->mode = mode;
	if (mode->col_sep && !list_option)
		snprintf(style->col_sep, sizeof(style->col_sep), "%s",
		    mode->col_sep);
	if (row_sep)
		snprintf(style->row_sep, sizeof(style->row_sep), "%s", row_sep);
	if (command && mode->command_header && !style->header_set)
		style->header = true;
	if (command && mode->command_wrap)
		style->wrap = 60;
}

/* ---- a result ---- */

static bool
has_columns(struct sqlpool_result *result, const char *const *names, size_t n)
{
	if (sqlpool_column_count(result) != n)
		return false;
	for (size_t i = 0; i < n; i++) {
		const char *name = sqlpool_column_name(result, i);

		if (!name || strcmp(name, names[i]) != 0)
			return false;
	}
	return true;
}

static const struct output_mode *
choose_explain(struct sqlpool_result *result, const struct output_mode *mode)
{
	static const char *const plan[] = { "id", "parent", "notused",
		"detail" };
	static const char *const program[] = { "addr", "opcode", "p1", "p2",
		"p3", "p4", "p5", "comment" };

	if (has_columns(result, plan, 4))
		return &mode_plan;
	if (has_columns(result, program, 8))
		return &mode_program;
	return mode;
}

int
output_begin(struct output *o, FILE *f, const struct output_style *style,
    struct sqlpool_result *result, bool explain)
{
	*o = (struct output){ .f = f,
		.style = style,
		.mode = style->mode,
		.result = result,
		.columns_n = sqlpool_column_count(result) };
	if (explain)
		o->mode = choose_explain(result, style->mode);
	o->reals = calloc(o->columns_n + 1, sizeof(*o->reals));
	if (!o->reals)
		return -1;
	return 0;
}

int
output_row(struct output *o)
{
	int rc = o->mode->row(o);

	o->rows_n++;
	return rc;
}

void
output_end(struct output *o)
{
	if (o->mode->end)
		o->mode->end(o);
	grid_free(o->grid);
	plan_free(o->plan);
	free(o->reals);
	*o = (struct output){ 0 };
}
