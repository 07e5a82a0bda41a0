/* schema.c - the daemon's tables: made, looked at before a run, and whether they
 * hold afterwards what was acknowledged.
 *
 * Thread: the parent's, with a connection of its own each time: none is open
 * when the processes are forked. */
#include "client/bench/pool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/bench/mix.h"

/* A person waits as long as it takes; the daemon has limits of its own. */
#define TIMEOUT_MS (3600U * 1000)
/* What one INSERT of --init makes: the writer's line is held as long. */
#define CHUNK_ROWS  50000
#define CHUNK_BYTES 20000000
/* Statements that a request may have (sqlpool_request_add). */
#define BULK_MAX 10000

struct schema {
	struct sqlpool_conn *conn;
	char *why;
	size_t why_n;
};

/* What will have grown. */
struct sums {
	int64_t n;       /* of bench */
	int64_t bulk;    /* rows of bench_bulk */
	int64_t history; /* rows of bench_history */
};

/* clang-format off */
/* A table of one of the names that has other columns is somebody's own. */
static const char find_strangers[] =
	"SELECT name FROM"
	" (SELECT m.name, (SELECT group_concat(i.name)"
	" FROM pragma_table_info(m.name) i) AS columns FROM sqlite_schema m)"
	" WHERE (name = 'bench' AND columns <> 'id,n,c')"
	" OR (name = 'bench_bulk' AND columns <> 'id,n,c')"
	" OR (name = 'bench_branches' AND columns <> 'bid,balance,filler')"
	" OR (name = 'bench_tellers' AND columns <> 'tid,bid,balance,filler')"
	" OR (name = 'bench_accounts' AND columns <> 'aid,bid,balance,filler')"
	" OR (name = 'bench_history'"
	" AND columns <> 'tid,bid,aid,delta,mtime,filler')";

static const char *const create[] = {
	"DROP TABLE IF EXISTS bench",
	"DROP TABLE IF EXISTS bench_bulk",
	"DROP TABLE IF EXISTS bench_history",
	"DROP TABLE IF EXISTS bench_accounts",
	"DROP TABLE IF EXISTS bench_tellers",
	"DROP TABLE IF EXISTS bench_branches",
	"CREATE TABLE bench(id INTEGER PRIMARY KEY, n INTEGER NOT NULL,"
	    " c TEXT NOT NULL)",
	"CREATE TABLE bench_bulk(id INTEGER PRIMARY KEY, n INTEGER NOT NULL,"
	    " c TEXT NOT NULL)",
	"CREATE TABLE bench_branches(bid INTEGER PRIMARY KEY,"
	    " balance INTEGER NOT NULL, filler TEXT)",
	"CREATE TABLE bench_tellers(tid INTEGER PRIMARY KEY,"
	    " bid INTEGER NOT NULL, balance INTEGER NOT NULL, filler TEXT)",
	"CREATE TABLE bench_accounts(aid INTEGER PRIMARY KEY,"
	    " bid INTEGER NOT NULL, balance INTEGER NOT NULL, filler TEXT)",
	"CREATE TABLE bench_history(tid INTEGER NOT NULL, bid INTEGER NOT NULL,"
	    " aid INTEGER NOT NULL, delta INTEGER NOT NULL, mtime TEXT,"
	    " filler TEXT)",
};

/* Rows ?1 to ?2. */
#define NUMBERS \
	" WITH RECURSIVE s(i) AS" \
	" (SELECT ?1 UNION ALL SELECT i + 1 FROM s WHERE i < ?2) SELECT "

/* The text is bench_text's: its letters are a part of ?3, which begins at
 * another one for each id. */
static const char fill_bench[] =
	"INSERT INTO bench(id, n, c)" NUMBERS
	"i, 0, printf('%010d', i) || substr(?3, i % 26 + 1, ?4) FROM s";
static const char fill_branches[] =
	"INSERT INTO bench_branches(bid, balance)" NUMBERS "i, 0 FROM s";
