/* option.h - the table of options: text to values, values into fields.
 *
 * Inside conf/ only.  Pure functions of the constant table: any thread.
 */
#ifndef CONF_OPTION_H
#define CONF_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_scope { GLOBAL, DATABASE };

enum option_type {
	BOOL,
	COUNT,
	MODE,
	DURATION,
	BYTES,
	STRING,
	LOG_LEVEL,
	ACCESS,
	SYNC,
};

enum option_reload { FIXED, LIVE };

/* A row of options.def. */
struct option {
	const char *name;
	enum option_scope scope;
	enum option_type type;
	size_t offset; /* of the field in struct conf or struct conf_db */
	int64_t min;   /* in the field's unit */
	int64_t max;
	const char *def;
	enum option_reload reload;
	const char *text;
};

/* A value on its way from text to a field. */
struct option_value {
	int64_t n;        /* all types but STRING */
	const char *text; /* STRING, borrowed */
};

/* The row after o, or the first for NULL; NULL after the last. */
const struct option *option_next(const struct option *o);

/* Find a row by its name, or NULL. */
const struct option *option_find(const char *name);

/* The row's bit in conf_db.given. */
uint64_t option_bit(const struct option *o);

/* Whether it is the path: the one option of a database without a default. */
bool option_is_path(const struct option *o);

/* Turn text into a value of o.  -1: it does not fit; err (CONF_ERR_MAX) says
 * what to write. */
int option_parse(const struct option *o, const char *text,
    struct option_value *ret_value, char *err);

/* Store a value in o's field of base, a struct conf or conf_db; a string is
 * copied and the old one freed.  -1: out of memory. */
int
option_store(const struct option *o, void *base, const struct option_value *v);

#endif
