/* check_admin.c - SHOW commands. */
#include <check.h>
#include <string.h>

#include "daemon/admin.h"
#include "daemon/stats.h"
#include "proto/error.h"
#include "tests/lib/fixture.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct fixture fx;

static void
setup(void)
{
	fixture_open(&fx, NULL, "CREATE TABLE t(v);");
}

static void
teardown(void)
{
	fixture_close(&fx);
}

static const char *
run(struct request *r)
{
	const char *text;
	struct buf b;

	buf_init(&b);
	admin_run(&fx.dbs, r, &b);
	ck_assert_int_eq(r->state, REQUEST_ANSWERED);
	text = fixture_say(&fx, b.p, b.n);
	buf_fini(&b);
	request_free(r);
	return text;
}

static const char *
show(const char *sql)
{
	return run(fixture_ask(&fx,
	    json_pack("{s:{s:s, s:i}, s:{s:s}}", "head", "type", "EXEC", "id",
		1, "body", "sql", sql)));
}

static void
insert(void)
{
	fixture_take(&fx,
	    fixture_write(
		&fx, fixture_exec(&fx, "INSERT INTO t VALUES(1)", NULL)));
}

START_TEST(admin_shows_the_databases)
{
	struct request *r;

	insert();
	insert();
	fixture_hold(&fx);
	r = fixture_write(
	    &fx, fixture_exec(&fx, "INSERT INTO t VALUES(1)", NULL));
	ck_assert_str_eq(show("SHOW DATABASES"),
	    fixture_format(&fx,
		"DONE columns=['name','path','access','commits','queue'] "
		"rows=[['app','%s','exclusive',2,1]]",
		fx.path));
	fixture_release(&fx);
	fixture_take(&fx, r);
}
END_TEST

START_TEST(admin_shows_every_counter)
{
	const char *text;

	insert();
	fixture_settle(&fx);
	text = show("SHOW STATS");
	ck_assert_int_eq(strncmp(text,
			     "DONE columns=['name','value','database','text'] "
			     "rows=[[",
			     55),
	    0);
	ck_assert_ptr_nonnull(strstr(text, "['writes',1,null,'"));
	ck_assert_ptr_nonnull(strstr(text, "['commits',1,null,'"));
	for (int i = 0; i < STAT_N; i++)
		ck_assert_ptr_nonnull(strstr(text,
		    fixture_format(
			&fx, "['%s',", stats_get_name((enum stats_id)i))));
}
END_TEST

START_TEST(admin_shows_versions)
{
	ck_assert_str_eq(show("SHOW VERSION"),
	    fixture_format(&fx,
		"DONE columns=['server','sqlite'] "
		"rows=[['sqlpoold " SQLPOOLD_VERSION "','%s']]",
		dbconn_get_library_version()));
}
END_TEST

START_TEST(admin_lists_its_commands_and_knows_all_of_them)
{
	const char *text = show("SHOW HELP"), *at = text;
	int n = 0;

	while ((at = strstr(at, "['SHOW "))) {
		const char *end = strchr(at + 2, '\'');

		ck_assert_int_eq(strncmp(show(fixture_format(&fx, "%.*s",
					     (int)(end - at - 2), at + 2)),
				     "DONE columns=[", 14),
		    0);
		at = end;
		n++;
	}
	ck_assert_int_ge(n, 4);
}
END_TEST

static const char *const spellings[] = { "show version", "SHOW VERSION;",
	"  Show \n\t Version  ", "SHOW VERSION ; what follows is not read" };

START_TEST(admin_does_not_mind_how_a_command_is_written)
{
	ck_assert_str_eq(show(spellings[_i]), show("SHOW VERSION"));
}
END_TEST

/* clang-format off */
static const char *const unknown[][2] = {
	{ "", "" },
	{ "SELECT 1", "SELECT 1" },
	{ "SHOW", "SHOW" },
	{ "SHOW STATSX", "SHOW STATSX" },
	{ "SHOW  \"x\"", "SHOW \\'x\\'" },
	/* cut, also in the middle of a character */
	{ "0123456789 0123456789 0123456789 0123456789 0123456789 01234567890123456789",
	  "0123456789 0123456789 0123456789 0123456789 0123456789 01234567" },
	{ "0123456789 0123456789 0123456789 0123456789 0123456789 0123456\xc3\xa4",
	  "0123456789 0123456789 0123456789 0123456789 0123456789 0123456?" },
};
/* clang-format on */

START_TEST(admin_says_what_it_does_not_know)
{
	/* JSON puts a backslash before the message's quotes */
	ck_assert_str_eq(show(unknown[_i][0]),
	    fixture_format(&fx,
		"ERROR name=NOT_ALLOWED message='@admin does not know \\'%s\\';"
		" EXEC \\'SHOW HELP\\' lists what it knows'",
		unknown[_i][1]));
}
END_TEST

START_TEST(admin_runs_nothing_but_exec)
{
	static const struct fixture_step steps[] = { { .sql = "SHOW VERSION" },
		{ 0 } };

	ck_assert_int_eq(strncmp(run(fixture_batch(&fx, steps)),
			     "ERROR name=NOT_ALLOWED", 22),
	    0);
	ck_assert_int_eq(
	    strncmp(run(fixture_end(&fx, true)), "ERROR name=NOT_ALLOWED", 22),
	    0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("admin");
	TCase *tc = tcase_create("admin");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, admin_shows_the_databases);
	tcase_add_test(tc, admin_shows_every_counter);
	tcase_add_test(tc, admin_shows_versions);
	tcase_add_test(tc, admin_lists_its_commands_and_knows_all_of_them);
	tcase_add_loop_test(tc, admin_does_not_mind_how_a_command_is_written, 0,
	    (int)COUNT(spellings));
	tcase_add_loop_test(
	    tc, admin_says_what_it_does_not_know, 0, (int)COUNT(unknown));
	tcase_add_test(tc, admin_runs_nothing_but_exec);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
