/* tx.c - transactions and session variables, counted. */
#include "daemon/tx.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/clock.h"
#include "proto/error.h"

struct tx *
tx_new(enum msg_tx_mode mode, const struct owner *owner)
{
	struct tx *tx = calloc(1, sizeof(*tx));

	if (!tx)
		return NULL;
	atomic_init(&tx->refs, 1);
	tx->mode = mode;
	tx->owner = *owner;
	tx->began_us = clock_now_us();
	tx->last_us = tx->began_us;
	return tx;
}

struct tx *
tx_ref(struct tx *tx)
{
	if (tx)
		atomic_fetch_add(&tx->refs, 1);
	return tx;
}

static void
pop_savepoint(struct tx *tx)
{
	struct savepoint *s = tx->savepoints;

	tx->savepoints = s->next;
	free(s);
}

void
tx_unref(struct tx *tx)
{
	if (!tx || atomic_fetch_sub(&tx->refs, 1) != 1)
		return;
	while (tx->savepoints)
		pop_savepoint(tx);
	free(tx);
}

bool
tx_has_begun(const struct tx *tx)
{
	return !tx->implicit || tx->savepoints;
}

void
tx_touch(struct tx *tx, struct span sql)
{
	size_t n = sql.n < TX_SQL_BYTES ? sql.n : TX_SQL_BYTES - 1;

	tx->last_us = clock_now_us();
	if (!sql.p)
		return;
	memcpy(tx->last_sql, sql.p, n);
	tx->last_sql[n] = '\0';
}

void
tx_expire(struct tx *tx, int code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(tx->expired_text, sizeof(tx->expired_text), fmt, args);
	va_end(args);
	atomic_store(&tx->expired, code);
}

int
tx_push_savepoint(struct tx *tx, const char *name)
{
	size_t n = strlen(name) + 1;
	struct savepoint *s = malloc(sizeof(*s) + n);

	if (!s)
		return -ERR_NO_MEMORY;
	memcpy(s->name, name, n);
	s->next = tx->savepoints;
	tx->savepoints = s;
	return 0;
}

/* Savepoint names compare without case: sqlite.org/lang_savepoint.html. */
const struct savepoint *
tx_find_savepoint(const struct tx *tx, const char *name)
{
	const struct savepoint *s = tx->savepoints;

	while (s && strcasecmp(s->name, name) != 0)
		s = s->next;
	return s;
}

void
tx_release_savepoint(struct tx *tx, const char *name)
{
	tx_rollback_to_savepoint(tx, name);
	if (tx->savepoints && strcasecmp(tx->savepoints->name, name) == 0)
		pop_savepoint(tx);
}

void
tx_rollback_to_savepoint(struct tx *tx, const char *name)
{
	if (!tx_find_savepoint(tx, name))
		return;
	while (strcasecmp(tx->savepoints->name, name) != 0)
		pop_savepoint(tx);
}

struct vars *
vars_new(void)
{
	struct vars *v = calloc(1, sizeof(*v));

	if (v)
		atomic_init(&v->refs, 1);
	return v;
}

struct vars *
vars_ref(struct vars *v)
{
	if (v)
		atomic_fetch_add(&v->refs, 1);
	return v;
}

void
vars_unref(struct vars *v)
{
	if (v && atomic_fetch_sub(&v->refs, 1) == 1)
		free(v);
}
