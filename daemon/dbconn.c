/* dbconn.c - open, set up, control and close a connection.
 *
 * Thread: whoever owns the connection at the moment. */
#include "daemon/dbconn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/beat.h"
#include "daemon/clock.h"
#include "daemon/dbconn_impl.h"
#include "daemon/stats.h"
#include "daemon/trickle.h"
#include "proto/error.h"

/* The progress handler is called every so many opcodes: 20 to 30 us, within the
 * noise of what the query costs (facts.md section 4). */
#define PROGRESS_OPCODES 1000

/* The same for one with LIKE or GLOB, of which each may take milliseconds: about
 * each row of a scan. */
#define PROGRESS_OPCODES_LONG 8

/* A connection of this process never meets a lock for long: the writer is one,
 * WAL readers take none.  This bounds what is left, such as recovery when the
 * file is opened. */
#define INNER_BUSY_MS 1000

/* A statement journal up to this size stays in memory, else it goes to a file that
 * costs as much as a small write: design, "Library set-up".  It is allocated and
 * written as one piece, and SQLite 3.40's unix VFS loses the upper bits of pieces
 * over 128 KB - 1 ("database or disk is full"): tests/check_library.c. */
#define STATEMENT_JOURNAL_BYTES (120 << 10)

/* What a statement may have on a worker, where it must not run for longer than a
 * moment: of memory, which takes time to fill, and of one value, since the time of
 * the functions that nothing can stop grows with it, with its square at worst:
 * 0.03 s for 64 KB, 8 s for 1 MB (tests/check_long.c). */
#define SMALL_MEMORY_BYTES (8 << 20)
#define SMALL_VALUE_BYTES  (64 << 10)

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

static int
fail_total(const struct budget *b, struct failure *f)
{
	stats_add(STAT_memory_full, 1);
	failure_set(f, ERR_MEMORY_FULL,
	    "the long reads that run have %lld KB of memory together, %lld KB "
	    "of it this connection's, which may have no more than it leaves of "
	    "total_memory; try again later, read results to their end, have "
	    "this one sort, group or collect less at a time, or raise "
	    "total_memory",
	    (long long)budget_get_total() / 1024,
	    b->mine ? (long long)atomic_load(b->mine) / 1024 : 0);
	f->retry_ms = 100;
	return -ERR_MEMORY_FULL;
}

int
dbconn_fail_memory(const struct dbconn *c, struct failure *f)
{
	if (!c->memory.hit)
		return failure_set(f, ERR_NO_MEMORY, "out of memory");
	if (c->memory.hit_total)
		return fail_total(&c->memory, f);
	return failure_set(f, ERR_MEMORY_LIMIT,
	    "the statement needed more than %lld KB of memory, the limit of "
	    "request_memory; have it sort, group or collect less at a time, or "
	    "raise request_memory; a large sort fits with temp_store = file",
	    (long long)c->conf->request_memory_bytes / 1024);
}

bool
dbconn_is_pattern_too_long(const struct dbconn *c, int rc)
{
	return rc == SQLITE_ERROR &&
	    strcmp(sqlite3_errmsg(c->db), "LIKE or GLOB pattern too complex") ==
	    0;
}

/* SQLite's message; its own where the limit is ours. */
static const char *
get_message(const struct dbconn *c, int code)
{
	if (dbconn_is_pattern_too_long(c, code))
		return "a LIKE or GLOB pattern may have at most 256 bytes; "
		       "find longer text with instr()";
	return sqlite3_errmsg(c->db);
}

int
dbconn_fail_locked(const struct dbconn *c, struct failure *f)
{
	return failure_set(f, ERR_EXTERNAL_BUSY,
	    "a process outside the daemon holds the lock on %s; find it with: "
	    "fuser -v %s",
	    c->conf->path, c->conf->path);
}

int
dbconn_fail(struct dbconn *c, int rc, struct failure *f)
{
	int code = c->db ? sqlite3_extended_errcode(c->db) : rc;
	int primary;

	if (code == SQLITE_OK || (code & 0xff) != (rc & 0xff))
		code = rc;
	primary = code & 0xff;
	if (c->memory.hit &&
	    (primary == SQLITE_NOMEM || code == SQLITE_IOERR_NOMEM))
		return dbconn_fail_memory(c, f);
	if (primary == SQLITE_BUSY && code != SQLITE_BUSY_SNAPSHOT)
		return dbconn_fail_locked(c, f);
	failure_set(f, code, "%s",
	    c->db && code == sqlite3_extended_errcode(c->db)
		? get_message(c, code)
		: sqlite3_errstr(code));
	if (c->db)
		f->offset = sqlite3_error_offset(c->db);
	return -code;
}

static uint32_t
count(sqlite3_stmt *st, int op)
{
	return (uint32_t)sqlite3_stmt_status(st, op, 0);
}

