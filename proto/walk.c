/* walk.c - one pass over msgpack bytes, a counter per open level.
 *
 * Format bytes: https://github.com/msgpack/msgpack/blob/master/spec.md,
 * "Formats". */
#include "proto/walk.h"

#include "proto/error.h"

/* What follows the format byte. */
enum shape {
	SHAPE_FIXED, /* n bytes */
	SHAPE_BYTES, /* a length of n bytes, then that many bytes */
	SHAPE_EXT,   /* the same with the ext type between them */
	SHAPE_ARRAY, /* a count of n bytes, then that many values */
	SHAPE_MAP,   /* a count of n bytes, then that many pairs */
	SHAPE_NEVER,
};

struct form {
	uint8_t shape;
	uint8_t n;
};

/* clang-format off */
static const struct form forms[32] = { /* the formats C0..DF */
	[0x00] = { SHAPE_FIXED, 0 }, /* nil */
	[0x01] = { SHAPE_NEVER, 0 },
	[0x02] = { SHAPE_FIXED, 0 }, /* false, true */
	[0x03] = { SHAPE_FIXED, 0 },
	[0x04] = { SHAPE_BYTES, 1 }, /* bin */
	[0x05] = { SHAPE_BYTES, 2 },
	[0x06] = { SHAPE_BYTES, 4 },
	[0x07] = { SHAPE_EXT, 1 },
	[0x08] = { SHAPE_EXT, 2 },
	[0x09] = { SHAPE_EXT, 4 },
	[0x0a] = { SHAPE_FIXED, 4 }, /* float */
	[0x0b] = { SHAPE_FIXED, 8 },
	[0x0c] = { SHAPE_FIXED, 1 }, /* uint */
	[0x0d] = { SHAPE_FIXED, 2 },
	[0x0e] = { SHAPE_FIXED, 4 },
	[0x0f] = { SHAPE_FIXED, 8 },
	[0x10] = { SHAPE_FIXED, 1 }, /* int */
	[0x11] = { SHAPE_FIXED, 2 },
	[0x12] = { SHAPE_FIXED, 4 },
	[0x13] = { SHAPE_FIXED, 8 },
	[0x14] = { SHAPE_FIXED, 2 }, /* fixext: its type and 1 to 16 bytes */
	[0x15] = { SHAPE_FIXED, 3 },
	[0x16] = { SHAPE_FIXED, 5 },
	[0x17] = { SHAPE_FIXED, 9 },
	[0x18] = { SHAPE_FIXED, 17 },
	[0x19] = { SHAPE_BYTES, 1 }, /* str */
	[0x1a] = { SHAPE_BYTES, 2 },
	[0x1b] = { SHAPE_BYTES, 4 },
	[0x1c] = { SHAPE_ARRAY, 2 },
	[0x1d] = { SHAPE_ARRAY, 4 },
	[0x1e] = { SHAPE_MAP, 2 },
	[0x1f] = { SHAPE_MAP, 4 },
};
/* clang-format on */

struct walk {
	const uint8_t *p;
	size_t left;                    /* bytes from p on */
	uint64_t due;                   /* values to come in this level */
	unsigned depth;                 /* levels around this one */
	uint64_t outer[WALK_MAX_DEPTH]; /* values to come in each of those */
};

static uint64_t
get_big_endian(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

/* Step over n bytes, which are one value.  n is not a size_t because a length
 * and what stands before it can be more than 32 bits hold. */
static int
step(struct walk *w, uint64_t n)
{
	if (n > w->left)
		return -ERR_FRAME_MALFORMED;
	w->p += n;
	w->left -= (size_t)n;
	w->due--;
	return 0;
}

/* Step over the head of an array or map, n bytes, that holds some values. */
static int
open_level(struct walk *w, size_t n, uint64_t values)
{
	int rc = step(w, n);

	/* each of them takes at least one byte */
	if (rc < 0 || values > w->left)
		return -ERR_FRAME_MALFORMED;
	if (w->depth == WALK_MAX_DEPTH)
		return -ERR_FRAME_TOO_DEEP;
	w->outer[w->depth++] = w->due;
	w->due = values;
	return 0;
}

static int
walk_long(struct walk *w)
{
	struct form form = forms[*w->p - 0xc0];
	size_t head = 1 + (size_t)form.n;
	uint64_t length;

	if (form.shape == SHAPE_FIXED)
		return step(w, head);
	if (form.shape == SHAPE_NEVER || head > w->left)
		return -ERR_FRAME_MALFORMED;
	length = get_big_endian(w->p + 1, form.n);
	if (form.shape == SHAPE_ARRAY)
		return open_level(w, head, length);
	if (form.shape == SHAPE_MAP)
		return open_level(w, head, 2 * length);
	return step(w, head + length + (form.shape == SHAPE_EXT));
}

/* A ladder and not a table of 256: the branches are predicted, so that the
 * next token need not wait for this one's size. */
static int
walk_token(struct walk *w)
{
	uint8_t b;

	if (w->left == 0)
		return -ERR_FRAME_MALFORMED;
	b = *w->p;
	if (b <= 0x7f || b >= 0xe0 || b == 0xc0)
		return step(w, 1);
	if (b <= 0x8f)
		return open_level(w, 1, 2 * (uint64_t)(b & 0x0f));
	if (b <= 0x9f)
		return open_level(w, 1, b & 0x0f);
	if (b <= 0xbf)
		return step(w, 1 + (uint64_t)(b & 0x1f));
	return walk_long(w);
}

int
walk_value(struct span bytes, size_t *ret_bytes)
{
	struct walk w;

	/* not initialised at once: that would clear all of outer */
	w.p = bytes.p;
	w.left = bytes.n;
	w.due = 1;
	w.depth = 0;
	for (;;) {
		int rc;

		while (w.due == 0 && w.depth > 0)
			w.due = w.outer[--w.depth];
		if (w.due == 0)
			break;
		rc = walk_token(&w);
		if (rc < 0)
			return rc;
	}
	*ret_bytes = bytes.n - w.left;
	return 0;
}

static bool
is_map(struct span s)
{
	return s.n > 0 &&
	    ((s.p[0] >= 0x80 && s.p[0] <= 0x8f) || s.p[0] == 0xde ||
		s.p[0] == 0xdf);
}

int
walk_frame(struct span content, struct span *ret_head, struct span *ret_body)
{
	struct span head = content;
	struct span body;
	size_t n;
	int rc;

	if (!is_map(head))
		return -ERR_FRAME_MALFORMED;
	rc = walk_value(head, &n);
	if (rc < 0)
		return rc;
	head.n = n;
	body = (struct span){ content.p + n, content.n - n };
	if (!is_map(body))
		return -ERR_FRAME_MALFORMED;
	rc = walk_value(body, &n);
	if (rc < 0)
		return rc;
	if (n != body.n)
		return -ERR_FRAME_MALFORMED;
	*ret_head = head;
	*ret_body = body;
	return 0;
}
