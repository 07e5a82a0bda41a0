/* check_storm.c - a thousand cancels at any moment, among requests of every kind
 * and connections that just end (P6, P7, P8).
 *
 * Each request gets one terminal reply; one that was not cancelled gets the right
 * one.  What was acknowledged is there, what was cancelled is not.  Afterwards
 * nothing is taken any more, with the clients still there: every connection for
 * reads can be had at once, the writer is free, the log begins anew, and a stop
 * has nothing to wait for. */
#include <check.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "proto/error.h"
#include "proto/value.h"
#include "tests/lib/dice.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

#define CLIENTS 5
#define CANCELS 1000 /* of all of them */
#define MOST    12   /* requests under way of each */
#define READERS 3    /* read_connections */
#define N       3000 /* what the finite reads count to */

#define COUNT_TO(limit)                                                   \
	"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c " \
	"LIMIT " #limit ") "

/* What is sent, and what it answers when it is not stopped. */
enum kind {
	KIND_SHORT, /* runs on the worker */
	KIND_LONG,  /* some milliseconds */
	KIND_ROWS,  /* more than the window */
	KIND_BATCHED,
	KIND_FOREVER, /* must be cancelled, like the next two */
	KIND_FLOOD,   /* rows without end */
	KIND_WRITES_FOREVER,
	KIND_INSERT,
	KIND_SLOW_INSERT,
	KIND_BEGIN,
	KIND_IN_TX,
	KIND_END,
	KIND_CANCEL,
};

static const char *const texts[] = {
	[KIND_SHORT] = "SELECT 3000",
	[KIND_LONG] = COUNT_TO(30000) "SELECT count(*) / 10 FROM c",
	[KIND_ROWS] = COUNT_TO(3000) "SELECT x, zeroblob(100) FROM c",
	[KIND_FOREVER] = COUNT_TO(-1) "SELECT max(x) FROM c",
	[KIND_FLOOD] = COUNT_TO(-1) "SELECT x, zeroblob(300) FROM c",
	[KIND_WRITES_FOREVER] = "INSERT INTO waste " COUNT_TO(
	    -1) "SELECT x FROM c",
};

struct flight {
	uint64_t id, stream;
	enum kind kind;
	bool cancelled, failed;
	int64_t number; /* of an insert */
	int64_t rows_n;
};

struct client {
	struct rawconn conn;
	uint32_t dice;
	int index;
	struct flight flights[MOST * 3];
	size_t n;
	bool stays; /* it does not just end in this round */
};

struct shared {
	_Atomic int64_t cancels, hits, applied, sum;
	_Atomic int64_t number;
	_Atomic int done;
	struct proc_gate end;
};

static struct live live;
static struct shared *shared;

static uint32_t
roll(struct client *cl, uint32_t sides)
{
	return dice_roll(&cl->dice, sides);
}

/* --- Putting -------------------------------------------------------------- */

static struct flight *
note(struct client *cl, enum kind kind, uint64_t id, uint64_t stream)
{
	struct flight *f = &cl->flights[cl->n++];

	*f = (struct flight){ .id = id, .stream = stream, .kind = kind };
	return f;
}

static void
put_insert(struct client *cl, enum kind kind, uint64_t stream)
{
	int64_t number = atomic_fetch_add(&shared->number, 1);
	char sql[200];

	if (kind == KIND_SLOW_INSERT)
		snprintf(sql, sizeof(sql),
		    "INSERT INTO t " COUNT_TO(30000) "SELECT %" PRId64
						     " FROM c WHERE x = 1",
		    number);
	else
		snprintf(sql, sizeof(sql), "INSERT INTO t VALUES (%" PRId64 ")",
		    number);
	note(cl, kind, raw_put_exec(&cl->conn, stream, sql), stream)->number =
	    number;
}

static void
put_batch(struct client *cl)
{
	struct rawconn *c = &cl->conn;
	struct msg_out m, step;

	msg_begin_body(&m, &c->out, TYPE_BATCH, ++c->last_id, 0);
	msg_key(&m, ASK_steps);
	value_put_array(m.b, 2);
	for (int i = 0; i < 2; i++) {
		step = (struct msg_out){ .b = m.b };
		msg_open_map(&step);
		msg_put_str(&step, ASK_sql, texts[KIND_LONG]);
		msg_close_map(&step);
	}
	PROC_CHECK(msg_end(&m, 65536) == 0, "msg_end");
	note(cl, KIND_BATCHED, c->last_id, 0);
}

