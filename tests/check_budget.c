/* check_budget.c - the memory of one statement. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/budget.h"
#include "daemon/dbconn_impl.h"
#include "daemon/hot.h"
#include "daemon/stats.h"
#include "daemon/writer_impl.h"
#include "proto/error.h"
#include "tests/lib/fixture.h"
#include "tests/lib/proc.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Small enough that a test is quick. */
#define OPTIONS "request_memory=4MB cache_bytes=64KB"
#define MB      (1 << 20)

static const char schema[] =
    "CREATE TABLE t(id INTEGER PRIMARY KEY, v UNIQUE);"
    "INSERT INTO t VALUES(1, 'one'), (2, 'two'), (3, 'three');"
    "CREATE TABLE big(id INTEGER PRIMARY KEY, text);"
    "INSERT INTO big(text) SELECT hex(randomblob(50)) FROM"
    "  (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c"
    "     LIMIT 50000) SELECT x FROM c);";

/* Rows without a table: the recursion keeps none of them. */
#define ROWS(n)                                                           \
	"(WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c" \
	" LIMIT " n ") SELECT x FROM c)"

static struct fixture fx;

static const char *
read_text(const char *sql)
{
	return fixture_take(
	    &fx, fixture_read(&fx, fixture_exec(&fx, sql, NULL)));
}

static const char *
write_text(const char *sql)
{
	return fixture_take(
	    &fx, fixture_write(&fx, fixture_exec(&fx, sql, NULL)));
}

static long
read_rss(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	char line[128], *at;
	long rss;

	ck_assert_ptr_nonnull(f);
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), f));
	fclose(f);
	strtol(line, &at, 10);
	rss = strtol(at, &at, 10);
	return (rss - strtol(at, NULL, 10)) * sysconf(_SC_PAGESIZE);
}

/* The memory of the process that is not in files, in bytes: proc(5), statm.  A
 * sanitizer keeps what was freed: then it is nothing. */
static long
get_rss(void)
{
	if (proc_get_slowness() > 1)
		return 0;
	return read_rss();
}

/* --- What is too much ------------------------------------------------------ */

/* clang-format off */
static const char *const hungry[] = {
	/* sorts, groups, intermediate results */
	"SELECT text FROM big ORDER BY text",
	"SELECT DISTINCT text FROM big ORDER BY text DESC",
	"SELECT text, count(*) FROM big GROUP BY text",
	"SELECT x FROM " ROWS("600000") " ORDER BY -x",
	"WITH c AS MATERIALIZED (SELECT text || id AS k FROM big) SELECT count(*) FROM c a JOIN c b ON a.k = b.k",
	"SELECT text, row_number() OVER (ORDER BY text) FROM big",
	"SELECT sum(id) OVER (PARTITION BY text ORDER BY id) FROM big",
	"SELECT text FROM big EXCEPT SELECT id FROM big",
	"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c ORDER BY 1 DESC) SELECT count(*) FROM (SELECT DISTINCT x FROM c)",
	"SELECT count(*) FROM big WHERE id IN (SELECT x FROM " ROWS("600000") ")",
	/* values */
	"SELECT length(group_concat(text)) + length(group_concat(text || id)) FROM big",
	"SELECT length(json_group_array(text)) FROM big",
	"SELECT length(hex(zeroblob(5000000)))",
	"SELECT length(hex(randomblob(5000000)))",
	"SELECT length(replace(hex(zeroblob(1000000)), '0', 'abcdefghijklmnopqrstuvwxyz'))",
	"SELECT length(printf('%*s', 8000000, 'x'))",
	"SELECT count(*) FROM json_each('[' || replace(hex(zeroblob(3000000)), '0', '0,') || '0]')",
	/* a row that is made only when it is fetched */
	"SELECT zeroblob(4000000), zeroblob(4000000)",
};
/* clang-format on */

