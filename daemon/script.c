/* script.c - many statements in one request, alone on the writer.
 *
 * An atomic script is one transaction, which is the daemon's: statements that
 * would begin or end one are refused.  Any other script is what a shell makes of
 * it: each statement commits by itself, BEGIN and COMMIT in it do what they say,
 * and a transaction that it leaves open is rolled back.  Both end at the first
 * statement that fails.
 *
 * Nothing stays of a script but what it changed: its rows are dropped, and its
 * statements are prepared apart from the cache.
 *
 * Thread: whoever runs the writer. */
#include "daemon/clock.h"
#include "daemon/writer_impl.h"
#include "proto/error.h"

#define INTERRUPT 9 /* sqlite.org/rescode.html */

enum { LOCKED_OUT = 1 };

static int
fail_over_age(struct script *s)
{
	return failure_set(&s->r->failure, ERR_DEADLINE,
	    "the script ran for longer than the %.0f s of tx_max_age; do less "
	    "in one, or raise tx_max_age",
	    (double)s->w->db_conf->tx_max_age_us / 1e6);
}

/* Between two statements; in one of them the progress handler looks. */
static int
check_stop(struct script *s)
{
	if (request_get_stop(s->r)) {
		request_fail_stopped(s->r, "while it ran");
		return -s->r->failure.code;
	}
	return clock_now_us() < s->end_us ? 0 : fail_over_age(s);
}

/* Say that the failure is of the statement at this place.  SQLite counts its
 * offset from there, and has none for what is wrong with the data. */
static int
fail_at(struct script *s, uint64_t step, size_t at)
{
	struct failure *f = &s->r->failure;

	f->step = (int64_t)step;
	f->offset = (int64_t)at + (f->offset > 0 ? f->offset : 0);
	return -f->code;
}

static bool
begins_or_ends_tx(const struct stmt *st)
{
	if (stmt_get_kind(st) != KIND_TX)
		return false;
	switch (stmt_get_tx(st)) {
	case STMT_TX_BEGIN:
	case STMT_TX_BEGIN_IMMEDIATE:
	case STMT_TX_COMMIT:
	case STMT_TX_ROLLBACK:
		return true;
	case STMT_TX_SAVEPOINT:
	case STMT_TX_RELEASE:
	case STMT_TX_ROLLBACK_TO:
		break;
	}
	return false;
}

static int
check_statement(struct script *s, const struct stmt *st)
{
	struct failure *f = &s->r->failure;

	if (stmt_get_params_n(st) > 0)
		return failure_set(f, ERR_PARAM_COUNT,
		    "a SCRIPT has no parameters, but a statement of it does; "
		    "write the values into the text");
	if (!s->r->atomic)
		return 0;
	if (begins_or_ends_tx(st))
		return failure_set(f, ERR_NOT_ALLOWED,
		    "an atomic SCRIPT is a transaction already; leave out "
		    "BEGIN, COMMIT and ROLLBACK, or send it as not atomic");
	if (stmt_get_kind(st) == KIND_MAINTENANCE)
		return failure_set(f, ERR_NOT_ALLOWED,
		    "VACUUM cannot run in a transaction, which an atomic "
		    "SCRIPT is; send it by itself, or the SCRIPT as not "
		    "atomic");
	return 0;
}

/* Prepare the next statement; *ret_stmt is NULL when there is none. */
static int
take_statement(struct script *s, struct stmt **ret_stmt)
{
	struct span text = s->r->sql;
	size_t n = 0;
	int rc;

	s->read_n += stmt_count_blank(
	    (struct span){ text.p + s->read_n, text.n - s->read_n });
	s->at = s->read_n;
	if (s->read_n == text.n)
		return 0;
	rc = check_stop(s);
	if (rc == 0)
		rc = stmt_prepare_first(s->w->conn,
		    (const char *)text.p + s->read_n, ret_stmt, &n,
		    &s->r->failure);
	s->read_n += n;
	return rc;
}

/* Would it have committed, had it come to its end? */
static bool
is_commit(const struct stmt *st, bool in_tx)
{
	switch (stmt_get_kind(st)) {
	case KIND_TX:
		return stmt_get_tx(st) == STMT_TX_COMMIT ||
		    stmt_get_tx(st) == STMT_TX_RELEASE;
	case KIND_WRITE:
	case KIND_SCHEMA:
	case KIND_MAINTENANCE:
		return !in_tx;
	case KIND_READ:
	case KIND_EMPTY:
		break;
	}
	return false;
}

/* Why the statement failed.  commits: in its COMMIT, perhaps. */
static int
judge_failure(struct script *s, bool commits)
{
	struct request *r = s->r;
	bool over_age = dbconn_is_over_budget(s->w->conn);

	if (commits)
		control_judge_commit(&r->failure);
	if (r->failure.outcome == OUTCOME_UNKNOWN)
		return -r->failure.code;
	if (over_age)
		return fail_over_age(s);
	if (request_get_stop(r))
		request_fail_stopped(r, "while it ran");
	return -r->failure.code;
}

/* Step a statement to its end.  SQLite looks whether it is to stop once more
 * when it has committed: then it had come to its end. */
