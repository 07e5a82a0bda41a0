/* check_crash.c - a daemon that dies by SIGKILL loses no acknowledged write
 * (P1).
 *
 * 32 writers keep a journal of what they sent and of what was acknowledged, in
 * memory that outlives both; after each death the file must hold what the
 * journal says. */
#include <check.h>
#include <inttypes.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/lib/live.h"

static struct live live;

#define PROCESSES 8
#define THREADS   4
#define WRITERS   32 /* in all */
#define VALUE_MAX 2048

/* The operations of a writer are numbered from 1 and done one after the other;
 * which it is follows from the number. */
enum op { OP_UPDATE, OP_INSERT, OP_BATCH, OP_TRANSACTION, OP_SCRIPT, OPS_N };

struct journal {
	_Atomic int64_t sent;  /* the last that may have been applied */
	_Atomic int64_t acked; /* the last that was acknowledged */
	char space[48];        /* a cache line each */
};

static struct journal *journals;

/* The value that belongs to a row: it shows when it is torn, or another's. */
static size_t
make_value(char *v, int64_t id, int64_t n, int64_t part)
{
	int64_t times = 1 + (n * 7 + id) % 50;
	size_t len = 0;

	for (int64_t i = 0; i < times; i++)
		len += (size_t)snprintf(v + len, VALUE_MAX - len,
		    "%" PRId64 ".%" PRId64 ".%" PRId64 ",", id, n, part);
	return len;
}

static const char insert_sql[] = "INSERT INTO log VALUES (?1, ?2, ?3, ?4)";
static const char update_sql[] =
    "UPDATE counter SET n = ?2, a = ?3, b = ?3 WHERE id = ?1";

static int
insert(struct sqlpool_conn *conn, int64_t id, int64_t n, int64_t part)
{
	char v[VALUE_MAX];
	size_t len = make_value(v, id, n, part);

	return sqlpool_exec(conn, insert_sql,
	    SQLPOOL_VALUES(SQLPOOL_INT(id), SQLPOOL_INT(n), SQLPOOL_INT(part),
		SQLPOOL_TEXT_N(v, len)));
}

static int
update(struct sqlpool_conn *conn, int64_t id, int64_t n)
{
	char v[VALUE_MAX];
	size_t len = make_value(v, id, n, 0);

	return sqlpool_exec(conn, update_sql,
	    SQLPOOL_VALUES(
		SQLPOOL_INT(id), SQLPOOL_INT(n), SQLPOOL_TEXT_N(v, len)));
}

static int
run_batch(struct sqlpool_conn *conn, int64_t id, int64_t n)
{
	struct sqlpool_request *request = sqlpool_request_new();
	struct sqlpool_result *result = NULL;
	char v[VALUE_MAX];
	int rc;

	for (int64_t part = 0; part < 2; part++) {
		size_t len = make_value(v, id, n, part);

		rc = sqlpool_request_add(request, insert_sql,
		    SQLPOOL_VALUES(SQLPOOL_INT(id), SQLPOOL_INT(n),
			SQLPOOL_INT(part), SQLPOOL_TEXT_N(v, len)));
		PROC_CHECK(rc == part, "adding a step: %d", rc);
	}
	rc = sqlpool_run_atomic(conn, request, &result);
	sqlpool_result_free(result);
	sqlpool_request_free(request);
	return rc;
}

/* Before COMMIT is sent nothing can have been applied. */
static int
run_transaction(
    struct sqlpool_conn *conn, struct journal *j, int64_t id, int64_t n)
{
	int rc = sqlpool_begin(conn, SQLPOOL_TX_IMMEDIATE);

	atomic_store(&j->sent, n - 1);
	for (int64_t part = 0; rc == 0 && part < 2; part++)
		rc = insert(conn, id, n, part);
	if (rc < 0)
		return rc;
	atomic_store(&j->sent, n);
	return sqlpool_commit(conn);
}

