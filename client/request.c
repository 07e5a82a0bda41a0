/* request.c - requests into frames, and requests apart from a connection. */
#include "impl.h"

#include <stdlib.h>
#include <string.h>

#include "socket.h"

/* Conditions nest inside the frame's own two levels and the steps' two:
 * walk.h allows 8. */
#define CONDITION_MAX_DEPTH 4
#define STEPS_MAX           10000
/* An array head of a condition holds at most this many without a count. */
#define CONDITION_MAX_OF 1000

struct step {
	struct buf fields; /* keys and values of the step's map */
	unsigned fields_n;
	struct buf condition;      /* the whole value; empty: none */
	struct sqlpool_conn *conn; /* of a prepared statement; else NULL */
};

struct sqlpool_request {
	struct step *steps;
	size_t steps_n;
	size_t steps_cap;
	uint32_t timeout_ms; /* 0: the connection's */
	uint64_t max_rows;   /* 0: all */
};

/* ---- values into bytes ---- */

static void
put_value(struct buf *b, const struct sqlpool_value *v)
{
	switch (v->type) {
	case SQLPOOL_TYPE_INTEGER:
		value_put_int(b, v->i);
		break;
	case SQLPOOL_TYPE_REAL:
		value_put_real(b, v->f);
		break;
	case SQLPOOL_TYPE_TEXT:
		value_put_text(b, v->p, v->n);
		break;
	case SQLPOOL_TYPE_BLOB:
		value_put_blob(b, v->p, v->n);
		break;
	case SQLPOOL_TYPE_NULL:
		value_put_nil(b);
		break;
	}
}

/* Why the values cannot be sent, or NULL. */
static const char *
check_values(const struct sqlpool_value *values, size_t n)
{
	if (n > 0 && !values)
		return "values is NULL but values_n is not 0";
	if (n > UINT16_MAX)
		return "more than 65535 values";
	for (size_t i = 0; i < n; i++) {
		const struct sqlpool_value *v = &values[i];

		if (v->type < SQLPOOL_TYPE_INTEGER ||
		    v->type > SQLPOOL_TYPE_NULL)
			return "a value has no type: make it with SQLPOOL_INT "
			       "and its like";
		if ((v->type == SQLPOOL_TYPE_TEXT ||
			v->type == SQLPOOL_TYPE_BLOB) &&
		    (!v->p || v->n > UINT32_MAX))
			return "a value's bytes are missing or over 4 GiB";
		if (!v->name != !values[0].name)
			return "some values are named and some are not";
	}
	return NULL;
}

int
request_put_statement(
    struct msg_out *m, const struct statement *s, const char **ret_why)
{
	const char *why = check_values(s->values, s->values_n);

	if (!s->sql && !s->stmt)
		why = "there is no SQL";
	if (why) {
		*ret_why = why;
		return -ERR_MISUSE;
	}
	if (s->sql)
		msg_put_str(m, ASK_sql, s->sql);
	else
		msg_put_uint(m, ASK_stmt, s->stmt->number);
	if (s->values_n == 0)
		return 0;
	msg_key(m, ASK_params);
	if (s->values[0].name)
		value_put_map(m->b, (uint32_t)s->values_n);
	else
		value_put_array(m->b, (uint32_t)s->values_n);
	for (size_t i = 0; i < s->values_n; i++) {
		const char *name = s->values[i].name;

		if (name)
			value_put_text(m->b, name, strlen(name));
		put_value(m->b, &s->values[i]);
	}
	return 0;
}

/* ---- frames ---- */

int
request_begin(struct sqlpool_conn *conn, enum msg_type type,
    uint32_t timeout_ms, struct msg_out *m, struct sqlpool_result **ret)
{
	struct sqlpool_result *result;
	int rc = conn_check(conn);

	if (rc < 0)
		return rc;
	if (conn->going_away && !conn->in_transaction)
		return conn_fail(conn, ERR_SHUTTING_DOWN, OUTCOME_NOT_APPLIED,
		    "%s", error_get_text(ERR_SHUTTING_DOWN));
	result = result_new(conn);
	if (!result)
		return -ERR_NO_MEMORY;
	if (!timeout_ms)
		timeout_ms = conn->request_timeout_ms;
	if (timeout_ms)
		result->timeout_ms = timeout_ms;
	result->done_expected = type == TYPE_EXEC || type == TYPE_BATCH ||
	    type == TYPE_SCRIPT;
	result->batch = type == TYPE_BATCH;
	result->in_stream = result->done_expected || type == TYPE_TX_BEGIN ||
	    type == TYPE_TX_END;
	msg_begin(m, &result->frame, type, result->id, 0);
	if (timeout_ms) /* else it has its database's */
		msg_put_uint(m, HEAD_timeout_ms, timeout_ms);
	msg_open_body(m);
	*ret = result;
	return 0;
}

