/* stats.h - counters, one set per thread, summed when read (rule T6).
 *
 * There are two kinds of sets.  A thread's own counts what belongs to no database:
 * a thread that counts calls stats_attach first; counting before that is lost.  A
 * connection's own (struct stats_set) counts what is run on it; whoever owns the
 * connection at the moment counts, so there is one thread at a time here as well.
 *
 * Sums never shrink: threads' sets stay until the process ends, and what a
 * connection's set counted stays with its database when it is closed.
 */
#ifndef DAEMON_STATS_H
#define DAEMON_STATS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tallies;

enum stats_id {
#define STAT(name, text) STAT_##name,
#include "daemon/stats.def"
#undef STAT
	STAT_N,
};

enum stats_db_id {
#define DB_STAT(name, text) DB_STAT_##name,
#include "daemon/stats.def"
#undef DB_STAT
	DB_STAT_N,
};

enum stats_hist_id {
#define HIST(name, unit, by_road, text) HIST_##name,
#include "daemon/stats.def"
#undef HIST
	HIST_N,
};

/* The way a request ran: on its worker, on a long-read connection, on the writer.
 */
enum stats_road { STATS_INLINE, STATS_READER, STATS_WRITER, STATS_ROADS_N };

enum stats_unit { STATS_SECONDS, STATS_COUNT };

/* Upper bounds: of times 50 us to 10 s, in steps of 2 to 2.5; of numbers the powers
 * of two.  What is above the last one has a bucket of its own. */
#define STATS_BOUNDS_N 17

struct stats_hist {
	_Atomic uint64_t n[STATS_BOUNDS_N + 1];
	_Atomic uint64_t sum; /* microseconds, or a number */
};

/* What is counted where one connection is. */
struct stats_set {
	struct stats_set *next, **at; /* under the lock of stats.c */
	struct stats_db *db;
	enum stats_road road;
	_Atomic uint64_t counts[DB_STAT_N];
	struct stats_hist hists[HIST_N];
};

/* A sum of histograms. */
struct stats_sum {
	uint64_t n[STATS_BOUNDS_N + 1];
	uint64_t sum;
};

/* A database's sums. */
struct stats_total {
	uint64_t counts[DB_STAT_N];
	struct stats_sum hists[HIST_N][STATS_ROADS_N];
};

extern const uint32_t stats_bounds[HIST_N][STATS_BOUNDS_N];

/* --- Counting ------------------------------------------------------------- */

/* Give this thread its set.  Out of memory: its counts are lost, no more. */
void stats_attach(void);

/* Count n more on this thread. */
void stats_add(enum stats_id which, uint64_t n);

/* Keep the largest n seen on this thread. */
void stats_max(enum stats_id which, uint64_t n);

/* Count a reply with this error on this thread. */
void stats_add_error(int code);

/* Give a connection to a database its set; NULL: out of memory. */
struct stats_set *stats_open(const char *database, enum stats_road road);

/* Give what the statements of its database have cost. */
struct tallies *stats_get_tallies(const struct stats_set *set);

/* Leave what it counted to the database, and free it.  NULL is fine. */
void stats_close(struct stats_set *set);

/* Only one thread at a time writes to a set, so load and store need not be one
 * step. */
static inline void
stats_bump(_Atomic uint64_t *v, uint64_t n)
{
	atomic_store_explicit(v,
	    atomic_load_explicit(v, memory_order_relaxed) + n,
	    memory_order_relaxed);
}

/* Count n more; note a time in microseconds, or a number.  The connection's owner.
 */
static inline void
stats_count(struct stats_set *set, enum stats_db_id which, uint64_t n)
{
	stats_bump(&set->counts[which], n);
}

static inline void
stats_observe(struct stats_set *set, enum stats_hist_id which, int64_t v)
{
	const uint32_t *bounds = stats_bounds[which];
	struct stats_hist *h = &set->hists[which];
	unsigned i = 0;

	while (i < STATS_BOUNDS_N && v > (int64_t)bounds[i])
		i++;
	stats_bump(&h->n[i], 1);
	stats_bump(&h->sum, v > 0 ? (uint64_t)v : 0);
}

/* Note what share of a processor each thread has had since the last time.  Main
 * thread. */
void stats_sample_busy(int64_t now_us);

/* Give that of this thread, from 0 to 1. */
double stats_get_busy(void);

/* --- Reading: any thread -------------------------------------------------- */

/* Sum a counter over all threads (the largest, for a stats_max one). */
uint64_t stats_get(enum stats_id which);

/* Give how many of what a counter counts are not in another one yet, in which they
 * come to be later. */
uint64_t stats_get_difference(enum stats_id which, enum stats_id less);

/* Sum the replies with the error of an index: error_get_code. */
uint64_t stats_get_error(size_t index);

/* Give the database after db that has counted anything, or the first for NULL; in
 * the order in which they were opened first.  They stay until the process ends. */
struct stats_db *stats_next_db(const struct stats_db *db);
const char *stats_get_db_name(const struct stats_db *db);
struct tallies *stats_get_db_tallies(const struct stats_db *db);

/* Add what a database has counted so far to *total. */
void stats_add_total(const struct stats_db *db, struct stats_total *total);

/* Add the second sum to the first. */
void stats_add_sum(struct stats_sum *to, const struct stats_sum *from);

/* Add what a connection has observed in a histogram. */
void stats_add_set(struct stats_sum *to, const struct stats_set *set,
    enum stats_hist_id which);

/* How many were observed. */
uint64_t stats_get_observed(const struct stats_sum *sum);

/* Give a value that the share q of what was observed does not exceed: the upper
 * bound of its bucket, and the last bound for what is above; 0 when nothing was
 * observed. */
uint64_t stats_get_quantile(
    enum stats_hist_id which, const struct stats_sum *sum, double q);

/* --- The table ------------------------------------------------------------ */

/* A stats_max one? */
bool stats_is_max(enum stats_id which);

const char *stats_get_name(enum stats_id which);
const char *stats_get_text(enum stats_id which);
const char *stats_get_db_stat_name(enum stats_db_id which);
const char *stats_get_db_stat_text(enum stats_db_id which);
const char *stats_get_hist_name(enum stats_hist_id which);
const char *stats_get_hist_text(enum stats_hist_id which);
enum stats_unit stats_get_hist_unit(enum stats_hist_id which);
bool stats_is_by_road(enum stats_hist_id which);
const char *stats_get_road_name(enum stats_road road);

#endif
