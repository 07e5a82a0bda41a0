/* check_session.c - the transaction of a stream, as its worker sees it. */
#include <check.h>
#include <signal.h>

#include "daemon/session.h"
#include "proto/error.h"
#include "tests/lib/fixture.h"

static const struct owner owner = { .pid = 7, .app = "app" };
static struct session *list;

START_TEST(session_is_found_by_its_stream)
{
	struct session *a, *b;

	ck_assert_ptr_null(session_find(list, 0));
	a = session_begin(&list, 0, TX_MODE_DEFERRED, &owner);
	b = session_begin(&list, 5, TX_MODE_IMMEDIATE, &owner);
	ck_assert_ptr_eq(session_find(list, 0), a);
	ck_assert_ptr_eq(session_find(list, 5), b);
	ck_assert_ptr_null(session_find(list, 6));
	ck_assert_uint_eq(session_count(list), 2);
	ck_assert_int_eq(b->tx->mode, TX_MODE_IMMEDIATE);
	ck_assert_int_eq(b->state, TX_STATE_OPEN);
	session_end(&list, a);
	ck_assert_ptr_null(session_find(list, 0));
	ck_assert_ptr_eq(session_find(list, 5), b);
	session_end(&list, b);
	ck_assert_ptr_null(list);
	ck_assert_uint_eq(session_count(list), 0);
}
END_TEST

START_TEST(session_runs_one_request_at_a_time)
{
	struct session *s = session_begin(&list, 1, TX_MODE_READ, &owner);
	struct request *r[2] = { request_new(), request_new() };

	ck_assert_ptr_null(session_take(s));
	line_push(&s->line, r[0]);
	line_push(&s->line, r[1]);
	ck_assert_ptr_eq(session_take(s), r[0]);
	s->running = r[0];
	ck_assert_ptr_null(session_take(s));
	s->running = NULL;
	ck_assert_ptr_eq(session_take(s), r[1]);
	ck_assert_ptr_null(session_take(s));
	session_end(&list, s);
	request_free(r[0]);
	request_free(r[1]);
}
END_TEST

START_TEST(session_learns_that_the_daemon_has_ended_it)
{
	struct session *s = session_begin(&list, 1, TX_MODE_READ, &owner);

	session_set_state(s, TX_STATE_WRITE);
	session_refresh(s);
	ck_assert_int_eq(s->state, TX_STATE_WRITE);
	tx_expire(s->tx, ERR_TX_EXPIRED, "too old");
	session_refresh(s);
	ck_assert_int_eq(s->state, TX_STATE_EXPIRED);
	session_end(&list, s);
}
END_TEST

/* Only savepoints are open: a reader holds it, and its client need not know. */
START_TEST(session_that_a_reader_holds_is_never_open_to_its_worker)
{
	struct session *s = session_begin(&list, 1, TX_MODE_READ, &owner);

	session_set_state(s, TX_STATE_OPEN);
	ck_assert_int_eq(s->state, TX_STATE_OPEN);
	s->tx->held_us = 5;
	session_set_state(s, TX_STATE_OPEN);
	ck_assert_int_eq(s->state, TX_STATE_READ);
	session_set_state(s, TX_STATE_NONE);
	ck_assert_int_eq(s->state, TX_STATE_NONE);
	session_end(&list, s);
}
END_TEST

/* Its transaction may outlive it, in the hands of whoever holds it. */
START_TEST(session_leaves_its_transaction_to_others)
{
	struct session *s = session_begin(&list, 1, TX_MODE_READ, &owner);
	struct tx *tx = tx_ref(s->tx);

	session_end(&list, s);
	ck_assert_int_eq(tx->refs, 1);
	tx_unref(tx);
}
END_TEST

START_TEST(session_with_requests_must_not_end)
{
	struct session *s = session_begin(&list, 1, TX_MODE_READ, &owner);
	struct request *r = request_new();

	if (_i)
		line_push(&s->line, r);
	else
		s->running = r;
	session_end(&list, s);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("session");
	TCase *tc = tcase_create("session");

	tcase_add_test(tc, session_is_found_by_its_stream);
	tcase_add_test(tc, session_runs_one_request_at_a_time);
	tcase_add_test(tc, session_learns_that_the_daemon_has_ended_it);
	tcase_add_test(
	    tc, session_that_a_reader_holds_is_never_open_to_its_worker);
	tcase_add_test(tc, session_leaves_its_transaction_to_others);
	tcase_add_loop_test_raise_signal(
	    tc, session_with_requests_must_not_end, SIGABRT, 0, 2);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
