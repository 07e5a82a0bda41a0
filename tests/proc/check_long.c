/* check_long.c - a statement that nothing can stop takes no worker with it: while
 * one client runs the worst that is known (facts.md, section 4), another client of
 * the same worker, the only one, goes on reading.
 *
 * SQLite's own functions, and statements without a bound, take 4 s to hours for
 * each of these. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "daemon/clock.h"
#include "proto/error.h"
#include "tests/lib/doubling.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* How long the other may wait: some 0.05 s in fact, the machine's other work
 * apart. */
#define WAIT_US INT64_C(1000000)

/* The other one's reads; the first meets the statement, the others what follows
 * when it moves. */
#define READS_N 20

#define SQL_ERROR 1 /* SQLITE_ERROR, sqlite.org/rescode.html */

#define ENDLESS                                                           \
	"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)" \
	" INSERT INTO t SELECT "

static struct live live;
static struct rawconn hungry, witness;

/* clang-format off */
static const char *const worst[] = {
	"SELECT instr(hex(zeroblob(8000000)), hex(zeroblob(4000000)) || '1')",
	"SELECT length(replace(hex(zeroblob(8000000)), hex(zeroblob(4000000)) || '1', 'x'))",
	"SELECT hex(zeroblob(8000000)) LIKE '%' || hex(zeroblob(120)) || '1'",
	"SELECT hex(zeroblob(8000000)) LIKE '%' || hex(zeroblob(24000)) || '1'",
	"SELECT hex(zeroblob(8000000)) GLOB '*[' || hex(zeroblob(120)) || '1]2'",
	"SELECT hex(zeroblob(32000)) GLOB '*' || replace(hex(zeroblob(20)), '0', '[0-9]') || '1'",
	"SELECT trim(hex(zeroblob(8000000)), replace(hex(zeroblob(400000)), '0', '1') || '0')",
	"SELECT rtrim(hex(zeroblob(30000)), replace(hex(zeroblob(3000)), '0', '1') || '0')",
	"SELECT printf('%.*c', 900000000, 'x')",
	"SELECT length(printf('%*c', 900000000, 'x'))",
	"SELECT length(hex(zeroblob(30000000)))",
	"SELECT length(hex(randomblob(30000000)))",
	"SELECT length(quote(zeroblob(30000000)))",
	"SELECT length(group_concat(hex(zeroblob(100000)))) FROM pragma_function_list",
	("SELECT json_patch('{' || substr(replace(hex(zeroblob(40000)), '0', ',\"a\":1'), 2) || '}',"
	"  '{' || substr(replace(hex(zeroblob(40000)), '0', ',\"b\":1'), 2) || '}')"),
	("SELECT json_patch('{' || substr(replace(hex(zeroblob(2600)), '0', ',\"a\":1'), 2) || '}',"
	"  '{' || substr(replace(hex(zeroblob(2600)), '0', ',\"b\":1'), 2) || '}')"),
	"SELECT json_array_length('[' || replace(hex(zeroblob(4000000)), '0', '0,') || '0]')",
	"SELECT count(*) FROM json_each('[' || replace(hex(zeroblob(4000000)), '0', '0,') || '0]')",
	("SELECT x FROM (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 2000000)"
	"  SELECT x FROM c) ORDER BY -x LIMIT 1"),
	"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c",
};
/* clang-format on */

static void
start_with(const char *const *options)
{
	live_init(&live);
	live_start(&live, options);
	raw_open(&hungry, live.socket_path);
	raw_open(&witness, live.socket_path);
	raw_run(&witness, 0, "CREATE TABLE t(x)", 0);
}

static void
start(void)
{
	start_with(LIVE_OPTIONS("workers=1"));
}

/* Not stopped but killed: some of the statements still run. */
static void
stop(void)
{
	raw_close(&hungry);
	raw_close(&witness);
	live_kill(&live);
	live_fini(&live);
}

