/* sockfile.h - the file of a Unix socket: made, given away, removed.
 *
 * Nobody else's file is touched: one in its place that is no socket, or whose socket
 * somebody listens on, is left alone, and so is one that took its place later.
 *
 * Main thread, before there are others: it changes the umask.
 */
#ifndef DAEMON_SOCKFILE_H
#define DAEMON_SOCKFILE_H

#include <stdint.h>

#include "conf/conf.h"

/* Which file it is. */
struct sockfile {
	uint64_t dev, ino; /* ino 0: there is none */
};

struct sockfile_wish {
	const char *path; /* at most CONF_SOCKET_MAX bytes */
	uint32_t mode;
	const char *remedy; /* if it cannot be: "choose another ..." */
};

/* Bind a socket to a path; one that a daemon left behind there is replaced.
 * -1: err says why, and what to do. */
int sockfile_bind(const struct sockfile_wish *wish, struct sockfile *ret_file,
    int *ret_fd, char err[CONF_ERR_MAX]);

/* Give it to a user and a group; (uint32_t)-1: it stays as it is.  -1: see errno. */
int sockfile_give(
    const char *path, const struct sockfile *file, uint32_t uid, uint32_t gid);

/* Remove it, if it is still there. */
void sockfile_remove(const char *path, struct sockfile *file);

#endif
