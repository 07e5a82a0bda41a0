/* check_client.c - libsqlpool-client against a scripted daemon. */
#include <check.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/sqlpool.h"
#include "tests/lib/fakeserver.h"

static struct fakeserver fs;

static struct sqlpool_options
make_options(uint32_t timeout_ms)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;

	options.use_fd = true;
	options.fd = fs.client_fd;
	options.request_timeout_ms = timeout_ms;
	options.connect_timeout_ms = timeout_ms;
	return options;
}

/* Start a script and open a connection to it. */
static struct sqlpool_conn *
open_script(void (*play)(struct fakeserver *), uint32_t timeout_ms)
{
	struct sqlpool_options options;
	struct sqlpool_conn *conn;
	int rc;

	fakeserver_start(&fs, play, NULL);
	options = make_options(timeout_ms);
	rc = sqlpool_open(&options, &conn);
	ck_assert_msg(rc == 0, "%s", sqlpool_get_error(conn)->message);
	return conn;
}

static void
close_script(struct sqlpool_conn *conn)
{
	sqlpool_close(conn);
	fakeserver_stop(&fs);
}

static void
assert_error(
    const struct sqlpool_error *e, int code, enum sqlpool_outcome outcome)
{
	ck_assert_msg(e->code == code, "%d (%s), not %d: %s", e->code, e->name,
	    code, e->message);
	ck_assert_int_eq(e->outcome, outcome);
}

static struct sqlpool_result *
send_sql(struct sqlpool_conn *conn, const char *sql)
{
	struct sqlpool_request *request = sqlpool_request_new();
	struct sqlpool_result *result = NULL;

	ck_assert_int_eq(sqlpool_request_add(request, sql, NULL, 0), 0);
	ck_assert_int_eq(sqlpool_send(conn, request, &result), 0);
	sqlpool_request_free(request);
	return result;
}

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
	struct sqlpool_conn *conn = open_script(play_hello, 5000);
	const struct sqlpool_server *server = sqlpool_get_server(conn);

	ck_assert_str_eq(server->server, "sqlpoold 9.9");
	ck_assert_str_eq(server->sqlite, "3.40.1");
	ck_assert_str_eq(server->database, "app");
	ck_assert_uint_eq(server->epoch, 77);
	ck_assert_uint_eq(server->in_flight_n, 16);
	ck_assert_int_eq(sqlpool_get_error(conn)->code, 0);
	close_script(conn);
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

	fakeserver_start(&fs, play_refuse, NULL);
	options = make_options(5000);
	options.database = "x";
	ck_assert_int_eq(
	    sqlpool_open(&options, &conn), -SQLPOOL_ERR_NO_DATABASE);
	ck_assert_str_eq(
	    sqlpool_get_error(conn)->message, "no x; there is: app");
	ck_assert_str_eq(sqlpool_get_error(conn)->name, "NO_DATABASE");
	close_script(conn);
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

	fakeserver_start(&fs, play_silence, NULL);
	options = make_options(50);
	ck_assert_int_eq(sqlpool_open(&options, &conn), -SQLPOOL_ERR_CONNECT);
	assert_error(
	    sqlpool_get_error(conn), SQLPOOL_ERR_CONNECT, SQLPOOL_NOT_APPLIED);
	close_script(conn);
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
	struct sqlpool_conn *conn = open_script(play_chunks, 5000);
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
	close_script(conn);
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
	struct sqlpool_conn *conn = open_script(play_error_after_rows, 5000);
	struct sqlpool_result *result;
	const struct sqlpool_error *e;

	ck_assert_int_eq(sqlpool_query(conn, "SELECT", NULL, 0, &result), 0);
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
	ck_assert_int_eq(sqlpool_ping(conn), 0);
	ck_assert_int_eq(sqlpool_next(result), -2067);
	ck_assert_int_eq(sqlpool_next(result), -2067);
	for (int i = 0; i < 2; i++) {
		e = i ? sqlpool_get_error(conn) : sqlpool_result_error(result);
		assert_error(e, 2067, SQLPOOL_NOT_APPLIED);
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
	close_script(conn);
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
	struct sqlpool_conn *conn = open_script(play_window, 5000);
	struct sqlpool_result *result;
	int n = 0;

	ck_assert_int_eq(sqlpool_query(conn, "SELECT", NULL, 0, &result), 0);
	while (sqlpool_next(result) == SQLPOOL_ROW)
		n++;
	ck_assert_int_eq(n, 20000);
	sqlpool_result_free(result);
	close_script(conn);
}
END_TEST