static const char fill_tellers[] =
	"INSERT INTO bench_tellers(tid, bid, balance)" NUMBERS
	"i, (i - 1) / 10 + 1, 0 FROM s";
static const char fill_accounts[] =
	"INSERT INTO bench_accounts(aid, bid, balance, filler)" NUMBERS
	"i, (i - 1) / 100000 + 1, 0, printf('%84s', '') FROM s";
/* clang-format on */

/* ---- asking ---- */

static int
fail(struct schema *schema)
{
	snprintf(schema->why, schema->why_n, "%s",
	    sqlpool_get_error(schema->conn)->message);
	return -1;
}

static int
open_schema(struct schema *schema, const struct bench_plan *plan)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;

	options.socket_path = plan->socket_path;
	options.database = plan->database;
	options.app_name = "sqlpool-bench";
	options.request_timeout_ms = TIMEOUT_MS;
	return sqlpool_open(&options, &schema->conn) < 0 ? fail(schema) : 0;
}

static int
run(struct schema *schema, const char *sql, const struct sqlpool_value *values,
    size_t values_n)
{
	return sqlpool_exec(schema->conn, sql, values, values_n) < 0
	    ? fail(schema)
	    : 0;
}

/* Ask for numbers, one for each column of one row. */
static int
ask(struct schema *schema, const char *sql, int64_t *ret, size_t n)
{
	struct sqlpool_result *result;
	int rc;

	if (sqlpool_query(schema->conn, sql, NULL, 0, &result) < 0)
		return fail(schema);
	rc = sqlpool_next(result);
	for (size_t i = 0; i < n && rc == SQLPOOL_ROW; i++)
		ret[i] = sqlpool_column_int64(result, i);
	sqlpool_result_free(result);
	return rc < 0 ? fail(schema) : 0;
}

/* ---- making ---- */

/* values: [0] and [1] are the first and the last row of an INSERT. */
static int
fill(struct schema *schema, const char *sql, uint64_t rows_n,
    struct sqlpool_value *values, size_t values_n)
{
	uint64_t text_n = values_n > 2 ? values[2].n : 1;
	uint64_t chunk_n = CHUNK_BYTES / text_n;

	if (chunk_n > CHUNK_ROWS)
		chunk_n = CHUNK_ROWS;
	for (uint64_t from = 1; from <= rows_n; from += chunk_n) {
		uint64_t left_n = rows_n - from + 1;
		uint64_t to = from + (left_n < chunk_n ? left_n : chunk_n) - 1;

		values[0] = SQLPOOL_INT((int64_t)from);
		values[1] = SQLPOOL_INT((int64_t)to);
		if (run(schema, sql, values, values_n) < 0)
			return -1;
	}
	return 0;
}

static int
fill_rows(struct schema *schema, const struct bench_plan *plan)
{
	struct sqlpool_value values[4];
	size_t n = plan->text_n - 10 + 26;
	char *letters = malloc(n);
	int rc;

	if (!letters) {
		snprintf(schema->why, schema->why_n, "out of memory");
		return -1;
	}
	for (size_t i = 0; i < n; i++)
		letters[i] = (char)('a' + i % 26);
	values[2] = SQLPOOL_TEXT_N(letters, n);
	values[3] = SQLPOOL_INT((int64_t)plan->text_n - 10);
	rc = fill(schema, fill_bench, plan->rows_n, values, 4);
	free(letters);
	return rc;
}

static int
fill_tpcb(struct schema *schema, const struct bench_plan *plan)
{
	struct sqlpool_value values[2];
	uint64_t n = plan->scale_n;

	if (fill(schema, fill_branches, n, values, 2) < 0 ||
	    fill(schema, fill_tellers, n * BENCH_TPCB_TELLERS, values, 2) < 0)
		return -1;
	return fill(schema, fill_accounts, n * BENCH_TPCB_ACCOUNTS, values, 2);
}

