/* conf.c - the configuration: defaults, command line, file, databases.
 *
 * libconfuse sees every option as a string; option.c turns text into values,
 * whether it comes from the file, from `-o` or is a default.  A value of the
 * file is taken as soon as it has been read, because only then does libconfuse
 * know its line: an option at the top level at once, those of a database when
 * its section ends.
 *
 * Thread: see conf.h.
 */
#include "conf/conf.h"

#include <confuse.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "conf/option.h"

/* Room for the rows of options.def, one before and two after them. */
#define FILE_OPTS_MAX 67

/* What libconfuse's callbacks need to know.  They find it through the first
 * option of every section, since libconfuse passes on no pointer of ours. */
struct reading {
	struct conf *conf;
	const char *path;
	char *err; /* CONF_ERR_MAX; the first error stays */
};

static int
out_of_memory(char *err)
{
	snprintf(err, CONF_ERR_MAX, "out of memory");
	return -1;
}

/* --- Databases ------------------------------------------------------------ */

static void
db_fini(struct conf_db *db)
{
	free(db->name);
	free(db->path);
}

static int
name_check(const char *name, char *err)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "abcdefghijklmnopqrstuvwxyz"
				      "0123456789_.-";
	size_t n = strlen(name);

	if (n > 0 && n <= CONF_NAME_MAX && name[0] != '.' &&
	    strspn(name, allowed) == n)
		return 0;
	snprintf(err, CONF_ERR_MAX,
	    "database name \"%.80s\": write 1 to %d of A-Z a-z 0-9 _ . -, "
	    "without a dot in front",
	    name, CONF_NAME_MAX);
	return -1;
}

static int
db_check_new(
    const struct conf *conf, const char *name, const char *path, char *err)
{
	if (name_check(name, err) < 0)
		return -1;
	for (size_t i = 0; i < conf->db_n; i++) {
		if (strcmp(conf->dbs[i].name, name) == 0) {
			snprintf(err, CONF_ERR_MAX,
			    "database %s is there already, with path %.200s: "
			    "give one of them another name",
			    name, conf->dbs[i].path);
			return -1;
		}
		/* Links to one file are found when it is opened. */
		if (strcmp(conf->dbs[i].path, path) == 0) {
			snprintf(err, CONF_ERR_MAX,
			    "database %s: %.200s is already database %s: "
			    "remove one of them",
			    name, path, conf->dbs[i].name);
			return -1;
		}
	}
	return 0;
}

/* Append a database that has the defaults. */
static int
db_append(struct conf *conf, const char *name, const char *path, char *err)
{
	struct conf_db db = conf->db_default;
	struct conf_db *dbs;

	if (db_check_new(conf, name, path, err) < 0)
		return -1;
	db.name = strdup(name);
	db.path = strdup(path);
	if (db.name == NULL || db.path == NULL)
		goto out;
	dbs = reallocarray(conf->dbs, conf->db_n + 1, sizeof(*dbs));
	if (dbs == NULL)
		goto out;
	dbs[conf->db_n++] = db;
	conf->dbs = dbs;
	return 0;
out:
	db_fini(&db);
	return out_of_memory(err);
}

/* Get the length of a file name without the ending of a database. */
static size_t
stem_length(const char *name)
{
	static const char *const endings[] = { ".db", ".db3", ".sqlite",
		".sqlite3" };
	size_t n = strlen(name);

	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		size_t end_n = strlen(endings[i]);

		if (n > end_n && strcmp(name + n - end_n, endings[i]) == 0)
			return n - end_n;
	}
	return n;
}

int
conf_add_db(struct conf *conf, const char *spec, char err[CONF_ERR_MAX])
{
	const char *eq = strchr(spec, '=');
	const char *slash = strchr(spec, '/');
	const char *path = spec;
	const char *start = spec;
	size_t n;
	char name[CONF_NAME_MAX + 2]; /* one too long is seen as too long */

	if (eq != NULL && (slash == NULL || eq < slash)) {
		path = eq + 1;
		n = (size_t)(eq - spec);
	} else {
		slash = strrchr(spec, '/');
		start = slash == NULL ? spec : slash + 1;
		n = stem_length(start);
	}
	if (n > sizeof(name) - 1)
		n = sizeof(name) - 1;
	memcpy(name, start, n);
	name[n] = '\0';
	if (*path == '\0' || strlen(path) > CONF_PATH_MAX) {
		snprintf(err, CONF_ERR_MAX,
		    "database \"%.80s\": write PATH or NAME=PATH, with a path "
		    "of 1 to %d bytes",
		    spec, CONF_PATH_MAX);
		return -1;
	}
	return db_append(conf, name, path, err);
}

