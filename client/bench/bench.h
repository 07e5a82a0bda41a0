/* bench.h - a load generator: what it is told, and what it drives.
 *
 * A run starts processes and threads, opens connections ("clients"), sends
 * operations of a few kinds for a time or a number of them, and reports how
 * many ended and how long each took.  What is measured stands behind struct
 * bench_driver: the daemon for sqlpool-bench; other servers, and SQLite in
 * process, for the comparisons in tests/bench, which are the same program with
 * another driver.
 *
 *	options.c  argv into a plan        mix.c    the kinds, and a mix of them
 *	keys.c     which row comes next    text.c   what stands in a row
 *	load.c     processes, start, stop  turn.c   a thread: pace, send, take
 *	clients.c  a thread's connections  hist.c   times into percentiles
 *	report.c   text                    json.c   JSON
 *	bench.c    bench_main              main.c   sqlpool-bench
 *
 *	pool.c     the daemon's driver     run.c    its kinds of several calls
 *	schema.c   its tables              statement.c  its SQL
 *
 * Thread: a plan is constant once the run has begun; a client and its driver's
 * data belong to one thread of one process.
 */
#ifndef CLIENT_BENCH_BENCH_H
#define CLIENT_BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What one operation is.  The tables are those of --init (schema.c):
 *
 *	bench(id INTEGER PRIMARY KEY, n INTEGER NOT NULL, c TEXT NOT NULL)
 *
 *	bench_bulk(id INTEGER PRIMARY KEY, n INTEGER NOT NULL, c TEXT NOT NULL)
 *
 * with rows 1 to rows_n in bench, n 0 at first, and in c bench_text(id), and none
 * in bench_bulk.  Every reader checks what it got (bench_text_is).  Those of
 * TPC-B are pgbench's, under other names, with scale_n branches, 10 tellers and
 * 100,000 accounts of each, all balances 0, and an empty history:
 *
 *	bench_branches(bid INTEGER PRIMARY KEY, balance INTEGER NOT NULL, filler)
 *	bench_tellers(tid INTEGER PRIMARY KEY, bid, balance, filler)
 *	bench_accounts(aid INTEGER PRIMARY KEY, bid, balance, filler)
 *	bench_history(tid, bid, aid, delta, mtime, filler) */
enum bench_kind {
	BENCH_READ,  /* SELECT n, c FROM bench WHERE id = ?1 */
	BENCH_RANGE, /* range_n rows from a key on, in order; all are there */
	BENCH_WRITE, /* UPDATE bench SET n = n + 1 WHERE id = ?1, durable */
	BENCH_RMW,   /* BEGIN IMMEDIATE; SELECT n; UPDATE SET n = ?; COMMIT */
	BENCH_TPCB, /* TPC-B-like: pgbench's five statements in a transaction */
	BENCH_LARGE, /* SELECT id, n, c, ... of large_n rows, all of them taken */
	BENCH_BULK, /* INSERT of bulk_n rows in one transaction */
	BENCH_SQL,  /* the person's own statement, with :key and :random */
	BENCH_PING, /* no SQL: the way there and back */
	BENCH_KINDS_N
};

/* How keys are drawn from 1 to rows_n. */
enum bench_keys {
	BENCH_UNIFORM,
	BENCH_ZIPF,   /* exponent zipf_s; the often drawn are spread out */
	BENCH_SERIAL, /* one after the other, each client from its own place */
	BENCH_OWN,    /* a client's own row: its number + 1 */
};

/* Everything a run was told. */
struct bench_plan {
	/* where */
	const char *socket_path; /* -s; what a driver makes of it is its own
				  * (a directory for PostgreSQL, a file for
				  * SQLite in process); NULL: its default */
	const char *database;    /* name; NULL: the driver's default */
	const char *sql;         /* BENCH_SQL; NULL without */
	const char *opt[16];     /* -o NAME=VALUE: the driver's own */
	size_t opt_n;
	char about[200]; /* what is measured, for the report; check() may say */
	/* how much at once */
	unsigned clients_n;   /* connections, from 1 */
	unsigned processes_n; /* they are divided among these evenly */
	unsigned threads_n;   /* of each process at most */
	unsigned depth;       /* operations in flight of each client, from 1 */
	double rate;          /* operations started per second by all; 0: as
			       * soon as one has ended (closed loop) */
	/* how long */
	double warmup_s;  /* before anything is counted */
	double time_s;    /* 0 when counted */
	uint64_t count_n; /* operations of each client; 0 when timed */
	/* what */
	unsigned weight[BENCH_KINDS_N]; /* the mix */
	enum bench_keys keys;
	double zipf_s;
	uint64_t seed;
	uint64_t rows_n;      /* in table bench, that are used */
	uint32_t range_n;     /* rows of a BENCH_RANGE */
	uint32_t large_n;     /* rows of a BENCH_LARGE; from id 1 */
	uint32_t bulk_n;      /* rows of a BENCH_BULK */
	uint32_t text_n;      /* bytes of c */
	uint32_t scale_n;     /* of BENCH_TPCB: branches */
	unsigned async_kinds; /* the driver's, unless check() changes it */
};

