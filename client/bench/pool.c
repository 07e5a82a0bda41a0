/* pool.c - the driver of the daemon: connect, send, take. */
#include "client/bench/pool.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "client/bench/mix.h"

/* clang-format off */
static const char *const texts[BENCH_KINDS_N] = {
	[BENCH_READ] = "SELECT n, c FROM bench WHERE id = ?1",
	[BENCH_RANGE] =
	    "SELECT id, n, c FROM bench WHERE id >= ?1 ORDER BY id LIMIT ?2",
	[BENCH_WRITE] = "UPDATE bench SET n = n + 1 WHERE id = ?1",
	[BENCH_LARGE] = "SELECT id, n, c, length(c), id * 0.5 FROM bench"
	    " WHERE id <= ?1 ORDER BY id",
	[BENCH_BULK] = "INSERT INTO bench_bulk(n, c) VALUES (?1, ?2)",
};
/* clang-format on */

const char *
pool_get_sql(const struct bench_plan *plan, enum bench_kind kind)
{
	return kind == BENCH_SQL ? plan->sql : texts[kind];
}

int
pool_fail(struct bench_client *client, const struct sqlpool_error *error,
    enum bench_kind kind)
{
	return bench_fail(client, "%s by client %u: %s (%s)",
	    mix_get_name(kind), client->number, error->message, error->name);
}

static int
fail_conn(struct bench_client *client, enum bench_kind kind)
{
	const struct pool_client *pool = client->data;

	return pool_fail(client, sqlpool_get_error(pool->conn), kind);
}

/* ---- connecting ---- */

static int
prepare_statements(struct bench_client *client)
{
	struct pool_client *pool = client->data;
	const struct bench_plan *plan = client->plan;

	if (strcmp(bench_get_opt(plan, "prepare", "yes"), "no") == 0)
		return 0;
	for (unsigned i = 0; i < BENCH_KINDS_N; i++) {
		enum bench_kind kind = (enum bench_kind)i;
		const char *sql = pool_get_sql(plan, kind);

		if (bench_has(plan, kind) && sql &&
		    sqlpool_prepare(pool->conn, sql, &pool->stmt[i]) < 0)
			return fail_conn(client, kind);
	}
	return 0;
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

	options.socket_path = client->plan->socket_path;
	options.database = client->plan->database;
	options.app_name = "sqlpool-bench";
	if (sqlpool_open(&options, &pool->conn) < 0 ||
	    sqlpool_get_pollinfo(pool->conn, &client->fd, &events) < 0)
		return bench_fail(client, "client %u: %s", client->number,
		    sqlpool_get_error(pool->conn)->message);
	if (prepare_statements(client) < 0)
		return -1;
	return 0;
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

static int
send_values(struct bench_client *client, struct bench_op *op,
    const struct sqlpool_value *values, size_t values_n)
{
	struct pool_client *pool = client->data;
	struct flight *flight = &pool->flights[op->slot];
	struct sqlpool_request *request = sqlpool_request_new();
	int rc;

	if (!request)
		return bench_fail(client, "out of memory");
	if (pool->stmt[op->kind])
		rc = sqlpool_request_add_stmt(
		    request, pool->stmt[op->kind], values, values_n);
	else
		rc = sqlpool_request_add(request,
		    pool_get_sql(client->plan, op->kind), values, values_n);
	if (rc >= 0)
		rc = sqlpool_send(pool->conn, request, &flight->result);
	sqlpool_request_free(request);
	return rc < 0 ? fail_conn(client, op->kind) : 0;
}

static int
pool_send(struct bench_client *client, struct bench_op *op)
{
	struct pool_client *pool = client->data;
	struct flight *flight = &pool->flights[op->slot];
	struct sqlpool_value value = SQLPOOL_INT((int64_t)op->key);

	if (send_values(client, op, &value, 1) < 0)
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

static int
check_read(struct bench_client *client, struct flight *flight)
{
	struct sqlpool_result *result = flight->result;
	const struct bench_op *op = flight->op;
	const void *text;
	size_t n;

	text = sqlpool_column_blob(result, 1, &n);
	if (!bench_text_is(client->plan, op->key, text, n))
		return bench_fail(client,
		    "read by client %u: row %" PRIu64 " is not what it was",
		    client->number, op->key);
	return 0;
}

static int
check_row(struct bench_client *client, struct flight *flight)
{
	if (flight->op->kind == BENCH_READ)
		return check_read(client, flight);
	return 0;
}

/* All rows have come: are they as many as they should be? */
static int
check_end(struct bench_client *client, const struct flight *flight)
{
	const struct bench_op *op = flight->op;
	uint64_t n = flight->rows_n;

	if (op->kind == BENCH_WRITE)
		n = (uint64_t)sqlpool_result_summary(flight->result)->changes;
	if (n != op->got_n)
		return bench_fail(client,
		    "%s by client %u: %" PRIu64 " rows, not %" PRIu64,
		    mix_get_name(op->kind), client->number, n, op->got_n);
	return 0;
}

/* Take what is there of an operation. */
static int
take_rows(struct bench_client *client, struct flight *flight)
{
	struct sqlpool_result *result = flight->result;
	int rc = SQLPOOL_ROW;

	while (rc == SQLPOOL_ROW && sqlpool_result_is_ready(result)) {
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
	if (check_end(client, flight) < 0)
		return -1;
	flight->prev->next = flight->next;
	flight->next->prev = flight->prev;
	sqlpool_result_free(result);
	bench_op_end(client, flight->op);
	return 0;
}

static int
take_all(struct bench_client *client)
{
	struct pool_client *pool = client->data;
	struct flight *flight = pool->order.next;
	int rc = 0;

	while (rc == 0 && flight != &pool->order) {
		struct flight *next = flight->next;

		if (sqlpool_result_is_ready(flight->result))
			rc = take_rows(client, flight);
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

	if (sqlpool_process(pool->conn) < 0 ||
	    sqlpool_get_pollinfo(pool->conn, &client->fd, &events) < 0)
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

	if (pool->in_order) {
		struct flight *first = pool->order.next;

		if (sqlpool_wait(first->result) < 0)
			return pool_fail(client,
			    sqlpool_result_error(first->result),
			    first->op->kind);
		return take_all(client);
	}
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

int
run_op(struct bench_client *client, struct bench_op *op)
{
	struct pool_client *pool = client->data;

	return sqlpool_ping(pool->conn) < 0 ? fail_conn(client, op->kind) : 0;
}

const struct bench_driver pool_driver = {
	.name = "sqlpool",
	.kinds = 1 << BENCH_READ | 1 << BENCH_WRITE | 1 << BENCH_PING,
	.async_kinds = 1 << BENCH_READ | 1 << BENCH_WRITE,
	.open = pool_open,
	.send = pool_send,
	.flush = pool_receive,
	.receive = pool_receive,
	.wait = pool_wait,
	.run = run_op,
	.close = pool_close,
};
