/* collect.c - frames into requests. */
#include "daemon/collect.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/clock.h"
#include "daemon/stats.h"
#include "proto/error.h"
#include "proto/frame.h"
#include "proto/walk.h"

/* Refuse a message whose fields are wrong, with the id it gave. */
static void
refuse(struct client *cl, struct request *r, const struct msg_fault *fault)
{
	struct buf *b = client_begin_reply(cl);
	char text[160];

	if (b) {
		msg_describe_fault(fault, text, sizeof(text));
		failure_set(&r->failure, fault->code, "%s", text);
		answer_error(r, b);
		client_end_reply(cl, b);
	}
	request_free(r);
}

static void
missing(struct msg_fault *fault, uint64_t key, const char *name)
{
	*fault = (struct msg_fault){
		.code = ERR_FIELD_MISSING,
		.key = key,
		.name = name,
	};
}

/* CREDIT and CANCEL may come without an id: then nothing answers them. */
static bool
needs_id(uint64_t type)
{
	return type != TYPE_CREDIT && type != TYPE_CANCEL;
}

static int
read_head(struct request *r, struct span map, struct msg_head *ret_head,
    struct msg_fault *fault)
{
	int rc = msg_read_head(map, ret_head, fault);

	r->id = ret_head->id;
	r->stream = ret_head->stream;
	if (rc < 0)
		return rc;
	if (!MSG_HAS(ret_head, HEAD_type)) {
		missing(fault, HEAD_type, "type");
		return -ERR_FIELD_MISSING;
	}
	if (ret_head->id == 0 && needs_id(ret_head->type)) {
		missing(fault, HEAD_id, "id");
		return -ERR_FIELD_MISSING;
	}
	return 0;
}

/* When it is due.  A timeout that the clock cannot hold is none. */
static int64_t
get_deadline(const struct conf *conf, int64_t now, uint64_t timeout_ms)
{
	if (timeout_ms > (uint64_t)INT32_MAX)
		return 0;
	if (timeout_ms)
		return now + (int64_t)timeout_ms * 1000;
	return conf->request_timeout_us ? now + conf->request_timeout_us : 0;
}

/* Take from the body what execution needs. */
static void
take_body(struct request *r)
{
	r->sql = r->ask.sql;
	r->params = r->ask.params;
	r->max_rows = r->ask.max_rows;
	r->commit = r->ask.commit;
}

static void
fill_in(struct client *cl, struct request *r, const struct msg_head *head)
{
	struct loop *loop = cl->loop;

	r->client = cl;
	r->home = &loop->mailbox;
	r->type = (enum msg_type)head->type;
	r->max_frame_bytes = cl->max_frame_bytes;
	r->decltypes = (cl->features & MSG_FEATURE_DECLTYPES) != 0;
	r->arrived_us = clock_now_us();
	r->deadline_us = get_deadline(
	    loop->conf, r->arrived_us, head->timeout_ms);
	r->database = head->database;
	take_body(r);
}

int
collect_keep(struct request *r)
{
	struct span head_map, body_map;
	struct msg_fault fault;
	struct msg_head head;

	if (r->frame)
		return 0;
	r->frame = malloc(r->content.n);
	if (!r->frame)
		return -ERR_NO_MEMORY;
	memcpy(r->frame, r->content.p, r->content.n);
	r->content.p = r->frame;
	/* the same bytes were good before */
	if (walk_frame(r->content, &head_map, &body_map) < 0 ||
	    msg_read_head(head_map, &head, &fault) < 0 ||
	    msg_read_ask(body_map, &r->ask, &fault) < 0)
		return -ERR_NO_MEMORY;
	r->database = head.database;
	take_body(r);
	return 0;
}

int
collect_frame(struct client *cl, struct span content, void *big)
{
	struct span head_map, body_map;
	struct msg_fault fault;
	struct msg_head head;
	struct request *r;
	int rc = walk_frame(content, &head_map, &body_map);

	stats_add(STAT_requests, 1);
	if (rc < 0) {
		free(big);
		return rc;
	}
	r = request_new();
	if (!r) {
		free(big);
		return -ERR_NO_MEMORY;
	}
	r->frame = big;
	r->bytes_n = content.n;
	r->content = content;
	rc = read_head(r, head_map, &head, &fault);
	if (rc == 0)
		rc = msg_read_ask(body_map, &r->ask, &fault);
	if (rc < 0) {
		refuse(cl, r, &fault);
		return 0;
	}
	fill_in(cl, r, &head);
	client_add_request(cl, r);
	line_push(&cl->loop->collected, r);
	return 0;
}
