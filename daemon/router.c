/* router.c - the choice of roads. */
#include "daemon/router.h"

#include "daemon/exec.h"
#include "proto/error.h"

/* Preparing a text takes time that nothing can cut short, 40 ms for so much of it
 * at worst: a longer one is not for a worker (tests/check_long.c). */
#define TEXT_BYTES_MAX (64 << 10)

/* So long a worker prepares the steps of a BATCH, to see whether one writes: there
 * may be 10,000, of which each can take 0.2 s. */
#define BATCH_TIME_US 5000

#define SQL_ERROR 1 /* SQLITE_ERROR, sqlite.org/rescode.html */

/* Transaction control where no transaction is: SQLite's own words. */
static enum road
choose_control(
    struct request *r, const struct stmt *st, enum msg_tx_mode *ret_mode)
{
	switch (stmt_get_tx(st)) {
	case STMT_TX_BEGIN:
		*ret_mode = TX_MODE_DEFERRED;
		return ROAD_BEGIN;
	case STMT_TX_BEGIN_IMMEDIATE:
		*ret_mode = TX_MODE_IMMEDIATE;
		return ROAD_BEGIN;
	case STMT_TX_SAVEPOINT:
		return ROAD_SAVEPOINT;
	case STMT_TX_COMMIT:
		failure_set(&r->failure, SQL_ERROR,
		    "cannot commit - no transaction is active");
		return ROAD_ERROR;
	case STMT_TX_ROLLBACK:
		failure_set(&r->failure, SQL_ERROR,
		    "cannot rollback - no transaction is active");
		return ROAD_ERROR;
	case STMT_TX_RELEASE:
	case STMT_TX_ROLLBACK_TO:
		failure_set(&r->failure, SQL_ERROR, "no such savepoint: %s",
		    stmt_get_savepoint(st));
		return ROAD_ERROR;
	}
	return ROAD_ERROR;
}

static bool
is_long(const struct request *r)
{
	return r->type == TYPE_EXEC && r->sql.n > TEXT_BYTES_MAX;
}

static enum road
choose_statement(struct request *r, struct dbconn *hot, const struct conf *conf,
    bool behind_writes, enum msg_tx_mode *ret_mode)
{
	struct stmt *st = NULL;

	if (is_long(r) && !r->unknown) {
		/* the writer finds out what it is, in the order of what its
		 * client sent; a read comes back, and goes to the readers */
		if (r->rerouted)
			return ROAD_READERS;
		r->unknown = true;
	}
	if (r->unknown)
		return ROAD_WRITER;
	if (stmt_prepare(hot, r->sql, &st, &r->failure) < 0) {
		if (!behind_writes)
			return ROAD_ERROR;
		failure_fini(&r->failure);
		r->unknown = true;
		return ROAD_WRITER;
	}
	r->kind = stmt_get_kind(st);
	if (exec_check_read_only(r, st) < 0)
		return ROAD_ERROR;
	switch (r->kind) {
	case KIND_EMPTY:
		return ROAD_INLINE;
	case KIND_READ:
		return conf->inline_budget_us == 0 || stmt_take_heavy(hot, st)
		    ? ROAD_READERS
		    : ROAD_INLINE;
	case KIND_TX:
		return choose_control(r, st, ret_mode);
	case KIND_WRITE:
	case KIND_SCHEMA:
	case KIND_MAINTENANCE:
		break;
	}
	return ROAD_WRITER;
}

enum road
router_choose(struct request *r, struct dbconn *hot, const struct conf *conf,
    bool behind_writes, enum msg_tx_mode *ret_mode)
{
	if (r->type == TYPE_TX_BEGIN) {
		*ret_mode = (enum msg_tx_mode)r->ask.tx_mode;
		return ROAD_BEGIN;
	}
	if (r->type == TYPE_TX_END) {
		failure_set(&r->failure, ERR_TX_NONE,
		    "no transaction is open on this stream");
		return ROAD_ERROR;
	}
	if (r->type == TYPE_SCRIPT)
		return ROAD_WRITER;
	if (r->type == TYPE_BATCH)
		return r->unknown || !exec_batch_reads(hot, r, BATCH_TIME_US)
		    ? ROAD_WRITER
		    : ROAD_READERS;
	return choose_statement(r, hot, conf, behind_writes, ret_mode);
}

