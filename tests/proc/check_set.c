/* check_set.c - SET, CHECKPOINT, and how much there is of everything: SHOW LIMITS,
 * MEMORY, WORKERS, POOLS. */
#include <check.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "proto/error.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define INSERT      "INSERT INTO t VALUES(1)"

/* Long enough for any test. */
#define LONG_READ                                                             \
	"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT " \
	"4000000000) SELECT max(i) FROM n"
#define LONG_INSERT "INSERT INTO t " LONG_READ

static struct live live;
static struct sqlpool_conn *admin;
static struct rawconn a, b;

static void
start(const char *const *options)
{
	live_init(&live);
	live_start(&live, options);
	admin = live_connect_admin(&live);
	raw_open(&a, live.socket_path);
	raw_open(&b, live.socket_path);
	raw_run(&a, 0, "CREATE TABLE t(v)", 0);
}

static void
stop(void)
{
	sqlpool_close(admin);
	raw_close(&a);
	raw_close(&b);
	live_stop(&live);
	live_fini(&live);
}

/* The number behind "name|" at the beginning of a line. */
static int64_t
get(const char *sql, const char *columns, const char *name)
{
	char *text = live_ask(admin, sql, columns), *save = NULL;
	size_t n = strlen(name);
	int64_t v = -1;

	for (char *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		if (strncmp(line, name, n) == 0 && line[n] == '|')
			v = strtoll(line + n + 1, NULL, 10);
	free(text);
	return v;
}

/* --- SET --------------------------------------------------------------------------- */

START_TEST(set_changes_what_is_live_at_once)
{
	uint64_t id;

	start(LIVE_OPTIONS("workers=1"));
	live_expect_text(admin, "SET max_queue = 1", NULL, "");
	live_expect_part(admin, "SHOW CONFIG",
	    "database name value source live", "\n|max_queue|1|SET|yes\n");
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, INSERT, 0);
	id = raw_put_exec(&a, 0, INSERT);
	raw_flush(&a);
	live_wait_queue(&live, 1);
	raw_run(&a, 0, INSERT, ERR_QUEUE_FULL);
	live_expect_text(admin, "set APP.max_queue = 2", NULL,
	    "NOT_ALLOWED: nothing has changed: no database of the "
	    "configuration is called APP; those of the directory have what is "
	    "set for all");
	live_expect_text(admin, "set app.max_queue=\"2\" ;", NULL, "");
	live_expect_part(admin, "SHOW CONFIG",
	    "database name value source live", "\napp|max_queue|2|SET|yes\n");
	raw_put_exec(&a, 0, INSERT);
	raw_flush(&a);
	live_wait_queue(&live, 2);
	raw_end(&b, true);
	raw_expect(&a, id, 0);
	stop();
}
END_TEST

/* What a database was given itself stays, whatever holds for all. */
START_TEST(set_for_all_leaves_alone_what_one_was_given)
{
	start(LIVE_OPTIONS("app.request_timeout=7s"));
	live_expect_text(admin, "SET request_timeout = 1s", NULL, "");
	live_expect_part(admin, "SHOW CONFIG", "database name value source",
	    "\napp|request_timeout|7s|command line\n");
	ck_assert_int_eq(
	    get("SHOW LIMITS", "name most", "max_snapshot_age"), 300000);
	live_expect_text(admin, "SET max_snapshot_age = 1s", NULL, "");
	ck_assert_int_eq(
	    get("SHOW LIMITS", "name most", "max_snapshot_age"), 1000);
	stop();
}
END_TEST

START_TEST(set_holds_until_the_configuration_is_read_again)
{
	start(LIVE_OPTIONS("max_in_flight=50", "app.max_queue=7"));
	live_expect_text(admin, "SET max_in_flight = 60", NULL, "");
	live_expect_text(admin, "SET app.max_queue = 8", NULL, "");
	ck_assert_int_eq(get("SHOW LIMITS", "name most", "max_in_flight"), 60);
	ck_assert_int_eq(get("SHOW LIMITS", "name most", "max_queue"), 8);
	live_expect_text(admin, "RELOAD", NULL, "");
	ck_assert_int_eq(get("SHOW LIMITS", "name most", "max_in_flight"), 50);
	ck_assert_int_eq(get("SHOW LIMITS", "name most", "max_queue"), 7);
	live_expect_part(admin, "SHOW CONFIG", "name value source",
	    "\nmax_in_flight|50|command line\n");
	stop();
}
END_TEST

