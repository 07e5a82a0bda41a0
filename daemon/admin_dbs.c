/* admin_dbs.c - commands about databases, their writers and readers. */
#include "daemon/admin_impl.h"

#include <stdlib.h>

#include "daemon/clock.h"
#include "proto/error.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* A database has at most so many readers: read_connections. */
#define SNAPSHOTS_MAX 256

static void
show_databases(struct admin *ad)
{
	struct dbs *dbs = ad->home->dbs;

	for (struct db *db = dbs_next(dbs, NULL); db; db = dbs_next(dbs, db)) {
		bool open = db_hold(db);

		if (!open && db_is_removed(db))
			continue; /* another one may have its name */
		admin_put_row(ad);
		admin_put_str(ad, db->conf->name);
		admin_put_str(ad, db->conf->path);
		admin_put_str(ad,
		    db->conf->access == CONF_ACCESS_SHARED ? "shared"
							   : "exclusive");
		admin_put_str(ad, db_get_state_name(db));
		admin_put_uint(ad,
		    open ? atomic_load(writer_get_seq(db->writer))
			 : atomic_load(&db->seq));
		admin_put_uint(ad, open ? writer_get_queue_n(db->writer) : 0);
		if (open)
			db_release(db);
	}
}

/* --- SHOW POOLS ----------------------------------------------------------------- */

/* Clients of a database, and what they do. */
struct seen {
	UT_hash_handle hh;
	const struct db *db; /* only compared */
	unsigned clients_n;  /* it is their database */
	unsigned active_n;   /* with requests under way on it */
	unsigned waiting_n;  /* of these, those of which the oldest waits */
};

/* NULL: out of memory, and its clients are not counted. */
static struct seen *
find_seen(struct admin *ad, const struct db *db)
{
	struct seen *seen;

	HASH_FIND_PTR(ad->seen, &db, seen);
	if (seen)
		return seen;
	seen = calloc(1, sizeof(*seen));
	if (!seen)
		return NULL;
	seen->db = db;
	HASH_ADD_PTR(ad->seen, db, seen);
	if (seen->hh.tbl)
		return seen;
	free(seen);
	return NULL;
}

void
admin_forget_seen(struct admin *ad)
{
	struct seen *seen, *next;

	HASH_ITER(hh, ad->seen, seen, next) {
		HASH_DEL(ad->seen, seen);
		free(seen);
	}
}

static void
see_client(struct admin *ad, const struct client *cl)
{
	const struct request *oldest = client_find_oldest(cl);
	struct seen *seen;

	if (cl->db && (seen = find_seen(ad, cl->db)))
		seen->clients_n++;
	if (!oldest || !oldest->db || !(seen = find_seen(ad, oldest->db)))
		return;
	seen->active_n++;
	seen->waiting_n += admin_is_waiting(oldest);
}

static void
visit_pools(struct admin *ad, struct loop *loop)
{
	for (const struct client *cl = loop->clients; cl; cl = cl->next)
		see_client(ad, cl);
}

static void
put_pool(struct admin *ad, const struct db *db)
{
	const struct seen *seen = find_seen(ad, db);
	struct writer_look writer;
	struct readers_look readers;
	int64_t now = clock_now_us();

	writer_look(db->writer, &writer, NULL, 0);
	readers_look(db->readers, &readers);
	admin_put_row(ad);
	admin_put_str(ad, db->conf->name);
	admin_put_uint(ad, seen ? seen->clients_n : 0);
	admin_put_uint(ad, seen ? seen->active_n : 0);
	admin_put_uint(ad, seen ? seen->waiting_n : 0);
	admin_put_str(ad, writer_get_state_name(writer.state));
	admin_put_uint(ad, writer.line_n);
	admin_put_uint(ad, writer.line_bytes);
	admin_put_since(ad, writer.oldest_us, now);
	admin_put_uint(ad, readers.open_n);
	admin_put_uint(ad, readers.busy_n);
	admin_put_uint(ad, readers.snapshots_n);
	admin_put_uint(ad, readers.line_n);
	admin_put_since(ad, readers.oldest_us, now);
}

void
admin_each_open(
    struct admin *ad, void (*put)(struct admin *ad, const struct db *db))
{
	struct dbs *dbs = ad->home->dbs;

	for (struct db *db = dbs_next(dbs, NULL); db; db = dbs_next(dbs, db)) {
		if (!db_hold(db))
			continue;
		put(ad, db);
		db_release(db);
	}
}

static void
show_pools(struct admin *ad)
{
	admin_each_open(ad, put_pool);
}

/* --- Writers, snapshots, WALs ---------------------------------------------------- */

static void
put_waiter(struct admin *ad, const struct db *db, unsigned position,
    const char *state, const struct writer_waiter *w)
{
	admin_put_row(ad);
	admin_put_str(ad, db->conf->name);
	admin_put_uint(ad, position);
	admin_put_str(ad, state);
	admin_put_uint(ad, (uint64_t)w->owner.pid);
	admin_put_str(ad, w->owner.app);
	admin_put_since(ad, w->since_us, clock_now_us());
	admin_put_sql(ad,
	    (struct span){ (const uint8_t *)w->sql, sizeof(w->sql) },
	    ADMIN_SQL_BYTES);
}

