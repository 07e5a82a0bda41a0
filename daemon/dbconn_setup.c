/* dbconn_setup.c - SQLite's library and a connection, set up.
 *
 * Thread: dbconn_setup_library the main one, before others; the rest whoever owns
 * the connection at the moment. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/dbconn_impl.h"
#include "daemon/trickle.h"
#include "proto/error.h"

/* A connection of this process never meets a lock for long: the writer is one,
 * WAL readers take none.  This bounds what is left, such as recovery when the
 * file is opened. */
#define INNER_BUSY_MS 1000

/* A statement journal up to this size stays in memory, else it goes to a file that
 * costs as much as a small write: design, "Library set-up".  It is allocated and
 * written as one piece, and SQLite 3.40's unix VFS loses the upper bits of pieces
 * over 128 KB - 1 ("database or disk is full"): tests/check_library.c. */
#define STATEMENT_JOURNAL_BYTES (120 << 10)

/* The longest pattern there: 20 ms for a text of 64 KB.  As sqlite.org/security.html
 * has it for whom nobody trusts. */
#define SMALL_PATTERN_BYTES 50

static const char *const verb_sql[DBCONN_VERBS_N] = {
	[DBCONN_BEGIN] = "BEGIN",
	[DBCONN_BEGIN_IMMEDIATE] = "BEGIN IMMEDIATE",
	[DBCONN_SNAPSHOT] = "SELECT 1 FROM sqlite_schema LIMIT 1",
	[DBCONN_COMMIT] = "COMMIT",
	[DBCONN_ROLLBACK] = "ROLLBACK",
	[DBCONN_SAVEPOINT_BATCH] = "SAVEPOINT \"sqlpoold batch\"",
	[DBCONN_RELEASE_BATCH] = "RELEASE \"sqlpoold batch\"",
	[DBCONN_UNDO_BATCH] = "ROLLBACK TO \"sqlpoold batch\"",
	[DBCONN_SAVEPOINT_STEP] = "SAVEPOINT \"sqlpoold step\"",
	[DBCONN_RELEASE_STEP] = "RELEASE \"sqlpoold step\"",
	[DBCONN_UNDO_STEP] = "ROLLBACK TO \"sqlpoold step\"",
};

int
dbconn_setup_library(void)
{
	/* facts.md 0.3: with MEMSTATUS on, every small allocation takes one
	 * global mutex; section 2: a statement journal that spills goes to
	 * /var/tmp */
	if (sqlite3_config(SQLITE_CONFIG_MULTITHREAD) != SQLITE_OK ||
	    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) != SQLITE_OK ||
	    sqlite3_config(SQLITE_CONFIG_STMTJRNL_SPILL,
		STATEMENT_JOURNAL_BYTES) != SQLITE_OK ||
	    sqlite3_config(SQLITE_CONFIG_URI, 0) != SQLITE_OK ||
	    budget_install() < 0 || sqlite3_initialize() != SQLITE_OK)
		return -ERR_INTERNAL;
	trickle_install();
	return 0;
}

const char *
dbconn_get_library_version(void)
{
	return sqlite3_libversion();
}

/* What was changed since the session's statement began. */
static int64_t
own_changes(const struct dbconn *c)
{
	return sqlite3_total_changes64(c->db) - c->total_at_start;
}

/* Which value of struct vars a SQL function answers; the user data of the
 * function is the connection. */
static void
sql_rowid(sqlite3_context *ctx, int n, sqlite3_value **v)
{
	struct dbconn *c = sqlite3_user_data(ctx);

	(void)n;
	(void)v;
	sqlite3_result_int64(ctx, c->vars ? atomic_load(&c->vars->rowid) : 0);
}

static void
sql_changes(sqlite3_context *ctx, int n, sqlite3_value **v)
{
	struct dbconn *c = sqlite3_user_data(ctx);

	(void)n;
	(void)
	    v; /* once the statement's own triggers have changed something, SQLite's
	 * own answer is the right one */
	if (c->vars && own_changes(c) == 0)
		sqlite3_result_int64(ctx, atomic_load(&c->vars->changes));
	else
		sqlite3_result_int64(ctx, sqlite3_changes64(c->db));
}

