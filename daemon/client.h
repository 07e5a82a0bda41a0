/* client.h - one connected client: its bytes in and out, and what it has under
 * way; and the loop of the worker it lives on.
 *
 * A client belongs to one worker for life (T2).  What its bytes mean is not known
 * here (collect.h).  A client that is closed stays until the turn ends and nothing
 * of it is in flight (T4): the event loop, and requests on other threads, may still
 * know it.
 *
 * Thread: the worker.
 */
#ifndef DAEMON_CLIENT_H
#define DAEMON_CLIENT_H

#include "daemon/access.h"
#include "daemon/db.h"
#include "daemon/deadlines.h"
#include "daemon/hot.h"
#include "daemon/mailbox.h"
#include "daemon/out.h"
#include "daemon/session.h"
#include "daemon/turns.h"

struct event;
struct event_base;
struct prepared;

/* Why a connection ended: close.def. */
enum close_reason {
#define CLOSE(name, text) CLOSE_##name,
#include "daemon/close.def"
#undef CLOSE
};

/* A worker's loop, as its clients see it. */
struct loop {
	struct event_base *base;
	const struct conf *conf; /* borrowed, like dbs */
	struct dbs *dbs;
	struct hot **hots; /* by database index; NULL: none */
	size_t hots_n;
	struct hot_named *hots_by_name; /* uthash: hots.c */
	struct hot *arrived;            /* to be looked at in this turn */
	struct hot_box box;             /* of hots that come home */
	struct hot *batches;            /* with a read transaction open */
	struct hot *leavers;            /* to be given back when they can be */
	unsigned preloads_n; /* of the last reload whose databases it has */
	struct hot *reaps;   /* with requests that wait elsewhere and
					  * were told to stop in this turn */
	void (*read)(struct client *cl); /* its socket is readable */
	struct mailbox mailbox;
	struct mailbox *const *peers; /* of all workers, this one among them;
				       * constant while there are clients */
	unsigned peers_n, number;     /* which of them this one is */
	int64_t began_us;             /* when the daemon began to serve */
	uint64_t clients_made;
	unsigned admins_n;          /* clients that are at @admin */
	struct deadlines deadlines; /* of what was handed over */
	struct out_pool pool;
	struct request_pool requests;
	uint8_t *arena; /* what was read in this turn */
	size_t arena_n;
	struct line collected; /* in order of arrival, but for */
	struct line cancels;   /* which come before them */
	int64_t now_us; /* until when its time was counted; 0: nothing was */
	uint64_t turn;  /* counted */
	struct client *clients; /* all of them */
	size_t clients_n;
	struct client *reader;  /* who was read from last; NULL: it is gone */
	unsigned reads_n;       /* in this turn */
	struct client *more;    /* those that has_more */
	struct client *dirty;   /* have output that nobody tried to write */
	struct client *zombies; /* closed, to be freed */
	unsigned waiting_n;     /* requests in any client's reads */
	unsigned again_n;       /* requests in any client's again */
	bool hung_up;           /* some client was, in this turn */
	bool may_stall;  /* something is to be ended in a while: ends_stalled */
	unsigned held_n; /* clients that hold requests back */
	unsigned away_n; /* of all its clients: not answered in their turn */
	bool draining;
};

struct client {
	struct client *next, **at; /* in loop->clients or loop->zombies */
	struct client *next_dirty;
	struct loop *loop;
	int fd;
	struct event *readable, *writable;
	uint64_t number;    /* of all that the daemon had, its own */
	struct owner owner; /* pid, user, application name */
	struct peer peer;

	/* bytes */
	struct buf partial; /* a frame that has not arrived completely */
	struct out out;
	bool is_dirty, reads_paused, writes_pending;
	bool has_more; /* partial may hold complete frames, for the next turn */
	struct client *next_more;

	/* what HELLO agreed on */
	bool said_hello;
	struct db *db;    /* the default database, referenced; or NULL */
	bool is_admin_db; /* the default is @admin */
	uint64_t features;
	size_t max_frame_bytes, window_bytes;

