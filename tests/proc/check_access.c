/* check_access.c - who may do what: users and groups of real processes.
 *
 * Needs root, to become others; they are numbers that nobody has. */
#include <check.h>
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

enum {
	READER = 20001,
	WRITER = 20002,
	ADMIN = 20003,
	OBSERVER = 20004,
	STRANGER = 20005,
	READERS = 30001, /* groups */
	WRITERS = 30002,
	OTHERS = 30003,
	OWNER = 20010, /* of the socket */
};

static struct live live;

static bool
start(const char *const *options)
{
	if (geteuid() != 0) {
		printf("skipped: only root can become other users\n");
		return false;
	}
	setenv("TMPDIR", "/tmp", 1); /* where they can get at the socket */
	live_init(&live);
	ck_assert_int_eq(chmod(live.dir, 0755), 0);
	live_start(&live, options);
	return true;
}

static void
stop(void)
{
	live_stop(&live);
	live_fini(&live);
}

/* Somebody, and what it does in a process of its own. */
struct somebody {
	uid_t uid;
	gid_t gid, group; /* group: a supplementary one, or 0 */
	void (*act)(const void *arg);
	const void *arg;
};

static void
be_somebody(void *arg)
{
	const struct somebody *s = arg;
	gid_t groups[] = { s->gid, s->group };

	if (setgroups(s->group ? 2 : 1, groups) < 0 || setgid(s->gid) < 0 ||
	    setuid(s->uid) < 0)
		proc_fail("cannot become %d: %s", (int)s->uid, strerror(errno));
	s->act(s->arg);
}

static void
act_as(const struct somebody *s)
{
	struct somebody copy = *s;

	proc_join(proc_fork(be_somebody, &copy));
}

static void
act_as_user(uid_t uid, void (*act)(const void *arg), const void *arg)
{
	act_as(&(struct somebody){ uid, uid, 0, act, arg });
}

/* It was refused, and says by which rule. */
static void
expect_denied(const struct sqlpool_error *e, const char *what, const char *says)
{
	PROC_CHECK(e->code == SQLPOOL_ERR_ACCESS_DENIED &&
		e->outcome == SQLPOOL_NOT_APPLIED,
	    "%s: %d %s", what, e->code, e->message);
	PROC_CHECK(strstr(e->message, says) != NULL,
	    "%s: it does not say \"%s\": %s", what, says, e->message);
}

static void
read_one(const void *arg)
{
	struct sqlpool_conn *conn = live_connect(&live, "test");
	(void)arg;

	PROC_CHECK(live_get_int(conn, "SELECT 7") == 7, "no 7");
	sqlpool_close(conn);
}

static void
write_one(const void *arg)
{
	struct sqlpool_conn *conn = live_connect(&live, "test");
	(void)arg;

	live_exec(conn, "INSERT INTO t VALUES (1)");
	live_exec(conn, "BEGIN IMMEDIATE");
	live_exec(conn, "INSERT INTO t VALUES (1)");
	live_exec(conn, "COMMIT");
	PROC_CHECK(live_get_int(conn, "SELECT count(*) FROM t") > 0, "no row");
	sqlpool_close(conn);
}

static void
make_table(void)
{
	struct sqlpool_conn *conn = live_connect(&live, "test");

	live_exec(conn, "CREATE TABLE t(a)");
	sqlpool_close(conn);
}

static int64_t
count_rows(void)
{
	struct sqlpool_conn *conn = live_connect(&live, "test");
	int64_t n = live_get_int(conn, "SELECT count(*) FROM t");

	sqlpool_close(conn);
	return n;
}

START_TEST(who_may_connect_may_read_and_write_as_it_comes)
{
	if (!start(LIVE_OPTIONS("socket_mode=0666")))
		return;
	make_table();
	act_as_user(STRANGER, read_one, NULL);
	act_as_user(STRANGER, write_one, NULL);
	ck_assert_int_eq(count_rows(), 2);
	stop();
}
END_TEST

