/* check_exec.c - statements and batches into answers, on a connection that the
 * test holds. */
#include <check.h>
#include <stdio.h>

#include "daemon/writer_impl.h"
#include "proto/error.h"
#include "tests/lib/fixture.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char schema[] =
    "CREATE TABLE t(id INTEGER PRIMARY KEY, v UNIQUE);"
    "INSERT INTO t VALUES(1, 'one'), (2, 'two');"
    "CREATE TABLE parent(id INTEGER PRIMARY KEY);"
    "CREATE TABLE late(p REFERENCES parent(id) DEFERRABLE INITIALLY DEFERRED);";

#define COUNT_TO(n)                                                      \
	"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c" \
	" LIMIT " #n ") SELECT x FROM c"

static struct fixture fx;
static struct dbconn *writer;

static void
setup(void)
{
	fixture_open(&fx, "foreign_keys=on", schema);
	writer = fx.db->writer->conn;
}

static void
teardown(void)
{
	fixture_close(&fx);
}

static void
run_verb(enum dbconn_verb verb)
{
	struct failure f;

	failure_init(&f);
	ck_assert_int_eq(dbconn_run(writer, verb, &f), 0);
	failure_fini(&f);
}

static struct request *
ask(const char *sql)
{
	struct request *r = fixture_exec(&fx, sql, NULL);

	request_move(r, REQUEST_QUEUED);
	request_move(r, REQUEST_RUNNING);
	return r;
}

/* Give what was written to r->out, and free it. */
static const char *
say(struct request *r)
{
	const char *text = fixture_say(&fx, r->out.p, r->out.n);

	request_free(r);
	return text;
}

/* Run one statement; gives what exec_run gave in *ret. */
static const char *
run(struct dbconn *conn, struct request *r, int *ret)
{
	struct exec ex;
	int rc = exec_prepare(&ex, conn, r, &r->out);

	if (rc == 0) {
		rc = exec_run(&ex);
		exec_close(&ex);
	}
	if (ret)
		*ret = rc;
	answer_finish(&ex.answer);
	dbconn_set_vars(conn, NULL);
	return say(r);
}

static const char *
run_batch(const struct fixture_step *steps, bool check_fks)
{
	struct request *r = fixture_batch(&fx, steps);
	struct exec ex;

	request_move(r, REQUEST_QUEUED);
	request_move(r, REQUEST_RUNNING);
	run_verb(DBCONN_BEGIN_IMMEDIATE);
	exec_batch(&ex, writer, r, &r->out, check_fks);
	if (dbconn_in_tx(writer))
		run_verb(DBCONN_COMMIT);
	dbconn_set_vars(writer, NULL);
	answer_finish(&ex.answer);
	return say(r);
}

/* --- Statements ------------------------------------------------------------ */

START_TEST(exec_answers_rows_changes_and_rowid)
{
	int rc;

	ck_assert_str_eq(run(fx.hot, ask("SELECT v FROM t"), &rc),
	    "DONE columns=['v'] rows=[['one'],['two']]");
	ck_assert_int_eq(rc, EXEC_DONE);
	ck_assert_str_eq(
	    run(writer, ask("INSERT INTO t(v) VALUES('a'), ('b')"), &rc),
	    "DONE changes=2 rowid=4");
	ck_assert_str_eq(
	    run(writer, ask("DELETE FROM t WHERE id > 2 RETURNING id"), &rc),
	    "DONE columns=['id'] rows=[[3],[4]] changes=2 rowid=4");
	ck_assert_str_eq(run(fx.hot, ask(""), &rc), "DONE");
	ck_assert_str_eq(run(fx.hot, ask("SELECT nope"), &rc),
	    "ERROR name=SQLITE_ERROR message='no such column: nope' offset=7");
}
END_TEST

