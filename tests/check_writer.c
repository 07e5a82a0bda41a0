/* check_writer.c - the line before the writer: bounds, order, groups, and what
 * runs by itself. */
#include <check.h>
#include <sqlite3.h>
#include <stdlib.h>

#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/stats.h"
#include "daemon/writer_impl.h"
#include "proto/error.h"
#include "proto/frame.h"
#include "tests/lib/faults.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char schema[] =
    "CREATE TABLE t(id INTEGER PRIMARY KEY, v UNIQUE);";

static struct fixture fx;

static struct request *
ask(const char *sql)
{
	return fixture_exec(&fx, sql, NULL);
}

static struct request *
insert(void)
{
	return fixture_write(&fx, ask("INSERT INTO t(v) VALUES(random())"));
}

static uint64_t
count_commits(void)
{
	return atomic_load(writer_get_seq(fx.db->writer));
}

/* Take n requests, all of which must be done. */
static void
take_done(struct request **r, size_t n)
{
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(
		    strncmp(fixture_take(&fx, r[i]), "DONE", 4), 0);
}

/* --- The line -------------------------------------------------------------- */

START_TEST(writer_line_is_bounded_in_number)
{
	struct request *r[3], *more;

	fixture_open(&fx, "max_queue=3", schema);
	fixture_hold(&fx);
	for (size_t i = 0; i < COUNT(r); i++)
		r[i] = insert();
	more = ask("INSERT INTO t(v) VALUES(1)");
	ck_assert_int_eq(writer_submit(fx.db->writer, more), -ERR_QUEUE_FULL);
	ck_assert_str_eq(more->failure.text,
	    "3 writes wait for app already; send fewer at a time or raise "
	    "max_queue and max_queue_bytes");
	ck_assert_int_gt(more->failure.retry_ms, 0);
	ck_assert_uint_eq(stats_get(STAT_queue_full), 1);
	request_free(more);
	fixture_release(&fx);
	take_done(r, COUNT(r));
	/* and then there is room again */
	r[0] = insert();
	take_done(r, 1);
	fixture_close(&fx);
}
END_TEST

START_TEST(writer_line_is_bounded_in_bytes_but_takes_any_one_request)
{
	struct request *large, *more;

	fixture_open(&fx, "max_queue_bytes=64KB", schema);
	fixture_hold(&fx);
	large = ask("INSERT INTO t(v) VALUES(1)");
	large->bytes_n = 1000000;
	fixture_write(&fx, large);
	more = ask("INSERT INTO t(v) VALUES(2)");
	ck_assert_int_eq(writer_submit(fx.db->writer, more), -ERR_QUEUE_FULL);
	request_free(more);
	fixture_release(&fx);
	take_done(&large, 1);
	large = insert();
	take_done(&large, 1);
	fixture_close(&fx);
}
END_TEST

/* The crew's thread is busy all the time: whoever asks answers them. */
START_TEST(writer_answers_what_is_stopped_in_its_line)
{
	struct request *r[3];

	fixture_open(&fx, NULL, schema);
	fixture_hold(&fx);
	for (size_t i = 0; i < COUNT(r); i++)
		r[i] = insert();
	fixture_cancel(&fx, r[1], ERR_CANCELLED);
	ck_assert_str_eq(fixture_take(&fx, r[1]),
	    "ERROR name=CANCELLED message='request cancelled while it waited "
	    "for the writer'");
	ck_assert_uint_eq(writer_get_queue_n(fx.db->writer), 2);
	fixture_release(&fx);
	take_done(&r[0], 1);
	take_done(&r[2], 1);
	ck_assert_str_eq(fixture_query(&fx, "SELECT count(*) FROM t"), "2\n");
	fixture_close(&fx);
}
END_TEST

