/* admin_acts.c - commands that do something to a database, or to the daemon. */
#include "daemon/admin_impl.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "proto/error.h"

static int
find_db(struct admin *ad)
{
	char text[ADMIN_WORDS_BYTES];
	const char *name;

	snprintf(text, sizeof(text), "%s", ad->args);
	name = admin_words_trim(text);
	return dbs_find(ad->home->dbs,
	    (struct span){ (const uint8_t *)name, strlen(name) }, &ad->db,
	    &ad->r->failure);
}

/* It rests for somebody else. */
static void
fail_resting(struct admin *ad, enum db_will was)
{
	static const char *const texts[] = {
		[DB_PAUSED] = "is paused, which RESUME ends",
		[DB_DISABLED] = "is disabled, which ENABLE ends",
		[DB_RECONNECTS] = "is being reconnected, and serves again then",
	};

	failure_set(&ad->r->failure, ERR_NOT_ALLOWED, "nothing is done: %s %s",
	    ad->db->conf->name, texts[was]);
}

#define WILL(will) (1U << DB_##will)

/* Have the database do something else, unless another command forbids that: what a
 * PAUSE was for, a copy say, no other must end. */
static bool
change_will(struct admin *ad, unsigned from, enum db_will will)
{
	enum db_will was;

	if (find_db(ad) < 0)
		return false;
	was = db_change_will(ad->db, from, will);
	if (!(from >> was & 1)) {
		fail_resting(ad, was);
		return false;
	}
	admin_note(ad);
	return true;
}

/* The reply comes when it is at rest. */
static void
put_to_rest(struct admin *ad, unsigned from, enum db_will will)
{
	if (!change_will(ad, from, will))
		return;
	ad->will = will;
	ad->watch = (struct db_watch){
		.errand = &ad->errand,
		.home = &ad->home->mailbox,
		.stop = &ad->r->stop,
	};
	atomic_store(&ad->r->runner, &ad->db->q);
	admin_wait(ad);
	if (db_watch(ad->db, &ad->watch))
		ad->waits = false; /* it is already, or is not to be any more */
}

static void
run_pause(struct admin *ad)
{
	put_to_rest(
	    ad, WILL(SERVES) | WILL(RECONNECTS) | WILL(PAUSED), DB_PAUSED);
}

static void
run_disable(struct admin *ad)
{
	put_to_rest(ad,
	    WILL(SERVES) | WILL(RECONNECTS) | WILL(PAUSED) | WILL(DISABLED),
	    DB_DISABLED);
}

static void
run_reconnect(struct admin *ad)
{
	put_to_rest(ad, WILL(SERVES), DB_RECONNECTS);
}

static void
run_resume(struct admin *ad)
{
	change_will(ad, WILL(SERVES) | WILL(PAUSED), DB_SERVES);
}

static void
run_enable(struct admin *ad)
{
	change_will(ad, WILL(SERVES) | WILL(DISABLED), DB_SERVES);
}

/* It may have come to rest just now: then all is done. */
static void
give_up(struct admin *ad)
{
	bool serves;

	if (db_give_up_rest(ad->db, ad->will, &serves))
		return;
	if (serves)
		log_info(
		    "%s is given up: the database serves again", ad->words);
	request_fail_stopped(ad->r,
	    serves ? "while transactions and statements under way had to "
		     "end; the database serves again"
		   : "while transactions and statements under way had to "
		     "end");
}

/* It was waited for: for as long as the request may wait, or until somebody wanted
 * it otherwise. */
static void
end_rest(struct admin *ad)
{
	if (request_get_stop(ad->r)) {
		give_up(ad);
	} else if (db_is_removed(ad->db)) {
		failure_set(&ad->r->failure, ERR_NO_DATABASE,
		    "%s was taken out of the configuration, or its file was "
		    "replaced, before it was at rest",
		    ad->db->conf->name);
	} else if (db_get_will(ad->db) == DB_SERVES) {
		failure_set(&ad->r->failure, ERR_CANCELLED,
		    "%s is to serve again (RESUME, ENABLE), before it was at "
		    "rest",
		    ad->db->conf->name);
	}
}

/* Unless it was paused or disabled meanwhile. */
static void
end_reconnect(struct admin *ad)
{
	end_rest(ad);
	if (ad->r->failure.code == 0)
		db_change_will(ad->db, WILL(RECONNECTS), DB_SERVES);
}