/* --- Setting by name ------------------------------------------------------ */

/* Store a default of all databases, and in those that have no value of their
 * own. */
static int
default_store(
    struct conf *conf, const struct option *o, const struct option_value *v)
{
	if (option_store(o, &conf->db_default, v) < 0)
		return -1;
	for (size_t i = 0; i < conf->db_n; i++) {
		if ((conf->dbs[i].given & option_bit(o)) == 0 &&
		    option_store(o, &conf->dbs[i], v) < 0)
			return -1;
	}
	return 0;
}

/* Parse a value that stands outside of any database. */
static int
top_parse(const struct option *o, const char *text, struct option_value *ret,
    char *err)
{
	if (option_is_path(o)) {
		snprintf(err, CONF_ERR_MAX,
		    "path belongs to one database: write "
		    "database NAME { path = \"...\" }");
		return -1;
	}
	return option_parse(o, text, ret, err);
}

int
conf_set(struct conf *conf, const char *name, const char *value,
    char err[CONF_ERR_MAX])
{
	const struct option *o = option_find(name);
	struct option_value v = { 0 };
	int rc;

	if (o == NULL) {
		snprintf(err, CONF_ERR_MAX,
		    "no option is called %.80s: sqlpoold.conf(5) lists them",
		    name);
		return -1;
	}
	if (top_parse(o, value, &v, err) < 0)
		return -1;
	rc = o->scope == GLOBAL ? option_store(o, conf, &v)
				: default_store(conf, o, &v);
	return rc < 0 ? out_of_memory(err) : 0;
}

struct conf *
conf_new(void)
{
	struct conf *conf = calloc(1, sizeof(*conf));
	const struct option *o;
	char err[CONF_ERR_MAX];

	if (conf == NULL)
		return NULL;
	conf->db_default.name = strdup("");
	conf->db_default.path = strdup("");
	if (conf->db_default.name == NULL || conf->db_default.path == NULL)
		goto out;
	for (o = option_next(NULL); o != NULL; o = option_next(o)) {
		if (!option_is_path(o) &&
		    conf_set(conf, o->name, o->def, err) < 0)
			goto out;
	}
	return conf;
out:
	conf_free(conf);
	return NULL;
}

void
conf_free(struct conf *conf)
{
	const struct option *o;

	if (conf == NULL)
		return;
	for (o = option_next(NULL); o != NULL; o = option_next(o)) {
		if (o->scope == GLOBAL && o->type == STRING)
			free(*(char **)((char *)conf + o->offset));
	}
	for (size_t i = 0; i < conf->db_n; i++)
		db_fini(&conf->dbs[i]);
	db_fini(&conf->db_default);
	free(conf->dbs);
	free(conf);
}

/* --- The file -------------------------------------------------------------- */

static struct reading *
reading_get(cfg_t *cfg)
{
	return (void *)cfg->opts[0].simple_value.ptr;
}

/* An error, libconfuse's own or one of those below, which come as "%s": keep
 * the first, with its place. */
static void __attribute__((format(printf, 2, 0)))
on_file_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	struct reading *r = reading_get(cfg);
	int n;

	if (r->err[0] != '\0')
		return;
	n = snprintf(r->err, CONF_ERR_MAX, "%.200s:%d: ", r->path, cfg->line);
	n += vsnprintf(r->err + n, CONF_ERR_MAX - (size_t)n, fmt, ap);
	if (n < CONF_ERR_MAX && strcmp(fmt, "%s") != 0)
		snprintf(r->err + n, CONF_ERR_MAX - (size_t)n,
		    ": sqlpoold.conf(5) shows what a file looks like");
}

/* A value was read at the top level: take it. */
static int
on_file_value(cfg_t *cfg, cfg_opt_t *opt)
{
	struct reading *r = reading_get(cfg);
	char err[CONF_ERR_MAX];

	if (conf_set(r->conf, cfg_opt_name(opt), cfg_opt_getnstr(opt, 0), err) <
	    0) {
		cfg_error(cfg, "%s", err);
		return -1;
	}
	return 0;
}

/* A value was read in a section: try it. */
static int
on_file_section_value(cfg_t *cfg, cfg_opt_t *opt)
{
	const struct option *o = option_find(cfg_opt_name(opt));
	struct option_value v = { 0 };
	char err[CONF_ERR_MAX];

	if (o->scope == GLOBAL) {
		cfg_error(cfg,
		    "%s is not an option of one database: write it outside of "
		    "the section",
		    o->name);
		return -1;
	}
	if (option_parse(o, cfg_opt_getnstr(opt, 0), &v, err) < 0) {
		cfg_error(cfg, "%s", err);
		return -1;
	}
	return 0;
}

