/* dbs.c - the list of the databases, and the crews that run them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/budget.h"
#include "daemon/clock.h"
#include "daemon/db.h"
#include "daemon/files.h"
#include "daemon/log.h"
#include "proto/error.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define READER_THREADS_LEAST 2
#define READER_THREADS_MOST  32

/* So many files are looked at in a second. */
#define CHECK_FILES 64

/* As it is made here: with its place in the table of names. */
struct db_named {
	struct db db; /* first: the pointer is the same */
	UT_hash_handle hh;
};

static unsigned
count_readers(const struct conf *conf)
{
	unsigned n = READER_THREADS_LEAST;

	if (conf->reader_threads)
		return conf->reader_threads;
	/* one for each connection: endless reads on some must not keep the
	 * threads from the others (P4); the kernel shares the CPUs out */
	for (size_t i = 0; i < conf->db_n; i++)
		if (conf->dbs[i].read_connections > n)
			n = conf->dbs[i].read_connections;
	return n < READER_THREADS_MOST ? n : READER_THREADS_MOST;
}

static uint64_t
make_epoch(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* --- The list ----------------------------------------------------------------- */

/* Under the lock: a free place. */
static bool
find_place(struct dbs *dbs, size_t *ret_index)
{
	struct db **known;
	size_t n = dbs->n ? dbs->n * 2 : 8;

	for (size_t i = dbs->free_from; i < dbs->n; i++) {
		if (!dbs->known[i]) {
			*ret_index = dbs->free_from = i;
			return true;
		}
	}
	known = reallocarray(dbs->known, n, sizeof(struct db *));
	if (!known)
		return false;
	memset(known + dbs->n, 0, (n - dbs->n) * sizeof(struct db *));
	*ret_index = dbs->free_from = dbs->n;
	dbs->known = known;
	dbs->n = n;
	return true;
}

/* Under the lock.  NULL: out of memory.  The configuration is its own from then
 * on. */
static struct db *
add(struct dbs *dbs, struct conf_db *conf)
{
	struct db_named *named = calloc(1, sizeof(*named));
	struct db *db;

	if (!named)
		return NULL;
	db = &named->db;
	if (!find_place(dbs, &db->index))
		goto out;
	db->conf = conf;
	HASH_ADD_KEYPTR(
	    hh, dbs->by_name, db->conf->name, strlen(db->conf->name), named);
	if (!named->hh.tbl)
		goto out;
	squeue_init(&db->q, dbs->openers, db_run);
	db->dbs = dbs;
	atomic_store(&db->seq, dbs->seq_floor);
	dbs->known[db->index] = db;
	return db;
out:
	free(named);
	return NULL;
}

/* Under the lock, or when nothing else runs. */
static void
take_out(struct dbs *dbs, struct db *db)
{
	struct db_named *named = (struct db_named *)db;
	uint64_t seq = atomic_load(&db->seq);

	/* the numbers of one that comes again must go on */
	if (seq > dbs->seq_floor)
		dbs->seq_floor = seq;
	if (!atomic_load(&db->removed))
		HASH_DEL(dbs->by_name, named);
	dbs->known[db->index] = NULL;
	if (db->index < dbs->free_from)
		dbs->free_from = db->index;
}

/* Its queue does not run. */
static void
free_db(struct db *db)
{
	conf_db_free(db->conf);
	free((struct db_named *)db);
}

/* --- Finding -------------------------------------------------------------------- */

/* Under the lock; referenced. */
static struct db *
find_by_name(struct dbs *dbs, const char *name, size_t n)
{
	struct db_named *found;

	HASH_FIND(hh, dbs->by_name, name, n, found);
	return found ? db_ref(&found->db) : NULL;
}

static struct db *
find_known(struct dbs *dbs, struct span name)
{
	struct db *db;

	pthread_mutex_lock(&dbs->lock);
	db = find_by_name(dbs, (const char *)name.p, name.n);
	pthread_mutex_unlock(&dbs->lock);
	return db;
}

/* One of the directory is known from now on, or since a moment ago.  With a
 * configuration of before the last change it is not: NULL, like out of memory. */
static struct db *
add_found(struct dbs *dbs, struct conf_db *conf, unsigned changes_n)
{
	struct db *db;

	pthread_mutex_lock(&dbs->lock);
	db = find_by_name(dbs, conf->name, strlen(conf->name));
	if (!db && dbs->changes_n == changes_n)
		db = db_ref(add(dbs, conf));
	pthread_mutex_unlock(&dbs->lock);
	if (!db || db->conf != conf)
		conf_db_free(conf);
	return db;
}

static unsigned
count_changes(struct dbs *dbs)
{
	unsigned n;

	pthread_mutex_lock(&dbs->lock);
	n = dbs->changes_n;
	pthread_mutex_unlock(&dbs->lock);
	return n;
}

/* Look for one in the directory. */
static int
find_in_directory(
    struct dbs *dbs, const char *name, struct db **ret_db, struct failure *f)
{
	struct db *db = NULL;
	unsigned changes_n;

	do {
		struct conf_db *conf;
		int rc;

		changes_n = count_changes(dbs);
		conf = conf_db_find(dbs->conf, dbs->directory, name);
		if (!conf)
			break;
		rc = dbfile_look_up(dbs->directory, name, conf->create, f);
		if (rc < 0) {
			conf_db_free(conf);
			return rc;
		}
		db = add_found(dbs, conf, changes_n);
	} while (!db && count_changes(dbs) != changes_n);
	*ret_db = db;
	return db ? 0 : failure_set(f, ERR_NO_MEMORY, "out of memory");
}

static int
fail_find(struct dbs *dbs, struct span name, struct failure *f)
{
	char names[256];

	if (f->code)
		return -f->code;
	dbs_put_names(dbs, names, sizeof(names));
	return failure_set(f, ERR_NO_DATABASE,
	    "no database is named \"%.*s\"; this daemon serves: %s",
	    name.n > 64 ? 64 : (int)name.n, (const char *)name.p, names);
}

int
dbs_find(
    struct dbs *dbs, struct span name, struct db **ret_db, struct failure *f)
{
	char text[CONF_NAME_MAX + 1];
	struct db *db;

	if (!conf_name_is_good((const char *)name.p, name.n))
		return fail_find(dbs, name, f);
	db = find_known(dbs, name);
	if (db) {
		*ret_db = db;
		return 0;
	}
	memcpy(text, name.p, name.n);
	text[name.n] = '\0';
	return dbs->directory && find_in_directory(dbs, text, ret_db, f) == 0
	    ? 0
	    : fail_find(dbs, name, f);
}

struct db *
dbs_get_only(struct dbs *dbs)
{
	struct db *db = NULL;

	pthread_mutex_lock(&dbs->lock);
	if (HASH_COUNT(dbs->by_name) == 1 && !dbs->directory)
		db = db_ref(&dbs->by_name->db);
	pthread_mutex_unlock(&dbs->lock);
	return db;
}

struct db *
dbs_next(struct dbs *dbs, struct db *prev)
{
	size_t i = prev ? prev->index + 1 : 0;
	struct db *db = NULL;

	pthread_mutex_lock(&dbs->lock);
	for (; i < dbs->n && !db; i++)
		db = db_ref(dbs->known[i]);
	pthread_mutex_unlock(&dbs->lock);
	db_unref(prev);
	return db;
}

unsigned
dbs_count(struct dbs *dbs)
{
	unsigned n = 0;

	pthread_mutex_lock(&dbs->lock);
	for (size_t i = 0; i < dbs->n; i++)
		n += dbs->known[i] != NULL;
	pthread_mutex_unlock(&dbs->lock);
	return n;
}

void
dbs_put_names(struct dbs *dbs, char *out, size_t n)
{
	const char *sep = "";
	size_t at = 0;

	out[0] = '\0';
	pthread_mutex_lock(&dbs->lock);
	for (size_t i = 0; i < dbs->n && at < n; i++) {
		int len;

		if (!dbs->known[i] || dbs->known[i]->conf->family ||
		    atomic_load(&dbs->known[i]->removed))
			continue;
		len = snprintf(
		    out + at, n - at, "%s%s", sep, dbs->known[i]->conf->name);
		at += len > 0 ? (size_t)len : 0;
		sep = ", ";
	}
	pthread_mutex_unlock(&dbs->lock);
	if (dbs->directory && at < n)
		snprintf(out + at, n - at, "%sthe files NAME.db in %s as NAME",
		    sep, dbs->directory);
}

/* --- Begin and end ------------------------------------------------------------- */

static int
start_crews(const struct conf *conf, struct dbs *dbs)
{
	int rc = crew_start("writers", conf->writer_threads, 0,
	    conf->poll_time_us, &dbs->writers);

	if (rc == 0)
		rc = crew_start("readers", count_readers(conf),
		    (int)conf->reader_nice, 0, &dbs->readers);
	if (rc == 0)
		rc = crew_start(
		    "keepers", conf->keeper_threads, 0, 0, &dbs->keepers);
	if (rc == 0)
		rc = crew_start("watch", 1, 0, 0, &dbs->watchers);
	if (rc == 0)
		rc = crew_start(
		    "openers", conf->opener_threads, 0, 0, &dbs->openers);
	if (rc == 0)
		rc = backups_new(dbs->readers, &dbs->backups);
	return rc;
}

static int
find_directory(const struct conf *conf, struct dbs *dbs, struct failure *f)
{
	struct stat st;

	if (conf->directory[0] == '\0')
		return 0;
	dbs->directory = realpath(conf->directory, NULL);
	if (!dbs->directory || stat(dbs->directory, &st) < 0)
		return failure_set(f, ERR_DATABASE_DOWN,
		    "directory %s: %s; create it, or correct \"directory\" in "
		    "the configuration",
		    conf->directory, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return failure_set(f, ERR_DATABASE_DOWN,
		    "directory %s is not one; correct \"directory\" in the "
		    "configuration",
		    conf->directory);
	return 0;
}

/* Under the lock: one that was found in the directory is ended; the configuration has
 * its name. */
static void
end_found(struct dbs *dbs, const char *name)
{
	struct db_named *named;

	HASH_FIND(hh, dbs->by_name, name, strlen(name), named);
	if (!named || !named->db.conf->family)
		return;
	HASH_DEL(dbs->by_name, named);
	db_end(&named->db);
}

/* Referenced, for the configuration.  NULL: out of memory. */
static struct db *
add_configured(struct dbs *dbs, const struct conf_db *conf)
{
	struct conf_db *own = conf_db_copy(conf);
	struct db *db = NULL;

	pthread_mutex_lock(&dbs->lock);
	if (own) {
		end_found(dbs, own->name);
		db = db_ref(add(dbs, own));
	}
	pthread_mutex_unlock(&dbs->lock);
	if (!db)
		conf_db_free(own);
	return db;
}

static int
add_all_configured(const struct conf *conf, struct dbs *dbs, struct failure *f)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < conf->db_n; i++) {
		struct db *db = add_configured(dbs, &conf->dbs[i]);

		if (!db)
			rc = failure_set(f, ERR_NO_MEMORY, "out of memory");
		else if (db->conf->preload)
			rc = db_open(db, f);
	}
	return rc;
}

