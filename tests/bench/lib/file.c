/* file.c - SQLite in the process, as an application links it. */
#include "tests/bench/lib/file.h"

#include <stdio.h>
#include <string.h>

#define BUSY_MS  5000
#define CACHE_KB 16384 /* the daemon's cache_bytes */

/* clang-format off */
static const char *const sqls[FILE_SQL_N] = {
	[FILE_BEGIN] = "BEGIN",
	[FILE_BEGIN_IMMEDIATE] = "BEGIN IMMEDIATE",
	[FILE_COMMIT] = "COMMIT",
	[FILE_READ] = "SELECT n, c FROM bench WHERE id = ?1",
	[FILE_RANGE] =
	    "SELECT id, n, c FROM bench WHERE id >= ?1 ORDER BY id LIMIT ?2",
	[FILE_LARGE] =
	    ("SELECT id, n, c, length(c), id * 0.5 FROM bench"
	     " WHERE id <= ?1 ORDER BY id"),
	[FILE_WRITE] = "UPDATE bench SET n = n + 1 WHERE id = ?1",
	[FILE_GET_N] = "SELECT n FROM bench WHERE id = ?1",
	[FILE_SET_N] = "UPDATE bench SET n = ?2 WHERE id = ?1",
	[FILE_ACCOUNT] =
	    "UPDATE bench_accounts SET balance = balance + ?2 WHERE aid = ?1",
	[FILE_BALANCE] =
	    "SELECT balance FROM bench_accounts WHERE aid = ?1",
	[FILE_TELLER] =
	    "UPDATE bench_tellers SET balance = balance + ?2 WHERE tid = ?1",
	[FILE_BRANCH] =
	    "UPDATE bench_branches SET balance = balance + ?2 WHERE bid = ?1",
	[FILE_HISTORY] =
	    ("INSERT INTO bench_history(tid, bid, aid, delta, mtime)"
	     " VALUES (?1, ?2, ?3, ?4, CURRENT_TIMESTAMP)"),
};
/* clang-format on */

/* FILE_BUSY, or -1 with SQLite's words. */
static int
fail(struct file *f, int rc)
{
	if ((rc & 0xff) == SQLITE_BUSY)
		return FILE_BUSY;
	snprintf(f->why, sizeof(f->why), "SQLite: %s (%d)",
	    sqlite3_errmsg(f->db), sqlite3_extended_errcode(f->db));
	return -1;
}

static int
fail_check(struct file *f, const char *what)
{
	snprintf(f->why, sizeof(f->why), "%s", what);
	return -1;
}

static int
set_up(struct file *f)
{
	char sql[120];
	int rc;

	sqlite3_busy_timeout(f->db, BUSY_MS);
	snprintf(sql, sizeof(sql),
	    "PRAGMA journal_mode=WAL; PRAGMA synchronous=%s;"
	    "PRAGMA cache_size=-%d",
	    bench_get_opt(f->plan, "synchronous", "full"), CACHE_KB);
	rc = sqlite3_exec(f->db, sql, NULL, NULL, NULL);
	return rc == SQLITE_OK ? 0 : fail(f, rc);
}

int
file_open(struct file *f, const struct bench_plan *plan)
{
	int rc;

	*f = (struct file){ .plan = plan };
	/* does nothing after the first time */
	sqlite3_config(SQLITE_CONFIG_MULTITHREAD);
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	rc = sqlite3_open_v2(plan->socket_path, &f->db,
	    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
	    bench_get_opt(plan, "vfs", "unix"));
	return rc == SQLITE_OK ? set_up(f) : fail(f, rc);
}

void
file_close(struct file *f)
{
	for (int i = 0; i < FILE_SQL_N; i++)
		sqlite3_finalize(f->stmts[i]);
	sqlite3_close(f->db);
	f->db = NULL;
}

/* ---- Statements --------------------------------------------------------- */

static int
prepare(struct file *f, enum file_sql which, sqlite3_stmt **ret)
{
	int rc;

	if (!f->stmts[which]) {
		rc = sqlite3_prepare_v3(f->db, sqls[which], -1,
		    SQLITE_PREPARE_PERSISTENT, &f->stmts[which], NULL);
		if (rc != SQLITE_OK)
			return fail(f, rc);
	}
	*ret = f->stmts[which];
	return 0;
}

/* Step to the end.  The error of a step stands in the reset, too. */
static int
finish(struct file *f, sqlite3_stmt *st)
{
	int rc;

	do
		rc = sqlite3_step(st);
	while (rc == SQLITE_ROW);
	sqlite3_reset(st);
	return rc == SQLITE_DONE ? 0 : fail(f, rc);
}

int
file_exec(struct file *f, enum file_sql which)
{
	sqlite3_stmt *st = NULL;
	int rc = prepare(f, which, &st);

	return rc == 0 ? finish(f, st) : rc;
}

static bool
text_is(struct file *f, sqlite3_stmt *st, int column, uint64_t id)
{
	const void *p = sqlite3_column_text(st, column);

	return bench_text_is(
	    f->plan, id, p, (size_t)sqlite3_column_bytes(st, column));
}

/* ---- Operations --------------------------------------------------------- */

