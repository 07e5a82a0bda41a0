/* functions.h - SQL functions of SQLite's that take too long, done again.
 *
 * While a function runs nothing can stop its statement.  instr() and replace()
 * take the product of their arguments' lengths, 8 s for 1 MB (facts.md section 4);
 * here they take the sum, and stop when they are asked to.  trim() of a set of
 * characters only stops.  json_patch() takes the
 * product as well, and printf('%.900000000c') 4 s for nothing: they are SQLite's
 * own, behind a look at their arguments.  Results are those of SQLite's.
 *
 * LIKE and GLOB stay SQLite's, whose planner uses an index for no others
 * (sqlite.org/optoverview.html, "The LIKE optimization"): the length of patterns
 * is limited instead (guard.c).
 *
 * Thread: whoever runs the connection.
 */
#ifndef DAEMON_FUNCTIONS_H
#define DAEMON_FUNCTIONS_H

#include <sqlite3.h>

/* printf() with up to so many arguments is kept prepared. */
#define FUNCTIONS_PRINTF_MAX 8

struct functions {
	int (*stop)(void *arg); /* not 0: the statement is to stop */
	void *arg;
	sqlite3 *plain; /* owned: with SQLite's own functions; NULL: not yet */
	sqlite3_stmt *patch, *printf[FUNCTIONS_PRINTF_MAX]; /* of plain */
};

/* Define them on a connection; fn must live as long, with stop and arg set.
 * Returns an SQLite code. */
int functions_add(struct functions *fn, sqlite3 *db);

/* Free what it has; after the connection was closed. */
void functions_fini(struct functions *fn);

#endif
