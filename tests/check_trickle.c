/* check_trickle.c - what a checkpoint or a copy writes goes to the disk a few pages at
 * a time, and little is left for the writer. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/db.h"
#include "daemon/dbcopy.h"
#include "daemon/keeper_impl.h"
#include "daemon/log.h"
#include "daemon/stats.h"
#include "daemon/wal.h"
#include "daemon/writer_impl.h"
#include "tests/lib/faults.h"
#include "tests/lib/fixture.h"

#define COUNT(rows)  (sizeof(rows) / sizeof((rows)[0]))
#define PAGE_BYTES   4096
#define PIECE_BYTES  ((off64_t)32 * PAGE_BYTES)
#define CALLS_MAX    256
#define LARGE        "INSERT INTO t VALUES(zeroblob(1000000))"
#define LARGE_FRAMES ((off64_t)240) /* at least */

static const char schema[] = "CREATE TABLE t(v)";

static struct fixture fx;

/* What Linux was asked to write out, and what it says to it.  The keeper's thread
 * asks, while the test waits for it. */
static struct {
	struct range {
		int fd;
		off64_t begin, end;
		unsigned flags;
	} calls[CALLS_MAX];
	int n;
	int error; /* of each; 0: none */
	const char
	    *commit;      /* SQL for each first one of a checkpoint, or NULL */
	int commits_n;    /* so often */
	const char *last; /* and then once, or NULL */
	uint64_t checkpoints; /* at the last commit */
} disk;

static void
commit(void)
{
	const char *sql = disk.commits_n > 0 ? disk.commit : disk.last;
	uint64_t checkpoints = stats_get(STAT_checkpoints);

	if (!sql || checkpoints == disk.checkpoints)
		return;
	if (disk.commits_n-- == 0)
		disk.last = NULL;
	disk.checkpoints = checkpoints;
	ck_assert_int_eq(
	    sqlite3_exec(faults_get_writer(&fx), sql, NULL, NULL, NULL),
	    SQLITE_OK);
}

/* Linux's: the one of the C library is not linked. */
int
sync_file_range(int fd, off64_t at, off64_t n, unsigned flags)
{
	commit();
	if (disk.n < CALLS_MAX)
		disk.calls[disk.n] = (struct range){ fd, at, at + n, flags };
	disk.n++;
	errno = disk.error;
	return disk.error ? -1 : 0;
}

/* A large row in the log, of which nothing is copied. */
static void
open_with_log(void)
{
	disk.n = 0;
	disk.error = 0;
	disk.commit = disk.last = NULL;
	disk.commits_n = 0;
	disk.checkpoints = UINT64_MAX;
	fixture_open(&fx, NULL, schema);
	log_set_level(CONF_LOG_ERROR);
	ck_assert_str_eq(
	    fixture_take(
		&fx, fixture_write(&fx, fixture_exec(&fx, LARGE, NULL))),
	    "DONE changes=1 rowid=1");
	fixture_settle(&fx);
	ck_assert_int_eq(
	    disk.n, 0); /* the writer's own writes do not trickle */
}

/* What came before to this crew, of one thread, has run, and nothing else will until
 * g->leave. */
static void
hold(struct fixture_gate *g)
{
	squeue_kick(&g->q);
	while (sem_wait(&g->entered) < 0)
		continue;
}

/* Let the keeper do a job, and the writer take note of it. */
static void
copy_log(void)
{
	struct keeper *k = fx.db->keeper;

	keeper_start(k);
	while (keeper_get_state(k) != KEEPER_IDLE)
		sched_yield();
	fixture_settle(&fx);
}

static void
get_log(uint32_t *copied, uint32_t *frames)
{
	ck_assert(wal_get_log(fx.db->writer->conn, copied, frames));
}

START_TEST(trickle_writes_each_piece_out_and_waits_for_it)
{
	uint32_t copied, frames;
	off64_t at = 0, written = 0;
	struct stat st, file;

	open_with_log();
	copy_log();
	get_log(&copied, &frames);
	ck_assert_uint_eq(copied, frames);
	ck_assert_int_gt(disk.n, 3);
	ck_assert_int_lt(disk.n, CALLS_MAX);
	ck_assert_int_eq(stat(fx.path, &file), 0);
	for (int i = 0; i < disk.n; i++) {
		const struct range *r = &disk.calls[i];

		ck_assert_int_ge(r->begin, at);
		ck_assert_int_ge(r->end - r->begin, PIECE_BYTES);
		ck_assert_uint_eq(r->flags,
		    SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
			SYNC_FILE_RANGE_WAIT_AFTER);
		ck_assert_int_eq(fstat(r->fd, &st), 0);
		ck_assert(st.st_dev == file.st_dev && st.st_ino == file.st_ino);
		at = r->end;
		written += PIECE_BYTES;
	}
	/* the rest is less than a piece: the sync writes that */
	ck_assert_int_gt(written, LARGE_FRAMES * PAGE_BYTES - PIECE_BYTES);
	fixture_close(&fx);
}
END_TEST

