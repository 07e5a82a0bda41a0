/* admin_costs.c - commands that show what statements cost. */
#include "daemon/admin_impl.h"

#include <stdlib.h>
#include <time.h>

#include "daemon/hots.h"
#include "daemon/slow.h"
#include "daemon/stats.h"
#include "daemon/tally.h"
#include "proto/error.h"

/* Of statements and of slow ones this is the most that is kept. */
#define SQL_BYTES_MAX 1000

/* --- SHOW STATEMENTS ------------------------------------------------------------ */

/* Its own connections' steps are counted nowhere else yet. */
static void
visit_statements(struct admin *ad, struct loop *loop)
{
	(void)ad;
	hots_note_steps(loop);
}

static void
put_sum(struct admin *ad, const char *database, const struct tally_sum *sum)
{
	uint64_t calls = tally_get_calls(sum);
	double us = (double)sum->counts[TALLY_US];

	admin_put_row(ad);
	admin_put_str(ad, database);
	admin_put_uint(ad, calls);
	admin_put_real(ad, us / 1000);
	admin_put_real(ad, calls ? us / (double)calls : 0);
	admin_put_uint(ad, tally_get_quantile(sum, 0.99));
	admin_put_uint(ad, sum->counts[TALLY_ROWS]);
	admin_put_uint(ad, sum->counts[TALLY_VM_STEPS]);
	admin_put_uint(ad, sum->counts[TALLY_SCAN_STEPS]);
	admin_put_uint(ad, sum->counts[TALLY_ERRORS]);
}

static int
compare(const void *a, const void *b)
{
	uint64_t x = ((const struct tally_row *)a)->sum.counts[TALLY_US];
	uint64_t y = ((const struct tally_row *)b)->sum.counts[TALLY_US];

	return (x < y) - (x > y);
}

static void
put_top(struct admin *ad, struct tally_top *top)
{
	qsort(top->rows, top->n, sizeof(top->rows[0]), compare);
	for (size_t i = 0; i < top->n; i++) {
		const struct tally_row *row = &top->rows[i];

		put_sum(ad, row->database, &row->sum);
		admin_put_sql(ad,
		    (struct span){ (const uint8_t *)row->sql, row->sql_n },
		    SQL_BYTES_MAX);
	}
	/* the last row is of all others, if there are any */
	if (tally_get_calls(&top->rest) > 0) {
		put_sum(ad, NULL, &top->rest);
		admin_put_null(ad);
	}
}

static void
end_statements(struct admin *ad)
{
	struct tally_top *top = calloc(1, sizeof(*top));

	if (!top) {
		failure_set(&ad->r->failure, ERR_NO_MEMORY, "out of memory");
		return;
	}
	for (struct stats_db *db = stats_next_db(NULL); db;
	     db = stats_next_db(db))
		tallies_take_top(
		    stats_get_db_tallies(db), stats_get_db_name(db), top);
	put_top(ad, top);
	free(top);
}

/* --- SHOW SLOW ----------------------------------------------------------------- */

static const char *
get_why(const struct slow *s)
{
	static const char *const whys[] = {
		NULL,
		"scan",
		"sort",
		"scan, sort",
		"automatic index",
		"scan, automatic index",
		"sort, automatic index",
		"scan, sort, automatic index",
	};

	return whys[(s->scan_steps ? 1 : 0) + (s->sorts ? 2 : 0) +
	    (s->index_rows ? 4 : 0)];
}

static void
put_slow(struct admin *ad, const struct slow *s)
{
	time_t ended = (time_t)(s->ended_us / 1000000);
	char text[32] = "";
	struct tm tm;

	if (gmtime_r(&ended, &tm))
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	admin_put_row(ad);
	admin_put_uint(ad, s->number);
	admin_put_str(ad, text);
	admin_put_str(ad, s->database);
	admin_put_uint(ad, (uint64_t)s->run_us / 1000);
	admin_put_str(ad, get_why(s));
	admin_put_uint(ad, s->scan_steps);
	admin_put_uint(ad, s->sorts);
	admin_put_uint(ad, s->index_rows);
	admin_put_uint(ad, s->vm_steps);
	admin_put_uint(ad, (uint64_t)s->owner.pid);
	admin_put_uint(ad, (uint64_t)s->owner.uid);
	admin_put_str(ad, s->owner.app);
	admin_put_sql(ad, (struct span){ (const uint8_t *)s->sql, s->sql_n },
	    SQL_BYTES_MAX);
}

static void
show_slow(struct admin *ad)
{
	struct slow *list = calloc(SLOW_KEPT_MAX, sizeof(*list));
	size_t n;

	if (!list) {
		failure_set(&ad->r->failure, ERR_NO_MEMORY, "out of memory");
		return;
	}
	n = slow_list(list);
	for (size_t i = 0; i < n; i++)
		put_slow(ad, &list[i]);
	free(list);
}

/* clang-format off */
const struct admin_command admin_costs_commands[] = {
	{ .words = "SHOW STATEMENTS",
	  .columns = { "database", "calls", "total_ms", "mean_us", "p99_us", "rows",
	               "vm_steps", "scan_steps", "errors", "statement" },
	  .visit = visit_statements, .end = end_statements,
	  .text = "statements that took the most time since the start, and in the last row all others together" },
	{ .words = "SHOW SLOW",
	  .columns = { "number", "ended", "database", "ms", "why", "scan_steps",
	               "sorts", "automatic_index_rows", "vm_steps", "pid", "uid",
	               "application", "statement" },
	  .run = show_slow,
	  .text = "the last statements that ran for longer than slow_statement, and why they were slow; the last one first" },
	{ .words = NULL },
};
/* clang-format on */