int
dbs_open(struct conf *conf, struct dbs *dbs, struct failure *f)
{
	int rc;

	*dbs = (struct dbs){ .conf = conf, .epoch = make_epoch() };
	pthread_mutex_init(&dbs->lock, NULL);
	pthread_mutex_init(&dbs->changing, NULL);
	budget_set_total(&conf->total_memory_bytes);
	rc = start_crews(conf, dbs);
	if (rc < 0)
		failure_set(f, ERR_NO_MEMORY, "cannot start threads");
	else
		rc = find_directory(conf, dbs, f);
	if (rc == 0)
		rc = add_all_configured(conf, dbs, f);
	if (rc < 0) {
		dbs_stop(dbs);
		dbs_close(dbs);
	}
	return rc;
}

/* The openers wait for what the others run. */
void
dbs_stop(struct dbs *dbs)
{
	crew_stop(dbs->openers);
	crew_stop(dbs->readers);
	crew_stop(dbs->writers);
	crew_stop(dbs->keepers);
	crew_stop(dbs->watchers);
}

void
dbs_close(struct dbs *dbs)
{
	HASH_CLEAR(hh, dbs->by_name);
	for (size_t i = 0; i < dbs->n; i++) {
		if (!dbs->known[i])
			continue;
		db_close(dbs->known[i]);
		free_db(dbs->known[i]);
	}
	backups_free(dbs->backups);
	crew_free(dbs->readers);
	crew_free(dbs->writers);
	crew_free(dbs->keepers);
	crew_free(dbs->watchers);
	crew_free(dbs->openers);
	free(dbs->known);
	free(dbs->directory);
	pthread_mutex_destroy(&dbs->lock);
	pthread_mutex_destroy(&dbs->changing);
	budget_set_total(NULL);
	*dbs = (struct dbs){ 0 };
}