static bool
is_end(const struct request *r, const struct stmt *st, bool *ret_commit)
{
	if (r->type == TYPE_TX_END) {
		*ret_commit = r->commit;
		return true;
	}
	if (stmt_get_kind(st) != KIND_TX)
		return false;
	*ret_commit = stmt_get_tx(st) == STMT_TX_COMMIT;
	return *ret_commit || stmt_get_tx(st) == STMT_TX_ROLLBACK;
}

bool
router_is_end(struct request *r, struct dbconn *hot)
{
	struct failure f;
	struct stmt *st = NULL;
	bool commit, ends = false;

	failure_init(&f);
	if (r->type == TYPE_EXEC && stmt_prepare(hot, r->sql, &st, &f) == 0)
		ends = is_end(r, st, &commit);
	failure_fini(&f);
	return ends;
}

static enum road
fail_expired(struct request *r, const struct session *s)
{
	failure_set(&r->failure, atomic_load(&s->tx->expired), "%s",
	    s->tx->expired_text);
	return ROAD_ERROR;
}

/* Only its end is accepted of a transaction that the daemon has ended, and a
 * COMMIT is told. */
static enum road
choose_expired(
    struct request *r, const struct session *s, const struct stmt *st)
{
	bool commit;

	if (!is_end(r, st, &commit))
		return fail_expired(r, s);
	if (commit)
		fail_expired(r, s);
	return ROAD_END;
}

static bool
begins_with_lease(const struct session *s)
{
	return s->tx->mode == TX_MODE_IMMEDIATE ||
	    s->tx->mode == TX_MODE_EXCLUSIVE;
}

/* The first statement decides what the transaction takes. */
static enum road
choose_first(struct request *r, const struct session *s, const struct stmt *st,
    struct dbconn *hot)
{
	bool commit, reads;

	if (is_end(r, st, &commit))
		return ROAD_END;
	if (stmt_get_kind(st) == KIND_TX &&
	    stmt_get_tx(st) <= STMT_TX_BEGIN_IMMEDIATE) {
		failure_set(&r->failure, SQL_ERROR,
		    "cannot start a transaction within a transaction");
		return ROAD_ERROR;
	}
	if (begins_with_lease(s))
		return ROAD_WRITER;
	/* what is not known a reader finds out */
	reads = r->type == TYPE_BATCH
	    ? exec_batch_reads(hot, r, BATCH_TIME_US) || r->unknown
	    : (r->kind == KIND_READ || r->kind == KIND_TX ||
		  r->kind == KIND_EMPTY);
	return reads || s->tx->mode == TX_MODE_READ ? ROAD_READERS
						    : ROAD_WRITER;
}

/* What has no place in a transaction. */
static enum road
refuse_in_tx(struct request *r, const struct session *s)
{
	if (s->state == TX_STATE_EXPIRED)
		return fail_expired(r, s);
	if (r->type == TYPE_SCRIPT)
		failure_set(&r->failure, ERR_TX_ACTIVE,
		    "a transaction is open on this stream, and a SCRIPT is not "
		    "run in one; send its statements one by one, or end the "
		    "transaction first");
	else
		failure_set(&r->failure, ERR_TX_ACTIVE,
		    "a transaction is open on this stream already; end it "
		    "first, or use another stream");
	return ROAD_ERROR;
}

enum road
router_choose_in_tx(struct request *r, const struct session *s,
    struct dbconn *hot, bool behind_writes)
{
	struct stmt *st = NULL;

	if (r->type == TYPE_TX_BEGIN || r->type == TYPE_SCRIPT)
		return refuse_in_tx(r, s);
	if (s->state == TX_STATE_WRITE || r->reroute == REROUTE_WRITER)
		return ROAD_WRITER;
	if (s->state == TX_STATE_READ)
		return ROAD_READERS;
	if (is_long(r) && s->state == TX_STATE_EXPIRED)
		return fail_expired(r, s);
	if (is_long(r)) /* a reader knows what to do with a write */
		return begins_with_lease(s) ? ROAD_WRITER : ROAD_READERS;
	if (r->type == TYPE_EXEC &&
	    stmt_prepare(hot, r->sql, &st, &r->failure) < 0) {
		if (s->state == TX_STATE_EXPIRED)
			return fail_expired(r, s);
		if (!behind_writes)
			return ROAD_ERROR;
		failure_fini(&r->failure);
		/* a read-only one waits for the writes before it */
		return s->tx->mode == TX_MODE_READ ? ROAD_READERS : ROAD_WRITER;
	}
	r->kind = stmt_get_kind(st);
	if (s->state == TX_STATE_EXPIRED)
		return choose_expired(r, s, st);
	return choose_first(r, s, st, hot);
}
