/* crew.c - threads that run serial queues. */
#include "daemon/crew.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/beat.h"
#include "daemon/clock.h"
#include "daemon/stats.h"
#include "proto/error.h"
#include "proto/patience.h"

struct crew_thread {
	struct crew *crew;
	pthread_t id;
	struct beat beat;
	struct patience patience; /* its own */
	_Atomic bool called;      /* while it looks: there is work */
};

struct crew {
	pthread_mutex_t lock;
	pthread_cond_t work;
	pthread_cond_t rested;      /* a queue that somebody ends has run */
	unsigned enders_n;          /* who wait for that */
	struct squeue *head, *tail; /* READY ones, first come first run */
	struct squeue *later;       /* those with a time, in no order */
	struct crew_thread *looker; /* who takes the next one without being
				     * woken */
	bool stopping;
	unsigned n;
	int nice;
	char name[12];
	struct crew_thread threads[];
};

static void
push_ready(struct crew *c, struct squeue *q)
{
	q->state = SQUEUE_READY;
	q->next = NULL;
	if (c->tail)
		c->tail->next = q;
	else
		c->head = q;
	c->tail = q;
}

static void
remove_later(struct crew *c, struct squeue *q)
{
	struct squeue **at = &c->later;

	if (q->due_us == 0)
		return;
	while (*at != q)
		at = &(*at)->later;
	*at = q->later;
	q->due_us = 0;
}

static struct squeue *
take_ready(struct crew *c)
{
	struct squeue *q = c->head;

	remove_later(c, q);
	c->head = q->next;
	if (!c->head)
		c->tail = NULL;
	q->state = SQUEUE_RUNNING;
	return q;
}

static void
remove_ready(struct crew *c, const struct squeue *q)
{
	struct squeue **at = &c->head, *before = NULL;

	while (*at != q) {
		before = *at;
		at = &before->next;
	}
	*at = q->next;
	if (c->tail == q)
		c->tail = before;
}

/* Call the thread that looks, which is good for one queue; false: none does. */
static bool
call_looker(struct crew *c)
{
	struct crew_thread *looker = c->looker;

	c->looker = NULL;
	if (looker)
		atomic_store_explicit(
		    &looker->called, true, memory_order_relaxed);
	return looker != NULL;
}

/* Kick it: true when a thread must be woken. */
static bool
kick(struct crew *c, struct squeue *q)
{
	if (q->state == SQUEUE_RUNNING)
		q->state = SQUEUE_AGAIN;
	if (q->state != SQUEUE_IDLE)
		return false;
	push_ready(c, q);
	return !call_looker(c);
}

/* Kick those whose time has come; gives when the next one is, INT64_MAX: there
 * is none.  All of them when the crew stops. */
static int64_t
kick_due(struct crew *c)
{
	int64_t now, next_us = INT64_MAX;
	struct squeue *q, *after;

	if (!c->later)
		return next_us;
	now = c->stopping ? INT64_MAX : clock_now_us();
	for (q = c->later; q; q = after) {
		after = q->later;
		if (q->due_us > now) {
			next_us = q->due_us < next_us ? q->due_us : next_us;
			continue;
		}
		remove_later(c, q);
		if (kick(c, q))
			pthread_cond_signal(&c->work);
	}
	return next_us;
}

static void
sleep_until(struct crew *c, int64_t at_us)
{
	struct timespec at = {
		.tv_sec = at_us / 1000000,
		.tv_nsec = at_us % 1000000 * 1000,
	};

	if (at_us == INT64_MAX)
		pthread_cond_wait(&c->work, &c->lock);
	else
		pthread_cond_timedwait(&c->work, &c->lock, &at);
}

/* Look for a short while before sleeping, but not beyond next_us.  One thread of a
 * crew at a time does; the lock is let go meanwhile. */
static void
look(struct crew *c, struct crew_thread *me, int64_t next_us)
{
	int64_t now = clock_now_us();
	int64_t until_us = now + patience_get_us(&me->patience);

	if (until_us == now)
		return;
	until_us = until_us < next_us ? until_us : next_us;
	atomic_store(&me->called, false);
	c->looker = me;
	pthread_mutex_unlock(&c->lock);
	if (patience_asks(&me->patience, now))
		patience_ask_core(&me->patience, now);
	while (!atomic_load_explicit(&me->called, memory_order_relaxed) &&
	    now < until_us)
		now = clock_now_us();
	pthread_mutex_lock(&c->lock);
	if (c->looker == me)
		c->looker = NULL;
}

