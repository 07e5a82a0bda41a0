/* check_client_flow.c - libsqlpool-client: pipelines, and the process around
 * them. */
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/impl.h"
#include "tests/lib/clientscript.h"

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
	struct sqlpool_conn *conn = clientscript_open(play_backwards, 5000);
	struct sqlpool_result *results[DEPTH];

	for (int i = 0; i < DEPTH; i++)
		results[i] = clientscript_send(conn, "SELECT");
	for (int i = 0; i < DEPTH; i++) {
		struct sqlpool_result *result = results[(i * 7) % DEPTH];

		for (int row = 0; row < (i * 7) % DEPTH; row++)
			ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
		ck_assert_int_eq(sqlpool_next(result), SQLPOOL_DONE);
	}
	for (int i = 0; i < DEPTH; i++)
		sqlpool_result_free(results[i]);
	clientscript_close(conn);
}
END_TEST

/* Two of its requests fit into the daemon's bounds, also when many have been
 * answered: none of two is, before both are there. */
static void
play_pairs(struct fakeserver *f)
{
	uint64_t id;

	fake_take_bound_hello(f, 16, 1000, 65536);
	while ((id = fake_take_type(f, TYPE_EXEC))) {
		uint64_t next = fake_take_type(f, TYPE_EXEC);

		fake_done(f, id);
		fake_done(f, next);
		fake_send(f);
	}
}

START_TEST(a_pipeline_stays_one_when_many_bytes_were_answered)
{
	struct sqlpool_conn *conn = clientscript_open(play_pairs, 1000);
	char sql[300];

	memset(sql, ' ', sizeof(sql));
	sql[sizeof(sql) - 1] = '\0';
	for (int i = 0; i < 10; i++) {
		struct sqlpool_result *first = clientscript_send(conn, sql);
		struct sqlpool_result *second = clientscript_send(conn, sql);

		ck_assert_int_eq(sqlpool_next(first), SQLPOOL_DONE);
		ck_assert_int_eq(sqlpool_next(second), SQLPOOL_DONE);
		sqlpool_result_free(first);
		sqlpool_result_free(second);
	}
	clientscript_close(conn);
}
END_TEST

/* Requests and results that are more than all buffers between, each way. */
static const struct deep {
	int n;       /* requests */
	int parts;   /* of each result, 2000 bytes each */
	size_t size; /* of each request */
} deeps[] = { { 5000, 20, 200 }, { 600, 30, 60000 } };

static const struct deep *deep;

static void
put_big_part(struct fakeserver *f, uint64_t id, int part)
{
	static char text[2000];

	memset(text, 'x', sizeof(text));
	fake_begin(f, part + 1 < deep->parts ? TYPE_ROWS : TYPE_DONE, id);
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
		for (int i = 0; r.head.type == TYPE_EXEC && i < deep->parts;
		     i++)
			put_big_part(f, r.head.id, i);
}

START_TEST(a_deep_pipeline_of_big_requests_and_results_completes)
{
	static struct sqlpool_result *results[5000];
	struct sqlpool_conn *conn;
	char *sql;

	deep = &deeps[_i];
	conn = clientscript_open(play_deep, 20000);
	sql = calloc(1, deep->size);
	memset(sql, ' ', deep->size - 1);
	for (int i = 0; i < deep->n; i++)
		results[i] = clientscript_send(conn, sql);
	for (int i = 0; i < deep->n; i++) {
		int rows = 0;

		while (sqlpool_next(results[i]) == SQLPOOL_ROW)
			rows++;
		ck_assert_int_eq(rows, deep->parts);
		sqlpool_result_free(results[i]);
	}
	free(sql);
	clientscript_close(conn);
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
	struct sqlpool_conn *conn = clientscript_open(play_never, 100);
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
	clientscript_close(conn);
}
END_TEST

static void
play_silence(struct fakeserver *f)
{
	fake_take_hello(f, 1000, 65536);
	fake_take_type(f, TYPE_PING); /* which never comes */
}

/* How often a pipeline is written while it is filled, before anybody waits: that
 * takes a core from others when there is none to spare. */
