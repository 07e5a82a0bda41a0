/* check_reload.c - SIGHUP: the configuration is read again, as a whole or not at
 * all, and nobody who is served notices. */
#include <check.h>
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/error.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

enum { PATH_N = 2 * LIVE_PATH_MAX };

static struct live live;
static struct rawconn c;
static char conf_path[PATH_N];

/* Write the file: a database app, and what else is given. */
static void __attribute__((format(printf, 1, 2)))
write_conf(const char *fmt, ...)
{
	FILE *file = fopen(conf_path, "we");
	va_list args;

	ck_assert_ptr_nonnull(file);
	fprintf(file, "database app { path = \"%s\" }\n", live.db_path);
	va_start(args, fmt);
	vfprintf(file, fmt, args);
	va_end(args);
	ck_assert_int_eq(fclose(file), 0);
}

static void
start_with(const char *conf)
{
	live_init(&live);
	snprintf(conf_path, sizeof(conf_path), "%s/conf", live.dir);
	write_conf("%s", conf);
	live_launch(&live,
	    (const char *const[]){
		"-s", live.socket_path, "-c", conf_path, NULL });
	live_wait_ready(&live);
	raw_open(&c, live.socket_path);
	raw_run(&c, 0, "CREATE TABLE t(v)", 0);
}

static void
start(void)
{
	start_with("");
}

static void
stop(void)
{
	raw_close(&c);
	live_stop(&live);
	live_check_file(live.db_path);
	live_fini(&live);
}

struct text_wait {
	const char *text;
	int n;
};

static bool
is_logged(const void *arg)
{
	const struct text_wait *w = arg;
	char *log = live_read_log(&live);
	int n = 0;

	for (char *at = log; (at = strstr(at, w->text)); at++)
		n++;
	free(log);
	return n >= w->n;
}

/* Reload; wait until the log has this line so many times. */
static void
reload(const char *text, int n)
{
	struct text_wait w = { text, n };

	ck_assert_int_eq(kill(live.pid, SIGHUP), 0);
	proc_wait_until(is_logged, &w, text);
}

static const char *
other(const char *name)
{
	static char path[4][PATH_N];
	static int i;

	i = (i + 1) % 4;
	snprintf(path[i], PATH_N, "%s/%s.db", live.dir, name);
	return path[i];
}

static void
expect_reply(const struct rawreply *r, int code, const char *text)
{
	ck_assert_uint_eq(r->tell.code, (uint64_t)code);
	ck_assert_msg(
	    memmem(r->tell.message.p, r->tell.message.n, text, strlen(text)),
	    "%.*s", (int)r->tell.message.n, (const char *)r->tell.message.p);
}

static void
expect_text(uint64_t id, int code, const char *text)
{
	struct rawreply r;

	raw_wait(&c, id, &r);
	expect_reply(&r, code, text);
}

START_TEST(a_database_is_added_and_taken_out)
{
	start();
	c.database = "b";
	expect_text(raw_put_exec(&c, 0, "SELECT 1"), ERR_NO_DATABASE,
	    "no database is named \"b\"");
	write_conf("database b { path = \"%s\" }\n", other("b"));
	reload("is reloaded", 1);
	raw_run(&c, 0, "CREATE TABLE u(v)", 0);
	write_conf("%s", "");
	reload("is reloaded", 2);
	expect_text(raw_put_exec(&c, 0, "SELECT 1"), ERR_NO_DATABASE, "");
	/* its file is whole, and nobody has it open any more */
	proc_wait_until(is_logged, &(struct text_wait){ "taken out", 1 },
	    "it is taken out");
	write_conf("database b { path = \"%s\" }\n", other("b"));
	reload("is reloaded", 3);
	ck_assert_int_eq(raw_run_int(&c, 0, "SELECT count(*) FROM u"), 0);
	stop();
}
END_TEST

static bool
is_open_everywhere(const void *arg)
{
	(void)arg;
	/* the writer, the workers, and the heavy readers of the minimum */
	return live_count_fds(&live, "/b.db") == 6;
}

