/* backup.c - one backup after another step. */
#include "daemon/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/answer.h"
#include "daemon/clock.h"
#include "daemon/dbcopy.h"
#include "daemon/log.h"
#include "daemon/mailbox.h"
#include "daemon/stats.h"
#include "proto/error.h"
#include "proto/value.h"

/* Copied between two looks at the clock, and until the thread is given back. */
#define STEP_PAGES 64
#define TURN_US    5000

/* A path with one of the ends below. */
#define SIDE_MAX (PATH_MAX + 16)

/* SQLite's, for what the file system says: rescode.html */
enum { SQL_IOERR = 10, SQL_CANTOPEN = 14 };

/* Room for one backup.  It stays when that has ended: somebody may still kick it
 * for a request that is on its way home. */
struct backup {
	struct squeue q; /* first: the queue is the backup */
	struct backups *all;

	/* under the lock */
	bool used;
	struct backup_order order;
	struct backup_source source;
	int64_t started_us;

	/* any thread */
	_Atomic int phase; /* enum backup_phase */
	_Atomic int64_t pages_done, pages_total;

	/* whoever runs it */
	struct request *r;
	char partial[PATH_MAX]; /* "": not made yet */
	struct dbcopy *copy;
	struct snapshot_guest guest; /* with copy */
	int page_bytes;
};

struct backups {
	pthread_mutex_t lock;
	struct backup list[BACKUPS_MAX];
};

static void backup_run(struct squeue *q);

int
backups_new(struct crew *crew, struct backups **ret_backups)
{
	struct backups *bs = calloc(1, sizeof(*bs));

	if (!bs)
		return -ERR_NO_MEMORY;
	pthread_mutex_init(&bs->lock, NULL);
	for (int i = 0; i < BACKUPS_MAX; i++) {
		squeue_init(&bs->list[i].q, crew, backup_run);
		bs->list[i].all = bs;
	}
	*ret_backups = bs;
	return 0;
}

/* --- Paths ------------------------------------------------------------------- */

/* A path as its directory really is; false: there is no such directory. */
static bool
resolve(const char *path, char out[PATH_MAX])
{
	char copy[PATH_MAX], dir[PATH_MAX];
	const char *slash = strrchr(path, '/');

	snprintf(copy, sizeof(copy), "%s", path);
	if (!realpath(dirname(copy), dir))
		return false;
	return snprintf(out, PATH_MAX, "%s/%s", strcmp(dir, "/") ? dir : "",
		   slash ? slash + 1 : path) < PATH_MAX;
}

/* A database's: SQLite follows a link, and keeps the WAL beside the file. */
static bool
resolve_db(const char *path, char out[PATH_MAX])
{
	return realpath(path, out) || resolve(path, out);
}

