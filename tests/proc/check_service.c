/* check_service.c - life under a service manager, and what is logged. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

#define SAID_BYTES 8192
#define PASSED_FD  3

static struct live live;

/* --- The service manager ------------------------------------------------------ */

static struct {
	int fd;
	char path[LIVE_PATH_MAX + 8];
	char said[SAID_BYTES]; /* all of it, a message to a line */
	size_t n;
} manager = { .fd = -1 };

static void
manager_open(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(manager.path, sizeof(manager.path), "%.90s/n", live.dir);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%.100s", manager.path);
	manager.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	manager.n = 0;
	ck_assert_int_eq(
	    bind(manager.fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	setenv("NOTIFY_SOCKET", manager.path, 1);
}

static void
manager_close(void)
{
	close(manager.fd);
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
}

/* Take what was said. */
static void
manager_listen(void)
{
	ssize_t n;

	while ((n = recv(manager.fd, manager.said + manager.n,
		    sizeof(manager.said) - manager.n - 2, MSG_DONTWAIT)) > 0) {
		manager.n += (size_t)n;
		manager.said[manager.n++] = '\n';
	}
	manager.said[manager.n] = '\0';
}

static unsigned
manager_count(const char *what)
{
	unsigned n = 0;

	manager_listen();
	for (const char *at = manager.said; (at = strstr(at, what)); at++)
		n++;
	return n;
}

/* Wait until it was said n times. */
static void
manager_expect(const char *what, unsigned n)
{
	int64_t deadline_us = proc_get_deadline_us(PROC_WAIT_MS);

	while (manager_count(what) < n) {
		ck_assert_msg(proc_wait_readable(manager.fd, deadline_us),
		    "\"%s\" was not said: %s", what, manager.said);
		ck_assert_uint_lt(manager.n, SAID_BYTES - 600);
	}
}

static void
expect_before(const char *a, const char *b)
{
	const char *at_a = strstr(manager.said, a);
	const char *at_b = strstr(manager.said, b);

	ck_assert_msg(at_a && at_b && at_a < at_b,
	    "\"%s\" does not come before \"%s\": %s", a, b, manager.said);
}

START_TEST(the_service_manager_is_told)
{
	struct sqlpool_conn *conn;

	live_init(&live);
	manager_open();
	live_start(&live, NULL);
	manager_expect("READY=1\nSTATUS=serving on ", 1);
	expect_before("EXTEND_TIMEOUT_USEC=60000000\nSTATUS=opening the "
		      "databases",
	    "READY=1");
	conn = live_connect(&live, "test");
	ck_assert_int_eq(live_get_int(conn, "SELECT 7"), 7);
	kill(live.pid, SIGTERM);
	manager_expect("STOPPING=1\nEXTEND_TIMEOUT_USEC=60000000\n", 1);
	sqlpool_close(conn);
	ck_assert_int_eq(live_wait_exit(&live, PROC_WAIT_MS), 0);
	manager_expect(
	    "EXTEND_TIMEOUT_USEC=60000000\nSTATUS=copying the WALs", 1);
	expect_before("STOPPING=1", "STATUS=copying");
	manager_close();
	live_fini(&live);
}
END_TEST

START_TEST(a_daemon_that_cannot_start_is_not_ready)
{
	live_init(&live);
	manager_open();
	ck_assert_int_eq(mkdir(live.db_path, 0700), 0);
	live_launch(&live,
	    (const char *const[]){
		"-s", live.socket_path, live.db_path, NULL });
	ck_assert_int_ne(live_wait_exit(&live, PROC_WAIT_MS), 0);
	ck_assert_uint_eq(manager_count("READY"), 0);
	manager_close();
	live_fini(&live);
}
END_TEST

START_TEST(the_watchdog_hears_while_all_turn)
{
	struct rawconn c;
	unsigned n;

	live_init(&live);
	manager_open();
	setenv("WATCHDOG_USEC", "800000", 1);
	live_start(&live, NULL);
	manager_expect("WATCHDOG=1", 3); /* idle */
	raw_open(&c, live.socket_path);
	raw_put_exec(&c, 0,
	    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
	    "SELECT max(x) FROM c");
	raw_put_exec(&c, 1,
	    "CREATE TABLE t AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT "
	    "x + 1 FROM c) SELECT max(x) FROM c");
	raw_flush(&c);
	live_wait_busy(&live, "writers");
	n = manager_count("WATCHDOG=1");
	manager_expect("WATCHDOG=1", n + 4); /* long, but moving */
	raw_close(&c);
	live_stop(&live);
	manager_close();
	live_fini(&live);
}
END_TEST

/* Threads of the daemon that were stopped, with ptrace(2). */
static pid_t stopped[16];
static size_t stopped_n;

static void
stop_thread(pid_t tid)
{
	ck_assert_msg(ptrace(PTRACE_SEIZE, tid, NULL, NULL) == 0 &&
		ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) == 0 &&
		waitpid(tid, NULL, __WALL) == tid,
	    "ptrace: %s", strerror(errno));
	stopped[stopped_n++] = tid;
}

static void
stop_threads(const char *name)
{
	char path[64], text[64];
	struct dirent *e;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)live.pid);
	tasks = opendir(path);
	ck_assert_ptr_nonnull(tasks);
	stopped_n = 0;
	while ((e = readdir(tasks))) {
		char file[400];
		FILE *f;

		snprintf(file, sizeof(file), "%s/%s/comm", path, e->d_name);
		f = e->d_name[0] == '.' ? NULL : fopen(file, "re");
		if (!f)
			continue;
		if (fgets(text, sizeof(text), f) &&
		    strncmp(text, name, strlen(name)) == 0)
			stop_thread((pid_t)strtol(e->d_name, NULL, 10));
		fclose(f);
	}
	closedir(tasks);
	ck_assert_uint_gt(stopped_n, 0);
}

