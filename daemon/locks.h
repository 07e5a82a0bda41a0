/* locks.h - who else locks a file: the kernel's list of locks.
 *
 * The file itself is never opened: closing it would drop SQLite's own locks
 * (facts.md 0.2).  Any thread.
 */
#ifndef DAEMON_LOCKS_H
#define DAEMON_LOCKS_H

#include <sys/types.h>

/* Find another process that locks a byte from first to last (inclusive) of a
 * file.  0: none.  -1: one that this process cannot see, such as one outside of
 * its container. */
pid_t locks_find(const char *path, long first, long last);

#endif
