/* road.c - requests on their way, and home. */
#include "daemon/road.h"

#include <string.h>

#include "daemon/backup.h"
#include "daemon/clock.h"
#include "daemon/hots.h"
#include "daemon/local.h"
#include "daemon/router.h"
#include "daemon/slice.h"
#include "daemon/stats.h"
#include "proto/error.h"

/* Reads of one client that are with the heavy readers at a time. */
#define CLIENT_READS_MAX 8

/* Transactions that one client may have open, on as many streams. */
#define SESSIONS_MAX 64

static void pump(struct client *cl, struct session *s);
static void go_on(struct client *cl, struct request *r);
static void
run_in_session(struct client *cl, struct session *s, struct request *r);

/* --- Waiting and stopping -------------------------------------------------- */

static void
wait_in(struct line *line, struct request *r)
{
	r->waits = line;
	line_push(line, r);
}

/* Take a request that waits on this worker out of its line. */
struct request *
road_pop_waiting(struct line *line)
{
	struct request *r = line_pop(line);

	if (r)
		r->waits = NULL;
	return r;
}

/* A request that is stopped while it waits: what is behind it in its session may
 * go on. */
static void
leave_session(struct client *cl, struct request *r)
{
	struct session *s = r->session;
	bool was_running = s && s->running == r;

	if (was_running)
		s->running = NULL;
	if (s)
		r->tx_state = s->running ? s->state : session_get_state(s);
	local_fail(cl, r);
	if (was_running && !cl->closed)
		pump(cl, s);
}

void
road_stop(struct client *cl, struct request *r, int code)
{
	struct squeue *runner;
	if (r->home_again || request_get_stop(r))
		return;
	request_stop(r, code);
	if (r->waits) {
		bool opening = r->hot && r->waits == &r->hot->waiting;

		cl->loop->waiting_n -= r->waits == &cl->reads;
		cl->loop->again_n -= r->waits == &cl->again;
		if (opening)
			r->hot->waiting_n--;
		line_remove(r->waits, r);
		r->waits = NULL;
		request_fail_stopped(r,
		    opening && db_get_will(r->db) == DB_PAUSED
			? "while its database was paused (PAUSE, RESUME)"
			: opening ? "while its database waited for room "
				    "(max_open), or was being opened"
				  : "while it waited for its client's earlier "
				    "requests");
		leave_session(cl, r);
		return;
	}
	runner = atomic_load(&r->runner);
	if (runner)
		squeue_kick(runner);
	if (r->hot && !r->hot->reaps) {
		r->hot->reaps = true;
		r->hot->next_reap = cl->loop->reaps;
		cl->loop->reaps = r->hot;
	}
}

void
road_reap(struct loop *loop)
{
	struct hot *h;

	while ((h = loop->reaps)) {
		loop->reaps = h->next_reap;
		h->reaps = false;
		db_reap(h->db);
	}
}

void
road_deadline(struct request *r)
{
	stats_add(STAT_deadlines, 1);
	road_stop(r->client, r, ERR_DEADLINE);
}

/* Its own deadline, or that of its database, which is known by now. */
static int
set_deadline(struct client *cl, struct request *r)
{
	int64_t timeout_us = r->timeout_us;

	if (timeout_us == 0 && r->db && !r->order) /* @admin is none */
		timeout_us = r->db->conf->request_timeout_us;
	if (timeout_us == 0)
		return 0;
	return deadlines_push(
	    &cl->loop->deadlines, r, r->arrived_us + timeout_us);
}

/* The request outlives the turn: it gets bytes of its own, a deadline, and its
 * place in the client's bounds. */
int
road_send_away(struct client *cl, struct request *r)
{
	const struct conf *conf = cl->loop->conf;

	if (r->away)
		return 0;
	if (cl->away_n >= conf->max_in_flight ||
	    (cl->away_n > 0 &&
		cl->away_bytes + r->bytes_n > (uint64_t)conf->max_client_bytes))
		return failure_set(&r->failure, ERR_TOO_MANY_REQUESTS,
		    "%u requests of this connection, %zu bytes, are under way; "
		    "wait for answers, or raise max_in_flight and "
		    "max_client_bytes",
		    cl->away_n, cl->away_bytes);
	if (cl->unsent_bytes > (uint64_t)conf->max_client_bytes)
		return failure_set(&r->failure, ERR_TOO_MANY_REQUESTS,
		    "%zu bytes of results wait until this connection reads "
		    "them; read them first, or raise max_client_bytes",
		    cl->unsent_bytes);
	if (conf->max_user_requests && cl->peer.user && r->db) {
		r->charged = user_take_request(
		    cl->peer.user, conf->max_user_requests);
		if (!r->charged)
			return failure_set(&r->failure, ERR_TOO_MANY_REQUESTS,
			    "%u requests of uid %u are under way, the limit for "
			    "one user (max_user_requests); wait for answers",
			    conf->max_user_requests, (unsigned)cl->peer.uid);
	}
	r->owner = &cl->owner;
	if (request_own(r) < 0 || set_deadline(cl, r) < 0)
		return failure_set(
		    &r->failure, ERR_NO_MEMORY, "out of memory for a request");
	client_count_away(cl, r);
	r->vars = vars_ref(cl->vars);
	r->granted_bytes = cl->window_bytes;
	if (r->hot) /* @admin has none */
		hot_use(r->hot);
	return 0;
}

/* --- Roads ------------------------------------------------------------------ */

/* It can go on, but its client has had its time. */
static void
wait_again(struct client *cl, struct request *r)
{
	wait_in(&cl->again, r);
	cl->loop->again_n++;
}

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
		wait_in(&cl->reads, r);
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
	if (r->state == REQUEST_NEW)
		request_move(r, REQUEST_PARKED);
	wait_in(&cl->parked, r);
	return 1;
}

