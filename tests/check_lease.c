/* check_lease.c - interactive transactions that write. */
#include <check.h>
#include <sqlite3.h>
#include <stdlib.h>

#include "daemon/answer.h"
#include "daemon/stats.h"
#include "proto/error.h"
#include "tests/lib/faults.h"

static const char schema[] =
    "CREATE TABLE t(id INTEGER PRIMARY KEY, v UNIQUE);"
    "INSERT INTO t VALUES(1, 'one'), (2, 'two');"
    "CREATE TABLE late(p REFERENCES t(id) DEFERRABLE INITIALLY DEFERRED);";

#define LARGE                                                            \
	"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c" \
	" LIMIT 100000) SELECT x FROM c"
#define ENDLESS_INSERT                                                     \
	"INSERT INTO t(v) SELECT x FROM (WITH RECURSIVE c(x) AS (SELECT 1" \
	" UNION ALL SELECT x + 1 FROM c) SELECT x FROM c)"
#define ALL    "SELECT id, v FROM t"
#define BEFORE "1|one\n2|two\n"

static struct fixture fx;

static struct request *
ask(const char *sql)
{
	return fixture_exec(&fx, sql, NULL);
}

static struct request *
ask_in(struct tx *tx, const char *sql)
{
	return fixture_write(&fx, fixture_in(tx, ask(sql)));
}

static const char *
run_in(struct tx *tx, const char *sql)
{
	return fixture_take(&fx, ask_in(tx, sql));
}

static const char *
run_end(struct tx *tx, bool commit)
{
	return fixture_take(
	    &fx, fixture_write(&fx, fixture_in(tx, fixture_end(&fx, commit))));
}

static const char *
run_batch_in(struct tx *tx, const struct fixture_step *steps)
{
	return fixture_take(
	    &fx, fixture_write(&fx, fixture_in(tx, fixture_batch(&fx, steps))));
}

/* Begin a transaction and let it have the writer. */
static struct tx *
take_lease(void)
{
	struct tx *tx = fixture_begin(&fx, TX_MODE_IMMEDIATE);

	ck_assert_str_eq(run_in(tx, "INSERT INTO t VALUES(10, 'ten')"),
	    "DONE changes=1 rowid=10 tx_state=3");
	ck_assert(atomic_load(&tx->leased));
	return tx;
}

