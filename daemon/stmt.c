/* stmt.c - a connection's statements: preparing them, the cache, what is known of each.
 *
 * The cache is a hash table by SQL text.  When it is full the statement that
 * was used longest ago goes; it is found by looking at all of them, which costs
 * less than the prepare that follows it.
 *
 * Thread: whoever owns the connection at the moment. */
#include <stdlib.h>
#include <string.h>

#include "daemon/dbconn_impl.h"
#include "daemon/setting.h"
#include "daemon/stats.h"
#include "daemon/tally.h"
#include "proto/error.h"
#include "proto/value.h"

/* uthash's own takes one byte at a time. */
#define HASH_FUNCTION(p, n, ret) ((ret) = hash_text(p, n))
#define HASH_NONFATAL_OOM        1
#include "daemon/stmt_impl.h"

/* After a statement proved too long for a worker, so many of its next runs go
 * to a heavy reader at once; then it gets another chance. */
#define HEAVY_RUNS 64

/* A connection keeps no more statements than take this much: 2 to 9 KB each are
 * usual (facts.md 3.1). */
#define CACHE_BYTES_MAX ((size_t)8 << 20)

/* Preparing cannot be stopped, so it has a bound in memory, which bounds the time
 * as well: 32 MB take about 0.1 s.  Long texts need more: a list of values takes 20
 * bytes for each byte (tests/check_long.c). */
#define PREPARE_BYTES     (INT64_C(32) << 20)
#define PREPARE_PER_BYTE  32
#define SCHEMA_BYTES_MUCH (4 << 20)
/* Of a script's statement only the beginning is known. */
#define SCRIPT_BYTES_MAX ((size_t)FRAME_HARD_MAX_BYTES)

/* What may stand between statements. */
#define BLANK " \t\r\n\f;"

/* Eight bytes at a time: Knuth's multiplicative hashing, TAOCP 6.4, whose best
 * bits are the upper ones. */
static uint64_t
mix(uint64_t hash, const uint8_t *p, size_t n)
{
	uint64_t word = 0;

	memcpy(&word, p, n);
	hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 32;
}

static unsigned
hash_text(const void *text, size_t n)
{
	const uint8_t *p = text;
	uint64_t hash = n;

	for (; n > 8; p += 8, n -= 8)
		hash = mix(hash, p, 8);
	return (unsigned)(mix(hash, p, n) >> 32);
}

/* SQLite's counters are of 32 bits, over all runs: sqlite.org/c3ref/stmt_status.html
 */
static void
note_steps(struct stmt *st)
{
	uint32_t vm_steps = (uint32_t)sqlite3_stmt_status(
	    st->s, SQLITE_STMTSTATUS_VM_STEP, 0);
	uint32_t scan_steps = (uint32_t)sqlite3_stmt_status(
	    st->s, SQLITE_STMTSTATUS_FULLSCAN_STEP, 0);

	tally_bump(&st->tally.counts[TALLY_VM_STEPS], vm_steps - st->vm_steps);
	tally_bump(
	    &st->tally.counts[TALLY_SCAN_STEPS], scan_steps - st->scan_steps);
	st->vm_steps = vm_steps;
	st->scan_steps = scan_steps;
}

void
stmt_free(struct stmt *st)
{
	if (!st)
		return;
	if (st->tally.tallies)
		note_steps(st);
	tally_close(&st->tally);
	sqlite3_finalize(st->s);
	free(st->columns);
	free(st->savepoint);
	free(st);
}

static void
drop(struct dbconn *c, struct stmt *st)
{
	HASH_DEL(c->cache, st);
	if (c->last == st)
		c->last = NULL;
	c->cache_n--;
	c->cache_bytes -= st->bytes;
	stmt_free(st);
}

void
stmt_drop_all(struct dbconn *c)
{
	struct stmt *st, *tmp;

	HASH_ITER(hh, c->cache, st, tmp)
		drop(c, st);
}

static void
drop_oldest(struct dbconn *c)
{
	struct stmt *oldest = c->cache;

	for (struct stmt *st = c->cache; st; st = st->hh.next)
		if (st->used < oldest->used)
			oldest = st;
	if (oldest)
		drop(c, oldest);
}

size_t
stmt_count_blank(struct span text)
{
	size_t n = 0;

	while (n < text.n && strchr(BLANK, text.p[n]))
		n++;
	return n;
}

/* What follows the statement may be white space, comments and semicolons. */
static int
check_tail(
    struct dbconn *c, struct span sql, const char *tail, struct failure *f)
{
	const char *end = (const char *)sql.p + sql.n;

