/* check_walreset.c - no checkpoint meets a commit.
 *
 * SQLite before 3.44.6 loses commits when a checkpoint that has nothing left to
 * do overlaps a commit that resets the log: sqlite.org/wal.html, "the WAL-reset
 * bug".  The mark that it leaves is a log of which more frames are copied than
 * there are.  The first test makes that happen, so that the others are known to
 * look at the right thing. */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "daemon/clock.h"
#include "daemon/dbconn_impl.h"
#include "daemon/keeper_impl.h"
#include "daemon/log.h"
#include "daemon/stats.h"
#include "daemon/writer_impl.h"
#include "proto/error.h"
#include "tests/lib/faults.h"

/* Words of the wal-index: sqlite.org/walformat.html, "The WAL-Index File
 * Format"; facts.md 1.3. */
enum { WORD_FRAMES = 4, WORD_COPIED = 24 };

static volatile uint32_t *
map_index(sqlite3 *db)
{
	sqlite3_file *file = NULL;
	volatile void *p = NULL;

	if (sqlite3_file_control(
		db, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK ||
	    file->pMethods->xShmMap(file, 0, 32768, 0, &p) != SQLITE_OK)
		abort();
	return p;
}

/* --- The bug ----------------------------------------------------------------- */

static sqlite3 *
open_own(const char *path)
{
	sqlite3 *db = NULL;

	ck_assert_int_eq(
	    sqlite3_open_v2(path, &db,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix-excl"),
	    SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db,
			     "PRAGMA journal_mode=WAL;"
			     "PRAGMA wal_autocheckpoint=0",
			     NULL, NULL, NULL),
	    SQLITE_OK);
	return db;
}

static sqlite3 *committer; /* commits when the checkpoint is in its window */
static int (*real_unfetch)(sqlite3_file *, sqlite3_int64, void *);

/* The one call between reading the header and looking at what is copied. */
static int
unfetch(sqlite3_file *file, sqlite3_int64 at, void *p)
{
	sqlite3 *db = committer;

	committer = NULL;
	if (db)
		sqlite3_exec(db, "UPDATE t SET v = 'new'", NULL, NULL, NULL);
	return real_unfetch(file, at, p);
}

static void
watch_unfetch(sqlite3 *db, sqlite3_io_methods *methods)
{
	sqlite3_file *file = NULL;

	sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
	*methods = *file->pMethods;
	real_unfetch = methods->xUnfetch;
	methods->xUnfetch = unfetch;
	file->pMethods = methods;
}

START_TEST(walreset_is_what_a_redundant_checkpoint_beside_a_commit_does)
{
	static sqlite3_io_methods methods;
	volatile uint32_t *index;
	struct fixture fx;
	sqlite3 *w, *c;
	bool broken;

	fixture_init(&fx, NULL, NULL);
	w = open_own(fx.path);
	c = open_own(fx.path);
	sqlite3_exec(w, "CREATE TABLE t(v); INSERT INTO t VALUES('old')", NULL,
	    NULL, NULL);
	sqlite3_exec(c, "SELECT count(*) FROM t", NULL, NULL, NULL);
	sqlite3_exec(w,
	    "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c"
	    "  LIMIT 50) INSERT INTO t SELECT zeroblob(3000) FROM c",
	    NULL, NULL, NULL);
	watch_unfetch(c, &methods);
	sqlite3_wal_checkpoint_v2(
	    c, "main", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	sqlite3_exec(w, "DELETE FROM t WHERE rowid > 1", NULL, NULL, NULL);
	sqlite3_wal_checkpoint_v2(
	    w, "main", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	committer = w;
	sqlite3_wal_checkpoint_v2(
	    c, "main", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	ck_assert_ptr_null(committer);
	index = map_index(w);
	broken = index[WORD_COPIED] > index[WORD_FRAMES];
	/* the fix: 3.51.3, and backports that number alone does not tell */
	if (sqlite3_libversion_number() < 3044006)
		ck_assert(broken);
	sqlite3_close(c);
	sqlite3_close(w);
	fixture_close(&fx);
}
END_TEST

/* --- The daemon -------------------------------------------------------------- */

static const char schema[] =
    "CREATE TABLE t(id INTEGER PRIMARY KEY, g INTEGER, v);"
    "CREATE INDEX t_g ON t(g);";

/* The log is checkpointed when it has grown by half of this. */
#define OPTIONS "wal_limit=256KB synchronous=full"

/* What the writer's thread sees whenever it writes or syncs a file. */
struct watch {
	struct fixture *fx;
	volatile uint32_t *index;
	unsigned calls_n;         /* of any kind */
	unsigned contradictory_n; /* more frames copied than there are */
	unsigned in_tx_n;         /* a checkpoint wrote while one was open */
};

static void
look_at_log(void *arg)
{
	struct watch *w = arg;

	w->calls_n++;
	if (w->index[WORD_COPIED] > w->index[WORD_FRAMES])
		w->contradictory_n++;
}

/* In WAL mode only a checkpoint writes the database file. */
static void
look_at_checkpoint(void *arg)
{
	struct watch *w = arg;

	look_at_log(w);
	if (sqlite3_txn_state(faults_get_writer(w->fx), "main") !=
	    SQLITE_TXN_NONE)
		w->in_tx_n++;
}

static void
watch_writer(struct watch *w, struct fixture *fx)
{
	*w = (struct watch){ .fx = fx };
	w->index = map_index(faults_get_writer(fx));
	faults_watch_files(fx);
	faults_tap(FAULT_WAL_WRITE, look_at_log, w);
	faults_tap(FAULT_WAL_SYNC, look_at_log, w);
	faults_tap(FAULT_DB_WRITE, look_at_checkpoint, w);
	faults_tap(FAULT_DB_SYNC, look_at_checkpoint, w);
}

static void
assert_sound(struct watch *w)
{
	for (int i = 0; i < FAULT_CALLS_N; i++)
		faults_tap((enum fault_call)i, NULL, NULL);
	ck_assert_uint_gt(w->calls_n, 0);
	ck_assert_uint_eq(w->contradictory_n, 0);
	ck_assert_uint_eq(w->in_tx_n, 0);
	ck_assert_ptr_null(w->fx->db->writer->alarm);
}

/* Readers beside it, each with a thread and a connection of its own. */
struct reading {
	pthread_t thread;
	struct fixture *fx;
	const _Atomic int *acknowledged; /* rows */
	const _Atomic bool *stop;
	_Atomic unsigned reads_n;
	bool lost; /* a read did not see what was acknowledged before it */
};

static int
read_number(void *arg, int n, char **values, char **names)
{
	int *to = arg;

	(void)n;
	(void)names;
	*to = (int)strtol(values[0], NULL, 10);
	return 0;
}

static void *
read_on(void *arg)
{
	struct reading *r = arg;
	sqlite3 *db = NULL;

	if (sqlite3_open_v2(r->fx->path, &db, SQLITE_OPEN_READWRITE,
		"unix-excl") != SQLITE_OK)
		r->lost = true;
	while (!atomic_load(r->stop)) {
		int before = atomic_load(r->acknowledged), seen = -1;

		sqlite3_exec(db, "SELECT count(*) FROM t NOT INDEXED",
		    read_number, &seen, NULL);
		r->lost |= seen < before;
		atomic_fetch_add(&r->reads_n, 1);
	}
	sqlite3_close(db);
	return NULL;
}

static void
start_reading(struct reading *r, struct fixture *fx,
    const _Atomic int *acknowledged, const _Atomic bool *stop)
{
	*r = (struct reading){
		.fx = fx,
		.acknowledged = acknowledged,
		.stop = stop,
	};
	ck_assert_int_eq(pthread_create(&r->thread, NULL, read_on, r), 0);
}

/* One group of ten rows of 3 KB, so that three or four of them make a checkpoint
 * due. */
static void
write_group(struct fixture *fx, _Atomic int *acknowledged)
{
	struct request *r[10];

	for (size_t i = 0; i < 10; i++)
		r[i] = fixture_write(fx,
		    fixture_exec(fx,
			"INSERT INTO t(g, v) VALUES(1, zeroblob(3000))", NULL));
	for (size_t i = 0; i < 10; i++) {
		const char *text = fixture_take(fx, r[i]);

		ck_assert_msg(strncmp(text, "DONE", 4) == 0, "%s", text);
		atomic_fetch_add(acknowledged, 1);
	}
}

START_TEST(walreset_every_acknowledged_row_survives_checkpoints_and_readers)
{
	_Atomic int acknowledged = 0;
	_Atomic bool stop = false;
	struct reading readings[2];
	struct watch watch;
	struct fixture fx;
	char rows[64];

	fixture_open(&fx, OPTIONS, schema);
	watch_writer(&watch, &fx);
	for (int i = 0; i < 2; i++)
		start_reading(&readings[i], &fx, &acknowledged, &stop);
	/* a slow disk makes fewer checkpoints beside as many groups */
	for (int i = 0; i < 300 || stats_get(STAT_checkpoints) <= 10; i++)
		write_group(&fx, &acknowledged);
	atomic_store(&stop, true);
	for (int i = 0; i < 2; i++) {
		pthread_join(readings[i].thread, NULL);
		ck_assert_uint_gt(readings[i].reads_n, 0);
		ck_assert(!readings[i].lost);
	}
	fixture_settle(&fx);
	assert_sound(&watch);
	snprintf(
	    rows, sizeof(rows), "%d\n%d\nok\n", acknowledged, acknowledged);
	ck_assert_str_eq(fixture_query(&fx,
			     "SELECT count(*) FROM t NOT INDEXED WHERE g = 1;"
			     "SELECT count(*) FROM t INDEXED BY t_g"
			     "  WHERE g = 1; PRAGMA integrity_check"),
	    rows);
	fixture_close(&fx);
}
END_TEST

/* --- At random, at full speed --------------------------------------------------- */

#define ROWS_N 200

/* What must be in the file, and when it was acknowledged. */
struct model {
	unsigned seed;
	int g[ROWS_N + 1];    /* 0: no such row */
	int size[ROWS_N + 1]; /* of v */
	int serial;           /* of the last write */
	_Atomic int acknowledged;
	_Atomic bool stop;
};

static unsigned
pick(unsigned *seed, unsigned n)
{
	return (unsigned)rand_r(seed) % n;
}

/* A reader of random patience: sometimes one statement, sometimes a transaction
 * that stays. */
struct visitor {
	pthread_t thread;
	struct fixture *fx;
	struct model *m;
	unsigned seed;
	unsigned reads_n;
	bool lost;
};

static int
read_serial(sqlite3 *db)
{
	int n = -1;

	sqlite3_exec(db, "SELECT n FROM c", read_number, &n, NULL);
	return n;
}

static void *
visit(void *arg)
{
	struct visitor *v = arg;
	sqlite3 *db = NULL;

	if (sqlite3_open_v2(v->fx->path, &db, SQLITE_OPEN_READWRITE,
		"unix-excl") != SQLITE_OK)
		v->lost = true;
	while (!atomic_load(&v->m->stop)) {
		struct timespec pause = { .tv_nsec = (long)pick(&v->seed, 8) *
			    500000 };
		int before = atomic_load(&v->m->acknowledged), first;

		sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
		first = read_serial(db);
		if (pick(&v->seed, 2))
			nanosleep(&pause, NULL);
		v->lost |= first < before || read_serial(db) != first;
		sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
		v->reads_n++;
	}
	sqlite3_close(db);
	return NULL;
}

/* One write, and what it makes of the model. */
static struct request *
write_at_random(struct fixture *fx, struct model *m)
{
	int id = 1 + (int)pick(&m->seed, ROWS_N);
	int size = pick(&m->seed, 50) ? (int)pick(&m->seed, 6000) : 60000;
	const char *sql;

	m->serial++;
	if (pick(&m->seed, 4) == 0) {
		m->g[id] = 0;
		sql = fixture_format(fx, "DELETE FROM t WHERE id = %d", id);
	} else {
		m->g[id] = m->serial;
		m->size[id] = size;
		sql = fixture_format(fx,
		    "INSERT OR REPLACE INTO t VALUES(%d, %d, zeroblob(%d))", id,
		    m->serial, size);
	}
	return fixture_write(fx,
	    fixture_batch(fx,
		(struct fixture_step[]){ { sql, NULL, NULL },
		    { fixture_format(fx, "UPDATE c SET n = %d", m->serial),
			NULL, NULL },
		    { NULL, NULL, NULL } }));
}

static void
write_for_a_while(struct fixture *fx, struct model *m, int64_t end_us)
{
	struct request *r[40];

	while (clock_now_us() < end_us) {
		size_t n = 1 + pick(&m->seed, 40);
		int first = m->serial + 1;

		for (size_t i = 0; i < n; i++)
			r[i] = write_at_random(fx, m);
		for (size_t i = 0; i < n; i++) {
			const char *text = fixture_take(fx, r[i]);

			ck_assert_msg(
			    strncmp(text, "DONE", 4) == 0, "%s", text);
			atomic_store(&m->acknowledged, first + (int)i);
		}
	}
}

static void
assert_is_model(struct fixture *fx, const struct model *m)
{
	const char *want = fixture_format(fx, "%d\n", m->serial);
	int n = 0, sum = 0;

	for (int id = 1; id <= ROWS_N; id++) {
		if (m->g[id] == 0)
			continue;
		want = fixture_format(
		    fx, "%s%d|%d|%d\n", want, id, m->g[id], m->size[id]);
		n++;
		sum += m->g[id];
	}
	want = fixture_format(fx, "%s%d|%d\nok\n", want, n, sum);
	ck_assert_str_eq(fixture_query(fx,
			     "SELECT n FROM c;"
			     "SELECT id, g, length(v) FROM t NOT INDEXED"
			     "  ORDER BY id;"
			     "SELECT count(*), sum(g) FROM t INDEXED BY t_g"
			     "  WHERE g > 0; PRAGMA integrity_check"),
	    want);
}

START_TEST(walreset_a_random_run_keeps_every_acknowledged_commit)
{
	const char *given = getenv("SEED");
	struct model m = { .seed = given ? (unsigned)strtoul(given, NULL, 10)
					 : (unsigned)clock_now_us() };
	struct visitor visitors[3];
	struct fixture fx;

	printf("SEED=%u\n", m.seed); /* shown when it fails */
	fixture_open(&fx, "wal_limit=256KB wal_gate_time=5ms",
	    "CREATE TABLE t(id INTEGER PRIMARY KEY, g INTEGER, v);"
	    "CREATE INDEX t_g ON t(g);"
	    "CREATE TABLE c(n); INSERT INTO c VALUES(0);");
	for (unsigned i = 0; i < 3; i++) {
		visitors[i] =
		    (struct visitor){ .fx = &fx, .m = &m, .seed = m.seed + i };
		ck_assert_int_eq(pthread_create(&visitors[i].thread, NULL,
				     visit, &visitors[i]),
		    0);
	}
	write_for_a_while(&fx, &m, clock_now_us() + 2000000);
	atomic_store(&m.stop, true);
	for (int i = 0; i < 3; i++) {
		pthread_join(visitors[i].thread, NULL);
		ck_assert_uint_gt(visitors[i].reads_n, 0);
		ck_assert(!visitors[i].lost);
	}
	fixture_settle(&fx);
	ck_assert_uint_gt(stats_get(STAT_checkpoints), 0);
	ck_assert_ptr_null(fx.db->writer->alarm);
	assert_is_model(&fx, &m);
	fixture_stop(&fx);
	dbconn_close(fx.hot);
	dbs_close(&fx.dbs);
	fx.db = NULL;
	assert_is_model(&fx, &m);
	fixture_close(&fx);
}
END_TEST

/* With interactive transactions only, each a commit of its own. */
START_TEST(walreset_transactions_alone_get_their_checkpoints_too)
{
	struct watch watch;
	struct fixture fx;

	fixture_open(&fx, OPTIONS, schema);
	watch_writer(&watch, &fx);
	for (int i = 0; i < 50; i++) {
		struct tx *tx = fixture_begin(&fx, TX_MODE_IMMEDIATE);

		fixture_take(&fx,
		    fixture_write(&fx,
			fixture_in(tx,
			    fixture_exec(&fx,
				"INSERT INTO t(v) VALUES(zeroblob(30000))",
				NULL))));
		ck_assert_str_eq(
		    fixture_take(&fx,
			fixture_write(
			    &fx, fixture_in(tx, fixture_end(&fx, true)))),
		    "OK");
		tx_unref(tx);
		fixture_settle(&fx); /* the keeper has had its turn */
	}
	ck_assert_uint_gt(stats_get(STAT_checkpoints), 10);
	ck_assert_uint_lt(stats_get(STAT_wal_frames_max), 64);
	assert_sound(&watch);
	ck_assert_str_eq(fixture_query(&fx,
			     "SELECT count(*) FROM t; PRAGMA integrity_check"),
	    "50\nok\n");
	fixture_close(&fx);
}
END_TEST

/* --- A commit at every step of a keeper's checkpoint --------------------------- */

/* The keeper's two files, all calls of which are counted while its job runs; at
 * one of them the writer's connection commits.  The writer itself is idle then. */
static struct meeting {
	sqlite3 *writer;
	const _Atomic int *state; /* the keeper's */
	int calls_n, at;          /* commit at this call, from 0 */
	int commits_n;            /* so many */
	bool met;
	bool locks_mark; /* nobody can begin: SQLite would retry for 10 s */
	sqlite3_file *files[2];
	const sqlite3_io_methods *real[2];
	sqlite3_io_methods methods[2];
} meeting;

static const sqlite3_io_methods *
meet(sqlite3_file *file)
{
	struct meeting *m = &meeting;
	int commits_n = m->commits_n;

	if (m->writer && !m->locks_mark &&
	    atomic_load(m->state) == KEEPER_COPYING && m->calls_n++ == m->at) {
		sqlite3 *db = m->writer;

		m->writer = NULL; /* its own calls do not count */
		m->met = true;
		for (int i = 0; i < commits_n; i++)
			ck_assert_int_eq(
			    sqlite3_exec(db,
				"INSERT INTO t(g, v) VALUES(1, zeroblob(5000))",
				NULL, NULL, NULL),
			    SQLITE_OK);
	}
	return m->real[file == m->files[1]];
}

static int
meet_read(sqlite3_file *file, void *p, int n, sqlite3_int64 at)
{
	return meet(file)->xRead(file, p, n, at);
}

static int
meet_write(sqlite3_file *file, const void *p, int n, sqlite3_int64 at)
{
	return meet(file)->xWrite(file, p, n, at);
}

static int
meet_sync(sqlite3_file *file, int flags)
{
	return meet(file)->xSync(file, flags);
}

static int
meet_control(sqlite3_file *file, int op, void *arg)
{
	return meet(file)->xFileControl(file, op, arg);
}

static int
meet_lock(sqlite3_file *file, int at, int n, int flags)
{
	int rc = meet(file)->xShmLock(file, at, n, flags);

	/* the read marks but for the first: "WAL Locks" in walformat.html */
	if (rc == SQLITE_OK && at > 3 && (flags & SQLITE_SHM_EXCLUSIVE))
		meeting.locks_mark = flags & SQLITE_SHM_LOCK;
	return rc;
}

static void
meet_barrier(sqlite3_file *file)
{
	meet(file)->xShmBarrier(file);
}

static int
meet_unfetch(sqlite3_file *file, sqlite3_int64 at, void *p)
{
	return meet(file)->xUnfetch(file, at, p);
}

static void
begin_meeting(struct fixture *fx, int at, int commits_n)
{
	static const int ops[] = { SQLITE_FCNTL_FILE_POINTER,
		SQLITE_FCNTL_JOURNAL_POINTER };
	struct keeper *k = fx->db->keeper;
	struct meeting *m = &meeting;

	*m = (struct meeting){
		.state = &k->state, .at = at, .commits_n = commits_n
	};
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(sqlite3_file_control(
				     k->conn->db, "main", ops[i], &m->files[i]),
		    SQLITE_OK);
		m->real[i] = m->files[i]->pMethods;
		m->methods[i] = *m->real[i];
		m->methods[i].xRead = meet_read;
		m->methods[i].xWrite = meet_write;
		m->methods[i].xSync = meet_sync;
		m->methods[i].xFileControl = meet_control;
		m->methods[i].xShmLock = meet_lock;
		m->methods[i].xShmBarrier = meet_barrier;
		m->methods[i].xUnfetch = meet_unfetch;
		m->files[i]->pMethods = &m->methods[i];
	}
	m->writer = faults_get_writer(fx);
}

/* Everything acknowledged is there, by table and by index, here and for whoever
 * opens the file anew. */
static void
assert_rows(struct fixture *fx, int n)
{
	uint32_t copied, frames;

	ck_assert(wal_get_log(fx->db->writer->conn, &copied, &frames));
	ck_assert_uint_le(copied, frames);
	ck_assert_ptr_null(fx->db->writer->alarm);
	ck_assert_str_eq(fixture_query(fx,
			     "SELECT count(*) FROM t NOT INDEXED WHERE g = 1;"
			     "SELECT count(*) FROM t INDEXED BY t_g"
			     "  WHERE g = 1; PRAGMA integrity_check"),
	    fixture_format(fx, "%d\n%d\nok\n", n, n));
}

/* Keep the one thread of a crew busy. */
static void
hold(struct fixture_gate *g)
{
	squeue_kick(&g->q);
	while (sem_wait(&g->entered) < 0)
		continue;
}

/* Ten rows in one commit.  The writer is idle when the keeper begins. */
static void
write_ten(struct fixture *fx, int *acknowledged)
{
	const char *text;

	hold(&fx->gates[2]);
	text = fixture_take(fx,
	    fixture_write(fx,
		fixture_exec(fx,
		    "INSERT INTO t(g, v) WITH RECURSIVE n(i) AS (SELECT 1 UNION "
		    "ALL SELECT i + 1 FROM n LIMIT 10) "
		    "SELECT 1, zeroblob(20000) FROM n",
		    NULL)));

	ck_assert_msg(strncmp(text, "DONE changes=10 ", 16) == 0, "%s", text);
	*acknowledged += 10;
	for (int i = 0; i < 2; i++) {
		hold(&fx->gates[0]);
		sem_post(&fx->gates[0].leave);
	}
	sem_post(&fx->gates[2].leave);
	fixture_settle(fx);
}

/* One job of the keeper, with the commits at one of its calls, then some more
 * turns of the writer.  False: it has fewer calls. */
static bool
run_meeting(int at, int commits_n)
{
	int acknowledged = 0;
	struct fixture fx;
	bool met;

	fixture_open(&fx, OPTIONS, schema);
	meeting.met = false;
	write_ten(&fx, &acknowledged); /* the keeper opens its connection */
	begin_meeting(&fx, at, commits_n);
	for (int i = 0; i < 2; i++)
		write_ten(&fx, &acknowledged);
	met = meeting.met;
	meeting.writer = NULL;
	assert_rows(&fx, acknowledged + (met ? commits_n : 0));
	for (int i = 0; i < 3; i++)
		write_ten(&fx, &acknowledged);
	assert_rows(&fx, acknowledged + (met ? commits_n : 0));
	fixture_close(&fx);
	return met;
}

START_TEST(walreset_a_commit_may_meet_the_keeper_at_every_call)
{
	static const int commits_n[] = { 1, 2, 40 };
	int at = 0;

	while (run_meeting(at, commits_n[_i]))
		at++;
	ck_assert_int_gt(at, 20);
}
END_TEST

START_TEST(walreset_no_connection_checkpoints_by_itself)
{
	int pages = -1;
	struct fixture fx;

	fixture_open(&fx, NULL, schema);
	ck_assert_str_eq(
	    fixture_take(&fx,
		fixture_read(
		    &fx, fixture_exec(&fx, "PRAGMA wal_autocheckpoint", NULL))),
	    "DONE columns=['wal_autocheckpoint'] rows=[[0]]");
	fixture_stop(&fx);
	ck_assert_int_eq(
	    sqlite3_exec(faults_get_writer(&fx), "PRAGMA wal_autocheckpoint",
		read_number, &pages, NULL),
	    SQLITE_OK);
	ck_assert_int_eq(pages, 0);
	fixture_close(&fx);
}
END_TEST

/* A reader that holds an old snapshot keeps a checkpoint from copying what came
 * later; that is no contradiction, and made up for when it has ended. */
START_TEST(walreset_a_pinned_log_is_copied_when_the_reader_has_ended)
{
	struct tx *tx;
	struct watch watch;
	struct fixture fx;
	_Atomic int acknowledged = 0;

	fixture_open(&fx, OPTIONS, schema);
	watch_writer(&watch, &fx);
	tx = fixture_begin(&fx, TX_MODE_READ);
	ck_assert_str_eq(
	    fixture_take(&fx,
		fixture_read(&fx,
		    fixture_in(tx,
			fixture_exec(&fx, "SELECT count(*) FROM t", NULL)))),
	    "DONE columns=['count(*)'] rows=[[0]] tx_state=2");
	for (int i = 0; i < 10; i++)
		write_group(&fx, &acknowledged);
	fixture_settle(&fx);
	ck_assert_uint_gt(stats_get(STAT_checkpoints_partial), 0);
	ck_assert_uint_gt(wal_get_frames(fx.db->writer->conn), 80);
	ck_assert_str_eq(
	    fixture_take(&fx,
		fixture_read(&fx, fixture_in(tx, fixture_end(&fx, false)))),
	    "OK");
	for (int i = 0; i < 10; i++) {
		write_group(&fx, &acknowledged);
		fixture_settle(&fx);
	}
	ck_assert_uint_lt(wal_get_frames(fx.db->writer->conn), 80);
	assert_sound(&watch);
	ck_assert_str_eq(fixture_query(&fx,
			     "SELECT count(*) FROM t; PRAGMA integrity_check"),
	    "200\nok\n");
	tx_unref(tx);
	fixture_close(&fx);
}
END_TEST

/* --- Readers that never leave a gap --------------------------------------------- */

/* One of several threads whose read transactions overlap. */
struct overlapping {
	pthread_t thread;
	struct fixture *fx;
	const _Atomic bool *stop;
	_Atomic bool began;
	_Atomic unsigned reads_n;
};

static void *
overlap(void *arg)
{
	struct overlapping *o = arg;
	struct timespec pause = { .tv_nsec = 3000000 }; /* the read takes it */
	sqlite3 *db = NULL;

	if (sqlite3_open_v2(o->fx->path, &db, SQLITE_OPEN_READWRITE,
		"unix-excl") != SQLITE_OK)
		abort();
	while (!atomic_load(o->stop)) {
		sqlite3_exec(
		    db, "BEGIN; SELECT count(*) FROM t", NULL, NULL, NULL);
		atomic_store(&o->began, true);
		nanosleep(&pause, NULL);
		sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
		atomic_fetch_add(&o->reads_n, 1);
	}
	sqlite3_close(db);
	return NULL;
}

START_TEST(walreset_readers_without_a_gap_do_not_make_the_log_grow)
{
	_Atomic int acknowledged = 0;
	_Atomic bool stop = false;
	struct overlapping o[4];
	struct watch watch;
	struct fixture fx;

	fixture_open(
	    &fx, "wal_limit=512KB wal_gate_time=3s synchronous=normal", schema);
	watch_writer(&watch, &fx);
	for (int i = 0; i < 4; i++) {
		o[i] = (struct overlapping){ .fx = &fx, .stop = &stop };
		ck_assert_int_eq(
		    pthread_create(&o[i].thread, NULL, overlap, &o[i]), 0);
	}
	for (int i = 0; i < 4; i++)
		while (!atomic_load(&o[i].began))
			sched_yield();
	for (int i = 0; i < 400; i++) /* about 16 MB */
		write_group(&fx, &acknowledged);
	atomic_store(&stop, true);
	for (int i = 0; i < 4; i++)
		pthread_join(o[i].thread, NULL);
	fixture_settle(&fx);
	ck_assert_uint_gt(stats_get(STAT_gates), 0);
	ck_assert_uint_eq(stats_get(STAT_gates_given_up), 0);
	ck_assert_uint_ge(stats_get(STAT_wal_restarts), 5);
	assert_sound(&watch);
	assert_rows(&fx, 4000);
	fixture_close(&fx);
}
END_TEST

/* Begin a read transaction, whose snapshot is of now. */
static struct tx *
begin_reading(struct fixture *fx)
{
	struct tx *tx = fixture_begin(fx, TX_MODE_READ);

	fixture_take(fx,
	    fixture_read(fx,
		fixture_in(
		    tx, fixture_exec(fx, "SELECT count(*) FROM t", NULL))));
	return tx;
}

static void
end_reading(struct fixture *fx, struct tx *tx)
{
	fixture_take(
	    fx, fixture_read(fx, fixture_in(tx, fixture_end(fx, false))));
	tx_unref(tx);
	fixture_settle(fx);
}

/* There is always one who reads, and it stays: the writer waits for it for a
 * bounded time, goes on, and does not try again at once. */
START_TEST(walreset_the_gate_gives_up_on_a_reader_that_stays)
{
	_Atomic int acknowledged = 0;
	struct tx *tx, *next;
	struct fixture fx;

	fixture_open(&fx, "wal_limit=256KB wal_gate_time=20ms", schema);
	write_group(&fx, &acknowledged);
	tx = begin_reading(&fx);
	for (int i = 0; i < 20; i++) {
		write_group(&fx, &acknowledged);
		fixture_settle(&fx);
		next = begin_reading(&fx);
		end_reading(&fx, tx);
		tx = next;
	}
	ck_assert_uint_ge(stats_get(STAT_gates_given_up), 1);
	ck_assert_uint_le(stats_get(STAT_gates_given_up), 5);
	end_reading(&fx, tx);
	assert_rows(&fx, 210);
	fixture_close(&fx);
}
END_TEST

/* Transactions that have read and wait for the writer: the gate must not wait for
 * them.  The one whose snapshot is of now can write; the other one cannot, and
 * nothing can be read in it any more, as its snapshot is gone: also when its
 * write is stopped while it waits. */
START_TEST(walreset_the_gate_does_not_wait_for_those_who_wait_for_the_writer)
{
	static const char read_one[] = "SELECT count(*) FROM t";
	static const char write_one[] = "INSERT INTO t(g) VALUES(1)";
	_Atomic int acknowledged = 0;
	struct request *first, *second;
	struct fixture fx;
	struct tx *tx[2];
	const char *text;

	fixture_open(&fx, "wal_limit=256KB wal_gate_time=3s", schema);
	fixture_hold(&fx); /* nothing is copied, so the log grows */
	squeue_kick(&fx.gates[2].q);
	while (sem_wait(&fx.gates[2].entered) < 0)
		continue;
	fixture_release(&fx);
	for (int i = 0; i < 10; i++)
		write_group(&fx, &acknowledged);
	tx[0] = fixture_begin(&fx, TX_MODE_DEFERRED);
	fixture_take(&fx,
	    fixture_read(
		&fx, fixture_in(tx[0], fixture_exec(&fx, read_one, NULL))));
	write_group(&fx, &acknowledged);
	tx[1] = fixture_begin(&fx, TX_MODE_DEFERRED);
	fixture_take(&fx,
	    fixture_read(
		&fx, fixture_in(tx[1], fixture_exec(&fx, read_one, NULL))));
	ck_assert_int_ge(wal_get_bytes(fx.db->writer->conn), 256 << 10);
	fixture_hold(&fx);
	sem_post(&fx.gates[2].leave); /* now the keeper copies what it can */
	while (keeper_get_state(fx.db->keeper) != KEEPER_COPIED)
		sched_yield();
	second = fixture_write(
	    &fx, fixture_in(tx[1], fixture_exec(&fx, write_one, NULL)));
	first = fixture_write(
	    &fx, fixture_in(tx[0], fixture_exec(&fx, write_one, NULL)));
	fixture_release(&fx);
	ck_assert_int_eq(
	    strncmp(fixture_take(&fx, second), "DONE changes=1", 14), 0);
	ck_assert_uint_eq(stats_get(STAT_gates), 1);
	ck_assert_uint_eq(stats_get(STAT_gates_given_up), 0);
	if (_i)
		fixture_cancel(&fx, first, ERR_CANCELLED);
	fixture_take(
	    &fx, fixture_write(&fx, fixture_in(tx[1], fixture_end(&fx, true))));
	text = fixture_take(&fx, first);
	ck_assert_ptr_nonnull(strstr(text, "tx_state=4"));
	ck_assert_ptr_nonnull(
	    strstr(text, _i ? "CANCELLED" : "SQLITE_BUSY_SNAPSHOT"));
	ck_assert_ptr_nonnull(
	    strstr(tx[0]->expired_text, "send ROLLBACK, then run it again"));
	tx_unref(tx[0]);
	tx_unref(tx[1]);
	assert_rows(&fx, 111);
	fixture_close(&fx);
}
END_TEST

/* Over the hard limit there is no turn for a second, and then one for each tick. */
START_TEST(walreset_a_log_over_its_hard_limit_holds_the_writer_back)
{
	static const char large[] =
	    "INSERT INTO t(g, v) VALUES(1, zeroblob(70000))";
	struct fixture fx;
	struct request *r;
	struct tx *tx;

	fixture_open(&fx,
	    "wal_limit=256KB wal_hard_limit=256KB wal_gate_time=0", schema);
	tx = fixture_begin(&fx, TX_MODE_READ);
	fixture_take(&fx,
	    fixture_read(&fx,
		fixture_in(
		    tx, fixture_exec(&fx, "SELECT count(*) FROM t", NULL))));
	while (wal_get_bytes(fx.db->writer->conn) < 256 << 10) {
		fixture_take(
		    &fx, fixture_write(&fx, fixture_exec(&fx, large, NULL)));
		fixture_settle(&fx);
	}
	r = fixture_write(
	    &fx, fixture_exec(&fx, "INSERT INTO t(g) VALUES(1)", NULL));
	fixture_settle(&fx);
	ck_assert_uint_eq(writer_get_queue_n(fx.db->writer), 1);
	ck_assert_uint_eq(stats_get(STAT_turns_held_back), 1);
	writer_tick(fx.db->writer); /* too early */
	fixture_settle(&fx);
	ck_assert_uint_eq(writer_get_queue_n(fx.db->writer), 1);
	fx.db->writer->over_us -= 2000000;
	writer_tick(fx.db->writer);
	fixture_take(&fx, r);
	/* without the reader the log begins anew, and all is as before */
	fixture_take(
	    &fx, fixture_read(&fx, fixture_in(tx, fixture_end(&fx, false))));
	tx_unref(tx);
	while (wal_get_bytes(fx.db->writer->conn) >= 256 << 10) {
		r = fixture_write(&fx, fixture_exec(&fx, large, NULL));
		writer_tick(fx.db->writer);
		fixture_take(&fx, r);
		fixture_settle(&fx);
	}
	fixture_close(&fx);
}
END_TEST

/* What is left in the log when nobody writes any more is copied, too. */
START_TEST(walreset_a_log_that_nobody_writes_to_is_copied)
{
	uint32_t copied = 0, frames = 1;
	struct fixture fx;

	fixture_open(&fx, NULL, schema);
	fixture_take(&fx,
	    fixture_write(
		&fx, fixture_exec(&fx, "INSERT INTO t(g) VALUES(1)", NULL)));
	fixture_settle(&fx);
	ck_assert(wal_get_log(fx.db->writer->conn, &copied, &frames));
	ck_assert_uint_lt(copied, frames);
	writer_tick(fx.db->writer); /* too early */
	fixture_settle(&fx);
	ck_assert(wal_get_log(fx.db->writer->conn, &copied, &frames));
	ck_assert_uint_lt(copied, frames);
	atomic_fetch_sub(&fx.db->writer->committed_us, 2000000);
	writer_tick(fx.db->writer);
	fixture_settle(&fx);
	ck_assert(wal_get_log(fx.db->writer->conn, &copied, &frames));
	ck_assert_uint_eq(copied, frames);
	atomic_fetch_sub(&fx.db->writer->committed_us, 2000000);
	writer_tick(fx.db->writer);
	fixture_settle(&fx);
	ck_assert_int_eq(atomic_load(&fx.db->writer->committed_us), 0);
	fixture_close(&fx);
}
END_TEST

/* Ticks, each two seconds after the last commit. */
static void
pass_time(struct fixture *fx, int ticks)
{
	for (int i = 0; i < ticks; i++) {
		struct writer *w = fx->db->writer;

		if (atomic_load(&w->committed_us))
			atomic_fetch_sub(&w->committed_us, 2000000);
		writer_tick(w);
		fixture_settle(fx);
	}
}

static int64_t
measure_wal(struct fixture *fx)
{
	struct stat st;

	ck_assert_int_eq(stat(fixture_format(fx, "%s-wal", fx->path), &st), 0);
	return st.st_size;
}

/* The file of a log is overwritten, not cut, unless it has become very large and
 * nobody needs it now. */
START_TEST(walreset_a_very_large_log_is_cut_when_nobody_uses_it)
{
	struct fixture fx;
	struct tx *tx;

	fixture_open(&fx, "wal_limit=256KB wal_gate_time=off", schema);
	fixture_take(&fx,
	    fixture_write(&fx,
		fixture_exec(
		    &fx, "INSERT INTO t(v) VALUES(zeroblob(900000))", NULL)));
	fixture_settle(&fx);
	pass_time(&fx, 4);
	ck_assert_int_gt(measure_wal(&fx), 900000); /* large, not very */
	hold(&fx.gates[2]);
	fixture_take(&fx,
	    fixture_write(&fx,
		fixture_exec(
		    &fx, "INSERT INTO t(v) VALUES(zeroblob(1100000))", NULL)));
	tx = begin_reading(&fx);
	sem_post(&fx.gates[2].leave);
	fixture_settle(&fx);
	pass_time(&fx, 4);
	ck_assert_int_gt(measure_wal(&fx), 1100000); /* somebody reads */
	end_reading(&fx, tx);
	pass_time(&fx, 4);
	ck_assert_int_eq(measure_wal(&fx), 0);
	ck_assert_int_eq(atomic_load(&fx.db->writer->committed_us), 0);
	ck_assert_str_eq(fixture_query(&fx,
			     "SELECT count(*) FROM t; PRAGMA integrity_check"),
	    "2\nok\n");
	fixture_close(&fx);
}
END_TEST

/* The mark of the bug: what was written since may be lost, so nothing more is
 * written, and the files are left as they are. */
START_TEST(walreset_a_log_that_contradicts_itself_stops_the_writer)
{
	static const char large[] = "INSERT INTO t(v) VALUES(zeroblob(100000))";
	volatile uint32_t *index;
	struct fixture fx;

	fixture_open(&fx, OPTIONS, schema);
	log_set_level(CONF_LOG_ERROR);
	index = map_index(faults_get_writer(&fx));
	fixture_take(&fx,
	    fixture_write(
		&fx, fixture_exec(&fx, "INSERT INTO t(g) VALUES(1)", NULL)));
	fixture_settle(&fx);
	index[WORD_COPIED] = index[WORD_FRAMES] + 1000;
	ck_assert_str_eq(
	    fixture_take(
		&fx, fixture_write(&fx, fixture_exec(&fx, large, NULL))),
	    "ERROR name=DATABASE_DOWN message='app is not written any more: its "
	    "WAL contradicts itself; see the daemon's log'");
	ck_assert_str_eq(
	    fixture_take(
		&fx, fixture_read(&fx, fixture_exec(&fx, "SELECT 1", NULL))),
	    "DONE columns=['1'] rows=[[1]]");
	fixture_close(&fx);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *s = suite_create("walreset");
	TCase *tc = tcase_create("walreset");

	tcase_set_timeout(tc, 30);

	tcase_add_test(
	    tc, walreset_is_what_a_redundant_checkpoint_beside_a_commit_does);
	tcase_add_test(tc,
	    walreset_every_acknowledged_row_survives_checkpoints_and_readers);
	tcase_add_test(
	    tc, walreset_a_random_run_keeps_every_acknowledged_commit);
	tcase_add_test(
	    tc, walreset_transactions_alone_get_their_checkpoints_too);
	tcase_add_loop_test(
	    tc, walreset_a_commit_may_meet_the_keeper_at_every_call, 0, 3);
	tcase_add_test(
	    tc, walreset_a_pinned_log_is_copied_when_the_reader_has_ended);
	tcase_add_test(tc, walreset_no_connection_checkpoints_by_itself);
	tcase_add_test(
	    tc, walreset_readers_without_a_gap_do_not_make_the_log_grow);
	tcase_add_test(tc, walreset_the_gate_gives_up_on_a_reader_that_stays);
	tcase_add_loop_test(tc,
	    walreset_the_gate_does_not_wait_for_those_who_wait_for_the_writer,
	    0, 2);
	tcase_add_test(
	    tc, walreset_a_log_over_its_hard_limit_holds_the_writer_back);
	tcase_add_test(tc, walreset_a_log_that_nobody_writes_to_is_copied);
	tcase_add_test(
	    tc, walreset_a_very_large_log_is_cut_when_nobody_uses_it);
	tcase_add_test(
	    tc, walreset_a_log_that_contradicts_itself_stops_the_writer);
	suite_add_tcase(s, tc);
	return s;
}

int
main(void)
{
	return fixture_run(make_suite());
}
