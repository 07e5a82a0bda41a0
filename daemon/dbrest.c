/* dbrest.c - a database that an administrator puts to rest: what is under way on it
 * ends, it is closed, and what comes waits (PAUSE) or is refused (DISABLE).
 *
 * What closes and opens it is db.c's queue, which looks at db->will.
 *
 * Threads: any. */
#include <utlist.h>

#include "daemon/db.h"

/* Under the lock. */
static bool
is_at_rest(const struct db *db)
{
	return db->state == DB_CLOSED && db->will != DB_SERVES;
}

bool
db_watch(struct db *db, struct db_watch *w)
{
	bool is_over;

	pthread_mutex_lock(&db->dbs->lock);
	is_over = is_at_rest(db) || db->will == DB_SERVES;
	if (!is_over)
		LL_PREPEND(db->watches, w);
	pthread_mutex_unlock(&db->dbs->lock);
	return is_over;
}

void
db_look_at_watches(struct db *db)
{
	struct db_watch *w, *next, *due = NULL;

	pthread_mutex_lock(&db->dbs->lock);
	LL_FOREACH_SAFE(db->watches, w, next) {
		if (!is_at_rest(db) && db->will != DB_SERVES &&
		    !atomic_load(w->stop))
			continue;
		LL_DELETE(db->watches, w);
		LL_PREPEND(due, w);
	}
	pthread_mutex_unlock(&db->dbs->lock);
	for (w = due; w; w = next) {
		next = w->next;
		mailbox_send(w->home, w->errand);
	}
}

/* Under the lock: it is not to serve any more. */
static void
begin_rest(struct db *db)
{
	struct hot *h;

	if (db->state == DB_OPEN)
		db->state = DB_DRAINING;
	DL_FOREACH2(db->hots, h, peer) {
		hot_order(h, HOT_LEAVE);
	}
}

/* Under the lock: what was not closed yet stays. */
static void
end_rest(struct db *db)
{
	struct hot *h;

	if (atomic_load(&db->removed))
		return;
	if (db->state == DB_DRAINING)
		db->state = DB_OPEN;
	DL_FOREACH2(db->hots, h, peer) {
		hot_order(h, HOT_STAY);
	}
}

/* leaves: what is at rest stays so.  Says whether it changed. */
static bool
change(struct db *db, unsigned from, enum db_will will, bool leaves,
    enum db_will *ret_was)
{
	enum db_will was;
	bool changes, began, ended;

	pthread_mutex_lock(&db->dbs->lock);
	was = db->will;
	changes = (from >> was & 1) && !(leaves && is_at_rest(db));
	if (was == DB_SERVES && atomic_load(&db->removed))
		changes = false;
	began = changes && will != DB_SERVES && was == DB_SERVES;
	ended = changes && will == DB_SERVES && was != DB_SERVES;
	if (began)
		begin_rest(db);
	else if (ended)
		end_rest(db);
	if (changes)
		db->will = will;
	squeue_kick(&db->q);
	pthread_mutex_unlock(&db->dbs->lock);
	if (began)
		db_ref(db); /* it must not be forgotten with its will */
	db_look_at_watches(db);
	if (ended)
		db_unref(db);
	*ret_was = was;
	return changes;
}

enum db_will
db_change_will(struct db *db, unsigned from, enum db_will will)
{
	enum db_will was;

	change(db, from, will, false, &was);
	return was;
}

bool
db_give_up_rest(struct db *db, enum db_will will, bool *ret_serves)
{
	enum db_will was;

	*ret_serves = change(db, 1U << will, DB_SERVES, true, &was);
	return was == will && !*ret_serves;
}

enum db_will
db_get_will(struct db *db)
{
	enum db_will will;

	pthread_mutex_lock(&db->dbs->lock);
	will = db->will;
	pthread_mutex_unlock(&db->dbs->lock);
	return will;
}
