/* check_mishaps.c - what may happen to a daemon's files while it copies its WAL:
 * the database opens clean afterwards, nothing that was acknowledged is missing,
 * and the log says what happened. */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/live.h"

static struct live live;

static int64_t acknowledged;

/* Write until the daemon is gone or says no; gives why. */
static int
write_on(struct sqlpool_conn *conn, int64_t most)
{
	static char row[5000];
	int rc = 0;

	for (int64_t i = 0; i < most && rc == 0; i++) {
		rc = sqlpool_exec(conn, "INSERT INTO t(v) VALUES(?1)",
		    SQLPOOL_VALUES(SQLPOOL_BLOB(row, sizeof(row))));
		acknowledged += rc == 0;
	}
	return rc;
}

/* Everything acknowledged is there, and at most one write more, of which nobody
 * knew. */
static void
assert_whole(void)
{
	int64_t n = live_read_file_int(
	    live.db_path, "SELECT count(*) FROM t WHERE length(v) = 5000");

	live_check_file(live.db_path);
	ck_assert_msg(n == acknowledged || n == acknowledged + 1,
	    "%" PRId64 " rows, not %" PRId64, n, acknowledged);
}

static struct sqlpool_conn *
begin(const char *const *options, void (*before_exec)(void))
{
	struct sqlpool_conn *conn;

	live_init(&live);
	live.before_exec = before_exec;
	acknowledged = 0;
	live_start(&live, options);
	conn = live_connect_once(&live, "test"); /* no other one comes */
	live_exec(conn, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
	return conn;
}

/* --- Killed in the middle of a checkpoint ----------------------------------------- */

static rlim_t file_limit;

/* The write that makes a file longer than this kills the process (setrlimit(2),
 * SIGXFSZ).  Only the database file grows so long, and only a checkpoint writes
 * that. */
static void
kill_at_limit(void)
{
	struct rlimit limit = { file_limit, RLIM_INFINITY };
	struct rlimit no_core = { 0, 0 };

	signal(SIGXFSZ, SIG_DFL);
	setrlimit(RLIMIT_CORE, &no_core);
	setrlimit(RLIMIT_FSIZE, &limit);
}

START_TEST(a_daemon_killed_in_a_checkpoint_loses_nothing)
{
	struct sqlpool_conn *conn;
	int status;

	/* somewhere in a page, in another checkpoint each time */
	file_limit = 1500000 + (rlim_t)_i * 111111;
	/* (what a killed process wrote is there without a sync, too) */
	conn = begin(LIVE_OPTIONS("wal_limit=1MB", "wal_gate_time=50ms",
			 "synchronous=normal"),
	    kill_at_limit);
	ck_assert_int_ne(write_on(conn, 100000), 0);
	sqlpool_close(conn);
	status = live_wait_exit(&live, 10000);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ,
	    "wait status %#x", (unsigned)status);
	live.before_exec = NULL;
	live_start(&live, NULL);
	conn = live_connect(&live, "test");
	ck_assert_int_ge(
	    live_get_int(conn, "SELECT count(*) FROM t"), acknowledged);
	sqlpool_close(conn);
	live_stop(&live);
	assert_whole();
	live_fini(&live);
}
END_TEST

/* --- Files removed ------------------------------------------------------------------ */

static bool
is_said(const void *arg)
{
	char *log = live_read_log(&live);
	bool said = strstr(log, arg) != NULL;

	free(log);
	return said;
}

/* Other processes may have it open (access = shared). */
START_TEST(a_removed_shm_or_wal_file_stops_writing_and_is_said)
{
	static const char *const ends[] = { "-shm", "-wal" };
	char path[LIVE_PATH_MAX + 8], text[64];
	struct sqlpool_conn *conn;

	conn = begin(LIVE_OPTIONS("access=shared"), NULL);
	ck_assert_int_eq(write_on(conn, 100), 0);
	snprintf(path, sizeof(path), "%s%s", live.db_path, ends[_i]);
	ck_assert_int_eq(unlink(path), 0);
	proc_wait_until(
	    is_said, "was removed or replaced while it was in use", "the log");
	ck_assert_int_eq(write_on(conn, 1), -SQLPOOL_ERR_DATABASE_DOWN);
	snprintf(text, sizeof(text), "its %s file was removed", ends[_i]);
	ck_assert_ptr_nonnull(strstr(sqlpool_get_error(conn)->message, text));
	ck_assert_int_eq(
	    live_get_int(conn, "SELECT count(*) FROM t"), acknowledged);
	sqlpool_close(conn);
	live_stop(&live);
	live_start(&live, LIVE_OPTIONS("access=shared"));
	conn = live_connect(&live, "test");
	ck_assert_int_eq(
	    live_get_int(conn, "SELECT count(*) FROM t"), acknowledged);
	ck_assert_int_eq(write_on(conn, 100), 0);
	sqlpool_close(conn);
	live_stop(&live);
	assert_whole();
	live_fini(&live);
}
END_TEST

/* What was written until then is only there, and nothing that is written later
 * may go there. */
START_TEST(a_removed_wal_file_loses_nothing)
{
	char path[LIVE_PATH_MAX + 8];
	struct sqlpool_conn *conn;

	conn = begin(NULL, NULL);
	ck_assert_int_eq(write_on(conn, 100), 0);
	snprintf(path, sizeof(path), "%s-wal", live.db_path);
	ck_assert_int_eq(unlink(path), 0);
	proc_wait_until(is_said,
	    "app.db, or its WAL, was replaced or deleted while it was open",
	    "the log");
	ck_assert_int_eq(
	    live_get_int(conn, "SELECT count(*) FROM t"), acknowledged);
	ck_assert_int_eq(write_on(conn, 100), 0);
	ck_assert_int_eq(
	    live_get_int(conn, "SELECT count(*) FROM t"), acknowledged);
	live_kill(&live);
	sqlpool_close(conn);
	assert_whole();
	live_fini(&live);
}
END_TEST

START_TEST(the_rule_for_checkpoints_is_said_at_start)
{
	struct sqlpool_conn *conn = begin(NULL, NULL);

	sqlpool_close(conn);
	proc_wait_until(is_said, "WAL-reset bug", "the log");
	live_stop(&live);
	live_fini(&live);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("mishaps");
	TCase *tc = tcase_create("mishaps");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(
	    tc, a_daemon_killed_in_a_checkpoint_loses_nothing, 0, 6);
	tcase_add_loop_test(
	    tc, a_removed_shm_or_wal_file_stops_writing_and_is_said, 0, 2);
	tcase_add_test(tc, a_removed_wal_file_loses_nothing);
	tcase_add_test(tc, the_rule_for_checkpoints_is_said_at_start);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? 0 : 1;
}
