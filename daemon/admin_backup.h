/* admin_backup.h - BACKUP name TO 'path' [VERIFY] [REPLACE], on @admin.
 *
 * Thread: the worker.
 */
#ifndef DAEMON_ADMIN_BACKUP_H
#define DAEMON_ADMIN_BACKUP_H

#include "daemon/client.h"

/* Say whether a request is that command, well-formed or not. */
bool admin_backup_is(const struct request *r);

/* Read it: r->db and r->order are what it names then.
 *
 * Errors: -ERR_NOT_ALLOWED: who sent it may not, it is not well-formed, or a
 * served database is in the way; -ERR_NO_DATABASE; -ERR_NO_MEMORY. */
int admin_backup_read(struct client *cl, struct request *r);

#endif