static void
continue_threads(void)
{
	while (stopped_n > 0)
		ptrace(PTRACE_DETACH, stopped[--stopped_n], NULL, NULL);
}

static void expect_text(const char *path, const char *text, int n);

/* A worker that hangs, and a writer that hangs in a statement: the others go on,
 * and the service manager hears nothing until they do. */
START_TEST(the_watchdog_hears_nothing_while_a_thread_hangs)
{
	struct rawconn c;
	unsigned n;

	live_init(&live);
	manager_open();
	setenv("WATCHDOG_USEC", "800000", 1);
	live_start(&live, LIVE_OPTIONS("workers=2"));
	manager_expect("WATCHDOG=1", 1);
	if (_i == 1) {
		raw_open(&c, live.socket_path);
		raw_put_exec(&c, 1,
		    "CREATE TABLE t AS WITH RECURSIVE c(x) AS (SELECT 1 UNION "
		    "ALL SELECT x + 1 FROM c) SELECT max(x) FROM c");
		raw_flush(&c);
		live_wait_busy(&live, "writers");
	}
	stop_threads(_i == 1 ? "writers" : "worker");
	expect_text(live.log_path,
	    _i == 1 ? "error a writer has not moved for"
		    : "error worker 1 has not turned for",
	    1);
	n = manager_count("WATCHDOG=1");
	expect_text(
	    live.log_path, _i == 1 ? "has not moved" : "has not turned", 4);
	ck_assert_uint_eq(manager_count("WATCHDOG=1"), n);
	continue_threads();
	manager_expect("WATCHDOG=1", n + 1);
	if (_i == 1)
		raw_close(&c);
	live_stop(&live);
	manager_close();
	live_fini(&live);
}
END_TEST

START_TEST(the_watchdog_of_another_process_is_none)
{
	live_init(&live);
	manager_open();
	setenv("WATCHDOG_USEC", "40000", 1);
	setenv("WATCHDOG_PID", "1", 1);
	live_start(&live, NULL);
	live_stop(&live);
	unsetenv("WATCHDOG_PID");
	ck_assert_uint_eq(manager_count("READY=1"), 1);
	ck_assert_uint_eq(manager_count("WATCHDOG"), 0);
	manager_close();
	live_fini(&live);
}
END_TEST

