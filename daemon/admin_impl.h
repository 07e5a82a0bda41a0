/* admin_impl.h - what the files of @admin share: the table of commands, and a
 * command that runs. */
#ifndef DAEMON_ADMIN_IMPL_H
#define DAEMON_ADMIN_IMPL_H

#include "daemon/admin.h"
#include "daemon/admin_words.h"
#include "daemon/again.h"

#define ADMIN_COLUMNS_MAX 16
#define ADMIN_SUMS_N      4

/* Who may run it. */
enum admin_right { ADMIN_SEES, ADMIN_ACTS };

/* A command that was sent.  While it travels it belongs to the worker it has
 * arrived at. */
struct admin {
	struct errand errand; /* first: on its way it is this */
	const struct admin_command *command;
	struct loop *home;
	struct client *client; /* home's */
	struct request *r;
	unsigned stop_n;               /* the next worker to visit */
	char words[ADMIN_WORDS_BYTES]; /* with single spaces */
	const char *args; /* what follows the command's own words */
	uint64_t target, target_request; /* KILL, CANCEL */
	bool found;
	bool waits;        /* it comes home by itself */
	struct db *db;     /* referenced; or NULL */
	enum db_will will; /* what it is to do: PAUSE and its like */
	struct db_watch watch;
	struct again again;
	struct buf rows;             /* encoded, one after the other */
	uint64_t sums[ADMIN_SUMS_N]; /* over all workers, for end */
	struct seen *seen;           /* uthash: SHOW POOLS */
	struct writer_ask ask;       /* CHECKPOINT */
};

/* One command.  run, if there is one, works at home; then visit, if there is one,
 * works on each worker; then end, if there is one, at home again.  Each may put
 * rows, or set r->failure. */
struct admin_command {
	const char *words; /* in capitals */
	const char *args;  /* what follows them, for SHOW HELP; NULL: nothing */
	enum admin_right right;
	const char *columns[ADMIN_COLUMNS_MAX];
	void (*run)(struct admin *ad);
	void (*visit)(struct admin *ad, struct loop *loop);
	void (*end)(struct admin *ad);
	const char *text;
};

/* The commands, by group; behind each group's last is one without words. */
extern const struct admin_command admin_about_commands[];
extern const struct admin_command admin_stats_commands[];
extern const struct admin_command admin_costs_commands[];
extern const struct admin_command admin_room_commands[];
extern const struct admin_command admin_set_commands[];
extern const struct admin_command admin_dbs_commands[];
extern const struct admin_command admin_clients_commands[];
extern const struct admin_command admin_acts_commands[];

/* Give the command behind one, or the first for NULL; NULL after the last. */
const struct admin_command *admin_next(const struct admin_command *command);

/* Log who had what done. */
void admin_note(const struct admin *ad);

/* Have rows put for each database that is open. */
void admin_each_open(
    struct admin *ad, void (*put)(struct admin *ad, const struct db *db));

/* Say whether a request of this worker's clients waits: on the worker, behind its
 * client's own or until the file is open, or in the line of a writer or of readers. */
bool admin_is_waiting(const struct request *r);

/* Free ad->seen. */
void admin_forget_seen(struct admin *ad);

/* Put a row of SHOW WAL.  Whoever holds the database. */
void admin_put_wal(struct admin *ad, const struct db *db);

/* Let it come home when errand is sent; run only.  Before that. */
void admin_wait(struct admin *ad);

/* Begin a row of as many values as the command has columns; then put them. */
void admin_put_row(struct admin *ad);
void admin_put_str(struct admin *ad, const char *text); /* NULL: NULL */
void admin_put_uint(struct admin *ad, uint64_t v);
void
admin_put_real(struct admin *ad, double v); /* to three decimals, or digits */
void admin_put_null(struct admin *ad);

/* Put the beginning of SQL, on one line, at most so many bytes of it; NULL when
 * there is none. */
#define ADMIN_SQL_BYTES 200 /* where there is a line for each request */
void admin_put_sql(struct admin *ad, struct span sql, size_t most);

/* Put how many milliseconds ago something was; NULL for 0. */
void admin_put_since(struct admin *ad, int64_t since_us, int64_t now_us);

#endif