static int
run_script(struct sqlpool_conn *conn, int64_t id, int64_t n)
{
	char sql[2 * VALUE_MAX + 200], v[VALUE_MAX];
	size_t len = 0;

	for (int64_t part = 0; part < 2; part++) {
		int v_n = (int)make_value(v, id, n, part);

		len += (size_t)snprintf(sql + len, sizeof(sql) - len,
		    "INSERT INTO log VALUES (%" PRId64 ", %" PRId64 ", %" PRId64
		    ", '%.*s');\n",
		    id, n, part, v_n, v);
	}
	return sqlpool_script(conn, sql, 0);
}

static int
run_op(struct sqlpool_conn *conn, struct journal *j, int64_t id, int64_t n)
{
	atomic_store(&j->sent, n);
	switch ((enum op)(n % OPS_N)) {
	case OP_INSERT:
		return insert(conn, id, n, 0);
	case OP_BATCH:
		return run_batch(conn, id, n);
	case OP_TRANSACTION:
		return run_transaction(conn, j, id, n);
	case OP_SCRIPT:
		return run_script(conn, id, n);
	case OP_UPDATE:
	case OPS_N:
		break;
	}
	return update(conn, id, n);
}

/* Write until the daemon is gone. */
static void *
write_rows(void *arg)
{
	struct journal *j = arg;
	int64_t id = j - journals, n = atomic_load(&j->acked) + 1;
	struct sqlpool_conn *conn = live_connect_once(&live, "writer");
	const struct sqlpool_error *e;

	while (run_op(conn, j, id, n) == 0)
		atomic_store(&j->acked, n++);
	e = sqlpool_get_error(conn);
	PROC_CHECK(e->code == SQLPOOL_ERR_CONNECTION_LOST, "%s: %s", e->name,
	    e->message);
	if (e->outcome == SQLPOOL_NOT_APPLIED)
		atomic_store(&j->sent, n - 1);
	sqlpool_close(conn);
	return NULL;
}

static void
run_writers(void *arg)
{
	struct journal *first = arg;
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, write_rows, first + i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

/* --- What is there afterwards ---------------------------------------------- */

/* Looks at the rows of one writer in their order. */
struct audit {
	int64_t id;
	int64_t n;    /* the operation whose rows come next */
	int64_t part; /* the row of it that comes next */
	int64_t rows;
};

static bool
has_rows(int64_t n)
{
	return n % OPS_N != OP_UPDATE;
}

static int64_t
count_parts(int64_t n)
{
	return n % OPS_N == OP_INSERT ? 1 : 2;
}

static void
check_text(
    const struct audit *a, int64_t n, int64_t part, const char *v, size_t len)
{
	char want[VALUE_MAX];

	PROC_CHECK(len == make_value(want, a->id, n, part) &&
		memcmp(v, want, len) == 0,
	    "row %" PRId64 ".%" PRId64 ".%" PRId64 " is torn: %.*s", a->id, n,
	    part, (int)len, v);
}

static void
audit_row(struct audit *a, int64_t n, int64_t part, const char *v, size_t len)
{
	if (!has_rows(a->n))
		a->n++;
	PROC_CHECK(n == a->n && part == a->part,
	    "writer %" PRId64 ": row %" PRId64 ".%" PRId64
	    " instead of %" PRId64 ".%" PRId64,
	    a->id, n, part, a->n, a->part);
	check_text(a, n, part, v, len);
	a->rows++;
	if (++a->part == count_parts(n)) {
		a->n++;
		a->part = 0;
	}
}

/* The counter's row tells about the updates, which leave no rows. */
static void
audit_counter(struct audit *a, int64_t n, const char *v, size_t len)
{
	PROC_CHECK(a->part == 0,
	    "half of operation %" PRId64 ".%" PRId64 " is there", a->id, a->n);
	if (!has_rows(a->n) && n == a->n)
		a->n++;
	PROC_CHECK(n == (a->n - 1) / OPS_N * OPS_N,
	    "counter %" PRId64 " is at %" PRId64 " after operation %" PRId64,
	    a->id, n, a->n - 1);
	if (n > 0)
		check_text(a, n, 0, v, len);
}

static const char rows_sql[] = "SELECT n, part, v FROM log WHERE id = ?1 "
			       "AND n > ?2 ORDER BY n, part";
/* a and b are one value unless the row is torn. */
static const char counter_sql[] =
    "SELECT n, CASE WHEN a = b THEN a ELSE '' END FROM counter WHERE id = ?1";

static void
audit_through_daemon(struct sqlpool_conn *conn, struct audit *a, int64_t after)
{
	struct sqlpool_result *result = NULL;
	const char *v;
	size_t n;
	int rc = sqlpool_query(conn, rows_sql,
	    SQLPOOL_VALUES(SQLPOOL_INT(a->id), SQLPOOL_INT(after)), &result);

	PROC_CHECK(rc == 0, "%s", sqlpool_get_error(conn)->message);
	while ((rc = sqlpool_next(result)) == SQLPOOL_ROW) {
		v = sqlpool_column_text(result, 2, &n);
		audit_row(a, sqlpool_column_int64(result, 0),
		    sqlpool_column_int64(result, 1), v, n);
	}
	PROC_CHECK(rc == SQLPOOL_DONE, "%s", sqlpool_get_error(conn)->message);
	sqlpool_result_free(result);
	rc = sqlpool_query(
	    conn, counter_sql, SQLPOOL_VALUES(SQLPOOL_INT(a->id)), &result);
	PROC_CHECK(rc == 0 && sqlpool_next(result) == SQLPOOL_ROW, "%s",
	    sqlpool_get_error(conn)->message);
	v = sqlpool_column_text(result, 1, &n);
	audit_counter(a, sqlpool_column_int64(result, 0), v, n);
	sqlpool_result_free(result);
}

static sqlite3_stmt *
prepare(sqlite3 *db, const char *sql, int64_t id)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);

	PROC_CHECK(rc == SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(db));
	sqlite3_bind_int64(st, 1, id);
	return st;
}

