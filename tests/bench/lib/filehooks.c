/* filehooks.c - what the drivers of SQLite in process do before a run and after
 * it, in the parent, when nobody else has the file open. */
#include "tests/bench/lib/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/lib/known.h"
#include "tests/bench/lib/sums.h"

#define INIT_ROWS_N 10000 /* of one transaction */

/* The parent's, between begin_verify and verify. */
static struct sums before;

/* Put it into why, which is all a hook can say; returns -1. */
static int
fail(struct file *f, const char *what, char *why, size_t why_n)
{
	snprintf(why, why_n, "%s: %s", f->plan->socket_path, what);
	return -1;
}

static int
open_file(
    struct file *f, const struct bench_plan *plan, char *why, size_t why_n)
{
	int rc;

	if (!plan->socket_path) {
		snprintf(why, why_n, "-s must be the path of a database file");
		return -1;
	}
	rc = file_open(f, plan);
	if (rc == 0)
		return 0;
	fail(f, rc == FILE_BUSY ? "database is locked" : f->why, why, why_n);
	file_close(f);
	return -1;
}

static int
ask(struct file *f, const char *sql, int64_t *ret)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(f->db, sql, -1, &st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		*ret = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return rc == SQLITE_ROW ? 0 : -1;
}

/* ---- --init ------------------------------------------------------------- */

static int
insert_rows(struct file *f, sqlite3_stmt *st, char *text)
{
	const struct bench_plan *plan = f->plan;
	int rc = 0;

	for (uint64_t id = 1; id <= plan->rows_n && rc == 0; id++) {
		if (id % INIT_ROWS_N == 1)
			rc = file_exec(f, FILE_BEGIN);
		bench_text(plan, id, text);
		sqlite3_bind_int64(st, 1, (sqlite3_int64)id);
		sqlite3_bind_text(
		    st, 2, text, (int)plan->text_n, SQLITE_STATIC);
		if (rc == 0 && sqlite3_step(st) != SQLITE_DONE)
			rc = -1;
		sqlite3_reset(st);
		if (rc == 0 && (id % INIT_ROWS_N == 0 || id == plan->rows_n))
			rc = file_exec(f, FILE_COMMIT);
	}
	return rc;
}

static int
fill_bench(struct file *f)
{
	sqlite3_stmt *st = NULL;
	char *text = malloc((size_t)f->plan->text_n + 1);
	int rc = -1;

	if (text &&
	    sqlite3_prepare_v2(f->db, "INSERT INTO bench VALUES(?1, 0, ?2)", -1,
		&st, NULL) == SQLITE_OK)
		rc = insert_rows(f, st, text);
	free(text);
	sqlite3_finalize(st);
	return rc;
}

/* As the daemon's --init makes them. */
static const char create[] =
    "DROP TABLE IF EXISTS bench;"
    "DROP TABLE IF EXISTS bench_branches;"
    "DROP TABLE IF EXISTS bench_tellers;"
    "DROP TABLE IF EXISTS bench_accounts;"
    "DROP TABLE IF EXISTS bench_history;"
    "CREATE TABLE bench(id INTEGER PRIMARY KEY, n INTEGER NOT NULL,"
    " c TEXT NOT NULL);"
    "CREATE TABLE bench_branches(bid INTEGER PRIMARY KEY,"
    " balance INTEGER NOT NULL, filler TEXT);"
    "CREATE TABLE bench_tellers(tid INTEGER PRIMARY KEY,"
    " bid INTEGER NOT NULL, balance INTEGER NOT NULL, filler TEXT);"
    "CREATE TABLE bench_accounts(aid INTEGER PRIMARY KEY,"
    " bid INTEGER NOT NULL, balance INTEGER NOT NULL, filler TEXT);"
    "CREATE TABLE bench_history(tid INTEGER NOT NULL, bid INTEGER NOT NULL,"
    " aid INTEGER NOT NULL, delta INTEGER NOT NULL, mtime TEXT, filler TEXT)";

