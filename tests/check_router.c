/* check_router.c - which road a request takes. */
#include <check.h>
#include <stdio.h>

#include "daemon/router.h"
#include "daemon/stats.h"
#include "proto/error.h"
#include "tests/lib/fixture.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char schema[] = "CREATE TABLE t(id INTEGER PRIMARY KEY, v);";

static struct fixture fx;

static void
setup(void)
{
	fixture_open(&fx, NULL, schema);
}

static void
teardown(void)
{
	fixture_close(&fx);
}

static struct request *
ask(const char *type, json_t *body)
{
	return fixture_ask(&fx,
	    json_pack("{s:{s:s, s:i}, s:o}", "head", "type", type, "id", 1,
		"body", body));
}

static struct request *
ask_exec(const char *sql)
{
	return ask("EXEC", json_pack("{s:s}", "sql", sql));
}

/* --- Outside a transaction ------------------------------------------------- */

/* clang-format off */
static const struct exec_case {
	const char *sql;
	enum road road;
	const char *error; /* of ROAD_ERROR */
	enum msg_tx_mode mode; /* of ROAD_BEGIN */
	bool behind_writes, unknown; /* unknown: it is afterwards */
} execs[] = {
	{ .sql = "", .road = ROAD_INLINE },
	{ .sql = "SELECT 1", .road = ROAD_INLINE },
	{ .sql = "SELECT 1", .road = ROAD_INLINE, .behind_writes = true },
	{ .sql = "EXPLAIN DELETE FROM t", .road = ROAD_INLINE },
	{ .sql = "PRAGMA table_info(t)", .road = ROAD_INLINE },
	{ .sql = "INSERT INTO t(v) VALUES(1)", .road = ROAD_WRITER },
	{ .sql = "INSERT INTO t(v) VALUES(1) RETURNING id", .road = ROAD_WRITER },
	{ .sql = "CREATE TABLE n(x)", .road = ROAD_WRITER },
	{ .sql = "PRAGMA user_version = 5", .road = ROAD_WRITER },
	{ .sql = "VACUUM", .road = ROAD_WRITER },
	{ .sql = "BEGIN", .road = ROAD_BEGIN, .mode = TX_MODE_DEFERRED },
	{ .sql = "BEGIN DEFERRED", .road = ROAD_BEGIN, .mode = TX_MODE_DEFERRED },
	{ .sql = "BEGIN IMMEDIATE", .road = ROAD_BEGIN, .mode = TX_MODE_IMMEDIATE },
	{ .sql = "BEGIN EXCLUSIVE", .road = ROAD_BEGIN, .mode = TX_MODE_IMMEDIATE },
	{ .sql = "SAVEPOINT a", .road = ROAD_SAVEPOINT },
	{ .sql = "COMMIT", .error = "cannot commit - no transaction is active" },
	{ .sql = "END", .error = "cannot commit - no transaction is active" },
	{ .sql = "ROLLBACK", .error = "cannot rollback - no transaction is active" },
	{ .sql = "RELEASE a", .error = "no such savepoint: a" },
	{ .sql = "ROLLBACK TO \"a b\"", .error = "no such savepoint: a b" },
	{ .sql = "SELECT * FROM later", .error = "no such table: later" },
	{ .sql = "SELECT * FROM later", .road = ROAD_WRITER, .behind_writes = true, .unknown = true },
	{ .sql = "INSERT INTO later VALUES(1)", .road = ROAD_WRITER, .behind_writes = true, .unknown = true },
	{ .sql = "ATTACH 'x' AS y", .error = "ATTACH, DETACH and VACUUM INTO" },
};
/* clang-format on */

START_TEST(router_knows_the_road_of_a_statement)
{
	const struct exec_case *c = &execs[_i];
	struct request *r = ask_exec(c->sql);
	enum msg_tx_mode mode = TX_MODE_READ;
	enum road road = router_choose(
	    r, fx.hot, fx.conf, c->behind_writes, &mode);

	if (c->error) {
		ck_assert_int_eq(road, ROAD_ERROR);
		ck_assert_msg(strstr(r->failure.text, c->error) != NULL, "%s",
		    r->failure.text);
	} else {
		ck_assert_int_eq(road, c->road);
		ck_assert_int_eq(r->failure.code, 0);
	}
	if (road == ROAD_BEGIN)
		ck_assert_int_eq(mode, c->mode);
	ck_assert_int_eq(r->unknown, c->unknown);
	request_free(r);
}
END_TEST

