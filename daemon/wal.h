/* wal.h - the write-ahead log of a database, as one of its connections sees it.
 *
 * Thread: whoever owns the connection at the moment.
 */
#ifndef DAEMON_WAL_H
#define DAEMON_WAL_H

#include "daemon/dbconn.h"

/* Give a number that changes with every commit by anybody, the one in the
 * wal-index (facts.md 1.3); 0 when it cannot be read. */
uint32_t wal_get_change_count(struct dbconn *c);

/* Say whether this connection has committed a change since it was last asked. */
bool wal_take_committed(struct dbconn *c);

/* Frames in the WAL after this connection's last commit, and their bytes. */
uint32_t wal_get_frames(const struct dbconn *c);
int64_t wal_get_bytes(const struct dbconn *c);

/* Give how long so many frames are in the file. */
int64_t wal_count_bytes(const struct dbconn *c, uint32_t frames);

/* A sync failed: what was written before may never reach the disk, whatever later
 * syncs say (fsync(2)).  The negative of SQLITE_IOERR_FSYNC. */
#define WAL_SYNC_FAILED (-1034)

/* How far a checkpoint goes (sqlite.org/c3ref/wal_checkpoint_v2.html). */
enum wal_how {
	WAL_COPY,    /* PASSIVE: what can be copied without waiting */
	WAL_RESTART, /* everything, and wait for the readers, so that the
			 * next commit begins the log anew */
	WAL_EMPTY,   /* TRUNCATE: that, and cut the file */
};

/* What a checkpoint found and did. */
struct wal_copied {
	int frames; /* in the log */
	int copied; /* of these, in the database file */
	bool
	    gave_up; /* RESTART, EMPTY: a reader stayed for longer than wait_us */
};

/* Run a checkpoint, waiting for readers for up to wait_us.
 *
 * Which connection may do so, and when, is written in keeper.h: a checkpoint
 * that meets the wrong commit loses it.  Errors: WAL_SYNC_FAILED, SQLite's. */
int wal_checkpoint(struct dbconn *c, enum wal_how how, int64_t wait_us,
    struct wal_copied *ret, struct failure *f);

/* Read from the wal-index how many frames are copied and how many there are, in
 * this order.  False: it cannot be read. */
bool wal_get_log(struct dbconn *c, uint32_t *ret_copied, uint32_t *ret_frames);

/* Give a number that changes when the log begins anew: its salt (walformat.html,
 * "The WAL-Index File Format"). */
uint32_t wal_get_generation(struct dbconn *c);

/* The same for a thread that does not own the connection: valid for as long as it
 * is open. */
struct wal_view {
	const volatile uint32_t *index; /* SQLite's */
	int page_bytes;
};

/* False: the wal-index cannot be read. */
bool wal_get_view(struct dbconn *c, struct wal_view *ret);

/* What the wal-index says.  Any thread. */
struct wal_now {
	uint32_t copied, frames; /* read in this order */
	uint32_t generation, change_count;
	int64_t copied_bytes, bytes;
};
void wal_look(const struct wal_view *view, struct wal_now *ret);

/* Say whether a version of SQLite (SQLITE_VERSION_NUMBER) has the WAL-reset bug
 * (keeper.h). */
bool wal_has_reset_bug(int version);

bool wal_library_has_reset_bug(void);

/* Log which rule checkpoints follow with the library in use. */
void wal_log_rule(void);

/* Give the length of the WAL's file: it is longer than the log when that was
 * longer before. */
int64_t wal_get_file_bytes(struct dbconn *c);

/* Sync the database file.  Errors: WAL_SYNC_FAILED. */
int wal_sync_file(struct dbconn *c, struct failure *f);

#endif
