/* check_client_adapters.c - the same connection under libevent, libuv and poll:
 * requests before it is open, callbacks, another daemon, the end for good. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "client/adapters/sqlpool_libevent.h"
#include "client/adapters/sqlpool_libuv.h"
#include "client/adapters/sqlpool_poll.h"
#include "tests/lib/clientscript.h"
#include "tests/lib/fakedaemon.h"

#define SCRIPTS(...) ((fake_play *const[]){ __VA_ARGS__, NULL })

static struct fakedaemon fake;
static struct sqlpool_conn *conn;
static int answers_n; /* that are complete */
static int rows_n;
static int code; /* that the connection has ended with */

/* ---- a loop, three times ---- */

static struct event_base *base;
static struct sqlpool_libevent libevent;
static uv_loop_t uv;
static struct sqlpool_libuv *libuv;

static void
on_libevent_end(struct sqlpool_libevent *glue, int rc, void *arg)
{
	ck_assert_ptr_eq(arg, &code);
	sqlpool_libevent_detach(glue);
	code = rc;
}

static void
on_libuv_end(struct sqlpool_libuv *glue, int rc, void *arg)
{
	ck_assert_ptr_eq(arg, &code);
	sqlpool_libuv_detach(glue);
	code = rc;
}

static void
libevent_begin(void)
{
	base = event_base_new();
	ck_assert_ptr_nonnull(base);
	ck_assert_int_eq(sqlpool_libevent_attach(
			     &libevent, base, conn, on_libevent_end, &code),
	    0);
}

static void
libevent_turn(void)
{
	ck_assert_int_ge(event_base_loop(base, EVLOOP_ONCE), 0);
}

static void
libevent_update(void)
{
	ck_assert_int_eq(sqlpool_libevent_update(&libevent), 0);
}

static void
libevent_end(void)
{
	sqlpool_libevent_detach(&libevent);
	sqlpool_close(conn);
	event_base_free(base);
}

static void
libuv_begin(void)
{
	ck_assert_int_eq(uv_loop_init(&uv), 0);
	ck_assert_int_eq(
	    sqlpool_libuv_attach(&uv, conn, on_libuv_end, &code, &libuv), 0);
}

static void
libuv_turn(void)
{
	uv_run(&uv, UV_RUN_ONCE);
}

static void
libuv_update(void)
{
	ck_assert_int_eq(sqlpool_libuv_update(libuv), 0);
}

static void
libuv_end(void)
{
	if (!code)
		sqlpool_libuv_detach(libuv);
	sqlpool_close(conn);
	/* what is being closed is freed in the loop, and nothing else is left */
	uv_run(&uv, UV_RUN_DEFAULT);
	ck_assert_int_eq(uv_loop_close(&uv), 0);
}

static void
poll_turn(void)
{
	struct sqlpool_conn *conns[] = { NULL, conn };
	int rc = sqlpool_poll(conns, 2, 20000);

	if (rc < 0)
		code = rc;
}

static void
nothing(void)
{
}

static void
poll_end(void)
{
	ck_assert_int_eq(
	    sqlpool_poll(NULL, SQLPOOL_POLL_MAX + 1, 0), -SQLPOOL_ERR_MISUSE);
	sqlpool_close(conn);
}

static const struct loop {
	void (*begin)(void);
	void (*update)(void);
	void (*turn)(void);
	void (*end)(void);
} loops[] = {
	{ libevent_begin, libevent_update, libevent_turn, libevent_end },
	{ libuv_begin, libuv_update, libuv_turn, libuv_end },
	{ nothing, nothing, poll_turn, poll_end },
};

#define LOOPS 3

/* ---- scripts and requests ---- */

static void
answer(struct fakeserver *f)
{
	uint64_t id = fake_take_type(f, TYPE_EXEC);

	fake_ints(f, TYPE_ROWS, id, true, 2);
	fake_send(f);
	fake_ints(f, TYPE_DONE, id, false, 1);
	fake_send(f);
}

static void
play_two(struct fakeserver *f)
{
	fake_take_hello(f, 16, 65536);
	answer(f);
	answer(f);
}

