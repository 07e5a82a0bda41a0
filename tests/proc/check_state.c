/* check_state.c - a connection carries nothing from one client to the next (P6).
 *
 * An adversary tries each way to leave something behind, on each road there is to
 * a connection: within a transaction that reads or writes, by itself, in a batch
 * and in a script.  A worker, one reader and the writer are all the connections, so
 * whoever comes next gets the same ones.  Before and after, a witness takes the
 * fingerprint of all three: whatever SQL can tell of a connection. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/live.h"
#include "tests/lib/proc.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define PRINT_BYTES 8192
#define OTHER_FILE  "/tmp/check_state.secret.db"

static struct live live;
static struct sqlpool_conn *witness;

/* --- The fingerprint ----------------------------------------------------------- */

/* clang-format off */
static const char *const questions[] = {
	"SELECT last_insert_rowid(), changes(), total_changes()",
	"SELECT count(*), min(x), max(x) FROM t",
	"SELECT group_concat(name) FROM temp.sqlite_master",
	"SELECT group_concat(name) FROM sqlite_master",
	"SELECT group_concat(name) FROM pragma_database_list",
	"SELECT 'a' LIKE 'A', 'a' GLOB 'A', 1 = 1.0, \"no such column\" IS NULL",
	"SELECT count(*) FROM pragma_function_list",
	"SELECT count(*) FROM pragma_collation_list",
	/* SQLite adds pragma_NAME when somebody uses it first: that much can be seen */
	"SELECT count(*) FROM pragma_module_list WHERE name NOT LIKE 'pragma%'",
	"PRAGMA foreign_keys", "PRAGMA defer_foreign_keys", "PRAGMA recursive_triggers",
	"PRAGMA cache_size", "PRAGMA busy_timeout", "PRAGMA synchronous", "PRAGMA temp_store",
	"PRAGMA mmap_size", "PRAGMA wal_autocheckpoint", "PRAGMA journal_mode",
	"PRAGMA journal_size_limit", "PRAGMA locking_mode", "PRAGMA max_page_count",
	"PRAGMA secure_delete", "PRAGMA trusted_schema", "PRAGMA writable_schema",
	"PRAGMA ignore_check_constraints", "PRAGMA read_uncommitted", "PRAGMA query_only",
	"PRAGMA reverse_unordered_selects", "PRAGMA legacy_alter_table", "PRAGMA automatic_index",
	"PRAGMA threads", "PRAGMA analysis_limit", "PRAGMA short_column_names",
	"PRAGMA full_column_names", "PRAGMA count_changes", "PRAGMA cell_size_check",
	"PRAGMA soft_heap_limit", "PRAGMA hard_heap_limit", "PRAGMA user_version",
	/* an error of its own, not somebody else's */
	"SELECT nowhere FROM t",
	"SELECT * FROM secret",
	"SELECT abs(-9223372036854775808)",
	/* the value that somebody else has bound is not there */
	"SELECT typeof(?1), ?1",
	/* what the adversary takes away from itself is here: 1 MB, and time */
	"SELECT length(hex(zeroblob(100000)))",
	"SELECT count(*) FROM (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 500) SELECT x FROM c)",
};
/* clang-format on */

static void
add(char print[PRINT_BYTES], const char *text)
{
	size_t n = strlen(print);

	snprintf(print + n, PRINT_BYTES - n, "%s|", text);
}

static void
ask(const char *sql, char print[PRINT_BYTES])
{
	const struct sqlpool_value nothing = SQLPOOL_NULL;
	struct sqlpool_result *result = NULL;
	bool binds = strstr(sql, "?1") != NULL;

	if (sqlpool_query(
		witness, sql, binds ? &nothing : NULL, binds, &result) < 0)
		add(print, sqlpool_get_error(witness)->message);
	while (result && sqlpool_next(result) == SQLPOOL_ROW)
		for (size_t i = 0; i < sqlpool_column_count(result); i++) {
			const char *text = sqlpool_column_text(result, i, NULL);

			add(print, text ? text : "NULL");
		}
	sqlpool_result_free(result);
	add(print, "\n");
}

/* Of the worker's connection, the reader's, the writer's. */
static void
take_print(char print[PRINT_BYTES])
{
	static const enum sqlpool_tx_mode modes[] = { SQLPOOL_TX_READ,
		SQLPOOL_TX_IMMEDIATE };

	print[0] = '\0';
	for (size_t i = 0; i < COUNT(questions); i++)
		ask(questions[i], print);
	for (size_t m = 0; m < COUNT(modes); m++) {
		PROC_CHECK(sqlpool_begin(witness, modes[m]) == 0, "no BEGIN");
		for (size_t i = 0; i < COUNT(questions); i++)
			ask(questions[i], print);
		PROC_CHECK(sqlpool_rollback(witness) == 0, "no ROLLBACK");
	}
	ck_assert_uint_lt(strlen(print), PRINT_BYTES - 1);
}

/* --- The adversary -------------------------------------------------------------- */

