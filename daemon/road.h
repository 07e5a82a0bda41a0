/* road.h - the way of a request that was understood: run here, handed over, made to
 * wait, and home again.
 *
 * A read may wait behind its own client's writes, or until that client has fewer
 * large results under way; a statement of a transaction waits for the one before
 * it.  All of that is in lines of the client, on its worker.  Before any of it a
 * request waits until its database is open and this worker has a connection to it.
 *
 * Thread: the worker.
 */
#ifndef DAEMON_ROAD_H
#define DAEMON_ROAD_H

#include "daemon/client.h"

/* Send a statement, batch or transaction message on its way.  Its fields are
 * checked and its database is found. */
void road_take(struct client *cl, struct request *r);

/* Say whether a statement that is denied ends its stream's transaction, as TX_END
 * does: that may always come, also from one who may do nothing in it any more.  Its
 * failure is none then. */
bool road_lets_end(struct client *cl, struct request *r);

/* Let a request outlive the turn: with bytes of its own, a deadline, and its place
 * in the bounds of its client.  Does nothing the second time.
 * Errors, with r->failure set: -ERR_TOO_MANY_REQUESTS, -ERR_NO_MEMORY. */
int road_send_away(struct client *cl, struct request *r);

/* Stop a request with an ERR_ code, wherever it is.  One that waits here is
 * answered and freed at once; one that waits for a writer or a reader by
 * road_reap. */
void road_stop(struct client *cl, struct request *r, int code);

/* Stop a request whose deadline has passed. */
void road_deadline(struct request *r);

/* At the end of a turn: have those that were stopped taken out of the lines, once
 * for each line, since that walks it. */
void road_reap(struct loop *loop);

/* Put a request into a line of this worker, where road_stop finds it; take the
 * first one, or NULL. */
void road_wait_in(struct line *line, struct request *r);
struct request *road_pop_waiting(struct line *line);

/* Hand over reads that waited until their clients had fewer under way. */
void road_waiting(struct loop *loop);

/* At the begin of a turn: go on with what could go on in the last one but for its
 * client's time. */
void road_again(struct loop *loop);

/* Run what waited for connections that came home, or fail it. */
void road_arrivals(struct loop *loop);

/* Deal with what the mailbox gave. */
void road_mail(struct request *list);

#endif
