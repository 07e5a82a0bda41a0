/* decode.c - how fast the library decodes a large result, beside msgpack-c's
 * unpacker on the same bytes.
 *
 *	decode -s SOCKET [-r ROWS] [DATABASE]
 *
 * The daemon's reply to a query of ROWS rows with five columns is recorded once,
 * byte for byte.  Then a child process writes the record into a socket pair as
 * fast as it is taken: to the library, which gets every column of every row by
 * its getters, and to a loop of read and msgpack_unpacker_next, which looks at
 * nothing.  A third pass visits the unpacker's objects and adds up what the
 * getters gave, for the sums must agree.  The three take turns, and the best time
 * of each counts.  One JSON object is printed; "to_msgpack" is the library's
 * rows per second / the bare unpacker's.
 *
 * Thread: one; the child writes and ends. */
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sqlpool.h>

#include "client/bench/bench.h"
#include "proto/frame.h"
#include "proto/msg.h"
#include "proto/value.h"
#include "proto/walk.h"
#include "tests/bench/lib/stream.h"
#include "tests/bench/lib/wire.h"

#define ROUNDS_N     5
#define ROWS_DEFAULT 1000000
#define ROWS_MAX     100000000
#define COLUMNS_N    5
/* As the library reads. */
#define READ_BYTES (80 << 10)
/* Of the recording: the daemon's largest. */
#define RECORD_WINDOW_BYTES (UINT64_C(64) << 20)
/* Of the replay: nobody gives credit there. */
#define REPLAY_WINDOW_BYTES (UINT64_C(1) << 31)
/* The library's first requests on a connection. */
#define HELLO_ID 1
#define QUERY_ID 2

/* ?1: rows.  About 85 bytes each in msgpack. */
static const char sql_format[] =
    "WITH RECURSIVE s(i) AS"
    " (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < %" PRIu64 ")"
    " SELECT i, i * 7919 %% 1000003, printf('name %%015d', i), i * 0.25,"
    " printf('some text about the row %%016d', i) FROM s";

/* What a pass found, and how long it took. */
struct pass {
	uint64_t rows_n;
	uint64_t sum;
	double wall_s;
	double cpu_s;
};

