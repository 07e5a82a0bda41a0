/* impl.h - what the files of the library share.
 *
 *	conn.c     bytes to and from the socket, frames to their results
 *	flight.c   which requests are in flight, and which wait
 *	socket.c   system calls              open.c     find, connect, HELLO, close
 *	request.c  requests into frames       steps.c    requests apart
 *	call.c     the blocking calls
 *	result.c   frames into rows
 *	column.c   values of a row           convert.c  SQLite's conversions
 *	error.c    errors with their text
 *
 * A result is in the connection's table from sending until its terminal reply,
 * and in its list from birth to death:
 *
 *	send -> UNSENT -> WAITING -> ENDED      (only flight.c moves it)
 *
 * UNSENT: the daemon has as many requests as it takes; the frame waits here.
 * A result that failed here (deadline, lost connection) or was freed stays in
 * the table until its reply has come, which is then dropped.
 *
 * Thread: the connection's.
 */
#ifndef CLIENT_IMPL_H
#define CLIENT_IMPL_H

#include <stdarg.h>
#include <sys/types.h>

#include "proto/buf.h"
#include "proto/error.h"
#include "proto/msg.h"
#include "proto/sockpath.h"
#include "proto/value.h"
#include "sqlpool.h"

/* Bytes that may wait in the process before a send waits. */
#define QUEUE_MAX_BYTES ((size_t)8 << 20)
/* Bytes that are worth a system call of their own. */
#define FLUSH_BYTES ((size_t)16 << 10)
/* What a read asks for. */
#define IN_BYTES ((size_t)80 << 10)
/* A frame longer than this that has come in part is read to where it stays... */
#define BIG_BYTES ((size_t)8 << 10)
/* ...and so many bytes of what follows it with it, to see how long that is. */
#define AHEAD_BYTES ((size_t)4 << 10)
/* What an idle connection keeps of its write buffer. */
#define IDLE_BYTES 1024
/* The daemon's answer to a deadline may take so long to arrive. */
#define GRACE_MS 250
/* Results by id; as many are in flight as the daemon allows. */
#define TABLE_N 64
/* Columns whose decoded values need no allocation. */
#define INLINE_COLUMNS 8

#define DEFAULT_CONNECT_MS   5000
#define DEFAULT_WINDOW_BYTES (256 << 10)
/* How long a request has whose daemon does not say, and the longest it can:
 * PROTOCOL.md, "Limits". */
#define DEFAULT_REQUEST_MS 30000
#define LONGEST_REQUEST_MS (24U * 3600 * 1000)

/* ---- error.c ---- */

struct failure {
	struct sqlpool_error pub; /* strings point into this struct or heap */
	char text[200];
	char *heap; /* a longer message; owned, may be NULL */
};

/* Forget what it said; frees the text. */
void failure_clear(struct failure *f);
/* code: positive, errors.def. */
void failure_set(struct failure *f, int code, enum error_outcome outcome,
    const char *format, ...) __attribute__((format(printf, 4, 5)));
void failure_set_v(struct failure *f, int code, enum error_outcome outcome,
    const char *format, va_list args) __attribute__((format(printf, 4, 0)));
/* Take an ERROR's body. */
void failure_take(struct failure *f, const struct msg_tell *tell);
void failure_copy(struct failure *to, const struct failure *from);

/* ---- conn.c ---- */

/* A frame's content that a result has not consumed yet. */
struct chunk {
	struct chunk *next;
	struct span columns;
	struct span decltypes;
	struct span rows;
	struct span steps;
	size_t n;
	uint8_t bytes[]; /* n, and one more for a NUL */
};

enum result_state { RESULT_UNSENT, RESULT_WAITING, RESULT_ENDED };

struct result_list {
	struct sqlpool_result *first;
	struct sqlpool_result *last;
};

struct sqlpool_conn {
	int fd; /* -1: not connected, or dead */
	pid_t pid;
	int dead;          /* the positive code it died of */
	bool write_broken; /* the peer reads no more, but may have said why */
	bool going_away;   /* GOAWAY came: no new requests */
	uint32_t request_timeout_ms; /* the application's; 0: none */
	uint32_t daemon_timeout_ms;  /* for a request that brings none */
	uint32_t window_bytes;
	size_t max_frame_in;
	size_t max_frame_out;
	size_t in_flight_max;

	struct failure failure; /* of the last call that failed */
	struct sqlpool_summary summary;
	bool in_transaction;