static int
refuse_strangers(struct schema *schema)
{
	struct sqlpool_result *result;
	int rc;

	if (sqlpool_query(schema->conn, find_strangers, NULL, 0, &result) < 0)
		return fail(schema);
	rc = sqlpool_next(result);
	if (rc < 0)
		fail(schema);
	else if (rc == SQLPOOL_ROW)
		snprintf(schema->why, schema->why_n,
		    "table %s has other columns than --init would make, and "
		    "would be dropped: rename it, or use another database",
		    sqlpool_column_text(result, 0, NULL));
	sqlpool_result_free(result);
	return rc == SQLPOOL_DONE ? 0 : -1;
}

int
schema_init(const struct bench_plan *plan, char *why, size_t why_n)
{
	struct schema schema = { .why = why, .why_n = why_n };
	int rc = open_schema(&schema, plan);

	if (rc == 0)
		rc = refuse_strangers(&schema);
	for (size_t i = 0; i < sizeof(create) / sizeof(create[0]) && rc == 0;
	     i++)
		rc = run(&schema, create[i], NULL, 0);
	if (rc == 0)
		rc = fill_rows(&schema, plan);
	if (rc == 0)
		rc = fill_tpcb(&schema, plan);
	sqlpool_close(schema.conn);
	return rc;
}

/* ---- looking, before ---- */

static int
refuse(struct schema *schema, const char *what)
{
	snprintf(schema->why, schema->why_n, "%s", what);
	return -1;
}

static int
check_options(struct schema *schema, struct bench_plan *plan)
{
	const char *prepare = bench_get_opt(plan, "prepare", "yes");
	const char *tpcb = bench_get_opt(plan, "tpcb", "calls");

	for (size_t i = 0; i < plan->opt_n; i++)
		if (strncmp(plan->opt[i], "prepare=", 8) != 0 &&
		    strncmp(plan->opt[i], "tpcb=", 5) != 0)
			return refuse(schema, "-o knows prepare and tpcb");
	if (strcmp(prepare, "yes") != 0 && strcmp(prepare, "no") != 0)
		return refuse(schema, "-o prepare is yes or no");
	if (strcmp(tpcb, "calls") != 0 && strcmp(tpcb, "batch") != 0)
		return refuse(schema, "-o tpcb is calls or batch");
	if (strcmp(tpcb, "batch") == 0)
		plan->async_kinds |= 1U << BENCH_TPCB;
	if (bench_has(plan, BENCH_BULK) && plan->bulk_n > BULK_MAX)
		return refuse(schema,
		    "--bulk-rows: at most 10000 statements "
		    "fit into a request");
	return 0;
}

/* What is missing, and how to make it; options: of --init, "" or " --x y". */
static int
tell_remedy(struct schema *schema, const struct bench_plan *plan,
    const char *what, const char *options)
{
	snprintf(schema->why, schema->why_n,
	    "%s make the tables with: %s%s%s --init%s %s", what,
	    program_invocation_short_name, plan->socket_path ? " -s " : "",
	    plan->socket_path ? plan->socket_path : "", options,
	    sqlpool_get_server(schema->conn)->database);
	return -1;
}

/* As ask; a table that is not there is told with the remedy. */
static int
ask_table(struct schema *schema, const struct bench_plan *plan, const char *sql,
    int64_t *ret, size_t n)
{
	char what[100];

	if (ask(schema, sql, ret, n) == 0)
		return 0;
	if (!strstr(schema->why, "no such "))
		return -1;
	snprintf(what, sizeof(what), "%s:", schema->why);
	return tell_remedy(schema, plan, what, "");
}