static void
sql_total_changes(sqlite3_context *ctx, int n, sqlite3_value **v)
{
	struct dbconn *c = sqlite3_user_data(ctx);

	(void)n;
	(void)v;
	sqlite3_result_int64(
	    ctx, own_changes(c) + (c->vars ? atomic_load(&c->vars->total) : 0));
}

static bool
is_reader(const struct dbconn *c)
{
	return c->role == DBCONN_HOT || c->role == DBCONN_READER;
}

/* Whoever ran on this connection before, the session is told of its own writes.
 * The rowid can be set on the connection, so the writer's is SQLite's own: it
 * changes within triggers.  As SQLite's own they may stand in triggers, views and
 * defaults, though the schema is not trusted. */
static int
add_functions(struct dbconn *c)
{
	static const struct {
		const char *name;
		void (*call)(sqlite3_context *, int, sqlite3_value **);
	} functions[] = {
		{ "changes", sql_changes },
		{ "total_changes", sql_total_changes },
		{ "last_insert_rowid", sql_rowid },
	};
	size_t n = is_reader(c) ? 3 : 2;

	for (size_t i = 0; i < n; i++) {
		int rc = sqlite3_create_function_v2(c->db, functions[i].name, 0,
		    SQLITE_UTF8 | SQLITE_INNOCUOUS, c, functions[i].call, NULL,
		    NULL, NULL);

		if (rc != SQLITE_OK)
			return rc;
	}
	return SQLITE_OK;
}

static int
exec_sql(struct dbconn *c, struct failure *f, const char *sql)
{
	int rc = sqlite3_exec(c->db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : dbconn_fail(c, rc, f);
}

/* PRAGMA journal_mode answers the mode that is in force. */
static int
switch_to_wal(struct dbconn *c, struct failure *f)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(
	    c->db, "PRAGMA journal_mode=WAL", -1, &st, NULL);
	int result = 0;

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc != SQLITE_ROW)
		result = dbconn_fail(c, rc, f);
	else if (strcmp((const char *)sqlite3_column_text(st, 0), "wal") != 0)
		result = failure_set(f, ERR_DATABASE_DOWN,
		    "cannot switch %s to WAL mode: it stays in mode %s",
		    c->conf->path, (const char *)sqlite3_column_text(st, 0));
	sqlite3_finalize(st);
	return result;
}

static int
apply_conf(struct dbconn *c, struct failure *f)
{
	char sql[320];
	int rc = c->role == DBCONN_WRITER ? switch_to_wal(c, f) : 0;
	/* With temp_store in memory SQLite keeps all of a statement's journal
	 * there, too (subjInMemory in pager.c), and what makes an index or a
	 * VACUUM needs as much as the file has. */
	bool temp_in_file = c->role == DBCONN_WRITER ||
	    c->conf->temp_store == CONF_TEMP_FILE;

	if (rc < 0)
		return rc;
	/* temp_store, mmap_size: design, "Library set-up" */
	snprintf(sql, sizeof(sql),
	    "PRAGMA synchronous=%s; PRAGMA foreign_keys=%d;"
	    "PRAGMA cache_size=-%lld; PRAGMA temp_store=%s;"
	    "PRAGMA mmap_size=0; PRAGMA query_only=%d",
	    c->conf->synchronous == CONF_SYNC_FULL ? "FULL" : "NORMAL",
	    c->conf->foreign_keys ? 1 : 0,
	    (long long)c->conf->cache_bytes / 1024,
	    temp_in_file ? "FILE" : "MEMORY", is_reader(c) ? 1 : 0);
	return exec_sql(c, f, sql);
}

static int
read_page_size(struct dbconn *c, struct failure *f)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(c->db, "PRAGMA page_size", -1, &st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	c->page_bytes = rc == SQLITE_ROW ? sqlite3_column_int(st, 0) : 0;
	sqlite3_finalize(st);
	return rc == SQLITE_ROW ? 0 : dbconn_fail(c, rc, f);
}