/* One client sends a lot at once, and another a single write after it. */
START_TEST(writer_lets_clients_take_turns)
{
	struct request *many[20], *one;
	struct place other = { 0 };

	fixture_open(&fx, "group_max=4", schema);
	fixture_hold(&fx);
	for (size_t i = 0; i < COUNT(many); i++)
		many[i] = insert();
	one = ask("INSERT INTO t(v) VALUES('one')");
	one->place = &other;
	fixture_write(&fx, one);
	fixture_release(&fx);
	fixture_wait(&fx, one);
	ck_assert_uint_eq(one->seq, 1); /* it shared the first commit */
	take_done(&one, 1);
	take_done(many, COUNT(many));
	/* and nobody's own order changed */
	ck_assert_str_eq(
	    fixture_query(&fx, "SELECT rowid FROM t WHERE v = 'one'"), "2\n");
	fixture_close(&fx);
}
END_TEST

/* --- Groups ---------------------------------------------------------------- */

START_TEST(writer_commits_once_for_all_that_queued_up)
{
	struct request *r[20];

	fixture_open(&fx, NULL, schema);
	fixture_hold(&fx);
	for (size_t i = 0; i < COUNT(r); i++)
		r[i] = insert();
	fixture_release(&fx);
	for (size_t i = 0; i < COUNT(r); i++) {
		fixture_wait(&fx, r[i]);
		ck_assert_uint_eq(r[i]->seq, 1);
	}
	take_done(r, COUNT(r));
	ck_assert_uint_eq(count_commits(), 1);
	ck_assert_uint_eq(stats_get(STAT_commits), 1);
	ck_assert_uint_eq(stats_get(STAT_writes), 20);
	ck_assert_uint_eq(stats_get(STAT_group_size_max), 20);
	fixture_close(&fx);
}
END_TEST

START_TEST(writer_groups_are_bounded_in_number)
{
	struct request *r[10];

	fixture_open(&fx, "group_max=4", schema);
	fixture_hold(&fx);
	for (size_t i = 0; i < COUNT(r); i++)
		r[i] = insert();
	fixture_release(&fx);
	for (size_t i = 0; i < COUNT(r); i++) {
		fixture_wait(&fx, r[i]);
		ck_assert_uint_eq(r[i]->seq, 1 + i / 4);
	}
	take_done(r, COUNT(r));
	fixture_close(&fx);
}
END_TEST

START_TEST(writer_groups_are_bounded_in_bytes)
{
	struct request *r[10];

	fixture_open(&fx, "group_bytes=64KB", schema);
	fixture_hold(&fx);
	for (size_t i = 0; i < COUNT(r); i++) {
		r[i] = ask("INSERT INTO t(v) VALUES(random())");
		r[i]->bytes_n = 30000;
		fixture_write(&fx, r[i]);
	}
	fixture_release(&fx);
	for (size_t i = 0; i < COUNT(r); i++) {
		fixture_wait(&fx, r[i]);
		ck_assert_uint_eq(r[i]->seq, 1 + i / 3);
	}
	take_done(r, COUNT(r));
	fixture_close(&fx);
}
END_TEST

/* The first one takes longer than a group may: the others go into the next,
 * ahead of what came after them. */
START_TEST(writer_groups_are_bounded_in_time)
{
	struct request *r[3], *last;
	struct barrier b;

	fixture_open(&fx, "group_time=1ms", schema);
	barrier_add(&fx, &b);
	fixture_hold(&fx);
	r[0] = fixture_write(
	    &fx, ask("INSERT INTO t(v) VALUES(barrier('slow'))"));
	r[1] = insert();
	r[2] = insert();
	fixture_release(&fx);
	barrier_await(&b);
	last = insert();
	for (int64_t end = clock_now_us() + 2000; clock_now_us() < end;)
		continue;
	barrier_open(&b);
	fixture_wait(&fx, r[0]);
	ck_assert_uint_eq(r[0]->seq, 1);
	fixture_wait(&fx, last);
	ck_assert_uint_ge(r[1]->seq, 2);
	ck_assert_uint_ge(r[2]->seq, r[1]->seq);
	ck_assert_uint_ge(last->seq, r[2]->seq);
	take_done(r, COUNT(r));
	take_done(&last, 1);
	/* in the order of their arrival */
	ck_assert_str_eq(
	    fixture_query(&fx, "SELECT v = 'slow' FROM t WHERE id = 1"), "1\n");
	fixture_close(&fx);
}
END_TEST

