/* check_guard.c - what a statement may do, and what it is. */
#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/writer_impl.h"
#include "proto/error.h"
#include "tests/lib/fixture.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char schema[] =
    "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, v);"
    "CREATE INDEX t_v ON t(v);"
    "CREATE TABLE u(x, y DEFAULT 7, z AS (x + 1)); CREATE TABLE w(k PRIMARY KEY"
    "  , v) WITHOUT ROWID;"
    "CREATE VIEW v AS SELECT * FROM t;"
    "CREATE TRIGGER v_i INSTEAD OF INSERT ON v BEGIN"
    "  INSERT INTO t(v) VALUES(NEW.v); END;"
    "CREATE TRIGGER t_i AFTER INSERT ON t BEGIN"
    "  INSERT INTO u(x) VALUES(NEW.id); END;"
    "CREATE VIRTUAL TABLE docs USING fts5(body);"
    "CREATE VIRTUAL TABLE old USING fts4(body);"
    "CREATE VIRTUAL TABLE box USING rtree(id, x0, x1);"
    "INSERT INTO t(v) VALUES('one'), ('two');";

static struct fixture fx;

static struct span
as_span(const char *sql)
{
	return (struct span){ (const uint8_t *)sql, strlen(sql) };
}

static const char *
run(const char *sql)
{
	struct request *r = fixture_exec(&fx, sql, NULL);

	return fixture_take(&fx,
	    r->kind == KIND_READ ? fixture_read(&fx, r)
				 : fixture_write(&fx, r));
}

/* --- Kinds ----------------------------------------------------------------- */

