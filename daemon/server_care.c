/* server_care.c - the tick: limits, databases, signs of life. */
#include <event2/event.h>

#include "daemon/clock.h"
#include "daemon/crew.h"
#include "daemon/db.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/rates.h"
#include "daemon/server_impl.h"
#include "daemon/tick.h"

/* While nothing has a limit; and how often the databases are looked after. */
#define SLOW_TICK_US 1000000
/* How often the service manager is told what goes on. */
#define STATUS_US      10000000
#define STATUS_STOP_US 1000000

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
	unsigned n = server_count_clients(s);

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

void
server_on_wanted(int fd, short what, void *arg)
{
	struct server *s = arg;

	(void)fd;
	(void)what;
	tick_hear();
	if (!s->stopping_us)
		server_set_tick(s, SERVER_TICK_US);
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
	server_set_tick(s, SLOW_TICK_US);
	if (dbs_tick(s->dbs))
		tick_want();
}

/* A tick that comes a little early counts. */
static void
look_after(struct server *s)
{
	int64_t now = clock_now_us();

	if (now - s->looked_us < SLOW_TICK_US - SERVER_TICK_US / 2)
		return;
	s->looked_us = now;
	dbs_look_after(s->dbs);
}

void
server_on_tick(int fd, short what, void *arg)
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
		server_look_at_stop(s);
}
