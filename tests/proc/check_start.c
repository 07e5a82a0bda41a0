/* check_start.c - a daemon that cannot start says why, and what helps.
 *
 * Each failure ends the program with status 1 within 2 s, with one line that
 * names the file, the cause and the remedy. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/capability.h>

#include "tests/lib/live.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define ENDS_MS     2000
#define WORDS_N     4
#define JOINED_MAX  (LIVE_PATH_MAX + 32)

static struct live live;

/* Make a path of two pieces; returns to. */
static const char *
join(char to[JOINED_MAX], const char *a, const char *b)
{
	snprintf(to, JOINED_MAX, "%.*s%s", LIVE_PATH_MAX, a, b);
	return to;
}

/* Make the socket's path n bytes long. */
static void
stretch_socket_path(char *path, size_t n)
{
	size_t at = (size_t)snprintf(path, n, "%s/", live.dir);

	ck_assert_uint_lt(at, n);
	memset(path + at, 'x', n - at);
	path[n] = '\0';
}

static void
write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	ck_assert_msg(f != NULL, "%s: %s", path, strerror(errno));
	fputs(text, f);
	ck_assert_int_eq(fclose(f), 0);
}

static void
make_database(const char *path, const char *mode)
{
	char sql[128];
	sqlite3 *db;

	snprintf(sql, sizeof(sql),
	    "PRAGMA journal_mode=%s; CREATE TABLE t(n); INSERT INTO t "
	    "VALUES (1)",
	    mode);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* It was launched and must fail, and say these words. */
static void
expect_failure_of(struct live *d, const char *const *words)
{
	int status = live_wait_exit(d, ENDS_MS);
	char *log = live_read_log(d);

	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 1,
	    "wait status %#x: %s", (unsigned)status, log);
	for (int i = 0; words[i]; i++)
		ck_assert_msg(strstr(log, words[i]) != NULL,
		    "it does not say \"%s\": %s", words[i], log);
	ck_assert_msg(strncmp(log, "sqlpoold: ", 10) == 0, "%s", log);
	ck_assert_msg(strchr(log, '\n') == strrchr(log, '\n'),
	    "more than a line: %s", log);
	free(log);
}

static void
expect_failure(const char *const *args, const char *const *words)
{
	live_launch(&live, args);
	expect_failure_of(&live, words);
}

#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define ARGS(...)  WORDS("-s", live.socket_path, __VA_ARGS__)

/* --- Arguments ------------------------------------------------------------ */

static const struct {
	const char *args[6];
	const char *words[WORDS_N];
} wrong_args[] = {
	{ { "-s", "s", NULL }, { "no database", "./app.db", "-c", NULL } },
	{ { "-o", "nosuch=1", "a.db", NULL }, { "nosuch", "option", NULL } },
	{ { "-o", "workers=many", "a.db", NULL },
	    { "workers", "many", "whole number", NULL } },
	{ { "-o", "workers=65", "a.db", NULL },
	    { "workers", "65", "0 to 64", NULL } },
	{ { "-o", "tx_max_age=60", "a.db", NULL },
	    { "tx_max_age", "60", "ms", NULL } },
	{ { "-o", "workers", "a.db", NULL },
	    { "workers", "NAME=VALUE", NULL } },
	{ { "-o", "path=x.db", "a.db", NULL }, { "path", NULL } },
	{ { "a/x.db", "b/x.db", NULL }, { "x", NULL } },
	{ { "a b.db", NULL }, { "a b", "A-Z", NULL } },
	{ { "-c", "/nosuch/file.conf", NULL },
	    { "/nosuch/file.conf", "No such file", NULL } },
};

START_TEST(arguments_that_are_wrong_are_named)
{
	live_init(&live);
	expect_failure(wrong_args[_i].args, wrong_args[_i].words);
	live_fini(&live);
}
END_TEST

/* --- The database --------------------------------------------------------- */

START_TEST(a_missing_directory_is_named)
{
	char dir[JOINED_MAX], path[JOINED_MAX];

	live_init(&live);
	join(dir, live.dir, "/nosuch");
	join(path, dir, "/app.db");
	expect_failure(
	    ARGS(path), WORDS(path, dir, "No such file", "create it"));
	live_fini(&live);
}
END_TEST

