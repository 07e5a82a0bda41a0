/* check_client_faults.c - libsqlpool-client against a daemon that says the wrong
 * thing, or nothing. */
#include <check.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/clientscript.h"

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
	conn = clientscript_open(play_fault, 5000);
	rc = sqlpool_query(conn, "SELECT", NULL, 0, &result);
	if (rc == 0) {
		ck_assert_int_eq(sqlpool_next(result), -SQLPOOL_ERR_BAD_REPLY);
		ck_assert_int_eq(sqlpool_next(result), -SQLPOOL_ERR_BAD_REPLY);
		sqlpool_result_free(result);
	} else {
		ck_assert_int_eq(rc, -SQLPOOL_ERR_BAD_REPLY);
	}
	clientscript_assert_error(
	    sqlpool_get_error(conn), SQLPOOL_ERR_BAD_REPLY, SQLPOOL_UNKNOWN);
	/* what comes later was never sent */
	ck_assert_int_eq(sqlpool_ping(conn), -SQLPOOL_ERR_BAD_REPLY);
	clientscript_assert_error(sqlpool_get_error(conn),
	    SQLPOOL_ERR_BAD_REPLY, SQLPOOL_NOT_APPLIED);
	clientscript_close(conn);
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
	struct sqlpool_conn *conn = clientscript_open(play_cut, 5000);
	struct sqlpool_result *result;
	int rc = sqlpool_query(conn, "SELECT", NULL, 0, &result);

	if (rc == 0) {
		do {
			rc = sqlpool_next(result);
		} while (rc == SQLPOOL_ROW);
		sqlpool_result_free(result);
	}
	ck_assert_int_eq(rc, -SQLPOOL_ERR_CONNECTION_LOST);
	clientscript_assert_error(sqlpool_get_error(conn),
	    SQLPOOL_ERR_CONNECTION_LOST, SQLPOOL_UNKNOWN);
	clientscript_close(conn);
}

START_TEST(a_reply_cut_at_any_byte_is_a_lost_connection)
{
	cut_size = 1;
	for (cut_at = 0; cut_at < cut_size; cut_at++)
		check_cut_reply();
}
END_TEST

static void
play_cut_hello(struct fakeserver *f)
{
	uint64_t id = fake_take_type(f, TYPE_HELLO);

	fake_begin(f, TYPE_OK, id);
	msg_put_uint(&f->m, TELL_version, 1);
	fake_end(f);
	cut_size = f->out.n;
	fake_send_cut(f, cut_at < cut_size ? cut_at : cut_size);
}

/* Nothing of it, and then a byte more each time. */
START_TEST(a_greeting_cut_at_any_byte_is_no_connection)
{
	cut_size = 1;
	for (cut_at = 0; cut_at < cut_size; cut_at++) {
		struct sqlpool_options options;
		struct sqlpool_conn *conn;

		fakeserver_start(&clientscript_fs, play_cut_hello, NULL);
		options = clientscript_make_options(5000);
		ck_assert_int_eq(
		    sqlpool_open(&options, &conn), -SQLPOOL_ERR_CONNECT);
		clientscript_assert_error(sqlpool_get_error(conn),
		    SQLPOOL_ERR_CONNECT, SQLPOOL_NOT_APPLIED);
		clientscript_close(conn);
	}
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
	struct sqlpool_conn *conn = clientscript_open(play_late, 50);
	struct sqlpool_result *result;

	ck_assert_int_eq(sqlpool_query(conn, "SELECT", NULL, 0, &result),
	    -SQLPOOL_ERR_CLIENT_TIMEOUT);
	clientscript_assert_error(sqlpool_get_error(conn),
	    SQLPOOL_ERR_CLIENT_TIMEOUT, SQLPOOL_UNKNOWN);
	ck_assert_int_eq(sqlpool_ping(conn), 0);
	clientscript_close(conn);
}
END_TEST

/* A daemon whose requests have 50 ms unless they say otherwise, and which is
 * late all the same. */
static void
play_brief(struct fakeserver *f)
{
	uint64_t id = fake_take_type(f, TYPE_HELLO);
	struct fake_request r;

	fake_begin(f, TYPE_OK, id);
	msg_put_uint(&f->m, TELL_version, MSG_VERSION);
	msg_put_uint(&f->m, TELL_timeout_ms, 50);
	fake_end(f);
	fake_send(f);
	ck_assert(fake_take(f, &r));
	ck_assert_uint_eq(r.head.type, TYPE_EXEC);
	ck_assert(!MSG_HAS(&r.head, HEAD_timeout_ms));
	(void)fake_take_type(f, TYPE_CANCEL);
}

START_TEST(without_a_timeout_of_its_own_a_request_has_the_daemons)
{
	struct sqlpool_conn *conn = clientscript_open(play_brief, 0);
	struct sqlpool_result *result;

	ck_assert_int_eq(sqlpool_query(conn, "SELECT", NULL, 0, &result),
	    -SQLPOOL_ERR_CLIENT_TIMEOUT);
	ck_assert_str_eq(
	    sqlpool_get_error(conn)->message, "no answer within 50 ms");
	clientscript_close(conn);
}
END_TEST

/* Send rows of a request that nobody reads, as long as somebody is there. */
static void
play_flood(struct fakeserver *f)
{
	uint64_t id;

	fake_take_hello(f, 16, 65536);
	id = fake_take_type(f, TYPE_EXEC);
	fake_ints(f, TYPE_ROWS, id, true, 5000);
	fake_send(f);
	for (int i = 0; i < 100; i++) {
		fake_ints(f, TYPE_ROWS, id, false, 5000);
		fake_send(f);
	}
}

