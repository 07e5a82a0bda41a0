/* check_dbs.c - databases that are opened when somebody asks for them, and closed
 * when nobody does. */
#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/error.h"
#include "proto/value.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

#define CLIENTS_N 16
#define PATH_N    (2 * LIVE_PATH_MAX)

static struct live live;
static struct rawconn c;

static bool
is_closed(const void *end)
{
	return live_count_fds(&live, end) == 0;
}

/* A second database beside app.db. */
static const char *
get_other_path(void)
{
	static char path[PATH_N];

	snprintf(path, sizeof(path), "%s/other.db", live.dir);
	return path;
}

static void
start_two(const char *option)
{
	live_init(&live);
	live_launch(&live,
	    (const char *const[]){ "-s", live.socket_path, "-o", "preload=off",
		"-o", option, live.db_path, get_other_path(), NULL });
	live_wait_ready(&live);
}

static void
open_conn(struct rawconn *conn, const char *database)
{
	raw_connect(conn, live.socket_path);
	conn->database = database;
	raw_expect(conn, raw_put_hello(conn), 0);
	conn->database = NULL;
}

static void
stop(void)
{
	live_stop(&live);
	live_check_file(live.db_path);
	live_fini(&live);
}

static void
expect_text(struct rawconn *conn, uint64_t id, int code, const char *text)
{
	struct rawreply r;

	raw_wait(conn, id, &r);
	ck_assert_uint_eq(r.tell.code, (uint64_t)code);
	ck_assert_msg(
	    memmem(r.tell.message.p, r.tell.message.n, text, strlen(text)),
	    "%.*s", (int)r.tell.message.n, (const char *)r.tell.message.p);
}

static uint64_t
get_seq(struct rawconn *conn, const char *sql)
{
	uint64_t id = raw_put_exec(conn, 0, sql);
	struct rawreply r;

	raw_wait(conn, id, &r);
	ck_assert_uint_eq(r.tell.code, 0);
	return r.tell.seq;
}

/* --- Opening ----------------------------------------------------------------- */

START_TEST(a_database_is_opened_when_somebody_asks_for_it)
{
	start_two("workers=2");
	ck_assert_int_eq(live_count_fds(&live, "/app.db"), 0);
	open_conn(&c, "app");
	ck_assert_int_eq(live_count_fds(&live, "/app.db"), 0);
	raw_run(&c, 0, "CREATE TABLE t(v)", 0);
	/* the writer and this client's worker */
	ck_assert_int_eq(live_count_fds(&live, "/app.db"), 2);
	ck_assert_int_eq(live_count_fds(&live, "/other.db"), 0);
	c.database = "other";
	raw_run(&c, 0, "CREATE TABLE u(v)", 0);
	ck_assert_int_eq(live_count_fds(&live, "/other.db"), 2);
	ck_assert_int_eq(live_get_stat(&live, "databases_opened"), 2);
	raw_close(&c);
	stop();
}
END_TEST

START_TEST(a_preloaded_database_is_open_before_the_ready_line)
{
	live_init(&live);
	/* the writer, the workers, and the heavy readers of the minimum */
	live_start(&live, LIVE_OPTIONS("workers=3", "min_read_connections=2"));
	ck_assert_int_eq(live_count_fds(&live, "/app.db"), 6);
	stop();
}
END_TEST

/* What is sent while it opens is done in the order in which it was sent. */
START_TEST(requests_that_wait_for_the_opening_keep_their_order)
{
	uint64_t id;

	start_two("workers=1");
	open_conn(&c, "app");
	raw_put_exec(&c, 0, "CREATE TABLE t(v)");
	raw_put_begin(&c, 7, TX_MODE_IMMEDIATE);
	raw_put_exec(&c, 7, "INSERT INTO t VALUES(1), (2)");
	raw_put_end(&c, 7, true);
	raw_put_exec(&c, 0, "INSERT INTO t VALUES(3)");
	id = raw_put_exec(&c, 0, "SELECT sum(v) FROM t");
	ck_assert_int_eq(raw_expect_int(&c, id), 6);
	raw_close(&c);
	stop();
}
END_TEST

