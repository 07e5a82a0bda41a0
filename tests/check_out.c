/* check_out.c - the bytes that wait to be written to a client. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/out.h"
#include "tests/lib/fixture.h"

#define LARGE ((size_t)200000)

static struct out_pool pool;
static struct out out;
static int fds[2]; /* out is written to the first */
static uint64_t put_n, read_n;

static void
setup(void)
{
	pool = (struct out_pool){ 0 };
	out_init(&out, &pool);
	ck_assert_int_eq(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	put_n = read_n = 0;
}

static void
teardown(void)
{
	out_fini(&out);
	ck_assert_uint_eq(out.bytes, 0);
	out_pool_fini(&pool);
	close(fds[0]);
	close(fds[1]);
}

/* The bytes of the whole stream: number i is this. */
static uint8_t
get_byte(uint64_t i)
{
	return (uint8_t)(i * 7 + i / 251);
}

/* Bytes that come next in the stream, behind `before` others; the caller frees
 * them. */
static uint8_t *
make_bytes(size_t before, size_t n)
{
	uint8_t *p = malloc(before + n + 1);

	ck_assert_ptr_nonnull(p);
	memset(p, 0xee, before);
	for (size_t i = 0; i < n; i++)
		p[before + i] = get_byte(put_n++);
	return p;
}

static void
put(size_t n)
{
	uint8_t *p = make_bytes(0, n);

	ck_assert(out_put(&out, p, n));
	free(p);
}

/* As large results come: in a buffer of which a part was sent already. */
static void
move(size_t from, size_t n)
{
	struct buf b = { .p = make_bytes(from, n), .n = from + n };

	b.cap = b.n + 1;
	ck_assert(out_move(&out, &b, from));
	buf_fini(&b);
}

/* As replies are written: in place, piece by piece. */
static void
append(size_t n)
{
	uint8_t *p = make_bytes(0, n);
	struct buf *b = out_begin(&out);

	ck_assert_ptr_nonnull(b);
	for (size_t i = 0; i < n; i++)
		buf_put(b, p + i, 1);
	out_end(&out, b);
	free(p);
}

/* Read what has arrived; it must go on where the last read ended. */
static void
drain(void)
{
	static uint8_t got[65536];
	ssize_t n;

	while ((n = read(fds[1], got, sizeof(got))) > 0)
		for (ssize_t i = 0; i < n; i++)
			if (got[i] != get_byte(read_n++))
				ck_abort_msg("byte %llu is wrong",
				    (unsigned long long)read_n - 1);
}

static void
write_all(void)
{
	while (out.bytes > 0) {
		ssize_t n = out_write(&out, fds[0]);

		if (n == -EAGAIN)
			drain();
		else if (n <= 0)
			ck_abort_msg("out_write: %zd", n);
	}
	drain();
	ck_assert_uint_eq(read_n, put_n);
}

START_TEST(out_writes_small_pieces_as_one)
{
	for (int i = 0; i < 10; i++) {
		put(10);
		append(5);
	}
	ck_assert_uint_eq(out.bytes, 150);
	ck_assert_int_eq(out_write(&out, fds[0]), 150);
	ck_assert_uint_eq(out.bytes, 0);
	drain();
	ck_assert_uint_eq(read_n, 150);
	ck_assert_int_eq(read(fds[1], &(char){ 0 }, 1), -1);
}
END_TEST

START_TEST(out_keeps_the_order_of_all_kinds_of_pieces)
{
	for (int i = 0; i < 20; i++) {
		put(100);
		move(0, LARGE);
		append(33);
		move(12345, 3000); /* so little is copied */
		move(777, LARGE / 3);
		put(0);
		put(70000);
	}
	write_all();
}
END_TEST

START_TEST(out_goes_on_where_a_full_socket_stopped_it)
{
	int small = 4096;

	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	move(0, LARGE);
	put(LARGE);
	ck_assert_int_gt(out_write(&out, fds[0]), 0);
	while (out_write(&out, fds[0]) > 0)
		continue;
	ck_assert_int_eq(out_write(&out, fds[0]), -EAGAIN);
	ck_assert_uint_gt(out.bytes, 0);
	ck_assert_uint_lt(out.bytes, 2 * LARGE);
	append(1000); /* behind a half-written segment */
	write_all();
}
END_TEST

START_TEST(out_moves_a_large_buffer_without_a_copy)
{
	struct buf b = { .p = make_bytes(0, LARGE), .n = LARGE, .cap = LARGE };

	put(10);
	put_n -= 10; /* write out of turn: only the pointer matters here */
	ck_assert(out_move(&out, &b, 0));
	ck_assert_ptr_null(b.p);
	ck_assert_uint_eq(b.n, 0);
	ck_assert_uint_eq(out.bytes, LARGE + 10);
}
END_TEST

START_TEST(out_tells_that_the_peer_is_gone)
{
	put(10);
	close(fds[1]);
	ck_assert_int_eq(out_write(&out, fds[0]), -EPIPE);
	ck_assert_uint_eq(out.bytes, 10);
	fds[1] = dup(fds[0]);
}
END_TEST

/* A busy worker allocates nothing: what one client has written serves the
 * next, up to a bound. */
START_TEST(out_keeps_empty_segments_for_the_next_client)
{
	struct out other;

	for (int i = 0; i < 200; i++)
		put(65536);
	write_all();
	ck_assert_uint_eq(pool.n, 64);
	out_init(&other, &pool);
	ck_assert(out_put(&other, (const uint8_t *)"x", 1));
	ck_assert_uint_eq(pool.n, 63);
	out_fini(&other);
	ck_assert_uint_eq(pool.n, 64);
	/* but not a very large one */
	out_pool_fini(&pool);
	ck_assert_uint_eq(pool.n, 0);
	move(0, 5 * LARGE);
	write_all();
	ck_assert_uint_eq(pool.n, 0);
}
END_TEST

START_TEST(out_of_nothing_writes_nothing)
{
	struct buf *b = out_begin(&out);

	out_end(&out, b);
	ck_assert_uint_eq(out.bytes, 0);
	ck_assert_int_eq(out_write(&out, fds[0]), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("out");
	TCase *tc = tcase_create("out");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, out_writes_small_pieces_as_one);
	tcase_add_test(tc, out_keeps_the_order_of_all_kinds_of_pieces);
	tcase_add_test(tc, out_goes_on_where_a_full_socket_stopped_it);
	tcase_add_test(tc, out_moves_a_large_buffer_without_a_copy);
	tcase_add_test(tc, out_tells_that_the_peer_is_gone);
	tcase_add_test(tc, out_keeps_empty_segments_for_the_next_client);
	tcase_add_test(tc, out_of_nothing_writes_nothing);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
