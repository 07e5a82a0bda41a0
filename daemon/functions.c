/* functions.c - instr, replace, trim, json_patch, printf. */
#include "daemon/functions.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* So much is searched between two looks whether to stop, or four times the
 * needle: each search reads all of that first. */
#define SEARCH_BYTES (64 << 10)

/* Of the lengths of json_patch's documents: 80 ms. */
#define PATCH_PRODUCT_MAX (INT64_C(1) << 31)

/* sqlite.org/limits.html, "Maximum Number Of Arguments On A Function" */
#define ARGS_MAX 127

#define JSON_SUBTYPE 74 /* 'J': json.c */

typedef unsigned char byte;

struct text {
	const byte *p;
	size_t n;
};

/* --- Searching --------------------------------------------------------------- */

/* Find a needle that is not empty in a text from a place on: where it begins, or
 * text.n, in *ret_at.  memmem is linear.  False: it was stopped. */
static bool
search(struct functions *fn, struct text text, size_t from, struct text needle,
    size_t *ret_at)
{
	size_t piece = needle.n > SEARCH_BYTES / 4 ? 4 * needle.n
						   : SEARCH_BYTES;

	*ret_at = text.n;
	while (text.n - from >= needle.n) {
		size_t most = text.n - from;
		size_t n = piece + needle.n - 1;
		const byte *found = memmem(
		    text.p + from, n < most ? n : most, needle.p, needle.n);

		if (found) {
			*ret_at = (size_t)(found - text.p);
			return true;
		}
		if (n >= most)
			return true;
		from += piece;
		if (fn->stop(fn->arg))
			return false;
	}
	return true;
}

static bool
continues_character(byte b)
{
	return (b & 0xc0) == 0x80;
}

static sqlite3_int64
count_characters(struct text text, size_t end)
{
	sqlite3_int64 n = 1; /* the first byte is one, whatever it is */

	for (size_t i = 1; i <= end; i++)
		n += !continues_character(text.p[i]);
	return n;
}

/* What the needle's place is called, counted from 1; 0: it is not there. */
static sqlite3_int64
find_place(struct functions *fn, struct text text, struct text needle,
    bool characters, bool *ret_stopped)
{
	size_t at = 0;

	if (needle.n == 0)
		return 1;
	if (needle.n > text.n)
		return 0;
	/* such a needle is in no text but at its very beginning: the others
	 * are looked for where a character begins */
	if (characters && continues_character(needle.p[0]))
		return memcmp(text.p, needle.p, needle.n) == 0;
	*ret_stopped = !search(fn, text, 0, needle, &at);
	if (*ret_stopped || at == text.n)
		return 0;
	return characters ? count_characters(text, at) : (sqlite3_int64)at + 1;
}

static bool
read_text(sqlite3_value *v, struct text *ret)
{
	ret->p = sqlite3_value_text(v);
	ret->n = (size_t)sqlite3_value_bytes(v);
	return ret->p != NULL;
}

static bool
read_blob(sqlite3_value *v, struct text *ret)
{
	ret->p = sqlite3_value_blob(v);
	ret->n = (size_t)sqlite3_value_bytes(v);
	return ret->p || ret->n == 0;
}

/* Both are values of the function's own, or BLOBs. */
static void
give_place(sqlite3_context *ctx, sqlite3_value *a, sqlite3_value *b, bool blobs)
{
	struct functions *fn = sqlite3_user_data(ctx);
	struct text text, needle;
	bool stopped = false;
	sqlite3_int64 place;

	if (blobs ? !read_blob(a, &text) || !read_blob(b, &needle)
		  : !read_text(a, &text) || !read_text(b, &needle)) {
		sqlite3_result_error_nomem(ctx);
		return;
	}
	place = find_place(fn, text, needle, !blobs, &stopped);
	if (stopped)
		sqlite3_result_error_code(ctx, SQLITE_INTERRUPT);
	else
		sqlite3_result_int64(ctx, place);
}

/* Bytes when both are BLOBs, else characters: then a BLOB is read as text, which
 * would make its argument text for others, too. */
