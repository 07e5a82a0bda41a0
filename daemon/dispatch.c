/* dispatch.c - requests and their roads, out and home. */
#include "daemon/dispatch.h"

#include <stdio.h>

#include "daemon/admin.h"
#include "daemon/clock.h"
#include "daemon/collect.h"
#include "daemon/local.h"
#include "daemon/log.h"
#include "daemon/router.h"
#include "daemon/stats.h"
#include "daemon/steps.h"
#include "proto/error.h"

/* Reads of one client that are with the heavy readers at a time. */
#define CLIENT_READS_MAX 8
/* Transactions that one client may have open, on as many streams. */
#define SESSIONS_MAX 64

static void dispatch_statement(struct client *cl, struct request *r);
static void pump(struct client *cl, struct session *s);
static void
run_in_session(struct client *cl, struct session *s, struct request *r);

/* --- Answers -------------------------------------------------------------- */

static void
finish_local(struct client *cl, struct request *r)
{
	client_free_request(cl, r);
}

static void
answer_here(struct client *cl, struct request *r,
    void (*write)(struct request *, struct buf *))
{
	struct buf *b = client_begin_reply(cl);

	if (b) {
		write(r, b);
		client_end_reply(cl, b);
	}
	finish_local(cl, r);
}

static void
answer_local(struct client *cl, struct request *r,
    void (*write)(struct client *, struct request *, struct buf *))
{
	struct buf *b = client_begin_reply(cl);

	if (b) {
		write(cl, r, b);
		client_end_reply(cl, b);
	}
	finish_local(cl, r);
}

static void
fail_here(struct client *cl, struct request *r)
{
	answer_here(cl, r, answer_error);
}

static void
write_done(struct request *r, struct buf *b)
{
	struct answer a;

	answer_init(&a, r, b);
	answer_finish(&a);
}

/* The reply to a statement, or message, that steers a transaction. */
static void
answer_control(struct client *cl, struct request *r)
{
	answer_here(cl, r, r->type == TYPE_EXEC ? write_done : answer_ok);
}

/* --- Waiting and stopping -------------------------------------------------- */

static void
wait_in(struct line *line, struct request *r)
{
	r->waits = line;
	line_push(line, r);
}

/* Take a request that waits on this worker out of its line. */
static struct request *
take_from(struct line *line)
{
	struct request *r = line_pop(line);

	if (r)
		r->waits = NULL;
	return r;
}

/* A request that is stopped while it waits: what is behind it in its session may
 * go on. */
static void
leave_session(struct client *cl, struct request *r)
{
	struct session *s = r->session;
	bool was_running = s && s->running == r;

	if (was_running)
		s->running = NULL;
	fail_here(cl, r);
	if (was_running && !cl->closed)
		pump(cl, s);
}

static void
stop_request(struct client *cl, struct request *r, int code)
{
	struct squeue *runner;
	if (r->home_again || request_get_stop(r))
		return;
	request_stop(r, code);
	if (r->waits) {
		cl->loop->waiting_n -= r->waits == &cl->reads;
		line_remove(r->waits, r);
		r->waits = NULL;
		request_fail_stopped(r,
		    "while it waited for its client's "
		    "earlier requests");
		if (r->session)
			r->tx_state = r->session->state;
		leave_session(cl, r);
		return;
	}
	runner = atomic_load(&r->runner);
	if (runner)
		squeue_kick(runner);
	if (r->db)
		db_reap(r->db);
}

void
dispatch_deadline(struct request *r)
{
	stats_add(STAT_deadlines, 1);
	stop_request(r->client, r, ERR_DEADLINE);
}

static int
set_deadline(struct client *cl, struct request *r)
{
	int64_t left;

	if (r->timer || r->deadline_us == 0)
		return 0;
	left = r->deadline_us - clock_now_us();
	return client_set_timer(cl, r, left > 0 ? left : 0);
}

/* The request outlives the turn: it gets bytes of its own, a deadline, and its
 * place in the client's bounds. */
