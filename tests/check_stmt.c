/* check_stmt.c - prepared statements: the cache, binding, rows, errors. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/stats.h"
#include "proto/error.h"
#include "proto/value.h"
#include "tests/lib/fixture.h"
#include "tests/lib/hex.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char schema[] =
    "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, w);"
    "INSERT INTO t VALUES(1, 'one', 1.5);";

static struct fixture fx;
static struct failure f;
static struct buf bytes; /* of parameters */

static void
setup(void)
{
	fixture_open(&fx, "statement_cache=3", schema);
	failure_init(&f);
}

static void
teardown(void)
{
	failure_fini(&f);
	buf_fini(&bytes);
	fixture_close(&fx);
}

static struct span
as_span(const char *text)
{
	return (struct span){ (const uint8_t *)text, strlen(text) };
}

static struct stmt *
prepare(const char *sql)
{
	struct stmt *st = NULL;
	int rc = stmt_prepare(fx.hot, as_span(sql), &st, &f);

	ck_assert_msg(rc == 0, "%s: %s", sql, f.text ? f.text : "?");
	return st;
}

/* How many statements SQLite had to prepare for it: 0 or 1. */
static uint64_t
count_prepares(const char *sql)
{
	uint64_t before = stats_get(STAT_statements_prepared);

	prepare(sql);
	return stats_get(STAT_statements_prepared) - before;
}

/* Run on a heavy reader. */
static const char *
run(const char *sql)
{
	return fixture_take(
	    &fx, fixture_read(&fx, fixture_exec(&fx, sql, NULL)));
}

/* Run on the writer; tx may be NULL. */
static const char *
write_in(struct tx *tx, const char *sql)
{
	struct request *r = fixture_exec(&fx, sql, NULL);

	if (tx)
		r = fixture_in(tx, r);
	return fixture_take(&fx, fixture_write(&fx, r));
}

static void
write_sql(const char *sql)
{
	ck_assert_int_eq(strncmp(write_in(NULL, sql), "DONE", 4), 0);
}

/* --- The cache ------------------------------------------------------------- */

START_TEST(stmt_is_found_again_by_its_text)
{
	struct stmt *st = prepare("SELECT 1");

	ck_assert_uint_eq(count_prepares("SELECT 1"), 0);
	ck_assert_ptr_eq(prepare("SELECT 1"), st);
	/* to the byte */
	ck_assert_uint_eq(count_prepares("SELECT  1"), 1);
	ck_assert_uint_eq(count_prepares("select 1"), 1);
}
END_TEST

/* As long as each other, or the beginning of each other, and of each length that
 * a hash by words may treat in its own way. */
START_TEST(stmt_is_not_taken_for_one_like_it)
{
	char a[40], b[40], longer[40];

	for (int spaces = 0; spaces < 20; spaces++) {
		snprintf(a, sizeof(a), "SELECT%*s1", spaces + 1, "");
		snprintf(b, sizeof(b), "SELECT%*s2", spaces + 1, "");
		ck_assert_uint_eq(count_prepares(a), 1);
		ck_assert_uint_eq(count_prepares(b), 1);
		snprintf(longer, sizeof(longer), "SELECT%*s11", spaces + 1, "");
		ck_assert_uint_eq(count_prepares(longer), 1);
		ck_assert_uint_eq(count_prepares(a), 0);
		ck_assert_uint_eq(count_prepares(b), 0);
		ck_assert_ptr_ne(prepare(a), prepare(b));
		ck_assert_uint_eq(count_prepares(b), 0);
	}
}
END_TEST

/* The one asked for last is the one that goes. */
START_TEST(stmt_in_a_cache_of_one_is_the_last)
{
	fixture_close(&fx);
	fixture_open(&fx, "statement_cache=1", schema);
	for (int i = 0; i < 3; i++) {
		ck_assert_uint_eq(count_prepares("SELECT 1"), 1);
		ck_assert_uint_eq(count_prepares("SELECT 1"), 0);
		ck_assert_uint_eq(count_prepares("SELECT 2"), 1);
	}
}
END_TEST

START_TEST(stmt_that_was_used_longest_ago_leaves_a_full_cache)
{
	prepare("SELECT 1");
	prepare("SELECT 2");
	prepare("SELECT 3");
	prepare("SELECT 1");
	prepare("SELECT 4");
	ck_assert_uint_eq(count_prepares("SELECT 1"), 0);
	ck_assert_uint_eq(count_prepares("SELECT 3"), 0);
	ck_assert_uint_eq(count_prepares("SELECT 4"), 0);
	ck_assert_uint_eq(count_prepares("SELECT 2"), 1);
	ck_assert_uint_eq(count_prepares("SELECT 1"), 1);
}
END_TEST

