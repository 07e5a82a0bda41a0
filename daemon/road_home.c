/* road_home.c - requests that come home, and those that have waited long enough: they
 * are answered, or go on.
 *
 * Thread: the worker. */
#include <string.h>

#include "daemon/clock.h"
#include "daemon/hots.h"
#include "daemon/local.h"
#include "daemon/road_impl.h"
#include "daemon/slice.h"

/* It waited, and may be prepared now. */
static void
resume(struct client *cl, struct request *r)
{
	struct session *s = r->session;

	slice_begin(cl->loop);
	if (s)
		road_resume_in_session(cl, s, r);
	else if (r->waited || r->rerouted)
		road_take_outside(cl, r);
	else
		road_take(cl, r);
	slice_charge(cl, clock_now_us());
}

void
road_go_on(struct client *cl, struct request *r)
{
	if (!cl->closed && (cl->again.head || !slice_has_time(cl)))
		road_wait_again(cl, r);
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
	road_go_on(cl, r);
}

/* Reads of the client that waited for its write, which is over. */
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
		road_go_on(cl, next);
	}
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
			road_pump(cl, s);
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
		road_go_on(r->client, r);
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
