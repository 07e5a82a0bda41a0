/* check_bounds.c - every queue and every result has a bound, and full is an
 * answer (P8): the error says so, nothing is applied, and what was there before
 * is done. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/error.h"
#include "proto/value.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define TOO_BIG     18 /* SQLITE_TOOBIG: sqlite.org/rescode.html */

static struct live live;
/* holder keeps the writer, c is who fills things up. */
static struct rawconn holder, c;

static const char small_sql[] = "INSERT INTO t VALUES ('small', 1)";
static const char count_sql[] = "SELECT count(*) FROM t";

static void
start(const char *const *options)
{
	live_init(&live);
	live_start(&live, options);
	raw_open(&holder, live.socket_path);
	raw_open(&c, live.socket_path);
	raw_run(&holder, 0, "CREATE TABLE t(who, v)", 0);
}

static void
stop(void)
{
	raw_close(&holder);
	raw_close(&c);
	live_stop(&live);
	live_check_file(live.db_path);
	live_fini(&live);
}

/* An INSERT whose frame has about this many bytes. */
static uint64_t
put_insert(struct rawconn *to, size_t n)
{
	struct msg_out m;
	char *text = calloc(1, n + 1);

	ck_assert(text);
	memset(text, 'x', n);
	msg_begin_body(&m, &to->out, TYPE_EXEC, ++to->last_id, 0);
	msg_put_str(&m, ASK_sql, "INSERT INTO t VALUES ('big', ?1)");
	msg_key(&m, ASK_params);
	value_put_array(m.b, 1);
	value_put_text(m.b, text, n);
	ck_assert_int_eq(msg_end(&m, (size_t)64 << 20), 0);
	free(text);
	return to->last_id;
}

static void
expect_refusal(struct rawconn *from, uint64_t id, int code)
{
	struct rawreply r;

	raw_wait(from, id, &r);
	ck_assert_msg(r.tell.code == (uint64_t)code, "%llu: %.*s",
	    (unsigned long long)r.tell.code, (int)r.tell.message.n,
	    (const char *)r.tell.message.p);
	ck_assert_uint_eq(r.tell.outcome, OUTCOME_NOT_APPLIED);
	ck_assert_uint_eq(r.tell.class, error_get_class(code));
	ck_assert_uint_gt(r.tell.message.n, 0);
}

/* --- Lines ---------------------------------------------------------------- */

/* Behind a transaction wait as many requests as fit; one more is refused. */
static const struct {
	const char *option;
	size_t bytes; /* of each; 0: small ones */
	int fit;
	int code;
} lines[] = {
	{ "max_queue=5", 0, 5, ERR_QUEUE_FULL },
	{ "max_queue_bytes=64KB", 20000, 3, ERR_QUEUE_FULL },
	/* one that is over it by itself is taken all the same */
	{ "max_queue_bytes=64KB", 100000, 1, ERR_QUEUE_FULL },
	{ "max_in_flight=4", 0, 4, ERR_TOO_MANY_REQUESTS },
	{ "max_client_bytes=64KB", 20000, 3, ERR_TOO_MANY_REQUESTS },
	{ "max_client_bytes=64KB", 100000, 1, ERR_TOO_MANY_REQUESTS },
};

static uint64_t
put_one(int i)
{
	return lines[i].bytes ? put_insert(&c, lines[i].bytes)
			      : raw_put_exec(&c, 0, small_sql);
}

START_TEST(a_line_that_is_full_says_so_and_keeps_what_it_has)
{
	uint64_t ids[8] = { 0 };

	start(LIVE_OPTIONS(lines[_i].option));
	raw_begin(&holder, TX_MODE_IMMEDIATE);
	raw_run(&holder, 0, small_sql, 0);
	for (int i = 0; i < lines[_i].fit; i++)
		ids[i] = put_one(_i);
	raw_flush(&c);
	live_wait_queue(&live, lines[_i].fit);
	for (int i = 0; i < 3; i++)
		expect_refusal(&c, put_one(_i), lines[_i].code);
	ck_assert_int_eq(live_get_queue(&live), lines[_i].fit);
	/* the transaction it waits for is not refused */
	raw_run(&holder, 0, small_sql, 0);
	raw_end(&holder, true);
	for (int i = 0; i < lines[_i].fit; i++)
		raw_expect(&c, ids[i], 0);
	raw_expect(&c, put_one(_i), 0);
	ck_assert_int_eq(raw_run_int(&c, 0, count_sql), 2 + lines[_i].fit + 1);
	stop();
}
END_TEST

