/* slow.c - what made a statement slow: sqlite.org/c3ref/c_stmtstatus_counter.html */
#include "daemon/slow.h"

#include <string.h>

#include "daemon/clock.h"
#include "daemon/dbconn_impl.h"
#include "daemon/log.h"

/* The beginning of a statement that is enough to know it. */
#define SQL_BYTES 1000

static int64_t
count(const struct dbconn *c, int op, int64_t before)
{
	return sqlite3_stmt_status(c->running, op, 0) - before;
}

/* So many lines of each statement, whatever its values are. */
static uint64_t
make_key(const char *sql)
{
	uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */

	for (; *sql; sql++)
		hash = (hash ^ (uint8_t)*sql) * UINT64_C(1099511628211);
	return hash | 1;
}

static void
log_slow(struct dbconn *c, const struct request *r, int64_t run_us)
{
	const char *sql = sqlite3_sql(c->running);
	char *expanded = c->conf->log_parameters
	    ? sqlite3_expanded_sql(c->running)
	    : NULL;
	const char *shown = expanded ? expanded : sql;
	size_t n = strnlen(shown, SQL_BYTES);
	const struct owner *o = r->owner;
	const struct effort *b = &c->before;
	const struct log_field fields[] = {
		LOG_TEXT("database", c->conf->name, strlen(c->conf->name)),
		LOG_INT("ms", run_us / 1000),
		LOG_INT("pid", o ? o->pid : 0),
		LOG_INT("uid", o ? o->uid : 0),
		LOG_TEXT("app", o ? o->app : "", o ? strlen(o->app) : 0),
		LOG_INT("full_scan_steps",
		    count(c, SQLITE_STMTSTATUS_FULLSCAN_STEP, b->scan_steps)),
		LOG_INT("sorts", count(c, SQLITE_STMTSTATUS_SORT, b->sorts)),
		LOG_INT("automatic_index_rows",
		    count(c, SQLITE_STMTSTATUS_AUTOINDEX, b->index_rows)),
		LOG_INT("vm_steps",
		    count(c, SQLITE_STMTSTATUS_VM_STEP, b->vm_steps)),
		LOG_TEXT("sql", shown, n),
		{ 0 },
	};

	log_event(CONF_LOG_WARN, "slow statement", fields, make_key(sql));
	sqlite3_free(expanded);
}

void
slow_look(struct dbconn *c, const struct stmt *st, const struct request *r,
    int64_t waited_us)
{
	int64_t slow_us = c->conf->slow_statement_us;
	int64_t run_us;

	if (!st || !c->began_us || slow_us == 0)
		return;
	run_us = clock_now_us() - c->began_us - waited_us;
	c->began_us = 0;
	if (run_us >= slow_us)
		log_slow(c, r, run_us);
}
