/* dbconn_impl.h - what the files of a connection and of its statements share. */
#ifndef DAEMON_DBCONN_IMPL_H
#define DAEMON_DBCONN_IMPL_H

#include <sqlite3.h>

#include "daemon/budget.h"
#include "daemon/dbconn.h"
#include "daemon/functions.h"
#include "daemon/guard.h"

/* What SQLite counts for a statement, over all its runs: it wraps around. */
struct effort {
	uint32_t scan_steps, sorts, index_rows, vm_steps;
};

struct dbconn {
	sqlite3 *db;
	const struct conf_db *conf; /* borrowed */
	enum dbconn_role role;
	struct stats_set *stats; /* owned */
	struct guard guard;
	struct functions functions;
	sqlite3_stmt *verbs[DBCONN_VERBS_N]; /* prepared at open */
	struct stmt *cache;                  /* uthash by SQL text */
	struct stmt *last; /* of it: what was asked for last, or NULL */
	unsigned cache_n;
	size_t cache_bytes;      /* of the statements and their texts */
	uint64_t uses;           /* a clock for the cache's LRU */
	uint64_t noted_uses;     /* uses, when steps were noted last */
	int64_t total_at_start;  /* total_changes() when vars was set */
	struct vars *vars;       /* borrowed, of the session that is served */
	const _Atomic int *stop; /* borrowed; NULL: nobody can stop it */
	int64_t budget_end_us;   /* 0: none */
	bool over_budget;
	struct budget memory;  /* of the statement that runs */
	bool small;            /* it may take no more than a worker can spare */
	bool looks_often;      /* dbconn_set_pace */
	int busy_ms;           /* how long its statements wait for a lock */
	sqlite3_stmt *running; /* borrowed: what was stepped last */
	int64_t began_us;      /* when it had run for a while; 0: not yet */
	struct effort before;  /* of it, then */
	uint32_t wal_frames;
	const volatile uint32_t *index; /* the wal-index; NULL: not known yet */
	uint32_t last_change;           /* at the last wal_take_committed */
	int page_bytes;
};

/* Fill in f from the connection's last error.  Returns the negative code. */
int dbconn_fail(struct dbconn *c, int rc, struct failure *f);

/* Begin a statement: it may take as much memory as the configuration says. */
void dbconn_begin_memory(struct dbconn *c);

/* Have the statement that runs next asked more often whether it is to stop: some
 * of its opcodes may take long. */
void dbconn_set_pace(struct dbconn *c, bool often);

/* Say whether that is why a statement failed with this code of SQLite's. */
bool dbconn_is_pattern_too_long(const struct dbconn *c, int rc);

/* Have SQLite tell it of commits and, while a statement runs, ask whether it is to
 * stop. */
void dbconn_hook(struct dbconn *c);

/* Make a connection that was just opened what its role and its database's
 * configuration want, and parse the schema; 0, or fill in f: ERR_DATABASE_DOWN (an
 * extension, the journal mode), ERR_NO_MEMORY, a code of SQLite's
 * (dbconn_setup.c). */
int dbconn_set_up(struct dbconn *c, struct failure *f);

/* Let its statements wait for a lock as long as they do otherwise. */
void dbconn_set_busy_timeout(struct dbconn *c);

/* Finalize all cached statements (stmt.c). */
void stmt_drop_all(struct dbconn *c);

#endif
