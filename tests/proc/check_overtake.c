/* check_overtake.c - a CANCEL, or the end of its connection, acts at once: nothing
 * that its client sent before has to have its turn first.
 *
 * What stands before it are texts that take long to prepare, of which the worker,
 * the only one, takes one in a turn.  (How long it may take: check_cancel.c.) */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/error.h"
#include "proto/frame.h"
#include "tests/lib/doubling.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

#define ENDLESS \
	"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "

/* Of 12 tables: 25 ms each. */
#define TEXTS_N 20

static struct live live;
static struct rawconn a, b;
static int texts_n; /* so far: each is another one */

static void
start(const char *const *options)
{
	live_init(&live);
	live_start(&live, options);
	raw_open(&a, live.socket_path);
	raw_open(&b, live.socket_path);
	raw_run(&b, 0, "CREATE TABLE t(x)", 0);
}

/* Not stopped but killed: the texts may still wait. */
static void
stop(void)
{
	raw_close(&a);
	raw_close(&b);
	live_kill(&live);
	live_check_file(live.db_path);
	live_fini(&live);
}

/* Gives the id of the first. */
static uint64_t
put_texts(struct rawconn *c, unsigned n, int tables_n)
{
	struct buf text;

	buf_init(&text);
	for (unsigned i = 0; i < n; i++) {
		doubling_make(&text, ++texts_n, tables_n, "");
		buf_put(&text, "", 1);
		ck_assert(!buf_failed(&text));
		raw_put_exec(c, 0, (const char *)text.p);
	}
	buf_fini(&text);
	return c->last_id - n + 1;
}

/* What a was flushed of has been read, and the first of it has had its turn. */
static void
let_begin(void)
{
	raw_flush(&a);
	raw_let_arrive(&b);
}

/* Cancel all from the first id on, without an answer. */
static void
put_cancels(struct rawconn *c, uint64_t first, uint64_t last)
{
	for (uint64_t id = first; id <= last; id++) {
		struct msg_out m;

		msg_begin_body(&m, &c->out, TYPE_CANCEL, 0, 0);
		msg_put_uint(&m, ASK_target, id);
		ck_assert_int_eq(msg_end(&m, FRAME_DEFAULT_MAX_BYTES), 0);
	}
}

/* --- Wherever it is ------------------------------------------------------------- */

static uint64_t
put_read(void)
{
	uint64_t id = raw_put_exec(&a, 0, ENDLESS "SELECT max(x) FROM c");

	raw_flush(&a);
	live_wait_busy(&live, "readers");
	return id;
}

static uint64_t
put_write(void)
{
	uint64_t id = raw_put_exec(
	    &a, 0, "INSERT INTO t " ENDLESS "SELECT x FROM c");

	raw_flush(&a);
	live_wait_busy(&live, "writers");
	return id;
}

static uint64_t
put_result(void)
{
	uint64_t id = raw_put_exec(
	    &a, 0, ENDLESS "SELECT x, zeroblob(1000) FROM c");
	struct rawreply r;

	raw_flush(&a);
	ck_assert(raw_take(&a, &r)); /* rows */
	return id;
}

/* The transaction of b has the writer. */
static void
take_writer(void)
{
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, "INSERT INTO t VALUES('b')", 0);
}

static uint64_t
put_queued_write(void)
{
	uint64_t id;

	take_writer();
	id = raw_put_exec(&a, 0, "INSERT INTO t VALUES('a')");
	raw_flush(&a);
	live_wait_queue(&live, 1);
	return id;
}

static uint64_t
put_parked_read(void)
{
	put_queued_write();
	raw_put_exec(&a, 0, "SELECT count(*) FROM t");
	raw_let_arrive(&a);
	return a.last_id - 1;
}

static uint64_t
put_in_session(void)
{
	take_writer();
	raw_put_begin(&a, 1, TX_MODE_IMMEDIATE);
	raw_put_exec(&a, 1, "INSERT INTO t VALUES('a')");
	raw_put_exec(&a, 1, "INSERT INTO t VALUES('a')");
	raw_let_arrive(&a);
	return a.last_id - 1;
}

static uint64_t
put_in_8_reads(void)
{
	for (int i = 0; i < 9; i++)
		raw_put_exec(&a, 0, ENDLESS "SELECT max(x) FROM c");
	raw_let_arrive(&a);
	return a.last_id - 1;
}

