/* admin.h - the virtual database @admin: SHOW commands whose results are
 * ordinary result sets.
 *
 * Thread: the worker.
 */
#ifndef DAEMON_ADMIN_H
#define DAEMON_ADMIN_H

#include "daemon/db.h"

/* Run the command in r->sql and write its reply to b. */
void admin_run(struct dbs *dbs, struct request *r, struct buf *b);

#endif
