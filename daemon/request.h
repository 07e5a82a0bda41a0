/* request.h - the object that travels: one request of one client.
 *
 * A worker makes it from a frame, and either answers it at once or hands it
 * over: to the writer's line, or to a heavy reader.  Whoever holds it writes
 * its answer into it; the mailbox brings it home, and the worker frees it.
 *
 *              ┌─────────── inline read, refused, local answer ─────────┐
 *              │                                                        ▼
 *    NEW ──────┼──▶ PARKED ──┐ (behind its client's own writes)     ANSWERED
 *              │             ▼                                          ▲
 *              └──────▶ QUEUED ──────▶ RUNNING ─────────────────────────┘
 *                          ▲  ▲           │ stale road: route it again
 *                          │  └── NEW ◀────┤
 *                          └───────────────┘ the file is locked: wait again
 *
 * request_move is the only mover and holds the edges.
 *
 * Threads: the fields are grouped by who may touch them.  "holder" is the
 * worker before the hand-over, then the thread that runs the writer or the
 * reader it was given to, then the worker again (rules T1, T3, T4).
 */
#ifndef DAEMON_REQUEST_H
#define DAEMON_REQUEST_H

#include <stdatomic.h>

#include "daemon/tx.h"
#include "proto/error.h"
#include "proto/msg.h"

struct client;
struct db;
struct hot;
struct mailbox;
struct session;
struct place;
struct squeue;
struct stats_set;

enum request_state {
	REQUEST_NEW,
	REQUEST_PARKED,
	REQUEST_QUEUED,
	REQUEST_RUNNING,
	REQUEST_ANSWERED,
	REQUEST_STATES_N,
};

/* A request that came home without an answer: where to now? */
enum request_reroute {
	REROUTE_NOT,    /* it is answered */
	REROUTE_AGAIN,  /* route it again: it turned out to be a read */
	REROUTE_WRITER, /* its read transaction turns into a write one */
};

/* Why a request failed; what an ERROR frame says. */
struct failure {
	int code;         /* positive, errors.def or SQLite's; 0: none */
	int64_t offset;   /* bytes into the SQL, -1: none */
	int64_t step;     /* of a BATCH, -1: none */
	int64_t retry_ms; /* 0: none */
	enum error_outcome outcome;
	char *text; /* owned; NULL: the code's own text */
};

/* One step of a BATCH. */
struct step {
	struct span sql;
	struct span params; /* n 0: none */
	struct span cond;   /* n 0: none */
	bool caught;        /* a later condition tests its outcome */
};

/* Whole frames on their way to the client. */
struct piece {
	struct piece *next;
	struct buf bytes;
	size_t at; /* bytes already taken from it (worker) */
};

/* A queue of requests, linked by next.  Whoever owns it locks it. */
struct line {
	struct request *head, *tail;
};

struct request {
	struct request *next; /* in whichever line holds it */

	/* the worker alone */
	struct client *client;
	struct session *session;
	struct hot *hot; /* its worker's, of its database; NULL: none yet */
	struct request *all_next, *all_prev; /* its client's requests */
	struct request *mail_next;           /* in what mailbox_take gave */
	struct piece *unsent, *unsent_tail;  /* waits for credit */
	uint64_t granted_bytes; /* of ROWS frames that the client will take */
	size_t unsent_bytes;    /* of unsent */
	struct request *behind; /* PARKED until this write is answered */
	int64_t stalled_us;     /* since when unsent waits; 0: it does not */
	uint32_t deadline_n;    /* which in its worker's deadlines, from 1 on;
				 * 0: it is not there */
	struct msg_ask ask;     /* until the hand-over, like database */
	struct span database;   /* as the head named it; n 0: it did not */
	struct span content;    /* the frame it was read from */
	bool is_write;          /* given to the writer outside a transaction */
	bool away;              /* not answered in the turn it came in */
	bool charged;           /* it counts among its user's requests */
	bool reads;             /* it counts in its client's reading_n */
	struct line *waits;     /* where it waits on its own worker, or NULL */
	bool home_again;        /* its last piece has arrived */
	bool rerouted;          /* it came home without an answer once */
	bool waited; /* for its client's writes before it; not for later ones */

