/* walk.h - check msgpack bytes without allocating.
 *
 * Every byte a peer sends passes here before anything reads it: element counts
 * are held against the bytes that are left, nesting against WALK_MAX_DEPTH.
 * What passed can be read with value.h, which checks nothing again.  Pure
 * functions: any thread.
 */
#ifndef PROTO_WALK_H
#define PROTO_WALK_H

#include "proto/buf.h"

/* The deepest legal nesting: an array or map inside 8 others is refused. */
#define WALK_MAX_DEPTH 8

/* Check one value at the start of bytes.  On 0, *ret_bytes is its size.
 *
 * Errors: -ERR_FRAME_MALFORMED (cut short, a count that cannot be true, or the
 * reserved byte 0xC1), -ERR_FRAME_TOO_DEEP. */
int walk_value(struct span bytes, size_t *ret_bytes);

/* Check a frame's content: two maps with nothing after them.  On 0 the spans
 * hold the maps, their first byte included.
 *
 * Errors: as walk_value. */
int
walk_frame(struct span content, struct span *ret_head, struct span *ret_body);

#endif
