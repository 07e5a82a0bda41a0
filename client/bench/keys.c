/* keys.c - which row comes next. */
#include "client/bench/keys.h"

#include <math.h>

/* gcc has these on all 64-bit machines; ISO C does not know them. */
__extension__ typedef unsigned __int128 uint128;

/* An odd number near 2^64 divided by the golden ratio: the step of splitmix64
 * (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). */
#define STEP UINT64_C(0x9e3779b97f4a7c15)
/* A prime greater than any number of rows: multiplying by it, modulo that
 * number, gives each rank a key of its own. */
#define SPREAD UINT64_C(0x7fffffffffffffe7)

uint64_t
keys_mix(uint64_t random)
{
	uint64_t z = random;

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t
keys_random(struct keys *keys)
{
	keys->state += STEP;
	return keys_mix(keys->state);
}

uint64_t
keys_below(uint64_t random, uint64_t n)
{
	return (uint64_t)((uint128)random * n >> 64);
}

static double
random_fraction(struct keys *keys)
{
	return (double)(keys_random(keys) >> 11) * 0x1p-53;
}

/* ---- Zipf ----
 *
 * Rejection-inversion (Hoermann, Derflinger: Rejection-inversion to generate
 * variates from monotone discrete distributions, 1996): a number is drawn from
 * the area under x^-s, which has an inverse, and rounded; nearly always that is
 * the rank.  Constant time and no table, for any number of rows. */

/* The area under x^-s from 1 to x. */
static double
area(const struct keys *keys, double x)
{
	double a = 1 - keys->s;

	return fabs(a) < 1e-9 ? log(x) : (pow(x, a) - 1) / a;
}

static double
inverse_area(const struct keys *keys, double y)
{
	double a = 1 - keys->s;

	return fabs(a) < 1e-9 ? exp(y) : pow(1 + y * a, 1 / a);
}

static void
init_zipf(struct keys *keys)
{
	keys->h_first = area(keys, 1.5) - 1;
	keys->h_last = area(keys, (double)keys->n + 0.5);
	keys->shortcut = 2 -
	    inverse_area(keys, area(keys, 2.5) - pow(2, -keys->s));
}

/* The rank from 1 to n; 1 is the one drawn most often. */
static uint64_t
draw_zipf(struct keys *keys)
{
	for (;;) {
		double u = keys->h_last +
		    random_fraction(keys) * (keys->h_first - keys->h_last);
		double x = inverse_area(keys, u);
		double k = floor(x + 0.5);

		if (k < 1)
			k = 1;
		else if (k > (double)keys->n)
			k = (double)keys->n;
		if (k - x <= keys->shortcut ||
		    u >= area(keys, k + 0.5) - pow(k, -keys->s))
			return (uint64_t)k;
	}
}

/* ---- all of them ---- */

void
keys_init(struct keys *keys, const struct bench_plan *plan, unsigned number)
{
	*keys = (struct keys){
		.state = keys_mix(plan->seed + (number + 1) * STEP),
		.kind = plan->keys,
		.n = plan->rows_n,
		.s = plan->zipf_s,
	};
	if (plan->keys == BENCH_OWN)
		keys->next = number % keys->n;
	else if (plan->keys == BENCH_SERIAL)
		keys->next = (uint64_t)((uint128)keys->n * number /
		    plan->clients_n);
	else if (plan->keys == BENCH_ZIPF)
		init_zipf(keys);
}

uint64_t
keys_next(struct keys *keys)
{
	uint64_t at = keys->next;

	switch (keys->kind) {
	case BENCH_UNIFORM:
		at = keys_below(keys_random(keys), keys->n);
		break;
	case BENCH_ZIPF:
		at = (uint64_t)((uint128)draw_zipf(keys) * SPREAD % keys->n);
		break;
	case BENCH_SERIAL:
		keys->next = at + 1 == keys->n ? 0 : at + 1;
		break;
	case BENCH_OWN:
		break;
	}
	return at + 1;
}

struct bench_tpcb
bench_choose_tpcb(const struct bench_plan *plan, const struct bench_op *op)
{
	struct keys keys = { .state = op->random };
	uint64_t scale = plan->scale_n;
	struct bench_tpcb t;

	t.account = (int64_t)keys_below(
			keys_random(&keys), BENCH_TPCB_ACCOUNTS * scale) +
	    1;
	t.teller = (int64_t)keys_below(
		       keys_random(&keys), BENCH_TPCB_TELLERS * scale) +
	    1;
	t.branch = (int64_t)keys_below(keys_random(&keys), scale) + 1;
	t.delta = (int64_t)keys_below(keys_random(&keys), 10001) - 5000;
	return t;
}