START_TEST(router_sends_what_is_unknown_to_the_writer_again)
{
	struct request *r = ask_exec("SELECT 1");
	enum msg_tx_mode mode;

	r->unknown = true;
	ck_assert_int_eq(
	    router_choose(r, fx.hot, fx.conf, false, &mode), ROAD_WRITER);
	request_free(r);
}
END_TEST

START_TEST(router_spares_workers_a_read_that_was_too_long)
{
	struct request *r = ask_exec("SELECT 1");
	enum msg_tx_mode mode;
	struct stmt *st;

	ck_assert_int_eq(stmt_prepare(fx.hot, r->sql, &st, &r->failure), 0);
	stmt_mark_heavy(st);
	for (int i = 0; i < 64; i++)
		ck_assert_int_eq(
		    router_choose(r, fx.hot, fx.conf, false, &mode),
		    ROAD_READERS);
	/* then it gets another chance */
	ck_assert_int_eq(
	    router_choose(r, fx.hot, fx.conf, false, &mode), ROAD_INLINE);
	request_free(r);
}
END_TEST

START_TEST(router_runs_no_read_on_workers_without_a_budget)
{
	struct request *r = ask_exec("SELECT 1");
	enum msg_tx_mode mode;

	fx.conf->inline_budget_us = 0;
	ck_assert_int_eq(
	    router_choose(r, fx.hot, fx.conf, false, &mode), ROAD_READERS);
	request_free(r);
}
END_TEST

START_TEST(router_knows_the_road_of_a_message)
{
	enum msg_tx_mode mode = TX_MODE_DEFERRED;
	struct request *r = ask(
	    "TX_BEGIN", json_pack("{s:i}", "tx_mode", TX_MODE_READ));

	ck_assert_int_eq(
	    router_choose(r, fx.hot, fx.conf, false, &mode), ROAD_BEGIN);
	ck_assert_int_eq(mode, TX_MODE_READ);
	request_free(r);
	r = fixture_end(&fx, true);
	ck_assert_int_eq(
	    router_choose(r, fx.hot, fx.conf, false, &mode), ROAD_ERROR);
	ck_assert_int_eq(r->failure.code, ERR_TX_NONE);
	request_free(r);
	/* whatever its statements do */
	r = fixture_script(&fx, "SELECT 1", _i);
	ck_assert_int_eq(
	    router_choose(r, fx.hot, fx.conf, false, &mode), ROAD_WRITER);
	request_free(r);
}
END_TEST

/* clang-format off */
static const struct batch_case {
	struct fixture_step steps[3];
	enum road road;
} batches[] = {
	{ { { .sql = "SELECT 1" }, { .sql = "SELECT * FROM t" } }, ROAD_READERS },
	{ { { .sql = "SELECT 1" }, { .sql = "DELETE FROM t" } }, ROAD_WRITER },
	{ { { .sql = "SELECT 1" }, { .sql = "SELECT * FROM later" } }, ROAD_WRITER },
	{ { { .sql = "CREATE TABLE n(x)" } }, ROAD_WRITER },
	{ { { .sql = "BEGIN" } }, ROAD_WRITER },
	{ { { .sql = "-- nothing" } }, ROAD_READERS },
};
/* clang-format on */

START_TEST(router_knows_the_road_of_a_batch)
{
	struct request *r = fixture_batch(&fx, batches[_i].steps);
	enum msg_tx_mode mode;

	ck_assert_int_eq(
	    router_choose(r, fx.hot, fx.conf, false, &mode), batches[_i].road);
	request_free(r);
}
END_TEST

#define SLOW_N 10

