/* admin.h - the virtual database @admin: commands whose results are ordinary
 * result sets.
 *
 * A command that asks about clients travels: it visits each worker, which alone
 * may look at its own (rules T2 and T4), and comes home with rows.
 *
 * Thread: the worker of the client that sent the command.
 */
#ifndef DAEMON_ADMIN_H
#define DAEMON_ADMIN_H

#include "daemon/client.h"

/* Run the command in r->sql; its reply comes by the loop's own mailbox. */
void admin_take(struct client *cl, struct request *r);

#endif
