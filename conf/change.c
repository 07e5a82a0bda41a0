/* change.c - one option that is changed while the daemon runs.
 *
 * What may change is a number, which others read meanwhile, without a lock; where a
 * value comes from, and the list of databases, are under the conf's.
 *
 * Thread: see conf.h.
 */
#include "conf/conf.h"

#include <string.h>

#include "conf/conf_impl.h"

static int
check_live(const struct option *o, char *err)
{
	if (o->reload != LIVE) {
		snprintf(err, CONF_ERR_MAX,
		    "%s cannot change while the daemon runs: change it in the "
		    "configuration and restart the daemon",
		    o->name);
		return -1;
	}
	if (option_is_text(o) || o->type == NAMES) {
		snprintf(err, CONF_ERR_MAX,
		    "%s is no number: change it in the configuration and "
		    "reload it (RELOAD)",
		    o->name);
		return -1;
	}
	return 0;
}

/* Split "app.group_time" in two.  NULL: it is none that may change. */
static const struct option *
find(const char *name, struct conf_change *change, char *err)
{
	const char *dot = strrchr(name, '.');
	const struct option *o = conf_find_option(dot ? dot + 1 : name, err);
	size_t n = dot ? (size_t)(dot - name) : 0;

	if (!o || check_live(o, err) < 0)
		return NULL;
	if (dot && (n == 0 || n > CONF_NAME_MAX)) {
		snprintf(err, CONF_ERR_MAX, "write it as DATABASE.%s", o->name);
		return NULL;
	}
	memcpy(change->database, name, n);
	return dot && conf_check_scope(o, err) < 0 ? NULL : o;
}

int
conf_read_change(const char *name, const char *value, struct conf_change *ret,
    char err[CONF_ERR_MAX])
{
	struct option_value v = { 0 };
	const struct option *o;

	*ret = (struct conf_change){ 0 };
	o = find(name, ret, err);
	if (!o || option_parse(o, value, &v, err) < 0)
		return -1;
	ret->id = (enum conf_id)option_id(o);
	ret->n = v.n;
	return 0;
}

/* A value that an option is to have. */
struct wish {
	const struct option *option;
	int64_t n;
	char *err;
};

/* Would a database that has the value be as it should?  own: it alone gets it. */
static int
check_value(const struct conf *conf, const struct wish *wish,
    const struct conf_db *db, bool own)
{
	struct conf_db *copy = conf_db_copy(db);
	int rc;

	if (!copy)
		return conf_fail_memory(wish->err);
	option_set_live(wish->option, copy, wish->n);
	if (own)
		copy->origins[option_id(wish->option)].from = CONF_FROM_SET;
	rc = conf_check_db(conf, copy, wish->err);
	conf_db_free(copy);
	return rc;
}

static bool
inherits(const struct conf_db *db, const struct option *o)
{
	return db->origins[option_id(o)].from == CONF_FROM_DEFAULT;
}

/* Under the lock, as what follows. */
static int
change_db(struct conf *conf, const struct wish *wish, const char *name)
{
	struct conf_db *db = conf_find_db(conf, name, strlen(name));

	if (!db) {
		snprintf(wish->err, CONF_ERR_MAX,
		    "no database of the configuration is called %s; those of "
		    "the directory have what is set for all",
		    name);
		return -1;
	}
	if (check_value(conf, wish, db, true) < 0)
		return -1;
	option_set_live(wish->option, db, wish->n);
	db->origins[option_id(wish->option)] =
	    (struct conf_origin){ CONF_FROM_SET, 0 };
	return 0;
}

/* As conf_check does: what is the default only of databases that are named is a
 * template, in which nothing need go together. */
static int
check_default(const struct conf *conf, const struct wish *wish)
{
	for (size_t i = 0; i < conf->db_n; i++)
		if (inherits(&conf->dbs[i], wish->option) &&
		    check_value(conf, wish, &conf->dbs[i], false) < 0)
			return -1;
	return conf->directory[0] == '\0'
	    ? 0
	    : check_value(conf, wish, &conf->db_default, false);
}

/* Of all databases that were not given their own. */
static int
change_default(struct conf *conf, const struct wish *wish)
{
	const struct option *o = wish->option;

	if (check_default(conf, wish) < 0)
		return -1;
	option_set_live(o, &conf->db_default, wish->n);
	for (size_t i = 0; i < conf->db_n; i++)
		if (inherits(&conf->dbs[i], o))
			option_set_live(o, &conf->dbs[i], wish->n);
	return 0;
}

/* Some values are refused only if somebody gave them. */
static int
change_top(struct conf *conf, const struct wish *wish)
{
	struct conf_origin *origin = &conf->origins[option_id(wish->option)];
	struct conf_origin was = *origin;

	*origin = (struct conf_origin){ CONF_FROM_SET, 0 };
	if (wish->option->scope == GLOBAL) {
		option_set_live(wish->option, conf, wish->n);
	} else if (change_default(conf, wish) < 0) {
		*origin = was;
		return -1;
	}
	return 0;
}

int
conf_change(
    struct conf *conf, const struct conf_change *change, char err[CONF_ERR_MAX])
{
	struct wish wish = { option_at(change->id), change->n, err };
	int rc;

	pthread_rwlock_wrlock(conf->lock);
	rc = change->database[0] ? change_db(conf, &wish, change->database)
				 : change_top(conf, &wish);
	pthread_rwlock_unlock(conf->lock);
	return rc;
}

/* What holds now, which may be a later change. */
void
conf_change_db(const struct conf *conf, const struct conf_change *change,
    struct conf_db *db)
{
	const struct option *o = option_at(change->id);
	const struct conf_db *own;

	if (o->scope == GLOBAL ||
	    (change->database[0] && strcmp(change->database, db->name) != 0))
		return;
	pthread_rwlock_rdlock(conf->lock);
	own = db->family ? NULL
			 : conf_find_db(conf, db->name, strlen(db->name));
	option_set_live(o, db, option_get(o, own ? own : &conf->db_default));
	pthread_rwlock_unlock(conf->lock);
}
