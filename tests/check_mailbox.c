/* check_mailbox.c - requests coming home from other threads. */
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/fixture.h"

#define THREADS_N  4
#define REQUESTS_N 2000 /* of each thread */
#define PIECES_N   5    /* of each request, the last one final */

static struct mailbox mb;

static void
setup(void)
{
	ck_assert_int_eq(mailbox_open(&mb), 0);
}

static void
teardown(void)
{
	mailbox_close(&mb);
}

static struct request *
make_request(uint64_t id)
{
	struct request *r = request_new();

	if (!r)
		abort();
	r->home = &mb;
	r->id = id;
	return r;
}

static void
post(struct request *r, const char *text, bool final)
{
	buf_put(&r->out, text, strlen(text));
	mailbox_post(r, final);
}

static bool
is_rung(void)
{
	struct pollfd p = { .fd = mb.fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* All the bytes that have come home. */
static void
assert_bytes(const struct request *r, const char *want)
{
	char got[256] = "";
	size_t n = 0;

	for (const struct piece *p = r->unsent; p; p = p->next)
		n += (size_t)snprintf(got + n, sizeof(got) - n, "%.*s",
		    (int)p->bytes.n, (const char *)p->bytes.p);
	ck_assert_str_eq(got, want);
}

START_TEST(mailbox_gives_requests_in_the_order_of_their_news)
{
	struct request *r[3], *list;

	for (size_t i = 0; i < 3; i++)
		r[i] = make_request(i);
	post(r[2], "c", true);
	post(r[0], "a1", false);
	post(r[1], "b", true);
	post(r[0], "a2", true);
	list = mailbox_take(&mb);
	ck_assert_ptr_eq(list, r[2]);
	ck_assert_ptr_eq(r[2]->mail_next, r[0]);
	ck_assert_ptr_eq(r[0]->mail_next, r[1]);
	ck_assert_ptr_null(r[1]->mail_next);
	ck_assert_ptr_null(mailbox_take(&mb));
	for (size_t i = 0; i < 3; i++) {
		ck_assert(r[i]->home_again);
		request_free(r[i]);
	}
}
END_TEST

START_TEST(mailbox_keeps_the_pieces_in_order)
{
	struct request *r = make_request(1);

	post(r, "one ", false);
	ck_assert_ptr_eq(mailbox_take(&mb), r);
	ck_assert(!r->home_again);
	assert_bytes(r, "one ");
	post(r, "two ", false);
	post(r, "three ", false);
	ck_assert_ptr_eq(mailbox_take(&mb), r);
	assert_bytes(r, "one two three ");
	post(r, "four", true);
	ck_assert_ptr_eq(mailbox_take(&mb), r);
	ck_assert(r->home_again);
	assert_bytes(r, "one two three four");
	/* the last piece needs no memory of its own */
	ck_assert_ptr_eq(r->unsent_tail, &r->last);
	request_free(r);
}
END_TEST

START_TEST(mailbox_brings_a_request_without_bytes_home)
{
	struct request *r = make_request(1);

	mailbox_post(r, true);
	ck_assert_ptr_eq(mailbox_take(&mb), r);
	ck_assert(r->home_again);
	ck_assert_ptr_null(r->unsent);
	request_free(r);
}
END_TEST

START_TEST(mailbox_can_be_posted_to_again_by_a_request_that_was_home)
{
	struct request *r = make_request(1);

	mailbox_post(r, true);
	mailbox_take(&mb);
	r->home_again = r->final = false;
	post(r, "later", true);
	ck_assert_ptr_eq(mailbox_take(&mb), r);
	assert_bytes(r, "later");
	request_free(r);
}
END_TEST

/* --- Sleeping -------------------------------------------------------------- */

START_TEST(mailbox_rings_only_for_a_sleeper)
{
	struct request *r = make_request(1);

	post(r, "x", false);
	ck_assert(!is_rung());
	/* there is mail: no sleep */
	ck_assert(!mailbox_sleep(&mb));
	mailbox_awake(&mb);
	mailbox_take(&mb);
	ck_assert(mailbox_sleep(&mb));
	post(r, "y", false);
	ck_assert(is_rung());
	mailbox_awake(&mb);
	mailbox_hear(&mb);
	ck_assert(!is_rung());
	mailbox_take(&mb);
	/* once for all that comes while it wakes up */
	ck_assert(mailbox_sleep(&mb));
	post(r, "z", false);
	post(r, "!", true);
	mailbox_awake(&mb);
	mailbox_hear(&mb);
	ck_assert(!is_rung());
	mailbox_take(&mb);
	assert_bytes(r, "xyz!");
	request_free(r);
}
END_TEST

START_TEST(mailbox_can_be_rung_without_mail)
{
	ck_assert(mailbox_sleep(&mb));
	mailbox_wake(&mb);
	mailbox_wake(&mb);
	ck_assert(is_rung());
	mailbox_awake(&mb);
	mailbox_hear(&mb);
	ck_assert(!is_rung());
	ck_assert_ptr_null(mailbox_take(&mb));
}
END_TEST

/* It is looked at only by who sees it ring: so it rings until then, whether its
 * owner slept or not. */
START_TEST(mailbox_rings_until_it_is_heard)
{
	mailbox_wake(&mb);
	mailbox_awake(&mb);
	ck_assert(is_rung());
	ck_assert(mailbox_sleep(&mb));
	mailbox_awake(&mb);
	ck_assert(is_rung());
	mailbox_hear(&mb);
	ck_assert(!is_rung());
	mailbox_hear(&mb); /* nobody rang */
	ck_assert(!is_rung());
}
END_TEST

/* --- Many threads ---------------------------------------------------------- */

static void *
send_requests(void *arg)
{
	uint64_t base = *(const uint64_t *)arg;

	for (uint64_t i = 0; i < REQUESTS_N; i++) {
		struct request *r = make_request(base + i);

		for (int k = 0; k < PIECES_N; k++) {
			char text[2] = { (char)('0' + k), '\0' };

			post(r, text, k == PIECES_N - 1);
		}
	}
	return NULL;
}

/* A request is home: its pieces must be complete, and it must be the next of
 * its thread. */
static void
come_home(struct request *r, uint64_t *next)
{
	uint64_t *want = &next[r->id / REQUESTS_N];

	assert_bytes(r, "01234");
	if (r->id != *want)
		ck_abort_msg("%llu came before %llu", (unsigned long long)r->id,
		    (unsigned long long)*want);
	++*want;
	request_free(r);
}

/* The owner sleeps whenever it may: a wake-up that is lost would be for ever. */
START_TEST(mailbox_loses_nothing_of_many_threads)
{
	uint64_t base[THREADS_N], next[THREADS_N], left;
	pthread_t threads[THREADS_N];

	left = (uint64_t)THREADS_N * REQUESTS_N;
	for (size_t i = 0; i < THREADS_N; i++) {
		base[i] = next[i] = i * REQUESTS_N;
		ck_assert_int_eq(
		    pthread_create(&threads[i], NULL, send_requests, &base[i]),
		    0);
	}
	while (left > 0) {
		struct pollfd p = { .fd = mb.fd, .events = POLLIN };
		struct request *list, *after;

		if (mailbox_sleep(&mb)) {
			if (poll(&p, 1, 20000) != 1)
				ck_abort_msg("nobody rang");
			mailbox_hear(&mb);
		}
		mailbox_awake(&mb);
		for (list = mailbox_take(&mb); list; list = after) {
			after = list->mail_next;
			if (!list->home_again)
				continue;
			come_home(list, next);
			left--;
		}
	}
	for (size_t i = 0; i < THREADS_N; i++)
		pthread_join(threads[i], NULL);
	ck_assert_ptr_null(mailbox_take(&mb));
}
END_TEST

/* --- Errands --------------------------------------------------------------- */

struct trip {
	struct errand errand; /* first */
	char name;
};

static char arrived[16];

static void
note_arrival(struct errand *e, void *owner)
{
	size_t n = strlen(arrived);

	ck_assert_ptr_eq(owner, &mb);
	ck_assert_uint_lt(n + 1, sizeof(arrived));
	arrived[n] = ((struct trip *)e)->name;
}

static void
send_trip(struct trip *t, char name, bool ok)
{
	*t = (struct trip){ { .arrive = note_arrival }, name };
	ck_assert_int_eq(mailbox_send(&mb, &t->errand), ok);
}

START_TEST(mailbox_receives_errands_in_their_order)
{
	struct trip trips[3];

	mailbox_receive(&mb, &mb, false);
	ck_assert(mailbox_sleep(&mb));
	mailbox_awake(&mb);
	send_trip(&trips[0], 'a', true);
	ck_assert(!is_rung());
	ck_assert(!mailbox_sleep(&mb)); /* one has come */
	mailbox_receive(&mb, &mb, false);
	ck_assert(mailbox_sleep(&mb));
	send_trip(&trips[1], 'b', true);
	ck_assert(is_rung());
	send_trip(&trips[2], 'c', true);
	mailbox_awake(&mb);
	mailbox_receive(&mb, &mb, false);
	ck_assert_str_eq(arrived, "abc");
}
END_TEST

START_TEST(mailbox_that_is_shut_takes_no_errand)
{
	struct trip trips[2];

	send_trip(&trips[0], 'a', true);
	mailbox_receive(&mb, &mb, true);
	send_trip(&trips[1], 'b', false);
	mailbox_receive(&mb, &mb, true);
	ck_assert_str_eq(arrived, "a");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("mailbox");
	TCase *tc = tcase_create("mailbox");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, mailbox_receives_errands_in_their_order);
	tcase_add_test(tc, mailbox_that_is_shut_takes_no_errand);
	tcase_add_test(tc, mailbox_gives_requests_in_the_order_of_their_news);
	tcase_add_test(tc, mailbox_keeps_the_pieces_in_order);
	tcase_add_test(tc, mailbox_brings_a_request_without_bytes_home);
	tcase_add_test(
	    tc, mailbox_can_be_posted_to_again_by_a_request_that_was_home);
	tcase_add_test(tc, mailbox_rings_only_for_a_sleeper);
	tcase_add_test(tc, mailbox_can_be_rung_without_mail);
	tcase_add_test(tc, mailbox_rings_until_it_is_heard);
	tcase_add_test(tc, mailbox_loses_nothing_of_many_threads);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