static int64_t
measure_wait_us(int reads_n)
{
	int64_t worst_us = 0;

	for (int i = 0; i < reads_n; i++) {
		int64_t begin_us = clock_now_us(), took_us;

		ck_assert_int_eq(raw_run_int(&witness, 0, "SELECT 77"), 77);
		took_us = clock_now_us() - begin_us;
		worst_us = took_us > worst_us ? took_us : worst_us;
	}
	return worst_us;
}

static void
expect_short_wait(const char *what, int reads_n)
{
	int64_t us = measure_wait_us(reads_n);

	ck_assert_msg(us < WAIT_US * proc_get_slowness(),
	    "%s: another client waited for %.3f s", what, (double)us / 1e6);
}

START_TEST(long_function_holds_up_nobody)
{
	start();
	raw_put_exec(&hungry, 0, worst[_i]);
	raw_flush(&hungry);
	expect_short_wait(worst[_i], READS_N);
	stop();
}
END_TEST

/* A table of rows that are each as long as a worker may have them. */
static void
fill(const char *bytes, const char *rows)
{
	char sql[256];

	snprintf(sql, sizeof(sql),
	    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c"
	    " LIMIT %s) INSERT INTO t SELECT hex(zeroblob(%s)) FROM c",
	    rows, bytes);
	raw_run(&witness, 0, sql, 0);
}

/* Each takes milliseconds, and a worker's statement is asked after so many opcodes
 * whether its time is up. */
START_TEST(long_patterns_of_many_rows_hold_up_nobody)
{
	static const char *const reads[] = {
		"SELECT count(*) FROM t WHERE x LIKE '%' || hex(zeroblob(120)) || '1'",
		"SELECT count(*) FROM t WHERE x LIKE '%' || hex(zeroblob(24)) || '1'",
		"SELECT sum(x GLOB '*' || hex(zeroblob(120)) || '1') FROM t",
	};

	start();
	fill("30000", "300");
	raw_put_exec(&hungry, 0, reads[_i]);
	raw_flush(&hungry);
	expect_short_wait(reads[_i], READS_N);
	stop();
}
END_TEST

/* It goes to the readers, where it may be as long as 256 bytes. */
START_TEST(long_pattern_has_its_answer)
{
	start();
	raw_run(
	    &hungry, 0, "INSERT INTO t VALUES(hex(zeroblob(200)) || '1')", 0);
	ck_assert_int_eq(raw_run_int(&hungry, 0,
			     "SELECT count(*) FROM t WHERE x LIKE '%' ||"
			     " hex(zeroblob(120)) || '1'"),
	    1);
	raw_run(&hungry, 0,
	    "SELECT count(*) FROM t WHERE x LIKE '%' || hex(zeroblob(150))",
	    SQL_ERROR);
	stop();
}
END_TEST

/* --- Preparing --------------------------------------------------------------- */

/* head, then unit as often as fits, then tail. */
static void
make_long(struct buf *b, const char *head, const char *unit, const char *tail)
{
	buf_put(b, head, strlen(head));
	while (b->n < 8000000)
		buf_put(b, unit, strlen(unit));
	buf_put(b, tail, strlen(tail));
}

static const struct {
	const char *head, *unit, *tail;
} texts[] = {
	{ NULL, NULL, NULL },
	{ "INSERT INTO t VALUES(1)", ",(1)", "" },
	{ "SELECT 5 IN (1", ",2", ")" },
	{ "SELECT CASE 1", " WHEN 1 THEN 2", " END" },
	{ "SELECT x'", "00", "'" },
	{ "SELECT 1", "/**/", "" },
};

START_TEST(long_text_holds_up_nobody)
{
	struct buf b;

	buf_init(&b);
	if (texts[_i].head)
		make_long(&b, texts[_i].head, texts[_i].unit, texts[_i].tail);
	else
		doubling_make(&b, 1, 30, "");
	buf_put(&b, "", 1);
	ck_assert(!buf_failed(&b));
	start();
	raw_put_exec(&hungry, 0, (const char *)b.p);
	raw_flush(&hungry);
	expect_short_wait(texts[_i].head ? texts[_i].head : "WITH", READS_N);
	stop();
	buf_fini(&b);
}
END_TEST

/* Texts that are all to be prepared, as they begin with another number each; to be
 * flushed. */
