/* turn.c - one thread of a run: it paces its clients, sends, takes, counts.
 *
 * Closed loop: a client sends as soon as it has less than depth in flight.
 * Open loop: operation i of client k is due at start + (i * clients + k) / rate,
 * whatever the others do; when depth are in flight it waits, and its time counts
 * from when it was due.  So a stall is seen by all operations that were due in
 * it, not only by those that were sent before.
 *
 * Counted is what ends between count_ns and end_ns.  The times (hist) are of
 * these and of what was in flight at the end, which is waited for; and of
 * operations that were due by then but could not be sent, the time they had
 * waited: a stall at the end is seen, too.
 *
 * The loop allocates nothing, and makes no system calls but the driver's, a
 * wait, and those that change what is polled for. */
#include "client/bench/turn.h"

#include <errno.h>
#include <sys/epoll.h>
#include <time.h>

#include "client/bench/mix.h"
#include "client/bench/turn_impl.h"

#define EVENTS_N 64
/* Nothing at all has come for so long: it never will. */
#define SILENCE_NS INT64_C(60000000000)

static int64_t
read_clock(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t
turn_now_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

/* ---- counting ---- */

/* Timed: at the end of the time; else with the last operation. */
static void
end_counting(struct turn *turn, bool timed)
{
	if (timed == (turn->share.plan->count_n == 0) &&
	    turn->cpu_began_ns >= 0)
		turn->share.tally->cpu_ns =
		    read_clock(CLOCK_THREAD_CPUTIME_ID) - turn->cpu_began_ns;
}

/* Say whether the counted time has what ends now; notes when that begins. */
static bool
is_counting(struct turn *turn, int64_t now_ns)
{
	if (now_ns < turn->times.count_ns)
		return false;
	if (turn->cpu_began_ns < 0)
		turn->cpu_began_ns = read_clock(CLOCK_THREAD_CPUTIME_ID);
	return now_ns < turn->times.end_ns;
}

/* The slot is free again. */
static void
free_slot(struct turn_client *own, struct bench_op *op)
{
	struct tally *tally = own->turn->share.tally;

	op->in_flight = false;
	own->free[own->free_n++] = op->slot;
	own->turn->in_flight_n--;
	/* only this thread writes it */
	atomic_store_explicit(&tally->progress_n,
	    atomic_load_explicit(&tally->progress_n, memory_order_relaxed) + 1,
	    memory_order_relaxed);
}

void
bench_op_end(struct bench_client *client, struct bench_op *op)
{
	struct turn_client *own = client->turn;
	struct turn *turn = own->turn;
	struct tally *tally = turn->share.tally;
	int64_t now_ns = turn_now_ns();
	bool counted = is_counting(turn, now_ns);
	bool timed = turn->share.plan->count_n == 0;

	free_slot(own, op);
	tally->ended[op->kind]++;
	if (timed ? now_ns >= turn->times.count_ns : op->counted)
		hist_add(&tally->hist[op->kind], now_ns - op->due_ns);
	if (timed ? !counted : !op->counted)
		return;
	tally->ops[op->kind]++;
	tally->rows_n += op->got_n;
	tally->last_end_ns = now_ns;
	own->counted_n++;
}

void
bench_op_error(struct bench_client *client, struct bench_op *op)
{
	struct turn_client *own = client->turn;
	struct turn *turn = own->turn;
	struct tally *tally = turn->share.tally;
	bool counted = is_counting(turn, turn_now_ns());

	free_slot(own, op);
	if (turn->share.plan->count_n == 0 ? counted : op->counted)
		tally->errors[op->kind]++;
}

/* ---- beginning ---- */

/* When the operation of this number of all clients' is due. */
static int64_t
get_due(const struct turn *turn, unsigned client, uint64_t round)
{
	const struct bench_plan *plan = turn->share.plan;
	double n = (double)round * plan->clients_n + client;

	return turn->times.start_ns + (int64_t)(n / plan->rate * 1e9);
}

/* When this client's next operation starts; INT64_MAX: never. */
static int64_t
get_next_start(const struct bench_client *client, int64_t now_ns)
{
	struct turn_client *own = client->turn;
	struct turn *turn = own->turn;
	int64_t due_ns = now_ns;

	if (turn->over || (turn->share.plan->count_n > 0 && own->quota == 0))
		return INT64_MAX;
	if (turn->share.plan->rate > 0)
		due_ns = get_due(turn, client->number, own->begun_n);
	return due_ns < turn->times.end_ns ? due_ns : INT64_MAX;
}

static uint64_t
draw_key(struct turn_client *own, enum bench_kind kind)
{
	const struct bench_plan *plan = own->turn->share.plan;
	uint64_t key = keys_next(&own->keys);

	/* all rows of a range are there */
	if (kind == BENCH_RANGE && key > plan->rows_n - plan->range_n + 1)
		key = plan->rows_n - plan->range_n + 1;
	return key;
}

static struct bench_op *
begin_op(struct bench_client *client, int64_t due_ns, int64_t now_ns)
{
	struct turn_client *own = client->turn;
	struct turn *turn = own->turn;
	const struct bench_plan *plan = turn->share.plan;
	struct bench_op *op = &client->ops[own->free[--own->free_n]];

	op->kind = mix_choose(plan, keys_random(&own->keys));
	op->key = draw_key(own, op->kind);
	op->random = keys_random(&own->keys);
	op->due_ns = due_ns;
	op->data = NULL;
	op->got_n = mix_get_rows(plan, op->kind);
	op->in_flight = true;
	op->counted = plan->count_n > 0 && now_ns >= turn->times.count_ns;
	if (op->counted && --own->quota == 0)
		turn->unfinished_n--;
	own->begun_n++;
	turn->in_flight_n++;
	return op;
}

/* A driver that takes answers while it flushes may end operations: then the
 * client has its turn again, after the others. */
static int
flush(struct turn *turn, struct bench_client *client)
{
	struct turn_client *own = client->turn;
	unsigned free_n = own->free_n;

	turn->unflushed = false;
	if (turn->share.driver->flush(client) < 0)
		return -1;
	if (own->free_n > free_n && !own->again) {
		own->again = true;
		turn->again_n++;
	}
	return client->want_write == own->polls_write
	    ? 0
	    : turn_poll_for(turn, client, EPOLL_CTL_MOD);
}

/* Begin what the client may begin.  Waiting alone flushes, too. */
static int
fill(struct turn *turn, struct bench_client *client)
{
	const struct bench_driver *driver = turn->share.driver;
	struct turn_client *own = client->turn;
	bool sent = false;
	int rc = 0;

	turn->why = client->why;
	while (rc == 0 && own->free_n > 0) {
		int64_t now_ns = turn_now_ns();
		int64_t due_ns = get_next_start(client, now_ns);
		struct bench_op *op;

		if (due_ns > now_ns)
			break;
		op = begin_op(client, due_ns, now_ns);
		if (turn->async_kinds >> op->kind & 1) {
			rc = driver->send(client, op);
			sent = true;
			continue;
		}
		rc = driver->run(client, op);
		if (rc == 0 && op->in_flight)
			bench_op_end(client, op);
	}
	if (turn->alone && driver->wait)
		turn->unflushed |= sent;
	else if (rc == 0 && (sent || client->want_write))
		rc = flush(turn, client);
	return rc;
}

/* Open loop: fill the clients whose time has come.  One that is full is filled
 * when something of it has ended. */
static int
fill_due(struct turn *turn, int64_t now_ns)
{
	int rc = 0;

	while (rc == 0 && !turn->over &&
	    get_due(turn, turn->share.first + turn->due_client,
		turn->due_round) <= now_ns) {
		rc = fill(turn, &turn->clients[turn->due_client]);
		if (++turn->due_client == turn->share.clients_n) {
			turn->due_client = 0;
			turn->due_round++;
		}
	}
	return rc;
}

static int
fill_all(struct turn *turn)
{
	int rc = 0;

	for (unsigned i = 0; i < turn->share.clients_n && rc == 0; i++)
		rc = fill(turn, &turn->clients[i]);
	return rc;
}

/* Open loop: what was due by the end and is not sent; its time so far. */
static void
count_unsent(struct turn *turn)
{
	struct tally *tally = turn->share.tally;

	for (unsigned i = 0; i < turn->share.clients_n; i++) {
		struct bench_client *client = &turn->clients[i];
		struct turn_client *own = client->turn;
		int64_t due_ns;

		while ((due_ns = get_next_start(client, 0)) != INT64_MAX) {
			enum bench_kind kind = mix_choose(
			    turn->share.plan, keys_random(&own->keys));

			hist_add(
			    &tally->hist[kind], turn->times.end_ns - due_ns);
			tally->unsent_n++;
			own->begun_n++;
		}
	}
}

/* ---- the loop ---- */

static int
take(struct turn *turn, struct bench_client *client)
{
	turn->why = client->why;
	if (turn->share.driver->receive(client) < 0)
		return -1;
	return fill(turn, client);
}

static int
fill_again(struct turn *turn)
{
	int rc = 0;

	for (unsigned i = 0;
	     i < turn->share.clients_n && turn->again_n > 0 && rc == 0; i++) {
		if (!turn->own[i].again)
			continue;
		turn->own[i].again = false;
		turn->again_n--;
		rc = fill(turn, &turn->clients[i]);
	}
	return rc;
}

/* When the loop has something to do that no descriptor tells. */
static int64_t
get_wakeup(const struct turn *turn, int64_t now_ns)
{
	int64_t at = now_ns + SILENCE_NS;

	if (turn->again_n > 0)
		return now_ns;
	if (turn->over)
		return at;
	if (turn->times.end_ns < at)
		at = turn->times.end_ns;
	/* when all are full, what is due has to wait anyway */
	if (turn->share.plan->rate > 0 &&
	    turn->in_flight_n <
		turn->share.plan->depth * turn->share.clients_n) {
		int64_t due_ns = get_due(turn,
		    turn->share.first + turn->due_client, turn->due_round);

		if (due_ns < at)
			at = due_ns;
	}
	return at;
}

/* Sleep until something has come or is due, and take what has come. */
static int
poll_clients(struct turn *turn, int64_t now_ns)
{
	struct epoll_event events[EVENTS_N];
	struct timespec timeout;
	int64_t left_ns;
	int n, rc = 0;

	if (turn->unflushed && flush(turn, &turn->clients[0]) < 0)
		return -1;
	left_ns = get_wakeup(turn, now_ns) - now_ns;
	if (left_ns < 0)
		left_ns = 0;
	timeout.tv_sec = left_ns / 1000000000;
	timeout.tv_nsec = left_ns % 1000000000;
	n = epoll_pwait2(turn->epoll, events, EVENTS_N, &timeout, NULL);
	if (n < 0 && errno != EINTR)
		return turn_fail_errno(&turn->clients[0], "epoll_pwait2");
	if (n == 0 && left_ns == SILENCE_NS && turn->in_flight_n > 0)
		return bench_fail(&turn->clients[0], "no answer within 60 s");
	for (int i = 0; i < n && rc == 0; i++)
		rc = take(turn, events[i].data.ptr);
	return rc < 0 ? rc : fill_again(turn);
}

/* A client with a thread of its own that has nothing to do but wait can do it
 * with fewer system calls. */
static int
wait_alone(struct turn *turn)
{
	struct bench_client *client = &turn->clients[0];

	turn->unflushed = false;
	if (turn->share.driver->wait(client) < 0)
		return -1;
	return fill(turn, client);
}

static bool
can_wait_alone(const struct turn *turn, int64_t now_ns)
{
	const struct bench_client *client = &turn->clients[0];
	const struct turn_client *own = client->turn;

	return turn->alone && turn->share.driver->wait &&
	    turn->in_flight_n > 0 &&
	    (own->free_n == 0 || get_next_start(client, now_ns) == INT64_MAX);
}

static bool
has_ended(const struct turn *turn, int64_t now_ns)
{
	if (turn->share.plan->count_n > 0)
		return turn->unfinished_n == 0;
	return now_ns >= turn->times.end_ns;
}

static int
loop(struct turn *turn)
{
	int rc = fill_all(turn);

	while (rc == 0 && (!turn->over || turn->in_flight_n > 0)) {
		int64_t now_ns = turn_now_ns();

		if (turn->share.plan->rate > 0 && !turn->over)
			rc = fill_due(turn, now_ns);
		if (rc == 0 && !turn->over && has_ended(turn, now_ns)) {
			if (turn->share.plan->rate > 0)
				count_unsent(turn);
			end_counting(turn, true);
			turn->over = true;
		} else if (rc == 0 && can_wait_alone(turn, now_ns)) {
			rc = wait_alone(turn);
		} else if (rc == 0) {
			rc = poll_clients(turn, now_ns);
		}
	}
	return rc;
}

int
turn_run(struct turn *turn, const struct turn_times *times)
{
	struct timespec start = {
		.tv_sec = times->start_ns / 1000000000,
		.tv_nsec = times->start_ns % 1000000000,
	};

	turn->times = *times;
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &start, NULL) ==
	    EINTR)
		;
	if (times->count_ns <= times->start_ns)
		turn->cpu_began_ns = read_clock(CLOCK_THREAD_CPUTIME_ID);
	if (loop(turn) < 0)
		return -1;
	end_counting(turn, false);
	for (unsigned i = 0; i < turn->share.clients_n; i++)
		turn->share.per_client[turn->share.first + i] =
		    turn->own[i].counted_n;
	return 0;
}
