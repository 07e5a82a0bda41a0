/* check_locked.c - with access = shared, while another process has the lock: the
 * line waits for it and no thread does, and each request only for so long.
 *
 * The other process is a connection of ours: to the plain VFS that is the same. */
#include <check.h>
#include <sqlite3.h>
#include <stdio.h>

#include "daemon/clock.h"
#include "daemon/dbconn_impl.h"
#include "daemon/stats.h"
#include "daemon/writer_impl.h"
#include "proto/error.h"
#include "tests/lib/faults.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char schema[] = "CREATE TABLE t(id INTEGER PRIMARY KEY, v UNIQUE);"
			     "INSERT INTO t(v) VALUES('there');";

static struct fixture fx;
static sqlite3 *outside;

static void
run_outside(const char *sql)
{
	ck_assert_msg(sqlite3_exec(outside, sql, NULL, NULL, NULL) == SQLITE_OK,
	    "%s: %s", sql, sqlite3_errmsg(outside));
}

static void
open_shared(const char *options)
{
	char all[64];

	snprintf(all, sizeof(all), "access=shared %s", options);
	fixture_open(&fx, all, schema);
	ck_assert_int_eq(sqlite3_open(fx.path, &outside), SQLITE_OK);
}

static void
close_shared(void)
{
	ck_assert_int_eq(sqlite3_close(outside), SQLITE_OK);
	fixture_close(&fx);
}

static struct request *
write_one(const char *sql)
{
	return fixture_write(&fx, fixture_exec(&fx, sql, NULL));
}

/* Wait until the writer has met the lock. */
static void
await_locked(void)
{
	int64_t end_us = clock_now_us() + 20000000;

	while (!atomic_load(&fx.db->writer->locked_us)) {
		ck_assert_int_lt(clock_now_us(), end_us);
		sched_yield();
	}
}

static void
take(struct request *r, const char *want)
{
	const char *got = fixture_take(&fx, r);

	ck_assert_msg(
	    strncmp(got, want, strlen(want)) == 0, "%s\nnot\n%s", got, want);
}

static const char *
say_locked(bool in_tx)
{
	return fixture_format(&fx,
	    "ERROR %sname=EXTERNAL_BUSY message='a process outside the daemon "
	    "holds the lock on %s; find it with: fuser -v %s'",
	    in_tx ? "tx_state=1 " : "", fx.path, fx.path);
}

/* --- Every kind of request -------------------------------------------------- */

/* clang-format off */
static const struct fixture_step steps[] = {
	{ .sql = "INSERT INTO t(v) VALUES('batch')" },
	{ .sql = "UPDATE t SET v = v || '.' WHERE v = 'batch'" }, { 0 }
};
/* clang-format on */

enum { KINDS_N = 8 };

/* One of each, in a line; the last is the first of a transaction. */
static void
submit_all(struct request **r, struct tx *tx)
{
	r[0] = write_one("INSERT INTO t(v) VALUES('one')");
	r[1] = fixture_write(&fx, fixture_batch(&fx, steps));
	r[2] = write_one("CREATE TABLE made(x)");
	r[3] = write_one("VACUUM");
	r[4] = fixture_write(
	    &fx, fixture_script(&fx, "INSERT INTO t(v) VALUES('whole')", true));
	r[5] = fixture_write(&fx,
	    fixture_script(&fx,
		"INSERT INTO t(v) VALUES('a'); INSERT INTO t(v) VALUES('b')",
		false));
	/* spoils its group, and alone keeps its first row */
	r[6] = write_one("INSERT OR FAIL INTO t(v) VALUES('f'), ('there')");
	r[7] = fixture_write(&fx,
	    fixture_in(
		tx, fixture_exec(&fx, "INSERT INTO t(v) VALUES('tx')", NULL)));
}

static const char *const replies[KINDS_N] = { "DONE changes=1",
	"DONE changes=2", "DONE", "DONE", "DONE changes=1", "DONE changes=2",
	"ERROR name=SQLITE_CONSTRAINT_UNIQUE", "DONE changes=1" };

/* clang-format off */
static const char *const contents[KINDS_N] = {
	"there outside one batch. whole a b f tx\n",
	"there outside batch. whole a b f tx\n",
	"there outside whole a b f tx\n",
	"there outside whole a b f tx\n",
	"there outside whole a b f tx\n",
	"there outside a b f tx\n",
	"there outside f tx\n",
	"there outside tx\n",
};
/* clang-format on */

