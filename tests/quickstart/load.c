/* load.c - the quickstart's clients: 8 processes that write, 8 that read.
 *
 *	load SOCKET DATABASE UnicodeData.txt
 *
 * The writers share the file's lines and insert each with a statement of its
 * own.  Each keeps a few in flight, as an application with several threads or
 * tasks would.  Meanwhile the readers ask for rows whose insertion was
 * acknowledged to a writer a moment ago: a row that is not there is a broken
 * promise, and so is any error.  What the processes tell each other stands in
 * shared memory.
 *
 * The parent opens no connection.  Its children die with it, and it dies of
 * SIGALRM when it takes too long. */
#include <err.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <sqlpool.h>

#define WRITERS_N   8
#define READERS_N   8
#define IN_FLIGHT_N 16
#define FIELDS_N    15 /* of a line: unicode.org/reports/tr44, UnicodeData.txt */
#define COUNT_EVERY 256 /* reads, of which one counts the rows */
#define LIMIT_S     20  /* the quickstart promises to end */
#define TEXT_BYTES  300

static const char insert_sql[] =
    "INSERT INTO codepoint VALUES "
    "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
static const char point_sql[] = "SELECT name FROM codepoint WHERE code = ?1";
static const char count_sql[] = "SELECT count(*) FROM codepoint";

struct row {
	int64_t code;
	const char *fields[FIELDS_N]; /* [0] is the code in hexadecimal */
};

/* The file; read once, then constant, also in the children. */
struct table {
	struct row *rows;
	size_t n;
};

/* What a client did; written by its own process alone. */
struct client {
	_Atomic size_t done_n; /* writes acknowledged, in order; or reads */
	_Atomic int64_t slowest_us;
	_Atomic unsigned errors_n, locked_n;
};

struct shared {
	_Atomic unsigned writing_n; /* writers that are not done */
	_Atomic bool failed;        /* everybody stops */
	struct client writers[WRITERS_N], readers[READERS_N];
	char why[TEXT_BYTES]; /* by whoever set failed */
	int64_t took_us[];    /* by row; its writer's, later the parent's */
};

/* One client process. */
struct self {
	const struct table *table;
	struct shared *shared;
	struct client *me;
	struct sqlpool_conn *conn;
	size_t number; /* from 0 */
};

static int64_t
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* ---- The file ----------------------------------------------------------- */

static void
split(char *line, struct row *row)
{
	for (size_t i = 0; i < FIELDS_N; i++) {
		row->fields[i] = strsep(&line, ";");
		if (!row->fields[i])
			errx(1, "a line has fewer than %d fields", FIELDS_N);
	}
	row->code = strtoll(row->fields[0], NULL, 16);
}

static struct table
read_table(const char *path)
{
	struct table t = { NULL, 0 };
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	if (!f)
		err(1, "%s", path);
	while ((n = getline(&line, &cap, f)) > 0) {
		t.rows = reallocarray(t.rows, t.n + 1, sizeof(*t.rows));
		if (!t.rows)
			err(1, "memory for %s", path);
		if (line[n - 1] == '\n')
			line[n - 1] = '\0';
		split(line, &t.rows[t.n++]);
		line = NULL; /* the row's now */
		cap = 0;
	}
	fclose(f);
	if (t.n < WRITERS_N)
		errx(1, "%s: only %zu lines", path, t.n);
	return t;
}

/* ---- Every client ------------------------------------------------------- */

__attribute__((noreturn, format(printf, 2, 3))) static void
give_up(struct self *self, const char *fmt, ...)
{
	char why[TEXT_BYTES];
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	if (!atomic_exchange(&self->shared->failed, true))
		memcpy(self->shared->why, why, sizeof(why));
	_exit(1);
}