/* Does what was given agree with what is there?  If not given: it is that. */
static int
settle(struct schema *schema, const struct bench_plan *plan, const char *name,
    uint64_t given, int64_t there)
{
	char what[100], options[50];

	if (given == 0 || given == (uint64_t)there)
		return 0;
	snprintf(what, sizeof(what),
	    "%s is %" PRIu64 ", but the tables have %" PRId64
	    ": leave it out, or",
	    name, given, there);
	snprintf(options, sizeof(options), " %s %" PRIu64, name, given);
	return tell_remedy(schema, plan, what, options);
}

static int
check_rows(struct schema *schema, struct bench_plan *plan)
{
	int64_t there[2] = { 0, 0 };
	uint64_t rows_n;

	if (ask_table(schema, plan,
		"SELECT max(id), (SELECT length(c) FROM bench WHERE id = 1)"
		" FROM bench",
		there, 2) < 0)
		return -1;
	rows_n = (uint64_t)there[0];
	if (rows_n == 0 || there[1] == 0)
		return tell_remedy(schema, plan, "table bench is empty:", "");
	if (plan->rows_n > rows_n)
		return settle(schema, plan, "--rows", plan->rows_n, there[0]);
	if (settle(schema, plan, "--text-bytes", plan->text_n, there[1]) < 0)
		return -1;
	if (plan->rows_n == 0)
		plan->rows_n = rows_n;
	plan->text_n = (uint32_t)there[1];
	return 0;
}

static int
check_tpcb(struct schema *schema, struct bench_plan *plan)
{
	int64_t there[4] = { 0, 0, 0, 0 };

	if (ask_table(schema, plan,
		"SELECT (SELECT count(*) FROM bench_branches),"
		" (SELECT count(*) FROM bench_tellers),"
		" (SELECT max(aid) FROM bench_accounts),"
		" (SELECT max(rowid) FROM bench_history)",
		there, 4) < 0)
		return -1;
	if (there[0] == 0 || there[1] != there[0] * BENCH_TPCB_TELLERS ||
	    there[2] != there[0] * BENCH_TPCB_ACCOUNTS)
		return tell_remedy(
		    schema, plan, "the tables of tpcb are not complete:", "");
	if (settle(schema, plan, "--scale", plan->scale_n, there[0]) < 0)
		return -1;
	plan->scale_n = (uint32_t)there[0];
	return 0;
}

/* The person's own statement: what is wrong with it is told once, and before
 * anything is started. */
static int
check_sql(struct schema *schema, const struct bench_plan *plan)
{
	struct sqlpool_stmt *stmt;
	size_t known_n = 0, n;

	if (sqlpool_prepare(schema->conn, plan->sql, &stmt) < 0)
		return fail(schema);
	known_n += statement_has_parameter(plan->sql, ":key");
	known_n += statement_has_parameter(plan->sql, ":random");
	n = sqlpool_stmt_param_count(stmt);
	sqlpool_stmt_free(stmt);
	if (n != known_n)
		return refuse(schema,
		    "--sql may have the parameters :key and :random, no "
		    "others");
	return 0;
}

static int
check_tables(struct schema *schema, struct bench_plan *plan)
{
	const unsigned of_bench = 1U << BENCH_READ | 1U << BENCH_RANGE |
	    1U << BENCH_WRITE | 1U << BENCH_RMW | 1U << BENCH_LARGE;
	int64_t there;

	if ((mix_get_kinds(plan) & of_bench) && check_rows(schema, plan) < 0)
		return -1;
	if (bench_has(plan, BENCH_BULK) &&
	    ask_table(
		schema, plan, "SELECT max(id) FROM bench_bulk", &there, 1) < 0)
		return -1;
	if (bench_has(plan, BENCH_TPCB) && check_tpcb(schema, plan) < 0)
		return -1;
	return plan->sql ? check_sql(schema, plan) : 0;
}

