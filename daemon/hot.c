/* hot.c - short reads, in batches. */
#include "daemon/hot.h"

#include "daemon/clock.h"
#include "daemon/stats.h"
#include "proto/error.h"

void
hot_end_batch(struct hot *h)
{
	struct failure f;

	if (!h->batching)
		return;
	failure_init(&f);
	if (dbconn_run(h->conn, DBCONN_COMMIT, &f) < 0 && dbconn_in_tx(h->conn))
		dbconn_run(h->conn, DBCONN_ROLLBACK, &f);
	failure_fini(&f);
	h->batching = false;
	stats_observe(
	    dbconn_get_stats(h->conn), HIST_batch_size, (int64_t)h->batch_n);
	if (h->batch_n > 1)
		stats_add(STAT_read_batches, 1);
}

static void
join_batch(struct hot *h, const struct conf *conf, struct request *r)
{
	int64_t now = r->started_us;

	if (h->batching &&
	    (h->batch_n >= conf->batch_max || now > h->batch_end_us))
		hot_end_batch(h);
	if (!h->batching) {
		struct failure f;

		/* without it each read takes a snapshot of its own */
		failure_init(&f);
		h->batching = dbconn_run(h->conn, DBCONN_BEGIN, &f) == 0 ||
		    dbconn_in_tx(h->conn);
		failure_fini(&f);
		h->batch_n = 0;
		h->batch_end_us = now + conf->batch_time_us;
	}
	h->batch_n++;
}

static int
run_in_budget(struct hot *h, const struct conf *conf, struct exec *ex)
{
	int64_t end_us = ex->r->started_us + conf->inline_budget_us;
	struct stmt *st = ex->stmt;
	int rc;

	ex->most_bytes = (size_t)conf->inline_bytes;
	ex->single = true;
	dbconn_watch(h->conn, &ex->r->stop, end_us);
	dbconn_bound(h->conn);
	rc = exec_run(ex);
	dbconn_unbound(h->conn);
	ex->over = rc == EXEC_OVER;
	if (ex->over)
		stmt_mark_heavy(st);
	exec_close(ex);
	dbconn_watch(h->conn, NULL, 0);
	dbconn_set_vars(h->conn, NULL);
	if (!ex->over && ex->ended_us > end_us)
		stmt_judge_again(h->conn, st);
	return rc;
}

enum hot_result
hot_run(struct hot *h, const struct conf *conf, struct request *r,
    struct buf *out, bool alone)
{
	struct exec ex;
	int rc;

	r->started_us = clock_now_us();
	if (!alone || h->batching)
		join_batch(h, conf, r);
	rc = exec_prepare(&ex, h->conn, r, out);
	if (rc == 0)
		rc = run_in_budget(h, conf, &ex);
	if (rc == EXEC_OVER) {
		answer_abandon(&ex.answer);
		r->stats = NULL;
		r->started_us = 0;
		failure_fini(&r->failure);
		stats_add(STAT_reads_escalated, 1);
		return HOT_TOO_LONG;
	}
	r->ended_us = ex.ended_us;
	answer_finish(&ex.answer);
	stats_add(STAT_reads_inline, 1);
	return HOT_ANSWERED;
}

void
hot_use(struct hot *h)
{
	unsigned n = atomic_load_explicit(&h->uses_n, memory_order_relaxed);

	atomic_store_explicit(&h->uses_n, n + 1, memory_order_relaxed);
}

void
hot_unuse(struct hot *h)
{
	unsigned n = atomic_load_explicit(&h->uses_n, memory_order_relaxed);

	/* in order with the look at who waits for room: either this worker sees
	 * that one, or that one sees this (room_note_idle, room_take) */
	atomic_store(&h->uses_n, n - 1);
	if (n == 1)
		h->home->idled = true;
}

void
hot_send_home(struct hot *h)
{
	struct hot_box *box = h->home;
	struct hot *head = atomic_load(&box->head);

	do {
		h->next = head;
	} while (!atomic_compare_exchange_weak(&box->head, &head, h));
	mailbox_wake(box->mailbox);
}

struct hot *
hot_take_home(struct hot_box *box)
{
	if (!atomic_load_explicit(&box->head, memory_order_relaxed))
		return NULL;
	return atomic_exchange(&box->head, NULL);
}

void
hot_order(struct hot *h, enum hot_order order)
{
	struct hot_box *box = h->home;

	atomic_store(&h->order, order);
	atomic_store(&box->orders, true);
	mailbox_wake(box->mailbox);
}
