/* check.c - what can be said of the configuration only when all of it is known.
 *
 * Nothing is opened: closing a database would drop the locks that a daemon in
 * this process has on it.
 *
 * Thread: see conf.h.
 */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf_impl.h"
#include "conf/names.h"
#include "conf/samefile.h"

/* Begin err with the place of a value, if a file has it. */
__attribute__((format(printf, 4, 5))) static int
fail_at(const struct conf *conf, const struct conf_origin *origin, char *err,
    const char *fmt, ...)
{
	va_list args;
	int n = 0;

	if (origin->from == CONF_FROM_FILE)
		n = snprintf(
		    err, CONF_ERR_MAX, "%.200s:%d: ", conf->file, origin->line);
	va_start(args, fmt);
	vsnprintf(err + n, CONF_ERR_MAX - (size_t)n, fmt, args);
	va_end(args);
	return -1;
}

/* Where an option of a database was set: there, or for all. */
static const struct conf_origin *
find_origin(const struct conf *conf, const struct conf_db *db, enum conf_id id)
{
	return db->origins[id].from != CONF_FROM_DEFAULT ? &db->origins[id]
							 : &conf->origins[id];
}

static bool
is_given(const struct conf *conf, const struct conf_db *db, enum conf_id id)
{
	return find_origin(conf, db, id)->from != CONF_FROM_DEFAULT;
}

/* --- One file, one purpose -------------------------------------------------- */

/* Where SQLite keeps something of a database: beside the file that a link leads
 * to. */
static const char *const side_ends[] = { "-wal", "-shm", "-journal" };

#define SIDES_N (sizeof(side_ends) / sizeof(side_ends[0]))

struct db_files {
	struct samefile own, sides[SIDES_N];
};

static int
look_up_db(struct db_files *files, const char *path)
{
	char side[PATH_MAX + 16];

	if (samefile_init(&files->own, path) < 0)
		return -1;
	for (size_t i = 0; i < SIDES_N; i++) {
		snprintf(
		    side, sizeof(side), "%s%s", files->own.real, side_ends[i]);
		if (samefile_init(&files->sides[i], side) < 0)
			return -1;
	}
	return 0;
}

static bool
is_side_file(const struct samefile *file, const struct db_files *db)
{
	for (size_t i = 0; i < SIDES_N; i++)
		if (samefile_is(file, &db->sides[i]))
			return true;
	return false;
}

static int
check_pair(const struct conf *conf, const struct db_files *files, size_t i,
    size_t j, char *err)
{
	const struct conf_db *db = &conf->dbs[i], *other = &conf->dbs[j];
	const struct conf_origin *origin = &db->origins[CONF_ID_path];

	if (j < i && samefile_is(&files[i].own, &files[j].own))
		return fail_at(conf, origin, err,
		    "database %s: %.150s is the same file as %.150s, which is "
		    "database %s: remove one of them",
		    db->name, db->path, other->path, other->name);
	/* the WAL of one may be named before it */
	if (j != i && is_side_file(&files[i].own, &files[j]))
		return fail_at(conf, origin, err,
		    "database %s: %.200s belongs to database %s, where SQLite "
		    "keeps a part of it: choose another path",
		    db->name, db->path, other->name);
	return 0;
}

/* What else is put at a path. */
static const struct {
	const char *name;
	size_t offset;
	enum conf_id id;
} places[] = {
	{ "socket", offsetof(struct conf, socket), CONF_ID_socket },
	{ "metrics_socket", offsetof(struct conf, metrics_socket),
	    CONF_ID_metrics_socket },
	{ "log_file", offsetof(struct conf, log_file), CONF_ID_log_file },
};

#define PLACES_N (sizeof(places) / sizeof(places[0]))

static const char *
get_place(const struct conf *conf, size_t i)
{
	const char *path = *(
	    char *const *)((const char *)conf + places[i].offset);

	return places[i].id == CONF_ID_metrics_socket &&
		strcmp(path, "off") == 0
	    ? ""
	    : path;
}

/* What all the paths lead to; those of places that are not given are zero. */
struct lookup {
	struct samefile places[PLACES_N];
	struct db_files *dbs;
};

