/* msgjson.h - messages as JSON, for tests.
 *
 * The decoded form of a message is {"head": {...}, "body": {...}} with the
 * names of messages.def; PROTOCOL.md, "Vectors", describes it.  A form that
 * makes no sense ends the test program with a message.  Any thread.
 */
#ifndef TESTS_LIB_MSGJSON_H
#define TESTS_LIB_MSGJSON_H

#include <jansson.h>

#include "proto/buf.h"
#include "proto/msg.h"

/* Read one frame into its decoded form, which the caller frees.  0, or what
 * frame_peek, walk_frame or msg_read_* says of it, with *ret_fault as that
 * leaves it. */
int msgjson_decode(struct span frame, bool is_reply, json_t **ret,
    struct msg_fault *ret_fault);

/* Append the frame of a decoded form. */
void msgjson_encode(json_t *form, bool is_reply, struct buf *b);

#endif
