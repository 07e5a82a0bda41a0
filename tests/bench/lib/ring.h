/* ring.h - a client's operations in flight, in the order in which they were
 * sent, for servers that answer in that order. */
#ifndef TESTS_BENCH_LIB_RING_H
#define TESTS_BENCH_LIB_RING_H

#include <stdlib.h>

#include "client/bench/bench.h"

struct ring {
	struct bench_op **ops;
	unsigned cap; /* the depth */
	unsigned first;
	unsigned n;
};

/* 0, or -1 without memory. */
static inline int
ring_init(struct ring *r, unsigned depth)
{
	*r = (struct ring){ .cap = depth };
	r->ops = calloc(depth, sizeof(struct bench_op *));
	return r->ops ? 0 : -1;
}

static inline void
ring_fini(struct ring *r)
{
	free(r->ops);
	r->ops = NULL;
}

static inline void
ring_push(struct ring *r, struct bench_op *op)
{
	r->ops[(r->first + r->n++) % r->cap] = op;
}

/* The oldest, or NULL. */
static inline struct bench_op *
ring_first(const struct ring *r)
{
	return r->n > 0 ? r->ops[r->first] : NULL;
}

static inline void
ring_pop(struct ring *r)
{
	r->first = (r->first + 1) % r->cap;
	r->n--;
}

#endif