START_TEST(clients_that_ask_at_once_are_all_served)
{
	struct rawconn conns[CLIENTS_N];
	uint64_t ids[CLIENTS_N][2];

	start_two("workers=4");
	for (int i = 0; i < CLIENTS_N; i++) {
		open_conn(&conns[i], i % 2 ? "app" : "other");
		ids[i][0] = raw_put_exec(
		    &conns[i], 0, "CREATE TABLE IF NOT EXISTS t(v)");
		ids[i][1] = raw_put_exec(
		    &conns[i], 0, "INSERT INTO t VALUES(1)");
	}
	for (int i = 0; i < CLIENTS_N; i++)
		raw_flush(&conns[i]);
	for (int i = 0; i < CLIENTS_N; i++) {
		raw_expect(&conns[i], ids[i][0], 0);
		raw_expect(&conns[i], ids[i][1], 0);
	}
	for (int i = 0; i < CLIENTS_N; i++) {
		ck_assert_int_eq(
		    raw_run_int(&conns[i], 0, "SELECT count(*) FROM t"),
		    CLIENTS_N / 2);
		raw_close(&conns[i]);
	}
	stop();
}
END_TEST

START_TEST(a_database_that_cannot_be_opened_says_why_each_time_until_it_can)
{
	char dir[PATH_N], spec[2 * PATH_N];

	live_init(&live);
	snprintf(dir, sizeof(dir), "%s/later", live.dir);
	snprintf(spec, sizeof(spec), "app=%s/app.db", dir);
	live_launch(&live,
	    (const char *const[]){
		"-s", live.socket_path, "-o", "preload=off", spec, NULL });
	live_wait_ready(&live);
	open_conn(&c, "app");
	for (int i = 0; i < 3; i++)
		expect_text(&c, raw_put_exec(&c, 0, "SELECT 1"), 14,
		    "create it or correct the path");
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	ck_assert_int_eq(raw_run_int(&c, 0, "SELECT 1"), 1);
	raw_close(&c);
	live_stop(&live);
	live_fini(&live);
}
END_TEST

/* Somebody outside holds a lock: so the opening takes a while. */
START_TEST(a_request_that_waits_for_the_opening_has_its_deadline)
{
	struct rawconn gone;
	uint64_t ids[2];
	sqlite3 *db;

	start_two("workers=1");
	ck_assert_int_eq(sqlite3_open(live.db_path, &db), SQLITE_OK);
	ck_assert_int_eq(
	    sqlite3_exec(db, "CREATE TABLE t(v); BEGIN EXCLUSIVE", 0, 0, 0),
	    SQLITE_OK);
	open_conn(&c, "app");
	open_conn(&gone, "app");
	raw_put_exec(&gone, 0, "INSERT INTO t VALUES('gone')");
	raw_flush(&gone);
	c.timeout_ms = 50;
	ids[0] = raw_put_exec(&c, 0, "INSERT INTO t VALUES('late')");
	c.timeout_ms = 0;
	ids[1] = raw_put_exec(&c, 0, "INSERT INTO t VALUES('cancelled')");
	raw_put_cancel(&c, ids[1]);
	raw_expect(&c, ids[1], ERR_CANCELLED);
	raw_close(&gone);
	expect_text(&c, ids[0], ERR_DEADLINE, "or was being opened");
	expect_text(&c, raw_put_exec(&c, 0, "SELECT 1"), ERR_EXTERNAL_BUSY,
	    "has it open");
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	/* another client's database was not held up */
	c.database = "other";
	ck_assert_int_eq(raw_run_int(&c, 0, "SELECT 1"), 1);
	c.database = NULL;
	ck_assert_int_eq(raw_run_int(&c, 0, "SELECT count(*) FROM t"), 0);
	raw_close(&c);
	stop();
}
END_TEST

START_TEST(requests_that_wait_for_the_opening_are_bounded)
{
	uint64_t ids[3];
	sqlite3 *db;

	start_two("max_queue=2");
	ck_assert_int_eq(sqlite3_open(live.db_path, &db), SQLITE_OK);
	ck_assert_int_eq(
	    sqlite3_exec(db, "CREATE TABLE t(v); BEGIN EXCLUSIVE", 0, 0, 0),
	    SQLITE_OK);
	open_conn(&c, "app");
	for (int i = 0; i < 3; i++)
		ids[i] = raw_put_exec(&c, 0, "SELECT 1");
	expect_text(&c, ids[2], ERR_QUEUE_FULL, "2 requests wait until app");
	raw_expect(&c, ids[0], ERR_EXTERNAL_BUSY);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	raw_close(&c);
	stop();
}
END_TEST

START_TEST(a_daemon_may_end_when_an_opening_fails_that_nobody_waits_for)
{
	sqlite3 *db;

	start_two("workers=1");
	ck_assert_int_eq(sqlite3_open(live.db_path, &db), SQLITE_OK);
	ck_assert_int_eq(
	    sqlite3_exec(db, "CREATE TABLE t(v); BEGIN EXCLUSIVE", 0, 0, 0),
	    SQLITE_OK);
	open_conn(&c, "app");
	raw_put_exec(&c, 0, "SELECT 1");
	raw_let_arrive(&c);
	raw_close(&c);
	live_stop(&live);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	live_fini(&live);
}
END_TEST