static bool
is_same_file(const char *a, const char *b)
{
	struct stat sa, sb;

	return stat(a, &sa) == 0 && stat(b, &sb) == 0 &&
	    sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/* What stands beside a database's file: the first three are SQLite's, which takes
 * them for the copy's when they are there. */
static const char *const ends[] = { "-wal", "-shm", "-journal", ".partial" };

#define SIDES_N 3
#define ENDS_N  (sizeof(ends) / sizeof(ends[0]))

static void
get_side(char out[SIDE_MAX], const char *path, size_t i)
{
	snprintf(out, SIDE_MAX, "%s%s", path, ends[i]);
}

int
backup_check_path(
    const struct backup_order *order, const char *db_path, struct failure *f)
{
	char target[PATH_MAX], db[PATH_MAX], side[SIDE_MAX];
	bool belongs;

	if (!resolve(order->path, target) || !resolve_db(db_path, db))
		return 0; /* it fails by itself */
	belongs = strcmp(db, target) == 0 || is_same_file(db, target);
	for (size_t i = 0; i < ENDS_N; i++) {
		get_side(side, db, i);
		belongs = belongs || strcmp(side, target) == 0;
	}
	if (belongs)
		return failure_set(f, ERR_NOT_ALLOWED,
		    "%.1024s is a database that is served, or belongs to one; "
		    "choose another path",
		    order->path);
	for (size_t i = 0; i < ENDS_N; i++) {
		get_side(side, target, i);
		if (strcmp(side, db) == 0 || is_same_file(side, db))
			return failure_set(f, ERR_NOT_ALLOWED,
			    "%.1024s%s, which would be written or removed, is "
			    "a database that is served; choose another path",
			    order->path, ends[i]);
	}
	return 0;
}

bool
backup_is_in(const struct backup_order *order, const char *directory)
{
	char target[PATH_MAX];
	size_t n = strlen(directory);

	return resolve(order->path, target) &&
	    strncmp(target, directory, n) == 0 && target[n] == '/';
}

static int
fail_errno(struct failure *f, const char *what, const char *path)
{
	return failure_set(f, errno == ENOSPC ? SQL_IOERR : SQL_CANTOPEN,
	    "cannot %s %.1024s: %s", what, path, strerror(errno));
}

/* What an earlier copy left there, or a process that was killed. */
static int
check_sides(const struct backup_order *order, struct failure *f)
{
	char side[SIDE_MAX];
	struct stat st;

	for (size_t i = 0; i < SIDES_N && !order->replace; i++) {
		get_side(side, order->path, i);
		if (lstat(side, &st) == 0)
			return failure_set(f, ERR_NOT_ALLOWED,
			    "%.1024s is there already, and SQLite would take "
			    "it for the copy's; choose another path, or add "
			    "REPLACE",
			    side);
	}
	return 0;
}

/* Whoever has the file open that is to be replaced keeps what he has. */
static int
remove_sides(const char *path, struct failure *f)
{
	char side[SIDE_MAX];

	for (size_t i = 0; i < SIDES_N; i++) {
		get_side(side, path, i);
		if (unlink(side) < 0 && errno != ENOENT)
			return fail_errno(f, "remove", side);
	}
	return 0;
}

/* What can be known before anything is done; rename knows for sure. */
static int
check_target(const struct backup_order *order, struct failure *f)
{
	struct stat st;

	if (order->path[0] != '/')
		return failure_set(f, ERR_NOT_ALLOWED,
		    "\"%.1024s\" is not an absolute path; the daemon does not "
		    "know your directory",
		    order->path);
	if (lstat(order->path, &st) < 0)
		return errno == ENOENT ? check_sides(order, f)
				       : fail_errno(f, "make", order->path);
	if (!S_ISREG(st.st_mode))
		return failure_set(f, ERR_NOT_ALLOWED,
		    "%.1024s is there and is not a file; choose another path",
		    order->path);
	if (!order->replace)
		return failure_set(f, ERR_NOT_ALLOWED,
		    "%.1024s is there already; choose another path, or add "
		    "REPLACE",
		    order->path);
	return 0;
}

/* --- Starting ------------------------------------------------------------------ */

/* Under the lock.  NULL: none, and r->failure says why. */
static struct backup *
find_room(struct backups *bs, const char *path, struct failure *f)
{
	struct backup *room = NULL;

	for (int i = 0; i < BACKUPS_MAX; i++) {
		struct backup *b = &bs->list[i];

		if (!b->used)
			room = b;
		else if (strcmp(b->order.path, path) == 0) {
			failure_set(f, ERR_QUEUE_FULL,
			    "a backup to %.1024s runs already; wait until it "
			    "has ended",
			    path);
			return NULL;
		}
	}
	if (!room)
		failure_set(f, ERR_QUEUE_FULL,
		    "%d backups run already; try again when one has ended",
		    BACKUPS_MAX);
	return room;
}

int
backup_start(struct backups *bs, const struct backup_order *order,
    const struct backup_source *source, struct request *r)
{
	struct backup *b;

	if (check_target(order, &r->failure) < 0)
		return -r->failure.code;
	pthread_mutex_lock(&bs->lock);
	b = find_room(bs, order->path, &r->failure);
	if (b) {
		b->used = true;
		b->order = *order;
		b->source = *source;
		b->started_us = clock_now_us();
		b->r = r;
		atomic_store(&b->phase, BACKUP_COPYING);
		atomic_store(&b->pages_done, 0);
		atomic_store(&b->pages_total, 0);
		request_move(r, REQUEST_QUEUED);
		atomic_store(&r->runner, &b->q);
	}
	pthread_mutex_unlock(&bs->lock);
	if (!b)
		return -r->failure.code;
	squeue_kick(&b->q);
	return 0;
}

size_t
backups_list(struct backups *bs, struct backup_state ret_list[BACKUPS_MAX])
{
	size_t n = 0;

	pthread_mutex_lock(&bs->lock);
	for (int i = 0; i < BACKUPS_MAX; i++) {
		struct backup *b = &bs->list[i];
		struct backup_state *s = &ret_list[n];

		if (!b->used)
			continue;
		n++;
		snprintf(
		    s->database, sizeof(s->database), "%s", b->source.db->name);
		snprintf(s->path, sizeof(s->path), "%s", b->order.path);
		s->phase = (enum backup_phase)atomic_load(&b->phase);
		s->started_us = b->started_us;
		s->pages_done = atomic_load(&b->pages_done);
		s->pages_total = atomic_load(&b->pages_total);
	}
	pthread_mutex_unlock(&bs->lock);
	return n;
}

/* --- Steps: a thread of the crew ----------------------------------------------- */

/* Make the file that the copy goes to.  One of that name is left from a daemon
 * that was killed: no other backup here has this path. */
static int
make_partial(struct backup *b, struct failure *f)
{
	int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	char path[PATH_MAX];
	struct stat st;
	int fd;

	if (snprintf(path, sizeof(path), "%s.partial", b->order.path) >=
	    (int)sizeof(path))
		return failure_set(f, SQL_CANTOPEN, "the path is too long");
	fd = open(path, flags, 0600);
	if (fd < 0 && errno == EEXIST && lstat(path, &st) == 0 &&
	    S_ISREG(st.st_mode) && unlink(path) == 0)
		fd = open(path, flags, 0600);
	if (fd < 0)
		return fail_errno(f, "make", path);
	/* whoever may read the database may read its copy */
	if (stat(b->source.db->path, &st) == 0)
		(void)!fchmod(fd, st.st_mode & 0666);
	close(fd); /* nobody has locks on it */
	snprintf(b->partial, sizeof(b->partial), "%s", path);
	return 0;
}

static void
note_snapshot(struct backup *b)
{
	struct snapshot *s = &b->guest.snapshot;

	*s = (struct snapshot){ .kind = SNAPSHOT_BACKUP,
		.owner = *b->r->owner,
		.since_us = clock_now_us() };
	snprintf(s->sql, sizeof(s->sql), "BACKUP %s TO '%.60s'",
	    b->source.db->name, b->order.path);
	readers_add_guest(b->source.readers, &b->guest);
}

static int
begin(struct backup *b, struct failure *f)
{
	struct dbcopy *copy = NULL;
	int rc;

	request_move(b->r, REQUEST_RUNNING);
	b->r->started_us = clock_now_us();
	rc = make_partial(b, f);
	if (rc == 0)
		rc = dbcopy_open(b->source.db, b->partial, &copy, f);
	if (rc < 0)
		return rc;
	b->copy = copy;
	note_snapshot(b);
	return 0;
}

static void
end_copy(struct backup *b)
{
	if (!b->copy)
		return;
	dbcopy_close(b->copy);
	b->copy = NULL;
	readers_remove_guest(b->source.readers, &b->guest);
}

static void
note_progress(struct backup *b)
{
	struct dbcopy_progress p;

	dbcopy_get_progress(b->copy, &p);
	atomic_store(&b->pages_done, p.done);
	atomic_store(&b->pages_total, p.total);
	b->page_bytes = p.page_bytes;
}

/* Copy for a while. */
static int
copy_on(struct backup *b, struct failure *f)
{
	int64_t end_us = clock_now_us() + TURN_US;
	int rc;

	do
		rc = dbcopy_step(b->copy, STEP_PAGES, f);
	while (rc == 0 && clock_now_us() < end_us);
	note_progress(b);
	if (rc <= 0)
		return rc;
	end_copy(b);
	atomic_store(
	    &b->phase, b->order.verify ? BACKUP_VERIFYING : BACKUP_FINISHING);
	return 0;
}

static int
sync_path(const char *path, int flags, struct failure *f)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | flags);
	int rc = 0;

	if (fd < 0 || fsync(fd) < 0)
		rc = fail_errno(f, "sync", path);
	if (fd >= 0)
		close(fd);
	return rc;
}

