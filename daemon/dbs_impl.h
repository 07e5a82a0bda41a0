/* dbs_impl.h - what dbs.c, which has the list, lends to dbs_conf.c and dbs_care.c:
 * how a database comes into it and leaves it. */
#ifndef DAEMON_DBS_IMPL_H
#define DAEMON_DBS_IMPL_H

#include "daemon/db.h"

/* Put a database of the configuration into the list, with a copy of what that says
 * of it; one that was found in the directory by its name is ended.  It is
 * referenced, for the configuration.  NULL: out of memory.  Not under the lock of
 * the list; whoever changes the configuration. */
struct db *dbs_add_configured(struct dbs *dbs, const struct conf_db *conf);

/* Under the lock of the list: end a database, whose name is free from now on. */
void dbs_end(struct db *db);

/* End a database as if it was taken out of the configuration, and have another one,
 * which is closed, in its place; one that was found in the directory is found again.
 * False: somebody has ended it before.  Not under a lock.  Any thread. */
bool dbs_replace(struct db *db);

/* Free those that are closed and that nobody refers to.  Not under the lock.  Main
 * thread. */
void dbs_forget_unknown(struct dbs *dbs);

#endif
