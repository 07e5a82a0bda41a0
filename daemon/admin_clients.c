/* admin_clients.c - commands about clients and workers: they travel. */
#include "daemon/admin_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/clock.h"
#include "daemon/hots.h"
#include "daemon/road.h"
#include "daemon/stats.h"

/* --- SHOW CLIENTS ------------------------------------------------------------- */

static const char *
get_state(const struct client *cl, const struct request *oldest)
{
	if (cl->closed || cl->hangs_up)
		return "closing";
	if (!cl->said_hello)
		return "connecting";
	if (oldest)
		return admin_is_waiting(oldest) ? "waiting" : "busy";
	if (cl->away_n > 0)
		return "fetching";
	return cl->sessions ? "in transaction" : "idle";
}

static void
put_client(struct admin *ad, const struct client *cl, int64_t now)
{
	const struct request *oldest = client_find_oldest(cl);

	admin_put_row(ad);
	admin_put_uint(ad, cl->number);
	admin_put_uint(ad, (uint64_t)cl->owner.pid);
	admin_put_uint(ad, (uint64_t)cl->owner.uid);
	admin_put_str(ad, cl->owner.app);
	admin_put_str(ad,
	    cl->db                ? cl->db->conf->name
		: cl->is_admin_db ? "@admin"
				  : NULL);
	admin_put_str(ad, get_state(cl, oldest));
	admin_put_since(ad, cl->connected_us, now);
	admin_put_since(ad, oldest ? oldest->arrived_us : 0, now);
	if (oldest)
		admin_put_uint(ad, oldest->id);
	else
		admin_put_null(ad);
	admin_put_uint(ad, cl->away_n);
	admin_put_uint(ad, cl->away_bytes + cl->unsent_bytes + cl->out.bytes);
	admin_put_sql(ad, oldest ? oldest->sql : (struct span){ NULL, 0 },
	    ADMIN_SQL_BYTES);
}

static void
visit_clients(struct admin *ad, struct loop *loop)
{
	int64_t now = clock_now_us();

	for (struct client *cl = loop->clients; cl; cl = cl->next)
		put_client(ad, cl, now);
	for (struct client *cl = loop->zombies; cl; cl = cl->next)
		put_client(ad, cl, now);
}

/* --- SHOW WORKERS ----------------------------------------------------------- */

static void
visit_workers(struct admin *ad, struct loop *loop)
{
	struct stats_sum batches = { .sum = 0 };
	struct timespec cpu = { 0 };
	uint64_t n;
	unsigned away_n = 0;

	for (struct client *cl = loop->clients; cl; cl = cl->next)
		away_n += cl->away_n;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
	hots_add_batches(loop, &batches);
	n = stats_get_observed(&batches);
	admin_put_row(ad);
	admin_put_uint(ad, loop->number);
	admin_put_uint(ad, loop->clients_n);
	admin_put_uint(ad, away_n);
	admin_put_uint(ad, loop->waiting_n);
	admin_put_uint(ad, loop->held_n);
	admin_put_real(ad, (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
	admin_put_real(ad, stats_get_busy());
	admin_put_uint(ad, n);
	admin_put_real(ad, n ? (double)batches.sum / (double)n : 0);
	admin_put_uint(ad, stats_get_quantile(HIST_batch_size, &batches, 0.99));
}

/* --- KILL, CANCEL ------------------------------------------------------------- */

/* What follows the number, and blanks around it; NULL: there is none. */
static const char *
parse_number(const char *text, uint64_t *ret_number)
{
	char *end;

	text += strspn(text, " \t\n");
	if (*text < '0' || *text > '9')
		return NULL;
	errno = 0;
	*ret_number = strtoull(text, &end, 10);
	return errno ? NULL : end + strspn(end, " \t\n");
}

static int
parse_numbers(struct admin *ad, int n)
{
	const char *rest = parse_number(ad->args, &ad->target);

	if (rest && n > 1)
		rest = parse_number(rest, &ad->target_request);
	if (rest && *rest == '\0')
		return 0;
	return failure_set(&ad->r->failure, ERR_FIELD_RANGE,
	    "write it as: %s %s; SHOW CLIENTS has the numbers",
	    ad->command->words, ad->command->args);
}

static void
run_kill(struct admin *ad)
{
	parse_numbers(ad, 1);
}

static void
run_cancel(struct admin *ad)
{
	parse_numbers(ad, 2);
}

static struct client *
find_client(const struct admin *ad, const struct loop *loop)
{
	for (struct client *cl = loop->clients; cl; cl = cl->next)
		if (cl->number == ad->target)
			return cl;
	return NULL;
}

/* Told why, with its requests answered, if it reads that; the second time it is
 * not waited for. */
static void
visit_kill(struct admin *ad, struct loop *loop)
{
	struct client *cl = find_client(ad, loop);
	struct buf *b;

	if (!cl)
		return;
	ad->found = true;
	stats_add(STAT_kills, 1);
	if (cl->hangs_up) {
		client_close(cl, CLOSE_KILLED);
		return;
	}
	b = client_begin_reply(cl);
	if (!b)
		return;
	answer_fault(
	    b, ERR_KILLED, "an administrator ended this connection (KILL)");
	client_end_reply(cl, b);
	client_hang_up(cl, CLOSE_KILLED);
}

static void
visit_cancel(struct admin *ad, struct loop *loop)
{
	struct client *cl = find_client(ad, loop);
	struct request *r;

	if (!cl)
		return;
	r = client_find_request(cl, ad->target_request, ad->r);
	if (!r || r->home_again)
		return;
	ad->found = true;
	stats_add(STAT_cancels, 1);
	road_stop(cl, r, ERR_CANCELLED);
}

static void
end_search(struct admin *ad)
{
	if (ad->found)
		return;
	failure_set(&ad->r->failure, ERR_NOT_FOUND,
	    ad->command->visit == visit_kill
		? "no client has the number %" PRIu64 " (any more); SHOW "
		  "CLIENTS has the numbers"
		: "client %" PRIu64 " has no request %" PRIu64
		  " under way (any "
		  "more); SHOW CLIENTS has the numbers",
	    ad->target, ad->target_request);
}

/* clang-format off */
const struct admin_command admin_clients_commands[] = {
	{ .words = "SHOW CLIENTS",
	  .columns = { "client", "pid", "uid", "application", "database", "state",
	               "connected_ms", "for_ms", "request", "requests", "bytes",
	               "statement" },
	  .visit = visit_clients,
	  .text = "connections, with the oldest request that each has under way" },
	{ .words = "SHOW WORKERS",
	  .columns = { "worker", "clients", "requests", "waiting", "held",
	               "cpu_s", "busy", "batches", "batch_mean", "batch_p99" },
	  .visit = visit_workers,
	  .text = "event loop threads; busy: the share of a processor in the last seconds; batches: read transactions that short reads shared, on connections that are open now, and how many in each" },
	{ .words = "KILL", .args = "CLIENT", .right = ADMIN_ACTS,
	  .run = run_kill, .visit = visit_kill, .end = end_search,
	  .text = "end a connection: what it has under way is cancelled, its transactions are rolled back" },
	{ .words = "CANCEL", .args = "CLIENT REQUEST", .right = ADMIN_ACTS,
	  .run = run_cancel, .visit = visit_cancel, .end = end_search,
	  .text = "stop one request, as its own client could" },
	{ .words = NULL },
};
/* clang-format on */