START_TEST(stmt_of_which_few_fit_in_memory_are_not_kept)
{
	char *sql = malloc((6 << 20) + 1);

	ck_assert_ptr_nonnull(sql);
	memset(sql, ' ', 6 << 20);
	memcpy(sql, "SELECT 1 --", 11);
	sql[6 << 20] = '\0';
	prepare("SELECT 1");
	prepare(sql);
	ck_assert_uint_eq(count_prepares(sql), 0);
	sql[7] = '2';
	prepare(sql);
	/* now there is too much: the next one drops the oldest */
	ck_assert_uint_eq(count_prepares("SELECT 3"), 1);
	ck_assert_uint_eq(count_prepares("SELECT 1"), 1);
	free(sql);
}
END_TEST

static void
write_long_sql(char *sql, int i)
{
	size_t n = (size_t)sprintf(sql, "SELECT %d", i);

	for (int k = 0; k < 300; k++)
		n += (size_t)sprintf(sql + n, ",abs(?)+%d", k);
}

/* What SQLite takes for a statement counts: a program of 200 KB for each
 * of these, so that 100 do not fit. */
START_TEST(stmt_memory_of_a_cache_is_bounded)
{
	char sql[30000];
	int kept = 0;

	fixture_close(&fx);
	fixture_open(&fx, "statement_cache=1000", schema);
	for (int i = 0; i < 100; i++) {
		write_long_sql(sql, i);
		ck_assert_uint_eq(count_prepares(sql), 1);
	}
	/* the last ones are there */
	do
		write_long_sql(sql, 99 - kept);
	while (count_prepares(sql) == 0 && ++kept < 100);
	ck_assert_int_gt(kept, 10);
	ck_assert_int_lt(kept, 90);
}
END_TEST

/* How often is a statement there already when it is run?  Asking for its road
 * first does not count. */
START_TEST(stmt_counts_what_it_finds)
{
	static const char *const sqls[] = { "SELECT 1", "SELECT 1", "SELECT 2",
		"SELECT 1", "SELECT 3", "SELECT 4", "SELECT 2" };
	uint64_t found = stats_get(STAT_statements_found);
	uint64_t prepared = stats_get(STAT_statements_prepared);

	for (size_t i = 0; i < COUNT(sqls); i++) {
		prepare(sqls[i]);
		stmt_reset(prepare(sqls[i]));
		ck_assert_int_eq(
		    stmt_bind(fx.hot, prepare(sqls[i]), (struct span){ 0 }, &f),
		    0);
	}
	ck_assert_uint_eq(stats_get(STAT_statements_prepared) - prepared, 5);
	ck_assert_uint_eq(stats_get(STAT_statements_found) - found, 2);
}
END_TEST

START_TEST(stmt_that_failed_or_was_empty_is_not_kept)
{
	struct stmt *st = NULL;

	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(
		    stmt_prepare(fx.hot, as_span("SELECT nope"), &st, &f), -1);
	for (int i = 0; i < 2; i++)
		ck_assert_uint_eq(count_prepares("-- nothing"), 1);
}
END_TEST

/* clang-format off */
static const struct part {
	const char *sql;
	enum msg_kind kind;
} parts[] = {
	{ "SELECT 1;", KIND_READ },
	{ " /* ; */ INSERT INTO t(v) VALUES(';');", KIND_WRITE },
	{ ";\n SAVEPOINT a;", KIND_TX },
	{ "CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; SELECT 2; END;", KIND_SCHEMA },
	{ "SELECT v FROM t -- no semicolon", KIND_READ },
};
/* clang-format on */

START_TEST(stmt_is_taken_out_of_a_text_apart_from_the_cache)
{
	const char *text = fixture_format(&fx, "%s%s%s%s%s", parts[0].sql,
	    parts[1].sql, parts[2].sql, parts[3].sql, parts[4].sql);
	size_t at = 0, n;
	struct stmt *st;

	for (size_t i = 0; i < COUNT(parts); i++) {
		ck_assert_int_eq(
		    stmt_prepare_first(fx.hot, text + at, &st, &n, &f), 0);
		ck_assert_ptr_nonnull(st);
		ck_assert_int_eq(stmt_get_kind(st), parts[i].kind);
		ck_assert_uint_eq(n, strlen(parts[i].sql));
		at += n;
		stmt_free(st);
	}
	ck_assert_uint_eq(count_prepares("SELECT 1;"), 1);
	/* nothing is left, or nothing good */
	ck_assert_int_eq(
	    stmt_prepare_first(fx.hot, "; -- nothing", &st, &n, &f), 0);
	ck_assert_ptr_null(st);
	ck_assert_uint_eq(n, 12);
	ck_assert_int_eq(
	    stmt_prepare_first(fx.hot, " SELECT nope; x", &st, &n, &f), -1);
	ck_assert_int_eq(f.offset, 8);
	ck_assert_int_eq(stmt_prepare_first(fx.hot, "DETACH x", &st, &n, &f),
	    -ERR_NOT_ALLOWED);
	ck_assert_uint_eq(stmt_count_blank(as_span(" ;\t;\r\n\fx ")), 7);
	ck_assert_uint_eq(stmt_count_blank(as_span(" ; ")), 3);
	ck_assert_uint_eq(stmt_count_blank(as_span("")), 0);
}
END_TEST

