/* worker.c - the turn of an event loop thread. */
#include "daemon/worker.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/collect.h"
#include "daemon/dispatch.h"
#include "daemon/dump.h"
#include "daemon/ends.h"
#include "daemon/hots.h"
#include "daemon/log.h"
#include "daemon/road.h"
#include "daemon/slice.h"
#include "daemon/stats.h"
#include "proto/error.h"
#include "proto/patience.h"

/* So many newcomers are made clients in one turn, and so many may wait for it:
 * one process that connects in a loop must not keep a worker from the rest. */
#define NEWCOMERS_PER_TURN 64
#define NEWCOMERS_MAX      256

/* A wait for an answer is worth looking so many times longer than one for a
 * request: a synced write takes 0.2 ms (tests/bench/NOTES.md, "Short waits"). */
#define ANSWER_LOOKS 8

/* A client is alone when the loop has told of nobody else for so many times; then
 * the loop is not asked for so many looks at it, and turns of it that take no longer
 * together than one client's slice may. */
#define ALONE_TIMES 8
#define UNASKED_MAX 8

/* A socket on its way from the main thread. */
struct newcomer {
	struct newcomer *next;
	struct peer peer;
};

struct worker {
	struct loop loop;
	pthread_t thread;
	struct event *bell;  /* the mailbox's descriptor */
	struct event *timer; /* for stalled results, while there may be some */
	bool timer_is_set;
	struct event *due; /* for the earliest deadline */
	int64_t due_us;    /* when that goes off; INT64_MAX: it does not */

	/* while there is nothing to do: it waits for a request, or for answers to
	 * those that are away */
	struct patience for_request, for_answer;
	struct patience *patience; /* which of them is asked */
	bool waits;
	int64_t wait_us; /* since when */
	int64_t look_us; /* until when to look before sleeping */

	/* the start */
	sem_t started;
	int start_rc;
	struct failure *start_failure;

	/* any thread */
	pthread_mutex_t lock;
	struct newcomer *newcomers, **newcomers_end; /* under lock */
	unsigned newcomers_n;                        /* under lock */
	_Atomic unsigned clients_n, others_n;
	_Atomic bool drains, refuses, closes, dumps, done, ends_admins,
	    preloads;
	_Atomic uint64_t turns; /* its own thread counts */
	bool said_goaway, refused, ended_admins;

	unsigned alone_n; /* times that the loop told of one client, the same */
	unsigned unasked_n; /* turns since it was asked */
	int64_t asked_us;   /* when the wait began in which it was asked last */
};

static void
on_bell(int fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd;
	(void)what;
	mailbox_hear(&w->loop.mailbox); /* the turn looks into it anyway */
}

static void
on_timer(int fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd;
	(void)what;
	w->timer_is_set = false;
	w->loop.may_stall = ends_stalled(&w->loop);
}

static void
on_due(int fd, short what, void *arg)
{
	struct worker *w = arg;
	int64_t now = clock_now_us();
	struct request *r;

	(void)fd;
	(void)what;
	w->due_us = INT64_MAX;
	while ((r = deadlines_pop(&w->loop.deadlines, now)))
		road_deadline(r);
}

/* Let the timer go off at the earliest deadline, or before: it stays when the
 * request it was set for has ended, which nearly all do long before theirs. */
static void
set_due(struct worker *w)
{
	int64_t first = deadlines_get_first(&w->loop.deadlines);
	int64_t left;
	struct timeval tv;

	if (first >= w->due_us)
		return;
	left = first - clock_now_us();
	if (left < 0)
		left = 0;
	tv = (struct timeval){ left / 1000000, left % 1000000 };
	if (event_add(w->due, &tv) == 0)
		w->due_us = first; /* else in the next turn */
}

/* A second at most: results stall for seconds. */
static void
set_timer(struct worker *w)
{
	int64_t us = w->loop.conf->stall_timeout_us / 4;
	struct timeval tv;

	if (us > 1000000)
		us = 1000000;
	tv = (struct timeval){ us / 1000000, us % 1000000 };
	w->timer_is_set = event_add(w->timer, &tv) == 0;
}