static int
step_to_end(struct script *s, struct stmt *st)
{
	struct writer *w = s->w;
	struct request *r = s->r;
	bool was_in_tx = dbconn_in_tx(w->conn);
	uint64_t seq = 0;
	int rc;

	if (!was_in_tx)
		writer_forget_others(w);
	/* control is short, and half a COMMIT is none */
	if (stmt_get_kind(st) != KIND_TX)
		dbconn_watch(w->conn, &r->stop, s->end_us);
	while ((rc = stmt_step(w->conn, st, &r->failure)) > 0)
		s->m->exec.rows_n++;
	if (!dbconn_in_tx(w->conn))
		seq = writer_count_commit(w, r);
	if (seq)
		r->seq = seq;
	if (rc < 0 && seq && r->failure.code == INTERRUPT) {
		failure_fini(&r->failure);
		rc = 0;
	}
	if (rc < 0)
		rc = judge_failure(s, is_commit(st, was_in_tx));
	dbconn_watch(w->conn, NULL, 0);
	if (!was_in_tx && dbconn_in_tx(w->conn)) {
		s->tx_step = s->step;
		s->tx_at = s->at;
	}
	return rc;
}

/* Run a statement, and count it as if it had come alone.  To its session it leaves
 * what SQLite leaves, also when it fails: no changes then, unless OR FAIL has kept
 * them, and the rowid that it inserted last. */
static int
run_statement(struct script *s, struct stmt *st)
{
	struct exec *ex = &s->m->exec;
	int rc = check_statement(s, st);

	if (rc < 0)
		return rc;
	ex->stmt = st;
	ex->total_before = dbconn_set_vars(s->w->conn, s->r->vars);
	ex->rows_n = 0;
	rc = step_to_end(s, st);
	/* what a lock outside has stopped has not run */
	ex->ran = rc != -ERR_EXTERNAL_BUSY;
	exec_finish(ex, ex->ran, rc < 0);
	return rc;
}

/* A lock of another process stops a statement that is a transaction of its own
 * before it has done anything: it is tried again, for busy_wait. */
static bool
must_wait(struct script *s)
{
	struct request *r = s->r;

	if (r->failure.code != ERR_EXTERNAL_BUSY || dbconn_in_tx(s->w->conn))
		return false;
	if (request_get_stop(r)) {
		request_fail_stopped(r,
		    "while it waited for a process outside the daemon, which "
		    "holds the lock");
		return false;
	}
	if (writer_is_overdue(s->w, r))
		return false;
	failure_fini(&r->failure);
	s->read_n = s->at;
	return true;
}

/* Run all of it, or up to the first statement that fails; LOCKED_OUT: there is
 * more to run later. */
static int
run_text(struct script *s)
{
	s->m->exec.ended_us =
	    clock_now_us(); /* a lock was not waited for by it */
	for (;;) {
		struct stmt *st = NULL;
		int rc = take_statement(s, &st);

		if (rc == 0 && !st)
			return 0;
		if (rc == 0)
			rc = run_statement(s, st);
		stmt_free(st);
		if (rc < 0 && must_wait(s))
			return LOCKED_OUT;
		if (rc < 0)
			return fail_at(s, s->step, s->at);
		s->step++;
	}
}

/* These give LOCKED_OUT or 0. */
static int
run_atomic(struct script *s)
{
	struct writer *w = s->w;
	struct request *r = s->r;
	int rc = writer_begin(w, &r->failure);

	if (rc < 0 && must_wait(s))
		return LOCKED_OUT;
	if (rc == 0)
		rc = run_text(s);
	if (rc == 0) {
		w->commit_us = clock_now_us();
		rc = dbconn_run(w->conn, DBCONN_COMMIT, &r->failure);
		if (rc < 0)
			control_judge_commit(&r->failure);
	}
	if (rc < 0) {
		w->commit_us = 0;
		writer_roll_back(w);
		group_restore_vars(s->m);
	} else {
		r->seq = writer_count_commit(w, r);
	}
	return 0;
}

static int
run_each(struct script *s)
{
	struct request *r = s->r;
	int rc = run_text(s);

	if (rc == LOCKED_OUT)
		return rc;
	if (rc == 0 && dbconn_in_tx(s->w->conn)) {
		failure_set(&r->failure, ERR_TX_ACTIVE,
		    "the SCRIPT ends within a transaction that begins here, "
		    "which was rolled back; end it with COMMIT");
		rc = fail_at(s, s->tx_step, s->tx_at);
	}
	if (rc < 0)
		writer_roll_back(s->w);
	if (rc < 0 && r->seq && r->failure.outcome == OUTCOME_NOT_APPLIED)
		r->failure.outcome = OUTCOME_APPLIED;
	return 0;
}

void
script_go_on(struct writer *w)
{
	struct script *s = &w->script;
	struct request *r = s->r;
	struct answer *a = &s->m->exec.answer;

	if ((r->atomic ? run_atomic(s) : run_each(s)) == LOCKED_OUT) {
		writer_lock_out(w, 0, 0);
		return;
	}
	s->r = NULL;
	if (r->failure.code == 0) {
		answer_open(a);
		msg_put_uint(&a->frame, TELL_statements_n, s->step);
	}
	group_answer(w, s->m);
}

void
script_run(struct writer *w, struct request *r)
{
	struct member *m = &w->members[0];

	*m = (struct member){ .r = r, .exec = { .conn = w->conn, .r = r } };
	answer_init(&m->exec.answer, r, &r->out);
	request_move(r, REQUEST_RUNNING);
	r->stats = dbconn_get_stats(w->conn);
	r->started_us = clock_now_us();
	writer_note_running(w, m, r->started_us);
	group_save_vars(m);
	if (request_get_stop(r)) {
		request_fail_stopped(r, "while it waited for the writer");
		group_answer(w, m);
		return;
	}
	w->script = (struct script){
		.w = w,
		.m = m,
		.r = r,
		.end_us = r->started_us + w->db_conf->tx_max_age_us,
	};
	script_go_on(w);
}
