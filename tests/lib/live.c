/* live.c - start, ask, watch and stop a daemon. */
#include "tests/lib/live.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/clock.h"

#define ARGS_MAX 64
/* Processor time after which a thread is said to be busy, in clock ticks of 10
 * ms: proc(5). */
#define BUSY_TICKS 3
/* A slow machine comes too late for 5 s in tests of something else; it is as much as
 * tx_max_age allows. */
#define FAR_TX_LIMIT "tx_idle_timeout=60s"

void
live_init(struct live *d)
{
	const char *tmp = getenv("TMPDIR");

	proc_init();
	*d = (struct live){ .out_fd = -1 };
	snprintf(
	    d->dir, sizeof(d->dir) - 16, "%s/d.XXXXXX", tmp ? tmp : "/tmp");
	PROC_CHECK(mkdtemp(d->dir), "%s: %s", d->dir, strerror(errno));
	snprintf(d->socket_path, sizeof(d->socket_path), "%.90s/s", d->dir);
	snprintf(d->db_path, sizeof(d->db_path), "%.90s/app.db", d->dir);
	snprintf(d->log_path, sizeof(d->log_path), "%.90s/log", d->dir);
}

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

void
live_fini(struct live *d)
{
	char *log;

	if (d->pid)
		live_kill(d);
	log = live_read_log(d);
	PROC_CHECK(!strstr(log, "Sanitizer") && !strstr(log, "runtime error"),
	    "a sanitizer has found something: %s", log);
	free(log);
	nftw(d->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* $SQLPOOLD, as the Makefile sets it; else what was built beside the test. */
static void
find_program(char path[PATH_MAX])
{
	const char *given = getenv("SQLPOOLD");
	ssize_t n;

	if (given) {
		snprintf(path, PATH_MAX, "%s", given);
		return;
	}
	n = readlink("/proc/self/exe", path, PATH_MAX - 32);
	PROC_CHECK(n > 0, "readlink: %s", strerror(errno));
	for (int slashes = 0; n > 0 && slashes < 3; n--)
		slashes += path[n - 1] == '/';
	snprintf(path + n, 32, "/sqlpoold");
}

/* In the new process. */
__attribute__((noreturn)) static void
become(const struct live *d, int out_fd, const char *const *args)
{
	char path[PATH_MAX], uid[16];
	char *argv[ARGS_MAX] = { path };
	int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int log_fd = open(
	    d->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* whoever runs the tests, root too */
	snprintf(uid, sizeof(uid), "%u", (unsigned)geteuid());
	setenv("SQLPOOLD_USER", uid, 1);
	/* nor does the log depend on how fast the machine is */
	setenv("SQLPOOLD_SLOW_STATEMENT", "off", 1);
	find_program(path);
	for (int i = 0; args[i] && i < ARGS_MAX - 2; i++)
		argv[i + 1] = strdup(args[i]); /* as execv wants it */
	dup2(null_fd, STDIN_FILENO);
	dup2(out_fd, STDOUT_FILENO);
	dup2(log_fd, STDERR_FILENO);
	if (d->before_exec)
		d->before_exec();
	execv(path, argv);
	proc_fail("%s: %s", path, strerror(errno));
}

void
live_launch(struct live *d, const char *const *args)
{
	int fds[2];

	PROC_CHECK(d->pid == 0, "it runs already");
	PROC_CHECK(pipe2(fds, O_CLOEXEC) == 0, "pipe: %s", strerror(errno));
	d->pid = fork();
	PROC_CHECK(d->pid >= 0, "fork: %s", strerror(errno));
	if (d->pid == 0)
		become(d, fds[1], args);
	close(fds[1]);
	d->out_fd = fds[0];
	d->ready[0] = '\0';
}

/* Read a line; false at the end of the file or the time. */
static bool
read_line(int fd, char line[LIVE_LINE_MAX], int64_t deadline_us)
{
	size_t n = 0;

	while (n + 1 < LIVE_LINE_MAX && proc_wait_readable(fd, deadline_us) &&
	    read(fd, line + n, 1) == 1 && line[n] != '\n')
		n++;
	if (line[n] != '\n')
		return false;
	line[n] = '\0';
	return true;
}

void
live_wait_ready(struct live *d)
{
	if (read_line(d->out_fd, d->ready, proc_get_deadline_us(PROC_WAIT_MS)))
		return;
	proc_fail("the daemon did not get ready: %s", live_read_log(d));
}

static bool
names_one_of(const char *const *options, const char *start)
{
	for (size_t i = 0; options && options[i]; i++) {
		if (strncmp(options[i], start, strlen(start)) == 0)
			return true;
	}
	return false;
}

void
live_start(struct live *d, const char *const *options)
{
	const char *args[ARGS_MAX] = { "-s", d->socket_path };
	char timeout[64];
	size_t n = 2;

	if (!names_one_of(options, "tx_")) {
		args[n++] = "-o";
		args[n++] = FAR_TX_LIMIT;
	}
	if (!names_one_of(options, "request_timeout=")) {
		snprintf(timeout, sizeof(timeout), "request_timeout=%llds",
		    30 * (long long)proc_get_slowness());
		args[n++] = "-o";
		args[n++] = timeout;
	}
	for (size_t i = 0; options && options[i]; i++) {
		args[n++] = "-o";
		args[n++] = options[i];
	}
	args[n] = d->db_path;
	live_launch(d, args);
	live_wait_ready(d);
}

static void
forget(struct live *d)
{
	d->pid = 0;
	close(d->out_fd);
	d->out_fd = -1;
}

int
live_wait_exit(struct live *d, int64_t timeout_ms)
{
	int status = proc_wait_exit(d->pid, timeout_ms);

	forget(d);
	return status;
}

void
live_stop(struct live *d)
{
	int status;

	kill(d->pid, SIGTERM);
	status = live_wait_exit(d, PROC_WAIT_MS);
	PROC_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0,
	    "the daemon ended with wait status %#x: %s", (unsigned)status,
	    live_read_log(d));
}

void
live_kill(struct live *d)
{
	proc_kill(d->pid);
	forget(d);
}

char *
live_read_log(const struct live *d)
{
	FILE *f = fopen(d->log_path, "re");
	char *text = NULL;
	size_t cap = 0;

	if (!f || getdelim(&text, &cap, '\0', f) < 0) {
		free(text);
		text = strdup("");
	}
	if (f)
		fclose(f);
	PROC_CHECK(text, "out of memory");
	return text;
}

/* --- Asking it ------------------------------------------------------------ */

static struct sqlpool_conn *
connect_to(
    const struct live *d, const char *app, const char *database, bool once)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	struct sqlpool_conn *conn;

	options.socket_path = d->socket_path;
	options.app_name = app;
	options.database = database;
	options.no_reconnect = once;
	options.connect_timeout_ms = 5000 * (uint32_t)proc_get_slowness();
	options.request_timeout_ms = 30000 * (uint32_t)proc_get_slowness();
	PROC_CHECK(sqlpool_open(&options, &conn) == 0, "open: %s",
	    sqlpool_get_error(conn)->message);
	return conn;
}

struct sqlpool_conn *
live_connect(const struct live *d, const char *app_name)
{
	return connect_to(d, app_name, NULL, false);
}

struct sqlpool_conn *
live_connect_once(const struct live *d, const char *app_name)
{
	return connect_to(d, app_name, NULL, true);
}

struct sqlpool_conn *
live_connect_admin(const struct live *d)
{
	return connect_to(d, "test admin", "@admin", false);
}

static void
print_value(FILE *out, struct sqlpool_result *result, size_t at)
{
	const char *text;

	switch (sqlpool_column_type(result, at)) {
	case SQLPOOL_TYPE_NULL:
		return;
	case SQLPOOL_TYPE_INTEGER:
		fprintf(
		    out, "%lld", (long long)sqlpool_column_int64(result, at));
		return;
	case SQLPOOL_TYPE_REAL:
		fprintf(out, "%g", sqlpool_column_double(result, at));
		return;
	case SQLPOOL_TYPE_TEXT:
	case SQLPOOL_TYPE_BLOB:
		break;
	}
	text = sqlpool_column_text(result, at, NULL);
	fputs(text ? text : "", out);
}

static void
print_row(FILE *out, struct sqlpool_result *result, const char *columns)
{
	char names[256], *save = NULL, *name = NULL;
	size_t n = sqlpool_column_count(result);

	for (size_t i = 0; !columns && i < n; i++) {
		fputs(i ? "|" : "", out);
		print_value(out, result, i);
	}
	snprintf(names, sizeof(names), "%s", columns ? columns : "");
	for (name = strtok_r(names, " ", &save); name;
	     name = strtok_r(NULL, " ", &save)) {
		int at = sqlpool_column_index(result, name);

		PROC_CHECK(at >= 0, "no column %s", name);
		fputs(name == names ? "" : "|", out);
		print_value(out, result, (size_t)at);
	}
	fputs("\n", out);
}

char *
live_ask(struct sqlpool_conn *conn, const char *sql, const char *columns)
{
	struct sqlpool_result *result = NULL;
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);
	int rc = sqlpool_query(conn, sql, NULL, 0, &result);

	PROC_CHECK(out, "out of memory");
	while (rc >= 0 && (rc = sqlpool_next(result)) == SQLPOOL_ROW)
		print_row(out, result, columns);
	if (rc < 0)
		fprintf(out, "%s: %s", sqlpool_get_error(conn)->name,
		    sqlpool_get_error(conn)->message);
	sqlpool_result_free(result);
	fclose(out);
	return text;
}

