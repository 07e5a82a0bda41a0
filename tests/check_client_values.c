/* check_client_values.c - libsqlpool-client: values there and back, and the
 * conversions of the getters. */
#include <check.h>
#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/clientscript.h"

/* ---- values ---- */

START_TEST(values_come_back_the_same)
{
	struct sqlpool_conn *conn = clientscript_open(
	    clientscript_play_echo, 5000);
	struct sqlpool_result *result;
	size_t n;

	ck_assert_int_eq(sqlpool_query(conn, "x",
			     SQLPOOL_VALUES(SQLPOOL_NULL,
				 SQLPOOL_INT(INT64_MIN), SQLPOOL_INT(INT64_MAX),
				 SQLPOOL_REAL(1.0), SQLPOOL_REAL(-INFINITY),
				 SQLPOOL_TEXT(""), SQLPOOL_TEXT_N("a\0b", 3),
				 SQLPOOL_TEXT("\xff\xfe"), SQLPOOL_BLOB("", 0),
				 SQLPOOL_BLOB("\0\xce", 2), SQLPOOL_TEXT(NULL)),
			     &result),
	    0);
	for (int row = 0; row < 2; row++) {
		ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
		ck_assert_int_eq(
		    sqlpool_column_type(result, 0), SQLPOOL_TYPE_NULL);
		ck_assert(sqlpool_column_int64(result, 1) == INT64_MIN);
		ck_assert(sqlpool_column_int64(result, 2) == INT64_MAX);
		ck_assert_int_eq(
		    sqlpool_column_type(result, 3), SQLPOOL_TYPE_REAL);
		ck_assert(sqlpool_column_double(result, 3) == 1.0);
		ck_assert(sqlpool_column_double(result, 4) == -INFINITY);
		/* in an order that overwrites what is still to be read */
		ck_assert_str_eq(
		    sqlpool_column_text(result, 7, &n), "\xff\xfe");
		ck_assert_uint_eq(n, 2);
		ck_assert_str_eq(sqlpool_column_text(result, 5, &n), "");
		ck_assert_uint_eq(n, 0);
		ck_assert_mem_eq(sqlpool_column_text(result, 6, &n), "a\0b", 4);
		ck_assert_uint_eq(n, 3);
		ck_assert_int_eq(
		    sqlpool_column_type(result, 7), SQLPOOL_TYPE_TEXT);
		ck_assert_int_eq(
		    sqlpool_column_type(result, 8), SQLPOOL_TYPE_BLOB);
		ck_assert_ptr_nonnull(sqlpool_column_blob(result, 8, &n));
		ck_assert_uint_eq(n, 0);
		ck_assert_mem_eq(
		    sqlpool_column_blob(result, 9, &n), "\0\xce", 2);
		ck_assert_uint_eq(n, 2);
		ck_assert_int_eq(
		    sqlpool_column_type(result, 10), SQLPOOL_TYPE_NULL);
		ck_assert_ptr_null(sqlpool_column_text(result, 10, &n));
		ck_assert_uint_eq(n, 0);
	}
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_DONE);
	sqlpool_result_free(result);
	clientscript_close(conn);
}
END_TEST

START_TEST(the_last_columns_text_does_not_harm_the_next_row)
{
	struct sqlpool_conn *conn = clientscript_open(
	    clientscript_play_echo, 5000);
	struct sqlpool_result *result;

	ck_assert_int_eq(
	    sqlpool_query(conn, "x",
		SQLPOOL_VALUES(SQLPOOL_INT(3), SQLPOOL_TEXT("abc")), &result),
	    0);
	for (int row = 0; row < 2; row++) {
		ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
		ck_assert_str_eq(sqlpool_column_text(result, 1, NULL), "abc");
		ck_assert_str_eq(sqlpool_column_text(result, 1, NULL), "abc");
		ck_assert_str_eq(sqlpool_column_text(result, 0, NULL), "3");
		ck_assert_str_eq(sqlpool_column_name(result, 1), "column");
	}
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_DONE);
	sqlpool_result_free(result);
	clientscript_close(conn);
}
END_TEST

