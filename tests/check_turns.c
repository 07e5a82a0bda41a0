/* check_turns.c - the order in which clients are served. */
#include <check.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "daemon/turns.h"
#include "proto/error.h"
#include "tests/lib/fixture.h"
#include "tests/lib/judge.h"

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

/* What is listed is what is taken afterwards. */
static const char *const lists[] = { "", "a1", "a1 a2 a3 b1 c1 c2",
	"a1 b1 c1 d1", "d1 d2 d3 d4 d5 d6 a1 a2" };

START_TEST(turns_are_listed_in_the_order_in_which_they_are_taken)
{
	struct request *listed[4];
	char want[64];
	size_t n, at = 0;

	begin();
	push(lists[_i]);
	n = turns_list(&turns, listed, 4);
	ck_assert_uint_eq(n, turns.n < 4 ? turns.n : 4);
	want[0] = '\0';
	for (size_t i = 0; i < n; i++)
		at += (size_t)snprintf(want + at, sizeof(want) - at,
		    i ? " %c%c" : "%c%c", (char)(listed[i]->id >> 8),
		    (char)listed[i]->id);
	ck_assert_str_eq(pop(n), want);
	pop(100);
}
END_TEST

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

/* Many clients of any number of workers, who ask again when they were answered:
 * groups of any size, answers and new requests in any order; some keep a
 * pipeline of requests waiting. */
enum { CLIENTS_N = 256, ROUNDS = 4000, PIPELINE = 50 };

static struct place crowd[CLIENTS_N];

struct asker {
	size_t waiting_n; /* of its requests */
	unsigned ahead_n; /* clients that may go before its first one */
	unsigned served_n;
};

static struct asker askers[CLIENTS_N];

static size_t
count_waiting(void)
{
	size_t n = 0;

	for (size_t i = 0; i < CLIENTS_N; i++)
		n += askers[i].waiting_n > 0;
	return n;
}

static void
ask(size_t client)
{
	struct request *r = request_new();
	struct asker *a = &askers[client];

	r->id = client;
	r->place = &crowd[client];
	if (a->waiting_n++ == 0)
		a->ahead_n = (unsigned)count_waiting() - 1;
	turns_push(&turns, r);
}

/* Serve one: nobody who waited is overtaken by more than waited before it. */
static size_t
serve(void)
{
	struct request *r = turns_pop(&turns);
	struct asker *a = &askers[r->id];
	size_t client = (size_t)r->id;

	for (size_t i = 0; i < CLIENTS_N; i++) {
		if (i == client || askers[i].waiting_n == 0)
			continue;
		if (askers[i].ahead_n-- == 0) /* (Check notes its asserts) */
			ck_abort_msg("client %zu was overtaken", i);
	}
	a->waiting_n--;
	a->served_n++;
	a->ahead_n = (unsigned)count_waiting() - (a->waiting_n > 0);
	request_free(r);
	return client;
}

/* Clients from `pipelined` on keep PIPELINE requests waiting, the others one.
 * Each that was served asks again behind its group, in any order. */
static void
run_crowd(size_t pipelined)
{
	struct judge_random random = { 1 };
	size_t served[64];

	memset(crowd, 0, sizeof(crowd));
	memset(askers, 0, sizeof(askers));
	for (size_t i = 0; i < CLIENTS_N; i++)
		for (size_t k = 0; k < (i < pipelined ? 1 : PIPELINE); k++)
			ask(i);
	for (int round = 0; round < ROUNDS; round++) {
		size_t n = 1 + judge_random_below(&random, 64);

		for (size_t i = 0; i < n; i++)
			served[i] = serve();
		for (; n > 0; n--) {
			size_t k = judge_random_below(&random, (uint32_t)n);

			ask(served[k]);
			served[k] = served[n - 1];
		}
	}
}

START_TEST(turns_let_nobody_be_overtaken)
{
	unsigned least = UINT_MAX, most = 0;

	run_crowd(_i ? 100 : CLIENTS_N);
	for (size_t i = 0; i < CLIENTS_N; i++) {
		least = askers[i].served_n < least ? askers[i].served_n : least;
		most = askers[i].served_n > most ? askers[i].served_n : most;
	}
	/* the order of answers alone decides who asks first */
	ck_assert_uint_gt(least, 100);
	ck_assert_uint_le(most, least + least / 5);
	while (turns.ring)
		request_free(turns_pop(&turns));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("turns");
	TCase *tc = tcase_create("turns");

	tcase_add_checked_fixture(tc, begin, NULL);
	tcase_add_loop_test(tc,
	    turns_are_listed_in_the_order_in_which_they_are_taken, 0,
	    (int)(sizeof(lists) / sizeof(lists[0])));
	tcase_add_test(tc, turns_are_in_arrival_order_for_one_request_each);
	tcase_add_test(tc, turns_let_nobody_wait_behind_all_of_another_client);
	tcase_add_test(tc, turns_go_back_in_front_in_their_order);
	tcase_add_test(tc, turns_give_up_what_is_stopped_and_keep_the_rest);
	tcase_add_loop_test(tc, turns_let_nobody_be_overtaken, 0, 2);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
