/* check_reader.c - long reads, large results, read transactions. */
#include <check.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/answer.h"
#include "daemon/clock.h"
#include "daemon/keeper_impl.h"
#include "proto/error.h"
#include "tests/lib/faults.h"
#include "tests/lib/live.h"

static const char schema[] = "CREATE TABLE t(id INTEGER PRIMARY KEY, v);"
			     "INSERT INTO t VALUES(1, 'one'), (2, 'two');";

/* 1, 2, 3, ... for ever, of which the first n come out. */
#define COUNT_TO(n)                                                      \
	"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c" \
	" LIMIT " #n ") SELECT x FROM c"
#define ENDLESS                                                           \
	"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)" \
	" SELECT x FROM c WHERE x <= 40000"
/* More than a chunk of rows. */
#define LARGE COUNT_TO(100000)

/* The client takes nothing yet, and little is held in memory for it. */
#define TIGHT "result_memory=4KB "

static struct fixture fx;

static struct request *
ask(const char *sql)
{
	return fixture_exec(&fx, sql, NULL);
}

static struct request *
ask_read(const char *sql)
{
	return fixture_read(&fx, ask(sql));
}

static const char *
run_read(const char *sql)
{
	return fixture_take(&fx, ask_read(sql));
}

static const char *
run_write(const char *sql)
{
	return fixture_take(&fx, fixture_write(&fx, ask(sql)));
}

static const char *
run_in(struct tx *tx, const char *sql)
{
	return fixture_take(&fx, fixture_read(&fx, fixture_in(tx, ask(sql))));
}

static const char *
run_end(struct tx *tx, bool commit)
{
	return fixture_take(
	    &fx, fixture_read(&fx, fixture_in(tx, fixture_end(&fx, commit))));
}

/* Begin a read whose client takes nothing, and wait until it stands still. */
static struct request *
start_blocked(const char *sql, struct tx *tx)
{
	struct request *r = ask(sql);

	if (tx)
		fixture_in(tx, r);
	atomic_store(&r->sent, 0);
	fixture_read(&fx, r);
	fixture_wait_bytes(&fx, r, ANSWER_CHUNK_BYTES);
	fixture_settle(&fx);
	ck_assert(!r->home_again);
	return r;
}

/* Look at limits until one has ended the transaction. */
static void
tick_until_expired(struct tx *tx)
{
	while (!atomic_load(&tx->expired)) {
		readers_tick(fx.db->readers);
		fixture_settle(&fx);
	}
	fixture_settle(&fx);
}

