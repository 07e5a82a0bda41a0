/* check_admin.c - the virtual database @admin: what its commands show is what is
 * there, and what they do is done, also when everything is full. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "proto/error.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define NOBODY      65534
#define INSERT      "INSERT INTO t VALUES(1)"

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

/* --- What it knows ---------------------------------------------------------- */

/* Each row has as many values as there are columns, or it could not be read. */
START_TEST(admin_lists_its_commands_and_knows_all_of_them)
{
	char *help, *save = NULL;
	int n = 0;

	start(NULL);
	help = live_ask(admin, "SHOW HELP", "command right");
	for (char *line = strtok_r(help, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		char *right = strchr(line, '|'), *text;

		ck_assert_ptr_nonnull(right);
		*right++ = '\0';
		n++;
		if (strcmp(right, "see") != 0)
			continue;
		text = live_ask(admin, line, NULL);
		ck_assert_msg(!strstr(text, "@admin does not know") &&
			!strstr(text, "BAD_REPLY"),
		    "%s: %s", line, text);
		free(text);
	}
	ck_assert_int_ge(n, 12);
	free(help);
	stop();
}
END_TEST

static const char *const spellings[] = { "show version", "SHOW VERSION;",
	"  Show \n\t Version  ", "SHOW VERSION ;; -- the end",
	"-- one\n/* two */SHOW/**/VERSION /* three; four */" };

START_TEST(admin_does_not_mind_how_a_command_is_written)
{
	char *want;

	start(NULL);
	want = live_ask(admin, "SHOW VERSION", NULL);
	ck_assert_int_eq(strncmp(want, "sqlpoold ", 9), 0);
	for (size_t i = 0; i < COUNT(spellings); i++)
		live_expect_text(admin, spellings[i], NULL, want);
	free(want);
	stop();
}
END_TEST

/* clang-format off */
static const char *const wrong[][2] = {
	{ "", "@admin does not know \"\"; SHOW HELP lists what it knows" },
	{ "SHOW VERSION; SHOW STATE", "MULTIPLE_STATEMENTS: more than one command" },
	{ "BACKUP app TO '/tmp/x'; SHOW STATE", "write it as: BACKUP" },
	{ "SHOW -- VERSION", "@admin does not know \"SHOW\"" },
	{ "SHOW 'VERSION'", "@admin does not know \"SHOW 'VERSION'\"" },
	{ "PAUSE 'no; ne'", "no database is named \"no; ne\"" },
	{ "SET log_level = '  x", "nothing has changed: log_level = '  x: " },
	{ "SELECT 1", "@admin does not know \"SELECT 1\"" },
	{ "SHOW STATSX", "@admin does not know \"SHOW STATSX\"" },
	{ "SHOW STATS x", "write it as: SHOW STATS" },
	{ "KILL", "write it as: KILL CLIENT" },
	{ "KILL x", "write it as: KILL CLIENT; SHOW CLIENTS" },
	{ "KILL -1", "write it as: KILL CLIENT; SHOW CLIENTS" },
	{ "KILL 18446744073709551616", "write it as: KILL CLIENT" },
	{ "KILL 1 2", "write it as: KILL CLIENT; SHOW CLIENTS" },
	{ "CANCEL 1", "write it as: CANCEL CLIENT REQUEST; SHOW CLIENTS" },
	{ "KILL 4711", "no client has the number 4711" },
	{ "PAUSE none", "no database is named \"none\"; this daemon serves: app" },
	{ "CANCEL 4711 3", "client 4711 has no request 3" },
	/* cut, also in the middle of a character */
	{ "0123456789 0123456789 0123456789 0123456789 0123456789 01234567\xc3\xa4",
	  "does not know \"0123456789 0123456789 0123456789 0123456789 0123456789 01234567?\"" },
};
/* clang-format on */

START_TEST(admin_says_what_is_wrong_and_how_to_write_it)
{
	start(NULL);
	for (size_t i = 0; i < COUNT(wrong); i++)
		live_expect_part(admin, wrong[i][0], NULL, wrong[i][1]);
	stop();
}
END_TEST

START_TEST(admin_runs_nothing_but_exec)
{
	struct msg_out m;

	start(NULL);
	msg_begin(&m, &a.out, TYPE_SCRIPT, ++a.last_id, 0);
	msg_put_str(&m, HEAD_database, "@admin");
	msg_open_body(&m);
	msg_put_str(&m, ASK_sql, "SHOW VERSION");
	ck_assert_int_eq(msg_end(&m, 1000), 0);
	raw_expect(&a, a.last_id, ERR_NOT_ALLOWED);
	stop();
}
END_TEST

/* --- What it shows ------------------------------------------------------------ */

START_TEST(admin_shows_who_has_the_writer_and_who_waits)
{
	uint64_t ids[3];
	char pid[64];

	start(LIVE_OPTIONS("workers=2"));
	live_expect_text(admin, "SHOW WRITER", "position", "");
	live_expect_text(admin, "SHOW POOLS", "database writer queue oldest_ms",
	    "app|idle|0|\n");
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, "INSERT  INTO t\n VALUES(2)", 0);
	for (int i = 0; i < 3; i++)
		ids[i] = raw_put_exec(&a, 0, INSERT);
	raw_flush(&a);
	live_wait_queue(&live, 3);
	live_expect_text(admin, "SHOW WRITER",
	    "database position state application statement",
	    "app|0|transaction|raw|INSERT INTO t VALUES(2)\n"
	    "app|1|waits|raw|" INSERT "\n"
	    "app|2|waits|raw|" INSERT "\n"
	    "app|3|waits|raw|" INSERT "\n");
	snprintf(pid, sizeof(pid), "%d\n%d\n%d\n%d\n", getpid(), getpid(),
	    getpid(), getpid());
	live_expect_text(admin, "SHOW WRITER", "pid", pid);
	live_expect_part(admin, "SHOW POOLS", "database writer queue",
	    "app|transaction|3\n");
	live_expect_text(admin, "SHOW DATABASES",
	    "name access state commits queue", "app|exclusive|open|1|3\n");
	raw_end(&b, true);
	for (int i = 0; i < 3; i++)
		raw_expect(&a, ids[i], 0);
	live_expect_text(admin, "SHOW WRITER", "position", "");
	stop();
}
END_TEST

