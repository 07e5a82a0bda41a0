/* pgtables.c - the tables in PostgreSQL. */
#include "tests/bench/lib/pgtables.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/lib/known.h"
#include "tests/bench/lib/sums.h"

#define LINE_MAX_BYTES 64 /* of a row, without its text */

/* The parent's, between begin_verify and verify. */
static struct sums before;

PGconn *
pgtables_connect(const struct bench_plan *plan)
{
	const char *const names[] = { "host", "user", "dbname",
		"application_name", NULL };
	const char *const values[] = { plan->socket_path, "bench",
		plan->database ? plan->database : "bench", "peer_pg", NULL };

	return PQconnectdbParams(names, values, 0);
}

/* Put the connection's last error into why; returns -1. */
static int
fail(PGconn *conn, char *why, size_t why_n)
{
	snprintf(why, why_n, "postgres: %s", PQerrorMessage(conn));
	return -1;
}

/* NULL, and why, on failure. */
static PGconn *
open_conn(const struct bench_plan *plan, char *why, size_t why_n)
{
	PGconn *conn;

	if (!plan->socket_path) {
		snprintf(why, why_n,
		    "-s must be the directory of the server's socket");
		return NULL;
	}
	conn = pgtables_connect(plan);
	if (PQstatus(conn) == CONNECTION_OK)
		return conn;
	(void)fail(conn, why, why_n);
	PQfinish(conn);
	return NULL;
}

/* ---- Making ------------------------------------------------------------- */

/* Run statements that give no rows. */
static int
run(PGconn *conn, const char *sql)
{
	PGresult *result = PQexec(conn, sql);
	bool ok = PQresultStatus(result) == PGRES_COMMAND_OK;

	PQclear(result);
	return ok ? 0 : -1;
}

/* Into the COPY that is open.  A text has no character that needs escaping. */
static int
copy_rows(PGconn *conn, const struct bench_plan *plan)
{
	char *line = malloc((size_t)plan->text_n + LINE_MAX_BYTES);
	int rc = line ? 0 : -1;

	for (uint64_t id = 1; id <= plan->rows_n && rc == 0; id++) {
		int n = snprintf(line, LINE_MAX_BYTES, "%" PRIu64 "\t0\t", id);

		bench_text(plan, id, line + n);
		n += (int)plan->text_n;
		line[n++] = '\n';
		if (PQputCopyData(conn, line, n) != 1)
			rc = -1;
	}
	free(line);
	return rc;
}

static int
fill_bench(PGconn *conn, const struct bench_plan *plan)
{
	PGresult *result = PQexec(conn, "COPY bench FROM STDIN");
	bool ok = PQresultStatus(result) == PGRES_COPY_IN;

	PQclear(result);
	if (!ok || copy_rows(conn, plan) < 0 || PQputCopyEnd(conn, NULL) != 1)
		return -1;
	result = PQgetResult(conn);
	ok = PQresultStatus(result) == PGRES_COMMAND_OK;
	PQclear(result);
	result = PQgetResult(conn); /* NULL: the COPY is over */
	PQclear(result);
	return ok ? 0 : -1;
}

/* As the daemon's, with PostgreSQL's names of the types. */
static const char create[] =
    "SET client_min_messages = warning;"
    "DROP TABLE IF EXISTS bench, bench_branches, bench_tellers,"
    " bench_accounts, bench_history;"
    "CREATE TABLE bench(id bigint PRIMARY KEY, n bigint NOT NULL,"
    " c text NOT NULL);"
    "CREATE TABLE bench_branches(bid bigint PRIMARY KEY,"
    " balance bigint NOT NULL, filler text);"
    "CREATE TABLE bench_tellers(tid bigint PRIMARY KEY, bid bigint NOT NULL,"
    " balance bigint NOT NULL, filler text);"
    "CREATE TABLE bench_accounts(aid bigint PRIMARY KEY, bid bigint NOT NULL,"
    " balance bigint NOT NULL, filler text);"
    "CREATE TABLE bench_history(tid bigint NOT NULL, bid bigint NOT NULL,"
    " aid bigint NOT NULL, delta bigint NOT NULL, mtime timestamp,"
    " filler text)";

