/* hots.h - a worker's own connections: which it has, which are on their way, and
 * when one is given back.
 *
 *               db_ask               hot_send_home
 *    (none) ──────────▶ being opened ──────────────▶ here ──┐ HOT_LEAVE
 *                            │ failed                 │     ▼
 *                            ▼             HOT_LEAVE_ │   leaving: begins nothing
 *                        forgotten         IDLE, and  │     │ nothing under way
 *                            ▲             idle       ▼     ▼
 *                            └──────────────────── db_give
 *
 * Requests wait in h->waiting until it is here, in the order they came.
 *
 * Thread: the worker.
 */
#ifndef DAEMON_HOTS_H
#define DAEMON_HOTS_H

#include "daemon/client.h"
#include "daemon/stats.h"

/* Open those of the databases that are open now, on this thread, before there
 * are clients.  Errors: those of dbconn_open, with f filled in. */
int hots_open_all(struct loop *loop, struct failure *f);

/* Ask for those of the databases that a reload has opened since the last time. */
void hots_preload(struct loop *loop);

/* Close all.  After the crews have ended. */
void hots_close_all(struct loop *loop);

/* Give a database's, which may be on its way; or ask for it.  NULL: out of
 * memory. */
struct hot *hots_get(struct loop *loop, struct db *db);

/* Find a database by its name among those that this worker has a connection to,
 * or in the list of all and ask for one.  *ret_db is there until the turn ends, or
 * a request for it.  Errors: as dbs_find. */
int hots_find_db(
    struct loop *loop, struct span name, struct db **ret_db, struct failure *f);

/* Take one that came home, opened or with its failure; NULL: none.  What waits
 * for it is the caller's to run, or to fail. */
struct hot *hots_take_arrival(struct loop *loop);

/* Forget one that could not be opened; nothing waits for it. */
void hots_forget(struct loop *loop, struct hot *h);

/* Take the next request that waited for it; NULL: none. */
struct request *hots_pop_waiting(struct hot *h);

/* Take along what SQLite has counted for their statements. */
void hots_note_steps(struct loop *loop);

/* Add the sizes of the batches that were run on them. */
void hots_add_batches(struct loop *loop, struct stats_sum *sum);

/* Add how much memory their page caches and statements take. */
void hots_add_memory(struct loop *loop, uint64_t *pages, uint64_t *statements);

/* End the read transactions of this turn. */
void hots_end_batches(struct loop *loop);

/* Obey the orders that came, give back those that can be. */
void hots_obey(struct loop *loop);

#endif
