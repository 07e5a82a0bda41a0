/* check_chaos.c - many clients that do everything at once, and a sum that must
 * always be the same (P1, P6, P7, P9).
 *
 * Clients move amounts between accounts, in batches and in transactions, with
 * deadlines, cancels, errors in the middle, rollbacks, other transactions beside
 * them on the same connection, schema changes, and connections that just end.
 * Every transfer writes its number into a ledger.  At any time the accounts add
 * up to the same total; in the end the ledger holds each transfer that was
 * acknowledged, none that was said not to be applied, and explains each balance.
 *
 * CHAOS_SECONDS says how long, CHAOS_SEED which dice. */
#include <check.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/error.h"
#include "proto/value.h"
#include "tests/lib/dice.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

#define CLIENTS       6
#define ACCOUNTS      40
#define TRANSFERS_MAX 100000
#define BUSY_SNAPSHOT 517 /* sqlite.org/rescode.html */

static struct live live;

/* What is known of a transfer. */
enum fate { FATE_NONE, FATE_UNKNOWN, FATE_APPLIED, FATE_NOT_APPLIED };

struct client {
	struct rawconn conn;
	bool connected;
	int64_t number; /* of its next transfer */
	uint32_t dice;
	int index;
};

struct shared {
	uint8_t fates[CLIENTS][TRANSFERS_MAX]; /* enum fate */
	_Atomic bool stop;
};

static struct shared *shared;

static uint32_t
roll(struct client *cl, uint32_t sides)
{
	return dice_roll(&cl->dice, sides);
}

/* --- Replies -------------------------------------------------------------- */

/* Errors that this test provokes; anything else is a bug. */
static void
check_error(const struct rawreply *r)
{
	switch (r->tell.code) {
	case 0:
	case 275: /* SQLITE_CONSTRAINT_CHECK */
	case BUSY_SNAPSHOT:
	case ERR_CANCELLED:
	case ERR_DEADLINE:
	case ERR_TX_EXPIRED:
		return;
	default:
		proc_fail("%" PRIu64 ": %.*s", r->tell.code,
		    (int)r->tell.message.n, (const char *)r->tell.message.p);
	}
}

/* Wait for a reply; the code of its error. */
static uint64_t
wait_for(struct client *cl, uint64_t id)
{
	struct rawreply r;

	raw_wait(&cl->conn, id, &r);
	check_error(&r);
	PROC_CHECK(r.tell.code == 0 || r.tell.outcome == OUTCOME_NOT_APPLIED,
	    "outcome %" PRIu64 " of %.*s", r.tell.outcome,
	    (int)r.tell.message.n, (const char *)r.tell.message.p);
	return r.tell.code;
}

static uint64_t
run(struct client *cl, uint64_t stream, const char *sql)
{
	return wait_for(cl, raw_put_exec(&cl->conn, stream, sql));
}

/* --- Transfers ------------------------------------------------------------ */

struct transfer {
	int64_t number;
	char sql[3][160]; /* from, to, the ledger */
};

static void
make_transfer(struct client *cl, struct transfer *t)
{
	uint32_t from = roll(cl, ACCOUNTS), to = roll(cl, ACCOUNTS);
	uint32_t amount = 1 + roll(cl, 9);

	t->number = cl->number++;
	PROC_CHECK(t->number < TRANSFERS_MAX, "too many transfers");
	shared->fates[cl->index][t->number] = FATE_UNKNOWN;
	snprintf(t->sql[0], sizeof(t->sql[0]),
	    "UPDATE account SET cents = cents - %u WHERE id = %u", amount,
	    from);
	snprintf(t->sql[1], sizeof(t->sql[1]),
	    "UPDATE account SET cents = cents + %u WHERE id = %u", amount, to);
	snprintf(t->sql[2], sizeof(t->sql[2]),
	    "INSERT INTO ledger VALUES (%d, %" PRId64 ", %u, %u, %u)",
	    cl->index, t->number, from, to, amount);
}

static void
set_fate(struct client *cl, const struct transfer *t, enum fate fate)
{
	shared->fates[cl->index][t->number] = (uint8_t)fate;
}

static uint64_t
put_batch(struct client *cl, const struct transfer *t, bool fails)
{
	struct msg_out m, step;
	uint32_t n = fails ? 4 : 3;

	msg_begin(&m, &cl->conn.out, TYPE_BATCH, ++cl->conn.last_id, 0);
	if (roll(cl, 4) == 0)
		msg_put_uint(&m, HEAD_timeout_ms, 1 + roll(cl, 30));
	msg_open_body(&m);
	msg_key(&m, ASK_steps);
	value_put_array(m.b, n);
	for (uint32_t i = 0; i < n; i++) {
		step = (struct msg_out){ .b = m.b };
		msg_open_map(&step);
		msg_put_str(&step, ASK_sql,
		    i < 3 ? t->sql[i]
			  : "UPDATE account SET cents = -1000000 WHERE id = 1");
		msg_close_map(&step);
	}
	PROC_CHECK(msg_end(&m, 65536) == 0, "msg_end");
	return cl->conn.last_id;
}