START_TEST(exec_tells_a_session_what_its_own_writes_gave)
{
	static const char sql[] =
	    "SELECT last_insert_rowid(), changes(), total_changes()";
	struct vars *mine = fx.vars, *other = vars_new();

	run(writer, ask("INSERT INTO t(v) VALUES('a'), ('b')"), NULL);
	run(writer, ask("UPDATE t SET v = v || '!'"), NULL);
	ck_assert_ptr_nonnull(
	    strstr(run(fx.hot, ask(sql), NULL), "rows=[[4,4,6]]"));
	/* another session has its own */
	fx.vars = other;
	ck_assert_ptr_nonnull(
	    strstr(run(fx.hot, ask(sql), NULL), "rows=[[0,0,0]]"));
	run(writer, ask("INSERT INTO t VALUES(9, 'nine')"), NULL);
	ck_assert_ptr_nonnull(
	    strstr(run(fx.hot, ask(sql), NULL), "rows=[[9,1,1]]"));
	ck_assert_ptr_nonnull(
	    strstr(run(writer,
		       ask("INSERT INTO t(v) VALUES(last_insert_rowid())"
			   " RETURNING v"),
		       NULL),
		"rows=[[9]]"));
	/* and the first one still its own */
	fx.vars = mine;
	ck_assert_ptr_nonnull(
	    strstr(run(fx.hot, ask(sql), NULL), "rows=[[4,4,6]]"));
	run(writer, ask("DELETE FROM t WHERE id = 999"), NULL);
	ck_assert_ptr_nonnull(
	    strstr(run(fx.hot, ask(sql), NULL), "rows=[[4,0,6]]"));
	vars_unref(other);
}
END_TEST

/* The schema is not trusted with functions of the application's; these look like
 * such, and are SQLite's own to everybody else. */
START_TEST(exec_lets_triggers_and_views_ask_what_a_session_wrote)
{
	static const char *const asking[] = {
		"CREATE TABLE log(c, n, r)",
		"CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO log VALUES"
		"(changes(), total_changes(), last_insert_rowid()); END",
		"CREATE TABLE child(x, p DEFAULT (last_insert_rowid()))",
		"CREATE VIEW v AS SELECT changes(), total_changes(),"
		" last_insert_rowid()",
	};

	for (size_t i = 0; i < COUNT(asking); i++)
		ck_assert_str_eq(run(writer, ask(asking[i]), NULL), "DONE");
	ck_assert_str_eq(
	    run(writer, ask("INSERT INTO t(v) VALUES('a'), ('b')"), NULL),
	    "DONE changes=2 rowid=4");
	ck_assert_str_eq(run(fx.hot, ask("SELECT c, n, r FROM log"), NULL),
	    "DONE columns=['c','n','r'] rows=[[0,0,3],[0,1,4]]");
	ck_assert_ptr_nonnull(strstr(
	    run(fx.hot, ask("SELECT * FROM v"), NULL), "rows=[[2,4,4]]"));
	ck_assert_ptr_nonnull(
	    strstr(run(writer,
		       ask("INSERT INTO child(x) VALUES(1) RETURNING p"), NULL),
		"rows=[[4]]"));
}
END_TEST

/* With foreign keys DROP TABLE deletes the table's rows first:
 * sqlite.org/foreignkeys.html, section 5. */
START_TEST(exec_counts_what_a_change_of_the_schema_changes)
{
	static const char sql[] =
	    "SELECT last_insert_rowid(), changes(), total_changes()";

	run(writer, ask("CREATE TABLE p(id INTEGER PRIMARY KEY)"), NULL);
	run(writer, ask("CREATE TABLE c(p REFERENCES p(id))"), NULL);
	run(writer, ask("INSERT INTO p VALUES(1), (2)"), NULL);
	run(writer, ask("UPDATE p SET id = id WHERE id = 1"), NULL);
	ck_assert_ptr_nonnull(
	    strstr(run(fx.hot, ask(sql), NULL), "rows=[[2,1,3]]"));
	ck_assert_str_eq(
	    run(writer, ask("DROP TABLE p"), NULL), "DONE changes=2 rowid=2");
	ck_assert_ptr_nonnull(
	    strstr(run(fx.hot, ask(sql), NULL), "rows=[[2,2,5]]"));
	run(writer, ask("CREATE TABLE q(x)"), NULL);
	ck_assert_ptr_nonnull(
	    strstr(run(fx.hot, ask(sql), NULL), "rows=[[2,2,5]]"));
}
END_TEST

START_TEST(exec_stops_at_the_most_rows)
{
	struct request *r = ask("SELECT id FROM t");

	r->max_rows = 1;
	ck_assert_str_eq(
	    run(fx.hot, r, NULL), "DONE columns=['id'] rows=[[1]]");
	/* the statement is as new for the next one */
	ck_assert_str_eq(run(fx.hot, ask("SELECT id FROM t"), NULL),
	    "DONE columns=['id'] rows=[[1],[2]]");
}
END_TEST