void
live_expect_text(struct sqlpool_conn *conn, const char *sql,
    const char *columns, const char *want)
{
	char *text = live_ask(conn, sql, columns);

	PROC_CHECK(strcmp(text, want) == 0, "%s: %s, not %s", sql, text, want);
	free(text);
}

void
live_expect_part(struct sqlpool_conn *conn, const char *sql,
    const char *columns, const char *part)
{
	char *text = live_ask(conn, sql, columns);

	PROC_CHECK(strstr(text, part), "%s: no %s in %s", sql, part, text);
	free(text);
}

void
live_exec(struct sqlpool_conn *conn, const char *sql)
{
	int rc = sqlpool_exec(conn, sql, NULL, 0);
	const struct sqlpool_error *e = sqlpool_get_error(conn);

	PROC_CHECK(rc == 0, "%.200s: %s: %s", sql, e->name, e->message);
}

static int64_t
get_column(struct sqlpool_conn *conn, const char *sql, const char *name,
    const char *column)
{
	struct sqlpool_result *result = NULL;
	int rc = sqlpool_query(conn, sql, NULL, 0, &result);
	int64_t v = 0;
	bool found = false;

	while (rc == 0 && !found && sqlpool_next(result) == SQLPOOL_ROW) {
		int at = column ? sqlpool_column_index(result, column) : 0;

		found = !name ||
		    strcmp(sqlpool_column_text(result, 0, NULL), name) == 0;
		v = sqlpool_column_int64(result, (size_t)at);
	}
	PROC_CHECK(found, "%.200s: %s", sql,
	    rc < 0 ? sqlpool_get_error(conn)->message : "no row");
	sqlpool_result_free(result);
	return v;
}

