/* admin_set.c - SET, on @admin: an option is changed while the daemon runs. */
#include "daemon/admin_impl.h"

#include <stdio.h>
#include <string.h>

#include "daemon/tick.h"
#include "proto/error.h"

static void
run_set(struct admin *ad)
{
	char text[ADMIN_WORDS_BYTES], err[CONF_ERR_MAX], *equals;

	snprintf(text, sizeof(text), "%s", ad->args);
	equals = strchr(text, '=');
	if (!equals) {
		failure_set(&ad->r->failure, ERR_FIELD_RANGE,
		    "write it as: %s %s", ad->command->words,
		    ad->command->args);
		return;
	}
	*equals++ = '\0';
	if (dbs_change(ad->home->dbs, admin_words_trim(text),
		admin_words_trim(equals), err) < 0) {
		failure_set(&ad->r->failure, ERR_NOT_ALLOWED,
		    "nothing has changed: %s", err);
		return;
	}
	tick_want(); /* there may be a limit now */
	admin_note(ad);
}

/* clang-format off */
const struct admin_command admin_set_commands[] = {
	{ .words = "SET", .args = "[DATABASE.]OPTION = VALUE", .right = ADMIN_ACTS,
	  .run = run_set,
	  .text = "change an option that SHOW CONFIG calls live, until the configuration is read again (RELOAD, SIGHUP, a restart)" },
	{ .words = NULL },
};
/* clang-format on */
