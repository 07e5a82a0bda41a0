/* road_wait.c - requests that outlive their turn: their place in their client's
 * bounds, their deadlines, the lines of this worker that they wait in, and what
 * stops them.
 *
 * Thread: the worker. */
#include "daemon/local.h"
#include "daemon/road_impl.h"
#include "daemon/stats.h"
#include "proto/error.h"

void
road_wait_in(struct line *line, struct request *r)
{
	r->waits = line;
	line_push(line, r);
}

void
road_wait_again(struct client *cl, struct request *r)
{
	road_wait_in(&cl->again, r);
	cl->loop->again_n++;
}

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
		road_pump(cl, s);
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
		if (r->waits == &cl->held && !cl->held.head)
			cl->loop->held_n--;
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
