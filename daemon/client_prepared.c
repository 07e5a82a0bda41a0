/* client_prepared.c - the statements that a client has prepared, by its numbers.
 *
 * Thread: the worker. */
#include <stdlib.h>
#include <string.h>

#include "daemon/client_impl.h"
#include "proto/error.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* Prepared statements of one client. */
#define PREPARED_MAX 10000

struct prepared {
	uint64_t number;
	uint64_t request_id; /* of its PREPARE */
	struct db *db;
	UT_hash_handle hh;
	size_t n;
	uint8_t sql[];
};

int
client_put_prepared(struct client *cl, const struct request *r)
{
	struct span sql = r->ask.sql;
	struct prepared *p;

	client_drop_prepared(cl, r->ask.stmt);
	if (HASH_COUNT(cl->prepared) >= PREPARED_MAX ||
	    cl->prepared_bytes + sql.n >
		(uint64_t)cl->loop->conf->max_client_bytes)
		return -ERR_QUEUE_FULL;
	p = calloc(1, sizeof(*p) + sql.n + 1);
	if (!p)
		return -ERR_NO_MEMORY;
	p->number = r->ask.stmt;
	p->request_id = r->id;
	p->db = db_ref(r->db);
	p->n = sql.n;
	if (sql.n)
		memcpy(p->sql, sql.p, sql.n);
	HASH_ADD(hh, cl->prepared, number, sizeof(p->number), p);
	if (!p->hh.tbl) {
		db_unref(p->db);
		free(p);
		return -ERR_NO_MEMORY;
	}
	cl->prepared_bytes += sql.n;
	return 0;
}

struct span
client_get_prepared(
    const struct client *cl, uint64_t number, struct db **ret_db)
{
	struct prepared *p = NULL;

	HASH_FIND(hh, cl->prepared, &number, sizeof(number), p);
	if (p && ret_db)
		*ret_db = p->db;
	return p ? (struct span){ p->sql, p->n } : (struct span){ NULL, 0 };
}

bool
client_drop_prepared(struct client *cl, uint64_t number)
{
	struct prepared *p = NULL;

	HASH_FIND(hh, cl->prepared, &number, sizeof(number), p);
	if (!p)
		return false;
	HASH_DEL(cl->prepared, p);
	db_unref(p->db);
	cl->prepared_bytes -= p->n;
	free(p);
	return true;
}

void
client_drop_prepared_by(struct client *cl, const struct request *r)
{
	const struct prepared *p = NULL;
	uint64_t number = r->ask.stmt;

	HASH_FIND(hh, cl->prepared, &number, sizeof(number), p);
	if (p && p->request_id == r->id)
		client_drop_prepared(cl, number);
}

void
client_drop_all_prepared(struct client *cl)
{
	struct prepared *p, *next;

	HASH_ITER(hh, cl->prepared, p, next) {
		client_drop_prepared(cl, p->number);
	}
}
