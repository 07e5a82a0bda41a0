/* pool.h - the driver of the daemon, on libsqlpool-client alone.
 *
 *	pool.c       connect, send, take    statement.c  SQL and its values
 *	run.c        what goes to and fro   schema.c     --init, and what is
 *	                                                 looked at before and after
 */
#ifndef CLIENT_BENCH_POOL_H
#define CLIENT_BENCH_POOL_H

#include <sqlpool.h>

#include "client/bench/bench.h"

extern const struct bench_driver pool_driver;

/* An operation in flight, in the order of sending. */
struct flight {
	struct flight *prev, *next;
	struct bench_op *op;
	struct sqlpool_result *result;
	uint64_t rows_n; /* taken so far */
};

/* The statements of the kinds that have several. */
enum pool_step {
	POOL_RMW_SELECT,
	POOL_RMW_UPDATE,
	POOL_TPCB_ACCOUNT,
	POOL_TPCB_BALANCE,
	POOL_TPCB_TELLER,
	POOL_TPCB_BRANCH,
	POOL_TPCB_HISTORY,
	POOL_STEPS_N
};
/* Most values that one of them has. */
#define POOL_VALUES_MAX 4

/* A client's own. */
struct pool_client {
	struct sqlpool_conn *conn;
	struct sqlpool_stmt *stmt[BENCH_KINDS_N]; /* NULL: send the text */
	struct sqlpool_stmt *step[POOL_STEPS_N];
	struct sqlpool_request *bulk; /* all its rows, the same each time */
	struct flight *flights;       /* by slot */
	struct flight order;          /* ring of those in flight */
	bool in_order;                /* they end as they were sent */
	bool key, random;             /* --sql has them */
};

/* Say that an operation failed, with the connection's error; returns -1. */
int pool_fail(struct bench_client *client, const struct sqlpool_error *error,
    enum bench_kind kind);

int pool_fail_conn(struct bench_client *client, enum bench_kind kind);

/* ---- statement.c ---- */

/* The text of a kind's statement; NULL: it has several. */
const char *
statement_get_sql(const struct bench_plan *plan, enum bench_kind kind);

/* The text of a step; to which kind it belongs. */
const char *statement_get_step_sql(enum pool_step step);
enum bench_kind statement_get_step_kind(enum pool_step step);

/* Make the values of an operation of one statement, or of one of the steps of
 * TPC-B; returns their number. */
size_t statement_make_values(const struct bench_client *client,
    const struct bench_op *op, struct sqlpool_value values[POOL_VALUES_MAX]);
size_t statement_make_tpcb_values(enum pool_step step,
    const struct bench_tpcb *t, struct sqlpool_value values[POOL_VALUES_MAX]);

/* Say whether the SQL has a parameter of this name, e.g. ":key", outside of
 * strings and comments. */
bool statement_has_parameter(const char *sql, const char *name);

/* ---- run.c ---- */

/* Run an operation to its end: ping, rmw, tpcb. */
int run_op(struct bench_client *client, struct bench_op *op);

/* ---- schema.c ---- */

int schema_init(const struct bench_plan *plan, char *why, size_t why_n);
int schema_check(struct bench_plan *plan, char *why, size_t why_n);
int schema_begin_verify(const struct bench_plan *plan, char *why, size_t why_n);
int schema_verify(const struct bench_plan *plan,
    const uint64_t ended_n[BENCH_KINDS_N], char *why, size_t why_n);

#endif
