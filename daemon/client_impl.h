/* client_impl.h - what client.c, client_pieces.c and client_prepared.c lend each
 * other.
 *
 * Thread: the worker. */
#ifndef DAEMON_CLIENT_IMPL_H
#define DAEMON_CLIENT_IMPL_H

#include "daemon/client.h"

/* Have a client's output written at the end of the turn, or of the next one when it
 * is too late for that (client.c). */
void client_mark_dirty(struct client *cl);

/* Move what its credit allows of all its results to its output, until that is
 * clogged; free the requests that are answered by that.  It may be closed afterwards
 * (client_pieces.c).  Only what is away has results: cl->away_n. */
void client_move_pieces(struct client *cl);

/* Say whether a result waits that neither credit nor the socket keeps back. */
bool client_can_move_pieces(const struct client *cl);

/* Forget all that it has prepared (client_prepared.c). */
void client_drop_all_prepared(struct client *cl);

#endif
