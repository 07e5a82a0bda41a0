/* check_cli.c - sqlpool-cli on a daemon against sqlite3 on a file: what they
 * print, what they say, and how they exit. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlpool.h>

#define ARGS_MAX 12

static char dir[96];
static char socket_path[108]; /* of the daemon */
static char theirs_path[128]; /* sqlite3's file */
static pid_t daemon_pid;

/* ---- running programs ---- */

struct run {
	char *out;
	char *err;
	int status;
};

static char *
read_file(const char *path)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = fopen(path, "r");
	FILE *to = open_memstream(&text, &n);
	int c;

	ck_assert_ptr_nonnull(f);
	while ((c = getc(f)) != EOF)
		putc(c, to);
	fclose(f);
	fclose(to);
	return text;
}

static void
write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static void
make_path(char to[128], const char *name)
{
	snprintf(to, 128, "%s/%s", dir, name);
}

/* In the child: the descriptor is a file from now on. */
static void
redirect(int fd, const char *name, int flags)
{
	char path[128];
	int file;

	make_path(path, name);
	file = open(path, flags, 0600);
	if (file < 0 || dup2(file, fd) < 0)
		_exit(126);
	close(file);
}

static pid_t
start(char *const argv[])
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid > 0)
		return pid;
	redirect(0, "in", O_RDONLY);
	redirect(1, "out", O_WRONLY | O_CREAT | O_TRUNC);
	redirect(2, "err", O_WRONLY | O_CREAT | O_TRUNC);
	execvp(argv[0], argv);
	_exit(127);
}

static struct run
run(char *const argv[], const char *input)
{
	struct run r = { 0 };
	char path[128];
	pid_t pid;
	int status;

	make_path(path, "in");
	write_file(path, input);
	pid = start(argv);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	r.status = WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
	make_path(path, "out");
	r.out = read_file(path);
	make_path(path, "err");
	r.err = read_file(path);
	return r;
}

static void
run_fini(struct run *r)
{
	free(r->out);
	free(r->err);
}

static const char *
get_program(const char *variable)
{
	const char *path = getenv(variable);

	ck_assert_msg(path && access(path, X_OK) == 0,
	    "%s does not name a program: run make check", variable);
	return path;
}

/* Replace args' {db} by what the program calls the database. */
static struct run
run_cli(const char *const *args, const char *input)
{
	char *argv[ARGS_MAX + 5];
	int n = 0;

	argv[n++] = strdup(get_program("SQLPOOL_CLI"));
	argv[n++] = strdup("-s");
	argv[n++] = strdup(socket_path);
	for (; *args; args++)
		argv[n++] = strdup(strcmp(*args, "{db}") == 0 ? "app" : *args);
	argv[n] = NULL;
	struct run r = run(argv, input);
	while (n > 0)
		free(argv[--n]);
	return r;
}

static struct run
run_sqlite3(const char *const *args, const char *input)
{
	char *argv[ARGS_MAX + 2];
	int n = 0;

	argv[n++] = strdup("sqlite3");
	for (; *args; args++)
		argv[n++] = strdup(
		    strcmp(*args, "{db}") == 0 ? theirs_path : *args);
	argv[n] = NULL;
	struct run r = run(argv, input);
	while (n > 0)
		free(argv[--n]);
	return r;
}

/* ---- the daemon ---- */

static bool
wait_for_daemon(void)
{
	char path[128];

	/* its one line says that it is ready */
	make_path(path, "daemon");
	for (int i = 0; i < 1000; i++) {
		char *text = read_file(path);
		bool ready = strchr(text, '\n') != NULL;

		free(text);
		if (ready)
			return true;
		if (waitpid(daemon_pid, NULL, WNOHANG) != 0)
			return false;
		usleep(10000);
	}
	return false;
}

static void
start_daemon(void)
{
	char path[160], ready[128];
	const char *program = get_program("SQLPOOLD");

	snprintf(path, sizeof(path), "app=%s/app.db", dir);
	make_path(ready, "daemon");
	unlink(ready);
	daemon_pid = fork();
	ck_assert_int_ge(daemon_pid, 0);
	if (daemon_pid == 0) {
		redirect(1, "daemon", O_WRONLY | O_CREAT | O_TRUNC);
		redirect(2, "daemon.log", O_WRONLY | O_CREAT | O_TRUNC);
		execl(program, program, "-s", socket_path, path, (char *)NULL);
		_exit(127);
	}
	for (int i = 0; i < 1000 && access(ready, R_OK) < 0; i++)
		usleep(10000);
	ck_assert(wait_for_daemon());
}

