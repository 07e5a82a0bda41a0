/* writer.h - the one writer of a database.
 *
 * Requests wait in one line, in which clients take turns (turns.h).  Whatever queued up while the
 * last commit was being synced runs in one transaction and is committed once;
 * only then is each of them answered (group commit).  A request that cannot
 * share runs by itself.  An interactive transaction gets a lease: the writer
 * serves only its requests until it ends, without keeping a thread.
 *
 *        line ──▶ group of writes ──▶ BEGIN ... COMMIT ──▶ answers
 *          │           └─ somebody spoiled it: undo, each by itself
 *          ├────▶ DDL, VACUUM, a SCRIPT, unknown: by itself
 *          └────▶ first statement of a transaction ──▶ lease
 *                        │  lease inbox: its statements   │ COMMIT, ROLLBACK,
 *                        └────────────────────────────────┘ expiry, client gone
 *
 * What makes a group equal to running alone (P9) is written where it is done:
 * group.c.  Threads: the functions here may be called by any thread, but for
 * writer_open and writer_close.
 */
#ifndef DAEMON_WRITER_H
#define DAEMON_WRITER_H

#include "daemon/keeper.h"
#include "daemon/reader.h"

struct writer;

/* Open the writer's connection: creates the file if it is absent, switches it
 * to WAL and, unless access = shared, keeps every other process out.
 * Errors: those of dbconn_open, with f filled in; -ERR_NO_MEMORY. */
int writer_open(const struct conf *conf, const struct conf_db *db,
    struct crew *crew, struct writer **ret_writer, struct failure *f);

/* Count its commits from seq on, which is 0 otherwise.  Before it is used. */
void writer_set_seq(struct writer *w, uint64_t seq);

/* Let it refuse all from now on, and end the transaction that holds it: its file
 * is not there any more.  Whoever holds the database. */
void writer_refuse(struct writer *w);

/* When it was just opened: say whether another file stands at its path already.
 * Its WAL may be that one's, and is left alone then. */
bool writer_has_moved(struct writer *w);

/* End it and its keeper: neither runs any more.  Nobody uses them.  NULL is
 * fine. */
void writer_stop(struct writer *w);

/* Copy the whole WAL into the file and empty it.  It is stopped, the readers are
 * closed, the keeper is not.  NULL is fine. */
void writer_drain(struct writer *w);

/* Close the connection, the last one to the file, and free the writer.  NULL is
 * fine. */
void writer_close(struct writer *w);

/* The database's commit sequence number: it grows by one with each commit. */
const _Atomic uint64_t *writer_get_seq(const struct writer *w);

/* Tell it about the readers that transactions are taken over from, and about the
 * keeper of its WAL. */
void writer_set_others(
    struct writer *w, struct readers *readers, struct keeper *keeper);

/* Give its queue, for the keeper to kick. */
struct squeue *writer_get_queue(struct writer *w);

/* Put a request, whose place is set, in the line; one of a transaction that holds the lease goes
 * ahead of it.  The request is the writer's on 0.
 * Errors: -ERR_QUEUE_FULL, with r->failure set and the depth in it. */
int writer_submit(struct writer *w, struct request *r);

/* Have the requests that were asked to stop answered soon. */
void writer_reap(struct writer *w);

/* Let it look at the limits of a lease, or at a log that is not copied.  True: it
 * has one. */
bool writer_tick(struct writer *w);

/* What the writer's connection sees of the WAL, for other threads.  False: it
 * cannot be read. */
bool writer_get_view(struct writer *w, struct wal_view *ret);

/* Say whether a transaction may be open. */
bool writer_is_busy(const struct writer *w);

/* Say who holds the writer, with which statement; untouched when nobody does. */
void writer_get_holder(
    struct writer *w, struct owner *ret, char ret_sql[TX_SQL_BYTES]);

/* Give how long the log has been, committed, since its file was made or cut. */
int64_t writer_get_longest(const struct writer *w);

/* Files beside a database that all who have it open share. */
enum writer_file { WRITER_NO_FILE, WRITER_SHM, WRITER_WAL };

/* Stop writing: one of them was removed, so that others may not see its locks, or
 * its commits. */
void writer_note_gone(struct writer *w, enum writer_file file);

/* Somebody who wants the WAL copied: embedded in what its errand is of. */
struct writer_ask {
	struct writer_ask *next;
	struct errand *errand; /* sent to home when it was done */
	struct mailbox *home;
	const _Atomic int *stop; /* not 0: do not wait any longer */
	bool begun;              /* it is copied for this one now */
};

/* Have the WAL copied into the file, as far as its readers allow, when the writer is
 * between two turns; or find out that it cannot be. */
void writer_ask_copy(struct writer *w, struct writer_ask *ask);

/* Send home those that are to wait no longer; a copy that has begun goes on.
 * Whoever holds the database, now and then. */
void writer_look_at_asks(struct writer *w);

/* How many wait in the line now. */
size_t writer_get_queue_n(struct writer *w);

enum writer_state {
	WRITER_IDLE,
	WRITER_WRITING, /* a group, or one by itself */
	WRITER_LEASED,  /* a transaction has it */
};

/* Somebody who has the writer, or waits for it. */
struct writer_waiter {
	struct owner owner;
	int64_t since_us;
	char sql[TX_SQL_BYTES]; /* cut; NUL-terminated, "" without one */
};

/* At most so many of the line are listed. */
#define WRITER_LOOK_MAX 100

struct writer_look {
	enum writer_state state;
	struct writer_waiter holder; /* unless it is idle */
	size_t line_n, line_bytes;
	int64_t oldest_us; /* when the first of those arrived; 0: none waits */
};

/* Look who has it and who waits: the first of the line, at most most of them, in
 * the order in which they will run.  Gives how many of these there are. */
size_t writer_look(struct writer *w, struct writer_look *ret,
    struct writer_waiter *line, size_t most);

/* Give "idle", "writing", "transaction". */
const char *writer_get_state_name(enum writer_state state);

#endif
