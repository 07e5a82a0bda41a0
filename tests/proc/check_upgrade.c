/* check_upgrade.c - transactions that read and then write, savepoints, and many
 * transactions on one connection. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/error.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

#define COUNT(rows)   (sizeof(rows) / sizeof((rows)[0]))
#define BUSY_SNAPSHOT 517 /* sqlite.org/rescode.html */
#define FK_FAILED     787

static struct live live;
/* Connections of most tests. */
static struct rawconn a, b;

static const char count_sql[] = "SELECT count(*) FROM t";

static void
start(const char *const *options)
{
	live_init(&live);
	live_start(&live, options);
	raw_open(&a, live.socket_path);
	raw_open(&b, live.socket_path);
	raw_expect(&a,
	    raw_put_exec(
		&a, 0, "CREATE TABLE t(id INTEGER PRIMARY KEY, who, n UNIQUE)"),
	    0);
}

static void
stop(void)
{
	raw_close(&a);
	raw_close(&b);
	live_stop(&live);
	live_check_file(live.db_path);
	live_fini(&live);
}

static int64_t
count(struct rawconn *c)
{
	return raw_run_int(c, 0, count_sql);
}

/* --- From reader to writer ------------------------------------------------ */

START_TEST(a_reader_becomes_a_writer_if_nothing_has_changed)
{
	start(NULL);
	raw_begin(&a, TX_MODE_DEFERRED);
	ck_assert_int_eq(count(&a), 0);
	raw_run(&a, 0, "INSERT INTO t VALUES (1, 'a', 1)", 0);
	ck_assert_int_eq(count(&a), 1);
	raw_end(&a, true);
	/* the connection for reads is free again */
	raw_begin(&b, TX_MODE_READ);
	ck_assert_int_eq(count(&b), 1);
	raw_end(&b, true);
	stop();
}
END_TEST

START_TEST(a_reader_of_an_old_snapshot_cannot_write)
{
	start(NULL);
	raw_begin(&a, TX_MODE_DEFERRED);
	ck_assert_int_eq(count(&a), 0);
	raw_run(&b, 0, "INSERT INTO t VALUES (1, 'b', 1)", 0);
	raw_run(&a, 0, "INSERT INTO t VALUES (2, 'a', 2)", BUSY_SNAPSHOT);
	/* it goes on as a reader, of its snapshot */
	ck_assert_int_eq(count(&a), 0);
	raw_run(&a, 0, "INSERT INTO t VALUES (2, 'a', 2)", BUSY_SNAPSHOT);
	raw_end(&a, false);
	raw_run(&a, 0, "INSERT INTO t VALUES (2, 'a', 2)", 0);
	ck_assert_int_eq(count(&b), 2);
	stop();
}
END_TEST

/* The one before it in the line decides, by COMMIT or ROLLBACK. */
START_TEST(a_reader_that_waits_to_write_is_told_when_its_turn_comes)
{
	bool commits = _i;

	start(NULL);
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, "INSERT INTO t VALUES (1, 'b', 1)", 0);
	raw_begin(&a, TX_MODE_DEFERRED);
	ck_assert_int_eq(count(&a), 0);
	raw_put_exec(&a, 0, "INSERT INTO t VALUES (2, 'a', 2)");
	raw_flush(&a);
	live_wait_queue(&live, 1);
	raw_end(&b, commits);
	raw_expect(&a, a.last_id, commits ? BUSY_SNAPSHOT : 0);
	raw_end(&a, !commits);
	ck_assert_int_eq(count(&b), 1);
	stop();
}
END_TEST

START_TEST(a_read_only_transaction_refuses_writes_and_goes_on)
{
	start(NULL);
	raw_begin(&a, TX_MODE_READ);
	raw_run(&a, 0, "INSERT INTO t VALUES (1, 'a', 1)", ERR_TX_READ_ONLY);
	ck_assert_int_eq(count(&a), 0);
	raw_run(&a, 0, "DROP TABLE t", ERR_TX_READ_ONLY);
	raw_end(&a, true);
	raw_run(&a, 0, "INSERT INTO t VALUES (1, 'a', 1)", 0);
	stop();
}
END_TEST

