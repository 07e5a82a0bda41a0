/* peer_echo.c - the floor: frames to echo_server and back, of the sizes that a
 * point read has with the daemon, on the same kind of socket.
 *
 *	peer_echo -s SOCKET [-o request=BYTES] [-o reply=BYTES] ...
 *
 * The sizes (of whole frames) are found by writing the request and the reply with
 * proto/.  Every reply is checked: its id, its size, and the first and last
 * byte of its filler.
 *
 * Thread: the client's. */
#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>

#include "client/bench/bench.h"
#include "proto/frame.h"
#include "tests/bench/lib/echo.h"
#include "tests/bench/lib/known.h"
#include "tests/bench/lib/stream.h"
#include "tests/bench/lib/wire.h"

/* An id of a request that was not the first one of its connection. */
#define TYPICAL_ID 1000

struct echo {
	struct stream stream;
	uint8_t *frame; /* a request, to be copied; its id is 0 */
	size_t frame_n;
	size_t reply_n; /* of a reply's content */
};

/* The size of a frame's content, from -o or from what is in the buffer. */
static int
choose_size(struct bench_client *client, const char *name,
    const struct buf *frame, size_t *ret_n)
{
	const char *given = bench_get_opt(client->plan, name, NULL);
	char *end = NULL;
	unsigned long n = given ? strtoul(given, &end, 10) : frame->n;

	if (buf_failed(frame))
		return bench_fail(client, "out of memory");
	if ((end && *end) ||
	    n < FRAME_PREFIX_BYTES + ECHO_REQUEST_LEAST_BYTES ||
	    n > FRAME_PREFIX_BYTES + ECHO_MAX_BYTES)
		return bench_fail(client, "-o %s: from %d to %d bytes", name,
		    FRAME_PREFIX_BYTES + ECHO_REQUEST_LEAST_BYTES,
		    FRAME_PREFIX_BYTES + ECHO_MAX_BYTES);
	*ret_n = n - FRAME_PREFIX_BYTES;
	return 0;
}

static int
choose_sizes(
    struct bench_client *client, size_t *ret_request, size_t *ret_reply)
{
	const struct bench_plan *plan = client->plan;
	uint64_t key = plan->rows_n / 2;
	struct buf request, reply;
	int rc;

	buf_init(&request);
	buf_init(&reply);
	wire_put_exec(&request, TYPICAL_ID, key);
	wire_put_row(&reply, TYPICAL_ID, plan, key);
	rc = choose_size(client, "request", &request, ret_request);
	if (rc == 0)
		rc = choose_size(client, "reply", &reply, ret_reply);
	buf_fini(&request);
	buf_fini(&reply);
	return rc;
}

static void
echo_close(struct bench_client *client)
{
	struct echo *e = client->data;

	stream_close(&e->stream);
	free(e->frame);
	free(e);
	client->data = NULL;
}

static int
make_frame(struct bench_client *client)
{
	struct echo *e = client->data;
	size_t request_n = 0;
	uint32_t reply_n;

	if (choose_sizes(client, &request_n, &e->reply_n) < 0)
		return -1;
	e->frame_n = FRAME_PREFIX_BYTES + request_n;
	e->frame = malloc(e->frame_n);
	if (!e->frame)
		return bench_fail(client, "out of memory");
	memset(e->frame, ECHO_FILLER, e->frame_n);
	frame_put_prefix(e->frame, (uint32_t)request_n);
	reply_n = htobe32((uint32_t)e->reply_n);
	memcpy(e->frame + FRAME_PREFIX_BYTES + 4, &reply_n, 4);
	return 0;
}

static int
echo_open(struct bench_client *client)
{
	struct echo *e = calloc(1, sizeof(*e));

	if (!e)
		return bench_fail(client, "out of memory");
	client->data = e;
	if (stream_open(&e->stream, client) == 0 && make_frame(client) == 0)
		return 0;
	echo_close(client);
	return -1;
}

static int
echo_send(struct bench_client *client, struct bench_op *op)
{
	struct echo *e = client->data;
	uint32_t id = htobe32(op->slot);

	memcpy(e->frame + FRAME_PREFIX_BYTES, &id, 4);
	buf_put(&e->stream.out, e->frame, e->frame_n);
	return 0;
}

static int
echo_flush(struct bench_client *client)
{
	struct echo *e = client->data;

	return stream_flush(&e->stream, client);
}

/* End what the replies at hand answer. */
static int
take_replies(struct bench_client *client)
{
	struct echo *e = client->data;
	struct span content;
	uint32_t id;
	int rc;

	while ((rc = stream_take(&e->stream, client, &content)) > 0) {
		if (content.n != e->reply_n)
			return bench_fail(client,
			    "a reply of %zu bytes, not %zu", content.n,
			    e->reply_n);
		memcpy(&id, content.p, 4);
		id = be32toh(id);
		if (id >= client->plan->depth || !client->ops[id].in_flight)
			return bench_fail(
			    client, "a reply to nothing: id %" PRIu32, id);
		if (content.p[4] != ECHO_FILLER ||
		    content.p[content.n - 1] != ECHO_FILLER)
			return bench_fail(client, "a reply of other bytes");
		bench_op_end(client, &client->ops[id]);
	}
	return rc;
}

static int
echo_receive(struct bench_client *client)
{
	struct echo *e = client->data;

	if (stream_read(&e->stream, client, false) < 0)
		return -1;
	return take_replies(client);
}

static int
echo_wait(struct bench_client *client)
{
	struct echo *e = client->data;

	if (stream_wait(&e->stream, client) < 0)
		return -1;
	return take_replies(client);
}

static int
echo_check(struct bench_plan *plan, char *why, size_t why_n)
{
	static const char *const known[] = { "request", "reply", NULL };

	return known_check(plan, known, why, why_n);
}

int
main(int argc, char **argv)
{
	static const struct bench_driver driver = {
		.name = "echo",
		.kinds = 1U << BENCH_READ,
		.async_kinds = 1U << BENCH_READ,
		.open = echo_open,
		.send = echo_send,
		.flush = echo_flush,
		.receive = echo_receive,
		.wait = echo_wait,
		.close = echo_close,
		.check = echo_check,
	};

	return bench_main(argc, argv, &driver);
}
