/* check_output.c - the shell's output against sqlite3's, byte for byte.
 *
 * The rows are made once, in a file.  They come to our functions through the
 * library, from a script that runs the SQL on that file, and to the sqlite3
 * shell directly. */
#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The shell is a program, not a library: take its modules as they are. */
/* NOLINTBEGIN(bugprone-suspicious-include) */
#include "client/cli/grid.c"
#include "client/cli/output.c"
#include "client/cli/plan.c"
#include "client/cli/split.c"
/* NOLINTEND(bugprone-suspicious-include) */
#include "tests/lib/fakeserver.h"

static char db_path[128];
static struct fakeserver fs;
static struct sqlpool_conn *conn;

/* ---- the rows ---- */

static const char schema[] =
    "CREATE TABLE v(id INTEGER PRIMARY KEY, v);"
    "INSERT INTO v(v) VALUES (NULL), (0), (1), (-1), (9223372036854775807),"
    " (-9223372036854775808), (1.0), (-0.0), (0.1), (1e15), (1e16), (1e100),"
    " (123456789012345678.0), (3.14159265358979), (1e-5), (2.5e-300),"
    " (1.7976931348623157e308), (5e-324), (0.30000000000000004), (9e999),"
    " (-9e999), (1.0/3), (100.0), (1e21), (12345.678901234567),"
    " (''), ('plain'), (' lead'), ('trail '), ('it''s'), ('say \"x\"'),"
    " ('a,b'), ('a|b'), ('a;b'), ('tab'||char(9)||'x'),"
    " (char(9)||'a'||char(9)||'bcdefghi'||char(9)||'z'),"
    " ('line1'||char(10)||'line2'), (char(10)||'x'), ('x'||char(10)),"
    " ('cr'||char(13)||'x'), ('crlf'||char(13,10)||'x'), ('x'||char(13,10)),"
    " ('a'||char(10,10)||'b'), ('back\\slash'), ('<a href=\"x\">&amp;</a>'),"
    " ('control'||char(1,2,27,31)||'x'), ('del'||char(127)),"
    " ('nul'||char(0)||'hidden'), (char(0)), ('h\xc3\xa9llo'),"
    " ('\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e'), ('\xf0\x9f\x98\x80!'),"
    " ('e\xcc\x81'), (CAST(x'ff' AS TEXT)), (CAST(x'61ff80c3' AS TEXT)),"
    " (CAST(x'8080' AS TEXT)), (CAST(x'c3' AS TEXT)),"
    " (x''), (x'00'), (x'610062'), (x'0001ff7f80'), (x'7465787420626c6f62'),"
    " (x'c3a9'), ('1'), ('1.5'), ('1e5'), ('0x10'), ('NULL'), ('null'),"
    " (replace(hex(zeroblob(60)), '0', 'wide ')),"
    " (replace(hex(zeroblob(40)), '00', 'x\xc3\xa9')),"
    " (replace(hex(zeroblob(70)), '0', 'y')), ('end');"
    "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT UNIQUE, c);"
    "INSERT INTO t SELECT id, 'b' || id, v FROM v;"
    "CREATE INDEX tc ON t(c);"
    "CREATE TABLE log(x);"
    "CREATE TRIGGER tr AFTER INSERT ON t BEGIN"
    " INSERT INTO log SELECT v FROM v WHERE id < new.a; END;";

static const char *const queries[] = {
	"SELECT * FROM v",
	"SELECT v FROM v",
	"SELECT id, v, v AS \"a \"\"b\"\", c|d\", v AS 'it''s' FROM v",
	"SELECT 1 WHERE 0",
	"SELECT NULL AS n, '' AS e, NULL AS nn",
	"SELECT '' AS ''",
	"SELECT 1 AS \"tab\tname\", 2 AS \"line\nname\", 3 AS \"h\xc3\xa9\"",
	"SELECT 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12",
	"SELECT v AS id, length(v) FROM v WHERE typeof(v) = 'text'",
	"SELECT v FROM v WHERE typeof(v) = 'real'",
	"SELECT count(*), sum(id) FROM v",
	"EXPLAIN SELECT max(c) FROM t, v WHERE a = id ORDER BY c LIMIT 2",
	"EXPLAIN SELECT count(*) FROM t WHERE c IN (SELECT v FROM v LIMIT 3)",
	"EXPLAIN INSERT INTO t SELECT id + 1000, 'x' || id, v FROM v",
	"EXPLAIN QUERY PLAN SELECT * FROM v, t WHERE a = id ORDER BY 2",
	"EXPLAIN QUERY PLAN SELECT a FROM t UNION SELECT v FROM v WHERE id = 3",
	" /* EXPLAIN */ SELECT 1 id, 2 parent, 3 notused, '--\n explain' detail",
	"/* c */ -- c\n explain query plan select 1",
};

/* ---- a daemon that runs SQL on the file ---- */

