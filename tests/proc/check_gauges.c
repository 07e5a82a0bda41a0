/* check_gauges.c - the gauges of the page for Prometheus, compared with what is so:
 * each GAUGE and DB_GAUGE of daemon/stats.def.  (tests/check_counters.py looks that
 * none is forgotten.) */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "proto/error.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

#define INSERT "INSERT INTO t VALUES(1)"

static struct live live;
static struct sqlpool_conn *admin;
static struct rawconn a, b;

static void
open_to(struct rawconn *c, const char *database)
{
	raw_connect(c, live.socket_path);
	c->database = database;
	raw_expect(c, raw_put_hello(c), 0);
}

static void
start(const char *const *options)
{
	live_start(&live, options);
	admin = live_connect_admin(&live);
	open_to(&a, "app");
	open_to(&b, "app");
	raw_run(&a, 0, "CREATE TABLE t(v)", 0);
}

static void
stop(void)
{
	sqlpool_close(admin);
	raw_close(&a);
	raw_close(&b);
	live_stop(&live);
	live_fini(&live);
}

/* Of the daemon, or of the database app. */
static double
get(const char *name)
{
	char *page = live_ask(admin, "SHOW METRICS", NULL);
	char own[96], of_db[96];
	const char *at, *value;
	double v;

	snprintf(own, sizeof(own), "\nsqlpool_%s ", name);
	snprintf(of_db, sizeof(of_db), "\nsqlpool_%s{database=\"app\"} ", name);
	at = strstr(page, own);
	if (!at)
		at = strstr(page, of_db);
	ck_assert_msg(at, "%s", name);
	value = strchr(at, ' ');
	ck_assert_ptr_nonnull(value);
	v = strtod(value, NULL);
	free(page);
	return v;
}

static void
expect_gauge(const char *name, double want)
{
	double v = get(name);

	ck_assert_msg(v == want, "%s is %g, not %g", name, v, want);
}

static void
expect_between(const char *name, double least, double most)
{
	double v = get(name);

	ck_assert_msg(v >= least && v <= most, "%s is %g, not from %g to %g",
	    name, v, least, most);
}

/* Seconds since a moment. */
static double
get_s(int64_t since_us)
{
	return (double)(clock_now_us() - since_us) / 1e6;
}

/* Of what began after one moment and before another. */
static void
expect_age(const char *name, int64_t after_us, int64_t before_us)
{
	double least = get_s(before_us), v = get(name);

	ck_assert_msg(v >= least && v <= get_s(after_us),
	    "%s is %g, not from %g to %g", name, v, least, get_s(after_us));
}

/* With its head: sqlite.org/fileformat2.html, "WAL Format". */
#define WAL_HEAD_BYTES 32

static double
get_wal_file_bytes(void)
{
	char path[LIVE_PATH_MAX + 8];
	struct stat st;

	snprintf(path, sizeof(path), "%s-wal", live.db_path);
	ck_assert_int_eq(stat(path, &st), 0);
	return (double)st.st_size;
}

START_TEST(gauges_of_the_daemon)
{
	int64_t launched_us = clock_now_us(), ready_us;
	char directory[LIVE_PATH_MAX + 16], option[LIVE_PATH_MAX + 32];
	struct rawconn tenant;
	uint64_t ids[3];

	live_init(&live);
	snprintf(directory, sizeof(directory), "%s/tenants", live.dir);
	snprintf(option, sizeof(option), "directory=%s", directory);
	ck_assert_int_eq(mkdir(directory, 0700), 0);
	start(LIVE_OPTIONS("workers=1", option, "create=on"));
	ready_us = clock_now_us();
	/* the epoch is of the wall clock, which may be corrected */
	expect_between(
	    "uptime_seconds", get_s(ready_us) - 0.1, get_s(launched_us) + 0.1);
	expect_between("memory_bytes", (double)live_get_rss_kb(&live) * 512,
	    (double)live_get_rss_kb(&live) * 2048);
	expect_gauge("clients", 3);
	expect_gauge("databases", 1);
	expect_gauge("databases_open", 1);
	open_to(&tenant, "one");
	raw_run(&tenant, 0, "CREATE TABLE t(v)", 0);
	expect_gauge("clients", 4);
	expect_gauge("databases", 2);
	expect_gauge("databases_open", 2);
	free(live_ask(admin, "PAUSE app", NULL));
	expect_gauge("databases", 2);
	expect_gauge("databases_open", 1);
	/* SHOW METRICS sees itself; three wait until app is open again */
	expect_gauge("requests_in_flight", 1);
	for (int i = 0; i < 3; i++)
		ids[i] = raw_put_exec(&a, 0, INSERT);
	raw_let_arrive(&a);
	expect_gauge("requests_in_flight", 4);
	free(live_ask(admin, "RESUME app", NULL));
	for (int i = 0; i < 3; i++)
		raw_expect(&a, ids[i], 0);
	expect_gauge("requests_in_flight", 1);
	raw_close(&tenant);
	stop();
}
END_TEST

