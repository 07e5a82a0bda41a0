/* asks.c - who wants the WAL copied now, and waits for it (CHECKPOINT).
 *
 * They wait in a list of the writer's.  A copy is for those that were there when it
 * began: who comes later may have committed since, and gets the next one.  Who does
 * not want to wait any longer leaves the list, and nothing else: the copy goes on,
 * as gate.c and the keeper have it.
 *
 * Threads: any for writer_*, the others whoever runs the writer. */
#include "daemon/mailbox.h"
#include "daemon/writer_impl.h"

void
writer_ask_copy(struct writer *w, struct writer_ask *ask)
{
	pthread_mutex_lock(&w->lock);
	ask->next = atomic_load(&w->asks);
	atomic_store(&w->asks, ask);
	pthread_mutex_unlock(&w->lock);
	squeue_kick(&w->q);
}

static bool
is_any(const struct writer_ask *ask)
{
	return ask != NULL;
}

static bool
is_begun(const struct writer_ask *ask)
{
	return ask->begun;
}

static bool
is_stopped(const struct writer_ask *ask)
{
	return atomic_load(ask->stop) != 0;
}

/* Those that are due have waited for long enough.  Whoever takes one from the list
 * sends it, once. */
static void
send_home(struct writer *w, bool (*is_due)(const struct writer_ask *ask))
{
	struct writer_ask *ask, *next, *stay = NULL, *due = NULL;

	pthread_mutex_lock(&w->lock);
	for (ask = atomic_load(&w->asks); ask; ask = next) {
		struct writer_ask **list = is_due(ask) ? &due : &stay;

		next = ask->next;
		ask->next = *list;
		*list = ask;
	}
	atomic_store(&w->asks, stay);
	pthread_mutex_unlock(&w->lock);
	for (ask = due; ask; ask = next) {
		next = ask->next;
		mailbox_send(ask->home, ask->errand); /* home waits for it */
	}
}

void
writer_look_at_asks(struct writer *w)
{
	if (atomic_load_explicit(&w->asks, memory_order_relaxed))
		send_home(w, is_stopped);
}

void
asks_answer(struct writer *w)
{
	w->is_asked = false;
	send_home(w, is_any);
}

void
asks_answer_begun(struct writer *w)
{
	w->is_asked = false;
	send_home(w, is_begun);
}

void
asks_begin(struct writer *w)
{
	pthread_mutex_lock(&w->lock);
	for (struct writer_ask *ask = atomic_load(&w->asks); ask;
	     ask = ask->next)
		ask->begun = w->is_asked = true;
	pthread_mutex_unlock(&w->lock);
}
