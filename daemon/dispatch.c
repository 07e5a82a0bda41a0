/* dispatch.c - what each type of request needs, and where it goes. */
#include "daemon/dispatch.h"

#include "daemon/admin.h"
#include "daemon/admin_backup.h"
#include "daemon/clock.h"
#include "daemon/collect.h"
#include "daemon/hots.h"
#include "daemon/local.h"
#include "daemon/road.h"
#include "daemon/slice.h"
#include "daemon/stats.h"
#include "daemon/steps.h"
#include "proto/error.h"

static struct span
look_up(void *arg, uint64_t number)
{
	return client_get_prepared(arg, number, NULL);
}

static int
fail_missing(struct request *r, int key, const char *name)
{
	return failure_set(&r->failure, ERR_FIELD_MISSING,
	    "field %d (%s) is required", key, name);
}

/* Either the SQL or the number of a prepared statement. */
static int
find_sql(struct client *cl, struct request *r)
{
	const struct msg_ask *ask = &r->ask;

	if (MSG_HAS(ask, ASK_sql) == MSG_HAS(ask, ASK_stmt))
		return failure_set(&r->failure, ERR_FIELD_MISSING,
		    "either field %d (sql) or field %d (stmt) must be given",
		    ASK_sql, ASK_stmt);
	if (MSG_HAS(ask, ASK_sql))
		return 0; /* it runs where it was prepared, unless the head names another */
	r->sql = client_get_prepared(
	    cl, ask->stmt, r->database.n ? NULL : &r->db);
	if (!r->sql.p)
		return failure_set(&r->failure, ERR_STATEMENT_UNKNOWN,
		    "no prepared statement has the number %llu; PREPARE it "
		    "first",
		    (unsigned long long)ask->stmt);
	return 0;
}

static int
check_prepare(struct request *r)
{
	if (!MSG_HAS(&r->ask, ASK_stmt))
		return fail_missing(r, ASK_stmt, "stmt");
	if (!MSG_HAS(&r->ask, ASK_sql))
		return fail_missing(r, ASK_sql, "sql");
	if (r->ask.stmt == 0)
		return failure_set(&r->failure, ERR_FIELD_RANGE,
		    "field %d (stmt) must be from 1 on", ASK_stmt);
	return 0;
}

/* The text is known at once to what is pipelined behind it. */
static int
keep_prepared(struct client *cl, struct request *r)
{
	int rc = client_put_prepared(cl, r);

	if (rc == -ERR_QUEUE_FULL)
		return failure_set(&r->failure, ERR_QUEUE_FULL,
		    "too many prepared statements on this connection; CLOSE "
		    "some");
	if (rc < 0)
		return failure_set(&r->failure, ERR_NO_MEMORY, "out of memory");
	return 0;
}

static int
check_sql(struct request *r)
{
	return MSG_HAS(&r->ask, ASK_sql) ? 0 : fail_missing(r, ASK_sql, "sql");
}

/* What each type needs in its body. */
static int
check_body(struct client *cl, struct request *r)
{
	switch (r->type) {
	case TYPE_EXEC:
		return find_sql(cl, r);
	case TYPE_DESCRIBE:
		return check_sql(r);
	case TYPE_PREPARE:
		return check_prepare(r);
	case TYPE_BATCH:
		if (!MSG_HAS(&r->ask, ASK_steps))
			return fail_missing(r, ASK_steps, "steps");
		return steps_read(r, look_up, cl);
	case TYPE_SCRIPT:
		r->atomic = !MSG_HAS(&r->ask, ASK_atomic) || r->ask.atomic;
		return check_sql(r);
	case TYPE_TX_BEGIN:
		if (r->ask.tx_mode > TX_MODE_READ)
			return failure_set(&r->failure, ERR_FIELD_RANGE,
			    "field %d (tx_mode) must be from 0 to 3",
			    ASK_tx_mode);
		return 0;
	case TYPE_TX_END:
		return MSG_HAS(&r->ask, ASK_commit)
		    ? 0
		    : fail_missing(r, ASK_commit, "commit");
	case TYPE_HELLO:
	case TYPE_PING:
	case TYPE_CLOSE:
	case TYPE_CANCEL:
	case TYPE_CREDIT:
	case TYPE_OK:
	case TYPE_ROWS:
	case TYPE_DONE:
	case TYPE_ERROR:
	case TYPE_GOAWAY:
		break;
	}
	return failure_set(&r->failure, ERR_REQUEST_UNKNOWN,
	    "request type %d is not known to this daemon", (int)r->type);
}

