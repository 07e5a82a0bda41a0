/* metrics.c - the page for Prometheus, and sqlpool-metrics(7). */
#include "daemon/metrics.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/dbconn.h"
#include "daemon/gauges.h"
#include "daemon/stats.h"
#include "proto/error.h"

#define NAME_BYTES  64
#define LABEL_BYTES 256

/* --- Names ------------------------------------------------------------------- */

/* Prometheus wants seconds: what is counted in microseconds is divided. */
static bool
ends_in_us(enum stats_id which)
{
	return strstr(stats_get_name(which), "_us_max") != NULL;
}

static void
name_stat(enum stats_id which, char out[NAME_BYTES])
{
	const char *name = stats_get_name(which);

	if (ends_in_us(which))
		snprintf(out, NAME_BYTES, "sqlpool_%.*s_seconds_max",
		    (int)(strlen(name) - strlen("_us_max")), name);
	else
		snprintf(out, NAME_BYTES, "sqlpool_%s%s", name,
		    stats_is_max(which) ? "" : "_total");
}

static void
name_hist(enum stats_hist_id which, char out[NAME_BYTES])
{
	snprintf(out, NAME_BYTES, "sqlpool_%s%s", stats_get_hist_name(which),
	    stats_get_hist_unit(which) == STATS_SECONDS ? "_seconds" : "");
}

/* --- The page ------------------------------------------------------------------ */

