/* watch.c - facts about a WAL, and what follows from them.
 *
 * Thread: the crew "watch", where it does not say otherwise. */
#include "daemon/watch.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/clock.h"
#include "daemon/dbfile.h"
#include "daemon/locks.h"
#include "daemon/log.h"
#include "daemon/stats.h"
#include "daemon/wal.h"
#include "proto/error.h"

/* While something is wrong it looks so often: what is wrong is to be known within
 * a second. */
#define LOOK_US 100000

/* How often the file is looked at while a transaction is open, and those of a
 * database that other processes may get at. */
#define BUSY_LOOK_US   500000
#define SHARED_LOOK_US 1000000

/* The same cause is logged again, with another one to blame, after so long. */
#define AGAIN_US 10000000

/* Rates are of at least so long. */
#define RATE_US 1000000

/* In the -shm file: walformat.html, "WAL Locks". */
enum { FIRST_READ_LOCK = 123, LAST_READ_LOCK = 127 };

/* What changes from look to look. */
struct seen {
	uint32_t generation, frames, copied, change_count;
	int64_t file_bytes;
	int64_t file_before; /* file_bytes when no transaction was open */
	bool tx_open;        /* one that had made the file longer */
	pid_t outside_pid;
	int64_t written, copied_sum; /* bytes, over all generations */
	int64_t rate_us, rate_written, rate_copied; /* at the last sample */
	int64_t written_s, copied_s;
};

struct watch {
	struct squeue q; /* first: the queue is the watch */
	const struct conf_db *db_conf;
	struct writer *writer;
	struct readers *readers;
	struct health_log *log;
	struct wal_view view;
	char wal_path[PATH_MAX], shm_path[PATH_MAX];
	struct dbfile shm, wal; /* access = shared: which files they are */

	_Atomic int64_t over_us; /* since when it is over its limit; 0: not */
	_Atomic int64_t look_us; /* the last look */
	_Atomic bool troubled;   /* at the last look */

	pthread_mutex_t lock; /* for what follows */
	struct seen seen;

	/* whoever runs it */
	enum health_cause logged; /* what was logged last */
	pid_t logged_pid;
	int64_t logged_us[HEALTH_CAUSES_N];
};

static void watch_run(struct squeue *q);

static int64_t
measure_file(const struct watch *w)
{
	struct stat st;

	return stat(w->wal_path, &st) == 0 ? (int64_t)st.st_size : 0;
}

int
watch_new(const struct conf_db *db, struct crew *crew,
    const struct watch_parts *parts, struct watch **ret_watch)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (!w || !writer_get_view(parts->writer, &w->view)) {
		free(w);
		return -ERR_NO_MEMORY;
	}
	squeue_init(&w->q, crew, watch_run);
	w->db_conf = db;
	w->writer = parts->writer;
	w->readers = parts->readers;
	w->log = keeper_get_log(parts->keeper);
	snprintf(w->wal_path, sizeof(w->wal_path), "%s-wal", db->path);
	snprintf(w->shm_path, sizeof(w->shm_path), "%s-shm", db->path);
	if (db->access == CONF_ACCESS_SHARED) {
		dbfile_identify(w->shm_path, &w->shm);
		dbfile_identify(w->wal_path, &w->wal);
	}
	pthread_mutex_init(&w->lock, NULL);
	w->seen.file_before = measure_file(w);
	*ret_watch = w;
	return 0;
}

