/* rawconn.c - frames to and from a daemon. */
#include "tests/lib/rawconn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/error.h"
#include "proto/frame.h"
#include "proto/value.h"
#include "proto/walk.h"
#include "tests/lib/proc.h"

#define READ_BYTES 65536

void
raw_connect(struct rawconn *c, const char *socket_path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	*c = (struct rawconn){ .fd = socket(
				   AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) };
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", socket_path);
	PROC_CHECK(connect(c->fd, (struct sockaddr *)&sa, sizeof(sa)) == 0,
	    "connect to %s: %s", socket_path, strerror(errno));
}

void
raw_open(struct rawconn *c, const char *socket_path)
{
	raw_connect(c, socket_path);
	raw_expect(c, raw_put_hello(c), 0);
}

void
raw_close(struct rawconn *c)
{
	close(c->fd);
	buf_fini(&c->in);
	buf_fini(&c->out);
}

/* --- Requests ------------------------------------------------------------- */

static uint64_t
begin(struct rawconn *c, struct msg_out *m, enum msg_type type, uint64_t stream)
{
	msg_begin(m, &c->out, type, ++c->last_id, stream);
	if (c->timeout_ms)
		msg_put_uint(m, HEAD_timeout_ms, c->timeout_ms);
	if (c->database)
		msg_put_str(m, HEAD_database, c->database);
	msg_open_body(m);
	return c->last_id;
}

static void
end(struct msg_out *m)
{
	int rc = msg_end(m, FRAME_HARD_MAX_BYTES);

	PROC_CHECK(rc == 0, "a frame cannot be written: %d", rc);
}

uint64_t
raw_put(struct rawconn *c, enum msg_type type, uint64_t stream)
{
	struct msg_out m;
	uint64_t id = begin(c, &m, type, stream);

	end(&m);
	return id;
}

uint64_t
raw_put_hello(struct rawconn *c)
{
	struct msg_out m;
	uint64_t id = begin(c, &m, TYPE_HELLO, 0);

	msg_put_uint(&m, ASK_version, MSG_VERSION);
	msg_put_str(&m, ASK_app_name, "raw");
	end(&m);
	return id;
}

uint64_t
raw_put_exec(struct rawconn *c, uint64_t stream, const char *sql)
{
	struct msg_out m;
	uint64_t id = begin(c, &m, TYPE_EXEC, stream);

	msg_put_str(&m, ASK_sql, sql);
	end(&m);
	return id;
}

uint64_t
raw_put_script(struct rawconn *c, uint64_t stream, const char *sql, bool atomic)
{
	struct msg_out m;
	uint64_t id = begin(c, &m, TYPE_SCRIPT, stream);

	msg_put_str(&m, ASK_sql, sql);
	msg_key(&m, ASK_atomic);
	value_put_bool(m.b, atomic);
	end(&m);
	return id;
}

uint64_t
raw_put_begin(struct rawconn *c, uint64_t stream, enum msg_tx_mode mode)
{
	struct msg_out m;
	uint64_t id = begin(c, &m, TYPE_TX_BEGIN, stream);

	msg_put_uint(&m, ASK_tx_mode, mode);
	end(&m);
	return id;
}

uint64_t
raw_put_end(struct rawconn *c, uint64_t stream, bool commit)
{
	struct msg_out m;
	uint64_t id = begin(c, &m, TYPE_TX_END, stream);

	msg_key(&m, ASK_commit);
	value_put_bool(m.b, commit);
	end(&m);
	return id;
}

uint64_t
raw_put_cancel(struct rawconn *c, uint64_t target)
{
	struct msg_out m;
	uint64_t id = begin(c, &m, TYPE_CANCEL, 0);

	msg_put_uint(&m, ASK_target, target);
	end(&m);
	return id;
}

uint64_t
raw_put_admin(struct rawconn *c, const char *command)
{
	const char *before = c->database;
	uint64_t id;

	c->database = "@admin";
	id = raw_put_exec(c, 0, command);
	c->database = before;
	return id;
}

