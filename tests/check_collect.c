/* check_collect.c - bytes into frames, frames into requests. */
#include <check.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/collect.h"
#include "proto/error.h"
#include "proto/frame.h"
#include "tests/lib/fixture.h"
#include "tests/lib/hex.h"
#include "tests/lib/msgjson.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct fixture fx;
static struct loop loop;
static struct client *cl;
static int peer; /* the client's end */

static void
open_client(const char *options)
{
	int fds[2];

	fixture_open(&fx, options, NULL);
	loop = (struct loop){
		.base = event_base_new(),
		.conf = fx.conf,
		.dbs = &fx.dbs,
		.read = collect_read,
		.arena = malloc(COLLECT_ARENA_BYTES),
	};
	ck_assert_ptr_nonnull(loop.base);
	ck_assert_ptr_nonnull(loop.arena);
	ck_assert_int_eq(mailbox_open(&loop.mailbox), 0);
	ck_assert_int_eq(
	    socketpair(
		AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
	    0);
	peer = fds[1];
	cl = client_new(&loop, &(struct peer){ .fd = fds[0], .pid = 4711 });
	ck_assert_ptr_nonnull(cl);
}

static void
setup(void)
{
	open_client(NULL);
}

static void
close_client(void)
{
	struct request *r;

	while ((r = line_pop(&loop.collected)))
		client_free_request(cl, r);
	client_close(cl, CLOSE_SHUTDOWN);
	client_flush_dirty(&loop);
	loop.more = NULL;
	cl->has_more = false;
	client_free_zombies(&loop);
	ck_assert_ptr_null(loop.zombies);
	out_pool_fini(&loop.pool);
	request_pool_fini(&loop.requests);
	mailbox_close(&loop.mailbox);
	event_base_free(loop.base);
	free(loop.arena);
	close(peer);
	fixture_close(&fx);
}

/* What a worker does in a turn, before it looks at the requests. */
static void
turn(void)
{
	loop.arena_n = 0;
	event_base_loop(loop.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	collect_more(&loop);
}

static void
send_bytes(const uint8_t *p, size_t n)
{
	ck_assert_int_eq(write(peer, p, n), (ssize_t)n);
}

/* Append a frame that EXECs a text of n bytes. */
static void
put_exec(struct buf *b, uint64_t id, size_t n)
{
	struct msg_out m;
	char *sql = malloc(n + 1);

	ck_assert_ptr_nonnull(sql);
	memset(sql, 'x', n);
	sql[n] = '\0';
	msg_begin_body(&m, b, TYPE_EXEC, id, 0);
	msg_put_str(&m, ASK_sql, sql);
	ck_assert_int_eq(msg_end(&m, FRAME_HARD_MAX_BYTES), 0);
	free(sql);
}

/* Take the next collected one, which must have this id. */
static struct request *
take(uint64_t id)
{
	struct request *r = line_pop(&loop.collected);

	if (!r)
		ck_abort_msg(
		    "number %llu is not there", (unsigned long long)id);
	ck_assert_uint_eq(r->id, id);
	return r;
}

static void
take_and_free(uint64_t id)
{
	client_free_request(cl, take(id));
}

/* What was replied, as text. */
static const char *
get_reply(void)
{
	static uint8_t bytes[65536];
	ssize_t n;

	client_flush_dirty(&loop);
	n = read(peer, bytes, sizeof(bytes));
	return n > 0 ? fixture_say(&fx, bytes, (size_t)n) : "";
}

/* --- Frames in pieces ------------------------------------------------------ */

START_TEST(collect_waits_until_a_frame_is_complete)
{
	struct buf b;

	buf_init(&b);
	put_exec(&b, 1, 50);
	for (size_t i = 0; i < b.n; i++) {
		turn();
		ck_assert_ptr_null(loop.collected.head);
		send_bytes(b.p + i, 1);
	}
	turn();
	take_and_free(1);
	ck_assert_ptr_null(loop.collected.head);
	ck_assert_str_eq(get_reply(), "");
	buf_fini(&b);
	close_client();
}
END_TEST

/* Two frames, cut at any byte of both. */
START_TEST(collect_does_not_mind_where_frames_are_cut)
{
	struct buf b;

	buf_init(&b);
	put_exec(&b, 1, 20);
	put_exec(&b, 2, 30);
	for (size_t cut = 1; cut < b.n; cut++) {
		send_bytes(b.p, cut);
		turn();
		send_bytes(b.p + cut, b.n - cut);
		turn();
		take_and_free(1);
		take_and_free(2);
		ck_assert_uint_eq(cl->partial.n, 0);
	}
	buf_fini(&b);
	close_client();
}
END_TEST

/* What one read gave came at one time, and what came later, later. */
START_TEST(collect_notes_when_a_frame_arrived)
{
	int64_t first_us, before_us = clock_now_us();
	struct buf b;

	buf_init(&b);
	for (uint64_t id = 1; id <= 3; id++)
		put_exec(&b, id, 10);
	send_bytes(b.p, b.n);
	turn();
	first_us = loop.collected.head->arrived_us;
	ck_assert_int_ge(first_us, before_us);
	ck_assert_int_eq(loop.collected.tail->arrived_us, first_us);
	for (uint64_t id = 1; id <= 3; id++)
		take_and_free(id);
	before_us = clock_now_us();
	buf_reset(&b);
	put_exec(&b, 4, 100000); /* a buffer of its own */
	put_exec(&b, 5, 10);
	send_bytes(b.p, b.n);
	while (!loop.collected.tail || loop.collected.tail->id != 5)
		turn();
	ck_assert_int_ge(loop.collected.head->arrived_us, before_us);
	take_and_free(4);
	take_and_free(5);
	buf_fini(&b);
}
END_TEST

START_TEST(collect_takes_long_frames_and_what_comes_with_them)
{
	struct buf b;
	size_t sent = 0;
	uint64_t id = 1;

	buf_init(&b);
	put_exec(&b, 1, 10);
	put_exec(&b, 2, 60000);
	put_exec(&b, 3, 70000);
	put_exec(&b, 4, 1000000);
	put_exec(&b, 5, 10);
	put_exec(&b, 6, 200000);
	put_exec(&b, 7, 10);
	put_exec(&b, 8, 65536);
	put_exec(&b, 9, 10);
	while (id <= 9) {
		ssize_t n = write(peer, b.p + sent, b.n - sent);

		sent += n > 0 ? (size_t)n : 0;
		turn();
		while (loop.collected.head) {
			struct request *r = take(id++);

			ck_assert_uint_eq(r->sql.p[r->sql.n - 1], 'x');
			ck_assert_uint_eq(r->bytes_n, r->content.n);
			client_free_request(cl, r);
		}
	}
	ck_assert_uint_eq(sent, b.n);
	ck_assert_uint_eq(cl->partial.n, 0);
	buf_fini(&b);
	close_client();
}
END_TEST

/* The others wait for their turn. */
START_TEST(collect_takes_no_more_than_64_requests_of_one_client_in_a_turn)
{
	struct buf b;
	uint64_t id = 1;

	buf_init(&b);
	for (uint64_t i = 1; i <= 150; i++)
		put_exec(&b, i, 1);
	send_bytes(b.p, b.n);
	for (int k = 0; k < 3; k++) {
		unsigned n = 0;

		loop.arena_n = 0;
		if (k == 0)
			collect_read(cl);
		else
			collect_more(&loop);
		for (; loop.collected.head; n++)
			take_and_free(id++);
		ck_assert_uint_eq(n, k < 2 ? 64 : 22);
		ck_assert_int_eq(cl->has_more, k < 2);
	}
	ck_assert_ptr_null(loop.more);
	buf_fini(&b);
	close_client();
}
END_TEST

/* They wait anyway, and a CANCEL may be among them. */
START_TEST(collect_takes_of_one_that_is_behind_what_may_be_under_way)
{
	struct buf b;

	open_client("max_in_flight=100");
	cl->late = true;
	buf_init(&b);
	for (uint64_t i = 1; i <= 150; i++)
		put_exec(&b, i, 1);
	send_bytes(b.p, b.n);
	turn();
	ck_assert_uint_eq(cl->requests_n, 100);
	send_bytes(b.p, 1);
	turn(); /* nothing more, until some have had their turn */
	ck_assert_uint_eq(cl->requests_n, 100);
	for (uint64_t id = 1; id <= 100; id++)
		take_and_free(id);
	turn();
	ck_assert_uint_eq(cl->requests_n, 50);
	for (uint64_t id = 101; id <= 150; id++)
		take_and_free(id);
	ck_assert_uint_eq(cl->requests_bytes, 0);
	buf_fini(&b);
	close_client();
}
END_TEST

START_TEST(collect_takes_of_one_that_is_behind_what_bytes_may_be_under_way)
{
	struct buf b;

	open_client("max_client_bytes=64KB");
	cl->late = true;
	buf_init(&b);
	for (uint64_t i = 1; i <= 100; i++)
		put_exec(&b, i, 1000);
	send_bytes(b.p, b.n);
	turn();
	ck_assert_uint_ge(cl->requests_bytes, 64 << 10);
	ck_assert_uint_lt(cl->requests_bytes, (64 << 10) + 2000);
	while (cl->requests_n > 0)
		client_free_request(cl, line_pop(&loop.collected));
	buf_fini(&b);
	close_client();
}
END_TEST

START_TEST(collect_reads_all_that_one_that_is_behind_has_sent)
{
	struct buf b;

	open_client(NULL);
	buf_init(&b);
	for (uint64_t i = 1; i <= 30; i++)
		put_exec(&b, i, 5000);
	ck_assert_uint_gt(b.n, 2 << 16);
	send_bytes(b.p, b.n);
	turn();
	ck_assert_uint_lt(cl->requests_n, 30);
	cl->late = true;
	turn();
	ck_assert_uint_eq(cl->requests_n, 30);
	for (uint64_t id = 1; id <= 30; id++)
		take_and_free(id);
	buf_fini(&b);
	close_client();
}
END_TEST

/* But not what came before HELLO. */
START_TEST(collect_lets_cancel_come_first)
{
	struct request *r;
	struct msg_out m;
	struct buf b;

	buf_init(&b);
	put_exec(&b, 1, 10);
	msg_begin_body(&m, &b, TYPE_CANCEL, 2, 0);
	msg_put_uint(&m, ASK_target, 1);
	ck_assert_int_eq(msg_end(&m, FRAME_HARD_MAX_BYTES), 0);
	send_bytes(b.p, b.n);
	turn();
	take_and_free(1);
	take_and_free(2);
	cl->said_hello = true;
	send_bytes(b.p, b.n);
	turn();
	take_and_free(1);
	ck_assert_ptr_null(loop.collected.head);
	r = line_pop(&loop.cancels);
	ck_assert_uint_eq(r->id, 2);
	client_free_request(cl, r);
	buf_fini(&b);
	close_client();
}
END_TEST

START_TEST(collect_sees_the_end)
{
	struct buf b;

	buf_init(&b);
	put_exec(&b, 1, 10);
	send_bytes(b.p, b.n - 1);
	turn();
	shutdown(peer, SHUT_WR);
	turn();
	ck_assert(cl->closed);
	ck_assert_int_eq(cl->why, CLOSE_BY_CLIENT);
	ck_assert_ptr_null(loop.collected.head);
	buf_fini(&b);
	close_client();
}
END_TEST

/* --- What a request is ----------------------------------------------------- */

static void
send_form(json_t *form)
{
	struct buf b;

	ck_assert_ptr_nonnull(form);
	buf_init(&b);
	msgjson_encode(form, false, &b);
	send_bytes(b.p, b.n);
	buf_fini(&b);
	json_decref(form);
	turn();
}

START_TEST(collect_fills_in_what_the_frame_says)
{
	struct request *r;

	send_form(
	    json_pack("{s:{s:s, s:i, s:i, s:s}, s:{s:s, s:[i, s], s:i, s:b}}",
		"head", "type", "EXEC", "id", 7, "stream", 3, "database", "app",
		"body", "sql", "SELECT ?, ?", "params", 1, "two", "max_rows", 5,
		"commit", 1));
	r = take(7);
	ck_assert_int_eq(r->type, TYPE_EXEC);
	ck_assert_uint_eq(r->stream, 3);
	ck_assert_int_eq(memcmp(r->database.p, "app", r->database.n), 0);
	ck_assert_uint_eq(r->database.n, 3);
	ck_assert_int_eq(memcmp(r->sql.p, "SELECT ?, ?", r->sql.n), 0);
	ck_assert_uint_eq(r->params.n, 6);
	ck_assert_uint_eq(r->max_rows, 5);
	ck_assert(r->commit);
	ck_assert_int_eq(r->state, REQUEST_NEW);
	ck_assert_ptr_eq(r->client, cl);
	ck_assert_ptr_eq(r->home, &loop.mailbox);
	ck_assert_int_le(r->arrived_us, clock_now_us());
	client_free_request(cl, r);
	close_client();
}
END_TEST

/* clang-format off */
static const struct timeout_case {
	int64_t timeout_ms; /* 0: none given */
	int64_t want_us;
} timeouts[] = {
	{ 0, 0 },
	{ 1, 1000 },
	{ 1500, 1500000 },
	{ 86400000, 86400000000 },
	{ 86400001, 86400000000 },
	{ INT64_MAX, 86400000000 },
};
/* clang-format on */

START_TEST(collect_takes_the_timeout_up_to_a_day)
{
	const struct timeout_case *c = &timeouts[_i];
	struct request *r;
	json_t *form;

	form = json_pack(
	    "{s:{s:s, s:i}, s:{}}", "head", "type", "PING", "id", 1, "body");
	if (c->timeout_ms)
		json_object_set_new(json_object_get(form, "head"), "timeout_ms",
		    json_integer(c->timeout_ms));
	send_form(form);
	r = take(1);
	ck_assert_int_eq(r->timeout_us, c->want_us);
	client_free_request(cl, r);
	close_client();
}
END_TEST

START_TEST(collect_keep_outlives_the_bytes_it_was_read_from)
{
	struct request *r, *big;
	struct buf b;

	send_form(json_pack("{s:{s:s, s:i, s:s}, s:{s:s, s:[s]}}", "head",
	    "type", "EXEC", "id", 1, "database", "app", "body", "sql",
	    "SELECT ?", "params", "text"));
	r = take(1);
	ck_assert_int_eq(collect_keep(r), 0);
	memset(loop.arena, 0, COLLECT_ARENA_BYTES);
	ck_assert_int_eq(memcmp(r->sql.p, "SELECT ?", r->sql.n), 0);
	ck_assert_int_eq(memcmp(r->database.p, "app", r->database.n), 0);
	ck_assert_int_eq(memcmp(r->params.p, "\x91\xa4text", 6), 0);
	client_free_request(cl, r);
	/* one that has its frame keeps it */
	buf_init(&b);
	put_exec(&b, 2, 300000);
	for (size_t at = 0; at < b.n;) {
		ssize_t n = write(peer, b.p + at, b.n - at);

		at += n > 0 ? (size_t)n : 0;
		turn();
	}
	while (!loop.collected.head)
		turn();
	big = take(2);
	ck_assert_ptr_nonnull(big->frame);
	ck_assert_int_eq(collect_keep(big), 0);
	ck_assert_uint_eq(big->sql.p[299999], 'x');
	client_free_request(cl, big);
	buf_fini(&b);
	close_client();
}
END_TEST

/* --- Faults ---------------------------------------------------------------- */

static void
send_hex(const char *hex)
{
	struct buf b;

	buf_init(&b);
	ck_assert_int_eq(hex_parse(hex, &b), 0);
	send_bytes(b.p, b.n);
	buf_fini(&b);
	turn();
}

/* A prefix for content in hex. */
static void
send_content(const char *hex)
{
	uint8_t prefix[FRAME_PREFIX_BYTES];
	struct buf b;

	buf_init(&b);
	ck_assert_int_eq(hex_parse(hex, &b), 0);
	frame_put_prefix(prefix, (uint32_t)b.n);
	send_bytes(prefix, sizeof(prefix));
	send_bytes(b.p, b.n);
	buf_fini(&b);
	turn();
}

/* clang-format off */
/* Faults of fields: the request is answered, and the connection lives. */
static const struct field_case {
	const char *content, *reply;
} fields[] = {
	{ "81 01 07 80", "ERROR name=FIELD_MISSING message='field 0 (type) is required'" },
	{ "81 00 02 80", "ERROR name=FIELD_MISSING message='field 1 (id) is required'" },
	{ "82 00 02 01 00 80", "ERROR name=FIELD_MISSING message='field 1 (id) is required'" },
	{ "82 00 a161 01 07 80", "ERROR name=FIELD_TYPE message='field 0 (type) must be an integer from 0 to 2^63-1, given once'" },
	{ "82 00 02 01 ff 80", "ERROR name=FIELD_RANGE message='field 1 (id) must be an integer from 0 to 2^63-1, given once'" },
	{ "83 00 02 01 07 40 05 80", "ERROR name=FIELD_UNKNOWN message='field 64 is not known here, and fields from 64 on must be understood'" },
	{ "82 00 03 01 07 81 00 05", "ERROR name=FIELD_TYPE message='field 0 (sql) must be a UTF-8 string without NUL, given once'" },
	{ "82 00 03 01 07 82 00 a161 00 a162", "ERROR name=FIELD_RANGE message='field 0 (sql) must be a UTF-8 string without NUL, given once'" },
	{ "82 00 03 01 07 81 a161 05", "ERROR name=FIELD_TYPE message='a field key must be an integer from 0 to 127'" },
};
/* clang-format on */

START_TEST(collect_answers_a_fault_in_a_field)
{
	send_content(fields[_i].content);
	ck_assert_str_eq(get_reply(), fields[_i].reply);
	ck_assert_ptr_null(loop.collected.head);
	ck_assert(!cl->closed && !cl->hangs_up);
	send_content("82 00 02 01 08 80");
	take_and_free(8);
	close_client();
}
END_TEST

/* clang-format off */
static const struct good_case {
	const char *content;
	int type;
	uint64_t id;
} goods[] = {
	{ "82 00 02 01 05 80", TYPE_PING, 5 },
	{ "81 00 0c 80", TYPE_CREDIT, 0 },
	{ "81 00 0b 80", TYPE_CANCEL, 0 },
	/* types that nobody knows are answered when their turn comes */
	{ "82 00 3f 01 05 80", 63, 5 },
	{ "82 00 cc c8 01 05 80", 0, 5 },
	{ "82 00 cf 7fffffffffffffff 01 05 80", 0, 5 },
	/* fields that need not be understood */
	{ "83 00 02 01 05 3f a3616263 81 3f 90", TYPE_PING, 5 },
};
/* clang-format on */

START_TEST(collect_takes_what_it_need_not_understand)
{
	const struct good_case *c = &goods[_i];
	struct request *r;

	send_content(c->content);
	r = take(c->id);
	ck_assert_int_eq((int)r->type, c->type);
	client_free_request(cl, r);
	ck_assert_str_eq(get_reply(), "");
	close_client();
}
END_TEST

/* clang-format off */
/* Faults of bytes: nobody knows where the next frame would begin. */
static const struct byte_case {
	const char *bytes, *reply;
} faults[] = {
	{ "00", "ERROR name=FRAME_MAGIC message='not a frame: the first byte is not 0xCE'" },
	{ "47 45 54 20 2f", "ERROR name=FRAME_MAGIC message='not a frame: the first byte is not 0xCE'" },
	{ "ce 00010001", "ERROR name=FRAME_TOO_LONG message='frame longer than the limit of 65536 bytes (max_frame)'" },
	{ "ce ffffffff", "ERROR name=FRAME_TOO_LONG message='frame longer than the limit of 65536 bytes (max_frame)'" },
	{ "ce 00000000", "ERROR name=FRAME_MALFORMED message='frame does not hold two msgpack maps'" },
	{ "ce 00000001 80", "ERROR name=FRAME_MALFORMED message='frame does not hold two msgpack maps'" },
	{ "ce 00000003 80 80 80", "ERROR name=FRAME_MALFORMED message='frame does not hold two msgpack maps'" },
	{ "ce 00000002 80 90", "ERROR name=FRAME_MALFORMED message='frame does not hold two msgpack maps'" },
	{ "ce 00000005 df ffffffff", "ERROR name=FRAME_MALFORMED message='frame does not hold two msgpack maps'" },
	{ "ce 0000000e 80 81 00 91 91 91 91 91 91 91 91 91 91 00", "ERROR name=FRAME_TOO_DEEP message='msgpack nested deeper than 8'" },
};
/* clang-format on */

START_TEST(collect_hangs_up_on_bytes_that_are_no_frame)
{
	open_client("max_frame=64KB");
	/* what came before is still collected */
	send_content("82 00 02 01 08 80");
	send_hex(faults[_i].bytes);
	take_and_free(8);
	ck_assert_ptr_null(loop.collected.head);
	ck_assert(cl->hangs_up);
	ck_assert_int_eq(cl->why, CLOSE_BAD_BYTES);
	ck_assert_str_eq(get_reply(), faults[_i].reply);
	close_client();
}
END_TEST

START_TEST(collect_hangs_up_on_a_long_frame_that_holds_nonsense)
{
	uint8_t bytes[100000] = { 0xce, 0, 1, 0x86, 0x9b };

	open_client(NULL);
	memset(bytes + 5, 0xc1, sizeof(bytes) - 5);
	for (size_t at = 0; at < sizeof(bytes) && !cl->hangs_up;) {
		ssize_t n = write(peer, bytes + at, sizeof(bytes) - at);

		at += n > 0 ? (size_t)n : 0;
		turn();
	}
	while (!cl->hangs_up)
		turn();
	ck_assert_str_eq(get_reply(),
	    "ERROR name=FRAME_MALFORMED message='frame does not hold two "
	    "msgpack maps'");
	close_client();
}
END_TEST

/* The daemon stops: what was sent is read to the end, then it is hung up on. */
START_TEST(collect_reads_to_the_end_what_a_draining_client_sent)
{
	struct buf b;

	open_client(NULL);
	buf_init(&b);
	put_exec(&b, 8, 10);
	send_bytes(b.p, b.n);
	client_stop_reading(cl);
	turn();
	take_and_free(8);
	turn();
	ck_assert(cl->hangs_up || cl->closed);
	ck_assert_int_eq(cl->why, CLOSE_SHUTDOWN);
	buf_fini(&b);
	close_client();
}
END_TEST

START_TEST(collect_checks_the_length_before_the_bytes_are_there)
{
	open_client("max_frame=64KB");
	send_hex("ce 00010000");
	ck_assert(!cl->hangs_up);
	send_hex("00");
	ck_assert(!cl->hangs_up);
	ck_assert_uint_le(cl->partial.cap, 1024);
	close_client();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("collect");
	TCase *tc = tcase_create("frames");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, collect_waits_until_a_frame_is_complete);
	tcase_add_test(tc, collect_does_not_mind_where_frames_are_cut);
	tcase_add_test(tc, collect_notes_when_a_frame_arrived);
	tcase_add_test(tc, collect_takes_long_frames_and_what_comes_with_them);
	tcase_add_test(
	    tc, collect_takes_no_more_than_64_requests_of_one_client_in_a_turn);
	tcase_add_test(tc, collect_lets_cancel_come_first);
	tcase_add_test(tc, collect_sees_the_end);
	tcase_add_test(tc, collect_fills_in_what_the_frame_says);
	tcase_add_loop_test(
	    tc, collect_takes_the_timeout_up_to_a_day, 0, (int)COUNT(timeouts));
	tcase_add_test(tc, collect_keep_outlives_the_bytes_it_was_read_from);
	tcase_add_loop_test(
	    tc, collect_answers_a_fault_in_a_field, 0, (int)COUNT(fields));
	tcase_add_loop_test(tc, collect_takes_what_it_need_not_understand, 0,
	    (int)COUNT(goods));
	suite_add_tcase(s, tc);
	tc = tcase_create("with options");
	tcase_add_loop_test(tc, collect_hangs_up_on_bytes_that_are_no_frame, 0,
	    (int)COUNT(faults));
	tcase_add_test(
	    tc, collect_takes_of_one_that_is_behind_what_may_be_under_way);
	tcase_add_test(tc,
	    collect_takes_of_one_that_is_behind_what_bytes_may_be_under_way);
	tcase_add_test(tc, collect_reads_all_that_one_that_is_behind_has_sent);
	tcase_add_test(
	    tc, collect_hangs_up_on_a_long_frame_that_holds_nonsense);
	tcase_add_test(
	    tc, collect_reads_to_the_end_what_a_draining_client_sent);
	tcase_add_test(
	    tc, collect_checks_the_length_before_the_bytes_are_there);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
