/* view.c - ask @admin, and compare. */
#include "client/cli/view.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The daemon's bounds, in microseconds (daemon/stats.c); the last bucket is what is
 * above.  A test compares them. */
static const int64_t bounds[VIEW_BUCKETS - 1] = { 50, 100, 250, 500, 1000, 2500,
	5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000,
	5000000, 10000000 };

typedef void take_row(void *arg, struct sqlpool_result *row);

static const char *
get_text(struct sqlpool_result *row, const char *column)
{
	int at = sqlpool_column_index(row, column);
	const char *text = at < 0 ? NULL
				  : sqlpool_column_text(row, (size_t)at, NULL);

	return text ? text : "";
}

int64_t
view_get_int(struct sqlpool_result *row, const char *column)
{
	int at = sqlpool_column_index(row, column);

	if (at < 0 || sqlpool_column_type(row, (size_t)at) == SQLPOOL_TYPE_NULL)
		return -1;
	return sqlpool_column_int64(row, (size_t)at);
}

/* A terminal gets what can be printed. */
static void
copy_text(char *to, size_t n, const char *from)
{
	size_t i = 0;

	for (; from[i] && i + 1 < n; i++) {
		to[i] = from[i];
		if ((unsigned char)to[i] < ' ' || to[i] == 127)
			to[i] = '?';
	}
	to[i] = '\0';
}

#define COPY(to, from) copy_text(to, sizeof(to), from)

double
view_get_real(struct sqlpool_result *row, const char *column)
{
	int at = sqlpool_column_index(row, column);

	return at < 0 ? 0 : sqlpool_column_double(row, (size_t)at);
}

void
view_get_text(
    struct sqlpool_result *row, const char *column, char *to, size_t n)
{
	copy_text(to, n, get_text(row, column));
}

int
view_ask(struct sqlpool_conn *conn, const char *command,
    void (*take)(void *arg, struct sqlpool_result *row), void *arg)
{
	struct sqlpool_result *result = NULL;
	int rc = sqlpool_query(conn, command, NULL, 0, &result);

	while (rc >= 0 && (rc = sqlpool_next(result)) == SQLPOOL_ROW)
		take(arg, result);
	sqlpool_result_free(result);
	return rc < 0 ? rc : 0;
}

/* --- Counters ----------------------------------------------------------------- */

static void
take_stat(void *arg, struct sqlpool_result *row)
{
	struct view *v = arg;
	const struct {
		const char *name;
		int64_t *to;
	} wanted[] = {
		{ "reads_inline", &v->now.reads },
		{ "reads_heavy", &v->now.long_reads },
		{ "writes", &v->now.writes },
		{ "commits", &v->now.commits },
		{ "errors", &v->now.errors },
	};
	const char *name = get_text(row, "name");

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (strcmp(name, wanted[i].name) == 0)
			*wanted[i].to = view_get_int(row, "value");
}

static int
find(const char *text, const char *const *list, int n)
{
	for (int i = 0; i < n; i++)
		if (strcmp(text, list[i]) == 0)
			return i;
	return -1;
}

/* Of all databases together. */
static void
take_bucket(void *arg, struct sqlpool_result *row)
{
	struct view *v = arg;
	static const char *const whats[] = { "queue_wait", "execution" };
	static const char *const roads[] = { "inline", "reader", "writer" };
	int what = find(get_text(row, "what"), whats, VIEW_WHATS_N);
	int road = find(get_text(row, "road"), roads, VIEW_ROADS_N);
	int64_t most = view_get_int(row, "most");
	int i = 0;

	if (what < 0 || road < 0)
		return;
	while (i < VIEW_BUCKETS - 1 && (most < 0 || most > bounds[i]))
		i++;
	v->now.n[what][road][i] += (uint64_t)view_get_int(row, "n");
}

static void
take_state(void *arg, struct sqlpool_result *row)
{
	struct view *v = arg;
	const char *name = get_text(row, "name");
	int64_t value = view_get_int(row, "value");

	if (strcmp(name, "uptime_s") == 0)
		v->uptime_s = value;
	else if (strcmp(name, "clients") == 0)
		v->clients_n = value;
	else if (strcmp(name, "draining") == 0)
		v->draining = value;
}

/* --- Databases ---------------------------------------------------------------- */