static bool
begins_with(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static void
assert_begins(const char *text, const char *with)
{
	ck_assert_msg(begins_with(text, with), "%s", text);
}

static void
tick_until_expired(struct tx *tx)
{
	while (!atomic_load(&tx->expired)) {
		writer_tick(fx.db->writer);
		fixture_settle(&fx);
	}
	fixture_settle(&fx);
}

static uint64_t
count_commits(void)
{
	return atomic_load(writer_get_seq(fx.db->writer));
}

/* --- From the first statement to the end ----------------------------------- */

START_TEST(lease_begins_with_the_first_statement_and_ends_with_commit)
{
	struct tx *tx;

	fixture_open(&fx, NULL, schema);
	tx = take_lease();
	ck_assert_str_eq(run_in(tx, "SELECT v FROM t WHERE id = 10"),
	    "DONE columns=['v'] rows=[['ten']] tx_state=3");
	/* nobody else sees it yet */
	ck_assert_str_eq(fixture_query(&fx, ALL), BEFORE);
	ck_assert_uint_eq(count_commits(), 0);
	ck_assert_str_eq(run_end(tx, true), "OK");
	ck_assert(!atomic_load(&tx->leased));
	ck_assert_uint_eq(count_commits(), 1);
	ck_assert_str_eq(fixture_query(&fx, ALL), BEFORE "10|ten\n");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

START_TEST(lease_leaves_nothing_behind_after_rollback)
{
	struct tx *tx;

	fixture_open(&fx, NULL, schema);
	tx = take_lease();
	ck_assert_str_eq(run_in(tx, "CREATE TABLE made(x)"), "DONE tx_state=3");
	ck_assert_str_eq(run_in(tx, "ROLLBACK"), "DONE");
	ck_assert_str_eq(fixture_query(&fx, ALL), BEFORE);
	ck_assert_uint_eq(count_commits(), 0);
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

START_TEST(lease_ends_with_commit_in_sql_too)
{
	struct request *r;
	struct tx *tx;

	fixture_open(&fx, NULL, schema);
	tx = take_lease();
	r = ask_in(tx, "COMMIT");
	fixture_wait(&fx, r);
	ck_assert_uint_eq(r->seq, 1);
	ck_assert_str_eq(fixture_take(&fx, r), "DONE");
	ck_assert_str_eq(fixture_query(&fx, ALL), BEFORE "10|ten\n");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

/* Arrival is what counts: the second transaction came before the lone write. */
START_TEST(lease_is_given_in_order_of_arrival)
{
	struct request *second, *lone;
	struct tx *a, *b;

	fixture_open(&fx, NULL, schema);
	a = take_lease();
	b = fixture_begin(&fx, TX_MODE_IMMEDIATE);
	second = ask_in(b, "INSERT INTO t VALUES(20, 'twenty')");
	lone = fixture_write(&fx, ask("INSERT INTO t VALUES(30, 'thirty')"));
	fixture_settle(&fx);
	ck_assert(!second->home_again && !lone->home_again);
	ck_assert_uint_eq(writer_get_queue_n(fx.db->writer), 2);
	ck_assert_str_eq(run_end(a, true), "OK");
	ck_assert_str_eq(
	    fixture_take(&fx, second), "DONE changes=1 rowid=20 tx_state=3");
	fixture_settle(&fx);
	ck_assert(!lone->home_again);
	ck_assert_str_eq(run_end(b, true), "OK");
	ck_assert_str_eq(fixture_take(&fx, lone), "DONE changes=1 rowid=30");
	tx_unref(a);
	tx_unref(b);
	fixture_close(&fx);
}
END_TEST

START_TEST(lease_of_a_savepoint_ends_with_its_release)
{
	struct tx *tx;

	fixture_open(&fx, NULL, schema);
	tx = fixture_begin(&fx, TX_MODE_DEFERRED);
	tx->implicit = true;
	ck_assert_str_eq(run_in(tx, "SAVEPOINT a"), "DONE tx_state=3");
	ck_assert_str_eq(run_in(tx, "SAVEPOINT b"), "DONE tx_state=3");
	ck_assert_str_eq(run_in(tx, "INSERT INTO t VALUES(3, 'three')"),
	    "DONE changes=1 rowid=3 tx_state=3");
	ck_assert_str_eq(run_in(tx, "RELEASE B"), "DONE tx_state=3");
	ck_assert_str_eq(run_in(tx, "RELEASE a"), "DONE");
	ck_assert(!atomic_load(&tx->leased));
	ck_assert_str_eq(fixture_query(&fx, ALL), BEFORE "3|three\n");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

START_TEST(lease_of_a_savepoint_is_not_released_with_a_broken_foreign_key)
{
	struct tx *tx;

	fixture_open(&fx, "foreign_keys=on", schema);
	tx = fixture_begin(&fx, TX_MODE_DEFERRED);
	tx->implicit = true;
	run_in(tx, "SAVEPOINT a");
	run_in(tx, "INSERT INTO late VALUES(99)");
	ck_assert_str_eq(run_in(tx, "RELEASE a"),
	    "ERROR tx_state=3 name=SQLITE_CONSTRAINT_FOREIGNKEY "
	    "message='FOREIGN KEY constraint failed'");
	run_in(tx, "ROLLBACK TO a");
	ck_assert_str_eq(run_in(tx, "RELEASE a"), "DONE");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

/* --- Errors ---------------------------------------------------------------- */

START_TEST(lease_survives_an_error_that_undoes_only_its_statement)
{
	struct tx *tx;

	fixture_open(&fx, NULL, schema);
	tx = take_lease();
	ck_assert_str_eq(run_in(tx, "INSERT INTO t(v) VALUES('new'), ('one')"),
	    "ERROR tx_state=3 name=SQLITE_CONSTRAINT_UNIQUE "
	    "message='UNIQUE constraint failed: t.v'");
	ck_assert_str_eq(run_in(tx, "INSERT INTO nowhere VALUES(1)"),
	    "ERROR tx_state=3 name=SQLITE_ERROR "
	    "message='no such table: nowhere'");
	ck_assert_str_eq(
	    run_in(tx, "INSERT OR FAIL INTO t(v) VALUES('kept'), ('one')"),
	    "ERROR tx_state=3 name=SQLITE_CONSTRAINT_UNIQUE "
	    "message='UNIQUE constraint failed: t.v' outcome=1");
	ck_assert_str_eq(run_in(tx, "VACUUM"),
	    "ERROR tx_state=3 name=SQLITE_ERROR "
	    "message='cannot VACUUM from within a transaction'");
	ck_assert_str_eq(run_end(tx, true), "OK");
	ck_assert_str_eq(fixture_query(&fx, ALL), BEFORE "10|ten\n11|kept\n");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

/* What is pipelined behind must not run outside of the transaction. */
START_TEST(lease_that_an_error_has_ended_is_closed_to_what_follows)
{
	struct request *late;
	struct tx *tx;

	fixture_open(&fx, NULL, schema);
	tx = take_lease();
	ck_assert_str_eq(
	    run_in(tx, "INSERT OR ROLLBACK INTO t(v) VALUES('one')"),
	    "ERROR tx_state=4 name=SQLITE_CONSTRAINT_UNIQUE "
	    "message='UNIQUE constraint failed: t.v'");
	ck_assert(!atomic_load(&tx->leased));
	ck_assert_int_eq(tx->expired, ERR_TX_EXPIRED);
	assert_begins(tx->expired_text,
	    "the transaction was rolled back when a statement of it failed "
	    "(SQLITE_CONSTRAINT_UNIQUE)");
	late = ask_in(tx, "INSERT INTO t VALUES(11, 'eleven')");
	fixture_wait(&fx, late);
	ck_assert_int_eq(late->reroute, REROUTE_AGAIN);
	ck_assert_int_eq(late->tx_state, TX_STATE_EXPIRED);
	request_free(late);
	ck_assert_str_eq(fixture_query(&fx, ALL), BEFORE);
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

START_TEST(lease_keeps_a_transaction_whose_commit_finds_a_broken_foreign_key)
{
	struct tx *tx;

	fixture_open(&fx, "foreign_keys=on", schema);
	tx = fixture_begin(&fx, TX_MODE_IMMEDIATE);
	run_in(tx, "INSERT INTO late VALUES(3)");
	ck_assert_str_eq(run_end(tx, true),
	    "ERROR tx_state=3 name=SQLITE_CONSTRAINT_FOREIGNKEY "
	    "message='FOREIGN KEY constraint failed'");
	run_in(tx, "INSERT INTO t VALUES(3, 'three')");
	ck_assert_str_eq(run_end(tx, true), "OK");
	ck_assert_str_eq(fixture_query(&fx, "SELECT p FROM late"), "3\n");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

START_TEST(lease_does_not_know_what_became_of_a_commit_whose_io_failed)
{
	const char *text;
	struct tx *tx;

	fixture_open(&fx, "synchronous=full", schema);
	faults_watch_files(&fx);
	tx = take_lease();
	faults_arm(FAULT_WAL_SYNC, 0, 0, SQLITE_IOERR_FSYNC);
	text = run_end(tx, true);
	ck_assert(faults_disarm());
	assert_begins(text, "ERROR name=SQLITE_IOERR_FSYNC");
	ck_assert_ptr_nonnull(strstr(text, "outcome=2"));
	/* and the writer is free */
	ck_assert_str_eq(
	    fixture_take(&fx,
		fixture_write(&fx, ask("INSERT INTO t VALUES(3, 'three')"))),
	    "DONE changes=1 rowid=3");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

/* clang-format off */
static const struct fixture_step good_batch[] = {
	{ .sql = "INSERT INTO t VALUES(11, 'eleven')" },
	{ .sql = "SELECT count(*) FROM t" }, { 0 },
};
static const struct fixture_step bad_batch[] = {
	{ .sql = "INSERT INTO t VALUES(12, 'twelve')" },
	{ .sql = "INSERT INTO t(v) VALUES('one')" }, { 0 },
};
static const struct fixture_step long_batch[] = {
	{ .sql = "INSERT INTO t VALUES(13, 'before')" },
	{ .sql = ENDLESS_INSERT },
	{ .sql = "INSERT INTO t VALUES(14, 'after')" }, { 0 },
};
static const struct fixture_step long_caught_batch[] = {
	{ .sql = ENDLESS_INSERT },
	{ .sql = "INSERT INTO t VALUES(14, 'after')", .cond = "[1, 0]" }, { 0 },
};
/* clang-format on */

START_TEST(lease_undoes_a_batch_that_fails_and_goes_on)
{
	struct tx *tx;

	fixture_open(&fx, NULL, schema);
	tx = take_lease();
	ck_assert_str_eq(run_batch_in(tx, good_batch),
	    "DONE changes=1 rowid=11 tx_state=3 steps=[changes=1 rowid=11; "
	    "columns=['count(*)'] rows=[[4]]]");
	ck_assert_str_eq(run_batch_in(tx, bad_batch),
	    "ERROR tx_state=3 name=SQLITE_CONSTRAINT_UNIQUE "
	    "message='UNIQUE constraint failed: t.v' step=1");
	ck_assert_str_eq(run_end(tx, true), "OK");
	ck_assert_str_eq(fixture_query(&fx, ALL), BEFORE "10|ten\n11|eleven\n");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

START_TEST(lease_counts_nothing_for_a_step_that_is_refused)
{
	static const struct fixture_step steps[] = {
		{ .sql = "DELETE FROM t" },
		{ 0 },
	};
	struct request *r;
	struct tx *tx;

	fixture_open(&fx, NULL, schema);
	tx = take_lease();
	r = fixture_in(tx, fixture_batch(&fx, steps));
	r->read_only = true;
	ck_assert_str_eq(fixture_take(&fx, fixture_write(&fx, r)),
	    "ERROR tx_state=3 name=SQLITE_READONLY message='the request is "
	    "read_only, and the statement writes' step=0");
	ck_assert_str_eq(run_in(tx, "SELECT changes(), total_changes()"),
	    "DONE columns=['changes()','total_changes()'] rows=[[1,1]] "
	    "tx_state=3");
	ck_assert_str_eq(run_end(tx, false), "OK");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

/* --- Stopping -------------------------------------------------------------- */

START_TEST(lease_is_told_who_holds_the_writer)
{
	const char *text;
	struct request *r;
	struct tx *a, *b;

	fixture_open(&fx, NULL, schema);
	a = take_lease();
	b = fixture_begin(&fx, TX_MODE_IMMEDIATE);
	r = ask_in(b, "INSERT INTO t VALUES(20, 'twenty')");
	fixture_cancel(&fx, r, ERR_DEADLINE);
	text = fixture_take(&fx, r);
	assert_begins(
	    text, "ERROR tx_state=1 name=DEADLINE message='request timed out");
	ck_assert_ptr_nonnull(strstr(text,
	    "while it waited for the writer, which a transaction of pid 4711 "
	    "(the test) has held for 0.0 s; its last statement: INSERT INTO t "
	    "VALUES(10, 'ten')'"));
	ck_assert_uint_eq(writer_get_queue_n(fx.db->writer), 0);
	run_end(a, true);
	tx_unref(a);
	tx_unref(b);
	fixture_close(&fx);
}
END_TEST

START_TEST(lease_loses_its_transaction_when_a_write_of_it_is_stopped)
{
	struct request *r;
	struct barrier b;
	struct tx *tx;

	fixture_open(&fx, NULL, schema);
	barrier_add(&fx, &b);
	tx = take_lease();
	r = ask_in(tx, ENDLESS_INSERT " WHERE (SELECT barrier(1))");
	barrier_await(&b);
	request_stop(r, ERR_CANCELLED);
	barrier_open(&b);
	ck_assert_str_eq(fixture_take(&fx, r),
	    "ERROR tx_state=4 name=CANCELLED "
	    "message='request cancelled while it ran'");
	ck_assert_int_ne(tx->expired, 0);
	ck_assert_str_eq(fixture_query(&fx, ALL), BEFORE);
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

START_TEST(lease_survives_a_read_of_it_that_is_stopped)
{
	struct request *r;
	struct tx *tx;

	fixture_open(&fx, "result_memory=4KB", schema);
	tx = take_lease();
	r = fixture_in(tx, ask(LARGE));
	atomic_store(&r->sent, 0);
	fixture_write(&fx, r);
	fixture_wait_bytes(&fx, r, ANSWER_CHUNK_BYTES);
	fixture_cancel(&fx, r, ERR_CANCELLED);
	ck_assert_ptr_nonnull(
	    strstr(fixture_take(&fx, r), "\nERROR tx_state=3 name=CANCELLED"));
	ck_assert_str_eq(run_end(tx, true), "OK");
	ck_assert_str_eq(fixture_query(&fx, ALL), BEFORE "10|ten\n");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

/* SQLite would keep it: the statement itself did not fail. */
START_TEST(lease_undoes_a_write_whose_result_is_not_fetched)
{
	struct request *r;
	struct tx *tx;

	fixture_open(&fx, "result_memory=4KB", schema);
	tx = take_lease();
	r = fixture_in(tx, ask("INSERT INTO t(v) " LARGE " RETURNING id"));
	atomic_store(&r->sent, 0);
	fixture_write(&fx, r);
	fixture_wait_bytes(&fx, r, ANSWER_CHUNK_BYTES);
	fixture_cancel(&fx, r, ERR_STALLED);
	ck_assert_ptr_nonnull(
	    strstr(fixture_take(&fx, r), "\nERROR tx_state=3 name=STALLED"));
	ck_assert_str_eq(run_end(tx, true), "OK");
	ck_assert_str_eq(fixture_query(&fx, ALL), BEFORE "10|ten\n");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

START_TEST(lease_is_not_given_to_what_was_stopped)
{
	struct request *r;
	struct tx *tx;

	fixture_open(&fx, NULL, schema);
	tx = fixture_begin(&fx, TX_MODE_IMMEDIATE);
	r = fixture_in(tx, ask("INSERT INTO t VALUES(3, 'three')"));
	request_stop(r, ERR_CANCELLED);
	ck_assert_str_eq(fixture_take(&fx, fixture_write(&fx, r)),
	    "ERROR tx_state=1 name=CANCELLED message='request cancelled while "
	    "it waited for the writer'");
	ck_assert(!atomic_load(&tx->leased));
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

START_TEST(lease_survives_a_request_that_is_stopped_before_it_began)
{
	struct request *r;
	struct tx *tx;

	fixture_open(&fx, NULL, schema);
	tx = take_lease();
	fixture_hold(&fx);
	r = ask_in(tx, "INSERT INTO t VALUES(11, 'eleven')");
	request_stop(r, ERR_CANCELLED);
	fixture_release(&fx);
	ck_assert_str_eq(fixture_take(&fx, r),
	    "ERROR tx_state=3 name=CANCELLED "
	    "message='request cancelled before it began'");
	ck_assert_str_eq(run_end(tx, true), "OK");
	ck_assert_str_eq(fixture_query(&fx, ALL), BEFORE "10|ten\n");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

/* Both were handed over before the first one ended the transaction. */
START_TEST(lease_sends_home_what_its_end_has_overtaken)
{
	struct request *r, *late;
	struct tx *tx;

	fixture_open(&fx, NULL, schema);
	tx = take_lease();
	fixture_hold(&fx);
	r = ask_in(tx, "INSERT OR ROLLBACK INTO t(v) VALUES('one')");
	late = ask_in(tx, "INSERT INTO t VALUES(11, 'eleven')");
	fixture_release(&fx);
	assert_begins(fixture_take(&fx, r),
	    "ERROR tx_state=4 name=SQLITE_CONSTRAINT_UNIQUE");
	fixture_wait(&fx, late);
	ck_assert_int_eq(late->reroute, REROUTE_AGAIN);
	ck_assert_int_eq(late->tx_state, TX_STATE_EXPIRED);
	ck_assert_int_eq(late->state, REQUEST_NEW);
	request_free(late);
	ck_assert_str_eq(fixture_query(&fx, ALL), BEFORE);
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

/* --- Limits ---------------------------------------------------------------- */

START_TEST(lease_may_be_idle_while_nobody_waits)
{
	struct tx *tx;

	fixture_open(&fx, "tx_idle_timeout=10ms", schema);
	tx = take_lease();
	fixture_settle(&fx);
	tx->last_us -= 1000000;
	writer_tick(fx.db->writer);
	fixture_settle(&fx);
	ck_assert_int_eq(tx->expired, 0);
	ck_assert_str_eq(run_end(tx, true), "OK");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

START_TEST(lease_ends_when_it_is_idle_and_others_wait)
{
	struct request *r;
	struct tx *tx;

	fixture_open(&fx, "tx_idle_timeout=10ms", schema);
	tx = take_lease();
	r = fixture_write(&fx, ask("INSERT INTO t VALUES(10, 'other')"));
	tick_until_expired(tx);
	ck_assert_str_eq(fixture_take(&fx, r), "DONE changes=1 rowid=10");
	assert_begins(tx->expired_text,
	    "the transaction was rolled back: it was idle while others waited "
	    "for 0.");
	ck_assert_str_eq(fixture_query(&fx, ALL), BEFORE "10|other\n");
	ck_assert_uint_eq(stats_get(STAT_transactions_expired), 1);
	r = ask_in(tx, "INSERT INTO t VALUES(11, 'late')");
	fixture_wait(&fx, r);
	ck_assert_int_eq(r->reroute, REROUTE_AGAIN);
	request_free(r);
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

START_TEST(lease_ends_when_it_is_too_old)
{
	struct tx *tx;

	fixture_open(&fx, "tx_max_age=10ms", schema);
	tx = fixture_begin(&fx, TX_MODE_IMMEDIATE);
	run_in(tx, "INSERT INTO t VALUES(10, 'ten')");
	tick_until_expired(tx);
	assert_begins(tx->expired_text,
	    "the transaction was rolled back: it was open for 0.");
	ck_assert_str_eq(fixture_query(&fx, ALL), BEFORE);
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

START_TEST(lease_ends_when_a_statement_of_it_runs_into_its_age)
{
	struct tx *tx;

	fixture_open(&fx, "tx_max_age=50ms", schema);
	tx = fixture_begin(&fx, TX_MODE_IMMEDIATE);
	assert_begins(run_in(tx, ENDLESS_INSERT),
	    "ERROR tx_state=4 name=TX_EXPIRED message='the transaction was "
	    "rolled back: it was open for 0.");
	ck_assert_str_eq(fixture_query(&fx, ALL), BEFORE);
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

static const struct fixture_step *const long_batches[] = { long_batch,
	long_caught_batch };

START_TEST(lease_runs_no_step_of_a_batch_behind_its_age)
{
	struct tx *tx;

	fixture_open(&fx, "tx_max_age=50ms", schema);
	tx = fixture_begin(&fx, TX_MODE_IMMEDIATE);
	assert_begins(run_batch_in(tx, long_batches[_i]),
	    "ERROR tx_state=4 name=TX_EXPIRED");
	ck_assert_str_eq(fixture_query(&fx, ALL), BEFORE);
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

static const char *const limits[] = {
	"result_memory=4KB tx_max_age=10min",
	"result_memory=4KB tx_idle_timeout=5min tx_max_age=1h",
};

START_TEST(lease_ends_when_its_client_does_not_fetch_a_result)
{
	struct request *r, *other;
	struct tx *tx;

	fixture_open(&fx, limits[_i], schema);
	tx = take_lease();
	r = fixture_in(tx, ask(LARGE));
	atomic_store(&r->sent, 0);
	fixture_write(&fx, r);
	other = fixture_write(&fx, ask("INSERT INTO t VALUES(20, 'other')"));
	fixture_wait_bytes(&fx, r, ANSWER_CHUNK_BYTES);
	fixture_settle(&fx);
	ck_assert(!r->home_again);
	/* the one limit is over all at once */
	*(_i == 0 ? &tx->held_us : &tx->last_us) -= INT64_C(600000001);
	tick_until_expired(tx);
	ck_assert_ptr_nonnull(
	    strstr(fixture_take(&fx, r), "\nERROR tx_state=4 name=TX_EXPIRED"));
	ck_assert_str_eq(fixture_take(&fx, other), "DONE changes=1 rowid=20");
	ck_assert_str_eq(fixture_query(&fx, ALL), BEFORE "20|other\n");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

START_TEST(lease_goes_on_for_a_client_that_fetches_slowly)
{
	struct request *r;
	struct tx *tx;
	size_t bytes;

	fixture_open(&fx, "result_memory=4KB", schema);
	tx = take_lease();
	r = fixture_in(tx, ask(LARGE));
	atomic_store(&r->sent, 0);
	fixture_write(&fx, r);
	bytes = fixture_wait_bytes(&fx, r, ANSWER_CHUNK_BYTES);
	fixture_settle(&fx);
	for (int i = 0; i < 3; i++) {
		int64_t before = tx->last_us;

		fixture_fetch(r, ANSWER_CHUNK_BYTES);
		bytes = fixture_wait_bytes(
		    &fx, r, bytes + ANSWER_CHUNK_BYTES / 2);
		fixture_settle(&fx);
		ck_assert(!r->home_again);
		ck_assert_int_gt(tx->last_us, before);
	}
	fixture_fetch(r, 1 << 30);
	ck_assert_ptr_nonnull(strstr(fixture_take(&fx, r), "\nDONE rows="));
	ck_assert_str_eq(run_end(tx, true), "OK");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

/* --- From reading to writing ------------------------------------------------ */

static const char *
read_in(struct tx *tx, const char *sql)
{
	return fixture_take(&fx, fixture_read(&fx, fixture_in(tx, ask(sql))));
}

/* What a worker does with a write in a read transaction. */
static const char *
upgrade(struct tx *tx, const char *sql)
{
	struct request *r = fixture_read(&fx, fixture_in(tx, ask(sql)));

	fixture_wait(&fx, r);
	ck_assert_int_eq(r->reroute, REROUTE_WRITER);
	return fixture_take(&fx, fixture_write(&fx, fixture_reroute(r)));
}

START_TEST(lease_takes_over_what_a_reader_began)
{
	struct tx *tx;

	fixture_open(&fx, NULL, schema);
	tx = fixture_begin(&fx, TX_MODE_DEFERRED);
	read_in(tx, ALL);
	ck_assert_str_eq(upgrade(tx, "INSERT INTO t VALUES(3, 'three')"),
	    "DONE changes=1 rowid=3 tx_state=3");
	ck_assert_str_eq(run_end(tx, true), "OK");
	ck_assert_str_eq(fixture_query(&fx, ALL), BEFORE "3|three\n");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

/* A reader sees that it is not for it when it has prepared it, on a connection on
 * which nothing was ever inserted. */
START_TEST(lease_takes_over_the_rowid_that_its_client_inserted_last)
{
	static const char sql[] = "SELECT last_insert_rowid(), changes()";
	struct tx *tx;

	fixture_open(&fx, NULL, schema);
	fixture_take(
	    &fx, fixture_write(&fx, ask("INSERT INTO t(id) VALUES(7)")));
	tx = fixture_begin(&fx, TX_MODE_READ);
	read_in(tx, ALL);
	assert_begins(read_in(tx, "INSERT INTO t(id) VALUES(8)"),
	    "ERROR tx_state=2 name=TX_READ_ONLY");
	ck_assert_str_eq(read_in(tx, sql),
	    "DONE columns=['last_insert_rowid()','changes()'] "
	    "rows=[[7,1]] tx_state=2");
	read_in(tx, "ROLLBACK");
	tx_unref(tx);
	tx = fixture_begin(&fx, TX_MODE_DEFERRED);
	read_in(tx, ALL);
	ck_assert_str_eq(upgrade(tx, "DELETE FROM t WHERE id = 0"),
	    "DONE rowid=7 tx_state=3");
	ck_assert_str_eq(run_end(tx, true), "OK");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

START_TEST(lease_opens_the_savepoints_again_that_a_reader_held)
{
	struct tx *tx;

	fixture_open(&fx, NULL, schema);
	tx = fixture_begin(&fx, TX_MODE_DEFERRED);
	read_in(tx, "SAVEPOINT a");
	read_in(tx, ALL);
	read_in(tx, "SAVEPOINT \"b \"\"quoted\"\"\"");
	ck_assert_str_eq(upgrade(tx, "INSERT INTO t VALUES(3, 'three')"),
	    "DONE changes=1 rowid=3 tx_state=3");
	ck_assert_str_eq(
	    run_in(tx, "ROLLBACK TO \"b \"\"quoted\"\"\""), "DONE tx_state=3");
	run_in(tx, "INSERT INTO t VALUES(4, 'four')");
	ck_assert_str_eq(run_in(tx, "RELEASE a"), "DONE tx_state=3");
	ck_assert_str_eq(run_end(tx, true), "OK");
	ck_assert_str_eq(fixture_query(&fx, ALL), BEFORE "4|four\n");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

/* To fail it needs no lease, which is not to be had here. */
START_TEST(lease_is_not_asked_for_by_a_batch_that_cannot_be_prepared)
{
	static const struct fixture_step steps[] = {
		{ .sql = ALL },
		{ .sql = "UPDATE nowhere SET v = 1" },
		{ 0 },
	};
	struct tx *tx;

	fixture_open(&fx, NULL, schema);
	tx = fixture_begin(&fx, TX_MODE_DEFERRED);
	read_in(tx, ALL);
	fixture_take(
	    &fx, fixture_write(&fx, ask("INSERT INTO t VALUES(3, 'three')")));
	assert_begins(
	    fixture_take(&fx,
		fixture_read(&fx, fixture_in(tx, fixture_batch(&fx, steps)))),
	    "ERROR tx_state=2 name=SQLITE_ERROR message='no such table: "
	    "nowhere' step=1");
	ck_assert_str_eq(read_in(tx, ALL),
	    "DONE columns=['id','v'] "
	    "rows=[[1,'one'],[2,'two']] tx_state=2");
	read_in(tx, "ROLLBACK");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

START_TEST(lease_is_refused_to_an_old_snapshot)
{
	struct tx *tx;

	fixture_open(&fx, NULL, schema);
	tx = fixture_begin(&fx, TX_MODE_DEFERRED);
	read_in(tx, ALL);
	fixture_take(
	    &fx, fixture_write(&fx, ask("INSERT INTO t VALUES(3, 'three')")));
	assert_begins(upgrade(tx, "INSERT INTO t VALUES(4, 'four')"),
	    "ERROR tx_state=2 name=SQLITE_BUSY_SNAPSHOT message='the database "
	    "was changed after this transaction read from it, so it cannot "
	    "write any more: send ROLLBACK");
	ck_assert(!atomic_load(&tx->leased));
	ck_assert_str_eq(
	    fixture_take(&fx,
		fixture_read(&fx, fixture_in(tx, fixture_end(&fx, false)))),
	    "OK");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

/* clang-format off */
static const char *const no_changes[] = {
	"UPDATE t SET v = 'x' WHERE id = 999",
	"INSERT INTO t(v) VALUES('one')",
	"INSERT INTO t VALUES(?)",
	"INSERT OR ROLLBACK INTO t(v) VALUES('one')",
	"INSERT OR IGNORE INTO t(v) VALUES('one')",
	"DROP TABLE IF EXISTS nowhere",
};
/* clang-format on */

START_TEST(lease_is_given_when_others_changed_nothing)
{
	struct tx *tx;

	fixture_open(&fx, NULL, schema);
	tx = fixture_begin(&fx, TX_MODE_DEFERRED);
	read_in(tx, ALL);
	fixture_take(&fx, fixture_write(&fx, ask(no_changes[_i])));
	ck_assert_str_eq(upgrade(tx, "INSERT INTO t VALUES(4, 'four')"),
	    "DONE changes=1 rowid=4 tx_state=3");
	ck_assert_str_eq(run_end(tx, true), "OK");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

START_TEST(lease_is_given_when_the_transaction_has_only_opened_savepoints)
{
	struct tx *tx;

	fixture_open(&fx, NULL, schema);
	tx = fixture_begin(&fx, TX_MODE_DEFERRED);
	ck_assert_str_eq(read_in(tx, "SAVEPOINT a"), "DONE tx_state=1");
	fixture_take(
	    &fx, fixture_write(&fx, ask("INSERT INTO t VALUES(3, 'three')")));
	ck_assert_str_eq(upgrade(tx, "INSERT INTO t VALUES(4, 'four')"),
	    "DONE changes=1 rowid=4 tx_state=3");
	ck_assert_str_eq(run_in(tx, "SELECT count(*) FROM t"),
	    "DONE columns=['count(*)'] rows=[[4]] tx_state=3");
	ck_assert_str_eq(run_in(tx, "ROLLBACK TO a"), "DONE tx_state=3");
	ck_assert_str_eq(run_end(tx, true), "OK");
	ck_assert_str_eq(fixture_query(&fx, ALL), BEFORE "3|three\n");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

/* --- The disk and the memory ------------------------------------------------
 *
 * Whichever call fails: a COMMIT that was acknowledged is in the file, a
 * transaction that is known to have failed is not, and the writer goes on. */

/* Run what is still to run of a transaction; gives the reply. */
static const char *
go_on(struct tx *tx, struct request *r)
{
	fixture_in(tx, r);
	if (atomic_load(&tx->leased))
		fixture_write(&fx, r);
	else
		fixture_read(&fx, r);
	fixture_wait(&fx, r);
	if (r->reroute == REROUTE_WRITER)
		fixture_write(&fx, fixture_reroute(r));
	fixture_wait(&fx, r);
	if (r->reroute == REROUTE_NOT)
		return fixture_take(&fx, r);
	request_free(r);
	return "REROUTED";
}

/* Round n, whose text is new to the caches: savepoint, read, write, COMMIT.
 * True: the COMMIT of the row was acknowledged. */
static bool
run_round(struct tx *tx, int n, bool *ret_unknown)
{
	const char *write, *end;

	go_on(tx, ask(fixture_format(&fx, "SAVEPOINT a%d", n)));
	if (!tx->expired)
		go_on(tx,
		    ask(fixture_format(&fx, "SELECT count(*), %d FROM t", n)));
	if (tx->expired)
		return false;
	write = go_on(
	    tx, ask(fixture_format(&fx, "INSERT INTO t(v) VALUES('%d')", n)));
	if (tx->expired)
		return false;
	end = go_on(tx, fixture_end(&fx, true));
	*ret_unknown = strstr(end, "outcome=2") != NULL;
	return begins_with(write, "DONE") && strcmp(end, "OK") == 0;
}

static bool
is_there(int n)
{
	return strcmp(fixture_query(&fx,
			  fixture_format(
			      &fx, "SELECT count(*) FROM t WHERE v = '%d'", n)),
		   "1\n") == 0;
}

/* Whoever holds it lets go. */
static void
abandon(struct tx *tx)
{
	fixture_settle(&fx);
	if (atomic_load(&tx->leased) || tx->reader)
		go_on(tx, fixture_end(&fx, false));
	tx_unref(tx);
}

static void
fail_each(enum fault_call call, int again, int code)
{
	bool hit = true;

	fixture_open(&fx, "synchronous=full", schema);
	faults_watch_files(&fx);
	for (int n = 0; hit; n++) {
		struct tx *tx = fixture_begin(&fx, TX_MODE_DEFERRED);
		bool unknown = false, committed;

		faults_arm(call, n, again, code);
		committed = run_round(tx, n, &unknown);
		hit = faults_disarm();
		if (!unknown && committed != is_there(n))
			ck_abort_msg("round %d: acknowledged %d, not so in the "
				     "file",
			    n, committed);
		abandon(tx);
		assert_begins(
		    fixture_take(&fx,
			fixture_write(&fx, ask("DELETE FROM t WHERE id > 2"))),
		    "DONE");
	}
	ck_assert_str_eq(
	    fixture_query(&fx, ALL "; PRAGMA integrity_check"), BEFORE "ok\n");
	fixture_close(&fx);
}

START_TEST(lease_tells_the_truth_whichever_allocation_fails)
{
	faults_watch_malloc();
	fail_each(FAULT_MALLOC, _i, SQLITE_NOMEM);
}
END_TEST

START_TEST(lease_tells_the_truth_whichever_write_fails)
{
	fail_each(FAULT_WAL_WRITE, _i, SQLITE_IOERR_WRITE);
}
END_TEST

START_TEST(lease_tells_the_truth_whichever_sync_fails)
{
	fail_each(FAULT_WAL_SYNC, _i, SQLITE_IOERR_FSYNC);
}
END_TEST

static void
add_life(Suite *s)
{
	TCase *tc = tcase_create("from begin to end");

	tcase_add_test(
	    tc, lease_begins_with_the_first_statement_and_ends_with_commit);
	tcase_add_test(tc, lease_leaves_nothing_behind_after_rollback);
	tcase_add_test(tc, lease_ends_with_commit_in_sql_too);
	tcase_add_test(tc, lease_is_given_in_order_of_arrival);
	tcase_add_test(tc, lease_of_a_savepoint_ends_with_its_release);
	tcase_add_test(
	    tc, lease_of_a_savepoint_is_not_released_with_a_broken_foreign_key);
	suite_add_tcase(s, tc);
}

static void
add_errors(Suite *s)
{
	TCase *tc = tcase_create("errors and stops");

	tcase_add_test(
	    tc, lease_survives_an_error_that_undoes_only_its_statement);
	tcase_add_test(
	    tc, lease_that_an_error_has_ended_is_closed_to_what_follows);
	tcase_add_test(tc,
	    lease_keeps_a_transaction_whose_commit_finds_a_broken_foreign_key);
	tcase_add_test(
	    tc, lease_does_not_know_what_became_of_a_commit_whose_io_failed);
	tcase_add_test(tc, lease_undoes_a_batch_that_fails_and_goes_on);
	tcase_add_test(tc, lease_counts_nothing_for_a_step_that_is_refused);
	tcase_add_test(tc, lease_is_told_who_holds_the_writer);
	tcase_add_test(
	    tc, lease_loses_its_transaction_when_a_write_of_it_is_stopped);
	tcase_add_test(tc, lease_survives_a_read_of_it_that_is_stopped);
	tcase_add_test(tc, lease_undoes_a_write_whose_result_is_not_fetched);
	tcase_add_test(tc, lease_is_not_given_to_what_was_stopped);
	tcase_add_test(
	    tc, lease_survives_a_request_that_is_stopped_before_it_began);
	tcase_add_test(tc, lease_sends_home_what_its_end_has_overtaken);
	suite_add_tcase(s, tc);
}

static void
add_limits(Suite *s)
{
	TCase *tc = tcase_create("limits");

	tcase_add_test(tc, lease_may_be_idle_while_nobody_waits);
	tcase_add_test(tc, lease_ends_when_it_is_idle_and_others_wait);
	tcase_add_test(tc, lease_ends_when_it_is_too_old);
	tcase_add_test(tc, lease_ends_when_a_statement_of_it_runs_into_its_age);
	tcase_add_loop_test(
	    tc, lease_runs_no_step_of_a_batch_behind_its_age, 0, 2);
	tcase_add_loop_test(
	    tc, lease_ends_when_its_client_does_not_fetch_a_result, 0, 2);
	tcase_add_test(tc, lease_goes_on_for_a_client_that_fetches_slowly);
	suite_add_tcase(s, tc);
}

static void
add_upgrades(Suite *s)
{
	TCase *tc = tcase_create("from reading to writing");

	tcase_add_test(tc, lease_takes_over_what_a_reader_began);
	tcase_add_test(
	    tc, lease_takes_over_the_rowid_that_its_client_inserted_last);
	tcase_add_test(
	    tc, lease_is_not_asked_for_by_a_batch_that_cannot_be_prepared);
	tcase_add_test(tc, lease_opens_the_savepoints_again_that_a_reader_held);
	tcase_add_test(tc, lease_is_refused_to_an_old_snapshot);
	tcase_add_loop_test(tc, lease_is_given_when_others_changed_nothing, 0,
	    (int)(sizeof(no_changes) / sizeof(no_changes[0])));
	tcase_add_test(
	    tc, lease_is_given_when_the_transaction_has_only_opened_savepoints);
	suite_add_tcase(s, tc);
}

static void
add_faults(Suite *s)
{
	TCase *tc = tcase_create("disk and memory");

	tcase_add_loop_test(
	    tc, lease_tells_the_truth_whichever_allocation_fails, 0, 2);
	tcase_add_loop_test(
	    tc, lease_tells_the_truth_whichever_write_fails, 0, 2);
	tcase_add_loop_test(
	    tc, lease_tells_the_truth_whichever_sync_fails, 0, 2);
	suite_add_tcase(s, tc);
}

int
main(void)
{
	Suite *s = suite_create("lease");

	add_life(s);
	add_errors(s);
	add_limits(s);
	add_upgrades(s);
	add_faults(s);
	return fixture_run(s);
}
