/* live.h - a daemon that really runs, for tests.
 *
 * It lives in a temporary directory of its own, with its socket, its database
 * and what it writes to standard error.  It is killed when the test's process
 * ends, whichever way.  What fails here ends the test: proc.h.
 *
 * Thread: the main thread, unless it says "any thread".
 */
#ifndef TESTS_LIB_LIVE_H
#define TESTS_LIB_LIVE_H

#include "client/sqlpool.h"
#include "tests/lib/proc.h"

#define LIVE_PATH_MAX 108 /* as sun_path: unix(7) */
#define LIVE_LINE_MAX 1024

struct live {
	char dir[LIVE_PATH_MAX];         /* holds everything below */
	char socket_path[LIVE_PATH_MAX]; /* dir/s */
	char db_path[LIVE_PATH_MAX];     /* dir/app.db, served as "app" */
	char log_path[LIVE_PATH_MAX];    /* dir/log: its standard error, of all
					  * its starts */
	void (*before_exec)(void); /* called in its process; may be NULL */
	pid_t pid;                 /* 0: it does not run */
	int out_fd;                /* its standard output */
	char ready[LIVE_LINE_MAX]; /* the line it printed when ready */
};

/* Values for -o. */
#define LIVE_OPTIONS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* Make its directory; nothing runs yet.  Calls proc_init. */
void live_init(struct live *d);

/* Kill it if it runs, remove its directory.  Fails when a sanitizer had
 * something to say. */
void live_fini(struct live *d);

/* Run the program with these arguments, NULL at the end; its own name is not
 * among them. */
void live_launch(struct live *d, const char *const *args);

/* Run it on its socket and database with these options (NULL: none) and wait
 * until it is ready.  Without a limit of transactions among them, the one that is
 * idle while others wait has a minute; without a request_timeout, it is the 30 s
 * that a daemon has by itself times the machine's slowness. */
void live_start(struct live *d, const char *const *options);

/* Wait for a launched one to be ready. */
void live_wait_ready(struct live *d);

/* Wait until it has ended by itself: proc_wait_exit. */
int live_wait_exit(struct live *d, int64_t timeout_ms);

/* Stop it with SIGTERM; it must end soon, with status 0. */
void live_stop(struct live *d);

/* Stop it with SIGKILL. */
void live_kill(struct live *d);

/* Give what it wrote to standard error; the caller frees it. */
char *live_read_log(const struct live *d);

/* --- Asking it ------------------------------------------------------------ */

/* Open a connection.  Any thread. */
struct sqlpool_conn *live_connect(const struct live *d, const char *app_name);

/* The same, of one that stays lost when it is lost.  Any thread. */
struct sqlpool_conn *
live_connect_once(const struct live *d, const char *app_name);

/* The same, to @admin. */
struct sqlpool_conn *live_connect_admin(const struct live *d);

/* Give what a query gives as text: a line for each row, values between '|', NULL as
 * nothing; or "name: message" of the error.  columns: which ones, by name, e.g. "pid
 * state"; NULL: all.  The caller frees it.  Any thread. */
char *live_ask(struct sqlpool_conn *conn, const char *sql, const char *columns);

/* Expect that text: whole, or somewhere in it. */
void live_expect_text(struct sqlpool_conn *conn, const char *sql,
    const char *columns, const char *want);
void live_expect_part(struct sqlpool_conn *conn, const char *sql,
    const char *columns, const char *part);

/* Run a statement that must succeed; live_get_int gives the first value of its
 * first row.  Any thread. */
void live_exec(struct sqlpool_conn *conn, const char *sql);
int64_t live_get_int(struct sqlpool_conn *conn, const char *sql);

/* Give a counter of SHOW STATS, or how many requests wait for the writer, from
 * a connection of its own.  Any thread. */
int64_t live_get_stat(const struct live *d, const char *name);
int64_t live_get_queue(const struct live *d);

/* Wait until n requests wait for the writer.  Any thread. */
void live_wait_queue(const struct live *d, int64_t n);

/* Count its descriptors of files whose paths end like this. */
int live_count_fds(const struct live *d, const char *end);

/* Give its resident memory in KiB.  Any thread. */
long live_get_rss_kb(const struct live *d);

/* Wait until the threads of this name ("writers", "readers") have used the
 * processor for a while: what runs there runs long.  Any thread. */
void live_wait_busy(const struct live *d, const char *thread_name);

/* --- The file, without the daemon ----------------------------------------- */

/* Give an integer that plain SQLite finds in a database file. */
int64_t live_read_file_int(const char *path, const char *sql);

/* Fail unless PRAGMA integrity_check of plain SQLite says ok. */
void live_check_file(const char *path);

#endif
