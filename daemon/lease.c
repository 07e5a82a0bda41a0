/* lease.c - an interactive transaction on the writer.
 *
 * It begins with its first statement, not with BEGIN, and ends with COMMIT,
 * ROLLBACK, an error after which SQLite has rolled back, a limit, or the loss
 * of its client, whose worker sends a ROLLBACK.  Between its statements no
 * thread is kept.
 *
 * Thread: whoever runs the writer. */
#include <stdio.h>

#include "daemon/clock.h"
#include "daemon/mailbox.h"
#include "daemon/stats.h"
#include "daemon/tick.h"
#include "daemon/writer_impl.h"
#include "proto/error.h"

#define BUSY_SNAPSHOT 517 /* sqlite.org/rescode.html */

static void
end_lease(struct writer *w)
{
	struct tx *tx = w->lease;

	w->lease = NULL;
	writer_note_holder(w);
	atomic_store(&tx->leased, false);
	atomic_store(&w->has_lease, false);
	tx_unref(tx);
}

/* Until when a statement of it may run. */
static int64_t
get_end_us(const struct writer *w)
{
	return w->lease->held_us + w->db_conf->tx_max_age_us;
}

static bool
is_commit(const struct exec *ex, const struct request *r)
{
	if (r->type == TYPE_TX_END)
		return r->commit;
	return ex->stmt && stmt_get_kind(ex->stmt) == KIND_TX &&
	    stmt_get_tx(ex->stmt) != STMT_TX_ROLLBACK;
}

static void
expire(struct writer *w, const char *what, int64_t for_us, const char *option)
{
	exec_close(&w->exec); /* a result may be half sent */
	writer_roll_back(w);
	control_expire(w->lease, what, for_us, option);
}

/* A statement that ran into the transaction's own limit. */
static void
expire_running(struct writer *w, struct request *r)
{
	struct tx *tx = w->lease;

	expire(w, "open", clock_now_us() - tx->held_us, "tx_max_age");
	failure_set(&r->failure, ERR_TX_EXPIRED, "%s", tx->expired_text);
}

/* A write whose result we have to give up (too large, stopped, not fetched) is to
 * be undone: SQLite would keep it, since it did not fail. */
static int
begin_step(struct writer *w, struct request *r)
{
	int rc = 0;

	if (r->kind == KIND_WRITE && stmt_get_columns_n(w->exec.stmt) > 0)
		rc = dbconn_run(w->conn, DBCONN_SAVEPOINT_STEP, &r->failure);
	w->in_step = rc == 0 && r->kind == KIND_WRITE &&
	    stmt_get_columns_n(w->exec.stmt) > 0;
	return rc;
}

static void
end_step(struct writer *w, const struct request *r)
{
	struct failure f;

	if (!w->in_step)
		return;
	w->in_step = false;
	if (!dbconn_in_tx(w->conn))
		return;
	failure_init(&f);
	if (r->failure.code && !w->exec.stmt_failed)
		dbconn_run(w->conn, DBCONN_UNDO_STEP, &f);
	dbconn_run(w->conn, DBCONN_RELEASE_STEP, &f);
	failure_fini(&f);
}

/* OR FAIL keeps what came before the failure. */
static void
judge_failure(struct writer *w, struct request *r)
{
	struct exec *ex = &w->exec;

	if (r->type == TYPE_EXEC && r->kind == KIND_WRITE && ex->stmt_failed &&
	    dbconn_in_tx(w->conn) && dbconn_get_changes(w->conn) > 0 &&
	    dbconn_get_total_changes(w->conn) != ex->total_before)
		r->failure.outcome = OUTCOME_APPLIED;
}