static int
check_access(struct client *cl, struct request *r, bool admin)
{
	const struct conf *conf = cl->loop->conf;

	if (admin)
		return access_check(
		    &cl->peer, conf, NULL, RIGHT_OBSERVE, &r->failure);
	if (r->type == TYPE_TX_END ||
	    access_check(
		&cl->peer, conf, r->db->conf, RIGHT_READ, &r->failure) == 0 ||
	    road_lets_end(cl, r))
		return 0;
	return -r->failure.code;
}

static void
note_tx_state(struct client *cl, struct request *r)
{
	const struct session *s = session_find(cl->sessions, r->stream);

	r->tx_state = s ? s->state : TX_STATE_NONE;
}

static void
dispatch_sql(struct client *cl, struct request *r)
{
	bool admin = false;
	if (check_body(cl, r) < 0 || local_find_db(cl, r, &admin) < 0 ||
	    check_access(cl, r, admin) < 0 ||
	    (r->type == TYPE_PREPARE && !admin && keep_prepared(cl, r) < 0)) {
		if (r->type == TYPE_PREPARE)
			client_drop_prepared(cl, r->ask.stmt);
		note_tx_state(cl, r);
		local_fail(cl, r);
		return;
	}
	if (admin && admin_backup_is(r)) {
		if (admin_backup_read(cl, r) < 0)
			local_fail(cl, r);
		else
			road_take(cl, r);
		return;
	}
	if (admin) {
		admin_take(cl, r);
		return;
	}
	road_take(cl, r);
}

/* What has not had its turn leaves its line.  But what came before a PREPARE may use
 * its number, which is free only then, so that fails in its turn; and what stands
 * behind a TX_BEGIN is not to run outside, so that begins, which takes nothing. */
static void
stop_target(struct client *cl, struct request *target)
{
	if (!target->away && target->type == TYPE_TX_BEGIN)
		return;
	stats_add(STAT_cancels, 1);
	if (!target->away && target->type == TYPE_PREPARE) {
		request_stop(target, ERR_CANCELLED);
		return;
	}
	if (!target->away) {
		note_tx_state(cl, target);
		if (!target->waits)
			target->waits = &cl->loop->collected;
	}
	road_stop(cl, target, ERR_CANCELLED);
}

/* Its target may be under way, or wait for its turn: what came later is not meant,
 * nor what has no id. */
static void
cancel(struct client *cl, struct request *r)
{
	struct request *target = NULL;

	if (!MSG_HAS(&r->ask, ASK_target))
		fail_missing(r, ASK_target, "target");
	else if (r->ask.target)
		target = client_find_before(r, r->ask.target);
	if (target)
		stop_target(cl, target);
	if (r->id || r->failure.code)
		local_answer(cl, r, answer_ok);
	else
		client_free_request(cl, r);
}

static void
credit(struct client *cl, struct request *r)
{
	if (MSG_HAS(&r->ask, ASK_target) &&
	    MSG_HAS(&r->ask, ASK_credit_bytes)) {
		local_credit(cl, r);
		client_free_request(cl, r);
		return;
	}
	if (MSG_HAS(&r->ask, ASK_target))
		fail_missing(r, ASK_credit_bytes, "credit_bytes");
	else
		fail_missing(r, ASK_target, "target");
	local_fail(cl, r);
}

