/* check_db.c - databases: opened, found, closed, and why one cannot be. */
#include <check.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/error.h"
#include "tests/lib/faults.h"
#include "tests/lib/proc.h"

static struct fixture fx;

static void
set_path(const char *path)
{
	free(fx.conf->dbs[0].path);
	fx.conf->dbs[0].path = strdup(path);
	ck_assert_ptr_nonnull(fx.conf->dbs[0].path);
}

static void
make_file(const char *path, const char *content)
{
	size_t n = strlen(content);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, content, n), (ssize_t)n);
	close(fd);
}

static const char *
in_dir(const char *name)
{
	return fixture_format(&fx, "%s/%s", fx.dir, name);
}

static void
assert_says(const char *got, const char *want)
{
	ck_assert_ptr_nonnull(got);
	ck_assert_str_eq(got, want);
	/* nothing of the attempt is left */
	ck_assert_ptr_null(fx.dbs.known);
	ck_assert_uint_eq(fx.dbs.n, 0);
}

/* --- Opening --------------------------------------------------------------- */

START_TEST(db_that_is_absent_is_created_in_wal_mode)
{
	fixture_open(&fx, NULL, NULL);
	ck_assert_str_eq(fixture_query(&fx, "PRAGMA journal_mode"), "wal\n");
	fixture_close(&fx);
}
END_TEST

START_TEST(db_with_another_journal_mode_is_switched_to_wal)
{
	fixture_open(
	    &fx, NULL, "CREATE TABLE t(v); INSERT INTO t VALUES('kept')");
	ck_assert_str_eq(
	    fixture_query(&fx, "PRAGMA journal_mode; SELECT * FROM t"),
	    "wal\nkept\n");
	fixture_close(&fx);
}
END_TEST

START_TEST(db_that_is_an_empty_file_is_a_database)
{
	fixture_init(&fx, NULL, NULL);
	make_file(fx.path, "");
	ck_assert_ptr_null(fixture_start(&fx));
	fixture_close(&fx);
}
END_TEST

START_TEST(db_is_closed_with_its_wal_copied_into_the_file)
{
	struct stat st;

	fixture_open(&fx, NULL, "CREATE TABLE t(v)");
	fixture_take(&fx,
	    fixture_write(&fx,
		fixture_exec(
		    &fx, "INSERT INTO t VALUES(zeroblob(100000))", NULL)));
	dbs_stop(&fx.dbs);
	dbconn_close(fx.hot);
	fx.hot = NULL;
	dbs_close(&fx.dbs);
	ck_assert_int_lt(stat(fixture_format(&fx, "%s-wal", fx.path), &st), 0);
	ck_assert_int_eq(stat(fx.path, &st), 0);
	ck_assert_int_gt(st.st_size, 100000);
	fx.db = NULL;
	fixture_close(&fx);
}
END_TEST

