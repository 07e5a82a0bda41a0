/* line.c - lines from a file, or from readline. */
#include "client/cli/line.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
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

/* Sleep until there is something to read, or a signal came (0).  Returns what
 * poll says.
 *
 * Interrupts are blocked and come only while this sleeps, to our handler: the
 * one that readline sets for itself would keep those that come while it returns
 * a line until the next one. */
static short
wait_for_char(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct sigaction its;
	sigset_t mask;
	int n;

	rl_check_signals(); /* all others are readline's */
	sigprocmask(SIG_BLOCK, NULL, &mask);
	sigdelset(&mask, SIGINT);
	shell_catch_interrupts(&its);
	n = ppoll(&p, 1, NULL, &mask);
	if (n < 0)
		p.revents = errno == EINTR ? 0 : POLLERR;
	sigaction(SIGINT, &its, NULL);
	rl_check_signals();
	return p.revents;
}

/* An interrupt ends the line, empty; and before that whatever else readline
 * reads for, such as the rest of what is pasted. */
static int
end_line(void)
{
	if (RL_ISSTATE(RL_STATE_MOREINPUT))
		return EOF;
	rl_echo_signal_char(SIGINT);
	rl_replace_line("", 0);
	return '\n';
}

/* Let no read of the terminal wait: with an interrupt the kernel forgets what
 * was typed, so what poll has seen may be gone. */
static void
prepare_terminal(int meta)
{
	struct termios t;
	int fd = fileno(rl_instream);

	rl_prep_terminal(meta);
	if (tcgetattr(fd, &t) < 0)
		return;
	t.c_cc[VMIN] = 0;
	t.c_cc[VTIME] = 0;
	(void)tcsetattr(fd, TCSADRAIN, &t);
}

/* readline's own rl_getc does not care for interrupts. */
static int
get_char(FILE *f)
{
	int fd = fileno(f);

	while (!shell_is_interrupted()) {
		short events = wait_for_char(fd);
		unsigned char c;
		ssize_t n;

		if (!events)
			continue;
		n = read(fd, &c, 1);
		if (n == 1)
			return c;
		if (n < 0 && errno != EINTR)
			return EOF;
		/* nothing is the end only where a read can wait */
		if (n == 0 && ((events & ~POLLIN) || !isatty(fd)))
			return EOF;
	}
	return end_line();
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
	rl_prep_term_function = prepare_terminal;
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
	sigset_t before;

	free(source->line);
	shell_block_interrupts(&before);
	source->line = readline(continuing ? prompt_more : prompt_first);
	sigprocmask(SIG_SETMASK, &before, NULL);
	/* one that came with the line's end drops a complete line */
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
