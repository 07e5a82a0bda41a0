/* check_stop.c - SIGTERM drains: what is under way ends well, then all is put
 * away: exit status 0, the WAL empty, the socket gone. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "proto/error.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

/* Ending when there is nothing to wait for; a tick is 100 ms. */
#define SOON_MS INT64_C(1000)
/* Who does not end is told so, and has a second to take that. */
#define TOLD_MS INT64_C(2000)

static struct live live;

static void
start(const char *const *options)
{
	struct sqlpool_conn *conn;

	live_init(&live);
	live_start(&live, options);
	conn = live_connect(&live, "setup");
	live_exec(conn, "CREATE TABLE t(who, n)");
	sqlpool_close(conn);
}

static int64_t
count_rows(const char *who)
{
	char sql[100];

	snprintf(
	    sql, sizeof(sql), "SELECT count(*) FROM t WHERE who = '%s'", who);
	return live_read_file_int(live.db_path, sql);
}

/* It ends within the time, and leaves everything as it should. */
static void
expect_end(int64_t timeout_ms)
{
	int status = live_wait_exit(&live, timeout_ms);
	char wal[LIVE_PATH_MAX + 8];
	struct stat st;
	char *log = live_read_log(&live);

	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
	    "wait status %#x: %s", (unsigned)status, log);
	ck_assert_msg(
	    !strstr(log, " error ") && !strstr(log, " warn "), "%s", log);
	free(log);
	snprintf(wal, sizeof(wal), "%s-wal", live.db_path);
	ck_assert_msg(stat(wal, &st) < 0 || st.st_size == 0, "the WAL is left");
	ck_assert_msg(access(live.socket_path, F_OK) < 0, "the socket is left");
	live_check_file(live.db_path);
}

static void
expect_goaway(struct rawconn *c)
{
	struct rawreply r;

	ck_assert(raw_take(c, &r));
	ck_assert_uint_eq(r.head.type, TYPE_GOAWAY);
	ck_assert_uint_eq(r.head.id, 0);
}

static void
expect_ok(struct rawconn *c, uint64_t id)
{
	raw_expect(c, id, 0);
}

/* --- What is under way ---------------------------------------------------- */

static const int signals[] = { SIGTERM, SIGINT };

START_TEST(what_is_under_way_ends_well)
{
	struct rawconn holder, waiter, reader, idle;
	uint64_t write_id, read_id;

	/* however slow the machine is */
	start(LIVE_OPTIONS("shutdown_grace=60s"));
	raw_open(&holder, live.socket_path);
	raw_open(&waiter, live.socket_path);
	raw_open(&reader, live.socket_path);
	raw_open(&idle, live.socket_path);
	raw_put_begin(&holder, 0, TX_MODE_IMMEDIATE);
	expect_ok(&holder,
	    raw_put_exec(&holder, 0, "INSERT INTO t VALUES ('holder', 1)"));
	write_id = raw_put_exec(
	    &waiter, 0, "INSERT INTO t VALUES ('waiter', 1)");
	raw_flush(&waiter);
	live_wait_queue(&live, 1);
	read_id = raw_put_exec(&reader, 0,
	    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c "
	    "LIMIT 2000000) SELECT count(*) FROM c");
	raw_flush(&reader);
	live_wait_busy(&live, "readers");
	kill(live.pid, signals[_i]);
	expect_goaway(&holder);
	expect_goaway(&idle);
	raw_expect_end(&idle);
	/* the transaction goes on to its end */
	expect_ok(&holder,
	    raw_put_exec(&holder, 0, "INSERT INTO t VALUES ('holder', 2)"));
	expect_ok(&holder, raw_put_end(&holder, 0, true));
	raw_expect_end(&holder);
	expect_ok(&waiter, write_id);
	raw_expect_end(&waiter);
	ck_assert_int_eq(raw_expect_int(&reader, read_id), 2000000);
	raw_expect_end(&reader);
	expect_end(SOON_MS);
	ck_assert_int_eq(count_rows("holder"), 2);
	ck_assert_int_eq(count_rows("waiter"), 1);
	raw_close(&holder);
	raw_close(&waiter);
	raw_close(&reader);
	raw_close(&idle);
	live_fini(&live);
}
END_TEST

