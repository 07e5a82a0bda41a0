/* check_counters.c - what the daemon counts, compared with what was done: every
 * counter and histogram of daemon/stats.def that a client can drive.
 * (tests/check_counters.py looks that none is forgotten.) */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "proto/error.h"
#include "proto/value.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

static struct live live;
static struct rawconn admin, a, b;
static struct rawreply stats, latency, errors;
static struct buf kept[3]; /* what those three point to */

static void
start(const char *const *options)
{
	live_init(&live);
	live_start(&live, options);
	raw_open(&admin, live.socket_path);
	raw_open(&a, live.socket_path);
	raw_open(&b, live.socket_path);
	raw_run(&a, 0, "CREATE TABLE t(id INTEGER PRIMARY KEY, v UNIQUE)", 0);
}

static void
stop(void)
{
	for (int i = 0; i < 3; i++)
		buf_fini(&kept[i]);
	raw_close(&admin);
	raw_close(&a);
	raw_close(&b);
	live_stop(&live);
	live_fini(&live);
}

/* Spans of a reply point into the connection: keep the frame. */
static void
ask(const char *command, struct rawreply *r, struct buf *keep)
{
	const uint8_t *from;

	raw_wait(&admin, raw_put_admin(&admin, command), r);
	ck_assert_uint_eq(r->tell.code, 0);
	buf_reset(keep);
	buf_put(keep, admin.in.p, admin.taken);
	from = admin.in.p;
	r->tell.rows.p = keep->p + (r->tell.rows.p - from);
	r->tell.columns.p = keep->p + (r->tell.columns.p - from);
}

static void
look(void)
{
	ask("SHOW STATS", &stats, &kept[0]);
	ask("SHOW LATENCY", &latency, &kept[1]);
	ask("SHOW ERRORS", &errors, &kept[2]);
}

static int64_t
get(const char *name)
{
	return raw_find_int(&stats, name, NULL, "value");
}

static void
expect(const char *name, int64_t n)
{
	ck_assert_msg(get(name) == n, "%s is %lld, not %lld", name,
	    (long long)get(name), (long long)n);
}

static void
expect_db(const char *name, int64_t n)
{
	expect(name, n); /* the one database is "app" */
}

/* How many were observed on a road, and their sum. */
static void
expect_hist(const char *name, const char *road, int64_t n, int64_t sum)
{
	struct span cur = latency.tell.rows;
	int64_t found = -1, total = -1;
	struct value v;
	uint32_t rows_n;

	value_read(&cur, &v);
	rows_n = v.count;
	for (uint32_t i = 0; i < rows_n; i++) {
		struct value row[8];
		uint32_t cells_n;

		value_read(&cur, &v);
		cells_n = v.count;
		ck_assert(cells_n >= 5 && cells_n <= 8);
		for (uint32_t k = 0; k < cells_n; k++)
			value_read(&cur, &row[k]);
		if (row[1].s.n != strlen(name) ||
		    memcmp(row[1].s.p, name, row[1].s.n) != 0 ||
		    (road ? row[2].s.n != strlen(road) ||
				memcmp(row[2].s.p, road, row[2].s.n) != 0
			  : row[2].kind != VALUE_NULL))
			continue;
		found = row[3].i;
		total = (int64_t)(row[4].f * (double)row[3].i + 0.5);
	}
	ck_assert_msg(found == n, "%s on %s: %lld, not %lld", name,
	    road ? road : "-", (long long)found, (long long)n);
	if (sum >= 0)
		ck_assert_msg(total == sum, "%s: %lld in all, not %lld", name,
		    (long long)total, (long long)sum);
}

static void
expect_error(int code, int64_t n)
{
	struct span cur = errors.tell.rows;
	int64_t found = 0;
	struct value v;
	uint32_t rows_n;

	value_read(&cur, &v);
	rows_n = v.count;
	for (uint32_t i = 0; i < rows_n; i++) {
		struct value row[4];

		value_read(&cur, &v);
		ck_assert_uint_eq(v.count, 4);
		for (int k = 0; k < 4; k++)
			value_read(&cur, &row[k]);
		if (row[0].i == code)
			found = row[3].i;
	}
	ck_assert_msg(found == n, "error %d: %lld, not %lld", code,
	    (long long)found, (long long)n);
}

/* Until the daemon has seen that connections were closed. */
static void
wait_for(const char *name, int64_t n)
{
	int64_t deadline_us = proc_get_deadline_us(PROC_WAIT_MS);

	do
		look();
	while (get(name) < n && clock_now_us() < deadline_us);
	expect(name, n);
}

