/* stream.h - frames on a Unix stream socket, for the peers that need no library:
 * what waits to be written, and what has arrived.
 *
 * Thread: the client's.  What fails is put into client->why (bench_fail).
 */
#ifndef TESTS_BENCH_LIB_STREAM_H
#define TESTS_BENCH_LIB_STREAM_H

#include "client/bench/bench.h"
#include "proto/buf.h"

struct stream {
	int fd;         /* blocking; each call says whether it may sleep */
	struct buf out; /* append whole frames here */
	size_t out_at;  /* bytes of it that are written */
	struct buf in;
	size_t in_at; /* bytes of it that were taken */
};

/* Connect; sets client->fd.  On failure the stream is closed. */
int stream_open(struct stream *s, struct bench_client *client);
void stream_close(struct stream *s);

/* Write what the socket takes, and set client->want_write if some is left. */
int stream_flush(struct stream *s, struct bench_client *client);

/* Read once, as much as there is; without sleep, nothing is no error. */
int stream_read(struct stream *s, struct bench_client *client, bool sleep);

/* Take the next whole frame's content, which lives until the next read.
 * Returns 1, 0 when there is none, -1 when these are not frames. */
int stream_take(
    struct stream *s, struct bench_client *client, struct span *ret_content);

/* Write all, and sleep until something has arrived; read it. */
int stream_wait(struct stream *s, struct bench_client *client);

/* Write all, and sleep until a frame is there; take it. */
int stream_ask(
    struct stream *s, struct bench_client *client, struct span *ret_content);

#endif
