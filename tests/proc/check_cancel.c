/* check_cancel.c - requests that are stopped, by CANCEL or by their deadline:
 * each gets one answer, nothing of it is applied, and nobody else notices (P6,
 * P7). */
#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/clock.h"
#include "proto/error.h"
#include "proto/frame.h"
#include "tests/lib/dice.h"
#include "tests/lib/doubling.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static struct live live;
static struct rawconn a, b;

static const char count_sql[] = "SELECT count(*) FROM t WHERE who = 'a'";
static const char insert_sql[] = "INSERT INTO t VALUES ('a', 1)";

static void
start(const char *const *options)
{
	live_init(&live);
	live_start(&live, options);
	raw_open(&a, live.socket_path);
	raw_open(&b, live.socket_path);
	raw_run(&a, 0, "CREATE TABLE t(who, n)", 0);
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

/* --- Requests that do not end by themselves ------------------------------- */

#define ENDLESS \
	"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "

static void
wait_for_writers(void)
{
	live_wait_busy(&live, "writers");
}

static void
wait_for_readers(void)
{
	live_wait_busy(&live, "readers");
}

/* It stands behind the transaction that start_one has begun on b. */
static void
wait_for_queue(void)
{
	live_wait_queue(&live, 1);
}

static void
wait_for_rows(void)
{
	raw_flush(&a);
	PROC_CHECK(proc_wait_readable(a.fd, proc_get_deadline_us(PROC_WAIT_MS)),
	    "no rows come");
}

static void
wait_for_nothing(void)
{
}

static const struct endless {
	const char *name;
	const char *sql;
	void (*wait)(void); /* until it is where it is to be stopped */
	bool behind;        /* while b holds the writer */
	bool is_script;
	bool in_tx;   /* after an INSERT in a transaction of a */
	bool ends_tx; /* SQLite then rolls all of it back:
			     * sqlite.org/c3ref/interrupt.html */
} requests[] = {
	{ .name = "a write that waits",
	    .sql = "INSERT INTO t VALUES ('a', 1)",
	    .wait = wait_for_queue,
	    .behind = true },
	{ .name = "a write that runs",
	    .sql = "INSERT INTO t " ENDLESS "SELECT 'a', x FROM c",
	    .wait = wait_for_writers },
	{ .name = "a write with rows",
	    .sql = "INSERT INTO t " ENDLESS "SELECT 'a', x FROM c RETURNING n",
	    .wait = wait_for_writers },
	{ .name = "a script that waits",
	    .sql = "INSERT INTO t VALUES ('a', 1); DROP TABLE t",
	    .wait = wait_for_queue,
	    .behind = true,
	    .is_script = true },
	{ .name = "a script that runs",
	    .sql = "INSERT INTO t VALUES ('a', 1); INSERT INTO t " ENDLESS
		   "SELECT 'a', x FROM c; DROP TABLE t",
	    .wait = wait_for_writers,
	    .is_script = true },
	{ .name = "a read that runs",
	    .sql = ENDLESS "SELECT max(x) FROM c",
	    .wait = wait_for_readers },
	{ .name = "a read that just began",
	    .sql = ENDLESS "SELECT max(x) FROM c",
	    .wait = wait_for_nothing },
	{ .name = "a result that waits",
	    .sql = ENDLESS "SELECT x, zeroblob(1000) FROM c",
	    .wait = wait_for_rows },
	{ .name = "a write in a transaction",
	    .sql = "INSERT INTO t " ENDLESS "SELECT 'a', x FROM c",
	    .wait = wait_for_writers,
	    .in_tx = true,
	    .ends_tx = true },
	{ .name = "a read in a transaction",
	    .sql = ENDLESS "SELECT max(x) FROM c",
	    .wait = wait_for_writers,
	    .in_tx = true },
	{ .name = "a result in a transaction",
	    .sql = ENDLESS "SELECT x, zeroblob(1000) FROM c",
	    .wait = wait_for_rows,
	    .in_tx = true },
};

/* Send it, with this deadline; returns its id. */
static uint64_t
start_one(const struct endless *e, uint32_t timeout_ms)
{
	uint64_t id;

	if (e->behind) {
		raw_begin(&b, TX_MODE_IMMEDIATE);
		raw_run(&b, 0, "INSERT INTO t VALUES ('b', 1)", 0);
	}
	if (e->in_tx) {
		raw_begin(&a, TX_MODE_IMMEDIATE);
		raw_run(&a, 0, insert_sql, 0);
	}
	a.timeout_ms = timeout_ms;
	id = e->is_script ? raw_put_script(&a, 0, e->sql, true)
			  : raw_put_exec(&a, 0, e->sql);
	raw_flush(&a);
	a.timeout_ms = 0;
	return id;
}

/* The transaction it was in: goes on, or is over and says so. */
static void
end_tx(const struct endless *e)
{
	if (e->ends_tx) {
		raw_run(&a, 0, insert_sql, ERR_TX_EXPIRED);
		raw_end(&a, false);
	} else {
		ck_assert_int_eq(raw_run_int(&a, 0, count_sql), 1);
		raw_end(&a, true);
	}
}

/* It ended with this error; all is as if it had not been sent. */
static void
check_stopped(const struct endless *e, uint64_t id, int code)
{
	enum msg_tx_state state = e->ends_tx ? TX_STATE_EXPIRED
	    : e->in_tx                       ? TX_STATE_WRITE
					     : TX_STATE_NONE;
	int64_t rows = e->in_tx && !e->ends_tx;
	struct rawreply r;

	raw_wait(&a, id, &r);
	ck_assert_msg(r.tell.code == (uint64_t)code, "%s: %llu: %.*s", e->name,
	    (unsigned long long)r.tell.code, (int)r.tell.message.n,
	    (const char *)r.tell.message.p);
	ck_assert_uint_eq(r.tell.outcome, OUTCOME_NOT_APPLIED);
	ck_assert_uint_eq(r.tell.tx_state, state);
	if (e->in_tx)
		end_tx(e);
	if (e->behind)
		raw_end(&b, true);
	raw_run(&b, 0, "INSERT INTO t VALUES ('b', 2)", 0);
	ck_assert_int_eq(raw_run_int(&b, 0, count_sql), rows);
	ck_assert_int_eq(raw_run_int(&a, 0, count_sql), rows);
	raw_run(&a, 0, insert_sql, 0);
	ck_assert_int_eq(live_get_queue(&live), 0);
}

/* --- CANCEL --------------------------------------------------------------- */

START_TEST(cancel_stops_a_request_wherever_it_is)
{
	const struct endless *e = &requests[_i];
	uint64_t id;

	start(NULL);
	id = start_one(e, 0);
	e->wait();
	raw_put_cancel(&a, id);
	check_stopped(e, id, ERR_CANCELLED);
	ck_assert_int_ge(live_get_stat(&live, "cancels"), 1);
	stop();
}
END_TEST

/* Statements that run in different ways: opcodes that loop, rows that are
 * searched, sorted, grouped, written. */
/* clang-format off */
static const struct {
	const char *sql;
	const char *thread;
} runners[] = {
	{ ENDLESS "SELECT max(x) FROM c", "readers" },
	{ ENDLESS "SELECT count(*) FROM c WHERE x LIKE '%7%8%9%'", "readers" },
	{ "SELECT count(*) FROM big a, big b, big c WHERE a.n + b.n = -c.n", "readers" },
	{ "SELECT a.n % 97, count(*), group_concat(b.n) FROM big a, big b, big c GROUP BY 1", "readers" },
	{ ENDLESS "SELECT DISTINCT x % 1000 FROM c ORDER BY 1", "readers" },
	{ "INSERT INTO t " ENDLESS "SELECT 'a', x FROM c", "writers" },
	{ "UPDATE big SET n = -n WHERE (SELECT count(*) FROM big b, big c WHERE b.n + c.n < 0) > 0", "writers" },
};
/* clang-format on */

/* Ten milliseconds are what the statement may still take; a busy machine adds
 * to it, so it is the best of some tries that counts. */
START_TEST(cancel_stops_what_runs_within_10_ms)
{
	int64_t best_us = INT64_MAX;

	start(NULL);
	raw_run(&a, 0, "CREATE TABLE big(n)", 0);
	raw_run(&a, 0,
	    "INSERT INTO big WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL "
	    "SELECT x + 1 FROM c LIMIT 20000) SELECT x FROM c",
	    0);
	for (int i = 0; i < 5 && best_us > 10000; i++) {
		uint64_t id = raw_put_exec(&a, 0, runners[_i].sql);
		int64_t began_us, took_us;

		raw_flush(&a);
		live_wait_busy(&live, runners[_i].thread);
		began_us = clock_now_us();
		raw_put_cancel(&a, id);
		raw_expect(&a, id, ERR_CANCELLED);
		took_us = clock_now_us() - began_us;
		best_us = took_us < best_us ? took_us : best_us;
	}
	/* a sanitizer slows down, and has other suites beside it */
	if (proc_get_slowness() > 1)
		best_us /= 2 * proc_get_slowness();
	ck_assert_msg(best_us <= 10000, "%s takes %lld us to stop",
	    runners[_i].sql, (long long)best_us);
	stop();
}
END_TEST

static int texts_n; /* so far: each is another one */

/* Send texts that take long to prepare: 1.6 ms each with 8 tables, twice that with 9. */
static void
send_texts(struct rawconn *c, int n, int tables_n)
{
	struct buf text;

	buf_init(&text);
	for (int i = 0; i < n; i++) {
		doubling_make(&text, ++texts_n, tables_n, "");
		buf_put(&text, "", 1);
		raw_put_exec(c, 0, (const char *)text.p);
	}
	buf_fini(&text);
	raw_flush(c);
}

/* Gives how long after a CANCEL a read stops, that runs when it was sent at sent_us.
 * The answer leaves at the end of a turn; when it was made it says itself. */
static int64_t
measure_stop_us(uint64_t id, int64_t sent_us)
{
	int64_t cancelled_us = clock_now_us();
	struct rawreply r;

	raw_put_cancel(&a, id);
	raw_wait(&a, id, &r);
	ck_assert_uint_eq(r.tell.code, ERR_CANCELLED);
	return sent_us + (int64_t)(r.tell.queue_us + r.tell.exec_us) -
	    cancelled_us;
}

static uint64_t
start_read(void)
{
	uint64_t id = raw_put_exec(&a, 0, ENDLESS "SELECT max(x) FROM c");

	raw_flush(&a);
	live_wait_busy(&live, "readers");
	return id;
}

/* The CANCEL is read when a turn of the worker has ended, which is as long as the
 * slice of a client, 5 ms, and one of the texts. */
START_TEST(cancel_stops_what_runs_within_10_ms_before_long_texts)
{
	int64_t best_us = INT64_MAX;

	start(LIVE_OPTIONS("workers=1"));
	for (int i = 0; i < 20 && best_us > 10000; i++) {
		int64_t sent_us = clock_now_us(), took_us;
		uint64_t id = start_read();

		send_texts(&a, 64, 8);
		raw_let_arrive(&b); /* the first has had its turn */
		took_us = measure_stop_us(id, sent_us);
		best_us = took_us < best_us ? took_us : best_us;
		for (uint64_t text = id + 1; text <= id + 64; text++)
			raw_put_cancel(&a, text);
		raw_let_arrive(&a);
	}
	if (proc_get_slowness() > 1)
		best_us /= 2 * proc_get_slowness();
	ck_assert_msg(
	    best_us <= 10000, "it takes %lld us to stop", (long long)best_us);
	stop();
}
END_TEST

/* A turn in which each of them had its slice would take 50 ms.  It is the middle one
 * of five tries that counts: one may come just when a turn begins. */
START_TEST(cancel_does_not_wait_for_the_long_texts_of_others)
{
	static struct rawconn others[8];
	int64_t bound_us = 20000 * proc_get_slowness();
	int quick_n = 0;

	start(LIVE_OPTIONS("workers=1"));
	for (size_t i = 0; i < COUNT(others); i++)
		raw_open(&others[i], live.socket_path);
	for (int i = 0; i < 5; i++) {
		int64_t sent_us = clock_now_us();
		uint64_t id = start_read();

		for (size_t k = 0; k < COUNT(others); k++)
			send_texts(&others[k], 4, 10);
		raw_let_arrive(&b);
		quick_n += measure_stop_us(id, sent_us) < bound_us;
		for (size_t k = 0; k < COUNT(others); k++)
			raw_let_arrive(&others[k]);
	}
	ck_assert_int_ge(quick_n, 3);
	for (size_t i = 0; i < COUNT(others); i++)
		raw_close(&others[i]);
	stop();
}
END_TEST

/* --- A thousand, at random ------------------------------------------------------ */

#define ROUNDS   20
#define IN_ROUND 50 /* requests, each of which is cancelled */
#define STREAMS  3  /* with a transaction now and then */

static const char *const any_sql[] = {
	insert_sql,
	"SELECT 1",
	ENDLESS "SELECT count(*) FROM c",
	ENDLESS "SELECT x, zeroblob(1000) FROM c",
	"INSERT INTO t " ENDLESS "SELECT 'b', x FROM c",
	"INSERT INTO t VALUES('c', 1) RETURNING n",
};

struct sent {
	uint64_t first, last; /* ids of the round, cancels among them */
	bool inserts[4 * IN_ROUND + 4 * STREAMS]; /* by id - first */
};

/* A request by itself, or the whole of a transaction around it. */
static void
put_any(struct sent *sent, uint32_t *dice)
{
	const char *sql = any_sql[dice_roll(dice, COUNT(any_sql))];
	uint64_t stream = dice_roll(dice, 2 * STREAMS), id;

	if (stream > STREAMS)
		stream = 0;
	if (stream)
		raw_put_begin(&a, stream,
		    dice_roll(dice, 2) ? TX_MODE_IMMEDIATE : TX_MODE_DEFERRED);
	id = raw_put_exec(&a, stream, sql);
	sent->inserts[id - sent->first] = stream == 0 && sql == insert_sql;
	if (stream)
		raw_put_end(&a, stream, false);
}

/* Cancel each, the first ones while others are sent, in any order. */
static void
put_round(struct sent *sent, uint32_t *dice)
{
	uint64_t n, step;

	memset(sent, 0, sizeof(*sent));
	sent->first = a.last_id + 1;
	for (int i = 0; i < IN_ROUND; i++) {
		put_any(sent, dice);
		if (dice_roll(dice, 8) == 0)
			raw_flush(&a);
	}
	n = a.last_id - sent->first + 1;
	step = n % 7 ? 7 : 1; /* which meets all of them */
	raw_flush(&a);
	for (uint64_t at = dice_roll(dice, (uint32_t)n), i = 0; i < n; i++) {
		struct msg_out m;

		/* without an id: it is not answered */
		msg_begin_body(&m, &a.out, TYPE_CANCEL, 0, 0);
		msg_put_uint(&m, ASK_target, sent->first + (at + step * i) % n);
		ck_assert_int_eq(msg_end(&m, FRAME_DEFAULT_MAX_BYTES), 0);
	}
	/* what was cancelled may have been an end */
	for (uint64_t stream = 1; stream <= STREAMS; stream++)
		raw_put_end(&a, stream, false);
	sent->last = a.last_id;
}

/* One answer each.  Gives how many rows were inserted. */
static int64_t
take_round(const struct sent *sent)
{
	bool seen[COUNT(sent->inserts)] = { false };
	int64_t inserted_n = 0;
	struct rawreply r;

	raw_flush(&a);
	for (uint64_t n = sent->last - sent->first + 1; n > 0;) {
		ck_assert(raw_take(&a, &r));
		if (r.head.type == TYPE_ROWS)
			continue;
		ck_assert(r.head.id >= sent->first && r.head.id <= sent->last);
		ck_assert(!seen[r.head.id - sent->first]);
		seen[r.head.id - sent->first] = true;
		if (sent->inserts[r.head.id - sent->first])
			inserted_n += r.tell.code == 0;
		n--;
	}
	return inserted_n;
}

static struct sqlpool_conn *admin;

static bool
is_idle(const void *arg)
{
	char *pools = live_ask(admin, "SHOW POOLS",
	    "writer queue queue_bytes readers_busy snapshots reader_queue");
	char *clients = live_ask(
	    admin, "SHOW CLIENTS", "application requests bytes");
	char *workers = live_ask(admin, "SHOW WORKERS", "waiting held");
	bool is_so = strcmp(pools, "idle|0|0|0|0|0\n") == 0 &&
	    strstr(clients, "raw|0|0\nraw|0|0\n") &&
	    strcmp(workers, "0|0\n") == 0;

	(void)arg;
	free(pools);
	free(clients);
	free(workers);
	return is_so;
}

START_TEST(a_thousand_random_cancels_leave_nothing)
{
	uint32_t dice = 2463534242;
	struct sent sent;
	int64_t inserted_n = 0;

	start(LIVE_OPTIONS("workers=1"));
	admin = live_connect_admin(&live);
	for (int i = 0; i < ROUNDS; i++) {
		put_round(&sent, &dice);
		inserted_n += take_round(&sent);
	}
	ck_assert_int_eq(raw_run_int(&a, 0, count_sql), inserted_n);
	ck_assert_int_ge(live_get_stat(&live, "cancels"), ROUNDS * INT64_C(10));
	proc_wait_until(is_idle, NULL, "all counters are zero");
	sqlpool_close(admin);
	stop();
}
END_TEST

/* Ids are each connection's own. */
START_TEST(cancel_does_not_reach_other_connections)
{
	uint64_t id;

	start(NULL);
	id = raw_put_exec(&a, 0,
	    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c "
	    "LIMIT 3000000) SELECT count(*) FROM c");
	raw_flush(&a);
	live_wait_busy(&live, "readers");
	raw_expect(&b, raw_put_cancel(&b, id), 0);
	ck_assert_int_eq(raw_expect_int(&a, id), 3000000);
	stop();
}
END_TEST

START_TEST(cancel_takes_one_out_of_the_line_and_leaves_the_others)
{
	struct rawreply r;
	uint64_t ids[5];

	start(NULL);
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, "INSERT INTO t VALUES ('b', 1)", 0);
	for (size_t i = 0; i < COUNT(ids); i++)
		ids[i] = raw_put_exec(&a, 0, insert_sql);
	raw_flush(&a);
	live_wait_queue(&live, (int64_t)COUNT(ids));
	raw_put_cancel(&a, ids[2]);
	raw_wait(&a, ids[2], &r);
	ck_assert_int_eq((int)r.tell.code, ERR_CANCELLED);
	live_wait_queue(&live, (int64_t)COUNT(ids) - 1);
	raw_end(&b, true);
	for (size_t i = 0; i < COUNT(ids); i++)
		if (i != 2)
			raw_expect(&a, ids[i], 0);
	ck_assert_int_eq(
	    raw_run_int(&a, 0, count_sql), (int64_t)COUNT(ids) - 1);
	stop();
}
END_TEST

