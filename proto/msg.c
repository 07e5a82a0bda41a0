/* msg.c - the codec, driven by messages.def. */
#include "proto/msg.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "proto/error.h"
#include "proto/frame.h"
#include "proto/value.h"

enum field_kind { KIND_U, KIND_I, KIND_B, KIND_S, KIND_A, KIND_M, KIND_V };

struct field {
	const char *name;
	enum field_kind kind;
	size_t offset;
};

static const struct field head_fields[MSG_KEY_MUST] = {
#define HEAD(name, key, kind) \
	[key] = { #name, KIND_##kind, offsetof(struct msg_head, name) },
#include "proto/messages.def"
#undef HEAD
};

static const struct field ask_fields[MSG_KEY_MUST] = {
#define ASK(name, key, kind) \
	[key] = { #name, KIND_##kind, offsetof(struct msg_ask, name) },
#include "proto/messages.def"
#undef ASK
};

static const struct field tell_fields[MSG_KEY_MUST] = {
#define TELL(name, key, kind) \
	[key] = { #name, KIND_##kind, offsetof(struct msg_tell, name) },
#include "proto/messages.def"
#undef TELL
};

static const char *const wants[] = {
	[KIND_U] = "an integer from 0 to 2^63-1",
	[KIND_I] = "an integer of 64 bits",
	[KIND_B] = "true or false",
	[KIND_S] = "a UTF-8 string without NUL",
	[KIND_A] = "an array",
	[KIND_M] = "a map",
	[KIND_V] = "an array or a map",
};

static int
fail(struct msg_fault *ret_fault, int code, uint64_t key,
    const struct field *field)
{
	*ret_fault = (struct msg_fault){ .code = code, .key = key };
	if (field) {
		ret_fault->name = field->name;
		ret_fault->want = wants[field->kind];
	}
	return -code;
}

/* A str is SQL, a name or a message: C strings, sooner or later. */
static int
store_str(const struct value *v, struct span *ret)
{
	if (v->kind != VALUE_TEXT || v->ext || !value_is_utf8(v->s.p, v->s.n))
		return -ERR_FIELD_TYPE;
	if (v->s.n > 0 && memchr(v->s.p, 0, v->s.n))
		return -ERR_FIELD_RANGE;
	*ret = v->s;
	return 0;
}

/* Store one value whose whole bytes are raw. */
static int
store(
    const struct field *field, const struct value *v, struct span raw, void *to)
{
	switch (field->kind) {
	case KIND_U:
		if (v->kind == VALUE_BIG_UINT)
			return -ERR_FIELD_RANGE;
		if (v->kind != VALUE_INT)
			return -ERR_FIELD_TYPE;
		if (v->i < 0)
			return -ERR_FIELD_RANGE;
		*(uint64_t *)to = (uint64_t)v->i;
		return 0;
	case KIND_I:
		if (v->kind == VALUE_BIG_UINT)
			return -ERR_FIELD_RANGE;
		if (v->kind != VALUE_INT)
			return -ERR_FIELD_TYPE;
		*(int64_t *)to = v->i;
		return 0;
	case KIND_B:
		if (v->kind != VALUE_BOOL)
			return -ERR_FIELD_TYPE;
		*(bool *)to = v->i != 0;
		return 0;
	case KIND_S:
		return store_str(v, to);
	case KIND_A:
	case KIND_M:
	case KIND_V:
		if ((v->kind != VALUE_ARRAY || field->kind == KIND_M) &&
		    (v->kind != VALUE_MAP || field->kind == KIND_A))
			return -ERR_FIELD_TYPE;
		*(struct span *)to = raw;
		return 0;
	}
	return -ERR_FIELD_TYPE;
}

/* Read a key; -1 when it is none.  All of them fit in one byte. */
static int
read_key(struct span *cur)
{
	struct value key;

	if (*cur->p < MSG_KEY_END) {
		cur->n--;
		return *cur->p++;
	}
	value_read(cur, &key);
	if (key.kind != VALUE_INT || key.i < 0 || key.i >= MSG_KEY_END)
		return -1;
	return (int)key.i;
}

/* Step over an array or a map.  The last one in a map ends where that does, and
 * may be long. */
static void
skip(struct span *cur, bool last)
{
	if (last)
		*cur = (struct span){ cur->p + cur->n, 0 };
	else
		value_skip(cur);
}

/* Read one pair.  has is the struct's, and begins it. */
static int
read_pair(struct span *cur, const struct field *fields, bool last,
    uint64_t *has, struct msg_fault *ret_fault)
{
	int key = read_key(cur);
	const struct field *field;
	struct value v;
	struct span raw;
	int rc;

	if (key < 0)
		return fail(ret_fault, ERR_FIELD_TYPE, UINT64_MAX, NULL);
	raw = *cur;
	value_read(cur, &v);
	if (v.kind == VALUE_ARRAY || v.kind == VALUE_MAP) {
		*cur = raw;
		skip(cur, last);
	}
	raw.n -= cur->n;
	if (key >= MSG_KEY_MUST)
		return fail(ret_fault, ERR_FIELD_UNKNOWN, (uint64_t)key, NULL);
	field = &fields[key];
	if (!field->name)
		return 0;
	if (*has >> key & 1)
		return fail(ret_fault, ERR_FIELD_RANGE, (uint64_t)key, field);
	rc = store(field, &v, raw, (char *)has + field->offset);
	if (rc < 0)
		return fail(ret_fault, -rc, (uint64_t)key, field);
	*has |= (uint64_t)1 << key;
	return 0;
}

static int
read_map(struct span map, const struct field *fields, uint64_t *has,
    struct msg_fault *ret_fault)
{
	struct value head;

	value_read(&map, &head);
	assert(head.kind == VALUE_MAP);
	for (uint32_t i = 0; i < head.count; i++) {
		int rc = read_pair(
		    &map, fields, i + 1 == head.count, has, ret_fault);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* In each of the structs `has` comes first, so its address is the base. */
_Static_assert(offsetof(struct msg_head, has) == 0, "has first");
_Static_assert(offsetof(struct msg_ask, has) == 0, "has first");
_Static_assert(offsetof(struct msg_tell, has) == 0, "has first");

int
msg_read_head(
    struct span map, struct msg_head *ret, struct msg_fault *ret_fault)
{
	*ret = (struct msg_head){ 0 };
	return read_map(map, head_fields, &ret->has, ret_fault);
}

int
msg_read_ask(struct span map, struct msg_ask *ret, struct msg_fault *ret_fault)
{
	*ret = (struct msg_ask){ 0 };
	return read_map(map, ask_fields, &ret->has, ret_fault);
}

int
msg_read_tell(
    struct span map, struct msg_tell *ret, struct msg_fault *ret_fault)
{
	*ret = (struct msg_tell){ 0 };
	return read_map(map, tell_fields, &ret->has, ret_fault);
}

void
msg_describe_fault(const struct msg_fault *fault, char *out, size_t n)
{
	unsigned long long key = fault->key;
	const char *name = fault->name ? fault->name : "?";

	if (fault->key == UINT64_MAX)
		snprintf(out, n, "a field key must be an integer from 0 to %d",
		    MSG_KEY_END - 1);
	else if (fault->code == ERR_FIELD_UNKNOWN)
		snprintf(out, n,
		    "field %llu is not known here, and fields from %d on "
		    "must be understood",
		    key, MSG_KEY_MUST);
	else if (fault->code == ERR_FIELD_MISSING)
		snprintf(out, n, "field %llu (%s) is required", key, name);
	else
		snprintf(out, n, "field %llu (%s) must be %s, given once", key,
		    name, fault->want ? fault->want : "valid");
}

const char *
msg_get_type_name(uint64_t type)
{
	switch (type) {
#define REQUEST(name, type) \
	case type:          \
		return #name;
#define REPLY(name, type) REQUEST(name, type)
#include "proto/messages.def"
#undef REQUEST
#undef REPLY
	default:
		return NULL;
	}
}

void
msg_open_map(struct msg_out *m)
{
	static const uint8_t empty_map = 0x80;

	m->map_at = m->b->n;
	m->keys_n = 0;
	buf_put(m->b, &empty_map, 1);
}

void
msg_close_map(struct msg_out *m)
{
	assert(m->keys_n <= 15);
	if (!buf_failed(m->b))
		m->b->p[m->map_at] = (uint8_t)(0x80 | m->keys_n);
}

void
msg_begin(struct msg_out *m, struct buf *b, enum msg_type type, uint64_t id,
    uint64_t stream)
{
	static const uint8_t prefix[FRAME_PREFIX_BYTES] = { FRAME_MAGIC };

	m->b = b;
	m->frame_at = b->n;
	m->failed_before = b->failed;
	buf_put(b, prefix, sizeof(prefix));
	msg_open_map(m);
	msg_put_uint(m, HEAD_type, (uint64_t)type);
	msg_put_uint(m, HEAD_id, id);
	if (stream)
		msg_put_uint(m, HEAD_stream, stream);
}

void
msg_open_body(struct msg_out *m)
{
	msg_close_map(m);
	msg_open_map(m);
}

void
msg_begin_body(struct msg_out *m, struct buf *b, enum msg_type type,
    uint64_t id, uint64_t stream)
{
	msg_begin(m, b, type, id, stream);
	msg_open_body(m);
}

void
msg_key(struct msg_out *m, unsigned key)
{
	uint8_t byte = (uint8_t)key;

	assert(key < MSG_KEY_END);
	buf_put(m->b, &byte, 1);
	m->keys_n++;
}

void
msg_put_uint(struct msg_out *m, unsigned key, uint64_t v)
{
	msg_key(m, key);
	value_put_uint(m->b, v);
}

void
msg_put_int(struct msg_out *m, unsigned key, int64_t v)
{
	msg_key(m, key);
	value_put_int(m->b, v);
}

void
msg_put_str(struct msg_out *m, unsigned key, const char *s)
{
	msg_key(m, key);
	value_put_text(m->b, s, strlen(s));
}

void
msg_put_message(struct msg_out *m, unsigned key, const char *s)
{
	msg_key(m, key);
	value_put_message(m->b, s, strnlen(s, MSG_MESSAGE_BYTES));
}

void
msg_set_type(struct msg_out *m, enum msg_type type)
{
	/* prefix, map head, key 0, then the type: a positive fixint */
	if (!buf_failed(m->b))
		m->b->p[m->frame_at + FRAME_PREFIX_BYTES + 2] = (uint8_t)type;
}

void
msg_abandon(struct msg_out *m)
{
	if (m->b->n > m->frame_at)
		buf_cut(m->b, m->frame_at);
	m->b->failed = m->failed_before;
}

int
msg_end(struct msg_out *m, size_t max_bytes)
{
	size_t n;

	msg_close_map(m);
	if (buf_failed(m->b)) {
		msg_abandon(m);
		return -ERR_NO_MEMORY;
	}
	n = m->b->n - m->frame_at - FRAME_PREFIX_BYTES;
	if (n > max_bytes || n > FRAME_HARD_MAX_BYTES) {
		msg_abandon(m);
		return -ERR_FRAME_TOO_LONG;
	}
	frame_put_prefix(m->b->p + m->frame_at, (uint32_t)n);
	return 0;
}
