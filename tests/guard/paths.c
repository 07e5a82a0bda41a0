/* paths.c - walk the daemon's hot paths, and the client library's, for
 * callgrind to count (guard.py).
 *
 *	paths DIRECTORY    makes its database there
 *
 * Each path is walked to be warm, and then as often as its line below says; its
 * counts are dumped under its name.  Every answer is checked: a path that gives
 * a wrong one is not the path. */
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <valgrind/callgrind.h>

#include "tests/guard/stage.h"

#define CLIENTS_N 64
#define DEPTH     16
#define ROWS_N    6400
#define TEXT_N    100
/* Any integer of two bytes, so that no row grows when one is added. */
#define FIRST_N 1000

static struct sqlpool_conn *clients[CLIENTS_N];
static int added[ROWS_N + 1]; /* by writes, to each row's n */

/* The next row.  The rows of one group lie on as many pages, as they would in a
 * large table. */
static int64_t
next_key(void)
{
	static int64_t key;

	key = (key + ROWS_N / CLIENTS_N + 1) % ROWS_N;
	return key + 1;
}

/* --- The database --------------------------------------------------------- */

static void
make_text(int64_t id, char text[TEXT_N + 1])
{
	snprintf(text, TEXT_N + 1, "%010" PRId64 "%090" PRId64, id, id * 7919);
}

static void
run(sqlite3 *db, const char *sql)
{
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		stage_fail("%s: %s", sql, sqlite3_errmsg(db));
}

static void
make_rows(sqlite3 *db)
{
	char text[TEXT_N + 1];
	sqlite3_stmt *st;

	if (sqlite3_prepare_v2(db, "INSERT INTO bench VALUES (?1, ?2, ?3)", -1,
		&st, NULL) != SQLITE_OK)
		stage_fail("%s", sqlite3_errmsg(db));
	for (int64_t id = 1; id <= ROWS_N; id++) {
		make_text(id, text);
		sqlite3_bind_int64(st, 1, id);
		sqlite3_bind_int(st, 2, FIRST_N);
		sqlite3_bind_text(st, 3, text, TEXT_N, SQLITE_STATIC);
		if (sqlite3_step(st) != SQLITE_DONE)
			stage_fail("%s", sqlite3_errmsg(db));
		sqlite3_reset(st);
	}
	sqlite3_finalize(st);
}

static void
make_database(const char *path)
{
	sqlite3 *db = NULL;

	if (sqlite3_open(path, &db) != SQLITE_OK)
		stage_fail("%s: %s", path, sqlite3_errmsg(db));
	run(db,
	    "PRAGMA synchronous=OFF; BEGIN;"
	    "CREATE TABLE bench(id INTEGER PRIMARY KEY, n INTEGER NOT NULL,"
	    " c TEXT NOT NULL)");
	make_rows(db);
	run(db, "COMMIT");
	sqlite3_close(db);
	sqlite3_shutdown(); /* the daemon sets the library up */
}

/* --- Requests and answers ------------------------------------------------- */

static const char read_sql[] = "SELECT n, c FROM bench WHERE id = ?1";
static const char write_sql[] = "UPDATE bench SET n = n + 1 WHERE id = ?1";

/* A request in flight. */
struct ask {
	struct sqlpool_conn *conn;
	struct sqlpool_result *result;
	int64_t key;
};

static void
check(struct sqlpool_conn *conn, int rc, const char *what)
{
	if (rc < 0)
		stage_fail("%s: %s", what, sqlpool_get_error(conn)->message);
}

/* Send one, on its way to the socket. */
static void
send_ask(struct ask *ask, const char *sql, bool at_once)
{
	struct sqlpool_request *request;
	int rc = 0;

	ask->key = next_key();
	stage_enter_client();
	request = sqlpool_request_new();
	rc = sqlpool_request_add(
	    request, sql, SQLPOOL_VALUES(SQLPOOL_INT(ask->key)));
	if (rc >= 0)
		rc = sqlpool_send(ask->conn, request, &ask->result);
	if (rc == 0 && at_once)
		rc = sqlpool_process(ask->conn);
	sqlpool_request_free(request);
	stage_leave_client();
	check(ask->conn, rc, "send");
}

/* Take the one row of a read; the library is counted, the looking is not. */
static void
take_row(struct ask *ask)
{
	char want[TEXT_N + 1];
	const char *text = NULL;
	size_t n = 0;
	int64_t v = 0;
	int rc;

	make_text(ask->key, want);
	stage_enter_client();
	rc = sqlpool_next(ask->result);
	if (rc == SQLPOOL_ROW) {
		v = sqlpool_column_int64(ask->result, 0);
		text = sqlpool_column_text(ask->result, 1, &n);
	}
	stage_leave_client();
	check(ask->conn, rc, "read");
	if (!text || n != TEXT_N || memcmp(text, want, n) != 0 ||
	    v != FIRST_N + added[ask->key])
		stage_fail("row %" PRId64 " is wrong", ask->key);
	stage_enter_client();
	rc = sqlpool_next(ask->result);
	sqlpool_result_free(ask->result);
	stage_leave_client();
	check(ask->conn, rc, "read");
	if (rc != SQLPOOL_DONE)
		stage_fail("row %" PRId64 " is there twice", ask->key);
}

