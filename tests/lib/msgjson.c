/* msgjson.c - messages as JSON.
 *
 * Decoding uses msg_read_*, encoding msg_put_*: what is tested is the codec
 * that daemon and client use.  Names and numbers come from messages.def. */
#include "tests/lib/msgjson.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"
#include "proto/value.h"
#include "proto/walk.h"
#include "tests/lib/hex.h"

struct named {
	const char *name;
	unsigned key;
	const char *kind; /* as messages.def has it */
};

/* clang-format off */
static const struct named head_names[] = {
#define HEAD(name, key, kind) { #name, (key), #kind },
#include "proto/messages.def"
#undef HEAD
	{ NULL, 0, NULL },
};

static const struct named ask_names[] = {
#define ASK(name, key, kind) { #name, (key), #kind },
#include "proto/messages.def"
#undef ASK
	{ NULL, 0, NULL },
};

static const struct named tell_names[] = {
#define TELL(name, key, kind) { #name, (key), #kind },
#include "proto/messages.def"
#undef TELL
	{ NULL, 0, NULL },
};

static const struct named types[] = {
#define REQUEST(name, type) { #name, (type), "U" },
#define REPLY(name, type)   { #name, (type), "U" },
#include "proto/messages.def"
#undef REQUEST
#undef REPLY
	{ NULL, 0, NULL },
};
/* clang-format on */

static void __attribute__((noreturn)) die(const char *name, const char *text)
{
	fprintf(stderr, "msgjson: %s %s\n", name, text);
	exit(2);
}

static const struct named *
find_name(const struct named *table, const char *name)
{
	for (; table->name; table++)
		if (strcmp(table->name, name) == 0)
			return table;
	die(name, "is in no table");
}

/* --- Values --------------------------------------------------------------- */

static json_t *
tag_hex(const char *tag, struct span s)
{
	char *text = hex_format(s.p, s.n);
	json_t *j = json_pack("{s:s}", tag, text);

	free(text);
	return j;
}

static json_t *
real_to_json(double f)
{
	uint8_t bytes[8];
	uint64_t bits;

	if (isfinite(f))
		return json_real(f);
	memcpy(&bits, &f, sizeof(bits));
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(bits >> (56 - 8 * i));
	return tag_hex("real hex", (struct span){ bytes, sizeof(bytes) });
}

static json_t *value_to_json(struct span *cur);

static json_t *
array_to_json(struct span *cur, uint32_t n)
{
	json_t *j = json_array();

	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(j, value_to_json(cur));
	return j;
}

/* The keys of a map that is a value (params) are strings. */
static json_t *
map_to_json(struct span *cur, uint32_t n)
{
	json_t *j = json_object();

	for (uint32_t i = 0; i < n; i++) {
		struct value key;
		char name[256];

		value_read(cur, &key);
		if (key.kind != VALUE_TEXT)
			die("map", "has a key that is no string");
		snprintf(name, sizeof(name), "%.*s", (int)key.s.n,
		    (const char *)key.s.p);
		json_object_set_new(j, name, value_to_json(cur));
	}
	return j;
}

static json_t *
value_to_json(struct span *cur)
{
	struct value v;

	value_read(cur, &v);
	switch (v.kind) {
	case VALUE_NULL:
		return json_null();
	case VALUE_BOOL:
		return json_boolean(v.i);
	case VALUE_INT:
		return json_integer(v.i);
	case VALUE_REAL:
		return real_to_json(v.f);
	case VALUE_TEXT:
		if (v.ext)
			return tag_hex("text hex", v.s);
		return json_stringn((const char *)v.s.p, v.s.n);
	case VALUE_BLOB:
		return tag_hex("bin hex", v.s);
	case VALUE_ARRAY:
		return array_to_json(cur, v.count);
	case VALUE_MAP:
		return map_to_json(cur, v.count);
	case VALUE_BIG_UINT:
	case VALUE_EXT:
		break;
	}
	die("ext", "has no JSON form");
}

static void
put_tagged(const char *tag, const char *text, struct buf *b)
{
	struct buf bytes;
	double f;

	buf_init(&bytes);
	if (!text || hex_parse(text, &bytes) < 0)
		die(tag, "is not hex");
	if (strcmp(tag, "bin hex") == 0) {
		value_put_blob(b, bytes.p, bytes.n);
	} else if (strcmp(tag, "text hex") == 0) {
		value_put_text(b, bytes.p, bytes.n);
	} else {
		uint64_t bits = 0;

		for (size_t i = 0; i < bytes.n; i++)
			bits = bits << 8 | bytes.p[i];
		memcpy(&f, &bits, sizeof(f));
		value_put_real(b, f);
	}
	buf_fini(&bytes);
}

static void put_value(json_t *j, struct buf *b);

