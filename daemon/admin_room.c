/* admin_room.c - commands that show how much there is of everything, and how much of
 * it is taken. */
#include "daemon/admin_impl.h"

#include <dirent.h>
#include <malloc.h>
#include <sys/resource.h>

#include "daemon/clock.h"
#include "daemon/gauges.h"
#include "daemon/hots.h"
#include "daemon/stats.h"
#include "daemon/tally.h"

/* --- SHOW LIMITS ----------------------------------------------------------------- */

enum { MOST_REQUESTS, MOST_BYTES };

/* The client that has the most of it. */
static void
visit_limits(struct admin *ad, struct loop *loop)
{
	uint64_t *most = ad->sums;

	for (const struct client *cl = loop->clients; cl; cl = cl->next) {
		if (cl->away_n > most[MOST_REQUESTS])
			most[MOST_REQUESTS] = cl->away_n;
		if (cl->away_bytes > most[MOST_BYTES])
			most[MOST_BYTES] = cl->away_bytes;
	}
}

static void
put_limit(struct admin *ad, const char *name, const char *database,
    uint64_t used, int64_t most)
{
	admin_put_row(ad);
	admin_put_str(ad, name);
	admin_put_str(ad, database);
	admin_put_uint(ad, used);
	admin_put_uint(ad, (uint64_t)most);
	admin_put_real(ad, most > 0 ? (double)used / (double)most : 0);
}

/* proc(5), /proc/pid/fd; less the one that looks. */
static uint64_t
count_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;
	uint64_t n = 0;

	if (!dir)
		return 0;
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n > 0 ? n - 1 : 0;
}

static void
put_db_limits(struct admin *ad, const struct db *db)
{
	const struct conf_db *conf = db->conf;
	const char *name = conf->name;
	struct snapshot oldest;
	struct writer_look writer;
	struct readers_look readers;
	struct health h;
	int64_t age_us = 0;

	writer_look(db->writer, &writer, NULL, 0);
	readers_look(db->readers, &readers);
	watch_get_health(db->watch, &h);
	if (readers_list_snapshots(db->readers, &oldest, 1) > 0)
		age_us = clock_now_us() - oldest.since_us;
	put_limit(ad, "max_queue", name,
	    writer.line_n > readers.line_n ? writer.line_n : readers.line_n,
	    conf->max_queue);
	put_limit(ad, "max_queue_bytes", name, writer.line_bytes,
	    conf->max_queue_bytes);
	put_limit(ad, "read_connections", name, readers.busy_n,
	    conf->read_connections);
	put_limit(ad, "wal_limit", name, (uint64_t)h.facts.wal_bytes,
	    conf->wal_limit_bytes);
	put_limit(ad, "wal_hard_limit", name, (uint64_t)h.facts.wal_bytes,
	    conf->wal_hard_limit_bytes);
	if (conf->max_snapshot_age_us)
		put_limit(ad, "max_snapshot_age", name,
		    age_us > 0 ? (uint64_t)age_us / 1000 : 0,
		    conf->max_snapshot_age_us / 1000);
}

static void
end_limits(struct admin *ad)
{
	const struct conf *conf = ad->home->conf;
	struct rlimit files = { 0 };

	getrlimit(RLIMIT_NOFILE, &files);
	put_limit(ad, "max_clients", NULL,
	    stats_get_difference(STAT_clients_accepted, STAT_clients_closed),
	    conf->max_clients);
	if (conf->directory[0])
		put_limit(ad, "max_open", NULL, room_count(ad->home->dbs),
		    conf->max_open);
	put_limit(ad, "max_in_flight", NULL, ad->sums[MOST_REQUESTS],
	    conf->max_in_flight);
	put_limit(ad, "max_client_bytes", NULL, ad->sums[MOST_BYTES],
	    conf->max_client_bytes);
	put_limit(
	    ad, "RLIMIT_NOFILE", NULL, count_files(), (int64_t)files.rlim_cur);
	admin_each_open(ad, put_db_limits);
}

/* --- SHOW MEMORY --------------------------------------------------------------- */

enum { CLIENT_BYTES, PAGE_BYTES, STATEMENT_BYTES };

static void
visit_memory(struct admin *ad, struct loop *loop)
{
	for (const struct client *cl = loop->clients; cl; cl = cl->next)
		ad->sums[CLIENT_BYTES] += cl->partial.n + cl->away_bytes +
		    cl->unsent_bytes + cl->out.bytes;
	hots_add_memory(
	    loop, &ad->sums[PAGE_BYTES], &ad->sums[STATEMENT_BYTES]);
}

static void
put_bytes(struct admin *ad, const char *name, const char *database, uint64_t n,
    const char *text)
{
	admin_put_row(ad);
	admin_put_str(ad, name);
	admin_put_str(ad, database);
	admin_put_uint(ad, n);
	admin_put_str(ad, text);
}

static void
put_db_memory(struct admin *ad, const struct db *db)
{
	struct writer_look writer;
	struct readers_look readers;

	writer_look(db->writer, &writer, NULL, 0);
	readers_look(db->readers, &readers);
	put_bytes(ad, "queue", db->conf->name, writer.line_bytes,
	    "requests that wait for the writer");
	put_bytes(ad, "cache_most", db->conf->name,
	    (1 + (uint64_t)readers.open_n) * (uint64_t)db->conf->cache_bytes,
	    "the most that the page caches of the writer and the open readers "
	    "may take (cache_bytes)");
}

static void
end_memory(struct admin *ad)
{
	struct mallinfo2 heap = mallinfo2();

	put_bytes(ad, "resident", NULL, gauges_get_memory_bytes(),
	    "memory that the daemon has resident");
	put_bytes(ad, "heap", NULL, heap.uordblks + heap.hblkhd,
	    "of what was allocated, what is in use");
	put_bytes(ad, "heap_free", NULL, heap.fordblks,
	    "what was given back and is kept for the next");
	put_bytes(ad, "clients", NULL, ad->sums[CLIENT_BYTES],
	    "requests and results of clients that are under way");
	put_bytes(ad, "worker_pages", NULL, ad->sums[PAGE_BYTES],
	    "page caches of the workers' connections");
	put_bytes(ad, "worker_statements", NULL, ad->sums[STATEMENT_BYTES],
	    "statements that they keep prepared");
	put_bytes(ad, "statement_texts", NULL, tally_get_bytes(),
	    "what SHOW STATEMENTS remembers; at most 32 MB");
	admin_each_open(ad, put_db_memory);
}

/* clang-format off */
const struct admin_command admin_room_commands[] = {
	{ .words = "SHOW LIMITS",
	  .columns = { "name", "database", "used", "most", "share" },
	  .visit = visit_limits, .end = end_limits,
	  .text = "how near each limit is, in its own unit, times in milliseconds; max_in_flight and max_client_bytes: of the client that has the most" },
	{ .words = "SHOW MEMORY",
	  .columns = { "name", "database", "bytes", "text" },
	  .visit = visit_memory, .end = end_memory,
	  .text = "what the memory is used for" },
	{ .words = NULL },
};
/* clang-format on */