	while (tail < end) {
		sqlite3_stmt *next = NULL;
		const char *from = tail;
		int rc;

		from += stmt_count_blank((struct span){
		    (const uint8_t *)tail, (size_t)(end - tail) });
		if (from == end)
			return 0;
		rc = sqlite3_prepare_v2(
		    c->db, from, (int)(end - from), &next, &tail);
		sqlite3_finalize(next);
		if (rc != SQLITE_OK || next) {
			failure_set(f, ERR_MULTIPLE_STATEMENTS,
			    "more than one statement in one request; send the "
			    "second one by itself, or both in a BATCH");
			f->offset = from - (const char *)sql.p;
			return -ERR_MULTIPLE_STATEMENTS;
		}
		if (tail == from)
			break;
	}
	return 0;
}

static enum stmt_tx
get_tx(const struct dbconn *c, sqlite3_stmt *s)
{
	switch (c->guard.tx_op) {
	case GUARD_TX_NONE:
	case GUARD_TX_BEGIN:
		/* stmt_readonly is false for IMMEDIATE and EXCLUSIVE */
		return sqlite3_stmt_readonly(s) ? STMT_TX_BEGIN
						: STMT_TX_BEGIN_IMMEDIATE;
	case GUARD_TX_COMMIT:
		return STMT_TX_COMMIT;
	case GUARD_TX_ROLLBACK:
		return STMT_TX_ROLLBACK;
	case GUARD_TX_SAVEPOINT:
		return STMT_TX_SAVEPOINT;
	case GUARD_TX_RELEASE:
		return STMT_TX_RELEASE;
	case GUARD_TX_ROLLBACK_TO:
		return STMT_TX_ROLLBACK_TO;
	}
	return STMT_TX_BEGIN;
}

/* A text to prepare the first statement of. */
struct source {
	const char *sql;
	int bytes_n;      /* -1: up to a NUL */
	size_t text_n;    /* as many bytes may belong to it */
	unsigned flags;   /* SQLITE_PREPARE_ */
	const char *tail; /* out: what follows the statement */
};

static int
prepare_once(struct dbconn *c, struct source *src, sqlite3_stmt **ret_s)
{
	int64_t limit = PREPARE_BYTES + PREPARE_PER_BYTE * (int64_t)src->text_n;
	int rc;

	guard_reset(&c->guard);
	budget_begin(&c->memory,
	    limit < c->conf->request_memory_bytes
		? limit
		: c->conf->request_memory_bytes);
	budget_enter(&c->memory);
	rc = sqlite3_prepare_v3(
	    c->db, src->sql, src->bytes_n, src->flags, ret_s, &src->tail);
	budget_leave();
	budget_end(&c->memory);
	return rc;
}

static bool
look_at_schema(struct dbconn *c)
{
	struct failure f;
	bool ok;

	failure_init(&f);
	ok = dbconn_run(c, DBCONN_SNAPSHOT, &f) == 0;
	failure_fini(&f);
	return ok;
}

/* In a transaction that has read nothing yet, have SQLite look at the file without
 * keeping a snapshot of it: it does so for a table that is missing, as one of this
 * name always is (schemaIsValid in prepare.c).  False: in no such transaction. */
static bool
glance_at_schema(struct dbconn *c)
{
	sqlite3_stmt *none = NULL;

	if (!dbconn_in_tx(c) || dbconn_has_snapshot(c))
		return false;
	sqlite3_prepare_v2(c->db, "SELECT 1 FROM sqlite_none", -1, &none, NULL);
	sqlite3_finalize(none);
	return true;
}

/* The schema was forgotten because it had changed: a statement that needs no table
 * does not load it again, and a large one is not a statement's to pay for. */
static bool
needs_schema(struct dbconn *c, int rc)
{
	int bytes = 0, high, ok;

	if (rc != SQLITE_SCHEMA && !(rc == SQLITE_NOMEM && c->memory.hit))
		return false;
	ok = glance_at_schema(c) || look_at_schema(c);
	sqlite3_db_status(c->db, SQLITE_DBSTATUS_SCHEMA_USED, &bytes, &high, 0);
	return ok && (rc == SQLITE_SCHEMA || bytes > SCHEMA_BYTES_MUCH);
}

static int
fail_prepare(struct dbconn *c, int rc, struct failure *f)
{
	if (rc == SQLITE_NOMEM && c->memory.hit_total)
		return dbconn_fail_memory(c, f);
	if (rc == SQLITE_NOMEM && c->memory.hit)
		return failure_set(f, ERR_MEMORY_LIMIT,
		    "preparing the statement took more than %lld KB of memory; "
		    "bind values instead of writing them into the text, and do "
		    "not use WITH tables of each other many times over",
		    (long long)c->memory.limit / 1024);
	if (c->guard.reason[0])
		return failure_set(f, ERR_NOT_ALLOWED, "%s", c->guard.reason);
	return dbconn_fail(c, rc, f);
}

