/* files.h - the limit of file descriptors, and what has to fit in it.
 *
 * Threads: as each function says.
 */
#ifndef DAEMON_FILES_H
#define DAEMON_FILES_H

#include "conf/conf.h"

/* Raise the limit as far as it may be, and see whether the configuration fits.
 * What somebody wrote must: -1, and err says why.  What is there by default is
 * lowered, with a warning, so that clients cannot take the descriptors that the
 * databases need.  Main thread. */
int files_fit(struct conf *conf, char err[CONF_ERR_MAX]);

/* See whether what is to change would fit.  -1: it would not, and err says why.  Any
 * thread, while nobody else changes the configuration. */
int files_fit_change(const struct conf *conf, const struct conf_change *change,
    char err[CONF_ERR_MAX]);

#endif
