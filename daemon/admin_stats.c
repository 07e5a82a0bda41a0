/* admin_stats.c - commands that show what was counted. */
#include "daemon/admin_impl.h"
#include <string.h>

#include "daemon/metrics.h"
#include "daemon/rates.h"
#include "daemon/stats.h"
#include "proto/error.h"
#include "proto/value.h"

static void
put_stat(struct admin *ad, const char *name, uint64_t v, const char *database)
{
	admin_put_row(ad);
	admin_put_str(ad, name);
	admin_put_uint(ad, v);
	admin_put_str(ad, database);
}

static void
put_own_stat(struct admin *ad, enum stats_id which)
{
	put_stat(ad, stats_get_name(which), stats_get(which), NULL);
	if (stats_is_max(which))
		admin_put_null(ad);
	else
		admin_put_real(ad, rates_get(which));
	admin_put_str(ad, stats_get_text(which));
}

static void
put_db_stats(struct admin *ad, const struct stats_db *db)
{
	struct stats_total total = { 0 };

	stats_add_total(db, &total);
	for (int i = 0; i < DB_STAT_N; i++) {
		enum stats_db_id which = (enum stats_db_id)i;

		put_stat(ad, stats_get_db_stat_name(which), total.counts[i],
		    stats_get_db_name(db));
		admin_put_null(ad);
		admin_put_str(ad, stats_get_db_stat_text(which));
	}
}

static void
show_stats(struct admin *ad)
{
	for (int i = 0; i < STAT_N; i++)
		put_own_stat(ad, (enum stats_id)i);
	for (struct stats_db *db = stats_next_db(NULL); db;
	     db = stats_next_db(db))
		put_db_stats(ad, db);
}

static void
put_hist(struct admin *ad, const struct stats_db *db, enum stats_hist_id which,
    enum stats_road road, const struct stats_sum *sum)
{
	uint64_t n = stats_get_observed(sum);

	if (n == 0)
		return;
	admin_put_row(ad);
	admin_put_str(ad, stats_get_db_name(db));
	admin_put_str(ad, stats_get_hist_name(which));
	admin_put_str(
	    ad, stats_is_by_road(which) ? stats_get_road_name(road) : NULL);
	admin_put_uint(ad, n);
	admin_put_real(ad, (double)sum->sum / (double)n);
	admin_put_uint(ad, stats_get_quantile(which, sum, 0.5));
	admin_put_uint(ad, stats_get_quantile(which, sum, 0.99));
	admin_put_uint(ad, stats_get_quantile(which, sum, 0.999));
}

static void
put_hists(struct admin *ad, const struct stats_db *db)
{
	struct stats_total total = { 0 };

	stats_add_total(db, &total);
	for (int i = 0; i < HIST_N; i++)
		for (int road = 0; road < STATS_ROADS_N; road++)
			put_hist(ad, db, (enum stats_hist_id)i,
			    (enum stats_road)road, &total.hists[i][road]);
}

static void
show_latency(struct admin *ad)
{
	for (struct stats_db *db = stats_next_db(NULL); db;
	     db = stats_next_db(db))
		put_hists(ad, db);
}

/* Empty buckets are left out. */
static void
put_buckets(struct admin *ad, const struct stats_db *db,
    enum stats_hist_id which, enum stats_road road, const struct stats_sum *sum)
{
	for (int i = 0; i <= STATS_BOUNDS_N; i++) {
		if (sum->n[i] == 0)
			continue;
		admin_put_row(ad);
		admin_put_str(ad, stats_get_db_name(db));
		admin_put_str(ad, stats_get_hist_name(which));
		admin_put_str(ad,
		    stats_is_by_road(which) ? stats_get_road_name(road) : NULL);
		if (i < STATS_BOUNDS_N)
			admin_put_uint(ad, stats_bounds[which][i]);
		else
			admin_put_null(ad);
		admin_put_uint(ad, sum->n[i]);
	}
}

static void
put_all_buckets(struct admin *ad, const struct stats_db *db)
{
	struct stats_total total = { 0 };

	stats_add_total(db, &total);
	for (int i = 0; i < HIST_N; i++)
		for (int road = 0; road < STATS_ROADS_N; road++)
			put_buckets(ad, db, (enum stats_hist_id)i,
			    (enum stats_road)road, &total.hists[i][road]);
}

static void
show_buckets(struct admin *ad)
{
	for (struct stats_db *db = stats_next_db(NULL); db;
	     db = stats_next_db(db))
		put_all_buckets(ad, db);
}

/* Errors that nobody had are left out. */
static void
show_errors(struct admin *ad)
{
	for (size_t i = 0; i < ERROR_INDEX_N; i++) {
		uint64_t n = stats_get_error(i);
		int code = error_get_code(i);

		if (n == 0)
			continue;
		admin_put_row(ad);
		admin_put_uint(ad, (uint64_t)code);
		admin_put_str(ad, error_get_name(code));
		admin_put_str(
		    ad, error_get_class_name((uint64_t)error_get_class(code)));
		admin_put_uint(ad, n);
	}
}

/* A row for each line of the page. */
static void
show_metrics(struct admin *ad)
{
	const char *line, *end;
	struct buf page;

	buf_init(&page);
	metrics_put(ad->home->dbs, &page);
	if (buf_failed(&page))
		failure_set(&ad->r->failure, ERR_NO_MEMORY, "out of memory");
	line = (const char *)page.p;
	while (!buf_failed(&page) && line < (const char *)page.p + page.n) {
		end = memchr(line, '\n',
		    page.n -
			(size_t)(line -
			    (const char *)page.p)); /* each line has one */
		admin_put_row(ad);
		value_put_text(&ad->rows, line, (size_t)(end - line));
		line = end + 1;
	}
	buf_fini(&page);
}

/* clang-format off */
const struct admin_command admin_stats_commands[] = {
	{ .words = "SHOW STATS",
	  .columns = { "name", "value", "database", "per_second", "text" },
	  .run = show_stats,
	  .text = "counters since the start, and what they grew by in each of the last seconds, a minute at most: of the daemon, then of each database" },
	{ .words = "SHOW LATENCY",
	  .columns = { "database", "what", "road", "n", "mean", "p50", "p99", "p999" },
	  .run = show_latency,
	  .text = "how long requests waited and ran, in microseconds, and how many shared" },
	{ .words = "SHOW BUCKETS",
	  .columns = { "database", "what", "road", "most", "n" },
	  .run = show_buckets,
	  .text = "what SHOW LATENCY is made of: how many there were up to each bound; NULL: above all" },
	{ .words = "SHOW ERRORS",
	  .columns = { "code", "name", "class", "n" },
	  .run = show_errors,
	  .text = "replies with an error since the start, by code" },
	{ .words = "SHOW METRICS", .columns = { "line" },
	  .run = show_metrics,
	  .text = "the page for Prometheus, line by line; sqlpool-metrics(7)" },
	{ .words = NULL },
};
/* clang-format on */
