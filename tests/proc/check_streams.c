/* check_streams.c - results larger than a window: constant memory, turns with
 * other replies of the same connection, and a schema that changes meanwhile (P4,
 * P6, P8, P9). */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "proto/error.h"
#include "proto/frame.h"
#include "proto/value.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define WINDOW      INT64_C(65536) /* the least */
#define CREDIT      (4 * WINDOW)

static struct live live;
static struct rawconn a, b;

/* What came of one result. */
struct stream {
	uint64_t id;
	int64_t rows_n, bytes, chunks_n;
	int64_t granted_bytes; /* on top of the window */
	size_t longest;        /* frame */
	bool ended;
	int code;
};

static uint64_t
put_hello(struct rawconn *c)
{
	struct msg_out m;

	msg_begin_body(&m, &c->out, TYPE_HELLO, ++c->last_id, 0);
	msg_put_uint(&m, ASK_version, MSG_VERSION);
	msg_put_uint(&m, ASK_window_bytes, (uint64_t)WINDOW);
	msg_put_uint(&m, ASK_max_frame, 65536);
	PROC_CHECK(msg_end(&m, 65536) == 0, "msg_end");
	return c->last_id;
}

static void
open_small(struct rawconn *c)
{
	raw_connect(c, live.socket_path);
	raw_expect(c, put_hello(c), 0);
}

static void
start(const char *const *options)
{
	live_init(&live);
	live_start(&live, options);
	open_small(&a);
	open_small(&b);
}

static void
stop(void)
{
	raw_close(&a);
	raw_close(&b);
	live_stop(&live);
	live_check_file(live.db_path);
	live_fini(&live);
}

static void
put_credit(struct rawconn *c, uint64_t target, int64_t bytes)
{
	struct msg_out m;

	msg_begin_body(&m, &c->out, TYPE_CREDIT, 0, 0);
	msg_put_uint(&m, ASK_target, target);
	msg_put_uint(&m, ASK_credit_bytes, (uint64_t)bytes);
	PROC_CHECK(msg_end(&m, 65536) == 0, "msg_end");
}

/* Take in a frame of its; others are none of this. */
static void
note(struct stream *s, const struct rawconn *c, const struct rawreply *r)
{
	struct span cur = r->tell.rows;
	struct value v = { .count = 0 };

	if (r->head.id != s->id)
		return;
	if (MSG_HAS(&r->tell, TELL_rows))
		value_read(&cur, &v);
	s->rows_n += v.count;
	s->bytes += (int64_t)c->taken;
	s->chunks_n += r->head.type == TYPE_ROWS;
	s->longest = c->taken > s->longest ? c->taken : s->longest;
	s->ended = r->head.type != TYPE_ROWS;
	s->code = (int)r->tell.code;
}

static void
take_one(struct rawconn *c, struct stream *s)
{
	struct rawreply r;

	PROC_CHECK(raw_take(c, &r), "the connection ended");
	note(s, c, &r);
}

static void
grant(struct rawconn *c, struct stream *s)
{
	put_credit(c, s->id, CREDIT);
	s->granted_bytes += CREDIT;
}

/* Fetch all of it, with credit for what was taken.  The window is in reserve:
 * the daemon may send while fewer bytes were taken than granted. */
static void
fetch(struct rawconn *c, struct stream *s, void (*look)(const struct stream *s))
{
	raw_flush(c);
	while (!s->ended) {
		if (s->bytes >= s->granted_bytes) {
			grant(c, s);
			raw_flush(c);
		}
		take_one(c, s);
		if (look)
			look(s);
	}
}

#define ROWS_OF_1000(n)                                                   \
	"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c " \
	"LIMIT " #n ") SELECT x, zeroblob(1000) FROM c"

/* --- Memory --------------------------------------------------------------- */

static long most_kb;

static void
look_at_memory(const struct stream *s)
{
	long kb;

	if (s->chunks_n % 64 != 0)
		return;
	kb = live_get_rss_kb(&live);
	most_kb = kb > most_kb ? kb : most_kb;
}

