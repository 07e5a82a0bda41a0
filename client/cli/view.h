/* view.h - the daemon's figures, as -top and -stat show them: what @admin says, and
 * what it grew by since it said so last.
 *
 * One thread.
 */
#ifndef CLIENT_CLI_VIEW_H
#define CLIENT_CLI_VIEW_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <sqlpool.h>

#define VIEW_BUCKETS 18
#define VIEW_TEXT    40

enum view_what { VIEW_WAIT, VIEW_RUN, VIEW_WHATS_N };
enum view_road { VIEW_INLINE, VIEW_READER, VIEW_WRITER, VIEW_ROADS_N };

/* What only grows. */
struct view_counts {
	int64_t at_us;
	int64_t reads, long_reads, writes, commits, errors;
	uint64_t n[VIEW_WHATS_N][VIEW_ROADS_N][VIEW_BUCKETS];
};

struct view_db {
	char name[VIEW_TEXT], writer[VIEW_TEXT], wal[VIEW_TEXT];
	int64_t queue, oldest_ms, held_ms; /* -1: nobody */
	int64_t readers_busy, reader_queue, snapshot_ms;
	int64_t wal_bytes, pending_bytes;
};

struct view_client {
	int64_t number, pid, request, requests, for_ms, bytes; /* -1: none */
	char app[VIEW_TEXT], database[VIEW_TEXT], state[VIEW_TEXT];
	char statement[256];
};

struct view {
	struct view_counts now, before;
	bool has_before;
	int64_t uptime_s, clients_n, draining;
	struct view_db *dbs;         /* owned */
	struct view_client *clients; /* owned; those at @admin are left out */
	size_t dbs_n, list_n;
};

/* Ask for all of it.  0, or the library's error, which is on the connection. */
int view_read(struct view *v, struct sqlpool_conn *conn, bool with_clients);
void view_fini(struct view *v);

/* Run a command of @admin, and have its rows taken.  0, or the library's error. */
int view_ask(struct sqlpool_conn *conn, const char *command,
    void (*take)(void *arg, struct sqlpool_result *row), void *arg);

/* Give a value of a row by its column's name: -1 for NULL; as text that a terminal
 * may get, cut to n. */
int64_t view_get_int(struct sqlpool_result *row, const char *column);
double view_get_real(struct sqlpool_result *row, const char *column);
void view_get_text(
    struct sqlpool_result *row, const char *column, char *to, size_t n);

/* How much of a counter there was per second since the last time. */
double view_rate(const struct view *v, int64_t now, int64_t before);

/* A time, in ms, that the share q of what came since the last time did not exceed;
 * 0: nothing came. */
double view_quantile(
    const struct view *v, enum view_what what, enum view_road road, double q);

#endif