START_TEST(admin_shows_who_holds_a_snapshot)
{
	start(LIVE_OPTIONS("workers=2"));
	live_expect_text(admin, "SHOW SNAPSHOTS", "kind", "");
	raw_begin(&b, TX_MODE_READ);
	raw_run(&b, 0, "SELECT  count(*) FROM t", 0);
	live_expect_text(admin, "SHOW SNAPSHOTS",
	    "database kind application statement",
	    "app|transaction|raw|SELECT count(*) FROM t\n");
	live_expect_text(admin, "SHOW POOLS",
	    "readers readers_busy snapshots reader_queue", "1|1|1|0\n");
	raw_end(&b, true);
	live_expect_text(admin, "SHOW SNAPSHOTS", "kind", "");
	stop();
}
END_TEST

/* The snapshot keeps what is written behind it from being copied. */
START_TEST(admin_shows_what_keeps_the_wal)
{
	start(LIVE_OPTIONS("workers=2", "wal_limit=256KB"));
	live_expect_part(admin, "SHOW WAL",
	    "database illness cause limit_bytes", "app|well|none|262144\n");
	raw_begin(&b, TX_MODE_READ);
	raw_run(&b, 0, "SELECT count(*) FROM t", 0);
	for (int i = 0; i < 20; i++)
		raw_run(&a, 0, "INSERT INTO t VALUES(zeroblob(30000))", 0);
	live_expect_part(
	    admin, "SHOW WAL", "database illness cause", "app|pinned|long_tra");
	live_expect_part(admin, "SHOW WAL", "text", "pid");
	raw_end(&b, true);
	stop();
}
END_TEST

START_TEST(admin_shows_which_statement_keeps_the_writer)
{
	uint64_t id;

	start(NULL);
	id = raw_put_exec(&a, 0,
	    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
	    "INSERT INTO t SELECT x FROM c");
	raw_flush(&a);
	live_wait_busy(&live, "writers");
	live_expect_part(admin, "SHOW WRITER",
	    "position state application statement",
	    "0|writing|raw|WITH RECURSIVE c(x)");
	raw_expect(&a, raw_put_cancel(&a, id), 0);
	raw_expect(&a, id, ERR_CANCELLED);
	stop();
}
END_TEST