START_TEST(gauges_of_a_writer_and_its_line)
{
	int64_t before_us, held_us, put_us, waits_us;
	uint64_t ids[3];

	live_init(&live);
	start(LIVE_OPTIONS("workers=2"));
	expect_gauge("writer_queue", 0);
	expect_gauge("writer_queue_bytes", 0);
	expect_gauge("writer_oldest_seconds", 0);
	expect_gauge("writer_held_seconds", 0);
	before_us = clock_now_us();
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, INSERT, 0);
	held_us = clock_now_us();
	put_us = clock_now_us();
	for (int i = 0; i < 3; i++)
		ids[i] = raw_put_exec(&a, 0, INSERT);
	raw_flush(&a);
	live_wait_queue(&live, 3);
	waits_us = clock_now_us();
	expect_gauge("writer_queue", 3);
	expect_between("writer_queue_bytes", 3 * (sizeof(INSERT) - 1),
	    3 * (sizeof(INSERT) + 100));
	expect_age("writer_oldest_seconds", put_us, waits_us);
	expect_age("writer_held_seconds", before_us, held_us);
	expect_gauge("requests_in_flight", 4);
	raw_end(&b, true);
	for (int i = 0; i < 3; i++)
		raw_expect(&a, ids[i], 0);
	expect_gauge("writer_queue", 0);
	expect_gauge("writer_held_seconds", 0);
	stop();
}
END_TEST

static bool
one_waits(const void *arg)
{
	(void)arg;
	return get("reader_queue") == 1;
}

START_TEST(gauges_of_readers_and_their_line)
{
	int64_t before_us, held_us, put_us, waits_us;
	uint64_t id;

	live_init(&live);
	start(LIVE_OPTIONS("workers=2", "read_connections=1"));
	expect_gauge("readers_busy", 0);
	expect_gauge("snapshots", 0);
	expect_gauge("snapshot_age_seconds", 0);
	expect_gauge("reader_oldest_seconds", 0);
	before_us = clock_now_us();
	raw_begin(&b, TX_MODE_READ);
	raw_run(&b, 0, "SELECT * FROM t", 0);
	held_us = clock_now_us();
	expect_gauge("readers_open", 1);
	expect_gauge("readers_busy", 1);
	expect_gauge("snapshots", 1);
	expect_age("snapshot_age_seconds", before_us, held_us);
	expect_gauge("reader_queue", 0);
	put_us = clock_now_us();
	raw_put_begin(&a, 1, TX_MODE_READ);
	id = raw_put_exec(&a, 1, "SELECT * FROM t");
	raw_flush(&a);
	proc_wait_until(one_waits, NULL, "that a read waits");
	waits_us = clock_now_us();
	expect_gauge("reader_queue", 1);
	expect_age("reader_oldest_seconds", put_us, waits_us);
	raw_end(&b, true);
	raw_expect(&a, id, 0);
	expect_gauge("reader_queue", 0);
	stop();
}
END_TEST

static bool
file_was_seen(const void *arg)
{
	(void)arg;
	return get("wal_file_bytes") == get_wal_file_bytes();
}

static bool
is_over(const void *arg)
{
	(void)arg;
	return get("wal_over_seconds") > 0;
}

/* Before anything is copied, all of the file is in use. */
START_TEST(gauges_of_a_wal)
{
	int64_t before_us;

	live_init(&live);
	start(
	    LIVE_OPTIONS("workers=2", "wal_limit=256KB", "optimize_every=off"));
	raw_begin(&b, TX_MODE_READ);
	raw_run(&b, 0, "SELECT * FROM t", 0);
	raw_run(&a, 0, INSERT, 0);
	expect_gauge("wal_bytes", get_wal_file_bytes() - WAL_HEAD_BYTES);
	expect_gauge(
	    "wal_pending_bytes", get_wal_file_bytes() - WAL_HEAD_BYTES);
	expect_gauge("wal_over_seconds", 0);
	before_us = clock_now_us();
	raw_run(&a, 0, "INSERT INTO t VALUES(zeroblob(400000))", 0);
	expect_gauge("wal_bytes", get_wal_file_bytes() - WAL_HEAD_BYTES);
	expect_between("wal_pending_bytes", 400000, get_wal_file_bytes());
	proc_wait_until(file_was_seen, NULL, "that the file is looked at");
	expect_gauge("wal_file_bytes", get_wal_file_bytes());
	proc_wait_until(is_over, NULL, "that the WAL is over its limit");
	expect_between("wal_over_seconds", 0, get_s(before_us));
	raw_end(&b, true);
	stop();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gauges");
	TCase *tc = tcase_create("gauges");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, gauges_of_the_daemon);
	tcase_add_test(tc, gauges_of_a_writer_and_its_line);
	tcase_add_test(tc, gauges_of_readers_and_their_line);
	tcase_add_test(tc, gauges_of_a_wal);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