static void
setup(void)
{
	const char *tmp = getenv("TMPDIR");
	char command[160];

	setenv("HOME", "/nonexistent", 1); /* nobody's ~/.sqliterc */
	unsetenv("SQLPOOL_SOCKET");
	unsetenv("XDG_RUNTIME_DIR");
	snprintf(dir, sizeof(dir), "%s/cli.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(socket_path, sizeof(socket_path), "%.90s/s", dir);
	snprintf(theirs_path, sizeof(theirs_path), "%s/theirs.db", dir);
	snprintf(command, sizeof(command), "%s/in", dir);
	write_file(command, "");
	start_daemon();
}

static void
teardown(void)
{
	char command[160];

	kill(daemon_pid, SIGTERM);
	waitpid(daemon_pid, NULL, 0);
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	/* NOLINTNEXTLINE(cert-env33-c): the name is mkdtemp's */
	ck_assert_int_eq(system(command), 0);
}

/* ---- the same as sqlite3 ---- */

static const char schema[] =
    "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT UNIQUE, c REAL NOT NULL "
    "DEFAULT 0.5 CHECK (c < 100));\n"
    "INSERT INTO t(b, c) VALUES ('x', 1), ('y', 2.25), ('h\xc3\xa9', -1e100);\n"
    "CREATE TABLE p(id INTEGER PRIMARY KEY, t INT REFERENCES t(a)) STRICT;\n"
    "CREATE INDEX pt ON p(t);\n"
    "CREATE VIEW v AS SELECT a AS first, b FROM t;\n"
    "CREATE TRIGGER tr BEFORE DELETE ON t BEGIN\n"
    "  SELECT RAISE(ABORT, 'no; never') WHERE old.a = 1;\n"
    "  DELETE FROM p WHERE t = old.a;\nEND;\n";

static const struct {
	const char *args[ARGS_MAX]; /* {db}: the database */
	const char *input;
} same[] = {
	/* SQL as arguments */
	{ { "{db}", "SELECT * FROM t" }, "" },
	{ { "{db}", "SELECT 1; SELECT 2;", "SELECT 3" }, "" },
	{ { "{db}", "SELECT 1; SELECT * FROM nosuch; SELECT 2" }, "" },
	{ { "{db}", "SELECT 1", "SELEC 2", "SELECT 3" }, "" },
	{ { "{db}", "SELECT 1; SELECT foo, b FROM t; SELECT 2" }, "" },
	{ { "{db}", "INSERT INTO t(b) VALUES ('x')" }, "" },
	{ { "{db}", "INSERT INTO t(b, c) VALUES ('q', 1000)" }, "" },
	{ { "{db}", "INSERT INTO p VALUES ('x', 'y')" }, "" },
	{ { "{db}", "DELETE FROM t" }, "" },
	{ { "{db}", "SELECT abs(-9223372036854775808)" }, "" },
	{ { "{db}", "SELECT json('{')" }, "" },
	{ { "{db}", "SELECT 1 UNION SELECT 1, 2" }, "" },
	{ { "{db}", "CREATE TABLE t(x)" }, "" },
	{ { "{db}", "SELECT 'unterminated" }, "" },
	{ { "{db}", "SELECT a,\n\tb\nFROM t WHERE\n  nosuch_column = 1" }, "" },
	{ { "{db}",
	      "SELECT a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, "
	      "a, a, a, a, nosuch, a, a, a, a, a, a, a, a, a, a, a, a FROM t" },
	    "" },
	{ { "{db}",
	      "SELECT 'h\xc3\xa9h\xc3\xa9h\xc3\xa9h\xc3\xa9h\xc3\xa9h\xc3\xa9"
	      "h\xc3\xa9h\xc3\xa9h\xc3\xa9h\xc3\xa9h\xc3\xa9', nosuch FROM t" },
	    "" },
	{ { "{db}", "" }, "" },
	{ { "{db}", " ; ;; -- nothing\n" }, "" },
	{ { "{db}", "/* a comment */ SELECT 1 /* open" }, "" },
	{ { "{db}", "SELECT ?1, :x" }, "" },
	{ { "{db}", "BEGIN; INSERT INTO t(b) VALUES ('r'); ROLLBACK;",
	      "SELECT count(*) FROM t" },
	    "" },
	{ { "{db}", "INSERT INTO t(b) VALUES ('n') RETURNING a, b, c" }, "" },
	{ { "{db}", "EXPLAIN QUERY PLAN SELECT * FROM t JOIN p ON t = a" },
	    "" },
	{ { "{db}", ".nosuch" }, "" },
	{ { "{db}", ".tables", ".indexes", ".print a  'b c' \"d\\te\"" }, "" },
	{ { "{db}", ".schema" }, "" },
	{ { "{db}", ".schema t" }, "" },
	{ { "-header", "-csv", "{db}", "SELECT * FROM t" }, "" },
	{ { "-box", "{db}", "SELECT * FROM t", "SELECT 1" }, "" },
	{ { "-json", "-nullvalue", "x", "{db}", "SELECT NULL, * FROM t" }, "" },
	{ { "-separator", ", ", "-newline", ".\n", "{db}", "SELECT * FROM t" },
	    "" },
	{ { "-cmd", ".headers on", "-cmd", "SELECT 0", "{db}", "SELECT 1" },
	    "" },
	{ { "-cmd", ".nosuch", "{db}", "SELECT 1" }, "" },
	{ { "-bail", "-cmd", ".nosuch", "{db}", "SELECT 1" }, "" },
	/* scripts */
	{ { "{db}" }, "SELECT 1;\nSELECT 2; SELECT 3;\n" },
	{ { "{db}" }, "SELECT 1" },
	{ { "{db}" }, "\n\nSELECT\n 1\n  ;\n\n;;\n-- c\nSELECT 2;" },
	{ { "{db}" }, "SELECT 1; SELECT\n2; SELECT 3\n;" },
	{ { "{db}" },
	    "SELECT 1;\nSELECT * FROM nosuch; SELECT 2;\nSELECT 3;\n"
	    "INSERT INTO t(b) VALUES ('x');\nSELECT 4;\n" },
	{ { "-bail", "{db}" },
	    "SELECT 1;\nSELECT nosuch FROM t;\nSELECT 2;\n" },
	{ { "{db}" }, "SELECT 1;\r\nSELECT 'a\r\nb';\r\n" },
	{ { "{db}" }, "SELECT ';' AS x, \";\" FROM t;\nSELECT [a;b];\n" },
	{ { "{db}" }, "/* a\n; b */ SELECT 1; -- x;\nSELECT 2;\n" },
	{ { "{db}" },
	    "CREATE TRIGGER t2 AFTER INSERT ON p BEGIN\n  SELECT 1;\n"
	    "  SELECT 2;\nEND; SELECT 'made';\nDROP TRIGGER t2;\n" },
	{ { "{db}" }, "SELECT 1\ngo\nSELECT 2\n/\nSELECT 3;\n  GO  \n" },
	{ { "{db}" }, "# a comment\nSELECT 1;\n  .print no\nSELECT 2;\n" },
	{ { "{db}" },
	    ".mode csv\n.headers on\nSELECT * FROM t;\n.mode box\n"
	    "SELECT * FROM t;\n.mode list\n.separator ;\nSELECT * FROM t;\n" },
	{ { "{db}" },
	    "BEGIN;\nINSERT INTO t(b) VALUES ('s');\nSELECT count(*) FROM t;\n"
	    "SAVEPOINT s;\nDELETE FROM p;\nROLLBACK TO s;\nRELEASE s;\n"
	    "ROLLBACK;\nSELECT count(*) FROM t;\n" },
	{ { "{db}" }, "COMMIT;\nSELECT 1;\n" },
	{ { "{db}" }, "SELECT 1;\n.quit\nSELECT 2;\n" },
	{ { "{db}" }, "SELECT 1;\n.exit\n" },
	{ { "{db}" }, ".bail on\nSELECT nosuch FROM t;\nSELECT 1;\n" },
	{ { "{db}" }, ".nosuch\nSELECT 1;\n" },
	{ { "{db}" },
	    ".nullvalue NIL\nSELECT NULL;\n.he off\n.e on\nSELECT 2;" },
	{ { "-echo", "{db}" }, "SELECT 1;\n.print x\n\nSELECT\n2;\n" },
	{ { "{db}" },
	    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
	    "LIMIT 30000) SELECT i, 'row ' || i, i / 3.0 FROM n;\n" },
	{ { "-json", "{db}" },
	    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
	    "LIMIT 3000) SELECT i, 'row ' || i AS r, i / 3.0 AS d FROM n;\n" },
	{ { "-column", "{db}" },
	    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
	    "LIMIT 3000) SELECT i, 'row ' || i AS r, i / 3.0 AS d FROM n;\n" },
};

static void
compare(const char *const *args, const char *input)
{
	struct run ours = run_cli(args, input);
	struct run theirs = run_sqlite3(args, input);
	const char *last = "";

	for (; *args; args++)
		last = *args;
	ck_assert_msg(strcmp(ours.out, theirs.out) == 0,
	    "%s | %s\n--- ours:\n%s\n--- sqlite3's:\n%s", last, input, ours.out,
	    theirs.out);
	ck_assert_msg(strcmp(ours.err, theirs.err) == 0,
	    "%s | %s\n--- our errors:\n%s\n--- sqlite3's:\n%s", last, input,
	    ours.err, theirs.err);
	/* sqlite3 exits with SQLite's code, we with 1 */
	ck_assert_msg(ours.status == (theirs.status ? 1 : 0),
	    "%s | %s: exit status %d, sqlite3's %d", last, input, ours.status,
	    theirs.status);
	run_fini(&ours);
	run_fini(&theirs);
}

START_TEST(does_what_sqlite3_does)
{
	static const char *const load[] = { "-bail", "{db}", NULL };

	compare(load, schema);
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		compare(same[i].args, same[i].input);
}
END_TEST

/* ---- what sqlite3 has not ---- */

static void
check(const char *const *args, const char *input, int status, const char *out,
    const char *err)
{
	struct run r = run_cli(args, input);

	ck_assert_msg(
	    r.status == status, "exit status %d: %s", r.status, r.err);
	ck_assert_msg(
	    strstr(r.out, out), "not in the output: %s\n%s", out, r.out);
	ck_assert_msg(
	    strstr(r.err, err), "not in the errors: %s\n%s", err, r.err);
	run_fini(&r);
}

#define ARGS(...) ((const char *const[]){ __VA_ARGS__, NULL })

START_TEST(the_database_may_be_left_out)
{
	check(ARGS("SELECT 1 + 1"), "", 0, "2\n", "");
	check(ARGS("-batch"), "SELECT 1 + 1;", 0, "2\n", "");
	check(ARGS(".server"), "", 0, "database: app", "");
}
END_TEST

START_TEST(without_a_daemon_the_status_is_2)
{
	check(ARGS("-s", "/nonexistent/s", "app", "SELECT 1"), "", 2, "",
	    "cannot connect to the daemon at /nonexistent/s: No such file or "
	    "directory; start one with: sqlpoold ./app.db\n");
	check(ARGS("nosuch", "SELECT 1"), "", 2, "", "serves: app");
	check(ARGS("-nosuch"), "", 2, "", "unknown option: nosuch");
	check(ARGS("-separator"), "", 2, "", "missing argument");
}
END_TEST

START_TEST(a_file_is_no_database)
{
	static const char what[] = "; the first argument is the name of a "
				   "database that the daemon serves";
	char path[128], want[400];

	make_path(path, "app.db");
	snprintf(
	    want, sizeof(want), "Error: \"%s\" is a file%s: app\n", path, what);
	check(ARGS(path, "SELECT 1"), "", 2, "", want);
	snprintf(want, sizeof(want),
	    "Error: \"./nosuch.db\" is a path%s: app\n", what);
	check(ARGS("./nosuch.db"), "SELECT 1;\n", 2, "", want);
	make_path(path, "my app.db");
	write_file(path, "");
	snprintf(want, sizeof(want), "Error: \"%s\" is a file", path);
	check(ARGS(path), "SELECT 1;\n", 2, "", want);
	/* without a daemon, how to start one as well */
	check(ARGS("-s", "/nonexistent/s", "./app.db"), "", 2, "",
	    "start one with: sqlpoold ./app.db\nError: \"./app.db\" is a "
	    "path; ");
	/* SQL has slashes too */
	check(ARGS("SELECT 8/4"), "", 0, "2\n", "");
	check(ARGS("/* 1 */ SELECT 1"), "", 0, "1\n", "");
	check(ARGS("app", "./app.db"), "", 1, "", "unknown command");
}
END_TEST

/* ---- migrations ---- */

/* What .script prints to standard error, behind the name of the file. */
static const struct {
	const char *text;
	const char *error; /* NULL: it succeeds */
} migrations[] = {
	{ "CREATE TABLE n(x);\n-- a comment; with\nINSERT INTO n VALUES(1);\n"
	  "CREATE TRIGGER tn AFTER INSERT ON n BEGIN\n  SELECT 1;\nEND;\n",
	    NULL },
	{ "", NULL },
	{ "CREATE TABLE n(x);\nINSERT INTO n VALUES(1);\n\n"
	  "INSERT INTO u\n  VALUES(1);\nSELECT 1;\n",
	    ":4: statement 3: UNIQUE constraint failed: u.x; nothing of it was "
	    "applied\n" },
	{ "CREATE TABLE n(x);\n\nSELECT 1,\n  nope FROM n;\n",
	    ":4: statement 2: no such column: nope; nothing of it was "
	    "applied\n" },
	{ "BEGIN; CREATE TABLE n(x); COMMIT;\n",
	    ":1: statement 1: an atomic SCRIPT is a transaction already; leave "
	    "out BEGIN, COMMIT and ROLLBACK, or send it as not atomic; nothing "
	    "of it was applied\n" },
};

START_TEST(a_migration_is_all_of_it_or_nothing)
{
	const char *expected = migrations[_i].error;
	char path[128], command[160], error[512];
	struct run r;

	make_path(path, "m.sql");
	write_file(path, migrations[_i].text);
	snprintf(command, sizeof(command), ".script %s", path);
	snprintf(error, sizeof(error), "%s%s", expected ? path : "",
	    expected ? expected : "");
	r = run_cli(
	    ARGS("{db}", "CREATE TABLE u(x UNIQUE); INSERT INTO u VALUES(1)",
		command),
	    "");
	ck_assert_str_eq(r.err, error);
	ck_assert_str_eq(r.out, "");
	ck_assert_int_eq(r.status, expected ? 1 : 0);
	run_fini(&r);
	r = run_cli(ARGS("{db}", ".tables"), "");
	ck_assert_str_eq(r.out, !expected && _i == 0 ? "n  u\n" : "u\n");
	run_fini(&r);
}
END_TEST

START_TEST(a_migration_that_cannot_be_read_is_not_sent)
{
	struct run r = run_cli(ARGS("{db}", ".script /nonexistent"), "");

	ck_assert_str_eq(r.err, "Error: cannot read \"/nonexistent\"\n");
	ck_assert_int_eq(r.status, 1);
	run_fini(&r);
	r = run_cli(ARGS("{db}", ".script /dev/stdin"), "SELECT 1; x");
	ck_assert_str_eq(r.err,
	    "/dev/stdin:1: statement 2: near \"x\": syntax error; nothing of "
	    "it was applied\n");
	run_fini(&r);
	r = run_cli(ARGS("{db}", ".script /"), "");
	ck_assert_str_eq(r.err, "Error: cannot read \"/\"\n");
	run_fini(&r);
}
END_TEST

START_TEST(the_environment_names_the_socket)
{
	char *program = strdup(get_program("SQLPOOL_CLI"));
	char sql[] = "SELECT 7", app[] = "app";
	char *argv[] = { program, app, sql, NULL };
	struct run r;

	setenv("SQLPOOL_SOCKET", socket_path, 1);
	r = run(argv, "");
	ck_assert_str_eq(r.out, "7\n");
	run_fini(&r);
	unsetenv("SQLPOOL_SOCKET");
	r = run(argv, "");
	ck_assert_int_eq(r.status, 2);
	ck_assert_ptr_nonnull(strstr(r.err, "no daemon found"));
	run_fini(&r);
	free(program);
}
END_TEST

START_TEST(help_and_version_need_no_daemon)
{
	check(ARGS("-help"), "", 0, "Usage: sqlpool-cli", "");
	check(ARGS("--version"), "", 0, "sqlpool-cli ", "");
}
END_TEST

START_TEST(a_daemon_that_goes_away_ends_a_script)
{
	static const char script[] = "SELECT 1;\nSELECT 2;\n";

	kill(daemon_pid, SIGKILL);
	waitpid(daemon_pid, NULL, 0);
	check(ARGS("app"), script, 2, "", "cannot connect");
	start_daemon();
	check(ARGS("app"), script, 0, "2\n", "");
}
END_TEST

START_TEST(the_examples_run)
{
	static const struct {
		const char *name, *out;
	} examples[] = {
		{ "sync", "inserted row 1\n1 a first note\n" },
		{ "pipeline", "the sum of the first 100 squares is 328350\n" },
		{ "transaction", "account 1 has 9 left\n" },
		{ "bulk", "20000 rows in 4 requests\n" },
		{ "stream", "300000 rows with 30000000 bytes of text\n" },
		{ "libevent",
		    "5 squared is 25\n6 squared is 36\n"
		    "7 squared is 49\n" },
	};
	const char *build = getenv("BUILD");

	for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
		char program[256], app[] = "app";
		char *argv[] = { program, socket_path, app, NULL };
		struct run r;

		snprintf(program, sizeof(program), "%s/client/examples/%s",
		    build ? build : "build/release", examples[i].name);
		r = run(argv, "");
		ck_assert_str_eq(r.err, "");
		ck_assert_str_eq(r.out, examples[i].out);
		ck_assert_int_eq(r.status, 0);
		run_fini(&r);
	}
}
END_TEST