/* --- A socket that is passed ---------------------------------------------------- */

static int passed_fd;

/* As systemd does: sd_listen_fds(3). */
static void
pass_socket(void)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("LISTEN_PID", pid, 1);
	if (dup2(passed_fd, PASSED_FD) != PASSED_FD)
		proc_fail("dup2: %s", strerror(errno));
	if (passed_fd == PASSED_FD)
		fcntl(PASSED_FD, F_SETFD, 0);
}

static void
make_passed(int type)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", live.socket_path);
	passed_fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(passed_fd, 0);
	ck_assert_int_eq(
	    bind(passed_fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	live.before_exec = pass_socket;
	setenv("LISTEN_FDS", "1", 1);
}

static void
unmake_passed(void)
{
	unsetenv("LISTEN_FDS");
	close(passed_fd);
	unlink(live.socket_path);
}

START_TEST(a_socket_that_is_passed_outlives_the_daemon)
{
	struct sqlpool_conn *conn;
	int fd;
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	live_init(&live);
	make_passed(SOCK_STREAM);
	ck_assert_int_eq(listen(passed_fd, 100), 0);
	for (int i = 0; i < 3; i++) {
		live_launch(&live, (const char *const[]){ live.db_path, NULL });
		live_wait_ready(&live);
		ck_assert_ptr_nonnull(strstr(live.ready, live.socket_path));
		conn = live_connect(&live, "test");
		ck_assert_int_eq(live_get_int(conn, "SELECT 7"), 7);
		sqlpool_close(conn);
		live_stop(&live);
		ck_assert_int_eq(access(live.socket_path, F_OK), 0);
	}
	/* who connects while there is no daemon waits for the next */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", live.socket_path);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	live_launch(&live, (const char *const[]){ live.db_path, NULL });
	live_wait_ready(&live);
	{
		struct sqlpool_options options = SQLPOOL_OPTIONS;

		options.use_fd = true;
		options.fd = fd;
		ck_assert_int_eq(sqlpool_open(&options, &conn), 0);
		ck_assert_int_eq(live_get_int(conn, "SELECT 7"), 7);
		sqlpool_close(conn);
	}
	live_stop(&live);
	unmake_passed();
	live_fini(&live);
}
END_TEST

START_TEST(who_connects_while_it_stops_is_left_to_the_next)
{
	struct sqlpool_conn *conn, *late;
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	int fd;

	live_init(&live);
	make_passed(SOCK_STREAM);
	ck_assert_int_eq(listen(passed_fd, 100), 0);
	manager_open();
	live_launch(&live, (const char *const[]){ live.db_path, NULL });
	live_wait_ready(&live);
	conn = live_connect(&live, "holder");
	live_exec(conn, "CREATE TABLE t(a)");
	live_exec(conn, "BEGIN IMMEDIATE");
	live_exec(conn, "INSERT INTO t VALUES (1)");
	kill(live.pid, SIGTERM);
	manager_expect("STOPPING=1\n", 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", live.socket_path);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	live_exec(conn, "COMMIT"); /* within the grace time */
	sqlpool_close(conn);
	ck_assert_int_eq(live_wait_exit(&live, PROC_WAIT_MS), 0);
	live_launch(&live, (const char *const[]){ live.db_path, NULL });
	live_wait_ready(&live);
	options.use_fd = true;
	options.fd = fd;
	ck_assert_int_eq(sqlpool_open(&options, &late), 0);
	ck_assert_int_eq(live_get_int(late, "SELECT count(*) FROM t"), 1);
	sqlpool_close(late);
	live_stop(&live);
	manager_close();
	unmake_passed();
	live_fini(&live);
}
END_TEST

/* As ProtectSystem=strict does: systemd.exec(5). */
static void
pass_socket_read_only(void)
{
	char dir[LIVE_PATH_MAX + 8];

	snprintf(dir, sizeof(dir), "%s/run", live.dir);
	if (unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount(dir, dir, NULL, MS_BIND, NULL) < 0 ||
	    mount(NULL, dir, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) < 0)
		proc_fail("mount: %s", strerror(errno));
	pass_socket();
}

START_TEST(a_socket_that_is_passed_may_stand_where_nothing_can_be_written)
{
	struct sqlpool_conn *conn;
	char dir[LIVE_PATH_MAX + 8], *log;

	if (geteuid() != 0) {
		printf("skipped: only root can mount\n");
		return;
	}
	live_init(&live);
	snprintf(dir, sizeof(dir), "%s/run", live.dir);
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	snprintf(live.socket_path, sizeof(live.socket_path), "%.90s/run/s",
	    live.dir);
	make_passed(SOCK_STREAM);
	live.before_exec = pass_socket_read_only;
	ck_assert_int_eq(listen(passed_fd, 100), 0);
	live_launch(&live, (const char *const[]){ live.db_path, NULL });
	live_wait_ready(&live);
	conn = live_connect(&live, "test");
	ck_assert_int_eq(live_get_int(conn, "SELECT 7"), 7);
	sqlpool_close(conn);
	log = live_read_log(&live);
	ck_assert_ptr_nonnull(strstr(log, "no metrics: "));
	free(log);
	live_stop(&live);
	unmake_passed();
	live_fini(&live);
}
END_TEST

static void
expect_no_start(const char *says)
{
	char *log;

	live_launch(&live, (const char *const[]){ live.db_path, NULL });
	ck_assert_int_ne(live_wait_exit(&live, PROC_WAIT_MS), 0);
	log = live_read_log(&live);
	ck_assert_msg(strstr(log, says) != NULL, "%s", log);
	free(log);
}

START_TEST(something_else_that_is_passed_is_refused)
{
	live_init(&live);
	make_passed(SOCK_STREAM);
	expect_no_start("passed a socket that does not listen");
	setenv("LISTEN_FDS", "2", 1);
	expect_no_start("passed several sockets");
	unmake_passed();
	make_passed(SOCK_DGRAM);
	expect_no_start("one ListenStream=");
	unmake_passed();
	live_fini(&live);
}
END_TEST

/* --- Descriptors ------------------------------------------------------------------ */

static void
allow_few_files(void)
{
	struct rlimit lim = { 200, 200 };

	if (setrlimit(RLIMIT_NOFILE, &lim) < 0)
		proc_fail("setrlimit: %s", strerror(errno));
}

START_TEST(a_limit_of_files_that_cannot_be_enough_is_named)
{
	char *log;

	live_init(&live);
	live.before_exec = allow_few_files;
	live_launch(&live,
	    (const char *const[]){ "-s", live.socket_path, "-o",
		"max_clients=129", live.db_path, NULL });
	ck_assert_int_ne(live_wait_exit(&live, PROC_WAIT_MS), 0);
	log = live_read_log(&live);
	ck_assert_msg(strstr(log, "at most 200 file descriptors are allowed") &&
		strstr(
		    log, "max_clients = 129 with 1 open databases needs 201") &&
		strstr(log, "LimitNOFILE="),
	    "%s", log);
	free(log);
	live_start(&live, LIVE_OPTIONS("max_clients=128"));
	live_stop(&live);
	live_fini(&live);
}
END_TEST

/* What nobody wrote is lowered: clients leave room for the databases. */
START_TEST(clients_cannot_take_all_descriptors)
{
	static struct rawconn clients[128];
	struct sqlpool_conn *admin;
	struct rawreply r;
	char *text;

	live_init(&live);
	live.before_exec = allow_few_files;
	live_start(&live, NULL);
	text = live_read_log(&live);
	ck_assert_ptr_nonnull(strstr(text, "warn at most 200 file"));
	ck_assert_ptr_nonnull(strstr(text, "until then max_clients is 128"));
	free(text);
	admin = live_connect_admin(&live);
	free(live_ask(admin, "RELOAD", "needs_restart"));
	text = live_ask(admin, "SHOW CONFIG", "name value");
	ck_assert_ptr_nonnull(strstr(text, "\nmax_clients|128\n"));
	free(text);
	for (int i = 0; i < 128; i++)
		raw_connect(&clients[i], live.socket_path);
	ck_assert(raw_take(&clients[127], &r));
	ck_assert_uint_eq(r.tell.code, SQLPOOL_ERR_TOO_MANY_CLIENTS);
	raw_expect(&clients[0], raw_put_hello(&clients[0]), 0);
	raw_run(&clients[0], 0, "CREATE TABLE t(a)", 0);
	for (int i = 0; i < 128; i++)
		raw_close(&clients[i]);
	sqlpool_close(admin);
	live_stop(&live);
	live_fini(&live);
}
END_TEST

/* --- The log ------------------------------------------------------------------------ */

/* Wait until the log has a text n times; the caller frees it. */
struct wanted {
	const char *path, *text;
	int n;
};

static char *
read_text(const char *path)
{
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t cap = 0;

	if (!f || getdelim(&text, &cap, '\0', f) < 0) {
		free(text);
		text = strdup("");
	}
	if (f)
		fclose(f);
	ck_assert_ptr_nonnull(text);
	return text;
}

static int
count_text(const char *path, const char *what)
{
	char *text = read_text(path);
	int n = 0;

	for (const char *at = text; (at = strstr(at, what)); at++)
		n++;
	free(text);
	return n;
}

static bool
has_text(const void *arg)
{
	const struct wanted *w = arg;

	return count_text(w->path, w->text) >= w->n;
}

static void
expect_text(const char *path, const char *text, int n)
{
	struct wanted w = { path, text, n };

	proc_wait_until(has_text, &w, text);
}

static void
connect_and_go(const char *app)
{
	struct sqlpool_conn *conn = live_connect(&live, app);

	ck_assert_int_eq(live_get_int(conn, "SELECT 7"), 7);
	sqlpool_close(conn);
}

START_TEST(connections_are_logged_when_asked_for)
{
	char want[128];

	live_init(&live);
	live_start(&live, LIVE_OPTIONS("log_connections=on"));
	connect_and_go("app \"one\"\n\x1b[31m\xc2\x9b\xc3\xa4");
	snprintf(want, sizeof(want),
	    "info connected: pid=%d uid=%d fd=", (int)getpid(), (int)getuid());
	expect_text(live.log_path, want, 1);
	snprintf(want, sizeof(want),
	    "info disconnected: reason=\"client closed it\" pid=%d uid=%d "
	    "app=\"app \\\"one\\\"\\x0a\\x1b[31m\\xc2\\x9b\xc3\xa4\" fd=",
	    (int)getpid(), (int)getuid());
	expect_text(live.log_path, want, 1);
	live_stop(&live);
	live_fini(&live);
}
END_TEST

/* Each line is an object with these keys. */
static void
check_json(const char *path)
{
	char *text = read_text(path);
	char *save = NULL;
	int events = 0;

	for (char *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		json_error_t error;
		json_t *o = json_loads(line, 0, &error);

		ck_assert_msg(o != NULL, "%s: %s", error.text, line);
		ck_assert(json_is_string(json_object_get(o, "time")));
		ck_assert(json_is_string(json_object_get(o, "level")));
		ck_assert(json_is_string(json_object_get(o, "message")) ||
		    json_is_string(json_object_get(o, "event")));
		if (json_object_get(o, "app")) {
			const char *app = json_string_value(
			    json_object_get(o, "app"));

			events += strcmp(app, "a\"\\\n\x1b\xc2\x9b\xc3\xa4") ==
			    0;
		}
		json_decref(o);
	}
	ck_assert_int_ge(events, 1);
	free(text);
}

START_TEST(lines_can_be_json)
{
	live_init(&live);
	live_start(
	    &live, LIVE_OPTIONS("log_connections=on", "log_format=json"));
	connect_and_go("a\"\\\n\x1b\xc2\x9b\xc3\xa4");
	kill(live.pid, SIGUSR2);
	expect_text(live.log_path, "\"event\":\"state of counters\"", 1);
	expect_text(live.log_path, "\"event\":\"state of a database\"", 1);
	live_stop(&live);
	check_json(live.log_path);
	live_fini(&live);
}
END_TEST

START_TEST(a_file_is_opened_anew)
{
	char path[LIVE_PATH_MAX + 16], old[LIVE_PATH_MAX + 16];
	char option[LIVE_PATH_MAX + 32];
	char *log;

	live_init(&live);
	snprintf(path, sizeof(path), "%.90s/file", live.dir);
	snprintf(old, sizeof(old), "%.90s/old", live.dir);
	snprintf(option, sizeof(option), "log_file=%s", path);
	live_start(&live, LIVE_OPTIONS(option, "log_connections=on"));
	connect_and_go("first");
	expect_text(path, "app=\"first\"", 1);
	ck_assert_int_eq(rename(path, old), 0);
	connect_and_go("second");
	expect_text(old, "app=\"second\"", 1);
	kill(live.pid, SIGUSR1);
	expect_text(path, "was opened anew", 1);
	connect_and_go("third");
	expect_text(path, "app=\"third\"", 1);
	ck_assert_int_eq(count_text(old, "third"), 0);
	/* a failure keeps the old one */
	ck_assert_int_eq(rename(path, old), 0);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	kill(live.pid, SIGUSR1);
	expect_text(old, "cannot open", 1);
	connect_and_go("fourth");
	expect_text(old, "app=\"fourth\"", 1);
	live_stop(&live);
	log = live_read_log(&live);
	ck_assert_str_eq(log, "");
	free(log);
	live_fini(&live);
}
END_TEST

static void
be_journal(void)
{
	struct stat st;
	char text[64];

	if (fstat(STDERR_FILENO, &st) < 0)
		proc_fail("fstat: %s", strerror(errno));
	snprintf(text, sizeof(text), "%ju:%ju", (uintmax_t)st.st_dev,
	    (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", text, 1);
}

START_TEST(the_journal_gets_priorities)
{
	char *log;

	live_init(&live);
	live.before_exec = be_journal;
	live_start(&live, NULL);
	live_stop(&live);
	log = live_read_log(&live);
	ck_assert_msg(strncmp(log, "<6>", 3) == 0 &&
		strstr(log, "\n<6>signal 15: stopping") &&
		strstr(log, "\n<6>stopped\n"),
	    "%s", log);
	free(log);
	live_fini(&live);
}
END_TEST

#define SECRET "a secret"

static void
run_slowly(struct sqlpool_conn *conn)
{
	ck_assert_int_eq(sqlpool_exec(conn,
			     "SELECT count(*) FROM t a JOIN t b ON a.x = b.y "
			     "WHERE a.y < 10 AND ?1 <> 'x' ORDER BY a.x + b.x",
			     SQLPOOL_VALUES(SQLPOOL_TEXT(SECRET))),
	    0);
	live_exec(conn, "SELECT y FROM t ORDER BY y * y LIMIT 1");
}

START_TEST(slow_statements_say_why)
{
	struct sqlpool_conn *conn;
	char *log;

	live_init(&live);
	live_start(&live,
	    _i ? LIVE_OPTIONS("slow_statement=10ms", "log_parameters=on")
	       : LIVE_OPTIONS("slow_statement=10ms"));
	conn = live_connect(&live, "test");
	live_exec(conn,
	    "CREATE TABLE t AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL "
	    "SELECT x + 1 FROM c WHERE x < 200000) SELECT x, x % 1000 AS y "
	    "FROM c");
	run_slowly(conn);
	live_exec(conn, "SELECT 7");
	expect_text(live.log_path, "y * y", 1);
	sqlpool_close(conn);
	live_stop(&live);
	log = live_read_log(&live);
	ck_assert_ptr_nonnull(strstr(log, "sql=\"CREATE TABLE t AS"));
	ck_assert_ptr_null(strstr(log, "SELECT 7"));
	ck_assert_msg((strstr(log, SECRET) != NULL) == (_i == 1), "%s", log);
	ck_assert_msg(strstr(log, "app=\"test\" full_scan_steps=") &&
		strstr(log, " vm_steps="),
	    "%s", log);
	ck_assert_ptr_null(strstr(log,
	    "full_scan_steps=0 sorts=0 "
	    "automatic_index_rows=0 vm_steps=0"));
	ck_assert_ptr_nonnull(strstr(log, "sorts=1 automatic_index_rows=0"));
	ck_assert_ptr_nonnull(strstr(log, "automatic_index_rows=19"));
	free(log);
	live_fini(&live);
}
END_TEST

START_TEST(lines_that_repeat_are_counted)
{
	live_init(&live);
	live_start(&live, NULL);
	for (int i = 0; i < 25; i++) {
		struct rawconn c;
		struct rawreply r;

		raw_connect(&c, live.socket_path);
		ck_assert(raw_send(&c, "not a frame at all", 18));
		while (raw_take(&c, &r))
			;
		raw_close(&c);
	}
	expect_text(live.log_path,
	    "... and 15 more in 5 s like this: "
	    "disconnected",
	    1);
	ck_assert_int_eq(
	    count_text(live.log_path, "reason=\"malformed bytes\""), 10);
	live_stop(&live);
	live_fini(&live);
}
END_TEST

START_TEST(the_state_is_dumped)
{
	struct sqlpool_conn *conn, *other;
	struct rawconn c;

	live_init(&live);
	live_start(&live, LIVE_OPTIONS("log_level=info"));
	conn = live_connect(&live, "holder");
	other = live_connect(&live, "idle");
	live_exec(conn, "CREATE TABLE t(a)");
	live_exec(conn, "BEGIN IMMEDIATE");
	live_exec(conn, "INSERT INTO t VALUES (1)");
	raw_open(&c, live.socket_path);
	raw_put_exec(&c, 0, "INSERT INTO t VALUES ('waits')");
	raw_flush(&c);
	live_wait_queue(&live, 1);
	kill(live.pid, SIGUSR2);
	expect_text(live.log_path, "info state: clients=", 1);
	expect_text(
	    live.log_path, "info state of counters: clients_accepted=", 1);
	expect_text(
	    live.log_path, "info state of a database: database=\"app\"", 1);
	expect_text(live.log_path, " open=1 commits=1 queue=1", 1);
	expect_text(live.log_path, "app=\"holder\" database=\"app\"", 1);
	expect_text(live.log_path, "app=\"idle\" database=\"app\"", 1);
	expect_text(live.log_path, "sql=\"INSERT INTO t VALUES ('waits')\"", 1);
	sqlpool_close(conn);
	sqlpool_close(other);
	raw_close(&c);
	live_stop(&live);
	live_fini(&live);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("service");
	TCase *tc = tcase_create("manager");

	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, the_service_manager_is_told);
	tcase_add_test(tc, a_daemon_that_cannot_start_is_not_ready);
	tcase_add_test(tc, the_watchdog_hears_while_all_turn);
	tcase_add_loop_test(
	    tc, the_watchdog_hears_nothing_while_a_thread_hangs, 0, 2);
	tcase_add_test(tc, the_watchdog_of_another_process_is_none);
	tcase_add_test(tc, a_socket_that_is_passed_outlives_the_daemon);
	tcase_add_test(tc, who_connects_while_it_stops_is_left_to_the_next);
	tcase_add_test(
	    tc, a_socket_that_is_passed_may_stand_where_nothing_can_be_written);
	tcase_add_test(tc, something_else_that_is_passed_is_refused);
	tcase_add_test(tc, a_limit_of_files_that_cannot_be_enough_is_named);
	tcase_add_test(tc, clients_cannot_take_all_descriptors);
	suite_add_tcase(suite, tc);
	tc = tcase_create("log");
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, connections_are_logged_when_asked_for);
	tcase_add_test(tc, lines_can_be_json);
	tcase_add_test(tc, a_file_is_opened_anew);
	tcase_add_test(tc, the_journal_gets_priorities);
	tcase_add_loop_test(tc, slow_statements_say_why, 0, 2);
	tcase_add_test(tc, lines_that_repeat_are_counted);
	tcase_add_test(tc, the_state_is_dumped);
	suite_add_tcase(suite, tc);
	return suite;
}

int
main(void)
{
	SRunner *runner = srunner_create(make_suite());
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
