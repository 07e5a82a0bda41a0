/* check_hot.c - short reads on a worker, alone and in batches. */
#include <check.h>
#include <string.h>

#include "daemon/clock.h"
#include "daemon/hot.h"
#include "daemon/stats.h"
#include "proto/error.h"
#include "tests/lib/fixture.h"

static const char schema[] = "CREATE TABLE t(id INTEGER PRIMARY KEY);";

#define COUNT_ROWS "SELECT count(*) AS n FROM t"
#define ENDLESS                                                           \
	"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)" \
	" SELECT x FROM c WHERE x < 5"

static struct fixture fx;
static struct hot hot;
static struct buf out;

static void
open_hot(const char *options)
{
	fixture_open(&fx, options, schema);
	hot = (struct hot){ .conn = fx.hot };
	buf_init(&out);
}

static void
close_hot(void)
{
	hot_end_batch(&hot);
	ck_assert(!dbconn_in_tx(hot.conn));
	buf_fini(&out);
	fixture_close(&fx);
}

static const char *
run(const char *sql, bool alone)
{
	struct request *r = fixture_exec(&fx, sql, NULL);
	const char *text;

	buf_reset(&out);
	ck_assert_int_eq(hot_run(&hot, fx.conf, r, &out, alone), HOT_ANSWERED);
	ck_assert_int_eq(r->state, REQUEST_ANSWERED);
	request_free(r);
	text = fixture_say(&fx, out.p, out.n);
	return text;
}

static void
insert(void)
{
	ck_assert_int_eq(
	    strncmp(fixture_take(&fx,
			fixture_write(&fx,
			    fixture_exec(
				&fx, "INSERT INTO t DEFAULT VALUES", NULL))),
		"DONE", 4),
	    0);
}

static const char *
say_count(int n)
{
	return fixture_format(&fx, "DONE columns=['n'] rows=[[%d]]", n);
}

START_TEST(hot_read_alone_needs_no_transaction)
{
	open_hot(NULL);
	ck_assert_str_eq(run(COUNT_ROWS, true), say_count(0));
	ck_assert(!hot.batching);
	ck_assert(!dbconn_in_tx(hot.conn));
	insert();
	ck_assert_str_eq(run(COUNT_ROWS, true), say_count(1));
	ck_assert_uint_eq(stats_get(STAT_reads_inline), 2);
	ck_assert_uint_eq(stats_get(STAT_read_batches), 0);
	close_hot();
}
END_TEST

START_TEST(hot_reads_of_a_batch_share_one_snapshot)
{
	open_hot("batch_time=1s");
	ck_assert_str_eq(run(COUNT_ROWS, false), say_count(0));
	insert();
	ck_assert_str_eq(run(COUNT_ROWS, false), say_count(0));
	/* the last of them would be alone, but for the others */
	ck_assert_str_eq(run(COUNT_ROWS, true), say_count(0));
	hot_end_batch(&hot);
	ck_assert_str_eq(run(COUNT_ROWS, true), say_count(1));
	ck_assert_uint_eq(stats_get(STAT_read_batches), 1);
	close_hot();
}
END_TEST

START_TEST(hot_batch_is_bounded_in_number)
{
	open_hot("batch_max=2 batch_time=1s");
	ck_assert_str_eq(run(COUNT_ROWS, false), say_count(0));
	insert();
	ck_assert_str_eq(run(COUNT_ROWS, false), say_count(0));
	ck_assert_str_eq(run(COUNT_ROWS, false), say_count(1));
	close_hot();
}
END_TEST

START_TEST(hot_batch_is_bounded_in_time)
{
	open_hot("batch_time=1s");
	ck_assert_str_eq(run(COUNT_ROWS, false), say_count(0));
	ck_assert_int_gt(hot.batch_end_us, clock_now_us());
	insert();
	hot.batch_end_us = clock_now_us() - 1;
	ck_assert_str_eq(run(COUNT_ROWS, false), say_count(1));
	close_hot();
}
END_TEST

START_TEST(hot_batch_survives_an_error_of_one)
{
	open_hot("batch_time=1s");
	ck_assert_str_eq(run(COUNT_ROWS, false), say_count(0));
	insert();
	ck_assert_str_eq(run("SELECT abs(-9223372036854775808)", false),
	    "ERROR name=SQLITE_ERROR message='integer overflow'");
	ck_assert_str_eq(run("SELECT nope", false),
	    "ERROR name=SQLITE_ERROR message='no such column: nope' offset=7");
	ck_assert_str_eq(run(COUNT_ROWS, false), say_count(0));
	ck_assert(dbconn_in_tx(hot.conn));
	close_hot();
}
END_TEST

/* Would it go to a heavy reader at once? */
static bool
is_heavy(const char *sql)
{
	struct stmt *st = NULL;
	struct failure f;
	bool heavy;

	failure_init(&f);
	ck_assert_int_eq(
	    stmt_prepare(hot.conn,
		(struct span){ (const uint8_t *)sql, strlen(sql) }, &st, &f),
	    0);
	heavy = stmt_take_heavy(hot.conn, st);
	failure_fini(&f);
	return heavy;
}

