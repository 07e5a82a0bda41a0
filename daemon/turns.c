/* turns.c - the ring of clients that wait. */
#include "daemon/turns.h"

#include <utlist.h>

static void
count(struct turns *t, const struct request *r)
{
	t->n++;
	t->bytes += r->bytes_n;
}

static void
discount(struct turns *t, const struct request *r)
{
	t->n--;
	t->bytes -= r->bytes_n;
}

void
turns_push(struct turns *t, struct request *r)
{
	if (!r->place->line.head)
		DL_APPEND(t->ring, r->place);
	line_push(&r->place->line, r);
	count(t, r);
}

struct request *
turns_peek(const struct turns *t)
{
	return t->ring ? t->ring->line.head : NULL;
}

struct request *
turns_pop(struct turns *t)
{
	struct place *place = t->ring;
	struct request *r;

	if (!place)
		return NULL;
	r = line_pop(&place->line);
	discount(t, r);
	DL_DELETE(t->ring, place);
	if (place->line.head)
		DL_APPEND(t->ring, place);
	return r;
}

void
turns_return(struct turns *t, struct request *r)
{
	struct place *place = r->place;

	if (place->line.head)
		DL_DELETE(t->ring, place);
	line_push_front(&place->line, r);
	DL_PREPEND(t->ring, place);
	count(t, r);
}

void
turns_each(
    const struct turns *t, void (*fn)(struct request *r, void *arg), void *arg)
{
	struct place *place;

	DL_FOREACH(t->ring, place) {
		for (struct request *r = place->line.head; r; r = r->next)
			fn(r, arg);
	}
}

/* In round k the k-th of each place. */
size_t
turns_list(const struct turns *t, struct request **list, size_t most)
{
	size_t n = 0, before = 1;
	struct place *place;

	for (size_t round = 0; n < most && n != before; round++) {
		before = n;
		DL_FOREACH(t->ring, place) {
			struct request *r = place->line.head;

			for (size_t i = 0; r && i < round; i++)
				r = r->next;
			if (r && n < most)
				list[n++] = r;
		}
	}
	return n;
}

struct line
turns_take_stopped(struct turns *t)
{
	struct line all = { 0 };
	struct place *place, *next;

	DL_FOREACH_SAFE(t->ring, place, next) {
		struct line stopped = line_take_stopped(&place->line);
		struct request *r;

		if (!place->line.head)
			DL_DELETE(t->ring, place);
		while ((r = line_pop(&stopped))) {
			discount(t, r);
			line_push(&all, r);
		}
	}
	return all;
}
