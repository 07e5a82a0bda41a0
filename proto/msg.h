/* msg.h - messages: two maps with integer keys, read into structs and written
 * key by key.
 *
 * The fields come from messages.def.  Reading borrows from the bytes that were
 * read (walked before, walk.h); writing appends one frame to a buf.  Any
 * thread, its own data.
 */
#ifndef PROTO_MSG_H
#define PROTO_MSG_H

#include "proto/buf.h"

#define MSG_VERSION 1

/* Keys from here on must be understood by whoever reads them. */
#define MSG_KEY_MUST 64
#define MSG_KEY_END  128

/* The longest message of ERROR and GOAWAY. */
#define MSG_MESSAGE_BYTES 4096

/* HELLO feature bits. */
#define MSG_FEATURE_DECLTYPES 1 /* results carry declared column types */
#define MSG_FEATURES_ALL      MSG_FEATURE_DECLTYPES

enum msg_type {
#define REQUEST(name, type) TYPE_##name = (type),
#define REPLY(name, type)   TYPE_##name = (type),
#include "proto/messages.def"
#undef REQUEST
#undef REPLY
};

enum msg_tx_mode {
	TX_MODE_DEFERRED = 0,
	TX_MODE_IMMEDIATE = 1,
	TX_MODE_EXCLUSIVE = 2,
	TX_MODE_READ = 3,
};

/* State of the stream's transaction, in every reply. */
enum msg_tx_state {
	TX_STATE_NONE = 0,    /* autocommit */
	TX_STATE_OPEN = 1,    /* begun, nothing taken yet */
	TX_STATE_READ = 2,    /* holds a snapshot */
	TX_STATE_WRITE = 3,   /* holds the writer */
	TX_STATE_EXPIRED = 4, /* ended by the daemon, not yet by the client */
};

/* What DESCRIBE and PREPARE say of a statement. */
enum msg_kind {
	KIND_EMPTY = 0,       /* nothing but white space and comments */
	KIND_READ = 1,        /* changes nothing */
	KIND_WRITE = 2,       /* INSERT, UPDATE, DELETE, REPLACE */
	KIND_SCHEMA = 3,      /* DDL, REINDEX, ANALYZE, PRAGMAs that write */
	KIND_TX = 4,          /* BEGIN, COMMIT, SAVEPOINT, ... */
	KIND_MAINTENANCE = 5, /* VACUUM: runs outside any transaction */
};

/* A BATCH step's condition: an array whose first element is one of these. */
enum msg_cond {
	COND_OK = 0,    /* [0, step]: that step ran and succeeded */
	COND_ERROR = 1, /* [1, step]: that step ran and failed */
	COND_NOT = 2,   /* [2, condition] */
	COND_AND = 3,   /* [3, condition, ...] */
	COND_OR = 4,    /* [4, condition, ...] */
};

/* Keys and decoded forms.  X_has is a bit for each field that was there. */
#define U uint64_t
#define I int64_t
#define B bool
#define S struct span
#define A struct span
#define M struct span
#define V struct span

enum msg_head_key {
#define HEAD(name, key, kind) HEAD_##name = (key),
#include "proto/messages.def"
#undef HEAD
};

enum msg_ask_key {
#define ASK(name, key, kind) ASK_##name = (key),
#include "proto/messages.def"
#undef ASK
};

enum msg_tell_key {
#define TELL(name, key, kind) TELL_##name = (key),
#include "proto/messages.def"
#undef TELL
};

struct msg_head {
	uint64_t has; /* bit n: key n was there */
#define HEAD(name, key, kind) kind name;
#include "proto/messages.def"
#undef HEAD
};

struct msg_ask {
	uint64_t has;
#define ASK(name, key, kind) kind name;
#include "proto/messages.def"
#undef ASK
};

struct msg_tell {
	uint64_t has;
#define TELL(name, key, kind) kind name;
#include "proto/messages.def"
#undef TELL
};