static const struct {
	int requests_n;
	bool crowded;
	int writes_n;
} fills[] = {
	{ 8, false, 0 }, /* who sends the ninth writes them */
	{ 9, false, 1 },
	{ 33, false, 4 },
	{ 42, false, 4 }, /* then a quarter of what is in flight */
	{ 43, false, 5 },
	{ 64, false, 6 },
	{ 64, true, 0 },
};

START_TEST(a_pipeline_is_written_while_it_is_filled)
{
	struct sqlpool_conn *conn = clientscript_open(play_silence, 5000);
	struct sqlpool_result *results[64];
	uint64_t written;
	int writes_n = 0;

	conn->patience.crowded = fills[_i].crowded;
	written = conn->out_total;
	for (int i = 0; i < fills[_i].requests_n; i++) {
		results[i] = clientscript_send(conn, "SELECT");
		writes_n += conn->out_total != written;
		written = conn->out_total;
	}
	ck_assert_int_eq(writes_n, fills[_i].writes_n);
	for (int i = 0; i < fills[_i].requests_n; i++)
		sqlpool_result_free(results[i]);
	clientscript_close(conn);
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
	struct sqlpool_conn *conn = clientscript_open(play_cancel, 5000);
	struct sqlpool_result *first = clientscript_send(conn, "SELECT 1");
	struct sqlpool_result *second = clientscript_send(conn, "SELECT 2");

	ck_assert_int_eq(sqlpool_cancel(second), 0);
	ck_assert_int_eq(sqlpool_next(second), -SQLPOOL_ERR_CANCELLED);
	ck_assert_int_eq(sqlpool_cancel(first), 0);
	ck_assert_int_eq(sqlpool_wait(first), -SQLPOOL_ERR_CANCELLED);
	ck_assert_int_eq(sqlpool_cancel(first), 0);
	sqlpool_result_free(first);
	sqlpool_result_free(second);
	clientscript_close(conn);
}
END_TEST

START_TEST(results_outlive_their_connection)
{
	struct sqlpool_conn *conn = clientscript_open(
	    clientscript_play_echo, 5000);
	struct sqlpool_result *done, *open;

	ck_assert_int_eq(sqlpool_query(conn, "x",
			     SQLPOOL_VALUES(SQLPOOL_TEXT("abc")), &done),
	    0);
	open = clientscript_send(conn, "SELECT");
	clientscript_close(conn);
	ck_assert_int_eq(sqlpool_next(done), SQLPOOL_ROW);
	ck_assert_str_eq(sqlpool_column_text(done, 0, NULL), "abc");
	ck_assert_int_eq(sqlpool_next(open), -SQLPOOL_ERR_CONNECTION_LOST);
	sqlpool_result_free(done);
	sqlpool_result_free(open);
}
END_TEST

/* ---- the process ---- */

/* Answer a statement when there was a PING after it. */
static void
play_fork(struct fakeserver *f)
{
	uint64_t statement, ping;

	fake_take_hello(f, 16, 65536);
	statement = fake_take_type(f, TYPE_EXEC);
	ping = fake_take_type(f, TYPE_PING);
	fake_ints(f, TYPE_DONE, statement, true, 1);
	fake_ok(f, ping);
	fake_send(f);
}

