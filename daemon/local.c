/* local.c - requests without a road. */
#include "daemon/local.h"

#include <stdio.h>
#include <string.h>

#include "daemon/hots.h"
#include "daemon/log.h"
#include "daemon/stats.h"
#include "proto/error.h"
#include "proto/frame.h"

#define ADMIN_NAME "@admin"
/* The smallest window: a chunk fits. */
#define WINDOW_LEAST ((uint64_t)64 << 10)

void
local_answer(struct client *cl, struct request *r,
    void (*write)(struct request *, struct buf *))
{
	struct buf *b = client_begin_reply(cl);

	if (b) {
		write(r, b);
		client_end_reply(cl, b);
	}
	client_free_request(cl, r);
}

void
local_reply(struct client *cl, struct request *r,
    void (*write)(struct client *, struct request *, struct buf *))
{
	struct buf *b = client_begin_reply(cl);

	if (b) {
		write(cl, r, b);
		client_end_reply(cl, b);
	}
	client_free_request(cl, r);
}

void
local_fail(struct client *cl, struct request *r)
{
	if (r->type == TYPE_PREPARE)
		client_drop_prepared_by(cl, r);
	local_answer(cl, r, answer_error);
}

static void
write_done(struct request *r, struct buf *b)
{
	struct answer a;

	answer_init(&a, r, b);
	answer_finish(&a);
}

/* The reply to a statement, or message, that steers a transaction. */
void
local_answer_control(struct client *cl, struct request *r)
{
	local_answer(cl, r, r->type == TYPE_EXEC ? write_done : answer_ok);
}

/* --- Databases ------------------------------------------------------------- */

static bool
is_admin(struct span name)
{
	return name.n == strlen(ADMIN_NAME) &&
	    memcmp(name.p, ADMIN_NAME, name.n) == 0;
}

/* A transaction goes on in a database that was taken out while it ran. */
static bool
find_of_tx(const struct client *cl, struct request *r)
{
	const struct session *s = session_find(cl->sessions, r->stream);
	const struct db *asked = r->db ? r->db : cl->db;
	const char *name = s && s->db ? s->db->conf->name : NULL;

	if (!name || !db_is_removed(s->db))
		return false;
	if (r->database.n ? strlen(name) != r->database.n ||
		    memcmp(name, r->database.p, r->database.n) != 0
			  : asked != s->db)
		return false;
	r->db = s->db;
	return true;
}

/* It was taken out of the configuration, and may have come again since. */
static int
find_again(struct loop *loop, struct request *r)
{
	const char *name = r->db->conf->name;
	struct span span = { (const uint8_t *)name, strlen(name) };

	return hots_find_db(loop, span, &r->db, &r->failure);
}

int
local_find_db(struct client *cl, struct request *r, bool *ret_admin)
{
	char names[256];

	if (find_of_tx(cl, r))
		return 0;
	if (r->database.n) {
		*ret_admin = is_admin(r->database);
		if (*ret_admin)
			return 0;
		return hots_find_db(cl->loop, r->database, &r->db, &r->failure);
	}
	if (!r->db) { /* it is no prepared statement */
		*ret_admin = cl->is_admin_db;
		r->db = cl->db;
	}
	if (r->db && db_is_removed(r->db))
		return find_again(cl->loop, r);
	if (r->db || cl->is_admin_db)
		return 0;
	dbs_put_names(cl->loop->dbs, names, sizeof(names));
	return failure_set(&r->failure, ERR_DATABASE_REQUIRED,
	    "no database was chosen; name one of: %s", names);
}

/* --- HELLO ---------------------------------------------------------------- */

static int
check_range(struct request *r, const char *what, uint64_t v, uint64_t least,
    uint64_t most)
{
	if (v >= least && v <= most)
		return 0;
	return failure_set(&r->failure, ERR_FIELD_RANGE,
	    "%s is %llu; it must be from %llu to %llu", what,
	    (unsigned long long)v, (unsigned long long)least,
	    (unsigned long long)most);
}

static int
choose_db(struct client *cl, struct request *r)
{
	struct dbs *dbs = cl->loop->dbs;
	struct db *db = NULL;
	bool admin = false;

	if (r->database.n) {
		admin = is_admin(r->database);
		if (!admin && dbs_find(dbs, r->database, &db, &r->failure) < 0)
			return -r->failure.code;
		if (access_check(&cl->peer, cl->loop->conf,
			db ? db->conf : NULL, db ? RIGHT_READ : RIGHT_OBSERVE,
			&r->failure) < 0) {
			db_unref(db);
			return -r->failure.code;
		}
	} else {
		db = dbs_get_only(dbs);
	}
	db_unref(cl->db);
	cl->db = db;
	cl->loop->admins_n += (unsigned)admin - (unsigned)cl->is_admin_db;
	cl->is_admin_db = admin;
	return 0;
}

