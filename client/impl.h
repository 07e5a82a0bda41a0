/* impl.h - what the files of the library share.
 *
 *	conn.c     bytes to and from the socket, and when to sleep
 *	input.c    frames to their results
 *	life.c     connect, HELLO, lose the connection and find another
 *	flight.c   which requests are in flight, and which wait
 *	async.c    callbacks, deadlines, what to poll for
 *	socket.c   system calls              open.c     open, reset, close
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
 * UNSENT: the daemon has as many requests as it takes, or is not there; the frame
 * waits here, and is kept until the end: when the connection is lost a request
 * that may be repeated becomes UNSENT again.
 * A result that failed here (deadline, lost connection) or was freed stays in
 * the table until its reply has come, which is then dropped.
 *
 * Thread: the connection's.
 */
#ifndef CLIENT_IMPL_H
#define CLIENT_IMPL_H

#include <stdarg.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "proto/buf.h"
#include "proto/error.h"
#include "proto/mem.h"
#include "proto/msg.h"
#include "proto/patience.h"
#include "proto/sockpath.h"
#include "proto/value.h"
#include "sqlpool.h"

/* Bytes that may wait in the process before a send waits. */
#define QUEUE_MAX_BYTES ((size_t)8 << 20)
/* What is worth a system call of its own: so many bytes, or so many requests that
 * are a quarter of those in flight, so that the daemon begins while a pipeline is
 * still being filled. */
#define FLUSH_BYTES    ((size_t)16 << 10)
#define FLUSH_REQUESTS 8
#define FLUSH_PART     4
/* What a read asks for. */
#define IN_BYTES ((size_t)80 << 10)
/* A frame longer than this that has come in part is read to where it stays... */
#define BIG_BYTES ((size_t)8 << 10)
/* ...and so many bytes of what follows it with it, to see how long that is. */
#define AHEAD_BYTES ((size_t)4 << 10)
/* What an idle connection keeps of its write buffer. */
#define IDLE_BYTES 1024
/* The daemon's answer to a deadline may take so long to arrive. */
#define GRACE_MS 500
/* Results by id; as many are in flight as the daemon allows. */
#define TABLE_N 64
/* Freed results that a connection keeps for the next requests, while it is busy and
 * otherwise. */
#define SPARES_MAX      16
#define SPARES_IDLE_MAX 1
/* Columns whose decoded values need no allocation. */
#define INLINE_COLUMNS 8

#define DEFAULT_CONNECT_MS   5000
#define DEFAULT_POLL_US      50
#define POLL_MAX_US          10000
#define DEFAULT_WINDOW_BYTES (256 << 10)
/* How long a request has whose daemon does not say, and the longest it can:
 * PROTOCOL.md, "Limits". */
#define DEFAULT_REQUEST_MS 30000
#define LONGEST_REQUEST_MS 86400000U

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

/* What a connection is at (life.c). */
enum conn_state {
	CONN_DOWN,    /* no socket; the next request looks for one */
	CONN_WAITING, /* no socket; connect at next_try_us */
	CONN_OPENING, /* HELLO is on its way */
	CONN_OPEN,
	CONN_LEAVING, /* GOAWAY: what is in flight ends, and a transaction */
	CONN_DEAD,    /* no socket, and none to come */
};

enum result_state { RESULT_UNSENT, RESULT_WAITING, RESULT_ENDED };

struct result_list {
	struct sqlpool_result *first;
	struct sqlpool_result *last;
};

struct sqlpool_conn {
	enum conn_state state;
	int fd;        /* -1: none */
	int old_fd;    /* a lost one that somebody may still poll for; or -1 */
	int polled_fd; /* what somebody polls for; or -1 */
	pid_t pid;
	struct patience patience; /* of calls that wait */
	bool opened;              /* HELLO has succeeded once */
	bool failing;             /* the last search for a daemon found none */
	bool write_broken;  /* the peer reads no more, but may have said why */
	bool tx_lost;       /* the connection was lost in a transaction */
	bool nonblocking;   /* sends never wait */
	bool delivering;    /* callbacks are being called */
	struct failure why; /* why it is down or dead */

	/* how to open it */
	char *database; /* owned, as app_name; may be NULL */
	char *app_name;
	bool use_fd;
	bool no_reconnect;
	bool decltypes;
	uint32_t connect_timeout_ms;
	int64_t next_try_us;
	int64_t give_up_us;
	uint32_t delay_ms; /* until the try after the next one */

	uint32_t request_timeout_ms; /* the application's; 0: none */
	uint32_t daemon_timeout_ms;  /* for a request that brings none */
	uint32_t window_bytes;
	size_t max_frame_in;
	size_t max_frame_out;
	size_t in_flight_max;
	uint64_t in_flight_bytes_max;