/* All answers, in any order: that to the last RELOAD may overtake others. */
static void
take_all(struct rawconn *c, int n)
{
	struct rawreply r;

	raw_flush(c);
	for (int i = 0; i < n; i++) {
		ck_assert(raw_take(c, &r));
		ck_assert_uint_eq(r.tell.code, 0);
	}
}

START_TEST(set_and_reload_at_once_leave_what_came_last)
{
	char sql[64];

	start(LIVE_OPTIONS("workers=2", "app.max_queue=7"));
	for (int i = 0; i < 30; i++) {
		raw_put_admin(&a, "RELOAD");
		snprintf(sql, sizeof(sql), "SET app.max_queue = %d", 100 + i);
		raw_put_admin(&b, sql);
		snprintf(sql, sizeof(sql), "SET max_in_flight = %d", 100 + i);
		raw_put_admin(&b, sql);
	}
	raw_flush(&b);
	take_all(&a, 30);
	take_all(&b, 60);
	live_expect_text(admin, "RELOAD", NULL, "");
	ck_assert_int_eq(get("SHOW LIMITS", "name most", "max_queue"), 7);
	/* no reading comes after the answer that it gave */
	live_expect_text(admin, "SET app.max_queue = 9", NULL, "");
	ck_assert_int_eq(get("SHOW LIMITS", "name most", "max_queue"), 9);
	stop();
}
END_TEST

/* clang-format off */
static const char *const wrong[][2] = {
	{ "SET", "write it as: SET [DATABASE.]OPTION = VALUE" },
	{ "SET max_clients", "write it as: SET [DATABASE.]OPTION = VALUE" },
	{ "SET max_clients =", "nothing has changed: max_clients = : write" },
	{ "SET = 5", "nothing has changed: no option is called " },
	{ "SET nonsense = 5", "nothing has changed: no option is called nonsense" },
	{ "SET max_clients = many", "nothing has changed: max_clients = many: write" },
	{ "SET max_clients = 0", "nothing has changed: max_clients = 0 is out of range" },
	{ "SET workers = 2", "workers cannot change while the daemon runs: change it in the configuration and restart the daemon" },
	{ "SET app.path = /tmp/x", "path cannot change while the daemon runs" },
	{ "SET socket = /tmp/x", "socket cannot change while the daemon runs" },
	{ "SET none.max_queue = 5", "no database of the configuration is called none" },
	{ "SET .max_queue = 5", "write it as DATABASE.max_queue" },
	{ "SET app.max_clients = 5", "max_clients is not an option of one database" },
	{ "SET wal_limit = 2GB", "database app: wal_hard_limit is below wal_limit" },
	{ "SET app.wal_hard_limit = 1MB", "database app: wal_hard_limit is below wal_limit" },
	{ "SET app.busy_wait = 1s", "database app: nobody can make it wait" },
	{ "SET app.tx_idle_timeout = 2min", "database app: a transaction cannot be idle" },
	{ "SET tx_idle_timeout = 2min", "database app: a transaction cannot be idle" },
};
/* clang-format on */

START_TEST(set_refuses_what_cannot_be_and_changes_nothing)
{
	char *before, *after;

	start(NULL);
	before = live_ask(admin, "SHOW CONFIG", NULL);
	for (size_t i = 0; i < COUNT(wrong); i++)
		live_expect_part(admin, wrong[i][0], NULL, wrong[i][1]);
	after = live_ask(admin, "SHOW CONFIG", NULL);
	ck_assert_str_eq(before, after);
	free(before);
	free(after);
	stop();
}
END_TEST

/* There are 4096: 64 for what there is anyway, 8 for each of 201 databases. */
START_TEST(set_refuses_what_would_take_more_descriptors_than_there_are)
{
	struct rlimit files = { 4096, 4096 };

	setrlimit(RLIMIT_NOFILE, &files);
	live_init(&live);
	live_start(&live, LIVE_OPTIONS("directory=/tmp"));
	admin = live_connect_admin(&live);
	live_expect_text(admin, "SET max_clients = 2425", NULL,
	    "NOT_ALLOWED: nothing has changed: at most 4096 file descriptors "
	    "are allowed (RLIMIT_NOFILE), and max_clients = 2425 with 201 open "
	    "databases needs 4097: raise the limit (LimitNOFILE= of the "
	    "service), or lower max_clients or max_open");
	live_expect_text(admin, "SET max_clients = 2424", NULL, "");
	live_expect_part(
	    admin, "SET max_open = 201", NULL, "needs 4104: raise the limit");
	live_expect_text(admin, "SET max_clients = 2416", NULL, "");
	live_expect_text(admin, "SET max_open = 201", NULL, "");
	ck_assert_int_eq(get("SHOW LIMITS", "name most", "max_clients"), 2416);
	sqlpool_close(admin);
	live_stop(&live);
	live_fini(&live);
}
END_TEST

