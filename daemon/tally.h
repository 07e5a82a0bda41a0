/* tally.h - what each statement has cost, by database and text.
 *
 * Each statement in a connection's cache has a tally of its own, in which the
 * holder of the connection counts without a lock (rule T6).  Those with the same
 * text are summed when somebody looks, with what closed ones have counted.
 *
 * Texts come from clients, of any length and number, so what is kept of them is
 * bounded: their beginning; so many of a database; so many bytes of all together.
 * When there is no room for a new one, of a few that no connection has in its cache
 * the one that took the least time goes, and what it counted goes to "the others":
 * the sums stay what was run.
 */
#ifndef DAEMON_TALLY_H
#define DAEMON_TALLY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TALLY_TEXTS_MAX  1000               /* of one database */
#define TALLY_SQL_BYTES  1000               /* of each */
#define TALLY_BYTES_MAX  ((size_t)32 << 20) /* of all databases */
#define TALLY_NAME_BYTES 256

enum tally_count {
	TALLY_US, /* of all runs; the others of the calls */
	TALLY_ERRORS,
	TALLY_ROWS,
	TALLY_VM_STEPS, /* these two of all runs, too */
	TALLY_SCAN_STEPS,
	TALLY_COUNTS_N,
};

/* Times by their length in bits: 0, 1, 2 to 3, 4 to 7, ... microseconds; in the
 * last one is what took longer than 33 s. */
#define TALLY_TIMES_N 26

struct tallies; /* of one database */
struct tally_pool;

/* Of one statement on one connection. */
struct tally {
	struct tally *next, **at; /* under the lock of its tallies */
	struct tallies *tallies;  /* NULL: it counts nothing */
	struct tally_pool *pool;  /* of its text */
	_Atomic uint64_t counts[TALLY_COUNTS_N];
	_Atomic uint64_t times[TALLY_TIMES_N];
};

struct tally_sum {
	uint64_t counts[TALLY_COUNTS_N];
	uint64_t times[TALLY_TIMES_N];
};

/* What a run of a statement was. */
enum tally_how {
	TALLY_FAILED = 1,
	TALLY_AGAIN = 2, /* a part of a call that counts by itself: a read that
			  * was too long for a worker, a write whose group was
			  * undone */
};

/* A statement, as it is shown. */
struct tally_row {
	struct tally_sum sum;
	char database[TALLY_NAME_BYTES];
	char sql[TALLY_SQL_BYTES];
	size_t sql_n;
};

/* Those that took the most time, of any number of databases, in no order; and the
 * sum of all others. */
#define TALLY_TOP_N 100
struct tally_top {
	struct tally_row rows[TALLY_TOP_N];
	size_t n;
	struct tally_sum rest;
};

/* Make those of a database.  NULL: out of memory. */
struct tallies *tallies_new(void);

/* Free them, with no text yet.  NULL is fine. */
void tallies_free(struct tallies *tallies);

/* Let t count for the statement of a text; without memory, or room, it counts for
 * the others.  Whoever holds the connection; like tally_close, which does nothing
 * to one that is all zero. */
void tally_open(
    struct tally *t, struct tallies *tallies, const char *sql, size_t sql_n);
void tally_close(struct tally *t);

static inline void
tally_bump(_Atomic uint64_t *v, uint64_t n)
{
	atomic_store_explicit(v,
	    atomic_load_explicit(v, memory_order_relaxed) + n,
	    memory_order_relaxed);
}

/* Count a run, and the rows that it gave or changed.  Whoever holds the
 * connection. */
static inline void
tally_note(struct tally *t, int64_t run_us, uint64_t rows, unsigned how)
{
	uint64_t us = run_us > 0 ? (uint64_t)run_us : 0;
	unsigned bits = us ? 64U - (unsigned)__builtin_clzll(us) : 0;

	tally_bump(&t->counts[TALLY_US], us);
	if (how & TALLY_AGAIN)
		return;
	tally_bump(&t->counts[TALLY_ROWS], rows);
	if (how & TALLY_FAILED)
		tally_bump(&t->counts[TALLY_ERRORS], 1);
	tally_bump(
	    &t->times[bits < TALLY_TIMES_N ? bits : TALLY_TIMES_N - 1], 1);
}

/* Add the statements of a database to top.  Any thread. */
void tallies_take_top(
    struct tallies *tallies, const char *database, struct tally_top *top);

uint64_t tally_get_calls(const struct tally_sum *sum);

/* Give a time in microseconds that the share q of the calls did not exceed: a power
 * of two; 0 when there were none. */
uint64_t tally_get_quantile(const struct tally_sum *sum, double q);

/* Give how much memory the texts of all databases take.  Any thread. */
size_t tally_get_bytes(void);

#endif