/* What a first one needs, the second one has: each thread that makes some of it has
 * a stack and an arena of malloc's, of which the first one meets all.  (A
 * sanitizer keeps 256 MB of what is freed: there only the rows are counted.) */
START_TEST(a_result_of_any_size_takes_constant_memory)
{
	struct stream small = { 0 }, large = { 0 };
	long before_kb;

	start(LIVE_OPTIONS("reader_threads=2"));
	small.id = raw_put_exec(&a, 0, ROWS_OF_1000(4000));
	fetch(&a, &small, NULL);
	ck_assert_int_eq(small.rows_n, 4000);
	before_kb = live_get_rss_kb(&live);
	large.id = raw_put_exec(&a, 0, ROWS_OF_1000(300000));
	fetch(&a, &large, look_at_memory);
	ck_assert_int_eq(large.code, 0);
	ck_assert_int_eq(large.rows_n, 300000);
	ck_assert_int_ge(large.bytes, 300000000);
	printf("%lld MB in %lld chunks of at most %zu bytes: %ld KiB more\n",
	    (long long)(large.bytes >> 20), (long long)large.chunks_n,
	    large.longest, most_kb - before_kb);
	if (proc_get_slowness() == 1)
		ck_assert_int_lt(most_kb - before_kb, 4096);
	stop();
}
END_TEST

/* A thousand results are asked for, and none of them is let go on; somebody else
 * has a result of the same kind, and short answers. */
START_TEST(a_thousand_results_without_credit_are_bounded)
{
	struct stream other = { 0 };
	struct rawconn c;
	long before_kb;

	start(NULL);
	other.id = raw_put_exec(&b, 0, ROWS_OF_1000(2000));
	fetch(&b, &other, NULL);
	before_kb = live_get_rss_kb(&live);
	for (int i = 0; i < 1000; i++)
		raw_put_exec(&a, 0, ROWS_OF_1000(100000));
	raw_let_arrive(&a);
	other = (struct stream){ .id = raw_put_exec(
				     &b, 0, ROWS_OF_1000(2000)) };
	fetch(&b, &other, NULL);
	ck_assert_int_eq(other.rows_n, 2000);
	ck_assert_int_eq(raw_run_int(&b, 0, "SELECT 5"), 5);
	ck_assert_int_eq(raw_run_int(&a, 0, "SELECT 6"), 6);
	ck_assert_int_lt(live_get_rss_kb(&live) - before_kb,
	    INT64_C(32768) * (proc_get_slowness() > 1 ? 4 : 1));
	/* its end frees what they had */
	raw_close(&a);
	open_small(&a);
	for (uint64_t stream = 1; stream <= 16; stream++) {
		raw_expect(&a, raw_put_begin(&a, stream, TX_MODE_READ), 0);
		raw_run_int(&a, stream, "SELECT count(*) FROM sqlite_schema");
	}
	raw_open(&c, live.socket_path);
	ck_assert_int_eq(raw_run_int(&c, 0, "SELECT 7"), 7);
	raw_close(&c);
	stop();
}
END_TEST

/* --- Turns ---------------------------------------------------------------- */

/* Short answers come between the chunks of a long result, which is not at its
 * end then. */
START_TEST(chunks_leave_room_for_other_replies)
{
	struct stream s = { 0 };

	start(NULL);
	s.id = raw_put_exec(&a, 0, ROWS_OF_1000(20000));
	while (s.chunks_n == 0) {
		raw_flush(&a);
		take_one(&a, &s);
	}
	for (int i = 0; i < 20; i++) {
		uint64_t id;
		struct rawreply r = { 0 };

		grant(&a, &s);
		id = raw_put_exec(&a, 0, "SELECT 8");
		raw_flush(&a);
		while (r.head.id != id) {
			ck_assert(raw_take(&a, &r));
			note(&s, &a, &r);
		}
		ck_assert(!s.ended);
	}
	fetch(&a, &s, NULL);
	ck_assert_int_eq(s.rows_n, 20000);
	ck_assert_uint_le(s.longest, 65536 + FRAME_PREFIX_BYTES);
	stop();
}
END_TEST