/* 12 tables, each of which names the one before twice: 25 ms each. */
static struct span
make_slow(size_t number)
{
	static char texts[SLOW_N][2000];
	char *sql = texts[number];
	size_t n;

	n = (size_t)sprintf(sql, "WITH c0 AS (SELECT %zu AS x)", number);
	for (int i = 1; i < 12; i++)
		n += (size_t)sprintf(sql + n,
		    ", c%d AS (SELECT (SELECT x FROM c%d) +"
		    " (SELECT x FROM c%d) AS x)",
		    i, i - 1, i - 1);
	n += (size_t)sprintf(sql + n, " SELECT * FROM c11");
	return (struct span){ (const uint8_t *)sql, n };
}

/* All of them would hold up the worker; whoever runs it finds out. */
START_TEST(router_does_not_prepare_all_of_a_slow_batch)
{
	static struct fixture_step steps[SLOW_N + 1];
	enum msg_tx_mode mode = TX_MODE_DEFERRED;
	struct request *r;
	uint64_t before;

	for (size_t i = 0; i < SLOW_N; i++)
		steps[i].sql = "SELECT 1";
	r = fixture_batch(&fx, steps);
	for (size_t i = 0; i < r->steps_n; i++)
		r->steps[i].sql = make_slow(i);
	before = stats_get(STAT_statements_prepared);
	ck_assert_int_eq(
	    router_choose(r, fx.hot, fx.conf, false, &mode), ROAD_WRITER);
	ck_assert(r->unknown);
	ck_assert_uint_lt(stats_get(STAT_statements_prepared), before + SLOW_N);
	request_free(r);
}
END_TEST

/* --- Inside one ------------------------------------------------------------ */

enum what {
	EXEC,
	BATCH_READS,
	BATCH_WRITES,
	SCRIPT,
	TX_BEGIN,
	COMMIT,
	ROLLBACK
};

