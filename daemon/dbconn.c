/* dbconn.c - open, control and close a connection.
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
#include "proto/error.h"

/* The progress handler is called every so many opcodes: 20 to 30 us, within the
 * noise of what the query costs (facts.md section 4). */
#define PROGRESS_OPCODES 1000

/* The same for one with LIKE or GLOB, of which each may take milliseconds: about
 * each row of a scan. */
#define PROGRESS_OPCODES_LONG 8

/* What a statement may have on a worker, where it must not run for longer than a
 * moment: of memory, which takes time to fill, and of one value, since the time of
 * the functions that nothing can stop grows with it, with its square at worst:
 * 0.03 s for 64 KB, 8 s for 1 MB (tests/check_long.c). */
#define SMALL_MEMORY_BYTES (8 << 20)
#define SMALL_VALUE_BYTES  (64 << 10)

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

void
dbconn_hook(struct dbconn *c)
{
	sqlite3_wal_hook(c->db, on_wal, c);
	sqlite3_progress_handler(c->db, PROGRESS_OPCODES, on_progress, c);
}

void
dbconn_set_busy_timeout(struct dbconn *c)
{
	sqlite3_busy_timeout(c->db, c->busy_ms);
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
		rc = rc == SQLITE_OK ? dbconn_set_up(c, f)
				     : dbconn_fail(c, rc, f);
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
	rc = sqlite3_exec(c->db, sql, NULL, NULL, NULL);
	c->guard.internal = false;
	sqlite3_free(sql);
	return rc == SQLITE_OK ? 0 : dbconn_fail(c, rc, f);
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
