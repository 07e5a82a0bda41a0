/* report.c - what a run gave, as text; and how it goes. */
#include "client/bench/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "client/bench/mix.h"

const struct report_percentile report_percentiles[REPORT_PERCENTILES_N] = {
	{ "p50", 0.5 },
	{ "p90", 0.9 },
	{ "p99", 0.99 },
	{ "p99.9", 0.999 },
	{ "p99.99", 0.9999 },
};

void
report_get_extremes(const struct bench_plan *plan,
    const struct load_result *result, uint64_t *ret_most, uint64_t *ret_least)
{
	uint64_t most = 0, least = UINT64_MAX;

	for (unsigned i = 0; i < plan->clients_n; i++) {
		if (result->per_client[i] > most)
			most = result->per_client[i];
		if (result->per_client[i] < least)
			least = result->per_client[i];
	}
	*ret_most = most;
	*ret_least = least;
}

double
report_get_cpu_us(const struct load_result *result)
{
	if (result->ops_n == 0)
		return 0;
	return (double)result->total->cpu_ns / 1e3 / (double)result->ops_n;
}

/* ---- the head ---- */

/* What /proc/cpuinfo calls the processor. */
static void
get_processor(char *ret, size_t n)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char line[256];

	snprintf(ret, n, "unknown processor");
	while (f && fgets(line, sizeof(line), f)) {
		char *colon = strstr(line, ": ");

		if (strncmp(line, "model name", 10) != 0 || !colon)
			continue;
		colon[strcspn(colon, "\n")] = '\0';
		snprintf(ret, n, "%s", colon + 2);
		break;
	}
	if (f)
		fclose(f);
}

static void
print_machine(void)
{
	struct utsname system = { 0 };
	char processor[128];
	double load = -1;

	get_processor(processor, sizeof(processor));
	(void)uname(&system);
	(void)getloadavg(&load, 1);
	printf("machine    %ld CPUs, %s, %s %s, load %.2f\n",
	    sysconf(_SC_NPROCESSORS_ONLN), processor, system.sysname,
	    system.release, load);
}

static void
print_clients(const struct bench_plan *plan)
{
	unsigned threads_n = load_count_threads(plan);

	printf("clients    %u in %u process%s", plan->clients_n,
	    plan->processes_n, plan->processes_n == 1 ? "" : "es");
	if (threads_n > 1)
		printf(" of %u threads", threads_n);
	printf(", each with %u in flight; ", plan->depth);
	if (plan->rate > 0)
		printf("%g operations due per second\n", plan->rate);
	else
		printf("the next begins when one has ended\n");
}

static void
print_keys(const struct bench_plan *plan)
{
	switch (plan->keys) {
	case BENCH_UNIFORM:
		printf("uniform");
		break;
	case BENCH_ZIPF:
		printf("zipf (exponent %g)", plan->zipf_s);
		break;
	case BENCH_SERIAL:
		printf("serial");
		break;
	case BENCH_OWN:
		printf("a client's own");
		break;
	}
	printf(" of %" PRIu64 "\n", plan->rows_n);
}

static void
print_mix(const struct bench_plan *plan)
{
	unsigned total = 0;
	const char *before = "mix        ";

	for (int i = 0; i < BENCH_KINDS_N; i++)
		total += plan->weight[i];
	for (int i = 0; i < BENCH_KINDS_N; i++) {
		if (!plan->weight[i])
			continue;
		printf("%s%s %g %%", before, mix_get_name((enum bench_kind)i),
		    100.0 * plan->weight[i] / total);
		before = ", ";
	}
	printf("; keys: ");
	print_keys(plan);
}

/* ---- the figures ---- */

static void
print_time(double ns)
{
	double us = ns / 1e3;

	printf(" %9.*f", us < 100 ? 1 : 0, us);
}

static void
print_row(const char *name, uint64_t ops_n, const struct hist *h)
{
	printf("%-10s %11" PRIu64, name, ops_n);
	print_time(hist_mean(h));
	for (int i = 0; i < REPORT_PERCENTILES_N; i++)
		print_time(
		    (double)hist_percentile(h, report_percentiles[i].fraction));
	print_time((double)h->max_ns);
	putchar('\n');
}

static void
print_latency(const struct bench_plan *plan, const struct load_result *result)
{
	unsigned kinds_n = 0;

	printf("\nus         %11s %9s", "operations", "mean");
	for (int i = 0; i < REPORT_PERCENTILES_N; i++)
		printf(" %9s", report_percentiles[i].name);
	printf(" %9s\n", "max");
	for (int i = 0; i < BENCH_KINDS_N; i++) {
		if (!plan->weight[i])
			continue;
		kinds_n++;
		print_row(mix_get_name((enum bench_kind)i),
		    result->total->ops[i], &result->total->hist[i]);
	}
	if (kinds_n > 1)
		print_row("all", result->ops_n, result->all);
	putchar('\n');
}

static void
print_spread(const struct options *options, const struct load_result *result)
{
	uint64_t most, least;

	report_get_extremes(&options->plan, result, &most, &least);
	printf("busiest    %" PRIu64 " operations; least busy %" PRIu64, most,
	    least);
	if (least > 0)
		printf("; ratio %.3f", (double)most / (double)least);
	putchar('\n');
	for (unsigned i = 0; options->per_client && i < options->plan.clients_n;
	     i++)
		printf("client %-3u %" PRIu64 "\n", i, result->per_client[i]);
}

void
report_print(const struct options *options, const struct bench_driver *driver,
    const struct load_result *result)
{
	const struct bench_plan *plan = &options->plan;
	const struct tally *total = result->total;
	double per_s = (double)result->ops_n / result->seconds;

	printf("measured   %s\n", plan->about[0] ? plan->about : driver->name);
	print_machine();
	print_clients(plan);
	print_mix(plan);
	printf("counted    %.3f s after %g s of warm-up\n", result->seconds,
	    plan->warmup_s);
	print_latency(plan, result);
	printf("rate       %.1f operations per second, %.1f rows\n", per_s,
	    (double)total->rows_n / result->seconds);
	printf("cost       %.2f us of CPU in this program for each operation\n",
	    report_get_cpu_us(result));
	print_spread(options, result);
	if (result->errors_n > 0)
		printf("errors     %" PRIu64
		       " operations failed, in a way that "
		       "is a result here; they\n"
		       "           are in no other figure\n",
		    result->errors_n);
	if (total->unsent_n > 0)
		printf("behind     %" PRIu64
		       " operations were due and not even "
		       "sent at the end; their\n"
		       "           times so far are in the latencies\n",
		    total->unsent_n);
}

/* ---- progress ---- */

void
report_show_progress(const struct load_state *state)
{
	fprintf(stderr,
	    "\r%s  %.1f s  %.0f per second  %" PRIu64 " in all\033[K",
	    state->phase, state->seconds, state->per_s, state->ops_n);
	fflush(stderr);
}

void
report_wipe_progress(void)
{
	fprintf(stderr, "\r\033[K");
	fflush(stderr);
}