/* --- Another configuration -------------------------------------------------------- */

static struct conf_db *
find_conf(const struct conf *conf, const struct conf_db *like)
{
	for (size_t i = 0; i < conf->db_n; i++)
		if (strcmp(conf->dbs[i].name, like->name) == 0 &&
		    strcmp(conf->dbs[i].path, like->path) == 0)
			return &conf->dbs[i];
	return NULL;
}

/* As this one says; by index, as another one may have the name. */
static bool
is_served(struct dbs *dbs, const struct conf_db *conf)
{
	bool found = false;

	pthread_mutex_lock(&dbs->lock);
	for (size_t i = 0; i < dbs->n && !found; i++) {
		const struct db *db = dbs->known[i];

		found = db && !db->conf->family && !atomic_load(&db->removed) &&
		    strcmp(db->conf->name, conf->name) == 0 &&
		    strcmp(db->conf->path, conf->path) == 0;
	}
	pthread_mutex_unlock(&dbs->lock);
	return found;
}

/* Under the lock. */
static void
remove_db(struct dbs *dbs, struct db *db)
{
	struct db_named *named = (struct db_named *)db;

	HASH_DEL(dbs->by_name, named);
	db_end(db);
	db_unref(db); /* the configuration's */
	log_info("database %s is taken out of service", db->conf->name);
}

