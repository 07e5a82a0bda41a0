/* check_dbs.c - databases that are opened when somebody asks for them, and closed
 * when nobody does. */
#include <check.h>
#include <dirent.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/error.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

#define CLIENTS_N 16
#define PATH_N    (2 * LIVE_PATH_MAX)

static struct live live;
static struct rawconn c;

/* Descriptors of the daemon whose file's name ends so, its WAL not counted. */
static int
count_fds(const char *end)
{
	char dir[64], path[PATH_N];
	const struct dirent *each;
	size_t n = strlen(end);
	int found = 0;
	DIR *d;

	snprintf(dir, sizeof(dir), "/proc/%d/fd", (int)live.pid);
	d = opendir(dir);
	ck_assert_ptr_nonnull(d);
	while ((each = readdir(d))) {
		ssize_t got = readlinkat(
		    dirfd(d), each->d_name, path, sizeof(path));

		if (got > (ssize_t)n && memcmp(path + got - n, end, n) == 0)
			found++;
	}
	closedir(d);
	return found;
}

static bool
is_closed(const void *end)
{
	return count_fds(end) == 0;
}

/* A second database beside app.db. */
static const char *
get_other_path(void)
{
	static char path[PATH_N];

	snprintf(path, sizeof(path), "%s/other.db", live.dir);
	return path;
}

static void
start_two(const char *option)
{
	live_init(&live);
	live_launch(&live,
	    (const char *const[]){ "-s", live.socket_path, "-o", "preload=off",
		"-o", option, live.db_path, get_other_path(), NULL });
	live_wait_ready(&live);
}

static void
open_conn(struct rawconn *conn, const char *database)
{
	raw_connect(conn, live.socket_path);
	conn->database = database;
	raw_expect(conn, raw_put_hello(conn), 0);
	conn->database = NULL;
}

static void
stop(void)
{
	live_stop(&live);
	live_check_file(live.db_path);
	live_fini(&live);
}

static void
expect_text(struct rawconn *conn, uint64_t id, int code, const char *text)
{
	struct rawreply r;

	raw_wait(conn, id, &r);
	ck_assert_uint_eq(r.tell.code, (uint64_t)code);
	ck_assert_msg(
	    memmem(r.tell.message.p, r.tell.message.n, text, strlen(text)),
	    "%.*s", (int)r.tell.message.n, (const char *)r.tell.message.p);
}

static uint64_t
get_seq(struct rawconn *conn, const char *sql)
{
	uint64_t id = raw_put_exec(conn, 0, sql);
	struct rawreply r;

	raw_wait(conn, id, &r);
	ck_assert_uint_eq(r.tell.code, 0);
	return r.tell.seq;
}

/* --- Opening ----------------------------------------------------------------- */

START_TEST(a_database_is_opened_when_somebody_asks_for_it)
{
	start_two("workers=2");
	ck_assert_int_eq(count_fds("/app.db"), 0);
	open_conn(&c, "app");
	ck_assert_int_eq(count_fds("/app.db"), 0);
	raw_run(&c, 0, "CREATE TABLE t(v)", 0);
	/* the writer and this client's worker */
	ck_assert_int_eq(count_fds("/app.db"), 2);
	ck_assert_int_eq(count_fds("/other.db"), 0);
	c.database = "other";
	raw_run(&c, 0, "CREATE TABLE u(v)", 0);
	ck_assert_int_eq(count_fds("/other.db"), 2);
	ck_assert_int_eq(live_get_stat(&live, "databases_opened"), 2);
	raw_close(&c);
	stop();
}
END_TEST

START_TEST(a_preloaded_database_is_open_before_the_ready_line)
{
	live_init(&live);
	live_start(&live, LIVE_OPTIONS("workers=3"));
	ck_assert_int_eq(count_fds("/app.db"), 4);
	stop();
}
END_TEST

/* What is sent while it opens is done in the order in which it was sent. */
START_TEST(requests_that_wait_for_the_opening_keep_their_order)
{
	uint64_t id;

	start_two("workers=1");
	open_conn(&c, "app");
	raw_put_exec(&c, 0, "CREATE TABLE t(v)");
	raw_put_begin(&c, 7, TX_MODE_IMMEDIATE);
	raw_put_exec(&c, 7, "INSERT INTO t VALUES(1), (2)");
	raw_put_end(&c, 7, true);
	raw_put_exec(&c, 0, "INSERT INTO t VALUES(3)");
	id = raw_put_exec(&c, 0, "SELECT sum(v) FROM t");
	ck_assert_int_eq(raw_expect_int(&c, id), 6);
	raw_close(&c);
	stop();
}
END_TEST