static int
run_statement(struct writer *w, struct request *r)
{
	struct exec *ex = &w->exec;
	int rc;

	if (r->type == TYPE_TX_END)
		return control_run(ex, r);
	if (r->type == TYPE_BATCH)
		return exec_batch(ex, w->conn, r, &r->out, false);
	rc = exec_prepare(ex, w->conn, r, &r->out);
	if (rc < 0)
		return rc;
	r->kind = stmt_get_kind(ex->stmt);
	if (control_is(ex, r))
		return control_run(ex, r);
	rc = begin_step(w, r);
	if (rc < 0)
		return rc;
	ex->streams = true;
	ex->ahead_bytes = (uint64_t)w->db_conf->result_memory_bytes;
	return exec_run(ex);
}

/* Send a request home.  When the transaction is over, so is the lease. */
static void
finish(struct writer *w, struct request *r)
{
	struct exec *ex = &w->exec;
	bool commits = is_commit(ex, r);
	bool controls = control_is(ex, r);
	bool over;

	exec_close(ex);
	if (r->failure.code && !controls)
		judge_failure(w, r);
	if (r->failure.code && commits)
		control_judge_commit(&r->failure);
	end_step(w, r);
	over = !dbconn_in_tx(w->conn);
	if (over && r->failure.code == 0 && commits) {
		w->commit_us = r->started_us;
		r->seq = writer_count_commit(w, r);
	}
	dbconn_watch(w->conn, NULL, 0);
	dbconn_set_vars(w->conn, NULL);
	tx_touch(w->lease, r->sql);
	w->current = NULL;
	if (over && r->failure.code && !controls)
		control_poison(w->lease, &r->failure);
	r->tx_state = over ? TX_STATE_NONE : TX_STATE_WRITE;
	if (atomic_load(&w->lease->expired))
		r->tx_state = TX_STATE_EXPIRED;
	else if (!over && r->failure.code == 0)
		stats_add(STAT_writes, r->kind == KIND_WRITE);
	if (over)
		end_lease(w);
	else
		writer_note_holder(w);
	if (r->type == TYPE_TX_END)
		answer_ok(r, &r->out);
	else
		answer_finish(&ex->answer);
	mailbox_post(r, true);
}

/* Run one request of the lease's transaction, or leave it as w->current. */
static void
run_request(struct writer *w, struct request *r)
{
	struct exec *ex = &w->exec;
	int rc;

	*ex = (struct exec){ .conn = w->conn, .r = r };
	answer_init(&ex->answer, r, &r->out);
	r->started_us = clock_now_us();
	if (request_get_stop(r)) {
		request_fail_stopped(r, "before it began");
		finish(w, r);
		return;
	}
	dbconn_watch(w->conn, &r->stop, get_end_us(w));
	rc = run_statement(w, r);
	if (rc == EXEC_BLOCKED) {
		tx_touch(w->lease, r->sql);
		w->current = r;
		return;
	}
	if (rc == EXEC_OVER)
		expire_running(w, r);
	finish(w, r);
}

/* Turn the read transaction into a write one: allowed only when its snapshot is
 * what the file holds now. */
static int
take_over(struct writer *w, struct request *r)
{
	struct tx *tx = r->tx;
	int rc;

	if (tx->held_us == 0)
		return 0; /* it has read nothing yet */
	if (tx->has_snapshot && tx->change != wal_get_change_count(w->conn))
		return failure_set(&r->failure, BUSY_SNAPSHOT,
		    "the database was changed after this transaction read "
		    "from it, so it cannot write any more: send ROLLBACK and "
		    "run it again, with BEGIN IMMEDIATE if that is to succeed "
		    "for sure");
	rc = control_replay(w->conn, tx, &r->failure);
	return rc < 0 ? rc : readers_release(w->readers, tx, &r->failure);
}

/* The request cannot have the lease: its transaction stays as it was. */
static void
refuse(struct request *r)
{
	struct tx *tx = r->tx;
	int code = atomic_load(&tx->expired);

	if (code)
		failure_set(&r->failure, code, "%s", tx->expired_text);
	writer_set_tx_state(r);
	answer_error(r, &r->out);
	mailbox_post(r, true);
}