/* --- CHECKPOINT ----------------------------------------------------------------------- */

START_TEST(checkpoint_copies_what_was_committed_before)
{
	int64_t before;

	start(LIVE_OPTIONS("workers=1"));
	for (int i = 0; i < 5; i++) {
		raw_run(&a, 0, INSERT, 0);
		ck_assert_int_gt(
		    get("SHOW WAL", "database pending_bytes", "app"), 0);
		before = live_get_stat(&live, "checkpoints");
		live_expect_text(admin, "CHECKPOINT app",
		    "database pending_bytes cause", "app|0|none\n");
		ck_assert_int_gt(live_get_stat(&live, "checkpoints"), before);
	}
	/* nothing is left to copy, and nothing is done */
	before = live_get_stat(&live, "checkpoints");
	live_expect_text(admin, "CHECKPOINT app", "pending_bytes", "0\n");
	ck_assert_int_eq(live_get_stat(&live, "checkpoints"), before);
	stop();
}
END_TEST

START_TEST(checkpoint_waits_for_its_turn)
{
	uint64_t id;
	struct rawreply r;

	start(LIVE_OPTIONS("workers=2"));
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, INSERT, 0);
	id = raw_put_admin(&a, "CHECKPOINT app");
	raw_let_arrive(&a);
	raw_end(&b, true);
	raw_wait(&a, id, &r);
	ck_assert_uint_eq(r.tell.code, 0);
	ck_assert_int_eq(raw_find_int(&r, "app", NULL, "pending_bytes"), 0);
	stop();
}
END_TEST

START_TEST(checkpoint_copies_as_far_as_snapshots_allow)
{
	start(LIVE_OPTIONS("workers=2"));
	live_expect_text(admin, "CHECKPOINT app", "pending_bytes", "0\n");
	raw_begin(&b, TX_MODE_READ);
	raw_run(&b, 0, "SELECT * FROM t", 0);
	raw_run(&a, 0, INSERT, 0);
	ck_assert_int_gt(
	    get("CHECKPOINT app", "database pending_bytes", "app"), 0);
	raw_end(&b, true);
	live_expect_text(admin, "CHECKPOINT app", "pending_bytes", "0\n");
	stop();
}
END_TEST

START_TEST(checkpoint_is_refused_where_there_is_none)
{
	start(LIVE_OPTIONS("access=shared", "checkpoint=external"));
	live_expect_text(admin, "CHECKPOINT app", NULL,
	    "NOT_ALLOWED: another program checkpoints app (checkpoint = "
	    "external)");
	live_expect_part(admin, "CHECKPOINT none", NULL, "NO_DATABASE: ");
	live_expect_part(admin, "PAUSE app", NULL, "");
	live_expect_part(
	    admin, "CHECKPOINT", NULL, "write it as: CHECKPOINT DATABASE");
	stop();
	start(NULL);
	live_expect_part(admin, "PAUSE app", NULL, "");
	live_expect_text(admin, "CHECKPOINT app", NULL,
	    "DATABASE_DOWN: app is paused: it has no WAL that is in use");
	live_expect_part(admin, "RESUME app", NULL, "");
	stop();
}
END_TEST

/* It waits behind a transaction that never ends, and the daemon stops: both get
 * their answers. */
START_TEST(checkpoint_that_waits_does_not_keep_the_daemon)
{
	uint64_t id;
	struct rawreply r;

	start(LIVE_OPTIONS("workers=2", "shutdown_grace=100ms"));
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, INSERT, 0);
	id = raw_put_admin(&a, "CHECKPOINT app");
	raw_let_arrive(&a);
	kill(live.pid, SIGTERM);
	while (raw_take(&a, &r) && r.head.id != id)
		;
	ck_assert_uint_eq(r.head.id, id);
	ck_assert_int_eq(live_wait_exit(&live, PROC_WAIT_MS), 0);
	sqlpool_close(admin);
	raw_close(&a);
	raw_close(&b);
	live_fini(&live);
}
END_TEST

/* The writer has no turn before b's request has ended: the transaction that it is
 * in, or it itself. */
