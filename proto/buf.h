/* buf.h - a run of bytes, and a buffer that grows.
 *
 * A buffer belongs to one thread at a time.  Running out of memory is sticky:
 * later appends do nothing and buf_failed() says so, so that an encoder asks
 * once, at its end.
 */
#ifndef PROTO_BUF_H
#define PROTO_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Borrowed bytes: not NUL-terminated, p may be NULL when n is 0. */
struct span {
	const uint8_t *p;
	size_t n;
};

struct buf {
	uint8_t *p;  /* owned; NULL before the first append */
	size_t n;    /* bytes in use */
	size_t cap;  /* bytes allocated */
	bool failed; /* an allocation failed since the last reset */
};

/* Make an empty buffer; it allocates at the first append. */
void buf_init(struct buf *b);

/* Free the bytes; the buffer is empty and usable afterwards. */
void buf_fini(struct buf *b);

/* Forget the content and a failure, keep the memory. */
void buf_reset(struct buf *b);

/* What buf_reserve does when the memory at hand is not enough. */
uint8_t *buf_grow(struct buf *b, size_t n);

/* Make room for n more bytes.  Returns where they go, or NULL (out of memory,
 * now sticky).  The caller writes at most n bytes there and adds to b->n. */
static inline uint8_t *
buf_reserve(struct buf *b, size_t n)
{
	if (b->p && n <= b->cap - b->n && !b->failed)
		return b->p + b->n;
	return buf_grow(b, n);
}

/* Append n bytes. */
static inline void
buf_put(struct buf *b, const void *p, size_t n)
{
	uint8_t *to = n ? buf_reserve(b, n) : NULL;

	if (!to)
		return;
	memcpy(to, p, n);
	b->n += n;
}

/* Drop everything after the first n bytes; n at most b->n. */
void buf_cut(struct buf *b, size_t n);

static inline bool
buf_failed(const struct buf *b)
{
	return b->failed;
}

#endif
