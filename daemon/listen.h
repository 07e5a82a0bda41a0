/* listen.h - the listening socket.
 *
 * Main thread.
 */
#ifndef DAEMON_LISTEN_H
#define DAEMON_LISTEN_H

#include "conf/conf.h"
#include "daemon/sockfile.h"

/* A socket that listens. */
struct listener {
	int fd; /* -1: none */
	char path[CONF_SOCKET_MAX + 1];
	bool passed;          /* the service manager made it, and keeps it */
	struct sockfile file; /* of one that we made */
};

/* Take the socket that the service manager has made and passed
 * (sd_listen_fds(3)), or make one: at the configuration's path, or at the user's
 * default one, whose directory under /tmp is made if it is needed; with the
 * configuration's mode, owner and group.
 *
 * A socket file that nobody listens on is replaced; one with a daemon behind it
 * is refused.  -1: err says why, and what to do. */
int listen_open(
    const struct conf *conf, struct listener *ret_l, char err[CONF_ERR_MAX]);

/* Close it, and remove its file unless somebody else keeps it. */
void listen_close(struct listener *l);

#endif
