/* check_faults.c - every fault at every step of a group.
 *
 * Groups of several members, with guilty ones in several places, run again and
 * again while the n-th call fails, for each n until there is no such call:
 * allocations, writes and syncs of the WAL, any call of a file, and a cancel at
 * each opcode.  Whatever fails: what was acknowledged is in the file that
 * recovery makes of what is on the disk, and in the one that the daemon closes;
 * what was refused as not applied is in neither; an outcome is unknown only after
 * the I/O of a COMMIT failed; and the line goes on. */
#include <check.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/stats.h"
#include "daemon/writer_impl.h"
#include "proto/error.h"
#include "tests/lib/faults.h"
#include "tests/lib/proc.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char schema[] =
    "CREATE TABLE log(id INTEGER PRIMARY KEY, x, u UNIQUE);"
    "INSERT INTO log VALUES(0, 'there', 'there');"
    "CREATE TABLE parent(id INTEGER PRIMARY KEY);"
    "CREATE TABLE late(id INTEGER PRIMARY KEY,"
    "  p REFERENCES parent(id) DEFERRABLE INITIALLY DEFERRED);";

/* --- Memory ---------------------------------------------------------------- */

/* Only the writers' thread runs out of it: the test's own must not. */
static _Thread_local bool is_writer;
static _Atomic int mallocs_left = -1, mallocs_again;
static _Atomic bool malloc_failed;

static void
be_writer(struct squeue *q)
{
	(void)q;
	is_writer = true;
}

/* The sanitizers have an allocator of their own: under them only SQLite's
 * allocations fail. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define OWN_MALLOC true

static bool
may_allocate(void)
{
	if (!is_writer || atomic_load(&mallocs_left) < 0 ||
	    atomic_fetch_sub(&mallocs_left, 1) > 0)
		return true;
	if (atomic_fetch_sub(&mallocs_again, 1) > 0)
		atomic_store(&mallocs_left, 0);
	atomic_store(&malloc_failed, true);
	return false;
}

/* glibc's own names: https://sourceware.org/glibc/manual, "Replacing malloc" */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

__attribute__((visibility("default"))) void *
malloc(size_t n)
{
	return may_allocate() ? __libc_malloc(n) : NULL;
}

__attribute__((visibility("default"))) void *
calloc(size_t n, size_t size)
{
	return may_allocate() ? __libc_calloc(n, size) : NULL;
}

__attribute__((visibility("default"))) void *
realloc(void *p, size_t n)
{
	return may_allocate() ? __libc_realloc(p, n) : NULL;
}
#else
#define OWN_MALLOC false
#endif

/* --- Groups ----------------------------------------------------------------- */

#define MEMBERS_MAX 50
#define IDS_N       8 /* of each member */

static struct fixture fx;

/* A member by its letter: what it does with its ids, %1$d being the first.  With a
 * second statement it is a BATCH, whose first one fails and is caught. */
/* clang-format off */
static const struct kind {
	char letter;
	bool fails; /* by itself, without any fault */
	int rows_n; /* what is there when it is applied, or what stays */
	const char *sql, *second;
} kinds[] = {
	{ 'g', false, 1, "INSERT INTO log(id, x) VALUES(%1$d, 'g')", NULL },
	{ 'm', false, 3, "INSERT INTO log(id, x) SELECT %1$d + value, 'm' FROM json_each('[0, 1, 2]')", NULL },
	{ 'r', false, 1, "INSERT INTO log(id, x) VALUES(%1$d, 'r') RETURNING id, x", NULL },
	{ 'p', false, 1, "INSERT INTO log(id, x) VALUES(%1$d, zeroblob(30000))", NULL },
	{ 'b', false, 2, "INSERT INTO log(id, u) VALUES(%1$d, 'there')",
	  "INSERT INTO log(id, x) VALUES(%1$d, 'b'), (%1$d + 1, 'b')" },
	{ 'U', true, 0, "INSERT INTO log(id, u) VALUES(%1$d, 'new'), (%1$d + 1, 'there')", NULL },
	{ 'R', true, 0, "INSERT OR ROLLBACK INTO log(id, u) VALUES(%1$d, 'new'), (%1$d + 1, 'there')", NULL },
	{ 'F', true, 1, "INSERT OR FAIL INTO log(id, u) VALUES(%1$d, NULL), (%1$d + 1, 'there')", NULL },
	{ 'D', true, 0, "INSERT INTO late VALUES(%1$d, 99)", NULL },
	{ 'B', true, 0, "INSERT INTO log(id, u) VALUES(%1$d, 'there')",
	  "INSERT INTO log(id, u) VALUES(%1$d, 'new'), (%1$d + 1, 'there')" },
};

static const char *const groups[] = {
	"gmr", "Upb", "bUm", "rmU", "Rgm", "gRb", "mgR", "Fgm", "gFr", "Dgm",
	"gbD", "Bgm", "gBp", "RFg",
	"ggggggggggggggggggggggggRggggggggggggggggggggggggg",
};
/* clang-format on */

