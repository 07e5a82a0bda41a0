/* check_keys.c - which row comes next. */
#include "client/bench/keys.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct bench_plan
make_plan(enum bench_keys kind, uint64_t rows_n)
{
	return (struct bench_plan){
		.keys = kind,
		.rows_n = rows_n,
		.clients_n = 4,
		.zipf_s = 1,
		.scale_n = 3,
		.seed = 7,
	};
}

/* clang-format off */
static const struct {
	enum bench_keys kind;
	uint64_t rows_n;
	double zipf_s;
} drawn[] = {
	{ BENCH_UNIFORM, 1, 0 },
	{ BENCH_UNIFORM, 10, 0 },
	{ BENCH_UNIFORM, 9999999999, 0 },
	{ BENCH_ZIPF, 1, 1 },
	{ BENCH_ZIPF, 10, 1 },
	{ BENCH_ZIPF, 10, 0.5 },
	{ BENCH_ZIPF, 1000000, 2.5 },
	{ BENCH_ZIPF, 9999999999, 0.99 },
	{ BENCH_SERIAL, 1, 0 },
	{ BENCH_SERIAL, 10, 0 },
	{ BENCH_OWN, 2, 0 },
};
/* clang-format on */

START_TEST(keys_are_rows_that_exist)
{
	struct bench_plan plan = make_plan(drawn[_i].kind, drawn[_i].rows_n);
	struct keys keys;

	plan.zipf_s = drawn[_i].zipf_s;
	for (unsigned client = 0; client < plan.clients_n; client++) {
		keys_init(&keys, &plan, client);
		for (int i = 0; i < 1000; i++) {
			uint64_t key = keys_next(&keys);

			ck_assert_uint_ge(key, 1);
			ck_assert_uint_le(key, plan.rows_n);
		}
	}
}
END_TEST

START_TEST(keys_of_one_seed_are_the_same_and_clients_differ)
{
	struct bench_plan plan = make_plan(BENCH_UNIFORM, 1000000);
	struct keys a, b, other, seeded;
	unsigned same = 0;

	keys_init(&a, &plan, 1);
	keys_init(&b, &plan, 1);
	keys_init(&other, &plan, 2);
	plan.seed++;
	keys_init(&seeded, &plan, 1);
	for (int i = 0; i < 100; i++) {
		uint64_t key = keys_next(&a);

		ck_assert_uint_eq(key, keys_next(&b));
		same += key == keys_next(&other);
		same += key == keys_next(&seeded);
	}
	ck_assert_uint_le(same, 2);
}
END_TEST

START_TEST(keys_in_a_row_begin_at_a_place_of_each_client)
{
	struct bench_plan plan = make_plan(BENCH_SERIAL, 8);
	static const uint64_t wanted[] = { 7, 8, 1, 2, 3, 4, 5, 6, 7 };
	struct keys keys;

	keys_init(&keys, &plan, 3);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		ck_assert_uint_eq(keys_next(&keys), wanted[i]);
}
END_TEST

START_TEST(key_of_its_own_is_the_client_number_plus_one)
{
	struct bench_plan plan = make_plan(BENCH_OWN, 3);
	struct keys keys;

	for (unsigned client = 0; client < 4; client++) {
		keys_init(&keys, &plan, client);
		ck_assert_uint_eq(keys_next(&keys), client % 3 + 1);
		ck_assert_uint_eq(keys_next(&keys), client % 3 + 1);
	}
}
END_TEST

static int
compare_counts(const void *a, const void *b)
{
	unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;

	return x < y ? 1 : x > y ? -1 : 0;
}

/* The counts of the keys, sorted, are as the law says, within five times their
 * standard deviation; that is wide enough for never, and the seed is fixed. */
START_TEST(keys_of_zipf_are_as_frequent_as_the_law_says)
{
	enum { ROWS = 50, DRAWS = 200000 };
	static const double exponents[] = { 0.5, 1, 2 };
	struct bench_plan plan = make_plan(BENCH_ZIPF, ROWS);
	unsigned counts[ROWS] = { 0 };
	struct keys keys;
	double sum = 0;

	plan.zipf_s = exponents[_i];
	keys_init(&keys, &plan, 0);
	for (int i = 0; i < DRAWS; i++)
		counts[keys_next(&keys) - 1]++;
	qsort(counts, ROWS, sizeof(counts[0]), compare_counts);
	for (int k = 1; k <= ROWS; k++)
		sum += pow(k, -plan.zipf_s);
	/* sorting moves the rare ones, whose frequencies are nearly equal */
	for (int k = 1; k <= 10; k++) {
		double wanted = DRAWS * pow(k, -plan.zipf_s) / sum;

		ck_assert_double_eq_tol(
		    counts[k - 1], wanted, 5 * sqrt(wanted));
	}
}
END_TEST

START_TEST(keys_drawn_often_by_zipf_are_not_neighbours)
{
	struct bench_plan plan = make_plan(BENCH_ZIPF, 1000);
	static unsigned counts[1000];
	unsigned first = 0, second = 1;
	struct keys keys;

	keys_init(&keys, &plan, 0);
	for (int i = 0; i < 100000; i++)
		counts[keys_next(&keys) - 1]++;
	for (unsigned i = 0; i < 1000; i++)
		if (counts[i] > counts[first])
			first = i;
	second = first == 0 ? 1 : 0;
	for (unsigned i = 0; i < 1000; i++)
		if (i != first && counts[i] > counts[second])
			second = i;
	ck_assert_int_gt(abs((int)first - (int)second), 1);
}
END_TEST

START_TEST(tpcb_chooses_what_exists)
{
	struct bench_plan plan = make_plan(BENCH_UNIFORM, 1);
	struct keys keys;
	int64_t delta = 0;

	keys_init(&keys, &plan, 0);
	for (int i = 0; i < 1000; i++) {
		struct bench_op op = { .random = keys_random(&keys) };
		struct bench_tpcb t = bench_choose_tpcb(&plan, &op);

		ck_assert(t.account >= 1 && t.account <= 300000);
		ck_assert(t.teller >= 1 && t.teller <= 30);
		ck_assert(t.branch >= 1 && t.branch <= 3);
		ck_assert(t.delta >= -5000 && t.delta <= 5000);
		delta += t.delta;
	}
	ck_assert(llabs(delta) < INT64_C(1000) * 1000);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("keys");
	TCase *tc = tcase_create("keys");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_loop_test(
	    tc, keys_are_rows_that_exist, 0, sizeof(drawn) / sizeof(drawn[0]));
	tcase_add_test(tc, keys_of_one_seed_are_the_same_and_clients_differ);
	tcase_add_test(tc, keys_in_a_row_begin_at_a_place_of_each_client);
	tcase_add_test(tc, key_of_its_own_is_the_client_number_plus_one);
	tcase_add_loop_test(
	    tc, keys_of_zipf_are_as_frequent_as_the_law_says, 0, 3);
	tcase_add_test(tc, keys_drawn_often_by_zipf_are_not_neighbours);
	tcase_add_test(tc, tpcb_chooses_what_exists);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
