/* gauges.c - what is so now, in numbers. */
#include "daemon/gauges.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/stats.h"

static double
get_age(int64_t since_us, int64_t now_us)
{
	return since_us && now_us > since_us ? (double)(now_us - since_us) / 1e6
					     : 0;
}

static double
get_uptime_seconds(struct dbs *dbs)
{
	struct timespec ts;
	uint64_t now_us;

	clock_gettime(CLOCK_REALTIME, &ts);
	now_us = (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
	return now_us > dbs->epoch ? (double)(now_us - dbs->epoch) / 1e6 : 0;
}

/* proc(5), /proc/pid/statm: the second number, in pages. */
uint64_t
gauges_get_memory_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	char line[128] = "";
	const char *second;
	unsigned long pages;

	if (!f)
		return 0;
	second = fgets(line, sizeof(line), f) ? strchr(line, ' ') : NULL;
	pages = second ? strtoul(second, NULL, 10) : 0;
	fclose(f);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static double
get_memory_bytes(struct dbs *dbs)
{
	(void)dbs;
	return (double)gauges_get_memory_bytes();
}

static double
get_clients(struct dbs *dbs)
{
	(void)dbs;
	return (double)stats_get_difference(
	    STAT_clients_accepted, STAT_clients_closed);
}

static double
get_requests_in_flight(struct dbs *dbs)
{
	(void)dbs;
	return (double)stats_get_difference(
	    STAT_requests_away, STAT_requests_home);
}

static double
get_databases(struct dbs *dbs)
{
	return dbs_count(dbs);
}

static double
get_databases_open(struct dbs *dbs)
{
	unsigned n = 0;

	for (struct db *db = dbs_next(dbs, NULL); db; db = dbs_next(dbs, db)) {
		if (!db_hold(db))
			continue;
		n++;
		db_release(db);
	}
	return n;
}

static double
get_writer_queue(const struct db_look *l)
{
	return (double)l->writer.line_n;
}

static double
get_writer_queue_bytes(const struct db_look *l)
{
	return (double)l->writer.line_bytes;
}

static double
get_writer_oldest_seconds(const struct db_look *l)
{
	return get_age(l->writer.oldest_us, l->now_us);
}

static double
get_writer_held_seconds(const struct db_look *l)
{
	return l->writer.state == WRITER_IDLE
	    ? 0
	    : get_age(l->writer.holder.since_us, l->now_us);
}

static double
get_readers_open(const struct db_look *l)
{
	return l->readers.open_n;
}

static double
get_readers_busy(const struct db_look *l)
{
	return l->readers.busy_n;
}

static double
get_reader_queue(const struct db_look *l)
{
	return (double)l->readers.line_n;
}

static double
get_reader_oldest_seconds(const struct db_look *l)
{
	return get_age(l->readers.oldest_us, l->now_us);
}

static double
get_snapshots(const struct db_look *l)
{
	return l->readers.snapshots_n;
}

static double
get_snapshot_age_seconds(const struct db_look *l)
{
	return get_age(l->oldest_snapshot_us, l->now_us);
}

static double
get_wal_bytes(const struct db_look *l)
{
	return (double)l->wal_bytes;
}

static double
get_wal_pending_bytes(const struct db_look *l)
{
	return (double)l->pending_bytes;
}

static double
get_wal_file_bytes(const struct db_look *l)
{
	return (double)l->file_bytes;
}

static double
get_wal_over_seconds(const struct db_look *l)
{
	return get_age(l->over_us, l->now_us);
}

const struct gauge gauges[] = {
#define GAUGE(name, text) { #name, text, get_##name },
#include "daemon/stats.def"
#undef GAUGE
};
const size_t gauges_n = sizeof(gauges) / sizeof(gauges[0]);

const struct db_gauge db_gauges[] = {
#define DB_GAUGE(name, text) { #name, text, get_##name },
#include "daemon/stats.def"
#undef DB_GAUGE
};
const size_t db_gauges_n = sizeof(db_gauges) / sizeof(db_gauges[0]);

void
gauges_look_at(struct db *db, struct db_look *l)
{
	struct snapshot oldest;
	struct health health;

	watch_get_health(db->watch, &health);
	l->wal_bytes = health.facts.wal_bytes;
	l->pending_bytes = health.facts.pending_bytes;
	l->file_bytes = health.facts.file_bytes;
	l->over_us = health.facts.over_us;
	l->now_us = clock_now_us();
	writer_look(db->writer, &l->writer, NULL, 0);
	readers_look(db->readers, &l->readers);
	if (readers_list_snapshots(db->readers, &oldest, 1) > 0)
		l->oldest_snapshot_us = oldest.since_us;
}
