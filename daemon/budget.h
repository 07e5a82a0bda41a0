/* budget.h - how much memory SQLite may take for a request.
 *
 * Every allocation of the library comes by here.  While a budget is entered on a
 * thread, what SQLite allocates there is charged to it and what it frees is given
 * back; beyond the limit SQLite is told that there is no memory, which ends the
 * statement that asked and nothing else.  Frees of what was allocated before may
 * come back too, but never more than the limit: so the memory of the process
 * grows by no more than that, whatever was there before.
 *
 * SQLite's own limits (sqlite.org/c3ref/hard_heap_limit64.html) are for all
 * connections together, and need its statistics, which cost one global mutex for
 * each small allocation (facts.md 0.3).
 *
 * Thread: a budget is entered by one at a time; install before there are any.
 */
#ifndef DAEMON_BUDGET_H
#define DAEMON_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

struct budget {
	int64_t limit, left; /* bytes */
	bool hit;            /* something was refused */
};

/* The one that this thread is charged to; NULL: nobody is. */
extern _Thread_local struct budget *budget_current;

/* Get between SQLite and its allocator, before sqlite3_initialize.
 * Errors: -ERR_INTERNAL. */
int budget_install(void);

static inline void
budget_begin(struct budget *b, int64_t limit)
{
	b->limit = b->left = limit;
	b->hit = false;
}

static inline void
budget_enter(struct budget *b)
{
	budget_current = b;
}

static inline void
budget_leave(void)
{
	budget_current = (struct budget *)0;
}

#endif
