/* exec.c - statements into answers. */
#include "daemon/exec.h"

#include <stdlib.h>

#include "daemon/clock.h"
#include "daemon/mailbox.h"
#include "daemon/slow.h"
#include "daemon/stats.h"
#include "daemon/tally.h"
#include "proto/error.h"
#include "proto/frame.h"
#include "proto/value.h"

/* An array of rows is written with a 16-bit count. */
#define ROWS_MAX 65535
/* The keys of a DONE that follow the rows: eight of at most ten bytes. */
#define SUMMARY_BYTES 128

#define SQL_READONLY 8 /* SQLITE_READONLY, sqlite.org/rescode.html */

int
exec_check_read_only(struct request *r, const struct stmt *st)
{
	enum msg_kind kind = stmt_get_kind(st);

	if (!r->read_only || kind == KIND_READ || kind == KIND_EMPTY)
		return 0;
	return failure_set(&r->failure, SQL_READONLY,
	    "the request is read_only, and the statement %s",
	    kind == KIND_TX ? "begins or ends a transaction" : "writes");
}

/* Let go of a statement that was not run. */
static void
put_back(struct exec *ex)
{
	stmt_reset(ex->stmt);
	dbconn_end_memory(ex->conn);
	ex->stmt = NULL;
}

int
exec_prepare(
    struct exec *ex, struct dbconn *conn, struct request *r, struct buf *out)
{
	int rc;

	*ex = (struct exec){ .conn = conn, .r = r };
	answer_init(&ex->answer, r, out);
	r->stats = dbconn_get_stats(conn);
	if (!r->started_us)
		r->started_us = clock_now_us();
	rc = stmt_prepare(conn, r->sql, &ex->stmt, &r->failure);
	if (rc < 0)
		return rc;
	if (!ex->stmt)
		return 0;
	rc = exec_check_read_only(r, ex->stmt);
	if (rc == 0)
		rc = stmt_bind(conn, ex->stmt, r->params, &r->failure);
	if (rc < 0) {
		put_back(ex);
		return rc;
	}
	ex->total_before = dbconn_set_vars(conn, r->vars);
	return 0;
}

/* Open a frame that can take rows.  Columns are known for sure only after the
 * first step: the schema may have changed since the statement was prepared. */
static void
open_frame(struct exec *ex)
{
	struct answer *a = &ex->answer;

	answer_open(a);
	if (stmt_get_columns_n(ex->stmt) == 0)
		return;
	if (!a->columns_given) {
		msg_key(&a->frame, TELL_columns);
		stmt_put_columns(ex->stmt, a->out);
		if (ex->r->decltypes) {
			msg_key(&a->frame, TELL_decltypes);
			stmt_put_decltypes(ex->stmt, a->out);
		}
		a->columns_given = true;
	}
	answer_open_rows(a);
}

static int
fail_row_size(struct exec *ex)
{
	return failure_set(&ex->r->failure, ERR_ROW_TOO_LARGE,
	    "a row does not fit in a frame of %zu bytes; select less of it "
	    "(substr), or raise max_frame",
	    ex->r->max_frame_bytes);
}

static int
flush(struct exec *ex)
{
	size_t bytes = answer_get_bytes(&ex->answer);
	int rc;

	if (ex->single)
		return EXEC_OVER;
	rc = answer_flush(&ex->answer);

	if (rc == -ERR_NO_MEMORY)
		return failure_set(&ex->r->failure, ERR_NO_MEMORY,
		    "out of memory for a result");
	if (rc < 0)
		return fail_row_size(ex);
	ex->flushed_bytes += bytes;
	if (ex->streams)
		mailbox_post(ex->r, false);
	return 0;
}

static bool
is_window_full(const struct exec *ex)
{
	return ex->streams &&
	    ex->flushed_bytes >= atomic_load(&ex->r->sent) + ex->ahead_bytes;
}

/* Append the current row's values, if they can fit at all. */
static int
put_values(struct exec *ex)
{
	bool may_move = ex->most_bytes && ex->most_code == 0;
	size_t most = may_move ? ex->most_bytes : ex->r->max_frame_bytes;
	int rc = stmt_put_row(ex->conn, ex->stmt, most, ex->answer.out);

	if (rc == -ERR_ROW_TOO_LARGE)
		return may_move ? EXEC_OVER : fail_row_size(ex);
	if (rc < 0)
		return dbconn_is_over_budget(ex->conn)
		    ? EXEC_OVER
		    : dbconn_fail_memory(ex->conn, &ex->r->failure);
	return 0;
}

/* Append the current row.  When it makes the frame longer than the client
 * takes, it moves to a frame of its own. */
static int
put_row(struct exec *ex)
{
	struct answer *a = &ex->answer;
	size_t before = a->out->n;
	int rc = put_values(ex);

	if (rc != 0)
		return rc;
	a->rows_n++;
	if (answer_get_bytes(a) > ex->r->max_frame_bytes && a->rows_n > 1) {
		buf_cut(a->out, before);
		a->rows_n--;
		rc = flush(ex);
		if (rc != 0)
			return rc;
		open_frame(ex);
		rc = put_values(ex);
		if (rc != 0)
			return rc;
		a->rows_n++;
	}
	ex->rows_n++;
	return 0;
}

