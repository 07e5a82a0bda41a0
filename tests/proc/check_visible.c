/* check_visible.c - each read sees every write that was acknowledged to anyone
 * before it was sent (P1), whichever way it goes.
 *
 * Writers keep pairs of rows equal and only ever raise them; what was
 * acknowledged they tell through shared memory.  Readers look there, send, and
 * must be told at least that much, and both rows of a pair alike: in one
 * statement, and in the statements of one BATCH or transaction.  There are more
 * workers than cores, so that a batch of one meets the commits of another.
 *
 * VISIBLE_SECONDS says how long each row of the table lasts. */
#include <check.h>
#include <inttypes.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "proto/value.h"
#include "tests/lib/dice.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

#define PAIRS   16
#define WRITERS 4
#define READERS 6
#define BURST   24 /* reads that are sent at once */

struct shared {
	_Atomic int64_t next[PAIRS];  /* the largest value that was written */
	_Atomic int64_t acked[PAIRS]; /* the largest that was acknowledged */
	_Atomic int64_t writes, reads[8];
	_Atomic int ready;
	_Atomic bool go, stop;
};

/* A read under way. */
struct ask {
	uint64_t id;
	int pair;
	int64_t floor; /* what had been acknowledged when it was sent */
};

struct client {
	struct rawconn conn;
	uint32_t dice;
	struct ask asks[BURST];
	int n;
	int64_t seen[PAIRS]; /* the largest value that it was told */
};

static struct live live;
static struct shared *shared;

static uint32_t
roll(struct client *cl, uint32_t sides)
{
	return dice_roll(&cl->dice, sides);
}

static void
open_client(struct client *cl, int number)
{
	cl->dice = 2654435761U * (uint32_t)(number + 1);
	raw_open(&cl->conn, live.socket_path);
	atomic_fetch_add(&shared->ready, 1);
	while (!atomic_load(&shared->go))
		sched_yield();
}

/* --- Writers -------------------------------------------------------------- */

static void
put_batch(struct rawconn *c, uint64_t stream, const char *const *sqls)
{
	struct msg_out m, step;

	msg_begin_body(&m, &c->out, TYPE_BATCH, ++c->last_id, stream);
	msg_key(&m, ASK_steps);
	value_put_array(m.b, 2);
	for (int i = 0; i < 2; i++) {
		step = (struct msg_out){ .b = m.b };
		msg_open_map(&step);
		msg_put_str(&step, ASK_sql, sqls[i]);
		msg_close_map(&step);
	}
	PROC_CHECK(msg_end(&m, 65536) == 0, "msg_end");
}

static void
write_pair(struct client *cl, int pair, int64_t v)
{
	struct rawconn *c = &cl->conn;
	char both[100], one[2][100], script[210];
	const char *const sqls[] = { one[0], one[1] };

	snprintf(both, sizeof(both),
	    "UPDATE kv SET v = max(v, %" PRId64 ") WHERE k IN (%d, %d)", v,
	    pair, pair + PAIRS);
	for (int i = 0; i < 2; i++)
		snprintf(one[i], sizeof(one[i]),
		    "UPDATE kv SET v = max(v, %" PRId64 ") WHERE k = %d", v,
		    pair + i * PAIRS);
	snprintf(script, sizeof(script), "%s;%s", one[0], one[1]);
	switch (roll(cl, 6)) {
	case 0:
		put_batch(c, 0, sqls);
		break;
	case 1:
		raw_put_script(c, 0, script, true);
		break;
	case 2:
		raw_put_begin(c, 0, TX_MODE_IMMEDIATE);
		raw_put_exec(c, 0, one[0]);
		raw_put_exec(c, 0, one[1]);
		raw_put_end(c, 0, true);
		break;
	default:
		raw_put_exec(c, 0, both);
	}
	raw_expect(c, c->last_id, 0);
}

