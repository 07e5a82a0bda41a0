/* peer_inproc.c - SQLite in the process, alone with the file: the ceiling.
 *
 *	peer_inproc -s FILE [-o batch=N] [-o vfs=unix-excl] ...
 *
 * batch: statements in one transaction, 1 by default: then each is a transaction
 * of its own.  They are "in flight" together: a write's time ends with the COMMIT
 * that makes it durable, and so does a read's, which is not counted before its
 * transaction has ended well.
 *
 * One process, one thread, one client. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/lib/file.h"

#define BATCH_MAX   10000
#define ASYNC_KINDS (1U << BENCH_READ | 1U << BENCH_RANGE | 1U << BENCH_WRITE)

struct inproc {
	struct file file;
	unsigned begun_n; /* operations whose transaction has not ended */
};

static int
inproc_check(struct bench_plan *plan, char *why, size_t why_n)
{
	const char *text = bench_get_opt(plan, "batch", "1");
	char *end;
	unsigned long batch = strtoul(text, &end, 10);

	if (*end || batch < 1 || batch > BATCH_MAX) {
		snprintf(
		    why, why_n, "-o batch is a number from 1 to %d", BATCH_MAX);
		return -1;
	}
	if (plan->clients_n != 1 || plan->depth != 1 || plan->rate > 0) {
		snprintf(why, why_n,
		    "there is one client, which goes as fast as it can: say "
		    "-c 1, no -d, no -R; -o batch=N puts N into a transaction");
		return -1;
	}
	plan->depth = (unsigned)batch;
	if (file_check_options(plan, "batch", why, why_n) < 0)
		return -1;
	return file_check(plan, why, why_n);
}

static int
fail(struct bench_client *client, int rc)
{
	const struct inproc *p = client->data;

	return bench_fail(client, "%s",
	    rc == FILE_BUSY ? "database is locked, though it has one user"
			    : p->file.why);
}

static void
inproc_close(struct bench_client *client)
{
	struct inproc *p = client->data;

	file_close(&p->file);
	free(p);
}

static int
inproc_open(struct bench_client *client)
{
	struct inproc *p = calloc(1, sizeof(*p));
	int rc;

	if (!p)
		return bench_fail(client, "out of memory");
	client->data = p;
	rc = file_open(&p->file, client->plan);
	if (rc == 0)
		return 0;
	(void)fail(client, rc);
	inproc_close(client);
	return -1;
}

static int
inproc_send(struct bench_client *client, struct bench_op *op)
{
	struct inproc *p = client->data;
	bool batches = client->plan->depth > 1;
	int rc = 0;

	if (batches && p->begun_n == 0)
		rc = file_exec(&p->file,
		    bench_has(client->plan, BENCH_WRITE) ? FILE_BEGIN_IMMEDIATE
							 : FILE_BEGIN);
	p->begun_n++;
	if (rc == 0)
		rc = file_run(&p->file, op);
	return rc == 0 ? 0 : fail(client, rc);
}

/* All that are in flight form the transaction. */
static int
inproc_wait(struct bench_client *client)
{
	struct inproc *p = client->data;
	int rc = client->plan->depth > 1 ? file_exec(&p->file, FILE_COMMIT) : 0;

	if (rc != 0)
		return fail(client, rc);
	p->begun_n = 0;
	for (unsigned i = 0; i < client->plan->depth; i++)
		if (client->ops[i].in_flight)
			bench_op_end(client, &client->ops[i]);
	return 0;
}

/* Never called: a client that is alone is waited for. */
static int
inproc_receive(struct bench_client *client)
{
	return bench_fail(client, "there is nothing to be received");
}

static int
inproc_run(struct bench_client *client, struct bench_op *op)
{
	struct inproc *p = client->data;
	int rc = file_run(&p->file, op);

	return rc == 0 ? 0 : fail(client, rc);
}

int
main(int argc, char **argv)
{
	static const struct bench_driver driver = {
		.name = "inproc",
		.kinds = FILE_KINDS,
		.async_kinds = ASYNC_KINDS,
		.open = inproc_open,
		.send = inproc_send,
		.receive = inproc_receive,
		.wait = inproc_wait,
		.run = inproc_run,
		.close = inproc_close,
		.init = file_init,
		.check = inproc_check,
		.begin_verify = file_begin_verify,
		.verify = file_verify,
	};

	return bench_main(argc, argv, &driver);
}