/* clang-format off */
static const struct kind_case {
	enum msg_kind kind;
	const char *sql;
} kinds[] = {
	{ KIND_EMPTY, "" },
	{ KIND_EMPTY, " \t\r\n ; ; " },
	{ KIND_EMPTY, "-- nothing\n/* at all */" },

	{ KIND_READ, "SELECT 1" },
	{ KIND_READ, "SELECT * FROM t WHERE id = ?1" },
	{ KIND_READ, "VALUES (1, 2), (3, 4)" },
	{ KIND_READ, "WITH x AS (SELECT 1) SELECT * FROM x" },
	{ KIND_READ, "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c LIMIT 5" },
	{ KIND_READ, "SELECT * FROM v" },
	{ KIND_READ, "SELECT * FROM sqlite_schema" },
	{ KIND_READ, "SELECT * FROM json_each('[1, 2]')" },
	{ KIND_READ, "SELECT * FROM pragma_table_info('t')" },
	{ KIND_READ, "SELECT * FROM pragma_table_list" },
	{ KIND_READ, "SELECT last_insert_rowid(), changes(), total_changes(), random()" },
	{ KIND_READ, "SELECT * FROM docs WHERE docs MATCH 'x'" },
	{ KIND_READ, "SELECT * FROM old WHERE old MATCH 'x'" },
	{ KIND_READ, "SELECT * FROM box WHERE x0 > 1" },
	{ KIND_READ, "EXPLAIN SELECT 1" },
	{ KIND_READ, "EXPLAIN QUERY PLAN SELECT * FROM t" },
	{ KIND_READ, "EXPLAIN INSERT INTO t(v) VALUES(1)" },
	{ KIND_READ, "EXPLAIN QUERY PLAN DELETE FROM t" },
	{ KIND_READ, "EXPLAIN CREATE TABLE n(x)" },
	{ KIND_READ, "EXPLAIN BEGIN" },
	{ KIND_READ, "EXPLAIN VACUUM" },

	{ KIND_WRITE, "INSERT INTO t(v) VALUES(1)" },
	{ KIND_WRITE, "INSERT INTO t(v) SELECT v FROM t" },
	{ KIND_WRITE, "INSERT INTO u DEFAULT VALUES" },
	{ KIND_WRITE, "INSERT OR IGNORE INTO w VALUES(1, 2)" },
	{ KIND_WRITE, "INSERT INTO t(v) VALUES(1) RETURNING id, v" },
	{ KIND_WRITE, "INSERT INTO t(id) VALUES(1) ON CONFLICT DO NOTHING" },
	{ KIND_WRITE, "INSERT INTO t(id) VALUES(1) ON CONFLICT(id) DO UPDATE SET v = 1" },
	{ KIND_WRITE, "INSERT INTO v(v) VALUES(1)" },
	{ KIND_WRITE, "INSERT INTO u(x) SELECT value FROM json_each('[1]')" },
	{ KIND_WRITE, "INSERT INTO u(x) SELECT name FROM pragma_table_info('t')" },
	{ KIND_WRITE, "REPLACE INTO t(id, v) VALUES(1, 2)" },
	{ KIND_WRITE, "UPDATE t SET v = 1" },
	{ KIND_WRITE, "UPDATE t SET v = u.x FROM u WHERE u.y = t.id" },
	{ KIND_WRITE, "UPDATE t SET v = 1 WHERE id = 1 RETURNING v" },
	{ KIND_WRITE, "DELETE FROM t" },
	{ KIND_WRITE, "DELETE FROM t WHERE id = 1 RETURNING *" },
	{ KIND_WRITE, "DELETE FROM t ORDER BY id LIMIT 1" },
	{ KIND_WRITE, "WITH x AS (SELECT 1) INSERT INTO t(v) SELECT * FROM x" },
	{ KIND_WRITE, "INSERT INTO docs(body) VALUES('x')" },
	{ KIND_WRITE, "UPDATE docs SET body = 'x'" },
	{ KIND_WRITE, "DELETE FROM docs" },
	{ KIND_WRITE, "INSERT INTO old(body) VALUES('x')" },
	{ KIND_WRITE, "INSERT INTO box VALUES(1, 2, 3)" },
	{ KIND_WRITE, "UPDATE sqlite_sequence SET seq = 100 WHERE name = 't'" },

	{ KIND_SCHEMA, "CREATE TABLE n(x)" },
	{ KIND_SCHEMA, "CREATE TABLE n AS SELECT * FROM t" },
	{ KIND_SCHEMA, "CREATE TABLE IF NOT EXISTS t(x)" },
	{ KIND_SCHEMA, "CREATE UNIQUE INDEX n ON u(x)" },
	{ KIND_SCHEMA, "CREATE INDEX IF NOT EXISTS t_v ON t(v)" },
	{ KIND_SCHEMA, "CREATE VIEW n AS SELECT 1" },
	{ KIND_SCHEMA, "CREATE VIEW IF NOT EXISTS v AS SELECT 1" },
	{ KIND_SCHEMA, "CREATE TRIGGER n AFTER DELETE ON t BEGIN SELECT 1; END" },
	{ KIND_SCHEMA, "CREATE TRIGGER IF NOT EXISTS t_i AFTER INSERT ON t BEGIN SELECT 1; END" },
	{ KIND_SCHEMA, "CREATE VIRTUAL TABLE n USING fts5(x)" },
	{ KIND_SCHEMA, "DROP TABLE t" },
	{ KIND_SCHEMA, "DROP TABLE docs" },
	{ KIND_SCHEMA, "DROP TABLE box" },
	{ KIND_SCHEMA, "DROP TABLE IF EXISTS nowhere" },
	{ KIND_SCHEMA, "DROP INDEX t_v" },
	{ KIND_SCHEMA, "DROP VIEW v" },
	{ KIND_SCHEMA, "DROP TRIGGER t_i" },
	{ KIND_SCHEMA, "ALTER TABLE t ADD COLUMN more" },
	{ KIND_SCHEMA, "ALTER TABLE t RENAME TO n" },
	{ KIND_SCHEMA, "ALTER TABLE t RENAME COLUMN v TO n" },
	{ KIND_SCHEMA, "ALTER TABLE u DROP COLUMN y" },
	{ KIND_SCHEMA, "ANALYZE" },
	{ KIND_SCHEMA, "REINDEX" },
	{ KIND_SCHEMA, "REINDEX t_v" },
	{ KIND_SCHEMA, "PRAGMA user_version = 5" },
	{ KIND_SCHEMA, "PRAGMA application_id(5)" },
	{ KIND_SCHEMA, "PRAGMA optimize" },
	{ KIND_SCHEMA, "; /* a */ PRAGMA main.optimize(0xfffe)" },
	{ KIND_SCHEMA, "; REINDEX main.t_v; --" },
	{ KIND_SCHEMA, "; CREATE TABLE IF NOT EXISTS t(x) -- VACUUM" },
	{ KIND_SCHEMA, "PRAGMA incremental_vacuum(10)" },

	{ KIND_TX, "BEGIN" },
	{ KIND_TX, "BEGIN IMMEDIATE TRANSACTION" },
	{ KIND_TX, "BEGIN EXCLUSIVE" },
	{ KIND_TX, "COMMIT" },
	{ KIND_TX, "END TRANSACTION" },
	{ KIND_TX, "ROLLBACK" },
	{ KIND_TX, "SAVEPOINT a" },
	{ KIND_TX, "RELEASE a" },
	{ KIND_TX, "ROLLBACK TRANSACTION TO SAVEPOINT a" },

	{ KIND_MAINTENANCE, "VACUUM" },
	{ KIND_MAINTENANCE, "/* tidy */ vacuum main" },
	{ KIND_MAINTENANCE, "; VACUUM" },
	{ KIND_MAINTENANCE, " ;\f; -- a\n /* b; ** */; --\n/**/ Vacuum; ; -- c" },
	{ KIND_MAINTENANCE, "\xef\xbb\xbfVACUUM" },
	{ KIND_MAINTENANCE, "\n\v\r\n\tVACUUM\n\"main\" /* no end" },
	{ KIND_MAINTENANCE, "; VACUUM INTO 'x'" },
	{ KIND_MAINTENANCE, "VACUUM main INTO ?1" },
};
/* clang-format on */

/* On a worker's connection and on the writer's, as the first statement of both:
 * the schema is read then, virtual tables are connected. */
START_TEST(guard_knows_the_kind_of_a_statement)
{
	const struct kind_case *k = &kinds[_i];
	struct dbconn *conns[2];
	struct failure f;

	fixture_open(&fx, NULL, schema);
	conns[0] = fx.hot;
	conns[1] = fx.db->writer->conn;
	failure_init(&f);
	for (int i = 0; i < 4; i++) {
		struct stmt *st = NULL;
		int rc = stmt_prepare(conns[i % 2], as_span(k->sql), &st, &f);

		ck_assert_msg(rc == 0, "%s: %s", k->sql, f.text);
		ck_assert_msg(stmt_get_kind(st) == k->kind,
		    "%s: kind %d, not %d", k->sql, (int)stmt_get_kind(st),
		    (int)k->kind);
	}
	failure_fini(&f);
	fixture_close(&fx);
}
END_TEST

