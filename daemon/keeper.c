/* keeper.c - the copying of a WAL, on a thread of its own crew. */
#include "daemon/keeper.h"

#include <assert.h>
#include <stdlib.h>

#include "daemon/keeper_impl.h"
#include "daemon/log.h"
#include "daemon/stats.h"
#include "proto/error.h"

/* It copies, syncs the file, and copies what was committed meanwhile, until what is
 * left for the writer to copy and sync itself is little (facts.md 1.6: 3 to 8 ms
 * instead of 40 to 120), or this often. */
#define PASSES_MAX  8
#define PASSES_SURE 2
#define FEW_FRAMES  64

/* What a pass begins with, in frames. */
struct pass {
	uint32_t copied, left;
};

/* Begin only with a backlog (keeper.h).  copied is read first: it grows only
 * here, and frames can only have grown since.  No pass follows one that has copied
 * nothing, as a snapshot keeps the rest back; nor, from the third on, one that has
 * left more than it found: the writer is faster, and copies the rest while it is
 * held. */
static bool
begins(struct keeper *k, int passes_n, struct pass *pass)
{
	struct pass last = *pass;
	uint32_t frames;

	if (!wal_get_log(k->conn, &pass->copied, &frames) ||
	    pass->copied >= frames)
		return false;
	pass->left = frames - pass->copied;
	if (passes_n == 0)
		return true;
	return pass->left > FEW_FRAMES && pass->copied > last.copied &&
	    (passes_n < PASSES_SURE || pass->left <= last.left + last.left / 8);
}

static int
copy(struct keeper *k, struct failure *f)
{
	struct pass pass = { 0 };
	struct wal_copied log;
	int rc = 0;

	if (!k->conn)
		rc = dbfile_connect(
		    k->file, k->db_conf, DBCONN_KEEPER, &k->conn, f);
	for (int i = 0; i < PASSES_MAX && rc == 0 && begins(k, i, &pass); i++) {
		rc = wal_checkpoint(k->conn, WAL_COPY, 0, &log, f);
		stats_add(STAT_checkpoints, 1);
		health_note_checkpoint(&k->log, rc, &log, f);
		if (rc == 0)
			rc = wal_sync_file(k->conn, f);
	}
	return rc;
}

static void
keeper_run(struct squeue *q)
{
	struct keeper *k = (struct keeper *)q;
	struct failure f;
	int rc;

	if (atomic_load(&k->state) != KEEPER_COPYING)
		return;
	failure_init(&f);
	rc = copy(k, &f);
	if (rc < 0 && !k->failing)
		log_warn("%s: the WAL cannot be copied beside the writer: %s",
		    k->db_conf->name, f.text ? f.text : "out of memory");
	k->failing = rc < 0;
	k->rc = rc;
	failure_fini(&f);
	atomic_store(&k->state, KEEPER_COPIED);
	squeue_kick(k->writer);
}

int
keeper_new(const struct conf_db *db, const struct dbfile *file,
    struct crew *crew, struct squeue *writer, struct keeper **ret_keeper)
{
	struct keeper *k = calloc(1, sizeof(*k));

	if (!k)
		return -ERR_NO_MEMORY;
	squeue_init(&k->q, crew, keeper_run);
	health_log_init(&k->log);
	k->db_conf = db;
	k->file = file;
	k->writer = writer;
	*ret_keeper = k;
	return 0;
}

void
keeper_stop(struct keeper *k)
{
	squeue_end(&k->q);
}

void
keeper_free(struct keeper *k)
{
	if (!k)
		return;
	dbconn_close(k->conn);
	health_log_fini(&k->log);
	free(k);
}

struct health_log *
keeper_get_log(struct keeper *k)
{
	return &k->log;
}

enum keeper_state
keeper_get_state(const struct keeper *k)
{
	return (enum keeper_state)atomic_load(&k->state);
}

void
keeper_start(struct keeper *k)
{
	assert(keeper_get_state(k) == KEEPER_IDLE);
	atomic_store(&k->state, KEEPER_COPYING);
	squeue_kick(&k->q);
}

int
keeper_take(struct keeper *k)
{
	assert(keeper_get_state(k) == KEEPER_COPIED);
	atomic_store(&k->state, KEEPER_IDLE);
	return k->rc == WAL_SYNC_FAILED ? k->rc : 0;
}
