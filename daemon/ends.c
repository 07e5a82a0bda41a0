/* ends.c - lost clients, stalled results, the stop. */
#include "daemon/ends.h"

#include "daemon/clock.h"
#include "daemon/local.h"
#include "daemon/road.h"
#include "proto/error.h"

/* Roll back a transaction whose client is gone, if anything holds it. */
static void
abandon_session(struct client *cl, struct session *s)
{
	struct place *place;
	struct request *r;

	session_refresh(s);
	if (s->running)
		return; /* when it is home */
	if (s->state != TX_STATE_READ && s->state != TX_STATE_WRITE) {
		session_end(&cl->sessions, s);
		return;
	}
	place = client_get_place(cl, s->db);
	r = place ? request_take(&cl->loop->requests) : NULL;
	if (!r)
		return; /* its limits will end it */
	r->client = cl;
	r->home = &cl->loop->mailbox;
	r->type = TYPE_TX_END;
	r->db = s->db;
	r->session = s;
	r->hot = s->hot;
	hot_use(r->hot);
	r->place = place;
	place->requests_n++;
	r->tx = tx_ref(s->tx);
	r->arrived_us = clock_now_us();
	client_count_away(cl, r);
	client_add_request(cl, r);
	s->running = r;
	if ((s->state == TX_STATE_READ ? readers_submit(s->db->readers, r)
				       : writer_submit(s->db->writer, r)) < 0) {
		/* a limit has ended it just now, as the next turn will see */
		s->running = NULL;
		client_free_request(cl, r);
	}
}

static void
drop_line(struct client *cl, struct line *line)
{
	struct request *r;
	while ((r = road_pop_waiting(line))) {
		if (r->session && r->session->running == r)
			r->session->running = NULL;
		client_free_request(cl, r);
	}
}

static void
abandon(struct client *cl)
{
	struct session *next;
	struct request *r, *next_r;

	if (!cl->abandoned) {
		if (cl->held.head)
			cl->loop->held_n--;
		drop_line(cl, &cl->held);
		for (r = cl->reads.head; r; r = r->next)
			cl->loop->waiting_n--;
		drop_line(cl, &cl->reads);
		for (r = cl->again.head; r; r = r->next)
			cl->loop->again_n--;
		drop_line(cl, &cl->again);
		drop_line(cl, &cl->parked);
		for (struct session *s = cl->sessions; s; s = s->next)
			drop_line(cl, &s->line);
		for (r = cl->requests; r; r = next_r) {
			next_r = r->all_next;
			if (r->home_again) /* drops what it had to send */
				client_send_pieces(cl, r);
			else if (r->away)
				road_stop(cl, r, ERR_CONNECTION_LOST);
		}
		cl->abandoned = true;
	}
	for (struct session *s = cl->sessions; s; s = next) {
		next = s->next;
		abandon_session(cl, s);
	}
}

void
ends_zombies(struct loop *loop)
{
	for (struct client *cl = loop->zombies; cl; cl = cl->next)
		abandon(cl);
}

/* A result that its client does not fetch: the reader that makes it stops; one
 * that is complete is dropped. */
static void
stop_stalled(struct client *cl, struct request *r)
{
	if (!r->home_again) {
		road_stop(cl, r, ERR_STALLED);
		return;
	}
	request_stop(r, ERR_STALLED);
	request_fail_stopped(r, "while it was read");
	if (r->seq)
		r->failure.outcome = OUTCOME_APPLIED;
	client_drop_pieces(r);
	local_fail(cl, r);
}

/* True: some may stall yet. */
static bool
stop_all_stalled(struct client *cl, int64_t before)
{
	struct request *r = cl->away_n ? cl->requests : NULL;
	bool some = false;

	while (r && !cl->closed) {
		struct request *next = r->all_next;

		some |= r->stalled_us != 0;
		if (r->stalled_us && r->stalled_us < before)
			stop_stalled(cl, r);
		r = next;
	}
	return some;
}

bool
ends_stalled(struct loop *loop)
{
	int64_t before = clock_now_us() - loop->conf->stall_timeout_us;
	bool some = false;

	for (struct client *cl = loop->clients, *after; cl; cl = after) {
		after = cl->next; /* cl may be closed here */
		some |= cl->hangs_up || !cl->said_hello;
		if ((cl->hangs_up || !cl->said_hello) && cl->since_us < before)
			client_close(
			    cl, cl->hangs_up ? cl->why : CLOSE_NO_HELLO);
		some |= stop_all_stalled(cl, before);
	}
	return some;
}

void
ends_goaway(struct loop *loop, bool admins)
{
	loop->draining = true;
	for (struct client *cl = loop->clients, *after; cl; cl = after) {
		struct msg_out m;
		struct buf *b;

		after = cl->next; /* cl may be closed here */
		b = cl->is_admin_db == admins ? client_begin_reply(cl) : NULL;
		if (!b)
			continue;
		msg_begin_body(&m, b, TYPE_GOAWAY, 0, 0);
		msg_put_str(&m, TELL_message, "the daemon is shutting down");
		msg_end(&m, cl->max_frame_bytes);
		client_end_reply(cl, b);
	}
}

bool
ends_drain(struct loop *loop, bool admins_too)
{
	struct client *cl = loop->clients;

	while (cl) {
		struct client *next = cl->next;
		if (!cl->requests && !cl->sessions &&
		    (admins_too || !cl->is_admin_db))
			client_stop_reading(cl);
		cl = next;
	}
	return !loop->clients && !loop->zombies;
}

/* What a stop lets run behind a request came later than that, so it stands before
 * it in the list: next stays good. */
static void
stop_all(struct client *cl, int code)
{
	struct request *r = cl->requests, *next;

	for (; r; r = next) {
		next = r->all_next;
		if (r->away)
			road_stop(cl, r, code);
	}
}

void
ends_hung_up(struct loop *loop)
{
	if (!loop->hung_up)
		return;
	loop->hung_up = false;
	for (struct client *cl = loop->clients, *after; cl; cl = after) {
		after = cl->next; /* cl may be closed here */
		if (!cl->hangs_up)
			continue;
		/* what it has left begins in the next turn, and ends there */
		loop->hung_up |= cl->requests_n > cl->away_n;
		stop_all(cl, ERR_CANCELLED);
	}
}

void
ends_refuse_all(struct loop *loop)
{
	for (struct client *cl = loop->clients, *after; cl; cl = after) {
		after = cl->next; /* cl may be closed here */
		stop_all(cl, ERR_SHUTTING_DOWN);
		client_hang_up(cl, CLOSE_SHUTDOWN);
	}
}

void
ends_close_all(struct loop *loop)
{
	while (loop->clients)
		client_close(loop->clients, CLOSE_SHUTDOWN);
}
