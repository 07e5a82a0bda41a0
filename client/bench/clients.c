/* clients.c - the clients of one thread: made, connected, polled for, closed. */
#include "client/bench/turn_impl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static int
init_client(struct turn *turn, unsigned i)
{
	const struct bench_plan *plan = turn->share.plan;
	struct bench_client *client = &turn->clients[i];
	struct turn_client *own = &turn->own[i];

	client->plan = plan;
	client->number = turn->share.first + i;
	client->fd = -1;
	client->turn = own;
	client->ops = calloc(plan->depth, sizeof(*client->ops));
	own->turn = turn;
	own->quota = plan->count_n;
	own->free = calloc(plan->depth, sizeof(*own->free));
	if (!client->ops || !own->free)
		return -1;
	keys_init(&own->keys, plan, client->number);
	for (unsigned k = 0; k < plan->depth; k++) {
		client->ops[k].slot = k;
		own->free[own->free_n++] = plan->depth - 1 - k;
	}
	return 0;
}

struct turn *
turn_new(const struct turn_share *share)
{
	struct turn *turn = calloc(1, sizeof(*turn));
	unsigned n = share->clients_n;

	if (!turn)
		return NULL;
	turn->share = *share;
	turn->epoll = -1;
	turn->alone = n == 1;
	turn->async_kinds = share->plan->async_kinds;
	turn->unfinished_n = n;
	turn->cpu_began_ns = -1;
	turn->clients = calloc(n, sizeof(*turn->clients));
	turn->own = calloc(n, sizeof(*turn->own));
	for (unsigned i = 0; i < n; i++) {
		if (turn->clients && turn->own && init_client(turn, i) == 0)
			continue;
		turn_free(turn);
		return NULL;
	}
	return turn;
}

void
turn_free(struct turn *turn)
{
	if (!turn)
		return;
	for (unsigned i = 0; i < turn->opened_n; i++)
		turn->share.driver->close(&turn->clients[i]);
	for (unsigned i = 0; i < turn->share.clients_n; i++) {
		if (turn->clients)
			free(turn->clients[i].ops);
		if (turn->own)
			free(turn->own[i].free);
	}
	if (turn->epoll >= 0)
		close(turn->epoll);
	free(turn->clients);
	free(turn->own);
	free(turn);
}

const char *
turn_get_why(const struct turn *turn)
{
	return turn->why;
}

int
bench_fail(struct bench_client *client, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(client->why, sizeof(client->why), format, args);
	va_end(args);
	return -1;
}

int
turn_fail_errno(struct bench_client *client, const char *what)
{
	return bench_fail(client, "%s: %s", what, strerror(errno));
}

int
turn_poll_for(struct turn *turn, struct bench_client *client, int operation)
{
	struct epoll_event event = {
		.events = client->want_write ? EPOLLIN | EPOLLOUT : EPOLLIN,
		.data.ptr = client,
	};
	struct turn_client *own = client->turn;

	own->polls_write = client->want_write;
	if (client->fd < 0)
		return 0;
	if (epoll_ctl(turn->epoll, operation, client->fd, &event) < 0)
		return turn_fail_errno(client, "epoll_ctl");
	return 0;
}

int
turn_open(struct turn *turn)
{
	turn->epoll = epoll_create1(EPOLL_CLOEXEC);
	for (unsigned i = 0; i < turn->share.clients_n; i++) {
		struct bench_client *client = &turn->clients[i];
		int rc;

		turn->why = client->why;
		rc = turn->epoll < 0 ? turn_fail_errno(client, "epoll_create1")
				     : turn->share.driver->open(client);
		if (rc < 0)
			return -1;
		turn->opened_n++;
		if (turn_poll_for(turn, client, EPOLL_CTL_ADD) < 0)
			return -1;
	}
	return 0;
}