/* Many at once on one connection: each gets all of its rows. */
START_TEST(results_of_one_connection_take_turns)
{
	struct stream s[12] = { 0 };
	size_t left = COUNT(s);

	start(NULL);
	for (size_t i = 0; i < COUNT(s); i++)
		s[i].id = raw_put_exec(&a, 0, ROWS_OF_1000(1500));
	raw_flush(&a);
	while (left > 0) {
		struct rawreply r;
		size_t i = 0;

		ck_assert(raw_take(&a, &r));
		while (i < COUNT(s) && s[i].id != r.head.id)
			i++;
		ck_assert_uint_lt(i, COUNT(s));
		note(&s[i], &a, &r);
		if (s[i].ended) {
			ck_assert_int_eq(s[i].rows_n, 1500);
			left--;
			continue;
		}
		put_credit(&a, s[i].id, (int64_t)a.taken);
		raw_flush(&a);
	}
	stop();
}
END_TEST

/* --- Stalls --------------------------------------------------------------- */

/* In a transaction too, which it does not end; and whoever else reads the same
 * statement at that moment goes on. */
START_TEST(a_stalled_result_is_lost_with_a_reason)
{
	uint64_t stream = (uint64_t)_i;
	struct stream other = { 0 };
	struct rawreply r;
	uint64_t id;

	start(LIVE_OPTIONS("stall_timeout=1s"));
	if (stream)
		raw_expect(&a, raw_put_begin(&a, stream, TX_MODE_READ), 0);
	id = raw_put_exec(&a, stream, ROWS_OF_1000(20000));
	raw_flush(&a);
	other.id = raw_put_exec(&b, 0, ROWS_OF_1000(20000));
	fetch(&b, &other, NULL);
	ck_assert_int_eq(other.rows_n, 20000);
	raw_wait(&a, id, &r);
	ck_assert_uint_eq(r.tell.code, ERR_STALLED);
	ck_assert_uint_eq(r.tell.outcome, OUTCOME_NOT_APPLIED);
	ck_assert_ptr_nonnull(
	    memmem(r.tell.message.p, r.tell.message.n, "stall_timeout", 13));
	ck_assert_int_eq(raw_run_int(&a, stream, "SELECT 9"), 9);
	if (stream)
		raw_expect(&a, raw_put_end(&a, stream, true), 0);
	stop();
}
END_TEST

/* It takes 3 MB as long as not all of it was fetched. */
#define SORT                                                              \
	"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c " \
	"LIMIT 30000) SELECT x, hex(randomblob(40)) AS y FROM c ORDER BY y"

/* Eight sorts that a does not fetch would have all of 16 MB, for as long as it likes.
 * Those that are one too many are refused. */
START_TEST(results_left_unread_leave_memory_to_others)
{
	uint64_t refused_n = 0, id;
	struct rawreply r;

	start(LIVE_OPTIONS("total_memory=16MB", "result_memory=64KB"));
	/* one after the other: at the same time each could have too little */
	for (int i = 0; i < 8; i++) {
		id = raw_put_exec(&a, 0, SORT);
		raw_flush(&a);
		do
			ck_assert(raw_take(&a, &r));
		while (r.head.id != id);
		ck_assert(r.tell.code == 0 || r.tell.code == ERR_MEMORY_FULL);
		refused_n += r.tell.code != 0;
	}
	ck_assert_uint_gt(refused_n, 0);
	ck_assert_uint_lt(refused_n, 8);
	id = raw_put_exec(&b, 0, "SELECT count(*) FROM (" SORT " LIMIT 30000)");
	ck_assert_int_eq(raw_expect_int(&b, id), 30000);
	stop();
}
END_TEST

/* --- The schema ----------------------------------------------------------- */

static uint32_t
count_columns(const struct rawreply *r)
{
	struct span cur = r->tell.columns;
	struct value v = { .count = 0 };

	if (MSG_HAS(&r->tell, TELL_columns))
		value_read(&cur, &v);
	return v.count;
}