static int
agree(struct client *cl, struct request *r)
{
	const struct msg_ask *ask = &r->ask;
	uint64_t frame = MSG_HAS(ask, ASK_max_frame) ? ask->max_frame
						     : FRAME_DEFAULT_MAX_BYTES;
	uint64_t window = MSG_HAS(ask, ASK_window_bytes)
	    ? ask->window_bytes
	    : (uint64_t)cl->loop->conf->window_bytes;

	if (!MSG_HAS(ask, ASK_version))
		return failure_set(&r->failure, ERR_FIELD_MISSING,
		    "field %d (version) is required", ASK_version);
	if (ask->version < MSG_VERSION)
		return failure_set(&r->failure, ERR_VERSION_UNSUPPORTED,
		    "the client speaks protocol version %llu, this daemon %d; "
		    "use a newer client",
		    (unsigned long long)ask->version, MSG_VERSION);
	if (check_range(r, "max_frame", frame, FRAME_LEAST_MAX_BYTES,
		FRAME_HARD_MAX_BYTES) < 0 ||
	    check_range(r, "window_bytes", window, WINDOW_LEAST,
		FRAME_HARD_MAX_BYTES) < 0 ||
	    choose_db(cl, r) < 0)
		return -r->failure.code;
	cl->max_frame_bytes = (size_t)frame;
	cl->window_bytes = (size_t)window;
	cl->features = ask->features & MSG_FEATURES_ALL;
	snprintf(cl->owner.app, sizeof(cl->owner.app), "%.*s",
	    ask->app_name.n > 255 ? 255 : (int)ask->app_name.n,
	    ask->app_name.n ? (const char *)ask->app_name.p : "");
	cl->said_hello = true;
	return 0;
}

void
local_hello(struct client *cl, struct request *r, struct buf *b)
{
	const struct conf *conf = cl->loop->conf;
	struct msg_out m;

	if (agree(cl, r) < 0) {
		answer_error(r, b);
		return;
	}
	msg_begin_body(&m, b, TYPE_OK, r->id, r->stream);
	msg_put_uint(&m, TELL_version, MSG_VERSION);
	msg_put_uint(&m, TELL_features, cl->features);
	msg_put_str(&m, TELL_server, "sqlpoold " SQLPOOLD_VERSION);
	msg_put_str(&m, TELL_sqlite, dbconn_get_library_version());
	msg_put_uint(&m, TELL_max_frame, (uint64_t)conf->max_frame_bytes);
	msg_put_uint(&m, TELL_window_bytes, cl->window_bytes);
	msg_put_uint(&m, TELL_in_flight_n, conf->max_in_flight);
	msg_put_uint(&m, TELL_epoch, cl->loop->dbs->epoch);
	if (cl->db) {
		msg_put_str(&m, TELL_database, cl->db->conf->name);
		msg_put_uint(&m, TELL_timeout_ms,
		    (uint64_t)cl->db->conf->request_timeout_us / 1000);
	} else if (cl->is_admin_db) {
		msg_put_str(&m, TELL_database, ADMIN_NAME);
	}
	msg_put_uint(
	    &m, TELL_in_flight_bytes, (uint64_t)conf->max_client_bytes);
	msg_end(&m, FRAME_HARD_MAX_BYTES);
	request_move(r, REQUEST_ANSWERED);
}

/* --- The others ------------------------------------------------------------ */

void
local_ping(struct client *cl, struct request *r, struct buf *b)
{
	(void)cl;
	answer_ok(r, b);
}

void
local_close(struct client *cl, struct request *r, struct buf *b)
{
	if (!MSG_HAS(&r->ask, ASK_stmt))
		failure_set(&r->failure, ERR_FIELD_MISSING,
		    "field %d (stmt) is required", ASK_stmt);
	else if (!client_drop_prepared(cl, r->ask.stmt))
		failure_set(&r->failure, ERR_STATEMENT_UNKNOWN,
		    "no prepared statement has the number %llu",
		    (unsigned long long)r->ask.stmt);
	answer_ok(r, b);
}

void
local_describe(struct client *cl, struct request *r, struct buf *b)
{
	exec_describe(r->hot->conn, r, b);
	if (r->type == TYPE_PREPARE && r->failure.code)
		client_drop_prepared_by(cl, r);
}

void
local_credit(struct client *cl, struct request *r)
{
	struct request *target = client_find_request(cl, r->ask.target, r);
	uint64_t room;

	if (!target)
		return;
	room = UINT64_MAX - target->granted_bytes;
	target->granted_bytes += r->ask.credit_bytes < room
	    ? r->ask.credit_bytes
	    : room;
	client_send_pieces(cl, target);
}
