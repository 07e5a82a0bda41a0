/* check_restart.c - a daemon is stopped or killed and started again under the
 * library's connections: reads never fail, a graceful restart is not noticed, and
 * after a kill the outcomes of writes are the truth. */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/lib/live.h"

#define WRITERS  4
#define READERS  2
#define RESTARTS 3
/* Requests of each thread between two restarts, at least. */
#define OPS 16

static struct live live;

struct worker {
	pthread_t thread;
	int64_t number;
	_Atomic int64_t ops;    /* that it has done */
	int64_t applied, maybe; /* rows of its own in table log */
};

static struct worker writers[WRITERS], readers[READERS];
static atomic_bool over;
static bool killing;

/* --- Writing ---------------------------------------------------------------- */

/* Count what a write said of itself. */
static void
count_write(struct sqlpool_conn *conn, struct worker *w, int rc, int64_t rows)
{
	const struct sqlpool_error *e = sqlpool_get_error(conn);

	atomic_fetch_add(&w->ops, 1);
	if (rc == 0) {
		w->applied += rows;
		return;
	}
	PROC_CHECK(killing && e->code == SQLPOOL_ERR_CONNECTION_LOST, "%s: %s",
	    e->name, e->message);
	if (e->outcome != SQLPOOL_NOT_APPLIED)
		w->maybe += rows;
}

static void
write_one(
    struct sqlpool_conn *conn, struct sqlpool_stmt *stmt, struct worker *w)
{
	count_write(conn, w,
	    sqlpool_stmt_exec(stmt, SQLPOOL_VALUES(SQLPOOL_INT(w->number))), 1);
}

static void
write_rows(struct sqlpool_conn *conn, struct worker *w)
{
	struct sqlpool_request *request = sqlpool_request_new();
	struct sqlpool_result *result = NULL;

	for (int i = 0; i < 3; i++)
		PROC_CHECK(sqlpool_request_add(request,
			       i ? NULL : "INSERT INTO log VALUES (?1)",
			       SQLPOOL_VALUES(SQLPOOL_INT(w->number))) == i,
		    "adding a row");
	count_write(conn, w, sqlpool_run_atomic(conn, request, &result), 3);
	sqlpool_result_free(result);
	sqlpool_request_free(request);
}

/* Whatever goes wrong before COMMIT is sent, nothing was applied. */
static void
write_transaction(struct sqlpool_conn *conn, struct worker *w)
{
	int rc = sqlpool_begin(conn, SQLPOOL_TX_IMMEDIATE);
	bool committing = false;

	for (int i = 0; i < 2 && rc == 0; i++)
		rc = sqlpool_exec(conn, "INSERT INTO log VALUES (?1)",
		    SQLPOOL_VALUES(SQLPOOL_INT(w->number)));
	if (rc == 0) {
		committing = true;
		rc = sqlpool_commit(conn);
	}
	count_write(conn, w, rc, rc == 0 || committing ? 2 : 0);
	if (sqlpool_in_transaction(conn)) {
		rc = sqlpool_rollback(conn);
		PROC_CHECK(
		    rc == 0, "rollback: %s", sqlpool_get_error(conn)->message);
	}
}

/* May be applied twice, and so never fails. */
static void
write_idempotent(struct sqlpool_conn *conn, struct worker *w)
{
	struct sqlpool_request *request = sqlpool_request_new();
	struct sqlpool_result *result = NULL;
	int rc;

	rc = sqlpool_request_add(request,
	    "INSERT INTO mark VALUES (?1, ?2) ON CONFLICT(id) DO UPDATE SET "
	    "n = excluded.n",
	    SQLPOOL_VALUES(
		SQLPOOL_INT(w->number), SQLPOOL_INT(atomic_load(&w->ops))));
	if (rc == 0)
		rc = sqlpool_request_set_option(request, SQLPOOL_IDEMPOTENT, 1);
	if (rc == 0)
		rc = sqlpool_run(conn, request, &result);
	PROC_CHECK(rc == 0, "idempotent: %s", sqlpool_get_error(conn)->message);
	sqlpool_result_free(result);
	sqlpool_request_free(request);
	atomic_fetch_add(&w->ops, 1);
}

static void *
run_writer(void *arg)
{
	struct worker *w = arg;
	struct sqlpool_conn *conn = live_connect(&live, "writer");
	struct sqlpool_stmt *stmt;

	PROC_CHECK(
	    sqlpool_prepare(conn, "INSERT INTO log VALUES (?1)", &stmt) == 0,
	    "prepare: %s", sqlpool_get_error(conn)->message);
	while (!atomic_load(&over)) {
		write_one(conn, stmt, w);
		write_rows(conn, w);
		write_transaction(conn, w);
		write_idempotent(conn, w);
	}
	sqlpool_stmt_free(stmt);
	sqlpool_close(conn);
	return NULL;
}