int
schema_check(struct bench_plan *plan, char *why, size_t why_n)
{
	struct schema schema = { .why = why, .why_n = why_n };
	const struct sqlpool_server *server;
	int rc = check_options(&schema, plan);

	if (rc == 0)
		rc = open_schema(&schema, plan);
	if (rc == 0) {
		server = sqlpool_get_server(schema.conn);
		snprintf(plan->about, sizeof(plan->about),
		    "%s (SQLite %s), database \"%s\" at %s", server->server,
		    server->sqlite, server->database, server->socket_path);
		rc = check_tables(&schema, plan);
	}
	sqlpool_close(schema.conn);
	return rc;
}

/* ---- and after ---- */

/* The parent's, between begin_verify and verify. */
static struct sums before;

static int
get_sums(struct schema *schema, const struct bench_plan *plan, struct sums *ret)
{
	int rc = 0;

	if (bench_has(plan, BENCH_WRITE) || bench_has(plan, BENCH_RMW))
		rc = ask(schema, "SELECT sum(n) FROM bench", &ret->n, 1);
	if (rc == 0 && bench_has(plan, BENCH_BULK))
		rc = ask(
		    schema, "SELECT count(*) FROM bench_bulk", &ret->bulk, 1);
	if (rc == 0 && bench_has(plan, BENCH_TPCB))
		rc = ask(schema, "SELECT count(*) FROM bench_history",
		    &ret->history, 1);
	return rc;
}

int
schema_begin_verify(const struct bench_plan *plan, char *why, size_t why_n)
{
	struct schema schema = { .why = why, .why_n = why_n };
	int rc = open_schema(&schema, plan);

	if (rc == 0)
		rc = get_sums(&schema, plan, &before);
	sqlpool_close(schema.conn);
	return rc;
}

static int
compare(struct schema *schema, const char *what, int64_t grown, uint64_t wanted)
{
	if (grown == (int64_t)wanted)
		return 0;
	snprintf(schema->why, schema->why_n,
	    "%" PRIu64 " %s were acknowledged, but %" PRId64
	    " are in the database (or somebody else writes there, too)",
	    wanted, what, grown);
	return -1;
}

/* Everything that was added to balances is in the history, and each of the three
 * tables has all of it. */
static int
compare_balances(struct schema *schema)
{
	int64_t sums[4] = { 0, 0, 0, 0 };

	if (ask(schema,
		"SELECT (SELECT coalesce(sum(delta), 0) FROM bench_history),"
		" (SELECT sum(balance) FROM bench_accounts),"
		" (SELECT sum(balance) FROM bench_tellers),"
		" (SELECT sum(balance) FROM bench_branches)",
		sums, 4) < 0)
		return -1;
	if (sums[0] == sums[1] && sums[0] == sums[2] && sums[0] == sums[3])
		return 0;
	snprintf(schema->why, schema->why_n,
	    "tpcb: the history adds up to %" PRId64 ", the accounts to "
	    "%" PRId64 ", the tellers to %" PRId64 ", the branches to "
	    "%" PRId64,
	    sums[0], sums[1], sums[2], sums[3]);
	return -1;
}

int
schema_verify(const struct bench_plan *plan,
    const uint64_t ended_n[BENCH_KINDS_N], char *why, size_t why_n)
{
	struct schema schema = { .why = why, .why_n = why_n };
	struct sums after = before;
	int rc = open_schema(&schema, plan);

	if (rc == 0)
		rc = get_sums(&schema, plan, &after);
	if (rc == 0)
		rc = compare(&schema, "writes", after.n - before.n,
		    ended_n[BENCH_WRITE] + ended_n[BENCH_RMW]);
	if (rc == 0)
		rc = compare(&schema, "bulk rows", after.bulk - before.bulk,
		    ended_n[BENCH_BULK] * plan->bulk_n);
	if (rc == 0)
		rc = compare(&schema, "transactions of tpcb",
		    after.history - before.history, ended_n[BENCH_TPCB]);
	if (rc == 0 && bench_has(plan, BENCH_TPCB))
		rc = compare_balances(&schema);
	sqlpool_close(schema.conn);
	return rc;
}
