/* check_backup.c - BACKUP of a live database: what it holds, what it leaves behind,
 * what it refuses. */
#include <check.h>
#include <inttypes.h>
#include <pthread.h>
#include <spawn.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

static struct live live;

static void
set_up(void)
{
	struct sqlpool_conn *conn;

	live_init(&live);
	live_start(
	    &live, LIVE_OPTIONS("reader_threads=2", "synchronous=normal"));
	conn = live_connect(&live, "setup");
	live_exec(conn, "CREATE TABLE a(n INTEGER PRIMARY KEY, v)");
	live_exec(conn, "CREATE TABLE b(n INTEGER PRIMARY KEY)");
	sqlpool_close(conn);
}

static void
tear_down(void)
{
	if (live.pid)
		live_stop(&live);
	live_check_file(live.db_path);
	live_fini(&live);
}

/* A path in the test's directory. */
struct path {
	char text[256];
};

static struct path
in_dir(const char *name)
{
	struct path path;

	snprintf(path.text, sizeof(path.text), "%s/%s", live.dir, name);
	return path;
}

static bool
exists(const char *name)
{
	return access(in_dir(name).text, F_OK) == 0;
}

static struct sqlpool_conn *
connect_admin(void)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	struct sqlpool_conn *conn = NULL;

	options.socket_path = live.socket_path;
	options.database = "@admin";
	ck_assert_int_eq(sqlpool_open(&options, &conn), 0);
	return conn;
}

static void
assert_row(struct sqlpool_result *result, const char *to, bool verified)
{
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
	ck_assert_str_eq(sqlpool_column_text(result, 0, NULL), "app");
	ck_assert_str_eq(sqlpool_column_text(result, 1, NULL), to);
	ck_assert_int_gt(sqlpool_column_int64(result, 2), 0);
	ck_assert_int_eq(sqlpool_column_int64(result, 5), verified);
}

/* What BACKUP says: "" or the error's message. */
static const char *
back_up(const char *to, const char *options)
{
	static char message[2048];
	struct sqlpool_conn *conn = connect_admin();
	struct sqlpool_result *result = NULL;
	char *sql = sqlite3_mprintf("BACKUP app TO %Q %s", to, options);

	message[0] = '\0';
	if (sqlpool_query(conn, sql, NULL, 0, &result) < 0) {
		snprintf(message, sizeof(message), "%s",
		    sqlpool_get_error(conn)->message);
	} else {
		assert_row(result, to, strstr(options, "VERIFY") != NULL);
	}
	sqlpool_result_free(result);
	sqlpool_close(conn);
	sqlite3_free(sql);
	return message;
}

/* --- Consistency -------------------------------------------------------------- */

/* Writes 1, 2, 3, ... to both tables, each number in one transaction. */
struct writing {
	pthread_t thread;
	_Atomic int64_t acknowledged;
	_Atomic bool stop;
};

static void *
write_on(void *arg)
{
	struct writing *w = arg;
	struct sqlpool_conn *conn = live_connect(&live, "writer");
	char sql[160];

	while (!atomic_load(&w->stop)) {
		int64_t n = atomic_load(&w->acknowledged) + 1;

		snprintf(sql, sizeof(sql),
		    "INSERT INTO a VALUES(%" PRId64 ", zeroblob(3000));"
		    "INSERT INTO b VALUES(%" PRId64 ")",
		    n, n);
		if (sqlpool_script(conn, sql, 0) < 0)
			proc_fail("%s", sqlpool_get_error(conn)->message);
		atomic_store(&w->acknowledged, n);
	}
	sqlpool_close(conn);
	return NULL;
}

/* Have it write until so many are acknowledged. */
static void
write_until(struct writing *w, int64_t n)
{
	struct timespec pause = { .tv_nsec = 1000000 };

	while (atomic_load(&w->acknowledged) < n)
		nanosleep(&pause, NULL);
}

/* A copy is the database after some number of its commits, not before those that
 * were acknowledged when it began, and not after it ended. */
