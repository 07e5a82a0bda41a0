/* check_costs.c - SHOW STATEMENTS and SHOW SLOW: what they say of a known load is
 * what was done, and what plain SQLite counts for it; whatever texts there are, the
 * sums are right; and whoever may not look sees none of them. */
#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/tally.h"
#include "proto/error.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

#define SCHEMA "CREATE TABLE t(id INTEGER PRIMARY KEY, v UNIQUE, w)"
#define FILL                                                               \
	"INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT " \
	"x + 1 FROM c WHERE x < 500) SELECT x, x, x % 10 FROM c"
#define READ   "SELECT v FROM t WHERE id BETWEEN 3 AND 5"
#define SCAN   "SELECT count(*) FROM t WHERE w = 3"
#define INSERT "INSERT INTO t(id, w) VALUES(1, 1)"
#define UPDATE "UPDATE t SET w = 11 WHERE id < 4"
#define LARGE  "SELECT zeroblob(100000)"
#define NOBODY 65534
#define SECRET "a secret"

static struct live live;
static struct sqlpool_conn *admin, *conn;

static void
start(const char *const *options)
{
	live_init(&live);
	live_start(&live, options);
	admin = live_connect_admin(&live);
	conn = live_connect(&live, "test");
	live_exec(conn, SCHEMA);
	live_exec(conn, FILL);
}

static void
stop(void)
{
	sqlpool_close(admin);
	sqlpool_close(conn);
	live_stop(&live);
	live_fini(&live);
}

static void
run(const char *sql, int times)
{
	for (int i = 0; i < times; i++)
		free(live_ask(conn, sql, NULL));
}

/* Of the row of a statement, or of all others (NULL). */
static double
get(const char *sql, const char *column)
{
	struct sqlpool_result *result = NULL;
	double v = -1;

	ck_assert_int_eq(
	    sqlpool_query(admin, "SHOW STATEMENTS", NULL, 0, &result), 0);
	while (sqlpool_next(result) == SQLPOOL_ROW) {
		const char *text = sqlpool_column_text(result,
		    (size_t)sqlpool_column_index(result, "statement"), NULL);

		if (sql && text ? strcmp(sql, text) == 0 : !sql && !text)
			v = sqlpool_column_double(result,
			    (size_t)sqlpool_column_index(result, column));
	}
	sqlpool_result_free(result);
	return v;
}

static void
expect(const char *sql, const char *column, double want)
{
	double v = get(sql, column);

	ck_assert_msg(v == want, "%s of %s is %g, not %g", column,
	    sql ? sql : "others", v, want);
}

static double
sum(const char *column)
{
	struct sqlpool_result *result = NULL;
	double all = 0;

	ck_assert_int_eq(
	    sqlpool_query(admin, "SHOW STATEMENTS", NULL, 0, &result), 0);
	while (sqlpool_next(result) == SQLPOOL_ROW)
		all += sqlpool_column_double(
		    result, (size_t)sqlpool_column_index(result, column));
	sqlpool_result_free(result);
	return all;
}