static int
open_base(struct worker *w)
{
	struct loop *loop = &w->loop;
	struct event_config *cfg = event_config_new();

	if (!cfg)
		return -ERR_NO_MEMORY;
	/* one thread alone touches this base */
	event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
	loop->base = event_base_new_with_config(cfg);
	event_config_free(cfg);
	if (!loop->base)
		return -ERR_NO_MEMORY;
	w->bell = event_new(
	    loop->base, loop->mailbox.fd, EV_READ | EV_PERSIST, on_bell, w);
	w->timer = evtimer_new(loop->base, on_timer, w);
	w->due = evtimer_new(loop->base, on_due, w);
	if (!w->bell || !w->timer || !w->due || event_add(w->bell, NULL) < 0)
		return -ERR_NO_MEMORY;
	return 0;
}

static int
open_loop(struct worker *w)
{
	struct loop *loop = &w->loop;

	loop->box.mailbox = &loop->mailbox;
	loop->arena = malloc(COLLECT_ARENA_BYTES);
	if (!loop->arena)
		return -ERR_NO_MEMORY;
	return hots_open_all(loop, w->start_failure);
}

static struct newcomer *
take_newcomer(struct worker *w)
{
	struct newcomer *n;

	pthread_mutex_lock(&w->lock);
	n = w->newcomers;
	if (n) {
		w->newcomers = n->next;
		w->newcomers_n--;
		if (!w->newcomers)
			w->newcomers_end = &w->newcomers;
	}
	pthread_mutex_unlock(&w->lock);
	return n;
}

static void
take_newcomers(struct worker *w)
{
	for (int i = 0; i < NEWCOMERS_PER_TURN; i++) {
		struct newcomer *n = take_newcomer(w);

		if (!n)
			return;
		if (!client_new(&w->loop, &n->peer))
			log_warn("no memory for the client of pid %d",
			    (int)n->peer.pid);
		free(n);
	}
}

static bool
has_newcomers(struct worker *w)
{
	bool any;

	pthread_mutex_lock(&w->lock);
	any = w->newcomers != NULL;
	pthread_mutex_unlock(&w->lock);
	return any;
}

static void
begin_wait(struct worker *w, int64_t now)
{
	w->patience = w->loop.away_n > 0 ? &w->for_answer : &w->for_request;
	if (patience_asks(w->patience, now))
		patience_ask_core(w->patience, now);
	w->waits = true;
	w->wait_us = now;
	w->look_us = now + patience_get_us(w->patience);
}

static void
end_wait(struct worker *w)
{
	int64_t now;

	if (!w->waits)
		return;
	now = clock_now_us();
	w->waits = false;
	patience_note(w->patience, now - w->wait_us);
	if (w->look_us == w->wait_us)
		return;
	stats_add(STAT_looks, 1);
	stats_add(STAT_looks_in_vain, now > w->look_us);
}

/* Look for a short while before sleeping, if that has paid lately. */
static bool
looks(struct worker *w)
{
	int64_t now;

	if (w->for_request.bound_us == 0)
		return false;
	now = clock_now_us();
	if (!w->waits)
		begin_wait(w, now);
	return now < w->look_us;
}

static bool
may_sleep(struct worker *w)
{
	if (w->loop.collected.head || w->loop.cancels.head || w->loop.dirty ||
	    w->loop.more || w->loop.arrived || w->loop.again_n || looks(w))
		return false;
	return mailbox_sleep(&w->loop.mailbox) && !has_newcomers(w);
}

/* While the loop has told of one client alone for a while, that is the one to wait
 * for: its socket is read at once, and the loop, which costs as much as a third of
 * a read, is asked every few turns. */
static bool
finds_reader(struct worker *w)
{
	struct loop *loop = &w->loop;

	if (!w->waits || loop->away_n > 0 || w->alone_n < ALONE_TIMES ||
	    w->unasked_n >= UNASKED_MAX ||
	    w->wait_us - w->asked_us > SLICE_TURN_US)
		return false;
	for (int i = 0;
	     i < UNASKED_MAX && loop->reader && !loop->collected.head; i++)
		client_look(loop->reader);
	return loop->collected.head != NULL;
}