static const struct {
	const char *name;
	uint64_t (*put)(void); /* gives the id that is to be cancelled */
} places[] = {
	{ "a read that runs", put_read },
	{ "a write that runs", put_write },
	{ "a result that waits for credit", put_result },
	{ "a write in the line", put_queued_write },
	{ "a read behind its client's write", put_parked_read },
	{ "a statement behind its transaction's", put_in_session },
	{ "a read that is one too many", put_in_8_reads },
};

/* A PING stands behind the texts, and has its turn after theirs. */
START_TEST(cancel_comes_before_long_texts_wherever_its_target_is)
{
	uint64_t target, ping, cancel;
	bool ended = false;
	struct rawreply r;

	start(LIVE_OPTIONS("workers=1"));
	target = places[_i].put();
	put_texts(&a, TEXTS_N, 12);
	ping = raw_put(&a, TYPE_PING, 0);
	let_begin();
	cancel = raw_put_cancel(&a, target);
	raw_flush(&a);
	for (bool answered = false; !answered || !ended;) {
		ck_assert(raw_take(&a, &r));
		ck_assert_msg(
		    r.head.id != ping, "%s: too late", places[_i].name);
		answered |= r.head.id == cancel;
		if (r.head.id != target || r.head.type == TYPE_ROWS)
			continue;
		ck_assert_uint_eq(r.tell.code, ERR_CANCELLED);
		ck_assert(!ended);
		ended = true;
	}
	stop();
}
END_TEST

/* --- What waits for its turn ------------------------------------------------------ */

/* Answers, by their requests' ids from one on. */
struct answers {
	unsigned order[64]; /* the first that came is 1 */
	uint64_t codes[64];
};

/* Take the answers to everything from an id on, one each.  When the one that was
 * cancelled has its, the texts that are left have done what they are for. */
static void
take_all(uint64_t from, uint64_t first, uint64_t cancelled, struct answers *ret)
{
	unsigned n = (unsigned)(a.last_id - from + 1);
	struct rawreply r;

	*ret = (struct answers){ 0 };
	for (unsigned k = 1; k <= n; k++) {
		uint64_t at;

		ck_assert(raw_take(&a, &r));
		at = r.head.id - from;
		ck_assert(r.head.id >= from && at < n && !ret->order[at]);
		ret->order[at] = k;
		ret->codes[at] = r.tell.code;
		if (r.head.id == cancelled) {
			put_cancels(&a, first, first + TEXTS_N - 1);
			raw_flush(&a);
		}
	}
	raw_let_arrive(&a); /* nothing else comes */
}

/* One was cancelled, and says so before before_id is answered; the texts, which
 * begin at first, have their turns in their order. */
static void
expect_one_cancelled(
    uint64_t from, uint64_t first, uint64_t cancelled, uint64_t before_id)
{
	uint64_t last = a.last_id, end = first + TEXTS_N;
	unsigned when, last_text = 0;
	struct answers got;

	take_all(from, first, cancelled, &got);
	when = got.order[cancelled - from];
	ck_assert_uint_eq(got.codes[cancelled - from], ERR_CANCELLED);
	ck_assert_uint_gt(got.order[before_id - from], when);
	for (uint64_t id = from; id <= last; id++) {
		unsigned order = got.order[id - from];
		uint64_t code = got.codes[id - from];
		bool is_text = id >= first && id < end;

		if (id == cancelled || (is_text && order > when && code))
			continue;
		ck_assert_uint_eq(code, 0);
		ck_assert(!is_text || order > last_text);
		last_text = is_text ? order : last_text;
	}
}

/* It came with them; the first of them has its turn first. */
START_TEST(cancel_ends_what_came_with_it)
{
	uint64_t first;

	start(LIVE_OPTIONS("workers=1"));
	first = put_texts(&a, TEXTS_N, 12);
	raw_put_cancel(&a, first + TEXTS_N - 1);
	ck_assert_uint_lt(a.out.n, 1 << 16); /* in one read */
	raw_flush(&a);
	expect_one_cancelled(first, first, first + TEXTS_N - 1, first + 1);
	stop();
}
END_TEST

START_TEST(cancel_ends_what_waits_for_its_turn)
{
	uint64_t first;

	start(LIVE_OPTIONS("workers=1"));
	first = put_texts(&a, TEXTS_N, 12);
	let_begin();
	raw_put_cancel(&a, first + TEXTS_N - 1);
	raw_flush(&a);
	expect_one_cancelled(
	    first, first, first + TEXTS_N - 1, first + TEXTS_N - 2);
	stop();
}
END_TEST

