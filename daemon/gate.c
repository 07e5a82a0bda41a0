/* gate.c - the writer's part in keeping the WAL small.
 *
 * The keeper copies the bulk beside the commits.  What is left is copied here,
 * between two turns, when nothing can commit.  If no reader is in the log then,
 * the next commit begins it anew.  Readers that always overlap would keep it from
 * that: so above wal_limit the writer waits for them (SQLite's RESTART).  Reads
 * that begin meanwhile read the database file alone and wait for nothing; the
 * writer waits for at most twice the longest read in flight, and gives up after
 * wal_gate_time.  If the writer is so fast that the keeper leaves a lot, the writer
 * waits as long for the keeper.
 *
 * Above wal_hard_limit, while not all is copied, there is no turn for a second, and
 * then one for each tick.
 *
 * Thread: whoever runs the writer. */
#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/stats.h"
#include "daemon/tick.h"
#include "daemon/writer_impl.h"

/* A checkpoint is due when the WAL has grown by this part of its limit: 8 MB by
 * default, twice what SQLite waits for.  A page that changed twice is copied once,
 * and neighbours are written together (tests/bench/NOTES.md). */
#define PART 2

/* Snapshots that are let go of at once; a database has at most as many readers
 * (read_connections, 256). */
#define RELEASE_MAX 256

/* The gate copies at most so many times wal_limit itself: with readers of 0.1 s
 * and a writer at full speed the keeper is more than once that behind. */
#define GATE_LIMITS 4

/* A file this many times as long as wal_limit is cut when nobody uses it. */
#define CUT_LIMITS 4

/* How long the gate waits in one turn of the writer. */
#define WAIT_US 1000

/* Over the hard limit the keeper looks after each commit and so often, and the writer
 * is held for so long at first. */
#define OVER_US 200000
#define HOLD_US 1000000

/* After the gate gave up, the writer runs for as long as it has waited; then,
 * each time that it gives up again, for twice as long, up to this many times. */
#define REST_TIMES 32

/* facts.md 0.1: more frames copied than there are is the mark of a log that was
 * begun anew under a checkpoint.  Writing on would lose what was acknowledged. */
static void
alarm_log(struct writer *w, uint32_t copied, uint32_t frames)
{
	w->alarm = "is not written any more: its WAL contradicts itself; see "
		   "the daemon's log";
	health_note_alarm(keeper_get_log(w->keeper), w->alarm);
	log_error("%s: the WAL says that %u of its %u frames are copied, which "
		  "cannot be: writes are refused from now on; stop the daemon "
		  "and check the file with PRAGMA integrity_check",
	    w->db_conf->name, copied, frames);
}

/* After a sync that failed, Linux takes the pages for clean, and says so once:
 * another sync would succeed without them (fsync(2), "EIO").  Frames of the log
 * may count as copied that are not on disk, and are only in the log: so it must
 * not begin anew.  The next start copies all of it again. */
static void
alarm_sync(struct writer *w)
{
	w->alarm =
	    "is not written any more: a sync of its file failed; see the "
	    "daemon's log";
	health_note_alarm(keeper_get_log(w->keeper), w->alarm);
	log_error(
	    "%s: a sync of %s failed: writes are refused from now on, and "
	    "the WAL is kept; look after the disk, then restart the "
	    "daemon, which copies the WAL again",
	    w->db_conf->name, w->db_conf->path);
}

/* A process that opens the file now makes another -shm file: its commits and ours
 * would not wait for each other, and overwrite each other's frames. */
static void
alarm_shm(struct writer *w)
{
	w->alarm =
	    "is not written any more: its -shm file was removed; see the "
	    "daemon's log";
	health_note_alarm(keeper_get_log(w->keeper), w->alarm);
	log_error("%s: %s-shm was removed or replaced while it was in use, so "
		  "that other processes do not see the daemon's locks: writes "
		  "are refused from now on; stop the others, then restart the "
		  "daemon, which makes a new one",
	    w->db_conf->name, w->db_conf->path);
}