	/* set by the worker, constant after the hand-over */
	struct mailbox *home;
	enum msg_type type;
	uint64_t id, stream;
	struct db *db;
	struct tx *tx;       /* referenced; NULL in autocommit */
	struct vars *vars;   /* referenced; its session's */
	struct place *place; /* where it waits for the writer */
	struct span sql;
	struct span params; /* n 0: none */
	struct step *steps; /* owned */
	size_t steps_n;
	void *order;       /* owned; BACKUP: backup.h */
	uint64_t max_rows; /* 0: all */
	bool commit;       /* TX_END */
	bool atomic;       /* SCRIPT */
	bool read_only;    /* EXEC, BATCH: what would write is refused */
	bool decltypes;
	enum msg_kind kind;
	bool unknown; /* kind is not known: it could not be prepared before the
		       * writes its client sent earlier */
	bool owned;   /* the spans and owner point into frame and bytes */
	const struct owner *owner; /* whose it is, once it is run or handed
				    * over; NULL: its transaction's */
	void *frame; /* the frame it came in, when that is too long to copy */
	void *bytes; /* owned copy of what else the spans point to */
	size_t bytes_n; /* what it counts against the bounds of queues */
	size_t max_frame_bytes;
	int64_t arrived_us;
	int64_t timeout_us; /* from its arrival; 0: as its database has it */

	/* any thread */
	_Atomic int stop;      /* ERR_ code once it is to stop, else 0 */
	_Atomic uint64_t sent; /* bytes of ROWS frames sent by the worker */
	_Atomic(struct squeue *) runner; /* who to kick about it; may be NULL */
	_Atomic int state; /* enum request_state; the holder moves it */

	/* the holder */
	struct stats_set *stats; /* of the connection that runs it; NULL: none
				  * does */
	int64_t started_us;      /* when execution began, 0: not yet */
	int64_t ended_us;        /* when its last reply was written; or, a
				  * moment before, when it had run */
	struct buf out;          /* frames not posted yet */
	struct failure failure;
	int64_t changes, rowid;
	bool tallied; /* its statements have run, and were counted; what ran
		       * was undone */
	uint64_t seq; /* 0: committed nothing */
	enum msg_tx_state tx_state;
	enum request_reroute reroute;

	/* under the mailbox's lock */
	struct piece *inbox, *inbox_tail;
	struct piece last; /* for the last piece: it needs no memory */
	bool posted, final;
};

/* Requests of a worker that have ended, for its next ones.  All zero: none. */
struct request_pool {
	struct request *free; /* linked by next */
	unsigned n;
};

/* Make a request.  NULL: out of memory. */
struct request *request_new(void);

/* Free it with all it owns.  Worker.  NULL is fine. */
void request_free(struct request *r);

/* The same, from and to a pool.  Whoever owns the pool: a worker. */
struct request *request_take(struct request_pool *pool);
void request_give(struct request_pool *pool, struct request *r);
void request_pool_fini(struct request_pool *pool);

/* Free one of its pieces that was taken off its list.  Worker. */
void request_free_piece(struct request *r, struct piece *p);

/* Move it along one edge of the picture above.  The holder. */
void request_move(struct request *r, enum request_state to);

/* Give its state; that of another one's may have changed by then.  Any thread. */
static inline enum request_state
request_get_state(const struct request *r)
{
	return (enum request_state)atomic_load_explicit(
	    &r->state, memory_order_relaxed);
}

/* Copy what the spans and owner point to into the request, so that it can outlive
 * the buffer it was read from; of a request that owns its frame, only the SQL, which
 * may be a prepared statement's.  A NUL stands behind the SQL then, which its
 * length does not count.  Does nothing the second time.  Worker.
 * Errors: -ERR_NO_MEMORY. */
int request_own(struct request *r);

/* Ask a request to stop with an ERR_ code; the first caller wins.  Whoever runs
 * it looks at the flag (rule T8).  Any thread. */
void request_stop(struct request *r, int code);

/* Say why it was asked to stop, or 0.  Any thread. */
int request_get_stop(const struct request *r);

/* Forget what a run that was undone left in it.  The holder. */
void request_reset_result(struct request *r);

/* Let the failure say that the request was stopped: in the queue, or while it
 * ran.  The holder. */
void request_fail_stopped(struct request *r, const char *where);

/* Append; prepend; take the first (NULL: none); take one out of the middle; take
 * out the ones that were asked to stop, in their order. */
void line_push(struct line *line, struct request *r);
void line_push_front(struct line *line, struct request *r);
struct request *line_pop(struct line *line);
void line_remove(struct line *line, const struct request *r);
struct line line_take_stopped(struct line *line);

/* Begin with no failure. */
void failure_init(struct failure *f);
void failure_fini(struct failure *f);

/* Fill it in, printf-like; what it said before is dropped.  Class and default
 * outcome follow from the code.  Returns -code. */
int failure_set(struct failure *f, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
