/* rates.c - the counters of the last minute. */
#include "daemon/rates.h"

#include <pthread.h>

/* A slow tick comes each second, or a little earlier. */
#define PERIOD_US 950000
#define SAMPLES_N 61

struct sample {
	int64_t at_us;
	uint64_t v[STAT_N];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sample samples[SAMPLES_N]; /* under lock; a ring */
static unsigned samples_n;               /* under lock: taken so far */

void
rates_tick(int64_t now_us)
{
	struct sample s = { .at_us = now_us };
	const struct sample *last;
	bool due;

	pthread_mutex_lock(&lock);
	last = &samples[(samples_n + SAMPLES_N - 1) % SAMPLES_N];
	due = samples_n == 0 || now_us - last->at_us >= PERIOD_US;
	pthread_mutex_unlock(&lock);
	if (!due)
		return;
	for (int i = 0; i < STAT_N; i++)
		s.v[i] = stats_get((enum stats_id)i);
	stats_sample_busy(now_us);
	pthread_mutex_lock(&lock);
	samples[samples_n++ % SAMPLES_N] = s;
	pthread_mutex_unlock(&lock);
}

double
rates_get(enum stats_id which)
{
	const struct sample *first, *last;
	double rate = 0;

	pthread_mutex_lock(&lock);
	if (samples_n > 1) {
		first =
		    &samples[samples_n > SAMPLES_N ? samples_n % SAMPLES_N : 0];
		last = &samples[(samples_n - 1) % SAMPLES_N];
		rate = (double)(last->v[which] - first->v[which]) * 1e6 /
		    (double)(last->at_us - first->at_us);
	}
	pthread_mutex_unlock(&lock);
	return rate;
}