	struct buf out;     /* frames on their way */
	size_t out_at;      /* bytes of out that are written */
	uint64_t out_total; /* bytes ever written */

	uint8_t *in; /* IN_BYTES, or NULL while idle */
	size_t in_n;
	struct chunk *big; /* a long frame, being filled; in_n is 0 then */
	size_t big_n;

	uint64_t next_id;
	uint64_t next_stmt;
	struct sqlpool_result *table[TABLE_N];
	size_t in_flight_n; /* results in the table that are not UNSENT */
	struct result_list unsent;
	size_t unsent_bytes;
	struct sqlpool_result *results; /* all that exist */
	struct sqlpool_stmt *stmts;

	struct sqlpool_server server;
	char server_text[64];
	char sqlite_text[24];
	char database_text[256];
	char path_text[SOCKPATH_MAX];
};

struct sqlpool_stmt {
	struct sqlpool_conn *conn; /* NULL once that is closed */
	struct sqlpool_stmt *prev;
	struct sqlpool_stmt *next;
	uint64_t number;
	size_t params_n;
	size_t columns_n;
};

struct sqlpool_result {
	struct sqlpool_conn *conn;   /* NULL once that is closed */
	struct sqlpool_result *prev; /* all of the connection */
	struct sqlpool_result *next;
	struct sqlpool_result *bucket_next;
	struct sqlpool_result *unsent_prev; /* while it is UNSENT */
	struct sqlpool_result *unsent_next;
	enum result_state state;
	bool in_table;
	bool discard;       /* rows are dropped as they come */
	bool zombie;        /* freed by the application, reply outstanding */
	bool done_expected; /* ends with DONE; else with OK */
	bool batch;
	bool in_stream; /* it is part of the session's order of statements */
	uint64_t id;
	uint32_t timeout_ms; /* how long the daemon may take */
	uint64_t frame_end;  /* its last byte, counted as out_total is */
	struct buf frame;    /* UNSENT: its bytes */
	uint64_t granted;    /* bytes of ROWS the daemon may send in all */
	uint64_t received;   /* bytes of ROWS that came */
	uint64_t consumed;   /* and of those, dropped again */
	struct chunk *first; /* not yet consumed; the first is being read */
	struct chunk *last;

	/* the reply that ended it, for the call that waits for an OK */
	void (*on_ok)(void *arg, const struct msg_tell *tell);
	void *on_ok_arg;

	struct failure failure;      /* of the request */
	struct failure step_failure; /* of a batch's step */
	struct sqlpool_summary summary;
	struct sqlpool_summary whole; /* of a batch, all its steps */

	/* where the reader stands */
	bool loaded;       /* columns and rows below are valid */
	struct span steps; /* of a batch: what is left */
	uint32_t steps_left;
	struct span columns;   /* raw arrays, in the first chunk, or empty */
	struct span decltypes; /* or empty */
	struct span rows;      /* what is left of the chunk's rows */
	uint8_t *bytes;        /* the chunk's content, which may be changed */
	uint32_t rows_left;
	size_t columns_n;
	char **names;      /* NULL until asked for; then names and decltypes */
	struct value *row; /* columns_n decoded values */
	bool has_row;
	uint8_t *nul_at; /* a NUL was written over a byte still to be read */
	uint8_t nul_was;
	char (*numbers)[32]; /* per column, text of a number; or NULL */
	struct value inline_row[INLINE_COLUMNS];
};

/* Say whether the connection can be used; sets its failure.
 * Errors: -ERR_MISUSE (NULL), or what it died of. */
int conn_check(struct sqlpool_conn *conn);

