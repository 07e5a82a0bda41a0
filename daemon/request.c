/* request.c - the travelling object. */
#include "daemon/request.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/clock.h"
#include "proto/error.h"

/* So many ended requests are kept, 200 KB of them: enough for the turns of a busy
 * worker.  None under a sanitizer, which sees when freed memory is used. */
#ifndef REQUEST_POOL_MAX
#define REQUEST_POOL_MAX 256
#endif

#define EDGE(to) (1u << REQUEST_##to)

/* Where each state may go; the picture in request.h. */
static const unsigned edges[REQUEST_STATES_N] = {
	[REQUEST_NEW] = EDGE(PARKED) | EDGE(QUEUED) | EDGE(ANSWERED),
	[REQUEST_PARKED] = EDGE(NEW) | EDGE(QUEUED) | EDGE(ANSWERED),
	[REQUEST_QUEUED] = EDGE(RUNNING) | EDGE(ANSWERED),
	[REQUEST_RUNNING] = EDGE(ANSWERED) | EDGE(NEW) | EDGE(QUEUED),
	[REQUEST_ANSWERED] = 0,
};

struct request *
request_new(void)
{
	struct request *r = calloc(1, sizeof(*r));

	if (r)
		failure_init(&r->failure);
	return r;
}

void
request_free_piece(struct request *r, struct piece *p)
{
	buf_fini(&p->bytes);
	if (p != &r->last)
		free(p);
}

static void
free_pieces(struct request *r, struct piece *p)
{
	while (p) {
		struct piece *next = p->next;

		request_free_piece(r, p);
		p = next;
	}
}

/* Free what it owns, which most requests own nothing of. */
static void
release(struct request *r)
{
	if (r->unsent)
		free_pieces(r, r->unsent);
	if (r->inbox)
		free_pieces(r, r->inbox);
	if (r->out.p)
		buf_fini(&r->out);
	if (r->failure.text)
		failure_fini(&r->failure);
	if (r->tx)
		tx_unref(r->tx);
	if (r->vars)
		vars_unref(r->vars);
	if (r->steps)
		free(r->steps);
	if (r->order)
		free(r->order);
	if (r->bytes)
		free(r->bytes);
	if (r->frame)
		free(r->frame);
}

void
request_free(struct request *r)
{
	if (!r)
		return;
	release(r);
	free(r);
}

struct request *
request_take(struct request_pool *pool)
{
	struct request *r = pool->free;

	if (!r)
		return request_new();
	pool->free = r->next;
	pool->n--;
	memset(r, 0, sizeof(*r));
	failure_init(&r->failure);
	return r;
}

void
request_give(struct request_pool *pool, struct request *r)
{
	if (pool->n == REQUEST_POOL_MAX) {
		request_free(r);
		return;
	}
	release(r);
	r->next = pool->free;
	pool->free = r;
	pool->n++;
}

void
request_pool_fini(struct request_pool *pool)
{
	struct request *r = pool->free;

	while (r) {
		struct request *next = r->next;

		free(r);
		r = next;
	}
	*pool = (struct request_pool){ 0 };
}

void
request_move(struct request *r, enum request_state to)
{
	assert(edges[request_get_state(r)] & (1u << to));
	atomic_store_explicit(&r->state, (int)to, memory_order_relaxed);
	if (to == REQUEST_NEW)
		r->stats = NULL;
}

static void
copy_span(struct span *s, uint8_t **to)
{
	if (s->n > 0)
		memcpy(*to, s->p, s->n);
	s->p = *to;
	*to += s->n;
}

/* Steps that run the same statement share its text. */
static bool
shares_sql(const struct request *r, size_t i)
{
	return i > 0 && r->steps[i].sql.p == r->steps[i - 1].sql.p;
}

static size_t
count_bytes(const struct request *r)
{
	size_t n = r->sql.n + 1 + (r->frame ? 0 : r->params.n) +
	    (r->owner ? sizeof(*r->owner) : 0);

	for (size_t i = 0; i < r->steps_n; i++) {
		const struct step *s = &r->steps[i];

		n += shares_sql(r, i) ? 0 : s->sql.n;
		n += r->frame ? 0 : s->params.n + s->cond.n;
	}
	return n;
}