/* ---- the prompt ---- */

/* What a terminal has shown and nobody expected yet. */
static char shown[8192];
static size_t shown_n;

/* Wait for more of it. */
static void
read_more(int fd, const char *want)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t got;

	shown[shown_n] = '\0';
	ck_assert_msg(
	    poll(&p, 1, 10000) == 1, "never came: %s\ncame: %s", want, shown);
	got = read(fd, shown + shown_n, sizeof(shown) - 1 - shown_n);
	ck_assert_msg(got > 0, "ended before: %s\ncame: %s", want, shown);
	shown_n += (size_t)got;
}

/* Read until a text comes; forget it and what came before. */
static void
expect(int fd, const char *want)
{
	for (;;) {
		char *at;

		shown[shown_n] = '\0';
		at = strstr(shown, want);
		if (at) {
			at += strlen(want);
			shown_n -= (size_t)(at - shown);
			memmove(shown, at, shown_n);
			return;
		}
		read_more(fd, want);
	}
}

static void
type(int fd, const char *text)
{
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* Start a shell on a terminal, up to its prompt. */
static pid_t
start_prompt(const char *history, int *ret_fd)
{
	const char *program = get_program("SQLPOOL_CLI");
	pid_t pid;

	setenv("SQLPOOL_HISTORY", history, 1);
	setenv("TERM", "dumb", 1);
	pid = forkpty(ret_fd, NULL, NULL, NULL);
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		execl(program, program, "-s", socket_path, "app", (char *)NULL);
		_exit(127);
	}
	expect(*ret_fd, "sqlpool> ");
	return pid;
}

