/* slow.h - statements that run for long are logged, with why.
 *
 * The progress handler notes when a statement has run for its first thousand
 * opcodes, and what SQLite counted for it until then: a short statement costs
 * nothing.  Whoever puts a statement back looks here before.
 *
 * Thread: the holder of the connection.
 */
#ifndef DAEMON_SLOW_H
#define DAEMON_SLOW_H

#include "daemon/dbconn.h"

/* Log a statement that has run for slow_statement since dbconn_set_vars, without
 * waited_us, in which it waited for its client.  st is not reset yet; NULL is
 * fine. */
void slow_look(struct dbconn *c, const struct stmt *st, const struct request *r,
    int64_t waited_us);

#endif