static void
check(struct self *self, int rc, const struct sqlpool_error *error)
{
	if (rc >= 0)
		return;
	atomic_fetch_add(&self->me->errors_n, 1);
	if (error->primary == 5 || error->primary == 6 || /* BUSY, LOCKED */
	    error->code == SQLPOOL_ERR_EXTERNAL_BUSY ||
	    strstr(error->message, "locked"))
		atomic_fetch_add(&self->me->locked_n, 1);
	give_up(self, "%s: %s", error->name, error->message);
}

static void
check_conn(struct self *self, int rc)
{
	check(self, rc, sqlpool_get_error(self->conn));
}

static int64_t
note_done(struct client *me, int64_t began_us)
{
	int64_t took_us = now_us() - began_us;

	if (took_us > atomic_load(&me->slowest_us))
		atomic_store(&me->slowest_us, took_us);
	atomic_fetch_add(&me->done_n, 1);
	return took_us;
}

/* ---- Writers ------------------------------------------------------------ */

/* A write under way. */
struct flight {
	struct sqlpool_result *result;
	size_t row;
	int64_t sent_us;
};

static void
send_row(struct self *self, size_t i, struct flight *flight)
{
	const struct row *row = &self->table->rows[i];
	struct sqlpool_value values[FIELDS_N];
	struct sqlpool_request *request = sqlpool_request_new();

	if (!request)
		give_up(self, "out of memory");
	values[0] = SQLPOOL_INT(row->code);
	for (size_t k = 1; k < FIELDS_N; k++)
		values[k] = row->fields[k][0] ? SQLPOOL_TEXT(row->fields[k])
					      : SQLPOOL_NULL;
	flight->row = i;
	flight->sent_us = now_us();
	if (sqlpool_request_add(request, insert_sql, values, FIELDS_N) < 0)
		give_up(self, "out of memory");
	check_conn(self, sqlpool_send(self->conn, request, &flight->result));
	sqlpool_request_free(request);
}

static void
land(struct self *self, struct flight *flight)
{
	int rc = sqlpool_next(flight->result);

	check(self, rc, sqlpool_result_error(flight->result));
	self->shared->took_us[flight->row] = note_done(
	    self->me, flight->sent_us);
	sqlpool_result_free(flight->result);
	flight->result = NULL;
}

/* Lines number, number + 8, number + 16 and so on.  The flights are a ring:
 * the next one to be used is the oldest. */
static void
write_rows(struct self *self)
{
	struct flight flights[IN_FLIGHT_N] = { 0 };
	const struct table *t = self->table;
	size_t next = 0;

	for (size_t i = self->number; i < t->n; i += WRITERS_N) {
		if (atomic_load(&self->shared->failed))
			return;
		if (flights[next].result)
			land(self, &flights[next]);
		send_row(self, i, &flights[next]);
		next = (next + 1) % IN_FLIGHT_N;
	}
	for (size_t i = 0; i < IN_FLIGHT_N;
	     i++, next = (next + 1) % IN_FLIGHT_N)
		if (flights[next].result)
			land(self, &flights[next]);
	atomic_fetch_sub(&self->shared->writing_n, 1);
}

/* ---- Readers ------------------------------------------------------------ */

static size_t
count_acknowledged(const struct shared *shared)
{
	size_t n = 0;

	for (size_t i = 0; i < WRITERS_N; i++)
		n += atomic_load(&shared->writers[i].done_n);
	return n;
}

static void
read_point(struct self *self, size_t i)
{
	const struct row *row = &self->table->rows[i];
	struct sqlpool_result *result;
	const char *name;
	int rc;

	check_conn(self,
	    sqlpool_query(self->conn, point_sql,
		SQLPOOL_VALUES(SQLPOOL_INT(row->code)), &result));
	rc = sqlpool_next(result);
	check(self, rc, sqlpool_result_error(result));
	if (rc != SQLPOOL_ROW)
		give_up(self, "U+%s was acknowledged, then not there",
		    row->fields[0]);
	name = sqlpool_column_text(result, 0, NULL);
	if (!name || strcmp(name, row->fields[1]) != 0)
		give_up(self, "U+%s is called %s, not %s", row->fields[0],
		    name ? name : "NULL", row->fields[1]);
	sqlpool_result_free(result);
}

