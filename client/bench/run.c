/* run.c - operations of several round trips, each with the blocking calls that
 * an application would use. */
#include "client/bench/pool.h"

#include <inttypes.h>

/* Run a step that changes one row. */
static int
change_row(struct bench_client *client, enum pool_step step,
    const struct sqlpool_value *values, size_t values_n)
{
	struct pool_client *pool = client->data;
	enum bench_kind kind = statement_get_step_kind(step);
	int64_t changes;
	int rc;

	if (pool->step[step])
		rc = sqlpool_stmt_exec(pool->step[step], values, values_n);
	else
		rc = sqlpool_exec(
		    pool->conn, statement_get_step_sql(step), values, values_n);
	if (rc < 0)
		return pool_fail_conn(client, kind);
	changes = sqlpool_get_summary(pool->conn)->changes;
	if (changes != 1)
		return bench_fail(client,
		    "client %u changed %" PRId64 " rows, not 1, with %s",
		    client->number, changes, statement_get_step_sql(step));
	return 0;
}

/* Run a step that gives one number. */
static int
query_number(struct bench_client *client, enum pool_step step,
    const struct sqlpool_value *value, int64_t *ret_number)
{
	struct pool_client *pool = client->data;
	enum bench_kind kind = statement_get_step_kind(step);
	struct sqlpool_result *result;
	int rc;

	if (pool->step[step])
		rc = sqlpool_stmt_query(pool->step[step], value, 1, &result);
	else
		rc = sqlpool_query(pool->conn, statement_get_step_sql(step),
		    value, 1, &result);
	if (rc < 0)
		return pool_fail_conn(client, kind);
	rc = sqlpool_next(result);
	if (rc == SQLPOOL_ROW) {
		*ret_number = sqlpool_column_int64(result, 0);
		rc = sqlpool_next(result);
	} else if (rc == SQLPOOL_DONE) {
		rc = bench_fail(client, "client %u got no row of: %s",
		    client->number, statement_get_step_sql(step));
	}
	if (rc < 0 && !client->why[0])
		rc = pool_fail(client, sqlpool_result_error(result), kind);
	sqlpool_result_free(result);
	return rc;
}

static int
run_rmw(struct bench_client *client, const struct bench_op *op)
{
	struct pool_client *pool = client->data;
	struct sqlpool_value values[2] = { SQLPOOL_INT((int64_t)op->key) };
	int64_t n = 0;

	if (sqlpool_begin(pool->conn, SQLPOOL_TX_IMMEDIATE) < 0)
		return pool_fail_conn(client, op->kind);
	if (query_number(client, POOL_RMW_SELECT, values, &n) < 0)
		return -1;
	values[1] = SQLPOOL_INT(n + 1);
	if (change_row(client, POOL_RMW_UPDATE, values, 2) < 0)
		return -1;
	return sqlpool_commit(pool->conn) < 0 ? pool_fail_conn(client, op->kind)
					      : 0;
}

static int
run_tpcb(struct bench_client *client, const struct bench_op *op)
{
	struct pool_client *pool = client->data;
	struct bench_tpcb t = bench_choose_tpcb(client->plan, op);
	struct sqlpool_value values[POOL_VALUES_MAX];
	int64_t balance;

	if (sqlpool_begin(pool->conn, SQLPOOL_TX_IMMEDIATE) < 0)
		return pool_fail_conn(client, op->kind);
	for (int i = POOL_TPCB_ACCOUNT; i <= POOL_TPCB_HISTORY; i++) {
		enum pool_step step = (enum pool_step)i;
		size_t n = statement_make_tpcb_values(step, &t, values);
		int rc = step == POOL_TPCB_BALANCE
		    ? query_number(client, step, values, &balance)
		    : change_row(client, step, values, n);

		if (rc < 0)
			return -1;
	}
	return sqlpool_commit(pool->conn) < 0 ? pool_fail_conn(client, op->kind)
					      : 0;
}

int
run_op(struct bench_client *client, struct bench_op *op)
{
	const struct pool_client *pool = client->data;

	if (op->kind == BENCH_RMW)
		return run_rmw(client, op);
	if (op->kind == BENCH_TPCB)
		return run_tpcb(client, op);
	return sqlpool_ping(pool->conn) < 0 ? pool_fail_conn(client, op->kind)
					    : 0;
}