/* Nobody would learn of it later: so it counts as a sync that failed, whatever the
 * file system or the device (blk_errors in Linux's block/blk-core.c) calls it. */
static const int errors[] = { EIO, ENOSPC, EDQUOT, ENODATA, ETIMEDOUT, EUCLEAN,
	EINVAL };

START_TEST(trickle_that_fails_stops_the_writer)
{
	uint32_t copied, frames;

	open_with_log();
	disk.error = errors[_i];
	copy_log();
	ck_assert_int_eq(disk.n, 1); /* the checkpoint has ended there */
	get_log(&copied, &frames);
	ck_assert_uint_eq(copied, 0);
	disk.error = 0;
	ck_assert_str_eq(
	    fixture_take(
		&fx, fixture_write(&fx, fixture_exec(&fx, LARGE, NULL))),
	    "ERROR name=DATABASE_DOWN message='app is not written any "
	    "more: a sync of its file failed; see the daemon's log'");
	ck_assert_str_eq(fixture_query(&fx, "SELECT count(*) FROM t"), "1\n");
	fixture_close(&fx);
}
END_TEST

START_TEST(trickle_is_left_out_where_there_is_none)
{
	static const int none[] = { ENOSYS, EPERM };
	uint32_t copied, frames;

	open_with_log();
	disk.error = none[_i];
	copy_log();
	get_log(&copied, &frames);
	ck_assert_uint_eq(copied, frames);
	ck_assert_str_eq(
	    fixture_take(
		&fx, fixture_write(&fx, fixture_exec(&fx, LARGE, NULL))),
	    "DONE changes=1 rowid=2");
	fixture_close(&fx);
}
END_TEST

/* --- A copy of the database --------------------------------------------------------- */

/* Make one; gives what its last step says, SQLITE_OK for a complete one. */
static int
copy_database(struct failure *f)
{
	const char *path = fixture_format(&fx, "%s/copy", fx.dir);
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	struct dbcopy *c;
	int rc;

	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert_int_eq(dbcopy_open(&fx.conf->dbs[0], path, &c, f), 0);
	do
		rc = dbcopy_step(c, 64, f);
	while (rc == 0);
	dbcopy_close(c);
	return rc;
}

START_TEST(trickle_writes_a_copy_out)
{
	static const _Atomic int stop;
	struct failure f;

	failure_init(&f);
	open_with_log();
	ck_assert_int_eq(copy_database(&f), 1);
	ck_assert_int_gt(disk.n, 3);
	ck_assert_int_eq(
	    dbcopy_verify(fixture_format(&fx, "%s/copy", fx.dir), &stop, &f),
	    0);
	failure_fini(&f);
	fixture_close(&fx);
}
END_TEST

START_TEST(trickle_that_fails_ends_a_copy)
{
	struct failure f;

	failure_init(&f);
	open_with_log();
	disk.error = EIO;
	ck_assert_int_eq(copy_database(&f), -SQLITE_IOERR_WRITE);
	ck_assert_int_eq(disk.n, 1);
	failure_fini(&f);
	fixture_close(&fx);
}
END_TEST

/* --- How often the keeper copies --------------------------------------------------- */

/* As much as there is. */
#define DOUBLE "INSERT INTO t SELECT zeroblob(1000000) FROM t"

/* Commits come while it copies: so many large ones, and then a small one. */
static const struct {
	const char *large;
	int large_n;
	const char *last;
	int passes_n;
	bool is_much; /* more than a little is left */
} comes[] = {
	{ NULL, 0, NULL, 1, false },
	{ NULL, 0, "INSERT INTO t VALUES(1)", 1, false }, /* the writer's */
	{ LARGE, 1, NULL, 2, false },
	{ LARGE, 3, "INSERT INTO t VALUES(1)", 4, false },
	{ LARGE, 1000, NULL, 8, true }, /* it would never end */
	{ DOUBLE, 3, NULL, 2, true },   /* the writer is faster */
};

