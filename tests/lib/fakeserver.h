/* fakeserver.h - a daemon of paper: a thread that plays a script on one end of
 * a socketpair.
 *
 * A test gives a function that reads requests and writes replies, built with
 * proto/msg.h or byte by byte; the library gets the other end.  The script's
 * thread owns everything here until fakeserver_stop has joined it.
 */
#ifndef TESTS_FAKESERVER_H
#define TESTS_FAKESERVER_H

#include <pthread.h>

#include "proto/msg.h"
#include "proto/value.h"

struct fakeserver {
	int fd;        /* the script's end; -1 once closed */
	int client_fd; /* the other end, for whoever takes it */
	pthread_t thread;
	void (*play)(struct fakeserver *fs);
	void *arg;      /* the test's own */
	struct buf in;  /* bytes read */
	size_t taken;   /* of those, the frame that fake_take gave last */
	struct buf out; /* bytes to send */
	struct msg_out m;
};

/* A request as it came; the spans live until the next fake_take. */
struct fake_request {
	struct msg_head head;
	struct msg_ask ask;
};

/* Start a script.  play answers HELLO itself (fake_take_hello). */
void fakeserver_start(
    struct fakeserver *fs, void (*play)(struct fakeserver *), void *arg);

/* Close both ends that are still ours and join the thread. */
void fakeserver_stop(struct fakeserver *fs);

/* Wait for a request.  False at the end of the stream. */
bool fake_take(struct fakeserver *fs, struct fake_request *ret);

/* Take requests until one is of this type; the others get no answer.  Returns
 * its id, 0 at the end of the stream. */
uint64_t fake_take_type(struct fakeserver *fs, uint64_t type);

/* Take HELLO and answer it; what is allowed in flight and window_bytes as given. */
void fake_take_hello(
    struct fakeserver *fs, uint64_t in_flight_n, uint64_t window_bytes);
void fake_take_bound_hello(struct fakeserver *fs, uint64_t in_flight_n,
    uint64_t in_flight_bytes, uint64_t window_bytes);

/* Build a reply in fs->out: fake_begin, keys and values through fs->m,
 * fake_end.  Nothing is sent before fake_send. */
void fake_begin(struct fakeserver *fs, enum msg_type type, uint64_t id);
void fake_end(struct fakeserver *fs);
void fake_send(struct fakeserver *fs);
/* Send only the first n bytes of what was built. */
void fake_send_cut(struct fakeserver *fs, size_t n);

/* Whole replies. */
void fake_ok(struct fakeserver *fs, uint64_t id);
void fake_done(struct fakeserver *fs, uint64_t id);
void
fake_error(struct fakeserver *fs, uint64_t id, int code, const char *message);
/* ROWS or DONE with one column "x" (named if first) and n integers. */
void fake_ints(struct fakeserver *fs, enum msg_type type, uint64_t id,
    bool first, uint32_t n);

#endif
