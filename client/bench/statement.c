/* statement.c - the SQL of each kind for the daemon, and its values. */
#include "client/bench/pool.h"

#include <string.h>

static const char large_sql[] =
    "SELECT id, n, c, length(c), id * 0.5 FROM bench "
    "WHERE id <= ?1 ORDER BY id";

/* clang-format off */
static const char *const texts[BENCH_KINDS_N] = {
	[BENCH_READ] = "SELECT n, c FROM bench WHERE id = ?1",
	[BENCH_RANGE] =
	    "SELECT id, n, c FROM bench WHERE id >= ?1 ORDER BY id LIMIT ?2",
	[BENCH_WRITE] = "UPDATE bench SET n = n + 1 WHERE id = ?1",
	[BENCH_LARGE] = large_sql,
	[BENCH_BULK] = "INSERT INTO bench_bulk(n, c) VALUES (?1, ?2)",
};

static const struct {
	enum bench_kind kind;
	const char *sql;
} steps[POOL_STEPS_N] = {
	[POOL_RMW_SELECT] = { BENCH_RMW,
	    "SELECT n FROM bench WHERE id = ?1" },
	[POOL_RMW_UPDATE] = { BENCH_RMW,
	    "UPDATE bench SET n = ?2 WHERE id = ?1" },
	[POOL_TPCB_ACCOUNT] = { BENCH_TPCB,
	    "UPDATE bench_accounts SET balance = balance + ?2 WHERE aid = ?1" },
	[POOL_TPCB_BALANCE] = { BENCH_TPCB,
	    "SELECT balance FROM bench_accounts WHERE aid = ?1" },
	[POOL_TPCB_TELLER] = { BENCH_TPCB,
	    "UPDATE bench_tellers SET balance = balance + ?2 WHERE tid = ?1" },
	[POOL_TPCB_BRANCH] = { BENCH_TPCB,
	    "UPDATE bench_branches SET balance = balance + ?2 WHERE bid = ?1" },
	[POOL_TPCB_HISTORY] = { BENCH_TPCB,
	    "INSERT INTO bench_history(tid, bid, aid, delta, mtime)"
	    " VALUES (?1, ?2, ?3, ?4, CURRENT_TIMESTAMP)" },
};
/* clang-format on */

const char *
statement_get_sql(const struct bench_plan *plan, enum bench_kind kind)
{
	return kind == BENCH_SQL ? plan->sql : texts[kind];
}

const char *
statement_get_step_sql(enum pool_step step)
{
	return steps[step].sql;
}

enum bench_kind
statement_get_step_kind(enum pool_step step)
{
	return steps[step].kind;
}

/* ---- values ---- */

static size_t
make_sql_values(const struct bench_client *client, const struct bench_op *op,
    struct sqlpool_value *values)
{
	const struct pool_client *pool = client->data;
	size_t n = 0;

	if (pool->key)
		values[n++] = SQLPOOL_NAMED(
		    ":key", SQLPOOL_INT((int64_t)op->key));
	if (pool->random)
		values[n++] = SQLPOOL_NAMED(
		    ":random", SQLPOOL_INT((int64_t)(op->random >> 1)));
	return n;
}

size_t
statement_make_values(const struct bench_client *client,
    const struct bench_op *op, struct sqlpool_value values[POOL_VALUES_MAX])
{
	const struct bench_plan *plan = client->plan;

	if (op->kind == BENCH_SQL)
		return make_sql_values(client, op, values);
	if (op->kind == BENCH_LARGE) {
		values[0] = SQLPOOL_INT((int64_t)plan->large_n);
		return 1;
	}
	values[0] = SQLPOOL_INT((int64_t)op->key);
	if (op->kind != BENCH_RANGE)
		return 1;
	values[1] = SQLPOOL_INT((int64_t)plan->range_n);
	return 2;
}

size_t
statement_make_tpcb_values(enum pool_step step, const struct bench_tpcb *t,
    struct sqlpool_value values[POOL_VALUES_MAX])
{
	if (step == POOL_TPCB_HISTORY) {
		values[0] = SQLPOOL_INT(t->teller);
		values[1] = SQLPOOL_INT(t->branch);
		values[2] = SQLPOOL_INT(t->account);
		values[3] = SQLPOOL_INT(t->delta);
		return 4;
	}
	if (step == POOL_TPCB_TELLER)
		values[0] = SQLPOOL_INT(t->teller);
	else if (step == POOL_TPCB_BRANCH)
		values[0] = SQLPOOL_INT(t->branch);
	else
		values[0] = SQLPOOL_INT(t->account);
	values[1] = SQLPOOL_INT(t->delta);
	return step == POOL_TPCB_BALANCE ? 1 : 2;
}

/* ---- a person's SQL ---- */

/* Skip a string, a quoted name or a comment; NULL when none begins here. */
static const char *
skip_quoted(const char *at)
{
	const char *end;

	switch (*at) {
	case '\'':
	case '"':
	case '`':
		end = strchr(at + 1, *at);
		return end ? end + 1 : at + strlen(at);
	case '[':
		end = strchr(at, ']');
		return end ? end + 1 : at + strlen(at);
	case '-':
		return at[1] == '-' ? at + strcspn(at, "\n") : NULL;
	case '/':
		if (at[1] != '*')
			return NULL;
		end = strstr(at + 2, "*/");
		return end ? end + 2 : at + strlen(at);
	default:
		return NULL;
	}
}

bool
statement_has_parameter(const char *sql, const char *name)
{
	static const char in_names[] = "abcdefghijklmnopqrstuvwxyz"
				       "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "0123456789_$";

	while (*sql) {
		const char *end = skip_quoted(sql);
		size_t n = 1 + strspn(sql + 1, in_names);

		if (end) {
			sql = end;
			continue;
		}
		if (*sql == ':' && n == strlen(name) &&
		    strncmp(sql, name, n) == 0)
			return true;
		sql++;
	}
	return false;
}