int
request_submit(struct sqlpool_result *result, struct msg_out *m)
{
	struct sqlpool_conn *conn = result->conn;
	int rc = msg_end(m, conn->max_frame_out);

	if (rc == 0) {
		flight_submit(conn, result);
		return 0;
	}
	flight_forget_result(result);
	if (rc == -ERR_FRAME_TOO_LONG)
		return conn_fail(conn, -rc, OUTCOME_NOT_APPLIED,
		    "the request is longer than the daemon takes (%zu bytes, "
		    "its option max_frame)",
		    conn->max_frame_out);
	return conn_fail(conn, -rc, OUTCOME_NOT_APPLIED, "out of memory");
}

/* ---- requests apart ---- */

struct sqlpool_request *
sqlpool_request_new(void)
{
	return calloc(1, sizeof(struct sqlpool_request));
}

static void
step_fini(struct step *step)
{
	buf_fini(&step->fields);
	buf_fini(&step->condition);
}

void
sqlpool_request_free(struct sqlpool_request *request)
{
	if (!request)
		return;
	for (size_t i = 0; i < request->steps_n; i++)
		step_fini(&request->steps[i]);
	free(request->steps);
	free(request);
}

static struct step *
reserve_step(struct sqlpool_request *request)
{
	if (request->steps_n == request->steps_cap) {
		size_t cap = request->steps_cap ? 2 * request->steps_cap : 4;
		struct step *steps = realloc(
		    request->steps, cap * sizeof(*steps));

		if (!steps)
			return NULL;
		request->steps = steps;
		request->steps_cap = cap;
	}
	return &request->steps[request->steps_n];
}

static int
add_step(struct sqlpool_request *request, const struct statement *s)
{
	struct step *step;
	struct msg_out m = { 0 };
	const char *why;
	int rc;

	if (!request || request->steps_n >= STEPS_MAX)
		return -ERR_MISUSE;
	step = reserve_step(request);
	if (!step)
		return -ERR_NO_MEMORY;
	*step = (struct step){ .conn = s->stmt ? s->stmt->conn : NULL };
	m.b = &step->fields;
	rc = request_put_statement(&m, s, &why);
	if (rc == 0 && buf_failed(&step->fields))
		rc = -ERR_NO_MEMORY;
	if (rc < 0) {
		step_fini(step);
		return rc;
	}
	step->fields_n = m.keys_n;
	return (int)request->steps_n++;
}

int
sqlpool_request_add(struct sqlpool_request *request, const char *sql,
    const struct sqlpool_value *values, size_t values_n)
{
	struct statement s = {
		.sql = sql, .values = values, .values_n = values_n
	};

	return add_step(request, &s);
}

int
sqlpool_request_add_stmt(struct sqlpool_request *request,
    const struct sqlpool_stmt *stmt, const struct sqlpool_value *values,
    size_t values_n)
{
	struct statement s = {
		.stmt = stmt, .values = values, .values_n = values_n
	};

	if (!stmt || !stmt->conn)
		return -ERR_MISUSE;
	return add_step(request, &s);
}

/* steps_n: a step that is named must be earlier than this. */
static int
put_condition(struct buf *b, const struct sqlpool_condition *c, size_t steps_n,
    unsigned depth)
{
	bool leaf = c->kind == SQLPOOL_IF_OK || c->kind == SQLPOOL_IF_ERROR;

	if ((unsigned)c->kind > SQLPOOL_IF_OR || depth >= CONDITION_MAX_DEPTH)
		return -ERR_MISUSE;
	if (leaf) {
		if (c->step >= steps_n)
			return -ERR_MISUSE;
		value_put_array(b, 2);
		value_put_uint(b, (uint64_t)c->kind);
		value_put_uint(b, c->step);
		return 0;
	}
	if (!c->of || c->of_n == 0 || c->of_n > CONDITION_MAX_OF ||
	    (c->kind == SQLPOOL_IF_NOT && c->of_n != 1))
		return -ERR_MISUSE;
	value_put_array(b, (uint32_t)c->of_n + 1);
	value_put_uint(b, (uint64_t)c->kind);
	for (size_t i = 0; i < c->of_n; i++) {
		int rc = put_condition(b, &c->of[i], steps_n, depth + 1);

		if (rc < 0)
			return rc;
	}
	return 0;
}