START_TEST(locked_line_waits_and_goes_on_in_its_order)
{
	struct request *r[KINDS_N];
	struct tx *tx;

	open_shared("busy_wait=10min");
	tx = fixture_begin(&fx, TX_MODE_IMMEDIATE);
	run_outside("BEGIN IMMEDIATE; INSERT INTO t(v) VALUES('outside')");
	/* who is first meets the lock */
	fixture_hold(&fx);
	submit_all(r, tx);
	for (int i = 0; i < _i; i++)
		fixture_cancel(&fx, r[i], ERR_CANCELLED);
	fixture_release(&fx);
	await_locked();
	run_outside("COMMIT");
	for (int i = 0; i < KINDS_N; i++)
		take(r[i], i < _i ? "ERROR name=CANCELLED" : replies[i]);
	fixture_take(
	    &fx, fixture_write(&fx, fixture_in(tx, fixture_end(&fx, true))));
	ck_assert_uint_eq(stats_get(STAT_external_busy), 0);
	ck_assert_str_eq(
	    fixture_query(&fx, "SELECT group_concat(v, ' ') FROM t"),
	    contents[_i]);
	tx_unref(tx);
	close_shared();
}
END_TEST

START_TEST(locked_out_requests_fail_when_their_own_wait_is_over)
{
	enum { WAIT_US = 300000 };
	struct request *r[KINDS_N], *late;
	int64_t began_us;
	struct tx *tx;

	open_shared("busy_wait=300ms");
	tx = fixture_begin(&fx, TX_MODE_IMMEDIATE);
	run_outside("BEGIN IMMEDIATE");
	began_us = clock_now_us();
	submit_all(r, tx);
	for (size_t i = 0; i < KINDS_N; i++)
		fixture_wait(&fx, r[i]);
	/* all at a time, not one after another */
	ck_assert_int_lt(clock_now_us() - began_us, WAIT_US * KINDS_N / 2);
	ck_assert_uint_eq(stats_get(STAT_external_busy), KINDS_N);
	for (size_t i = 0; i < KINDS_N; i++) {
		ck_assert_int_ge(clock_now_us() - r[i]->arrived_us, WAIT_US);
		take(r[i], say_locked(i + 1 == KINDS_N));
	}
	/* and who comes later waits from then on */
	late = write_one("INSERT INTO t(v) VALUES('late')");
	fixture_wait(&fx, late);
	ck_assert_int_ge(clock_now_us() - late->arrived_us, WAIT_US);
	take(late, say_locked(false));
	run_outside("COMMIT");
	take(write_one("INSERT INTO t(v) VALUES('free')"), "DONE");
	ck_assert_str_eq(
	    fixture_query(&fx, "SELECT v FROM t ORDER BY v"), "free\nthere\n");
	tx_unref(tx);
	close_shared();
}
END_TEST

/* --- No thread waits -------------------------------------------------------- */

START_TEST(locked_file_keeps_no_thread)
{
	struct request *r[KINDS_N];
	struct tx *tx;

	open_shared("busy_wait=10min");
	tx = fixture_begin(&fx, TX_MODE_IMMEDIATE);
	run_outside("BEGIN IMMEDIATE");
	fixture_hold(&fx);
	submit_all(r, tx);
	for (int i = 0; i < _i; i++)
		fixture_cancel(&fx, r[i], ERR_CANCELLED);
	fixture_release(&fx);
	await_locked();
	/* another queue gets the writers' one thread */
	fixture_hold(&fx);
	fixture_release(&fx);
	for (int i = 0; i < KINDS_N; i++)
		fixture_cancel(&fx, r[i], ERR_CANCELLED);
	for (int i = 0; i < KINDS_N; i++)
		take(r[i],
		    i + 1 < KINDS_N ? "ERROR name=CANCELLED"
				    : "ERROR tx_state=1 name=CANCELLED");
	run_outside("COMMIT");
	ck_assert_uint_eq(writer_get_queue_n(fx.db->writer), 0);
	tx_unref(tx);
	close_shared();
}
END_TEST

/* --- What is told ----------------------------------------------------------- */

START_TEST(locked_out_request_that_is_stopped_is_told_of_the_lock)
{
	struct request *r;

	open_shared("busy_wait=10min");
	run_outside("BEGIN IMMEDIATE");
	r = write_one("INSERT INTO t(v) VALUES(1)");
	await_locked();
	fixture_cancel(&fx, r, ERR_CANCELLED);
	take(r,
	    fixture_format(&fx,
		"ERROR name=CANCELLED message='request cancelled while it "
		"waited for the writer, and that for a process outside the "
		"daemon, which holds the lock on %s; find it with: fuser -v "
		"%s'",
		fx.path, fx.path));
	close_shared();
}
END_TEST

/* A statement that fails says whether something of it stays; what others have
 * committed is not of it. */