/* After a row: is the result too large for whoever runs it? */
static int
check_size(struct exec *ex)
{
	uint64_t bytes = ex->flushed_bytes + answer_get_bytes(&ex->answer);

	if (ex->most_bytes == 0 || bytes <= ex->most_bytes)
		return EXEC_DONE;
	if (ex->most_code == 0)
		return EXEC_OVER;
	return failure_set(&ex->r->failure, ex->most_code,
	    "the result of a statement that writes may have at most %zu bytes; "
	    "return fewer rows",
	    ex->most_bytes);
}

/* A statement that failed: because it was told to stop, or by itself? */
static int
judge_failure(struct exec *ex, int rc)
{
	if (dbconn_is_over_budget(ex->conn))
		return EXEC_OVER;
	if (request_get_stop(ex->r))
		request_fail_stopped(ex->r, "while it ran");
	return rc < 0 ? rc : -ex->r->failure.code;
}

/* PRAGMA incremental_vacuum has no columns, and gives a row of them for each
 * page: nothing to send. */
static bool
is_tick(const struct exec *ex)
{
	return stmt_get_columns_n(ex->stmt) == 0;
}

/* One row has arrived: take it in. */
static int
take_row(struct exec *ex)
{
	struct answer *a = &ex->answer;
	int rc;

	if (!a->open) {
		if (is_tick(ex))
			return 0;
		open_frame(ex);
	}
	rc = put_row(ex);
	if (rc == 0)
		rc = check_size(ex);
	if (rc != 0)
		return rc;
	if ((answer_get_bytes(a) >= ANSWER_CHUNK_BYTES && !ex->single) ||
	    a->rows_n == ROWS_MAX)
		rc = flush(ex);
	return rc;
}

int
exec_run(struct exec *ex)
{
	struct request *r = ex->r;

	if (!ex->stmt)
		return EXEC_DONE;
	ex->ran = true;
	if (ex->blocked_us) {
		ex->waited_us += clock_now_us() - ex->blocked_us;
		ex->blocked_us = 0;
	}
	for (;;) {
		int rc;

		if (request_get_stop(r)) {
			request_fail_stopped(r, "while it ran");
			return -r->failure.code;
		}
		if (is_window_full(ex)) {
			ex->blocked_us = clock_now_us();
			return EXEC_BLOCKED;
		}
		if (r->max_rows && ex->rows_n == r->max_rows)
			return EXEC_DONE;
		rc = stmt_step(ex->conn, ex->stmt, &r->failure);
		if (rc < 0) {
			ex->stmt_failed = true;
			return judge_failure(ex, rc);
		}
		if (rc == 0)
			break;
		rc = take_row(ex);
		if (rc != 0)
			return rc;
	}
	if (!ex->answer.open)
		open_frame(ex);
	/* what does not fit must be known before anything is committed */
	if (answer_get_bytes(&ex->answer) + SUMMARY_BYTES > r->max_frame_bytes)
		return flush(ex);
	return EXEC_DONE;
}

/* What the statement left behind goes to its session. */
static void
take_vars(struct exec *ex)
{
	struct vars *v = ex->r->vars;
	int64_t total;

	if (stmt_get_kind(ex->stmt) != KIND_WRITE)
		return;
	total = dbconn_get_total_changes(ex->conn) - ex->total_before;
	/* changes() keeps what an earlier statement gave when this one changed
	 * nothing: sqlite.org/c3ref/changes.html */
	ex->r->changes += total ? dbconn_get_changes(ex->conn) : 0;
	ex->r->rowid = dbconn_get_rowid(ex->conn);
	if (!v)
		return;
	atomic_store(&v->changes, total ? dbconn_get_changes(ex->conn) : 0);
	atomic_store(&v->rowid, ex->r->rowid);
	atomic_fetch_add(&v->total, total);
}

/* Count the run of a statement that has just ended.  rows: that it changed. */
static void
note_run(struct exec *ex, int64_t rows, bool failed)
{
	const struct request *r = ex->r;
	int64_t began_us = ex->ended_us ? ex->ended_us : r->started_us;

	ex->ended_us = clock_now_us();
	if (ex->blocked_us)
		ex->waited_us += ex->ended_us - ex->blocked_us;
	stmt_note_run(ex->conn, ex->stmt,
	    ex->ended_us - began_us - ex->waited_us,
	    ex->rows_n ? ex->rows_n : (uint64_t)rows,
	    (failed ? TALLY_FAILED : 0) |
		(ex->over || r->tallied ? TALLY_AGAIN : 0));
}

