/* tally.c - the texts of statements, and sums of what they have cost. */
#include "daemon/tally.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* A key begins with a hash. */
#define HASH_FUNCTION(p, n, ret) ((ret) = take_hash(p, n))
#define HASH_NONFATAL_OOM        1
#include <uthash.h>
#include <utlist.h>

/* So many of those that nobody has open are compared for one to go: all of them
 * come by in turn, and it costs less than the prepare that follows. */
#define COMPARED_N 16

struct tally_pool {
	struct tally *open;
	struct tally_sum gone; /* what closed ones have counted */
};

/* What is the same statement: all of its text by a hash, and its beginning by
 * itself, so that nobody's text can pass for one that looks otherwise. */
struct key {
	uint64_t hash;
	size_t n; /* of the whole text */
	char sql[TALLY_SQL_BYTES];
};

struct text {
	struct tally_pool pool; /* first: it is found by it */
	UT_hash_handle hh;
	struct text *prev, *next; /* in idle */
	size_t sql_n;
	struct key key; /* only as much as there is of the text */
};

struct tallies {
	pthread_mutex_t lock;
	struct text *texts; /* uthash by key; under lock, as all that follows */
	struct text *idle;  /* those that nobody has open */
	struct tally_pool others;
};

static _Atomic size_t bytes; /* of the texts of all */

static unsigned
take_hash(const void *key, size_t n)
{
	uint64_t hash = 0;

	memcpy(&hash, key, n < sizeof(hash) ? n : sizeof(hash));
	return (unsigned)(hash >> 32);
}

struct tallies *
tallies_new(void)
{
	struct tallies *of = calloc(1, sizeof(*of));

	if (of)
		pthread_mutex_init(&of->lock, NULL);
	return of;
}

void
tallies_free(struct tallies *tallies)
{
	if (tallies)
		pthread_mutex_destroy(&tallies->lock);
	free(tallies);
}

size_t
tally_get_bytes(void)
{
	return atomic_load(&bytes);
}

static void
add_sum(struct tally_sum *to, const struct tally_sum *from)
{
	for (int i = 0; i < TALLY_COUNTS_N; i++)
		to->counts[i] += from->counts[i];
	for (int i = 0; i < TALLY_TIMES_N; i++)
		to->times[i] += from->times[i];
}

static void
add_tally(struct tally_sum *to, const struct tally *t)
{
	for (int i = 0; i < TALLY_COUNTS_N; i++)
		to->counts[i] += atomic_load_explicit(
		    &t->counts[i], memory_order_relaxed);
	for (int i = 0; i < TALLY_TIMES_N; i++)
		to->times[i] += atomic_load_explicit(
		    &t->times[i], memory_order_relaxed);
}

/* --- Texts ------------------------------------------------------------------- */

/* FNV-1a, eight bytes at a time, and the rest by itself. */
static uint64_t
hash_text(const char *sql, size_t n)
{
	uint64_t hash = UINT64_C(14695981039346656037);

	for (; n > 0;) {
		size_t taken = n < 8 ? n : 8;
		uint64_t word = 0;

		memcpy(&word, sql, taken);
		hash = (hash ^ word) * UINT64_C(1099511628211);
		hash ^= hash >> 29;
		sql += taken;
		n -= taken;
	}
	return hash;
}

/* Gives its length. */
static size_t
make_key(struct key *key, const char *sql, size_t n)
{
	size_t kept = n < TALLY_SQL_BYTES ? n : TALLY_SQL_BYTES;

	key->hash = hash_text(sql, n);
	key->n = n;
	memcpy(key->sql, sql, kept);
	return offsetof(struct key, sql) + kept;
}

static size_t
get_bytes(size_t key_n)
{
	return offsetof(struct text, key) + key_n;
}

static void
forget(struct tallies *of, struct text *text)
{
	DL_DELETE(of->idle, text);
	HASH_DEL(of->texts, text);
	add_sum(&of->others.gone, &text->pool.gone);
	atomic_fetch_sub(
	    &bytes, get_bytes(offsetof(struct key, sql) + text->sql_n));
	free(text);
}

/* Those that stay go to the end. */
static void
make_room(struct tallies *of)
{
	struct text *least = of->idle;

	for (int i = 0; i < COMPARED_N && of->idle; i++) {
		struct text *text = of->idle;

		if (text->pool.gone.counts[TALLY_US] <
		    least->pool.gone.counts[TALLY_US])
			least = text;
		DL_DELETE(of->idle, text);
		DL_APPEND(of->idle, text);
	}
	if (least)
		forget(of, least);
}

static bool
is_full(const struct tallies *of, size_t more)
{
	return HASH_COUNT(of->texts) >= TALLY_TEXTS_MAX ||
	    atomic_load(&bytes) + more > TALLY_BYTES_MAX;
}