/* Frames that are not copied. */
static uint32_t
get_backlog(struct writer *w)
{
	uint32_t copied, frames;

	return wal_get_log(w->conn, &copied, &frames) && copied < frames
	    ? frames - copied
	    : 0;
}

/* Who has it open reads and writes it as before, and who opens the file now makes
 * another one, though the -shm file tells of this one.  Nothing of it is left when
 * the last one closes it: so it is copied now. */
static void
alarm_wal(struct writer *w)
{
	struct wal_copied log;
	struct failure f;

	w->alarm = "is not written any more: its -wal file was removed; see "
		   "the daemon's log";
	health_note_alarm(keeper_get_log(w->keeper), w->alarm);
	failure_init(&f);
	if (get_backlog(w) > 0) /* else: keeper.h */
		wal_checkpoint(w->conn, WAL_COPY, 0, &log, &f);
	failure_fini(&f);
	log_error("%s: %s-wal was removed or replaced while it was in use: "
		  "writes are refused from now on; %s; stop the others that "
		  "have the file open, then restart the daemon",
	    w->db_conf->name, w->db_conf->path,
	    get_backlog(w) == 0
		? "all that was in it is copied into the file"
		: "not all that was in it could be copied into the file, "
		  "and is lost when the daemon stops: make a BACKUP first");
}

/* While the keeper copies, the writer waits: gate_holds. */
static void
alarm_lost(struct writer *w)
{
	if (atomic_load(&w->lost) == WRITER_SHM)
		alarm_shm(w);
	else if (keeper_get_state(w->keeper) != KEEPER_COPYING)
		alarm_wal(w);
}

/* Looked at before each turn, when nobody in this process commits.  A process
 * outside may begin the log anew (access = shared), and be between the two words,
 * of which it writes the frames first: so one look is not enough then. */
static void
check_log(struct writer *w)
{
	bool shared = w->db_conf->access == CONF_ACCESS_SHARED;
	uint32_t copied, frames;

	if (!wal_get_log(w->conn, &copied, &frames) || copied <= frames ||
	    frames == 0)
		w->suspect = false;
	else if (shared && !w->suspect)
		w->suspect = true;
	else
		alarm_log(w, copied, frames);
}

/* Another program checkpoints. */
static bool
is_external(const struct writer *w)
{
	return w->db_conf->checkpoint == CONF_CHECKPOINT_EXTERNAL;
}

void
gate_open(const struct writer *w)
{
	if (is_external(w) && wal_library_has_reset_bug())
		log_warn("%s: checkpoint = external, and SQLite %s has the "
			 "WAL-reset bug: when a checkpoint of another program "
			 "meets a commit, acknowledged commits can be lost; "
			 "use a fixed SQLite (3.51.3), or let the daemon "
			 "checkpoint",
		    w->db_conf->name, dbconn_get_library_version());
}

static bool
is_idle(const struct writer *w)
{
	int64_t committed_us = atomic_load(&w->committed_us);

	return committed_us && clock_now_us() - committed_us > GATE_IDLE_US;
}

static bool
is_over(const struct writer *w, int64_t bytes)
{
	return bytes >= w->db_conf->wal_hard_limit_bytes &&
	    bytes >= w->db_conf->wal_limit_bytes;
}

void
gate_look_for_restart(struct writer *w)
{
	uint32_t generation = wal_get_generation(w->conn);

	if (generation == w->generation)
		return;
	/* the first one is no restart.  (Whether all was copied is SQLite's to
	 * see, and may have been done since the last turn.) */
	stats_add(STAT_wal_restarts, w->generation != 0);
	health_note_reset(keeper_get_log(w->keeper));
	w->copied_bytes = 0;
	w->generation = generation;
}

