/* check_script.c - many statements in one request: what they leave behind, where
 * they fail, and that what is said of it is true. */
#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/stats.h"
#include "daemon/writer_impl.h"
#include "proto/error.h"
#include "tests/lib/faults.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char schema[] =
    "CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE);"
    "INSERT INTO t VALUES(1, 'one'), (2, 'two');"
    "CREATE TABLE log(id INTEGER PRIMARY KEY, x);"
    "CREATE TABLE late(p REFERENCES t(id) DEFERRABLE INITIALLY DEFERRED);";

static const char dump[] =
    "SELECT name, sql FROM sqlite_schema ORDER BY name;"
    "SELECT 't', * FROM t; SELECT 'log', * FROM log;"
    "SELECT 'late', * FROM late; PRAGMA user_version; PRAGMA quick_check;";

static struct fixture fx;

static void
setup(void)
{
	fixture_open(&fx, "foreign_keys=on statement_cache=3", schema);
}

static void
teardown(void)
{
	fixture_close(&fx);
}

static struct request *
submit(const char *sql, bool atomic)
{
	return fixture_write(&fx, fixture_script(&fx, sql, atomic));
}

static const char *
run(const char *sql, bool atomic)
{
	return fixture_take(&fx, submit(sql, atomic));
}

static const char *
run_exec(const char *sql)
{
	return fixture_take(
	    &fx, fixture_write(&fx, fixture_exec(&fx, sql, NULL)));
}

static void
assert_begins(const char *text, const char *want)
{
	ck_assert_msg(
	    strncmp(text, want, strlen(want)) == 0, "%s\nnot\n%s", text, want);
}

/* The next write finds the writer free, and no transaction open. */
static void
assert_goes_on(void)
{
	assert_begins(
	    run_exec("INSERT INTO log(x) VALUES('next')"), "DONE changes=1");
	assert_begins(
	    run_exec("DELETE FROM log WHERE x = 'next'"), "DONE changes=1");
	ck_assert_ptr_null(fx.db->writer->lease);
}

/* --- What SQLite makes of it ------------------------------------------------
 *
 * sqlite3_exec of the same text, in a transaction or not, leaves the same file
 * and gives the same errors. */

