/* client.c - bytes in, bytes out, life and death of a client. */
#include "daemon/client.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/collect.h"
#include "daemon/log.h"
#include "daemon/stats.h"
#include "proto/error.h"
#include "proto/frame.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* Read this much at a time. */
#define READ_BYTES ((size_t)64 << 10)
/* Stop reading from a client, and running its reads, when so much of its output
 * waits; go on below half of it. */
#define CLOGGED_BYTES ((size_t)1 << 20)
/* Prepared statements of one client. */
#define PREPARED_MAX 10000

struct prepared {
	uint64_t number;
	UT_hash_handle hh;
	size_t n;
	uint8_t sql[];
};

static const char *const reasons[] = {
#define CLOSE(name, text) [CLOSE_##name] = text,
#include "daemon/close.def"
#undef CLOSE
};

static void on_readable(int fd, short what, void *arg);
static void on_writable(int fd, short what, void *arg);

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
	*cl->at = cl->next;
	if (cl->next)
		cl->next->at = cl->at;
}

static void
free_client(struct client *cl)
{
	struct prepared *p, *tmp;

	if (cl->readable)
		event_free(cl->readable);
	if (cl->writable)
		event_free(cl->writable);
	HASH_ITER(hh, cl->prepared, p, tmp) {
		HASH_DEL(cl->prepared, p);
		free(p);
	}
	buf_fini(&cl->partial);
	out_fini(&cl->out);
	vars_unref(cl->vars);
	if (cl->fd >= 0)
		close(cl->fd);
	free(cl);
}

struct client *
client_new(struct loop *loop, int fd, pid_t pid, uid_t uid)
{
	struct client *cl = calloc(1, sizeof(*cl));

	if (!cl) {
		close(fd);
		return NULL;
	}
	cl->loop = loop;
	cl->fd = fd;
	cl->owner.pid = pid;
	cl->uid = uid;
	cl->max_frame_bytes = FRAME_DEFAULT_MAX_BYTES;
	cl->window_bytes = (size_t)loop->conf->window_bytes;
	out_init(&cl->out, &loop->pool);
	cl->vars = vars_new();
	cl->readable = event_new(
	    loop->base, fd, EV_READ | EV_PERSIST, on_readable, cl);
	cl->writable = event_new(loop->base, fd, EV_WRITE, on_writable, cl);
	if (!cl->vars || !cl->readable || !cl->writable ||
	    event_add(cl->readable, NULL) < 0) {
		free_client(cl);
		return NULL;
	}
	link_client(&loop->clients, cl);
	loop->clients_n++;
	return cl;
}

void
client_close(struct client *cl, enum close_reason why)
{
	struct loop *loop = cl->loop;

	if (cl->closed)
		return;
	log_debug("client pid %d (%s): %s", (int)cl->owner.pid, cl->owner.app,
	    reasons[why]);
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
	stats_add(STAT_clients_closed, 1);
}

void
client_hang_up(struct client *cl, enum close_reason why)
{
	if (cl->closed || cl->hangs_up)
		return;
	cl->hangs_up = true;
	cl->why = why;
	event_del(cl->readable);
	if (cl->out.bytes == 0)
		client_close(cl, why);
}

void
client_free_zombies(struct loop *loop)
{
	struct client *cl = loop->zombies;

	while (cl) {
		struct client *next = cl->next;

		if (!cl->requests && !cl->sessions && !cl->is_dirty) {
			unlink_client(cl);
			free_client(cl);
		}
		cl = next;
	}
}

/* --- Output ------------------------------------------------------------- */

static void
mark_dirty(struct client *cl)
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
	mark_dirty(cl);
}

bool
client_is_clogged(const struct client *cl)
{
	return cl->out.bytes >= CLOGGED_BYTES;
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
	if (!cl->closed && cl->hangs_up && cl->out.bytes == 0)
		client_close(cl, cl->why);
}

static void
on_writable(int fd, short what, void *arg)
{
	struct client *cl = arg;

	(void)fd;
	(void)what;
	cl->writes_pending = false;
	mark_dirty(cl);
}

static void move_pieces(struct client *cl, struct request *r);

static void
send_all_pieces(struct client *cl)
{
	struct request *r = cl->away_n ? cl->requests : NULL;

	while (r) {
		struct request *next = r->all_next;

		if (r->unsent)
			move_pieces(cl, r);
		r = next;
	}
}

void
client_flush_dirty(struct loop *loop)
{
	while (loop->dirty) {
		struct client *cl = loop->dirty;

		loop->dirty = cl->next_dirty;
		cl->is_dirty = false;
		if (cl->closed)
			continue;
		/* what its credit, or a full socket, kept back */
		send_all_pieces(cl);
		flush(cl);
	}
}

