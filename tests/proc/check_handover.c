/* check_handover.c - the daemon is restarted in the middle of load, and nobody is
 * told but by having to ask again.
 *
 * systemd-socket-activate(1) stands in for the service manager: it makes the
 * socket and passes it to a shell, which starts one daemon after another on it.
 * A client whose connection ends connects anew, and repeats what can be repeated:
 * reads, and writes that give the same when they are applied twice. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/live.h"

#define CLIENTS_N  4
#define RESTARTS_N 8
/* Rounds of each client between two restarts. */
#define ROUNDS_N 10
#define MANAGER  "/usr/bin/systemd-socket-activate"

/* Each daemon gets the socket, says who it is, and dies with the shell. */
static const char script[] =
    "while [ ! -e \"$1/stop\" ]; do\n"
    "  sh -c 'echo $$ >\"$1/new\" && mv \"$1/new\" \"$1/pid\"\n"
    "         export LISTEN_PID=$$; exec setpriv --pdeathsig KILL \"$2\" "
    "\"$1/app.db\"' sh \"$1\" \"$2\" || echo \"status $?\" >>\"$1/failed\"\n"
    "done";

static struct live live;
static pid_t manager;

/* What the clients tell. */
static struct {
	_Atomic int rounds[CLIENTS_N];
	_Atomic int daemons[CLIENTS_N]; /* that answered it */
	_Atomic int unknown;
	_Atomic bool stop;
} * told;

/* --- The service manager --------------------------------------------------------- */

static void
run_manager(void *arg)
{
	const char *program = getenv("SQLPOOLD");
	char user[64];
	int log_fd = open(
	    live.log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	(void)arg;

	dup2(log_fd, STDERR_FILENO);
	dup2(log_fd, STDOUT_FILENO);
	snprintf(user, sizeof(user), "SQLPOOLD_USER=%u", (unsigned)geteuid());
	execl(MANAGER, MANAGER, "-l", live.socket_path, "-E", user, "/bin/sh",
	    "-c", script, "sh", live.dir, program, (char *)NULL);
	proc_fail("%s: %s", MANAGER, strerror(errno));
}

static pid_t
read_pid(void)
{
	char path[LIVE_PATH_MAX + 8], text[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "%.90s/pid", live.dir);
	f = fopen(path, "re");
	if (f && !fgets(text, sizeof(text), f))
		text[0] = '\0';
	if (f)
		fclose(f);
	return (pid_t)strtol(text, NULL, 10);
}

static bool
is_another(const void *arg)
{
	pid_t pid = read_pid();

	return pid > 0 && pid != *(const pid_t *)arg;
}

/* Does the manager's program listen? */
static bool
has_socket(const void *arg)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool has;
	(void)arg;

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", live.socket_path);
	has = connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0;
	close(fd);
	return has;
}

static void
make_file(const char *name)
{
	char path[LIVE_PATH_MAX + 16];
	FILE *f;

	snprintf(path, sizeof(path), "%.90s/%s", live.dir, name);
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	fclose(f);
}

/* --- A client ----------------------------------------------------------------------- */

static struct sqlpool_conn *
reopen(struct sqlpool_conn *conn)
{
	sqlpool_close(conn);
	return live_connect(&live, "client"); /* it must succeed at once */
}

/* May it be asked again on another connection?  Nothing else may go wrong. */
static void
expect_goodbye(const struct sqlpool_conn *conn, const char *sql)
{
	const struct sqlpool_error *e = sqlpool_get_error(conn);

	PROC_CHECK(e->code == SQLPOOL_ERR_CONNECTION_LOST ||
		e->code == SQLPOOL_ERR_SHUTTING_DOWN,
	    "%s: %d %s", sql, e->code, e->message);
}

/* Run what gives the same when it is run twice. */
static void
run_again(struct sqlpool_conn **conn, const char *sql)
{
	while (sqlpool_exec(*conn, sql, NULL, 0) < 0) {
		expect_goodbye(*conn, sql);
		*conn = reopen(*conn);
	}
}

static int64_t
ask_again(struct sqlpool_conn **conn, const char *sql)
{
	struct sqlpool_result *result = NULL;
	int64_t v = -1;
	bool done = false;

	while (!done) {
		done = sqlpool_query(*conn, sql, NULL, 0, &result) == 0 &&
		    sqlpool_next(result) == SQLPOOL_ROW;
		v = done ? sqlpool_column_int64(result, 0) : -1;
		if (!done)
			expect_goodbye(*conn, sql);
		sqlpool_result_free(result);
		result = NULL;
		if (!done)
			*conn = reopen(*conn);
	}
	return v;
}

/* Run what must not be run twice: only what is said not to be applied is. */
static void
run_once(struct sqlpool_conn **conn, const char *sql, const char *is_there)
{
	while (sqlpool_exec(*conn, sql, NULL, 0) < 0) {
		bool known = sqlpool_get_error(*conn)->outcome ==
		    SQLPOOL_NOT_APPLIED;

		expect_goodbye(*conn, sql);
		*conn = reopen(*conn);
		if (known)
			continue;
		atomic_fetch_add(&told->unknown, 1);
		if (ask_again(conn, is_there) > 0)
			return;
	}
}

