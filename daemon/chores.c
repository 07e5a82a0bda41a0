/* chores.c - what the writer does for its database when it has nothing else to do:
 * statistics for the planner, free pages given back (upkeep.h).
 *
 * Now and then (optimize_every), in a moment in which nobody waits in the line, and
 * for a bounded time.  A write that arrives stops it at once, and it is tried
 * again a little later.
 *
 * Thread: whoever runs the writer. */
#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/stats.h"
#include "daemon/upkeep.h"
#include "daemon/writer_impl.h"
#include "proto/error.h"

#define CHORE_US 1000000

/* After one that was stopped, or of which there is more. */
#define AGAIN_US 10000000
#define MORE_US  1000000

/* sqlite.org/rescode.html */
#define INTERRUPTED 9

static void
plan(struct writer *w, int64_t in_us)
{
	atomic_store(&w->chore_us, clock_now_us() + in_us);
}

void
chores_open(struct writer *w)
{
	if (w->db_conf->optimize_every_us)
		plan(w, w->db_conf->optimize_every_us);
}

bool
chores_are_due(const struct writer *w)
{
	int64_t due_us = atomic_load(&w->chore_us);

	return due_us && clock_now_us() >= due_us;
}

/* False: somebody waits. */
static bool
begin(struct writer *w)
{
	bool idle;

	pthread_mutex_lock(&w->lock);
	idle = w->turns.n == 0;
	w->in_chore = idle;
	atomic_store(&w->chore_stop, 0);
	pthread_mutex_unlock(&w->lock);
	if (idle)
		dbconn_watch(
		    w->conn, &w->chore_stop, clock_now_us() + CHORE_US);
	return idle;
}

static void
end(struct writer *w)
{
	dbconn_watch(w->conn, NULL, 0);
	pthread_mutex_lock(&w->lock);
	w->in_chore = false;
	pthread_mutex_unlock(&w->lock);
	writer_count_commit(w, NULL);
}

/* Both, one after the other.  1: there is more to do; negative: a failure. */
static int
work(struct writer *w, struct failure *f)
{
	int64_t total = dbconn_get_total_changes(w->conn);
	int rc = upkeep_analyze(w->conn, total - w->chore_changes, f);

	if (rc > 0) {
		stats_add(STAT_analyzed, 1);
		w->chore_changes = dbconn_get_total_changes(w->conn);
	}
	return rc < 0 ? rc : upkeep_vacuum(w->conn, f);
}

void
chores_run(struct writer *w)
{
	struct failure f;
	int rc;

	if (w->alarm || w->is_stuck || !begin(w))
		return;
	failure_init(&f);
	rc = work(w, &f);
	end(w);
	if (rc < 0 && (-rc & 0xff) != INTERRUPTED)
		log_warn("%s: cannot analyze or vacuum: %s", w->db_conf->name,
		    f.text ? f.text : error_get_text(-rc));
	failure_fini(&f);
	if (rc > 0)
		plan(w, MORE_US);
	else if (rc < 0 && (-rc & 0xff) == INTERRUPTED)
		plan(w, AGAIN_US);
	else
		plan(w, w->db_conf->optimize_every_us);
}
