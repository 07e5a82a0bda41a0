/* stage.c - the daemon's modules on one thread, and a clock that does not run
 * by itself. */
#include "tests/guard/stage.h"

#include <dlfcn.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

#include "daemon/writer_impl.h"

/* The turn is known to worker.c alone.  This takes the place of that file's
 * object in libdaemon.a. */
#include "daemon/worker.c" /* NOLINT(bugprone-suspicious-include) */

static struct conf *conf;
static struct dbs dbs;
static struct worker *worker;
static enum stage_side chosen;

void
stage_fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

void
stage_choose(enum stage_side side)
{
	chosen = side;
}

/* Begin, or end, the counting of a side. */
static void
toggle(enum stage_side side)
{
	if (chosen == side)
		CALLGRIND_TOGGLE_COLLECT;
}

void
stage_enter_client(void)
{
	toggle(STAGE_CLIENT);
}

void
stage_leave_client(void)
{
	toggle(STAGE_CLIENT);
}

/* --- In place of the C library's ------------------------------------------ */

#define SHOWN __attribute__((visibility("default")))

/* Each look at the clock takes a microsecond.  A real one would make budgets,
 * the groups and the length of the times in replies differ from run to run. */
SHOWN int
clock_gettime(clockid_t id, struct timespec *ts)
{
	static int64_t now_us = 1000000;

	(void)id;
	now_us++;
	ts->tv_sec = now_us / 1000000;
	ts->tv_nsec = now_us % 1000000 * 1000;
	return 0;
}

/* A sync is a system call: it costs time and no instructions. */
SHOWN int
fdatasync(int fd)
{
	(void)fd;
	return 0;
}

/* No thread is started, but a worker opens what it would open on its own. */
int
pthread_create(pthread_t *thread, const pthread_attr_t *attr,
    void *(*start)(void *), void *arg)
{
	(void)attr;
	*thread = pthread_self();
	if (start == worker_main) {
		struct worker *w = arg;

		atomic_store(&w->done, true);
		worker_main(w);
		atomic_store(&w->done, false);
	}
	return 0;
}

int
pthread_join(pthread_t thread, void **ret)
{
	(void)thread;
	(void)ret;
	return 0;
}

/* The client waits for what the daemon has not done yet. */
int
poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	int rc;

	(void)timeout_ms;
	stage_leave_client();
	stage_work();
	stage_enter_client();
	rc = ppoll(fds, n, &(struct timespec){ 0 }, NULL);
	if (rc == 0)
		stage_fail("the client waits for what does not come");
	return rc;
}

/* --- The daemon ----------------------------------------------------------- */

/* The daemon has threads, and malloc does more then. */
static void *
sleep_on(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void
start_other_thread(void)
{
	int (*create)(
	    pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
	pthread_t thread;

	*(void **)&create = dlsym(RTLD_NEXT, "pthread_create");
	if (!create || create(&thread, NULL, sleep_on, NULL) != 0)
		stage_fail("no thread");
}

static void
make_conf(const char *db_path)
{
	char err[CONF_ERR_MAX];
	char spec[CONF_PATH_MAX + 8];

	conf = conf_new();
	snprintf(spec, sizeof(spec), "app=%s", db_path);
	/* the log is not copied meanwhile: that is done now and then, and not
	 * on a request's way */
	if (!conf || conf_set(conf, "wal_limit", "1GB", err) < 0 ||
	    conf_add_db(conf, spec, err) < 0)
		stage_fail("conf: %s", conf ? err : "out of memory");
}

/* Whether the machine is crowded is not the program's. */
static void
never_ask(struct patience *p)
{
	p->asked_us = INT64_MAX;
}

void
stage_open(const char *db_path)
{
	struct failure f;

	failure_init(&f);
	start_other_thread();
	make_conf(db_path);
	stats_attach();
	log_set_level(CONF_LOG_WARN);
	if (dbconn_setup_library() < 0 || dbs_open(conf, &dbs, &f) < 0 ||
	    worker_start(conf, &dbs, &worker, &f) < 0)
		stage_fail("the daemon: %s", f.text ? f.text : "no reason");
	failure_fini(&f);
	never_ask(&worker->for_request);
	never_ask(&worker->for_answer);
}

__attribute__((noinline)) static void
run_turn(void)
{
	toggle(STAGE_DAEMON);
	turn(worker);
	toggle(STAGE_DAEMON);
}

__attribute__((noinline)) static void
run_writer(struct writer *w)
{
	toggle(STAGE_DAEMON);
	w->q.run(&w->q);
	toggle(STAGE_DAEMON);
}

void
stage_work(void)
{
	struct writer *w = dbs.known[0]->writer;

	run_turn();
	if (writer_get_queue_n(w) > 0) {
		run_writer(w);
		run_turn();
	}
}

void
stage_close(void)
{
	worker_drain(worker);
	while (!worker_is_done(worker))
		turn(worker);
	worker_free(worker);
	dbs_stop(&dbs);
	dbs_close(&dbs);
	conf_free(conf);
}

struct sqlpool_conn *
stage_connect(void)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	struct sqlpool_conn *conn;
	struct peer peer;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		fds) < 0)
		stage_fail("socketpair: %s", strerror(errno));
	peer_init(&peer, fds[0]);
	worker_give(worker, &peer);
	turn(worker); /* it is a client from the next one on */
	options.use_fd = true;
	options.fd = fds[1];
	if (sqlpool_open(&options, &conn) < 0)
		stage_fail("open: %s", sqlpool_get_error(conn)->message);
	return conn;
}
