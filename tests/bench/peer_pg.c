/* peer_pg.c - PostgreSQL, by libpq, directly or through PgBouncer.
 *
 *	peer_pg -s DIRECTORY [-o prepare=no] [DATABASE] ...
 *
 * DIRECTORY holds the socket .s.PGSQL.5432; user and database are "bench".
 * Statements are prepared once and run by name; with prepare=no their text is
 * sent each time, which PgBouncer 1.18 needs for sharing server connections.
 * More than one in flight is libpq's pipeline mode: the reads of a turn share a
 * Sync, and so a transaction, as in pgbench; a write has its own, for each must
 * be committed by itself.
 *
 * Thread: the client's. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/bench/bench.h"
#include "tests/bench/lib/pgtables.h"
#include "tests/bench/lib/ring.h"

#define ASYNC_KINDS (1U << BENCH_READ | 1U << BENCH_RANGE | 1U << BENCH_WRITE)
#define KINDS       (ASYNC_KINDS | 1U << BENCH_RMW | 1U << BENCH_TPCB)
#define VALUES_MAX  4
#define NUMBER_MAX  24

enum statement {
	PG_BEGIN,
	PG_COMMIT,
	PG_READ,
	PG_RANGE,
	PG_WRITE,
	PG_LOCK_N,
	PG_SET_N,
	PG_ACCOUNT,
	PG_BALANCE,
	PG_TELLER,
	PG_BRANCH,
	PG_HISTORY,
	PG_STATEMENTS_N
};

#define TX_KINDS (1U << BENCH_RMW | 1U << BENCH_TPCB)

/* name: also that of the prepared statement.  kinds: who needs it, as bits. */
static const struct {
	const char *name;
	unsigned kinds;
	const char *sql;
} statements[PG_STATEMENTS_N] = {
	[PG_BEGIN] = { "begin", TX_KINDS, "BEGIN" },
	[PG_COMMIT] = { "commit", TX_KINDS, "COMMIT" },
	[PG_READ] = { "read", 1U << BENCH_READ,
	    "SELECT n, c FROM bench WHERE id = $1" },
	[PG_RANGE] = { "range", 1U << BENCH_RANGE,
	    "SELECT id, n, c FROM bench WHERE id >= $1 ORDER BY id LIMIT $2" },
	[PG_WRITE] = { "write", 1U << BENCH_WRITE,
	    "UPDATE bench SET n = n + 1 WHERE id = $1" },
	/* what BEGIN IMMEDIATE gives in SQLite: nobody changes it meanwhile */
	[PG_LOCK_N] = { "lock_n", 1U << BENCH_RMW,
	    "SELECT n FROM bench WHERE id = $1 FOR UPDATE" },
	[PG_SET_N] = { "set_n", 1U << BENCH_RMW,
	    "UPDATE bench SET n = $2 WHERE id = $1" },
	[PG_ACCOUNT] = { "account", 1U << BENCH_TPCB,
	    "UPDATE bench_accounts SET balance = balance + $2 WHERE aid = $1" },
	[PG_BALANCE] = { "balance", 1U << BENCH_TPCB,
	    "SELECT balance FROM bench_accounts WHERE aid = $1" },
	[PG_TELLER] = { "teller", 1U << BENCH_TPCB,
	    "UPDATE bench_tellers SET balance = balance + $2 WHERE tid = $1" },
	[PG_BRANCH] = { "branch", 1U << BENCH_TPCB,
	    "UPDATE bench_branches SET balance = balance + $2 WHERE bid = $1" },
	[PG_HISTORY] = { "history", 1U << BENCH_TPCB,
	    "INSERT INTO bench_history(tid, bid, aid, delta, mtime)"
	    " VALUES ($1, $2, $3, $4, CURRENT_TIMESTAMP)" },
};

struct pg {
	PGconn *conn;
	struct ring ring;
	bool prepared;
	bool unsynced; /* pipeline: reads were sent and no Sync after them */
	bool answered; /* the first of the ring has its result */
};