START_TEST(exec_drops_any_number_of_rows)
{
	struct sqlpool_conn *conn = open_script(play_window, 5000);

	ck_assert_int_eq(sqlpool_exec(conn, "SELECT", NULL, 0), 0);
	ck_assert_int_eq(sqlpool_get_summary(conn)->changes, 1);
	ck_assert_int_eq(sqlpool_get_summary(conn)->rowid, 42);
	ck_assert_uint_eq(sqlpool_get_summary(conn)->seq, 7);
	close_script(conn);
}
END_TEST

/* ---- values: every EXEC is answered with a row of its parameters ---- */

static void
echo_params(struct fakeserver *f, const struct fake_request *r)
{
	struct span params = r->ask.params;
	struct value v = { .count = 0 };
	bool named;

	if (params.n > 0)
		value_read(&params, &v);
	named = v.kind == VALUE_MAP && v.count > 0;
	fake_begin(f, TYPE_DONE, r->head.id);
	msg_key(&f->m, TELL_columns);
	value_put_array(f->m.b, v.count);
	for (uint32_t i = 0; i < v.count; i++)
		value_put_str(f->m.b, "column", 6);
	msg_key(&f->m, TELL_rows);
	value_put_array(f->m.b, 2);
	for (int row = 0; row < 2; row++) {
		struct span at = params;

		value_put_array(f->m.b, v.count);
		for (uint32_t i = 0; i < v.count; i++) {
			struct span before;

			if (named)
				value_skip(&at);
			before = at;
			value_skip(&at);
			buf_put(f->m.b, before.p, before.n - at.n);
		}
	}
	fake_end(f);
	fake_send(f);
}

static void
play_echo(struct fakeserver *f)
{
	struct fake_request r;

	fake_take_hello(f, 16, 65536);
	while (fake_take(f, &r)) {
		if (r.head.type == TYPE_EXEC)
			echo_params(f, &r);
	}
}

START_TEST(values_come_back_the_same)
{
	struct sqlpool_conn *conn = open_script(play_echo, 5000);
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
	close_script(conn);
}
END_TEST

START_TEST(the_last_columns_text_does_not_harm_the_next_row)
{
	struct sqlpool_conn *conn = open_script(play_echo, 5000);
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
	close_script(conn);
}
END_TEST

START_TEST(eight_mebibytes_go_through)
{
	struct sqlpool_conn *conn = open_script(play_echo, 20000);
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
	close_script(conn);
}
END_TEST

START_TEST(a_request_over_the_daemons_limit_is_not_sent)
{
	struct sqlpool_conn *conn = open_script(play_echo, 5000);
	size_t size = (size_t)16 << 20;
	char *p = calloc(1, size);

	ck_assert_int_eq(
	    sqlpool_exec(conn, "x", SQLPOOL_VALUES(SQLPOOL_BLOB(p, size))),
	    -SQLPOOL_ERR_FRAME_TOO_LONG);
	assert_error(sqlpool_get_error(conn), SQLPOOL_ERR_FRAME_TOO_LONG,
	    SQLPOOL_NOT_APPLIED);
	ck_assert_int_eq(
	    sqlpool_exec(conn, "x", SQLPOOL_VALUES(SQLPOOL_INT(1))), 0);
	free(p);
	close_script(conn);
}
END_TEST

START_TEST(named_values_go_as_a_map)
{
	struct sqlpool_conn *conn = open_script(play_echo, 5000);
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
	close_script(conn);
}
END_TEST

START_TEST(wrong_values_are_misuse)
{
	struct sqlpool_conn *conn = open_script(play_echo, 5000);
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
	close_script(conn);
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
	struct sqlpool_conn *conn = open_script(play_echo, 5000);
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
	close_script(conn);
}
END_TEST

/* ---- faults ---- */

static int fault_number;