/* Position 0 has the writer. */
static void
put_writer(struct admin *ad, const struct db *db)
{
	struct writer_waiter *line = calloc(WRITER_LOOK_MAX, sizeof(*line));
	struct writer_look look;
	size_t n;

	if (!line) {
		failure_set(&ad->r->failure, ERR_NO_MEMORY, "out of memory");
		return;
	}
	n = writer_look(db->writer, &look, line, WRITER_LOOK_MAX);
	if (look.state != WRITER_IDLE)
		put_waiter(
		    ad, db, 0, writer_get_state_name(look.state), &look.holder);
	for (unsigned i = 0; i < n; i++)
		put_waiter(ad, db, i + 1, "waits", &line[i]);
	free(line);
}

static void
show_writer(struct admin *ad)
{
	admin_each_open(ad, put_writer);
}

static void
put_snapshots(struct admin *ad, const struct db *db)
{
	struct snapshot *list = calloc(SNAPSHOTS_MAX, sizeof(*list));
	int64_t now = clock_now_us();
	size_t n;

	if (!list) {
		failure_set(&ad->r->failure, ERR_NO_MEMORY, "out of memory");
		return;
	}
	n = readers_list_snapshots(db->readers, list, SNAPSHOTS_MAX);
	for (size_t i = 0; i < n && i < SNAPSHOTS_MAX; i++) {
		admin_put_row(ad);
		admin_put_str(ad, db->conf->name);
		admin_put_str(ad, snapshot_get_kind_name(list[i].kind));
		admin_put_uint(ad, (uint64_t)list[i].owner.pid);
		admin_put_uint(ad, (uint64_t)list[i].owner.uid);
		admin_put_str(ad, list[i].owner.app);
		admin_put_since(ad, list[i].since_us, now);
		admin_put_sql(ad,
		    (struct span){
			(const uint8_t *)list[i].sql, sizeof(list[i].sql) },
		    ADMIN_SQL_BYTES);
	}
	free(list);
}

static void
show_snapshots(struct admin *ad)
{
	admin_each_open(ad, put_snapshots);
}

void
admin_put_wal(struct admin *ad, const struct db *db)
{
	const struct health_facts *facts;
	struct health h;

	watch_get_health(db->watch, &h);
	facts = &h.facts;
	admin_put_row(ad);
	admin_put_str(ad, db->conf->name);
	admin_put_uint(ad, (uint64_t)facts->wal_bytes);
	admin_put_uint(ad, (uint64_t)facts->pending_bytes);
	admin_put_uint(ad, (uint64_t)facts->file_bytes);
	admin_put_uint(ad, (uint64_t)facts->limit_bytes);
	admin_put_since(ad, facts->over_us, facts->now_us);
	admin_put_str(ad, health_get_illness(h.diagnosis.illness));
	admin_put_str(ad, health_get_cause(h.diagnosis.cause));
	if (h.diagnosis.pid > 0)
		admin_put_uint(ad, (uint64_t)h.diagnosis.pid);
	else
		admin_put_null(ad);
	admin_put_str(ad, h.diagnosis.text);
}

static void
show_wal(struct admin *ad)
{
	admin_each_open(ad, admin_put_wal);
}

static void
show_backups(struct admin *ad)
{
	static const char *const phases[] = {
		[BACKUP_COPYING] = "copying",
		[BACKUP_VERIFYING] = "verifying",
		[BACKUP_FINISHING] = "finishing",
	};
	struct backup_state list[BACKUPS_MAX];
	size_t n = backups_list(ad->home->dbs->backups, list);
	int64_t now = clock_now_us();

	for (size_t i = 0; i < n; i++) {
		admin_put_row(ad);
		admin_put_str(ad, list[i].database);
		admin_put_str(ad, list[i].path);
		admin_put_str(ad, phases[list[i].phase]);
		admin_put_uint(ad, (uint64_t)list[i].pages_done);
		admin_put_uint(ad, (uint64_t)list[i].pages_total);
		admin_put_since(ad, list[i].started_us, now);
	}
}

/* clang-format off */
const struct admin_command admin_dbs_commands[] = {
	{ .words = "SHOW DATABASES",
	  .columns = { "name", "path", "access", "state", "commits", "queue" },
	  .run = show_databases, .text = "what is served" },
	{ .words = "SHOW POOLS",
	  .columns = { "database", "clients", "active", "waiting", "writer", "queue",
	               "queue_bytes", "oldest_ms", "readers", "readers_busy",
	               "snapshots", "reader_queue", "reader_oldest_ms" },
	  .visit = visit_pools, .end = show_pools,
	  .text = "each open database: its clients, those with requests under way and, of these, those whose oldest one waits; its writer and readers, and who waits for them" },
	{ .words = "SHOW WRITER",
	  .columns = { "database", "position", "state", "pid", "application",
	               "for_ms", "statement" },
	  .run = show_writer,
	  .text = "who has each writer (position 0), and the line behind it" },
	{ .words = "SHOW SNAPSHOTS",
	  .columns = { "database", "kind", "pid", "uid", "application", "for_ms",
	               "statement" },
	  .run = show_snapshots,
	  .text = "who holds a snapshot, which the WAL has to be kept for; oldest first" },
	{ .words = "SHOW WAL",
	  .columns = { "database", "bytes", "pending_bytes", "file_bytes",
	               "limit_bytes", "over_ms", "illness", "cause", "pid", "text" },
	  .run = show_wal,
	  .text = "how large each WAL is, how much of it is not in the file yet, and what keeps it so" },
	{ .words = "SHOW BACKUPS",
	  .columns = { "database", "path", "phase", "pages_done", "pages_total",
	               "for_ms" },
	  .run = show_backups,
	  .text = "copies that BACKUP makes now" },
	{ .words = NULL },
};
/* clang-format on */
