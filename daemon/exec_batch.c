/* exec_batch.c - a BATCH into an answer: its steps, their conditions, and the
 * savepoints that undo what fails.
 *
 * Thread: whoever holds the request and the connection. */
#include <stdlib.h>

#include "daemon/clock.h"
#include "daemon/exec_impl.h"
#include "proto/error.h"
#include "proto/value.h"

enum step_state { STEP_SKIPPED, STEP_OK, STEP_FAILED };

/* Conditions were checked when the request was read: steps.c. */
static bool
is_met(struct span *cur, const uint8_t *states)
{
	struct value v;
	uint32_t n;
	bool met, all = true, any = false;
	int64_t op;

	value_read(cur, &v);
	n = v.count;
	value_read(cur, &v);
	op = v.i;
	if (op == COND_OK || op == COND_ERROR) {
		value_read(cur, &v);
		return states[v.i] == (op == COND_OK ? STEP_OK : STEP_FAILED);
	}
	for (uint32_t i = 1; i < n; i++) {
		met = is_met(cur, states);
		all = all && met;
		any = any || met;
	}
	if (op == COND_NOT)
		return !any;
	return op == COND_AND ? all : any;
}

/* Finish the map of a step's result, which is open in the answer. */
static void
put_step_summary(struct exec *ex, int64_t changes)
{
	struct answer *a = &ex->answer;

	answer_close_rows(a);
	if (changes)
		msg_put_int(&a->frame, TELL_changes, changes);
	if (ex->r->rowid)
		msg_put_int(&a->frame, TELL_rowid, ex->r->rowid);
	msg_close_map(&a->frame);
}

static int
check_step_kind(struct exec *ex)
{
	struct failure *f = &ex->r->failure;
	enum msg_kind kind = stmt_get_kind(ex->stmt);

	if (kind == KIND_TX)
		return failure_set(f, ERR_NOT_ALLOWED,
		    "a BATCH is a transaction already: BEGIN, COMMIT, ROLLBACK "
		    "and SAVEPOINT are not allowed in it");
	if (kind == KIND_MAINTENANCE)
		return failure_set(f, ERR_NOT_ALLOWED,
		    "VACUUM cannot run in a transaction, which a BATCH is; "
		    "send it by itself");
	return exec_check_read_only(ex->r, ex->stmt);
}

static int
fail_batch_size(struct request *r)
{
	return failure_set(&r->failure, ERR_RESULT_TOO_LARGE,
	    "the results of a BATCH may have at most %zu bytes and %d rows a "
	    "step; select less, or read outside of the BATCH",
	    r->max_frame_bytes, EXEC_ROWS_MAX);
}

/* Step one statement of a batch; its rows go into the open step map. */
static int
run_step_rows(struct exec *ex)
{
	struct answer *a = &ex->answer;
	struct request *r = ex->r;
	bool first = true;

	ex->rows_n = 0;
	for (;;) {
		int rc = stmt_step(ex->conn, ex->stmt, &r->failure);

		if (rc < 0)
			return exec_judge_failure(ex, rc);
		if (first && stmt_get_columns_n(ex->stmt) > 0) {
			msg_key(&a->frame, TELL_columns);
			stmt_put_columns(ex->stmt, a->out);
			answer_open_rows(a);
		}
		first = false;
		if (rc == 0)
			return 0;
		if (exec_is_tick(ex))
			continue;
		rc = stmt_put_row(
		    ex->conn, ex->stmt, r->max_frame_bytes, a->out);
		ex->rows_n++;
		if (rc == -ERR_NO_MEMORY)
			return dbconn_fail_memory(ex->conn, &r->failure);
		if (rc < 0 || ++a->rows_n == EXEC_ROWS_MAX ||
		    answer_get_bytes(a) > r->max_frame_bytes)
			return fail_batch_size(r);
	}
}

/* Find out whether it may run, and give it its values. */
static int
prepare_step(struct exec *ex, const struct step *step)
{
	struct failure *f = &ex->r->failure;
	int rc = stmt_prepare(ex->conn, step->sql, &ex->stmt, f);

	if (rc < 0)
		return rc;
	rc = check_step_kind(ex);
	if (rc == 0 && ex->stmt)
		rc = stmt_bind(ex->conn, ex->stmt, step->params, f);
	if (rc < 0)
		exec_put_back(ex);
	return rc;
}

/* Run one step.  Its result is appended to the open steps array: while the
 * step's map is written, the answer's frame is set aside. */
static int
run_step(struct exec *ex, const struct step *step)
{
	struct answer *a = &ex->answer;
	struct request *r = ex->r;
	struct msg_out outer = a->frame;
	int64_t changes_before = r->changes;
	int64_t rowid_before = r->rowid;
	int rc = prepare_step(ex, step);

	if (rc < 0)
		return rc;
	r->rowid = 0;
	ex->left_vars = false;
	msg_open_map(&a->frame);
	ex->total_before = dbconn_set_vars(ex->conn, r->vars);
	ex->ran = ex->stmt != NULL;
	if (ex->stmt)
		rc = run_step_rows(ex);
	exec_finish(ex, rc == 0, rc != 0);
	if (rc == 0)
		put_step_summary(ex, r->changes - changes_before);
	if (!ex->left_vars) /* what the whole BATCH says is of the last that did */
		r->rowid = rowid_before;
	a->rows_open = false;
	a->frame = outer;
	return rc;
}

