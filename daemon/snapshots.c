/* snapshots.c - the snapshots that are held, of heavy readers and their guests: who
 * keeps the WAL from beginning anew, and the end of those that do so for too long.
 *
 * Threads: any. */
#include <string.h>

#include "daemon/reader_impl.h"
#include "daemon/stats.h"
#include "proto/error.h"

static void
describe_snapshot(struct reader *rd, int64_t since_us, struct snapshot *s)
{
	s->kind = atomic_load(&rd->blocked) ? SNAPSHOT_STREAM
	    : rd->tx                        ? SNAPSHOT_TX
					    : SNAPSHOT_READ;
	s->owner = rd->owner;
	s->since_us = since_us;
	memcpy(s->sql, rd->sql, sizeof(s->sql));
}

/* Put it in its place among n that are there already; of more than most the
 * youngest is dropped. */
static void
insert_snapshot(
    struct snapshot *list, size_t n, size_t most, const struct snapshot *s)
{
	size_t at = n < most ? n : most;

	while (at > 0 && list[at - 1].since_us > s->since_us) {
		if (at < most)
			list[at] = list[at - 1];
		at--;
	}
	if (at < most)
		list[at] = *s;
}

const char *
snapshot_get_kind_name(enum snapshot_kind kind)
{
	static const char *const names[] = {
		[SNAPSHOT_READ] = "read",
		[SNAPSHOT_STREAM] = "stream",
		[SNAPSHOT_TX] = "transaction",
		[SNAPSHOT_BACKUP] = "backup",
	};

	return names[kind];
}

size_t
readers_list_snapshots(
    struct readers *rs, struct snapshot *ret_list, size_t most)
{
	struct snapshot s;
	size_t n = 0;

	pthread_mutex_lock(&rs->lock);
	for (unsigned i = 0; i < rs->readers_n; i++) {
		int64_t since_us = atomic_load(&rs->all[i]->since_us);

		if (since_us == 0)
			continue;
		describe_snapshot(rs->all[i], since_us, &s);
		insert_snapshot(ret_list, n++, most, &s);
	}
	for (const struct snapshot_guest *g = rs->guests; g; g = g->next)
		insert_snapshot(ret_list, n++, most, &g->snapshot);
	pthread_mutex_unlock(&rs->lock);
	return n;
}

void
readers_add_guest(struct readers *rs, struct snapshot_guest *guest)
{
	pthread_mutex_lock(&rs->lock);
	guest->next = rs->guests;
	rs->guests = guest;
	pthread_mutex_unlock(&rs->lock);
}

void
readers_remove_guest(struct readers *rs, struct snapshot_guest *guest)
{
	struct snapshot_guest *before;

	pthread_mutex_lock(&rs->lock);
	before = rs->guests;
	if (before == guest) {
		rs->guests = guest->next;
	} else {
		while (before->next != guest)
			before = before->next;
		before->next = guest->next;
	}
	pthread_mutex_unlock(&rs->lock);
}

bool
readers_has_guest(const struct readers *rs)
{
	return atomic_load_explicit(&rs->guests, memory_order_relaxed) != NULL;
}

unsigned
readers_end_old(struct readers *rs, int64_t before_us)
{
	unsigned n = 0;

	pthread_mutex_lock(&rs->lock);
	for (unsigned i = 0; i < rs->readers_n; i++) {
		struct reader *rd = rs->all[i];
		int64_t since_us = atomic_load(&rd->since_us);

		if (since_us == 0 || since_us >= before_us ||
		    atomic_exchange(&rd->too_old, true))
			continue;
		if (rd->running)
			request_stop(rd->running, ERR_SNAPSHOT_ENDED);
		squeue_kick(&rd->q);
		n++;
	}
	pthread_mutex_unlock(&rs->lock);
	stats_add(STAT_snapshots_ended, n);
	return n;
}
