/* dbcopy.c - SQLite's backup API within a read transaction. */
#include "daemon/dbcopy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/dbconn_impl.h"
#include "daemon/trickle.h"
#include "proto/error.h"

/* As the progress handler of a connection: dbconn.c. */
#define PROGRESS_OPCODES 1000

struct dbcopy {
	struct dbconn *source; /* in a read transaction */
	sqlite3 *target;
	sqlite3_backup *backup;
};

static int
fail(sqlite3 *db, int rc, const char *what, struct failure *f)
{
	return failure_set(f, rc, "%s: %s", what,
	    db && sqlite3_errcode(db) != SQLITE_OK ? sqlite3_errmsg(db)
						   : sqlite3_errstr(rc));
}

/* It is synced when it is complete, and thrown away when it is not: so it needs
 * no journal. */
static int
open_target(struct dbcopy *c, const char *path, struct failure *f)
{
	int rc = sqlite3_open_v2(path, &c->target,
	    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, "unix");

	if (rc == SQLITE_OK)
		rc = sqlite3_exec(c->target,
		    "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF", NULL,
		    NULL, NULL);
	if (rc != SQLITE_OK)
		return fail(c->target, rc, "cannot open the copy", f);
	c->backup = sqlite3_backup_init(
	    c->target, "main", c->source->db, "main");
	return c->backup ? 0
			 : fail(c->target, sqlite3_errcode(c->target),
			       "cannot begin the copy", f);
}

int
dbcopy_open(const struct conf_db *db, const char *target,
    struct dbcopy **ret_copy, struct failure *f)
{
	struct dbcopy *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return failure_set(f, ERR_NO_MEMORY, "out of memory");
	rc = dbconn_open(db, DBCONN_READER, &c->source, f);
	if (rc == 0)
		rc = dbconn_run(c->source, DBCONN_BEGIN, f);
	if (rc == 0)
		rc = dbconn_run(c->source, DBCONN_SNAPSHOT, f);
	if (rc == 0)
		rc = open_target(c, target, f);
	if (rc < 0) {
		dbcopy_close(c);
		return rc;
	}
	*ret_copy = c;
	return 0;
}

int
dbcopy_step(struct dbcopy *c, int pages, struct failure *f)
{
	int rc;

	trickle_begin(); /* commits have the disk in between */
	rc = sqlite3_backup_step(c->backup, pages);
	trickle_end(); /* the step has failed with it */
	if (rc == SQLITE_DONE)
		return 1;
	return rc == SQLITE_OK ? 0 : fail(c->target, rc, "cannot copy on", f);
}

void
dbcopy_get_progress(
    const struct dbcopy *c, struct dbcopy_progress *ret_progress)
{
	int total = sqlite3_backup_pagecount(c->backup);

	*ret_progress = (struct dbcopy_progress){
		.total = total,
		.done = total - sqlite3_backup_remaining(c->backup),
		.page_bytes = c->source->page_bytes,
	};
}

void
dbcopy_close(struct dbcopy *c)
{
	if (!c)
		return;
	sqlite3_backup_finish(c->backup);
	sqlite3_close(c->target);
	dbconn_close(c->source);
	free(c);
}

/* --- Verifying --------------------------------------------------------------- */

struct stop {
	const _Atomic int *flag;
};

static int
is_stopped(void *arg)
{
	const struct stop *stop = arg;

	return atomic_load(stop->flag) != 0;
}

static int
check(sqlite3 *db, struct failure *f)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &st, NULL);
	const char *text = NULL;

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		text = (const char *)sqlite3_column_text(st, 0);
	if (!text)
		rc = fail(db, rc, "cannot verify the copy", f);
	else if (strcmp(text, "ok") != 0)
		rc = failure_set(f, SQLITE_CORRUPT,
		    "the copy does not pass quick_check, so the database "
		    "itself is damaged: %s",
		    text);
	else
		rc = 0;
	sqlite3_finalize(st);
	return rc;
}

/* uri.html, "The URI Path": these bytes mean something in it. */
static char *
make_uri(const char *path)
{
	static const char hex[] = "0123456789abcdef";
	static const char tail[] = "?immutable=1";
	char *uri = malloc(strlen("file:") + 3 * strlen(path) + sizeof(tail));
	char *to = uri;

	if (!uri)
		return NULL;
	to = stpcpy(to, "file:");
	for (; *path; path++) {
		if (!strchr("%?#", *path)) {
			*to++ = *path;
			continue;
		}
		*to++ = '%';
		*to++ = hex[(unsigned char)*path >> 4];
		*to++ = hex[(unsigned char)*path & 15];
	}
	stpcpy(to, tail);
	return uri;
}

int
dbcopy_verify(const char *path, const _Atomic int *stop, struct failure *f)
{
	/* A copy of a database in WAL mode is in WAL mode: as immutable it is
	 * read without a WAL beside it. */
	char *uri = make_uri(path);
	struct stop stops = { stop };
	sqlite3 *db = NULL;
	int rc = SQLITE_NOMEM;

	if (uri)
		rc = sqlite3_open_v2(uri, &db,
		    SQLITE_OPEN_READONLY | SQLITE_OPEN_URI |
			SQLITE_OPEN_NOMUTEX,
		    "unix");
	free(uri);
	if (rc != SQLITE_OK) {
		rc = fail(db, rc, "cannot open the copy", f);
	} else {
		sqlite3_progress_handler(
		    db, PROGRESS_OPCODES, is_stopped, &stops);
		rc = check(db, f);
	}
	sqlite3_close(db);
	return rc;
}
