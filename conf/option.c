/* option.c - the table of options: text to values, values into fields.
 *
 * All that can be said of one option without knowing the others is here, and
 * comes from options.def.
 */
#include "conf/option.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "conf/names.h"
#include "conf/units.h"

#define OFFSET_GLOBAL(field)   offsetof(struct conf, field)
#define OFFSET_DATABASE(field) offsetof(struct conf_db, field)

static const struct option options[] = {
/* clang-format off */
#define OPTION(scope_, type_, name_, field, min_, max_, def_, reload_, text_) \
	{ .name = #name_, .scope = scope_, .type = type_, \
	  .offset = OFFSET_##scope_(field), .min = min_, .max = max_, \
	  .def = def_, .reload = reload_, .text = text_ },
#include "conf/options.def"
	/* clang-format on */
};

#define OPTION_N (sizeof(options) / sizeof(options[0]))

_Static_assert(sizeof(enum conf_access) == sizeof(unsigned) &&
	sizeof(enum conf_sync) == sizeof(unsigned) &&
	sizeof(enum conf_temp_store) == sizeof(unsigned) &&
	sizeof(enum conf_checkpoint) == sizeof(unsigned) &&
	sizeof(enum conf_log_level) == sizeof(unsigned) &&
	sizeof(enum conf_log_format) == sizeof(unsigned),
    "enums are stored as unsigned");

static const char *const bool_words[] = { "off", "on", "no", "yes", "false",
	"true", "0", "1", NULL };
static const char *const log_words[] = { "error", "warn", "info", "debug",
	NULL };
static const char *const format_words[] = { "text", "json", NULL };
static const char *const access_words[] = { "exclusive", "shared", NULL };
static const char *const sync_words[] = { "full", "normal", NULL };
static const char *const temp_store_words[] = { "memory", "file", NULL };
static const char *const checkpoint_words[] = { "daemon", "external", NULL };

/* The words of an enumerated type in the order of its values; NULL for the
 * others.  Those of a bool come in pairs. */
static const char *const *
type_words(enum option_type type)
{
	switch (type) {
	case BOOL:
		return bool_words;
	case LOG_LEVEL:
		return log_words;
	case LOG_FORMAT:
		return format_words;
	case ACCESS:
		return access_words;
	case SYNC:
		return sync_words;
	case TEMP_STORE:
		return temp_store_words;
	case CHECKPOINT:
		return checkpoint_words;
	case COUNT:
	case MODE:
	case DURATION:
	case BYTES:
	case STRING:
	case USER:
	case GROUP:
	case NAMES:
		break;
	}
	return NULL;
}

static enum units_kind
type_units(enum option_type type)
{
	switch (type) {
	case DURATION:
		return UNITS_TIME;
	case BYTES:
		return UNITS_BYTES;
	case MODE:
		return UNITS_OCTAL;
	case COUNT:
	case BOOL:
	case STRING:
	case USER:
	case GROUP:
	case NAMES:
	case LOG_LEVEL:
	case LOG_FORMAT:
	case ACCESS:
	case SYNC:
	case TEMP_STORE:
	case CHECKPOINT:
		break;
	}
	return UNITS_NONE;
}

void
option_print_range(const struct option *o, char *buf, size_t size)
{
	const char *const *words = type_words(o->type);
	char min[UNITS_TEXT_MAX];
	char max[UNITS_TEXT_MAX];
	size_t n = 0;

	if (o->type == STRING) {
		snprintf(buf, size, "at most %" PRId64 " bytes", o->max);
		return;
	}
	if (o->type == USER || o->type == GROUP) {
		snprintf(buf, size, o->type == USER ? "a user" : "a group");
		return;
	}
	if (o->type == NAMES) {
		snprintf(buf, size, "users and @groups, or * for everybody");
		return;
	}
	if (o->type == BOOL) {
		snprintf(buf, size, "on or off");
		return;
	}
	if (words == NULL) {
		units_print(type_units(o->type), o->min, min);
		units_print(type_units(o->type), o->max, max);
		snprintf(buf, size, "%s to %s", min, max);
		return;
	}
	for (; *words != NULL && n < size; words++) {
		const char *before = n == 0 ? ""
		    : words[1] == NULL      ? " or "
					    : ", ";

		n += (size_t)snprintf(
		    buf + n, size - n, "%s%s", before, *words);
	}
}

/* Find text among the words of a type. */
static int
word_parse(const char *const *words, const char *text, int64_t *ret_n)
{
	for (int i = 0; words[i] != NULL; i++) {
		if (strcmp(words[i], text) == 0) {
			*ret_n = words == bool_words ? i % 2 : i;
			return 0;
		}
	}
	return -1;
}

