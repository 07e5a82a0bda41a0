/* setting.h - a PRAGMA that would set something of the connection.
 *
 * Thread: whoever runs the connection.
 */
#ifndef DAEMON_SETTING_H
#define DAEMON_SETTING_H

#include <sqlite3.h>

#include "daemon/dbconn.h"

/* Judge the PRAGMA that the guard has noted in the statement just prepared, and
 * made one that does nothing: leave it so, or replace it with one that gives the
 * row which SQLite would, or refuse it.
 *
 * Errors: -ERR_NOT_ALLOWED, and *stmt is finalized; SQLite's. */
int setting_judge(struct dbconn *c, sqlite3_stmt **stmt, struct failure *f);

#endif
