/* reader.c - heavy readers. */
#include "daemon/reader.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/clock.h"
#include "daemon/mailbox.h"
#include "daemon/stats.h"
#include "daemon/tick.h"
#include "daemon/wal.h"
#include "proto/error.h"

struct reader {
	struct squeue q; /* first: the queue is the reader */
	struct readers *pool;

	/* under the pool's lock */
	struct reader *next_free;
	bool idle;       /* it is in the list of free ones, */
	int64_t idle_us; /* since then; */
	bool leaves;     /* and is to close its connection */
	struct line inbox;
	struct tx *tx;           /* referenced; whose snapshot it holds */
	bool drop;               /* the writer has taken tx over */
	struct request *running; /* or stands still; NULL: none */
	struct owner owner;      /* whose snapshot it holds, with which */
	char sql[TX_SQL_BYTES];  /* statement; kept from the last one's end */

	/* any thread */
	_Atomic int64_t since_us; /* of its snapshot; 0: it holds none */
	_Atomic bool blocked;     /* current is set */
	_Atomic bool too_old;     /* it is to be ended: readers_end_old */
	_Atomic bool is_open;     /* conn is there */

	/* whoever runs it */
	struct dbconn *conn;     /* opened at a request */
	struct request *current; /* blocked: the client's window is full */
	struct exec exec;        /* its state */
};

struct readers {
	const struct conf_db *db_conf;
	const struct dbfile *file; /* borrowed */
	struct crew *crew;
	_Atomic bool gone; /* the file */

	pthread_mutex_t lock; /* for what follows */
	struct reader *free;
	struct line line;
	size_t line_n;
	unsigned readers_n;
	_Atomic(struct snapshot_guest *) guests; /* read without it, too */
	struct reader *all[];                    /* read_connections of them */
};

static void reader_run(struct squeue *q);

int
readers_new(const struct conf_db *db, const struct dbfile *file,
    struct crew *crew, struct readers **ret_readers)
{
	struct readers *rs = calloc(
	    1, sizeof(*rs) + db->read_connections * sizeof(struct reader *));

	if (!rs)
		return -ERR_NO_MEMORY;
	rs->file = file;
	rs->db_conf = db;
	rs->crew = crew;
	pthread_mutex_init(&rs->lock, NULL);
	*ret_readers = rs;
	return 0;
}

void
readers_free(struct readers *rs)
{
	if (!rs)
		return;
	for (unsigned i = 0; i < rs->readers_n; i++) {
		squeue_end(&rs->all[i]->q);
		dbconn_close(rs->all[i]->conn);
		tx_unref(rs->all[i]->tx);
		free(rs->all[i]);
	}
	pthread_mutex_destroy(&rs->lock);
	free(rs);
}

/* Under the lock. */
static struct reader *
add_reader(struct readers *rs)
{
	struct reader *rd;

	if (rs->readers_n == rs->db_conf->read_connections)
		return NULL;
	rd = calloc(1, sizeof(*rd));
	if (!rd)
		return NULL;
	squeue_init(&rd->q, rs->crew, reader_run);
	rd->pool = rs;
	rs->all[rs->readers_n++] = rd;
	return rd;
}

/* Under the lock: a reader that has nothing to do, the one that had something last;
 * or a new one. */
static struct reader *
find_idle(struct readers *rs)
{
	struct reader *rd = rs->free;

	if (!rd)
		return add_reader(rs);
	rs->free = rd->next_free;
	rd->idle = rd->leaves = false;
	return rd;
}

/* Under the lock. */
static void
put_idle(struct reader *rd)
{
	rd->next_free = rd->pool->free;
	rd->pool->free = rd;
	rd->idle = true;
	rd->idle_us = clock_now_us();
}

static int
open_conn(struct reader *rd, struct failure *f)
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

int
readers_preload(struct readers *rs, struct failure *f)
{
	unsigned most = rs->db_conf->min_read_connections;
	int rc = 0;

	while (rc == 0 && rs->readers_n < most &&
	    rs->readers_n < rs->db_conf->read_connections) {
		struct reader *rd = add_reader(rs);

		if (!rd)
			return failure_set(f, ERR_NO_MEMORY, "out of memory");
		rc = open_conn(rd, f);
		put_idle(rd);
	}
	return rc;
}

/* Under the lock. */
static unsigned
count_open_in_use(const struct readers *rs)
{
	unsigned n = 0;

	for (unsigned i = 0; i < rs->readers_n; i++)
		n += !rs->all[i]->idle && atomic_load(&rs->all[i]->is_open);
	return n;
}

/* Those that were used last stay: they are in front, and are the next ones. */
void
readers_close_idle(struct readers *rs, int64_t before_us)
{
	unsigned n;

	pthread_mutex_lock(&rs->lock);
	n = count_open_in_use(rs);
	for (struct reader *rd = rs->free; rd; rd = rd->next_free) {
		if (!atomic_load(&rd->is_open) ||
		    n++ < rs->db_conf->min_read_connections ||
		    rd->idle_us >= before_us)
			continue;
		rd->leaves = true;
		squeue_kick(&rd->q);
	}
	pthread_mutex_unlock(&rs->lock);
}

