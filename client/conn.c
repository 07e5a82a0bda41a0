/* conn.c - bytes to and from the socket, and which reply is whose.
 *
 * Writing appends whole frames to `out`; reading takes whole frames from `in`
 * and hands each to its result.  conn_turn does both, so whoever waits for
 * one thing moves everything. */
#include "impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/frame.h"
#include "proto/walk.h"
#include "socket.h"

int
conn_fail(struct sqlpool_conn *conn, int code, enum error_outcome outcome,
    const char *format, ...)
{
	va_list args;

	va_start(args, format);
	failure_set_v(&conn->failure, code, outcome, format, args);
	va_end(args);
	return -code;
}

int
conn_check(struct sqlpool_conn *conn)
{
	if (!conn)
		return -ERR_MISUSE;
	if (conn->fd < 0)
		return conn_fail(conn,
		    conn->dead ? conn->dead : ERR_CONNECTION_LOST,
		    OUTCOME_NOT_APPLIED,
		    "the connection was lost before: open another one");
	return 0;
}

/* ---- going out ---- */

static size_t
pending_bytes(const struct sqlpool_conn *conn)
{
	return conn->out.n - conn->out_at;
}

static bool
wants_to_write(const struct sqlpool_conn *conn)
{
	return pending_bytes(conn) > 0 && !conn->write_broken;
}

/* Keep the memory of `out` small when it is empty, and its written part
 * short when it is not. */
static void
trim_out(struct sqlpool_conn *conn)
{
	if (pending_bytes(conn) == 0) {
		conn->out_at = 0;
		if (conn->out.cap > 4 * FLUSH_BYTES)
			buf_fini(&conn->out);
		else
			buf_reset(&conn->out);
	} else if (conn->out_at > conn->out.n / 2) {
		memmove(conn->out.p, conn->out.p + conn->out_at,
		    pending_bytes(conn));
		conn->out.n -= conn->out_at;
		conn->out_at = 0;
	}
}

/* Write until the socket is full.  Returns 0 or the code it died of. */
static int
write_some(struct sqlpool_conn *conn)
{
	if (buf_failed(&conn->out))
		return conn_kill(conn, ERR_NO_MEMORY, "out of memory");
	while (wants_to_write(conn)) {
		ssize_t n = socket_send(
		    conn->fd, conn->out.p + conn->out_at, pending_bytes(conn));

		if (n == -EAGAIN)
			break;
		if (n < 0) {
			/* what it sent before it closed may say why */
			conn->write_broken = true;
			break;
		}
		conn->out_at += (size_t)n;
		conn->out_total += (uint64_t)n;
	}
	trim_out(conn);
	return 0;
}

/* ---- coming in ---- */

static int
bad_reply(struct sqlpool_conn *conn, const char *why)
{
	return conn_kill(conn, ERR_BAD_REPLY,
	    "the daemon sent something that is not a reply: %s", why);
}

/* What has not been sent never will be, unless it belongs to a transaction, which
 * may be brought to its end. */
static void
take_goaway(struct sqlpool_conn *conn)
{
	struct failure f = { 0 };

	conn->going_away = true;
	if (conn->in_transaction)
		return;
	failure_set(&f, ERR_SHUTTING_DOWN, OUTCOME_NOT_APPLIED, "%s",
	    error_get_text(ERR_SHUTTING_DOWN));
	while (conn->unsent.first) {
		result_fail(conn->unsent.first, &f);
		flight_end_result(conn->unsent.first);
	}
	failure_clear(&f);
}

/* A reply that belongs to no request. */
static int
take_notice(
    struct sqlpool_conn *conn, uint64_t type, const struct msg_tell *tell)
{
	struct failure f = { 0 };
	int rc = 0;

