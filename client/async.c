/* async.c - callbacks, their results' deadlines, and what to poll for. */
#include "impl.h"

#include <unistd.h>

#include "socket.h"

/* ---- callbacks ---- */

void
async_mark(struct sqlpool_result *result)
{
	struct result_list *ready = &result->conn->ready;

	if (!result->callback || result->ready)
		return;
	result->ready = true;
	result->ready_next = NULL;
	result->ready_prev = ready->last;
	if (ready->last)
		ready->last->ready_next = result;
	else
		ready->first = result;
	ready->last = result;
}

void
async_unmark(struct sqlpool_result *result)
{
	struct result_list *ready = &result->conn->ready;

	if (!result->ready)
		return;
	result->ready = false;
	if (result->ready_prev)
		result->ready_prev->ready_next = result->ready_next;
	else
		ready->first = result->ready_next;
	if (result->ready_next)
		result->ready_next->ready_prev = result->ready_prev;
	else
		ready->last = result->ready_prev;
}

/* Those that become due meanwhile, too; but each only once, so that callbacks
 * that send cannot keep the caller here. */
void
async_deliver(struct sqlpool_conn *conn)
{
	struct sqlpool_result *last = conn->ready.last, *result;

	conn->delivering = true;
	while ((result = conn->ready.first)) {
		bool was_last = result == last;

		async_unmark(result);
		result->callback(result, result->callback_arg);
		if (was_last)
			break;
	}
	conn->delivering = false;
}

int
sqlpool_set_callback(
    struct sqlpool_result *result, sqlpool_callback *callback, void *arg)
{
	struct sqlpool_conn *conn = result ? result->conn : NULL;

	if (!conn || !callback || result->discard)
		return -ERR_MISUSE;
	result->callback = callback;
	result->callback_arg = arg;
	result->deadline_us = result_make_deadline(result);
	if (result->deadline_us < conn->earliest_us)
		conn->earliest_us = result->deadline_us;
	if (!result_is_waiting(result, false))
		async_mark(result);
	return 0;
}

/* ---- deadlines ---- */

static bool
has_deadline(const struct sqlpool_result *result)
{
	return result->callback && result_is_waiting(result, true);
}

/* Find one whose deadline is over; if there is none, when the next one is. */
static struct sqlpool_result *
find_expired(struct sqlpool_conn *conn, int64_t now_us)
{
	int64_t earliest_us = INT64_MAX;

	for (struct sqlpool_result *r = conn->results; r; r = r->next) {
		if (!has_deadline(r))
			continue;
		if (r->deadline_us <= now_us)
			return r;
		if (r->deadline_us < earliest_us)
			earliest_us = r->deadline_us;
	}
	conn->earliest_us = earliest_us;
	return NULL;
}

static void
expire(struct sqlpool_conn *conn)
{
	struct sqlpool_result *result;
	int64_t now_us;

	if (conn->earliest_us == INT64_MAX)
		return;
	now_us = socket_now_us();
	if (now_us < conn->earliest_us)
		return;
	while ((result = find_expired(conn, now_us)))
		result_time_out(result);
}

/* ---- an application that polls ---- */

int
sqlpool_process(struct sqlpool_conn *conn)
{
	int rc;

	if (!conn)
		return -ERR_MISUSE;
	if (conn->delivering)
		return conn_fail(conn, ERR_MISUSE, OUTCOME_NOT_APPLIED,
		    "a callback cannot process its own connection");
	rc = conn_check_process(conn);
	if (rc < 0)
		return rc;
	(void)conn_turn(conn, false, 0); /* what is wrong is in conn->why */
	expire(conn);
	async_deliver(conn);
	return conn_check(conn);
}

static int
get_timeout_ms(const struct sqlpool_conn *conn)
{
	int64_t timer_us = life_get_timer(conn), left_us;

	if (conn->ready.first)
		return 0;
	if (conn->earliest_us < timer_us)
		timer_us = conn->earliest_us;
	if (timer_us == INT64_MAX)
		return -1;
	left_us = timer_us - socket_now_us();
	if (left_us <= 0)
		return 0;
	left_us = (left_us + 999) / 1000;
	return left_us > INT32_MAX ? INT32_MAX : (int)left_us;
}

int
sqlpool_get_pollinfo(struct sqlpool_conn *conn, int *ret_fd, short *ret_events,
    int *ret_timeout_ms)
{
	int rc = conn_check(conn);

	if (rc < 0 && !(conn && conn->ready.first))
		return rc;
	if (!ret_fd || !ret_events || !ret_timeout_ms)
		return conn_fail(conn, ERR_MISUSE, OUTCOME_NOT_APPLIED,
		    "there is nowhere to put what to poll for");
	/* the application knows by now that it is another one */
	if (conn->old_fd >= 0 && conn->polled_fd != conn->old_fd) {
		close(conn->old_fd);
		conn->old_fd = -1;
	}
	conn->polled_fd = conn->fd;
	*ret_fd = conn->fd;
	*ret_events = 0;
	if (conn->fd >= 0)
		*ret_events = socket_get_events(conn_wants_to_write(conn));
	*ret_timeout_ms = get_timeout_ms(conn);
	return 0;
}
