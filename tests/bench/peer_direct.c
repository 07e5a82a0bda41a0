/* peer_direct.c - processes that open the SQLite file themselves: what an
 * application does without the daemon.
 *
 *	peer_direct -s FILE [-o synchronous=normal] [-o connect=each] ...
 *
 * connect=hot: a connection for the client's life, with prepared statements.
 * connect=each: for each operation the file is opened, set up by its PRAGMAs, and
 * closed.  Whoever finds the file locked for 5 s (busy_timeout) gives up: that is
 * counted as an error and belongs to the result.
 *
 * One client for each process, since POSIX locks are a process's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/lib/file.h"
#include "tests/bench/lib/known.h"

struct direct {
	struct file file;
	bool each;
	bool is_open;
};

static int
direct_check(struct bench_plan *plan, char *why, size_t why_n)
{
	static const char *const connect[] = { "hot", "each" };
	size_t n;

	if (file_check_options(plan, "connect", why, why_n) < 0 ||
	    !known_is_either(plan, "connect", connect, why, why_n))
		return -1;
	if (plan->processes_n == 0)
		plan->processes_n = plan->clients_n;
	if (plan->processes_n != plan->clients_n || plan->threads_n != 1) {
		snprintf(why, why_n,
		    "each client needs a process: leave out "
		    "-j and -t");
		return -1;
	}
	if (file_check(plan, why, why_n) < 0)
		return -1;
	n = strlen(plan->about);
	snprintf(plan->about + n, sizeof(plan->about) - n, ", connection %s",
	    bench_get_opt(plan, "connect", "hot"));
	return 0;
}

static int
direct_open(struct bench_client *client)
{
	struct direct *d = calloc(1, sizeof(*d));

	if (!d)
		return bench_fail(client, "out of memory");
	d->each = strcmp(bench_get_opt(client->plan, "connect", "hot"),
		      "each") == 0;
	client->data = d;
	return 0;
}

static void
direct_close(struct bench_client *client)
{
	struct direct *d = client->data;

	if (d->is_open)
		file_close(&d->file);
	free(d);
}

/* The hot connection is opened here, too, so that finding the file locked then
 * is counted as it is later. */
static int
direct_run(struct bench_client *client, struct bench_op *op)
{
	struct direct *d = client->data;
	int rc = d->is_open ? 0 : file_open(&d->file, client->plan);

	if (!d->is_open && rc != 0)
		file_close(&d->file);
	else
		d->is_open = true;
	if (rc == 0)
		rc = file_run(&d->file, op);
	if (rc < 0)
		return bench_fail(client, "%s", d->file.why);
	if (d->is_open && d->each) {
		file_close(&d->file);
		d->is_open = false;
	}
	if (rc == FILE_BUSY)
		bench_op_error(client, op);
	return 0;
}

int
main(int argc, char **argv)
{
	static const struct bench_driver driver = {
		.name = "direct",
		.kinds = FILE_KINDS,
		.open = direct_open,
		.run = direct_run,
		.close = direct_close,
		.init = file_init,
		.check = direct_check,
		.begin_verify = file_begin_verify,
		.verify = file_verify,
	};

	return bench_main(argc, argv, &driver);
}