/* The statement that runs is no short one: slow.h. */
static void
note_began(struct dbconn *c)
{
	sqlite3_stmt *st = c->running;

	c->began_us = clock_now_us();
	if (!st)
		return;
	c->before = (struct effort){
		count(st, SQLITE_STMTSTATUS_FULLSCAN_STEP),
		count(st, SQLITE_STMTSTATUS_SORT),
		count(st, SQLITE_STMTSTATUS_AUTOINDEX),
		count(st, SQLITE_STMTSTATUS_VM_STEP),
	};
}

static int
on_progress(void *arg)
{
	struct dbconn *c = arg;

	if (c->began_us == 0)
		note_began(c);
	beat_now();

	if (c->stop && atomic_load_explicit(c->stop, memory_order_relaxed))
		return 1;
	if (c->budget_end_us && clock_now_us() > c->budget_end_us) {
		c->over_budget = true;
		return 1;
	}
	return 0;
}

void
dbconn_set_pace(struct dbconn *c, bool often)
{
	if (c->looks_often == often)
		return;
	c->looks_often = often;
	sqlite3_progress_handler(c->db,
	    often ? PROGRESS_OPCODES_LONG : PROGRESS_OPCODES, on_progress, c);
}

static int
on_wal(void *arg, sqlite3 *db, const char *name, int frames)
{
	struct dbconn *c = arg;

	(void)db;
	(void)name;
	c->wal_frames = (uint32_t)frames;
	return SQLITE_OK;
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
 * changes within triggers. */
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
		    SQLITE_UTF8, c, functions[i].call, NULL, NULL, NULL);

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