	if (type == TYPE_GOAWAY) {
		take_goaway(conn);
	} else if (type == TYPE_ERROR) {
		failure_take(&f, tell);
		rc = conn_kill(conn, f.pub.code, "%s", f.pub.message);
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
		free(chunk);
		return;
	}
	if (result->discard) {
		free(chunk);
		flight_refill_window(result, result->received);
		return;
	}
	chunk->next = NULL;
	if (result->last)
		result->last->next = chunk;
	else
		result->first = chunk;
	result->last = chunk;
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

static void
take_end(struct sqlpool_result *result, uint64_t type,
    const struct msg_tell *tell, struct chunk *chunk)
{
	struct sqlpool_conn *conn = result->conn;
	struct failure f = { 0 };

	if (tells_state(result, type, tell))
		conn->in_transaction = tell->tx_state != TX_STATE_NONE;
	result_take_summary(&result->summary, tell);
	result->summary.in_transaction = conn->in_transaction;
	if (type == TYPE_ERROR) {
		failure_take(&f, tell);
		result_fail(result, &f);
		failure_clear(&f);
		free(chunk);
	} else if (type == TYPE_DONE && !result->discard) {
		take_rows(result, chunk);
	} else {
		if (result->on_ok && !result->failure.pub.code)
			result->on_ok(result->on_ok_arg, tell);
		free(chunk);
	}
	flight_end_result(result); /* the result may be gone now */
	flight_start_unsent(conn);
}

static int
dispatch(struct sqlpool_conn *conn, const struct msg_head *head,
    const struct msg_tell *tell, struct chunk *chunk)
{
	struct sqlpool_result *result = flight_find(conn, head->id);
	uint64_t type = head->type;

	if (head->id == 0 || !result || result->state != RESULT_WAITING) {
		int rc = take_notice(conn, head->id ? 0 : type, tell);

		free(chunk);
		return rc;
	}
	if (type == TYPE_ROWS && result->received >= result->granted) {
		free(chunk);
		return bad_reply(conn, "more rows than there is room for");
	}
	if (type == TYPE_ROWS && result->done_expected) {
		result->received += FRAME_PREFIX_BYTES + chunk->n;
		take_rows(result, chunk);
		return 0;
	}
	if (type == TYPE_ERROR ||
	    type == (result->done_expected ? TYPE_DONE : TYPE_OK)) {
		take_end(result, type, tell, chunk);
		return 0;
	}
	free(chunk);
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
		free(chunk);
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
	struct chunk *chunk = malloc(sizeof(*chunk) + n + 1);

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
			return conn_kill(conn, ERR_NO_MEMORY, "out of memory");
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

/* n bytes were read, to where get_room wanted them. */
static int
take_bytes(struct sqlpool_conn *conn, size_t n)
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

/* Where the next bytes go: to the rest of a long frame and a little of what
 * follows it, or behind what is there.  Returns how many. */
static size_t
get_room(struct sqlpool_conn *conn, struct iovec iov[2])
{
	struct chunk *chunk = conn->big;

	iov[1].iov_base = conn->in + conn->in_n;
	iov[1].iov_len = chunk ? AHEAD_BYTES : IN_BYTES - conn->in_n;
	iov[0].iov_base = chunk ? chunk->bytes + conn->big_n : NULL;
	iov[0].iov_len = chunk ? chunk->n - conn->big_n : 0;
	return iov[0].iov_len + iov[1].iov_len;
}

/* Read once.  *ret_any is set when something came, *ret_more when as much as was
 * asked for came, so that there may be more. */
static int
read_some(struct sqlpool_conn *conn, bool *ret_any, bool *ret_more)
{
	struct iovec iov[2];
	size_t room;
	ssize_t n;

	*ret_more = false;
	if (!conn->in) {
		conn->in = malloc(IN_BYTES);
		if (!conn->in)
			return conn_kill(conn, ERR_NO_MEMORY, "out of memory");
	}
	room = get_room(conn, iov);
	n = socket_recv(conn->fd, iov, 2);
	if (n == -EAGAIN)
		return 0;
	if (n == 0)
		return conn_kill(conn, ERR_CONNECTION_LOST,
		    "the daemon closed the connection");
	if (n < 0)
		return conn_kill(conn, ERR_CONNECTION_LOST,
		    "the connection broke: %s", strerror((int)-n));
	*ret_any = true;
	*ret_more = (size_t)n == room;
	return take_bytes(conn, (size_t)n);
}

/* Give back the buffers of a connection that expects nothing. */
static void
trim_idle(struct sqlpool_conn *conn)
{
	if (conn->in_flight_n > 0 || conn->in_n > 0 || conn->big)
		return;
	free(conn->in);
	conn->in = NULL;
	if (pending_bytes(conn) == 0 && conn->out.cap > IDLE_BYTES)
		buf_fini(&conn->out);
}

/* Sleep until the socket can be read, or written if there is something. */
static int
sleep_for_socket(struct sqlpool_conn *conn, int64_t deadline_us)
{
	int rc = socket_wait(conn->fd, wants_to_write(conn), deadline_us);

	if (rc == -ETIMEDOUT)
		return -ERR_CLIENT_TIMEOUT;
	if (rc < 0 && rc != -EINTR)
		return conn_kill(conn, ERR_CONNECTION_LOST,
		    "the connection broke: %s", strerror(-rc));
	return 0;
}

/* The socket is the parent's: only it may use it. */
static int
check_process(struct sqlpool_conn *conn)
{
	if (conn->pid == getpid())
		return 0;
	return conn_fail(conn, ERR_MISUSE, OUTCOME_NOT_APPLIED,
	    "the connection belongs to process %ld, which forked this one: "
	    "open another one here",
	    (long)conn->pid);
}

/* Read all there is.  *ret_any: there was something. */
static int
read_all(struct sqlpool_conn *conn, bool *ret_any)
{
	bool more = true;
	int rc = 0;

	*ret_any = false;
	while (rc == 0 && more)
		rc = read_some(conn, ret_any, &more);
	return rc;
}

int
conn_turn(struct sqlpool_conn *conn, bool wait, int64_t deadline_us)
{
	/* of several replies one may be there; a lone one never is */
	bool early = !wait || conn->in_flight_n > 1;
	bool any = false;
	int rc = check_process(conn);

	if (rc == 0)
		rc = write_some(conn);
	if (rc == 0 && early)
		rc = read_all(conn, &any);
	if (rc == 0 && wait && !any) {
		rc = sleep_for_socket(conn, deadline_us);
		if (rc == 0)
			rc = write_some(conn);
		if (rc == 0)
			rc = read_all(conn, &any);
	}
	if (rc < 0)
		return rc;
	trim_idle(conn);
	/* credit and requests that became possible */
	return write_some(conn);
}

int
sqlpool_process(struct sqlpool_conn *conn)
{
	int rc = conn_check(conn);

	return rc < 0 ? rc : conn_turn(conn, false, 0);
}

int
sqlpool_get_pollinfo(struct sqlpool_conn *conn, int *ret_fd, short *ret_events)
{
	int rc = conn_check(conn);

	if (rc < 0)
		return rc;
	if (!ret_fd || !ret_events)
		return -ERR_MISUSE;
	*ret_fd = conn->fd;
	*ret_events = socket_get_events(wants_to_write(conn));
	return 0;
}

/* ---- the end ---- */

int
conn_kill(struct sqlpool_conn *conn, int code, const char *format, ...)
{
	struct sqlpool_result *result, *next;
	va_list args;

	va_start(args, format);
	failure_set_v(&conn->failure, code, OUTCOME_UNKNOWN, format, args);
	va_end(args);
	if (conn->fd >= 0)
		close(conn->fd);
	conn->fd = -1;
	conn->dead = code;
	conn->in_transaction = false;
	for (result = conn->results; result; result = next) {
		next = result->next;
		flight_fail(conn, result);
	}
	buf_fini(&conn->out);
	conn->out_at = 0;
	free(conn->in);
	conn->in = NULL;
	conn->in_n = 0;
	free(conn->big);
	conn->big = NULL;
	return -code;
}