void
watch_free(struct watch *w)
{
	if (!w)
		return;
	squeue_end(&w->q);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

/* --- Facts, any thread ------------------------------------------------------- */

static int64_t
get_grown(bool anew, uint32_t now, uint32_t before)
{
	return anew || now < before ? now : now - before;
}

/* Under the lock: keep count of what was written and copied. */
static void
sample(struct seen *s, const struct wal_now *now, int64_t now_us)
{
	bool anew = now->generation != s->generation;
	int64_t frame = now->frames ? now->bytes / now->frames : 0;
	int64_t took_us = now_us - s->rate_us;

	s->written += get_grown(anew, now->frames, s->frames) * frame;
	s->copied_sum += get_grown(anew, now->copied, s->copied) * frame;
	s->generation = now->generation;
	s->frames = now->frames;
	s->copied = now->copied;
	if (took_us < RATE_US)
		return;
	s->written_s = (s->written - s->rate_written) * 1000000 / took_us;
	s->copied_s = (s->copied_sum - s->rate_copied) * 1000000 / took_us;
	s->rate_us = now_us;
	s->rate_written = s->written;
	s->rate_copied = s->copied_sum;
}

/* What a look finds out and a mere question does not. */
static void
look_outside(struct watch *w)
{
	bool shared = w->db_conf->access == CONF_ACCESS_SHARED;
	bool busy = writer_is_busy(w->writer); /* before it is measured */
	int64_t file_bytes = measure_file(w);
	pid_t pid = shared && atomic_load(&w->over_us)
	    ? locks_find(w->shm_path, FIRST_READ_LOCK, LAST_READ_LOCK)
	    : 0;
	struct wal_now now;

	wal_look(&w->view, &now);
	pthread_mutex_lock(&w->lock);
	w->seen.outside_pid = pid;
	w->seen.file_bytes = file_bytes;
	if (!busy || file_bytes < w->seen.file_before ||
	    (w->seen.tx_open && now.change_count != w->seen.change_count))
		w->seen.file_before = file_bytes;
	w->seen.change_count = now.change_count;
	pthread_mutex_unlock(&w->lock);
}

/* The largest transaction: one that was committed, or the open one, which has
 * made the file longer without a commit. */
static void
find_largest(struct watch *w, struct health_facts *f, int64_t file_before)
{
	int64_t longest = writer_get_longest(w->writer);
	int64_t before = file_before > longest ? file_before : longest;
	int64_t open_bytes = f->file_bytes - before;

	if (open_bytes <= f->tx.bytes || open_bytes <= 0)
		return;
	f->tx = (struct health_tx){ .bytes = open_bytes, .open = true };
	writer_get_holder(w->writer, &f->tx.owner, f->tx.sql);
}

static void
collect(struct watch *w, struct health_facts *f)
{
	struct wal_now now;
	int64_t file_before;

	*f = (struct health_facts){ 0 };
	f->snapshots_n = readers_list_snapshots(w->readers, &f->oldest, 1);
	wal_look(&w->view, &now);
	f->now_us = clock_now_us();
	f->limit_bytes = w->db_conf->wal_limit_bytes;
	f->external = w->db_conf->checkpoint == CONF_CHECKPOINT_EXTERNAL;
	f->wal_bytes = now.bytes;
	f->copied_bytes = now.copied_bytes;
	f->pending_bytes = now.copied < now.frames
	    ? now.bytes - now.copied_bytes
	    : 0;
	f->frames = now.frames;
	f->copied = now.copied;
	f->over_us = atomic_load(&w->over_us);
	pthread_mutex_lock(&w->lock);
	sample(&w->seen, &now, f->now_us);
	f->file_bytes = w->seen.file_bytes;
	f->written_s = w->seen.written_s;
	f->copied_s = w->seen.copied_s;
	f->outside_pid = w->seen.outside_pid;
	file_before = w->seen.file_before;
	pthread_mutex_unlock(&w->lock);
	pthread_mutex_lock(&w->log->lock);
	f->checkpoints = w->log->checkpoints;
	f->tx = w->log->largest;
	pthread_mutex_unlock(&w->log->lock);
	find_largest(w, f, file_before);
}

void
watch_get_health(struct watch *w, struct health *ret)
{
	collect(w, &ret->facts);
	health_judge(&ret->facts, &ret->diagnosis);
}

/* --- The tick, main thread --------------------------------------------------- */

bool
watch_tick(struct watch *w)
{
	int64_t now_us, age_us;
	bool troubled, busy = writer_is_busy(w->writer);
	struct wal_now now;

	wal_look(&w->view, &now);
	now_us = clock_now_us();
	age_us = now_us - atomic_load(&w->look_us);
	if (now.bytes < w->db_conf->wal_limit_bytes)
		atomic_store(&w->over_us, 0);
	else if (atomic_load(&w->over_us) == 0)
		atomic_store(&w->over_us, now_us);
	troubled = atomic_load(&w->troubled) || health_is_failing(w->log);
	if ((age_us >= LOOK_US && (atomic_load(&w->over_us) || troubled)) ||
	    (age_us >= BUSY_LOOK_US && busy) ||
	    (age_us >= SHARED_LOOK_US && w->shm.ino))
		squeue_kick(&w->q);
	/* a log that is copied may stay large until somebody commits */
	return troubled || busy ||
	    (atomic_load(&w->over_us) && now.copied < now.frames);
}

/* --- The look ---------------------------------------------------------------- */

static bool
is_news(const struct watch *w, const struct diagnosis *d, int64_t now_us)
{
	if (d->cause == w->logged &&
	    (d->pid == w->logged_pid || d->cause == HEALTH_NONE))
		return false;
	return w->logged_us[d->cause] == 0 || d->cause == HEALTH_NONE ||
	    now_us - w->logged_us[d->cause] > AGAIN_US;
}

static void
log_news(struct watch *w, const struct health *h)
{
	const struct diagnosis *d = &h->diagnosis;

	if (!is_news(w, d, h->facts.now_us))
		return;
	if (d->cause == HEALTH_NONE)
		log_info("%s: %s", w->db_conf->name, d->text);
	else
		log_warn("%s: %s", w->db_conf->name, d->text);
	w->logged = d->cause;
	w->logged_pid = d->pid;
	w->logged_us[d->cause] = h->facts.now_us;
}

/* How old a snapshot may be, as large as the WAL is. */
static int64_t
get_most_us(const struct watch *w, const struct health *h)
{
	int64_t most_us = w->db_conf->max_snapshot_age_us;

	/* nobody writes any more: gate.c */
	if (h->facts.wal_bytes >= w->db_conf->wal_hard_limit_bytes &&
	    most_us > HEALTH_LONG_US)
		return HEALTH_LONG_US;
	return most_us;
}

/* End what is too old while the WAL is over its limit. */
static void
end_old(struct watch *w, const struct health *h)
{
	int64_t most_us = get_most_us(w, h);
	const struct snapshot *s = &h->facts.oldest;
	int64_t age_us = h->facts.now_us - s->since_us;
	unsigned n;

	if (most_us == 0 || h->facts.wal_bytes < h->facts.limit_bytes ||
	    h->facts.snapshots_n == 0 || age_us <= most_us)
		return;
	n = readers_end_old(w->readers, h->facts.now_us - most_us);
	if (n > 0)
		log_warn("%s: %u snapshots older than %.1f s "
			 "(max_snapshot_age) are ended, as the WAL is over its "
			 "limit; the oldest is one of pid %d (%s), %.1f s old: "
			 "%s",
		    w->db_conf->name, n, (double)most_us / 1e6,
		    (int)s->owner.pid, s->owner.app, (double)age_us / 1e6,
		    s->sql);
}

/* All processes that have the file open find each other's locks in its -shm file,
 * and each other's commits in its -wal file: one that opens it when either is gone
 * makes a new one, and finds none.  (With access = exclusive it is closed, and
 * opened anew: dbs_care.c.) */
static void
look_for_others_files(struct watch *w)
{
	if (!dbfile_stands(&w->shm, w->shm_path))
		writer_note_gone(w->writer, WRITER_SHM);
	else if (!dbfile_stands(&w->wal, w->wal_path))
		writer_note_gone(w->writer, WRITER_WAL);
}

static void
watch_run(struct squeue *q)
{
	struct watch *w = (struct watch *)q;
	struct health h;

	look_for_others_files(w);
	look_outside(w);
	watch_get_health(w, &h);
	atomic_store(&w->look_us, h.facts.now_us);
	atomic_store(&w->troubled, h.diagnosis.cause != HEALTH_NONE);
	pthread_mutex_lock(&w->lock);
	w->seen.tx_open = h.facts.tx.open;
	pthread_mutex_unlock(&w->lock);
	log_news(w, &h);
	end_old(w, &h);
}