static void
dispatch_type(struct client *cl, struct request *r)
{
	switch (r->type) {
	case TYPE_HELLO:
		local_reply(cl, r, local_hello);
		return;
	case TYPE_PING:
		local_reply(cl, r, local_ping);
		return;
	case TYPE_CLOSE:
		local_reply(cl, r, local_close);
		return;
	case TYPE_CANCEL:
		cancel(cl, r);
		return;
	case TYPE_CREDIT:
		credit(cl, r);
		return;
	case TYPE_EXEC:
	case TYPE_BATCH:
	case TYPE_SCRIPT:
	case TYPE_DESCRIBE:
	case TYPE_PREPARE:
	case TYPE_TX_BEGIN:
	case TYPE_TX_END:
	case TYPE_OK:
	case TYPE_ROWS:
	case TYPE_DONE:
	case TYPE_ERROR:
	case TYPE_GOAWAY:
		break;
	}
	dispatch_sql(cl, r);
}

/* The id must not be that of another request under way.  Clients count upwards,
 * so this is nearly always one comparison. */
static bool
is_duplicate(struct client *cl, struct request *r)
{
	if (r->id > cl->top_id) {
		cl->top_id = r->id;
		return false;
	}
	return r->id && client_find_request(cl, r->id, r);
}

static void
dispatch(struct client *cl, struct request *r)
{
	if (cl->closed || (cl->hangs_up && cl->why == CLOSE_NO_HELLO)) {
		client_free_request(cl, r);
	} else if (!cl->said_hello && r->type != TYPE_HELLO) {
		failure_set(&r->failure, ERR_HELLO_REQUIRED,
		    "the first request must be HELLO, this one has type %d",
		    (int)r->type);
		local_fail(cl, r);
		client_hang_up(cl, CLOSE_NO_HELLO);
	} else if (is_duplicate(cl, r)) {
		failure_set(&r->failure, ERR_DUPLICATE_ID,
		    "a request with id %llu is still in flight",
		    (unsigned long long)r->id);
		local_fail(cl, r);
	} else {
		r->max_frame_bytes = cl->max_frame_bytes;
		r->decltypes = (cl->features & MSG_FEATURE_DECLTYPES) != 0;
		dispatch_type(cl, r);
	}
}

/* Requests whose replies would pile up wait until the client has read some; and
 * those of one that has had its time wait until the others had theirs, and behind
 * those that came before them.  A CANCEL waits for nothing. */
static bool
hold(struct client *cl, struct request *r)
{
	bool is_over = !slice_has_time(cl);

	if (!cl->held.head && !cl->again.head && !is_over &&
	    !client_is_clogged(cl))
		return false;
	if (cl->closed || r->type == TYPE_CANCEL || collect_keep(r) < 0)
		return false;
	if (!cl->held.head)
		cl->loop->held_n++;
	cl->late = cl->late || is_over;
	road_wait_in(&cl->held, r);
	return true;
}

/* A client's time is up, and the turn's: CANCELs and what came home come before the
 * others, who begin the next one.  False: there is no memory for that. */
static bool
keep_rest(struct loop *loop)
{
	struct line rest = { 0 };
	struct request *r;
	bool kept = true;

	while ((r = line_pop(&loop->collected))) {
		struct client *cl = r->client;

		if (hold(cl, r))
			continue;
		kept = collect_keep(r) == 0 && kept;
		cl->late = true;
		line_push(&rest, r);
	}
	loop->collected = rest;
	return kept;
}

void
dispatch_collected(struct loop *loop, struct line *line)
{
	struct request *r;

	if (line->head)
		loop->now_us = clock_now_us();
	while ((r = line_pop(line))) {
		struct client *cl = r->client;
		int64_t before_us = loop->now_us;

		if (hold(cl, r))
			continue;
		dispatch(cl, r);
		/* else it was counted there */
		/* cppcheck-suppress knownConditionTrueFalse */
		if (loop->now_us == before_us)
			slice_charge(cl, clock_now_us());
		if (cl->turn_us > SLICE_TURN_US && keep_rest(loop))
			break;
	}
	hots_end_batches(loop);
}

bool
dispatch_held(struct loop *loop)
{
	bool any = false;

	if (loop->held_n == 0)
		return false;
	for (struct client *cl = loop->clients; cl; cl = cl->next) {
		struct request *r;

		if (!cl->held.head || cl->again.head || client_is_clogged(cl))
			continue;
		loop->held_n--;
		while ((r = road_pop_waiting(&cl->held)))
			line_push(&loop->collected, r);
		any = true;
	}
	return any;
}