/* As at the start: so the first request for it waits for nothing. */
START_TEST(a_database_that_is_added_is_preloaded_for_all_workers)
{
	const struct text_wait once = { "not an SQLite database", 1 },
			       twice = { "not an SQLite database", 2 };
	struct rawreply r;

	start_with("workers = 3\nmin_read_connections = 2\n");
	write_conf("workers = 3\nmin_read_connections = 2\n"
		   "database b { path = \"%s\" }\n"
		   "database lazy { path = \"%s\" preload = off }\n"
		   "database bad { path = \"%s\" }\n",
	    other("b"), other("lazy"), conf_path);
	reload("is reloaded", 1);
	proc_wait_until(is_open_everywhere, NULL, "b to be open");
	ck_assert_int_eq(live_count_fds(&live, "/lazy.db"), 0);
	/* it is tried once, and again when somebody asks */
	proc_wait_until(is_logged, &once, "bad to fail");
	ck_assert(!is_logged(&twice));
	c.database = "bad";
	raw_wait(&c, raw_put_exec(&c, 0, "SELECT 1"), &r);
	ck_assert_uint_ne(r.tell.code, 0);
	ck_assert(is_logged(&twice));
	stop();
}
END_TEST

static bool
is_forgotten(const void *arg)
{
	struct sqlpool_conn *const *admin = arg;
	char *text = live_ask(*admin, "SHOW STATE", "name value");
	bool is_so = strstr(text, "databases|1\n") != NULL;

	free(text);
	return is_so;
}

/* Nobody could say ENABLE any more. */
START_TEST(a_database_that_rests_is_taken_out_with_its_rest)
{
	static const char *const columns = "name state";
	struct sqlpool_conn *admin;
	uint64_t pause;

	start();
	admin = live_connect_admin(&live);
	write_conf("database b { path = \"%s\" }\n", other("b"));
	reload("is reloaded", 1);
	live_expect_text(admin, "DISABLE b", NULL, "");
	write_conf("%s", "");
	reload("is reloaded", 2);
	write_conf("database b { path = \"%s\" }\n", other("b"));
	reload("is reloaded", 3);
	c.database = "b";
	raw_run(&c, 0, "CREATE TABLE t(v)", 0);
	live_expect_text(
	    admin, "SHOW DATABASES", columns, "app|open\nb|open\n");
	/* who waits for it to rest is told */
	raw_begin(&c, TX_MODE_IMMEDIATE);
	raw_run(&c, 0, "INSERT INTO t VALUES(1)", 0);
	pause = raw_put_admin(&c, "PAUSE b");
	raw_let_arrive(&c);
	write_conf("%s", "");
	reload("is reloaded", 4);
	raw_expect(&c, pause, ERR_NO_DATABASE);
	raw_end(&c, true);
	proc_wait_until(is_forgotten, &admin, "b to be forgotten");
	sqlpool_close(admin);
	stop();
}
END_TEST

/* A client that chose it finds it again when it has come again, and with it what
 * it has prepared. */
START_TEST(a_client_of_a_database_that_was_taken_out_may_come_back)
{
	struct rawconn mine;

	start();
	write_conf("database b { path = \"%s\" }\n", other("b"));
	reload("is reloaded", 1);
	raw_connect(&mine, live.socket_path);
	mine.database = "b";
	raw_expect(&mine, raw_put_hello(&mine), 0);
	mine.database = NULL;
	raw_run(&mine, 0, "CREATE TABLE u(v)", 0);
	write_conf("%s", "");
	reload("is reloaded", 2);
	raw_run(&mine, 0, "SELECT count(*) FROM u", ERR_NO_DATABASE);
	write_conf("database b { path = \"%s\" }\n", other("b"));
	reload("is reloaded", 3);
	ck_assert_int_eq(raw_run_int(&mine, 0, "SELECT count(*) FROM u"), 0);
	/* under its name there may be another file by then */
	write_conf("database b { path = \"%s\" }\n", other("b2"));
	reload("is reloaded", 4);
	raw_run(&mine, 0, "SELECT count(*) FROM u", 1);
	raw_close(&mine);
	stop();
}
END_TEST