#define STRIDE_LARGE 37 /* with many members not each call fails */
#define STRIDE_SLOW  7  /* nor under a sanitizer */

static const struct kind *
find_kind(char letter)
{
	const struct kind *k = kinds;

	while (k->letter != letter)
		k++;
	return k;
}

/* What must be in the file of each member that has run. */
enum must { MUST_NOT, MUST, MAY };

static struct entry {
	int id;
	enum must must;
	const struct kind *kind;
} * entries;
static size_t entries_n;

static void
note(int id, const struct kind *k, enum must must)
{
	entries = realloc(entries, (entries_n + 1) * sizeof(*entries));
	ck_assert_ptr_nonnull(entries);
	entries[entries_n++] =
	    (struct entry){ .id = id, .must = must, .kind = k };
}

static const char *
make_sql(const char *format, int id)
{
	char *sql = NULL;
	const char *kept;

/* the table above holds the formats */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	ck_assert_int_ge(asprintf(&sql, format, id), 0);
#pragma GCC diagnostic pop
	kept = fixture_format(&fx, "%s", sql);
	free(sql);
	return kept;
}

static struct request *
make_member(const struct kind *k, int id)
{
	struct request *r;

	if (k->second) {
		const struct fixture_step steps[] = { { .sql = make_sql(
							    k->sql, id) },
			{ .sql = make_sql(k->second, id), .cond = "[1, 0]" },
			{ 0 } };

		return fixture_batch(&fx, steps);
	}
	r = fixture_exec(&fx, make_sql(k->sql, id), NULL);
	r->kind = KIND_WRITE;
	return r;
}

/* Of a reply.  There is none when there was no memory for it, and its client's
 * connection is closed then. */
static enum must
judge(const struct kind *k, const char *text, bool may_be_unknown)
{
	bool done = strncmp(text, "DONE", 4) == 0;

	if (!text[0])
		return MAY;
	ck_assert_msg(!done || !k->fails, "%c succeeded: %s", k->letter, text);
	if (strstr(text, "outcome=2")) {
		ck_assert_msg(may_be_unknown && strstr(text, "SQLITE_IOERR"),
		    "unknown: %s", text);
		return MAY;
	}
	return done || strstr(text, "outcome=1") ? MUST : MUST_NOT;
}

/* --- Faults ------------------------------------------------------------------ */

static const struct fault {
	enum fault_call call;
	int again, code;
} faults[] = {
	{ FAULT_WAL_WRITE, 0, SQLITE_IOERR_WRITE },
	{ FAULT_WAL_WRITE, 1, SQLITE_FULL },
	{ FAULT_WAL_WRITE, INT_MAX, SQLITE_FULL },
	{ FAULT_WAL_WRITE, INT_MAX, SQLITE_IOERR_WRITE },
	{ FAULT_WAL_SYNC, 0, SQLITE_IOERR_FSYNC },
	{ FAULT_WAL_SYNC, 1, SQLITE_IOERR_FSYNC },
	{ FAULT_WAL_SYNC, INT_MAX, SQLITE_IOERR_FSYNC },
	{ FAULT_FILE, 0, SQLITE_IOERR },
	{ FAULT_FILE, 1, SQLITE_IOERR },
	{ FAULT_MALLOC, 0, SQLITE_NOMEM },
	{ FAULT_MALLOC, 1, SQLITE_NOMEM },
	{ FAULT_STEP, 0, ERR_CANCELLED },
	{ FAULT_STEP, 1, ERR_CANCELLED },
};

static void
arm(const struct fault *f, int n)
{
	if (f->call != FAULT_MALLOC || !OWN_MALLOC) {
		faults_arm(f->call, n, f->again, f->code);
		return;
	}
	atomic_store(&malloc_failed, false);
	atomic_store(&mallocs_again, f->again);
	atomic_store(&mallocs_left, n);
}

static bool
disarm(void)
{
	bool hit = faults_disarm();

	atomic_store(&mallocs_left, -1);
	return atomic_exchange(&malloc_failed, false) || hit;
}

static bool
fails_io(const struct fault *f)
{
	return f->call != FAULT_MALLOC && f->call != FAULT_STEP;
}

/* --- What is in the file ------------------------------------------------------ */

static int
count_rows(sqlite3_stmt *st, const struct entry *e)
{
	int n = 0;

	sqlite3_reset(st);
	sqlite3_bind_int(st, 1, e->id);
	sqlite3_bind_int(st, 2, e->id + IDS_N);
	if (sqlite3_step(st) == SQLITE_ROW)
		n = sqlite3_column_int(st, 0);
	return n;
}

static sqlite3_stmt *
prepare(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *st = NULL;

	ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	return st;
}