START_TEST(a_child_gets_an_error_and_does_not_disturb)
{
	struct sqlpool_conn *conn = clientscript_open(play_fork, 5000);
	struct sqlpool_result *result = clientscript_send(conn, "x"), *other;
	int status;
	pid_t pid;

	ck_assert_int_eq(sqlpool_process(conn), 0);
	pid = fork();
	if (pid == 0) {
		/* no threads here: the script goes on in the parent */
		bool ok = sqlpool_ping(conn) == -SQLPOOL_ERR_MISUSE &&
		    strstr(sqlpool_get_error(conn)->message, "fork") &&
		    sqlpool_query(conn, "x", NULL, 0, &other) ==
			-SQLPOOL_ERR_MISUSE &&
		    sqlpool_next(result) == -SQLPOOL_ERR_MISUSE;

		sqlpool_result_free(result);
		sqlpool_close(conn);
		_exit(ok ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(sqlpool_ping(conn), 0);
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
	sqlpool_result_free(result);
	clientscript_close(conn);
}
END_TEST

#define SHARERS 4

struct shared {
	pthread_mutex_t lock;
	struct sqlpool_conn *conn;
};

static void *
use_shared(void *arg)
{
	struct shared *shared = arg;

	for (int i = 0; i < 200; i++) {
		struct sqlpool_result *result = NULL;
		int rc;

		pthread_mutex_lock(&shared->lock);
		rc = sqlpool_query(
		    shared->conn, "x", SQLPOOL_VALUES(SQLPOOL_INT(i)), &result);
		ck_assert_int_eq(rc, 0);
		ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
		ck_assert_int_eq(sqlpool_column_int64(result, 0), i);
		sqlpool_result_free(result);
		pthread_mutex_unlock(&shared->lock);
	}
	return NULL;
}

START_TEST(any_thread_may_use_a_connection_one_at_a_time)
{
	struct shared shared = {
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.conn = clientscript_open(clientscript_play_echo, 20000),
	};
	pthread_t threads[SHARERS];

	for (int i = 0; i < SHARERS; i++)
		ck_assert_int_eq(
		    pthread_create(&threads[i], NULL, use_shared, &shared), 0);
	for (int i = 0; i < SHARERS; i++)
		pthread_join(threads[i], NULL);
	clientscript_close(shared.conn);
}
END_TEST

static void
on_alarm(int number)
{
	(void)number;
}

START_TEST(signals_do_not_interrupt)
{
	struct sqlpool_conn *conn = clientscript_open(
	    clientscript_play_echo, 20000);
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval often = { { 0, 500 }, { 0, 500 } };
	struct itimerval never = { { 0, 0 }, { 0, 0 } };
	size_t size = (size_t)2 << 20, n;
	char *p = calloc(1, size);
	struct sqlpool_result *result;

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(
		    sqlpool_query(conn, "x",
			SQLPOOL_VALUES(SQLPOOL_BLOB(p, size)), &result),
		    0);
		ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
		ck_assert_ptr_nonnull(sqlpool_column_blob(result, 0, &n));
		ck_assert_uint_eq(n, size);
		sqlpool_result_free(result);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	free(p);
	clientscript_close(conn);
}
END_TEST

START_TEST(the_socket_closes_on_exec)
{
	struct sqlpool_conn *conn = clientscript_open(
	    clientscript_play_echo, 5000);
	short events = 0;
	int fd = -1, timeout_ms;

	ck_assert_int_eq(
	    sqlpool_get_pollinfo(conn, &fd, &events, &timeout_ms), 0);
	ck_assert_int_eq(events, POLLIN);
	ck_assert_int_eq(timeout_ms, -1);
	ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	clientscript_close(conn);
}
END_TEST

START_TEST(a_program_may_poll_itself)
{
	struct sqlpool_conn *conn = clientscript_open(
	    clientscript_play_echo, 5000);
	struct sqlpool_result *result = clientscript_send(conn, "x");
	struct pollfd p = { .fd = -1 };
	int timeout_ms;

	ck_assert(!sqlpool_result_is_ready(result));
	ck_assert_int_eq(
	    sqlpool_get_pollinfo(conn, &p.fd, &p.events, &timeout_ms), 0);
	ck_assert_int_eq(p.events, POLLIN | POLLOUT);
	do {
		ck_assert_int_ge(poll(&p, 1, 5000), 1);
		ck_assert_int_eq(sqlpool_process(conn), 0);
		ck_assert_int_eq(
		    sqlpool_get_pollinfo(conn, &p.fd, &p.events, &timeout_ms),
		    0);
	} while (!sqlpool_result_is_ready(result));
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
	sqlpool_result_free(result);
	clientscript_close(conn);
}
END_TEST

START_TEST(nothing_is_done_to_null)
{
	struct sqlpool_result *result;
	struct sqlpool_stmt *stmt;
	short events;
	int fd, timeout_ms;

	sqlpool_close(NULL);
	sqlpool_result_free(NULL);
	sqlpool_stmt_free(NULL);
	sqlpool_request_free(NULL);
	ck_assert_int_eq(sqlpool_ping(NULL), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(sqlpool_open(NULL, NULL), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(sqlpool_open_start(NULL, NULL), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(sqlpool_reset(NULL), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(
	    sqlpool_set_callback(NULL, NULL, NULL), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(
	    sqlpool_begin(NULL, SQLPOOL_TX_READ), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(sqlpool_rollback(NULL), -SQLPOOL_ERR_MISUSE);
	ck_assert(!sqlpool_in_transaction(NULL));
	ck_assert_ptr_null(sqlpool_get_summary(NULL));
	ck_assert_int_eq(sqlpool_request_set_option(NULL, SQLPOOL_MAX_ROWS, 1),
	    -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(
	    sqlpool_request_set_condition(NULL, NULL), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(sqlpool_result_error(NULL)->code, SQLPOOL_ERR_MISUSE);
	ck_assert_uint_eq(sqlpool_stmt_param_count(NULL), 0);
	ck_assert_int_eq(sqlpool_process(NULL), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(sqlpool_commit(NULL), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(
	    sqlpool_prepare(NULL, "x", &stmt), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(sqlpool_stmt_exec(NULL, NULL, 0), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(
	    sqlpool_send(NULL, NULL, &result), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(
	    sqlpool_stmt_send(NULL, NULL, 0, &result), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(
	    sqlpool_request_add(NULL, "x", NULL, 0), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(sqlpool_get_pollinfo(NULL, &fd, &events, &timeout_ms),
	    -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(sqlpool_next(NULL), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(sqlpool_next_result(NULL), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(sqlpool_wait(NULL), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(sqlpool_cancel(NULL), -SQLPOOL_ERR_MISUSE);
	ck_assert(sqlpool_result_is_ready(NULL));
	ck_assert_uint_eq(sqlpool_column_count(NULL), 0);
	ck_assert_ptr_null(sqlpool_column_name(NULL, 0));
	ck_assert_ptr_null(sqlpool_column_text(NULL, 0, NULL));
	ck_assert_int_eq(sqlpool_column_index(NULL, "x"), -1);
	ck_assert_ptr_null(sqlpool_result_summary(NULL));
	ck_assert_ptr_null(sqlpool_get_server(NULL));
	ck_assert_int_eq(sqlpool_get_error(NULL)->code, SQLPOOL_ERR_MISUSE);
	ck_assert_str_eq(
	    sqlpool_get_code_name(-2067), "SQLITE_CONSTRAINT_UNIQUE");
	ck_assert_str_eq(sqlpool_get_version(), SQLPOOLD_VERSION);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("client_flow");
	TCase *tc;

	tc = tcase_create("pipeline");
	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, results_may_come_and_be_taken_in_any_order);
	tcase_add_test(tc, a_pipeline_stays_one_when_many_bytes_were_answered);
	tcase_add_loop_test(
	    tc, a_deep_pipeline_of_big_requests_and_results_completes, 0, 2);
	tcase_add_test(tc, too_much_unsent_is_refused_and_nothing_is_lost);
	tcase_add_loop_test(tc, a_pipeline_is_written_while_it_is_filled, 0,
	    (int)(sizeof(fills) / sizeof(fills[0])));
	tcase_add_test(tc, cancel_ends_what_runs_and_what_waits);
	tcase_add_test(tc, results_outlive_their_connection);
	suite_add_tcase(suite, tc);
	tc = tcase_create("process");
	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, a_child_gets_an_error_and_does_not_disturb);
	tcase_add_test(tc, any_thread_may_use_a_connection_one_at_a_time);
	tcase_add_test(tc, signals_do_not_interrupt);
	tcase_add_test(tc, the_socket_closes_on_exec);
	tcase_add_test(tc, a_program_may_poll_itself);
	tcase_add_test(tc, nothing_is_done_to_null);
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
