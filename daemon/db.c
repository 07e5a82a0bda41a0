/* db.c - the life of a database: opened when it is needed, closed when it is not.
 *
 * Thread: its queue, a thread of the openers' crew, unless db.h says otherwise. */
#include "daemon/db.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "daemon/clock.h"
#include "daemon/dbconn.h"
#include "daemon/log.h"
#include "daemon/stats.h"
#include "proto/error.h"

struct db *
db_ref(struct db *db)
{
	if (db)
		atomic_fetch_add(&db->refs, 1);
	return db;
}

/* It stays in the list until dbs_look_after finds that nobody knows it. */
void
db_unref(struct db *db)
{
	if (db)
		atomic_fetch_sub(&db->refs, 1);
}

bool
db_is_removed(const struct db *db)
{
	return atomic_load_explicit(&db->removed, memory_order_relaxed);
}

bool
db_hold(struct db *db)
{
	bool open;

	pthread_mutex_lock(&db->dbs->lock);
	open = db->state == DB_OPEN || db->state == DB_DRAINING;
	if (open)
		db->holds++;
	pthread_mutex_unlock(&db->dbs->lock);
	return open;
}

/* Under the lock. */
static void
let_go(struct db *db)
{
	db->holds--;
	if (db->holds == 0 && db->state == DB_DRAINING)
		squeue_kick(&db->q);
	room_note_release(db);
}

void
db_release(struct db *db)
{
	pthread_mutex_lock(&db->dbs->lock);
	let_go(db);
	pthread_mutex_unlock(&db->dbs->lock);
}

const char *
db_get_state_name(struct db *db)
{
	static const char *const names[] = {
		[DB_CLOSED] = "closed",
		[DB_WAITING] = "waiting for room",
		[DB_OPENING] = "opening",
		[DB_OPEN] = "open",
		[DB_DRAINING] = "draining",
		[DB_CLOSING] = "closing",
	};
	static const char *const wills[] = {
		[DB_PAUSED] = "paused",
		[DB_DISABLED] = "disabled",
		[DB_RECONNECTS] = "reconnecting",
	};
	enum db_state state;
	enum db_will will;

	pthread_mutex_lock(&db->dbs->lock);
	state = db->state;
	will = db->will;
	pthread_mutex_unlock(&db->dbs->lock);
	if (state == DB_CLOSED && will != DB_SERVES)
		return wills[will];
	return names[state];
}

bool
db_is_coming(struct db *db)
{
	bool comes;

	pthread_mutex_lock(&db->dbs->lock);
	comes = db->state == DB_OPEN || db->state == DB_OPENING ||
	    db->state == DB_WAITING || atomic_load(&db->wanted);
	pthread_mutex_unlock(&db->dbs->lock);
	return comes;
}

void
db_reap(struct db *db)
{
	readers_reap(db->readers);
	writer_reap(db->writer);
}

/* --- Opening and closing ------------------------------------------------------ */

static void
close_parts(struct db *db)
{
	watch_free(db->watch);
	writer_stop(db->writer);
	readers_free(db->readers);
	writer_drain(db->writer);
	if (db->writer)
		atomic_store(&db->seq, atomic_load(writer_get_seq(db->writer)));
	keeper_free(db->keeper);
	writer_close(db->writer);
	db->watch = NULL;
	db->readers = NULL;
	db->keeper = NULL;
	db->writer = NULL;
}

/* Under the lock. */
static void
wait_behind(struct db *db)
{
	db->state = DB_WAITING;
	db->behind = true;
	db->dbs->behind_n++;
}

/* Under the lock, when one has let go of its file: the others look again. */
static void
call_waiting(struct dbs *dbs)
{
	for (size_t i = 0; i < dbs->n && dbs->behind_n > 0; i++) {
		struct db *db = dbs->known[i];

		if (!db || !db->behind)
			continue;
		db->behind = false;
		dbs->behind_n--;
		db->state = DB_CLOSED;
		atomic_store(&db->wanted, true);
		squeue_kick(&db->q);
	}
}

/* Under the lock: does another database have the file?  One that was replaced has
 * its WAL, which stands beside the new file until it is closed, and must not be
 * read as that one's. */
static bool
is_in_use(
    const struct db *other, const struct db *db, const struct dbfile *file)
{
	if (dbfile_is(&other->file, file))
		return true;
	return db_is_removed(other) && other->file.ino != 0 &&
	    strcmp(other->conf->path, db->conf->path) == 0;
}

