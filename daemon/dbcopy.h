/* dbcopy.h - copies a database that is being written into another file.
 *
 * All of it within one read transaction: without one, each commit makes a copy
 * begin again, and it never ends (facts.md section 9).  It goes on in steps, so
 * that it keeps no thread for long, and writes nothing to the database.
 *
 * Thread: one at a time.
 */
#ifndef DAEMON_DBCOPY_H
#define DAEMON_DBCOPY_H

#include "daemon/dbconn.h"

struct dbcopy;

struct dbcopy_progress {
	int64_t done, total; /* pages */
	int page_bytes;
};

/* Begin to copy a database, which is open, as it is now, into a file that exists
 * and is empty.  Errors: those of dbconn_open; SQLite's. */
int dbcopy_open(const struct conf_db *db, const char *target,
    struct dbcopy **ret_copy, struct failure *f);

/* Copy so many pages more.  1: it is complete; negative: SQLite's code. */
int dbcopy_step(struct dbcopy *c, int pages, struct failure *f);

void dbcopy_get_progress(
    const struct dbcopy *c, struct dbcopy_progress *ret_progress);

/* Let go of both files.  NULL is fine. */
void dbcopy_close(struct dbcopy *c);

/* Run quick_check on a complete copy that nobody has open, until *stop is not 0.
 * Errors: SQLite's; SQLITE_CORRUPT with what was found first. */
int dbcopy_verify(const char *path, const _Atomic int *stop, struct failure *f);

#endif
