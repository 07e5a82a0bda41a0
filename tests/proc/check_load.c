/* check_load.c - 8 processes of 4 writers each, with readers beside them.
 *
 * Promises P1 (durable and visible), P2 (no busy) and P3 (a fair line).  Writers
 * tell what was acknowledged through shared memory; a reader looks there first
 * and then asks the daemon, which must know at least that much.
 *
 * LOAD_SECONDS says how long it lasts: 10 s, 4 s in slow builds. */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "daemon/clock.h"
#include "tests/lib/live.h"

#define PROCESSES 8
#define THREADS   4
#define WRITERS   32 /* in all */
#define READERS   2  /* processes, with a thread for each way to read */
#define STARVED   5  /* times as many: without a line it is thousands */

struct writer {
	_Atomic int64_t inserted; /* rows acknowledged */
	_Atomic int64_t updated;  /* value of the last update acknowledged */
	_Atomic int64_t slowest_us;
	char space[40]; /* a cache line each */
};

struct shared {
	struct writer writers[WRITERS];
	_Atomic int64_t reads;
	_Atomic int ready; /* threads that are connected */
	_Atomic bool go, stop;
};

static struct live live;
static struct shared *shared;

static int64_t
get_load_ms(void)
{
	const char *text = getenv("LOAD_SECONDS");

	if (text)
		return strtol(text, NULL, 10) * 1000;
	return proc_get_slowness() > 1 ? 4000 : 10000;
}

static void
start_together(void)
{
	atomic_fetch_add(&shared->ready, 1);
	while (!atomic_load(&shared->go))
		sched_yield();
}

/* --- Writers -------------------------------------------------------------- */

static void
check_write(struct sqlpool_conn *conn, int rc)
{
	const struct sqlpool_error *e = sqlpool_get_error(conn);

	PROC_CHECK(rc == 0, "a write failed: %s: %s", e->name, e->message);
	PROC_CHECK(sqlpool_get_summary(conn)->changes == 1, "changes: %lld",
	    (long long)sqlpool_get_summary(conn)->changes);
}

/* One INSERT or one UPDATE, in turns. */
static void
write_one(struct sqlpool_conn *conn, int64_t id, int64_t n)
{
	struct writer *w = &shared->writers[id];
	int64_t began_us = clock_now_us(), took_us;

	if (n % 2) {
		check_write(conn,
		    sqlpool_exec(conn, "INSERT INTO log VALUES (?1, ?2)",
			SQLPOOL_VALUES(
			    SQLPOOL_INT(id), SQLPOOL_INT(n / 2 + 1))));
		atomic_store(&w->inserted, n / 2 + 1);
	} else {
		check_write(conn,
		    sqlpool_exec(conn,
			"UPDATE counter SET n = ?2 WHERE id = ?1",
			SQLPOOL_VALUES(SQLPOOL_INT(id), SQLPOOL_INT(n))));
		atomic_store(&w->updated, n);
	}
	took_us = clock_now_us() - began_us;
	if (took_us > atomic_load(&w->slowest_us))
		atomic_store(&w->slowest_us, took_us);
}

static void *
write_rows(void *arg)
{
	int64_t id = (struct writer *)arg - shared->writers;
	struct sqlpool_conn *conn = live_connect(&live, "writer");

	start_together();
	for (int64_t n = 1; !atomic_load(&shared->stop); n++)
		write_one(conn, id, n);
	sqlpool_close(conn);
	return NULL;
}

/* --- Readers -------------------------------------------------------------- */

static const char own_sql[] = "SELECT (SELECT count(*) FROM log WHERE id = ?1),"
			      " (SELECT n FROM counter WHERE id = ?1)";
/* Over the budget of a read that runs on the worker. */
static const char all_sql[] =
    "SELECT count(*), sum(n), (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL "
    "SELECT x + 1 FROM c LIMIT 20000) SELECT count(x) FROM c) FROM log";

/* Reading a row of two integers; inside a transaction it is a heavy reader's
 * snapshot. */
static void
read_two(struct sqlpool_conn *conn, const char *sql, int64_t id,
    int64_t *ret_first, int64_t *ret_second)
{
	struct sqlpool_result *result = NULL;
	struct sqlpool_value v = SQLPOOL_INT(id);
	int rc = sqlpool_query(conn, sql, &v, id < 0 ? 0 : 1, &result);

	PROC_CHECK(rc == 0 && sqlpool_next(result) == SQLPOOL_ROW,
	    "a read failed: %s", sqlpool_get_error(conn)->message);
	*ret_first = sqlpool_column_int64(result, 0);
	*ret_second = sqlpool_column_int64(result, 1);
	PROC_CHECK(sqlpool_next(result) == SQLPOOL_DONE, "its end: %s",
	    sqlpool_get_error(conn)->message);
	sqlpool_result_free(result);
	atomic_fetch_add(&shared->reads, 1);
}

