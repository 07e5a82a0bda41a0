/* mix.h - the kinds of operations, and a mix of them. */
#ifndef CLIENT_BENCH_MIX_H
#define CLIENT_BENCH_MIX_H

#include "client/bench/bench.h"

/* Give a kind's name, e.g. "read". */
const char *mix_get_name(enum bench_kind kind);

/* Read "read", "read=90,write=10" or "mixed" into weights (0 to 10000 each).
 * Returns 0, or -1 with what is wrong in why. */
int mix_parse(
    const char *text, unsigned weight[BENCH_KINDS_N], char *why, size_t why_n);

/* The kinds of a mix as bits 1 << kind. */
unsigned mix_get_kinds(const struct bench_plan *plan);

/* Choose a kind, each as often as its weight says. */
enum bench_kind mix_choose(const struct bench_plan *plan, uint64_t random);

/* Tell how many rows an operation reads or changes; 0 for BENCH_SQL, whose rows
 * nobody knows before. */
uint64_t mix_get_rows(const struct bench_plan *plan, enum bench_kind kind);

#endif
