/* dbfile.c - why a file cannot be opened, and which file it is. */
#include "daemon/dbfile.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/locks.h"
#include "proto/error.h"

/* SQLite's codes: sqlite.org/rescode.html */
enum {
	SQL_READONLY = 8,
	SQL_READONLY_DBMOVED = 1032, /* extended */
	SQL_CANTOPEN = 14,
	SQL_NOTADB = 26,
};

static int
explain_busy(const struct conf_db *db, struct failure *f)
{
	pid_t pid = locks_find(db->path, 0, LONG_MAX);

	if (pid > 0)
		return failure_set(f, ERR_EXTERNAL_BUSY,
		    "cannot open %s: process %d has it open; stop that "
		    "process, or use sqlpool-cli if it is a daemon that "
		    "serves the file already",
		    db->path, (int)pid);
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
	if (!db->create && stat(db->path, &st) < 0 && errno == ENOENT)
		return failure_set(f, SQL_CANTOPEN,
			   "cannot open %s: there is no such file; correct the path, "
			   "or let it be created with create = on",
			   db->path) < 0;
	if (access(db->path, R_OK | W_OK) < 0 && errno != ENOENT)
		return failure_set(f, SQL_CANTOPEN,
			   "cannot open %s: %s; change its owner or mode, or run the "
			   "daemon as its owner",
			   db->path, strerror(errno)) < 0;
	return false;
}

int
dbfile_check_kind(const struct conf_db *db, struct failure *f)
{
	struct stat st;

	if (stat(db->path, &st) < 0 || S_ISREG(st.st_mode))
		return 0;
	return failure_set(f, SQL_CANTOPEN, "cannot open %s: it is %s",
	    db->path,
	    S_ISDIR(st.st_mode) ? "a directory; give the path of a file in it"
				: "not a regular file; give the path of one");
}

int
dbfile_fail_replaced(const struct conf_db *db, struct failure *f)
{
	failure_set(f, ERR_DATABASE_DOWN,
	    "%s, or its WAL, was replaced or deleted just now; try again in a "
	    "second",
	    db->path);
	f->retry_ms = 1000;
	return -ERR_DATABASE_DOWN;
}

int
dbfile_explain(const struct conf_db *db, struct failure *f)
{
	char *text;
	int code = f->code;

	if (code == ERR_EXTERNAL_BUSY)
		return explain_busy(db, f);
	if (code == SQL_READONLY_DBMOVED)
		return dbfile_fail_replaced(db, f);
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

int
dbfile_look_up(
    const char *directory, const char *name, bool create, struct failure *f)
{
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s.db", directory, name);
	if (lstat(path, &st) < 0)
		return create && errno == ENOENT ? 0 : -ERR_NO_DATABASE;
	if (S_ISREG(st.st_mode))
		return 0;
	return failure_set(f, ERR_NO_DATABASE,
	    "%s is %s; only files of the directory itself are databases", path,
	    S_ISLNK(st.st_mode) ? "a symbolic link" : "not a regular file");
}

bool
dbfile_identify(const char *path, struct dbfile *ret_file)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return false;
	*ret_file = (struct dbfile){ st.st_dev, st.st_ino, 0 };
	return true;
}

void
dbfile_identify_wal(const char *path, struct dbfile *file)
{
	char wal[PATH_MAX];
	struct stat st;

	snprintf(wal, sizeof(wal), "%s-wal", path);
	file->wal_ino = stat(wal, &st) == 0 ? st.st_ino : 0;
}

bool
dbfile_stands(const struct dbfile *file, const char *path)
{
	struct dbfile now = { 0 };

	if (file->ino == 0)
		return true;
	if (!dbfile_identify(path, &now) || !dbfile_is(file, &now))
		return false;
	dbfile_identify_wal(path, &now);
	return file->wal_ino == 0 || file->wal_ino == now.wal_ino;
}

int
dbfile_connect(const struct dbfile *file, const struct conf_db *db,
    enum dbconn_role role, struct dbconn **ret_conn, struct failure *f)
{
	int rc;

	if (!dbfile_stands(file, db->path))
		return dbfile_fail_replaced(db, f);
	rc = dbconn_open(db, role, ret_conn, f);
	if (rc < 0)
		return rc;
	if (dbfile_stands(file, db->path))
		return 0;
	dbconn_keep_wal(*ret_conn);
	dbconn_close(*ret_conn);
	*ret_conn = NULL;
	return dbfile_fail_replaced(db, f);
}

bool
dbfile_is(const struct dbfile *a, const struct dbfile *b)
{
	return a->ino != 0 && a->dev == b->dev && a->ino == b->ino;
}
