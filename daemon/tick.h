/* tick.h - how often the main thread looks at limits: ten times a second while
 * there is something that has any, else once.
 *
 * Transactions and reads of the readers, the lease of a writer, a log that is not
 * copied yet: whoever begins one calls tick_want as soon as a tick would find it.
 * The main thread slows down when a tick finds nothing, and then looks once more:
 * both write first and look afterwards, so that one of them sees the other.
 */
#ifndef DAEMON_TICK_H
#define DAEMON_TICK_H

#include <stdatomic.h>
#include <stdbool.h>

/* It is fast, or about to be: tick.c alone changes it. */
extern _Atomic bool tick_is_fast;

/* Give the descriptor that is readable when the tick is to be fast; -1: none is
 * left.  Fast is what it is at first.  Main thread, like the next three. */
int tick_open(void);
void tick_close(void);

/* Silence the descriptor. */
void tick_hear(void);

/* Say that it is slow from now on, until somebody wants it. */
void tick_rest(void);

/* What tick_want does when it is slow. */
void tick_wake(void);

/* Have it be fast.  Any thread. */
static inline void
tick_want(void)
{
	if (!atomic_load(&tick_is_fast))
		tick_wake();
}

#endif