START_TEST(clients_that_ask_at_once_are_all_served)
{
	struct rawconn conns[CLIENTS_N];
	uint64_t ids[CLIENTS_N][2];

	start_two("workers=4");
	for (int i = 0; i < CLIENTS_N; i++) {
		open_conn(&conns[i], i % 2 ? "app" : "other");
		ids[i][0] = raw_put_exec(
		    &conns[i], 0, "CREATE TABLE IF NOT EXISTS t(v)");
		ids[i][1] = raw_put_exec(
		    &conns[i], 0, "INSERT INTO t VALUES(1)");
	}
	for (int i = 0; i < CLIENTS_N; i++)
		raw_flush(&conns[i]);
	for (int i = 0; i < CLIENTS_N; i++) {
		raw_expect(&conns[i], ids[i][0], 0);
		raw_expect(&conns[i], ids[i][1], 0);
	}
	for (int i = 0; i < CLIENTS_N; i++) {
		ck_assert_int_eq(
		    raw_run_int(&conns[i], 0, "SELECT count(*) FROM t"),
		    CLIENTS_N / 2);
		raw_close(&conns[i]);
	}
	stop();
}
END_TEST

START_TEST(a_database_that_cannot_be_opened_says_why_each_time_until_it_can)
{
	char dir[PATH_N], spec[2 * PATH_N];

	live_init(&live);
	snprintf(dir, sizeof(dir), "%s/later", live.dir);
	snprintf(spec, sizeof(spec), "app=%s/app.db", dir);
	live_launch(&live,
	    (const char *const[]){
		"-s", live.socket_path, "-o", "preload=off", spec, NULL });
	live_wait_ready(&live);
	open_conn(&c, "app");
	for (int i = 0; i < 3; i++)
		expect_text(&c, raw_put_exec(&c, 0, "SELECT 1"), 14,
		    "create it or correct the path");
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	ck_assert_int_eq(raw_run_int(&c, 0, "SELECT 1"), 1);
	raw_close(&c);
	live_stop(&live);
	live_fini(&live);
}
END_TEST

/* Somebody outside holds a lock: so the opening takes a while. */
START_TEST(a_request_that_waits_for_the_opening_has_its_deadline)
{
	struct rawconn gone;
	uint64_t ids[2];
	sqlite3 *db;

	start_two("workers=1");
	ck_assert_int_eq(sqlite3_open(live.db_path, &db), SQLITE_OK);
	ck_assert_int_eq(
	    sqlite3_exec(db, "CREATE TABLE t(v); BEGIN EXCLUSIVE", 0, 0, 0),
	    SQLITE_OK);
	open_conn(&c, "app");
	open_conn(&gone, "app");
	raw_put_exec(&gone, 0, "INSERT INTO t VALUES('gone')");
	raw_flush(&gone);
	c.timeout_ms = 50;
	ids[0] = raw_put_exec(&c, 0, "INSERT INTO t VALUES('late')");
	c.timeout_ms = 0;
	ids[1] = raw_put_exec(&c, 0, "INSERT INTO t VALUES('cancelled')");
	raw_put_cancel(&c, ids[1]);
	raw_expect(&c, ids[1], ERR_CANCELLED);
	raw_close(&gone);
	expect_text(
	    &c, ids[0], ERR_DEADLINE, "while its database was being opened");
	expect_text(&c, raw_put_exec(&c, 0, "SELECT 1"), ERR_EXTERNAL_BUSY,
	    "has it open");
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	/* another client's database was not held up */
	c.database = "other";
	ck_assert_int_eq(raw_run_int(&c, 0, "SELECT 1"), 1);
	c.database = NULL;
	ck_assert_int_eq(raw_run_int(&c, 0, "SELECT count(*) FROM t"), 0);
	raw_close(&c);
	stop();
}
END_TEST

START_TEST(requests_that_wait_for_the_opening_are_bounded)
{
	uint64_t ids[3];
	sqlite3 *db;

	start_two("max_queue=2");
	ck_assert_int_eq(sqlite3_open(live.db_path, &db), SQLITE_OK);
	ck_assert_int_eq(
	    sqlite3_exec(db, "CREATE TABLE t(v); BEGIN EXCLUSIVE", 0, 0, 0),
	    SQLITE_OK);
	open_conn(&c, "app");
	for (int i = 0; i < 3; i++)
		ids[i] = raw_put_exec(&c, 0, "SELECT 1");
	expect_text(&c, ids[2], ERR_QUEUE_FULL, "2 requests wait until app");
	raw_expect(&c, ids[0], ERR_EXTERNAL_BUSY);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	raw_close(&c);
	stop();
}
END_TEST