static rlim_t files_n;

static void
limit_files(void)
{
	struct rlimit limit = { files_n, files_n };

	/* to look for leaks takes descriptors, too */
	setenv("ASAN_OPTIONS", "detect_leaks=0:halt_on_error=1", 1);
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* Whatever it is that it cannot open any more. */
START_TEST(a_daemon_that_finds_no_descriptors_ends_with_an_error)
{
	int failed_n = 0;
	bool ready = false;

	live_init(&live);
	live.before_exec = limit_files;
	for (files_n = 8; !ready; files_n++) {
		int status;
		char ch;

		live_launch(&live,
		    (const char *const[]){ "-s", live.socket_path, "-o",
			"workers=3", live.db_path, get_other_path(), NULL });
		ready = read(live.out_fd, &ch, 1) == 1;
		if (ready)
			break;
		status = live_wait_exit(&live, PROC_WAIT_MS);
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 1,
		    "with %d descriptors: wait status %#x", (int)files_n,
		    (unsigned)status);
		failed_n++;
	}
	ck_assert_int_gt(failed_n, 10);
	live_stop(&live);
	live_fini(&live);
}
END_TEST

/* --- Closing ----------------------------------------------------------------- */

START_TEST(a_database_that_nobody_uses_is_closed_and_opened_again)
{
	uint64_t before, after;

	start_two("idle_close=100ms");
	open_conn(&c, "app");
	raw_run(&c, 0, "CREATE TABLE t(v)", 0);
	before = get_seq(&c, "INSERT INTO t VALUES(1)");
	proc_wait_until(is_closed, "/app.db", "app is closed");
	ck_assert_int_eq(live_count_fds(&live, "/app.db-wal"), 0);
	ck_assert_int_eq(live_get_stat(&live, "databases_closed"), 1);
	live_check_file(live.db_path);
	after = get_seq(&c, "INSERT INTO t VALUES(2)");
	ck_assert_uint_eq(after, before + 1);
	ck_assert_int_eq(raw_run_int(&c, 0, "SELECT sum(v) FROM t"), 3);
	raw_close(&c);
	stop();
}
END_TEST

/* With every thing that may be under way: the other database, which is looked at
 * in the same moment, is closed. */
static const struct {
	enum msg_tx_mode mode;
	const char *sql;
} uses[] = {
	{ TX_MODE_IMMEDIATE, "INSERT INTO t VALUES(1)" },
	{ TX_MODE_DEFERRED, "SELECT count(*) FROM t" },
	{ TX_MODE_DEFERRED, "SAVEPOINT s" },
};

START_TEST(a_transaction_keeps_its_database_open)
{
	start_two("idle_close=100ms");
	open_conn(&c, "app");
	raw_run(&c, 0, "CREATE TABLE t(v)", 0);
	raw_run(&c, 0, "INSERT INTO t VALUES(0)", 0);
	raw_begin(&c, uses[_i].mode);
	raw_run(&c, 0, uses[_i].sql, 0);
	c.database = "other";
	raw_run(&c, 1, "CREATE TABLE IF NOT EXISTS u(v)", 0);
	proc_wait_until(is_closed, "/other.db", "other is closed");
	raw_run(&c, 1, "CREATE TABLE IF NOT EXISTS u(v)", 0);
	proc_wait_until(is_closed, "/other.db", "other is closed again");
	c.database = NULL;
	ck_assert_int_ge(live_count_fds(&live, "/app.db"), 2);
	raw_run(&c, 0, "SELECT count(*) FROM t", 0);
	raw_end(&c, true);
	proc_wait_until(is_closed, "/app.db", "app is closed");
	raw_close(&c);
	stop();
}
END_TEST

static bool
has_closed_readers(const void *n)
{
	return live_get_stat(&live, "readers_closed") >= *(const int *)n;
}

/* Of five heavy readers that were needed at once one stays, the one that is in use,
 * however long.  Descriptors are no measure: SQLite keeps those of connections that
 * were closed for others (unixFile's pUnused). */
