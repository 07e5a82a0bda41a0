/* check_disk.c - a full disk: the writer is told, nothing that was acknowledged
 * is lost, and with room again all goes on.
 *
 * The disk is a tmpfs in a mount namespace of the test's own, so that nothing
 * is left of it.  Where that is not permitted a limit on the size of files
 * stands for it. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "tests/lib/live.h"

#define WRITERS     4
#define BALLAST     ((size_t)8 << 20)
#define DISK_OPTION "size=16m"
#define ROW_BYTES   20000

static struct live live;

struct writer {
	_Atomic int64_t acked, unknown;
	_Atomic int code, primary, outcome; /* of the error that ended it */
};

static struct writer *writers;

/* --- Disks ---------------------------------------------------------------- */

static char disk[LIVE_PATH_MAX + 8];
static char ballast[LIVE_PATH_MAX + 16];

/* A disk of 16 MB, half of which is taken.  False: not permitted. */
static bool
make_tmpfs(void)
{
	int fd;

	if (unshare(CLONE_NEWNS) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		printf("skipped: no mount namespace: %s\n", strerror(errno));
		return false;
	}
	snprintf(disk, sizeof(disk), "%s/disk", live.dir);
	snprintf(ballast, sizeof(ballast), "%s/ballast", disk);
	ck_assert_int_eq(mkdir(disk, 0755), 0);
	if (mount("tmpfs", disk, "tmpfs", 0, DISK_OPTION) < 0) {
		printf("skipped: no tmpfs: %s\n", strerror(errno));
		return false;
	}
	fd = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_eq(posix_fallocate(fd, 0, BALLAST), 0);
	close(fd);
	snprintf(
	    live.db_path, sizeof(live.db_path), "%.90s/disk/app.db", live.dir);
	return true;
}

static void
limit_files(void)
{
	struct rlimit limit = { 2 << 20, RLIM_INFINITY };

	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
}

static bool
make_limit(void)
{
	live.before_exec = limit_files;
	return true;
}

static void
free_tmpfs(void)
{
	ck_assert_int_eq(unlink(ballast), 0);
}

static void
free_limit(void)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

	ck_assert_int_eq(prlimit(live.pid, RLIMIT_FSIZE, &limit, NULL), 0);
}

static const struct {
	const char *option;
	bool (*make)(void);
	void (*make_room)(void);
	int primary; /* the error that says so */
} disks[] = {
	/* the file fills the disk, or its WAL does */
	{ "wal_limit=512KB", make_tmpfs, free_tmpfs, 13 },
	{ "wal_limit=64MB", make_tmpfs, free_tmpfs, 13 },
	{ "wal_limit=64MB", make_limit, free_limit, 10 },
};

/* --- Writers -------------------------------------------------------------- */

static int
insert(struct sqlpool_conn *conn, int64_t id, int64_t n)
{
	static char row[ROW_BYTES];

	return sqlpool_exec(conn, "INSERT INTO t VALUES (?1, ?2, ?3)",
	    SQLPOOL_VALUES(SQLPOOL_INT(id), SQLPOOL_INT(n),
		SQLPOOL_BLOB(row, sizeof(row))));
}

static bool
has_each_written(void)
{
	for (int i = 0; i < WRITERS; i++)
		if (atomic_load(&writers[i].acked) == 0)
			return false;
	return true;
}

/* Write until the disk is full, and then once more; no second row before each has
 * written one. */
static void
fill(void *arg)
{
	struct writer *w = arg;
	int64_t id = w - writers;
	struct sqlpool_conn *conn = live_connect(&live, "writer");
	const struct sqlpool_error *e = sqlpool_get_error(conn);

	for (int failed = 0; failed < 2;) {
		if (insert(conn, id, atomic_load(&w->acked)) == 0) {
			atomic_fetch_add(&w->acked, 1);
			while (!has_each_written())
				sched_yield();
			continue;
		}
		e = sqlpool_get_error(conn);
		failed++;
		if (e->outcome == SQLPOOL_UNKNOWN)
			atomic_fetch_add(&w->unknown, 1);
	}
	atomic_store(&w->code, e->code);
	atomic_store(&w->primary, e->primary);
	atomic_store(&w->outcome, e->outcome);
	sqlpool_close(conn);
}

static void
fill_disk(void)
{
	pid_t pids[WRITERS];

	writers = proc_share(WRITERS * sizeof(*writers));
	for (int i = 0; i < WRITERS; i++)
		pids[i] = proc_fork(fill, &writers[i]);
	for (int i = 0; i < WRITERS; i++)
		proc_join(pids[i]);
}

static void
check_count(int64_t count, int64_t more)
{
	int64_t least = more, most = more;

	for (int i = 0; i < WRITERS; i++) {
		least += writers[i].acked;
		most += writers[i].acked + writers[i].unknown;
	}
	ck_assert_msg(least <= count && count <= most,
	    "%lld rows, not %lld to %lld", (long long)count, (long long)least,
	    (long long)most);
}

