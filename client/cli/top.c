/* top.c - the screen of -top, its keys, and the lines of -stat.
 *
 * Signals are blocked but
 * while it waits for a key, so that none comes between a look and the wait. */
#include "client/cli/top.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/cli/costs.h"
#include "client/cli/screen.h"
#include "client/cli/view.h"

#define REFRESH_MS  1000
#define TIMEOUT_MS  10000
#define DBS_SHOWN   6
#define STAT_HEAD_N 20

enum sorting { BY_TIME, BY_REQUESTS, BY_BYTES, SORTINGS_N };

static const char *const sorting_names[SORTINGS_N] = { "time", "requests",
	"bytes" };
static const char *const cost_names[COSTS_SORTINGS_N] = { "time", "calls",
	"errors" };

struct top {
	struct sqlpool_conn *conn;
	struct view view;
	struct costs costs;
	bool shows_costs; /* statements instead of clients */
	struct screen screen;
	sigset_t waiting; /* the mask while it waits */
	enum sorting sorting;
	enum costs_sorting costs_sorting;
	size_t chosen;  /* of the clients on the screen */
	int64_t client; /* which one that is; -1: none */
	int64_t request;
	char question; /* 'k' or 'c': is to be confirmed; 0 */
	char note[160];
	bool ends;
};

static volatile sig_atomic_t got_end, got_stop, got_size;

static void
on_signal(int signo)
{
	if (signo == SIGTSTP)
		got_stop = 1;
	else if (signo == SIGWINCH)
		got_size = 1;
	else
		got_end = 1;
}

/* --- Signals ------------------------------------------------------------------ */

/* Stop as the shell wants it, and go on where it was. */
static void
suspend(struct top *t)
{
	got_stop = 0;
	screen_leave(&t->screen);
	kill(getpid(), SIGSTOP);
	screen_enter(&t->screen);
	screen_measure(&t->screen);
}

static void
catch_signals(struct top *t)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGTSTP,
		SIGWINCH };
	struct sigaction sa = { .sa_handler = on_signal };
	sigset_t block;

	sigemptyset(&block);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		sigaddset(&block, signals[i]);
		sigaction(signals[i], &sa, NULL);
	}
	sigprocmask(SIG_BLOCK, &block, &t->waiting);
}

/* --- The screen ------------------------------------------------------------------- */

static void
put_head(const struct top *t)
{
	const struct view *v = &t->view;
	time_t now = time(NULL);
	struct tm tm;
	char clock[16];

	localtime_r(&now, &tm);
	strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	screen_put_line(&t->screen, true,
	    "%s  %s  up %lld:%02lld:%02lld  %lld clients%s", clock,
	    sqlpool_get_server(t->conn)->server, (long long)v->uptime_s / 3600,
	    (long long)v->uptime_s / 60 % 60, (long long)v->uptime_s % 60,
	    (long long)v->clients_n, v->draining ? "  DRAINING" : "");
	screen_put_line(&t->screen, false,
	    "per second  reads %.0f  long reads %.0f  writes %.0f  commits %.0f  "
	    "errors %.0f",
	    view_rate(v, v->now.reads, v->before.reads),
	    view_rate(v, v->now.long_reads, v->before.long_reads),
	    view_rate(v, v->now.writes, v->before.writes),
	    view_rate(v, v->now.commits, v->before.commits),
	    view_rate(v, v->now.errors, v->before.errors));
}

static void
put_latency(const struct top *t, const char *name, enum view_what what)
{
	const struct view *v = &t->view;

	screen_put_line(&t->screen, false,
	    "%-10s  reads %g/%g  long reads %g/%g  writes %g/%g  ms, p50/p99",
	    name, view_quantile(v, what, VIEW_INLINE, 0.5),
	    view_quantile(v, what, VIEW_INLINE, 0.99),
	    view_quantile(v, what, VIEW_READER, 0.5),
	    view_quantile(v, what, VIEW_READER, 0.99),
	    view_quantile(v, what, VIEW_WRITER, 0.5),
	    view_quantile(v, what, VIEW_WRITER, 0.99));
}

