/* check_functions.c - the functions that are done again give what SQLite's give,
 * in the time that their arguments' lengths allow, and stop when they are told. */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/functions.h"
#include "tests/lib/proc.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* A connection with our functions and one with SQLite's. */
static sqlite3 *ours, *theirs;
static struct functions functions;
static int stop_after, looks; /* stop_after < 0: never */

static int
stop(void *arg)
{
	(void)arg;
	looks++;
	return stop_after >= 0 && looks > stop_after;
}

static void
setup(void)
{
	functions = (struct functions){ .stop = stop };
	stop_after = -1;
	looks = 0;
	ck_assert_int_eq(sqlite3_open(":memory:", &ours), SQLITE_OK);
	ck_assert_int_eq(sqlite3_open(":memory:", &theirs), SQLITE_OK);
	ck_assert_int_eq(functions_add(&functions, ours), SQLITE_OK);
}

static void
teardown(void)
{
	ck_assert_int_eq(sqlite3_close(ours), SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(theirs), SQLITE_OK);
	functions_fini(&functions);
}

/* --- The same results --------------------------------------------------------- */

/* Type, quoted value and JSON's view of the first column, or the error. */
static void
run(sqlite3 *db, const char *sql, char *out, size_t n)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		snprintf(
		    out, n, "%s", (const char *)sqlite3_column_text(st, 0));
	else
		snprintf(out, n, "error %d %s", rc, sqlite3_errmsg(db));
	sqlite3_finalize(st);
}

static void
compare(const char *call)
{
	char sql[4096], a[8192], b[8192];

	ck_assert_int_lt(snprintf(sql, sizeof(sql),
			     "SELECT typeof(%s) || ' ' || quote(%s) || hex(%s)",
			     call, call, call),
	    (int)sizeof(sql));
	run(ours, sql, a, sizeof(a));
	run(theirs, sql, b, sizeof(b));
	ck_assert_msg(strcmp(a, b) == 0, "%s: %s, not %s", call, a, b);
}

/* clang-format off */
static const char *const calls[] = {
	"instr('abc', 'b')", "instr('abc', '')", "instr('', '')", "instr('', 'a')",
	"instr(NULL, 'a')", "instr('a', NULL)", "instr(x'', x'')", "instr('a', x'')",
	"instr(x'616263', x'62')", "instr(x'616263', 'b')", "instr('abc', x'62')",
	"instr('äöü', 'ü')", "instr('äöü', x'bc')", "instr(x'c3a4c3b6', x'b6')",
	"instr(x'c3a4c3b6', 'ö')", "instr(12345, 34)", "instr(1.5, '.')",
	"instr('a' || char(0) || 'b', 'b')", "instr('x' || x'80', x'80')",
	"instr(CAST(x'8080' AS TEXT), CAST(x'80' AS TEXT))",
	"instr(CAST(x'618080' AS TEXT), CAST(x'8080' AS TEXT))",
	"instr(zeroblob(5), x'00')", "instr(zeroblob(0), zeroblob(0))",
	"replace('abc', 'b', 'xyz')", "replace('abc', '', 'x')", "replace('', 'a', 'x')",
	"replace(NULL, 'a', 'b')", "replace('a', NULL, 'b')", "replace('a', 'a', NULL)",
	"replace('a', '', NULL)", "replace(x'616263', 'b', 'x')", "replace(x'61', '', 'x')",
	"replace(1234, 2, 'x')", "replace('aaaa', 'aa', 'b')", "replace('aaaa', 'a', '')",
	"replace(1.5, '.', ',')", "replace('a' || char(0) || 'b', char(0), 'x')",
	"replace('a' || char(0) || 'b', 'b', 'x')", "replace(15, '', 2)",
	"replace('abab', 'ab', 'ba' || char(0))", "replace(zeroblob(3), 'a', 'b')",
	"trim('xaax', 'x')", "ltrim('xaax', 'x')", "rtrim('xaax', 'x')", "trim('  a ')",
	"trim('abcba', 'ab')", "trim('aaa', 'a')", "trim('', 'a')", "trim('a', '')",
	"trim(NULL, 'a')", "trim('a', NULL)", "trim('äöüä', 'ä')", "rtrim('aö', CAST(x'b6' AS TEXT))",
	"trim(CAST(x'c3a4c3' AS TEXT), CAST(x'c3' AS TEXT))", "trim(x'616261', x'61')", "rtrim(1500, 0)",
	"trim('a' || char(0) || 'a', 'a')", "trim('ab', 'a' || char(0) || 'b')", "trim(2.5, '5')",
	"json_patch('{\"a\":1}', '{\"b\":2}')", "json_patch('{\"a\":1}', '{\"a\":null}')",
	"json_patch('[1]', '{}')", "json_patch(NULL, '{}')", "json_patch('{}', NULL)",
	"json_patch('x', '{}')", "json_patch(x'7b7d', '{}')",
	"json_array(json_patch('{\"a\":1}', '{\"b\":[1, 2]}'), json_patch('{}', NULL))",
	"printf()", "printf(NULL)", "printf('')", "printf('a%%b')", "format('%d', 5)",
	"printf('%5d|%-5d|%05d|%+d|% d', 1, 2, 3, 4, 5)", "printf('%,d', 1234567)",
	"printf('%s', NULL)", "printf('%s')", "printf('%q %Q %w', 'it''s', NULL, 'a\"b')",
	"printf('%.3f %10.2e %g %!.20g', 1.5, 2.25, 1e100, 0.1)", "printf('%c%c', 'äb', '')",
	"printf('%.5c|%8.3c|%-8.3c|', 'x', 'ö', 'z')", "printf('%.*c', 3, 'ab')",
	"printf('%*.*c', 7, -3, 'ab')", "printf('%.*s', 2, 'abcdef')", "printf('%!.2s', 'äöü')",
	"printf('%x %X %o %#x', 255, 255, 8, 16)", "printf('%p %n %i %u', 1, 2, 3, -1)",
	"printf('%lld %ld', 5, 6)", "printf('%', 1)", "printf('%5', 1)", "printf('%.', 1)",
	"printf('%y', 1)", "printf('%z %d', 1, 2)", "printf('a' || char(0) || '%d', 7)",
	"printf('%d %d %d %d %d %d %d %d %d', 1, 2, 3, 4, 5, 6, 7, 8, 9)",
	"printf(x'2564', 9)", "printf(12, 1)", "printf('%s', x'6162')", "printf('%s', zeroblob(2))",
	"printf('%s%s', 'a' || char(0) || 'b', 'c')", "format('%.10c', 'abc')", "printf('%-.5cx', 'a')",
};
/* clang-format on */

