/* admin.c - from the text of a command to its reply. */
#include "daemon/admin.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/admin_impl.h"
#include "daemon/local.h"
#include "daemon/log.h"
#include "daemon/road.h"
#include "proto/error.h"
#include "proto/frame.h"
#include "proto/value.h"

/* No more of a statement is shown. */
#define SQL_BYTES 1000

static const struct admin_command *const groups[] = {
	admin_about_commands,
	admin_dbs_commands,
	admin_clients_commands,
	admin_acts_commands,
	admin_set_commands,
	admin_stats_commands,
	admin_costs_commands,
	admin_room_commands,
};
#define GROUPS_N (sizeof(groups) / sizeof(groups[0]))

const struct admin_command *
admin_next(const struct admin_command *command)
{
	size_t group = 0;

	if (!command)
		return groups[0];
	if (command[1].words)
		return command + 1;
	for (; group < GROUPS_N; group++) {
		const struct admin_command *last = groups[group];

		while (last[1].words)
			last++;
		if (last == command)
			break;
	}
	return group + 1 < GROUPS_N ? groups[group + 1] : NULL;
}

/* --- Rows ----------------------------------------------------------------- */

static uint32_t
count_columns(const struct admin_command *command)
{
	uint32_t n = 0;

	while (n < ADMIN_COLUMNS_MAX && command->columns[n])
		n++;
	return n;
}

void
admin_put_row(struct admin *ad)
{
	value_put_array(&ad->rows, count_columns(ad->command));
}

void
admin_put_str(struct admin *ad, const char *text)
{
	if (text)
		value_put_text(&ad->rows, text, strlen(text));
	else
		value_put_nil(&ad->rows);
}

void
admin_put_uint(struct admin *ad, uint64_t v)
{
	value_put_uint(&ad->rows, v);
}

void
admin_put_real(struct admin *ad, double v)
{
	char text[64];

	snprintf(text, sizeof(text), v < 1 && v > -1 ? "%.3g" : "%.3f", v);
	value_put_real(&ad->rows, strtod(text, NULL));
}

void
admin_put_null(struct admin *ad)
{
	value_put_nil(&ad->rows);
}

void
admin_put_sql(struct admin *ad, struct span sql, size_t most)
{
	char line[SQL_BYTES];
	size_t n = 0;

	if (most > sizeof(line))
		most = sizeof(line);
	for (size_t i = 0; i < sql.n && n < most; i++) {
		char ch = (char)sql.p[i];

		if (ch == '\0')
			break;
		if (!isspace((unsigned char)ch))
			line[n++] = ch;
		else if (n > 0 && line[n - 1] != ' ')
			line[n++] = ' ';
	}
	if (n == 0)
		value_put_nil(&ad->rows);
	else
		value_put_message(&ad->rows, line, n);
}

void
admin_put_since(struct admin *ad, int64_t since_us, int64_t now_us)
{
	int64_t ms = (now_us - since_us) / 1000;

	if (since_us == 0)
		value_put_nil(&ad->rows);
	else
		value_put_uint(&ad->rows, ms > 0 ? (uint64_t)ms : 0);
}

bool
admin_is_waiting(const struct request *r)
{
	switch (request_get_state(r)) {
	case REQUEST_NEW:
		return r->waits != NULL;
	case REQUEST_PARKED:
	case REQUEST_QUEUED:
		return true;
	case REQUEST_RUNNING:
	case REQUEST_ANSWERED:
	case REQUEST_STATES_N:
		break;
	}
	return false;
}

/* --- The reply -------------------------------------------------------------- */

static void
open_frame(const struct admin *ad, struct answer *a)
{
	uint32_t n = count_columns(ad->command);

	answer_open(a);
	if (n == 0)
		return;
	if (!a->columns_given) {
		msg_key(&a->frame, TELL_columns);
		value_put_array(a->out, n);
		for (uint32_t i = 0; i < n; i++)
			value_put_text(a->out, ad->command->columns[i],
			    strlen(ad->command->columns[i]));
		a->columns_given = true;
	}
	answer_open_rows(a);
}

static int
put_rows(const struct admin *ad, struct answer *a)
{
	struct span left = { ad->rows.p, ad->rows.n };
	int rc = 0;

	open_frame(ad, a);
	while (left.n > 0 && rc == 0) {
		struct span row = left;

		value_skip(&left);
		row.n -= left.n;
		if (answer_get_bytes(a) + row.n > ANSWER_CHUNK_BYTES &&
		    a->rows_n > 0) {
			rc = answer_flush(a);
			open_frame(ad, a);
		}
		buf_put(a->out, row.p, row.n);
		a->rows_n++;
	}
	return rc;
}

/* At home: write the reply, and send it by the mailbox, as those of writers and
 * readers come; credit and a client that is gone are taken care of there. */
