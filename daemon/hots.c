/* hots.c - a worker's own connections. */
#include "daemon/hots.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/clock.h"
#include "daemon/dbconn.h"
#include "proto/error.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* As it is made here: with its place in the table of names. */
struct hot_named {
	struct hot hot; /* first: the pointer is the same */
	UT_hash_handle hh;
};

static bool
grow(struct loop *loop, size_t index)
{
	size_t n = loop->hots_n ? loop->hots_n : 8;
	struct hot **hots;

	if (index < loop->hots_n)
		return true;
	while (n <= index)
		n *= 2;
	hots = reallocarray(loop->hots, n, sizeof(struct hot *));
	if (!hots)
		return false;
	memset(
	    hots + loop->hots_n, 0, (n - loop->hots_n) * sizeof(struct hot *));
	loop->hots = hots;
	loop->hots_n = n;
	return true;
}

static struct hot *
add(struct loop *loop, struct db *db)
{
	struct hot_named *named = calloc(1, sizeof(*named));
	struct hot *h;

	if (!named)
		return NULL;
	h = &named->hot;
	if (!grow(loop, db->index))
		goto out;
	HASH_ADD_KEYPTR(hh, loop->hots_by_name, db->conf->name,
	    strlen(db->conf->name), named);
	if (!named->hh.tbl)
		goto out;
	h->home = &loop->box;
	h->db = db_ref(db);
	failure_init(&h->failure);
	atomic_store(&h->used_us, clock_now_us());
	loop->hots[db->index] = h;
	return h;
out:
	free(named);
	return NULL;
}

/* Take it out of the lists of the worker. */
static void
drop(struct loop *loop, struct hot *h)
{
	struct hot_named *named = (struct hot_named *)h;

	loop->hots[h->db->index] = NULL;
	HASH_DEL(loop->hots_by_name, named);
}

void
hots_forget(struct loop *loop, struct hot *h)
{
	drop(loop, h);
	failure_fini(&h->failure);
	db_unref(h->db);
	free(h);
}

struct hot *
hots_get(struct loop *loop, struct db *db)
{
	struct hot *h = db->index < loop->hots_n ? loop->hots[db->index] : NULL;

	if (h)
		return h;
	h = add(loop, db);
	if (h)
		db_ask(h);
	return h;
}

int
hots_find_db(
    struct loop *loop, struct span name, struct db **ret_db, struct failure *f)
{
	struct hot_named *found;
	const struct hot *h;
	struct db *db;
	int rc;

	HASH_FIND(hh, loop->hots_by_name, name.p, name.n, found);
	if (found && !db_is_removed(found->hot.db)) {
		*ret_db = found->hot.db;
		return 0;
	}
	rc = dbs_find(loop->dbs, name, &db, f);
	if (rc < 0)
		return rc;
	h = hots_get(loop, db);
	db_unref(db);
	if (!h)
		return failure_set(f, ERR_NO_MEMORY, "out of memory");
	*ret_db = h->db;
	return 0;
}

static int
open_now(struct loop *loop, struct db *db, struct failure *f)
{
	struct hot *h = add(loop, db);
	int rc;

	if (!h)
		return failure_set(f, ERR_NO_MEMORY, "out of memory");
	rc = db_fill(h, f);
	if (rc == 0)
		h->conn = h->fresh;
	return rc;
}

int
hots_open_all(struct loop *loop, struct failure *f)
{
	struct db *db = NULL;
	int rc = 0;

	while (rc == 0 && (db = dbs_next(loop->dbs, db))) {
		if (!db_hold(db))
			continue;
		rc = open_now(loop, db, f);
		db_release(db);
	}
	db_unref(db);
	return rc;
}

/* Not of one that could not be opened: who asks for that has it tried again. */
void
hots_preload(struct loop *loop)
{
	unsigned reloads_n = atomic_load(&loop->dbs->reloads_n);
	struct db *db = NULL;

	while ((db = dbs_next(loop->dbs, db)))
		if (atomic_load(&db->preloads_n) > loop->preloads_n &&
		    db_is_coming(db))
			hots_get(loop, db);
	loop->preloads_n = reloads_n;
}

void
hots_close_all(struct loop *loop)
{
	for (size_t i = 0; i < loop->hots_n; i++) {
		struct hot *h = loop->hots[i];

		if (!h)
			continue;
		db_take_back(h);
		dbconn_close(h->conn ? h->conn : h->fresh);
		dbconn_close(h->spent);
		hots_forget(loop, h);
	}
	free(loop->hots);
}