/* Is there enough to copy? */
static bool
is_due(struct writer *w, int64_t bytes)
{
	int64_t part = w->db_conf->wal_limit_bytes / PART;

	if (bytes >= w->copied_bytes + part || (w->is_asked && get_backlog(w)))
		return true;
	if (is_over(w, bytes)) {
		if (bytes > w->copied_bytes && get_backlog(w))
			return true; /* the writer is held until then */
		return clock_now_us() - w->job_us > OVER_US &&
		    (get_backlog(w) || clock_now_us() >= w->gate_us);
	}
	return is_idle(w) && (bytes > w->copied_bytes || get_backlog(w));
}

static bool
may_wait(const struct writer *w, int64_t bytes)
{
	return bytes >= w->db_conf->wal_limit_bytes &&
	    w->db_conf->wal_gate_time_us > 0 &&
	    !readers_has_guest(w->readers) && clock_now_us() >= w->gate_us;
}

static void
count(struct writer *w, const struct wal_copied *log, bool waits)
{
	stats_add(STAT_checkpoints, 1);
	if (log->copied < log->frames)
		stats_add(STAT_checkpoints_partial, 1);
	if (waits)
		stats_add(STAT_gates, 1);
	if (waits && log->gave_up) {
		stats_add(STAT_gates_given_up, 1);
		health_note_given_up(keeper_get_log(w->keeper));
	}
}

static void
rest(struct writer *w, bool gave_up)
{
	w->rest_times = !gave_up              ? 0
	    : w->rest_times == 0              ? 1
	    : w->rest_times * 2 <= REST_TIMES ? w->rest_times * 2
					      : REST_TIMES;
	w->gate_us = clock_now_us() +
	    w->rest_times * w->db_conf->wal_gate_time_us;
	if (w->rest_times == 1)
		log_info("%s: the writer has waited %lld ms for readers, so "
			 "that the WAL can begin anew, and goes on without; "
			 "it tries again later",
		    w->db_conf->name,
		    (long long)w->db_conf->wal_gate_time_us / 1000);
}

/* Transactions that have read and whose first write waits in the line. */
struct waiting {
	struct tx *txs[RELEASE_MAX]; /* referenced */
	unsigned n;
};

static void
note_waiting(struct request *r, void *arg)
{
	struct waiting *waiting = arg;

	if (!r->tx || !r->tx->has_snapshot || r->tx->released ||
	    waiting->n == RELEASE_MAX)
		return;
	r->tx->released = true;
	waiting->txs[waiting->n++] = tx_ref(r->tx);
}

/* Let go of the snapshots that wait for the writer, or the gate would wait for
 * those who wait for it.  They lose nothing: such a transaction can only go on
 * if nobody has committed since it read, and then does not need its snapshot
 * (lease.c, take_over). */
static void
release_waiting(struct writer *w)
{
	struct waiting waiting = { .n = 0 };

	pthread_mutex_lock(&w->lock);
	turns_each(&w->turns, note_waiting, &waiting);
	pthread_mutex_unlock(&w->lock);
	for (unsigned i = 0; i < waiting.n; i++) {
		readers_drop(w->readers, waiting.txs[i]);
		tx_unref(waiting.txs[i]);
	}
}

/* Copy everything and wait a moment for the readers in the log.  True: they are
 * still there, and the gate goes on.  Others' databases have the thread in
 * between. */
static bool
wait_for_readers(struct writer *w, struct wal_copied *ret_log, int *ret_rc,
    struct failure *f)
{
	int64_t now = clock_now_us();

	if (w->gate_end_us == 0)
		w->gate_end_us = now + w->db_conf->wal_gate_time_us;
	release_waiting(w);
	*ret_rc = wal_checkpoint(w->conn, WAL_RESTART, WAIT_US, ret_log, f);
	if (*ret_rc == 0 && ret_log->gave_up && now < w->gate_end_us)
		return true;
	w->gate_end_us = 0;
	rest(w, ret_log->gave_up);
	return false;
}

/* More is left to copy than the writer itself does while it is held. */
static bool
is_far_behind(struct writer *w, bool waits)
{
	return wal_count_bytes(w->conn, get_backlog(w)) >
	    w->db_conf->wal_limit_bytes * (waits ? GATE_LIMITS : 1);
}