/* clang-format off */
static const struct script_case {
	const char *sql;
	const char *atomic; /* the reply */
	const char *each;   /* when it is not atomic; NULL: the same */
	bool ours;          /* the error is not SQLite's */
} scripts[] = {
	/* nothing */
	{ .sql = "", .atomic = "DONE statements_n=0" },
	{ .sql = " \n\t;;", .atomic = "DONE statements_n=0" },
	{ .sql = "-- nothing", .atomic = "DONE statements_n=0" },
	{ .sql = "/* nothing */ ;; -- at all\n ", .atomic = "DONE statements_n=0" },
	/* all is well */
	{ .sql = "SELECT 1", .atomic = "DONE statements_n=1" },
	{ .sql = "SELECT * FROM t; VALUES(1), (2); EXPLAIN DELETE FROM t;", .atomic = "DONE statements_n=3" },
	{ .sql = "CREATE TABLE n(x); INSERT INTO n VALUES(1), (2); ; INSERT INTO t(u) VALUES('c');",
	  .atomic = "DONE changes=3 rowid=3 statements_n=3" },
	{ .sql = "-- v2\nALTER TABLE t ADD COLUMN n DEFAULT 7; UPDATE t SET n = n + id;\n"
	  "CREATE INDEX t_n ON t(n); /* and */ DELETE FROM t WHERE n = 8; PRAGMA user_version = 2;",
	  .atomic = "DONE changes=3 statements_n=5" },
	{ .sql = "CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO log(x) VALUES(';'); SELECT 1; END;"
	  "INSERT INTO t(u) VALUES(';'); DROP TRIGGER g",
	  .atomic = "DONE changes=1 rowid=3 statements_n=3" },
	{ .sql = "INSERT INTO t(u) VALUES('r') RETURNING id, u; SELECT changes(), last_insert_rowid();"
	  "INSERT INTO log(x) VALUES(last_insert_rowid() || ' ' || changes())",
	  .atomic = "DONE changes=2 rowid=1 statements_n=3" },
	{ .sql = "INSERT INTO log(x) VALUES(1); SELECT x FROM log; REINDEX; ANALYZE; PRAGMA optimize;"
	  "PRAGMA table_info(t); CREATE VIEW v AS SELECT 1; DROP VIEW v",
	  .atomic = "DONE changes=1 rowid=1 statements_n=8" },
	{ .sql = "SAVEPOINT a; INSERT INTO log(x) VALUES('gone'); ROLLBACK TO a;"
	  "INSERT INTO log(x) VALUES('kept'); RELEASE a",
	  .atomic = "DONE changes=2 rowid=1 statements_n=5" },
	{ .sql = "INSERT INTO late VALUES(9); INSERT INTO t VALUES(9, 'nine')",
	  .atomic = "DONE changes=2 rowid=9 statements_n=2",
	  .each = "ERROR name=SQLITE_CONSTRAINT_FOREIGNKEY message='FOREIGN KEY constraint failed' offset=0 step=0" },
	{ .sql = "INSERT INTO late VALUES(9); SELECT 1",
	  .atomic = "ERROR name=SQLITE_CONSTRAINT_FOREIGNKEY message='FOREIGN KEY constraint failed'",
	  .each = "ERROR name=SQLITE_CONSTRAINT_FOREIGNKEY message='FOREIGN KEY constraint failed' offset=0 step=0" },
	/* a statement fails: its number, and where it begins or is wrong */
	{ .sql = "INSERT INTO t(u) VALUES('one'); SELECT 1",
	  .atomic = "ERROR name=SQLITE_CONSTRAINT_UNIQUE message='UNIQUE constraint failed: t.u' offset=0 step=0" },
	{ .sql = "INSERT INTO log(x) VALUES('a'); ;\n INSERT INTO t(u) VALUES('one'); SELECT 1",
	  .atomic = "ERROR name=SQLITE_CONSTRAINT_UNIQUE message='UNIQUE constraint failed: t.u' offset=35 step=1",
	  .each = "ERROR name=SQLITE_CONSTRAINT_UNIQUE message='UNIQUE constraint failed: t.u' offset=35 outcome=1 step=1" },
	{ .sql = "INSERT INTO log(x) VALUES('a'); SELEC 1;",
	  .atomic = "ERROR name=SQLITE_ERROR message='near \\'SELEC\\': syntax error' offset=32 step=1",
	  .each = "ERROR name=SQLITE_ERROR message='near \\'SELEC\\': syntax error' offset=32 outcome=1 step=1" },
	{ .sql = "CREATE TABLE n(x);\nSELECT x, nope FROM n;",
	  .atomic = "ERROR name=SQLITE_ERROR message='no such column: nope' offset=29 step=1",
	  .each = "ERROR name=SQLITE_ERROR message='no such column: nope' offset=29 outcome=1 step=1" },
	{ .sql = "SELECT 1; CREATE TABLE t(x);",
	  .atomic = "ERROR name=SQLITE_ERROR message='table t already exists' offset=23 step=1" },
	{ .sql = "INSERT INTO log(x) VALUES('a'); SELECT",
	  .atomic = "ERROR name=SQLITE_ERROR message='incomplete input' offset=32 step=1",
	  .each = "ERROR name=SQLITE_ERROR message='incomplete input' offset=32 outcome=1 step=1" },
	{ .sql = "SELECT 1; SELECT abs(-9223372036854775808); SELECT 2",
	  .atomic = "ERROR name=SQLITE_ERROR message='integer overflow' offset=10 step=1" },
	/* what a statement that fails keeps */
	{ .sql = "INSERT OR FAIL INTO t(u) VALUES('a'), ('one'); SELECT 1",
	  .atomic = "ERROR name=SQLITE_CONSTRAINT_UNIQUE message='UNIQUE constraint failed: t.u' offset=0 step=0",
	  .each = "ERROR name=SQLITE_CONSTRAINT_UNIQUE message='UNIQUE constraint failed: t.u' offset=0 outcome=1 step=0" },
	{ .sql = "INSERT INTO log(x) VALUES('a'); INSERT OR ROLLBACK INTO t(u) VALUES('b'), ('one')",
	  .atomic = "ERROR name=SQLITE_CONSTRAINT_UNIQUE message='UNIQUE constraint failed: t.u' offset=32 step=1",
	  .each = "ERROR name=SQLITE_CONSTRAINT_UNIQUE message='UNIQUE constraint failed: t.u' offset=32 outcome=1 step=1" },
	{ .sql = "INSERT OR IGNORE INTO t(u) VALUES('b'), ('one')", .atomic = "DONE changes=1 rowid=3 statements_n=1" },
	{ .sql = "RELEASE nope", .atomic = "ERROR name=SQLITE_ERROR message='no such savepoint: nope' offset=0 step=0" },
};