static size_t
put_dbs(const struct top *t)
{
	const struct view *v = &t->view;
	size_t i;
	char a[24], b[24], c[24], d[24], e[24];

	screen_put_line(&t->screen, true,
	    "%-12s %-11s %7s %5s %7s %7s %8s %6s %6s", "DATABASE", "WRITER",
	    "HELD", "LINE", "OLDEST", "READERS", "SNAPSHOT", "WAL", "BEHIND");
	for (i = 0; i < v->dbs_n && i < DBS_SHOWN; i++) {
		const struct view_db *db = &v->dbs[i];

		screen_put_line(&t->screen, false,
		    "%-12.12s %-11s %7s %5lld %7s %4lld+%-2lld %8s %6s %6s%s%s",
		    db->name, db->writer, screen_show_ms(db->held_ms, a),
		    (long long)db->queue, screen_show_ms(db->oldest_ms, b),
		    (long long)db->readers_busy, (long long)db->reader_queue,
		    screen_show_ms(db->snapshot_ms, c),
		    screen_show_bytes(db->wal_bytes, d),
		    screen_show_bytes(db->pending_bytes, e),
		    strcmp(db->wal, "none") == 0 ? "" : " ",
		    strcmp(db->wal, "none") == 0 ? "" : db->wal);
	}
	return i;
}

static void
put_client(const struct top *t, const struct view_client *cl, bool chosen)
{
	char age[24], bytes[24];

	if (chosen)
		fputs("\033[7m", stdout);
	screen_put_line(&t->screen, false,
	    "%6lld %7lld %-10.10s %-9.9s %-14.14s %7s %4lld %6s %s",
	    (long long)cl->number, (long long)cl->pid, cl->app, cl->database,
	    cl->state, screen_show_ms(cl->for_ms, age), (long long)cl->requests,
	    screen_show_bytes(cl->bytes, bytes), cl->statement);
}

static enum sorting sorted_by; /* for qsort */

static int
compare(const void *a, const void *b)
{
	const struct view_client *x = a, *y = b;
	int64_t left = x->for_ms, right = y->for_ms;

	if (sorted_by == BY_REQUESTS) {
		left = x->requests;
		right = y->requests;
	} else if (sorted_by == BY_BYTES) {
		left = x->bytes;
		right = y->bytes;
	}
	if (left != right)
		return left < right ? 1 : -1;
	return x->number < y->number ? -1 : x->number > y->number;
}

/* What was chosen stays chosen, wherever it is now. */
static void
sort_clients(struct top *t)
{
	struct view *v = &t->view;

	sorted_by = t->sorting;
	if (v->list_n > 0)
		qsort(v->clients, v->list_n, sizeof(*v->clients), compare);
	for (size_t i = 0; i < v->list_n; i++)
		if (v->clients[i].number == t->client)
			t->chosen = i;
	if (t->chosen >= v->list_n)
		t->chosen = v->list_n ? v->list_n - 1 : 0;
	t->client = v->list_n ? v->clients[t->chosen].number : -1;
	t->request = v->list_n ? v->clients[t->chosen].request : -1;
}

/* Without a line's end: the screen must not move up. */
static void
put_foot(const struct top *t)
{
	char line[SCREEN_COLUMNS_MAX];

	if (t->question)
		snprintf(line, sizeof(line),
		    "%s %lld? y: yes, any other key: no",
		    t->question == 'k' ? "End client"
				       : "Cancel the request of client",
		    (long long)t->client);
	else if (t->note[0])
		snprintf(line, sizeof(line), "%s", t->note);
	else if (t->shows_costs)
		snprintf(line, sizeof(line), "q quit  t clients  s sort: %s",
		    cost_names[t->costs_sorting]);
	else
		snprintf(line, sizeof(line),
		    "q quit  t statements  s sort: %s  n next  p previous  "
		    "c cancel  k kill",
		    sorting_names[t->sorting]);
	printf("%s%.*s\033[0m\033[K", t->question ? "\033[1m" : "",
	    t->screen.columns - 1, line);
}

