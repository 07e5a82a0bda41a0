/* collect.c - bytes into frames, frames into requests. */
#include "daemon/collect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/stats.h"
#include "proto/error.h"
#include "proto/frame.h"
#include "proto/walk.h"

#define TIMEOUT_MAX_MS ((uint64_t)24 * 3600 * 1000)
/* So many requests of one client are collected in a turn. */
#define FRAMES_PER_TURN 64
/* Read this much at a time. */
#define READ_BYTES ((size_t)64 << 10)
/* So often in a turn, of one whose requests wait anyway: a socket holds 208 KB
 * (net.core.wmem_default), and the last of them may be a CANCEL. */
#define READS_BEHIND 4

/* Refuse a message whose fields are wrong, with the id it gave. */
static void
refuse(struct client *cl, struct request *r, const struct msg_fault *fault)
{
	struct buf *b = client_begin_reply(cl);
	char text[160];

	if (b) {
		msg_describe_fault(fault, text, sizeof(text));
		failure_set(&r->failure, fault->code, "%s", text);
		answer_error(r, b);
		client_end_reply(cl, b);
	}
	request_give(&cl->loop->requests, r);
}

static void
missing(struct msg_fault *fault, uint64_t key, const char *name)
{
	*fault = (struct msg_fault){
		.code = ERR_FIELD_MISSING,
		.key = key,
		.name = name,
	};
}

/* CREDIT and CANCEL may come without an id: then nothing answers them. */
static bool
needs_id(uint64_t type)
{
	return type != TYPE_CREDIT && type != TYPE_CANCEL;
}

static int
read_head(struct request *r, struct span map, struct msg_head *ret_head,
    struct msg_fault *fault)
{
	int rc = msg_read_head(map, ret_head, fault);

	r->id = ret_head->id;
	r->stream = ret_head->stream;
	if (rc < 0)
		return rc;
	if (!MSG_HAS(ret_head, HEAD_type)) {
		missing(fault, HEAD_type, "type");
		return -ERR_FIELD_MISSING;
	}
	if (ret_head->id == 0 && needs_id(ret_head->type)) {
		missing(fault, HEAD_id, "id");
		return -ERR_FIELD_MISSING;
	}
	return 0;
}

/* Nothing may take longer than a day. */
static int64_t
get_timeout_us(uint64_t timeout_ms)
{
	if (timeout_ms > TIMEOUT_MAX_MS)
		timeout_ms = TIMEOUT_MAX_MS;
	return (int64_t)timeout_ms * 1000;
}

/* Take from the body what execution needs. */
static void
take_body(struct request *r)
{
	r->sql = r->ask.sql;
	r->params = r->ask.params;
	r->max_rows = r->ask.max_rows;
	r->commit = r->ask.commit;
	r->read_only = r->ask.read_only;
}

static void
fill_in(struct client *cl, struct request *r, const struct msg_head *head)
{
	struct loop *loop = cl->loop;

	r->client = cl;
	r->home = &loop->mailbox;
	/* a type out of range is as unknown as 0 */
	r->type = (enum msg_type)(head->type < MSG_KEY_END ? head->type : 0);
	r->timeout_us = get_timeout_us(head->timeout_ms);
	r->database = head->database;
	take_body(r);
}

int
collect_keep(struct request *r)
{
	struct span head_map, body_map;
	struct msg_fault fault;
	struct msg_head head;

	if (r->frame)
		return 0;
	r->frame = malloc(r->content.n);
	if (!r->frame)
		return -ERR_NO_MEMORY;
	memcpy(r->frame, r->content.p, r->content.n);
	r->content.p = r->frame;
	/* the same bytes were good before */
	if (walk_frame(r->content, &head_map, &body_map) < 0 ||
	    msg_read_head(head_map, &head, &fault) < 0 ||
	    msg_read_ask(body_map, &r->ask, &fault) < 0)
		return -ERR_NO_MEMORY;
	r->database = head.database;
	take_body(r);
	return 0;
}

