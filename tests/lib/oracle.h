/* oracle.h - what SQLite itself makes of a statement, in autocommit, in the
 * words of a reply: to compare the daemon with.
 *
 * It has a session for each of a few clients, whose last_insert_rowid() and
 * changes() are their own.  The test's own thread.
 */
#ifndef TESTS_LIB_ORACLE_H
#define TESTS_LIB_ORACLE_H

#include "tests/lib/fixture.h"

#define ORACLE_CLIENTS_N 3

struct sqlite3;

struct oracle {
	struct sqlite3 *db;
	int64_t rowid[ORACLE_CLIENTS_N], changes[ORACLE_CLIENTS_N];
	bool committed; /* something, by the last statement */
};

/* Open the file of a fixture that has not started, with foreign keys on. */
void oracle_open(struct oracle *o, struct fixture *fx);
void oracle_close(struct oracle *o);

/* Run a statement for a client; gives the reply as fixture_take would.  It has
 * no parameters, and its result neither REAL nor BLOB. */
const char *oracle_run(
    struct oracle *o, struct fixture *fx, const char *sql, size_t client);

#endif
