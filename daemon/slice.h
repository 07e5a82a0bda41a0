/* slice.h - how much of a turn one client may have.
 *
 * Preparing a text may take 0.2 s, and a client may have many of them collected,
 * or ready to go on, at once.  So what it takes is counted, and when it has had
 * its time the rest of its requests wait for the next turn: in its held line
 * those that are new (dispatch.c), in its again line, which comes first, those
 * that have waited before (road_home.c).  CANCELs do not: they take no time.  With
 * the first new one that takes a client's time up the turn ends for all.
 *
 * Thread: the worker.
 */
#ifndef DAEMON_SLICE_H
#define DAEMON_SLICE_H

#include "daemon/client.h"

/* One text is begun in this time, however long it takes. */
#define SLICE_TURN_US 5000

/* Say whether it may have more of this turn. */
static inline bool
slice_has_time(struct client *cl)
{
	if (cl->turn != cl->loop->turn) {
		cl->turn = cl->loop->turn;
		cl->turn_us = 0;
		cl->late = false;
	}
	return cl->turn_us <= SLICE_TURN_US;
}

/* Begin to count in this turn, unless something has: before what may take long. */
void slice_begin(struct loop *loop);

/* Count what went by until now_us, since the loop last counted, as the client's. */
static inline void
slice_charge(struct client *cl, int64_t now_us)
{
	struct loop *loop = cl->loop;

	if (now_us <= loop->now_us)
		return;
	cl->turn_us += now_us - loop->now_us;
	loop->now_us = now_us;
}

#endif
