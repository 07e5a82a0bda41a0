/* judge.c - msgpack-c's unpacker, and values to judge. */
#include "tests/lib/judge.h"

#include <msgpack.h>
#include <stdlib.h>

#include "proto/value.h"

bool
judge_accepts(struct span bytes, size_t *ret_bytes)
{
	msgpack_unpacked result;
	msgpack_unpack_return rc;
	size_t at = 0;

	msgpack_unpacked_init(&result);
	rc = msgpack_unpack_next(&result, (const char *)bytes.p, bytes.n, &at);
	msgpack_unpacked_destroy(&result);
	if (rc == MSGPACK_UNPACK_NOMEM_ERROR)
		abort();
	*ret_bytes = at;
	return rc == MSGPACK_UNPACK_SUCCESS;
}

static bool
same_bytes(struct span s, const char *p, size_t n)
{
	return s.n == n && (n == 0 || memcmp(s.p, p, n) == 0);
}

uint64_t
judge_get_bits(double f)
{
	uint64_t bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits;
}

static bool agrees(struct span *cur, const msgpack_object *o);

static bool
agrees_array(struct span *cur, const struct value *v, msgpack_object_array a)
{
	if (v->kind != VALUE_ARRAY || v->count != a.size)
		return false;
	for (uint32_t i = 0; i < a.size; i++)
		if (!agrees(cur, &a.ptr[i]))
			return false;
	return true;
}

static bool
agrees_map(struct span *cur, const struct value *v, msgpack_object_map m)
{
	if (v->kind != VALUE_MAP || v->count != m.size)
		return false;
	for (uint32_t i = 0; i < m.size; i++)
		if (!agrees(cur, &m.ptr[i].key) || !agrees(cur, &m.ptr[i].val))
			return false;
	return true;
}

static bool
agrees_ext(const struct value *v, msgpack_object_ext e)
{
	enum value_kind kind = e.type == VALUE_EXT_TEXT ? VALUE_TEXT
							: VALUE_EXT;

	return v->kind == kind && v->ext && same_bytes(v->s, e.ptr, e.size);
}

static bool
agrees(struct span *cur, const msgpack_object *o)
{
	struct value v;

	value_read(cur, &v);
	switch (o->type) {
	case MSGPACK_OBJECT_NIL:
		return v.kind == VALUE_NULL;
	case MSGPACK_OBJECT_BOOLEAN:
		return v.kind == VALUE_BOOL && v.i == o->via.boolean;
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
		return (uint64_t)v.i == o->via.u64 &&
		    v.kind ==
		    (o->via.u64 > INT64_MAX ? VALUE_BIG_UINT : VALUE_INT);
	case MSGPACK_OBJECT_NEGATIVE_INTEGER:
		return v.kind == VALUE_INT && v.i == o->via.i64;
	case MSGPACK_OBJECT_FLOAT32:
	case MSGPACK_OBJECT_FLOAT64:
		return v.kind == VALUE_REAL &&
		    judge_get_bits(v.f) == judge_get_bits(o->via.f64);
	case MSGPACK_OBJECT_STR:
		return v.kind == VALUE_TEXT && !v.ext &&
		    same_bytes(v.s, o->via.str.ptr, o->via.str.size);
	case MSGPACK_OBJECT_BIN:
		return v.kind == VALUE_BLOB &&
		    same_bytes(v.s, o->via.bin.ptr, o->via.bin.size);
	case MSGPACK_OBJECT_EXT:
		return agrees_ext(&v, o->via.ext);
	case MSGPACK_OBJECT_ARRAY:
		return agrees_array(cur, &v, o->via.array);
	case MSGPACK_OBJECT_MAP:
		return agrees_map(cur, &v, o->via.map);
	}
	return false;
}