/* clang-format off */
static const char *const attempts[] = {
	/* what it is told of its own writes */
	"INSERT INTO scratch VALUES(1000000, 'secret')",
	"INSERT INTO scratch(v) SELECT 'secret' FROM pragma_function_list",
	"INSERT INTO scratch(v) VALUES('secret') RETURNING v",
	"INSERT INTO scratch(v) VALUES(?1)",
	"DELETE FROM scratch", "UPDATE scratch SET v = ?1",
	"INSERT OR FAIL INTO scratch(id) VALUES(5), (6), (6)",
	"INSERT OR ROLLBACK INTO scratch(id) VALUES(5), (5)",
	/* TEMP objects, which shadow others' */
	"CREATE TEMP TABLE t(x)", "CREATE TEMP TABLE secret(x)", "CREATE TABLE temp.t(x)",
	"CREATE TEMPORARY VIEW t AS SELECT 1 AS x", "CREATE VIEW temp.secret AS SELECT 1",
	"CREATE TEMP TRIGGER secret AFTER INSERT ON t BEGIN SELECT 1; END",
	"CREATE VIRTUAL TABLE temp.secret USING fts5(x)", "CREATE INDEX temp.secret ON t(x)",
	"DROP TABLE IF EXISTS temp.t", "ALTER TABLE temp.t RENAME TO secret",
	"INSERT INTO temp.sqlite_master VALUES('table', 't', 't', 2, 'CREATE TABLE t(x)')",
	/* other files */
	"ATTACH ':memory:' AS secret", "ATTACH '' AS secret", "ATTACH 'file:x?mode=memory' AS secret",
	("ATTACH '" OTHER_FILE "' AS secret"), "DETACH main", ("VACUUM INTO '" OTHER_FILE "'"),
	/* settings */
	"PRAGMA foreign_keys = ON", "PRAGMA defer_foreign_keys = ON", "PRAGMA recursive_triggers = ON",
	"PRAGMA cache_size = 10", "PRAGMA busy_timeout = 77", "PRAGMA synchronous = OFF",
	"PRAGMA temp_store = FILE", "PRAGMA mmap_size = 1000000", "PRAGMA wal_autocheckpoint = 10",
	"PRAGMA journal_mode = DELETE", "PRAGMA journal_mode = MEMORY", "PRAGMA journal_size_limit = 77",
	"PRAGMA locking_mode = EXCLUSIVE", "PRAGMA max_page_count = 77", "PRAGMA secure_delete = FAST",
	"PRAGMA trusted_schema = ON", "PRAGMA writable_schema = ON", "PRAGMA ignore_check_constraints = ON",
	"PRAGMA read_uncommitted = ON", "PRAGMA query_only = ON", "PRAGMA query_only = OFF",
	"PRAGMA reverse_unordered_selects = ON", "PRAGMA legacy_alter_table = ON",
	"PRAGMA automatic_index = OFF", "PRAGMA threads = 7", "PRAGMA analysis_limit = 7",
	"PRAGMA short_column_names = OFF", "PRAGMA full_column_names = ON", "PRAGMA count_changes = ON",
	"PRAGMA cell_size_check = ON", "PRAGMA soft_heap_limit = 1000000", "PRAGMA hard_heap_limit = 1000000",
	"PRAGMA case_sensitive_like = ON", "PRAGMA main.case_sensitive_like(1)",
	"PRAGMA empty_result_callbacks = ON", "PRAGMA schema_version = 77", "PRAGMA encoding = 'UTF-16'",
	"PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA shrink_memory", "PRAGMA cache_spill = OFF",
	"SELECT * FROM pragma_foreign_keys(1)", "SELECT * FROM pragma_journal_mode('delete')",
	/* code */
	"SELECT load_extension('/tmp/secret.so')", "SELECT fts3_tokenizer('secret', x'4141414141414141')",
	"SELECT fts3_tokenizer(?1, ?1)", "SELECT sqlite_log(1, 'secret')",
	/* bindings, cursors, errors, what ends in the middle */
	"SELECT typeof(?1), ?1", "SELECT ?1 FROM t", "SELECT x FROM t, pragma_function_list",
	"SELECT no_such_function('secret')", "SELECT * FROM", "SELECT abs(-9223372036854775808)",
	"SELECT length(group_concat(hex(zeroblob(900000)))) FROM pragma_function_list",
	"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c",
	"INSERT INTO scratch(v) WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c",
	"SELECT printf('%s', randomblob(10)), random(), json_patch('{}', '{}')",
	/* transactions */
	"BEGIN", "BEGIN IMMEDIATE", "SAVEPOINT secret", "COMMIT", "ROLLBACK", "RELEASE secret",
	"ROLLBACK TO secret",
};
/* clang-format on */

