/* check_client.c - libsqlpool-client against a scripted daemon: opening and
 * rows. */
#include <check.h>
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

/* A row may be far larger than the window: the daemon goes on when there is room
 * for all it sent and one byte more. */
static void
play_huge_rows(struct fakeserver *f)
{
	uint64_t window = 1000, sent = 0, id;

	fake_take_hello(f, 16, window);
	id = fake_take_type(f, TYPE_EXEC);
	for (int i = 0; i < 4; i++) {
		while (sent >= window)
			window += take_credit(f, id);
		fake_ints(f, TYPE_ROWS, id, i == 0, i % 2 ? 1 : 30000);
		sent += f->out.n;
		fake_send(f);
	}
	fake_done(f, id);
	fake_send(f);
}

START_TEST(a_frame_larger_than_the_window_is_granted_whole)
{
	struct sqlpool_conn *conn = clientscript_open(play_huge_rows, 5000);
	struct sqlpool_result *result;
	int n = 0;

	if (_i == 0) {
		ck_assert_int_eq(sqlpool_exec(conn, "SELECT", NULL, 0), 0);
	} else {
		ck_assert_int_eq(
		    sqlpool_query(conn, "SELECT", NULL, 0, &result), 0);
		while (sqlpool_next(result) == SQLPOOL_ROW)
			n++;
		ck_assert_int_eq(n, 60002);
		sqlpool_result_free(result);
	}
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
	tcase_add_loop_test(
	    tc, a_frame_larger_than_the_window_is_granted_whole, 0, 2);
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