START_TEST(function_gives_what_that_of_sqlite_gives)
{
	compare(calls[_i]);
}
END_TEST

/* An argument stays what it was for others. */
START_TEST(function_leaves_its_arguments_alone)
{
	static const char *const sqls[] = {
		"SELECT group_concat(instr(x, 'a') || typeof(x)) FROM"
		"  (SELECT x'6162' AS x UNION ALL SELECT x'6263')",
		"SELECT group_concat(instr('abc', x) || typeof(x)) FROM"
		"  (SELECT x'6162' AS x UNION ALL SELECT 12)",
		"SELECT group_concat(replace(x, 'a', 'b') || typeof(x)) FROM"
		"  (SELECT x'6162' AS x UNION ALL SELECT 12)",
		"SELECT group_concat(printf('%s', x) || typeof(x)) FROM"
		"  (SELECT x'6162' AS x UNION ALL SELECT 1.5)",
	};
	char a[256], b[256];

	run(ours, sqls[_i], a, sizeof(a));
	run(theirs, sqls[_i], b, sizeof(b));
	ck_assert_str_eq(a, b);
}
END_TEST

static unsigned
next_random(unsigned *seed)
{
	*seed = *seed * 1103515245 + 12345;
	return *seed >> 16;
}

/* A value of few different bytes, so that much is found, some of them the
 * pieces of characters; now and then a number or NULL. */
static void
make_value(unsigned *seed, char *out, size_t size)
{
	static const char bytes[][3] = { "61", "61", "62", "c3", "a4", "80",
		"00", "25" };
	unsigned n = next_random(seed) % 12;
	size_t at;

	switch (next_random(seed) % 12) {
	case 0:
		snprintf(out, size, "NULL");
		return;
	case 1:
		snprintf(out, size, "%u", next_random(seed) % 200);
		return;
	case 2:
		snprintf(out, size, "%u.5", next_random(seed) % 20);
		return;
	default:
		break;
	}
	at = (size_t)snprintf(out, size, "CAST(x'");
	for (unsigned i = 0; i < n; i++)
		at += (size_t)snprintf(out + at, size - at, "%s",
		    bytes[next_random(seed) % COUNT(bytes)]);
	snprintf(out + at, size - at, "' AS %s)",
	    next_random(seed) % 3 ? "TEXT" : "BLOB");
}

