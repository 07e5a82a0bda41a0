/* conf.h - the configuration: read once, before there are threads.
 *
 * The options are listed in options.def; the fields below, the parser, the
 * example file, `-o name=value`, the environment's SQLPOOLD_NAME and what
 * conf_walk shows all come from that list.  Whatever is set later wins: the
 * file, then the environment, then the command line.
 *
 * Nothing here logs.  A function that fails returns -1 and writes one line to
 * the caller's err: where (file and line), what is wrong, and what to write
 * instead.  (These are not codes of errors.def: that table is the wire's, and
 * the only use of a configuration error is to be read by a person.)  The struct
 * conf is then incomplete, and the caller frees it.
 *
 * Thread: libconfuse's scanner has global state, so one thread at a time.  A
 * struct conf that nobody changes any more may be read by all; conf_reload says
 * what changes then.
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CONF_ERR_MAX 512
/* sun_path of sockaddr_un is 108 bytes with its NUL: unix(7). */
#define CONF_SOCKET_MAX 107
#define CONF_PATH_MAX   4000
#define CONF_NAME_MAX   64

/* Units of the bounds in options.def.  Sizes are 1024-based. */
#define CONF_US   INT64_C(1)
#define CONF_MS   (INT64_C(1000) * CONF_US)
#define CONF_SEC  (INT64_C(1000) * CONF_MS)
#define CONF_MIN  (INT64_C(60) * CONF_SEC)
#define CONF_HOUR (INT64_C(60) * CONF_MIN)
#define CONF_KB   (INT64_C(1) << 10)
#define CONF_MB   (INT64_C(1) << 20)
#define CONF_GB   (INT64_C(1) << 30)

enum conf_log_level {
	CONF_LOG_ERROR,
	CONF_LOG_WARN,
	CONF_LOG_INFO,
	CONF_LOG_DEBUG,
};

enum conf_log_format {
	CONF_FORMAT_TEXT,
	CONF_FORMAT_JSON,
};

enum conf_access {
	CONF_ACCESS_EXCLUSIVE, /* the unix-excl VFS: nobody else gets in */
	CONF_ACCESS_SHARED,    /* the plain VFS: other tools may open it */
};

enum conf_sync {
	CONF_SYNC_FULL,
	CONF_SYNC_NORMAL,
};

enum conf_checkpoint {
	CONF_CHECKPOINT_DAEMON,
	CONF_CHECKPOINT_EXTERNAL, /* left to a tool such as Litestream */
};

/* Where a value comes from; later ones go before earlier ones. */
enum conf_from {
	CONF_FROM_DEFAULT,
	CONF_FROM_FILE,
	CONF_FROM_ENVIRONMENT,
	CONF_FROM_COMMAND_LINE,
	CONF_FROM_SET, /* conf_change: until another reading of the file */
};

struct conf_origin {
	enum conf_from from;
	int line; /* in the file */
};

/* An option's number, by which origins are indexed. */
enum conf_id {
#define OPTION(scope, type, name, field, min, max, def, reload, text) \
	CONF_ID_##name,
#include "conf/options.def"
	CONF_OPTIONS_N,
};

enum conf_temp_store {
	CONF_TEMP_MEMORY,
	CONF_TEMP_FILE,
};

/* The C type of each option type. */
#define CONF_C_BOOL       bool
#define CONF_C_COUNT      uint32_t
#define CONF_C_MODE       uint32_t
#define CONF_C_DURATION   int64_t
#define CONF_C_BYTES      int64_t
#define CONF_C_STRING     char *
#define CONF_C_USER       char *
#define CONF_C_LOG_LEVEL  enum conf_log_level
#define CONF_C_ACCESS     enum conf_access
#define CONF_C_SYNC       enum conf_sync
#define CONF_C_GROUP      char *
#define CONF_C_NAMES      struct conf_names *
#define CONF_C_LOG_FORMAT enum conf_log_format
#define CONF_C_TEMP_STORE enum conf_temp_store
#define CONF_C_CHECKPOINT enum conf_checkpoint