static void
put_object(json_t *object, struct buf *b)
{
	void *it = json_object_iter(object);
	const char *tag = it ? json_object_iter_key(it) : "";

	if (strcmp(tag, "bin hex") == 0 || strcmp(tag, "text hex") == 0 ||
	    strcmp(tag, "real hex") == 0) {
		put_tagged(
		    tag, json_string_value(json_object_iter_value(it)), b);
		return;
	}
	value_put_map(b, (uint32_t)json_object_size(object));
	for (; it; it = json_object_iter_next(object, it)) {
		const char *key = json_object_iter_key(it);

		value_put_text(b, key, strlen(key));
		put_value(json_object_iter_value(it), b);
	}
}

static void
put_value(json_t *j, struct buf *b)
{
	switch (json_typeof(j)) {
	case JSON_NULL:
		value_put_nil(b);
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		value_put_bool(b, json_is_true(j));
		break;
	case JSON_INTEGER:
		value_put_int(b, json_integer_value(j));
		break;
	case JSON_REAL:
		value_put_real(b, json_real_value(j));
		break;
	case JSON_STRING:
		value_put_text(b, json_string_value(j), json_string_length(j));
		break;
	case JSON_ARRAY:
		value_put_array(b, (uint32_t)json_array_size(j));
		for (size_t i = 0; i < json_array_size(j); i++)
			put_value(json_array_get(j, i), b);
		break;
	case JSON_OBJECT:
		put_object(j, b);
		break;
	}
}

/* --- Reading messages ----------------------------------------------------- */

struct reader {
	bool is_reply;
	struct msg_fault *fault;
};

static int fields_to_json(struct reader *r, struct span map, json_t **ret);

static json_t *
uint_to_json(uint64_t v)
{
	return json_integer((json_int_t)v);
}

/* An array or map of the body: steps and error hold maps of the same fields. */
static int
raw_to_json(struct reader *r, const char *name, struct span raw, json_t **ret)
{
	struct span cur = raw;
	struct value head;

	if (strcmp(name, "error") == 0)
		return fields_to_json(r, raw, ret);
	if (strcmp(name, "steps") != 0) {
		*ret = value_to_json(&cur);
		return 0;
	}
	value_read(&cur, &head);
	*ret = json_array();
	for (uint32_t i = 0; i < head.count; i++) {
		struct span step = cur;
		json_t *j = json_null();
		int rc = 0;

		value_skip(&cur);
		step.n -= cur.n;
		if (step.p[0] != 0xc0)
			rc = fields_to_json(r, step, &j);
		if (rc < 0) {
			json_decref(*ret);
			return rc;
		}
		json_array_append_new(*ret, j);
	}
	return 0;
}

#define ADD_U(r, name, v, to) \
	(json_object_set_new((to), (name), uint_to_json(v)))
#define ADD_I(r, name, v, to) \
	(json_object_set_new((to), (name), json_integer(v)))
#define ADD_B(r, name, v, to) \
	(json_object_set_new((to), (name), json_boolean(v)))
#define ADD_S(r, name, v, to) \
	(json_object_set_new( \
	    (to), (name), json_stringn((const char *)(v).p, (v).n)))
#define ADD_A(r, name, v, to) add_raw((r), (name), (v), (to))
#define ADD_M(r, name, v, to) add_raw((r), (name), (v), (to))
#define ADD_V(r, name, v, to) add_raw((r), (name), (v), (to))

static int
add_raw(struct reader *r, const char *name, struct span raw, json_t *to)
{
	json_t *j;
	int rc = raw_to_json(r, name, raw, &j);

	return rc < 0 ? rc : json_object_set_new(to, name, j);
}

static int
ask_to_json(struct reader *r, struct span map, json_t *to)
{
	struct msg_ask ask;
	int rc = msg_read_ask(map, &ask, r->fault);

	if (rc < 0)
		return rc;
#define ASK(name, key, kind)               \
	if (rc == 0 && MSG_HAS(&ask, key)) \
		rc = ADD_##kind(r, #name, ask.name, to);
#include "proto/messages.def"
#undef ASK
	return rc;
}

static int
tell_to_json(struct reader *r, struct span map, json_t *to)
{
	struct msg_tell tell;
	int rc = msg_read_tell(map, &tell, r->fault);

	if (rc < 0)
		return rc;
#define TELL(name, key, kind)               \
	if (rc == 0 && MSG_HAS(&tell, key)) \
		rc = ADD_##kind(r, #name, tell.name, to);
#include "proto/messages.def"
#undef TELL
	return rc;
}

static int
fields_to_json(struct reader *r, struct span map, json_t **ret)
{
	json_t *to = json_object();
	int rc = r->is_reply ? tell_to_json(r, map, to)
			     : ask_to_json(r, map, to);

	if (rc < 0)
		json_decref(to);
	else
		*ret = to;
	return rc;
}