/* About the number 7. */
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

START_TEST(a_cancelled_prepare_leaves_its_number_free)
{
	uint64_t id;

	start(NULL);
	raw_expect(&b, raw_put_admin(&b, "PAUSE app"), 0);
	id = put_stmt(TYPE_PREPARE, "SELECT 5");
	raw_let_arrive(&a);
	raw_put_cancel(&a, id);
	raw_expect(&a, id, ERR_CANCELLED);
	raw_expect(&b, raw_put_admin(&b, "RESUME app"), 0);
	raw_expect(&a, put_stmt(TYPE_EXEC, NULL), ERR_STATEMENT_UNKNOWN);
	stop();
}
END_TEST

/* The next one has taken its number over before it fails, for whatever reason. */
START_TEST(a_prepare_that_fails_leaves_its_number_to_the_next)
{
	uint64_t cancelled, bad, good;

	start(NULL);
	raw_expect(&b, raw_put_admin(&b, "PAUSE app"), 0);
	cancelled = put_stmt(TYPE_PREPARE, "SELECT 5");
	bad = put_stmt(TYPE_PREPARE, "SELECT nothing");
	good = put_stmt(TYPE_PREPARE, "SELECT 6");
	raw_let_arrive(&a);
	raw_put_cancel(&a, cancelled);
	raw_expect(&a, cancelled, ERR_CANCELLED);
	raw_expect(&b, raw_put_admin(&b, "RESUME app"), 0);
	raw_expect(&a, bad, SQLITE_ERROR);
	raw_expect(&a, good, 0);
	ck_assert_int_eq(raw_expect_int(&a, put_stmt(TYPE_EXEC, NULL)), 6);
	stop();
}
END_TEST

