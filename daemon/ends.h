/* ends.h - how things end that do not end by themselves: transactions of lost
 * clients, results that nobody fetches, and the daemon.
 *
 * Thread: the worker.
 */
#ifndef DAEMON_ENDS_H
#define DAEMON_ENDS_H

#include "daemon/client.h"

/* Tell what closed clients had under way to stop, and roll back their
 * transactions. */
void ends_zombies(struct loop *loop);

/* Tell what clients that were hung up on had under way to stop: they are answered
 * before the end. */
void ends_hung_up(struct loop *loop);

/* Stop results that their clients have left unread for too long, and close
 * connections that say no HELLO, or do not read their last reply.  True: there is
 * something that may stall yet, so it is to be called again. */
bool ends_stalled(struct loop *loop);

/* Tell clients that the daemon stops: no new requests are taken.  Those at @admin
 * are told by themselves, as they see the others off. */
void ends_goaway(struct loop *loop, bool admins);

/* While draining: hang up on clients that have nothing under way, and on those at
 * @admin when it is told to.  True when no client is left. */
bool ends_drain(struct loop *loop, bool admins_too);

/* Tell what is still under way to stop, and hang up when it is answered. */
void ends_refuse_all(struct loop *loop);

/* Close every client now. */
void ends_close_all(struct loop *loop);

#endif