START_TEST(admin_shows_what_each_client_does)
{
	struct rawconn silent;
	char line[128];
	uint64_t id;

	start(LIVE_OPTIONS("workers=2"));
	raw_connect(&silent, live.socket_path);
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, INSERT, 0);
	id = raw_put_exec(&a, 0, "INSERT INTO t VALUES(7)");
	raw_flush(&a);
	live_wait_queue(&live, 1);
	snprintf(line, sizeof(line),
	    "%d|%d|raw|app|waiting|%d|1|INSERT INTO t VALUES(7)\n", getpid(),
	    (int)getuid(), (int)id);
	live_expect_part(admin, "SHOW CLIENTS",
	    "pid uid application database state request requests statement",
	    line);
	live_expect_part(admin, "SHOW CLIENTS",
	    "application database state request", "raw|app|in transaction|\n");
	live_expect_part(admin, "SHOW CLIENTS",
	    "application database state statement",
	    "test admin|@admin|busy|SHOW CLIENTS\n");
	live_expect_part(admin, "SHOW CLIENTS", "application database state",
	    "||connecting\n");
	live_expect_text(admin, "SHOW WORKERS", "worker", "0\n1\n");
	raw_end(&b, true);
	raw_expect(&a, id, 0);
	live_expect_part(admin, "SHOW CLIENTS",
	    "application database state request", "raw|app|idle|\n");
	raw_close(&silent);
	stop();
}
END_TEST

/* --- What it does --------------------------------------------------------------- */

/* The number of a client that is in this state. */
static uint64_t
find_client(const char *state)
{
	char *text = live_ask(admin, "SHOW CLIENTS", "client database state"),
	     *at;
	uint64_t number;

	at = strstr(text, state);
	ck_assert_msg(at, "no client is %s: %s", state, text);
	while (at > text && at[-1] != '\n')
		at--;
	number = strtoull(at, NULL, 10);
	free(text);
	return number;
}

static void
kill_client(const char *state)
{
	char sql[64];

	snprintf(sql, sizeof(sql), "KILL %llu",
	    (unsigned long long)find_client(state));
	live_expect_text(admin, sql, NULL, "");
}

/* What it had under way is answered, its transaction is rolled back, and who
 * waited for that goes on. */
START_TEST(admin_kills_a_client)
{
	struct rawreply r;
	uint64_t id;

	start(LIVE_OPTIONS("workers=2"));
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, "INSERT INTO t VALUES('lost')", 0);
	id = raw_put_exec(&a, 0, INSERT);
	raw_flush(&a);
	live_wait_queue(&live, 1);
	kill_client("|app|in transaction\n");
	ck_assert(raw_take(&b, &r));
	ck_assert_uint_eq(r.tell.code, ERR_KILLED);
	ck_assert_uint_eq(r.head.id, 0);
	raw_expect_end(&b);
	raw_expect(&a, id, 0);
	ck_assert_int_eq(raw_run_int(&a, 0, "SELECT count(*) FROM t"), 1);
	ck_assert_int_eq(live_get_stat(&live, "kills"), 1);
	stop();
}
END_TEST

START_TEST(admin_kill_answers_what_is_under_way)
{
	struct rawreply r;
	uint64_t id;

	start(LIVE_OPTIONS("workers=2"));
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, INSERT, 0);
	id = raw_put_exec(&a, 0, INSERT);
	raw_flush(&a);
	live_wait_queue(&live, 1);
	kill_client("|app|waiting\n");
	ck_assert(raw_take(&a, &r));
	ck_assert_uint_eq(r.tell.code, ERR_KILLED);
	raw_expect(&a, id, ERR_CANCELLED);
	raw_expect_end(&a);
	raw_end(&b, true);
	ck_assert_int_eq(raw_run_int(&b, 0, "SELECT count(*) FROM t"), 1);
	stop();
}
END_TEST

START_TEST(admin_cancels_a_request_of_somebody_else)
{
	char sql[64];
	uint64_t id;

	start(LIVE_OPTIONS("workers=2"));
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, INSERT, 0);
	id = raw_put_exec(&a, 0, INSERT);
	raw_flush(&a);
	live_wait_queue(&live, 1);
	snprintf(sql, sizeof(sql), "CANCEL %llu %llu",
	    (unsigned long long)find_client("|app|waiting\n"),
	    (unsigned long long)id);
	live_expect_text(admin, sql, NULL, "");
	raw_expect(&a, id, ERR_CANCELLED);
	raw_end(&b, true);
	ck_assert_int_eq(raw_run_int(&a, 0, "SELECT count(*) FROM t"), 1);
	ck_assert_int_eq(live_get_stat(&live, "cancels"), 1);
	stop();
}
END_TEST