static int
send_away(struct client *cl, struct request *r)
{
	const struct conf *conf = cl->loop->conf;

	if (r->away)
		return 0;
	if (cl->away_n >= conf->max_in_flight ||
	    (cl->away_n > 0 &&
		cl->away_bytes + r->bytes_n > (uint64_t)conf->max_client_bytes))
		return failure_set(&r->failure, ERR_TOO_MANY_REQUESTS,
		    "%u requests of this connection, %zu bytes, are under way; "
		    "wait for answers, or raise max_in_flight and "
		    "max_client_bytes",
		    cl->away_n, cl->away_bytes);
	if (cl->unsent_bytes > (uint64_t)conf->max_client_bytes)
		return failure_set(&r->failure, ERR_TOO_MANY_REQUESTS,
		    "%zu bytes of results wait until this connection reads "
		    "them; read them first, or raise max_client_bytes",
		    cl->unsent_bytes);
	if (request_own(r) < 0 || set_deadline(cl, r) < 0)
		return failure_set(
		    &r->failure, ERR_NO_MEMORY, "out of memory for a request");
	r->away = true;
	r->vars = vars_ref(cl->vars);
	r->granted_bytes = cl->window_bytes;
	cl->away_n++;
	cl->away_bytes += r->bytes_n;
	return 0;
}

/* --- Roads ------------------------------------------------------------------ */

static void
submit_read(struct client *cl, struct request *r)
{
	r->reads = true;
	cl->reading_n++;
	if (readers_submit(r->db->readers, r) < 0)
		fail_here(cl, r);
}

/* A client may have a few reads with the readers, counted until their results
 * are sent: more would take the connections from the others, and a client that
 * reads none of its results would fill the memory with them. */
static void
hand_to_readers(struct client *cl, struct request *r)
{
	if (send_away(cl, r) < 0) {
		fail_here(cl, r);
	} else if (cl->reading_n >= CLIENT_READS_MAX) {
		wait_in(&cl->reads, r);
		cl->loop->waiting_n++;
	} else {
		submit_read(cl, r);
	}
}

void
dispatch_waiting(struct loop *loop)
{
	if (loop->waiting_n == 0)
		return;
	for (struct client *cl = loop->clients; cl; cl = cl->next) {
		while (cl->reads.head && cl->reading_n < CLIENT_READS_MAX) {
			loop->waiting_n--;
			submit_read(cl, take_from(&cl->reads));
		}
	}
}

static void
hand_to_writer(struct client *cl, struct request *r)
{
	r->is_write = r->tx == NULL;
	if (send_away(cl, r) < 0 || writer_submit(r->db->writer, r) < 0)
		fail_here(cl, r);
}

static void
run_inline(struct client *cl, struct request *r)
{
	struct loop *loop = cl->loop;
	struct hot *hot = &loop->hots[r->db->index];
	struct buf *b = client_begin_reply(cl);
	bool borrows = !r->vars;
	enum hot_result result = HOT_ANSWERED;

	if (!b) {
		finish_local(cl, r);
		return;
	}
	if (borrows)
		r->vars = cl->vars;
	result = hot_run(hot, loop->conf, r, b, !loop->collected.head);
	if (borrows)
		r->vars = NULL;
	client_end_reply(cl, b);
	if (result == HOT_TOO_LONG)
		hand_to_readers(cl, r);
	else
		finish_local(cl, r);
}

/* The last write that the client has under way on a database, or NULL. */
static struct request *
find_write(const struct client *cl, const struct db *db)
{
	struct request *w = cl->away_n ? cl->requests : NULL;

	while (w && (!w->is_write || w->home_again || w->db != db))
		w = w->all_next;
	return w;
}

/* A read sent after a write sees that write: it waits for it.  1: it does; 0: it
 * need not; -1: it was refused and answered. */
static int
park(struct client *cl, struct request *r)
{
	struct request *w = find_write(cl, r->db);
	if (!w || w == r)
		return 0;
	if (send_away(cl, r) < 0) {
		fail_here(cl, r);
		return -1;
	}
	r->behind = w;
	if (r->state == REQUEST_NEW)
		request_move(r, REQUEST_PARKED);
	wait_in(&cl->parked, r);
	return 1;
}

static void
unpark(struct client *cl, const struct request *w)
{
	struct line due = { 0 };
	struct request *next;

	for (struct request *r = cl->parked.head; r; r = next) {
		next = r->next;
		if (r->behind != w)
			continue;
		line_remove(&cl->parked, r);
		r->waits = NULL;
		r->behind = NULL;
		line_push(&due, r);
	}
	while ((next = line_pop(&due))) {
		struct session *s = next->session;

		request_move(next, REQUEST_NEW);
		if (!s) {
			dispatch_statement(cl, next);
			continue;
		}
		s->running = NULL;
		run_in_session(cl, s, next);
		pump(cl, s);
	}
}