START_TEST(stmt_prepare_anew_replaces_the_cached_one)
{
	uint64_t before = stats_get(STAT_statements_prepared);
	struct stmt *st = prepare("SELECT 1");

	ck_assert_int_eq(
	    stmt_prepare_anew(fx.hot, as_span("SELECT 1"), &st, &f), 0);
	ck_assert_uint_eq(stats_get(STAT_statements_prepared), before + 2);
	ck_assert_ptr_eq(prepare("SELECT 1"), st);
}
END_TEST

START_TEST(stmt_that_was_too_long_gets_another_chance_later)
{
	struct stmt *st = prepare("SELECT 1");
	int n = 0;

	ck_assert(!stmt_take_heavy(fx.hot, st));
	stmt_mark_heavy(st);
	while (stmt_take_heavy(fx.hot, st))
		n++;
	ck_assert_int_eq(n, 64);
	ck_assert(!stmt_take_heavy(fx.hot, st));
}
END_TEST

/* --- The text -------------------------------------------------------------- */

/* clang-format off */
static const struct text_case {
	const char *sql;
	size_t n; /* 0: all of it */
	int code, offset;
	const char *part; /* of the message */
} texts[] = {
	{ .sql = "SELECT 1;" },
	{ .sql = "SELECT 1 ; ;; \n\t\r\f ;" },
	{ .sql = ";;; SELECT 1" },
	{ .sql = "-- first\nSELECT 1 -- last" },
	{ .sql = "/* first */ SELECT 1; /* last */ -- really\n" },
	{ .sql = "SELECT 1; /* not closed" },
	{ .sql = "SELECT ';', '--' AS x; " },
	{ .sql = "SELECT 1; SELECT 2", .code = ERR_MULTIPLE_STATEMENTS, .offset = 10, .part = "more than one statement" },
	{ .sql = "SELECT 1;SELECT 2", .code = ERR_MULTIPLE_STATEMENTS, .offset = 9 },
	{ .sql = "SELECT 1; x", .code = ERR_MULTIPLE_STATEMENTS, .offset = 10 },
	{ .sql = "SELECT 1;; ; \n ATTACH 'x' AS y", .code = ERR_MULTIPLE_STATEMENTS, .offset = 15 },
	{ .sql = "BEGIN; DELETE FROM t; COMMIT", .code = ERR_MULTIPLE_STATEMENTS, .offset = 7 },
	{ .sql = "SELECT 1\0; SELECT 2", .n = 19, .code = ERR_FIELD_RANGE, .offset = -1, .part = "NUL byte" },
	{ .sql = "\0", .n = 1, .code = ERR_FIELD_RANGE, .offset = -1 },
	{ .sql = "SELEKT 1", .code = 1, .offset = 0, .part = "near \"SELEKT\": syntax error" },
	{ .sql = "SELECT nope FROM t", .code = 1, .offset = 7, .part = "no such column: nope" },
	{ .sql = "SELECT id, v FROM t WHERE nope(1)", .code = 1, .offset = 26, .part = "no such function: nope" },
	{ .sql = "SELECT 'not closed", .code = 1, .offset = 7, .part = "unrecognized token" },
	{ .sql = "SELECT (1", .code = 1, .offset = -1, .part = "incomplete input" },
	{ .sql = "SELECT 1 FROM nowhere", .code = 1, .offset = -1, .part = "no such table: nowhere" },
};
/* clang-format on */

START_TEST(stmt_text_holds_one_statement)
{
	const struct text_case *c = &texts[_i];
	struct span sql = { (const uint8_t *)c->sql,
		c->n ? c->n : strlen(c->sql) };
	struct stmt *st = NULL;
	int rc = stmt_prepare(fx.hot, sql, &st, &f);

	ck_assert_msg(rc == -c->code, "%s: %d", c->sql, rc);
	if (rc == 0) {
		ck_assert_ptr_nonnull(st);
		return;
	}
	ck_assert_ptr_null(st);
	ck_assert_int_eq(f.code, c->code);
	ck_assert_int_eq(f.offset, c->offset);
	if (c->part)
		ck_assert_msg(strstr(f.text, c->part) != NULL, "%s", f.text);
}
END_TEST