static void
put_column(struct buf *b, sqlite3_stmt *stmt, int i)
{
	size_t n;
	const void *p;

	switch (sqlite3_column_type(stmt, i)) {
	case SQLITE_INTEGER:
		value_put_int(b, sqlite3_column_int64(stmt, i));
		break;
	case SQLITE_FLOAT:
		value_put_real(b, sqlite3_column_double(stmt, i));
		break;
	case SQLITE_TEXT:
		p = sqlite3_column_text(stmt, i);
		n = (size_t)sqlite3_column_bytes(stmt, i);
		value_put_text(b, p, n);
		break;
	case SQLITE_BLOB:
		p = sqlite3_column_blob(stmt, i);
		n = (size_t)sqlite3_column_bytes(stmt, i);
		value_put_blob(b, p, n);
		break;
	default:
		value_put_nil(b);
	}
}

static void
answer(struct fakeserver *f, sqlite3 *db, const struct fake_request *r)
{
	sqlite3_stmt *stmt;
	int columns_n;
	uint16_t rows_n = 0;
	size_t at;

	ck_assert_int_eq(sqlite3_prepare_v2(db, (const char *)r->ask.sql.p,
			     (int)r->ask.sql.n, &stmt, NULL),
	    SQLITE_OK);
	columns_n = sqlite3_column_count(stmt);
	fake_begin(f, TYPE_DONE, r->head.id);
	msg_key(&f->m, TELL_columns);
	value_put_array(f->m.b, (uint32_t)columns_n);
	for (int i = 0; i < columns_n; i++) {
		const char *name = sqlite3_column_name(stmt, i);

		value_put_text(f->m.b, name, strlen(name));
	}
	msg_key(&f->m, TELL_rows);
	at = f->m.b->n;
	value_put_open_array(f->m.b);
	while (sqlite3_step(stmt) == SQLITE_ROW) {
		value_put_array(f->m.b, (uint32_t)columns_n);
		for (int i = 0; i < columns_n; i++)
			put_column(f->m.b, stmt, i);
		rows_n++;
	}
	value_close_array(f->m.b, at, rows_n);
	fake_end(f);
	fake_send(f);
	sqlite3_finalize(stmt);
}

static void
play_sql(struct fakeserver *f)
{
	struct fake_request r;
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open(db_path, &db), SQLITE_OK);
	fake_take_hello(f, 16, 65536);
	while (fake_take(f, &r))
		if (r.head.type == TYPE_EXEC)
			answer(f, db, &r);
	sqlite3_close(db);
}

static void
setup(void)
{
	const char *dir = getenv("TMPDIR");
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	sqlite3 *db;
	int rc;

	snprintf(db_path, sizeof(db_path), "%s/output-%ld.db",
	    dir ? dir : "/tmp", (long)getpid());
	unlink(db_path);
	ck_assert_int_eq(sqlite3_open(db_path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, schema, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	fakeserver_start(&fs, play_sql, NULL);
	options.use_fd = true;
	options.fd = fs.client_fd;
	rc = sqlpool_open(&options, &conn);
	ck_assert_int_eq(rc, 0);
}

static void
teardown(void)
{
	sqlpool_close(conn);
	fakeserver_stop(&fs);
	unlink(db_path);
}

/* ---- both sides ---- */

#define QUERIES (sizeof(queries) / sizeof(queries[0]))
/* A line of its own between the outputs of two queries. */
#define MARK "=========="

static void
print_result(FILE *f, const struct output_style *style, const char *sql)
{
	struct sqlpool_result *result;
	struct output output;
	bool begun = false;

	ck_assert_int_eq(sqlpool_query(conn, sql, NULL, 0, &result), 0);
	while (sqlpool_next(result) == SQLPOOL_ROW) {
		if (!begun)
			ck_assert_int_eq(output_begin(&output, f, style, result,
					     split_is_explain(sql)),
			    0);
		begun = true;
		ck_assert_int_eq(output_row(&output), 0);
	}
	if (begun)
		output_end(&output);
	sqlpool_result_free(result);
}

static char *
print_ours(const struct output_style *style, size_t *ret_n)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, ret_n);

	for (size_t i = 0; i < QUERIES; i++) {
		print_result(f, style, queries[i]);
		fprintf(f, "%s\n", MARK);
	}
	fclose(f);
	return text;
}

/* Quote for the shell. */
static void
add_word(FILE *f, const char *word)
{
	fputs(" '", f);
	for (; *word; word++) {
		if (*word == '\'')
			fputs("'\\''", f);
		else
			fputc(*word, f);
	}
	fputc('\'', f);
}

/* words: options, and at most one command last */
static char *
print_theirs(const char *const *words, size_t *ret_n)
{
	char *command, *text;
	size_t n;
	FILE *f = open_memstream(&command, &n), *pipe, *to;
	int c;

	/* nobody's ~/.sqliterc */
	fputs("HOME=/nonexistent sqlite3 -batch", f);
	for (; *words && (*words)[0] != '.'; words++)
		add_word(f, *words);
	add_word(f, db_path);
	if (*words)
		add_word(f, *words);
	for (size_t i = 0; i < QUERIES; i++) {
		add_word(f, queries[i]);
		add_word(f, ".print " MARK);
	}
	fclose(f);
	pipe = popen(command, "r"); /* NOLINT(cert-env33-c): quoted above */
	to = open_memstream(&text, ret_n);
	while ((c = getc(pipe)) != EOF)
		putc(c, to);
	fclose(to);
	pclose(pipe);
	free(command);
	return text;
}