/* clang-format off */
static const struct tx_case {
	enum what what;
	const char *sql; /* of EXEC */
	enum msg_tx_mode mode;
	enum msg_tx_state state;
	enum road road;
	int code; /* of the failure; ROAD_END may have one */
	bool behind_writes;
} txs[] = {
	/* the first statement decides */
	{ EXEC, "SELECT 1", TX_MODE_DEFERRED, TX_STATE_OPEN, ROAD_READERS, 0, false },
	{ EXEC, "INSERT INTO t(v) VALUES(1)", TX_MODE_DEFERRED, TX_STATE_OPEN, ROAD_WRITER, 0, false },
	{ EXEC, "CREATE TABLE n(x)", TX_MODE_DEFERRED, TX_STATE_OPEN, ROAD_WRITER, 0, false },
	{ EXEC, "SAVEPOINT a", TX_MODE_DEFERRED, TX_STATE_OPEN, ROAD_READERS, 0, false },
	{ EXEC, "", TX_MODE_DEFERRED, TX_STATE_OPEN, ROAD_READERS, 0, false },
	{ EXEC, "SELECT nope", TX_MODE_DEFERRED, TX_STATE_OPEN, ROAD_ERROR, 1, false },
	{ EXEC, "SELECT * FROM later", TX_MODE_DEFERRED, TX_STATE_OPEN, ROAD_WRITER, 0, true },
	{ BATCH_READS, NULL, TX_MODE_DEFERRED, TX_STATE_OPEN, ROAD_READERS, 0, false },
	{ BATCH_WRITES, NULL, TX_MODE_DEFERRED, TX_STATE_OPEN, ROAD_WRITER, 0, false },
	{ EXEC, "SELECT 1", TX_MODE_IMMEDIATE, TX_STATE_OPEN, ROAD_WRITER, 0, false },
	{ EXEC, "SAVEPOINT a", TX_MODE_EXCLUSIVE, TX_STATE_OPEN, ROAD_WRITER, 0, false },
	{ BATCH_READS, NULL, TX_MODE_IMMEDIATE, TX_STATE_OPEN, ROAD_WRITER, 0, false },
	{ EXEC, "SELECT 1", TX_MODE_READ, TX_STATE_OPEN, ROAD_READERS, 0, false },
	{ EXEC, "DELETE FROM t", TX_MODE_READ, TX_STATE_OPEN, ROAD_READERS, 0, false },
	{ BATCH_WRITES, NULL, TX_MODE_READ, TX_STATE_OPEN, ROAD_READERS, 0, false },
	{ EXEC, "SELECT * FROM later", TX_MODE_READ, TX_STATE_OPEN, ROAD_READERS, 0, true },
	/* it took nothing: there is nothing to end */
	{ COMMIT, NULL, TX_MODE_DEFERRED, TX_STATE_OPEN, ROAD_END, 0, false },
	{ ROLLBACK, NULL, TX_MODE_IMMEDIATE, TX_STATE_OPEN, ROAD_END, 0, false },
	{ EXEC, "COMMIT", TX_MODE_IMMEDIATE, TX_STATE_OPEN, ROAD_END, 0, false },
	{ EXEC, "ROLLBACK", TX_MODE_READ, TX_STATE_OPEN, ROAD_END, 0, false },
	{ EXEC, "BEGIN", TX_MODE_DEFERRED, TX_STATE_OPEN, ROAD_ERROR, 1, false },
	{ EXEC, "BEGIN IMMEDIATE", TX_MODE_DEFERRED, TX_STATE_OPEN, ROAD_ERROR, 1, false },
	{ TX_BEGIN, NULL, TX_MODE_DEFERRED, TX_STATE_OPEN, ROAD_ERROR, ERR_TX_ACTIVE, false },
	{ SCRIPT, NULL, TX_MODE_DEFERRED, TX_STATE_OPEN, ROAD_ERROR, ERR_TX_ACTIVE, false },
	{ SCRIPT, NULL, TX_MODE_READ, TX_STATE_OPEN, ROAD_ERROR, ERR_TX_ACTIVE, true },
	/* whoever holds it runs it */
	{ EXEC, "SELECT 1", TX_MODE_DEFERRED, TX_STATE_READ, ROAD_READERS, 0, false },
	{ EXEC, "DELETE FROM t", TX_MODE_DEFERRED, TX_STATE_READ, ROAD_READERS, 0, false },
	{ EXEC, "SELECT nope", TX_MODE_DEFERRED, TX_STATE_READ, ROAD_READERS, 0, false },
	{ COMMIT, NULL, TX_MODE_DEFERRED, TX_STATE_READ, ROAD_READERS, 0, false },
	{ BATCH_WRITES, NULL, TX_MODE_DEFERRED, TX_STATE_READ, ROAD_READERS, 0, false },
	{ TX_BEGIN, NULL, TX_MODE_DEFERRED, TX_STATE_READ, ROAD_ERROR, ERR_TX_ACTIVE, false },
	{ SCRIPT, NULL, TX_MODE_DEFERRED, TX_STATE_READ, ROAD_ERROR, ERR_TX_ACTIVE, false },
	{ EXEC, "SELECT 1", TX_MODE_DEFERRED, TX_STATE_WRITE, ROAD_WRITER, 0, false },
	{ EXEC, "SELECT nope", TX_MODE_DEFERRED, TX_STATE_WRITE, ROAD_WRITER, 0, false },
	{ ROLLBACK, NULL, TX_MODE_DEFERRED, TX_STATE_WRITE, ROAD_WRITER, 0, false },
	{ TX_BEGIN, NULL, TX_MODE_DEFERRED, TX_STATE_WRITE, ROAD_ERROR, ERR_TX_ACTIVE, false },
	{ SCRIPT, NULL, TX_MODE_DEFERRED, TX_STATE_WRITE, ROAD_ERROR, ERR_TX_ACTIVE, false },
	/* the daemon has ended it: only its end is accepted, and a COMMIT is told */
	{ EXEC, "SELECT 1", TX_MODE_DEFERRED, TX_STATE_EXPIRED, ROAD_ERROR, ERR_TX_EXPIRED, false },
	{ EXEC, "SELECT nope", TX_MODE_DEFERRED, TX_STATE_EXPIRED, ROAD_ERROR, ERR_TX_EXPIRED, false },
	{ EXEC, "SAVEPOINT a", TX_MODE_DEFERRED, TX_STATE_EXPIRED, ROAD_ERROR, ERR_TX_EXPIRED, false },
	{ BATCH_WRITES, NULL, TX_MODE_DEFERRED, TX_STATE_EXPIRED, ROAD_ERROR, ERR_TX_EXPIRED, false },
	{ TX_BEGIN, NULL, TX_MODE_DEFERRED, TX_STATE_EXPIRED, ROAD_ERROR, ERR_TX_EXPIRED, false },
	{ SCRIPT, NULL, TX_MODE_DEFERRED, TX_STATE_EXPIRED, ROAD_ERROR, ERR_TX_EXPIRED, false },
	{ COMMIT, NULL, TX_MODE_DEFERRED, TX_STATE_EXPIRED, ROAD_END, ERR_TX_EXPIRED, false },
	{ EXEC, "COMMIT", TX_MODE_DEFERRED, TX_STATE_EXPIRED, ROAD_END, ERR_TX_EXPIRED, false },
	{ ROLLBACK, NULL, TX_MODE_DEFERRED, TX_STATE_EXPIRED, ROAD_END, 0, false },
	{ EXEC, "ROLLBACK", TX_MODE_DEFERRED, TX_STATE_EXPIRED, ROAD_END, 0, false },
};
/* clang-format on */

