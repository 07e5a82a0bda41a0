/* worker.h - an event loop thread: its clients, its turn.
 *
 * A turn collects every complete request that the ready sockets hold, takes the
 * mail, runs and routes, and writes the replies; then it looks for more before
 * it sleeps.
 *
 * The functions here are the main thread's.
 */
#ifndef DAEMON_WORKER_H
#define DAEMON_WORKER_H

#include <stdbool.h>
#include <stdint.h>

struct conf;
struct dbs;
struct failure;
struct mailbox;
struct peer;
struct worker;

/* Start a worker: its thread runs and its connections are open when this
 * returns.  Errors: those of dbconn_open, with f filled in; -ERR_NO_MEMORY. */
int worker_start(const struct conf *conf, struct dbs *dbs,
    struct worker **ret_worker, struct failure *f);

/* Tell it about all workers, itself among them; before it gets a client. */
struct mailbox *worker_get_mailbox(struct worker *w);
void worker_meet(struct worker *w, struct mailbox *const *peers, unsigned n,
    unsigned number);

/* Hand a connected socket over, with what is known of its peer. */
void worker_give(struct worker *w, const struct peer *peer);

/* Say whether so many sockets wait for it that it should get no more now. */
bool worker_is_crowded(struct worker *w);

/* How many clients it has, those on their way included. */
unsigned worker_get_clients_n(const struct worker *w);

/* How many of them are not at @admin. */
unsigned worker_get_others_n(const struct worker *w);

/* Let it end although there are clients at @admin, which see the others off. */
void worker_end_admins(struct worker *w);

/* Tell its clients that the daemon stops, and let it end when they have nothing
 * under way. */
void worker_drain(struct worker *w);

/* Let it tell what is still under way to stop, and hang up on its clients. */
void worker_refuse(struct worker *w);

/* Let it close its clients now. */
void worker_close_clients(struct worker *w);

/* Wake it, and count its turns until now: one that turns has counted more by the
 * next look. */
uint64_t worker_poke(struct worker *w);

/* Let it ask for connections to what a reload has opened (preload). */
void worker_preload(struct worker *w);

/* Let it log its clients and what they have under way. */
void worker_dump(struct worker *w);

/* Say whether it has ended. */
bool worker_is_done(const struct worker *w);

/* Wait for its thread. */
void worker_join(struct worker *w);

/* Close its connections and free it, once nobody posts to its mailbox any more:
 * its thread and the crews have ended.  NULL is fine. */
void worker_free(struct worker *w);

#endif
