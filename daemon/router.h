/* router.h - which road a request takes.
 *
 * Decides and does nothing: no SQL is run, nothing is handed over.  The kind of
 * a statement comes from preparing it on the worker's own connection.
 *
 * Thread: the worker.
 */
#ifndef DAEMON_ROUTER_H
#define DAEMON_ROUTER_H

#include "daemon/db.h"
#include "daemon/session.h"

enum road {
	ROAD_ERROR,     /* r->failure says why */
	ROAD_INLINE,    /* a short read: this worker runs it now */
	ROAD_READERS,   /* a heavy reader */
	ROAD_WRITER,    /* the writer's line, or its lease */
	ROAD_BEGIN,     /* begin a transaction on the stream, answer */
	ROAD_SAVEPOINT, /* begin one, then run the statement in it */
	ROAD_END,       /* the transaction took nothing, or is lost: end it */
};

/* Choose for a request outside a transaction.  *ret_mode is set for ROAD_BEGIN.
 * behind_writes: its client has writes under way, so that a statement which
 * cannot be prepared may become good: it goes to the writer, unknown. */
enum road router_choose(struct request *r, struct dbconn *hot,
    const struct conf *conf, bool behind_writes, enum msg_tx_mode *ret_mode);

/* Choose for a request inside the transaction of s. */
enum road router_choose_in_tx(struct request *r, const struct session *s,
    struct dbconn *hot, bool behind_writes);

/* Say whether its statement is COMMIT or ROLLBACK. */
bool router_is_end(struct request *r, struct dbconn *hot);

#endif
