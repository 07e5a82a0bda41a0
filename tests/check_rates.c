/* check_rates.c - what counters grew by in the last minute. */
#include <check.h>
#include <pthread.h>
#include <time.h>

#include "daemon/rates.h"
#include "tests/lib/fixture.h"

#define SECOND INT64_C(1000000)

START_TEST(rates_are_those_between_the_first_and_the_last_look)
{
	stats_attach();
	ck_assert_double_eq(rates_get(STAT_requests), 0);
	rates_tick(5 * SECOND);
	stats_add(STAT_requests, 30);
	ck_assert_double_eq(rates_get(STAT_requests), 0);
	rates_tick(5 * SECOND + SECOND / 2); /* too early: it is no look */
	ck_assert_double_eq(rates_get(STAT_requests), 0);
	rates_tick(7 * SECOND);
	ck_assert_double_eq(rates_get(STAT_requests), 15);
	rates_tick(8 * SECOND);
	ck_assert_double_eq(rates_get(STAT_requests), 10);
	ck_assert_double_eq(rates_get(STAT_errors), 0);
}
END_TEST

START_TEST(rates_forget_what_is_older_than_a_minute)
{
	stats_attach();
	rates_tick(SECOND);
	stats_add(STAT_requests, 6000);
	for (int i = 2; i <= 61; i++)
		rates_tick(i * SECOND);
	ck_assert_double_eq(rates_get(STAT_requests), 100);
	rates_tick(62 * SECOND);
	ck_assert_double_eq(rates_get(STAT_requests), 0);
	for (int i = 63; i <= 200; i++) {
		stats_add(STAT_requests, 7);
		rates_tick(i * SECOND);
	}
	ck_assert_double_eq(rates_get(STAT_requests), 7);
}
END_TEST

static int64_t
read_cpu_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* Half of the time that has passed, by the clock that the test gives. */
START_TEST(rates_know_how_busy_a_thread_is)
{
	int64_t began_us, used_us;

	stats_attach();
	ck_assert_double_eq(stats_get_busy(), 0);
	stats_sample_busy(SECOND);
	began_us = read_cpu_us();
	do
		used_us = read_cpu_us() - began_us;
	while (used_us < 20000);
	stats_sample_busy(SECOND + 2 * used_us);
	ck_assert_double_ge(stats_get_busy(), 0.5);
	ck_assert_double_lt(stats_get_busy(), 0.75);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("rates");
	TCase *tc = tcase_create("rates");

	tcase_add_test(tc, rates_are_those_between_the_first_and_the_last_look);
	tcase_add_test(tc, rates_forget_what_is_older_than_a_minute);
	tcase_add_test(tc, rates_know_how_busy_a_thread_is);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
