/* life.c - connect, HELLO, lose the connection and find another.
 *
 *	open, reset      a request
 *	     |               |   .--------------- DOWN <-------------.
 *	     v               v   |                 ^                 | lost, and
 *	   WAITING <-------------'                 | none found      | nothing to do
 *	     |    ^-- again, a bit later --.-------'                 |
 *	     |                             |                         |
 *	     '--connect--> OPENING --------'                         |
 *	                      '--- OK ---> OPEN ---GOAWAY--> LEAVING-'
 *
 * What cannot come back is DEAD instead: a connection that was never open, one on
 * a descriptor of the application's or that should stay lost, one whose peer talks
 * nonsense.
 *
 * While there is no socket, requests wait as UNSENT, until the connect timeout
 * has passed since the loss; then they fail, and later ones find out with a
 * single attempt each, until there is a daemon again. */
#include "impl.h"

#include <errno.h>
#include <string.h>

#include "proto/frame.h"
#include "socket.h"

/* As many requests as are surely accepted, until HELLO's reply tells. */
#define FIRST_IN_FLIGHT 1

/* Between attempts to connect, doubled up to: a daemon that starts again does so
 * within tens of milliseconds, or must recover a log first. */
#define DELAY_MS     5
#define DELAY_MAX_MS 160

bool
life_can_return(const struct sqlpool_conn *conn)
{
	return conn->opened && !conn->use_fd && !conn->no_reconnect;
}

int
life_explain(struct sqlpool_conn *conn, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	failure_set_v(&conn->why, code, error_get_outcome(code), format, args);
	va_end(args);
	return -code;
}

void
life_begin(struct sqlpool_conn *conn)
{
	int64_t now_us = socket_now_us();

	conn->state = CONN_WAITING;
	conn->next_try_us = now_us;
	conn->delay_ms = DELAY_MS;
	conn->give_up_us = now_us;
	if (!conn->failing)
		conn->give_up_us += (int64_t)conn->connect_timeout_ms * 1000;
}

int64_t
life_get_timer(const struct sqlpool_conn *conn)
{
	switch (conn->state) {
	case CONN_WAITING:
		return conn->next_try_us;
	case CONN_OPENING:
		return conn->give_up_us;
	case CONN_DOWN:
	case CONN_OPEN:
	case CONN_LEAVING:
	case CONN_DEAD:
		break;
	}
	return INT64_MAX;
}

/* ---- HELLO ---- */

static void
copy_text(char *to, size_t size, struct span from)
{
	size_t n = from.n < size ? from.n : size - 1;

	if (n > 0)
		memcpy(to, from.p, n);
	to[n] = '\0';
}

/* Before anything that uses them; one that fails is STATEMENT_UNKNOWN then. */
static void
prepare_again(struct sqlpool_conn *conn)
{
	struct sqlpool_result *result;

	for (struct sqlpool_stmt *s = conn->stmts; s; s = s->next) {
		if (request_prepare(s, &result) < 0)
			continue;
		result->zombie = true;
		flight_submit_first(conn, result, false);
	}
}

static void
take_hello(void *arg, const struct msg_tell *tell)
{
	struct sqlpool_conn *conn = arg;

	copy_text(conn->server_text, sizeof(conn->server_text), tell->server);
	copy_text(conn->sqlite_text, sizeof(conn->sqlite_text), tell->sqlite);
	copy_text(
	    conn->database_text, sizeof(conn->database_text), tell->database);
	conn->server.epoch = tell->epoch;
	if (tell->max_frame >= FRAME_LEAST_MAX_BYTES &&
	    tell->max_frame <= FRAME_HARD_MAX_BYTES)
		conn->max_frame_out = tell->max_frame;
	if (tell->window_bytes > 0 && tell->window_bytes <= UINT32_MAX)
		conn->window_bytes = (uint32_t)tell->window_bytes;
	conn->in_flight_max = tell->in_flight_n > 0 ? tell->in_flight_n
						    : FIRST_IN_FLIGHT;
	conn->in_flight_bytes_max = MSG_HAS(tell, TELL_in_flight_bytes)
	    ? tell->in_flight_bytes
	    : UINT64_MAX;
	if (MSG_HAS(tell, TELL_timeout_ms))
		conn->daemon_timeout_ms = tell->timeout_ms > 0 &&
			tell->timeout_ms < LONGEST_REQUEST_MS
		    ? (uint32_t)tell->timeout_ms
		    : LONGEST_REQUEST_MS;
	conn->server.max_frame_bytes = conn->max_frame_out;
	conn->server.in_flight_n = conn->in_flight_max;
	conn->state = CONN_OPEN;
	conn->opened = true;
	conn->failing = false;
	prepare_again(conn);
}

