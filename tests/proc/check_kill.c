/* check_kill.c - a client that dies by SIGKILL: what it had open is rolled back,
 * and what it held is free, at once (P6). */
#include <check.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* How long what a dead client held may stay held: the best of so many, since
 * others may have the processor when one dies.  Nothing but a tick of the daemon
 * would take as long each time. */
#define FREED_US INT64_C(20000)
#define TRIES    10

static struct live live;

#define PIPELINED 200

static const char victim_sql[] = "INSERT INTO t VALUES ('victim', 1)";
static const char endless_write[] =
    "INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 "
    "FROM c) SELECT 'victim', x FROM c";
static const char endless_read[] =
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
    "SELECT max(x) FROM c";
static const char endless_rows[] =
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
    "SELECT x, zeroblob(1000) FROM c";

/* What the victim does; it leaves its connection as it is then. */
static void
hold_writer(struct rawconn *c)
{
	raw_put_begin(c, 0, TX_MODE_IMMEDIATE);
	raw_expect(c, raw_put_exec(c, 0, victim_sql), 0);
}

static void
write_in_tx(struct rawconn *c)
{
	hold_writer(c);
	raw_put_exec(c, 0, endless_write);
}

static void
write_alone(struct rawconn *c)
{
	raw_put_exec(c, 0, endless_write);
}

static void
pipeline_in_tx(struct rawconn *c)
{
	write_in_tx(c);
	for (int i = 0; i < PIPELINED; i++)
		raw_put_exec(c, 0, victim_sql);
	raw_put_end(c, 0, true);
}

/* Transactions of its own that wait for its own: as many as it likes. */
static void
pipeline_streams(struct rawconn *c)
{
	hold_writer(c);
	for (uint64_t stream = 1; stream <= PIPELINED; stream++) {
		raw_put_begin(c, stream, TX_MODE_IMMEDIATE);
		raw_put_exec(c, stream, victim_sql);
		raw_put_end(c, stream, true);
	}
}

static void
pipeline_alone(struct rawconn *c)
{
	hold_writer(c);
	for (int i = 0; i < PIPELINED; i++)
		raw_put_exec(c, 1, victim_sql);
}

static void
run_script(struct rawconn *c)
{
	raw_put_script(c, 0,
	    "CREATE TABLE made(x); INSERT INTO t VALUES ('victim', 1);"
	    "INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT "
	    "x + 1 FROM c) SELECT 'victim', x FROM c",
	    true);
}

/* Its transaction is the script's own. */
static void
run_script_with_tx(struct rawconn *c)
{
	raw_put_script(c, 0,
	    "BEGIN; INSERT INTO t VALUES ('victim', 1);"
	    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
	    "SELECT max(x) FROM c; COMMIT",
	    false);
}

static void
hold_snapshot(struct rawconn *c)
{
	raw_put_begin(c, 0, TX_MODE_READ);
	raw_expect(c, raw_put_exec(c, 0, "SELECT count(*) FROM t"), 0);
}

static void
read_in_tx(struct rawconn *c)
{
	hold_snapshot(c);
	raw_put_exec(c, 0, endless_read);
}

static void
read_alone(struct rawconn *c)
{
	raw_put_exec(c, 0, endless_read);
}

/* Rows that it does not take: the reader waits for its window. */
static void
stream_alone(struct rawconn *c)
{
	raw_put_exec(c, 0, endless_rows);
	raw_flush(c);
	PROC_CHECK(
	    proc_wait_readable(c->fd, proc_get_deadline_us(PROC_WAIT_MS)),
	    "no rows come");
}

static const struct {
	const char *name;
	void (*act)(struct rawconn *c);
	const char *busy; /* threads that run its statement; NULL: none */
	int queued;       /* of its requests wait for the writer */
	bool reads;       /* what it holds is the only connection for reads */
} victims[] = {
	{ "a write transaction", hold_writer, NULL, 0, false },
	{ "a statement in it", write_in_tx, "writers", 0, false },
	{ "a write by itself", write_alone, "writers", 0, false },
	{ "a pipeline in it", pipeline_in_tx, "writers", 0, false },
	{ "a pipeline beside it", pipeline_alone, NULL, PIPELINED, false },
	{ "many transactions", pipeline_streams, NULL, PIPELINED, false },
	{ "a script", run_script, "writers", 0, false },
	{ "a script with a transaction", run_script_with_tx, "writers", 0,
	    false },
	{ "a read transaction", hold_snapshot, NULL, 0, true },
	{ "a read in it", read_in_tx, "readers", 0, true },
	{ "a read by itself", read_alone, "readers", 0, true },
	{ "a result not taken", stream_alone, NULL, 0, true },
};