struct hot *
hots_take_arrival(struct loop *loop)
{
	struct hot *h = loop->arrived;

	if (!h)
		h = hot_take_home(&loop->box);
	if (!h)
		return NULL;
	loop->arrived = h->next;
	h->conn = h->fresh;
	loop->box.idled = true; /* maybe nobody waits for it any more */
	if (atomic_load(&h->order) != HOT_STAY)
		atomic_store(&loop->box.orders, true);
	return h;
}

struct request *
hots_pop_waiting(struct hot *h)
{
	struct request *r = line_pop(&h->waiting);

	if (r) {
		h->waiting_n--;
		r->waits = NULL;
	}
	return r;
}

void
hots_note_steps(struct loop *loop)
{
	for (size_t i = 0; i < loop->hots_n; i++)
		if (loop->hots[i] && loop->hots[i]->conn)
			dbconn_note_steps(loop->hots[i]->conn);
}

void
hots_add_batches(struct loop *loop, struct stats_sum *sum)
{
	for (size_t i = 0; i < loop->hots_n; i++)
		if (loop->hots[i] && loop->hots[i]->conn)
			stats_add_set(sum,
			    dbconn_get_stats(loop->hots[i]->conn),
			    HIST_batch_size);
}

void
hots_add_memory(struct loop *loop, uint64_t *pages, uint64_t *statements)
{
	for (size_t i = 0; i < loop->hots_n; i++)
		if (loop->hots[i] && loop->hots[i]->conn)
			dbconn_add_memory(
			    loop->hots[i]->conn, pages, statements);
}

void
hots_end_batches(struct loop *loop)
{
	struct hot *h;

	while ((h = loop->batches)) {
		loop->batches = h->next_batch;
		h->listed = false;
		hot_end_batch(h);
	}
}

/* --- Giving back ------------------------------------------------------------ */

/* Requests that wait for it to come again do not keep it. */
static bool
is_free(const struct hot *h)
{
	return atomic_load(&h->uses_n) == h->waiting_n;
}

static void
give(struct loop *loop, struct hot *h)
{
	h->again = h->waiting_n > 0;
	h->leaving = false;
	h->spent = h->conn;
	h->conn = NULL;
	if (!h->again)
		drop(loop, h);
	db_give(h);
}

static void
begin_leaving(struct loop *loop, struct hot *h)
{
	if (h->leaving)
		return;
	h->leaving = true;
	h->next_leaver = loop->leavers;
	loop->leavers = h;
}

/* It may stay after all: what waits for it goes on, as if it had come. */
static void
end_leaving(struct loop *loop, struct hot *h)
{
	struct hot **at = &loop->leavers;

	if (!h->leaving)
		return;
	while (*at != h)
		at = &(*at)->next_leaver;
	*at = h->next_leaver;
	h->leaving = false;
	h->fresh = h->conn;
	h->next = loop->arrived;
	loop->arrived = h;
}

static void
obey(struct loop *loop, struct hot *h)
{
	switch ((enum hot_order)atomic_load(&h->order)) {
	case HOT_STAY:
		end_leaving(loop, h);
		return;
	case HOT_LEAVE_IDLE:
		if (is_free(h))
			give(loop, h);
		else
			db_keep(h);
		return;
	case HOT_LEAVE:
		begin_leaving(loop, h);
		return;
	}
}

/* A transaction that was ended holds nothing, though its client has not asked; nor
 * does one whose first statement was cancelled before it ran: no limit ends it, and
 * its next statement binds it again. */
static bool
holds_nothing(const struct session *s)
{
	return s->state == TX_STATE_EXPIRED ||
	    (s->state == TX_STATE_OPEN && s->tx->held_us == 0);
}

static void
let_idle_go(struct loop *loop, const struct hot *h)
{
	for (struct client *cl = loop->clients; cl; cl = cl->next) {
		for (struct session *s = cl->sessions; s; s = s->next) {
			if (s->hot != h || s->running || s->line.head)
				continue;
			session_refresh(s);
			if (holds_nothing(s))
				session_unbind(s);
		}
	}
}

static void
look_at_leavers(struct loop *loop)
{
	struct hot **at = &loop->leavers, *h;

	while ((h = *at)) {
		let_idle_go(loop, h);
		if (!is_free(h)) {
			at = &h->next_leaver;
			continue;
		}
		*at = h->next_leaver;
		give(loop, h);
	}
}

void
hots_obey(struct loop *loop)
{
	if (atomic_load_explicit(&loop->box.orders, memory_order_relaxed)) {
		atomic_store(&loop->box.orders, false);
		for (size_t i = 0; i < loop->hots_n; i++)
			if (loop->hots[i] && loop->hots[i]->conn)
				obey(loop, loop->hots[i]);
	}
	if (loop->leavers)
		look_at_leavers(loop);
	if (loop->box.idled) {
		loop->box.idled = false;
		room_note_idle(loop->dbs);
	}
}
