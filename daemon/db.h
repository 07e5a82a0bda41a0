/* db.h - the databases that are served, and the life of each.
 *
 * A database is known while somebody refers to it: the configuration, a client
 * that chose it, a prepared statement.  It is open while somebody holds it: the
 * connections of workers (hot.h), and whoever looks at it for a moment.  It costs
 * a descriptor, a writer and readers only while it is open.
 *
 *             a worker asks          room                     done
 *    CLOSED ─────────────────▶ WAITING ──▶ OPENING ──────────────────▶ OPEN
 *      ▲  ▲                                  │ failed                  │ ▲
 *      │  └──────────────────────────────────┘        idle, removed,   │ │ in use
 *      │                                              replaced, no room│ │ after all
 *      │    last checkpoint             nobody holds it                ▼ │
 *      └──────────────────── CLOSING ◀────────────────────────── DRAINING
 *
 * A database is a serial queue of the openers' crew: what takes long, opening and
 * closing, is done there, one thing at a time for each.  The states, and the lists
 * of what workers want, are under one lock, which nobody takes for a request on a
 * connection that is open.
 *
 * Threads: as each function says.
 */
#ifndef DAEMON_DB_H
#define DAEMON_DB_H

#include <pthread.h>

#include "daemon/backup.h"
#include "daemon/dbfile.h"
#include "daemon/hot.h"
#include "daemon/watch.h"

enum db_state {
	DB_CLOSED,
	DB_WAITING, /* for room, as max_open others are open; or behind */
	DB_OPENING,
	DB_OPEN,
	DB_DRAINING,
	DB_CLOSING,
};

/* What an administrator wants of it. */
enum db_will {
	DB_SERVES,
	DB_PAUSED,     /* closed, and what comes waits */
	DB_DISABLED,   /* closed, and what comes is refused */
	DB_RECONNECTS, /* closed for a moment, and what comes waits */
};

/* Somebody who waits until a database is at rest: closed, because it is not to
 * serve. */
struct db_watch {
	struct db_watch *next;
	struct errand *errand;   /* to be sent */
	struct mailbox *home;    /* there */
	const _Atomic int *stop; /* not 0: do not wait any longer */
};

struct db {
	struct squeue q;             /* first: the queue is the database */
	struct dbs *dbs;             /* borrowed */
	struct conf_db *conf;        /* its own */
	_Atomic bool removed;        /* from the configuration: nothing new is
				     * begun on it, and its name is free */
	_Atomic bool wanted;         /* to be opened, though nobody has asked */
	_Atomic unsigned preloads_n; /* which reload has it opened: reloads_n;
				      * 0: none */
	size_t index;                /* in the list; workers index by it */
	_Atomic unsigned refs;

	/* constant while somebody holds it */
	struct writer *writer;
	struct readers *readers;
	struct keeper *keeper;
	struct watch *watch;

	/* under the lock of the list */
	enum db_state state;
	bool behind; /* it waits until a database that is taken out of the
		      * configuration has let go of the same file */
	enum db_will will;
	struct db_watch *watches;
	unsigned holds;
	struct hot *asked; /* to be opened, in this order; linked by next */
	struct hot *given; /* to be closed; linked by next */
	struct hot *hots;  /* those that are open; linked by peer */
	struct db *next, *prev; /* with those that have room, or that wait for
				 * it: room.c */
	_Atomic uint64_t seq;   /* where its writer goes on counting */

	/* its queue, and whoever looks at it while it holds it */
	struct dbfile file;
};

struct dbs {
	struct conf *conf; /* borrowed */
	/* who changes that, or puts a copy of what a database has in its place;
	 * taken before the lock below */
	pthread_mutex_t changing;
	uint64_t epoch; /* of commit sequence numbers: when this daemon began,
			 * in microseconds of wall-clock time */
	struct crew *writers, *readers, *keepers, *watchers, *openers;
	struct backups *backups;
	_Atomic unsigned reloads_n; /* the main thread: how many there were */
	char *directory;            /* its real path; NULL: none */

	pthread_mutex_t lock;       /* for what follows */
	struct db **known;          /* by index; NULL: free */
	size_t n;                   /* places of it */
	size_t looked_at;           /* the main thread: for files, up to here */
	size_t free_from;           /* there is no free one before this */
	struct db_named *by_name;   /* uthash: dbs.c */
	struct db *roomed;          /* of the directory, that take up room */
	struct db *wanting;         /* of the directory, that wait for room, in
				   * this order */
	_Atomic unsigned wanting_n; /* workers look at it, too */
	unsigned roomed_n;
	unsigned behind_n;  /* databases that are behind another one */
	unsigned changes_n; /* of the defaults of what is found in directory */
	uint64_t seq_floor; /* the largest commit number of those that were
			     * closed and are not known any more */
};

/* --- The list: dbs.c, dbs_conf.c, dbs_care.c ----------------------------------- */

/* Start the crews, and open all databases of the configuration that are to be
 * open from the start (preload).  Main thread, like the next two.
 *
 * Errors: those of dbconn_open, with a text in f that names the file, the cause
 * and the remedy; -ERR_NO_MEMORY. */
int dbs_open(struct conf *conf, struct dbs *ret_dbs, struct failure *f);

/* Stop the crews: what they were given is answered.  The workers have nothing in
 * flight any more. */
void dbs_stop(struct dbs *dbs);

/* Close everything; the WALs are copied into their files.  All other connections
 * to the files are closed. */
void dbs_close(struct dbs *dbs);

/* Find a database by name: a known one, or one in the directory.  It is
 * referenced.  Any thread.  Errors: -ERR_NO_DATABASE, -ERR_NO_MEMORY, with a text
 * in f. */
int dbs_find(
    struct dbs *dbs, struct span name, struct db **ret_db, struct failure *f);

