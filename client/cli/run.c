/* run.c - statements to the daemon, rows to the output, errors to stderr. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/shell.h"
#include "client/cli/split.h"

/* SQLite's own codes end there; the daemon's have no number a user knows. */
#define SQLITE_CODES_END 100001
#define PRIMARY_ERROR    1
/* What cannot be parsed while the schema is not loaded has this code: it says
 * nothing. */
#define PRIMARY_SCHEMA 17

/* ---- interrupts ---- */

/* The one thing a signal handler may touch. */
static volatile sig_atomic_t interrupted;

static void
on_interrupt(int number)
{
	(void)number;
	interrupted = 1;
}

void
shell_catch_interrupts(struct sigaction *ret_before)
{
	struct sigaction action = { .sa_handler = on_interrupt };

	sigaction(SIGINT, &action, ret_before);
}

void
shell_block_interrupts(sigset_t *ret_before)
{
	sigset_t block;

	sigemptyset(&block);
	sigaddset(&block, SIGINT);
	sigprocmask(SIG_BLOCK, &block, ret_before);
}

bool
shell_is_interrupted(void)
{
	return interrupted != 0;
}

bool
shell_take_interrupt(void)
{
	bool was = shell_is_interrupted();

	interrupted = 0;
	return was;
}

/* A result on its way, and whether it was cancelled. */
struct running {
	struct sqlpool_result *result;
	bool cancelled;
};

/* After an interrupt, once. */
static int
cancel(struct running *running)
{
	running->cancelled = true;
	return sqlpool_cancel(running->result);
}

static bool
wants_cancel(const struct running *running)
{
	return shell_is_interrupted() && !running->cancelled;
}

/* Sleep as the library says; signals of `before` are let in.  Negative: broken. */
static int
wait_until(struct pollfd *p, int timeout_ms, const sigset_t *before)
{
	struct timespec left = {
		.tv_sec = timeout_ms / 1000,
		.tv_nsec = timeout_ms % 1000 * 1000000L,
	};
	int n = ppoll(p, 1, timeout_ms < 0 ? NULL : &left, before);

	return n < 0 && errno != EINTR ? -1 : 0;
}

/* Wait for the next part of a result; an interrupt cancels it.  The signal is
 * let in only while this sleeps, so that none comes too early to count. */
