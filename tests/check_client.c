/* check_client.c - libsqlpool-client against a scripted daemon: opening, rows,
 * values. */
#include <check.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/clientscript.h"

/* ---- opening ---- */

static void
play_hello(struct fakeserver *f)
{
	struct fake_request r;

	fake_take_hello(f, 16, 65536);
	while (fake_take(f, &r))
		;
}

START_TEST(open_learns_about_the_server)
{
	struct sqlpool_conn *conn = clientscript_open(play_hello, 5000);
	const struct sqlpool_server *server = sqlpool_get_server(conn);

	ck_assert_str_eq(server->server, "sqlpoold 9.9");
	ck_assert_str_eq(server->sqlite, "3.40.1");
	ck_assert_str_eq(server->database, "app");
	ck_assert_uint_eq(server->epoch, 77);
	ck_assert_uint_eq(server->in_flight_n, 16);
	ck_assert_int_eq(sqlpool_get_error(conn)->code, 0);
	clientscript_close(conn);
}
END_TEST

static void
play_refuse(struct fakeserver *f)
{
	uint64_t id = fake_take_type(f, TYPE_HELLO);

	fake_error(f, id, SQLPOOL_ERR_NO_DATABASE, "no x; there is: app");
	fake_send(f);
}

START_TEST(open_gives_the_daemons_error)
{
	struct sqlpool_options options;
	struct sqlpool_conn *conn;

	fakeserver_start(&clientscript_fs, play_refuse, NULL);
	options = clientscript_make_options(5000);
	options.database = "x";
	ck_assert_int_eq(
	    sqlpool_open(&options, &conn), -SQLPOOL_ERR_NO_DATABASE);
	ck_assert_str_eq(
	    sqlpool_get_error(conn)->message, "no x; there is: app");
	ck_assert_str_eq(sqlpool_get_error(conn)->name, "NO_DATABASE");
	clientscript_close(conn);
}
END_TEST

static void
play_silence(struct fakeserver *f)
{
	struct fake_request r;

	while (fake_take(f, &r))
		;
}

START_TEST(open_of_a_silent_peer_ends_at_its_deadline)
{
	struct sqlpool_options options;
	struct sqlpool_conn *conn;

	fakeserver_start(&clientscript_fs, play_silence, NULL);
	options = clientscript_make_options(50);
	ck_assert_int_eq(sqlpool_open(&options, &conn), -SQLPOOL_ERR_CONNECT);
	clientscript_assert_error(
	    sqlpool_get_error(conn), SQLPOOL_ERR_CONNECT, SQLPOOL_NOT_APPLIED);
	clientscript_close(conn);
}
END_TEST

START_TEST(open_names_path_cause_and_remedy)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	struct sqlpool_conn *conn;
	const char *message;

	options.socket_path = "/nonexistent/x.sock";
	ck_assert_int_eq(sqlpool_open(&options, &conn), -SQLPOOL_ERR_CONNECT);
	message = sqlpool_get_error(conn)->message;
	ck_assert_ptr_nonnull(strstr(message, "/nonexistent/x.sock"));
	ck_assert_ptr_nonnull(strstr(message, "No such file"));
	ck_assert_ptr_nonnull(strstr(message, "sqlpoold ./app.db"));
	sqlpool_close(conn);
}
END_TEST

/* A name in /tmp can be taken by anybody.  Root can play two users; others
 * cannot, and skip this. */
START_TEST(open_refuses_a_directory_that_is_not_the_users_own)
{
	uid_t uid = 1000000 + (uid_t)getpid();
	struct sqlpool_conn *conn;
	char dir[64], path[96];
	FILE *f;

	if (geteuid() != 0)
		return;
	unsetenv("SQLPOOL_SOCKET");
	unsetenv("XDG_RUNTIME_DIR");
	snprintf(dir, sizeof(dir), "/tmp/sqlpoold-%lu", (unsigned long)uid);
	snprintf(path, sizeof(path), "%s/sqlpoold.sock", dir);
	ck_assert_int_eq(mkdir(dir, 0755), 0);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fclose(f);
	ck_assert_int_eq(seteuid(uid), 0);
	ck_assert_int_eq(sqlpool_open(NULL, &conn), -SQLPOOL_ERR_CONNECT);
	ck_assert_ptr_nonnull(
	    strstr(sqlpool_get_error(conn)->message, "not trusted"));
	sqlpool_close(conn);
	ck_assert_int_eq(seteuid(0), 0);
	/* the user's own, and nobody listens */
	ck_assert_int_eq(chown(dir, uid, (gid_t)-1), 0);
	ck_assert_int_eq(seteuid(uid), 0);
	ck_assert_int_eq(sqlpool_open(NULL, &conn), -SQLPOOL_ERR_CONNECT);
	ck_assert_ptr_nonnull(strstr(sqlpool_get_error(conn)->message, path));
	sqlpool_close(conn);
	ck_assert_int_eq(seteuid(0), 0);
	unlink(path);
	rmdir(dir);
}
END_TEST

