/* rawconn.h - a client that writes its frames itself, for tests.
 *
 * It can do what the library does not offer: streams, cuts, wrong bytes, not
 * reading.  Ids count from 1.  What fails here ends the test: proc.h; waits are
 * bounded as there.
 *
 * Thread: one at a time.
 */
#ifndef TESTS_LIB_RAWCONN_H
#define TESTS_LIB_RAWCONN_H

#include "proto/msg.h"

struct rawconn {
	int fd;
	uint64_t last_id;
	uint32_t timeout_ms;  /* of what is put; 0: the daemon's own */
	const char *database; /* likewise, also of HELLO; NULL: not named */
	struct buf out;       /* frames that raw_flush will send */
	struct buf in;        /* bytes read */
	size_t taken;         /* of those, the frame that raw_take gave last */
};

/* A reply; its spans live until the next raw_take. */
struct rawreply {
	struct msg_head head;
	struct msg_tell tell;
};

/* Connect, and for raw_open also agree on HELLO. */
void raw_connect(struct rawconn *c, const char *socket_path);
void raw_open(struct rawconn *c, const char *socket_path);
void raw_close(struct rawconn *c);

/* Append a request to c->out; returns its id. */
uint64_t raw_put(struct rawconn *c, enum msg_type type, uint64_t stream);
uint64_t raw_put_hello(struct rawconn *c);
uint64_t raw_put_exec(struct rawconn *c, uint64_t stream, const char *sql);
uint64_t raw_put_script(
    struct rawconn *c, uint64_t stream, const char *sql, bool atomic);
uint64_t
raw_put_begin(struct rawconn *c, uint64_t stream, enum msg_tx_mode mode);
uint64_t raw_put_end(struct rawconn *c, uint64_t stream, bool commit);
uint64_t raw_put_cancel(struct rawconn *c, uint64_t target);

/* A command for @admin. */
uint64_t raw_put_admin(struct rawconn *c, const char *command);

/* Send what was put. */
void raw_flush(struct rawconn *c);

/* Send bytes; false when the daemon has closed the connection. */
bool raw_send(struct rawconn *c, const void *p, size_t n);

/* Wait for the next reply.  False at the end of the connection. */
bool raw_take(struct rawconn *c, struct rawreply *ret);

/* Flush, and take replies until the terminal one of this id. */
void raw_wait(struct rawconn *c, uint64_t id, struct rawreply *ret);

/* Fail unless the terminal reply of this id has this error (0: none). */
void raw_expect(struct rawconn *c, uint64_t id, int code);

/* The same, and give the first value of its first row, an integer. */
int64_t raw_expect_int(struct rawconn *c, uint64_t id);

/* Find the row of a reply whose first values are these texts (the second may be
 * NULL), and give the integer, or the whole part of the real, in its column of
 * this name.  -1: there is no such row, or it is NULL. */
int64_t raw_find_int(const struct rawreply *r, const char *first,
    const char *second, const char *column);

/* Run a statement on a stream; fail unless it has this error (0: none). */
void raw_run(struct rawconn *c, uint64_t stream, const char *sql, int code);

/* Run a statement that gives an integer. */
int64_t raw_run_int(struct rawconn *c, uint64_t stream, const char *sql);

/* Begin a transaction on stream 0, end it. */
void raw_begin(struct rawconn *c, enum msg_tx_mode mode);
void raw_end(struct rawconn *c, bool commit);

/* Wait until the daemon has sent on its way all that was put before. */
void raw_let_arrive(struct rawconn *c);

/* Fail unless the next thing is the end of the connection. */
void raw_expect_end(struct rawconn *c);

#endif
