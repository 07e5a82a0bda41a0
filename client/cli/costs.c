/* costs.c - what statements cost, as @admin says, and what of that was new. */
#include "client/cli/costs.h"

#include <stdlib.h>
#include <string.h>

static const struct cost *
find(const struct costs *c, const struct cost *like)
{
	for (size_t i = 0; i < c->before_n; i++)
		if (strcmp(c->before[i].statement, like->statement) == 0 &&
		    strcmp(c->before[i].database, like->database) == 0)
			return &c->before[i];
	return NULL;
}

/* What is not among the first hundred any more, or again, has no rate. */
static void
compare_with_before(const struct costs *c, struct cost *cost)
{
	const struct cost *before = find(c, cost);
	double s = (double)(c->at_us - c->before_us) / 1e6;

	if (!before || before->calls > cost->calls || s <= 0)
		return;
	cost->calls_rate = (double)(cost->calls - before->calls) / s;
	cost->ms_rate = (cost->total_ms - before->total_ms) / s;
}

static void
take_row(void *arg, struct sqlpool_result *row)
{
	struct costs *c = arg;
	struct cost *list, *cost;

	list = reallocarray(c->list, c->n + 1, sizeof(*list));
	if (!list)
		return;
	c->list = list;
	cost = &list[c->n++];
	*cost = (struct cost){
		.calls = view_get_int(row, "calls"),
		.errors = view_get_int(row, "errors"),
		.p99_us = view_get_int(row, "p99_us"),
		.total_ms = view_get_real(row, "total_ms"),
	};
	view_get_text(row, "database", cost->database, sizeof(cost->database));
	view_get_text(
	    row, "statement", cost->statement, sizeof(cost->statement));
	if (!cost->database[0]) /* all others together */
		snprintf(cost->statement, sizeof(cost->statement), "(others)");
}

int
costs_read(struct costs *c, struct sqlpool_conn *conn, int64_t now_us)
{
	int rc;

	free(c->before);
	c->before = c->list;
	c->before_n = c->n;
	c->before_us = c->at_us;
	c->list = NULL;
	c->n = 0;
	c->at_us = now_us;
	rc = view_ask(conn, "SHOW STATEMENTS", take_row, c);
	for (size_t i = 0; i < c->n && c->before_us; i++)
		compare_with_before(c, &c->list[i]);
	return rc;
}

void
costs_fini(struct costs *c)
{
	free(c->list);
	free(c->before);
}

static int
compare_reals(double a, double b)
{
	return (a < b) - (a > b);
}

/* Those that are the same now: by what they took since the start. */
static int
compare_times(const void *a, const void *b)
{
	const struct cost *x = a, *y = b;
	int rc = compare_reals(x->ms_rate, y->ms_rate);

	return rc ? rc : compare_reals(x->total_ms, y->total_ms);
}

static int
compare_calls(const void *a, const void *b)
{
	const struct cost *x = a, *y = b;
	int rc = compare_reals(x->calls_rate, y->calls_rate);

	return rc ? rc : compare_reals((double)x->calls, (double)y->calls);
}

static int
compare_errors(const void *a, const void *b)
{
	const struct cost *x = a, *y = b;
	int rc = compare_reals((double)x->errors, (double)y->errors);

	return rc ? rc : compare_times(a, b);
}

static int (*const compares[COSTS_SORTINGS_N])(const void *, const void *) = {
	[COSTS_BY_TIME] = compare_times,
	[COSTS_BY_CALLS] = compare_calls,
	[COSTS_BY_ERRORS] = compare_errors,
};

void
costs_put(struct costs *c, const struct screen *screen,
    enum costs_sorting sorting, size_t rows)
{
	if (c->n > 0)
		qsort(c->list, c->n, sizeof(*c->list), compares[sorting]);
	screen_put_line(screen, true, "%9s %8s %9s %9s %7s %-9s %s", "CALLS/S",
	    "MS/S", "MEAN", "P99", "ERRORS", "DATABASE", "STATEMENT");
	for (size_t i = 0; i < rows; i++) {
		const struct cost *cost = &c->list[i];

		if (i >= c->n) {
			screen_put_line(screen, false, "%s", "");
			continue;
		}
		screen_put_line(screen, false,
		    "%9.0f %8.1f %7.2fms %7.2fms %7lld %-9.9s %s",
		    cost->calls_rate, cost->ms_rate,
		    cost->calls ? cost->total_ms / (double)cost->calls : 0,
		    (double)cost->p99_us / 1000, (long long)cost->errors,
		    cost->database, cost->statement);
	}
}