/* Most statements compare the schema that they were prepared by with the file's
 * when they are stepped.  An EXPLAIN and some PRAGMAs do not, and of those that
 * failed SQLite looks at the file again only if a table or column was missing, not
 * if there was one too few or an index (checkSchema in prepare.c). */
static bool
trusts_schema(const struct dbconn *c, int rc, sqlite3_stmt *s)
{
	return (rc & 0xff) == SQLITE_ERROR ||
	    (rc == SQLITE_OK &&
		(c->guard.shows_schema || sqlite3_stmt_isexplain(s)));
}

/* Load the schema if the file has another one by now; false: it has not. */
static bool
refresh_schema(struct dbconn *c)
{
	sqlite3_stmt *look = c->verbs[DBCONN_SNAPSHOT];
	int before = sqlite3_stmt_status(look, SQLITE_STMTSTATUS_REPREPARE, 0);

	if (glance_at_schema(c))
		return true; /* it may have */
	look_at_schema(c);
	return sqlite3_stmt_status(look, SQLITE_STMTSTATUS_REPREPARE, 0) !=
	    before;
}

static int
prepare_first(struct dbconn *c, struct source *src, sqlite3_stmt **ret_s,
    struct failure *f)
{
	int rc = prepare_once(c, src, ret_s);
	int result;

	if (needs_schema(c, rc))
		rc = prepare_once(c, src, ret_s);
	stats_add(STAT_statements_prepared, 1);
	result = rc == SQLITE_OK ? 0 : fail_prepare(c, rc, f);
	if (trusts_schema(c, rc, *ret_s) && refresh_schema(c)) {
		failure_fini(f);
		sqlite3_finalize(*ret_s);
		rc = prepare_once(c, src, ret_s);
		result = rc == SQLITE_OK ? 0 : fail_prepare(c, rc, f);
	}
	if (result < 0)
		return result;
	if (c->guard.setting)
		return setting_judge(c, ret_s, f);
	dbconn_begin_memory(c);
	return 0;
}

static int
prepare(
    struct dbconn *c, struct span sql, sqlite3_stmt **ret_s, struct failure *f)
{
	struct source src = {
		.sql = (const char *)sql.p,
		.bytes_n = (int)sql.n,
		.text_n = sql.n,
		.flags = SQLITE_PREPARE_PERSISTENT,
	};
	int rc;

	if (memchr(sql.p, 0, sql.n))
		return failure_set(f, ERR_FIELD_RANGE,
		    "the SQL text holds a NUL byte; bind text that needs one "
		    "as a parameter");
	rc = prepare_first(c, &src, ret_s, f);
	if (rc < 0)
		return rc;
	if (src.tail < (const char *)sql.p + sql.n) {
		struct guard seen = c->guard;

		rc = check_tail(c, sql, src.tail, f);
		c->guard = seen;
	}
	if (rc < 0) {
		sqlite3_finalize(*ret_s);
		*ret_s = NULL;
	}
	return rc;
}

/* A statement that was just prepared.  sql is its key in the cache. */
static struct stmt *
new_stmt(struct dbconn *c, struct span sql, sqlite3_stmt *s)
{
	struct stmt *st = calloc(1, sizeof(*st) + sql.n + 1);

	if (!st)
		return NULL;
	st->s = s;
	st->kind = guard_get_kind(&c->guard, s);
	st->matches = c->guard.matches;
	st->shows_schema = c->guard.shows_schema || sqlite3_stmt_isexplain(s);
	st->counts = st->kind == KIND_READ && c->guard.counts &&
	    !c->guard.checks;
	st->unstoppable = st->kind == KIND_READ &&
	    guard_is_unstoppable(&c->guard, s, c->page_bytes);
	st->tx = get_tx(c, s);
	st->sql_n = sql.n;
	memcpy(st->sql, sql.p, sql.n);
	if (c->guard.tx_name[0]) {
		st->savepoint = strdup(c->guard.tx_name);
		if (!st->savepoint) {
			free(st);
			return NULL;
		}
	}
	return st;
}

/* Without what stands behind it: the same statement costs the same in a script. */
static void
open_tally(struct dbconn *c, struct stmt *st, const char *sql, size_t n)
{
	while (n > 0 && strchr(BLANK, sql[n - 1]))
		n--;
	if (c->stats)
		tally_open(&st->tally, stats_get_tallies(c->stats), sql, n);
}

static int
keep(struct dbconn *c, struct stmt *st)
{
	while (c->cache &&
	    (c->cache_n >= c->conf->statement_cache ||
		c->cache_bytes > CACHE_BYTES_MAX))
		drop_oldest(c);
	HASH_ADD(hh, c->cache, sql, st->sql_n, st);
	if (!st->hh.tbl)
		return -ERR_NO_MEMORY;
	c->cache_n++;
	st->bytes = st->sql_n +
	    (size_t)sqlite3_stmt_status(st->s, SQLITE_STMTSTATUS_MEMUSED, 0);
	c->cache_bytes += st->bytes;
	open_tally(c, st, st->sql, st->sql_n);
	return 0;
}