static void
put_texts(int n, int tables_n, const char *more)
{
	struct buf b;

	buf_init(&b);
	for (int i = 0; i < n; i++) {
		doubling_make(&b, i, tables_n, more);
		buf_put(&b, "", 1);
		ck_assert(!buf_failed(&b));
		raw_put_exec(&hungry, 0, (const char *)b.p);
	}
	buf_fini(&b);
}

/* Each takes 50 ms, and all of them arrive at once. */
START_TEST(long_texts_in_a_row_hold_up_nobody)
{
	start();
	put_texts(40, 13, "");
	raw_flush(&hungry);
	expect_short_wait("40 of WITH", 2);
	stop();
}
END_TEST

/* Though they take several turns: 0.5 ms each. */
START_TEST(long_texts_in_a_row_keep_their_order)
{
	struct rawreply r;

	start();
	put_texts(64, 7, "");
	raw_flush(&hungry);
	for (int i = 0; i < 64; i++) {
		ck_assert(raw_take(&hungry, &r));
		ck_assert_uint_eq(r.tell.code, 0);
		ck_assert_uint_eq(r.head.id, hungry.last_id - 63 + (unsigned)i);
	}
	stop();
}
END_TEST

/* So many that wait for something: 25 ms each. */
#define WAITERS_N     20
#define put_waiters() put_texts(WAITERS_N, 12, "")

/* Take the answers to what was put last, in order.  They can go on since begin_us:
 * one turn for all of them would send the first with the last. */
static void
expect_turns(int64_t begin_us, int code)
{
	int64_t first_us = 0, all_us;

	for (unsigned i = 0; i < WAITERS_N; i++) {
		struct rawreply r;

		ck_assert(raw_take(&hungry, &r));
		ck_assert_int_eq((int)r.tell.code, code);
		ck_assert_uint_eq(
		    r.head.id, hungry.last_id - WAITERS_N + 1 + i);
		if (i == 0)
			first_us = clock_now_us() - begin_us;
	}
	all_us = clock_now_us() - begin_us;
	ck_assert_msg(first_us < all_us / 2, "the first took %.3f s of %.3f s",
	    (double)first_us / 1e6, (double)all_us / 1e6);
}

START_TEST(long_texts_for_a_paused_database_hold_up_nobody)
{
	uint64_t resume;
	int64_t begin_us;

	start();
	raw_expect(&witness, raw_put_admin(&witness, "PAUSE app"), 0);
	put_waiters();
	raw_let_arrive(&hungry);
	hungry.last_id--; /* the PING's */
	begin_us = clock_now_us();
	resume = raw_put_admin(&witness, "RESUME app");
	raw_flush(&witness);
	expect_turns(begin_us, 0);
	raw_expect(&witness, resume, 0);
	stop();
}
END_TEST

/* The transaction waits for the other's; then they are outside of it. */
START_TEST(long_texts_behind_a_commit_hold_up_nobody)
{
	int64_t begin_us;

	start();
	raw_begin(&witness, TX_MODE_IMMEDIATE);
	raw_run(&witness, 0, "INSERT INTO t VALUES(1)", 0);
	raw_put_begin(&hungry, 0, TX_MODE_IMMEDIATE);
	raw_put_exec(&hungry, 0, "INSERT INTO t VALUES(2)");
	raw_put_end(&hungry, 0, true);
	put_waiters();
	raw_let_arrive(&hungry);
	hungry.last_id--; /* the PING's */
	begin_us = clock_now_us();
	raw_end(&witness, true);
	raw_expect(&hungry, hungry.last_id - WAITERS_N, 0);
	expect_turns(begin_us, 0);
	stop();
}
END_TEST

