/* exec_impl.h - what exec.c lends to exec_batch.c: how a statement begins, and how it
 * ends.
 *
 * Thread: whoever holds the request and the connection. */
#ifndef DAEMON_EXEC_IMPL_H
#define DAEMON_EXEC_IMPL_H

#include "daemon/exec.h"

/* An array of rows is written with a 16-bit count. */
#define EXEC_ROWS_MAX 65535
/* The keys of a DONE that follow the rows: eight of at most ten bytes. */
#define EXEC_SUMMARY_BYTES 128

/* Begin a request's answer, in out. */
void exec_begin(
    struct exec *ex, struct dbconn *conn, struct request *r, struct buf *out);

/* Let go of a statement that has run (ex->ran), and count that; ex->stmt may be NULL.
 * keeps: what it changed is its request's and its session's. */
void exec_finish(struct exec *ex, bool keeps, bool failed);

/* Say of a step that failed, with rc, whether it was told to stop or did so by itself:
 * EXEC_OVER, or negative with r->failure set. */
int exec_judge_failure(struct exec *ex, int rc);

/* Say whether the rows of a statement are nothing to send: PRAGMA incremental_vacuum
 * has no columns, and gives a row of them for each page. */
bool exec_is_tick(const struct exec *ex);

#endif
