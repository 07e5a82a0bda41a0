/* mem.h - where memory comes from.
 *
 * The one mutable global of proto/ and client/: an application may bring its own
 * allocator, through sqlpool_set_allocator.  Any thread.
 */
#ifndef PROTO_MEM_H
#define PROTO_MEM_H

#include <stddef.h>

/* As realloc(3), also for p NULL: n bytes that begin with those at p, or NULL,
 * and p is as before.  n is not 0. */
void *mem_resize(void *p, size_t n);

/* Give n bytes of zeros, or NULL.  n is not 0. */
void *mem_make(size_t n);

/* As free(3). */
void mem_free(void *p);

/* Use these from now on, or libc's (NULL, NULL).  While nothing is allocated and
 * no other thread is here. */
void mem_set(void *(*resize)(void *p, size_t n), void (*release)(void *p));

#endif
