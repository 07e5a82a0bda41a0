/* pgtables.h - the tables in PostgreSQL: made, looked at before a run, and whether
 * they hold afterwards what was acknowledged.
 *
 * Thread: the parent's; pgtables_connect any. */
#ifndef TESTS_BENCH_LIB_PGTABLES_H
#define TESTS_BENCH_LIB_PGTABLES_H

#include <libpq-fe.h>

#include "client/bench/bench.h"

/* Connect; the caller asks for PQstatus, and closes it with PQfinish. */
PGconn *pgtables_connect(const struct bench_plan *plan);

/* The driver's hooks of these names. */
int pgtables_init(const struct bench_plan *plan, char *why, size_t why_n);
int pgtables_check(struct bench_plan *plan, char *why, size_t why_n);
int
pgtables_begin_verify(const struct bench_plan *plan, char *why, size_t why_n);
int pgtables_verify(const struct bench_plan *plan,
    const uint64_t ended_n[BENCH_KINDS_N], char *why, size_t why_n);

#endif
