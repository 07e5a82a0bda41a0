/* health.h - what keeps a WAL large, in words.
 *
 * Two parts: a log in which whoever checkpoints and commits notes what a later
 * look cannot see, and a pure function from the facts of one moment to a
 * diagnosis.  Who collects the facts is watch.h.
 *
 * Two illnesses are told apart first (facts.md 1.2).  PINNED: what is written is
 * not copied, as somebody reads from before it, or as it cannot be copied.  NEVER
 * RESET: nearly all is copied, but no moment came without a reader in the log.
 * The size of the file proves neither: it is a high-water mark.
 */
#ifndef DAEMON_HEALTH_H
#define DAEMON_HEALTH_H

#include <pthread.h>

#include "daemon/reader.h"
#include "daemon/wal.h"

#define HEALTH_TEXT_BYTES  640
#define HEALTH_ERROR_BYTES 160

enum health_illness {
	HEALTH_WELL,
	HEALTH_PINNED,
	HEALTH_NEVER_RESET,
};

enum health_cause {
	HEALTH_NONE,
	HEALTH_ALARM,          /* writes were stopped: gate.c */
	HEALTH_FAILING,        /* checkpoints fail: disk full, I/O */
	HEALTH_LONG_TX,        /* a read transaction */
	HEALTH_LONG_READ,      /* a statement that runs */
	HEALTH_SLOW_CONSUMER,  /* a result that its client does not fetch */
	HEALTH_BACKUP,         /* a backup runs */
	HEALTH_OUTSIDE_READER, /* access = shared: another process */
	HEALTH_HUGE_TX,        /* one transaction has written most of it */
	HEALTH_SLOW_DISK,      /* more is written than can be copied */
	HEALTH_OVERLAP,        /* reads that overlap without a gap */
	HEALTH_EXTERNAL,       /* checkpoint = external, and nobody does it */
	HEALTH_CAUSES_N,
};

/* A transaction that has added much to the log at once. */
struct health_tx {
	int64_t bytes; /* 0: none */
	bool open;     /* it has not ended yet */
	struct owner owner;
	char sql[TX_SQL_BYTES]; /* cut; NUL-terminated */
};

/* How checkpoints went. */
struct health_checkpoints {
	uint64_t complete_n; /* all frames that there were are copied */
	uint64_t partial_n;  /* a reader was in the way */
	uint64_t failed_n;
	uint64_t given_up_n;            /* the gate waited in vain */
	bool complete;                  /* the last one was */
	int64_t failing_us;             /* since when they fail; 0: not */
	char error[HEALTH_ERROR_BYTES]; /* why */
	int64_t reset_us;               /* the log began anew; 0: never */
	const char *alarm;              /* constant text, or NULL */
};

/* What happened.  Any thread notes, any thread reads. */
struct health_log {
	pthread_mutex_t lock; /* for what follows */
	struct health_checkpoints checkpoints;
	struct health_tx largest; /* since the log began anew */
};

void health_log_init(struct health_log *log);
void health_log_fini(struct health_log *log);

/* A checkpoint ended: with rc 0, and how much of how much it copied; or
 * negative, with f. */
void health_note_checkpoint(struct health_log *log, int rc,
    const struct wal_copied *copied, const struct failure *f);

/* The gate waited for readers in vain. */
void health_note_given_up(struct health_log *log);

/* The log began anew. */
void health_note_reset(struct health_log *log);

/* What r, or its transaction, has committed has added so much. */
void health_note_commit(
    struct health_log *log, int64_t bytes, const struct request *r);

/* Nothing is written any more: text says why and lives as long as the log. */
void health_note_alarm(struct health_log *log, const char *text);

/* Say whether checkpoints fail, or nothing is written any more. */
bool health_is_failing(struct health_log *log);

/* All that is known at one moment.  Bytes of the log are those of its frames. */
struct health_facts {
	int64_t now_us;
	int64_t limit_bytes;
	bool external;     /* checkpoint = external */
	int64_t wal_bytes; /* frames in use */
	int64_t copied_bytes;
	int64_t pending_bytes; /* not copied yet */
	int64_t file_bytes;    /* of the -wal file */
	uint32_t frames, copied;
	int64_t over_us;   /* since when it is over its limit; 0: it is not */
	int64_t written_s; /* bytes in the last second */
	int64_t copied_s;
	struct health_checkpoints checkpoints;
	struct health_tx tx;
	size_t snapshots_n;
	struct snapshot oldest; /* if there is one */
	pid_t outside_pid;      /* who reads; 0: nobody, -1: not known who */
};

struct diagnosis {
	enum health_illness illness;
	enum health_cause cause;
	pid_t pid; /* of who is to blame, or 0 */
	char text[HEALTH_TEXT_BYTES];
};

/* A snapshot that is this old is no short read. */
#define HEALTH_LONG_US 300000

/* Say what keeps the log large.  Pure. */
void health_judge(const struct health_facts *f, struct diagnosis *ret);

/* Give short names, for metrics: "pinned", "long_transaction". */
const char *health_get_illness(enum health_illness illness);
const char *health_get_cause(enum health_cause cause);

#endif
