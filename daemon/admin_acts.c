/* admin_acts.c - commands that do something to a database, or to the daemon. */
#include "daemon/admin_impl.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "proto/error.h"

static int
find_db(struct admin *ad)
{
	struct span name = { (const uint8_t *)ad->args, strlen(ad->args) };

	return dbs_find(ad->home->dbs, name, &ad->db, &ad->r->failure);
}

static void
note(const struct admin *ad)
{
	log_info("%s by pid %d, user %u", ad->words, (int)ad->client->owner.pid,
	    (unsigned)ad->client->owner.uid);
}

/* The reply comes when it is at rest. */
static void
put_to_rest(struct admin *ad, enum db_will will)
{
	if (find_db(ad) < 0)
		return;
	note(ad);
	db_set_will(ad->db, will);
	ad->watch = (struct db_watch){
		.errand = &ad->errand,
		.home = &ad->home->mailbox,
		.stop = &ad->r->stop,
	};
	ad->found = true;
	admin_wait(ad);
	if (db_watch(ad->db, &ad->watch))
		ad->waits = false; /* it is already */
}

static void
run_pause(struct admin *ad)
{
	put_to_rest(ad, DB_PAUSED);
}

static void
run_disable(struct admin *ad)
{
	put_to_rest(ad, DB_DISABLED);
}

static void
run_serve(struct admin *ad)
{
	if (find_db(ad) < 0)
		return;
	note(ad);
	db_set_will(ad->db, DB_SERVES);
}

/* It was waited for: for as long as the request may wait, or until somebody wanted
 * it otherwise. */
static void
end_rest(struct admin *ad)
{
	if (request_get_stop(ad->r)) {
		db_set_will(ad->db, DB_SERVES);
		request_fail_stopped(ad->r,
		    "while transactions and statements under way had to end; "
		    "the database serves again");
	} else if (db_get_will(ad->db) == DB_SERVES) {
		failure_set(&ad->r->failure, ERR_CANCELLED,
		    "%s is to serve again (RESUME, ENABLE), before it was at "
		    "rest",
		    ad->db->conf->name);
	}
}

static void
end_reconnect(struct admin *ad)
{
	end_rest(ad);
	if (ad->r->failure.code == 0)
		db_set_will(ad->db, DB_SERVES);
}

/* As if by hand: the main thread knows what to do. */
static void
run_shutdown(struct admin *ad)
{
	note(ad);
	if (kill(getpid(), SIGTERM) < 0)
		failure_set(
		    &ad->r->failure, ERR_INTERNAL, "cannot signal itself");
}

/* clang-format off */
const struct admin_command admin_acts_commands[] = {
	{ .words = "PAUSE", .args = "DATABASE", .right = ADMIN_ACTS,
	  .run = run_pause, .end = end_rest,
	  .text = "let what is under way end, then close the file: nobody touches it until RESUME, and requests wait; answered when it is closed" },
	{ .words = "RESUME", .args = "DATABASE", .right = ADMIN_ACTS,
	  .run = run_serve, .text = "end a PAUSE: what waited runs" },
	{ .words = "DISABLE", .args = "DATABASE", .right = ADMIN_ACTS,
	  .run = run_disable, .end = end_rest,
	  .text = "as PAUSE, but requests are refused" },
	{ .words = "ENABLE", .args = "DATABASE", .right = ADMIN_ACTS,
	  .run = run_serve, .text = "end a DISABLE" },
	{ .words = "RECONNECT", .args = "DATABASE", .right = ADMIN_ACTS,
	  .run = run_pause, .end = end_reconnect,
	  .text = "close all connections to the file and open them anew; requests wait meanwhile" },
	{ .words = "SHUTDOWN", .right = ADMIN_ACTS,
	  .run = run_shutdown, .text = "stop the daemon, as SIGTERM does" },
	{ .words = NULL },
};
/* clang-format on */
