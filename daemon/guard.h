/* guard.h - what a statement may do, and what it is.
 *
 * No SQL is parsed here: SQLite's authorizer tells, while it prepares a
 * statement, everything the statement will touch.  From that the guard refuses
 * what would change a pooled connection for the next client (design, "State"
 * and "Guard"), and names the statement's kind.
 *
 * The authorizer is set once per connection: setting it expires every prepared
 * statement (sqlite.org/c3ref/set_authorizer.html).
 *
 * Thread: whoever runs the connection.
 */
#ifndef DAEMON_GUARD_H
#define DAEMON_GUARD_H

#include <sqlite3.h>
#include <stdbool.h>

#include "daemon/pragma.h"
#include "proto/frame.h"
#include "proto/msg.h"

#define GUARD_NAME_BYTES 256

/* The longest pattern of LIKE and GLOB, which nothing can stop: their time is the
 * product of its length and the text's, 1.4 s for 1 MB (tests/check_long.c). */
#define GUARD_PATTERN_BYTES 256

/* The longest value, and row: nothing longer could be sent. */
#define GUARD_VALUE_BYTES ((int)FRAME_HARD_MAX_BYTES)

enum guard_tx_op {
	GUARD_TX_NONE,
	GUARD_TX_BEGIN,
	GUARD_TX_COMMIT,
	GUARD_TX_ROLLBACK,
	GUARD_TX_SAVEPOINT,
	GUARD_TX_RELEASE,
	GUARD_TX_ROLLBACK_TO,
};

struct guard {
	bool internal;    /* a statement of the daemon's own: all is allowed */
	bool maintenance; /* a VACUUM runs */
	bool extended;    /* extensions are loaded: their modules are allowed */
	/* what the statement being prepared was seen to do */
	bool writes_rows, writes_schema, pragma, pragma_writes;
	bool counts, checks; /* count(); integrity_check or quick_check */
	bool matches;        /* LIKE or GLOB */
	bool shows_schema;   /* a PRAGMA, or a table that is one */
	const struct pragma *setting; /* would set setting_value, and was made
				       * a statement that does nothing; or
				       * NULL */
	char setting_value[PRAGMA_VALUE_BYTES];
	enum guard_tx_op tx_op;
	char tx_name[GUARD_NAME_BYTES]; /* of a savepoint */
	char reason[GUARD_NAME_BYTES];  /* why it was refused; "" if not */
};

/* Watch over a connection: the authorizer, the library's own switches, limits.
 * guard must live as long as db.  Returns an SQLite code. */
int guard_install(struct guard *guard, sqlite3 *db);

/* Forget the last statement; before each prepare. */
void guard_reset(struct guard *guard);

/* Say what the statement that was just prepared is; NULL is an empty one. */
enum msg_kind guard_get_kind(const struct guard *guard, sqlite3_stmt *stmt);

/* Say whether a read that was just prepared has a step that nothing can stop and
 * that takes as long as the file is large: a count(*) of a whole table, in a file
 * that is not small, or integrity_check.  page_bytes: of the file's pages. */
bool
guard_is_unstoppable(struct guard *guard, sqlite3_stmt *stmt, int page_bytes);

#endif