/* In every row of a frame. */
static void
check_width(const struct rawreply *r, uint32_t columns_n)
{
	struct span cur = r->tell.rows;
	struct value v = { .count = 0 };
	uint32_t rows_n;

	if (MSG_HAS(&r->tell, TELL_rows))
		value_read(&cur, &v);
	for (rows_n = v.count; rows_n > 0; rows_n--) {
		value_read(&cur, &v);
		ck_assert_uint_eq(v.count, columns_n);
		for (uint32_t i = 0; i < columns_n; i++)
			value_read(&cur, &v);
	}
}

static uint64_t
put_wide(struct rawconn *c, enum msg_type type)
{
	struct msg_out m;

	msg_begin_body(&m, &c->out, type, ++c->last_id, 0);
	if (type != TYPE_DESCRIBE)
		msg_put_uint(&m, ASK_stmt, 1);
	if (type != TYPE_EXEC)
		msg_put_str(&m, ASK_sql, "SELECT * FROM wide");
	PROC_CHECK(msg_end(&m, 65536) == 0, "msg_end");
	return c->last_id;
}

/* What a schema change makes of the prepared statement: columns, rows; 0: none.
 * It runs inline when it is short, and with a reader when it is not. */
/* clang-format off */
static const struct {
	const char *sql;
	uint32_t columns_n;
	int code;
} changes[] = {
	{ "ALTER TABLE wide ADD COLUMN c DEFAULT 'x'", 3, 0 },
	{ "ALTER TABLE wide DROP COLUMN b", 2, 0 },
	{ "DROP TABLE wide", 0, 1 },
	{ "CREATE VIEW wide AS SELECT 1 AS a, 2 AS b, 3 AS c, 4 AS d", 4, 0 },
	{ "DROP VIEW wide", 0, 1 },
	{ "CREATE TABLE wide(only)", 1, 0 },
	{ "ALTER TABLE wide RENAME TO narrow", 0, 1 },
	{ "ALTER TABLE narrow RENAME TO wide", 1, 0 },
};
/* clang-format on */

/* Take one frame, of the stream that was begun before everything, or of id. */
static bool
take_frame(
    struct stream *s, uint64_t id, uint32_t columns_n, struct rawreply *r)
{
	ck_assert(raw_take(&a, r));
	if (r->head.id == s->id) {
		check_width(r, 2);
		note(s, &a, r);
		return false;
	}
	ck_assert_uint_eq(r->head.id, id);
	if (count_columns(r) > 0)
		ck_assert_uint_eq(count_columns(r), columns_n);
	check_width(r, columns_n);
	if (r->head.type == TYPE_ROWS)
		put_credit(&a, id, CREDIT);
	raw_flush(&a);
	return r->head.type != TYPE_ROWS;
}

static void
check_prepared(struct stream *s, uint32_t columns_n, int code)
{
	static const enum msg_type types[] = { TYPE_EXEC, TYPE_DESCRIBE };

	for (size_t i = 0; i < COUNT(types); i++) {
		uint64_t id = put_wide(&a, types[i]);
		struct rawreply r;

		raw_flush(&a);
		while (!take_frame(s, id, columns_n, &r))
			;
		ck_assert_int_eq((int)r.tell.code, code);
	}
}

/* A stream that stands still keeps the columns it began with; whatever is run
 * anew has those of now. */
START_TEST(columns_may_change_under_a_statement)
{
	struct stream s = { 0 };

	start(_i ? LIVE_OPTIONS("inline_budget=off") : NULL);
	raw_run(&b, 0, "CREATE TABLE wide(a, b)", 0);
	raw_run(&b, 0,
	    "INSERT INTO wide WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL "
	    "SELECT x + 1 FROM c LIMIT 4000) SELECT x, zeroblob(1000) FROM c",
	    0);
	raw_expect(&a, put_wide(&a, TYPE_PREPARE), 0);
	check_prepared(&s, 2, 0);
	s.id = put_wide(&a, TYPE_EXEC);
	raw_flush(&a);
	take_one(&a, &s);
	ck_assert_int_gt(s.rows_n, 0);
	for (size_t i = 0; i < COUNT(changes); i++) {
		raw_run(&b, 0, changes[i].sql, 0);
		put_credit(&a, s.id, WINDOW);
		check_prepared(&s, changes[i].columns_n, changes[i].code);
		ck_assert(!s.ended);
	}
	while (!s.ended) {
		struct rawreply r;

		put_credit(&a, s.id, CREDIT);
		raw_flush(&a);
		take_frame(&s, s.id, 2, &r);
	}
	ck_assert_int_eq(s.rows_n, 4000);
	stop();
}
END_TEST

