/* reader.c - one heavy reader: runs requests, and holds the snapshot of a
 * transaction.
 *
 * Thread: whoever of the readers' crew runs it. */
#include "daemon/reader.h"

#include "daemon/clock.h"
#include "daemon/mailbox.h"
#include "daemon/reader_impl.h"
#include "daemon/stats.h"
#include "daemon/wal.h"
#include "proto/error.h"

int
reader_open(struct reader *rd, struct failure *f)
{
	int rc;

	if (rd->conn)
		return 0;
	rc = dbfile_connect(
	    rd->pool->file, rd->pool->db_conf, DBCONN_READER, &rd->conn, f);
	if (rc < 0)
		return rc;
	atomic_store(&rd->is_open, true);
	stats_add(STAT_readers_opened, 1);
	return 0;
}

/* Close the connection of one that was idle for long, and still is.  What it is
 * given meanwhile waits for that. */
static void
close_idle(struct reader *rd)
{
	bool leaves;

	pthread_mutex_lock(&rd->pool->lock);
	leaves = rd->leaves;
	rd->leaves = false;
	pthread_mutex_unlock(&rd->pool->lock);
	if (!leaves)
		return;
	atomic_store(&rd->is_open, false);
	dbconn_close(rd->conn);
	rd->conn = NULL;
	stats_add(STAT_readers_closed, 1);
}

/* Let go of the transaction; the connection is out of it. */
static void
unbind(struct reader *rd)
{
	struct tx *tx;

	pthread_mutex_lock(&rd->pool->lock);
	tx = rd->tx;
	rd->tx = NULL;
	rd->drop = false;
	rd->running = NULL;
	atomic_store(&rd->since_us, 0);
	atomic_store(&rd->too_old, false);
	if (tx)
		tx->reader = NULL;
	pthread_mutex_unlock(&rd->pool->lock);
	tx_unref(tx);
}

static void
roll_back(struct reader *rd)
{
	struct failure f;

	failure_init(&f);
	if (rd->conn && dbconn_in_tx(rd->conn))
		dbconn_run(rd->conn, DBCONN_ROLLBACK, &f);
	failure_fini(&f);
}

/* Begin the transaction on this connection, at its first request.  The change
 * count is read before the snapshot is taken, so that the snapshot is never
 * older than the count says. */
static int
begin(struct reader *rd, struct request *r)
{
	struct tx *tx = r->tx;
	int rc;

	if (!tx)
		return 0;
	if (!tx->has_snapshot)
		tx->change = wal_get_change_count(rd->conn);
	if (dbconn_in_tx(rd->conn))
		return 0;
	rc = dbconn_run(rd->conn, DBCONN_BEGIN, &r->failure);
	if (rc == 0)
		tx->held_us = clock_now_us();
	return rc;
}

/* A write in a read transaction moves it to the writer, or fails. */
static int
leave_for_writer(struct request *r)
{
	if (r->tx->mode == TX_MODE_READ)
		return failure_set(&r->failure, ERR_TX_READ_ONLY,
		    "the transaction was begun as read-only; begin another "
		    "one to write");
	r->reroute = REROUTE_WRITER;
	return 0;
}

static enum msg_tx_state
get_state(const struct reader *rd, const struct request *r)
{
	if (!r->tx)
		return TX_STATE_NONE;
	if (!tx_has_begun(r->tx))
		return TX_STATE_NONE;
	if (r->tx->held_us == 0) /* it failed before it began */
		return TX_STATE_OPEN;
	if (atomic_load(&r->tx->expired))
		return TX_STATE_EXPIRED;
	if (!dbconn_in_tx(rd->conn))
		return TX_STATE_NONE;
	return r->tx->has_snapshot ? TX_STATE_READ : TX_STATE_OPEN;
}

/* The request is not here any more; the snapshot is when its transaction has
 * one. */
static void
note_ended(struct reader *rd, const struct request *r)
{
	pthread_mutex_lock(&rd->pool->lock);
	rd->running = NULL;
	atomic_store(&rd->blocked, false);
	if (!r->tx || !r->tx->has_snapshot) {
		atomic_store(&rd->since_us, 0);
		atomic_store(&rd->too_old, false);
	}
	pthread_mutex_unlock(&rd->pool->lock);
}

