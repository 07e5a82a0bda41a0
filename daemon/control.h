/* control.h - statements inside a transaction, wherever it is held.
 *
 * Heavy readers hold read transactions, the writer holds write ones; what a
 * statement means there is the same.  This runs BEGIN, COMMIT, SAVEPOINT and
 * the others, as SQL text or as the protocol's messages, and keeps the list of
 * open savepoints, which moves with the transaction from reader to writer.
 *
 * Thread: whoever holds the transaction.
 */
#ifndef DAEMON_CONTROL_H
#define DAEMON_CONTROL_H

/* What those are told whose file is gone. */
#define CONTROL_GONE_TEXT                                            \
	"is not the file any more that it was: it, or its WAL, was " \
	"replaced or deleted "                                       \
	"while the daemon had it open; begin again"

#include "daemon/exec.h"

/* Say whether r ends or steers a transaction: TX_END, or EXEC of a KIND_TX
 * statement that exec_prepare has found. */
bool control_is(const struct exec *ex, const struct request *r);

/* Run it on the connection that holds r->tx, leaving the answer open.  0, or
 * negative with r->failure set; whether the transaction is still open is
 * dbconn_in_tx's to say. */
int control_run(struct exec *ex, struct request *r);

/* Say of a COMMIT that failed whether its outcome is known: one that failed in
 * the middle of its I/O may or may not be found by recovery after a crash. */
void control_judge_commit(struct failure *f);

/* Close a transaction that an error has ended to what its client has sent behind
 * it, until the client ends it too: nothing of it may run outside. */
void control_poison(struct tx *tx, const struct failure *why);

/* Open the transaction's savepoints on a connection that just began it. */
int control_replay(struct dbconn *conn, struct tx *tx, struct failure *f);

/* Give the outcome words for a transaction that got too old or idle:
 * "idle for 5.2 s", ... and end it.  limit_us: which limit it ran into. */
void control_expire(
    struct tx *tx, const char *what, int64_t for_us, const char *option);

#endif