static int
string_parse(const struct option *o, const char *text, struct option_value *ret,
    char *err)
{
	size_t n = strlen(text);

	if ((int64_t)n < o->min) {
		snprintf(err, CONF_ERR_MAX,
		    "%s is empty: write a value between quotes", o->name);
		return -1;
	}
	if ((int64_t)n > o->max) {
		snprintf(err, CONF_ERR_MAX,
		    "%s = \"%.200s\" is %zu bytes long: write at most %" PRId64,
		    o->name, text, n, o->max);
		return -1;
	}
	ret->text = text;
	return 0;
}

static int
fail_name(const struct option *o, bool is_group, const char *name, char *err)
{
	snprintf(err, CONF_ERR_MAX,
	    "%s: no %s is called \"%.80s\": create it, or write another name "
	    "or a number",
	    o->name, is_group ? "group" : "user", name);
	return -1;
}

static int
name_parse(const struct option *o, const char *text, struct option_value *ret,
    char *err)
{
	uint32_t id;

	if (text[0] != '\0' &&
	    (o->type == USER ? names_find_user(text, &id) < 0
			     : names_find_group(text, &id) < 0))
		return fail_name(o, o->type == GROUP, text, err);
	ret->text = text;
	return 0;
}

static int
list_parse(const struct option *o, const char *text, struct option_value *ret,
    char *err)
{
	char bad[81];

	if (names_parse(text, &ret->names, bad, sizeof(bad)) == 0)
		return 0;
	if (bad[0] == '@')
		return fail_name(o, true, bad + 1, err);
	if (bad[0] != '\0')
		return fail_name(o, false, bad, err);
	snprintf(err, CONF_ERR_MAX, "out of memory");
	return -1;
}

int
option_parse(const struct option *o, const char *text, struct option_value *ret,
    char *err)
{
	const char *const *words = type_words(o->type);
	char range[128];

	if (o->type == STRING)
		return string_parse(o, text, ret, err);
	if (o->type == USER || o->type == GROUP)
		return name_parse(o, text, ret, err);
	if (o->type == NAMES)
		return list_parse(o, text, ret, err);
	option_print_range(o, range, sizeof(range));
	if (words != NULL) {
		if (word_parse(words, text, &ret->n) == 0)
			return 0;
		snprintf(err, CONF_ERR_MAX, "%s = %.80s: write %s", o->name,
		    text, range);
		return -1;
	}
	if (units_parse(type_units(o->type), text, &ret->n) < 0) {
		snprintf(err, CONF_ERR_MAX, "%s = %.80s: %s", o->name, text,
		    units_hint(type_units(o->type)));
		return -1;
	}
	if (ret->n < o->min || ret->n > o->max) {
		snprintf(err, CONF_ERR_MAX,
		    "%s = %.80s is out of range: write %s", o->name, text,
		    range);
		return -1;
	}
	return 0;
}

/* Write text between quotes, as libconfuse's scanner reads it: a backslash
 * escapes, and ${ would be a variable. */
static char *
quote(const char *text)
{
	size_t size = strlen(text) * 4 + 3;
	char *out = malloc(size);
	size_t n = 0;

	if (out == NULL)
		return NULL;
	out[n++] = '"';
	for (; *text != '\0'; text++) {
		unsigned char ch = (unsigned char)*text;

		if (ch < 0x20 || ch == 0x7f) {
			n += (size_t)snprintf(out + n, size - n, "\\x%02x", ch);
			continue;
		}
		if (ch == '"' || ch == '\\' || ch == '$')
			out[n++] = '\\';
		out[n++] = (char)ch;
	}
	out[n++] = '"';
	out[n] = '\0';
	return out;
}

/* Write "a, @b" as {"a", "@b"}. */
static char *
quote_names(const char *text)
{
	static const char separators[] = ", \t";
	size_t size = strlen(text) * 4 + 3;
	char *out = malloc(size);
	size_t n = 0;

	if (out == NULL)
		return NULL;
	out[n++] = '{';
	while (*(text += strspn(text, separators)) != '\0') {
		size_t name_n = strcspn(text, separators);

		n += (size_t)snprintf(out + n, size - n, "%s\"%.*s\"",
		    n > 1 ? ", " : "", (int)name_n, text);
		text += name_n;
	}
	out[n++] = '}';
	out[n] = '\0';
	return out;
}

int64_t
option_get(const struct option *o, const void *base)
{
	const void *field = (const char *)base + o->offset;

	switch (o->type) {
	case BOOL:
		return __atomic_load_n((const bool *)field, __ATOMIC_RELAXED);
	case COUNT:
	case MODE:
	case LOG_LEVEL:
	case LOG_FORMAT:
	case ACCESS:
	case SYNC:
	case TEMP_STORE:
	case CHECKPOINT:
		return __atomic_load_n(
		    (const unsigned *)field, __ATOMIC_RELAXED);
	case DURATION:
	case BYTES:
		return __atomic_load_n(
		    (const int64_t *)field, __ATOMIC_RELAXED);
	case STRING:
	case USER:
	case GROUP:
	case NAMES:
		break;
	}
	return 0;
}