int
sqlpool_request_set_condition(
    struct sqlpool_request *request, const struct sqlpool_condition *condition)
{
	struct buf b;
	struct step *last;
	int rc;

	if (!request || !condition || request->steps_n == 0)
		return -ERR_MISUSE;
	last = &request->steps[request->steps_n - 1];
	buf_init(&b);
	rc = put_condition(&b, condition, request->steps_n - 1, 0);
	if (rc == 0 && buf_failed(&b))
		rc = -ERR_NO_MEMORY;
	if (rc < 0) {
		buf_fini(&b);
		return rc;
	}
	buf_fini(&last->condition);
	last->condition = b;
	return 0;
}

int
sqlpool_request_set_option(struct sqlpool_request *request,
    enum sqlpool_request_option option, uint64_t value)
{
	if (!request)
		return -ERR_MISUSE;
	switch (option) {
	case SQLPOOL_TIMEOUT_MS:
		if (value > UINT32_MAX)
			return -ERR_MISUSE;
		request->timeout_ms = (uint32_t)value;
		return 0;
	case SQLPOOL_MAX_ROWS:
		if (value > INT64_MAX)
			return -ERR_MISUSE;
		request->max_rows = value;
		return 0;
	}
	return -ERR_MISUSE;
}

/* ---- sending ---- */

static void
put_single(struct msg_out *m, const struct sqlpool_request *request)
{
	const struct step *step = &request->steps[0];

	buf_put(m->b, step->fields.p, step->fields.n);
	m->keys_n += step->fields_n;
	if (request->max_rows)
		msg_put_uint(m, ASK_max_rows, request->max_rows);
}

static void
put_steps(struct msg_out *m, const struct sqlpool_request *request)
{
	msg_key(m, ASK_steps);
	value_put_array(m->b, (uint32_t)request->steps_n);
	for (size_t i = 0; i < request->steps_n; i++) {
		const struct step *step = &request->steps[i];
		bool max_rows = request->max_rows != 0;
		bool condition = step->condition.n > 0;

		value_put_map(m->b,
		    step->fields_n + (unsigned)max_rows + (unsigned)condition);
		buf_put(m->b, step->fields.p, step->fields.n);
		if (max_rows) {
			value_put_uint(m->b, ASK_max_rows);
			value_put_uint(m->b, request->max_rows);
		}
		if (condition) {
			value_put_uint(m->b, ASK_cond);
			buf_put(m->b, step->condition.p, step->condition.n);
		}
	}
}

static const char *
check_request(const struct sqlpool_conn *conn,
    const struct sqlpool_request *request, bool atomic)
{
	if (!request || request->steps_n == 0)
		return "the request has no step";
	if (!atomic &&
	    (request->steps_n > 1 || request->steps[0].condition.n > 0))
		return "a request of several steps, or with a condition, can "
		       "only run atomically";
	for (size_t i = 0; i < request->steps_n; i++)
		if (request->steps[i].conn && request->steps[i].conn != conn)
			return "a statement was prepared on another connection";
	return NULL;
}

static size_t
count_waiting(const struct sqlpool_conn *conn)
{
	return conn->out.n - conn->out_at + conn->unsent_bytes;
}

static int64_t
make_deadline(const struct sqlpool_conn *conn)
{
	uint32_t timeout_ms = conn->request_timeout_ms
	    ? conn->request_timeout_ms
	    : conn->daemon_timeout_ms;

	return socket_now_us() + ((int64_t)timeout_ms + GRACE_MS) * 1000;
}

/* Let the application wait while too much waits here, as long as it gets
 * less. */
