/* steps.h - read the steps of a BATCH.
 *
 * Everything about them that needs no SQL is checked here, before anything
 * runs: types, the number of steps, and that conditions name earlier steps.
 *
 * Thread: the worker.
 */
#ifndef DAEMON_STEPS_H
#define DAEMON_STEPS_H

#include "daemon/request.h"

/* More steps than this are refused: PROTOCOL.md, BATCH. */
#define STEPS_MAX 10000

/* Where the SQL of a prepared statement is found: gives a span with n 0 when
 * there is none of that number. */
typedef struct span steps_lookup(void *arg, uint64_t number);

/* Read r->ask.steps into r->steps.  The spans point where they pointed; steps
 * that run one statement share its text.
 *
 * Errors, with r->failure and its step set: -ERR_FIELD_TYPE, -ERR_FIELD_RANGE,
 * -ERR_FIELD_MISSING, -ERR_FIELD_UNKNOWN, -ERR_STATEMENT_UNKNOWN,
 * -ERR_NO_MEMORY. */
int steps_read(struct request *r, steps_lookup *lookup, void *arg);

#endif
