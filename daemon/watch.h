/* watch.h - looks after the WAL of one database: what keeps it large, whom that
 * is to be told, and which snapshots have to end.
 *
 * With each tick the main thread sees whether there is anything to look at;
 * the looking is done by the crew "watch", of one thread for all databases, which
 * nothing else can delay: neither a checkpoint on a slow disk nor a long read.
 *
 *   facts: the wal-index, the -wal file, snapshots, what was noted (health.h),
 *          the lock table (access = shared)
 *     └─▶ diagnosis ─▶ the log, when it changes; watch_get_health
 *                   └▶ max_snapshot_age
 */
#ifndef DAEMON_WATCH_H
#define DAEMON_WATCH_H

#include "daemon/health.h"
#include "daemon/writer.h"

struct watch;

struct health {
	struct health_facts facts;
	struct diagnosis diagnosis;
};

/* Who works on a database; all open for as long as it is watched. */
struct watch_parts {
	struct writer *writer;
	struct readers *readers;
	struct keeper *keeper;
};

/* Watch a database.  Errors: -ERR_NO_MEMORY. */
int watch_new(const struct conf_db *db, struct crew *crew,
    const struct watch_parts *parts, struct watch **ret_watch);

/* Nothing else looks at it any more; the writer is still open.  NULL is fine. */
void watch_free(struct watch *w);

/* See whether there is anything to look at.  True: there is, or will be soon. */
bool watch_tick(struct watch *w);

/* Give the state of this moment.  It costs a few microseconds; who reads outside
 * the daemon and the size of the file are from the last look.  Any thread, while
 * the database is open. */
void watch_get_health(struct watch *w, struct health *ret);

#endif