/* --- Refusals -------------------------------------------------------------- */

/* clang-format off */
static const struct refusal {
	const char *sql, *part; /* of the message */
} refusals[] = {
	{ "ATTACH 'other.db' AS other", "add the file as a database of its own" },
	{ "ATTACH ':memory:' AS other", "ATTACH, DETACH and VACUUM INTO" },
	{ "ATTACH ?1 AS other", "ATTACH, DETACH and VACUUM INTO" },
	{ "DETACH main", "ATTACH, DETACH and VACUUM INTO" },
	{ "EXPLAIN ATTACH 'x' AS y", "ATTACH, DETACH and VACUUM INTO" },

	{ "CREATE TEMP TABLE n(x)", "TEMP objects are not allowed" },
	{ "CREATE TEMPORARY TABLE n AS SELECT 1", "TEMP objects" },
	{ "CREATE TABLE temp.n(x)", "TEMP objects" },
	{ "CREATE TEMP VIEW n AS SELECT 1", "TEMP objects" },
	{ "CREATE VIEW temp.n AS SELECT 1", "TEMP objects" },
	{ "CREATE TEMP TRIGGER n AFTER INSERT ON t BEGIN SELECT 1; END", "TEMP objects" },
	{ "CREATE TRIGGER temp.n AFTER INSERT ON t BEGIN SELECT 1; END", "TEMP objects" },
	{ "CREATE VIRTUAL TABLE temp.n USING fts5(x)", "TEMP objects" },

	{ "SELECT fts3_tokenizer('evil', x'4141414141414141')", "loads code into the daemon" },
	{ "SELECT fts3_tokenizer(?1, ?2)", "loads code into the daemon" },
	{ "SELECT FTS3_Tokenizer('simple')", "loads code into the daemon" },
	{ "INSERT INTO t(v) SELECT fts3_tokenizer(?1, ?2)", "loads code" },
	{ "SELECT load_extension('evil.so')", "loads code into the daemon" },
	{ "SELECT load_extension(?, ?)", "loads code into the daemon" },
	{ "SELECT sqlite_log(1, 'x')", "writes to the daemon's log" },

	{ "SELECT * FROM sqlite_stmt", "statements of other clients" },
	{ "SELECT sql FROM main.Sqlite_Stmt", "statements of other clients" },
	{ "SELECT * FROM dbstat", "reads the whole file" },
	{ "SELECT sum(pgsize) FROM dbstat('main')", "reads the whole file" },
	{ "CREATE VIRTUAL TABLE n USING dbstat(main)", "reads the whole file" },
	{ "CREATE VIRTUAL TABLE n USING DBSTAT", "reads the whole file" },

	{ "PRAGMA cache_size = 100", "set cache_bytes in the daemon's configuration" },
	{ "PRAGMA main.cache_size(100)", "PRAGMA cache_size cannot be set to 100 here" },
	{ "pragma CACHE_SIZE = 100", "cannot be set to 100 here" },
	{ "EXPLAIN PRAGMA query_only = 1", "cannot be set to 1 here" },
	{ "PRAGMA query_only = 1", "begin a read-only transaction" },
	{ "PRAGMA synchronous = OFF", "set synchronous in the daemon's configuration" },
	{ "PRAGMA synchronous = FULL", "set synchronous in the daemon's configuration" },
	{ "PRAGMA foreign_keys = ON", "set foreign_keys in the daemon's configuration" },
	{ "PRAGMA defer_foreign_keys = ON", "DEFERRABLE INITIALLY DEFERRED" },
	{ "PRAGMA journal_mode = DELETE", "a file that is served is in WAL mode" },
	{ "PRAGMA busy_timeout = soon", "set the deadline of requests" },
	{ "PRAGMA recursive_triggers = 1", "WITH RECURSIVE" },
	{ "PRAGMA wal_autocheckpoint = 5", "set wal_limit in the daemon's configuration" },
	{ "PRAGMA journal_size_limit = 0", "set wal_limit in the daemon's configuration" },
	{ "PRAGMA max_page_count = 10", "use a quota" },
	{ "PRAGMA schema_version = 5", "SQLite counts it" },
	{ "PRAGMA temp_store = FILE", "set temp_store in the daemon's configuration" },
	{ "PRAGMA temp_store = 0", "set temp_store in the daemon's configuration" },
	{ "PRAGMA mmap_size = 1000000", "set cache_bytes in the daemon's configuration" },
	{ "PRAGMA page_size = 512", "before the file is served" },
	{ "PRAGMA encoding = 'UTF-16'", "before the file is served" },
	{ "PRAGMA auto_vacuum = FULL", "before the file is served" },
	{ "PRAGMA locking_mode = EXCLUSIVE", "set access in the daemon's configuration" },
	{ "PRAGMA hard_heap_limit = 1", "set request_memory in the daemon's configuration" },
	{ "PRAGMA soft_heap_limit = 1", "set request_memory in the daemon's configuration" },
	{ "PRAGMA case_sensitive_like = 1", "use GLOB" },
	{ "PRAGMA case_sensitive_like(true)", "use GLOB" },
	{ "PRAGMA writable_schema = 1", "use CREATE, ALTER and DROP" },
	{ "PRAGMA writable_schema = RESET", "use CREATE, ALTER and DROP" },
	{ "PRAGMA secure_delete = 0", "leave it out" },
	{ "PRAGMA trusted_schema = 1", "leave it out" },
	{ "PRAGMA cell_size_check = 1", "leave it out" },
	{ "PRAGMA read_uncommitted = 1", "leave it out" },
	{ "PRAGMA reverse_unordered_selects = 1", "use ORDER BY" },
	{ "PRAGMA ignore_check_constraints = 1", "without the CHECK" },
	{ "PRAGMA legacy_alter_table = 1", "leave it out" },
	{ "PRAGMA automatic_index = 0", "leave it out" },
	{ "PRAGMA threads = 8", "leave it out" },
	{ "PRAGMA analysis_limit = 5", "PRAGMA optimize" },
	{ "PRAGMA full_column_names = 1", "name columns with AS" },
	{ "PRAGMA fullfsync = 1", "leave it out" },

	{ "PRAGMA wal_checkpoint", "is not allowed; leave it out: the daemon copies" },
	{ "PRAGMA wal_checkpoint(TRUNCATE)", "is not allowed; leave it out" },
	{ "PRAGMA temp_store_directory = '/tmp'", "set SQLITE_TMPDIR" },
	{ "PRAGMA cache_spill = 0", "set cache_bytes" },
	{ "PRAGMA shrink_memory", "set cache_bytes" },
	{ "PRAGMA nonsense", "PRAGMA nonsense is not allowed" },
	{ "PRAGMA hexkey = 'x'", "use the options of the daemon's configuration" },

	{ "CREATE VIRTUAL TABLE n USING csv(filename='/etc/passwd')", "module csv is not allowed" },
	{ "CREATE VIRTUAL TABLE n USING zipfile('/tmp/x')", "name the extension that has it" },
	{ "CREATE VIRTUAL TABLE n USING fts3tokenize('simple')", "fts3tokenize is not allowed" },
	{ "SELECT * FROM fts3tokenize WHERE input = 'x'", "use fts5vocab" },
};
/* clang-format on */

