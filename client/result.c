/* result.c - the life of a result, and its frames as rows.
 *
 * Rows are read where they lie: a row's values are decoded when it is stepped
 * to, and TEXT gets its NUL by overwriting the byte that follows it.  That byte
 * is the head of a value which has been decoded already, except behind a row's
 * last column: there it is put back before the next row is read. */
#include "impl.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/frame.h"
#include "socket.h"

/* ---- birth and death ---- */

bool
result_type_is_in_stream(enum msg_type type)
{
	return type == TYPE_EXEC || type == TYPE_BATCH || type == TYPE_SCRIPT ||
	    type == TYPE_TX_BEGIN || type == TYPE_TX_END;
}

/* What follows from the type. */
static void
set_type(struct sqlpool_result *result, enum msg_type type)
{
	result->type = type;
	result->batch = type == TYPE_BATCH;
	result->done_expected = type == TYPE_EXEC || type == TYPE_BATCH ||
	    type == TYPE_SCRIPT;
	result->in_stream = result_type_is_in_stream(type);
	/* a transaction that has not begun to do anything is nothing */
	result->reads = type == TYPE_PING || type == TYPE_PREPARE ||
	    type == TYPE_TX_BEGIN || type == TYPE_HELLO;
	result->repeatable = result->reads;
}

/* One that was freed, or else a new one. */
static struct sqlpool_result *
make_result(struct sqlpool_conn *conn)
{
	struct sqlpool_result *result = conn->spares;

	if (!result)
		return mem_make(sizeof(*result));
	conn->spares = result->next;
	conn->spares_n--;
	memset(result, 0, sizeof(*result));
	return result;
}

struct sqlpool_result *
result_new(struct sqlpool_conn *conn, enum msg_type type)
{
	struct sqlpool_result *result = make_result(conn);

	if (!result) {
		(void)conn_fail(
		    conn, ERR_NO_MEMORY, OUTCOME_NOT_APPLIED, "out of memory");
		return NULL;
	}
	set_type(result, type);
	result->conn = conn;
	result->id = conn->next_id++;
	result->timeout_ms = conn->daemon_timeout_ms;
	result->granted = conn->window_bytes;
	result->row = result->inline_row;
	failure_clear(&result->failure);
	failure_clear(&result->step_failure);
	result->state = RESULT_ENDED; /* until it is submitted */
	result->next = conn->results;
	if (result->next)
		result->next->prev = result;
	conn->results = result;
	return result;
}

/* Forget what belongs to the step the result stands on. */
static void
leave_step(struct sqlpool_result *result)
{
	if (result->row != result->inline_row)
		mem_free(result->row);
	result->row = result->inline_row;
	mem_free(result->names);
	result->names = NULL;
	mem_free(result->numbers);
	result->numbers = NULL;
	result->columns_n = 0;
	result->rows_left = 0;
	result->has_row = false;
	failure_clear(&result->step_failure);
}

void
result_drop_chunks(struct sqlpool_result *result)
{
	while (result->first) {
		struct chunk *chunk = result->first;

		result->first = chunk->next;
		mem_free(chunk);
	}
	result->last = NULL;
}

/* One that expects nothing may stay so for long, and has few: trim_idle. */
static bool
wants_spare(const struct sqlpool_conn *conn)
{
	return conn->spares_n <
	    (conn->in_flight_n > 0 ? SPARES_MAX : SPARES_IDLE_MAX);
}

void
result_destroy(struct sqlpool_result *result)
{
	struct sqlpool_conn *conn = result->conn;

	leave_step(result);
	result_drop_chunks(result);
	failure_clear(&result->failure);
	buf_fini(&result->frame);
	if (conn && wants_spare(conn)) {
		result->next = conn->spares;
		conn->spares = result;
		conn->spares_n++;
		return;
	}
	mem_free(result);
}

void
result_drop_spares(struct sqlpool_conn *conn)
{
	while (conn->spares) {
		struct sqlpool_result *result = conn->spares;

		conn->spares = result->next;
		mem_free(result);
	}
	conn->spares_n = 0;
}

void
result_fail(struct sqlpool_result *result, const struct failure *f)
{
	if (result->failure.pub.code)
		return;
	failure_copy(&result->failure, f);
	/* the chunk that is being read stays: the application may hold
	 * pointers into it */
	while (result->first && result->first->next) {
		struct chunk *chunk = result->first->next;

		result->first->next = chunk->next;
		mem_free(chunk);
	}
	if (!result->loaded)
		result_drop_chunks(result);
	result->last = result->first;
	if (result->conn)
		async_mark(result);
}