/* --- Closing ----------------------------------------------------------------- */

START_TEST(a_database_that_nobody_uses_is_closed_and_opened_again)
{
	uint64_t before, after;

	start_two("idle_close=100ms");
	open_conn(&c, "app");
	raw_run(&c, 0, "CREATE TABLE t(v)", 0);
	before = get_seq(&c, "INSERT INTO t VALUES(1)");
	proc_wait_until(is_closed, "/app.db", "app is closed");
	ck_assert_int_eq(count_fds("/app.db-wal"), 0);
	ck_assert_int_eq(live_get_stat(&live, "databases_closed"), 1);
	live_check_file(live.db_path);
	after = get_seq(&c, "INSERT INTO t VALUES(2)");
	ck_assert_uint_eq(after, before + 1);
	ck_assert_int_eq(raw_run_int(&c, 0, "SELECT sum(v) FROM t"), 3);
	raw_close(&c);
	stop();
}
END_TEST

/* With every thing that may be under way: the other database, which is looked at
 * in the same moment, is closed. */
static const struct {
	enum msg_tx_mode mode;
	const char *sql;
} uses[] = {
	{ TX_MODE_IMMEDIATE, "INSERT INTO t VALUES(1)" },
	{ TX_MODE_DEFERRED, "SELECT count(*) FROM t" },
	{ TX_MODE_DEFERRED, "SAVEPOINT s" },
};

START_TEST(a_transaction_keeps_its_database_open)
{
	start_two("idle_close=100ms");
	open_conn(&c, "app");
	raw_run(&c, 0, "CREATE TABLE t(v)", 0);
	raw_run(&c, 0, "INSERT INTO t VALUES(0)", 0);
	raw_begin(&c, uses[_i].mode);
	raw_run(&c, 0, uses[_i].sql, 0);
	c.database = "other";
	raw_run(&c, 1, "CREATE TABLE IF NOT EXISTS u(v)", 0);
	proc_wait_until(is_closed, "/other.db", "other is closed");
	raw_run(&c, 1, "CREATE TABLE IF NOT EXISTS u(v)", 0);
	proc_wait_until(is_closed, "/other.db", "other is closed again");
	c.database = NULL;
	ck_assert_int_ge(count_fds("/app.db"), 2);
	raw_run(&c, 0, "SELECT count(*) FROM t", 0);
	raw_end(&c, true);
	proc_wait_until(is_closed, "/app.db", "app is closed");
	raw_close(&c);
	stop();
}
END_TEST

/* Asked for at random moments, of which some are those in which it closes. */
START_TEST(a_database_may_be_asked_for_while_it_closes)
{
	int n = 0;

	start_two("idle_close=1ms");
	open_conn(&c, "app");
	raw_run(&c, 0, "CREATE TABLE t(v)", 0);
	while (live_get_stat(&live, "databases_closed") < 3) {
		usleep((useconds_t)(random() % 5000));
		raw_run(&c, 0, "INSERT INTO t VALUES(1)", 0);
		n++;
		ck_assert_int_eq(
		    raw_run_int(&c, 0, "SELECT count(*) FROM t"), n);
	}
	raw_close(&c);
	stop();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("dbs");
	TCase *tc = tcase_create("opening");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_database_is_opened_when_somebody_asks_for_it);
	tcase_add_test(tc, a_preloaded_database_is_open_before_the_ready_line);
	tcase_add_test(tc, requests_that_wait_for_the_opening_keep_their_order);
	tcase_add_test(tc, clients_that_ask_at_once_are_all_served);
	tcase_add_test(tc,
	    a_database_that_cannot_be_opened_says_why_each_time_until_it_can);
	tcase_add_test(
	    tc, a_request_that_waits_for_the_opening_has_its_deadline);
	tcase_add_test(tc, requests_that_wait_for_the_opening_are_bounded);
	suite_add_tcase(s, tc);
	tc = tcase_create("closing");
	tcase_set_timeout(tc, 60);
	tcase_add_test(
	    tc, a_database_that_nobody_uses_is_closed_and_opened_again);
	tcase_add_loop_test(tc, a_transaction_keeps_its_database_open, 0,
	    sizeof(uses) / sizeof(uses[0]));
	tcase_add_test(tc, a_database_may_be_asked_for_while_it_closes);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