/* Give the one that there is, referenced; NULL: there may be more.  Any thread. */
struct db *dbs_get_only(struct dbs *dbs);

/* Go through all that are known: gives the one behind prev, NULL for the first,
 * NULL after the last.  It is referenced, and prev is not any more: whoever stops
 * early lets go of the last one (db_unref).  Any thread. */
struct db *dbs_next(struct dbs *dbs, struct db *prev);

/* Say how many are known.  Any thread. */
unsigned dbs_count(struct dbs *dbs);

/* Write "app, logs" for error messages, cut to n.  Any thread. */
void dbs_put_names(struct dbs *dbs, char *out, size_t n);

/* Let holders of transactions look at their limits.  True: there is something that
 * has any, so it is to be called ten times a second; else once (tick.h).  Main
 * thread. */
bool dbs_tick(struct dbs *dbs);

/* See whether a database's file is still the one that is open; if not, end it, so
 * that the next request for its name opens what is there now.  False: it is not.
 * Any thread. */
bool dbs_check_file(struct dbs *dbs, struct db *db);

/* Close what was not used for long, and what is not its file any more, and forget
 * what nobody knows; about once a second.  Main thread. */
void dbs_look_after(struct dbs *dbs);

/* Set an option, of the configuration in force and of the databases (conf_change).
 * Any thread.  -1: nothing has changed, and err says why. */
int dbs_change(struct dbs *dbs, const char *name, const char *value,
    char err[CONF_ERR_MAX]);

/* Put another reading of the configuration in force (conf_reload): new databases
 * are known from now on, what is not there any more is closed when what is under
 * way has ended, and the others change what may change (conf_db_reload).  Main
 * thread.  Errors: -ERR_NO_MEMORY: nothing has changed. */
int
dbs_reload(struct dbs *dbs, struct conf *fresh, struct conf_changes *changes);

/* --- Room for those of the directory: room.c ----------------------------------- */

/* Under the lock of the list, unless it says otherwise.
 *
 * Take room for a database that is to be opened, or have it wait in line, as
 * DB_WAITING.  Errors: -ERR_QUEUE_FULL, with a text in f. */
int room_take(struct db *db, struct failure *f);

/* Say how many have room.  Any thread, without the lock. */
unsigned room_count(struct dbs *dbs);

/* Give its room to the next. */
void room_give(struct db *db);

/* See whether those that wait can have room, and close others for them. */
void room_make(struct dbs *dbs);

/* The same, when somebody has let go of a database, which may have been all that
 * kept it from being closed. */
void room_note_release(const struct db *db);

/* The same, when something has ended that kept a database in use.  Any thread. */
void room_note_idle(struct dbs *dbs);

/* --- One of them: db.c --------------------------------------------------------- */

/* Count who refers to it.  NULL is fine.  Any thread. */
struct db *db_ref(struct db *db);
void db_unref(struct db *db);

/* Say whether it was taken out of the configuration.  Any thread. */
bool db_is_removed(const struct db *db);

/* Hold it open, if it is open now: its writer, readers and keeper are there until
 * db_release.  It may be about to close, which waits then.  Any thread. */
bool db_hold(struct db *db);
void db_release(struct db *db);

/* Say what it is to do, if what it does now is one of from, bits (1 << enum db_will),
 * and it is not to rest although it was taken out of the configuration; gives what it
 * did.  A database that is not to serve finishes what is under way on it, open
 * transactions too, and closes; one that is to serve again goes on.  Any thread. */
enum db_will db_change_will(struct db *db, unsigned from, enum db_will will);
enum db_will db_get_will(struct db *db);

/* Have it serve again, as somebody who had it rest waits no longer: unless it does
 * something else by now, or is at rest, and others may have been told.  Says whether it
 * is at rest as that one wanted.  Any thread. */
bool db_give_up_rest(struct db *db, enum db_will will, bool *ret_serves);

/* Say whether it is open, or about to be.  Any thread. */
bool db_is_coming(struct db *db);

/* Send w->errand when it is at rest, when it is to serve again, or when *w->stop is
 * not 0; true: one of the first two is so now, and nothing is sent.  Any thread. */
bool db_watch(struct db *db, struct db_watch *w);

/* Send those that are to wait no longer; now and then. */
void db_look_at_watches(struct db *db);

/* Give its state now, "open", "closed", "paused" and so on.  Any thread. */
const char *db_get_state_name(struct db *db);

/* Have the requests of a database that were asked to stop answered soon.  Whoever
 * holds it. */
void db_reap(struct db *db);

/* Open it here and now, in the first thread alone.  Errors: as dbs_open. */
int db_open(struct db *db, struct failure *f);

/* Close it, when nothing else runs any more. */
void db_close(struct db *db);

/* What its queue runs. */
void db_run(struct squeue *q);

/* Open a worker's connection, h->fresh, which holds the database from now on.
 * Whoever holds that already, or its queue.  Errors: those of dbconn_open. */
int db_fill(struct hot *h, struct failure *f);

/* Have a worker's connection opened: the database first, if that is needed.  It
 * is home later, with h->fresh or h->failure.  Its worker. */
void db_ask(struct hot *h);

/* Have h->spent closed, and h freed or, with h->again, opened again.  Its
 * worker. */
void db_give(struct hot *h);

/* Do not obey HOT_LEAVE_IDLE: there is something under way.  Its worker. */
void db_keep(struct hot *h);

/* Take it back, wherever it is, when nothing else runs any more. */
void db_take_back(struct hot *h);

/* Under the lock of the list: close it if nothing is under way on it; or have it
 * begin nothing new, and close it as soon as nothing is. */
void db_drain(struct db *db);
void db_end(struct db *db);

#endif