/* The writer, between two of its turns, has the keeper copy what there is. */
static void
run_checkpoint(struct admin *ad)
{
	if (find_db(ad) < 0)
		return;
	if (ad->db->conf->checkpoint == CONF_CHECKPOINT_EXTERNAL) {
		failure_set(&ad->r->failure, ERR_NOT_ALLOWED,
		    "another program checkpoints %s (checkpoint = external)",
		    ad->db->conf->name);
		return;
	}
	if (!db_hold(ad->db)) {
		failure_set(&ad->r->failure, ERR_DATABASE_DOWN,
		    "%s is %s: it has no WAL that is in use",
		    ad->db->conf->name, db_get_state_name(ad->db));
		return;
	}
	admin_note(ad);
	ad->ask = (struct writer_ask){
		.errand = &ad->errand,
		.home = &ad->home->mailbox,
		.stop = &ad->r->stop,
	};
	atomic_store(&ad->r->runner, &ad->db->q);
	admin_wait(ad);
	writer_ask_copy(ad->db->writer, &ad->ask);
}

static void
end_checkpoint(struct admin *ad)
{
	if (request_get_stop(ad->r))
		request_fail_stopped(ad->r,
		    "while it waited for the writer; the WAL may be copied all "
		    "the same");
	else
		admin_put_wal(ad, ad->db);
	db_release(ad->db);
}

/* The main thread does it, as for SIGHUP. */
static void
run_reload(struct admin *ad)
{
	admin_note(ad);
	ad->again.errand = &ad->errand;
	ad->again.home = &ad->home->mailbox;
	admin_wait(ad);
	again_ask(&ad->again);
}

/* A row for each line that was said, or the first line as the failure. */
static void
end_reload(struct admin *ad)
{
	struct buf *said = &ad->again.said;
	char *line, *save = NULL;

	buf_put(said, "", 1);
	if (buf_failed(said)) {
		failure_set(&ad->r->failure, ERR_NO_MEMORY,
		    "out of memory for what was said; the log has it");
		return;
	}
	line = strtok_r((char *)said->p, "\n", &save);
	if (ad->again.code == ERR_SHUTTING_DOWN) {
		failure_set(&ad->r->failure, ERR_SHUTTING_DOWN,
		    "the daemon is shutting down; nothing was read");
		return;
	}
	if (ad->again.code) {
		failure_set(&ad->r->failure, ad->again.code,
		    "not reloaded, nothing has changed: %s", line ? line : "");
		return;
	}
	for (; line; line = strtok_r(NULL, "\n", &save)) {
		admin_put_row(ad);
		admin_put_str(ad, line);
	}
}

/* As if by hand: the main thread knows what to do. */
static void
run_shutdown(struct admin *ad)
{
	admin_note(ad);
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
	  .run = run_resume, .text = "end a PAUSE: what waited runs" },
	{ .words = "DISABLE", .args = "DATABASE", .right = ADMIN_ACTS,
	  .run = run_disable, .end = end_rest,
	  .text = "as PAUSE, but requests are refused" },
	{ .words = "ENABLE", .args = "DATABASE", .right = ADMIN_ACTS,
	  .run = run_enable, .text = "end a DISABLE" },
	{ .words = "RECONNECT", .args = "DATABASE", .right = ADMIN_ACTS,
	  .run = run_reconnect, .end = end_reconnect,
	  .text = "close all connections to the file and open them anew; requests wait meanwhile" },
	/* it goes another way before it is looked for here: admin_backup.c */
	{ .words = "BACKUP", .args = "DATABASE TO '/PATH' [VERIFY] [REPLACE]",
	  .right = ADMIN_ACTS,
	  .text = "write a copy of a database while it is served; for root and the user who runs the daemon" },
	{ .words = "CHECKPOINT", .args = "DATABASE", .right = ADMIN_ACTS,
	  .columns = { "database", "bytes", "pending_bytes", "file_bytes",
	               "limit_bytes", "over_ms", "illness", "cause", "pid", "text" },
	  .run = run_checkpoint, .end = end_checkpoint,
	  .text = "copy the WAL into the file, as far as snapshots allow, between two turns of the writer; then as SHOW WAL" },
	{ .words = "RELOAD", .right = ADMIN_ACTS, .columns = { "needs_restart" },
	  .run = run_reload, .end = end_reload,
	  .text = "read the configuration again, as SIGHUP does; lists what needs a restart to take effect" },
	{ .words = "SHUTDOWN", .right = ADMIN_ACTS,
	  .run = run_shutdown, .text = "stop the daemon, as SIGTERM does" },
	{ .words = NULL },
};
/* clang-format on */
