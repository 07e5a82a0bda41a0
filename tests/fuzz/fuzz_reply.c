/* fuzz_reply.c - whatever a daemon sends, through the whole library: frames, results
 * of one and of several steps, every getter, callbacks, the end.
 *
 * The first byte says how the rest is sent: as it is, or cut into replies whose
 * frame and head are right (type, id, length and body of each), so that what is
 * wrong comes further. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/sqlpool.h"
#include "proto/frame.h"
#include "proto/msg.h"
#include "proto/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Requests get their ids in order; HELLO is the last. */
#define REQUESTS 4
#define HELLO_ID (REQUESTS + 1)

#define ROWS_MAX 1000

static void
put_hello(struct buf *b)
{
	struct msg_out m;

	msg_begin_body(&m, b, TYPE_OK, HELLO_ID, 0);
	msg_put_uint(&m, TELL_version, 1);
	msg_put_uint(&m, TELL_in_flight_n, REQUESTS);
	msg_put_uint(&m, TELL_window_bytes, 65536);
	(void)msg_end(&m, FRAME_HARD_MAX_BYTES);
}

/* One reply with a right frame and head; returns how much of the input it took. */
static size_t
put_reply(struct buf *b, const uint8_t *data, size_t size)
{
	static const enum msg_type types[] = { TYPE_DONE, TYPE_ROWS, TYPE_ERROR,
		TYPE_OK, TYPE_GOAWAY };
	struct msg_out m;
	size_t n;

	if (size < 4)
		return size;
	n = (size_t)data[2] << 8 | data[3];
	n = n < size - 4 ? n : size - 4;
	msg_begin_body(&m, b, types[data[0] % 5], data[1] % (REQUESTS + 2), 0);
	buf_cut(b, b->n - 1); /* the body comes from the input */
	buf_put(b, data + 4, n);
	frame_put_prefix(b->p + m.frame_at,
	    (uint32_t)(b->n - m.frame_at - FRAME_PREFIX_BYTES));
	return 4 + n;
}

static void
put_input(struct buf *b, const uint8_t *data, size_t size)
{
	if (size == 0)
		return;
	if (data[0] & 1) {
		buf_put(b, data + 1, size - 1);
		return;
	}
	for (size_t at = 1; at < size;)
		at += put_reply(b, data + at, size - at);
}

static void
touch(const void *p, size_t n)
{
	const volatile uint8_t *bytes = p;

	for (size_t i = 0; p && i < n; i++)
		(void)bytes[i];
}

static void
read_row(struct sqlpool_result *result)
{
	size_t columns_n = sqlpool_column_count(result), n;

	for (size_t i = 0; i <= columns_n && i < 50; i++) {
		const char *name = sqlpool_column_name(result, i);
		const char *type = sqlpool_column_decltype(result, i);
		const char *text;

		touch(name, name ? strlen(name) + 1 : 0);
		touch(type, type ? strlen(type) + 1 : 0);
		(void)sqlpool_column_index(result, name);
		(void)sqlpool_column_type(result, i);
		(void)sqlpool_column_int64(result, i);
		(void)sqlpool_column_double(result, i);
		touch(sqlpool_column_blob(result, i, &n), n);
		text = sqlpool_column_text(result, i, &n);
		touch(text, text ? n + 1 : 0);
	}
}

/* Read it to its end, or as far as there is something. */
static void
read_result(struct sqlpool_result *result)
{
	const struct sqlpool_error *e;
	int rows = 0, rc;

	do {
		while ((rc = sqlpool_next(result)) == SQLPOOL_ROW &&
		    rows++ < ROWS_MAX)
			read_row(result);
		e = sqlpool_result_error(result);
		touch(e->message, strlen(e->message) + 1);
		(void)sqlpool_result_summary(result);
	} while (rc != SQLPOOL_AGAIN &&
	    sqlpool_next_result(result) == SQLPOOL_ROW && rows++ < ROWS_MAX);
}

static void
on_rows(struct sqlpool_result *result, void *arg)
{
	(void)arg;
	read_result(result);
}

/* A statement, one that calls back, a transaction, one that nobody reads. */
static void
send_all(struct sqlpool_conn *conn, struct sqlpool_result **results)
{
	struct sqlpool_request *one = sqlpool_request_new();
	struct sqlpool_request *three = sqlpool_request_new();
	int rc = sqlpool_request_add(one, "SELECT 1", NULL, 0);

	for (int i = 0; i < 3; i++)
		rc |= sqlpool_request_add(three, i ? NULL : "x", NULL, 0) - i;
	rc |= sqlpool_send(conn, one, &results[0]);
	rc |= sqlpool_send(conn, one, &results[1]);
	rc |= sqlpool_send_atomic(conn, three, &results[2]);
	rc |= sqlpool_send(conn, one, &results[3]);
	if (rc != 0 || sqlpool_set_callback(results[1], on_rows, NULL) < 0)
		abort();
	sqlpool_request_free(one);
	sqlpool_request_free(three);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	struct sqlpool_result *results[REQUESTS];
	struct sqlpool_conn *conn;
	struct buf bytes;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return 0;
	buf_init(&bytes);
	put_hello(&bytes);
	put_input(&bytes, data, size);
	/* what does not fit is cut, which is as good */
	(void)send(fds[0], bytes.p, bytes.n, MSG_DONTWAIT);
	shutdown(fds[0], SHUT_WR);
	buf_fini(&bytes);

	options.use_fd = true;
	options.fd = fds[1];
	options.decltypes = true;
	options.request_timeout_ms = 60000;
	if (sqlpool_open_start(&options, &conn) < 0)
		abort();
	send_all(conn, results);
	for (int i = 0; i < 3 && sqlpool_process(conn) == 0; i++)
		;
	/* the end of the stream has come, or will: nothing waits for long */
	read_result(results[0]);
	read_result(results[2]);
	for (int i = 0; i < REQUESTS; i++)
		sqlpool_result_free(results[i]);
	sqlpool_close(conn);
	close(fds[0]);
	return 0;
}