int64_t
live_get_int(struct sqlpool_conn *conn, const char *sql)
{
	return get_column(conn, sql, NULL, NULL);
}

static int64_t
ask_admin(
    const struct live *d, const char *sql, const char *name, const char *column)
{
	struct sqlpool_conn *conn = connect_to(
	    d, "test admin", "@admin", false);
	int64_t v = get_column(conn, sql, name, column);

	sqlpool_close(conn);
	return v;
}

int64_t
live_get_stat(const struct live *d, const char *name)
{
	return ask_admin(d, "SHOW STATS", name, "value");
}

int64_t
live_get_queue(const struct live *d)
{
	return ask_admin(d, "SHOW DATABASES", NULL, "queue");
}

void
live_wait_queue(const struct live *d, int64_t n)
{
	int64_t deadline_us = proc_get_deadline_us(PROC_WAIT_MS);
	int64_t have = live_get_queue(d);

	while (have != n && clock_now_us() < deadline_us)
		have = live_get_queue(d);
	PROC_CHECK(have == n, "%lld requests wait for the writer, not %lld",
	    (long long)have, (long long)n);
}

/* --- Its figures, from proc(5) -------------------------------------------- */

static bool
read_file(char *text, size_t n, const char *fmt, ...)
{
	char path[PATH_MAX];
	va_list args;
	size_t got = 0;
	FILE *f;

	va_start(args, fmt);
	vsnprintf(path, sizeof(path), fmt, args);
	va_end(args);
	f = fopen(path, "re");
	if (f) {
		got = fread(text, 1, n - 1, f);
		fclose(f);
	}
	text[got] = '\0';
	return got > 0;
}

