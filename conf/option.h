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
	USER,  /* a name of passwd(5), which is there, or a number; or "" */
	GROUP, /* likewise of group(5) */
	NAMES, /* users and @groups between commas; "*": everybody */
	LOG_LEVEL,
	LOG_FORMAT,
	ACCESS,
	SYNC,
	TEMP_STORE,
	CHECKPOINT,
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
	int64_t n;                /* the other types */
	const char *text;         /* STRING, USER and GROUP, borrowed */
	struct conf_names *names; /* NAMES, owned: option_value_fini */
};

/* The row after o, or the first for NULL; NULL after the last. */
const struct option *option_next(const struct option *o);

/* Find a row by its name, or NULL. */
const struct option *option_find(const char *name);

/* The row's number: a conf_id; and the row of a number. */
size_t option_id(const struct option *o);
const struct option *option_at(size_t id);

/* Whether its field is a char *. */
bool option_is_text(const struct option *o);

/* Whether it is the path: the one option of a database without a default. */
bool option_is_path(const struct option *o);

/* Turn text into a value of o.  -1: it does not fit; err (CONF_ERR_MAX) says
 * what to write. */
int option_parse(const struct option *o, const char *text,
    struct option_value *ret_value, char *err);

/* Write what o's field of base holds as a file would have it.  NULL: out of
 * memory; the caller frees. */
char *option_print(const struct option *o, const void *base);

/* Get a list; set it while others read it, which gives the one that was there. */
const struct conf_names *
option_get_names(const struct option *o, const void *base);
struct conf_names *
option_swap_names(const struct option *o, void *base, struct conf_names *names);

/* Write its default likewise, as options.def has it. */
char *option_print_default(const struct option *o);

/* Whether o's field of base holds its default. */
bool option_has_default(const struct option *o, const void *base);

/* Say which values it takes: "off to 24h", "full or normal". */
void option_print_range(const struct option *o, char *buf, size_t size);

/* Get what a field holds that is no text, and set it, while others do so. */
int64_t option_get(const struct option *o, const void *base);
void option_set_live(const struct option *o, void *base, int64_t n);

/* Free what a value owns. */
void option_value_fini(struct option_value *v);

/* Copy o's field from one base, which others may set meanwhile, to another, in which
 * it is all zero.  -1: out of memory. */
int option_copy(const struct option *o, void *to, const void *from);

/* Free what o's field of base owns. */
void option_fini(const struct option *o, void *base);

/* Store a value in o's field of base, a struct conf or conf_db; what it owns is
 * copied and the old one freed.  -1: out of memory. */
int
option_store(const struct option *o, void *base, const struct option_value *v);

#endif