#define RIGHTS                                                              \
	"socket_mode=0666", "app.readers=20001,@30001",                     \
	    "app.writers=20002 @30002", "app.admins=20003", "admins=20009", \
	    "observers=20004"

/* --- A reader --------------------------------------------------------------- */

static const char *const writes[] = {
	"INSERT INTO t VALUES (1)",
	"INSERT INTO t VALUES (1) RETURNING a",
	"WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
	"UPDATE t SET a = 2",
	"DELETE FROM t",
	"CREATE TABLE u(a)",
	"DROP TABLE t",
	"VACUUM",
	"ANALYZE",
	"REINDEX",
	"PRAGMA optimize",
	"PRAGMA incremental_vacuum",
	"BEGIN IMMEDIATE",
	"BEGIN EXCLUSIVE",
};

static void
fail_to(struct sqlpool_conn *conn, const char *sql)
{
	PROC_CHECK(
	    sqlpool_exec(conn, sql, NULL, 0) < 0, "it was allowed: %s", sql);
	expect_denied(sqlpool_get_error(conn), sql,
	    "uid 20001 may not write to database app: it is not among the "
	    "writers, which are 20002 @30002");
}

static void
try_statements(struct sqlpool_conn *conn)
{
	for (size_t i = 0; i < COUNT(writes); i++)
		fail_to(conn, writes[i]);
	for (size_t i = 0; i < 4; i++) {
		live_exec(conn, i % 2 ? "SAVEPOINT s" : "BEGIN");
		if (i > 1) /* a snapshot that would become a write */
			live_get_int(conn, "SELECT count(*) FROM t");
		fail_to(conn, writes[0]);
		live_exec(conn, "ROLLBACK");
	}
}

static void
try_calls(struct sqlpool_conn *conn)
{
	struct sqlpool_request *request = sqlpool_request_new();
	struct sqlpool_result *result = NULL;
	struct sqlpool_stmt *st = NULL;

	PROC_CHECK(sqlpool_begin(conn, SQLPOOL_TX_IMMEDIATE) < 0, "begin");
	expect_denied(sqlpool_get_error(conn), "begin", "writers");
	PROC_CHECK(sqlpool_script(conn, "SELECT 1; INSERT INTO t VALUES (1)",
		       SQLPOOL_SCRIPT_NOT_ATOMIC) < 0,
	    "script");
	expect_denied(sqlpool_get_error(conn), "script", "writers");
	PROC_CHECK(sqlpool_prepare(conn, writes[0], &st) == 0, "prepare");
	PROC_CHECK(sqlpool_stmt_exec(st, NULL, 0) < 0, "prepared");
	expect_denied(sqlpool_get_error(conn), "prepared", "writers");
	PROC_CHECK(sqlpool_request_add(request, "SELECT 1", NULL, 0) == 0 &&
		sqlpool_request_add(request, writes[0], NULL, 0) == 1,
	    "request");
	PROC_CHECK(sqlpool_run_atomic(conn, request, &result) < 0, "a batch");
	expect_denied(sqlpool_get_error(conn), "a batch", "writers");
	sqlpool_result_free(result);
	sqlpool_request_free(request);
	sqlpool_stmt_free(st);
}

/* Texts that a worker does not prepare: what they are is found out elsewhere. */
static void
try_long_texts(struct sqlpool_conn *conn)
{
	static char sql[100000];

	snprintf(sql, sizeof(sql), "%-99000s", "SELECT count(*) FROM t");
	PROC_CHECK(live_get_int(conn, sql) == 1, "a long read");
	snprintf(sql, sizeof(sql), "%-99000s", writes[0]);
	fail_to(conn, sql);
}