START_TEST(budget_stops_a_hungry_read)
{
	const char *sql = hungry[_i], *text;
	long before;

	fixture_open(&fx, OPTIONS " read_connections=1", schema);
	ck_assert_str_eq(read_text("SELECT count(*) FROM t"),
	    "DONE columns=['count(*)'] rows=[[3]]");
	before = get_rss();
	text = read_text(sql);
	ck_assert_msg(strncmp(text, "ERROR name=MEMORY_LIMIT", 23) == 0 ||
		strncmp(text, "ERROR name=ROW_TOO_LARGE", 24) == 0,
	    "%s: %s", sql, text);
	ck_assert_msg(get_rss() - before < 20L * MB, "%s: %ld MB more", sql,
	    (get_rss() - before) / MB);
	/* the same connection, afterwards */
	ck_assert_str_eq(
	    read_text("SELECT id FROM t WHERE v = 'two' ORDER BY v"),
	    "DONE columns=['id'] rows=[[2]]");
	ck_assert_str_eq(read_text("SELECT count(DISTINCT text) FROM"
				   "  (SELECT text FROM big LIMIT 5000)"),
	    "DONE columns=['count(DISTINCT text)'] rows=[[5000]]");
	fixture_close(&fx);
}
END_TEST

START_TEST(budget_says_what_to_do)
{
	fixture_open(&fx, OPTIONS, schema);
	ck_assert_str_eq(read_text("SELECT text FROM big ORDER BY text"),
	    "ERROR name=MEMORY_LIMIT message='the statement needed more than "
	    "4096 KB of memory, the limit of request_memory; have it sort, "
	    "group or collect less at a time, or raise request_memory; a large "
	    "sort fits with temp_store = file'");
	fixture_close(&fx);
}
END_TEST

START_TEST(budget_lets_a_sort_on_disk_be_large)
{
	fixture_open(&fx, OPTIONS " temp_store=file", schema);
	ck_assert_str_eq(
	    read_text("SELECT count(*) FROM (SELECT DISTINCT text FROM big"
		      "  ORDER BY text LIMIT -1 OFFSET 1)"),
	    "DONE columns=['count(*)'] rows=[[49999]]");
	fixture_close(&fx);
}
END_TEST

/* A cursor that stands still keeps what it has, while others use the thread. */
START_TEST(budget_is_of_a_statement_not_of_a_thread)
{
	static const char sql[] =
	    "SELECT text FROM (SELECT text FROM big LIMIT 12000) ORDER BY text";
	struct request *r;

	fixture_open(&fx, OPTIONS " result_memory=4KB", schema);
	r = fixture_exec(&fx, sql, NULL);
	atomic_store(&r->sent, 0);
	fixture_read(&fx, r);
	fixture_wait_bytes(&fx, r, 4096);
	for (int i = 0; i < 3; i++)
		ck_assert_str_eq(
		    read_text("SELECT count(*) FROM (SELECT DISTINCT text FROM"
			      "  (SELECT text FROM big LIMIT 10000))"),
		    "DONE columns=['count(*)'] rows=[[10000]]");
	fixture_fetch(r, UINT64_C(1) << 40);
	fixture_wait(&fx, r);
	ck_assert_int_eq(r->failure.code, 0);
	request_free(r);
	fixture_close(&fx);
}
END_TEST

/* The cache is the daemon's: filling it is not charged. */
START_TEST(budget_does_not_count_the_page_cache)
{
	fixture_open(&fx, "request_memory=1MB cache_bytes=64MB", schema);
	ck_assert_str_eq(read_text("SELECT sum(length(text)) FROM big"),
	    "DONE columns=['sum(length(text))'] rows=[[5000000]]");
	ck_assert_str_eq(write_text("UPDATE big SET text = text || 'x'"),
	    "DONE changes=50000");
	fixture_close(&fx);
}
END_TEST

/* --- Preparing ------------------------------------------------------------- */

