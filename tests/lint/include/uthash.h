/* uthash.h - what clang-tidy and cppcheck see of uthash: calls.
 *
 * The real macros are up to forty lines of pointer work each, which the tools
 * would count as the nesting of our functions and read as null dereferences.
 * gcc, its analyzer and the sanitizers see the real header.  A macro that is
 * missing here is added when it is first used.
 */
#ifndef UTHASH_H
#define UTHASH_H

#include <stddef.h>
#include <string.h>

typedef struct UT_hash_handle {
	void *tbl;
	void *prev;
	void *next;
	unsigned hashv;
} UT_hash_handle;

void *lint_hash_find(const void *head, const void *key, size_t n);
void *lint_hash_add(void *head, const void *key, size_t n, void *add);
void *lint_hash_delete(void *head, void *del);
unsigned lint_hash_count(const void *head);

#define HASH_FIND(hh, head, key, n, out) \
	((out) = lint_hash_find((head), (key), (n)))
#define HASH_FIND_STR(head, key, out) HASH_FIND(hh, head, key, strlen(key), out)
#define HASH_FIND_INT(head, key, out) HASH_FIND(hh, head, key, sizeof(int), out)
#define HASH_FIND_PTR(head, key, out) \
	HASH_FIND(hh, head, key, sizeof(void *), out)
#define HASH_ADD_KEYPTR(hh, head, key, n, add) \
	((head) = lint_hash_add((head), (key), (n), (add)))
#define HASH_ADD(hh, head, field, n, add) \
	HASH_ADD_KEYPTR(hh, head, &(add)->field, n, add)
#define HASH_ADD_STR(head, field, add) \
	HASH_ADD_KEYPTR(hh, head, (add)->field, strlen((add)->field), add)
#define HASH_ADD_INT(head, field, add) \
	HASH_ADD(hh, head, field, sizeof(int), add)
#define HASH_ADD_PTR(head, field, add) \
	HASH_ADD(hh, head, field, sizeof(void *), add)
#define HASH_DELETE(hh, head, del) ((head) = lint_hash_delete((head), (del)))
#define HASH_DEL(head, del)	   HASH_DELETE(hh, head, del)
#define HASH_CLEAR(hh, head)	   ((head) = lint_hash_delete((head), NULL))
#define HASH_COUNT(head)	   lint_hash_count(head)
#define HASH_ITER(hh, head, el, tmp) \
	for ((el) = (head), (tmp) = (el) != NULL ? (el)->hh.next : NULL; \
	     (el) != NULL; \
	     (el) = (tmp), (tmp) = (tmp) != NULL ? (tmp)->hh.next : NULL)

#endif
