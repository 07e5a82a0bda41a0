/* steps.c - requests apart from a connection: steps, conditions, options. */
#include "impl.h"

#include <stdlib.h>
#include <string.h>

/* Conditions nest inside the frame's own two levels and the steps' two:
 * walk.h allows 8. */
#define CONDITION_MAX_DEPTH 4
#define STEPS_MAX           10000
/* An array head of a condition holds at most this many without a count. */
#define CONDITION_MAX_OF 1000

/* Where a step's keys and values are in the request's bytes. */
struct step {
	size_t at;
	size_t n;
	size_t condition_at; /* of its condition's key; 0: there is none */
	unsigned fields_n;
	struct sqlpool_conn *conn; /* of a prepared statement; else NULL */
};

struct sqlpool_request *
sqlpool_request_new(void)
{
	return mem_make(sizeof(struct sqlpool_request));
}

void
sqlpool_request_free(struct sqlpool_request *request)
{
	if (!request)
		return;
	buf_fini(&request->bytes);
	mem_free(request->steps);
	mem_free(request);
}

static struct step *
reserve_step(struct sqlpool_request *request)
{
	if (request->steps_n == request->steps_cap) {
		size_t cap = request->steps_cap ? 2 * request->steps_cap : 4;
		struct step *steps = mem_resize(
		    request->steps, cap * sizeof(*steps));

		if (!steps)
			return NULL;
		request->steps = steps;
		request->steps_cap = cap;
	}
	return &request->steps[request->steps_n];
}

/* Take back what was written behind the first n bytes. */
static void
cut_bytes(struct sqlpool_request *request, size_t n)
{
	buf_cut(&request->bytes, n);
	request->bytes.failed = false;
}

static int
add_step(struct sqlpool_request *request, const struct statement *s)
{
	struct msg_out m = { .b = &request->bytes };
	struct step *step;
	const char *why;
	size_t at;
	int rc;

	if (request->steps_n >= STEPS_MAX)
		return -ERR_MISUSE;
	step = reserve_step(request);
	if (!step)
		return -ERR_NO_MEMORY;
	at = request->bytes.n;
	rc = request_put_statement(&m, s, &why);
	if (rc == 0 && buf_failed(&request->bytes))
		rc = -ERR_NO_MEMORY;
	if (rc < 0) {
		cut_bytes(request, at);
		return rc;
	}
	*step = (struct step){
		.at = at,
		.n = request->bytes.n - at,
		.fields_n = m.keys_n,
		.conn = s->stmt ? s->stmt->conn : NULL,
	};
	return (int)request->steps_n++;
}

int
sqlpool_request_add(struct sqlpool_request *request, const char *sql,
    const struct sqlpool_value *values, size_t values_n)
{
	struct statement s = {
		.sql = sql,
		.values = values,
		.values_n = values_n,
		.as_before = !sql && request && request->steps_n > 0,
	};

	return request ? add_step(request, &s) : -ERR_MISUSE;
}

int
sqlpool_request_add_stmt(struct sqlpool_request *request,
    const struct sqlpool_stmt *stmt, const struct sqlpool_value *values,
    size_t values_n)
{
	struct statement s = {
		.stmt = stmt, .values = values, .values_n = values_n
	};

	if (!request || !stmt || !stmt->conn)
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

/* The condition that was written behind `before` is the step's, instead of one it
 * has. */
static void
take_condition(
    struct sqlpool_request *request, struct step *step, size_t before)
{
	struct buf *b = &request->bytes;
	size_t n = b->n - before;

	if (step->condition_at) {
		memmove(b->p + step->condition_at, b->p + before, n);
		b->n = step->condition_at + n;
	} else {
		step->condition_at = before;
		step->fields_n++;
	}
	step->n = b->n - step->at;
}

int
sqlpool_request_set_condition(
    struct sqlpool_request *request, const struct sqlpool_condition *condition)
{
	struct msg_out m;
	struct step *last;
	size_t before;
	int rc;

	if (!request || !condition || request->steps_n == 0)
		return -ERR_MISUSE;
	last = &request->steps[request->steps_n - 1];
	before = request->bytes.n;
	m = (struct msg_out){ .b = &request->bytes };
	msg_key(&m, ASK_cond);
	rc = put_condition(&request->bytes, condition, request->steps_n - 1, 0);
	if (rc == 0 && buf_failed(&request->bytes))
		rc = -ERR_NO_MEMORY;
	if (rc < 0) {
		cut_bytes(request, before);
		return rc;
	}
	take_condition(request, last, before);
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
	case SQLPOOL_READ_ONLY:
	case SQLPOOL_IDEMPOTENT:
		if (value > 1)
			return -ERR_MISUSE;
		if (option == SQLPOOL_READ_ONLY)
			request->read_only = value;
		else
			request->idempotent = value;
		return 0;
	}
	return -ERR_MISUSE;
}

/* ---- sending ---- */

/* The fields of EXEC and BATCH. */
static void
put_options(struct msg_out *m, const struct sqlpool_request *request)
{
	if (request->max_rows)
		msg_put_uint(m, ASK_max_rows, request->max_rows);
	if (request->read_only) {
		msg_key(m, ASK_read_only);
		value_put_bool(m->b, true);
	}
}

void
steps_put(const struct sqlpool_request *request, struct msg_out *m, bool atomic)
{
	put_options(m, request);
	if (atomic) {
		msg_key(m, ASK_steps);
		value_put_array(m->b, (uint32_t)request->steps_n);
	}
	for (size_t i = 0; i < request->steps_n; i++) {
		const struct step *step = &request->steps[i];

		if (atomic)
			value_put_map(m->b, step->fields_n);
		else
			m->keys_n += step->fields_n;
		buf_put(m->b, request->bytes.p + step->at, step->n);
	}
}

const char *
steps_check(const struct sqlpool_request *request,
    const struct sqlpool_conn *conn, bool atomic)
{
	if (!request || request->steps_n == 0)
		return "the request has no step";
	if (!atomic && (request->steps_n > 1 || request->steps[0].condition_at))
		return "a request of several steps, or with a condition, can "
		       "only run atomically";
	if (atomic && request->max_rows)
		return "only a request of one step can have a number of rows "
		       "at which it stops, and not if it runs atomically";
	for (size_t i = 0; i < request->steps_n; i++)
		if (request->steps[i].conn && request->steps[i].conn != conn)
			return "a statement was prepared on another connection";
	return NULL;
}