/* The reads of several clients that wait for the only connection. */
START_TEST(a_line_of_readers_that_is_full_says_so)
{
	struct rawconn readers[4];

	start(LIVE_OPTIONS("read_connections=1", "max_queue=3"));
	raw_begin(&holder, TX_MODE_READ);
	raw_run(&holder, 0, count_sql, 0);
	for (size_t i = 0; i < COUNT(readers); i++) {
		raw_open(&readers[i], live.socket_path);
		raw_put_begin(&readers[i], 0, TX_MODE_READ);
		raw_put_exec(&readers[i], 0, count_sql);
		if (i < 3)
			raw_let_arrive(&readers[i]);
	}
	expect_refusal(&readers[3], readers[3].last_id, ERR_QUEUE_FULL);
	raw_end(&holder, true);
	for (size_t i = 0; i < 3; i++) {
		/* the PING was the last */
		ck_assert_int_eq(
		    raw_expect_int(&readers[i], readers[i].last_id - 1), 0);
		raw_end(&readers[i], true);
	}
	ck_assert_int_eq(raw_run_int(&readers[3], 0, count_sql), 0);
	raw_end(&readers[3], true);
	for (size_t i = 0; i < COUNT(readers); i++)
		raw_close(&readers[i]);
	stop();
}
END_TEST

/* --- Clients -------------------------------------------------------------- */

START_TEST(one_client_too_many_is_told_so)
{
	struct rawconn third;
	struct rawreply r;

	start(LIVE_OPTIONS("max_clients=2"));
	for (int i = 0; i < 3; i++) {
		raw_connect(&third, live.socket_path);
		ck_assert(raw_take(&third, &r));
		ck_assert_uint_eq(r.head.id, 0);
		ck_assert_uint_eq(r.tell.code, ERR_TOO_MANY_CLIENTS);
		ck_assert_uint_eq(r.tell.class, CLASS_BUSY);
		raw_expect_end(&third);
		raw_close(&third);
	}
	raw_run(&c, 0, small_sql, 0);
	raw_close(&c);
	/* when one has gone there is room; that is noticed soon */
	for (;;) {
		raw_connect(&third, live.socket_path);
		raw_put_hello(&third);
		raw_send(&third, third.out.p, third.out.n);
		buf_reset(&third.out);
		if (raw_take(&third, &r) && r.head.type == TYPE_OK)
			break;
		raw_close(&third);
	}
	ck_assert_int_eq(raw_run_int(&third, 0, count_sql), 1);
	c = third;
	stop();
}
END_TEST

START_TEST(prepared_statements_of_a_client_are_counted)
{
	struct sqlpool_stmt *stmts[10001] = { NULL };
	struct sqlpool_conn *conn;
	size_t n = 0;
	int rc = 0;

	start(NULL);
	conn = live_connect(&live, "test");
	while (rc == 0 && n < COUNT(stmts))
		rc = sqlpool_prepare(conn, "SELECT 1", &stmts[n++]);
	ck_assert_uint_eq(n, 10001);
	ck_assert_int_eq(rc, -SQLPOOL_ERR_QUEUE_FULL);
	sqlpool_stmt_free(stmts[0]);
	rc = sqlpool_prepare(conn, "SELECT 2", &stmts[0]);
	ck_assert_msg(rc == 0, "%s", sqlpool_get_error(conn)->message);
	ck_assert_int_eq(sqlpool_stmt_exec(stmts[0], NULL, 0), 0);
	for (size_t i = 0; i < n - 1; i++)
		sqlpool_stmt_free(stmts[i]);
	sqlpool_close(conn);
	stop();
}
END_TEST

/* --- Results and requests ------------------------------------------------- */

/* What does not fit is refused, and nothing of it is applied.  In a transaction
 * a result of any size is streamed. */
static const struct {
	const char *sql;
	int code;
	int code_in_tx;
} too_large[] = {
	{ "SELECT zeroblob(70000)", ERR_ROW_TOO_LARGE, ERR_ROW_TOO_LARGE },
	{ "SELECT zeroblob(10), 'x', zeroblob(70000)", ERR_ROW_TOO_LARGE,
	    ERR_ROW_TOO_LARGE },
	{ "INSERT INTO t VALUES ('a', zeroblob(70000)) RETURNING v",
	    ERR_ROW_TOO_LARGE, ERR_ROW_TOO_LARGE },
	{ "INSERT INTO t WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + "
	  "1 FROM n LIMIT 100) SELECT x, zeroblob(1000) FROM n RETURNING v",
	    ERR_RESULT_TOO_LARGE, 0 },
	{ "SELECT zeroblob(100000000)", TOO_BIG, TOO_BIG },
	{ "INSERT INTO t VALUES ('a', zeroblob(100000000))", TOO_BIG, TOO_BIG },
};

