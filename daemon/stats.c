/* stats.c - counters of threads and of connections, and their sums. */
#include "daemon/stats.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/tally.h"
#include "proto/error.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct stats {
	_Atomic uint64_t v[STAT_N];
	_Atomic uint64_t errors[ERROR_INDEX_N];
	struct stats *next;
	clockid_t cpu;        /* its processor time */
	int64_t cpu_us;       /* at sampled_us; whoever samples */
	int64_t sampled_us;   /* likewise; 0: not yet */
	_Atomic int busy_ppm; /* of the time between the last two samples */
};

struct stats_db {
	UT_hash_handle hh;       /* by name; in the order they were made */
	struct stats_set *sets;  /* of open connections */
	struct stats_total gone; /* what closed ones have counted */
	struct tallies *tallies; /* owned */
	char name[];
};

static _Thread_local struct stats *mine;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct stats *all;    /* under lock; never removed */
static struct stats_db *dbs; /* likewise */

#define TIMES                                                             \
	{                                                                 \
		50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, \
		    100000, 250000, 500000, 1000000, 2500000, 5000000,    \
		    10000000                                              \
	}
#define POWERS                                                                 \
	{                                                                      \
		1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, \
		    16384, 32768, 65536                                        \
	}
#define BOUNDS_SECONDS TIMES
#define BOUNDS_COUNT   POWERS

const uint32_t stats_bounds[HIST_N][STATS_BOUNDS_N] = {
#define HIST(name, unit, by_road, text) BOUNDS_##unit,
#include "daemon/stats.def"
#undef HIST
};

struct row {
	const char *name, *text;
	enum stats_unit unit;
	bool by_road;
};

static const struct row rows[] = {
#define STAT(name, text) { #name, text, STATS_COUNT, false },
#include "daemon/stats.def"
#undef STAT
};

static const struct row db_rows[] = {
#define DB_STAT(name, text) { #name, text, STATS_COUNT, false },
#include "daemon/stats.def"
#undef DB_STAT
};

static const struct row hist_rows[] = {
#define HIST(name, unit, by_road, text) { #name, text, STATS_##unit, by_road },
#include "daemon/stats.def"
#undef HIST
};

/* --- Counting ------------------------------------------------------------- */

void
stats_attach(void)
{
	if (mine)
		return;
	mine = calloc(1, sizeof(*mine));
	if (!mine)
		return;
	if (pthread_getcpuclockid(pthread_self(), &mine->cpu) != 0)
		mine->cpu = CLOCK_THREAD_CPUTIME_ID;
	pthread_mutex_lock(&lock);
	mine->next = all;
	all = mine;
	pthread_mutex_unlock(&lock);
}

void
stats_add(enum stats_id which, uint64_t n)
{
	if (mine)
		stats_bump(&mine->v[which], n);
}

void
stats_max(enum stats_id which, uint64_t n)
{
	if (mine &&
	    n > atomic_load_explicit(&mine->v[which], memory_order_relaxed))
		atomic_store_explicit(&mine->v[which], n, memory_order_relaxed);
}

void
stats_add_error(int code)
{
	stats_add(STAT_errors, 1);
	if (mine)
		stats_bump(&mine->errors[error_get_index(code)], 1);
}