/* --- Parameters ------------------------------------------------------------ */

/* Valid until the next call. */
static struct span
parse_hex(const char *hex)
{
	buf_reset(&bytes);
	ck_assert_int_eq(hex_parse(hex, &bytes), 0);
	return (struct span){ bytes.p, bytes.n };
}

static void
assert_hex(const struct buf *b, const char *want)
{
	char *got = hex_format(b->p, b->n);

	ck_assert_str_eq(got, want);
	free(got);
}

/* clang-format off */
/* A value on the wire as it is bound, and as it comes back with its type. */
static const struct value_case {
	const char *in, *out, *type;
} values[] = {
	{ "c0", "c0", "null" },
	{ "c2", "00", "integer" },
	{ "c3", "01", "integer" },
	{ "00", "00", "integer" },
	{ "ff", "ff", "integer" },
	{ "d3 0000000000000001", "01", "integer" },
	{ "cf 7fffffffffffffff", "cf 7fffffffffffffff", "integer" },
	{ "d3 8000000000000000", "d3 8000000000000000", "integer" },
	{ "cb 3ff0000000000000", "cb 3ff0000000000000", "real" },
	{ "ca 3f800000", "cb 3ff0000000000000", "real" },
	{ "cb 7ff0000000000000", "cb 7ff0000000000000", "real" },
	{ "cb fff0000000000000", "cb fff0000000000000", "real" },
	{ "cb 7ff8000000000000", "c0", "null" }, /* NaN: sqlite.org/floatingpoint.html */
	{ "a0", "a0", "text" },
	{ "a3 616263", "a3 616263", "text" },
	{ "a3 610062", "a3 610062", "text" },
	{ "a4 f09f9880", "a4 f09f9880", "text" },
	{ "c7 03 01 61ff62", "c7 03 01 61ff62", "text" },
	{ "d4 01 61", "a1 61", "text" },
	{ "c7 00 01", "a0", "text" },
	{ "c4 00", "c4 00", "blob" },
	{ "c4 03 00ff00", "c4 03 00ff00", "blob" },
};
/* clang-format on */

START_TEST(stmt_gives_back_what_was_bound)
{
	const struct value_case *c = &values[_i];
	struct stmt *st = prepare("SELECT ?1, typeof(?1)");
	struct span params = parse_hex(fixture_format(&fx, "91 %s", c->in));
	struct buf want, got;
	char *text;

	buf_init(&want);
	buf_init(&got);
	ck_assert_int_eq(hex_parse("92", &want), 0);
	ck_assert_int_eq(hex_parse(c->out, &want), 0);
	value_put_text(&want, c->type, strlen(c->type));
	text = hex_format(want.p, want.n);
	ck_assert_int_eq(stmt_bind(fx.hot, st, params, &f), 0);
	ck_assert_int_eq(stmt_step(fx.hot, st, &f), 1);
	ck_assert_int_eq(stmt_put_row(fx.hot, st, 1 << 20, &got), 0);
	ck_assert_int_eq(stmt_step(fx.hot, st, &f), 0);
	stmt_reset(st);
	assert_hex(&got, text);
	free(text);
	buf_fini(&want);
	buf_fini(&got);
}
END_TEST