START_TEST(checkpoint_that_waits_can_be_cancelled)
{
	bool in_tx = _i == 0;
	uint64_t id, busy = 0;

	start(LIVE_OPTIONS("workers=2"));
	raw_run(&a, 0, INSERT, 0);
	if (in_tx) {
		raw_begin(&b, TX_MODE_IMMEDIATE);
		raw_run(&b, 0, INSERT, 0);
	} else {
		busy = raw_put_exec(&b, 0, LONG_INSERT);
		raw_flush(&b);
		live_wait_busy(&live, "writers");
	}
	id = raw_put_admin(&a, "CHECKPOINT app");
	raw_let_arrive(&a);
	raw_expect(&a, raw_put_cancel(&a, id), 0);
	raw_expect(&a, id, ERR_CANCELLED);
	a.timeout_ms = 20;
	raw_expect(&a, raw_put_admin(&a, "CHECKPOINT app"), ERR_DEADLINE);
	a.timeout_ms = 0;
	id = raw_put_admin(&a, "CHECKPOINT app"); /* others wait on */
	raw_let_arrive(&a);
	if (in_tx)
		raw_end(&b, true);
	else
		raw_expect(&b, raw_put_cancel(&b, busy), 0);
	raw_expect(&a, id, 0);
	live_expect_text(admin, "CHECKPOINT app", "pending_bytes", "0\n");
	stop();
}
END_TEST

static bool
is_nobody_closing(const void *arg)
{
	char *text = live_ask(admin, "SHOW CLIENTS", "state");
	bool none = !strstr(text, "closing");

	(void)arg;
	free(text);
	return none;
}

START_TEST(checkpoint_whose_client_is_gone_is_forgotten)
{
	start(LIVE_OPTIONS("workers=2"));
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, INSERT, 0);
	raw_put_admin(&a, "CHECKPOINT app");
	raw_let_arrive(&a);
	raw_close(&a);
	proc_wait_until(is_nobody_closing, NULL, "the client to be gone");
	raw_end(&b, true);
	live_expect_text(admin, "PAUSE app", NULL, ""); /* none has it open */
	live_check_file(live.db_path);
	raw_open(&a, live.socket_path);
	stop();
}
END_TEST

/* --- How much there is ----------------------------------------------------------------- */

static int64_t
count_files(void)
{
	char path[64];
	const struct dirent *entry;
	int64_t n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)live.pid);
	dir = opendir(path);
	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

START_TEST(limits_say_how_much_of_each_is_taken)
{
	static const char *const columns = "name used";
	uint64_t last = 0;

	start(LIVE_OPTIONS("workers=2", "max_queue=9", "max_clients=77"));
	ck_assert_int_eq(get("SHOW LIMITS", columns, "max_clients"), 3);
	ck_assert_int_eq(get("SHOW LIMITS", "name most", "max_clients"), 77);
	live_expect_part(
	    admin, "SHOW LIMITS", "name share", "max_clients|0.039\n");
	ck_assert_int_eq(get("SHOW LIMITS", columns, "max_queue"), 0);
	ck_assert_int_eq(
	    get("SHOW LIMITS", columns, "RLIMIT_NOFILE"), count_files());
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, INSERT, 0);
	for (int i = 0; i < 3; i++)
		last = raw_put_exec(&a, 0, INSERT);
	raw_flush(&a);
	live_wait_queue(&live, 3);
	ck_assert_int_eq(get("SHOW LIMITS", columns, "max_queue"), 3);
	ck_assert_int_eq(get("SHOW LIMITS", "name most", "max_queue"), 9);
	ck_assert_int_eq(get("SHOW LIMITS", columns, "max_in_flight"), 3);
	ck_assert_int_eq(get("SHOW LIMITS", columns, "max_queue_bytes"),
	    get("SHOW LIMITS", columns, "max_client_bytes"));
	raw_end(&b, true);
	raw_expect(&a, last, 0); /* the log is as long as it gets */
	raw_begin(&b, TX_MODE_READ);
	raw_run(&b, 0, "SELECT * FROM t", 0);
	ck_assert_int_eq(get("SHOW LIMITS", columns, "read_connections"), 1);
	ck_assert_int_gt(get("SHOW LIMITS", columns, "wal_limit"), 0);
	ck_assert_int_eq(get("SHOW LIMITS", columns, "wal_limit"),
	    get("SHOW WAL", "database bytes", "app"));
	raw_end(&b, true);
	stop();
}
END_TEST

