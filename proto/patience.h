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

struct patience {
	int64_t bound_us;  /* the longest look; 0: none */
	unsigned score;    /* how often looking paid lately: of PATIENCE_ALL */
	unsigned unseen_n; /* waits without a look, one after another */
	bool looks;        /* in the wait that has begun */
	bool crowded;      /* others need the core */
	int64_t asked_us;  /* when queued_us was given; 0: never */
	int64_t
	    queued_us; /* for so long the thread waited for a core until then */
};

#define PATIENCE_ALL 1024

/* Begin, in the hope that looking pays. */
void patience_init(struct patience *p, int64_t bound_us);

/* A wait begins: say for how long to look before sleeping. */
int64_t patience_get_us(struct patience *p);

/* The wait has ended, so long after it began, because there is work. */
void patience_note(struct patience *p, int64_t waited_us);

/* Say whether patience_note_queued is due: every 10 ms, of those who would look.
 */
bool patience_asks(const struct patience *p, int64_t now_us);

/* Tell for how long this thread has been ready to run without a core to run on,
 * in its whole life; negative: that is not known. */
void
patience_note_queued(struct patience *p, int64_t now_us, int64_t queued_us);

/* Read that from the kernel, in microseconds; -1: it does not say.  Five
 * microseconds; no descriptor stays open. */
int64_t patience_read_queued_us(void);

#endif
