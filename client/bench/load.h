/* load.h - all processes of a run, from the first connection to the last sum. */
#ifndef CLIENT_BENCH_LOAD_H
#define CLIENT_BENCH_LOAD_H

#include "client/bench/turn.h"

/* What a run gave. */
struct load_result {
	struct tally *total; /* summed; its last_end_ns is the latest */
	struct hist *all;    /* of all kinds */
	uint64_t *per_client;
	uint64_t ops_n;
	uint64_t errors_n;
	double seconds; /* that were counted */
};

/* How a run goes, told now and then. */
struct load_state {
	const char *phase; /* "connecting", "warming up", "running" */
	double seconds;    /* of this phase */
	double per_s;      /* since it was told before */
	uint64_t ops_n;    /* ended since the start */
};
typedef void load_progress(const struct load_state *state);

/* Run a plan.  progress may be NULL.  Returns 0 and a result to be freed, or the
 * exit status (1, 2) with why set; then all processes are gone. */
int load_run(const struct bench_driver *driver, const struct bench_plan *plan,
    load_progress *progress, struct load_result *ret_result, char why[200]);

void load_result_free(struct load_result *result);

/* How many threads a process has at most: with a kind that blocks one for each
 * of its clients. */
unsigned load_count_threads(const struct bench_plan *plan);

#endif