static void
unpark(struct client *cl, const struct request *w)
{
	struct line due = { 0 };
	struct request *next;

	for (struct request *r = cl->parked.head; r; r = next) {
		next = r->next;
		if (r->behind != w)
			continue;
		line_remove(&cl->parked, r);
		r->waits = NULL;
		r->behind = NULL;
		line_push(&due, r);
	}
	while ((next = line_pop(&due))) {
		request_move(next, REQUEST_NEW);
		go_on(cl, next);
	}
}

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
	pump(cl, s);
}

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

/* It was outside of its stream's transactions when it came: it stays so, whatever
 * has begun there since. */
static void
take_outside(struct client *cl, struct request *r)
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

/* --- Transactions ------------------------------------------------------------ */

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
		go_on(cl, r);
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

/* Run what waits in a session's line, one request at a time.  The session may
 * be gone afterwards. */
static void
pump(struct client *cl, struct session *s)
{
	struct request *r;

	while (!s->running && session_get_state(s) != TX_STATE_NONE &&
	    (r = session_take(s))) {
		bool has_waited = r->away;

		r->waits = NULL;
		if (has_waited && !slice_has_time(cl) && !cl->closed) {
			s->running = r;
			wait_again(cl, r);
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
	wait_in(&s->line, r);
	pump(cl, s);
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
	wait_in(&h->waiting, r);
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

/* A statement, batch or transaction message whose fields are checked. */
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

/* --- Going on ------------------------------------------------------------------- */

/* It waited, and may be prepared now. */
static void
resume(struct client *cl, struct request *r)
{
	struct session *s = r->session;

	slice_begin(cl->loop);
	if (!s && (r->waited || r->rerouted)) {
		take_outside(cl, r);
	} else if (!s) {
		road_take(cl, r);
	} else {
		s->running = NULL;
		if (cl->closed) {
			client_free_request(cl, r);
			return;
		}
		run_in_session(cl, s, r);
		pump(cl, s);
	}
	slice_charge(cl, clock_now_us());
}

/* In this turn, or in the next one when its client has had its time.  One of a
 * session is its running one until then. */
static void
go_on(struct client *cl, struct request *r)
{
	if (!cl->closed && (cl->again.head || !slice_has_time(cl)))
		wait_again(cl, r);
	else
		resume(cl, r);
}

void
road_again(struct loop *loop)
{
	if (loop->again_n == 0)
		return;
	for (struct client *cl = loop->clients, *after; cl; cl = after) {
		after = cl->next; /* cl may be closed here */
		while (cl->again.head && slice_has_time(cl)) {
			loop->again_n--;
			resume(cl, road_pop_waiting(&cl->again));
		}
	}
}

/* --- Homecoming ----------------------------------------------------------------- */

/* It came home without an answer: another road. */
static void
reroute(struct client *cl, struct request *r)
{
	struct session *s = r->session;

	r->home_again = r->final = false;
	r->rerouted = true;
	r->is_write = false;
	cl->reading_n -= r->reads;
	r->reads = false;
	atomic_store(&r->runner, NULL);
	if (s)
		session_set_state(s, r->tx_state);
	else
		r->reroute = REROUTE_NOT;
	go_on(cl, r);
}

static void
come_home(struct client *cl, struct request *r)
{
	struct session *s = r->session;
	bool was_write = r->is_write;
	const struct request *w = r;

	if (r->reroute) {
		reroute(cl, r);
	} else {
		if (!r->unsent && !cl->closed)
			client_close(cl, CLOSE_NO_MEMORY);
		if (r->failure.code) /* rows before an error are void */
			client_drop_rows(r);
		if (s) {
			s->running = NULL;
			session_set_state(s, r->tx_state);
		}
		client_send_pieces(cl, r);
		if (s)
			pump(cl, s);
	}
	if (was_write)
		unpark(cl, w);
}

void
road_mail(struct request *list)
{
	while (list) {
		struct request *r = list;

		list = r->mail_next;
		if (r->home_again)
			come_home(r->client, r);
		else
			client_send_pieces(r->client, r);
	}
}

/* What waited for a database that was taken out, or whose file was replaced, goes
 * to the one that has its name now, if there is one. */
static bool
follow(struct request *r)
{
	struct loop *loop = r->client->loop;
	const char *name = r->db->conf->name;
	struct span span = { (const uint8_t *)name, strlen(name) };
	struct failure f;
	struct db *db;
	int rc;

	if (!db_is_removed(r->db))
		return false;
	failure_init(&f);
	rc = hots_find_db(loop, span, &db, &f);
	failure_fini(&f);
	if (rc < 0)
		return false;
	hot_unuse(r->hot);
	r->db = db;
	r->hot = hots_get(loop, db);
	hot_use(r->hot);
	if (r->place)
		r->place->requests_n--;
	r->place = NULL;
	return true;
}

/* It waited for the connection, which is open or could not be opened. */
static void
arrive(const struct hot *h, struct request *r)
{
	if (h->conn || follow(r)) {
		go_on(r->client, r);
		return;
	}
	failure_set(&r->failure, h->failure.code, "%s",
	    h->failure.text ? h->failure.text : "");
	r->failure.retry_ms = h->failure.retry_ms;
	local_fail(r->client, r);
}

void
road_arrivals(struct loop *loop)
{
	struct hot *h;

	while ((h = hots_take_arrival(loop))) {
		struct request *r;

		while ((r = hots_pop_waiting(h)))
			arrive(h, r);
		if (!h->conn)
			hots_forget(loop, h);
	}
}