/* What may change while the daemon runs is read while another thread sets it. */
#define CONF_STORED_LIVE(type)  _Atomic(CONF_C_##type)
#define CONF_STORED_FIXED(type) CONF_C_##type

#define CONF_FIELD_GLOBAL_GLOBAL(type, field, reload) \
	CONF_STORED_##reload(type) field;
#define CONF_FIELD_GLOBAL_DATABASE(type, field, reload)
#define CONF_FIELD_DATABASE_DATABASE(type, field, reload) \
	CONF_STORED_##reload(type) field;
#define CONF_FIELD_DATABASE_GLOBAL(type, field, reload)

struct conf_names; /* conf/names.h */

/* One database.  Strings and names are owned by the struct and never NULL, but the name
 * and path of conf.db_default, which are "". */
struct conf_db {
	const char *family; /* borrowed: the directory it was found in; NULL: it
			     * is named in the configuration */
	char *name;         /* [A-Za-z0-9_.-]{1,64}, no '.' in front */
	/* of what was set for this database itself; FROM_DEFAULT: it was not */
	struct conf_origin origins[CONF_OPTIONS_N];
#define OPTION(scope, type, name, field, min, max, def, reload, text) \
	CONF_FIELD_DATABASE_##scope(type, field, reload)
#include "conf/options.def"
};

struct conf {
#define OPTION(scope, type, name, field, min, max, def, reload, text) \
	CONF_FIELD_GLOBAL_##scope(type, field, reload)
#include "conf/options.def"
	struct conf_db db_default; /* what a new database starts with */
	struct conf_db *dbs;       /* in the order they were named; moves when
				    * one is added */
	size_t db_n;
	pthread_rwlock_t *lock; /* for dbs, db_n and the next two, when
				 * conf_reload or conf_change runs */
	char *file;             /* what was read, or "" */
	struct conf_origin origins[CONF_OPTIONS_N]; /* at the top level */
};

/* An option as it is in force.  All strings are borrowed for the call. */
struct conf_item {
	const char
	    *database; /* whose; NULL: the daemon's, or the default of all
			       * databases */
	const char *name;
	const char *value; /* as a file would have it, with quotes */
	const char *def;   /* its default, likewise */
	const char *text;  /* what it is */
	char
	    source[300]; /* "default", FILE:LINE, "environment", "command line",
		       * "SET" */
	bool live;       /* may change while the daemon runs */
	bool changed;    /* value is not the default */
};

/* Make a configuration that holds the defaults and no database.
 * NULL: out of memory. */
struct conf *conf_new(void);

/* Free it and all it holds.  NULL is fine. */
void conf_free(struct conf *conf);

/* Read a file on top of what conf holds.
 *
 * path is NUL-terminated.  Options of databases at the file's top level are
 * defaults of every database, wherever they stand in the file.  -1: the file
 * cannot be read, or a line of it is wrong; err says which and why. */
int conf_read_file(struct conf *conf, const char *path, char err[CONF_ERR_MAX]);

/* Take options from the environment: SQLPOOLD_MAX_CLIENTS sets max_clients.
 *
 * The socket's variable is SQLPOOL_SOCKET, without the D, which clients read too;
 * there an empty value is none.  -1: as conf_set; also a SQLPOOLD_ variable that
 * is no option. */
int conf_read_environment(
    struct conf *conf, char *const *environment, char err[CONF_ERR_MAX]);

/* Set one option by name, as `-o name=value` does.
 *
 * An option of databases becomes the default of all: those there are and those
 * to come, but for the ones that were given a value of their own.  A name like
 * "app.group_max" gives the database app one.  -1: no such option or database,
 * the value does not fit it, or out of memory. */
int conf_set(struct conf *conf, const char *name, const char *value,
    char err[CONF_ERR_MAX]);

/* Say why a path cannot be a database's: it names no file, but something that each
 * connection would have to itself; NULL: it may. */
const char *conf_judge_path(const char *path);

