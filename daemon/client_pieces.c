/* client_pieces.c - results on their way to a client, in pieces, as far as its credit
 * and its socket let them go.
 *
 * Thread: the worker. */
#include "daemon/client_impl.h"
#include "daemon/clock.h"
#include "proto/frame.h"

static bool
is_rows(const uint8_t *frame)
{
	/* the type stands at a fixed place: proto/msg.c, msg_set_type */
	return frame[FRAME_PREFIX_BYTES + 2] == TYPE_ROWS;
}

/* Move the frames of a piece, as far as the window goes: ROWS frames count
 * against it.  True: all of it has gone. */
static bool
send_piece(struct client *cl, struct request *r, struct piece *p)
{
	size_t from = p->at, to = from;
	uint64_t sent = atomic_load(&r->sent);
	bool ok = true;

	while (to < p->bytes.n) {
		const uint8_t *frame = p->bytes.p + to;
		size_t n = 0;

		if (frame_peek(frame, p->bytes.n - to, SIZE_MAX, &n) != 0)
			n = p->bytes.n - to;
		if (is_rows(frame)) {
			if (sent >= r->granted_bytes)
				break;
			sent += n;
		}
		to += n;
	}
	if (to == p->bytes.n && to > from)
		ok = out_move(&cl->out, &p->bytes, from);
	else if (to > from)
		ok = out_put(&cl->out, p->bytes.p + from, to - from);
	p->at = to;
	atomic_store(&r->sent, sent);
	if (!ok)
		client_close(cl, CLOSE_NO_MEMORY);
	return p->bytes.n == 0 || p->at == p->bytes.n;
}

static void
drop_first(struct request *r)
{
	struct piece *p = r->unsent;

	r->unsent = p->next;
	if (!r->unsent)
		r->unsent_tail = NULL;
	request_free_piece(r, p);
}

void
client_drop_rows(struct request *r)
{
	while (r->unsent && r->unsent != &r->last)
		drop_first(r);
}

void
client_drop_pieces(struct request *r)
{
	while (r->unsent)
		drop_first(r);
}

static void
count_unsent(struct client *cl, struct request *r)
{
	size_t n = 0;

	for (const struct piece *p = r->unsent; p; p = p->next)
		n += p->bytes.n - p->at;
	cl->unsent_bytes += n - r->unsent_bytes;
	r->unsent_bytes = n;
}

/* Note whether the result moves, and let its maker go on when it does. */
static void
note_progress(struct client *cl, struct request *r, bool moved)
{
	struct squeue *runner = atomic_load(&r->runner);

	if (!r->unsent)
		r->stalled_us = 0;
	else if (moved || r->stalled_us == 0)
		r->stalled_us = clock_now_us();
	if (r->unsent)
		cl->loop->may_stall = true;
	if (moved && runner && !r->home_again)
		squeue_kick(runner);
}

/* Move what can go to the output; free the request when that was all. */
static void
move(struct client *cl, struct request *r)
{
	uint64_t before = atomic_load(&r->sent);

	if (cl->closed)
		client_drop_pieces(r);
	while (r->unsent && !cl->closed && !client_is_clogged(cl) &&
	    send_piece(cl, r, r->unsent))
		drop_first(r);
	count_unsent(cl, r);
	note_progress(cl, r, atomic_load(&r->sent) != before);
	if (r->home_again && !r->unsent)
		client_free_request(cl, r);
}

bool
client_can_move_pieces(const struct client *cl)
{
	for (const struct request *r = cl->requests; r; r = r->all_next) {
		const struct piece *p = r->unsent;

		if (p &&
		    (!is_rows(p->bytes.p + p->at) ||
			atomic_load(&r->sent) < r->granted_bytes))
			return true;
	}
	return false;
}

void
client_move_pieces(struct client *cl)
{
	struct request *r = cl->requests;

	while (r) {
		struct request *next = r->all_next;

		if (r->unsent)
			move(cl, r);
		r = next;
	}
}

void
client_send_pieces(struct client *cl, struct request *r)
{
	move(cl, r);
	if (!cl->closed)
		client_mark_dirty(cl);
}