struct victim {
	int kind;
	struct proc_gate ready;
};

static void
be_victim(void *arg)
{
	struct victim *v = arg;
	struct rawconn c;
	struct rawreply r;

	raw_open(&c, live.socket_path);
	victims[v->kind].act(&c);
	/* its answer shows that the daemon has read all before it */
	raw_put(&c, TYPE_PING, 0);
	raw_flush(&c);
	if (victims[v->kind].act != stream_alone)
		while (raw_take(&c, &r) && r.head.id != c.last_id)
			continue;
	proc_gate_open(&v->ready);
	for (;;)
		pause();
}

/* Ask for what the victim holds; the PING's answer comes when the request is
 * where it has to wait. */
static uint64_t
ask_for_it(struct rawconn *c, int kind)
{
	uint64_t id;

	raw_put_begin(
	    c, 0, victims[kind].reads ? TX_MODE_READ : TX_MODE_IMMEDIATE);
	id = raw_put_exec(c, 0,
	    victims[kind].reads
		? "SELECT count(*) FROM t WHERE who = 'victim'"
		: "INSERT INTO t SELECT 'heir', count(*) FROM t WHERE who = "
		  "'victim' RETURNING n");
	raw_expect(c, raw_put(c, TYPE_PING, 0), 0);
	if (!victims[kind].reads)
		live_wait_queue(&live, victims[kind].queued + 1);
	return id;
}

/* Let a victim die; gives how long its heir waited then. */
static int64_t
kill_one(int kind, struct sqlpool_conn *conn)
{
	struct victim v = { .kind = kind };
	struct rawconn heir;
	int64_t began_us, took_us;
	uint64_t id;
	pid_t pid;

	proc_gate_init(&v.ready);
	pid = proc_fork(be_victim, &v);
	proc_gate_wait(&v.ready);
	if (victims[kind].busy)
		live_wait_busy(&live, victims[kind].busy);
	raw_open(&heir, live.socket_path);
	id = ask_for_it(&heir, kind);
	began_us = clock_now_us();
	proc_kill(pid);
	ck_assert_int_eq(raw_expect_int(&heir, id), 0);
	took_us = clock_now_us() - began_us;
	raw_expect(&heir, raw_put_end(&heir, 0, true), 0);
	ck_assert_int_eq(live_get_queue(&live), 0);
	ck_assert_int_eq(
	    live_get_int(conn, "SELECT count(*) FROM t WHERE who = 'victim'"),
	    0);
	live_exec(conn, "INSERT INTO t VALUES ('after', 1)");
	raw_close(&heir);
	proc_gate_fini(&v.ready);
	return took_us;
}

START_TEST(a_killed_clients_work_is_undone_and_what_it_held_is_free_at_once)
{
	int64_t most_us = FREED_US * proc_get_slowness(), best_us = INT64_MAX;
	struct sqlpool_conn *conn;

	live_init(&live);
	live_start(&live, LIVE_OPTIONS("read_connections=1"));
	conn = live_connect(&live, "setup");
	live_exec(conn, "CREATE TABLE t(who, n)");
	for (int i = 0; i < TRIES && best_us > most_us; i++) {
		int64_t took_us = kill_one(_i, conn);

		best_us = took_us < best_us ? took_us : best_us;
	}
	ck_assert_msg(best_us <= most_us, "%s: free after %" PRId64 " us",
	    victims[_i].name, best_us);
	sqlpool_close(conn);
	live_stop(&live);
	live_check_file(live.db_path);
	live_fini(&live);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("kill");
	TCase *tc = tcase_create("client");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc,
	    a_killed_clients_work_is_undone_and_what_it_held_is_free_at_once, 0,
	    (int)COUNT(victims));
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
