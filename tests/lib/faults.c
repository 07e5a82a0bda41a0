/* faults.c - faults by countdown. */
#include "tests/lib/faults.h"

#include <check.h>
#include <sqlite3.h>
#include <string.h>

#include "daemon/dbconn_impl.h"
#include "daemon/keeper_impl.h"
#include "daemon/writer_impl.h"
#include "proto/error.h"

static struct {
	_Atomic int countdown, again, code;
	_Atomic bool hit;
	void (*tap)(void *arg);
	void *arg;
} faults[FAULT_CALLS_N];

/* 0, or the code that the call is to fail with. */
static int
count_down(enum fault_call call)
{
	if (faults[call].tap)
		faults[call].tap(faults[call].arg);
	if (atomic_load(&faults[call].countdown) < 0)
		return 0;
	if (atomic_fetch_sub(&faults[call].countdown, 1) > 0)
		return 0;
	atomic_store(&faults[call].hit, true);
	if (atomic_fetch_sub(&faults[call].again, 1) > 0)
		atomic_store(&faults[call].countdown, 0);
	return atomic_load(&faults[call].code);
}

void
faults_arm(enum fault_call call, int countdown, int again, int code)
{
	atomic_store(&faults[call].hit, false);
	atomic_store(&faults[call].code, code);
	atomic_store(&faults[call].again, again);
	atomic_store(&faults[call].countdown, countdown);
}

bool
faults_disarm(void)
{
	bool hit = false;

	for (int i = 0; i < FAULT_CALLS_N; i++) {
		atomic_store(&faults[i].countdown, -1);
		hit = atomic_load(&faults[i].hit) || hit;
	}
	return hit;
}

void
faults_tap(enum fault_call call, void (*tap)(void *arg), void *arg)
{
	faults[call].arg = arg;
	faults[call].tap = tap;
}

/* --- Files ----------------------------------------------------------------- */

/* The writer's two files, the database and its WAL; and the keeper's database
 * file. */
static struct watched {
	sqlite3_file *file;
	const sqlite3_io_methods *real;
	sqlite3_io_methods methods;
	enum fault_call write, sync;
} watched[3] = {
	{ .write = FAULT_DB_WRITE, .sync = FAULT_DB_SYNC },
	{ .write = FAULT_WAL_WRITE, .sync = FAULT_WAL_SYNC },
	{ .write = FAULT_DB_WRITE, .sync = FAULT_DB_SYNC },
};

static const struct watched *
find_watched(const sqlite3_file *file)
{
	const struct watched *w = watched;

	while (w->file != file)
		w++;
	return w;
}

static int
write_file(sqlite3_file *file, const void *p, int n, sqlite3_int64 at)
{
	const struct watched *w = find_watched(file);
	int rc = count_down(w->write);

	if (rc == 0)
		rc = count_down(FAULT_FILE);
	return rc ? rc : w->real->xWrite(file, p, n, at);
}

static int
sync_file(sqlite3_file *file, int flags)
{
	const struct watched *w = find_watched(file);
	int rc = count_down(w->sync);

	if (rc == 0)
		rc = count_down(FAULT_FILE);
	return rc ? rc : w->real->xSync(file, flags);
}

static int
read_file(sqlite3_file *file, void *p, int n, sqlite3_int64 at)
{
	int rc = count_down(FAULT_FILE);

	return rc ? rc : find_watched(file)->real->xRead(file, p, n, at);
}

static int
truncate_file(sqlite3_file *file, sqlite3_int64 n)
{
	int rc = count_down(FAULT_FILE);

	return rc ? rc : find_watched(file)->real->xTruncate(file, n);
}

static int
size_file(sqlite3_file *file, sqlite3_int64 *ret)
{
	int rc = count_down(FAULT_FILE);

	return rc ? rc : find_watched(file)->real->xFileSize(file, ret);
}

static int
map_shm(sqlite3_file *file, int page, int n, int extend, void volatile **ret)
{
	int rc = count_down(FAULT_FILE);

	return rc
	    ? rc
	    : find_watched(file)->real->xShmMap(file, page, n, extend, ret);
}

