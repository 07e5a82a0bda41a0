/* writer_impl.h - what writer.c, group.c, script.c and lease.c share. */
#ifndef DAEMON_WRITER_IMPL_H
#define DAEMON_WRITER_IMPL_H

#include <pthread.h>

#include "daemon/turns.h"
#include "daemon/writer.h"

/* One request of a group. */
struct member {
	struct request *r;
	struct exec exec;
	bool
	    moved; /* total_changes() moved: it changed something for a while */
	bool undo; /* it failed and may have left something behind */
	bool
	    dropped; /* it failed and is not run again: it was stopped before it ran,
		       * or ran for too long */
	bool locked; /* a lock of another process kept it from running */
	int64_t rowid, vars_changes, total; /* its session's, before */
};

/* Who holds the lease, as those who wait are told. */
struct holder {
	bool any;
	struct owner owner;
	int64_t held_us;
	char sql[TX_SQL_BYTES];
};

/* A SCRIPT that runs (script.c). */
struct script {
	struct writer *w;
	struct member *m;
	struct request *r; /* NULL: none runs */
	size_t read_n;     /* bytes of the text that are behind it */
	size_t at;         /* where its statement begins, */
	uint64_t step;     /* and the number of that: so many have run */
	int64_t end_us;    /* when it is over tx_max_age */
	size_t tx_at;      /* likewise of the statement that began the */
	uint64_t tx_step;  /* transaction which is open */
};

struct writer {
	struct squeue q; /* first: the queue is the writer */
	const struct conf *conf;
	const struct conf_db *db_conf;
	struct readers *readers;
	struct keeper *keeper;
	_Atomic uint64_t seq;
	_Atomic bool gone;      /* its file: what is written would be lost */
	_Atomic bool has_lease; /* for the tick and the reaper */
	_Atomic(struct writer_ask *) asks; /* changed under the lock */
	_Atomic int64_t chore_us;          /* when chores are due; 0: never */
	_Atomic int chore_stop;            /* not 0: somebody waits */
	_Atomic int64_t longest_bytes;     /* that the log has had */
	_Atomic int lost;       /* enum writer_file: which was removed */
	_Atomic bool in_turn;   /* it runs members of the line */
	_Atomic bool held_back; /* the WAL is too large: a turn for each tick */
	_Atomic bool ticked;
	_Atomic size_t running_at;  /* which of the members runs */
	_Atomic int64_t running_us; /* since when */
	_Atomic int64_t
	    committed_us;          /* the last commit; 0: the WAL is copied */
	_Atomic int64_t locked_us; /* since when another process has the lock;
				    * 0: as far as we know none has it */

	pthread_mutex_t lock; /* for what follows */
	struct turns turns;
	struct line inbox; /* of the lease's transaction */
	struct holder holder;
	struct request **running; /* the members that run */
	size_t running_n;         /* and are not answered */
	bool in_chore;

	/* whoever runs it */
	struct dbconn *conn;
	struct member *members;  /* group_max of them */
	struct tx *lease;        /* referenced; NULL: none */
	struct request *current; /* of the lease: its client's window is full */
	struct exec exec;        /* its state */
	int64_t commit_us; /* when the COMMIT that runs began; 0: none does */
	struct script script; /* that waits for a lock */
	bool in_step; /* a savepoint is open around the lease's statement */
	int64_t copied_bytes;  /* of the WAL at the last checkpoint; 0: it began
			       * anew since */
	uint32_t generation;   /* of the WAL, when copied_bytes was set */
	int64_t chore_changes; /* total_changes() when it was analyzed last */
	uint32_t frames;       /* in the WAL after the last commit */
	int64_t job_us;        /* when the keeper was started last */
	bool is_asked;         /* it copies for some of asks */
	int64_t
	    gate_end_us; /* it waits for readers until then; 0: it does not */
	int64_t over_us; /* since when the WAL is over its hard limit; 0: not */
	int64_t
	    hold_end_us; /* it waits for the keeper until then; 0: it does not */
	int64_t gate_us;    /* when it may wait again */
	int64_t rest_times; /* how long it rests, in waits; 0: not at all */
	bool moved;   /* another file stands at its path: writer_has_moved */
	bool suspect; /* it looked as if the WAL contradicted itself */
	const char *alarm; /* why nothing is written any more; or NULL */
	bool is_stuck;     /* in a transaction that is to be undone */
	int64_t try_us;    /* when to try the lock again, */
	int64_t pause_us;  /* so long after the last time */
};

