/* hist.h - times into percentiles.
 *
 * A histogram of nanoseconds in which each power of two is divided into HIST_SUB
 * buckets: so a percentile is at most 1 / HIST_SUB (0.8 %) above a time that was
 * measured, and never below it.  The greatest and the sum are exact.
 *
 * All zeros is an empty one.  Thread: any, one at a time. */
#ifndef CLIENT_BENCH_HIST_H
#define CLIENT_BENCH_HIST_H

#include <stdint.h>

#define HIST_SUB_BITS 7
#define HIST_SUB      (1U << HIST_SUB_BITS)
/* Times from 2^HIST_TOP_BITS ns (4.9 hours) on are all in the last bucket. */
#define HIST_TOP_BITS 44
#define HIST_BUCKETS  ((HIST_TOP_BITS - HIST_SUB_BITS + 1) * HIST_SUB)

struct hist {
	uint64_t n;
	uint64_t sum_ns;
	uint64_t max_ns;
	uint64_t count[HIST_BUCKETS];
};

/* Count a time; one below 0 is 0. */
void hist_add(struct hist *h, int64_t ns);

/* Add what another one has counted. */
void hist_merge(struct hist *to, const struct hist *from);

/* Give the time that a fraction (0 to 1) of the times do not exceed: the upper
 * end of its bucket, but no more than the greatest.  0 when empty. */
uint64_t hist_percentile(const struct hist *h, double fraction);

/* Give the mean in ns; 0 when empty. */
double hist_mean(const struct hist *h);

#endif
