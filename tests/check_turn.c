/* check_turn.c - one thread of the load generator, with drivers that answer from
 * a pipe or at once. */
#include "client/bench/turn.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 8
#define MS          INT64_C(1000000)

/* ---- drivers ---- */

/* What the drivers were asked. */
static struct {
	unsigned opened, closed, sent, most_in_flight;
	int fail_at;  /* operation that fails; -1: none */
	int stall_at; /* operation that takes stall_ms */
	int stall_ms;
	bool end_in_run, end_in_flush;
	bool errors; /* every second operation is one */
} fake;

struct fake_client {
	int pipe[2];
	unsigned in_flight;
};

static int
fake_open(struct bench_client *client)
{
	struct fake_client *own = calloc(1, sizeof(*own));

	ck_assert_ptr_nonnull(own);
	client->data = own;
	ck_assert_int_eq(pipe2(own->pipe, O_NONBLOCK), 0);
	client->fd = own->pipe[0];
	fake.opened++;
	return 0;
}

static int
fail_to_open(struct bench_client *client)
{
	return client->number == 1 ? bench_fail(client, "no room")
				   : fake_open(client);
}

static void
fake_close(struct bench_client *client)
{
	struct fake_client *own = client->data;

	close(own->pipe[0]);
	close(own->pipe[1]);
	free(own);
	fake.closed++;
}

static void
sleep_ms(int ms)
{
	struct timespec ts = { .tv_nsec = ms * MS };

	nanosleep(&ts, NULL);
}

static int
begin(struct bench_client *client)
{
	int number = (int)fake.sent++;

	if (number == fake.fail_at)
		return bench_fail(client, "operation %d", number);
	if (number == fake.stall_at)
		sleep_ms(fake.stall_ms);
	return 0;
}

/* The answer is the slot's number. */
static int
fake_send(struct bench_client *client, struct bench_op *op)
{
	struct fake_client *own = client->data;
	unsigned char slot = (unsigned char)op->slot;

	ck_assert_ptr_null(op->data);
	op->data = own;
	if (++own->in_flight > fake.most_in_flight)
		fake.most_in_flight = own->in_flight;
	ck_assert_int_eq(write(own->pipe[1], &slot, 1), 1);
	return begin(client);
}

static int
fake_receive(struct bench_client *client)
{
	struct fake_client *own = client->data;
	unsigned char slots[16];
	ssize_t n = read(own->pipe[0], slots, sizeof(slots));

	ck_assert(n > 0 || errno == EAGAIN);
	for (ssize_t i = 0; i < n; i++) {
		struct bench_op *op = &client->ops[slots[i]];

		own->in_flight--;
		if (fake.errors && fake.sent % 2)
			bench_op_error(client, op);
		else
			bench_op_end(client, op);
	}
	return 0;
}

static int
fake_flush(struct bench_client *client)
{
	return fake.end_in_flush ? fake_receive(client) : 0;
}

static int
fake_run(struct bench_client *client, struct bench_op *op)
{
	if (begin(client) < 0)
		return -1;
	sleep_ms(1);
	if (fake.end_in_run)
		bench_op_end(client, op);
	return 0;
}

static const struct bench_driver driver = {
	.name = "fake",
	.open = fake_open,
	.send = fake_send,
	.flush = fake_flush,
	.receive = fake_receive,
	.run = fake_run,
	.close = fake_close,
};

/* ---- runs ---- */

static struct bench_plan plan;
static struct tally tally;
static uint64_t per_client[CLIENTS_MAX];

static void
setup(void)
{
	memset(&fake, 0, sizeof(fake));
	memset(&tally, 0, sizeof(tally));
	memset(per_client, 0, sizeof(per_client));
	fake.fail_at = fake.stall_at = -1;
	plan = (struct bench_plan){
		.clients_n = 4,
		.processes_n = 1,
		.threads_n = 1,
		.depth = 2,
		.rows_n = 10,
		.weight = { [BENCH_READ] = 1 },
		.async_kinds = 1U << BENCH_READ,
	};
}

