/* writer.c - the line, and who is next. */
#include "daemon/writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/mailbox.h"
#include "daemon/stats.h"
#include "daemon/tick.h"
#include "daemon/writer_impl.h"
#include "proto/error.h"

/* Why a request waited, in words: with a path or a statement. */
#define WHERE_BYTES (2 * CONF_PATH_MAX + 256)

static void writer_run(struct squeue *q);

int
writer_open(const struct conf *conf, const struct conf_db *db,
    struct crew *crew, struct writer **ret_writer, struct failure *f)
{
	struct writer *w = calloc(1, sizeof(*w));
	int rc;

	if (!w)
		return failure_set(f, ERR_NO_MEMORY, "out of memory");
	w->conf = conf;
	w->db_conf = db;
	pthread_mutex_init(&w->lock, NULL);
	squeue_init(&w->q, crew, writer_run);
	w->members = calloc(db->group_max, sizeof(*w->members));
	w->running = calloc(db->group_max, sizeof(struct request *));
	if (!w->members || !w->running)
		rc = failure_set(f, ERR_NO_MEMORY, "out of memory");
	else
		rc = dbconn_open(db, DBCONN_WRITER, &w->conn, f);
	if (rc < 0) {
		free(w->members);
		free(w->running);
		pthread_mutex_destroy(&w->lock);
		free(w);
		return rc;
	}
	wal_take_committed(w->conn); /* what was there before is not ours */
	gate_open(w);
	chores_open(w);
	*ret_writer = w;
	return 0;
}

bool
writer_has_moved(struct writer *w)
{
	w->moved = dbconn_has_moved(w->conn);
	return w->moved;
}

void
writer_set_seq(struct writer *w, uint64_t seq)
{
	atomic_store(&w->seq, seq);
}

void
writer_refuse(struct writer *w)
{
	atomic_store(&w->gone, true);
	squeue_kick(&w->q);
}

/* They kick each other, and whoever has ended does not listen. */
void
writer_stop(struct writer *w)
{
	if (!w)
		return;
	squeue_end(&w->q);
	if (w->keeper)
		keeper_stop(w->keeper);
	asks_answer(w);
}

