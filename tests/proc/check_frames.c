/* check_frames.c - what strangers send changes nothing for others (P6, P8).
 *
 * Beside each attack a bystander in another process pings, reads and writes.
 * The attack is repeated until the bystander has made its rounds, so that it is
 * always seen to go on; it must meet no error and no long wait.
 *
 * conformance.py, which knows every message and fault of PROTOCOL.md, runs here
 * too. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "proto/error.h"
#include "proto/frame.h"
#include "tests/lib/dice.h"
#include "tests/lib/hex.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* Rounds the bystander makes during an attack, and how long one may take. */
#define ROUNDS   INT64_C(25)
#define ROUND_US 2000000

static struct live live;

/* --- The bystander -------------------------------------------------------- */

struct bystander {
	bool keeps_short; /* it makes no read transactions */
	_Atomic int64_t rounds;
	_Atomic int64_t slowest_us;
	_Atomic bool stop;
};

static struct bystander *bystander;
static pid_t bystander_pid;

static void
make_round(struct sqlpool_conn *conn, int64_t n)
{
	char sql[64];
	int rc = sqlpool_ping(conn);

	PROC_CHECK(rc == 0, "PING: %s", sqlpool_get_error(conn)->message);
	snprintf(
	    sql, sizeof(sql), "INSERT INTO seen VALUES (%lld)", (long long)n);
	live_exec(conn, sql);
	if (!bystander->keeps_short)
		live_exec(conn, "BEGIN"); /* then a heavy reader has it */
	PROC_CHECK(live_get_int(conn, "SELECT count(*) FROM seen") == n,
	    "a row was not seen");
	if (!bystander->keeps_short)
		live_exec(conn, "COMMIT");
}

static void
stand_by(void *arg)
{
	struct sqlpool_conn *conn = live_connect(&live, "bystander");

	(void)arg;
	live_exec(conn, "CREATE TABLE seen(n)");
	for (int64_t n = 1; !atomic_load(&bystander->stop); n++) {
		int64_t began_us = clock_now_us(), took_us;

		make_round(conn, n);
		took_us = clock_now_us() - began_us;
		if (took_us > atomic_load(&bystander->slowest_us))
			atomic_store(&bystander->slowest_us, took_us);
		atomic_store(&bystander->rounds, n);
	}
	sqlpool_close(conn);
}

static bool
has_made_rounds(const void *arg)
{
	const int64_t *until = arg;

	return atomic_load(&bystander->rounds) >= *until;
}

static void
start_bystander(const char *const *options, bool keeps_short)
{
	int64_t until = ROUNDS;

	live_init(&live);
	live_start(&live, options);
	bystander = proc_share(sizeof(*bystander));
	bystander->keeps_short = keeps_short;
	bystander_pid = proc_fork(stand_by, NULL);
	proc_wait_until(has_made_rounds, &until, "the bystander");
}

static void
stop_bystander(void)
{
	int64_t until = atomic_load(&bystander->rounds) + ROUNDS;

	proc_wait_until(has_made_rounds, &until, "the bystander, afterwards");
	atomic_store(&bystander->stop, true);
	proc_join(bystander_pid);
	PROC_CHECK(bystander->slowest_us < ROUND_US * proc_get_slowness(),
	    "a round took %lld us", (long long)bystander->slowest_us);
	live_stop(&live);
	live_check_file(live.db_path);
	live_fini(&live);
}

/* Repeat an attack until the bystander has made its rounds beside it. */
static void
attack_beside(void (*attack)(unsigned i))
{
	int64_t until = atomic_load(&bystander->rounds) + ROUNDS;
	unsigned i = 0;

	do {
		attack(i++);
	} while (atomic_load(&bystander->rounds) < until);
}

/* --- Bytes ---------------------------------------------------------------- */

static uint32_t dice = 1;

static uint32_t
roll(uint32_t sides)
{
	return dice_roll(&dice, sides);
}

/* A connection's first frames, all of them good. */
static void
put_talk(struct rawconn *c)
{
	raw_put_hello(c);
	raw_put(c, TYPE_PING, 0);
	raw_put_exec(c, 0, "SELECT count(*) FROM seen WHERE n > 'x'");
	raw_put_begin(c, 1, TX_MODE_DEFERRED);
	raw_put_exec(c, 1, "SELECT n FROM seen LIMIT 3");
	raw_put_end(c, 1, false);
}

/* Send what is left, say that this is all, and wait for the end. */
static void
finish_talk(struct rawconn *c, size_t n)
{
	struct rawreply r;

	raw_send(c, c->out.p, n);
	shutdown(c->fd, SHUT_WR);
	while (raw_take(c, &r))
		continue;
	raw_close(c);
}

