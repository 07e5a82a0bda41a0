/* check_request.c - the travelling object: its states, its bytes, its lines. */
#include <check.h>
#include <signal.h>
#include <stdlib.h>

#include "daemon/clock.h"
#include "proto/error.h"
#include "tests/lib/fixture.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct span
as_span(char *text)
{
	return (struct span){ (const uint8_t *)text, strlen(text) };
}

static bool
is_text(struct span s, const char *text)
{
	return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

/* --- States ---------------------------------------------------------------- */

/* The picture in request.h, once more. */
static const struct edge {
	enum request_state from, to;
} edges[] = {
	{ REQUEST_NEW, REQUEST_PARKED },
	{ REQUEST_NEW, REQUEST_QUEUED },
	{ REQUEST_NEW, REQUEST_ANSWERED },
	{ REQUEST_PARKED, REQUEST_NEW },
	{ REQUEST_PARKED, REQUEST_QUEUED },
	{ REQUEST_PARKED, REQUEST_ANSWERED },
	{ REQUEST_QUEUED, REQUEST_RUNNING },
	{ REQUEST_QUEUED, REQUEST_ANSWERED },
	{ REQUEST_RUNNING, REQUEST_ANSWERED },
	{ REQUEST_RUNNING, REQUEST_NEW },
	{ REQUEST_RUNNING, REQUEST_QUEUED },
};

static bool
is_edge(enum request_state from, enum request_state to)
{
	for (size_t i = 0; i < COUNT(edges); i++)
		if (edges[i].from == from && edges[i].to == to)
			return true;
	return false;
}

static void
move(int from, int to)
{
	struct request *r = request_new();

	ck_assert_ptr_nonnull(r);
	r->state = (enum request_state)from;
	request_move(r, (enum request_state)to);
	ck_assert_int_eq(r->state, to);
	request_free(r);
}

START_TEST(request_moves_along_its_edges)
{
	move((int)edges[_i].from, (int)edges[_i].to);
}
END_TEST

START_TEST(request_moves_along_no_other_edge)
{
	int from = _i / REQUEST_STATES_N, to = _i % REQUEST_STATES_N;

	if (is_edge((enum request_state)from, (enum request_state)to))
		raise(SIGABRT); /* the other test's */
	move(from, to);
}
END_TEST

/* --- Bytes ----------------------------------------------------------------- */

START_TEST(request_owns_a_copy_of_its_bytes)
{
	char sql[] = "SELECT ?", params[] = "\x91\x01";
	struct owner owner = { .pid = 7, .uid = 8, .app = "app" };
	struct request *r = request_new();
	const uint8_t *copy;

	r->sql = as_span(sql);
	r->owner = &owner;
	r->params = as_span(params);
	ck_assert_int_eq(request_own(r), 0);
	memset(sql, 'x', sizeof(sql));
	memset(params, 'x', sizeof(params));
	memset(&owner, 'x', sizeof(owner));
	ck_assert_int_eq(r->owner->pid, 7);
	ck_assert_uint_eq(r->owner->uid, 8);
	ck_assert_str_eq(r->owner->app, "app");
	ck_assert(is_text(r->sql, "SELECT ?"));
	ck_assert_uint_eq(r->sql.p[r->sql.n], 0);
	ck_assert(is_text(r->params, "\x91\x01"));
	/* the second time it has them */
	copy = r->sql.p;
	ck_assert_int_eq(request_own(r), 0);
	ck_assert_ptr_eq(r->sql.p, copy);
	request_free(r);
}
END_TEST

START_TEST(request_owns_the_bytes_of_its_steps)
{
	char sql[] = "SELECT 1", params[] = "\x90", cond[] = "\x92\x02";
	struct request *r = request_new();

	r->steps = calloc(2, sizeof(*r->steps));
	r->steps_n = 2;
	for (int i = 0; i < 2; i++) {
		r->steps[i].sql = as_span(sql);
		r->steps[i].params = as_span(params);
		r->steps[i].cond = as_span(cond);
	}
	ck_assert_int_eq(request_own(r), 0);
	memset(sql, 'x', sizeof(sql));
	memset(params, 'x', sizeof(params));
	memset(cond, 'x', sizeof(cond));
	for (int i = 0; i < 2; i++) {
		ck_assert(is_text(r->steps[i].sql, "SELECT 1"));
		ck_assert(is_text(r->steps[i].params, "\x90"));
		ck_assert(is_text(r->steps[i].cond, "\x92\x02"));
	}
	request_free(r);
}
END_TEST

/* A prepared statement's text is the client's, and may go. */
START_TEST(request_with_its_frame_copies_only_the_sql)
{
	struct request *r = request_new();
	char *frame = strdup("parameters");
	char sql[] = "SELECT ?";

	r->frame = frame;
	r->sql = as_span(sql);
	r->params = as_span(frame);
	ck_assert_int_eq(request_own(r), 0);
	memset(sql, 'x', sizeof(sql));
	ck_assert(is_text(r->sql, "SELECT ?"));
	ck_assert_uint_eq(r->sql.p[r->sql.n], 0);
	ck_assert_ptr_eq(r->params.p, frame);
	request_free(r);
}
END_TEST

START_TEST(request_owns_nothing_when_there_is_nothing)
{
	struct request *r = request_new();

	ck_assert_int_eq(request_own(r), 0);
	ck_assert_uint_eq(r->sql.n, 0);
	ck_assert_uint_eq(r->params.n, 0);
	request_free(r);
	request_free(NULL);
}
END_TEST

/* --- Pools ----------------------------------------------------------------- */

static bool
is_clear(const void *from, const void *to)
{
	for (const uint8_t *p = from; p < (const uint8_t *)to; p++)
		if (*p)
			return false;
	return true;
}

static void
assert_new(const struct request *r)
{
	ck_assert_ptr_nonnull(r);
	ck_assert(is_clear(r, &r->failure));
	ck_assert(is_clear(&r->failure + 1, r + 1));
	ck_assert_int_eq(r->failure.code, 0);
	ck_assert_int_eq(r->failure.offset, -1);
	ck_assert_int_eq(r->failure.step, -1);
	ck_assert_int_eq(r->failure.retry_ms, 0);
	ck_assert_int_eq(r->failure.outcome, 0);
	ck_assert_ptr_null(r->failure.text);
}

/* Whatever it was before. */
START_TEST(request_of_a_pool_is_as_new)
{
	struct request_pool pool = { 0 };
	struct request *r = request_take(&pool), *other;

	assert_new(r);
	memset(r, 0xff, sizeof(*r));
	r->unsent = r->inbox = NULL;
	r->tx = NULL;
	r->vars = NULL;
	r->steps = NULL;
	r->bytes = r->frame = r->order = NULL;
	failure_init(&r->failure);
	failure_set(&r->failure, ERR_INTERNAL, "something");
	buf_init(&r->out);
	request_give(&pool, r);
	r = request_take(&pool);
	assert_new(r);
	other = request_take(&pool);
	assert_new(other);
	ck_assert_ptr_ne(r, other);
	request_free(other);
	request_give(&pool, r);
	request_pool_fini(&pool);
	ck_assert_ptr_null(pool.free);
	ck_assert_uint_eq(pool.n, 0);
}
END_TEST

/* A sanitizer sees what is not freed. */
START_TEST(request_of_a_pool_leaves_what_it_owned)
{
	struct request_pool pool = { 0 };

	for (int i = 0; i < 3; i++) {
		struct request *r = request_take(&pool);

		r->tx = tx_new(TX_MODE_DEFERRED, &(struct owner){ 0 });
		r->vars = vars_new();
		r->steps = calloc(1, sizeof(*r->steps));
		r->bytes = malloc(10);
		r->frame = malloc(10);
		r->unsent = calloc(1, sizeof(*r->unsent));
		buf_put(&r->unsent->bytes, "x", 1);
		r->inbox = &r->last;
		buf_put(&r->last.bytes, "x", 1);
		buf_put(&r->out, "x", 1);
		failure_set(&r->failure, ERR_INTERNAL, "something");
		request_give(&pool, r);
	}
	request_pool_fini(&pool);
}
END_TEST

START_TEST(request_pool_keeps_a_few)
{
	enum { N = 2000 };
	static struct request *all[N];
	struct request_pool pool = { 0 };

	for (int i = 0; i < N; i++)
		all[i] = request_take(&pool);
	ck_assert_uint_eq(pool.n, 0);
	for (int i = 0; i < N; i++)
		request_give(&pool, all[i]);
	ck_assert_uint_lt(pool.n, 500);
	request_pool_fini(&pool);
}
END_TEST

/* --- Stopping -------------------------------------------------------------- */

START_TEST(request_is_stopped_for_the_first_reason)
{
	struct request *r = request_new();

	ck_assert_int_eq(request_get_stop(r), 0);
	request_stop(r, ERR_CANCELLED);
	request_stop(r, ERR_DEADLINE);
	ck_assert_int_eq(request_get_stop(r), ERR_CANCELLED);
	request_free(r);
}
END_TEST

/* clang-format off */
static const struct stop_case {
	int code;
	const char *parts[3];
} stops[] = {
	{ ERR_DEADLINE, { "request timed out after ", "5000 ms", "while it ran" } },
	{ ERR_CANCELLED, { "request cancelled while it ran", "", "" } },
	{ ERR_STALLED, { "left the result unread", "stall_timeout", "" } },
	{ ERR_SNAPSHOT_ENDED, { "max_snapshot_age", "the WAL was over its limit", "" } },
	{ ERR_CONNECTION_LOST, { "connection lost while it ran", "", "" } },
	{ ERR_SHUTTING_DOWN, { "the daemon is shutting down", "", "" } },
};
/* clang-format on */

START_TEST(request_says_why_it_was_stopped)
{
	const struct stop_case *c = &stops[_i];
	struct request *r = request_new();

	r->arrived_us = clock_now_us() - 5000000;
	request_stop(r, c->code);
	request_fail_stopped(r, "while it ran");
	ck_assert_int_eq(r->failure.code, c->code);
	for (int i = 0; i < 3; i++)
		ck_assert_msg(strstr(r->failure.text, c->parts[i]) != NULL,
		    "%s", r->failure.text);
	request_free(r);
}
END_TEST

/* --- Lines ----------------------------------------------------------------- */

static struct request *list[5];

static void
fill(struct line *line)
{
	for (size_t i = 0; i < COUNT(list); i++) {
		list[i] = request_new();
		ck_assert_ptr_nonnull(list[i]);
		line_push(line, list[i]);
	}
}

/* Which of them are in the line, in this order, e.g. "024"; empties it. */
static void
assert_line(struct line *line, const char *want)
{
	struct request *r;

	for (; *want; want++) {
		r = line_pop(line);
		ck_assert_ptr_eq(r, list[*want - '0']);
		ck_assert_ptr_null(r->next);
	}
	ck_assert_ptr_null(line_pop(line));
	ck_assert_ptr_null(line->head);
	ck_assert_ptr_null(line->tail);
}

static void
free_all(void)
{
	for (size_t i = 0; i < COUNT(list); i++)
		request_free(list[i]);
}

START_TEST(request_line_is_first_in_first_out)
{
	struct line line = { 0 };

	assert_line(&line, "");
	fill(&line);
	assert_line(&line, "01234");
	line_push(&line, list[3]);
	assert_line(&line, "3");
	free_all();
}
END_TEST

static const char *const removed[] = { "1234", "0234", "0134", "0124", "0123" };

START_TEST(request_line_lets_one_out_of_anywhere)
{
	struct line line = { 0 };

	fill(&line);
	line_remove(&line, list[_i]);
	line_push(&line, list[_i]);
	line_remove(&line, list[_i]);
	assert_line(&line, removed[_i]);
	/* one that is not there changes nothing */
	line_push(&line, list[0]);
	line_remove(&line, list[1]);
	assert_line(&line, "0");
	free_all();
}
END_TEST

START_TEST(request_line_gives_the_stopped_ones_in_their_order)
{
	struct line line = { 0 }, stopped;

	fill(&line);
	request_stop(list[4], ERR_DEADLINE);
	request_stop(list[0], ERR_CANCELLED);
	request_stop(list[3], ERR_CANCELLED);
	stopped = line_take_stopped(&line);
	assert_line(&stopped, "034");
	assert_line(&line, "12");
	stopped = line_take_stopped(&line);
	assert_line(&stopped, "");
	free_all();
}
END_TEST

/* --- Failures -------------------------------------------------------------- */

START_TEST(request_failure_knows_its_outcome)
{
	struct failure f;

	failure_init(&f);
	ck_assert_int_eq(f.code, 0);
	ck_assert_int_eq(f.offset, -1);
	ck_assert_int_eq(f.step, -1);
	ck_assert_int_eq(
	    failure_set(&f, ERR_QUEUE_FULL, "%d wait", 7), -ERR_QUEUE_FULL);
	ck_assert_str_eq(f.text, "7 wait");
	ck_assert_int_eq(f.outcome, OUTCOME_NOT_APPLIED);
	f.offset = f.step = 3;
	/* what it said before is gone */
	failure_set(&f, ERR_INTERNAL, "%s", "");
	ck_assert_int_eq(f.offset, -1);
	ck_assert_int_eq(f.step, -1);
	ck_assert_str_eq(f.text, "");
	ck_assert_int_eq(f.outcome, OUTCOME_UNKNOWN);
	failure_fini(&f);
	ck_assert_ptr_null(f.text);
	ck_assert_int_eq(f.code, 0);
}
END_TEST

START_TEST(request_forgets_a_run_that_was_undone)
{
	struct request *r = request_new();

	failure_set(&r->failure, ERR_INTERNAL, "something");
	buf_put(&r->out, "rows", 4);
	r->changes = r->rowid = 5;
	r->seq = 6;
	request_reset_result(r);
	ck_assert_int_eq(r->failure.code, 0);
	ck_assert_uint_eq(r->out.n, 0);
	ck_assert_int_eq(r->changes, 0);
	ck_assert_int_eq(r->rowid, 0);
	ck_assert_uint_eq(r->seq, 0);
	request_free(r);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("request");
	TCase *tc = tcase_create("states");

	tcase_add_loop_test(
	    tc, request_moves_along_its_edges, 0, (int)COUNT(edges));
	tcase_add_loop_test_raise_signal(tc, request_moves_along_no_other_edge,
	    SIGABRT, 0, REQUEST_STATES_N * REQUEST_STATES_N);
	suite_add_tcase(s, tc);
	tc = tcase_create("request");
	tcase_add_test(tc, request_owns_a_copy_of_its_bytes);
	tcase_add_test(tc, request_owns_the_bytes_of_its_steps);
	tcase_add_test(tc, request_with_its_frame_copies_only_the_sql);
	tcase_add_test(tc, request_owns_nothing_when_there_is_nothing);
	tcase_add_test(tc, request_of_a_pool_is_as_new);
	tcase_add_test(tc, request_of_a_pool_leaves_what_it_owned);
	tcase_add_test(tc, request_pool_keeps_a_few);
	tcase_add_test(tc, request_is_stopped_for_the_first_reason);
	tcase_add_loop_test(
	    tc, request_says_why_it_was_stopped, 0, (int)COUNT(stops));
	tcase_add_test(tc, request_line_is_first_in_first_out);
	tcase_add_loop_test(
	    tc, request_line_lets_one_out_of_anywhere, 0, (int)COUNT(removed));
	tcase_add_test(tc, request_line_gives_the_stopped_ones_in_their_order);
	tcase_add_test(tc, request_failure_knows_its_outcome);
	tcase_add_test(tc, request_forgets_a_run_that_was_undone);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
