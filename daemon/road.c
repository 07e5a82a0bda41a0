/* road.c - requests on their way out: run here, handed over, or made to wait.
 *
 * Thread: the worker. */
#include "daemon/road.h"

#include "daemon/backup.h"
#include "daemon/clock.h"
#include "daemon/hots.h"
#include "daemon/local.h"
#include "daemon/road_impl.h"
#include "daemon/router.h"
#include "daemon/slice.h"
#include "daemon/stats.h"
#include "proto/error.h"

/* Reads of one client that are with the heavy readers at a time. */
#define CLIENT_READS_MAX 8

/* Transactions that one client may have open, on as many streams. */
#define SESSIONS_MAX 64

static void
submit_read(struct client *cl, struct request *r)
{
	r->reads = true;
	cl->reading_n++;
	if (readers_submit(r->db->readers, r) < 0)
		local_fail(cl, r);
}

/* A client may have a few reads with the readers, counted until their results
 * are sent: more would take the connections from the others, and a client that
 * reads none of its results would fill the memory with them. */
static void
hand_to_readers(struct client *cl, struct request *r)
{
	if (road_send_away(cl, r) < 0) {
		local_fail(cl, r);
	} else if (cl->reading_n >= CLIENT_READS_MAX) {
		road_wait_in(&cl->reads, r);
		cl->loop->waiting_n++;
	} else {
		submit_read(cl, r);
	}
}

void
road_waiting(struct loop *loop)
{
	if (loop->waiting_n == 0)
		return;
	for (struct client *cl = loop->clients; cl; cl = cl->next) {
		while (cl->reads.head && cl->reading_n < CLIENT_READS_MAX) {
			loop->waiting_n--;
			submit_read(cl, road_pop_waiting(&cl->reads));
		}
	}
}

bool
road_lets_end(struct client *cl, struct request *r)
{
	const struct session *s = session_find(cl->sessions, r->stream);

	if (!s || !s->hot || s->db != r->db || !s->hot->conn ||
	    !router_is_end(r, s->hot->conn))
		return false;
	failure_fini(&r->failure);
	return true;
}

/* The only way to a writer: a client that may not write has none. */
static int
submit_write(struct client *cl, struct request *r)
{
	if (r->type != TYPE_TX_END &&
	    access_check(&cl->peer, cl->loop->conf, r->db->conf, RIGHT_WRITE,
		&r->failure) < 0 &&
	    !road_lets_end(cl, r))
		return -r->failure.code;
	if (!r->place) {
		r->place = client_get_place(cl, r->db);
		if (!r->place)
			return failure_set(&r->failure, ERR_NO_MEMORY,
			    "out of memory for a request");
		r->place->requests_n++;
	}
	return writer_submit(r->db->writer, r);
}

static void
hand_to_writer(struct client *cl, struct request *r)
{
	r->is_write = r->tx == NULL;
	if (road_send_away(cl, r) < 0 || submit_write(cl, r) < 0)
		local_fail(cl, r);
}

/* What is not known is for the writer to find out, in the order of what its client
 * sent.  One who may not write has no such order, and a reader finds out as well. */
static bool
is_for_readers(struct client *cl, const struct request *r)
{
	return r->unknown && !r->rerouted &&
	    !access_may(&cl->peer, cl->loop->conf, r->db->conf, RIGHT_WRITE);
}

static void
hand_to_backups(struct client *cl, struct request *r)
{
	struct backup_source source = { r->db->conf, r->db->readers };

	if (road_send_away(cl, r) < 0 ||
	    backup_start(r->db->dbs->backups, r->order, &source, r) < 0)
		local_fail(cl, r);
}

static void
run_inline(struct client *cl, struct request *r)
{
	struct loop *loop = cl->loop;
	struct hot *hot = r->hot;
	struct buf *b = client_begin_reply(cl);
	bool borrows = !r->vars;
	enum hot_result result = HOT_ANSWERED;

	if (!b) {
		client_free_request(cl, r);
		return;
	}
	if (borrows)
		r->vars = cl->vars;
	if (!r->owner) /* else it has its own copy, for another thread */
		r->owner = &cl->owner;
	result = hot_run(hot, loop->conf, r, b, !loop->collected.head);
	if (hot->batching && !hot->listed) {
		hot->listed = true;
		hot->next_batch = loop->batches;
		loop->batches = hot;
	}
	if (borrows)
		r->vars = NULL;
	client_end_reply(cl, b);
	if (result == HOT_TOO_LONG) {
		hand_to_readers(cl, r);
		return;
	}
	slice_charge(cl, r->ended_us);
	client_free_request(cl, r);
}

/* The last write that the client has under way on a database, or NULL. */
static struct request *
find_write(const struct client *cl, const struct db *db)
{
	struct request *w = cl->away_n ? cl->requests : NULL;

	while (w && (!w->is_write || w->home_again || w->db != db))
		w = w->all_next;
	return w;
}

