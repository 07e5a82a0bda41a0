/* frame.h - where one frame ends and the next begins.
 *
 * A frame is 0xCE, a 32-bit big-endian length, and that many bytes.  (0xCE is
 * msgpack's uint 32, so a stream of frames is a legal msgpack stream.)  Pure
 * functions: any thread.
 */
#ifndef PROTO_FRAME_H
#define PROTO_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define FRAME_MAGIC             0xCE
#define FRAME_PREFIX_BYTES      5
#define FRAME_DEFAULT_MAX_BYTES ((size_t)16 << 20)
#define FRAME_HARD_MAX_BYTES    ((size_t)64 << 20)
#define FRAME_LEAST_MAX_BYTES   ((size_t)64 << 10)

/* frame_peek: the frame has not arrived completely. */
#define FRAME_PARTIAL 1

/* Look for a frame at the start of n bytes.
 *
 * max_bytes bounds the announced length (without the prefix) and is checked as
 * soon as the prefix is there, before anybody allocates.  On 0, *ret_bytes is
 * the whole frame's size with its prefix, and that many bytes are present.  On
 * FRAME_PARTIAL, *ret_bytes is the whole frame's size, or 0 while it is not
 * known yet.
 *
 * Errors: -ERR_FRAME_MAGIC (first byte), -ERR_FRAME_TOO_LONG (length over
 * max_bytes). */
int frame_peek(const uint8_t *p, size_t n, size_t max_bytes, size_t *ret_bytes);

/* Write the prefix for a frame of n bytes at p (FRAME_PREFIX_BYTES long). */
void frame_put_prefix(uint8_t *p, uint32_t n);

#endif