static void
ask_loop(struct worker *w, int flags)
{
	struct loop *loop = &w->loop;
	struct client *before = loop->reader;

	if ((flags & EVLOOP_NONBLOCK) && finds_reader(w)) {
		w->unasked_n++;
		return;
	}
	w->unasked_n = 0;
	w->asked_us = w->wait_us;
	loop->reads_n = 0;
	event_base_loop(loop->base, flags);
	if (loop->reads_n > 1 || loop->reader != before)
		w->alone_n = 0;
	else if (loop->reads_n == 1)
		w->alone_n++;
}

static void
look_at_orders(struct worker *w)
{
	struct loop *loop = &w->loop;

	if (atomic_load(&w->drains) && !w->said_goaway) {
		ends_goaway(loop, false);
		w->said_goaway = true;
	}
	if (atomic_load(&w->ends_admins) && !w->ended_admins) {
		ends_goaway(loop, true);
		w->ended_admins = true;
	}
	if (atomic_load(&w->refuses) && !w->refused) {
		ends_refuse_all(loop);
		w->refused = true;
	}
	if (atomic_load(&w->closes))
		ends_close_all(loop);
	if (atomic_load(&w->preloads)) {
		atomic_store(&w->preloads, false);
		hots_preload(loop);
	}
	if (atomic_load(&w->dumps)) {
		atomic_store(&w->dumps, false);
		dump_loop(loop);
	}
	if (w->said_goaway && ends_drain(loop, w->ended_admins) &&
	    !has_newcomers(w))
		atomic_store(&w->done, true);
}

static void
turn(struct worker *w)
{
	struct loop *loop = &w->loop;
	struct request *mail;
	int flags = EVLOOP_ONCE;

	set_due(w);
	if (loop->may_stall && !w->timer_is_set)
		set_timer(w);
	if (!may_sleep(w))
		flags |= EVLOOP_NONBLOCK;
	ask_loop(w, flags);
	mailbox_awake(&loop->mailbox);
	take_newcomers(w);
	collect_more(loop);
	loop->turn++;
	loop->now_us = 0;
	dispatch_collected(loop, &loop->cancels);
	road_again(loop);
	mail = mailbox_take(&loop->mailbox);
	if (mail || loop->collected.head)
		end_wait(w);
	road_mail(mail);
	road_arrivals(loop);
	mailbox_receive(&loop->mailbox, loop, false);
	dispatch_collected(loop, &loop->collected);
	loop->arena_n = 0;
	client_flush_dirty(loop);
	road_waiting(loop);
	ends_hung_up(loop);
	dispatch_held(loop);
	ends_zombies(loop);
	road_reap(loop);
	client_free_zombies(loop);
	hots_obey(loop);
	atomic_store(&w->clients_n, (unsigned)loop->clients_n);
	atomic_store(&w->others_n, (unsigned)loop->clients_n - loop->admins_n);
	atomic_store_explicit(&w->turns,
	    atomic_load_explicit(&w->turns, memory_order_relaxed) + 1,
	    memory_order_relaxed);
	look_at_orders(w);
}

static void *
worker_main(void *arg)
{
	struct worker *w = arg;

	pthread_setname_np(pthread_self(), "worker");
	stats_attach();
	w->start_rc = open_base(w);
	if (w->start_rc == 0)
		w->start_rc = open_loop(w);
	if (w->start_rc < 0)
		atomic_store(&w->done, true);
	sem_post(&w->started);
	while (!atomic_load(&w->done))
		turn(w);
	mailbox_receive(&w->loop.mailbox, &w->loop, true);
	return NULL;
}

int
worker_start(const struct conf *conf, struct dbs *dbs,
    struct worker **ret_worker, struct failure *f)
{
	struct worker *w = calloc(1, sizeof(*w));