/* Send the request home. */
static void
finish(struct reader *rd, struct request *r)
{
	struct exec *ex = &rd->exec;
	bool controls = control_is(ex, r);
	bool unbinds;

	exec_close(ex);
	if (r->tx && !tx_has_begun(r->tx) && rd->conn)
		roll_back(rd);
	unbinds = r->tx && (!rd->conn || !dbconn_in_tx(rd->conn));
	if (rd->conn) {
		dbconn_watch(rd->conn, NULL, 0);
		dbconn_set_vars(rd->conn, NULL);
	}
	if (r->tx) {
		r->tx->has_snapshot = rd->conn && dbconn_has_snapshot(rd->conn);
		tx_touch(r->tx, r->sql);
	}
	if (unbinds && r->failure.code && r->tx->held_us && !controls)
		control_poison(r->tx, &r->failure);
	r->tx_state = get_state(rd, r);
	rd->current = NULL;
	note_ended(rd, r);
	if (unbinds)
		unbind(rd);
	if (r->reroute) {
		r->started_us = 0;
		request_move(r, REQUEST_NEW);
	} else if (r->type == TYPE_TX_END) {
		answer_ok(r, &r->out);
	} else {
		answer_finish(&ex->answer);
		stats_add(STAT_reads_heavy, 1);
	}
	mailbox_post(r, true);
}

/* Run what exec_prepare has found.  EXEC_BLOCKED: to be continued. */
static int
run_statement(struct reader *rd, struct request *r)
{
	struct exec *ex = &rd->exec;
	enum msg_kind kind = stmt_get_kind(ex->stmt);

	if (r->tx && control_is(ex, r))
		return control_run(ex, r);
	if (kind != KIND_READ && kind != KIND_EMPTY) {
		/* it has left nothing behind: it did not run */
		exec_put_back(ex);
		if (r->tx)
			return leave_for_writer(r);
		/* the schema changed since the worker looked at it */
		r->reroute = REROUTE_AGAIN;
		r->unknown = true;
		return 0;
	}
	ex->streams = true;
	ex->ahead_bytes = (uint64_t)rd->pool->db_conf->result_memory_bytes;
	return exec_run(ex);
}

static int
run_batch(struct reader *rd, struct request *r)
{
	r->unknown = false;
	if (exec_batch_reads(rd->conn, r, 0))
		return exec_batch(&rd->exec, rd->conn, r, &r->out, false);
	if (r->tx)
		return leave_for_writer(r);
	r->reroute = REROUTE_AGAIN;
	r->unknown = true;
	return 0;
}

/* Until when a statement of a transaction may run; 0: as long as its request
 * may. */
static int64_t
get_end_us(const struct reader *rd, const struct request *r)
{
	return r->tx ? r->tx->held_us + rd->pool->db_conf->tx_max_age_us : 0;
}

/* Start a request.  EXEC_BLOCKED: it is rd->current now. */
static int
start(struct reader *rd, struct request *r)
{
	struct exec *ex = &rd->exec;
	int rc;

	*ex = (struct exec){ .r = r };
	answer_init(&ex->answer, r, &r->out);
	request_move(r, REQUEST_RUNNING);
	r->started_us = clock_now_us();
	if (atomic_load(&rd->since_us) == 0)
		atomic_store(&rd->since_us, r->started_us);
	if (request_get_stop(r)) {
		request_fail_stopped(r, "before it began");
		return -r->failure.code;
	}
	rc = reader_open(rd, &r->failure);
	if (rc == 0)
		rc = begin(rd, r);
	if (rc < 0)
		return rc;
	dbconn_watch(rd->conn, &r->stop, get_end_us(rd, r));
	ex->conn = rd->conn;
	if (r->type == TYPE_TX_END)
		return control_run(ex, r);
	if (r->type == TYPE_BATCH)
		return run_batch(rd, r);
	rc = exec_prepare(ex, rd->conn, r, &r->out);
	return rc < 0 ? rc : run_statement(rd, r);
}

/* The transaction of a request that came too late: its worker knows what to do
 * with it then. */
