/* check_chores.c - what a writer does for its database when it is idle. */
#include <check.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/stats.h"
#include "daemon/writer_impl.h"
#include "proto/error.h"
#include "tests/lib/faults.h"

#define ROWS(from, to)                                                      \
	"INSERT INTO t WITH RECURSIVE c(x) AS (SELECT " #from " UNION ALL " \
	"SELECT x + 1 FROM c WHERE x < " #to ") SELECT x, x % 10, "         \
	"zeroblob(100) FROM c"

static const char schema[] =
    "CREATE TABLE t(id INTEGER PRIMARY KEY, g, v); CREATE INDEX t_g ON t(g);";

static struct fixture fx;

static void
run_write(const char *sql)
{
	const char *text = fixture_take(
	    &fx, fixture_write(&fx, fixture_exec(&fx, sql, NULL)));

	ck_assert_msg(strncmp(text, "DONE", 4) == 0, "%s", text);
}

/* The time for chores has come. */
static void
let_it_be_due(void)
{
	fixture_settle(&fx);
	atomic_store(&fx.db->writer->chore_us, 1);
	writer_tick(fx.db->writer);
	fixture_settle(&fx);
	ck_assert_int_gt(atomic_load(&fx.db->writer->chore_us), 1);
}

START_TEST(chores_renew_statistics_when_much_has_changed)
{
	fixture_open(&fx, NULL, schema);
	let_it_be_due();
	ck_assert_uint_eq(stats_get(STAT_analyzed), 0); /* nothing changed */
	run_write(ROWS(1, 1000));
	let_it_be_due();
	ck_assert_uint_eq(stats_get(STAT_analyzed), 1);
	ck_assert_str_eq(
	    fixture_query(&fx, "SELECT tbl, idx, stat FROM sqlite_stat1"),
	    "t|t_g|1000 100\n");
	run_write(ROWS(1001, 1200));
	let_it_be_due();
	ck_assert_uint_eq(stats_get(STAT_analyzed), 1); /* not much */
	run_write(ROWS(1201, 1300));
	let_it_be_due();
	ck_assert_uint_eq(stats_get(STAT_analyzed), 2);
	let_it_be_due();
	ck_assert_uint_eq(stats_get(STAT_analyzed), 2);
	/* who prepared a statement before does not notice */
	run_write("DELETE FROM t WHERE id > 1000");
	fixture_close(&fx);
}
END_TEST

START_TEST(chores_are_not_done_before_their_time_or_when_told_so)
{
	fixture_open(&fx, "optimize_every=1h", schema);
	run_write(ROWS(1, 1000));
	writer_tick(fx.db->writer);
	fixture_settle(&fx);
	ck_assert_uint_eq(stats_get(STAT_analyzed), 0);
	fixture_close(&fx);
	fixture_open(&fx, "optimize_every=off", schema);
	ck_assert_int_eq(atomic_load(&fx.db->writer->chore_us), 0);
	fixture_close(&fx);
}
END_TEST

/* Writes go first. */
START_TEST(chores_wait_while_somebody_waits)
{
	struct writer *w;
	struct request *r;

	fixture_open(&fx, NULL, schema);
	w = fx.db->writer;
	run_write(ROWS(1, 1000));
	fixture_settle(&fx);
	fixture_hold(&fx);
	atomic_store(&w->chore_us, 1);
	r = fixture_write(
	    &fx, fixture_exec(&fx, "DELETE FROM t WHERE id = 1", NULL));
	fixture_release(&fx);
	fixture_take(&fx, r);
	fixture_settle(&fx);
	ck_assert_uint_eq(stats_get(STAT_analyzed), 1); /* after it */
	ck_assert_str_eq(
	    fixture_query(&fx, "SELECT stat FROM sqlite_stat1"), "999 100\n");
	/* and one that comes in the middle stops it */
	pthread_mutex_lock(&w->lock);
	w->in_chore = true;
	pthread_mutex_unlock(&w->lock);
	run_write("DELETE FROM t WHERE id = 2");
	ck_assert_int_eq(atomic_load(&w->chore_stop), ERR_CANCELLED);
	fixture_close(&fx);
}
END_TEST

START_TEST(chores_give_free_pages_back)
{
	sqlite3 *db = NULL;
	long free_n;

	fixture_init(&fx, NULL, NULL);
	ck_assert_int_eq(sqlite3_open(fx.path, &db), SQLITE_OK);
	ck_assert_int_eq(
	    sqlite3_exec(db,
		"PRAGMA auto_vacuum=INCREMENTAL; CREATE TABLE t(v)", NULL, NULL,
		NULL),
	    SQLITE_OK);
	sqlite3_close(db);
	ck_assert_ptr_null(fixture_start(&fx));
	run_write("INSERT INTO t VALUES(zeroblob(6000000))");
	run_write("DELETE FROM t");
	let_it_be_due();
	free_n = strtol(fixture_query(&fx, "PRAGMA freelist_count"), NULL, 10);
	ck_assert_int_gt(free_n, 0); /* not all at once */
	ck_assert_int_lt(free_n, 1000);
	let_it_be_due();
	ck_assert_str_eq(
	    fixture_query(&fx, "PRAGMA freelist_count; PRAGMA integrity_check"),
	    "0\nok\n");
	fixture_close(&fx);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("chores");
	TCase *tc = tcase_create("chores");

	tcase_add_test(tc, chores_renew_statistics_when_much_has_changed);
	tcase_add_test(
	    tc, chores_are_not_done_before_their_time_or_when_told_so);
	tcase_add_test(tc, chores_wait_while_somebody_waits);
	tcase_add_test(tc, chores_give_free_pages_back);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
