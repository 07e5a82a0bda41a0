/* check_client_life.c - libsqlpool-client when its daemon goes away, and another one
 * comes. */
#include <check.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/clientscript.h"
#include "tests/lib/fakedaemon.h"

#define SCRIPTS(...) ((fake_play *const[]){ __VA_ARGS__, NULL })

#define LONG_MS 20000

static struct fakedaemon fake;

static struct sqlpool_options
make_options(uint32_t connect_ms)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;

	options.socket_path = fake.path;
	options.connect_timeout_ms = connect_ms;
	options.request_timeout_ms = LONG_MS;
	return options;
}

static struct sqlpool_conn *
open_it(uint32_t connect_ms)
{
	struct sqlpool_options options = make_options(connect_ms);
	struct sqlpool_conn *conn;
	int rc = sqlpool_open(&options, &conn);

	ck_assert_msg(rc == 0, "%s", sqlpool_get_error(conn)->message);
	return conn;
}

static void
assert_failed(
    struct sqlpool_conn *conn, int rc, int code, enum sqlpool_outcome outcome)
{
	ck_assert_msg(rc == -code, "%d, not %d: %s", rc, -code,
	    sqlpool_get_error(conn)->message);
	clientscript_assert_error(sqlpool_get_error(conn), code, outcome);
}

/* Wait until the daemon has closed: the descriptor tells. */
static void
wait_for_end(struct sqlpool_conn *conn)
{
	struct pollfd p = { .fd = -1, .events = POLLRDHUP };
	int timeout_ms;
	short events;

	ck_assert_int_eq(
	    sqlpool_get_pollinfo(conn, &p.fd, &events, &timeout_ms), 0);
	ck_assert_int_eq(poll(&p, 1, LONG_MS), 1);
}

/* Take what there is, and its end. */
static void
lose(struct sqlpool_conn *conn)
{
	int first, fd, timeout_ms;
	short events;

	ck_assert_int_eq(
	    sqlpool_get_pollinfo(conn, &first, &events, &timeout_ms), 0);
	do {
		ck_assert_int_eq(sqlpool_process(conn), 0);
		ck_assert_int_eq(
		    sqlpool_get_pollinfo(conn, &fd, &events, &timeout_ms), 0);
	} while (fd == first);
}

/* ---- scripts ---- */

static uint64_t
take_exec(struct fakeserver *f, const char *sql, bool read_only)
{
	struct fake_request r;

	ck_assert(fake_take(f, &r));
	ck_assert_uint_eq(r.head.type, TYPE_EXEC);
	ck_assert_uint_eq(r.ask.sql.n, strlen(sql));
	ck_assert_mem_eq(r.ask.sql.p, sql, strlen(sql));
	ck_assert_int_eq(r.ask.read_only, read_only);
	return r.head.id;
}

static void
answer_exec(struct fakeserver *f, const char *sql, bool read_only)
{
	fake_done(f, take_exec(f, sql, read_only));
	fake_send(f);
}

static void
play_answer_a(struct fakeserver *f)
{
	fake_take_hello(f, 16, 65536);
	answer_exec(f, "a", false);
}

static void
play_answer_b(struct fakeserver *f)
{
	fake_take_hello(f, 16, 65536);
	answer_exec(f, "b", false);
}

static void
play_take_a(struct fakeserver *f)
{
	fake_take_hello(f, 16, 65536);
	take_exec(f, "a", false);
}

static void
play_take_a_read_only(struct fakeserver *f)
{
	fake_take_hello(f, 16, 65536);
	take_exec(f, "a", true);
}

static void
play_answer_a_read_only(struct fakeserver *f)
{
	uint64_t id;

	fake_take_hello(f, 16, 65536);
	id = take_exec(f, "a", true);
	fake_ints(f, TYPE_DONE, id, true, 3);
	fake_send(f);
}

static void
play_refuse_a_then_ping(struct fakeserver *f)
{
	fake_take_hello(f, 16, 65536);
	fake_error(f, take_exec(f, "a", true), 8, "it writes");
	fake_send(f);
	fake_ok(f, fake_take_type(f, TYPE_PING));
	fake_send(f);
}

/* ---- what happens to requests ---- */

