/* check_patience.c - a daemon that looks for more to do before it sleeps, and
 * clients that look for their answers, as long as that pays. */
#include <check.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

static struct live live;

static void
set_up(void)
{
	live_init(&live);
}

static void
tear_down(void)
{
	live_fini(&live);
}

/* So many requests, each so long after the answer to the one before. */
static void
ask_often(int n, useconds_t pause_us)
{
	struct rawconn c;

	raw_open(&c, live.socket_path);
	for (int i = 0; i < n; i++) {
		if (pause_us)
			usleep(pause_us);
		raw_expect(&c, raw_put(&c, TYPE_PING, 0), 0);
	}
	raw_close(&c);
}

START_TEST(a_worker_looks_for_more_before_it_sleeps)
{
	live_start(&live, LIVE_OPTIONS("workers=1"));
	ask_often(100, 0);
	ck_assert_int_gt(live_get_stat(&live, "looks"), 0);
}
END_TEST

/* The pauses are longer than a look, which is all that matters of them. */
START_TEST(a_worker_stops_looking_in_vain)
{
	live_start(&live, LIVE_OPTIONS("workers=1", "poll_time=1ms"));
	ask_often(160, 2000);
	ck_assert_int_le(live_get_stat(&live, "looks"), 40);
	ck_assert_int_gt(live_get_stat(&live, "looks_in_vain"), 0);
}
END_TEST

START_TEST(a_worker_never_looks_when_it_is_told_so)
{
	live_start(&live, LIVE_OPTIONS("workers=1", "poll_time=off"));
	ask_often(100, 0);
	ck_assert_int_eq(live_get_stat(&live, "looks"), 0);
}
END_TEST

static void
ask_for_ever(void *arg)
{
	ask_often(5000, 0);
	proc_gate_open(arg);
	for (;;)
		ask_often(1000, 0);
}

/* One client asks without a pause, so that the worker looks at its socket alone:
 * others that come are heard, and when it is gone nobody looks at it. */
START_TEST(a_worker_that_looks_at_one_client_lets_go_of_it)
{
	struct rawconn others[3];
	struct proc_gate gate;
	pid_t busy;

	live_start(&live, LIVE_OPTIONS("workers=1", "poll_time=10ms"));
	proc_gate_init(&gate);
	busy = proc_fork(ask_for_ever, &gate);
	proc_gate_wait(&gate);
	for (int i = 0; i < 3; i++)
		raw_open(&others[i], live.socket_path);
	for (int k = 0; k < 100; k++)
		for (int i = 0; i < 3; i++)
			raw_expect(
			    &others[i], raw_put(&others[i], TYPE_PING, 0), 0);
	for (int i = 0; i < 3; i++)
		raw_close(&others[i]);
	proc_kill(busy);
	ask_often(100, 0);
	proc_gate_fini(&gate);
}
END_TEST

/* Whatever it is told, and whether or not looking pays: answers come, a child
 * finds out that it is one, and a deadline holds. */
START_TEST(a_client_looks_as_long_as_it_is_told)
{
	static const int32_t times_us[] = { -1, 0, 1, INT32_MAX };
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	struct sqlpool_conn *conn;

	live_start(&live, NULL);
	options.socket_path = live.socket_path;
	options.poll_time_us = times_us[_i];
	options.request_timeout_ms = 100;
	ck_assert_int_eq(sqlpool_open(&options, &conn), 0);
	for (int i = 0; i < 300; i++)
		ck_assert_int_eq(live_get_int(conn, "SELECT 5"), 5);
	ck_assert_int_eq(
	    sqlpool_exec(conn,
		"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM "
		"c) SELECT max(x) FROM c",
		NULL, 0),
	    -SQLPOOL_ERR_DEADLINE);
	ck_assert_int_eq(live_get_int(conn, "SELECT 6"), 6);
	sqlpool_close(conn);
}
END_TEST

/* The children of a child know it as well, also when it has a connection of its
 * own. */
static void
be_child(void *arg)
{
	struct sqlpool_conn *parents = arg;
	struct sqlpool_conn *own;

	PROC_CHECK(sqlpool_ping(parents) == -SQLPOOL_ERR_MISUSE, "not refused");
	own = live_connect(&live, "child");
	PROC_CHECK(live_get_int(own, "SELECT 7") == 7, "its own does not work");
	PROC_CHECK(sqlpool_ping(parents) == -SQLPOOL_ERR_MISUSE,
	    "not refused any more");
	sqlpool_close(own);
	sqlpool_close(parents);
}

START_TEST(a_child_is_told_from_its_parent)
{
	struct sqlpool_conn *conn;

	live_start(&live, NULL);
	conn = live_connect(&live, "parent");
	for (int i = 0; i < 3; i++) {
		proc_join(proc_fork(be_child, conn));
		ck_assert_int_eq(live_get_int(conn, "SELECT 8"), 8);
	}
	sqlpool_close(conn);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("patience");
	TCase *tc = tcase_create("worker");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, a_worker_looks_for_more_before_it_sleeps);
	tcase_add_test(tc, a_worker_stops_looking_in_vain);
	tcase_add_test(tc, a_worker_never_looks_when_it_is_told_so);
	tcase_add_test(tc, a_worker_that_looks_at_one_client_lets_go_of_it);
	suite_add_tcase(s, tc);
	tc = tcase_create("library");
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_set_timeout(tc, 15);
	tcase_add_loop_test(tc, a_client_looks_as_long_as_it_is_told, 0, 4);
	tcase_add_test(tc, a_child_is_told_from_its_parent);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
