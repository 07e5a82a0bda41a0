/* conf.c - the configuration: defaults, environment, command line, databases.
 *
 * Every value comes as text, wherever it comes from, and option.c turns it into
 * what the fields hold; file.c reads files.
 *
 * Thread: see conf.h.
 */
#include "conf/conf.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "conf/conf_impl.h"

#define ENV_PREFIX "SQLPOOLD_"
#define ENV_SOCKET "SQLPOOL_SOCKET"

int
conf_fail_memory(char *err)
{
	snprintf(err, CONF_ERR_MAX, "out of memory");
	return -1;
}

/* --- Databases ------------------------------------------------------------ */

static void
db_fini(struct conf_db *db)
{
	const struct option *o;

	free(db->name);
	for (o = option_next(NULL); o != NULL; o = option_next(o)) {
		if (o->scope == DATABASE)
			option_fini(o, db);
	}
}

bool
conf_name_is_good(const char *name, size_t n)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "abcdefghijklmnopqrstuvwxyz"
				      "0123456789_.-";

	if (n == 0 || n > CONF_NAME_MAX || name[0] == '.')
		return false;
	for (size_t i = 0; i < n; i++)
		if (!memchr(allowed, name[i], sizeof(allowed) - 1))
			return false;
	return true;
}

static int
name_check(const char *name, char *err)
{
	if (conf_name_is_good(name, strlen(name)))
		return 0;
	snprintf(err, CONF_ERR_MAX,
	    "database name \"%.80s\": write 1 to %d of A-Z a-z 0-9 _ . -, "
	    "without a dot in front",
	    name, CONF_NAME_MAX);
	return -1;
}

/* sqlite.org/inmemorydb.html, sqlite.org/uri.html */
const char *
conf_judge_path(const char *path)
{
	if (path[0] == '\0')
		return "an empty path is a temporary database, which each "
		       "connection would have to itself; write the path of a "
		       "file";
	if (strcmp(path, ":memory:") == 0)
		return "a database in memory belongs to one connection, and "
		       "the daemon has many; write the path of a file, in "
		       "/dev/shm if it need not last";
	if (strncasecmp(path, "file:", 5) == 0)
		return "a URI could ask for a database in memory, or without "
		       "locks; write the path of a file, with ./ before it if "
		       "it begins so";
	return NULL;
}