/* Under the lock: hand it over. */
static void
assign(struct reader *rd, struct request *r)
{
	if (r->tx && !rd->tx) {
		rd->tx = tx_ref(r->tx);
		r->tx->reader = rd;
	}
	atomic_store(&r->runner, &rd->q);
	line_push(&rd->inbox, r);
}

int
readers_submit(struct readers *rs, struct request *r)
{
	struct reader *rd;
	bool full = false;
	size_t line_n;

	request_move(r, REQUEST_QUEUED);
	pthread_mutex_lock(&rs->lock);
	line_n = rs->line_n;
	rd = r->tx && r->tx->reader ? r->tx->reader : find_idle(rs);
	if (rd) {
		assign(rd, r);
	} else if (rs->line_n < rs->db_conf->max_queue) {
		line_push(&rs->line, r);
		rs->line_n++;
	} else {
		full = true;
	}
	pthread_mutex_unlock(&rs->lock);
	if (full) {
		stats_add(STAT_queue_full, 1);
		return failure_set(&r->failure, ERR_QUEUE_FULL,
		    "%zu reads wait for one of %u connections of %s already; "
		    "try again later, or raise read_connections",
		    line_n, rs->db_conf->read_connections, rs->db_conf->name);
	}
	if (rd)
		squeue_kick(&rd->q);
	return 0;
}

/* Under the lock: what a reader was given and has not begun.  A transaction that
 * it would have begun with is not its own yet. */
static void
take_stopped_inbox(struct reader *rd, struct line *stopped)
{
	struct line mine = line_take_stopped(&rd->inbox);
	struct request *r;

	if (mine.head && rd->tx && rd->tx->held_us == 0) {
		rd->tx->reader = NULL;
		tx_unref(rd->tx);
		rd->tx = NULL;
	}
	while ((r = line_pop(&mine)))
		line_push(stopped, r);
	squeue_kick(&rd->q); /* it may be free now */
}

/* Whoever asks answers them: the threads of the crew may all be busy. */
void
readers_reap(struct readers *rs)
{
	struct line stopped;
	struct request *r;

	pthread_mutex_lock(&rs->lock);
	stopped = line_take_stopped(&rs->line);
	for (r = stopped.head; r; r = r->next)
		rs->line_n--;
	for (unsigned i = 0; i < rs->readers_n; i++)
		if (rs->all[i]->inbox.head)
			take_stopped_inbox(rs->all[i], &stopped);
	pthread_mutex_unlock(&rs->lock);
	while ((r = line_pop(&stopped))) {
		request_fail_stopped(r, "while it waited for a connection");
		if (r->tx)
			r->tx_state = !tx_has_begun(r->tx) ? TX_STATE_NONE
			    : r->tx->has_snapshot          ? TX_STATE_READ
							   : TX_STATE_OPEN;
		answer_error(r, &r->out);
		mailbox_post(r, true);
	}
}

void
readers_drop(struct readers *rs, struct tx *tx)
{
	struct reader *rd;

	pthread_mutex_lock(&rs->lock);
	rd = tx->reader;
	if (rd)
		rd->drop = true;
	pthread_mutex_unlock(&rs->lock);
	if (rd)
		squeue_kick(&rd->q);
}

int
readers_release(struct readers *rs, struct tx *tx, struct failure *f)
{
	bool expired;

	pthread_mutex_lock(&rs->lock);
	expired = atomic_load(&tx->expired) != 0;
	if (!expired && tx->reader)
		tx->reader->drop = true;
	pthread_mutex_unlock(&rs->lock);
	if (expired)
		return failure_set(f, ERR_TX_EXPIRED, "%s", tx->expired_text);
	readers_drop(rs, tx);
	return 0;
}

void
readers_refuse(struct readers *rs)
{
	atomic_store(&rs->gone, true);
	readers_tick(rs);
}

void
readers_look(struct readers *rs, struct readers_look *ret)
{
	*ret = (struct readers_look){ 0 };
	pthread_mutex_lock(&rs->lock);
	ret->open_n = ret->busy_n = rs->readers_n;
	for (const struct reader *rd = rs->free; rd; rd = rd->next_free)
		ret->busy_n--;
	for (unsigned i = 0; i < rs->readers_n; i++)
		ret->snapshots_n += atomic_load(&rs->all[i]->since_us) != 0;
	ret->line_n = rs->line_n;
	if (rs->line.head)
		ret->oldest_us = rs->line.head->arrived_us;
	pthread_mutex_unlock(&rs->lock);
}

bool
readers_tick(struct readers *rs)
{
	bool in_use = false;

	pthread_mutex_lock(&rs->lock);
	for (unsigned i = 0; i < rs->readers_n; i++) {
		struct reader *rd = rs->all[i];

		in_use |= rd->tx || rd->running;
		if (rd->tx)
			squeue_kick(&rd->q);
	}
	pthread_mutex_unlock(&rs->lock);
	return in_use;
}