/* A thread that has ended has no clock any more. */
static void
sample_busy(struct stats *s, int64_t now_us)
{
	struct timespec ts;
	int64_t cpu_us, ppm = 0;

	if (clock_gettime(s->cpu, &ts) == 0) {
		cpu_us = (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
		if (s->sampled_us && now_us > s->sampled_us)
			ppm = (cpu_us - s->cpu_us) * 1000000 /
			    (now_us - s->sampled_us);
		s->cpu_us = cpu_us;
		s->sampled_us = now_us;
	}
	atomic_store(&s->busy_ppm, (int)(ppm < 1000000 ? ppm : 1000000));
}

void
stats_sample_busy(int64_t now_us)
{
	pthread_mutex_lock(&lock);
	for (struct stats *s = all; s; s = s->next)
		sample_busy(s, now_us);
	pthread_mutex_unlock(&lock);
}

double
stats_get_busy(void)
{
	return mine ? (double)atomic_load(&mine->busy_ppm) / 1e6 : 0;
}

/* Under the lock: the database of this name, made if need be. */
static struct stats_db *
find_db(const char *name)
{
	struct stats_db *db = NULL;
	size_t n = strlen(name);

	HASH_FIND(hh, dbs, name, n, db);
	if (db)
		return db;
	db = calloc(1, sizeof(*db) + n + 1);
	if (!db)
		return NULL;
	memcpy(db->name, name, n);
	db->tallies = tallies_new();
	if (db->tallies)
		HASH_ADD_KEYPTR(hh, dbs, db->name, n, db);
	if (db->hh.tbl)
		return db;
	tallies_free(db->tallies);
	free(db);
	return NULL;
}

struct stats_set *
stats_open(const char *database, enum stats_road road)
{
	struct stats_set *set = calloc(1, sizeof(*set));

	if (!set)
		return NULL;
	set->road = road;
	pthread_mutex_lock(&lock);
	set->db = find_db(database);
	if (set->db) {
		set->next = set->db->sets;
		set->at = &set->db->sets;
		if (set->next)
			set->next->at = &set->next;
		set->db->sets = set;
	}
	pthread_mutex_unlock(&lock);
	if (set->db)
		return set;
	free(set);
	return NULL;
}

struct tallies *
stats_get_tallies(const struct stats_set *set)
{
	return set->db->tallies;
}

/* Under the lock. */
static void
add_set(struct stats_total *total, const struct stats_set *set)
{
	for (int i = 0; i < DB_STAT_N; i++)
		total->counts[i] += atomic_load_explicit(
		    &set->counts[i], memory_order_relaxed);
	for (int i = 0; i < HIST_N; i++)
		stats_add_set(
		    &total->hists[i][set->road], set, (enum stats_hist_id)i);
}

void
stats_close(struct stats_set *set)
{
	if (!set)
		return;
	pthread_mutex_lock(&lock);
	add_set(&set->db->gone, set);
	*set->at = set->next;
	if (set->next)
		set->next->at = set->at;
	pthread_mutex_unlock(&lock);
	free(set);
}

/* --- Reading -------------------------------------------------------------- */

uint64_t
stats_get(enum stats_id which)
{
	bool is_max = stats_is_max(which);
	uint64_t sum = 0;

	pthread_mutex_lock(&lock);
	for (struct stats *s = all; s; s = s->next) {
		uint64_t v = atomic_load_explicit(
		    &s->v[which], memory_order_relaxed);

		if (!is_max)
			sum += v;
		else if (v > sum)
			sum = v;
	}
	pthread_mutex_unlock(&lock);
	return sum;
}

uint64_t
stats_get_difference(enum stats_id which, enum stats_id less)
{
	uint64_t n = stats_get(less); /* first: those are in the other one */

	return stats_get(which) - n;
}

uint64_t
stats_get_error(size_t index)
{
	uint64_t sum = 0;

	pthread_mutex_lock(&lock);
	for (struct stats *s = all; s; s = s->next)
		sum += atomic_load_explicit(
		    &s->errors[index], memory_order_relaxed);
	pthread_mutex_unlock(&lock);
	return sum;
}

struct stats_db *
stats_next_db(const struct stats_db *db)
{
	struct stats_db *next;

	pthread_mutex_lock(&lock);
	next = db ? db->hh.next : dbs;
	pthread_mutex_unlock(&lock);
	return next;
}

const char *
stats_get_db_name(const struct stats_db *db)
{
	return db->name;
}

struct tallies *
stats_get_db_tallies(const struct stats_db *db)
{
	return db->tallies;
}

void
stats_add_sum(struct stats_sum *to, const struct stats_sum *from)
{
	for (int k = 0; k <= STATS_BOUNDS_N; k++)
		to->n[k] += from->n[k];
	to->sum += from->sum;
}

void
stats_add_set(
    struct stats_sum *to, const struct stats_set *set, enum stats_hist_id which)
{
	const struct stats_hist *h = &set->hists[which];

	for (int k = 0; k <= STATS_BOUNDS_N; k++)
		to->n[k] += atomic_load_explicit(
		    &h->n[k], memory_order_relaxed);
	to->sum += atomic_load_explicit(&h->sum, memory_order_relaxed);
}

void
stats_add_total(const struct stats_db *db, struct stats_total *total)
{
	pthread_mutex_lock(&lock);
	for (int i = 0; i < DB_STAT_N; i++)
		total->counts[i] += db->gone.counts[i];
	for (int i = 0; i < HIST_N; i++)
		for (int road = 0; road < STATS_ROADS_N; road++)
			stats_add_sum(
			    &total->hists[i][road], &db->gone.hists[i][road]);
	for (const struct stats_set *set = db->sets; set; set = set->next)
		add_set(total, set);
	pthread_mutex_unlock(&lock);
}

uint64_t
stats_get_observed(const struct stats_sum *sum)
{
	uint64_t n = 0;

	for (int k = 0; k <= STATS_BOUNDS_N; k++)
		n += sum->n[k];
	return n;
}

uint64_t
stats_get_quantile(
    enum stats_hist_id which, const struct stats_sum *sum, double q)
{
	uint64_t all_n = stats_get_observed(sum), n = 0;
	int k = 0;

	if (all_n == 0)
		return 0;
	for (; k < STATS_BOUNDS_N - 1; k++) {
		n += sum->n[k];
		if ((double)n >= q * (double)all_n)
			break;
	}
	return stats_bounds[which][k];
}

/* --- The table ------------------------------------------------------------ */

bool
stats_is_max(enum stats_id which)
{
	return strstr(rows[which].name, "_max") != NULL;
}

const char *
stats_get_name(enum stats_id which)
{
	return rows[which].name;
}

const char *
stats_get_text(enum stats_id which)
{
	return rows[which].text;
}

const char *
stats_get_db_stat_name(enum stats_db_id which)
{
	return db_rows[which].name;
}

const char *
stats_get_db_stat_text(enum stats_db_id which)
{
	return db_rows[which].text;
}

const char *
stats_get_hist_name(enum stats_hist_id which)
{
	return hist_rows[which].name;
}

const char *
stats_get_hist_text(enum stats_hist_id which)
{
	return hist_rows[which].text;
}

enum stats_unit
stats_get_hist_unit(enum stats_hist_id which)
{
	return hist_rows[which].unit;
}

bool
stats_is_by_road(enum stats_hist_id which)
{
	return hist_rows[which].by_road;
}

const char *
stats_get_road_name(enum stats_road road)
{
	static const char *const names[] = {
		[STATS_INLINE] = "inline",
		[STATS_READER] = "reader",
		[STATS_WRITER] = "writer",
	};

	return names[road];
}