/* Its end is in the same packet, so that no transaction outlives the round. */
static void
put_tx(struct client *cl)
{
	static const enum msg_tx_mode modes[] = { TX_MODE_READ,
		TX_MODE_DEFERRED, TX_MODE_IMMEDIATE };
	uint32_t which = roll(cl, 3);
	uint64_t stream = 1 + roll(cl, 2) + 2 * cl->n;

	note(cl, KIND_BEGIN, raw_put_begin(&cl->conn, stream, modes[which]),
	    stream);
	for (uint32_t i = roll(cl, 3); i > 0; i--)
		note(cl, KIND_IN_TX,
		    raw_put_exec(&cl->conn, stream,
			texts[roll(cl, 2) ? KIND_LONG : KIND_SHORT]),
		    stream);
	if (modes[which] == TX_MODE_IMMEDIATE && roll(cl, 2))
		note(cl, KIND_FOREVER,
		    raw_put_exec(&cl->conn, stream, texts[KIND_WRITES_FOREVER]),
		    stream)
		    ->cancelled = false;
	note(cl, KIND_END, raw_put_end(&cl->conn, stream, false), stream);
}

static void
put_one(struct client *cl)
{
	/* what became of a write is not known without its reply */
	enum kind kind = (enum kind)roll(
	    cl, cl->stays ? KIND_BEGIN + 1 : KIND_INSERT);

	if (kind == KIND_BEGIN)
		put_tx(cl);
	else if (kind == KIND_BATCHED)
		put_batch(cl);
	else if (kind == KIND_INSERT || kind == KIND_SLOW_INSERT)
		put_insert(cl, kind, 0);
	else
		note(cl, kind, raw_put_exec(&cl->conn, 0, texts[kind]), 0);
}

static bool
is_endless(const struct flight *f)
{
	return f->kind == KIND_FOREVER || f->kind == KIND_FLOOD ||
	    f->kind == KIND_WRITES_FOREVER;
}

static void
put_cancel(struct client *cl, struct flight *f)
{
	f->cancelled = true;
	note(cl, KIND_CANCEL, raw_put_cancel(&cl->conn, f->id), 0);
	atomic_fetch_add(&shared->cancels, 1);
}

/* All that never end, and of the others as the dice fall; in any order, at any
 * moment of theirs.  Also of an id that nobody has. */
static void
put_cancels(struct client *cl, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct flight *f = &cl->flights[i];
		struct timespec moment = { 0, (long)roll(cl, 500000) };

		if (!is_endless(f) && (f->kind == KIND_END || roll(cl, 3) != 0))
			continue;
		put_cancel(cl, f);
		if (roll(cl, 2) == 0) {
			raw_flush(&cl->conn);
			nanosleep(&moment, NULL);
		}
	}
	if (roll(cl, 4) == 0)
		note(cl, KIND_CANCEL,
		    raw_put_cancel(&cl->conn, cl->conn.last_id + 1000), 0);
}

static void
put_credit(struct client *cl, uint64_t target)
{
	struct msg_out m;

	msg_begin_body(&m, &cl->conn.out, TYPE_CREDIT, 0, 0);
	msg_put_uint(&m, ASK_target, target);
	msg_put_uint(&m, ASK_credit_bytes, 65536);
	PROC_CHECK(msg_end(&m, 65536) == 0, "msg_end");
	raw_flush(&cl->conn);
}

/* --- Taking --------------------------------------------------------------- */

static int64_t
count_rows(const struct rawreply *r)
{
	struct span cur = r->tell.rows;
	struct value v = { .count = 0 };

	if (MSG_HAS(&r->tell, TELL_rows))
		value_read(&cur, &v);
	return v.count;
}

static int64_t
get_int(const struct rawreply *r)
{
	struct span cur = r->tell.rows;
	struct value v;

	for (int i = 0; i < 3; i++)
		value_read(&cur, &v);
	return v.i;
}

/* In a transaction one that was cancelled may have taken the others with it. */
static void
check_error(
    const struct client *cl, const struct flight *f, const struct rawreply *r)
{
	bool excused = f->cancelled && r->tell.code == ERR_CANCELLED;

	for (size_t i = 0; i < cl->n && f->stream; i++)
		if (cl->flights[i].stream == f->stream && cl->flights[i].failed)
			excused = true;
	PROC_CHECK(excused, "%.*s of kind %d, stream %d: %.*s",
	    (int)r->tell.name.n, (const char *)r->tell.name.p, f->kind,
	    (int)f->stream, (int)r->tell.message.n,
	    (const char *)r->tell.message.p);
	PROC_CHECK(r->tell.outcome == OUTCOME_NOT_APPLIED, "outcome %d",
	    (int)r->tell.outcome);
}

static void
check_answer(const struct flight *f, const struct rawreply *r)
{
	PROC_CHECK(!is_endless(f), "kind %d came to an end", f->kind);
	if (f->kind == KIND_SHORT || f->kind == KIND_LONG ||
	    f->kind == KIND_IN_TX)
		PROC_CHECK(get_int(r) == N, "a wrong answer");
	if (f->kind == KIND_ROWS)
		PROC_CHECK(f->rows_n == N, "%" PRId64 " rows", f->rows_n);
	if (f->kind == KIND_INSERT || f->kind == KIND_SLOW_INSERT) {
		atomic_fetch_add(&shared->applied, 1);
		atomic_fetch_add(&shared->sum, f->number);
	}
}

