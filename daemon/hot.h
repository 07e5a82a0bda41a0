/* hot.h - a worker's own connection to one database, and short reads on it.
 *
 * Reads that were collected together share one read transaction, whose snapshot
 * is younger than each of them: so every one sees all that was acknowledged
 * before it was sent (P1), and the lock calls are paid once (design, section 6:
 * 5.0 us for a read by itself, 1.3 us for each of 64).  A lone read needs none.
 *
 * A read over its budget is stopped and its partial answer taken back; nothing
 * of it was sent.
 *
 * Thread: the worker.
 */
#ifndef DAEMON_HOT_H
#define DAEMON_HOT_H

#include "daemon/exec.h"

struct hot {
	struct dbconn *conn;
	bool batching; /* a read transaction is open */
	unsigned batch_n;
	int64_t batch_end_us;
};

enum hot_result {
	HOT_ANSWERED = 0,
	HOT_TOO_LONG = 1, /* a heavy reader is to run it from the start */
};

/* Run a read.  alone: no other read waits, so it needs no shared transaction.
 * Its answer is appended to out. */
enum hot_result hot_run(struct hot *h, const struct conf *conf,
    struct request *r, struct buf *out, bool alone);

/* End the shared read transaction, if there is one. */
void hot_end_batch(struct hot *h);

#endif
