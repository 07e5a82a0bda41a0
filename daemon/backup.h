/* backup.h - copies of databases that are being served, as files.
 *
 * A backup is a serial queue of the readers' crew: it copies for a few
 * milliseconds, gives its thread back, and goes on.  All that it copies is of one
 * moment; it holds up neither the writer nor the keeper, but keeps the WAL from
 * beginning anew as any reader does.
 *
 *   PATH.partial ──copied──▶ synced ──▶ verified, if asked ──▶ renamed to PATH
 *
 * So PATH is a whole copy or is not there.  Threads: backups_new and backups_free
 * when nothing else runs, the others any thread.
 */
#ifndef DAEMON_BACKUP_H
#define DAEMON_BACKUP_H

#include <limits.h>

#include "daemon/reader.h"

struct backups;

/* So many run at one time; the next one is refused. */
#define BACKUPS_MAX 4

struct backup_order {
	char path[PATH_MAX]; /* absolute */
	bool replace;        /* what is there already */
	bool verify;         /* with quick_check, before it is renamed */
};

/* What is copied.  It is open for as long as the request is under way. */
struct backup_source {
	const struct conf_db *db;
	struct readers *readers;
};

enum backup_phase { BACKUP_COPYING, BACKUP_VERIFYING, BACKUP_FINISHING };

/* How far one is. */
struct backup_state {
	char database[64 + 1];
	char path[PATH_MAX];
	enum backup_phase phase;
	int64_t started_us, pages_done, pages_total;
};

/* Errors: -ERR_NO_MEMORY. */
int backups_new(struct crew *crew, struct backups **ret_backups);

/* The crew has stopped; what still runs is given up.  NULL is fine. */
void backups_free(struct backups *bs);

/* Say whether a file must not be made there, as it is a database, or would be
 * taken for a part of it.  r->failure says so. */
int backup_check_path(
    const struct backup_order *order, const char *db_path, struct failure *f);

/* Say whether it would be in a directory, which is without links. */
bool backup_is_in(const struct backup_order *order, const char *directory);

/* Begin a backup.  The request is answered when it has ended, with a row that says
 * how it went; it can be stopped.  On 0 the request is the backup's.
 *
 * Errors: -ERR_NOT_ALLOWED: the path is not absolute, or something is there;
 * -ERR_QUEUE_FULL: too many run, or one to this path.  With r->failure. */
int backup_start(struct backups *bs, const struct backup_order *order,
    const struct backup_source *source, struct request *r);

/* List those that run, at most BACKUPS_MAX.  Gives how many. */
size_t
backups_list(struct backups *bs, struct backup_state ret_list[BACKUPS_MAX]);

#endif