/* A request asks twice, for its road and to run, and the next one often has the
 * same text: comparing costs less than hashing. */
static struct stmt *
find(struct dbconn *c, struct span sql)
{
	struct stmt *st = c->last;

	if (st && st->sql_n == sql.n && memcmp(st->sql, sql.p, sql.n) == 0)
		return st;
	HASH_FIND(hh, c->cache, sql.p, sql.n, st);
	return st;
}

static void
use(struct dbconn *c, struct stmt *st)
{
	st->used = ++c->uses;
	c->last = st;
}

int
stmt_prepare(struct dbconn *c, struct span sql, struct stmt **ret_stmt,
    struct failure *f)
{
	struct stmt *st = find(c, sql);
	sqlite3_stmt *s = NULL;
	int rc;

	if (st && st->shows_schema) {
		drop(c, st);
	} else if (st) {
		use(c, st);
		dbconn_begin_memory(c);
		*ret_stmt = st;
		return 0;
	}
	rc = prepare(c, sql, &s, f);
	if (rc < 0)
		return rc;
	*ret_stmt = NULL;
	if (!s)
		return 0;
	st = new_stmt(c, sql, s);
	if (!st) {
		sqlite3_finalize(s);
		return failure_set(f, ERR_NO_MEMORY, "out of memory");
	}
	if (keep(c, st) < 0) {
		stmt_free(st);
		return failure_set(f, ERR_NO_MEMORY, "out of memory");
	}
	use(c, st);
	*ret_stmt = st;
	return 0;
}

int
stmt_prepare_first(struct dbconn *c, const char *text, struct stmt **ret_stmt,
    size_t *ret_n, struct failure *f)
{
	static const struct span no_key = { (const uint8_t *)"", 0 };
	struct source src = {
		.sql = text,
		.bytes_n = -1,
		.text_n = SCRIPT_BYTES_MAX,
	};
	sqlite3_stmt *s = NULL;
	struct stmt *st = NULL;
	int rc = prepare_first(c, &src, &s, f);

	if (rc < 0)
		return rc;
	if (s)
		st = new_stmt(c, no_key, s);
	if (s && !st) {
		sqlite3_finalize(s);
		return failure_set(f, ERR_NO_MEMORY, "out of memory");
	}
	*ret_stmt = st;
	*ret_n = (size_t)(src.tail - text);
	if (st && st->kind != KIND_TX)
		open_tally(c, st, text, *ret_n);
	return 0;
}

int
stmt_prepare_anew(struct dbconn *c, struct span sql, struct stmt **ret_stmt,
    struct failure *f)
{
	struct stmt *st = find(c, sql);

	if (st)
		drop(c, st);
	return stmt_prepare(c, sql, ret_stmt, f);
}

enum msg_kind
stmt_get_kind(const struct stmt *st)
{
	return st ? st->kind : KIND_EMPTY;
}

enum stmt_tx
stmt_get_tx(const struct stmt *st)
{
	return st->tx;
}

const char *
stmt_get_savepoint(const struct stmt *st)
{
	return st->savepoint ? st->savepoint : "";
}

void
stmt_mark_heavy(struct stmt *st)
{
	st->heavy_runs = HEAVY_RUNS;
}

/* Out of line: short reads, which most are, do not save registers for it. */
static bool __attribute__((noinline))
is_unstoppable_still(struct dbconn *c, struct stmt *st)
{
	stmt_judge_again(c, st); /* the file may be shorter by now */
	if (st->unstoppable)
		stmt_mark_heavy(st);
	return st->unstoppable;
}

bool
stmt_take_heavy(struct dbconn *c, struct stmt *st)
{
	if (st->heavy_runs > 0) {
		st->heavy_runs--;
		return true;
	}
	return st->unstoppable && is_unstoppable_still(c, st);
}

void
stmt_judge_again(struct dbconn *c, struct stmt *st)
{
	if (!st->counts)
		return;
	guard_reset(&c->guard);
	c->guard.counts = true;
	st->unstoppable = guard_is_unstoppable(&c->guard, st->s, c->page_bytes);
}

void
stmt_note_run(struct dbconn *c, struct stmt *st, int64_t run_us, uint64_t rows,
    unsigned how)
{
	if (!st->tally.tallies)
		return;
	tally_note(&st->tally, run_us, rows, how);
	if (c->role != DBCONN_HOT)
		note_steps(st);
}

void
dbconn_note_steps(struct dbconn *c)
{
	if (c->noted_uses == c->uses)
		return;
	for (struct stmt *st = c->cache; st; st = st->hh.next)
		if (st->used > c->noted_uses)
			note_steps(st);
	c->noted_uses = c->uses;
}
