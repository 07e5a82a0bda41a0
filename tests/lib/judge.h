/* judge.h - msgpack-c's unpacker as a second opinion on walk.h and value.h.
 *
 * It reserves memory from counts it has not verified, so give it only bytes
 * that the walk has passed, or that hold no large counts.  Memory that runs out
 * ends the test program.  Any thread.
 */
#ifndef TESTS_LIB_JUDGE_H
#define TESTS_LIB_JUDGE_H

#include "proto/buf.h"

/* Say whether bytes begin with one whole value, and how long it is. */
bool judge_accepts(struct span bytes, size_t *ret_bytes);

/* Say whether value.h reads the value at the start of bytes, which was walked,
 * as msgpack-c does. */
bool judge_agrees(struct span bytes);

/* Give the bits of a double: a NaN is itself, and 0.0 is not -0.0. */
uint64_t judge_get_bits(double f);

/* A source of pseudo-random numbers: the same seed, the same numbers. */
struct judge_random {
	uint64_t state;
};

uint32_t judge_random_below(struct judge_random *r, uint32_t n);

/* Append a random value, in formats of random width, with arrays and maps
 * nested at most depth levels. */
void judge_put_random(struct judge_random *r, struct buf *b, unsigned depth);

#endif