static bool
send_back_expired(struct reader *rd, struct request *r)
{
	if (!r->tx || !atomic_load(&r->tx->expired))
		return false;
	unbind(rd);
	request_move(r, REQUEST_RUNNING);
	request_move(r, REQUEST_NEW);
	r->reroute = REROUTE_AGAIN;
	r->tx_state = TX_STATE_EXPIRED;
	mailbox_post(r, true);
	return true;
}

/* A transaction reached one of its limits: of age in all, or as somebody whose
 * snapshot keeps the WAL. */
static void
expire_old(struct reader *rd, struct tx *tx)
{
	int64_t now = clock_now_us();

	if (atomic_load(&rd->too_old))
		control_expire(tx, "reading, with the WAL over its limit,",
		    now - atomic_load(&rd->since_us), "max_snapshot_age");
	else
		control_expire(tx, "open", now - tx->held_us, "tx_max_age");
}

/* Under the lock: does the transaction end now, one way or the other?  While
 * the writer takes it over it is not this thread's to look at. */
static bool
is_over(struct reader *rd)
{
	const struct conf_db *conf = rd->pool->db_conf;
	struct tx *tx = rd->tx;
	int64_t now = clock_now_us();

	if (!tx)
		return false;
	if (rd->drop)
		return true;
	if (tx->held_us == 0)
		return false;
	if (atomic_load(&rd->pool->gone))
		tx_expire(tx, ERR_TX_EXPIRED,
		    "the transaction was ended: %s %s", conf->name,
		    CONTROL_GONE_TEXT);
	else if (atomic_load(&rd->too_old) ||
	    now - tx->held_us > conf->tx_max_age_us)
		expire_old(rd, tx);
	else if (rd->pool->line_n > 0 &&
	    now - tx->last_us > conf->tx_idle_timeout_us)
		control_expire(tx, "idle while others waited",
		    now - tx->last_us, "tx_idle_timeout");
	else
		return false;
	return true;
}

/* A transaction that the writer took over, or that is too old. */
static void
look_after_tx(struct reader *rd)
{
	bool over;

	pthread_mutex_lock(&rd->pool->lock);
	/* what has come for one that is too old is sent back */
	over = (!rd->inbox.head || atomic_load(&rd->too_old)) && is_over(rd);
	pthread_mutex_unlock(&rd->pool->lock);
	if (!over)
		return;
	roll_back(rd);
	unbind(rd);
}

/* A statement ran into its transaction's own limit. */
static bool
has_expired(const struct request *r, int rc)
{
	return rc == EXEC_OVER ||
	    (rc < 0 && r->tx && r->failure.code == ERR_SNAPSHOT_ENDED);
}

static void
expire_running(struct reader *rd, struct request *r)
{
	struct tx *tx = r->tx;

	exec_close(&rd->exec);
	roll_back(rd);
	expire_old(rd, tx);
	failure_set(&r->failure, ERR_TX_EXPIRED, "%s", tx->expired_text);
}

/* A transaction may grow too old in the middle of a result that its client does
 * not fetch. */
static bool
expire_blocked(struct reader *rd, struct request *r)
{
	bool over;

	pthread_mutex_lock(&rd->pool->lock);
	over = is_over(rd);
	pthread_mutex_unlock(&rd->pool->lock);
	if (!over)
		return false;
	exec_close(&rd->exec);
	roll_back(rd);
	failure_set(&r->failure, ERR_TX_EXPIRED, "%s", r->tx->expired_text);
	return true;
}

void
reader_run(struct squeue *q)
{
	struct reader *rd = (struct reader *)q;
	struct request *r = rd->current;
	int rc;

	if (r) {
		rc = exec_run(&rd->exec);
		if (has_expired(r, rc))
			expire_running(rd, r);
		if (rc == EXEC_BLOCKED && !expire_blocked(rd, r))
			return;
		finish(rd, r);
	} else {
		close_idle(rd);
		look_after_tx(rd);
	}
	while ((r = readers_take_next(rd))) {
		if (send_back_expired(rd, r))
			continue;
		rc = start(rd, r);
		if (has_expired(r, rc))
			expire_running(rd, r);
		if (rc == EXEC_BLOCKED) {
			rd->current = r;
			atomic_store(&rd->blocked, true);
			return;
		}
		finish(rd, r);
	}
}
