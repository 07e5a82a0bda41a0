/* open.c - find the daemon, connect, HELLO, close. */
#include "impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/frame.h"
#include "socket.h"

/* As many requests as are surely accepted, until HELLO's reply tells. */
#define FIRST_IN_FLIGHT 1

static const char remedy[] = "start one with: sqlpoold ./app.db";

/* ---- where ---- */

/* A directory in /tmp can be made by anybody: it must be the user's own and
 * nobody else may write to it. */
static int
check_tmp_directory(struct sqlpool_conn *conn, const char *path)
{
	char dir[SOCKPATH_MAX];
	struct stat st;
	char *slash;

	if (strncmp(path, "/tmp/", 5) != 0)
		return 0;
	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash)
		*slash = '\0';
	if (lstat(dir, &st) < 0)
		return 0; /* connect says it better */
	if (S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
	    (st.st_mode & (S_IWGRP | S_IWOTH)) == 0)
		return 0;
	return conn_fail(conn, ERR_CONNECT, OUTCOME_NOT_APPLIED,
	    "%s is not a directory that only user %lu can write to, so the "
	    "socket in it is not trusted: remove it, or name the socket",
	    dir, (unsigned long)geteuid());
}

/* Choose the path when the application did not. */
static int
search_socket(struct sqlpool_conn *conn, char path[SOCKPATH_MAX])
{
	const char *runtime_dir = secure_getenv("XDG_RUNTIME_DIR");
	struct stat st;
	int rc;

	if (sockpath_make_default(runtime_dir, geteuid(), path, SOCKPATH_MAX) ==
		0 &&
	    lstat(path, &st) == 0) {
		bool runtime = runtime_dir && runtime_dir[0];

		rc = runtime ? 0 : check_tmp_directory(conn, path);
		return rc;
	}
	/* one that may not be looked at is there: connecting says why not */
	if (lstat(SOCKPATH_SERVICE, &st) == 0 || errno == EACCES) {
		snprintf(path, SOCKPATH_MAX, "%s", SOCKPATH_SERVICE);
		return 0;
	}
	return conn_fail(conn, ERR_CONNECT, OUTCOME_NOT_APPLIED,
	    "no daemon found: neither %s nor %s exists; %s", path,
	    SOCKPATH_SERVICE, remedy);
}

static int
find_socket(
    struct sqlpool_conn *conn, const char *wanted, char path[SOCKPATH_MAX])
{
	const char *from_env = secure_getenv("SQLPOOL_SOCKET");
	const char *from = wanted;
	int n;

	if (!from && from_env && from_env[0])
		from = from_env;
	if (!from)
		return search_socket(conn, path);
	n = snprintf(path, SOCKPATH_MAX, "%s", from);
	if (n >= SOCKPATH_MAX)
		return conn_fail(conn, ERR_CONNECT, OUTCOME_NOT_APPLIED,
		    "socket path longer than %d bytes: %s", SOCKPATH_MAX - 1,
		    from);
	return 0;
}

/* ---- connecting ---- */

static int
connect_failed(struct sqlpool_conn *conn, const char *path, int error)
{
	const char *what = remedy;

	if (error == EACCES || error == EPERM)
		what = "ask for access to its socket (its group, socket_mode)";
	else if (error == ECONNREFUSED)
		what = "nobody listens there (any more); start one with: "
		       "sqlpoold ./app.db";
	else if (error == ETIMEDOUT)
		what = "it accepts nobody at present";
	return conn_fail(conn, ERR_CONNECT, OUTCOME_NOT_APPLIED,
	    "cannot connect to the daemon at %s: %s; %s", path, strerror(error),
	    what);
}

/* Take over or make the socket.  Reads and writes say MSG_DONTWAIT, so the
 * descriptor's own mode does not matter. */
