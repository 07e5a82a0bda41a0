/* pool.h - the driver of the daemon, on libsqlpool-client alone.
 *
 *	pool.c    connect, send, take     run.c  what needs several round trips
 *	schema.c  --init, and what is looked at before and after */
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

/* The statements of the kinds that are more than one. */
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

/* A client's own. */
struct pool_client {
	struct sqlpool_conn *conn;
	struct sqlpool_stmt *stmt[BENCH_KINDS_N]; /* NULL: send the text */
	struct sqlpool_stmt *step[POOL_STEPS_N];
	struct sqlpool_request *bulk; /* all its rows */
	struct flight *flights;       /* by slot */
	struct flight order;          /* ring of those in flight */
	bool in_order;                /* they end as they were sent */
	bool batch;                   /* -o tpcb=batch */
	bool key, random;             /* --sql has them */
};

/* The text of a kind's statement; NULL: it has none of its own. */
const char *pool_get_sql(const struct bench_plan *plan, enum bench_kind kind);

/* Say that an operation failed, with the connection's error; returns -1. */
int pool_fail(struct bench_client *client, const struct sqlpool_error *error,
    enum bench_kind kind);

/* run.c: prepare for these kinds, run one of them. */
int run_prepare(struct bench_client *client);
int run_op(struct bench_client *client, struct bench_op *op);

/* schema.c */
int schema_init(const struct bench_plan *plan, char *why, size_t why_n);
int schema_check(struct bench_plan *plan, char *why, size_t why_n);
int schema_begin_verify(const struct bench_plan *plan, char *why, size_t why_n);
int schema_verify(const struct bench_plan *plan,
    const uint64_t ended_n[BENCH_KINDS_N], char *why, size_t why_n);

#endif
