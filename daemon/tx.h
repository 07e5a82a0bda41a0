/* tx.h - what the requests of one session share beyond the moment.
 *
 * A transaction is begun by a worker, and then held by the writer (a lease) or
 * by a heavy reader (a snapshot), one request at a time.  Both structs are
 * counted, since the session, its requests and the holder let go of them in any
 * order.
 */
#ifndef DAEMON_TX_H
#define DAEMON_TX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/msg.h"

struct reader;

#define TX_TEXT_BYTES 320
#define TX_APP_BYTES  64
#define TX_SQL_BYTES  128

/* Who a transaction or a request belongs to; constant. */
struct owner {
	pid_t pid;
	uid_t uid;
	char app[TX_APP_BYTES]; /* NUL-terminated; "" when it gave none */
};

/* A SAVEPOINT that is open. */
struct savepoint {
	struct savepoint *next; /* the one around it */
	char name[];
};

struct tx {
	_Atomic int refs;
	enum msg_tx_mode mode;
	struct owner owner;
	int64_t began_us;

	/* the holder, that is whoever runs its request; nobody else looks
	 * while a request of it is under way */
	struct savepoint *savepoints; /* innermost first */
	bool implicit; /* begun by SAVEPOINT: RELEASE of the last commits */
	_Atomic bool leased; /* it holds the writer; its worker looks too */
	bool has_snapshot;   /* it has read something */
	bool released;   /* the writer's gate has let go of its snapshot, which
			      * is only good for writing now, if for that */
	uint32_t change; /* its snapshot is no older than this change count */
	int64_t held_us; /* when it got the writer or its snapshot */
	int64_t last_us; /* when its last statement ended */
	char last_sql[TX_SQL_BYTES]; /* which one, cut; NUL-terminated */

	/* under the reader pool's lock */
	struct reader *reader; /* which pins its snapshot, or NULL */

	/* set once, by whoever ended it; the text is there before */
	_Atomic int expired; /* ERR_ code, 0: it lives */
	char expired_text[TX_TEXT_BYTES];
};

/* What a client's requests have together, on any thread: values that SQL functions
 * give back, and memory. */
struct vars {
	_Atomic int refs;
	_Atomic int64_t rowid;   /* last_insert_rowid() */
	_Atomic int64_t changes; /* changes() */
	_Atomic int64_t total;   /* total_changes() */
	_Atomic int64_t memory;  /* of total_memory, in bytes: budget.h */
};

/* Make a transaction with one reference.  NULL: out of memory. */
struct tx *tx_new(enum msg_tx_mode mode, const struct owner *owner);
struct tx *tx_ref(struct tx *tx);
void tx_unref(struct tx *tx);

/* Say whether it has begun: one that SAVEPOINT was to begin has not when that
 * failed.  The holder, or its worker while nothing of it is under way. */
bool tx_has_begun(const struct tx *tx);

/* Note that a statement of it ended now.  The holder. */
void tx_touch(struct tx *tx, struct span sql);

/* End it from the daemon's side: text says why and what to do.  The holder. */
void tx_expire(struct tx *tx, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Find the innermost open savepoint of a name, or NULL.  The holder. */
const struct savepoint *
tx_find_savepoint(const struct tx *tx, const char *name);

/* Keep the list of open savepoints in step with a statement that succeeded.
 * push fails with -ERR_NO_MEMORY; release and rollback_to ignore a name that is
 * not there (SQLite refused it before).  The holder. */
int tx_push_savepoint(struct tx *tx, const char *name);
void tx_release_savepoint(struct tx *tx, const char *name);
void tx_rollback_to_savepoint(struct tx *tx, const char *name);

struct vars *vars_new(void);
struct vars *vars_ref(struct vars *v);
void vars_unref(struct vars *v);

#endif
