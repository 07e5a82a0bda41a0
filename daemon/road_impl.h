/* road_impl.h - what the files of the road lend each other: road.c is the way out,
 * road_wait.c the waiting, road_home.c the way home.
 *
 * What goes wrong with a request becomes its answer.  So it may be gone after any of
 * these, but for road_wait_again.
 *
 * Thread: the worker. */
#ifndef DAEMON_ROAD_IMPL_H
#define DAEMON_ROAD_IMPL_H

#include "daemon/road.h"

/* Have a request that could go on do so in the next turn: its client has had its
 * time. */
void road_wait_again(struct client *cl, struct request *r);

/* Take a request without a transaction to its road, after it has waited.  It was
 * outside of its stream's transactions when it came: it stays so, whatever has begun
 * there since. */
void road_take_outside(struct client *cl, struct request *r);

/* Run the running request of a session, after it has waited, and what is behind it.
 * The session may be gone afterwards. */
void
road_resume_in_session(struct client *cl, struct session *s, struct request *r);

/* Run what waits in a session's line, one request at a time.  The session may be
 * gone afterwards. */
void road_pump(struct client *cl, struct session *s);

/* Have a request that has waited go on: in this turn, or in the next one when its
 * client has had its time.  One of a session is its running one until then. */
void road_go_on(struct client *cl, struct request *r);

#endif
