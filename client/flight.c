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
leave_flight(struct sqlpool_result *result)
{
	result->conn->in_flight_n--;
	result->conn->in_flight_bytes -= result->frame.n;
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
		leave_flight(result);
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
	leave_table(result);
	buf_fini(&result->frame);
	result->state = RESULT_ENDED;
	if (result->zombie)
		flight_forget_result(result);
	else
		async_mark(result);
}

void
flight_forget_result(struct sqlpool_result *result)
{
	struct sqlpool_conn *conn = result->conn;

	if (conn) {
		async_unmark(result);
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

/* Copy a result's frame into `out`.  It is kept, to be sent again if need be. */
static void
start_result(struct sqlpool_conn *conn, struct sqlpool_result *result)
{
	buf_put(&conn->out, result->frame.p, result->frame.n);
	result->state = RESULT_WAITING;
	result->frame_end = conn->out_total + conn->out.n - conn->out_at;
	conn->in_flight_n++;
	conn->in_flight_bytes += result->frame.n;
	conn->unwritten_n++;
}

/* A daemon that stops takes what belongs to a transaction, and nothing else. */
static bool
takes_requests(const struct sqlpool_conn *conn)
{
	return conn->state == CONN_OPEN ||
	    (conn->state == CONN_LEAVING && conn->in_transaction);
}

/* What is over the daemon's bounds waits here: there it would be refused. */
static bool
has_room(const struct sqlpool_conn *conn)
{
	return conn->in_flight_n == 0 ||
	    (conn->in_flight_n < conn->in_flight_max &&
		conn->in_flight_bytes + conn->unsent.first->frame.n <=
		    conn->in_flight_bytes_max);
}

void
flight_start_unsent(struct sqlpool_conn *conn)
{
	while (conn->unsent.first && has_room(conn) && takes_requests(conn)) {
		struct sqlpool_result *result = conn->unsent.first;

		leave_unsent(result);
		start_result(conn, result);
	}
}

static void
enter_table(struct sqlpool_conn *conn, struct sqlpool_result *result)
{
	struct sqlpool_result **bucket = &conn->table[result->id % TABLE_N];

	result->bucket_next = *bucket;
	*bucket = result;
	result->in_table = true;
}

/* Let it wait behind `before`; NULL: as the first. */
static void
enter_unsent(struct sqlpool_result *result, struct sqlpool_result *before)
{
	struct sqlpool_conn *conn = result->conn;
	struct result_list *unsent = &conn->unsent;

	result->state = RESULT_UNSENT;
	result->unsent_prev = before;
	result->unsent_next = before ? before->unsent_next : unsent->first;
	if (before)
		before->unsent_next = result;
	else
		unsent->first = result;
	if (result->unsent_next)
		result->unsent_next->unsent_prev = result;
	else
		unsent->last = result;
	conn->unsent_bytes += result->frame.n;
}

void
flight_submit(struct sqlpool_conn *conn, struct sqlpool_result *result)
{
	enter_table(conn, result);
	enter_unsent(result, conn->unsent.last);
	if (conn->state == CONN_DOWN)
		life_begin(conn);
	flight_start_unsent(conn);
}

void
flight_submit_first(
    struct sqlpool_conn *conn, struct sqlpool_result *result, bool now)
{
	enter_table(conn, result);
	if (now)
		start_result(conn, result);
	else
		enter_unsent(result, NULL);
}

void
flight_put_back(struct sqlpool_result *result)
{
	struct sqlpool_conn *conn = result->conn;
	struct sqlpool_result *before = NULL;

	for (struct sqlpool_result *r = conn->unsent.first;
	     r && r->id < result->id; r = r->unsent_next)
		before = r;
	leave_flight(result);
	result_drop_chunks(result);
	result->granted = conn->window_bytes;
	result->received = 0;
	result->consumed = 0;
	enter_unsent(result, before);
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

bool
flight_was_sent(const struct sqlpool_result *result)
{
	return result->state == RESULT_WAITING &&
	    result->frame_end <= result->conn->out_total;
}

void
flight_fail(struct sqlpool_result *result, const struct failure *f)
{
	bool sent = flight_was_sent(result) || result->repeated;
	struct failure mine = { 0 };

	if (result->state == RESULT_ENDED)
		return;
	failure_copy(&mine, f);
	mine.pub.outcome = sent && !result->reads ? SQLPOOL_UNKNOWN
						  : SQLPOOL_NOT_APPLIED;
	result_fail(result, &mine);
	failure_clear(&mine);
	flight_end_result(result);
}