/* Two names for one file: two writers of one daemon would keep each other out.
 * It may only be seen when the file is there.  1: the other one is about to be
 * closed for good, and this one waits for it. */
static int
check_file(struct db *db, struct failure *f)
{
	struct dbs *dbs = db->dbs;
	const struct db *other = NULL;
	struct dbfile file = { 0 };
	int rc = 0;

	dbfile_identify(db->conf->path, &file); /* it may not be there yet */
	if (db->writer)
		dbfile_identify_wal(db->conf->path, &file);
	pthread_mutex_lock(&dbs->lock);
	for (size_t i = 0; i < dbs->n && !other; i++)
		if (dbs->known[i] && dbs->known[i] != db &&
		    is_in_use(dbs->known[i], db, &file))
			other = dbs->known[i];
	if (other && db_is_removed(other) && db->state == DB_OPENING) {
		wait_behind(db);
		rc = 1;
	} else if (other)
		rc = failure_set(f, ERR_DATABASE_DOWN,
		    "cannot open %s as %s: it is the file of database %s, which "
		    "is open; use that name",
		    db->conf->path, db->conf->name, other->conf->name);
	else
		db->file = file;
	pthread_mutex_unlock(&dbs->lock);
	return rc;
}

/* Under the lock. */
static void
forget_file(struct db *db)
{
	db->file = (struct dbfile){ 0 };
}

static int
open_parts(struct db *db, struct failure *f)
{
	struct dbs *dbs = db->dbs;
	int rc = check_file(db, f);

	if (rc == 0)
		rc = dbfile_check_kind(db->conf, f);
	if (rc)
		return rc;
	rc = writer_open(dbs->conf, db->conf, dbs->writers, &db->writer, f);
	if (rc < 0)
		return dbfile_explain(db->conf, f);
	rc = check_file(db, f); /* it may have been created */
	/* what stands there now may be another one than what was opened, and the
	 * readers would open that one */
	if (rc == 0 && writer_has_moved(db->writer))
		rc = dbfile_fail_replaced(db->conf, f);
	if (rc) {
		close_parts(db);
		return rc;
	}
	writer_set_seq(db->writer, atomic_load(&db->seq));
	rc = readers_new(db->conf, &db->file, dbs->readers, &db->readers);
	if (rc == 0)
		rc = keeper_new(db->conf, &db->file, dbs->keepers,
		    writer_get_queue(db->writer), &db->keeper);
	if (rc == 0)
		rc = watch_new(db->conf, dbs->watchers,
		    &(struct watch_parts){
			db->writer, db->readers, db->keeper },
		    &db->watch);
	if (rc < 0)
		failure_set(f, ERR_NO_MEMORY, "out of memory");
	else if (db->conf->preload && !db->conf->family)
		rc = readers_preload(db->readers, f);
	if (rc < 0) {
		close_parts(db);
		return rc;
	}
	writer_set_others(db->writer, db->readers, db->keeper);
	stats_add(STAT_databases_opened, 1);
	return 0;
}

int
db_open(struct db *db, struct failure *f)
{
	int rc = open_parts(db, f);

	if (rc == 0)
		db->state = DB_OPEN;
	return rc;
}

void
db_close(struct db *db)
{
	struct hot *h;

	while ((h = db->given)) {
		db->given = h->next;
		dbconn_close(h->spent);
		free(h);
	}
	close_parts(db);
}

/* Under the lock: somebody needs it after all, and whoever waits for its room has
 * to wait for another one's. */
static void
stay(struct db *db)
{
	if (db->state != DB_DRAINING || db->will != DB_SERVES ||
	    atomic_load(&db->removed))
		return;
	db->state = DB_OPEN;
	room_make(db->dbs);
}

/* --- Workers' connections ----------------------------------------------------- */

int
db_fill(struct hot *h, struct failure *f)
{
	struct db *db = h->db;
	int rc = dbfile_connect(&db->file, db->conf, DBCONN_HOT, &h->fresh, f);

	if (rc < 0) {
		dbs_check_file(db->dbs, db);
		return f->code == ERR_DATABASE_DOWN
		    ? rc
		    : dbfile_explain(db->conf, f);
	}
	atomic_store(&h->order, HOT_STAY);
	atomic_store(&h->used_us, clock_now_us());
	pthread_mutex_lock(&db->dbs->lock);
	db->holds++;
	if (db->will != DB_SERVES)
		hot_order(h, HOT_LEAVE);
	stay(db);
	DL_APPEND2(db->hots, h, peer_prev, peer);
	if (atomic_load(&db->removed))
		hot_order(h, HOT_LEAVE);
	pthread_mutex_unlock(&db->dbs->lock);
	return 0;
}

