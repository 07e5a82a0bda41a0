/* check_values.c - every kind of SQL value, in and out on every road.
 *
 * What SQLite makes of a value in this process is the judge: the daemon must
 * give back, and store, the same type and the same bytes. */
#include <check.h>
#include <float.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/live.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* ThreadSanitizer looks at each byte: minutes for the whole. */
#ifdef __SANITIZE_THREAD__
#define BIG_BYTES ((size_t)1 << 20)
#else
#define BIG_BYTES ((size_t)8 << 20)
#endif

static struct live live;
static sqlite3 *judge;

/* --- Values --------------------------------------------------------------- */

static char big_text[BIG_BYTES];  /* UTF-8 */
static char big_mixed[BIG_BYTES]; /* with NULs and what is not UTF-8 */
static const char no_bytes[1];

/* clang-format off */
#define I(v)   { NULL, SQLPOOL_TYPE_INTEGER, (v), 0, NULL, 0 }
#define R(v)   { NULL, SQLPOOL_TYPE_REAL, 0, (v), NULL, 0 }
#define T(s)   { NULL, SQLPOOL_TYPE_TEXT, 0, 0, (s), sizeof(s) - 1 }
#define B(s)   { NULL, SQLPOOL_TYPE_BLOB, 0, 0, (s), sizeof(s) - 1 }

static const struct sqlpool_value values[] = {
	{ NULL, SQLPOOL_TYPE_NULL, 0, 0, NULL, 0 },
	I(0), I(1), I(-1), I(127), I(128), I(-32), I(-33), I(INT32_MAX),
	I(INT32_MIN), I(UINT32_MAX), I(INT64_C(9007199254740993)),
	I(INT64_MAX), I(INT64_MIN), I(INT64_MIN + 1),
	R(0.0), R(-0.0), R(1.0), R(-1.0), R(0.1), R(1e100), R(DBL_MAX),
	R(-DBL_MAX), R(DBL_MIN), R(5e-324), R(9007199254740993.0),
	R(9223372036854775808.0), R(-9223372036854775808.0),
	R(INFINITY), R(-INFINITY), R(NAN),
	T(""), T("a"), T("12"), T("-1.50"), T(" 7 "), T("1e3"), T("0x10"),
	T("Inf"), T("9223372036854775808"),
	T("\0"), T("a\0b"), T("12\0" "34"), T("\0\0\0"),
	T("\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"), T("\xef\xbb\xbf" "bom"),
	T("\xff"), T("\xc0\x80"), T("\xed\xa0\x80"), T("\xe2\x82"),
	T("\xf4\x90\x80\x80"), T("ok\xff\0no"), T("12\xff"),
	B(""), B("\0"), B("abc"), B("12"), B("\xff\xfe\0\x01"),
	/* the smallest of this size have one column only */
	{ NULL, SQLPOOL_TYPE_TEXT, 0, 0, big_text, BIG_BYTES },
	{ NULL, SQLPOOL_TYPE_TEXT, 0, 0, big_mixed, BIG_BYTES },
	{ NULL, SQLPOOL_TYPE_BLOB, 0, 0, big_mixed, BIG_BYTES },
};
/* clang-format on */

static bool
is_big(const struct sqlpool_value *v)
{
	return v->n > 65536;
}

static void
fill_big(void)
{
	uint32_t x = 1;

	for (size_t i = 0; i < BIG_BYTES; i++) {
		x = x * 1103515245 + 12345;
		big_text[i] = (char)('a' + i % 26);
		big_mixed[i] = (char)(x >> 16);
	}
}

static struct sqlpool_value
make_id(size_t i)
{
	return SQLPOOL_INT((int64_t)i);
}

/* --- Statements ----------------------------------------------------------- */

/* A column of each affinity; a big value goes into one column. */
static const char *const schema[] = {
	"CREATE TABLE small(id INTEGER PRIMARY KEY, n, i INTEGER, r REAL, "
	"t TEXT, x NUMERIC, b BLOB)",
	"CREATE TABLE big(id INTEGER PRIMARY KEY, n)",
};

#define SMALL_COLUMNS                                                   \
	"n, typeof(n), i, typeof(i), r, typeof(r), t, typeof(t), x, "   \
	"typeof(x), b, typeof(b), length(n), hex(n), CAST(n AS TEXT), " \
	"CAST(n AS BLOB)"
#define BIG_COLUMNS "n, typeof(n), length(n)"

struct texts {
	const char *insert, *returning, *select, *remove, *echo;
};