static void
run_writer(void *arg)
{
	struct client cl = { 0 };

	open_client(&cl, *(const int *)arg);
	while (!atomic_load(&shared->stop)) {
		int pair = (int)roll(&cl, PAIRS);
		int64_t v = atomic_fetch_add(&shared->next[pair], 1) + 1;
		int64_t old = atomic_load(&shared->acked[pair]);

		write_pair(&cl, pair, v);
		while (old < v &&
		    !atomic_compare_exchange_weak(
			&shared->acked[pair], &old, v))
			;
		atomic_fetch_add(&shared->writes, 1);
	}
	raw_close(&cl.conn);
}

/* --- Readers -------------------------------------------------------------- */

#define PAIR_SQL "SELECT a.v, b.v FROM kv a, kv b WHERE a.k = %d AND b.k = %d"

/* More than a worker's budget of time, and of bytes. */
#define SLOW_SQL                                                              \
	PAIR_SQL                                                              \
	" AND (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM " \
	"c LIMIT 30000) SELECT count(*) FROM c) > 0"
#define LARGE_SQL                                                          \
	"SELECT a.v, b.v, zeroblob(70000) FROM kv a, kv b WHERE a.k = %d " \
	"AND b.k = %d"

static void
note(struct client *cl, int pair)
{
	cl->asks[cl->n++] = (struct ask){ .id = cl->conn.last_id,
		.pair = pair };
}

/* What has been acknowledged to anyone, or was read by this client: from now on
 * no read is to show less. */
static int64_t
get_floor(const struct client *cl, int pair)
{
	int64_t acked = atomic_load(&shared->acked[pair]);

	return acked > cl->seen[pair] ? acked : cl->seen[pair];
}

static void
put_text(struct client *cl, int pair)
{
	int a = pair, b = pair + PAIRS;
	char sql[256];

	switch (roll(cl, 12)) {
	case 0:
		snprintf(sql, sizeof(sql), SLOW_SQL, a, b);
		break;
	case 1:
		snprintf(sql, sizeof(sql), LARGE_SQL, a, b);
		break;
	default:
		snprintf(sql, sizeof(sql), PAIR_SQL, a, b);
	}
	raw_put_exec(&cl->conn, 0, sql);
	note(cl, pair);
}

static void
put_prepared(struct client *cl, int pair)
{
	struct rawconn *c = &cl->conn;
	struct msg_out m;

	msg_begin_body(&m, &c->out, TYPE_EXEC, ++c->last_id, 0);
	msg_put_uint(&m, ASK_stmt, 1);
	msg_key(&m, ASK_params);
	value_put_array(m.b, 2);
	value_put_int(m.b, pair);
	value_put_int(m.b, pair + PAIRS);
	PROC_CHECK(msg_end(&m, 65536) == 0, "msg_end");
	note(cl, pair);
}

static void
put_read_batch(struct client *cl, int pair)
{
	char one[2][64];
	const char *const sqls[] = { one[0], one[1] };

	for (int i = 0; i < 2; i++)
		snprintf(one[i], sizeof(one[i]),
		    "SELECT v FROM kv WHERE k = %d", pair + i * PAIRS);
	put_batch(&cl->conn, 0, sqls);
	note(cl, pair);
}

static int64_t
read_int(struct span *cur)
{
	struct value v;

	value_read(cur, &v);
	PROC_CHECK(v.kind == VALUE_INT, "it is no integer");
	return v.i;
}

/* Each step has an array of one name, and one of one row of one value. */
static int64_t
read_step(struct span *cur)
{
	struct value v;

	value_read(cur, &v);
	for (int i = 0; i < 6; i++) /* columns, [, name, rows, [, [ */
		value_read(cur, &v);
	return read_int(cur);
}

static void
check_pair(struct client *cl, const struct ask *a, int64_t v, int64_t w)
{
	PROC_CHECK(v == w, "a pair is torn: %" PRId64 " and %" PRId64, v, w);
	PROC_CHECK(v >= a->floor,
	    "a read shows %" PRId64 " although %" PRId64
	    " was acknowledged, or read, before it was sent",
	    v, a->floor);
	if (v > cl->seen[a->pair])
		cl->seen[a->pair] = v;
}

