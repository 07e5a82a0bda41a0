/* trickle.h - what a checkpoint or a copy writes goes to the disk a little at a time.
 *
 * They leave their pages to the kernel, and a sync then puts all of them into the
 * disk's queue at once: a commit that syncs the WAL meanwhile waits behind
 * thousands of them.  A thread that trickles has each few pages written out, and
 * waits for them, before it goes on: so a commit waits for few
 * (PostgreSQL: checkpoint_flush_after; tests/bench/NOTES.md, "The keeper's pages").
 *
 * Thread: any; each for itself.
 */
#ifndef DAEMON_TRICKLE_H
#define DAEMON_TRICKLE_H

/* Have SQLite write through here: before anything is opened. */
void trickle_install(void);

/* From here to the end, what this thread writes trickles. */
void trickle_begin(void);

/* Errors: -errno of a write-out that failed.  Then the write did, too; and no sync
 * says so again (fsync(2)). */
int trickle_end(void);

#endif
