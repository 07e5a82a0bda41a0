/* mailbox.h - how a request comes home to its worker.
 *
 * Any thread posts; the worker that owns the mailbox takes.  The lock is held
 * only to splice lists.  A post wakes the worker only when the box was empty
 * and the worker said that it is about to sleep: waking a core costs more than
 * a query (design, section 6).
 */
#ifndef DAEMON_MAILBOX_H
#define DAEMON_MAILBOX_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "daemon/request.h"

/* What visits one thread after the other: embedded in something that knows where
 * it goes next.  It belongs to the thread that it has arrived at. */
struct errand {
	struct errand *next;
	/* owner: what the mailbox belongs to, a worker's loop or the server */
	void (*arrive)(struct errand *e, void *owner);
};

struct mailbox {
	pthread_mutex_t lock;
	struct request *head, *tail; /* under lock */
	struct errand *errands;      /* under lock; newest first */
	bool shut;                   /* under lock; the owner takes no more */
	_Atomic bool has_errands;    /* to be asked without the lock */
	_Atomic bool asleep;
	int fd; /* eventfd: readable when the owner is to wake up */
};

/* Open a mailbox.  Errors: -ERR_NO_MEMORY (no descriptor left). */
int mailbox_open(struct mailbox *mb);
void mailbox_close(struct mailbox *mb);

/* Send frames of a request home: r->out's bytes become a piece.  With final,
 * the request itself goes too and is dead to the sender (T1); without, the
 * sender goes on with it.  The holder. */
void mailbox_post(struct request *r, bool final);

/* Send an errand, which is dead to the sender then.  False: the owner has ended;
 * it is still the sender's.  Any thread. */
bool mailbox_send(struct mailbox *mb, struct errand *e);

/* Let the errands that have come arrive; shut: and take no more from now on.  The
 * owner. */
void mailbox_receive(struct mailbox *mb, void *owner, bool shut);

/* Wake the owner, whatever is in the box.  Any thread. */
void mailbox_wake(struct mailbox *mb);

/* Take all requests that have news, oldest first, linked by mail_next.  For each,
 * its pieces have moved to r->unsent, and r->home_again says whether it is
 * the worker's again.  The owner. */
struct request *mailbox_take(struct mailbox *mb);

/* Say that the owner is about to sleep.  False: there is mail, do not sleep.
 * The owner; mailbox_awake afterwards. */
bool mailbox_sleep(struct mailbox *mb);
void mailbox_awake(struct mailbox *mb);

/* Silence the bell, when fd is readable: it is not until somebody rings again.
 * Also when the owner did not sleep: mailbox_wake rings all the same, and a bell
 * that is left ringing would wake it in each of its turns.  The owner. */
void mailbox_hear(struct mailbox *mb);

#endif
