/* admin_backup.c - the text of BACKUP, and who may send it. */
#include "daemon/admin_backup.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "daemon/admin_words.h"
#include "daemon/backup.h"
#include "daemon/hots.h"
#include "proto/error.h"

#define NAME_BYTES 65

/* What is left of the text. */
struct cursor {
	const char *at, *end;
};

static void
skip_space(struct cursor *c)
{
	c->at = admin_words_skip(c->at, c->end);
}

static bool
take_word(struct cursor *c, const char *word)
{
	size_t n = strlen(word);

	skip_space(c);
	if ((size_t)(c->end - c->at) < n || strncasecmp(c->at, word, n) != 0 ||
	    (c->at + n < c->end && isalnum((unsigned char)c->at[n])))
		return false;
	c->at += n;
	return true;
}

/* Text between quotes, which are doubled in it. */
static bool
take_quoted(struct cursor *c, char *out, size_t size)
{
	char quote;
	size_t n = 0;

	skip_space(c);
	if (c->at == c->end || (*c->at != '\'' && *c->at != '"'))
		return false;
	quote = *c->at;
	for (c->at++; c->at < c->end && n + 1 < size; c->at++) {
		if (*c->at == quote &&
		    (c->at + 1 == c->end || c->at[1] != quote)) {
			c->at++;
			out[n] = '\0';
			return n > 0;
		}
		c->at += *c->at == quote;
		out[n++] = *c->at;
	}
	return false;
}

/* A name as the configuration has it, between quotes or not. */
static bool
take_name(struct cursor *c, char *out, size_t size)
{
	size_t n = 0;

	skip_space(c);
	if (c->at < c->end && (*c->at == '\'' || *c->at == '"'))
		return take_quoted(c, out, size);
	while (c->at < c->end && n + 1 < size &&
	    (isalnum((unsigned char)*c->at) || strchr("_.-", *c->at)))
		out[n++] = *c->at++;
	out[n] = '\0';
	return n > 0;
}

bool
admin_backup_is(const struct request *r)
{
	struct cursor c = { (const char *)r->sql.p,
		(const char *)r->sql.p + r->sql.n };

	return r->type == TYPE_EXEC && r->sql.n > 0 && take_word(&c, "BACKUP");
}

static bool
parse(struct span sql, char name[NAME_BYTES], struct backup_order *order)
{
	struct cursor c = { (const char *)sql.p, (const char *)sql.p + sql.n };

	if (memchr(sql.p, '\0', sql.n) || !take_word(&c, "BACKUP") ||
	    !take_name(&c, name, NAME_BYTES) || !take_word(&c, "TO") ||
	    !take_quoted(&c, order->path, sizeof(order->path)))
		return false;
	for (;;) {
		if (take_word(&c, "VERIFY"))
			order->verify = true;
		else if (take_word(&c, "REPLACE"))
			order->replace = true;
		else
			break;
	}
	skip_space(&c);
	if (c.at < c.end && *c.at == ';')
		c.at++;
	skip_space(&c);
	return c.at == c.end;
}

/* It writes a file as the daemon. */
static int
check_right(const struct client *cl, struct failure *f)
{
	uid_t uid = cl->owner.uid;

	if (uid == 0 || uid == geteuid())
		return 0;
	return failure_set(f, ERR_NOT_ALLOWED,
	    "BACKUP is for root and user %u, who runs the daemon; you are user "
	    "%u",
	    (unsigned)geteuid(), (unsigned)uid);
}

/* No file of a database that is served, this one or another. */
static int
check_path(struct dbs *dbs, const struct backup_order *order, struct failure *f)
{
	if (dbs->directory && backup_is_in(order, dbs->directory))
		return failure_set(f, ERR_NOT_ALLOWED,
		    "%.1024s is in %s, each file of which is a database that is "
		    "served; choose another directory",
		    order->path, dbs->directory);
	for (struct db *db = dbs_next(dbs, NULL); db; db = dbs_next(dbs, db)) {
		if (backup_check_path(order, db->conf->path, f) < 0) {
			db_unref(db);
			return -f->code;
		}
	}
	return 0;
}

static int
find_db(struct client *cl, struct request *r, const char *name)
{
	struct span span = { (const uint8_t *)name, strlen(name) };

	return hots_find_db(cl->loop, span, &r->db, &r->failure);
}

int
admin_backup_read(struct client *cl, struct request *r)
{
	struct backup_order *order = calloc(1, sizeof(*order));
	char name[NAME_BYTES];
	int rc;

	r->order = order;
	if (!order)
		return failure_set(&r->failure, ERR_NO_MEMORY, "out of memory");
	if (!parse(r->sql, name, order))
		return failure_set(&r->failure, ERR_NOT_ALLOWED,
		    "write it as: BACKUP name TO '/absolute/path' [VERIFY] "
		    "[REPLACE]");
	rc = check_right(cl, &r->failure);
	if (rc == 0)
		rc = check_path(cl->loop->dbs, order, &r->failure);
	return rc < 0 ? rc : find_db(cl, r, name);
}