/* clang-format off */
static const struct bind_case {
	const char *sql, *params; /* hex; "": none */
	int code;
	const char *part;
} binds[] = {
	{ "SELECT 1", "", 0, NULL },
	{ "SELECT 1", "90", 0, NULL },
	{ "SELECT 1", "80", 0, NULL },
	{ "SELECT 1", "91 01", ERR_PARAM_COUNT, "the statement has 0 parameters, 1 was given" },
	{ "SELECT ?", "", ERR_PARAM_COUNT, "the statement has 1 parameter, 0 were given" },
	{ "SELECT ?, ?", "91 01", ERR_PARAM_COUNT, "has 2 parameters, 1 was given" },
	{ "SELECT ?, ?", "93 010203", ERR_PARAM_COUNT, "has 2 parameters, 3 were given" },
	{ "SELECT ?5", "95 0102030405", 0, NULL },
	{ "SELECT ?5", "91 05", ERR_PARAM_COUNT, "has 5 parameters" },
	{ "SELECT :a, @b, $c", "93 010203", 0, NULL },
	{ "SELECT :a, @b, $c", "83 a161 01 a162 02 a163 03", 0, NULL },
	{ "SELECT :a, @b, $c", "83 a2 3a61 01 a2 4062 02 a2 2463 03", 0, NULL },
	{ "SELECT :a, :a, :b", "82 a162 01 a161 02", 0, NULL },
	{ "SELECT ?2, ?1", "82 a2 3f31 01 a2 3f32 02", 0, NULL },
	{ "SELECT :a, :b", "81 a161 01", ERR_PARAM_COUNT, "has 2 parameters, 1 was given" },
	{ "SELECT :a", "82 a161 01 a162 02", ERR_PARAM_NAME, "no parameter named \"b\"" },
	{ "SELECT :a", "82 a161 01 a161 02", ERR_PARAM_NAME, "given twice: parameter named \"a\"" },
	{ "SELECT :a, :b", "82 a161 01 a2 3a61 02", ERR_PARAM_NAME, "given twice" },
	{ "SELECT :a", "81 a2 4061 01", ERR_PARAM_NAME, "no parameter named \"@a\"" },
	{ "SELECT :a", "81 a0 01", ERR_PARAM_NAME, "no parameter named \"\"" },
	{ "SELECT :a", "81 01 01", ERR_PARAM_NAME, "must be a string" },
	{ "SELECT ?", "91 90", ERR_PARAM_TYPE, "parameter 1 is no SQL value" },
	{ "SELECT ?, ?", "92 01 80", ERR_PARAM_TYPE, "parameter 2 is no SQL value" },
	{ "SELECT ?", "91 cf 8000000000000000", ERR_PARAM_TYPE, "over 2^63-1" },
	{ "SELECT ?", "91 d4 02 61", ERR_PARAM_TYPE, "no SQL value" },
	{ "SELECT ?", "91 a1 ff", ERR_PARAM_TYPE, "not valid UTF-8" },
	{ "SELECT ?", "91 a3 eda080", ERR_PARAM_TYPE, "not valid UTF-8" },
	{ "SELECT :a", "81 a161 90", ERR_PARAM_TYPE, "no SQL value" },
};
/* clang-format on */

START_TEST(stmt_takes_the_parameters_that_it_has)
{
	const struct bind_case *c = &binds[_i];
	struct stmt *st = prepare(c->sql);
	int rc = stmt_bind(fx.hot, st, parse_hex(c->params), &f);

	stmt_reset(st);
	ck_assert_msg(rc == -c->code, "%s: %d %s", c->sql, rc, f.text);
	if (c->part)
		ck_assert_msg(strstr(f.text, c->part) != NULL, "%s", f.text);
	/* a failure leaves nothing behind */
	ck_assert_int_eq(strncmp(run("SELECT 1"), "DONE", 4), 0);
}
END_TEST

START_TEST(stmt_binds_by_name_what_belongs_to_the_name)
{
	struct stmt *st = prepare("SELECT $b, :a, @c");
	struct buf got;

	buf_init(&got);
	ck_assert_int_eq(stmt_bind(fx.hot, st,
			     parse_hex("83 a161 01 a2 2462 02 a163 03"), &f),
	    0);
	ck_assert_int_eq(stmt_step(fx.hot, st, &f), 1);
	ck_assert_int_eq(stmt_put_row(fx.hot, st, 1 << 20, &got), 0);
	stmt_reset(st);
	ck_assert_uint_eq(got.n, 4);
	ck_assert_int_eq(memcmp(got.p, "\x93\x02\x01\x03", 4), 0);
	buf_fini(&got);
}
END_TEST

START_TEST(stmt_keeps_megabytes_as_they_are)
{
	size_t n = 8 << 20;
	uint8_t *blob = malloc(n);
	struct buf params, got;
	struct stmt *st = prepare("SELECT ?");

	ck_assert_ptr_nonnull(blob);
	for (size_t i = 0; i < n; i++)
		blob[i] = (uint8_t)(i * 31 + i / 256);
	buf_init(&params);
	buf_init(&got);
	value_put_array(&params, 1);
	value_put_blob(&params, blob, n);
	ck_assert_int_eq(
	    stmt_bind(fx.hot, st, (struct span){ params.p, params.n }, &f), 0);
	ck_assert_int_eq(stmt_step(fx.hot, st, &f), 1);
	ck_assert_int_eq(stmt_put_row(fx.hot, st, 16 << 20, &got), 0);
	stmt_reset(st);
	ck_assert_uint_eq(got.n, params.n);
	ck_assert_int_eq(memcmp(got.p, params.p, got.n), 0);
	buf_fini(&params);
	buf_fini(&got);
	free(blob);
}
END_TEST