static bool
begin(struct client *cl, struct request *r, enum msg_tx_mode mode)
{
	struct session *s;

	if (session_count(cl->sessions) >= SESSIONS_MAX) {
		failure_set(&r->failure, ERR_QUEUE_FULL,
		    "%d transactions are open on this connection; end some",
		    SESSIONS_MAX);
		fail_here(cl, r);
		return false;
	}
	s = session_begin(&cl->sessions, r->stream, mode, &cl->owner);
	if (!s) {
		failure_set(&r->failure, ERR_NO_MEMORY, "out of memory");
		fail_here(cl, r);
		return false;
	}
	stats_add(STAT_transactions, 1);
	return true;
}

/* SAVEPOINT outside a transaction begins one and is its first statement. */
static void
begin_savepoint(struct client *cl, struct request *r)
{
	struct session *s;

	if (!begin(cl, r, TX_MODE_DEFERRED))
		return;
	s = cl->sessions;
	s->tx->implicit = true;
	s->db = r->db;
	r->session = s;
	wait_in(&s->line, r);
	pump(cl, s);
}

static void
take_road(
    struct client *cl, struct request *r, enum road road, enum msg_tx_mode mode)
{
	switch (road) {
	case ROAD_ERROR:
		fail_here(cl, r);
		return;
	case ROAD_INLINE:
		if (!park(cl, r))
			run_inline(cl, r);
		return;
	case ROAD_READERS:
		if (r->tx || !park(cl, r))
			hand_to_readers(cl, r);
		return;
	case ROAD_WRITER:
		hand_to_writer(cl, r);
		return;
	case ROAD_BEGIN:
		if (!begin(cl, r, mode))
			return;
		r->tx_state = TX_STATE_OPEN;
		answer_control(cl, r);
		return;
	case ROAD_SAVEPOINT:
		begin_savepoint(cl, r);
		return;
	case ROAD_END:
		answer_control(cl, r);
		return;
	}
}

/* --- Transactions ------------------------------------------------------------ */

/* The transaction is over: what stands behind it is outside of it. */
static void
end_session(struct client *cl, struct session *s)
{
	struct line rest = s->line;
	struct request *r;

	s->line = (struct line){ 0 };
	session_end(&cl->sessions, s);
	while ((r = take_from(&rest))) {
		r->session = NULL;
		dispatch_statement(cl, r);
	}
}

static void
run_in_session(struct client *cl, struct session *s, struct request *r)
{
	struct hot *hot = &cl->loop->hots[r->db->index];
	enum road road;

	session_refresh(s);
	r->tx_state = s->state;
	road = router_choose_in_tx(
	    r, s, hot->conn, find_write(cl, r->db) != NULL);
	r->reroute = REROUTE_NOT;
	if (road == ROAD_READERS && !s->tx->has_snapshot) {
		int parked = park(cl, r);
		if (parked) {
			s->running = parked > 0 ? r : NULL;
			return;
		}
	}
	if (road == ROAD_READERS || road == ROAD_WRITER) {
		if (!r->tx)
			r->tx = tx_ref(s->tx);
		s->running = r;
		if (send_away(cl, r) < 0 ||
		    (road == ROAD_READERS
			    ? readers_submit(r->db->readers, r)
			    : writer_submit(r->db->writer, r)) < 0) {
			s->running = NULL;
			fail_here(cl, r);
		}
		return;
	}
	if (road == ROAD_END) {
		s->state = TX_STATE_NONE;
		r->tx_state = TX_STATE_NONE;
		answer_control(cl, r);
		return;
	}
	fail_here(cl, r);
}

/* Run what waits in a session's line, one request at a time.  The session may
 * be gone afterwards. */
static void
pump(struct client *cl, struct session *s)
{
	struct request *r;

	while (s->state != TX_STATE_NONE && (r = session_take(s))) {
		r->waits = NULL;
		run_in_session(cl, s, r);
	}
	if (s->state == TX_STATE_NONE && !s->running)
		end_session(cl, s);
}

static void
join_session(struct client *cl, struct session *s, struct request *r)
{
	if (s->db && s->db != r->db) {
		failure_set(&r->failure, ERR_TX_ACTIVE,
		    "this stream has a transaction on database %s; end it "
		    "first, or use another stream",
		    s->db->conf->name);
		r->tx_state = s->state;
		fail_here(cl, r);
		return;
	}
	s->db = r->db;
	r->session = s;
	if (s->running && send_away(cl, r) < 0) {
		fail_here(cl, r);
		return;
	}
	wait_in(&s->line, r);
	pump(cl, s);
}