/* The members of a group that is undone because one was stopped run again. */
START_TEST(cancel_in_a_group_is_not_noticed_by_its_others)
{
	static struct rawconn others[8];
	uint64_t id = 0;

	start(NULL);
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, "INSERT INTO t VALUES ('b', 1)", 0);
	for (size_t i = 0; i < COUNT(others); i++) {
		raw_open(&others[i], live.socket_path);
		/* the endless one in their midst */
		if (i == COUNT(others) / 2) {
			id = raw_put_exec(&a, 0,
			    "INSERT INTO t " ENDLESS "SELECT 'a', x FROM c");
			raw_flush(&a);
			live_wait_queue(&live, (int64_t)i + 1);
		}
		raw_put_exec(
		    &others[i], 0, "INSERT INTO t VALUES ('other', 1)");
		raw_flush(&others[i]);
	}
	live_wait_queue(&live, (int64_t)COUNT(others) + 1);
	raw_end(&b, true);
	live_wait_busy(&live, "writers");
	raw_put_cancel(&a, id);
	raw_expect(&a, id, ERR_CANCELLED);
	for (size_t i = 0; i < COUNT(others); i++) {
		raw_expect(&others[i], others[i].last_id, 0);
		raw_close(&others[i]);
	}
	ck_assert_int_eq(raw_run_int(&a, 0, count_sql), 0);
	ck_assert_int_eq(
	    raw_run_int(&a, 0, "SELECT count(*) FROM t WHERE who = 'other'"),
	    (int64_t)COUNT(others));
	stop();
}
END_TEST