static void
quit_prompt(pid_t pid, int fd)
{
	int status;

	type(fd, ".quit\n");
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	close(fd);
}

/* A statement that runs until it is cancelled. */
static const char endless[] =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 "
    "FROM n) SELECT count(*) FROM n; -- long\n";

/* How many reads ran too long for the thread that received them. */
static int64_t
count_long_reads(void)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	struct sqlpool_conn *conn;
	struct sqlpool_result *result;
	int64_t n = -1;

	options.socket_path = socket_path;
	options.database = "@admin";
	ck_assert_int_eq(sqlpool_open(&options, &conn), 0);
	ck_assert_int_eq(
	    sqlpool_query(conn, "SHOW STATS", NULL, 0, &result), 0);
	while (sqlpool_next(result) == SQLPOOL_ROW) {
		const char *name = sqlpool_column_text(result, 0, NULL);

		if (strcmp(name, "reads_escalated") == 0)
			n = sqlpool_column_int64(result, 1);
	}
	ck_assert_int_ge(n, 0);
	sqlpool_result_free(result);
	sqlpool_close(conn);
	return n;
}

static void
wait_for_long_reads(int64_t n)
{
	for (int i = 0; i < 1000 && count_long_reads() < n; i++)
		usleep(10000);
	ck_assert_int_ge(count_long_reads(), n);
}

