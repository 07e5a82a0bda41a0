/* wire.c - the daemon's frames of a point read. */
#include "tests/bench/lib/wire.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/frame.h"
#include "proto/msg.h"
#include "proto/value.h"
#include "proto/walk.h"

/* As the library's default, which it sends with each request. */
#define TIMEOUT_MS 30000
/* What the daemon says of times and the WAL is a digit or two. */
#define TYPICAL_US 9

static void
end(struct msg_out *m)
{
	/* out of memory stays in the buffer, and whoever writes it asks */
	(void)msg_end(m, FRAME_HARD_MAX_BYTES);
}

static void
begin(struct msg_out *m, struct buf *b, enum msg_type type, uint64_t id)
{
	msg_begin(m, b, type, id, 0);
	msg_put_uint(m, HEAD_timeout_ms, TIMEOUT_MS);
	msg_open_body(m);
}

void
wire_put_hello(
    struct buf *b, uint64_t id, const char *database, uint64_t window_bytes)
{
	struct msg_out m;

	msg_begin(&m, b, TYPE_HELLO, id, 0);
	if (database)
		msg_put_str(&m, HEAD_database, database);
	msg_open_body(&m);
	msg_put_uint(&m, ASK_version, MSG_VERSION);
	msg_put_uint(&m, ASK_max_frame, FRAME_DEFAULT_MAX_BYTES);
	msg_put_uint(&m, ASK_window_bytes, window_bytes);
	end(&m);
}

void
wire_put_prepare(struct buf *b, uint64_t id, const char *sql)
{
	struct msg_out m;

	begin(&m, b, TYPE_PREPARE, id);
	msg_put_str(&m, ASK_sql, sql);
	msg_put_uint(&m, ASK_stmt, WIRE_STMT);
	end(&m);
}

void
wire_put_exec(struct buf *b, uint64_t id, uint64_t key)
{
	struct msg_out m;

	begin(&m, b, TYPE_EXEC, id);
	msg_put_uint(&m, ASK_stmt, WIRE_STMT);
	msg_key(&m, ASK_params);
	value_put_array(b, 1);
	value_put_uint(b, key);
	end(&m);
}

void
wire_put_credit(struct buf *b, uint64_t target, uint64_t bytes)
{
	struct msg_out m;

	msg_begin_body(&m, b, TYPE_CREDIT, 0, 0);
	msg_put_uint(&m, ASK_target, target);
	msg_put_uint(&m, ASK_credit_bytes, bytes);
	end(&m);
}

void
wire_put_row(
    struct buf *b, uint64_t id, const struct bench_plan *plan, uint64_t key)
{
	char *text = malloc((size_t)plan->text_n + 1);
	struct msg_out m;
	size_t at;

	msg_begin_body(&m, b, TYPE_DONE, id, 0);
	msg_key(&m, TELL_columns);
	value_put_array(b, 2);
	value_put_str(b, "n", 1);
	value_put_str(b, "c", 1);
	msg_key(&m, TELL_rows);
	at = b->n;
	value_put_open_array(b);
	value_put_array(b, 2);
	value_put_int(b, 0);
	if (text) {
		bench_text(plan, key, text);
		value_put_text(b, text, plan->text_n);
	} else {
		b->failed = true;
	}
	if (!buf_failed(b))
		value_close_array(b, at, 1);
	msg_put_uint(&m, TELL_queue_us, TYPICAL_US);
	msg_put_uint(&m, TELL_exec_us, TYPICAL_US);
	end(&m);
	free(text);
}

static int
read_reply(struct span content, struct msg_head *head, struct msg_tell *tell)
{
	struct span head_map, body_map;
	struct msg_fault fault;

	if (walk_frame(content, &head_map, &body_map) < 0 ||
	    msg_read_head(head_map, head, &fault) < 0 ||
	    msg_read_tell(body_map, tell, &fault) < 0)
		return -1;
	return 0;
}

int
wire_check_type(struct span content, uint64_t type, char *why, size_t why_n)
{
	struct msg_head head;
	struct msg_tell tell;

	if (read_reply(content, &head, &tell) < 0) {
		snprintf(why, why_n, "a reply that cannot be read");
		return -1;
	}
	if (head.type == type)
		return 0;
	if (head.type == TYPE_ERROR)
		snprintf(why, why_n, "the daemon says: %.*s",
		    (int)tell.message.n, (const char *)tell.message.p);
	else
		snprintf(why, why_n, "a reply of type %" PRIu64, head.type);
	return -1;
}

int
wire_check_row(struct span content, const struct bench_plan *plan, uint64_t key,
    const char **ret_why)
{
	struct msg_head head;
	struct msg_tell tell;
	struct value v;
	struct span cur;

	*ret_why = "a reply that is no DONE with rows";
	if (read_reply(content, &head, &tell) < 0 || head.type != TYPE_DONE ||
	    !MSG_HAS(&tell, TELL_rows))
		return -1;
	*ret_why = "there is not one row of two columns";
	cur = tell.rows;
	value_read(&cur, &v);
	if (v.kind != VALUE_ARRAY || v.count != 1)
		return -1;
	value_read(&cur, &v);
	if (v.kind != VALUE_ARRAY || v.count != 2)
		return -1;
	value_skip(&cur);
	value_read(&cur, &v);
	*ret_why = "the row holds another text";
	if (v.kind != VALUE_TEXT || !bench_text_is(plan, key, v.s.p, v.s.n))
		return -1;
	return 0;
}