/* They have waited for their database, and go on one by one; what comes then waits
 * behind them. */
START_TEST(cancel_ends_what_can_go_on)
{
	struct rawreply r;
	uint64_t first;

	start(LIVE_OPTIONS("workers=1"));
	raw_expect(&b, raw_put_admin(&b, "PAUSE app"), 0);
	first = put_texts(&a, TEXTS_N, 12);
	let_begin();
	raw_put_admin(&b, "RESUME app");
	raw_flush(&b);
	raw_wait(&a, first, &r);
	raw_put(&a, TYPE_PING, 0);
	let_begin();
	raw_put_cancel(&a, first + TEXTS_N - 1);
	raw_flush(&a);
	expect_one_cancelled(
	    first + 1, first, first + TEXTS_N - 1, first + TEXTS_N - 2);
	stop();
}
END_TEST

/* With the first bytes of a connection, where HELLO comes before it. */
START_TEST(cancel_waits_for_no_more_than_hello)
{
	uint64_t first;

	start(LIVE_OPTIONS("workers=1"));
	raw_close(&a);
	raw_connect(&a, live.socket_path);
	raw_put_hello(&a);
	first = put_texts(&a, TEXTS_N, 12);
	raw_put_cancel(&a, first + TEXTS_N - 1);
	raw_flush(&a);
	expect_one_cancelled(first - 1, first, first + TEXTS_N - 1, first + 1);
	stop();
}
END_TEST

START_TEST(cancel_leaves_the_rest_of_its_transaction)
{
	uint64_t first, cancelled;

	start(LIVE_OPTIONS("workers=1"));
	first = put_texts(&a, TEXTS_N, 12);
	raw_put_begin(&a, 1, TX_MODE_IMMEDIATE);
	raw_put_exec(&a, 1, "INSERT INTO t VALUES('a')");
	cancelled = raw_put_exec(&a, 1, "INSERT INTO t VALUES('b')");
	raw_put_exec(&a, 1, "INSERT INTO t VALUES('c')");
	raw_put_end(&a, 1, true);
	let_begin();
	raw_put_cancel(&a, cancelled);
	raw_flush(&a);
	expect_one_cancelled(first, first, cancelled, first + TEXTS_N - 1);
	ck_assert_int_eq(
	    raw_run_int(&b, 0, "SELECT count(*) FROM t WHERE x <> 'b'"), 2);
	ck_assert_int_eq(raw_run_int(&b, 0, "SELECT count(*) FROM t"), 2);
	stop();
}
END_TEST

static uint64_t
put_stmt(enum msg_type type, const char *sql)
{
	struct msg_out m;

	msg_begin_body(&m, &a.out, type, ++a.last_id, 0);
	if (sql)
		msg_put_str(&m, ASK_sql, sql);
	msg_put_uint(&m, ASK_stmt, 7);
	ck_assert_int_eq(msg_end(&m, FRAME_DEFAULT_MAX_BYTES), 0);
	return a.last_id;
}

/* Else its write would be committed at once. */
START_TEST(cancel_of_a_begin_leaves_no_statement_outside)
{
	uint64_t first, begin;

	start(LIVE_OPTIONS("workers=1"));
	first = put_texts(&a, TEXTS_N, 12);
	begin = raw_put_begin(&a, 1, TX_MODE_IMMEDIATE);
	raw_put_exec(&a, 1, "INSERT INTO t VALUES('a')");
	raw_put_end(&a, 1, false);
	let_begin();
	raw_put_cancel(&a, begin);
	put_cancels(&a, first, first + TEXTS_N - 1);
	raw_expect(&a, begin, 0);
	raw_expect(&a, begin + 1, 0);
	raw_expect(&a, begin + 2, 0);
	ck_assert_int_eq(raw_run_int(&b, 0, "SELECT count(*) FROM t"), 0);
	stop();
}
END_TEST

