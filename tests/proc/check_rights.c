/* check_rights.c - rights that a reload gives and takes, for who is connected.
 *
 * Needs root, to become others; they are numbers that nobody has. */
#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/error.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

enum { USER = 20001, PATH_N = 2 * LIVE_PATH_MAX };

static struct live live;
static char conf_path[PATH_N];
static struct rawconn user;        /* somebody's */
static struct sqlpool_conn *admin; /* at @admin; both only reload and look */

/* Write the file: of databases app has a name, and those of the directory. */
static void __attribute__((format(printf, 1, 2)))
write_conf(const char *fmt, ...)
{
	FILE *file = fopen(conf_path, "we");
	va_list args;

	ck_assert_ptr_nonnull(file);
	fprintf(file,
	    "socket_mode = 0666\ndirectory = \"%s/tenants\"\n"
	    "database app { path = \"%s\" }\n",
	    live.dir, live.db_path);
	va_start(args, fmt);
	vfprintf(file, fmt, args);
	va_end(args);
	ck_assert_int_eq(fclose(file), 0);
}

static void
reload(const char *options)
{
	char *said;

	write_conf("%s", options);
	said = live_ask(admin, "RELOAD", "needs_restart");
	ck_assert_str_eq(said, "");
	free(said);
}

/* Connect as somebody: the kernel keeps who it was. */
static void
connect_as(struct rawconn *c, uid_t uid, const char *database)
{
	ck_assert_int_eq(seteuid(uid), 0);
	raw_connect(c, live.socket_path);
	ck_assert_int_eq(seteuid(0), 0);
	c->database = database;
	raw_expect(c, raw_put_hello(c), 0);
	c->database = NULL;
}

static bool
start(const char *options)
{
	char dir[PATH_N];

	if (geteuid() != 0) {
		printf("skipped: only root can become other users\n");
		return false;
	}
	setenv("TMPDIR", "/tmp", 1); /* where they can get at the socket */
	live_init(&live);
	snprintf(conf_path, sizeof(conf_path), "%s/conf", live.dir);
	snprintf(dir, sizeof(dir), "%s/tenants", live.dir);
	ck_assert_int_eq(chmod(live.dir, 0755) || mkdir(dir, 0700), 0);
	write_conf("%s", options);
	live_launch(
	    &live, LIVE_OPTIONS("-s", live.socket_path, "-c", conf_path));
	live_wait_ready(&live);
	admin = live_connect_admin(&live);
	return true;
}

static void
stop(void)
{
	sqlpool_close(admin);
	raw_close(&user);
	live_stop(&live);
	live_fini(&live);
}

static uint64_t
put_stmt(enum msg_type type, const char *sql)
{
	struct msg_out m;

	msg_begin_body(&m, &user.out, type, ++user.last_id, 0);
	msg_put_uint(&m, ASK_stmt, 1);
	if (sql)
		msg_put_str(&m, ASK_sql, sql);
	ck_assert_int_eq(msg_end(&m, 65536), 0);
	return user.last_id;
}

#define READ_ONLY "readers = 20001\nwriters = {}\n"

START_TEST(rights_that_are_taken_away_are_gone_on_every_road)
{
	if (!start(""))
		return;
	connect_as(&user, USER, "app");
	raw_run(&user, 0, "CREATE TABLE t(v)", 0);
	raw_expect(&user, put_stmt(TYPE_PREPARE, "INSERT INTO t VALUES(1)"), 0);
	raw_expect(&user, put_stmt(TYPE_EXEC, NULL), 0);
	reload(READ_ONLY);
	raw_expect(&user, put_stmt(TYPE_EXEC, NULL), ERR_ACCESS_DENIED);
	raw_run(&user, 0, "DELETE FROM t", ERR_ACCESS_DENIED);
	raw_run(&user, 0, "BEGIN IMMEDIATE", ERR_ACCESS_DENIED);
	raw_expect(&user, raw_put_script(&user, 0, "SELECT 1", true),
	    ERR_ACCESS_DENIED);
	ck_assert_int_eq(raw_run_int(&user, 0, "SELECT count(*) FROM t"), 1);
	reload("readers = root\nwriters = root\n");
	raw_run(&user, 0, "SELECT 1", ERR_ACCESS_DENIED);
	raw_run(&user, 0, "BEGIN", ERR_ACCESS_DENIED);
	reload("");
	raw_expect(&user, put_stmt(TYPE_EXEC, NULL), 0);
	ck_assert_int_eq(raw_run_int(&user, 0, "SELECT count(*) FROM t"), 2);
	stop();
}
END_TEST

