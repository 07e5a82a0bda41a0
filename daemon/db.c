/* db.c - open and close the databases, and say plainly why one cannot be. */
#include "daemon/db.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "proto/error.h"

/* SQLite's primary codes: sqlite.org/rescode.html */
enum { SQL_READONLY = 8, SQL_CANTOPEN = 14, SQL_NOTADB = 26 };

/* How often /proc/locks is searched. */
#define LOCK_LOOKS 5

#define READER_THREADS_LEAST 2
#define READER_THREADS_MOST  32

static unsigned
count_readers(const struct conf *conf)
{
	unsigned n = READER_THREADS_LEAST;

	if (conf->reader_threads)
		return conf->reader_threads;
	/* one for each connection: endless reads on some must not keep the
	 * threads from the others (P4); the kernel shares the CPUs out */
	for (size_t i = 0; i < conf->db_n; i++)
		if (conf->dbs[i].read_connections > n)
			n = conf->dbs[i].read_connections;
	return n < READER_THREADS_MOST ? n : READER_THREADS_MOST;
}

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

/* Put the reason why a file cannot be opened into words that help. */
static int
explain(const struct conf_db *db, struct failure *f)
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

static int
open_db(const struct conf *conf, struct dbs *dbs, size_t i, struct failure *f)
{
	struct db *db = &dbs->list[i];
	int rc;

	db->conf = &conf->dbs[i];
	db->index = i;
	rc = writer_open(conf, db->conf, dbs->writers, &db->writer, f);
	if (rc < 0)
		return explain(db->conf, f);
	rc = readers_new(conf, db->conf, dbs->readers, &db->readers);
	if (rc < 0)
		return failure_set(f, ERR_NO_MEMORY, "out of memory");
	if (keeper_new(db->conf, dbs->keepers, writer_get_queue(db->writer),
		&db->keeper) < 0)
		return failure_set(f, ERR_NO_MEMORY, "out of memory");
	writer_set_others(db->writer, db->readers, db->keeper);
	return 0;
}

static uint64_t
make_epoch(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

int
dbs_open(const struct conf *conf, struct dbs *dbs, struct failure *f)
{
	int rc;

	*dbs = (struct dbs){ .epoch = make_epoch() };
	dbs->list = calloc(conf->db_n + 1, sizeof(*dbs->list));
	if (!dbs->list)
		return failure_set(f, ERR_NO_MEMORY, "out of memory");
	rc = crew_start("writers", conf->writer_threads, 0, &dbs->writers);
	if (rc == 0)
		rc = crew_start("readers", count_readers(conf),
		    (int)conf->reader_nice, &dbs->readers);
	if (rc == 0)
		rc = crew_start(
		    "keepers", conf->keeper_threads, 0, &dbs->keepers);
	if (rc < 0)
		failure_set(f, ERR_NO_MEMORY, "cannot start threads");
	while (rc == 0 && dbs->n < conf->db_n) {
		rc = open_db(conf, dbs, dbs->n, f);
		dbs->n++;
	}
	if (rc < 0) {
		dbs_stop(dbs);
		dbs_close(dbs);
	}
	return rc;
}

void
dbs_stop(struct dbs *dbs)
{
	crew_stop(dbs->readers);
	crew_stop(dbs->writers);
	crew_stop(dbs->keepers);
}

void
dbs_close(struct dbs *dbs)
{
	for (size_t i = 0; i < dbs->n; i++) {
		readers_free(dbs->list[i].readers);
		writer_drain(dbs->list[i].writer);
		keeper_free(dbs->list[i].keeper);
		writer_close(dbs->list[i].writer);
	}
	crew_free(dbs->readers);
	crew_free(dbs->writers);
	crew_free(dbs->keepers);
	free(dbs->list);
	*dbs = (struct dbs){ 0 };
}

struct db *
dbs_find(const struct dbs *dbs, struct span name)
{
	for (size_t i = 0; i < dbs->n; i++) {
		const char *have = dbs->list[i].conf->name;

		if (strlen(have) == name.n && memcmp(have, name.p, name.n) == 0)
			return &dbs->list[i];
	}
	return NULL;
}

void
dbs_put_names(const struct dbs *dbs, char *out, size_t n)
{
	size_t at = 0;

	out[0] = '\0';
	for (size_t i = 0; i < dbs->n && at < n; i++) {
		int len = snprintf(out + at, n - at, "%s%s", i ? ", " : "",
		    dbs->list[i].conf->name);

		at += len > 0 ? (size_t)len : 0;
	}
}

void
db_reap(struct db *db)
{
	readers_reap(db->readers);
	writer_reap(db->writer);
}

void
dbs_tick(struct dbs *dbs)
{
	for (size_t i = 0; i < dbs->n; i++) {
		readers_tick(dbs->list[i].readers);
		writer_tick(dbs->list[i].writer);
	}
}
