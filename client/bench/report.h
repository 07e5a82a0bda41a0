/* report.h - what a run gave, for people and for programs. */
#ifndef CLIENT_BENCH_REPORT_H
#define CLIENT_BENCH_REPORT_H

#include "client/bench/load.h"
#include "client/bench/options.h"

/* The percentiles that are reported, in order. */
struct report_percentile {
	const char *name; /* "p99.9" */
	double fraction;
};
#define REPORT_PERCENTILES_N 5
extern const struct report_percentile report_percentiles[REPORT_PERCENTILES_N];

/* Print text on standard output. */
void report_print(const struct options *options,
    const struct bench_driver *driver, const struct load_result *result);

/* Print one JSON object and a newline on standard output (json.c). */
void report_print_json(const struct options *options,
    const struct bench_driver *driver, const struct load_result *result);

/* The most and the least operations that a client has done. */
void report_get_extremes(const struct bench_plan *plan,
    const struct load_result *result, uint64_t *ret_most, uint64_t *ret_least);

/* Microseconds of CPU of this program for each operation. */
double report_get_cpu_us(const struct load_result *result);

/* Show a line on the terminal that standard error is (load_progress), and wipe
 * it away. */
void report_show_progress(const struct load_state *state);
void report_wipe_progress(void);

#endif
