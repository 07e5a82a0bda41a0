/* health.c - facts about a WAL into a diagnosis. */
#include "daemon/health.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/clock.h"
#include "proto/error.h"

/* A log over its limit is judged for what nobody can be named for after so long,
 * or when it is twice as large: the gate needs a moment. */
#define PATIENCE_US 3000000

/* --- What is noted ----------------------------------------------------------- */

void
health_log_init(struct health_log *log)
{
	*log = (struct health_log){ 0 };
	pthread_mutex_init(&log->lock, NULL);
}

void
health_log_fini(struct health_log *log)
{
	pthread_mutex_destroy(&log->lock);
}

void
health_note_checkpoint(struct health_log *log, int rc,
    const struct wal_copied *copied, const struct failure *f)
{
	struct health_checkpoints *c = &log->checkpoints;

	pthread_mutex_lock(&log->lock);
	c->complete = rc == 0 && copied->copied >= copied->frames;
	c->complete_n += c->complete;
	c->partial_n += rc == 0 && !c->complete;
	c->failed_n += rc < 0;
	if (rc < 0) {
		if (!c->failing_us)
			c->failing_us = clock_now_us();
		snprintf(c->error, sizeof(c->error), "%s",
		    f->text ? f->text : error_get_name(-rc));
	} else {
		c->failing_us = 0;
	}
	pthread_mutex_unlock(&log->lock);
}

void
health_note_given_up(struct health_log *log)
{
	pthread_mutex_lock(&log->lock);
	log->checkpoints.given_up_n++;
	pthread_mutex_unlock(&log->lock);
}

void
health_note_reset(struct health_log *log)
{
	pthread_mutex_lock(&log->lock);
	log->checkpoints.reset_us = clock_now_us();
	log->largest.bytes = 0;
	pthread_mutex_unlock(&log->lock);
}

static void
copy_sql(char *to, struct span sql)
{
	size_t n = sql.n < TX_SQL_BYTES ? sql.n : TX_SQL_BYTES - 1;

	if (n > 0)
		memcpy(to, sql.p, n);
	to[n] = '\0';
}

void
health_note_commit(
    struct health_log *log, int64_t bytes, const struct request *r)
{
	struct health_tx *largest = &log->largest;

	pthread_mutex_lock(&log->lock);
	if (bytes > largest->bytes) {
		largest->bytes = bytes;
		if (r->tx) {
			largest->owner = r->tx->owner;
			memcpy(largest->sql, r->tx->last_sql, TX_SQL_BYTES);
		} else {
			largest->owner = *r->owner;
			copy_sql(largest->sql,
			    r->steps_n > 0 ? r->steps[0].sql : r->sql);
		}
	}
	pthread_mutex_unlock(&log->lock);
}

void
health_note_alarm(struct health_log *log, const char *text)
{
	pthread_mutex_lock(&log->lock);
	log->checkpoints.alarm = text;
	pthread_mutex_unlock(&log->lock);
}

bool
health_is_failing(struct health_log *log)
{
	bool failing;

	pthread_mutex_lock(&log->lock);
	failing = log->checkpoints.failing_us || log->checkpoints.alarm;
	pthread_mutex_unlock(&log->lock);
	return failing;
}

/* --- What it means ----------------------------------------------------------- */

static double
to_mb(int64_t bytes)
{
	return (double)bytes / (1 << 20);
}

static double
to_s(const struct health_facts *f, int64_t since_us)
{
	return (double)(f->now_us - since_us) / 1e6;
}

/* "pid 12 (app, uid 1000)" */
struct who {
	char text[TX_APP_BYTES + 48];
};

static struct who
name_owner(const struct owner *o)
{
	struct who who;

	snprintf(who.text, sizeof(who.text), "pid %d (%s, uid %u)", (int)o->pid,
	    o->app[0] ? o->app : "no application name", (unsigned)o->uid);
	return who;
}

static enum health_illness
judge_illness(const struct health_facts *f)
{
	return f->pending_bytes * 2 >= f->wal_bytes ? HEALTH_PINNED
						    : HEALTH_NEVER_RESET;
}