/* --- Deadlines ------------------------------------------------------------ */

START_TEST(a_deadline_stops_a_request_wherever_it_is)
{
	const struct endless *e = &requests[_i];
	uint64_t id;

	start(NULL);
	id = start_one(e, 200);
	check_stopped(e, id, ERR_DEADLINE);
	ck_assert_int_ge(live_get_stat(&live, "deadlines"), 1);
	stop();
}
END_TEST

START_TEST(the_daemons_own_deadline_holds_without_one)
{
	start(LIVE_OPTIONS("request_timeout=100ms"));
	raw_run(&a, 0, ENDLESS "SELECT max(x) FROM c", ERR_DEADLINE);
	a.timeout_ms = 60000;
	raw_run(&a, 0,
	    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c "
	    "LIMIT 3000000) SELECT count(*) FROM c",
	    0);
	stop();
}
END_TEST

/* The library says no time of its own, unless the application has one. */
START_TEST(the_daemons_own_deadline_holds_for_the_librarys_requests)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	struct sqlpool_conn *conn;
	int64_t began;

	start(LIVE_OPTIONS("request_timeout=100ms"));
	options.socket_path = live.socket_path;
	for (int own = 0; own < 2; own++) {
		options.request_timeout_ms = own ? 1000 : 0;
		ck_assert_int_eq(sqlpool_open(&options, &conn), 0);
		began = clock_now_us();
		ck_assert_int_eq(
		    sqlpool_exec(conn, ENDLESS "SELECT max(x) FROM c", NULL, 0),
		    -SQLPOOL_ERR_DEADLINE);
		ck_assert_int_eq(
		    sqlpool_get_error(conn)->outcome, SQLPOOL_NOT_APPLIED);
		ck_assert_int_ge(
		    clock_now_us() - began, own ? 1000000 : 100000);
		sqlpool_close(conn);
	}
	stop();
}
END_TEST