bool
raw_send(struct rawconn *c, const void *p, size_t n)
{
	const char *at = p;

	while (n > 0) {
		ssize_t sent = send(c->fd, at, n, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return false;
		at += sent;
		n -= (size_t)sent;
	}
	return true;
}

void
raw_flush(struct rawconn *c)
{
	bool ok = raw_send(c, c->out.p, c->out.n);

	buf_reset(&c->out);
	PROC_CHECK(ok, "the daemon does not take requests any more");
}

/* --- Replies -------------------------------------------------------------- */

/* Read until a whole frame stands at the start of c->in. */
static bool
read_frame(struct rawconn *c, size_t *ret_bytes)
{
	int64_t deadline_us = proc_get_deadline_us(2 * PROC_WAIT_MS);

	for (;;) {
		int rc = frame_peek(
		    c->in.p, c->in.n, FRAME_HARD_MAX_BYTES, ret_bytes);
		ssize_t n;

		PROC_CHECK(rc >= 0, "the daemon sent no frame");
		if (rc == 0)
			return true;
		PROC_CHECK(proc_wait_readable(c->fd, deadline_us),
		    "the daemon does not answer");
		n = read(c->fd, buf_reserve(&c->in, READ_BYTES), READ_BYTES);
		if (n <= 0)
			return false;
		c->in.n += (size_t)n;
	}
}

bool
raw_take(struct rawconn *c, struct rawreply *ret)
{
	struct span content, head, body;
	struct msg_fault fault;
	size_t bytes;

	if (c->taken > 0)
		memmove(c->in.p, c->in.p + c->taken, c->in.n - c->taken);
	c->in.n -= c->taken;
	c->taken = 0;
	if (!read_frame(c, &bytes))
		return false;
	c->taken = bytes;
	content.p = c->in.p + FRAME_PREFIX_BYTES;
	content.n = bytes - FRAME_PREFIX_BYTES;
	PROC_CHECK(walk_frame(content, &head, &body) == 0 &&
		msg_read_head(head, &ret->head, &fault) == 0 &&
		msg_read_tell(body, &ret->tell, &fault) == 0,
	    "the daemon sent a malformed reply");
	return true;
}

static bool
is_terminal(const struct rawreply *r)
{
	return r->head.type == TYPE_OK || r->head.type == TYPE_DONE ||
	    r->head.type == TYPE_ERROR;
}

void
raw_wait(struct rawconn *c, uint64_t id, struct rawreply *ret)
{
	raw_flush(c);
	do {
		PROC_CHECK(raw_take(c, ret),
		    "the connection ended before request %llu was answered",
		    (unsigned long long)id);
	} while (ret->head.id != id || !is_terminal(ret));
}

static void
check_code(const struct rawreply *r, int code)
{
	PROC_CHECK(r->tell.code == (uint64_t)code,
	    "request %llu: %llu (%.*s), not %d: %.*s",
	    (unsigned long long)r->head.id, (unsigned long long)r->tell.code,
	    (int)r->tell.name.n, (const char *)r->tell.name.p, code,
	    (int)r->tell.message.n, (const char *)r->tell.message.p);
}

void
raw_expect(struct rawconn *c, uint64_t id, int code)
{
	struct rawreply r;

	raw_wait(c, id, &r);
	check_code(&r, code);
}

int64_t
raw_expect_int(struct rawconn *c, uint64_t id)
{
	struct rawreply r;
	struct value v = { .kind = VALUE_NULL };

	raw_wait(c, id, &r);
	check_code(&r, 0);
	if (MSG_HAS(&r.tell, TELL_rows)) {
		value_read(&r.tell.rows, &v); /* array of rows */
		PROC_CHECK(v.count > 0, "no row");
		value_read(&r.tell.rows, &v); /* array of values */
		value_read(&r.tell.rows, &v);
	}
	PROC_CHECK(v.kind == VALUE_INT, "it is no integer");
	return v.i;
}

static bool
is_text(const struct value *v, const char *text)
{
	return v->kind == VALUE_TEXT && v->s.n == strlen(text) &&
	    memcmp(v->s.p, text, v->s.n) == 0;
}

static uint32_t
find_column(struct span columns, const char *name)
{
	struct value v;
	uint32_t n;

	value_read(&columns, &v);
	n = v.count;
	for (uint32_t i = 0; i < n; i++) {
		value_read(&columns, &v);
		if (is_text(&v, name))
			return i;
	}
	proc_fail("no column %s", name);
}

/* Steps over one row. */
static bool
match_row(struct span *cur, const char *first, const char *second, uint32_t at,
    int64_t *ret)
{
	struct value v;
	bool ok = true;
	uint32_t n;

	value_read(cur, &v);
	n = v.count;
	for (uint32_t i = 0; i < n; i++) {
		value_read(cur, &v);
		ok = ok && (i > 0 || is_text(&v, first)) &&
		    (i != 1 || !second || is_text(&v, second));
		if (ok && i == at)
			*ret = v.kind == VALUE_INT ? v.i
			    : v.kind == VALUE_REAL ? (int64_t)v.f
						   : -1;
	}
	return ok;
}

int64_t
raw_find_int(const struct rawreply *r, const char *first, const char *second,
    const char *column)
{
	struct span cur = r->tell.rows;
	uint32_t at = find_column(r->tell.columns, column);
	struct value v = { .count = 0 };
	int64_t found = -1, here = -1;

	value_read(&cur, &v);
	for (uint32_t i = v.count; i > 0; i--)
		if (match_row(&cur, first, second, at, &here))
			found = here;
	return found;
}

void
raw_expect_end(struct rawconn *c)
{
	struct rawreply r;

	PROC_CHECK(!raw_take(c, &r), "a reply instead of the end: type %llu",
	    (unsigned long long)r.head.type);
}

void
raw_run(struct rawconn *c, uint64_t stream, const char *sql, int code)
{
	raw_expect(c, raw_put_exec(c, stream, sql), code);
}

int64_t
raw_run_int(struct rawconn *c, uint64_t stream, const char *sql)
{
	return raw_expect_int(c, raw_put_exec(c, stream, sql));
}

void
raw_begin(struct rawconn *c, enum msg_tx_mode mode)
{
	raw_expect(c, raw_put_begin(c, 0, mode), 0);
}

void
raw_end(struct rawconn *c, bool commit)
{
	raw_expect(c, raw_put_end(c, 0, commit), 0);
}

/* The answer to a PING comes after what was sent before it is where it has to
 * wait. */
void
raw_let_arrive(struct rawconn *c)
{
	raw_expect(c, raw_put(c, TYPE_PING, 0), 0);
}
