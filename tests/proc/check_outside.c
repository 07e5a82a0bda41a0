/* check_outside.c - with access = shared, a sqlite3 shell that holds the write
 * lock of one of two databases: its writes wait, then go on or are told why not;
 * those of the other one notice nothing, though all share one thread. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/live.h"

static struct live live;
static FILE *shell; /* its standard input */
static int said;    /* its standard output */

static void
start(const char *busy_wait)
{
	char path[2 * LIVE_PATH_MAX];
	FILE *f;

	live_init(&live);
	snprintf(path, sizeof(path), "%s/conf", live.dir);
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	fprintf(f,
	    "writer_threads = 1\naccess = shared\nbusy_wait = %s\n"
	    "database app { path = \"%s\" }\n"
	    "database other { path = \"%s/other.db\" }\n",
	    busy_wait, live.db_path, live.dir);
	ck_assert_int_eq(fclose(f), 0);
	live_launch(&live,
	    (const char *const[]){ "-s", live.socket_path, "-c", path, NULL });
	live_wait_ready(&live);
}

static struct sqlpool_conn *
open_database(const char *database)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	struct sqlpool_conn *conn;

	options.socket_path = live.socket_path;
	options.database = database;
	ck_assert_int_eq(sqlpool_open(&options, &conn), 0);
	live_exec(conn, "CREATE TABLE t(v)");
	return conn;
}

static void
start_shell(void)
{
	int in[2], out[2];
	pid_t pid;

	ck_assert_int_eq(pipe(in), 0);
	ck_assert_int_eq(pipe(out), 0);
	pid = fork();
	if (pid == 0) {
		dup2(in[0], STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		close(in[1]);
		close(out[0]);
		execlp("sqlite3", "sqlite3", "-batch", live.db_path, NULL);
		_exit(127);
	}
	ck_assert_int_gt(pid, 0);
	close(in[0]);
	close(out[1]);
	shell = fdopen(in[1], "w");
	ck_assert_ptr_nonnull(shell);
	said = out[0];
}

/* Let it run SQL, and wait until it has. */
static void
tell_shell(const char *sql)
{
	char c;

	fprintf(shell, "%s; SELECT 1;\n", sql);
	ck_assert_int_eq(fflush(shell), 0);
	do {
		ck_assert_int_eq(read(said, &c, 1), 1);
	} while (c != '\n');
}

static void
stop(struct sqlpool_conn *app, struct sqlpool_conn *other)
{
	fclose(shell);
	close(said);
	sqlpool_close(app);
	sqlpool_close(other);
	live_stop(&live);
	live_check_file(live.db_path);
	live_fini(&live);
}

static struct sqlpool_result *
send_insert(struct sqlpool_conn *conn, const char *sql)
{
	struct sqlpool_request *request = sqlpool_request_new();
	struct sqlpool_result *result = NULL;

	ck_assert_int_eq(sqlpool_request_add(request, sql, NULL, 0), 0);
	ck_assert_int_eq(sqlpool_send(conn, request, &result), 0);
	ck_assert_int_eq(sqlpool_process(conn), 0);
	sqlpool_request_free(request);
	return result;
}

START_TEST(writes_wait_for_a_lock_outside_and_others_do_not)
{
	struct sqlpool_conn *app, *other;
	struct sqlpool_result *waiting;

	start("10min");
	app = open_database("app");
	other = open_database("other");
	start_shell();
	tell_shell("BEGIN IMMEDIATE; INSERT INTO t VALUES('shell')");
	waiting = send_insert(app, "INSERT INTO t VALUES('client')");
	/* this one's answer comes though that one still waits */
	live_exec(other, "INSERT INTO t VALUES('other')");
	ck_assert_int_eq(sqlpool_ping(app), 0);
	tell_shell("COMMIT");
	ck_assert_int_eq(sqlpool_wait(waiting), 0);
	sqlpool_result_free(waiting);
	ck_assert_int_eq(live_get_int(app, "SELECT count(*) FROM t"), 2);
	ck_assert_int_eq(live_get_stat(&live, "external_busy"), 0);
	stop(app, other);
}
END_TEST

START_TEST(writes_are_told_of_a_lock_outside)
{
	const struct sqlpool_error *e;
	struct sqlpool_conn *app, *other;
	char want[4 * LIVE_PATH_MAX];

	start("50ms");
	app = open_database("app");
	other = open_database("other");
	start_shell();
	tell_shell("BEGIN IMMEDIATE");
	ck_assert_int_eq(
	    sqlpool_exec(app, "INSERT INTO t VALUES('client')", NULL, 0),
	    -SQLPOOL_ERR_EXTERNAL_BUSY);
	e = sqlpool_get_error(app);
	snprintf(want, sizeof(want),
	    "a process outside the daemon holds the lock on %s; find it with: "
	    "fuser -v %s",
	    live.db_path, live.db_path);
	ck_assert_str_eq(e->message, want);
	ck_assert_int_eq(e->outcome, SQLPOOL_NOT_APPLIED);
	ck_assert_int_eq(live_get_stat(&live, "external_busy"), 1);
	tell_shell("COMMIT");
	live_exec(app, "INSERT INTO t VALUES('client')");
	live_exec(other, "INSERT INTO t VALUES('other')");
	stop(app, other);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("outside");
	TCase *tc = tcase_create("outside");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, writes_wait_for_a_lock_outside_and_others_do_not);
	tcase_add_test(tc, writes_are_told_of_a_lock_outside);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
