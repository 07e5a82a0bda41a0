/* admin_about.c - commands about the daemon itself. */
#include "daemon/admin_impl.h"

#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/stats.h"
#include "proto/error.h"

static void
show_help(struct admin *ad)
{
	for (const struct admin_command *c = admin_next(NULL); c;
	     c = admin_next(c)) {
		admin_put_row(ad);
		admin_put_str(ad, c->words);
		admin_put_str(ad, c->args);
		admin_put_str(ad, c->right == ADMIN_ACTS ? "act" : "see");
		admin_put_str(ad, c->text);
	}
}

static void
show_version(struct admin *ad)
{
	admin_put_row(ad);
	admin_put_str(ad, "sqlpoold " SQLPOOLD_VERSION);
	admin_put_str(ad, dbconn_get_library_version());
}

static void
put_state(struct admin *ad, const char *name, uint64_t v, const char *text)
{
	admin_put_row(ad);
	admin_put_str(ad, name);
	admin_put_uint(ad, v);
	admin_put_str(ad, text);
}

static void
show_state(struct admin *ad)
{
	const struct loop *loop = ad->home;
	int64_t up_us = clock_now_us() - loop->began_us;

	put_state(ad, "pid", (uint64_t)getpid(), "the daemon's process");
	put_state(ad, "uptime_s", (uint64_t)up_us / 1000000,
	    "seconds since it began to serve");
	put_state(ad, "epoch", loop->dbs->epoch,
	    "of commit sequence numbers: its start, microseconds since 1970");
	put_state(ad, "draining", loop->draining,
	    "1: it stops, and takes no new requests");
	put_state(ad, "clients",
	    stats_get_difference(STAT_clients_accepted, STAT_clients_closed),
	    "connections");
	put_state(ad, "requests",
	    stats_get_difference(STAT_requests_away, STAT_requests_home),
	    "requests that wait, run on another thread, or whose results are "
	    "not all sent; this one among them");
	put_state(ad, "workers", loop->peers_n, "event loop threads");
	put_state(
	    ad, "databases", dbs_count(loop->dbs), "databases that are known");
}

static void
put_option(void *arg, const struct conf_item *item)
{
	struct admin *ad = arg;

	admin_put_row(ad);
	admin_put_str(ad, item->database);
	admin_put_str(ad, item->name);
	admin_put_str(ad, item->value);
	admin_put_str(ad, item->def);
	admin_put_str(ad, item->source);
	admin_put_str(ad, item->live ? "yes" : "no");
	admin_put_str(ad, item->text);
}

static void
show_config(struct admin *ad)
{
	if (conf_walk(ad->home->conf, put_option, ad) < 0)
		failure_set(&ad->r->failure, ERR_NO_MEMORY, "out of memory");
}

/* clang-format off */
const struct admin_command admin_about_commands[] = {
	{ .words = "SHOW HELP",
	  .columns = { "command", "arguments", "right", "text" },
	  .run = show_help, .text = "this list" },
	{ .words = "SHOW VERSION", .columns = { "server", "sqlite" },
	  .run = show_version, .text = "versions" },
	{ .words = "SHOW STATE", .columns = { "name", "value", "text" },
	  .run = show_state, .text = "what the daemon as a whole does" },
	{ .words = "SHOW CONFIG",
	  .columns = { "database", "name", "value", "default", "source", "live", "text" },
	  .run = show_config,
	  .text = "every option, its value and where that comes from; live: it may change while the daemon runs" },
	{ .words = NULL },
};
/* clang-format on */