void
sqlpool_result_free(struct sqlpool_result *result)
{
	struct sqlpool_conn *conn;

	if (!result)
		return;
	conn = result->conn;
	if (conn)
		async_unmark(result);
	result->callback = NULL;
	if (result->state != RESULT_WAITING || !conn ||
	    conn->pid != socket_get_pid()) {
		flight_forget_result(result);
		return;
	}
	result->zombie = true;
	result_drop_chunks(result);
	flight_put_cancel(result);
	(void)conn_turn(conn, false, 0); /* the result may be gone now */
}

void
result_take_summary(
    struct sqlpool_summary *summary, const struct msg_tell *tell)
{
	summary->changes = tell->changes;
	summary->rowid = tell->rowid;
	summary->seq = tell->seq;
	summary->queue_us = tell->queue_us;
	summary->exec_us = tell->exec_us;
	summary->statements_n = (uint32_t)tell->statements_n;
}

/* ---- waiting ---- */

int64_t
result_make_deadline(const struct sqlpool_result *result)
{
	return socket_now_us() +
	    ((int64_t)result->timeout_ms + GRACE_MS) * 1000;
}

static void
explain_time_out(const struct sqlpool_result *result, struct failure *f)
{
	const struct sqlpool_conn *conn = result->conn;
	bool unsure = result->repeated && !result->reads;

	if (result->state != RESULT_UNSENT)
		failure_set(f, ERR_CLIENT_TIMEOUT,
		    result->reads ? OUTCOME_NOT_APPLIED : OUTCOME_UNKNOWN,
		    "no answer within %u ms", result->timeout_ms);
	else if (conn->state == CONN_OPEN)
		failure_set(f, ERR_CLIENT_TIMEOUT, OUTCOME_NOT_APPLIED,
		    "not sent within %u ms: results that are not taken fill "
		    "the connection",
		    result->timeout_ms);
	else
		failure_set(f, ERR_CLIENT_TIMEOUT,
		    unsure ? OUTCOME_UNKNOWN : OUTCOME_NOT_APPLIED,
		    "no daemon to send it to within %u ms: %s",
		    result->timeout_ms,
		    conn->state == CONN_LEAVING ? "it is about to stop"
						: conn->why.pub.message);
}

void
result_time_out(struct sqlpool_result *result)
{
	bool unsent = result->state == RESULT_UNSENT;
	struct failure f = { 0 };

	explain_time_out(result, &f);
	result_fail(result, &f);
	failure_clear(&f);
	if (unsent) {
		flight_end_result(result);
		return;
	}
	flight_put_cancel(result);
	(void)conn_turn(result->conn, false, 0);
}

bool
result_is_waiting(const struct sqlpool_result *result, bool all)
{
	return result->state != RESULT_ENDED && !result->failure.pub.code &&
	    (all || !result->first);
}

/* Wait for a part, or with `all` for the end.  What goes wrong is in the
 * result's failure. */
static void
wait_for(struct sqlpool_result *result, bool all)
{
	int64_t deadline_us = 0;

	while (result_is_waiting(result, all)) {
		struct sqlpool_conn *conn = result->conn;
		int rc;

		if (!deadline_us)
			deadline_us = result_make_deadline(result);
		rc = conn_turn(conn, true, deadline_us);
		if (!result_is_waiting(result, all))
			break;
		/* others' replies may keep it from ever sleeping */
		if (rc == -ERR_CLIENT_TIMEOUT || socket_now_us() > deadline_us)
			result_time_out(result);
		else if (rc < 0)
			result_fail(result, &conn->failure);
	}
}

/* The result's failure is also the connection's last. */
static int
report(struct sqlpool_result *result, const struct failure *f)
{
	int code = f->pub.code;

	if (result->conn && code)
		failure_copy(&result->conn->failure, f);
	return -code;
}

int
result_finish(struct sqlpool_result *result)
{
	struct sqlpool_conn *conn = result->conn;
	int rc;

	result->discard = true;
	wait_for(result, true);
	rc = report(result, &result->failure);
	if (rc == 0)
		conn->summary = result->summary;
	sqlpool_result_free(result);
	return rc;
}

/* ---- frames into rows ---- */

static int
bad_result(struct sqlpool_result *result, const char *why)
{
	struct failure f = { 0 };

	failure_set(&f, ERR_BAD_REPLY, OUTCOME_UNKNOWN,
	    "the daemon sent something that is not a result: %s", why);
	result->rows_left = 0;
	result->has_row = false;
	result_fail(result, &f);
	if (result->conn && result->conn->fd >= 0)
		(void)life_lose(
		    result->conn, ERR_BAD_REPLY, "%s", f.pub.message);
	failure_clear(&f);
	return -ERR_BAD_REPLY;
}