static void
audit_with_sqlite(sqlite3 *db, struct audit *a, int64_t after)
{
	sqlite3_stmt *st = prepare(db, rows_sql, a->id);

	sqlite3_bind_int64(st, 2, after);
	while (sqlite3_step(st) == SQLITE_ROW)
		audit_row(a, sqlite3_column_int64(st, 0),
		    sqlite3_column_int64(st, 1),
		    (const char *)sqlite3_column_text(st, 2),
		    (size_t)sqlite3_column_bytes(st, 2));
	sqlite3_finalize(st);
	st = prepare(db, counter_sql, a->id);
	PROC_CHECK(sqlite3_step(st) == SQLITE_ROW, "%s", sqlite3_errmsg(db));
	audit_counter(a, sqlite3_column_int64(st, 0),
	    (const char *)sqlite3_column_text(st, 1),
	    (size_t)sqlite3_column_bytes(st, 1));
	sqlite3_finalize(st);
}

/* All that was acknowledged is there, and of what was not, at most what had
 * been sent. */
static void
compare_journal(const struct audit *a)
{
	struct journal *j = &journals[a->id];
	int64_t applied = a->n - 1;

	PROC_CHECK(applied >= j->acked,
	    "writer %" PRId64 ": %" PRId64 " was acknowledged, %" PRId64
	    " is there",
	    a->id, j->acked, applied);
	PROC_CHECK(applied <= j->sent,
	    "writer %" PRId64 ": %" PRId64 " is there, only %" PRId64
	    " can have been applied",
	    a->id, applied, j->sent);
}

/* Audit what came after the operations in `checked`, through the daemon (conn)
 * or without it. */
static int64_t
audit_all(struct sqlpool_conn *conn, int64_t checked[WRITERS])
{
	sqlite3 *db = NULL;
	int64_t rows = 0;

	if (!conn)
		PROC_CHECK(sqlite3_open(live.db_path, &db) == SQLITE_OK, "%s",
		    sqlite3_errmsg(db));
	for (int64_t id = 0; id < WRITERS; id++) {
		struct audit a = { .id = id, .n = checked[id] + 1 };

		if (conn)
			audit_through_daemon(conn, &a, checked[id]);
		else
			audit_with_sqlite(db, &a, checked[id]);
		compare_journal(&a);
		checked[id] = a.n - 1;
		journals[id].acked = journals[id].sent = a.n - 1;
		rows += a.rows;
	}
	sqlite3_close(db);
	return rows;
}

