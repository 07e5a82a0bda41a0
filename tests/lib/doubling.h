/* doubling.h - a statement that takes long to prepare, and is short. */
#ifndef TESTS_LIB_DOUBLING_H
#define TESTS_LIB_DOUBLING_H

#include "proto/buf.h"

/* Make a text of so many tables, each of which names the one before twice: one of 30
 * is never done, of 12 it takes 25 ms, of 13 twice that.  The first table holds a
 * number, so that the text can be another one each time; more: what else is selected
 * from the last one.  No NUL stands behind it. */
void doubling_make(struct buf *b, int first, int tables_n, const char *more);

#endif