static void put(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
put(struct buf *b, const char *fmt, ...)
{
	char line[1024];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (n > 0)
		buf_put(b, line,
		    (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
}

/* A backslash, a double quote and a line feed are escaped in a label. */
static void
escape(const char *text, char out[LABEL_BYTES])
{
	size_t n = 0;

	for (; *text && n + 2 < LABEL_BYTES; text++) {
		char c = *text;

		if (c == '\\' || c == '"' || c == '\n')
			out[n++] = '\\';
		if (c == '\n')
			c = 'n';
		out[n++] = c;
	}
	out[n] = '\0';
}

static void
put_head(struct buf *b, const char *name, const char *type, const char *text)
{
	put(b, "# HELP %s %s\n# TYPE %s %s\n", name, text, name, type);
}

static void
put_stats(struct buf *b)
{
	for (int i = 0; i < STAT_N; i++) {
		enum stats_id which = (enum stats_id)i;
		double v = (double)stats_get(which);
		char name[NAME_BYTES];

		name_stat(which, name);
		put_head(b, name, stats_is_max(which) ? "gauge" : "counter",
		    stats_get_text(which));
		put(b, "%s %.17g\n", name, ends_in_us(which) ? v / 1e6 : v);
	}
}

static const char errors_name[] = "sqlpool_errors_by_code_total";
static const char errors_text[] =
    "requests answered with an error, by its code";
static const char info_name[] = "sqlpool_info";
static const char info_text[] =
    "always 1; the labels say the versions of the daemon and of SQLite";

static void
put_errors(struct buf *b)
{
	put_head(b, errors_name, "counter", errors_text);
	for (size_t i = 0; i < ERROR_INDEX_N; i++) {
		uint64_t n = stats_get_error(i);
		int code = error_get_code(i);

		if (n)
			put(b,
			    "%s{code=\"%d\",name=\"%s\",class=\"%s\"} %llu\n",
			    errors_name, code, error_get_name(code),
			    error_get_class_name(
				(uint64_t)error_get_class(code)),
			    (unsigned long long)n);
	}
}

static void
put_gauges(struct buf *b, struct dbs *dbs)
{
	char name[NAME_BYTES];

	put_head(b, info_name, "gauge", info_text);
	put(b, "%s{version=\"%s\",sqlite=\"%s\"} 1\n", info_name,
	    SQLPOOLD_VERSION, dbconn_get_library_version());
	for (size_t i = 0; i < gauges_n; i++) {
		snprintf(name, sizeof(name), "sqlpool_%s", gauges[i].name);
		put_head(b, name, "gauge", gauges[i].text);
		put(b, "%s %.17g\n", name, gauges[i].get(dbs));
	}
}

/* --- Of each database -------------------------------------------------------- */

struct db_now {
	char label[LABEL_BYTES];
	struct db_look look;
};

/* Those that are open; a page has all values of one metric together. */
static void
put_db_gauges(struct buf *b, struct dbs *dbs)
{
	struct db_now *list = calloc(METRICS_DATABASES_MAX, sizeof(*list));
	size_t n = 0;

	if (!list) {
		b->failed = true;
		return;
	}
	for (struct db *db = dbs_next(dbs, NULL); db; db = dbs_next(dbs, db)) {
		if (n == METRICS_DATABASES_MAX || !db_hold(db))
			continue;
		escape(db->conf->name, list[n].label);
		gauges_look_at(db, &list[n++].look);
		db_release(db);
	}
	for (size_t i = 0; i < db_gauges_n; i++) {
		char name[NAME_BYTES];

		snprintf(name, sizeof(name), "sqlpool_%s", db_gauges[i].name);
		put_head(b, name, "gauge", db_gauges[i].text);
		for (size_t k = 0; k < n; k++)
			put(b, "%s{database=\"%s\"} %.17g\n", name,
			    list[k].label, db_gauges[i].get(&list[k].look));
	}
	free(list);
}

struct db_counts {
	char label[LABEL_BYTES];
	struct stats_total total;
};

static size_t
count_dbs(struct db_counts list[METRICS_DATABASES_MAX + 1])
{
	size_t n = 0;

	for (struct stats_db *db = stats_next_db(NULL); db;
	     db = stats_next_db(db)) {
		escape(n < METRICS_DATABASES_MAX ? stats_get_db_name(db)
						 : "(others)",
		    list[n].label);
		stats_add_total(db, &list[n].total);
		n += n < METRICS_DATABASES_MAX;
	}
	return list[n].label[0] ? n + 1 : n;
}

static void
put_db_stats(struct buf *b, const struct db_counts *list, size_t n)
{
	for (int i = 0; i < DB_STAT_N; i++) {
		enum stats_db_id which = (enum stats_db_id)i;
		char name[NAME_BYTES];

		snprintf(name, sizeof(name), "sqlpool_%s_total",
		    stats_get_db_stat_name(which));
		put_head(b, name, "counter", stats_get_db_stat_text(which));
		for (size_t k = 0; k < n; k++)
			put(b, "%s{database=\"%s\"} %llu\n", name,
			    list[k].label,
			    (unsigned long long)list[k].total.counts[i]);
	}
}

/* A bucket holds what the ones before it hold, too. */
static void
put_buckets(struct buf *b, const char *name, const char *labels,
    enum stats_hist_id which, const struct stats_sum *sum)
{
	double unit = stats_get_hist_unit(which) == STATS_SECONDS ? 1e6 : 1;
	uint64_t n = 0;

	for (int i = 0; i < STATS_BOUNDS_N; i++) {
		n += sum->n[i];
		put(b, "%s_bucket{%s,le=\"%g\"} %llu\n", name, labels,
		    (double)stats_bounds[which][i] / unit,
		    (unsigned long long)n);
	}
	n += sum->n[STATS_BOUNDS_N];
	put(b, "%s_bucket{%s,le=\"+Inf\"} %llu\n", name, labels,
	    (unsigned long long)n);
	put(b, "%s_sum{%s} %.17g\n", name, labels, (double)sum->sum / unit);
	put(b, "%s_count{%s} %llu\n", name, labels, (unsigned long long)n);
}

static void
put_hist(struct buf *b, const char *name, enum stats_hist_id which,
    const struct db_counts *db)
{
	char labels[LABEL_BYTES + NAME_BYTES];
	struct stats_sum all = { .sum = 0 };

	for (int road = 0; road < STATS_ROADS_N; road++) {
		stats_add_sum(&all, &db->total.hists[which][road]);
		if (!stats_is_by_road(which))
			continue;
		snprintf(labels, sizeof(labels), "database=\"%s\",road=\"%s\"",
		    db->label, stats_get_road_name((enum stats_road)road));
		put_buckets(
		    b, name, labels, which, &db->total.hists[which][road]);
	}
	if (stats_is_by_road(which))
		return;
	snprintf(labels, sizeof(labels), "database=\"%s\"", db->label);
	put_buckets(b, name, labels, which, &all);
}

static void
put_hists(struct buf *b, const struct db_counts *list, size_t n)
{
	for (int i = 0; i < HIST_N; i++) {
		enum stats_hist_id which = (enum stats_hist_id)i;
		char name[NAME_BYTES];

		name_hist(which, name);
		put_head(b, name, "histogram", stats_get_hist_text(which));
		for (size_t k = 0; k < n; k++)
			put_hist(b, name, which, &list[k]);
	}
}

void
metrics_put(struct dbs *dbs, struct buf *b)
{
	struct db_counts *list = calloc(
	    METRICS_DATABASES_MAX + 1, sizeof(*list));
	size_t n;

	if (!list) {
		b->failed = true;
		return;
	}
	n = count_dbs(list);
	put_gauges(b, dbs);
	put_stats(b);
	put_errors(b);
	put_db_gauges(b, dbs);
	put_db_stats(b, list, n);
	put_hists(b, list, n);
	free(list);
}

/* --- The manual ------------------------------------------------------------------ */

/* .It name labels, type. text. */
static void
print_item(FILE *out, const char *name, const char *labels, const char *type,
    const char *text)
{
	fprintf(out, ".It Ic %s%s%s\n", name, labels[0] ? " " : "", labels);
	fprintf(out, "(%s) %c%s.\n", type,
	    text[0] >= 'a' && text[0] <= 'z' ? text[0] - 'a' + 'A' : text[0],
	    text + 1);
}

static void
print_stats(FILE *out)
{
	for (int i = 0; i < STAT_N; i++) {
		enum stats_id which = (enum stats_id)i;
		char name[NAME_BYTES];

		name_stat(which, name);
		print_item(out, name, "",
		    stats_is_max(which) ? "gauge" : "counter",
		    stats_get_text(which));
	}
	print_item(
	    out, errors_name, "code, name, class", "counter", errors_text);
}

static void
print_of_databases(FILE *out)
{
	char name[NAME_BYTES];

	for (size_t i = 0; i < db_gauges_n; i++) {
		snprintf(name, sizeof(name), "sqlpool_%s", db_gauges[i].name);
		print_item(out, name, "database", "gauge", db_gauges[i].text);
	}
	for (int i = 0; i < DB_STAT_N; i++) {
		snprintf(name, sizeof(name), "sqlpool_%s_total",
		    stats_get_db_stat_name((enum stats_db_id)i));
		print_item(out, name, "database", "counter",
		    stats_get_db_stat_text((enum stats_db_id)i));
	}
	for (int i = 0; i < HIST_N; i++) {
		enum stats_hist_id which = (enum stats_hist_id)i;

		name_hist(which, name);
		print_item(out, name,
		    stats_is_by_road(which) ? "database, road" : "database",
		    "histogram", stats_get_hist_text(which));
	}
}

static const char manual_head[] =
    ".\\\" Made by tests/check_metrics.c from daemon/stats.def.\n"
    ".Dd November 23, 2026\n"
    ".Dt SQLPOOL-METRICS 7\n"
    ".Os\n"
    ".Sh NAME\n"
    ".Nm sqlpool-metrics\n"
    ".Nd what sqlpoold tells Prometheus\n"
    ".Sh DESCRIPTION\n"
    ".Xr sqlpoold 8\n"
    "serves these metrics as text over HTTP, on a Unix socket or on a port of the\n"
    "loopback interface\n"
    ".Pq Ic metrics_socket , metrics_listen No in Xr sqlpoold.conf 5 :\n"
    ".Bl -tag -width /metrics\n"
    ".It Pa /metrics\n"
    "The page.\n"
    ".It Pa /healthz\n"
    "200 while the daemon lives.\n"
    ".It Pa /readyz\n"
    "200 while it takes requests, 503 while it stops.\n"
    ".El\n"
    ".Pp\n"
    ".Ql sqlpool-cli --metrics\n"
    "prints the same page.\n"
    ".Pp\n"
    "Times are in seconds, sizes in bytes.\n"
    "Counters only grow while the daemon runs.\n"
    "The buckets of times end at 50 us and, in steps of 2 to 2.5, up to 10 s; those\n"
    "of numbers at powers of two up to 65536.\n";

static const char manual_databases[] =
    ".El\n"
    ".Ss Of each database\n"
    "The label\n"
    ".Ic database\n"
    "has its name.\n"
    "The counters of those that were found in the directory are together under its\n"
    "path; of others the first 200 have metrics of their own, and the rest is under\n"
    ".Ql (others) .\n"
    "The label\n"
    ".Ic road\n"
    "says how a request ran:\n"
    ".Cm inline ,\n"
    "a short read on the worker that received it;\n"
    ".Cm reader ,\n"
    "a long read or one of a read transaction;\n"
    ".Cm writer ,\n"
    "what writes.\n"
    ".Bl -tag -width Ds\n";

static const char manual_tail[] = ".El\n"
				  ".Sh SEE ALSO\n"
				  ".Xr sqlpool-cli 1 ,\n"
				  ".Xr sqlpoold.conf 5 ,\n"
				  ".Xr sqlpoold 8\n";

void
metrics_print_manual(FILE *out)
{
	fputs(manual_head, out);
	fputs(".Ss Of the daemon\n.Bl -tag -width Ds\n", out);
	print_item(out, info_name, "version, sqlite", "gauge", info_text);
	for (size_t i = 0; i < gauges_n; i++) {
		char name[NAME_BYTES];

		snprintf(name, sizeof(name), "sqlpool_%s", gauges[i].name);
		print_item(out, name, "", "gauge", gauges[i].text);
	}
	print_stats(out);
	fputs(manual_databases, out);
	print_of_databases(out);
	fputs(manual_tail, out);
}
