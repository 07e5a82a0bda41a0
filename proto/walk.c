/* walk.c - one pass over msgpack bytes, a counter per open level.
 *
 * Format bytes: https://github.com/msgpack/msgpack/blob/master/spec.md,
 * "Formats". */
#include "proto/walk.h"

#include "proto/error.h"

/* What one token says: how many bytes it takes, how many values it holds. */
struct token {
	size_t bytes;
	uint64_t children;
	bool opens; /* array or map, also an empty one */
};

static uint64_t
get_big_endian(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

/* Bytes after the format byte that are a length or count, for 0xC4..0xDF. */
static size_t
length_bytes(uint8_t b)
{
	static const uint8_t table[32] = {
		[0x04] = 1,
		[0x05] = 2,
		[0x06] = 4, /* bin */
		[0x07] = 1,
		[0x08] = 2,
		[0x09] = 4, /* ext */
		[0x19] = 1,
		[0x1a] = 2,
		[0x1b] = 4, /* str */
		[0x1c] = 2,
		[0x1d] = 4, /* array */
		[0x1e] = 2,
		[0x1f] = 4, /* map */
	};

	return table[b - 0xc0];
}

/* Payload bytes of the fixed-size formats among 0xC0..0xDF. */
static size_t
fixed_bytes(uint8_t b)
{
	static const uint8_t table[32] = {
		[0x0a] = 4,
		[0x0b] = 8, /* float */
		[0x0c] = 1,
		[0x0d] = 2,
		[0x0e] = 4,
		[0x0f] = 8, /* uint */
		[0x10] = 1,
		[0x11] = 2,
		[0x12] = 4,
		[0x13] = 8, /* int */
		[0x14] = 2,
		[0x15] = 3,
		[0x16] = 5,
		[0x17] = 9, /* fixext */
		[0x18] = 17,
	};

	return table[b - 0xc0];
}

static int
read_long(const uint8_t *p, size_t left, struct token *ret)
{
	size_t ln = length_bytes(p[0]);
	uint64_t length;

	if (p[0] == 0xc1)
		return -ERR_FRAME_MALFORMED;
	if (ln == 0) {
		*ret = (struct token){ .bytes = 1 + fixed_bytes(p[0]) };
		return 0;
	}
	if (left < 1 + ln)
		return -ERR_FRAME_MALFORMED;
	length = get_big_endian(p + 1, ln);
	*ret = (struct token){ .bytes = 1 + ln };
	if (p[0] >= 0xdc) {
		ret->opens = true;
		ret->children = p[0] >= 0xde ? 2 * length : length;
	} else {
		ret->bytes += (size_t)length;
		if (p[0] >= 0xc7 && p[0] <= 0xc9)
			ret->bytes += 1; /* the ext type */
	}
	return 0;
}

static int
read_token(const uint8_t *p, size_t left, struct token *ret)
{
	uint8_t b = p[0];
	int rc = 0;

	if (b <= 0x7f || b >= 0xe0)
		*ret = (struct token){ .bytes = 1 };
	else if (b <= 0x8f)
		*ret = (struct token){ 1, 2 * (uint64_t)(b & 0x0f), true };
	else if (b <= 0x9f)
		*ret = (struct token){ 1, b & 0x0f, true };
	else if (b <= 0xbf)
		*ret = (struct token){ .bytes = 1 + (size_t)(b & 0x1f) };
	else
		rc = read_long(p, left, ret);
	if (rc < 0)
		return rc;
	/* each child takes at least one byte */
	if (ret->bytes > left || ret->children > left - ret->bytes)
		return -ERR_FRAME_MALFORMED;
	return 0;
}

int
walk_value(struct span bytes, size_t *ret_bytes)
{
	uint64_t open[WALK_MAX_DEPTH]; /* values still due, per level */
	unsigned depth = 0;
	size_t at = 0;

	do {
		struct token t;
		int rc;

		if (at == bytes.n)
			return -ERR_FRAME_MALFORMED;
		rc = read_token(bytes.p + at, bytes.n - at, &t);
		if (rc < 0)
			return rc;
		at += t.bytes;
		if (depth > 0)
			open[depth - 1]--;
		if (t.opens) {
			if (depth == WALK_MAX_DEPTH)
				return -ERR_FRAME_TOO_DEEP;
			open[depth++] = t.children;
		}
		while (depth > 0 && open[depth - 1] == 0)
			depth--;
	} while (depth > 0);
	*ret_bytes = at;
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