static enum health_cause
judge_snapshot(const struct snapshot *s)
{
	switch (s->kind) {
	case SNAPSHOT_READ:
		return HEALTH_LONG_READ;
	case SNAPSHOT_STREAM:
		return HEALTH_SLOW_CONSUMER;
	case SNAPSHOT_TX:
		return HEALTH_LONG_TX;
	case SNAPSHOT_BACKUP:
		return HEALTH_BACKUP;
	}
	return HEALTH_NONE;
}

static bool
is_huge(const struct health_facts *f)
{
	const struct health_tx *tx = &f->tx;

	return tx->bytes >= f->limit_bytes &&
	    (tx->open || tx->bytes * 2 >= f->wal_bytes);
}

/* Nobody can be named: what is it that does not come to an end? */
static enum health_cause
judge_flow(const struct health_facts *f)
{
	int64_t lasts_us = f->over_us ? f->now_us - f->over_us : 0;
	bool twice = f->wal_bytes >= 2 * f->limit_bytes;

	/* whoever is to be named has begun before that, and is old by then */
	if (lasts_us < (twice ? HEALTH_LONG_US : PATIENCE_US))
		return HEALTH_NONE;
	if (judge_illness(f) == HEALTH_PINNED && f->checkpoints.complete)
		return HEALTH_SLOW_DISK;
	return HEALTH_OVERLAP;
}

static enum health_cause
judge_cause(const struct health_facts *f)
{
	bool large = f->wal_bytes >= f->limit_bytes;

	if (f->checkpoints.alarm)
		return HEALTH_ALARM;
	if (f->checkpoints.failing_us)
		return HEALTH_FAILING;
	if (!large)
		return f->tx.open && is_huge(f) ? HEALTH_HUGE_TX : HEALTH_NONE;
	if (f->snapshots_n > 0 &&
	    f->now_us - f->oldest.since_us >= HEALTH_LONG_US)
		return judge_snapshot(&f->oldest);
	if (f->external)
		return HEALTH_EXTERNAL;
	if (f->outside_pid)
		return HEALTH_OUTSIDE_READER;
	if (is_huge(f))
		return HEALTH_HUGE_TX;
	return judge_flow(f);
}

static void
say_snapshot(const struct health_facts *f, struct diagnosis *d, char *to)
{
	const struct snapshot *s = &f->oldest;
	struct who who = name_owner(&s->owner);
	const char *sql = s->sql[0] ? s->sql : "none yet";
	double age_s = to_s(f, s->since_us);

	d->pid = s->owner.pid;
	switch (s->kind) {
	case SNAPSHOT_READ:
		snprintf(to, HEALTH_TEXT_BYTES,
		    "a statement of %s has run for %.1f s: %s", who.text, age_s,
		    sql);
		break;
	case SNAPSHOT_STREAM:
		snprintf(to, HEALTH_TEXT_BYTES,
		    "%s has not fetched all of a result that it asked for "
		    "%.1f s ago, with: %s",
		    who.text, age_s, sql);
		break;
	case SNAPSHOT_TX:
		snprintf(to, HEALTH_TEXT_BYTES,
		    "a read transaction of %s has been open for %.1f s; its "
		    "last statement: %s",
		    who.text, age_s, sql);
		break;
	case SNAPSHOT_BACKUP:
		snprintf(to, HEALTH_TEXT_BYTES,
		    "a backup that %s asked for has run for %.1f s: %s",
		    who.text, age_s, sql);
		break;
	}
}

static void
say_huge(const struct health_facts *f, struct diagnosis *d, char *to)
{
	const struct health_tx *tx = &f->tx;

	d->pid = tx->owner.pid;
	snprintf(to, HEALTH_TEXT_BYTES,
	    "one transaction of %s %s %.1f MB, with: %s; write in smaller ones",
	    tx->owner.pid ? name_owner(&tx->owner).text : "somebody",
	    tx->open ? "is open and has written" : "wrote", to_mb(tx->bytes),
	    tx->sql[0] ? tx->sql : "no statement known");
}

static void
say_external(const struct health_facts *f, struct diagnosis *d, char *to)
{
	char who[48] = "";

	d->pid = f->outside_pid > 0 ? f->outside_pid : 0;
	if (d->pid)
		snprintf(who, sizeof(who), "; process %d reads the file",
		    (int)d->pid);
	snprintf(to, HEALTH_TEXT_BYTES,
	    "checkpoints are left to another program (checkpoint = external), "
	    "which does not keep up or does not run%s",
	    who);
}

