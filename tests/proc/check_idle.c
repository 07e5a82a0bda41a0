/* check_idle.c - a daemon that has nothing to do sleeps, and its limits bite all the
 * same as soon as something has any.
 *
 * How often threads wake up is what the kernel has counted: each time that one
 * slept and woke it has switched of its own accord. */
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/clock.h"
#include "proto/error.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

enum { CLIENTS_N = 50 };

static struct live live;
static struct rawconn conns[CLIENTS_N];

/* Of one thread of the daemon. */
static long
count_wakes_of(const char *thread)
{
	char path[64], line[128];
	long n = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%.16s/status",
	    (int)live.pid, thread);
	file = fopen(path, "re");
	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof(line), file))
		if (strncmp(line, "voluntary_ctxt_switches:", 24) == 0)
			n = strtol(line + 24, NULL, 10);
	fclose(file);
	ck_assert_int_ge(n, 0);
	return n;
}

static long
count_main_wakes(void)
{
	char thread[16];

	snprintf(thread, sizeof(thread), "%d", (int)live.pid);
	return count_wakes_of(thread);
}

static long
count_all_wakes(void)
{
	const struct dirent *each;
	char path[64];
	long n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)live.pid);
	d = opendir(path);
	ck_assert_ptr_nonnull(d);
	while ((each = readdir(d)))
		if (each->d_name[0] != '.')
			n += count_wakes_of(each->d_name);
	closedir(d);
	return n;
}

static void
wait_ms(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

/* Three seconds with at most two wakes in each, of all threads together. */
static bool
sleeps(const void *arg)
{
	long before = count_all_wakes();

	(void)arg;
	wait_ms(3000);
	return count_all_wakes() - before <= 6;
}

/* The tick is slow. */
static bool
is_quiet(const void *arg)
{
	long before = count_main_wakes();

	(void)arg;
	wait_ms(350);
	return count_main_wakes() == before;
}

/* After all that it may have to do: clients, a write, a transaction that was held,
 * a long result, a WAL that was to be copied. */
START_TEST(an_idle_daemon_sleeps)
{
	live_init(&live);
	live_start(&live, LIVE_OPTIONS("workers=2", "inline_bytes=1KB"));
	for (int i = 0; i < CLIENTS_N; i++)
		raw_open(&conns[i], live.socket_path);
	raw_run(&conns[0], 0, "CREATE TABLE t(v)", 0);
	raw_begin(&conns[0], TX_MODE_IMMEDIATE);
	raw_run(&conns[0], 0,
	    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c"
	    " LIMIT 2000) INSERT INTO t SELECT x FROM c",
	    0);
	raw_end(&conns[0], true);
	raw_begin(&conns[1], TX_MODE_READ);
	raw_run(&conns[1], 0, "SELECT v FROM t", 0);
	raw_end(&conns[1], true);
	proc_wait_until(sleeps, NULL, "the daemon to sleep");
	for (int i = 0; i < CLIENTS_N; i++)
		raw_close(&conns[i]);
	live_stop(&live);
	live_check_file(live.db_path);
	live_fini(&live);
}
END_TEST

static int64_t expired_before;

static bool
has_expired(const void *arg)
{
	(void)arg;
	return live_get_stat(&live, "transactions_expired") > expired_before;
}

static const struct {
	enum msg_tx_mode mode;
	const char *sql;
} holders[] = {
	{ TX_MODE_IMMEDIATE, "INSERT INTO t VALUES(1)" },
	{ TX_MODE_READ, "SELECT count(*) FROM t" },
};

/* With a slow tick alone each of the ten would take a second. */
START_TEST(a_limit_is_seen_at_once_in_a_daemon_that_slept)
{
	int64_t took_us = 0;

	live_init(&live);
	live_start(&live, LIVE_OPTIONS("workers=1", "tx_max_age=50ms"));
	raw_open(&conns[0], live.socket_path);
	raw_run(&conns[0], 0, "CREATE TABLE t(v)", 0);
	for (int i = 0; i < 10; i++) {
		int64_t began_us;

		proc_wait_until(is_quiet, NULL, "a slow tick");
		expired_before = live_get_stat(&live, "transactions_expired");
		began_us = clock_now_us();
		raw_begin(&conns[0], holders[_i].mode);
		raw_run(&conns[0], 0, holders[_i].sql, 0);
		proc_wait_until(has_expired, NULL, "the end of the limit");
		took_us += clock_now_us() - began_us;
		raw_expect(&conns[0], raw_put_end(&conns[0], 0, false), 0);
	}
	ck_assert_int_lt(took_us, 6000000);
	raw_close(&conns[0]);
	live_stop(&live);
	live_fini(&live);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("idle");
	TCase *tc = tcase_create("idle");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 100);
	/* (ThreadSanitizer has a thread of its own, which does not) */
	if (proc_get_slowness() == 1)
		tcase_add_test(tc, an_idle_daemon_sleeps);
	tcase_add_loop_test(tc, a_limit_is_seen_at_once_in_a_daemon_that_slept,
	    0, sizeof(holders) / sizeof(holders[0]));
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