#undef U
#undef I
#undef B
#undef S
#undef A
#undef M
#undef V

#define MSG_HAS(msg, key) (((msg)->has >> (key)) & 1)

/* Why a map could not be read. */
struct msg_fault {
	int code;         /* positive, errors.def */
	uint64_t key;     /* the key in question; UINT64_MAX: not an integer */
	const char *name; /* its name, NULL when unknown */
	const char *want; /* what it should have been, NULL when unknown */
};

/* Read one map into a struct.  map: walked bytes, one map and nothing more.
 * Absent fields are zero.  Spans of kind S are the str's bytes, which are UTF-8
 * without NUL; those of kind A, M and V are raw bytes, for value_read.
 *
 * Errors, with *ret_fault filled in (else untouched): -ERR_FIELD_TYPE (a value
 * of another kind, a str that is not UTF-8, or a key that is no integer from 0
 * to 127), -ERR_FIELD_RANGE (unsigned over INT64_MAX or below 0, a str with a
 * NUL, or a key given twice), -ERR_FIELD_UNKNOWN (unknown key from 64 on).
 * After an error *ret holds the fields before the faulty one. */
int msg_read_head(
    struct span map, struct msg_head *ret, struct msg_fault *ret_fault);
int
msg_read_ask(struct span map, struct msg_ask *ret, struct msg_fault *ret_fault);
int msg_read_tell(
    struct span map, struct msg_tell *ret, struct msg_fault *ret_fault);

/* Put a fault into words, NUL-terminated, e.g. "field 2 (params) must be an
 * array or a map". */
void msg_describe_fault(const struct msg_fault *fault, char *out, size_t n);

/* Give the name of a message type ("EXEC"), or NULL. */
const char *msg_get_type_name(uint64_t type);

/* A frame being written at the end of a buffer.  Order: msg_begin, head keys,
 * msg_open_body, body keys, msg_end.  At most 15 keys in a map. */
struct msg_out {
	struct buf *b;
	size_t frame_at;    /* where the frame begins */
	size_t map_at;      /* where the open map begins */
	unsigned keys_n;    /* keys in it so far */
	bool failed_before; /* the buffer had failed before the frame began */
};

/* Begin a frame with its head open; stream 0 is left out. */
void msg_begin(struct msg_out *m, struct buf *b, enum msg_type type,
    uint64_t id, uint64_t stream);

/* Close the head, open the body. */
void msg_open_body(struct msg_out *m);

/* Begin a frame and open its body. */
void msg_begin_body(struct msg_out *m, struct buf *b, enum msg_type type,
    uint64_t id, uint64_t stream);

/* Open a map at the end of m->b and take keys for it; close it by filling in
 * their count.  For maps inside a body: a msg_out of their own with b set. */
void msg_open_map(struct msg_out *m);
void msg_close_map(struct msg_out *m);

/* Add a key; its value is whatever is appended to m->b next. */
void msg_key(struct msg_out *m, unsigned key);
void msg_put_uint(struct msg_out *m, unsigned key, uint64_t v);
void msg_put_int(struct msg_out *m, unsigned key, int64_t v);
void msg_put_str(struct msg_out *m, unsigned key, const char *s);

/* Add a text for people, which may hold pieces of what a peer sent or of the
 * schema: at most MSG_MESSAGE_BYTES of it, and '?' for what is not UTF-8. */
void msg_put_message(struct msg_out *m, unsigned key, const char *s);

/* Change the type of the frame being written. */
void msg_set_type(struct msg_out *m, enum msg_type type);

/* Finish the frame.  max_bytes bounds the content (without the prefix).
 *
 * Errors, with the buffer cut back to before the frame: -ERR_NO_MEMORY,
 * -ERR_FRAME_TOO_LONG. */
int msg_end(struct msg_out *m, size_t max_bytes);

/* Take back everything since msg_begin, a failed allocation included. */
void msg_abandon(struct msg_out *m);

#endif