/* A row of many large values must not be made before its size is looked at. */
START_TEST(stmt_stops_at_the_value_that_makes_a_row_too_long)
{
	struct stmt *st = prepare("SELECT zeroblob(600), zeroblob(300), 1, "
				  "zeroblob(200), zeroblob(100)");
	struct buf got;

	buf_init(&got);
	ck_assert_int_eq(stmt_step(fx.hot, st, &f), 1);
	ck_assert_int_eq(
	    stmt_put_row(fx.hot, st, 1000, &got), -ERR_ROW_TOO_LARGE);
	ck_assert_uint_gt(got.n, 900);
	ck_assert_uint_lt(got.n, 1000);
	buf_reset(&got);
	ck_assert_int_eq(
	    stmt_put_row(fx.hot, st, 599, &got), -ERR_ROW_TOO_LARGE);
	ck_assert_uint_lt(got.n, 10);
	buf_reset(&got);
	ck_assert_int_eq(stmt_put_row(fx.hot, st, 2000, &got), 0);
	stmt_reset(st);
	buf_fini(&got);
}
END_TEST

START_TEST(stmt_tells_its_names_and_types)
{
	struct stmt *st = prepare("SELECT id, v AS x, w, 1 + 1 FROM t"
				  " WHERE id = :a OR id = ?3 OR id = ?");
	struct buf b;

	buf_init(&b);
	stmt_put_columns(st, &b);
	stmt_put_decltypes(st, &b);
	stmt_put_param_names(st, &b);
	ck_assert_uint_eq(stmt_get_columns_n(st), 4);
	ck_assert_uint_eq(stmt_get_params_n(st), 4);
	assert_hex(&b,
	    "94a26964a178a177a531202b2031"     /* id x w "1 + 1" */
	    "94a7494e5445474552a454455854c0c0" /* INTEGER TEXT nil nil */
	    "94a23a61c0a23f33c0");             /* :a nil ?3 nil */
	buf_fini(&b);
}
END_TEST

/* --- The schema changes ---------------------------------------------------- */

/* Run it twice: the names are kept from the first time. */
static void
run_twice(const char *sql, const char *want)
{
	ck_assert_str_eq(run(sql), want);
	ck_assert_str_eq(run(sql), want);
}

START_TEST(stmt_shows_the_columns_of_now)
{
	static const char sql[] = "SELECT * FROM t";

	run_twice(sql, "DONE columns=['id','v','w'] rows=[[1,'one',1.5]]");
	write_sql("ALTER TABLE t ADD COLUMN more DEFAULT 'x'");
	run_twice(
	    sql, "DONE columns=['id','v','w','more'] rows=[[1,'one',1.5,'x']]");
	write_sql("ALTER TABLE t DROP COLUMN w");
	write_sql("ALTER TABLE t DROP COLUMN more");
	run_twice(sql, "DONE columns=['id','v'] rows=[[1,'one']]");
	write_sql("DELETE FROM t");
	write_sql("ALTER TABLE t RENAME COLUMN v TO n");
	run_twice(sql, "DONE columns=['id','n'] rows=[]");
}
END_TEST

/* On the connection that changes the schema, and undoes that. */
START_TEST(stmt_that_writes_shows_the_columns_of_now)
{
	static const char sql[] = "DELETE FROM t WHERE id = 0 RETURNING *";
	struct tx *tx = fixture_begin(&fx, TX_MODE_IMMEDIATE);

	for (int i = 0; i < 2; i++)
		ck_assert_str_eq(
		    write_in(NULL, sql), "DONE columns=['id','v','w'] rows=[]");
	write_in(tx, "ALTER TABLE t RENAME COLUMN v TO n");
	for (int i = 0; i < 2; i++)
		ck_assert_str_eq(write_in(tx, sql),
		    "DONE columns=['id','n','w'] rows=[] tx_state=3");
	fixture_take(
	    &fx, fixture_write(&fx, fixture_in(tx, fixture_end(&fx, false))));
	tx_unref(tx);
	for (int i = 0; i < 2; i++)
		ck_assert_str_eq(
		    write_in(NULL, sql), "DONE columns=['id','v','w'] rows=[]");
}
END_TEST

/* Of which so many are not kept. */
START_TEST(stmt_shows_long_names_of_columns)
{
	char name[1100];
	const char *sql, *want;

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	for (size_t n = sizeof(name) - 1; n > 900; n -= 10) {
		name[n] = '\0';
		sql = fixture_format(
		    &fx, "SELECT 1 AS %s, w AS y FROM t", name);
		want = fixture_format(
		    &fx, "DONE columns=['%s','y'] rows=[[1,1.5]]", name);
		run_twice(sql, want);
	}
}
END_TEST

START_TEST(stmt_survives_its_table)
{
	static const char sql[] = "SELECT v FROM t";

	run(sql);
	write_sql("DROP TABLE t");
	ck_assert_str_eq(
	    run(sql), "ERROR name=SQLITE_ERROR message='no such table: t'");
	write_sql("CREATE TABLE t(v)");
	ck_assert_str_eq(run(sql), "DONE columns=['v'] rows=[]");
	write_sql("DROP TABLE t");
	write_sql("CREATE VIEW t AS SELECT 5 AS v");
	ck_assert_str_eq(run(sql), "DONE columns=['v'] rows=[[5]]");
}
END_TEST