static int
no_memory(struct sqlpool_result *result)
{
	struct failure f = { 0 };

	failure_set(&f, ERR_NO_MEMORY, OUTCOME_UNKNOWN,
	    "out of memory while the result was read");
	result_fail(result, &f);
	failure_clear(&f);
	return -ERR_NO_MEMORY;
}

/* Enter an array: *cur is behind its head.  An absent one is empty. */
static uint32_t
enter_array(struct span *cur)
{
	struct value v;

	if (cur->n == 0)
		return 0;
	value_read(cur, &v);
	return v.count;
}

static int
set_columns(
    struct sqlpool_result *result, struct span columns, struct span decltypes)
{
	struct span cur = columns;
	uint32_t n = enter_array(&cur);
	struct value v;

	for (uint32_t i = 0; i < n; i++) {
		value_read(&cur, &v);
		if (v.kind != VALUE_TEXT)
			return bad_result(result, "a column without a name");
	}
	cur = decltypes;
	if (cur.n > 0 && enter_array(&cur) != n)
		return bad_result(result, "not one type for each column");
	for (uint32_t i = 0; i < n && cur.n > 0; i++) {
		value_read(&cur, &v);
		if (v.kind != VALUE_TEXT && v.kind != VALUE_NULL)
			return bad_result(result, "a column type is no text");
	}
	if (n > INLINE_COLUMNS) {
		struct value *row = mem_make(n * sizeof(*row));

		if (!row)
			return no_memory(result);
		result->row = row;
	}
	result->columns = columns;
	result->decltypes = decltypes;
	result->columns_n = n;
	return 0;
}

/* Stand on the next of the steps that are left. */
static int
load_step(struct sqlpool_result *result)
{
	struct span raw = result->steps;
	struct msg_tell tell;
	struct msg_fault fault;
	struct value v;

	leave_step(result);
	result->summary.changes = 0;
	result->summary.rowid = 0;
	result->summary.rows_n = 0;
	value_read(&raw, &v);
	raw = result->steps;
	value_skip(&result->steps);
	raw.n -= result->steps.n;
	result->steps_left--;
	result->summary.skipped = v.kind == VALUE_NULL;
	if (v.kind == VALUE_NULL)
		return 0;
	if (v.kind != VALUE_MAP || msg_read_tell(raw, &tell, &fault) < 0)
		return bad_result(result, "a step's result is no map");
	if (MSG_HAS(&tell, TELL_error)) {
		struct span map = tell.error;

		if (msg_read_tell(map, &tell, &fault) < 0 || tell.code == 0)
			return bad_result(result, "a step's error is none");
		failure_take(&result->step_failure, &tell);
		return 0;
	}
	result->summary.changes = tell.changes;
	result->summary.rowid = tell.rowid;
	result->rows = tell.rows;
	result->rows_left = enter_array(&result->rows);
	return set_columns(result, tell.columns, tell.decltypes);
}

/* The first chunk is new: stand before its rows. */
static int
load_chunk(struct sqlpool_result *result)
{
	struct chunk *chunk = result->first;

	result->loaded = true;
	result->bytes = chunk->bytes;
	if (result->batch) {
		result->steps = chunk->steps;
		result->steps_left = enter_array(&result->steps);
		if (result->steps_left == 0)
			return bad_result(result, "no steps");
		result->whole = result->summary;
		return load_step(result);
	}
	result->rows = chunk->rows;
	result->rows_left = enter_array(&result->rows);
	if (result->columns_n > 0)
		return 0;
	return set_columns(result, chunk->columns, chunk->decltypes);
}

/* The first chunk is used up: give the daemon room for another one. */
static int
drop_chunk(struct sqlpool_result *result)
{
	struct chunk *chunk = result->first;
	int rc = 0;

	if (!result->names && result->columns_n > 0)
		rc = result_make_names(result);
	result->has_row = false;
	result->loaded = false;
	result->first = chunk->next;
	if (!result->first)
		result->last = NULL;
	result->consumed += FRAME_PREFIX_BYTES + chunk->n;
	mem_free(chunk);
	if (rc == 0 && result->state == RESULT_WAITING &&
	    flight_refill_window(result, result->consumed))
		(void)conn_turn(result->conn, false, 0);
	return rc;
}

/* Make sure that the result stands on something.  Returns SQLPOOL_ROW, or
 * SQLPOOL_DONE at the end. */