static void
check_sees(const char *way, int64_t acknowledged, int64_t seen)
{
	PROC_CHECK(seen >= acknowledged,
	    "%s: %lld was acknowledged before, %lld was seen", way,
	    (long long)acknowledged, (long long)seen);
}

static void
check_own(struct sqlpool_conn *conn, const char *way, int64_t id)
{
	int64_t inserted = atomic_load(&shared->writers[id].inserted);
	int64_t updated = atomic_load(&shared->writers[id].updated);
	int64_t rows, n;

	read_two(conn, own_sql, id, &rows, &n);
	check_sees(way, inserted, rows);
	check_sees(way, updated, n);
}

static void *
read_inline(void *arg)
{
	struct sqlpool_conn *conn = live_connect(&live, "inline reader");

	(void)arg;
	start_together();
	for (int64_t i = 0; !atomic_load(&shared->stop); i++)
		check_own(conn, "inline", i % WRITERS);
	sqlpool_close(conn);
	return NULL;
}

static void
check_in_tx(struct sqlpool_conn *conn, int64_t id)
{
	int64_t rows, n, rows_again, n_again;
	int rc = sqlpool_begin(conn, SQLPOOL_TX_READ);

	PROC_CHECK(rc == 0, "BEGIN: %s", sqlpool_get_error(conn)->message);
	check_own(conn, "in a transaction", id);
	read_two(conn, own_sql, id, &rows, &n);
	read_two(conn, own_sql, id, &rows_again, &n_again);
	PROC_CHECK(rows == rows_again && n == n_again, "the snapshot moved");
	rc = sqlpool_commit(conn);
	PROC_CHECK(rc == 0, "COMMIT: %s", sqlpool_get_error(conn)->message);
}

static void *
read_in_tx(void *arg)
{
	struct sqlpool_conn *conn = live_connect(&live, "transaction reader");

	(void)arg;
	start_together();
	for (int64_t i = 0; !atomic_load(&shared->stop); i++)
		check_in_tx(conn, i % WRITERS);
	sqlpool_close(conn);
	return NULL;
}

static void *
read_long(void *arg)
{
	struct sqlpool_conn *conn = live_connect(&live, "long reader");

	(void)arg;
	start_together();
	while (!atomic_load(&shared->stop)) {
		int64_t acknowledged = 0, rows, sum;

		for (int i = 0; i < WRITERS; i++)
			acknowledged += atomic_load(
			    &shared->writers[i].inserted);
		read_two(conn, all_sql, -1, &rows, &sum);
		check_sees("long read", acknowledged, rows);
	}
	sqlpool_close(conn);
	return NULL;
}

/* --- Processes ------------------------------------------------------------ */

static void
join_all(const pthread_t *threads, int n)
{
	for (int i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
}

static void
run_writers(void *arg)
{
	struct writer *first = arg;
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, write_rows, first + i);
	join_all(threads, THREADS);
}

static void
run_readers(void *arg)
{
	pthread_t threads[3];

	(void)arg;
	pthread_create(&threads[0], NULL, read_inline, NULL);
	pthread_create(&threads[1], NULL, read_in_tx, NULL);
	pthread_create(&threads[2], NULL, read_long, NULL);
	join_all(threads, 3);
}

static bool
are_ready(const void *arg)
{
	const int *n = arg;

	return atomic_load(&shared->ready) == *n;
}

static void
make_tables(void)
{
	struct sqlpool_conn *conn = live_connect(&live, "setup");

	live_exec(conn,
	    "CREATE TABLE log(id INTEGER, n INTEGER, "
	    "PRIMARY KEY(id, n)) WITHOUT ROWID");
	live_exec(conn, "CREATE TABLE counter(id INTEGER PRIMARY KEY, n)");
	live_exec(conn,
	    "WITH RECURSIVE c(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM c "
	    "LIMIT 32) INSERT INTO counter SELECT x, 0 FROM c");
	sqlpool_close(conn);
}

