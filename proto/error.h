/* error.h - the numbers, names, classes and outcomes of errors.
 *
 * A function of this project that can fail returns 0 or the negative of one of
 * these codes.  On the wire the code is positive and may also be one of
 * SQLite's extended result codes.  Any thread may call these functions.
 */
#ifndef PROTO_ERROR_H
#define PROTO_ERROR_H

#include <stddef.h>
#include <stdint.h>

enum error_code {
#define ERR(name, number, class, outcome, text) ERR_##name = (number),
#include "proto/errors.def"
#undef ERR
};

/* The rows of the table from 0 on, ours first; the last index is that of all codes
 * that are not in it. */
enum error_index {
#define ERR(name, number, class, outcome, text) ERROR_INDEX_##name,
#define SQL(name, number)                       ERROR_INDEX_##name,
#include "proto/errors.def"
#undef ERR
#undef SQL
	ERROR_INDEX_UNKNOWN,
	ERROR_INDEX_N,
};

/* What kind of trouble it is; the wire carries the number. */
enum error_class {
	CLASS_SQL = 1,        /* the statement is wrong */
	CLASS_CONSTRAINT = 2, /* the data refused it */
	CLASS_BUSY = 3,       /* try again later */
	CLASS_LIMIT = 4,      /* over a configured bound */
	CLASS_ACCESS = 5,     /* not allowed, or no such database */
	CLASS_PROTOCOL = 6,   /* the peer's bytes are wrong */
	CLASS_CANCEL = 7,     /* somebody asked for it */
	CLASS_SERVER = 8,     /* disk, file or daemon */
	CLASS_CLIENT = 9,     /* raised by the client library */
};

/* What became of the request that failed. */
enum error_outcome {
	OUTCOME_NOT_APPLIED = 0,
	OUTCOME_APPLIED = 1,
	OUTCOME_UNKNOWN = 2,
};

/* Give the symbolic name of a code, e.g. "QUEUE_FULL" or
 * "SQLITE_CONSTRAINT_UNIQUE".  An unknown SQLite extended code gives the name
 * of its primary code, anything else "UNKNOWN".  Static storage, never NULL. */
const char *error_get_name(int code);

/* Give the one-line text of one of our own codes; NULL for SQLite's. */
const char *error_get_text(int code);

/* Give a code's place in the table, for counting; an unknown extended code of
 * SQLite's has that of its primary code.  And back: 0 for the last index. */
size_t error_get_index(int code);
int error_get_code(size_t index);

/* Give the class of a code, ours or SQLite's. */
enum error_class error_get_class(int code);

/* Give the outcome a code implies when nothing more is known. */
enum error_outcome error_get_outcome(int code);

/* Give "sql", "busy", ... and "not_applied", ...; "unknown" out of range. */
const char *error_get_class_name(uint64_t class);
const char *error_get_outcome_name(uint64_t outcome);

#endif