/* A write that takes too long is undone; its neighbours are not. */
START_TEST(writer_bounds_the_time_of_one_write)
{
	struct request *first, *slow, *last;

	fixture_open(&fx, "tx_max_age=50ms", schema);
	fixture_hold(&fx);
	first = insert();
	slow = fixture_write(&fx,
	    ask("INSERT INTO t(v) SELECT x FROM (WITH RECURSIVE c(x) AS"
		"  (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c)"));
	last = insert();
	fixture_release(&fx);
	take_done(&first, 1);
	ck_assert_ptr_nonnull(
	    strstr(fixture_take(&fx, slow), "of tx_max_age and was undone"));
	take_done(&last, 1);
	ck_assert_str_eq(fixture_query(&fx, "SELECT count(*) FROM t"), "2\n");
	fixture_close(&fx);
}
END_TEST

/* Whatever just fits and just does not fit into a frame: a write that is
 * answered with an error was not applied. */
START_TEST(writer_applies_no_write_whose_answer_does_not_fit)
{
	size_t most = FRAME_LEAST_MAX_BYTES;
	unsigned done_n = 0, failed_n = 0;

	fixture_open(&fx, NULL, schema);
	for (size_t n = most - 200; n < most + 5; n += 5) {
		struct request *r = ask(fixture_format(&fx,
		    "INSERT INTO t VALUES(%zu, '%zu') RETURNING id,"
		    "  substr(printf('%%.*c', %zu, 'x'), 1)",
		    n, n, n));
		const char *text;
		bool there;

		r->max_frame_bytes = most;
		text = fixture_take(&fx, fixture_write(&fx, r));
		there = strcmp(fixture_query(&fx,
				   fixture_format(&fx,
				       "SELECT count(*) FROM t WHERE id = %zu",
				       n)),
			    "1\n") == 0;
		if (strstr(text, "DONE")) {
			ck_assert(there);
			done_n++;
		} else {
			ck_assert_ptr_nonnull(strstr(text, "ERROR name="));
			ck_assert_ptr_null(strstr(text, "outcome="));
			ck_assert(!there);
			failed_n++;
		}
	}
	ck_assert_uint_gt(done_n, 0);
	ck_assert_uint_gt(failed_n, 0);
	fixture_close(&fx);
}
END_TEST

/* --- By itself ------------------------------------------------------------- */

START_TEST(writer_runs_ddl_by_itself_and_in_its_turn)
{
	struct request *r[5];

	fixture_open(&fx, NULL, schema);
	fixture_hold(&fx);
	r[0] = insert();
	r[1] = insert();
	r[2] = fixture_write(&fx, ask("ALTER TABLE t ADD COLUMN w"));
	r[3] = fixture_write(&fx, ask("INSERT INTO t(w) VALUES(1)"));
	r[4] = fixture_write(&fx, ask("VACUUM"));
	fixture_release(&fx);
	for (size_t i = 0; i < COUNT(r); i++)
		fixture_wait(&fx, r[i]);
	ck_assert_uint_eq(r[0]->seq, 1);
	ck_assert_uint_eq(r[1]->seq, 1);
	ck_assert_uint_eq(r[2]->seq, 2);
	ck_assert_uint_eq(r[3]->seq, 3);
	ck_assert_uint_eq(r[4]->seq, 4);
	take_done(r, COUNT(r));
	fixture_close(&fx);
}
END_TEST

/* Requests that tend the file run alone, in every spelling, between two groups;
 * what only the daemon may do is refused with a remedy. */
