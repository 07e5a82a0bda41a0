/* dispatch.h - what happens to requests: each is answered on the spot, run
 * here, handed over, or made to wait; and what happens when it comes home.
 *
 * Thread: the worker.
 */
#ifndef DAEMON_DISPATCH_H
#define DAEMON_DISPATCH_H

#include "daemon/client.h"

/* Deal with all requests that were collected, then end the read transactions
 * that they shared. */
void dispatch_collected(struct loop *loop);

/* Deal with what the mailbox gave. */
void dispatch_mail(struct request *list);

/* Stop a request whose deadline has passed. */
void dispatch_deadline(struct request *r);

/* Tell what closed clients had under way to stop, and roll back their
 * transactions. */
void dispatch_zombies(struct loop *loop);

/* Collect again what clients held back until their output drained.  True when
 * there was any. */
bool dispatch_held(struct loop *loop);

/* Hand over reads that waited until their clients had fewer under way. */
void dispatch_waiting(struct loop *loop);

/* Stop results that their clients have left unread for too long. */
void dispatch_stalled(struct loop *loop);

/* Tell all clients that the daemon stops: no new requests are taken. */
void dispatch_goaway(struct loop *loop);

/* While draining: hang up on clients that have nothing under way.  True when no
 * client is left. */
bool dispatch_drain(struct loop *loop);

/* Tell what is still under way to stop, and hang up when it is answered. */
void dispatch_refuse_all(struct loop *loop);

/* Close every client now. */
void dispatch_close_all(struct loop *loop);

#endif