START_TEST(function_gives_what_that_of_sqlite_gives_for_anything)
{
	unsigned seed = (unsigned)_i + 1;
	char v[3][128], call[512];

	for (int i = 0; i < 2000; i++) {
		for (size_t k = 0; k < COUNT(v); k++)
			make_value(&seed, v[k], sizeof(v[k]));
		snprintf(call, sizeof(call), "instr(%s, %s)", v[0], v[1]);
		compare(call);
		snprintf(call, sizeof(call), "replace(%s, %s, %s)", v[0], v[1],
		    v[2]);
		compare(call);
		snprintf(call, sizeof(call), "%strim(%s, %s)",
		    i % 3 == 0       ? "l"
			: i % 3 == 1 ? "r"
				     : "",
		    v[0], v[1]);
		compare(call);
	}
}
END_TEST

static void
make_format(unsigned *seed, char *out, size_t size)
{
	static const char *const parts[] = { "%", "%", "%", "*", ".", "c", "d",
		"s", "f", "l", "-", "0", "5", "3", "12", "!", ",", "#", "q",
		"x", " ", "+", "z", "e", "n" };
	unsigned n = next_random(seed) % 14;
	size_t at = 0;

	out[0] = '\0';
	for (unsigned i = 0; i < n && at + 4 < size; i++)
		at += (size_t)snprintf(out + at, size - at, "%s",
		    parts[next_random(seed) % COUNT(parts)]);
}

START_TEST(function_formats_as_that_of_sqlite)
{
	unsigned seed = (unsigned)_i + 1;
	char f[64], call[256];

	for (int i = 0; i < 2000; i++) {
		make_format(&seed, f, sizeof(f));
		snprintf(call, sizeof(call),
		    "printf('%s', %d, 'äbc', 2, -3, 1.25)", f,
		    (int)(next_random(&seed) % 20) - 5);
		compare(call);
	}
}
END_TEST

/* Matches at the seams of what is searched between two looks. */
START_TEST(function_searches_all_of_a_long_text)
{
	static const int places[] = { 0, 1, 65534, 65535, 65536, 65537, 131071,
		131072, 131073, 199990 };
	static const int lengths[] = { 1, 2, 10, 300, 20000, 70000 };
	char call[512];

	for (size_t p = 0; p < COUNT(places); p++)
		for (size_t l = 0; l < COUNT(lengths); l++) {
			snprintf(call, sizeof(call),
			    "instr(hex(zeroblob(%d)) || 'x' ||"
			    "  hex(zeroblob(%d)), 'x' || hex(zeroblob(%d)))",
			    places[p], lengths[l], lengths[l] / 2);
			compare(call);
			snprintf(call, sizeof(call),
			    "length(replace(replace(hex(zeroblob(%d)) || 'x'"
			    "  || hex(zeroblob(%d)), '0', 'ab'), 'xab', 'y'))",
			    places[p], lengths[l]);
			compare(call);
		}
}
END_TEST

/* Long after the longest text in an index expression was made, it is still the
 * same function. */
START_TEST(function_may_be_in_an_index)
{
	char out[256];

	ck_assert_int_eq(
	    sqlite3_exec(ours,
		"CREATE TABLE t(x, y AS (replace(x, 'a', 'b')) STORED,"
		"  CHECK(instr(x, '!') = 0));"
		"CREATE INDEX i ON t(instr(x, 'b'));"
		"CREATE INDEX j ON t(printf('%s-', x));"
		"CREATE INDEX k ON t(json_patch(x, '{}'));"
		"INSERT INTO t(x) VALUES('{\"a\":\"b\"}')",
		NULL, NULL, NULL),
	    SQLITE_OK);
	run(ours, "SELECT y FROM t INDEXED BY i WHERE instr(x, 'b') = 7", out,
	    sizeof(out));
	ck_assert_str_eq(out, "{\"b\":\"b\"}");
	ck_assert_int_eq(sqlite3_exec(ours, "INSERT INTO t(x) VALUES('{}!')",
			     NULL, NULL, NULL),
	    SQLITE_CONSTRAINT);
}
END_TEST

/* --- In linear time, and not longer than it may -------------------------------- */