static struct request *
make_request(const struct tx_case *c)
{
	static const struct fixture_step reads[] = { { .sql = "SELECT 1" },
		{ 0 } };
	static const struct fixture_step writes[] = {
		{ .sql = "DELETE FROM t" }, { 0 }
	};

	switch (c->what) {
	case EXEC:
		return ask_exec(c->sql);
	case BATCH_READS:
		return fixture_batch(&fx, reads);
	case BATCH_WRITES:
		return fixture_batch(&fx, writes);
	case SCRIPT:
		return fixture_script(&fx, "SELECT 1", true);
	case TX_BEGIN:
		return ask("TX_BEGIN", json_object());
	case COMMIT:
	case ROLLBACK:
		break;
	}
	return fixture_end(&fx, c->what == COMMIT);
}

START_TEST(router_knows_the_road_inside_a_transaction)
{
	const struct tx_case *c = &txs[_i];
	struct request *r = make_request(c);
	struct session *list = NULL;
	struct session *s = session_begin(&list, 1, c->mode, &fx.owner);

	s->state = c->state;
	if (c->state == TX_STATE_EXPIRED)
		tx_expire(s->tx, ERR_TX_EXPIRED, "it was too old");
	ck_assert_int_eq(
	    router_choose_in_tx(r, s, fx.hot, c->behind_writes), c->road);
	ck_assert_int_eq(r->failure.code, c->code);
	if (c->code == ERR_TX_EXPIRED)
		ck_assert_str_eq(r->failure.text, "it was too old");
	session_end(&list, s);
	request_free(r);
}
END_TEST

START_TEST(router_moves_a_transaction_that_writes_to_the_writer)
{
	struct request *r = ask_exec("DELETE FROM t");
	struct session *list = NULL;
	struct session *s = session_begin(
	    &list, 1, TX_MODE_DEFERRED, &fx.owner);

	s->state = TX_STATE_READ;
	r->reroute = REROUTE_WRITER;
	ck_assert_int_eq(router_choose_in_tx(r, s, fx.hot, false), ROAD_WRITER);
	session_end(&list, s);
	request_free(r);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("router");
	TCase *tc = tcase_create("router");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(
	    tc, router_knows_the_road_of_a_statement, 0, (int)COUNT(execs));
	tcase_add_test(tc, router_sends_what_is_unknown_to_the_writer_again);
	tcase_add_test(tc, router_spares_workers_a_read_that_was_too_long);
	tcase_add_test(tc, router_runs_no_read_on_workers_without_a_budget);
	tcase_add_loop_test(tc, router_knows_the_road_of_a_message, 0, 2);
	tcase_add_loop_test(
	    tc, router_knows_the_road_of_a_batch, 0, (int)COUNT(batches));
	tcase_add_test(tc, router_does_not_prepare_all_of_a_slow_batch);
	tcase_add_loop_test(
	    tc, router_knows_the_road_inside_a_transaction, 0, (int)COUNT(txs));
	tcase_add_test(
	    tc, router_moves_a_transaction_that_writes_to_the_writer);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
