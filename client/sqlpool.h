/* sqlpool.h - libsqlpool-client: talk to sqlpoold.
 *
 * A connection runs SQL on one database of a daemon over its Unix socket:
 *
 *	struct sqlpool_options options = SQLPOOL_OPTIONS;
 *	struct sqlpool_conn *conn;
 *	struct sqlpool_result *result;
 *
 *	options.database = "app";
 *	if (sqlpool_open(&options, &conn) < 0 ||
 *	    sqlpool_query(conn, "SELECT id, name FROM t WHERE id > ?1",
 *		SQLPOOL_VALUES(SQLPOOL_INT(7)), &result) < 0)
 *		errx(1, "%s", sqlpool_get_error(conn)->message);
 *	while (sqlpool_next(result) == SQLPOOL_ROW)
 *		puts(sqlpool_column_text(result, 1, NULL));
 *	sqlpool_result_free(result);
 *	sqlpool_close(conn);
 *
 * Threads.  There is no global state but the allocator and the process's id.  Any thread may use any
 * connection, one thread at a time; statements and results belong to their
 * connection.  After fork() the child gets SQLPOOL_ERR_MISUSE from everything
 * that would touch the socket and never disturbs the parent; it may close and
 * free what it inherited, and opens connections of its own.
 *
 * Errors.  A function that can fail returns 0 or the negative of a code:
 * SQLite's extended result codes (https://sqlite.org/rescode.html) or enum
 * sqlpool_code.  sqlpool_get_error() says more: SQLite's message, where in the
 * SQL, and whether the request took effect.  What a function returns through a
 * pointer is untouched on failure, except by sqlpool_open.  NULL where an
 * object is expected is SQLPOOL_ERR_MISUSE, not a crash.
 *
 * Ownership.  What an open, new, prepare, query, run or send function gives is
 * the caller's to close or free; freeing NULL does nothing.  Strings and values
 * that are passed in are copied before the function returns.  Pointers that a
 * result gives live until its next sqlpool_next, sqlpool_next_result or
 * sqlpool_result_free.
 *
 * Time.  Every call that waits has a deadline: the connect timeout or the
 * request's timeout (plus half a second, in which the daemon's own
 * answer may arrive, since that one knows what became of the request).
 *
 * A daemon that goes away.  The connection is made again, for as long as the
 * connect timeout, when there is something to send; prepared statements are
 * prepared again.  Requests that did not reach the daemon go to the next one.
 * One that was sent and not answered is sent again, once, if it is marked
 * SQLPOOL_READ_ONLY or SQLPOOL_IDEMPOTENT, or the daemon finds that it is a read,
 * and none of its rows was taken.  Any other fails with
 * SQLPOOL_ERR_CONNECTION_LOST, and its outcome says whether it may have been
 * applied.  A transaction is rolled back when its connection is lost; its
 * statements then fail until sqlpool_rollback or sqlpool_commit has ended it, so
 * that none of them runs outside of it.  A connection on a descriptor (use_fd),
 * with no_reconnect, or whose peer sends nonsense, is not made again.
 *
 * Pipelining.  sqlpool_send puts a request on its way and returns a result to
 * be taken later, in any order.  While a call waits for one reply it reads and
 * writes whatever the socket has to offer, so a pipeline of any depth completes.
 * A result that nobody reads holds at most window_bytes and one frame; requests
 * beyond what the daemon accepts wait in this process, at most 8 MiB of them.  Of
 * results larger than their window the daemon runs 8 at a time: the ninth begins
 * when one of those sent before was read.
 *
 * The process: no signals are raised or handled, SIGPIPE does not happen, the
 * socket is closed on exec, interrupted system calls are repeated.
 */
#ifndef SQLPOOL_H
#define SQLPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
#include <initializer_list>