static void
read_count(struct self *self)
{
	size_t least = count_acknowledged(self->shared);
	struct sqlpool_result *result;
	int64_t n;
	int rc;

	check_conn(
	    self, sqlpool_query(self->conn, count_sql, NULL, 0, &result));
	rc = sqlpool_next(result);
	check(self, rc, sqlpool_result_error(result));
	n = sqlpool_column_int64(result, 0);
	if (rc != SQLPOOL_ROW || n < (int64_t)least)
		give_up(self, "%zu rows were acknowledged, %" PRId64 " counted",
		    least, n);
	sqlpool_result_free(result);
}

/* Half of the reads are for the row that was acknowledged last. */
static void
read_rows(struct self *self)
{
	unsigned seed = (unsigned)self->number + 1;

	for (size_t k = 1; atomic_load(&self->shared->writing_n) > 0; k++) {
		size_t w = (size_t)rand_r(&seed) % WRITERS_N;
		size_t n = atomic_load(&self->shared->writers[w].done_n);
		int64_t began_us = now_us();

		if (atomic_load(&self->shared->failed))
			return;
		if (n == 0)
			continue;
		if (k % COUNT_EVERY == 0)
			read_count(self);
		else if (k % 2 == 0)
			read_point(self, w + (n - 1) * WRITERS_N);
		else
			read_point(
			    self, w + (size_t)rand_r(&seed) % n * WRITERS_N);
		note_done(self->me, began_us);
	}
}

/* ---- All of them -------------------------------------------------------- */

/* What the processes start from: each writes a byte when it is connected, then
 * waits until the parent, which has them all, closes the gate's other end. */
struct start {
	int ready[2], gate[2];
};

static void
run_client(struct self *self, const struct sqlpool_options *options,
    const struct start *start, void (*work)(struct self *))
{
	char byte = 0;

	close(start->ready[0]);
	close(start->gate[1]);
	check_conn(self, sqlpool_open(options, &self->conn));
	if (write(start->ready[1], &byte, 1) < 0 ||
	    read(start->gate[0], &byte, 1) < 0)
		give_up(self, "the parent is gone");
	close(start->ready[1]);
	work(self);
	sqlpool_close(self->conn);
	_exit(0);
}

static pid_t
fork_client(struct self *self, const struct sqlpool_options *options,
    const struct start *start, void (*work)(struct self *))
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		err(1, "fork");
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	run_client(self, options, start, work);
	return 0;
}

/* Let all begin at once, when the last one is connected or has failed. */
static int64_t
open_gate(struct start *start)
{
	char byte;

	close(start->ready[1]);
	for (int i = 0; i < WRITERS_N + READERS_N; i++)
		if (read(start->ready[0], &byte, 1) <= 0)
			break;
	close(start->gate[0]);
	close(start->gate[1]);
	return now_us();
}

static void
wait_for(pid_t pid, struct shared *shared)
{
	int status;

	if (waitpid(pid, &status, 0) < 0)
		err(1, "waitpid");
	if (status != 0 && !atomic_exchange(&shared->failed, true))
		snprintf(shared->why, sizeof(shared->why),
		    "a client ended with wait status %d", status);
}

/* Run all clients.  Returns how long it took until the last writer was done, in
 * seconds. */
static double
run_all(const struct table *table, struct shared *shared,
    struct sqlpool_options *options)
{
	pid_t pids[WRITERS_N + READERS_N];
	struct self self = { .table = table, .shared = shared };
	struct start start;
	int64_t began_us, took_us;