/* Which is not free before what came before it has had its turn. */
START_TEST(cancel_of_a_prepare_leaves_its_number_to_what_came_before)
{
	uint64_t first, before, prepare, behind;

	start(LIVE_OPTIONS("workers=1"));
	raw_expect(&a, put_stmt(TYPE_PREPARE, "SELECT 5"), 0);
	first = put_texts(&a, TEXTS_N, 12);
	before = put_stmt(TYPE_EXEC, NULL);
	prepare = put_stmt(TYPE_PREPARE, "SELECT 6");
	behind = put_stmt(TYPE_EXEC, NULL);
	let_begin();
	raw_put_cancel(&a, prepare);
	put_cancels(&a, first, first + TEXTS_N - 1); /* enough of them */
	ck_assert_int_eq(raw_expect_int(&a, before), 5);
	raw_expect(&a, prepare, ERR_CANCELLED);
	raw_expect(&a, behind, ERR_STATEMENT_UNKNOWN);
	stop();
}
END_TEST

/* --- What is not meant ---------------------------------------------------------- */

START_TEST(cancel_leaves_what_was_sent_after_it)
{
	uint64_t id;

	start(LIVE_OPTIONS("workers=1"));
	put_texts(&a, 2, 11);
	raw_put_cancel(&a, a.last_id + 2);
	id = raw_put_exec(&a, 0, "SELECT 5");
	ck_assert_int_eq(raw_expect_int(&a, id), 5);
	stop();
}
END_TEST

/* CREDIT has none, as a CANCEL may have. */
START_TEST(cancel_leaves_what_has_no_id)
{
	struct rawreply r;
	struct msg_out m;
	uint64_t first;

	start(LIVE_OPTIONS("workers=1"));
	first = put_texts(&a, 4, 11);
	msg_begin_body(&m, &a.out, TYPE_CREDIT, 0, 0);
	msg_put_uint(&m, ASK_target, first);
	msg_put_uint(&m, ASK_credit_bytes, 1);
	ck_assert_int_eq(msg_end(&m, FRAME_DEFAULT_MAX_BYTES), 0);
	raw_put_cancel(&a, 0);
	raw_put(&a, TYPE_PING, 0);
	raw_flush(&a);
	for (uint64_t n = a.last_id - first + 1; n > 0; n--) {
		ck_assert(raw_take(&a, &r));
		ck_assert_uint_ge(r.head.id, first);
		ck_assert_uint_eq(r.tell.code, 0);
	}
	stop();
}
END_TEST

/* The other request with its id waits, and is refused or has its turn. */
START_TEST(cancel_means_the_first_of_an_id)
{
	unsigned answers_n = 0, cancelled_n = 0;
	struct rawreply r;
	uint64_t id;

	start(LIVE_OPTIONS("workers=1"));
	id = put_read();
	put_texts(&a, 4, 11);
	a.last_id = id - 1;
	raw_put_exec(&a, 0, "SELECT 5");
	a.last_id = id + 4;
	let_begin();
	raw_put_cancel(&a, id);
	raw_flush(&a);
	while (answers_n < 2) {
		ck_assert(raw_take(&a, &r));
		if (r.head.id != id)
			continue;
		answers_n++;
		cancelled_n += r.tell.code == ERR_CANCELLED;
	}
	ck_assert_uint_eq(cancelled_n, 1);
	stop();
}
END_TEST

/* --- Bounds --------------------------------------------------------------------- */

/* Of 20, one has had its turn when the CANCEL comes: it is read when 8 are left. */
START_TEST(cancel_waits_while_more_wait_than_may_be_under_way)
{
	unsigned texts_before_n = 0;
	uint64_t target, cancel;
	struct rawreply r;

	start(LIVE_OPTIONS("workers=1", "max_in_flight=8"));
	put_texts(&a, TEXTS_N, 11);
	let_begin();
	target = a.last_id;
	cancel = raw_put_cancel(&a, target);
	raw_flush(&a);
	do {
		ck_assert(raw_take(&a, &r));
		if (r.head.id == target)
			ck_assert_uint_eq(r.tell.code, ERR_CANCELLED);
		texts_before_n += r.head.id < target;
	} while (r.head.id != cancel);
	ck_assert_uint_ge(texts_before_n, TEXTS_N - 8);
	ck_assert_uint_lt(texts_before_n, TEXTS_N - 1);
	stop();
}
END_TEST

/* --- The end of a connection ----------------------------------------------------- */

static struct sqlpool_conn *admin;

static bool
no_reader_is_busy(const void *arg)
{
	char *busy = live_ask(admin, "SHOW POOLS", "readers_busy");
	bool is_so = strcmp(busy, "0\n") == 0;

	(void)arg;
	free(busy);
	return is_so;
}

