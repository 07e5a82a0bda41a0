/* check_changing.c - the configuration changes, by SET or a reload, while other threads
 * work with it. */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/names.h"
#include "tests/lib/fixture.h"

static struct fixture fx;

/* --- In the middle of it -------------------------------------------------------- */

/* Another thread, which acts when a reload says something with `at` in it.  The
 * reload goes on when it is done, or waits. */
static struct {
	const char *at;
	void (*act)(void);
	pthread_t thread;
	bool started;
	_Atomic pid_t tid;
	_Atomic bool done;
} other;

static void *
run_other(void *arg)
{
	other.tid = gettid();
	other.act();
	other.done = true;
	return arg;
}

static bool
is_asleep(pid_t tid)
{
	char path[64], text[256] = "";
	const char *state;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	state = n > 0 ? strrchr(text, ')') : NULL;
	return state && state[1] == ' ' && state[2] == 'S';
}

static void
say(void *arg, const char *line)
{
	(void)arg;
	if (other.started || !strstr(line, other.at))
		return;
	other.started = true;
	ck_assert_int_eq(
	    pthread_create(&other.thread, NULL, run_other, NULL), 0);
	while (!other.done && (other.tid == 0 || !is_asleep(other.tid)))
		sched_yield();
}

/* The next one that is looked for in a directory. */
static void (*at_look_up)(void);

/* Instead of the C library's, for dbfile_look_up. */
int
lstat(const char *path, struct stat *st)
{
	void (*act)(void) = at_look_up;

	at_look_up = NULL;
	if (act)
		act();
	return fstatat(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);
}

/* --- The configuration ---------------------------------------------------------- */

static void
set(const char *name, const char *value)
{
	char err[CONF_ERR_MAX];

	ck_assert_msg(dbs_change(&fx.dbs, name, value, err) == 0, "%s", err);
}

static const char *
get_path(const char *name)
{
	return fixture_format(&fx, "%s/%s.db", fx.dir, name);
}

static void
add_db(struct conf *conf, const char *name)
{
	char err[CONF_ERR_MAX];

	ck_assert_msg(
	    conf_add_db(conf,
		fixture_format(&fx, "%s=%s", name,
		    strcmp(name, "app") == 0 ? fx.path : get_path(name)),
		err) == 0,
	    "%s", err);
}

/* Of these databases, as they were but for who may write. */
static void
reload(
    const char *const *names, const char *writers, struct conf_changes *changes)
{
	struct conf *fresh = conf_new();
	char err[CONF_ERR_MAX];

	ck_assert_ptr_nonnull(fresh);
	ck_assert_int_eq(conf_set(fresh, "create", "on", err), 0);
	ck_assert_int_eq(conf_set(fresh, "writers", writers, err), 0);
	for (; *names; names++)
		add_db(fresh, *names);
	ck_assert_int_eq(dbs_reload(&fx.dbs, fresh, changes), 0);
	conf_free(fresh);
}

static void
reload_beside(const char *const *names, const char *at, void (*act)(void))
{
	struct conf_changes changes = { .say = say };

	other.at = at;
	other.act = act;
	reload(names, "*", &changes);
	ck_assert(other.started);
	pthread_join(other.thread, NULL);
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

/* --- Tests ---------------------------------------------------------------------- */

static void
set_app(void)
{
	set("app.max_queue", "77");
}

static void
set_all(void)
{
	set("max_queue", "77");
}

/* In the moment when the databases have been reloaded, and the list that SHOW CONFIG
 * shows not yet. */
START_TEST(set_during_a_reload_is_in_force_as_it_is_shown)
{
	fixture_open(&fx, NULL, NULL);
	reload_beside((const char *const[]){ "app", NULL }, "writer_threads",
	    _i ? set_all : set_app);
	ck_assert_uint_eq(fx.conf->dbs[0].max_queue, fx.db->conf->max_queue);
	ck_assert_uint_eq(fx.db->conf->max_queue, 77); /* it came last */
	fixture_close(&fx);
}
END_TEST

static struct db *replaced;

static void
replace_file(void)
{
	ck_assert_int_eq(unlink(replaced->conf->path), 0);
	ck_assert(!dbs_check_file(&fx.dbs, replaced));
}

/* There is room in the list where the reload has been already. */
START_TEST(file_replaced_during_a_reload_does_not_bring_its_database_back)
{
	struct conf_changes quiet = { 0 };

	fixture_init(&fx, NULL, NULL);
	add_db(fx.conf, "b");
	add_db(fx.conf, "c");
	add_db(fx.conf, "d");
	ck_assert_ptr_null(fixture_start(&fx));
	reload((const char *const[]){ "app", "c", "d", NULL }, "*", &quiet);
	while (dbs_count(&fx.dbs) > 3) {
		dbs_look_after(&fx.dbs);
		sched_yield();
	}
	replaced = find("d");
	ck_assert_ptr_nonnull(replaced);
	reload_beside((const char *const[]){ "app", "c", NULL },
	    "c.synchronous", replace_file);
	ck_assert(db_is_removed(replaced));
	ck_assert_ptr_null(find("d"));
	db_unref(replaced);
	fixture_close(&fx);
}
END_TEST

/* In which each name is a database. */
static void
init_directory(void)
{
	char err[CONF_ERR_MAX];

	fixture_init(&fx, "create=on", NULL);
	ck_assert_int_eq(conf_set(fx.conf, "directory", fx.dir, err), 0);
}

START_TEST(database_found_while_all_is_set_has_what_was_set)
{
	struct db *db;

	init_directory();
	ck_assert_ptr_null(fixture_start(&fx));
	at_look_up = set_all;
	db = find("tenant");
	ck_assert_ptr_nonnull(db);
	ck_assert_uint_eq(db->conf->max_queue, 77);
	db_unref(db);
	fixture_close(&fx);
}
END_TEST

enum { FOUND_N = 100 };

static void *
find_many(void *arg)
{
	char name[16];

	for (int i = 0; i < FOUND_N; i++) {
		snprintf(name, sizeof(name), "t%d", i);
		db_unref(find(name));
	}
	return arg;
}

/* The list of them moves as it grows; and what they have is copied while it changes.
 * ThreadSanitizer looks, too. */
START_TEST(databases_found_during_changes_have_what_is_in_force)
{
	struct conf_changes changes = { 0 };
	pthread_t thread;

	init_directory();
	ck_assert_ptr_null(fixture_start(&fx));
	ck_assert_int_eq(pthread_create(&thread, NULL, find_many, NULL), 0);
	for (int i = 0; i < 30; i++) {
		reload((const char *const[]){ "app", NULL },
		    i % 2 ? "*" : "root", &changes);
		set("max_queue", fixture_format(&fx, "%d", 100 + i));
	}
	pthread_join(thread, NULL);
	for (struct db *db = dbs_next(&fx.dbs, NULL); db;
	     db = dbs_next(&fx.dbs, db))
		ck_assert_uint_eq(db->conf->max_queue, 129);
	names_free_all(changes.replaced);
	fixture_close(&fx);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("changing");
	TCase *tc = tcase_create("beside others");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(
	    tc, set_during_a_reload_is_in_force_as_it_is_shown, 0, 2);
	tcase_add_test(
	    tc, file_replaced_during_a_reload_does_not_bring_its_database_back);
	tcase_add_test(tc, database_found_while_all_is_set_has_what_was_set);
	tcase_add_test(
	    tc, databases_found_during_changes_have_what_is_in_force);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
