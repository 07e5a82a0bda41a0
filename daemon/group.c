/* group.c - many writes, one commit, and the outcome each would have had alone
 * (P9).
 *
 *  - A statement that meets a constraint undoes itself: SQLite's statement
 *    journal does it.  A BATCH undoes itself by a savepoint (exec_batch).
 *  - Other errors are not trusted to: SQLite 3.40 keeps no statement journal for
 *    the datatype check of STRICT tables, for one, and leaves the first rows.
 *    Nor are statements that had changed something: OR FAIL keeps that.
 *  - A deferred foreign key that is violated would fail somebody else's COMMIT:
 *    so it is looked for after each member.
 *  - Some failures end the whole transaction (ON CONFLICT ROLLBACK, an
 *    interrupted write, a full disk): sqlite3_get_autocommit tells.
 *  - In these cases, and when the COMMIT fails, nothing of the group is in the
 *    file and nobody was answered: all of it is undone and each member runs
 *    again, the guilty one by itself, so that only it gets the error.
 *
 * The table of errors behind this is facts.md 2.1.
 *
 * Thread: whoever runs the writer. */
#include <stdlib.h>

#include "daemon/clock.h"
#include "daemon/mailbox.h"
#include "daemon/stats.h"
#include "daemon/writer_impl.h"
#include "proto/error.h"

void
group_save_vars(struct member *m)
{
	const struct vars *v = m->r->vars;

	if (!v)
		return;
	m->rowid = atomic_load(&v->rowid);
	m->vars_changes = atomic_load(&v->changes);
	m->total = atomic_load(&v->total);
}

void
group_restore_vars(const struct member *m)
{
	struct vars *v = m->r->vars;

	if (!v)
		return;
	atomic_store(&v->rowid, m->rowid);
	atomic_store(&v->changes, m->vars_changes);
	atomic_store(&v->total, m->total);
}

void
group_answer(struct writer *w, struct member *m)
{
	struct request *r = m->r;

	writer_note_answering(w);
	dbconn_set_vars(w->conn, NULL);
	if (r->failure.code == 0)
		stats_add(STAT_writes, 1);
	else if (r->failure.code == ERR_EXTERNAL_BUSY)
		stats_add(STAT_external_busy, 1);
	answer_finish(&m->exec.answer);
	stats_max(STAT_write_us_max, (uint64_t)(r->ended_us - r->arrived_us));
	mailbox_post(r, true);
}

/* It failed and was undone, in whatever way.  A statement leaves to its session what
 * SQLite leaves then: no changes, and the rowid that it inserted last, if any. */
static void
undo_vars(const struct member *m)
{
	struct vars *v = m->r->vars;
	int64_t rowid = v ? atomic_load(&v->rowid) : 0;

	group_restore_vars(m);
	if (!v || !m->exec.left_vars || m->r->type == TYPE_BATCH)
		return;
	atomic_store(&v->changes, 0);
	atomic_store(&v->rowid, rowid);
}

/* Prepare the member's statement; its kind is known then. */
static int
prepare_member(struct writer *w, struct member *m, int64_t now_us)
{
	struct request *r = m->r;

	m->exec = (struct exec){ .conn = w->conn, .r = r };
	answer_init(&m->exec.answer, r, &r->out);
	m->moved = m->undo = m->locked = false;
	r->started_us = now_us;
	writer_note_running(w, m, now_us);
	if (request_get_stop(r)) {
		m->dropped = true;
		request_fail_stopped(r, "while it waited for the writer");
		return -r->failure.code;
	}
	if (r->type == TYPE_BATCH)
		return 0;
	return exec_prepare(&m->exec, w->conn, r, &r->out);
}

/* After these a statement that changed nothing has undone itself for sure:
 * sqlite.org/lang_conflict.html, and the codes of sqlite.org/rescode.html. */
static bool
undid_itself(const struct member *m)
{
	enum {
		CHECK = 275,
		FOREIGNKEY = 787,
		NOTNULL = 1299,
		PRIMARYKEY = 1555,
		TRIGGER = 1811,
		UNIQUE = 2067,
		ROWID = 2579,
	};

	if (!m->exec.stmt_failed || m->moved)
		return false;
	switch (m->r->failure.code) {
	case CHECK:
	case FOREIGNKEY:
	case NOTNULL:
	case PRIMARYKEY:
	case TRIGGER:
	case UNIQUE:
	case ROWID:
		return true;
	default:
		return false;
	}
}

/* Nothing may hold the writer for longer than a transaction may.  It is not run
 * again with the others of its group. */
static int
fail_over_age(struct writer *w, struct member *m)
{
	m->undo = m->dropped = true;
	undo_vars(m);
	return failure_set(&m->r->failure, ERR_DEADLINE,
	    "the statement ran for longer than the %.0f s of tx_max_age and "
	    "was undone; do less at a time, or raise tx_max_age",
	    (double)w->db_conf->tx_max_age_us / 1e6);
}

