/* session.h - the transaction of one stream of one client, as its worker sees
 * it.
 *
 * A session exists while a transaction is open on its stream.  Its requests run
 * one at a time, in the order they came; those behind the running one wait in
 * its line.
 *
 *    BEGIN     first statement        COMMIT, ROLLBACK, lost
 *   ──────▶ OPEN ──┬─▶ READ ──┬───────────────────────────────▶ (freed)
 *                  │    │ write                    ▲
 *                  └────┴─▶ WRITE ─────────────────┤
 *                  │ limit                         │ ROLLBACK, COMMIT
 *                  └──────▶ EXPIRED ───────────────┘
 *
 * Thread: the worker.
 */
#ifndef DAEMON_SESSION_H
#define DAEMON_SESSION_H

#include "daemon/hot.h"

struct session {
	struct session *next; /* the client's others */
	uint64_t stream;
	enum msg_tx_state state;
	struct tx *tx;   /* referenced */
	struct db *db;   /* of its first statement; NULL before, and when the
			* database is closed after the transaction expired */
	struct hot *hot; /* counts as a use of it; NULL like db */
	struct line line;
	struct request *running; /* NULL: none is under way */
};

/* Begin a transaction on a stream, and add it to a client's list.
 * NULL: out of memory. */
struct session *session_begin(struct session **list, uint64_t stream,
    enum msg_tx_mode mode, const struct owner *owner);

/* Find a stream's session, or NULL: autocommit. */
struct session *session_find(struct session *list, uint64_t stream);

/* Count a client's sessions. */
unsigned session_count(const struct session *list);

/* Take over the state that a reply says.  A transaction that has only opened
 * savepoints is OPEN to its client, and held by a reader all the same. */
void session_set_state(struct session *s, enum msg_tx_state state);

/* Say in what state it is while nothing of it is under way.  One that a SAVEPOINT
 * was to begin which did not succeed has not begun: TX_STATE_NONE. */
enum msg_tx_state session_get_state(const struct session *s);

/* Take the next request from its line: NULL when it is empty, or while one is
 * running. */
struct request *session_take(struct session *s);

/* Look whether the daemon has ended the transaction in the meantime. */
void session_refresh(struct session *s);

/* Let it be about a database.  It keeps that open. */
void session_bind(struct session *s, struct db *db, struct hot *hot);

/* Let go of the database of a transaction that has expired. */
void session_unbind(struct session *s);

/* Take it off the list and free it; its line is empty. */
void session_end(struct session **list, struct session *s);

#endif