/* clang-format off */
static const struct upkeep_case {
	const char *sql;
	const char *reply; /* NULL: DONE, without rows */
} upkeep[] = {
	{ .sql = "VACUUM" },
	{ .sql = ";VACUUM;" },
	{ .sql = "-- tidy up\n ; /* now */ vacuum main ; -- it" },
	{ .sql = "REINDEX" },
	{ .sql = "; REINDEX t" },
	{ .sql = "ANALYZE" },
	{ .sql = "/**/ ; analyze main.t" },
	{ "PRAGMA optimize", "DONE columns=['optimize'] rows=[]" },
	{ ";; PRAGMA optimize(0xfffe)", "DONE columns=['optimize'] rows=[]" },
	{ .sql = "PRAGMA incremental_vacuum" },
	{ .sql = "; PRAGMA incremental_vacuum(2)" },
	{ "VACUUM INTO '/nonexistent/x'", "ERROR name=NOT_ALLOWED" },
	{ "; /* */ PRAGMA wal_checkpoint", "ERROR name=NOT_ALLOWED" },
	{ "PRAGMA wal_checkpoint(TRUNCATE)", "ERROR name=NOT_ALLOWED" },
	{ "PRAGMA auto_vacuum = 1", "ERROR name=NOT_ALLOWED" },
};
/* clang-format on */

/* With pages that nothing uses. */
static const char free_schema[] =
    "PRAGMA auto_vacuum = 2; CREATE TABLE t(id INTEGER PRIMARY KEY, v UNIQUE);"
    "CREATE TABLE gone(x); INSERT INTO gone VALUES(zeroblob(100000));"
    "DROP TABLE gone;";

static int
count_free_pages(void)
{
	return (int)strtol(
	    fixture_query(&fx, "PRAGMA freelist_count"), NULL, 10);
}

START_TEST(writer_runs_upkeep_by_itself_in_every_spelling)
{
	const struct upkeep_case *c = &upkeep[_i];
	const char *want = c->reply ? c->reply : "DONE", *text;
	struct request *before[2], *r, *after[2];
	int free_n;

	fixture_open(&fx, NULL, free_schema);
	free_n = count_free_pages();
	ck_assert_int_gt(free_n, 2);
	fixture_hold(&fx);
	before[0] = insert();
	before[1] = insert();
	r = fixture_write(&fx, ask(c->sql));
	after[0] = insert();
	after[1] = insert();
	fixture_release(&fx);
	text = fixture_take(&fx, r);
	ck_assert_msg(strncmp(text, want, strlen(want)) == 0, "%s", text);
	take_done(before, 2);
	take_done(after, 2);
	ck_assert_uint_eq(stats_get(STAT_groups_rerun), 0);
	if (strstr(c->sql, "incremental"))
		ck_assert_int_eq(
		    count_free_pages(), strstr(c->sql, "(2)") ? free_n - 2 : 0);
	ck_assert_str_eq(
	    fixture_query(&fx, "SELECT count(*) FROM t; PRAGMA quick_check"),
	    "4\nok\n");
	fixture_close(&fx);
}
END_TEST

/* PRAGMA incremental_vacuum steps through rows that have no columns. */
START_TEST(writer_gives_free_pages_back_in_a_batch)
{
	static const struct fixture_step steps[] = {
		{ .sql = "PRAGMA incremental_vacuum(2)" },
		{ .sql = "SELECT 1" }, { 0 }
	};
	int free_n;

	fixture_open(&fx, NULL, free_schema);
	free_n = count_free_pages();
	ck_assert_str_eq(
	    fixture_take(&fx, fixture_write(&fx, fixture_batch(&fx, steps))),
	    "DONE steps=[; columns=['1'] rows=[[1]]]");
	ck_assert_int_eq(count_free_pages(), free_n - 2);
	fixture_close(&fx);
}
END_TEST

/* What its worker could not prepare, because of a write before it. */
/* clang-format off */
static const struct unknown_case {
	const char *sql;
	enum request_reroute reroute;
	const char *reply; /* when it is not rerouted */
} unknowns[] = {
	{ "INSERT INTO later VALUES(1) RETURNING x", REROUTE_NOT, "DONE columns=['x'] rows=[[1]] changes=1 rowid=1" },
	{ "DROP TABLE later", REROUTE_NOT, "DONE" },
	{ "SELECT * FROM nowhere", REROUTE_NOT, "ERROR name=SQLITE_ERROR message='no such table: nowhere'" },
	{ "SELECT * FROM later", REROUTE_AGAIN, NULL },
	{ "SAVEPOINT a", REROUTE_AGAIN, NULL },
};
/* clang-format on */