static double
read_clock(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ---- What is added up ---------------------------------------------------- */

static uint64_t
sum_real(double f)
{
	uint64_t bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits;
}

/* Its length and its first and last eight bytes. */
static uint64_t
sum_text(const char *p, size_t n)
{
	uint64_t first, last;

	if (!p || n < sizeof(first))
		return n;
	memcpy(&first, p, sizeof(first));
	memcpy(&last, p + n - sizeof(last), sizeof(last));
	return n + first + 3 * last;
}

/* ---- Recording ----------------------------------------------------------- */

static void
check(struct bench_client *client, int rc)
{
	if (rc < 0)
		errx(1, "%s", client->why);
}

/* The type of a reply, which must be a part of the result. */
static uint64_t
get_type(struct span content)
{
	struct span head_map, body_map;
	struct msg_head head;
	struct msg_fault fault;
	char why[200];

	if (walk_frame(content, &head_map, &body_map) == 0 &&
	    msg_read_head(head_map, &head, &fault) == 0 &&
	    head.id == QUERY_ID &&
	    (head.type == TYPE_ROWS || head.type == TYPE_DONE))
		return head.type;
	if (wire_check_type(content, TYPE_DONE, why, sizeof(why)) == 0)
		snprintf(why, sizeof(why), "a reply to nothing");
	errx(1, "%s", why);
}

static void
put_query(struct buf *b, const char *sql)
{
	struct msg_out m;

	msg_begin_body(&m, b, TYPE_EXEC, QUERY_ID, 0);
	msg_put_str(&m, ASK_sql, sql);
	(void)msg_end(&m, FRAME_HARD_MAX_BYTES);
}

/* Ask the daemon, and keep what it sends. */
static struct buf
record(const struct bench_plan *plan, const char *sql)
{
	struct bench_client client = { .plan = plan };
	struct stream stream;
	struct span content;
	struct buf bytes;

	buf_init(&bytes);
	check(&client, stream_open(&stream, &client));
	wire_put_hello(
	    &stream.out, HELLO_ID, plan->database, RECORD_WINDOW_BYTES);
	check(&client, stream_ask(&stream, &client, &content));
	if (wire_check_type(content, TYPE_OK, client.why, sizeof(client.why)) <
	    0)
		errx(1, "%s", client.why);
	put_query(&stream.out, sql);
	do {
		check(&client, stream_ask(&stream, &client, &content));
		buf_put(&bytes, content.p - FRAME_PREFIX_BYTES,
		    content.n + FRAME_PREFIX_BYTES);
		wire_put_credit(
		    &stream.out, QUERY_ID, content.n + FRAME_PREFIX_BYTES);
	} while (get_type(content) == TYPE_ROWS);
	if (buf_failed(&bytes))
		errx(1, "out of memory");
	stream_close(&stream);
	return bytes;
}

/* ---- Replaying: the child ------------------------------------------------ */

static void
write_all(int fd, const uint8_t *p, size_t n)
{
	while (n > 0) {
		ssize_t done = send(fd, p, n, MSG_NOSIGNAL);

		if (done < 0 && errno != EINTR)
			_exit(1);
		p += done > 0 ? done : 0;
		n -= done > 0 ? (size_t)done : 0;
	}
}

/* Take the frame of a request with this id. */
static void
take_request(int fd, uint64_t id)
{
	uint8_t bytes[4096];
	size_t have = 0, n = 0;
	struct span head_map, body_map, content;
	struct msg_head head;
	struct msg_fault fault;

	while (have == 0 ||
	    frame_peek(bytes, have, sizeof(bytes), &n) == FRAME_PARTIAL) {
		ssize_t got = recv(fd, bytes + have, sizeof(bytes) - have, 0);

		if (got <= 0)
			_exit(1);
		have += (size_t)got;
	}
	content.p = bytes + FRAME_PREFIX_BYTES;
	content.n = n - FRAME_PREFIX_BYTES;
	if (n != have || walk_frame(content, &head_map, &body_map) < 0 ||
	    msg_read_head(head_map, &head, &fault) < 0 || head.id != id)
		_exit(1);
}

static void
answer_hello(int fd)
{
	struct buf b;
	struct msg_out m;

	buf_init(&b);
	msg_begin_body(&m, &b, TYPE_OK, HELLO_ID, 0);
	msg_put_uint(&m, TELL_version, MSG_VERSION);
	msg_put_uint(&m, TELL_max_frame, FRAME_DEFAULT_MAX_BYTES);
	msg_put_uint(&m, TELL_window_bytes, REPLAY_WINDOW_BYTES);
	msg_put_uint(&m, TELL_in_flight_n, 1);
	if (msg_end(&m, FRAME_LEAST_MAX_BYTES) < 0)
		_exit(1);
	write_all(fd, b.p, b.n);
	buf_fini(&b);
}

/* Give the other end of a pair to a child that writes the record when it is
 * asked to: by the library's requests, or by a byte. */
static int
start_feeder(const struct buf *bytes, bool library, pid_t *ret_pid)
{
	char byte;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		err(1, "socketpair");
	*ret_pid = fork();
	if (*ret_pid < 0)
		err(1, "fork");
	if (*ret_pid > 0) {
		close(fds[1]);
		return fds[0];
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close(fds[0]);
	if (library) {
		take_request(fds[1], HELLO_ID);
		answer_hello(fds[1]);
		take_request(fds[1], QUERY_ID);
	} else if (recv(fds[1], &byte, 1, 0) != 1) {
		_exit(1);
	}
	write_all(fds[1], bytes->p, bytes->n);
	_exit(0);
}

static void
end_feeder(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || status != 0)
		errx(1, "the feeding child failed");
}

static void
begin(struct pass *pass)
{
	*pass = (struct pass){
		.wall_s = -read_clock(CLOCK_MONOTONIC),
		.cpu_s = -read_clock(CLOCK_PROCESS_CPUTIME_ID),
	};
}

static void
end(struct pass *pass)
{
	pass->wall_s += read_clock(CLOCK_MONOTONIC);
	pass->cpu_s += read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

/* ---- The library --------------------------------------------------------- */

static struct pass
run_library(const struct buf *bytes, const char *sql)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	struct sqlpool_result *result;
	struct sqlpool_conn *conn;
	struct pass pass;
	const char *text;
	pid_t pid;
	size_t n;
	int rc;

	options.use_fd = true;
	options.fd = start_feeder(bytes, true, &pid);
	if (sqlpool_open(&options, &conn) < 0)
		errx(1, "%s", sqlpool_get_error(conn)->message);
	begin(&pass);
	if (sqlpool_query(conn, sql, NULL, 0, &result) < 0)
		errx(1, "%s", sqlpool_get_error(conn)->message);
	while ((rc = sqlpool_next(result)) == SQLPOOL_ROW) {
		pass.rows_n++;
		pass.sum += (uint64_t)sqlpool_column_int64(result, 0);
		pass.sum += (uint64_t)sqlpool_column_int64(result, 1);
		text = sqlpool_column_text(result, 2, &n);
		pass.sum += sum_text(text, n);
		pass.sum += sum_real(sqlpool_column_double(result, 3));
		text = sqlpool_column_text(result, 4, &n);
		pass.sum += sum_text(text, n);
	}
	end(&pass);
	if (rc < 0)
		errx(1, "%s", sqlpool_result_error(result)->message);
	sqlpool_result_free(result);
	sqlpool_close(conn);
	end_feeder(pid);
	return pass;
}

/* ---- The unpacker -------------------------------------------------------- */

static uint64_t
sum_object(const msgpack_object *o)
{
	switch (o->type) {
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
	case MSGPACK_OBJECT_NEGATIVE_INTEGER:
		return o->via.u64;
	case MSGPACK_OBJECT_FLOAT32:
	case MSGPACK_OBJECT_FLOAT64:
		return sum_real(o->via.f64);
	case MSGPACK_OBJECT_STR:
		return sum_text(o->via.str.ptr, o->via.str.size);
	case MSGPACK_OBJECT_NIL:
	case MSGPACK_OBJECT_BOOLEAN:
	case MSGPACK_OBJECT_ARRAY:
	case MSGPACK_OBJECT_MAP:
	case MSGPACK_OBJECT_BIN:
	case MSGPACK_OBJECT_EXT:
		break;
	}
	errx(1, "a value of a type that the query does not have");
}

static void
add_rows(const msgpack_object *rows, struct pass *pass)
{
	for (uint32_t i = 0; i < rows->via.array.size; i++) {
		const msgpack_object *row = &rows->via.array.ptr[i];

		if (row->type != MSGPACK_OBJECT_ARRAY ||
		    row->via.array.size != COLUMNS_N)
			errx(1, "a row that is not one");
		pass->rows_n++;
		for (uint32_t k = 0; k < COLUMNS_N; k++)
			pass->sum += sum_object(&row->via.array.ptr[k]);
	}
}

/* A frame is three objects: its prefix, its head and its body.  Rows are in
 * bodies, under a key that heads do not have. */
static void
visit(const msgpack_object *o, struct pass *pass)
{
	if (o->type != MSGPACK_OBJECT_MAP)
		return;
	for (uint32_t i = 0; i < o->via.map.size; i++) {
		const msgpack_object_kv *field = &o->via.map.ptr[i];

		if (field->key.via.u64 == TELL_rows &&
		    field->val.type == MSGPACK_OBJECT_ARRAY)
			add_rows(&field->val, pass);
	}
}

/* sums: visit the objects, too. */
static struct pass
run_unpacker(const struct buf *bytes, bool sums)
{
	msgpack_unpacker unpacker;
	msgpack_unpacked object;
	struct pass pass;
	size_t left = bytes->n;
	pid_t pid;
	int fd = start_feeder(bytes, false, &pid);

	if (!msgpack_unpacker_init(
		&unpacker, MSGPACK_UNPACKER_INIT_BUFFER_SIZE))
		errx(1, "out of memory");
	msgpack_unpacked_init(&object);
	begin(&pass);
	write_all(fd, (const uint8_t *)"", 1);
	while (left > 0) {
		msgpack_unpack_return rc;
		ssize_t n;

		if (!msgpack_unpacker_reserve_buffer(&unpacker, READ_BYTES))
			errx(1, "out of memory");
		n = recv(fd, msgpack_unpacker_buffer(&unpacker), READ_BYTES, 0);
		if (n <= 0)
			errx(1, "the record ended early");
		msgpack_unpacker_buffer_consumed(&unpacker, (size_t)n);
		left -= (size_t)n;
		while ((rc = msgpack_unpacker_next(&unpacker, &object)) ==
		    MSGPACK_UNPACK_SUCCESS)
			if (sums)
				visit(&object.data, &pass);
		if (rc != MSGPACK_UNPACK_CONTINUE)
			errx(1, "msgpack-c cannot read the record");
	}
	end(&pass);
	msgpack_unpacked_destroy(&object);
	msgpack_unpacker_destroy(&unpacker);
	close(fd);
	end_feeder(pid);
	return pass;
}

/* ---- All ----------------------------------------------------------------- */

static void
keep_best(struct pass *best, const struct pass *pass)
{
	if (best->rows_n == 0 && best->wall_s == 0)
		*best = *pass;
	if (pass->wall_s < best->wall_s)
		best->wall_s = pass->wall_s;
	if (pass->cpu_s < best->cpu_s)
		best->cpu_s = pass->cpu_s;
}

static void
measure(const struct buf *bytes, const char *sql, uint64_t rows_n)
{
	struct pass library = { 0 }, bare = { 0 }, sums = { 0 };

	for (int i = 0; i < ROUNDS_N; i++) {
		struct pass l = run_library(bytes, sql);
		struct pass u = run_unpacker(bytes, false);
		struct pass s = run_unpacker(bytes, true);

		if (l.rows_n != rows_n || s.rows_n != rows_n || l.sum != s.sum)
			errx(1,
			    "the library read %" PRIu64 " rows with the "
			    "sum %" PRIu64 ", msgpack-c %" PRIu64
			    " with %" PRIu64,
			    l.rows_n, l.sum, s.rows_n, s.sum);
		keep_best(&library, &l);
		keep_best(&bare, &u);
		keep_best(&sums, &s);
	}
	printf("{\"driver\":\"decode\",\"rows\":%" PRIu64 ",\"bytes\":%zu,"
	       "\"rounds\":%d,\"library_s\":%.6f,\"unpacker_s\":%.6f,"
	       "\"unpacker_sums_s\":%.6f,\"library_cpu_s\":%.6f,"
	       "\"unpacker_cpu_s\":%.6f,\"unpacker_sums_cpu_s\":%.6f,"
	       "\"to_msgpack\":%.4f}\n",
	    rows_n, bytes->n, ROUNDS_N, library.wall_s, bare.wall_s,
	    sums.wall_s, library.cpu_s, bare.cpu_s, sums.cpu_s,
	    bare.wall_s / library.wall_s);
}

int
main(int argc, char **argv)
{
	struct bench_plan plan = { 0 };
	uint64_t rows_n = ROWS_DEFAULT;
	char sql[sizeof(sql_format) + 20];
	struct buf bytes;
	int opt;

	while ((opt = getopt(argc, argv, "s:r:")) != -1) {
		if (opt == 's')
			plan.socket_path = optarg;
		else if (opt == 'r')
			rows_n = strtoull(optarg, NULL, 10);
		else
			rows_n = 0;
	}
	if (!plan.socket_path || rows_n < 1 || rows_n > ROWS_MAX ||
	    argc > optind + 1)
		errx(2, "usage: decode -s SOCKET [-r ROWS] [DATABASE]");
	plan.database = argv[optind];
	snprintf(sql, sizeof(sql), sql_format, rows_n);
	bytes = record(&plan, sql);
	measure(&bytes, sql, rows_n);
	buf_fini(&bytes);
	return fflush(stdout) == 0 ? 0 : 1;
}