START_TEST(exec_gives_declared_types_to_those_who_asked)
{
	struct request *r = ask("SELECT id, v, 5 FROM t LIMIT 1");

	r->decltypes = true;
	ck_assert_str_eq(run(fx.hot, r, NULL),
	    "DONE columns=['id','v','5'] rows=[[1,'one',5]] "
	    "decltypes=['INTEGER',null,null]");
}
END_TEST

/* clang-format off */
static const struct limit_case {
	size_t most_bytes;
	int most_code, result, code;
} limits[] = {
	{ 0, 0, EXEC_DONE, 0 },
	{ 10000, 0, EXEC_OVER, 0 },
	{ 10000, ERR_RESULT_TOO_LARGE, -ERR_RESULT_TOO_LARGE, ERR_RESULT_TOO_LARGE },
	{ 1000000, ERR_RESULT_TOO_LARGE, EXEC_DONE, 0 },
};
/* clang-format on */

START_TEST(exec_keeps_to_the_most_bytes)
{
	const struct limit_case *c = &limits[_i];
	struct request *r = ask(COUNT_TO(50000));
	struct exec ex;

	ck_assert_int_eq(exec_prepare(&ex, fx.hot, r, &r->out), 0);
	ex.most_bytes = c->most_bytes;
	ex.most_code = c->most_code;
	ck_assert_int_eq(exec_run(&ex), c->result);
	ck_assert_int_eq(r->failure.code, c->code);
	exec_close(&ex);
	answer_abandon(&ex.answer);
	dbconn_set_vars(fx.hot, NULL);
	request_free(r);
}
END_TEST

START_TEST(exec_streams_until_it_is_too_far_ahead)
{
	struct request *r = ask(COUNT_TO(100000));
	struct exec ex;

	atomic_store(&r->sent, 0);
	ck_assert_int_eq(exec_prepare(&ex, fx.hot, r, &r->out), 0);
	ex.streams = true;
	ex.ahead_bytes = 100000;
	ck_assert_int_eq(exec_run(&ex), EXEC_BLOCKED);
	ck_assert_uint_ge(ex.flushed_bytes, 100000);
	ck_assert_uint_lt(ex.flushed_bytes, 100000 + ANSWER_CHUNK_BYTES);
	/* again, and nothing has changed */
	ck_assert_int_eq(exec_run(&ex), EXEC_BLOCKED);
	atomic_store(&r->sent, 1 << 30);
	ck_assert_int_eq(exec_run(&ex), EXEC_DONE);
	exec_close(&ex);
	dbconn_set_vars(fx.hot, NULL);
	answer_finish(&ex.answer);
	mailbox_post(r, true);
	ck_assert_uint_gt(strlen(fixture_take(&fx, r)), 500000);
}
END_TEST

START_TEST(exec_stops_when_it_is_told)
{
	struct request *r = ask("SELECT 1");
	int rc;

	request_stop(r, ERR_CANCELLED);
	ck_assert_str_eq(run(fx.hot, r, &rc),
	    "ERROR name=CANCELLED message='request cancelled while it ran'");
	ck_assert_int_eq(rc, -ERR_CANCELLED);
}
END_TEST

/* --- Batches --------------------------------------------------------------- */

START_TEST(exec_batch_gives_each_step_its_result)
{
	/* clang-format off */
	static const struct fixture_step steps[] = {
		{ .sql = "INSERT INTO t VALUES(?, ?)", .params = "[7, \"seven\"]" },
		{ .sql = "SELECT v, last_insert_rowid() FROM t WHERE id = :id",
		  .params = "{\"id\": 7}" },
		{ .sql = "UPDATE t SET v = v || '!'" },
		{ .sql = "DELETE FROM t WHERE id < 3 RETURNING id" },
		{ .sql = "-- nothing" },
		{ .sql = "SELECT id FROM t WHERE 0" },
		{ 0 },
	};
	/* clang-format on */

	ck_assert_str_eq(run_batch(steps, true),
	    "DONE changes=6 rowid=7 steps=[changes=1 rowid=7; "
	    "columns=['v','last_insert_rowid()'] rows=[['seven',7]]; "
	    "changes=3 rowid=7; "
	    "columns=['id'] rows=[[1],[2]] changes=2 rowid=7; ; "
	    "columns=['id'] rows=[]]");
	ck_assert_str_eq(fixture_query(&fx, "SELECT * FROM t"), "7|seven!\n");
	ck_assert_int_eq(fx.vars->rowid, 7);
	ck_assert_int_eq(fx.vars->total, 6);
}
END_TEST