/* What plain SQLite counts for it, on a table like the daemon's. */
static int
count_here(const char *sql, int op)
{
	sqlite3 *db;
	sqlite3_stmt *st;
	int n;

	ck_assert_int_eq(sqlite3_open(":memory:", &db), SQLITE_OK);
	ck_assert_int_eq(
	    sqlite3_exec(db, SCHEMA ";" FILL, NULL, NULL, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	while (sqlite3_step(st) == SQLITE_ROW)
		;
	n = sqlite3_stmt_status(st, op, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return n;
}

/* --- SHOW STATEMENTS -------------------------------------------------------------- */

START_TEST(statements_are_counted_as_they_were_run)
{
	int vm_steps = count_here(READ, SQLITE_STMTSTATUS_VM_STEP);
	int scan_steps = count_here(SCAN, SQLITE_STMTSTATUS_FULLSCAN_STEP);

	ck_assert_int_eq(scan_steps, 499);
	start(LIVE_OPTIONS("workers=2"));
	run(READ, 7);
	run(SCAN, 3);
	run(INSERT, 2); /* there is one */
	run(UPDATE, 4);
	expect(READ, "calls", 7);
	expect(READ, "rows", 21);
	expect(READ, "vm_steps", 7 * vm_steps);
	expect(READ, "scan_steps", 0);
	expect(READ, "errors", 0);
	expect(SCAN, "calls", 3);
	expect(SCAN, "rows", 3);
	expect(SCAN, "scan_steps", 3 * scan_steps);
	expect(INSERT, "calls", 2);
	expect(INSERT, "rows", 0);
	expect(INSERT, "errors", 2);
	expect(UPDATE, "calls", 4);
	expect(UPDATE, "rows", 12);
	expect(FILL, "rows", 500);
	expect(NULL, "calls", -1); /* there are no others */
	ck_assert(get(READ, "mean_us") * 7 <= get(READ, "total_ms") * 1000.5);
	ck_assert(get(FILL, "p99_us") >= get(FILL, "total_ms") * 1000);
	stop();
}
END_TEST

/* A write whose group was undone, and a read that was too long for a worker, are
 * one call each, whose time is that of all runs. */
START_TEST(statements_count_once_what_was_run_again)
{
	struct rawconn a, b;
	uint64_t ids[4];

	start(LIVE_OPTIONS("workers=1"));
	raw_open(&a, live.socket_path);
	raw_open(&b, live.socket_path);
	run(LARGE, 3);
	expect(LARGE, "calls", 3);
	expect(LARGE, "rows", 3);
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, UPDATE, 0);
	for (int i = 0; i < 4; i++) /* the third one ends the transaction */
		ids[i] = raw_put_exec(&a, 0,
		    i == 2 ? "INSERT OR ROLLBACK INTO t(id) VALUES(1)"
			   : "INSERT INTO t(w) VALUES(7)");
	raw_flush(&a);
	live_wait_queue(&live, 4);
	raw_end(&b, true);
	for (int i = 0; i < 4; i++)
		raw_expect(&a, ids[i], i == 2 ? 1555 : 0);
	ck_assert_int_eq(live_get_stat(&live, "groups_rerun"), 1);
	expect("INSERT INTO t(w) VALUES(7)", "calls", 3);
	expect("INSERT INTO t(w) VALUES(7)", "rows", 3);
	expect("INSERT OR ROLLBACK INTO t(id) VALUES(1)", "calls", 1);
	expect("INSERT OR ROLLBACK INTO t(id) VALUES(1)", "errors", 1);
	expect(UPDATE, "calls", 1);
	raw_close(&a);
	raw_close(&b);
	stop();
}
END_TEST

START_TEST(statements_of_batches_are_counted_by_themselves)
{
	static const char *const steps[] = { UPDATE, READ, UPDATE };
	struct sqlpool_request *request = sqlpool_request_new();

	start(LIVE_OPTIONS("workers=1"));
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(
		    sqlpool_request_add(request, steps[i], NULL, 0), i);
	for (int i = 0; i < 2; i++) {
		struct sqlpool_result *result = NULL;

		ck_assert_int_ge(sqlpool_run_atomic(conn, request, &result), 0);
		sqlpool_result_free(result);
	}
	sqlpool_request_free(request);
	expect(UPDATE, "calls", 4);
	expect(UPDATE, "rows", 12);
	expect(READ, "calls", 2);
	expect(READ, "rows", 6);
	stop();
}
END_TEST

/* As if they had come alone, with what is between them left out; also the one that
 * ends it. */
START_TEST(statements_of_scripts_are_counted_by_themselves)
{
	static const char text[] = "-- a comment\n" UPDATE ";\n\n" READ " ;"
				   "SAVEPOINT s; RELEASE s;" UPDATE "; " INSERT
				   ";" READ;
	int vm_steps = count_here(READ, SQLITE_STMTSTATUS_VM_STEP);
	unsigned flags = _i == 0 ? 0 : SQLPOOL_SCRIPT_NOT_ATOMIC;

	start(LIVE_OPTIONS("workers=1"));
	ck_assert_int_lt(sqlpool_script(conn, text, flags), 0);
	run(READ ";\n", 1);
	expect(UPDATE, "calls", 1);
	expect("-- a comment " UPDATE, "calls", 1);
	expect(UPDATE, "rows", 3);
	expect(READ, "calls", 2);
	expect(READ, "rows", 6);
	expect(READ, "vm_steps", 2 * vm_steps);
	expect(INSERT, "calls", 1);
	expect(INSERT, "errors", 1);
	expect(INSERT, "rows", 0);
	ck_assert_double_eq(sum("calls"), 7); /* SCHEMA and FILL are two */
	ck_assert_double_eq(get(NULL, "calls"), -1);
	stop();
}
END_TEST

/* By itself or as a step: what was not run is not counted, least of all with the rows
 * of the step before it. */
START_TEST(statements_that_cannot_be_bound_are_not_counted)
{
	const struct sqlpool_value extra = SQLPOOL_NULL;
	struct sqlpool_request *request = sqlpool_request_new();
	struct sqlpool_result *result = NULL;

	start(LIVE_OPTIONS("workers=1"));
	ck_assert_int_eq(sqlpool_request_add(request, READ, NULL, 0), 0);
	ck_assert_int_eq(sqlpool_request_add(request, UPDATE, &extra, 1), 1);
	ck_assert_int_lt(sqlpool_run_atomic(conn, request, &result), 0);
	sqlpool_request_free(request);
	ck_assert_int_lt(sqlpool_query(conn, UPDATE, &extra, 1, &result), 0);
	ck_assert_int_lt(sqlpool_query(conn, SCAN, &extra, 1, &result), 0);
	expect(SCAN, "calls", -1); /* there is no such row */
	run(UPDATE, 1);
	expect(READ, "calls", 1);
	expect(UPDATE, "calls", 1);
	expect(UPDATE, "rows", 3);
	expect(UPDATE, "errors", 0);
	stop();
}
END_TEST

/* More texts than are kept, as a program makes that writes values into its SQL: the
 * sums are those of all that was run. */
START_TEST(statements_sum_up_under_a_flood_of_texts)
{
	int n = TALLY_TEXTS_MAX + 200;
	struct rawconn a;
	uint64_t id = 0;
	char sql[64];

	start(LIVE_OPTIONS("workers=1", "max_in_flight=65536"));
	raw_open(&a, live.socket_path);
	run(SCAN, 20);
	for (int i = 0; i < n; i++) {
		snprintf(sql, sizeof(sql), "SELECT %d", i);
		id = raw_put_exec(&a, 0, sql);
	}
	raw_expect(&a, id, 0);
	ck_assert(sum("calls") == 20 + n + 2);
	ck_assert(get(NULL, "calls") > 0);
	expect(SCAN, "calls", 20);
	raw_close(&a);
	stop();
}
END_TEST

/* --- SHOW SLOW ------------------------------------------------------------------- */

static void
expect_ask(const char *sql, const char *columns, const char *want)
{
	char *text = live_ask(admin, sql, columns);

	ck_assert_str_eq(text, want);
	free(text);
}

static void
run_slowly(void)
{
	ck_assert_int_eq(
	    sqlpool_exec(conn,
		"SELECT count(*) FROM t a JOIN t b ON a.w = b.w WHERE ?1 <> 'x'",
		SQLPOOL_VALUES(SQLPOOL_TEXT(SECRET))),
	    0);
}

START_TEST(slow_ones_are_kept_with_why)
{
	char *text;

	start(LIVE_OPTIONS("slow_statement=1us", "workers=1"));
	run_slowly();
	run("SELECT v FROM t ORDER BY w, v", 1);
	run("SELECT 1", 1);
	/* FILL was, too; the last one is first */
	expect_ask("SHOW SLOW",
	    "number database why sorts application statement",
	    "3|app|scan, sort|1|test|SELECT v FROM t ORDER BY w, v\n"
	    "2|app|scan, automatic index|0|test|SELECT count(*) FROM t a JOIN t "
	    "b ON a.w = b.w WHERE ?1 <> 'x'\n"
	    "1|app||0|test|" FILL "\n");
	/* values are shown when somebody wants that */
	expect_ask("SET app.log_parameters = on", NULL, "");
	run_slowly();
	text = live_ask(admin, "SHOW SLOW", "statement");
	ck_assert_msg(strncmp(text, "SELECT count(*)", 15) == 0 &&
		strstr(text, "'" SECRET "' <> 'x'"),
	    "%s", text);
	free(text);
	stop();
}
END_TEST

/* Those that fail, too. */
START_TEST(slow_ones_of_a_script_are_kept)
{
	const char *text = SCAN ";" SCAN "; INSERT INTO t SELECT 1, count(*), "
				"1 FROM t a JOIN t b ON a.w > b.w";

	start(LIVE_OPTIONS("slow_statement=1us", "workers=1"));
	ck_assert_int_lt(sqlpool_script(conn, text, 0), 0);
	expect_ask("SHOW SLOW", "number why statement",
	    "4|scan|INSERT INTO t SELECT 1, count(*), 1 FROM t a JOIN t b ON "
	    "a.w > b.w\n"
	    "3|scan|" SCAN ";\n2|scan|" SCAN ";\n1||" FILL "\n");
	stop();
}
END_TEST

START_TEST(slow_ones_are_kept_up_to_a_number)
{
	char *text, *save = NULL;
	int n = 0;

	start(LIVE_OPTIONS("slow_statement=1us", "workers=1"));
	run(SCAN, 120);
	text = live_ask(admin, "SHOW SLOW", "number");
	for (char *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		ck_assert_int_eq(strtol(line, NULL, 10), 121 - n++);
	ck_assert_int_eq(n, 100);
	free(text);
	stop();
}
END_TEST

/* --- Who may look ------------------------------------------------------------------ */

static void
expect_part(struct sqlpool_conn *other, const char *sql, const char *part)
{
	char *text = live_ask(other, sql, NULL);

	PROC_CHECK(strstr(text, part), "%s: no %s in %s", sql, part, text);
	free(text);
}

/* The directories above it may be closed to others. */
static void
become_nobody(void)
{
	PROC_CHECK(chdir(live.dir) == 0, "chdir");
	snprintf(live.socket_path, sizeof(live.socket_path), "s");
	PROC_CHECK(setgid(NOBODY) == 0 && setuid(NOBODY) == 0, "setuid");
}

static void
look_as_nobody(void *arg)
{
	struct sqlpool_conn *other;

	(void)arg;
	become_nobody();
	other = live_connect_admin(&live);
	expect_part(other, "SHOW STATEMENTS", READ);
	expect_part(other, "SHOW SLOW", SCAN);
	expect_part(other, "SET log_level = debug", "ACCESS_DENIED");
	expect_part(other, "CHECKPOINT app", "ACCESS_DENIED");
	sqlpool_close(other);
}

static void
fail_as_nobody(void *arg)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	struct sqlpool_conn *other = NULL;

	(void)arg;
	become_nobody();
	options.socket_path = live.socket_path;
	options.database = "@admin";
	PROC_CHECK(sqlpool_open(&options, &other) < 0,
	    "somebody else looks at @admin");
	PROC_CHECK(sqlpool_get_error(other)->code == ERR_ACCESS_DENIED, "%s",
	    sqlpool_get_error(other)->message);
	sqlpool_close(other);
}

START_TEST(statements_are_for_admins_and_observers_alone)
{
	if (getuid() != 0)
		return; /* nobody else can be asked */
	start(_i ? LIVE_OPTIONS(
		       "observers=*", "socket_mode=0666", "slow_statement=1us")
		 : LIVE_OPTIONS("socket_mode=0666", "slow_statement=1us"));
	ck_assert_int_eq(chmod(live.dir, 0755), 0);
	run(READ, 1);
	run(SCAN, 1);
	proc_join(proc_fork(_i ? look_as_nobody : fail_as_nobody, NULL));
	stop();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("costs");
	TCase *tc = tcase_create("costs");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, statements_are_counted_as_they_were_run);
	tcase_add_test(tc, statements_count_once_what_was_run_again);
	tcase_add_test(tc, statements_of_batches_are_counted_by_themselves);
	tcase_add_loop_test(
	    tc, statements_of_scripts_are_counted_by_themselves, 0, 2);
	tcase_add_test(tc, statements_that_cannot_be_bound_are_not_counted);
	tcase_add_test(tc, statements_sum_up_under_a_flood_of_texts);
	tcase_add_test(tc, slow_ones_are_kept_with_why);
	tcase_add_test(tc, slow_ones_of_a_script_are_kept);
	tcase_add_test(tc, slow_ones_are_kept_up_to_a_number);
	tcase_add_loop_test(
	    tc, statements_are_for_admins_and_observers_alone, 0, 2);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