	if (!w)
		return failure_set(f, ERR_NO_MEMORY, "out of memory");
	w->loop.conf = conf;
	w->loop.dbs = dbs;
	w->loop.read = collect_read;
	w->due_us = INT64_MAX;
	patience_init(&w->for_request, conf->poll_time_us);
	patience_init(&w->for_answer, conf->poll_time_us * ANSWER_LOOKS);
	w->start_failure = f;
	sem_init(&w->started, 0, 0);
	pthread_mutex_init(&w->lock, NULL);
	w->newcomers_end = &w->newcomers;
	if (mailbox_open(&w->loop.mailbox) < 0 ||
	    pthread_create(&w->thread, NULL, worker_main, w)) {
		mailbox_close(&w->loop.mailbox);
		free(w);
		return failure_set(f, ERR_NO_MEMORY, "cannot start a thread");
	}
	while (sem_wait(&w->started) < 0)
		assert(errno == EINTR);
	if (w->start_rc < 0) {
		int rc = w->start_rc;

		if (f->code == 0)
			failure_set(f, -rc, "out of memory");
		worker_join(w);
		worker_free(w);
		return rc;
	}
	*ret_worker = w;
	return 0;
}

void
worker_give(struct worker *w, const struct peer *peer)
{
	struct newcomer *n = malloc(sizeof(*n));

	if (!n) {
		struct peer gone = *peer;

		close(gone.fd);
		peer_fini(&gone);
		return;
	}
	atomic_fetch_add(&w->clients_n, 1);
	pthread_mutex_lock(&w->lock);
	*n = (struct newcomer){ NULL, *peer };
	*w->newcomers_end = n;
	w->newcomers_end = &n->next;
	w->newcomers_n++;
	pthread_mutex_unlock(&w->lock);
	mailbox_wake(&w->loop.mailbox);
}

bool
worker_is_crowded(struct worker *w)
{
	bool crowded;

	pthread_mutex_lock(&w->lock);
	crowded = w->newcomers_n >= NEWCOMERS_MAX;
	pthread_mutex_unlock(&w->lock);
	return crowded;
}

unsigned
worker_get_clients_n(const struct worker *w)
{
	return atomic_load(&w->clients_n);
}

struct mailbox *
worker_get_mailbox(struct worker *w)
{
	return &w->loop.mailbox;
}

void
worker_meet(
    struct worker *w, struct mailbox *const *peers, unsigned n, unsigned number)
{
	w->loop.peers = peers;
	w->loop.peers_n = n;
	w->loop.number = number;
	w->loop.began_us = clock_now_us();
}

unsigned
worker_get_others_n(const struct worker *w)
{
	return atomic_load(&w->others_n);
}

void
worker_end_admins(struct worker *w)
{
	atomic_store(&w->ends_admins, true);
	mailbox_wake(&w->loop.mailbox);
}

void
worker_drain(struct worker *w)
{
	atomic_store(&w->drains, true);
	mailbox_wake(&w->loop.mailbox);
}

void
worker_refuse(struct worker *w)
{
	atomic_store(&w->refuses, true);
	mailbox_wake(&w->loop.mailbox);
}

void
worker_close_clients(struct worker *w)
{
	atomic_store(&w->closes, true);
	mailbox_wake(&w->loop.mailbox);
}

uint64_t
worker_poke(struct worker *w)
{
	mailbox_wake(&w->loop.mailbox);
	return atomic_load_explicit(&w->turns, memory_order_relaxed);
}

void
worker_dump(struct worker *w)
{
	atomic_store(&w->dumps, true);
	mailbox_wake(&w->loop.mailbox);
}

void
worker_preload(struct worker *w)
{
	atomic_store(&w->preloads, true);
	mailbox_wake(&w->loop.mailbox);
}

bool
worker_is_done(const struct worker *w)
{
	return atomic_load(&w->done);
}

void
worker_join(struct worker *w)
{
	pthread_join(w->thread, NULL);
}

void
worker_free(struct worker *w)
{
	struct loop *loop;

	if (!w)
		return;
	loop = &w->loop;
	hots_close_all(loop);
	free(loop->arena);
	out_pool_fini(&loop->pool);
	deadlines_fini(&loop->deadlines);
	request_pool_fini(&loop->requests);
	if (w->bell)
		event_free(w->bell);
	if (w->timer)
		event_free(w->timer);
	if (w->due)
		event_free(w->due);
	if (loop->base)
		event_base_free(loop->base);
	mailbox_close(&loop->mailbox);
	pthread_mutex_destroy(&w->lock);
	sem_destroy(&w->started);
	free(w);
}