/* Behind a step that succeeds (0), one that fails (1) and one that is skipped
 * (2): does the fourth one run? */
/* clang-format off */
static const struct cond_case {
	const char *cond;
	bool met;
} conds[] = {
	{ "[0, 0]", true }, { "[0, 1]", false }, { "[0, 2]", false },
	{ "[1, 0]", false }, { "[1, 1]", true }, { "[1, 2]", false },
	{ "[2, [0, 0]]", false }, { "[2, [0, 1]]", true }, { "[2, [0, 2]]", true },
	{ "[2, [1, 2]]", true }, { "[2, [2, [1, 1]]]", true },
	{ "[3, [0, 0]]", true }, { "[3, [0, 0], [1, 1]]", true },
	{ "[3, [0, 0], [0, 1]]", false }, { "[3, [0, 1], [0, 0]]", false },
	{ "[4, [0, 1]]", false }, { "[4, [0, 1], [1, 1]]", true },
	{ "[4, [1, 1], [0, 1]]", true }, { "[4, [0, 1], [0, 2]]", false },
	{ "[3, [4, [0, 1], [0, 0]], [2, [3, [0, 0], [0, 2]]]]", true },
};
/* clang-format on */

START_TEST(exec_batch_runs_a_step_when_its_condition_is_met)
{
	const struct cond_case *c = &conds[_i];
	const struct fixture_step steps[] = {
		{ .sql = "INSERT INTO t VALUES(7, 'seven')" },
		{ .sql = "INSERT INTO t VALUES(8, 'one')" },
		{ .sql = "SELECT 'skipped'", .cond = "[1, 0]" },
		{ .sql = "SELECT 'it ran'", .cond = c->cond },
		{ .sql = "SELECT 1", .cond = "[4, [0, 0], [0, 1], [0, 2]]" },
		{ 0 },
	};

	ck_assert_str_eq(run_batch(steps, true),
	    fixture_format(&fx,
		"DONE changes=1 rowid=7 steps=[changes=1 rowid=7; "
		"error={name=SQLITE_CONSTRAINT_UNIQUE message='UNIQUE "
		"constraint failed: t.v'}; null; %s; columns=['1'] "
		"rows=[[1]]]",
		c->met ? "columns=[''it ran''] rows=[['it ran']]" : "null"));
	ck_assert_str_eq(fixture_query(&fx, "SELECT id FROM t"), "1\n2\n7\n");
}
END_TEST

/* clang-format off */
static const struct failing_case {
	struct fixture_step steps[4];
	const char *text;
} failing[] = {
	{ { { .sql = "INSERT INTO t VALUES(7, 7)" }, { .sql = "INSERT INTO t VALUES(8, 'one')" } },
	  "ERROR name=SQLITE_CONSTRAINT_UNIQUE message='UNIQUE constraint failed: t.v' step=1" },
	{ { { .sql = "INSERT INTO t VALUES(7, 7)" }, { .sql = "SELECT nope" } },
	  "ERROR name=SQLITE_ERROR message='no such column: nope' offset=7 step=1" },
	{ { { .sql = "INSERT INTO t VALUES(7, ?)" } },
	  "ERROR name=PARAM_COUNT message='the statement has 1 parameter, 0 were given' step=0" },
	{ { { .sql = "INSERT INTO t VALUES(7, 7)" }, { .sql = "ROLLBACK" } },
	  "ERROR name=NOT_ALLOWED message='a BATCH is a transaction already: BEGIN, COMMIT, ROLLBACK and SAVEPOINT are not allowed in it' step=1" },
	{ { { .sql = "INSERT INTO t VALUES(7, 7)" }, { .sql = "VACUUM" } },
	  "ERROR name=NOT_ALLOWED message='VACUUM cannot run in a transaction, which a BATCH is; send it by itself' step=1" },
	{ { { .sql = "INSERT INTO t VALUES(7, 7)" }, { .sql = "ATTACH 'x' AS y" } },
	  "ERROR name=NOT_ALLOWED message='ATTACH, DETACH and VACUUM INTO are not allowed: add the file as a database of its own to the daemon' step=1" },
	{ { { .sql = "INSERT INTO late VALUES(9)" } },
	  "ERROR name=SQLITE_CONSTRAINT_FOREIGNKEY message='FOREIGN KEY constraint failed'" },
	{ { { .sql = "CREATE TABLE made(x)" }, { .sql = "INSERT INTO nowhere VALUES(1)" } },
	  "ERROR name=SQLITE_ERROR message='no such table: nowhere' step=1" },
	/* a caught step that ends the whole transaction cannot be caught */
	{ { { .sql = "INSERT OR ROLLBACK INTO t VALUES(8, 'one')" }, { .sql = "SELECT 1", .cond = "[1, 0]" } },
	  "ERROR name=SQLITE_CONSTRAINT_UNIQUE message='UNIQUE constraint failed: t.v' step=0" },
	{ { { .sql = "SELECT 1; SELECT 2" } },
	  "ERROR name=MULTIPLE_STATEMENTS message='more than one statement in one request; send the second one by itself, or both in a BATCH' offset=10 step=0" },
	{ { { .sql = COUNT_TO(65536) } },
	  "ERROR name=RESULT_TOO_LARGE message='the results of a BATCH may have at most 16777216 bytes and 65535 rows a step; select less, or read outside of the BATCH' step=0" },
	{ { { .sql = "SELECT zeroblob(9000000)" }, { .sql = "SELECT zeroblob(9000000)" } },
	  "ERROR name=RESULT_TOO_LARGE message='the results of a BATCH may have at most 16777216 bytes and 65535 rows a step; select less, or read outside of the BATCH' step=1" },
};
/* clang-format on */