/* Each refusal says what to do instead, behind a semicolon or a colon. */
static bool
has_remedy(const char *text)
{
	static const char *const begins[] = { "; use ", "; set ", "; leave it ",
		": add ", "; begin ", "; declare ", "; name ",
		"; it is the file's: set " };

	for (size_t i = 0; i < COUNT(begins); i++)
		if (strstr(text, begins[i]))
			return true;
	return false;
}

START_TEST(guard_refuses_what_would_change_the_connection)
{
	const struct refusal *refusal = &refusals[_i];
	struct dbconn *conns[2];

	fixture_open(&fx, NULL, schema);
	conns[0] = fx.hot;
	conns[1] = fx.db->writer->conn;
	for (int i = 0; i < 2; i++) {
		struct stmt *st = NULL;
		struct failure f;
		int rc;

		failure_init(&f);
		rc = stmt_prepare(conns[i], as_span(refusal->sql), &st, &f);
		ck_assert_msg(rc == -ERR_NOT_ALLOWED, "%s: %d %s", refusal->sql,
		    rc, f.text ? f.text : "");
		ck_assert_msg(strstr(f.text, refusal->part) != NULL, "%s: %s",
		    refusal->sql, f.text);
		ck_assert_msg(
		    has_remedy(f.text), "%s: %s", refusal->sql, f.text);
		failure_fini(&f);
	}
	fixture_close(&fx);
}
END_TEST

/* What SQLite itself refuses, or what is seen only while it runs. */
/* clang-format off */
static const struct refusal run_refusals[] = {
	{ "UPDATE sqlite_schema SET sql = 'x'", "sqlite_master may not be modified" },
	{ "DELETE FROM sqlite_schema", "sqlite_master may not be modified" },
	{ "UPDATE docs_content SET c0 = 'x'", "docs_content may not be modified" },
	{ "DROP TABLE docs_data", "table docs_data may not be dropped" },
	{ "INSERT INTO temp.sqlite_master VALUES(1, 2, 3, 4, 5)", "TEMP objects" },
	{ "SELECT * FROM pragma_nonsense", "no such table" },
	{ "SELECT ?32767", "variable number must be between ?1 and ?32766" },
	{ "SELECT zeroblob(100000000)", "string or blob too big" },
};
/* clang-format on */

START_TEST(guard_leaves_no_way_round)
{
	const struct refusal *refusal = &run_refusals[_i];
	const char *text;

	fixture_open(&fx, NULL, schema);
	text = run(refusal->sql);
	ck_assert_msg(strncmp(text, "ERROR", 5) == 0, "%s", text);
	ck_assert_msg(strstr(text, refusal->part) != NULL, "%s", text);
	fixture_close(&fx);
}
END_TEST

START_TEST(guard_sees_through_views)
{
	const char *text;

	fixture_open(&fx, NULL,
	    "CREATE TABLE t(x); CREATE VIEW a AS SELECT fts3_tokenizer('x');"
	    "CREATE VIEW b AS SELECT * FROM sqlite_stmt;"
	    "CREATE TRIGGER c AFTER INSERT ON t BEGIN"
	    "  SELECT load_extension('x'); END;");
	ck_assert_ptr_nonnull(
	    strstr(run("SELECT * FROM a"), "fts3_tokenizer()"));
	text = run("SELECT * FROM b");
	ck_assert_msg(strncmp(text, "ERROR", 5) == 0, "%s", text);
	text = run("INSERT INTO t VALUES(1)");
	ck_assert_ptr_nonnull(strstr(text, "load_extension()"));
	ck_assert_str_eq(fixture_query(&fx, "SELECT * FROM t"), "");
	fixture_close(&fx);
}
END_TEST

