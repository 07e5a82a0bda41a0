/* patience.h - how long to look for something to do before going to sleep.
 *
 * Waking a core that sleeps costs more than a query (design, section 6: 118 us
 * when both sides sleep at once, 10 to 14 us when both look first), so a thread
 * that waits for the next request looks for a while.  That pays while requests
 * come within that while, and while nobody else needs the core: so it is kept in
 * mind how the last waits ended, and how long the thread itself had to wait for a
 * core.
 *
 *   wait begins ──▶ patience_get_us ──▶ look so long, then sleep
 *                                            │
 *   work has come ◀── patience_note ◀────────┘ how long it took
 *
 * Shared by the daemon's threads and the library, each of which asks its own.
 * Nothing here waits or looks at the clock.
 *
 * Thread: one at a time, the one that waits.
 */
#ifndef PROTO_PATIENCE_H
#define PROTO_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

/* What a thread has had of its core, in its whole life. */
struct patience_core {
	int64_t ran_us;
	int64_t queued_us; /* it was ready to run, and others ran */
};

struct patience {
	int64_t bound_us;  /* the longest look; 0: none */
	unsigned score;    /* how often looking paid lately: of PATIENCE_ALL */
	unsigned unseen_n; /* waits without a look, one after another */
	bool looks;        /* in the wait that has begun */
	bool crowded;      /* others need the core */
	int64_t asked_us;  /* when core was given; 0: never */
	struct patience_core core;
};

#define PATIENCE_ALL 1024

/* Begin, in the hope that looking pays. */
void patience_init(struct patience *p, int64_t bound_us);

/* A wait begins: say for how long to look before sleeping. */
int64_t patience_get_us(struct patience *p);

/* The wait has ended, so long after it began, because there is work. */
void patience_note(struct patience *p, int64_t waited_us);

/* Say whether patience_note_core is due: every 10 ms, in a crowd 100 ms, of those
 * who would look. */
bool patience_asks(const struct patience *p, int64_t now_us);

/* Tell what this thread has had; NULL: that is not known. */
void patience_note_core(
    struct patience *p, int64_t now_us, const struct patience_core *core);

/* The same, as the kernel says it now: 5 us; no descriptor stays open. */
void patience_ask_core(struct patience *p, int64_t now_us);

#endif