static int
run_read(struct file *f, const struct bench_op *op)
{
	sqlite3_stmt *st = NULL;
	int rc = prepare(f, FILE_READ, &st);

	if (rc != 0)
		return rc;
	sqlite3_bind_int64(st, 1, (sqlite3_int64)op->key);
	rc = sqlite3_step(st);
	if (rc != SQLITE_ROW) {
		sqlite3_reset(st);
		return rc == SQLITE_DONE ? fail_check(f, "there is no such row")
					 : fail(f, rc);
	}
	if (!text_is(f, st, 1, op->key) || sqlite3_column_int64(st, 0) < 0) {
		sqlite3_reset(st);
		return fail_check(f, "the row holds something else");
	}
	return finish(f, st);
}

/* A row of a range or of a large result, which has two more columns. */
static bool
row_is(struct file *f, sqlite3_stmt *st, bool large, uint64_t id)
{
	if (sqlite3_column_int64(st, 0) != (int64_t)id ||
	    sqlite3_column_int64(st, 1) < 0 || !text_is(f, st, 2, id))
		return false;
	return !large ||
	    (sqlite3_column_int64(st, 3) == f->plan->text_n &&
		sqlite3_column_double(st, 4) * 2 == (double)id);
}

/* All rows from an id on. */
static int
run_rows(struct file *f, enum file_sql which, uint64_t id, uint64_t rows_n)
{
	sqlite3_stmt *st = NULL;
	uint64_t n = 0;
	int rc = prepare(f, which, &st);

	if (rc != 0)
		return rc;
	sqlite3_bind_int64(st, 1, (int64_t)(which == FILE_LARGE ? rows_n : id));
	if (which == FILE_RANGE)
		sqlite3_bind_int64(st, 2, (int64_t)rows_n);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW &&
	    row_is(f, st, which == FILE_LARGE, id + n))
		n++;
	sqlite3_reset(st);
	if (rc == SQLITE_ROW || (rc == SQLITE_DONE && n != rows_n))
		return fail_check(f, "the rows are other ones");
	return rc == SQLITE_DONE ? 0 : fail(f, rc);
}

/* A statement that changes one row; values_n of its values. */
static int
run_change(
    struct file *f, enum file_sql which, const int64_t *values, int values_n)
{
	sqlite3_stmt *st = NULL;
	int rc = prepare(f, which, &st);

	if (rc != 0)
		return rc;
	for (int i = 0; i < values_n; i++)
		sqlite3_bind_int64(st, i + 1, values[i]);
	rc = finish(f, st);
	if (rc == 0 && sqlite3_changes(f->db) != 1)
		return fail_check(f, "a statement did not change one row");
	return rc;
}

/* One that gives a number. */
static int
get_number(struct file *f, enum file_sql which, int64_t key, int64_t *ret)
{
	sqlite3_stmt *st = NULL;
	int rc = prepare(f, which, &st);

	if (rc != 0)
		return rc;
	sqlite3_bind_int64(st, 1, key);
	rc = sqlite3_step(st);
	*ret = sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	if (rc == SQLITE_DONE)
		return fail_check(f, "there is no such row");
	return rc == SQLITE_ROW ? 0 : fail(f, rc);
}

static int
run_rmw(struct file *f, const struct bench_op *op)
{
	int64_t values[] = { (int64_t)op->key, 0 };
	int rc = get_number(f, FILE_GET_N, values[0], &values[1]);

	values[1]++;
	return rc == 0 ? run_change(f, FILE_SET_N, values, 2) : rc;
}

static int
run_tpcb(struct file *f, const struct bench_op *op)
{
	struct bench_tpcb t = bench_choose_tpcb(f->plan, op);
	const int64_t account[] = { t.account, t.delta };
	const int64_t teller[] = { t.teller, t.delta };
	const int64_t branch[] = { t.branch, t.delta };
	const int64_t history[] = { t.teller, t.branch, t.account, t.delta };
	int64_t balance;
	int rc = run_change(f, FILE_ACCOUNT, account, 2);

	if (rc == 0)
		rc = get_number(f, FILE_BALANCE, t.account, &balance);
	if (rc == 0)
		rc = run_change(f, FILE_TELLER, teller, 2);
	if (rc == 0)
		rc = run_change(f, FILE_BRANCH, branch, 2);
	return rc == 0 ? run_change(f, FILE_HISTORY, history, 4) : rc;
}

static int
run_transaction(struct file *f, const struct bench_op *op)
{
	int rc = file_exec(f, FILE_BEGIN_IMMEDIATE);

	if (rc != 0)
		return rc;
	rc = op->kind == BENCH_RMW ? run_rmw(f, op) : run_tpcb(f, op);
	if (rc == 0)
		rc = file_exec(f, FILE_COMMIT);
	if (rc != 0)
		sqlite3_exec(f->db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

static int
run_write(struct file *f, const struct bench_op *op)
{
	const int64_t key = (int64_t)op->key;

	return run_change(f, FILE_WRITE, &key, 1);
}

int
file_run(struct file *f, const struct bench_op *op)
{
	switch (op->kind) {
	case BENCH_READ:
		return run_read(f, op);
	case BENCH_RANGE:
		return run_rows(f, FILE_RANGE, op->key, f->plan->range_n);
	case BENCH_WRITE:
		return run_write(f, op);
	case BENCH_RMW:
	case BENCH_TPCB:
		return run_transaction(f, op);
	case BENCH_LARGE:
		return run_rows(f, FILE_LARGE, 1, f->plan->large_n);
	case BENCH_BULK:
	case BENCH_SQL:
	case BENCH_PING:
	case BENCH_KINDS_N:
		break;
	}
	return fail_check(f, "this kind of operation is not known here");
}