static const struct texts small_texts = {
	"INSERT INTO small VALUES (:id, @v, @v, @v, @v, @v, @v)",
	"INSERT INTO small VALUES (:id, @v, @v, @v, @v, @v, @v) "
	"RETURNING " SMALL_COLUMNS,
	"SELECT " SMALL_COLUMNS " FROM small WHERE id = :id",
	"DELETE FROM small WHERE id = :id",
	"SELECT ?1, typeof(?1), ?1 = ?1, length(?1)",
};
static const struct texts big_texts = {
	"INSERT INTO big VALUES (:id, @v)",
	"INSERT INTO big VALUES (:id, @v) RETURNING " BIG_COLUMNS,
	"SELECT " BIG_COLUMNS " FROM big WHERE id = :id",
	"DELETE FROM big WHERE id = :id",
	"SELECT ?1, typeof(?1), length(?1)",
};

static const struct texts *
get_texts(size_t i)
{
	return is_big(&values[i]) ? &big_texts : &small_texts;
}

/* --- The judge ------------------------------------------------------------ */

static void
bind(sqlite3_stmt *st, int at, const struct sqlpool_value *v)
{
	int rc = SQLITE_OK;

	switch (v->type) {
	case SQLPOOL_TYPE_INTEGER:
		rc = sqlite3_bind_int64(st, at, v->i);
		break;
	case SQLPOOL_TYPE_REAL:
		rc = sqlite3_bind_double(st, at, v->f);
		break;
	case SQLPOOL_TYPE_TEXT:
		rc = sqlite3_bind_text(st, at, v->p, (int)v->n, SQLITE_STATIC);
		break;
	case SQLPOOL_TYPE_BLOB:
		rc = sqlite3_bind_blob(
		    st, at, v->n ? v->p : no_bytes, (int)v->n, SQLITE_STATIC);
		break;
	case SQLPOOL_TYPE_NULL:
		rc = sqlite3_bind_null(st, at);
		break;
	}
	ck_assert_int_eq(rc, SQLITE_OK);
}

static sqlite3_stmt *
prepare(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);

	ck_assert_msg(rc == SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(db));
	return st;
}

static void
open_judge(void)
{
	ck_assert_int_eq(sqlite3_open(":memory:", &judge), SQLITE_OK);
	for (size_t i = 0; i < COUNT(schema); i++)
		ck_assert_int_eq(
		    sqlite3_exec(judge, schema[i], NULL, NULL, NULL),
		    SQLITE_OK);
	for (size_t i = 0; i < COUNT(values); i++) {
		sqlite3_stmt *st = prepare(judge, get_texts(i)->insert);

		sqlite3_bind_int64(st, 1, (int64_t)i);
		bind(st, 2, &values[i]);
		ck_assert_int_eq(sqlite3_step(st), SQLITE_DONE);
		sqlite3_finalize(st);
	}
}

static bool
is_same_real(double a, double b)
{
	uint64_t a_bits, b_bits;

	memcpy(&a_bits, &a, sizeof(a));
	memcpy(&b_bits, &b, sizeof(b));
	return a_bits == b_bits;
}

static bool
is_same_bytes(const void *a, size_t a_n, const void *b, size_t b_n)
{
	return a_n == b_n && (a_n == 0 || memcmp(a, b, a_n) == 0);
}

static bool
is_same(struct sqlpool_result *got, sqlite3_stmt *want, int column)
{
	size_t at = (size_t)column, n;
	const void *p;

	if ((int)sqlpool_column_type(got, at) !=
	    sqlite3_column_type(want, column))
		return false;
	switch (sqlpool_column_type(got, at)) {
	case SQLPOOL_TYPE_INTEGER:
		return sqlpool_column_int64(got, at) ==
		    sqlite3_column_int64(want, column);
	case SQLPOOL_TYPE_REAL:
		return is_same_real(sqlpool_column_double(got, at),
		    sqlite3_column_double(want, column));
	case SQLPOOL_TYPE_TEXT:
	case SQLPOOL_TYPE_BLOB:
		p = sqlpool_column_blob(got, at, &n);
		return is_same_bytes(p, n, sqlite3_column_blob(want, column),
		    (size_t)sqlite3_column_bytes(want, column));
	case SQLPOOL_TYPE_NULL:
		break;
	}
	return true;
}

/* The row a result stands on against the judge's. */
static void
compare_row(
    struct sqlpool_result *got, sqlite3_stmt *want, size_t i, const char *road)
{
	int n = sqlite3_column_count(want);