START_TEST(the_prompt_edits_cancels_and_remembers)
{
	char history[128], *text;
	int64_t before;
	int fd;
	pid_t pid;

	make_path(history, "history");
	pid = start_prompt(history, &fd);
	type(fd, "SELECT 40\n");
	expect(fd, "...> ");
	type(fd, "+ 2;\n");
	expect(fd, "\n42\r\n");
	expect(fd, "sqlpool> ");
	/* an error has no line number here */
	type(fd, "SELECT nosuch;\n");
	expect(fd, "Parse error: no such column: nosuch");
	expect(fd, "sqlpool> ");
	/* control-C drops the line, and then a statement that runs */
	type(fd, "SELECT 'half");
	expect(fd, "half");
	type(fd, "\x03");
	expect(fd, "sqlpool> ");
	before = count_long_reads();
	type(fd, endless);
	wait_for_long_reads(before + 1);
	type(fd, "\x03");
	expect(fd, "Error: ");
	expect(fd, "sqlpool> ");
	type(fd, "SELECT 1 + 1;\n");
	expect(fd, "\n2\r\n");
	quit_prompt(pid, fd);
	text = read_file(history);
	ck_assert_ptr_nonnull(strstr(text, "SELECT 40\n+ 2;\n"));
	free(text);
}
END_TEST

