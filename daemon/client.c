/* client.c - life and death of a client, its socket, and the list of what it has under
 * way.
 *
 * Thread: the worker. */
#include "daemon/client.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "daemon/client_impl.h"
#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/stats.h"
#include "proto/frame.h"

/* Stop reading from a client, and running its reads, when so much of its output
 * waits; go on below half of it. */
#define CLOGGED_BYTES ((size_t)1 << 20)
/* Rounds of filling and writing its output that a client has in one turn. */
#define FLUSH_ROUNDS 8
/* Databases whose writers a client has waited for, before those are forgotten
 * that it does not wait for. */
#define PLACES_MAX 16

static const char *const reasons[] = {
#define CLOSE(name, text) [CLOSE_##name] = text,
#include "daemon/close.def"
#undef CLOSE
};

static void
link_client(struct client **list, struct client *cl)
{
	cl->next = *list;
	cl->at = list;
	if (cl->next)
		cl->next->at = &cl->next;
	*list = cl;
}

static void
unlink_client(struct client *cl)
{
	if (cl->loop->reader == cl)
		cl->loop->reader = NULL;
	*cl->at = cl->next;
	if (cl->next)
		cl->next->at = cl->at;
}

static void
free_client(struct client *cl)
{
	struct place *place, *next_place;

	if (cl->readable)
		event_free(cl->readable);
	if (cl->writable)
		event_free(cl->writable);
	client_drop_all_prepared(cl);
	LL_FOREACH_SAFE2(cl->places, place, next_place, sibling)
		free(place);
	buf_fini(&cl->partial);
	out_fini(&cl->out);
	vars_unref(cl->vars);
	db_unref(cl->db);
	if (cl->fd >= 0)
		close(cl->fd);
	peer_fini(&cl->peer);
	free(cl);
}

static void
log_begin(const struct client *cl)
{
	const struct log_field fields[] = {
		LOG_INT("pid", cl->peer.pid),
		LOG_INT("uid", cl->peer.uid),
		LOG_INT("fd", cl->fd),
		{ 0 },
	};

	log_event(CONF_LOG_INFO, "connected", fields, 0);
}

/* A client that breaks the rules is worth a line in any case. */
static bool
is_odd(enum close_reason why)
{
	return why == CLOSE_BAD_BYTES || why == CLOSE_NO_HELLO ||
	    why == CLOSE_NO_MEMORY;
}

static void
log_end(const struct client *cl, enum close_reason why)
{
	const char *app = cl->owner.app;
	const struct log_field fields[] = {
		LOG_TEXT("reason", reasons[why], strlen(reasons[why])),
		LOG_INT("pid", cl->peer.pid),
		LOG_INT("uid", cl->peer.uid),
		LOG_TEXT("app", app, strlen(app)),
		LOG_INT("fd", cl->fd),
		LOG_INT("ms", (clock_now_us() - cl->connected_us) / 1000),
		{ 0 },
	};

	if (cl->loop->conf->log_connections)
		log_event(CONF_LOG_INFO, "disconnected", fields, 0);
	else if (is_odd(why))
		log_event(CONF_LOG_WARN, "disconnected", fields,
		    (uint64_t)(uintptr_t)reasons[why]);
}

static void
on_readable(int fd, short what, void *arg)
{
	struct client *cl = arg;

	(void)fd;
	(void)what;
	cl->loop->reader = cl;
	cl->loop->reads_n++;
	cl->loop->read(cl);
}

void
client_look(struct client *cl)
{
	if (event_pending(cl->readable, EV_READ, NULL))
		cl->loop->read(cl);
}

static void
on_writable(int fd, short what, void *arg)
{
	struct client *cl = arg;

	(void)fd;
	(void)what;
	cl->writes_pending = false;
	client_mark_dirty(cl);
}

