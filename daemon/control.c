/* control.c - transaction control on the connection that holds it. */
#include "daemon/control.h"

#include <stdio.h>

#include "daemon/clock.h"
#include "daemon/stats.h"
#include "proto/error.h"

/* sqlite.org/rescode.html */
#define CONSTRAINT_FOREIGNKEY 787
#define IOERR                 10
#define SQL_ERROR             1

bool
control_is(const struct exec *ex, const struct request *r)
{
	return r->type == TYPE_TX_END ||
	    (ex->stmt && stmt_get_kind(ex->stmt) == KIND_TX);
}

/* RELEASE of the outermost savepoint commits what SAVEPOINT began. */
static bool
is_last_release(const struct exec *ex, const struct tx *tx)
{
	const struct savepoint *s;

	if (!tx->implicit || stmt_get_tx(ex->stmt) != STMT_TX_RELEASE)
		return false;
	s = tx_find_savepoint(tx, stmt_get_savepoint(ex->stmt));
	return s && !s->next;
}

static int
keep_savepoints(struct exec *ex, struct request *r, const char *name)
{
	struct tx *tx = r->tx;
	int rc;

	switch (stmt_get_tx(ex->stmt)) {
	case STMT_TX_SAVEPOINT:
		if (tx_push_savepoint(tx, name) < 0)
			return failure_set(&r->failure, ERR_NO_MEMORY,
			    "out of memory for a savepoint");
		return 0;
	case STMT_TX_RELEASE:
		/* when that fails the transaction is still open */
		rc = is_last_release(ex, tx)
		    ? dbconn_run(ex->conn, DBCONN_COMMIT, &r->failure)
		    : 0;
		if (rc == 0)
			tx_release_savepoint(tx, name);
		return rc;
	case STMT_TX_ROLLBACK_TO:
		tx_rollback_to_savepoint(tx, name);
		return 0;
	case STMT_TX_BEGIN:
	case STMT_TX_BEGIN_IMMEDIATE:
	case STMT_TX_COMMIT:
	case STMT_TX_ROLLBACK:
		break;
	}
	return 0;
}

int
control_run(struct exec *ex, struct request *r)
{
	int rc;

	/* it is short, and half a COMMIT is none */
	dbconn_watch(ex->conn, NULL, 0);
	if (r->type == TYPE_TX_END)
		return dbconn_run(ex->conn,
		    r->commit ? DBCONN_COMMIT : DBCONN_ROLLBACK, &r->failure);
	if (stmt_get_tx(ex->stmt) <= STMT_TX_BEGIN_IMMEDIATE)
		return failure_set(&r->failure, SQL_ERROR,
		    "cannot start a transaction within a transaction");
	if (is_last_release(ex, r->tx) && dbconn_has_fk_debt(ex->conn))
		return failure_set(&r->failure, CONSTRAINT_FOREIGNKEY,
		    "FOREIGN KEY constraint failed");
	rc = exec_run(ex);
	if (rc == 0)
		rc = keep_savepoints(ex, r, stmt_get_savepoint(ex->stmt));
	return rc;
}

void
control_judge_commit(struct failure *f)
{
	if ((f->code & 0xff) == IOERR)
		f->outcome = OUTCOME_UNKNOWN;
}

void
control_poison(struct tx *tx, const struct failure *why)
{
	if (!atomic_load(&tx->expired))
		tx_expire(tx, ERR_TX_EXPIRED,
		    "the transaction was rolled back when a statement of it "
		    "failed (%s); send ROLLBACK, then run it again",
		    error_get_name(why->code));
}

static int
replay_from(struct dbconn *conn, const struct savepoint *s, struct failure *f)
{
	int rc;

	if (!s)
		return 0;
	rc = replay_from(conn, s->next, f); /* the outermost first */
	return rc < 0 ? rc : dbconn_open_savepoint(conn, s->name, f);
}

int
control_replay(struct dbconn *conn, struct tx *tx, struct failure *f)
{
	return replay_from(conn, tx->savepoints, f);
}

void
control_expire(
    struct tx *tx, const char *what, int64_t for_us, const char *option)
{
	stats_add(STAT_transactions_expired, 1);
	tx_expire(tx, ERR_TX_EXPIRED,
	    "the transaction was rolled back: it was %s for %.1f s, the limit "
	    "of %s; send ROLLBACK, then run it again",
	    what, (double)for_us / 1e6, option);
}
