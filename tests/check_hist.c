/* check_hist.c - times into percentiles. */
#include "client/bench/hist.h"

#include <check.h>
#include <stdlib.h>

static struct hist *
make_hist(void)
{
	struct hist *h = calloc(1, sizeof(*h));

	ck_assert_ptr_nonnull(h);
	return h;
}

START_TEST(hist_without_times_is_all_zeros)
{
	struct hist *h = make_hist();

	ck_assert_uint_eq(hist_percentile(h, 0.5), 0);
	ck_assert_uint_eq(hist_percentile(h, 1), 0);
	ck_assert(hist_mean(h) == 0);
	free(h);
}
END_TEST

START_TEST(hist_percentile_is_at_most_1_percent_above)
{
	struct hist *h = make_hist();

	for (uint64_t t = 1; t < UINT64_C(1) << 43; t = t * 9 / 8 + 1) {
		uint64_t p;

		*h = (struct hist){ 0 };
		hist_add(h, (int64_t)t);
		/* a greater one, so that the maximum does not hide it */
		hist_add(h, INT64_MAX);
		p = hist_percentile(h, 0.5);
		ck_assert_uint_ge(p, t);
		ck_assert_uint_le(p - t, t / 100);
	}
	free(h);
}
END_TEST

START_TEST(hist_percentiles_of_1_to_100)
{
	struct hist *h = make_hist();

	for (int64_t t = 1; t <= 100; t++)
		hist_add(h, t);
	ck_assert_uint_eq(hist_percentile(h, 0.5), 50);
	ck_assert_uint_eq(hist_percentile(h, 0.9), 90);
	ck_assert_uint_eq(hist_percentile(h, 0.99), 99);
	ck_assert_uint_eq(hist_percentile(h, 0.999), 100);
	ck_assert_uint_eq(hist_percentile(h, 0), 1);
	ck_assert(hist_mean(h) == 50.5);
	free(h);
}
END_TEST

START_TEST(hist_never_exceeds_the_greatest_time)
{
	struct hist *h = make_hist();

	hist_add(h, 1000001);
	ck_assert_uint_eq(hist_percentile(h, 0.9999), 1000001);
	ck_assert_uint_eq(h->max_ns, 1000001);
	hist_add(h, INT64_MAX);
	ck_assert_uint_eq(hist_percentile(h, 1), INT64_MAX);
	free(h);
}
END_TEST

START_TEST(hist_takes_a_time_below_0_as_0)
{
	struct hist *h = make_hist();

	hist_add(h, -5);
	ck_assert_uint_eq(h->n, 1);
	ck_assert_uint_eq(h->sum_ns, 0);
	ck_assert_uint_eq(hist_percentile(h, 1), 0);
	free(h);
}
END_TEST

START_TEST(hist_merged_is_as_if_it_had_counted_all)
{
	struct hist *all = make_hist(), *a = make_hist(), *b = make_hist();

	for (int64_t t = 1; t < 2000000; t = t * 5 / 4 + 1) {
		hist_add(all, t);
		hist_add(t % 3 == 0 ? a : b, t);
	}
	hist_merge(a, b);
	ck_assert_mem_eq(a, all, sizeof(*all));
	*b = (struct hist){ 0 };
	hist_merge(a, b);
	ck_assert_mem_eq(a, all, sizeof(*all));
	free(all);
	free(a);
	free(b);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("hist");
	TCase *tc = tcase_create("hist");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(tc, hist_without_times_is_all_zeros);
	tcase_add_test(tc, hist_percentile_is_at_most_1_percent_above);
	tcase_add_test(tc, hist_percentiles_of_1_to_100);
	tcase_add_test(tc, hist_never_exceeds_the_greatest_time);
	tcase_add_test(tc, hist_takes_a_time_below_0_as_0);
	tcase_add_test(tc, hist_merged_is_as_if_it_had_counted_all);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
