/* wal.c - what a connection knows of the log, and checkpoints.
 *
 * Thread: whoever owns the connection at the moment. */
#include "daemon/wal.h"

#include <time.h>

#include "daemon/clock.h"
#include "daemon/dbconn_impl.h"
#include "daemon/log.h"
#include "daemon/trickle.h"

_Static_assert(WAL_SYNC_FAILED == -SQLITE_IOERR_FSYNC, "SQLite's code");

/* Words of the wal-index: walformat.html, "The WAL-Index File Format". */
enum {
	INDEX_BYTES = 32768,
	WORD_CHANGE = 2,
	WORD_FRAMES = 4,
	WORD_SALT = 8,
	WORD_COPIED = 24
};

/* A connection that has read the file has the first region mapped, and keeps it
 * for as long as it is in WAL mode: SQLite keeps such pointers itself (apWiData in
 * wal.c). */
static const volatile uint32_t *
map_index(struct dbconn *c)
{
	sqlite3_file *file = NULL;
	void volatile *region = NULL;

	if (c->index)
		return c->index;
	sqlite3_file_control(c->db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
	if (!file || !file->pMethods || file->pMethods->iVersion < 2 ||
	    file->pMethods->xShmMap(file, 0, INDEX_BYTES, 0, &region) !=
		SQLITE_OK)
		return NULL;
	c->index = region;
	return c->index;
}

static uint32_t
read_word(const volatile uint32_t *index, int word)
{
	return __atomic_load_n(&index[word], __ATOMIC_ACQUIRE);
}

uint32_t
wal_get_change_count(struct dbconn *c)
{
	const volatile uint32_t *index = map_index(c);

	return index ? read_word(index, WORD_CHANGE) : 0;
}

uint32_t
wal_get_generation(struct dbconn *c)
{
	const volatile uint32_t *index = map_index(c);

	return index ? read_word(index, WORD_SALT) : 0;
}

bool
wal_get_log(struct dbconn *c, uint32_t *ret_copied, uint32_t *ret_frames)
{
	const volatile uint32_t *index = map_index(c);

	if (!index)
		return false;
	*ret_copied = read_word(index, WORD_COPIED);
	*ret_frames = read_word(index, WORD_FRAMES);
	return true;
}

bool
wal_take_committed(struct dbconn *c)
{
	uint32_t now = wal_get_change_count(c);
	bool committed = now != c->last_change;

	c->last_change = now;
	return committed;
}

bool
wal_get_view(struct dbconn *c, struct wal_view *ret)
{
	*ret = (struct wal_view){ map_index(c), c->page_bytes };
	return ret->index != NULL;
}

static int64_t
count_bytes(int page_bytes, uint32_t frames)
{
	/* a frame is a 24-byte header and a page: fileformat2.html, 4.1 */
	return (int64_t)frames * (page_bytes + 24);
}

void
wal_look(const struct wal_view *view, struct wal_now *ret)
{
	*ret = (struct wal_now){
		.copied = read_word(view->index, WORD_COPIED),
		.generation = read_word(view->index, WORD_SALT),
		.change_count = read_word(view->index, WORD_CHANGE),
	};
	ret->frames = read_word(view->index, WORD_FRAMES);
	ret->copied_bytes = count_bytes(view->page_bytes, ret->copied);
	ret->bytes = count_bytes(view->page_bytes, ret->frames);
}

bool
wal_has_reset_bug(int version)
{
	/* sqlite.org/wal.html, "the WAL-reset bug": 3.7.0 to 3.51.2, and the
	 * versions to which the fix was backported */
	return version >= 3007000 && version < 3051003 &&
	    !(version >= 3044006 && version < 3045000) &&
	    !(version >= 3050007 && version < 3051000);
}

bool
wal_library_has_reset_bug(void)
{
	return wal_has_reset_bug(sqlite3_libversion_number());
}

void
wal_log_rule(void)
{
	const char *version = sqlite3_libversion();

	if (wal_library_has_reset_bug())
		log_info("SQLite %s has the WAL-reset bug: a checkpoint runs "
			 "beside commits only while there is something left to "
			 "copy, else between commits",
		    version);
	else
		log_info("SQLite %s does not have the WAL-reset bug; "
			 "checkpoints follow the rule that avoids it all the "
			 "same, as it costs nothing",
		    version);
}

uint32_t
wal_get_frames(const struct dbconn *c)
{
	return c->wal_frames;
}

int64_t
wal_count_bytes(const struct dbconn *c, uint32_t frames)
{
	return count_bytes(c->page_bytes, frames);
}

int64_t
wal_get_bytes(const struct dbconn *c)
{
	return wal_count_bytes(c, c->wal_frames);
}

int64_t
wal_get_file_bytes(struct dbconn *c)
{
	sqlite3_file *file = NULL;
	sqlite3_int64 bytes = 0;

	/* in WAL mode the journal is the WAL */
	sqlite3_file_control(
	    c->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file);
	if (!file || !file->pMethods ||
	    file->pMethods->xFileSize(file, &bytes) != SQLITE_OK)
		return 0;
	return bytes;
}

static int
fail_sync(const struct dbconn *c, struct failure *f)
{
	return failure_set(
	    f, SQLITE_IOERR_FSYNC, "cannot sync %s", c->conf->path);
}

int
wal_sync_file(struct dbconn *c, struct failure *f)
{
	sqlite3_file *file = NULL;
	int rc;

	sqlite3_file_control(c->db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
	rc = file->pMethods->xSync(file, SQLITE_SYNC_NORMAL);
	return rc == SQLITE_OK ? 0 : fail_sync(c, f);
}

/* A checkpoint that meets a reader with an older snapshot waits for its read mark
 * to be free, also when that reader has long ended and others, who began since and
 * are not in its way, hold the mark in turn (walCheckpoint in wal.c; seen with
 * four readers that overlap).  So it waits shortly, and begins again. */
#define ATTEMPT_US 1000

/* A checkpoint waits for readers: for up to *arg, in microseconds of the clock.
 * SQLite's own handler sleeps for milliseconds at first and then for 100. */
static int
wait_for_readers(void *arg, int called_n)
{
	const int64_t *end_us = arg;
	struct timespec pause = { .tv_nsec = 100000 };

	(void)called_n;
	if (clock_now_us() >= *end_us)
		return 0;
	nanosleep(&pause, NULL);
	return 1;
}

/* After an attempt: false when another process checkpoints, which SQLite says at
 * once and without asking us to wait. */
static bool
is_worth_another(const struct wal_copied *log)
{
	return log->frames >= 0;
}

int
wal_checkpoint(struct dbconn *c, enum wal_how how, int64_t wait_us,
    struct wal_copied *ret, struct failure *f)
{
	static const int modes[] = {
		[WAL_COPY] = SQLITE_CHECKPOINT_PASSIVE,
		[WAL_RESTART] = SQLITE_CHECKPOINT_RESTART,
		[WAL_EMPTY] = SQLITE_CHECKPOINT_TRUNCATE,
	};
	int64_t end_us = clock_now_us() + wait_us, attempt_end_us;
	bool trickles = c->role == DBCONN_KEEPER; /* nobody waits for it */
	int rc;

	*ret = (struct wal_copied){ 0 };
	dbconn_watch(c, NULL, 0);
	sqlite3_busy_handler(c->db, wait_for_readers, &attempt_end_us);
	if (trickles)
		trickle_begin();
	do {
		attempt_end_us = clock_now_us() + ATTEMPT_US;
		rc = sqlite3_wal_checkpoint_v2(
		    c->db, "main", modes[how], &ret->frames, &ret->copied);
	} while (rc == SQLITE_BUSY && is_worth_another(ret) &&
	    clock_now_us() < end_us);
	dbconn_set_busy_timeout(c);
	if (trickles && trickle_end() < 0)
		return fail_sync(c, f);
	ret->gave_up = rc == SQLITE_BUSY;
	if (how == WAL_EMPTY && rc == SQLITE_OK)
		c->wal_frames = 0;
	return rc == SQLITE_OK || rc == SQLITE_BUSY ? 0 : dbconn_fail(c, rc, f);
}
