/* input.c - bytes that came into frames, and frames to their results. */
#include "impl.h"

#include <string.h>
#include <sys/uio.h>

#include "proto/frame.h"
#include "proto/walk.h"

#define SQL_READONLY 8 /* SQLITE_READONLY, sqlite.org/rescode.html */

static int
bad_reply(struct sqlpool_conn *conn, const char *why)
{
	return life_lose(conn, ERR_BAD_REPLY,
	    "the daemon sent something that is not a reply: %s", why);
}

/* A reply that belongs to no request. */
static int
take_notice(
    struct sqlpool_conn *conn, uint64_t type, const struct msg_tell *tell)
{
	struct failure f = { 0 };
	int rc = 0;

	if (type == TYPE_GOAWAY) {
		life_leave(conn);
	} else if (type == TYPE_ERROR) {
		failure_take(&f, tell);
		rc = life_lose(conn, f.pub.code, "%s", f.pub.message);
		failure_clear(&f);
	} else {
		rc = bad_reply(conn, "no request has this id");
	}
	return rc;
}

/* Give a chunk with rows to its result, or drop it. */
static void
take_rows(struct sqlpool_result *result, struct chunk *chunk)
{
	if (result->zombie || result->failure.pub.code) {
		mem_free(chunk);
		return;
	}
	if (result->discard) {
		mem_free(chunk);
		flight_refill_window(result, result->received);
		return;
	}
	chunk->next = NULL;
	if (result->last)
		result->last->next = chunk;
	else
		result->first = chunk;
	result->last = chunk;
	async_mark(result);
}

/* An absent tx_state is 0, "none", where a reply has one at all: not in those
 * that have nothing to do with transactions, nor in errors from before the
 * request was understood. */
static bool
tells_state(const struct sqlpool_result *result, uint64_t type,
    const struct msg_tell *tell)
{
	if (MSG_HAS(tell, TELL_tx_state))
		return true;
	return result->in_stream &&
	    !(type == TYPE_ERROR && tell->class == CLASS_PROTOCOL);
}

/* A daemon that stops has refused what came too late: another one will take it.
 * Nothing of it was run. */
static bool
is_turned_away(struct sqlpool_result *result, const struct msg_tell *tell)
{
	struct sqlpool_conn *conn = result->conn;

	if (tell->code != ERR_SHUTTING_DOWN || conn->in_transaction ||
	    result->turned_away || result->failure.pub.code || result->zombie ||
	    result->type == TYPE_HELLO || result->type == TYPE_TX_END ||
	    !life_can_return(conn))
		return false;
	result->turned_away = true;
	return true;
}

/* It is known now that what was lost was not a read. */
static bool
is_no_read(const struct sqlpool_result *result, const struct msg_tell *tell)
{
	return result->probe && tell->code == SQL_READONLY;
}

static void
take_error(struct sqlpool_result *result, const struct msg_tell *tell)
{
	struct failure f = { 0 };

	if (is_no_read(result, tell)) {
		failure_set(&f, ERR_CONNECTION_LOST, OUTCOME_UNKNOWN,
		    "the connection was lost before the answer came, and the "
		    "statement writes: it may have been applied");
	} else {
		failure_take(&f, tell);
	}
	result_fail(result, &f);
	failure_clear(&f);
}

static void
take_end(struct sqlpool_result *result, uint64_t type,
    const struct msg_tell *tell, struct chunk *chunk)
{
	struct sqlpool_conn *conn = result->conn;

	if (tells_state(result, type, tell))
		conn->in_transaction = tell->tx_state != TX_STATE_NONE;
	result_take_summary(&result->summary, tell);
	result->summary.in_transaction = conn->in_transaction;
	if (type == TYPE_ERROR) {
		take_error(result, tell);
		mem_free(chunk);
	} else if (type == TYPE_DONE && !result->discard) {
		take_rows(result, chunk);
	} else {
		if (result->on_ok && !result->failure.pub.code)
			result->on_ok(result->on_ok_arg, tell);
		mem_free(chunk);
	}
	flight_end_result(result); /* the result may be gone now */
	flight_start_unsent(conn);
}

/* HELLO failed. */
static int
take_refusal(struct sqlpool_result *result, const struct msg_tell *tell,
    struct chunk *chunk)
{
	struct failure f = { 0 };
	int rc;

	failure_take(&f, tell);
	mem_free(chunk);
	rc = life_lose(result->conn, f.pub.code, "%s", f.pub.message);
	failure_clear(&f);
	return rc;
}