/* Look for the members from a place on. */
static void
check_file(const char *path, size_t from, const char *what)
{
	sqlite3_stmt *st;
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	st = prepare(db,
	    "SELECT (SELECT count(*) FROM log WHERE id >= ?1 AND id < ?2) +"
	    "  (SELECT count(*) FROM late WHERE id >= ?1 AND id < ?2)");
	for (size_t i = from; i < entries_n; i++) {
		const struct entry *e = &entries[i];
		int n = count_rows(st, e);

		/* (Check notes its asserts, and these are many) */
		if (n != (e->must == MUST ? e->kind->rows_n : 0) &&
		    !(e->must == MAY && n == e->kind->rows_n))
			ck_abort_msg("%s: %c at %d has %d rows, must %d", what,
			    e->kind->letter, e->id, n, e->must);
	}
	sqlite3_finalize(st);
	st = prepare(db, "PRAGMA integrity_check");
	ck_assert_int_eq(sqlite3_step(st), SQLITE_ROW);
	ck_assert_str_eq((const char *)sqlite3_column_text(st, 0), "ok");
	sqlite3_finalize(st);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

static int
copy_file(const char *from, const char *to)
{
	int in = open(from, O_RDONLY), n = 0;
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	static char bytes[1 << 16];

	while (in >= 0 && out >= 0 &&
	    (n = (int)read(in, bytes, sizeof(bytes))) > 0)
		if (write(out, bytes, (size_t)n) != n)
			return -1;
	return in < 0 || out < 0 ? -1 : n;
}

/* What a crash would leave, as nothing more is in memory than in the files.  By
 * another process: any close in this one would drop SQLite's locks. */
static const char *
copy_files(void)
{
	const char *copy = fixture_format(&fx, "%s.copy", fx.path);
	const char *wal = fixture_format(&fx, "%s-wal", fx.path);
	const char *wal_copy = fixture_format(&fx, "%s-wal", copy);
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(copy_file(fx.path, copy) || copy_file(wal, wal_copy));
	ck_assert_int_gt(pid, 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	return copy;
}

/* --- Each fault at each step -------------------------------------------------- */

/* Run a group, ids from *id on; f NULL: without a fault.  True: it has struck. */
static bool
run_group(const char *group, const struct fault *f, int nth, int *id)
{
	struct request *r[MEMBERS_MAX];
	size_t n = strlen(group);
	bool hit;

	fixture_hold(&fx);
	for (size_t i = 0; i < n; i++)
		r[i] = fixture_write(&fx,
		    make_member(find_kind(group[i]), *id + (int)i * IDS_N));
	if (f)
		arm(f, nth);
	fixture_release(&fx);
	for (size_t i = 0; i < n; i++)
		fixture_wait(&fx, r[i]);
	hit = disarm();
	for (size_t i = 0; i < n; i++) {
		const struct kind *k = find_kind(group[i]);
		const char *text = fixture_take(&fx, r[i]);

		note(*id + (int)i * IDS_N, k, judge(k, text, f && fails_io(f)));
	}
	*id += (int)n * IDS_N;
	return hit;
}

static void
start(const struct fault *f)
{
	static struct squeue marks;

	if (f->call == FAULT_MALLOC && !OWN_MALLOC)
		faults_watch_malloc();
	fixture_open(&fx, "synchronous=full foreign_keys=on", schema);
	squeue_init(&marks, fx.dbs.writers, be_writer);
	squeue_kick(&marks);
	fixture_settle(&fx);
	faults_watch_files(&fx);
	if (f->call == FAULT_STEP)
		faults_watch_steps(&fx);
}

/* Close what fixture_open has opened, but leave the file. */
static void
finish(void)
{
	fixture_stop(&fx);
	check_file(copy_files(), 0, "recovered");
	dbconn_close(fx.hot);
	dbs_close(&fx.dbs);
	fx.db = NULL;
	check_file(fx.path, 0, "closed");
	fixture_close(&fx);
	free(entries);
}

START_TEST(faults_at_each_step_of_a_group_lose_and_invent_nothing)
{
	const char *group = groups[(size_t)_i / COUNT(faults)];
	const struct fault *f = &faults[(size_t)_i % COUNT(faults)];
	bool hit = true;
	int stride = 1, id = 1000;

	if (!fails_io(f) && strlen(group) > 10)
		stride = STRIDE_LARGE;
	else if (!fails_io(f) && proc_get_slowness() > 1)
		stride = STRIDE_SLOW;
	start(f);
	for (int n = 0; hit; n += stride) {
		size_t from = entries_n;

		hit = run_group(group, f, n, &id);
		/* before the next commit takes the place of one that failed */
		if (f->call == FAULT_WAL_WRITE || f->call == FAULT_WAL_SYNC)
			check_file(copy_files(), from, "recovered at once");
		run_group("g", NULL, 0, &id);
		ck_assert_int_eq(entries[entries_n - 1].must, MUST);
	}
	ck_assert_uint_ge(entries_n, 2 * (strlen(group) + 1));
	finish();
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *s = suite_create("faults");
	TCase *tc = tcase_create("groups");

	tcase_set_timeout(tc, 20);
	tcase_add_loop_test(tc,
	    faults_at_each_step_of_a_group_lose_and_invent_nothing, 0,
	    (int)(COUNT(groups) * COUNT(faults)));
	suite_add_tcase(s, tc);
	return s;
}

int
main(void)
{
	return fixture_run(make_suite());
}
