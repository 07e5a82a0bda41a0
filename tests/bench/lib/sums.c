/* sums.c - what grew, and what was acknowledged. */
#include "tests/bench/lib/sums.h"

#include <inttypes.h>
#include <stdio.h>

int
sums_compare(const struct sums *before, const struct sums *after,
    const uint64_t ended_n[BENCH_KINDS_N], char *why, size_t why_n)
{
	uint64_t updates = ended_n[BENCH_WRITE] + ended_n[BENCH_RMW];

	if (after->n - before->n == (int64_t)updates &&
	    after->history - before->history == (int64_t)ended_n[BENCH_TPCB])
		return 0;
	snprintf(why, why_n,
	    "%" PRIu64 " updates and %" PRIu64 " of tpcb were acknowledged, "
	    "and the tables have %" PRId64 " and %" PRId64 " more",
	    updates, ended_n[BENCH_TPCB], after->n - before->n,
	    after->history - before->history);
	return -1;
}