static int
check_place(
    const struct conf *conf, const struct lookup *found, size_t i, char *err)
{
	const struct conf_origin *origin = &conf->origins[places[i].id];
	const struct samefile *file = &found->places[i];
	const char *path = get_place(conf, i);

	for (size_t j = 0; j < i; j++) {
		if (found->places[j].real != NULL &&
		    samefile_is(file, &found->places[j]))
			return fail_at(conf, origin, err,
			    "%s: %.200s is the %s: choose another path",
			    places[i].name, path, places[j].name);
	}
	for (size_t j = 0; j < conf->db_n; j++) {
		if (samefile_is(file, &found->dbs[j].own) ||
		    is_side_file(file, &found->dbs[j]))
			return fail_at(conf, origin, err,
			    "%s: %.200s belongs to database %s: choose another "
			    "path",
			    places[i].name, path, conf->dbs[j].name);
	}
	return 0;
}

static int
compare_all(const struct conf *conf, const struct lookup *found, char *err)
{
	for (size_t i = 0; i < PLACES_N; i++) {
		if (found->places[i].real != NULL &&
		    check_place(conf, found, i, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < conf->db_n; i++) {
		for (size_t j = 0; j < conf->db_n; j++) {
			if (check_pair(conf, found->dbs, i, j, err) < 0)
				return -1;
		}
	}
	return 0;
}

static int
look_up_all(const struct conf *conf, struct lookup *found)
{
	found->dbs = calloc(conf->db_n + 1, sizeof(*found->dbs));
	if (!found->dbs)
		return -1;
	for (size_t i = 0; i < PLACES_N; i++) {
		const char *path = get_place(conf, i);

		if (path[0] != '\0' &&
		    samefile_init(&found->places[i], path) < 0)
			return -1;
	}
	for (size_t i = 0; i < conf->db_n; i++)
		if (look_up_db(&found->dbs[i], conf->dbs[i].path) < 0)
			return -1;
	return 0;
}

static void
forget_all(const struct conf *conf, struct lookup *found)
{
	for (size_t i = 0; i < PLACES_N; i++)
		samefile_fini(&found->places[i]);
	for (size_t i = 0; found->dbs && i < conf->db_n; i++) {
		samefile_fini(&found->dbs[i].own);
		for (size_t j = 0; j < SIDES_N; j++)
			samefile_fini(&found->dbs[i].sides[j]);
	}
	free(found->dbs);
}

/* Each path is looked up once, and not for each pair: with 200 databases that took
 * 3 s (NOTES.md in tests/bench). */
static int
check_files(const struct conf *conf, char *err)
{
	struct lookup found = { 0 };
	int rc;

	if (look_up_all(conf, &found) < 0) {
		snprintf(err, CONF_ERR_MAX, "out of memory");
		rc = -1;
	} else {
		rc = compare_all(conf, &found, err);
	}
	forget_all(conf, &found);
	return rc;
}

/* --- Values that exclude each other ------------------------------------------ */

static bool
has_low_hard_limit(const struct conf *conf, const struct conf_db *db)
{
	(void)conf;
	return db->wal_hard_limit_bytes < db->wal_limit_bytes;
}

static bool
waits_for_nobody(const struct conf *conf, const struct conf_db *db)
{
	(void)conf;
	return db->access == CONF_ACCESS_EXCLUSIVE &&
	    db->origins[CONF_ID_busy_wait].from != CONF_FROM_DEFAULT;
}

static bool
shuts_out_checkpoints(const struct conf *conf, const struct conf_db *db)
{
	(void)conf;
	return db->checkpoint == CONF_CHECKPOINT_EXTERNAL &&
	    db->access != CONF_ACCESS_SHARED;
}

static bool
reads_by_writing(const struct conf *conf, const struct conf_db *db)
{
	(void)conf;
	return !db->readers->all && db->writers->all;
}

static bool
ends_before_idle(const struct conf *conf, const struct conf_db *db)
{
	return db->tx_idle_timeout_us > db->tx_max_age_us &&
	    is_given(conf, db, CONF_ID_tx_idle_timeout);
}

static bool
keeps_too_many(const struct conf *conf, const struct conf_db *db)
{
	(void)conf;
	return db->min_read_connections > db->read_connections;
}

/* What a database cannot be at once; the place of the first option that was
 * given is said. */
static const struct {
	bool (*is_broken)(const struct conf *conf, const struct conf_db *db);
	enum conf_id ids[2];
	const char *text;
} rules[] = {
	{ has_low_hard_limit, { CONF_ID_wal_hard_limit, CONF_ID_wal_limit },
	    "wal_hard_limit is below wal_limit, so that writes would be slowed "
	    "down before the WAL may begin anew: raise it" },
	{ waits_for_nobody, { CONF_ID_busy_wait, CONF_ID_access },
	    "nobody can make it wait, since access = exclusive: remove "
	    "busy_wait, or write access = shared" },
	{ shuts_out_checkpoints, { CONF_ID_checkpoint, CONF_ID_access },
	    "checkpoint = external leaves checkpoints to another program, which "
	    "cannot open the file unless access = shared: write that, or remove "
	    "it" },
	{ reads_by_writing, { CONF_ID_readers, CONF_ID_writers },
	    "readers are chosen, but everybody may write, and who may write may "
	    "read: choose the writers, too" },
	{ ends_before_idle, { CONF_ID_tx_idle_timeout, CONF_ID_tx_max_age },
	    "a transaction cannot be idle for tx_idle_timeout, since it ends at "
	    "tx_max_age before: lower the one or raise the other" },
	{ keeps_too_many,
	    { CONF_ID_min_read_connections, CONF_ID_read_connections },
	    "min_read_connections are more than the read_connections there may "
	    "be: lower the one or raise the other" },
};

int
conf_check_db(const struct conf *conf, const struct conf_db *db, char *err)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		enum conf_id id =
		    rules[i].ids[is_given(conf, db, rules[i].ids[0]) ? 0 : 1];

		if (rules[i].is_broken(conf, db))
			return fail_at(conf, find_origin(conf, db, id), err,
			    "database %s: %s",
			    db->name[0] ? db->name : "of the directory",
			    rules[i].text);
	}
	return 0;
}