static void
act_as_nobody(void *arg)
{
	struct sqlpool_conn *conn;
	char *text;

	(void)arg;
	/* the directories above it may be closed to others */
	PROC_CHECK(chdir(live.dir) == 0, "chdir");
	snprintf(live.socket_path, sizeof(live.socket_path), "s");
	PROC_CHECK(setgid(NOBODY) == 0 && setuid(NOBODY) == 0, "setuid");
	conn = live_connect_admin(&live);
	text = live_ask(conn, "KILL 1", NULL);
	PROC_CHECK(
	    strstr(text, "uid 65534 may not command @admin"), "%s", text);
	free(text);
	text = live_ask(conn, "SHOW VERSION", NULL);
	PROC_CHECK(strncmp(text, "sqlpoold ", 9) == 0, "%s", text);
	free(text);
	sqlpool_close(conn);
}

START_TEST(admin_lets_others_look_and_not_act)
{
	if (getuid() != 0)
		return; /* nobody else can be asked */
	start(LIVE_OPTIONS("observers=*", "socket_mode=0666"));
	ck_assert_int_eq(chmod(live.dir, 0755), 0);
	proc_join(proc_fork(act_as_nobody, NULL));
	stop();
}
END_TEST

/* --- PAUSE and the like ------------------------------------------------------------ */

static void
expect_done(const char *sql)
{
	live_expect_text(admin, sql, NULL, "");
}

static void
expect_state(const char *state)
{
	char want[64];

	snprintf(want, sizeof(want), "app|%s\n", state);
	live_expect_text(admin, "SHOW DATABASES", "name state", want);
}

static int
count_waiting(void)
{
	char *text = live_ask(admin, "SHOW CLIENTS", "state");
	int n = 0;

	for (const char *at = text; (at = strstr(at, "waiting\n")); at++)
		n++;
	free(text);
	return n;
}

static bool
wait_all(const void *arg)
{
	return count_waiting() == *(const int *)arg;
}

static void
wait_for_waiting(int n)
{
	proc_wait_until(wait_all, &n, "clients that wait");
}

/* The file is another program's as long as it likes, and has everything. */
START_TEST(admin_pause_leaves_the_file_alone_and_requests_waiting)
{
	uint64_t write, read;
	char wal[LIVE_PATH_MAX + 8];

	start(LIVE_OPTIONS("workers=2"));
	raw_run(&a, 0, INSERT, 0);
	expect_done("PAUSE app");
	expect_state("paused");
	expect_done("PAUSE app"); /* still */
	snprintf(wal, sizeof(wal), "%s-wal", live.db_path);
	ck_assert_int_ne(access(wal, F_OK), 0);
	write = raw_put_exec(&a, 0, "INSERT INTO t VALUES(2)");
	raw_flush(&a);
	read = raw_put_exec(&b, 0, "SELECT max(v) FROM t");
	raw_flush(&b);
	wait_for_waiting(2);
	ck_assert_int_eq(
	    live_read_file_int(live.db_path, "SELECT count(*) FROM t"), 1);
	live_check_file(live.db_path);
	expect_done("RESUME app");
	raw_expect(&a, write, 0);
	ck_assert_int_ge(raw_expect_int(&b, read), 1);
	ck_assert_int_eq(raw_run_int(&b, 0, "SELECT max(v) FROM t"), 2);
	expect_state("open");
	stop();
}
END_TEST

/* It is not at rest before the transaction has ended, which goes on meanwhile. */
START_TEST(admin_pause_waits_for_what_is_under_way)
{
	struct rawconn c;
	uint64_t pause, write;

	start(LIVE_OPTIONS("workers=1"));
	raw_open(&c, live.socket_path);
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, INSERT, 0);
	pause = raw_put_admin(&c, "PAUSE app");
	raw_let_arrive(&c);
	expect_state("draining");
	write = raw_put_exec(&a, 0, INSERT);
	raw_flush(&a);
	wait_for_waiting(1);
	raw_run(&b, 0, INSERT, 0);
	raw_end(&b, true);
	raw_expect(&c, pause, 0);
	expect_state("paused");
	ck_assert_int_eq(
	    live_read_file_int(live.db_path, "SELECT count(*) FROM t"), 2);
	expect_done("RESUME app");
	raw_expect(&a, write, 0);
	raw_close(&c);
	stop();
}
END_TEST

