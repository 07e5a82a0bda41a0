/* check_watch.c - what keeps a WAL large is found out, said, and ended. */
#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/answer.h"
#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/stats.h"
#include "proto/error.h"
#include "tests/lib/faults.h"

static const char schema[] = "CREATE TABLE t(id INTEGER PRIMARY KEY, v);"
			     "INSERT INTO t VALUES(1, 'one');";

#define LARGE                                                            \
	"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c" \
	" LIMIT 100000) SELECT x, v FROM c, t WHERE id = 1"
#define ENDLESS                                                           \
	"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)" \
	" SELECT x FROM c, t WHERE x < 1"

static struct fixture fx;

static const char *
run_write(const char *sql)
{
	const char *text = fixture_take(
	    &fx, fixture_write(&fx, fixture_exec(&fx, sql, NULL)));

	ck_assert_msg(strncmp(text, "DONE", 4) == 0, "%s", text);
	return text;
}

/* So many commits of 40 KB. */
static void
write_much(int n)
{
	for (int i = 0; i < n; i++)
		run_write("INSERT INTO t(v) VALUES(zeroblob(40000))");
}

static struct tx *
begin_reading(void)
{
	struct tx *tx = fixture_begin(&fx, TX_MODE_READ);

	fixture_take(&fx,
	    fixture_read(&fx,
		fixture_in(
		    tx, fixture_exec(&fx, "SELECT count(*) FROM t", NULL))));
	return tx;
}

static void
end_reading(struct tx *tx)
{
	fixture_take(
	    &fx, fixture_read(&fx, fixture_in(tx, fixture_end(&fx, false))));
	tx_unref(tx);
}

/* Begin a read whose client takes nothing, and wait until it stands still. */
static struct request *
start_blocked(void)
{
	struct request *r = fixture_exec(&fx, LARGE, NULL);

	atomic_store(&r->sent, 0);
	fixture_read(&fx, r);
	fixture_wait_bytes(&fx, r, ANSWER_CHUNK_BYTES);
	fixture_settle(&fx);
	return r;
}

/* Tick as the main thread does, until the diagnosis is that; between the ticks
 * step may go on with something. */
static struct diagnosis
await(enum health_cause cause, void (*step)(void))
{
	struct timespec pause = { .tv_nsec = 2000000 };
	struct health h;

	do {
		if (step)
			step();
		watch_tick(fx.db->watch);
		nanosleep(&pause, NULL);
		watch_get_health(fx.db->watch, &h);
	} while (h.diagnosis.cause != cause);
	return h.diagnosis;
}

static void
step_write(void)
{
	write_much(1);
	fixture_settle(&fx);
}

static void
assert_in(const char *text, const char *part)
{
	ck_assert_msg(strstr(text, part) != NULL, "%s: %s", text, part);
}

/* --- The log of the daemon ---------------------------------------------------- */

static int real_stderr;

