/* clientscript.h - a connection of the library to a script (fakeserver.h).
 *
 * One at a time in a process; a Check test in its own process has its own.
 */
#ifndef TESTS_CLIENTSCRIPT_H
#define TESTS_CLIENTSCRIPT_H

#include "client/sqlpool.h"
#include "tests/lib/fakeserver.h"

/* The script's end, for its start by hand. */
extern struct fakeserver clientscript_fs;

/* Options that talk to a script that was started. */
struct sqlpool_options clientscript_make_options(uint32_t timeout_ms);

/* Start a script and open a connection to it; the timeout is also each
 * request's. */
struct sqlpool_conn *
clientscript_open(void (*play)(struct fakeserver *), uint32_t timeout_ms);

/* Close the connection and wait for the script's end. */
void clientscript_close(struct sqlpool_conn *conn);

/* Send a statement without values. */
struct sqlpool_result *
clientscript_send(struct sqlpool_conn *conn, const char *sql);

/* Fail the test unless this is the error. */
void clientscript_assert_error(
    const struct sqlpool_error *e, int code, enum sqlpool_outcome outcome);

/* A script that answers every statement with two rows of its parameters. */
void clientscript_play_echo(struct fakeserver *fs);

/* Answer one statement so. */
void clientscript_echo(struct fakeserver *fs, const struct fake_request *r);

#endif