/* Run all clients in this thread; returns why it failed, or NULL. */
static const char *
run(const struct bench_driver *with, int warmup_ms, int time_ms)
{
	struct turn_share share = {
		.driver = with,
		.plan = &plan,
		.clients_n = plan.clients_n,
		.tally = &tally,
		.per_client = per_client,
	};
	struct turn *turn = turn_new(&share);
	struct turn_times times = { .start_ns = turn_now_ns() + MS };
	static char why[200];
	bool failed;

	ck_assert_ptr_nonnull(turn);
	times.count_ns = times.start_ns + warmup_ms * MS;
	times.end_ns = time_ms ? times.count_ns + time_ms * MS : INT64_MAX;
	failed = turn_open(turn) < 0 || turn_run(turn, &times) < 0;
	if (failed)
		snprintf(why, sizeof(why), "%s", turn_get_why(turn));
	turn_free(turn);
	ck_assert_uint_eq(fake.opened, fake.closed);
	return failed ? why : NULL;
}

static uint64_t
sum_clients(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < plan.clients_n; i++)
		sum += per_client[i];
	return sum;
}

START_TEST(a_closed_loop_keeps_depth_in_flight)
{
	plan.clients_n = _i ? 4 : 1;
	/* long enough to be given a processor in both on a busy machine */
	ck_assert_ptr_null(run(&driver, 200, 300));
	ck_assert_uint_eq(fake.most_in_flight, 2);
	ck_assert_uint_eq(tally.ended[BENCH_READ], fake.sent);
	ck_assert_uint_gt(tally.ops[BENCH_READ], 0);
	ck_assert_uint_lt(tally.ops[BENCH_READ], fake.sent);
	ck_assert_uint_eq(tally.rows_n, tally.ops[BENCH_READ]);
	ck_assert_uint_eq(sum_clients(), tally.ops[BENCH_READ]);
	ck_assert_uint_ge(tally.hist[BENCH_READ].n, tally.ops[BENCH_READ]);
	ck_assert_uint_eq(tally.unsent_n, 0);
	ck_assert_int_gt(tally.cpu_ns, 0);
}
END_TEST

START_TEST(a_counted_run_is_exact_and_ends)
{
	plan.count_n = 100;
	plan.clients_n = _i ? 4 : 1;
	ck_assert_ptr_null(run(&driver, 0, 0));
	ck_assert_uint_eq(
	    tally.ops[BENCH_READ], UINT64_C(100) * plan.clients_n);
	ck_assert_uint_eq(
	    tally.ended[BENCH_READ], UINT64_C(100) * plan.clients_n);
	ck_assert_uint_eq(
	    tally.hist[BENCH_READ].n, UINT64_C(100) * plan.clients_n);
	for (unsigned i = 0; i < plan.clients_n; i++)
		ck_assert_uint_eq(per_client[i], 100);
	ck_assert_int_gt(tally.last_end_ns, 0);
}
END_TEST

START_TEST(a_warm_up_before_a_counted_run_is_not_counted)
{
	plan.count_n = 100;
	ck_assert_ptr_null(run(&driver, 200, 0));
	ck_assert_uint_eq(tally.ops[BENCH_READ], 400);
	ck_assert_uint_gt(tally.ended[BENCH_READ], 400);
}
END_TEST

START_TEST(answers_taken_while_flushing_are_not_forgotten)
{
	fake.end_in_flush = true;
	plan.count_n = 50;
	plan.clients_n = _i ? 4 : 1;
	ck_assert_ptr_null(run(&driver, 0, 0));
	ck_assert_uint_eq(tally.ops[BENCH_READ], UINT64_C(50) * plan.clients_n);
}
END_TEST

/* 100 ms at 1,000 per second: operations 0 to 99, whatever the machine does. */
START_TEST(an_open_loop_starts_what_is_due)
{
	plan.rate = 1000;
	ck_assert_ptr_null(run(&driver, 0, 100));
	ck_assert_uint_eq(fake.sent + tally.unsent_n, 100);
	ck_assert_uint_eq(tally.hist[BENCH_READ].n, 100);
	for (unsigned i = 0; i < plan.clients_n; i++)
		ck_assert_uint_le(per_client[i], 25);
}
END_TEST

START_TEST(an_open_loop_of_a_number_is_exact)
{
	plan.rate = 2000;
	plan.count_n = 20;
	ck_assert_ptr_null(run(&driver, 0, 0));
	ck_assert_uint_eq(tally.ops[BENCH_READ], 80);
}
END_TEST

/* A stall of 200 ms is seen by the 200 operations that were due in it: their times
 * are 200, 199, ... ms.  In a closed loop one would have seen it. */