START_TEST(an_idle_connection_is_made_again)
{
	struct sqlpool_conn *conn;

	fakedaemon_start(&fake, SCRIPTS(play_answer_a, play_answer_b));
	conn = open_it(LONG_MS);
	ck_assert_int_eq(sqlpool_exec(conn, "a", NULL, 0), 0);
	wait_for_end(conn);
	/* nothing was sent: so it need not be a read */
	ck_assert_int_eq(sqlpool_exec(conn, "b", NULL, 0), 0);
	ck_assert_int_eq(sqlpool_get_error(conn)->code, 0);
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

START_TEST(a_read_is_sent_again)
{
	struct sqlpool_conn *conn;
	struct sqlpool_result *result;

	fakedaemon_start(&fake, SCRIPTS(play_take_a, play_answer_a_read_only));
	conn = open_it(LONG_MS);
	ck_assert_int_eq(sqlpool_query(conn, "a", NULL, 0, &result), 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_DONE);
	sqlpool_result_free(result);
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

START_TEST(a_write_is_not_sent_again_and_its_outcome_is_unknown)
{
	struct sqlpool_conn *conn;

	fakedaemon_start(&fake, SCRIPTS(play_take_a, play_refuse_a_then_ping));
	conn = open_it(LONG_MS);
	assert_failed(conn, sqlpool_exec(conn, "a", NULL, 0),
	    SQLPOOL_ERR_CONNECTION_LOST, SQLPOOL_UNKNOWN);
	/* and the connection lives */
	ck_assert_int_eq(sqlpool_ping(conn), 0);
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

static int
run_marked(struct sqlpool_conn *conn, enum sqlpool_request_option mark)
{
	struct sqlpool_request *request = sqlpool_request_new();
	struct sqlpool_result *result;
	int rc;

	ck_assert_int_eq(sqlpool_request_add(request, "a", NULL, 0), 0);
	ck_assert_int_eq(sqlpool_request_set_option(request, mark, 1), 0);
	rc = sqlpool_run(conn, request, &result);
	if (rc == 0)
		sqlpool_result_free(result);
	sqlpool_request_free(request);
	return rc;
}

START_TEST(a_marked_request_is_sent_again_as_it_is)
{
	struct sqlpool_conn *conn;

	fakedaemon_start(&fake,
	    _i == 0 ? SCRIPTS(play_take_a, play_answer_a)
		    : SCRIPTS(play_take_a_read_only, play_answer_a_read_only));
	conn = open_it(LONG_MS);
	ck_assert_int_eq(
	    run_marked(conn, _i ? SQLPOOL_READ_ONLY : SQLPOOL_IDEMPOTENT), 0);
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

START_TEST(a_marked_request_is_sent_again_once)
{
	struct sqlpool_conn *conn;

	fakedaemon_start(&fake,
	    _i == 0 ? SCRIPTS(play_take_a, play_take_a)
		    : SCRIPTS(play_take_a_read_only, play_take_a_read_only));
	conn = open_it(LONG_MS);
	/* what cannot write was not applied, whatever happened */
	assert_failed(conn,
	    run_marked(conn, _i ? SQLPOOL_READ_ONLY : SQLPOOL_IDEMPOTENT),
	    SQLPOOL_ERR_CONNECTION_LOST,
	    _i ? SQLPOOL_NOT_APPLIED : SQLPOOL_UNKNOWN);
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

static void
play_half(struct fakeserver *f)
{
	uint64_t id;

	fake_take_hello(f, 16, 65536);
	id = take_exec(f, "a", false);
	fake_ints(f, TYPE_ROWS, id, true, 2);
	fake_send(f);
}

static void
play_ping(struct fakeserver *f)
{
	fake_take_hello(f, 16, 65536);
	fake_ok(f, fake_take_type(f, TYPE_PING));
	fake_send(f);
}

START_TEST(rows_that_were_taken_are_not_taken_back)
{
	struct sqlpool_conn *conn;
	struct sqlpool_result *result;

	fakedaemon_start(&fake, SCRIPTS(play_half, play_ping));
	conn = open_it(LONG_MS);
	ck_assert_int_eq(sqlpool_query(conn, "a", NULL, 0, &result), 0);
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
	assert_failed(conn, sqlpool_next(result), SQLPOOL_ERR_CONNECTION_LOST,
	    SQLPOOL_UNKNOWN);
	sqlpool_result_free(result);
	ck_assert_int_eq(sqlpool_ping(conn), 0);
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

START_TEST(rows_that_nobody_took_come_again)
{
	struct sqlpool_conn *conn;
	struct sqlpool_result *result;

	fakedaemon_start(&fake, SCRIPTS(play_half, play_answer_a_read_only));
	conn = open_it(LONG_MS);
	result = clientscript_send(conn, "a");
	ck_assert_int_eq(sqlpool_process(conn), 0);
	wait_for_end(conn);
	lose(conn);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_DONE);
	sqlpool_result_free(result);
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

static void
play_three_at_once(struct fakeserver *f)
{
	fake_take_hello(f, 2, 65536);
	take_exec(f, "a", false);
	take_exec(f, "b", false);
}

static void
play_three_in_order(struct fakeserver *f)
{
	fake_take_hello(f, 16, 65536);
	answer_exec(f, "a", true);
	answer_exec(f, "b", true);
	answer_exec(f, "c", false); /* was never sent */
}

START_TEST(a_pipeline_goes_on_in_its_order)
{
	struct sqlpool_conn *conn;
	struct sqlpool_result *results[3];

	fakedaemon_start(
	    &fake, SCRIPTS(play_three_at_once, play_three_in_order));
	conn = open_it(LONG_MS);
	results[0] = clientscript_send(conn, "a");
	results[1] = clientscript_send(conn, "b");
	results[2] = clientscript_send(conn, "c");
	for (int i = 2; i >= 0; i--) {
		ck_assert_int_eq(sqlpool_next(results[i]), SQLPOOL_DONE);
		sqlpool_result_free(results[i]);
	}
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

/* ---- a daemon that says that it goes ---- */

static void
play_goaway(struct fakeserver *f)
{
	uint64_t first, second;
	struct fake_request r;

	fake_take_hello(f, 16, 65536);
	first = take_exec(f, "a", false);
	second = take_exec(f, "b", false);
	fake_error(f, second, SQLPOOL_ERR_SHUTTING_DOWN, "too late");
	fake_begin(f, TYPE_GOAWAY, 0);
	msg_put_str(&f->m, TELL_message, "shutting down");
	fake_end(f);
	fake_send(f);
	fake_done(f, first);
	fake_send(f);
	/* nothing new, and then it leaves */
	ck_assert(!fake_take(f, &r));
}

static void
play_b_and_c(struct fakeserver *f)
{
	fake_take_hello(f, 16, 65536);
	answer_exec(f, "b", false);
	answer_exec(f, "c", false);
}

START_TEST(what_a_daemon_that_stops_refuses_goes_to_the_next)
{
	struct sqlpool_conn *conn;
	struct sqlpool_result *first, *second;

	fakedaemon_start(&fake, SCRIPTS(play_goaway, play_b_and_c));
	conn = open_it(LONG_MS);
	first = clientscript_send(conn, "a");
	second = clientscript_send(conn, "b");
	ck_assert_int_eq(sqlpool_next(first), SQLPOOL_DONE);
	ck_assert_int_eq(sqlpool_next(second), SQLPOOL_DONE);
	ck_assert_int_eq(sqlpool_exec(conn, "c", NULL, 0), 0);
	sqlpool_result_free(first);
	sqlpool_result_free(second);
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

static void
put_state(struct fakeserver *f, enum msg_type type, uint64_t id, uint64_t state)
{
	fake_begin(f, type, id);
	msg_put_uint(&f->m, TELL_tx_state, state);
	fake_end(f);
	fake_send(f);
}

static void
play_goaway_in_transaction(struct fakeserver *f)
{
	struct fake_request r;

	fake_take_hello(f, 16, 65536);
	put_state(f, TYPE_OK, fake_take_type(f, TYPE_TX_BEGIN), TX_STATE_OPEN);
	fake_begin(f, TYPE_GOAWAY, 0);
	msg_put_str(&f->m, TELL_message, "shutting down");
	fake_end(f);
	put_state(f, TYPE_DONE, take_exec(f, "a", false), TX_STATE_WRITE);
	put_state(f, TYPE_OK, fake_take_type(f, TYPE_TX_END), TX_STATE_NONE);
	ck_assert(!fake_take(f, &r));
}

START_TEST(a_transaction_ends_where_it_began)
{
	struct sqlpool_conn *conn;

	fakedaemon_start(
	    &fake, SCRIPTS(play_goaway_in_transaction, play_answer_b));
	conn = open_it(LONG_MS);
	ck_assert_int_eq(sqlpool_begin(conn, SQLPOOL_TX_IMMEDIATE), 0);
	ck_assert_int_eq(sqlpool_exec(conn, "a", NULL, 0), 0);
	ck_assert_int_eq(sqlpool_commit(conn), 0);
	ck_assert_int_eq(sqlpool_exec(conn, "b", NULL, 0), 0);
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

/* ---- what belongs to a connection ---- */

static uint64_t prepared_number;

static void
take_prepare(struct fakeserver *f)
{
	struct fake_request r;

	ck_assert(fake_take(f, &r));
	ck_assert_uint_eq(r.head.type, TYPE_PREPARE);
	ck_assert_uint_eq(r.ask.sql.n, 1);
	ck_assert_mem_eq(r.ask.sql.p, "p", 1);
	prepared_number = r.ask.stmt;
	fake_ok(f, r.head.id);
	fake_send(f);
}

static void
play_lose_transaction(struct fakeserver *f)
{
	fake_take_hello(f, 16, 65536);
	put_state(f, TYPE_OK, fake_take_type(f, TYPE_TX_BEGIN), TX_STATE_OPEN);
	take_exec(f, "a", false);
}

START_TEST(a_lost_transaction_fails_until_it_is_ended)
{
	struct sqlpool_conn *conn;

	fakedaemon_start(&fake, SCRIPTS(play_lose_transaction, play_answer_b));
	conn = open_it(LONG_MS);
	ck_assert_int_eq(sqlpool_begin(conn, SQLPOOL_TX_DEFERRED), 0);
	assert_failed(conn, sqlpool_exec(conn, "a", NULL, 0),
	    SQLPOOL_ERR_CONNECTION_LOST, SQLPOOL_UNKNOWN);
	/* none of these runs outside of it */
	for (int i = 0; i < 2; i++) {
		ck_assert(sqlpool_in_transaction(conn));
		assert_failed(conn, sqlpool_exec(conn, "x", NULL, 0),
		    SQLPOOL_ERR_CONNECTION_LOST, SQLPOOL_NOT_APPLIED);
	}
	if (_i == 0)
		assert_failed(conn, sqlpool_commit(conn),
		    SQLPOOL_ERR_CONNECTION_LOST, SQLPOOL_NOT_APPLIED);
	else if (_i == 1)
		ck_assert_int_eq(sqlpool_rollback(conn), 0);
	else
		ck_assert_int_eq(sqlpool_reset(conn), 0);
	ck_assert(!sqlpool_in_transaction(conn));
	ck_assert_int_eq(sqlpool_exec(conn, "b", NULL, 0), 0);
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

static void
play_prepare_and_lose_transaction(struct fakeserver *f)
{
	fake_take_hello(f, 16, 65536);
	take_prepare(f);
	put_state(f, TYPE_OK, fake_take_type(f, TYPE_TX_BEGIN), TX_STATE_OPEN);
	take_exec(f, "a", false);
}

static void
play_prepare_and_close(struct fakeserver *f)
{
	fake_take_hello(f, 16, 65536);
	take_prepare(f);
	fake_ok(f, fake_take_type(f, TYPE_PING));
	fake_send(f);
	fake_ok(f, fake_take_type(f, TYPE_CLOSE));
	fake_ok(f, fake_take_type(f, TYPE_PING));
	fake_send(f);
}

START_TEST(a_lost_transaction_is_no_trouble_for_what_is_not_in_it)
{
	struct sqlpool_conn *conn;
	struct sqlpool_stmt *stmt;

	fakedaemon_start(&fake,
	    SCRIPTS(play_prepare_and_lose_transaction, play_prepare_and_close));
	conn = open_it(LONG_MS);
	ck_assert_int_eq(sqlpool_prepare(conn, "p", &stmt), 0);
	ck_assert_int_eq(sqlpool_begin(conn, SQLPOOL_TX_DEFERRED), 0);
	assert_failed(conn, sqlpool_exec(conn, "a", NULL, 0),
	    SQLPOOL_ERR_CONNECTION_LOST, SQLPOOL_UNKNOWN);
	ck_assert_int_eq(sqlpool_ping(conn), 0);
	sqlpool_stmt_free(stmt);
	ck_assert_int_eq(sqlpool_ping(conn), 0);
	/* none of this has made another error */
	clientscript_assert_error(sqlpool_get_error(conn),
	    SQLPOOL_ERR_CONNECTION_LOST, SQLPOOL_UNKNOWN);
	ck_assert(sqlpool_in_transaction(conn));
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

static void
play_lose_commit(struct fakeserver *f)
{
	fake_take_hello(f, 16, 65536);
	put_state(f, TYPE_OK, fake_take_type(f, TYPE_TX_BEGIN), TX_STATE_OPEN);
	fake_take_type(f, TYPE_TX_END);
}

START_TEST(a_commit_that_is_lost_may_have_been_one)
{
	struct sqlpool_conn *conn;

	fakedaemon_start(&fake, SCRIPTS(play_lose_commit, play_answer_b));
	conn = open_it(LONG_MS);
	ck_assert_int_eq(sqlpool_begin(conn, SQLPOOL_TX_DEFERRED), 0);
	if (_i == 0)
		assert_failed(conn, sqlpool_commit(conn),
		    SQLPOOL_ERR_CONNECTION_LOST, SQLPOOL_UNKNOWN);
	else /* losing the connection rolls back as well */
		ck_assert_int_eq(sqlpool_rollback(conn), 0);
	ck_assert(!sqlpool_in_transaction(conn));
	ck_assert_int_eq(sqlpool_exec(conn, "b", NULL, 0), 0);
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

static void
play_prepare(struct fakeserver *f)
{
	fake_take_hello(f, 16, 65536);
	take_prepare(f);
}

static void
play_prepare_again(struct fakeserver *f)
{
	uint64_t number = prepared_number;
	struct fake_request r;

	fake_take_hello(f, 16, 65536);
	take_prepare(f);
	ck_assert_uint_eq(prepared_number, number);
	ck_assert(fake_take(f, &r));
	ck_assert_uint_eq(r.head.type, TYPE_EXEC);
	ck_assert_uint_eq(r.ask.stmt, number);
	fake_done(f, r.head.id);
	fake_send(f);
}

START_TEST(prepared_statements_are_prepared_again)
{
	struct sqlpool_conn *conn;
	struct sqlpool_stmt *stmt;

	fakedaemon_start(&fake, SCRIPTS(play_prepare, play_prepare_again));
	conn = open_it(LONG_MS);
	ck_assert_int_eq(sqlpool_prepare(conn, "p", &stmt), 0);
	wait_for_end(conn);
	ck_assert_int_eq(sqlpool_stmt_exec(stmt, NULL, 0), 0);
	sqlpool_stmt_free(stmt);
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

static void
play_hello(struct fakeserver *f)
{
	fake_take_hello(f, 16, 65536);
}

START_TEST(a_child_does_not_make_it_again)
{
	struct sqlpool_conn *conn;
	int status;
	pid_t pid;

	fakedaemon_start(&fake, SCRIPTS(play_hello, play_answer_b));
	conn = open_it(LONG_MS);
	wait_for_end(conn);
	pid = fork();
	if (pid == 0) {
		bool ok = sqlpool_exec(conn, "b", NULL, 0) ==
			-SQLPOOL_ERR_MISUSE &&
		    sqlpool_reset(conn) == -SQLPOOL_ERR_MISUSE &&
		    sqlpool_process(conn) == -SQLPOOL_ERR_MISUSE;

		sqlpool_close(conn);
		_exit(ok ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(sqlpool_exec(conn, "b", NULL, 0), 0);
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

/* ---- nobody there ---- */

static void
play_stopping(struct fakeserver *f)
{
	fake_error(f, fake_take_type(f, TYPE_HELLO), SQLPOOL_ERR_SHUTTING_DOWN,
	    "going");
	fake_send(f);
}

START_TEST(a_daemon_is_looked_for_until_one_is_there)
{
	struct sqlpool_conn *conn;
	struct sqlpool_result *result;
	int timeout_ms, fd;
	short events;

	fakedaemon_start(&fake, SCRIPTS(play_hello));
	conn = open_it(LONG_MS);
	wait_for_end(conn);
	fakedaemon_rest(&fake);
	result = clientscript_send(conn, "b");
	/* one attempt now, the next a bit later */
	ck_assert_int_eq(sqlpool_process(conn), 0);
	ck_assert_int_eq(sqlpool_process(conn), 0);
	ck_assert_int_eq(
	    sqlpool_get_pollinfo(conn, &fd, &events, &timeout_ms), 0);
	ck_assert_int_eq(fd, -1);
	ck_assert_int_ge(timeout_ms, 0);
	ck_assert_int_le(timeout_ms, 10);
	ck_assert(!sqlpool_result_is_ready(result));
	/* one that is about to stop does not count */
	fakedaemon_rise(&fake, SCRIPTS(play_stopping, play_answer_b));
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_DONE);
	sqlpool_result_free(result);
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

START_TEST(looking_for_a_daemon_has_an_end)
{
	struct sqlpool_conn *conn;

	fakedaemon_start(&fake, SCRIPTS(play_take_a));
	conn = open_it(100);
	/* it was sent: nobody can tell */
	assert_failed(conn, sqlpool_exec(conn, "a", NULL, 0),
	    SQLPOOL_ERR_CONNECT, SQLPOOL_UNKNOWN);
	fakedaemon_rest(&fake);
	/* what was not sent was not applied; it finds out at once */
	assert_failed(conn, sqlpool_exec(conn, "b", NULL, 0),
	    SQLPOOL_ERR_CONNECT, SQLPOOL_NOT_APPLIED);
	ck_assert_ptr_nonnull(
	    strstr(sqlpool_get_error(conn)->message, fake.path));
	/* and when there is one again, it is found */
	fakedaemon_rise(&fake, SCRIPTS(play_answer_b));
	ck_assert_int_eq(sqlpool_exec(conn, "b", NULL, 0), 0);
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

static void
play_no_database(struct fakeserver *f)
{
	fake_error(f, fake_take_type(f, TYPE_HELLO), SQLPOOL_ERR_NO_DATABASE,
	    "there is x");
	fake_send(f);
}

static void
play_mute(struct fakeserver *f)
{
	struct fake_request r;

	while (fake_take(f, &r))
		;
}

START_TEST(what_another_daemon_says_is_told)
{
	struct sqlpool_conn *conn;

	fakedaemon_start(&fake,
	    SCRIPTS(play_hello, play_no_database, play_mute, play_answer_b));
	conn = open_it(200);
	wait_for_end(conn);
	assert_failed(conn, sqlpool_exec(conn, "b", NULL, 0),
	    SQLPOOL_ERR_NO_DATABASE, SQLPOOL_NOT_APPLIED);
	/* silence is no answer */
	assert_failed(conn, sqlpool_exec(conn, "b", NULL, 0),
	    SQLPOOL_ERR_CONNECT, SQLPOOL_NOT_APPLIED);
	ck_assert_int_eq(sqlpool_exec(conn, "b", NULL, 0), 0);
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

START_TEST(what_should_stay_lost_does)
{
	struct sqlpool_options options;
	struct sqlpool_conn *conn;

	fakedaemon_start(&fake, SCRIPTS(play_hello, play_answer_b));
	options = make_options(LONG_MS);
	options.no_reconnect = true;
	ck_assert_int_eq(sqlpool_open(&options, &conn), 0);
	wait_for_end(conn);
	assert_failed(conn, sqlpool_exec(conn, "b", NULL, 0),
	    SQLPOOL_ERR_CONNECTION_LOST, SQLPOOL_NOT_APPLIED);
	assert_failed(conn, sqlpool_exec(conn, "b", NULL, 0),
	    SQLPOOL_ERR_CONNECTION_LOST, SQLPOOL_NOT_APPLIED);
	ck_assert_int_eq(sqlpool_reset(conn), 0);
	ck_assert_int_eq(sqlpool_exec(conn, "b", NULL, 0), 0);
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

static void
play_nonsense(struct fakeserver *f)
{
	fake_take_hello(f, 16, 65536);
	take_exec(f, "a", false);
	buf_put(&f->out, "HTTP/1.1 400", 12);
	fake_send(f);
}

static void
play_leave_open(struct fakeserver *f)
{
	struct fake_request r;

	fake_take_hello(f, 16, 65536);
	put_state(f, TYPE_OK, fake_take_type(f, TYPE_TX_BEGIN), TX_STATE_OPEN);
	take_exec(f, "a", false);
	ck_assert(!fake_take(f, &r)); /* it never answers, and is left */
}

START_TEST(reset_makes_a_connection_as_good_as_new)
{
	struct sqlpool_conn *conn;
	struct sqlpool_result *result;

	fakedaemon_start(
	    &fake, SCRIPTS(play_nonsense, play_leave_open, play_answer_b));
	conn = open_it(LONG_MS);
	assert_failed(conn, sqlpool_exec(conn, "a", NULL, 0),
	    SQLPOOL_ERR_BAD_REPLY, SQLPOOL_UNKNOWN);
	assert_failed(conn, sqlpool_exec(conn, "a", NULL, 0),
	    SQLPOOL_ERR_BAD_REPLY, SQLPOOL_NOT_APPLIED);
	ck_assert_int_eq(sqlpool_reset(conn), 0);
	ck_assert_int_eq(sqlpool_begin(conn, SQLPOOL_TX_DEFERRED), 0);
	result = clientscript_send(conn, "a");
	ck_assert_int_eq(sqlpool_process(conn), 0);
	ck_assert_int_eq(sqlpool_reset(conn), 0);
	ck_assert(!sqlpool_in_transaction(conn));
	ck_assert_int_eq(sqlpool_next(result), -SQLPOOL_ERR_CONNECTION_LOST);
	ck_assert_int_eq(sqlpool_exec(conn, "b", NULL, 0), 0);
	sqlpool_result_free(result);
	sqlpool_close(conn);
	fakedaemon_stop(&fake);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("client_life");
	TCase *tc = tcase_create("requests");

	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, an_idle_connection_is_made_again);
	tcase_add_test(tc, a_read_is_sent_again);
	tcase_add_test(
	    tc, a_write_is_not_sent_again_and_its_outcome_is_unknown);
	tcase_add_loop_test(tc, a_marked_request_is_sent_again_as_it_is, 0, 2);
	tcase_add_loop_test(tc, a_marked_request_is_sent_again_once, 0, 2);
	tcase_add_test(tc, rows_that_were_taken_are_not_taken_back);
	tcase_add_test(tc, rows_that_nobody_took_come_again);
	tcase_add_test(tc, a_pipeline_goes_on_in_its_order);
	suite_add_tcase(suite, tc);
	tc = tcase_create("leaving");
	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, what_a_daemon_that_stops_refuses_goes_to_the_next);
	tcase_add_test(tc, a_transaction_ends_where_it_began);
	suite_add_tcase(suite, tc);
	tc = tcase_create("belongings");
	tcase_set_timeout(tc, 20);
	tcase_add_loop_test(
	    tc, a_lost_transaction_fails_until_it_is_ended, 0, 3);
	tcase_add_test(
	    tc, a_lost_transaction_is_no_trouble_for_what_is_not_in_it);
	tcase_add_loop_test(tc, a_commit_that_is_lost_may_have_been_one, 0, 2);
	tcase_add_test(tc, prepared_statements_are_prepared_again);
	tcase_add_test(tc, a_child_does_not_make_it_again);
	suite_add_tcase(suite, tc);
	tc = tcase_create("search");
	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, a_daemon_is_looked_for_until_one_is_there);
	tcase_add_test(tc, looking_for_a_daemon_has_an_end);
	tcase_add_test(tc, what_another_daemon_says_is_told);
	tcase_add_test(tc, what_should_stay_lost_does);
	tcase_add_test(tc, reset_makes_a_connection_as_good_as_new);
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