/* Add the database of a section. */
static int
section_store(struct conf *conf, cfg_t *sec, char *err)
{
	const char *path = cfg_getstr(sec, "path");
	const struct option *o;
	struct option_value v = { 0 };
	const char *text;
	struct conf_db *db;

	if (path == NULL) {
		snprintf(err, CONF_ERR_MAX,
		    "database %.80s has no path: write path = \"...\" in it",
		    cfg_title(sec));
		return -1;
	}
	if (db_append(conf, cfg_title(sec), path, err) < 0)
		return -1;
	db = &conf->dbs[conf->db_n - 1];
	for (o = option_next(NULL); o != NULL; o = option_next(o)) {
		text = cfg_getstr(sec, o->name);
		if (text == NULL)
			continue;
		if (option_parse(o, text, &v, err) < 0)
			return -1;
		if (option_store(o, db, &v) < 0)
			return out_of_memory(err);
		db->given |= option_bit(o);
	}
	return 0;
}

/* A section was read to its end. */
static int
on_file_section(cfg_t *cfg, cfg_opt_t *opt)
{
	cfg_t *sec = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
	struct reading *r = reading_get(cfg);
	char err[CONF_ERR_MAX];

	if (section_store(r->conf, sec, err) < 0) {
		cfg_error(cfg, "%s", err);
		return -1;
	}
	return 0;
}

/* Fill a table for libconfuse: all options at both levels, so that one in the
 * wrong place is known; subopts is the section's table. */
static void
file_opts(cfg_opt_t opts[FILE_OPTS_MAX], struct reading *r, cfg_opt_t *subopts)
{
	const struct option *o;
	size_t n = 0;

	opts[n++] = (cfg_opt_t){ .name = "{reading}",
		.type = CFGT_PTR,
		.flags = CFGF_NODEFAULT,
		.simple_value.ptr = (void *)r };
	for (o = option_next(NULL); o != NULL; o = option_next(o))
		opts[n++] = (cfg_opt_t)CFG_STR(o->name, NULL, CFGF_NODEFAULT);
	if (subopts != NULL)
		opts[n++] = (cfg_opt_t)CFG_SEC(
		    "database", subopts, CFGF_MULTI | CFGF_TITLE);
	opts[n] = (cfg_opt_t)CFG_END();
}

/* Make libconfuse's parser; r is lent to it. */
static cfg_t *
file_parser_new(struct reading *r)
{
	cfg_opt_t top[FILE_OPTS_MAX];
	cfg_opt_t section[FILE_OPTS_MAX];
	const struct option *o;
	cfg_t *cfg;
	char name[64];

	file_opts(section, r, NULL);
	file_opts(top, r, section);
	cfg = cfg_init(top, CFGF_NONE);
	if (cfg == NULL)
		return NULL;
	cfg_set_error_function(cfg, on_file_error);
	for (o = option_next(NULL); o != NULL; o = option_next(o)) {
		cfg_set_validate_func(cfg, o->name, on_file_value);
		snprintf(name, sizeof(name), "database|%s", o->name);
		cfg_set_validate_func(cfg, name, on_file_section_value);
	}
	cfg_set_validate_func(cfg, "database", on_file_section);
	return cfg;
}

int
conf_read_file(struct conf *conf, const char *path, char err[CONF_ERR_MAX])
{
	struct reading r = { .conf = conf, .path = path, .err = err };
	FILE *file = fopen(path, "re");
	cfg_t *cfg = NULL;
	struct stat st;
	int rc = -1;

	err[0] = '\0';
	/* libconfuse's scanner ends the process when a read fails, as that of
	 * a directory does. */
	if (file != NULL && fstat(fileno(file), &st) == 0 &&
	    S_ISDIR(st.st_mode)) {
		errno = EISDIR;
		goto out;
	}
	if (file == NULL)
		goto out;
	cfg = file_parser_new(&r);
	if (cfg == NULL) {
		errno = ENOMEM;
		goto out;
	}
	rc = cfg_parse_fp(cfg, file) == CFG_SUCCESS ? 0 : -1;
	if (rc < 0 && err[0] == '\0')
		snprintf(err, CONF_ERR_MAX, "%.200s:%d: syntax error", path,
		    cfg->line);
out:
	if (rc < 0 && err[0] == '\0')
		snprintf(err, CONF_ERR_MAX, "cannot read %.200s: %s", path,
		    strerror(errno));
	if (cfg != NULL)
		cfg_free(cfg);
	if (file != NULL)
		fclose(file);
	return rc;
}
