/* runas.h - who the daemon runs as.
 *
 * Root is not somebody to be by accident: a program that serves whoever may
 * connect, and opens files by name, is given up to a user of its own before it
 * opens a database.  Main thread, before there are others.
 */
#ifndef DAEMON_RUNAS_H
#define DAEMON_RUNAS_H

#include "conf/conf.h"

/* Say whether the configuration's user fits who started the daemon.  -1: root
 * without a user; a user, but not root: err says what to do. */
int runas_check(const struct conf *conf, char err[CONF_ERR_MAX]);

/* Become that user, for good: its groups, then its group, then itself.  Does
 * nothing when that is who the process is.  -1: err says why not. */
int runas_become(const struct conf *conf, char err[CONF_ERR_MAX]);

/* Say whether that user is who the process is already. */
bool runas_is_self(const struct conf *conf);

/* Give that user, and its group.  -1: there is none. */
int
runas_get_ids(const struct conf *conf, uint32_t *ret_uid, uint32_t *ret_gid);

#endif
