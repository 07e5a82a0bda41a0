/* beat.c - signs of life. */
#include "daemon/beat.h"

#include <time.h>

static _Thread_local struct beat *mine;

void
beat_attach(struct beat *beat)
{
	mine = beat;
}

/* Only this thread writes it. */
static void
count(struct beat *beat)
{
	atomic_store_explicit(&beat->n,
	    atomic_load_explicit(&beat->n, memory_order_relaxed) + 1,
	    memory_order_relaxed);
}

void
beat_now(void)
{
	if (mine)
		count(mine);
}

void
beat_set_busy(struct beat *beat, bool busy)
{
	count(beat);
	atomic_store_explicit(&beat->busy, busy, memory_order_relaxed);
}

/* pthread_getcpuclockid(3) */
static int64_t
get_cpu_ns(pthread_t thread)
{
	struct timespec ts = { 0 };
	clockid_t clock;

	if (pthread_getcpuclockid(thread, &clock) != 0 ||
	    clock_gettime(clock, &ts) < 0)
		return 0;
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

bool
beat_has_hung(struct beat *beat, pthread_t thread)
{
	uint64_t n = atomic_load_explicit(&beat->n, memory_order_relaxed);
	bool busy = atomic_load_explicit(&beat->busy, memory_order_relaxed);
	int64_t cpu_ns = get_cpu_ns(thread);
	bool hung = busy && n == beat->seen_n && cpu_ns == beat->seen_cpu_ns;

	beat->seen_n = n;
	beat->seen_cpu_ns = cpu_ns;
	return hung;
}
