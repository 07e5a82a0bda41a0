/* turn_impl.h - what turn.c, the loop, and clients.c share. */
#ifndef CLIENT_BENCH_TURN_IMPL_H
#define CLIENT_BENCH_TURN_IMPL_H

#include "client/bench/keys.h"
#include "client/bench/turn.h"

/* What the core keeps of a client (bench_client.turn). */
struct turn_client {
	struct turn *turn;
	struct keys keys;
	unsigned *free; /* slots */
	unsigned free_n;
	uint64_t begun_n;   /* warm-up included */
	uint64_t quota;     /* that may still be begun and counted */
	uint64_t counted_n; /* ended */
	bool polls_write;
	bool again; /* something ended while it was flushed */
};

/* One thread. */
struct turn {
	struct turn_share share;
	struct turn_times times;
	struct bench_client *clients;
	struct turn_client *own; /* beside each of clients */
	unsigned opened_n;
	unsigned async_kinds;
	bool alone;     /* one client */
	bool over;      /* nothing is begun any more */
	bool unflushed; /* alone: something was sent since */
	unsigned in_flight_n;
	unsigned again_n;      /* clients to be filled again before sleeping */
	unsigned unfinished_n; /* clients with a quota left */
	unsigned due_client;   /* open loop: whose turn is next, */
	uint64_t due_round;    /* and which of its operations */
	int64_t cpu_began_ns;  /* -1: not yet */
	int epoll;
	const char *why;
};

/* Poll for what the driver wants now.  operation: EPOLL_CTL_ADD or _MOD. */
int
turn_poll_for(struct turn *turn, struct bench_client *client, int operation);

/* Say what failed with errno; returns -1. */
int turn_fail_errno(struct bench_client *client, const char *what);

#endif
