/* vectors.c - the vectors file. */
#include "tests/lib/vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/hex.h"

static void __attribute__((noreturn)) die(const char *name, const char *text)
{
	fprintf(stderr, "%s: %s: %s\n", VECTORS_PATH, name, text);
	exit(2);
}

static int
find_code(const char *name)
{
#define ERR(symbol, number, class, outcome, text) \
	if (strcmp(name, #symbol) == 0)           \
		return number;
#include "proto/errors.def"
#undef ERR
	die(name, "is no error");
}

static const char *
get_string(json_t *entry, const char *name, const char *key)
{
	const char *s = json_string_value(json_object_get(entry, key));

	if (!s)
		die(name, key);
	return s;
}

static void
load_fault(struct vector *v, json_t *fault)
{
	json_t *key = json_object_get(fault, "key");

	v->fault_code = -find_code(get_string(fault, v->name, "code"));
	v->has_fault_key = key != NULL;
	v->fault_key = json_is_integer(key) ? (uint64_t)json_integer_value(key)
					    : UINT64_MAX;
}

static void
load_vector(struct vectors *vs, json_t *entry, const char *name)
{
	struct vector *v = &vs->v[vs->n++];
	json_t *fault = json_object_get(entry, "fault");

	snprintf(v->name, sizeof(v->name), "%s", name);
	v->is_reply = strcmp(get_string(entry, name, "direction"), "reply") ==
	    0;
	buf_init(&v->bytes);
	if (hex_parse(get_string(entry, name, "hex"), &v->bytes) < 0)
		die(name, "hex is wrong");
	v->decoded = json_object_get(entry, "decoded");
	v->encodes = v->decoded &&
	    !json_is_false(json_object_get(entry, "encode"));
	if (fault)
		load_fault(v, fault);
	else if (!v->decoded)
		die(name, "has neither a decoded form nor a fault");
}

static void
load_conversation(struct vectors *vs, json_t *entry)
{
	const char *name = get_string(entry, "conversation", "name");
	json_t *frames = json_object_get(entry, "frames");

	for (size_t i = 0; i < json_array_size(frames); i++) {
		char full[128];

		snprintf(full, sizeof(full), "%s/%zu", name, i);
		load_vector(vs, json_array_get(frames, i), full);
		vs->v[vs->n - 1].conversation = entry;
	}
}

void
vectors_open(struct vectors *vs)
{
	json_error_t error;
	json_t *messages, *conversations;
	size_t most;

	*vs = (struct vectors){ 0 };
	vs->root = json_load_file(VECTORS_PATH, JSON_ALLOW_NUL, &error);
	if (!vs->root)
		die("not loaded", error.text);
	messages = json_object_get(vs->root, "messages");
	conversations = json_object_get(vs->root, "conversations");
	most = json_array_size(messages);
	for (size_t i = 0; i < json_array_size(conversations); i++)
		most += json_array_size(json_object_get(
		    json_array_get(conversations, i), "frames"));
	vs->v = calloc(most, sizeof(*vs->v));
	if (!vs->v)
		die("vectors", "out of memory");
	for (size_t i = 0; i < json_array_size(messages); i++) {
		json_t *entry = json_array_get(messages, i);

		load_vector(vs, entry, get_string(entry, "message", "name"));
	}
	for (size_t i = 0; i < json_array_size(conversations); i++)
		load_conversation(vs, json_array_get(conversations, i));
}

void
vectors_close(struct vectors *vs)
{
	for (size_t i = 0; i < vs->n; i++)
		buf_fini(&vs->v[i].bytes);
	free(vs->v);
	json_decref(vs->root);
}

const struct vector *
vectors_find(const struct vectors *vs, const char *name)
{
	for (size_t i = 0; i < vs->n; i++)
		if (strcmp(vs->v[i].name, name) == 0)
			return &vs->v[i];
	return NULL;
}
