/* mix.c - the kinds of operations, and a mix of them. */
#include "client/bench/mix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/bench/keys.h"

#define WEIGHT_MAX 10000

static const char *const names[BENCH_KINDS_N] = {
	[BENCH_READ] = "read",
	[BENCH_RANGE] = "range",
	[BENCH_WRITE] = "write",
	[BENCH_RMW] = "rmw",
	[BENCH_TPCB] = "tpcb",
	[BENCH_LARGE] = "large",
	[BENCH_BULK] = "bulk",
	[BENCH_SQL] = "sql",
	[BENCH_PING] = "ping",
};

const char *
mix_get_name(enum bench_kind kind)
{
	return names[kind];
}

static int
find_kind(const char *name, size_t n)
{
	for (int i = 0; i < BENCH_KINDS_N; i++)
		if (strlen(names[i]) == n && strncmp(names[i], name, n) == 0)
			return i;
	return -1;
}

static int
refuse(char *why, size_t why_n, const char *at, size_t n)
{
	int used = snprintf(why, why_n, "\"%.*s\" is none of", (int)n, at);

	for (int i = 0; i < BENCH_KINDS_N && used > 0 && (size_t)used < why_n;
	     i++)
		used += snprintf(
		    why + used, why_n - (size_t)used, " %s", names[i]);
	if (used > 0 && (size_t)used < why_n)
		snprintf(why + used, why_n - (size_t)used, " mixed");
	return -1;
}

/* One NAME or NAME=WEIGHT of n bytes. */
static int
parse_part(const char *at, size_t n, unsigned weight[BENCH_KINDS_N], char *why,
    size_t why_n)
{
	const char *equals = memchr(at, '=', n);
	size_t name_n = equals ? (size_t)(equals - at) : n;
	int kind = find_kind(at, name_n);
	unsigned long w = 1;

	if (kind < 0)
		return refuse(why, why_n, at, name_n);
	if (equals) {
		char *end;

		w = strtoul(equals + 1, &end, 10);
		if (end != at + n || end == equals + 1 || equals[1] == '-' ||
		    equals[1] == '+' || w > WEIGHT_MAX) {
			snprintf(why, why_n,
			    "\"%.*s\": a weight is a number from 0 to %d",
			    (int)n, at, WEIGHT_MAX);
			return -1;
		}
	}
	weight[kind] = (unsigned)w;
	return 0;
}

int
mix_parse(
    const char *text, unsigned weight[BENCH_KINDS_N], char *why, size_t why_n)
{
	const char *at = strcmp(text, "mixed") ? text : "read=90,write=10";
	unsigned total = 0;

	memset(weight, 0, BENCH_KINDS_N * sizeof(*weight));
	for (;;) {
		size_t n = strcspn(at, ",");

		if (parse_part(at, n, weight, why, why_n) < 0)
			return -1;
		if (!at[n])
			break;
		at += n + 1;
	}
	for (int i = 0; i < BENCH_KINDS_N; i++)
		total += weight[i];
	if (total > 0)
		return 0;
	snprintf(why, why_n, "all weights are 0");
	return -1;
}

unsigned
mix_get_kinds(const struct bench_plan *plan)
{
	unsigned kinds = 0;

	for (unsigned i = 0; i < BENCH_KINDS_N; i++)
		if (plan->weight[i])
			kinds |= 1U << i;
	return kinds;
}

bool
bench_has(const struct bench_plan *plan, enum bench_kind kind)
{
	return plan->weight[kind] > 0;
}

enum bench_kind
mix_choose(const struct bench_plan *plan, uint64_t random)
{
	unsigned total = 0, kind = 0;
	uint64_t at;

	for (unsigned i = 0; i < BENCH_KINDS_N; i++)
		total += plan->weight[i];
	at = keys_below(random, total);
	while (at >= plan->weight[kind])
		at -= plan->weight[kind++];
	return (enum bench_kind)kind;
}

uint64_t
mix_get_rows(const struct bench_plan *plan, enum bench_kind kind)
{
	switch (kind) {
	case BENCH_READ:
	case BENCH_WRITE:
	case BENCH_RMW:
	case BENCH_TPCB:
		return 1;
	case BENCH_RANGE:
		return plan->range_n;
	case BENCH_LARGE:
		return plan->large_n;
	case BENCH_BULK:
		return plan->bulk_n;
	case BENCH_SQL:
	case BENCH_PING:
	case BENCH_KINDS_N:
		break;
	}
	return 0;
}