START_TEST(heavy_readers_that_are_idle_are_closed_but_for_a_minimum)
{
	live_init(&live);
	live_start(&live, LIVE_OPTIONS("workers=1", "read_idle_close=100ms"));
	raw_open(&c, live.socket_path);
	raw_run(&c, 0, "CREATE TABLE t(v)", 0);
	for (int closed = 4; closed <= 8; closed += 4) {
		for (uint64_t i = 1; i <= 5; i++) {
			raw_expect(&c, raw_put_begin(&c, i, TX_MODE_READ), 0);
			raw_run(&c, i, "SELECT count(*) FROM t", 0);
		}
		ck_assert_int_eq(
		    live_get_stat(&live, "readers_opened"), closed + 1);
		for (uint64_t i = 2; i <= 5; i++)
			raw_expect(&c, raw_put_end(&c, i, true), 0);
		proc_wait_until(
		    has_closed_readers, &closed, "idle ones are closed");
		ck_assert_int_eq(
		    raw_run_int(&c, 1, "SELECT count(*) FROM t"), 0);
		ck_assert_int_eq(
		    live_get_stat(&live, "readers_closed"), closed);
		raw_expect(&c, raw_put_end(&c, 1, true), 0);
	}
	ck_assert_int_eq(live_get_stat(&live, "databases_closed"), 0);
	raw_close(&c);
	stop();
}
END_TEST

/* Asked for at random moments, of which some are those in which it closes. */
START_TEST(a_database_may_be_asked_for_while_it_closes)
{
	int n = 0;

	start_two("idle_close=1ms");
	open_conn(&c, "app");
	raw_run(&c, 0, "CREATE TABLE t(v)", 0);
	while (live_get_stat(&live, "databases_closed") < 3) {
		usleep((useconds_t)(random() % 5000));
		raw_run(&c, 0, "INSERT INTO t VALUES(1)", 0);
		n++;
		ck_assert_int_eq(
		    raw_run_int(&c, 0, "SELECT count(*) FROM t"), n);
	}
	raw_close(&c);
	stop();
}
END_TEST

/* Replies come in any order: keep those that somebody will ask for. */
#define KEPT_MAX 256
static struct {
	const struct rawconn *conn;
	uint64_t id, code;
	int64_t value; /* of the first row, or -1 */
} kept[KEPT_MAX];
static size_t kept_n;

static int64_t
read_first_int(const struct rawreply *r)
{
	struct span rows = r->tell.rows;
	struct value v = { .kind = VALUE_NULL };

	if (!MSG_HAS(&r->tell, TELL_rows))
		return -1;
	for (int i = 0; i < 3; i++) /* of rows, of values, the first one */
		value_read(&rows, &v);
	return v.i;
}

static bool
take_kept(const struct rawconn *conn, uint64_t id, int64_t value)
{
	for (size_t i = 0; i < kept_n; i++) {
		if (kept[i].conn != conn || kept[i].id != id)
			continue;
		ck_assert_uint_eq(kept[i].code, 0);
		ck_assert_int_eq(kept[i].value, value);
		kept[i] = kept[--kept_n];
		return true;
	}
	return false;
}

/* Wait for a reply that has this value in its first row; -1: no row. */
static void
await_int(struct rawconn *conn, uint64_t id, int64_t value)
{
	struct rawreply r;

	while (!take_kept(conn, id, value)) {
		ck_assert(raw_take(conn, &r));
		ck_assert_uint_lt(kept_n, KEPT_MAX);
		kept[kept_n].conn = conn;
		kept[kept_n].id = r.head.id;
		kept[kept_n].code = r.tell.code;
		kept[kept_n++].value = read_first_int(&r);
	}
}

/* --- A directory ------------------------------------------------------------- */

static char dir[LIVE_PATH_MAX + 8];

static void
write_file(const char *path, const void *p, size_t n)
{
	FILE *file = fopen(path, "we");

	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(p, 1, n, file), n);
	ck_assert_int_eq(fclose(file), 0);
}

/* Databases t0 ... in a directory, each with a table t and a row 7. */
static void
make_directory(int n)
{
	char path[PATH_N], bytes[16384];
	sqlite3 *db;
	size_t size;
	FILE *file;

	live_init(&live);
	snprintf(dir, sizeof(dir), "%.100s/d", live.dir);
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	snprintf(path, sizeof(path), "%s/t0.db", dir);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db,
			     "PRAGMA journal_mode=WAL; CREATE TABLE t(v);"
			     "INSERT INTO t VALUES(7)",
			     0, 0, 0),
	    SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	file = fopen(path, "re");
	ck_assert_ptr_nonnull(file);
	size = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	ck_assert_uint_lt(size, sizeof(bytes));
	for (int i = 1; i < n; i++) {
		snprintf(path, sizeof(path), "%s/t%d.db", dir, i);
		write_file(path, bytes, size);
	}
}