/* Places that clients cannot fill: what a client's bytes are is known here. */
START_TEST(memory_says_who_has_it)
{
	static const char *const columns = "name bytes";
	static char sql[200000];
	int64_t kb;

	start(LIVE_OPTIONS("workers=2"));
	kb = live_get_rss_kb(&live);
	ck_assert_int_ge(
	    get("SHOW MEMORY", columns, "resident"), kb * 1024 / 2);
	if (proc_get_slowness() == 1) /* a sanitizer's heap says nothing */
		ck_assert_int_gt(get("SHOW MEMORY", columns, "heap"), 0);
	ck_assert_int_gt(get("SHOW MEMORY", columns, "worker_pages"), 0);
	ck_assert_int_gt(get("SHOW MEMORY", columns, "worker_statements"), 0);
	ck_assert_int_gt(get("SHOW MEMORY", columns, "statement_texts"), 0);
	ck_assert_int_eq(get("SHOW MEMORY", columns, "cache_most"),
	    (1 + get("SHOW POOLS", "database readers", "app")) * (16 << 20));
	ck_assert_int_lt(get("SHOW MEMORY", columns, "clients"), 1000);
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, INSERT, 0);
	snprintf(sql, sizeof(sql), "%-*s", (int)sizeof(sql) - 1, INSERT);
	raw_put_exec(&a, 0, sql);
	raw_flush(&a);
	live_wait_queue(&live, 1);
	ck_assert_int_ge(
	    get("SHOW MEMORY", columns, "clients"), (int64_t)sizeof(sql));
	ck_assert_int_ge(
	    get("SHOW MEMORY", columns, "queue"), (int64_t)sizeof(sql) - 1);
	raw_end(&b, true);
	stop();
}
END_TEST

START_TEST(workers_say_how_many_reads_they_run_together)
{
	uint64_t id = 0;

	start(LIVE_OPTIONS("workers=1"));
	for (int i = 0; i < 3; i++) {
		for (int k = 0; k < 4; k++)
			id = raw_put_exec(&a, 0, "SELECT 1");
		raw_expect(&a, id, 0);
	}
	raw_run(&a, 0, "SELECT 1", 0); /* alone: no batch */
	live_expect_text(admin, "SHOW WORKERS",
	    "worker clients batches batch_mean batch_p99", "0|3|3|4|4\n");
	stop();
}
END_TEST

START_TEST(pools_say_what_their_clients_do)
{
	static const char *const columns = "database clients active waiting";
	uint64_t id, longer;

	start(LIVE_OPTIONS("workers=2"));
	live_expect_text(admin, "SHOW POOLS", columns, "app|2|0|0\n");
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, INSERT, 0);
	live_expect_text(admin, "SHOW POOLS", columns, "app|2|0|0\n");
	id = raw_put_exec(&a, 0, INSERT);
	raw_flush(&a);
	live_wait_queue(&live, 1);
	live_expect_text(admin, "SHOW POOLS", columns, "app|2|1|1\n");
	/* who waits, and for whom */
	live_expect_part(
	    admin, "SHOW CLIENTS", "database state", "app|in transaction\n");
	live_expect_part(
	    admin, "SHOW CLIENTS", "database state", "app|waiting\n");
	longer = raw_put_exec(&b, 0, LONG_READ);
	raw_flush(&b);
	live_wait_busy(&live, "writers");
	live_expect_text(admin, "SHOW POOLS", columns, "app|2|2|1\n");
	raw_expect(&b, raw_put_cancel(&b, longer), 0);
	raw_expect(&b, longer, ERR_CANCELLED);
	raw_end(&b, false);
	raw_expect(&a, id, 0);
	stop();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("set");
	TCase *tc = tcase_create("set");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, set_changes_what_is_live_at_once);
	tcase_add_test(tc, set_for_all_leaves_alone_what_one_was_given);
	tcase_add_test(tc, set_holds_until_the_configuration_is_read_again);
	tcase_add_test(tc, set_and_reload_at_once_leave_what_came_last);
	tcase_add_test(tc, set_refuses_what_cannot_be_and_changes_nothing);
	tcase_add_test(
	    tc, set_refuses_what_would_take_more_descriptors_than_there_are);
	tcase_add_test(tc, checkpoint_copies_what_was_committed_before);
	tcase_add_test(tc, checkpoint_waits_for_its_turn);
	tcase_add_test(tc, checkpoint_copies_as_far_as_snapshots_allow);
	tcase_add_test(tc, checkpoint_is_refused_where_there_is_none);
	tcase_add_test(tc, checkpoint_that_waits_does_not_keep_the_daemon);
	tcase_add_loop_test(tc, checkpoint_that_waits_can_be_cancelled, 0, 2);
	tcase_add_test(tc, checkpoint_whose_client_is_gone_is_forgotten);
	tcase_add_test(tc, limits_say_how_much_of_each_is_taken);
	tcase_add_test(tc, memory_says_who_has_it);
	tcase_add_test(tc, workers_say_how_many_reads_they_run_together);
	tcase_add_test(tc, pools_say_what_their_clients_do);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
