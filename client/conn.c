/* conn.c - bytes to and from the socket, and when to sleep.
 *
 * Writing appends whole frames to `out`; reading takes whole frames from `in`
 * and hands each to its result (input.c).  conn_turn does both, so whoever waits
 * for one thing moves everything. */
#include "impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
	if (conn->state != CONN_DEAD)
		return 0;
	return conn_fail(conn, conn->why.pub.code, OUTCOME_NOT_APPLIED,
	    "the connection has ended before: %s", conn->why.pub.message);
}

/* The socket is the parent's: only it may use it. */
int
conn_check_process(struct sqlpool_conn *conn)
{
	if (conn->pid == socket_get_pid())
		return 0;
	return conn_fail(conn, ERR_MISUSE, OUTCOME_NOT_APPLIED,
	    "the connection belongs to process %ld, which forked this one: "
	    "open another one here",
	    (long)conn->pid);
}

/* ---- going out ---- */

static size_t
pending_bytes(const struct sqlpool_conn *conn)
{
	return conn->out.n - conn->out_at;
}

bool
conn_wants_to_write(const struct sqlpool_conn *conn)
{
	return pending_bytes(conn) > 0 && !conn->write_broken;
}

/* Keep the memory of `out` small when it is empty, and its written part
 * short when it is not. */
static void
trim_out(struct sqlpool_conn *conn)
{
	if (pending_bytes(conn) == 0) {
		conn->unwritten_n = 0;
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
		return life_lose(conn, ERR_NO_MEMORY, "out of memory");
	while (conn_wants_to_write(conn)) {
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
		conn->in = mem_resize(NULL, IN_BYTES);
		if (!conn->in)
			return life_lose(conn, ERR_NO_MEMORY, "out of memory");
	}
	room = input_get_room(conn, iov);
	n = socket_recv(conn->fd, iov, 2);
	if (n == -EAGAIN)
		return 0;
	if (n == 0)
		return life_lose(conn, ERR_CONNECTION_LOST,
		    "the daemon closed the connection");
	if (n < 0)
		return life_lose(conn, ERR_CONNECTION_LOST,
		    "the connection broke: %s", strerror((int)-n));
	*ret_any = true;
	*ret_more = (size_t)n == room;
	return input_take(conn, (size_t)n);
}

/* Give back the buffers of a connection that expects nothing. */
static void
trim_idle(struct sqlpool_conn *conn)
{
	if (conn->in_flight_n > 0 || conn->in_n > 0 || conn->big)
		return;
	mem_free(conn->in);
	conn->in = NULL;
	if (pending_bytes(conn) == 0 && conn->out.cap > IDLE_BYTES)
		buf_fini(&conn->out);
	result_drop_spares(conn);
}

/* Sleep until the socket can be used, or it is time to do something about the
 * connection. */
static int
sleep_for_socket(struct sqlpool_conn *conn, int64_t deadline_us)
{
	int64_t timer_us = life_get_timer(conn);
	int64_t until_us = timer_us < deadline_us ? timer_us : deadline_us;
	int rc = socket_wait(conn->fd, conn_wants_to_write(conn), until_us);

	if (rc == -ETIMEDOUT)
		return until_us < deadline_us ? 0 : -ERR_CLIENT_TIMEOUT;
	if (rc < 0 && rc != -EINTR)
		return life_lose(conn, ERR_CONNECTION_LOST,
		    "the connection broke: %s", strerror(-rc));
	return 0;
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

/* Look for a short while, if that has paid lately: patience.h. */
static int
look_for_input(struct sqlpool_conn *conn, int64_t began_us, bool *ret_any)
{
	struct patience *p = &conn->patience;
	int64_t now_us = began_us, until_us;
	int rc = 0;

	if (patience_asks(p, began_us))
		patience_ask_core(p, began_us);
	until_us = began_us + patience_get_us(p);
	while (rc == 0 && !*ret_any && now_us < until_us) {
		rc = read_all(conn, ret_any);
		now_us = socket_now_us();
	}
	return rc;
}

/* Wait until something was read, or could be written. */
static int
wait_for_input(struct sqlpool_conn *conn, int64_t deadline_us)
{
	bool looks = conn->patience.bound_us > 0 && !conn_wants_to_write(conn);
	int64_t began_us = looks ? socket_now_us() : 0;
	bool any = false;
	int rc = looks ? look_for_input(conn, began_us, &any) : 0;

	if (rc == 0 && !any) {
		rc = sleep_for_socket(conn, deadline_us);
		if (rc == 0)
			rc = write_some(conn);
		if (rc == 0)
			rc = read_all(conn, &any);
	}
	if (looks && any)
		patience_note(&conn->patience, socket_now_us() - began_us);
	return rc;
}

/* Write, read, and sleep between, on a socket that is there. */
static int
move_bytes(struct sqlpool_conn *conn, bool wait, int64_t deadline_us)
{
	bool was_unsent = conn_wants_to_write(conn);
	bool any = false;
	int rc = write_some(conn);
	/* of several replies one may be there; a lone one is not yet when its
	 * request has only just been written */
	bool early = conn->in_flight_n > 1 || conn->write_broken ||
	    (!wait && !(was_unsent && conn->in_flight_n == 1));

	if (rc == 0 && early)
		rc = read_all(conn, &any);
	if (rc == 0 && wait && !any)
		rc = wait_for_input(conn, deadline_us);
	if (rc < 0)
		return rc;
	trim_idle(conn);
	/* credit and requests that became possible */
	return write_some(conn);
}

int
conn_turn(struct sqlpool_conn *conn, bool wait, int64_t deadline_us)
{
	int rc = conn_check_process(conn);

	if (rc == 0 && conn->state != CONN_OPEN)
		rc = life_turn(conn);
	if (rc < 0)
		return rc;
	if (conn->fd >= 0)
		rc = move_bytes(conn, wait, deadline_us);
	else if (wait && conn->state == CONN_WAITING)
		rc = sleep_for_socket(conn, deadline_us);
	if (rc == -ERR_CLIENT_TIMEOUT)
		return rc;
	/* what was lost and can come back is no error: results have it */
	return conn->state == CONN_OPEN ? 0 : life_turn(conn);
}

void
conn_drop_socket(struct sqlpool_conn *conn)
{
	if (conn->fd >= 0 && conn->fd == conn->polled_fd) {
		/* it stays open, and its number taken, until the application
		 * has been told of another one: it may be in an epoll set */
		socket_end(conn->fd);
		conn->old_fd = conn->fd;
	} else if (conn->fd >= 0) {
		close(conn->fd);
	}
	conn->fd = -1;
	conn->write_broken = false;
	buf_fini(&conn->out);
	conn->out_at = 0;
	mem_free(conn->in);
	conn->in = NULL;
	conn->in_n = 0;
	mem_free(conn->big);
	conn->big = NULL;
}
