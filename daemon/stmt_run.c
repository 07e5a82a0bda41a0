/* stmt_run.c - a statement that runs: its parameters, steps, rows and columns.
 *
 * Thread: whoever owns the connection at the moment. */
#include <stdlib.h>
#include <string.h>

#include "daemon/bind.h"
#include "daemon/dbconn_impl.h"
#include "daemon/stats.h"
#include "daemon/stmt_impl.h"
#include "proto/error.h"
#include "proto/value.h"

/* The names of columns, as they are sent, are kept up to this much of them. */
#define COLUMNS_BYTES_MAX 1024

unsigned
stmt_get_columns_n(const struct stmt *st)
{
	return (unsigned)sqlite3_column_count(st->s);
}

unsigned
stmt_get_params_n(const struct stmt *st)
{
	return (unsigned)sqlite3_bind_parameter_count(st->s);
}

int
stmt_bind(
    struct dbconn *c, struct stmt *st, struct span params, struct failure *f)
{
	stats_add(STAT_statements_found, st->found);
	st->found = true;
	return bind_params(c, st->s, params, f);
}

/* A statement that failed on a worker because it is not for one. */
static void
note_small(struct dbconn *c, int rc)
{
	if (c->small &&
	    ((c->memory.hit && (rc & 0xff) == SQLITE_NOMEM) ||
		(rc & 0xff) == SQLITE_TOOBIG ||
		dbconn_is_pattern_too_long(c, rc)))
		c->over_budget = true;
}

int
stmt_step(struct dbconn *c, struct stmt *st, struct failure *f)
{
	int rc;

	c->guard.maintenance = st->kind == KIND_MAINTENANCE;
	c->guard.reason[0] = '\0';
	dbconn_set_pace(c, st->matches);
	budget_enter(&c->memory);
	c->running = st->s;
	rc = sqlite3_step(st->s);
	budget_leave();
	c->guard.maintenance = false;
	if (rc == SQLITE_ROW)
		return 1;
	if (rc == SQLITE_DONE)
		return 0;
	note_small(c, rc);
	if (c->guard.reason[0])
		return failure_set(f, ERR_NOT_ALLOWED, "%s", c->guard.reason);
	return dbconn_fail(c, rc, f);
}

/* The bytes of a value that has more than most of them are not asked for: SQLite
 * makes a zeroblob only then.  A NULL pointer where bytes were due means that it
 * had no memory: sqlite.org/c3ref/column_blob.html. */
static int
put_value(sqlite3_stmt *s, int i, size_t most, struct buf *b)
{
	const void *p;
	size_t n;

	switch (sqlite3_column_type(s, i)) {
	case SQLITE_INTEGER:
		value_put_int(b, sqlite3_column_int64(s, i));
		return 0;
	case SQLITE_FLOAT:
		value_put_real(b, sqlite3_column_double(s, i));
		return 0;
	case SQLITE_TEXT:
		p = sqlite3_column_text(s, i);
		n = (size_t)sqlite3_column_bytes(s, i);
		if (!p)
			return -ERR_NO_MEMORY;
		if (n > most)
			return -ERR_ROW_TOO_LARGE;
		value_put_text(b, p, n);
		return 0;
	case SQLITE_BLOB:
		n = (size_t)sqlite3_column_bytes(s, i);
		if (n > most)
			return -ERR_ROW_TOO_LARGE;
		p = sqlite3_column_blob(s, i);
		if (!p && n > 0)
			return -ERR_NO_MEMORY;
		value_put_blob(b, p, n);
		return 0;
	default:
		value_put_nil(b);
		return 0;
	}
}

int
stmt_put_row(struct dbconn *c, struct stmt *st, size_t most, struct buf *b)
{
	int n = sqlite3_data_count(st->s);
	size_t start = b->n;
	int rc = 0;

	value_put_array(b, (uint32_t)n);
	budget_enter(&c->memory);
	for (int i = 0; i < n && rc == 0; i++) {
		size_t used = b->n - start;

		rc = used > most ? -ERR_ROW_TOO_LARGE
				 : put_value(st->s, i, most - used, b);
	}
	budget_leave();
	if (rc == -ERR_NO_MEMORY)
		note_small(c, SQLITE_NOMEM);
	return rc == 0 && buf_failed(b) ? -ERR_NO_MEMORY : rc;
}

static void
put_name(struct buf *b, const char *name)
{
	if (name)
		value_put_text(b, name, strlen(name));
	else
		value_put_nil(b);
}

/* How often SQLite has prepared it anew, in a step, because the schema was not
 * that of before: only then can its columns be others.
 * sqlite.org/c3ref/c_stmtstatus_counter.html */
static int
count_prepared(const struct stmt *st)
{
	return sqlite3_stmt_status(st->s, SQLITE_STMTSTATUS_REPREPARE, 0);
}

/* False: there was no memory for some name. */
static bool
put_columns(const struct stmt *st, struct buf *b)
{
	int n = sqlite3_column_count(st->s);
	bool ok = true;

	value_put_array(b, (uint32_t)n);
	for (int i = 0; i < n; i++) {
		const char *name = sqlite3_column_name(st->s, i);

		put_name(b, name);
		ok = ok && name;
	}
	return ok && !buf_failed(b);
}

/* Without memory they are written anew each time. */
static void
keep_columns(struct stmt *st, const uint8_t *p, size_t n)
{
	free(st->columns);
	st->columns = n <= COLUMNS_BYTES_MAX ? malloc(n) : NULL;
	if (!st->columns)
		return;
	memcpy(st->columns, p, n);
	st->columns_n = n;
	st->columns_of = count_prepared(st);
}

void
stmt_put_columns(struct stmt *st, struct buf *b)
{
	size_t at = b->n;

	if (st->columns && st->columns_of == count_prepared(st))
		buf_put(b, st->columns, st->columns_n);
	else if (put_columns(st, b))
		keep_columns(st, b->p + at, b->n - at);
}

void
stmt_put_decltypes(const struct stmt *st, struct buf *b)
{
	int n = sqlite3_column_count(st->s);

	value_put_array(b, (uint32_t)n);
	for (int i = 0; i < n; i++)
		put_name(b, sqlite3_column_decltype(st->s, i));
}

void
stmt_put_param_names(const struct stmt *st, struct buf *b)
{
	int n = sqlite3_bind_parameter_count(st->s);

	value_put_array(b, (uint32_t)n);
	for (int i = 1; i <= n; i++)
		put_name(b, sqlite3_bind_parameter_name(st->s, i));
}

void
stmt_reset(struct stmt *st)
{
	if (!st)
		return;
	sqlite3_reset(st->s);
	sqlite3_clear_bindings(st->s);
}