/* A table of 30 each of which names the one before twice: SQLite expands all. */
static const struct {
	const char *before, *between, *after;
} bodies[] = {
	{ "SELECT p.x FROM c", " p, c", " q" },
	{ "SELECT x FROM c", " UNION SELECT x FROM c", "" },
	{ "SELECT (SELECT x FROM c", ") + (SELECT x FROM c", ") AS x" },
};

static const char *
make_doubling(size_t body)
{
	const char *sql = "WITH c0 AS (SELECT 1 AS x)";

	for (int i = 1; i < 30; i++)
		sql = fixture_format(&fx, "%s, c%d AS (%s%d%s%d%s)", sql, i,
		    bodies[body].before, i - 1, bodies[body].between, i - 1,
		    bodies[body].after);
	return fixture_format(&fx, "%s SELECT * FROM c29", sql);
}

START_TEST(budget_stops_a_prepare_that_never_ends)
{
	struct stmt *st = NULL;
	struct failure f;
	const char *sql;
	long before;

	fixture_open(&fx, NULL, schema);
	sql = make_doubling((size_t)_i);
	failure_init(&f);
	before = get_rss();
	for (int i = 0; i < 2; i++) {
		struct dbconn *c = i ? fx.db->writer->conn : fx.hot;
		struct span text = { (const uint8_t *)sql, strlen(sql) };

		ck_assert_int_eq(
		    stmt_prepare(c, text, &st, &f), -ERR_MEMORY_LIMIT);
		ck_assert_ptr_nonnull(strstr(f.text,
		    "bind values instead of writing them into the text"));
		text = (struct span){ (const uint8_t *)"SELECT * FROM t", 15 };
		ck_assert_int_eq(stmt_prepare(c, text, &st, &f), 0);
	}
	ck_assert_int_lt(get_rss() - before, 60L * MB);
	failure_fini(&f);
	fixture_close(&fx);
}
END_TEST

/* What a large schema takes is not the statement's. */
START_TEST(budget_lets_a_large_schema_be_read)
{
	struct buf b;

	buf_init(&b);
	for (int i = 0; i < 5000; i++) {
		char sql[64];

		snprintf(sql, sizeof(sql), "CREATE TABLE t%d(a, b, c, d);", i);
		buf_put(&b, sql, strlen(sql));
	}
	buf_put(&b, "", 1);
	ck_assert(!buf_failed(&b));
	fixture_open(
	    &fx, "request_memory=1MB cache_bytes=64KB", (const char *)b.p);
	buf_fini(&b);
	ck_assert_str_eq(read_text("SELECT * FROM t77"),
	    "DONE columns=['a','b','c','d'] rows=[]");
	ck_assert_str_eq(write_text("CREATE TABLE more(x)"), "DONE");
	ck_assert_str_eq(read_text("SELECT * FROM t78"),
	    "DONE columns=['a','b','c','d'] rows=[]");
	ck_assert_str_eq(
	    read_text("SELECT * FROM more"), "DONE columns=['x'] rows=[]");
	fixture_close(&fx);
}
END_TEST

/* --- Writes ---------------------------------------------------------------- */

/* One member of a group fails; the others share their commit. */
START_TEST(budget_fails_one_member_of_a_group)
{
	static const char *const sqls[] = {
		"INSERT INTO t VALUES(11, 'a')",
		"INSERT INTO t SELECT 100, group_concat(text) || 'x' FROM big",
		"INSERT INTO t VALUES(12, 'b')",
		"UPDATE t SET v = hex(zeroblob(5000000)) WHERE id = 1",
		"INSERT INTO t VALUES(13, 'c')",
	};
	struct request *rs[COUNT(sqls)];

	fixture_open(&fx, OPTIONS, schema);
	fixture_hold(&fx);
	for (size_t i = 0; i < COUNT(sqls); i++)
		rs[i] = fixture_write(&fx, fixture_exec(&fx, sqls[i], NULL));
	fixture_release(&fx);
	for (size_t i = 0; i < COUNT(sqls); i++) {
		const char *text = fixture_take(&fx, rs[i]);

		if (i % 2 == 0)
			ck_assert_str_eq(text,
			    fixture_format(&fx, "DONE changes=1 rowid=%d",
				11 + (int)i / 2));
		else
			ck_assert_msg(
			    strncmp(text, "ERROR name=MEMORY_LIMIT", 23) == 0,
			    "%s", text);
	}
	ck_assert_str_eq(fixture_query(&fx, "SELECT group_concat(v) FROM t"),
	    "one,two,three,a,b,c\n");
	fixture_close(&fx);
}
END_TEST

