/* files.h - the limit of file descriptors, and what has to fit in it.
 *
 * Main thread.
 */
#ifndef DAEMON_FILES_H
#define DAEMON_FILES_H

#include "conf/conf.h"

/* Raise the limit as far as it may be, and see whether the configuration fits.
 * What somebody wrote must: -1, and err says why.  What is there by default is
 * lowered, with a warning, so that clients cannot take the descriptors that the
 * databases need. */
int files_fit(struct conf *conf, char err[CONF_ERR_MAX]);

#endif
