/* crew.h - a few threads that run serial queues.
 *
 * A serial queue is something with work of its own (a writer, a heavy reader)
 * that one thread at a time may run.  It costs no thread: whoever gives it work
 * kicks it, and the next free thread of its crew calls its run function, which
 * does what there is and returns.
 *
 *            kick                 a thread takes it
 *   IDLE ───────────▶ READY ─────────────────────────▶ RUNNING ──▶ IDLE
 *                       ▲                                 │ kick
 *                       └──── run returned ◀── AGAIN ◀────┘
 *
 * A queue that waits for something that kicks nobody, as a lock of another
 * process, asks to be kicked at a time.
 *
 * squeue_kick: any thread.  run: a thread of the crew.
 */
#ifndef DAEMON_CREW_H
#define DAEMON_CREW_H

#include <stdint.h>

struct crew;

enum squeue_state {
	SQUEUE_IDLE,
	SQUEUE_READY,
	SQUEUE_RUNNING,
	SQUEUE_AGAIN,
	SQUEUE_ENDED, /* kicks are ignored */
};

struct squeue {
	struct squeue *next;     /* under the crew's lock */
	enum squeue_state state; /* under the crew's lock */
	struct squeue *later;    /* the next one that is to be kicked at a
				  * time; under the crew's lock */
	int64_t due_us; /* which time; 0: none; under the crew's lock */
	struct crew *crew;
	void (*run)(struct squeue *q); /* does what there is; must not block
					* on anything but its own I/O */
};

/* Start a crew of n threads, named for ps, with a nice value from 0 (as the
 * others) to 19.  One that has nothing to do looks for work for up to poll_time_us
 * before it sleeps, as patience.h says; 0: it sleeps at once.  On 0 the caller
 * owns *ret_crew.
 * Errors: -ERR_NO_MEMORY (memory or threads). */
int crew_start(const char *name, unsigned n, int nice, int64_t poll_time_us,
    struct crew **ret_crew);

/* Let the threads run what is ready, and end them.  What is kicked from now on is
 * not run.  NULL, or a second time, is fine. */
void crew_stop(struct crew *crew);

/* Count the threads that have hung since the last look: they run something, and
 * nothing moves.  One watcher. */
unsigned crew_count_hung(struct crew *crew);

/* Free a crew that was stopped; nobody kicks any more.  NULL is fine. */
void crew_free(struct crew *crew);

/* Make a queue that belongs to a crew. */
void
squeue_init(struct squeue *q, struct crew *crew, void (*run)(struct squeue *q));

/* Say that a queue has work.  Never lost: a kick while it runs makes it run
 * once more. */
void squeue_kick(struct squeue *q);

/* Kick it at this time (clock.h), if a thread of the crew is free then, or when
 * the crew is stopped before.  A run comes instead of that; of several times the
 * earliest holds. */
void squeue_kick_at(struct squeue *q, int64_t at_us);

/* End a queue: when this returns it does not run and will not.  What it was
 * kicked for and has not begun is not done.  Not from its own run. */
void squeue_end(struct squeue *q);

#endif