/* Transactions of a script's own. */
static const struct script_case own_txs[] = {
	{ .sql = "BEGIN; INSERT INTO log(x) VALUES('a'); COMMIT; INSERT INTO log(x) VALUES('b')",
	  .each = "DONE changes=2 rowid=2 statements_n=4" },
	{ .sql = "BEGIN IMMEDIATE; INSERT INTO log(x) VALUES('a'); ROLLBACK; INSERT INTO log(x) VALUES('b')",
	  .each = "DONE changes=2 rowid=1 statements_n=4" },
	{ .sql = "BEGIN; CREATE TABLE n(x); SAVEPOINT s; INSERT INTO n VALUES(1); ROLLBACK TO s; RELEASE s; END",
	  .each = "DONE changes=1 rowid=1 statements_n=7" },
	{ .sql = "INSERT INTO log(x) VALUES('a'); VACUUM; INSERT INTO log(x) VALUES('b')",
	  .each = "DONE changes=2 rowid=2 statements_n=3" },
	{ .sql = "BEGIN; INSERT INTO log(x) VALUES('a'); INSERT INTO t(u) VALUES('one'); COMMIT",
	  .each = "ERROR name=SQLITE_CONSTRAINT_UNIQUE message='UNIQUE constraint failed: t.u' offset=39 step=2" },
	{ .sql = "INSERT INTO log(x) VALUES('a'); BEGIN; INSERT INTO log(x) VALUES('b'); SELECT nope",
	  .each = "ERROR name=SQLITE_ERROR message='no such column: nope' offset=78 outcome=1 step=3" },
	{ .sql = "BEGIN; INSERT INTO late VALUES(9); COMMIT; SELECT 1",
	  .each = "ERROR name=SQLITE_CONSTRAINT_FOREIGNKEY message='FOREIGN KEY constraint failed' offset=35 step=2" },
	{ .sql = "BEGIN; INSERT INTO log(x) VALUES('a'); INSERT OR ROLLBACK INTO t(u) VALUES('one'); COMMIT",
	  .each = "ERROR name=SQLITE_CONSTRAINT_UNIQUE message='UNIQUE constraint failed: t.u' offset=39 step=2" },
	{ .sql = "BEGIN; BEGIN",
	  .each = "ERROR name=SQLITE_ERROR message='cannot start a transaction within a transaction' offset=7 step=1" },
	{ .sql = "INSERT INTO log(x) VALUES('a'); COMMIT",
	  .each = "ERROR name=SQLITE_ERROR message='cannot commit - no transaction is active' offset=32 outcome=1 step=1" },
	{ .sql = "BEGIN; VACUUM",
	  .each = "ERROR name=SQLITE_ERROR message='cannot VACUUM from within a transaction' offset=7 step=1" },
	{ .sql = "SELECT 1; BEGIN; INSERT INTO log(x) VALUES('a');", .ours = true,
	  .each = "ERROR name=TX_ACTIVE message='the SCRIPT ends within a transaction that begins here, which was "
		  "rolled back; end it with COMMIT' offset=10 step=1" },
	{ .sql = "INSERT INTO log(x) VALUES('a'); BEGIN; COMMIT;\nSAVEPOINT s; INSERT INTO log(x) VALUES('b')", .ours = true,
	  .each = "ERROR name=TX_ACTIVE message='the SCRIPT ends within a transaction that begins here, which was "
		  "rolled back; end it with COMMIT' offset=47 outcome=1 step=3" },
};
/* clang-format on */

static sqlite3 *
open_plain(const struct fixture *plain)
{
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open(plain->path, &db), SQLITE_OK);
	sqlite3_extended_result_codes(db, 1);
	ck_assert_int_eq(
	    sqlite3_exec(db, "PRAGMA foreign_keys=ON", NULL, NULL, NULL),
	    SQLITE_OK);
	return db;
}

