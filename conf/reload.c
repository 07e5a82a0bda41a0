/* reload.c - another reading of the configuration, while the daemon runs.
 *
 * Thread: see conf.h.
 */
#include "conf/conf.h"

#include <stdlib.h>
#include <string.h>

#include "conf/names.h"
#include "conf/option.h"

struct reload {
	const char *database; /* NULL: none */
	struct conf_changes *changes;
};

static void
say(const struct reload *r, const struct option *o, const void *base,
    const void *fresh, const char *why)
{
	char *now = option_print(o, base), *then = option_print(o, fresh);
	char line[CONF_ERR_MAX];

	if (r->changes->say) {
		snprintf(line, sizeof(line),
		    "%s%s%s = %.200s %s; until then it is %.200s",
		    r->database ? r->database : "", r->database ? "." : "",
		    o->name, then ? then : "?", why, now ? now : "?");
		r->changes->say(r->changes->arg, line);
	}
	free(now);
	free(then);
}

static void
say_restart(const struct reload *r, const struct option *o, const void *base,
    const void *fresh)
{
	say(r, o, base, fresh, "needs a restart");
}

/* Who looks at the list that was there may go on to do so. */
static void
reload_names(
    const struct reload *r, const struct option *o, void *base, void *fresh)
{
	const struct conf_names *names = option_get_names(o, fresh);
	struct conf_names *copy, *was;

	if (names_are_equal(option_get_names(o, base), names))
		return;
	copy = names_copy(names);
	if (!copy) {
		say(r, o, base, fresh, "needs memory: reload it again");
		return;
	}
	was = option_swap_names(o, base, copy);
	was->next = r->changes->replaced;
	r->changes->replaced = was;
}

/* One option of base, which is the conf, its db_default, or a database. */
static void
reload_option(
    const struct reload *r, const struct option *o, void *base, void *fresh)
{
	struct option_value v = { 0 };

	if (o->type == NAMES) {
		reload_names(r, o, base, fresh);
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
conf_db_reload(
    struct conf_db *db, struct conf_db *fresh, struct conf_changes *changes)
{
	struct reload r = { db->name, changes };

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
conf_reload(struct conf *conf, struct conf *fresh, struct conf_changes *changes)
{
	struct reload r = { NULL, changes };

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