START_TEST(a_file_that_is_no_database_is_left_alone)
{
	char text[64] = "";
	FILE *f;

	live_init(&live);
	write_file(live.db_path, "Dear diary, this is no database.\n");
	expect_failure(ARGS(live.db_path),
	    WORDS(live.db_path, "not an SQLite database", "give the path"));
	f = fopen(live.db_path, "re");
	ck_assert(f && fgets(text, sizeof(text), f));
	fclose(f);
	ck_assert_str_eq(text, "Dear diary, this is no database.\n");
	live_fini(&live);
}
END_TEST

START_TEST(a_directory_is_no_database)
{
	char spec[JOINED_MAX];

	live_init(&live);
	expect_failure(ARGS(join(spec, "app=", live.dir)),
	    WORDS(live.dir, "is a directory", "give the path"));
	live_fini(&live);
}
END_TEST

START_TEST(a_file_is_no_directory)
{
	char path[JOINED_MAX];

	live_init(&live);
	write_file(live.db_path, "x");
	join(path, live.db_path, "/app.db");
	expect_failure(ARGS(path), WORDS(path, "ot a directory", "correct"));
	live_fini(&live);
}
END_TEST

/* --- Permissions ---------------------------------------------------------- */

/* Root may do everything, unless it gives that up: capabilities(7). */
static void
drop_override(void)
{
	if (geteuid() != 0)
		return;
	if (prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0) < 0 ||
	    prctl(PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH, 0, 0, 0) < 0)
		proc_fail(
		    "cannot give up CAP_DAC_OVERRIDE: %s", strerror(errno));
}

static bool
can_drop_override(void)
{
	bool can = geteuid() != 0 ||
	    prctl(PR_CAPBSET_READ, CAP_SETPCAP, 0, 0, 0) == 1;

	if (!can)
		printf("skipped: root here cannot give up CAP_DAC_OVERRIDE\n");
	return can;
}

START_TEST(a_directory_that_cannot_be_written_is_named)
{
	char dir[JOINED_MAX], path[JOINED_MAX];

	live_init(&live);
	if (!can_drop_override())
		return;
	join(dir, live.dir, "/ro");
	join(path, dir, "/app.db");
	ck_assert_int_eq(mkdir(dir, 0755), 0);
	if (_i == 1)
		make_database(path, "delete");
	ck_assert_int_eq(chmod(dir, 0555), 0);
	live.before_exec = drop_override;
	expect_failure(ARGS(path),
	    WORDS(path, dir, "annot be written", "change its owner or mode"));
	chmod(dir, 0755);
	live_fini(&live);
}
END_TEST

START_TEST(a_file_that_cannot_be_read_or_written_is_named)
{
	live_init(&live);
	if (!can_drop_override())
		return;
	make_database(live.db_path, _i % 2 ? "wal" : "delete");
	ck_assert_int_eq(chmod(live.db_path, _i < 2 ? 0444 : 0), 0);
	live.before_exec = drop_override;
	expect_failure(ARGS(live.db_path),
	    WORDS(
		live.db_path, "ermission denied", "change its owner or mode"));
	live_fini(&live);
}
END_TEST

/* --- Who it runs as -------------------------------------------------------- */

#define NOBODY 65534

static void
forget_user(void)
{
	unsetenv("SQLPOOLD_USER");
}

static void
become_nobody(void)
{
	forget_user();
	if (setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
		proc_fail("cannot become nobody: %s", strerror(errno));
}

/* Where another user can get at it: what tests/run.sh gives is root's alone. */
static void
init_for_all(void)
{
	setenv("TMPDIR", "/tmp", 1);
	live_init(&live);
}

static bool
is_root(void)
{
	if (geteuid() != 0)
		printf("skipped: only root can be refused as root\n");
	return geteuid() == 0;
}

START_TEST(root_without_a_user_to_run_as_is_refused)
{
	live_init(&live);
	if (!is_root())
		return;
	live.before_exec = forget_user;
	expect_failure(
	    ARGS(live.db_path), WORDS("as root", "who to run as", "-u USER"));
	ck_assert_int_lt(access(live.db_path, F_OK), 0);
	ck_assert_int_lt(access(live.socket_path, F_OK), 0);
	live_fini(&live);
}
END_TEST

START_TEST(only_root_can_run_it_as_another_user)
{
	init_for_all();
	if (!is_root())
		return;
	ck_assert_int_eq(chmod(live.dir, 0777), 0);
	live.before_exec = become_nobody;
	expect_failure(
	    WORDS("-s", live.socket_path, "-u", "root", live.db_path),
	    WORDS("only root", "uid 65534", "leave \"user\" out"));
	live_fini(&live);
}
END_TEST

/* A line of proc(5)'s status: the real, effective, saved and file system id. */
static void
expect_status(const char *name, const char *want)
{
	char path[64], line[256], have[256] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)live.pid);
	f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, name, strlen(name)) == 0)
			snprintf(have, sizeof(have), "%s", line);
	fclose(f);
	ck_assert_str_eq(have, want);
}