/* Fails when something is there, also when somebody has made it meanwhile. */
static int
rename_new(const char *from, const char *to)
{
	int rc = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);

	if (rc < 0 && (errno == EINVAL || errno == ENOSYS)) {
		rc = link(from, to); /* a file system without that */
		if (rc == 0)
			unlink(from);
	}
	return rc;
}

/* Give the file its name, on disk.  1: done. */
static int
publish(struct backup *b, struct failure *f)
{
	char copy[PATH_MAX];
	int rc = sync_path(b->partial, 0, f);

	if (rc == 0 && b->order.replace)
		rc = remove_sides(b->order.path, f);
	if (rc == 0 && b->order.replace)
		rc = rename(b->partial, b->order.path);
	else if (rc == 0) /* fails when somebody has made it meanwhile */
		rc = rename_new(b->partial, b->order.path);
	else
		return rc;
	if (rc < 0)
		return fail_errno(f, "make", b->order.path);
	b->partial[0] = '\0';
	snprintf(copy, sizeof(copy), "%s", b->order.path);
	rc = sync_path(dirname(copy), O_DIRECTORY, f);
	return rc < 0 ? rc : 1;
}

static int
check_limits(struct backup *b, struct failure *f)
{
	int64_t most_us = b->source.db->backup_timeout_us;
	int64_t took_us = clock_now_us() - b->started_us;

	if (request_get_stop(b->r)) {
		request_fail_stopped(b->r, "while the backup ran");
		return -b->r->failure.code;
	}
	if (most_us && took_us > most_us)
		return failure_set(f, ERR_DEADLINE,
		    "the backup was given up after %.0f s (backup_timeout): it "
		    "keeps the WAL from beginning anew for as long",
		    (double)took_us / 1e6);
	return 0;
}

