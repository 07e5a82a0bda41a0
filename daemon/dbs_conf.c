/* dbs_conf.c - another configuration for the databases that are served: a RELOAD,
 * SET.
 *
 * Threads: any, one at a time: dbs->changing. */
#include <stdlib.h>
#include <string.h>

#include "daemon/dbs_impl.h"
#include "daemon/files.h"
#include "daemon/log.h"
#include "proto/error.h"

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
remove_db(struct db *db)
{
	dbs_end(db);
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
		added[n] = dbs_add_configured(dbs, &fresh->dbs[i]);
		if (added[n++])
			continue;
		pthread_mutex_lock(&dbs->lock);
		while (n-- > 1)
			remove_db(added[n - 1]);
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
	unsigned reload_n = atomic_load(&dbs->reloads_n) + 1;

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
		remove_db(db);
		pthread_mutex_unlock(&dbs->lock);
	}
	for (struct db **db = added; *db; db++) {
		log_info(
		    "database %s is served from now on", (*db)->conf->name);
		atomic_store(&(*db)->wanted, (*db)->conf->preload);
		if ((*db)->conf->preload)
			atomic_store(&(*db)->preloads_n, reload_n);
		squeue_kick(&(*db)->q);
	}
	/* a worker that still looks for those of the last one must not take this
	 * one for done (hots_preload) */
	atomic_store(&dbs->reloads_n, reload_n);
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