/* Values as text, which libpq takes. */
struct values {
	char text[VALUES_MAX][NUMBER_MAX];
	const char *p[VALUES_MAX];
	int n;
};

static void
add_value(struct values *v, int64_t value)
{
	snprintf(v->text[v->n], NUMBER_MAX, "%" PRId64, value);
	v->p[v->n] = v->text[v->n];
	v->n++;
}

/* ---- A client ----------------------------------------------------------- */

static int
fail_conn(struct bench_client *client)
{
	const struct pg *pg = client->data;

	return bench_fail(client, "postgres: %s", PQerrorMessage(pg->conn));
}

/* Prepare what the mix needs. */
static int
prepare(struct bench_client *client)
{
	struct pg *pg = client->data;

	for (int i = 0; i < PG_STATEMENTS_N; i++) {
		PGresult *result;
		bool ok, needed = false;

		for (int kind = 0; kind < BENCH_KINDS_N; kind++)
			needed |= statements[i].kinds >> kind & 1 &&
			    bench_has(client->plan, (enum bench_kind)kind);
		if (!needed)
			continue;
		result = PQprepare(
		    pg->conn, statements[i].name, statements[i].sql, 0, NULL);
		ok = PQresultStatus(result) == PGRES_COMMAND_OK;
		PQclear(result);
		if (!ok)
			return fail_conn(client);
	}
	return 0;
}

static int
set_up(struct bench_client *client)
{
	struct pg *pg = client->data;

	if (PQstatus(pg->conn) != CONNECTION_OK ||
	    (pg->prepared && prepare(client) < 0) ||
	    PQsetnonblocking(pg->conn, 1) != 0)
		return fail_conn(client);
	if (client->plan->depth > 1 && !PQenterPipelineMode(pg->conn))
		return fail_conn(client);
	if (ring_init(&pg->ring, client->plan->depth) < 0)
		return bench_fail(client, "out of memory");
	client->fd = PQsocket(pg->conn);
	return 0;
}

static void
pg_close(struct bench_client *client)
{
	struct pg *pg = client->data;

	PQfinish(pg->conn);
	ring_fini(&pg->ring);
	free(pg);
}

static int
pg_open(struct bench_client *client)
{
	struct pg *pg = calloc(1, sizeof(*pg));

	if (!pg)
		return bench_fail(client, "out of memory");
	client->data = pg;
	pg->prepared = !strcmp(
	    bench_get_opt(client->plan, "prepare", "yes"), "yes");
	pg->conn = pgtables_connect(client->plan);
	if (set_up(client) == 0)
		return 0;
	pg_close(client);
	return -1;
}

/* ---- Sending ------------------------------------------------------------ */

static enum statement
choose_statement(const struct bench_op *op)
{
	if (op->kind == BENCH_READ)
		return PG_READ;
	return op->kind == BENCH_RANGE ? PG_RANGE : PG_WRITE;
}

static int
sync_pipeline(struct bench_client *client)
{
	struct pg *pg = client->data;

	pg->unsynced = false;
	return PQpipelineSync(pg->conn) ? 0 : fail_conn(client);
}

static int
pg_send(struct bench_client *client, struct bench_op *op)
{
	struct pg *pg = client->data;
	enum statement which = choose_statement(op);
	struct values v = { .n = 0 };
	int sent;

	add_value(&v, (int64_t)op->key);
	if (which == PG_RANGE)
		add_value(&v, client->plan->range_n);
	if (which == PG_WRITE && pg->unsynced && sync_pipeline(client) < 0)
		return -1;
	if (pg->prepared)
		sent = PQsendQueryPrepared(
		    pg->conn, statements[which].name, v.n, v.p, NULL, NULL, 0);
	else
		sent = PQsendQueryParams(pg->conn, statements[which].sql, v.n,
		    NULL, v.p, NULL, NULL, 0);
	if (!sent)
		return fail_conn(client);
	ring_push(&pg->ring, op);
	if (client->plan->depth == 1)
		return 0;
	pg->unsynced = true;
	return which == PG_WRITE ? sync_pipeline(client) : 0;
}

