/* out.h - the bytes that wait to be written to one client.
 *
 * A list of segments: replies that are written where they are made go to the
 * end of the last one, and large results are moved in whole, without a copy.
 * Segments that were written are kept for the next client, so that a busy
 * worker allocates nothing.
 *
 * Thread: the worker.
 */
#ifndef DAEMON_OUT_H
#define DAEMON_OUT_H

#include <sys/types.h>

#include "proto/buf.h"

struct seg;

/* Empty segments of a worker. */
struct out_pool {
	struct seg *free;
	unsigned n;
};

struct out {
	struct out_pool *pool; /* borrowed */
	struct seg *head, *tail;
	size_t bytes; /* not written yet */
};

void out_init(struct out *o, struct out_pool *pool);
void out_fini(struct out *o);
void out_pool_fini(struct out_pool *pool);

/* Give a buffer to append whole frames to; out_end afterwards.
 * NULL: out of memory. */
struct buf *out_begin(struct out *o);
void out_end(struct out *o, const struct buf *b);

/* Append a copy of n bytes.  False: out of memory. */
bool out_put(struct out *o, const uint8_t *p, size_t n);

/* Append a buffer's bytes from an offset on, and take them from it.
 * False: out of memory. */
bool out_move(struct out *o, struct buf *b, size_t from);

/* Write what the socket takes.  The bytes written, or -errno (-EAGAIN when it
 * takes none). */
ssize_t out_write(struct out *o, int fd);

#endif