int
live_count_fds(const struct live *d, const char *end)
{
	char dir_path[64], path[2 * LIVE_PATH_MAX];
	const struct dirent *each;
	size_t n = strlen(end);
	int found = 0;
	DIR *dir;

	snprintf(dir_path, sizeof(dir_path), "/proc/%d/fd", (int)d->pid);
	dir = opendir(dir_path);
	PROC_CHECK(dir, "cannot list %s", dir_path);
	while ((each = readdir(dir))) {
		ssize_t got = readlinkat(
		    dirfd(dir), each->d_name, path, sizeof(path));

		if (got > (ssize_t)n && memcmp(path + got - n, end, n) == 0)
			found++;
	}
	closedir(dir);
	return found;
}

long
live_get_rss_kb(const struct live *d)
{
	char text[8192];
	const char *line;

	read_file(text, sizeof(text), "/proc/%d/status", (int)d->pid);
	line = strstr(text, "VmRSS:");
	PROC_CHECK(line, "no VmRSS of process %d", (int)d->pid);
	return strtol(line + strlen("VmRSS:"), NULL, 10);
}

static long
get_ticks(const struct live *d, const char *tid, const char *name)
{
	char text[1024];
	const char *at;
	char *next;
	unsigned long ticks;

	read_file(
	    text, sizeof(text), "/proc/%d/task/%s/stat", (int)d->pid, tid);
	at = strchr(text, '(');
	if (!at || strncmp(at + 1, name, strlen(name)) != 0)
		return 0;
	at = strrchr(text, ')');
	/* field 3 comes next; utime and stime are 14 and 15 */
	for (int field = 3; at && field <= 14; field++)
		at = strchr(at + 1, ' ');
	if (!at)
		return 0;
	ticks = strtoul(at, &next, 10);
	return (long)(ticks + strtoul(next, NULL, 10));
}

static long
sum_ticks(const struct live *d, const char *name)
{
	char path[PATH_MAX];
	struct dirent *e;
	long sum = 0;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)d->pid);
	tasks = opendir(path);
	PROC_CHECK(tasks, "%s: %s", path, strerror(errno));
	while ((e = readdir(tasks)))
		sum += get_ticks(d, e->d_name, name);
	closedir(tasks);
	return sum;
}

struct busy {
	const struct live *d;
	const char *name;
	long ticks;
};

static bool
is_busy(const void *arg)
{
	const struct busy *b = arg;

	return sum_ticks(b->d, b->name) >= b->ticks + BUSY_TICKS;
}

void
live_wait_busy(const struct live *d, const char *thread_name)
{
	struct busy b = { d, thread_name, sum_ticks(d, thread_name) };

	proc_wait_until(is_busy, &b, "a thread runs");
}

/* --- The file ------------------------------------------------------------- */

static sqlite3_stmt *
open_file(const char *path, const char *sql, sqlite3 **ret_db)
{
	sqlite3_stmt *st = NULL;

	if (sqlite3_open(path, ret_db) != SQLITE_OK ||
	    sqlite3_prepare_v2(*ret_db, sql, -1, &st, NULL) != SQLITE_OK ||
	    sqlite3_step(st) != SQLITE_ROW)
		proc_fail("%s: %s: %s", path, sql, sqlite3_errmsg(*ret_db));
	return st;
}

int64_t
live_read_file_int(const char *path, const char *sql)
{
	sqlite3 *db;
	sqlite3_stmt *st = open_file(path, sql, &db);
	int64_t v = sqlite3_column_int64(st, 0);

	sqlite3_finalize(st);
	sqlite3_close(db);
	return v;
}

void
live_check_file(const char *path)
{
	sqlite3 *db;
	sqlite3_stmt *st = open_file(path, "PRAGMA integrity_check", &db);
	const char *text = (const char *)sqlite3_column_text(st, 0);

	PROC_CHECK(strcmp(text, "ok") == 0, "%s: %s", path, text);
	sqlite3_finalize(st);
	sqlite3_close(db);
}