static int
load(struct sqlpool_result *result)
{
	int rc = SQLPOOL_ROW;

	if (!result->loaded) {
		if (result->callback && result_is_waiting(result, false))
			return SQLPOOL_AGAIN;
		wait_for(result, false);
		if (!result->failure.pub.code && result->first)
			(void)load_chunk(result); /* the failure is recorded */
		else
			rc = SQLPOOL_DONE;
	}
	return result->failure.pub.code ? report(result, &result->failure) : rc;
}

int
result_begin(struct sqlpool_result *result, struct sqlpool_result **ret_result)
{
	int rc = load(result);

	if (rc < 0) {
		sqlpool_result_free(result);
		return rc;
	}
	*ret_result = result;
	return 0;
}

int
sqlpool_wait(struct sqlpool_result *result)
{
	int rc;

	if (!result)
		return -ERR_MISUSE;
	if (!result->loaded)
		wait_for(result, false);
	rc = load(result);
	return rc < 0 ? rc : 0;
}

static int
decode_row(struct sqlpool_result *result)
{
	struct value v;

	value_read(&result->rows, &v);
	if (v.kind != VALUE_ARRAY || v.count != result->columns_n)
		return bad_result(result, "a row does not match the columns");
	for (size_t i = 0; i < result->columns_n; i++) {
		value_read(&result->rows, &result->row[i]);
		if (result->row[i].kind == VALUE_BIG_UINT ||
		    result->row[i].kind > VALUE_BLOB)
			return bad_result(result, "a value that is not SQL's");
	}
	result->rows_left--;
	result->summary.rows_n++;
	result->has_row = true;
	return SQLPOOL_ROW;
}

static void
restore_byte(struct sqlpool_result *result)
{
	if (result->nul_at)
		*result->nul_at = result->nul_was;
	result->nul_at = NULL;
}

int
sqlpool_next(struct sqlpool_result *result)
{
	int rc;

	if (!result)
		return -ERR_MISUSE;
	restore_byte(result);
	for (;;) {
		rc = load(result);
		if (rc == SQLPOOL_ROW && result->rows_left > 0) {
			rc = decode_row(result);
			return rc < 0 ? report(result, &result->failure) : rc;
		}
		result->has_row = false;
		if (rc < 0 || rc == SQLPOOL_AGAIN)
			return rc;
		if (result->batch)
			return report(result, &result->step_failure);
		/* the last chunk stays, for the names in it */
		if (rc == SQLPOOL_DONE ||
		    (result->state == RESULT_ENDED && !result->first->next)) {
			if (result->conn)
				result->conn->summary = result->summary;
			return SQLPOOL_DONE;
		}
		if (drop_chunk(result) < 0)
			(void)no_memory(result);
	}
}

/* Behind the last step the summary is that of all of them. */
static void
end_steps(struct sqlpool_result *result)
{
	result->has_row = false;
	if (!result->batch)
		return;
	leave_step(result);
	result->summary = result->whole;
	if (result->conn)
		result->conn->summary = result->summary;
}

int
sqlpool_next_result(struct sqlpool_result *result)
{
	int rc;

	if (!result)
		return -ERR_MISUSE;
	restore_byte(result);
	rc = load(result);
	if (rc < 0 || rc == SQLPOOL_AGAIN)
		return rc;
	if (!result->batch || result->steps_left == 0) {
		end_steps(result);
		return SQLPOOL_DONE;
	}
	rc = load_step(result);
	return rc < 0 ? report(result, &result->failure) : SQLPOOL_ROW;
}

bool
sqlpool_result_is_ready(const struct sqlpool_result *result)
{
	if (!result || result->state == RESULT_ENDED ||
	    result->failure.pub.code)
		return true;
	if (!result->loaded)
		return result->first;
	return result->batch || result->rows_left > 0 || result->first->next;
}

int
sqlpool_cancel(struct sqlpool_result *result)
{
	struct failure f = { 0 };
	int rc;

	if (!result)
		return -ERR_MISUSE;
	if (result->state == RESULT_ENDED || result->failure.pub.code)
		return 0;
	rc = conn_check(result->conn);
	if (rc < 0)
		return rc;
	if (result->state == RESULT_WAITING) {
		flight_put_cancel(result);
		return conn_turn(result->conn, false, 0);
	}
	failure_set(&f, ERR_CANCELLED, OUTCOME_NOT_APPLIED, "%s",
	    error_get_text(ERR_CANCELLED));
	flight_fail(result, &f);
	failure_clear(&f);
	return 0;
}

const struct sqlpool_summary *
sqlpool_result_summary(const struct sqlpool_result *result)
{
	return result ? &result->summary : NULL;
}