/* Read a frame's content and append the request to the collected ones.
 *
 * now_us: when it arrived.  big: the malloc'd buffer that content lies in, the
 * request's from now on; NULL: content lies in the arena.  A fault in a field is
 * answered here, and the connection lives; after one in the bytes it cannot:
 * -ERR_FRAME_MALFORMED, -ERR_FRAME_TOO_DEEP, -ERR_NO_MEMORY. */
static int
collect_frame(struct client *cl, struct span content, void *big, int64_t now_us)
{
	struct span head_map, body_map;
	struct msg_fault fault;
	struct msg_head head;
	struct request *r;
	int rc = walk_frame(content, &head_map, &body_map);

	stats_add(STAT_requests, 1);
	if (rc < 0) {
		free(big);
		return rc;
	}
	r = request_take(&cl->loop->requests);
	if (!r) {
		free(big);
		return -ERR_NO_MEMORY;
	}
	r->frame = big;
	r->arrived_us = now_us;
	r->bytes_n = content.n;
	r->content = content;
	rc = read_head(r, head_map, &head, &fault);
	if (rc == 0)
		rc = msg_read_ask(body_map, &r->ask, &fault);
	if (rc < 0) {
		refuse(cl, r, &fault);
		return 0;
	}
	fill_in(cl, r, &head);
	client_add_request(cl, r);
	/* before HELLO it would be refused */
	line_push(r->type == TYPE_CANCEL && cl->said_hello
		? &cl->loop->cancels
		: &cl->loop->collected,
	    r);
	return 0;
}

/* --- Bytes --------------------------------------------------------------- */

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

/* It has requests left from the turn before: those come first.  (One whose output
 * waits is not read from at all.) */
static bool
is_behind(const struct client *cl)
{
	return (cl->late || (cl->again.head && cl->held.head)) &&
	    !client_is_clogged(cl);
}

/* It is behind with as many as it may have under way, or as long ones. */
static bool
is_full(const struct client *cl)
{
	const struct conf *conf = cl->loop->conf;

	return is_behind(cl) &&
	    (cl->requests_n - cl->away_n >= conf->max_in_flight ||
		cl->requests_bytes - cl->away_bytes >=
		    (uint64_t)conf->max_client_bytes);
}

/* Take the complete frames at p, but not too many of one client in a turn: the
 * others wait.  What comes behind others waits with them, though, and a CANCEL may be
 * among it.  Returns the bytes taken. */
