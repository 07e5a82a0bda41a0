/* dbfile.c - why a file cannot be opened, and which file it is. */
#include "daemon/dbfile.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "proto/error.h"

/* SQLite's primary codes: sqlite.org/rescode.html */
enum { SQL_READONLY = 8, SQL_CANTOPEN = 14, SQL_NOTADB = 26 };

/* How often /proc/locks is searched. */
#define LOCK_LOOKS 5

/* A line of /proc/locks (proc(5)): "1: POSIX ADVISORY WRITE pid major:minor:inode
 * start end".  The pid, when it is another process's lock on that file; else 0. */
static long
read_lock_line(char *line, const struct stat *st)
{
	const char *words[6] = { 0 };
	char *save = NULL, *end, *word = strtok_r(line, " ", &save);
	unsigned long major_n, minor_n;
	long pid;

	for (int i = 0; i < 6 && word; i++) {
		words[i] = word;
		word = strtok_r(NULL, " ", &save);
	}
	if (!words[5] || strcmp(words[1], "POSIX") != 0)
		return 0;
	pid = strtol(words[4], NULL, 10);
	major_n = strtoul(words[5], &end, 16);
	minor_n = strtoul(*end ? end + 1 : end, &end, 16);
	if (major_n != major(st->st_dev) || minor_n != minor(st->st_dev) ||
	    !*end || strtoul(end + 1, NULL, 10) != st->st_ino)
		return 0;
	return pid == (long)getpid() ? 0 : pid;
}

/* One look through the list of locks. */
static long
search_locks(const struct stat *st)
{
	char line[256];
	FILE *locks = fopen("/proc/locks", "re");
	long pid = 0;

	while (locks && pid == 0 && fgets(line, sizeof(line), locks))
		pid = read_lock_line(line, st);
	if (locks)
		fclose(locks);
	return pid;
}

/* Who holds a lock on the file.  The file itself is not opened: closing it would
 * drop SQLite's own locks (facts.md 0.2).  The
 * kernel gives the list in pieces, and a line can be missed when others' locks
 * come and go in between: so it is looked at a few times. */
static long
find_lock_holder(const char *path)
{
	struct stat st;
	long pid = 0;

	if (stat(path, &st) < 0)
		return 0;
	for (int i = 0; i < LOCK_LOOKS && pid == 0; i++)
		pid = search_locks(&st);
	return pid;
}

static int
explain_busy(const struct conf_db *db, struct failure *f)
{
	long pid = find_lock_holder(db->path);

	if (pid > 0)
		return failure_set(f, ERR_EXTERNAL_BUSY,
		    "cannot open %s: process %ld has it open; stop that "
		    "process, or use sqlpool-cli if it is a daemon that "
		    "serves the file already",
		    db->path, pid);
	return failure_set(f, ERR_EXTERNAL_BUSY,
	    "cannot open %s: another process has it open; find it with "
	    "\"fuser -v %s\" and stop it",
	    db->path, db->path);
}

/* These give true when they could say why. */
static bool
explain_directory(const struct conf_db *db, const char *dir, struct failure *f)
{
	struct stat st;

	if (stat(dir, &st) < 0)
		return failure_set(f, SQL_CANTOPEN,
			   "cannot open %s: directory %s: %s; create it or correct "
			   "the path",
			   db->path, dir, strerror(errno)) < 0;
	if (!S_ISDIR(st.st_mode))
		return failure_set(f, SQL_CANTOPEN,
			   "cannot open %s: %s is not a directory; correct the path",
			   db->path, dir) < 0;
	if (access(dir, W_OK | X_OK) < 0)
		return failure_set(f, SQL_CANTOPEN,
			   "cannot open %s: directory %s cannot be written (%s), and "
			   "SQLite keeps its WAL there; change its owner or mode, or "
			   "run the daemon as its owner",
			   db->path, dir, strerror(errno)) < 0;
	return false;
}

static bool
explain_cantopen(const struct conf_db *db, struct failure *f)
{
	char copy[PATH_MAX];
	struct stat st;

	snprintf(copy, sizeof(copy), "%s", db->path);
	if (explain_directory(db, dirname(copy), f))
		return true;
	if (stat(db->path, &st) == 0 && S_ISDIR(st.st_mode))
		return failure_set(f, SQL_CANTOPEN,
			   "cannot open %s: it is a directory; give the path of a "
			   "file in it",
			   db->path) < 0;
	if (access(db->path, R_OK | W_OK) < 0 && errno != ENOENT)
		return failure_set(f, SQL_CANTOPEN,
			   "cannot open %s: %s; change its owner or mode, or run the "
			   "daemon as its owner",
			   db->path, strerror(errno)) < 0;
	return false;
}

int
dbfile_explain(const struct conf_db *db, struct failure *f)
{
	char *text;
	int code = f->code;

	if (code == ERR_EXTERNAL_BUSY)
		return explain_busy(db, f);
	if ((code & 0xff) == SQL_NOTADB)
		return failure_set(f, code,
		    "cannot open %s: it is not an SQLite database, or it is "
		    "encrypted; give the path of a database, or of a file that "
		    "does not exist yet",
		    db->path);
	if (((code & 0xff) == SQL_CANTOPEN || (code & 0xff) == SQL_READONLY) &&
	    explain_cantopen(db, f))
		return -f->code;
	text = f->text;
	f->text = NULL;
	failure_set(f, code, "cannot open %s: %s", db->path,
	    text ? text : error_get_name(code));
	free(text);
	return -code;
}

bool
dbfile_identify(const char *path, struct dbfile *ret_file)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return false;
	*ret_file = (struct dbfile){ st.st_dev, st.st_ino };
	return true;
}

bool
dbfile_is(const struct dbfile *a, const struct dbfile *b)
{
	return a->ino != 0 && a->dev == b->dev && a->ino == b->ino;
}