/* One step.  1: it is done. */
static int
advance(struct backup *b)
{
	struct failure *f = &b->r->failure;
	int rc = check_limits(b, f);

	if (rc < 0)
		return rc;
	switch ((enum backup_phase)atomic_load(&b->phase)) {
	case BACKUP_COPYING:
		rc = b->copy ? 0 : begin(b, f);
		return rc < 0 ? rc : copy_on(b, f);
	case BACKUP_VERIFYING:
		rc = dbcopy_verify(b->partial, &b->r->stop, f);
		atomic_store(&b->phase, BACKUP_FINISHING);
		return rc;
	case BACKUP_FINISHING:
		return publish(b, f);
	}
	return -ERR_INTERNAL;
}

static void
put_str(struct buf *b, const char *s)
{
	value_put_text(b, s, strlen(s));
}

static void
write_row(struct backup *b, struct answer *a)
{
	static const char *const columns[] = { "database", "path", "pages",
		"bytes", "ms", "verified" };
	int64_t pages = atomic_load(&b->pages_total);

	answer_open(a);
	msg_key(&a->frame, TELL_columns);
	value_put_array(a->out, 6);
	for (int i = 0; i < 6; i++)
		put_str(a->out, columns[i]);
	answer_open_rows(a);
	value_put_array(a->out, 6);
	put_str(a->out, b->source.db->name);
	put_str(a->out, b->order.path);
	value_put_uint(a->out, (uint64_t)pages);
	value_put_uint(a->out, (uint64_t)(pages * b->page_bytes));
	value_put_uint(
	    a->out, (uint64_t)(clock_now_us() - b->started_us) / 1000);
	value_put_uint(a->out, b->order.verify);
	a->rows_n++;
}

/* Leave nothing behind but the copy, and answer. */
static void
finish(struct backup *b)
{
	struct request *r = b->r;
	struct answer a;

	end_copy(b);
	stats_add(r->failure.code ? STAT_backups_failed : STAT_backups, 1);
	if (b->partial[0])
		unlink(b->partial);
	b->partial[0] = '\0';
	if (r->failure.code)
		log_warn("%s: the backup to %s failed: %s", b->source.db->name,
		    b->order.path,
		    r->failure.text ? r->failure.text
				    : error_get_text(r->failure.code));
	else
		log_info("%s: a backup to %s was made, %lld pages in %.1f s",
		    b->source.db->name, b->order.path,
		    (long long)atomic_load(&b->pages_total),
		    (double)(clock_now_us() - b->started_us) / 1e6);
	if (request_get_state(r) ==
	    REQUEST_QUEUED) /* it was stopped before it began */
		request_move(r, REQUEST_RUNNING);
	answer_init(&a, r, &r->out);
	if (!r->failure.code)
		write_row(b, &a);
	answer_finish(&a);
	b->r = NULL;
	pthread_mutex_lock(&b->all->lock);
	b->used = false;
	pthread_mutex_unlock(&b->all->lock);
	mailbox_post(r, true);
}

static void
backup_run(struct squeue *q)
{
	struct backup *b = (struct backup *)q;
	bool used;

	pthread_mutex_lock(&b->all->lock);
	used = b->used; /* and b->r is set */
	pthread_mutex_unlock(&b->all->lock);
	if (!used)
		return;
	if (advance(b) != 0)
		finish(b);
	else
		squeue_kick(q);
}

void
backups_free(struct backups *bs)
{
	if (!bs)
		return;
	for (int i = 0; i < BACKUPS_MAX; i++) {
		struct backup *b = &bs->list[i];

		if (b->copy)
			dbcopy_close(b->copy);
		if (b->partial[0])
			unlink(b->partial);
	}
	pthread_mutex_destroy(&bs->lock);
	free(bs);
}