void
writer_close(struct writer *w)
{
	if (!w)
		return;
	dbconn_close(w->conn);
	tx_unref(w->lease);
	free(w->members);
	free(w->running);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

const _Atomic uint64_t *
writer_get_seq(const struct writer *w)
{
	return &w->seq;
}

void
writer_set_others(
    struct writer *w, struct readers *readers, struct keeper *keeper)
{
	w->readers = readers;
	w->keeper = keeper;
}

struct squeue *
writer_get_queue(struct writer *w)
{
	return &w->q;
}

/* Under the lock. */
static bool
is_full(const struct writer *w, const struct request *r)
{
	size_t most = (size_t)w->db_conf->max_queue_bytes;

	/* one request always fits: it was bounded when it was read */
	return w->turns.n >= w->db_conf->max_queue ||
	    (w->turns.n > 0 && w->turns.bytes + r->bytes_n > most);
}

int
writer_submit(struct writer *w, struct request *r)
{
	bool full = false;
	size_t n;

	request_move(r, REQUEST_QUEUED);
	atomic_store(&r->runner, &w->q);
	pthread_mutex_lock(&w->lock);
	n = w->turns.n;
	if (w->in_chore)
		atomic_store(&w->chore_stop, ERR_CANCELLED);
	if (r->tx && atomic_load(&r->tx->leased)) {
		line_push(&w->inbox, r);
	} else if (!is_full(w, r)) {
		turns_push(&w->turns, r);
	} else {
		full = true;
	}
	pthread_mutex_unlock(&w->lock);
	if (full) {
		stats_add(STAT_queue_full, 1);
		failure_set(&r->failure, ERR_QUEUE_FULL,
		    "%zu writes wait for %s already; send fewer at a time or "
		    "raise max_queue and max_queue_bytes",
		    n, w->db_conf->name);
		r->failure.retry_ms = 100;
		return -ERR_QUEUE_FULL;
	}
	squeue_kick(&w->q);
	return 0;
}

void
writer_note_holder(struct writer *w)
{
	struct holder holder = { .any = w->lease != NULL };

	if (w->lease) {
		holder.owner = w->lease->owner;
		holder.held_us = w->lease->held_us;
		memcpy(holder.sql, w->lease->last_sql, sizeof(holder.sql));
	}
	pthread_mutex_lock(&w->lock);
	w->holder = holder;
	pthread_mutex_unlock(&w->lock);
}

/* Take the stopped ones out of the line. */
static struct line
take_stopped(struct writer *w, struct holder *ret_holder)
{
	struct line stopped;

	pthread_mutex_lock(&w->lock);
	stopped = turns_take_stopped(&w->turns);
	*ret_holder = w->holder;
	pthread_mutex_unlock(&w->lock);
	return stopped;
}

void
writer_note_running(struct writer *w, const struct member *m, int64_t now_us)
{
	atomic_store_explicit(
	    &w->running_at, (size_t)(m - w->members), memory_order_relaxed);
	atomic_store_explicit(&w->running_us, now_us, memory_order_relaxed);
}

void
writer_note_answering(struct writer *w)
{
	if (w->running_n == 0) /* nobody else sets it */
		return;
	pthread_mutex_lock(&w->lock);
	w->running_n = 0;
	pthread_mutex_unlock(&w->lock);
}

static void
describe_wait(struct writer *w, const struct holder *h, char *out, size_t n)
{
	if (!h->any && atomic_load(&w->locked_us))
		snprintf(out, n,
		    "while it waited for the writer, and that for a process "
		    "outside the daemon, which holds the lock on %s; find it "
		    "with: fuser -v %s",
		    w->db_conf->path, w->db_conf->path);
	else if (!h->any)
		snprintf(out, n, "while it waited for the writer");
	else
		snprintf(out, n,
		    "while it waited for the writer, which a transaction of "
		    "pid %d (%s) has held for %.1f s; its last statement: %s",
		    (int)h->owner.pid,
		    h->owner.app[0] ? h->owner.app : "no application name",
		    (double)(clock_now_us() - h->held_us) / 1e6,
		    h->sql[0] ? h->sql : "none yet");
}

/* The request leaves its transaction as it was, unless the gate took its
 * snapshot: then nothing more can be read in it. */
void
writer_set_tx_state(struct request *r)
{
	struct tx *tx = r->tx;

	if (tx->released && !atomic_load(&tx->expired))
		control_poison(tx, &r->failure);
	r->tx_state = atomic_load(&tx->expired) ? TX_STATE_EXPIRED
	    : tx->has_snapshot                  ? TX_STATE_READ
						: TX_STATE_OPEN;
}

static void
fail_locked_out(struct writer *w, struct request *r)
{
	stats_add(STAT_external_busy, 1);
	dbconn_fail_locked(w->conn, &r->failure);
}

/* Whoever asks answers them: the thread that runs the writer may be busy with a
 * long statement. */
void
writer_reap(struct writer *w)
{
	struct holder holder;
	struct line stopped = take_stopped(w, &holder);
	char where[WHERE_BYTES];
	struct request *r;

	describe_wait(w, &holder, where, sizeof(where));
	while ((r = line_pop(&stopped))) {
		if (request_get_stop(r) == ERR_EXTERNAL_BUSY)
			fail_locked_out(w, r);
		else
			request_fail_stopped(r, where);
		if (r->tx)
			writer_set_tx_state(r);
		answer_error(r, &r->out);
		mailbox_post(r, true);
	}
}

bool
writer_tick(struct writer *w)
{
	int64_t committed_us = atomic_load(&w->committed_us);
	bool has_limits = atomic_load(&w->has_lease) ||
	    atomic_load(&w->held_back) || chores_are_due(w);

	atomic_store(&w->ticked, true);
	writer_look_at_asks(w);
	/* a log that nobody writes to is copied: once, about a second later */
	if (has_limits ||
	    (committed_us && clock_now_us() - committed_us > GATE_IDLE_US))
		squeue_kick(&w->q);
	return has_limits || committed_us;
}

bool
writer_get_view(struct writer *w, struct wal_view *ret)
{
	return wal_get_view(w->conn, ret);
}

int64_t
writer_get_longest(const struct writer *w)
{
	return atomic_load(&w->longest_bytes);
}

void
writer_note_gone(struct writer *w, enum writer_file file)
{
	int none = WRITER_NO_FILE;

	if (atomic_compare_exchange_strong(&w->lost, &none, (int)file))
		squeue_kick(&w->q);
}

bool
writer_is_busy(const struct writer *w)
{
	return atomic_load(&w->has_lease) || atomic_load(&w->in_turn);
}

void
writer_get_holder(
    struct writer *w, struct owner *ret, char ret_sql[TX_SQL_BYTES])
{
	pthread_mutex_lock(&w->lock);
	if (w->holder.any) {
		*ret = w->holder.owner;
		memcpy(ret_sql, w->holder.sql, TX_SQL_BYTES);
	}
	pthread_mutex_unlock(&w->lock);
}

size_t
writer_get_queue_n(struct writer *w)
{
	size_t n;

	pthread_mutex_lock(&w->lock);
	n = w->turns.n;
	pthread_mutex_unlock(&w->lock);
	return n;
}

bool
writer_is_wanted(struct writer *w)
{
	return writer_get_queue_n(w) > 0;
}

struct request *
writer_take_inbox(struct writer *w)
{
	struct request *r;

	pthread_mutex_lock(&w->lock);
	r = line_pop(&w->inbox);
	pthread_mutex_unlock(&w->lock);
	return r;
}

void
writer_return(struct writer *w, size_t from, size_t n)
{
	pthread_mutex_lock(&w->lock);
	for (size_t i = n; i > from; i--)
		turns_return(&w->turns, w->members[i - 1].r);
	w->running_n = from;
	pthread_mutex_unlock(&w->lock);
	if (from < n)
		writer_reap(w); /* some may have been told to stop meanwhile */
}

/* A transaction that is large beside what the WAL may have is worth noting. */
static void
note_size(struct writer *w, const struct request *r)
{
	uint32_t frames = wal_get_frames(w->conn);
	uint32_t added = frames > w->frames ? frames - w->frames : frames;
	int64_t bytes = wal_count_bytes(w->conn, added);

	gate_look_for_restart(w); /* it begins anew by a commit */
	if (wal_count_bytes(w->conn, frames) > atomic_load(&w->longest_bytes))
		atomic_store(
		    &w->longest_bytes, wal_count_bytes(w->conn, frames));
	w->frames = frames;
	if (bytes >= w->db_conf->wal_limit_bytes / 4)
		health_note_commit(keeper_get_log(w->keeper), bytes, r);
}

uint64_t
writer_count_commit(struct writer *w, const struct request *r)
{
	int64_t began = w->commit_us, now;

	w->commit_us = 0;
	/* what changed nothing is no commit: it makes no snapshot old */
	if (!wal_take_committed(w->conn))
		return 0;
	now = clock_now_us();
	if (atomic_load(&w->locked_us))
		atomic_store(&w->locked_us, 0); /* we had the lock */
	stats_add(STAT_commits, 1);
	if (began)
		stats_observe(
		    dbconn_get_stats(w->conn), HIST_commit, now - began);
	atomic_store(&w->committed_us, now);
	tick_want();
	stats_max(STAT_wal_frames_max, wal_get_frames(w->conn));
	if (r)
		note_size(w, r);
	return atomic_fetch_add(&w->seq, 1) + 1;
}

void
writer_roll_back(struct writer *w)
{
	struct failure f;

	failure_init(&f);
	if (dbconn_in_tx(w->conn))
		dbconn_run(w->conn, DBCONN_ROLLBACK, &f);
	failure_fini(&f);
	w->is_stuck = dbconn_in_tx(w->conn);
}

/* --- Looking ---------------------------------------------------------------- */

/* Under the lock: it waits or runs, so its bytes are there. */
static void
look_at(const struct request *r, int64_t since_us, struct writer_waiter *ret)
{
	const struct span sql = r->sql.n || r->steps_n == 0 ? r->sql
							    : r->steps[0].sql;
	size_t n = sql.n < sizeof(ret->sql) ? sql.n : sizeof(ret->sql) - 1;

	*ret = (struct writer_waiter){ .since_us = since_us };
	if (r->owner)
		ret->owner = *r->owner;
	if (n)
		memcpy(ret->sql, sql.p, n);
}

/* Under the lock. */
static void
look_at_holder(struct writer *w, struct writer_look *ret)
{
	size_t at = atomic_load(&w->running_at);

	if (w->running_n > 0) {
		ret->state = WRITER_WRITING;
		look_at(w->running[at < w->running_n ? at : 0],
		    atomic_load(&w->running_us), &ret->holder);
	} else if (w->holder.any) {
		ret->state = WRITER_LEASED;
		ret->holder.owner = w->holder.owner;
		ret->holder.since_us = w->holder.held_us;
		memcpy(ret->holder.sql, w->holder.sql, sizeof(w->holder.sql));
	}
}

static void
note_oldest(struct request *r, void *arg)
{
	int64_t *oldest_us = arg;

	if (*oldest_us == 0 || r->arrived_us < *oldest_us)
		*oldest_us = r->arrived_us;
}

size_t
writer_look(struct writer *w, struct writer_look *ret,
    struct writer_waiter *line, size_t most)
{
	struct request *waiting[WRITER_LOOK_MAX];
	size_t n;

	*ret = (struct writer_look){ .state = WRITER_IDLE };
	if (most > WRITER_LOOK_MAX)
		most = WRITER_LOOK_MAX;
	pthread_mutex_lock(&w->lock);
	look_at_holder(w, ret);
	ret->line_n = w->turns.n;
	ret->line_bytes = w->turns.bytes;
	turns_each(&w->turns, note_oldest, &ret->oldest_us);
	n = turns_list(&w->turns, waiting, most);
	for (size_t i = 0; i < n; i++)
		look_at(waiting[i], waiting[i]->arrived_us, &line[i]);
	pthread_mutex_unlock(&w->lock);
	return n;
}

const char *
writer_get_state_name(enum writer_state state)
{
	static const char *const names[] = {
		[WRITER_IDLE] = "idle",
		[WRITER_WRITING] = "writing",
		[WRITER_LEASED] = "transaction",
	};

	return names[state];
}

/* --- Running: a thread of the crew --------------------------------------- */

static bool
can_share(const struct request *r)
{
	return !r->tx && !r->unknown &&
	    (r->type == TYPE_BATCH || r->kind == KIND_WRITE);
}

/* Fill w->members with those whose turn it is: as many as can share one commit,
 * or the one that cannot.  Bounded in count and bytes. */
static size_t
take_members(struct writer *w)
{
	size_t n = 0, bytes = 0;
	struct request *r;

	pthread_mutex_lock(&w->lock);
	while ((r = turns_peek(&w->turns)) && n < w->db_conf->group_max) {
		if (n > 0 &&
		    (!can_share(r) || bytes > (size_t)w->db_conf->group_bytes))
			break;
		turns_pop(&w->turns);
		bytes += r->bytes_n;
		w->running[n] = r;
		w->members[n++] = (struct member){ .r = r };
		if (!can_share(r))
			break;
	}
	w->running_n = n;
	pthread_mutex_unlock(&w->lock);
	return n;
}

static void
refuse_members(struct writer *w, size_t n, int code, const char *text)
{
	for (size_t i = 0; i < n; i++) {
		struct request *r = w->members[i].r;

		writer_note_answering(w);
		failure_set(&r->failure, code, "%s %s", w->db_conf->name, text);
		answer_error(r, &r->out);
		mailbox_post(r, true);
	}
}

static void
run_members(struct writer *w, size_t n)
{
	struct request *first = w->members[0].r;

	if (w->is_stuck)
		writer_roll_back(w);
	if (w->alarm)
		refuse_members(w, n, ERR_DATABASE_DOWN, w->alarm);
	else if (atomic_load(&w->gone))
		refuse_members(w, n, ERR_DATABASE_DOWN, CONTROL_GONE_TEXT);
	else if (w->is_stuck)
		refuse_members(w, n, ERR_NO_MEMORY,
		    "cannot undo a write that failed before: out of memory");
	else if (first->tx)
		lease_start(w, first);
	else if (can_share(first))
		group_run(w, n);
	else if (first->type == TYPE_SCRIPT)
		script_run(w, first);
	else
		group_run_alone(w, first);
}

/* One turn: the lease, or the next members of the line.  A queue with more to
 * do lets the other databases have the thread first. */
static void
writer_run(struct squeue *q)
{
	struct writer *w = (struct writer *)q;
	size_t n;

	lease_run(w);
	if (w->lease || writer_is_locked_out(w))
		return;
	if (w->script.r)
		script_go_on(w);
	if (w->script.r)
		return;
	gate_run(w); /* after the answers of the last turn */
	if (gate_holds(w))
		return;
	n = take_members(w);
	if (n == 0) {
		if (chores_are_due(w))
			chores_run(w);
		return;
	}
	atomic_store_explicit(&w->in_turn, true, memory_order_relaxed);
	run_members(w, n);
	atomic_store_explicit(&w->in_turn, false, memory_order_relaxed);
	squeue_kick(q);
}
