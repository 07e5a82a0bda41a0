/* flight.c - which requests are in flight: the table of those that will be
 * answered, and the queue of those the daemon has no room for yet. */
#include "impl.h"

#include "proto/frame.h"

/* Where the pointer to a result is, or would be. */
static struct sqlpool_result **
find_slot(struct sqlpool_conn *conn, uint64_t id)
{
	struct sqlpool_result **at = &conn->table[id % TABLE_N];

	while (*at && (*at)->id != id)
		at = &(*at)->bucket_next;
	return at;
}

struct sqlpool_result *
flight_find(struct sqlpool_conn *conn, uint64_t id)
{
	return *find_slot(conn, id);
}

static void
leave_table(struct sqlpool_result *result)
{
	struct sqlpool_conn *conn = result->conn;
	struct sqlpool_result **at;

	if (!result->in_table)
		return;
	at = find_slot(conn, result->id);
	*at = result->bucket_next;
	result->in_table = false;
	if (result->state == RESULT_WAITING)
		conn->in_flight_n--;
}

static void
leave_unsent(struct sqlpool_result *result)
{
	struct result_list *unsent = &result->conn->unsent;

	if (result->unsent_prev)
		result->unsent_prev->unsent_next = result->unsent_next;
	else
		unsent->first = result->unsent_next;
	if (result->unsent_next)
		result->unsent_next->unsent_prev = result->unsent_prev;
	else
		unsent->last = result->unsent_prev;
	result->conn->unsent_bytes -= result->frame.n;
}

void
flight_end_result(struct sqlpool_result *result)
{
	if (result->state == RESULT_UNSENT)
		leave_unsent(result);
	buf_fini(&result->frame);
	leave_table(result);
	result->state = RESULT_ENDED;
	if (result->zombie)
		flight_forget_result(result);
}

void
flight_forget_result(struct sqlpool_result *result)
{
	struct sqlpool_conn *conn = result->conn;

	if (conn) {
		if (result->state == RESULT_UNSENT)
			leave_unsent(result);
		leave_table(result);
		if (result->prev)
			result->prev->next = result->next;
		else
			conn->results = result->next;
		if (result->next)
			result->next->prev = result->prev;
	}
	result_destroy(result);
}

/* Move a result's frame into `out`. */
static void
start_result(struct sqlpool_conn *conn, struct sqlpool_result *result)
{
	if (conn->out.n == 0 && conn->out.cap < result->frame.cap) {
		struct buf empty = conn->out;

		conn->out = result->frame;
		result->frame = empty;
	} else {
		buf_put(&conn->out, result->frame.p, result->frame.n);
	}
	buf_fini(&result->frame);
	result->state = RESULT_WAITING;
	result->frame_end = conn->out_total + conn->out.n - conn->out_at;
	conn->in_flight_n++;
}

void
flight_start_unsent(struct sqlpool_conn *conn)
{
	while (conn->unsent.first && conn->in_flight_n < conn->in_flight_max) {
		struct sqlpool_result *result = conn->unsent.first;

		leave_unsent(result);
		start_result(conn, result);
	}
}

void
flight_submit(struct sqlpool_conn *conn, struct sqlpool_result *result)
{
	struct sqlpool_result **bucket = &conn->table[result->id % TABLE_N];

	result->bucket_next = *bucket;
	*bucket = result;
	result->in_table = true;
	result->state = RESULT_UNSENT;
	result->unsent_prev = conn->unsent.last;
	if (conn->unsent.last)
		conn->unsent.last->unsent_next = result;
	else
		conn->unsent.first = result;
	conn->unsent.last = result;
	conn->unsent_bytes += result->frame.n;
	flight_start_unsent(conn);
}

static void
put_note(struct sqlpool_result *result, enum msg_type type, uint64_t credit)
{
	struct sqlpool_conn *conn = result->conn;
	struct msg_out m;

	msg_begin_body(&m, &conn->out, type, 0, 0);
	msg_put_uint(&m, ASK_target, result->id);
	if (credit)
		msg_put_uint(&m, ASK_credit_bytes, credit);
	/* a note that is lost would stall the result: the next write fails */
	if (msg_end(&m, FRAME_LEAST_MAX_BYTES) < 0)
		conn->out.failed = true;
}

bool
flight_refill_window(struct sqlpool_result *result, uint64_t gone)
{
	uint64_t window = result->conn->window_bytes;
	uint64_t room = gone + window - result->granted;

	if (room < window / 2)
		return false;
	result->granted += room;
	put_note(result, TYPE_CREDIT, room);
	return true;
}

void
flight_put_cancel(struct sqlpool_result *result)
{
	put_note(result, TYPE_CANCEL, 0);
}

void
flight_fail(struct sqlpool_conn *conn, struct sqlpool_result *result)
{
	bool sent = result->state == RESULT_WAITING &&
	    result->frame_end <= conn->out_total;
	struct failure f = { 0 };

	if (result->state == RESULT_ENDED)
		return;
	failure_copy(&f, &conn->failure);
	f.pub.outcome = sent ? SQLPOOL_UNKNOWN : SQLPOOL_NOT_APPLIED;
	result_fail(result, &f);
	failure_clear(&f);
	flight_end_result(result);
}