/* Connect while it drains: refused, or told so, but not left waiting. */
static void
expect_refusal(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct rawconn c = { .fd = socket(
				 AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) };
	int64_t began_us = clock_now_us();
	struct rawreply r;

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", live.socket_path);
	if (connect(c.fd, (struct sockaddr *)&sa, sizeof(sa)) == 0) {
		raw_put_hello(&c);
		raw_send(&c, c.out.p, c.out.n);
		ck_assert_msg(
		    proc_wait_readable(c.fd, proc_get_deadline_us(SOON_MS)),
		    "who connects now is left waiting");
		while (raw_take(&c, &r))
			ck_assert_msg(r.head.type == TYPE_GOAWAY ||
				r.tell.code == ERR_SHUTTING_DOWN,
			    "type %llu", (unsigned long long)r.head.type);
	}
	ck_assert_int_lt(
	    (clock_now_us() - began_us) / 1000, SOON_MS * proc_get_slowness());
	raw_close(&c);
}

START_TEST(nothing_new_is_begun_while_it_drains)
{
	struct rawconn c;

	start(LIVE_OPTIONS("shutdown_grace=1min"));
	raw_open(&c, live.socket_path);
	raw_put_begin(&c, 1, TX_MODE_IMMEDIATE);
	expect_ok(&c, raw_put_exec(&c, 1, "INSERT INTO t VALUES ('old', 1)"));
	kill(live.pid, SIGTERM);
	expect_goaway(&c);
	raw_expect(&c, raw_put_exec(&c, 0, "INSERT INTO t VALUES ('new', 1)"),
	    ERR_SHUTTING_DOWN);
	raw_expect(&c, raw_put_exec(&c, 0, "SELECT count(*) FROM t"),
	    ERR_SHUTTING_DOWN);
	raw_expect(&c, raw_put_begin(&c, 2, TX_MODE_READ), ERR_SHUTTING_DOWN);
	expect_refusal();
	expect_ok(&c, raw_put_end(&c, 1, true));
	raw_expect_end(&c);
	expect_end(SOON_MS);
	ck_assert_int_eq(count_rows("old"), 1);
	ck_assert_int_eq(count_rows("new"), 0);
	raw_close(&c);
	live_fini(&live);
}
END_TEST

/* --- What does not end ---------------------------------------------------- */

/* A transaction that is left open, and statements that would run for ever. */
static const struct {
	const char *sql;
	const char *thread; /* that runs it; NULL: it is answered */
} stubborn[] = {
	{ "INSERT INTO t VALUES ('stubborn', 1)", NULL },
	{ "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
	  "SELECT x, zeroblob(1000) FROM c",
	    NULL },
	{ "INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + "
	  "1 FROM c) SELECT 'stubborn', x FROM c",
	    "writers" },
	{ "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
	  "SELECT max(x) FROM c",
	    "readers" },
};

static void
be_stubborn(struct rawconn *c, int i)
{
	struct rawreply r;

	raw_open(c, live.socket_path);
	raw_put_begin(c, 0, TX_MODE_DEFERRED);
	raw_put_exec(c, 0, stubborn[i].sql);
	raw_flush(c);
	if (stubborn[i].thread) {
		live_wait_busy(&live, stubborn[i].thread);
		return;
	}
	/* its answer has come, or begun */
	do {
		ck_assert(raw_take(c, &r) && r.tell.code == 0);
	} while (r.head.id != c->last_id);
}

START_TEST(what_does_not_end_is_ended_after_the_grace_time)
{
	struct rawconn c;
	int64_t began_us, took_ms;

	start(LIVE_OPTIONS("shutdown_grace=300ms"));
	be_stubborn(&c, _i);
	began_us = clock_now_us();
	kill(live.pid, SIGTERM);
	expect_end(300 + TOLD_MS);
	took_ms = (clock_now_us() - began_us) / 1000;
	ck_assert_msg(
	    took_ms >= 300, "ended after %lld ms", (long long)took_ms);
	ck_assert_int_eq(count_rows("stubborn"), 0);
	raw_close(&c);
	live_fini(&live);
}
END_TEST