void
dbconn_set_busy_timeout(struct dbconn *c)
{
	sqlite3_busy_timeout(c->db, c->busy_ms);
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

static int
set_up(struct dbconn *c, struct failure *f)
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
	sqlite3_wal_hook(c->db, on_wal, c);
	sqlite3_progress_handler(c->db, PROGRESS_OPCODES, on_progress, c);
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

/* The keeper runs nothing of a client. */
static bool
open_stats(struct dbconn *c)
{
	static const enum stats_road roads[] = {
		[DBCONN_WRITER] = STATS_WRITER,
		[DBCONN_HOT] = STATS_INLINE,
		[DBCONN_READER] = STATS_READER,
	};

	if (c->role == DBCONN_KEEPER)
		return true;
	c->stats = stats_open(
	    c->conf->family ? c->conf->family : c->conf->name, roads[c->role]);
	return c->stats != NULL;
}

int
dbconn_open(const struct conf_db *conf, enum dbconn_role role,
    struct dbconn **ret_conn, struct failure *f)
{
	/* vfs.html, "unix-excl": other processes are kept out and the
	 * wal-index lives in the heap */
	const char *vfs = conf->access == CONF_ACCESS_SHARED ? NULL
							     : "unix-excl";
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
	    (role == DBCONN_WRITER && conf->create ? SQLITE_OPEN_CREATE : 0) |
	    (conf->family ? SQLITE_OPEN_NOFOLLOW : 0);
	struct dbconn *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return failure_set(f, ERR_NO_MEMORY, "out of memory");
	if (conf_judge_path(conf->path)) {
		free(c);
		return failure_set(
		    f, ERR_DATABASE_DOWN, "%s", conf_judge_path(conf->path));
	}
	c->conf = conf;
	c->role = role;
	c->memory.alone = role != DBCONN_READER;
	c->functions.stop = on_progress;
	c->functions.arg = c;
	if (!open_stats(c)) {
		free(c);
		return failure_set(f, ERR_NO_MEMORY, "out of memory");
	}
	rc = sqlite3_open_v2(conf->path, &c->db, flags,
	    vfs); /* SQLite opens a file that it may not write for reading */
	if (rc == SQLITE_OK && sqlite3_db_readonly(c->db, "main") == 1)
		rc = failure_set(f, SQLITE_READONLY, "it cannot be written");
	else
		rc = rc == SQLITE_OK ? set_up(c, f) : dbconn_fail(c, rc, f);
	if (rc < 0) {
		if (role != DBCONN_WRITER && c->db)
			dbconn_keep_wal(c); /* the file may be another one */
		dbconn_close(c);
		return rc;
	}
	*ret_conn = c;
	return 0;
}

void
dbconn_close(struct dbconn *c)
{
	if (!c)
		return;
	budget_end(&c->memory);
	stmt_drop_all(c);
	for (int i = 0; i < DBCONN_VERBS_N; i++)
		sqlite3_finalize(c->verbs[i]);
	sqlite3_close(c->db);
	functions_fini(&c->functions);
	stats_close(c->stats);
	free(c);
}

struct stats_set *
dbconn_get_stats(const struct dbconn *c)
{
	return c->stats;
}

void
dbconn_add_memory(struct dbconn *c, uint64_t *pages, uint64_t *statements)
{
	int now = 0, high = 0;

	sqlite3_db_status(c->db, SQLITE_DBSTATUS_CACHE_USED, &now, &high, 0);
	*pages += (uint64_t)now;
	*statements += c->cache_bytes;
}

void
dbconn_keep_wal(struct dbconn *c)
{
	sqlite3_db_config(c->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
}

bool
dbconn_has_moved(const struct dbconn *c)
{
	int moved = 0;

	/* sqlite.org/c3ref/c_fcntl_begin_atomic_write.html */
	sqlite3_file_control(c->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
	return moved;
}

void
dbconn_watch(struct dbconn *c, const _Atomic int *stop, int64_t end_us)
{
	c->stop = stop;
	c->budget_end_us = end_us;
	c->over_budget = false;
}

void
dbconn_begin_memory(struct dbconn *c)
{
	/* what fills the page cache is not the statement's */
	budget_begin(
	    &c->memory, c->conf->request_memory_bytes + c->conf->cache_bytes);
}

void
dbconn_end_memory(struct dbconn *c)
{
	budget_end(&c->memory);
}

void
dbconn_bound(struct dbconn *c)
{
	c->small = true;
	budget_begin(&c->memory, SMALL_MEMORY_BYTES + c->conf->cache_bytes);
	sqlite3_limit(c->db, SQLITE_LIMIT_LENGTH, SMALL_VALUE_BYTES);
}

void
dbconn_unbound(struct dbconn *c)
{
	c->small = false;
	sqlite3_limit(c->db, SQLITE_LIMIT_LENGTH, GUARD_VALUE_BYTES);
}

bool
dbconn_is_over_budget(const struct dbconn *c)
{
	return c->over_budget;
}

int64_t
dbconn_set_vars(struct dbconn *c, struct vars *vars)
{
	c->vars = vars;
	budget_set_client(&c->memory, vars ? &vars->memory : NULL);
	c->began_us = 0;
	c->total_at_start = sqlite3_total_changes64(c->db);
	if (c->role == DBCONN_WRITER && vars)
		sqlite3_set_last_insert_rowid(c->db,
		    atomic_load_explicit(&vars->rowid, memory_order_relaxed));
	return c->total_at_start;
}

/* The daemon's own statements are short and are never stopped: the progress
 * handler counts opcodes over all runs of a statement, and is asked after the
 * last one too, so a COMMIT could be "interrupted" after it has committed. */
int
dbconn_run(struct dbconn *c, enum dbconn_verb verb, struct failure *f)
{
	sqlite3_stmt *st = c->verbs[verb];
	const _Atomic int *stop = c->stop;
	int64_t budget_end_us = c->budget_end_us;
	int result = 0;
	int rc;

	c->stop = NULL;
	c->budget_end_us = 0;
	rc = sqlite3_step(st);
	c->stop = stop;
	c->budget_end_us = budget_end_us;
	if (rc != SQLITE_DONE && rc != SQLITE_ROW)
		result = dbconn_fail(c, rc, f);
	sqlite3_reset(st);
	return result;
}

int
dbconn_open_savepoint(struct dbconn *c, const char *name, struct failure *f)
{
	char *sql = sqlite3_mprintf("SAVEPOINT \"%w\"", name);
	int rc;

	if (!sql)
		return failure_set(f, ERR_NO_MEMORY, "out of memory");
	c->guard.internal = true;
	rc = exec_sql(c, f, sql);
	c->guard.internal = false;
	sqlite3_free(sql);
	return rc;
}

bool
dbconn_in_tx(const struct dbconn *c)
{
	return sqlite3_get_autocommit(c->db) == 0;
}

bool
dbconn_has_snapshot(const struct dbconn *c)
{
	return sqlite3_txn_state(c->db, "main") != SQLITE_TXN_NONE;
}

bool
dbconn_has_fk_debt(struct dbconn *c)
{
	int now = 0, high = 0;

	if (!c->conf->foreign_keys)
		return false;
	/* sqlite.org/c3ref/c_dbstatus_options.html, DEFERRED_FKS */
	sqlite3_db_status(c->db, SQLITE_DBSTATUS_DEFERRED_FKS, &now, &high, 0);
	return now != 0;
}

int64_t
dbconn_get_rowid(const struct dbconn *c)
{
	return sqlite3_last_insert_rowid(c->db);
}

int64_t
dbconn_get_changes(const struct dbconn *c)
{
	return sqlite3_changes64(c->db);
}

int64_t
dbconn_get_total_changes(const struct dbconn *c)
{
	return sqlite3_total_changes64(c->db);
}