START_TEST(backup_under_writes_is_a_prefix_of_the_commits)
{
	struct path to = in_dir("copy.db");
	struct writing w = { .acknowledged = 0 };
	int64_t before, after, n;

	ck_assert_int_eq(pthread_create(&w.thread, NULL, write_on, &w), 0);
	for (int i = 0; i < 5; i++) {
		write_until(&w, INT64_C(300) * (i + 1));
		before = atomic_load(&w.acknowledged);
		ck_assert_str_eq(
		    back_up(to.text, i ? "VERIFY REPLACE" : "VERIFY"), "");
		after = atomic_load(&w.acknowledged);
		live_check_file(to.text);
		n = live_read_file_int(to.text, "SELECT count(*) FROM a");
		ck_assert_int_eq(
		    live_read_file_int(to.text, "SELECT max(n) FROM a"), n);
		ck_assert_int_eq(
		    live_read_file_int(to.text, "SELECT count(*) FROM b"), n);
		ck_assert_int_eq(
		    live_read_file_int(to.text, "SELECT max(n) FROM b"), n);
		ck_assert_int_ge(n, before);
		ck_assert_int_le(n, after + 1); /* one may be on its way */
	}
	atomic_store(&w.stop, true);
	pthread_join(w.thread, NULL);
	ck_assert(!exists("copy.db.partial"));
	ck_assert_int_eq(live_get_stat(&live, "backups"), 5);
	ck_assert_int_eq(live_get_stat(&live, "backups_failed"), 0);
}
END_TEST

/* --- Half-way ------------------------------------------------------------------ */

static const char endless_read[] =
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
    "SELECT max(x) FROM c";

/* A backup that has begun and does not go on: endless reads have both threads. */
struct halfway {
	struct rawconn reads[2], admin;
	uint64_t backup;
};

static void
await_partial(void)
{
	int64_t end_us = proc_get_deadline_us(PROC_WAIT_MS);
	struct stat st;

	while (stat(in_dir("copy.db.partial").text, &st) < 0 || st.st_size == 0)
		ck_assert_int_lt(clock_now_us(), end_us);
}

static void
stop_halfway(struct halfway *h)
{
	struct sqlpool_conn *conn = live_connect(&live, "filler");
	char sql[512];

	for (int i = 0; i < 60; i++)
		live_exec(conn, "INSERT INTO a(v) VALUES(zeroblob(2000000))");
	sqlpool_close(conn);
	raw_open(&h->admin, live.socket_path);
	for (int i = 0; i < 2; i++)
		raw_open(&h->reads[i], live.socket_path);
	raw_put_exec(&h->reads[0], 0, endless_read);
	raw_flush(&h->reads[0]);
	live_wait_busy(&live, "readers");
	snprintf(
	    sql, sizeof(sql), "BACKUP app TO '%s'", in_dir("copy.db").text);
	h->backup = raw_put_admin(&h->admin, sql);
	raw_flush(&h->admin);
	await_partial();
	raw_put_exec(&h->reads[1], 0, endless_read);
	raw_flush(&h->reads[1]);
	live_wait_busy(&live, "readers");
	ck_assert(exists("copy.db.partial"));
	ck_assert(!exists("copy.db"));
}

static void
end_reads(struct halfway *h)
{
	for (int i = 0; i < 2; i++)
		raw_close(&h->reads[i]);
}

START_TEST(backup_that_is_killed_leaves_no_half_file_at_its_path)
{
	struct halfway h;

	stop_halfway(&h);
	live_kill(&live);
	ck_assert(!exists("copy.db"));
	end_reads(&h);
	raw_close(&h.admin);
	/* what it left is no obstacle */
	live_start(&live, NULL);
	ck_assert_str_eq(back_up(in_dir("copy.db").text, "VERIFY"), "");
	ck_assert(!exists("copy.db.partial"));
	live_check_file(in_dir("copy.db").text);
}
END_TEST

static bool
has_no_partial(const void *arg)
{
	(void)arg;
	return !exists("copy.db.partial");
}

START_TEST(backup_whose_client_is_gone_leaves_nothing)
{
	struct halfway h;

	stop_halfway(&h);
	raw_close(&h.admin);
	end_reads(&h);
	proc_wait_until(has_no_partial, NULL, "the copy is removed");
	ck_assert(!exists("copy.db"));
	ck_assert_int_eq(live_get_stat(&live, "backups_failed"), 1);
}
END_TEST

START_TEST(backup_says_how_far_it_is)
{
	struct sqlpool_result *result = NULL;
	struct sqlpool_conn *conn;
	struct halfway h;

	stop_halfway(&h);
	conn = connect_admin();
	ck_assert_int_eq(
	    sqlpool_query(conn, "SHOW BACKUPS", NULL, 0, &result), 0);
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
	ck_assert_str_eq(sqlpool_column_text(result, 0, NULL), "app");
	ck_assert_str_eq(
	    sqlpool_column_text(result, 1, NULL), in_dir("copy.db").text);
	ck_assert_str_eq(sqlpool_column_text(result, 2, NULL), "copying");
	ck_assert_int_gt(sqlpool_column_int64(result, 3), 0);
	ck_assert_int_gt(
	    sqlpool_column_int64(result, 4), sqlpool_column_int64(result, 3));
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_DONE);
	sqlpool_result_free(result);
	sqlpool_close(conn);
	ck_assert_str_ne(back_up(in_dir("copy.db").text, ""), "");
	end_reads(&h);
	raw_expect(&h.admin, h.backup, 0);
	raw_close(&h.admin);
	ck_assert(exists("copy.db"));
}
END_TEST

