/* check_admin_random.c - kill, cancel and pause, at random, under load: each request
 * gets at most one answer, what was acknowledged is there, and in the end nothing is
 * left: no client, no request in a line, no snapshot. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "proto/error.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

#define CLIENTS_N  16
#define ACTIONS_N  1000
#define REQUESTS_N 4096

static struct live live;
static struct sqlpool_conn *admin;

/* What one connection sent; by id. */
static struct sender {
	struct rawconn c;
	bool inserts[REQUESTS_N]; /* outside of a transaction */
	bool answered[REQUESTS_N];
} senders[CLIENTS_N];

static int64_t sent_n, acknowledged_n;
static long put_n; /* at most so many requests were sent */

static char *
ask(const char *sql, const char *columns)
{
	return live_ask(admin, sql, columns);
}

static void
command(const char *sql)
{
	free(ask(sql, NULL));
}

static void
open_sender(struct sender *s)
{
	memset(s, 0, sizeof(*s));
	raw_open(&s->c, live.socket_path);
}

/* One terminal answer for each; a connection that was killed may owe some. */
static void
take_answers(struct sender *s, uint64_t last)
{
	struct rawreply r;

	while ((last == 0 || !s->answered[last]) && raw_take(&s->c, &r)) {
		uint64_t id = r.head.id;

		if (r.head.type == TYPE_ROWS || id == 0 || id >= REQUESTS_N)
			continue;
		PROC_CHECK(!s->answered[id], "request %llu has two answers",
		    (unsigned long long)id);
		s->answered[id] = true;
		acknowledged_n += s->inserts[id] && r.head.type == TYPE_DONE;
	}
}

/* Send what was put; a connection that was killed is taken to its end, and
 * opened anew. */
static void
send_all(struct sender *s)
{
	bool ok = raw_send(&s->c, s->c.out.p, s->c.out.n);

	buf_reset(&s->c.out);
	if (ok)
		return;
	take_answers(s, 0);
	raw_close(&s->c);
	open_sender(s);
}

static void
insert(struct sender *s)
{
	uint64_t id = raw_put_exec(&s->c, 0, "INSERT INTO t VALUES('alone')");

	s->inserts[id] = true;
	sent_n++;
	send_all(s);
}

/* On a stream of its own, so that what follows is outside of it.  It may stay
 * open: its limit ends it. */
static void
transact(struct sender *s, uint64_t stream)
{
	raw_put_begin(&s->c, stream, TX_MODE_IMMEDIATE);
	raw_put_exec(&s->c, stream, "INSERT INTO t VALUES('together')");
	if (random() % 2)
		raw_put_end(&s->c, stream, random() % 2);
	send_all(s);
}

static void
read_some(struct sender *s)
{
	raw_put_exec(&s->c, 0,
	    random() % 4 ? "SELECT count(*) FROM t"
			 : "SELECT zeroblob(200000)");
	send_all(s);
}

/* Of what SHOW CLIENTS lists, any. */
static void
act_on_client(bool kill_it)
{
	char *text = ask("SHOW CLIENTS", "client request application"), sql[96];
	char *lines[64], *save = NULL, *line;
	unsigned long long client, request = 0;
	int n = 0;

	for (line = strtok_r(text, "\n", &save); line && n < 64;
	     line = strtok_r(NULL, "\n", &save))
		if (strstr(line, "|raw"))
			lines[n++] = line;
	if (n > 0) {
		line = lines[random() % n];
		client = strtoull(line, &line, 10);
		request = strtoull(line + 1, NULL, 10);
		if (kill_it)
			snprintf(sql, sizeof(sql), "KILL %llu", client);
		else
			snprintf(sql, sizeof(sql), "CANCEL %llu %llu", client,
			    request);
		command(sql);
	}
	free(text);
}

static long
get_state(const char *state, const char *name)
{
	const char *at = strstr(state, name);

	ck_assert_ptr_nonnull(at);
	return strtol(at + strlen(name), NULL, 10);
}

/* Those that are not closing are as many as the daemon counts; no more requests
 * than were sent are under way, and none less than none. */
