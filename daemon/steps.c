/* steps.c - the steps of a BATCH. */
#include "daemon/steps.h"

#include <stdlib.h>

#include "proto/error.h"
#include "proto/value.h"

static int
fail_cond(struct request *r, size_t i, const char *what)
{
	failure_set(&r->failure, ERR_FIELD_RANGE,
	    "the condition of step %zu %s", i, what);
	r->failure.step = (int64_t)i;
	return -ERR_FIELD_RANGE;
}

/* Check one condition of step i and note which steps it tests.  walk.h bounds
 * the nesting. */
static int
read_cond(struct request *r, size_t i, struct span *cur)
{
	struct value v;
	uint32_t n;
	int64_t op;

	value_read(cur, &v);
	if (v.kind != VALUE_ARRAY || v.count < 2)
		return fail_cond(r, i, "is not an array of two or more");
	n = v.count;
	value_read(cur, &v);
	if (v.kind != VALUE_INT || v.i < COND_OK || v.i > COND_OR)
		return fail_cond(
		    r, i, "begins with something else than 0 to 4");
	op = v.i;
	if (op <= COND_NOT && n != 2)
		return fail_cond(r, i, "has too many elements");
	if (op <= COND_ERROR) {
		value_read(cur, &v);
		if (v.kind != VALUE_INT || v.i < 0 || (size_t)v.i >= i)
			return fail_cond(r, i, "does not name an earlier step");
		r->steps[v.i].caught = true;
		return 0;
	}
	for (uint32_t k = 1; k < n; k++) {
		int rc = read_cond(r, i, cur);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
fail_step(struct request *r, size_t i, int code, const char *text)
{
	failure_set(&r->failure, code, "step %zu: %s", i, text);
	r->failure.step = (int64_t)i;
	return -code;
}

/* A step that names no statement runs that of the step before it. */
static int
find_sql(struct request *r, size_t i, const struct msg_ask *ask,
    steps_lookup *lookup, void *arg)
{
	bool sql = MSG_HAS(ask, ASK_sql), stmt = MSG_HAS(ask, ASK_stmt);

	if (sql && stmt)
		return fail_step(r, i, ERR_FIELD_MISSING,
		    "either sql or stmt must be given, not both");
	if (!sql && !stmt && i == 0)
		return fail_step(r, i, ERR_FIELD_MISSING,
		    "either sql or stmt must be given: no step is before this "
		    "one, whose statement it could run");
	if (!sql && !stmt)
		r->steps[i].sql = r->steps[i - 1].sql;
	else
		r->steps[i].sql = sql ? ask->sql : lookup(arg, ask->stmt);
	if (!r->steps[i].sql.p)
		return fail_step(r, i, ERR_STATEMENT_UNKNOWN,
		    "no prepared statement has this number");
	return 0;
}

static int
read_step(struct request *r, size_t i, struct span map, steps_lookup *lookup,
    void *arg)
{
	struct step *step = &r->steps[i];
	struct msg_fault fault;
	struct msg_ask ask;
	char text[160];
	struct span cond;
	int rc;

	if (msg_read_ask(map, &ask, &fault) < 0) {
		msg_describe_fault(&fault, text, sizeof(text));
		return fail_step(r, i, fault.code, text);
	}
	rc = find_sql(r, i, &ask, lookup, arg);
	if (rc < 0)
		return rc;
	step->params = ask.params;
	step->cond = ask.cond;
	cond = ask.cond;
	return cond.n ? read_cond(r, i, &cond) : 0;
}

int
steps_read(struct request *r, steps_lookup *lookup, void *arg)
{
	struct span cur = r->ask.steps;
	struct value head;

	value_read(&cur, &head);
	if (head.count > STEPS_MAX)
		return failure_set(&r->failure, ERR_FIELD_RANGE,
		    "a BATCH may have %d steps, this one has %u; send several",
		    STEPS_MAX, head.count);
	r->steps = calloc((size_t)head.count + 1, sizeof(*r->steps));
	if (!r->steps)
		return failure_set(&r->failure, ERR_NO_MEMORY, "out of memory");
	r->steps_n = head.count;
	for (size_t i = 0; i < r->steps_n; i++) {
		struct span map = cur;
		struct value v;
		struct span peek = cur;
		int rc;

		value_read(&peek, &v);
		if (v.kind != VALUE_MAP)
			return fail_step(
			    r, i, ERR_FIELD_TYPE, "a step must be a map");
		value_skip(&cur);
		map.n -= cur.n;
		rc = read_step(r, i, map, lookup, arg);
		if (rc < 0)
			return rc;
	}
	return 0;
}