START_TEST(root_can_run_it_as_another_user)
{
	struct sqlpool_conn *conn;
	struct stat st;

	init_for_all();
	if (!is_root())
		return;
	ck_assert_int_eq(chown(live.dir, NOBODY, NOBODY), 0);
	live_launch(
	    &live, WORDS("-s", live.socket_path, "-u", "nobody", live.db_path));
	live_wait_ready(&live);
	expect_status("Uid:", "Uid:\t65534\t65534\t65534\t65534\n");
	expect_status("Gid:", "Gid:\t65534\t65534\t65534\t65534\n");
	expect_status("Groups:", "Groups:\t65534 \n");
	expect_status("CapEff:", "CapEff:\t0000000000000000\n");
	conn = live_connect(&live, "test");
	live_exec(conn, "CREATE TABLE t(a)");
	sqlpool_close(conn);
	live_stop(&live);
	ck_assert_int_eq(stat(live.db_path, &st), 0);
	ck_assert_uint_eq(st.st_uid, NOBODY);
	ck_assert_int_lt(access(live.socket_path, F_OK), 0);
	live_fini(&live);
}
END_TEST

START_TEST(root_that_becomes_another_user_needs_a_socket)
{
	live_init(&live);
	if (!is_root())
		return;
	expect_failure(WORDS("-u", "nobody", live.db_path),
	    WORDS("nobody", "say where to listen", "-s PATH"));
	live_fini(&live);
}
END_TEST

/* --- Trying a configuration ------------------------------------------------- */

static void
expect_line(const char *const *args, const char *line)
{
	int status;

	live_launch(&live, args);
	live_wait_ready(&live);
	ck_assert_str_eq(live.ready, line);
	status = live_wait_exit(&live, ENDS_MS);
	ck_assert_int_eq(status, 0);
}

START_TEST(a_test_run_opens_nothing)
{
	live_init(&live);
	expect_line(ARGS("-t", live.db_path),
	    "sqlpoold: the configuration is good; it has 1 database");
	ck_assert_int_lt(access(live.db_path, F_OK), 0);
	ck_assert_int_lt(access(live.socket_path, F_OK), 0);
	live_fini(&live);
}
END_TEST

START_TEST(a_test_run_looks_at_it_as_the_user_who_would_run_it)
{
	init_for_all();
	if (!is_root())
		return;
	ck_assert_int_eq(chmod(live.dir, 0755), 0);
	expect_failure(ARGS("-t", "-u", "nobody", live.db_path),
	    WORDS("database app", live.dir, "cannot be written by uid 65534",
		"change its owner"));
	live_fini(&live);
}
END_TEST

START_TEST(a_test_run_says_that_the_file_could_not_be_reloaded)
{
	char path[JOINED_MAX];

	init_for_all();
	if (!is_root())
		return;
	ck_assert_int_eq(chmod(live.dir, 0777), 0);
	join(path, live.dir, "/root.conf");
	write_file(path, "");
	ck_assert_int_eq(chmod(path, 0600), 0);
	expect_failure(ARGS("-t", "-u", "nobody", "-c", path, live.db_path),
	    WORDS(path, "cannot be read by uid 65534", "reloaded"));
	live_fini(&live);
}
END_TEST

START_TEST(what_is_in_force_is_printed)
{
	char path[JOINED_MAX];

	live_init(&live);
	write_file(join(path, live.dir, "/conf"),
	    "workers = 3\nbatch_max = 7\nbatch_time = 5ms\n");
	setenv("SQLPOOLD_BATCH_MAX", "8", 1);
	expect_line(WORDS("-c", path, "-T=changed", "-o", "workers=4", "-u",
			"root", live.db_path),
	    "user = \"root\"  # command line");
	expect_line(WORDS("-c", path, "-Tchanged", live.db_path, "-o",
			"user=", "-o", "workers=4"),
	    "workers = 4  # command line");
	expect_line(WORDS("-c", path, "--print=changed", live.db_path, "-u", "",
			"-o", "workers=0"),
	    "batch_max = 8  # environment");
	unsetenv("SQLPOOLD_BATCH_MAX");
	expect_line(WORDS("-T", live.db_path, "-s", "/s"),
	    "socket = \"/s\"  # command line");
	live_fini(&live);
}
END_TEST

