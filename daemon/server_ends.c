/* server_ends.c - signals, reload, drain. */
#include <event2/event.h>
#include <signal.h>

#include "daemon/again.h"
#include "daemon/clock.h"
#include "daemon/db.h"
#include "daemon/dump.h"
#include "daemon/listen.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/server_impl.h"
#include "proto/error.h"

#define STOP_TICK_US 5000
/* How long clients have to read that they are refused. */
#define REFUSE_US 1000000

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
	server_set_tick(s, STOP_TICK_US); /* look at the workers more often */
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

void
server_on_asked(int fd, short what, void *arg)
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
		LOG_INT("clients", server_count_clients(s)),
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

void
server_look_at_stop(struct server *s)
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

int
server_add_signals(struct server *s)
{
	static const struct {
		int signo;
		void (*on)(int signo, short what, void *arg);
	} rows[SERVER_SIGNALS_N] = {
		{ SIGTERM, on_signal },
		{ SIGINT, on_signal },
		{ SIGHUP, on_hangup },
		{ SIGUSR1, on_reopen },
		{ SIGUSR2, on_dump },
	};

	for (int i = 0; i < SERVER_SIGNALS_N; i++) {
		s->signals[i] = evsignal_new(
		    s->base, rows[i].signo, rows[i].on, s);
		if (!s->signals[i] || event_add(s->signals[i], NULL) < 0)
			return -1;
	}
	return 0;
}