/* A statement, batch or transaction message whose fields are checked. */
static void
dispatch_statement(struct client *cl, struct request *r)
{
	struct loop *loop = cl->loop;
	struct session *s = session_find(cl->sessions, r->stream);
	enum msg_tx_mode mode = TX_MODE_DEFERRED;
	enum road road;

	if (cl->closed) {
		finish_local(cl, r);
		return;
	}
	if (request_get_stop(r)) {
		request_fail_stopped(r, "before it began");
		fail_here(cl, r);
		return;
	}
	if (r->type == TYPE_DESCRIBE || r->type == TYPE_PREPARE) {
		if (!park(cl, r))
			answer_local(cl, r, local_describe);
		return;
	}
	if (s) {
		join_session(cl, s, r);
		return;
	}
	if (loop->draining) {
		failure_set(&r->failure, ERR_SHUTTING_DOWN,
		    "the daemon is shutting down; connect again later");
		r->failure.retry_ms = 1000;
		fail_here(cl, r);
		return;
	}
	road = router_choose(r, loop->hots[r->db->index].conn, loop->conf,
	    find_write(cl, r->db) != NULL, &mode);
	take_road(cl, r, road, mode);
}

/* --- Arrival ------------------------------------------------------------------ */

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
	int rc;
	rc = client_put_prepared(cl, r->ask.stmt, r->ask.sql, r->db);
	if (rc == -ERR_QUEUE_FULL)
		return failure_set(&r->failure, ERR_QUEUE_FULL,
		    "too many prepared statements on this connection; CLOSE "
		    "some");
	if (rc < 0)
		return failure_set(&r->failure, ERR_NO_MEMORY, "out of memory");
	return 0;
}

