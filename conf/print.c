/* print.c - the configuration as text: the one in force, and the example.
 *
 * Thread: see conf.h.
 */
#include "conf/conf.h"

#include <stdlib.h>
#include <string.h>

#include "conf/option.h"

/* --- What is in force ------------------------------------------------------ */

static void
source_print(const struct conf *conf, const struct conf_origin *origin,
    struct conf_item *item)
{
	static const char *const froms[] = { "default", "", "environment",
		"command line", "SET" };

	if (origin->from == CONF_FROM_FILE)
		snprintf(item->source, sizeof(item->source), "%.250s:%d",
		    conf->file, origin->line);
	else
		snprintf(item->source, sizeof(item->source), "%s",
		    froms[origin->from]);
}

struct walk {
	const struct conf *conf;
	void (*show)(void *arg, const struct conf_item *item);
	void *arg;
};

/* Show one option of base, which is the conf, its db_default, or db. */
static int
walk_option(const struct walk *w, const struct option *o, const void *base,
    const struct conf_db *db)
{
	struct conf_item item = { .database = db != NULL ? db->name : NULL,
		.name = o->name,
		.text = o->text,
		.live = o->reload == LIVE };
	const struct conf_origin *origins = db != NULL ? db->origins
						       : w->conf->origins;
	char *value = option_print(o, base);
	char *def = option_print_default(o);
	int rc = -1;

	if (value == NULL || def == NULL)
		goto out;
	source_print(w->conf, &origins[option_id(o)], &item);
	item.changed = !option_has_default(o, base);
	/* "60s" stays that, and is not "1min" */
	item.value = item.changed ? value : def;
	item.def = def;
	w->show(w->arg, &item);
	rc = 0;
out:
	free(value);
	free(def);
	return rc;
}

static int
walk_db(const struct walk *w, const struct conf_db *db)
{
	const struct option *o;

	for (o = option_next(NULL); o != NULL; o = option_next(o)) {
		if (o->scope == DATABASE &&
		    db->origins[option_id(o)].from != CONF_FROM_DEFAULT &&
		    walk_option(w, o, db, db) < 0)
			return -1;
	}
	return 0;
}

static int
walk(const struct walk *w, const struct conf *conf)
{
	const struct option *o;

	for (o = option_next(NULL); o != NULL; o = option_next(o)) {
		const void *base = o->scope == GLOBAL
		    ? (const void *)conf
		    : (const void *)&conf->db_default;

		if (!option_is_path(o) && walk_option(w, o, base, NULL) < 0)
			return -1;
	}
	for (size_t i = 0; i < conf->db_n; i++) {
		if (walk_db(w, &conf->dbs[i]) < 0)
			return -1;
	}
	return 0;
}

int
conf_walk(const struct conf *conf,
    void (*show)(void *arg, const struct conf_item *item), void *arg)
{
	struct walk w = { .conf = conf, .show = show, .arg = arg };
	int rc;

	pthread_rwlock_rdlock(conf->lock);
	rc = walk(&w, conf);
	pthread_rwlock_unlock(conf->lock);
	return rc;
}

struct printing {
	FILE *out;
	bool changed_only;
	char section[CONF_NAME_MAX + 1]; /* that is open, or "" */
};

static void
print_item(void *arg, const struct conf_item *item)
{
	struct printing *p = arg;

	if (item->database == NULL) {
		if (item->changed || !p->changed_only)
			fprintf(p->out, "%s = %s  # %s\n", item->name,
			    item->value, item->source);
		return;
	}
	if (strcmp(p->section, item->database) != 0) {
		fprintf(p->out, "%s\ndatabase %s {\n",
		    p->section[0] != '\0' ? "}\n" : "", item->database);
		snprintf(p->section, sizeof(p->section), "%s", item->database);
	}
	fprintf(
	    p->out, "\t%s = %s  # %s\n", item->name, item->value, item->source);
}

int
conf_print(const struct conf *conf, bool changed_only, FILE *out)
{
	struct printing p = { .out = out, .changed_only = changed_only };
	int rc = conf_walk(conf, print_item, &p);

	if (p.section[0] != '\0')
		fputs("}\n", out);
	return rc;
}

/* --- The example file ------------------------------------------------------ */

#define EXAMPLE_WIDTH 79

/* Write text as comment lines, broken at spaces. */
static void
example_comment(FILE *out, const char *text)
{
	const char *end;

	while (strlen(text) > EXAMPLE_WIDTH - 2) {
		end = text + EXAMPLE_WIDTH - 2;
		while (*end != ' ')
			end--;
		fprintf(out, "# %.*s\n", (int)(end - text), text);
		text = end + 1;
	}
	fprintf(out, "# %s\n", text);
}

static void
example_option(FILE *out, const struct option *o)
{
	char *def = option_print_default(o);
	char range[128];
	char text[512];

	option_print_range(o, range, sizeof(range));
	snprintf(text, sizeof(text), "%s (%s)", o->text, range);
	example_comment(out, text);
	fprintf(out, "#%s = %s\n\n", o->name, def != NULL ? def : o->def);
	free(def);
}

void
conf_print_example(FILE *out)
{
	enum option_scope scope = GLOBAL;
	const struct option *o;

	fputs("# sqlpoold.conf - every option with its default; see "
	      "sqlpoold.conf(5).\n"
	      "#\n"
	      "# Times are whole numbers with us, ms, s, min or h; sizes with "
	      "B, KB, MB or GB,\n"
	      "# 1024-based. \"off\" is 0.\n\n",
	    out);
	for (o = option_next(NULL); o != NULL; o = option_next(o)) {
		if (o->scope != scope) {
			scope = o->scope;
			fputs("# The options of a database. Here they are the "
			      "defaults of all databases; in a\n"
			      "# section \"database\" they hold for that "
			      "one.\n\n",
			    out);
		}
		if (!option_is_path(o))
			example_option(out, o);
	}
	fputs("# One section for each database; its name is what clients "
	      "ask for.\n"
	      "#database app {\n"
	      "#\tpath = \"/var/lib/sqlpoold/app.db\"\n"
	      "#}\n",
	    out);
}
