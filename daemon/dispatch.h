/* dispatch.h - the requests of a turn: each is checked as its type needs and
 * answered on the spot, or sent on its road.
 *
 * Thread: the worker.
 */
#ifndef DAEMON_DISPATCH_H
#define DAEMON_DISPATCH_H

#include "daemon/client.h"

/* Deal with what was collected in a line: cancels, before anything that may take long,
 * or collected.  Ends with the request with which a client's time is up; then the read
 * transactions that they shared are ended. */
void dispatch_collected(struct loop *loop, struct line *line);

/* Collect again what clients held back until their output drained.  True when
 * there was any. */
bool dispatch_held(struct loop *loop);

#endif