int
conf_parse_port(const char *text, bool *ret_v6, uint16_t *ret_port)
{
	static const char *const hosts[] = { "127.0.0.1:", "[::1]:" };
	bool v6 = text[0] == '[';
	unsigned long port;
	char *end;

	if (strncmp(text, hosts[v6], strlen(hosts[v6])) == 0)
		text += strlen(hosts[v6]);
	port = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || port < 1 || port > UINT16_MAX)
		return -1;
	*ret_v6 = v6;
	*ret_port = (uint16_t)port;
	return 0;
}

static int
check_port(const struct conf *conf, char *err)
{
	const char *text = conf->metrics_listen;
	uint16_t port;
	bool v6;

	if (text[0] == '\0' || conf_parse_port(text, &v6, &port) == 0)
		return 0;
	return fail_at(conf, &conf->origins[CONF_ID_metrics_listen], err,
	    "metrics_listen = %s: write a port of this host alone, as in "
	    "127.0.0.1:9187 or [::1]:9187, and put a proxy in front of it for "
	    "others",
	    text);
}

int
conf_check(const struct conf *conf, char err[CONF_ERR_MAX])
{
	if (check_port(conf, err) < 0)
		return -1;
	for (size_t i = 0; i < conf->db_n; i++) {
		if (conf_check_db(conf, &conf->dbs[i], err) < 0)
			return -1;
	}
	if (conf->directory[0] != '\0' &&
	    conf_check_db(conf, &conf->db_default, err) < 0)
		return -1;
	return check_files(conf, err);
}

/* --- Places ------------------------------------------------------------------ */

/* The directory that a file is, or will be, in. */
static void
get_directory(const char *path, char out[PATH_MAX])
{
	char copy[PATH_MAX];

	snprintf(copy, sizeof(copy), "%s", path);
	snprintf(out, PATH_MAX, "%s", dirname(copy));
}