/* Two databases; the first one has a deadline of its own. */
static void
start_two(void)
{
	char path[2 * LIVE_PATH_MAX];
	FILE *f;

	live_init(&live);
	snprintf(path, sizeof(path), "%s/conf", live.dir);
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	fprintf(f,
	    "database hasty { path = \"%s/hasty.db\"\n"
	    "\trequest_timeout = 100ms }\n"
	    "database app { path = \"%s\" }\n"
	    "request_timeout = 60s\n",
	    live.dir, live.db_path);
	ck_assert_int_eq(fclose(f), 0);
	live_launch(&live,
	    (const char *const[]){ "-s", live.socket_path, "-c", path, NULL });
	live_wait_ready(&live);
	raw_open(&a, live.socket_path);
	raw_open(&b, live.socket_path);
}

static uint64_t
put_exec_on(struct rawconn *c, const char *database, const char *sql)
{
	struct msg_out m;

	msg_begin(&m, &c->out, TYPE_EXEC, ++c->last_id, 0);
	if (c->timeout_ms)
		msg_put_uint(&m, HEAD_timeout_ms, c->timeout_ms);
	msg_put_str(&m, HEAD_database, database);
	msg_open_body(&m);
	msg_put_str(&m, ASK_sql, sql);
	ck_assert_int_eq(msg_end(&m, FRAME_DEFAULT_MAX_BYTES), 0);
	return c->last_id;
}

