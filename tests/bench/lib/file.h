/* file.h - SQLite in the process, as an application links it: the side of
 * the peers that go to the file themselves.
 *
 *	-s FILE                      made with --init
 *	-o synchronous=full|normal   full: an acknowledged write is on disk
 *	-o vfs=unix|unix-excl        as SQLite is opened by default; or alone
 *
 * The other settings are the daemon's where both have them (WAL, 16 MB of page
 * cache), busy_timeout 5 s, and SQLite's own otherwise: the writer checkpoints
 * when the WAL has 1,000 pages.  SQLite's counters of memory and its locks for
 * threads are off: the program has one thread for each connection.
 *
 * Functions return 0, FILE_BUSY, or -1 with what failed in f->why.
 * Thread: the client's.
 */
#ifndef TESTS_BENCH_LIB_FILE_H
#define TESTS_BENCH_LIB_FILE_H

#include <sqlite3.h>

#include "client/bench/bench.h"

/* "database is locked", after 5 s.  Nothing was done. */
#define FILE_BUSY 1

enum file_sql {
	FILE_BEGIN,
	FILE_BEGIN_IMMEDIATE,
	FILE_COMMIT,
	FILE_READ,
	FILE_RANGE,
	FILE_WRITE,
	FILE_GET_N,
	FILE_SET_N,
	FILE_LARGE,
	FILE_ACCOUNT,
	FILE_BALANCE,
	FILE_TELLER,
	FILE_BRANCH,
	FILE_HISTORY,
	FILE_SQL_N
};

struct file {
	sqlite3 *db;
	sqlite3_stmt *stmts[FILE_SQL_N]; /* prepared at their first use */
	const struct bench_plan *plan;
	char why[160];
};

/* Open it and set it up.  It is to be closed on failure, too. */
int file_open(struct file *f, const struct bench_plan *plan);
void file_close(struct file *f);

/* Run a statement that takes no values and gives no rows. */
int file_exec(struct file *f, enum file_sql which);

/* Run one operation and check what it answers.  A transaction of several
 * statements is begun and ended here, one statement is not. */
int file_run(struct file *f, const struct bench_op *op);

/* The kinds that file_run knows. */
#define FILE_KINDS                                                  \
	(1U << BENCH_READ | 1U << BENCH_RANGE | 1U << BENCH_WRITE | \
	    1U << BENCH_RMW | 1U << BENCH_TPCB | 1U << BENCH_LARGE)

/* A driver's hooks of these names.  own_option: one that only the driver knows
 * beside those above. */
int file_init(const struct bench_plan *plan, char *why, size_t why_n);
int file_check_options(const struct bench_plan *plan, const char *own_option,
    char *why, size_t why_n);
int file_check(struct bench_plan *plan, char *why, size_t why_n);
int file_begin_verify(const struct bench_plan *plan, char *why, size_t why_n);
int file_verify(const struct bench_plan *plan,
    const uint64_t ended_n[BENCH_KINDS_N], char *why, size_t why_n);

#endif
