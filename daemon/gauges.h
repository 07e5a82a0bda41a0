/* gauges.h - what is so now, in numbers: the gauges of stats.def.
 *
 * Any thread.
 */
#ifndef DAEMON_GAUGES_H
#define DAEMON_GAUGES_H

#include "daemon/db.h"

/* What gauges of one database are read from. */
struct db_look {
	struct writer_look writer;
	struct readers_look readers;
	int64_t oldest_snapshot_us; /* 0: none is held */
	int64_t wal_bytes, pending_bytes, file_bytes, over_us;
	int64_t now_us;
};

/* One of the daemon; text is a sentence without its full stop, which names the unit
 * unless the name does. */
struct gauge {
	const char *name, *text;
	double (*get)(struct dbs *dbs);
};

/* One of each database. */
struct db_gauge {
	const char *name, *text;
	double (*get)(const struct db_look *l);
};

extern const struct gauge gauges[];
extern const size_t gauges_n;
extern const struct db_gauge db_gauges[];
extern const size_t db_gauges_n;

/* Read what db_gauges are made from.  l was zeroed, and the database is held. */
void gauges_look_at(struct db *db, struct db_look *l);

/* Give how much memory the process has resident; 0: that cannot be read. */
uint64_t gauges_get_memory_bytes(void);

#endif