/* Reads that need its threads end; the backup does by itself. */
START_TEST(backup_does_not_keep_the_daemon_from_stopping)
{
	struct halfway h;

	stop_halfway(&h);
	end_reads(&h);
	live_stop(&live);
	ck_assert(!exists("copy.db.partial"));
	raw_close(&h.admin);
}
END_TEST

/* --- What is refused ------------------------------------------------------------ */

static void
make_file(const char *name)
{
	FILE *f = fopen(in_dir(name).text, "we");

	ck_assert_ptr_nonnull(f);
	fputs("mine", f);
	fclose(f);
}

static void
assert_refused(const char *to, const char *options, const char *says)
{
	const char *text = back_up(to, options);

	ck_assert_msg(strstr(text, says) != NULL, "%s: %s", to, text);
}

START_TEST(backup_refuses_what_it_must_not_write)
{
	struct stat before, after;

	ck_assert_int_eq(stat(live.db_path, &before), 0);
	make_file("there");
	ck_assert_int_eq(link(live.db_path, in_dir("link.db").text), 0);
	ck_assert_int_eq(symlink(live.db_path, in_dir("symlink.db").text), 0);
	assert_refused("copy.db", "", "is not an absolute path");
	assert_refused(in_dir("there").text, "", "is there already");
	assert_refused(live.dir, "REPLACE", "is there and is not a file");
	assert_refused(in_dir("no/such.db").text, "", "No such file");
	assert_refused(live.db_path, "REPLACE", "is a database that is served");
	assert_refused(
	    in_dir("link.db").text, "REPLACE", "is a database that is served");
	assert_refused(in_dir("symlink.db").text, "REPLACE",
	    "is a database that is served");
	assert_refused(
	    in_dir("app.db-wal").text, "REPLACE", "or belongs to one");
	assert_refused(in_dir("app.db-journal").text, "", "or belongs to one");
	assert_refused(
	    in_dir("./app.db-journal").text, "", "or belongs to one");
	assert_refused(in_dir("copy.db").text, "SOON", "write it as: BACKUP");
	ck_assert(!exists("copy.db") && !exists("app.db-journal"));
	ck_assert_int_eq(stat(live.db_path, &after), 0);
	ck_assert_uint_eq(before.st_ino, after.st_ino);
	ck_assert_str_eq(back_up(in_dir("there").text, "REPLACE"), "");
	live_check_file(in_dir("there").text);
}
END_TEST

/* Somebody works with the last copy and is killed: his WAL stays. */
static void
leave_wal(void *path)
{
	sqlite3 *db;

	PROC_CHECK(sqlite3_open(path, &db) == SQLITE_OK &&
		sqlite3_exec(db,
		    "PRAGMA wal_autocheckpoint = 0; DELETE FROM a;"
		    "CREATE TABLE stale(x)",
		    NULL, NULL, NULL) == SQLITE_OK,
	    "cannot write to the copy");
	_exit(0);
}

START_TEST(backup_takes_nothing_from_the_wal_of_the_copy_that_it_replaces)
{
	struct sqlpool_conn *conn = live_connect(&live, "writes");
	struct path to = in_dir("copy.db");

	ck_assert_str_eq(back_up(to.text, ""), "");
	proc_join(proc_fork(leave_wal, to.text));
	ck_assert(exists("copy.db-wal"));
	live_exec(conn, "INSERT INTO a VALUES(1, 'one')");
	sqlpool_close(conn);
	ck_assert_str_eq(back_up(to.text, "REPLACE VERIFY"), "");
	ck_assert_int_eq(live_read_file_int(to.text, "SELECT n FROM a"), 1);
	ck_assert_int_eq(unlink(to.text), 0);
	make_file("copy.db-wal");
	assert_refused(to.text, "", "copy.db-wal is there already");
	ck_assert(!exists("copy.db"));
}
END_TEST

static void
enter_dir(void)
{
	PROC_CHECK(chdir(live.dir) == 0, "chdir");
}