static void
try_statement(struct sqlpool_conn *conn, const char *sql)
{
	const struct sqlpool_value bound = SQLPOOL_TEXT("secret");
	bool binds = strstr(sql, "?1") != NULL;
	struct sqlpool_result *result = NULL;

	if (sqlpool_query(conn, sql, binds ? &bound : NULL, binds, &result) < 0)
		return;
	/* it is left unread, but for a row */
	(void)(sqlpool_next(result) == SQLPOOL_ROW);
	sqlpool_result_free(result);
}

static void
try_alone(struct sqlpool_conn *conn, const char *sql)
{
	try_statement(conn, sql);
}

static void
try_in_tx(struct sqlpool_conn *conn, const char *sql, enum sqlpool_tx_mode mode)
{
	if (sqlpool_begin(conn, mode) < 0)
		return; /* it has little time, and the machine is busy */
	try_statement(conn, "SELECT x FROM t");
	try_statement(conn, sql);
	try_statement(conn, sql);
}

static void
try_in_read_tx(struct sqlpool_conn *conn, const char *sql)
{
	try_in_tx(conn, sql, SQLPOOL_TX_READ);
}

static void
try_in_lease(struct sqlpool_conn *conn, const char *sql)
{
	try_in_tx(conn, sql, SQLPOOL_TX_IMMEDIATE);
}

/* A read becomes a write: it moves from the reader to the writer. */
static void
try_in_upgrade(struct sqlpool_conn *conn, const char *sql)
{
	try_in_tx(conn, sql, SQLPOOL_TX_DEFERRED);
	try_statement(conn, "INSERT INTO scratch(v) VALUES('secret')");
	try_statement(conn, sql);
}

static void
try_in_batch(struct sqlpool_conn *conn, const char *sql)
{
	struct sqlpool_request *request = sqlpool_request_new();
	struct sqlpool_result *result = NULL;
	const struct sqlpool_value bound = SQLPOOL_TEXT("secret");
	bool binds = strstr(sql, "?1") != NULL;

	PROC_CHECK(request != NULL &&
		sqlpool_request_add(
		    request, sql, binds ? &bound : NULL, binds) >= 0 &&
		sqlpool_request_add(request,
		    "INSERT INTO scratch(v) VALUES('secret')", NULL, 0) >= 0,
	    "no request");
	if (sqlpool_run_atomic(conn, request, &result) == 0)
		sqlpool_result_free(result);
	sqlpool_request_free(request);
}

static void
try_in_script(struct sqlpool_conn *conn, const char *sql)
{
	char text[512];

	snprintf(text, sizeof(text),
	    "INSERT INTO scratch(v) VALUES('secret'); %s; %s", sql, sql);
	if (sqlpool_script(conn, text, SQLPOOL_SCRIPT_NOT_ATOMIC) < 0)
		return;
}

static const struct {
	const char *name;
	void (*try)(struct sqlpool_conn *conn, const char *sql);
} roads[] = {
	{ "alone", try_alone },
	{ "in a transaction that reads", try_in_read_tx },
	{ "in a transaction that writes", try_in_lease },
	{ "in a transaction that turns to writing", try_in_upgrade },
	{ "in a batch", try_in_batch },
	{ "in a script", try_in_script },
};

/* It does not clean up after itself: it is gone. */
static void
attack(size_t road, const char *sql)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	struct sqlpool_conn *conn;

	options.socket_path = live.socket_path;
	options.database = "app";
	options.request_timeout_ms = 30;
	PROC_CHECK(sqlpool_open(&options, &conn) == 0, "no connection");
	roads[road].try(conn, sql);
	sqlpool_close(conn);
}

START_TEST(state_stays_with_its_client)
{
	char before[PRINT_BYTES], after[PRINT_BYTES];

	live_init(&live);
	live_start(&live,
	    LIVE_OPTIONS("workers=1", "read_connections=1", "reader_threads=1",
		"request_memory=1MB", "cache_bytes=64KB"));
	witness = live_connect(&live, "witness");
	live_exec(witness, "CREATE TABLE t(x)");
	live_exec(witness, "CREATE TABLE scratch(id INTEGER PRIMARY KEY, v)");
	live_exec(witness, "CREATE TABLE mine(id INTEGER PRIMARY KEY)");
	live_exec(witness, "INSERT INTO t VALUES(1), (2), (3)");
	live_exec(witness, "INSERT INTO mine VALUES(777)");
	take_print(before);
	ck_assert_ptr_nonnull(strstr(before, "777|1|4|"));
	for (size_t i = 0; i < COUNT(attempts); i++) {
		attack((size_t)_i, attempts[i]);
		take_print(after);
		ck_assert_msg(strcmp(before, after) == 0,
		    "%s, %s:\n%s\nwas:\n%s", attempts[i], roads[_i].name, after,
		    before);
	}
	ck_assert_int_ne(access(OTHER_FILE, F_OK), 0);
	sqlpool_close(witness);
	live_stop(&live);
	live_check_file(live.db_path);
	live_fini(&live);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("state");
	TCase *tc = tcase_create("state");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 100);
	tcase_add_loop_test(
	    tc, state_stays_with_its_client, 0, (int)COUNT(roads));
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
