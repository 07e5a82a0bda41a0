/* check_patience.c - the policy of short waits, as a table of what happens and
 * how long is looked then. */
#include "proto/patience.h"

#include <check.h>
#include <stdlib.h>
#include <unistd.h>

#define BOUND INT64_C(50)

/* So many waits that each take so long; how many of them may begin with a
 * look. */
static int
wait_often(struct patience *p, int n, int64_t waited_us)
{
	int looked = 0;

	for (int i = 0; i < n; i++) {
		int64_t us = patience_get_us(p);

		ck_assert(us == 0 || us == p->bound_us);
		looked += us > 0;
		patience_note(p, waited_us);
	}
	return looked;
}

START_TEST(patience_looks_as_long_as_it_pays)
{
	struct patience p;

	patience_init(&p, BOUND);
	ck_assert_int_eq(wait_often(&p, 1000, 20), 1000);
	ck_assert_int_eq(wait_often(&p, 1000, BOUND), 1000);
}
END_TEST

START_TEST(patience_without_a_bound_never_looks)
{
	struct patience p;

	patience_init(&p, 0);
	ck_assert_int_eq(wait_often(&p, 1000, 0), 0);
	ck_assert(!patience_asks(&p, 1000000));
}
END_TEST

START_TEST(patience_that_does_not_pay_is_tried_one_time_in_sixteen)
{
	struct patience p;

	patience_init(&p, BOUND);
	ck_assert_int_lt(wait_often(&p, 16, 200), 10);
	ck_assert_int_eq(wait_often(&p, 1600, 200), 100);
}
END_TEST

START_TEST(patience_comes_back_with_one_look_that_pays)
{
	struct patience p;

	patience_init(&p, BOUND);
	wait_often(&p, 1000, 200);
	while (patience_get_us(&p) == 0)
		patience_note(&p, 20); /* not a look: the peer slept too */
	patience_note(&p, 20);
	ck_assert_int_eq(patience_get_us(&p), BOUND);
	patience_note(&p, 20);
	ck_assert_int_eq(wait_often(&p, 1000, 20), 1000);
}
END_TEST

/* Of ten waits so many end within the bound: is it looked in most of them? */
/* clang-format off */
static const struct {
	int paying;
	bool looks;
} shares[] = {
	{ 0, false }, { 1, false }, { 3, true }, { 5, true }, { 10, true },
};
/* clang-format on */

START_TEST(patience_needs_a_share_of_waits_that_pay)
{
	struct patience p;
	int looked = 0;

	patience_init(&p, BOUND);
	for (int i = 0; i < 1000; i++)
		looked += wait_often(
		    &p, 1, i * 7 % 10 < shares[_i].paying ? 20 : 900);
	ck_assert_msg((looked > 500) == shares[_i].looks, "%d of 10 pay: %d",
	    shares[_i].paying, looked);
}
END_TEST

/* What the kernel says, one after the other: for how long the thread ran since
 * then, and for how long it was ready to; and whether it looks then. */
/* clang-format off */
static const struct {
	int64_t ran_us, queued_us;
	bool looks;
} crowds[] = {
	{ 9000,   0, true }, { 5000, 500, true }, { 762, 238, true },
	{ 750, 250, false }, /* a quarter of what it was ready */
	{ 10, 90, false }, { 870, 130, false },
	{ 890, 110, true }, /* less than an eighth */
	{ 760, 240, true }, { 0, 9000, false }, { 9000, 0, true },
	{ 0, 0, true }, /* it slept */
};
/* clang-format on */

START_TEST(patience_leaves_the_core_to_others_in_a_crowd)
{
	struct patience_core core = { 7000000, 5000000 }; /* before */
	struct patience p;
	int64_t now = 1000000;

	patience_init(&p, BOUND);
	ck_assert(patience_asks(&p, now));
	patience_note_core(&p, now, &core);
	ck_assert(!p.crowded);
	for (size_t i = 0; i < sizeof(crowds) / sizeof(crowds[0]); i++) {
		int64_t passed = p.crowded ? 100000 : 10000;

		ck_assert(!patience_asks(&p, now + passed - 1));
		now += passed;
		core.ran_us += crowds[i].ran_us;
		core.queued_us += crowds[i].queued_us;
		ck_assert(patience_asks(&p, now));
		patience_note_core(&p, now, &core);
		ck_assert_msg(
		    wait_often(&p, 100, 20) == (crowds[i].looks ? 100 : 0),
		    "row %zu", i);
	}
}
END_TEST

START_TEST(patience_looks_where_the_kernel_says_nothing)
{
	struct patience p;

	patience_init(&p, BOUND);
	p.crowded = true; /* to begin with, as the library does */
	patience_note_core(&p, 1000000, NULL);
	patience_note_core(&p, 1010000, NULL);
	ck_assert_int_eq(wait_often(&p, 100, 20), 100);
}
END_TEST

/* In a container without /proc nobody knows. */
START_TEST(patience_reads_what_the_kernel_says)
{
	struct patience p;

	patience_init(&p, BOUND);
	patience_ask_core(&p, 1000000);
	ck_assert_int_eq(p.asked_us, 1000000);
	if (access("/proc/thread-self/schedstat", R_OK) < 0)
		return;
	while (p.core.ran_us == 0) /* it counts when it is switched */
		patience_ask_core(&p, 1000000);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("patience");
	TCase *tc = tcase_create("policy");
	SRunner *sr;
	int failed;

	suite_add_tcase(s, tc);
	tcase_add_test(tc, patience_looks_as_long_as_it_pays);
	tcase_add_test(tc, patience_without_a_bound_never_looks);
	tcase_add_test(
	    tc, patience_that_does_not_pay_is_tried_one_time_in_sixteen);
	tcase_add_test(tc, patience_comes_back_with_one_look_that_pays);
	tcase_add_loop_test(tc, patience_needs_a_share_of_waits_that_pay, 0,
	    sizeof(shares) / sizeof(shares[0]));
	tcase_add_test(tc, patience_leaves_the_core_to_others_in_a_crowd);
	tcase_add_test(tc, patience_looks_where_the_kernel_says_nothing);
	tcase_add_test(tc, patience_reads_what_the_kernel_says);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
