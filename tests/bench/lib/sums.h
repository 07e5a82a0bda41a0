/* sums.h - whether a peer's tables agree with what it acknowledged.
 *
 * Thread: the parent's. */
#ifndef TESTS_BENCH_LIB_SUMS_H
#define TESTS_BENCH_LIB_SUMS_H

#include "client/bench/bench.h"

/* What grows with each write. */
struct sums {
	int64_t n;       /* of bench */
	int64_t history; /* rows of bench_history */
};

/* Compare what grew with what ended.  Returns 0, or -1 with why. */
int sums_compare(const struct sums *before, const struct sums *after,
    const uint64_t ended_n[BENCH_KINDS_N], char *why, size_t why_n);

#endif