START_TEST(open_refuses_options_without_size)
{
	struct sqlpool_options options = { 0 };
	struct sqlpool_conn *conn;

	ck_assert_int_eq(sqlpool_open(&options, &conn), -SQLPOOL_ERR_MISUSE);
	sqlpool_close(conn);
	ck_assert_int_eq(sqlpool_open(&options, NULL), -SQLPOOL_ERR_MISUSE);
}
END_TEST

/* ---- rows ---- */

static void
play_chunks(struct fakeserver *f)
{
	uint64_t id;

	fake_take_hello(f, 16, 65536);
	id = fake_take_type(f, TYPE_EXEC);
	fake_ints(f, TYPE_ROWS, id, true, 3);
	fake_ints(f, TYPE_ROWS, id, false, 0);
	fake_ints(f, TYPE_ROWS, id, false, 2);
	fake_send(f);
	fake_begin(f, TYPE_DONE, id);
	msg_put_int(&f->m, TELL_changes, 0);
	msg_put_uint(&f->m, TELL_queue_us, 11);
	msg_put_uint(&f->m, TELL_exec_us, 22);
	msg_put_uint(&f->m, TELL_tx_state, TX_STATE_READ);
	fake_end(f);
	fake_send(f);
}

START_TEST(rows_come_over_many_frames)
{
	struct sqlpool_conn *conn = clientscript_open(play_chunks, 5000);
	static const int64_t want[] = { 0, 1, 2, 0, 1 };
	struct sqlpool_result *result;

	ck_assert_int_eq(sqlpool_query(conn, "SELECT", NULL, 0, &result), 0);
	ck_assert_uint_eq(sqlpool_column_count(result), 1);
	for (int i = 0; i < 5; i++) {
		ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
		ck_assert_int_eq(sqlpool_column_int64(result, 0), want[i]);
	}
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_DONE);
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_DONE);
	ck_assert_str_eq(sqlpool_column_name(result, 0), "x");
	ck_assert_ptr_null(sqlpool_column_name(result, 1));
	ck_assert_int_eq(sqlpool_column_index(result, "x"), 0);
	ck_assert_int_eq(sqlpool_column_index(result, "X"), -1);
	ck_assert_uint_eq(sqlpool_result_summary(result)->queue_us, 11);
	ck_assert_uint_eq(sqlpool_result_summary(result)->exec_us, 22);
	ck_assert_uint_eq(sqlpool_result_summary(result)->rows_n, 5);
	ck_assert(sqlpool_in_transaction(conn));
	sqlpool_result_free(result);
	clientscript_close(conn);
}
END_TEST

static void
play_error_after_rows(struct fakeserver *f)
{
	uint64_t id;

	fake_take_hello(f, 16, 65536);
	id = fake_take_type(f, TYPE_EXEC);
	fake_ints(f, TYPE_ROWS, id, true, 1);
	fake_send(f);
	/* the client asks for more, and so has read its row */
	id = fake_take_type(f, TYPE_PING);
	fake_ok(f, id);
	fake_begin(f, TYPE_ERROR, id - 1);
	msg_put_uint(&f->m, TELL_code, 2067);
	msg_put_str(&f->m, TELL_message, "UNIQUE constraint failed: t.a");
	msg_put_uint(&f->m, TELL_offset, 12);
	msg_put_uint(&f->m, TELL_class, SQLPOOL_CLASS_CONSTRAINT);
	msg_put_uint(&f->m, TELL_outcome, SQLPOOL_NOT_APPLIED);
	msg_put_uint(&f->m, TELL_retry_ms, 250);
	msg_put_uint(&f->m, TELL_step, 3);
	fake_end(f);
	fake_send(f);
}