/* A read sent after a write sees that write: it waits for it.  1: it does; 0: it
 * need not; -1: it was refused and answered. */
static int
park(struct client *cl, struct request *r)
{
	struct request *w = find_write(cl, r->db);

	if (!w || w == r || r->waited)
		return 0;
	if (road_send_away(cl, r) < 0) {
		local_fail(cl, r);
		return -1;
	}
	r->behind = w;
	r->waited = true;
	if (request_get_state(r) == REQUEST_NEW)
		request_move(r, REQUEST_PARKED);
	road_wait_in(&cl->parked, r);
	return 1;
}

/* --- Transactions ------------------------------------------------------------ */

static bool
begin(struct client *cl, struct request *r, enum msg_tx_mode mode)
{
	struct session *s;

	if ((mode == TX_MODE_IMMEDIATE || mode == TX_MODE_EXCLUSIVE) &&
	    access_check(&cl->peer, cl->loop->conf, r->db->conf, RIGHT_WRITE,
		&r->failure) < 0) {
		local_fail(cl, r);
		return false;
	}
	if (session_count(cl->sessions) >= SESSIONS_MAX) {
		failure_set(&r->failure, ERR_QUEUE_FULL,
		    "%d transactions are open on this connection; end some",
		    SESSIONS_MAX);
		local_fail(cl, r);
		return false;
	}
	s = session_begin(&cl->sessions, r->stream, mode, &cl->owner);
	if (!s) {
		failure_set(&r->failure, ERR_NO_MEMORY, "out of memory");
		local_fail(cl, r);
		return false;
	}
	stats_add(STAT_transactions, 1);
	return true;
}

/* The transaction is over: what stands behind it is outside of it. */
static void
end_session(struct client *cl, struct session *s)
{
	struct line rest = s->line;
	struct request *r;

	s->line = (struct line){ 0 };
	session_end(&cl->sessions, s);
	while ((r = road_pop_waiting(&rest))) {
		r->session = NULL;
		road_go_on(cl, r);
	}
}

static void
run_in_session(struct client *cl, struct session *s, struct request *r)
{
	enum road road;

	session_refresh(s);
	r->tx_state = s->state;
	road = router_choose_in_tx(
	    r, s, r->hot->conn, find_write(cl, r->db) != NULL);
	r->reroute = REROUTE_NOT;
	if (road == ROAD_READERS && !s->tx->has_snapshot) {
		int parked = park(cl, r);

		if (parked) {
			s->running = parked > 0 ? r : NULL;
			return;
		}
	}
	if (road == ROAD_READERS || road == ROAD_WRITER) {
		if (!r->tx)
			r->tx = tx_ref(s->tx);
		s->running = r;
		if (road_send_away(cl, r) < 0 ||
		    (road == ROAD_READERS ? readers_submit(r->db->readers, r)
					  : submit_write(cl, r)) < 0) {
			s->running = NULL;
			r->tx_state = session_get_state(s);
			local_fail(cl, r);
		}
		return;
	}
	if (road == ROAD_END) {
		s->state = TX_STATE_NONE;
		r->tx_state = TX_STATE_NONE;
		local_answer_control(cl, r);
		return;
	}
	r->tx_state = session_get_state(s);
	local_fail(cl, r);
}

void
road_pump(struct client *cl, struct session *s)
{
	struct request *r;

	while (!s->running && session_get_state(s) != TX_STATE_NONE &&
	    (r = session_take(s))) {
		bool has_waited = r->away;

		r->waits = NULL;
		if (has_waited && !slice_has_time(cl) && !cl->closed) {
			s->running = r;
			road_wait_again(cl, r);
			return;
		}
		if (has_waited)
			slice_begin(cl->loop);
		run_in_session(cl, s, r);
		if (has_waited)
			slice_charge(cl, clock_now_us());
	}
	if (!s->running && session_get_state(s) == TX_STATE_NONE)
		end_session(cl, s);
}

void
road_resume_in_session(struct client *cl, struct session *s, struct request *r)
{
	s->running = NULL;
	if (cl->closed) {
		client_free_request(cl, r);
		return;
	}
	run_in_session(cl, s, r);
	road_pump(cl, s);
}

/* SAVEPOINT outside a transaction begins one and is its first statement. */
static void
begin_savepoint(struct client *cl, struct request *r)
{
	struct session *s;

	if (!begin(cl, r, TX_MODE_DEFERRED))
		return;
	s = cl->sessions;
	s->tx->implicit = true;
	session_bind(s, r->db, r->hot);
	r->session = s;
	run_in_session(cl, s, r);
	road_pump(cl, s);
}