void
lease_start(struct writer *w, struct request *r)
{
	struct tx *tx = r->tx;
	int rc = 0;

	writer_note_answering(w); /* it is the lease's from now on */
	request_move(r, REQUEST_RUNNING);
	if (request_get_stop(r))
		request_fail_stopped(r, "while it waited for the writer");
	if (atomic_load(&tx->expired)) {
		failure_fini(&r->failure);
		request_move(r, REQUEST_NEW);
		r->reroute = REROUTE_AGAIN;
		r->tx_state = TX_STATE_EXPIRED;
		mailbox_post(r, true);
		return;
	}
	if (r->failure.code) {
		refuse(r);
		return;
	}
	rc = writer_begin(w, &r->failure);
	if (rc == -ERR_EXTERNAL_BUSY) {
		writer_lock_out(w, 0, 1);
		return;
	}
	if (rc == 0)
		rc = take_over(w, r);
	if (rc < 0) {
		writer_roll_back(w);
		refuse(r);
		return;
	}
	w->lease = tx_ref(tx);
	atomic_store(&tx->leased, true);
	tx->held_us = clock_now_us();
	atomic_store(&w->has_lease, true);
	tick_want();
	writer_note_holder(w);
	run_request(w, r);
}

/* End the transaction when it is over one of its limits. */
static bool
check_limits(struct writer *w)
{
	const struct conf_db *conf = w->db_conf;
	struct tx *tx = w->lease;
	int64_t now = clock_now_us();

	if (now - tx->held_us > conf->tx_max_age_us)
		expire(w, "open", now - tx->held_us, "tx_max_age");
	else if (now - tx->last_us > conf->tx_idle_timeout_us &&
	    writer_is_wanted(w))
		expire(w, "idle while others waited", now - tx->last_us,
		    "tx_idle_timeout");
	else
		return false;
	return true;
}

/* A request whose transaction was ended before it arrived: its worker knows what
 * to do with it then. */
static void
send_back(struct request *r)
{
	request_move(r, REQUEST_RUNNING);
	request_move(r, REQUEST_NEW);
	r->reroute = REROUTE_AGAIN;
	r->tx_state = TX_STATE_EXPIRED;
	mailbox_post(r, true);
}

/* Go on with a result whose client had to catch up.  While it does not, the
 * transaction is idle. */
static void
continue_current(struct writer *w)
{
	struct request *r = w->current;
	uint64_t before = w->exec.flushed_bytes;
	int rc = exec_run(&w->exec);

	if (w->exec.flushed_bytes != before)
		tx_touch(w->lease, r->sql);
	if (rc == EXEC_OVER)
		expire_running(w, r);
	if (rc == EXEC_BLOCKED) {
		if (!check_limits(w))
			return;
		failure_set(
		    &r->failure, ERR_TX_EXPIRED, "%s", w->lease->expired_text);
	}
	finish(w, r);
}

/* Its COMMIT may be here already, and would be lost. */
static void
end_gone(struct writer *w)
{
	struct tx *tx = w->lease;

	if (!tx || w->current || !atomic_load(&w->gone))
		return;
	writer_roll_back(w);
	tx_expire(tx, ERR_TX_EXPIRED, "the transaction was ended: %s %s",
	    w->db_conf->name, CONTROL_GONE_TEXT);
	stats_add(STAT_transactions_expired, 1);
	end_lease(w);
}

void
lease_run(struct writer *w)
{
	struct request *r;

	if (w->current)
		continue_current(w);
	end_gone(w);
	while (!w->current && (r = writer_take_inbox(w))) {
		if (w->lease != r->tx) {
			send_back(r);
			continue;
		}
		request_move(r, REQUEST_RUNNING);
		run_request(w, r);
	}
	if (w->lease && !w->current && check_limits(w))
		end_lease(w);
}
