/* check_patience.c - a daemon that looks for more to do before it sleeps, as
 * long as that pays. */
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
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