START_TEST(a_database_has_its_own_deadline)
{
	static const char endless[] = ENDLESS "SELECT max(x) FROM c";
	uint64_t hasty, app;

	start_two();
	app = put_exec_on(&a, "app", endless);
	hasty = put_exec_on(&a, "hasty", endless);
	raw_expect(&a, hasty, ERR_DEADLINE);
	raw_put_cancel(&a, app);
	raw_expect(&a, app, ERR_CANCELLED);
	/* the client's own goes before both */
	b.timeout_ms = 200;
	raw_expect(&b, put_exec_on(&b, "app", endless), ERR_DEADLINE);
	b.timeout_ms = 60000;
	raw_expect(&b,
	    put_exec_on(&b, "hasty",
		"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM "
		"c LIMIT 3000000) SELECT count(*) FROM c"),
	    0);
	stop();
}
END_TEST

/* Later ones with shorter deadlines: each ends at its own, and what has a long
 * one stays.  (Two that are due when the daemon looks may be answered in either
 * order.) */
START_TEST(deadlines_of_one_connection_are_each_its_own)
{
	uint64_t ids[16], last;

	start(NULL);
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, "INSERT INTO t VALUES ('b', 1)", 0);
	for (size_t i = 0; i < COUNT(ids); i++) {
		a.timeout_ms = (uint32_t)(25 * (COUNT(ids) - i));
		ids[i] = raw_put_exec(&a, 0, insert_sql);
	}
	a.timeout_ms = 60000;
	last = raw_put_exec(&a, 0, insert_sql);
	raw_flush(&a);
	for (size_t n = 0; n < COUNT(ids); n++) {
		struct rawreply r;
		size_t i;

		ck_assert(raw_take(&a, &r));
		for (i = 0; i < COUNT(ids) && ids[i] != r.head.id; i++)
			continue;
		ck_assert_uint_lt(i, COUNT(ids));
		ids[i] = 0;
		ck_assert_int_eq((int)r.tell.code, ERR_DEADLINE);
		/* not before it was due */
		ck_assert_uint_ge(
		    r.tell.queue_us + r.tell.exec_us, 25000 * (COUNT(ids) - i));
	}
	raw_end(&b, true);
	raw_expect(&a, last, 0);
	ck_assert_int_eq(raw_run_int(&a, 0, count_sql), 1);
	stop();
}
END_TEST