/* --- Others who have it --------------------------------------------------- */

/* How somebody has the file: with the library, in the shell, in a script. */
enum tool { LIBRARY, SHELL, PYTHON };

static const struct {
	const char *mode; /* of the journal */
	enum tool tool;
	const char *sql;
} holders[] = {
	{ "wal", LIBRARY, "SELECT * FROM t" }, /* WAL keeps it locked */
	{ "wal", LIBRARY, "BEGIN; SELECT * FROM t" },
	{ "wal", LIBRARY, "BEGIN IMMEDIATE; INSERT INTO t VALUES (2)" },
	{ "delete", LIBRARY, "BEGIN; SELECT * FROM t" },
	{ "delete", LIBRARY, "BEGIN IMMEDIATE; INSERT INTO t VALUES (2)" },
	{ "delete", LIBRARY, "BEGIN EXCLUSIVE" },
	{ "wal", SHELL, "BEGIN IMMEDIATE; SELECT 1;\n" },
	{ "delete", PYTHON,
	    "import sys, sqlite3\n"
	    "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
	    "c.execute('BEGIN EXCLUSIVE')\n"
	    "print('held', flush=True)\n"
	    "sys.stdin.read()\n" },
};

struct holder {
	struct live live;
	struct proc_gate ready; /* opened by the first byte it prints */
	int input[2];           /* its standard input, which does not end */
	int kind;
	pid_t pid;
};

static void
hold_with_library(const struct holder *h)
{
	sqlite3 *db;

	PROC_CHECK(sqlite3_open(h->live.db_path, &db) == SQLITE_OK &&
		sqlite3_exec(db, holders[h->kind].sql, NULL, NULL, NULL) ==
		    SQLITE_OK,
	    "%s", sqlite3_errmsg(db));
	proc_gate_open(&h->ready);
	for (;;)
		pause();
}

static void
hold_file(void *arg)
{
	const struct holder *h = arg;

	if (holders[h->kind].tool == LIBRARY)
		hold_with_library(h);
	dup2(h->input[0], STDIN_FILENO);
	dup2(h->ready.fds[1], STDOUT_FILENO);
	if (holders[h->kind].tool == SHELL)
		execlp("sqlite3", "sqlite3", h->live.db_path, (char *)NULL);
	else
		execl("/usr/bin/python3", "/usr/bin/python3", "-c",
		    holders[h->kind].sql, h->live.db_path, (char *)NULL);
	proc_fail("exec: %s", strerror(errno));
}

/* Let it be held, and launch a daemon on it. */
static void
hold_and_launch(struct holder *h, int kind)
{
	const char *sql = holders[kind].sql;

	h->kind = kind;
	live_init(&h->live);
	make_database(h->live.db_path, holders[kind].mode);
	proc_gate_init(&h->ready);
	ck_assert_int_eq(pipe2(h->input, O_CLOEXEC), 0);
	h->pid = proc_fork(hold_file, h);
	if (holders[kind].tool == SHELL)
		ck_assert_int_gt(write(h->input[1], sql, strlen(sql)), 0);
	proc_gate_wait(&h->ready);
	live_launch(
	    &h->live, WORDS("-s", h->live.socket_path, h->live.db_path));
}

/* When it is let go nothing is broken, and a daemon can have it. */
static void
let_go(struct holder *h)
{
	proc_kill(h->pid);
	unlink(h->live.log_path);
	live_start(&h->live, NULL);
	live_stop(&h->live);
	ck_assert_int_eq(
	    live_read_file_int(h->live.db_path, "SELECT count(*) FROM t"), 1);
	live_check_file(h->live.db_path);
	proc_gate_fini(&h->ready);
	close(h->input[0]);
	close(h->input[1]);
	live_fini(&h->live);
}