static void
check_sum(void)
{
	char *text = ask("SHOW CLIENTS", "state");
	char *state = ask("SHOW STATE", "name value");
	long n = 0;

	for (const char *p = text; *p; p = strchr(p, '\n') + 1)
		n += strncmp(p, "closing", 7) != 0;
	/* a killed one counts until its last bytes are written */
	ck_assert_int_le(n, get_state(state, "clients|"));
	ck_assert_int_ge(get_state(state, "requests|"), 1);
	ck_assert_int_le(get_state(state, "requests|"), put_n + 1);
	free(text);
	free(state);
}

static void
act(int i)
{
	struct sender *s = &senders[random() % CLIENTS_N];

	put_n += 3;
	switch (random() % 10) {
	case 0:
		act_on_client(true);
		break;
	case 1:
		act_on_client(false);
		break;
	case 2:
		command(i % 4 ? "RESUME app" : "PAUSE app");
		break;
	case 3:
		transact(s, (uint64_t)i + 1);
		break;
	case 4:
	case 5:
		read_some(s);
		break;
	default:
		insert(s);
	}
	if (i % 50 == 0)
		check_sum();
}

/* What there still was at the last look: a test that waits in vain says it. */
static char left[4096];

static bool
is_quiet(const void *arg)
{
	char *pools = ask("SHOW POOLS",
	    "clients active waiting writer queue queue_bytes readers_busy "
	    "snapshots reader_queue");
	char *clients = ask("SHOW CLIENTS", "state");
	char *state = ask("SHOW STATE", "name value");
	/* one that nobody asked for after a PAUSE is closed, and has no pool */
	bool quiet = (!*pools ||
			 strcmp(pools, "0|0|0|idle|0|0|0|0|0\n") == 0) &&
	    strcmp(clients, "busy\n") == 0 && /* who asks */
	    strstr(state, "clients|1\n") && strstr(state, "requests|1\n");

	(void)arg;
	snprintf(left, sizeof(left), "that all have gone: %s%s%s", pools,
	    clients, state);
	free(pools);
	free(clients);
	free(state);
	return quiet;
}

START_TEST(kill_cancel_and_pause_leave_nothing_behind)
{
	struct sqlpool_conn *conn;
	int64_t alone;

	srandom((unsigned)_i + 1);
	live_init(&live);
	live_start(&live,
	    LIVE_OPTIONS("workers=2", "synchronous=normal", "tx_max_age=100ms",
		"max_in_flight=4096"));
	admin = live_connect_admin(&live);
	for (int i = 0; i < CLIENTS_N; i++)
		open_sender(&senders[i]);
	raw_run(&senders[0].c, 0, "CREATE TABLE t(v)", 0);
	for (int i = 0; i < ACTIONS_N / proc_get_slowness(); i++)
		act(i);
	command("RESUME app");
	for (int i = 0; i < CLIENTS_N; i++) {
		uint64_t last = raw_put(&senders[i].c, TYPE_PING, 0);

		raw_send(&senders[i].c, senders[i].c.out.p, senders[i].c.out.n);
		take_answers(&senders[i], last);
	}
	/* what was sent before the PING may be answered after it */
	for (int i = 0; i < CLIENTS_N; i++) {
		for (uint64_t id = 1; id <= senders[i].c.last_id; id++)
			if (senders[i].inserts[id])
				take_answers(&senders[i], id);
		raw_close(&senders[i].c);
	}
	proc_wait_until(is_quiet, NULL, left);
	conn = live_connect(&live, "after");
	alone = live_get_int(conn, "SELECT count(*) FROM t WHERE v = 'alone'");
	ck_assert_int_ge(alone, acknowledged_n);
	ck_assert_int_le(alone, sent_n);
	ck_assert_int_gt(acknowledged_n, 0);
	sqlpool_close(conn);
	sqlpool_close(admin);
	live_stop(&live);
	live_check_file(live.db_path);
	live_fini(&live);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("admin_random");
	TCase *tc = tcase_create("admin_random");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(
	    tc, kill_cancel_and_pause_leave_nothing_behind, 0, 2);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
