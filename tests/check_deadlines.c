/* check_deadlines.c - which request is to be stopped next. */
#include <check.h>
#include <stdlib.h>

#include "daemon/deadlines.h"
#include "tests/lib/fixture.h"

/* A list in order would be walked for longer than Check waits. */
#define MANY 60000

static struct deadlines deadlines;
static struct request *requests; /* MANY of them */

static void
setup(void)
{
	deadlines = (struct deadlines){ 0 };
	requests = calloc(MANY, sizeof(*requests));
	ck_assert_ptr_nonnull(requests);
}

static void
teardown(void)
{
	deadlines_fini(&deadlines);
	free(requests);
}

/* The first n requests get a deadline, which their arrived_us remembers. */
static void
push(size_t n, int64_t (*choose)(size_t i))
{
	for (size_t i = 0; i < n; i++) {
		struct request *r = &requests[i];

		r->arrived_us = choose(i);
		if (deadlines_push(&deadlines, r, r->arrived_us) < 0)
			ck_abort_msg("no memory");
	}
}

/* Take out what is due; fails when they are not in order.  Gives how many. */
static size_t
pop(int64_t now_us)
{
	int64_t last = INT64_MIN;
	struct request *r;
	size_t n = 0;

	while ((r = deadlines_pop(&deadlines, now_us))) {
		if (r->arrived_us < last || r->arrived_us > now_us)
			ck_abort_msg("%lld after %lld",
			    (long long)r->arrived_us, (long long)last);
		if (r->deadline_n != 0)
			ck_abort_msg("a request that is out says it is in");
		last = r->arrived_us;
		n++;
	}
	if (deadlines_get_first(&deadlines) <= now_us)
		ck_abort_msg("one that is due is left");
	return n;
}

/* --- Orders ----------------------------------------------------------------- */

static int64_t
choose_equal(size_t i)
{
	(void)i;
	return 1000;
}

static int64_t
choose_rising(size_t i)
{
	return (int64_t)i;
}

static int64_t
choose_falling(size_t i)
{
	return (int64_t)(MANY - 1 - i);
}

/* Two timeouts in turn, of two clients that send as fast as each other. */
static int64_t
choose_mixed(size_t i)
{
	return (int64_t)(i % 2 ? i : MANY / 2 + i / 2);
}

static int64_t
choose_any(size_t i)
{
	static uint64_t seed = 1;

	if (i == 0)
		seed = 1;
	/* as in POSIX's example of rand() */
	seed = seed * 1103515245 + 12345;
	return (int64_t)(seed / 65536 % MANY);
}

static int64_t (*const orders[])(size_t) = { choose_equal, choose_rising,
	choose_falling, choose_mixed, choose_any };

START_TEST(deadlines_are_met_in_order_whatever_they_came_in)
{
	push(MANY, orders[_i]);
	ck_assert_uint_eq(pop(MANY), MANY);
	ck_assert_uint_eq(deadlines.n, 0);
}
END_TEST

/* As requests are answered: nearly all leave in the order they came in. */
START_TEST(deadlines_leave_in_the_order_they_came_in)
{
	push(MANY, orders[_i]);
	for (size_t i = 0; i < MANY; i++)
		deadlines_remove(&deadlines, &requests[i]);
	ck_assert_uint_eq(deadlines.n, 0);
	ck_assert_int_eq(deadlines_get_first(&deadlines), INT64_MAX);
	ck_assert_ptr_null(deadlines_pop(&deadlines, INT64_MAX));
}
END_TEST

START_TEST(deadlines_let_any_out_of_the_middle)
{
	size_t out = 0;

	push(MANY, orders[_i]);
	for (size_t i = MANY / 4; i < MANY; i += 3, out++)
		deadlines_remove(&deadlines, &requests[i]);
	/* some come back, with a later one */
	for (size_t i = MANY / 4; i < MANY; i += 30, out--) {
		requests[i].arrived_us += 7;
		ck_assert_int_eq(deadlines_push(&deadlines, &requests[i],
				     requests[i].arrived_us),
		    0);
	}
	ck_assert_uint_eq(pop(MANY + 7), MANY - out);
}
END_TEST

/* --- Moments ---------------------------------------------------------------- */

START_TEST(deadlines_are_not_met_before_they_are_due)
{
	push(100, choose_rising);
	ck_assert_int_eq(deadlines_get_first(&deadlines), 0);
	ck_assert_uint_eq(pop(-1), 0);
	ck_assert_uint_eq(pop(0), 1);
	ck_assert_uint_eq(pop(49), 49);
	ck_assert_int_eq(deadlines_get_first(&deadlines), 50);
	deadlines_remove(&deadlines, &requests[50]);
	ck_assert_int_eq(deadlines_get_first(&deadlines), 51);
	ck_assert_uint_eq(pop(1000), 49);
}
END_TEST

START_TEST(deadlines_of_many_leave_no_memory_behind)
{
	push(MANY, choose_rising);
	ck_assert_uint_ge(deadlines.cap, MANY);
	pop(MANY);
	ck_assert_uint_eq(deadlines.cap, 0);
	/* that of a few is for the next ones */
	push(100, choose_rising);
	pop(MANY);
	ck_assert_uint_ge(deadlines.cap, 100);
}
END_TEST

/* Removals and additions in any order, against the plain search. */
START_TEST(deadlines_are_those_of_a_plain_search)
{
	enum { FEW = 50, STEPS = 20000 };

	for (int step = 0; step < STEPS; step++) {
		struct request *r = &requests[choose_any((size_t)step) % FEW];
		int64_t first = INT64_MAX;

		if (r->deadline_n) {
			deadlines_remove(&deadlines, r);
		} else {
			r->arrived_us = choose_any((size_t)step) % 40;
			deadlines_push(&deadlines, r, r->arrived_us);
		}
		for (size_t i = 0; i < FEW; i++)
			if (requests[i].deadline_n &&
			    requests[i].arrived_us < first)
				first = requests[i].arrived_us;
		if (deadlines_get_first(&deadlines) != first)
			ck_abort_msg("step %d: the first is %lld", step,
			    (long long)first);
	}
}
END_TEST

int
main(void)
{
	const int n = (int)(sizeof(orders) / sizeof(orders[0]));
	Suite *s = suite_create("deadlines");
	TCase *tc = tcase_create("deadlines");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(
	    tc, deadlines_are_met_in_order_whatever_they_came_in, 0, n);
	tcase_add_loop_test(
	    tc, deadlines_leave_in_the_order_they_came_in, 0, n);
	tcase_add_loop_test(tc, deadlines_let_any_out_of_the_middle, 0, n);
	tcase_add_test(tc, deadlines_are_not_met_before_they_are_due);
	tcase_add_test(tc, deadlines_of_many_leave_no_memory_behind);
	tcase_add_test(tc, deadlines_are_those_of_a_plain_search);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
