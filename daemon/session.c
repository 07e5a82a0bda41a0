/* session.c - transactions as their worker sees them. */
#include "daemon/session.h"

#include <assert.h>
#include <stdlib.h>

struct session *
session_begin(struct session **list, uint64_t stream, enum msg_tx_mode mode,
    const struct owner *owner)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->tx = tx_new(mode, owner);
	if (!s->tx) {
		free(s);
		return NULL;
	}
	s->stream = stream;
	s->state = TX_STATE_OPEN;
	s->next = *list;
	*list = s;
	return s;
}

struct session *
session_find(struct session *list, uint64_t stream)
{
	while (list && list->stream != stream)
		list = list->next;
	return list;
}

struct request *
session_take(struct session *s)
{
	return s->running ? NULL : line_pop(&s->line);
}

unsigned
session_count(const struct session *list)
{
	unsigned n = 0;

	for (; list; list = list->next)
		n++;
	return n;
}

void
session_set_state(struct session *s, enum msg_tx_state state)
{
	s->state = state;
	if (state == TX_STATE_OPEN && s->tx->held_us)
		s->state = TX_STATE_READ;
}

enum msg_tx_state
session_get_state(const struct session *s)
{
	return tx_has_begun(s->tx) ? s->state : TX_STATE_NONE;
}

void
session_refresh(struct session *s)
{
	if (atomic_load(&s->tx->expired))
		s->state = TX_STATE_EXPIRED;
}

void
session_bind(struct session *s, struct db *db, struct hot *hot)
{
	s->db = db;
	s->hot = hot;
	hot_use(hot);
}

void
session_unbind(struct session *s)
{
	if (s->hot)
		hot_unuse(s->hot);
	s->hot = NULL;
	s->db = NULL;
}

void
session_end(struct session **list, struct session *s)
{
	struct session **at = list;

	assert(!s->line.head && !s->running);
	session_unbind(s);
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	tx_unref(s->tx);
	free(s);
}