/* All at once, since each waits for a while whether the file is let go. */
START_TEST(a_file_that_another_process_has_open_is_refused_by_its_pid)
{
	static struct holder h[COUNT(holders)];
	char pid[32];

	for (int i = 0; i < (int)COUNT(holders); i++)
		hold_and_launch(&h[i], i);
	for (int i = 0; i < (int)COUNT(holders); i++) {
		snprintf(pid, sizeof(pid), "process %d ", (int)h[i].pid);
		expect_failure_of(&h[i].live,
		    WORDS(h[i].live.db_path, pid, "has it open",
			"stop that process"));
	}
	for (int i = 0; i < (int)COUNT(holders); i++)
		let_go(&h[i]);
}
END_TEST

/* --- Two daemons ---------------------------------------------------------- */

/* The first one goes on as if nothing had been. */
static void
check_first(const struct live *first)
{
	struct sqlpool_conn *conn = live_connect(first, "first");
	sqlite3 *db;

	live_exec(conn, "INSERT INTO t VALUES (2)");
	ck_assert_int_eq(live_get_int(conn, "SELECT count(*) FROM t"), 2);
	sqlpool_close(conn);
	/* its lock on the file is still there */
	ck_assert_int_eq(sqlite3_open(first->db_path, &db), SQLITE_OK);
	ck_assert_int_eq(
	    sqlite3_exec(db, "SELECT * FROM t", NULL, NULL, NULL), SQLITE_BUSY);
	sqlite3_close(db);
}

START_TEST(a_second_daemon_on_the_same_file_is_refused)
{
	struct live first;
	char pid[32];

	live_init(&first);
	live_init(&live);
	make_database(first.db_path, "wal");
	live_start(&first, NULL);
	snprintf(pid, sizeof(pid), "process %d ", (int)first.pid);
	expect_failure(ARGS(first.db_path),
	    WORDS(first.db_path, pid, "has it open", "sqlpool-cli"));
	ck_assert_int_lt(access(live.socket_path, F_OK), 0);
	check_first(&first);
	live_stop(&first);
	live_fini(&first);
	live_fini(&live);
}
END_TEST

START_TEST(a_second_daemon_on_a_live_socket_is_refused)
{
	struct live first;

	live_init(&first);
	live_init(&live);
	make_database(first.db_path, "wal");
	live_start(&first, NULL);
	expect_failure(WORDS("-s", first.socket_path, live.db_path),
	    WORDS(first.socket_path, "listens", "-s PATH"));
	ck_assert_int_lt(access(live.db_path, F_OK), 0);
	check_first(&first);
	live_stop(&first);
	live_fini(&first);
	live_fini(&live);
}
END_TEST

/* --- The socket ----------------------------------------------------------- */