void
db_ask(struct hot *h)
{
	struct db *db = h->db;

	pthread_mutex_lock(&db->dbs->lock);
	LL_APPEND(db->asked, h);
	squeue_kick(&db->q);
	pthread_mutex_unlock(&db->dbs->lock);
}

void
db_give(struct hot *h)
{
	struct db *db = h->db;

	pthread_mutex_lock(&db->dbs->lock);
	DL_DELETE2(db->hots, h, peer_prev, peer);
	LL_PREPEND(db->given, h);
	squeue_kick(&db->q);
	pthread_mutex_unlock(&db->dbs->lock);
}

void
db_keep(struct hot *h)
{
	struct db *db = h->db;
	int idle = HOT_LEAVE_IDLE; /* it may be told to leave by now */

	pthread_mutex_lock(&db->dbs->lock);
	atomic_compare_exchange_strong(&h->order, &idle, HOT_STAY);
	stay(db);
	pthread_mutex_unlock(&db->dbs->lock);
}

void
db_take_back(struct hot *h)
{
	struct db *db = h->db;

	pthread_mutex_lock(&db->dbs->lock);
	if (h->conn || h->fresh)
		DL_DELETE2(db->hots, h, peer_prev, peer);
	else if (h->spent)
		LL_DELETE(db->given, h);
	else if (db->asked) /* or it could not be opened: it is in no list */
		LL_DELETE(db->asked, h);
	pthread_mutex_unlock(&db->dbs->lock);
}

void
db_drain(struct db *db)
{
	struct hot *h;

	db->state = DB_DRAINING;
	DL_FOREACH2(db->hots, h, peer) {
		hot_order(h, HOT_LEAVE_IDLE);
	}
	if (db->holds == 0)
		squeue_kick(&db->q);
}

/* While it is being opened it has none that could be told: they are when they are
 * opened, and open_now looks. */
void
db_end(struct db *db)
{
	struct hot *h;

	atomic_store(&db->removed, true);
	if (db->will != DB_SERVES) { /* nobody finds it to say otherwise */
		db->will = DB_SERVES;
		db_unref(db);
	}
	if (db->state == DB_OPEN)
		db->state = DB_DRAINING;
	DL_FOREACH2(db->hots, h, peer) {
		hot_order(h, HOT_LEAVE);
	}
	squeue_kick(&db->q);
}

/* --- Its queue ------------------------------------------------------------------ */

enum db_step {
	STEP_NONE,
	STEP_CLOSE_HOT,
	STEP_OPEN,
	STEP_OPEN_HOT,
	STEP_REFUSE,
	STEP_CLOSE,
};

/* Under the lock. */
static struct hot *
pop(struct hot **list)
{
	struct hot *h = *list;

	*list = h->next;
	return h;
}

/* Under the lock: it is not to serve. */
static enum db_step
choose_rest(struct db *db, struct failure *f)
{
	if (db->asked && db->will == DB_DISABLED) {
		failure_set(f, ERR_DATABASE_DOWN,
		    "%s is disabled by an administrator; ENABLE %s on @admin "
		    "ends that",
		    db->conf->name, db->conf->name);
		return STEP_REFUSE;
	}
	if (db->state == DB_OPENING) /* it was to be: then it is closed */
		return STEP_OPEN;
	if (db->state == DB_DRAINING && db->holds == 0) {
		db->state = DB_CLOSING;
		return STEP_CLOSE;
	}
	return STEP_NONE;
}