/* They fail while they are prepared, so nothing is under way between them. */
START_TEST(long_texts_in_a_transaction_hold_up_nobody)
{
	uint64_t write;
	int64_t begin_us;

	start();
	raw_begin(&witness, TX_MODE_IMMEDIATE);
	raw_run(&witness, 0, "INSERT INTO t VALUES(1)", 0);
	raw_begin(&hungry, TX_MODE_IMMEDIATE);
	write = raw_put_exec(&hungry, 0, "INSERT INTO t VALUES(2)");
	put_texts(WAITERS_N, 12, ", none");
	raw_let_arrive(&hungry);
	begin_us = clock_now_us();
	raw_put_cancel(&hungry, write);
	hungry.last_id -= 2; /* that, and the PING */
	raw_expect(&hungry, write, ERR_CANCELLED);
	expect_turns(begin_us, SQL_ERROR);
	stop();
}
END_TEST

/* They were prepared before the write, and are forgotten since. */
START_TEST(long_texts_behind_a_write_hold_up_nobody)
{
	int64_t begin_us;

	start_with(LIVE_OPTIONS("workers=1", "statement_cache=4"));
	raw_begin(&witness, TX_MODE_IMMEDIATE);
	raw_run(&witness, 0, "INSERT INTO t VALUES(1)", 0);
	raw_put_exec(&hungry, 0, "INSERT INTO t VALUES(2)");
	put_waiters();
	raw_let_arrive(&hungry);
	hungry.last_id--; /* the PING's */
	begin_us = clock_now_us();
	raw_end(&witness, true);
	raw_expect(&hungry, hungry.last_id - WAITERS_N, 0);
	expect_turns(begin_us, 0);
	stop();
}
END_TEST

/* The wrong bytes are answered at once; then what came before them. */
START_TEST(long_texts_before_bad_bytes_hold_up_nobody)
{
	static const uint8_t bad[] = { 255, 255, 255, 255, 255, 255, 255, 255 };
	struct rawreply r;
	int64_t begin_us;

	start();
	put_waiters();
	buf_put(&hungry.out, bad, sizeof(bad));
	ck_assert_uint_lt(hungry.out.n, 1 << 16); /* in one read */
	begin_us = clock_now_us();
	raw_flush(&hungry);
	ck_assert(raw_take(&hungry, &r));
	ck_assert_uint_eq(r.tell.code, ERR_FRAME_MAGIC);
	expect_turns(begin_us, 0);
	raw_expect_end(&hungry);
	stop();
}
END_TEST

/* Those that have not had their turn by then do not get one. */
START_TEST(long_texts_that_wait_for_their_turn_have_deadlines)
{
	struct rawreply r;

	start();
	raw_expect(&witness, raw_put_admin(&witness, "PAUSE app"), 0);
	hungry.timeout_ms = 50;
	put_waiters();
	raw_let_arrive(&hungry);
	hungry.timeout_ms = 0;
	raw_expect(&witness, raw_put_admin(&witness, "RESUME app"), 0);
	for (int i = 0; i < WAITERS_N; i++) {
		ck_assert(raw_take(&hungry, &r));
		ck_assert(r.tell.code == 0 || r.tell.code == ERR_DEADLINE);
	}
	ck_assert_uint_eq(r.tell.code, ERR_DEADLINE);
	ck_assert_int_eq(raw_run_int(&hungry, 0, "SELECT 5"), 5);
	stop();
}
END_TEST

START_TEST(long_texts_of_a_lost_client_are_dropped)
{
	struct rawreply r;

	start();
	raw_expect(&witness, raw_put_admin(&witness, "PAUSE app"), 0);
	put_waiters();
	raw_let_arrive(&hungry);
	raw_expect(&witness, raw_put_admin(&witness, "RESUME app"), 0);
	ck_assert(raw_take(&hungry, &r));
	raw_close(&hungry);
	ck_assert_int_eq(raw_run_int(&witness, 0, "SELECT 5"), 5);
	raw_close(&witness);
	live_stop(&live);
	live_fini(&live);
}
END_TEST

/* --- They have an answer ------------------------------------------------------- */

