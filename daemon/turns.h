/* turns.h - who is next: clients take turns.
 *
 * Requests that wait for a writer stand behind their own client's earlier ones,
 * and the clients stand in a ring in the order in which they came to it.
 *
 *    next ──▶ place of A: a1 a2 a3     the one in front gives its first request
 *             place of B: b1           and, if it has more, goes to the end:
 *             place of C: c1 c2        a1 b1 c1 a2 c2 a3
 *
 * So clients with one request at a time are served in arrival order, and one
 * that sends a thousand at once holds up nobody behind all of them.
 *
 * Thread: any, under its owner's lock.
 */
#ifndef DAEMON_TURNS_H
#define DAEMON_TURNS_H

#include "daemon/request.h"

/* Where one client's requests to one database wait.  Its client's, and not freed
 * before the client, that is, while a request of it is under way (T4). */
struct place {
	struct place *next, *prev; /* in the ring, while line is not empty */
	struct line line;
	struct place *sibling; /* the same client's, for other databases */
	const struct db *db;
	unsigned requests_n; /* its client's worker: under way with it */
};

struct turns {
	struct place *ring; /* the next one; NULL: nobody waits */
	size_t n;           /* requests that wait */
	size_t bytes;       /* what they count against the bounds */
};

/* Let a request wait in r->place. */
void turns_push(struct turns *t, struct request *r);

/* Give the next request, and leave it where it is; NULL: none waits. */
struct request *turns_peek(const struct turns *t);

/* Take the next request; its client's turn is over.  NULL: none waits. */
struct request *turns_pop(struct turns *t);

/* Put a request that was popped back: it is the next one. */
void turns_return(struct turns *t, struct request *r);

/* Call fn for each that waits. */
void turns_each(
    const struct turns *t, void (*fn)(struct request *r, void *arg), void *arg);

/* List the first of those that wait, in the order in which they will run, at most
 * most of them.  Gives how many it listed. */
size_t turns_list(const struct turns *t, struct request **list, size_t most);

/* Take those that were asked to stop; the order of the others stays. */
struct line turns_take_stopped(struct turns *t);

#endif
