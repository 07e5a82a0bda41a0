/* line.c - lines from a file, or from readline. */
#include "client/cli/line.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <readline/history.h>
#include <readline/readline.h>

#include "client/cli/shell.h"

#define HISTORY_LINES 2000

static const char prompt_first[] = "sqlpool> ";
static const char prompt_more[] = "    ...> ";

/* The history file's name, owned; NULL: no history. */
static char *
get_history_path(void)
{
	const char *path = getenv("SQLPOOL_HISTORY");
	const char *home = getenv("HOME");
	char *own;

	if (path)
		return path[0] ? strdup(path) : NULL;
	if (!home || asprintf(&own, "%s/.sqlpool_history", home) < 0)
		return NULL;
	return own;
}

/* Sleep until there is something to read, or an interrupt.  The signal is let
 * in only while this sleeps, so that none comes unnoticed. */
static void
wait_for_char(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	sigset_t block, before;

	sigemptyset(&block);
	sigaddset(&block, SIGINT);
	sigprocmask(SIG_BLOCK, &block, &before);
	rl_check_signals(); /* one that readline took: runs our handler */
	if (!shell_is_interrupted())
		(void)ppoll(&p, 1, NULL, &before);
	sigprocmask(SIG_SETMASK, &before, NULL);
	rl_check_signals();
}

/* readline's own rl_getc goes on reading after a signal; here an interrupt ends
 * the line, empty. */
static int
get_char(FILE *f)
{
	unsigned char c;
	ssize_t n;

	do {
		wait_for_char(fileno(f));
		if (shell_is_interrupted()) {
			rl_replace_line("", 0);
			return '\n';
		}
		n = read(fileno(f), &c, 1);
	} while (n < 0 && errno == EINTR);
	return n == 1 ? c : EOF;
}

void
line_open(struct line_source *source, FILE *f)
{
	char *path;

	*source = (struct line_source){ .f = f };
	if (f)
		return;
	rl_readline_name = "sqlpool-cli";
	rl_getc_function = get_char;
	rl_bind_key('\t', rl_insert);
	using_history();
	stifle_history(HISTORY_LINES);
	path = get_history_path();
	if (path)
		(void)read_history(path);
	free(path);
}

void
line_close(struct line_source *source)
{
	free(source->line);
	source->line = NULL;
	if (!source->f) {
		char *path = get_history_path();

		if (path)
			(void)write_history(path);
		free(path);
	}
}

static char *
read_prompt(struct line_source *source, bool continuing)
{
	free(source->line);
	source->line = readline(continuing ? prompt_more : prompt_first);
	source->interrupted = shell_take_interrupt();
	if (!source->line) {
		putchar('\n');
	} else if (source->line[0]) {
		add_history(source->line);
	}
	return source->line;
}

char *
line_read(struct line_source *source, bool continuing)
{
	ssize_t n;

	source->number++;
	if (!source->f)
		return read_prompt(source, continuing);
	n = getline(&source->line, &source->cap, source->f);
	if (n < 0)
		return NULL;
	if (n > 0 && source->line[n - 1] == '\n')
		source->line[--n] = '\0';
	if (n > 0 && source->line[n - 1] == '\r')
		source->line[--n] = '\0';
	return source->line;
}