	if (pipe(start.ready) < 0 || pipe(start.gate) < 0)
		err(1, "pipe");
	for (size_t i = 0; i < WRITERS_N + READERS_N; i++) {
		bool writes = i < WRITERS_N;

		self.number = writes ? i : i - WRITERS_N;
		self.me = writes ? &shared->writers[self.number]
				 : &shared->readers[self.number];
		options->app_name = writes ? "writer" : "reader";
		pids[i] = fork_client(
		    &self, options, &start, writes ? write_rows : read_rows);
	}
	began_us = open_gate(&start);
	for (size_t i = 0; i < WRITERS_N; i++)
		wait_for(pids[i], shared);
	took_us = now_us() - began_us;
	for (size_t i = WRITERS_N; i < WRITERS_N + READERS_N; i++)
		wait_for(pids[i], shared);
	return (double)took_us / 1e6;
}

/* Add up what clients did. */
static struct client
sum(const struct client *clients, size_t n)
{
	struct client s = { 0 };

	for (size_t i = 0; i < n; i++) {
		const struct client *c = &clients[i];

		s.done_n += c->done_n;
		s.errors_n += c->errors_n;
		s.locked_n += c->locked_n;
		if (c->slowest_us > s.slowest_us)
			s.slowest_us = c->slowest_us;
	}
	return s;
}

static int
compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* What a part of all writes took at most, in milliseconds; they are sorted. */
static double
get_part(const struct shared *shared, size_t n, double part)
{
	return (double)shared->took_us[(size_t)((double)(n - 1) * part)] / 1e3;
}

static void
print_writes(struct shared *shared, size_t n, double took_s)
{
	struct client w = sum(shared->writers, WRITERS_N);

	qsort(shared->took_us, n, sizeof(shared->took_us[0]), compare);
	printf("writes    %zu rows by %d processes at once, up to %d in flight "
	       "each; every row is\n"
	       "          a statement, and on disk when it is acknowledged\n"
	       "          %.2f s, %.0f rows per second\n"
	       "          half took up to %.1f ms, 99 %% up to %.1f ms, the "
	       "slowest %.1f ms\n",
	    w.done_n, WRITERS_N, IN_FLIGHT_N, took_s, (double)w.done_n / took_s,
	    get_part(shared, n, 0.5), get_part(shared, n, 0.99),
	    (double)w.slowest_us / 1e3);
}

static void
print_reads(const struct shared *shared, double took_s)
{
	struct client r = sum(shared->readers, READERS_N);

	printf("reads     %zu by %d other processes meanwhile, one in flight "
	       "each, of rows that\n"
	       "          were acknowledged before\n"
	       "          %.0f per second; the slowest took %.1f ms\n",
	    r.done_n, READERS_N, (double)r.done_n / took_s,
	    (double)r.slowest_us / 1e3);
}

/* Print it all.  0: as it has to be. */
static int
report(struct shared *shared, size_t rows_n, double took_s)
{
	struct client w = sum(shared->writers, WRITERS_N);
	struct client r = sum(shared->readers, READERS_N);

	print_writes(shared, rows_n, took_s);
	print_reads(shared, took_s);
	printf("errors    %u; \"locked\" was seen %u times\n",
	    w.errors_n + r.errors_n, w.locked_n + r.locked_n);
	fflush(stdout);
	if (shared->failed)
		warnx("%s", shared->why);
	else if (w.done_n != rows_n)
		warnx("%zu rows were acknowledged of %zu", w.done_n, rows_n);
	else if (r.done_n == 0)
		warnx("nothing was read meanwhile");
	else
		return 0;
	return 1;
}

int
main(int argc, char **argv)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	struct shared *shared;
	struct table table;

	if (argc != 4)
		errx(2, "usage: load SOCKET DATABASE UnicodeData.txt");
	alarm(LIMIT_S);
	options.socket_path = argv[1];
	options.database = argv[2];
	table = read_table(argv[3]);
	shared = mmap(NULL,
	    sizeof(*shared) + table.n * sizeof(shared->took_us[0]),
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		err(1, "mmap");
	atomic_store(&shared->writing_n, WRITERS_N);
	return report(shared, table.n, run_all(&table, shared, &options));
}
