/* local.h - requests that a worker answers by itself: HELLO, PING, PREPARE,
 * DESCRIBE, CLOSE, CREDIT.
 *
 * Thread: the worker.
 */
#ifndef DAEMON_LOCAL_H
#define DAEMON_LOCAL_H

#include "daemon/client.h"

/* Answer a request where it is and free it: write gets the request, and the
 * client as well in local_reply. */
void local_answer(struct client *cl, struct request *r,
    void (*write)(struct request *, struct buf *));
void local_reply(struct client *cl, struct request *r,
    void (*write)(struct client *, struct request *, struct buf *));

/* Answer it with r->failure and free it.  The number of a PREPARE is free then, unless
 * the next one has it. */
void local_fail(struct client *cl, struct request *r);

/* Answer a statement, or message, that steers a transaction, and free it. */
void local_answer_control(struct client *cl, struct request *r);

/* Each writes the reply to b.  local_hello may hang up. */
void local_hello(struct client *cl, struct request *r, struct buf *b);
void local_ping(struct client *cl, struct request *r, struct buf *b);
void local_close(struct client *cl, struct request *r, struct buf *b);
void local_describe(struct client *cl, struct request *r, struct buf *b);

/* Grant a result more bytes; nothing is answered. */
void local_credit(struct client *cl, struct request *r);

/* Find the database that a request is for: its own or the client's default.
 * *ret_admin: it is @admin, which is none.
 * Errors, with r->failure set: -ERR_NO_DATABASE, -ERR_DATABASE_REQUIRED. */
int local_find_db(struct client *cl, struct request *r, bool *ret_admin);

#endif