/* Move the frames of a piece, as far as the window goes.  ROWS frames count
 * against it; the type stands at a fixed place (proto/msg.c, msg_set_type). */
static bool
send_piece(struct client *cl, struct request *r, struct piece *p)
{
	size_t from = p->at, to = from;
	uint64_t granted = atomic_load(&r->granted);
	bool ok = true;

	while (to < p->bytes.n) {
		const uint8_t *frame = p->bytes.p + to;
		size_t n = 0;

		if (frame_peek(frame, p->bytes.n - to, SIZE_MAX, &n) != 0)
			n = p->bytes.n - to;
		if (frame[FRAME_PREFIX_BYTES + 2] == TYPE_ROWS) {
			if (r->sent_bytes >= granted)
				break;
			r->sent_bytes += n;
		}
		to += n;
	}
	if (to == p->bytes.n && to > from)
		ok = out_move(&cl->out, &p->bytes, from);
	else if (to > from)
		ok = out_put(&cl->out, p->bytes.p + from, to - from);
	p->at = to;
	if (!ok)
		client_close(cl, CLOSE_NO_MEMORY);
	return p->bytes.n == 0 || p->at == p->bytes.n;
}

void
client_drop_pieces(struct request *r)
{
	while (r->unsent) {
		struct piece *p = r->unsent;

		r->unsent = p->next;
		request_free_piece(r, p);
	}
	r->unsent_tail = NULL;
}

/* Move what can go to the output; free the request when that was all. */
static void
move_pieces(struct client *cl, struct request *r)
{
	if (cl->closed)
		client_drop_pieces(r);
	while (r->unsent && !cl->closed && !client_is_clogged(cl)) {
		struct piece *p = r->unsent;

		if (!send_piece(cl, r, p))
			break;
		r->unsent = p->next;
		if (!r->unsent)
			r->unsent_tail = NULL;
		request_free_piece(r, p);
	}
	if (!r->unsent)
		r->stalled_us = 0;
	else if (r->stalled_us == 0)
		r->stalled_us = clock_now_us();
	if (r->home_again && !r->unsent)
		client_free_request(cl, r);
}

void
client_send_pieces(struct client *cl, struct request *r)
{
	move_pieces(cl, r);
	if (!cl->closed)
		mark_dirty(cl);
}

/* --- Input -------------------------------------------------------------- */

/* What is wrong with the bytes ends the connection: where the next frame would
 * begin is not known. */
static void
refuse_bytes(struct client *cl, int code)
{
	struct buf *b = client_begin_reply(cl);
	char text[128];

	stats_add(STAT_bad_frames, 1);
	log_info("client pid %d (%s): %s", (int)cl->owner.pid, cl->owner.app,
	    error_get_text(code));
	if (!b)
		return;
	if (code == ERR_FRAME_TOO_LONG)
		snprintf(text, sizeof(text),
		    "frame longer than the limit of %lld bytes (max_frame)",
		    (long long)cl->loop->conf->max_frame_bytes);
	else
		snprintf(text, sizeof(text), "%s", error_get_text(code));
	answer_fault(b, code, text);
	client_end_reply(cl, b);
	client_hang_up(cl, CLOSE_BAD_BYTES);
}

/* Take the complete frames at p.  Returns the bytes taken. */
static size_t
take_frames(struct client *cl, uint8_t *p, size_t n)
{
	size_t max = (size_t)cl->loop->conf->max_frame_bytes;
	size_t at = 0;

	while (at < n && !cl->closed && !cl->hangs_up) {
		struct span content;
		size_t bytes;
		int rc = frame_peek(p + at, n - at, max, &bytes);

		if (rc == FRAME_PARTIAL)
			break;
		if (rc == 0) {
			content.p = p + at + FRAME_PREFIX_BYTES;
			content.n = bytes - FRAME_PREFIX_BYTES;
			rc = collect_frame(cl, content, NULL);
			at += bytes;
		}
		if (rc < 0) {
			refuse_bytes(cl, -rc);
			return n;
		}
	}
	return at;
}

static bool
keep_partial(struct client *cl, const uint8_t *p, size_t n)
{
	buf_put(&cl->partial, p, n);
	if (!buf_failed(&cl->partial))
		return true;
	client_close(cl, CLOSE_NO_MEMORY);
	return false;
}

/* A frame that is too long for the arena grows in cl->partial; when it is
 * complete the request takes the bytes over. */
