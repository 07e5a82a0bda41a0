/* listen.h - the listening socket.
 *
 * Main thread.
 */
#ifndef DAEMON_LISTEN_H
#define DAEMON_LISTEN_H

#include "conf/conf.h"

/* Decide where to listen: the configuration's socket if it is not empty, else
 * the user's default place, whose directory under /tmp is made if it is needed.
 * -1: err says what is wrong and what to do. */
int listen_choose_path(const struct conf *conf, char out[CONF_SOCKET_MAX + 1],
    char err[CONF_ERR_MAX]);

/* Make a socket at path, with the mode, owner and group of the configuration.  A
 * socket file that nobody listens on is replaced; one with a daemon behind it is
 * refused.  The caller closes *ret_fd and removes the file.  -1: err says why. */
int listen_open(const struct conf *conf, const char *path, int *ret_fd,
    char err[CONF_ERR_MAX]);

#endif
