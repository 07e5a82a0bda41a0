/* oracle.c - SQLite in autocommit. */
#include "tests/lib/oracle.h"

#include <check.h>
#include <sqlite3.h>

#include "daemon/answer.h"
#include "proto/error.h"
#include "proto/frame.h"
#include "proto/value.h"

static int
note_commit(void *arg)
{
	struct oracle *o = arg;

	o->committed = true;
	return 0;
}

void
oracle_open(struct oracle *o, struct fixture *fx)
{
	*o = (struct oracle){ 0 };
	ck_assert_int_eq(sqlite3_open(fx->path, &o->db), SQLITE_OK);
	sqlite3_extended_result_codes(o->db, 1);
	ck_assert_int_eq(sqlite3_exec(o->db,
			     "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
			     "PRAGMA foreign_keys=ON",
			     NULL, NULL, NULL),
	    SQLITE_OK);
	sqlite3_commit_hook(o->db, note_commit, o);
}

void
oracle_close(struct oracle *o)
{
	ck_assert_int_eq(sqlite3_close(o->db), SQLITE_OK);
}

static void
put_value(struct buf *b, sqlite3_value *v)
{
	switch (sqlite3_value_type(v)) {
	case SQLITE_INTEGER:
		value_put_int(b, sqlite3_value_int64(v));
		break;
	case SQLITE_TEXT:
		value_put_text(
		    b, sqlite3_value_text(v), (size_t)sqlite3_value_bytes(v));
		break;
	default:
		value_put_nil(b);
		break;
	}
}

static int
put_rows(struct buf *b, struct msg_out *m, sqlite3_stmt *st)
{
	int n = sqlite3_column_count(st), rc;
	uint16_t rows_n = 0;
	size_t at;

	if (n == 0)
		return sqlite3_step(st);
	msg_key(m, TELL_columns);
	value_put_array(b, (uint32_t)n);
	for (int i = 0; i < n; i++)
		value_put_str(b, sqlite3_column_name(st, i),
		    strlen(sqlite3_column_name(st, i)));
	msg_key(m, TELL_rows);
	at = b->n;
	value_put_open_array(b);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		value_put_array(b, (uint32_t)n);
		for (int i = 0; i < n; i++)
			put_value(b, sqlite3_column_value(st, i));
		rows_n++;
	}
	value_close_array(b, at, rows_n);
	return rc;
}

static void
put_error(struct oracle *o, struct buf *b)
{
	struct failure f;
	struct msg_out m;

	failure_init(&f);
	failure_set(
	    &f, sqlite3_extended_errcode(o->db), "%s", sqlite3_errmsg(o->db));
	f.offset = sqlite3_error_offset(o->db);
	f.outcome = o->committed ? OUTCOME_APPLIED : OUTCOME_NOT_APPLIED;
	msg_begin_body(&m, b, TYPE_ERROR, 1, 0);
	answer_put_failure(&m, &f);
	msg_end(&m, FRAME_HARD_MAX_BYTES);
	failure_fini(&f);
}

const char *
oracle_run(struct oracle *o, struct fixture *fx, const char *sql, size_t client)
{
	int64_t total = sqlite3_total_changes64(o->db);
	sqlite3_stmt *st = NULL;
	struct msg_out m;
	const char *text;
	struct buf b;
	int rc;

	buf_init(&b);
	o->committed = false;
	sqlite3_set_last_insert_rowid(o->db, o->rowid[client]);
	msg_begin_body(&m, &b, TYPE_DONE, 1, 0);
	rc = sqlite3_prepare_v2(o->db, sql, -1, &st, NULL);
	if (rc == SQLITE_OK)
		rc = put_rows(&b, &m, st);
	total = sqlite3_total_changes64(o->db) - total;
	o->committed = o->committed && total > 0;
	o->rowid[client] = sqlite3_last_insert_rowid(o->db);
	o->changes[client] = total ? sqlite3_changes64(o->db) : 0;
	if (rc == SQLITE_DONE) {
		if (total && sqlite3_changes64(o->db))
			msg_put_int(&m, TELL_changes, sqlite3_changes64(o->db));
		if (o->rowid[client])
			msg_put_int(&m, TELL_rowid, o->rowid[client]);
		msg_end(&m, FRAME_HARD_MAX_BYTES);
	} else {
		msg_abandon(&m);
		put_error(o, &b);
	}
	sqlite3_finalize(st);
	text = fixture_say(fx, b.p, b.n);
	buf_fini(&b);
	return text;
}