static size_t
take_frames(struct client *cl, uint8_t *p, size_t n)
{
	size_t max = (size_t)cl->loop->conf->max_frame_bytes;
	int64_t now_us = clock_now_us(); /* of all that one read gave */
	bool behind = is_behind(cl);
	size_t at = 0;
	unsigned taken_n = 0;

	while (at < n && !cl->closed && !cl->hangs_up) {
		struct span content;

		if (behind ? is_full(cl) : taken_n++ == FRAMES_PER_TURN) {
			client_mark_more(cl);
			break;
		}
		size_t bytes;
		int rc = frame_peek(p + at, n - at, max, &bytes);

		if (rc == FRAME_PARTIAL)
			break;
		if (rc == 0) {
			content.p = p + at + FRAME_PREFIX_BYTES;
			content.n = bytes - FRAME_PREFIX_BYTES;
			rc = collect_frame(cl, content, NULL, now_us);
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

/* Take the frames of n bytes that stand at the end of the arena. */
static void
take_from_arena(struct client *cl, size_t n)
{
	struct loop *loop = cl->loop;
	uint8_t *p = loop->arena + loop->arena_n;
	size_t taken = take_frames(cl, p, n);

	loop->arena_n += (taken + 15) & ~(size_t)15;
	if (taken < n && !cl->closed)
		keep_partial(cl, p + taken, n - taken);
}

/* A frame that is too long for the arena grows in cl->partial; when it is
 * complete the request takes the bytes over. */
static void
take_big_frame(struct client *cl)
{
	size_t max = (size_t)cl->loop->conf->max_frame_bytes;
	uint8_t *rest = cl->loop->arena + cl->loop->arena_n;
	struct buf big = cl->partial;
	struct span content;
	size_t bytes, rest_n;
	int rc = frame_peek(big.p, big.n, max, &bytes);

	if (rc == FRAME_PARTIAL)
		return;
	buf_init(&cl->partial);
	if (rc < 0) {
		buf_fini(&big);
		refuse_bytes(cl, -rc);
		return;
	}
	rest_n = big.n - bytes;
	memcpy(rest, big.p + bytes, rest_n);
	content.p = big.p + FRAME_PREFIX_BYTES;
	content.n = bytes - FRAME_PREFIX_BYTES;
	rc = collect_frame(cl, content, big.p, clock_now_us());
	if (rc < 0)
		refuse_bytes(cl, -rc);
	else
		take_from_arena(cl, rest_n);
}

static ssize_t
read_socket(struct client *cl, uint8_t *to, size_t n)
{
	ssize_t got;

	do {
		got = recv(cl->fd, to, n, MSG_DONTWAIT);
	} while (got < 0 && errno == EINTR);
	if (got > 0)
		stats_add(STAT_bytes_in, (uint64_t)got);
	else if (got == 0 && cl->drained)
		client_hang_up(cl, CLOSE_SHUTDOWN);
	else if (got == 0)
		client_close(cl, CLOSE_BY_CLIENT);
	else if (errno != EAGAIN)
		client_close(cl,
		    errno == ECONNRESET ? CLOSE_BY_CLIENT : CLOSE_READ_ERROR);
	return got > 0 ? got : 0;
}

/* Says whether there may be more to read, as read_small does. */
static bool
read_big(struct client *cl)
{
	uint8_t *to = buf_reserve(&cl->partial, READ_BYTES);
	ssize_t n;

	if (!to) {
		client_close(cl, CLOSE_NO_MEMORY);
		return false;
	}
	n = read_socket(cl, to, READ_BYTES);
	if (n == 0)
		return false;
	cl->partial.n += (size_t)n;
	take_big_frame(cl);
	return n == (ssize_t)READ_BYTES;
}

/* Read into the arena, behind what is left of the last read. */
static bool
read_small(struct client *cl)
{
	struct loop *loop = cl->loop;
	uint8_t *p = loop->arena + loop->arena_n;
	size_t n = cl->partial.n;
	ssize_t got;

	got = read_socket(cl, p + n, READ_BYTES);
	if (got == 0)
		return false;
	if (n > 0)
		memcpy(p, cl->partial.p, n);
	buf_fini(&cl->partial);
	take_from_arena(cl, n + (size_t)got);
	return got == (ssize_t)READ_BYTES;
}

void
collect_more(struct loop *loop)
{
	struct client *list = loop->more;

	loop->more = NULL;
	while (list) {
		struct client *cl = list;
		size_t n = cl->partial.n;

		list = cl->next_more;
		cl->has_more = false;
		if (cl->closed || cl->hangs_up)
			continue;
		if (is_full(cl) ||
		    loop->arena_n + 2 * READ_BYTES > COLLECT_ARENA_BYTES) {
			client_mark_more(cl);
			continue;
		}
		memcpy(loop->arena + loop->arena_n, cl->partial.p, n);
		buf_fini(&cl->partial);
		take_from_arena(cl, n);
	}
}

/* When the arena is full the rest is read in the next turn. */
static bool
may_read(const struct client *cl)
{
	return !cl->closed && !cl->hangs_up && !cl->has_more && !is_full(cl) &&
	    cl->loop->arena_n + 2 * READ_BYTES <= COLLECT_ARENA_BYTES;
}

void
collect_read(struct client *cl)
{
	bool more = true;

	for (int i = 0; more && i < READS_BEHIND && may_read(cl); i++) {
		more = cl->partial.n > READ_BYTES ? read_big(cl)
						  : read_small(cl);
		/* half of the arena is for the others */
		more = more && is_behind(cl) &&
		    cl->loop->arena_n < COLLECT_ARENA_BYTES / 2;
	}
}