static void
leave(struct client *cl)
{
	raw_close(&cl->conn);
	cl->connected = false;
}

static void
do_batch(struct client *cl)
{
	bool fails = roll(cl, 6) == 0;
	struct transfer t;
	uint64_t id, code;

	make_transfer(cl, &t);
	id = put_batch(cl, &t, fails);
	if (roll(cl, 6) == 0)
		raw_put_cancel(&cl->conn, id);
	if (roll(cl, 20) == 0) {
		raw_flush(&cl->conn);
		leave(cl);
		return;
	}
	code = wait_for(cl, id);
	PROC_CHECK(!fails || code != 0, "a batch that fails has succeeded");
	set_fate(cl, &t, code ? FATE_NOT_APPLIED : FATE_APPLIED);
}

/* A detour that leaves nothing behind. */
static uint64_t
detour(struct client *cl, uint64_t stream)
{
	uint64_t code = run(cl, stream, "SAVEPOINT detour");

	if (code == 0)
		code = run(cl, stream,
		    "UPDATE account SET cents = cents + 1 WHERE id < 5");
	if (code == 0)
		code = run(cl, stream, "ROLLBACK TO detour");
	return code ? code : run(cl, stream, "RELEASE detour");
}

static void
do_transaction(struct client *cl)
{
	uint64_t stream = roll(cl, 3), code = 0;
	enum msg_tx_mode mode = roll(cl, 2) ? TX_MODE_IMMEDIATE
					    : TX_MODE_DEFERRED;
	bool commits = roll(cl, 5) != 0;
	struct transfer t;

	make_transfer(cl, &t);
	raw_put_begin(&cl->conn, stream, mode);
	if (roll(cl, 3) == 0)
		code = run(cl, stream, "SELECT sum(cents) FROM account");
	for (int i = 0; i < 3 && code == 0; i++) {
		code = run(cl, stream, t.sql[i]);
		if (code == 0 && roll(cl, 5) == 0)
			code = detour(cl, stream);
	}
	if (roll(cl, 15) == 0) {
		if (roll(cl, 2)) {
			raw_put_end(&cl->conn, stream, true);
			raw_flush(&cl->conn);
		} else {
			set_fate(cl, &t, FATE_NOT_APPLIED);
		}
		leave(cl);
		return;
	}
	commits = commits && code == 0;
	code = wait_for(cl, raw_put_end(&cl->conn, stream, commits));
	set_fate(
	    cl, &t, commits && code == 0 ? FATE_APPLIED : FATE_NOT_APPLIED);
}

/* --- Others --------------------------------------------------------------- */

static void
check_total(struct client *cl, uint64_t stream)
{
	int64_t total = raw_run_int(
	    &cl->conn, stream, "SELECT sum(cents) FROM account");

	PROC_CHECK(
	    total == ACCOUNTS * INT64_C(1000), "the total is %" PRId64, total);
}

static void
do_read(struct client *cl)
{
	uint64_t stream = 7;

	if (roll(cl, 2)) {
		check_total(cl, 0);
		return;
	}
	raw_put_begin(&cl->conn, stream, TX_MODE_READ);
	for (uint32_t n = 1 + roll(cl, 3); n > 0; n--)
		check_total(cl, stream);
	wait_for(cl, raw_put_end(&cl->conn, stream, roll(cl, 2)));
}

static void
do_long_read(struct client *cl)
{
	uint64_t id = raw_put_exec(&cl->conn, 0,
	    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
	    "SELECT x, (SELECT sum(cents) FROM account) FROM c");

	if (roll(cl, 2)) {
		raw_put_cancel(&cl->conn, id);
		PROC_CHECK(wait_for(cl, id) == ERR_CANCELLED, "not cancelled");
	} else {
		raw_flush(&cl->conn);
		leave(cl);
	}
}

static void
do_schema(struct client *cl)
{
	char sql[100];

	snprintf(sql, sizeof(sql), "CREATE TABLE IF NOT EXISTS extra%d(n)",
	    cl->index);
	run(cl, 0, sql);
	snprintf(sql, sizeof(sql), "DROP TABLE IF EXISTS extra%d", cl->index);
	run(cl, 0, sql);
}

static void (*const deeds[])(struct client *cl) = {
	do_batch,
	do_batch,
	do_batch,
	do_transaction,
	do_transaction,
	do_transaction,
	do_read,
	do_read,
	do_long_read,
	do_schema,
};

