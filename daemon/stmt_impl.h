/* stmt_impl.h - what stmt.c and stmt_run.c share of a statement. */
#ifndef DAEMON_STMT_IMPL_H
#define DAEMON_STMT_IMPL_H

#include <sqlite3.h>
#include <uthash.h>

#include "daemon/dbconn.h"
#include "daemon/tally.h"

struct stmt {
	sqlite3_stmt *s;
	enum msg_kind kind;
	enum stmt_tx tx;
	char *savepoint;  /* owned; NULL unless the statement names one */
	uint8_t *columns; /* owned; what stmt_put_columns wrote, or NULL */
	size_t columns_n;
	int columns_of; /* the preparation they are of: count_prepared */
	unsigned heavy_runs;
	bool found;        /* it was not prepared for the run that comes next */
	bool counts;       /* a read that calls count(), and nothing worse */
	bool unstoppable;  /* never for a worker */
	bool matches;      /* a step of it may take long: dbconn_set_pace */
	bool shows_schema; /* as it was when it was prepared */
	size_t bytes;      /* it takes about so much memory */
	uint64_t used;
	struct tally tally;
	uint32_t vm_steps, scan_steps; /* of the runs it has counted */
	UT_hash_handle hh;
	size_t sql_n;
	char sql[];
};

#endif