static int
check_directory(const char *dir, int mode, char *err, size_t n)
{
	struct stat st;

	if (stat(dir, &st) < 0)
		snprintf(err, n,
		    "directory %.200s: %s: create it or correct "
		    "the path",
		    dir, strerror(errno));
	else if (!S_ISDIR(st.st_mode))
		snprintf(
		    err, n, "%.200s is not a directory: correct the path", dir);
	else if (access(dir, mode) < 0)
		snprintf(err, n,
		    "directory %.200s cannot be written by uid %u (%s): change "
		    "its owner or mode",
		    dir, (unsigned)geteuid(), strerror(errno));
	else
		return 0;
	return -1;
}

static int
check_database(const struct conf_db *db, char *err, size_t n)
{
	char dir[PATH_MAX];
	struct stat st;

	get_directory(db->path, dir);
	if (check_directory(dir, W_OK | X_OK, err, n) < 0)
		return -1;
	if (stat(db->path, &st) < 0) {
		if (errno == ENOENT)
			return 0; /* it will be made */
		st.st_mode = 0;
	}
	if (S_ISDIR(st.st_mode))
		snprintf(err, n,
		    "%.200s is a directory: give the path of a file in it",
		    db->path);
	else if (st.st_mode != 0 && !S_ISREG(st.st_mode))
		snprintf(err, n,
		    "%.200s is not a regular file: give the path of one",
		    db->path);
	else if (access(db->path, R_OK | W_OK) < 0)
		snprintf(err, n,
		    "%.200s cannot be read and written by uid %u (%s): change "
		    "its owner or mode",
		    db->path, (unsigned)geteuid(), strerror(errno));
	else
		return 0;
	return -1;
}

/* Say why with the place of the value, if there is a why. */
static int
say_at(const struct conf *conf, const struct conf_origin *origin,
    const char *what, const char *why, void (*say)(const char *line))
{
	char line[CONF_ERR_MAX];

	fail_at(conf, origin, line, "%s: %s", what, why);
	say(line);
	return 1;
}

static int
check_socket(const struct conf *conf, size_t i, void (*say)(const char *line))
{
	const char *path = get_place(conf, i);
	char why[CONF_ERR_MAX], dir[PATH_MAX];
	struct stat st;

	if (path[0] == '\0')
		return 0;
	get_directory(path, dir);
	if (check_directory(dir, F_OK, why, sizeof(why)) == 0) {
		if (lstat(path, &st) < 0 || S_ISSOCK(st.st_mode))
			return 0;
		snprintf(why, sizeof(why),
		    "%.200s exists and is not a socket: remove it, or choose "
		    "another path",
		    path);
	}
	return say_at(
	    conf, &conf->origins[places[i].id], places[i].name, why, say);
}

/* Root may have read it, and another user is to read it again. */
static int
check_conf_file(const struct conf *conf, void (*say)(const char *line))
{
	char line[CONF_ERR_MAX];

	if (conf->file[0] == '\0' || access(conf->file, R_OK) == 0)
		return 0;
	snprintf(line, sizeof(line),
	    "%.200s cannot be read by uid %u (%s), so that it could not be "
	    "reloaded: change its owner or mode",
	    conf->file, (unsigned)geteuid(), strerror(errno));
	say(line);
	return 1;
}

int
conf_check_places(const struct conf *conf, void (*say)(const char *line))
{
	char why[CONF_ERR_MAX], what[CONF_NAME_MAX + 16], dir[PATH_MAX];
	int n = check_conf_file(conf, say);

	n += check_socket(conf, 0, say);
	n += check_socket(conf, 1, say);
	if (conf->directory[0] != '\0' &&
	    check_directory(conf->directory, W_OK | X_OK, why, sizeof(why)) < 0)
		n += say_at(conf, &conf->origins[CONF_ID_directory],
		    "databases", why, say);
	if (conf->log_file[0] != '\0') {
		get_directory(conf->log_file, dir);
		if (check_directory(dir, W_OK | X_OK, why, sizeof(why)) < 0)
			n += say_at(conf, &conf->origins[CONF_ID_log_file],
			    "log_file", why, say);
	}
	for (size_t i = 0; i < conf->db_n; i++) {
		const struct conf_db *db = &conf->dbs[i];

		if (check_database(db, why, sizeof(why)) == 0)
			continue;
		snprintf(what, sizeof(what), "database %s", db->name);
		n += say_at(conf, &db->origins[CONF_ID_path], what, why, say);
	}
	return n;
}