static void
start_directory(const char *const *options)
{
	const char *args[24] = { "-s", live.socket_path };
	char option[PATH_N];
	int n = 2;

	snprintf(option, sizeof(option), "directory=%s", dir);
	args[n++] = "-o";
	args[n++] = option;
	for (; options && *options; options++) {
		args[n++] = "-o";
		args[n++] = *options;
	}
	live_launch(&live, args);
	live_wait_ready(&live);
}

static void
stop_directory(void)
{
	live_stop(&live);
	live_fini(&live);
}

static const char *
name_db(int i)
{
	static char name[32];

	snprintf(name, sizeof(name), "t%d", i);
	return name;
}

#define DBS_N  INT64_C(10000)
#define OPEN_N INT64_C(100)
enum { AT_ONCE = 50 };

/* Ask so many for their one row, all at once; of every tenth it is written. */
static void
ask_some(int from)
{
	uint64_t ids[AT_ONCE];

	for (int i = 0; i < AT_ONCE; i++) {
		c.database = name_db(from + i);
		ids[i] = raw_put_exec(&c, 0,
		    i % 10 ? "SELECT v FROM t"
			   : "UPDATE t SET v = 8 RETURNING v");
	}
	raw_flush(&c);
	for (int i = 0; i < AT_ONCE; i++)
		await_int(&c, ids[i], i % 10 ? 7 : 8);
}

START_TEST(a_directory_of_ten_thousand_databases_is_served)
{
	/* of all; under a sanitizer of so many as show that they make room */
	int n = proc_get_slowness() > 1 ? DBS_N / 10 : DBS_N, most = 0;
	long before_kb = 0;

	make_directory(DBS_N);
	start_directory(
	    LIVE_OPTIONS("workers=2", "max_open=100", "synchronous=normal"));
	raw_open(&c, live.socket_path);
	for (int i = 0; i < n; i += AT_ONCE) {
		ask_some(i);
		if (i == n / 5)
			before_kb = live_get_rss_kb(&live);
		if (live_count_fds(&live, ".db") > most)
			most = live_count_fds(&live, ".db");
	}
	/* the writer's and one worker's connection for each, and maybe a
	 * keeper's */
	ck_assert_int_le(most, 3 * OPEN_N);
	/* less than 4 KB for each, of which most is what the allocator has not
	 * given back: it is level after some more rounds (a sanitizer keeps
	 * what is freed) */
	if (proc_get_slowness() == 1)
		ck_assert_int_lt(live_get_rss_kb(&live) - before_kb,
		    4 * (DBS_N - DBS_N / 5));
	ck_assert_int_ge(live_get_stat(&live, "databases_opened"), n);
	ck_assert_int_ge(live_get_stat(&live, "databases_closed"), n - OPEN_N);
	raw_close(&c);
	stop_directory();
}
END_TEST

/* When all are in use, who asks for another one waits until one is not. */
START_TEST(a_database_waits_for_room)
{
	struct rawconn other;
	uint64_t id, late;

	make_directory(4);
	start_directory(LIVE_OPTIONS("workers=2", "max_open=2"));
	raw_open(&c, live.socket_path);
	raw_open(&other, live.socket_path);
	for (uint64_t i = 0; i < 2; i++) {
		c.database = name_db((int)i);
		raw_expect(&c, raw_put_begin(&c, i + 1, TX_MODE_IMMEDIATE), 0);
		raw_run(&c, i + 1, "UPDATE t SET v = 9", 0);
	}
	other.database = "t2";
	other.timeout_ms = 50;
	late = raw_put_exec(&other, 0, "SELECT v FROM t");
	expect_text(&other, late, ERR_DEADLINE, "waited for room (max_open)");
	other.timeout_ms = 0;
	id = raw_put_exec(&other, 0, "SELECT v FROM t");
	other.database = "t3";
	raw_put_exec(&other, 0, "SELECT v FROM t");
	raw_let_arrive(&other);
	ck_assert_int_eq(live_count_fds(&live, "/t2.db"), 0);
	raw_expect(&c, raw_put_end(&c, 2, true), 0);
	ck_assert_int_eq(raw_expect_int(&other, id), 7);
	ck_assert_int_gt(live_count_fds(&live, "/t0.db"), 0);
	ck_assert_int_eq(live_count_fds(&live, "/t1.db"), 0);
	c.database = "t0";
	raw_expect(&c, raw_put_end(&c, 1, true), 0);
	c.database = "t1";
	ck_assert_int_eq(raw_run_int(&c, 0, "SELECT v FROM t"), 9);
	raw_close(&c);
	raw_close(&other);
	stop_directory();
}
END_TEST