static void
sql_instr(sqlite3_context *ctx, int n, sqlite3_value **v)
{
	int a = sqlite3_value_type(v[0]), b = sqlite3_value_type(v[1]);
	sqlite3_value *copies[2];

	(void)n;
	if (a == SQLITE_NULL || b == SQLITE_NULL)
		return;
	if ((a == SQLITE_BLOB) == (b == SQLITE_BLOB)) {
		give_place(ctx, v[0], v[1], a == SQLITE_BLOB);
		return;
	}
	copies[0] = sqlite3_value_dup(v[0]);
	copies[1] = sqlite3_value_dup(v[1]);
	if (copies[0] && copies[1])
		give_place(ctx, copies[0], copies[1], false);
	else
		sqlite3_result_error_nomem(ctx);
	sqlite3_value_free(copies[0]);
	sqlite3_value_free(copies[1]);
}

/* --- Replacing --------------------------------------------------------------- */

/* Append the text with each needle replaced.  False: it was stopped. */
static bool
put_replaced(struct functions *fn, sqlite3_str *out, struct text text,
    struct text needle, struct text by)
{
	size_t from = 0, at;

	for (unsigned i = 1;; i++) {
		if (!search(fn, text, from, needle, &at))
			return false;
		sqlite3_str_append(
		    out, (const char *)text.p + from, (int)(at - from));
		if (at == text.n || sqlite3_str_errcode(out) != SQLITE_OK)
			return true;
		sqlite3_str_append(out, (const char *)by.p, (int)by.n);
		from = at + needle.n;
		if (i % 4096 == 0 && fn->stop(fn->arg))
			return false;
	}
}

static void
give_string(sqlite3_context *ctx, sqlite3_str *out)
{
	int rc = sqlite3_str_errcode(out);
	int n = sqlite3_str_length(out);
	char *p = sqlite3_str_finish(out);

	if (rc == SQLITE_NOMEM)
		sqlite3_result_error_nomem(ctx);
	else if (rc == SQLITE_TOOBIG)
		sqlite3_result_error_toobig(ctx);
	else if (!p)
		sqlite3_result_text(ctx, "", 0, SQLITE_STATIC);
	else
		sqlite3_result_text(ctx, p, n, sqlite3_free);
	if (rc != SQLITE_OK)
		sqlite3_free(p);
}

static void
sql_replace(sqlite3_context *ctx, int n, sqlite3_value **v)
{
	struct functions *fn = sqlite3_user_data(ctx);
	struct text text, needle, by;
	sqlite3_str *out;

	(void)n;
	if (!read_text(v[0], &text) || !read_text(v[1], &needle))
		return;
	if (needle.p[0] == '\0') { /* empty, or as good as for SQLite */
		sqlite3_result_value(ctx, v[0]);
		return;
	}
	if (!read_text(v[2], &by))
		return;
	out = sqlite3_str_new(sqlite3_context_db_handle(ctx));
	if (put_replaced(fn, out, text, needle, by)) {
		give_string(ctx, out);
		return;
	}
	sqlite3_free(sqlite3_str_finish(out));
	sqlite3_result_error_code(ctx, SQLITE_INTERRUPT);
}

/* --- Trimming ----------------------------------------------------------------- */

/* SQLite compares each character of the text with all of the set; a set that is a
 * text itself takes the product of the two.  So does this, but it can stop. */
struct trim {
	struct functions *fn;
	struct text text;
	const byte *set; /* up to its NUL */
	unsigned compared_n;
	bool stopped;
};

static const byte *
skip_character(const byte *p)
{
	bool is_long = *p++ >= 0xc0;

	while (is_long && continues_character(*p))
		p++;
	return p;
}

/* How many bytes the character of the set has that the text begins with, or ends
 * with; 0: with none of them. */
static size_t
match_one(struct trim *t, bool at_end)
{
	const byte *next;

	for (const byte *p = t->set; *p; p = next) {
		size_t n;

		next = skip_character(p);
		n = (size_t)(next - p);
		if (n <= t->text.n &&
		    memcmp(at_end ? t->text.p + t->text.n - n : t->text.p, p,
			n) == 0)
			return n;
		if (++t->compared_n % SEARCH_BYTES == 0 &&
		    t->fn->stop(t->fn->arg)) {
			t->stopped = true;
			return 0;
		}
	}
	return 0;
}

