/* keeper.h - copies the WAL into the database file, beside the commits.
 *
 * Checkpoints and commits must not meet in one way: SQLite before 3.44.6,
 * 3.50.7 and 3.51.3 loses commits when a checkpoint that has nothing left to
 * copy overlaps a commit that begins the log anew (sqlite.org/wal.html, "the
 * WAL-reset bug"; facts.md 0.1).  So there are two kinds of checkpoint here,
 * never two at once, and no others:
 *
 *  - the keeper's, on its own connection and thread, beside commits.  It begins
 *    only with a backlog.  A log of which not everything is copied cannot begin
 *    anew, and only a checkpoint copies: so it cannot while this one runs.
 *  - the writer's, on the writer's connection, between two of its turns.
 *
 *            writer: the log has grown        keeper: copied it
 *    IDLE ─────────────────────────▶ COPYING ───────────────────▶ COPIED
 *      ▲                                                             │
 *      └──────────── writer: copied the rest, and maybe began anew ──┘
 *
 * The state is what hands the log over: the writer's checkpoints run in IDLE and
 * COPIED, the keeper's in COPYING.
 *
 * Threads: keeper_new, keeper_stop and keeper_free whoever opens and closes the
 * database; the others whoever runs the writer.
 */
#ifndef DAEMON_KEEPER_H
#define DAEMON_KEEPER_H

#include "daemon/crew.h"
#include "daemon/dbfile.h"
#include "daemon/health.h"

struct keeper;

enum keeper_state { KEEPER_IDLE, KEEPER_COPYING, KEEPER_COPIED };

/* Make the keeper of a database: a queue of crew, which kicks the writer's queue
 * when it has copied.  The file is the caller's, and stays the same.  Errors:
 * -ERR_NO_MEMORY. */
int keeper_new(const struct conf_db *db, const struct dbfile *file,
    struct crew *crew, struct squeue *writer, struct keeper **ret_keeper);

/* Let it not run any more. */
void keeper_stop(struct keeper *k);

/* Free it and close its connection.  It is stopped.  NULL is fine. */
void keeper_free(struct keeper *k);

/* What happened to the WAL.  Any thread. */
struct health_log *keeper_get_log(struct keeper *k);

enum keeper_state keeper_get_state(const struct keeper *k);

/* IDLE: let it copy what there is. */
void keeper_start(struct keeper *k);

/* COPIED: take note of it.  Errors: WAL_SYNC_FAILED; other failures are only
 * logged, as the writer's own checkpoint does what is left. */
int keeper_take(struct keeper *k);

#endif