START_TEST(budget_fails_one_batch_or_script)
{
	static const struct fixture_step steps[] = {
		{ "INSERT INTO t VALUES(11, 'a')", NULL, NULL },
		{ "UPDATE t SET v = hex(zeroblob(5000000))", NULL, NULL },
		{ NULL, NULL, NULL },
	};
	const char *text;

	fixture_open(&fx, OPTIONS, schema);
	text = fixture_take(&fx, fixture_write(&fx, fixture_batch(&fx, steps)));
	ck_assert_msg(
	    strncmp(text, "ERROR name=MEMORY_LIMIT", 23) == 0, "%s", text);
	text = fixture_take(&fx,
	    fixture_write(&fx,
		fixture_script(&fx,
		    "INSERT INTO t VALUES(12, 'b');"
		    "UPDATE t SET v = hex(zeroblob(5000000))",
		    true)));
	ck_assert_msg(
	    strncmp(text, "ERROR name=MEMORY_LIMIT", 23) == 0, "%s", text);
	ck_assert_str_eq(write_text("INSERT INTO t VALUES(13, 'c')"),
	    "DONE changes=1 rowid=13");
	ck_assert_str_eq(fixture_query(&fx, "SELECT group_concat(v) FROM t"),
	    "one,two,three,c\n");
	fixture_close(&fx);
}
END_TEST

/* SQLite ends the transaction; nothing of it may run outside of it. */
START_TEST(budget_ends_a_transaction_at_most)
{
	struct tx *tx;
	const char *text;

	fixture_open(&fx, OPTIONS, schema);
	tx = fixture_begin(&fx, TX_MODE_IMMEDIATE);
	ck_assert_str_eq(
	    fixture_take(&fx,
		fixture_write(&fx,
		    fixture_in(tx,
			fixture_exec(
			    &fx, "INSERT INTO t VALUES(11, 'a')", NULL)))),
	    "DONE changes=1 rowid=11 tx_state=3");
	text = fixture_take(&fx,
	    fixture_write(&fx,
		fixture_in(tx,
		    fixture_exec(&fx,
			"SELECT length(group_concat(text)) FROM big", NULL))));
	ck_assert_ptr_nonnull(strstr(text, "name=MEMORY_LIMIT"));
	/* tx_state: it has ended, and the client is to say so */
	ck_assert_ptr_nonnull(strstr(text, "tx_state=4"));
	ck_assert_int_ne(atomic_load(&tx->expired), 0);
	tx_unref(tx);
	ck_assert_str_eq(write_text("INSERT INTO t VALUES(12, 'b')"),
	    "DONE changes=1 rowid=12");
	ck_assert_str_eq(fixture_query(&fx, "SELECT group_concat(v) FROM t"),
	    "one,two,three,b\n");
	fixture_close(&fx);
}
END_TEST

/* What reads the whole file sorts on disk. */
START_TEST(budget_lets_indexes_and_vacuum_be_large)
{
	fixture_open(&fx, "request_memory=2MB cache_bytes=64KB", schema);
	ck_assert_str_eq(
	    write_text("CREATE INDEX big_text ON big(text)"), "DONE");
	ck_assert_str_eq(write_text("REINDEX"), "DONE");
	ck_assert_str_eq(write_text("VACUUM"), "DONE");
	ck_assert_str_eq(write_text("ANALYZE"), "DONE");
	ck_assert_str_eq(fixture_query(&fx, "PRAGMA integrity_check"), "ok\n");
	fixture_close(&fx);
}
END_TEST