	struct failure failure; /* of the last call that failed */
	struct sqlpool_summary summary;
	bool in_transaction;

	struct buf out;     /* frames on their way */
	size_t out_at;      /* bytes of out that are written */
	uint64_t out_total; /* bytes ever written */
	size_t unwritten_n; /* requests since all of out was written */

	uint8_t *in; /* IN_BYTES, or NULL while idle */
	size_t in_n;
	struct chunk *big; /* a long frame, being filled; in_n is 0 then */
	size_t big_n;

	uint64_t next_id;
	uint64_t next_stmt;
	struct sqlpool_result *table[TABLE_N];
	size_t in_flight_n;     /* results in the table that are not UNSENT */
	size_t in_flight_bytes; /* of their requests */
	struct result_list unsent;
	size_t unsent_bytes;
	struct sqlpool_result *results; /* all that exist */
	struct sqlpool_result *spares;  /* freed ones, for the next */
	unsigned spares_n;
	struct sqlpool_stmt *stmts;

	struct result_list ready; /* whose callback is due */
	int64_t earliest_us; /* no deadline of a callback's result is before */

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
	char *sql; /* owned: to be prepared on another connection */
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
	struct sqlpool_result *ready_prev; /* while its callback is due */
	struct sqlpool_result *ready_next;
	sqlpool_callback *callback; /* NULL: calls wait for it */
	void *callback_arg;
	int64_t deadline_us; /* of one with a callback */
	enum result_state state;
	enum msg_type type;
	bool in_table;
	bool ready;         /* its callback is due */
	bool discard;       /* rows are dropped as they come */
	bool zombie;        /* freed by the application, reply outstanding */
	bool done_expected; /* ends with DONE; else with OK */
	bool batch;
	bool in_stream;   /* it is part of the session's order of statements */
	bool reads;       /* it changes nothing */
	bool repeatable;  /* may be sent again without knowing */
	bool repeated;    /* was sent again once */
	bool probe;       /* sent again as read_only, to see if it is a read */
	bool turned_away; /* a daemon that stops has refused it once */
	uint64_t id;
	uint32_t timeout_ms; /* how long the daemon may take */
	uint64_t frame_end;  /* its last byte, counted as out_total is */
	struct buf frame;    /* its bytes, until it has ended */
	size_t body_at;      /* of them, where the body begins */
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

/* Say whether the connection can be used, now or after a while; sets its failure.
 * Errors: -ERR_MISUSE (NULL, or a callback closes it), or what it died of. */
int conn_check(struct sqlpool_conn *conn);

/* Say whether this is the process that opened it; sets its failure. */
int conn_check_process(struct sqlpool_conn *conn);

/* Record a failure of a call on the connection; returns -code. */
int conn_fail(struct sqlpool_conn *conn, int code, enum error_outcome outcome,
    const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Write and read what is possible now, or connect when it is time; with wait,
 * sleep first until something is possible.  A connection that was lost and can
 * come back is no error.  Errors: -ERR_CLIENT_TIMEOUT (nothing happened before
 * deadline_us; not recorded as a failure), -ERR_MISUSE (a forked child), or the
 * connection is dead. */
int conn_turn(struct sqlpool_conn *conn, bool wait, int64_t deadline_us);

/* Say whether there are bytes to be written. */
bool conn_wants_to_write(const struct sqlpool_conn *conn);

/* Drop the socket and the bytes of both directions. */
void conn_drop_socket(struct sqlpool_conn *conn);

/* ---- input.c ---- */

/* n bytes were read, to where input_get_room wanted them.  Negative: the
 * connection is lost. */
int input_take(struct sqlpool_conn *conn, size_t n);

/* Where the next bytes go: to the rest of a long frame and a little of what
 * follows it, or behind what is there.  Returns how many. */
size_t input_get_room(struct sqlpool_conn *conn, struct iovec iov[2]);

/* ---- life.c ---- */

/* Say why the connection is not there; returns -code. */
int life_explain(struct sqlpool_conn *conn, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Look for the daemon from now on, for as long as the connect timeout. */
void life_begin(struct sqlpool_conn *conn);

/* Connect when it is time; end what has waited for too long; leave a daemon that
 * stops.  Returns 0, or -code when the connection is dead. */
int life_turn(struct sqlpool_conn *conn);

/* When life_turn has something to do; INT64_MAX: never. */
int64_t life_get_timer(const struct sqlpool_conn *conn);

/* The connection is lost: results in flight are put back or fail, with the
 * outcome that follows from what was sent of them.  Returns -code. */
int life_lose(struct sqlpool_conn *conn, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for good: nothing is put back.  f is copied. */
void life_end(struct sqlpool_conn *conn, const struct failure *f);

/* GOAWAY came. */
void life_leave(struct sqlpool_conn *conn);

/* Say whether another connection can take this one's place. */
bool life_can_return(const struct sqlpool_conn *conn);

/* ---- open.c ---- */

/* Choose the path of the socket, unless it is known.  Errors, in conn->why:
 * -ERR_CONNECT. */
int open_find_socket(struct sqlpool_conn *conn);

/* Say in conn->why why connect(2) failed. */
void open_explain(struct sqlpool_conn *conn, int error);

/* ---- async.c ---- */

/* A result with a callback can be read a bit further, or has ended. */
void async_mark(struct sqlpool_result *result);

/* Its callback is not due any more. */
void async_unmark(struct sqlpool_result *result);

/* Call the callbacks that are due. */
void async_deliver(struct sqlpool_conn *conn);

/* ---- flight.c ---- */

/* Put a result that has an encoded frame on its way.  Never fails, never
 * waits. */
void flight_submit(struct sqlpool_conn *conn, struct sqlpool_result *result);

/* Put it before all others, and, if now, into `out` whatever waits. */
void flight_submit_first(
    struct sqlpool_conn *conn, struct sqlpool_result *result, bool now);

/* Put back what was sent, in its place among those that wait. */
void flight_put_back(struct sqlpool_result *result);

/* Put as many of the waiting requests on their way as the daemon takes now. */
void flight_start_unsent(struct sqlpool_conn *conn);

/* Find the result that a reply is for, or NULL. */
struct sqlpool_result *flight_find(struct sqlpool_conn *conn, uint64_t id);

/* The terminal reply has come, or never will: take it out of the table.  Frees
 * a zombie. */
void flight_end_result(struct sqlpool_result *result);

/* Say whether the daemon has got all of it, as far as it can be known. */
bool flight_was_sent(const struct sqlpool_result *result);

/* End it with this failure, unless it has ended; its outcome is what follows
 * from what was sent. */
void flight_fail(struct sqlpool_result *result, const struct failure *f);

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
 * open.  Errors: -ERR_NO_MEMORY, -ERR_CONNECTION_LOST (a transaction was), and
 * those of conn_check. */
int request_begin(struct sqlpool_conn *conn, enum msg_type type,
    uint32_t timeout_ms, struct msg_out *m, struct sqlpool_result **ret);

/* Put a statement's fields.  Errors: -ERR_MISUSE with *ret_why. */
int request_put_statement(
    struct msg_out *m, const struct statement *s, const char **ret_why);

/* End the frame; on failure the result is freed.  Errors: -ERR_NO_MEMORY,
 * -ERR_FRAME_TOO_LONG. */
int request_end(struct sqlpool_result *result, struct msg_out *m);

/* End the frame and put the request on its way.  Errors: as request_end. */
int request_submit(struct sqlpool_result *result, struct msg_out *m);

/* Let the daemon refuse it if it writes.  False: out of memory. */
bool request_make_probe(struct sqlpool_result *result);

/* Make a PREPARE for a statement, to be submitted.  Errors: of request_begin and
 * request_end. */
int
request_prepare(struct sqlpool_stmt *stmt, struct sqlpool_result **ret_result);

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
	bool idempotent;
};

/* Say why it cannot be sent on this connection, or NULL.  request may be NULL. */
const char *steps_check(const struct sqlpool_request *request,
    const struct sqlpool_conn *conn, bool atomic);

/* Put it into an open body: as a BATCH's steps, or as the only one. */
void steps_put(
    const struct sqlpool_request *request, struct msg_out *m, bool atomic);

/* ---- result.c ---- */

/* Say whether such requests are part of the session's order of statements. */
bool result_type_is_in_stream(enum msg_type type);

/* Errors: NULL, out of memory. */
struct sqlpool_result *
result_new(struct sqlpool_conn *conn, enum msg_type type);

/* Free what a result owns, and the result, or keep it as a spare of its
 * connection's. */
void result_destroy(struct sqlpool_result *result);

/* Free those that were kept. */
void result_drop_spares(struct sqlpool_conn *conn);

/* Fail it; only the first failure counts.  Its rows are void. */
void result_fail(struct sqlpool_result *result, const struct failure *f);

/* Wait for the terminal reply of a request whose rows are not wanted, and free
 * the result.  Errors: the request's, also recorded as the connection's. */
int result_finish(struct sqlpool_result *result);

/* Wait for the first part; free the result on failure. */
int
result_begin(struct sqlpool_result *result, struct sqlpool_result **ret_result);

/* Say whether it is to be waited for: for its next part, or with `all` for its
 * end. */
bool result_is_waiting(const struct sqlpool_result *result, bool all);

/* Give the time after which nobody should wait for it any more. */
int64_t result_make_deadline(const struct sqlpool_result *result);

/* Its deadline is over. */
void result_time_out(struct sqlpool_result *result);

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