static int
dispatch(struct sqlpool_conn *conn, const struct msg_head *head,
    const struct msg_tell *tell, struct chunk *chunk)
{
	struct sqlpool_result *result = flight_find(conn, head->id);
	uint64_t type = head->type;

	if (head->id == 0 || !result || result->state != RESULT_WAITING) {
		int rc = take_notice(conn, head->id ? 0 : type, tell);

		mem_free(chunk);
		return rc;
	}
	if (type == TYPE_ROWS && result->received >= result->granted) {
		mem_free(chunk);
		return bad_reply(conn, "more rows than there is room for");
	}
	if (type == TYPE_ROWS && result->done_expected) {
		result->received += FRAME_PREFIX_BYTES + chunk->n;
		take_rows(result, chunk);
		return 0;
	}
	if (type == TYPE_ERROR && is_turned_away(result, tell)) {
		mem_free(chunk);
		flight_put_back(result);
		life_leave(conn);
		return 0;
	}
	if (type == TYPE_ERROR && result->type == TYPE_HELLO)
		return take_refusal(result, tell, chunk);
	if (type == TYPE_ERROR ||
	    type == (result->done_expected ? TYPE_DONE : TYPE_OK)) {
		take_end(result, type, tell, chunk);
		return 0;
	}
	mem_free(chunk);
	return bad_reply(conn, "a type that does not answer the request");
}

/* A whole frame's content. */
static int
take_frame(struct sqlpool_conn *conn, struct chunk *chunk)
{
	struct msg_head head;
	struct msg_tell tell;
	struct msg_fault fault;
	struct span content = { chunk->bytes, chunk->n };
	struct span head_map, body_map;
	const char *why = NULL;

	if (walk_frame(content, &head_map, &body_map) < 0)
		why = "not two msgpack maps";
	else if (msg_read_head(head_map, &head, &fault) < 0 ||
	    !MSG_HAS(&head, HEAD_type) || !MSG_HAS(&head, HEAD_id))
		why = "a header without type and id";
	else if (msg_read_tell(body_map, &tell, &fault) < 0)
		why = "a field of the wrong type";
	else if (head.type == TYPE_ERROR && tell.code == 0)
		why = "an error without a code";
	if (why) {
		mem_free(chunk);
		return bad_reply(conn, why);
	}
	chunk->columns = tell.columns;
	chunk->decltypes = tell.decltypes;
	chunk->rows = tell.rows;
	chunk->steps = tell.steps;
	return dispatch(conn, &head, &tell, chunk);
}

static struct chunk *
make_chunk(size_t n)
{
	struct chunk *chunk = mem_resize(NULL, sizeof(*chunk) + n + 1);

	if (chunk) {
		*chunk = (struct chunk){ .n = n };
		chunk->bytes[n] = 0;
	}
	return chunk;
}

/* Take the whole frames at the start of `in`; the rest moves to the front, or
 * into `big` when it is long: then what is still to come need not be copied. */
static int
take_input(struct sqlpool_conn *conn)
{
	size_t at = 0;
	int rc = 0;

	while (rc == 0) {
		struct chunk *chunk;
		const uint8_t *from;
		size_t bytes, have = conn->in_n - at;
		int peek = frame_peek(
		    conn->in + at, have, conn->max_frame_in, &bytes);

		if (peek < 0)
			return bad_reply(conn, error_get_text(-peek));
		if (peek == FRAME_PARTIAL && bytes <= BIG_BYTES)
			break;
		chunk = make_chunk(bytes - FRAME_PREFIX_BYTES);
		if (!chunk)
			return life_lose(conn, ERR_NO_MEMORY, "out of memory");
		from = conn->in + at + FRAME_PREFIX_BYTES;
		if (peek == FRAME_PARTIAL) {
			memcpy(chunk->bytes, from, have - FRAME_PREFIX_BYTES);
			conn->big = chunk;
			conn->big_n = have - FRAME_PREFIX_BYTES;
			at += have;
			break;
		}
		memcpy(chunk->bytes, from, bytes - FRAME_PREFIX_BYTES);
		at += bytes;
		rc = take_frame(conn, chunk);
	}
	if (rc == 0) {
		memmove(conn->in, conn->in + at, conn->in_n - at);
		conn->in_n -= at;
	}
	return rc;
}

int
input_take(struct sqlpool_conn *conn, size_t n)
{
	struct chunk *chunk = conn->big;
	size_t left = chunk ? chunk->n - conn->big_n : 0;
	int rc = 0;

	if (n < left) {
		conn->big_n += n;
		return 0;
	}
	if (chunk) {
		conn->big = NULL;
		rc = take_frame(conn, chunk);
	}
	conn->in_n += n - left;
	return rc < 0 ? rc : take_input(conn);
}

size_t
input_get_room(struct sqlpool_conn *conn, struct iovec iov[2])
{
	struct chunk *chunk = conn->big;

	iov[1].iov_base = conn->in + conn->in_n;
	iov[1].iov_len = chunk ? AHEAD_BYTES : IN_BYTES - conn->in_n;
	iov[0].iov_base = chunk ? chunk->bytes + conn->big_n : NULL;
	iov[0].iov_len = chunk ? chunk->n - conn->big_n : 0;
	return iov[0].iov_len + iov[1].iov_len;
}
