/* costs.h - the statements of -top: which took the most time in the last second.
 *
 * One thread.
 */
#ifndef CLIENT_CLI_COSTS_H
#define CLIENT_CLI_COSTS_H

#include "client/cli/screen.h"
#include "client/cli/view.h"

enum costs_sorting {
	COSTS_BY_TIME,
	COSTS_BY_CALLS,
	COSTS_BY_ERRORS,
	COSTS_SORTINGS_N,
};

struct cost {
	int64_t calls, errors, p99_us; /* since the daemon's start */
	double total_ms;
	double calls_rate, ms_rate; /* a second, since the last time */
	char database[VIEW_TEXT], statement[256];
};

/* What there is now, and what there was the last time; both owned. */
struct costs {
	struct cost *list, *before;
	size_t n, before_n;
	int64_t at_us, before_us; /* 0: there was none */
};

/* Ask for all of it.  0, or the library's error, which is on the connection. */
int costs_read(struct costs *c, struct sqlpool_conn *conn, int64_t now_us);
void costs_fini(struct costs *c);

/* Print a head and so many lines. */
void costs_put(struct costs *c, const struct screen *screen,
    enum costs_sorting sorting, size_t rows);

#endif