START_TEST(an_error_may_come_after_rows)
{
	struct sqlpool_conn *conn = clientscript_open(
	    play_error_after_rows, 5000);
	struct sqlpool_result *result;
	const struct sqlpool_error *e;

	ck_assert_int_eq(sqlpool_query(conn, "SELECT", NULL, 0, &result), 0);
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
	ck_assert_int_eq(sqlpool_ping(conn), 0);
	ck_assert_int_eq(sqlpool_next(result), -2067);
	ck_assert_int_eq(sqlpool_next(result), -2067);
	for (int i = 0; i < 2; i++) {
		e = i ? sqlpool_get_error(conn) : sqlpool_result_error(result);
		clientscript_assert_error(e, 2067, SQLPOOL_NOT_APPLIED);
		ck_assert_int_eq(e->primary, 19);
		ck_assert_str_eq(e->name, "SQLITE_CONSTRAINT_UNIQUE");
		ck_assert_str_eq(e->message, "UNIQUE constraint failed: t.a");
		ck_assert_int_eq(e->offset, 12);
		ck_assert_int_eq(e->class_, SQLPOOL_CLASS_CONSTRAINT);
		ck_assert_uint_eq(e->retry_ms, 250);
		ck_assert_int_eq(e->step, 3);
	}
	ck_assert_int_eq(sqlpool_column_type(result, 0), SQLPOOL_TYPE_NULL);
	sqlpool_result_free(result);
	clientscript_close(conn);
}
END_TEST

/* A client that has gone away grants all there is. */
static uint64_t
take_credit(struct fakeserver *f, uint64_t id)
{
	struct fake_request r;

	if (!fake_take(f, &r))
		return UINT32_MAX;
	ck_assert_uint_eq(r.head.type, TYPE_CREDIT);
	ck_assert_uint_eq(r.head.id, 0);
	ck_assert_uint_eq(r.ask.target, id);
	return r.ask.credit_bytes;
}

/* Send chunks of 100 rows only while the window allows, as the daemon does. */
static void
play_window(struct fakeserver *f)
{
	uint64_t window = 1000, sent = 0, id;

	fake_take_hello(f, 16, window);
	id = fake_take_type(f, TYPE_EXEC);
	for (int i = 0; i < 200; i++) {
		while (sent >= window)
			window += take_credit(f, id);
		/* never more than a window ahead of what was read */
		ck_assert_uint_le(window, sent + 1000);
		fake_ints(f, TYPE_ROWS, id, i == 0, 100);
		sent += f->out.n;
		fake_send(f);
	}
	fake_done(f, id);
	fake_send(f);
}

START_TEST(reading_grants_credit)
{
	struct sqlpool_conn *conn = clientscript_open(play_window, 5000);
	struct sqlpool_result *result;
	int n = 0;

	ck_assert_int_eq(sqlpool_query(conn, "SELECT", NULL, 0, &result), 0);
	while (sqlpool_next(result) == SQLPOOL_ROW)
		n++;
	ck_assert_int_eq(n, 20000);
	sqlpool_result_free(result);
	clientscript_close(conn);
}
END_TEST

START_TEST(exec_drops_any_number_of_rows)
{
	struct sqlpool_conn *conn = clientscript_open(play_window, 5000);

	ck_assert_int_eq(sqlpool_exec(conn, "SELECT", NULL, 0), 0);
	ck_assert_int_eq(sqlpool_get_summary(conn)->changes, 1);
	ck_assert_int_eq(sqlpool_get_summary(conn)->rowid, 42);
	ck_assert_uint_eq(sqlpool_get_summary(conn)->seq, 7);
	clientscript_close(conn);
}
END_TEST

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
	Suite *suite = suite_create("client");
	TCase *tc;

	tc = tcase_create("open");
	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, open_learns_about_the_server);
	tcase_add_test(tc, open_gives_the_daemons_error);
	tcase_add_test(tc, open_of_a_silent_peer_ends_at_its_deadline);
	tcase_add_test(tc, open_names_path_cause_and_remedy);
	tcase_add_test(tc, open_refuses_options_without_size);
	tcase_add_test(tc, open_refuses_a_directory_that_is_not_the_users_own);
	suite_add_tcase(suite, tc);
	tc = tcase_create("rows");
	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, rows_come_over_many_frames);
	tcase_add_test(tc, an_error_may_come_after_rows);
	tcase_add_test(tc, reading_grants_credit);
	tcase_add_test(tc, exec_drops_any_number_of_rows);
	suite_add_tcase(suite, tc);
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
