/* outside.c - a process outside the daemon has the lock (access = shared).
 *
 * The writer's connection does not wait for it, and no thread does: what was to
 * run goes back to the line, and after a while the crew kicks the queue to try
 * again.  Meanwhile each request waits only for as long as busy_wait says.
 *
 * Thread: whoever runs the writer. */
#include "daemon/clock.h"
#include "daemon/writer_impl.h"
#include "proto/error.h"

/* How long it waits before it tries a lock of another process again: at first,
 * and at most.  SQLite's own handler sleeps for 1, 2, 5, 10, ... up to 100 ms. */
#define LOCK_FIRST_US 1000
#define LOCK_MOST_US  25000

int
writer_begin(struct writer *w, struct failure *f)
{
	int rc = dbconn_run(w->conn, DBCONN_BEGIN_IMMEDIATE, f);

	if (rc < 0)
		return rc;
	writer_forget_others(w);
	if (atomic_load(&w->locked_us))
		atomic_store(&w->locked_us, 0);
	return 0;
}

void
writer_forget_others(struct writer *w)
{
	if (w->db_conf->access == CONF_ACCESS_SHARED)
		wal_take_committed(w->conn);
}

bool
writer_is_overdue(struct writer *w, const struct request *r)
{
	int64_t since_us = atomic_load(&w->locked_us);

	if (since_us == 0) /* it is the first one to meet it */
		return w->db_conf->busy_wait_us == 0;
	if (r->arrived_us > since_us)
		since_us = r->arrived_us;
	return clock_now_us() - since_us >= w->db_conf->busy_wait_us;
}

static void
stop_overdue(struct request *r, void *arg)
{
	if (writer_is_overdue(arg, r))
		request_stop(r, ERR_EXTERNAL_BUSY);
}

void
writer_lock_out(struct writer *w, size_t from, size_t n)
{
	int64_t now = clock_now_us();

	if (!atomic_load(&w->locked_us)) {
		atomic_store(&w->locked_us, now);
		w->pause_us = LOCK_FIRST_US;
	} else if (w->pause_us < LOCK_MOST_US) {
		w->pause_us *= 2;
	}
	for (size_t i = from; i < n; i++) {
		struct request *r = w->members[i].r;

		if (request_get_state(r) != REQUEST_RUNNING)
			continue;
		request_reset_result(r);
		r->started_us = 0;
		request_move(r, REQUEST_QUEUED);
	}
	writer_return(w, from, n);
	pthread_mutex_lock(&w->lock);
	turns_each(&w->turns, stop_overdue, w);
	pthread_mutex_unlock(&w->lock);
	writer_reap(w);
	w->try_us = now + w->pause_us;
	dbconn_set_vars(w->conn, NULL);
	squeue_kick_at(&w->q, w->try_us);
}

bool
writer_is_locked_out(struct writer *w)
{
	struct request *r = w->script.r;

	if (!atomic_load(&w->locked_us) || w->db_conf->busy_wait_us == 0 ||
	    (r && request_get_stop(r)) || clock_now_us() >= w->try_us)
		return false;
	squeue_kick_at(&w->q, w->try_us);
	return true;
}