START_TEST(a_stall_cannot_hide_from_an_open_loop)
{
	plan.rate = 1000;
	plan.clients_n = 1;
	plan.depth = 1;
	fake.stall_at = 10;
	fake.stall_ms = 200;
	ck_assert_ptr_null(run(&driver, 0, 400));
	ck_assert_uint_ge(tally.hist[BENCH_READ].max_ns, 200 * MS);
	ck_assert_uint_ge(
	    hist_percentile(&tally.hist[BENCH_READ], 0.91), 156 * MS);
	ck_assert_uint_ge(
	    hist_percentile(&tally.hist[BENCH_READ], 0.76), 96 * MS);
}
END_TEST

START_TEST(a_stall_at_the_end_is_seen_too)
{
	plan.rate = 1000;
	plan.clients_n = 1;
	plan.depth = 1;
	fake.stall_at = 10;
	fake.stall_ms = 800;
	ck_assert_ptr_null(run(&driver, 0, 400));
	ck_assert_uint_eq(fake.sent + tally.unsent_n, 400);
	ck_assert_uint_eq(tally.hist[BENCH_READ].n, 400);
	ck_assert_uint_ge(tally.hist[BENCH_READ].max_ns, 800 * MS);
	/* the one that stalled, and perhaps one in its place, ended after it */
	ck_assert_uint_le(tally.ops[BENCH_READ], 10);
	ck_assert_uint_ge(tally.unsent_n, 388);
}
END_TEST

START_TEST(a_kind_that_blocks_is_run)
{
	plan.async_kinds = 0;
	plan.clients_n = 1;
	plan.depth = 1;
	plan.count_n = 5;
	fake.end_in_run = _i;
	ck_assert_ptr_null(run(&driver, 0, 0));
	ck_assert_uint_eq(tally.ops[BENCH_READ], 5);
	ck_assert_uint_ge(hist_percentile(&tally.hist[BENCH_READ], 0), MS);
}
END_TEST

START_TEST(what_a_driver_says_is_told)
{
	fake.fail_at = 7;
	plan.async_kinds = _i ? 1U << BENCH_READ : 0;
	plan.clients_n = 1;
	plan.depth = 1;
	ck_assert_str_eq(run(&driver, 0, 1000), "operation 7");
}
END_TEST

START_TEST(a_connection_that_fails_ends_the_run)
{
	struct bench_driver failing = driver;

	failing.open = fail_to_open;
	ck_assert_str_eq(run(&failing, 0, 1000), "no room");
	ck_assert_uint_eq(fake.opened, 1);
	ck_assert_uint_eq(fake.sent, 0);
}
END_TEST

START_TEST(errors_are_in_no_other_figure)
{
	fake.errors = true;
	plan.clients_n = 1;
	plan.depth = 1;
	plan.count_n = 10;
	ck_assert_ptr_null(run(&driver, 0, 0));
	ck_assert_uint_eq(tally.errors[BENCH_READ], 5);
	ck_assert_uint_eq(tally.ops[BENCH_READ], 5);
	ck_assert_uint_eq(tally.ended[BENCH_READ], 5);
	ck_assert_uint_eq(tally.hist[BENCH_READ].n, 5);
	ck_assert_uint_eq(per_client[0], 5);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("turn");
	TCase *tc = tcase_create("turn");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_loop_test(tc, a_closed_loop_keeps_depth_in_flight, 0, 2);
	tcase_add_loop_test(tc, a_counted_run_is_exact_and_ends, 0, 2);
	tcase_add_test(tc, a_warm_up_before_a_counted_run_is_not_counted);
	tcase_add_loop_test(
	    tc, answers_taken_while_flushing_are_not_forgotten, 0, 2);
	tcase_add_test(tc, an_open_loop_starts_what_is_due);
	tcase_add_test(tc, an_open_loop_of_a_number_is_exact);
	tcase_add_test(tc, a_stall_cannot_hide_from_an_open_loop);
	tcase_add_test(tc, a_stall_at_the_end_is_seen_too);
	tcase_add_loop_test(tc, a_kind_that_blocks_is_run, 0, 2);
	tcase_add_loop_test(tc, what_a_driver_says_is_told, 0, 2);
	tcase_add_test(tc, a_connection_that_fails_ends_the_run);
	tcase_add_test(tc, errors_are_in_no_other_figure);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
