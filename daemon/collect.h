/* collect.h - from a socket's bytes to requests that wait for the turn to end.
 *
 * All that a message's bytes can have wrong is found here; what it means is
 * dispatch.c's.  Thread: the worker.
 */
#ifndef DAEMON_COLLECT_H
#define DAEMON_COLLECT_H

#include "daemon/client.h"

/* What a worker reads in one turn, at most. */
#define COLLECT_ARENA_BYTES ((size_t)2 << 20)

/* Read what a client's socket holds, and append the complete requests to the
 * loop's collected ones. */
void collect_read(struct client *cl);

/* Go on with the clients that sent more than they may in one turn. */
void collect_more(struct loop *loop);

/* Let a collected request outlive the turn before it is dispatched: it gets a
 * copy of its frame.  Errors: -ERR_NO_MEMORY. */
int collect_keep(struct request *r);

#endif