static void
play_one(struct fakeserver *f)
{
	fake_take_hello(f, 16, 65536);
	answer(f);
}

/* A reply larger than the window, in parts that fill it. */
static void
play_much(struct fakeserver *f)
{
	uint64_t id, credit = 0;
	struct fake_request r;

	fake_take_hello(f, 16, 65536);
	id = fake_take_type(f, TYPE_EXEC);
	for (int i = 0; i < 20; i++) {
		fake_ints(f, TYPE_ROWS, id, i == 0, 5000);
		credit += f->out.n;
		fake_send(f);
		while (credit >= 65536) {
			ck_assert(fake_take(f, &r));
			if (r.head.type == TYPE_CREDIT)
				credit -= r.ask.credit_bytes < credit
				    ? r.ask.credit_bytes
				    : credit;
		}
	}
	fake_ints(f, TYPE_DONE, id, false, 1);
	fake_send(f);
	while (fake_take(f, &r))
		;
}

static void
play_nonsense(struct fakeserver *f)
{
	fake_take_hello(f, 16, 65536);
	fake_take_type(f, TYPE_EXEC);
	buf_put(&f->out, "HTTP/1.1 400", 12);
	fake_send(f);
}

static void
on_rows(struct sqlpool_result *result, void *arg)
{
	int rc;

	ck_assert_ptr_eq(arg, &rows_n);
	while ((rc = sqlpool_next(result)) == SQLPOOL_ROW)
		rows_n++;
	if (rc == SQLPOOL_AGAIN)
		return;
	ck_assert(rc == SQLPOOL_DONE || rc == -SQLPOOL_ERR_BAD_REPLY);
	sqlpool_result_free(result);
	answers_n++;
}

static void
ask(void)
{
	struct sqlpool_result *result = clientscript_send(conn, "x");

	ck_assert_int_eq(sqlpool_set_callback(result, on_rows, &rows_n), 0);
}

static void
begin(const struct loop *loop, fake_play *const *plays)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;

	fakedaemon_start(&fake, plays);
	options.socket_path = fake.path;
	options.connect_timeout_ms = 20000;
	options.request_timeout_ms = 20000;
	options.window_bytes = 65536;
	ck_assert_int_eq(sqlpool_open_start(&options, &conn), 0);
	ask();
	loop->begin();
}

static void
run_until(const struct loop *loop, int n)
{
	while (answers_n < n)
		loop->turn();
}

/* ---- tests ---- */

START_TEST(requests_call_back_and_daemons_come_and_go)
{
	const struct loop *loop = &loops[_i];

	begin(loop, SCRIPTS(play_two, play_one));
	run_until(loop, 1);
	ask();
	loop->update();
	run_until(loop, 2);
	/* the first daemon leaves now, sooner or later than this */
	ask();
	loop->update();
	run_until(loop, 3);
	ck_assert_int_eq(rows_n, 9);
	ck_assert_int_eq(code, 0);
	loop->end();
	fakedaemon_stop(&fake);
}
END_TEST

START_TEST(a_large_result_is_taken_as_it_comes)
{
	const struct loop *loop = &loops[_i];

	begin(loop, SCRIPTS(play_much));
	run_until(loop, 1);
	ck_assert_int_eq(rows_n, 20 * 5000 + 1);
	loop->end();
	fakedaemon_stop(&fake);
}
END_TEST

START_TEST(the_end_for_good_is_told)
{
	const struct loop *loop = &loops[_i];

	begin(loop, SCRIPTS(play_nonsense));
	while (code == 0)
		loop->turn();
	ck_assert_int_eq(code, -SQLPOOL_ERR_BAD_REPLY);
	ck_assert_int_eq(answers_n, 1);
	loop->end();
	fakedaemon_stop(&fake);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("client_adapters");
	TCase *tc = tcase_create("loops");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 20);
	tcase_add_loop_test(
	    tc, requests_call_back_and_daemons_come_and_go, 0, LOOPS);
	tcase_add_loop_test(tc, a_large_result_is_taken_as_it_comes, 0, LOOPS);
	tcase_add_loop_test(tc, the_end_for_good_is_told, 0, LOOPS);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