static void
take_write(struct ask *ask)
{
	int rc = sqlpool_next(ask->result);

	check(ask->conn, rc, "write");
	if (rc != SQLPOOL_DONE ||
	    sqlpool_result_summary(ask->result)->changes != 1)
		stage_fail("row %" PRId64 " was not written", ask->key);
	sqlpool_result_free(ask->result);
	added[ask->key]++;
}

static void
arrive(struct sqlpool_conn *conn)
{
	check(conn, sqlpool_process(conn), "answers");
}

/* --- The paths ------------------------------------------------------------ */

static void
ping(void)
{
	check(clients[0], sqlpool_ping(clients[0]), "ping");
}

static void
read_one(void)
{
	struct ask ask = { .conn = clients[0], .key = next_key() };
	int rc;

	stage_enter_client();
	rc = sqlpool_query(ask.conn, read_sql,
	    SQLPOOL_VALUES(SQLPOOL_INT(ask.key)), &ask.result);
	stage_leave_client();
	check(ask.conn, rc, "query");
	take_row(&ask);
}

/* A read of each client, in one turn. */
static void
read_all(void)
{
	struct ask asks[CLIENTS_N];

	for (int i = 0; i < CLIENTS_N; i++) {
		asks[i].conn = clients[i];
		send_ask(&asks[i], read_sql, true);
	}
	stage_work();
	for (int i = 0; i < CLIENTS_N; i++) {
		arrive(clients[i]);
		take_row(&asks[i]);
	}
}

/* Some reads of one client, sent at once. */
static void
read_deep(void)
{
	struct ask asks[DEPTH];

	for (int i = 0; i < DEPTH; i++) {
		asks[i].conn = clients[0];
		send_ask(&asks[i], read_sql, false);
	}
	for (int i = 0; i < DEPTH; i++)
		take_row(&asks[i]);
}

static void
write_one(void)
{
	struct ask ask = { .conn = clients[0] };

	send_ask(&ask, write_sql, false);
	take_write(&ask);
}

/* A write of each client: one group. */
static void
write_all(void)
{
	struct ask asks[CLIENTS_N];

	for (int i = 0; i < CLIENTS_N; i++) {
		asks[i].conn = clients[i];
		send_ask(&asks[i], write_sql, true);
	}
	stage_work();
	for (int i = 0; i < CLIENTS_N; i++) {
		arrive(clients[i]);
		take_write(&asks[i]);
	}
}

/* Reads come first: after a write by somebody else a connection forgets the
 * pages that it has read. */
static const struct path {
	const char *name;
	enum stage_side side;
	void (*walk)(void);
	int times;
} paths[] = {
	{ "ping", STAGE_DAEMON, ping, 256 },
	{ "read", STAGE_DAEMON, read_one, 256 },
	{ "reads", STAGE_DAEMON, read_all, 16 },
	{ "pipeline", STAGE_DAEMON, read_deep, 32 },
	{ "query", STAGE_CLIENT, read_one, 256 },
	{ "send", STAGE_CLIENT, read_deep, 32 },
	{ "write", STAGE_DAEMON, write_one, 64 },
	{ "writes", STAGE_DAEMON, write_all, 16 },
};

static void
walk_often(const struct path *path)
{
	stage_choose(path->side);
	for (int i = 0; i < path->times; i++)
		path->walk();
	stage_choose(STAGE_NOBODY);
}

/* The first time is for what is only done once: pages are read, buffers grow.
 * A dump sets all to zero. */
static void
walk(const struct path *path)
{
	walk_often(path);
	CALLGRIND_DUMP_STATS_AT("warm-up");
	walk_often(path);
	CALLGRIND_DUMP_STATS_AT(path->name);
}

int
main(int argc, char **argv)
{
	char path[4096];

	if (argc != 2)
		stage_fail("usage: paths DIRECTORY");
	snprintf(path, sizeof(path), "%s/app.db", argv[1]);
	make_database(path);
	stage_open(path);
	for (int i = 0; i < CLIENTS_N; i++)
		clients[i] = stage_connect();
	write_one(); /* with an empty log SQLite asks for the file's size */
	CALLGRIND_START_INSTRUMENTATION;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		walk(&paths[i]);
	CALLGRIND_STOP_INSTRUMENTATION;
	for (int i = 0; i < ROWS_N / CLIENTS_N; i++)
		read_all(); /* each row has what was added to it */
	for (int i = 0; i < CLIENTS_N; i++)
		sqlpool_close(clients[i]);
	stage_close();
	return 0;
}
