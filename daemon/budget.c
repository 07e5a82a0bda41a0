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

static void
give_back(struct budget *b, int64_t bytes)
{
	b->left += bytes;
	if (b->left > b->limit)
		b->left = b->limit;
}

static void *
mem_malloc(int n)
{
	struct budget *b = budget_current;
	void *p;

	if (!b)
		return below.xMalloc(n);
	if (n > b->left) {
		b->hit = true;
		return NULL;
	}
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
		give_back(b, below.xSize(p));
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
	if (n - before > b->left) {
		b->hit = true;
		return NULL;
	}
	moved = below.xRealloc(p, n);
	if (moved)
		give_back(b, before - below.xSize(moved));
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