static void
take_answer(struct client *cl, const struct rawreply *r)
{
	const struct ask *a = NULL;
	struct span cur;
	struct value v;
	int64_t first;

	for (int i = 0; i < cl->n && !a; i++)
		if (cl->asks[i].id == r->head.id)
			a = &cl->asks[i];
	if (!a)
		return;
	cur = MSG_HAS(&r->tell, TELL_steps) ? r->tell.steps : r->tell.rows;
	value_read(&cur, &v);
	if (v.count == 0) /* its row was in a frame before this one */
		return;
	if (MSG_HAS(&r->tell, TELL_steps)) {
		first = read_step(&cur);
		check_pair(cl, a, first, read_step(&cur));
		return;
	}
	value_read(&cur, &v); /* array of values */
	first = read_int(&cur);
	check_pair(cl, a, first, read_int(&cur));
}

/* Send what was put, and take the answers to all of it, in any order. */
static void
take_all(struct client *cl)
{
	int left = cl->n;

	for (int i = 0; i < cl->n; i++)
		cl->asks[i].floor = get_floor(cl, cl->asks[i].pair);
	raw_flush(&cl->conn);
	while (left > 0) {
		struct rawreply r;

		PROC_CHECK(raw_take(&cl->conn, &r), "the connection ended");
		PROC_CHECK(r.head.type != TYPE_ERROR, "%.*s",
		    (int)r.tell.message.n, (const char *)r.tell.message.p);
		take_answer(cl, &r);
		left -= r.head.type == TYPE_DONE;
	}
	cl->n = 0;
}

static void
read_burst(struct client *cl)
{
	int n = roll(cl, 2) ? 1 : BURST;

	for (int i = 0; i < n; i++) {
		int pair = (int)roll(cl, PAIRS);

		switch (roll(cl, 8)) {
		case 0:
			put_read_batch(cl, pair);
			break;
		case 1:
		case 2:
			put_text(cl, pair);
			break;
		default:
			put_prepared(cl, pair);
		}
	}
	/* what was acknowledged since the first was put counts too */
	for (int i = 0; i < cl->n; i++)
		cl->asks[i].floor = atomic_load(
		    &shared->acked[cl->asks[i].pair]);
	take_all(cl);
}

static int64_t
read_one(struct client *cl, int key)
{
	char sql[64];

	snprintf(sql, sizeof(sql), "SELECT v FROM kv WHERE k = %d", key);
	return raw_run_int(&cl->conn, 3, sql);
}

/* The snapshot is of the first statement, not of the BEGIN. */
static void
read_in_transaction(struct client *cl)
{
	static const enum msg_tx_mode modes[] = { TX_MODE_READ,
		TX_MODE_DEFERRED, TX_MODE_IMMEDIATE };
	int pair = (int)roll(cl, PAIRS);
	struct ask a = { .pair = pair };
	int64_t v;

	raw_expect(
	    &cl->conn, raw_put_begin(&cl->conn, 3, modes[roll(cl, 3)]), 0);
	a.floor = get_floor(cl, pair);
	v = read_one(cl, pair);
	for (uint32_t n = 1 + roll(cl, 4); n > 0; n--)
		check_pair(cl, &a, v, read_one(cl, pair + PAIRS));
	check_pair(cl, &a, v, read_one(cl, pair));
	raw_expect(&cl->conn, raw_put_end(&cl->conn, 3, true), 0);
}

/* As number 1. */
static void
put_prepare(struct rawconn *c, const char *sql)
{
	struct msg_out m;

	msg_begin_body(&m, &c->out, TYPE_PREPARE, ++c->last_id, 0);
	msg_put_uint(&m, ASK_stmt, 1);
	msg_put_str(&m, ASK_sql, sql);
	PROC_CHECK(msg_end(&m, 65536) == 0, "msg_end");
	raw_expect(c, c->last_id, 0);
}

static void
run_reader(void *arg)
{
	static struct client cl;
	int number = *(const int *)arg;

	open_client(&cl, number);
	put_prepare(&cl.conn,
	    "SELECT a.v, b.v FROM kv a, kv b WHERE a.k = ?1 AND b.k = ?2");
	while (!atomic_load(&shared->stop)) {
		if (roll(&cl, 8) == 0)
			read_in_transaction(&cl);
		else
			read_burst(&cl);
		atomic_fetch_add(&shared->reads[number], 1);
	}
	raw_close(&cl.conn);
}