/* The keeper copies while nothing is written.  It may not be done in time, as the
 * disk is slow: then the writer runs for as long before it waits again. */
static void
hold_for_keeper(struct writer *w)
{
	w->hold_end_us = clock_now_us() + w->db_conf->wal_gate_time_us;
	w->gate_us = w->hold_end_us + w->db_conf->wal_gate_time_us;
	stats_add(STAT_holds, 1);
}

static void
start_keeper(struct writer *w)
{
	w->job_us = clock_now_us();
	keeper_start(w->keeper);
}

/* Copy what the keeper has left.  The writer is held: nothing can commit.  When
 * that is a lot, the keeper does it: the reader that was in the way has just ended,
 * or the writer is faster, and waits. */
static void
finish_copy(struct writer *w, int64_t bytes)
{
	bool held = w->hold_end_us != 0;
	bool waits = w->gate_end_us || held || may_wait(w, bytes);
	struct wal_copied log;
	struct failure f;
	int rc;

	w->hold_end_us = 0;
	if ((get_backlog(w) == 0 && !waits) || is_far_behind(w, waits)) {
		if (waits)
			release_waiting(w);
		w->gate_end_us = 0;
		w->copied_bytes = bytes;
		if (waits && !held) { /* else a snapshot keeps it back */
			start_keeper(w);
			hold_for_keeper(w);
		}
		return;
	}
	failure_init(&f);
	if (!waits) {
		rc = wal_checkpoint(w->conn, WAL_COPY, 0, &log, &f);
	} else if (wait_for_readers(w, &log, &rc, &f)) {
		failure_fini(&f);
		squeue_kick(&w->q);
		return;
	}
	if (rc == WAL_SYNC_FAILED)
		alarm_sync(w);
	else if (rc < 0)
		log_warn("%s: checkpoint failed: %s", w->db_conf->name,
		    f.text ? f.text : "out of memory");
	health_note_checkpoint(keeper_get_log(w->keeper), rc, &log, &f);
	failure_fini(&f);
	count(w, &log, waits);
	w->copied_bytes = bytes;
}

/* Nobody has written for a while.  Cut a file that is much longer than the log
 * needs: else it stays, as it is faster to overwrite than to grow (facts.md 1.6).
 * Somebody may read in it now: then in a while again. */
static void
rest_idle(struct writer *w)
{
	struct wal_copied log;
	struct failure f;
	int rc;

	atomic_store(&w->committed_us, 0);
	if (wal_get_file_bytes(w->conn) <=
		w->db_conf->wal_limit_bytes * CUT_LIMITS ||
	    get_backlog(w))
		return;
	failure_init(&f);
	rc = wal_checkpoint(w->conn, WAL_EMPTY, 0, &log, &f);
	if (rc == WAL_SYNC_FAILED)
		alarm_sync(w);
	health_note_checkpoint(keeper_get_log(w->keeper), rc, &log, &f);
	failure_fini(&f);
	if (rc < 0 || log.gave_up)
		atomic_store(&w->committed_us, clock_now_us());
	else
		atomic_store(&w->longest_bytes, 0);
}

/* One turn with the keeper. */
static void
take_turn(struct writer *w)
{
	int64_t bytes = wal_get_bytes(w->conn);

	if (!w->alarm && atomic_load(&w->lost))
		alarm_lost(w);
	else if (!w->alarm)
		check_log(w);
	if (w->alarm || w->is_stuck || atomic_load(&w->lost))
		return;
	gate_look_for_restart(w);
	if (is_external(w)) {
		atomic_store(&w->committed_us, 0);
		return;
	}
	if (w->gate_end_us) {
		finish_copy(w, bytes);
		return;
	}
	switch (keeper_get_state(w->keeper)) {
	case KEEPER_IDLE:
		if (is_due(w, bytes)) {
			start_keeper(w);
			if (is_idle(w)) /* again in a while, if need be */
				atomic_store(&w->committed_us, w->job_us);
		} else if (is_idle(w)) {
			rest_idle(w);
		}
		break;
	case KEEPER_COPYING:
		if (may_wait(w, bytes) && is_far_behind(w, true))
			hold_for_keeper(w);
		break;
	case KEEPER_COPIED:
		if (keeper_take(w->keeper) == WAL_SYNC_FAILED)
			alarm_sync(w);
		else
			finish_copy(w, bytes);
		break;
	}
}

