/* fixture.h - the inside of the daemon without sockets: a temporary directory
 * with a database, its writer, readers and crews, the mailbox of a worker that
 * is the test itself, and requests made by hand.
 *
 * Replies are compared as text: a line for each frame, its type and then its
 * fields in the order of messages.def, strings between single quotes, e.g.
 *
 *    DONE changes=1 rowid=7
 *    ERROR name=SQLITE_ERROR message='no such table: t' offset=12
 *
 * Left out are the times, seq, the error's code and class (the name says them),
 * and an outcome of 0 (not applied).
 *
 * All of it is the test's own thread's.  What goes wrong fails the test.
 */
#ifndef TESTS_LIB_FIXTURE_H
#define TESTS_LIB_FIXTURE_H

#include <jansson.h>
#include <semaphore.h>

#include "daemon/db.h"
#include "daemon/mailbox.h"
#include "daemon/turns.h"

struct Suite;

/* A queue that keeps its crew's thread until it is told to let go. */
struct fixture_gate {
	struct squeue q; /* first: the queue is the gate */
	sem_t entered, leave;
};

struct fixture {
	char dir[128], path[160];
	struct conf *conf;
	struct dbs dbs;
	struct db *db;      /* the one database, "app"; NULL: not started */
	struct dbconn *hot; /* a worker's connection */
	struct mailbox mailbox;
	struct vars *vars;  /* of all requests, unless a test says otherwise */
	struct place place; /* likewise */
	struct owner owner;
	struct fixture_gate
	    gates[3]; /* of the writers', the readers', the keepers' crew */
	uint64_t last_id;
	char **texts; /* given out; freed at the end */
	size_t texts_n;
};

/* Make the directory, fill the database with schema (NULL: do not make it) and
 * start, which must succeed.  options: "foreign_keys=on group_max=3"; unless
 * they say otherwise the crews have one thread each and synchronous is normal.
 */
void fixture_open(struct fixture *fx, const char *options, const char *schema);

/* The same in two steps: the directory, the configuration and the file; then
 * the databases.  fixture_start says why that failed, or gives NULL. */
void fixture_init(struct fixture *fx, const char *options, const char *schema);
const char *fixture_start(struct fixture *fx);

/* Stop the crews: no other thread runs any more.  fixture_close does it, too. */
void fixture_stop(struct fixture *fx);

void fixture_close(struct fixture *fx);

/* Give text that lives as long as the fixture. */
const char *fixture_format(struct fixture *fx, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Run SQL on a connection of its own that opens the file as the daemon does;
 * gives its rows as text, "1|a\n2|b\n". */
const char *fixture_query(struct fixture *fx, const char *sql);

/* Make a request from its decoded form (msgjson.h), whose reference is taken.
 * It has its own bytes, a client who fetches at once, and fx->vars. */
struct request *fixture_ask(struct fixture *fx, json_t *form);

/* Make EXEC; params is JSON text or NULL.  The kind is what a worker finds, or
 * KIND_WRITE for what cannot be prepared. */
struct request *
fixture_exec(struct fixture *fx, const char *sql, const char *params);

/* A step of a BATCH: params and cond are JSON text or NULL. */
struct fixture_step {
	const char *sql, *params, *cond;
};

/* Make BATCH; behind the last step is one without sql. */
struct request *
fixture_batch(struct fixture *fx, const struct fixture_step *steps);

/* Make SCRIPT. */
struct request *
fixture_script(struct fixture *fx, const char *sql, bool atomic);

/* Make TX_END. */
struct request *fixture_end(struct fixture *fx, bool commit);

/* Put a request into a transaction. */
struct request *fixture_in(struct tx *tx, struct request *r);

/* Begin a transaction, as a worker does. */
struct tx *fixture_begin(struct fixture *fx, enum msg_tx_mode mode);

/* Hand a request over, which must succeed. */
struct request *fixture_write(struct fixture *fx, struct request *r);
struct request *fixture_read(struct fixture *fx, struct request *r);

/* Wait until it is home, answered or not. */
void fixture_wait(struct fixture *fx, struct request *r);

/* Wait until n bytes of its frames are home; gives how many there are. */
size_t fixture_wait_bytes(struct fixture *fx, struct request *r, size_t n);

/* Say that so many bytes more of it were sent on, as a worker does. */
void fixture_fetch(struct request *r, uint64_t bytes);

/* Ask it to stop, as CANCEL or its deadline does. */
void fixture_cancel(struct fixture *fx, struct request *r, int code);

/* Make it ready for another road, as its worker does when it came home without
 * an answer. */
struct request *fixture_reroute(struct request *r);

/* Wait until it is home; gives its reply as text and frees it. */
const char *fixture_take(struct fixture *fx, struct request *r);

/* Give frames that never travelled as text. */
const char *fixture_say(struct fixture *fx, const uint8_t *p, size_t n);

/* Keep the writers' one thread busy, so that what is submitted queues up; let
 * it go. */
void fixture_hold(struct fixture *fx);
void fixture_release(struct fixture *fx);

/* The same with the readers' one thread. */
void fixture_hold_readers(struct fixture *fx);
void fixture_release_readers(struct fixture *fx);

/* Wait until both crews, of one thread each, have done what they were given. */
void fixture_settle(struct fixture *fx);

/* Run a suite; what main returns. */
int fixture_run(struct Suite *suite);

#endif
