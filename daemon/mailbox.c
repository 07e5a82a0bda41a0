/* mailbox.c - requests coming home. */
#include "daemon/mailbox.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "proto/error.h"

int
mailbox_open(struct mailbox *mb)
{
	*mb = (struct mailbox){ .lock = PTHREAD_MUTEX_INITIALIZER };
	mb->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return mb->fd < 0 ? -ERR_NO_MEMORY : 0;
}

void
mailbox_close(struct mailbox *mb)
{
	if (mb->fd >= 0)
		close(mb->fd);
	mb->fd = -1;
	pthread_mutex_destroy(&mb->lock);
}

void
mailbox_wake(struct mailbox *mb)
{
	uint64_t one = 1;

	/* a full counter means that it is awake already */
	if (write(mb->fd, &one, sizeof(one)) < 0)
		return;
}

/* Turn r->out into a piece.  The last one needs no memory; an earlier one that
 * finds none stays in r->out and goes with the next. */
static struct piece *
make_piece(struct request *r, bool final)
{
	struct piece *p;

	if (r->out.n == 0)
		return NULL;
	p = final ? &r->last : calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->bytes = r->out;
	buf_init(&r->out);
	return p;
}

void
mailbox_post(struct request *r, bool final)
{
	struct mailbox *mb = r->home;
	struct piece *p = make_piece(r, final);
	bool was_empty;

	pthread_mutex_lock(&mb->lock);
	was_empty = mb->head == NULL;
	if (p) {
		if (r->inbox_tail)
			r->inbox_tail->next = p;
		else
			r->inbox = p;
		r->inbox_tail = p;
	}
	r->final = final;
	if (!r->posted) {
		r->posted = true;
		r->next = NULL;
		if (mb->tail)
			mb->tail->next = r;
		else
			mb->head = r;
		mb->tail = r;
	}
	pthread_mutex_unlock(&mb->lock);
	if (was_empty && atomic_load(&mb->asleep))
		mailbox_wake(mb);
}

bool
mailbox_send(struct mailbox *mb, struct errand *e)
{
	bool shut;

	pthread_mutex_lock(&mb->lock);
	shut = mb->shut;
	if (!shut) {
		e->next = mb->errands;
		mb->errands = e;
		atomic_store(&mb->has_errands, true);
	}
	pthread_mutex_unlock(&mb->lock);
	if (!shut && atomic_load(&mb->asleep))
		mailbox_wake(mb);
	return !shut;
}

void
mailbox_receive(struct mailbox *mb, void *owner, bool shut)
{
	struct errand *list, *next, *turned = NULL;

	if (!shut && !atomic_load(&mb->has_errands))
		return;
	pthread_mutex_lock(&mb->lock);
	list = mb->errands;
	mb->errands = NULL;
	mb->shut = shut;
	atomic_store(&mb->has_errands, false);
	pthread_mutex_unlock(&mb->lock);
	for (struct errand *e = list; e; e = next) { /* oldest first */
		next = e->next;
		e->next = turned;
		turned = e;
	}
	for (struct errand *e = turned; e; e = next) {
		next = e->next;
		e->arrive(e, owner);
	}
}

static void
take_pieces(struct request *r)
{
	if (r->inbox) {
		if (r->unsent_tail)
			r->unsent_tail->next = r->inbox;
		else
			r->unsent = r->inbox;
		r->unsent_tail = r->inbox_tail;
	}
	r->inbox = r->inbox_tail = NULL;
	r->posted = false;
	r->home_again = r->final;
}

struct request *
mailbox_take(struct mailbox *mb)
{
	struct request *list;

	pthread_mutex_lock(&mb->lock);
	list = mb->head;
	mb->head = mb->tail = NULL;
	for (struct request *r = list; r; r = r->next) {
		r->mail_next = r->next;
		take_pieces(r);
	}
	pthread_mutex_unlock(&mb->lock);
	return list;
}

bool
mailbox_sleep(struct mailbox *mb)
{
	bool empty;

	atomic_store(&mb->asleep, true);
	pthread_mutex_lock(&mb->lock);
	empty = mb->head == NULL && mb->errands == NULL;
	pthread_mutex_unlock(&mb->lock);
	if (!empty)
		atomic_store(&mb->asleep, false);
	return empty;
}

void
mailbox_awake(struct mailbox *mb)
{
	atomic_store(&mb->asleep, false);
}

void
mailbox_hear(struct mailbox *mb)
{
	uint64_t n;

	if (read(mb->fd, &n, sizeof(n)) < 0)
		return; /* nobody rang */
}