START_TEST(guard_lets_no_vacuum_write_another_file)
{
	const char *other, *text;

	fixture_open(&fx, NULL, schema);
	other = fixture_format(&fx, "%s/copy.db", fx.dir);
	text = run(fixture_format(&fx, "VACUUM INTO '%s'", other));
	ck_assert_msg(
	    strncmp(text, "ERROR name=NOT_ALLOWED", 22) == 0, "%s", text);
	ck_assert_int_ne(access(other, F_OK), 0);
	fixture_close(&fx);
}
END_TEST

/* --- What is allowed ------------------------------------------------------- */

/* clang-format off */
static const char *const asked[] = {
	"PRAGMA table_info(t)", "PRAGMA table_xinfo(u)", "PRAGMA table_list",
	"PRAGMA index_list(t)", "PRAGMA index_info(t_v)",
	"PRAGMA index_xinfo = t_v", "PRAGMA foreign_key_list(t)",
	"PRAGMA foreign_key_check", "PRAGMA collation_list",
	"PRAGMA function_list", "PRAGMA module_list", "PRAGMA pragma_list",
	"PRAGMA compile_options", "PRAGMA database_list",
	"PRAGMA integrity_check", "PRAGMA integrity_check(t)",
	"PRAGMA quick_check(5)", "PRAGMA page_count", "PRAGMA freelist_count",
	"PRAGMA data_version", "PRAGMA page_size", "PRAGMA encoding",
	"PRAGMA auto_vacuum", "PRAGMA journal_mode", "PRAGMA synchronous",
	"PRAGMA main.foreign_keys", "PRAGMA cache_size", "PRAGMA busy_timeout",
	"PRAGMA query_only", "PRAGMA recursive_triggers",
	"PRAGMA defer_foreign_keys", "PRAGMA wal_autocheckpoint",
	"PRAGMA max_page_count", "PRAGMA schema_version", "PRAGMA temp_store",
	"PRAGMA mmap_size", "PRAGMA user_version", "PRAGMA application_id",
	"SELECT * FROM pragma_table_info('t')",
	"SELECT * FROM pragma_integrity_check",
	"SELECT * FROM temp.sqlite_master",
};
/* clang-format on */

START_TEST(guard_lets_a_client_ask)
{
	const char *text;

	fixture_open(&fx, NULL, schema);
	text = run(asked[_i]);
	ck_assert_msg(strncmp(text, "DONE", 4) == 0, "%s: %s", asked[_i], text);
	fixture_close(&fx);
}
END_TEST

START_TEST(guard_lets_a_client_store_in_the_header)
{
	fixture_open(&fx, NULL, schema);
	ck_assert_str_eq(run("PRAGMA user_version = 5"), "DONE");
	ck_assert_str_eq(run("PRAGMA application_id = 0x53514c50"), "DONE");
	ck_assert_str_eq(run("PRAGMA user_version"),
	    "DONE columns=['user_version'] rows=[[5]]");
	ck_assert_str_eq(
	    run("PRAGMA optimize"), "DONE columns=['optimize'] rows=[]");
	ck_assert_str_eq(run("PRAGMA incremental_vacuum"), "DONE");
	ck_assert_str_eq(
	    fixture_query(&fx, "PRAGMA user_version; PRAGMA application_id"),
	    "5\n1397836880\n");
	fixture_close(&fx);
}
END_TEST

START_TEST(guard_lets_vacuum_work)
{
	fixture_open(&fx, NULL, schema);
	run("INSERT INTO t(v) VALUES(zeroblob(1000000))");
	run("DELETE FROM t WHERE id > 2");
	ck_assert_str_eq(fixture_query(&fx,
			     "SELECT freelist_count > 100 FROM"
			     "  pragma_freelist_count"),
	    "1\n");
	ck_assert_str_eq(run("VACUUM"), "DONE");
	ck_assert_str_eq(fixture_query(&fx,
			     "PRAGMA freelist_count; SELECT count(*) FROM t;"
			     "PRAGMA integrity_check"),
	    "0\n2\nok\n");
	/* and nothing of it is left open on the connection */
	ck_assert_str_eq(run("ATTACH '' AS x"),
	    "ERROR name=NOT_ALLOWED message='ATTACH, DETACH and VACUUM INTO "
	    "are not allowed: add the file as a database of its own to the "
	    "daemon'");
	fixture_close(&fx);
}
END_TEST