static int
pg_flush(struct bench_client *client)
{
	struct pg *pg = client->data;
	int rc;

	if (pg->unsynced && sync_pipeline(client) < 0)
		return -1;
	rc = PQflush(pg->conn);
	client->want_write = rc > 0;
	return rc < 0 ? fail_conn(client) : 0;
}

/* ---- Taking ------------------------------------------------------------- */

static bool
number_is(const PGresult *result, int row, int column, uint64_t number)
{
	return strtoull(PQgetvalue(result, row, column), NULL, 10) == number;
}

/* c stands last. */
static bool
rows_are(const struct bench_plan *plan, const struct bench_op *op,
    const PGresult *result)
{
	bool range = op->kind == BENCH_RANGE;
	int column = range ? 2 : 1;
	int rows_n = range ? (int)plan->range_n : 1;

	if (PQresultStatus(result) != PGRES_TUPLES_OK ||
	    PQntuples(result) != rows_n || PQnfields(result) != column + 1)
		return false;
	for (int i = 0; i < rows_n; i++) {
		uint64_t id = op->key + (uint64_t)i;

		if ((range && !number_is(result, i, 0, id)) ||
		    !bench_text_is(plan, id, PQgetvalue(result, i, column),
			(size_t)PQgetlength(result, i, column)))
			return false;
	}
	return true;
}

/* Does it say that one row was changed? */
static bool
changed_one(PGresult *result)
{
	return PQresultStatus(result) == PGRES_COMMAND_OK &&
	    strcmp(PQcmdTuples(result), "1") == 0;
}

static int
check_result(struct bench_client *client, PGresult *result)
{
	struct pg *pg = client->data;
	const struct bench_op *op = ring_first(&pg->ring);
	ExecStatusType status = PQresultStatus(result);
	bool right;

	if (status == PGRES_PIPELINE_SYNC)
		return 0;
	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
		return bench_fail(client, "postgres: %s: %s",
		    PQresStatus(status), PQresultErrorMessage(result));
	right = op->kind == BENCH_WRITE ? changed_one(result)
					: rows_are(client->plan, op, result);
	if (!right)
		return bench_fail(client, "postgres gave another answer");
	pg->answered = true;
	return 0;
}

/* A statement's result is followed by NULL, a Sync's is not.  sleep: until one
 * operation has ended. */
