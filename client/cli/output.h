/* output.h - rows as text, in the formats of the sqlite3 shell.
 *
 * Every byte is what Debian's sqlite3 3.40.1 prints in the mode of the same
 * name (tests/check_output.c compares them).  A mode is one row of a table of
 * functions.  One thread.
 */
#ifndef CLIENT_CLI_OUTPUT_H
#define CLIENT_CLI_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <sqlpool.h>

/* Separators and the text for NULL are cut there, as sqlite3 does. */
#define OUTPUT_TEXT_MAX 20

struct output_mode;

struct output_style {
	const struct output_mode *mode;
	char col_sep[OUTPUT_TEXT_MAX];
	char row_sep[OUTPUT_TEXT_MAX];
	char null_text[OUTPUT_TEXT_MAX];
	bool header;
	bool header_set; /* a person said so: the mode does not change it */
	size_t wrap;     /* widest column of the modes that align; 0: any */
};

/* A result on its way to a file. */
struct output {
	FILE *f;
	const struct output_style *style;
	const struct output_mode *mode; /* the style's, or for EXPLAIN */
	struct sqlpool_result *result;
	size_t columns_n;
	uint64_t rows_n;
	char (*reals)[40]; /* per column, the text of a REAL */
	struct grid *grid; /* modes that align: all rows (grid.h) */
	struct plan *plan; /* EXPLAIN: all rows (plan.h) */
};

/* Set the list mode with sqlite3's defaults. */
void output_style_init(struct output_style *style);

/* Find a mode by name; NULL when there is none. */
const struct output_mode *output_find_mode(const char *name);

/* Give the name of the i-th mode, NULL after the last. */
const char *output_get_mode_name(size_t i);
const char *output_mode_name(const struct output_mode *mode);

/* Switch to a mode.  The .mode command changes more than the option does. */
void output_style_set_mode(
    struct output_style *style, const struct output_mode *mode, bool command);

/* Begin to print a result whose columns are known.  explain: the statement
 * begins with EXPLAIN.  Returns 0, or -1 when memory ran out. */
int output_begin(struct output *o, FILE *f, const struct output_style *style,
    struct sqlpool_result *result, bool explain);

/* Print the row the result stands on.  -1 when memory ran out. */
int output_row(struct output *o);

/* Print what has to follow the rows, and free everything. */
void output_end(struct output *o);

/* Give a value's text as the sqlite3 shell sees it, NUL-terminated; NULL for
 * NULL.  Lives until the next row. */
const char *output_get_text(struct output *o, size_t column);

/* Write a text in single quotes, as SQL. */
void output_put_quoted(FILE *f, const char *s);

#endif
