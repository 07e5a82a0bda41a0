/* top.h - what the daemon does, live: a screen (-top), or a line each second (-stat).
 *
 * One thread.
 */
#ifndef CLIENT_CLI_TOP_H
#define CLIENT_CLI_TOP_H

#include "client/cli/shell.h"

/* Until q, SIGINT, SIGTERM or SIGHUP; the terminal is as before then. */
enum shell_status top_run(struct shell *shell);

/* Until it is killed, or nobody reads. */
enum shell_status stat_run(struct shell *shell);

#endif