/* All that it had sent ends.  Its texts, behind a write of its own, would take 0.5 s,
 * with nothing that could not be sent meanwhile. */
START_TEST(a_lost_client_is_seen_before_its_long_texts)
{
	int64_t prepared;

	start(LIVE_OPTIONS("workers=1"));
	admin = live_connect_admin(&live);
	put_read();
	put_queued_write();
	prepared = live_get_stat(&live, "statements_prepared");
	put_texts(&a, TEXTS_N, 12);
	let_begin();
	raw_close(&a);
	proc_wait_until(no_reader_is_busy, NULL, "its read is stopped");
	ck_assert_int_lt(
	    live_get_stat(&live, "statements_prepared") - prepared, TEXTS_N);
	sqlpool_close(admin);
	stop();
}
END_TEST

/* The worker is through with what it was sent until its client has too much unread. */
static bool
holds_one(const void *arg)
{
	char *held = live_ask(admin, "SHOW WORKERS", "held");
	bool one = strcmp(held, "1\n") == 0;

	(void)arg;
	free(held);
	return one;
}

/* One that takes no replies is not read from; but its end is seen. */
START_TEST(a_lost_client_is_seen_when_its_replies_wait)
{
	start(LIVE_OPTIONS("workers=1"));
	admin = live_connect_admin(&live);
	put_read();
	for (int i = 0; i < 60; i++)
		raw_put_exec(&a, 0, "SELECT zeroblob(60000)");
	let_begin();
	proc_wait_until(holds_one, NULL, "its replies wait");
	raw_close(&a);
	proc_wait_until(no_reader_is_busy, NULL, "its read is stopped");
	sqlpool_close(admin);
	stop();
}
END_TEST

/* --- Behind another client's -------------------------------------------------------- */

/* The turn of the worker ends with a's first text; b is behind it, and has its answers
 * and its end in the next one. */
START_TEST(what_is_left_of_a_turn_is_answered_before_the_end)
{
	static const uint8_t bad[] = { 255, 255, 255, 255, 255, 255, 255, 255 };
	struct rawreply r;
	uint64_t first;

	start(LIVE_OPTIONS("workers=1"));
	put_texts(&a, TEXTS_N, 11);
	raw_flush(&a);
	first = b.last_id + 1;
	raw_put_exec(&b, 0, "SELECT 5");
	raw_put(&b, TYPE_PING, 0);
	buf_put(&b.out, bad, sizeof(bad));
	raw_flush(&b);
	ck_assert(raw_take(&b, &r));
	ck_assert_uint_eq(r.tell.code, ERR_FRAME_MAGIC);
	for (uint64_t id = first; id <= b.last_id; id++) {
		ck_assert(raw_take(&b, &r));
		ck_assert_uint_eq(r.head.id, id);
		ck_assert_uint_eq(r.tell.code, 0);
	}
	raw_expect_end(&b);
	stop();
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("overtake");
	TCase *tc = tcase_create("overtake");

	tcase_set_timeout(tc, 15);
	tcase_add_loop_test(tc,
	    cancel_comes_before_long_texts_wherever_its_target_is, 0,
	    (int)COUNT(places));
	tcase_add_test(tc, cancel_ends_what_came_with_it);
	tcase_add_test(tc, cancel_ends_what_waits_for_its_turn);
	tcase_add_test(tc, cancel_ends_what_can_go_on);
	tcase_add_test(tc, cancel_waits_for_no_more_than_hello);
	tcase_add_test(tc, cancel_leaves_the_rest_of_its_transaction);
	tcase_add_test(tc, cancel_of_a_begin_leaves_no_statement_outside);
	tcase_add_test(
	    tc, cancel_of_a_prepare_leaves_its_number_to_what_came_before);
	tcase_add_test(tc, cancel_leaves_what_was_sent_after_it);
	tcase_add_test(tc, cancel_leaves_what_has_no_id);
	tcase_add_test(tc, cancel_means_the_first_of_an_id);
	tcase_add_test(tc, cancel_waits_while_more_wait_than_may_be_under_way);
	tcase_add_test(tc, a_lost_client_is_seen_before_its_long_texts);
	tcase_add_test(tc, a_lost_client_is_seen_when_its_replies_wait);
	tcase_add_test(tc, what_is_left_of_a_turn_is_answered_before_the_end);
	suite_add_tcase(suite, tc);
	return suite;
}

int
main(void)
{
	SRunner *runner = srunner_create(make_suite());
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
