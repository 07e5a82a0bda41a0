/* reader.h - heavy readers: long reads, large results, read transactions.
 *
 * A pool per database: a bounded number of connections, opened as they are
 * needed, each a serial queue that the readers' crew runs; and a line of
 * requests that wait for one.  A read that streams stops when it is far enough
 * ahead of its client and gives its thread back; credit, a stop or the end of
 * its transaction kicks it on.
 *
 *   submit ──▶ free reader? ──yes──▶ inbox ──▶ run ──▶ answer ──▶ next in line,
 *                  │ no                ▲        │                  or free
 *                  ▼                   │        ▼
 *                line ─────────────────┘     blocked (no thread)
 *
 * Threads: the functions here may be called by any thread.
 */
#ifndef DAEMON_READER_H
#define DAEMON_READER_H

#include "daemon/control.h"
#include "daemon/crew.h"
#include "daemon/dbfile.h"

struct readers;

/* Who keeps the WAL from beginning anew, and since when. */
enum snapshot_kind {
	SNAPSHOT_READ,   /* a statement that runs */
	SNAPSHOT_STREAM, /* a result that its client does not fetch */
	SNAPSHOT_TX,     /* a read transaction */
	SNAPSHOT_BACKUP, /* a copy that is made (backup.h) */
};
struct snapshot {
	enum snapshot_kind kind;
	struct owner owner;
	int64_t since_us;
	char sql[TX_SQL_BYTES]; /* the last statement, cut; NUL-terminated */
};

/* Make a pool; no connection is opened yet.  The file is the caller's, and stays
 * the same.  Errors: -ERR_NO_MEMORY. */
int readers_new(const struct conf_db *db, const struct dbfile *file,
    struct crew *crew, struct readers **ret_readers);

/* Open min_read_connections of them, each of which reads the schema: nobody uses
 * the pool yet.  Errors: those of dbfile_connect. */
int readers_preload(struct readers *rs, struct failure *f);

/* Have idle ones closed that were not used since a moment, beyond
 * min_read_connections. */
void readers_close_idle(struct readers *rs, int64_t before_us);

/* Close its connections and free it.  Nobody uses it any more.  NULL is fine. */
void readers_free(struct readers *rs);

/* Give a request to a reader, or to the line.  A request of a transaction goes
 * to the reader that holds it.  The request is the pool's on 0.
 * Errors: -ERR_QUEUE_FULL, with r->failure set. */
int readers_submit(struct readers *rs, struct request *r);

/* Answer the requests in the line that were asked to stop. */
void readers_reap(struct readers *rs);

/* Let go of the snapshot of a transaction whose request waits for the writer,
 * whatever became of it. */
void readers_drop(struct readers *rs, struct tx *tx);

/* Let the writer have a transaction: its snapshot is rolled back soon and its
 * reader is free again.  Errors: -ERR_TX_EXPIRED, with f filled in: its reader
 * has ended it. */
int readers_release(struct readers *rs, struct tx *tx, struct failure *f);

/* Give "read", "stream", "transaction". */
const char *snapshot_get_kind_name(enum snapshot_kind kind);

/* List the snapshots that are held now, oldest first, at most n of them.  The
 * workers' short reads are not among them (inline_budget).  Gives how many there
 * are. */
size_t
readers_list_snapshots(struct readers *rs, struct snapshot *ret_list, size_t n);

/* Have a snapshot listed that no reader here holds, until it is removed.  The
 * guest is the caller's. */
struct snapshot_guest {
	struct snapshot_guest *next; /* under the pool's lock */
	struct snapshot snapshot;
};
void readers_add_guest(struct readers *rs, struct snapshot_guest *guest);
void readers_remove_guest(struct readers *rs, struct snapshot_guest *guest);

/* Say whether a backup runs, which stays for long and is not to be waited for. */
bool readers_has_guest(const struct readers *rs);

/* End the snapshots that are older than a moment: their statements fail with
 * ERR_SNAPSHOT_ENDED, their transactions are rolled back.  Gives how many. */
unsigned readers_end_old(struct readers *rs, int64_t before_us);

/* End the transactions, as the file is not there any more. */
void readers_refuse(struct readers *rs);

struct readers_look {
	unsigned open_n;      /* connections */
	unsigned busy_n;      /* of these, with something to do or to hold */
	unsigned snapshots_n; /* held */
	size_t line_n;
	int64_t
	    oldest_us; /* when the first of the line arrived; 0: none waits */
};

void readers_look(struct readers *rs, struct readers_look *ret);

/* Let readers that hold a transaction look at its limits.  True: some are in use. */
bool readers_tick(struct readers *rs);

#endif
