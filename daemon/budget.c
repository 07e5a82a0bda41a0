/* budget.c - the allocator that SQLite is given.
 *
 * Thread: all that use SQLite; a budget is one thread's at a time. */
#include "daemon/budget.h"

#include <sqlite3.h>
#include <stddef.h>

#include "proto/error.h"

_Thread_local struct budget *budget_current;

/* What stands below: set once, before there are threads. */
static sqlite3_mem_methods below;

/* What all budgets have taken, and may take: NULL is no bound. */
static _Atomic int64_t total;
static _Atomic(const _Atomic int64_t *) total_max;

void
budget_set_total(const _Atomic int64_t *bytes)
{
	atomic_store(&total_max, bytes);
}

int64_t
budget_get_total(void)
{
	return atomic_load(&total);
}

static void
count(struct budget *b, int64_t bytes)
{
	b->shared += bytes;
	if (bytes && b->mine)
		atomic_fetch_add(b->mine, bytes);
}

/* A client that has some already may have no more than is left then, but for what
 * two of its reads take at the same moment. */
static bool
take_from_total(struct budget *b, int64_t bytes)
{
	const _Atomic int64_t *max = atomic_load(&total_max);
	int64_t mine = b->mine ? atomic_load(b->mine) : 0;
	int64_t taken = atomic_load(&total);

	do {
		int64_t left = max ? atomic_load(max) - taken - bytes
				   : INT64_MAX;

		if (left < 0 || (mine > 0 && mine + bytes > left))
			return false;
	} while (!atomic_compare_exchange_weak(&total, &taken, taken + bytes));
	count(b, bytes);
	return true;
}

static void
give_to_total(struct budget *b, int64_t bytes)
{
	atomic_fetch_sub(&total, bytes);
	count(b, -bytes);
}

void
budget_give_back(struct budget *b)
{
	b->granted -= b->shared;
	b->left = b->left < b->granted ? b->left : b->granted;
	give_to_total(b, b->shared);
}

void
budget_set_client(struct budget *b, _Atomic int64_t *mine)
{
	int64_t shared = b->shared;

	count(b, -shared);
	b->mine = mine;
	count(b, shared);
}

/* Have so many bytes, if the limits allow. */
static bool
grant(struct budget *b, int64_t bytes)
{
	int64_t missing = bytes - b->left;
	int64_t most = b->limit - b->granted;
	int64_t more = (missing / BUDGET_PIECE_BYTES + 1) * BUDGET_PIECE_BYTES;

	if (missing > most) {
		b->hit = true;
		return false;
	}
	more = more < most ? more : most;
	if (!b->alone && !take_from_total(b, more)) {
		b->hit = b->hit_total = true;
		return false;
	}
	b->granted += more;
	b->left += more;
	return true;
}

/* Much of what was shared is free again: others may have it. */
static void
shrink(struct budget *b)
{
	int64_t bytes = b->left / 2 < b->shared ? b->left / 2 : b->shared;

	give_to_total(b, bytes);
	b->granted -= bytes;
	b->left -= bytes;
}

static void
refund(struct budget *b, int64_t bytes)
{
	b->left += bytes;
	if (b->left > b->granted)
		b->left = b->granted;
	if (b->shared && b->left > 4 * BUDGET_PIECE_BYTES)
		shrink(b);
}

static void *
mem_malloc(int n)
{
	struct budget *b = budget_current;
	void *p;

	if (!b)
		return below.xMalloc(n);
	if (n > b->left && !grant(b, n))
		return NULL;
	p = below.xMalloc(n);
	if (p)
		b->left -= below.xSize(p);
	return p;
}

static void
mem_free(void *p)
{
	struct budget *b = budget_current;

	if (b)
		refund(b, below.xSize(p));
	below.xFree(p);
}

static void *
mem_realloc(void *p, int n)
{
	struct budget *b = budget_current;
	int64_t before;
	void *moved;

	if (!b)
		return below.xRealloc(p, n);
	before = below.xSize(p);
	if (n - before > b->left && !grant(b, n - before))
		return NULL;
	moved = below.xRealloc(p, n);
	if (moved)
		refund(b, before - below.xSize(moved));
	return moved;
}

int
budget_install(void)
{
	sqlite3_mem_methods methods;

	if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &below) != SQLITE_OK)
		return -ERR_INTERNAL;
	methods = below;
	methods.xMalloc = mem_malloc;
	methods.xFree = mem_free;
	methods.xRealloc = mem_realloc;
	if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) != SQLITE_OK)
		return -ERR_INTERNAL;
	return 0;
}
