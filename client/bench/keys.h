/* keys.h - which row comes next: random numbers, and how keys are drawn.
 *
 * Thread: its client's. */
#ifndef CLIENT_BENCH_KEYS_H
#define CLIENT_BENCH_KEYS_H

#include "client/bench/bench.h"

struct keys {
	uint64_t state; /* of the random numbers */
	enum bench_keys kind;
	uint64_t n;    /* keys are 1 to n */
	uint64_t next; /* SERIAL, OWN: from 0 */
	/* ZIPF */
	double s, h_first, h_last, shortcut;
};

/* Prepare for a client's keys; the same seed gives the same keys. */
void
keys_init(struct keys *keys, const struct bench_plan *plan, unsigned number);

/* Give 64 random bits. */
uint64_t keys_random(struct keys *keys);

/* Draw the next key. */
uint64_t keys_next(struct keys *keys);

/* Make a number from 0 to n - 1 of 64 random bits; n > 0. */
uint64_t keys_below(uint64_t random, uint64_t n);

/* Make other random bits of random bits. */
uint64_t keys_mix(uint64_t random);

#endif
