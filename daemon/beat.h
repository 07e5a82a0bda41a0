/* beat.h - signs of life of threads, for the watchdog.
 *
 * A thread that runs something beats when it begins, when it ends, and meanwhile
 * whenever SQLite lets it (the progress handler).  One that is busy, does not
 * beat and uses no processor time hangs: what is long but moves, a sort or the
 * sync of a slow disk that ends, is none.
 */
#ifndef DAEMON_BEAT_H
#define DAEMON_BEAT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct beat {
	_Atomic uint64_t n; /* its thread */
	_Atomic bool busy;  /* its thread */

	/* whoever watches: as it was at the last look */
	uint64_t seen_n;
	int64_t seen_cpu_ns;
};

/* Say that this thread's signs go there; NULL: nowhere. */
void beat_attach(struct beat *beat);

/* Give a sign.  Any thread, attached or not. */
void beat_now(void);

/* Say whether it works on something from now on.  The thread. */
void beat_set_busy(struct beat *beat, bool busy);

/* Look whether a thread has hung since the last look.  One watcher. */
bool beat_has_hung(struct beat *beat, pthread_t thread);

#endif
