/* utlist.h - what clang-tidy and cppcheck see of utlist; see uthash.h. */
#ifndef UTLIST_H
#define UTLIST_H

void *lint_list_next(const void *el);
void *lint_list_add(void *head, void *el);
void *lint_list_delete(void *head, void *el);

#define DL_APPEND(head, el)  ((head) = lint_list_add((head), (el)))
#define DL_PREPEND(head, el) ((head) = lint_list_add((head), (el)))
#define DL_DELETE(head, el)  ((head) = lint_list_delete((head), (el)))
#define DL_FOREACH(head, el) \
	for ((el) = (head); (el); (el) = lint_list_next(el))
#define DL_FOREACH_SAFE(head, el, tmp)                               \
	for ((el) = (head); (el) && ((tmp) = lint_list_next(el), 1); \
	     (el) = (tmp))

/* With links of other names. */
#define DL_APPEND2(head, el, prev, next) DL_APPEND(head, el)
#define DL_DELETE2(head, el, prev, next) DL_DELETE(head, el)
#define DL_FOREACH2(head, el, next)      DL_FOREACH(head, el)

#define LL_APPEND(head, el)                   DL_APPEND(head, el)
#define LL_PREPEND(head, el)                  DL_PREPEND(head, el)
#define LL_DELETE(head, el)                   DL_DELETE(head, el)
#define LL_DELETE2(head, el, next)            DL_DELETE(head, el)
#define LL_FOREACH(head, el)                  DL_FOREACH(head, el)
#define LL_FOREACH_SAFE(head, el, tmp)        DL_FOREACH_SAFE(head, el, tmp)
#define LL_FOREACH_SAFE2(head, el, tmp, next) DL_FOREACH_SAFE(head, el, tmp)
#define LL_COUNT2(head, el, n, next)   \
	do {                           \
		(n) = 0;               \
		DL_FOREACH(head, el) { \
			(n)++;         \
		}                      \
	} while (0)

#endif