/* --- On a worker ------------------------------------------------------------ */

static enum hot_result
run_hot(struct hot *h, const char *sql)
{
	struct request *r = fixture_exec(&fx, sql, NULL);
	enum hot_result result;
	struct buf out;

	buf_init(&out);
	result = hot_run(h, fx.conf, r, &out, true);
	ck_assert_int_eq(r->failure.code, 0);
	buf_fini(&out);
	request_free(r);
	return result;
}

/* clang-format off */
static const char *const too_long[] = {
	"SELECT length(hex(zeroblob(10000000)))",
	"SELECT zeroblob(10000000) IS NULL",
	"SELECT length(group_concat(text)) FROM big",
	"SELECT length(text || hex(zeroblob(40000))) FROM big WHERE id = 1",
	"SELECT 1 WHERE (SELECT hex(zeroblob(500000))) LIKE '%00000000000000001'",
};
/* clang-format on */

/* Not an error: it goes to the readers. */
START_TEST(budget_moves_a_hungry_read_off_its_worker)
{
	struct hot h = { 0 };

	fixture_open(&fx, "inline_budget=1s", schema);
	h.conn = fx.hot;
	ck_assert_int_eq(run_hot(&h, too_long[_i]), HOT_TOO_LONG);
	/* and the bound ends with it */
	ck_assert_int_eq(
	    run_hot(&h, "SELECT id FROM t WHERE v = 'two'"), HOT_ANSWERED);
	ck_assert(!fx.hot->small);
	ck_assert_str_eq(read_text("SELECT length(hex(zeroblob(10000000)))"),
	    "DONE columns=['length(hex(zeroblob(10000000)))'] rows=[[20000000]]");
	fixture_close(&fx);
}
END_TEST

/* --- The allocator ---------------------------------------------------------- */

START_TEST(budget_charges_and_gives_back)
{
	struct budget b = { 0 };
	void *old, *p, *q;

	fixture_open(&fx, NULL, NULL);
	old = sqlite3_malloc(4000);
	budget_begin(&b, 10000);
	budget_enter(&b);
	p = sqlite3_malloc(6000);
	ck_assert_ptr_nonnull(p);
	ck_assert_int_le(b.left, 4000);
	ck_assert_int_ge(b.left, 3900);
	ck_assert_ptr_null(sqlite3_malloc(5000));
	ck_assert(b.hit);
	q = sqlite3_realloc(p, 9000);
	ck_assert_ptr_nonnull(q);
	ck_assert_ptr_null(sqlite3_realloc(q, 20000));
	ck_assert_int_le(b.left, 1000);
	/* what was there before gives back no more than there was */
	sqlite3_free(q);
	sqlite3_free(old);
	ck_assert_int_eq(b.left, 10000);
	budget_leave();
	ck_assert_ptr_null(budget_current);
	p = sqlite3_malloc(20000);
	ck_assert_ptr_nonnull(p);
	sqlite3_free(p);
	fixture_close(&fx);
}
END_TEST

/* --- All together ----------------------------------------------------------- */

static _Atomic int64_t total_bytes;

