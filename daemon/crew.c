/* crew.c - threads that run serial queues. */
#include "daemon/crew.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/stats.h"
#include "proto/error.h"

struct crew {
	pthread_mutex_t lock;
	pthread_cond_t work;
	pthread_cond_t rested;      /* a queue that somebody ends has run */
	unsigned enders_n;          /* who wait for that */
	struct squeue *head, *tail; /* READY ones, first come first run */
	bool stopping;
	unsigned n;
	int nice;
	char name[12];
	pthread_t threads[];
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

static struct squeue *
take_ready(struct crew *c)
{
	struct squeue *q = c->head;

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

static void *
crew_main(void *arg)
{
	struct crew *c = arg;

	pthread_setname_np(pthread_self(), c->name);
	/* Linux: of the thread, setpriority(2) "C library/kernel
	 * differences"; it never fails for less of a priority */
	if (c->nice > 0)
		setpriority(PRIO_PROCESS, (id_t)gettid(), c->nice);
	stats_attach();
	pthread_mutex_lock(&c->lock);
	for (;;) {
		struct squeue *q;

		while (!c->head && !c->stopping)
			pthread_cond_wait(&c->work, &c->lock);
		if (!c->head)
			break;
		q = take_ready(c);
		pthread_mutex_unlock(&c->lock);
		q->run(q);
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

int
crew_start(const char *name, unsigned n, int nice, struct crew **ret_crew)
{
	struct crew *c = calloc(1, sizeof(*c) + n * sizeof(c->threads[0]));

	if (!c)
		return -ERR_NO_MEMORY;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->work, NULL);
	pthread_cond_init(&c->rested, NULL);
	snprintf(c->name, sizeof(c->name), "%s", name);
	c->nice = nice;
	for (c->n = 0; c->n < n; c->n++) {
		if (pthread_create(&c->threads[c->n], NULL, crew_main, c)) {
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
	pthread_cond_broadcast(&c->work);
	pthread_mutex_unlock(&c->lock);
	for (unsigned i = 0; i < c->n; i++)
		pthread_join(c->threads[i], NULL);
	c->n = 0;
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
	bool wake = false;

	pthread_mutex_lock(&c->lock);
	if (q->state == SQUEUE_IDLE) {
		push_ready(c, q);
		wake = true;
	} else if (q->state == SQUEUE_RUNNING) {
		q->state = SQUEUE_AGAIN;
	}
	pthread_mutex_unlock(&c->lock);
	if (wake)
		pthread_cond_signal(&c->work);
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
	q->state = SQUEUE_ENDED;
	pthread_mutex_unlock(&c->lock);
}
