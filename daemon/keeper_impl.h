/* keeper_impl.h - what the tests of the keeper look at. */
#ifndef DAEMON_KEEPER_IMPL_H
#define DAEMON_KEEPER_IMPL_H

#include "daemon/keeper.h"

struct keeper {
	struct squeue q; /* first: the queue is the keeper */
	const struct conf_db *db_conf;
	const struct dbfile *file; /* borrowed */
	struct squeue *writer;     /* borrowed; kicked */
	_Atomic int state;         /* enum keeper_state */
	struct health_log log;

	/* whoever runs it, in COPYING; the writer in COPIED */
	struct dbconn *conn; /* opened at the first job */
	int rc;              /* how the last job ended */
	bool failing;        /* the last job failed, and that was logged */
};

#endif
