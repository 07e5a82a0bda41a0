/* dump.c - the state in the log. */
#include "daemon/dump.h"

#include <string.h>

#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/stats.h"

/* Lines of one worker. */
#define LINES_MAX 1000
/* The beginning of a statement that is enough to know it. */
#define SQL_BYTES 200

void
dump_counters(void)
{
	struct log_field fields[STAT_N + 1];
	size_t n = 0;

	for (int i = 0; i < STAT_N; i++) {
		uint64_t v = stats_get((enum stats_id)i);

		if (v)
			fields[n++] = LOG_INT(
			    stats_get_name((enum stats_id)i), v);
	}
	fields[n] = (struct log_field){ 0 };
	log_event(CONF_LOG_INFO, "state of counters", fields, 0);
}

static void
dump_db(struct db *db)
{
	const char *name = db->conf->name;
	bool open = db_hold(db);
	const struct log_field fields[] = {
		LOG_TEXT("database", name, strlen(name)),
		LOG_TEXT("path", db->conf->path, strlen(db->conf->path)),
		LOG_INT("open", open),
		LOG_INT("commits",
		    open ? atomic_load(writer_get_seq(db->writer)) : 0),
		LOG_INT("queue", open ? writer_get_queue_n(db->writer) : 0),
		{ 0 },
	};

	log_event(CONF_LOG_INFO, "state of a database", fields, 0);
	if (open)
		db_release(db);
}

void
dump_dbs(struct dbs *dbs)
{
	for (struct db *db = dbs_next(dbs, NULL); db; db = dbs_next(dbs, db))
		dump_db(db);
}

static void
dump_client(const struct client *cl, int64_t now_us)
{
	const char *app = cl->owner.app;
	const char *db = cl->db ? cl->db->conf->name : "";
	const struct log_field fields[] = {
		LOG_INT("pid", cl->peer.pid),
		LOG_INT("uid", cl->peer.uid),
		LOG_TEXT("app", app, strlen(app)),
		LOG_TEXT("database", db, strlen(db)),
		LOG_INT("connected_ms", (now_us - cl->connected_us) / 1000),
		LOG_INT("under_way", cl->away_n),
		LOG_INT("transactions", session_count(cl->sessions)),
		LOG_INT("unsent_bytes", cl->unsent_bytes + cl->out.bytes),
		{ 0 },
	};

	log_event(CONF_LOG_INFO, "state of a client", fields, 0);
}

static void
dump_request(const struct client *cl, const struct request *r, int64_t now_us)
{
	const char *db = r->db ? r->db->conf->name : "";
	const struct log_field fields[] = {
		LOG_INT("pid", cl->peer.pid),
		LOG_INT("id", r->id),
		LOG_TEXT("database", db, strlen(db)),
		LOG_INT("ms", (now_us - r->arrived_us) / 1000),
		LOG_TEXT("sql", r->sql.p ? (const char *)r->sql.p : "",
		    r->sql.n < SQL_BYTES ? r->sql.n : SQL_BYTES),
		{ 0 },
	};

	log_event(CONF_LOG_INFO, "state of a request", fields, 0);
}

void
dump_loop(const struct loop *loop)
{
	int64_t now_us = clock_now_us();
	int lines = 0;

	for (const struct client *cl = loop->clients; cl; cl = cl->next) {
		if (++lines > LINES_MAX)
			break;
		dump_client(cl, now_us);
		for (const struct request *r = cl->requests; r; r = r->all_next)
			if (r->away && ++lines <= LINES_MAX)
				dump_request(cl, r, now_us);
	}
	if (lines > LINES_MAX)
		log_info("there are more than these %d clients and requests on "
			 "this worker",
		    LINES_MAX);
}