static uint64_t
put_small_hello(struct rawconn *to)
{
	struct msg_out m;

	msg_begin_body(&m, &to->out, TYPE_HELLO, ++to->last_id, 0);
	msg_put_uint(&m, ASK_version, MSG_VERSION);
	msg_put_uint(&m, ASK_max_frame, 65536);
	ck_assert_int_eq(msg_end(&m, 65536), 0);
	return to->last_id;
}

START_TEST(a_result_that_is_too_large_is_refused)
{
	struct rawreply r;

	start(NULL);
	raw_expect(&c, put_small_hello(&c), 0);
	raw_wait(&c, raw_put_exec(&c, 0, too_large[_i].sql), &r);
	ck_assert_msg(r.tell.code == (uint64_t)too_large[_i].code,
	    "%s: %llu: %.*s", too_large[_i].sql,
	    (unsigned long long)r.tell.code, (int)r.tell.message.n,
	    (const char *)r.tell.message.p);
	ck_assert_uint_eq(r.tell.outcome, OUTCOME_NOT_APPLIED);
	ck_assert_int_eq(raw_run_int(&c, 0, count_sql), 0);
	/* in a transaction it is undone alone */
	raw_begin(&c, TX_MODE_IMMEDIATE);
	raw_run(&c, 0, small_sql, 0);
	raw_run(&c, 0, too_large[_i].sql, too_large[_i].code_in_tx);
	if (too_large[_i].code_in_tx)
		ck_assert_int_eq(raw_run_int(&c, 0, count_sql), 1);
	raw_end(&c, true);
	stop();
}
END_TEST

START_TEST(a_batch_has_at_most_10000_steps)
{
	struct sqlpool_request *request = sqlpool_request_new();
	struct sqlpool_result *result = NULL;
	struct sqlpool_conn *conn;
	int rc;

	start(NULL);
	conn = live_connect(&live, "test");
	for (int i = 0; i < 10000; i++)
		ck_assert_int_eq(
		    sqlpool_request_add(request, small_sql, NULL, 0), i);
	rc = sqlpool_run_atomic(conn, request, &result);
	ck_assert_msg(rc == 0, "%s", sqlpool_get_error(conn)->message);
	sqlpool_result_free(result);
	/* the library does not even take one more */
	ck_assert_int_eq(sqlpool_request_add(request, small_sql, NULL, 0),
	    -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(live_get_int(conn, count_sql), 10000);
	sqlpool_request_free(request);
	sqlpool_close(conn);
	stop();
}
END_TEST

/* A message repeats what was sent, but not all of it. */
START_TEST(an_error_message_is_cut)
{
	size_t n = (size_t)1 << 20;
	char *sql = malloc(n + 1);
	struct rawreply r;

	start(NULL);
	ck_assert(sql);
	memset(sql, 'x', n);
	memcpy(sql, "SELECT ", 7);
	sql[n] = '\0';
	raw_wait(&c, raw_put_exec(&c, 0, sql), &r);
	ck_assert_uint_eq(r.tell.code, 1);
	ck_assert_uint_le(r.tell.message.n, MSG_MESSAGE_BYTES);
	ck_assert_uint_ge(r.tell.message.n, 20);
	ck_assert_uint_eq(r.tell.offset, 7);
	raw_run(&c, 0, small_sql, 0);
	free(sql);
	stop();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("bounds");
	TCase *tc = tcase_create("bounds");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 15);
	tcase_add_loop_test(tc,
	    a_line_that_is_full_says_so_and_keeps_what_it_has, 0,
	    (int)COUNT(lines));
	tcase_add_test(tc, a_line_of_readers_that_is_full_says_so);
	tcase_add_test(tc, one_client_too_many_is_told_so);
	tcase_add_test(tc, prepared_statements_of_a_client_are_counted);
	tcase_add_loop_test(tc, a_result_that_is_too_large_is_refused, 0,
	    (int)COUNT(too_large));
	tcase_add_test(tc, a_batch_has_at_most_10000_steps);
	tcase_add_test(tc, an_error_message_is_cut);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