/* Who asks while it drains has it stay, if it still can. */
static enum db_step
choose(struct db *db, struct hot **ret_hot, struct failure *f)
{
	if (db->given) {
		*ret_hot = pop(&db->given);
		return STEP_CLOSE_HOT;
	}
	if (db->asked && atomic_load(&db->removed)) {
		failure_set(f, ERR_NO_DATABASE,
		    "database %s was taken out of the configuration",
		    db->conf->name);
		return STEP_REFUSE;
	}
	if (db->will != DB_SERVES)
		return choose_rest(db, f);
	if (db->asked)
		stay(db);
	if (db->asked && db->state == DB_OPEN) {
		*ret_hot = pop(&db->asked);
		return STEP_OPEN_HOT;
	}
	if ((atomic_exchange(&db->wanted, false) || db->asked) &&
	    db->state == DB_CLOSED && room_take(db, f) < 0)
		return STEP_REFUSE;
	if (db->state == DB_OPENING)
		return STEP_OPEN;
	if (db->state == DB_DRAINING && db->holds == 0) {
		db->state = DB_CLOSING;
		return STEP_CLOSE;
	}
	return STEP_NONE;
}

static void
close_hot(struct db *db, struct hot *h)
{
	bool again = h->again;

	dbconn_close(h->spent);
	h->spent = NULL;
	h->fresh = NULL;
	pthread_mutex_lock(&db->dbs->lock);
	if (again)
		LL_APPEND(db->asked, h);
	let_go(db);
	pthread_mutex_unlock(&db->dbs->lock);
	if (again)
		return;
	db_unref(db);
	free(h);
}

static void
open_hot(struct hot *h)
{
	if (db_fill(h, &h->failure) == 0)
		failure_fini(&h->failure);
	hot_send_home(h);
}

/* Tell all who asked that it cannot be opened. */
static void
fail_asked(struct db *db, const struct failure *f)
{
	struct hot *asked, *next;

	pthread_mutex_lock(&db->dbs->lock);
	asked = db->asked;
	db->asked = NULL;
	pthread_mutex_unlock(&db->dbs->lock);
	for (; asked; asked = next) {
		next = asked->next;
		failure_set(&asked->failure, f->code, "%s",
		    f->text ? f->text : error_get_text(f->code));
		asked->failure.retry_ms = f->retry_ms;
		hot_send_home(asked);
	}
}

/* It is closed, or was not opened. */
static void
note_closed(struct db *db)
{
	pthread_mutex_lock(&db->dbs->lock);
	db->state = DB_CLOSED;
	forget_file(db);
	room_give(db);
	call_waiting(db->dbs);
	pthread_mutex_unlock(&db->dbs->lock);
}

static void
note_open(struct db *db)
{
	pthread_mutex_lock(&db->dbs->lock);
	/* it may be to rest meanwhile */
	db->state = db->will == DB_SERVES && !atomic_load(&db->removed)
	    ? DB_OPEN
	    : DB_DRAINING;
	pthread_mutex_unlock(&db->dbs->lock);
}

static void
open_now(struct db *db)
{
	struct failure f;
	int rc;

	failure_init(&f);
	rc = open_parts(db, &f);
	if (rc > 0) {
		pthread_mutex_lock(&db->dbs->lock);
		room_give(db);
		pthread_mutex_unlock(&db->dbs->lock);
	} else if (rc < 0) {
		log_warn("%s", f.text ? f.text : "out of memory");
		note_closed(db);
		fail_asked(db, &f);
	} else {
		note_open(db);
		log_debug("%s: opened", db->conf->name);
	}
	failure_fini(&f);
}

static void
close_now(struct db *db)
{
	stats_add(STAT_databases_closed, 1);
	close_parts(db);
	log_debug("%s: closed", db->conf->name);
	note_closed(db);
	db_look_at_watches(db);
}

static enum db_step
run_step(struct db *db)
{
	struct hot *h = NULL;
	enum db_step step;
	struct failure f;

	failure_init(&f);
	pthread_mutex_lock(&db->dbs->lock);
	step = choose(db, &h, &f);
	pthread_mutex_unlock(&db->dbs->lock);
	switch (step) {
	case STEP_NONE:
		break;
	case STEP_CLOSE_HOT:
		close_hot(db, h);
		break;
	case STEP_OPEN:
		open_now(db);
		break;
	case STEP_OPEN_HOT:
		open_hot(h);
		break;
	case STEP_REFUSE:
		fail_asked(db, &f);
		break;
	case STEP_CLOSE:
		close_now(db);
		break;
	}
	failure_fini(&f);
	return step;
}

void
db_run(struct squeue *q)
{
	struct db *db = (struct db *)q;
	enum db_step step;

	db_look_at_watches(db);
	if (db->writer) /* set here only */
		writer_look_at_asks(db->writer);
	do {
		step = run_step(db);
	} while (step != STEP_NONE);
}
