/* stats.c - per-thread counters. */
#include "daemon/stats.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct stats {
	_Atomic uint64_t v[STAT_N];
	struct stats *next;
};

static _Thread_local struct stats *mine;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct stats *all; /* under lock; never removed */

static const char *const names[] = {
#define STAT(name, text) #name,
#include "daemon/stats.def"
#undef STAT
};

static const char *const texts[] = {
#define STAT(name, text) text,
#include "daemon/stats.def"
#undef STAT
};

void
stats_attach(void)
{
	if (mine)
		return;
	mine = calloc(1, sizeof(*mine));
	if (!mine)
		return;
	pthread_mutex_lock(&lock);
	mine->next = all;
	all = mine;
	pthread_mutex_unlock(&lock);
}

/* Only this thread writes its set, so load and store need not be one step. */
void
stats_add(enum stats_id which, uint64_t n)
{
	uint64_t v;

	if (!mine)
		return;
	v = atomic_load_explicit(&mine->v[which], memory_order_relaxed);
	atomic_store_explicit(&mine->v[which], v + n, memory_order_relaxed);
}

void
stats_max(enum stats_id which, uint64_t n)
{
	uint64_t v;

	if (!mine)
		return;
	v = atomic_load_explicit(&mine->v[which], memory_order_relaxed);
	if (n > v)
		atomic_store_explicit(&mine->v[which], n, memory_order_relaxed);
}

uint64_t
stats_get(enum stats_id which)
{
	bool is_max = strstr(names[which], "_max") != NULL;
	uint64_t sum = 0;

	pthread_mutex_lock(&lock);
	for (struct stats *s = all; s; s = s->next) {
		uint64_t v = atomic_load_explicit(
		    &s->v[which], memory_order_relaxed);

		if (!is_max)
			sum += v;
		else if (v > sum)
			sum = v;
	}
	pthread_mutex_unlock(&lock);
	return sum;
}

const char *
stats_get_name(enum stats_id which)
{
	return names[which];
}

const char *
stats_get_text(enum stats_id which)
{
	return texts[which];
}