	ck_assert_int_eq(sqlite3_step(want), SQLITE_ROW);
	ck_assert_uint_eq(sqlpool_column_count(got), (unsigned)n);
	for (int column = 0; column < n; column++)
		ck_assert_msg(is_same(got, want, column),
		    "value %zu, %s: column %d: type %d \"%.40s\", not %d "
		    "\"%.40s\"",
		    i, road, column,
		    (int)sqlpool_column_type(got, (size_t)column),
		    sqlpool_column_text(got, (size_t)column, NULL),
		    sqlite3_column_type(want, column),
		    (const char *)sqlite3_column_text(want, column));
	sqlite3_finalize(want);
}

static void
compare_stored(struct sqlpool_result *got, size_t i, const char *road)
{
	sqlite3_stmt *want = prepare(judge, get_texts(i)->select);

	sqlite3_bind_int64(want, 1, (int64_t)i);
	compare_row(got, want, i, road);
}

/* RETURNING of SQLite 3.40.1 gives whole REALs as INTEGER, so its
 * own is the judge of it. */
static void
compare_returned(struct sqlpool_result *got, size_t i)
{
	sqlite3_stmt *want = prepare(judge, get_texts(i)->remove);

	sqlite3_bind_int64(want, 1, (int64_t)i);
	ck_assert_int_eq(sqlite3_step(want), SQLITE_DONE);
	sqlite3_finalize(want);
	want = prepare(judge, get_texts(i)->returning);
	sqlite3_bind_int64(want, 1, (int64_t)i);
	bind(want, 2, &values[i]);
	compare_row(got, want, i, "returning");
}

static void
compare_echo(struct sqlpool_result *got, size_t i, const char *road)
{
	sqlite3_stmt *want = prepare(judge, get_texts(i)->echo);

	bind(want, 1, &values[i]);
	compare_row(got, want, i, road);
}

/* --- Roads in ------------------------------------------------------------- */

static void
expect_ok(struct sqlpool_conn *conn, int rc, size_t i)
{
	ck_assert_msg(
	    rc >= 0, "value %zu: %s", i, sqlpool_get_error(conn)->message);
}

static void
put_positional(struct sqlpool_conn *conn, size_t i)
{
	expect_ok(conn,
	    sqlpool_exec(conn, get_texts(i)->insert,
		SQLPOOL_VALUES(make_id(i), values[i])),
	    i);
}

static void
put_named(struct sqlpool_conn *conn, size_t i)
{
	expect_ok(conn,
	    sqlpool_exec(conn, get_texts(i)->insert,
		SQLPOOL_VALUES(SQLPOOL_NAMED("v", values[i]),
		    SQLPOOL_NAMED(":id", make_id(i)))),
	    i);
}

static void
put_prepared(struct sqlpool_conn *conn, size_t i)
{
	struct sqlpool_stmt *stmt = NULL;

	expect_ok(conn, sqlpool_prepare(conn, get_texts(i)->insert, &stmt), i);
	ck_assert_uint_eq(sqlpool_stmt_param_count(stmt), 2);
	expect_ok(conn,
	    sqlpool_stmt_exec(stmt, SQLPOOL_VALUES(make_id(i), values[i])), i);
	sqlpool_stmt_free(stmt);
}

static void
put_in_batch(struct sqlpool_conn *conn, size_t i)
{
	struct sqlpool_request *request = sqlpool_request_new();
	struct sqlpool_result *result = NULL;

	ck_assert_int_eq(sqlpool_request_add(request, get_texts(i)->insert,
			     SQLPOOL_VALUES(make_id(i), values[i])),
	    0);
	ck_assert_int_eq(sqlpool_request_add(request, get_texts(i)->select,
			     SQLPOOL_VALUES(make_id(i))),
	    1);
	expect_ok(conn, sqlpool_run_atomic(conn, request, &result), i);
	ck_assert_int_eq(sqlpool_next_result(result), SQLPOOL_ROW);
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
	compare_stored(result, i, "select in a batch");
	sqlpool_result_free(result);
	sqlpool_request_free(request);
}

static void
put_returning(struct sqlpool_conn *conn, size_t i)
{
	struct sqlpool_result *result = NULL;

	expect_ok(conn,
	    sqlpool_query(conn, get_texts(i)->returning,
		SQLPOOL_VALUES(make_id(i), values[i]), &result),
	    i);
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
	compare_returned(result, i);
	sqlpool_result_free(result);
}

static void
put_in_tx(struct sqlpool_conn *conn, size_t i)
{
	struct sqlpool_result *result = NULL;

	expect_ok(conn, sqlpool_begin(conn, SQLPOOL_TX_IMMEDIATE), i);
	put_positional(conn, i);
	expect_ok(conn,
	    sqlpool_query(conn, get_texts(i)->select,
		SQLPOOL_VALUES(make_id(i)), &result),
	    i);
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
	compare_stored(result, i, "select in its transaction");
	sqlpool_result_free(result);
	expect_ok(conn, sqlpool_commit(conn), i);
}