static void
trim_value(sqlite3_context *ctx, sqlite3_value **v, bool begin, bool end)
{
	struct trim t = { .fn = sqlite3_user_data(ctx) };
	size_t n;

	if (!read_text(v[0], &t.text))
		return;
	t.set = sqlite3_value_text(v[1]);
	if (!t.set)
		return;
	while (begin && t.text.n > 0 && (n = match_one(&t, false)) > 0) {
		t.text.p += n;
		t.text.n -= n;
	}
	while (
	    end && !t.stopped && t.text.n > 0 && (n = match_one(&t, true)) > 0)
		t.text.n -= n;
	if (t.stopped)
		sqlite3_result_error_code(ctx, SQLITE_INTERRUPT);
	else
		sqlite3_result_text(ctx, (const char *)t.text.p, (int)t.text.n,
		    SQLITE_TRANSIENT);
}

static void
sql_trim(sqlite3_context *ctx, int n, sqlite3_value **v)
{
	(void)n;
	trim_value(ctx, v, true, true);
}

static void
sql_ltrim(sqlite3_context *ctx, int n, sqlite3_value **v)
{
	(void)n;
	trim_value(ctx, v, true, false);
}

static void
sql_rtrim(sqlite3_context *ctx, int n, sqlite3_value **v)
{
	(void)n;
	trim_value(ctx, v, false, true);
}

/* --- SQLite's own ------------------------------------------------------------- */

static int
open_plain(struct functions *fn)
{
	if (fn->plain)
		return SQLITE_OK;
	return sqlite3_open_v2(":memory:", &fn->plain,
	    SQLITE_OPEN_READWRITE | SQLITE_OPEN_MEMORY | SQLITE_OPEN_NOMUTEX,
	    NULL);
}

/* "SELECT name(?,?,?)" */
static int
prepare_call(
    struct functions *fn, const char *name, int n, sqlite3_stmt **ret_st)
{
	char sql[32 + 2 * ARGS_MAX];
	size_t at;

	at = (size_t)snprintf(sql, sizeof(sql), "SELECT %s(", name);
	for (int i = 0; i < n && at + 3 < sizeof(sql); i++) {
		sql[at++] = i ? ',' : ' ';
		sql[at++] = '?';
	}
	sql[at++] = ')';
	return sqlite3_prepare_v2(fn->plain, sql, (int)at, ret_st, NULL);
}

static void
give_error(sqlite3_context *ctx, struct functions *fn, int rc)
{
	if (rc == SQLITE_NOMEM)
		sqlite3_result_error_nomem(ctx);
	else if (rc == SQLITE_TOOBIG)
		sqlite3_result_error_toobig(ctx);
	else
		sqlite3_result_error(ctx, sqlite3_errmsg(fn->plain), -1);
}

/* Let SQLite's own function answer; kept is where its statement is kept, or
 * NULL. */
static void
call_plain(sqlite3_context *ctx, const char *name, sqlite3_stmt **kept, int n,
    sqlite3_value **v)
{
	struct functions *fn = sqlite3_user_data(ctx);
	sqlite3_stmt *st = kept ? *kept : NULL;
	int rc = open_plain(fn);

	if (rc == SQLITE_OK && !st)
		rc = prepare_call(fn, name, n, &st);
	if (rc == SQLITE_OK)
		sqlite3_limit(fn->plain, SQLITE_LIMIT_LENGTH,
		    sqlite3_limit(sqlite3_context_db_handle(ctx),
			SQLITE_LIMIT_LENGTH, -1));
	for (int i = 0; i < n && rc == SQLITE_OK; i++)
		rc = sqlite3_bind_value(st, i + 1, v[i]);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		sqlite3_result_value(ctx, sqlite3_column_value(st, 0));
	else
		give_error(ctx, fn, rc);
	if (kept) {
		*kept = st;
		sqlite3_reset(st);
		sqlite3_clear_bindings(st);
	} else {
		sqlite3_finalize(st);
	}
}