/* Wherever it ran: the same answer. */
START_TEST(long_text_has_its_answer)
{
	struct rawreply r;
	struct buf b;

	buf_init(&b);
	make_long(&b, "SELECT length('", "x", "') AS n");
	buf_put(&b, "", 1);
	start();
	raw_put_exec(&hungry, 0, (const char *)b.p);
	ck_assert_int_eq(raw_expect_int(&hungry, hungry.last_id),
	    8000000 - (int)strlen("SELECT length('"));
	/* written, read, in transactions of each kind */
	buf_cut(&b, 0);
	make_long(&b, "INSERT INTO t SELECT length('", "x", "')");
	buf_put(&b, "", 1);
	raw_run(&hungry, 0, (const char *)b.p, 0);
	for (int mode = TX_MODE_DEFERRED; mode <= TX_MODE_IMMEDIATE; mode++) {
		raw_begin(&hungry, (enum msg_tx_mode)mode);
		raw_run(&hungry, 0, (const char *)b.p, 0);
		raw_end(&hungry, true);
	}
	ck_assert_int_eq(raw_run_int(&hungry, 0, "SELECT count(*) FROM t"), 3);
	doubling_make(&b, 1, 30, "");
	buf_put(&b, "", 1);
	raw_put_exec(&hungry, 0, (const char *)b.p);
	raw_wait(&hungry, hungry.last_id, &r);
	ck_assert_uint_eq(r.tell.code, ERR_MEMORY_LIMIT);
	buf_fini(&b);
	stop();
}
END_TEST

/* A write is as long for the line of writers as its deadline says at most, but
 * for the seconds that LIKE and GLOB take. */
START_TEST(long_function_stops_at_its_deadline)
{
	static const char *const writes[] = {
		(ENDLESS "instr(hex(zeroblob(30000000 + x)),"
			 "  hex(zeroblob(200)) || '1') FROM c"),
		(ENDLESS "length(replace(hex(zeroblob(30000000 + x)),"
			 "  '00', '11')) FROM c"),
	};
	int64_t begin_us;

	start();
	hungry.timeout_ms = 300;
	begin_us = clock_now_us();
	raw_run(&hungry, 0, writes[_i], ERR_DEADLINE);
	ck_assert_int_lt(clock_now_us() - begin_us,
	    (300000 + WAIT_US) * proc_get_slowness());
	stop();
}
END_TEST

/* Nothing stops one LIKE, which takes 0.3 s here; but no second one begins. */
START_TEST(long_patterns_stop_at_their_deadline)
{
	int64_t begin_us;

	start();
	fill("100000", "60");
	hungry.timeout_ms = 100;
	begin_us = clock_now_us();
	raw_run(&hungry, 0,
	    "SELECT count(*) FROM t WHERE x LIKE '%' || hex(zeroblob(120)) ||"
	    " '1'",
	    ERR_DEADLINE);
	ck_assert_int_lt(
	    clock_now_us() - begin_us, 3 * WAIT_US * proc_get_slowness());
	stop();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("long");
	TCase *tc = tcase_create("long");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(
	    tc, long_function_holds_up_nobody, 0, (int)COUNT(worst));
	tcase_add_loop_test(
	    tc, long_text_holds_up_nobody, 0, (int)COUNT(texts));
	tcase_add_loop_test(
	    tc, long_patterns_of_many_rows_hold_up_nobody, 0, 3);
	tcase_add_test(tc, long_pattern_has_its_answer);
	tcase_add_test(tc, long_texts_in_a_row_hold_up_nobody);
	tcase_add_test(tc, long_texts_in_a_row_keep_their_order);
	tcase_add_test(tc, long_texts_for_a_paused_database_hold_up_nobody);
	tcase_add_test(tc, long_texts_behind_a_commit_hold_up_nobody);
	tcase_add_test(tc, long_texts_in_a_transaction_hold_up_nobody);
	tcase_add_test(tc, long_texts_behind_a_write_hold_up_nobody);
	tcase_add_test(tc, long_texts_before_bad_bytes_hold_up_nobody);
	tcase_add_test(tc, long_texts_that_wait_for_their_turn_have_deadlines);
	tcase_add_test(tc, long_texts_of_a_lost_client_are_dropped);
	tcase_add_test(tc, long_text_has_its_answer);
	tcase_add_test(tc, long_patterns_stop_at_their_deadline);
	tcase_add_loop_test(tc, long_function_stops_at_its_deadline, 0, 2);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