bool
judge_agrees(struct span bytes)
{
	struct span cur = bytes, skipped = bytes;
	msgpack_unpacked result;
	size_t at = 0;
	bool same;

	msgpack_unpacked_init(&result);
	if (msgpack_unpack_next(&result, (const char *)bytes.p, bytes.n, &at) !=
	    MSGPACK_UNPACK_SUCCESS) {
		msgpack_unpacked_destroy(&result);
		return false;
	}
	same = agrees(&cur, &result.data) && bytes.n - cur.n == at;
	value_skip(&skipped);
	same = same && skipped.p == cur.p && skipped.n == cur.n;
	msgpack_unpacked_destroy(&result);
	return same;
}

/* --- Random values -------------------------------------------------------- */

/* splitmix64: https://prng.di.unimi.it/splitmix64.c */
static uint64_t
next(struct judge_random *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

uint32_t
judge_random_below(struct judge_random *r, uint32_t n)
{
	return (uint32_t)(next(r) % n);
}

static void
put_byte(struct buf *b, unsigned byte)
{
	uint8_t one = (uint8_t)byte;

	buf_put(b, &one, 1);
}

static void
put_big_endian(struct buf *b, uint64_t v, unsigned n)
{
	while (n-- > 0)
		put_byte(b, (unsigned)(v >> 8 * n) & 0xff);
}

static void
put_noise(struct judge_random *r, struct buf *b, uint32_t n)
{
	while (n-- > 0)
		put_byte(b, (unsigned)next(r) & 0xff);
}

/* The formats whose payload has a fixed size, all of it noise. */
static void
put_random_fixed(struct judge_random *r, struct buf *b)
{
	static const struct {
		uint8_t format, bytes;
	} rows[] = { { 0xc0, 0 }, { 0xc2, 0 }, { 0xc3, 0 }, { 0xca, 4 },
		{ 0xcb, 8 }, { 0xcc, 1 }, { 0xcd, 2 }, { 0xce, 4 }, { 0xcf, 8 },
		{ 0xd0, 1 }, { 0xd1, 2 }, { 0xd2, 4 }, { 0xd3, 8 }, { 0xd4, 2 },
		{ 0xd5, 3 }, { 0xd6, 5 }, { 0xd7, 9 }, { 0xd8, 17 } };
	uint32_t i = judge_random_below(r, sizeof(rows) / sizeof(rows[0]));

	put_byte(b, rows[i].format);
	put_noise(r, b, rows[i].bytes);
}

/* bin, ext and str with a length of 1, 2 or 4 bytes. */
static void
put_random_bytes(struct judge_random *r, struct buf *b)
{
	static const uint8_t formats[] = { 0xc4, 0xc7, 0xd9 };
	uint32_t kind = judge_random_below(r, 3);
	uint32_t width = judge_random_below(r, 3);
	uint32_t n = judge_random_below(r, width ? 300 : 256);

	put_byte(b, formats[kind] + width);
	put_big_endian(b, n, 1u << width);
	if (kind == 1)
		put_byte(b, judge_random_below(r, 2));
	put_noise(r, b, n);
}

static void
put_random_nested(struct judge_random *r, struct buf *b, unsigned depth)
{
	bool map = judge_random_below(r, 2);
	uint32_t width = judge_random_below(r, 3);
	uint32_t n = judge_random_below(r, 5);

	if (width == 0)
		put_byte(b, (map ? 0x80 : 0x90) + n);
	else
		put_byte(b, (map ? 0xdd : 0xdb) + width);
	if (width > 0)
		put_big_endian(b, n, 1u << width);
	for (uint32_t i = 0; i < (map ? 2 * n : n); i++)
		judge_put_random(r, b, depth - 1);
}

void
judge_put_random(struct judge_random *r, struct buf *b, unsigned depth)
{
	uint32_t n;

	switch (judge_random_below(r, depth > 0 ? 6 : 4)) {
	case 0:
		/* 0..127, or -32..-1 */
		put_byte(b, 0xe0 + judge_random_below(r, 160));
		break;
	case 1:
		n = judge_random_below(r, 32);
		put_byte(b, 0xa0 + n);
		put_noise(r, b, n);
		break;
	case 2:
		put_random_bytes(r, b);
		break;
	case 3:
		put_random_fixed(r, b);
		break;
	default:
		put_random_nested(r, b, depth);
		break;
	}
}