START_TEST(writer_finds_out_what_an_unknown_statement_is)
{
	const struct unknown_case *c = &unknowns[_i];
	struct request *first, *r;

	fixture_open(&fx, NULL, schema);
	fixture_hold(&fx);
	first = fixture_write(&fx, ask("CREATE TABLE later(x)"));
	r = ask(c->sql);
	r->unknown = true;
	fixture_write(&fx, r);
	fixture_release(&fx);
	take_done(&first, 1);
	fixture_wait(&fx, r);
	ck_assert_int_eq(r->reroute, c->reroute);
	if (c->reply) {
		ck_assert_str_eq(fixture_take(&fx, r), c->reply);
	} else {
		ck_assert_int_eq(r->state, REQUEST_NEW);
		ck_assert(!r->unknown);
		request_free(r);
	}
	fixture_close(&fx);
}
END_TEST

/* So that it does not go round in circles. */
START_TEST(writer_runs_a_read_that_comes_back)
{
	struct request *r;

	fixture_open(&fx, NULL, schema);
	r = ask("SELECT count(*) FROM t");
	r->unknown = r->rerouted = true;
	ck_assert_str_eq(fixture_take(&fx, fixture_write(&fx, r)),
	    "DONE columns=['count(*)'] rows=[[0]]");
	ck_assert_uint_eq(count_commits(), 0);
	fixture_close(&fx);
}
END_TEST

/* --- Numbers --------------------------------------------------------------- */

START_TEST(writer_counts_only_commits_that_changed_something)
{
	static const char *const nothing[] = { "DELETE FROM t",
		"INSERT INTO t(v) VALUES('one')", "INSERT INTO t VALUES(?)",
		"UPDATE t SET v = 'x' WHERE id = 999" };
	struct request *r;

	fixture_open(&fx, NULL, schema);
	r = fixture_write(&fx, ask("INSERT INTO t(v) VALUES('one')"));
	take_done(&r, 1);
	ck_assert_uint_eq(count_commits(), 1);
	for (size_t i = 1; i < COUNT(nothing); i++) {
		fixture_take(&fx, fixture_write(&fx, ask(nothing[i])));
		ck_assert_uint_eq(count_commits(), 1);
	}
	fixture_take(&fx, fixture_write(&fx, ask(nothing[0])));
	ck_assert_uint_eq(count_commits(), 2);
	fixture_close(&fx);
}
END_TEST

/* --- The disk -------------------------------------------------------------- */

/* A checkpoint that fails is tried again; what was acknowledged is in the WAL. */
START_TEST(writer_goes_on_when_a_checkpoint_fails)
{
	static const char large[] = "INSERT INTO t(v) VALUES(zeroblob(100000)"
				    "  || random())";
	struct request *r;

	fixture_open(&fx, "wal_limit=256KB", schema);
	r = fixture_write(&fx, ask(large)); /* the keeper opens the file */
	take_done(&r, 1);
	fixture_settle(&fx);
	faults_watch_files(&fx);
	faults_arm(FAULT_DB_WRITE, 0, INT_MAX, SQLITE_IOERR_WRITE);
	for (int i = 0; i < 5; i++) {
		r = fixture_write(&fx, ask(large));
		take_done(&r, 1);
	}
	ck_assert(faults_disarm());
	fixture_settle(&fx);
	ck_assert_str_eq(fixture_query(&fx,
			     "SELECT count(*) FROM t; PRAGMA integrity_check"),
	    "6\nok\n");
	r = fixture_write(&fx, ask(large));
	take_done(&r, 1);
	fixture_settle(&fx);
	/* now it could be copied */
	r = fixture_write(&fx, ask("INSERT INTO t(v) VALUES('small')"));
	take_done(&r, 1);
	fixture_settle(&fx);
	ck_assert_uint_lt(wal_get_frames(fx.db->writer->conn), 20);
	fixture_close(&fx);
}
END_TEST