static void
sql_json_patch(sqlite3_context *ctx, int n, sqlite3_value **v)
{
	struct functions *fn = sqlite3_user_data(ctx);
	sqlite3_int64 a = sqlite3_value_bytes(v[0]);
	sqlite3_int64 b = sqlite3_value_bytes(v[1]);
	char text[256];

	if (a * b > PATCH_PRODUCT_MAX) {
		snprintf(text, sizeof(text),
		    "json_patch() of %lld and %lld bytes would take too long; "
		    "patch a part of the document, with json_extract() and "
		    "json_set(), or in the program",
		    (long long)a, (long long)b);
		sqlite3_result_error(ctx, text, -1);
		return;
	}
	call_plain(ctx, "json_patch", &fn->patch, n, v);
	sqlite3_result_subtype(ctx, JSON_SUBTYPE);
}

/* Where a format and its arguments are read: printf.c, sqlite3_str_vappendf. */
struct format {
	const char *p;
	int n, next; /* arguments, and the next of them */
	sqlite3_value **v;
};

static sqlite3_int64
take_int(struct format *f)
{
	return f->next < f->n ? sqlite3_value_int64(f->v[f->next++]) : 0;
}

/* A number in the format, or '*' and its argument. */
static sqlite3_int64
read_number(struct format *f)
{
	sqlite3_int64 x = 0;

	if (*f->p == '*') {
		f->p++;
		x = take_int(f);
		return x < 0 ? -x : x;
	}
	for (; *f->p >= '0' && *f->p <= '9'; f->p++)
		x = x < INT32_MAX ? x * 10 + (*f->p - '0') : INT32_MAX;
	return x;
}

/* How many characters the next conversion repeats: %.Nc does, one by one. */
static sqlite3_int64
read_conversion(struct format *f)
{
	sqlite3_int64 precision = 0;

	while (*f->p && strchr("-+ #!0,", *f->p))
		f->p++;
	read_number(f);
	if (*f->p == '.') {
		f->p++;
		precision = read_number(f);
	}
	while (*f->p == 'l')
		f->p++;
	if (*f->p == '\0')
		return 0;
	if (*f->p != '%' && *f->p != 'n')
		take_int(f);
	return *f->p++ == 'c' ? precision : 0;
}

/* A result that is too long is NULL, but SQLite looks for it at each of the
 * characters that it appends. */
static void
sql_printf(sqlite3_context *ctx, int n, sqlite3_value **v)
{
	struct functions *fn = sqlite3_user_data(ctx);
	struct format f = { .n = n, .next = 1, .v = v };
	sqlite3_int64 most = sqlite3_limit(
	    sqlite3_context_db_handle(ctx), SQLITE_LIMIT_LENGTH, -1);

	if (n > 0)
		f.p = (const char *)sqlite3_value_text(v[0]);
	while (f.p && most >= 0 && (f.p = strchr(f.p, '%'))) {
		f.p++;
		most -= read_conversion(&f);
	}
	if (most < 0)
		return;
	call_plain(ctx, "printf",
	    n < FUNCTIONS_PRINTF_MAX ? &fn->printf[n] : NULL, n, v);
}

/* --- All of them --------------------------------------------------------------- */

static const struct {
	const char *name;
	int args_n;
	void (*call)(sqlite3_context *, int, sqlite3_value **);
} functions[] = {
	{ "instr", 2, sql_instr },
	{ "replace", 3, sql_replace },
	{ "trim", 2, sql_trim },
	{ "ltrim", 2, sql_ltrim },
	{ "rtrim", 2, sql_rtrim },
	{ "json_patch", 2, sql_json_patch },
	{ "printf", -1, sql_printf },
	{ "format", -1, sql_printf },
};

int
functions_add(struct functions *fn, sqlite3 *db)
{
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		int rc = sqlite3_create_function_v2(db, functions[i].name,
		    functions[i].args_n,
		    SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, fn,
		    functions[i].call, NULL, NULL, NULL);

		if (rc != SQLITE_OK)
			return rc;
	}
	return SQLITE_OK;
}

void
functions_fini(struct functions *fn)
{
	sqlite3_finalize(fn->patch);
	for (int i = 0; i < FUNCTIONS_PRINTF_MAX; i++)
		sqlite3_finalize(fn->printf[i]);
	sqlite3_close(fn->plain);
}