/* --- The test ------------------------------------------------------------- */

static const struct {
	const char *options[4];
	const char *counter; /* what shows that reads went this way */
} rows[] = {
	{ { "workers=4" }, "read_batches" },
	{ { "workers=4" }, "reads_escalated" },
	{ { "workers=4", "batch_max=1" }, "reads_inline" },
	{ { "workers=3", "inline_budget=off" }, "reads_heavy" },
	{ { "workers=3", "access=shared" }, "read_batches" },
	/* (the writer waits long enough for readers on a slow machine, too) */
	{ { "workers=3", "wal_limit=256KB", "wal_gate_time=5s" },
	    "wal_restarts" },
};

static void
make_tables(void)
{
	struct sqlpool_conn *conn = live_connect(&live, "setup");

	live_exec(conn, "CREATE TABLE kv(k INTEGER PRIMARY KEY, v)");
	live_exec(conn,
	    "WITH RECURSIVE c(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM c "
	    "LIMIT 32) INSERT INTO kv SELECT x, 0 FROM c");
	sqlpool_close(conn);
}

/* Everybody has done something, and some of it in the way that is meant. */
static bool
has_run(const void *counter)
{
	bool all = atomic_load(&shared->writes) > 20;

	for (int i = 0; i < READERS; i++)
		all = all && atomic_load(&shared->reads[i]) > 5;
	return all && live_get_stat(&live, counter) > 0;
}

static void
let_run(const char *counter)
{
	const char *text = getenv("VISIBLE_SECONDS");
	struct timespec pause = { text ? strtol(text, NULL, 10) : 1, 0 };

	while (atomic_load(&shared->ready) < WRITERS + READERS)
		sched_yield();
	atomic_store(&shared->go, true);
	nanosleep(&pause, NULL);
	proc_wait_until(has_run, counter, counter);
	atomic_store(&shared->stop, true);
}

START_TEST(every_read_sees_what_was_acknowledged_before_it)
{
	pid_t pids[WRITERS + READERS];
	int numbers[WRITERS + READERS];

	live_init(&live);
	shared = proc_share(sizeof(*shared));
	live_start(&live, rows[_i].options);
	make_tables();
	for (int i = 0; i < WRITERS + READERS; i++) {
		numbers[i] = i;
		pids[i] = proc_fork(
		    i < READERS ? run_reader : run_writer, &numbers[i]);
	}
	let_run(rows[_i].counter);
	for (int i = 0; i < WRITERS + READERS; i++)
		proc_join(pids[i]);
	live_stop(&live);
	live_check_file(live.db_path);
	live_fini(&live);
}
END_TEST

/* --- One snapshot --------------------------------------------------------- */

#define SNAPSHOT_STREAM 3

static struct client reader, writer;

static int64_t
count_text(void)
{
	return raw_run_int(
	    &reader.conn, SNAPSHOT_STREAM, "SELECT count(*) FROM grow");
}

static int64_t
count_prepared(void)
{
	struct rawconn *c = &reader.conn;
	struct msg_out m;

	msg_begin_body(&m, &c->out, TYPE_EXEC, ++c->last_id, SNAPSHOT_STREAM);
	msg_put_uint(&m, ASK_stmt, 1);
	ck_assert_int_eq(msg_end(&m, 65536), 0);
	return raw_expect_int(c, c->last_id);
}

static int64_t
count_slowly(void)
{
	return raw_run_int(&reader.conn, SNAPSHOT_STREAM,
	    "SELECT count(*) FROM grow WHERE (WITH RECURSIVE c(x) AS (SELECT "
	    "1 UNION ALL SELECT x + 1 FROM c LIMIT 30000) SELECT count(*) "
	    "FROM c) > 0");
}