/* SQLite itself looks at the file again only when a table or a column is missing. */
static const struct outdated_case {
	const char *before; /* on the writer, after the schema was read */
	const char *sql;
	const char *want;
} outdated_cases[] = {
	{ "ALTER TABLE t ADD COLUMN x",
	    "SELECT 1, 2, 3, 4 UNION ALL SELECT * FROM t",
	    "DONE columns=['1','2','3','4'] "
	    "rows=[[1,2,3,4],[1,'one',1.5,null]]" },
	{ "CREATE INDEX i ON t(v)",
	    "EXPLAIN QUERY PLAN SELECT v FROM t WHERE v = 'a'",
	    "DONE columns=['id','parent','notused','detail'] rows=[[2,0,0,"
	    "'SEARCH t USING COVERING INDEX i (v=?)']]" },
	{ "CREATE TABLE u(a UNIQUE)", "PRAGMA index_list(u)",
	    "DONE columns=['seq','name','unique','origin','partial'] "
	    "rows=[[0,'sqlite_autoindex_u_1',1,'u',0]]" },
	{ "CREATE TABLE u(a UNIQUE)", "SELECT name FROM pragma_index_list('u')",
	    "DONE columns=['name'] rows=[['sqlite_autoindex_u_1']]" },
	{ "CREATE TABLE u(a REFERENCES t)", "PRAGMA foreign_key_list(u)",
	    "DONE columns=['id','seq','table','from','to','on_update',"
	    "'on_delete','match'] rows=[[0,0,'t','a',null,'NO ACTION',"
	    "'NO ACTION','NONE']]" },
};

/* Whether it was prepared before the change or not. */
START_TEST(stmt_is_judged_by_the_schema_of_now)
{
	const struct outdated_case *o = &outdated_cases[_i / 2];

	run("SELECT * FROM t");
	if (_i % 2)
		run(o->sql);
	write_sql(o->before);
	ck_assert_str_eq(run(o->sql), o->want);
	ck_assert_str_eq(run(o->sql), o->want);
}
END_TEST

/* On a connection that only chooses its road. */
START_TEST(stmt_for_columns_that_are_new_can_be_prepared)
{
	prepare("INSERT INTO t VALUES(2, 'two', 2.5)");
	write_sql("ALTER TABLE t ADD COLUMN x");
	prepare("INSERT INTO t VALUES(2, 'two', 2.5, 'x')");
	write_sql("CREATE UNIQUE INDEX i ON t(v)");
	prepare("INSERT INTO t(v) VALUES('two') ON CONFLICT(v) DO NOTHING");
	write_sql("CREATE VIEW w AS SELECT v FROM t");
	prepare("SELECT * FROM w");
	write_sql("CREATE TRIGGER g INSTEAD OF INSERT ON w BEGIN "
		  "INSERT INTO t(v) VALUES(new.v); END");
	prepare("INSERT INTO w VALUES('three')");
}
END_TEST

/* As with SQLite: what others commit meanwhile is no reason to refuse a write. */
START_TEST(stmt_that_is_judged_anew_takes_no_snapshot)
{
	static const char *const rows[][2] = {
		{ "SELECT 1", "DONE columns=['1'] rows=[[1]] tx_state=1" },
		{ "SELECT nope",
		    "ERROR tx_state=1 name=SQLITE_ERROR "
		    "message='no such column: nope' offset=7" },
		{ "EXPLAIN QUERY PLAN SELECT v FROM t WHERE v = 'a'",
		    "DONE columns=['id','parent','notused','detail'] "
		    "rows=[[2,0,0,'SEARCH t USING COVERING INDEX i (v=?)']] "
		    "tx_state=1" },
		{ "SELECT id FROM t",
		    "DONE columns=['id'] rows=[[1]] tx_state=2" },
	};
	struct tx *tx = fixture_begin(&fx, TX_MODE_DEFERRED);

	run("SELECT * FROM t");
	write_sql("CREATE INDEX i ON t(v)");
	for (size_t i = 0; i < COUNT(rows); i++)
		ck_assert_str_eq(
		    fixture_take(&fx,
			fixture_read(&fx,
			    fixture_in(
				tx, fixture_exec(&fx, rows[i][0], NULL)))),
		    rows[i][1]);
	fixture_take(
	    &fx, fixture_read(&fx, fixture_in(tx, fixture_end(&fx, false))));
	tx_unref(tx);
}
END_TEST

