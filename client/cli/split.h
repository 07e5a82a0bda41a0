/* split.h - where one statement ends and the next begins.
 *
 * Nothing is parsed: quotes, brackets and comments are stepped over, and
 * sqlite3_complete() decides about the semicolons that are left (those inside
 * of a trigger do not end it).  Linear time.  Pure functions.
 */
#ifndef CLIENT_CLI_SPLIT_H
#define CLIENT_CLI_SPLIT_H

#include <stdbool.h>
#include <stddef.h>

/* State of the text read so far, across lines. */
struct split_state {
	char until; /* inside: the character that ends it ('*': a comment) */
	bool text;  /* something but white space and comments was there */
	bool ends;  /* and the last of it is a semicolon */
};

/* Go over a line (without its line break). */
void split_scan(struct split_state *state, const char *line);

/* Give the length of the first statement of sql, with its semicolon; all of it
 * if none ends it.  sql is changed for a moment.  *ret_empty: there is nothing
 * in it but white space, comments and the semicolon. */
size_t split_first(char *sql, bool *ret_empty);

/* Say whether sql begins with EXPLAIN, after white space and comments. */
bool split_is_explain(const char *sql);

#endif
