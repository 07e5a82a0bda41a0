/* check_extension.c - extensions come from the configuration, and from nowhere
 * else. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/dbconn_impl.h"
#include "daemon/writer_impl.h"
#include "tests/lib/fixture.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct fixture fx;

static const char *
run(const char *sql)
{
	struct request *r = fixture_exec(&fx, sql, NULL);

	return fixture_take(&fx,
	    r->kind == KIND_READ ? fixture_read(&fx, r)
				 : fixture_write(&fx, r));
}

/* The extension that the Makefile has built. */
static const char *
get_path(void)
{
	static char path[4000];
	const char *build = getenv("BUILD");

	snprintf(path, sizeof(path), "%s/tests/extension/hello.so",
	    build ? build : "build/release");
	return path;
}

static const char *
make_option(void)
{
	static char option[4100];

	snprintf(option, sizeof(option), "extensions=%s", get_path());
	return option;
}

/* The worker's, the reader's, the writer's. */
START_TEST(extension_is_loaded_on_each_connection)
{
	static const char sql[] = "SELECT hello('you') AS x";
	struct stmt *st = NULL;
	struct failure f;

	fixture_open(&fx, make_option(), "CREATE TABLE t(x)");
	failure_init(&f);
	ck_assert_int_eq(
	    stmt_prepare(fx.hot,
		(struct span){ (const uint8_t *)sql, strlen(sql) }, &st, &f),
	    0);
	ck_assert_str_eq(run(sql), "DONE columns=['x'] rows=[['hello you']]");
	ck_assert_str_eq(
	    run("INSERT INTO t VALUES(hello('me'))"), "DONE changes=1 rowid=1");
	fixture_close(&fx);
}
END_TEST

START_TEST(extension_is_not_there_without_the_configuration)
{
	fixture_open(&fx, NULL, NULL);
	ck_assert_str_eq(run("SELECT hello('you')"),
	    "ERROR name=SQLITE_ERROR message='no such function: hello' "
	    "offset=7");
	fixture_close(&fx);
}
END_TEST

/* Not even where others are. */
START_TEST(extension_cannot_be_loaded_by_sql)
{
	const char *text;
	char *message = NULL;

	fixture_open(&fx, _i ? make_option() : NULL, NULL);
	text = run(
	    fixture_format(&fx, "SELECT load_extension('%s')", get_path()));
	ck_assert_msg(
	    strncmp(text, "ERROR name=NOT_ALLOWED", 22) == 0, "%s", text);
	ck_assert_int_eq(
	    sqlite3_load_extension(fx.hot->db, get_path(), NULL, &message),
	    SQLITE_ERROR);
	ck_assert_str_eq(message, "not authorized");
	sqlite3_free(message);
	fixture_close(&fx);
}
END_TEST

/* Its modules may be used: which they are is its own affair. */
START_TEST(extension_may_bring_modules)
{
	fixture_open(&fx, make_option(), NULL);
	ck_assert_str_eq(run("CREATE VIRTUAL TABLE t USING files('/')"),
	    "ERROR name=SQLITE_ERROR message='no such module: files'");
	ck_assert_ptr_nonnull(strstr(run("CREATE VIRTUAL TABLE t USING dbstat"),
	    "dbstat is not allowed"));
	fixture_close(&fx);
}
END_TEST

static const struct {
	const char *extensions, *text;
} wrong[] = {
	{ "/nowhere/at/all.so", "cannot load extension /nowhere/at/all.so: " },
	{ "", NULL },
	{ "libc.so.6", "cannot load extension libc.so.6: " },
};

START_TEST(extension_that_cannot_be_loaded_says_why)
{
	const char *why;

	fixture_init(&fx, NULL, NULL);
	free(fx.conf->dbs[0].extensions);
	fx.conf->dbs[0].extensions = strdup(wrong[_i].extensions);
	why = fixture_start(&fx);
	if (!wrong[_i].text) {
		ck_assert_msg(!why, "%s", why);
	} else {
		ck_assert_ptr_nonnull(why);
		ck_assert_msg(strstr(why, wrong[_i].text), "%s", why);
		ck_assert_msg(strstr(why,
				  "; correct extensions of database "
				  "app, or install it"),
		    "%s", why);
	}
	fixture_close(&fx);
}
END_TEST

START_TEST(extensions_may_be_several)
{
	fixture_init(&fx, NULL, NULL);
	free(fx.conf->dbs[0].extensions);
	ck_assert_int_ge(asprintf(&fx.conf->dbs[0].extensions,
			     ":%s::%s:", get_path(), get_path()),
	    0);
	ck_assert_ptr_null(fixture_start(&fx));
	ck_assert_str_eq(run("SELECT hello('you') AS x"),
	    "DONE columns=['x'] rows=[['hello you']]");
	fixture_close(&fx);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("extension");
	TCase *tc = tcase_create("extension");

	tcase_add_test(tc, extension_is_loaded_on_each_connection);
	tcase_add_test(tc, extension_is_not_there_without_the_configuration);
	tcase_add_loop_test(tc, extension_cannot_be_loaded_by_sql, 0, 2);
	tcase_add_test(tc, extension_may_bring_modules);
	tcase_add_loop_test(
	    tc, extension_that_cannot_be_loaded_says_why, 0, (int)COUNT(wrong));
	tcase_add_test(tc, extensions_may_be_several);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