static void
divert_log(void)
{
	int fd = open(fixture_format(&fx, "%s/log", fx.dir),
	    O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	log_set_level(CONF_LOG_INFO);
	real_stderr = fcntl(2, F_DUPFD_CLOEXEC, 3);
	dup2(fd, 2);
	close(fd);
}

/* How many lines have a text; once nothing is logged any more. */
static int
count_lines(const char *with)
{
	FILE *log = fopen(fixture_format(&fx, "%s/log", fx.dir), "re");
	char line[2048];
	int n = 0;

	ck_assert_ptr_nonnull(log);
	while (fgets(line, sizeof(line), log))
		n += strstr(line, with) != NULL;
	fclose(log);
	return n;
}

static void
await_line(const char *with)
{
	struct timespec pause = { .tv_nsec = 2000000 };

	while (count_lines(with) == 0) {
		watch_tick(fx.db->watch);
		nanosleep(&pause, NULL);
	}
}

static void
restore_log(void)
{
	dup2(real_stderr, 2);
	close(real_stderr);
}

/* --- Causes ------------------------------------------------------------------ */

START_TEST(watch_names_a_long_transaction_and_says_when_it_is_over)
{
	struct diagnosis d;
	struct tx *tx;

	fixture_open(&fx, "wal_limit=256KB wal_gate_time=off", schema);
	divert_log();
	ck_assert_int_eq(await(HEALTH_NONE, NULL).cause, HEALTH_NONE);
	tx = begin_reading();
	write_much(20);
	d = await(HEALTH_LONG_TX, NULL);
	ck_assert_int_eq(d.illness, HEALTH_PINNED);
	ck_assert_int_eq(d.pid, 4711);
	assert_in(
	    d.text, "a read transaction of pid 4711 (the test, uid 1234)");
	assert_in(d.text, "its last statement: SELECT count(*) FROM t");
	await_line("a read transaction of pid 4711");
	end_reading(tx);
	await(HEALTH_NONE, step_write);
	await_line("nothing is wrong");
	fixture_stop(&fx);
	ck_assert_int_eq(count_lines("a read transaction of pid 4711"), 1);
	ck_assert_int_eq(count_lines("nothing is wrong"), 1);
	restore_log();
	fixture_close(&fx);
}
END_TEST

START_TEST(watch_names_a_slow_consumer)
{
	struct request *r;
	struct diagnosis d;

	fixture_open(
	    &fx, "wal_limit=256KB wal_gate_time=off result_memory=4KB", schema);
	r = start_blocked();
	write_much(20);
	d = await(HEALTH_SLOW_CONSUMER, NULL);
	ck_assert_int_eq(d.pid, 4711);
	assert_in(d.text, "has not fetched all of a result");
	fixture_cancel(&fx, r, ERR_CANCELLED);
	fixture_take(&fx, r);
	await(HEALTH_NONE, step_write);
	fixture_close(&fx);
}
END_TEST

START_TEST(watch_names_a_long_read)
{
	struct request *r;
	struct diagnosis d;

	fixture_open(&fx, "wal_limit=256KB wal_gate_time=off", schema);
	r = fixture_read(&fx, fixture_exec(&fx, ENDLESS, NULL));
	write_much(20);
	d = await(HEALTH_LONG_READ, NULL);
	assert_in(
	    d.text, "a statement of pid 4711 (the test, uid 1234) has run");
	assert_in(d.text, "SELECT x FROM c, t WHERE x < 1");
	fixture_cancel(&fx, r, ERR_CANCELLED);
	fixture_take(&fx, r);
	fixture_close(&fx);
}
END_TEST

/* Two transactions that take turns, so that there is always one. */
static struct tx *open_tx;

static void
step_overlap_once(struct tx **tx)
{
	struct tx *next;

	write_much(1);
	next = begin_reading();
	end_reading(*tx);
	*tx = next;
	fixture_settle(&fx);
}

static void
step_overlap(void)
{
	step_overlap_once(&open_tx);
}

START_TEST(watch_names_reads_that_overlap)
{
	struct diagnosis d;

	fixture_open(&fx, "wal_limit=256KB wal_gate_time=off", schema);
	open_tx = begin_reading();
	d = await(HEALTH_OVERLAP, step_overlap);
	assert_in(d.text, "reads overlap without a gap");
	end_reading(open_tx);
	await(HEALTH_NONE, step_write);
	fixture_close(&fx);
}
END_TEST

static void
hold_keepers(void)
{
	squeue_kick(&fx.gates[2].q);
	while (sem_wait(&fx.gates[2].entered) < 0)
		continue;
}

START_TEST(watch_names_one_huge_transaction)
{
	struct diagnosis d;

	fixture_open(&fx, "wal_limit=256KB", schema);
	hold_keepers();
	run_write("INSERT INTO t(v) VALUES(zeroblob(1000000))");
	d = await(HEALTH_HUGE_TX, NULL);
	ck_assert_int_eq(d.illness, HEALTH_PINNED);
	ck_assert_int_eq(d.pid, 4711);
	assert_in(d.text, "wrote 1.0 MB, with: INSERT INTO t(v)");
	sem_post(&fx.gates[2].leave);
	await(HEALTH_NONE, step_write);
	fixture_close(&fx);
}
END_TEST

static void
step_spill(void)
{
	fixture_take(&fx,
	    fixture_write(&fx,
		fixture_in(open_tx,
		    fixture_exec(&fx,
			"INSERT INTO t(v) VALUES(zeroblob(300000))", NULL))));
}

/* It is seen by what it spills, before it commits. */
START_TEST(watch_names_a_huge_transaction_that_is_open)
{
	struct diagnosis d;
	struct tx *tx;

	fixture_open(&fx, "wal_limit=256KB cache_bytes=64KB", schema);
	tx = fixture_begin(&fx, TX_MODE_IMMEDIATE);
	fixture_take(&fx,
	    fixture_write(&fx,
		fixture_in(tx,
		    fixture_exec(
			&fx, "UPDATE t SET v = 'two' WHERE id = 1", NULL))));
	open_tx = tx;
	d = await(HEALTH_HUGE_TX, step_spill);
	ck_assert_int_eq(d.pid, 4711);
	assert_in(d.text,
	    "one transaction of pid 4711 (the test, uid 1234) is "
	    "open and has written");
	fixture_take(
	    &fx, fixture_write(&fx, fixture_in(tx, fixture_end(&fx, true))));
	tx_unref(tx);
	await(HEALTH_NONE, step_write);
	fixture_close(&fx);
}
END_TEST

START_TEST(watch_says_that_the_disk_is_too_slow)
{
	struct diagnosis d;

	fixture_open(&fx, "wal_limit=256KB", schema);
	write_much(5);
	fixture_settle(&fx); /* one checkpoint that copied everything */
	hold_keepers();      /* and one that never comes to an end */
	write_much(30);
	d = await(HEALTH_SLOW_DISK, NULL);
	assert_in(d.text, "more is written");
	sem_post(&fx.gates[2].leave);
	await(HEALTH_NONE, step_write);
	fixture_close(&fx);
}
END_TEST

START_TEST(watch_says_why_checkpoints_fail)
{
	static const struct {
		int code;
		const char *text;
	} faults[] = {
		{ SQLITE_FULL, "database or disk is full" },
		{ SQLITE_IOERR_WRITE, "disk I/O error" },
	};
	struct diagnosis d;

	fixture_open(&fx, "wal_limit=256KB", schema);
	write_much(5);
	fixture_settle(&fx); /* the keeper has its connection */
	faults_watch_files(&fx);
	faults_arm(FAULT_DB_WRITE, 0, 1000000, faults[_i].code);
	d = await(HEALTH_FAILING, step_write);
	assert_in(d.text, "checkpoints have failed for");
	assert_in(d.text, faults[_i].text);
	ck_assert(faults_disarm());
	await(HEALTH_NONE, step_write);
	ck_assert_str_eq(fixture_query(&fx, "PRAGMA integrity_check"), "ok\n");
	fixture_close(&fx);
}
END_TEST

/* The gate says that it gave up: once in a row. */
START_TEST(watch_hears_that_the_gate_gave_up)
{
	struct health h;
	struct tx *tx;

	fixture_open(&fx, "wal_limit=256KB wal_gate_time=5ms", schema);
	divert_log();
	tx = begin_reading();
	while (stats_get(STAT_gates_given_up) < 3)
		step_overlap_once(&tx);
	watch_get_health(fx.db->watch, &h);
	ck_assert_uint_ge(h.facts.checkpoints.given_up_n, 3);
	end_reading(tx);
	fixture_stop(&fx);
	ck_assert_int_eq(
	    count_lines("app: the writer has waited 5 ms for readers, so that "
			"the WAL can begin anew, and goes on without"),
	    1);
	restore_log();
	fixture_close(&fx);
}
END_TEST

/* --- Outside ----------------------------------------------------------------- */

/* A process that opens the path it is told, reads, and then does nothing more. */
struct outsider {
	pid_t pid;
	int to, from;
};

static void
be_outsider(int from, int to)
{
	char path[256] = "";
	sqlite3 *db = NULL;

	if (read(from, path, sizeof(path) - 1) <= 0 ||
	    sqlite3_open(path, &db) != SQLITE_OK ||
	    sqlite3_exec(db, "BEGIN; SELECT count(*) FROM t", NULL, NULL,
		NULL) != SQLITE_OK ||
	    write(to, "x", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

/* Before SQLite is used in this process. */
static void
make_outsider(struct outsider *o)
{
	int there[2], back[2];

	ck_assert_int_eq(pipe2(there, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(back, O_CLOEXEC), 0);
	o->pid = fork();
	ck_assert_int_ge(o->pid, 0);
	if (o->pid == 0)
		be_outsider(there[0], back[1]);
	close(there[0]);
	close(back[1]);
	o->to = there[1];
	o->from = back[0];
}

static void
let_outsider_read(struct outsider *o)
{
	char x;

	ck_assert_int_gt(write(o->to, fx.path, strlen(fx.path)), 0);
	ck_assert_int_eq(read(o->from, &x, 1), 1);
}

static void
end_outsider(struct outsider *o)
{
	kill(o->pid, SIGKILL);
	waitpid(o->pid, NULL, 0);
	close(o->to);
	close(o->from);
}

START_TEST(watch_names_a_reader_outside_the_daemon)
{
	struct outsider o;
	struct diagnosis d;

	make_outsider(&o);
	fixture_open(
	    &fx, "access=shared wal_limit=256KB wal_gate_time=off", schema);
	let_outsider_read(&o);
	write_much(20);
	d = await(HEALTH_OUTSIDE_READER, NULL);
	ck_assert_int_eq(d.illness, HEALTH_PINNED);
	ck_assert_int_eq(d.pid, o.pid);
	assert_in(d.text,
	    fixture_format(&fx, "process %d, outside the daemon", (int)o.pid));
	end_outsider(&o);
	await(HEALTH_NONE, step_write);
	fixture_close(&fx);
}
END_TEST

/* Nothing here checkpoints, not even when the last connection is closed. */
START_TEST(watch_leaves_checkpoints_to_their_owner)
{
	struct stat before, after;
	struct diagnosis d;
	const char *wal;

	fixture_init(
	    &fx, "access=shared checkpoint=external wal_limit=256KB", schema);
	divert_log();
	ck_assert_ptr_null(fixture_start(&fx));
	ck_assert_int_eq(count_lines("checkpoint = external, and SQLite"),
	    wal_library_has_reset_bug());
	ck_assert_int_eq(stat(fx.path, &before), 0);
	write_much(40);
	d = await(HEALTH_EXTERNAL, NULL);
	assert_in(d.text, "checkpoints are left to another program");
	fixture_stop(&fx);
	ck_assert_uint_eq(stats_get(STAT_checkpoints), 0);
	dbconn_close(fx.hot);
	dbs_close(&fx.dbs);
	fx.db = NULL;
	restore_log();
	ck_assert_int_eq(stat(fx.path, &after), 0);
	ck_assert_int_eq(after.st_size, before.st_size);
	wal = fixture_format(&fx, "%s-wal", fx.path);
	ck_assert_int_eq(stat(wal, &after), 0);
	ck_assert_int_gt(after.st_size, INT64_C(40) * 40000);
	fixture_close(&fx);
}
END_TEST

/* --- max_snapshot_age ---------------------------------------------------------- */

#define AGED "wal_limit=256KB wal_gate_time=off max_snapshot_age=100ms "

/* Tick until so many were ended. */
static void
await_ended(uint64_t n)
{
	struct timespec pause = { .tv_nsec = 2000000 };

	while (stats_get(STAT_snapshots_ended) < n) {
		watch_tick(fx.db->watch);
		nanosleep(&pause, NULL);
	}
	fixture_settle(&fx);
}

START_TEST(watch_ends_old_snapshots_and_tells_their_owners)
{
	struct request *blocked, *running;
	struct tx *idle;
	const char *text;

	fixture_open(&fx, AGED "result_memory=4KB reader_threads=2", schema);
	blocked = start_blocked();
	idle = begin_reading();
	running = fixture_read(&fx, fixture_exec(&fx, ENDLESS, NULL));
	write_much(20);
	await_ended(3);
	text = fixture_take(&fx, blocked);
	assert_in(text,
	    "ERROR name=SNAPSHOT_ENDED message='the read was ended: "
	    "its snapshot grew older than max_snapshot_age");
	assert_in(fixture_take(&fx, running), "ERROR name=SNAPSHOT_ENDED");
	while (!atomic_load(&idle->expired))
		readers_tick(fx.db->readers);
	assert_in(idle->expired_text,
	    "it was reading, with the WAL over its limit, for ");
	assert_in(idle->expired_text,
	    "the limit of max_snapshot_age; send "
	    "ROLLBACK");
	tx_unref(idle);
	ck_assert_uint_eq(
	    readers_list_snapshots(fx.db->readers, &(struct snapshot){ 0 }, 1),
	    0);
	await(HEALTH_NONE, step_write);
	fixture_close(&fx);
}
END_TEST

/* A statement within a transaction ends both. */
START_TEST(watch_ends_a_transaction_in_the_middle_of_a_statement)
{
	struct request *r;
	struct tx *tx;

	fixture_open(&fx, AGED "reader_threads=2", schema);
	tx = begin_reading();
	r = fixture_read(&fx, fixture_in(tx, fixture_exec(&fx, ENDLESS, NULL)));
	write_much(20);
	await_ended(1);
	assert_in(fixture_take(&fx, r), "ERROR tx_state=4 name=TX_EXPIRED");
	assert_in(tx->expired_text, "max_snapshot_age");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

/* One that has come before a thread had time to end it does not run in it. */
START_TEST(watch_ends_a_transaction_before_its_next_statement)
{
	struct request *r;
	struct tx *tx;

	fixture_open(&fx, AGED, schema);
	tx = begin_reading();
	write_much(20);
	fixture_hold_readers(&fx);
	ck_assert_uint_eq(readers_end_old(fx.db->readers, clock_now_us()), 1);
	r = fixture_read(
	    &fx, fixture_in(tx, fixture_exec(&fx, "SELECT 1", NULL)));
	fixture_release_readers(&fx);
	fixture_wait(&fx, r);
	ck_assert_int_eq(r->reroute, REROUTE_AGAIN);
	ck_assert_int_eq(r->tx_state, TX_STATE_EXPIRED);
	ck_assert_int_eq(atomic_load(&tx->expired), ERR_TX_EXPIRED);
	request_free(r);
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

START_TEST(watch_lets_old_snapshots_live_while_the_wal_is_small)
{
	struct timespec pause = { .tv_nsec = 300000000 };
	struct tx *tx;

	fixture_open(&fx, AGED, schema);
	tx = begin_reading();
	write_much(1);
	nanosleep(&pause, NULL); /* it only gets older */
	watch_tick(fx.db->watch);
	fixture_stop(&fx);
	ck_assert_uint_eq(stats_get(STAT_snapshots_ended), 0);
	ck_assert_int_eq(atomic_load(&tx->expired), 0);
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("watch");
	TCase *tc = tcase_create("causes");

	tcase_set_timeout(tc, 20);
	tcase_add_test(
	    tc, watch_names_a_long_transaction_and_says_when_it_is_over);
	tcase_add_test(tc, watch_names_a_slow_consumer);
	tcase_add_test(tc, watch_names_a_long_read);
	tcase_add_test(tc, watch_names_reads_that_overlap);
	tcase_add_test(tc, watch_names_one_huge_transaction);
	tcase_add_test(tc, watch_names_a_huge_transaction_that_is_open);
	tcase_add_test(tc, watch_says_that_the_disk_is_too_slow);
	tcase_add_loop_test(tc, watch_says_why_checkpoints_fail, 0, 2);
	tcase_add_test(tc, watch_hears_that_the_gate_gave_up);
	tcase_add_test(tc, watch_names_a_reader_outside_the_daemon);
	tcase_add_test(tc, watch_leaves_checkpoints_to_their_owner);
	suite_add_tcase(s, tc);
	tc = tcase_create("max_snapshot_age");
	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, watch_ends_old_snapshots_and_tells_their_owners);
	tcase_add_test(
	    tc, watch_ends_a_transaction_in_the_middle_of_a_statement);
	tcase_add_test(tc, watch_ends_a_transaction_before_its_next_statement);
	tcase_add_test(
	    tc, watch_lets_old_snapshots_live_while_the_wal_is_small);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
