/* dbfile.h - the file of a database, as the file system knows it.
 *
 * Only SQLite opens it: POSIX drops a process's locks on a file when it closes any
 * descriptor of it.  Any thread.
 */
#ifndef DAEMON_DBFILE_H
#define DAEMON_DBFILE_H

#include <sys/stat.h>

#include "conf/conf.h"
#include "daemon/dbconn.h"

/* Which file it is.  All zero: none. */
struct dbfile {
	dev_t dev;
	ino_t ino;
	ino_t wal_ino; /* of the WAL that stands beside it; 0: not known */
};

/* Refuse what is there and is no file: SQLite would open a device, too, and what is
 * written to /dev/null is gone.  Errors: SQLite's, CANTOPEN. */
int dbfile_check_kind(const struct conf_db *db, struct failure *f);

/* Put the reason why a file cannot be opened, which f holds as SQLite's code,
 * into words that help.  Returns -f->code. */
int dbfile_explain(const struct conf_db *db, struct failure *f);

/* Say that another file stands at its path than the one that was opened, or none.
 * Returns -ERR_DATABASE_DOWN. */
int dbfile_fail_replaced(const struct conf_db *db, struct failure *f);

/* See whether a directory has a database of this name, a good one: a file NAME.db,
 * itself and not by a link.  One that is absent is there when it may be created.
 * Errors: -ERR_NO_DATABASE, with a text in f if there is something to say. */
int dbfile_look_up(
    const char *directory, const char *name, bool create, struct failure *f);

/* Find out which file stands at a path.  False: none that can be seen. */
bool dbfile_identify(const char *path, struct dbfile *ret_file);

/* Note which WAL stands beside it, now that it is open. */
void dbfile_identify_wal(const char *path, struct dbfile *file);

/* Say whether both still stand at their paths.  A file that is none does. */
bool dbfile_stands(const struct dbfile *file, const char *path);

/* Open one more connection to a file that is open, if it still stands at its path:
 * another one would be read with this one's WAL beside it, and it would be copied
 * into that when the connection is closed.  And without the WAL a new one would be
 * made, which the others do not know.  A file that is none is not compared.
 * Errors: those of dbconn_open; -ERR_DATABASE_DOWN: another one stands there, or
 * none, or another WAL, or none. */
int dbfile_connect(const struct dbfile *file, const struct conf_db *db,
    enum dbconn_role role, struct dbconn **ret_conn, struct failure *f);

/* Say whether both are the same file; a first one that is none is not. */
bool dbfile_is(const struct dbfile *a, const struct dbfile *b);

#endif