START_TEST(eight_mebibytes_go_through)
{
	struct sqlpool_conn *conn = clientscript_open(
	    clientscript_play_echo, 20000);
	size_t size = (size_t)7 << 20, n;
	char *p = malloc(size);
	struct sqlpool_result *result;

	ck_assert_ptr_nonnull(p);
	for (size_t i = 0; i < size; i++)
		p[i] = (char)(i * 7);
	ck_assert_int_eq(sqlpool_query(conn, "x",
			     SQLPOOL_VALUES(SQLPOOL_BLOB(p, size)), &result),
	    0);
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
	ck_assert(memcmp(sqlpool_column_blob(result, 0, &n), p, size) == 0);
	ck_assert_uint_eq(n, size);
	sqlpool_result_free(result);
	free(p);
	clientscript_close(conn);
}
END_TEST

START_TEST(a_request_over_the_daemons_limit_is_not_sent)
{
	struct sqlpool_conn *conn = clientscript_open(
	    clientscript_play_echo, 5000);
	size_t size = (size_t)16 << 20;
	char *p = calloc(1, size);

	ck_assert_int_eq(
	    sqlpool_exec(conn, "x", SQLPOOL_VALUES(SQLPOOL_BLOB(p, size))),
	    -SQLPOOL_ERR_FRAME_TOO_LONG);
	clientscript_assert_error(sqlpool_get_error(conn),
	    SQLPOOL_ERR_FRAME_TOO_LONG, SQLPOOL_NOT_APPLIED);
	ck_assert_int_eq(
	    sqlpool_exec(conn, "x", SQLPOOL_VALUES(SQLPOOL_INT(1))), 0);
	free(p);
	clientscript_close(conn);
}
END_TEST

START_TEST(named_values_go_as_a_map)
{
	struct sqlpool_conn *conn = clientscript_open(
	    clientscript_play_echo, 5000);
	struct sqlpool_result *result;

	ck_assert_int_eq(sqlpool_query(conn, "x",
			     SQLPOOL_VALUES(SQLPOOL_NAMED(":a", SQLPOOL_INT(5)),
				 SQLPOOL_NAMED("b", SQLPOOL_TEXT("t"))),
			     &result),
	    0);
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
	ck_assert_int_eq(sqlpool_column_int64(result, 0), 5);
	ck_assert_str_eq(sqlpool_column_text(result, 1, NULL), "t");
	sqlpool_result_free(result);
	ck_assert_int_eq(sqlpool_exec(conn, "x",
			     SQLPOOL_VALUES(SQLPOOL_INT(1),
				 SQLPOOL_NAMED("b", SQLPOOL_INT(2)))),
	    -SQLPOOL_ERR_MISUSE);
	clientscript_close(conn);
}
END_TEST

