/* rates.h - how fast the counters grew lately.
 *
 * Looks at them once a second and remembers a minute.  rates_tick: the main thread;
 * rates_get: any thread.
 */
#ifndef DAEMON_RATES_H
#define DAEMON_RATES_H

#include "daemon/stats.h"

/* Look, when a second has passed since the last time. */
void rates_tick(int64_t now_us);

/* Give how much a counter grew per second over the last minute, or since the first
 * look; 0 before there was a second one. */
double rates_get(enum stats_id which);

#endif