static int
get_socket(struct sqlpool_conn *conn, const struct sqlpool_options *options,
    int64_t deadline_us)
{
	char path[SOCKPATH_MAX] = "";
	int rc;

	if (options->use_fd) {
		conn->fd = options->fd;
		socket_adopt(conn->fd);
		return 0;
	}
	rc = find_socket(conn, options->socket_path, path);
	memcpy(conn->path_text, path, sizeof(path));
	if (rc == 0) {
		rc = socket_connect(path, deadline_us, &conn->fd);
		if (rc < 0)
			rc = connect_failed(conn, path, -rc);
	}
	return rc;
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
	if (tell->in_flight_n > 0)
		conn->in_flight_max = tell->in_flight_n;
	if (MSG_HAS(tell, TELL_timeout_ms))
		conn->daemon_timeout_ms = tell->timeout_ms > 0 &&
			tell->timeout_ms < LONGEST_REQUEST_MS
		    ? (uint32_t)tell->timeout_ms
		    : LONGEST_REQUEST_MS;
	conn->server.max_frame_bytes = conn->max_frame_out;
	conn->server.in_flight_n = conn->in_flight_max;
}

static int
say_hello(struct sqlpool_conn *conn, const struct sqlpool_options *options,
    int64_t deadline_us)
{
	int64_t left_ms = (deadline_us - socket_now_us()) / 1000;
	struct sqlpool_result *result;
	struct msg_out m;
	int rc;

	/* not request_begin: the database is in the header */
	result = result_new(conn);
	if (!result)
		return -ERR_NO_MEMORY;
	result->timeout_ms = left_ms < 1 ? 1 : (uint32_t)left_ms;
	result->on_ok = take_hello;
	result->on_ok_arg = conn;
	msg_begin(&m, &result->frame, TYPE_HELLO, result->id, 0);
	if (options->database)
		msg_put_str(&m, HEAD_database, options->database);
	msg_open_body(&m);
	msg_put_uint(&m, ASK_version, MSG_VERSION);
	msg_put_uint(
	    &m, ASK_features, options->decltypes ? MSG_FEATURE_DECLTYPES : 0);
	msg_put_str(&m, ASK_app_name,
	    options->app_name ? options->app_name
			      : program_invocation_short_name);
	msg_put_uint(&m, ASK_max_frame, conn->max_frame_in);
	msg_put_uint(&m, ASK_window_bytes, conn->window_bytes);
	rc = request_submit(result, &m);
	return rc < 0 ? rc : result_finish(result);
}

/* ---- the connection ---- */

/* Read the application's struct, which may be shorter or longer than ours. */
static int
read_options(const struct sqlpool_options *options, struct sqlpool_options *ret)
{
	struct sqlpool_options o = { 0 };

	if (options) {
		size_t n = options->size;

		if (n < sizeof(size_t))
			return -ERR_MISUSE;
		memcpy(&o, options, n < sizeof(o) ? n : sizeof(o));
	}
	if (!o.connect_timeout_ms)
		o.connect_timeout_ms = DEFAULT_CONNECT_MS;
	if (!o.window_bytes)
		o.window_bytes = DEFAULT_WINDOW_BYTES;
	if (!o.max_frame_bytes)
		o.max_frame_bytes = (uint32_t)FRAME_DEFAULT_MAX_BYTES;
	*ret = o;
	return 0;
}

static struct sqlpool_conn *
conn_new(const struct sqlpool_options *options)
{
	struct sqlpool_conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return NULL;
	conn->fd = -1;
	conn->pid = getpid();
	conn->request_timeout_ms = options->request_timeout_ms;
	conn->daemon_timeout_ms = DEFAULT_REQUEST_MS;
	conn->window_bytes = options->window_bytes;
	conn->max_frame_in = options->max_frame_bytes;
	conn->max_frame_out = FRAME_DEFAULT_MAX_BYTES;
	conn->in_flight_max = FIRST_IN_FLIGHT;
	conn->next_id = 1;
	conn->next_stmt = 1;
	conn->server.server = conn->server_text;
	conn->server.sqlite = conn->sqlite_text;
	conn->server.database = conn->database_text;
	conn->server.socket_path = conn->path_text;
	failure_clear(&conn->failure);
	return conn;
}