/* Two signals in a row would be one. */
static bool
has_noticed(const void *arg)
{
	char *log = live_read_log(arg);
	bool noticed = strstr(log, "stopping") != NULL;

	free(log);
	return noticed;
}

START_TEST(a_second_signal_ends_it_at_once)
{
	struct rawconn c;

	start(LIVE_OPTIONS("shutdown_grace=1h"));
	be_stubborn(&c, _i);
	kill(live.pid, SIGTERM);
	proc_wait_until(has_noticed, &live, "the first signal's effect");
	kill(live.pid, SIGTERM);
	expect_end(TOLD_MS);
	ck_assert_int_eq(count_rows("stubborn"), 0);
	raw_close(&c);
	live_fini(&live);
}
END_TEST

/* --- Under load ----------------------------------------------------------- */

#define PROCESSES 4
#define THREADS   4

struct tally {
	_Atomic int64_t acked, unknown;
	_Atomic int busy; /* threads that have begun */
};

static struct tally *tally;

/* Write until it is refused; a library that got GOAWAY refuses by itself. */
static void *
write_rows(void *arg)
{
	struct sqlpool_conn *conn = live_connect_once(&live, "writer");
	const struct sqlpool_error *e;

	(void)arg;
	live_exec(conn, "INSERT INTO t VALUES ('load', 0)");
	atomic_fetch_add(&tally->acked, 1);
	atomic_fetch_add(&tally->busy, 1);
	while (sqlpool_exec(
		   conn, "INSERT INTO t VALUES ('load', 1)", NULL, 0) == 0)
		atomic_fetch_add(&tally->acked, 1);
	e = sqlpool_get_error(conn);
	PROC_CHECK(e->code == SQLPOOL_ERR_SHUTTING_DOWN ||
		e->code == SQLPOOL_ERR_CONNECTION_LOST,
	    "%s: %s", e->name, e->message);
	if (e->outcome == SQLPOOL_UNKNOWN)
		atomic_fetch_add(&tally->unknown, 1);
	sqlpool_close(conn);
	return NULL;
}

static void
run_writers(void *arg)
{
	pthread_t threads[THREADS];

	(void)arg;
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, write_rows, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static bool
are_busy(const void *arg)
{
	(void)arg;
	return atomic_load(&tally->busy) == PROCESSES * THREADS;
}

START_TEST(under_load_it_stops_without_a_doubt_about_any_write)
{
	pid_t pids[PROCESSES];

	start(NULL);
	tally = proc_share(sizeof(*tally));
	for (int i = 0; i < PROCESSES; i++)
		pids[i] = proc_fork(run_writers, NULL);
	proc_wait_until(are_busy, NULL, "the writers");
	kill(live.pid, SIGTERM);
	expect_end(5 * SOON_MS); /* with a WAL to copy */
	for (int i = 0; i < PROCESSES; i++)
		proc_join(pids[i]);
	/* all were answered: it drains */
	ck_assert_int_eq(tally->unknown, 0);
	ck_assert_int_eq(count_rows("load"), tally->acked);
	live_fini(&live);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("stop");
	TCase *tc = tcase_create("drain");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 20);
	tcase_add_loop_test(tc, what_is_under_way_ends_well, 0, 2);
	tcase_add_test(tc, nothing_new_is_begun_while_it_drains);
	tcase_add_test(tc, under_load_it_stops_without_a_doubt_about_any_write);
	suite_add_tcase(suite, tc);
	tc = tcase_create("stubborn");
	tcase_set_timeout(tc, 20);
	tcase_add_loop_test(
	    tc, what_does_not_end_is_ended_after_the_grace_time, 0, 4);
	tcase_add_loop_test(tc, a_second_signal_ends_it_at_once, 0, 2);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
