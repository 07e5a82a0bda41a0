/* server.c - accept; start and end of the loop. */
#include "daemon/server.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/access.h"
#include "daemon/again.h"
#include "daemon/answer.h"
#include "daemon/clock.h"
#include "daemon/db.h"
#include "daemon/listen.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/retire.h"
#include "daemon/server_impl.h"
#include "daemon/stats.h"
#include "daemon/tick.h"
#include "proto/error.h"

/* How many connections one readiness of the listening socket accepts. */
#define ACCEPT_MAX 64

/* --- Accepting ------------------------------------------------------------------- */

unsigned
server_count_clients(const struct server *s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->workers_n; i++)
		n += worker_get_clients_n(s->workers[i]);
	return n;
}

/* One frame, if the socket takes it; then the end. */
static void
refuse_client(int fd, int code, const char *text)
{
	struct buf b;

	stats_add(STAT_clients_refused, 1); /* before it can know */
	buf_init(&b);
	answer_fault(&b, code, text);
	if (send(fd, b.p, b.n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_debug("a refused client did not wait for the reason");
	close(fd);
	buf_fini(&b);
}

static void
give_client(struct server *s, int fd)
{
	const struct conf *conf = s->conf;
	struct peer peer;
	char text[128];

	if (s->stopping_us) {
		refuse_client(fd, ERR_SHUTTING_DOWN,
		    "the daemon is shutting down; connect again later");
		return;
	}
	if (server_count_clients(s) >= conf->max_clients) {
		snprintf(text, sizeof(text),
		    "%u clients are connected already, the limit "
		    "(max_clients); try again later",
		    conf->max_clients);
		refuse_client(fd, ERR_TOO_MANY_CLIENTS, text);
		return;
	}
	peer_init(&peer, fd);
	if (users_enter(s->users, &peer, conf->max_user_clients) < 0) {
		snprintf(text, sizeof(text),
		    "uid %u has %u connections already, the limit for one "
		    "user (max_user_clients); close some",
		    (unsigned)peer.uid, conf->max_user_clients);
		refuse_client(fd, ERR_TOO_MANY_CLIENTS, text);
		return;
	}
	stats_add(STAT_clients_accepted, 1);
	worker_give(s->workers[s->next], &peer);
	s->next = (s->next + 1) % s->workers_n;
}

/* The kernel's backlog holds the others meanwhile, and then their connect(). */
static void
pause_accepting(struct server *s, long us)
{
	struct timeval tv = { 0, us };

	event_del(s->acceptor);
	event_add(s->resume, &tv);
}

static void
on_resume(int fd, short what, void *arg)
{
	struct server *s = arg;

	(void)fd;
	(void)what;
	event_add(s->acceptor, NULL);
}

static void
on_accept(int fd, short what, void *arg)
{
	struct server *s = arg;

	(void)what;
	for (int i = 0; i < ACCEPT_MAX; i++) {
		int got;

		if (worker_is_crowded(s->workers[s->next])) {
			pause_accepting(s, 1000);
			return;
		}
		got = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (got >= 0) {
			give_client(s, got);
		} else if (errno == EMFILE || errno == ENFILE) {
			/* try again with the next tick, not in a circle */
			log_error("no file descriptor for another client; "
				  "raise LimitNOFILE or lower max_clients");
			pause_accepting(s, SERVER_TICK_US);
			return;
		} else if (errno != EINTR && errno != ECONNABORTED) {
			return;
		}
	}
}

void
server_set_tick(struct server *s, long us)
{
	struct timeval tv = { us / 1000000, us % 1000000 };

	event_add(s->tick, &tv);
}

/* --- Life ------------------------------------------------------------------------ */

/* A precise timer wakes the thread once for a tick; libevent's usual one, which
 * reads CLOCK_MONOTONIC_COARSE, wakes it up to four times, a little early
 * (event_base_new_with_config in event2/event.h, seen with strace). */
static struct event_base *
open_base(void)
{
	struct event_config *cfg = event_config_new();
	struct event_base *base = NULL;

	if (cfg &&
	    event_config_set_flag(cfg, EVENT_BASE_FLAG_PRECISE_TIMER) == 0)
		base = event_base_new_with_config(cfg);
	if (cfg)
		event_config_free(cfg);
	return base;
}

static int
add_events(struct server *s)
{
	static const struct timeval tick = { 0, SERVER_TICK_US };
	int bell = tick_open(), asked = again_open();

	s->base = bell < 0 || asked < 0 ? NULL : open_base();
	if (!s->base)
		return -1;
	s->acceptor = event_new(
	    s->base, s->listener->fd, EV_READ | EV_PERSIST, on_accept, s);
	s->resume = evtimer_new(s->base, on_resume, s);
	s->tick = event_new(s->base, -1, EV_PERSIST, server_on_tick, s);
	s->wanted = event_new(
	    s->base, bell, EV_READ | EV_PERSIST, server_on_wanted, s);
	s->asked = event_new(
	    s->base, asked, EV_READ | EV_PERSIST, server_on_asked, s);
	if (!s->acceptor || !s->resume || !s->tick || !s->wanted || !s->asked)
		return -1;
	return event_add(s->acceptor, NULL) || event_add(s->tick, &tick) ||
		event_add(s->wanted, NULL) || event_add(s->asked, NULL)
	    ? -1
	    : server_add_signals(s);
}

int
server_open(const struct conf *conf, struct listener *l, const struct notify *n,
    struct server **ret_server, char err[SERVER_ERR_MAX])
{
	struct server *s = calloc(1, sizeof(*s));

	if (!s) {
		snprintf(err, SERVER_ERR_MAX, "out of memory");
		return -1;
	}
	s->conf = conf;
	s->listener = l;
	s->notify = n;
	s->started_us = clock_now_us();
	s->users = users_new();
	signal(SIGPIPE, SIG_IGN);
	if (!s->users || add_events(s) < 0) {
		snprintf(err, SERVER_ERR_MAX, "cannot set up the event loop");
		server_close(s);
		return -1;
	}
	if (exporter_open(s->base, conf, l->path, &s->exporter, err) < 0) {
		server_close(s);
		return -1;
	}
	*ret_server = s;
	return 0;
}

int
server_start(struct server *s, struct dbs *dbs, char err[SERVER_ERR_MAX])
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned n = s->conf->workers ? s->conf->workers
				      : (unsigned)(cpus > 1 ? cpus : 1);
	struct failure f;
	int rc = 0;

	s->dbs = dbs;
	exporter_serve(s->exporter, dbs);
	failure_init(&f);
	s->workers = calloc(n, sizeof(struct worker *));
	s->mailboxes = calloc(n, sizeof(struct mailbox *));
	s->turns = calloc(n, sizeof(*s->turns));
	if (!s->workers || !s->mailboxes || !s->turns) {
		rc = failure_set(&f, ERR_NO_MEMORY, "out of memory");
		goto out;
	}
	while (rc == 0 && s->workers_n < n) {
		rc = worker_start(s->conf, dbs, &s->workers[s->workers_n], &f);
		if (rc == 0)
			s->workers_n++;
	}
	for (unsigned i = 0; i < s->workers_n; i++)
		s->mailboxes[i] = worker_get_mailbox(s->workers[i]);
	for (unsigned i = 0; i < s->workers_n; i++)
		worker_meet(s->workers[i], s->mailboxes, s->workers_n, i);
out:
	if (rc < 0)
		snprintf(err, SERVER_ERR_MAX, "cannot start the workers: %s",
		    f.text ? f.text : "out of memory");
	failure_fini(&f);
	return rc < 0 ? -1 : 0;
}

void
server_on_reload(struct server *s, void (*reload)(void *arg), void *arg)
{
	s->reload = reload;
	s->reload_arg = arg;
}

struct retire *
server_new_retire(const struct server *s)
{
	return retire_new(s->mailboxes, s->workers_n);
}

void
server_run(struct server *s)
{
	s->watched_us = s->told_us = clock_now_us();
	notify_say(
	    s->notify, "READY=1\nSTATUS=serving on %s", s->listener->path);
	event_base_dispatch(s->base);
}

static void
free_event(struct event *ev)
{
	if (ev)
		event_free(ev);
}

void
server_join(struct server *s)
{
	for (unsigned i = 0; i < s->workers_n; i++) {
		worker_drain(s->workers[i]);
		worker_close_clients(s->workers[i]);
		worker_join(s->workers[i]);
	}
}

void
server_close(struct server *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < s->workers_n; i++)
		worker_free(s->workers[i]);
	free(s->workers);
	free(s->mailboxes);
	free_event(s->acceptor);
	free_event(s->resume);
	free_event(s->tick);
	free_event(s->wanted);
	free_event(s->asked);
	for (int i = 0; i < SERVER_SIGNALS_N; i++)
		free_event(s->signals[i]);
	exporter_close(s->exporter);
	if (s->base)
		event_base_free(s->base);
	tick_close();
	again_close();
	listen_close(s->listener);
	free(s->turns);
	users_free(s->users);
	free(s);
}