START_TEST(savepoints_live_on_when_a_reader_becomes_a_writer)
{
	start(NULL);
	raw_run(&a, 0, "INSERT INTO t VALUES (1, 'a', 1)", 0);
	raw_run(&a, 0, "BEGIN", 0);
	raw_run(&a, 0, "SAVEPOINT outer_one", 0);
	ck_assert_int_eq(count(&a), 1);
	raw_run(&a, 0, "SAVEPOINT \"the 'inner' one\"", 0);
	raw_run(&a, 0, "SAVEPOINT gone", 0);
	raw_run(&a, 0, "RELEASE gone", 0);
	/* here it becomes a writer */
	raw_run(&a, 0, "INSERT INTO t VALUES (2, 'a', 2)", 0);
	raw_run(&a, 0, "ROLLBACK TO \"THE 'inner' ONE\"", 0);
	ck_assert_int_eq(count(&a), 1);
	raw_run(&a, 0, "INSERT INTO t VALUES (3, 'a', 3)", 0);
	raw_run(&a, 0, "RELEASE gone", 1);
	raw_run(&a, 0, "RELEASE \"the 'inner' one\"", 0);
	ck_assert_int_eq(count(&a), 2);
	raw_run(&a, 0, "SAVEPOINT another", 0);
	raw_run(&a, 0, "INSERT INTO t VALUES (4, 'a', 4)", 0);
	if (_i == 0)
		raw_run(&a, 0, "ROLLBACK TO outer_one", 0);
	else
		raw_run(&a, 0, "RELEASE outer_one", 0);
	raw_run(&a, 0, "COMMIT", 0);
	ck_assert_int_eq(count(&b), _i == 0 ? 1 : 3);
	stop();
}
END_TEST

START_TEST(the_outermost_savepoint_is_a_transaction)
{
	start(NULL);
	raw_run(&a, 0, "SAVEPOINT s", 0);
	ck_assert_int_eq(count(&a), 0);
	raw_run(&a, 0, "INSERT INTO t VALUES (1, 'a', 1)", 0);
	raw_run(&a, 0, "SAVEPOINT s", 0); /* the same name, inside */
	raw_run(&a, 0, "INSERT INTO t VALUES (2, 'a', 2)", 0);
	raw_run(&a, 0, "ROLLBACK TO s", 0);
	raw_run(&a, 0, "RELEASE s", 0);
	ck_assert_int_eq(count(&b), 0);
	raw_run(&a, 0, "RELEASE s", 0);
	ck_assert_int_eq(count(&b), 1);
	raw_run(&a, 0, "RELEASE s", 1);
	raw_expect(&a, raw_put_end(&a, 0, true), ERR_TX_NONE);
	stop();
}
END_TEST

START_TEST(a_deferred_foreign_key_keeps_the_transaction_open)
{
	start(LIVE_OPTIONS("foreign_keys=on"));
	raw_run(&a, 0,
	    "CREATE TABLE child(t REFERENCES t(id) DEFERRABLE INITIALLY "
	    "DEFERRED)",
	    0);
	raw_begin(&a, TX_MODE_IMMEDIATE);
	raw_run(&a, 0, "INSERT INTO child VALUES (9)", 0);
	raw_expect(&a, raw_put_end(&a, 0, true), FK_FAILED);
	raw_run(&a, 0, "INSERT INTO t VALUES (9, 'a', 9)", 0);
	raw_end(&a, true);
	ck_assert_int_eq(count(&b), 1);
	raw_run(&b, 0, "INSERT INTO child VALUES (8)", FK_FAILED);
	stop();
}
END_TEST

/* --- Streams -------------------------------------------------------------- */

