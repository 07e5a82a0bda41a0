/* stats.h - counters, one set per thread, summed when read (rule T6).
 *
 * A thread that counts calls stats_attach first; counting before that is lost.
 * The sets stay until the process ends, so a sum never shrinks.
 */
#ifndef DAEMON_STATS_H
#define DAEMON_STATS_H

#include <stdint.h>

enum stats_id {
#define STAT(name, text) STAT_##name,
#include "daemon/stats.def"
#undef STAT
	STAT_N,
};

/* Give this thread its set.  Out of memory: its counts are lost, no more. */
void stats_attach(void);

/* Count n more on this thread. */
void stats_add(enum stats_id which, uint64_t n);

/* Keep the largest n seen on this thread. */
void stats_max(enum stats_id which, uint64_t n);

/* Sum a counter over all threads (the largest, for a stats_max one). */
uint64_t stats_get(enum stats_id which);

/* Give the counter's name and its text. */
const char *stats_get_name(enum stats_id which);
const char *stats_get_text(enum stats_id which);

#endif