static void
cut_and_leave(unsigned i)
{
	struct rawconn c;

	(void)i;
	for (size_t n = 0;; n++) {
		bool whole;

		raw_connect(&c, live.socket_path);
		put_talk(&c);
		whole = n == c.out.n;
		PROC_CHECK(raw_send(&c, c.out.p, n), "%zu bytes: %s", n,
		    strerror(errno));
		raw_close(&c);
		if (whole)
			return;
	}
}

static void
cut_and_wait(unsigned i)
{
	struct rawconn c;

	(void)i;
	for (size_t n = 0;; n++) {
		bool whole;

		raw_connect(&c, live.socket_path);
		put_talk(&c);
		whole = n == c.out.n;
		finish_talk(&c, n);
		if (whole)
			return;
	}
}

/* One byte after the other is another one. */
static void
change_bytes(unsigned i)
{
	struct rawconn c;
	size_t all;

	for (size_t at = 0;; at++) {
		raw_connect(&c, live.socket_path);
		put_talk(&c);
		all = c.out.n;
		if (at < all)
			c.out.p[at] = i == 0 ? (uint8_t)~c.out.p[at]
					     : (uint8_t)roll(256);
		finish_talk(&c, all);
		if (at == all)
			return;
	}
}

/* Bytes without any sense, in a frame or not, before HELLO or after it. */
static void
send_garbage(unsigned i)
{
	uint8_t bytes[4096];
	uint32_t n = 1 + roll(sizeof(bytes) - 1);
	struct rawconn c;

	for (uint32_t k = 0; k < n; k++)
		bytes[k] = (uint8_t)roll(256);
	if (i % 2 && n > FRAME_PREFIX_BYTES)
		frame_put_prefix(bytes, n - FRAME_PREFIX_BYTES);
	raw_connect(&c, live.socket_path);
	if (i % 4 > 1)
		raw_put_hello(&c);
	buf_put(&c.out, bytes, n);
	finish_talk(&c, c.out.n);
}

static void
come_and_go(unsigned i)
{
	struct rawconn c[32];

	for (size_t k = 0; k < COUNT(c); k++) {
		raw_connect(&c[k], live.socket_path);
		put_talk(&c[k]);
		if (i % 2)
			raw_flush(&c[k]);
	}
	for (size_t k = 0; k < COUNT(c); k++)
		raw_close(&c[k]);
}

static void (*const attacks[])(unsigned i) = {
	cut_and_leave,
	cut_and_wait,
	change_bytes,
	send_garbage,
	come_and_go,
};

START_TEST(bytes_of_strangers_do_not_disturb_others)
{
	start_bystander(NULL, false);
	attack_beside(attacks[_i]);
	stop_bystander();
}
END_TEST

/* --- Faults with a name --------------------------------------------------- */

#define EXEC_HEAD "82 00 03 01 07 "
#define OFF_LIMIT "ce 01 00 00 01 "

/* Fault: what follows HELLO.  If the connection ends, why it does is also in
 * the log. */
static const struct {
	const char *hex;
	int code;
	const char *logged; /* NULL: the connection lives on */
} faults[] = {
	{ "cd 00 00 00 00 ", ERR_FRAME_MAGIC, "not 0xCE" },
	{ OFF_LIMIT, ERR_FRAME_TOO_LONG, "longer than the limit" },
	{ "ce ff ff ff ff ", ERR_FRAME_TOO_LONG, "longer than the limit" },
	{ "ce 00 00 00 00 ", ERR_FRAME_MALFORMED, "two msgpack maps" },
	{ "ce 00 00 00 02 80 c1 ", ERR_FRAME_MALFORMED, "two msgpack maps" },
	{ "ce 00 00 00 02 80 90 ", ERR_FRAME_MALFORMED, "two msgpack maps" },
	{ "ce 00 00 00 03 80 80 80 ", ERR_FRAME_MALFORMED, "two msgpack maps" },
	{ "ce 00 00 00 05 df ff ff ff ff ", ERR_FRAME_MALFORMED,
	    "two msgpack maps" },
	{ "ce 00 00 00 0f " EXEC_HEAD "81 02 91 91 91 91 91 91 91 90 ",
	    ERR_FRAME_TOO_DEEP, "nested deeper" },
	{ "ce 00 00 00 06 82 00 03 01 07 80 ", ERR_FIELD_MISSING, NULL },
	{ "ce 00 00 00 06 82 00 63 01 07 80 ", ERR_REQUEST_UNKNOWN, NULL },
	{ "ce 00 00 00 08 " EXEC_HEAD "81 00 07 ", ERR_FIELD_TYPE, NULL },
	{ "ce 00 00 00 08 " EXEC_HEAD "81 a0 07 ", ERR_FIELD_TYPE, NULL },
	{ "ce 00 00 00 08 " EXEC_HEAD "81 40 07 ", ERR_FIELD_UNKNOWN, NULL },
	{ "ce 00 00 00 0a " EXEC_HEAD "82 00 a0 00 a0 ", ERR_FIELD_RANGE,
	    NULL },
};