/* What drivers send when they connect: it is in force anyway. */
/* clang-format off */
static const struct {
	const char *sql, *reply;
} settings[] = {
	{ "PRAGMA journal_mode = WAL", "DONE columns=['journal_mode'] rows=[['wal']]" },
	{ "PRAGMA journal_mode(wal)", "DONE columns=['journal_mode'] rows=[['wal']]" },
	{ "pragma main.Journal_Mode='Wal'", "DONE columns=['journal_mode'] rows=[['wal']]" },
	{ "PRAGMA \"journal_mode\" = \"wal\";", "DONE columns=['journal_mode'] rows=[['wal']]" },
	{ "PRAGMA synchronous = NORMAL", "DONE" },
	{ "PRAGMA synchronous = 1", "DONE" },
	{ "PRAGMA main.synchronous(ON)", "DONE" },
	{ "PRAGMA foreign_keys = OFF", "DONE" },
	{ "PRAGMA foreign_keys(0)", "DONE" },
	{ "PRAGMA foreign_keys = false", "DONE" },
	{ "PRAGMA cache_size = -16384", "DONE" },
	{ "PRAGMA cache_size(4096)", "DONE" },
	{ "PRAGMA temp_store = MEMORY", "DONE" },
	{ "PRAGMA temp_store(2)", "DONE" },
	{ "PRAGMA mmap_size = 0", "DONE columns=['mmap_size'] rows=[[0]]" },
	{ "PRAGMA busy_timeout = 5000", "DONE columns=['timeout'] rows=[[5000]]" },
	{ "PRAGMA busy_timeout(0)", "DONE columns=['timeout'] rows=[[0]]" },
	{ "PRAGMA locking_mode = NORMAL", "DONE columns=['locking_mode'] rows=[['normal']]" },
	{ "PRAGMA encoding = 'UTF-8'", "DONE" },
	{ "PRAGMA encoding = utf8", "DONE" },
	{ "PRAGMA page_size = 4096", "DONE" },
	{ "PRAGMA auto_vacuum = NONE", "DONE" },
	{ "PRAGMA auto_vacuum = 0", "DONE" },
	{ "PRAGMA wal_autocheckpoint = 0", "DONE columns=['wal_autocheckpoint'] rows=[[0]]" },
	{ "PRAGMA journal_size_limit = -1", "DONE columns=['journal_size_limit'] rows=[[-1]]" },
	{ "PRAGMA query_only = OFF", "DONE" },
	{ "PRAGMA recursive_triggers = no", "DONE" },
	{ "PRAGMA defer_foreign_keys = 0", "DONE" },
	{ "PRAGMA case_sensitive_like = 0", "DONE" },
	{ "PRAGMA case_sensitive_like(off)", "DONE" },
	{ "PRAGMA trusted_schema = OFF", "DONE" },
	{ "PRAGMA writable_schema = OFF", "DONE" },
	{ "PRAGMA secure_delete = ON", "DONE columns=['secure_delete'] rows=[[1]]" },
	{ "PRAGMA hard_heap_limit = 0", "DONE columns=['hard_heap_limit'] rows=[[0]]" },
	{ "PRAGMA threads = 0", "DONE columns=['threads'] rows=[[0]]" },
	{ "PRAGMA automatic_index = 1", "DONE" },
};
/* clang-format on */

START_TEST(guard_accepts_what_is_in_force)
{
	fixture_open(&fx, NULL, schema);
	/* read; read from the cache; in a transaction of the writer's */
	for (int i = 0; i < 2; i++)
		ck_assert_msg(
		    strcmp(run(settings[_i].sql), settings[_i].reply) == 0,
		    "%s: %s", settings[_i].sql, run(settings[_i].sql));
	ck_assert_str_eq(fixture_take(&fx,
			     fixture_write(&fx,
				 fixture_script(&fx, settings[_i].sql, true))),
	    "DONE statements_n=1");
	/* and the schema may change in between */
	run("CREATE TABLE more(x)");
	ck_assert_str_eq(
	    run("SELECT * FROM more"), "DONE columns=['x'] rows=[]");
	ck_assert_str_eq(run(settings[_i].sql), settings[_i].reply);
	fixture_close(&fx);
}
END_TEST

START_TEST(guard_compares_with_the_configuration)
{
	fixture_open(&fx,
	    "synchronous=full foreign_keys=on cache_bytes=3MB temp_store=file",
	    schema);
	ck_assert_str_eq(run("PRAGMA synchronous = FULL"), "DONE");
	ck_assert_str_eq(run("PRAGMA synchronous = EXTRA"), "DONE");
	ck_assert_str_eq(run("PRAGMA foreign_keys = ON"), "DONE");
	ck_assert_str_eq(run("PRAGMA cache_size = -3072"), "DONE");
	ck_assert_str_eq(run("PRAGMA temp_store = FILE"), "DONE");
	ck_assert_str_eq(run("PRAGMA synchronous = NORMAL"),
	    "ERROR name=NOT_ALLOWED message='PRAGMA synchronous cannot be set "
	    "to NORMAL here: connections are shared by all clients; set "
	    "synchronous in the daemon\'s configuration'");
	fixture_close(&fx);
}
END_TEST

/* Nothing was set. */
START_TEST(guard_sets_nothing)
{
	fixture_open(&fx, NULL, schema);
	run("PRAGMA busy_timeout = 1");
	run("PRAGMA foreign_keys = ON");
	run("PRAGMA case_sensitive_like = 1");
	ck_assert_str_eq(
	    run("SELECT 'a' LIKE 'A' AS x"), "DONE columns=['x'] rows=[[1]]");
	ck_assert_str_eq(run("PRAGMA busy_timeout"),
	    "DONE columns=['timeout'] rows=[[1000]]");
	ck_assert_str_eq(run("PRAGMA foreign_keys"),
	    "DONE columns=['foreign_keys'] rows=[[0]]");
	fixture_close(&fx);
}
END_TEST

