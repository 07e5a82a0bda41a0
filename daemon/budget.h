/* budget.h - how much memory SQLite may take for a request.
 *
 * Every allocation of the library comes by here.  While a budget is entered on a
 * thread, what SQLite allocates there is charged to it and what it frees is given
 * back; beyond the limit SQLite is told that there is no memory, which ends the
 * statement that asked and nothing else.  Frees of what was allocated before may
 * come back too, but never more than the limit: so the memory of the process
 * grows by no more than that, whatever was there before.
 *
 * All budgets together have a bound, too (total_memory), but for those of which there
 * are few, each with one statement at a time that waits for no client: a writer's, a
 * worker's.  What a budget has of it is taken in pieces: the first BUDGET_OWN_BYTES of
 * each are its own, so that a small statement never looks at what is shared, and then
 * BUDGET_PIECE_BYTES at a time.
 *
 * A client may have several long reads, and leave their results unread for long.  So
 * what its budgets have together is counted, and may be as much as is left then: half
 * of it when nobody else has any, a third beside another such client.  Who comes later
 * always finds something.  (It is the rule of switches whose ports share a buffer:
 * Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet
 * switches", 1998.)
 *
 * SQLite's own limits (sqlite.org/c3ref/hard_heap_limit64.html) are for all
 * connections together, and need its statistics, which cost one global mutex for
 * each small allocation (facts.md 0.3).
 *
 * Thread: a budget is entered by one at a time; install before there are any.
 */
#ifndef DAEMON_BUDGET_H
#define DAEMON_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define BUDGET_OWN_BYTES   ((int64_t)256 << 10)
#define BUDGET_PIECE_BYTES ((int64_t)1 << 20)

/* In bytes. */
struct budget {
	int64_t limit;
	int64_t granted;       /* of the limit, so far */
	int64_t left;          /* of what was granted */
	int64_t shared;        /* of what was granted: what all have together */
	_Atomic int64_t *mine; /* the same of all budgets of its client;
				* borrowed; NULL: it has no client */
	bool alone;     /* it takes nothing of that: its limit is its own */
	bool hit;       /* something was refused, */
	bool hit_total; /* as too little is left of what all have */
};

/* The one that this thread is charged to; NULL: nobody is. */
extern _Thread_local struct budget *budget_current;

/* Get between SQLite and its allocator, before sqlite3_initialize.
 * Errors: -ERR_INTERNAL. */
int budget_install(void);

/* What all budgets have together; borrowed, may change at any time.  NULL, and
 * before it is called: they have no bound.  Main thread. */
void budget_set_total(const _Atomic int64_t *bytes);

/* Say how much of that is taken.  Any thread. */
int64_t budget_get_total(void);

/* Give back what it has of that. */
void budget_give_back(struct budget *b);

/* Count what it has, and will have, of that as this client's; NULL: nobody's.  The
 * count is borrowed until it is another. */
void budget_set_client(struct budget *b, _Atomic int64_t *mine);

/* The statement is over. */
static inline void
budget_end(struct budget *b)
{
	if (b->shared)
		budget_give_back(b);
}

/* Begin it anew. */
static inline void
budget_begin(struct budget *b, int64_t limit)
{
	budget_end(b);
	b->limit = limit;
	b->granted = limit < BUDGET_OWN_BYTES ? limit : BUDGET_OWN_BYTES;
	b->left = b->granted;
	b->hit = b->hit_total = false;
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