static void
make_fault(size_t i)
{
	struct rawconn c;
	struct rawreply r;

	raw_open(&c, live.socket_path);
	ck_assert_int_eq(hex_parse(faults[i].hex, &c.out), 0);
	raw_flush(&c);
	PROC_CHECK(raw_take(&c, &r), "fault %zu: no answer", i);
	ck_assert_uint_eq(r.head.type, TYPE_ERROR);
	ck_assert_uint_eq(r.head.id, faults[i].logged ? 0 : 7);
	ck_assert_msg(r.tell.code == (uint64_t)faults[i].code,
	    "fault %zu: %llu: %.*s", i, (unsigned long long)r.tell.code,
	    (int)r.tell.message.n, (const char *)r.tell.message.p);
	if (faults[i].logged)
		raw_expect_end(&c);
	else
		raw_expect(&c, raw_put(&c, TYPE_PING, 0), 0);
	raw_close(&c);
}

START_TEST(a_fault_is_named_and_a_close_is_logged)
{
	char *log;

	start_bystander(NULL, false);
	for (size_t i = 0; i < COUNT(faults); i++) {
		make_fault(i);
		log = live_read_log(&live);
		ck_assert_msg(
		    !faults[i].logged || strstr(log, faults[i].logged),
		    "fault %zu is not in the log: %s", i, log);
		free(log);
	}
	stop_bystander();
}
END_TEST

/* --- Slowness ------------------------------------------------------------- */

#define SLOW_N 50

/* All send their bytes one at a time, in turns; in the end all are served. */
static void
drip(unsigned i)
{
	static struct rawconn c[SLOW_N];
	struct rawreply r;
	size_t all;

	(void)i;
	for (size_t k = 0; k < SLOW_N; k++) {
		raw_connect(&c[k], live.socket_path);
		put_talk(&c[k]);
	}
	all = c[0].out.n;
	for (size_t at = 0; at < all; at++)
		for (size_t k = 0; k < SLOW_N; k++)
			PROC_CHECK(raw_send(&c[k], c[k].out.p + at, 1),
			    "the daemon lost its patience");
	for (size_t k = 0; k < SLOW_N; k++) {
		buf_reset(&c[k].out);
		raw_wait(&c[k], c[k].last_id, &r);
		ck_assert_uint_eq(r.head.type, TYPE_OK);
		raw_close(&c[k]);
	}
}

START_TEST(one_byte_at_a_time_is_served_and_holds_up_nobody)
{
	start_bystander(NULL, false);
	attack_beside(drip);
	stop_bystander();
}
END_TEST

/* --- Memory --------------------------------------------------------------- */

/* What clients that do not read, or only announce, may make the daemon hold. */
#define DEAF_N   4
#define BOUND_KB (64 * 1024L * DEAF_N)

static const char inline_sql[] = "SELECT zeroblob(60000)";
static const char heavy_sql[] =
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT "
    "1200) SELECT x, zeroblob(1000) FROM c";
static const char endless_sql[] =
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
    "SELECT x, zeroblob(1000) FROM c";

static const char *const deaf_sql[] = { inline_sql, heavy_sql, endless_sql };

/* Send requests until the daemon takes no more, and read nothing. */
static void
fill_up(struct rawconn *c, const char *sql)
{
	int flags = fcntl(c->fd, F_GETFL);
	struct pollfd p = { .fd = c->fd, .events = POLLOUT };

	fcntl(c->fd, F_SETFL, flags | O_NONBLOCK);
	for (int i = 0; i < 2000; i++)
		raw_put_exec(c, 0, sql);
	for (size_t at = 0; at < c->out.n;) {
		ssize_t n = send(
		    c->fd, c->out.p + at, c->out.n - at, MSG_NOSIGNAL);

		at += n > 0 ? (size_t)n : 0;
		if (n < 0 && (errno != EAGAIN || poll(&p, 1, 200) == 0))
			break;
	}
	buf_reset(&c->out);
	fcntl(c->fd, F_SETFL, flags);
}

