/* buf.c - a buffer that grows by doubling. */
#include "proto/buf.h"

#include <assert.h>

#include "proto/mem.h"

/* The first allocation: a small reply fits (measured: a one-row reply of three
 * columns takes about 60 bytes). */
#define FIRST_BYTES 256

void
buf_init(struct buf *b)
{
	*b = (struct buf){ 0 };
}

void
buf_fini(struct buf *b)
{
	mem_free(b->p);
	buf_init(b);
}

void
buf_reset(struct buf *b)
{
	b->n = 0;
	b->failed = false;
}

uint8_t *
buf_grow(struct buf *b, size_t n)
{
	size_t cap = b->cap ? b->cap : FIRST_BYTES;
	uint8_t *p;

	if (b->failed)
		return NULL;
	if (n > SIZE_MAX / 4 - b->n) {
		b->failed = true;
		return NULL;
	}
	while (cap < b->n + n)
		cap *= 2;
	p = mem_resize(b->p, cap);
	if (!p) {
		b->failed = true;
		return NULL;
	}
	b->p = p;
	b->cap = cap;
	return b->p + b->n;
}

void
buf_cut(struct buf *b, size_t n)
{
	assert(n <= b->n);
	b->n = n;
}