static int
fill_tpcb(PGconn *conn, const struct bench_plan *plan)
{
	char sql[600];

	snprintf(sql, sizeof(sql),
	    "INSERT INTO bench_branches SELECT i, 0"
	    " FROM generate_series(1, %u) i;"
	    "INSERT INTO bench_tellers SELECT i, (i - 1) / %d + 1, 0"
	    " FROM generate_series(1, %u * %d) i;"
	    "INSERT INTO bench_accounts SELECT i, (i - 1) / %d + 1, 0,"
	    " repeat(' ', 84) FROM generate_series(1, %u * %d) i",
	    plan->scale_n, BENCH_TPCB_TELLERS, plan->scale_n,
	    BENCH_TPCB_TELLERS, BENCH_TPCB_ACCOUNTS, plan->scale_n,
	    BENCH_TPCB_ACCOUNTS);
	return run(conn, sql);
}

int
pgtables_init(const struct bench_plan *plan, char *why, size_t why_n)
{
	PGconn *conn = open_conn(plan, why, why_n);
	int rc = 0;

	if (!conn)
		return -1;
	/* then neither autovacuum nor a checkpoint has old work to do */
	if (run(conn, create) < 0 || fill_bench(conn, plan) < 0 ||
	    fill_tpcb(conn, plan) < 0 || run(conn, "VACUUM ANALYZE") < 0 ||
	    run(conn, "CHECKPOINT") < 0)
		rc = fail(conn, why, why_n);
	PQfinish(conn);
	return rc;
}

/* ---- Looking, before and after ------------------------------------------ */

static int
ask(PGconn *conn, const char *sql, int64_t *ret)
{
	PGresult *result = PQexec(conn, sql);
	bool ok = PQresultStatus(result) == PGRES_TUPLES_OK &&
	    PQntuples(result) == 1;

	if (ok)
		*ret = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
	PQclear(result);
	return ok ? 0 : -1;
}

static int
check_tables(PGconn *conn, struct bench_plan *plan, char *why, size_t why_n)
{
	int64_t rows_n = 0, text_n = 0, scale_n = 0;

	if (ask(conn, "SELECT max(id) FROM bench", &rows_n) < 0 ||
	    ask(conn, "SELECT max(length(c)) FROM bench WHERE id = 1",
		&text_n) < 0 ||
	    ask(conn, "SELECT count(*) FROM bench_branches", &scale_n) < 0)
		return fail(conn, why, why_n);
	if (rows_n < 1 || plan->rows_n > (uint64_t)rows_n ||
	    (plan->text_n && plan->text_n != (uint64_t)text_n) ||
	    (plan->scale_n && plan->scale_n != (uint64_t)scale_n)) {
		snprintf(why, why_n, "the tables are others: use --init");
		return -1;
	}
	if (plan->rows_n == 0)
		plan->rows_n = (uint64_t)rows_n;
	plan->text_n = (uint32_t)text_n;
	plan->scale_n = (uint32_t)scale_n;
	return 0;
}

int
pgtables_check(struct bench_plan *plan, char *why, size_t why_n)
{
	static const char *const known[] = { "prepare", NULL };
	static const char *const either[] = { "yes", "no" };
	PGconn *conn;
	int rc;

	if (known_check(plan, known, why, why_n) < 0 ||
	    !known_is_either(plan, "prepare", either, why, why_n))
		return -1;
	conn = open_conn(plan, why, why_n);
	if (!conn)
		return -1;
	snprintf(plan->about, sizeof(plan->about),
	    "PostgreSQL %s at %s, prepared: %s",
	    PQparameterStatus(conn, "server_version"), plan->socket_path,
	    bench_get_opt(plan, "prepare", "yes"));
	rc = check_tables(conn, plan, why, why_n);
	PQfinish(conn);
	return rc;
}

static int
get_sums(
    const struct bench_plan *plan, struct sums *ret, char *why, size_t why_n)
{
	PGconn *conn = open_conn(plan, why, why_n);
	int rc = 0;

	if (!conn)
		return -1;
	if (ask(conn, "SELECT sum(n) FROM bench", &ret->n) < 0 ||
	    ask(conn, "SELECT count(*) FROM bench_history", &ret->history) < 0)
		rc = fail(conn, why, why_n);
	PQfinish(conn);
	return rc;
}

int
pgtables_begin_verify(const struct bench_plan *plan, char *why, size_t why_n)
{
	return get_sums(plan, &before, why, why_n);
}

int
pgtables_verify(const struct bench_plan *plan,
    const uint64_t ended_n[BENCH_KINDS_N], char *why, size_t why_n)
{
	struct sums after = { 0 };

	if (get_sums(plan, &after, why, why_n) < 0)
		return -1;
	return sums_compare(&before, &after, ended_n, why, why_n);
}