START_TEST(a_client_that_never_reads_costs_bounded_memory)
{
	struct rawconn deaf[DEAF_N];
	int64_t until;
	long before_kb, kb;

	start_bystander(NULL, true); /* they take all heavy readers */
	before_kb = live_get_rss_kb(&live);
	for (size_t i = 0; i < DEAF_N; i++) {
		raw_open(&deaf[i], live.socket_path);
		fill_up(&deaf[i], deaf_sql[_i]);
	}
	until = atomic_load(&bystander->rounds) + 4 * ROUNDS;
	proc_wait_until(has_made_rounds, &until, "the bystander");
	kb = live_get_rss_kb(&live) - before_kb;
	printf("%.40s...: %ld KiB for %d clients\n", deaf_sql[_i], kb, DEAF_N);
	ck_assert_msg(kb < BOUND_KB * (proc_get_slowness() > 1 ? 4 : 1),
	    "%d clients that do not read cost %ld KiB", DEAF_N, kb);
	for (size_t i = 0; i < DEAF_N; i++)
		raw_close(&deaf[i]);
	stop_bystander();
}
END_TEST

/* One client alone cannot take them all. */
START_TEST(a_client_that_never_reads_leaves_readers_for_others)
{
	struct rawconn deaf;
	int64_t until;

	start_bystander(NULL, false);
	raw_open(&deaf, live.socket_path);
	fill_up(&deaf, deaf_sql[_i]);
	until = atomic_load(&bystander->rounds) + ROUNDS;
	proc_wait_until(has_made_rounds, &until, "the bystander");
	raw_close(&deaf);
	stop_bystander();
}
END_TEST

START_TEST(an_announced_frame_costs_nothing_before_it_comes)
{
	static struct rawconn c[200];
	static const uint8_t prefix[] = { 0xce, 0x00, 0xff, 0xff, 0xff, 0x82 };
	long before_kb, kb;

	start_bystander(NULL, false);
	before_kb = live_get_rss_kb(&live);
	for (size_t i = 0; i < COUNT(c); i++) {
		raw_open(&c[i], live.socket_path);
		ck_assert(raw_send(&c[i], prefix, sizeof(prefix)));
	}
	kb = live_get_rss_kb(&live) - before_kb;
	ck_assert_msg(kb < 32 * 1024L * proc_get_slowness(),
	    "%zu announcements cost %ld KiB", COUNT(c), kb);
	for (size_t i = 0; i < COUNT(c); i++)
		raw_close(&c[i]);
	stop_bystander();
}
END_TEST

/* Results that nobody fetches end with STALLED; then the client reads, and
 * finds its connection in order. */
START_TEST(a_result_that_is_not_fetched_ends)
{
	struct rawconn c;
	uint64_t id;

	start_bystander(LIVE_OPTIONS("stall_timeout=100ms"), false);
	raw_open(&c, live.socket_path);
	id = raw_put_exec(&c, 0, endless_sql);
	raw_expect(&c, id, ERR_STALLED);
	raw_expect(&c, raw_put(&c, TYPE_PING, 0), 0);
	raw_close(&c);
	stop_bystander();
}
END_TEST

/* --- The protocol's page -------------------------------------------------- */

static void
run_conformance(void *arg)
{
	(void)arg;
	execl("/usr/bin/python3", "/usr/bin/python3",
	    "tests/proc/conformance.py", "--slow", live.socket_path, "app",
	    (char *)NULL);
	proc_fail("python3: %s", strerror(errno));
}

START_TEST(the_daemon_does_what_the_protocol_says)
{
	live_init(&live);
	live_start(&live,
	    LIVE_OPTIONS("request_timeout=30s", "tx_idle_timeout=300ms",
		"stall_timeout=2s"));
	proc_join(proc_fork(run_conformance, NULL));
	live_stop(&live);
	live_check_file(live.db_path);
	live_fini(&live);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("frames");
	TCase *tc = tcase_create("bytes");

	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, bytes_of_strangers_do_not_disturb_others, 0,
	    (int)COUNT(attacks));
	tcase_add_test(tc, a_fault_is_named_and_a_close_is_logged);
	suite_add_tcase(suite, tc);
	tc = tcase_create("slowness");
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, one_byte_at_a_time_is_served_and_holds_up_nobody);
	tcase_add_test(tc, a_result_that_is_not_fetched_ends);
	suite_add_tcase(suite, tc);
	tc = tcase_create("memory");
	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, a_client_that_never_reads_costs_bounded_memory,
	    0, (int)COUNT(deaf_sql));
	tcase_add_loop_test(tc,
	    a_client_that_never_reads_leaves_readers_for_others, 0,
	    (int)COUNT(deaf_sql));
	tcase_add_test(tc, an_announced_frame_costs_nothing_before_it_comes);
	suite_add_tcase(suite, tc);
	tc = tcase_create("protocol");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, the_daemon_does_what_the_protocol_says);
	suite_add_tcase(suite, tc);
	return suite;
}

int
main(void)
{
	SRunner *runner = srunner_create(make_suite());
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
