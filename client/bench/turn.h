/* turn.h - one thread of a run: it paces its clients, sends, takes, counts.
 *
 * Thread: turn_new, turn_open in the thread that made it, turn_run in one of
 * its own, turn_free when that has ended. */
#ifndef CLIENT_BENCH_TURN_H
#define CLIENT_BENCH_TURN_H

#include <stdatomic.h>

#include "client/bench/bench.h"
#include "client/bench/hist.h"

/* What a thread counts; in memory that the parent reads. */
struct tally {
	_Atomic uint64_t progress_n;    /* operations ended; read meanwhile */
	uint64_t ended[BENCH_KINDS_N];  /* warm-up and after the end included */
	uint64_t ops[BENCH_KINDS_N];    /* ended in the counted time */
	uint64_t errors[BENCH_KINDS_N]; /* instead (bench_op_error) */
	uint64_t rows_n;                /* of these */
	uint64_t unsent_n;   /* due in an open loop, but not sent at the end */
	int64_t cpu_ns;      /* of this thread, in the counted time */
	int64_t last_end_ns; /* of a counted operation */
	struct hist hist[BENCH_KINDS_N]; /* see turn.c for what is in it */
};

/* A run's times, CLOCK_MONOTONIC. */
struct turn_times {
	int64_t start_ns;
	int64_t count_ns; /* counted from here */
	int64_t end_ns;   /* INT64_MAX: when each client has done count_n */
};

/* What a thread has to do; its clients' numbers begin at first. */
struct turn_share {
	const struct bench_driver *driver;
	const struct bench_plan *plan;
	unsigned first, clients_n;
	struct tally *tally;
	uint64_t *per_client; /* counted operations; of all clients */
};

struct turn;

/* NULL when memory ran out. */
struct turn *turn_new(const struct turn_share *share);

/* Connect all clients.  Returns 0 or -1; turn_get_why says why. */
int turn_open(struct turn *turn);

/* Run from start to end.  Returns 0 or -1; turn_get_why says why. */
int turn_run(struct turn *turn, const struct turn_times *times);

const char *turn_get_why(const struct turn *turn);

/* Close all clients and free it. */
void turn_free(struct turn *turn);

/* CLOCK_MONOTONIC in ns. */
int64_t turn_now_ns(void);

#endif