	/* what is under way */
	struct request *requests; /* all, newest first */
	unsigned requests_n;      /* of these; and the bytes that count: */
	size_t requests_bytes;
	uint64_t top_id; /* the largest id so far */
	unsigned away_n; /* not answered in the turn they came in */
	size_t away_bytes;
	size_t unsent_bytes; /* of results that wait for credit or the socket */
	unsigned reading_n;  /* with the heavy readers, or not sent yet */
	struct line reads;   /* until it has fewer of those */
	struct line parked;  /* behind its own writes */
	struct line again;   /* can go on, in the next turn: before held */
	struct line held;    /* until its output drains, or the next turn */
	uint64_t turn;   /* the last that it had a request in; what it has */
	int64_t turn_us; /* taken of that */
	bool
	    late; /* it had requests left when its time, or the turn's, was up */
	struct session *sessions;
	struct prepared *prepared; /* uthash by number */
	size_t prepared_bytes;
	struct vars *vars;
	struct place *places; /* before the writers of databases */
	int64_t connected_us;
	int64_t since_us; /* when it connected, or was hung up on */
	bool drained;     /* it cannot send any more: client_stop_reading */
	bool closed;
	bool abandoned; /* what it had under way was told to stop */
	bool hangs_up;  /* close it once its output is written */
	enum close_reason why;
};

/* Take over a connected socket and what is known of its peer.  NULL: out of
 * memory; both are gone. */
struct client *client_new(struct loop *loop, const struct peer *peer);

/* End the connection: no more events, the socket is closed, what is under way
 * is told to stop.  The memory goes later: client_free_zombies. */
void client_close(struct client *cl, enum close_reason why);

/* End it when what is under way is answered and written; nothing more is read.
 */
void client_hang_up(struct client *cl, enum close_reason why);

/* While the daemon stops: let it send nothing more, and hang up when what it had
 * sent is answered. */
void client_stop_reading(struct client *cl);

/* Read from it as if the loop had said that it is readable, if that would: a look
 * that costs less than the loop's. */
void client_look(struct client *cl);

/* Free the closed ones that have nothing in flight. */
void client_free_zombies(struct loop *loop);

/* Give the buffer that replies are appended to; client_end_reply afterwards.
 * NULL: out of memory, and the client is closed. */
struct buf *client_begin_reply(struct client *cl);
void client_end_reply(struct client *cl, const struct buf *b);

/* Write what waits, of all clients that have something new. */
void client_flush_dirty(struct loop *loop);

/* --- Results: client_pieces.c -------------------------------------------------- */

/* Send the frames of a request that its credit allows, or drop them when the
 * client is closed.  When it is home and all was sent, it is freed. */
void client_send_pieces(struct client *cl, struct request *r);

/* Forget the frames of a request that were not sent: all, or all but the
 * terminal one. */
void client_drop_pieces(struct request *r);
void client_drop_rows(struct request *r);

/* --- What is under way --------------------------------------------------------- */

/* Add and remove what is under way. */
void client_add_request(struct client *cl, struct request *r);
void client_free_request(struct client *cl, struct request *r);

/* Count a request that outlives its turn, until it is freed. */
void client_count_away(struct client *cl, struct request *r);

/* Find another request than except, by id, that is under way; or NULL. */
struct request *client_find_request(
    struct client *cl, uint64_t id, const struct request *except);

/* Find the first request of its client with this id, of those that came before r;
 * or NULL. */
struct request *client_find_before(const struct request *r, uint64_t id);

/* Give the one that has been under way for longest; or NULL. */
const struct request *client_find_oldest(const struct client *cl);

/* Give the place where its requests to a database's writer wait.  NULL: out of
 * memory; not when it has sent one there before. */
struct place *client_get_place(struct client *cl, const struct db *db);

/* Note that more of what it sent can be looked at in the next turn. */
void client_mark_more(struct client *cl);

/* Say whether so much output waits that no more should be made. */
bool client_is_clogged(const struct client *cl);

/* --- What it has prepared: client_prepared.c ----------------------------------- */

/* Prepared statements: a text, and the database it is for, which is referenced.
 * put, of a PREPARE: -ERR_NO_MEMORY, -ERR_QUEUE_FULL (too many); get: a span with p
 * NULL when there is none, ret_db may be NULL; drop: false when there is none. */
int client_put_prepared(struct client *cl, const struct request *r);
struct span client_get_prepared(
    const struct client *cl, uint64_t number, struct db **ret_db);
bool client_drop_prepared(struct client *cl, uint64_t number);

/* Drop what this PREPARE has put, unless another one has taken its number over. */
void client_drop_prepared_by(struct client *cl, const struct request *r);

#endif