/* What each type needs in its body. */
static int
check_body(struct client *cl, struct request *r)
{
	switch (r->type) {
	case TYPE_EXEC:
		return find_sql(cl, r);
	case TYPE_DESCRIBE:
		return MSG_HAS(&r->ask, ASK_sql)
		    ? 0
		    : fail_missing(r, ASK_sql, "sql");
	case TYPE_PREPARE:
		return check_prepare(r);
	case TYPE_BATCH:
		if (!MSG_HAS(&r->ask, ASK_steps))
			return fail_missing(r, ASK_steps, "steps");
		return steps_read(r, look_up, cl);
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

static void
dispatch_sql(struct client *cl, struct request *r)
{
	bool admin = false;
	if (check_body(cl, r) < 0 || local_find_db(cl, r, &admin) < 0 ||
	    (r->type == TYPE_PREPARE && !admin && keep_prepared(cl, r) < 0)) {
		struct session *s = session_find(cl->sessions, r->stream);

		r->tx_state = s ? s->state : TX_STATE_NONE;
		fail_here(cl, r);
		return;
	}
	if (admin) {
		struct buf *b = client_begin_reply(cl);

		if (b) {
			admin_run(cl->loop->dbs, r, b);
			client_end_reply(cl, b);
		}
		finish_local(cl, r);
		return;
	}
	dispatch_statement(cl, r);
}

static void
cancel(struct client *cl, struct request *r)
{
	struct request *target = NULL;

	if (!MSG_HAS(&r->ask, ASK_target))
		fail_missing(r, ASK_target, "target");
	else
		target = client_find_request(cl, r->ask.target, r);
	if (target) {
		stats_add(STAT_cancels, 1);
		stop_request(cl, target, ERR_CANCELLED);
	}
	if (r->id || r->failure.code)
		answer_here(cl, r, answer_ok);
	else
		finish_local(cl, r);
}

static void
credit(struct client *cl, struct request *r)
{
	if (MSG_HAS(&r->ask, ASK_target) &&
	    MSG_HAS(&r->ask, ASK_credit_bytes)) {
		local_credit(cl, r);
		finish_local(cl, r);
		return;
	}
	if (MSG_HAS(&r->ask, ASK_target))
		fail_missing(r, ASK_credit_bytes, "credit_bytes");
	else
		fail_missing(r, ASK_target, "target");
	fail_here(cl, r);
}

static void
dispatch_type(struct client *cl, struct request *r)
{
	switch (r->type) {
	case TYPE_HELLO:
		answer_local(cl, r, local_hello);
		return;
	case TYPE_PING:
		answer_local(cl, r, local_ping);
		return;
	case TYPE_CLOSE:
		answer_local(cl, r, local_close);
		return;
	case TYPE_CANCEL:
		cancel(cl, r);
		return;
	case TYPE_CREDIT:
		credit(cl, r);
		return;
	case TYPE_EXEC:
	case TYPE_BATCH:
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
		finish_local(cl, r);
	} else if (!cl->said_hello && r->type != TYPE_HELLO) {
		failure_set(&r->failure, ERR_HELLO_REQUIRED,
		    "the first request must be HELLO, this one has type %d",
		    (int)r->type);
		fail_here(cl, r);
		client_hang_up(cl, CLOSE_NO_HELLO);
	} else if (is_duplicate(cl, r)) {
		failure_set(&r->failure, ERR_DUPLICATE_ID,
		    "a request with id %llu is still in flight",
		    (unsigned long long)r->id);
		fail_here(cl, r);
	} else {
		r->max_frame_bytes = cl->max_frame_bytes;
		r->decltypes = (cl->features & MSG_FEATURE_DECLTYPES) != 0;
		dispatch_type(cl, r);
	}
}

/* Requests whose replies would pile up wait until the client has read some. */
static bool
hold(struct client *cl, struct request *r)
{
	if (!cl->held.head && !client_is_clogged(cl))
		return false;
	if (cl->closed || cl->hangs_up || collect_keep(r) < 0)
		return false;
	if (!cl->held.head)
		cl->loop->held_n++;
	line_push(&cl->held, r);
	return true;
}

void
dispatch_collected(struct loop *loop)
{
	struct request *r;

	while ((r = line_pop(&loop->collected)))
		if (!hold(r->client, r))
			dispatch(r->client, r);
	for (size_t i = 0; i < loop->dbs->n; i++)
		hot_end_batch(&loop->hots[i]);
}

bool
dispatch_held(struct loop *loop)
{
	bool any = false;

	if (loop->held_n == 0)
		return false;
	for (struct client *cl = loop->clients; cl; cl = cl->next) {
		struct request *r;

		if (!cl->held.head || client_is_clogged(cl))
			continue;
		loop->held_n--;
		while ((r = line_pop(&cl->held)))
			line_push(&loop->collected, r);
		any = true;
	}
	return any;
}

/* --- Homecoming ----------------------------------------------------------------- */

/* It came home without an answer: another road. */
static void
reroute(struct client *cl, struct request *r)
{
	struct session *s = r->session;

	r->home_again = r->final = false;
	r->rerouted = true;
	r->is_write = false;
	cl->reading_n -= r->reads;
	r->reads = false;
	atomic_store(&r->runner, NULL);
	if (!s) {
		r->reroute = REROUTE_NOT;
		dispatch_statement(cl, r);
		return;
	}
	s->running = NULL;
	session_set_state(s, r->tx_state);
	if (cl->closed) {
		finish_local(cl, r);
		return;
	}
	run_in_session(cl, s, r);
	pump(cl, s);
}

static void
come_home(struct client *cl, struct request *r)
{
	struct session *s = r->session;
	bool was_write = r->is_write;
	const struct request *w = r;

	if (r->reroute) {
		reroute(cl, r);
	} else {
		if (!r->unsent && !cl->closed)
			client_close(cl, CLOSE_NO_MEMORY);
		if (r->failure.code) /* rows before an error are void */
			client_drop_rows(r);
		if (s) {
			s->running = NULL;
			session_set_state(s, r->tx_state);
		}
		client_send_pieces(cl, r);
		if (s)
			pump(cl, s);
	}
	if (was_write)
		unpark(cl, w);
}

void
dispatch_mail(struct request *list)
{
	while (list) {
		struct request *r = list;

		list = r->mail_next;
		if (r->home_again)
			come_home(r->client, r);
		else
			client_send_pieces(r->client, r);
	}
}

/* --- Ends ------------------------------------------------------------------------- */

/* Roll back a transaction whose client is gone, if anything holds it. */
static void
abandon_session(struct client *cl, struct session *s)
{
	struct request *r;

	session_refresh(s);
	if (s->running)
		return; /* when it is home */
	if (s->state != TX_STATE_READ && s->state != TX_STATE_WRITE) {
		session_end(&cl->sessions, s);
		return;
	}
	r = request_new();
	if (!r)
		return; /* its limits will end it */
	r->client = cl;
	r->home = &cl->loop->mailbox;
	r->type = TYPE_TX_END;
	r->db = s->db;
	r->session = s;
	r->tx = tx_ref(s->tx);
	r->arrived_us = clock_now_us();
	r->away = true;
	cl->away_n++;
	client_add_request(cl, r);
	s->running = r;
	if (s->state == TX_STATE_READ)
		readers_submit(s->db->readers, r);
	else
		writer_submit(s->db->writer, r);
}

static void
drop_line(struct client *cl, struct line *line)
{
	struct request *r;
	while ((r = take_from(line))) {
		if (r->session && r->session->running == r)
			r->session->running = NULL;
		finish_local(cl, r);
	}
}

static void
abandon(struct client *cl)
{
	struct session *next;
	struct request *r, *next_r;

	if (!cl->abandoned) {
		if (cl->held.head)
			cl->loop->held_n--;
		drop_line(cl, &cl->held);
		for (r = cl->reads.head; r; r = r->next)
			cl->loop->waiting_n--;
		drop_line(cl, &cl->reads);
		drop_line(cl, &cl->parked);
		for (struct session *s = cl->sessions; s; s = s->next)
			drop_line(cl, &s->line);
		for (r = cl->requests; r; r = next_r) {
			next_r = r->all_next;
			if (r->home_again) /* drops what it had to send */
				client_send_pieces(cl, r);
			else if (r->away)
				stop_request(cl, r, ERR_CONNECTION_LOST);
		}
		cl->abandoned = true;
	}
	for (struct session *s = cl->sessions; s; s = next) {
		next = s->next;
		abandon_session(cl, s);
	}
}

void
dispatch_zombies(struct loop *loop)
{
	for (struct client *cl = loop->zombies; cl; cl = cl->next)
		abandon(cl);
}

/* A result that its client does not fetch: the reader that makes it stops; one
 * that is complete is dropped. */
static void
stop_stalled(struct client *cl, struct request *r)
{
	if (!r->home_again) {
		stop_request(cl, r, ERR_STALLED);
		return;
	}
	request_stop(r, ERR_STALLED);
	request_fail_stopped(r, "while it was read");
	if (r->seq)
		r->failure.outcome = OUTCOME_APPLIED;
	client_drop_pieces(r);
	fail_here(cl, r);
}

void
dispatch_stalled(struct loop *loop)
{
	int64_t before = clock_now_us() - loop->conf->stall_timeout_us;
	for (struct client *cl = loop->clients, *after; cl; cl = after) {
		struct request *r = cl->away_n ? cl->requests : NULL;
		after = cl->next; /* cl may be closed here */
		if ((cl->hangs_up || !cl->said_hello) && cl->since_us < before)
			client_close(
			    cl, cl->hangs_up ? cl->why : CLOSE_NO_HELLO);
		while (r && !cl->closed) {
			struct request *next = r->all_next;

			if (r->stalled_us && r->stalled_us < before)
				stop_stalled(cl, r);
			r = next;
		}
	}
}

void
dispatch_goaway(struct loop *loop)
{
	loop->draining = true;
	for (struct client *cl = loop->clients, *after; cl; cl = after) {
		struct buf *b = client_begin_reply(cl);
		struct msg_out m;

		after = cl->next; /* cl may be closed here */
		if (!b)
			continue;
		msg_begin_body(&m, b, TYPE_GOAWAY, 0, 0);
		msg_put_str(&m, TELL_message, "the daemon is shutting down");
		msg_end(&m, cl->max_frame_bytes);
		client_end_reply(cl, b);
	}
}

bool
dispatch_drain(struct loop *loop)
{
	struct client *cl = loop->clients;

	while (cl) {
		struct client *next = cl->next;
		if (!cl->requests && !cl->sessions)
			client_stop_reading(cl);
		cl = next;
	}
	return !loop->clients && !loop->zombies;
}

void
dispatch_refuse_all(struct loop *loop)
{
	for (struct client *cl = loop->clients, *after; cl; cl = after) {
		struct request *r = cl->requests, *next;

		after = cl->next; /* cl may be closed here */
		/* what a stop lets run behind it came later, so it stands before
		 * r in the list: next stays good */
		for (; r; r = next) {
			next = r->all_next;
			if (r->away)
				stop_request(cl, r, ERR_SHUTTING_DOWN);
		}
		client_hang_up(cl, CLOSE_SHUTDOWN);
	}
}

void
dispatch_close_all(struct loop *loop)
{
	while (loop->clients)
		client_close(loop->clients, CLOSE_SHUTDOWN);
}