/* --- Requests --------------------------------------------------------------- */

static void
read_some(void)
{
	uint64_t id = 0;

	for (int i = 0; i < 4; i++)
		raw_run(&a, 0, "SELECT 1", 0);
	for (int i = 0; i < 5; i++) /* one write: they arrive together */
		id = raw_put_exec(&a, 0, "SELECT 2");
	raw_expect(&a, id, 0);
	/* too large for a worker; the second time that is known */
	raw_run(&a, 0, "SELECT zeroblob(100000)", 0);
	raw_run(&a, 0, "SELECT zeroblob(100000)", 0);
}

START_TEST(reads_are_counted_by_the_way_they_ran)
{
	start(LIVE_OPTIONS("workers=1"));
	read_some();
	look();
	expect("reads_inline", 9);
	expect("read_batches", 1);
	expect("reads_escalated", 1);
	expect("reads_heavy", 2);
	/* CREATE TABLE, the two long reads, SHOW STATS itself */
	expect("requests_away", 4);
	expect("requests_home", 3);
	expect("errors", 0);
	expect_hist("queue_wait", "inline", 9, -1);
	expect_hist("execution", "inline", 9, -1);
	expect_hist("queue_wait", "reader", 2, -1);
	expect_hist("execution", "reader", 2, -1);
	expect_hist("batch_size", NULL, 1, 5);
	stop();
}
END_TEST

/* b holds the writer while n requests of a queue up behind it. */
static void
queue_up(uint64_t *ids, int n)
{
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, "INSERT INTO t(v) VALUES(NULL)", 0);
	for (int i = 0; i < n; i++)
		ids[i] = raw_put_exec(&a, 0, "INSERT INTO t(v) VALUES(NULL)");
	raw_flush(&a);
	live_wait_queue(&live, n);
}

START_TEST(writes_are_counted_with_their_groups)
{
	int64_t began_us = clock_now_us(), waited_us, most_us;
	uint64_t ids[6];

	start(LIVE_OPTIONS("workers=1")); /* CREATE TABLE is a write, too */
	for (int i = 0; i < 3; i++)
		raw_run(&a, 0, "INSERT INTO t(v) VALUES(NULL)", 0);
	queue_up(ids, 6);
	waited_us = clock_now_us();
	live_wait_queue(&live, 6);
	waited_us = clock_now_us() - waited_us;
	raw_end(&b, true);
	for (int i = 0; i < 6; i++)
		raw_expect(&a, ids[i], 0);
	most_us = clock_now_us() - began_us;
	look();
	/* CREATE TABLE counts as a write, and runs by itself */
	expect("writes", 1 + 3 + 1 + 6);
	expect("commits", 1 + 3 + 1 + 1);
	expect("group_size_max", 6);
	expect("transactions", 1);
	expect("groups_rerun", 0);
	ck_assert_int_ge(get("write_us_max"), waited_us);
	ck_assert_int_le(get("write_us_max"), most_us);
	expect_hist("group_size", NULL, 3 + 1, 3 + 6);
	expect_hist("commit", NULL, 1 + 3 + 1 + 1, -1);
	/* of the transaction only what it ran: it took nothing for BEGIN, and
	 * the end is no statement */
	expect_hist("queue_wait", "writer", 1 + 3 + 1 + 6, -1);
	expect_hist("execution", "writer", 1 + 3 + 1 + 6, -1);
	stop();
}
END_TEST

START_TEST(errors_are_counted_by_their_code)
{
	uint64_t ids[2];

	start(LIVE_OPTIONS("workers=1", "max_queue=2"));
	for (int i = 0; i < 2; i++)
		raw_run(&a, 0, "INSERT INTO t(id) VALUES(1)", i ? 1555 : 0);
	raw_run(&a, 0, "SELECT nonsense", 1);
	raw_run(&a, 7, "COMMIT", 1);
	queue_up(ids, 2);
	raw_run(&a, 0, "INSERT INTO t(v) VALUES(NULL)", ERR_QUEUE_FULL);
	raw_expect(&a, raw_put_cancel(&a, ids[0]), 0);
	raw_expect(&a, ids[0], ERR_CANCELLED);
	a.timeout_ms = 30;
	raw_run(&a, 0, "INSERT INTO t(v) VALUES(NULL)", ERR_DEADLINE);
	a.timeout_ms = 0;
	look();
	/* one waits for the writer, and SHOW STATS sees itself */
	ck_assert_int_eq(get("requests_away") - get("requests_home"), 2);
	raw_end(&b, false);
	raw_expect(&a, ids[1], 0);
	look();
	expect("errors", 6);
	/* the others never ran: one could not be prepared */
	expect_db("failed", 1);
	expect("queue_full", 1);
	expect("cancels", 1);
	expect("deadlines", 1);
	expect_error(1555, 1);
	expect_error(1, 2);
	expect_error(ERR_QUEUE_FULL, 1);
	expect_error(ERR_CANCELLED, 1);
	expect_error(ERR_DEADLINE, 1);
	expect_error(ERR_INTERNAL, 0);
	stop();
}
END_TEST

