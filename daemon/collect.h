/* collect.h - from a frame's bytes to a request that waits for the turn to end.
 *
 * All that a message's bytes can have wrong is found here; what it means is
 * dispatch.c's.  Thread: the worker.
 */
#ifndef DAEMON_COLLECT_H
#define DAEMON_COLLECT_H

#include "daemon/client.h"

/* What a worker reads in one turn, at most. */
#define COLLECT_ARENA_BYTES ((size_t)2 << 20)

/* Read a frame's content and append the request to the loop's collected ones.
 * big: the malloc'd buffer that content lies in, owned by the request from now
 * on; NULL: content lies in the arena.
 *
 * A fault in a field is answered with an ERROR here, and the connection lives.
 * Errors, for faults after which it cannot: -ERR_FRAME_MALFORMED,
 * -ERR_FRAME_TOO_DEEP, -ERR_NO_MEMORY. */
int collect_frame(struct client *cl, struct span content, void *big);

/* Let a collected request outlive the turn before it is dispatched: it gets a
 * copy of its frame.  Errors: -ERR_NO_MEMORY. */
int collect_keep(struct request *r);

#endif