/* Out of memory in the middle: as if those had never been. */
static int
add_new(struct dbs *dbs, const struct conf *fresh, struct db **added)
{
	size_t n = 0;

	for (size_t i = 0; i < fresh->db_n; i++) {
		if (is_served(dbs, &fresh->dbs[i]))
			continue;
		added[n] = add_configured(dbs, &fresh->dbs[i]);
		if (added[n++])
			continue;
		pthread_mutex_lock(&dbs->lock);
		while (n-- > 1)
			remove_db(dbs, added[n - 1]);
		pthread_mutex_unlock(&dbs->lock);
		return -ERR_NO_MEMORY;
	}
	return 0;
}

static bool
is_one_of(struct db *const *list, const struct db *db)
{
	while (*list && *list != db)
		list++;
	return *list != NULL;
}

/* A worker that finds a database meanwhile does so with the new defaults, or sees
 * that there are such. */
static void
note_defaults(struct dbs *dbs)
{
	pthread_mutex_lock(&dbs->lock);
	dbs->changes_n++;
	pthread_mutex_unlock(&dbs->lock);
}

/* What follows from it. */
static void
take_effect(struct dbs *dbs)
{
	log_set_level(dbs->conf->log_level);
	room_note_idle(dbs); /* more may be open now */
}

static void
change_all(struct dbs *dbs, const struct conf_change *change)
{
	note_defaults(dbs);
	for (struct db *db = dbs_next(dbs, NULL); db; db = dbs_next(dbs, db))
		conf_change_db(dbs->conf, change, db->conf);
	take_effect(dbs);
}

int
dbs_change(struct dbs *dbs, const char *name, const char *value,
    char err[CONF_ERR_MAX])
{
	struct conf_change change;
	int rc;

	if (conf_read_change(name, value, &change, err) < 0)
		return -1;
	pthread_mutex_lock(&dbs->changing);
	rc = files_fit_change(dbs->conf, &change, err);
	if (rc == 0)
		rc = conf_change(dbs->conf, &change, err);
	if (rc == 0)
		change_all(dbs, &change);
	pthread_mutex_unlock(&dbs->changing);
	return rc;
}

static int
reload_configured(
    struct dbs *dbs, struct conf *fresh, struct conf_changes *changes)
{
	struct db **added = calloc(fresh->db_n + 1, sizeof(struct db *));