static void (*const roads_in[])(struct sqlpool_conn *, size_t) = {
	put_positional,
	put_named,
	put_prepared,
	put_in_batch,
	put_returning,
	put_in_tx,
};

/* --- Roads out ------------------------------------------------------------ */

static void
get_plainly(struct sqlpool_conn *conn, size_t i, const char *road)
{
	struct sqlpool_result *result = NULL;

	expect_ok(conn,
	    sqlpool_query(conn, get_texts(i)->select,
		SQLPOOL_VALUES(make_id(i)), &result),
	    i);
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
	compare_stored(result, i, road);
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_DONE);
	sqlpool_result_free(result);
}

static void
get_prepared(struct sqlpool_conn *conn, size_t i)
{
	struct sqlpool_result *result = NULL;
	struct sqlpool_stmt *stmt = NULL;

	expect_ok(conn, sqlpool_prepare(conn, get_texts(i)->select, &stmt), i);
	expect_ok(conn,
	    sqlpool_stmt_query(
		stmt, SQLPOOL_VALUES(SQLPOOL_NAMED("id", make_id(i))), &result),
	    i);
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
	compare_stored(result, i, "prepared select");
	sqlpool_result_free(result);
	sqlpool_stmt_free(stmt);
}

/* A read transaction is on a heavy reader. */
static void
get_in_tx(struct sqlpool_conn *conn, size_t i)
{
	expect_ok(conn, sqlpool_begin(conn, SQLPOOL_TX_READ), i);
	get_plainly(conn, i, "select in a read transaction");
	expect_ok(conn, sqlpool_commit(conn), i);
}

static void
get_echo(struct sqlpool_conn *conn, size_t i)
{
	struct sqlpool_result *result = NULL;

	expect_ok(conn,
	    sqlpool_query(conn, get_texts(i)->echo, &values[i], 1, &result), i);
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
	compare_echo(result, i, "echo");
	sqlpool_result_free(result);
}

/* --- The file ------------------------------------------------------------- */

static void
compare_file_row(sqlite3 *db, size_t i)
{
	sqlite3_stmt *got = prepare(db, get_texts(i)->select);
	sqlite3_stmt *want = prepare(judge, get_texts(i)->select);

	sqlite3_bind_int64(got, 1, (int64_t)i);
	sqlite3_bind_int64(want, 1, (int64_t)i);
	ck_assert_int_eq(sqlite3_step(got), SQLITE_ROW);
	ck_assert_int_eq(sqlite3_step(want), SQLITE_ROW);
	for (int c = 0; c < sqlite3_column_count(want); c++) {
		ck_assert_int_eq(
		    sqlite3_column_type(got, c), sqlite3_column_type(want, c));
		ck_assert_msg(is_same_bytes(sqlite3_column_blob(got, c),
				  (size_t)sqlite3_column_bytes(got, c),
				  sqlite3_column_blob(want, c),
				  (size_t)sqlite3_column_bytes(want, c)),
		    "value %zu, column %d of the file differs", i, c);
	}
	sqlite3_finalize(got);
	sqlite3_finalize(want);
}

static void
compare_file(void)
{
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open(live.db_path, &db), SQLITE_OK);
	for (size_t i = 0; i < COUNT(values); i++)
		compare_file_row(db, i);
	sqlite3_close(db);
}

/* --- Tests ---------------------------------------------------------------- */

/* Every other run has no reads on the workers, so that heavy readers make all
 * results. */
START_TEST(values_come_back_and_are_stored_as_sqlite_alone_does)
{
	struct sqlpool_conn *conn;

	live_init(&live);
	fill_big();
	open_judge();
	live_start(&live, _i % 2 ? LIVE_OPTIONS("inline_budget=off") : NULL);
	conn = live_connect(&live, "values");
	for (size_t i = 0; i < COUNT(schema); i++)
		live_exec(conn, schema[i]);
	for (size_t i = 0; i < COUNT(values); i++) {
		roads_in[_i](conn, i);
		get_plainly(conn, i, "select");
		if (!is_big(&values[i]))
			get_prepared(conn, i);
		get_in_tx(conn, i);
		get_echo(conn, i);
	}
	sqlpool_close(conn);
	live_stop(&live);
	compare_file();
	sqlite3_close(judge);
	live_fini(&live);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("values");
	TCase *tc = tcase_create("roads");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc,
	    values_come_back_and_are_stored_as_sqlite_alone_does, 0,
	    (int)COUNT(roads_in));
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
