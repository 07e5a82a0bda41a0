/* deadlines.c - a binary heap of requests. */
#include "daemon/deadlines.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/error.h"

/* As many to begin with; and when it is empty no memory for more is kept. */
#define LEAST_CAP 64
#define KEEP_CAP  1024

void
deadlines_fini(struct deadlines *d)
{
	free(d->heap);
	*d = (struct deadlines){ 0 };
}

static int
grow(struct deadlines *d)
{
	size_t cap = d->cap ? 2 * d->cap : LEAST_CAP;
	struct deadline *heap = realloc(d->heap, cap * sizeof(*heap));

	if (!heap)
		return -ERR_NO_MEMORY;
	d->heap = heap;
	d->cap = cap;
	return 0;
}

/* The request knows where it is, to be found when it ends before. */
static void
put(struct deadlines *d, size_t i, struct deadline each)
{
	d->heap[i] = each;
	each.r->deadline_n = (uint32_t)i + 1;
}

/* Put it at i or above. */
static void
sift_up(struct deadlines *d, size_t i, struct deadline each)
{
	while (i > 0) {
		size_t parent = (i - 1) / 2;

		if (d->heap[parent].at_us <= each.at_us)
			break;
		put(d, i, d->heap[parent]);
		i = parent;
	}
	put(d, i, each);
}

/* Put it at i or below. */
static void
sift_down(struct deadlines *d, size_t i, struct deadline each)
{
	for (;;) {
		size_t child = 2 * i + 1;

		if (child + 1 < d->n &&
		    d->heap[child + 1].at_us < d->heap[child].at_us)
			child++;
		if (child >= d->n || each.at_us <= d->heap[child].at_us)
			break;
		put(d, i, d->heap[child]);
		i = child;
	}
	put(d, i, each);
}

int
deadlines_push(struct deadlines *d, struct request *r, int64_t at_us)
{
	assert(r->deadline_n == 0);
	if (d->n == d->cap && grow(d) < 0)
		return -ERR_NO_MEMORY;
	sift_up(d, d->n++, (struct deadline){ at_us, r });
	return 0;
}

void
deadlines_remove(struct deadlines *d, struct request *r)
{
	struct deadline last;
	size_t i;

	assert(r->deadline_n > 0);
	i = r->deadline_n - 1;
	r->deadline_n = 0;
	last = d->heap[--d->n];
	if (i < d->n && last.at_us < d->heap[i].at_us)
		sift_up(d, i, last);
	else if (i < d->n)
		sift_down(d, i, last);
	else if (d->n == 0 && d->cap > KEEP_CAP)
		deadlines_fini(d);
}

struct request *
deadlines_pop(struct deadlines *d, int64_t now_us)
{
	struct request *r;

	if (d->n == 0 || d->heap[0].at_us > now_us)
		return NULL;
	r = d->heap[0].r;
	deadlines_remove(d, r);
	return r;
}
