/* known.h - the options (-o NAME=VALUE) that a driver knows: a misspelt one must
 * not measure something else. */
#ifndef TESTS_BENCH_LIB_KNOWN_H
#define TESTS_BENCH_LIB_KNOWN_H

#include <stdio.h>
#include <string.h>

#include "client/bench/bench.h"

/* names: NULL-terminated.  Returns 0, or -1 with why. */
static inline int
known_check(const struct bench_plan *plan, const char *const *names, char *why,
    size_t why_n)
{
	for (size_t i = 0; i < plan->opt_n; i++) {
		size_t n = strcspn(plan->opt[i], "=");
		bool found = false;

		for (size_t k = 0; names[k] && !found; k++)
			found = strlen(names[k]) == n &&
			    memcmp(names[k], plan->opt[i], n) == 0;
		if (found)
			continue;
		snprintf(why, why_n, "-o %.*s is not known here", (int)n,
		    plan->opt[i]);
		return -1;
	}
	return 0;
}

/* Say whether an option has one of two values; why tells if it has not. */
static inline bool
known_is_either(const struct bench_plan *plan, const char *name,
    const char *const values[2], char *why, size_t why_n)
{
	const char *value = bench_get_opt(plan, name, values[0]);

	if (strcmp(value, values[0]) == 0 || strcmp(value, values[1]) == 0)
		return true;
	snprintf(why, why_n, "-o %s is %s or %s", name, values[0], values[1]);
	return false;
}

#endif