struct client *
client_new(struct loop *loop, const struct peer *peer)
{
	struct client *cl = calloc(1, sizeof(*cl));

	if (!cl) {
		struct peer gone = *peer;

		close(gone.fd);
		peer_fini(&gone);
		return NULL;
	}
	cl->loop = loop;
	cl->fd = peer->fd;
	cl->peer = *peer;
	cl->owner.pid = peer->pid;
	cl->owner.uid = peer->uid;
	cl->connected_us = cl->since_us = clock_now_us();
	cl->number = 1 + loop->number + loop->clients_made++ * loop->peers_n;
	cl->loop->may_stall = true;
	cl->max_frame_bytes = FRAME_DEFAULT_MAX_BYTES;
	cl->window_bytes = (size_t)loop->conf->window_bytes;
	out_init(&cl->out, &loop->pool);
	cl->vars = vars_new();
	cl->readable = event_new(
	    loop->base, cl->fd, EV_READ | EV_PERSIST, on_readable, cl);
	cl->writable = event_new(loop->base, cl->fd, EV_WRITE, on_writable, cl);
	if (!cl->vars || !cl->readable || !cl->writable ||
	    event_add(cl->readable, NULL) < 0) {
		free_client(cl);
		return NULL;
	}
	link_client(&loop->clients, cl);
	loop->clients_n++;
	if (loop->conf->log_connections)
		log_begin(cl);
	return cl;
}

void
client_close(struct client *cl, enum close_reason why)
{
	struct loop *loop = cl->loop;

	if (cl->closed)
		return;
	log_end(cl, why);
	cl->closed = true;
	cl->why = why;
	event_del(cl->readable);
	event_del(cl->writable);
	close(cl->fd);
	cl->fd = -1;
	out_fini(&cl->out);
	unlink_client(cl);
	link_client(&loop->zombies, cl);
	loop->clients_n--;
	loop->admins_n -= cl->is_admin_db;
	stats_add(STAT_clients_closed, 1);
}

void
client_hang_up(struct client *cl, enum close_reason why)
{
	if (cl->closed || cl->hangs_up)
		return;
	cl->hangs_up = true;
	cl->loop->hung_up = true;
	cl->why = why;
	cl->since_us = clock_now_us();
	cl->loop->may_stall = true;
	event_del(cl->readable);
	client_mark_dirty(cl); /* closed when it is flushed */
}

/* What it has sent can still be read, and its next write fails: so nothing is on
 * its way when the end is reached (unix(7), shutdown(2)). */
void
client_stop_reading(struct client *cl)
{
	if (cl->drained)
		return;
	cl->drained = true;
	if (shutdown(cl->fd, SHUT_RD) < 0)
		client_hang_up(cl, CLOSE_SHUTDOWN);
}

void
client_free_zombies(struct loop *loop)
{
	struct client *cl = loop->zombies;

	while (cl) {
		struct client *next = cl->next;
		if (!cl->requests && !cl->sessions && !cl->is_dirty &&
		    !cl->has_more) {
			unlink_client(cl);
			free_client(cl);
		}
		cl = next;
	}
}

/* --- Output ------------------------------------------------------------- */

void
client_mark_dirty(struct client *cl)
{
	if (cl->is_dirty)
		return;
	cl->is_dirty = true;
	cl->next_dirty = cl->loop->dirty;
	cl->loop->dirty = cl;
}

struct buf *
client_begin_reply(struct client *cl)
{
	struct buf *b = cl->closed ? NULL : out_begin(&cl->out);

	if (!b)
		client_close(cl, CLOSE_NO_MEMORY);
	return b;
}

void
client_end_reply(struct client *cl, const struct buf *b)
{
	if (buf_failed(b)) {
		client_close(cl, CLOSE_NO_MEMORY);
		return;
	}
	out_end(&cl->out, b);
	client_mark_dirty(cl);
}

bool
client_is_clogged(const struct client *cl)
{
	return cl->out.bytes >= CLOGGED_BYTES;
}

void
client_mark_more(struct client *cl)
{
	if (cl->has_more)
		return;
	cl->has_more = true;
	cl->next_more = cl->loop->more;
	cl->loop->more = cl;
}

static void
update_reading(struct client *cl)
{
	if (!cl->reads_paused && client_is_clogged(cl)) {
		event_del(cl->readable);
		cl->reads_paused = true;
	} else if (cl->reads_paused && cl->out.bytes < CLOGGED_BYTES / 2 &&
	    !cl->hangs_up) {
		cl->reads_paused = false;
		if (event_add(cl->readable, NULL) < 0)
			client_close(cl, CLOSE_NO_MEMORY);
	}
}

static void
flush(struct client *cl)
{
	while (!cl->closed && cl->out.bytes > 0 && !cl->writes_pending) {
		ssize_t n = out_write(&cl->out, cl->fd);

		if (n == -EAGAIN) {
			cl->writes_pending = true;
			if (event_add(cl->writable, NULL) < 0)
				client_close(cl, CLOSE_NO_MEMORY);
		} else if (n < 0) {
			client_close(cl, CLOSE_WRITE_ERROR);
		} else {
			stats_add(STAT_bytes_out, (uint64_t)n);
		}
	}
	if (!cl->closed)
		update_reading(cl);
	if (cl->closed || !cl->hangs_up || cl->out.bytes > 0 || cl->away_n > 0)
		return;
	if (cl->requests)
		client_mark_dirty(cl); /* it has an answer to come */
	else
		client_close(cl, cl->why);
}

