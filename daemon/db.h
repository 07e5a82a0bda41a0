/* db.h - the databases that are served.
 *
 * Opened before the threads that use them start, closed after those ended; in
 * between the list is constant and any thread may look at it.
 */
#ifndef DAEMON_DB_H
#define DAEMON_DB_H

#include "daemon/writer.h"

struct db {
	const struct conf_db *conf; /* borrowed */
	size_t index;               /* in the list; workers index by it */
	struct writer *writer;
	struct readers *readers;
	struct keeper *keeper;
};

struct dbs {
	struct db *list;
	size_t n;
	uint64_t epoch; /* of commit sequence numbers: when this daemon began,
			 * in microseconds of wall-clock time */
	struct crew *writers, *readers, *keepers;
};

/* Open all databases of the configuration, and start the crews.
 *
 * Errors: those of dbconn_open, with a text in f that names the file, the cause
 * and the remedy; -ERR_NO_MEMORY. */
int dbs_open(const struct conf *conf, struct dbs *ret_dbs, struct failure *f);

/* Stop the crews: what they were given is answered.  Main thread, after the
 * workers have nothing in flight any more. */
void dbs_stop(struct dbs *dbs);

/* Close everything; the WALs are copied into their files.  Main thread, after
 * all other connections to the files are closed. */
void dbs_close(struct dbs *dbs);

/* Find a database by name, or NULL. */
struct db *dbs_find(const struct dbs *dbs, struct span name);

/* Write "app, logs" for error messages, cut to n. */
void dbs_put_names(const struct dbs *dbs, char *out, size_t n);

/* Have the requests of a database that were asked to stop answered soon. */
void db_reap(struct db *db);

/* Let holders of transactions look at their limits; ten times a second. */
void dbs_tick(struct dbs *dbs);

#endif
