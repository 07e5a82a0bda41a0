/* request.c - requests into frames, and frames on their way. */
#include "impl.h"

#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"
#include "socket.h"

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

	if (!s->sql && !s->stmt && !s->as_before)
		why = "there is no SQL";
	if (why) {
		*ret_why = why;
		return -ERR_MISUSE;
	}
	if (s->sql)
		msg_put_str(m, ASK_sql, s->sql);
	else if (s->stmt)
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

/* Errors: -ERR_SHUTTING_DOWN, -ERR_CONNECTION_LOST. */
static int
check_way(struct sqlpool_conn *conn, enum msg_type type)
{
	int rc = conn_check(conn);

	if (rc < 0)
		return rc;
	if (conn->state == CONN_LEAVING && !conn->in_transaction &&
	    !life_can_return(conn))
		return conn_fail(conn, ERR_SHUTTING_DOWN, OUTCOME_NOT_APPLIED,
		    "%s", error_get_text(ERR_SHUTTING_DOWN));
	if (conn->tx_lost && result_type_is_in_stream(type))
		return conn_fail(conn, ERR_CONNECTION_LOST, OUTCOME_NOT_APPLIED,
		    "the connection was lost in a transaction, which was "
		    "rolled back: call sqlpool_rollback, then begin it again");
	return 0;
}

int
request_begin(struct sqlpool_conn *conn, enum msg_type type,
    uint32_t timeout_ms, struct msg_out *m, struct sqlpool_result **ret)
{
	struct sqlpool_result *result;
	int rc = check_way(conn, type);

	if (rc < 0)
		return rc;
	result = result_new(conn, type);
	if (!result)
		return -ERR_NO_MEMORY;
	if (!timeout_ms)
		timeout_ms = conn->request_timeout_ms;
	if (timeout_ms)
		result->timeout_ms = timeout_ms;
	msg_begin(m, &result->frame, type, result->id, 0);
	if (timeout_ms) /* else it has its database's */
		msg_put_uint(m, HEAD_timeout_ms, timeout_ms);
	msg_open_body(m);
	*ret = result;
	return 0;
}

int
request_end(struct sqlpool_result *result, struct msg_out *m)
{
	struct sqlpool_conn *conn = result->conn;
	int rc = msg_end(m, conn->max_frame_out);

	result->body_at = m->map_at;
	if (rc == 0)
		return 0;
	flight_forget_result(result);
	if (rc == -ERR_FRAME_TOO_LONG)
		return conn_fail(conn, -rc, OUTCOME_NOT_APPLIED,
		    "the request is longer than the daemon takes (%zu bytes, "
		    "its option max_frame)",
		    conn->max_frame_out);
	return conn_fail(conn, -rc, OUTCOME_NOT_APPLIED, "out of memory");
}

int
request_submit(struct sqlpool_result *result, struct msg_out *m)
{
	int rc = request_end(result, m);

	if (rc == 0)
		flight_submit(result->conn, result);
	return rc;
}

int
request_prepare(struct sqlpool_stmt *stmt, struct sqlpool_result **ret_result)
{
	struct sqlpool_result *result = NULL;
	struct msg_out m;
	int rc = request_begin(stmt->conn, TYPE_PREPARE, 0, &m, &result);

	if (rc < 0)
		return rc;
	msg_put_str(&m, ASK_sql, stmt->sql);
	msg_put_uint(&m, ASK_stmt, stmt->number);
	rc = request_end(result, &m);
	if (rc == 0)
		*ret_result = result;
	return rc;
}

bool
request_make_probe(struct sqlpool_result *result)
{
	static const uint8_t field[] = { ASK_read_only, 0xc3 /* true */ };
	struct buf *frame = &result->frame;

	if (result->probe)
		return true;
	buf_put(frame, field, sizeof(field));
	if (buf_failed(frame))
		return false;
	frame->p[result->body_at]++;
	frame_put_prefix(frame->p, (uint32_t)(frame->n - FRAME_PREFIX_BYTES));
	result->probe = true;
	return true;
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

static bool
is_worth_writing(const struct sqlpool_conn *conn)
{
	return conn->out.n - conn->out_at >= FLUSH_BYTES ||
	    (!conn->patience.crowded && conn->unwritten_n >= FLUSH_REQUESTS &&
		conn->unwritten_n >= conn->in_flight_n / FLUSH_PART);
}

/* Let the application wait while too much waits here, as long as it gets
 * less. */
static int
wait_for_room(struct sqlpool_conn *conn)
{
	size_t least = count_waiting(conn);
	int64_t deadline_us;
	int rc = 0;

	if (is_worth_writing(conn))
		rc = conn_turn(conn, false, 0);
	if (rc == 0 && count_waiting(conn) < QUEUE_MAX_BYTES)
		return 0;
	if (conn->nonblocking && rc == 0)
		rc = -ERR_CLIENT_TIMEOUT;
	deadline_us = make_deadline(conn);
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
	why = ret_result ? steps_check(request, conn, atomic)
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
	steps_put(request, &m, atomic);
	result->reads = request->read_only;
	result->repeatable = request->read_only || request->idempotent;
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
