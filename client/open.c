/* open.c - find the daemon; open, reset and close a connection. */
#include "impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/frame.h"
#include "socket.h"

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
	return life_explain(conn, ERR_CONNECT,
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
	return life_explain(conn, ERR_CONNECT,
	    "no daemon found: neither %s nor %s exists; %s", path,
	    SOCKPATH_SERVICE, remedy);
}

/* Keep the path that the application or the environment names. */
static int
name_socket(struct sqlpool_conn *conn, const char *wanted)
{
	const char *from_env = secure_getenv("SQLPOOL_SOCKET");
	int n;

	if (!wanted && from_env && from_env[0])
		wanted = from_env;
	if (!wanted)
		return 0;
	n = snprintf(conn->path_text, SOCKPATH_MAX, "%s", wanted);
	if (n >= SOCKPATH_MAX)
		return life_explain(conn, ERR_CONNECT,
		    "socket path longer than %d bytes: %s", SOCKPATH_MAX - 1,
		    wanted);
	return 0;
}

int
open_find_socket(struct sqlpool_conn *conn)
{
	char path[SOCKPATH_MAX] = "";
	int rc;

	if (conn->path_text[0])
		return 0;
	rc = search_socket(conn, path);
	if (rc == 0)
		memcpy(conn->path_text, path, sizeof(path));
	return rc;
}

void
open_explain(struct sqlpool_conn *conn, int error)
{
	const char *what = remedy;

	if (error == EACCES || error == EPERM)
		what = "ask for access to its socket (its group, socket_mode)";
	else if (error == ECONNREFUSED)
		what = "nobody listens there (any more); start one with: "
		       "sqlpoold ./app.db";
	else if (error == EAGAIN)
		what = "it accepts nobody at present";
	(void)life_explain(conn, ERR_CONNECT,
	    "cannot connect to the daemon at %s: %s; %s", conn->path_text,
	    strerror(error), what);
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
	if (!o.poll_time_us)
		o.poll_time_us = DEFAULT_POLL_US;
	if (o.poll_time_us > POLL_MAX_US)
		o.poll_time_us = POLL_MAX_US;
	if (!o.window_bytes)
		o.window_bytes = DEFAULT_WINDOW_BYTES;
	if (!o.max_frame_bytes)
		o.max_frame_bytes = (uint32_t)FRAME_DEFAULT_MAX_BYTES;
	*ret = o;
	return 0;
}

/* *ret: owned; NULL for NULL.  Returns whether there was memory. */
static bool
copy_string(const char *from, char **ret)
{
	size_t n = from ? strlen(from) + 1 : 0;

	if (!from)
		return true;
	*ret = mem_resize(NULL, n);
	if (*ret)
		memcpy(*ret, from, n);
	return *ret;
}

static void
conn_destroy(struct sqlpool_conn *conn)
{
	if (conn->fd >= 0)
		close(conn->fd);
	if (conn->old_fd >= 0)
		close(conn->old_fd);
	result_drop_spares(conn);
	failure_clear(&conn->failure);
	failure_clear(&conn->why);
	buf_fini(&conn->out);
	mem_free(conn->in);
	mem_free(conn->big);
	mem_free(conn->database);
	mem_free(conn->app_name);
	mem_free(conn);
}

static struct sqlpool_conn *
conn_new(const struct sqlpool_options *options)
{
	struct sqlpool_conn *conn = mem_make(sizeof(*conn));

	if (!conn)
		return NULL;
	conn->state = CONN_DEAD;
	conn->fd = conn->old_fd = conn->polled_fd = -1;
	conn->pid = socket_get_pid();
	patience_init(&conn->patience, options->poll_time_us);
	conn->patience.crowded = true; /* until the kernel says otherwise */
	conn->use_fd = options->use_fd;
	conn->no_reconnect = options->no_reconnect;
	conn->decltypes = options->decltypes;
	conn->connect_timeout_ms = options->connect_timeout_ms;
	conn->request_timeout_ms = options->request_timeout_ms;
	conn->daemon_timeout_ms = DEFAULT_REQUEST_MS;
	conn->window_bytes = options->window_bytes;
	conn->max_frame_in = options->max_frame_bytes;
	conn->max_frame_out = FRAME_DEFAULT_MAX_BYTES;
	conn->next_id = 1;
	conn->next_stmt = 1;
	conn->earliest_us = INT64_MAX;
	conn->server.server = conn->server_text;
	conn->server.sqlite = conn->sqlite_text;
	conn->server.database = conn->database_text;
	conn->server.socket_path = conn->path_text;
	failure_clear(&conn->failure);
	failure_clear(&conn->why);
	if (!copy_string(options->database, &conn->database) ||
	    !copy_string(options->app_name, &conn->app_name)) {
		conn_destroy(conn);
		return NULL;
	}
	return conn;
}