static void
wait_at_prompt(struct running *running, struct sqlpool_conn *conn)
{
	sigset_t before;
	int rc = 0;

	shell_block_interrupts(&before);
	while (rc == 0 && !sqlpool_result_is_ready(running->result)) {
		struct pollfd p = { .fd = -1 };
		int timeout_ms;

		if (wants_cancel(running)) {
			/* this may read its end: then nothing else comes */
			rc = cancel(running);
			continue;
		}
		rc = sqlpool_get_pollinfo(conn, &p.fd, &p.events, &timeout_ms);
		if (rc == 0 && wait_until(&p, timeout_ms, &before) < 0)
			break;
		if (rc == 0)
			rc = sqlpool_process(conn);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
}

/* What goes wrong with the connection is in the result as well. */
static int
next_row(struct shell *shell, struct running *running)
{
	if (shell->interactive) {
		wait_at_prompt(running, shell->conn);
		if (wants_cancel(running))
			(void)cancel(running);
	}
	return sqlpool_next(running->result);
}

/* ---- errors ---- */

/* Is it an error of parsing, not of running?  The daemon does not say, and the
 * offset is not always known; but what cannot be parsed cannot be prepared
 * either. */
static bool
is_parse_error(
    struct shell *shell, const struct sqlpool_error *e, const char *sql)
{
	struct sqlpool_stmt *stmt;

	if (e->offset >= 0)
		return true;
	if (e->primary != PRIMARY_ERROR && e->primary != PRIMARY_SCHEMA)
		return false;
	if (sqlpool_prepare(shell->conn, sql, &stmt) < 0)
		return true;
	sqlpool_stmt_free(stmt);
	return false;
}

static bool
is_continuation(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

/* Show where in sql the error is: at most 78 bytes of it, the place within the
 * first 50. */
static void
put_context(const char *sql, int64_t offset)
{
	size_t n = strlen(sql);

	if (offset < 0 || (size_t)offset >= n)
		return;
	while (offset > 50) {
		offset--;
		sql++;
		while (is_continuation(*sql)) {
			sql++;
			offset--;
		}
	}
	n = strlen(sql);
	if (n > 78)
		for (n = 78; n > 0 && is_continuation(sql[n]); n--)
			;
	fputs("  ", stderr);
	for (size_t i = 0; i < n; i++)
		fputc(sql[i] >= '\t' && sql[i] <= '\r' ? ' ' : sql[i], stderr);
	if (offset < 25)
		fprintf(stderr, "\n  %*s^--- error here\n", (int)offset, "");
	else
		fprintf(
		    stderr, "\n  %*serror here ---^\n", (int)offset - 14, "");
}

static void
put_error(const struct shell_place *place, const struct sqlpool_error *e,
    bool parse, const char *rest)
{
	bool own = e->code >= SQLITE_CODES_END;
	static const char *const kinds[] = { "Error", "Parse error",
		"Runtime error" };
	static const char *const phases[] = { "", "in prepare, ",
		"stepping, " };
	int kind = own ? 0 : parse ? 1 : 2;

	if (place->origin == SHELL_ARGUMENT)
		fprintf(stderr, "Error: %s", phases[kind]);
	else if (place->origin == SHELL_SCRIPT)
		fprintf(stderr, "%s near line %lu: ", kinds[kind], place->line);
	else
		fprintf(stderr, "%s: ", kinds[kind]);
	fputs(e->message, stderr);
	if (!own && e->primary > PRIMARY_ERROR && e->primary != PRIMARY_SCHEMA)
		fprintf(stderr, " (%d)", e->primary);
	fputc('\n', stderr);
	if (parse || own)
		put_context(rest, e->offset);
}

static bool
is_connection_error(const struct sqlpool_error *e)
{
	switch (e->code) {
	case SQLPOOL_ERR_CONNECT:
	case SQLPOOL_ERR_CONNECTION_LOST:
	case SQLPOOL_ERR_CLIENT_TIMEOUT:
	case SQLPOOL_ERR_BAD_REPLY:
	case SQLPOOL_ERR_SHUTTING_DOWN:
		return true;
	default:
		return false;
	}
}

enum shell_status
shell_leave_lost(struct shell *shell)
{
	if (!is_connection_error(sqlpool_get_error(shell->conn)))
		return SHELL_SQL_ERROR;
	if (shell->interactive) {
		/* the next statement connects again */
		sqlpool_close(shell->conn);
		shell->conn = NULL;
	}
	return SHELL_NO_CONNECTION;
}

/* Print the connection's last error.  sql: the statement; rest: that and what
 * follows it, which sqlite3 shows. */
static enum shell_status
report(struct shell *shell, const struct shell_place *place, const char *sql,
    const char *rest)
{
	struct sqlpool_error e = *sqlpool_get_error(shell->conn);
	char *message = strdup(e.message);
	enum shell_status status = shell_leave_lost(shell);
	bool parse = false;

	/* asking about it overwrites the error */
	e.message = message ? message : "out of memory";
	fflush(shell->out);
	if (status == SHELL_SQL_ERROR && e.code < SQLITE_CODES_END)
		parse = is_parse_error(shell, &e, sql);
	put_error(place, &e, parse, rest);
	free(message);
	return status;
}

/* ---- statements ---- */

static int
send_statement(
    struct shell *shell, const char *sql, struct sqlpool_result **ret_result)
{
	struct sqlpool_request *request = sqlpool_request_new();
	int rc = sqlpool_request_add(request, sql, NULL, 0);

	if (rc >= 0)
		rc = sqlpool_send(shell->conn, request, ret_result);
	sqlpool_request_free(request);
	return rc;
}

/* Parameters that nothing is bound to are NULL, as in sqlite3; the daemon wants
 * to be told. */
static int
send_with_nulls(
    struct shell *shell, const char *sql, struct sqlpool_result **ret_result)
{
	struct sqlpool_request *request = sqlpool_request_new();
	struct sqlpool_value *values = NULL;
	struct sqlpool_stmt *stmt = NULL;
	size_t n;
	int rc = sqlpool_prepare(shell->conn, sql, &stmt);

	n = sqlpool_stmt_param_count(stmt);
	if (rc == 0)
		values = calloc(n + 1, sizeof(*values));
	for (size_t i = 0; values && i < n; i++)
		values[i] = SQLPOOL_NULL;
	if (values)
		rc = sqlpool_request_add(request, sql, values, n);
	if (rc >= 0)
		rc = sqlpool_send(shell->conn, request, ret_result);
	free(values);
	sqlpool_stmt_free(stmt);
	sqlpool_request_free(request);
	return rc;
}

/* Print all rows and free the result.  Returns what sqlpool_next ended with. */
static int
print_rows(struct shell *shell, struct sqlpool_result *result, bool explain)
{
	struct running running = { .result = result };
	struct output output;
	bool begun = false;
	int rc;

	while ((rc = next_row(shell, &running)) == SQLPOOL_ROW) {
		if ((!begun &&
			output_begin(&output, shell->out, &shell->style, result,
			    explain) < 0) ||
		    output_row(&output) < 0) {
			fputs("Error: out of memory\n", stderr);
			exit(SHELL_SQL_ERROR);
		}
		begun = true;
	}
	if (begun)
		output_end(&output);
	sqlpool_result_free(result);
	return rc;
}

/* Run the first n bytes of sql, one statement. */
static enum shell_status
run_statement(
    struct shell *shell, char *sql, size_t n, const struct shell_place *place)
{
	enum shell_status status = SHELL_OK;
	struct sqlpool_result *result = NULL;
	char was = sql[n];
	char *text;
	int rc;

	sql[n] = '\0';
	text = strdup(sql);
	sql[n] = was;
	if (!text) {
		fputs("Error: out of memory\n", stderr);
		return SHELL_SQL_ERROR;
	}
	rc = send_statement(shell, text, &result);
	if (rc == 0)
		rc = print_rows(shell, result, split_is_explain(text));
	if (rc == -SQLPOOL_ERR_PARAM_COUNT) {
		rc = send_with_nulls(shell, text, &result);
		if (rc == 0)
			rc = print_rows(shell, result, split_is_explain(text));
	}
	if (rc < 0)
		status = report(shell, place, text, sql);
	free(text);
	return status;
}

enum shell_status
shell_run_sql(struct shell *shell, char *sql, const struct shell_place *place)
{
	enum shell_status status = shell_connect(shell);

	while (status == SHELL_OK) {
		bool empty;
		size_t n;

		while (*sql == ' ' || (*sql >= '\t' && *sql <= '\r'))
			sql++;
		if (!*sql)
			break;
		if (shell_is_interrupted()) {
			fputs("Error: interrupted\n", stderr);
			return SHELL_SQL_ERROR;
		}
		n = split_first(sql, &empty);
		if (!empty)
			status = run_statement(shell, sql, n, place);
		sql += n;
	}
	return status;
}