/* Read a port of the loopback interface: "127.0.0.1:9187", "[::1]:9187", the number
 * alone.  Negative: it is none. */
int conf_parse_port(const char *text, bool *ret_v6, uint16_t *ret_port);

/* Add a database, from `PATH` or `NAME=PATH`.
 *
 * Without a name it is the file's, without .db .db3 .sqlite or .sqlite3.  A
 * PATH that has a '=' in it must have a '/' before that ("./a=b.db").  The file
 * is not looked at.  -1: the name cannot be used, the name or the path is
 * already there, or out of memory. */
int conf_add_db(struct conf *conf, const char *spec, char err[CONF_ERR_MAX]);

/* Make the configuration of a database that is found in a directory: NAME.db.
 *
 * It is as all databases are, but that what nobody has set is set so: create =
 * off, idle_close = 5min.  directory is borrowed.  NULL: out of memory. */
struct conf_db *
conf_db_find(const struct conf *conf, const char *directory, const char *name);

/* Copy one.  NULL: out of memory. */
struct conf_db *conf_db_copy(const struct conf_db *from);

/* Free one.  NULL is fine. */
void conf_db_free(struct conf_db *db);

/* What a reload tells its caller. */
struct conf_changes {
	/* what needs a restart, or could not be had; NULL: nobody wants to hear */
	void (*say)(void *arg, const char *line);
	void *arg;
	struct conf_names
	    *replaced; /* lists that nothing refers to any more, but
				      * who was looking at one: names_free_all,
				      * later */
};

/* Set what may change while the daemon runs to what another reading of the
 * configuration says.  What may not is said, and goes the other way: fresh is then
 * what is in force.  For conf_reload the databases, which somebody else has
 * reloaded, move over from fresh.
 *
 * Other threads may read conf and db at the same time.  One thread at a time;
 * conf_walk may run in others. */
void conf_reload(
    struct conf *conf, struct conf *fresh, struct conf_changes *changes);
void conf_db_reload(
    struct conf_db *db, struct conf_db *fresh, struct conf_changes *changes);

/* One option that is given a number while the daemon runs. */
struct conf_change {
	enum conf_id id;
	int64_t n;
	char database[CONF_NAME_MAX + 1]; /* whose; "": the daemon's, or the
					   * default of all databases */
};

/* Read what is to change, by name as in conf_set.
 *
 * What is wrong with it is said as for a file: a value out of range, an option
 * that needs a restart.  Any thread. */
int conf_read_change(const char *name, const char *value,
    struct conf_change *ret, char err[CONF_ERR_MAX]);

/* Set it, unless options would not go together then.  -1: nothing has changed.
 * Threads: as conf_reload, and not at the same time as that. */
int conf_change(struct conf *conf, const struct conf_change *change,
    char err[CONF_ERR_MAX]);

/* Take it over into the conf of a database that is served.  Any thread. */
void conf_change_db(const struct conf *conf, const struct conf_change *change,
    struct conf_db *db);

/* Say whether a name can be a database's. */
bool conf_name_is_good(const char *name, size_t n);

/* See whether the options go together, now that all are read: no two databases
 * in one file, nothing that can never take effect.  -1: err says which do not,
 * and where that stands. */
int conf_check(const struct conf *conf, char err[CONF_ERR_MAX]);

/* See whether this process could open what is named: each database's directory
 * can be written, the socket's exists, the file can be read again.  say gets a line for each that is wrong.
 * Gives how many there are. */
int conf_check_places(const struct conf *conf, void (*say)(const char *line));

/* Show every option: those at the top level, and for each database its path and
 * what it was given itself.  -1: out of memory. */
int conf_walk(const struct conf *conf,
    void (*show)(void *arg, const struct conf_item *item), void *arg);

/* Write the configuration in force, as a file that reads back as the same; or
 * only what differs from the defaults.  -1: out of memory. */
int conf_print(const struct conf *conf, bool changed_only, FILE *out);

/* Write the example file: every option with its line of text, its range and
 * its default, commented out. */
void conf_print_example(FILE *out);

#endif
