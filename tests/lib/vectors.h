/* vectors.h - proto/vectors.json: bytes, and what they mean.
 *
 * PROTOCOL.md, "Vectors", describes the file.  Anything wrong with the file
 * itself ends the test program with a message.  Test programs run in the top
 * directory.  Any thread.
 */
#ifndef TESTS_LIB_VECTORS_H
#define TESTS_LIB_VECTORS_H

#include <jansson.h>

#include "proto/buf.h"

#define VECTORS_PATH "proto/vectors.json"

struct vector {
	char name[128];
	bool is_reply;
	bool encodes;         /* encoding the decoded form gives these bytes */
	struct buf bytes;     /* a frame */
	json_t *decoded;      /* borrowed; NULL when it is faulty */
	json_t *conversation; /* borrowed; NULL: it stands alone */
	int fault_code;       /* negative; 0 when there is none */
	uint64_t fault_key;   /* UINT64_MAX: no integer */
	bool has_fault_key;
};

struct vectors {
	json_t *root;
	struct vector *v; /* also those of the conversations */
	size_t n;
};

void vectors_open(struct vectors *vs);
void vectors_close(struct vectors *vs);

/* Give the vector of a name ("exec", "a_row/1"), or NULL. */
const struct vector *vectors_find(const struct vectors *vs, const char *name);

#endif
