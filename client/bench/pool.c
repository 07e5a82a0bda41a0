/* pool.c - the driver of the daemon: connect, send, take. */
#include "client/bench/pool.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "client/bench/mix.h"

int
pool_fail(struct bench_client *client, const struct sqlpool_error *error,
    enum bench_kind kind)
{
	return bench_fail(client, "%s by client %u: %s (%s)",
	    mix_get_name(kind), client->number, error->message, error->name);
}

int
pool_fail_conn(struct bench_client *client, enum bench_kind kind)
{
	const struct pool_client *pool = client->data;

	return pool_fail(client, sqlpool_get_error(pool->conn), kind);
}

/* ---- connecting ---- */

static int
prepare(struct bench_client *client, const char *sql, enum bench_kind kind,
    struct sqlpool_stmt **ret_stmt)
{
	const struct pool_client *pool = client->data;

	if (!bench_has(client->plan, kind) || !sql)
		return 0;
	return sqlpool_prepare(pool->conn, sql, ret_stmt) < 0
	    ? pool_fail_conn(client, kind)
	    : 0;
}

static int
prepare_all(struct bench_client *client)
{
	const struct bench_plan *plan = client->plan;
	struct pool_client *pool = client->data;
	int rc = 0;

	if (strcmp(bench_get_opt(plan, "prepare", "yes"), "no") == 0)
		return 0;
	for (int i = 0; i < BENCH_KINDS_N && rc == 0; i++) {
		enum bench_kind kind = (enum bench_kind)i;

		rc = prepare(client, statement_get_sql(plan, kind), kind,
		    &pool->stmt[i]);
	}
	for (int i = 0; i < POOL_STEPS_N && rc == 0; i++) {
		enum pool_step step = (enum pool_step)i;

		rc = prepare(client, statement_get_step_sql(step),
		    statement_get_step_kind(step), &pool->step[i]);
	}
	return rc;
}

static int
add_step(struct sqlpool_request *request, const struct sqlpool_stmt *stmt,
    const char *sql, const struct sqlpool_value *values, size_t values_n)
{
	return stmt ? sqlpool_request_add_stmt(request, stmt, values, values_n)
		    : sqlpool_request_add(request, sql, values, values_n);
}

/* A bulk is a request with a step for each row, made once. */
static int
make_bulk(struct bench_client *client)
{
	const struct bench_plan *plan = client->plan;
	struct pool_client *pool = client->data;
	char *text;
	int rc = 0;

	if (!bench_has(plan, BENCH_BULK))
		return 0;
	pool->bulk = sqlpool_request_new();
	text = malloc(plan->text_n + 1);
	for (uint32_t i = 1; i <= plan->bulk_n && rc >= 0; i++) {
		struct sqlpool_value values[2] = { SQLPOOL_INT((int64_t)i) };

		if (!pool->bulk || !text)
			break;
		bench_text(plan, i, text);
		values[1] = SQLPOOL_TEXT_N(text, plan->text_n);
		rc = add_step(pool->bulk, pool->stmt[BENCH_BULK],
		    statement_get_sql(plan, BENCH_BULK), values, 2);
	}
	if (!pool->bulk || !text || rc < 0)
		rc = bench_fail(client, "out of memory");
	free(text);
	return rc < 0 ? -1 : 0;
}

static void
pool_close(struct bench_client *client)
{
	struct pool_client *pool = client->data;

	if (!pool)
		return;
	for (unsigned i = 0; pool->flights && i < client->plan->depth; i++)
		if (client->ops[i].in_flight)
			sqlpool_result_free(pool->flights[i].result);
	for (unsigned i = 0; i < BENCH_KINDS_N; i++)
		sqlpool_stmt_free(pool->stmt[i]);
	for (unsigned i = 0; i < POOL_STEPS_N; i++)
		sqlpool_stmt_free(pool->step[i]);
	sqlpool_request_free(pool->bulk);
	sqlpool_close(pool->conn);
	free(pool->flights);
	free(pool);
	client->data = NULL;
}