/* Wherever the shell is on its way from a line to its statement: sooner or later
 * by an amount of work, which is not to be slept through. */
START_TEST(control_c_is_never_lost)
{
	volatile unsigned work = 0;
	pid_t pid;
	int fd;

	pid = start_prompt("", &fd);
	for (unsigned i = 0; i < 200; i++) {
		type(fd, endless);
		expect(fd, "-- long\r\n");
		while (work < i * 2000)
			work++;
		work = 0;
		type(fd, "\x03");
		expect(fd, "sqlpool> ");
	}
	/* a line that goes on is given up with those before it */
	type(fd, "SELECT 'first'\n");
	expect(fd, "...> ");
	type(fd, "\x03");
	expect(fd, "sqlpool> ");
	type(fd, "SELECT 'second';\n");
	expect(fd, "\nsecond\r\n");
	expect(fd, "sqlpool> ");
	quit_prompt(pid, fd);
}
END_TEST

START_TEST(control_c_stops_a_script_of_the_prompt)
{
	char path[128], line[160];
	int64_t before = count_long_reads();
	pid_t pid;
	int fd;

	make_path(path, "script");
	snprintf(line, sizeof(line), "%s%s", endless, ".print not this\n");
	write_file(path, line);
	pid = start_prompt("", &fd);
	snprintf(line, sizeof(line), ".read %s\n", path);
	type(fd, line);
	expect(fd, "script\r\n");
	wait_for_long_reads(before + 1);
	type(fd, "\x03");
	expect(fd, "Error near line 1: ");
	expect(fd, "\r\n");
	/* the prompt, and not what follows in the script */
	while (shown_n < strlen("sqlpool> "))
		read_more(fd, "sqlpool> ");
	ck_assert_int_eq(strncmp(shown, "sqlpool> ", 9), 0);
	quit_prompt(pid, fd);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("cli");
	TCase *tc = tcase_create("sqlite3");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, does_what_sqlite3_does);
	suite_add_tcase(suite, tc);
	tc = tcase_create("own");
	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, the_database_may_be_left_out);
	tcase_add_test(tc, without_a_daemon_the_status_is_2);
	tcase_add_test(tc, a_file_is_no_database);
	tcase_add_loop_test(tc, a_migration_is_all_of_it_or_nothing, 0,
	    (int)(sizeof(migrations) / sizeof(migrations[0])));
	tcase_add_test(tc, a_migration_that_cannot_be_read_is_not_sent);
	tcase_add_test(tc, the_environment_names_the_socket);
	tcase_add_test(tc, help_and_version_need_no_daemon);
	tcase_add_test(tc, a_daemon_that_goes_away_ends_a_script);
	tcase_add_test(tc, the_examples_run);
	tcase_add_test(tc, the_prompt_edits_cancels_and_remembers);
	tcase_add_test(tc, control_c_is_never_lost);
	tcase_add_test(tc, control_c_stops_a_script_of_the_prompt);
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