/* What a daemon that was killed left behind. */
START_TEST(db_with_a_wal_is_recovered)
{
	pid_t pid;
	int status;

	fixture_init(&fx, NULL, "CREATE TABLE t(v)");
	pid = fork();
	if (pid == 0) {
		if (fixture_start(&fx))
			_exit(1);
		fixture_take(&fx,
		    fixture_write(&fx,
			fixture_exec(
			    &fx, "INSERT INTO t VALUES('kept')", NULL)));
		kill(getpid(), SIGKILL);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	ck_assert_ptr_null(fixture_start(&fx));
	ck_assert_str_eq(fixture_query(&fx, "SELECT * FROM t"), "kept\n");
	fixture_close(&fx);
}
END_TEST

/* A thread for each connection that may read, within reason. */
START_TEST(db_with_reader_threads_of_its_own_choice_is_served)
{
	fixture_open(&fx, "reader_threads=0 read_connections=3", NULL);
	ck_assert_str_eq(
	    fixture_take(
		&fx, fixture_read(&fx, fixture_exec(&fx, "SELECT 1", NULL))),
	    "DONE columns=['1'] rows=[[1]]");
	fixture_close(&fx);
}
END_TEST

/* The tick of the main thread reaches writers and readers of all. */
START_TEST(db_tick_ends_what_is_too_old)
{
	struct tx *tx[2];

	fixture_open(&fx, "tx_max_age=10ms", "CREATE TABLE t(v)");
	for (int i = 0; i < 2; i++) {
		struct request *r;

		tx[i] = fixture_begin(&fx, TX_MODE_DEFERRED);
		r = fixture_in(
		    tx[i], fixture_exec(&fx, "SELECT count(*) FROM t", NULL));
		fixture_take(
		    &fx, i ? fixture_read(&fx, r) : fixture_write(&fx, r));
	}
	while (!tx[0]->expired || !tx[1]->expired) {
		dbs_tick(&fx.dbs);
		fixture_settle(&fx);
	}
	tx_unref(tx[0]);
	tx_unref(tx[1]);
	fixture_close(&fx);
}
END_TEST

/* --- Why one cannot be opened ---------------------------------------------- */

START_TEST(db_in_a_directory_that_is_absent_says_so)
{
	fixture_init(&fx, NULL, NULL);
	set_path(in_dir("no/app.db"));
	assert_says(fixture_start(&fx),
	    fixture_format(&fx,
		"cannot open %s/no/app.db: directory %s/no: No such file or "
		"directory; create it or correct the path",
		fx.dir, fx.dir));
	fixture_close(&fx);
}
END_TEST

START_TEST(db_below_a_file_says_so)
{
	fixture_init(&fx, NULL, NULL);
	make_file(fx.path, "x");
	set_path(in_dir("app.db/app.db"));
	assert_says(fixture_start(&fx),
	    fixture_format(&fx,
		"cannot open %s/app.db/app.db: %s/app.db is not a directory; "
		"correct the path",
		fx.dir, fx.dir));
	fixture_close(&fx);
}
END_TEST

START_TEST(db_that_is_a_directory_says_so)
{
	fixture_init(&fx, NULL, NULL);
	ck_assert_int_eq(mkdir(fx.path, 0700), 0);
	assert_says(fixture_start(&fx),
	    fixture_format(&fx,
		"cannot open %s: it is a directory; give the path of a file "
		"in it",
		fx.path));
	rmdir(fx.path);
	fixture_close(&fx);
}
END_TEST

/* SQLite would take it, and what is written to /dev/null is gone. */
START_TEST(db_that_is_no_regular_file_is_refused)
{
	fixture_init(&fx, NULL, NULL);
	ck_assert_int_eq(symlink("/dev/null", fx.path), 0);
	assert_says(fixture_start(&fx),
	    fixture_format(&fx,
		"cannot open %s: it is not a regular file; give the path of "
		"one",
		fx.path));
	unlink(fx.path);
	fixture_close(&fx);
}
END_TEST

START_TEST(db_that_is_something_else_says_so)
{
	fixture_init(&fx, NULL, NULL);
	make_file(fx.path,
	    "This is a letter to my aunt. It is longer than the "
	    "header of a database, that is 100 bytes, so that "
	    "there is no doubt.");
	assert_says(fixture_start(&fx),
	    fixture_format(&fx,
		"cannot open %s: it is not an SQLite database, or it is "
		"encrypted; give the path of a database, or of a file that "
		"does not exist yet",
		fx.path));
	fixture_close(&fx);
}
END_TEST

/* The configuration has refused them before. */
static const char *const no_files[] = { ":memory:", "",
	"file::memory:", "file:app.db?vfs=memdb", "FILE:app.db?mode=memory",
	"file:/tmp/app.db" };

START_TEST(db_that_is_no_file_is_refused)
{
	const char *why;

	fixture_init(&fx, NULL, NULL);
	set_path(no_files[_i]);
	why = fixture_start(&fx);
	ck_assert_ptr_nonnull(why);
	ck_assert_msg(strstr(why, "; write the path of a file"), "%s", why);
	fixture_close(&fx);
}
END_TEST

START_TEST(db_whose_schema_is_broken_says_what_sqlite_says)
{
	const char *why;

	fixture_init(&fx, NULL,
	    "CREATE TABLE t(v); PRAGMA writable_schema=1;"
	    "UPDATE sqlite_schema SET sql = 'CREATE TABLE t('");
	why = fixture_start(&fx);
	ck_assert_ptr_nonnull(why);
	ck_assert_ptr_nonnull(strstr(why,
	    fixture_format(
		&fx, "cannot open %s: malformed database schema", fx.path)));
	fixture_close(&fx);
}
END_TEST

/* A process that holds the file as a daemon does, until it is killed. */
static pid_t
start_holder(const char *path)
{
	int ready[2];
	pid_t pid;
	char ok;

	ck_assert_int_eq(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		sqlite3 *db;

		if (sqlite3_open_v2(path, &db,
			SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
			"unix-excl") == SQLITE_OK &&
		    sqlite3_exec(db,
			"PRAGMA journal_mode=WAL;"
			"CREATE TABLE held(v)",
			NULL, NULL, NULL) == SQLITE_OK &&
		    write(ready[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	ck_assert_int_eq(read(ready[0], &ok, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

START_TEST(db_that_another_process_has_open_names_it)
{
	pid_t pid;

	fixture_init(&fx, NULL, NULL);
	pid = start_holder(fx.path);
	assert_says(fixture_start(&fx),
	    fixture_format(&fx,
		"cannot open %s: process %d has it open; stop that process, or "
		"use sqlpool-cli if it is a daemon that serves the file "
		"already",
		fx.path, (int)pid));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	/* and then it can be */
	ck_assert_ptr_null(fixture_start(&fx));
	fixture_close(&fx);
}
END_TEST

/* In the moment when SQLite has opened it: that is the old one. */
static char replacement[PATH_MAX];

static int
replace_file(sqlite3 *db, char **message, const void *api)
{
	(void)db;
	(void)message;
	(void)api;
	if (replacement[0])
		ck_assert_int_eq(rename(replacement, fx.path), 0);
	replacement[0] = '\0';
	return SQLITE_OK;
}

/* Make it with SQLite alone. */
static void
make_db(const char *path, const char *sql)
{
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, sql, 0, 0, 0), SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

/* A file that has to be switched to WAL mode is written to, and SQLite looks then;
 * but not when it has that mode already. */
START_TEST(db_that_is_replaced_while_it_is_opened_says_so)
{
	const char *why;

	fixture_init(&fx, NULL, NULL);
	make_db(fx.path,
	    _i ? "CREATE TABLE t(v)"
	       : "PRAGMA journal_mode=WAL; CREATE TABLE t(v)");
	snprintf(replacement, sizeof(replacement), "%s.new", fx.path);
	make_db(replacement,
	    "CREATE TABLE t(v); CREATE TABLE u(v);"
	    "INSERT INTO t VALUES('new')");
	ck_assert_int_eq(
	    sqlite3_auto_extension((void (*)(void))replace_file), SQLITE_OK);
	why = fixture_start(&fx);
	sqlite3_reset_auto_extension();
	ck_assert_str_eq(replacement, "");
	assert_says(why,
	    fixture_format(&fx,
		"%s, or its WAL, was replaced or deleted just now; try again in a second",
		fx.path));
	ck_assert_ptr_null(fixture_start(&fx));
	fixture_take(&fx,
	    fixture_write(
		&fx, fixture_exec(&fx, "INSERT INTO t VALUES('more')", NULL)));
	ck_assert_str_eq(fixture_take(&fx,
			     fixture_read(&fx,
				 fixture_exec(&fx,
				     "SELECT group_concat(v) v FROM t", NULL))),
	    "DONE columns=['v'] rows=[['new,more']]");
	fixture_close(&fx);
}
END_TEST

/* The tests may run as root, who may do anything: so as nobody, for a moment,
 * in a directory that nobody can get to. */
static const char *
start_as_nobody(void)
{
	const char *why;

	if (geteuid() == 0)
		ck_assert_int_eq(setresuid(65534, 65534, 0), 0);
	why = fixture_start(&fx);
	if (getuid() == 65534)
		ck_assert_int_eq(setresuid(0, 0, 0), 0);
	return why;
}

START_TEST(db_in_a_directory_that_cannot_be_written_says_so)
{
	char dir[] = "/tmp/check-db-XXXXXX";

	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chmod(dir, 0555), 0);
	fixture_init(&fx, NULL, NULL);
	set_path(fixture_format(&fx, "%s/app.db", dir));
	assert_says(start_as_nobody(),
	    fixture_format(&fx,
		"cannot open %s/app.db: directory %s cannot be written "
		"(Permission denied), and SQLite keeps its WAL there; change "
		"its owner or mode, or run the daemon as its owner",
		dir, dir));
	rmdir(dir);
	fixture_close(&fx);
}
END_TEST

static const mode_t modes[] = { 0000, 0444 };

START_TEST(db_that_cannot_be_written_says_so)
{
	char dir[] = "/tmp/check-db-XXXXXX";
	const char *path;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chmod(dir, 0777), 0);
	fixture_init(&fx, NULL, NULL);
	path = fixture_format(&fx, "%s/app.db", dir);
	make_file(path, "");
	ck_assert_int_eq(chmod(path, modes[_i]), 0);
	set_path(path);
	assert_says(start_as_nobody(),
	    fixture_format(&fx,
		"cannot open %s: Permission denied; change its owner or mode, "
		"or run the daemon as its owner",
		path));
	unlink(path);
	rmdir(dir);
	fixture_close(&fx);
}
END_TEST

/* Whichever allocation of SQLite's fails (one, or two in a row): opened all the
 * same, or a reason is given; the sanitizers see that nothing is lost. */
START_TEST(db_that_finds_no_memory_says_so)
{
	int stride = proc_get_slowness() > 1 ? 5 : 1; /* odd: see below */
	bool hit = true;

	faults_watch_malloc();
	for (int n = 0; hit; n += stride) {
		const char *why;

		fixture_init(&fx, NULL, n % 2 ? "CREATE TABLE t(v)" : NULL);
		faults_arm(FAULT_MALLOC, n, _i, SQLITE_NOMEM);
		why = fixture_start(&fx);
		hit = faults_disarm();
		if (why && !strstr(why, "out of memory"))
			ck_abort_msg("allocation %d: %s", n, why);
		fixture_close(&fx);
	}
}
END_TEST

/* --- Several --------------------------------------------------------------- */

static void
add_db(const char *name)
{
	char err[CONF_ERR_MAX];

	ck_assert_msg(
	    conf_add_db(fx.conf,
		fixture_format(&fx, "%s=%s/%s", name, fx.dir, name), err) == 0,
	    "%s", err);
}

static struct db *
find(const char *name)
{
	struct failure f;
	struct db *db = NULL;

	failure_init(&f);
	dbs_find(&fx.dbs, (struct span){ (const uint8_t *)name, strlen(name) },
	    &db, &f);
	failure_fini(&f);
	return db;
}

START_TEST(db_is_found_by_its_name)
{
	char names[32];

	fixture_init(&fx, NULL, NULL);
	add_db("logs");
	add_db("app2");
	ck_assert_ptr_null(fixture_start(&fx));
	ck_assert_ptr_eq(find("app"), fx.db);
	ck_assert_str_eq(find("logs")->conf->name, "logs");
	ck_assert_str_eq(find("app2")->conf->name, "app2");
	ck_assert_uint_eq(find("app2")->index, 2);
	ck_assert_ptr_null(dbs_get_only(&fx.dbs));
	ck_assert_ptr_null(find("ap"));
	ck_assert_ptr_null(find("APP"));
	ck_assert_ptr_null(find(""));
	ck_assert_uint_gt(fx.dbs.epoch, 1600000000000000);
	dbs_put_names(&fx.dbs, names, sizeof(names));
	ck_assert_str_eq(names, "app, logs, app2");
	dbs_put_names(&fx.dbs, names, 8);
	ck_assert_str_eq(names, "app, lo");
	dbs_put_names(&fx.dbs, names, 1);
	ck_assert_str_eq(names, "");
	fixture_close(&fx);
}
END_TEST

START_TEST(db_that_fails_closes_those_before_it)
{
	const char *why;

	fixture_init(&fx, NULL, NULL);
	add_db("logs");
	ck_assert_int_eq(mkdir(in_dir("logs"), 0700), 0);
	why = fixture_start(&fx);
	ck_assert_ptr_nonnull(why);
	ck_assert_ptr_nonnull(strstr(why, "logs: it is a directory"));
	ck_assert_uint_eq(fx.dbs.n, 0);
	/* the first one is not held any more */
	ck_assert_int_eq(rmdir(in_dir("logs")), 0);
	ck_assert_ptr_null(fixture_start(&fx));
	fixture_close(&fx);
}
END_TEST

static struct hot *
ask(struct hot_box *box, struct db *db)
{
	struct hot *h = calloc(1, sizeof(*h));

	ck_assert_ptr_nonnull(h);
	h->home = box;
	h->db = db_ref(db);
	failure_init(&h->failure);
	db_ask(h);
	return h;
}

static void
wait_home(struct hot_box *box, struct hot *h)
{
	const struct hot *got;

	while (!(got = hot_take_home(box)))
		sched_yield();
	ck_assert_ptr_eq(got, h);
	ck_assert_ptr_nonnull(h->fresh);
	h->conn = h->fresh;
}

static void
give(struct hot *h)
{
	h->spent = h->conn;
	h->conn = NULL;
	db_give(h);
}

/* It was taken out, or is to serve again, before anybody watched it: nobody looks at
 * its watches any more. */
START_TEST(db_that_is_to_serve_is_not_waited_for)
{
	struct errand errand = { 0 };
	_Atomic int stop = 0;
	struct db_watch w = {
		.errand = &errand,
		.home = &fx.mailbox,
		.stop = &stop,
	};

	fixture_open(&fx, NULL, NULL);
	ck_assert(db_watch(fx.db, &w));
	ck_assert_ptr_null(fx.db->watches);
	ck_assert(!atomic_load(&fx.mailbox.has_errands));
	fixture_close(&fx);
}
END_TEST

/* Two have it rest, and one is told that it does when the other one's time is up. */
START_TEST(db_that_is_at_rest_is_not_given_up)
{
	bool serves;

	fixture_open(&fx, NULL, NULL);
	db_change_will(fx.db, 1U << DB_SERVES, DB_PAUSED);
	while (strcmp(db_get_state_name(fx.db), "paused") != 0)
		sched_yield();
	ck_assert(!db_give_up_rest(fx.db, DB_DISABLED, &serves));
	ck_assert(!serves);
	ck_assert(db_give_up_rest(fx.db, DB_PAUSED, &serves));
	ck_assert(!serves);
	ck_assert_int_eq(db_get_will(fx.db), DB_PAUSED);
	db_change_will(fx.db, 1U << DB_PAUSED, DB_SERVES);
	fixture_close(&fx);
}
END_TEST

START_TEST(db_that_comes_to_rest_is_given_up)
{
	bool serves;

	fixture_open(&fx, NULL, NULL);
	ck_assert(db_hold(fx.db));
	db_change_will(fx.db, 1U << DB_SERVES, DB_PAUSED);
	ck_assert(!db_give_up_rest(fx.db, DB_PAUSED, &serves));
	ck_assert(serves);
	ck_assert_int_eq(db_get_will(fx.db), DB_SERVES);
	db_release(fx.db);
	fixture_close(&fx);
}
END_TEST

/* Whoever looks at a database for a moment may be all that keeps it open. */
START_TEST(db_that_is_let_go_gives_its_room_to_who_waits)
{
	struct hot_box box = { .mailbox = &fx.mailbox };
	struct hot *first, *second;
	char err[CONF_ERR_MAX];
	struct db *db[2];

	fixture_init(&fx, "max_open=1", NULL);
	ck_assert_int_eq(conf_set(fx.conf, "directory", fx.dir, err), 0);
	make_file(in_dir("t0.db"), "");
	make_file(in_dir("t1.db"), "");
	ck_assert_ptr_null(fixture_start(&fx));
	db[0] = find("t0");
	db[1] = find("t1");
	first = ask(&box, db[0]);
	wait_home(&box, first);
	ck_assert(db_hold(db[0]));
	second = ask(&box, db[1]);
	while (atomic_load(&fx.dbs.wanting_n) == 0)
		sched_yield();
	pthread_mutex_lock(&fx.dbs.lock); /* it has looked for room */
	pthread_mutex_unlock(&fx.dbs.lock);
	ck_assert_int_eq(atomic_load(&first->order), HOT_STAY);
	db_release(db[0]);
	ck_assert_int_eq(atomic_load(&first->order), HOT_LEAVE_IDLE);
	give(first);
	wait_home(&box, second);
	give(second);
	db_unref(db[0]);
	db_unref(db[1]);
	fixture_close(&fx);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("db");
	TCase *tc = tcase_create("opening");

	tcase_add_test(tc, db_that_is_absent_is_created_in_wal_mode);
	tcase_add_test(tc, db_with_another_journal_mode_is_switched_to_wal);
	tcase_add_test(tc, db_that_is_an_empty_file_is_a_database);
	tcase_add_test(tc, db_is_closed_with_its_wal_copied_into_the_file);
	tcase_add_test(tc, db_with_a_wal_is_recovered);
	tcase_add_test(tc, db_with_reader_threads_of_its_own_choice_is_served);
	tcase_add_test(tc, db_tick_ends_what_is_too_old);
	suite_add_tcase(s, tc);
	tc = tcase_create("reasons");
	tcase_set_timeout(tc, 20); /* a start for each allocation */
	tcase_add_test(tc, db_in_a_directory_that_is_absent_says_so);
	tcase_add_test(tc, db_below_a_file_says_so);
	tcase_add_test(tc, db_that_is_a_directory_says_so);
	tcase_add_test(tc, db_that_is_no_regular_file_is_refused);
	tcase_add_test(tc, db_that_is_something_else_says_so);
	tcase_add_loop_test(tc, db_that_is_no_file_is_refused, 0,
	    (int)(sizeof(no_files) / sizeof(no_files[0])));
	tcase_add_test(tc, db_whose_schema_is_broken_says_what_sqlite_says);
	tcase_add_test(tc, db_that_another_process_has_open_names_it);
	tcase_add_loop_test(
	    tc, db_that_is_replaced_while_it_is_opened_says_so, 0, 2);
	tcase_add_test(tc, db_in_a_directory_that_cannot_be_written_says_so);
	tcase_add_loop_test(tc, db_that_cannot_be_written_says_so, 0, 2);
	tcase_add_loop_test(tc, db_that_finds_no_memory_says_so, 0, 2);
	suite_add_tcase(s, tc);
	tc = tcase_create("several");
	tcase_add_test(tc, db_is_found_by_its_name);
	tcase_add_test(tc, db_that_fails_closes_those_before_it);
	tcase_add_test(tc, db_that_is_let_go_gives_its_room_to_who_waits);
	tcase_add_test(tc, db_that_is_to_serve_is_not_waited_for);
	tcase_add_test(tc, db_that_is_at_rest_is_not_given_up);
	tcase_add_test(tc, db_that_comes_to_rest_is_given_up);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