static int
connect_client(struct bench_client *client)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	struct pool_client *pool = client->data;
	short events;
	int timeout_ms;

	options.socket_path = client->plan->socket_path;
	options.database = client->plan->database;
	options.app_name = "sqlpool-bench";
	options.no_reconnect = true;
	if (sqlpool_open(&options, &pool->conn) < 0 ||
	    sqlpool_get_pollinfo(
		pool->conn, &client->fd, &events, &timeout_ms) < 0)
		return bench_fail(client, "client %u: %s", client->number,
		    sqlpool_get_error(pool->conn)->message);
	if (client->plan->sql) {
		pool->key = statement_has_parameter(client->plan->sql, ":key");
		pool->random = statement_has_parameter(
		    client->plan->sql, ":random");
	}
	if (prepare_all(client) < 0)
		return -1;
	return make_bulk(client);
}

static int
pool_open(struct bench_client *client)
{
	const struct bench_plan *plan = client->plan;
	struct pool_client *pool = calloc(1, sizeof(*pool));
	unsigned kinds = mix_get_kinds(plan);

	client->data = pool;
	if (pool)
		pool->flights = calloc(plan->depth, sizeof(*pool->flights));
	if (!pool || !pool->flights) {
		pool_close(client);
		return bench_fail(client, "out of memory");
	}
	pool->order.prev = pool->order.next = &pool->order;
	pool->in_order = plan->depth == 1 || (kinds & (kinds - 1)) == 0;
	if (connect_client(client) < 0) {
		pool_close(client);
		return -1;
	}
	return 0;
}

/* ---- sending ---- */

/* Send the text, as somebody does who does not prepare. */
static int
send_text(struct bench_client *client, const struct bench_op *op,
    struct sqlpool_result **ret_result)
{
	struct pool_client *pool = client->data;
	struct sqlpool_request *request = sqlpool_request_new();
	struct sqlpool_value values[POOL_VALUES_MAX];
	int rc;

	if (!request)
		return bench_fail(client, "out of memory");
	rc = sqlpool_request_add(request,
	    statement_get_sql(client->plan, op->kind), values,
	    statement_make_values(client, op, values));
	if (rc < 0)
		rc = bench_fail(client, "cannot make a request: %s",
		    sqlpool_get_code_name(rc));
	else if (sqlpool_send(pool->conn, request, ret_result) < 0)
		rc = pool_fail_conn(client, op->kind);
	sqlpool_request_free(request);
	return rc < 0 ? -1 : 0;
}

static int
send_statement(struct bench_client *client, const struct bench_op *op,
    struct sqlpool_result **ret_result)
{
	struct pool_client *pool = client->data;
	struct sqlpool_stmt *stmt = pool->stmt[op->kind];
	struct sqlpool_value values[POOL_VALUES_MAX];
	size_t n;

	if (!stmt)
		return send_text(client, op, ret_result);
	n = statement_make_values(client, op, values);
	return sqlpool_stmt_send(stmt, values, n, ret_result) < 0
	    ? pool_fail_conn(client, op->kind)
	    : 0;
}

/* A transaction like TPC-B's in one request. */
static int
send_tpcb(struct bench_client *client, const struct bench_op *op,
    struct sqlpool_result **ret_result)
{
	struct pool_client *pool = client->data;
	struct sqlpool_request *request = sqlpool_request_new();
	struct bench_tpcb t = bench_choose_tpcb(client->plan, op);
	struct sqlpool_value values[POOL_VALUES_MAX];
	int rc = request ? 0 : -1;

	for (int i = POOL_TPCB_ACCOUNT; i <= POOL_TPCB_HISTORY && rc >= 0; i++)
		rc = add_step(request, pool->step[i],
		    statement_get_step_sql((enum pool_step)i), values,
		    statement_make_tpcb_values((enum pool_step)i, &t, values));
	if (rc < 0)
		rc = bench_fail(client, "out of memory");
	else if (sqlpool_send_atomic(pool->conn, request, ret_result) < 0)
		rc = pool_fail_conn(client, op->kind);
	sqlpool_request_free(request);
	return rc < 0 ? -1 : 0;
}