/* Its first statement has failed before it ran: no limit ends such a transaction,
 * so that a PAUSE must not wait for it. */
START_TEST(admin_pause_does_not_wait_for_who_holds_nothing)
{
	uint64_t write;

	start(LIVE_OPTIONS("workers=1"));
	raw_begin(&b, TX_MODE_DEFERRED);
	raw_run(&b, 0, "INSERT INTO nothing VALUES(1)", 1);
	expect_done("PAUSE app");
	write = raw_put_exec(&b, 0, INSERT);
	raw_flush(&b);
	wait_for_waiting(1);
	expect_done("RESUME app");
	raw_expect(&b, write, 0);
	raw_end(&b, false);
	ck_assert_int_eq(raw_run_int(&a, 0, "SELECT count(*) FROM t"), 0);
	stop();
}
END_TEST

START_TEST(admin_pause_that_takes_too_long_is_undone)
{
	struct rawconn c;
	uint64_t write, pause;

	start(LIVE_OPTIONS("workers=1"));
	raw_open(&c, live.socket_path);
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, INSERT, 0);
	pause = raw_put_admin(&c, "PAUSE app");
	raw_let_arrive(&c);
	write = raw_put_exec(&a, 0, INSERT);
	raw_flush(&a);
	wait_for_waiting(1);
	raw_expect(&c, raw_put_cancel(&c, pause), 0);
	raw_expect(&c, pause, ERR_CANCELLED);
	expect_state("open");
	live_wait_queue(&live, 1); /* what waited goes on */
	/* so does one that somebody else ends */
	pause = raw_put_admin(&c, "PAUSE app");
	raw_let_arrive(&c);
	expect_done("RESUME app");
	raw_expect(&c, pause, ERR_CANCELLED);
	raw_end(&b, true);
	raw_expect(&a, write, 0);
	raw_close(&c);
	stop();
}
END_TEST

/* The line has its bound, and a request its deadline. */
START_TEST(admin_pause_keeps_no_request_for_longer_than_it_may_wait)
{
	struct rawreply r;
	uint64_t ids[2];

	start(LIVE_OPTIONS("workers=1", "max_queue=2"));
	expect_done("PAUSE app");
	a.timeout_ms = 50;
	raw_wait(&a, raw_put_exec(&a, 0, INSERT), &r);
	ck_assert_uint_eq(r.tell.code, ERR_DEADLINE);
	ck_assert_ptr_nonnull(memmem(r.tell.message.p, r.tell.message.n,
	    "while its database was paused", 29));
	a.timeout_ms = 0;
	for (int i = 0; i < 2; i++)
		ids[i] = raw_put_exec(&a, 0, INSERT);
	raw_expect(&a, raw_put_exec(&a, 0, INSERT), ERR_QUEUE_FULL);
	expect_done("RESUME app");
	for (int i = 0; i < 2; i++)
		raw_expect(&a, ids[i], 0);
	ck_assert_int_eq(raw_run_int(&a, 0, "SELECT count(*) FROM t"), 2);
	stop();
}
END_TEST

START_TEST(admin_disables_a_database)
{
	struct rawreply r;

	start(LIVE_OPTIONS("workers=2"));
	raw_run(&a, 0, INSERT, 0);
	expect_done("DISABLE app");
	expect_state("disabled");
	raw_wait(&a, raw_put_exec(&a, 0, INSERT), &r);
	ck_assert_uint_eq(r.tell.code, ERR_DATABASE_DOWN);
	ck_assert_ptr_nonnull(memmem(
	    r.tell.message.p, r.tell.message.n, "ENABLE app on @admin", 20));
	raw_run(&b, 0, "SELECT 1", ERR_DATABASE_DOWN);
	expect_done("ENABLE app");
	ck_assert_int_eq(raw_run_int(&a, 0, "SELECT count(*) FROM t"), 1);
	stop();
}
END_TEST