START_TEST(the_line_for_room_is_bounded)
{
	struct rawreply r;
	uint64_t ids[2], late;

	make_directory(3);
	start_directory(
	    LIVE_OPTIONS("workers=1", "max_open=1", "opener_threads=1"));
	raw_open(&c, live.socket_path);
	c.database = "t0";
	raw_begin(&c, TX_MODE_IMMEDIATE);
	raw_run(&c, 0, "UPDATE t SET v = 9", 0);
	/* two threads take them to the line: either may be the first */
	for (uint64_t i = 1; i <= 2; i++) {
		c.database = name_db((int)i);
		ids[i - 1] = raw_put_exec(&c, i, "SELECT v FROM t");
	}
	raw_flush(&c);
	ck_assert(raw_take(&c, &r));
	ck_assert_uint_eq(r.tell.code, ERR_QUEUE_FULL);
	ck_assert_uint_eq(r.tell.retry_ms, 100);
	ck_assert_ptr_nonnull(memmem(r.tell.message.p, r.tell.message.n,
	    "1 databases of ", strlen("1 databases of ")));
	late = r.head.id == ids[0] ? ids[1] : ids[0];
	c.database = "t0";
	raw_end(&c, true);
	ck_assert_int_eq(raw_expect_int(&c, late), 7);
	raw_close(&c);
	stop_directory();
}
END_TEST

/* The one that was used least lately has to go, whatever it was used for. */
START_TEST(the_database_that_was_used_least_lately_is_closed)
{
	make_directory(4);
	start_directory(LIVE_OPTIONS("workers=1", "max_open=3"));
	raw_open(&c, live.socket_path);
	for (int i = 0; i < 3; i++) {
		c.database = name_db(i);
		raw_run(&c, 0, "SELECT v FROM t", 0);
	}
	c.database = "t0";
	raw_run(&c, 0, "SELECT v FROM t", 0);
	c.database = "t3";
	raw_run(&c, 0, "SELECT v FROM t", 0);
	ck_assert_int_gt(live_count_fds(&live, "/t0.db"), 0);
	ck_assert_int_eq(live_count_fds(&live, "/t1.db"), 0);
	ck_assert_int_gt(live_count_fds(&live, "/t2.db"), 0);
	raw_close(&c);
	stop_directory();
}
END_TEST

/* Two that take the room from each other, for clients of several workers. */
START_TEST(databases_that_take_turns_are_all_served)
{
	struct rawconn conns[8];
	uint64_t ids[8][20];

	make_directory(4);
	start_directory(LIVE_OPTIONS("workers=4", "max_open=2"));
	for (int i = 0; i < 8; i++) {
		raw_open(&conns[i], live.socket_path);
		for (int k = 0; k < 20; k++) {
			conns[i].database = name_db((i + k) % 4);
			ids[i][k] = raw_put_exec(&conns[i], 0,
			    k % 2 ? "INSERT INTO t VALUES(0)"
				  : "SELECT count(*) FROM t WHERE v = 7");
		}
		raw_flush(&conns[i]);
	}
	for (int i = 0; i < 8; i++) {
		for (int k = 0; k < 20; k++)
			await_int(&conns[i], ids[i][k], k % 2 ? -1 : 1);
		raw_close(&conns[i]);
	}
	stop_directory();
}
END_TEST

/* --- What is no name ----------------------------------------------------------- */

static const struct {
	const char *name;
	const char *says;
} strangers[] = {
	{ "nobody", "no database is named \"nobody\"" },
	{ "../app", "no database is named" },
	{ "sub/t0", "no database is named" },
	{ ".hidden", "no database is named" },
	{ "..", "no database is named" },
	{ "t0.db-wal", "no database is named" },
	{ "t0.db", "no database is named" },
	{ "link", "is a symbolic link" },
	{ "fifo", "is not a regular file" },
	{ "sub", "is not a regular file" },
	{ "t0 ", "no database is named" },
	{ "01234567890123456789012345678901234567890123456789012345678901234",
	    "no database is named" },
};

START_TEST(a_name_cannot_leave_the_directory)
{
	char path[PATH_N], target[PATH_N];
	uint64_t id;

	make_directory(1);
	snprintf(target, sizeof(target), "%s/t0.db", dir);
	snprintf(path, sizeof(path), "%s/app.db", live.dir);
	write_file(path, "", 0);
	snprintf(path, sizeof(path), "%s/.hidden.db", dir);
	write_file(path, "", 0);
	snprintf(path, sizeof(path), "%s/t0.db-wal", dir);
	write_file(path, "", 0);
	snprintf(path, sizeof(path), "%s/link.db", dir);
	ck_assert_int_eq(symlink(target, path), 0);
	snprintf(path, sizeof(path), "%s/fifo.db", dir);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	snprintf(path, sizeof(path), "%s/sub.db", dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/sub", dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/sub/t0.db", dir);
	write_file(path, "", 0);
	start_directory(NULL);
	raw_open(&c, live.socket_path);
	c.database = strangers[_i].name;
	id = raw_put_exec(&c, 0, "SELECT 1");
	expect_text(&c, id, ERR_NO_DATABASE, strangers[_i].says);
	expect_text(&c, raw_put_hello(&c), ERR_NO_DATABASE, strangers[_i].says);
	c.database = "t0";
	ck_assert_int_eq(raw_run_int(&c, 0, "SELECT v FROM t"), 7);
	raw_close(&c);
	stop_directory();
}
END_TEST