/* Nothing of it was sent, and nothing of it is left: a heavy reader begins from
 * the start. */
static void
assert_escalates(const char *sql, bool alone)
{
	struct request *r = fixture_exec(&fx, sql, NULL);

	buf_reset(&out);
	buf_put(&out, "reply of another", 16);
	ck_assert_int_eq(hot_run(&hot, fx.conf, r, &out, alone), HOT_TOO_LONG);
	ck_assert_uint_eq(out.n, 16);
	ck_assert_int_eq(r->state, REQUEST_NEW);
	ck_assert_int_eq(r->failure.code, 0);
	ck_assert_int_eq(r->started_us, 0);
	ck_assert_uint_eq(stats_get(STAT_reads_escalated), 1);
	ck_assert(is_heavy(sql));
	request_free(r);
}

START_TEST(hot_read_over_its_time_is_for_a_heavy_reader)
{
	open_hot("inline_budget=1ms batch_time=1s");
	run(COUNT_ROWS, false);
	assert_escalates(ENDLESS, _i);
	/* the batch goes on */
	ck_assert(dbconn_in_tx(hot.conn));
	ck_assert_str_eq(run(COUNT_ROWS, true), say_count(0));
	close_hot();
}
END_TEST

/* Too many bytes; more rows than one frame can count. */
/* clang-format off */
static const char *const large[] = {
	"SELECT zeroblob(2000)",
	"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 1000) SELECT x FROM c",
};
/* clang-format on */

START_TEST(hot_read_over_its_bytes_is_for_a_heavy_reader)
{
	open_hot("inline_bytes=1KB inline_budget=1s");
	assert_escalates(large[_i], true);
	close_hot();
}
END_TEST

START_TEST(hot_read_of_more_rows_than_a_frame_counts_is_for_a_heavy_reader)
{
	open_hot("inline_bytes=16MB inline_budget=1s");
	assert_escalates("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT"
			 "  x + 1 FROM c LIMIT 70000) SELECT 1 FROM c",
	    true);
	close_hot();
}
END_TEST

/* No run here ends in its time.  When it was prepared the file was small, and the
 * statement stays in the cache. */
START_TEST(hot_count_of_a_file_that_has_grown_is_for_a_heavy_reader)
{
	open_hot("inline_budget=1us");
	ck_assert_str_eq(run(COUNT_ROWS, true), say_count(0));
	ck_assert(!is_heavy(COUNT_ROWS));
	fixture_query(&fx,
	    "CREATE TABLE big(x); INSERT INTO big VALUES(zeroblob(12000000))");
	run("SELECT 1", true);
	ck_assert(!is_heavy("SELECT 1"));
	ck_assert_str_eq(run(COUNT_ROWS, true), say_count(0));
	ck_assert(is_heavy(COUNT_ROWS));
	close_hot();
}
END_TEST

START_TEST(hot_read_that_is_stopped_says_so)
{
	struct request *r;

	open_hot(NULL);
	r = fixture_exec(&fx, COUNT_ROWS, NULL);
	request_stop(r, ERR_CANCELLED);
	ck_assert_int_eq(hot_run(&hot, fx.conf, r, &out, true), HOT_ANSWERED);
	ck_assert_str_eq(fixture_say(&fx, out.p, out.n),
	    "ERROR name=CANCELLED message='request cancelled while it ran'");
	request_free(r);
	/* and stops no one else */
	ck_assert_str_eq(run(COUNT_ROWS, true), say_count(0));
	close_hot();
}
END_TEST

START_TEST(hot_connection_cannot_write)
{
	open_hot(NULL);
	ck_assert_str_eq(run("INSERT INTO t DEFAULT VALUES", true),
	    "ERROR name=SQLITE_READONLY "
	    "message='attempt to write a readonly database'");
	close_hot();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("hot");
	TCase *tc = tcase_create("hot");

	tcase_add_test(tc, hot_read_alone_needs_no_transaction);
	tcase_add_test(tc, hot_reads_of_a_batch_share_one_snapshot);
	tcase_add_test(tc, hot_batch_is_bounded_in_number);
	tcase_add_test(tc, hot_batch_is_bounded_in_time);
	tcase_add_test(tc, hot_batch_survives_an_error_of_one);
	tcase_add_loop_test(
	    tc, hot_read_over_its_time_is_for_a_heavy_reader, 0, 2);
	tcase_add_loop_test(
	    tc, hot_read_over_its_bytes_is_for_a_heavy_reader, 0, 2);
	tcase_add_test(tc,
	    hot_read_of_more_rows_than_a_frame_counts_is_for_a_heavy_reader);
	tcase_add_test(
	    tc, hot_count_of_a_file_that_has_grown_is_for_a_heavy_reader);
	tcase_add_test(tc, hot_read_that_is_stopped_says_so);
	tcase_add_test(tc, hot_connection_cannot_write);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