/* Each is ended by its own command alone: somebody may be copying the file. */
START_TEST(admin_ends_a_pause_by_resume_and_a_disable_by_enable)
{
	static const struct {
		const char *command;
		const char *answer; /* it has this; "": done */
		const char *state;
	} steps[] = {
		{ "RESUME app", "", "open" }, /* it serves, as it is to */
		{ "PAUSE 'app'", "", "paused" },
		{ "ENABLE app",
		    "nothing is done: app is paused, which RESUME ends",
		    "paused" },
		{ "RECONNECT app",
		    "nothing is done: app is paused, which RESUME ends",
		    "paused" },
		{ "DISABLE \"app\"", "", "disabled" },
		{ "RESUME app",
		    "nothing is done: app is disabled, which ENABLE ends",
		    "disabled" },
		{ "PAUSE app",
		    "nothing is done: app is disabled, which ENABLE ends",
		    "disabled" },
		{ "RECONNECT app",
		    "nothing is done: app is disabled, which ENABLE ends",
		    "disabled" },
		{ "ENABLE app", "", "closed" },
		{ "RECONNECT app", "", "closed" },
		{ "RESUME app", "", "closed" },
	};

	start(LIVE_OPTIONS("workers=2", "app.preload=off"));
	for (size_t i = 0; i < COUNT(steps); i++) {
		char *text = live_ask(admin, steps[i].command, NULL);

		ck_assert_msg(*steps[i].answer
			? strstr(text, steps[i].answer) != NULL
			: *text == '\0',
		    "%s: %s", steps[i].command, text);
		free(text);
		expect_state(steps[i].state);
	}
	raw_run(&a, 0, "SELECT 1", 0);
	stop();
}
END_TEST

START_TEST(admin_reconnects)
{
	start(LIVE_OPTIONS("workers=2"));
	raw_run(&a, 0, INSERT, 0);
	ck_assert_int_eq(live_get_stat(&live, "databases_closed"), 0);
	expect_done("RECONNECT app");
	ck_assert_int_eq(raw_run_int(&a, 0, "SELECT count(*) FROM t"), 1);
	ck_assert_int_eq(live_get_stat(&live, "databases_closed"), 1);
	stop();
}
END_TEST

/* Whoever has paused it copies the file. */
START_TEST(admin_reconnect_does_not_end_a_pause_that_came_meanwhile)
{
	struct rawconn c;
	uint64_t reconnect, pause;

	start(LIVE_OPTIONS("workers=1"));
	raw_open(&c, live.socket_path);
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, INSERT, 0);
	reconnect = raw_put_admin(&a, "RECONNECT app");
	raw_let_arrive(&a);
	live_expect_part(admin, "RECONNECT app", NULL, "being reconnected");
	pause = raw_put_admin(&c, "PAUSE app");
	raw_let_arrive(&c);
	raw_end(&b, true);
	raw_expect(&a, reconnect, 0);
	raw_expect(&c, pause, 0);
	expect_state("paused");
	expect_done("RESUME app");
	/* nor does it when it is cancelled */
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, INSERT, 0);
	reconnect = raw_put_admin(&a, "RECONNECT app");
	raw_let_arrive(&a);
	pause = raw_put_admin(&c, "PAUSE app");
	raw_let_arrive(&c);
	raw_expect(&a, raw_put_cancel(&a, reconnect), 0);
	raw_expect(&a, reconnect, ERR_CANCELLED);
	raw_end(&b, true);
	raw_expect(&c, pause, 0);
	expect_state("paused");
	expect_done("RESUME app");
	raw_close(&c);
	stop();
}
END_TEST

START_TEST(admin_stops_the_daemon)
{
	start(NULL);
	expect_done("SHUTDOWN");
	ck_assert_int_eq(live_wait_exit(&live, PROC_WAIT_MS), 0);
	sqlpool_close(admin);
	raw_close(&a);
	raw_close(&b);
	live_fini(&live);
}
END_TEST

/* --- When it is full, and at the end ---------------------------------------------- */

#define CLIENTS_N 1000
#define LIMIT_US  100000
#define TRIES     10

/* Other processes have the processor as well: the best of some tries. */
static int64_t
measure(const char *sql, int lines)
{
	int64_t best_us = INT64_MAX;

	for (int i = 0; i < TRIES; i++) {
		int64_t began_us = clock_now_us();
		char *text = live_ask(admin, sql, "client");
		int64_t us = clock_now_us() - began_us;
		int n = 0;

		for (const char *at = text; (at = strchr(at, '\n')); at++)
			n++;
		ck_assert_int_eq(n, lines);
		free(text);
		best_us = us < best_us ? us : best_us;
	}
	return best_us;
}