/* --- Rows as long as a frame ---------------------------------------------- */

/* Ways to get a row of so many bytes: a text before the number and one behind
 * it. */
/* clang-format off */
static const struct {
	const char *before, *behind;
	uint64_t stream;
	enum msg_tx_mode mode; /* of the transaction, on another stream than 0 */
	bool writes;
} ways[] = {
	{ "SELECT zeroblob(", ")", 0, TX_MODE_READ, false },
	{ "SELECT zeroblob(", ") FROM (VALUES (1), (2))", 0, TX_MODE_READ, false },
	{ "SELECT zeroblob(", ")", 1, TX_MODE_READ, false },
	{ "SELECT zeroblob(", ")", 1, TX_MODE_IMMEDIATE, false },
	{ "INSERT INTO t VALUES (1) RETURNING zeroblob(", ")", 0, TX_MODE_READ, true },
	{ "INSERT INTO t VALUES (1) RETURNING zeroblob(", ")", 1, TX_MODE_IMMEDIATE, true },
};
/* clang-format on */

static int
try_row(int i, int bytes)
{
	struct stream s = { 0 };
	char sql[100];

	snprintf(
	    sql, sizeof(sql), "%s%d%s", ways[i].before, bytes, ways[i].behind);
	s.id = raw_put_exec(&a, ways[i].stream, sql);
	fetch(&a, &s, NULL);
	ck_assert_uint_le(s.longest, 65536 + FRAME_PREFIX_BYTES);
	if (s.code == 0)
		ck_assert_int_ge(s.rows_n, 1);
	return s.code;
}

/* Up to some size they come, from there on each is too large; nothing else ever
 * happens, and what was refused has not been written. */
START_TEST(a_row_fits_in_a_frame_or_is_too_large)
{
	int largest = 0, applied = 0;

	start(NULL);
	raw_run(&b, 0, "CREATE TABLE t(n)", 0);
	if (ways[_i].stream)
		raw_expect(
		    &a, raw_put_begin(&a, ways[_i].stream, ways[_i].mode), 0);
	for (int bytes = 65536 - 250; bytes <= 65536 + 10; bytes++) {
		int code = try_row(_i, bytes);

		ck_assert_msg(code == 0 || code == ERR_ROW_TOO_LARGE ||
			code == ERR_RESULT_TOO_LARGE,
		    "%d bytes: %d", bytes, code);
		ck_assert_msg(code != 0 || largest == 0 || largest == bytes - 1,
		    "%d bytes fit, %d did not", bytes, bytes - 1);
		applied += code == 0;
		largest = code == 0 ? bytes : largest;
	}
	ck_assert_int_gt(largest, 0);
	ck_assert_int_lt(largest, 65536);
	if (ways[_i].stream)
		raw_expect(&a, raw_put_end(&a, ways[_i].stream, true), 0);
	if (ways[_i].writes)
		ck_assert_int_eq(
		    raw_run_int(&b, 0, "SELECT count(*) FROM t"), applied);
	stop();
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("streams");
	TCase *tc = tcase_create("streams");

	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, a_result_of_any_size_takes_constant_memory);
	tcase_add_test(tc, a_thousand_results_without_credit_are_bounded);
	tcase_add_test(tc, chunks_leave_room_for_other_replies);
	tcase_add_test(tc, results_of_one_connection_take_turns);
	tcase_add_loop_test(tc, a_stalled_result_is_lost_with_a_reason, 0, 2);
	tcase_add_test(tc, results_left_unread_leave_memory_to_others);
	tcase_add_loop_test(tc, columns_may_change_under_a_statement, 0, 2);
	tcase_add_loop_test(
	    tc, a_row_fits_in_a_frame_or_is_too_large, 0, (int)COUNT(ways));
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
