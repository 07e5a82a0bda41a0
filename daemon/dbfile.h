/* dbfile.h - the file of a database, as the file system knows it.
 *
 * Nothing here opens it: only SQLite may (POSIX drops a process's locks on a file
 * when it closes any descriptor of it).  Any thread.
 */
#ifndef DAEMON_DBFILE_H
#define DAEMON_DBFILE_H

#include <sys/stat.h>

#include "conf/conf.h"
#include "daemon/request.h"

/* Which file it is.  All zero: none. */
struct dbfile {
	dev_t dev;
	ino_t ino;
};

/* Put the reason why a file cannot be opened, which f holds as SQLite's code,
 * into words that help.  Returns -f->code. */
int dbfile_explain(const struct conf_db *db, struct failure *f);

/* See whether a directory has a database of this name, a good one: a file NAME.db,
 * itself and not by a link.  One that is absent is there when it may be created.
 * Errors: -ERR_NO_DATABASE, with a text in f if there is something to say. */
int dbfile_look_up(
    const char *directory, const char *name, bool create, struct failure *f);

/* Find out which file stands at a path.  False: none that can be seen. */
bool dbfile_identify(const char *path, struct dbfile *ret_file);

/* Say whether both are the same file; a first one that is none is not. */
bool dbfile_is(const struct dbfile *a, const struct dbfile *b);

#endif