/* --- Connections and bytes ---------------------------------------------------- */

START_TEST(connections_are_counted_from_their_first_to_their_last_moment)
{
	struct rawconn more[3], refused;
	struct rawreply r;

	start(LIVE_OPTIONS("max_clients=6"));
	for (int i = 0; i < 3; i++)
		raw_open(&more[i], live.socket_path);
	raw_connect(&refused, live.socket_path);
	ck_assert(raw_take(&refused, &r));
	ck_assert_uint_eq(r.tell.code, ERR_TOO_MANY_CLIENTS);
	raw_close(&refused);
	raw_close(&more[0]);
	raw_close(&more[1]);
	ck_assert(raw_send(&more[2], "x", 1));
	ck_assert(raw_take(&more[2], &r));
	ck_assert_uint_eq(r.tell.code, ERR_FRAME_MAGIC);
	raw_expect_end(&more[2]);
	raw_close(&more[2]);
	wait_for("clients_closed", 3);
	expect("clients_accepted", 6);
	expect("clients_refused", 1);
	expect("bad_frames", 1);
	stop();
}
END_TEST

START_TEST(bytes_and_requests_are_those_that_passed_the_socket)
{
	int64_t in, out, requests;

	start(LIVE_OPTIONS("workers=1"));
	ask("SHOW STATS", &stats, &kept[0]);
	in = get("bytes_in");
	out = get("bytes_out") + (int64_t)kept[0].n; /* what it was before */
	requests = get("requests");
	raw_put_exec(&a, 0, "SELECT 'some bytes', zeroblob(1000)");
	in += (int64_t)a.out.n;
	raw_expect(&a, a.last_id, 0);
	out += (int64_t)a.taken;
	raw_put_admin(&admin, "SHOW STATS"); /* as ask() does */
	in += (int64_t)admin.out.n;
	buf_reset(&admin.out);
	admin.last_id--;
	ask("SHOW STATS", &stats, &kept[0]);
	expect("bytes_in", in);
	expect("bytes_out", out);
	expect("requests", requests + 2);
	stop();
}
END_TEST

/* --- The log ------------------------------------------------------------------ */

static size_t
read_wal(uint8_t *head, size_t n)
{
	char path[LIVE_PATH_MAX + 8];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s-wal", live.db_path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(read(fd, head, n), (ssize_t)n);
	ck_assert_int_eq(fstat(fd, &st), 0);
	close(fd);
	return (size_t)st.st_size;
}

static uint32_t
get_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	    (uint32_t)p[2] << 8 | p[3];
}

/* The header of the log says how large its pages are, and how often it began
 * anew: sqlite.org/fileformat2.html, "WAL Format". */
START_TEST(the_log_is_counted_as_its_file_says)
{
	uint8_t head[32];
	uint32_t began, page_bytes;
	size_t n;

	start(LIVE_OPTIONS("synchronous=normal"));
	n = read_wal(head, sizeof(head));
	page_bytes = get_be32(head + 8);
	began = get_be32(head + 12);
	look();
	expect("wal_frames_max", (int64_t)(n - 32) / (24 + page_bytes));
	expect("checkpoints", 0);
	expect("wal_restarts", 0);
	/* about a second after the last commit all is copied, at once; so the
	 * next commit begins the log anew */
	wait_for("checkpoints", 1);
	raw_run(&a, 0, "INSERT INTO t(v) VALUES(NULL)", 0);
	read_wal(head, sizeof(head));
	ck_assert_uint_eq(get_be32(head + 12), began + 1);
	wait_for("wal_restarts", 1);
	stop();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("counters");
	TCase *tc = tcase_create("counters");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, reads_are_counted_by_the_way_they_ran);
	tcase_add_test(tc, writes_are_counted_with_their_groups);
	tcase_add_test(tc, errors_are_counted_by_their_code);
	tcase_add_test(
	    tc, connections_are_counted_from_their_first_to_their_last_moment);
	tcase_add_test(tc, bytes_and_requests_are_those_that_passed_the_socket);
	tcase_add_test(tc, the_log_is_counted_as_its_file_says);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
