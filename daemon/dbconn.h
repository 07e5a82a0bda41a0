/* dbconn.h - one hot connection to one database, and its statements.
 *
 * The only door to SQLite, with guard.h.  A connection is used by one thread at
 * a time: the worker it belongs to, or whoever runs the writer or heavy reader
 * it belongs to.  Nothing of one client stays on it: a statement is reset and
 * its bindings cleared by stmt_reset.
 *
 * A function that takes a struct failure fills it in when it fails.
 */
#ifndef DAEMON_DBCONN_H
#define DAEMON_DBCONN_H

#include "conf/conf.h"
#include "daemon/request.h"

struct dbconn;
struct stats_set;
struct stmt;

enum dbconn_role {
	DBCONN_WRITER, /* the one that writes; creates the file, sets WAL */
	DBCONN_HOT,    /* a worker's, for short reads; query_only */
	DBCONN_READER, /* for long reads; query_only */
	DBCONN_KEEPER, /* only copies the WAL */
};

/* The daemon's own statements. */
enum dbconn_verb {
	DBCONN_BEGIN,           /* deferred: for reads */
	DBCONN_BEGIN_IMMEDIATE, /* takes the write lock */
	DBCONN_SNAPSHOT,        /* reads one page, so that BEGIN's snapshot is
				 * fixed now */
	DBCONN_COMMIT,
	DBCONN_ROLLBACK,
	DBCONN_SAVEPOINT_BATCH, /* around a BATCH */
	DBCONN_RELEASE_BATCH,
	DBCONN_UNDO_BATCH,
	DBCONN_SAVEPOINT_STEP, /* around a step that may fail */
	DBCONN_RELEASE_STEP,
	DBCONN_UNDO_STEP,
	DBCONN_VERBS_N,
};

/* Prepare the library: threads, allocator statistics, statement journal.
 * Before anything else of SQLite, once, on the main thread.
 * Errors: -ERR_INTERNAL (the library was set up already). */
int dbconn_setup_library(void);

/* Give the version of the SQLite library in use, e.g. "3.40.1". */
const char *dbconn_get_library_version(void);

/* Open a connection, with everything set that the configuration says and the
 * schema parsed.  A WRITER creates the file if it is absent.
 *
 * Errors: SQLite's, negative; CANTOPEN, NOTADB, BUSY (another process has it
 * open), READONLY, IOERR; -ERR_NO_MEMORY. */
int dbconn_open(const struct conf_db *conf, enum dbconn_role role,
    struct dbconn **ret_conn, struct failure *f);

/* Finalize its statements and close it.  NULL is fine. */
void dbconn_close(struct dbconn *c);

/* Close it without copying the WAL into the file, whoever was the last. */
void dbconn_keep_wal(struct dbconn *c);

/* Say whether another file than its own stands at its path now, or none. */
bool dbconn_has_moved(const struct dbconn *c);

/* Give the set that counts what runs on it; NULL for a KEEPER. */
struct stats_set *dbconn_get_stats(const struct dbconn *c);

/* Let a running statement be stopped: when *stop is not 0, or at end_us (0:
 * never).  stop NULL: by nothing. */
void dbconn_watch(struct dbconn *c, const _Atomic int *stop, int64_t end_us);

/* The statement has run: others may have the memory that it had (total_memory). */
void dbconn_end_memory(struct dbconn *c);

/* Bound the statement that was prepared last to what a worker can spare: little
 * memory, and no value so long that a function of SQLite, which nothing can stop,
 * takes long.  What goes beyond is over its budget. */
void dbconn_bound(struct dbconn *c);

/* End the bound, when the statement has run. */
void dbconn_unbound(struct dbconn *c);

/* Say whether the last statement was stopped for its budget. */
bool dbconn_is_over_budget(const struct dbconn *c);

/* Choose whose last_insert_rowid(), changes() and total_changes() the next
 * statement sees; NULL: nobody's.  Gives dbconn_get_total_changes. */
int64_t dbconn_set_vars(struct dbconn *c, struct vars *vars);

/* Run one of the daemon's own statements.  Errors: SQLite's, negative. */
int dbconn_run(struct dbconn *c, enum dbconn_verb verb, struct failure *f);

/* Say that another process has the lock, and how to find it; returns
 * -ERR_EXTERNAL_BUSY. */
int dbconn_fail_locked(const struct dbconn *c, struct failure *f);

/* Open a savepoint by name.  Errors: SQLite's; -ERR_NO_MEMORY. */
int
dbconn_open_savepoint(struct dbconn *c, const char *name, struct failure *f);

/* Say whether a transaction is open on it. */
bool dbconn_in_tx(const struct dbconn *c);

/* Say whether a COMMIT now would fail on a deferred foreign key. */
bool dbconn_has_fk_debt(struct dbconn *c);

int64_t dbconn_get_rowid(const struct dbconn *c);
int64_t dbconn_get_changes(const struct dbconn *c);
int64_t dbconn_get_total_changes(const struct dbconn *c);