static bool
begins_with(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/* The numbers of all rows must be 1, 2, ... n; gives the frames. */
static int
assert_counts_to(const char *text, long n)
{
	const char *at = text;
	int frames_n = 0;
	long next = 1;

	while ((at = strstr(at, "rows=["))) {
		frames_n++;
		for (at += 6; *at == '['; at += *at == ',') {
			char *end;

			if (strtol(at + 1, &end, 10) != next++)
				ck_abort_msg("%ld is not there", next - 1);
			at = end + 1;
		}
	}
	ck_assert_int_eq(next - 1, n);
	return frames_n;
}

/* --- Results --------------------------------------------------------------- */

START_TEST(reader_answers_a_small_read_in_one_frame)
{
	fixture_open(&fx, NULL, schema);
	ck_assert_str_eq(run_read("SELECT * FROM t"),
	    "DONE columns=['id','v'] rows=[[1,'one'],[2,'two']]");
	ck_assert_str_eq(run_read("SELECT * FROM t WHERE id > 5"),
	    "DONE columns=['id','v'] rows=[]");
	ck_assert_str_eq(run_read("-- nothing"), "DONE");
	ck_assert_str_eq(run_read("SELECT"),
	    "ERROR name=SQLITE_ERROR message='incomplete input'");
	fixture_close(&fx);
}
END_TEST

START_TEST(reader_sends_a_large_result_in_chunks)
{
	const char *text;
	int frames_n;

	fixture_open(&fx, NULL, schema);
	text = run_read(LARGE);
	frames_n = assert_counts_to(text, 100000);
	ck_assert_int_ge(frames_n, 4);
	ck_assert(begins_with(text, "ROWS columns=['x'] rows="));
	/* the columns come once */
	ck_assert_ptr_null(strstr(text + 6, "columns"));
	ck_assert_ptr_nonnull(strstr(text, "\nDONE rows="));
	fixture_close(&fx);
}
END_TEST

START_TEST(reader_stops_at_the_rows_that_were_asked_for)
{
	struct request *r;

	fixture_open(&fx, NULL, schema);
	r = ask(LARGE);
	r->max_rows = 3;
	ck_assert_str_eq(fixture_take(&fx, fixture_read(&fx, r)),
	    "DONE columns=['x'] rows=[[1],[2],[3]]");
	fixture_close(&fx);
}
END_TEST

START_TEST(reader_gives_a_row_that_is_larger_than_a_chunk)
{
	const char *text;

	fixture_open(&fx, NULL, schema);
	text = run_read("SELECT length(v), v FROM (SELECT zeroblob(200000) v)");
	ck_assert(
	    begins_with(text, "ROWS columns=['length(v)','v'] rows=[[200000,"));
	fixture_close(&fx);
}
END_TEST

START_TEST(reader_refuses_a_row_that_no_frame_can_hold)
{
	struct request *r;

	fixture_open(&fx, NULL, schema);
	r = ask("SELECT zeroblob(70000)");
	r->max_frame_bytes = 65536;
	ck_assert_str_eq(fixture_take(&fx, fixture_read(&fx, r)),
	    "ERROR name=ROW_TOO_LARGE message='a row does not fit in a frame "
	    "of 65536 bytes; select less of it (substr), or raise max_frame'");
	fixture_close(&fx);
}
END_TEST

START_TEST(reader_reports_an_error_behind_the_rows_it_has_sent)
{
	const char *text;

	fixture_open(&fx, NULL, schema);
	text = run_read("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT"
			"  x + 1 FROM c LIMIT 100000)"
			"SELECT abs(iif(x < 99999, x, -9223372036854775808))"
			"  FROM c");
	ck_assert(begins_with(text, "ROWS columns="));
	ck_assert_ptr_nonnull(strstr(
	    text, "\nERROR name=SQLITE_ERROR message='integer overflow'"));
	ck_assert_ptr_null(strstr(text, "DONE"));
	fixture_close(&fx);
}
END_TEST

/* Whichever allocation fails: rows up to there, and one end. */
START_TEST(reader_has_one_end_whichever_allocation_fails)
{
	bool hit = true;

	faults_watch_malloc();
	fixture_open(&fx, NULL, schema);
	for (int n = 0; hit; n++) {
		const char *text;
		bool done, failed;

		faults_arm(FAULT_MALLOC, n, _i, SQLITE_NOMEM);
		text = run_read(fixture_format(&fx,
		    "SELECT %d, id, v || hex(id), group_concat(v) OVER"
		    "  (ORDER BY v) FROM t ORDER BY v DESC",
		    n));
		hit = faults_disarm();
		done = strstr(text, "DONE") != NULL;
		failed = strstr(text, "ERROR name=SQLITE_NOMEM") != NULL ||
		    strstr(text, "ERROR name=NO_MEMORY") != NULL;
		if (done == failed)
			ck_abort_msg("allocation %d: %s", n, text);
	}
	fixture_close(&fx);
}
END_TEST

/* --- A client that does not take its result -------------------------------- */

START_TEST(reader_stands_still_until_its_client_has_taken_more)
{
	struct request *r;
	size_t bytes;

	fixture_open(&fx, TIGHT, schema);
	r = start_blocked(LARGE, NULL);
	bytes = fixture_wait_bytes(&fx, r, 1);
	ck_assert_uint_lt(bytes, 2 * ANSWER_CHUNK_BYTES);
	/* a little more is a little more */
	fixture_fetch(r, bytes);
	fixture_wait_bytes(&fx, r, bytes + ANSWER_CHUNK_BYTES);
	fixture_settle(&fx);
	ck_assert(!r->home_again);
	fixture_fetch(r, 1 << 30);
	ck_assert_int_ge(assert_counts_to(fixture_take(&fx, r), 100000), 4);
	fixture_close(&fx);
}
END_TEST

START_TEST(reader_that_stands_still_keeps_no_thread)
{
	struct request *r;

	fixture_open(&fx, TIGHT, schema);
	r = start_blocked(LARGE, NULL);
	ck_assert_str_eq(run_read("SELECT 1"), "DONE columns=['1'] rows=[[1]]");
	fixture_fetch(r, 1 << 30);
	assert_counts_to(fixture_take(&fx, r), 100000);
	fixture_close(&fx);
}
END_TEST

START_TEST(reader_finishes_what_fits_in_memory_and_lets_go_of_its_snapshot)
{
	struct request *r;

	fixture_open(&fx, "result_memory=16MB read_connections=1", schema);
	r = ask(LARGE);
	atomic_store(&r->sent, 0);
	fixture_read(&fx, r);
	/* its only connection is free although the client took nothing */
	ck_assert_str_eq(run_read("SELECT 1"), "DONE columns=['1'] rows=[[1]]");
	assert_counts_to(fixture_take(&fx, r), 100000);
	fixture_close(&fx);
}
END_TEST

/* --- Stopping -------------------------------------------------------------- */

START_TEST(reader_does_not_begin_what_was_stopped)
{
	struct request *r;

	fixture_open(&fx, NULL, schema);
	r = ask("SELECT 1");
	request_stop(r, ERR_CANCELLED);
	ck_assert_str_eq(fixture_take(&fx, fixture_read(&fx, r)),
	    "ERROR name=CANCELLED message='request cancelled before it began'");
	fixture_close(&fx);
}
END_TEST

START_TEST(reader_is_stopped_while_it_runs)
{
	const char *text;
	struct request *r;

	fixture_open(&fx, NULL, schema);
	r = ask_read(ENDLESS);
	fixture_wait_bytes(&fx, r, ANSWER_CHUNK_BYTES);
	fixture_cancel(&fx, r, ERR_CANCELLED);
	text = fixture_take(&fx, r);
	ck_assert(begins_with(text, "ROWS columns=['x']"));
	ck_assert_ptr_nonnull(strstr(text,
	    "\nERROR name=CANCELLED message='request cancelled while it ran'"));
	/* and its connection is as new */
	ck_assert_str_eq(run_read("SELECT 1"), "DONE columns=['1'] rows=[[1]]");
	fixture_close(&fx);
}
END_TEST

START_TEST(reader_is_stopped_while_it_stands_still)
{
	struct request *r;

	fixture_open(&fx, TIGHT "read_connections=1", schema);
	r = start_blocked(LARGE, NULL);
	fixture_cancel(&fx, r, ERR_STALLED);
	ck_assert_ptr_nonnull(strstr(fixture_take(&fx, r),
	    "\nERROR name=STALLED message='the client left the result unread"));
	ck_assert_str_eq(run_read("SELECT 1"), "DONE columns=['1'] rows=[[1]]");
	fixture_close(&fx);
}
END_TEST

START_TEST(reader_answers_what_is_stopped_in_its_line)
{
	struct request *r, *first, *second;

	fixture_open(&fx, TIGHT "read_connections=1", schema);
	r = start_blocked(LARGE, NULL);
	first = ask_read("SELECT 1");
	second = ask_read("SELECT 2");
	fixture_cancel(&fx, first, ERR_DEADLINE);
	ck_assert(begins_with(fixture_take(&fx, first),
	    "ERROR name=DEADLINE message='request timed out after "));
	fixture_fetch(r, 1 << 30);
	fixture_take(&fx, r);
	ck_assert_str_eq(
	    fixture_take(&fx, second), "DONE columns=['2'] rows=[[2]]");
	fixture_close(&fx);
}
END_TEST

/* All threads are busy: whoever asks answers them. */
START_TEST(reader_answers_what_is_stopped_before_a_thread_came_to_it)
{
	struct request *alone, *first;
	struct tx *tx;

	fixture_open(&fx, "read_connections=2", schema);
	tx = fixture_begin(&fx, TX_MODE_READ);
	fixture_hold_readers(&fx);
	alone = ask_read("SELECT 1");
	first = fixture_read(&fx, fixture_in(tx, ask("SELECT 2")));
	fixture_cancel(&fx, alone, ERR_CANCELLED);
	fixture_cancel(&fx, first, ERR_CANCELLED);
	ck_assert_str_eq(fixture_take(&fx, alone),
	    "ERROR name=CANCELLED message='request cancelled while it waited "
	    "for a connection'");
	ck_assert_str_eq(fixture_take(&fx, first),
	    "ERROR tx_state=1 name=CANCELLED message='request cancelled while "
	    "it waited for a connection'");
	fixture_release_readers(&fx);
	fixture_settle(&fx);
	/* both connections are free, and the transaction may begin yet */
	ck_assert_str_eq(run_in(tx, "SELECT count(*) FROM t"),
	    "DONE columns=['count(*)'] rows=[[2]] tx_state=2");
	ck_assert_str_eq(run_read("SELECT 1"), "DONE columns=['1'] rows=[[1]]");
	/* one that has begun keeps its connection */
	fixture_hold_readers(&fx);
	first = fixture_read(&fx, fixture_in(tx, ask("SELECT 3")));
	fixture_cancel(&fx, first, ERR_CANCELLED);
	ck_assert_ptr_nonnull(strstr(
	    fixture_take(&fx, first), "ERROR tx_state=2 name=CANCELLED"));
	fixture_release_readers(&fx);
	run_write("INSERT INTO t(v) VALUES(3)");
	ck_assert_str_eq(run_in(tx, "SELECT count(*) FROM t"),
	    "DONE columns=['count(*)'] rows=[[2]] tx_state=2");
	ck_assert_str_eq(run_end(tx, true), "OK");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

/* --- Bounds ---------------------------------------------------------------- */

START_TEST(reader_connections_are_bounded_and_the_line_is_first_come_first_run)
{
	struct request *busy[2], *waiting[3];

	fixture_open(&fx, TIGHT "read_connections=2", schema);
	for (int i = 0; i < 2; i++)
		busy[i] = start_blocked(LARGE, NULL);
	for (int i = 0; i < 3; i++)
		waiting[i] = ask_read("SELECT 1");
	fixture_settle(&fx);
	for (int i = 0; i < 3; i++)
		ck_assert(!waiting[i]->home_again);
	fixture_fetch(busy[1], 1 << 30);
	fixture_take(&fx, busy[1]);
	for (int i = 0; i < 3; i++)
		fixture_wait(&fx, waiting[i]);
	ck_assert_int_le(waiting[0]->started_us, waiting[1]->started_us);
	ck_assert_int_le(waiting[1]->started_us, waiting[2]->started_us);
	for (int i = 0; i < 3; i++)
		ck_assert_str_eq(fixture_take(&fx, waiting[i]),
		    "DONE columns=['1'] rows=[[1]]");
	fixture_cancel(&fx, busy[0], ERR_CANCELLED);
	fixture_take(&fx, busy[0]);
	fixture_close(&fx);
}
END_TEST

START_TEST(reader_line_that_is_full_is_an_answer)
{
	struct request *busy, *waiting[2], *r;

	fixture_open(&fx, TIGHT "read_connections=1 max_queue=2", schema);
	busy = start_blocked(LARGE, NULL);
	for (int i = 0; i < 2; i++)
		waiting[i] = ask_read("SELECT 1");
	r = ask("SELECT 2");
	ck_assert_int_eq(readers_submit(fx.db->readers, r), -ERR_QUEUE_FULL);
	ck_assert_int_eq(r->failure.code, ERR_QUEUE_FULL);
	ck_assert_str_eq(r->failure.text,
	    "2 reads wait for one of 1 connections of app already; try again "
	    "later, or raise read_connections");
	request_free(r);
	fixture_fetch(busy, 1 << 30);
	fixture_take(&fx, busy);
	for (int i = 0; i < 2; i++)
		fixture_take(&fx, waiting[i]);
	fixture_close(&fx);
}
END_TEST

/* --- Read transactions ----------------------------------------------------- */

START_TEST(reader_holds_the_snapshot_of_a_transaction)
{
	struct tx *tx;

	fixture_open(&fx, NULL, schema);
	tx = fixture_begin(&fx, TX_MODE_READ);
	ck_assert_str_eq(run_in(tx, "SELECT count(*) FROM t"),
	    "DONE columns=['count(*)'] rows=[[2]] tx_state=2");
	ck_assert_str_eq(
	    run_write("INSERT INTO t(v) VALUES(3)"), "DONE changes=1 rowid=3");
	ck_assert_str_eq(run_in(tx, "SELECT count(*) FROM t"),
	    "DONE columns=['count(*)'] rows=[[2]] tx_state=2");
	ck_assert_str_eq(run_read("SELECT count(*) FROM t"),
	    "DONE columns=['count(*)'] rows=[[3]]");
	/* an error of a statement is no end of it */
	ck_assert(begins_with(run_in(tx, "SELECT nope FROM t"),
	    "ERROR tx_state=2 name=SQLITE_ERROR message='no such column"));
	ck_assert_str_eq(run_end(tx, true), "OK");
	ck_assert_str_eq(run_read("SELECT count(*) FROM t"),
	    "DONE columns=['count(*)'] rows=[[3]]");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

START_TEST(reader_of_a_transaction_serves_nobody_else)
{
	struct request *r;
	struct tx *tx;

	fixture_open(&fx, "read_connections=1", schema);
	tx = fixture_begin(&fx, TX_MODE_READ);
	run_in(tx, "SELECT count(*) FROM t");
	r = ask_read("SELECT 1");
	fixture_settle(&fx);
	ck_assert(!r->home_again);
	/* its own requests go ahead of the line */
	ck_assert_str_eq(
	    run_in(tx, "SELECT 2"), "DONE columns=['2'] rows=[[2]] tx_state=2");
	ck_assert_str_eq(run_in(tx, "ROLLBACK"), "DONE");
	ck_assert_str_eq(fixture_take(&fx, r), "DONE columns=['1'] rows=[[1]]");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

START_TEST(reader_keeps_savepoints_of_a_read_transaction)
{
	struct tx *tx;

	fixture_open(&fx, NULL, schema);
	tx = fixture_begin(&fx, TX_MODE_DEFERRED);
	/* it has read nothing yet: to its client it is open */
	ck_assert_str_eq(run_in(tx, "SAVEPOINT a"), "DONE tx_state=1");
	ck_assert_str_eq(run_in(tx, "SELECT max(id) FROM t"),
	    "DONE columns=['max(id)'] rows=[[2]] tx_state=2");
	ck_assert_str_eq(run_in(tx, "SAVEPOINT b"), "DONE tx_state=2");
	ck_assert_str_eq(tx->savepoints->name, "b");
	ck_assert_str_eq(run_in(tx, "ROLLBACK TO a"), "DONE tx_state=2");
	ck_assert_str_eq(tx->savepoints->name, "a");
	ck_assert_ptr_null(tx->savepoints->next);
	ck_assert_str_eq(run_in(tx, "RELEASE b"),
	    "ERROR tx_state=2 name=SQLITE_ERROR "
	    "message='no such savepoint: b'");
	ck_assert_str_eq(run_in(tx, "RELEASE a"), "DONE tx_state=2");
	ck_assert_ptr_null(tx->savepoints);
	ck_assert_str_eq(run_in(tx, "COMMIT"), "DONE");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

START_TEST(reader_ends_an_idle_transaction_when_others_wait)
{
	struct request *r, *late;
	struct tx *tx;

	fixture_open(&fx, "read_connections=1 tx_idle_timeout=10ms", schema);
	tx = fixture_begin(&fx, TX_MODE_READ);
	run_in(tx, "SELECT count(*) FROM t");
	r = ask_read("SELECT 1");
	tick_until_expired(tx);
	ck_assert_str_eq(fixture_take(&fx, r), "DONE columns=['1'] rows=[[1]]");
	ck_assert(begins_with(tx->expired_text,
	    "the transaction was rolled back: it was idle while others waited "
	    "for 0."));
	/* what it still sends goes back to its worker, who knows */
	late = fixture_read(&fx, fixture_in(tx, ask("SELECT 2")));
	fixture_wait(&fx, late);
	ck_assert_int_eq(late->reroute, REROUTE_AGAIN);
	ck_assert_int_eq(late->tx_state, TX_STATE_EXPIRED);
	ck_assert_int_eq(late->state, REQUEST_NEW);
	request_free(late);
	ck_assert_str_eq(run_read("SELECT 1"), "DONE columns=['1'] rows=[[1]]");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

START_TEST(reader_lets_an_idle_transaction_live_while_nobody_waits)
{
	struct tx *tx;

	fixture_open(&fx, "read_connections=1 tx_idle_timeout=10ms", schema);
	tx = fixture_begin(&fx, TX_MODE_READ);
	run_in(tx, "SELECT count(*) FROM t");
	tx->last_us -= 1000000;
	readers_tick(fx.db->readers);
	fixture_settle(&fx);
	ck_assert_int_eq(tx->expired, 0);
	run_end(tx, false);
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

START_TEST(reader_ends_a_transaction_that_is_too_old)
{
	struct tx *tx;

	fixture_open(&fx, "tx_max_age=10ms", schema);
	tx = fixture_begin(&fx, TX_MODE_READ);
	run_in(tx, "SELECT count(*) FROM t");
	tick_until_expired(tx);
	ck_assert_int_eq(tx->expired, ERR_TX_EXPIRED);
	ck_assert(begins_with(tx->expired_text,
	    "the transaction was rolled back: it was open for 0."));
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

START_TEST(reader_ends_a_transaction_that_grows_old_in_a_statement)
{
	struct tx *tx;

	fixture_open(&fx, "tx_max_age=50ms", schema);
	tx = fixture_begin(&fx, TX_MODE_READ);
	ck_assert(begins_with(
	    run_in(tx, "SELECT * FROM t, (" ENDLESS ") WHERE x < 0"),
	    "ERROR tx_state=4 name=TX_EXPIRED message='the transaction was "
	    "rolled back: it was open for 0."));
	ck_assert_int_eq(tx->expired, ERR_TX_EXPIRED);
	ck_assert_str_eq(run_read("SELECT 1"), "DONE columns=['1'] rows=[[1]]");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

START_TEST(reader_ends_a_transaction_that_grows_old_in_a_result)
{
	struct request *r;
	struct tx *tx;

	fixture_open(&fx, TIGHT "tx_max_age=10min", schema);
	tx = fixture_begin(&fx, TX_MODE_READ);
	r = start_blocked(LARGE, tx);
	tx->held_us -= INT64_C(600000001); /* it is old all at once */
	tick_until_expired(tx);
	ck_assert_ptr_nonnull(strstr(fixture_take(&fx, r),
	    "\nERROR tx_state=4 name=TX_EXPIRED message='the transaction was "
	    "rolled back: it was open for 60"));
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

/* Move a database with another t over the one that is open.  It has a second name,
 * beside which there is no WAL. */
static void
replace_file(void)
{
	const char *path = fixture_format(&fx, "%s/new", fx.dir);
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(
	    sqlite3_exec(
		db, "CREATE TABLE t(v); INSERT INTO t VALUES(42)", 0, 0, 0),
	    SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	ck_assert_int_eq(link(path, fixture_format(&fx, "%s/twin", fx.dir)), 0);
	ck_assert_int_eq(rename(path, fx.path), 0);
}

/* Before anybody has noticed: the new file must not be opened beside the WAL of the
 * old one.  A reader that is open goes on with that. */
START_TEST(reader_does_not_open_another_file_than_the_writer_has)
{
	struct keeper *k;
	struct tx *tx;
	const char *text;

	fixture_open(&fx, "read_connections=2", schema);
	k = fx.db->keeper;
	tx = fixture_begin(&fx, TX_MODE_READ);
	run_in(tx, "SELECT count(*) FROM t");
	run_write("INSERT INTO t(v) VALUES('three')");
	if (_i == 0)
		replace_file();
	else
		ck_assert_int_eq(unlink(fx.path), 0);
	text = run_read("SELECT * FROM t");
	ck_assert_msg(
	    strstr(text, "was replaced or deleted just now; try"), "%s", text);
	keeper_start(k);
	while (keeper_get_state(k) == KEEPER_COPYING)
		sched_yield();
	ck_assert_int_eq(k->rc, -ERR_DATABASE_DOWN);
	ck_assert_ptr_null(k->conn);
	ck_assert_str_eq(run_in(tx, "SELECT count(*) AS n FROM t"),
	    "DONE columns=['n'] rows=[[2]] tx_state=2");
	run_end(tx, false);
	tx_unref(tx);
	fixture_stop(&fx);
	if (_i == 0)
		ck_assert_int_eq(
		    live_read_file_int(fixture_format(&fx, "%s/twin", fx.dir),
			"SELECT sum(v) FROM t"),
		    42);
	fixture_close(&fx);
}
END_TEST

START_TEST(reader_in_a_read_only_transaction_refuses_to_write)
{
	struct tx *tx;

	fixture_open(&fx, NULL, schema);
	tx = fixture_begin(&fx, TX_MODE_READ);
	ck_assert_str_eq(run_in(tx, "INSERT INTO t(v) VALUES(3)"),
	    "ERROR tx_state=1 name=TX_READ_ONLY message='the transaction was "
	    "begun as read-only; begin another one to write'");
	ck_assert_str_eq(run_in(tx, "SELECT count(*) FROM t"),
	    "DONE columns=['count(*)'] rows=[[2]] tx_state=2");
	run_end(tx, true);
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

/* clang-format off */
static const struct fixture_step reads[] = {
	{ .sql = "SELECT count(*) AS n FROM t" },
	{ .sql = "SELECT v FROM t WHERE id = ?", .params = "[2]" }, { 0 },
};
static const struct fixture_step writes[] = {
	{ .sql = "SELECT count(*) AS n FROM t" },
	{ .sql = "DELETE FROM t" }, { 0 },
};
/* clang-format on */

START_TEST(reader_runs_a_batch_that_only_reads)
{
	static const char want[] = "steps=[columns=['n'] rows=[[2]]; "
				   "columns=['v'] rows=[['two']]]";
	struct request *r;
	struct tx *tx;

	fixture_open(&fx, NULL, schema);
	ck_assert_str_eq(
	    fixture_take(&fx, fixture_read(&fx, fixture_batch(&fx, reads))),
	    fixture_format(&fx, "DONE %s", want));
	tx = fixture_begin(&fx, TX_MODE_DEFERRED);
	ck_assert_str_eq(
	    fixture_take(&fx,
		fixture_read(&fx, fixture_in(tx, fixture_batch(&fx, reads)))),
	    fixture_format(&fx, "DONE tx_state=2 %s", want));
	/* one that writes goes elsewhere, with its transaction or without */
	r = fixture_read(&fx, fixture_in(tx, fixture_batch(&fx, writes)));
	fixture_wait(&fx, r);
	ck_assert_int_eq(r->reroute, REROUTE_WRITER);
	request_free(r);
	run_end(tx, false);
	r = fixture_read(&fx, fixture_batch(&fx, writes));
	fixture_wait(&fx, r);
	ck_assert_int_eq(r->reroute, REROUTE_AGAIN);
	ck_assert(r->unknown);
	request_free(r);
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

/* --- What is not for it ---------------------------------------------------- */

START_TEST(reader_sends_a_write_home_for_another_road)
{
	struct request *r;

	fixture_open(&fx, NULL, schema);
	r = ask_read("INSERT INTO t(v) VALUES('x') RETURNING id");
	fixture_wait(&fx, r);
	ck_assert_int_eq(r->reroute, REROUTE_AGAIN);
	ck_assert_int_eq(r->state, REQUEST_NEW);
	ck_assert_ptr_null(r->unsent);
	ck_assert_str_eq(
	    fixture_take(&fx, fixture_write(&fx, fixture_reroute(r))),
	    "DONE columns=['id'] rows=[[3]] changes=1 rowid=3");
	fixture_close(&fx);
}
END_TEST

START_TEST(reader_lets_the_writer_have_a_transaction_that_writes)
{
	struct request *r;
	struct tx *tx;

	fixture_open(&fx, "read_connections=1", schema);
	tx = fixture_begin(&fx, TX_MODE_DEFERRED);
	run_in(tx, "SELECT count(*) FROM t");
	r = fixture_read(
	    &fx, fixture_in(tx, ask("INSERT INTO t(v) VALUES('three')")));
	fixture_wait(&fx, r);
	ck_assert_int_eq(r->reroute, REROUTE_WRITER);
	ck_assert_int_eq(r->tx_state, TX_STATE_READ);
	ck_assert_str_eq(
	    fixture_take(&fx, fixture_write(&fx, fixture_reroute(r))),
	    "DONE changes=1 rowid=3 tx_state=3");
	/* its reader is free for others, who see nothing of it yet */
	ck_assert_str_eq(run_read("SELECT count(*) FROM t"),
	    "DONE columns=['count(*)'] rows=[[2]]");
	ck_assert_str_eq(
	    fixture_take(&fx,
		fixture_write(&fx, fixture_in(tx, fixture_end(&fx, true)))),
	    "OK");
	ck_assert_str_eq(run_read("SELECT count(*) FROM t"),
	    "DONE columns=['count(*)'] rows=[[3]]");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

START_TEST(reader_keeps_a_transaction_that_cannot_write_any_more)
{
	struct request *r;
	struct tx *tx;

	fixture_open(&fx, "read_connections=1", schema);
	tx = fixture_begin(&fx, TX_MODE_DEFERRED);
	run_in(tx, "SELECT count(*) FROM t");
	run_write("INSERT INTO t(v) VALUES('three')");
	r = fixture_read(
	    &fx, fixture_in(tx, ask("INSERT INTO t(v) VALUES('four')")));
	fixture_wait(&fx, r);
	ck_assert(begins_with(
	    fixture_take(&fx, fixture_write(&fx, fixture_reroute(r))),
	    "ERROR tx_state=2 name=SQLITE_BUSY_SNAPSHOT message='the database "
	    "was changed after this transaction read from it"));
	ck_assert_str_eq(run_in(tx, "SELECT count(*) FROM t"),
	    "DONE columns=['count(*)'] rows=[[2]] tx_state=2");
	ck_assert_str_eq(run_end(tx, false), "OK");
	ck_assert_str_eq(run_read("SELECT count(*) FROM t"),
	    "DONE columns=['count(*)'] rows=[[3]]");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

static void
add_results(Suite *s)
{
	TCase *tc = tcase_create("results");

	tcase_add_test(tc, reader_answers_a_small_read_in_one_frame);
	tcase_add_test(tc, reader_sends_a_large_result_in_chunks);
	tcase_add_test(tc, reader_stops_at_the_rows_that_were_asked_for);
	tcase_add_test(tc, reader_gives_a_row_that_is_larger_than_a_chunk);
	tcase_add_test(tc, reader_refuses_a_row_that_no_frame_can_hold);
	tcase_add_test(tc, reader_reports_an_error_behind_the_rows_it_has_sent);
	tcase_add_loop_test(
	    tc, reader_has_one_end_whichever_allocation_fails, 0, 2);
	tcase_add_test(tc, reader_stands_still_until_its_client_has_taken_more);
	tcase_add_test(tc, reader_that_stands_still_keeps_no_thread);
	tcase_add_test(tc,
	    reader_finishes_what_fits_in_memory_and_lets_go_of_its_snapshot);
	suite_add_tcase(s, tc);
}

/* --- Who holds a snapshot ---------------------------------------------------- */

static void
assert_owned(const struct snapshot *s, int64_t after_us)
{
	ck_assert_int_eq(s->owner.pid, 4711);
	ck_assert_uint_eq(s->owner.uid, 1234);
	ck_assert_str_eq(s->owner.app, "the test");
	ck_assert_int_ge(s->since_us, after_us);
	ck_assert_int_le(s->since_us, clock_now_us());
}

/* Say who is in the list, oldest first, and check what else it says. */
static const char *
list_snapshots(size_t most)
{
	static const char *const kinds[] = {
		[SNAPSHOT_READ] = "read",
		[SNAPSHOT_STREAM] = "stream",
		[SNAPSHOT_TX] = "transaction",
	};
	struct snapshot list[4];
	size_t n = readers_list_snapshots(fx.db->readers, list, most);
	const char *text = fixture_format(&fx, "%zu:", n);
	int64_t before_us = 0;

	for (size_t i = 0; i < n && i < most; i++) {
		text = fixture_format(
		    &fx, "%s %s %s;", text, kinds[list[i].kind], list[i].sql);
		assert_owned(&list[i], before_us);
		before_us = list[i].since_us;
	}
	return text;
}

START_TEST(reader_lists_who_holds_a_snapshot)
{
	struct request *large, *endless;
	struct tx *tx;

	fixture_open(&fx, TIGHT, schema);
	ck_assert_str_eq(list_snapshots(4), "0:");
	large = start_blocked(LARGE, NULL);
	tx = fixture_begin(&fx, TX_MODE_READ);
	ck_assert_str_eq(list_snapshots(4), "1: stream " LARGE ";");
	run_in(tx, "SELECT 1"); /* reads nothing */
	ck_assert_str_eq(list_snapshots(4), "1: stream " LARGE ";");
	run_in(tx, "SELECT v FROM t");
	run_in(tx, "SELECT nope");
	ck_assert_str_eq(
	    list_snapshots(4), "2: stream " LARGE "; transaction SELECT nope;");
	endless = ask_read(ENDLESS);
	fixture_wait_bytes(&fx, endless, ANSWER_CHUNK_BYTES);
	ck_assert_str_eq(list_snapshots(4),
	    "3: stream " LARGE "; transaction SELECT nope; read " ENDLESS ";");
	ck_assert_str_eq(
	    list_snapshots(2), "3: stream " LARGE "; transaction SELECT nope;");
	fixture_cancel(&fx, endless, ERR_CANCELLED);
	fixture_take(&fx, endless);
	run_end(tx, true);
	tx_unref(tx);
	fixture_cancel(&fx, large, ERR_CANCELLED);
	fixture_take(&fx, large);
	ck_assert_str_eq(list_snapshots(4), "0:");
	run_read("SELECT v FROM t");
	ck_assert_str_eq(list_snapshots(4), "0:");
	fixture_close(&fx);
}
END_TEST

/* The one that keeps the WAL longest is the one that is named. */
START_TEST(reader_lists_the_oldest_snapshots_first)
{
	struct tx *tx[4];

	fixture_open(&fx, NULL, schema);
	for (int i = 0; i < 4; i++)
		tx[i] = fixture_begin(&fx, TX_MODE_READ);
	for (int i = 3; i >= 0; i--)
		run_in(tx[i],
		    fixture_format(&fx, "SELECT v FROM t WHERE id = %d", i));
	ck_assert_str_eq(list_snapshots(2),
	    "4: transaction SELECT v FROM t WHERE id = 3;"
	    " transaction SELECT v FROM t WHERE id = 2;");
	for (int i = 0; i < 4; i++) {
		run_end(tx[i], true);
		tx_unref(tx[i]);
	}
	ck_assert_str_eq(list_snapshots(2), "0:");
	fixture_close(&fx);
}
END_TEST

static void
add_snapshots(Suite *s)
{
	TCase *tc = tcase_create("snapshots");

	tcase_add_test(tc, reader_lists_who_holds_a_snapshot);
	tcase_add_test(tc, reader_lists_the_oldest_snapshots_first);
	suite_add_tcase(s, tc);
}

static void
add_stops_and_bounds(Suite *s)
{
	TCase *tc = tcase_create("stops and bounds");

	tcase_add_test(tc, reader_does_not_begin_what_was_stopped);
	tcase_add_test(tc, reader_is_stopped_while_it_runs);
	tcase_add_test(tc, reader_is_stopped_while_it_stands_still);
	tcase_add_test(tc, reader_answers_what_is_stopped_in_its_line);
	tcase_add_test(
	    tc, reader_answers_what_is_stopped_before_a_thread_came_to_it);
	tcase_add_test(tc,
	    reader_connections_are_bounded_and_the_line_is_first_come_first_run);
	tcase_add_test(tc, reader_line_that_is_full_is_an_answer);
	suite_add_tcase(s, tc);
}

static void
add_transactions(Suite *s)
{
	TCase *tc = tcase_create("transactions");

	tcase_add_test(tc, reader_holds_the_snapshot_of_a_transaction);
	tcase_add_test(tc, reader_of_a_transaction_serves_nobody_else);
	tcase_add_test(tc, reader_keeps_savepoints_of_a_read_transaction);
	tcase_add_test(tc, reader_ends_an_idle_transaction_when_others_wait);
	tcase_add_test(
	    tc, reader_lets_an_idle_transaction_live_while_nobody_waits);
	tcase_add_test(tc, reader_ends_a_transaction_that_is_too_old);
	tcase_add_test(
	    tc, reader_ends_a_transaction_that_grows_old_in_a_statement);
	tcase_add_test(
	    tc, reader_ends_a_transaction_that_grows_old_in_a_result);
	tcase_add_loop_test(
	    tc, reader_does_not_open_another_file_than_the_writer_has, 0, 2);
	tcase_add_test(tc, reader_in_a_read_only_transaction_refuses_to_write);
	tcase_add_test(tc, reader_runs_a_batch_that_only_reads);
	tcase_add_test(tc, reader_sends_a_write_home_for_another_road);
	tcase_add_test(
	    tc, reader_lets_the_writer_have_a_transaction_that_writes);
	tcase_add_test(
	    tc, reader_keeps_a_transaction_that_cannot_write_any_more);
	suite_add_tcase(s, tc);
}

int
main(void)
{
	Suite *s = suite_create("reader");

	add_results(s);
	add_stops_and_bounds(s);
	add_transactions(s);
	add_snapshots(s);
	return fixture_run(s);
}
