/* wire.h - the daemon's frames of a point read, written with proto/ and no
 * library: for the peers that speak them bare, and for those that want their
 * sizes. */
#ifndef TESTS_BENCH_LIB_WIRE_H
#define TESTS_BENCH_LIB_WIRE_H

#include "client/bench/bench.h"
#include "proto/buf.h"

#define WIRE_STMT     1 /* the number under which the statement is prepared */
#define WIRE_READ_SQL "SELECT n, c FROM bench WHERE id = ?1"

/* Append a frame.  database may be NULL: the daemon's only one. */
void wire_put_hello(
    struct buf *b, uint64_t id, const char *database, uint64_t window_bytes);
void wire_put_prepare(struct buf *b, uint64_t id, const char *sql);
void wire_put_exec(struct buf *b, uint64_t id, uint64_t key);
void wire_put_credit(struct buf *b, uint64_t target, uint64_t bytes);
/* What the daemon answers to wire_put_exec. */
void wire_put_row(
    struct buf *b, uint64_t id, const struct bench_plan *plan, uint64_t key);

/* Check that a reply ends a request well and holds row `key`.
 * Returns 0, or -1 with *ret_why. */
int wire_check_row(struct span content, const struct bench_plan *plan,
    uint64_t key, const char **ret_why);

/* Check that a reply is of this type, e.g. TYPE_OK.  Returns 0, or -1 with why
 * filled in: the daemon's words if it sent an ERROR. */
int
wire_check_type(struct span content, uint64_t type, char *why, size_t why_n);

#endif