START_TEST(exec_batch_that_fails_leaves_nothing_behind)
{
	ck_assert_str_eq(run_batch(failing[_i].steps, true), failing[_i].text);
	ck_assert_str_eq(fixture_query(&fx,
			     "SELECT id FROM t; SELECT * FROM late;"
			     "SELECT name FROM sqlite_schema"
			     "  WHERE name = 'made'"),
	    "1\n2\n");
	ck_assert_int_eq(fx.vars->rowid, 0);
	ck_assert_int_eq(fx.vars->changes, 0);
	/* and the connection goes on */
	ck_assert_str_eq(
	    run(writer, ask("INSERT INTO t(v) VALUES('next')"), NULL),
	    "DONE changes=1 rowid=3");
}
END_TEST

START_TEST(exec_batch_without_a_look_at_foreign_keys_leaves_them_to_commit)
{
	static const struct fixture_step steps[] = {
		{ .sql = "INSERT INTO late VALUES(9)" }, { 0 }
	};
	struct request *r = fixture_batch(&fx, steps);
	struct exec ex;

	run_verb(DBCONN_BEGIN_IMMEDIATE);
	ck_assert_int_eq(exec_batch(&ex, writer, r, &r->out, false), 0);
	ck_assert(dbconn_has_fk_debt(writer));
	answer_abandon(&ex.answer);
	run_verb(DBCONN_ROLLBACK);
	ck_assert(!dbconn_has_fk_debt(writer));
	dbconn_set_vars(writer, NULL);
	request_free(r);
}
END_TEST

START_TEST(exec_batch_of_nothing_is_done)
{
	static const struct fixture_step steps[] = { { 0 } };

	ck_assert_str_eq(run_batch(steps, true), "DONE steps=[]");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("exec");
	TCase *tc = tcase_create("statements");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, exec_answers_rows_changes_and_rowid);
	tcase_add_test(tc, exec_tells_a_session_what_its_own_writes_gave);
	tcase_add_test(
	    tc, exec_lets_triggers_and_views_ask_what_a_session_wrote);
	tcase_add_test(tc, exec_counts_what_a_change_of_the_schema_changes);
	tcase_add_test(tc, exec_stops_at_the_most_rows);
	tcase_add_test(tc, exec_gives_declared_types_to_those_who_asked);
	tcase_add_loop_test(
	    tc, exec_keeps_to_the_most_bytes, 0, (int)COUNT(limits));
	tcase_add_test(tc, exec_streams_until_it_is_too_far_ahead);
	tcase_add_test(tc, exec_stops_when_it_is_told);
	suite_add_tcase(s, tc);
	tc = tcase_create("batches");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, exec_batch_gives_each_step_its_result);
	tcase_add_loop_test(tc,
	    exec_batch_runs_a_step_when_its_condition_is_met, 0,
	    (int)COUNT(conds));
	tcase_add_loop_test(tc, exec_batch_that_fails_leaves_nothing_behind, 0,
	    (int)COUNT(failing));
	tcase_add_test(tc,
	    exec_batch_without_a_look_at_foreign_keys_leaves_them_to_commit);
	tcase_add_test(tc, exec_batch_of_nothing_is_done);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