START_TEST(admin_answers_soon_with_a_thousand_clients_and_full_queues)
{
	static struct rawconn clients[CLIENTS_N];
	static uint64_t ids[CLIENTS_N];
	struct rlimit files = { 8192, 8192 };

	setrlimit(RLIMIT_NOFILE, &files);
	start(LIVE_OPTIONS("workers=2", "max_queue=1000"));
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, INSERT, 0);
	for (int i = 0; i < CLIENTS_N; i++) {
		raw_open(&clients[i], live.socket_path);
		ids[i] = raw_put_exec(&clients[i], 0, INSERT);
		raw_flush(&clients[i]);
	}
	live_wait_queue(&live, CLIENTS_N);
	raw_run(&a, 0, INSERT, ERR_QUEUE_FULL);
	ck_assert_int_lt(measure("SHOW CLIENTS", CLIENTS_N + 3),
	    LIMIT_US * proc_get_slowness());
	raw_end(&b, true);
	for (int i = 0; i < CLIENTS_N; i++) {
		raw_expect(&clients[i], ids[i], 0);
		raw_close(&clients[i]);
	}
	stop();
}
END_TEST

/* While a transaction keeps the daemon from its end, @admin says so, and can end
 * that. */
START_TEST(admin_works_while_the_daemon_drains)
{
	struct rawreply r;

	start(LIVE_OPTIONS("workers=2", "shutdown_grace=1h"));
	raw_begin(&b, TX_MODE_IMMEDIATE);
	raw_run(&b, 0, INSERT, 0);
	kill(live.pid, SIGTERM);
	do /* a client that has nothing under way is hung up on */
		PROC_CHECK(raw_take(&b, &r), "the connection ended");
	while (r.head.type != TYPE_GOAWAY);
	live_expect_part(admin, "SHOW STATE", "name value", "draining|1\n");
	kill_client("|app|in transaction\n");
	ck_assert_int_eq(live_wait_exit(&live, PROC_WAIT_MS), 0);
	sqlpool_close(admin);
	raw_close(&a);
	raw_close(&b);
	live_fini(&live);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("admin");
	TCase *tc = tcase_create("admin");
	SRunner *sr;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, admin_lists_its_commands_and_knows_all_of_them);
	tcase_add_test(tc, admin_does_not_mind_how_a_command_is_written);
	tcase_add_test(tc, admin_says_what_is_wrong_and_how_to_write_it);
	tcase_add_test(tc, admin_runs_nothing_but_exec);
	tcase_add_test(tc, admin_shows_who_has_the_writer_and_who_waits);
	tcase_add_test(tc, admin_shows_who_holds_a_snapshot);
	tcase_add_test(tc, admin_shows_what_keeps_the_wal);
	tcase_add_test(tc, admin_shows_which_statement_keeps_the_writer);
	tcase_add_test(tc, admin_shows_what_each_client_does);
	tcase_add_test(tc, admin_kills_a_client);
	tcase_add_test(tc, admin_kill_answers_what_is_under_way);
	tcase_add_test(tc, admin_cancels_a_request_of_somebody_else);
	tcase_add_test(tc, admin_lets_others_look_and_not_act);
	tcase_add_test(
	    tc, admin_pause_leaves_the_file_alone_and_requests_waiting);
	tcase_add_test(tc, admin_pause_waits_for_what_is_under_way);
	tcase_add_test(tc, admin_pause_does_not_wait_for_who_holds_nothing);
	tcase_add_test(tc, admin_pause_that_takes_too_long_is_undone);
	tcase_add_test(
	    tc, admin_pause_keeps_no_request_for_longer_than_it_may_wait);
	tcase_add_test(tc, admin_disables_a_database);
	tcase_add_test(
	    tc, admin_ends_a_pause_by_resume_and_a_disable_by_enable);
	tcase_add_test(tc, admin_reconnects);
	tcase_add_test(
	    tc, admin_reconnect_does_not_end_a_pause_that_came_meanwhile);
	tcase_add_test(tc, admin_stops_the_daemon);
	tcase_add_test(
	    tc, admin_answers_soon_with_a_thousand_clients_and_full_queues);
	tcase_add_test(tc, admin_works_while_the_daemon_drains);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
