/* value.c - single msgpack values.
 *
 * Writing is msgpack-c's packer.  Reading is ours: walk.c has already parsed
 * and checked the bytes, so what is left is a table of widths, and no object
 * tree needs to be built (ARCHITECTURE.md, "Data structures"). */
#include "proto/value.h"

#include <assert.h>
#include <endian.h>
#include <msgpack.h>
#include <string.h>

#include "proto/walk.h"

/* Take a big-endian number of 1, 2, 4 or 8 bytes. */
static inline uint64_t
take(struct span *cur, size_t n)
{
	uint16_t two;
	uint32_t four;
	uint64_t eight;
	const uint8_t *p = cur->p;

	cur->p += n;
	cur->n -= n;
	switch (n) {
	case 1:
		return p[0];
	case 2:
		memcpy(&two, p, sizeof(two));
		return be16toh(two);
	case 4:
		memcpy(&four, p, sizeof(four));
		return be32toh(four);
	default:
		memcpy(&eight, p, sizeof(eight));
		return be64toh(eight);
	}
}

static struct span
take_span(struct span *cur, size_t n)
{
	struct span s = { cur->p, n };

	cur->p += n;
	cur->n -= n;
	return s;
}

static void
read_ext(struct span *cur, size_t n, struct value *ret)
{
	uint8_t type = (uint8_t)take(cur, 1);

	ret->kind = type == VALUE_EXT_TEXT ? VALUE_TEXT : VALUE_EXT;
	ret->ext = true;
	ret->s = take_span(cur, n);
}

static void
read_real(struct span *cur, uint8_t format, struct value *ret)
{
	ret->kind = VALUE_REAL;
	if (format == 0xca) {
		uint32_t bits = (uint32_t)take(cur, 4);
		float f;

		memcpy(&f, &bits, sizeof(f));
		ret->f = (double)f;
	} else {
		uint64_t bits = take(cur, 8);

		memcpy(&ret->f, &bits, sizeof(ret->f));
	}
}

static void
read_int(struct span *cur, uint8_t format, struct value *ret)
{
	size_t n = (size_t)1 << (format & 3);
	uint64_t v = take(cur, n);

	ret->kind = VALUE_INT;
	if (format < 0xd0) {
		if (v > INT64_MAX)
			ret->kind = VALUE_BIG_UINT;
	} else if (n < 8 && v >> (8 * n - 1)) {
		v |= UINT64_MAX << (8 * n); /* negative: extend the sign */
	}
	ret->i = (int64_t)v;
}

void
value_read_long(struct span *cur, uint8_t format, struct value *ret)
{
	if (format == 0xc0) {
		ret->kind = VALUE_NULL;
	} else if (format <= 0xc3) {
		ret->kind = VALUE_BOOL;
		ret->i = format == 0xc3;
	} else if (format <= 0xc6) {
		ret->kind = VALUE_BLOB;
		ret->s = take_span(
		    cur, (size_t)take(cur, (size_t)1 << (format - 0xc4)));
	} else if (format <= 0xc9) {
		read_ext(
		    cur, (size_t)take(cur, (size_t)1 << (format - 0xc7)), ret);
	} else if (format <= 0xcb) {
		read_real(cur, format, ret);
	} else if (format <= 0xd3) {
		read_int(cur, format, ret);
	} else if (format <= 0xd8) {
		read_ext(cur, (size_t)1 << (format - 0xd4), ret);
	} else if (format <= 0xdb) {
		ret->kind = VALUE_TEXT;
		ret->ext = false;
		ret->s = take_span(
		    cur, (size_t)take(cur, (size_t)1 << (format - 0xd9)));
	} else {
		ret->kind = format <= 0xdd ? VALUE_ARRAY : VALUE_MAP;
		ret->count = (uint32_t)take(cur, format & 1 ? 4 : 2);
	}
}

void
value_skip(struct span *cur)
{
	size_t n = cur->n;
	int rc = walk_value(*cur, &n);

	assert(rc == 0);
	(void)rc;
	cur->p += n;
	cur->n -= n;
}

/* Bytes that must follow a lead byte; 0 when it cannot lead. */
static size_t
utf8_follow(uint8_t lead)
{
	if (lead >= 0xc2 && lead <= 0xdf)
		return 1;
	if (lead >= 0xe0 && lead <= 0xef)
		return 2;
	if (lead >= 0xf0 && lead <= 0xf4)
		return 3;
	return 0;
}

/* The second byte's range is narrower after some leads (RFC 3629 section 4). */
static bool
utf8_second_ok(uint8_t lead, uint8_t b)
{
	uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
	uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;

	return b >= low && b <= high;
}