START_TEST(budget_of_all_is_taken_in_pieces)
{
	struct budget b[2] = { 0 };
	void *p, *q;

	fixture_open(&fx, NULL, NULL);
	atomic_store(&total_bytes, 3 * BUDGET_PIECE_BYTES);
	budget_set_total(&total_bytes);
	budget_begin(&b[0], 100L * MB);
	budget_begin(&b[1], 100L * MB);
	/* what is small is its own */
	budget_enter(&b[0]);
	p = sqlite3_malloc(200 << 10);
	ck_assert_ptr_nonnull(p);
	ck_assert_int_eq(budget_get_total(), 0);
	p = sqlite3_realloc(p, MB);
	ck_assert_ptr_nonnull(p);
	ck_assert_int_eq(budget_get_total(), BUDGET_PIECE_BYTES);
	/* the other one has what is left */
	budget_enter(&b[1]);
	q = sqlite3_malloc(2 * MB);
	ck_assert_ptr_nonnull(q);
	ck_assert_int_eq(budget_get_total(), 3 * BUDGET_PIECE_BYTES);
	ck_assert_ptr_null(sqlite3_malloc(MB));
	ck_assert(b[1].hit && b[1].hit_total);
	/* a refusal takes nothing, and the end gives back */
	ck_assert_int_eq(budget_get_total(), 3 * BUDGET_PIECE_BYTES);
	budget_end(&b[0]);
	ck_assert_int_eq(budget_get_total(), 2 * BUDGET_PIECE_BYTES);
	sqlite3_free(q);
	q = sqlite3_malloc(5 * MB / 2);
	ck_assert_ptr_nonnull(q);
	ck_assert_ptr_null(sqlite3_malloc(200L * MB));
	budget_begin(&b[1], 100L * MB);
	ck_assert_int_eq(budget_get_total(), 0);
	ck_assert(!b[1].hit && !b[1].hit_total);
	budget_leave();
	sqlite3_free(p);
	sqlite3_free(q);
	fixture_close(&fx);
}
END_TEST

/* While it goes on: others may need it. */
START_TEST(budget_of_all_has_back_what_was_freed)
{
	struct budget b = { 0 };
	void *p[64];
	int64_t most;

	fixture_open(&fx, NULL, NULL);
	budget_begin(&b, 100L * MB);
	budget_enter(&b);
	for (size_t i = 0; i < COUNT(p); i++)
		p[i] = sqlite3_malloc(MB);
	most = budget_get_total();
	ck_assert_int_ge(most, 63L * MB);
	for (size_t i = 0; i < COUNT(p); i++)
		sqlite3_free(p[i]);
	ck_assert_int_le(budget_get_total(), 8L * MB);
	ck_assert_int_eq(b.shared, budget_get_total());
	ck_assert_int_eq(b.granted, b.shared + BUDGET_OWN_BYTES);
	ck_assert_int_eq(b.left, b.granted);
	budget_leave();
	budget_end(&b);
	ck_assert_int_eq(budget_get_total(), 0);
	fixture_close(&fx);
}
END_TEST

/* Take so many pieces; gives how many there were. */
static int
take_pieces(struct budget *b, void **p, int n)
{
	int i = 0;

	budget_enter(b);
	for (; i < n; i++) {
		p[i] = sqlite3_malloc(MB);
		if (!p[i])
			break;
	}
	budget_leave();
	return i;
}

/* Of 13 pieces: two reads of one client have 6, which leaves 7; another client's, 3,
 * which leaves 4; a third one's, 2. */
START_TEST(budget_of_all_leaves_something_to_other_clients)
{
	_Atomic int64_t mine[3] = { 0 };
	struct budget b[4] = { 0 };
	void *p[4][16] = { { NULL } };

	fixture_open(&fx, NULL, NULL);
	atomic_store(&total_bytes, 13 * BUDGET_PIECE_BYTES);
	budget_set_total(&total_bytes);
	for (size_t i = 0; i < COUNT(b); i++) {
		budget_set_client(&b[i], &mine[i ? i - 1 : 0]);
		budget_begin(&b[i], 100L * MB);
	}
	ck_assert_int_eq(take_pieces(&b[0], p[0], 4), 4);
	ck_assert_int_eq(take_pieces(&b[1], p[1], 16), 2);
	ck_assert(b[1].hit_total);
	ck_assert_int_eq(mine[0], 6L * MB);
	ck_assert_int_eq(take_pieces(&b[2], p[2], 16), 3);
	ck_assert_int_eq(take_pieces(&b[3], p[3], 16), 2);
	/* what one gives back the others may have */
	budget_end(&b[0]);
	ck_assert_int_eq(mine[0], 2L * MB);
	ck_assert_int_gt(take_pieces(&b[2], p[2] + 3, 13), 0);
	for (size_t i = 0; i < COUNT(b); i++) {
		budget_end(&b[i]);
		for (size_t k = 0; k < COUNT(p[i]); k++)
			sqlite3_free(p[i][k]);
	}
	for (size_t i = 0; i < COUNT(mine); i++)
		ck_assert_int_eq(mine[i], 0);
	ck_assert_int_eq(budget_get_total(), 0);
	fixture_close(&fx);
}
END_TEST