START_TEST(locked_commits_of_others_are_not_ours)
{
	struct request *r;

	open_shared("busy_wait=10min");
	run_outside("INSERT INTO t(v) VALUES('outside')");
	r = write_one("INSERT INTO t(v) VALUES('there')");
	fixture_wait(&fx, r);
	ck_assert_uint_eq(r->seq, 0);
	take(r,
	    "ERROR name=SQLITE_CONSTRAINT_UNIQUE message='UNIQUE constraint "
	    "failed: t.v'");
	run_outside("INSERT INTO t(v) VALUES('outside again')");
	r = fixture_write(&fx,
	    fixture_script(&fx, "INSERT INTO t(v) VALUES('there')", false));
	fixture_wait(&fx, r);
	ck_assert_uint_eq(r->seq, 0);
	ck_assert_int_eq(r->failure.outcome, OUTCOME_NOT_APPLIED);
	fixture_take(&fx, r);
	ck_assert_uint_eq(atomic_load(writer_get_seq(fx.db->writer)), 0);
	close_shared();
}
END_TEST

/* --- In the middle ----------------------------------------------------------- */

static const char long_script[] = "INSERT INTO t(v) VALUES('first');"
				  "SELECT barrier(1);"
				  "INSERT INTO t(v) VALUES('second')";

/* The lock is taken between two statements of a script: it goes on afterwards;
 * or it is stopped, or waits for too long, and says what it has done. */
START_TEST(locked_script_goes_on_where_it_was)
{
	struct request *r, *next;
	struct barrier b;

	open_shared(_i == 2 ? "busy_wait=50ms" : "busy_wait=10min");
	barrier_add(&fx, &b);
	r = fixture_write(&fx, fixture_script(&fx, long_script, false));
	barrier_await(&b);
	run_outside("BEGIN IMMEDIATE; INSERT INTO t(v) VALUES('outside')");
	barrier_open(&b);
	await_locked();
	next = write_one("INSERT INTO t(v) VALUES('next')");
	if (_i == 1)
		fixture_cancel(&fx, r, ERR_CANCELLED);
	if (_i > 0)
		fixture_wait(&fx, r);
	run_outside("COMMIT");
	if (_i == 0)
		take(r, "DONE changes=2 rowid=4 statements_n=3");
	else
		take(r,
		    _i == 1 ? "ERROR name=CANCELLED"
			    : "ERROR name=EXTERNAL_BUSY");
	fixture_take(&fx, next);
	ck_assert_str_eq(
	    fixture_query(
		&fx, "SELECT group_concat(v, ' ') FROM t WHERE v <> 'next'"),
	    _i == 0 ? "there first outside second\n" : "there first outside\n");
	close_shared();
}
END_TEST

/* The lock is taken when a group was undone and before its members run by
 * themselves: they wait in the line again, and each gets what it would have. */
static void
lock_now(void *arg)
{
	(void)arg;
	sqlite3_rollback_hook(faults_get_writer(&fx), NULL, NULL);
	run_outside("BEGIN IMMEDIATE");
}

START_TEST(locked_group_that_was_undone_waits_again)
{
	struct request *r[4];

	open_shared("busy_wait=10min");
	sqlite3_rollback_hook(faults_get_writer(&fx), lock_now, NULL);
	fixture_hold(&fx);
	r[0] = write_one("INSERT INTO t(v) VALUES('one')");
	r[1] = write_one("INSERT OR ROLLBACK INTO t(v) VALUES('x'), ('there')");
	r[2] = write_one("INSERT INTO t(v) VALUES('three') RETURNING id");
	r[3] = write_one("CREATE TABLE made(x)");
	fixture_release(&fx);
	await_locked();
	fixture_hold(&fx); /* it has returned them all */
	ck_assert_uint_eq(writer_get_queue_n(fx.db->writer), 4);
	fixture_release(&fx);
	run_outside("COMMIT");
	take(r[0], "DONE changes=1 rowid=2");
	take(r[1], "ERROR name=SQLITE_CONSTRAINT_UNIQUE");
	take(r[2], "DONE columns=['id'] rows=[[3]] changes=1 rowid=3");
	take(r[3], "DONE");
	ck_assert_str_eq(
	    fixture_query(&fx, "SELECT group_concat(v, ' ') FROM t"),
	    "there one three\n");
	close_shared();
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *s = suite_create("locked");
	TCase *tc = tcase_create("locked");

	tcase_set_timeout(tc, 20);
	tcase_add_loop_test(
	    tc, locked_line_waits_and_goes_on_in_its_order, 0, KINDS_N);
	tcase_add_test(
	    tc, locked_out_requests_fail_when_their_own_wait_is_over);
	tcase_add_loop_test(tc, locked_file_keeps_no_thread, 0, KINDS_N);
	tcase_add_test(
	    tc, locked_out_request_that_is_stopped_is_told_of_the_lock);
	tcase_add_test(tc, locked_commits_of_others_are_not_ours);
	tcase_add_loop_test(tc, locked_script_goes_on_where_it_was, 0, 3);
	tcase_add_test(tc, locked_group_that_was_undone_waits_again);
	suite_add_tcase(s, tc);
	return s;
}

int
main(void)
{
	return fixture_run(make_suite());
}