START_TEST(streams_of_a_connection_have_transactions_of_their_own)
{
	start(NULL);
	raw_expect(&a, raw_put_begin(&a, 1, TX_MODE_READ), 0);
	ck_assert_int_eq(raw_run_int(&a, 1, count_sql), 0);
	raw_expect(&a, raw_put_begin(&a, 2, TX_MODE_IMMEDIATE), 0);
	raw_run(&a, 2, "INSERT INTO t VALUES (2, 'a', 2)", 0);
	ck_assert_int_eq(raw_run_int(&a, 0, count_sql), 0);
	ck_assert_int_eq(raw_run_int(&a, 2, count_sql), 1);
	/* on another stream it waits for its own connection */
	raw_put_begin(&a, 3, TX_MODE_IMMEDIATE);
	raw_put_exec(&a, 3, "INSERT INTO t VALUES (3, 'a', 3)");
	raw_let_arrive(&a);
	live_wait_queue(&live, 1);
	raw_expect(&a, raw_put_begin(&a, 2, TX_MODE_READ), ERR_TX_ACTIVE);
	raw_expect(&a, raw_put_end(&a, 2, true), 0);
	raw_expect(&a, raw_put_end(&a, 3, true), 0);
	ck_assert_int_eq(raw_run_int(&a, 0, count_sql), 2);
	/* stream 1 has its snapshot still */
	ck_assert_int_eq(raw_run_int(&a, 1, count_sql), 0);
	raw_expect(&a, raw_put_end(&a, 1, false), 0);
	raw_expect(&a, raw_put_end(&a, 4, true), ERR_TX_NONE);
	ck_assert_int_eq(raw_run_int(&a, 1, count_sql), 2);
	stop();
}
END_TEST

#define STREAMS 20

static void
put_whole(struct rawconn *c, uint64_t stream)
{
	static const char sql[] =
	    "INSERT INTO t(who, n) SELECT 'a', count(*) FROM t";

	raw_put_begin(
	    c, stream, stream % 2 ? TX_MODE_DEFERRED : TX_MODE_IMMEDIATE);
	raw_put_exec(c, stream, sql);
	raw_put_exec(c, stream, sql);
	raw_put_end(c, stream, stream % 5 != 0);
}

/* Replies of different streams come in any order, of one stream in theirs. */
START_TEST(whole_transactions_of_many_streams_can_be_pipelined)
{
	uint64_t last[STREAMS + 1] = { 0 };
	struct rawreply r;

	start(NULL);
	for (uint64_t stream = 1; stream <= STREAMS; stream++)
		put_whole(&a, stream);
	raw_flush(&a);
	for (int i = 0; i < 4 * STREAMS; i++) {
		ck_assert(raw_take(&a, &r));
		ck_assert_msg(r.tell.code == 0, "%.*s", (int)r.tell.message.n,
		    (const char *)r.tell.message.p);
		ck_assert(r.head.stream >= 1 && r.head.stream <= STREAMS);
		ck_assert_uint_gt(r.head.id, last[r.head.stream]);
		last[r.head.stream] = r.head.id;
	}
	/* every fifth rolled back */
	ck_assert_int_eq(count(&b), INT64_C(2) * (STREAMS - STREAMS / 5));
	stop();
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("upgrade");
	TCase *tc = tcase_create("upgrade");

	tcase_add_test(tc, a_reader_becomes_a_writer_if_nothing_has_changed);
	tcase_add_test(tc, a_reader_of_an_old_snapshot_cannot_write);
	tcase_add_loop_test(
	    tc, a_reader_that_waits_to_write_is_told_when_its_turn_comes, 0, 2);
	tcase_add_test(tc, a_read_only_transaction_refuses_writes_and_goes_on);
	tcase_add_loop_test(
	    tc, savepoints_live_on_when_a_reader_becomes_a_writer, 0, 2);
	tcase_add_test(tc, the_outermost_savepoint_is_a_transaction);
	tcase_add_test(tc, a_deferred_foreign_key_keeps_the_transaction_open);
	suite_add_tcase(suite, tc);
	tc = tcase_create("streams");
	tcase_add_test(
	    tc, streams_of_a_connection_have_transactions_of_their_own);
	tcase_add_test(tc, whole_transactions_of_many_streams_can_be_pipelined);
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