/* Why HELLO failed matters to whoever opens: a silent or alien peer is
 * "cannot connect", what the daemon itself says stays as it is. */
static void
explain_hello(struct sqlpool_conn *conn)
{
	struct failure f = { 0 };
	int code = conn->failure.pub.code;

	if (code != ERR_CLIENT_TIMEOUT && code != ERR_CONNECTION_LOST)
		return;
	failure_copy(&f, &conn->failure);
	(void)conn_fail(conn, ERR_CONNECT, OUTCOME_NOT_APPLIED,
	    "connected to %s, but there was no answer: %s",
	    conn->path_text[0] ? conn->path_text : "the daemon", f.pub.message);
	failure_clear(&f);
}

/* The descriptor is ours all the same. */
static int
refuse_options(struct sqlpool_conn *conn, const struct sqlpool_options *options)
{
	if (options->use_fd)
		close(options->fd);
	return conn_fail(conn, ERR_MISUSE, OUTCOME_NOT_APPLIED,
	    "options.size is not set, or max_frame_bytes is not between 64 KiB "
	    "and 64 MiB");
}

int
sqlpool_open(
    const struct sqlpool_options *options, struct sqlpool_conn **ret_conn)
{
	struct sqlpool_options o = { 0 };
	struct sqlpool_conn *conn;
	int64_t deadline_us;
	int rc;

	if (!ret_conn)
		return -ERR_MISUSE;
	rc = read_options(options, &o);
	conn = conn_new(&o);
	*ret_conn = conn;
	if (!conn)
		return -ERR_NO_MEMORY;
	if (rc < 0 || o.max_frame_bytes < FRAME_LEAST_MAX_BYTES ||
	    o.max_frame_bytes > FRAME_HARD_MAX_BYTES)
		return refuse_options(conn, &o);
	deadline_us = socket_now_us() + (int64_t)o.connect_timeout_ms * 1000;
	rc = get_socket(conn, &o, deadline_us);
	if (rc == 0) {
		rc = say_hello(conn, &o, deadline_us);
		if (rc < 0) {
			explain_hello(conn);
			rc = -conn->failure.pub.code;
		}
	}
	if (rc < 0 && conn->fd >= 0) {
		close(conn->fd);
		conn->fd = -1;
	}
	return rc;
}

/* A result that outlives its connection. */
static void
detach_result(struct sqlpool_result *result)
{
	struct failure f = { 0 };

	if (result->state != RESULT_ENDED) {
		failure_set(&f, ERR_CONNECTION_LOST,
		    result->state == RESULT_UNSENT ? OUTCOME_NOT_APPLIED
						   : OUTCOME_UNKNOWN,
		    "the connection was closed before the answer came");
		result_fail(result, &f);
		failure_clear(&f);
	}
	buf_fini(&result->frame);
	result->state = RESULT_ENDED;
	result->in_table = false;
	result->conn = NULL;
}

void
sqlpool_close(struct sqlpool_conn *conn)
{
	struct sqlpool_result *result, *next;

	if (!conn)
		return;
	for (result = conn->results; result; result = next) {
		next = result->next;
		if (result->zombie)
			result_destroy(result);
		else
			detach_result(result);
	}
	for (struct sqlpool_stmt *s = conn->stmts; s; s = s->next)
		s->conn = NULL;
	if (conn->fd >= 0)
		close(conn->fd);
	failure_clear(&conn->failure);
	buf_fini(&conn->out);
	free(conn->in);
	free(conn->big);
	free(conn);
}

const struct sqlpool_server *
sqlpool_get_server(const struct sqlpool_conn *conn)
{
	return conn ? &conn->server : NULL;
}

const struct sqlpool_summary *
sqlpool_get_summary(const struct sqlpool_conn *conn)
{
	return conn ? &conn->summary : NULL;
}

bool
sqlpool_in_transaction(const struct sqlpool_conn *conn)
{
	return conn && conn->in_transaction;
}
