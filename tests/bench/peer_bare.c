/* peer_bare.c - the daemon, spoken to with prepared bytes and no library: what
 * libsqlpool-client's own work is measured against.
 *
 *	peer_bare -s SOCKET ... [DATABASE]
 *
 * Each slot's EXEC is encoded once, and only its key is filled in.  Of a reply
 * the frame, the type and the id are read, at the places where the daemon puts
 * them; one in CHECK_EVERY is decoded and its row compared.
 *
 * Thread: the client's. */
#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <sqlpool.h>

#include "client/bench/bench.h"
#include "proto/frame.h"
#include "proto/msg.h"
#include "proto/value.h"
#include "tests/bench/lib/known.h"
#include "tests/bench/lib/stream.h"
#include "tests/bench/lib/wire.h"

#define CHECK_EVERY 64
/* Ids that are as long as those of a connection which is not new. */
#define FIRST_ID 1000
/* As the library's. */
#define WINDOW_BYTES (256 << 10)
/* A key that msgpack writes as uint 32: its bytes are the last four. */
#define LONG_KEY (UINT32_C(1) << 31)

struct bare {
	struct stream stream;
	struct buf frames; /* of all slots, equally long */
	size_t frame_n;
	uint64_t replies_n;
};

static int
make_frames(struct bench_client *client)
{
	struct bare *b = client->data;

	for (unsigned i = 0; i < client->plan->depth; i++) {
		wire_put_exec(&b->frames, FIRST_ID + i, LONG_KEY);
		if (i == 0)
			b->frame_n = b->frames.n;
	}
	if (buf_failed(&b->frames))
		return bench_fail(client, "out of memory");
	if (b->frames.n != b->frame_n * client->plan->depth)
		return bench_fail(client, "the depth is too great");
	return 0;
}

/* HELLO and PREPARE. */
static int
greet(struct bench_client *client)
{
	struct bare *b = client->data;
	struct span content;

	wire_put_hello(&b->stream.out, 1, client->plan->database, WINDOW_BYTES);
	wire_put_prepare(&b->stream.out, 2, WIRE_READ_SQL);
	for (int i = 0; i < 2; i++)
		if (stream_ask(&b->stream, client, &content) < 0 ||
		    wire_check_type(
			content, TYPE_OK, client->why, sizeof(client->why)) < 0)
			return -1;
	return 0;
}

static void
bare_close(struct bench_client *client)
{
	struct bare *b = client->data;

	stream_close(&b->stream);
	buf_fini(&b->frames);
	free(b);
}

static int
bare_open(struct bench_client *client)
{
	struct bare *b = calloc(1, sizeof(*b));

	if (!b)
		return bench_fail(client, "out of memory");
	client->data = b;
	if (stream_open(&b->stream, client) == 0 && greet(client) == 0 &&
	    make_frames(client) == 0)
		return 0;
	bare_close(client);
	return -1;
}

static int
bare_send(struct bench_client *client, struct bench_op *op)
{
	struct bare *b = client->data;
	uint8_t *frame = b->frames.p + op->slot * b->frame_n;
	uint32_t key = htobe32((uint32_t)op->key);

	memcpy(frame + b->frame_n - sizeof(key), &key, sizeof(key));
	buf_put(&b->stream.out, frame, b->frame_n);
	return 0;
}

static int
bare_flush(struct bench_client *client)
{
	struct bare *b = client->data;

	return stream_flush(&b->stream, client);
}

/* Find out which operation a reply ends; NULL, and why, if it is no DONE. */
static struct bench_op *
find_op(struct bench_client *client, struct span content)
{
	static const uint8_t head[] = { 0x82, HEAD_type, TYPE_DONE, HEAD_id };
	struct span rest = { content.p + sizeof(head),
		content.n - sizeof(head) };
	struct value id;

	if (content.n <= sizeof(head) + sizeof(uint64_t) ||
	    memcmp(content.p, head, sizeof(head)) != 0) {
		(void)wire_check_type(
		    content, TYPE_DONE, client->why, sizeof(client->why));
		return NULL;
	}
	value_read(&rest, &id);
	if (id.kind == VALUE_INT && id.i >= FIRST_ID &&
	    id.i < FIRST_ID + (int64_t)client->plan->depth &&
	    client->ops[id.i - FIRST_ID].in_flight)
		return &client->ops[id.i - FIRST_ID];
	(void)bench_fail(client, "a reply to nothing");
	return NULL;
}

static int
take_replies(struct bench_client *client)
{
	struct bare *b = client->data;
	struct span content;
	const char *why;
	int rc;

	while ((rc = stream_take(&b->stream, client, &content)) > 0) {
		struct bench_op *op = find_op(client, content);

		if (!op)
			return -1;
		if (b->replies_n++ % CHECK_EVERY == 0 &&
		    wire_check_row(content, client->plan, op->key, &why) < 0)
			return bench_fail(client, "%s", why);
		bench_op_end(client, op);
	}
	return rc;
}

static int
bare_receive(struct bench_client *client)
{
	struct bare *b = client->data;

	if (stream_read(&b->stream, client, false) < 0)
		return -1;
	return take_replies(client);
}

static int
bare_wait(struct bench_client *client)
{
	struct bare *b = client->data;

	if (stream_wait(&b->stream, client) < 0)
		return -1;
	return take_replies(client);
}

/* ---- Before, in the parent ---------------------------------------------- */

static int
read_plan(struct bench_plan *plan, struct sqlpool_conn *conn)
{
	struct sqlpool_result *result;
	int rc;

	rc = sqlpool_query(conn,
	    "SELECT max(id), (SELECT length(c) FROM bench WHERE id = 1)"
	    " FROM bench",
	    NULL, 0, &result);
	if (rc < 0)
		return -1;
	rc = sqlpool_next(result);
	if (plan->rows_n == 0)
		plan->rows_n = (uint64_t)sqlpool_column_int64(result, 0);
	if (plan->text_n == 0)
		plan->text_n = (uint32_t)sqlpool_column_int64(result, 1);
	sqlpool_result_free(result);
	return rc == SQLPOOL_ROW ? 0 : -1;
}

static int
bare_check(struct bench_plan *plan, char *why, size_t why_n)
{
	static const char *const known[] = { NULL };
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	struct sqlpool_conn *conn;
	int rc = -1;

	if (known_check(plan, known, why, why_n) < 0)
		return -1;
	options.socket_path = plan->socket_path;
	options.database = plan->database;
	if (sqlpool_open(&options, &conn) == 0)
		rc = read_plan(plan, conn);
	if (rc < 0) {
		snprintf(why, why_n,
		    "%s (the tables are made with: "
		    "sqlpool-bench --init)",
		    sqlpool_get_error(conn)->message);
	} else if (plan->rows_n >= LONG_KEY) {
		snprintf(why, why_n, "at most %" PRIu32 " rows", LONG_KEY - 1);
		rc = -1;
	}
	snprintf(plan->about, sizeof(plan->about),
	    "%s without the library, database \"%s\"",
	    sqlpool_get_server(conn)->server,
	    sqlpool_get_server(conn)->database);
	sqlpool_close(conn);
	return rc;
}

int
main(int argc, char **argv)
{
	static const struct bench_driver driver = {
		.name = "bare",
		.kinds = 1U << BENCH_READ,
		.async_kinds = 1U << BENCH_READ,
		.open = bare_open,
		.send = bare_send,
		.flush = bare_flush,
		.receive = bare_receive,
		.wait = bare_wait,
		.close = bare_close,
		.check = bare_check,
	};

	return bench_main(argc, argv, &driver);
}