/* NULL: there is no room. */
static struct text *
add_text(struct tallies *of, const struct key *key, size_t key_n)
{
	size_t n = get_bytes(key_n);
	struct text *text;

	if (is_full(of, n))
		make_room(of);
	if (is_full(of, n))
		return NULL;
	text = calloc(1, n);
	if (!text)
		return NULL;
	text->sql_n = key_n - offsetof(struct key, sql);
	memcpy(&text->key, key, key_n);
	HASH_ADD(hh, of->texts, key, key_n, text);
	if (!text->hh.tbl) {
		free(text);
		return NULL;
	}
	atomic_fetch_add(&bytes, n);
	return text;
}

static struct tally_pool *
find_pool(struct tallies *of, const struct key *key, size_t key_n)
{
	struct text *text = NULL;

	HASH_FIND(hh, of->texts, key, key_n, text);
	if (!text)
		text = add_text(of, key, key_n);
	else if (!text->pool.open)
		DL_DELETE(of->idle, text);
	return text ? &text->pool : &of->others;
}

/* --- Tallies ----------------------------------------------------------------- */

void
tally_open(
    struct tally *t, struct tallies *tallies, const char *sql, size_t sql_n)
{
	struct key key;
	size_t key_n = make_key(&key, sql, sql_n);

	t->tallies = tallies;
	pthread_mutex_lock(&tallies->lock);
	t->pool = find_pool(tallies, &key, key_n);
	t->next = t->pool->open;
	t->at = &t->pool->open;
	if (t->next)
		t->next->at = &t->next;
	t->pool->open = t;
	pthread_mutex_unlock(&tallies->lock);
}

void
tally_close(struct tally *t)
{
	struct tallies *of = t->tallies;
	struct text *text = (struct text *)t->pool;

	if (!of)
		return;
	pthread_mutex_lock(&of->lock);
	add_tally(&t->pool->gone, t);
	*t->at = t->next;
	if (t->next)
		t->next->at = t->at;
	if (!t->pool->open && t->pool != &of->others)
		DL_APPEND(of->idle, text);
	pthread_mutex_unlock(&of->lock);
	t->tallies = NULL;
}

/* --- Looking ------------------------------------------------------------------ */

static void
sum_pool(const struct tally_pool *pool, struct tally_sum *sum)
{
	*sum = pool->gone;
	for (const struct tally *t = pool->open; t; t = t->next)
		add_tally(sum, t);
}

static struct tally_row *
find_least(struct tally_top *top)
{
	struct tally_row *least = top->rows;

	for (size_t i = 1; i < top->n; i++)
		if (top->rows[i].sum.counts[TALLY_US] <
		    least->sum.counts[TALLY_US])
			least = &top->rows[i];
	return least;
}

/* Put it among the top, or to the rest. */
static void
take(struct tally_top *top, const char *database, const struct text *text)
{
	struct tally_row *row;
	struct tally_sum sum;

	sum_pool(&text->pool, &sum);
	if (sum.counts[TALLY_US] == 0 && tally_get_calls(&sum) == 0)
		return; /* it was only prepared */
	if (top->n < TALLY_TOP_N) {
		row = &top->rows[top->n++];
	} else {
		row = find_least(top);
		if (row->sum.counts[TALLY_US] >= sum.counts[TALLY_US]) {
			add_sum(&top->rest, &sum);
			return;
		}
		add_sum(&top->rest, &row->sum);
	}
	*row = (struct tally_row){ .sum = sum, .sql_n = text->sql_n };
	memcpy(row->sql, text->key.sql, text->sql_n);
	strncpy(row->database, database, sizeof(row->database) - 1);
}

void
tallies_take_top(
    struct tallies *tallies, const char *database, struct tally_top *top)
{
	struct tally_sum others;

	pthread_mutex_lock(&tallies->lock);
	sum_pool(&tallies->others, &others);
	add_sum(&top->rest, &others);
	for (const struct text *text = tallies->texts; text;
	     text = text->hh.next)
		take(top, database, text);
	pthread_mutex_unlock(&tallies->lock);
}

uint64_t
tally_get_calls(const struct tally_sum *sum)
{
	uint64_t n = 0;

	for (int i = 0; i < TALLY_TIMES_N; i++)
		n += sum->times[i];
	return n;
}

uint64_t
tally_get_quantile(const struct tally_sum *sum, double q)
{
	double all = (double)tally_get_calls(sum);
	uint64_t n = 0;
	int bits = 0;

	if (tally_get_calls(sum) == 0)
		return 0;
	for (; bits < TALLY_TIMES_N - 1; bits++) {
		n += sum->times[bits];
		if ((double)n >= q * all)
			break;
	}
	return UINT64_C(1) << bits;
}