/* One that has nothing may have all that there is. */
START_TEST(budget_of_all_refuses_no_first_piece)
{
	_Atomic int64_t mine = 0;
	struct budget b = { 0 };
	void *p[2] = { NULL };

	fixture_open(&fx, NULL, NULL);
	atomic_store(&total_bytes, BUDGET_PIECE_BYTES);
	budget_set_total(&total_bytes);
	budget_set_client(&b, &mine);
	budget_begin(&b, 100L * MB);
	ck_assert_int_eq(take_pieces(&b, p, 2), 1);
	budget_end(&b);
	sqlite3_free(p[0]);
	fixture_close(&fx);
}
END_TEST

/* What was taken before it is known whose it is, is its client's, too. */
START_TEST(budget_of_all_moves_to_its_client)
{
	_Atomic int64_t mine = 0;
	struct budget b = { 0 };
	void *p[2] = { NULL };

	fixture_open(&fx, NULL, NULL);
	budget_begin(&b, 100L * MB);
	ck_assert_int_eq(take_pieces(&b, p, 2), 2);
	budget_set_client(&b, &mine);
	ck_assert_int_eq(mine, b.shared);
	ck_assert_int_eq(mine, budget_get_total());
	budget_set_client(&b, NULL);
	ck_assert_int_eq(mine, 0);
	ck_assert_int_eq(b.shared, budget_get_total());
	budget_end(&b);
	ck_assert_int_eq(budget_get_total(), 0);
	sqlite3_free(p[0]);
	sqlite3_free(p[1]);
	fixture_close(&fx);
}
END_TEST

/* A sort of 2 MB that stands still keeps its memory; its client may have no more of
 * 4 MB. */
START_TEST(budget_of_all_refuses_reads_and_nothing_else)
{
	static const char sort[] =
	    "SELECT text FROM (SELECT text FROM big LIMIT 12000) ORDER BY text";
	struct hot h = { 0 };
	struct request *r;
	const char *text;

	fixture_open(
	    &fx, "total_memory=4MB cache_bytes=64KB result_memory=4KB", schema);
	r = fixture_exec(&fx, sort, NULL);
	atomic_store(&r->sent, 0);
	fixture_read(&fx, r);
	fixture_wait_bytes(&fx, r, 4096);
	ck_assert_int_gt(budget_get_total(), MB);
	text = read_text(sort);
	ck_assert_msg(strncmp(text, "ERROR name=MEMORY_FULL", 22) == 0 &&
		strstr(text, "raise total_memory"),
	    "%s", text);
	ck_assert_uint_eq(stats_get(STAT_memory_full), 1);
	/* the writer, workers, and what is small go on */
	ck_assert_str_eq(
	    write_text("INSERT INTO t SELECT 100, group_concat(text) FROM big"),
	    "DONE changes=1 rowid=100");
	h.conn = fx.hot;
	run_hot(&h, "SELECT length(group_concat(text)) FROM big");
	ck_assert_uint_eq(stats_get(STAT_memory_full), 1);
	ck_assert_str_eq(
	    read_text("SELECT id FROM t WHERE v = 'two' ORDER BY v"),
	    "DONE columns=['id'] rows=[[2]]");
	ck_assert_str_eq(write_text("INSERT INTO t VALUES(13, 'c')"),
	    "DONE changes=1 rowid=13");
	fixture_fetch(r, UINT64_C(1) << 40);
	fixture_wait(&fx, r);
	ck_assert_int_eq(r->failure.code, 0);
	request_free(r);
	ck_assert_int_eq(budget_get_total(), 0);
	fixture_close(&fx);
}
END_TEST

