/* mem.c - libc's memory, or an application's. */
#include "proto/mem.h"

#include <stdlib.h>
#include <string.h>

static struct {
	void *(*resize)(void *p, size_t n);
	void (*release)(void *p);
} source = { realloc, free };

void *
mem_resize(void *p, size_t n)
{
	return source.resize(p, n);
}

void *
mem_make(size_t n)
{
	void *p;

	if (source.resize == realloc)
		return calloc(1, n);
	p = source.resize(NULL, n);
	if (p)
		memset(p, 0, n);
	return p;
}

void
mem_free(void *p)
{
	if (p)
		source.release(p);
}

void
mem_set(void *(*resize)(void *p, size_t n), void (*release)(void *p))
{
	source.resize = resize ? resize : realloc;
	source.release = release ? release : free;
}