static int
say_hello(struct sqlpool_conn *conn)
{
	struct sqlpool_result *result = result_new(conn, TYPE_HELLO);
	struct msg_out m;
	int rc;

	if (!result)
		return -ERR_NO_MEMORY;
	/* not request_begin: the database is in the header */
	result->on_ok = take_hello;
	result->on_ok_arg = conn;
	msg_begin(&m, &result->frame, TYPE_HELLO, result->id, 0);
	if (conn->database)
		msg_put_str(&m, HEAD_database, conn->database);
	msg_open_body(&m);
	msg_put_uint(&m, ASK_version, MSG_VERSION);
	msg_put_uint(
	    &m, ASK_features, conn->decltypes ? MSG_FEATURE_DECLTYPES : 0);
	msg_put_str(&m, ASK_app_name,
	    conn->app_name ? conn->app_name : program_invocation_short_name);
	msg_put_uint(&m, ASK_max_frame, conn->max_frame_in);
	msg_put_uint(&m, ASK_window_bytes, conn->window_bytes);
	rc = request_end(result, &m);
	if (rc < 0)
		return rc;
	result->zombie = true;
	conn->in_flight_max = FIRST_IN_FLIGHT;
	flight_submit_first(conn, result, true);
	return 0;
}

/* ---- connecting ---- */

/* Nobody was found, for now or in all the time there was. */
static void
give_up(struct sqlpool_conn *conn)
{
	conn->state = life_can_return(conn) ? CONN_DOWN : CONN_DEAD;
	conn->failing = true;
	while (conn->unsent.first)
		flight_fail(conn->unsent.first, &conn->why);
}

/* conn->why says what went wrong.  Is it worth another attempt? */
static void
try_later(struct sqlpool_conn *conn, bool temporary)
{
	int64_t next_us = socket_now_us() + (int64_t)conn->delay_ms * 1000;

	if (!temporary || next_us > conn->give_up_us) {
		give_up(conn);
		return;
	}
	conn->state = CONN_WAITING;
	conn->next_try_us = next_us;
	if (conn->delay_ms < DELAY_MAX_MS)
		conn->delay_ms *= 2;
}

static void
try_connect(struct sqlpool_conn *conn)
{
	int rc;

	if (!conn->use_fd && open_find_socket(conn) < 0) {
		try_later(conn, conn->opened);
		return;
	}
	if (!conn->use_fd) {
		rc = socket_connect(conn->path_text, &conn->fd);
		if (rc < 0) {
			open_explain(conn, -rc);
			try_later(conn, conn->opened || rc == -EAGAIN);
			return;
		}
	}
	conn->state = CONN_OPENING;
	if (conn->failing)
		conn->give_up_us = socket_now_us() +
		    (int64_t)conn->connect_timeout_ms * 1000;
	if (say_hello(conn) < 0) {
		life_explain(conn, ERR_NO_MEMORY, "out of memory");
		conn_drop_socket(conn);
		give_up(conn);
	}
}

/* ---- losing it ---- */

/* Can the request be sent again, on another connection? */
static bool
may_put_back(const struct sqlpool_result *result)
{
	if (result->zombie || result->failure.pub.code ||
	    result->frame.n == 0 || result->type == TYPE_TX_END)
		return false;
	if (!flight_was_sent(result))
		return true;
	/* rows that the application has seen cannot be taken back */
	return !result->repeated && !result->loaded && result->consumed == 0 &&
	    (result->repeatable || result->type == TYPE_EXEC ||
		result->type == TYPE_BATCH);
}

/* What was sent is sent again: as it is, or so that it must be a read. */
static void
send_again(struct sqlpool_result *result)
{
	bool was_sent = flight_was_sent(result);

	if (was_sent && !result->repeatable && !request_make_probe(result)) {
		flight_fail(result, &result->conn->why);
		return;
	}
	result->repeated = was_sent;
	flight_put_back(result);
}

/* Sort what is in flight.  Returns whether the end of a transaction was. */
static bool
sort_results(struct sqlpool_conn *conn, bool again)
{
	struct sqlpool_result *result, *next;
	bool ended = false;

	/* from the newest to the oldest */
	for (result = conn->results; result; result = next) {
		next = result->next;
		if (!result->in_table)
			continue;
		ended = ended || result->type == TYPE_TX_END;
		if (again && may_put_back(result)) {
			if (result->state == RESULT_WAITING)
				send_again(result);
		} else {
			flight_fail(result, &conn->why);
		}
	}
	return ended;
}