/* A descriptor is ours from the start.  Reads and writes say MSG_DONTWAIT, so its
 * own mode does not matter. */
static int
take_options(struct sqlpool_conn *conn, const struct sqlpool_options *o, int rc)
{
	if (o->use_fd)
		conn->fd = o->fd;
	if (rc < 0 || o->max_frame_bytes < FRAME_LEAST_MAX_BYTES ||
	    o->max_frame_bytes > FRAME_HARD_MAX_BYTES)
		return life_explain(conn, ERR_MISUSE,
		    "options.size is not set, or max_frame_bytes is not "
		    "between 64 KiB and 64 MiB");
	if (o->use_fd)
		socket_adopt(conn->fd);
	return o->use_fd ? 0 : name_socket(conn, o->socket_path);
}

int
sqlpool_open_start(
    const struct sqlpool_options *options, struct sqlpool_conn **ret_conn)
{
	struct sqlpool_options o = { 0 };
	struct sqlpool_conn *conn;
	int rc;

	if (!ret_conn)
		return -ERR_MISUSE;
	rc = read_options(options, &o);
	conn = conn_new(&o);
	*ret_conn = conn;
	if (!conn)
		return -ERR_NO_MEMORY;
	conn->nonblocking = true;
	rc = take_options(conn, &o, rc);
	if (rc < 0) {
		conn_drop_socket(conn);
		failure_copy(&conn->failure, &conn->why);
		return rc;
	}
	life_begin(conn);
	return 0;
}

/* Wait until it is open, or cannot be. */
static int
wait_for_opening(struct sqlpool_conn *conn)
{
	int rc = 0;

	while (rc == 0 &&
	    (conn->state == CONN_WAITING || conn->state == CONN_OPENING))
		rc = conn_turn(conn, true, INT64_MAX);
	if (conn->state == CONN_OPEN || conn->state == CONN_LEAVING)
		return 0;
	failure_copy(&conn->failure, &conn->why);
	return -conn->why.pub.code;
}

int
sqlpool_open(
    const struct sqlpool_options *options, struct sqlpool_conn **ret_conn)
{
	int rc = sqlpool_open_start(options, ret_conn);

	if (rc < 0)
		return rc;
	(*ret_conn)->nonblocking = false;
	return wait_for_opening(*ret_conn);
}

/* What is in flight is given up. */
static void
end_all(struct sqlpool_conn *conn, const char *why)
{
	struct failure f = { 0 };

	failure_set(&f, ERR_CONNECTION_LOST, OUTCOME_UNKNOWN, "%s", why);
	life_end(conn, &f);
	failure_clear(&f);
}

int
sqlpool_reset(struct sqlpool_conn *conn)
{
	int rc = conn ? conn_check_process(conn) : -ERR_MISUSE;

	if (rc < 0)
		return rc;
	if (conn->use_fd)
		return conn_fail(conn, ERR_MISUSE, OUTCOME_NOT_APPLIED,
		    "the connection was made on a descriptor, so there is no "
		    "way to make it again");
	end_all(conn, "the connection was reset before the answer came");
	conn->failing = false;
	life_begin(conn);
	return wait_for_opening(conn);
}

void
sqlpool_close(struct sqlpool_conn *conn)
{
	struct sqlpool_result *result, *next;

	if (!conn || conn->delivering)
		return;
	end_all(conn, "the connection was closed before the answer came");
	/* each has its last call; in a child they are the parent's */
	while (conn->ready.first && conn->pid == socket_get_pid())
		async_deliver(conn);
	for (result = conn->results; result; result = next) {
		next = result->next;
		result->conn = NULL;
	}
	for (struct sqlpool_stmt *s = conn->stmts; s; s = s->next)
		s->conn = NULL;
	conn_destroy(conn);
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

int
sqlpool_set_allocator(
    void *(*resize)(void *p, size_t n), void (*release)(void *p))
{
	if (!resize != !release)
		return -ERR_MISUSE;
	mem_set(resize, release);
	return 0;
}