	if (!added || add_new(dbs, fresh, added) < 0) {
		free(added);
		return -ERR_NO_MEMORY;
	}
	for (struct db *db = dbs_next(dbs, NULL); db; db = dbs_next(dbs, db)) {
		struct conf_db *conf = find_conf(fresh, db->conf);

		if (db->conf->family || atomic_load(&db->removed) ||
		    is_one_of(added, db))
			continue;
		if (conf) {
			conf_db_reload(db->conf, conf, changes);
			continue;
		}
		pthread_mutex_lock(&dbs->lock);
		remove_db(dbs, db);
		pthread_mutex_unlock(&dbs->lock);
	}
	for (struct db **db = added; *db; db++) {
		log_info(
		    "database %s is served from now on", (*db)->conf->name);
		atomic_store(&(*db)->wanted, (*db)->conf->preload);
		squeue_kick(&(*db)->q);
	}
	free(added);
	return 0;
}

/* Once the defaults have changed.  What may not change has been said of these. */
static void
reload_found(struct dbs *dbs, struct conf_changes *changes)
{
	struct conf_changes quiet = { .replaced = changes->replaced };

	if (!dbs->directory)
		return;
	note_defaults(dbs);
	for (struct db *db = dbs_next(dbs, NULL); db; db = dbs_next(dbs, db)) {
		struct conf_db *fresh = !db->conf->family
		    ? NULL
		    : conf_db_find(dbs->conf, dbs->directory, db->conf->name);

		if (fresh)
			conf_db_reload(db->conf, fresh, &quiet);
		else if (db->conf->family)
			log_error("reload: %s keeps its options: out of memory",
			    db->conf->name);
		conf_db_free(fresh);
	}
	changes->replaced = quiet.replaced;
}

int
dbs_reload(struct dbs *dbs, struct conf *fresh, struct conf_changes *changes)
{
	int rc;

	pthread_mutex_lock(&dbs->changing);
	rc = reload_configured(dbs, fresh, changes);
	if (rc == 0) {
		conf_reload(dbs->conf, fresh, changes);
		reload_found(dbs, changes);
		take_effect(dbs);
	}
	pthread_mutex_unlock(&dbs->changing);
	return rc;
}

/* --- Now and then ---------------------------------------------------------------- */

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

/* It is ended as if it was taken out of the configuration, and another one has its
 * name from now on.  Not opened before somebody asks: whoever replaces a file may
 * not be done yet.  Not while the configuration changes, which would pass over it. */
static void
replace(struct dbs *dbs, struct db *db)
{
	struct db_named *named = (struct db_named *)db;
	struct conf_db *own = NULL;
	bool first;

	pthread_mutex_lock(&dbs->changing);
	pthread_mutex_lock(&dbs->lock);
	first = !atomic_load(&db->removed);
	if (first && !db->conf->family)
		own = conf_db_copy(db->conf);
	if (first) {
		HASH_DEL(dbs->by_name, named);
		db_end(db);
		if (!db->conf->family)
			db_unref(db);
		if (own && db_ref(add(dbs, own)))
			own = NULL;
	}
	pthread_mutex_unlock(&dbs->lock);
	pthread_mutex_unlock(&dbs->changing);
	conf_db_free(own);
	if (!first)
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
	replace(dbs, db);
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

/* Take out the next one, from *at on, that is closed and nobody refers to; NULL:
 * there is none. */
static struct db *
take_unknown(struct dbs *dbs, size_t *at)
{
	struct db *found = NULL;

	pthread_mutex_lock(&dbs->lock);
	for (; *at < dbs->n && !found; ++*at) {
		struct db *db = dbs->known[*at];

		if (db && atomic_load(&db->refs) == 0 && db->state == DB_CLOSED)
			found = db;
	}
	if (found)
		take_out(dbs, found);
	pthread_mutex_unlock(&dbs->lock);
	return found;
}

static void
forget_unknown(struct dbs *dbs)
{
	struct db *db;
	size_t at = 0;

	while ((db = take_unknown(dbs, &at))) {
		squeue_end(&db->q);
		free_db(db);
	}
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
	forget_unknown(dbs);
}