/* --- Reading ---------------------------------------------------------------- */

#define DEPTH 8

/* Let the writers have the processor, too. */
static void
keep_pace(const struct worker *w)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	while (atomic_load(&w->ops) > DEPTH * atomic_load(&writers[0].ops) &&
	    !atomic_load(&over))
		nanosleep(&pause, NULL);
}

/* A pipeline of reads that are not marked as such. */
static void
read_many(struct sqlpool_conn *conn, const struct sqlpool_request *request)
{
	struct sqlpool_result *results[DEPTH];
	int rc = 0;

	for (int i = 0; i < DEPTH && rc == 0; i++)
		rc = sqlpool_send(conn, request, &results[i]);
	PROC_CHECK(rc == 0, "send: %s", sqlpool_get_error(conn)->message);
	for (int i = 0; i < DEPTH; i++) {
		rc = sqlpool_next(results[i]);
		PROC_CHECK(rc == SQLPOOL_ROW, "read: %s",
		    sqlpool_result_error(results[i])->message);
		sqlpool_result_free(results[i]);
	}
}

static void *
run_reader(void *arg)
{
	struct worker *w = arg;
	struct sqlpool_conn *conn = live_connect(&live, "reader");
	struct sqlpool_request *request = sqlpool_request_new();

	PROC_CHECK(sqlpool_request_add(
		       request, "SELECT count(*) FROM log", NULL, 0) == 0,
	    "adding a step");
	while (!atomic_load(&over)) {
		read_many(conn, request);
		atomic_fetch_add(&w->ops, DEPTH);
		keep_pace(w);
	}
	sqlpool_request_free(request);
	sqlpool_close(conn);
	return NULL;
}

/* --- Restarting --------------------------------------------------------------- */

static void
start_workers(struct worker *workers, int n, void *(*run)(void *))
{
	for (int i = 0; i < n; i++) {
		workers[i] = (struct worker){ .number = i };
		PROC_CHECK(pthread_create(
			       &workers[i].thread, NULL, run, &workers[i]) == 0,
		    "pthread_create");
	}
}

static int64_t due;

static bool
are_due(const void *arg)
{
	(void)arg;
	for (int i = 0; i < WRITERS; i++)
		if (atomic_load(&writers[i].ops) < due)
			return false;
	for (int i = 0; i < READERS; i++)
		if (atomic_load(&readers[i].ops) < due)
			return false;
	return true;
}

static void
compare_rows(const struct worker *w)
{
	char sql[80];
	int64_t n;

	snprintf(sql, sizeof(sql), "SELECT count(*) FROM log WHERE who = %d",
	    (int)w->number);
	n = live_read_file_int(live.db_path, sql);
	ck_assert_msg(n >= w->applied && n <= w->applied + w->maybe,
	    "%d rows of %d that were acknowledged and %d in doubt", (int)n,
	    (int)w->applied, (int)w->maybe);
}

START_TEST(a_restart_is_as_good_as_the_library_says)
{
	struct sqlpool_conn *conn;

	killing = _i == 1;
	live_init(&live);
	live_start(&live, NULL);
	conn = live_connect(&live, "setup");
	live_exec(conn, "CREATE TABLE log(who)");
	live_exec(conn, "CREATE TABLE mark(id INTEGER PRIMARY KEY, n)");
	start_workers(writers, WRITERS, run_writer);
	start_workers(readers, READERS, run_reader);
	for (int i = 0; i < RESTARTS; i++) {
		due += OPS;
		proc_wait_until(are_due, NULL, "work between restarts");
		if (killing)
			live_kill(&live);
		else
			live_stop(&live);
		live_start(&live, NULL);
	}
	due += OPS;
	proc_wait_until(are_due, NULL, "work after restarts");
	atomic_store(&over, true);
	for (int i = 0; i < WRITERS; i++)
		pthread_join(writers[i].thread, NULL);
	for (int i = 0; i < READERS; i++)
		pthread_join(readers[i].thread, NULL);
	/* a connection that had nothing to do finds its way as well */
	ck_assert_int_gt(live_get_int(conn, "SELECT count(*) FROM log"), 0);
	sqlpool_close(conn);
	live_stop(&live);
	for (int i = 0; i < WRITERS; i++)
		compare_rows(&writers[i]);
	live_fini(&live);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("restart");
	TCase *tc = tcase_create("library");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_restart_is_as_good_as_the_library_says, 0, 2);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
