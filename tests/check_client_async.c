/* check_client_async.c - libsqlpool-client under an application's event loop:
 * opening, callbacks, deadlines, what to poll for; nothing here ever waits. */
#include <check.h>
#include <poll.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/clientscript.h"
#include "tests/lib/fakedaemon.h"

#define SCRIPTS(...) ((fake_play *const[]){ __VA_ARGS__, NULL })
#define LONG_MS      20000

static struct fakedaemon fake;

/* What a callback has seen. */
struct seen {
	int calls;
	int rows;
	int last; /* what sqlpool_next returned last */
};

static void
read_on(struct sqlpool_result *result, void *arg)
{
	struct seen *seen = arg;

	seen->calls++;
	while ((seen->last = sqlpool_next(result)) == SQLPOOL_ROW)
		seen->rows++;
	if (seen->last != SQLPOOL_AGAIN)
		sqlpool_result_free(result);
}

static struct sqlpool_conn *
start_it(uint32_t timeout_ms)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	struct sqlpool_conn *conn;

	options.socket_path = fake.path;
	options.connect_timeout_ms = timeout_ms;
	options.request_timeout_ms = timeout_ms;
	ck_assert_int_eq(sqlpool_open_start(&options, &conn), 0);
	return conn;
}

static void
send_with(struct sqlpool_conn *conn, const char *sql, struct seen *seen)
{
	struct sqlpool_result *result = clientscript_send(conn, sql);

	ck_assert_int_eq(sqlpool_set_callback(result, read_on, seen), 0);
}

/* One turn of an event loop. */
static int
turn(struct sqlpool_conn *conn)
{
	struct pollfd p = { .fd = -1 };
	int timeout_ms;
	int rc = sqlpool_get_pollinfo(conn, &p.fd, &p.events, &timeout_ms);

	if (rc < 0)
		return rc;
	ck_assert_int_ge(poll(&p, 1, timeout_ms < 0 ? LONG_MS : timeout_ms), 0);
	return sqlpool_process(conn);
}

static void
run_until_end(struct sqlpool_conn *conn, const struct seen *seen)
{
	while (seen->calls == 0 || seen->last == SQLPOOL_AGAIN)
		(void)turn(conn);
}

/* ---- scripts ---- */

static void
play_three(struct fakeserver *f)
{
	fake_take_hello(f, 2, 65536);
	for (uint32_t i = 0; i < 3; i++) {
		uint64_t id = fake_take_type(f, TYPE_EXEC);

		fake_ints(f, TYPE_DONE, id, true, i);
		fake_send(f);
	}
}

static sem_t *gate;

/* The second part is sent when the first was seen. */
static void
play_parts(struct fakeserver *f)
{
	uint64_t id;

	fake_take_hello(f, 2, 65536);
	id = fake_take_type(f, TYPE_EXEC);
	fake_ints(f, TYPE_ROWS, id, true, 2);
	fake_send(f);
	sem_wait(gate);
	fake_ints(f, TYPE_DONE, id, false, 3);
	fake_send(f);
}

static void
play_mute(struct fakeserver *f)
{
	struct fake_request r;

	fake_take_hello(f, 16, 65536);
	while (fake_take(f, &r))
		;
}

/* Takes HELLO, and says nothing at all. */
static void
play_deaf(struct fakeserver *f)
{
	struct fake_request r;

	while (fake_take(f, &r))
		;
}

/* ---- opening ---- */

