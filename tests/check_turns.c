/* check_turns.c - the order in which clients are served. */
#include <check.h>
#include <string.h>

#include "daemon/turns.h"
#include "proto/error.h"
#include "tests/lib/fixture.h"

#define PLACES_N 4

static struct turns turns;
static struct place places[PLACES_N];

/* Let requests wait: "a1 a2 b1" are two of client a, then one of b. */
static void
push(const char *names)
{
	for (; *names; names += names[2] ? 3 : 2) {
		struct request *r = request_new();

		r->id = (uint64_t)(names[0] << 8 | names[1]);
		r->place = &places[names[0] - 'a'];
		r->bytes_n = 10;
		turns_push(&turns, r);
	}
}

/* Take n requests; gives their names. */
static const char *
pop(size_t n)
{
	static char text[200];
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		struct request *r, *peeked = turns_peek(&turns);

		r = turns_pop(&turns);
		ck_assert_ptr_eq(r, peeked);
		if (!r)
			break;
		at += (size_t)snprintf(text + at, sizeof(text) - at,
		    at ? " %c%c" : "%c%c", (char)(r->id >> 8), (char)r->id);
		request_free(r);
	}
	text[at] = '\0';
	return text;
}

static void
begin(void)
{
	memset(&turns, 0, sizeof(turns));
	memset(places, 0, sizeof(places));
}

START_TEST(turns_are_in_arrival_order_for_one_request_each)
{
	push("c1 a1 d1 b1");
	ck_assert_uint_eq(turns.n, 4);
	ck_assert_uint_eq(turns.bytes, 40);
	ck_assert_str_eq(pop(2), "c1 a1");
	push("c2");
	ck_assert_str_eq(pop(9), "d1 b1 c2");
	ck_assert_uint_eq(turns.n, 0);
	ck_assert_uint_eq(turns.bytes, 0);
}
END_TEST

START_TEST(turns_let_nobody_wait_behind_all_of_another_client)
{
	push("a1 a2 a3 a4 b1 c1 c2");
	ck_assert_str_eq(pop(4), "a1 b1 c1 a2");
	push("b2 d1");
	ck_assert_str_eq(pop(9), "c2 a3 b2 d1 a4");
}
END_TEST

START_TEST(turns_go_back_in_front_in_their_order)
{
	struct request *r[3];

	push("a1 a2 b1 c1");
	for (size_t i = 0; i < 3; i++)
		r[i] = turns_pop(&turns); /* a1 b1 c1; a2 stays */
	for (size_t i = 3; i > 1; i--)
		turns_return(&turns, r[i - 1]);
	request_free(r[0]);
	ck_assert_uint_eq(turns.n, 3);
	ck_assert_str_eq(pop(9), "b1 c1 a2");
	/* also into a place where others wait */
	push("a3 a4 b2");
	turns_return(&turns, turns_pop(&turns));
	ck_assert_str_eq(pop(9), "a3 b2 a4");
}
END_TEST

START_TEST(turns_give_up_what_is_stopped_and_keep_the_rest)
{
	struct line stopped;
	struct request *r;
	size_t n = 0;

	push("a1 b1 b2 c1");
	request_stop(places[0].line.head, ERR_CANCELLED);
	request_stop(places[1].line.head, ERR_CANCELLED);
	stopped = turns_take_stopped(&turns);
	while ((r = line_pop(&stopped))) {
		n++;
		request_free(r);
	}
	ck_assert_uint_eq(n, 2);
	ck_assert_uint_eq(turns.n, 2);
	ck_assert_uint_eq(turns.bytes, 20);
	push("a2");
	ck_assert_str_eq(pop(9), "b2 c1 a2");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("turns");
	TCase *tc = tcase_create("turns");

	tcase_add_checked_fixture(tc, begin, NULL);
	tcase_add_test(tc, turns_are_in_arrival_order_for_one_request_each);
	tcase_add_test(tc, turns_let_nobody_wait_behind_all_of_another_client);
	tcase_add_test(tc, turns_go_back_in_front_in_their_order);
	tcase_add_test(tc, turns_give_up_what_is_stopped_and_keep_the_rest);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