/* Record a failure of a call on the connection; returns -code. */
int conn_fail(struct sqlpool_conn *conn, int code, enum error_outcome outcome,
    const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The connection ends here: every result in flight fails with the same code,
 * and with the outcome that follows from what was sent of it.  Returns -code. */
int conn_kill(struct sqlpool_conn *conn, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Write and read what is possible now; with wait, sleep first until something
 * is possible.  Errors: -ERR_CLIENT_TIMEOUT (nothing happened before
 * deadline_us; not recorded as a failure), -ERR_MISUSE (a forked child), or the
 * connection is dead. */
int conn_turn(struct sqlpool_conn *conn, bool wait, int64_t deadline_us);

/* ---- flight.c ---- */

/* Put a result that has an encoded frame on its way.  Never fails, never
 * waits. */
void flight_submit(struct sqlpool_conn *conn, struct sqlpool_result *result);

/* Put as many of the waiting requests on their way as the daemon takes now. */
void flight_start_unsent(struct sqlpool_conn *conn);

/* Find the result that a reply is for, or NULL. */
struct sqlpool_result *flight_find(struct sqlpool_conn *conn, uint64_t id);

/* The terminal reply has come, or never will: take it out of the table.  Frees
 * a zombie. */
void flight_end_result(struct sqlpool_result *result);

/* End it with the connection's failure, unless it has ended. */
void flight_fail(struct sqlpool_conn *conn, struct sqlpool_result *result);

/* Take a result out of everything and free it. */
void flight_forget_result(struct sqlpool_result *result);

/* Once half of a result's window is free, append a CREDIT for what is free: the
 * last frame may have been larger than the window.  gone: bytes of its ROWS
 * that were dropped so far.  Returns whether there is a CREDIT to write. */
bool flight_refill_window(struct sqlpool_result *result, uint64_t gone);

/* Append a CANCEL for a result. */
void flight_put_cancel(struct sqlpool_result *result);

/* ---- request.c ---- */

/* One statement with its values, as a call has them. */
struct statement {
	const char *sql; /* or NULL: */
	const struct sqlpool_stmt *stmt;
	const struct sqlpool_value *values;
	size_t values_n;
	bool as_before; /* neither: a step runs that of the step before it */
};

/* Make a result for a request of this type: its frame is begun, its body
 * open.  Errors: -ERR_NO_MEMORY, and those of conn_check. */
int request_begin(struct sqlpool_conn *conn, enum msg_type type,
    uint32_t timeout_ms, struct msg_out *m, struct sqlpool_result **ret);

/* Put a statement's fields.  Errors: -ERR_MISUSE with *ret_why. */
int request_put_statement(
    struct msg_out *m, const struct statement *s, const char **ret_why);

/* End the frame and put the request on its way; on failure the result is
 * freed.  Errors: -ERR_NO_MEMORY, -ERR_FRAME_TOO_LONG. */
int request_submit(struct sqlpool_result *result, struct msg_out *m);

/* Put one statement on its way.  Errors: those of the three above. */
int request_start_statement(struct sqlpool_conn *conn,
    const struct statement *s, struct sqlpool_result **ret_result);

/* ---- steps.c ---- */

struct sqlpool_request {
	struct step *steps;
	size_t steps_n;
	size_t steps_cap;
	struct buf bytes;    /* of the steps, one after the other */
	uint32_t timeout_ms; /* 0: the connection's */
	uint64_t max_rows;   /* 0: all */
	bool read_only;
};

/* Say why it cannot be sent on this connection, or NULL.  request may be NULL. */
const char *steps_check(const struct sqlpool_request *request,
    const struct sqlpool_conn *conn, bool atomic);

/* Put it into an open body: as a BATCH's steps, or as the only one. */
void steps_put(
    const struct sqlpool_request *request, struct msg_out *m, bool atomic);

/* ---- result.c ---- */

struct sqlpool_result *result_new(struct sqlpool_conn *conn);

/* Free what a result owns, and the result. */
void result_destroy(struct sqlpool_result *result);

/* Fail it; only the first failure counts.  Its rows are void. */
void result_fail(struct sqlpool_result *result, const struct failure *f);

/* Wait for the terminal reply of a request whose rows are not wanted, and free
 * the result.  Errors: the request's, also recorded as the connection's. */
int result_finish(struct sqlpool_result *result);

/* Wait for the first part; free the result on failure. */
int
result_begin(struct sqlpool_result *result, struct sqlpool_result **ret_result);

/* Drop all rows that wait. */
void result_drop_chunks(struct sqlpool_result *result);

void result_take_summary(
    struct sqlpool_summary *summary, const struct msg_tell *tell);

/* ---- column.c ---- */

/* Copy the names and declared types of the columns, while the chunk that holds
 * them is there.  Errors: -ERR_NO_MEMORY. */
int result_make_names(struct sqlpool_result *result);

/* ---- convert.c ---- */

int64_t convert_text_to_int64(const uint8_t *p, size_t n);
double convert_text_to_double(const uint8_t *p, size_t n);
int64_t convert_double_to_int64(double f);

/* Write a number as SQLite does, NUL-terminated; returns its length. */
size_t convert_int64_to_text(int64_t i, char out[32]);
size_t convert_double_to_text(double f, char out[32]);

#endif
