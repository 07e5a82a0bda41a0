/* room.c - which databases of the directory may be open: at most max_open.
 *
 * One that is asked for when there is no room waits in a line.  For each that
 * waits the one that was used least lately, of those with nothing under way, is
 * closed; if its workers find that there is something by then it stays, and another
 * one has to go. */
#include <utlist.h>

#include "daemon/db.h"
#include "proto/error.h"

int
room_take(struct db *db, struct failure *f)
{
	struct dbs *dbs = db->dbs;
	unsigned most = dbs->conf->max_open;

	if (!db->conf->family) {
		db->state = DB_OPENING;
		return 0;
	}
	if (atomic_load(&dbs->wanting_n) >= most) {
		failure_set(f, ERR_QUEUE_FULL,
		    "%u databases of %s are open, as many as may be, and %u wait "
		    "for one of them to be idle already; try again later, or "
		    "raise max_open",
		    dbs->roomed_n, dbs->directory,
		    atomic_load(&dbs->wanting_n));
		f->retry_ms = 100;
		return -ERR_QUEUE_FULL;
	}
	db->state = DB_WAITING;
	DL_APPEND(dbs->wanting, db);
	atomic_fetch_add(&dbs->wanting_n, 1);
	room_make(dbs);
	return 0;
}

void
room_give(struct db *db)
{
	if (!db->conf->family)
		return;
	DL_DELETE(db->dbs->roomed, db);
	db->dbs->roomed_n--;
	room_make(db->dbs);
}

/* When it was used last; -1: it cannot be closed now. */
static int64_t
get_used_us(const struct db *db)
{
	int64_t used_us = 0;
	unsigned n = 0;

	if (db->state != DB_OPEN || db->asked)
		return -1;
	for (const struct hot *h = db->hots; h; h = h->peer, n++) {
		int64_t us = atomic_load(&h->used_us);

		if (atomic_load(&h->uses_n) > 0)
			return -1;
		if (us > used_us)
			used_us = us;
	}
	return n == db->holds ? used_us : -1;
}

/* The one to be closed next, or NULL; counts those that are about to be. */
static struct db *
find_idle(const struct dbs *dbs, unsigned *ret_closing_n)
{
	struct db *idle = NULL;
	int64_t idle_us = INT64_MAX;

	*ret_closing_n = 0;
	for (struct db *db = dbs->roomed; db; db = db->next) {
		int64_t used_us = get_used_us(db);

		*ret_closing_n += db->state == DB_DRAINING ||
		    db->state == DB_CLOSING;
		if (used_us >= 0 && used_us < idle_us) {
			idle = db;
			idle_us = used_us;
		}
	}
	return idle;
}

void
room_make(struct dbs *dbs)
{
	struct db *db;
	unsigned closing_n;

	while ((db = dbs->wanting) && dbs->roomed_n < dbs->conf->max_open) {
		DL_DELETE(dbs->wanting, db);
		atomic_fetch_sub(&dbs->wanting_n, 1);
		DL_APPEND(dbs->roomed, db);
		dbs->roomed_n++;
		db->state = DB_OPENING;
		squeue_kick(&db->q);
	}
	while (dbs->wanting && (db = find_idle(dbs, &closing_n)) &&
	    closing_n < atomic_load(&dbs->wanting_n))
		db_drain(db);
}

unsigned
room_count(struct dbs *dbs)
{
	unsigned n;

	pthread_mutex_lock(&dbs->lock);
	n = dbs->roomed_n;
	pthread_mutex_unlock(&dbs->lock);
	return n;
}

void
room_note_release(const struct db *db)
{
	if (db->conf->family && db->dbs->wanting && get_used_us(db) >= 0)
		room_make(db->dbs);
}

void
room_note_idle(struct dbs *dbs)
{
	if (atomic_load(&dbs->wanting_n) == 0)
		return;
	pthread_mutex_lock(&dbs->lock);
	room_make(dbs);
	pthread_mutex_unlock(&dbs->lock);
}