static int
prepare_verbs(struct dbconn *c, struct failure *f)
{
	for (int i = 0; i < DBCONN_VERBS_N; i++) {
		int rc = sqlite3_prepare_v3(c->db, verb_sql[i], -1,
		    SQLITE_PREPARE_PERSISTENT, &c->verbs[i], NULL);

		if (rc != SQLITE_OK)
			return dbconn_fail(c, rc, f);
	}
	return 0;
}

static int
load_extension(struct dbconn *c, const char *path, struct failure *f)
{
	char *message = NULL;
	int rc = sqlite3_load_extension(c->db, path, NULL, &message);

	if (rc != SQLITE_OK)
		rc = failure_set(f, ERR_DATABASE_DOWN,
		    "cannot load extension %s: %s; correct extensions of "
		    "database %s, or install it",
		    path, message ? message : sqlite3_errstr(rc),
		    c->conf->name);
	sqlite3_free(message);
	return rc;
}

/* sqlite.org/c3ref/load_extension.html: the switch is that of the C function, and
 * is off again afterwards; that of SQL's was never on. */
static int
load_extensions(struct dbconn *c, struct failure *f)
{
	char *list, *path, *rest = NULL;
	int rc = 0;

	if (c->role == DBCONN_KEEPER || !c->conf->extensions[0])
		return 0;
	list = strdup(c->conf->extensions);
	if (!list)
		return failure_set(f, ERR_NO_MEMORY, "out of memory");
	sqlite3_db_config(
	    c->db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, NULL);
	for (path = strtok_r(list, ":", &rest); path && rc == 0;
	     path = strtok_r(NULL, ":", &rest))
		rc = load_extension(c, path, f);
	sqlite3_db_config(
	    c->db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
	c->guard.extended = true;
	free(list);
	return rc;
}

int
dbconn_set_up(struct dbconn *c, struct failure *f)
{
	int rc = load_extensions(c, f);

	if (rc < 0)
		return rc;

	sqlite3_extended_result_codes(c->db, 1);
	c->busy_ms = c->conf->access == CONF_ACCESS_SHARED
	    ? (int)(c->conf->busy_wait_us / 1000)
	    : INNER_BUSY_MS;
	dbconn_set_busy_timeout(c);
	rc = guard_install(&c->guard, c->db);
	if (c->role == DBCONN_HOT)
		sqlite3_limit(c->db, SQLITE_LIMIT_LIKE_PATTERN_LENGTH,
		    SMALL_PATTERN_BYTES);
	if (rc == SQLITE_OK)
		rc = sqlite3_wal_autocheckpoint(c->db, 0);
	if (rc == SQLITE_OK)
		rc = add_functions(c);
	if (rc == SQLITE_OK)
		rc = functions_add(&c->functions, c->db);
	/* The others never are the last that closes, unless the file was replaced
	 * just now: then they have the new one, and the WAL is the old one's. */
	if (rc == SQLITE_OK &&
	    (c->role != DBCONN_WRITER ||
		c->conf->checkpoint == CONF_CHECKPOINT_EXTERNAL))
		dbconn_keep_wal(c);
	if (rc != SQLITE_OK)
		return dbconn_fail(c, rc, f);
	dbconn_hook(c);
	c->guard.internal = true;
	rc = apply_conf(c, f);
	if (rc == 0)
		rc = read_page_size(c, f);
	if (rc == 0)
		rc = prepare_verbs(c, f);
	if (rc == 0) /* the schema is parsed now, not at the first query */
		rc = dbconn_run(c, DBCONN_SNAPSHOT, f);
	c->guard.internal = false;
	/* from now on its line waits for a lock, and not a thread: writer.c */
	if (c->role == DBCONN_WRITER)
		c->busy_ms = 0;
	dbconn_set_busy_timeout(c);
	return rc;
}