/* Gives the beginning of the reply that says the same. */
static const char *
exec_plain(struct fixture *plain, const char *sql, bool atomic)
{
	sqlite3 *db = open_plain(plain);
	const char *want = "DONE";
	int rc = SQLITE_OK;

	if (atomic)
		rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
	if (rc == SQLITE_OK && atomic)
		rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		want = fixture_format(plain, "ERROR name=%s message='%s'",
		    error_get_name(rc), sqlite3_errmsg(db));
	if (!sqlite3_get_autocommit(db))
		ck_assert_int_eq(
		    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	return want;
}

static void
compare(const struct script_case *c, bool atomic)
{
	struct fixture plain;
	const char *got, *want, *reply = c->atomic;
	char message[300];

	fixture_init(&plain, "access=shared", schema);
	if (!atomic && c->each)
		reply = c->each;
	got = run(c->sql, atomic);
	ck_assert_msg(
	    strcmp(got, reply) == 0, "%s\n%s\nnot\n%s", c->sql, got, reply);
	want = exec_plain(&plain, c->sql, atomic);
	/* the reply's text has its double quotes changed */
	snprintf(message, sizeof(message), "%s", want);
	if (!c->ours && !strchr(message, '"'))
		assert_begins(got, message);
	ck_assert_str_eq(fixture_query(&fx, dump), fixture_query(&plain, dump));
	assert_goes_on();
	fixture_close(&plain);
}

START_TEST(script_does_what_sqlite_does_in_a_transaction)
{
	compare(&scripts[_i], true);
}
END_TEST

START_TEST(script_that_is_not_atomic_does_what_sqlite_does)
{
	compare(&scripts[_i], false);
}
END_TEST

START_TEST(script_that_is_not_atomic_has_transactions_of_its_own)
{
	compare(&own_txs[_i], false);
}
END_TEST

/* --- What is refused ------------------------------------------------------- */

/* clang-format off */
static const struct refusal {
	const char *sql, *reply;
	bool atomic, each; /* where */
} refusals[] = {
	{ "SELECT 1; BEGIN", "ERROR name=NOT_ALLOWED message='an atomic SCRIPT is a transaction already; leave out "
	  "BEGIN, COMMIT and ROLLBACK, or send it as not atomic' offset=10 step=1", true, false },
	{ "BEGIN IMMEDIATE", "ERROR name=NOT_ALLOWED message='an atomic SCRIPT is ", true, false },
	{ "COMMIT", "ERROR name=NOT_ALLOWED message='an atomic SCRIPT is ", true, false },
	{ "INSERT INTO log(x) VALUES(1); END", "ERROR name=NOT_ALLOWED message='an atomic SCRIPT is ", true, false },
	{ "INSERT INTO log(x) VALUES(1); ROLLBACK", "ERROR name=NOT_ALLOWED message='an atomic SCRIPT is ", true, false },
	{ "INSERT INTO log(x) VALUES(1); VACUUM", "ERROR name=NOT_ALLOWED message='VACUUM cannot run in a transaction, "
	  "which an atomic SCRIPT is; send it by itself, or the SCRIPT as not atomic' offset=30 step=1", true, false },
	{ "SELECT 1; SELECT ?1", "ERROR name=PARAM_COUNT message='a SCRIPT has no parameters, but a statement of it "
	  "does; write the values into the text' offset=10 step=1", true, true },
	{ "SELECT :a", "ERROR name=PARAM_COUNT ", true, true },
	/* the guard */
	{ "SELECT 1; ATTACH ':memory:' AS m", "ERROR name=NOT_ALLOWED message='ATTACH, DETACH and VACUUM INTO are not "
	  "allowed: add the file as a database of its own to the daemon' offset=10 step=1", true, true },
	{ "PRAGMA foreign_keys = off", "ERROR name=NOT_ALLOWED message='PRAGMA foreign_keys cannot be set", true, true },
	{ "CREATE TEMP TABLE n(x)", "ERROR name=NOT_ALLOWED message='TEMP objects are not allowed", true, true },
	{ "VACUUM INTO 'x'", "ERROR name=NOT_ALLOWED message='", true, true },
};
/* clang-format on */

START_TEST(script_refuses_and_names_the_remedy)
{
	const struct refusal *c = &refusals[_i];
	const char *before = fixture_query(&fx, dump);

	if (c->atomic)
		assert_begins(run(c->sql, true), c->reply);
	if (c->each)
		assert_begins(run(c->sql, false), c->reply);
	ck_assert_str_eq(fixture_query(&fx, dump), before);
	assert_goes_on();
}
END_TEST

/* --- Beside others --------------------------------------------------------- */

START_TEST(script_shares_no_commit)
{
	const _Atomic uint64_t *seq = writer_get_seq(fx.db->writer);
	struct request *r[3];

	fixture_hold(&fx);
	r[0] = fixture_write(
	    &fx, fixture_exec(&fx, "INSERT INTO log VALUES(1, 1)", NULL));
	r[1] = submit("INSERT INTO log VALUES(2, 2)", true);
	r[2] = fixture_write(
	    &fx, fixture_exec(&fx, "INSERT INTO log VALUES(3, 3)", NULL));
	fixture_release(&fx);
	for (size_t i = 0; i < COUNT(r); i++) {
		fixture_wait(&fx, r[i]);
		ck_assert_uint_eq(r[i]->seq, i + 1);
		assert_begins(fixture_take(&fx, r[i]), "DONE changes=1");
	}
	/* one commit, none, three, and those before the one that fails */
	run("INSERT INTO log(x) VALUES(1); INSERT INTO log(x) VALUES(2)", true);
	ck_assert_uint_eq(*seq, 4);
	run("SELECT 1; DELETE FROM log WHERE x = 12345", true);
	ck_assert_uint_eq(*seq, 4);
	run("CREATE TABLE n(x); BEGIN; DELETE FROM log; DELETE FROM late;"
	    "COMMIT; SELECT 1; DROP TABLE n",
	    false);
	ck_assert_uint_eq(*seq, 7);
	run("INSERT INTO log(x) VALUES(1); SELECT nope", false);
	ck_assert_uint_eq(*seq, 8);
	run("INSERT INTO log(x) VALUES(1); SELECT nope", true);
	ck_assert_uint_eq(*seq, 8);
}
END_TEST

START_TEST(script_leaves_the_statement_cache_alone)
{
	static const char *const sql[] = {
		"UPDATE t SET u = 'a' WHERE id = 7",
		"UPDATE t SET u = 'b' WHERE id = 7",
		"UPDATE t SET u = 'c' WHERE id = 7",
	};
	uint64_t before;

	for (size_t i = 0; i < COUNT(sql); i++)
		run_exec(sql[i]);
	before = stats_get(STAT_statements_prepared);
	run("UPDATE t SET u = 1 WHERE id = 7; UPDATE t SET u = 2 WHERE id = 7;"
	    "UPDATE t SET u = 3 WHERE id = 7; UPDATE t SET u = 4 WHERE id = 7",
	    _i);
	ck_assert_uint_eq(stats_get(STAT_statements_prepared), before + 4);
	for (size_t i = 0; i < COUNT(sql); i++) {
		struct request *r = fixture_exec(&fx, sql[i], NULL);

		/* that was fixture_exec's own */
		before = stats_get(STAT_statements_prepared);
		fixture_take(&fx, fixture_write(&fx, r));
		ck_assert_uint_eq(stats_get(STAT_statements_prepared), before);
	}
}
END_TEST

static void
assert_vars(int64_t rowid, int64_t changes)
{
	ck_assert_int_eq(fx.vars->rowid, rowid);
	ck_assert_int_eq(fx.vars->changes, changes);
}

START_TEST(script_that_failed_leaves_its_session_what_sqlite_leaves)
{
	run("INSERT INTO log(id, x) VALUES(7, 1); DELETE FROM t WHERE id < 3",
	    true);
	assert_vars(7, 2);
	run("INSERT INTO t VALUES(50, 50); INSERT INTO t VALUES(50, 51)", true);
	assert_vars(7, 2);
	/* what was committed has had its effect */
	run("INSERT INTO t VALUES(60, 60), (61, 61); INSERT INTO t(id)"
	    "VALUES(70), (60)",
	    false);
	assert_vars(70, 0);
	run("INSERT OR FAIL INTO t VALUES(80, 80), (60, 81)", false);
	assert_vars(80, 1);
}
END_TEST

/* Each statement is read where it stands: all the text that follows is not
 * looked at, or copied, once more for each. */
START_TEST(script_takes_many_statements)
{
	enum { N = 50000 };
	static const char one[] = "INSERT INTO log(x) VALUES('some text');\n";
	size_t n = sizeof(one) - 1;
	char *sql = malloc(N * n + 100);
	int len;

	for (size_t i = 0; i < N; i++)
		memcpy(sql + i * n, one, n);
	sql[N * n] = '\0';
	ck_assert_str_eq(run(sql, true),
	    "DONE changes=50000 rowid=50000 statements_n=50000");
	len = snprintf(sql + N * n, 100, "SELECT nope");
	ck_assert_int_gt(len, 0);
	ck_assert_str_eq(run(sql, true),
	    fixture_format(&fx,
		"ERROR name=SQLITE_ERROR message='no such column: nope' "
		"offset=%zu step=50000",
		N * n + 7));
	ck_assert_str_eq(
	    fixture_query(&fx, "SELECT count(*) FROM log"), "50000\n");
	free(sql);
}
END_TEST

/* --- Stopped --------------------------------------------------------------- */

static const char endless[] =
    "INSERT INTO log(x) VALUES('before');"
    "INSERT INTO log(x) SELECT barrier('long') UNION ALL SELECT value FROM"
    "  (WITH RECURSIVE c(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM c)"
    "   SELECT value FROM c)";

static const int stop_codes[] = { ERR_CANCELLED, ERR_DEADLINE,
	ERR_SHUTTING_DOWN };

static void
stop_while_it_runs(bool atomic, int code)
{
	struct request *r;
	struct barrier b;
	const char *text;

	barrier_add(&fx, &b);
	r = submit(endless, atomic);
	barrier_await(&b);
	request_stop(r, code);
	barrier_open(&b);
	text = fixture_take(&fx, r);
	assert_begins(
	    text, fixture_format(&fx, "ERROR name=%s ", error_get_name(code)));
	ck_assert_msg(strstr(text,
			  atomic ? " offset=36 step=1"
				 : " offset=36 outcome=1 step=1") != NULL,
	    "%s", text);
	ck_assert_str_eq(
	    fixture_query(&fx, "SELECT x FROM log"), atomic ? "" : "before\n");
	assert_goes_on();
}

START_TEST(script_that_is_stopped_is_undone)
{
	stop_while_it_runs(true, stop_codes[_i]);
}
END_TEST

START_TEST(script_that_is_not_atomic_and_stopped_says_how_far_it_came)
{
	stop_while_it_runs(false, stop_codes[_i]);
}
END_TEST

START_TEST(script_does_not_begin_when_it_was_stopped_in_the_line)
{
	struct request *r = fixture_script(
	    &fx, "INSERT INTO log(x) VALUES(1)", _i);

	request_stop(r, ERR_CANCELLED);
	assert_begins(fixture_take(&fx, fixture_write(&fx, r)),
	    "ERROR name=CANCELLED message='request cancelled while it waited "
	    "for the writer'");
	ck_assert_str_eq(fixture_query(&fx, "SELECT x FROM log"), "");
	assert_goes_on();
}
END_TEST

/* Of one statement that takes long, of many that do not. */
START_TEST(script_that_holds_the_writer_for_too_long_is_stopped)
{
	enum { N = 200000 };
	static const char one[] = "INSERT INTO log(x) VALUES(1);";
	size_t n = sizeof(one) - 1;
	char *sql = malloc(N * n + 1);
	const char *text;

	teardown();
	fixture_open(&fx, "tx_max_age=50ms", schema);
	for (size_t i = 0; i < N; i++)
		memcpy(sql + i * n, one, n);
	sql[N * n] = '\0';
	text = run(_i ? sql
		      : "INSERT INTO log(x) WITH RECURSIVE c(x) AS (SELECT 1 "
			"UNION ALL SELECT x + 1 FROM c) SELECT x FROM c",
	    true);
	assert_begins(text,
	    "ERROR name=DEADLINE message='the script ran for longer than the 0 "
	    "s of tx_max_age; do less in one, or raise tx_max_age' offset=");
	ck_assert_ptr_null(strstr(text, "outcome="));
	ck_assert_str_eq(fixture_query(&fx, "SELECT x FROM log"), "");
	free(sql);
	assert_goes_on();
}
END_TEST

/* SQLite asks whether to stop even after a statement has committed, if that was
 * just about its thousandth opcode (dbconn.c): so take statements of about as
 * many.  What is said of the statement must be true. */
struct stopper {
	struct request *r;
	int wait_n; /* syncs before the one that stops it */
};

static void
stop_at_sync(void *arg)
{
	struct stopper *s = arg;

	if (s->wait_n-- == 0)
		request_stop(s->r, ERR_CANCELLED);
}

/* The third statement is stopped while it commits. */
static const char *
stop_third(int rows_n, int more_n, const char *fourth)
{
	struct stopper s = { .wait_n = 2 };
	const char *text, *more = "";

	for (int i = 0; i < more_n; i++)
		more = fixture_format(&fx, "%s + abs(0)", more);
	s.r = fixture_script(&fx,
	    fixture_format(&fx,
		"DELETE FROM log; INSERT INTO log(x) VALUES('0');"
		"INSERT INTO log(x) WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL "
		"SELECT x + 1 FROM c LIMIT %d%s) SELECT x FROM c%s",
		rows_n, more, fourth),
	    false);
	run_exec("INSERT INTO log(x) VALUES('to be deleted')");
	faults_tap(FAULT_WAL_SYNC, stop_at_sync, &s);
	text = fixture_take(&fx, fixture_write(&fx, s.r));
	faults_tap(FAULT_WAL_SYNC, NULL, NULL);
	return text;
}

START_TEST(script_tells_the_truth_when_it_is_stopped_while_it_commits)
{
	teardown();
	fixture_open(&fx, "synchronous=full", schema);
	faults_watch_files(&fx);
	for (int i = 0; i < 8 * 30; i++) {
		int rows_n = 36 + i / 30;
		const char *text = stop_third(rows_n, i % 30,
		    _i ? "" : "; INSERT INTO log(x) VALUES('end')");

		/* its commit was on its way, and so it is there */
		ck_assert_str_eq(fixture_query(&fx, "SELECT count(*) FROM log"),
		    fixture_format(&fx, "%d\n", rows_n + 1));
		if (_i) {
			assert_begins(text, "DONE ");
			continue;
		}
		assert_begins(text, "ERROR name=CANCELLED ");
		ck_assert_msg(
		    strstr(text, " outcome=1 step=3") != NULL, "%s", text);
	}
}
END_TEST

/* --- The disk and the memory ----------------------------------------------- */

/* What is there after so many of its statements, as the last column says. */
/* clang-format off */
static const struct part {
	const char *sql;
	const char *keys; /* once it has run, when it is not atomic */
} parts[] = {
	{ "CREATE TABLE made(x);", "" },
	{ "INSERT INTO log(id, x) VALUES(101, 'a');", "101 " },
	{ "BEGIN;", "101 " },
	{ "INSERT INTO log(id, x) VALUES(102, 'b');", "101 " },
	{ "INSERT INTO log(id, x) SELECT 102 + id, 'c' FROM t;", "101 " },
	{ "COMMIT;", "101 102 103 104 " },
	{ "CREATE INDEX made_x ON made(x);", "101 102 103 104 " },
	{ "INSERT INTO log(id, x) VALUES(105, 'd')", "101 102 103 104 105 " },
};
/* clang-format on */

/* All of it; BEGIN and COMMIT are left out of an atomic one. */
static const char *
make_parts(bool atomic)
{
	const char *sql = "";

	for (size_t i = 0; i < COUNT(parts); i++)
		if (!atomic || (i != 2 && i != 5))
			sql = fixture_format(&fx, "%s%s", sql, parts[i].sql);
	return sql;
}

static int
get_field(const char *text, const char *field, int none)
{
	const char *at = strstr(text, field);

	return at ? (int)strtol(at + strlen(field), NULL, 10) : none;
}

/* The keys that are there when so many statements of it have run. */
static const char *
get_keys(int step, bool atomic)
{
	if (step == 0 || (atomic && step < (int)COUNT(parts)))
		return "";
	return parts[step - 1].keys;
}

/* What is in the file is what the reply says. */
static void
assert_told_the_truth(const char *text, bool atomic)
{
	bool done = strncmp(text, "DONE", 4) == 0;
	int outcome = get_field(text, " outcome=", OUTCOME_NOT_APPLIED);
	int least = done ? (int)COUNT(parts) : get_field(text, " step=", 0);
	int most = least;
	const char *keys = fixture_query(&fx,
	    "SELECT coalesce(group_concat(id || ' ', ''), '') FROM"
	    " (SELECT id FROM log WHERE id > 100 ORDER BY id)");
	bool made = fixture_query(&fx,
			"SELECT count(*) FROM sqlite_schema "
			"WHERE name = 'made'")[0] == '1';

	if (!done && outcome == OUTCOME_NOT_APPLIED)
		least = most = 0;
	else if (outcome == OUTCOME_UNKNOWN)
		most = atomic ? (int)COUNT(parts) : least + 1;
	for (int i = least; i <= most; i++)
		if (strncmp(keys, get_keys(i, atomic), strlen(keys) - 1) == 0 &&
		    strlen(keys) == strlen(get_keys(i, atomic)) + 1)
			least = most + 1;
	ck_assert_msg(least > most, "%s: there is %s", text, keys);
	if (outcome != OUTCOME_UNKNOWN)
		ck_assert_msg(
		    made == (done || outcome == OUTCOME_APPLIED), "%s", text);
}

/* Fail the first call, the second, ... until one round meets none. */
static void
fail_each(const char *options, enum fault_call call, int again, int code)
{
	for (int atomic = 0; atomic < 2; atomic++) {
		const char *sql, *text = "";
		bool hit = true;

		fixture_open(&fx, options, schema);
		sql = make_parts(atomic);
		faults_watch_files(&fx);
		for (int n = 0; hit; n++) {
			faults_arm(call, n, again, code);
			text = run(sql, atomic);
			hit = faults_disarm();
			assert_told_the_truth(text, atomic);
			assert_begins(run("DELETE FROM log WHERE id > 100;"
					  "DROP TABLE IF EXISTS made",
					  true),
			    "DONE");
			assert_goes_on();
		}
		assert_begins(text, "DONE");
		fixture_close(&fx);
	}
}

START_TEST(script_tells_the_truth_whichever_write_fails)
{
	fail_each("synchronous=full", FAULT_WAL_WRITE, _i % 3,
	    _i < 3 ? SQLITE_IOERR_WRITE : SQLITE_FULL);
}
END_TEST

START_TEST(script_tells_the_truth_whichever_sync_fails)
{
	fail_each("synchronous=full", FAULT_WAL_SYNC, _i, SQLITE_IOERR_FSYNC);
}
END_TEST

START_TEST(script_tells_the_truth_whichever_allocation_fails)
{
	faults_watch_malloc();
	fail_each(NULL, FAULT_MALLOC, _i, SQLITE_NOMEM);
}
END_TEST

START_TEST(script_does_not_know_whether_a_commit_that_failed_was_one)
{
	static const char sql[] = "INSERT INTO log(x) VALUES('a')";
	const char *text;

	teardown();
	fixture_open(&fx, "synchronous=full", schema);
	faults_watch_files(&fx);
	faults_arm(FAULT_WAL_SYNC, 0, 0, SQLITE_IOERR_FSYNC);
	text = run(sql, _i);
	ck_assert(faults_disarm());
	assert_begins(text, "ERROR name=SQLITE_IOERR_FSYNC message=");
	ck_assert_int_eq(get_field(text, " outcome=", 0), OUTCOME_UNKNOWN);
	/* no statement of an atomic one has failed */
	ck_assert_int_eq(get_field(text, " step=", -1), _i ? -1 : 0);
	assert_goes_on();
}
END_TEST

/* A ROLLBACK needs memory as well when the one before it took back a change of
 * the schema, which expires all statements.  What it was to undo must not become
 * part of what runs next. */
START_TEST(script_that_cannot_be_undone_keeps_all_others_out)
{
	struct request *r;
	struct barrier b;

	faults_watch_malloc();
	fixture_open(&fx, NULL, schema);
	barrier_add(&fx, &b);
	run("CREATE TABLE made(x); SELECT nope", true);
	r = submit("CREATE TABLE made(x); INSERT INTO log(x) VALUES('gone');"
		   "SELECT barrier(1); SELECT * FROM log",
	    true);
	barrier_await(&b);
	faults_arm(FAULT_MALLOC, 0, INT_MAX, SQLITE_NOMEM);
	barrier_open(&b);
	fixture_wait(&fx, r);
	assert_begins(
	    run("COMMIT", false), "ERROR name=NO_MEMORY message='app cannot");
	assert_begins(run_exec("DELETE FROM t"),
	    "ERROR name=NO_MEMORY message='app cannot undo a write that failed "
	    "before: out of memory'");
	faults_disarm();
	assert_begins(fixture_take(&fx, r), "ERROR name=SQLITE_NOMEM message=");
	assert_goes_on();
	ck_assert_str_eq(fixture_query(&fx,
			     "SELECT count(*) FROM log; SELECT count(*) FROM t;"
			     "SELECT count(*) FROM sqlite_schema WHERE name = "
			     "'made'"),
	    "0\n2\n0\n");
	fixture_close(&fx);
}
END_TEST

/* --- A lock outside -------------------------------------------------------- */

START_TEST(script_tells_that_a_process_outside_holds_the_lock)
{
	sqlite3 *outside;

	teardown();
	fixture_open(&fx, "access=shared busy_wait=off", schema);
	ck_assert_int_eq(sqlite3_open(fx.path, &outside), SQLITE_OK);
	ck_assert_int_eq(
	    sqlite3_exec(outside, "BEGIN IMMEDIATE", NULL, NULL, NULL),
	    SQLITE_OK);
	assert_begins(run("SELECT 1; INSERT INTO log(x) VALUES(1)", _i),
	    "ERROR name=EXTERNAL_BUSY message='a process outside the daemon ");
	ck_assert_uint_eq(stats_get(STAT_external_busy), 1);
	ck_assert_int_eq(sqlite3_close(outside), SQLITE_OK);
	assert_goes_on();
}
END_TEST

static TCase *
make_faults(void)
{
	TCase *tc = tcase_create("disk and memory");

	tcase_set_timeout(tc, 20);
	tcase_add_loop_test(
	    tc, script_tells_the_truth_whichever_write_fails, 0, 6);
	tcase_add_loop_test(
	    tc, script_tells_the_truth_whichever_sync_fails, 0, 3);
	tcase_add_loop_test(
	    tc, script_tells_the_truth_whichever_allocation_fails, 0, 3);
	tcase_add_test(tc, script_that_cannot_be_undone_keeps_all_others_out);
	return tc;
}

static TCase *
make_stops(void)
{
	TCase *tc = tcase_create("stops");

	tcase_set_timeout(tc, 15);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(
	    tc, script_that_is_stopped_is_undone, 0, (int)COUNT(stop_codes));
	tcase_add_loop_test(tc,
	    script_that_is_not_atomic_and_stopped_says_how_far_it_came, 0,
	    (int)COUNT(stop_codes));
	tcase_add_loop_test(
	    tc, script_does_not_begin_when_it_was_stopped_in_the_line, 0, 2);
	tcase_add_loop_test(
	    tc, script_that_holds_the_writer_for_too_long_is_stopped, 0, 2);
	tcase_add_loop_test(tc,
	    script_tells_the_truth_when_it_is_stopped_while_it_commits, 0, 2);
	tcase_add_loop_test(tc,
	    script_does_not_know_whether_a_commit_that_failed_was_one, 0, 2);
	tcase_add_loop_test(
	    tc, script_tells_that_a_process_outside_holds_the_lock, 0, 2);
	return tc;
}

int
main(void)
{
	Suite *s = suite_create("script");
	TCase *tc = tcase_create("script");

	tcase_set_timeout(tc, 15);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, script_does_what_sqlite_does_in_a_transaction,
	    0, (int)COUNT(scripts));
	tcase_add_loop_test(tc, script_that_is_not_atomic_does_what_sqlite_does,
	    0, (int)COUNT(scripts));
	tcase_add_loop_test(tc,
	    script_that_is_not_atomic_has_transactions_of_its_own, 0,
	    (int)COUNT(own_txs));
	tcase_add_loop_test(
	    tc, script_refuses_and_names_the_remedy, 0, (int)COUNT(refusals));
	tcase_add_test(tc, script_shares_no_commit);
	tcase_add_loop_test(tc, script_leaves_the_statement_cache_alone, 0, 2);
	tcase_add_test(
	    tc, script_that_failed_leaves_its_session_what_sqlite_leaves);
	tcase_add_test(tc, script_takes_many_statements);
	suite_add_tcase(s, tc);
	suite_add_tcase(s, make_stops());
	suite_add_tcase(s, make_faults());
	return fixture_run(s);
}