/* A log that has not grown for so long is copied, however small. */
#define GATE_IDLE_US 1000000

/* Look at the WAL: start the keeper, or copy what it left (gate.c). */
void gate_run(struct writer *w);

/* Say that what is copied from now on is for all who have asked; send those home,
 * when it is copied; send all home (asks.c). */
void asks_begin(struct writer *w);
void asks_answer_begun(struct writer *w);
void asks_answer(struct writer *w);

/* Plan chores; say whether they are due; do them, if nobody waits (chores.c). */
void chores_open(struct writer *w);
bool chores_are_due(const struct writer *w);
void chores_run(struct writer *w);

/* Say at start what is risked, if anything (gate.c). */
void gate_open(const struct writer *w);

/* See whether the WAL has begun anew (gate.c). */
void gate_look_for_restart(struct writer *w);

/* Say whether there is no turn now: the gate waits for readers, or the WAL is so
 * large that the next tick comes first. */
bool gate_holds(struct writer *w);

/* Run n members in one transaction and answer them (group.c). */
void group_run(struct writer *w, size_t n);

/* Run one request by itself and answer it (group.c). */
void group_run_alone(struct writer *w, struct request *r);

/* Remember the variables of a member's session, and put them back; answer it
 * (group.c). */
void group_save_vars(struct member *m);
void group_restore_vars(const struct member *m);
void group_answer(struct writer *w, struct member *m);

/* Run a SCRIPT and answer it, unless a lock of another process stops it: then it
 * stays in w->script, for script_go_on to try again (script.c). */
void script_run(struct writer *w, struct request *r);
void script_go_on(struct writer *w);

/* Give the lease to r's transaction and run r in it (lease.c). */
void lease_start(struct writer *w, struct request *r);

/* Run what the lease's transaction sent, and look at its limits.  The lease may
 * have ended afterwards: w->lease. */
void lease_run(struct writer *w);

/* Note who holds the lease, and with what, for those who wait. */
void writer_note_holder(struct writer *w);

/* Take the next request of the lease's transaction, or NULL. */
struct request *writer_take_inbox(struct writer *w);

/* Note that a member runs now; that they are being answered, so that nobody may
 * look at them any more. */
void
writer_note_running(struct writer *w, const struct member *m, int64_t now_us);
void writer_note_answering(struct writer *w);

/* Put the members from a place on back in front of the line, in their order. */
void writer_return(struct writer *w, size_t from, size_t n);

/* --- A lock outside (outside.c) --- */

/* What other processes have committed is not to be counted as ours: before a
 * transaction that writes. */
void writer_forget_others(struct writer *w);

/* Begin a transaction that writes.  -ERR_EXTERNAL_BUSY: another process has the
 * lock; go on with writer_lock_out. */
int writer_begin(struct writer *w, struct failure *f);

/* Say whether a request has waited for the lock of another process for as long as
 * it may: busy_wait, since it came or, if that was later, since the lock is held. */
bool writer_is_overdue(struct writer *w, const struct request *r);

/* Another process has the lock: try again in a while, and fail what has waited
 * for it for busy_wait.  The members from a place on, of which nothing is left,
 * wait in the line again. */
void writer_lock_out(struct writer *w, size_t from, size_t n);

/* Say whether it is too early to try the lock again. */
bool writer_is_locked_out(struct writer *w);

/* Say in what state a request that could not run leaves its transaction. */
void writer_set_tx_state(struct request *r);

/* Say whether anybody waits in the line. */
bool writer_is_wanted(struct writer *w);

/* End the open transaction, if there is one.  ROLLBACK has to be prepared anew
 * when the one before it took back a change of the schema; when there is no memory
 * for that the transaction stays, nobody may run in it, and the next turn tries
 * again. */
void writer_roll_back(struct writer *w);

/* Count a commit of r, or of a group with r, or of the daemon's own (NULL); returns its number, 0 when it changed
 * nothing. */
uint64_t writer_count_commit(struct writer *w, const struct request *r);

#endif