START_TEST(a_transaction_ends_in_peace_in_a_database_that_is_taken_out)
{
	start();
	write_conf("database b { path = \"%s\" }\n", other("b"));
	reload("is reloaded", 1);
	c.database = "b";
	raw_run(&c, 0, "CREATE TABLE u(v)", 0);
	raw_begin(&c, TX_MODE_IMMEDIATE);
	raw_run(&c, 0, "INSERT INTO u VALUES(1)", 0);
	write_conf("%s", "");
	reload("is reloaded", 2);
	raw_run(&c, 1, "SELECT 1", ERR_NO_DATABASE);
	raw_run(&c, 0, "INSERT INTO u VALUES(2)", 0);
	raw_end(&c, true);
	raw_run(&c, 0, "SELECT 1", ERR_NO_DATABASE);
	c.database = NULL;
	live_stop(&live);
	ck_assert_int_eq(
	    live_read_file_int(other("b"), "SELECT sum(v) FROM u"), 3);
	raw_close(&c);
	live_fini(&live);
}
END_TEST

/* What is under way in it ends there, and then it is opened as configured. */
START_TEST(a_database_of_the_directory_gets_a_section_of_its_own)
{
	char dir[PATH_N], section[4 * PATH_N];

	live_init(&live);
	snprintf(conf_path, sizeof(conf_path), "%s/conf", live.dir);
	snprintf(
	    dir, sizeof(dir), "directory = \"%s\"\ncreate = on\n", live.dir);
	snprintf(section, sizeof(section), "%sdatabase b { path = \"%s\" }\n",
	    dir, other("b"));
	write_conf("%s", dir);
	live_launch(
	    &live, LIVE_OPTIONS("-s", live.socket_path, "-c", conf_path));
	live_wait_ready(&live);
	raw_open(&c, live.socket_path);
	c.database = "b";
	raw_run(&c, 0, "CREATE TABLE u(v)", 0);
	raw_begin(&c, TX_MODE_IMMEDIATE);
	raw_run(&c, 0, "INSERT INTO u VALUES(1)", 0);
	write_conf("%s", section);
	reload("is reloaded", 1);
	raw_run(&c, 0, "INSERT INTO u VALUES(2)", 0);
	raw_end(&c, true);
	ck_assert_int_eq(raw_run_int(&c, 0, "SELECT sum(v) FROM u"), 3);
	write_conf("%s", dir);
	reload("is reloaded", 2);
	ck_assert_int_eq(raw_run_int(&c, 0, "SELECT sum(v) FROM u"), 3);
	c.database = NULL;
	raw_close(&c);
	live_stop(&live);
	live_check_file(other("b"));
	live_fini(&live);
}
END_TEST

START_TEST(options_change_live_or_are_named)
{
	uint64_t id;

	start();
	write_conf("max_clients = 1\nworkers = 7\n"
		   "database b { path = \"%s\" cache_bytes = 1MB }\n",
	    other("b"));
	reload("workers = 7 needs a restart; until then it is 0", 1);
	reload("is reloaded", 2);
	/* the one that is there stays; the next one is refused */
	raw_run(&c, 0, "SELECT 1", 0);
	{
		struct rawconn next;
		struct rawreply r;

		raw_connect(&next, live.socket_path);
		ck_assert(raw_take(&next, &r));
		ck_assert_uint_eq(r.tell.code, ERR_TOO_MANY_CLIENTS);
		raw_close(&next);
	}
	write_conf("database b { path = \"%s\" cache_bytes = 2MB\n"
		   "request_timeout = 50ms }\n",
	    other("b"));
	reload("b.cache_bytes = 2MB needs a restart; until then it is 1MB", 1);
	reload("is reloaded", 4);
	c.database = "b";
	id = raw_put_exec(&c, 0,
	    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"
	    " SELECT count(*) FROM c");
	expect_text(id, ERR_DEADLINE, "timed out");
	stop();
}
END_TEST

/* Each keeps what was there, and says what is wrong, and where. */
static const struct {
	const char *text, *says;
} broken[] = {
	{ "max_clients = many\n", ":2: max_clients = many" },
	{ "database b { path = \"b.db\"\n", ":3: " },
	{ "no_such_option = 1\n", ":2: " },
	{ "database app { path = \"twice.db\" }\n",
	    ":2: database app is there" },
	{ "database b { path = \"/nonexistent/b.db\" }\n", "/nonexistent" },
};

