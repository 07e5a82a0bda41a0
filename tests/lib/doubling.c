/* doubling.c - a statement that takes long to prepare. */
#include "tests/lib/doubling.h"

#include <stdio.h>
#include <string.h>

void
doubling_make(struct buf *b, int first, int tables_n, const char *more)
{
	char part[128];

	buf_cut(b, 0);
	snprintf(part, sizeof(part), "WITH c0 AS (SELECT %d AS x)", first);
	buf_put(b, part, strlen(part));
	for (int i = 1; i < tables_n; i++) {
		int n = snprintf(part, sizeof(part),
		    ", c%d AS (SELECT (SELECT x FROM c%d) +"
		    " (SELECT x FROM c%d) AS x)",
		    i, i - 1, i - 1);

		buf_put(b, part, (size_t)n);
	}
	snprintf(
	    part, sizeof(part), " SELECT *%s FROM c%d", more, tables_n - 1);
	buf_put(b, part, strlen(part));
}