static void
only_read(const void *arg)
{
	struct sqlpool_conn *conn = live_connect(&live, "test");
	(void)arg;

	live_get_int(conn, "SELECT count(*) FROM t");
	try_long_texts(conn);
	try_statements(conn);
	try_calls(conn);
	live_exec(conn, "EXPLAIN INSERT INTO t VALUES (1)");
	live_exec(conn, "BEGIN");
	PROC_CHECK(live_get_int(conn, "SELECT count(*) FROM t") == 1, "rows");
	live_exec(conn, "COMMIT");
	sqlpool_close(conn);
}

START_TEST(a_reader_writes_in_no_way)
{
	if (!start(LIVE_OPTIONS(RIGHTS)))
		return;
	make_table();
	act_as_user(0, write_one, NULL);
	act_as_user(0, write_one, NULL);
	{
		struct sqlpool_conn *conn = live_connect(&live, "test");

		live_exec(conn, "DELETE FROM t WHERE rowid > 1");
		sqlpool_close(conn);
	}
	act_as_user(READER, only_read, NULL);
	ck_assert_int_eq(count_rows(), 1);
	ck_assert_int_gt(
	    live_get_stat(&live, "access_denied"), (int64_t)COUNT(writes) + 4);
	stop();
}
END_TEST

/* --- Users and groups --------------------------------------------------------- */

static void
be_refused(const void *arg)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	struct sqlpool_conn *conn = NULL;

	options.socket_path = live.socket_path;
	options.database = arg;
	PROC_CHECK(sqlpool_open(&options, &conn) < 0, "it was let in");
	expect_denied(sqlpool_get_error(conn), "open",
	    strcmp(arg, "app") == 0 ? "may not read database app: it is not "
				      "among the readers, which are "
				      "20001,@30001"
				    : "may not look at @admin: it is not "
				      "among the observers, which are 20004");
	sqlpool_close(conn);
}

/* Each kind of request, on a connection that did not say which database. */
static void
be_refused_later(const void *arg)
{
	static const enum msg_type types[] = { TYPE_DESCRIBE, TYPE_EXEC };
	struct rawconn c;
	struct sqlpool_conn *conn = live_connect(&live, "test");
	struct sqlpool_stmt *st = NULL;
	(void)arg;

	PROC_CHECK(sqlpool_exec(conn, "SELECT 1", NULL, 0) < 0, "select");
	expect_denied(sqlpool_get_error(conn), "select", "readers");
	PROC_CHECK(sqlpool_exec(conn, "INSERT INTO t VALUES (1)", NULL, 0) < 0,
	    "insert");
	expect_denied(sqlpool_get_error(conn), "insert", "readers");
	PROC_CHECK(sqlpool_prepare(conn, "SELECT 1", &st) < 0, "prepare");
	expect_denied(sqlpool_get_error(conn), "prepare", "readers");
	PROC_CHECK(sqlpool_begin(conn, SQLPOOL_TX_READ) < 0, "begin");
	expect_denied(sqlpool_get_error(conn), "begin", "readers");
	PROC_CHECK(sqlpool_script(conn, "SELECT 1", 0) < 0, "script");
	expect_denied(sqlpool_get_error(conn), "script", "readers");
	PROC_CHECK(sqlpool_ping(conn) == 0, "ping");
	sqlpool_close(conn);
	raw_open(&c, live.socket_path);
	for (size_t i = 0; i < COUNT(types); i++) {
		struct msg_out m;
		uint64_t id = ++c.last_id;

		msg_begin_body(&m, &c.out, types[i], id, 0);
		msg_put_str(&m, ASK_sql, "SELECT 1");
		msg_end(&m, 1 << 20);
		raw_expect(&c, id, SQLPOOL_ERR_ACCESS_DENIED);
	}
	raw_close(&c);
}