START_TEST(requests_may_be_sent_before_it_is_open)
{
	struct seen seen[3] = { { 0 }, { 0 }, { 0 } };
	struct sqlpool_conn *conn;

	fakedaemon_start(&fake, SCRIPTS(play_three));
	conn = start_it(LONG_MS);
	ck_assert_str_eq(sqlpool_get_server(conn)->server, "");
	for (int i = 0; i < 3; i++)
		send_with(conn, "x", &seen[i]);
	for (int i = 0; i < 3; i++) {
		run_until_end(conn, &seen[i]);
		ck_assert_int_eq(seen[i].last, SQLPOOL_DONE);
		ck_assert_int_eq(seen[i].rows, i);
		ck_assert_int_eq(seen[i].calls, 1);
	}
	ck_assert_str_ne(sqlpool_get_server(conn)->server, "");
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

START_TEST(opening_that_fails_is_the_error_of_what_was_sent)
{
	struct seen seen = { 0 };
	struct sqlpool_conn *conn;

	fakedaemon_start(&fake, SCRIPTS(NULL));
	fakedaemon_rest(&fake);
	conn = start_it(LONG_MS);
	send_with(conn, "x", &seen);
	ck_assert_int_eq(sqlpool_process(conn), -SQLPOOL_ERR_CONNECT);
	ck_assert_int_eq(seen.calls, 1);
	ck_assert_int_eq(seen.last, -SQLPOOL_ERR_CONNECT);
	ck_assert_int_eq(sqlpool_process(conn), -SQLPOOL_ERR_CONNECT);
	ck_assert_int_eq(
	    sqlpool_exec(conn, "x", NULL, 0), -SQLPOOL_ERR_CONNECT);
	/* there may be one later */
	fakedaemon_rise(&fake, SCRIPTS(play_three));
	ck_assert_int_eq(sqlpool_reset(conn), 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(sqlpool_exec(conn, "x", NULL, 0), 0);
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

START_TEST(opening_has_a_deadline)
{
	struct sqlpool_conn *conn;
	int rc;

	fakedaemon_start(&fake, SCRIPTS(play_deaf));
	conn = start_it(50);
	do {
		rc = turn(conn);
	} while (rc == 0);
	ck_assert_int_eq(rc, -SQLPOOL_ERR_CONNECT);
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

/* ---- callbacks ---- */

START_TEST(a_callback_is_called_when_there_is_more)
{
	struct seen seen = { 0 };
	struct sqlpool_conn *conn;
	sem_t semaphore;

	gate = &semaphore;
	sem_init(gate, 0, 0);
	fakedaemon_start(&fake, SCRIPTS(play_parts));
	conn = start_it(LONG_MS);
	send_with(conn, "x", &seen);
	while (seen.calls == 0)
		ck_assert_int_eq(turn(conn), 0);
	ck_assert_int_eq(seen.last, SQLPOOL_AGAIN);
	ck_assert_int_eq(seen.rows, 2);
	/* nothing came: nothing is called */
	ck_assert_int_eq(sqlpool_process(conn), 0);
	ck_assert_int_eq(seen.calls, 1);
	sem_post(gate);
	run_until_end(conn, &seen);
	ck_assert_int_eq(seen.calls, 2);
	ck_assert_int_eq(seen.rows, 5);
	ck_assert_int_eq(seen.last, SQLPOOL_DONE);
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
	sem_destroy(gate);
}
END_TEST

START_TEST(a_callback_set_late_is_called)
{
	struct seen seen = { 0 };
	struct sqlpool_conn *conn;
	struct sqlpool_result *result;
	int fd, timeout_ms;
	short events;

	fakedaemon_start(&fake, SCRIPTS(play_three));
	conn = start_it(LONG_MS);
	result = clientscript_send(conn, "x");
	ck_assert_int_eq(sqlpool_exec(conn, "x", NULL, 0), 0);
	ck_assert_int_eq(sqlpool_exec(conn, "x", NULL, 0), 0);
	ck_assert_int_eq(sqlpool_set_callback(result, read_on, &seen), 0);
	ck_assert_int_eq(seen.calls, 0);
	ck_assert_int_eq(
	    sqlpool_get_pollinfo(conn, &fd, &events, &timeout_ms), 0);
	ck_assert_int_eq(timeout_ms, 0);
	ck_assert_int_eq(sqlpool_process(conn), 0);
	ck_assert_int_eq(seen.calls, 1);
	ck_assert_int_eq(seen.last, SQLPOOL_DONE);
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

START_TEST(a_callback_has_a_deadline)
{
	struct seen seen = { 0 };
	struct sqlpool_conn *conn;
	int fd, timeout_ms;
	short events;

	fakedaemon_start(&fake, SCRIPTS(play_mute));
	conn = start_it(50);
	while (!sqlpool_get_server(conn)->server[0])
		ck_assert_int_eq(turn(conn), 0);
	send_with(conn, "x", &seen);
	ck_assert_int_eq(
	    sqlpool_get_pollinfo(conn, &fd, &events, &timeout_ms), 0);
	ck_assert_int_gt(timeout_ms, 0);
	ck_assert_int_le(timeout_ms, 550);
	run_until_end(conn, &seen);
	ck_assert_int_eq(seen.last, -SQLPOOL_ERR_CLIENT_TIMEOUT);
	ck_assert_int_eq(seen.calls, 1);
	/* nothing is to be waited for any more */
	ck_assert_int_eq(sqlpool_process(conn), 0);
	ck_assert_int_eq(
	    sqlpool_get_pollinfo(conn, &fd, &events, &timeout_ms), 0);
	ck_assert_int_eq(timeout_ms, -1);
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

/* Send the next one, and cancel, free and misuse. */
struct chain {
	struct sqlpool_conn *conn;
	struct sqlpool_result *other;
	int left;
	int process_rc;
};

static void
go_on(struct sqlpool_result *result, void *arg)
{
	struct chain *chain = arg;

	ck_assert_int_eq(sqlpool_next(result), -SQLPOOL_ERR_CANCELLED);
	sqlpool_result_free(result);
	sqlpool_close(chain->conn); /* not from here */
	chain->process_rc = sqlpool_process(chain->conn);
	sqlpool_result_free(chain->other); /* was due itself */
	chain->other = NULL;
	if (--chain->left == 0)
		return;
	result = clientscript_send(chain->conn, "x");
	ck_assert_int_eq(sqlpool_set_callback(result, go_on, chain), 0);
	ck_assert_int_eq(sqlpool_cancel(result), 0);
}

START_TEST(a_callback_may_send_cancel_and_free)
{
	struct chain chain = { .left = 3 };
	struct sqlpool_result *result;
	struct sqlpool_conn *conn;
	struct seen seen = { 0 };

	/* nothing answers: what is not sent is cancelled here */
	fakedaemon_start(&fake, SCRIPTS(play_deaf));
	conn = start_it(LONG_MS);
	chain.conn = conn;
	result = clientscript_send(conn, "x");
	ck_assert_int_eq(sqlpool_set_callback(result, go_on, &chain), 0);
	chain.other = clientscript_send(conn, "y");
	ck_assert_int_eq(sqlpool_set_callback(chain.other, read_on, &seen), 0);
	ck_assert_int_eq(sqlpool_cancel(result), 0);
	ck_assert_int_eq(sqlpool_cancel(chain.other), 0);
	while (chain.left > 0)
		ck_assert_int_eq(turn(conn), 0);
	ck_assert_int_eq(chain.process_rc, -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(seen.calls, 0);
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

START_TEST(close_calls_what_is_left)
{
	struct seen seen[2] = { { 0 }, { 0 } };
	struct sqlpool_conn *conn;
	struct sqlpool_result *result;

	fakedaemon_start(&fake, SCRIPTS(play_mute));
	conn = start_it(LONG_MS);
	while (!sqlpool_get_server(conn)->server[0])
		ck_assert_int_eq(turn(conn), 0);
	send_with(conn, "x", &seen[0]);
	ck_assert_int_eq(sqlpool_process(conn), 0);
	send_with(conn, "y", &seen[1]);
	result = clientscript_send(conn, "z");
	sqlpool_close(conn);
	ck_assert_int_eq(seen[0].last, -SQLPOOL_ERR_CONNECTION_LOST);
	ck_assert_int_eq(seen[1].last, -SQLPOOL_ERR_CONNECTION_LOST);
	/* too late */
	ck_assert_int_eq(sqlpool_set_callback(result, read_on, &seen[0]),
	    -SQLPOOL_ERR_MISUSE);
	sqlpool_result_free(result);
	fakedaemon_stop(&fake);
}
END_TEST

START_TEST(sending_never_waits)
{
	struct sqlpool_conn *conn;
	struct sqlpool_request *request = sqlpool_request_new();
	struct sqlpool_result *results[20] = { NULL };
	size_t size = (size_t)1 << 20;
	char *p = calloc(1, size);
	int n = 0, rc;

	fakedaemon_start(&fake, SCRIPTS(play_deaf));
	conn = start_it(LONG_MS);
	ck_assert_int_eq(sqlpool_request_add(request, "x",
			     SQLPOOL_VALUES(SQLPOOL_BLOB(p, size))),
	    0);
	ck_assert_int_eq(sqlpool_process(conn), 0);
	while ((rc = sqlpool_send(conn, request, &results[n])) == 0)
		n++;
	ck_assert_int_eq(rc, -SQLPOOL_ERR_TOO_MANY_REQUESTS);
	ck_assert_int_eq(n, 8); /* MiB */
	sqlpool_close(conn);
	while (n > 0)
		sqlpool_result_free(results[--n]);
	sqlpool_request_free(request);
	free(p);
	fakedaemon_stop(&fake);
}
END_TEST

static void
play_hello(struct fakeserver *f)
{
	fake_take_hello(f, 16, 65536);
}

/* An epoll set that a descriptor is in must not find it closed and taken by
 * something else. */
START_TEST(a_descriptor_lives_until_another_is_told)
{
	struct sqlpool_conn *conn;
	struct seen seen = { 0 };
	struct pollfd p = { .fd = -1 };
	int other, timeout_ms;
	short events;

	fakedaemon_start(&fake, SCRIPTS(play_hello, play_three));
	conn = start_it(LONG_MS);
	while (!sqlpool_get_server(conn)->server[0])
		ck_assert_int_eq(turn(conn), 0);
	ck_assert_int_eq(
	    sqlpool_get_pollinfo(conn, &p.fd, &p.events, &timeout_ms), 0);
	send_with(conn, "x", &seen);
	run_until_end(conn, &seen);
	ck_assert_int_eq(seen.last, SQLPOOL_DONE);
	ck_assert_int_eq(
	    sqlpool_get_pollinfo(conn, &other, &events, &timeout_ms), 0);
	ck_assert_int_ne(other, p.fd);
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("client_async");
	TCase *tc = tcase_create("open");

	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, requests_may_be_sent_before_it_is_open);
	tcase_add_test(tc, opening_that_fails_is_the_error_of_what_was_sent);
	tcase_add_test(tc, opening_has_a_deadline);
	suite_add_tcase(suite, tc);
	tc = tcase_create("callbacks");
	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, a_callback_is_called_when_there_is_more);
	tcase_add_test(tc, a_callback_set_late_is_called);
	tcase_add_test(tc, a_callback_has_a_deadline);
	tcase_add_test(tc, a_callback_may_send_cancel_and_free);
	tcase_add_test(tc, close_calls_what_is_left);
	suite_add_tcase(suite, tc);
	tc = tcase_create("loop");
	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, sending_never_waits);
	tcase_add_test(tc, a_descriptor_lives_until_another_is_told);
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