static void
describe_snapshot(struct reader *rd, int64_t since_us, struct snapshot *s)
{
	s->kind = atomic_load(&rd->blocked) ? SNAPSHOT_STREAM
	    : rd->tx                        ? SNAPSHOT_TX
					    : SNAPSHOT_READ;
	s->owner = rd->owner;
	s->since_us = since_us;
	memcpy(s->sql, rd->sql, sizeof(s->sql));
}

/* Put it in its place among n that are there already; of more than most the
 * youngest is dropped. */
static void
insert_snapshot(
    struct snapshot *list, size_t n, size_t most, const struct snapshot *s)
{
	size_t at = n < most ? n : most;

	while (at > 0 && list[at - 1].since_us > s->since_us) {
		if (at < most)
			list[at] = list[at - 1];
		at--;
	}
	if (at < most)
		list[at] = *s;
}

const char *
snapshot_get_kind_name(enum snapshot_kind kind)
{
	static const char *const names[] = {
		[SNAPSHOT_READ] = "read",
		[SNAPSHOT_STREAM] = "stream",
		[SNAPSHOT_TX] = "transaction",
		[SNAPSHOT_BACKUP] = "backup",
	};

	return names[kind];
}

size_t
readers_list_snapshots(
    struct readers *rs, struct snapshot *ret_list, size_t most)
{
	struct snapshot s;
	size_t n = 0;

	pthread_mutex_lock(&rs->lock);
	for (unsigned i = 0; i < rs->readers_n; i++) {
		int64_t since_us = atomic_load(&rs->all[i]->since_us);

		if (since_us == 0)
			continue;
		describe_snapshot(rs->all[i], since_us, &s);
		insert_snapshot(ret_list, n++, most, &s);
	}
	for (const struct snapshot_guest *g = rs->guests; g; g = g->next)
		insert_snapshot(ret_list, n++, most, &g->snapshot);
	pthread_mutex_unlock(&rs->lock);
	return n;
}

void
readers_add_guest(struct readers *rs, struct snapshot_guest *guest)
{
	pthread_mutex_lock(&rs->lock);
	guest->next = rs->guests;
	rs->guests = guest;
	pthread_mutex_unlock(&rs->lock);
}

void
readers_remove_guest(struct readers *rs, struct snapshot_guest *guest)
{
	struct snapshot_guest *before;

	pthread_mutex_lock(&rs->lock);
	before = rs->guests;
	if (before == guest) {
		rs->guests = guest->next;
	} else {
		while (before->next != guest)
			before = before->next;
		before->next = guest->next;
	}
	pthread_mutex_unlock(&rs->lock);
}

bool
readers_has_guest(const struct readers *rs)
{
	return atomic_load_explicit(&rs->guests, memory_order_relaxed) != NULL;
}

unsigned
readers_end_old(struct readers *rs, int64_t before_us)
{
	unsigned n = 0;

	pthread_mutex_lock(&rs->lock);
	for (unsigned i = 0; i < rs->readers_n; i++) {
		struct reader *rd = rs->all[i];
		int64_t since_us = atomic_load(&rd->since_us);

		if (since_us == 0 || since_us >= before_us ||
		    atomic_exchange(&rd->too_old, true))
			continue;
		if (rd->running)
			request_stop(rd->running, ERR_SNAPSHOT_ENDED);
		squeue_kick(&rd->q);
		n++;
	}
	pthread_mutex_unlock(&rs->lock);
	stats_add(STAT_snapshots_ended, n);
	return n;
}

/* --- Running: a thread of the crew --------------------------------------- */

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

/* Under the lock: say what it runs from now on. */
static void
note_running(struct reader *rd, struct request *r)
{
	struct span sql = r->steps_n > 0 ? r->steps[0].sql : r->sql;
	size_t n = sql.n < TX_SQL_BYTES ? sql.n : TX_SQL_BYTES - 1;

	rd->running = r;
	rd->owner = r->tx ? r->tx->owner : *r->owner;
	if (n == 0)
		return; /* TX_END */
	memcpy(rd->sql, sql.p, n);
	rd->sql[n] = '\0';
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
	rc = open_conn(rd, &r->failure);
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

/* The next request for this reader, or NULL: then it is free, or keeps its
 * transaction. */
static struct request *
next_request(struct reader *rd)
{
	struct readers *rs = rd->pool;
	struct request *r;

	pthread_mutex_lock(&rs->lock);
	r = line_pop(&rd->inbox);
	if (!r && !rd->tx) {
		r = line_pop(&rs->line);
		if (r) {
			rs->line_n--;
			assign(rd, r);
			r = line_pop(&rd->inbox);
		} else if (!rd->idle) {
			put_idle(rd);
		}
	}
	if (r)
		note_running(rd, r);
	pthread_mutex_unlock(&rs->lock);
	if (r)
		tick_want();
	return r;
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

static void
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
	while ((r = next_request(rd))) {
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