/* Build a reply to request id whose body is these bytes. */
static void
put_raw(struct fakeserver *f, enum msg_type type, uint64_t id, const void *body,
    size_t n)
{
	fake_begin(f, type, id);
	buf_cut(&f->out, f->out.n - 1);
	buf_put(&f->out, body, n);
	/* the map's head is in the body already */
	f->out.p[4] = (uint8_t)(f->out.n - 5);
}

static void
put_fault(struct fakeserver *f, int number, uint64_t id)
{
	static const struct {
		enum msg_type type;
		const char *body;
		size_t n;
	} bodies[] = {
#define BODY(type, bytes) { type, bytes, sizeof(bytes) - 1 }
		/* rows without columns; a short row; a map as a value; a value
		 * over INT64_MAX; a row that is no array; a column that is no
		 * text; decltypes that are too few */
		BODY(TYPE_DONE, "\x81\x01\x91\x91\x05"),
		BODY(TYPE_DONE, "\x82\x00\x91\xa1x\x01\x91\x90"),
		BODY(TYPE_DONE, "\x82\x00\x91\xa1x\x01\x91\x91\x80"),
		BODY(TYPE_DONE,
		    "\x82\x00\x91\xa1x\x01\x91\x91"
		    "\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
		BODY(TYPE_DONE, "\x82\x00\x91\xa1x\x01\x91\x05"),
		BODY(TYPE_DONE, "\x82\x00\x91\x05\x01\x91\x91\x05"),
		BODY(TYPE_DONE, "\x83\x00\x91\xa1x\x09\x90\x01\x91\x91\x05"),
		/* fields of the wrong type, given twice, not understood */
		BODY(TYPE_DONE, "\x81\x01\x80"),
		BODY(TYPE_DONE, "\x82\x02\x05\x02\x05"),
		BODY(TYPE_DONE, "\x81\x7f\x05"),
		BODY(TYPE_DONE, "\x81\xa1x\x05"),
		/* an error without a code; not a reply to EXEC; too deep; cut
		 * short; counts that cannot be true */
		BODY(TYPE_ERROR, "\x80"),
		BODY(TYPE_OK, "\x80"),
		BODY(TYPE_EXEC, "\x80"),
		BODY(TYPE_DONE,
		    "\x81\x01\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x01"),
		BODY(TYPE_DONE, "\x82\x02\x05"),
		BODY(TYPE_DONE, "\x81\x01\xdd\xff\xff\xff\xff"),
		BODY(TYPE_DONE, "\x81\x01\xc1"),
#undef BODY
	};
	static const char *const raw[] = { "HTTP/1.1 400 Bad Request\r\n",
		"\xce\xff\xff\xff\xff", "\xce\x01\x01\x01\x01",
		"\xce\x7f\x01\x01\x01 " };
	int n = (int)(sizeof(bodies) / sizeof(bodies[0]));

	if (number < n)
		put_raw(f, bodies[number].type, id, bodies[number].body,
		    bodies[number].n);
	else if (number < n + 4)
		buf_put(&f->out, raw[number - n], strlen(raw[number - n]));
	else if (number == n + 4)
		fake_done(f, id + 1);
	else if (number == n + 5)
		fake_ok(f, 0);
}

#define FAULTS 24

static void
play_fault(struct fakeserver *f)
{
	struct fake_request r;

	fake_take_hello(f, 16, 65536);
	put_fault(f, fault_number, fake_take_type(f, TYPE_EXEC));
	fake_send(f);
	while (fake_take(f, &r))
		;
}

START_TEST(what_is_no_reply_closes_the_connection)
{
	struct sqlpool_conn *conn;
	struct sqlpool_result *result;
	int rc;

	fault_number = _i;
	conn = open_script(play_fault, 5000);
	rc = sqlpool_query(conn, "SELECT", NULL, 0, &result);
	if (rc == 0) {
		ck_assert_int_eq(sqlpool_next(result), -SQLPOOL_ERR_BAD_REPLY);
		ck_assert_int_eq(sqlpool_next(result), -SQLPOOL_ERR_BAD_REPLY);
		sqlpool_result_free(result);
	} else {
		ck_assert_int_eq(rc, -SQLPOOL_ERR_BAD_REPLY);
	}
	assert_error(
	    sqlpool_get_error(conn), SQLPOOL_ERR_BAD_REPLY, SQLPOOL_UNKNOWN);
	/* what comes later was never sent */
	ck_assert_int_eq(sqlpool_ping(conn), -SQLPOOL_ERR_BAD_REPLY);
	assert_error(sqlpool_get_error(conn), SQLPOOL_ERR_BAD_REPLY,
	    SQLPOOL_NOT_APPLIED);
	close_script(conn);
}
END_TEST

static atomic_size_t cut_at;
static atomic_size_t cut_size;

static void
play_cut(struct fakeserver *f)
{
	uint64_t id;

	fake_take_hello(f, 16, 65536);
	id = fake_take_type(f, TYPE_EXEC);
	fake_ints(f, TYPE_ROWS, id, true, 3);
	fake_done(f, id);
	cut_size = f->out.n;
	fake_send_cut(f, cut_at < cut_size ? cut_at : cut_size);
}

static void
check_cut_reply(void)
{
	struct sqlpool_conn *conn = open_script(play_cut, 5000);
	struct sqlpool_result *result;
	int rc = sqlpool_query(conn, "SELECT", NULL, 0, &result);

	if (rc == 0) {
		do {
			rc = sqlpool_next(result);
		} while (rc == SQLPOOL_ROW);
		sqlpool_result_free(result);
	}
	ck_assert_int_eq(rc, -SQLPOOL_ERR_CONNECTION_LOST);
	assert_error(sqlpool_get_error(conn), SQLPOOL_ERR_CONNECTION_LOST,
	    SQLPOOL_UNKNOWN);
	close_script(conn);
}

START_TEST(a_reply_cut_at_any_byte_is_a_lost_connection)
{
	cut_size = 1;
	for (cut_at = 0; cut_at < cut_size; cut_at++)
		check_cut_reply();
}
END_TEST

static void
play_late(struct fakeserver *f)
{
	uint64_t first, id;

	fake_take_hello(f, 16, 65536);
	first = fake_take_type(f, TYPE_EXEC);
	id = fake_take_type(f, TYPE_CANCEL);
	ck_assert_uint_eq(id, 0);
	id = fake_take_type(f, TYPE_PING);
	fake_ints(f, TYPE_ROWS, first, true, 3);
	fake_done(f, first);
	fake_ok(f, id);
	fake_send(f);
}

START_TEST(silence_ends_at_the_deadline_and_the_connection_lives_on)
{
	struct sqlpool_conn *conn = open_script(play_late, 50);
	struct sqlpool_result *result;

	ck_assert_int_eq(sqlpool_query(conn, "SELECT", NULL, 0, &result),
	    -SQLPOOL_ERR_CLIENT_TIMEOUT);
	assert_error(sqlpool_get_error(conn), SQLPOOL_ERR_CLIENT_TIMEOUT,
	    SQLPOOL_UNKNOWN);
	ck_assert_int_eq(sqlpool_ping(conn), 0);
	close_script(conn);
}
END_TEST

static void
play_notice(struct fakeserver *f)
{
	fake_take_hello(f, 16, 65536);
	fake_take_type(f, TYPE_EXEC);
	fake_error(f, 0, SQLPOOL_ERR_FRAME_TOO_DEEP, "nested too deep");
	fake_send(f);
}

START_TEST(the_daemons_last_words_are_the_error)
{
	struct sqlpool_conn *conn = open_script(play_notice, 5000);

	ck_assert_int_eq(
	    sqlpool_exec(conn, "x", NULL, 0), -SQLPOOL_ERR_FRAME_TOO_DEEP);
	assert_error(sqlpool_get_error(conn), SQLPOOL_ERR_FRAME_TOO_DEEP,
	    SQLPOOL_UNKNOWN);
	ck_assert_str_eq(sqlpool_get_error(conn)->message, "nested too deep");
	close_script(conn);
}
END_TEST

static void
play_close_after_one(struct fakeserver *f)
{
	fake_take_hello(f, 1, 65536);
	fake_take_type(f, TYPE_EXEC);
}

START_TEST(a_lost_connection_says_what_was_sent)
{
	struct sqlpool_conn *conn = open_script(play_close_after_one, 5000);
	struct sqlpool_result *first = send_sql(conn, "INSERT 1");
	struct sqlpool_result *second = send_sql(conn, "INSERT 2");

	ck_assert_int_eq(sqlpool_next(second), -SQLPOOL_ERR_CONNECTION_LOST);
	assert_error(sqlpool_result_error(second), SQLPOOL_ERR_CONNECTION_LOST,
	    SQLPOOL_NOT_APPLIED);
	ck_assert_int_eq(sqlpool_next(first), -SQLPOOL_ERR_CONNECTION_LOST);
	assert_error(sqlpool_result_error(first), SQLPOOL_ERR_CONNECTION_LOST,
	    SQLPOOL_UNKNOWN);
	sqlpool_result_free(first);
	sqlpool_result_free(second);
	close_script(conn);
}
END_TEST

static void
play_hang_up_early(struct fakeserver *f)
{
	fake_take_hello(f, 16, 65536);
	close(f->fd);
	f->fd = -1;
}

START_TEST(a_request_cut_on_its_way_was_not_applied)
{
	struct sqlpool_conn *conn = open_script(play_hang_up_early, 5000);
	size_t size = (size_t)8 << 20;
	char *p = calloc(1, size);

	ck_assert_int_eq(
	    sqlpool_exec(conn, "x", SQLPOOL_VALUES(SQLPOOL_BLOB(p, size))),
	    -SQLPOOL_ERR_CONNECTION_LOST);
	assert_error(sqlpool_get_error(conn), SQLPOOL_ERR_CONNECTION_LOST,
	    SQLPOOL_NOT_APPLIED);
	free(p);
	close_script(conn);
}
END_TEST

static void
play_goaway(struct fakeserver *f)
{
	uint64_t id;

	fake_take_hello(f, 1, 65536);
	id = fake_take_type(f, TYPE_EXEC);
	fake_begin(f, TYPE_GOAWAY, 0);
	msg_put_str(&f->m, TELL_message, "shutting down");
	fake_end(f);
	fake_done(f, id);
	fake_send(f);
}

START_TEST(goaway_finishes_what_was_sent_and_refuses_the_rest)
{
	struct sqlpool_conn *conn = open_script(play_goaway, 5000);
	struct sqlpool_result *first = send_sql(conn, "INSERT 1");
	struct sqlpool_result *second = send_sql(conn, "INSERT 2");

	ck_assert_int_eq(sqlpool_next(first), SQLPOOL_DONE);
	ck_assert_int_eq(sqlpool_next(second), -SQLPOOL_ERR_SHUTTING_DOWN);
	assert_error(sqlpool_result_error(second), SQLPOOL_ERR_SHUTTING_DOWN,
	    SQLPOOL_NOT_APPLIED);
	ck_assert_int_eq(
	    sqlpool_exec(conn, "x", NULL, 0), -SQLPOOL_ERR_SHUTTING_DOWN);
	sqlpool_result_free(first);
	sqlpool_result_free(second);
	close_script(conn);
}
END_TEST

/* ---- pipelining ---- */

#define DEPTH 10

static void
play_backwards(struct fakeserver *f)
{
	uint64_t ids[DEPTH];

	fake_take_hello(f, 16, 65536);
	for (int i = 0; i < DEPTH; i++)
		ids[i] = fake_take_type(f, TYPE_EXEC);
	for (int i = DEPTH - 1; i >= 0; i--)
		fake_ints(f, TYPE_DONE, ids[i], true, (uint32_t)i);
	fake_send(f);
}

START_TEST(results_may_come_and_be_taken_in_any_order)
{
	struct sqlpool_conn *conn = open_script(play_backwards, 5000);
	struct sqlpool_result *results[DEPTH];

	for (int i = 0; i < DEPTH; i++)
		results[i] = send_sql(conn, "SELECT");
	for (int i = 0; i < DEPTH; i++) {
		struct sqlpool_result *result = results[(i * 7) % DEPTH];

		for (int row = 0; row < (i * 7) % DEPTH; row++)
			ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
		ck_assert_int_eq(sqlpool_next(result), SQLPOOL_DONE);
	}
	for (int i = 0; i < DEPTH; i++)
		sqlpool_result_free(results[i]);
	close_script(conn);
}
END_TEST

#define DEEP       5000
#define DEEP_ROWS  20
#define DEEP_BYTES 200

static void
put_big_part(struct fakeserver *f, uint64_t id, int part)
{
	static char text[2000];

	memset(text, 'x', sizeof(text));
	fake_begin(f, part + 1 < DEEP_ROWS ? TYPE_ROWS : TYPE_DONE, id);
	if (part == 0) {
		msg_key(&f->m, TELL_columns);
		value_put_array(f->m.b, 1);
		value_put_str(f->m.b, "x", 1);
	}
	msg_key(&f->m, TELL_rows);
	value_put_array(f->m.b, 1);
	value_put_array(f->m.b, 1);
	value_put_str(f->m.b, text, sizeof(text));
	fake_end(f);
	fake_send(f);
}

/* Answer each request at once with more than it was long, and read nothing
 * while writing: a client that only writes would stop both. */
static void
play_deep(struct fakeserver *f)
{
	struct fake_request r;

	fake_take_hello(f, 8, 65536);
	while (fake_take(f, &r))
		for (int i = 0; r.head.type == TYPE_EXEC && i < DEEP_ROWS; i++)
			put_big_part(f, r.head.id, i);
}

START_TEST(a_deep_pipeline_with_big_results_completes)
{
	struct sqlpool_conn *conn = open_script(play_deep, 20000);
	static struct sqlpool_result *results[DEEP];
	static char sql[DEEP_BYTES];

	memset(sql, ' ', sizeof(sql) - 1);
	for (int i = 0; i < DEEP; i++)
		results[i] = send_sql(conn, sql);
	for (int i = 0; i < DEEP; i++) {
		int rows = 0;

		while (sqlpool_next(results[i]) == SQLPOOL_ROW)
			rows++;
		ck_assert_int_eq(rows, DEEP_ROWS);
		sqlpool_result_free(results[i]);
	}
	close_script(conn);
}
END_TEST

static void
play_never(struct fakeserver *f)
{
	uint64_t id;

	fake_take_hello(f, 1, 65536);
	id = fake_take_type(f, TYPE_EXEC);
	fake_take_type(f, TYPE_CANCEL);
	fake_done(f, id);
	fake_send(f);
	id = fake_take_type(f, TYPE_PING);
	fake_ok(f, id);
	fake_send(f);
}

START_TEST(too_much_unsent_is_refused_and_nothing_is_lost)
{
	struct sqlpool_conn *conn = open_script(play_never, 100);
	struct sqlpool_request *request = sqlpool_request_new();
	struct sqlpool_result *results[12], *result;
	size_t size = (size_t)1 << 20;
	char *p = calloc(1, size);
	int sent = 0, rc;

	ck_assert_int_eq(sqlpool_request_add(request, "x",
			     SQLPOOL_VALUES(SQLPOOL_BLOB(p, size))),
	    0);
	do {
		rc = sqlpool_send(conn, request, &result);
		if (rc == 0)
			results[sent++] = result;
	} while (rc == 0 && sent < 12);
	ck_assert_int_eq(rc, -SQLPOOL_ERR_TOO_MANY_REQUESTS);
	/* one is on its way, 8 MiB wait */
	ck_assert_int_eq(sent, 9);
	for (int i = sent - 1; i >= 0; i--)
		sqlpool_result_free(results[i]);
	ck_assert_int_eq(sqlpool_ping(conn), 0);
	sqlpool_request_free(request);
	free(p);
	close_script(conn);
}
END_TEST

static void
play_cancel(struct fakeserver *f)
{
	struct fake_request r = { .head = { 0 } };
	uint64_t id;

	fake_take_hello(f, 1, 65536);
	id = fake_take_type(f, TYPE_EXEC);
	do {
		if (!fake_take(f, &r))
			return;
	} while (r.head.type != TYPE_CANCEL);
	ck_assert_uint_eq(r.ask.target, id);
	fake_error(f, id, SQLPOOL_ERR_CANCELLED, "cancelled");
	fake_send(f);
}

START_TEST(cancel_ends_what_runs_and_what_waits)
{
	struct sqlpool_conn *conn = open_script(play_cancel, 5000);
	struct sqlpool_result *first = send_sql(conn, "SELECT 1");
	struct sqlpool_result *second = send_sql(conn, "SELECT 2");

	ck_assert_int_eq(sqlpool_cancel(second), 0);
	ck_assert_int_eq(sqlpool_next(second), -SQLPOOL_ERR_CANCELLED);
	ck_assert_int_eq(sqlpool_cancel(first), 0);
	ck_assert_int_eq(sqlpool_wait(first), -SQLPOOL_ERR_CANCELLED);
	ck_assert_int_eq(sqlpool_cancel(first), 0);
	sqlpool_result_free(first);
	sqlpool_result_free(second);
	close_script(conn);
}
END_TEST

START_TEST(results_outlive_their_connection)
{
	struct sqlpool_conn *conn = open_script(play_echo, 5000);
	struct sqlpool_result *done, *open;

	ck_assert_int_eq(sqlpool_query(conn, "x",
			     SQLPOOL_VALUES(SQLPOOL_TEXT("abc")), &done),
	    0);
	open = send_sql(conn, "SELECT");
	close_script(conn);
	ck_assert_int_eq(sqlpool_next(done), SQLPOOL_ROW);
	ck_assert_str_eq(sqlpool_column_text(done, 0, NULL), "abc");
	ck_assert_int_eq(sqlpool_next(open), -SQLPOOL_ERR_CONNECTION_LOST);
	sqlpool_result_free(done);
	sqlpool_result_free(open);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("client");
	TCase *tc = tcase_create("open");

	tcase_add_test(tc, open_learns_about_the_server);
	tcase_add_test(tc, open_gives_the_daemons_error);
	tcase_add_test(tc, open_of_a_silent_peer_ends_at_its_deadline);
	tcase_add_test(tc, open_names_path_cause_and_remedy);
	tcase_add_test(tc, open_refuses_options_without_size);
	suite_add_tcase(suite, tc);
	tc = tcase_create("rows");
	tcase_add_test(tc, rows_come_over_many_frames);
	tcase_add_test(tc, an_error_may_come_after_rows);
	tcase_add_test(tc, reading_grants_credit);
	tcase_add_test(tc, exec_drops_any_number_of_rows);
	suite_add_tcase(suite, tc);
	tc = tcase_create("values");
	tcase_add_test(tc, values_come_back_the_same);
	tcase_add_test(tc, the_last_columns_text_does_not_harm_the_next_row);
	tcase_add_test(tc, eight_mebibytes_go_through);
	tcase_add_test(tc, a_request_over_the_daemons_limit_is_not_sent);
	tcase_add_test(tc, named_values_go_as_a_map);
	tcase_add_test(tc, wrong_values_are_misuse);
	tcase_add_test(tc, getters_convert_as_sqlite_does);
	suite_add_tcase(suite, tc);
	tc = tcase_create("faults");
	tcase_add_loop_test(
	    tc, what_is_no_reply_closes_the_connection, 0, FAULTS);
	tcase_add_test(tc, a_reply_cut_at_any_byte_is_a_lost_connection);
	tcase_add_test(
	    tc, silence_ends_at_the_deadline_and_the_connection_lives_on);
	tcase_add_test(tc, the_daemons_last_words_are_the_error);
	tcase_add_test(tc, a_lost_connection_says_what_was_sent);
	tcase_add_test(tc, a_request_cut_on_its_way_was_not_applied);
	tcase_add_test(tc, goaway_finishes_what_was_sent_and_refuses_the_rest);
	suite_add_tcase(suite, tc);
	tc = tcase_create("pipeline");
	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, results_may_come_and_be_taken_in_any_order);
	tcase_add_test(tc, a_deep_pipeline_with_big_results_completes);
	tcase_add_test(tc, too_much_unsent_is_refused_and_nothing_is_lost);
	tcase_add_test(tc, cancel_ends_what_runs_and_what_waits);
	tcase_add_test(tc, results_outlive_their_connection);
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