START_TEST(a_stale_socket_is_replaced)
{
	struct sqlpool_conn *conn;
	struct stat st;
	char *log;

	live_init(&live);
	live_start(&live, NULL);
	live_kill(&live);
	ck_assert_int_eq(access(live.socket_path, F_OK), 0);
	live_start(&live, NULL);
	log = live_read_log(&live);
	ck_assert_msg(strstr(log, live.socket_path) && strstr(log, "left"),
	    "it is not logged: %s", log);
	free(log);
	ck_assert_int_eq(stat(live.socket_path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0660);
	conn = live_connect(&live, "test");
	ck_assert_int_eq(live_get_int(conn, "SELECT 7"), 7);
	sqlpool_close(conn);
	live_stop(&live);
	ck_assert_int_lt(access(live.socket_path, F_OK), 0);
	live_fini(&live);
}
END_TEST

START_TEST(a_file_in_the_sockets_place_is_left_alone)
{
	live_init(&live);
	write_file(live.socket_path, "precious");
	expect_failure(ARGS(live.db_path),
	    WORDS(live.socket_path, "not a socket", "-s PATH"));
	ck_assert_int_eq(access(live.socket_path, F_OK), 0);
	live_fini(&live);
}
END_TEST

/* Somebody removes the file of a daemon that runs, and starts another one. */
START_TEST(a_socket_that_took_the_place_of_its_own_is_left_alone)
{
	struct live first;
	struct sqlpool_conn *conn;

	live_init(&first);
	live_start(&first, NULL);
	ck_assert_int_eq(unlink(first.socket_path), 0);
	live_init(&live);
	snprintf(live.socket_path, sizeof(live.socket_path), "%s",
	    first.socket_path);
	live_start(&live, LIVE_OPTIONS("metrics_socket=off"));
	live_stop(&first);
	conn = live_connect(&live, "test");
	ck_assert_int_eq(live_get_int(conn, "SELECT 7"), 7);
	sqlpool_close(conn);
	live_stop(&live);
	ck_assert_int_lt(access(live.socket_path, F_OK), 0);
	live_fini(&live);
	live_fini(&first);
}
END_TEST

START_TEST(a_socket_that_cannot_be_made_is_named)
{
	char path[JOINED_MAX];

	live_init(&live);
	join(path, live.dir, "/nosuch/s");
	expect_failure(WORDS("-s", path, live.db_path),
	    WORDS(path, "No such file", "-s PATH"));
	live_fini(&live);
	live_init(&live);
	stretch_socket_path(path, LIVE_PATH_MAX);
	expect_failure(
	    WORDS("-s", path, live.db_path), WORDS(path, "at most 107"));
	live_fini(&live);
}
END_TEST

START_TEST(the_longest_path_of_a_socket_works)
{
	struct sqlpool_conn *conn;

	live_init(&live);
	stretch_socket_path(live.socket_path, LIVE_PATH_MAX - 1);
	live_start(&live, NULL);
	conn = live_connect(&live, "test");
	ck_assert_int_eq(live_get_int(conn, "SELECT 7"), 7);
	sqlpool_close(conn);
	live_stop(&live);
	live_fini(&live);
}
END_TEST

/* --- A good start --------------------------------------------------------- */

START_TEST(a_ready_daemon_says_how_to_connect)
{
	char want[LIVE_LINE_MAX];

	live_init(&live);
	live_start(&live, NULL);
	ck_assert_msg(strstr(live.ready, live.socket_path) &&
		strstr(live.ready, live.db_path),
	    "%s", live.ready);
	snprintf(want, sizeof(want), "sqlpool-cli -s %s app", live.socket_path);
	ck_assert_msg(strstr(live.ready, want) != NULL, "%s", live.ready);
	live_stop(&live);
	ck_assert_int_eq(live_read_file_int(live.db_path,
			     "SELECT count(*) FROM pragma_journal_mode "
			     "WHERE journal_mode = 'wal'"),
	    1);
	live_fini(&live);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("start");
	TCase *tc = tcase_create("arguments");

	tcase_add_loop_test(
	    tc, arguments_that_are_wrong_are_named, 0, (int)COUNT(wrong_args));
	tcase_add_test(tc, a_ready_daemon_says_how_to_connect);
	suite_add_tcase(suite, tc);
	tc = tcase_create("file");
	tcase_set_timeout(tc, 15);
	tcase_add_test(tc, a_missing_directory_is_named);
	tcase_add_test(tc, a_file_that_is_no_database_is_left_alone);
	tcase_add_test(tc, a_directory_is_no_database);
	tcase_add_test(tc, a_file_is_no_directory);
	tcase_add_loop_test(
	    tc, a_directory_that_cannot_be_written_is_named, 0, 2);
	tcase_add_loop_test(
	    tc, a_file_that_cannot_be_read_or_written_is_named, 0, 4);
	suite_add_tcase(suite, tc);
	tc = tcase_create("user");
	tcase_add_test(tc, root_without_a_user_to_run_as_is_refused);
	tcase_add_test(tc, only_root_can_run_it_as_another_user);
	tcase_add_test(tc, root_can_run_it_as_another_user);
	tcase_add_test(tc, root_that_becomes_another_user_needs_a_socket);
	tcase_add_test(tc, a_test_run_opens_nothing);
	tcase_add_test(tc, a_test_run_looks_at_it_as_the_user_who_would_run_it);
	tcase_add_test(tc, a_test_run_says_that_the_file_could_not_be_reloaded);
	tcase_add_test(tc, what_is_in_force_is_printed);
	suite_add_tcase(suite, tc);
	tc = tcase_create("others");
	tcase_set_timeout(tc, 15);
	tcase_add_test(
	    tc, a_file_that_another_process_has_open_is_refused_by_its_pid);
	tcase_add_test(tc, a_second_daemon_on_the_same_file_is_refused);
	tcase_add_test(tc, a_second_daemon_on_a_live_socket_is_refused);
	suite_add_tcase(suite, tc);
	tc = tcase_create("socket");
	tcase_add_test(tc, a_stale_socket_is_replaced);
	tcase_add_test(tc, a_file_in_the_sockets_place_is_left_alone);
	tcase_add_test(
	    tc, a_socket_that_took_the_place_of_its_own_is_left_alone);
	tcase_add_test(tc, a_socket_that_cannot_be_made_is_named);
	tcase_add_test(tc, the_longest_path_of_a_socket_works);
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