/* Run it, inside the open transaction or outside of any. */
static int
run_member(struct writer *w, struct member *m)
{
	struct request *r = m->r;
	int64_t total = dbconn_get_total_changes(w->conn);
	int rc;
	dbconn_watch(
	    w->conn, &r->stop, r->started_us + w->db_conf->tx_max_age_us);
	if (r->type == TYPE_BATCH) {
		rc = exec_batch(&m->exec, w->conn, r, &r->out, true);
		m->undo = rc != 0 && m->exec.undo_failed;
	} else {
		m->exec.most_bytes = r->max_frame_bytes;
		m->exec.most_code = ERR_RESULT_TOO_LARGE;
		rc = exec_run(&m->exec);
		exec_close(&m->exec);
		m->moved = dbconn_get_total_changes(w->conn) != total;
		m->undo = rc < 0 && !undid_itself(m);
	}
	dbconn_watch(w->conn, NULL, 0);
	/* it would need as much memory again, or has no time left */
	if (rc < 0 &&
	    (r->failure.code == ERR_MEMORY_LIMIT ||
		r->failure.code == request_get_stop(r))) {
		m->dropped = true;
		undo_vars(m);
	}
	return rc == EXEC_OVER ? fail_over_age(w, m) : rc;
}

/* In a transaction of its own, which is undone when it fails: an error of ours,
 * in the middle of a result, must not leave half of it. */
static int
run_in_tx(struct writer *w, struct member *m)
{
	struct request *r = m->r;
	struct failure commit;
	int rc = writer_begin(w, &r->failure);

	m->locked = rc == -ERR_EXTERNAL_BUSY;
	if (rc < 0) {
		exec_close(&m->exec);
		return rc;
	}
	rc = run_member(w, m);
	w->commit_us = rc == 0 ? clock_now_us() : 0;
	failure_init(&commit);
	if (rc == 0 && dbconn_run(w->conn, DBCONN_COMMIT, &commit) < 0) {
		control_judge_commit(&commit);
		failure_fini(&r->failure);
		r->failure = commit;
		rc = -commit.code;
	}
	if (rc < 0) {
		w->commit_us = 0;
		writer_roll_back(w);
	}
	return rc;
}

/* A lock of another process stops it before it has done anything. */
static int
run_without_tx(struct writer *w, struct member *m)
{
	int rc;

	writer_forget_others(w);
	rc = run_member(w, m);
	m->locked = rc == -ERR_EXTERNAL_BUSY;
	return rc;
}

/* A statement that failed after it had changed something: whether SQLite keeps
 * that (OR FAIL, RAISE(FAIL), virtual tables) it alone knows, so it runs again
 * as it would alone, in autocommit. */
static int
run_in_autocommit(struct writer *w, struct member *m)
{
	int rc;

	group_restore_vars(m);
	request_reset_result(m->r);
	m->r->tallied = true;
	rc = prepare_member(w, m, clock_now_us());
	return rc < 0 ? rc : run_without_tx(w, m);
}

static void
run_single(struct writer *w, struct member *m)
{
	struct request *r = m->r;
	bool alone = r->type == TYPE_EXEC &&
	    stmt_get_kind(m->exec.stmt) == KIND_MAINTENANCE;
	int rc;

	group_save_vars(m);
	rc = alone ? run_without_tx(w, m) : run_in_tx(w, m);
	if (rc < 0 && m->exec.stmt_failed && m->moved && !alone &&
	    !m->dropped && !w->is_stuck)
		rc = run_in_autocommit(w, m);
	else if (rc < 0)
		undo_vars(m);
	r->seq = writer_count_commit(w, r);
	if (rc < 0 && r->seq)
		r->failure.outcome = OUTCOME_APPLIED;
}

static void
restore_all(struct writer *w, size_t n)
{
	for (size_t i = n; i > 0; i--) {
		struct member *m = &w->members[i - 1];

		if (m->dropped)
			continue;
		group_restore_vars(m);
		m->r->tallied = true;
	}
}

/* False: a lock of another process kept it from running. */
static bool
rerun_one(struct writer *w, struct member *m)
{
	if (!m->dropped) {
		request_reset_result(m->r);
		if (prepare_member(w, m, clock_now_us()) == 0)
			run_single(w, m);
		if (m->locked)
			return false;
	}
	group_answer(w, m);
	return true;
}

/* Let those from a place on wait in the line again, but for those who have their
 * answer. */
static void
lock_out(struct writer *w, size_t from, size_t n)
{
	size_t kept_n = 0;

	for (size_t i = from; i < n; i++) {
		struct member *m = &w->members[i];

		if (m->dropped)
			group_answer(w, m);
		else
			w->members[kept_n++] = *m;
	}
	writer_lock_out(w, 0, kept_n);
}

/* Run each by itself, after the group was undone. */
static void
rerun(struct writer *w, size_t n)
{
	restore_all(w, n);
	for (size_t i = 0; i < n; i++) {
		if (!rerun_one(w, &w->members[i])) {
			lock_out(w, i, n);
			break;
		}
	}
}

static void
run_in_group(struct writer *w, struct member *m, int64_t now_us)
{
	if (prepare_member(w, m, now_us) == 0 && run_member(w, m) < 0 &&
	    !m->undo)
		undo_vars(m);
}