static int
take_results(struct bench_client *client, bool sleep)
{
	struct pg *pg = client->data;

	while (pg->ring.n > 0 && (sleep || !PQisBusy(pg->conn))) {
		PGresult *result = PQgetResult(pg->conn);
		struct bench_op *op = ring_first(&pg->ring);
		int rc = 0;

		if (result) {
			rc = check_result(client, result);
			PQclear(result);
		} else if (pg->answered) {
			pg->answered = sleep = false;
			ring_pop(&pg->ring);
			bench_op_end(client, op);
		} else {
			rc = fail_conn(client);
		}
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
pg_receive(struct bench_client *client)
{
	struct pg *pg = client->data;

	if (!PQconsumeInput(pg->conn))
		return fail_conn(client);
	if (client->want_write && pg_flush(client) < 0)
		return -1;
	return take_results(client, false);
}

/* PQgetResult writes what is left to be written before it sleeps. */
static int
pg_wait(struct bench_client *client)
{
	if (pg_flush(client) < 0)
		return -1;
	return take_results(client, true);
}

/* ---- Transactions of several round trips --------------------------------- */

/* What a statement of a transaction has to give. */
enum answer { ANSWER_NOTHING, ANSWER_CHANGE, ANSWER_NUMBER };

/* Run a statement to its end.  *ret_n is set by ANSWER_NUMBER. */
static int
run_statement(struct bench_client *client, enum statement which,
    const struct values *v, enum answer answer, int64_t *ret_n)
{
	struct pg *pg = client->data;
	PGresult *result;
	bool ok;

	if (pg->prepared)
		result = PQexecPrepared(pg->conn, statements[which].name, v->n,
		    v->p, NULL, NULL, 0);
	else
		result = PQexecParams(pg->conn, statements[which].sql, v->n,
		    NULL, v->p, NULL, NULL, 0);
	if (answer == ANSWER_NUMBER) {
		ok = PQresultStatus(result) == PGRES_TUPLES_OK &&
		    PQntuples(result) == 1;
		if (ok)
			*ret_n = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
	} else if (answer == ANSWER_CHANGE) {
		ok = changed_one(result);
	} else {
		ok = PQresultStatus(result) == PGRES_COMMAND_OK;
	}
	PQclear(result);
	return ok ? 0
		  : bench_fail(client, "postgres: %s: %s",
			statements[which].name, PQerrorMessage(pg->conn));
}

static int
run_rmw(struct bench_client *client, const struct bench_op *op)
{
	struct values none = { .n = 0 }, v = { .n = 0 };
	int64_t n = 0;

	add_value(&v, (int64_t)op->key);
	if (run_statement(client, PG_BEGIN, &none, ANSWER_NOTHING, NULL) < 0 ||
	    run_statement(client, PG_LOCK_N, &v, ANSWER_NUMBER, &n) < 0)
		return -1;
	add_value(&v, n + 1);
	if (run_statement(client, PG_SET_N, &v, ANSWER_CHANGE, NULL) < 0)
		return -1;
	return run_statement(client, PG_COMMIT, &none, ANSWER_NOTHING, NULL);
}

/* The values of a TPC-B statement. */
static void
make_tpcb(enum statement which, const struct bench_tpcb *t, struct values *v)
{
	v->n = 0;
	if (which == PG_HISTORY) {
		add_value(v, t->teller);
		add_value(v, t->branch);
		add_value(v, t->account);
	} else if (which == PG_TELLER) {
		add_value(v, t->teller);
	} else if (which == PG_BRANCH) {
		add_value(v, t->branch);
	} else if (which != PG_BEGIN && which != PG_COMMIT) {
		add_value(v, t->account);
	}
	if (v->n > 0 && which != PG_BALANCE)
		add_value(v, t->delta);
}

static int
run_tpcb(struct bench_client *client, const struct bench_op *op)
{
	static const struct {
		enum statement which;
		enum answer answer;
	} steps[] = {
		{ PG_BEGIN, ANSWER_NOTHING },
		{ PG_ACCOUNT, ANSWER_CHANGE },
		{ PG_BALANCE, ANSWER_NUMBER },
		{ PG_TELLER, ANSWER_CHANGE },
		{ PG_BRANCH, ANSWER_CHANGE },
		{ PG_HISTORY, ANSWER_CHANGE },
		{ PG_COMMIT, ANSWER_NOTHING },
	};
	struct bench_tpcb t = bench_choose_tpcb(client->plan, op);
	int64_t balance = 0;

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct values v;

		make_tpcb(steps[i].which, &t, &v);
		if (run_statement(client, steps[i].which, &v, steps[i].answer,
			&balance) < 0)
			return -1;
	}
	return 0;
}

static int
pg_run(struct bench_client *client, struct bench_op *op)
{
	return op->kind == BENCH_RMW ? run_rmw(client, op)
				     : run_tpcb(client, op);
}

int
main(int argc, char **argv)
{
	static const struct bench_driver driver = {
		.name = "postgres",
		.kinds = KINDS,
		.async_kinds = ASYNC_KINDS,
		.open = pg_open,
		.send = pg_send,
		.flush = pg_flush,
		.receive = pg_receive,
		.wait = pg_wait,
		.run = pg_run,
		.close = pg_close,
		.init = pgtables_init,
		.check = pgtables_check,
		.begin_verify = pgtables_begin_verify,
		.verify = pgtables_verify,
	};

	return bench_main(argc, argv, &driver);
}
