/* hot.h - a worker's own connection to one database, and short reads on it.
 *
 * Reads that were collected together share one read transaction, whose snapshot
 * is younger than each of them: so every one sees all that was acknowledged
 * before it was sent (P1), and the lock calls are paid once (design, section 6:
 * 5.0 us for a read by itself, 1.3 us for each of 64).  A lone read needs none.
 *
 * A read over its budget is stopped and its partial answer taken back; nothing
 * of it was sent.
 *
 * It is opened, and closed, by another thread, so that no client of the worker
 * waits for that: the worker gives it away and goes on, and it comes home through
 * the worker's box (hots.h, db.h).  While it is there its database stays open.
 *
 * Thread: the worker, unless it says otherwise.
 */
#ifndef DAEMON_HOT_H
#define DAEMON_HOT_H

#include "daemon/exec.h"
#include "daemon/mailbox.h"

struct db;
struct hot;

/* What a worker is asked to do with one. */
enum hot_order {
	HOT_STAY,
	HOT_LEAVE_IDLE, /* give it back if nothing is under way on it */
	HOT_LEAVE,      /* begin nothing new on it; give it back when what is
			 * under way has ended */
};

/* Where those that come home wait for their worker. */
struct hot_box {
	_Atomic(struct hot *) head; /* any thread */
	_Atomic bool orders;        /* any thread: some have orders */
	bool idled; /* the worker: nothing is under way any more on some */
	struct mailbox *mailbox; /* borrowed; rung */
};

struct hot {
	struct dbconn *conn; /* NULL: it is being opened */
	bool batching;       /* a read transaction is open */
	bool listed;         /* in batches */
	unsigned batch_n;
	int64_t batch_end_us;
	struct hot *next_batch;

	struct db *db;        /* referenced */
	struct hot_box *home; /* of its worker */
	struct line waiting;  /* requests that need it */
	unsigned waiting_n;   /* of those; they count as under way, too */
	bool leaving, reaps;  /* it is in leavers; in reaps */
	struct hot *next_leaver, *next_reap;

	/* written by the worker, read by any thread */
	_Atomic unsigned uses_n; /* requests that outlive their turn, and
				   * transactions that hold something */
	_Atomic int64_t used_us; /* when the last request for it arrived */

	/* any thread */
	_Atomic int order; /* enum hot_order */

	/* whoever has it: the worker, or the database's queue */
	struct hot *next;       /* in the box, or in a list of the database */
	struct dbconn *fresh;   /* opened; on its way home */
	struct dbconn *spent;   /* to be closed */
	bool again;             /* it is to come home again */
	struct failure failure; /* why there is no fresh one */

	/* under the lock of the databases */
	struct hot *peer, *peer_prev; /* the others of this database */
};

enum hot_result {
	HOT_ANSWERED = 0,
	HOT_TOO_LONG = 1, /* a heavy reader is to run it from the start */
};

/* Run a read.  alone: no other read waits, so it needs no shared transaction.
 * Its answer is appended to out. */
enum hot_result hot_run(struct hot *h, const struct conf *conf,
    struct request *r, struct buf *out, bool alone);

/* End the shared read transaction, if there is one. */
void hot_end_batch(struct hot *h);

/* Count what is under way on it. */
void hot_use(struct hot *h);
void hot_unuse(struct hot *h);

/* Bring it home.  Any thread; it is the worker's afterwards. */
void hot_send_home(struct hot *h);

/* Take all that came home, in any order, linked by next. */
struct hot *hot_take_home(struct hot_box *box);

/* Give its worker an order.  Any thread. */
void hot_order(struct hot *h, enum hot_order order);

#endif
