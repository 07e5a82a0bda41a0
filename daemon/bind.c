/* bind.c - the values of parameters. */
#include "daemon/bind.h"

#include <stdlib.h>
#include <string.h>

#include "proto/error.h"
#include "proto/value.h"

static int
bind_text(sqlite3_stmt *s, int i, struct span text, bool ext, struct failure *f)
{
	if (!ext && !value_is_utf8(text.p, text.n))
		return failure_set(f, ERR_PARAM_TYPE,
		    "parameter %d is a string that is not valid UTF-8; send "
		    "such TEXT as ext type %d, or as binary",
		    i, VALUE_EXT_TEXT);
	return sqlite3_bind_text64(
	    s, i, (const char *)text.p, text.n, SQLITE_STATIC, SQLITE_UTF8);
}

/* Bind one value; returns an SQLite code, or a negative one of ours. */
static int
bind_value(sqlite3_stmt *s, int i, struct span *cur, struct failure *f)
{
	struct value v;

	value_read(cur, &v);
	switch (v.kind) {
	case VALUE_NULL:
		return sqlite3_bind_null(s, i);
	case VALUE_BOOL:
	case VALUE_INT:
		return sqlite3_bind_int64(s, i, v.i);
	case VALUE_REAL:
		return sqlite3_bind_double(s, i, v.f);
	case VALUE_TEXT:
		return bind_text(s, i, v.s, v.ext, f);
	case VALUE_BLOB:
		return sqlite3_bind_blob64(s, i, v.s.p, v.s.n, SQLITE_STATIC);
	case VALUE_BIG_UINT:
		return failure_set(f, ERR_PARAM_TYPE,
		    "parameter %d is over 2^63-1, SQLite's largest integer; "
		    "send it as text or as a float",
		    i);
	case VALUE_ARRAY:
	case VALUE_MAP:
	case VALUE_EXT:
		break;
	}
	return failure_set(f, ERR_PARAM_TYPE,
	    "parameter %d is no SQL value; send nil, an integer, a float, a "
	    "string or binary (JSON goes as a string)",
	    i);
}

static int
fail_count(struct failure *f, int want, uint32_t got)
{
	return failure_set(f, ERR_PARAM_COUNT,
	    "the statement has %d parameter%s, %u %s given", want,
	    want == 1 ? "" : "s", got, got == 1 ? "was" : "were");
}

static int
finish_bind(struct dbconn *c, int rc, struct failure *f)
{
	if (rc > 0)
		return dbconn_fail(c, rc, f);
	return rc;
}

static int
bind_array(struct dbconn *c, sqlite3_stmt *s, struct span cur, uint32_t n,
    struct failure *f)
{
	int want = sqlite3_bind_parameter_count(s);

	if (n != (uint32_t)want)
		return fail_count(f, want, n);
	for (int i = 1; i <= want; i++) {
		int rc = bind_value(s, i, &cur, f);

		if (rc != 0)
			return finish_bind(c, rc, f);
	}
	return 0;
}

/* Find the parameter by its name as given, else with each prefix. */
static int
find_param(sqlite3_stmt *s, struct span name)
{
	static const char prefixes[] = ":@$";
	char full[256];
	int i;

	if (name.n == 0 || name.n + 2 > sizeof(full))
		return 0;
	memcpy(full + 1, name.p, name.n);
	full[name.n + 1] = '\0';
	i = sqlite3_bind_parameter_index(s, full + 1);
	for (const char *p = prefixes; i == 0 && *p; p++) {
		full[0] = *p;
		i = sqlite3_bind_parameter_index(s, full);
	}
	return i;
}

static int
bind_pairs(struct dbconn *c, sqlite3_stmt *s, struct span cur, uint8_t *seen,
    struct failure *f)
{
	struct value head, name;

	value_read(&cur, &head);
	for (uint32_t k = 0; k < head.count; k++) {
		int i, rc;

		value_read(&cur, &name);
		if (name.kind != VALUE_TEXT)
			return failure_set(f, ERR_PARAM_NAME,
			    "a parameter's name must be a string");
		i = find_param(s, name.s);
		if (i == 0 || seen[i]++)
			return failure_set(f, ERR_PARAM_NAME,
			    "%s parameter named \"%.*s\"",
			    i ? "given twice:" : "the statement has no",
			    (int)name.s.n, (const char *)name.s.p);
		rc = bind_value(s, i, &cur, f);
		if (rc != 0)
			return finish_bind(c, rc, f);
	}
	return 0;
}

static int
bind_map(struct dbconn *c, sqlite3_stmt *s, struct span map, uint32_t n,
    struct failure *f)
{
	int want = sqlite3_bind_parameter_count(s);
	uint8_t *seen = calloc((size_t)want + 1, 1);
	int rc;

	if (!seen)
		return failure_set(f, ERR_NO_MEMORY, "out of memory");
	rc = bind_pairs(c, s, map, seen, f);
	if (rc == 0 && n != (uint32_t)want)
		rc = fail_count(f, want, n);
	free(seen);
	return rc;
}

int
bind_params(
    struct dbconn *c, sqlite3_stmt *s, struct span params, struct failure *f)
{
	struct span cur = params;
	struct value head;
	int want = sqlite3_bind_parameter_count(s);

	if (params.n == 0)
		return want == 0 ? 0 : fail_count(f, want, 0);
	value_read(&cur, &head);
	if (head.kind == VALUE_MAP)
		return bind_map(c, s, params, head.count, f);
	return bind_array(c, s, cur, head.count, f);
}
