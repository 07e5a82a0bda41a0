/* peer_redis.c - Redis, by hiredis.
 *
 *	peer_redis -s SOCKET ...
 *
 * A row is two keys: "c:ID" with its text and "n:ID" with its number, the id in
 * ten digits.  A read is GET of the text, a write INCR of the number.  (So a read
 * fetches one value, where the others fetch two.)  Whether a write is durable is the
 * server's setting (servers.py).
 *
 * Beside redis-benchmark: with 16 in flight (-d 16, -P 16) both give the same
 * rate.  With one, this program gives about 1.5 times as much, since
 * redis-benchmark makes five calls of epoll_ctl for each request and is then the
 * slower end; Redis itself spends the same time on a request of either.
 *
 * The socket is blocking and reads say whether they may sleep.  Writes may: Redis
 * takes what is sent even while its replies are not read, so that ends.
 *
 * Thread: the client's. */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "client/bench/bench.h"
#include "tests/bench/lib/known.h"
#include "tests/bench/lib/ring.h"

#define READ_BYTES (16 << 10) /* as hiredis does */
#define KEY_BYTES  13         /* "c:", ten digits, NUL */
#define CHUNK_N    1000       /* keys of one turn of init and verify */

struct redis {
	redisContext *context;
	struct ring ring;
};

/* The sum of all numbers before the run; the parent's alone. */
static int64_t sum_before;

static void
put_key(char key[KEY_BYTES], char kind, uint64_t id)
{
	/* bench.h: ten digits are enough for every id */
	snprintf(key, KEY_BYTES, "%c:%010" PRIu64, kind, id % 10000000000);
}

/* ---- A client ----------------------------------------------------------- */

static int
fail_context(struct bench_client *client)
{
	const struct redis *r = client->data;

	return bench_fail(client, "redis: %s",
	    r->context ? r->context->errstr : "out of memory");
}

static void
redis_close(struct bench_client *client)
{
	struct redis *r = client->data;

	if (r->context)
		redisFree(r->context);
	ring_fini(&r->ring);
	free(r);
}

static int
redis_open(struct bench_client *client)
{
	struct redis *r = calloc(1, sizeof(*r));

	if (!r)
		return bench_fail(client, "out of memory");
	client->data = r;
	r->context = redisConnectUnix(client->plan->socket_path);
	if (!r->context || r->context->err ||
	    ring_init(&r->ring, client->plan->depth) < 0) {
		(void)fail_context(client);
		redis_close(client);
		return -1;
	}
	client->fd = r->context->fd;
	return 0;
}

/* The bytes of a command are constant but for the key's digits, as in
 * redis-benchmark: formatting them each time would cost more than Redis does. */
static int
redis_send(struct bench_client *client, struct bench_op *op)
{
	static const char get[] = "*2\r\n$3\r\nGET\r\n$12\r\nc:0000000000\r\n";
	static const char incr[] =
	    "*2\r\n$4\r\nINCR\r\n$12\r\nn:0000000000\r\n";
	struct redis *r = client->data;
	char bytes[sizeof(incr)];
	bool reads = op->kind == BENCH_READ;
	size_t n = reads ? sizeof(get) - 1 : sizeof(incr) - 1;
	uint64_t id = op->key;

	memcpy(bytes, reads ? get : incr, n);
	for (size_t at = n - 3; id > 0; id /= 10)
		bytes[at--] = (char)('0' + id % 10);
	if (redisAppendFormattedCommand(r->context, bytes, n) != REDIS_OK)
		return fail_context(client);
	ring_push(&r->ring, op);
	return 0;
}

static int
redis_flush(struct bench_client *client)
{
	struct redis *r = client->data;
	int done = 0;

	while (!done)
		if (redisBufferWrite(r->context, &done) != REDIS_OK)
			return fail_context(client);
	return 0;
}