/* Forget it: a second reply would be of an unknown id. */
static void
end(struct client *cl, struct flight *f, const struct rawreply *r)
{
	f->id = 0;
	if (r->head.type != TYPE_ERROR) {
		check_answer(f, r);
		return;
	}
	f->failed = true;
	check_error(cl, f, r);
	atomic_fetch_add(&shared->hits, f->cancelled);
}

static void
take_one(struct client *cl, size_t *left)
{
	struct flight *f = NULL;
	struct rawreply r;

	PROC_CHECK(raw_take(&cl->conn, &r), "the connection ended");
	for (size_t i = 0; i < cl->n && !f; i++)
		if (cl->flights[i].id == r.head.id)
			f = &cl->flights[i];
	PROC_CHECK(f, "a reply to %" PRIu64 ", which has its own", r.head.id);
	f->rows_n += count_rows(&r);
	if (r.head.type == TYPE_ROWS) {
		if (f->kind != KIND_FLOOD || roll(cl, 2))
			put_credit(cl, f->id);
		return;
	}
	end(cl, f, &r);
	(*left)--;
}

static void
run_round(struct client *cl)
{
	size_t n, left;

	cl->n = 0;
	cl->stays = roll(cl, 12) != 0;
	for (n = 1 + roll(cl, 5); n > 0 && cl->n < MOST - 5; n--)
		put_one(cl);
	n = cl->n;
	if (roll(cl, 3)) /* else all of it comes in one turn */
		raw_flush(&cl->conn);
	put_cancels(cl, n);
	if (!cl->stays) {
		raw_flush(&cl->conn);
		raw_close(&cl->conn);
		raw_open(&cl->conn, live.socket_path);
		return;
	}
	raw_flush(&cl->conn);
	left = cl->n;
	while (left > 0)
		take_one(cl, &left);
}

static void
storm(void *arg)
{
	static struct client cl;

	cl.index = *(const int *)arg;
	cl.dice = 2654435761U * (uint32_t)(cl.index + 1);
	raw_open(&cl.conn, live.socket_path);
	while (atomic_load(&shared->cancels) < CANCELS)
		run_round(&cl);
	raw_let_arrive(&cl.conn);
	atomic_fetch_add(&shared->done, 1);
	proc_gate_wait(&shared->end);
	raw_close(&cl.conn);
}

/* --- Afterwards ----------------------------------------------------------- */

static bool
all_done(const void *arg)
{
	(void)arg;
	return atomic_load(&shared->done) == CLIENTS;
}

/* As many transactions as there are connections, all at once, none of which may
 * wait; and beside them the writer's. */
static void
check_all_free(void)
{
	struct rawconn c;

	raw_open(&c, live.socket_path);
	c.timeout_ms = 5000;
	for (uint64_t stream = 1; stream <= READERS; stream++) {
		raw_expect(&c, raw_put_begin(&c, stream, TX_MODE_READ), 0);
		raw_run_int(&c, stream, "SELECT count(*) FROM t");
	}
	raw_begin(&c, TX_MODE_IMMEDIATE);
	raw_run(&c, 0, "DELETE FROM waste", 0);
	raw_end(&c, true);
	for (uint64_t stream = 1; stream <= READERS; stream++)
		raw_expect(&c, raw_put_end(&c, stream, true), 0);
	raw_close(&c);
}

START_TEST(a_thousand_cancels_leave_nothing_behind)
{
	pid_t pids[CLIENTS];
	int indexes[CLIENTS];
	struct sqlpool_conn *conn;

	live_init(&live);
	shared = proc_share(sizeof(*shared));
	proc_gate_init(&shared->end);
	live_start(&live,
	    LIVE_OPTIONS("workers=2", "read_connections=3", "reader_threads=2",
		"window=64KB", "result_memory=32KB", "shutdown_grace=1h",
		"request_timeout=off", "tx_max_age=1h"));
	conn = live_connect(&live, "setup");
	live_exec(conn, "CREATE TABLE t(n UNIQUE)");
	live_exec(conn, "CREATE TABLE waste(n)");
	for (int i = 0; i < CLIENTS; i++) {
		indexes[i] = i;
		pids[i] = proc_fork(storm, &indexes[i]);
	}
	proc_wait_until(all_done, NULL, "the storm does not end");
	ck_assert_int_eq(live_get_queue(&live), 0);
	check_all_free();
	ck_assert_int_eq(live_get_int(conn, "SELECT count(*) FROM t"),
	    atomic_load(&shared->applied));
	ck_assert_int_eq(live_get_int(conn, "SELECT sum(n) FROM t"),
	    atomic_load(&shared->sum));
	ck_assert_int_gt(atomic_load(&shared->hits), CANCELS / 4);
	live_stop(&live); /* with an hour for what would be under way */
	sqlpool_close(conn);
	proc_gate_open(&shared->end);
	for (int i = 0; i < CLIENTS; i++)
		proc_join(pids[i]);
	proc_gate_fini(&shared->end);
	live_check_file(live.db_path);
	live_fini(&live);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("storm");
	TCase *tc = tcase_create("storm");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_thousand_cancels_leave_nothing_behind);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