static bool
is_at_work(const struct writer *w)
{
	return w->gate_end_us || keeper_get_state(w->keeper) != KEEPER_IDLE;
}

/* Who asks while a copy is made may have committed since that began: another one is
 * made for those. */
void
gate_run(struct writer *w)
{
	bool asked = atomic_load_explicit(&w->asks, memory_order_relaxed);

	if (asked && !w->is_asked && !is_at_work(w))
		asks_begin(w);
	take_turn(w);
	if (w->alarm || w->is_stuck) {
		asks_answer(w);
	} else if (w->is_asked && !is_at_work(w)) {
		asks_answer_begun(w);
	}
	if (atomic_load_explicit(&w->asks, memory_order_relaxed) &&
	    !w->is_asked && !is_at_work(w))
		squeue_kick(&w->q);
}

/* Above the hard limit nothing is written for a moment, in which the watch ends
 * who keeps the log and the keeper copies; if that was not enough there is one turn
 * for each tick, rather than none. */
static bool
holds_over(struct writer *w)
{
	int64_t now = clock_now_us();

	if (w->over_us == 0)
		w->over_us = now;
	if (now - w->over_us > HOLD_US && atomic_exchange(&w->ticked, false)) {
		atomic_store(&w->held_back, false);
		return false;
	}
	if (!atomic_exchange(&w->held_back, true))
		stats_add(STAT_turns_held_back, 1);
	tick_want();
	return true;
}

bool
gate_holds(struct writer *w)
{
	if (w->alarm)
		return false; /* they are refused at once */
	if (w->gate_end_us || atomic_load(&w->lost))
		return true;
	if (w->hold_end_us && clock_now_us() < w->hold_end_us) {
		squeue_kick_at(&w->q, w->hold_end_us);
		return true;
	}
	w->hold_end_us = 0;
	/* what is all copied and only cannot begin anew is not helped by that */
	if (is_over(w, wal_get_bytes(w->conn)) && get_backlog(w))
		return holds_over(w);
	w->over_us = 0;
	atomic_store(&w->held_back, false);
	return false;
}

/* Empty the log.  False: it stays. */
static bool
empty_log(struct writer *w)
{
	struct wal_copied log;
	struct failure f;
	bool ok;

	failure_init(&f);
	ok = wal_checkpoint(w->conn, WAL_EMPTY, w->db_conf->wal_gate_time_us,
		 &log, &f) == 0;
	if (!ok)
		log_warn(
		    "%s: the last checkpoint failed: %s; the WAL stays and "
		    "is read at the next start",
		    w->db_conf->name, f.text ? f.text : "out of memory");
	else if (log.gave_up)
		log_info("%s: another process reads the file, so its WAL stays "
			 "and is read at the next start",
		    w->db_conf->name);
	failure_fini(&f);
	return ok;
}

void
writer_drain(struct writer *w)
{
	if (!w)
		return;
	/* a job that ended when the writer's turns had ended */
	if (w->keeper && keeper_get_state(w->keeper) == KEEPER_COPIED &&
	    keeper_take(w->keeper) == WAL_SYNC_FAILED)
		alarm_sync(w);
	if (w->alarm)
		log_error("%s: the WAL is left as it is; keep a copy of %s and "
			  "%s-wal and check both",
		    w->db_conf->name, w->db_conf->path, w->db_conf->path);
	/* the last connection that closes would copy and delete it otherwise */
	if (w->alarm || w->moved || is_external(w) || !empty_log(w))
		dbconn_keep_wal(w->conn);
}
