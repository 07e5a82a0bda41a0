/* json.c - what a run gave, as one JSON object. */
#include "client/bench/report.h"

#include <inttypes.h>
#include <stdio.h>

#include "client/bench/mix.h"

/* A string; bytes from 0x80 on are taken to be UTF-8. */
static void
put_string(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			printf("\\%c", *s);
		else if ((unsigned char)*s < ' ')
			printf("\\u%04x", (unsigned)*s);
		else
			putchar(*s);
	}
	putchar('"');
}

static void
put_latency(const struct hist *h)
{
	printf("\"latency_us\":{\"mean\":%.3f", hist_mean(h) / 1e3);
	for (int i = 0; i < REPORT_PERCENTILES_N; i++)
		printf(",\"%s\":%.3f", report_percentiles[i].name,
		    (double)hist_percentile(h, report_percentiles[i].fraction) /
			1e3);
	printf(",\"max\":%.3f}", (double)h->max_ns / 1e3);
}

static void
put_plan(const struct bench_plan *plan, const struct bench_driver *driver)
{
	const char *before = "";

	printf("{\"driver\":");
	put_string(driver->name);
	printf(",\"about\":");
	put_string(plan->about);
	printf(",\"mix\":{");
	for (int i = 0; i < BENCH_KINDS_N; i++) {
		if (!plan->weight[i])
			continue;
		printf("%s\"%s\":%u", before, mix_get_name((enum bench_kind)i),
		    plan->weight[i]);
		before = ",";
	}
	printf("},\"clients\":%u,\"processes\":%u,\"threads\":%u,\"depth\":%u,"
	       "\"rate\":%g,\"rows_n\":%" PRIu64,
	    plan->clients_n, plan->processes_n, load_count_threads(plan),
	    plan->depth, plan->rate, plan->rows_n);
}

static void
put_kinds(const struct bench_plan *plan, const struct load_result *result)
{
	const char *before = "";

	printf(",\"kinds\":{");
	for (int i = 0; i < BENCH_KINDS_N; i++) {
		if (!plan->weight[i])
			continue;
		printf("%s\"%s\":{\"ops\":%" PRIu64 ",\"errors\":%" PRIu64 ",",
		    before, mix_get_name((enum bench_kind)i),
		    result->total->ops[i], result->total->errors[i]);
		put_latency(&result->total->hist[i]);
		putchar('}');
		before = ",";
	}
	putchar('}');
}

static void
put_clients(const struct bench_plan *plan, const struct load_result *result)
{
	uint64_t most, least;

	printf(",\"per_client\":[");
	for (unsigned i = 0; i < plan->clients_n; i++)
		printf("%s%" PRIu64, i ? "," : "", result->per_client[i]);
	report_get_extremes(plan, result, &most, &least);
	printf("],\"busiest_to_least\":");
	if (least > 0)
		printf("%.4f", (double)most / (double)least);
	else
		printf("null");
}

void
report_print_json(const struct options *options,
    const struct bench_driver *driver, const struct load_result *result)
{
	const struct tally *total = result->total;

	put_plan(&options->plan, driver);
	printf(",\"warmup_s\":%g,\"seconds\":%.6f,\"ops\":%" PRIu64
	       ",\"errors\":%" PRIu64 ",\"per_s\":%.1f,\"rows\":%" PRIu64
	       ",\"unsent\":%" PRIu64 ",\"cpu_us_per_op\":%.3f,",
	    options->plan.warmup_s, result->seconds, result->ops_n,
	    result->errors_n, (double)result->ops_n / result->seconds,
	    total->rows_n, total->unsent_n, report_get_cpu_us(result));
	put_latency(result->all);
	put_kinds(&options->plan, result);
	put_clients(&options->plan, result);
	printf("}\n");
}
