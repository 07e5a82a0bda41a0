/* value.h - read and write single msgpack values as SQL values.
 *
 * Reading works on bytes that walk.h has passed and checks nothing again.
 * Writing appends to a buf (out of memory is sticky there).  How SQL values
 * look on the wire: PROTOCOL.md, "Values".  Any thread, its own data.
 */
#ifndef PROTO_VALUE_H
#define PROTO_VALUE_H

#include "proto/buf.h"

/* The ext type that carries TEXT which is not valid UTF-8. */
#define VALUE_EXT_TEXT 1

enum value_kind {
	VALUE_NULL,
	VALUE_BOOL,     /* i is 0 or 1 */
	VALUE_INT,      /* i */
	VALUE_BIG_UINT, /* above INT64_MAX: i holds the low bits, no SQL value */
	VALUE_REAL,     /* f */
	VALUE_TEXT,     /* s: str, or ext VALUE_EXT_TEXT */
	VALUE_BLOB,     /* s: bin */
	VALUE_ARRAY,    /* count elements follow */
	VALUE_MAP,      /* count pairs follow */
	VALUE_EXT,      /* any other ext: no SQL value */
};

struct value {
	enum value_kind kind;
	uint32_t count;
	bool ext; /* TEXT that came as ext: it need not be UTF-8, a str must */
	int64_t i;
	double f;
	struct span s; /* borrowed from the bytes that were read */
};

/* The formats C0 to DF, whose byte has been stepped over. */
void value_read_long(struct span *cur, uint8_t format, struct value *ret);

/* Read the token at the start of *cur and step over it; of an array or a map
 * only its head is stepped over.  *cur must not be empty.
 *
 * Here, to be inlined: a large result is read by nothing else. */
static inline void
value_read(struct span *cur, struct value *ret)
{
	uint8_t b = *cur->p++;

	cur->n--;
	*ret = (struct value){ .kind = VALUE_NULL };
	if (b <= 0x7f || b >= 0xe0) {
		ret->kind = VALUE_INT;
		ret->i = b <= 0x7f ? b : (int64_t)b - 0x100;
	} else if (b >= 0xc0) {
		value_read_long(cur, b, ret);
	} else if (b >= 0xa0) {
		ret->kind = VALUE_TEXT;
		ret->ext = false;
		ret->s.p = cur->p;
		ret->s.n = b & 0x1f;
		cur->p += b & 0x1f;
		cur->n -= b & 0x1f;
	} else {
		ret->kind = b >= 0x90 ? VALUE_ARRAY : VALUE_MAP;
		ret->count = b & 0x0f;
	}
}

/* Step over one whole value, with all it holds. */
void value_skip(struct span *cur);

/* Say whether n bytes are valid UTF-8 (RFC 3629: no surrogates, no overlong
 * forms, nothing above U+10FFFF).  NUL bytes are valid. */
bool value_is_utf8(const uint8_t *p, size_t n);

void value_put_nil(struct buf *b);
void value_put_bool(struct buf *b, bool v);
void value_put_int(struct buf *b, int64_t v);
void value_put_uint(struct buf *b, uint64_t v);
void value_put_real(struct buf *b, double v);
/* TEXT of n bytes: str, or ext VALUE_EXT_TEXT when it is not UTF-8. */
void value_put_text(struct buf *b, const void *p, size_t n);
/* A str without looking at its bytes: for our own names and messages. */
void value_put_str(struct buf *b, const void *p, size_t n);
/* A str whose bytes that are not UTF-8 are replaced by '?'. */
void value_put_message(struct buf *b, const void *p, size_t n);
void value_put_blob(struct buf *b, const void *p, size_t n);
void value_put_array(struct buf *b, uint32_t n);
void value_put_map(struct buf *b, uint32_t n);

/* Append a three-byte array head whose count is not known yet, and fill it in
 * later: at is the b->n from before value_put_open_array. */
void value_put_open_array(struct buf *b);
void value_close_array(struct buf *b, size_t at, uint16_t n);

#endif
