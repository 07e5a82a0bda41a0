/* out.c - segments of bytes on their way to a socket. */
#include "daemon/out.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* A segment is full from here on, and one that grew further is not kept. */
#define SEG_FULL_BYTES ((size_t)64 << 10)
#define SEG_KEEP_BYTES ((size_t)256 << 10)
/* Segments that a worker keeps: enough for the replies of one turn. */
#define POOL_MAX 64
#define IOV_N    16

struct seg {
	struct seg *next;
	struct buf b;
	size_t at;    /* bytes written already */
	size_t noted; /* bytes counted in out->bytes so far */
};

void
out_init(struct out *o, struct out_pool *pool)
{
	*o = (struct out){ .pool = pool };
}

static void
drop_head(struct out *o)
{
	struct seg *s = o->head;

	o->head = s->next;
	if (!o->head)
		o->tail = NULL;
	if (o->pool->n < POOL_MAX && s->b.cap <= SEG_KEEP_BYTES) {
		buf_reset(&s->b);
		s->next = o->pool->free;
		o->pool->free = s;
		o->pool->n++;
		return;
	}
	buf_fini(&s->b);
	free(s);
}

void
out_fini(struct out *o)
{
	while (o->head)
		drop_head(o);
	o->bytes = 0;
}

void
out_pool_fini(struct out_pool *pool)
{
	while (pool->free) {
		struct seg *s = pool->free;

		pool->free = s->next;
		buf_fini(&s->b);
		free(s);
	}
	pool->n = 0;
}

static struct seg *
add_seg(struct out *o)
{
	struct seg *s = o->pool->free;

	if (s) {
		o->pool->free = s->next;
		o->pool->n--;
	} else {
		s = calloc(1, sizeof(*s));
		if (!s)
			return NULL;
	}
	s->next = NULL;
	s->at = s->noted = 0;
	if (o->tail)
		o->tail->next = s;
	else
		o->head = s;
	o->tail = s;
	return s;
}

struct buf *
out_begin(struct out *o)
{
	struct seg *s = o->tail;

	if (!s || s->b.n >= SEG_FULL_BYTES)
		s = add_seg(o);
	return s ? &s->b : NULL;
}

void
out_end(struct out *o, const struct buf *b)
{
	struct seg *s = o->tail;

	o->bytes += b->n - s->noted;
	s->noted = b->n;
}

bool
out_put(struct out *o, const uint8_t *p, size_t n)
{
	struct buf *b = out_begin(o);

	if (!b)
		return false;
	buf_put(b, p, n);
	out_end(o, b);
	return !buf_failed(b);
}

bool
out_move(struct out *o, struct buf *b, size_t from)
{
	struct seg *s;

	if (b->n - from <= SEG_FULL_BYTES / 16)
		return out_put(o, b->p + from, b->n - from);
	s = add_seg(o);
	if (!s)
		return false;
	buf_fini(&s->b);
	s->b = *b;
	s->at = from;
	s->noted = b->n;
	o->bytes += b->n - from;
	buf_init(b);
	return true;
}

static void
take_written(struct out *o, size_t n)
{
	o->bytes -= n;
	while (n > 0 && o->head) {
		struct seg *s = o->head;
		size_t left = s->b.n - s->at;

		if (n < left) {
			s->at += n;
			return;
		}
		n -= left;
		drop_head(o);
	}
}

static ssize_t
send_many(const struct out *o, int fd)
{
	struct iovec iov[IOV_N];
	struct msghdr msg = { .msg_iov = iov };

	for (struct seg *s = o->head; s && msg.msg_iovlen < IOV_N; s = s->next)
		iov[msg.msg_iovlen++] = (struct iovec){ s->b.p + s->at,
			s->b.n - s->at };
	return sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

ssize_t
out_write(struct out *o, int fd)
{
	ssize_t n;

	do {
		const struct seg *s = o->head;

		/* nearly always there is one: 8 % less than sendmsg, as recv
		 * is 3 % less than read (tests/bench/NOTES.md) */
		n = s && !s->next ? send(fd, s->b.p + s->at, s->b.n - s->at,
					MSG_NOSIGNAL | MSG_DONTWAIT)
				  : send_many(o, fd);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	take_written(o, (size_t)n);
	return n;
}