START_TEST(a_full_disk_is_said_and_survived)
{
	struct sqlpool_conn *conn;
	int rc;

	live_init(&live);
	if (!disks[_i].make())
		return;
	live_start(&live, LIVE_OPTIONS(disks[_i].option));
	conn = live_connect(&live, "test");
	live_exec(conn, "CREATE TABLE t(id, n, v)");
	fill_disk();
	for (int i = 0; i < WRITERS; i++) {
		ck_assert_int_gt(writers[i].acked, 0);
		ck_assert_msg(writers[i].primary == disks[_i].primary,
		    "writer %d: %d", i, writers[i].code);
		if (disks[_i].primary == 13)
			ck_assert_int_eq(
			    writers[i].outcome, SQLPOOL_NOT_APPLIED);
	}
	/* reads go on */
	check_count(live_get_int(conn, "SELECT count(*) FROM t"), 0);
	disks[_i].make_room();
	for (int n = 0; n < 10; n++) {
		rc = insert(conn, WRITERS, n);
		ck_assert_msg(
		    rc == 0, "with room: %s", sqlpool_get_error(conn)->message);
	}
	check_count(live_get_int(conn, "SELECT count(*) FROM t"), 10);
	sqlpool_close(conn);
	live_stop(&live);
	live_check_file(live.db_path);
	check_count(
	    live_read_file_int(live.db_path, "SELECT count(*) FROM t"), 10);
	if (disks[_i].make == make_tmpfs)
		umount2(disk, MNT_DETACH);
	live_fini(&live);
}
END_TEST

/* It ends by SIGKILL while the disk is full, and begins anew. */
START_TEST(a_full_disk_loses_nothing_when_the_daemon_dies)
{
	struct sqlpool_conn *conn;

	live_init(&live);
	if (!disks[_i].make())
		return;
	live_start(&live, LIVE_OPTIONS(disks[_i].option));
	conn = live_connect(&live, "test");
	live_exec(conn, "CREATE TABLE t(id, n, v)");
	sqlpool_close(conn);
	fill_disk();
	live_kill(&live);
	disks[_i].make_room();
	live_start(&live, NULL);
	conn = live_connect(&live, "test");
	check_count(live_get_int(conn, "SELECT count(*) FROM t"), 0);
	sqlpool_close(conn);
	live_stop(&live);
	live_check_file(live.db_path);
	umount2(disk, MNT_DETACH);
	live_fini(&live);
}
END_TEST

/* --- Checkpoints ------------------------------------------------------------ */

#define LEFT_BYTES ((off_t)768 << 10)

/* Take the rest of the disk, but for a little. */
static void
take_rest(void)
{
	char path[LIVE_PATH_MAX + 16];
	struct statvfs st;
	int fd;

	snprintf(path, sizeof(path), "%s/more", disk);
	ck_assert_int_eq(statvfs(disk, &st), 0);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_eq(
	    posix_fallocate(
		fd, 0, (off_t)st.f_bavail * (off_t)st.f_bsize - LEFT_BYTES),
	    0);
	close(fd);
}

static struct sqlpool_conn *admin;

static bool
is_wal(const char *columns, const char *want)
{
	char *text = live_ask(admin, "SHOW WAL", columns);
	bool is_so = strstr(text, want) != NULL;

	free(text);
	return is_so;
}

static bool
has_failed(const void *arg)
{
	(void)arg;
	return is_wal("cause", "checkpoint_fails") &&
	    is_wal("text", "s: database or disk is full; look after the disk");
}

static bool
has_copied(const void *arg)
{
	(void)arg;
	return is_wal("cause", "none");
}

/* The log has all of it, and the file no room to grow. */
START_TEST(a_checkpoint_without_room_is_said_and_done_later)
{
	struct sqlpool_conn *conn, *reader;
	int64_t n = 0;

	live_init(&live);
	if (!make_tmpfs())
		return;
	live_start(&live, LIVE_OPTIONS("wal_limit=1MB", "wal_gate_time=10ms"));
	conn = live_connect(&live, "test");
	reader = live_connect(&live, "reader");
	admin = live_connect_admin(&live);
	live_exec(conn, "CREATE TABLE t(id, n, v)");
	/* nothing is copied while it reads */
	live_exec(reader, "BEGIN");
	ck_assert_int_eq(live_get_int(reader, "SELECT count(*) FROM t"), 0);
	for (; n < 150; n++)
		ck_assert_int_eq(insert(conn, 1, n), 0);
	take_rest();
	live_exec(reader, "COMMIT");
	/* now it is copied as far as there is room, which the log needs too */
	for (int i = 0; i < 20; i++)
		n += insert(conn, 1, n) == 0;
	ck_assert_int_gt(n, 150);
	proc_wait_until(has_failed, NULL, "the checkpoint fails");
	ck_assert_int_eq(live_get_int(conn, "SELECT count(*) FROM t"), n);
	free_tmpfs();
	for (int i = 0; i < 20; i++, n++)
		ck_assert_int_eq(insert(conn, 1, n), 0);
	proc_wait_until(has_copied, NULL, "it is copied");
	sqlpool_close(admin);
	sqlpool_close(reader);
	sqlpool_close(conn);
	live_stop(&live);
	live_check_file(live.db_path);
	ck_assert_int_eq(
	    live_read_file_int(live.db_path, "SELECT count(*) FROM t"), n);
	umount2(disk, MNT_DETACH);
	live_fini(&live);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("disk");
	TCase *tc = tcase_create("full");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 20);
	tcase_add_loop_test(tc, a_full_disk_is_said_and_survived, 0, 3);
	tcase_add_loop_test(
	    tc, a_full_disk_loses_nothing_when_the_daemon_dies, 0, 2);
	tcase_add_test(tc, a_checkpoint_without_room_is_said_and_done_later);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
