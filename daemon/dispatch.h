/* dispatch.h - the requests of a turn: each is checked as its type needs and
 * answered on the spot, or sent on its road.
 *
 * Thread: the worker.
 */
#ifndef DAEMON_DISPATCH_H
#define DAEMON_DISPATCH_H

#include "daemon/client.h"

/* Deal with the CANCELs that were collected: before anything that may take long. */
void dispatch_cancels(struct loop *loop);

/* Deal with all other requests that were collected, then end the read transactions
 * that they shared. */
void dispatch_collected(struct loop *loop);

/* Collect again what clients held back until their output drained.  True when
 * there was any. */
bool dispatch_held(struct loop *loop);

#endif