static void
say_outside(const struct health_facts *f, struct diagnosis *d, char *to)
{
	d->pid = f->outside_pid > 0 ? f->outside_pid : 0;
	if (d->pid)
		snprintf(to, HEALTH_TEXT_BYTES,
		    "process %d, outside the daemon, is in a read transaction",
		    (int)d->pid);
	else
		snprintf(to, HEALTH_TEXT_BYTES,
		    "a process outside the daemon is in a read transaction; "
		    "find it with fuser -v on the -shm file");
}

/* Say why, in to. */
static void
say_cause(const struct health_facts *f, struct diagnosis *d, char *to)
{
	switch (d->cause) {
	case HEALTH_NONE:
	case HEALTH_CAUSES_N:
		snprintf(to, HEALTH_TEXT_BYTES, "nothing is wrong");
		break;
	case HEALTH_ALARM:
		snprintf(to, HEALTH_TEXT_BYTES, "it %s", f->checkpoints.alarm);
		break;
	case HEALTH_FAILING:
		snprintf(to, HEALTH_TEXT_BYTES,
		    "checkpoints have failed for %.1f s: %s; look after the "
		    "disk",
		    to_s(f, f->checkpoints.failing_us), f->checkpoints.error);
		break;
	case HEALTH_LONG_TX:
	case HEALTH_LONG_READ:
	case HEALTH_SLOW_CONSUMER:
	case HEALTH_BACKUP:
		say_snapshot(f, d, to);
		break;
	case HEALTH_OUTSIDE_READER:
		say_outside(f, d, to);
		break;
	case HEALTH_HUGE_TX:
		say_huge(f, d, to);
		break;
	case HEALTH_SLOW_DISK:
		snprintf(to, HEALTH_TEXT_BYTES,
		    "more is written (%.1f MB in the last second) than the "
		    "disk can copy (%.1f MB)",
		    to_mb(f->written_s), to_mb(f->copied_s));
		break;
	case HEALTH_OVERLAP:
		snprintf(to, HEALTH_TEXT_BYTES,
		    "reads overlap without a gap (%zu long ones now), and "
		    "waiting for wal_gate_time was not enough",
		    f->snapshots_n);
		break;
	case HEALTH_EXTERNAL:
		say_external(f, d, to);
		break;
	}
}

void
health_judge(const struct health_facts *f, struct diagnosis *ret)
{
	static const char *const states[] = {
		[HEALTH_WELL] = "",
		[HEALTH_PINNED] = ", pinned",
		[HEALTH_NEVER_RESET] = ", copied but never begun anew",
	};
	char why[HEALTH_TEXT_BYTES];

	*ret = (struct diagnosis){ .cause = judge_cause(f) };
	if (ret->cause != HEALTH_NONE)
		ret->illness = judge_illness(f);
	say_cause(f, ret, why);
	snprintf(ret->text, sizeof(ret->text),
	    "the WAL has %.1f MB, %.1f MB of them not copied yet%s: %.*s",
	    to_mb(f->wal_bytes), to_mb(f->pending_bytes), states[ret->illness],
	    HEALTH_TEXT_BYTES - 128, why);
}

const char *
health_get_illness(enum health_illness illness)
{
	static const char *const names[] = {
		[HEALTH_WELL] = "well",
		[HEALTH_PINNED] = "pinned",
		[HEALTH_NEVER_RESET] = "never_reset",
	};

	return names[illness];
}

const char *
health_get_cause(enum health_cause cause)
{
	static const char *const names[HEALTH_CAUSES_N] = {
		[HEALTH_NONE] = "none",
		[HEALTH_ALARM] = "alarm",
		[HEALTH_FAILING] = "checkpoint_fails",
		[HEALTH_LONG_TX] = "long_transaction",
		[HEALTH_LONG_READ] = "long_read",
		[HEALTH_SLOW_CONSUMER] = "slow_consumer",
		[HEALTH_BACKUP] = "backup",
		[HEALTH_OUTSIDE_READER] = "outside_reader",
		[HEALTH_HUGE_TX] = "huge_transaction",
		[HEALTH_SLOW_DISK] = "slow_disk",
		[HEALTH_OVERLAP] = "overlapping_reads",
		[HEALTH_EXTERNAL] = "external",
	};

	return names[cause];
}
