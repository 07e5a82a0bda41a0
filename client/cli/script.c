/* script.c - lines into statements and commands.
 *
 * A statement ends with the line whose last word is a semicolon; several on one
 * line run together.  That is how sqlite3 reads, and its line numbers in
 * errors follow from it. */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/cli/line.h"
#include "client/cli/shell.h"
#include "client/cli/split.h"

#define DEPTH_MAX 25

/* The lines of a statement that is not complete yet. */
struct pending {
	char *sql; /* owned */
	size_t n;
	size_t cap;
	unsigned long line; /* where it begins */
	struct split_state state;
};

static void
pending_reset(struct pending *pending)
{
	pending->n = 0;
	pending->state = (struct split_state){ 0 };
}

/* Append a line; -1 when memory ran out. */
static int
pending_add(struct pending *pending, const char *line)
{
	size_t n;

	if (pending->n == 0)
		while (*line == ' ' || (*line >= '\t' && *line <= '\r'))
			line++;
	n = strlen(line);
	/* a line break before, a semicolon and a NUL behind */
	if (pending->n + n + 3 > pending->cap) {
		size_t cap = 2 * (pending->n + n) + 256;
		char *sql = realloc(pending->sql, cap);

		if (!sql)
			return -1;
		pending->sql = sql;
		pending->cap = cap;
	}
	if (pending->n > 0)
		pending->sql[pending->n++] = '\n';
	memcpy(pending->sql + pending->n, line, n + 1);
	pending->n += n;
	return 0;
}

/* "go" or "/" alone on a line ends a statement too. */
static bool
is_terminator(struct pending *pending, const char *line)
{
	size_t word;
	bool complete;

	line += strspn(line, " \t\v\f\r");
	word = strcspn(line, " \t\v\f\r");
	if (line[word + strspn(line + word, " \t\v\f\r")])
		return false;
	if (!(word == 1 && line[0] == '/') &&
	    !(word == 2 && strncasecmp(line, "go", 2) == 0))
		return false;
	if (pending->n == 0)
		return true;
	if (pending->state.until)
		return false;
	memcpy(pending->sql + pending->n, ";", 2);
	complete = sqlite3_complete(pending->sql) != 0;
	pending->sql[pending->n] = '\0';
	return complete;
}

static enum shell_status
run_pending(struct shell *shell, struct pending *pending, bool prompt)
{
	struct shell_place place = {
		.origin = prompt ? SHELL_PROMPT : SHELL_SCRIPT,
		.line = pending->line,
	};
	enum shell_status status;

	if (shell->echo)
		fprintf(shell->out, "%s\n", pending->sql);
	status = shell_run_sql(shell, pending->sql, &place);
	pending_reset(pending);
	return status;
}

static enum shell_status
take_line(
    struct shell *shell, struct pending *pending, struct line_source *source)
{
	static char semicolon[] = ";";
	char *line = source->line;

	if (is_terminator(pending, line))
		line = semicolon;
	if (pending->n == 0)
		pending->state = (struct split_state){ 0 };
	split_scan(&pending->state, line);
	if (pending->n == 0 &&
	    (line[0] == '.' || line[0] == '#' ||
		(!pending->state.text && !pending->state.until))) {
		if (shell->echo)
			fprintf(shell->out, "%s\n", line);
		return line[0] == '.' ? shell_run_command(shell, line)
				      : SHELL_OK;
	}
	if (pending->n == 0)
		pending->line = source->number;
	if (pending_add(pending, line) < 0) {
		fputs("Error: out of memory\n", stderr);
		return SHELL_SQL_ERROR;
	}
	if (!pending->state.until && pending->state.ends &&
	    sqlite3_complete(pending->sql))
		return run_pending(shell, pending, !source->f);
	return SHELL_OK;
}

/* Say whether a script, or else a prompt, goes on after this. */
static bool
goes_on(const struct shell *shell, bool script, enum shell_status status)
{
	if (!script)
		return status != SHELL_QUIT;
	return status < SHELL_NO_CONNECTION && !shell_is_interrupted() &&
	    !(status == SHELL_SQL_ERROR && shell->bail);
}

enum shell_status
shell_run_file(struct shell *shell, FILE *f)
{
	enum shell_status status = SHELL_OK, worst = SHELL_OK;
	struct pending pending = { .n = 0 };
	struct line_source source;

	if (shell->depth >= DEPTH_MAX) {
		fprintf(stderr, "Error: .read is nested deeper than %d\n",
		    DEPTH_MAX);
		return SHELL_SQL_ERROR;
	}
	shell->depth++;
	line_open(&source, f);
	while (goes_on(shell, f, status)) {
		fflush(shell->out);
		if (!line_read(&source, pending.n > 0))
			break;
		if (source.interrupted) {
			pending_reset(&pending);
			continue;
		}
		status = take_line(shell, &pending, &source);
		if (status != SHELL_QUIT && status > worst)
			worst = status;
		/* one that came meanwhile has stopped what there was */
		if (!f && shell_take_interrupt())
			pending_reset(&pending);
	}
	if (pending.n > 0 && status < SHELL_NO_CONNECTION &&
	    goes_on(shell, f, status)) {
		status = run_pending(shell, &pending, !f);
		if (status > worst)
			worst = status;
	}
	line_close(&source);
	free(pending.sql);
	shell->depth--;
	return status == SHELL_QUIT && shell->depth > 0 ? SHELL_QUIT : worst;
}