/* As the daemon's arguments have it: beside it, or behind a link. */
START_TEST(backup_knows_a_database_by_any_path)
{
	static const char *const specs[] = { "app=app.db", "app=links/l.db" };

	live_stop(&live);
	ck_assert_int_eq(mkdir(in_dir("links").text, 0700), 0);
	ck_assert_int_eq(symlink("../app.db", in_dir("links/l.db").text), 0);
	live.before_exec = enter_dir;
	live_launch(&live, LIVE_OPTIONS("-s", live.socket_path, specs[_i]));
	live_wait_ready(&live);
	assert_refused(live.db_path, "REPLACE", "is a database that is served");
	assert_refused(
	    in_dir("app.db-wal").text, "REPLACE", "or belongs to one");
	assert_refused(in_dir("app.db-journal").text, "", "or belongs to one");
}
END_TEST

/* Each file there is a database, known to the daemon by now or not. */
START_TEST(backup_refuses_the_directory_of_databases)
{
	char option[512];

	live_stop(&live);
	ck_assert_int_eq(mkdir(in_dir("tenants").text, 0700), 0);
	make_file("tenants/other.db");
	snprintf(
	    option, sizeof(option), "directory=%s", in_dir("tenants").text);
	live_start(&live, LIVE_OPTIONS(option));
	assert_refused(in_dir("tenants/other.db").text, "REPLACE",
	    "each file of which is a database");
	assert_refused(in_dir("tenants/../tenants/new.db").text, "",
	    "each file of which is a database");
	ck_assert(!exists("tenants/new.db"));
	ck_assert_str_eq(back_up(in_dir("tenants.db").text, ""), "");
}
END_TEST

START_TEST(backup_that_takes_too_long_is_given_up)
{
	live_stop(&live);
	live_start(&live, LIVE_OPTIONS("backup_timeout=1us"));
	assert_refused(in_dir("copy.db").text, "", "the backup was given up");
	ck_assert(!exists("copy.db") && !exists("copy.db.partial"));
}
END_TEST

/* It is as readable as the database, and can be served in its place. */
START_TEST(backup_of_a_name_with_signs_is_a_database)
{
	struct path to = in_dir("it's 100%? #1.db");
	struct stat st;

	ck_assert_int_eq(chmod(live.db_path, 0640), 0);
	ck_assert_str_eq(back_up(to.text, "VERIFY"), "");
	ck_assert_int_eq(stat(to.text, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0640);
	live_check_file(to.text);
}
END_TEST

static int
run_shell(char *command)
{
	char sh[] = "sh", c[] = "-c";
	char *argv[] = { sh, c, command, NULL };
	int status = -1;
	pid_t pid;

	ck_assert_int_eq(
	    posix_spawnp(&pid, "sh", NULL, NULL, argv, environ), 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

/* The shell's .backup knows its own directory. */
START_TEST(backup_by_the_shell_is_of_its_database)
{
	char command[1024];

	snprintf(command, sizeof(command),
	    "cd %s && \"$SQLPOOL_CLI\" -s %s app \"INSERT INTO b VALUES(7)\" "
	    "\".backup copy.db\"",
	    live.dir, live.socket_path);
	ck_assert_int_eq(run_shell(command), 0);
	live_check_file(in_dir("copy.db").text);
	ck_assert_int_eq(
	    live_read_file_int(in_dir("copy.db").text, "SELECT n FROM b"), 7);
	snprintf(command, sizeof(command),
	    "\"$SQLPOOL_CLI\" -s %s app \".backup %s\" 2>%s", live.socket_path,
	    in_dir("copy.db").text, in_dir("error").text);
	ck_assert_int_ne(run_shell(command), 0); /* it is there already */
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("backup");
	TCase *tc = tcase_create("backup");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, backup_under_writes_is_a_prefix_of_the_commits);
	tcase_add_test(
	    tc, backup_that_is_killed_leaves_no_half_file_at_its_path);
	tcase_add_test(tc, backup_whose_client_is_gone_leaves_nothing);
	tcase_add_test(tc, backup_says_how_far_it_is);
	tcase_add_test(tc, backup_does_not_keep_the_daemon_from_stopping);
	tcase_add_test(tc, backup_refuses_what_it_must_not_write);
	tcase_add_test(
	    tc, backup_takes_nothing_from_the_wal_of_the_copy_that_it_replaces);
	tcase_add_loop_test(tc, backup_knows_a_database_by_any_path, 0, 2);
	tcase_add_test(tc, backup_refuses_the_directory_of_databases);
	tcase_add_test(tc, backup_that_takes_too_long_is_given_up);
	tcase_add_test(tc, backup_of_a_name_with_signs_is_a_database);
	tcase_add_test(tc, backup_by_the_shell_is_of_its_database);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