/* --- Rounds --------------------------------------------------------------- */

static int64_t
sum_acked(void)
{
	int64_t sum = 0;

	for (int i = 0; i < WRITERS; i++)
		sum += atomic_load(&journals[i].acked);
	return sum;
}

/* Has every writer had a write acknowledged? */
static bool
have_moved(const void *arg)
{
	const int64_t *before = arg;

	for (int i = 0; i < WRITERS; i++)
		if (atomic_load(&journals[i].acked) == before[i])
			return false;
	return true;
}

static void
load_and_kill(int round)
{
	const struct timespec pause = { 0, 50000000 + round % 5 * 50000000 };
	int64_t before[WRITERS];
	pid_t pids[PROCESSES];

	for (int i = 0; i < WRITERS; i++)
		before[i] = atomic_load(&journals[i].acked);
	for (int i = 0; i < PROCESSES; i++)
		pids[i] = proc_fork(
		    run_writers, &journals[(size_t)i * THREADS]);
	proc_wait_until(have_moved, before, "writes");
	nanosleep(&pause, NULL);
	live_kill(&live);
	for (int i = 0; i < PROCESSES; i++)
		proc_join(pids[i]);
}

static void
make_tables(struct sqlpool_conn *conn)
{
	live_exec(conn,
	    "CREATE TABLE log(id INTEGER, n INTEGER, part INTEGER, "
	    "v, PRIMARY KEY(id, n, part))");
	live_exec(
	    conn, "CREATE TABLE counter(id INTEGER PRIMARY KEY, n, a, b)");
	live_exec(conn,
	    "WITH RECURSIVE c(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM c "
	    "LIMIT 32) INSERT INTO counter SELECT x, 0, '', '' FROM c");
}

/* Start it on what the last round left, and look at that, first without it in
 * every other round. */
static void
start_and_audit(int round, int64_t checked[WRITERS])
{
	struct sqlpool_conn *conn;

	if (round % 2) {
		live_check_file(live.db_path);
		audit_all(NULL, checked);
	}
	/* a small WAL: checkpoints meet the kill */
	live_start(
	    &live, round % 4 < 2 ? LIVE_OPTIONS("wal_limit=256KB") : NULL);
	conn = live_connect(&live, "audit");
	if (round == 0)
		make_tables(conn);
	audit_all(conn, checked);
	PROC_CHECK(live_get_int(conn,
		       "SELECT count(*) FROM pragma_integrity_check WHERE "
		       "integrity_check <> 'ok'") == 0,
	    "the file is damaged after round %d", round);
	sqlpool_close(conn);
}

START_TEST(a_killed_daemon_loses_no_acknowledged_write)
{
	int rounds = proc_get_slowness() > 1 ? 8 : 20;
	int64_t checked[WRITERS] = { 0 }, rows;

	live_init(&live);
	journals = proc_share(WRITERS * sizeof(*journals));
	for (int round = 0; round < rounds; round++) {
		start_and_audit(round, checked);
		load_and_kill(round);
	}
	start_and_audit(rounds, checked);
	live_stop(&live);
	live_check_file(live.db_path);
	memset(checked, 0, sizeof(checked));
	rows = audit_all(NULL, checked);
	printf("%d rounds, %" PRId64 " operations, %" PRId64 " rows\n", rounds,
	    sum_acked(), rows);
	ck_assert_int_eq(
	    rows, live_read_file_int(live.db_path, "SELECT count(*) FROM log"));
	live_fini(&live);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("crash");
	TCase *tc = tcase_create("daemon");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 90);
	tcase_add_test(tc, a_killed_daemon_loses_no_acknowledged_write);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