/* When it had run: the next one begins then. */
static int64_t
get_end_us(const struct member *m)
{
	return m->exec.ended_us ? m->exec.ended_us : clock_now_us();
}

/* Run the members one after the other, for as long as a group may take; *n is
 * how many there were then.  False: the group is spoiled. */
static bool
run_all(struct writer *w, size_t *n)
{
	int64_t now_us = clock_now_us();
	int64_t end_us = now_us + w->db_conf->group_time_us;
	bool ok = true;
	size_t i;

	for (i = 0; i < *n && ok; i++) {
		struct member *m = &w->members[i];

		if (i > 0)
			now_us = get_end_us(m - 1);
		if (now_us > end_us)
			break;
		request_move(m->r, REQUEST_RUNNING);
		group_save_vars(m);
		run_in_group(w, m, now_us);
		ok = dbconn_in_tx(w->conn) && !m->undo &&
		    !dbconn_has_fk_debt(w->conn);
	}
	writer_return(w, i, *n);
	*n = i;
	return ok;
}

static bool
commit_all(struct writer *w, size_t n)
{
	struct failure f;
	uint64_t seq;
	bool ok;

	failure_init(&f);
	w->commit_us = clock_now_us();
	ok = dbconn_run(w->conn, DBCONN_COMMIT, &f) == 0;
	failure_fini(&f);
	if (!ok) {
		w->commit_us = 0;
		return false;
	}
	seq = writer_count_commit(w, w->members[0].r);
	stats_max(STAT_group_size_max, n);
	stats_observe(dbconn_get_stats(w->conn), HIST_group_size, (int64_t)n);
	for (size_t i = 0; i < n; i++) {
		struct member *m = &w->members[i];

		if (m->r->failure.code == 0)
			m->r->seq = seq;
		group_answer(w, m);
	}
	return true;
}

static bool
run_again(struct writer *w, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct member *m = &w->members[i];

		if (m->dropped)
			continue;
		request_reset_result(m->r);
		group_save_vars(m);
		run_in_group(w, m, clock_now_us());
		if (!dbconn_in_tx(w->conn) || m->undo ||
		    dbconn_has_fk_debt(w->conn))
			return false;
	}
	return true;
}

/* The last one has spoiled the group.  The others were good and share a commit
 * as they would have without it; else one client's errors would cost all the
 * others their group. */
static void
rerun_spoiled(struct writer *w, size_t n)
{
	struct failure f;
	bool ok;

	stats_add(STAT_groups_rerun, 1);
	restore_all(w, n);
	failure_init(&f);
	ok = n > 2 && writer_begin(w, &f) == 0 && run_again(w, n - 1) &&
	    commit_all(w, n - 1);
	failure_fini(&f);
	if (ok) {
		if (!rerun_one(w, &w->members[n - 1]))
			lock_out(w, n - 1, n);
		return;
	}
	writer_roll_back(w);
	rerun(w, n);
}

/* None can begin: each would have been told so when alone. */
static void
refuse_all(struct writer *w, size_t n, const struct failure *why)
{
	for (size_t i = 0; i < n; i++) {
		struct member *m = &w->members[i];

		m->exec = (struct exec){ .conn = w->conn, .r = m->r };
		answer_init(&m->exec.answer, m->r, &m->r->out);
		failure_set(&m->r->failure, why->code, "%s",
		    why->text ? why->text : "out of memory");
		group_answer(w, m);
	}
}

void
group_run(struct writer *w, size_t n)
{
	struct failure f;

	failure_init(&f);
	if (writer_begin(w, &f) == -ERR_EXTERNAL_BUSY) {
		writer_lock_out(w, 0, n);
	} else if (f.code) {
		refuse_all(w, n, &f);
	} else if (!run_all(w, &n)) {
		writer_roll_back(w);
		rerun_spoiled(w, n);
	} else if (!commit_all(w, n)) {
		writer_roll_back(w);
		stats_add(STAT_groups_rerun, 1);
		rerun(w, n);
	}
	failure_fini(&f);
}

/* It was given to the writer because its kind was not known; it is not for the
 * writer. */
static void
send_back(struct writer *w, struct member *m)
{
	struct request *r = m->r;

	writer_note_answering(w);
	exec_close(&m->exec);
	r->reroute = REROUTE_AGAIN;
	r->unknown = false;
	r->started_us = 0;
	request_move(r, REQUEST_NEW);
	mailbox_post(r, true);
}

void
group_run_alone(struct writer *w, struct request *r)
{
	struct member *m = &w->members[0];
	enum msg_kind kind;

	*m = (struct member){ .r = r };
	request_move(r, REQUEST_RUNNING);
	if (prepare_member(w, m, clock_now_us()) == 0) {
		kind = stmt_get_kind(m->exec.stmt);
		if (kind == KIND_TX || (kind == KIND_READ && !r->rerouted)) {
			send_back(w, m);
			return;
		}
		run_single(w, m);
	}
	if (m->locked)
		writer_lock_out(w, 0, 1);
	else
		group_answer(w, m);
}