/* A result with more than a window, of which each row is a frame. */
static int64_t
count_streamed(void)
{
	struct rawconn *c = &reader.conn;
	uint64_t id = raw_put_exec(
	    c, SNAPSHOT_STREAM, "SELECT n, zeroblob(70000) FROM grow");
	struct rawreply r;
	struct msg_out m;
	int64_t n = 0;

	do {
		struct value v = { .count = 0 };

		raw_flush(c);
		ck_assert(raw_take(c, &r));
		ck_assert_uint_eq(r.tell.code, 0);
		if (MSG_HAS(&r.tell, TELL_rows))
			value_read(&r.tell.rows, &v);
		n += v.count;
		msg_begin_body(&m, &c->out, TYPE_CREDIT, 0, 0);
		msg_put_uint(&m, ASK_target, id);
		msg_put_uint(&m, ASK_credit_bytes, 70000);
		ck_assert_int_eq(msg_end(&m, 65536), 0);
	} while (r.head.type == TYPE_ROWS);
	raw_flush(c);
	return n;
}

static int64_t
count_in_batch(void)
{
	static const char *const sqls[] = { "SELECT count(*) FROM grow",
		"SELECT count(n) FROM grow" };
	struct rawreply r;
	struct span cur;
	struct value v;
	int64_t n;

	put_batch(&reader.conn, SNAPSHOT_STREAM, sqls);
	raw_wait(&reader.conn, reader.conn.last_id, &r);
	ck_assert_uint_eq(r.tell.code, 0);
	cur = r.tell.steps;
	value_read(&cur, &v);
	n = read_step(&cur);
	ck_assert_int_eq(read_step(&cur), n);
	return n;
}

static int64_t
count_in_savepoint(void)
{
	int64_t n;

	raw_run(&reader.conn, SNAPSHOT_STREAM, "SAVEPOINT s", 0);
	n = count_text();
	raw_run(&reader.conn, SNAPSHOT_STREAM, "ROLLBACK TO s", 0);
	ck_assert_int_eq(count_text(), n);
	raw_run(&reader.conn, SNAPSHOT_STREAM, "RELEASE s", 0);
	return n;
}

static int64_t (*const counts[])(void) = { count_text, count_prepared,
	count_slowly, count_streamed, count_in_batch, count_in_savepoint };

#define COUNTS_N (sizeof(counts) / sizeof(counts[0]))

static void
grow(void)
{
	raw_run(&writer.conn, 0, "INSERT INTO grow VALUES (1)", 0);
}

/* Whichever statement takes the snapshot, and whichever follow; what is read
 * beside the transaction is of now. */
START_TEST(a_transaction_shows_one_snapshot_on_every_road)
{
	enum msg_tx_mode mode = _i % 2 ? TX_MODE_READ : TX_MODE_DEFERRED;
	int64_t written = 0, n;

	live_init(&live);
	live_start(&live, LIVE_OPTIONS("workers=2"));
	raw_open(&reader.conn, live.socket_path);
	raw_open(&writer.conn, live.socket_path);
	raw_run(&writer.conn, 0, "CREATE TABLE grow(n)", 0);
	put_prepare(&reader.conn, "SELECT count(*) FROM grow");
	for (; written < 10; written++)
		grow();
	raw_expect(&reader.conn,
	    raw_put_begin(&reader.conn, SNAPSHOT_STREAM, mode), 0);
	grow(); /* BEGIN takes nothing */
	n = counts[_i / 2]();
	ck_assert_int_eq(n, ++written);
	for (size_t i = 0; i < 2 * COUNTS_N; i++) {
		grow();
		written++;
		ck_assert_int_eq(counts[i % COUNTS_N](), n);
		ck_assert_int_eq(
		    raw_run_int(&reader.conn, 0, "SELECT count(*) FROM grow"),
		    written);
	}
	raw_expect(
	    &reader.conn, raw_put_end(&reader.conn, SNAPSHOT_STREAM, true), 0);
	ck_assert_int_eq(count_text(), written);
	raw_close(&reader.conn);
	raw_close(&writer.conn);
	live_stop(&live);
	live_fini(&live);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("visible");
	TCase *tc = tcase_create("visible");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, every_read_sees_what_was_acknowledged_before_it,
	    0, (int)(sizeof(rows) / sizeof(rows[0])));
	suite_add_tcase(suite, tc);
	tc = tcase_create("snapshot");
	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, a_transaction_shows_one_snapshot_on_every_road,
	    0, (int)(2 * COUNTS_N));
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