static int
lock_shm(sqlite3_file *file, int offset, int n, int flags)
{
	int rc = flags & SQLITE_SHM_LOCK ? count_down(FAULT_FILE) : 0;

	return rc ? rc
		  : find_watched(file)->real->xShmLock(file, offset, n, flags);
}

sqlite3 *
faults_get_writer(struct fixture *fx)
{
	return fx->db->writer->conn->db;
}

static void
watch(struct watched *w, sqlite3 *db, int op)
{
	ck_assert_int_eq(
	    sqlite3_file_control(db, "main", op, &w->file), SQLITE_OK);
	ck_assert_ptr_nonnull(w->file->pMethods);
	w->real = w->file->pMethods;
	w->methods = *w->real;
	w->methods.xWrite = write_file;
	w->methods.xSync = sync_file;
	w->methods.xRead = read_file;
	w->methods.xTruncate = truncate_file;
	w->methods.xFileSize = size_file;
	w->methods.xShmMap = map_shm;
	w->methods.xShmLock = lock_shm;
	w->file->pMethods = &w->methods;
}

void
faults_watch_files(struct fixture *fx)
{
	const struct dbconn *keeper = fx->db->keeper->conn;

	faults_disarm();
	watch(&watched[0], faults_get_writer(fx), SQLITE_FCNTL_FILE_POINTER);
	/* in WAL mode the journal is the WAL:
	 * sqlite.org/c3ref/c_fcntl_begin_atomic_write.html */
	watch(&watched[1], faults_get_writer(fx), SQLITE_FCNTL_JOURNAL_POINTER);
	if (keeper)
		watch(&watched[2], keeper->db, SQLITE_FCNTL_FILE_POINTER);
}

/* --- Steps ----------------------------------------------------------------- */

/* What the daemon's own handler does, and before that the fault. */
static int
look_at_step(void *arg)
{
	struct dbconn *c = arg;
	_Atomic int *stop;

	if (!c->stop)
		return 0;
	memcpy(&stop, &c->stop, sizeof(stop)); /* it is const to the daemon */
	if (count_down(FAULT_STEP))
		atomic_store(stop, ERR_CANCELLED);
	return atomic_load(stop) != 0;
}

void
faults_watch_steps(struct fixture *fx)
{
	struct dbconn *c = fx->db->writer->conn;

	faults_disarm();
	sqlite3_progress_handler(c->db, 1, look_at_step, c);
}

/* --- Memory ---------------------------------------------------------------- */

static sqlite3_mem_methods real_mem;

static void *
mem_malloc(int n)
{
	return count_down(FAULT_MALLOC) ? NULL : real_mem.xMalloc(n);
}

static void *
mem_realloc(void *p, int n)
{
	return count_down(FAULT_MALLOC) ? NULL : real_mem.xRealloc(p, n);
}

void
faults_watch_malloc(void)
{
	sqlite3_mem_methods methods;

	faults_disarm();
	ck_assert_int_eq(
	    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_mem), SQLITE_OK);
	methods = real_mem;
	methods.xMalloc = mem_malloc;
	methods.xRealloc = mem_realloc;
	ck_assert_int_eq(
	    sqlite3_config(SQLITE_CONFIG_MALLOC, &methods), SQLITE_OK);
}

/* --- A statement that waits ------------------------------------------------ */

static void
wait_for(sem_t *sem)
{
	while (sem_wait(sem) < 0)
		continue;
}

static void
sql_barrier(sqlite3_context *ctx, int n, sqlite3_value **v)
{
	struct barrier *b = sqlite3_user_data(ctx);

	(void)n;
	sqlite3_result_value(ctx, v[0]);
	sem_post(&b->called);
	wait_for(&b->go);
}

void
barrier_add(struct fixture *fx, struct barrier *b)
{
	sem_init(&b->called, 0, 0);
	sem_init(&b->go, 0, 0);
	ck_assert_int_eq(
	    sqlite3_create_function(faults_get_writer(fx), "barrier", 1,
		SQLITE_UTF8, b, sql_barrier, NULL, NULL),
	    SQLITE_OK);
}

void
barrier_await(struct barrier *b)
{
	wait_for(&b->called);
}

void
barrier_open(struct barrier *b)
{
	sem_post(&b->go);
}