static void
finish(struct admin *ad)
{
	struct request *r = ad->r;
	struct answer a;

	atomic_store(&r->runner, NULL); /* it may have been ad->db's queue */
	answer_init(&a, r, &r->out);
	if (r->failure.code == 0 && buf_failed(&ad->rows))
		failure_set(&r->failure, ERR_NO_MEMORY, "out of memory");
	if (r->failure.code == 0 && put_rows(ad, &a) < 0)
		failure_set(&r->failure, ERR_ROW_TOO_LARGE,
		    "a row does not fit in a frame of %zu bytes",
		    r->max_frame_bytes);
	answer_finish(&a);
	buf_fini(&ad->rows);
	admin_forget_seen(ad);
	buf_fini(&ad->again.said);
	db_unref(ad->db);
	free(ad);
	mailbox_post(r, true);
}

void
admin_note(const struct admin *ad)
{
	log_info("%s by pid %d, user %u", ad->words, (int)ad->client->owner.pid,
	    (unsigned)ad->client->owner.uid);
}

/* --- Travelling --------------------------------------------------------------- */

static void
come_home(struct errand *e, void *owner)
{
	struct admin *ad = (struct admin *)e;

	(void)owner;
	if (ad->command->end && ad->r->failure.code == 0)
		ad->command->end(ad);
	finish(ad);
}

void
admin_wait(struct admin *ad)
{
	ad->waits = true;
	ad->errand.arrive = come_home;
}

/* On to the next worker that has not ended; home's has not while it has a client
 * that waits. */
static void
travel(struct admin *ad)
{
	struct loop *home = ad->home;

	while (ad->stop_n < home->peers_n)
		if (mailbox_send(home->peers[ad->stop_n++], &ad->errand))
			return;
	ad->errand.arrive = come_home;
	mailbox_send(&home->mailbox, &ad->errand);
}

static void
arrive(struct errand *e, void *owner)
{
	struct admin *ad = (struct admin *)e;

	ad->command->visit(ad, owner);
	travel(ad);
}

static void
run(struct admin *ad)
{
	const struct admin_command *command = ad->command;

	if (command->run)
		command->run(ad);
	if (ad->waits)
		return; /* somebody else has it */
	if (command->visit && ad->r->failure.code == 0) {
		ad->errand.arrive = arrive;
		travel(ad);
		return;
	}
	come_home(&ad->errand, ad->home);
}

/* --- Understanding --------------------------------------------------------------- */

/* What follows the command's words; NULL: it is another command. */
static const char *
match(const struct admin_command *command, const char *words)
{
	size_t n = strlen(command->words);

	if (strncasecmp(words, command->words, n) != 0)
		return NULL;
	if (words[n] == '\0')
		return words + n;
	return words[n] == ' ' && command->args ? words + n + 1 : NULL;
}

/* One that is known, but takes nothing behind it; or NULL. */
static const struct admin_command *
find_begun(const char *words)
{
	const struct admin_command *command = admin_next(NULL);

	for (; command; command = admin_next(command)) {
		size_t n = strlen(command->words);

		if (strncasecmp(words, command->words, n) == 0 &&
		    words[n] == ' ')
			break;
	}
	return command;
}

static int
fail_unknown(struct admin *ad)
{
	const struct admin_command *begun = find_begun(ad->words);

	if (begun)
		return failure_set(&ad->r->failure, ERR_NOT_ALLOWED,
		    "write it as: %s", begun->words);
	return failure_set(&ad->r->failure, ERR_NOT_ALLOWED,
	    "@admin does not know \"%.64s\"; SHOW HELP lists what it knows",
	    ad->words);
}

static int
find_command(struct admin *ad)
{
	const struct admin_command *command = admin_next(NULL);

	if (ad->r->type != TYPE_EXEC)
		return failure_set(&ad->r->failure, ERR_NOT_ALLOWED,
		    "@admin takes one command at a time (EXEC): no BATCH, no "
		    "SCRIPT, no transactions and nothing prepared");
	if (admin_words_read(ad->r->sql, ad->words, &ad->r->failure) < 0)
		return -ad->r->failure.code;
	for (; command; command = admin_next(command)) {
		ad->args = match(command, ad->words);
		if (ad->args)
			break;
	}
	if (!command)
		return fail_unknown(ad);
	ad->command = command;
	if (command->args && !ad->args[0])
		return failure_set(&ad->r->failure, ERR_NOT_ALLOWED,
		    "write it as: %s %s", command->words, command->args);
	return 0;
}

/* Who may look was checked before. */
static int
check_right(const struct admin *ad)
{
	if (ad->command->right == ADMIN_SEES)
		return 0;
	return access_check(&ad->client->peer, ad->home->conf, NULL,
	    RIGHT_ADMIN, &ad->r->failure);
}

void
admin_take(struct client *cl, struct request *r)
{
	struct admin *ad;

	if (road_send_away(cl, r) < 0) {
		local_fail(cl, r);
		return;
	}
	ad = calloc(1, sizeof(*ad));
	if (!ad) {
		failure_set(&r->failure, ERR_NO_MEMORY, "out of memory");
		local_fail(cl, r);
		return;
	}
	ad->home = cl->loop;
	ad->client = cl;
	ad->r = r;
	buf_init(&ad->rows);
	buf_init(&ad->again.said);
	if (find_command(ad) < 0 || check_right(ad) < 0)
		finish(ad);
	else
		run(ad);
}