static void
put_clients(struct top *t, size_t rows)
{
	const struct view *v = &t->view;
	size_t first = 0;

	sort_clients(t);
	screen_put_line(&t->screen, true,
	    "%6s %7s %-10s %-9s %-14s %7s %4s %6s %s", "CLIENT", "PID", "NAME",
	    "DATABASE", "STATE", "FOR", "REQ", "BYTES", "STATEMENT");
	if (t->chosen >= rows)
		first = t->chosen - rows + 1;
	for (size_t i = first; i < first + rows; i++) {
		if (i < v->list_n)
			put_client(t, &v->clients[i], i == t->chosen);
		else
			fputs("\033[K\r\n", stdout);
	}
}

static void
draw(struct top *t)
{
	size_t rows, used = 4;

	fputs("\033[H", stdout);
	put_head(t);
	put_latency(t, "wait", VIEW_WAIT);
	put_latency(t, "run", VIEW_RUN);
	screen_put_line(&t->screen, false, "%s", "");
	used += 2 + put_dbs(t);
	screen_put_line(&t->screen, false, "%s", "");
	used += 3; /* with the foot */
	rows = (size_t)t->screen.rows > used ? (size_t)t->screen.rows - used
					     : 0;
	if (t->shows_costs)
		costs_put(&t->costs, &t->screen, t->costs_sorting, rows);
	else
		put_clients(t, rows);
	put_foot(t);
	fflush(stdout);
}

/* --- Keys --------------------------------------------------------------------------- */

static void
act(struct top *t)
{
	struct sqlpool_result *result = NULL;
	char command[64];
	int rc;

	if (t->question == 'k')
		snprintf(command, sizeof(command), "KILL %lld",
		    (long long)t->client);
	else
		snprintf(command, sizeof(command), "CANCEL %lld %lld",
		    (long long)t->client, (long long)t->request);
	rc = sqlpool_query(t->conn, command, NULL, 0, &result);
	if (rc >= 0)
		rc = sqlpool_next(result);
	snprintf(t->note, sizeof(t->note), "%s: %s", command,
	    rc < 0 ? sqlpool_get_error(t->conn)->message : "done");
	sqlpool_result_free(result);
}

static void
choose(struct top *t, bool next)
{
	if (next && t->chosen + 1 < t->view.list_n)
		t->chosen++;
	else if (!next && t->chosen > 0)
		t->chosen--;
	t->client = t->view.list_n ? t->view.clients[t->chosen].number : -1;
}

static void
take_key(struct top *t, char key)
{
	t->note[0] = '\0';
	if (t->question) {
		if (key == 'y')
			act(t);
		t->question = 0;
		return;
	}
	if (key == 'q')
		t->ends = true;
	else if (key == 't')
		t->shows_costs = !t->shows_costs;
	else if (t->shows_costs && key == 's')
		t->costs_sorting = (t->costs_sorting + 1) % COSTS_SORTINGS_N;
	else if (key == 's')
		t->sorting = (t->sorting + 1) % SORTINGS_N;
	else if (t->shows_costs)
		return; /* the others are about clients */
	else if (key == 'n' || key == 'p')
		choose(t, key != 'p');
	else if (key == 'k' && t->client >= 0)
		t->question = 'k';
	else if (key == 'c' && t->client >= 0 && t->request >= 0)
		t->question = 'c';
	else if (key == 'c')
		snprintf(t->note, sizeof(t->note),
		    "that client has nothing under way");
}

/* Until it is time to ask again.  The arrows send ESC [ A and ESC [ B. */
static void
take_keys(struct top *t)
{
	char keys[64];
	ssize_t n = read(STDIN_FILENO, keys, sizeof(keys));

	if (n <= 0) {
		t->ends = t->ends || n == 0 || errno != EINTR;
		return;
	}
	for (ssize_t i = 0; i < n; i++) {
		if (keys[i] == '\033' && i + 2 < n && keys[i + 1] == '[') {
			if (keys[i + 2] == 'A' || keys[i + 2] == 'B')
				take_key(t, keys[i + 2] == 'A' ? 'p' : 'n');
			i += 2;
		} else {
			take_key(t, keys[i]);
		}
	}
}