START_TEST(a_broken_file_changes_nothing)
{
	start();
	write_conf("max_clients = 1\n%s", broken[_i].text);
	write_conf("%s", broken[_i].text);
	reload("not reloaded, nothing has changed", 1);
	proc_wait_until(is_logged, &(struct text_wait){ broken[_i].says, 1 },
	    broken[_i].says);
	raw_run(&c, 0, "SELECT 1", 0);
	c.database = "b";
	raw_run(&c, 0, "SELECT 1", ERR_NO_DATABASE);
	ck_assert_int_eq(live_get_stat(&live, "reloads"), 0);
	stop();
}
END_TEST

/* Two at once, so that one reading may be for both. */
START_TEST(reload_is_a_command_too_and_says_what_came_of_it)
{
	uint64_t ids[2];
	struct sqlpool_conn *admin;
	struct rawreply r;
	char *text;

	start();
	admin = live_connect_admin(&live);
	write_conf("workers = 7\nmax_clients = 9\nreader_nice = 3\n");
	text = live_ask(admin, "RELOAD", "needs_restart");
	ck_assert_str_eq(text,
	    "workers = 7 needs a restart; until then it is 0\n"
	    "reader_nice = 3 needs a restart; until then it is 10\n");
	free(text);
	text = live_ask(admin, "SHOW CONFIG", "name value");
	ck_assert_ptr_nonnull(strstr(text, "max_clients|9\n"));
	free(text);
	write_conf("%s", broken[0].text);
	for (int i = 0; i < 2; i++)
		ids[i] = raw_put_admin(&c, "RELOAD");
	raw_flush(&c);
	for (int i = 0; i < 2; i++) { /* in any order */
		ck_assert(raw_take(&c, &r));
		ck_assert(r.head.id == ids[i] || r.head.id == ids[1 - i]);
		expect_reply(&r, ERR_NOT_ALLOWED, broken[0].says);
	}
	ck_assert_int_eq(live_get_stat(&live, "reloads"), 1);
	sqlpool_close(admin);
	stop();
}
END_TEST

/* No file is read any more, but who asks is answered, or the stop would wait. */
START_TEST(reload_is_refused_while_the_daemon_stops)
{
	struct rawconn tx, ad;
	struct rawreply r;
	uint64_t id;

	start();
	raw_connect(&ad, live.socket_path);
	ad.database = "@admin"; /* such stay until the last */
	raw_expect(&ad, raw_put_hello(&ad), 0);
	raw_open(&tx, live.socket_path);
	raw_begin(&tx, TX_MODE_IMMEDIATE);
	raw_run(&tx, 0, "INSERT INTO t VALUES(1)", 0);
	ck_assert_int_eq(kill(live.pid, SIGTERM), 0);
	proc_wait_until(
	    is_logged, &(struct text_wait){ "stopping", 1 }, "it stops");
	id = raw_put_admin(&ad, "RELOAD");
	raw_wait(&ad, id, &r);
	ck_assert_uint_eq(r.tell.code, ERR_SHUTTING_DOWN);
	raw_end(&tx, true);
	raw_close(&tx);
	raw_close(&ad);
	raw_close(&c);
	ck_assert_int_eq(live_wait_exit(&live, PROC_WAIT_MS), 0);
	live_fini(&live);
}
END_TEST

/* --- A thousand times ----------------------------------------------------------- */

enum { TIMES = 1000, CLIENTS_N = 4 };

static _Atomic bool over;

static void *
work(void *arg)
{
	struct rawconn conn;
	intptr_t *n = arg;

	raw_connect(&conn, live.socket_path);
	conn.database = "app"; /* at times it is not the only one */
	raw_expect(&conn, raw_put_hello(&conn), 0);
	while (!over) {
		raw_run(&conn, 0, "INSERT INTO t VALUES(1)", 0);
		*n += 1;
		ck_assert_int_ge(
		    raw_run_int(&conn, 0, "SELECT count(*) FROM t"), *n);
	}
	raw_close(&conn);
	return NULL;
}