static int64_t
get_number(const char *name, int64_t other)
{
	const char *text = getenv(name);

	return text ? strtol(text, NULL, 10) : other;
}

static void
live_wildly(void *arg)
{
	struct client cl = { .index = *(const int *)arg };

	cl.dice = (uint32_t)get_number("CHAOS_SEED", 1) * 2654435761U +
	    (uint32_t)cl.index * 7919;
	while (!atomic_load(&shared->stop)) {
		if (!cl.connected)
			raw_open(&cl.conn, live.socket_path);
		cl.connected = true;
		deeds[roll(&cl, sizeof(deeds) / sizeof(deeds[0]))](&cl);
	}
}

/* --- The judgement -------------------------------------------------------- */

static void
check_ledger_row(sqlite3_stmt *st, uint8_t (*found)[TRANSFERS_MAX])
{
	int client = sqlite3_column_int(st, 0);
	int number = sqlite3_column_int(st, 1);

	PROC_CHECK(shared->fates[client][number] != FATE_NOT_APPLIED,
	    "transfer %d of client %d was not to be applied, and is there",
	    number, client);
	found[client][number] = 1;
}

static void
check_ledger(sqlite3 *db, int64_t counts[4])
{
	uint8_t(*found)[TRANSFERS_MAX] = calloc(CLIENTS, sizeof(*found));
	sqlite3_stmt *st = NULL;

	ck_assert(found);
	ck_assert_int_eq(
	    sqlite3_prepare_v2(db, "SELECT * FROM ledger", -1, &st, NULL),
	    SQLITE_OK);
	while (sqlite3_step(st) == SQLITE_ROW)
		check_ledger_row(st, found);
	sqlite3_finalize(st);
	for (int i = 0; i < CLIENTS; i++)
		for (int n = 0; n < TRANSFERS_MAX; n++) {
			uint8_t fate = shared->fates[i][n];

			counts[fate]++;
			PROC_CHECK(fate != FATE_APPLIED || found[i][n],
			    "transfer %d of client %d was acknowledged, and "
			    "is not there",
			    n, i);
		}
	free(found);
}

START_TEST(whatever_clients_do_the_sum_stays_the_same)
{
	struct timespec pause = {
		get_number("CHAOS_SECONDS", proc_get_slowness() > 1 ? 6 : 3), 0
	};
	struct sqlpool_conn *conn;
	int64_t counts[4] = { 0 };
	pid_t pids[CLIENTS];
	int indexes[CLIENTS];
	sqlite3 *db;

	live_init(&live);
	shared = proc_share(sizeof(*shared));
	live_start(
	    &live, LIVE_OPTIONS("tx_idle_timeout=20ms", "wal_limit=1MB"));
	conn = live_connect(&live, "setup");
	live_exec(conn,
	    "CREATE TABLE account(id INTEGER PRIMARY KEY, cents "
	    "CHECK (cents > -100000))");
	live_exec(conn,
	    "CREATE TABLE ledger(client, number, src, dst, cents, "
	    "PRIMARY KEY(client, number))");
	live_exec(conn,
	    "WITH RECURSIVE c(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM c "
	    "LIMIT 40) INSERT INTO account SELECT x, 1000 FROM c");
	sqlpool_close(conn);
	for (int i = 0; i < CLIENTS; i++) {
		indexes[i] = i;
		pids[i] = proc_fork(live_wildly, &indexes[i]);
	}
	nanosleep(&pause, NULL);
	atomic_store(&shared->stop, true);
	for (int i = 0; i < CLIENTS; i++)
		proc_join(pids[i]);
	ck_assert_int_eq(live_get_queue(&live), 0);
	live_stop(&live);
	live_check_file(live.db_path);
	ck_assert_int_eq(
	    live_read_file_int(live.db_path,
		"SELECT count(*) FROM account a WHERE cents <> 1000 - "
		"(SELECT ifnull(sum(cents), 0) FROM ledger WHERE src = a.id) + "
		"(SELECT ifnull(sum(cents), 0) FROM ledger WHERE dst = a.id)"),
	    0);
	ck_assert_int_eq(sqlite3_open(live.db_path, &db), SQLITE_OK);
	check_ledger(db, counts);
	sqlite3_close(db);
	printf("transfers: %" PRId64 " applied, %" PRId64 " not, %" PRId64
	       " unknown\n",
	    counts[FATE_APPLIED], counts[FATE_NOT_APPLIED],
	    counts[FATE_UNKNOWN]);
	ck_assert_int_gt(counts[FATE_APPLIED], 100);
	ck_assert_int_gt(counts[FATE_NOT_APPLIED], 20);
	live_fini(&live);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("chaos");
	TCase *tc = tcase_create("chaos");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 40);
	tcase_add_test(tc, whatever_clients_do_the_sum_stays_the_same);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