static int
send_bulk(struct bench_client *client, struct sqlpool_result **ret_result)
{
	const struct pool_client *pool = client->data;

	return sqlpool_send_atomic(pool->conn, pool->bulk, ret_result) < 0
	    ? pool_fail_conn(client, BENCH_BULK)
	    : 0;
}

static int
pool_send(struct bench_client *client, struct bench_op *op)
{
	struct pool_client *pool = client->data;
	struct flight *flight = &pool->flights[op->slot];
	int rc;

	if (op->kind == BENCH_TPCB)
		rc = send_tpcb(client, op, &flight->result);
	else if (op->kind == BENCH_BULK)
		rc = send_bulk(client, &flight->result);
	else
		rc = send_statement(client, op, &flight->result);
	if (rc < 0)
		return -1;
	flight->op = op;
	flight->rows_n = 0;
	flight->next = &pool->order;
	flight->prev = pool->order.prev;
	flight->prev->next = flight;
	pool->order.prev = flight;
	return 0;
}

/* ---- taking ---- */

/* Is it the row that --init wrote?  That of a read has no id but the one that was
 * asked for. */
static bool
is_right(const struct bench_client *client, const struct flight *flight)
{
	const struct bench_op *op = flight->op;
	struct sqlpool_result *result = flight->result;
	bool point = op->kind == BENCH_READ;
	uint64_t id = flight->rows_n + (op->kind == BENCH_LARGE ? 1 : op->key);
	const void *text;
	size_t n;

	if (!point && (uint64_t)sqlpool_column_int64(result, 0) != id)
		return false;
	text = sqlpool_column_blob(result, point ? 1 : 2, &n);
	if (!bench_text_is(client->plan, id, text, n))
		return false;
	return op->kind != BENCH_LARGE ||
	    (sqlpool_column_int64(result, 3) == client->plan->text_n &&
		sqlpool_column_double(result, 4) == (double)id * 0.5);
}

static int
check_row(struct bench_client *client, const struct flight *flight)
{
	const struct bench_op *op = flight->op;

	if (op->kind == BENCH_SQL || is_right(client, flight))
		return 0;
	return bench_fail(client,
	    "%s by client %u: row %" PRIu64 " of what came for key %" PRIu64
	    " is not what --init wrote",
	    mix_get_name(op->kind), client->number, flight->rows_n + 1,
	    op->key);
}

/* All has come: is it as much as it should be? */
static int
check_amount(struct bench_client *client, struct flight *flight)
{
	struct bench_op *op = flight->op;
	uint64_t n = flight->rows_n;

	if (n == 0)
		n = (uint64_t)sqlpool_result_summary(flight->result)->changes;
	if (op->kind == BENCH_SQL)
		op->got_n = n;
	if (n == op->got_n)
		return 0;
	return bench_fail(client,
	    "%s by client %u: %" PRIu64 " rows for key %" PRIu64
	    ", not %" PRIu64,
	    mix_get_name(op->kind), client->number, n, op->key, op->got_n);
}

static void
end_flight(struct bench_client *client, struct flight *flight)
{
	flight->prev->next = flight->next;
	flight->next->prev = flight->prev;
	sqlpool_result_free(flight->result);
	bench_op_end(client, flight->op);
}

/* Take what is there of a statement's rows, or with `wait` all of them. */
static int
take_rows(struct bench_client *client, struct flight *flight, bool wait)
{
	struct sqlpool_result *result = flight->result;
	int rc = SQLPOOL_ROW;

	while (rc == SQLPOOL_ROW && (wait || sqlpool_result_is_ready(result))) {
		rc = sqlpool_next(result);
		if (rc < 0)
			return pool_fail(client, sqlpool_result_error(result),
			    flight->op->kind);
		if (rc == SQLPOOL_ROW && check_row(client, flight) < 0)
			return -1;
		flight->rows_n += rc == SQLPOOL_ROW;
	}
	if (rc == SQLPOOL_ROW)
		return 0;
	if (check_amount(client, flight) < 0)
		return -1;
	end_flight(client, flight);
	return 0;
}