/* It takes over from the keeper when it runs, and copies the rest: until
 * fx.gates[0] lets go it does not. */
static void
hold_writer(void)
{
	hold(&fx.gates[0]);
}

START_TEST(keeper_copies_until_little_is_left)
{
	struct keeper *k;
	uint64_t before;
	uint32_t copied, frames;

	open_with_log();
	k = fx.db->keeper;
	hold_writer();
	disk.commit = comes[_i].large;
	disk.commits_n = comes[_i].large_n;
	disk.last = comes[_i].last;
	before = stats_get(STAT_checkpoints);
	keeper_start(k);
	while (keeper_get_state(k) == KEEPER_COPYING)
		sched_yield();
	ck_assert_int_eq(
	    (int)(stats_get(STAT_checkpoints) - before), comes[_i].passes_n);
	get_log(&copied, &frames);
	ck_assert_int_eq(frames - copied > 64, comes[_i].is_much);
	disk.commits_n = 0;
	disk.commit = disk.last = NULL;
	sem_post(&fx.gates[0].leave);
	fixture_settle(&fx);
	get_log(&copied, &frames);
	ck_assert_uint_eq(copied, frames);
	fixture_close(&fx);
}
END_TEST

static void
begin_reading(sqlite3 **ret)
{
	ck_assert_int_eq(sqlite3_open(fx.path, ret), SQLITE_OK);
	ck_assert_int_eq(
	    sqlite3_exec(*ret, "BEGIN; SELECT * FROM t", NULL, NULL, NULL),
	    SQLITE_OK);
}

/* What a snapshot keeps back is not copied by another pass either. */
START_TEST(keeper_copies_once_what_a_snapshot_keeps_back)
{
	sqlite3 *reader;
	uint64_t before;
	uint32_t copied, frames;

	fixture_open(&fx, NULL, schema);
	begin_reading(&reader);
	ck_assert_str_eq(
	    fixture_take(
		&fx, fixture_write(&fx, fixture_exec(&fx, LARGE, NULL))),
	    "DONE changes=1 rowid=1");
	fixture_settle(&fx);
	hold_writer();
	before = stats_get(STAT_checkpoints);
	keeper_start(fx.db->keeper);
	while (keeper_get_state(fx.db->keeper) == KEEPER_COPYING)
		sched_yield();
	ck_assert_uint_eq(stats_get(STAT_checkpoints) - before, 1);
	get_log(&copied, &frames);
	ck_assert_uint_gt(frames - copied, 64);
	sem_post(&fx.gates[0].leave);
	sqlite3_close(reader);
	fixture_settle(&fx);
	fixture_close(&fx);
}
END_TEST

/* --- A writer that is faster ----------------------------------------------------------- */

static struct request *
put_write(const char *sql)
{
	return fixture_write(&fx, fixture_exec(&fx, sql, NULL));
}

/* The keeper is far behind, and cannot run until fx.gates[2] lets go.  Gives what is
 * written next.  Somebody reads what was there before, and goes on, unless ret_reader
 * is NULL. */
static struct request *
leave_keeper_behind(const char *options, sqlite3 **ret_reader)
{
	struct request *r;

	disk.commit = disk.last = NULL;
	disk.error = disk.n = disk.commits_n = 0;
	fixture_open(&fx, options, schema);
	log_set_level(CONF_LOG_ERROR);
	if (ret_reader)
		begin_reading(ret_reader);
	hold(&fx.gates[2]);
	for (int i = 0; i < 2; i++)
		fixture_take(&fx, put_write(LARGE));
	ck_assert_int_eq(keeper_get_state(fx.db->keeper), KEEPER_COPYING);
	r = put_write("INSERT INTO t VALUES(1)");
	while (stats_get(STAT_holds) == 0)
		sched_yield();
	return r;
}

static void
expect_written(struct request *r)
{
	ck_assert_int_eq(
	    strncmp(fixture_take(&fx, r), "DONE changes=1", 14), 0);
}

START_TEST(writer_waits_for_a_keeper_that_is_far_behind)
{
	struct request *r = leave_keeper_behind(
	    "wal_limit=256KB wal_gate_time=10s", NULL);

	ck_assert_uint_eq(writer_get_queue_n(fx.db->writer), 1);
	sem_post(&fx.gates[2].leave);
	expect_written(r);
	ck_assert_uint_eq(stats_get(STAT_wal_restarts), 1);
	ck_assert_uint_eq(stats_get(STAT_holds), 1);
	ck_assert_int_lt(wal_get_bytes(fx.db->writer->conn), 256 << 10);
	fixture_settle(&fx);
	fixture_close(&fx);
}
END_TEST