static int
count_entries(const char *what)
{
	char path[64];
	int n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)live.pid, what);
	d = opendir(path);
	ck_assert_ptr_nonnull(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static bool
has_reloaded(const void *n)
{
	return live_get_stat(&live, "reloads") >= *(const int64_t *)n;
}

static bool
has_fds(const void *n)
{
	return count_entries("fd") <= *(const int *)n;
}

/* A database comes and goes, with clients in it, and options change. */
static void
reload_once(int64_t i)
{
	int64_t want = i + 1;

	if (i % 2 == 0)
		write_conf("max_open = %d\nwriters = {\"*\", %d}\n"
			   "database b { path = \"%s\" }\n",
		    (int)(100 + i), (int)i, other("b"));
	else
		write_conf("tx_max_age = %ds\nreaders = {root, \"@%d\"}\n"
			   "writers = root\n",
		    (int)(10 + i % 50), (int)i);
	ck_assert_int_eq(kill(live.pid, SIGHUP), 0);
	proc_wait_until(has_reloaded, &want, "it has reloaded");
	if (i % 10 == 0) {
		c.database = "b";
		raw_run(&c, 0, "CREATE TABLE IF NOT EXISTS u(v)", 0);
		c.database = NULL;
	}
}

START_TEST(a_thousand_reloads_under_load_drop_nothing_and_leak_nothing)
{
	pthread_t threads[CLIENTS_N];
	intptr_t done[CLIENTS_N] = { 0 };
	int fds, tasks;
	int64_t sum = 0;
	long kb;

	start();
	for (int i = 0; i < 20; i++)
		reload_once(i); /* what is made only once is there */
	proc_wait_until(is_logged,
	    &(struct text_wait){ "database b is taken out", 10 }, "b is out");
	raw_run(&c, 0, "SELECT 1", 0);
	fds = count_entries("fd");
	tasks = count_entries("task");
	kb = live_get_rss_kb(&live);
	for (int i = 0; i < CLIENTS_N; i++)
		ck_assert_int_eq(
		    pthread_create(&threads[i], NULL, work, &done[i]), 0);
	for (int i = 20; i < TIMES; i++)
		reload_once(i);
	over = true;
	for (int i = 0; i < CLIENTS_N; i++) {
		pthread_join(threads[i], NULL);
		ck_assert_int_gt(done[i], 0);
		sum += done[i];
	}
	ck_assert_int_eq(raw_run_int(&c, 0, "SELECT count(*) FROM t"), sum);
	ck_assert_int_le(count_entries("task"), tasks);
	/* under load some long-read connections were opened, which stay; one
	 * that is lost with each reload would be a thousand */
	fds += 2 * 16;
	proc_wait_until(has_fds, &fds, "about as many descriptors as before");
	/* the load has grown caches; 16 KB lost each time would show (but not
	 * under a sanitizer, which keeps what is freed) */
	if (proc_get_slowness() == 1)
		ck_assert_int_lt(live_get_rss_kb(&live) - kb, 16384);
	stop();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("reload");
	TCase *tc = tcase_create("reload");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 90);
	tcase_add_test(tc, a_database_is_added_and_taken_out);
	tcase_add_test(tc, a_database_that_rests_is_taken_out_with_its_rest);
	tcase_add_test(
	    tc, a_database_that_is_added_is_preloaded_for_all_workers);
	tcase_add_test(
	    tc, a_client_of_a_database_that_was_taken_out_may_come_back);
	tcase_add_test(
	    tc, a_transaction_ends_in_peace_in_a_database_that_is_taken_out);
	tcase_add_test(
	    tc, a_database_of_the_directory_gets_a_section_of_its_own);
	tcase_add_test(tc, options_change_live_or_are_named);
	tcase_add_test(tc, reload_is_a_command_too_and_says_what_came_of_it);
	tcase_add_test(tc, reload_is_refused_while_the_daemon_stops);
	tcase_add_loop_test(tc, a_broken_file_changes_nothing, 0,
	    sizeof(broken) / sizeof(broken[0]));
	tcase_add_test(
	    tc, a_thousand_reloads_under_load_drop_nothing_and_leak_nothing);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