/* A socket that takes everything makes room for more of the results that wait;
 * after a few rounds the other clients have their turn first. */
static void
flush_rounds(struct client *cl)
{
	for (int i = 0; i < FLUSH_ROUNDS; i++) {
		if (cl->away_n > 0)
			client_move_pieces(cl);
		if (cl->out.bytes == 0)
			break;
		flush(cl);
		if (cl->closed || cl->out.bytes > 0)
			return;
	}
	flush(cl);
	if (!cl->closed && cl->away_n > 0 && client_can_move_pieces(cl))
		client_mark_dirty(cl);
}

void
client_flush_dirty(struct loop *loop)
{
	struct client *list = loop->dirty;

	loop->dirty = NULL; /* what is marked now is for the next turn */
	while (list) {
		struct client *cl = list;

		list = cl->next_dirty;
		cl->is_dirty = false;
		if (!cl->closed)
			flush_rounds(cl);
	}
}

/* --- What is under way --------------------------------------------------- */

void
client_add_request(struct client *cl, struct request *r)
{
	r->all_next = cl->requests;
	r->all_prev = NULL;
	if (cl->requests)
		cl->requests->all_prev = r;
	cl->requests = r;
	cl->requests_n++;
	cl->requests_bytes += r->bytes_n;
}

void
client_count_away(struct client *cl, struct request *r)
{
	r->away = true;
	cl->away_n++;
	cl->loop->away_n++;
	cl->away_bytes += r->bytes_n;
	stats_add(STAT_requests_away, 1);
}

void
client_free_request(struct client *cl, struct request *r)
{
	if (r->all_prev)
		r->all_prev->all_next = r->all_next;
	else
		cl->requests = r->all_next;
	if (r->all_next)
		r->all_next->all_prev = r->all_prev;
	cl->requests_n--;
	cl->requests_bytes -= r->bytes_n;
	if (r->away) {
		cl->away_n--;
		cl->loop->away_n--;
		cl->away_bytes -= r->bytes_n;
		stats_add(STAT_requests_home, 1);
		if (r->hot) /* @admin has none */
			hot_unuse(r->hot);
	}
	if (r->place)
		r->place->requests_n--;
	cl->unsent_bytes -= r->unsent_bytes;
	cl->reading_n -= r->reads;
	if (r->charged)
		user_give_request(cl->peer.user);
	if (r->deadline_n)
		deadlines_remove(&cl->loop->deadlines, r);
	request_give(&cl->loop->requests, r);
}

struct request *
client_find_request(
    struct client *cl, uint64_t id, const struct request *except)
{
	for (struct request *r = cl->requests; r; r = r->all_next)
		if (r->id == id && r != except && r->away)
			return r;
	return NULL;
}

struct request *
client_find_before(const struct request *r, uint64_t id)
{
	struct request *first = NULL;

	for (struct request *o = r->all_next; o; o = o->all_next)
		if (o->id == id)
			first = o; /* the list has the newest first */
	return first;
}

const struct request *
client_find_oldest(const struct client *cl)
{
	const struct request *oldest = NULL;

	for (const struct request *r = cl->requests; r; r = r->all_next)
		if (r->away && !r->home_again)
			oldest = r; /* the list has the newest first */
	return oldest;
}

/* Forget the places where nothing waits, when there are many. */
static void
tidy_places(struct client *cl)
{
	struct place *place, *next;
	unsigned n;

	LL_COUNT2(cl->places, place, n, sibling);
	if (n < PLACES_MAX)
		return;
	LL_FOREACH_SAFE2(cl->places, place, next, sibling) {
		if (place->requests_n == 0) {
			LL_DELETE2(cl->places, place, sibling);
			free(place);
		}
	}
}

/* A database that was closed may leave its address to another one: an empty
 * place is as good for that. */
struct place *
client_get_place(struct client *cl, const struct db *db)
{
	struct place *place;

	for (place = cl->places; place; place = place->sibling)
		if (place->db == db)
			return place;
	tidy_places(cl);
	place = calloc(1, sizeof(*place));
	if (place) {
		place->db = db;
		place->sibling = cl->places;
		cl->places = place;
	}
	return place;
}