static void
take_pool(void *arg, struct sqlpool_result *row)
{
	struct view *v = arg;
	struct view_db *dbs = reallocarray(
	    v->dbs, v->dbs_n + 1, sizeof(*v->dbs));
	struct view_db *db;

	if (!dbs)
		return;
	v->dbs = dbs;
	db = &dbs[v->dbs_n++];
	*db = (struct view_db){
		.queue = view_get_int(row, "queue"),
		.oldest_ms = view_get_int(row, "oldest_ms"),
		.readers_busy = view_get_int(row, "readers_busy"),
		.reader_queue = view_get_int(row, "reader_queue"),
		.held_ms = -1,
		.snapshot_ms = -1,
	};
	COPY(db->name, get_text(row, "database"));
	COPY(db->writer, get_text(row, "writer"));
}

static struct view_db *
find_db(struct view *v, const char *name)
{
	for (size_t i = 0; i < v->dbs_n; i++)
		if (strcmp(v->dbs[i].name, name) == 0)
			return &v->dbs[i];
	return NULL;
}

static void
take_writer(void *arg, struct sqlpool_result *row)
{
	struct view *v = arg;
	struct view_db *db = find_db(v, get_text(row, "database"));

	if (db && view_get_int(row, "position") == 0)
		db->held_ms = view_get_int(row, "for_ms");
}

static void
take_snapshot(void *arg, struct sqlpool_result *row)
{
	struct view *v = arg;
	struct view_db *db = find_db(v, get_text(row, "database"));

	if (db && db->snapshot_ms < 0) /* the oldest is first */
		db->snapshot_ms = view_get_int(row, "for_ms");
}

static void
take_wal(void *arg, struct sqlpool_result *row)
{
	struct view *v = arg;
	struct view_db *db = find_db(v, get_text(row, "database"));

	if (!db)
		return;
	db->wal_bytes = view_get_int(row, "bytes");
	db->pending_bytes = view_get_int(row, "pending_bytes");
	COPY(db->wal, get_text(row, "cause"));
}

/* --- Clients ------------------------------------------------------------------ */

static void
take_client(void *arg, struct sqlpool_result *row)
{
	struct view *v = arg;
	struct view_client *list, *cl;

	if (strcmp(get_text(row, "database"), "@admin") == 0)
		return;
	list = reallocarray(v->clients, v->list_n + 1, sizeof(*v->clients));
	if (!list)
		return;
	v->clients = list;
	cl = &list[v->list_n++];
	*cl = (struct view_client){
		.number = view_get_int(row, "client"),
		.pid = view_get_int(row, "pid"),
		.request = view_get_int(row, "request"),
		.requests = view_get_int(row, "requests"),
		.for_ms = view_get_int(row, "for_ms"),
		.bytes = view_get_int(row, "bytes"),
	};
	COPY(cl->app, get_text(row, "application"));
	COPY(cl->database, get_text(row, "database"));
	COPY(cl->state, get_text(row, "state"));
	COPY(cl->statement, get_text(row, "statement"));
}

/* --- All of it ---------------------------------------------------------------- */

int
view_read(struct view *v, struct sqlpool_conn *conn, bool with_clients)
{
	static const struct {
		const char *command;
		take_row *take;
	} asks[] = {
		{ "SHOW STATE", take_state },
		{ "SHOW STATS", take_stat },
		{ "SHOW BUCKETS", take_bucket },
		{ "SHOW POOLS", take_pool },
		{ "SHOW WRITER", take_writer },
		{ "SHOW SNAPSHOTS", take_snapshot },
		{ "SHOW WAL", take_wal },
		{ "SHOW CLIENTS", take_client },
	};
	size_t n = sizeof(asks) / sizeof(asks[0]) - (with_clients ? 0 : 1);
	struct timespec ts;
	int rc = 0;

	v->has_before = v->now.at_us != 0;
	v->before = v->now;
	memset(&v->now, 0, sizeof(v->now));
	v->dbs_n = v->list_n = 0;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	v->now.at_us = (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = view_ask(conn, asks[i].command, asks[i].take, v);
	return rc;
}

void
view_fini(struct view *v)
{
	free(v->dbs);
	free(v->clients);
}

double
view_rate(const struct view *v, int64_t now, int64_t before)
{
	int64_t us = v->now.at_us - v->before.at_us;

	return v->has_before && us > 0
	    ? (double)(now - before) * 1e6 / (double)us
	    : 0;
}

double
view_quantile(
    const struct view *v, enum view_what what, enum view_road road, double q)
{
	const uint64_t *now = v->now.n[what][road];
	const uint64_t *before = v->before.n[what][road];
	uint64_t all = 0, n = 0;
	int i = 0;

	for (int k = 0; k < VIEW_BUCKETS; k++)
		all += now[k] - before[k];
	if (all == 0 || !v->has_before)
		return 0;
	for (; i < VIEW_BUCKETS - 2; i++) {
		n += now[i] - before[i];
		if ((double)n >= q * (double)all)
			break;
	}
	return (double)bounds[i] / 1000;
}
