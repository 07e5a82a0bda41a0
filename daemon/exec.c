/* exec.c - a statement into an answer.
 *
 * Thread: whoever holds the request and the connection. */
#include "daemon/exec.h"

#include "daemon/clock.h"
#include "daemon/exec_impl.h"
#include "daemon/mailbox.h"
#include "daemon/slow.h"
#include "daemon/tally.h"
#include "proto/error.h"

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

void
exec_begin(
    struct exec *ex, struct dbconn *conn, struct request *r, struct buf *out)
{
	*ex = (struct exec){ .conn = conn, .r = r };
	answer_init(&ex->answer, r, out);
	r->stats = dbconn_get_stats(conn);
	if (!r->started_us)
		r->started_us = clock_now_us();
}

void
exec_put_back(struct exec *ex)
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

	exec_begin(ex, conn, r, out);
	rc = stmt_prepare(conn, r->sql, &ex->stmt, &r->failure);
	if (rc < 0)
		return rc;
	if (!ex->stmt)
		return 0;
	rc = exec_check_read_only(r, ex->stmt);
	if (rc == 0)
		rc = stmt_bind(conn, ex->stmt, r->params, &r->failure);
	if (rc < 0) {
		exec_put_back(ex);
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

int
exec_judge_failure(struct exec *ex, int rc)
{
	if (dbconn_is_over_budget(ex->conn))
		return EXEC_OVER;
	if (request_get_stop(ex->r))
		request_fail_stopped(ex->r, "while it ran");
	return rc < 0 ? rc : -ex->r->failure.code;
}

bool
exec_is_tick(const struct exec *ex)
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
		if (exec_is_tick(ex))
			return 0;
		open_frame(ex);
	}
	rc = put_row(ex);
	if (rc == 0)
		rc = check_size(ex);
	if (rc != 0)
		return rc;
	if ((answer_get_bytes(a) >= ANSWER_CHUNK_BYTES && !ex->single) ||
	    a->rows_n == EXEC_ROWS_MAX)
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
			return exec_judge_failure(ex, rc);
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
	if (answer_get_bytes(&ex->answer) + EXEC_SUMMARY_BYTES >
	    r->max_frame_bytes)
		return flush(ex);
	return EXEC_DONE;
}

/* What the statement left behind goes to its session. */
static void
take_vars(struct exec *ex)
{
	struct vars *v = ex->r->vars;
	int64_t total;

	total = dbconn_get_total_changes(ex->conn) - ex->total_before;
	/* DROP TABLE deletes its rows when others refer to it, and a virtual table
	 * that is created may fill tables of its own */
	if (stmt_get_kind(ex->stmt) != KIND_WRITE && total == 0)
		return;
	/* changes() keeps what an earlier statement gave when this one changed
	 * nothing: sqlite.org/c3ref/changes.html */
	ex->r->changes += total ? dbconn_get_changes(ex->conn) : 0;
	ex->r->rowid = dbconn_get_rowid(ex->conn);
	ex->left_vars = true;
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
exec_finish(struct exec *ex, bool keeps, bool failed)
{
	const struct request *r = ex->r;
	int64_t changes_before = r->changes;

	if (!ex->over)
		slow_look(ex->conn, ex->stmt, r, ex->waited_us);
	stmt_reset(ex->stmt);
	dbconn_end_memory(ex->conn);
	if (keeps)
		take_vars(ex);
	if (ex->ran)
		note_run(ex, r->changes - changes_before, failed);
	ex->stmt = NULL;
}

void
exec_close(struct exec *ex)
{
	if (ex->stmt)
		exec_finish(ex, true, ex->r->failure.code || ex->stmt_failed);
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