/* Say whether its transaction has read anything yet, and so has a snapshot. */
bool dbconn_has_snapshot(const struct dbconn *c);

/* Find a statement in the cache or prepare it.  *ret_stmt is NULL for text
 * without a statement.  It belongs to the connection and is valid until the
 * next stmt_prepare on it.
 *
 * Errors: SQLite's, with the offset; -ERR_NOT_ALLOWED (the guard);
 * -ERR_MULTIPLE_STATEMENTS, with the second one's offset; -ERR_FIELD_RANGE (a
 * NUL byte in the text); -ERR_NO_MEMORY. */
int stmt_prepare(struct dbconn *c, struct span sql, struct stmt **ret_stmt,
    struct failure *f);

/* The same, but a cached one is thrown away first. */
int stmt_prepare_anew(struct dbconn *c, struct span sql, struct stmt **ret_stmt,
    struct failure *f);

/* Prepare the first statement of a text that may hold many, apart from the
 * cache, which they would empty.
 *
 * text is NUL-terminated: SQLite would copy another one each time.  *ret_stmt
 * is NULL when no statement is left in it, else the caller's (stmt_free);
 * *ret_n is how many bytes it took.  Errors: as stmt_prepare. */
int stmt_prepare_first(struct dbconn *c, const char *text,
    struct stmt **ret_stmt, size_t *ret_n, struct failure *f);

/* Free a statement that is not in the cache.  NULL is fine. */
void stmt_free(struct stmt *st);

/* Count the bytes of white space and semicolons that a text begins with. */
size_t stmt_count_blank(struct span text);

enum msg_kind stmt_get_kind(const struct stmt *st);

/* The transaction control a KIND_TX statement is. */
enum stmt_tx {
	STMT_TX_BEGIN,
	STMT_TX_BEGIN_IMMEDIATE, /* or EXCLUSIVE: the same in WAL mode */
	STMT_TX_COMMIT,
	STMT_TX_ROLLBACK,
	STMT_TX_SAVEPOINT,
	STMT_TX_RELEASE,
	STMT_TX_ROLLBACK_TO,
};
enum stmt_tx stmt_get_tx(const struct stmt *st);
const char *stmt_get_savepoint(const struct stmt *st);

/* Remember that it is too long for a worker; ask whether it was lately, or nothing
 * can stop it: that is looked at again now and then. */
void stmt_mark_heavy(struct stmt *st);
bool stmt_take_heavy(struct dbconn *c, struct stmt *st);

/* It ended later than a worker can spare, and nothing had stopped it: look again
 * whether anything can, since the file may have grown since it was prepared. */
void stmt_judge_again(struct dbconn *c, struct stmt *st);

/* Count a run of a statement in the cache, which may have been put back: how long
 * it ran, the rows, and bits of tally_how.  What SQLite counted for it is taken
 * along, but on a HOT one, where that would cost a share of the run: there it is
 * taken by dbconn_note_steps. */
void stmt_note_run(struct dbconn *c, struct stmt *st, int64_t run_us,
    uint64_t rows, unsigned how);

/* Add how many bytes its page cache and its statements take. */
void dbconn_add_memory(struct dbconn *c, uint64_t *pages, uint64_t *statements);

/* Take along what SQLite has counted for all its statements. */
void dbconn_note_steps(struct dbconn *c);

unsigned stmt_get_columns_n(const struct stmt *st);

/* Bind parameters: a raw msgpack array or map, or nothing (n 0).  Values are
 * borrowed until stmt_reset.
 *
 * Errors: -ERR_PARAM_COUNT, -ERR_PARAM_NAME, -ERR_PARAM_TYPE; SQLite's TOOBIG,
 * NOMEM. */
int stmt_bind(
    struct dbconn *c, struct stmt *st, struct span params, struct failure *f);

/* Step.  1: a row; 0: done; negative: SQLite's code.  A lock that another
 * process holds is -ERR_EXTERNAL_BUSY. */
int stmt_step(struct dbconn *c, struct stmt *st, struct failure *f);

/* Append the current row as an array.  -ERR_NO_MEMORY: a value could not be
 * read (dbconn_fail_memory says why); -ERR_ROW_TOO_LARGE: its values have more than most bytes, and those that
 * are too much were not asked for (SQLite makes a zeroblob only then). */
int stmt_put_row(struct dbconn *c, struct stmt *st, size_t most, struct buf *b);

/* Fill in why there was no memory.  Returns the negative code. */
int dbconn_fail_memory(const struct dbconn *c, struct failure *f);

/* Append arrays: column names, declared types (nil without), the names of the
 * parameters (nil without). */
void stmt_put_columns(struct stmt *st, struct buf *b);
void stmt_put_decltypes(const struct stmt *st, struct buf *b);
void stmt_put_param_names(const struct stmt *st, struct buf *b);
unsigned stmt_get_params_n(const struct stmt *st);

/* Put it back: reset, bindings cleared.  NULL is fine. */
void stmt_reset(struct stmt *st);

#endif
