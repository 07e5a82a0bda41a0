/* dbs.c - the list of the databases, how one is found in it or in the directory, and
 * the crews that run them.
 *
 * Threads: as db.h says. */
#include "daemon/dbs_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/budget.h"
#include "proto/error.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define READER_THREADS_LEAST 2
#define READER_THREADS_MOST  32

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

/* Under the lock. */
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

void
dbs_end(struct db *db)
{
	HASH_DEL(db->dbs->by_name, (struct db_named *)db);
	db_end(db);
}

/* Under the lock: one that was found in the directory is ended; the configuration has
 * its name. */
static void
end_found(struct dbs *dbs, const char *name)
{
	struct db_named *named;

	HASH_FIND(hh, dbs->by_name, name, strlen(name), named);
	if (named && named->db.conf->family)
		dbs_end(&named->db);
}

struct db *
dbs_add_configured(struct dbs *dbs, const struct conf_db *conf)
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

/* Under the locks. */
static void
end_and_add(struct db *db)
{
	struct conf_db *own = NULL;

	dbs_end(db);
	if (db->conf->family)
		return;
	own = conf_db_copy(db->conf);
	if (!own || !db_ref(add(db->dbs, own)))
		conf_db_free(own);
	db_unref(db); /* the configuration's */
}

/* Not while the configuration changes, which would pass over it.  Without memory
 * nothing has its name until the next RELOAD. */
bool
dbs_replace(struct db *db)
{
	struct dbs *dbs = db->dbs;
	bool first;

	pthread_mutex_lock(&dbs->changing);
	pthread_mutex_lock(&dbs->lock);
	first = !atomic_load(&db->removed);
	if (first)
		end_and_add(db);
	pthread_mutex_unlock(&dbs->lock);
	pthread_mutex_unlock(&dbs->changing);
	return first;
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

void
dbs_forget_unknown(struct dbs *dbs)
{
	struct db *db;
	size_t at = 0;

	while ((db = take_unknown(dbs, &at))) {
		squeue_end(&db->q);
		free_db(db);
	}
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

static int
add_all_configured(const struct conf *conf, struct dbs *dbs, struct failure *f)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < conf->db_n; i++) {
		struct db *db = dbs_add_configured(dbs, &conf->dbs[i]);

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
