/* check_stats.c - counters of threads, and their sums. */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "daemon/stats.h"
#include "tests/lib/fixture.h"

#define THREADS_N 4

START_TEST(stats_before_attach_are_lost)
{
	stats_add(STAT_requests, 5);
	stats_max(STAT_write_us_max, 5);
	ck_assert_uint_eq(stats_get(STAT_requests), 0);
	stats_attach();
	stats_attach(); /* once is enough */
	stats_add(STAT_requests, 5);
	stats_add(STAT_requests, 2);
	ck_assert_uint_eq(stats_get(STAT_requests), 7);
	ck_assert_uint_eq(stats_get(STAT_errors), 0);
}
END_TEST

START_TEST(stats_keep_the_largest)
{
	stats_attach();
	stats_max(STAT_group_size_max, 3);
	stats_max(STAT_group_size_max, 8);
	stats_max(STAT_group_size_max, 5);
	ck_assert_uint_eq(stats_get(STAT_group_size_max), 8);
}
END_TEST

static void *
count(void *arg)
{
	uint64_t n = *(const uint64_t *)arg;

	stats_attach();
	for (int i = 0; i < 10000; i++) {
		stats_add(STAT_requests, 1);
		stats_max(STAT_write_us_max, n);
	}
	return NULL;
}

/* The sums are looked at meanwhile, and never shrink. */
START_TEST(stats_of_threads_are_summed_also_when_they_have_ended)
{
	uint64_t largest[THREADS_N] = { 4, 1, 9, 2 }, before = 0;
	pthread_t threads[THREADS_N];

	for (int i = 0; i < THREADS_N; i++)
		ck_assert_int_eq(
		    pthread_create(&threads[i], NULL, count, &largest[i]), 0);
	for (int i = 0; i < 1000; i++) {
		uint64_t now = stats_get(STAT_requests);

		if (now < before)
			ck_abort_msg("the sum shrank");
		before = now;
	}
	for (int i = 0; i < THREADS_N; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(stats_get(STAT_requests), 40000);
	ck_assert_uint_eq(stats_get(STAT_write_us_max), 9);
}
END_TEST

START_TEST(stats_have_names_and_texts)
{
	for (int i = 0; i < STAT_N; i++) {
		const char *name = stats_get_name((enum stats_id)i);

		ck_assert_ptr_nonnull(name);
		ck_assert_uint_gt(strlen(stats_get_text((enum stats_id)i)), 5);
		for (int k = 0; k < i; k++)
			ck_assert_str_ne(
			    name, stats_get_name((enum stats_id)k));
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("stats");
	TCase *tc = tcase_create("stats");

	tcase_add_test(tc, stats_before_attach_are_lost);
	tcase_add_test(tc, stats_keep_the_largest);
	tcase_add_test(
	    tc, stats_of_threads_are_summed_also_when_they_have_ended);
	tcase_add_test(tc, stats_have_names_and_texts);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