START_TEST(rows_beyond_the_window_close_the_connection)
{
	struct sqlpool_conn *conn = clientscript_open(play_flood, 5000);
	struct sqlpool_result *result = clientscript_send(conn, "SELECT");

	ck_assert_int_eq(sqlpool_ping(conn), -SQLPOOL_ERR_BAD_REPLY);
	ck_assert_int_eq(sqlpool_next(result), -SQLPOOL_ERR_BAD_REPLY);
	sqlpool_result_free(result);
	clientscript_close(conn);
}
END_TEST

static void
play_chatter(struct fakeserver *f)
{
	uint64_t id;

	fake_take_hello(f, 16, 65536);
	fake_take_type(f, TYPE_EXEC);
	id = fake_take_type(f, TYPE_EXEC);
	/* about a second, within the window */
	for (int i = 0; i < 1000; i++) {
		fake_ints(f, TYPE_ROWS, id, i == 0, 1);
		fake_send(f);
		usleep(1000);
	}
}

START_TEST(traffic_does_not_stretch_a_deadline)
{
	struct sqlpool_conn *conn = clientscript_open(play_chatter, 50);
	struct sqlpool_result *first = clientscript_send(conn, "SELECT 1");
	struct sqlpool_result *second = clientscript_send(conn, "SELECT 2");

	ck_assert_int_eq(sqlpool_wait(first), -SQLPOOL_ERR_CLIENT_TIMEOUT);
	ck_assert_int_eq(sqlpool_next(second), SQLPOOL_ROW);
	sqlpool_result_free(first);
	sqlpool_result_free(second);
	clientscript_close(conn);
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
	struct sqlpool_conn *conn = clientscript_open(play_notice, 5000);

	ck_assert_int_eq(
	    sqlpool_exec(conn, "x", NULL, 0), -SQLPOOL_ERR_FRAME_TOO_DEEP);
	clientscript_assert_error(sqlpool_get_error(conn),
	    SQLPOOL_ERR_FRAME_TOO_DEEP, SQLPOOL_UNKNOWN);
	ck_assert_str_eq(sqlpool_get_error(conn)->message, "nested too deep");
	clientscript_close(conn);
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
	struct sqlpool_conn *conn = clientscript_open(
	    play_close_after_one, 5000);
	struct sqlpool_result *first = clientscript_send(conn, "INSERT 1");
	struct sqlpool_result *second = clientscript_send(conn, "INSERT 2");

	ck_assert_int_eq(sqlpool_next(second), -SQLPOOL_ERR_CONNECTION_LOST);
	clientscript_assert_error(sqlpool_result_error(second),
	    SQLPOOL_ERR_CONNECTION_LOST, SQLPOOL_NOT_APPLIED);
	ck_assert_int_eq(sqlpool_next(first), -SQLPOOL_ERR_CONNECTION_LOST);
	clientscript_assert_error(sqlpool_result_error(first),
	    SQLPOOL_ERR_CONNECTION_LOST, SQLPOOL_UNKNOWN);
	sqlpool_result_free(first);
	sqlpool_result_free(second);
	clientscript_close(conn);
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
	struct sqlpool_conn *conn = clientscript_open(play_hang_up_early, 5000);
	size_t size = (size_t)8 << 20;
	char *p = calloc(1, size);

	ck_assert_int_eq(
	    sqlpool_exec(conn, "x", SQLPOOL_VALUES(SQLPOOL_BLOB(p, size))),
	    -SQLPOOL_ERR_CONNECTION_LOST);
	clientscript_assert_error(sqlpool_get_error(conn),
	    SQLPOOL_ERR_CONNECTION_LOST, SQLPOOL_NOT_APPLIED);
	free(p);
	clientscript_close(conn);
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
	struct sqlpool_conn *conn = clientscript_open(play_goaway, 5000);
	struct sqlpool_result *first = clientscript_send(conn, "INSERT 1");
	struct sqlpool_result *second = clientscript_send(conn, "INSERT 2");

	ck_assert_int_eq(sqlpool_next(first), SQLPOOL_DONE);
	ck_assert_int_eq(sqlpool_next(second), -SQLPOOL_ERR_SHUTTING_DOWN);
	clientscript_assert_error(sqlpool_result_error(second),
	    SQLPOOL_ERR_SHUTTING_DOWN, SQLPOOL_NOT_APPLIED);
	ck_assert_int_eq(
	    sqlpool_exec(conn, "x", NULL, 0), -SQLPOOL_ERR_SHUTTING_DOWN);
	sqlpool_result_free(first);
	sqlpool_result_free(second);
	clientscript_close(conn);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("client_faults");
	TCase *tc;

	tc = tcase_create("faults");
	tcase_set_timeout(tc, 20);
	tcase_add_loop_test(
	    tc, what_is_no_reply_closes_the_connection, 0, FAULTS);
	tcase_add_test(tc, a_reply_cut_at_any_byte_is_a_lost_connection);
	tcase_add_test(tc, a_greeting_cut_at_any_byte_is_no_connection);
	tcase_add_test(
	    tc, silence_ends_at_the_deadline_and_the_connection_lives_on);
	tcase_add_test(
	    tc, without_a_timeout_of_its_own_a_request_has_the_daemons);
	tcase_add_test(tc, rows_beyond_the_window_close_the_connection);
	tcase_add_test(tc, traffic_does_not_stretch_a_deadline);
	tcase_add_test(tc, the_daemons_last_words_are_the_error);
	tcase_add_test(tc, a_lost_connection_says_what_was_sent);
	tcase_add_test(tc, a_request_cut_on_its_way_was_not_applied);
	tcase_add_test(tc, goaway_finishes_what_was_sent_and_refuses_the_rest);
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