/* One operation in flight. */
struct bench_op {
	enum bench_kind kind;
	uint64_t key;    /* 1 to rows_n */
	uint64_t random; /* for what else is to be chosen */
	int64_t due_ns;  /* CLOCK_MONOTONIC; when it was to start: in an open
			  * loop before it could be sent, perhaps */
	void *data;      /* the driver's; NULL when it is begun */
	uint64_t got_n;  /* rows taken or changed; a BENCH_SQL's is set by the
			  * driver before it ends, the others' is known */
	unsigned slot;   /* 0 to depth - 1; constant */
	bool in_flight;  /* turn.c's */
	bool counted;    /* turn.c's */
};

/* One connection. */
struct bench_client {
	const struct bench_plan *plan;
	struct bench_op *ops; /* depth of them */
	unsigned number;      /* 0 to clients_n - 1 */
	int fd;               /* to be polled; the driver sets it in open() */
	bool want_write;      /* poll for POLLOUT too; the driver's */
	void *data;           /* the driver's */
	void *turn;           /* turn.c's */
	char why[200];        /* what failed, when a driver returns -1 */
};

/* Something to measure.  Functions return 0, or -1 with client->why set (or
 * why): then the run has failed and prints no figures. */
struct bench_driver {
	const char *name;     /* in the report and JSON */
	unsigned kinds;       /* bits 1 << kind: what it can do at all */
	unsigned async_kinds; /* of these, what send() takes; the others are
			       * run by run(), which blocks; a mix that has one
			       * gives each client a thread */

	/* Connect; failing here means that nothing could be reached. */
	int (*open)(struct bench_client *client);
	/* Begin an operation.  May keep the bytes until flush. */
	int (*send)(struct bench_client *client, struct bench_op *op);
	int (*flush)(struct bench_client *client); /* may take, as receive */
	/* Take what has arrived, without blocking, and call bench_op_end for
	 * each operation that has ended and whose answer is right. */
	int (*receive)(struct bench_client *client);
	/* Flush, sleep until an operation has ended, and take it and what else
	 * has arrived, as receive does.  It is used for a client that has a
	 * thread of its own and nothing else to do.  NULL: the core does it
	 * with flush, poll and receive. */
	int (*wait)(struct bench_client *client);
	/* Run an operation to its end; the core then ends it, unless the driver
	 * has called bench_op_end. */
	int (*run)(struct bench_client *client, struct bench_op *op);
	void (*close)(struct bench_client *client);

	/* The rest may be NULL.  All are called in the parent. */

	/* --init: make the tables, rows_n and scale_n of them, drop old ones. */
	int (*init)(const struct bench_plan *plan, char *why, size_t why_n);
	/* Before all else, unless --init: is it there, and are the tables?
	 * Sets plan->about, and rows_n, text_n, scale_n where they are 0 (not
	 * given) from what is there.  Without it they are the defaults. */
	int (*check)(struct bench_plan *plan, char *why, size_t why_n);
	/* Before anything is started: note the sums that will have grown. */
	int (*begin_verify)(
	    const struct bench_plan *plan, char *why, size_t why_n);
	/* After all has ended: does the content agree with what was
	 * acknowledged?  ended_n: by kind, warm-up included. */
	int (*verify)(const struct bench_plan *plan,
	    const uint64_t ended_n[BENCH_KINDS_N], char *why, size_t why_n);
};

/* Run the program: parse argv, run, report.  Returns the exit status: 0, 1 when
 * an operation failed or an answer was wrong (no figures are printed), 2 when
 * the arguments are wrong or nothing could be reached. */
int bench_main(int argc, char **argv, const struct bench_driver *driver);

/* For drivers: an operation of this client that send() began has ended well. */
void bench_op_end(struct bench_client *client, struct bench_op *op);

/* For drivers: an operation has ended without effect, in a way that is part of
 * what is measured ("database is locked" from a peer).  It is counted as an
 * error and nowhere else: it has no time, and did not end for verify().  The
 * function that found it returns 0. */
void bench_op_error(struct bench_client *client, struct bench_op *op);

/* For drivers: say what failed; returns -1. */
int bench_fail(struct bench_client *client, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The value of -o NAME=VALUE, or fallback. */
const char *bench_get_opt(
    const struct bench_plan *plan, const char *name, const char *fallback);

/* Say whether the mix has a kind. */
bool bench_has(const struct bench_plan *plan, enum bench_kind kind);

/* What a transaction like TPC-B's does: add delta (-5000 to 5000) to an account
 * (then read its balance), a teller and a branch, and note it in the history. */
struct bench_tpcb {
	int64_t account, teller, branch, delta; /* numbers from 1 */
};
#define BENCH_TPCB_ACCOUNTS 100000 /* of a branch */
#define BENCH_TPCB_TELLERS  10

/* Choose by the operation's random bits. */
struct bench_tpcb
bench_choose_tpcb(const struct bench_plan *plan, const struct bench_op *op);

/* Write the text of row id, text_n bytes, the last a letter, and a NUL: the id
 * in ten digits, then a filler that depends on it. */
void bench_text(const struct bench_plan *plan, uint64_t id, char *ret_text);
/* Say whether these are the bytes. */
bool bench_text_is(
    const struct bench_plan *plan, uint64_t id, const void *p, size_t n);

#endif