static const struct {
	uid_t uid;
	gid_t gid, group;
	void (*act)(const void *arg);
	const char *arg;
} cases[] = {
	{ READER, OTHERS, 0, read_one, NULL },
	{ STRANGER, READERS, 0, read_one, NULL },
	{ STRANGER, OTHERS, READERS, read_one, NULL },
	{ WRITER, OTHERS, 0, write_one, NULL },
	{ READER, OTHERS, WRITERS, write_one, NULL },
	{ STRANGER, WRITERS, 0, write_one, NULL },
	{ ADMIN, OTHERS, 0, write_one, NULL },
	{ 0, OTHERS, 0, write_one, NULL },
	{ STRANGER, OTHERS, 0, be_refused, "app" },
	{ READERS, OTHERS, 0, be_refused, "app" },       /* a group's number */
	{ STRANGER, READER, WRITER, be_refused, "app" }, /* users' numbers */
	{ OBSERVER, OTHERS, 0, be_refused, "app" },
	{ STRANGER, OTHERS, 0, be_refused_later, NULL },
	{ STRANGER, OTHERS, 0, be_refused, "@admin" },
	{ ADMIN, OTHERS, 0, be_refused, "@admin" }, /* of app alone */
};

START_TEST(users_and_groups_have_their_rights)
{
	if (!start(LIVE_OPTIONS(RIGHTS)))
		return;
	make_table();
	for (size_t i = 0; i < COUNT(cases); i++)
		act_as(&(struct somebody){ cases[i].uid, cases[i].gid,
		    cases[i].group, cases[i].act, cases[i].arg });
	stop();
}
END_TEST

static void
look_at_admin(const void *arg)
{
	(void)arg;
	PROC_CHECK(live_get_stat(&live, "requests") > 0, "no requests");
}

START_TEST(observers_and_admins_of_all_look_at_admin)
{
	if (!start(LIVE_OPTIONS(RIGHTS)))
		return;
	act_as_user(OBSERVER, look_at_admin, NULL);
	act_as_user(20009, look_at_admin, NULL);
	act_as_user(0, look_at_admin, NULL);
	stop();
}
END_TEST

static void
become_writer(void)
{
	char uid[16];

	if (setgid(WRITER) < 0 || setuid(WRITER) < 0)
		proc_fail("setuid: %s", strerror(errno));
	snprintf(uid, sizeof(uid), "%d", WRITER);
	setenv("SQLPOOLD_USER", uid, 1);
}

START_TEST(the_daemons_own_user_may_do_everything)
{
	if (geteuid() != 0)
		return;
	setenv("TMPDIR", "/tmp", 1);
	live_init(&live);
	ck_assert_int_eq(chmod(live.dir, 0777), 0);
	live.before_exec = become_writer;
	live_start(
	    &live, LIVE_OPTIONS("socket_mode=0666", "readers=", "writers="));
	make_table(); /* root */
	act_as_user(WRITER, write_one, NULL);
	act_as_user(WRITER, look_at_admin, NULL);
	stop();
}
END_TEST

/* --- The socket ------------------------------------------------------------- */

START_TEST(the_socket_has_its_mode_owner_and_group)
{
	struct stat st;

	if (!start(LIVE_OPTIONS("socket_mode=0620", "socket_owner=20010",
		"socket_group=30003")))
		return;
	ck_assert_int_eq(stat(live.socket_path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0620);
	ck_assert_uint_eq(st.st_uid, OWNER);
	ck_assert_uint_eq(st.st_gid, OTHERS);
	act_as_user(OWNER, read_one, NULL);
	stop();
}
END_TEST

/* --- Limits per user ---------------------------------------------------------- */

static void
connect_too_often(const void *arg)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	struct sqlpool_conn *conn[3];
	(void)arg;

	options.socket_path = live.socket_path;
	conn[0] = live_connect(&live, "test");
	conn[1] = live_connect(&live, "test");
	PROC_CHECK(sqlpool_open(&options, &conn[2]) < 0, "a third");
	PROC_CHECK(
	    sqlpool_get_error(conn[2])->code == SQLPOOL_ERR_TOO_MANY_CLIENTS &&
		strstr(sqlpool_get_error(conn[2])->message,
		    "uid 20001 has 2 connections already, the limit for one "
		    "user (max_user_clients)"),
	    "%s", sqlpool_get_error(conn[2])->message);
	for (int i = 0; i < 3; i++)
		sqlpool_close(conn[i]);
}

