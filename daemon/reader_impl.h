/* reader_impl.h - what reader.c, which is one of them, readers.c, the pool and its
 * line, and snapshots.c share. */
#ifndef DAEMON_READER_IMPL_H
#define DAEMON_READER_IMPL_H

#include <pthread.h>

#include "daemon/reader.h"

struct reader {
	struct squeue q; /* first: the queue is the reader */
	struct readers *pool;

	/* under the pool's lock */
	struct reader *next_free;
	bool idle;       /* it is in the list of free ones, */
	int64_t idle_us; /* since then; */
	bool leaves;     /* and is to close its connection */
	struct line inbox;
	struct tx *tx;           /* referenced; whose snapshot it holds */
	bool drop;               /* the writer has taken tx over */
	struct request *running; /* or stands still; NULL: none */
	struct owner owner;      /* whose snapshot it holds, with which */
	char sql[TX_SQL_BYTES];  /* statement; kept from the last one's end */

	/* any thread */
	_Atomic int64_t since_us; /* of its snapshot; 0: it holds none */
	_Atomic bool blocked;     /* current is set */
	_Atomic bool too_old;     /* it is to be ended: readers_end_old */
	_Atomic bool is_open;     /* conn is there */

	/* whoever runs it */
	struct dbconn *conn;     /* opened at a request */
	struct request *current; /* blocked: the client's window is full */
	struct exec exec;        /* its state */
};

struct readers {
	const struct conf_db *db_conf;
	const struct dbfile *file; /* borrowed */
	struct crew *crew;
	_Atomic bool gone; /* the file */

	pthread_mutex_t lock; /* for what follows */
	struct reader *free;
	struct line line;
	size_t line_n;
	unsigned readers_n;
	_Atomic(struct snapshot_guest *) guests; /* read without it, too */
	struct reader *all[];                    /* read_connections of them */
};

/* What its queue runs: requests, until there is none or the one that it has is ahead
 * of its client.  A thread of the crew. */
void reader_run(struct squeue *q);

/* Open its connection, unless it is open.  Whoever runs it, or when nobody does.
 * Errors: those of dbfile_connect. */
int reader_open(struct reader *rd, struct failure *f);

/* Take the next request for a reader, its own or the first of the line; it is rd's
 * running one from now on.  NULL: there is none; the reader is free from now on, or
 * keeps its transaction.  Whoever runs it. */
struct request *readers_take_next(struct reader *rd);

#endif