/* Length of the sequence at p, 0 when it is not one. */
static size_t
utf8_sequence(const uint8_t *p, size_t n)
{
	size_t follow = utf8_follow(p[0]);

	if (follow == 0 || follow >= n || !utf8_second_ok(p[0], p[1]))
		return 0;
	for (size_t i = 2; i <= follow; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return follow + 1;
}

/* Give the number of ASCII bytes at the start of n. */
static size_t
count_ascii(const uint8_t *p, size_t n)
{
	const uint64_t high = 0x8080808080808080u;
	size_t at = 0;
	uint64_t w[4];

	for (; n - at >= sizeof(w); at += sizeof(w)) {
		memcpy(w, p + at, sizeof(w));
		if ((w[0] | w[1] | w[2] | w[3]) & high)
			break;
	}
	for (; n - at >= sizeof(w[0]); at += sizeof(w[0])) {
		memcpy(w, p + at, sizeof(w[0]));
		if (w[0] & high)
			break;
	}
	while (at < n && p[at] < 0x80)
		at++;
	return at;
}

bool
value_is_utf8(const uint8_t *p, size_t n)
{
	size_t at = count_ascii(p, n);

	while (at < n) {
		size_t k = utf8_sequence(p + at, n - at);

		if (k == 0)
			return false;
		at += k;
		if (at < n && p[at] < 0x80)
			at += count_ascii(p + at, n - at);
	}
	return true;
}

/* Writing: the packer stores into memory that was reserved before.  Its
 * callback is known at compile time and is compiled in, so that a number costs
 * a look for room and a few stores (with a callback that grows the buffer it
 * took twice as long). */
struct put {
	uint8_t *p;
	msgpack_packer pk;
};

/* The longest head of a value: 0xD3 and an integer of 64 bits. */
#define HEAD_BYTES 9

static int
put_bytes(void *data, const char *p, size_t n)
{
	struct put *put = data;

	memcpy(put->p, p, n);
	put->p += n;
	return 0;
}

/* Make room for a head and n bytes after it; false when there is none. */
static bool
put_begin(struct put *put, struct buf *b, size_t n)
{
	put->p = buf_reserve(b, HEAD_BYTES + n);
	put->pk = (msgpack_packer){ .data = put, .callback = put_bytes };
	return put->p != NULL;
}

static void
put_end(const struct put *put, struct buf *b)
{
	b->n = (size_t)(put->p - b->p);
}

/* Finish with the n bytes that follow the head. */
static void
put_end_bytes(struct put *put, struct buf *b, const void *p, size_t n)
{
	if (n > 0)
		put_bytes(put, p, n);
	put_end(put, b);
}

void
value_put_nil(struct buf *b)
{
	struct put put;

	if (!put_begin(&put, b, 0))
		return;
	msgpack_pack_nil(&put.pk);
	put_end(&put, b);
}

void
value_put_bool(struct buf *b, bool v)
{
	struct put put;

	if (!put_begin(&put, b, 0))
		return;
	if (v)
		msgpack_pack_true(&put.pk);
	else
		msgpack_pack_false(&put.pk);
	put_end(&put, b);
}

void
value_put_int(struct buf *b, int64_t v)
{
	struct put put;

	if (!put_begin(&put, b, 0))
		return;
	msgpack_pack_int64(&put.pk, v);
	put_end(&put, b);
}

void
value_put_uint(struct buf *b, uint64_t v)
{
	struct put put;

	if (!put_begin(&put, b, 0))
		return;
	msgpack_pack_uint64(&put.pk, v);
	put_end(&put, b);
}

void
value_put_real(struct buf *b, double v)
{
	struct put put;

	if (!put_begin(&put, b, 0))
		return;
	msgpack_pack_double(&put.pk, v);
	put_end(&put, b);
}

void
value_put_str(struct buf *b, const void *p, size_t n)
{
	struct put put;

	if (!put_begin(&put, b, n))
		return;
	msgpack_pack_str(&put.pk, n);
	put_end_bytes(&put, b, p, n);
}

void
value_put_text(struct buf *b, const void *p, size_t n)
{
	struct put put;

	if (value_is_utf8(p, n)) {
		value_put_str(b, p, n);
		return;
	}
	if (!put_begin(&put, b, n))
		return;
	msgpack_pack_ext(&put.pk, n, VALUE_EXT_TEXT);
	put_end_bytes(&put, b, p, n);
}

void
value_put_message(struct buf *b, const void *p, size_t n)
{
	uint8_t *at;

	value_put_str(b, p, n);
	if (buf_failed(b))
		return;
	at = b->p + b->n - n;
	while (n > 0) {
		size_t k = *at < 0x80 ? 1 : utf8_sequence(at, n);

		if (k == 0) {
			*at = '?';
			k = 1;
		}
		at += k;
		n -= k;
	}
}

void
value_put_blob(struct buf *b, const void *p, size_t n)
{
	struct put put;

	if (!put_begin(&put, b, n))
		return;
	msgpack_pack_bin(&put.pk, n);
	put_end_bytes(&put, b, p, n);
}

void
value_put_array(struct buf *b, uint32_t n)
{
	struct put put;

	if (!put_begin(&put, b, 0))
		return;
	msgpack_pack_array(&put.pk, n);
	put_end(&put, b);
}

void
value_put_map(struct buf *b, uint32_t n)
{
	struct put put;

	if (!put_begin(&put, b, 0))
		return;
	msgpack_pack_map(&put.pk, n);
	put_end(&put, b);
}

void
value_put_open_array(struct buf *b)
{
	static const uint8_t head[3] = { 0xdc, 0, 0 };

	buf_put(b, head, sizeof(head));
}

void
value_close_array(struct buf *b, size_t at, uint16_t n)
{
	if (buf_failed(b))
		return;
	b->p[at + 1] = (uint8_t)(n >> 8);
	b->p[at + 2] = (uint8_t)n;
}
