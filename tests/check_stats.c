/* check_stats.c - counters of threads, and their sums. */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "daemon/stats.h"
#include "proto/error.h"
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

/* --- Connections' sets ------------------------------------------------------ */

/* A bound's bucket holds it; the next value is in the next one. */
START_TEST(stats_observe_in_the_bucket_whose_bound_is_not_exceeded)
{
	struct stats_set *set = stats_open("app", STATS_READER);
	struct stats_total total = { 0 };
	const struct stats_sum *sum =
	    &total.hists[HIST_queue_wait][STATS_READER];
	uint64_t all = 0;

	ck_assert_ptr_nonnull(set);
	for (int i = 0; i < STATS_BOUNDS_N; i++) {
		stats_observe(set, HIST_queue_wait,
		    (int64_t)stats_bounds[HIST_queue_wait][i]);
		stats_observe(set, HIST_queue_wait,
		    (int64_t)stats_bounds[HIST_queue_wait][i] + 1);
		all += 2 * (uint64_t)stats_bounds[HIST_queue_wait][i] + 1;
	}
	stats_observe(set, HIST_queue_wait, 0);
	stats_observe(set, HIST_queue_wait, -1); /* a clock that was set back */
	stats_add_total(stats_next_db(NULL), &total);
	ck_assert_uint_eq(sum->n[0], 3);
	for (int i = 1; i < STATS_BOUNDS_N; i++)
		ck_assert_uint_eq(sum->n[i], 2);
	ck_assert_uint_eq(sum->n[STATS_BOUNDS_N], 1);
	ck_assert_uint_eq(sum->sum, all);
	ck_assert_uint_eq(stats_get_observed(sum), 2 * STATS_BOUNDS_N + 2);
	stats_close(set);
}
END_TEST

START_TEST(stats_bounds_rise_from_50_us_to_10_s)
{
	for (int h = 0; h < HIST_N; h++)
		for (int i = 1; i < STATS_BOUNDS_N; i++)
			ck_assert_uint_gt(
			    stats_bounds[h][i], stats_bounds[h][i - 1]);
	ck_assert_uint_eq(stats_bounds[HIST_execution][0], 50);
	ck_assert_uint_eq(
	    stats_bounds[HIST_execution][STATS_BOUNDS_N - 1], 10000000);
}
END_TEST

/* What one road counted is not another's; a closed connection's stays. */
START_TEST(stats_of_closed_connections_stay_with_their_database)
{
	struct stats_set *sets[] = { stats_open("app", STATS_INLINE),
		stats_open("app", STATS_WRITER),
		stats_open("logs", STATS_WRITER) };
	struct stats_db *app = stats_next_db(NULL), *logs = stats_next_db(app);

	ck_assert_ptr_null(stats_next_db(logs));
	ck_assert_str_eq(stats_get_db_name(app), "app");
	ck_assert_str_eq(stats_get_db_name(logs), "logs");
	for (int round = 0; round < 2; round++) {
		struct stats_total of_app = { 0 }, of_logs = { 0 };

		for (int i = 0; round == 0 && i < 3; i++) {
			stats_count(sets[i], DB_STAT_failed, (uint64_t)i + 1);
			stats_observe(sets[i], HIST_execution, 60);
		}
		stats_add_total(app, &of_app);
		stats_add_total(logs, &of_logs);
		ck_assert_uint_eq(of_app.counts[DB_STAT_failed], 1 + 2);
		ck_assert_uint_eq(of_logs.counts[DB_STAT_failed], 3);
		for (int road = 0; road < STATS_ROADS_N; road++) {
			ck_assert_uint_eq(
			    of_app.hists[HIST_execution][road].n[1],
			    road != STATS_READER);
			ck_assert_uint_eq(
			    of_logs.hists[HIST_execution][road].sum,
			    road == STATS_WRITER ? 60 : 0);
		}
		for (int i = 0; round == 0 && i < 3; i++)
			stats_close(sets[i]);
	}
	stats_close(NULL);
}
END_TEST

START_TEST(stats_quantiles_are_bounds_of_buckets)
{
	struct stats_sum sum = { .n = { 0 } };

	ck_assert_uint_eq(stats_get_quantile(HIST_commit, &sum, 0.5), 0);
	sum.n[2] = 98;
	sum.n[5] = 1;
	sum.n[STATS_BOUNDS_N] = 1;
	ck_assert_uint_eq(stats_get_quantile(HIST_commit, &sum, 0.5), 250);
	ck_assert_uint_eq(stats_get_quantile(HIST_commit, &sum, 0.98), 250);
	ck_assert_uint_eq(stats_get_quantile(HIST_commit, &sum, 0.99), 2500);
	ck_assert_uint_eq(stats_get_quantile(HIST_commit, &sum, 1), 10000000);
}
END_TEST

START_TEST(stats_count_errors_by_their_place_in_the_table)
{
	stats_attach();
	stats_add_error(ERR_DEADLINE);
	stats_add_error(2067);
	stats_add_error(2067);
	stats_add_error(19 | 77 << 8); /* unknown: its primary code's */
	stats_add_error(-5);           /* unknown altogether */
	ck_assert_uint_eq(stats_get_error(ERROR_INDEX_DEADLINE), 1);
	ck_assert_uint_eq(
	    stats_get_error(ERROR_INDEX_SQLITE_CONSTRAINT_UNIQUE), 2);
	ck_assert_uint_eq(stats_get_error(ERROR_INDEX_SQLITE_CONSTRAINT), 1);
	ck_assert_uint_eq(stats_get_error(ERROR_INDEX_UNKNOWN), 1);
	ck_assert_uint_eq(stats_get(STAT_errors), 5);
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
	tcase_add_test(
	    tc, stats_observe_in_the_bucket_whose_bound_is_not_exceeded);
	tcase_add_test(tc, stats_bounds_rise_from_50_us_to_10_s);
	tcase_add_test(
	    tc, stats_of_closed_connections_stay_with_their_database);
	tcase_add_test(tc, stats_quantiles_are_bounds_of_buckets);
	tcase_add_test(tc, stats_count_errors_by_their_place_in_the_table);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