static int64_t
get_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void
wait_for_keys(struct top *t)
{
	int64_t end = get_now_ms() + REFRESH_MS;

	while (!t->ends && !got_end) {
		int64_t left = end - get_now_ms();
		struct timespec ts = { left / 1000, left % 1000 * 1000000 };
		struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };

		if (left <= 0)
			return;
		if (ppoll(&in, 1, &ts, &t->waiting) > 0)
			take_keys(t);
		if (got_stop)
			suspend(t);
		if (got_size)
			screen_measure(&t->screen);
		got_size = 0;
		draw(t);
	}
}

enum shell_status
top_run(struct shell *shell)
{
	struct top t = { .conn = shell->conn, .client = -1, .request = -1 };
	int rc = 0;

	if (!isatty(STDOUT_FILENO) ||
	    tcgetattr(STDIN_FILENO, &t.screen.before) != 0) {
		fprintf(stderr,
		    "Error: -top needs a terminal; -stat prints lines\n");
		return SHELL_NO_CONNECTION;
	}
	catch_signals(&t);
	screen_measure(&t.screen);
	screen_enter(&t.screen);
	while (!t.ends && !got_end) {
		rc = view_read(&t.view, t.conn, true);
		if (rc == 0)
			rc = costs_read(&t.costs, t.conn, t.view.now.at_us);
		if (rc < 0)
			break;
		draw(&t);
		wait_for_keys(&t);
	}
	screen_leave(&t.screen);
	if (rc < 0)
		fprintf(
		    stderr, "Error: %s\n", sqlpool_get_error(t.conn)->message);
	costs_fini(&t.costs);
	view_fini(&t.view);
	return rc < 0 ? SHELL_SQL_ERROR : SHELL_OK;
}

/* --- Lines ---------------------------------------------------------------------------- */

static int
print_stat(const struct view *v)
{
	int64_t queue = 0, snapshot_ms = -1, wal = 0;
	time_t now = time(NULL);
	struct tm tm;
	char clock[16], age[24], bytes[24];

	for (size_t i = 0; i < v->dbs_n; i++) {
		queue += v->dbs[i].queue;
		wal += v->dbs[i].wal_bytes;
		if (v->dbs[i].snapshot_ms > snapshot_ms)
			snapshot_ms = v->dbs[i].snapshot_ms;
	}
	localtime_r(&now, &tm);
	strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	return printf("%8s %7lld %8.0f %7.0f %7.0f %7.0f %6.0f %8g %8g %6lld "
		      "%8s %6s\n",
	    clock, (long long)v->clients_n,
	    view_rate(v, v->now.reads, v->before.reads),
	    view_rate(v, v->now.long_reads, v->before.long_reads),
	    view_rate(v, v->now.writes, v->before.writes),
	    view_rate(v, v->now.commits, v->before.commits),
	    view_rate(v, v->now.errors, v->before.errors),
	    view_quantile(v, VIEW_RUN, VIEW_INLINE, 0.99),
	    view_quantile(v, VIEW_RUN, VIEW_WRITER, 0.99), (long long)queue,
	    screen_show_ms(snapshot_ms, age), screen_show_bytes(wal, bytes));
}

enum shell_status
stat_run(struct shell *shell)
{
	struct view v = { .dbs = NULL };
	int rc = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (unsigned n = 0;; n++) {
		static const struct timespec second = { REFRESH_MS / 1000, 0 };

		rc = view_read(&v, shell->conn, false);
		if (rc < 0)
			break;
		if (n % STAT_HEAD_N == 1)
			printf("%8s %7s %8s %7s %7s %7s %6s %8s %8s %6s %8s "
			       "%6s\n",
			    "time", "clients", "reads/s", "long/s", "write/s",
			    "commt/s", "err/s", "read p99", "write p99", "line",
			    "snapshot", "wal");
		if (n > 0 && print_stat(&v) < 0)
			break; /* nobody reads any more */
		nanosleep(&second, NULL);
	}
	if (rc < 0)
		fprintf(stderr, "Error: %s\n",
		    sqlpool_get_error(shell->conn)->message);
	view_fini(&v);
	return rc < 0 ? SHELL_SQL_ERROR : SHELL_OK;
}