/* The transaction is over, but for the application, which must not go on as if
 * its statements were still in one. */
static void
lose_transaction(struct sqlpool_conn *conn, bool ended, bool dead)
{
	conn->tx_lost = conn->in_transaction && !ended && !dead;
	conn->in_transaction = conn->tx_lost;
}

/* What the daemon says to HELLO, or that it says nothing, matters to whoever
 * opens: a silent peer is "cannot connect". */
static void
explain_silence(struct sqlpool_conn *conn)
{
	int code = conn->why.pub.code;

	if (code != ERR_CONNECTION_LOST && code != ERR_CLIENT_TIMEOUT)
		return;
	life_explain(conn, ERR_CONNECT,
	    "connected to %s, but there was no answer: %s",
	    conn->path_text[0] ? conn->path_text : "the daemon",
	    conn->why.pub.message);
}

static void
lose_opening(struct sqlpool_conn *conn)
{
	bool busy;

	explain_silence(conn);
	busy = conn->why.pub.code == ERR_CONNECT ||
	    conn->why.pub.class_ == SQLPOOL_CLASS_BUSY;
	for (struct sqlpool_result *r = conn->results, *next; r; r = next) {
		next = r->next;
		if (r->in_table && r->type == TYPE_HELLO)
			flight_end_result(r);
	}
	try_later(conn, busy && life_can_return(conn));
}

/* Something else than a daemon, or one that does not understand us. */
static bool
is_nonsense(const struct failure *why)
{
	return why->pub.code == ERR_BAD_REPLY ||
	    why->pub.class_ == SQLPOOL_CLASS_PROTOCOL;
}

int
life_lose(struct sqlpool_conn *conn, int code, const char *format, ...)
{
	bool again, ended;
	va_list args;

	va_start(args, format);
	failure_set_v(&conn->why, code, error_get_outcome(code), format, args);
	va_end(args);
	conn_drop_socket(conn);
	again = life_can_return(conn) && !is_nonsense(&conn->why);
	if (conn->state == CONN_OPENING && (again || !conn->opened)) {
		lose_opening(conn);
		return -code;
	}
	ended = sort_results(conn, again && !conn->in_transaction);
	lose_transaction(conn, ended, !again);
	conn->state = again ? CONN_DOWN : CONN_DEAD;
	if (again && conn->unsent.first)
		life_begin(conn);
	return -code;
}

void
life_end(struct sqlpool_conn *conn, const struct failure *f)
{
	failure_copy(&conn->why, f);
	conn_drop_socket(conn);
	(void)sort_results(conn, false);
	lose_transaction(conn, true, true);
	conn->state = CONN_DEAD;
}

/* ---- leaving ---- */

void
life_leave(struct sqlpool_conn *conn)
{
	struct failure f = { 0 };

	if (conn->state != CONN_OPEN)
		return;
	conn->state = CONN_LEAVING;
	if (life_can_return(conn) || conn->in_transaction)
		return;
	failure_set(&f, ERR_SHUTTING_DOWN, OUTCOME_NOT_APPLIED, "%s",
	    error_get_text(ERR_SHUTTING_DOWN));
	while (conn->unsent.first)
		flight_fail(conn->unsent.first, &f);
	failure_clear(&f);
}

/* All that was begun has ended: the daemon need not wait for us. */
static void
leave(struct sqlpool_conn *conn)
{
	if (conn->in_transaction || conn->in_flight_n > 0 ||
	    !life_can_return(conn))
		return;
	conn_drop_socket(conn);
	conn->state = CONN_DOWN;
	if (conn->unsent.first)
		life_begin(conn);
}

int
life_turn(struct sqlpool_conn *conn)
{
	switch (conn->state) {
	case CONN_WAITING:
		if (socket_now_us() >= conn->next_try_us)
			try_connect(conn);
		break;
	case CONN_OPENING:
		if (socket_now_us() >= conn->give_up_us)
			(void)life_lose(conn, ERR_CLIENT_TIMEOUT,
			    "within %u ms", conn->connect_timeout_ms);
		break;
	case CONN_LEAVING:
		leave(conn);
		break;
	case CONN_DOWN:
	case CONN_OPEN:
	case CONN_DEAD:
		break;
	}
	return conn->state == CONN_DEAD ? -conn->why.pub.code : 0;
}