static void
show(const char *side, const char *text, size_t n)
{
	fprintf(stderr, "--- %s\n", side);
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '\n' || (c >= ' ' && c < 0x7f))
			fputc(c, stderr);
		else
			fprintf(stderr, "\\x%02x", c);
	}
}

/* Which query's output byte at is in. */
static const char *
find_query(const char *text, size_t at)
{
	size_t i = 0;

	for (const char *p = text; i + 1 < QUERIES; i++) {
		p = strstr(p, MARK);
		if (!p || (size_t)(p - text) >= at)
			break;
		p += strlen(MARK);
	}
	return queries[i];
}

static void
compare(const struct output_style *style, const char *const *words)
{
	size_t ours_n, theirs_n, at = 0;
	char *ours = print_ours(style, &ours_n);
	char *theirs = print_theirs(words, &theirs_n);

	while (at < ours_n && at < theirs_n && ours[at] == theirs[at])
		at++;
	if (at < ours_n || at < theirs_n) {
		size_t from = at < 200 ? 0 : at - 200;
		size_t left = ours_n - from;

		show("ours", ours + from, left < 400 ? left : 400);
		left = theirs_n - from;
		show("sqlite3's", theirs + from, left < 400 ? left : 400);
		ck_abort_msg("%s differs at byte %zu: %s", words[0], at,
		    find_query(ours, at));
	}
	free(ours);
	free(theirs);
}

/* ---- the cases: each mode as an option and as a command ---- */

static const char *const names[] = { "list", "csv", "json", "column", "box",
	"table", "markdown", "line", "quote", "tabs", "ascii", "html" };
#define NAMES ((int)(sizeof(names) / sizeof(names[0])))

START_TEST(options_print_what_sqlite3_prints)
{
	char option[32];
	const char *words[] = { option, NULL, NULL, NULL };
	struct output_style style;

	snprintf(option, sizeof(option), "-%s", names[_i]);
	output_style_init(&style);
	output_style_set_mode(&style, output_find_mode(names[_i]), false);
	compare(&style, words);
	words[1] = "-header";
	style.header = true;
	compare(&style, words);
}
END_TEST

START_TEST(commands_print_what_sqlite3_prints)
{
	char command[32];
	const char *words[] = { command, NULL };
	struct output_style style;

	snprintf(command, sizeof(command), ".mode %s", names[_i]);
	output_style_init(&style);
	output_style_set_mode(&style, output_find_mode(names[_i]), true);
	compare(&style, words);
}
END_TEST

START_TEST(separators_and_nulls_print_what_sqlite3_prints)
{
	char option[32];
	const char *words[] = { option, "-separator", "<>", "-nullvalue",
		"(null)", "-header", NULL };
	struct output_style style;

	snprintf(option, sizeof(option), "-%s", names[_i]);
	output_style_init(&style);
	output_style_set_mode(&style, output_find_mode(names[_i]), false);
	strcpy(style.col_sep, "<>");
	strcpy(style.null_text, "(null)");
	style.header = true;
	compare(&style, words);
}
END_TEST

/* ---- splitting ---- */

static const struct {
	const char *sql;
	size_t n;
	bool empty;
} splits[] = {
	{ "", 0, true },
	{ "SELECT 1", 8, false },
	{ "SELECT 1; SELECT 2", 9, false },
	{ ";SELECT 1", 1, true },
	{ " -- c;\n ; x", 9, true },
	{ "/* ; */ SELECT ';' ; x", 20, false },
	{ "SELECT \";\", [;], `;`, 'a'';'; x", 29, false },
	{ "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; END; x", 55,
	    false },
	{ "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; x", 52, false },
	{ "SELECT 'open; x", 15, false },
	{ "/* open ; x", 11, false },
	{ "SELECT 1 -- ;\n; x", 15, false },
};

START_TEST(statements_are_split_where_they_end)
{
	char sql[128];
	bool empty;

	snprintf(sql, sizeof(sql), "%s", splits[_i].sql);
	ck_assert_uint_eq(split_first(sql, &empty), splits[_i].n);
	ck_assert_int_eq(empty, splits[_i].empty);
	ck_assert_str_eq(sql, splits[_i].sql);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("output");
	TCase *tc = tcase_create("modes");

	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, options_print_what_sqlite3_prints, 0, NAMES);
	tcase_add_loop_test(tc, commands_print_what_sqlite3_prints, 0, NAMES);
	tcase_add_loop_test(
	    tc, separators_and_nulls_print_what_sqlite3_prints, 0, NAMES);
	suite_add_tcase(suite, tc);
	tc = tcase_create("split");
	tcase_add_loop_test(tc, statements_are_split_where_they_end, 0,
	    (int)(sizeof(splits) / sizeof(splits[0])));
	suite_add_tcase(suite, tc);
	return suite;
}

int
main(void)
{
	SRunner *runner = srunner_create(make_suite());
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