/* ALTER TABLE and DROP COLUMN look into the TEMP schema on their way. */
/* clang-format off */
static const struct {
	const char *sql;
	const char *more; /* behind "DONE": what the module fills its tables with */
} ddl[] = {
	{ "ALTER TABLE t RENAME TO n", "" },
	{ "ALTER TABLE u RENAME COLUMN x TO n", "" },
	{ "ALTER TABLE u DROP COLUMN y", "" },
	{ "ALTER TABLE t ADD COLUMN n DEFAULT 5", "" },
	{ "DROP TABLE docs", "" }, { "DROP TABLE box", "" },
	{ "DROP TABLE t", "" },
	{ "CREATE VIRTUAL TABLE n USING fts5(x)", " changes=1 rowid=10" },
	{ "CREATE VIRTUAL TABLE n USING rtree(i, a, b)", " changes=1 rowid=1" },
	{ "DROP INDEX t_v", "" }, { "DROP VIEW v", "" },
	{ "DROP TRIGGER v_i", "" }, { "REINDEX", "" }, { "ANALYZE", "" },
	{ "CREATE TABLE n(x INT) STRICT", "" },
	{ "CREATE TABLE n AS SELECT * FROM t", "" },
};
/* clang-format on */

START_TEST(guard_lets_a_client_change_the_schema)
{
	fixture_open(&fx, NULL, schema);
	ck_assert_str_eq(
	    run(ddl[_i].sql), fixture_format(&fx, "DONE%s", ddl[_i].more));
	ck_assert_str_eq(fixture_query(&fx, "PRAGMA integrity_check"), "ok\n");
	fixture_close(&fx);
}
END_TEST

START_TEST(guard_takes_savepoint_names_of_255_bytes)
{
	char sql[300] = "SAVEPOINT ";
	struct stmt *st = NULL;
	struct failure f;

	fixture_open(&fx, NULL, schema);
	failure_init(&f);
	memset(sql + 10, 'a', 255);
	ck_assert_int_eq(stmt_prepare(fx.hot, as_span(sql), &st, &f), 0);
	ck_assert_int_eq(stmt_get_tx(st), STMT_TX_SAVEPOINT);
	ck_assert_str_eq(stmt_get_savepoint(st), sql + 10);
	sql[10 + 255] = 'a';
	ck_assert_int_eq(
	    stmt_prepare(fx.hot, as_span(sql), &st, &f), -ERR_NOT_ALLOWED);
	ck_assert_str_eq(f.text,
	    "the savepoint's name is longer than 255 bytes; use a shorter one");
	failure_fini(&f);
	fixture_close(&fx);
}
END_TEST

/* --- What is not for a worker ----------------------------------------------- */

static const struct {
	const char *sql;
	bool heavy;
} steps[] = {
	{ "SELECT count(*) FROM big", true },
	{ "/* all */ SELECT count(*) FROM big", true },
	{ "SELECT (SELECT count(*) FROM big) FROM t", true },
	{ "SELECT * FROM counted", true },
	{ "PRAGMA integrity_check", true },
	{ "PRAGMA quick_check(5)", true },
	{ "SELECT * FROM pragma_integrity_check", true },
	{ "SELECT * FROM pragma_quick_check('t')", true },
	/* these ask every now and then whether to stop */
	{ "SELECT count(*) FROM big WHERE x > 5", false },
	{ "SELECT count(x) FROM big", false },
	{ "SELECT x, count(*) FROM big GROUP BY x", false },
	{ "SELECT * FROM big", false },
	{ "PRAGMA foreign_key_check", false },
};

/* A step that nothing can stop and that reads the whole file. */
START_TEST(guard_keeps_steps_without_end_off_the_workers)
{
	struct stmt *st = NULL;
	struct failure f;

	fixture_open(&fx, NULL,
	    "CREATE TABLE t(x); CREATE TABLE big(x);"
	    "INSERT INTO big VALUES(zeroblob(12000000));"
	    "CREATE VIEW counted AS SELECT count(*) FROM big;");
	failure_init(&f);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(
		    stmt_prepare(fx.hot, as_span(steps[_i].sql), &st, &f), 0);
		ck_assert_int_eq(stmt_get_kind(st), KIND_READ);
		ck_assert_msg(stmt_take_heavy(fx.hot, st) == steps[_i].heavy,
		    "%s", steps[_i].sql);
	}
	failure_fini(&f);
	fixture_close(&fx);
}
END_TEST

START_TEST(guard_lets_a_worker_count_in_a_small_file)
{
	struct stmt *st = NULL;
	struct failure f;

	fixture_open(&fx, NULL, schema);
	failure_init(&f);
	ck_assert_int_eq(
	    stmt_prepare(fx.hot, as_span("SELECT count(*) FROM t"), &st, &f),
	    0);
	ck_assert(!stmt_take_heavy(fx.hot, st));
	fixture_close(&fx);
}
END_TEST

/* Not from one to the next: it is not looked at each time. */
START_TEST(guard_lets_a_worker_count_in_a_file_that_was_large)
{
	struct stmt *st = NULL;
	struct failure f;
	int n = 0;

	fixture_open(&fx, NULL,
	    "CREATE TABLE t(x); CREATE TABLE big(x);"
	    "INSERT INTO big VALUES(zeroblob(12000000));");
	failure_init(&f);
	ck_assert_int_eq(
	    stmt_prepare(fx.hot, as_span("SELECT count(*) FROM t"), &st, &f),
	    0);
	for (int i = 0; i < 200; i++)
		ck_assert(stmt_take_heavy(fx.hot, st));
	fixture_query(&fx, "DROP TABLE big; VACUUM");
	while (stmt_take_heavy(fx.hot, st) && n < 1000)
		n++;
	ck_assert_int_lt(n, 100);
	ck_assert(!stmt_take_heavy(fx.hot, st));
	fixture_close(&fx);
}
END_TEST

