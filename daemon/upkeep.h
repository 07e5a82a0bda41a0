/* upkeep.h - what a database needs now and then: statistics for the planner, and
 * its free pages given back.
 *
 * PRAGMA optimize would not do: it judges by what its own connection has asked,
 * and the one that may write is not the one that reads (pragma.html, "optimize").
 * So this judges by what was changed.
 *
 * Thread: whoever owns the connection, which may write.  Each can be stopped:
 * dbconn_watch; then it has changed nothing.
 */
#ifndef DAEMON_UPKEEP_H
#define DAEMON_UPKEEP_H

#include "daemon/dbconn.h"

/* Run ANALYZE, with a limit on the rows it looks at, if there are indexes without
 * statistics or so many changed rows are much beside those the statistics know.
 * 1: it ran; 0: not needed.  Errors: SQLite's. */
int upkeep_analyze(struct dbconn *c, int64_t changed_rows, struct failure *f);

/* Give back some pages, when the file is in incremental auto_vacuum mode.  1:
 * there are more; 0: none.  Errors: SQLite's. */
int upkeep_vacuum(struct dbconn *c, struct failure *f);

#endif
