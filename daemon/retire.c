/* retire.c - lists that a reload has replaced.  It runs where the errand is. */
#include "daemon/retire.h"

#include <stdlib.h>

#include "conf/names.h"

struct retire {
	struct errand errand; /* first: it is cast back */
	struct mailbox *const *boxes;
	unsigned boxes_n;
	unsigned next; /* where it goes from here */
	struct conf_names *names;
};

/* A worker that has ended looks at nothing. */
static void
travel(struct retire *retire)
{
	while (retire->names && retire->next < retire->boxes_n)
		if (mailbox_send(
			retire->boxes[retire->next++], &retire->errand))
			return;
	names_free_all(retire->names);
	free(retire);
}

static void
arrive(struct errand *e, void *owner)
{
	(void)owner;
	travel((struct retire *)e);
}

struct retire *
retire_new(struct mailbox *const *boxes, unsigned n)
{
	struct retire *retire = calloc(1, sizeof(*retire));

	if (!retire)
		return NULL;
	retire->errand.arrive = arrive;
	retire->boxes = boxes;
	retire->boxes_n = n;
	return retire;
}

void
retire_start(struct retire *retire, struct conf_names *names)
{
	retire->names = names;
	travel(retire);
}
