/* server_impl.h - what the files of the server share.
 *
 * Thread: the main one. */
#ifndef DAEMON_SERVER_IMPL_H
#define DAEMON_SERVER_IMPL_H

#include "daemon/server.h"

#include "daemon/exporter.h"
#include "daemon/worker.h"

#define SERVER_TICK_US 100000

enum { SERVER_SIGNALS_N = 5 };

struct server {
	const struct conf *conf;
	struct dbs *dbs;
	struct event_base *base;
	struct event *acceptor, *resume, *tick, *wanted, *asked;
	struct event *signals[SERVER_SIGNALS_N];
	void (*reload)(void *arg); /* NULL: there is nothing to be read */
	void *reload_arg;
	struct users *users;
	struct listener *listener;   /* borrowed */
	const struct notify *notify; /* borrowed */
	uint64_t *turns;             /* of each worker, at the last look */
	int64_t watched_us;          /* when that was */
	int64_t told_us;             /* when the status was said */
	int64_t started_us;
	struct worker **workers;
	struct mailbox **mailboxes; /* theirs */
	struct exporter *exporter;
	unsigned workers_n;
	unsigned next;       /* whose turn it is to get a client */
	int64_t looked_us;   /* when the databases were looked after */
	int64_t stopping_us; /* when the first signal came; 0: it did not */
	int64_t refusing_us; /* when the grace time was over; 0: not yet */
};

/* Give how many clients all workers have. */
unsigned server_count_clients(const struct server *s);

/* Have the tick come every so often from now on. */
void server_set_tick(struct server *s, long us);

/* server_ends.c: take the signals; 0, or -1 without memory. */
int server_add_signals(struct server *s);

/* While it stops, see how far that is. */
void server_look_at_stop(struct server *s);

/* libevent's callbacks: a RELOAD in @admin has rung (server_ends.c); something
 * wants the fast tick; the tick (server_care.c). */
void server_on_asked(int fd, short what, void *arg);
void server_on_wanted(int fd, short what, void *arg);
void server_on_tick(int fd, short what, void *arg);

#endif