static void
take_big_frame(struct client *cl)
{
	size_t max = (size_t)cl->loop->conf->max_frame_bytes;
	struct buf big = cl->partial;
	struct span content;
	size_t bytes;
	int rc = frame_peek(big.p, big.n, max, &bytes);

	if (rc == FRAME_PARTIAL)
		return;
	buf_init(&cl->partial);
	if (rc == 0 && big.n > bytes)
		keep_partial(cl, big.p + bytes, big.n - bytes);
	if (rc == 0) {
		content.p = big.p + FRAME_PREFIX_BYTES;
		content.n = bytes - FRAME_PREFIX_BYTES;
		rc = collect_frame(cl, content, big.p);
	} else {
		buf_fini(&big);
	}
	if (rc < 0)
		refuse_bytes(cl, -rc);
}

static ssize_t
read_socket(struct client *cl, uint8_t *to, size_t n)
{
	ssize_t got;

	do {
		got = read(cl->fd, to, n);
	} while (got < 0 && errno == EINTR);
	if (got > 0)
		stats_add(STAT_bytes_in, (uint64_t)got);
	else if (got == 0)
		client_close(cl, CLOSE_BY_CLIENT);
	else if (errno == EAGAIN)
		return 0;
	else if (errno == ECONNRESET)
		client_close(cl, CLOSE_BY_CLIENT);
	else
		client_close(cl, CLOSE_READ_ERROR);
	return got > 0 ? got : 0;
}

static void
read_big(struct client *cl)
{
	uint8_t *to = buf_reserve(&cl->partial, READ_BYTES);
	ssize_t n;

	if (!to) {
		client_close(cl, CLOSE_NO_MEMORY);
		return;
	}
	n = read_socket(cl, to, READ_BYTES);
	if (n == 0)
		return;
	cl->partial.n += (size_t)n;
	take_big_frame(cl);
}

/* Read into the arena, behind what is left of the last read. */
static void
read_small(struct client *cl)
{
	struct loop *loop = cl->loop;
	uint8_t *p = loop->arena + loop->arena_n;
	size_t n = cl->partial.n, taken;
	ssize_t got;

	got = read_socket(cl, p + n, READ_BYTES);
	if (got == 0)
		return;
	if (n > 0)
		memcpy(p, cl->partial.p, n);
	buf_fini(&cl->partial);
	n += (size_t)got;
	taken = take_frames(cl, p, n);
	loop->arena_n += (taken + 15) & ~(size_t)15;
	if (taken < n && !cl->closed)
		keep_partial(cl, p + taken, n - taken);
}

static void
on_readable(int fd, short what, void *arg)
{
	struct client *cl = arg;
	struct loop *loop = cl->loop;

	(void)fd;
	(void)what;
	if (cl->partial.n > READ_BYTES) {
		read_big(cl);
		return;
	}
	/* when the arena is full the rest is read in the next turn */
	if (loop->arena_n + 2 * READ_BYTES <= COLLECT_ARENA_BYTES)
		read_small(cl);
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
	if (r->away) {
		cl->away_n--;
		cl->away_bytes -= r->bytes_n;
	}
	if (r->timer)
		event_free(r->timer);
	request_free(r);
}

struct request *
client_find_request(struct client *cl, uint64_t id, const struct request * not )
{
	for (struct request *r = cl->requests; r; r = r->all_next)
		if (r->id == id && r != not &&r->away)
			return r;
	return NULL;
}

/* --- Prepared statements -------------------------------------------------- */

int
client_put_prepared(struct client *cl, uint64_t number, struct span sql)
{
	struct prepared *p;

	client_drop_prepared(cl, number);
	if (HASH_COUNT(cl->prepared) >= PREPARED_MAX)
		return -ERR_QUEUE_FULL;
	p = calloc(1, sizeof(*p) + sql.n + 1);
	if (!p)
		return -ERR_NO_MEMORY;
	p->number = number;
	p->n = sql.n;
	if (sql.n)
		memcpy(p->sql, sql.p, sql.n);
	HASH_ADD(hh, cl->prepared, number, sizeof(p->number), p);
	if (!p->hh.tbl) {
		free(p);
		return -ERR_NO_MEMORY;
	}
	return 0;
}

struct span
client_get_prepared(const struct client *cl, uint64_t number)
{
	struct prepared *p = NULL;

	HASH_FIND(hh, cl->prepared, &number, sizeof(number), p);
	return p ? (struct span){ p->sql, p->n } : (struct span){ NULL, 0 };
}

bool
client_drop_prepared(struct client *cl, uint64_t number)
{
	struct prepared *p = NULL;

	HASH_FIND(hh, cl->prepared, &number, sizeof(number), p);
	if (!p)
		return false;
	HASH_DEL(cl->prepared, p);
	free(p);
	return true;
}
