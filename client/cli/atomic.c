/* atomic.c - a file that is one request: all of it or nothing. */
#include <stdlib.h>
#include <string.h>

#include "client/cli/shell.h"

/* The whole of a file, NUL-terminated; NULL, and the error is printed. */
static char *
read_file(const char *path)
{
	FILE *f = fopen(path, "re"), *to = NULL;
	char *text = NULL;
	char bytes[4096];
	size_t n, len = 0;
	bool ok = false;

	if (f)
		to = open_memstream(&text, &len);
	while (to && (n = fread(bytes, 1, sizeof(bytes), f)) > 0)
		fwrite(bytes, 1, n, to);
	if (to) {
		ok = !ferror(f) && !ferror(to);
		ok = fclose(to) == 0 && ok;
	}
	if (f)
		fclose(f);
	if (!ok)
		fprintf(stderr, "Error: cannot read \"%s\"\n", path);
	else if (memchr(text, 0, len))
		fprintf(stderr, "Error: \"%s\" is not SQL: it has a NUL byte\n",
		    path);
	if (ok && !memchr(text, 0, len))
		return text;
	free(text);
	return NULL;
}

static unsigned long
count_lines(const char *text, int64_t n)
{
	unsigned long lines = 1;

	for (int64_t i = 0; i < n && text[i]; i++)
		lines += text[i] == '\n';
	return lines;
}

static const char *
describe_outcome(enum sqlpool_outcome outcome)
{
	switch (outcome) {
	case SQLPOOL_NOT_APPLIED:
		return "nothing of it was applied";
	case SQLPOOL_APPLIED:
		return "it was applied";
	case SQLPOOL_UNKNOWN:
		break;
	}
	return "it is not known whether it was applied";
}

/* As a compiler does, so that an editor finds the place. */
static void
put_error(const char *path, const char *text, const struct sqlpool_error *e)
{
	fprintf(stderr, "%s:", path);
	if (e->offset >= 0)
		fprintf(stderr, "%lu:", count_lines(text, e->offset));
	if (e->step >= 0)
		fprintf(stderr, " statement %lld:", (long long)e->step + 1);
	fprintf(stderr, " %s; %s\n", e->message, describe_outcome(e->outcome));
}

enum shell_status
shell_run_atomic(struct shell *shell, const char *path)
{
	enum shell_status status = shell_connect(shell);
	char *text;

	if (status != SHELL_OK)
		return status;
	text = read_file(path);
	if (!text)
		return SHELL_SQL_ERROR;
	if (shell->echo)
		fprintf(shell->out, "%s\n", text);
	fflush(shell->out);
	if (sqlpool_script(shell->conn, text, 0) < 0) {
		put_error(path, text, sqlpool_get_error(shell->conn));
		status = shell_leave_lost(shell);
	}
	free(text);
	return status;
}