/* Nothing is ready afterwards when the crew stops. */
static void
wait_for_work(struct crew *c, struct crew_thread *me)
{
	bool looks = me->patience.bound_us > 0 && !c->looker;
	int64_t next_us = kick_due(c);
	int64_t began_us;

	if (c->head || c->stopping)
		return;
	began_us = clock_now_us();
	if (looks) {
		look(c, me, next_us);
		next_us = kick_due(c);
	}
	while (!c->head && !c->stopping) {
		sleep_until(c, next_us);
		next_us = kick_due(c);
	}
	if (looks)
		patience_note(&me->patience, clock_now_us() - began_us);
}

static void *
crew_main(void *arg)
{
	struct crew_thread *me = arg;
	struct crew *c = me->crew;

	pthread_setname_np(pthread_self(), c->name);
	/* Linux: of the thread, setpriority(2) "C library/kernel
	 * differences"; it never fails for less of a priority */
	if (c->nice > 0)
		setpriority(PRIO_PROCESS, (id_t)gettid(), c->nice);
	stats_attach();
	beat_attach(&me->beat);
	pthread_mutex_lock(&c->lock);
	for (;;) {
		struct squeue *q;

		wait_for_work(c, me);
		if (!c->head)
			break;
		q = take_ready(c);
		pthread_mutex_unlock(&c->lock);
		beat_set_busy(&me->beat, true);
		q->run(q);
		beat_set_busy(&me->beat, false);
		pthread_mutex_lock(&c->lock);
		if (q->state == SQUEUE_AGAIN)
			push_ready(c, q);
		else
			q->state = SQUEUE_IDLE;
		if (c->enders_n)
			pthread_cond_broadcast(&c->rested);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

static void
init_clock(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

int
crew_start(const char *name, unsigned n, int nice, int64_t poll_time_us,
    struct crew **ret_crew)
{
	struct crew *c = calloc(1, sizeof(*c) + n * sizeof(c->threads[0]));

	if (!c)
		return -ERR_NO_MEMORY;
	pthread_mutex_init(&c->lock, NULL);
	init_clock(&c->work);
	pthread_cond_init(&c->rested, NULL);
	snprintf(c->name, sizeof(c->name), "%s", name);
	c->nice = nice;
	for (c->n = 0; c->n < n; c->n++) {
		struct crew_thread *t = &c->threads[c->n];

		t->crew = c;
		patience_init(&t->patience, poll_time_us);
		if (pthread_create(&t->id, NULL, crew_main, t)) {
			crew_stop(c);
			crew_free(c);
			return -ERR_NO_MEMORY;
		}
	}
	*ret_crew = c;
	return 0;
}

void
crew_stop(struct crew *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->stopping = true;
	call_looker(c);
	pthread_cond_broadcast(&c->work);
	pthread_mutex_unlock(&c->lock);
	for (unsigned i = 0; i < c->n; i++)
		pthread_join(c->threads[i].id, NULL);
	c->n = 0;
}

unsigned
crew_count_hung(struct crew *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->n; i++)
		n += beat_has_hung(&c->threads[i].beat, c->threads[i].id);
	return n;
}

void
crew_free(struct crew *c)
{
	if (!c)
		return;
	pthread_cond_destroy(&c->rested);
	pthread_cond_destroy(&c->work);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

void
squeue_init(struct squeue *q, struct crew *crew, void (*run)(struct squeue *q))
{
	*q = (struct squeue){ .crew = crew, .run = run };
}

void
squeue_kick(struct squeue *q)
{
	struct crew *c = q->crew;
	bool wake;

	pthread_mutex_lock(&c->lock);
	wake = kick(c, q);
	pthread_mutex_unlock(&c->lock);
	if (wake)
		pthread_cond_signal(&c->work);
}

/* All threads look: the one that would wait so long may be given other work. */
void
squeue_kick_at(struct squeue *q, int64_t at_us)
{
	struct crew *c = q->crew;

	pthread_mutex_lock(&c->lock);
	if (q->due_us == 0 && !c->stopping && q->state != SQUEUE_ENDED) {
		q->later = c->later;
		c->later = q;
		q->due_us = at_us;
	} else if (at_us < q->due_us) {
		q->due_us = at_us;
	}
	call_looker(c);
	pthread_mutex_unlock(&c->lock);
	pthread_cond_broadcast(&c->work);
}

void
squeue_end(struct squeue *q)
{
	struct crew *c = q->crew;

	pthread_mutex_lock(&c->lock);
	c->enders_n++;
	while (q->state == SQUEUE_RUNNING || q->state == SQUEUE_AGAIN)
		pthread_cond_wait(&c->rested, &c->lock);
	c->enders_n--;
	if (q->state == SQUEUE_READY)
		remove_ready(c, q);
	remove_later(c, q);
	q->state = SQUEUE_ENDED;
	pthread_mutex_unlock(&c->lock);
}