/* clang-format off */
static const struct {
	const char *sql, *out;
} quick[] = {
	/* SQLite's take minutes for most of these */
	{ "SELECT instr(hex(zeroblob(2000000)), hex(zeroblob(1000000)) || '1')", "0" },
	{ "SELECT instr(hex(zeroblob(2000000)), hex(zeroblob(200)) || '1')", "0" },
	{ "SELECT instr(zeroblob(4000000), zeroblob(2000000) || x'01')", "0" },
	{ "SELECT instr('a' || CAST(replace(hex(zeroblob(500000)), '0', x'80') AS TEXT),"
	  "  CAST(replace(hex(zeroblob(250000)), '0', x'80') AS TEXT))", "0" },
	{ "SELECT length(replace(hex(zeroblob(2000000)), hex(zeroblob(1000000)) || '1', 'x'))", "4000000" },
	{ "SELECT length(replace(hex(zeroblob(1000000)), '0', 'xy'))", "4000000" },
	{ "SELECT printf('%.900000000c', 'x') IS NULL", "1" },
	{ "SELECT printf('%.*c', 900000000, 'x') IS NULL", "1" },
	{ "SELECT printf('%*.*c', 5, -900000000, 'x') IS NULL", "1" },
	{ "SELECT printf('%.30000000c%.30000000c%.30000000c%.30000000c', 1, 1, 1, 1) IS NULL", "1" },
	{ "SELECT format('%s%.*c', 1, 900000000, 'x') IS NULL", "1" },
	{ "SELECT json_patch('{' || substr(replace(hex(zeroblob(40000)), '0', ',\"a\":1'), 2) || '}',"
	  "  '{' || substr(replace(hex(zeroblob(40000)), '0', ',\"b\":1'), 2) || '}')",
	  "error 1 json_patch() of 480001 and 480001 bytes would take too long; patch a part of the"
	  " document, with json_extract() and json_set(), or in the program" },
};
/* clang-format on */

/* Of this thread, however busy the machine is. */
static int64_t
get_cpu_us(void)
{
	struct timespec t;

	ck_assert_int_eq(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), 0);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

START_TEST(function_takes_no_longer_than_its_arguments)
{
	int64_t begin_us = get_cpu_us(), took_us;
	char out[512];

	sqlite3_limit(ours, SQLITE_LIMIT_LENGTH, 64 << 20);
	run(ours, quick[_i].sql, out, sizeof(out));
	ck_assert_str_eq(out, quick[_i].out);
	took_us = get_cpu_us() - begin_us;
	ck_assert_msg(took_us < 500000 * proc_get_slowness(), "%.1f s",
	    (double)took_us / 1e6);
}
END_TEST

static const char *const stoppable[] = {
	"SELECT instr(zeroblob(40000000), x'000001')",
	"SELECT instr(hex(zeroblob(20000000)), hex(zeroblob(2000)) || '1')",
	"SELECT length(replace(hex(zeroblob(20000000)), '00', '11'))",
	"SELECT length(replace(hex(zeroblob(20000000)), '1', '22'))",
	"SELECT trim(hex(zeroblob(2000000)), replace(hex(zeroblob(1000)), '0', '1') || '0')",
	"SELECT rtrim(hex(zeroblob(2000000)), replace(hex(zeroblob(1000)), '0', '1') || '0')",
};

START_TEST(function_stops_when_told)
{
	char out[256];

	sqlite3_limit(ours, SQLITE_LIMIT_LENGTH, 64 << 20);
	stop_after = 3;
	run(ours, stoppable[_i], out, sizeof(out));
	ck_assert_str_eq(out, "error 9 interrupted");
	ck_assert_int_eq(looks, 4);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("functions");
	TCase *tc = tcase_create("the same results");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(
	    tc, function_gives_what_that_of_sqlite_gives, 0, (int)COUNT(calls));
	tcase_add_loop_test(tc, function_leaves_its_arguments_alone, 0, 4);
	tcase_add_loop_test(
	    tc, function_gives_what_that_of_sqlite_gives_for_anything, 0, 4);
	tcase_add_loop_test(tc, function_formats_as_that_of_sqlite, 0, 4);
	tcase_add_test(tc, function_searches_all_of_a_long_text);
	tcase_add_test(tc, function_may_be_in_an_index);
	suite_add_tcase(s, tc);
	tc = tcase_create("time");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, function_takes_no_longer_than_its_arguments, 0,
	    (int)COUNT(quick));
	tcase_add_loop_test(
	    tc, function_stops_when_told, 0, (int)COUNT(stoppable));
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
