/* reload.c - another reading of the configuration, while the daemon runs.
 *
 * Thread: see conf.h.
 */
#include "conf/conf.h"

#include <stdlib.h>
#include <string.h>

#include "conf/option.h"

struct reload {
	const char *database; /* NULL: none */
	void (*say)(void *arg, const char *line);
	void *arg;
};

static void
say_restart(const struct reload *r, const struct option *o, const void *base,
    const void *fresh)
{
	char *now = option_print(o, base), *then = option_print(o, fresh);
	char line[CONF_ERR_MAX];

	snprintf(line, sizeof(line),
	    "%s%s%s = %.200s needs a restart; until then "
	    "it is %.200s",
	    r->database ? r->database : "", r->database ? "." : "", o->name,
	    then ? then : "?", now ? now : "?");
	r->say(r->arg, line);
	free(now);
	free(then);
}

/* One option of base, which is the conf, its db_default, or a database. */
static void
reload_option(
    const struct reload *r, const struct option *o, void *base, void *fresh)
{
	struct option_value v = { 0 };

	if (o->type == NAMES) {
		if (strcmp(option_get_names(o, base),
			option_get_names(o, fresh)) != 0) {
			say_restart(r, o, base, fresh);
			option_fini(o, fresh);
			*(void **)((char *)fresh + o->offset) = NULL;
			option_copy(o, fresh, base);
		}
		return;
	}
	if (option_is_text(o)) {
		const char *now = *(char **)((char *)base + o->offset);

		if (strcmp(now, *(char **)((char *)fresh + o->offset)) != 0)
			say_restart(r, o, base, fresh);
		return;
	}
	v.n = option_get(o, base);
	if (v.n == option_get(o, fresh))
		return;
	if (o->reload == LIVE) {
		option_set_live(o, base, option_get(o, fresh));
		return;
	}
	say_restart(r, o, base, fresh);
	option_store(o, fresh, &v); /* a number: it cannot fail */
}

void
conf_db_reload(struct conf_db *db, struct conf_db *fresh,
    void (*say)(void *arg, const char *line), void *arg)
{
	struct reload r = { db->name, say, arg };

	for (const struct option *o = option_next(NULL); o; o = option_next(o))
		if (o->scope == DATABASE)
			reload_option(&r, o, db, fresh);
}

static void
swap_text(char **a, char **b)
{
	char *was = *a;

	*a = *b;
	*b = was;
}

/* What is only looked at by conf_walk. */
static void
move_over(struct conf *conf, struct conf *fresh)
{
	struct conf_db *dbs = conf->dbs;
	size_t n = conf->db_n;

	pthread_rwlock_wrlock(conf->lock);
	conf->dbs = fresh->dbs;
	conf->db_n = fresh->db_n;
	fresh->dbs = dbs;
	fresh->db_n = n;
	swap_text(&conf->file, &fresh->file);
	memcpy(conf->origins, fresh->origins, sizeof(conf->origins));
	pthread_rwlock_unlock(conf->lock);
}

void
conf_reload(struct conf *conf, struct conf *fresh,
    void (*say)(void *arg, const char *line), void *arg)
{
	struct reload r = { NULL, say, arg };

	for (const struct option *o = option_next(NULL); o;
	     o = option_next(o)) {
		if (o->scope == GLOBAL)
			reload_option(&r, o, conf, fresh);
		else if (!option_is_path(o))
			reload_option(
			    &r, o, &conf->db_default, &fresh->db_default);
	}
	move_over(conf, fresh);
}