static void
copy_steps(struct request *r, uint8_t *to)
{
	struct span from = { 0 }, copy = { 0 }; /* of the last text */

	for (size_t i = 0; i < r->steps_n; i++) {
		struct step *s = &r->steps[i];

		if (i == 0 || s->sql.p != from.p) {
			from = s->sql;
			copy_span(&s->sql, &to);
			copy = s->sql;
		}
		s->sql = copy;
		if (r->frame)
			continue;
		copy_span(&s->params, &to);
		copy_span(&s->cond, &to);
	}
}

int
request_own(struct request *r)
{
	uint8_t *to;

	if (r->owned)
		return 0;
	to = malloc(count_bytes(r));
	if (!to)
		return -ERR_NO_MEMORY;
	r->bytes = to;
	r->owned = true;
	if (r->owner) {
		memcpy(to, r->owner, sizeof(*r->owner));
		r->owner = r->bytes;
		to += sizeof(*r->owner);
	}
	copy_span(&r->sql, &to);
	*to++ = '\0';
	if (!r->frame)
		copy_span(&r->params, &to);
	copy_steps(r, to);
	return 0;
}

void
request_reset_result(struct request *r)
{
	failure_fini(&r->failure);
	buf_reset(&r->out);
	r->changes = r->rowid = 0;
	r->seq = 0;
}

void
request_stop(struct request *r, int code)
{
	int none = 0;

	atomic_compare_exchange_strong(&r->stop, &none, code);
}

int
request_get_stop(const struct request *r)
{
	return atomic_load_explicit(&r->stop, memory_order_relaxed);
}

void
request_fail_stopped(struct request *r, const char *where)
{
	int code = request_get_stop(r);
	double waited_ms = (double)(clock_now_us() - r->arrived_us) / 1000;

	if (code == ERR_DEADLINE)
		failure_set(&r->failure, code,
		    "request timed out after %.0f ms %s", waited_ms, where);
	else if (code == ERR_STALLED)
		failure_set(&r->failure, code,
		    "the client left the result unread for too long; read "
		    "faster or ask for fewer rows (stall_timeout)");
	else if (code == ERR_SNAPSHOT_ENDED)
		failure_set(&r->failure, code,
		    "the read was ended: its snapshot grew older than "
		    "max_snapshot_age while the WAL was over its limit; read "
		    "less at a time, or faster");
	else
		failure_set(
		    &r->failure, code, "%s %s", error_get_text(code), where);
}

void
line_push(struct line *line, struct request *r)
{
	r->next = NULL;
	if (line->tail)
		line->tail->next = r;
	else
		line->head = r;
	line->tail = r;
}

void
line_push_front(struct line *line, struct request *r)
{
	r->next = line->head;
	line->head = r;
	if (!line->tail)
		line->tail = r;
}

struct request *
line_pop(struct line *line)
{
	struct request *r = line->head;

	if (!r)
		return NULL;
	line->head = r->next;
	if (!line->head)
		line->tail = NULL;
	r->next = NULL;
	return r;
}

void
line_remove(struct line *line, const struct request *r)
{
	struct line kept = { 0 };
	struct request *each;

	while ((each = line_pop(line)))
		if (each != r)
			line_push(&kept, each);
	*line = kept;
}

struct line
line_take_stopped(struct line *line)
{
	struct line stopped = { 0 }, kept = { 0 };
	struct request *r;

	while ((r = line_pop(line)))
		line_push(request_get_stop(r) ? &stopped : &kept, r);
	*line = kept;
	return stopped;
}

void
failure_init(struct failure *f)
{
	*f = (struct failure){ .offset = -1, .step = -1 };
}

void
failure_fini(struct failure *f)
{
	free(f->text);
	failure_init(f);
}

int
failure_set(struct failure *f, int code, const char *fmt, ...)
{
	va_list args;

	failure_fini(f);
	f->code = code;
	f->outcome = error_get_outcome(code);
	va_start(args, fmt);
	if (vasprintf(&f->text, fmt, args) < 0)
		f->text = NULL;
	va_end(args);
	return -code;
}