void
exec_close(struct exec *ex)
{
	const struct request *r = ex->r;

	if (!ex->stmt)
		return;
	if (!ex->over)
		slow_look(ex->conn, ex->stmt, r, ex->waited_us);
	stmt_reset(ex->stmt);
	dbconn_end_memory(ex->conn);
	take_vars(ex);
	if (ex->ran)
		note_run(ex, r->changes, r->failure.code || ex->stmt_failed);
	ex->stmt = NULL;
}

/* --- Batches ------------------------------------------------------------ */

enum step_state { STEP_SKIPPED, STEP_OK, STEP_FAILED };

/* Conditions were checked when the request was read: client.c. */
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

/* (VACUUM is refused by SQLite itself, which is in a transaction.) */
static int
check_step_kind(struct exec *ex)
{
	if (stmt_get_kind(ex->stmt) != KIND_TX)
		return exec_check_read_only(ex->r, ex->stmt);
	return failure_set(&ex->r->failure, ERR_NOT_ALLOWED,
	    "a BATCH is a transaction already: BEGIN, COMMIT, ROLLBACK and "
	    "SAVEPOINT are not allowed in it");
}

static int
fail_batch_size(struct request *r)
{
	return failure_set(&r->failure, ERR_RESULT_TOO_LARGE,
	    "the results of a BATCH may have at most %zu bytes and %d rows a "
	    "step; select less, or read outside of the BATCH",
	    r->max_frame_bytes, ROWS_MAX);
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
			return judge_failure(ex, rc);
		if (first && stmt_get_columns_n(ex->stmt) > 0) {
			msg_key(&a->frame, TELL_columns);
			stmt_put_columns(ex->stmt, a->out);
			answer_open_rows(a);
		}
		first = false;
		if (rc == 0)
			return 0;
		if (is_tick(ex))
			continue;
		rc = stmt_put_row(
		    ex->conn, ex->stmt, r->max_frame_bytes, a->out);
		ex->rows_n++;
		if (rc == -ERR_NO_MEMORY)
			return dbconn_fail_memory(ex->conn, &r->failure);
		if (rc < 0 || ++a->rows_n == ROWS_MAX ||
		    answer_get_bytes(a) > r->max_frame_bytes)
			return fail_batch_size(r);
	}
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
	int rc;

	rc = stmt_prepare(ex->conn, step->sql, &ex->stmt, &r->failure);
	if (rc < 0)
		return rc;
	rc = check_step_kind(ex);
	if (rc < 0) {
		put_back(ex);
		return rc;
	}
	msg_open_map(&a->frame);
	ex->total_before = dbconn_set_vars(ex->conn, r->vars);
	r->rowid = 0;
	if (ex->stmt)
		rc = stmt_bind(ex->conn, ex->stmt, step->params, &r->failure);
	if (ex->stmt && rc == 0)
		rc = run_step_rows(ex);
	slow_look(ex->conn, ex->stmt, r, 0);
	stmt_reset(ex->stmt);
	dbconn_end_memory(ex->conn);
	if (rc == 0) {
		take_vars(ex);
		put_step_summary(ex, r->changes - changes_before);
	}
	if (ex->stmt)
		note_run(ex, r->changes - changes_before, rc != 0);
	ex->stmt = NULL;
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
	    answer_get_bytes(&ex->answer) + SUMMARY_BYTES > r->max_frame_bytes)
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

	*ex = (struct exec){ .conn = conn, .r = r };
	answer_init(&ex->answer, r, out);
	r->stats = dbconn_get_stats(conn);
	if (!r->started_us)
		r->started_us = clock_now_us();
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
		reads = stmt_prepare(conn, r->steps[i].sql, &st, &f) == 0;
		kind = stmt_get_kind(st);
		reads = reads && (kind == KIND_READ || kind == KIND_EMPTY);
	}
	failure_fini(&f);
	return reads && !r->unknown;
}

/* --- Describing --------------------------------------------------------- */

void
exec_describe(struct dbconn *conn, struct request *r, struct buf *out)
{
	struct stmt *st = NULL;
	struct msg_out m;

	/* a cached statement has the columns of when it was prepared, and the
	 * connection the schema of when it last read the file */
	if (dbconn_run(conn, DBCONN_SNAPSHOT, &r->failure) < 0 ||
	    stmt_prepare_anew(conn, r->sql, &st, &r->failure) < 0) {
		answer_error(r, out);
		return;
	}
	msg_begin_body(&m, out, TYPE_OK, r->id, r->stream);
	msg_put_uint(&m, TELL_kind, (uint64_t)stmt_get_kind(st));
	if (st) {
		msg_key(&m, TELL_columns);
		stmt_put_columns(st, out);
		msg_key(&m, TELL_decltypes);
		stmt_put_decltypes(st, out);
		msg_put_uint(&m, TELL_params_n, stmt_get_params_n(st));
		msg_key(&m, TELL_param_names);
		stmt_put_param_names(st, out);
	}
	if (msg_end(&m, r->max_frame_bytes) < 0) {
		failure_set(&r->failure, ERR_RESULT_TOO_LARGE,
		    "the description does not fit in a frame");
		answer_error(r, out);
		return;
	}
	request_move(r, REQUEST_ANSWERED);
}
