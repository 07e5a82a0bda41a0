/* hist.c - times into percentiles: a bucket is a power of two and the bits that
 * follow the first one. */
#include "client/bench/hist.h"

/* Times below HIST_SUB have a bucket each; in the octave of 2^e, e from
 * HIST_SUB_BITS on, the HIST_SUB_BITS bits below the first one choose. */
static unsigned
find_bucket(uint64_t ns)
{
	unsigned shift;

	if (ns < HIST_SUB)
		return (unsigned)ns;
	if (ns >> HIST_TOP_BITS)
		return HIST_BUCKETS - 1;
	shift = 63 - (unsigned)__builtin_clzll(ns) - HIST_SUB_BITS;
	return shift * HIST_SUB + (unsigned)(ns >> shift);
}

/* The greatest time of a bucket. */
static uint64_t
get_upper(unsigned bucket)
{
	unsigned shift;

	if (bucket < 2 * HIST_SUB)
		return bucket;
	shift = bucket / HIST_SUB - 1;
	return ((uint64_t)(bucket % HIST_SUB + HIST_SUB + 1) << shift) - 1;
}

void
hist_add(struct hist *h, int64_t ns)
{
	uint64_t t = ns < 0 ? 0 : (uint64_t)ns;

	h->n++;
	h->sum_ns += t;
	if (t > h->max_ns)
		h->max_ns = t;
	h->count[find_bucket(t)]++;
}

void
hist_merge(struct hist *to, const struct hist *from)
{
	if (from->n == 0)
		return;
	to->n += from->n;
	to->sum_ns += from->sum_ns;
	if (from->max_ns > to->max_ns)
		to->max_ns = from->max_ns;
	for (unsigned i = 0; i < HIST_BUCKETS; i++)
		to->count[i] += from->count[i];
}

uint64_t
hist_percentile(const struct hist *h, double fraction)
{
	double wanted = fraction * (double)h->n;
	uint64_t seen = 0;

	for (unsigned i = 0; i < HIST_BUCKETS - 1; i++) {
		seen += h->count[i];
		if (seen > 0 && (double)seen >= wanted) {
			uint64_t upper = get_upper(i);

			return upper < h->max_ns ? upper : h->max_ns;
		}
	}
	return h->max_ns;
}

double
hist_mean(const struct hist *h)
{
	return h->n ? (double)h->sum_ns / (double)h->n : 0;
}
