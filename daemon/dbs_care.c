/* dbs_care.c - what is looked after now and then: limits, files that were replaced,
 * databases that are idle.
 *
 * Thread: the main one, but for dbs_check_file. */
#include "daemon/clock.h"
#include "daemon/dbs_impl.h"
#include "daemon/log.h"

/* So many files are looked at in a second. */
#define CHECK_FILES 64

bool
dbs_tick(struct dbs *dbs)
{
	bool needed = false;

	for (struct db *db = dbs_next(dbs, NULL); db; db = dbs_next(dbs, db)) {
		db_look_at_watches(db);
		if (!db_hold(db))
			continue;
		needed |= readers_tick(db->readers);
		needed |= writer_tick(db->writer);
		needed |= watch_tick(db->watch);
		db_release(db);
	}
	return needed;
}

/* --- Files ------------------------------------------------------------------------ */

/* Another one has its name from now on.  Not opened before somebody asks: whoever
 * replaces a file may not be done yet. */
static void
replace(struct db *db)
{
	if (!dbs_replace(db))
		return;
	log_warn(
	    "%s: %s, or its WAL, was replaced or deleted while it was open; "
	    "it is closed, and what is there then is opened for the next "
	    "request",
	    db->conf->name, db->conf->path);
	if (!db_hold(db))
		return;
	writer_refuse(db->writer);
	readers_refuse(db->readers);
	db_release(db);
}

/* It may have been closed meanwhile, and its WAL is gone for that. */
static bool
is_open_still(struct db *db, const struct dbfile *file)
{
	bool is_so;

	pthread_mutex_lock(&db->dbs->lock);
	is_so = db->state == DB_OPEN && dbfile_is(file, &db->file) &&
	    (file->wal_ino == 0 || file->wal_ino == db->file.wal_ino);
	pthread_mutex_unlock(&db->dbs->lock);
	return is_so;
}

bool
dbs_check_file(struct dbs *dbs, struct db *db)
{
	struct dbfile was;

	pthread_mutex_lock(&dbs->lock);
	was = db->file;
	pthread_mutex_unlock(&dbs->lock);
	if (db->conf->access == CONF_ACCESS_SHARED)
		was.wal_ino = 0; /* others have it, too: watch.c */
	if (dbfile_stands(&was, db->conf->path) || !is_open_still(db, &was))
		return true;
	replace(db);
	return false;
}

/* The next one, in turn; referenced.  NULL: it is not open. */
static struct db *
look_at_next(struct dbs *dbs)
{
	struct db *db = NULL;

	pthread_mutex_lock(&dbs->lock);
	if (dbs->n > 0) {
		dbs->looked_at = (dbs->looked_at + 1) % dbs->n;
		db = dbs->known[dbs->looked_at];
	}
	if (db && db->state == DB_OPEN)
		db_ref(db);
	else
		db = NULL;
	pthread_mutex_unlock(&dbs->lock);
	return db;
}

/* Some of them. */
static void
check_files(struct dbs *dbs)
{
	for (unsigned i = 0; i < CHECK_FILES; i++) {
		struct db *db = look_at_next(dbs);

		if (db)
			dbs_check_file(dbs, db);
		db_unref(db);
	}
}

/* --- Idle ones -------------------------------------------------------------------- */

static bool
is_idle(const struct hot *h, int64_t before_us)
{
	return atomic_load(&h->uses_n) == 0 &&
	    atomic_load(&h->used_us) < before_us;
}

/* Under the lock: close what was not used since then. */
static void
close_idle(struct db *db, int64_t before_us)
{
	bool all = true;

	for (struct hot *h = db->hots; h; h = h->peer) {
		if (is_idle(h, before_us))
			hot_order(h, HOT_LEAVE_IDLE);
		else
			all = false;
	}
	if (all && !db->asked)
		db_drain(db);
}

/* The database stays open. */
static void
close_idle_readers(struct db *db, int64_t now)
{
	int64_t idle_us = db->conf->read_idle_close_us;

	if (!idle_us || !db_hold(db))
		return;
	readers_close_idle(db->readers, now - idle_us);
	db_release(db);
}

void
dbs_look_after(struct dbs *dbs)
{
	int64_t now = clock_now_us();

	for (struct db *db = dbs_next(dbs, NULL); db; db = dbs_next(dbs, db)) {
		int64_t idle_us = db->conf->idle_close_us;

		close_idle_readers(db, now);

		pthread_mutex_lock(&dbs->lock);
		if (idle_us && db->state == DB_OPEN)
			close_idle(db, now - idle_us);
		pthread_mutex_unlock(&dbs->lock);
	}
	check_files(dbs);
	dbs_forget_unknown(dbs);
}
