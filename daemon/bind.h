/* bind.h - parameters as a client sent them, into a statement.
 *
 * Thread: whoever owns the connection at the moment.
 */
#ifndef DAEMON_BIND_H
#define DAEMON_BIND_H

#include <sqlite3.h>

#include "daemon/dbconn_impl.h"

/* Bind a raw msgpack array or map, or nothing (n 0): stmt_bind. */
int bind_params(
    struct dbconn *c, sqlite3_stmt *s, struct span params, struct failure *f);

#endif