/* A sync that failed once may have lost what was copied, though the next one
 * succeeds: so the log, which still has it, must not begin anew.  It fails in the
 * keeper's checkpoint, or in the keeper's own sync behind it. */
START_TEST(writer_stops_when_a_sync_of_its_file_failed)
{
	static const char large[] = "INSERT INTO t(v) VALUES(zeroblob(100000)"
				    "  || random())";
	uint32_t copied, before, frames;
	struct request *r;

	fixture_open(&fx, "wal_limit=256KB", schema);
	log_set_level(CONF_LOG_ERROR);
	r = fixture_write(&fx, fixture_exec(&fx, large, NULL));
	ck_assert_int_eq(strncmp(fixture_take(&fx, r), "DONE", 4), 0);
	fixture_settle(&fx); /* the keeper has opened the file */
	faults_watch_files(&fx);
	faults_arm(FAULT_DB_SYNC, _i, 0, SQLITE_IOERR_FSYNC);
	r = fixture_write(&fx, fixture_exec(&fx, large, NULL));
	ck_assert_int_eq(strncmp(fixture_take(&fx, r), "DONE", 4), 0);
	ck_assert(wal_get_log(fx.db->writer->conn, &copied, &before));
	fixture_settle(&fx);
	ck_assert(faults_disarm());
	for (int i = 0; i < 3; i++) {
		r = fixture_write(&fx, fixture_exec(&fx, large, NULL));
		ck_assert_str_eq(fixture_take(&fx, r),
		    "ERROR name=DATABASE_DOWN message='app is not written any "
		    "more: a sync of its file failed; see the daemon's log'");
		fixture_settle(&fx);
	}
	ck_assert(wal_get_log(fx.db->writer->conn, &copied, &frames));
	ck_assert_uint_eq(frames, before);
	ck_assert_str_eq(fixture_query(&fx, "SELECT count(*) FROM t"), "2\n");
	fixture_close(&fx);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("writer");
	TCase *tc = tcase_create("line");

	tcase_add_test(tc, writer_line_is_bounded_in_number);
	tcase_add_test(
	    tc, writer_line_is_bounded_in_bytes_but_takes_any_one_request);
	tcase_add_test(tc, writer_answers_what_is_stopped_in_its_line);
	tcase_add_test(tc, writer_lets_clients_take_turns);
	suite_add_tcase(s, tc);
	tc = tcase_create("groups");
	tcase_add_test(tc, writer_commits_once_for_all_that_queued_up);
	tcase_add_test(tc, writer_groups_are_bounded_in_number);
	tcase_add_test(tc, writer_groups_are_bounded_in_bytes);
	tcase_add_test(tc, writer_groups_are_bounded_in_time);
	tcase_add_test(tc, writer_bounds_the_time_of_one_write);
	tcase_add_test(tc, writer_applies_no_write_whose_answer_does_not_fit);
	tcase_add_test(tc, writer_runs_ddl_by_itself_and_in_its_turn);
	tcase_add_loop_test(tc, writer_runs_upkeep_by_itself_in_every_spelling,
	    0, (int)COUNT(upkeep));
	tcase_add_test(tc, writer_gives_free_pages_back_in_a_batch);
	tcase_add_loop_test(tc, writer_finds_out_what_an_unknown_statement_is,
	    0, (int)COUNT(unknowns));
	tcase_add_test(tc, writer_runs_a_read_that_comes_back);
	tcase_add_test(tc, writer_counts_only_commits_that_changed_something);
	tcase_add_test(tc, writer_goes_on_when_a_checkpoint_fails);
	tcase_add_loop_test(
	    tc, writer_stops_when_a_sync_of_its_file_failed, 0, 2);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