/* What is in the log counts as far as it was committed. */
static const struct {
	const char *sql;
	bool heavy;
} logs[] = {
	{ "PRAGMA wal_autocheckpoint = 0;"
	  "INSERT INTO u(x) VALUES(zeroblob(12000000))",
	    true },
	{ "BEGIN; INSERT INTO u(x) VALUES(zeroblob(12000000)); ROLLBACK",
	    false },
};

START_TEST(guard_counts_the_pages_of_a_large_log)
{
	struct stmt *st = NULL;
	struct failure f;
	struct stat log;

	fixture_open(&fx, NULL, schema);
	fixture_query(&fx, logs[_i].sql);
	ck_assert_int_eq(stat(fixture_format(&fx, "%s-wal", fx.path), &log), 0);
	ck_assert_int_gt(log.st_size, 10240000); /* 2,500 pages */
	failure_init(&f);
	ck_assert_int_eq(
	    stmt_prepare(fx.hot, as_span("SELECT count(*) FROM t"), &st, &f),
	    0);
	ck_assert(stmt_take_heavy(fx.hot, st) == logs[_i].heavy);
	fixture_close(&fx);
}
END_TEST

/* The planner uses an index for SQLite's own LIKE and GLOB, and for no others. */
START_TEST(guard_keeps_the_index_of_like_and_glob)
{
	fixture_open(&fx, NULL,
	    "CREATE TABLE t(a TEXT COLLATE NOCASE, b TEXT);"
	    "CREATE INDEX t_a ON t(a); CREATE INDEX t_b ON t(b);");
	ck_assert_ptr_nonnull(
	    strstr(run("EXPLAIN QUERY PLAN SELECT * FROM t WHERE a LIKE 'x%'"),
		"SEARCH t USING INDEX t_a (a>? AND a<?)"));
	ck_assert_ptr_nonnull(
	    strstr(run("EXPLAIN QUERY PLAN SELECT * FROM t WHERE b GLOB 'x*'"),
		"SEARCH t USING INDEX t_b (b>? AND b<?)"));
	fixture_close(&fx);
}
END_TEST

START_TEST(guard_limits_patterns)
{
	fixture_open(&fx, NULL, schema);
	ck_assert_str_eq(run("SELECT 'a' LIKE printf('%256s', 'a'),"
			     "  'a' GLOB printf('%256s', 'a')"),
	    "DONE columns=['\'a\' LIKE printf(\'%256s\', \'a\')',"
	    "'\'a\' GLOB printf(\'%256s\', \'a\')'] rows=[[0,0]]");
	ck_assert_str_eq(run("SELECT 'a' LIKE printf('%257s', 'a')"),
	    "ERROR name=SQLITE_ERROR message='a LIKE or GLOB pattern may have "
	    "at most 256 bytes; find longer text with instr()'");
	fixture_close(&fx);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("guard");
	TCase *tc = tcase_create("kinds");

	tcase_add_loop_test(
	    tc, guard_knows_the_kind_of_a_statement, 0, (int)COUNT(kinds));
	suite_add_tcase(s, tc);
	tc = tcase_create("refusals");
	tcase_add_loop_test(tc, guard_refuses_what_would_change_the_connection,
	    0, (int)COUNT(refusals));
	tcase_add_loop_test(
	    tc, guard_leaves_no_way_round, 0, (int)COUNT(run_refusals));
	tcase_add_test(tc, guard_sees_through_views);
	tcase_add_test(tc, guard_lets_no_vacuum_write_another_file);
	suite_add_tcase(s, tc);
	tc = tcase_create("what is allowed");
	tcase_add_loop_test(tc, guard_lets_a_client_ask, 0, (int)COUNT(asked));
	tcase_add_loop_test(
	    tc, guard_accepts_what_is_in_force, 0, (int)COUNT(settings));
	tcase_add_test(tc, guard_compares_with_the_configuration);
	tcase_add_test(tc, guard_sets_nothing);
	tcase_add_test(tc, guard_lets_a_client_store_in_the_header);
	tcase_add_test(tc, guard_lets_vacuum_work);
	tcase_add_loop_test(
	    tc, guard_lets_a_client_change_the_schema, 0, (int)COUNT(ddl));
	tcase_add_test(tc, guard_takes_savepoint_names_of_255_bytes);
	suite_add_tcase(s, tc);
	tc = tcase_create("what is not for a worker");
	tcase_add_loop_test(tc, guard_keeps_steps_without_end_off_the_workers,
	    0, (int)COUNT(steps));
	tcase_add_test(tc, guard_lets_a_worker_count_in_a_small_file);
	tcase_add_test(tc, guard_lets_a_worker_count_in_a_file_that_was_large);
	tcase_add_loop_test(
	    tc, guard_counts_the_pages_of_a_large_log, 0, (int)COUNT(logs));
	tcase_add_test(tc, guard_keeps_the_index_of_like_and_glob);
	tcase_add_test(tc, guard_limits_patterns);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
