/* shell.h - what the shell knows, and how it runs what it is given.
 *
 * One thread.  Messages of errors are sqlite3's, as it prints them for SQL given
 * as arguments, in a script, and at a prompt.
 */
#ifndef CLIENT_CLI_SHELL_H
#define CLIENT_CLI_SHELL_H

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>

#include <sqlpool.h>

#include "client/cli/output.h"

/* Exit statuses, and what running something returns. */
enum shell_status {
	SHELL_OK = 0,
	SHELL_SQL_ERROR = 1,
	SHELL_NO_CONNECTION = 2, /* also wrong usage */
	SHELL_QUIT = 3,          /* .quit: never an exit status */
};

struct shell {
	struct sqlpool_conn *conn;
	struct sqlpool_options options;
	struct output_style style;
	FILE *out;
	bool bail;        /* stop at the first error */
	bool echo;        /* print what is run */
	bool interactive; /* at a prompt */
	unsigned depth;   /* of .read */
};

/* Where SQL came from: its errors say so. */
enum shell_origin { SHELL_ARGUMENT, SHELL_SCRIPT, SHELL_PROMPT };

struct shell_place {
	enum shell_origin origin;
	unsigned long line; /* of a script, where the statement begins */
};

/* ---- main.c ---- */

/* Connect, unless connected.  Prints the error. */
enum shell_status shell_connect(struct shell *shell);

/* ---- run.c ---- */

/* Run all statements of sql, which is changed; stop at the first error. */
enum shell_status
shell_run_sql(struct shell *shell, char *sql, const struct shell_place *place);

/* After the connection's last error: SHELL_NO_CONNECTION when it is lost, and then
 * at a prompt the next statement connects again; else SHELL_SQL_ERROR. */
enum shell_status shell_leave_lost(struct shell *shell);

/* An interrupt stops all that the last line began: the statement that runs, the
 * rest of the line, a script.  It counts until the prompt takes it. */
bool shell_is_interrupted(void);

/* Say whether there was one since the last was taken. */
bool shell_take_interrupt(void);

/* Catch interrupts from now on.  ret_before: what caught them until now; may be
 * NULL.  At a prompt only. */
void shell_catch_interrupts(struct sigaction *ret_before);

/* Let none in until *ret_before is the mask again; then those that wait come. */
void shell_block_interrupts(sigset_t *ret_before);

/* ---- script.c ---- */

/* Run a script, or with f NULL what is typed at a prompt. */
enum shell_status shell_run_file(struct shell *shell, FILE *f);

/* ---- atomic.c ---- */

/* Run a file in one request and one transaction. */
enum shell_status shell_run_atomic(struct shell *shell, const char *path);

/* ---- commands.c ---- */

/* Run a command that begins with a dot; the line is changed. */
enum shell_status shell_run_command(struct shell *shell, char *line);

#endif
