/* pragma.h - which PRAGMAs a client may use: sqlite.org/pragma.html.
 *
 * Those that read are allowed, and those that store something in the file.  Those
 * that set something of a connection would set it for whoever comes next.  But
 * drivers and frameworks send such PRAGMAs when they connect: so one that sets what
 * is in force anyway is accepted, does nothing, and answers what SQLite would.
 *
 * Thread: any for the table; whoever runs the connection else.
 */
#ifndef DAEMON_PRAGMA_H
#define DAEMON_PRAGMA_H

#include <stdbool.h>
#include <stddef.h>

#define PRAGMA_VALUE_BYTES 64

enum pragma_rule {
	PRAGMA_READS,  /* with an argument or without */
	PRAGMA_SETS,   /* with an argument; else it reads */
	PRAGMA_STORES, /* reads without an argument, else writes the file */
	PRAGMA_WRITES, /* writes the file */
	PRAGMA_REFUSED,
};

/* What the values of a setting look like, or how they compare. */
enum pragma_values {
	VALUES_NONE,
	VALUES_BOOLEAN,
	VALUES_INTEGER,
	VALUES_WORD,
	VALUES_SYNCHRONOUS,
	VALUES_TEMP_STORE,
	VALUES_AUTO_VACUUM,
	VALUES_CACHE_SIZE,
	VALUES_ANY, /* has no meaning here, so each is as good */
};

struct pragma {
	const char *name;
	enum pragma_rule rule;
	enum pragma_values values;
	const char *fixed;  /* what is in force, where SQLite does not know;
			     * NULL: ask SQLite */
	const char *column; /* of the row that setting it gives; NULL: none */
	const char *remedy; /* what to do instead of setting it */
};

/* Find a PRAGMA's row; NULL: it is not allowed. */
const struct pragma *pragma_find(const char *name);

/* Say whether setting it to value, as it was written, leaves what is in force as
 * it is.  page_bytes: of the file's pages. */
bool pragma_is_same(
    const struct pragma *p, const char *value, const char *now, int page_bytes);

#endif
