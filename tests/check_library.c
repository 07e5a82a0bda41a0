/* check_library.c - how SQLite is set up, and why so. */
#include <check.h>
#include <sqlite3.h>
#include <string.h>

#include "daemon/dbconn_impl.h"
#include "daemon/writer_impl.h"
#include "tests/lib/fixture.h"

#define ROWS(n)                                                           \
	"(WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c" \
	" LIMIT " n ") SELECT x FROM c)"

static struct fixture fx;

/* --- The statement journal ------------------------------------------------- */

static const char big_schema[] =
    "CREATE TABLE big(id INTEGER PRIMARY KEY, k UNIQUE, text);"
    "INSERT INTO big SELECT x, x, hex(randomblob(200)) FROM " ROWS("20000");

static const char *
write_text(const char *sql)
{
	return fixture_take(
	    &fx, fixture_write(&fx, fixture_exec(&fx, sql, NULL)));
}

/* 8 MB of pages change before the statement fails, or the batch around it: far more
 * than what of their journal is kept in memory. */
START_TEST(library_undoes_a_statement_of_any_length)
{
	static const struct fixture_step steps[] = {
		{ "UPDATE big SET text = text || 'x'", NULL, NULL },
		{ "INSERT INTO big VALUES(1, 1, 1)", NULL, NULL },
		{ NULL, NULL, NULL },
	};
	static const char sum[] = "SELECT count(*), sum(k), sum(length(text))"
				  "  FROM big";
	static const char before[] = "20000|200010000|8000000\n";

	fixture_open(&fx, "cache_bytes=256KB", big_schema);
	ck_assert_str_eq(
	    write_text("UPDATE big SET k = CASE WHEN id < 20000 THEN -k ELSE"
		       "  -1 END, text = text || 'x'"),
	    "ERROR name=SQLITE_CONSTRAINT_UNIQUE "
	    "message='UNIQUE constraint failed: big.k'");
	ck_assert_str_eq(fixture_query(&fx, sum), before);
	ck_assert_str_eq(
	    fixture_take(&fx, fixture_write(&fx, fixture_batch(&fx, steps))),
	    "ERROR name=SQLITE_CONSTRAINT_PRIMARYKEY message='UNIQUE "
	    "constraint failed: big.id' step=1");
	ck_assert_str_eq(fixture_query(&fx, sum), before);
	fixture_close(&fx);
}
END_TEST

/* Nor does it need memory: with temp_store in memory the whole journal is there. */
START_TEST(library_keeps_no_long_journal_in_memory)
{
	fixture_open(&fx, "cache_bytes=256KB request_memory=2MB", big_schema);
	ck_assert_str_eq(
	    write_text("UPDATE big SET k = -k, text = text || 'x'"),
	    "DONE changes=20000");
	ck_assert_str_eq(
	    write_text("CREATE INDEX big_text ON big(text)"), "DONE");
	ck_assert_str_eq(write_text("REINDEX"), "DONE");
	ck_assert_str_eq(write_text("VACUUM"), "DONE");
	ck_assert_str_eq(fixture_query(&fx, "PRAGMA integrity_check"), "ok\n");
	fixture_close(&fx);
}
END_TEST

/* --- What is set ------------------------------------------------------------ */

static int64_t
ask(struct dbconn *c, const char *sql)
{
	sqlite3_stmt *st = NULL;
	int64_t n;

	c->guard.internal = true;
	ck_assert_int_eq(
	    sqlite3_prepare_v2(c->db, sql, -1, &st, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	c->guard.internal = false;
	return n;
}

static int
get_switch(struct dbconn *c, int op)
{
	int on = -1;

	ck_assert_int_eq(sqlite3_db_config(c->db, op, -1, &on), SQLITE_OK);
	return on;
}

START_TEST(library_has_no_global_statistics)
{
	sqlite3_int64 now = 0, high = 0;
	void *p;

	fixture_open(&fx, NULL, big_schema);
	p = sqlite3_malloc(100000);
	/* sqlite.org/c3ref/c_config_covering_index_scan.html, MEMSTATUS */
	ck_assert_int_eq(
	    sqlite3_status64(SQLITE_STATUS_MEMORY_USED, &now, &high, 0),
	    SQLITE_OK);
	ck_assert_int_eq(now, 0);
	ck_assert_int_eq(high, 0);
	sqlite3_free(p);
	/* a connection has no mutex: MULTITHREAD and OPEN_NOMUTEX */
	ck_assert_ptr_null(sqlite3_db_mutex(fx.hot->db));
	ck_assert_ptr_null(sqlite3_db_mutex(fx.db->writer->conn->db));
	/* it was set up: nothing can be set any more */
	ck_assert_int_eq(
	    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 1), SQLITE_MISUSE);
	fixture_close(&fx);
}
END_TEST

static const struct {
	const char *options;
	int64_t synchronous, foreign_keys, cache, temp_store;
} settings[] = {
	{ NULL, 1, 0, -16384, 2 },
	{ "synchronous=full foreign_keys=on cache_bytes=3MB", 2, 1, -3072, 2 },
	{ "temp_store=file access=shared", 1, 0, -16384, 1 },
};

START_TEST(library_sets_each_connection)
{
	struct dbconn *conns[2];

	fixture_open(&fx, settings[_i].options, NULL);
	conns[0] = fx.hot;
	conns[1] = fx.db->writer->conn;
	for (int i = 0; i < 2; i++) {
		struct dbconn *c = conns[i];

		ck_assert_int_eq(
		    ask(c, "PRAGMA synchronous"), settings[_i].synchronous);
		ck_assert_int_eq(
		    ask(c, "PRAGMA foreign_keys"), settings[_i].foreign_keys);
		ck_assert_int_eq(
		    ask(c, "PRAGMA cache_size"), settings[_i].cache);
		ck_assert_int_eq(ask(c, "PRAGMA temp_store"),
		    i ? 1 : settings[_i].temp_store);
		ck_assert_int_eq(ask(c, "PRAGMA mmap_size"), 0);
		ck_assert_int_eq(ask(c, "PRAGMA wal_autocheckpoint"), 0);
		ck_assert_int_eq(ask(c, "PRAGMA query_only"), i == 0);
		ck_assert_int_eq(get_switch(c, SQLITE_DBCONFIG_DEFENSIVE), 1);
		ck_assert_int_eq(
		    get_switch(c, SQLITE_DBCONFIG_TRUSTED_SCHEMA), 0);
		ck_assert_int_eq(
		    get_switch(c, SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER), 0);
		ck_assert_int_eq(
		    get_switch(c, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION), 0);
		ck_assert_int_eq(
		    sqlite3_limit(c->db, SQLITE_LIMIT_LENGTH, -1), 64 << 20);
		ck_assert_int_eq(
		    sqlite3_limit(c->db, SQLITE_LIMIT_VARIABLE_NUMBER, -1),
		    32766);
	}
	fixture_close(&fx);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("library");
	TCase *tc = tcase_create("library");

	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, library_undoes_a_statement_of_any_length);
	tcase_add_test(tc, library_keeps_no_long_journal_in_memory);
	tcase_add_test(tc, library_has_no_global_statistics);
	tcase_add_loop_test(tc, library_sets_each_connection, 0,
	    (int)(sizeof(settings) / sizeof(settings[0])));
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
