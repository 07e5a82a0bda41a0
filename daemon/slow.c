/* slow.c - what made a statement slow: sqlite.org/c3ref/c_stmtstatus_counter.html */
#include "daemon/slow.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "daemon/clock.h"
#include "daemon/dbconn_impl.h"
#include "daemon/log.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct slow kept[SLOW_KEPT_MAX]; /* under lock; a ring */
static uint64_t kept_n;                 /* under lock: there were so many */

/* Of 32 bits, over all runs of the statement. */
static uint32_t
count(struct dbconn *c, int op, uint32_t before)
{
	return (uint32_t)sqlite3_stmt_status(c->running, op, 0) - before;
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
log_slow(const struct slow *s, uint64_t key)
{
	const struct log_field fields[] = {
		LOG_TEXT("database", s->database, strlen(s->database)),
		LOG_INT("ms", s->run_us / 1000),
		LOG_INT("pid", s->owner.pid),
		LOG_INT("uid", s->owner.uid),
		LOG_TEXT("app", s->owner.app, strlen(s->owner.app)),
		LOG_INT("full_scan_steps", s->scan_steps),
		LOG_INT("sorts", s->sorts),
		LOG_INT("automatic_index_rows", s->index_rows),
		LOG_INT("vm_steps", s->vm_steps),
		LOG_TEXT("sql", s->sql, s->sql_n),
		{ 0 },
	};

	log_event(CONF_LOG_WARN, "slow statement", fields, key);
}

static void
keep(struct slow *s)
{
	pthread_mutex_lock(&lock);
	s->number = ++kept_n;
	kept[kept_n % SLOW_KEPT_MAX] = *s;
	pthread_mutex_unlock(&lock);
}

static void
note_slow(struct dbconn *c, const struct request *r, int64_t run_us)
{
	const char *sql = sqlite3_sql(c->running);
	char *expanded = c->conf->log_parameters
	    ? sqlite3_expanded_sql(c->running)
	    : NULL;
	const char *shown = expanded ? expanded : sql;
	const struct effort *b = &c->before;
	struct slow s = {
		.run_us = run_us,
		.scan_steps = count(
		    c, SQLITE_STMTSTATUS_FULLSCAN_STEP, b->scan_steps),
		.sorts = count(c, SQLITE_STMTSTATUS_SORT, b->sorts),
		.index_rows = count(
		    c, SQLITE_STMTSTATUS_AUTOINDEX, b->index_rows),
		.vm_steps = count(c, SQLITE_STMTSTATUS_VM_STEP, b->vm_steps),
		.sql_n = strnlen(shown, SLOW_SQL_BYTES),
	};
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	s.ended_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
	if (r->owner)
		s.owner = *r->owner;
	strncpy(s.database, c->conf->name, sizeof(s.database) - 1);
	memcpy(s.sql, shown, s.sql_n);
	sqlite3_free(expanded);
	log_slow(&s, make_key(sql));
	keep(&s);
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
		note_slow(c, r, run_us);
}

size_t
slow_list(struct slow ret_list[SLOW_KEPT_MAX])
{
	size_t n;

	pthread_mutex_lock(&lock);
	n = kept_n < SLOW_KEPT_MAX ? (size_t)kept_n : SLOW_KEPT_MAX;
	for (size_t i = 0; i < n; i++)
		ret_list[i] = kept[(kept_n - i) % SLOW_KEPT_MAX];
	pthread_mutex_unlock(&lock);
	return n;
}
