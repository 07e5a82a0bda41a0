/* fuzz_walk.c - any bytes through the walk, and what it passes through value.h,
 * with msgpack-c as the judge.
 *
 * What holds: nothing outside the bytes is read (they are copied to memory of
 * their own size); what passed is read by value.h as by msgpack-c, and written
 * again it means the same. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/error.h"
#include "proto/value.h"
#include "proto/walk.h"
#include "tests/lib/judge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool holds)
{
	if (!holds)
		abort();
}

/* Write a value anew.  False for the one kind that value.h cannot write. */
static bool
put_copy(struct buf *b, const struct value *v)
{
	switch (v->kind) {
	case VALUE_NULL:
		value_put_nil(b);
		return true;
	case VALUE_BOOL:
		value_put_bool(b, v->i != 0);
		return true;
	case VALUE_INT:
		value_put_int(b, v->i);
		return true;
	case VALUE_BIG_UINT:
		value_put_uint(b, (uint64_t)v->i);
		return true;
	case VALUE_REAL:
		value_put_real(b, v->f);
		return true;
	case VALUE_TEXT:
		value_put_text(b, v->s.p, v->s.n);
		return true;
	case VALUE_BLOB:
		value_put_blob(b, v->s.p, v->s.n);
		return true;
	case VALUE_ARRAY:
		value_put_array(b, v->count);
		return true;
	case VALUE_MAP:
		value_put_map(b, v->count);
		return true;
	case VALUE_EXT:
		break;
	}
	return false;
}

static bool
same_value(const struct value *a, const struct value *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case VALUE_NULL:
	case VALUE_EXT:
		return true;
	case VALUE_BOOL:
	case VALUE_INT:
	case VALUE_BIG_UINT:
		return a->i == b->i;
	case VALUE_REAL:
		/* a signalling NaN of 32 bits may become a quiet one */
		return isnan(a->f) ||
		    judge_get_bits(a->f) == judge_get_bits(b->f);
	case VALUE_TEXT:
	case VALUE_BLOB:
		return a->s.n == b->s.n &&
		    (a->s.n == 0 || memcmp(a->s.p, b->s.p, a->s.n) == 0);
	case VALUE_ARRAY:
	case VALUE_MAP:
		return a->count == b->count;
	}
	return false;
}

/* A TEXT says that it was ext exactly if it is not UTF-8, once we wrote it. */
static void
check_text(const struct value *v)
{
	if (v->kind == VALUE_TEXT)
		require(v->ext == !value_is_utf8(v->s.p, v->s.n));
}

static void
check_rewritten(struct span whole)
{
	struct span in = whole, out;
	struct buf b;
	size_t n;

	buf_init(&b);
	while (in.n > 0) {
		struct value v;

		value_read(&in, &v);
		if (!put_copy(&b, &v))
			goto out;
	}
	out = (struct span){ b.p, b.n };
	require(walk_value(out, &n) == 0 && n == b.n);
	require(judge_agrees(out));
	in = whole;
	while (in.n > 0) {
		struct value v, w;

		value_read(&in, &v);
		value_read(&out, &w);
		require(same_value(&v, &w));
		check_text(&w);
	}
	require(out.n == 0);
out:
	buf_fini(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);
	struct span head, body, whole = { copy, size };
	size_t n = size + 1;
	int rc;

	require(copy != NULL);
	memcpy(copy, data, size);
	rc = walk_value(whole, &n);
	if (rc == 0) {
		require(n > 0 && n <= size);
		whole.n = n;
		require(judge_agrees(whole));
		check_rewritten(whole);
	} else {
		require(
		    rc == -ERR_FRAME_MALFORMED || rc == -ERR_FRAME_TOO_DEEP);
		require(n == size + 1);
	}
	if (walk_frame((struct span){ copy, size }, &head, &body) == 0)
		require(rc == 0 && head.n == n && head.n + body.n == size);
	value_is_utf8(copy, size);
	free(copy);
	return 0;
}
