/* server.c - accept, signals, drain. */
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
#include "daemon/crew.h"
#include "daemon/db.h"
#include "daemon/dump.h"
#include "daemon/exporter.h"
#include "daemon/listen.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/rates.h"
#include "daemon/retire.h"
#include "daemon/stats.h"
#include "daemon/tick.h"
#include "daemon/worker.h"
#include "proto/error.h"

#define TICK_US      100000
#define STOP_TICK_US 5000
/* While nothing has a limit; and how often the databases are looked after. */
#define SLOW_TICK_US 1000000
/* How often the service manager is told what goes on. */
#define STATUS_US      10000000
#define STATUS_STOP_US 1000000
/* How long clients have to read that they are refused. */
#define REFUSE_US 1000000
/* How many connections one readiness of the listening socket accepts. */
#define ACCEPT_MAX 64

enum { SIGNALS_N = 5 };

struct server {
	const struct conf *conf;
	struct dbs *dbs;
	struct event_base *base;
	struct event *acceptor, *resume, *tick, *wanted, *asked;
	struct event *signals[SIGNALS_N];
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

/* --- Accepting ------------------------------------------------------------------- */

static unsigned
count_clients(const struct server *s)
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
	if (count_clients(s) >= conf->max_clients) {
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
			pause_accepting(s, TICK_US);
			return;
		} else if (errno != EINTR && errno != ECONNABORTED) {
			return;
		}
	}
}

/* --- Ends ------------------------------------------------------------------------ */

/* What is still under way is refused, and closed a moment later. */
static void
end_grace(struct server *s)
{
	if (s->refusing_us)
		return;
	s->refusing_us = clock_now_us();
	for (unsigned i = 0; i < s->workers_n; i++)
		worker_refuse(s->workers[i]);
}

static void
set_tick(struct server *s, long us)
{
	struct timeval tv = { us / 1000000, us % 1000000 };

	event_add(s->tick, &tv);
}

static void
on_signal(int signo, short what, void *arg)
{
	struct server *s = arg;

	(void)what;
	if (s->stopping_us) {
		log_info("second signal %d: stopping now", signo);
		end_grace(s);
		return;
	}
	log_info("signal %d: stopping; what is under way has %.0f s", signo,
	    (double)s->conf->shutdown_grace_us / 1e6);
	notify_say(s->notify,
	    "STOPPING=1\n" NOTIFY_EXTEND
	    "\nSTATUS=stopping: what is under way may end");
	s->stopping_us = clock_now_us();
	exporter_drain(s->exporter);
	/* the next daemon accepts who connects to a socket that stays */
	if (s->listener->passed) {
		event_del(s->acceptor);
		event_del(s->resume);
	}
	set_tick(s, STOP_TICK_US); /* look at the workers more often */
	for (unsigned i = 0; i < s->workers_n; i++)
		worker_drain(s->workers[i]);
}

static void
read_again(struct server *s)
{
	if (s->stopping_us) {
		again_begin();
		again_end(ERR_SHUTTING_DOWN);
		return;
	}
	if (!s->reload)
		return;
	notify_say(s->notify, "RELOADING=1\nMONOTONIC_USEC=%lld",
	    (long long)clock_now_us());
	s->reload(s->reload_arg);
	for (unsigned i = 0; i < s->workers_n; i++)
		worker_preload(s->workers[i]);
	notify_say(s->notify, "READY=1");
}

static void
on_hangup(int signo, short what, void *arg)
{
	(void)signo;
	(void)what;
	read_again(arg);
}

static void
on_asked(int fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	if (again_hear())
		read_again(arg);
}

static void
on_reopen(int signo, short what, void *arg)
{
	(void)signo;
	(void)what;
	(void)arg;
	log_reopen();
}

static void
on_dump(int signo, short what, void *arg)
{
	struct server *s = arg;
	const struct log_field fields[] = {
		LOG_INT("clients", count_clients(s)),
		LOG_INT("workers", s->workers_n),
		LOG_INT("up_s", (clock_now_us() - s->started_us) / 1000000),
		LOG_INT("stopping", s->stopping_us != 0),
		{ 0 },
	};

	(void)signo;
	(void)what;
	log_event(CONF_LOG_INFO, "state", fields, 0);
	dump_counters();
	dump_dbs(s->dbs);
	for (unsigned i = 0; i < s->workers_n; i++)
		worker_dump(s->workers[i]);
}

/* Those at @admin see the others off. */
static void
look_at_admins(struct server *s)
{
	unsigned others_n = 0;

	for (unsigned i = 0; i < s->workers_n; i++)
		others_n += worker_get_others_n(s->workers[i]);
	if (others_n > 0)
		return;
	for (unsigned i = 0; i < s->workers_n; i++)
		worker_end_admins(s->workers[i]);
}

static bool
are_workers_done(const struct server *s)
{
	for (unsigned i = 0; i < s->workers_n; i++)
		if (!worker_is_done(s->workers[i]))
			return false;
	return true;
}