static int
take_reply(struct bench_client *client, const redisReply *reply)
{
	struct redis *r = client->data;
	struct bench_op *op = ring_first(&r->ring);

	if (!op)
		return bench_fail(client, "a reply to nothing");
	if (reply->type == REDIS_REPLY_ERROR)
		return bench_fail(client, "redis: %s", reply->str);
	if (op->kind == BENCH_READ &&
	    (reply->type != REDIS_REPLY_STRING ||
		!bench_text_is(client->plan, op->key, reply->str, reply->len)))
		return bench_fail(client, "another value than was set");
	if (op->kind == BENCH_WRITE &&
	    (reply->type != REDIS_REPLY_INTEGER || reply->integer < 1))
		return bench_fail(client, "a reply that INCR does not give");
	ring_pop(&r->ring);
	bench_op_end(client, op);
	return 0;
}

static int
take_replies(struct bench_client *client)
{
	struct redis *r = client->data;
	void *reply = NULL;

	for (;;) {
		int rc;

		if (redisGetReplyFromReader(r->context, &reply) != REDIS_OK)
			return fail_context(client);
		if (!reply)
			return 0;
		rc = take_reply(client, reply);
		freeReplyObject(reply);
		if (rc < 0)
			return rc;
	}
}

static int
read_some(struct bench_client *client, int flags)
{
	struct redis *r = client->data;
	char bytes[READ_BYTES];
	ssize_t n = recv(client->fd, bytes, sizeof(bytes), flags);

	if (n == 0)
		return bench_fail(client, "redis closed the connection");
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return bench_fail(client, "recv: %s", strerror(errno));
	if (n > 0 &&
	    redisReaderFeed(r->context->reader, bytes, (size_t)n) != REDIS_OK)
		return fail_context(client);
	return take_replies(client);
}

static int
redis_receive(struct bench_client *client)
{
	return read_some(client, MSG_DONTWAIT);
}

static int
redis_wait(struct bench_client *client)
{
	if (redis_flush(client) < 0)
		return -1;
	return read_some(client, 0);
}

/* ---- Before and after, in the parent ------------------------------------- */

/* Connect, or say why not. */
static redisContext *
connect_parent(const struct bench_plan *plan, char *why, size_t why_n)
{
	redisContext *c;

	if (!plan->socket_path) {
		snprintf(why, why_n, "-s must be the path of redis's socket");
		return NULL;
	}
	c = redisConnectUnix(plan->socket_path);
	if (c && !c->err)
		return c;
	snprintf(why, why_n, "%s: %s", plan->socket_path,
	    c ? c->errstr : "out of memory");
	if (c)
		redisFree(c);
	return NULL;
}

/* Take a reply of this type; NULL if it is of another. */
static redisReply *
get_reply(redisContext *c, int type)
{
	void *reply = NULL;

	if (redisGetReply(c, &reply) != REDIS_OK || !reply)
		return NULL;
	if (((redisReply *)reply)->type == type)
		return reply;
	freeReplyObject(reply);
	return NULL;
}

/* Set the rows from first to last. */
static int
set_rows(redisContext *c, const struct bench_plan *plan, uint64_t first,
    uint64_t last)
{
	char *text = malloc((size_t)plan->text_n + 1);
	char key[KEY_BYTES];
	int rc = text ? 0 : -1;

	for (uint64_t id = first; id <= last && text; id++) {
		bench_text(plan, id, text);
		put_key(key, 'c', id);
		redisAppendCommand(
		    c, "SET %s %b", key, text, (size_t)plan->text_n);
		put_key(key, 'n', id);
		redisAppendCommand(c, "SET %s 0", key);
	}
	for (uint64_t n = (last - first + 1) * 2; n > 0 && rc == 0; n--) {
		redisReply *reply = get_reply(c, REDIS_REPLY_STATUS);

		if (reply)
			freeReplyObject(reply);
		else
			rc = -1;
	}
	free(text);
	return rc;
}

static int
redis_init(const struct bench_plan *plan, char *why, size_t why_n)
{
	redisContext *c = connect_parent(plan, why, why_n);
	redisReply *reply;
	int rc = 0;

	if (!c)
		return -1;
	redisAppendCommand(c, "FLUSHALL");
	redisAppendCommand(c, "SET rows %" PRIu64, plan->rows_n);
	for (int i = 0; i < 2 && rc == 0; i++) {
		reply = get_reply(c, REDIS_REPLY_STATUS);
		if (!reply)
			rc = -1;
		else
			freeReplyObject(reply);
	}
	for (uint64_t id = 1; id <= plan->rows_n && rc == 0; id += CHUNK_N) {
		uint64_t last = id + CHUNK_N - 1;

		rc = set_rows(
		    c, plan, id, last < plan->rows_n ? last : plan->rows_n);
	}
	if (rc < 0)
		snprintf(why, why_n, "cannot set the rows: %s", c->errstr);
	redisFree(c);
	return rc;
}