static int
fill_tpcb(struct file *f)
{
	unsigned branches = f->plan->scale_n;
	char sql[900];

	snprintf(sql, sizeof(sql),
	    "BEGIN;"
	    "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s"
	    " WHERE i < %u)"
	    " INSERT INTO bench_branches(bid, balance) SELECT i, 0 FROM s;"
	    "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s"
	    " WHERE i < %u) INSERT INTO bench_tellers(tid, bid, balance)"
	    " SELECT i, (i - 1) / %d + 1, 0 FROM s;"
	    "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s"
	    " WHERE i < %u) INSERT INTO bench_accounts"
	    " SELECT i, (i - 1) / %d + 1, 0, printf('%%84s', '') FROM s;"
	    "COMMIT",
	    branches, branches * BENCH_TPCB_TELLERS, BENCH_TPCB_TELLERS,
	    branches * BENCH_TPCB_ACCOUNTS, BENCH_TPCB_ACCOUNTS);
	return sqlite3_exec(f->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : -1;
}

int
file_init(const struct bench_plan *plan, char *why, size_t why_n)
{
	struct file f;
	int rc = -1;

	if (open_file(&f, plan, why, why_n) < 0)
		return -1;
	if (sqlite3_exec(f.db, create, NULL, NULL, NULL) == SQLITE_OK)
		rc = fill_bench(&f);
	if (rc == 0)
		rc = fill_tpcb(&f);
	if (rc != 0)
		rc = fail(&f, sqlite3_errmsg(f.db), why, why_n);
	file_close(&f);
	return rc;
}

/* ---- Before and after a run --------------------------------------------- */

int
file_check_options(const struct bench_plan *plan, const char *own_option,
    char *why, size_t why_n)
{
	const char *const known[] = { "synchronous", "vfs", own_option, NULL };
	static const char *const levels[] = { "full", "normal" };
	static const char *const vfs[] = { "unix", "unix-excl" };

	if (known_check(plan, known, why, why_n) < 0 ||
	    !known_is_either(plan, "synchronous", levels, why, why_n) ||
	    !known_is_either(plan, "vfs", vfs, why, why_n))
		return -1;
	return 0;
}

/* What was given must agree with what is there; what was not is that. */
static int
check_tables(struct file *f, struct bench_plan *plan)
{
	int64_t rows_n = 0, text_n = 0, scale_n = 0;

	if (ask(f, "SELECT max(id) FROM bench", &rows_n) < 0 ||
	    ask(f, "SELECT max(length(c)) FROM bench WHERE id = 1", &text_n) <
		0 ||
	    ask(f, "SELECT count(*) FROM bench_branches", &scale_n) < 0)
		return -1;
	if (rows_n < 1 || plan->rows_n > (uint64_t)rows_n ||
	    (plan->text_n && plan->text_n != (uint64_t)text_n) ||
	    (plan->scale_n && plan->scale_n != (uint64_t)scale_n))
		return -1;
	if (plan->rows_n == 0)
		plan->rows_n = (uint64_t)rows_n;
	plan->text_n = (uint32_t)text_n;
	plan->scale_n = (uint32_t)scale_n;
	return 0;
}

int
file_check(struct bench_plan *plan, char *why, size_t why_n)
{
	struct file f;
	int rc;

	if (open_file(&f, plan, why, why_n) < 0)
		return -1;
	rc = check_tables(&f, plan);
	if (rc < 0)
		rc = fail(&f,
		    "the tables are not there, or are others: make "
		    "them with --init",
		    why, why_n);
	snprintf(plan->about, sizeof(plan->about),
	    "SQLite %s in process, vfs %s, synchronous %s",
	    sqlite3_libversion(), bench_get_opt(plan, "vfs", "unix"),
	    bench_get_opt(plan, "synchronous", "full"));
	file_close(&f);
	return rc;
}

static int
get_sums(
    const struct bench_plan *plan, struct sums *ret, char *why, size_t why_n)
{
	struct file f;
	int rc = 0;

	if (open_file(&f, plan, why, why_n) < 0)
		return -1;
	if (ask(&f, "SELECT sum(n) FROM bench", &ret->n) < 0 ||
	    ask(&f, "SELECT count(*) FROM bench_history", &ret->history) < 0)
		rc = fail(&f, sqlite3_errmsg(f.db), why, why_n);
	file_close(&f);
	return rc;
}

int
file_begin_verify(const struct bench_plan *plan, char *why, size_t why_n)
{
	return get_sums(plan, &before, why, why_n);
}

int
file_verify(const struct bench_plan *plan,
    const uint64_t ended_n[BENCH_KINDS_N], char *why, size_t why_n)
{
	struct sums after = { 0 };

	if (get_sums(plan, &after, why, why_n) < 0)
		return -1;
	return sums_compare(&before, &after, ended_n, why, why_n);
}