static void
run_client(void *arg)
{
	int me = *(const int *)arg;
	struct sqlpool_conn *conn = live_connect(&live, "client");
	uint64_t epoch = 0;
	char sql[3][128];

	for (int n = 1; !atomic_load(&told->stop); n++) {
		snprintf(sql[0], 128,
		    "INSERT OR REPLACE INTO last VALUES (%d, %d)", me, n);
		run_again(&conn, sql[0]);
		snprintf(
		    sql[0], 128, "SELECT n FROM last WHERE client = %d", me);
		PROC_CHECK(ask_again(&conn, sql[0]) == n,
		    "what was acknowledged is not there");
		snprintf(
		    sql[1], 128, "INSERT INTO each VALUES (%d, %d)", me, n);
		snprintf(sql[2], 128,
		    "SELECT count(*) FROM each WHERE client = %d AND n = %d",
		    me, n);
		run_once(&conn, sql[1], sql[2]);
		if (sqlpool_get_server(conn)->epoch != epoch)
			atomic_fetch_add(&told->daemons[me], 1);
		epoch = sqlpool_get_server(conn)->epoch;
		atomic_store(&told->rounds[me], n);
	}
	sqlpool_close(conn);
}

/* --- The test -------------------------------------------------------------------------- */

struct goal {
	int rounds[CLIENTS_N];
};

static bool
is_reached(const void *arg)
{
	const struct goal *g = arg;

	for (int i = 0; i < CLIENTS_N; i++)
		if (atomic_load(&told->rounds[i]) < g->rounds[i])
			return false;
	return true;
}

static void
wait_rounds(int n)
{
	struct goal g;

	for (int i = 0; i < CLIENTS_N; i++)
		g.rounds[i] = atomic_load(&told->rounds[i]) + n;
	proc_wait_until(is_reached, &g, "all clients get on");
}

/* Each row of each client is there once, and none that it did not see. */
static void
check_rows(void)
{
	char sql[128];

	for (int i = 0; i < CLIENTS_N; i++) {
		int n = atomic_load(&told->rounds[i]);

		snprintf(sql, sizeof(sql),
		    "SELECT count(*) * 1000000 + max(n) FROM each WHERE client = %d",
		    i);
		ck_assert_int_eq(live_read_file_int(live.db_path, sql),
		    (int64_t)n * 1000000 + n);
	}
	live_check_file(live.db_path);
}

static void
open_manager(void)
{
	struct sqlpool_conn *conn;
	pid_t none = 0;

	live_init(&live);
	told = proc_share(sizeof(*told));
	manager = proc_fork(run_manager, NULL);
	proc_wait_until(has_socket, NULL, "the socket");
	conn = live_connect(&live, "test");
	proc_wait_until(is_another, &none, "the first daemon");
	live_exec(conn, "CREATE TABLE last(client INTEGER PRIMARY KEY, n)");
	live_exec(conn, "CREATE TABLE each(client, n)");
	sqlpool_close(conn);
}

static void
close_manager(void)
{
	make_file("stop");
	kill(read_pid(), SIGTERM);
	ck_assert_int_eq(proc_wait_exit(manager, PROC_WAIT_MS), 0);
}

START_TEST(a_restart_under_load_is_an_error_to_nobody)
{
	int signo = _i == 0 ? SIGTERM : SIGKILL;
	pid_t clients[CLIENTS_N];
	char failed[LIVE_PATH_MAX + 16];

	if (access(MANAGER, X_OK) < 0 || !getenv("SQLPOOLD")) {
		printf("skipped: there is no %s (package systemd)\n", MANAGER);
		return;
	}
	open_manager();
	for (int i = 0; i < CLIENTS_N; i++)
		clients[i] = proc_fork(run_client, &(int){ i });
	for (int i = 0; i < RESTARTS_N; i++) {
		pid_t pid = read_pid();

		wait_rounds(ROUNDS_N);
		kill(pid, signo);
		proc_wait_until(is_another, &pid, "the next daemon");
	}
	wait_rounds(ROUNDS_N);
	atomic_store(&told->stop, true);
	for (int i = 0; i < CLIENTS_N; i++)
		proc_join(clients[i]);
	close_manager();
	for (int i = 0; i < CLIENTS_N; i++)
		ck_assert_int_eq(
		    atomic_load(&told->daemons[i]), RESTARTS_N + 1);
	snprintf(failed, sizeof(failed), "%.90s/failed", live.dir);
	if (signo == SIGTERM) { /* then nothing is left in the dark */
		ck_assert_int_eq(atomic_load(&told->unknown), 0);
		ck_assert_int_lt(access(failed, F_OK), 0);
	}
	check_rows();
	live_fini(&live);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("handover");
	TCase *tc = tcase_create("handover");

	tcase_set_timeout(tc, 40);
	tcase_add_loop_test(
	    tc, a_restart_under_load_is_an_error_to_nobody, 0, 2);
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