/* Take an atomic request's answer, which is one frame: each of its steps has
 * changed a row or, TPC-B's balance, given one. */
static int
take_steps(struct bench_client *client, struct flight *flight)
{
	struct sqlpool_result *result = flight->result;
	enum bench_kind kind = flight->op->kind;
	uint64_t wanted_n = kind == BENCH_BULK
	    ? client->plan->bulk_n
	    : POOL_TPCB_HISTORY - POOL_TPCB_ACCOUNT + 1;
	uint64_t steps_n = 0;
	int rc = sqlpool_wait(result);

	if (rc == 0)
		rc = SQLPOOL_ROW;
	while (rc == SQLPOOL_ROW) {
		bool row = sqlpool_next(result) == SQLPOOL_ROW;

		if (row || sqlpool_result_summary(result)->changes == 1)
			steps_n++;
		rc = sqlpool_next_result(result);
	}
	if (rc < 0)
		return pool_fail(client, sqlpool_result_error(result), kind);
	if (steps_n != wanted_n)
		return bench_fail(client,
		    "%s by client %u: %" PRIu64 " statements had an effect, "
		    "not %" PRIu64,
		    mix_get_name(kind), client->number, steps_n, wanted_n);
	end_flight(client, flight);
	return 0;
}

static int
take(struct bench_client *client, struct flight *flight, bool wait)
{
	enum bench_kind kind = flight->op->kind;

	if (!wait && !sqlpool_result_is_ready(flight->result))
		return 0;
	return kind == BENCH_BULK || kind == BENCH_TPCB
	    ? take_steps(client, flight)
	    : take_rows(client, flight, wait);
}

static int
take_all(struct bench_client *client)
{
	struct pool_client *pool = client->data;
	struct flight *flight = pool->order.next;
	int rc = 0;

	while (rc == 0 && flight != &pool->order) {
		struct flight *next = flight->next;

		rc = take(client, flight, false);
		flight = next;
	}
	return rc;
}

/* Write what waits and take what is there: the library does both at once, so
 * answers may come when something is sent, and be announced by nothing else. */
static int
pool_receive(struct bench_client *client)
{
	struct pool_client *pool = client->data;
	short events;
	int timeout_ms;

	if (sqlpool_process(pool->conn) < 0 ||
	    sqlpool_get_pollinfo(
		pool->conn, &client->fd, &events, &timeout_ms) < 0)
		return bench_fail(client, "client %u: %s", client->number,
		    sqlpool_get_error(pool->conn)->message);
	client->want_write = events & POLLOUT;
	return take_all(client);
}

static int
pool_wait(struct bench_client *client)
{
	struct pool_client *pool = client->data;
	struct pollfd p = { .fd = client->fd, .events = POLLIN };

	/* the library's own way to wait takes the fewest system calls */
	if (pool->in_order)
		return take(client, pool->order.next, true) < 0
		    ? -1
		    : take_all(client);
	if (pool_receive(client) < 0)
		return -1;
	if (pool->order.next == &pool->order)
		return 0;
	if (client->want_write)
		p.events |= POLLOUT;
	if (poll(&p, 1, -1) < 0 && errno != EINTR)
		return bench_fail(client, "poll: %s", strerror(errno));
	return pool_receive(client);
}

#define ASYNC_KINDS                                              \
	(1 << BENCH_READ | 1 << BENCH_RANGE | 1 << BENCH_WRITE | \
	    1 << BENCH_LARGE | 1 << BENCH_BULK | 1 << BENCH_SQL)

const struct bench_driver pool_driver = {
	.name = "sqlpool",
	.kinds = ASYNC_KINDS | 1 << BENCH_RMW | 1 << BENCH_TPCB |
	    1 << BENCH_PING,
	.async_kinds = ASYNC_KINDS, /* and -o tpcb=batch */
	.open = pool_open,
	.send = pool_send,
	.flush = pool_receive,
	.receive = pool_receive,
	.wait = pool_wait,
	.run = run_op,
	.close = pool_close,
	.init = schema_init,
	.check = schema_check,
	.begin_verify = schema_begin_verify,
	.verify = schema_verify,
};