static void
run_load(void)
{
	const struct timespec ms = { 0, 1000000 };
	const int all = WRITERS + READERS * 3;
	pid_t pids[PROCESSES + READERS];
	int64_t end_us;

	for (int i = 0; i < PROCESSES; i++)
		pids[i] = proc_fork(
		    run_writers, &shared->writers[(size_t)i * THREADS]);
	for (int i = 0; i < READERS; i++)
		pids[PROCESSES + i] = proc_fork(run_readers, NULL);
	proc_wait_until(are_ready, &all, "all clients to connect");
	atomic_store(&shared->go, true);
	end_us = clock_now_us() + get_load_ms() * 1000;
	while (clock_now_us() < end_us)
		nanosleep(&ms, NULL);
	atomic_store(&shared->stop, true);
	for (int i = 0; i < PROCESSES + READERS; i++)
		proc_join(pids[i]);
}

/* --- Afterwards ----------------------------------------------------------- */

static int64_t
get_total(void)
{
	int64_t total = 0;

	for (int i = 0; i < WRITERS; i++)
		total += atomic_load(&shared->writers[i].inserted);
	return total;
}

/* What must be found: all that was acknowledged, and nothing else, since every
 * writer had its last answer. */
static void
make_checks(char sql[WRITERS][256])
{
	for (int i = 0; i < WRITERS; i++) {
		struct writer *w = &shared->writers[i];

		snprintf(sql[i], sizeof(sql[i]),
		    "SELECT (SELECT count(*) = %lld AND max(n) = %lld AND "
		    "min(n) = 1 FROM log WHERE id = %d) AND (SELECT n = %lld "
		    "FROM counter WHERE id = %d)",
		    (long long)w->inserted, (long long)w->inserted, i,
		    (long long)w->updated, i);
	}
}

static void
check_through_daemon(void)
{
	struct sqlpool_conn *conn = live_connect(&live, "check");
	char sql[WRITERS][256];

	make_checks(sql);
	for (int i = 0; i < WRITERS; i++)
		PROC_CHECK(live_get_int(conn, sql[i]) == 1,
		    "rows are missing: %s", sql[i]);
	PROC_CHECK(
	    live_get_int(conn, "SELECT count(*) FROM log") == get_total(),
	    "rows that nobody wrote");
	sqlpool_close(conn);
	printf("%lld writes in %lld commits, slowest %lld us\n",
	    (long long)live_get_stat(&live, "writes"),
	    (long long)live_get_stat(&live, "commits"),
	    (long long)live_get_stat(&live, "write_us_max"));
	PROC_CHECK(live_get_stat(&live, "external_busy") == 0, "busy");
	PROC_CHECK(live_get_stat(&live, "errors") == 0, "errors");
}

static void
check_with_sqlite(void)
{
	char sql[WRITERS][256];

	make_checks(sql);
	for (int i = 0; i < WRITERS; i++)
		PROC_CHECK(live_read_file_int(live.db_path, sql[i]) == 1,
		    "rows are missing in the file: %s", sql[i]);
	live_check_file(live.db_path);
}

static void
check_fairness(void)
{
	int64_t least = INT64_MAX, most = 0, slowest_us = 0;

	for (int i = 0; i < WRITERS; i++) {
		struct writer *w = &shared->writers[i];
		int64_t n = w->inserted + w->updated / 2;

		least = n < least ? n : least;
		most = n > most ? n : most;
		if (w->slowest_us > slowest_us)
			slowest_us = w->slowest_us;
	}
	printf("%lld to %lld writes each, slowest %lld us; %lld reads\n",
	    (long long)least, (long long)most, (long long)slowest_us,
	    (long long)shared->reads);
	/* whoever gets its answer late asks late; the line's own fairness is
	 * check_turns.c's, and the figure make bench's */
	PROC_CHECK(least > 0 && most <= STARVED * least,
	    "starved: one made %lld writes, another one %lld", (long long)least,
	    (long long)most);
}

START_TEST(every_acknowledged_row_of_32_writers_is_there)
{
	struct stat st;
	char wal[LIVE_PATH_MAX + 8];
	char *log;

	live_init(&live);
	shared = proc_share(sizeof(*shared));
	live_start(&live, NULL);
	make_tables();
	run_load();
	check_through_daemon();
	live_stop(&live);
	snprintf(wal, sizeof(wal), "%s-wal", live.db_path);
	ck_assert_msg(stat(wal, &st) < 0 || st.st_size == 0, "the WAL is left");
	check_with_sqlite();
	check_fairness();
	log = live_read_log(&live);
	ck_assert_msg(!strstr(log, " error "), "%s", log);
	free(log);
	live_fini(&live);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("load");
	TCase *tc = tcase_create("load");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, every_acknowledged_row_of_32_writers_is_there);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
