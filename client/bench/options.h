/* options.h - argv into a plan. */
#ifndef CLIENT_BENCH_OPTIONS_H
#define CLIENT_BENCH_OPTIONS_H

#include "client/bench/bench.h"

struct options {
	struct bench_plan plan;
	bool init;
	bool json;
	bool per_client;
	bool quiet;
};

/* Read argv.  Prints what is wrong on standard error, and --help and --version
 * on standard output.  Returns -1 to go on, or the exit status. */
int options_read(struct options *options, int argc, char **argv,
    const struct bench_driver *driver);

/* When the driver has had its say: fill in what is still open, and see whether
 * all fits together.  Returns -1 to go on, or the exit status. */
int options_finish(struct options *options, const struct bench_driver *driver);

#endif
