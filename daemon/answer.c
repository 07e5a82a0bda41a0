/* answer.c - replies, frame by frame. */
#include "daemon/answer.h"

#include <string.h>

#include "daemon/clock.h"
#include "daemon/stats.h"
#include "proto/error.h"
#include "proto/frame.h"
#include "proto/value.h"

void
answer_init(struct answer *a, struct request *r, struct buf *out)
{
	*a = (struct answer){ .r = r, .out = out };
}

void
answer_open(struct answer *a)
{
	if (a->open)
		return;
	msg_begin_body(&a->frame, a->out, TYPE_DONE, a->r->id, a->r->stream);
	a->open = true;
}

void
answer_open_rows(struct answer *a)
{
	msg_key(&a->frame, TELL_rows);
	a->rows_at = a->out->n;
	a->rows_n = 0;
	a->rows_open = true;
	value_put_open_array(a->out);
}

void
answer_close_rows(struct answer *a)
{
	if (a->rows_open)
		value_close_array(a->out, a->rows_at, (uint16_t)a->rows_n);
	a->rows_open = false;
}

size_t
answer_get_bytes(const struct answer *a)
{
	return a->open ? a->out->n - a->frame.frame_at : 0;
}

int
answer_flush(struct answer *a)
{
	answer_close_rows(a);
	msg_set_type(&a->frame, TYPE_ROWS);
	a->open = false;
	return msg_end(&a->frame, a->r->max_frame_bytes);
}

void
answer_abandon(struct answer *a)
{
	if (a->open)
		msg_abandon(&a->frame);
	a->open = a->rows_open = false;
}

static void
put_times(struct msg_out *m, struct request *r)
{
	int64_t now = r->ended_us ? r->ended_us : clock_now_us();
	int64_t began = r->started_us ? r->started_us : now;
	int64_t queue_us = began > r->arrived_us ? began - r->arrived_us : 0;
	int64_t exec_us = now > began ? now - began : 0;

	r->ended_us = now;
	msg_put_uint(m, TELL_queue_us, (uint64_t)queue_us);
	msg_put_uint(m, TELL_exec_us, (uint64_t)exec_us);
	if (!r->stats)
		return;
	stats_observe(r->stats, HIST_queue_wait, queue_us);
	stats_observe(r->stats, HIST_execution, exec_us);
	if (r->failure.code)
		stats_count(r->stats, DB_STAT_failed, 1);
	r->stats = NULL; /* once: the worker may take back its answer */
}

/* What every terminal reply says of the session; zeros are left out. */
static void
put_state(struct msg_out *m, const struct request *r)
{
	if (r->seq)
		msg_put_uint(m, TELL_seq, r->seq);
	if (r->tx_state != TX_STATE_NONE)
		msg_put_uint(m, TELL_tx_state, (uint64_t)r->tx_state);
}

void
answer_put_failure(struct msg_out *m, const struct failure *f)
{
	const char *text = f->text ? f->text : error_get_text(f->code);

	msg_put_uint(m, TELL_code, (uint64_t)f->code);
	msg_put_str(m, TELL_name, error_get_name(f->code));
	msg_put_message(m, TELL_message, text ? text : "out of memory");
	if (f->offset >= 0)
		msg_put_uint(m, TELL_offset, (uint64_t)f->offset);
	msg_put_uint(m, TELL_class, (uint64_t)error_get_class(f->code));
	msg_put_uint(m, TELL_outcome, (uint64_t)f->outcome);
	if (f->retry_ms > 0)
		msg_put_uint(m, TELL_retry_ms, (uint64_t)f->retry_ms);
	if (f->step >= 0)
		msg_put_uint(m, TELL_step, (uint64_t)f->step);
}

void
answer_error(struct request *r, struct buf *out)
{
	struct msg_out m;

	if (r->failure.code == 0)
		failure_set(
		    &r->failure, ERR_INTERNAL, "request left unanswered");
	stats_add_error(r->failure.code);
	msg_begin_body(&m, out, TYPE_ERROR, r->id, r->stream);
	answer_put_failure(&m, &r->failure);
	put_state(&m, r);
	put_times(&m, r);
	msg_end(&m, FRAME_HARD_MAX_BYTES);
	if (request_get_state(r) != REQUEST_ANSWERED)
		request_move(r, REQUEST_ANSWERED);
}

void
answer_finish(struct answer *a)
{
	struct request *r = a->r;
	int rc;
	if (r->failure.code) {
		answer_abandon(a);
		if (a->out == &r->out) /* rows before an error are void */
			buf_cut(a->out, 0);
		answer_error(r, a->out);
		return;
	}
	answer_open(a);
	answer_close_rows(a);
	if (r->changes)
		msg_put_int(&a->frame, TELL_changes, r->changes);
	if (r->rowid)
		msg_put_int(&a->frame, TELL_rowid, r->rowid);
	put_state(&a->frame, r);
	put_times(&a->frame, r);
	a->open = false;
	rc = msg_end(&a->frame, r->max_frame_bytes);
	if (rc < 0) {
		failure_set(&r->failure,
		    rc == -ERR_NO_MEMORY ? ERR_NO_MEMORY : ERR_ROW_TOO_LARGE,
		    "the result does not fit in a frame of %zu bytes; ask for "
		    "less, or raise max_frame",
		    r->max_frame_bytes);
		if (r->seq) /* it was committed all the same */
			r->failure.outcome = OUTCOME_APPLIED;
		answer_error(r, a->out);
		return;
	}
	request_move(r, REQUEST_ANSWERED);
}

void
answer_ok(struct request *r, struct buf *out)
{
	struct msg_out m;

	if (r->failure.code) {
		answer_error(r, out);
		return;
	}
	msg_begin_body(&m, out, TYPE_OK, r->id, r->stream);
	put_state(&m, r);
	msg_end(&m, FRAME_HARD_MAX_BYTES);
	request_move(r, REQUEST_ANSWERED);
}

void
answer_fault(struct buf *out, int code, const char *text)
{
	struct failure f = { .code = code, .offset = -1, .step = -1 };
	struct msg_out m;
	char copy[256];

	memset(copy, 0, sizeof(copy));
	strncpy(copy, text, sizeof(copy) - 1);
	f.text = copy;
	f.outcome = error_get_outcome(code);
	if (error_get_class(code) == CLASS_BUSY)
		f.retry_ms = 1000;
	msg_begin_body(&m, out, TYPE_ERROR, 0, 0);
	answer_put_failure(&m, &f);
	msg_end(&m, FRAME_HARD_MAX_BYTES);
}
