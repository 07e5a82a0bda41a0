/* fuzz_msg.c - any bytes as a stream of frames, read as daemon and client do:
 * frame, walk, head, body, and the values, steps and errors inside it.
 *
 * What holds: nothing outside the bytes is read; a field that is there is
 * inside the body and of its kind; a fault names a key and can be put into
 * words. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/error.h"
#include "proto/frame.h"
#include "proto/msg.h"
#include "proto/value.h"
#include "proto/walk.h"

#define MAX_BYTES 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool holds)
{
	if (!holds)
		abort();
}

/* --- Fields ---------------------------------------------------------------- */

static void
check_inside(struct span whole, struct span part)
{
	require(part.p >= whole.p && part.n <= whole.n &&
	    part.p + part.n <= whole.p + whole.n);
}

static void
check_u(struct span whole, uint64_t v)
{
	(void)whole;
	require(v <= INT64_MAX);
}

static void
check_i(struct span whole, int64_t v)
{
	(void)whole;
	(void)v;
}

static void
check_b(struct span whole, bool v)
{
	(void)whole;
	(void)v;
}

static void
check_s(struct span whole, struct span v)
{
	check_inside(whole, v);
	require(value_is_utf8(v.p, v.n));
	require(v.n == 0 || !memchr(v.p, 0, v.n));
}

/* Raw bytes are one whole value; reading all of it ends at its end. */
static void
check_raw(struct span whole, struct span v, bool array, bool map)
{
	struct span cur = v;
	struct value head;
	size_t n;

	check_inside(whole, v);
	require(walk_value(v, &n) == 0 && n == v.n);
	value_read(&cur, &head);
	require((head.kind == VALUE_ARRAY && array) ||
	    (head.kind == VALUE_MAP && map));
	for (uint64_t due = head.kind == VALUE_MAP ? 2 * (uint64_t)head.count
						   : head.count;
	     due > 0; due--)
		value_skip(&cur);
	require(cur.n == 0);
}

static void
check_a(struct span whole, struct span v)
{
	check_raw(whole, v, true, false);
}

static void
check_m(struct span whole, struct span v)
{
	check_raw(whole, v, false, true);
}

static void
check_v(struct span whole, struct span v)
{
	check_raw(whole, v, true, true);
}

#define CHECK_U check_u
#define CHECK_I check_i
#define CHECK_B check_b
#define CHECK_S check_s
#define CHECK_A check_a
#define CHECK_M check_m
#define CHECK_V check_v

/* --- Maps ------------------------------------------------------------------ */

static void
check_fault(int rc, const struct msg_fault *fault)
{
	char text[256];

	require(rc == -fault->code);
	require(fault->code == ERR_FIELD_TYPE ||
	    fault->code == ERR_FIELD_RANGE || fault->code == ERR_FIELD_UNKNOWN);
	require(fault->key < MSG_KEY_END || fault->key == UINT64_MAX);
	msg_describe_fault(fault, text, sizeof(text));
	require(
	    text[0] != '\0' && value_is_utf8((uint8_t *)text, strlen(text)));
}

static void
check_head(struct span map)
{
	struct msg_head head;
	struct msg_fault fault;
	int rc = msg_read_head(map, &head, &fault);

	if (rc < 0) {
		check_fault(rc, &fault);
		return;
	}
#define HEAD(name, key, kind)    \
	if (MSG_HAS(&head, key)) \
		CHECK_##kind(map, head.name);
#include "proto/messages.def"
#undef HEAD
}

typedef void check_map_fn(struct span map);

/* The maps in an array; other elements are for the daemon to refuse. */
static void
check_steps(struct span array, check_map_fn *check)
{
	struct value head;
	struct span cur = array;

	value_read(&cur, &head);
	for (uint32_t i = 0; i < head.count; i++) {
		struct span step = cur, peek = cur;
		struct value v;

		value_skip(&cur);
		step.n -= cur.n;
		value_read(&peek, &v);
		if (v.kind == VALUE_MAP)
			check(step);
	}
}

static void
check_ask(struct span map)
{
	struct msg_ask ask;
	struct msg_fault fault;
	int rc = msg_read_ask(map, &ask, &fault);

	if (rc < 0) {
		check_fault(rc, &fault);
		return;
	}
#define ASK(name, key, kind)    \
	if (MSG_HAS(&ask, key)) \
		CHECK_##kind(map, ask.name);
#include "proto/messages.def"
#undef ASK
	if (MSG_HAS(&ask, ASK_steps))
		check_steps(ask.steps, check_ask);
}

static void
check_tell(struct span map)
{
	struct msg_tell tell;
	struct msg_fault fault;
	int rc = msg_read_tell(map, &tell, &fault);

	if (rc < 0) {
		check_fault(rc, &fault);
		return;
	}
#define TELL(name, key, kind)    \
	if (MSG_HAS(&tell, key)) \
		CHECK_##kind(map, tell.name);
#include "proto/messages.def"
#undef TELL
	if (MSG_HAS(&tell, TELL_steps))
		check_steps(tell.steps, check_tell);
	if (MSG_HAS(&tell, TELL_error))
		check_tell(tell.error);
}

/* --- Frames ---------------------------------------------------------------- */

/* Look at one frame; returns its size, or 0 when the stream ends there. */
static size_t
check_frame(const uint8_t *p, size_t n)
{
	struct span content, head, body;
	size_t bytes = 0;
	int rc = frame_peek(p, n, MAX_BYTES, &bytes);

	if (rc != 0) {
		require(rc == -ERR_FRAME_MAGIC || rc == -ERR_FRAME_TOO_LONG ||
		    (rc == FRAME_PARTIAL && (bytes == 0 || bytes > n)));
		return 0;
	}
	require(bytes >= FRAME_PREFIX_BYTES && bytes <= n &&
	    bytes <= MAX_BYTES + FRAME_PREFIX_BYTES);
	content = (struct span){ p + FRAME_PREFIX_BYTES,
		bytes - FRAME_PREFIX_BYTES };
	if (walk_frame(content, &head, &body) == 0) {
		require(head.n + body.n == content.n);
		check_head(head);
		check_ask(body);
		check_tell(body);
	}
	return bytes;
}

/* Most random bytes are no frame: take them as a frame's content as well. */
static void
check_content(struct span content)
{
	struct span head, body;

	if (walk_frame(content, &head, &body) < 0)
		return;
	check_head(head);
	check_ask(body);
	check_tell(body);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);
	size_t at = 0, n;

	require(copy != NULL);
	memcpy(copy, data, size);
	while ((n = check_frame(copy + at, size - at)) > 0)
		at += n;
	check_content((struct span){ copy, size });
	free(copy);
	return 0;
}