/* What was done in it was allowed then; it may end, and nothing more. */
START_TEST(a_transaction_whose_rights_are_taken_away_can_only_end)
{
	static const char *const ends[] = { "COMMIT", "ROLLBACK" };

	if (!start(""))
		return;
	connect_as(&user, USER, "app");
	raw_run(&user, 0, "CREATE TABLE t(v)", 0);
	for (int i = 0; i < 4; i++) {
		reload("");
		raw_run(&user, 0, "BEGIN", 0);
		raw_run(&user, 0, "INSERT INTO t VALUES(1)", 0);
		reload(i < 2 ? READ_ONLY : "readers = root\nwriters = root\n");
		raw_run(&user, 0, "INSERT INTO t VALUES(2)", ERR_ACCESS_DENIED);
		raw_run(&user, 0, "SELECT count(*) FROM t", ERR_ACCESS_DENIED);
		raw_run(&user, 0, ends[i % 2], 0);
	}
	reload("");
	ck_assert_int_eq(raw_run_int(&user, 0, "SELECT sum(v) FROM t"), 2);
	stop();
}
END_TEST

START_TEST(observers_who_are_taken_away_see_nothing_more)
{
	if (!start("observers = 20001\n"))
		return;
	connect_as(&user, USER, "@admin");
	raw_run(&user, 0, "SHOW CLIENTS", 0);
	reload("");
	raw_run(&user, 0, "SHOW CLIENTS", ERR_ACCESS_DENIED);
	reload("admins = 20001\n");
	raw_run(&user, 0, "SHOW CLIENTS", 0);
	raw_run(&user, 0, "KILL 99999999", ERR_NOT_FOUND);
	reload("observers = 20001\n");
	raw_run(&user, 0, "KILL 99999999", ERR_ACCESS_DENIED);
	stop();
}
END_TEST

/* They have what is written for all databases. */
START_TEST(databases_of_a_directory_change_with_a_reload)
{
	char path[PATH_N];

	if (!start("create = on\n"))
		return;
	connect_as(&user, USER, "tenant");
	raw_run(&user, 0, "CREATE TABLE t(v)", 0);
	reload("create = off\n" READ_ONLY);
	ck_assert_int_eq(raw_run_int(&user, 0, "SELECT count(*) FROM t"), 0);
	raw_run(&user, 0, "INSERT INTO t VALUES(1)", ERR_ACCESS_DENIED);
	user.database = "other";
	raw_run(&user, 0, "SELECT 1", ERR_NO_DATABASE);
	snprintf(path, sizeof(path), "%s/tenants/other.db", live.dir);
	ck_assert_int_ne(access(path, F_OK), 0);
	stop();
}
END_TEST

/* It is the default for those that have a name: in the directory nothing is made
 * unless somebody wrote so. */
START_TEST(create_that_a_reload_turns_off_makes_no_file)
{
	if (!start(""))
		return;
	connect_as(&user, USER, "app");
	user.database = "tenant";
	raw_run(&user, 0, "SELECT 1", ERR_NO_DATABASE);
	reload("create = off\n");
	raw_run(&user, 0, "SELECT 1", ERR_NO_DATABASE);
	reload("create = on\n");
	raw_run(&user, 0, "SELECT 1", 0);
	stop();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("rights");
	TCase *tc = tcase_create("rights");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, rights_that_are_taken_away_are_gone_on_every_road);
	tcase_add_test(
	    tc, a_transaction_whose_rights_are_taken_away_can_only_end);
	tcase_add_test(tc, observers_who_are_taken_away_see_nothing_more);
	tcase_add_test(tc, databases_of_a_directory_change_with_a_reload);
	tcase_add_test(tc, create_that_a_reload_turns_off_makes_no_file);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