START_TEST(one_file_has_one_name_at_a_time)
{
	char path[PATH_N], target[PATH_N];

	make_directory(1);
	snprintf(target, sizeof(target), "%s/t0.db", dir);
	snprintf(path, sizeof(path), "%s/twin.db", dir);
	ck_assert_int_eq(link(target, path), 0);
	start_directory(NULL);
	raw_open(&c, live.socket_path);
	c.database = "t0";
	raw_run(&c, 0, "SELECT v FROM t", 0);
	c.database = "twin";
	expect_text(&c, raw_put_exec(&c, 0, "SELECT v FROM t"),
	    ERR_DATABASE_DOWN, "it is the file of database t0");
	raw_close(&c);
	stop_directory();
}
END_TEST

START_TEST(a_database_of_the_directory_is_created_when_that_is_wanted)
{
	make_directory(1);
	start_directory(LIVE_OPTIONS("create=on"));
	raw_open(&c, live.socket_path);
	c.database = "new";
	raw_run(&c, 0, "CREATE TABLE t(v)", 0);
	ck_assert_int_eq(raw_run_int(&c, 0, "SELECT count(*) FROM t"), 0);
	raw_close(&c);
	stop_directory();
}
END_TEST

/* --- Another file --------------------------------------------------------------- */

static bool
has_noticed(const void *arg)
{
	char *log = live_read_log(&live);
	bool noticed = strstr(log, "was replaced or deleted") != NULL;

	(void)arg;
	free(log);
	return noticed;
}

/* Move a database with a table t and these values over app.db. */
static void
replace_file(const char *sql)
{
	char path[PATH_N];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/new", live.dir);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, sql, 0, 0, 0), SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
	ck_assert_int_eq(rename(path, live.db_path), 0);
}

static void
start_with_table(void)
{
	live_init(&live);
	live_start(&live, LIVE_OPTIONS("workers=2"));
	raw_open(&c, live.socket_path);
	raw_run(&c, 0, "CREATE TABLE t(v)", 0);
	raw_run(&c, 0, "INSERT INTO t VALUES('old')", 0);
}

START_TEST(a_file_that_was_replaced_is_served_instead)
{
	start_with_table();
	replace_file("CREATE TABLE t(v); INSERT INTO t VALUES(42)");
	proc_wait_until(has_noticed, NULL, "the daemon notices");
	ck_assert_int_eq(raw_run_int(&c, 0, "SELECT v FROM t"), 42);
	raw_run(&c, 0, "INSERT INTO t VALUES(1)", 0);
	ck_assert_int_eq(raw_run_int(&c, 0, "SELECT sum(v) FROM t"), 43);
	raw_close(&c);
	stop();
	/* nothing of the old one came into it */
}
END_TEST

/* The old one's WAL stands beside the new file: who opens that meanwhile must not
 * copy the one into the other when it closes again. */
START_TEST(a_file_is_opened_in_the_moment_it_is_replaced)
{
	struct rawconn other;
	struct rawreply r;
	uint64_t id;

	live_init(&live);
	live_start(&live, LIVE_OPTIONS("workers=2", "preload=off"));
	raw_open(&c, live.socket_path);
	raw_open(&other, live.socket_path); /* of the other worker */
	raw_run(&c, 0, "CREATE TABLE t(v)", 0);
	raw_run(&c, 0, "CREATE TABLE u AS SELECT zeroblob(20000)", 0);
	replace_file("CREATE TABLE t(v); INSERT INTO t VALUES(42);"
		     "CREATE TABLE w AS SELECT zeroblob(40000)");
	id = raw_put_exec(&other, 0, "SELECT v FROM t");
	raw_wait(&other, id, &r);
	proc_wait_until(has_noticed, NULL, "the daemon notices");
	ck_assert_int_eq(raw_run_int(&c, 0, "SELECT v FROM t"), 42);
	ck_assert_int_eq(raw_run_int(&other, 0, "SELECT v FROM t"), 42);
	raw_close(&other);
	raw_close(&c);
	stop();
}
END_TEST

