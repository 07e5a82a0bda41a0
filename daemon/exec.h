/* exec.h - run one request's statement, or batch, on a connection, and write
 * its rows into the answer.
 *
 * The same code serves the worker's inline reads, the heavy readers, the
 * writer's groups and the leases; they differ in the limits they set.  It does
 * not begin or commit anything, except savepoints inside a batch.
 *
 * Thread: whoever holds the request and the connection.
 */
#ifndef DAEMON_EXEC_H
#define DAEMON_EXEC_H

#include "daemon/answer.h"
#include "daemon/dbconn.h"

enum exec_result {
	EXEC_DONE = 0,    /* ran to its end */
	EXEC_BLOCKED = 1, /* the client's window is full: call again later */
	EXEC_OVER = 2,    /* over its budget of time or bytes, for a worker */
};

struct exec {
	struct dbconn *conn;
	struct request *r;
	int64_t blocked_us; /* since when it waits for its client; 0: not */
	int64_t waited_us;  /* how long it has waited before */
	struct stmt *stmt;  /* NULL: an empty statement, or a batch */
	struct answer answer;
	uint64_t flushed_bytes; /* of ROWS frames so far */
	uint64_t rows_n;
	int64_t total_before; /* total_changes() */
	int64_t ended_us;     /* when its last statement was put back */
	bool ran;             /* exec_run was called */
	bool left_vars;       /* its statement was one that sets them */
	bool over; /* it runs from the start elsewhere: set by the caller */
	bool stmt_failed; /* SQLite failed it, and so undid it; else a failure
			   * is ours and leaves what it changed */
	bool undo_failed; /* a batch that failed could not be undone */
	/* set by the caller between exec_prepare and exec_run */
	size_t most_bytes;    /* of the whole result; 0: no bound */
	int most_code;        /* what to fail with there; 0: EXEC_OVER */
	uint64_t ahead_bytes; /* how far it may run ahead of what was sent */
	bool streams;         /* post chunks as they fill */
	bool single;          /* all rows go into one frame, else EXEC_OVER */
};

/* Refuse a statement that changes something when the request is read_only.  st
 * may be NULL.  Errors, with r->failure set: SQLITE_READONLY. */
int exec_check_read_only(struct request *r, const struct stmt *st);

/* Prepare the request's statement and bind its parameters; ex->stmt's kind can
 * be looked at then.  The answer will be written to out.  On failure
 * r->failure is set, and nothing needs to be closed. */
int exec_prepare(
    struct exec *ex, struct dbconn *conn, struct request *r, struct buf *out);

/* Let go of a statement that was prepared and is not to run. */
void exec_put_back(struct exec *ex);

/* Step it as far as the limits allow.  An exec_result; or negative, with
 * r->failure set.  A request that was asked to stop fails with why. */
int exec_run(struct exec *ex);

/* Let go of the statement; the answer stays open.  What it changed is in
 * r->changes and r->rowid then, and in its session's vars. */
void exec_close(struct exec *ex);

/* The same, of a statement that somebody else has prepared and, if ex->ran says so,
 * run: then it is counted.  keeps: what it changed is its request's and its session's. */
void exec_finish(struct exec *ex, bool keeps, bool failed);

/* Say what a statement is, in an OK reply: DESCRIBE and PREPARE. */
void exec_describe(struct dbconn *conn, struct request *r, struct buf *out);

/* --- Batches: exec_batch.c ------------------------------------------------------- */

/* Run a batch from its first step to its last.  The caller has opened a
 * transaction; undone is what a failing batch did, by its own savepoint.
 * check_fks: no deferred foreign key may be left violated.  EXEC_DONE or EXEC_OVER,
 * or negative with r->failure set. */
int exec_batch(struct exec *ex, struct dbconn *conn, struct request *r,
    struct buf *out, bool check_fks);

/* Say whether all steps of a batch only read.  When preparing them takes longer than
 * most_us (0: it may) that is not known, and r->unknown is set.  In a transaction a
 * step that cannot be prepared counts as one that reads: to fail it needs nothing
 * but a snapshot. */
bool exec_batch_reads(struct dbconn *conn, struct request *r, int64_t most_us);

#endif