static void
look_at_stop(struct server *s)
{
	int64_t now = clock_now_us();

	look_at_admins(s);
	if (now - s->stopping_us > s->conf->shutdown_grace_us)
		end_grace(s);
	if (s->refusing_us && now - s->refusing_us > REFUSE_US)
		for (unsigned i = 0; i < s->workers_n; i++)
			worker_close_clients(s->workers[i]);
	if (are_workers_done(s))
		event_base_loopbreak(s->base);
}

/* --- The service manager ----------------------------------------------------------- */

/* Does every worker turn, and every writer move? */
static bool
is_alive(struct server *s)
{
	bool alive = true;

	for (unsigned i = 0; i < s->workers_n; i++) {
		uint64_t turns = worker_poke(s->workers[i]);

		if (turns == s->turns[i] && !worker_is_done(s->workers[i])) {
			log_error("worker %u has not turned for %.1f s", i,
			    (double)(clock_now_us() - s->watched_us) / 1e6);
			alive = false;
		}
		s->turns[i] = turns;
	}
	if (crew_count_hung(s->dbs->writers) > 0) {
		log_error("a writer has not moved for %.1f s",
		    (double)(clock_now_us() - s->watched_us) / 1e6);
		alive = false;
	}
	return alive;
}

static void
say_status(struct server *s)
{
	unsigned n = count_clients(s);

	notify_say(s->notify, "%sSTATUS=%s %u client%s",
	    s->stopping_us ? NOTIFY_EXTEND "\n" : "",
	    s->stopping_us ? "stopping, with" : "serving", n,
	    n == 1 ? "" : "s");
}

/* The watchdog hears from us four times in its time, if all is well. */
static void
tell_service(struct server *s)
{
	int64_t now = clock_now_us();

	if (s->notify->watchdog_us &&
	    now - s->watched_us >= s->notify->watchdog_us / 4) {
		if (is_alive(s))
			notify_say(s->notify, "WATCHDOG=1");
		s->watched_us = now;
	}
	if (now - s->told_us >= (s->stopping_us ? STATUS_STOP_US : STATUS_US)) {
		say_status(s);
		s->told_us = now;
	}
}

static void
on_wanted(int fd, short what, void *arg)
{
	struct server *s = arg;

	(void)fd;
	(void)what;
	tick_hear();
	if (!s->stopping_us)
		set_tick(s, TICK_US);
}

/* A short watchdog has to hear from us more often than the slow tick goes. */
static bool
may_rest(const struct server *s)
{
	return !s->stopping_us &&
	    (!s->notify->watchdog_us ||
		s->notify->watchdog_us / 4 >= SLOW_TICK_US);
}

/* Nothing has a limit; maybe something has one by now. */
static void
slow_down(struct server *s)
{
	tick_rest();
	set_tick(s, SLOW_TICK_US);
	if (dbs_tick(s->dbs))
		tick_want();
}

/* A tick that comes a little early counts. */
static void
look_after(struct server *s)
{
	int64_t now = clock_now_us();

	if (now - s->looked_us < SLOW_TICK_US - TICK_US / 2)
		return;
	s->looked_us = now;
	dbs_look_after(s->dbs);
}

static void
on_tick(int fd, short what, void *arg)
{
	struct server *s = arg;

	(void)fd;
	(void)what;
	if (dbs_tick(s->dbs))
		tick_want();
	else if (atomic_load(&tick_is_fast) && may_rest(s))
		slow_down(s);
	exporter_tick(s->exporter);
	look_after(s);
	rates_tick(clock_now_us());
	log_tick();
	tell_service(s);
	if (s->stopping_us)
		look_at_stop(s);
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
add_signals(struct server *s)
{
	static const struct {
		int signo;
		void (*on)(int signo, short what, void *arg);
	} rows[SIGNALS_N] = {
		{ SIGTERM, on_signal },
		{ SIGINT, on_signal },
		{ SIGHUP, on_hangup },
		{ SIGUSR1, on_reopen },
		{ SIGUSR2, on_dump },
	};

	for (int i = 0; i < SIGNALS_N; i++) {
		s->signals[i] = evsignal_new(
		    s->base, rows[i].signo, rows[i].on, s);
		if (!s->signals[i] || event_add(s->signals[i], NULL) < 0)
			return -1;
	}
	return 0;
}

static int
add_events(struct server *s)
{
	static const struct timeval tick = { 0, TICK_US };
	int bell = tick_open(), asked = again_open();

	s->base = bell < 0 || asked < 0 ? NULL : open_base();
	if (!s->base)
		return -1;
	s->acceptor = event_new(
	    s->base, s->listener->fd, EV_READ | EV_PERSIST, on_accept, s);
	s->resume = evtimer_new(s->base, on_resume, s);
	s->tick = event_new(s->base, -1, EV_PERSIST, on_tick, s);
	s->wanted = event_new(
	    s->base, bell, EV_READ | EV_PERSIST, on_wanted, s);
	s->asked = event_new(s->base, asked, EV_READ | EV_PERSIST, on_asked, s);
	if (!s->acceptor || !s->resume || !s->tick || !s->wanted || !s->asked)
		return -1;
	return event_add(s->acceptor, NULL) || event_add(s->tick, &tick) ||
		event_add(s->wanted, NULL) || event_add(s->asked, NULL)
	    ? -1
	    : add_signals(s);
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
	for (int i = 0; i < SIGNALS_N; i++)
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