/* The integer that a command answers, also as a string; -1 without one. */
static int64_t
ask(redisContext *c, const char *command)
{
	redisReply *reply = redisCommand(c, command);
	int64_t v = -1;

	if (reply && reply->type == REDIS_REPLY_STRING)
		v = strtoll(reply->str, NULL, 10);
	else if (reply && reply->type == REDIS_REPLY_INTEGER)
		v = reply->integer;
	if (reply)
		freeReplyObject(reply);
	return v;
}

static int
redis_check(struct bench_plan *plan, char *why, size_t why_n)
{
	static const char *const known[] = { NULL };
	redisContext *c;
	int64_t rows_n, text_n;
	int rc = 0;

	if (known_check(plan, known, why, why_n) < 0)
		return -1;
	c = connect_parent(plan, why, why_n);
	if (!c)
		return -1;
	rows_n = ask(c, "GET rows");
	text_n = ask(c, "STRLEN c:0000000001");
	redisFree(c);
	if (rows_n < 1 || text_n < 1 || plan->rows_n > (uint64_t)rows_n) {
		snprintf(why, why_n, "the rows are not there: use --init");
		rc = -1;
	}
	if (plan->rows_n == 0)
		plan->rows_n = (uint64_t)rows_n;
	if (plan->text_n == 0)
		plan->text_n = (uint32_t)text_n;
	snprintf(plan->about, sizeof(plan->about), "Redis by hiredis %d.%d.%d",
	    HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
	return rc;
}

static int
add_reply(redisContext *c, int64_t *sum)
{
	redisReply *reply = get_reply(c, REDIS_REPLY_STRING);

	if (!reply)
		return -1;
	*sum += strtoll(reply->str, NULL, 10);
	freeReplyObject(reply);
	return 0;
}

static int
get_sum(const struct bench_plan *plan, int64_t *ret, char *why, size_t why_n)
{
	redisContext *c = connect_parent(plan, why, why_n);
	char key[KEY_BYTES];
	uint64_t asked = 0, taken = 0;
	int rc = 0;

	if (!c)
		return -1;
	*ret = 0;
	while (taken < plan->rows_n && rc == 0) {
		while (asked < plan->rows_n && asked < taken + CHUNK_N) {
			put_key(key, 'n', ++asked);
			redisAppendCommand(c, "GET %s", key);
		}
		for (; taken < asked && rc == 0; taken++)
			rc = add_reply(c, ret);
	}
	if (rc < 0)
		snprintf(why, why_n, "a number is missing: %s", c->errstr);
	redisFree(c);
	return rc;
}

static int
redis_begin_verify(const struct bench_plan *plan, char *why, size_t why_n)
{
	return get_sum(plan, &sum_before, why, why_n);
}

static int
redis_verify(const struct bench_plan *plan,
    const uint64_t ended_n[BENCH_KINDS_N], char *why, size_t why_n)
{
	int64_t sum = 0;

	if (get_sum(plan, &sum, why, why_n) < 0)
		return -1;
	if (sum == sum_before + (int64_t)ended_n[BENCH_WRITE])
		return 0;
	snprintf(why, why_n,
	    "the numbers add up to %" PRId64 " more, and %" PRIu64
	    " writes were acknowledged",
	    sum - sum_before, ended_n[BENCH_WRITE]);
	return -1;
}

int
main(int argc, char **argv)
{
	static const struct bench_driver driver = {
		.name = "redis",
		.kinds = 1U << BENCH_READ | 1U << BENCH_WRITE,
		.async_kinds = 1U << BENCH_READ | 1U << BENCH_WRITE,
		.open = redis_open,
		.send = redis_send,
		.flush = redis_flush,
		.receive = redis_receive,
		.wait = redis_wait,
		.close = redis_close,
		.init = redis_init,
		.check = redis_check,
		.begin_verify = redis_begin_verify,
		.verify = redis_verify,
	};

	return bench_main(argc, argv, &driver);
}