static bool
has_no_client_of_others(const void *arg)
{
	int64_t open;
	(void)arg;

	open = live_get_stat(&live, "clients_accepted") -
	    live_get_stat(&live, "clients_closed");
	return open <= 2; /* of @admin itself */
}

START_TEST(a_user_has_so_many_connections)
{
	if (!start(LIVE_OPTIONS("socket_mode=0666", "max_user_clients=2")))
		return;
	for (int i = 0; i < 3; i++) {
		act_as_user(READER, connect_too_often, NULL);
		act_as_user(WRITER, read_one, NULL);
		proc_wait_until(
		    has_no_client_of_others, NULL, "all are closed");
	}
	stop();
}
END_TEST

static void
queue_too_much(const void *arg)
{
	struct rawconn a, b, c;
	uint64_t id[4];
	(void)arg;

	raw_open(&a, live.socket_path);
	raw_open(&b, live.socket_path);
	id[0] = raw_put_exec(&a, 0, "INSERT INTO t VALUES (1)");
	id[1] = raw_put_exec(&a, 0, "INSERT INTO t VALUES (2)");
	raw_flush(&a);
	live_wait_queue(&live, 2);
	id[2] = raw_put_exec(&b, 0, "INSERT INTO t VALUES (3)");
	id[3] = raw_put_exec(&b, 0, "INSERT INTO t VALUES (4)");
	raw_flush(&b);
	live_wait_queue(&live, 3);
	raw_expect(&b, id[3], SQLPOOL_ERR_TOO_MANY_REQUESTS);
	/* what does not wait is not counted */
	raw_open(&c, live.socket_path);
	raw_expect_int(&c, raw_put_exec(&c, 0, "SELECT 7"));
	raw_close(&c);
	raw_put_cancel(&b, id[2]);
	raw_expect(&b, id[2], SQLPOOL_ERR_CANCELLED);
	raw_put_cancel(&a, id[1]);
	raw_expect(&a, id[1], SQLPOOL_ERR_CANCELLED);
	raw_put_cancel(&a, id[0]);
	raw_expect(&a, id[0], SQLPOOL_ERR_CANCELLED);
	raw_close(&a);
	raw_close(&b);
}

START_TEST(a_user_has_so_many_requests_under_way)
{
	struct sqlpool_conn *conn;

	/* live_wait_queue looks at @admin: observers */
	if (!start(LIVE_OPTIONS(
		"socket_mode=0666", "max_user_requests=3", "observers=*")))
		return;
	make_table();
	conn = live_connect(&live, "holder");
	for (int i = 0; i < 3; i++) {
		live_exec(conn, "BEGIN IMMEDIATE");
		live_exec(conn, "INSERT INTO t VALUES (0)");
		act_as_user(READER, queue_too_much, NULL);
		live_exec(conn, "COMMIT");
	}
	sqlpool_close(conn);
	ck_assert_int_eq(count_rows(), 3);
	stop();
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("access");
	TCase *tc = tcase_create("access");

	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, who_may_connect_may_read_and_write_as_it_comes);
	tcase_add_test(tc, a_reader_writes_in_no_way);
	tcase_add_test(tc, users_and_groups_have_their_rights);
	tcase_add_test(tc, observers_and_admins_of_all_look_at_admin);
	tcase_add_test(tc, the_daemons_own_user_may_do_everything);
	tcase_add_test(tc, the_socket_has_its_mode_owner_and_group);
	tcase_add_test(tc, a_user_has_so_many_connections);
	tcase_add_test(tc, a_user_has_so_many_requests_under_way);
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
