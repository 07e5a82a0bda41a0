/* readers.c - the heavy readers of a database: which of them has what to do, and the
 * line in front of them.
 *
 * Threads: any. */
#include <stdlib.h>
#include <string.h>

#include "daemon/clock.h"
#include "daemon/mailbox.h"
#include "daemon/reader_impl.h"
#include "daemon/stats.h"
#include "daemon/tick.h"
#include "proto/error.h"

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
		rc = reader_open(rd, f);
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

/* Under the lock. */
static void
drop(struct tx *tx)
{
	struct reader *rd = tx->reader;

	if (!rd)
		return;
	rd->drop = true;
	squeue_kick(&rd->q);
}

void
readers_drop(struct readers *rs, struct tx *tx)
{
	pthread_mutex_lock(&rs->lock);
	drop(tx);
	pthread_mutex_unlock(&rs->lock);
}

int
readers_release(struct readers *rs, struct tx *tx, struct failure *f)
{
	bool expired;

	pthread_mutex_lock(&rs->lock);
	expired = atomic_load(&tx->expired) != 0;
	if (!expired)
		drop(tx);
	pthread_mutex_unlock(&rs->lock);
	return expired ? failure_set(f, ERR_TX_EXPIRED, "%s", tx->expired_text)
		       : 0;
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

struct request *
readers_take_next(struct reader *rd)
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