static void
put_step_error(struct exec *ex, size_t at)
{
	struct msg_out result = { .b = ex->answer.out };
	struct msg_out error = { .b = ex->answer.out };

	buf_cut(ex->answer.out, at);
	msg_open_map(&result);
	msg_key(&result, TELL_error);
	msg_open_map(&error);
	answer_put_failure(&error, &ex->r->failure);
	msg_close_map(&error);
	msg_close_map(&result);
	failure_fini(&ex->r->failure);
}

/* A step that may fail: its changes, and nothing else, are undone then. */
static int
run_caught_step(struct exec *ex, const struct step *step, uint8_t *state)
{
	struct request *r = ex->r;
	int64_t changes = r->changes;
	size_t at = ex->answer.out->n;
	int rc = dbconn_run(ex->conn, DBCONN_SAVEPOINT_STEP, &r->failure);

	if (rc < 0)
		return rc;
	rc = run_step(ex, step);
	*state = rc == 0 ? STEP_OK : STEP_FAILED;
	if (rc != 0) {
		/* the whole transaction died, or the request is to stop: not
		 * for the batch to handle */
		if (!dbconn_in_tx(ex->conn) || request_get_stop(r) ||
		    rc == EXEC_OVER)
			return rc;
		put_step_error(ex, at);
		r->changes = changes;
		rc = dbconn_run(ex->conn, DBCONN_UNDO_STEP, &r->failure);
		if (rc < 0)
			return rc;
	}
	return dbconn_run(ex->conn, DBCONN_RELEASE_STEP, &r->failure);
}

static int
run_steps(struct exec *ex, uint8_t *states)
{
	struct request *r = ex->r;

	for (size_t i = 0; i < r->steps_n; i++) {
		const struct step *step = &r->steps[i];
		struct span cond = step->cond;
		int rc;
		if (request_get_stop(r)) {
			request_fail_stopped(r, "while it ran");
			return -r->failure.code;
		}
		if (cond.n && !is_met(&cond, states)) {
			value_put_nil(ex->answer.out);
			continue;
		}
		if (step->caught)
			rc = run_caught_step(ex, step, &states[i]);
		else
			rc = run_step(ex, step);
		if (rc != 0) {
			r->failure.step = (int64_t)i;
			return rc;
		}
		if (!step->caught)
			states[i] = STEP_OK;
	}
	return 0;
}

static int
run_in_savepoint(struct exec *ex, uint8_t *states, bool check_fks)
{
	struct request *r = ex->r;
	struct failure ignored;
	int rc = dbconn_run(ex->conn, DBCONN_SAVEPOINT_BATCH, &r->failure);

	if (rc < 0)
		return rc;
	rc = run_steps(ex, states);
	if (rc == 0 &&
	    answer_get_bytes(&ex->answer) + EXEC_SUMMARY_BYTES >
		r->max_frame_bytes)
		rc = fail_batch_size(r);
	if (rc == 0 && check_fks && dbconn_has_fk_debt(ex->conn))
		rc = failure_set(
		    &r->failure, 787, "FOREIGN KEY constraint failed");
	if (rc == 0)
		return dbconn_run(ex->conn, DBCONN_RELEASE_BATCH, &r->failure);
	failure_init(&ignored);
	if (dbconn_in_tx(ex->conn))
		ex->undo_failed = dbconn_run(ex->conn, DBCONN_UNDO_BATCH,
				      &ignored) < 0 ||
		    dbconn_run(ex->conn, DBCONN_RELEASE_BATCH, &ignored) < 0;
	failure_fini(&ignored);
	return rc;
}

int
exec_batch(struct exec *ex, struct dbconn *conn, struct request *r,
    struct buf *out, bool check_fks)
{
	uint8_t *states = calloc(r->steps_n + 1, 1);
	int64_t rowid, changes;
	int rc;

	exec_begin(ex, conn, r, out);
	if (!states)
		return failure_set(
		    &r->failure, ERR_NO_MEMORY, "out of memory for a BATCH");
	rowid = r->vars ? atomic_load(&r->vars->rowid) : 0;
	changes = r->vars ? atomic_load(&r->vars->changes) : 0;
	answer_open(&ex->answer);
	msg_key(&ex->answer.frame, TELL_steps);
	value_put_array(out, (uint32_t)r->steps_n);
	rc = run_in_savepoint(ex, states, check_fks);
	if (rc != 0 && r->vars) { /* as if it had not run */
		atomic_store(&r->vars->rowid, rowid);
		atomic_store(&r->vars->changes, changes);
	}
	free(states);
	return rc;
}

bool
exec_batch_reads(struct dbconn *conn, struct request *r, int64_t most_us)
{
	int64_t end_us = clock_now_us() + most_us;
	struct failure f;
	bool reads = true;

	failure_init(&f);
	/* one that is to stop does so when it runs */
	for (size_t i = 0; i < r->steps_n && reads && !request_get_stop(r);
	     i++) {
		struct stmt *st = NULL;
		enum msg_kind kind;

		if (most_us && clock_now_us() > end_us) {
			r->unknown = true;
			break;
		}
		reads = stmt_prepare(conn, r->steps[i].sql, &st, &f) == 0 ||
		    r->tx;
		kind = stmt_get_kind(st);
		reads = reads && (kind == KIND_READ || kind == KIND_EMPTY);
	}
	failure_fini(&f);
	return reads && !r->unknown;
}
