/* cost.c - what the library itself costs: its CPU time for a blocking query of one
 * row, on top of its system calls, and the memory of an idle connection.
 *
 *	cost [QUERIES]
 *
 * One process plays both sides of a socket pair: the reply is written before the
 * query is sent, so that nothing is ever waited for.  The same system calls with
 * the same bytes, made bare, are taken off.  The two take turns, and the least
 * time of each counts.  One JSON object is printed.
 *
 * Thread: one. */
#include <err.h>
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <sqlpool.h>

#include "proto/msg.h"
#include "proto/value.h"

#define ROUNDS_N        7
#define QUERIES_DEFAULT 50000
/* The library's first request on a connection, and the next. */
#define HELLO_ID 1
#define QUERY_ID 2

static const char sql[] = "SELECT n, c FROM bench WHERE id = ?1";

/* ---- memory ---- */

static size_t held_bytes; /* by the library, as malloc counts */

static void *
resize(void *p, size_t n)
{
	size_t before = p ? malloc_usable_size(p) : 0;
	void *to = realloc(p, n);

	if (to)
		held_bytes += malloc_usable_size(to) - before;
	return to;
}

static void
release(void *p)
{
	held_bytes -= malloc_usable_size(p);
	free(p);
}

/* ---- the daemon's side ---- */

static void
put_hello(struct buf *b)
{
	struct msg_out m;

	msg_begin_body(&m, b, TYPE_OK, HELLO_ID, 0);
	msg_put_uint(&m, TELL_version, 1);
	msg_put_str(&m, TELL_server, "sqlpoold");
	msg_put_uint(&m, TELL_in_flight_n, 1024);
	if (msg_end(&m, 65536) < 0)
		errx(1, "out of memory");
}

static void
put_row(struct buf *b, uint64_t id)
{
	static const char text[] = "a text of some forty bytes, as they are.";
	struct msg_out m;

	msg_begin_body(&m, b, TYPE_DONE, id, 0);
	msg_key(&m, TELL_columns);
	value_put_array(b, 2);
	value_put_text(b, "n", 1);
	value_put_text(b, "c", 1);
	msg_key(&m, TELL_rows);
	value_put_array(b, 1);
	value_put_array(b, 2);
	value_put_int(b, 4711);
	value_put_text(b, text, sizeof(text) - 1);
	msg_put_uint(&m, TELL_tx_state, 0);
	msg_put_uint(&m, TELL_queue_us, 3);
	msg_put_uint(&m, TELL_exec_us, 12);
	if (msg_end(&m, 65536) < 0)
		errx(1, "out of memory");
}

static void
write_all(int fd, const struct buf *b)
{
	if (write(fd, b->p, b->n) != (ssize_t)b->n)
		err(1, "write");
}

/* Returns how many bytes the other side had sent. */
static size_t
drain(int fd)
{
	static char bytes[4096];
	ssize_t n = read(fd, bytes, sizeof(bytes));

	if (n <= 0)
		err(1, "read");
	return (size_t)n;
}

/* ---- the two ways ---- */

static double
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static void
query(struct sqlpool_conn *conn, int64_t key)
{
	struct sqlpool_result *result;
	size_t n;

	if (sqlpool_query(
		conn, sql, SQLPOOL_VALUES(SQLPOOL_INT(key)), &result) < 0 ||
	    sqlpool_next(result) != SQLPOOL_ROW ||
	    sqlpool_column_int64(result, 0) != 4711 ||
	    !sqlpool_column_text(result, 1, &n) || n != 40 ||
	    sqlpool_next(result) != SQLPOOL_DONE)
		errx(1, "%s", sqlpool_get_error(conn)->message);
	sqlpool_result_free(result);
}

/* The library's system calls, and nothing else. */
static void
call_bare(int fd, const void *request, size_t n)
{
	static char bytes[80 << 10];
	struct iovec iov[2] = { { NULL, 0 }, { bytes, sizeof(bytes) } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (getpid() < 0 ||
	    send(fd, request, n, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)n ||
	    poll(&p, 1, 1000) != 1 ||
	    recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
		err(1, "bare calls");
}

/* fds: ours, the daemon's.  conn: NULL for the bare way.  Gives microseconds of
 * each query. */
static double
measure(const int fds[2], struct sqlpool_conn *conn, uint64_t *id, long n)
{
	static char request[4096];
	static size_t request_n;
	struct buf reply;
	double began_us;

	buf_init(&reply);
	began_us = now_us();
	for (long i = 0; i < n; i++) {
		buf_reset(&reply);
		put_row(&reply, *id);
		write_all(fds[1], &reply);
		if (conn) {
			query(conn, i);
			(*id)++;
			request_n = drain(fds[1]);
		} else {
			call_bare(fds[0], request, request_n);
			(void)drain(fds[1]);
		}
	}
	buf_fini(&reply);
	return (now_us() - began_us) / (double)n;
}

int
main(int argc, char **argv)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	long n = argc > 1 ? strtol(argv[1], NULL, 10) : QUERIES_DEFAULT;
	double library_us = 1e9, bare_us = 1e9;
	struct sqlpool_conn *conn;
	uint64_t id = QUERY_ID;
	struct buf hello;
	int fds[2], bare[2];

	if (n < 1 || argc > 2)
		errx(2, "usage: cost [QUERIES]");
	if (sqlpool_set_allocator(resize, release) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, bare) < 0)
		err(1, "setting up");
	buf_init(&hello);
	put_hello(&hello);
	write_all(fds[1], &hello);
	buf_fini(&hello);
	options.use_fd = true;
	options.fd = fds[0];
	if (sqlpool_open(&options, &conn) < 0)
		errx(1, "%s", sqlpool_get_error(conn)->message);
	(void)drain(fds[1]);
	for (int i = 0; i < ROUNDS_N; i++) {
		double us = measure(fds, conn, &id, n);

		library_us = us < library_us ? us : library_us;
		us = measure(bare, NULL, &id, n);
		bare_us = us < bare_us ? us : bare_us;
	}
	printf("{\"query_us\": %.3f, \"bare_us\": %.3f, \"cpu_us\": %.3f, "
	       "\"idle_bytes\": %zu}\n",
	    library_us, bare_us, library_us - bare_us, held_bytes);
	sqlpool_close(conn);
	return fflush(stdout) == 0 ? 0 : 1;
}
