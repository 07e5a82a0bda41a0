/* check_migration.c - scripts: the schema changes under those who use it, all of
 * it or nothing, and an error says where. */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/error.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

static struct live live;
static struct sqlpool_conn *conn, *other;

static const char count_sql[] = "SELECT count(*) FROM t";

static void
start(const char *const *options)
{
	live_init(&live);
	live_start(&live, options);
	conn = live_connect(&live, "migration");
	other = live_connect(&live, "other");
	live_exec(conn, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
	live_exec(conn, "INSERT INTO t(v) VALUES ('a'), ('b')");
}

static void
stop(void)
{
	sqlpool_close(conn);
	sqlpool_close(other);
	live_stop(&live);
	live_check_file(live.db_path);
	live_fini(&live);
}

static void
expect_error(const char *sql, unsigned flags, const struct sqlpool_error *want)
{
	int rc = sqlpool_script(conn, sql, flags);
	const struct sqlpool_error *e = sqlpool_get_error(conn);

	ck_assert_msg(
	    rc == -want->code, "%s: %s: %s", sql, e->name, e->message);
	ck_assert_int_eq(e->step, want->step);
	ck_assert_int_eq(e->offset, want->offset);
	ck_assert_int_eq(e->outcome, want->outcome);
}

/* --- What others see ------------------------------------------------------- */

START_TEST(a_migration_is_seen_by_all_at_once)
{
	const struct sqlpool_summary *s;
	struct sqlpool_stmt *stmt;
	struct sqlpool_result *result;

	start(NULL);
	ck_assert_int_eq(
	    sqlpool_prepare(other, "SELECT * FROM t ORDER BY id", &stmt), 0);
	ck_assert_uint_eq(sqlpool_stmt_column_count(stmt), 2);
	ck_assert_int_eq(sqlpool_script(conn,
			     "ALTER TABLE t ADD COLUMN n NOT NULL DEFAULT 7;\n"
			     "CREATE TABLE version(n); INSERT INTO version "
			     "VALUES (2);\nUPDATE t SET n = id;",
			     0),
	    0);
	s = sqlpool_get_summary(conn);
	ck_assert_uint_eq(s->statements_n, 4);
	ck_assert_int_eq(s->changes, 3);
	ck_assert_uint_gt(s->seq, 0);
	ck_assert_int_eq(sqlpool_stmt_query(stmt, NULL, 0, &result), 0);
	ck_assert_uint_eq(sqlpool_column_count(result), 3);
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
	ck_assert_int_eq(sqlpool_column_int64(result, 2), 1);
	sqlpool_result_free(result);
	ck_assert_int_eq(live_get_int(other, "SELECT n FROM version"), 2);
	sqlpool_stmt_free(stmt);
	stop();
}
END_TEST

/* What is sent behind it on the same connection finds it done. */
START_TEST(a_script_is_before_what_is_sent_behind_it)
{
	struct rawconn c;
	uint64_t script, insert, count;

	start(NULL);
	raw_open(&c, live.socket_path);
	script = raw_put_script(
	    &c, 0, "CREATE TABLE n(x); INSERT INTO n VALUES (1), (2), (3)", _i);
	insert = raw_put_exec(&c, 0, "INSERT INTO n VALUES (4)");
	count = raw_put_exec(&c, 0, "SELECT count(*) FROM n");
	raw_expect(&c, script, 0);
	raw_expect(&c, insert, 0);
	ck_assert_int_eq(raw_expect_int(&c, count), 4);
	script = raw_put_script(&c, 0, "DELETE FROM n; DROP TABLE n", !_i);
	count = raw_put_exec(
	    &c, 0, "SELECT count(*) FROM sqlite_schema WHERE name = 'n'");
	raw_expect(&c, script, 0);
	ck_assert_int_eq(raw_expect_int(&c, count), 0);
	raw_close(&c);
	stop();
}
END_TEST

START_TEST(a_script_has_no_place_in_a_transaction)
{
	struct rawconn c;
	uint64_t script;

	start(NULL);
	ck_assert_int_eq(sqlpool_begin(conn, SQLPOOL_TX_DEFERRED), 0);
	ck_assert_int_eq(
	    sqlpool_script(conn, "SELECT 1", 0), -SQLPOOL_ERR_TX_ACTIVE);
	ck_assert(sqlpool_in_transaction(conn));
	live_exec(conn, "DELETE FROM t");
	ck_assert_int_eq(
	    sqlpool_script(conn, "SELECT 1", 0), -SQLPOOL_ERR_TX_ACTIVE);
	ck_assert(strstr(sqlpool_get_error(conn)->message, "one by one"));
	ck_assert(sqlpool_in_transaction(conn));
	ck_assert_int_eq(sqlpool_commit(conn), 0);
	ck_assert_int_eq(live_get_int(conn, count_sql), 0);
	/* one that is sent behind it runs when it is over */
	raw_open(&c, live.socket_path);
	raw_put_begin(&c, 0, TX_MODE_IMMEDIATE);
	raw_put_exec(&c, 0, "INSERT INTO t(v) VALUES (1)");
	raw_put_end(&c, 0, true);
	script = raw_put_script(
	    &c, 0, "INSERT INTO t SELECT 5, 5 FROM t", true);
	raw_expect(&c, script, 0);
	ck_assert_int_eq(live_get_int(conn, count_sql), 2);
	raw_close(&c);
	stop();
}
END_TEST

/* --- Errors ---------------------------------------------------------------- */

START_TEST(an_error_says_where_and_what_became_of_the_rest)
{
	static const char two[] = "INSERT INTO t VALUES (7, 7);\n"
				  "INSERT INTO t VALUES (1, 1)";
	static const struct sqlpool_error undone = {
		.code = 1555, .step = 1, .offset = 29
	};
	static const struct sqlpool_error in_part = { .code = 1555,
		.step = 1,
		.offset = 29,
		.outcome = SQLPOOL_APPLIED };
	static const struct sqlpool_error refused = {
		.code = SQLPOOL_ERR_NOT_ALLOWED, .step = 1, .offset = 15
	};
	static const struct sqlpool_error late = {
		.code = SQLPOOL_ERR_TX_ACTIVE, .step = 0, .offset = 0
	};

	start(NULL);
	expect_error(two, 0, &undone);
	ck_assert_int_eq(live_get_int(conn, count_sql), 2);
	expect_error(two, SQLPOOL_SCRIPT_NOT_ATOMIC, &in_part);
	ck_assert_int_eq(live_get_int(conn, count_sql), 3);
	expect_error("DELETE FROM t; VACUUM", 0, &refused);
	expect_error("DELETE FROM t; COMMIT", 0, &refused);
	expect_error("BEGIN; DELETE FROM t", SQLPOOL_SCRIPT_NOT_ATOMIC, &late);
	ck_assert_int_eq(live_get_int(conn, count_sql), 3);
	ck_assert_int_eq(
	    sqlpool_script(conn, "DELETE FROM t WHERE id > 2; VACUUM; ANALYZE",
		SQLPOOL_SCRIPT_NOT_ATOMIC),
	    0);
	ck_assert_int_eq(live_get_int(other, count_sql), 2);
	stop();
}
END_TEST

static const struct sqlpool_error stopped = {
	.code = SQLPOOL_ERR_DEADLINE, .step = 1, .offset = 15
};

/* By the deadline of its database, of its connection, and by the bound of all
 * that writes: nothing of it stays. */
START_TEST(a_script_that_takes_too_long_is_undone)
{
	static const char endless[] =
	    "DELETE FROM t; WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT "
	    "x + 1 FROM c) SELECT max(x) FROM c";
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	struct rawconn c;

	start(_i == 2 ? LIVE_OPTIONS("tx_max_age=200ms")
		      : LIVE_OPTIONS("request_timeout=200ms"));
	if (_i == 0) {
		raw_open(&c, live.socket_path);
		raw_expect(
		    &c, raw_put_script(&c, 0, endless, true), ERR_DEADLINE);
		raw_close(&c);
	} else {
		sqlpool_close(conn);
		options.socket_path = live.socket_path;
		options.request_timeout_ms = _i == 1 ? 200 : 60000;
		ck_assert_int_eq(sqlpool_open(&options, &conn), 0);
		expect_error(endless, 0, &stopped);
	}
	ck_assert_int_eq(live_get_int(other, count_sql), 2);
	live_exec(other, "INSERT INTO t(v) VALUES ('after')");
	stop();
}
END_TEST

START_TEST(a_stop_of_the_daemon_undoes_a_script)
{
	struct rawconn c;
	uint64_t id;

	start(LIVE_OPTIONS("shutdown_grace=100ms"));
	raw_open(&c, live.socket_path);
	id = raw_put_script(&c, 0,
	    "DELETE FROM t; WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT "
	    "x + 1 FROM c) SELECT max(x) FROM c",
	    true);
	raw_flush(&c);
	live_wait_busy(&live, "writers");
	kill(live.pid, SIGTERM);
	raw_expect(&c, id, ERR_SHUTTING_DOWN);
	raw_close(&c);
	sqlpool_close(conn);
	sqlpool_close(other);
	ck_assert_int_eq(live_wait_exit(&live, PROC_WAIT_MS), 0);
	ck_assert_int_eq(live_read_file_int(live.db_path, count_sql), 2);
	live_check_file(live.db_path);
	live_fini(&live);
}
END_TEST

/* --- Many of them ---------------------------------------------------------- */

/* 4 MB: longer than what a worker reads in a turn, and many statements. */
START_TEST(a_long_script_is_one_request)
{
	enum { N = 60000 };
	char *sql = malloc(N * 80 + 100);
	size_t n = 0;

	for (int i = 0; i < N; i++)
		n += (size_t)sprintf(sql + n,
		    "INSERT INTO t(v) VALUES('row %05d, and some more text to "
		    "be long');\n",
		    i);
	start(NULL);
	ck_assert_int_eq(sqlpool_script(conn, sql, 0), 0);
	ck_assert_uint_eq(sqlpool_get_summary(conn)->statements_n, N);
	ck_assert_int_eq(live_get_int(other, count_sql), N + 2);
	snprintf(sql + n, 100, "SELECT nope");
	ck_assert_int_eq(sqlpool_script(conn, sql, 0), -1);
	ck_assert_int_eq(sqlpool_get_error(conn)->step, N);
	ck_assert_int_eq(sqlpool_get_error(conn)->offset, (int64_t)n + 7);
	ck_assert_int_eq(live_get_int(other, count_sql), N + 2);
	free(sql);
	stop();
}
END_TEST

#define PROCESSES 6
#define ROUNDS    30

/* Each moves what is in one row to another, by a script and by itself; a reader
 * never sees a sum that is wrong. */
static void
move_money(void *arg)
{
	struct sqlpool_conn *c = live_connect(&live, "mover");
	int *mine = arg;
	char sql[200];

	for (int i = 0; i < ROUNDS; i++) {
		snprintf(sql, sizeof(sql),
		    "UPDATE account SET n = n - %d WHERE id = %d;"
		    "UPDATE account SET n = n + %d WHERE id = %d",
		    i, *mine, i, (*mine + i) % PROCESSES);
		PROC_CHECK(sqlpool_script(c, sql, 0) == 0, "%s",
		    sqlpool_get_error(c)->message);
		live_exec(c, "INSERT INTO t(v) VALUES ('between')");
		PROC_CHECK(live_get_int(c, "SELECT sum(n) FROM account") ==
			INT64_C(100) * PROCESSES,
		    "a part of a script was seen");
	}
	sqlpool_close(c);
}

START_TEST(scripts_of_many_clients_stand_in_one_line)
{
	int mine[PROCESSES];
	pid_t pids[PROCESSES];

	start(NULL);
	ck_assert_int_eq(
	    sqlpool_script(conn,
		"CREATE TABLE account(id INTEGER PRIMARY KEY, n);"
		"INSERT INTO account WITH RECURSIVE c(x) AS (SELECT 0 UNION "
		"ALL SELECT x + 1 FROM c LIMIT 6) SELECT x, 100 FROM c",
		0),
	    0);
	for (int i = 0; i < PROCESSES; i++) {
		mine[i] = i;
		pids[i] = proc_fork(move_money, &mine[i]);
	}
	for (int i = 0; i < PROCESSES; i++)
		proc_join(pids[i]);
	ck_assert_int_eq(live_get_int(conn, count_sql), 2 + PROCESSES * ROUNDS);
	stop();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("migration");
	TCase *tc = tcase_create("migration");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, a_migration_is_seen_by_all_at_once);
	tcase_add_loop_test(
	    tc, a_script_is_before_what_is_sent_behind_it, 0, 2);
	tcase_add_test(tc, a_script_has_no_place_in_a_transaction);
	tcase_add_test(tc, an_error_says_where_and_what_became_of_the_rest);
	tcase_add_loop_test(tc, a_script_that_takes_too_long_is_undone, 0, 3);
	tcase_add_test(tc, a_stop_of_the_daemon_undoes_a_script);
	tcase_add_test(tc, a_long_script_is_one_request);
	tcase_add_test(tc, scripts_of_many_clients_stand_in_one_line);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