START_TEST(wrong_values_are_misuse)
{
	struct sqlpool_conn *conn = clientscript_open(
	    clientscript_play_echo, 5000);
	struct sqlpool_value none = { 0 };
	struct sqlpool_value bytes = { .type = SQLPOOL_TYPE_BLOB, .n = 3 };
	struct sqlpool_result *result = NULL;

	ck_assert_int_eq(
	    sqlpool_exec(conn, "x", &none, 1), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(
	    sqlpool_exec(conn, "x", &bytes, 1), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(sqlpool_exec(conn, "x", NULL, 1), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(
	    sqlpool_exec(conn, NULL, NULL, 0), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(
	    sqlpool_query(conn, "x", NULL, 0, NULL), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(
	    sqlpool_query(NULL, "x", NULL, 0, &result), -SQLPOOL_ERR_MISUSE);
	ck_assert_ptr_null(result);
	clientscript_close(conn);
}
END_TEST

/* ---- conversions: SQLite itself says what is right ---- */

static const char *const texts[] = { "", "0", "12", " 12", "\t\n-7 ", "+5",
	"--5", "12abc", "abc", "1e3", "1.5e3", "1.5e", "1e+", ".5", "5.", ".",
	"-.5e1", "0x10", "9223372036854775807", "9223372036854775808",
	"-9223372036854775808", "-9223372036854775809", "99999999999999999999",
	"1e400", "-1e400", "1e-400", "inf", "nan", "Infinity", "0.1",
	"123456789.123456789", "1.7976931348623157e308", "1e99999999999",
	"0.000000000000000000000000000000000001", "12 34", "1_000" };

static const double reals[] = { 0, -0.0, 1, -1, 0.1, 1.5, 100, 1e14, 1e15, 1e16,
	123456789012345, 1234567890123456, 1e100, 1e-5, 1e-4, 0.00012345,
	3.14159265358979, 1e21, 9223372036854775807.0, -9223372036854775808.0,
	1e19, -1e19, 2.5, -2.5, 0.30000000000000004, 1.0 / 3, INFINITY,
	-INFINITY };

static void
compare_getters(
    struct sqlpool_conn *conn, struct sqlpool_value value, sqlite3_stmt *stmt)
{
	struct sqlpool_result *result;
	size_t n;

	ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
	ck_assert_int_eq(sqlpool_query(conn, "x", &value, 1, &result), 0);
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
	ck_assert_msg(
	    sqlpool_column_int64(result, 0) == sqlite3_column_int64(stmt, 0),
	    "int64 of %s", sqlpool_column_text(result, 0, NULL));
	ck_assert_msg(
	    sqlpool_column_double(result, 0) == sqlite3_column_double(stmt, 0),
	    "double of %s: %.17g, not %.17g",
	    sqlpool_column_text(result, 0, NULL),
	    sqlpool_column_double(result, 0), sqlite3_column_double(stmt, 0));
	ck_assert_str_eq(sqlpool_column_text(result, 0, &n),
	    (const char *)sqlite3_column_text(stmt, 0));
	ck_assert_uint_eq(n, (size_t)sqlite3_column_bytes(stmt, 0));
	sqlpool_result_free(result);
	sqlite3_reset(stmt);
}

START_TEST(getters_convert_as_sqlite_does)
{
	struct sqlpool_conn *conn = clientscript_open(
	    clientscript_play_echo, 5000);
	sqlite3 *db;
	sqlite3_stmt *stmt;

	ck_assert_int_eq(sqlite3_open(":memory:", &db), SQLITE_OK);
	ck_assert_int_eq(
	    sqlite3_prepare_v2(db, "SELECT ?1", -1, &stmt, NULL), SQLITE_OK);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		sqlite3_bind_text(stmt, 1, texts[i], -1, SQLITE_STATIC);
		compare_getters(conn, SQLPOOL_TEXT(texts[i]), stmt);
	}
	for (size_t i = 0; i < sizeof(reals) / sizeof(reals[0]); i++) {
		sqlite3_bind_double(stmt, 1, reals[i]);
		compare_getters(conn, SQLPOOL_REAL(reals[i]), stmt);
	}
	sqlite3_bind_int64(stmt, 1, INT64_MIN);
	compare_getters(conn, SQLPOOL_INT(INT64_MIN), stmt);
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	clientscript_close(conn);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("client_values");
	TCase *tc;

	tc = tcase_create("values");
	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, values_come_back_the_same);
	tcase_add_test(tc, the_last_columns_text_does_not_harm_the_next_row);
	tcase_add_test(tc, eight_mebibytes_go_through);
	tcase_add_test(tc, a_request_over_the_daemons_limit_is_not_sent);
	tcase_add_test(tc, named_values_go_as_a_map);
	tcase_add_test(tc, wrong_values_are_misuse);
	tcase_add_test(tc, getters_convert_as_sqlite_does);
	suite_add_tcase(suite, tc);
	return suite;
}

int
main(void)
{
	SRunner *runner = srunner_create(make_suite());
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
