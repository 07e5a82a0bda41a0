/* bench.c - bench_main: one run, or the making of its tables. */
#include "client/bench/bench.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/bench/load.h"
#include "client/bench/options.h"
#include "client/bench/report.h"

#define WHY_N 200

const char *
bench_get_opt(
    const struct bench_plan *plan, const char *name, const char *fallback)
{
	size_t n = strlen(name);

	for (size_t i = plan->opt_n; i-- > 0;)
		if (strncmp(plan->opt[i], name, n) == 0 &&
		    plan->opt[i][n] == '=')
			return plan->opt[i] + n + 1;
	return fallback;
}

static int
complain(int status, const char *why)
{
	fprintf(stderr, "%s: Error: %s\n", program_invocation_short_name, why);
	return status;
}

static int
init(struct options *options, const struct bench_driver *driver)
{
	const struct bench_plan *plan = &options->plan;
	int64_t began_ns = turn_now_ns();
	char why[WHY_N] = "";
	int status = options_finish(options, driver);

	if (status >= 0)
		return status;
	if (driver->init(plan, why, WHY_N) < 0)
		return complain(2, why);
	if (!options->quiet)
		printf("made %llu rows of %u bytes, and %u branch%s of tpcb, "
		       "in %.1f s\n",
		    (unsigned long long)plan->rows_n, plan->text_n,
		    plan->scale_n, plan->scale_n == 1 ? "" : "es",
		    (double)(turn_now_ns() - began_ns) / 1e9);
	return 0;
}

/* Run and verify; the figures are printed by the caller, if at all. */
static int
measure(struct options *options, const struct bench_driver *driver,
    struct load_result *result, char why[WHY_N])
{
	const struct bench_plan *plan = &options->plan;
	bool progress = !options->quiet && isatty(STDERR_FILENO);
	int status;

	if (driver->begin_verify && driver->begin_verify(plan, why, WHY_N) < 0)
		return 2;
	status = load_run(
	    driver, plan, progress ? report_show_progress : NULL, result, why);
	if (progress)
		report_wipe_progress();
	if (status)
		return status;
	if (result->ops_n == 0) {
		snprintf(why, WHY_N, "no operation ended in the counted time");
		status = 1;
	} else if (driver->verify &&
	    driver->verify(plan, result->total->ended, why, WHY_N) < 0) {
		status = 1;
	}
	if (status)
		load_result_free(result);
	return status;
}

int
bench_main(int argc, char **argv, const struct bench_driver *driver)
{
	struct options options;
	struct load_result result;
	char why[WHY_N] = "";
	int status = options_read(&options, argc, argv, driver);

	if (status >= 0)
		return status;
	if (options.init)
		return init(&options, driver);
	if (driver->check && driver->check(&options.plan, why, WHY_N) < 0)
		return complain(2, why);
	status = options_finish(&options, driver);
	if (status >= 0)
		return status;
	status = measure(&options, driver, &result, why);
	if (status)
		return complain(status, why);
	if (options.json)
		report_print_json(&options, driver, &result);
	else
		report_print(&options, driver, &result);
	load_result_free(&result);
	if (fflush(stdout) != 0)
		return complain(1, "cannot write the result");
	return 0;
}