/* When it may wait again. */
static void
set_next_wait(struct writer *w, int64_t at_us)
{
	hold_writer();
	ck_assert_int_gt(w->gate_us, 0);
	w->gate_us = at_us;
	sem_post(&fx.gates[0].leave);
}

/* And then runs for as long, before it waits again. */
START_TEST(writer_does_not_wait_for_longer_than_it_may)
{
	struct request *r = leave_keeper_behind(
	    "wal_limit=256KB wal_gate_time=1s", NULL);
	struct writer *w = fx.db->writer;

	expect_written(r);
	set_next_wait(w, INT64_MAX);
	expect_written(put_write("INSERT INTO t VALUES(1)"));
	ck_assert_uint_eq(stats_get(STAT_holds), 1);
	set_next_wait(w, 0);
	r = put_write("INSERT INTO t VALUES(1)");
	while (stats_get(STAT_holds) == 1)
		sched_yield();
	ck_assert_uint_eq(writer_get_queue_n(w), 1);
	sem_post(&fx.gates[2].leave);
	expect_written(r);
	fixture_settle(&fx);
	fixture_close(&fx);
}
END_TEST

/* What a snapshot keeps back is not waited for. */
START_TEST(writer_does_not_wait_for_what_nobody_can_copy)
{
	sqlite3 *reader;
	struct request *r = leave_keeper_behind(
	    "wal_limit=256KB wal_gate_time=10s", &reader);

	sem_post(&fx.gates[2].leave);
	expect_written(r);
	expect_written(put_write("INSERT INTO t VALUES(1)"));
	ck_assert_uint_eq(stats_get(STAT_holds), 1);
	ck_assert_uint_eq(stats_get(STAT_wal_restarts), 0);
	sqlite3_close(reader);
	fixture_settle(&fx);
	fixture_close(&fx);
}
END_TEST

static void
write_bytes(int n)
{
	const char *sql = fixture_format(
	    &fx, "INSERT INTO t VALUES(zeroblob(%d))", n);

	ck_assert_int_eq(
	    strncmp(fixture_take(
			&fx, fixture_write(&fx, fixture_exec(&fx, sql, NULL))),
		"DONE ", 5),
	    0);
	fixture_settle(&fx);
}

/* Reads that overlap keep the log; a commit takes it over the hard limit, where the
 * writer is held until the keeper has run, though it ran just before. */
START_TEST(keeper_copies_at_once_when_the_log_gets_over_the_hard_limit)
{
	uint32_t before, copied, frames;
	sqlite3 *first, *second;

	fixture_open(&fx,
	    "wal_limit=256KB wal_hard_limit=256KB wal_gate_time=0", schema);
	write_bytes(1);
	begin_reading(&first);
	write_bytes(
	    150000); /* half of the limit: a job, and first is in its way */
	get_log(&before, &frames);
	ck_assert_uint_lt(before, frames);
	begin_reading(&second);
	sqlite3_close(first);
	write_bytes(120000);
	get_log(&copied, &frames);
	ck_assert_uint_gt(copied, before + 30);
	sqlite3_close(second);
	fixture_close(&fx);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("trickle");
	TCase *tc = tcase_create("trickle");

	tcase_add_test(tc, trickle_writes_each_piece_out_and_waits_for_it);
	tcase_add_loop_test(
	    tc, trickle_that_fails_stops_the_writer, 0, (int)COUNT(errors));
	tcase_add_loop_test(tc, trickle_is_left_out_where_there_is_none, 0, 2);
	tcase_add_test(tc, trickle_writes_a_copy_out);
	tcase_add_test(tc, trickle_that_fails_ends_a_copy);
	tcase_add_loop_test(
	    tc, keeper_copies_until_little_is_left, 0, (int)COUNT(comes));
	tcase_add_test(tc, keeper_copies_once_what_a_snapshot_keeps_back);
	tcase_add_test(tc, writer_waits_for_a_keeper_that_is_far_behind);
	tcase_add_test(tc, writer_does_not_wait_for_longer_than_it_may);
	tcase_add_test(tc, writer_does_not_wait_for_what_nobody_can_copy);
	tcase_add_test(
	    tc, keeper_copies_at_once_when_the_log_gets_over_the_hard_limit);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