/* Behind a write of its own client, and behind the one before it in a
 * transaction. */
START_TEST(a_deadline_holds_for_what_waits_on_its_worker)
{
	uint64_t write, read, begin, first, second;

	start(NULL);
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, "INSERT INTO t VALUES ('b', 1)", 0);
	write = raw_put_exec(&a, 0, insert_sql);
	begin = raw_put_begin(&a, 1, TX_MODE_IMMEDIATE);
	first = raw_put_exec(&a, 1, insert_sql);
	a.timeout_ms = 50;
	read = raw_put_exec(&a, 0, count_sql);
	second = raw_put_exec(&a, 1, insert_sql);
	raw_expect(&a, begin, 0);
	raw_expect(&a, read, ERR_DEADLINE);
	raw_expect(&a, second, ERR_DEADLINE);
	a.timeout_ms = 0;
	raw_end(&b, true);
	raw_expect(&a, write, 0);
	raw_expect(&a, first, 0);
	raw_expect(&a, raw_put_end(&a, 1, true), 0);
	ck_assert_int_eq(raw_run_int(&a, 0, count_sql), 2);
	stop();
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("cancel");
	TCase *tc = tcase_create("cancel");

	tcase_set_timeout(tc, 15);
	tcase_add_loop_test(
	    tc, cancel_stops_a_request_wherever_it_is, 0, (int)COUNT(requests));
	tcase_add_loop_test(
	    tc, cancel_stops_what_runs_within_10_ms, 0, (int)COUNT(runners));
	tcase_add_test(
	    tc, cancel_stops_what_runs_within_10_ms_before_long_texts);
	tcase_add_test(tc, cancel_does_not_wait_for_the_long_texts_of_others);
	tcase_add_test(tc, a_thousand_random_cancels_leave_nothing);
	tcase_add_test(tc, cancel_does_not_reach_other_connections);
	tcase_add_test(
	    tc, cancel_takes_one_out_of_the_line_and_leaves_the_others);
	tcase_add_test(tc, a_cancelled_prepare_leaves_its_number_free);
	tcase_add_test(tc, a_prepare_that_fails_leaves_its_number_to_the_next);
	tcase_add_test(tc, cancel_in_a_group_is_not_noticed_by_its_others);
	suite_add_tcase(suite, tc);
	tc = tcase_create("deadline");
	tcase_set_timeout(tc, 15);
	tcase_add_loop_test(tc, a_deadline_stops_a_request_wherever_it_is, 0,
	    (int)COUNT(requests));
	tcase_add_test(tc, deadlines_of_one_connection_are_each_its_own);
	tcase_add_test(tc, a_deadline_holds_for_what_waits_on_its_worker);
	tcase_add_test(tc, the_daemons_own_deadline_holds_without_one);
	tcase_add_test(
	    tc, the_daemons_own_deadline_holds_for_the_librarys_requests);
	tcase_add_test(tc, a_database_has_its_own_deadline);
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