static const char *
describe(const char *sql)
{
	struct request *r = fixture_ask(&fx,
	    json_pack("{s:{s:s, s:i}, s:{s:s}}", "head", "type", "DESCRIBE",
		"id", 1, "body", "sql", sql));
	const char *text;
	struct buf b;

	buf_init(&b);
	exec_describe(fx.hot, r, &b);
	text = fixture_say(&fx, b.p, b.n);
	buf_fini(&b);
	request_free(r);
	return text;
}

START_TEST(stmt_is_described_as_it_is_now)
{
	static const char sql[] = "SELECT * FROM t WHERE id = ?";

	ck_assert_str_eq(describe(sql),
	    "OK columns=['id','v','w'] decltypes=['INTEGER','TEXT',null] "
	    "params_n=1 param_names=[null] kind=1");
	write_sql("ALTER TABLE t ADD COLUMN more BLOB");
	ck_assert_str_eq(describe(sql),
	    "OK columns=['id','v','w','more'] "
	    "decltypes=['INTEGER','TEXT',null,'BLOB'] params_n=1 "
	    "param_names=[null] kind=1");
	ck_assert_str_eq(describe("DELETE FROM t"),
	    "OK columns=[] decltypes=[] params_n=0 param_names=[] kind=2");
	ck_assert_str_eq(describe("-- nothing"), "OK kind=0");
	ck_assert_str_eq(describe("SELECT nope"),
	    "ERROR name=SQLITE_ERROR message='no such column: nope' offset=7");
}
END_TEST

START_TEST(stmt_whose_description_does_not_fit_says_so)
{
	char name[70001];
	struct request *r;
	struct buf b;

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	r = fixture_ask(&fx,
	    json_pack("{s:{s:s, s:i}, s:{s:s}}", "head", "type", "DESCRIBE",
		"id", 1, "body", "sql",
		fixture_format(&fx, "SELECT 1 AS %s", name)));
	r->max_frame_bytes = 65536;
	buf_init(&b);
	exec_describe(fx.hot, r, &b);
	ck_assert_str_eq(fixture_say(&fx, b.p, b.n),
	    "ERROR name=RESULT_TOO_LARGE "
	    "message='the description does not fit in a frame'");
	buf_fini(&b);
	request_free(r);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("stmt");
	TCase *tc = tcase_create("stmt");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, stmt_is_found_again_by_its_text);
	tcase_add_test(tc, stmt_is_not_taken_for_one_like_it);
	tcase_add_test(tc, stmt_in_a_cache_of_one_is_the_last);
	tcase_add_test(tc, stmt_that_was_used_longest_ago_leaves_a_full_cache);
	tcase_add_test(tc, stmt_of_which_few_fit_in_memory_are_not_kept);
	tcase_add_test(tc, stmt_memory_of_a_cache_is_bounded);
	tcase_add_test(tc, stmt_counts_what_it_finds);
	tcase_add_test(tc, stmt_that_failed_or_was_empty_is_not_kept);
	tcase_add_test(tc, stmt_is_taken_out_of_a_text_apart_from_the_cache);
	tcase_add_test(tc, stmt_prepare_anew_replaces_the_cached_one);
	tcase_add_test(tc, stmt_that_was_too_long_gets_another_chance_later);
	tcase_add_loop_test(
	    tc, stmt_text_holds_one_statement, 0, (int)COUNT(texts));
	tcase_add_loop_test(
	    tc, stmt_gives_back_what_was_bound, 0, (int)COUNT(values));
	tcase_add_loop_test(
	    tc, stmt_takes_the_parameters_that_it_has, 0, (int)COUNT(binds));
	tcase_add_test(tc, stmt_binds_by_name_what_belongs_to_the_name);
	tcase_add_test(tc, stmt_keeps_megabytes_as_they_are);
	tcase_add_test(tc, stmt_stops_at_the_value_that_makes_a_row_too_long);
	tcase_add_test(tc, stmt_tells_its_names_and_types);
	tcase_add_test(tc, stmt_shows_the_columns_of_now);
	tcase_add_test(tc, stmt_that_writes_shows_the_columns_of_now);
	tcase_add_test(tc, stmt_shows_long_names_of_columns);
	tcase_add_test(tc, stmt_survives_its_table);
	tcase_add_loop_test(tc, stmt_is_judged_by_the_schema_of_now, 0,
	    2 * COUNT(outdated_cases));
	tcase_add_test(tc, stmt_for_columns_that_are_new_can_be_prepared);
	tcase_add_test(tc, stmt_that_is_judged_anew_takes_no_snapshot);
	tcase_add_test(tc, stmt_is_described_as_it_is_now);
	tcase_add_test(tc, stmt_whose_description_does_not_fit_says_so);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