extern "C" {
#endif

#define SQLPOOL_API        __attribute__((visibility("default")))
#define SQLPOOL_MUST_CHECK __attribute__((warn_unused_result))

struct sqlpool_conn;    /* a connection */
struct sqlpool_request; /* SQL and values, apart from any connection */
struct sqlpool_stmt;    /* a prepared statement of a connection */
struct sqlpool_result;  /* a request that was sent, and its answer */

/* ---- Errors ------------------------------------------------------------- */

/* What sqlpool_next and sqlpool_next_result return when they do not fail. */
#define SQLPOOL_DONE  0
#define SQLPOOL_ROW   1
#define SQLPOOL_AGAIN 2 /* there is a callback, which will be called */

/* The codes that are not SQLite's.  Numbers are final; a newer daemon may send
 * others. */
enum sqlpool_code {
	/* what was sent */
	SQLPOOL_ERR_FRAME_MAGIC = 100001,
	SQLPOOL_ERR_FRAME_TOO_LONG = 100002,
	SQLPOOL_ERR_FRAME_MALFORMED = 100003,
	SQLPOOL_ERR_FRAME_TOO_DEEP = 100004,
	SQLPOOL_ERR_FIELD_TYPE = 100005,
	SQLPOOL_ERR_FIELD_MISSING = 100006,
	SQLPOOL_ERR_FIELD_RANGE = 100007,
	SQLPOOL_ERR_FIELD_UNKNOWN = 100008,
	SQLPOOL_ERR_REQUEST_UNKNOWN = 100009,
	SQLPOOL_ERR_HELLO_REQUIRED = 100010,
	SQLPOOL_ERR_VERSION_UNSUPPORTED = 100011,
	SQLPOOL_ERR_DUPLICATE_ID = 100012,
	SQLPOOL_ERR_PARAM_TYPE = 100013,
	/* which database, and what may be done to it */
	SQLPOOL_ERR_NO_DATABASE = 100020,
	SQLPOOL_ERR_DATABASE_REQUIRED = 100021,
	SQLPOOL_ERR_DATABASE_DOWN = 100022,
	SQLPOOL_ERR_NOT_ALLOWED = 100023,
	SQLPOOL_ERR_ACCESS_DENIED = 100024,
	/* the statement */
	SQLPOOL_ERR_MULTIPLE_STATEMENTS = 100030,
	SQLPOOL_ERR_STATEMENT_UNKNOWN = 100031,
	SQLPOOL_ERR_PARAM_COUNT = 100032,
	SQLPOOL_ERR_PARAM_NAME = 100033,
	SQLPOOL_ERR_ROW_TOO_LARGE = 100034,
	SQLPOOL_ERR_RESULT_TOO_LARGE = 100035,
	/* transactions */
	SQLPOOL_ERR_TX_ACTIVE = 100040,
	SQLPOOL_ERR_TX_NONE = 100041,
	SQLPOOL_ERR_TX_EXPIRED = 100042,
	SQLPOOL_ERR_TX_READ_ONLY = 100043,
	SQLPOOL_ERR_SNAPSHOT_ENDED = 100044,
	/* limits and waits: try again */
	SQLPOOL_ERR_QUEUE_FULL = 100050,
	SQLPOOL_ERR_TOO_MANY_REQUESTS = 100051,
	SQLPOOL_ERR_TOO_MANY_CLIENTS = 100052,
	SQLPOOL_ERR_DEADLINE = 100053,
	SQLPOOL_ERR_CANCELLED = 100054,
	SQLPOOL_ERR_SHUTTING_DOWN = 100055,
	SQLPOOL_ERR_STALLED = 100056,
	SQLPOOL_ERR_EXTERNAL_BUSY = 100057,
	SQLPOOL_ERR_NO_MEMORY = 100058,
	SQLPOOL_ERR_MEMORY_LIMIT = 100059,
	SQLPOOL_ERR_MEMORY_FULL = 100066,
	/* the daemon itself */
	SQLPOOL_ERR_INTERNAL = 100060,
	SQLPOOL_ERR_COMMIT_UNKNOWN = 100061,
	SQLPOOL_ERR_KILLED = 100064,
	SQLPOOL_ERR_NOT_FOUND = 100065,
	/* raised here, never sent */
	SQLPOOL_ERR_CONNECT = 100080,
	SQLPOOL_ERR_CONNECTION_LOST = 100081,
	SQLPOOL_ERR_CLIENT_TIMEOUT = 100082,
	SQLPOOL_ERR_BAD_REPLY = 100083,
	SQLPOOL_ERR_MISUSE = 100084,
	SQLPOOL_ERR_CONVERSION = 100085,
};

/* What kind of trouble it is, and so what helps. */
enum sqlpool_class {
	SQLPOOL_CLASS_NONE = 0,
	SQLPOOL_CLASS_SQL = 1,        /* the statement is wrong */
	SQLPOOL_CLASS_CONSTRAINT = 2, /* the data refused it */
	SQLPOOL_CLASS_BUSY = 3,       /* try again later */
	SQLPOOL_CLASS_LIMIT = 4,      /* over a configured bound */
	SQLPOOL_CLASS_ACCESS = 5,     /* not allowed, or no such database */
	SQLPOOL_CLASS_PROTOCOL = 6,   /* the bytes that were sent are wrong */
	SQLPOOL_CLASS_CANCEL = 7,     /* somebody asked for it */
	SQLPOOL_CLASS_SERVER = 8,     /* disk, file or daemon */
	SQLPOOL_CLASS_CLIENT = 9,     /* raised by this library */
};

/* What became of the request that failed. */
enum sqlpool_outcome {
	SQLPOOL_NOT_APPLIED = 0,
	SQLPOOL_APPLIED = 1, /* of a script that is not atomic: in part */
	SQLPOOL_UNKNOWN = 2,
};

/* An error in full.  Only the library makes these; later versions may add
 * fields at the end. */
struct sqlpool_error {
	int code;            /* 0: none; SQLite's extended, or sqlpool_code */
	int primary;         /* SQLite's primary code, e.g. 19; else code */
	const char *name;    /* "SQLITE_CONSTRAINT_UNIQUE"; never NULL */
	const char *message; /* one line for a person; never NULL */
	int64_t offset;      /* byte in the SQL where it is wrong; or -1 */
	int64_t step;        /* of an atomic request, or statement of a script,
			      * that failed it; or -1 */
	uint32_t retry_ms;   /* try again after so long; 0: no advice */
	enum sqlpool_class class_; /* what kind of trouble */
	enum sqlpool_outcome outcome;
};

/* Give the error of the last call on this connection that failed.
 *
 * Never NULL; code 0 before the first failure.  conn may be NULL, as when
 * sqlpool_open ran out of memory.  The struct and its strings are the
 * connection's and live until the next call on it that fails or until it is
 * closed. */
SQLPOOL_API const struct sqlpool_error *
sqlpool_get_error(const struct sqlpool_conn *conn);

/* Give the symbolic name of a code, e.g. "QUEUE_FULL"; takes a code or its
 * negative, never returns NULL. */
SQLPOOL_API const char *sqlpool_get_code_name(int code);

/* Take memory from here and not from libc: resize as realloc(3), also with p NULL
 * and never with n 0; release as free(3).  NULL, NULL: from libc again.  Call it
 * before anything else, while nothing of the library exists.
 *
 * Errors: SQLPOOL_ERR_MISUSE (one is NULL, and one is not). */
SQLPOOL_API SQLPOOL_MUST_CHECK int sqlpool_set_allocator(
    void *(*resize)(void *p, size_t n), void (*release)(void *p));

/* Give the library's version, e.g. "0.1.0". */
SQLPOOL_API const char *sqlpool_get_version(void);

/* ---- Values ------------------------------------------------------------- */

/* Numbers are SQLite's (https://sqlite.org/c3ref/c_blob.html). */
enum sqlpool_type {
	SQLPOOL_TYPE_INTEGER = 1,
	SQLPOOL_TYPE_REAL = 2,
	SQLPOOL_TYPE_TEXT = 3,
	SQLPOOL_TYPE_BLOB = 4,
	SQLPOOL_TYPE_NULL = 5,
};

/* A value for a parameter.  Make it with the macros below. */
struct sqlpool_value {
	const char *name; /* NULL: by position; else ":a", "@a", "$a" or "a" */
	enum sqlpool_type type;
	int64_t i;     /* INTEGER */
	double f;      /* REAL; NaN arrives as NULL, as in SQLite */
	const void *p; /* TEXT or BLOB, borrowed; NULL is SQL's NULL */
	size_t n;      /* bytes at p */
};

static inline struct sqlpool_value
sqlpool_make_value(enum sqlpool_type type, int64_t i, double f)
{
	struct sqlpool_value v;

	v.name = NULL;
	v.type = type;
	v.i = i;
	v.f = f;
	v.p = NULL;
	v.n = 0;
	return v;
}

static inline struct sqlpool_value
sqlpool_make_bytes(enum sqlpool_type type, const void *p, size_t n)
{
	struct sqlpool_value v = sqlpool_make_value(type, 0, 0);

	v.type = p ? type : SQLPOOL_TYPE_NULL;
	v.p = p;
	v.n = n;
	return v;
}

static inline struct sqlpool_value
sqlpool_make_text(const char *s)
{
	return sqlpool_make_bytes(SQLPOOL_TYPE_TEXT, s, s ? strlen(s) : 0);
}

static inline struct sqlpool_value
sqlpool_make_named(const char *name, struct sqlpool_value v)
{
	v.name = name;
	return v;
}

/* One value each.  SQLPOOL_INT takes integers only: a floating-point or pointer
 * argument does not compile. */
#define SQLPOOL_NULL         sqlpool_make_value(SQLPOOL_TYPE_NULL, 0, 0)
#define SQLPOOL_INT(v)       sqlpool_make_value(SQLPOOL_TYPE_INTEGER, (v) | 0, 0)
#define SQLPOOL_REAL(v)      sqlpool_make_value(SQLPOOL_TYPE_REAL, 0, (v))
#define SQLPOOL_TEXT(s)      sqlpool_make_text(s)
#define SQLPOOL_TEXT_N(p, n) sqlpool_make_bytes(SQLPOOL_TYPE_TEXT, (p), (n))
#define SQLPOOL_BLOB(p, n)   sqlpool_make_bytes(SQLPOOL_TYPE_BLOB, (p), (n))

/* A value for a named parameter: SQLPOOL_NAMED(":id", SQLPOOL_INT(7)).  Either
 * all values of a statement are named or none is. */
#define SQLPOOL_NAMED(name, v) sqlpool_make_named((name), (v))

/* The values of a statement: stands for two arguments, values and values_n.  A
 * statement without parameters gets NULL, 0. */
#ifndef __cplusplus
#define SQLPOOL_VALUES(...)                                          \
	((const struct sqlpool_value[]){ __VA_ARGS__ }),             \
	    (sizeof((const struct sqlpool_value[]){ __VA_ARGS__ }) / \
		sizeof(struct sqlpool_value))
#else
#define SQLPOOL_VALUES(...)                                                   \
	(std::initializer_list<struct sqlpool_value>{ __VA_ARGS__ }.begin()), \
	    sizeof(sqlpool_count_values(__VA_ARGS__))

extern "C++" {
/* Only its size is used: a byte for each value. */
template <class... T> char (&sqlpool_count_values(T...))[sizeof...(T)];
}
#endif

/* ---- Connections -------------------------------------------------------- */

/* How to connect.  Zero or NULL means the default, so later fields may be
 * added; start from SQLPOOL_OPTIONS. */
struct sqlpool_options {
	size_t size; /* of this struct, as the application knows it */
	/* Where the daemon listens.  NULL: $SQLPOOL_SOCKET when that is set, else
	 * the first that exists of $XDG_RUNTIME_DIR/sqlpoold.sock (without
	 * that variable /tmp/sqlpoold-UID/sqlpoold.sock, refused unless the
	 * directory is the user's own) and /run/sqlpoold/sqlpoold.sock. */
	const char *socket_path;
	const char *database;        /* NULL: the daemon's only one */
	const char *app_name;        /* for the daemon's reports; the program */
	uint32_t connect_timeout_ms; /* to open it, or again; default 5 s */
	uint32_t request_timeout_ms; /* of each request, unless it brings its
				      * own; default: the database's (30 s
				      * unless the daemon is configured
				      * otherwise) */
	uint32_t window_bytes;       /* unread bytes of a result; 256 KiB */
	uint32_t max_frame_bytes;    /* longest reply; default 16 MiB */
	bool decltypes;              /* ask for declared column types */
	bool no_reconnect;           /* what is lost stays lost */
	bool use_fd;                 /* talk on fd, do not connect */
	int fd; /* a connected stream socket, the connection's from then on,
		 * also when sqlpool_open fails */
	int32_t poll_time_us; /* the longest that a call which waits polls
			       * before it sleeps, while that pays; default
			       * 50, at most 10,000; negative: it sleeps
			       * at once */
};

#define SQLPOOL_OPTIONS                                                     \
	{                                                                   \
		sizeof(struct sqlpool_options), 0, 0, 0, 0, 0, 0, 0, false, \
		    false, false, 0, 0                                      \
	}

/* Connect to a daemon and choose a database.
 *
 * options: may be NULL.  *ret_conn is set also on failure, so that
 * sqlpool_get_error can say what to do; close it in any case.  (It is NULL when
 * memory ran out.)
 *
 * Errors: SQLPOOL_ERR_CONNECT (no daemon there, no permission, or no answer in
 * time), SQLPOOL_ERR_NO_DATABASE (the message lists what is served),
 * SQLPOOL_ERR_DATABASE_REQUIRED (there are several), SQLPOOL_ERR_BAD_REPLY
 * (something else listens there), SQLPOOL_ERR_VERSION_UNSUPPORTED,
 * SQLPOOL_ERR_TOO_MANY_CLIENTS, SQLPOOL_ERR_NO_MEMORY, SQLPOOL_ERR_MISUSE. */
SQLPOOL_API SQLPOOL_MUST_CHECK int sqlpool_open(
    const struct sqlpool_options *options, struct sqlpool_conn **ret_conn);

/* Begin to connect, and do not wait.
 *
 * Requests may be sent at once; they wait until the connection is open, and if
 * it cannot be opened they fail with the reason, as sqlpool_process does.
 * Sending never waits on such a connection: see sqlpool_send.
 *
 * Errors: SQLPOOL_ERR_CONNECT (the path of the socket is too long),
 * SQLPOOL_ERR_NO_MEMORY, SQLPOOL_ERR_MISUSE; *ret_conn is set as by
 * sqlpool_open. */
SQLPOOL_API SQLPOOL_MUST_CHECK int sqlpool_open_start(
    const struct sqlpool_options *options, struct sqlpool_conn **ret_conn);

/* Give up what is in flight, roll back, and connect anew: as after sqlpool_open,
 * whatever has happened before.  Prepared statements stay.
 *
 * Errors: as sqlpool_open; SQLPOOL_ERR_MISUSE also when it is on a descriptor
 * (use_fd). */
SQLPOOL_API SQLPOOL_MUST_CHECK int sqlpool_reset(struct sqlpool_conn *conn);

/* Close a connection; what is in flight is given up.
 *
 * Its statements and results may be freed before or after; a result whose answer
 * has arrived completely can still be read.  An open transaction is rolled
 * back by the daemon.  Callbacks of what was in flight are called.  Never waits.
 * Does nothing in a callback of the connection. */
SQLPOOL_API void sqlpool_close(struct sqlpool_conn *conn);

/* Ask the daemon for a sign of life.
 *
 * Errors: those of the connection (see sqlpool_exec). */
SQLPOOL_API SQLPOOL_MUST_CHECK int sqlpool_ping(struct sqlpool_conn *conn);

/* What the daemon said of itself.  Later versions may add fields at the end. */
struct sqlpool_server {
	const char *server;       /* "sqlpoold 0.1.0" */
	const char *sqlite;       /* "3.40.1" */
	const char *database;     /* the connection's; "" when none */
	const char *socket_path;  /* "" when use_fd */
	uint64_t epoch;           /* changes with each start of the daemon */
	uint64_t max_frame_bytes; /* longest request */
	uint64_t in_flight_n;     /* requests it takes at a time */
};

/* Give what the daemon said of itself; the connection's, until it is closed.
 * NULL when conn is NULL; empty strings and zeros when it was never open. */
SQLPOOL_API const struct sqlpool_server *
sqlpool_get_server(const struct sqlpool_conn *conn);

/* What a finished request did.  Later versions may add fields at the end. */
struct sqlpool_summary {
	int64_t changes;     /* rows changed; 0 for what changes nothing */
	int64_t rowid;       /* last_insert_rowid() after a write; else 0 */
	uint64_t seq;        /* the commit's number within the epoch; 0: none */
	uint64_t rows_n;     /* rows taken so far */
	uint64_t queue_us;   /* time it waited in the daemon */
	uint64_t exec_us;    /* time it ran */
	bool skipped;        /* step of a batch whose condition was false */
	bool in_transaction; /* a transaction is open after it */
	uint32_t statements_n; /* of a script: how many were run */
};

/* Give the summary of the last request on the connection that a blocking call
 * (exec, commit, ...) has finished or whose result was read to its end.  NULL
 * when conn is NULL.  The connection's; later calls overwrite it. */
SQLPOOL_API const struct sqlpool_summary *
sqlpool_get_summary(const struct sqlpool_conn *conn);

/* ---- Running SQL -------------------------------------------------------- */

/* Run one statement and drop its rows.
 *
 * sql: one statement, NUL-terminated.  values: as many as it has parameters,
 * in order or all by name; may be NULL with values_n 0.
 *
 * Errors: any of SQLite's; of the daemon's those about statements,
 * transactions, limits and waits; and those of the connection:
 * SQLPOOL_ERR_CONNECTION_LOST, SQLPOOL_ERR_CONNECT (no daemon to be found),
 * SQLPOOL_ERR_CLIENT_TIMEOUT (no answer, the connection lives on),
 * SQLPOOL_ERR_BAD_REPLY (the connection has ended: see sqlpool_reset),
 * SQLPOOL_ERR_FRAME_TOO_LONG (larger than the daemon takes; not sent),
 * SQLPOOL_ERR_SHUTTING_DOWN, SQLPOOL_ERR_NO_MEMORY, SQLPOOL_ERR_MISUSE (NULL,
 * a value of no type, names mixed with positions, a child after fork). */
SQLPOOL_API SQLPOOL_MUST_CHECK int sqlpool_exec(struct sqlpool_conn *conn,
    const char *sql, const struct sqlpool_value *values, size_t values_n);

/* Run one statement and wait for the beginning of its result.
 *
 * Errors: as sqlpool_exec.  A statement may still fail later, in
 * sqlpool_next. */
SQLPOOL_API SQLPOOL_MUST_CHECK int sqlpool_query(struct sqlpool_conn *conn,
    const char *sql, const struct sqlpool_value *values, size_t values_n,
    struct sqlpool_result **ret_result);

enum sqlpool_script_flag {
	SQLPOOL_SCRIPT_NOT_ATOMIC = 1, /* each statement commits by itself */
};

/* Run the statements of a text, a migration for example, and drop their rows.
 *
 * sql: any number of statements, without parameters, NUL-terminated.  They are
 * one transaction, of which nothing is left when one of them fails.  With
 * SQLPOOL_SCRIPT_NOT_ATOMIC each commits by itself, as in SQLite's shell: then
 * VACUUM can be among them, and transactions that the text begins and commits.
 * The first one that fails ends the script.  No other write runs meanwhile.
 *
 * Errors: as sqlpool_exec.  sqlpool_error.step is the number of the statement
 * that failed, or was stopped, and offset its place in the text, or that of what
 * is wrong in it; both are -1 when it was the COMMIT that failed, or nothing was
 * run.  outcome is SQLPOOL_APPLIED when what precedes that statement was
 * committed.  SQLPOOL_ERR_NOT_ALLOWED: BEGIN, COMMIT, ROLLBACK or VACUUM without
 * the flag.  SQLPOOL_ERR_TX_ACTIVE: a transaction is open on the connection, or
 * at the end of the text, whose it is; that one is rolled back.
 * SQLPOOL_ERR_PARAM_COUNT: a statement has a parameter.  SQLPOOL_ERR_MISUSE: sql
 * is NULL, or flags has others. */
SQLPOOL_API SQLPOOL_MUST_CHECK int
sqlpool_script(struct sqlpool_conn *conn, const char *sql, unsigned flags);

/* Have the daemon parse a statement under a number, so that later requests are
 * shorter.  (The daemon recognises a repeated text anyway: this saves bytes,
 * and tells about parameters and columns.)
 *
 * Errors: as sqlpool_exec. */
SQLPOOL_API SQLPOOL_MUST_CHECK int sqlpool_prepare(
    struct sqlpool_conn *conn, const char *sql, struct sqlpool_stmt **ret_stmt);

/* Free a statement, here and in the daemon.  Does not wait. */
SQLPOOL_API void sqlpool_stmt_free(struct sqlpool_stmt *stmt);

/* Give the number of parameters or columns of a statement; 0 for NULL. */
SQLPOOL_API size_t sqlpool_stmt_param_count(const struct sqlpool_stmt *stmt);
SQLPOOL_API size_t sqlpool_stmt_column_count(const struct sqlpool_stmt *stmt);

/* Run a prepared statement, as sqlpool_exec and sqlpool_query do. */
SQLPOOL_API SQLPOOL_MUST_CHECK int sqlpool_stmt_exec(struct sqlpool_stmt *stmt,
    const struct sqlpool_value *values, size_t values_n);
SQLPOOL_API SQLPOOL_MUST_CHECK int sqlpool_stmt_query(struct sqlpool_stmt *stmt,
    const struct sqlpool_value *values, size_t values_n,
    struct sqlpool_result **ret_result);

/* ---- Transactions ------------------------------------------------------- */

enum sqlpool_tx_mode {
	SQLPOOL_TX_DEFERRED = 0,  /* takes what its first statement needs */
	SQLPOOL_TX_IMMEDIATE = 1, /* waits for the writer at once */
	SQLPOOL_TX_EXCLUSIVE = 2, /* the same here */
	SQLPOOL_TX_READ = 3,      /* one snapshot, writes are refused */
};

/* Begin a transaction.  The daemon takes nothing before the first statement.
 *
 * Errors: SQLPOOL_ERR_TX_ACTIVE (one is open), those of the connection. */
SQLPOOL_API SQLPOOL_MUST_CHECK int
sqlpool_begin(struct sqlpool_conn *conn, enum sqlpool_tx_mode mode);

/* Commit it.
 *
 * Errors: SQLPOOL_ERR_TX_NONE; SQLPOOL_ERR_TX_EXPIRED (the daemon has rolled it
 * back, the message says why; no transaction is open any more); 787
 * (SQLITE_CONSTRAINT_FOREIGNKEY: it stays open, as in SQLite);
 * SQLPOOL_ERR_COMMIT_UNKNOWN; those of the connection. */
SQLPOOL_API SQLPOOL_MUST_CHECK int sqlpool_commit(struct sqlpool_conn *conn);

/* Roll it back.
 *
 * Errors: SQLPOOL_ERR_TX_NONE, those of the connection. */
SQLPOOL_API SQLPOOL_MUST_CHECK int sqlpool_rollback(struct sqlpool_conn *conn);

/* Say whether a transaction is open, as the last reply had it: no round trip.
 * One that the daemon has ended counts as open until it is rolled back. */
SQLPOOL_API bool sqlpool_in_transaction(const struct sqlpool_conn *conn);

/* ---- Requests apart from a connection ----------------------------------- */

/* Make an empty request: a list of steps, to be sent any number of times.
 * NULL when memory ran out. */
SQLPOOL_API struct sqlpool_request *sqlpool_request_new(void);

/* Free a request; what was sent of it goes on. */
SQLPOOL_API void sqlpool_request_free(struct sqlpool_request *request);

/* Add a step: one statement with its values (see sqlpool_exec).  Returns the
 * step's index, from 0.
 *
 * sql: NULL for the statement of the step before, which is sent once then: a
 * statement with its first values and then any number of others, run by
 * sqlpool_run_atomic, is many rows in one request.  There may be 10000 steps.
 * Errors: SQLPOOL_ERR_MISUSE, SQLPOOL_ERR_NO_MEMORY. */
SQLPOOL_API SQLPOOL_MUST_CHECK int
sqlpool_request_add(struct sqlpool_request *request, const char *sql,
    const struct sqlpool_value *values, size_t values_n);

/* Add a step that runs a prepared statement.  The request can then be sent on
 * that statement's connection only, while it is not freed. */
SQLPOOL_API SQLPOOL_MUST_CHECK int sqlpool_request_add_stmt(
    struct sqlpool_request *request, const struct sqlpool_stmt *stmt,
    const struct sqlpool_value *values, size_t values_n);

enum sqlpool_condition_kind {
	SQLPOOL_IF_OK = 0,    /* step ran and succeeded */
	SQLPOOL_IF_ERROR = 1, /* step ran and failed */
	SQLPOOL_IF_NOT = 2,   /* of[0] is false */
	SQLPOOL_IF_AND = 3,   /* all of `of` are true */
	SQLPOOL_IF_OR = 4,    /* one of `of` is true */
};

/* When a step of an atomic request runs.  Both OK and ERROR are false for a
 * step that was skipped.  A step that an OK or ERROR names may fail: only its
 * own changes are undone, and the request goes on. */
struct sqlpool_condition {
	enum sqlpool_condition_kind kind;
	size_t step;                        /* OK, ERROR: an earlier step */
	const struct sqlpool_condition *of; /* NOT, AND, OR */
	size_t of_n;
};

/* Run the step that was added last only if the condition holds.  Copied.
 *
 * Errors: SQLPOOL_ERR_MISUSE (no step yet, a step that is not earlier, nested
 * deeper than 4), SQLPOOL_ERR_NO_MEMORY. */
SQLPOOL_API SQLPOOL_MUST_CHECK int sqlpool_request_set_condition(
    struct sqlpool_request *request, const struct sqlpool_condition *condition);

enum sqlpool_request_option {
	SQLPOOL_TIMEOUT_MS = 1, /* instead of the connection's; 0: that */
	SQLPOOL_MAX_ROWS = 2,  /* stop after so many rows; 0: all; not atomic */
	SQLPOOL_READ_ONLY = 3, /* 1: refuse what would write, SQLITE_READONLY */
	SQLPOOL_IDEMPOTENT = 4, /* 1: may be applied twice, so send it again
				 * when the connection was lost */
};

/* Set an option of a request.
 *
 * Errors: SQLPOOL_ERR_MISUSE (unknown option, value out of range). */
SQLPOOL_API SQLPOOL_MUST_CHECK int
sqlpool_request_set_option(struct sqlpool_request *request,
    enum sqlpool_request_option option, uint64_t value);

/* Run a request of one step and wait for the beginning of its result.
 *
 * Errors: as sqlpool_exec; SQLPOOL_ERR_MISUSE when it has not exactly one
 * step, or a condition. */
SQLPOOL_API SQLPOOL_MUST_CHECK int sqlpool_run(struct sqlpool_conn *conn,
    const struct sqlpool_request *request, struct sqlpool_result **ret_result);

/* Run all steps of a request as one transaction, in one round trip.
 *
 * The result stands on the first step; sqlpool_next_result goes to the next.
 * Errors: as sqlpool_exec; when a step fails whose outcome no condition tests,
 * that step's error, with its index in sqlpool_error.step, and nothing of the
 * request is applied. */
SQLPOOL_API SQLPOOL_MUST_CHECK int sqlpool_run_atomic(struct sqlpool_conn *conn,
    const struct sqlpool_request *request, struct sqlpool_result **ret_result);

/* ---- Pipelining --------------------------------------------------------- */

/* Send a request without waiting for its result (see the opening).
 *
 * Requests are executed in the order in which they were sent as far as it can
 * matter: in a transaction, and for a read after a write.  The bytes may wait
 * here until 16 KiB are there or until a call waits or processes.  When 8 MiB
 * wait here, sending waits until some of it is gone; on a connection of
 * sqlpool_open_start it fails at once.
 *
 * Errors: SQLPOOL_ERR_MISUSE (as sqlpool_run), SQLPOOL_ERR_FRAME_TOO_LONG,
 * SQLPOOL_ERR_TOO_MANY_REQUESTS (8 MiB wait, and none went in the time of a
 * request: take results first), SQLPOOL_ERR_NO_MEMORY, SQLPOOL_ERR_CONNECTION_LOST
 * (a transaction was); then nothing was sent. */
SQLPOOL_API SQLPOOL_MUST_CHECK int sqlpool_send(struct sqlpool_conn *conn,
    const struct sqlpool_request *request, struct sqlpool_result **ret_result);
SQLPOOL_API SQLPOOL_MUST_CHECK int
sqlpool_send_atomic(struct sqlpool_conn *conn,
    const struct sqlpool_request *request, struct sqlpool_result **ret_result);

/* Send a prepared statement with its values without waiting for its result.
 *
 * Errors: as sqlpool_send. */
SQLPOOL_API SQLPOOL_MUST_CHECK int sqlpool_stmt_send(struct sqlpool_stmt *stmt,
    const struct sqlpool_value *values, size_t values_n,
    struct sqlpool_result **ret_result);

/* What is called when a result can be read, further than before or to its end. */
typedef void sqlpool_callback(struct sqlpool_result *result, void *arg);

/* Have a result that was sent call back.
 *
 * From now on sqlpool_next and sqlpool_next_result do not wait for it, but return
 * SQLPOOL_AGAIN; its deadline counts from now.  The callback is called by
 * sqlpool_process, and by sqlpool_close, and by nothing else.  It reads until
 * SQLPOOL_AGAIN, and is called again then, or until SQLPOOL_DONE or an error.
 * It may do anything with the connection but close or process it.
 *
 * Errors: SQLPOOL_ERR_MISUSE (NULL, or the connection was closed). */
SQLPOOL_API SQLPOOL_MUST_CHECK int sqlpool_set_callback(
    struct sqlpool_result *result, sqlpool_callback *callback, void *arg);

/* Write what waits to be written, take what has arrived, connect when it is time,
 * end what is too late, and call the callbacks that are due.  Never blocks.
 *
 * Errors: what the connection has ended with, for good. */
SQLPOOL_API SQLPOOL_MUST_CHECK int sqlpool_process(struct sqlpool_conn *conn);

/* Give what to poll(2) for before sqlpool_process has something to do.
 *
 * *ret_fd is the connection's, only to be polled; -1: there is none now.
 * *ret_events is POLLIN, and POLLOUT while something waits to be written.
 * *ret_timeout_ms is after how long to process in any case; -1: never.  Ask
 * again after anything was done with the connection.  When the connection is
 * lost the descriptor stays open until another one was told, or -1, so that it
 * can be taken out of an event loop first.
 * Errors: as sqlpool_process. */
SQLPOOL_API SQLPOOL_MUST_CHECK int
sqlpool_get_pollinfo(struct sqlpool_conn *conn, int *ret_fd, short *ret_events,
    int *ret_timeout_ms);

/* Say whether the next sqlpool_wait, sqlpool_next or sqlpool_next_result returns
 * without waiting; true for NULL. */
SQLPOOL_API bool sqlpool_result_is_ready(const struct sqlpool_result *result);

/* Wait until the beginning of the result is there, or its error.
 *
 * Errors: the request's, as sqlpool_exec. */
SQLPOOL_API SQLPOOL_MUST_CHECK int sqlpool_wait(struct sqlpool_result *result);

/* Ask the daemon to stop a request.  Does not wait: the result then ends with
 * SQLPOOL_ERR_CANCELLED, or as if nothing had been asked when it was too late.
 *
 * Errors: those of the connection. */
SQLPOOL_API SQLPOOL_MUST_CHECK int
sqlpool_cancel(struct sqlpool_result *result);

/* ---- Results ------------------------------------------------------------ */

/* Step to the next row.
 *
 * Returns SQLPOOL_ROW, or SQLPOOL_DONE after the last one, then and later; or
 * SQLPOOL_AGAIN, of one with a callback.
 * Errors: the statement's, as sqlpool_exec; rows that came before an error are
 * void.  A connection error here closes nothing else. */
SQLPOOL_API SQLPOOL_MUST_CHECK int sqlpool_next(struct sqlpool_result *result);

/* Go to the next step's result of an atomic request; unread rows are dropped.
 *
 * Returns SQLPOOL_ROW when there is one, SQLPOOL_DONE after the last (or
 * SQLPOOL_AGAIN, as sqlpool_next).  Errors:
 * as sqlpool_wait.  A step that failed is no error here but in sqlpool_next
 * and sqlpool_result_error. */
SQLPOOL_API SQLPOOL_MUST_CHECK int
sqlpool_next_result(struct sqlpool_result *result);

/* Free a result.  One that is still running is cancelled.  Does not wait. */
SQLPOOL_API void sqlpool_result_free(struct sqlpool_result *result);

/* Give the error that the request, or the step the result stands on, ended
 * with; code 0 when there is none (yet).  Never NULL; the result's. */
SQLPOOL_API const struct sqlpool_error *
sqlpool_result_error(const struct sqlpool_result *result);

/* Give what the request, or the step, did; behind the last step, what all of them
 * did together.  Complete after SQLPOOL_DONE.  NULL when result is NULL; the
 * result's. */
SQLPOOL_API const struct sqlpool_summary *
sqlpool_result_summary(const struct sqlpool_result *result);

/* Columns count from 0.  Before the beginning of the result has arrived (see
 * sqlpool_wait) there are none.  A column that does not exist is named NULL and
 * holds NULL. */
SQLPOOL_API size_t sqlpool_column_count(const struct sqlpool_result *result);

/* Give a column's name or declared type, NUL-terminated, living as long as the
 * result stands on this step.  The declared type is NULL for an expression,
 * and always unless options.decltypes was set. */
SQLPOOL_API const char *
sqlpool_column_name(struct sqlpool_result *result, size_t column);
SQLPOOL_API const char *
sqlpool_column_decltype(struct sqlpool_result *result, size_t column);

/* Find a column by name, exactly.  Returns its number, or -1. */
SQLPOOL_API int
sqlpool_column_index(struct sqlpool_result *result, const char *name);

/* Values of the current row, converted as SQLite's sqlite3_column_* functions
 * do (https://sqlite.org/c3ref/column_blob.html).  Without a row, and for NULL:
 * SQLPOOL_TYPE_NULL, 0, 0.0, NULL.  Conversion does not change the type. */
SQLPOOL_API enum sqlpool_type
sqlpool_column_type(const struct sqlpool_result *result, size_t column);
SQLPOOL_API int64_t sqlpool_column_int64(
    const struct sqlpool_result *result, size_t column);
SQLPOOL_API double
sqlpool_column_double(const struct sqlpool_result *result, size_t column);

/* Give TEXT, NUL-terminated (it may hold NULs, and bytes that are not UTF-8, if
 * the database does), or the bytes of a BLOB.  *ret_n, unless ret_n is NULL, is
 * their number without the terminator.  NULL also when memory ran out for a
 * number's text. */
SQLPOOL_API const char *sqlpool_column_text(
    struct sqlpool_result *result, size_t column, size_t *ret_n);
SQLPOOL_API const void *sqlpool_column_blob(
    struct sqlpool_result *result, size_t column, size_t *ret_n);

#ifdef __cplusplus
}
#endif

#endif
