/* deadlines.h - which of a worker's requests is to be stopped next.
 *
 * A binary heap by deadline, for one timer instead of one per request.  Most
 * deadlines are the arrival and the same timeout, and then a new one goes to the
 * end after one comparison.  But clients choose them, for each of their
 * requests, of which thousands can wait: a list in order would be walked for
 * each that does not fit at its end, lists by length of the timeout as well,
 * since any length may be asked for, and libevent's common timeouts are for a
 * few lengths and still an event each.  Here the worst is the depth of the heap.
 *
 * Thread: the worker.
 */
#ifndef DAEMON_DEADLINES_H
#define DAEMON_DEADLINES_H

#include "daemon/request.h"

struct deadline {
	int64_t at_us; /* beside the request, which is then not looked at */
	struct request *r;
};

/* All zero: none. */
struct deadlines {
	struct deadline *heap; /* owned */
	size_t n, cap;
};

/* Free the memory. */
void deadlines_fini(struct deadlines *d);

/* Add a request, which has none yet.  Errors: -ERR_NO_MEMORY. */
int deadlines_push(struct deadlines *d, struct request *r, int64_t at_us);

/* Take a request out, which is in. */
void deadlines_remove(struct deadlines *d, struct request *r);

/* Take the earliest out, if it is not later than now; NULL: it is, or there is
 * none. */
struct request *deadlines_pop(struct deadlines *d, int64_t now_us);

/* Give the earliest; INT64_MAX: there is none. */
static inline int64_t
deadlines_get_first(const struct deadlines *d)
{
	return d->n > 0 ? d->heap[0].at_us : INT64_MAX;
}

#endif