static void
join_session(struct client *cl, struct session *s, struct request *r)
{
	if (s->db && s->db != r->db) {
		failure_set(&r->failure, ERR_TX_ACTIVE,
		    "this stream has a transaction on database %s; end it "
		    "first, or use another stream",
		    s->db->conf->name);
		r->tx_state = s->state;
		local_fail(cl, r);
		return;
	}
	if (!s->db)
		session_bind(s, r->db, r->hot);
	r->session = s;
	if (s->running && road_send_away(cl, r) < 0) {
		local_fail(cl, r);
		return;
	}
	road_wait_in(&s->line, r);
	road_pump(cl, s);
}

/* --- Taking a road ------------------------------------------------------------ */

static void
take_road(
    struct client *cl, struct request *r, enum road road, enum msg_tx_mode mode)
{
	switch (road) {
	case ROAD_ERROR:
		local_fail(cl, r);
		return;
	case ROAD_INLINE:
		if (!park(cl, r))
			run_inline(cl, r);
		return;
	case ROAD_READERS:
		if (r->tx || !park(cl, r))
			hand_to_readers(cl, r);
		return;
	case ROAD_WRITER:
		if (is_for_readers(cl, r))
			hand_to_readers(cl, r);
		else
			hand_to_writer(cl, r);
		return;
	case ROAD_BEGIN:
		if (!begin(cl, r, mode))
			return;
		r->tx_state = TX_STATE_OPEN;
		local_answer_control(cl, r);
		return;
	case ROAD_SAVEPOINT:
		begin_savepoint(cl, r);
		return;
	case ROAD_END:
		local_answer_control(cl, r);
		return;
	}
}

/* End what is not to begin any more; says whether it did. */
static bool
end_if_over(struct client *cl, struct request *r)
{
	if (cl->closed) {
		client_free_request(cl, r);
		return true;
	}
	if (request_get_stop(r)) {
		request_fail_stopped(r, "before it began");
		local_fail(cl, r);
		return true;
	}
	return false;
}

void
road_take_outside(struct client *cl, struct request *r)
{
	enum msg_tx_mode mode = TX_MODE_DEFERRED;
	enum road road;

	if (end_if_over(cl, r))
		return;
	if (r->type == TYPE_DESCRIBE || r->type == TYPE_PREPARE) {
		local_reply(cl, r, local_describe);
		return;
	}
	road = router_choose(r, r->hot->conn, cl->loop->conf,
	    find_write(cl, r->db) != NULL, &mode);
	take_road(cl, r, road, mode);
}

/* The connection of its database is not here: it waits for that. */
static void
wait_for_hot(struct client *cl, struct request *r)
{
	struct hot *h = r->hot;

	if (h->waiting_n >= r->db->conf->max_queue) {
		stats_add(STAT_queue_full, 1);
		failure_set(&r->failure, ERR_QUEUE_FULL,
		    "%u requests wait until %s is open already; try again "
		    "later, or raise max_queue",
		    h->waiting_n, r->db->conf->name);
		r->failure.retry_ms = 100;
		local_fail(cl, r);
		return;
	}
	if (road_send_away(cl, r) < 0) {
		local_fail(cl, r);
		return;
	}
	road_wait_in(&h->waiting, r);
	h->waiting_n++;
}

/* Find its database's connection on this worker.  False: it waits for that, or
 * is answered. */
static bool
find_hot(struct client *cl, struct request *r, const struct session *s)
{
	if (!r->away)
		r->hot = hots_get(cl->loop, r->db);
	if (!r->hot) {
		failure_set(&r->failure, ERR_NO_MEMORY, "out of memory");
		local_fail(cl, r);
		return false;
	}
	atomic_store_explicit(
	    &r->hot->used_us, r->arrived_us, memory_order_relaxed);
	if (r->hot->conn && ((s && s->db) || !r->hot->leaving))
		return true;
	wait_for_hot(cl, r);
	return false;
}

void
road_take(struct client *cl, struct request *r)
{
	struct loop *loop = cl->loop;
	struct session *s = r->order ? NULL
				     : session_find(cl->sessions, r->stream);
	enum msg_tx_mode mode = TX_MODE_DEFERRED;
	enum road road;

	if (end_if_over(cl, r))
		return;
	if (!find_hot(cl, r, s))
		return;
	if (r->type == TYPE_DESCRIBE || r->type == TYPE_PREPARE) {
		if (!park(cl, r))
			local_reply(cl, r, local_describe);
		return;
	}
	if (s) {
		join_session(cl, s, r);
		return;
	}
	if (loop->draining) {
		failure_set(&r->failure, ERR_SHUTTING_DOWN,
		    "the daemon is shutting down; connect again later");
		r->failure.retry_ms = 1000;
		local_fail(cl, r);
		return;
	}
	if (r->order) {
		hand_to_backups(cl, r);
		return;
	}
	road = router_choose(
	    r, r->hot->conn, loop->conf, find_write(cl, r->db) != NULL, &mode);
	take_road(cl, r, road, mode);
}
