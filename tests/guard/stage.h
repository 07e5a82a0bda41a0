/* stage.h - the daemon on one thread, so that its instructions can be counted.
 *
 * A worker, a writer and their database are opened as the daemon opens them,
 * but without threads: their work is done when a client waits for it.  The
 * clients are the library, each on a socketpair.
 *
 * What goes wrong ends the program.
 */
#ifndef TESTS_GUARD_STAGE_H
#define TESTS_GUARD_STAGE_H

#include <sqlpool.h>

/* Whose instructions are counted. */
enum stage_side { STAGE_NOBODY, STAGE_DAEMON, STAGE_CLIENT };

/* Open the daemon on a database file that exists. */
void stage_open(const char *db_path);

/* Stop the daemon; the clients are closed already. */
void stage_close(void);

/* Connect a client. */
struct sqlpool_conn *stage_connect(void);

/* Let the daemon do all that it was sent: the worker's turn, and then, when
 * there are writes, a group of them and the turn that sends the answers. */
void stage_work(void);

/* Choose who is counted from now on. */
void stage_choose(enum stage_side side);

/* Stand around calls of the library: there its instructions are counted, if it
 * was chosen. */
void stage_enter_client(void);
void stage_leave_client(void);

/* Say what went wrong, printf-like, and exit with status 1. */
void stage_fail(const char *format, ...)
    __attribute__((noreturn, format(printf, 1, 2)));

#endif
