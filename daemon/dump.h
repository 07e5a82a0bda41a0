/* dump.h - the state in the log, for when nobody can ask @admin: SIGUSR2.
 *
 * Thread: as each says.
 */
#ifndef DAEMON_DUMP_H
#define DAEMON_DUMP_H

#include "daemon/client.h"

/* Log the counters and the databases.  Any thread. */
void dump_counters(void);
void dump_dbs(struct dbs *dbs);

/* Log the clients of a worker, and what they have under way.  The worker. */
void dump_loop(const struct loop *loop);

#endif