static int
head_to_json(struct reader *r, struct span map, json_t **ret)
{
	struct msg_head head;
	json_t *to = json_object();
	const char *type;
	int rc = msg_read_head(map, &head, r->fault);

	if (rc < 0) {
		json_decref(to);
		return rc;
	}
#define HEAD(name, key, kind)    \
	if (MSG_HAS(&head, key)) \
		ADD_##kind(r, #name, head.name, to);
#include "proto/messages.def"
#undef HEAD
	type = msg_get_type_name(head.type);
	if (type && MSG_HAS(&head, HEAD_type))
		json_object_set_new(to, "type", json_string(type));
	*ret = to;
	return 0;
}

int
msgjson_decode(
    struct span frame, bool is_reply, json_t **ret, struct msg_fault *ret_fault)
{
	struct reader r = { .is_reply = is_reply, .fault = ret_fault };
	struct span head, body;
	json_t *head_json, *body_json;
	size_t n;
	int rc;

	rc = frame_peek(frame.p, frame.n, FRAME_DEFAULT_MAX_BYTES, &n);
	if (rc != 0)
		return rc;
	rc = walk_frame((struct span){ frame.p + FRAME_PREFIX_BYTES,
			    n - FRAME_PREFIX_BYTES },
	    &head, &body);
	if (rc < 0)
		return rc;
	rc = head_to_json(&r, head, &head_json);
	if (rc < 0)
		return rc;
	rc = fields_to_json(&r, body, &body_json);
	if (rc < 0) {
		json_decref(head_json);
		return rc;
	}
	*ret = json_pack("{s:o, s:o}", "head", head_json, "body", body_json);
	return 0;
}

/* --- Writing messages ----------------------------------------------------- */

static void
put_fields(struct msg_out *m, json_t *form, const struct named *names);

static void
put_nested(struct buf *b, json_t *form, const struct named *names)
{
	struct msg_out m = { .b = b };

	if (json_is_null(form)) {
		value_put_nil(b);
		return;
	}
	msg_open_map(&m);
	put_fields(&m, form, names);
	msg_close_map(&m);
}

static void
put_field(struct msg_out *m, const struct named *field, json_t *v,
    const struct named *names)
{
	if (strcmp(field->name, "steps") == 0) {
		msg_key(m, field->key);
		value_put_array(m->b, (uint32_t)json_array_size(v));
		for (size_t i = 0; i < json_array_size(v); i++)
			put_nested(m->b, json_array_get(v, i), names);
	} else if (strcmp(field->name, "error") == 0) {
		msg_key(m, field->key);
		put_nested(m->b, v, names);
	} else if (*field->kind == 'U') {
		msg_put_uint(m, field->key, (uint64_t)json_integer_value(v));
	} else if (*field->kind == 'I') {
		msg_put_int(m, field->key, json_integer_value(v));
	} else if (*field->kind == 'S') {
		msg_put_str(m, field->key, json_string_value(v));
	} else {
		msg_key(m, field->key);
		put_value(v, m->b);
	}
}

static void
put_fields(struct msg_out *m, json_t *form, const struct named *names)
{
	json_t *object = form;

	for (void *it = json_object_iter(object); it;
	     it = json_object_iter_next(object, it))
		put_field(m, find_name(names, json_object_iter_key(it)),
		    json_object_iter_value(it), names);
}

/* msg_begin writes type, id and stream; what else is in the head follows. */
static void
put_rest_of_head(struct msg_out *m, json_t *head)
{
	json_t *object = head;

	for (void *it = json_object_iter(object); it;
	     it = json_object_iter_next(object, it)) {
		const struct named *field = find_name(
		    head_names, json_object_iter_key(it));

		if (field->key > HEAD_stream)
			put_field(
			    m, field, json_object_iter_value(it), head_names);
	}
}

/* A number stands for a type that has no name. */
static enum msg_type
get_type(json_t *type)
{
	if (json_is_integer(type))
		return (enum msg_type)json_integer_value(type);
	if (!json_is_string(type))
		die("head", "has no type");
	return (enum msg_type)find_name(types, json_string_value(type))->key;
}

void
msgjson_encode(json_t *form, bool is_reply, struct buf *b)
{
	json_t *head = json_object_get(form, "head");
	json_t *type = json_object_get(head, "type");
	json_int_t id = json_integer_value(json_object_get(head, "id"));
	json_int_t stream = json_integer_value(json_object_get(head, "stream"));
	struct msg_out m;

	if (!type)
		die("head", "type is no name");
	msg_begin(&m, b, get_type(type), (uint64_t)id, (uint64_t)stream);
	put_rest_of_head(&m, head);
	msg_open_body(&m);
	put_fields(&m, json_object_get(form, "body"),
	    is_reply ? tell_names : ask_names);
	if (msg_end(&m, FRAME_DEFAULT_MAX_BYTES) < 0)
		die("frame", "cannot be encoded");
}