START_TEST(a_file_that_was_deleted_is_created_when_somebody_asks)
{
	start_with_table();
	ck_assert_int_eq(unlink(live.db_path), 0);
	proc_wait_until(has_noticed, NULL, "the daemon notices");
	ck_assert_int_lt(access(live.db_path, F_OK), 0);
	ck_assert_int_eq(
	    raw_run_int(&c, 0, "SELECT count(*) FROM sqlite_schema"), 0);
	raw_run(&c, 0, "CREATE TABLE u(v)", 0);
	raw_close(&c);
	stop();
}
END_TEST

/* What it would commit would be lost: it is told. */
START_TEST(a_transaction_does_not_survive_its_file)
{
	struct rawconn waiting;
	uint64_t id;

	start_with_table();
	raw_open(&waiting, live.socket_path);
	raw_begin(&c, TX_MODE_IMMEDIATE);
	raw_run(&c, 0, "INSERT INTO t VALUES('lost')", 0);
	id = raw_put_exec(&waiting, 0, "INSERT INTO t VALUES('refused')");
	raw_flush(&waiting);
	live_wait_queue(&live, 1);
	replace_file("CREATE TABLE t(v); INSERT INTO t VALUES(42)");
	proc_wait_until(has_noticed, NULL, "the daemon notices");
	expect_text(&waiting, id, ERR_DATABASE_DOWN, "replaced or deleted");
	expect_text(&c, raw_put_end(&c, 0, true), ERR_TX_EXPIRED,
	    "replaced or deleted");
	ck_assert_int_eq(raw_run_int(&c, 0, "SELECT sum(v) FROM t"), 42);
	raw_run(&waiting, 0, "INSERT INTO t VALUES(1)", 0);
	ck_assert_int_eq(raw_run_int(&c, 0, "SELECT sum(v) FROM t"), 43);
	raw_close(&waiting);
	raw_close(&c);
	stop();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("dbs");
	TCase *tc = tcase_create("opening");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_database_is_opened_when_somebody_asks_for_it);
	tcase_add_test(tc, a_preloaded_database_is_open_before_the_ready_line);
	tcase_add_test(tc, requests_that_wait_for_the_opening_keep_their_order);
	tcase_add_test(tc, clients_that_ask_at_once_are_all_served);
	tcase_add_test(tc,
	    a_database_that_cannot_be_opened_says_why_each_time_until_it_can);
	tcase_add_test(
	    tc, a_request_that_waits_for_the_opening_has_its_deadline);
	tcase_add_test(tc, requests_that_wait_for_the_opening_are_bounded);
	tcase_add_test(
	    tc, a_daemon_may_end_when_an_opening_fails_that_nobody_waits_for);
	tcase_add_test(
	    tc, a_daemon_that_finds_no_descriptors_ends_with_an_error);
	suite_add_tcase(s, tc);
	tc = tcase_create("closing");
	tcase_set_timeout(tc, 60);
	tcase_add_test(
	    tc, a_database_that_nobody_uses_is_closed_and_opened_again);
	tcase_add_loop_test(tc, a_transaction_keeps_its_database_open, 0,
	    sizeof(uses) / sizeof(uses[0]));
	tcase_add_test(
	    tc, heavy_readers_that_are_idle_are_closed_but_for_a_minimum);
	tcase_add_test(tc, a_database_may_be_asked_for_while_it_closes);
	suite_add_tcase(s, tc);
	tc = tcase_create("directory");
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, a_directory_of_ten_thousand_databases_is_served);
	tcase_add_test(tc, a_database_waits_for_room);
	tcase_add_test(tc, the_line_for_room_is_bounded);
	tcase_add_test(tc, the_database_that_was_used_least_lately_is_closed);
	tcase_add_test(tc, databases_that_take_turns_are_all_served);
	tcase_add_loop_test(tc, a_name_cannot_leave_the_directory, 0,
	    sizeof(strangers) / sizeof(strangers[0]));
	tcase_add_test(tc, one_file_has_one_name_at_a_time);
	tcase_add_test(
	    tc, a_database_of_the_directory_is_created_when_that_is_wanted);
	suite_add_tcase(s, tc);
	tc = tcase_create("files");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_file_that_was_replaced_is_served_instead);
	tcase_add_test(tc, a_file_is_opened_in_the_moment_it_is_replaced);
	tcase_add_test(
	    tc, a_file_that_was_deleted_is_created_when_somebody_asks);
	tcase_add_test(tc, a_transaction_does_not_survive_its_file);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