/* Whatever road it took, and however it ended. */
START_TEST(budget_of_all_is_given_back_by_each)
{
	static const struct fixture_step steps[] = {
		{ "INSERT INTO t VALUES(11, 'a')", NULL, NULL },
		{ "UPDATE t SET v = hex(zeroblob(5000000))", NULL, NULL },
		{ NULL, NULL, NULL },
	};
	struct hot h = { 0 };

	fixture_open(&fx, OPTIONS " inline_budget=1s", schema);
	for (size_t i = 0; i < COUNT(hungry); i++) {
		read_text(hungry[i]);
		ck_assert_int_eq(budget_get_total(), 0);
	}
	fixture_take(&fx, fixture_write(&fx, fixture_batch(&fx, steps)));
	write_text("UPDATE t SET v = hex(zeroblob(1000000)) WHERE id = 1");
	write_text("UPDATE t SET v = hex(zeroblob(5000000)) WHERE id = 1");
	fixture_take(&fx,
	    fixture_write(&fx,
		fixture_script(
		    &fx, "SELECT group_concat(text) FROM big", true)));
	h.conn = fx.hot;
	run_hot(&h, "SELECT length(group_concat(text)) FROM big");
	ck_assert_int_eq(budget_get_total(), 0);
	fixture_close(&fx);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("budget");
	TCase *tc = tcase_create("reads");

	tcase_set_timeout(tc, 20);
	tcase_add_loop_test(
	    tc, budget_stops_a_hungry_read, 0, (int)COUNT(hungry));
	tcase_add_test(tc, budget_says_what_to_do);
	tcase_add_test(tc, budget_lets_a_sort_on_disk_be_large);
	tcase_add_test(tc, budget_is_of_a_statement_not_of_a_thread);
	tcase_add_test(tc, budget_does_not_count_the_page_cache);
	suite_add_tcase(s, tc);
	tc = tcase_create("preparing");
	tcase_set_timeout(tc, 20);
	tcase_add_loop_test(
	    tc, budget_stops_a_prepare_that_never_ends, 0, (int)COUNT(bodies));
	tcase_add_test(tc, budget_lets_a_large_schema_be_read);
	suite_add_tcase(s, tc);
	tc = tcase_create("writes");
	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, budget_fails_one_member_of_a_group);
	tcase_add_test(tc, budget_fails_one_batch_or_script);
	tcase_add_test(tc, budget_ends_a_transaction_at_most);
	tcase_add_test(tc, budget_lets_indexes_and_vacuum_be_large);
	suite_add_tcase(s, tc);
	tc = tcase_create("on a worker");
	tcase_add_loop_test(tc, budget_moves_a_hungry_read_off_its_worker, 0,
	    (int)COUNT(too_long));
	suite_add_tcase(s, tc);
	tc = tcase_create("the allocator");
	tcase_add_test(tc, budget_charges_and_gives_back);
	suite_add_tcase(s, tc);
	tc = tcase_create("all");
	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, budget_of_all_is_taken_in_pieces);
	tcase_add_test(tc, budget_of_all_has_back_what_was_freed);
	tcase_add_test(tc, budget_of_all_leaves_something_to_other_clients);
	tcase_add_test(tc, budget_of_all_refuses_no_first_piece);
	tcase_add_test(tc, budget_of_all_moves_to_its_client);
	tcase_add_test(tc, budget_of_all_refuses_reads_and_nothing_else);
	tcase_add_test(tc, budget_of_all_is_given_back_by_each);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