static int
db_check_new(
    const struct conf *conf, const char *name, const char *path, char *err)
{
	const char *why = conf_judge_path(path);

	if (why != NULL) {
		snprintf(
		    err, CONF_ERR_MAX, "database \"%.80s\": %s", path, why);
		return -1;
	}
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
		/* conf_check finds links to one file */
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

/* Make one that has what another has.  -1: out of memory; db_fini in any case. */
static int
db_init(struct conf_db *db, const struct conf_db *from, const char *name,
    const char *path)
{
	const struct option *o;
	struct option_value v = { .text = path };

	*db = (struct conf_db){ .name = strdup(name) };
	if (db->name == NULL)
		return -1;
	for (o = option_next(NULL); o != NULL; o = option_next(o)) {
		if (o->scope == DATABASE &&
		    (option_is_path(o) ? option_store(o, db, &v)
				       : option_copy(o, db, from)) < 0)
			return -1;
	}
	return 0;
}

int
conf_append_db(struct conf *conf, const char *name, const char *path, char *err)
{
	struct conf_db db;
	struct conf_db *dbs;

	if (db_check_new(conf, name, path, err) < 0)
		return -1;
	if (db_init(&db, &conf->db_default, name, path) < 0)
		goto out;
	dbs = reallocarray(conf->dbs, conf->db_n + 1, sizeof(*dbs));
	if (dbs == NULL)
		goto out;
	conf->dbs = dbs;
	conf->dbs[conf->db_n++] = db;
	return 0;
out:
	db_fini(&db);
	return conf_fail_memory(err);
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
	if (path != spec && option_find(name) != NULL) {
		snprintf(err, CONF_ERR_MAX,
		    "\"%.80s\": %s is an option: write -o %.80s; a database "
		    "of this name needs a section in the configuration file",
		    spec, name, spec);
		return -1;
	}
	if (*path == '\0' || strlen(path) > CONF_PATH_MAX) {
		snprintf(err, CONF_ERR_MAX,
		    "database \"%.80s\": write PATH or NAME=PATH, with a path "
		    "of 1 to %d bytes",
		    spec, CONF_PATH_MAX);
		return -1;
	}
	if (conf_append_db(conf, name, path, err) < 0)
		return -1;
	conf->dbs[conf->db_n - 1].origins[CONF_ID_path].from =
	    CONF_FROM_COMMAND_LINE;
	return 0;
}

struct conf_db *
conf_db_find(const struct conf *conf, const char *directory, const char *name)
{
	struct conf_db *db = calloc(1, sizeof(*db));
	char *path;

	if (asprintf(&path, "%s/%s.db", directory, name) < 0)
		path = NULL;
	if (db == NULL || path == NULL ||
	    db_init(db, &conf->db_default, name, path) < 0) {
		free(path);
		conf_db_free(db);
		return NULL;
	}
	free(path);
	db->family = directory;
	pthread_rwlock_rdlock(conf->lock);
	if (conf->origins[CONF_ID_create].from == CONF_FROM_DEFAULT)
		db->create = false;
	if (conf->origins[CONF_ID_idle_close].from == CONF_FROM_DEFAULT)
		db->idle_close_us = 5 * CONF_MIN;
	pthread_rwlock_unlock(conf->lock);
	return db;
}

struct conf_db *
conf_db_copy(const struct conf_db *from)
{
	struct conf_db *db = malloc(sizeof(*db));

	if (db == NULL)
		return NULL;
	if (db_init(db, from, from->name, from->path) < 0) {
		conf_db_free(db);
		return NULL;
	}
	db->family = from->family;
	memcpy(db->origins, from->origins, sizeof(db->origins));
	return db;
}

void
conf_db_free(struct conf_db *db)
{
	if (db == NULL)
		return;
	db_fini(db);
	free(db);
}

/* --- Setting by name ------------------------------------------------------ */

/* Store a default of all databases, and in those that have no value of their
 * own. */
static int
default_store(
    struct conf *conf, const struct option *o, const struct option_value *v)
{
	size_t id = option_id(o);

	if (option_store(o, &conf->db_default, v) < 0)
		return -1;
	for (size_t i = 0; i < conf->db_n; i++) {
		if (conf->dbs[i].origins[id].from == CONF_FROM_DEFAULT &&
		    option_store(o, &conf->dbs[i], v) < 0)
			return -1;
	}
	return 0;
}

int
conf_set_top(struct conf *conf, const struct setting *set, char *err)
{
	const struct option *o = set->option;
	struct option_value v = { 0 };
	int rc;

	if (option_is_path(o)) {
		snprintf(err, CONF_ERR_MAX,
		    "path belongs to one database: write "
		    "database NAME { path = \"...\" }");
		return -1;
	}
	if (option_parse(o, set->text, &v, err) < 0)
		return -1;
	rc = o->scope == GLOBAL ? option_store(o, conf, &v)
				: default_store(conf, o, &v);
	option_value_fini(&v);
	if (rc < 0)
		return conf_fail_memory(err);
	conf->origins[option_id(o)] = set->origin;
	return 0;
}

int
conf_set_db(struct conf_db *db, const struct setting *set, char *err)
{
	const struct option *o = set->option;
	struct option_value v = { 0 };
	int rc;

	if (option_parse(o, set->text, &v, err) < 0)
		return -1;
	rc = option_store(o, db, &v);
	option_value_fini(&v);
	if (rc < 0)
		return conf_fail_memory(err);
	db->origins[option_id(o)] = set->origin;
	return 0;
}

int
conf_check_scope(const struct option *o, char *err)
{
	if (o->scope == DATABASE)
		return 0;
	snprintf(err, CONF_ERR_MAX,
	    "%s is not an option of one database: write it outside of the "
	    "section",
	    o->name);
	return -1;
}

const struct option *
conf_find_option(const char *name, char *err)
{
	const struct option *o = option_find(name);

	if (o == NULL)
		snprintf(err, CONF_ERR_MAX,
		    "no option is called %.80s: sqlpoold.conf(5) lists them",
		    name);
	return o;
}

struct conf_db *
conf_find_db(const struct conf *conf, const char *name, size_t n)
{
	for (size_t i = 0; i < conf->db_n; i++) {
		if (strlen(conf->dbs[i].name) == n &&
		    memcmp(conf->dbs[i].name, name, n) == 0)
			return &conf->dbs[i];
	}
	return NULL;
}

int
conf_set(struct conf *conf, const char *name, const char *value,
    char err[CONF_ERR_MAX])
{
	const char *dot = strrchr(name, '.');
	struct setting set = { .option = conf_find_option(
				   dot != NULL ? dot + 1 : name, err),
		.text = value,
		.origin = { .from = CONF_FROM_COMMAND_LINE } };
	struct conf_db *db;

	if (set.option == NULL)
		return -1;
	if (dot == NULL)
		return conf_set_top(conf, &set, err);
	db = conf_find_db(conf, name, (size_t)(dot - name));
	if (db != NULL)
		return conf_check_scope(set.option, err) < 0
		    ? -1
		    : conf_set_db(db, &set, err);
	snprintf(err, CONF_ERR_MAX,
	    "%.150s: no database is called %.*s: name it in the configuration, "
	    "or as %.*s=PATH",
	    name, (int)(dot - name), name, (int)(dot - name), name);
	return -1;
}

/* --- The environment ------------------------------------------------------- */

/* Turn "MAX_CLIENTS=5" into its option; NULL: there is none. */
static const struct option *
find_variable(const char *text, size_t n)
{
	char name[64];

	if (n >= sizeof(name))
		return NULL;
	for (size_t i = 0; i < n; i++) {
		if (islower((unsigned char)text[i]))
			return NULL;
		name[i] = (char)tolower((unsigned char)text[i]);
	}
	name[n] = '\0';
	/* the socket's variable is the one that clients read, too */
	return strcmp(name, "socket") == 0 ? NULL : option_find(name);
}

static int
read_variable(struct conf *conf, const char *text, char *err)
{
	const char *name = text + strlen(ENV_PREFIX);
	const char *eq = strchr(name, '=');
	struct setting set = { .origin = { .from = CONF_FROM_ENVIRONMENT } };
	char why[CONF_ERR_MAX];

	if (eq == NULL)
		return 0;
	set.option = find_variable(name, (size_t)(eq - name));
	set.text = eq + 1;
	if (set.option == NULL) {
		snprintf(err, CONF_ERR_MAX,
		    "environment variable %.*s: no option is called that: "
		    "sqlpoold.conf(5) lists them, and the socket's variable is " ENV_SOCKET,
		    (int)(eq - text > 80 ? 80 : eq - text), text);
		return -1;
	}
	if (conf_set_top(conf, &set, why) == 0)
		return 0;
	snprintf(err, CONF_ERR_MAX, "environment variable %.*s: %.400s",
	    (int)(eq - text), text, why);
	return -1;
}

int
conf_read_environment(
    struct conf *conf, char *const *environment, char err[CONF_ERR_MAX])
{
	struct setting socket = { .option = option_find("socket"),
		.origin = { .from = CONF_FROM_ENVIRONMENT } };

	for (char *const *at = environment; *at != NULL; at++) {
		if (strncmp(*at, ENV_PREFIX, strlen(ENV_PREFIX)) == 0 &&
		    read_variable(conf, *at, err) < 0)
			return -1;
		if (strncmp(*at, ENV_SOCKET "=", strlen(ENV_SOCKET "=")) == 0)
			socket.text = *at + strlen(ENV_SOCKET "=");
	}
	return socket.text == NULL || socket.text[0] == '\0'
	    ? 0
	    : conf_set_top(conf, &socket, err);
}

/* --- Life ------------------------------------------------------------------ */

struct conf *
conf_new(void)
{
	struct conf *conf = calloc(1, sizeof(*conf));
	struct setting set = { 0 };
	char err[CONF_ERR_MAX];

	if (conf == NULL)
		return NULL;
	conf->lock = calloc(1, sizeof(*conf->lock));
	if (conf->lock == NULL) {
		free(conf);
		return NULL;
	}
	pthread_rwlock_init(conf->lock, NULL);
	conf->db_default.name = strdup("");
	conf->db_default.path = strdup("");
	conf->file = strdup("");
	if (conf->db_default.name == NULL || conf->db_default.path == NULL ||
	    conf->file == NULL)
		goto out;
	while ((set.option = option_next(set.option)) != NULL) {
		set.text = set.option->def;
		if (!option_is_path(set.option) &&
		    conf_set_top(conf, &set, err) < 0)
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
		if (o->scope == GLOBAL)
			option_fini(o, conf);
	}
	for (size_t i = 0; i < conf->db_n; i++)
		db_fini(&conf->dbs[i]);
	db_fini(&conf->db_default);
	free(conf->dbs);
	free(conf->file);
	pthread_rwlock_destroy(conf->lock);
	free(conf->lock);
	free(conf);
}