const struct conf_names *
option_get_names(const struct option *o, const void *base)
{
	const void *field = (const char *)base + o->offset;

	return __atomic_load_n(
	    (struct conf_names *const *)field, __ATOMIC_ACQUIRE);
}

struct conf_names *
option_swap_names(const struct option *o, void *base, struct conf_names *names)
{
	struct conf_names **field = (void *)((char *)base + o->offset);

	return __atomic_exchange_n(field, names, __ATOMIC_ACQ_REL);
}

bool
option_has_default(const struct option *o, const void *base)
{
	const void *field = (const char *)base + o->offset;
	struct option_value v = { 0 };
	char err[CONF_ERR_MAX];

	if (option_is_text(o))
		return strcmp(*(char *const *)field, o->def) == 0;
	if (o->type == NAMES)
		return strcmp(option_get_names(o, base)->text, o->def) == 0;
	return option_parse(o, o->def, &v, err) == 0 &&
	    v.n == option_get(o, base);
}

static char *
print_number(const struct option *o, int64_t value)
{
	char text[UNITS_TEXT_MAX];

	units_print(type_units(o->type), value, text);
	return strdup(text);
}

char *
option_print(const struct option *o, const void *base)
{
	const void *field = (const char *)base + o->offset;

	const char *const *words = type_words(o->type);

	if (option_is_text(o))
		return quote(*(char *const *)field);
	if (o->type == NAMES)
		return quote_names(option_get_names(o, base)->text);
	if (words != NULL)
		return strdup(words[option_get(o, base)]);
	return print_number(o, option_get(o, base));
}

char *
option_print_default(const struct option *o)
{
	if (o->type == NAMES)
		return quote_names(o->def);
	return option_is_text(o) ? quote(o->def) : strdup(o->def);
}

void
option_set_live(const struct option *o, void *base, int64_t n)
{
	void *field = (char *)base + o->offset;

	switch (o->type) {
	case BOOL:
		__atomic_store_n((bool *)field, n != 0, __ATOMIC_RELAXED);
		break;
	case COUNT:
	case MODE:
	case LOG_LEVEL:
	case LOG_FORMAT:
	case ACCESS:
	case SYNC:
	case TEMP_STORE:
	case CHECKPOINT:
		__atomic_store_n(
		    (unsigned *)field, (unsigned)n, __ATOMIC_RELAXED);
		break;
	case DURATION:
	case BYTES:
		__atomic_store_n((int64_t *)field, n, __ATOMIC_RELAXED);
		break;
	case STRING:
	case USER:
	case GROUP:
	case NAMES:
		break;
	}
}

/* Put a copy in the place of what a field owns. */
static int
replace(void *field, void *copy)
{
	if (copy == NULL)
		return -1;
	free(*(void **)field);
	*(void **)field = copy;
	return 0;
}

int
option_store(const struct option *o, void *base, const struct option_value *v)
{
	void *field = (char *)base + o->offset;

	switch (o->type) {
	case BOOL:
		*(bool *)field = v->n != 0;
		break;
	case COUNT:
	case MODE:
	case LOG_LEVEL:
	case LOG_FORMAT:
	case ACCESS:
	case SYNC:
	case TEMP_STORE:
	case CHECKPOINT:
		*(unsigned *)field = (unsigned)v->n;
		break;
	case DURATION:
	case BYTES:
		*(int64_t *)field = v->n;
		break;
	case STRING:
	case USER:
	case GROUP:
		return replace(field, strdup(v->text));
	case NAMES:
		return replace(field, names_copy(v->names));
	}
	return 0;
}

const struct option *
option_next(const struct option *o)
{
	size_t i = o == NULL ? 0 : (size_t)(o - options) + 1;

	return i < OPTION_N ? &options[i] : NULL;
}

const struct option *
option_at(size_t id)
{
	return &options[id];
}

const struct option *
option_find(const char *name)
{
	for (size_t i = 0; i < OPTION_N; i++) {
		if (strcmp(options[i].name, name) == 0)
			return &options[i];
	}
	return NULL;
}

size_t
option_id(const struct option *o)
{
	return (size_t)(o - options);
}

bool
option_is_text(const struct option *o)
{
	return o->type == STRING || o->type == USER || o->type == GROUP;
}

void
option_value_fini(struct option_value *v)
{
	free(v->names);
	v->names = NULL;
}

int
option_copy(const struct option *o, void *to, const void *from)
{
	const void *field = (const char *)from + o->offset;
	struct option_value v = { 0 };

	if (o->type == NAMES)
		return replace((char *)to + o->offset,
		    names_copy(option_get_names(o, from)));
	if (option_is_text(o))
		v.text = *(char *const *)field;
	else
		v.n = option_get(o, from);
	return option_store(o, to, &v);
}

void
option_fini(const struct option *o, void *base)
{
	if (option_is_text(o) || o->type == NAMES)
		free(*(void **)((char *)base + o->offset));
}

bool
option_is_path(const struct option *o)
{
	return o->offset == offsetof(struct conf_db, path) &&
	    o->scope == DATABASE;
}