static int
wait_for_room(struct sqlpool_conn *conn)
{
	int64_t deadline_us = make_deadline(conn);
	size_t least = count_waiting(conn);
	int rc = 0;

	if (conn->out.n - conn->out_at >= FLUSH_BYTES)
		rc = conn_turn(conn, false, 0);
	while (rc == 0 && count_waiting(conn) >= QUEUE_MAX_BYTES) {
		rc = conn_turn(conn, true, deadline_us);
		if (count_waiting(conn) < least) {
			least = count_waiting(conn);
			deadline_us = make_deadline(conn);
		} else if (rc == 0 && socket_now_us() > deadline_us) {
			rc = -ERR_CLIENT_TIMEOUT;
		}
	}
	if (rc == -ERR_CLIENT_TIMEOUT)
		return conn_fail(conn, ERR_TOO_MANY_REQUESTS,
		    OUTCOME_NOT_APPLIED,
		    "%zu bytes of requests wait for results to be taken",
		    count_waiting(conn));
	return rc;
}

static int
send_request(struct sqlpool_conn *conn, const struct sqlpool_request *request,
    bool atomic, struct sqlpool_result **ret_result)
{
	struct sqlpool_result *result = NULL;
	struct msg_out m = { 0 };
	const char *why;
	int rc = conn_check(conn);

	if (rc < 0)
		return rc;
	why = ret_result ? check_request(conn, request, atomic)
			 : "there is nowhere to put the result";
	if (why)
		return conn_fail(
		    conn, ERR_MISUSE, OUTCOME_NOT_APPLIED, "%s", why);
	rc = wait_for_room(conn);
	if (rc == 0)
		rc = request_begin(conn, atomic ? TYPE_BATCH : TYPE_EXEC,
		    request->timeout_ms, &m, &result);
	if (!result)
		return rc;
	if (atomic)
		put_steps(&m, request);
	else
		put_single(&m, request);
	rc = request_submit(result, &m);
	if (rc == 0)
		*ret_result = result;
	return rc;
}

int
request_start_statement(struct sqlpool_conn *conn, const struct statement *s,
    struct sqlpool_result **ret_result)
{
	struct sqlpool_result *result = NULL;
	struct msg_out m;
	const char *why;
	int rc = request_begin(conn, TYPE_EXEC, 0, &m, &result);

	if (!result)
		return rc;
	rc = request_put_statement(&m, s, &why);
	if (rc < 0) {
		flight_forget_result(result);
		return conn_fail(conn, -rc, OUTCOME_NOT_APPLIED, "%s", why);
	}
	rc = request_submit(result, &m);
	if (rc == 0)
		*ret_result = result;
	return rc;
}

int
sqlpool_stmt_send(struct sqlpool_stmt *stmt, const struct sqlpool_value *values,
    size_t values_n, struct sqlpool_result **ret_result)
{
	struct statement s = {
		.stmt = stmt, .values = values, .values_n = values_n
	};
	int rc = stmt && ret_result ? conn_check(stmt->conn) : -ERR_MISUSE;

	if (rc == 0)
		rc = wait_for_room(stmt->conn);
	return rc < 0 ? rc
		      : request_start_statement(stmt->conn, &s, ret_result);
}

int
sqlpool_send(struct sqlpool_conn *conn, const struct sqlpool_request *request,
    struct sqlpool_result **ret_result)
{
	return send_request(conn, request, false, ret_result);
}

int
sqlpool_send_atomic(struct sqlpool_conn *conn,
    const struct sqlpool_request *request, struct sqlpool_result **ret_result)
{
	return send_request(conn, request, true, ret_result);
}

int
sqlpool_run(struct sqlpool_conn *conn, const struct sqlpool_request *request,
    struct sqlpool_result **ret_result)
{
	struct sqlpool_result *result = NULL;
	int rc = ret_result ? send_request(conn, request, false, &result)
			    : -ERR_MISUSE;

	return rc < 0 ? rc : result_begin(result, ret_result);
}

int
sqlpool_run_atomic(struct sqlpool_conn *conn,
    const struct sqlpool_request *request, struct sqlpool_result **ret_result)
{
	struct sqlpool_result *result = NULL;
	int rc = ret_result ? send_request(conn, request, true, &result)
			    : -ERR_MISUSE;

	return rc < 0 ? rc : result_begin(result, ret_result);
}
