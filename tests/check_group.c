/* check_group.c - each write has the outcome it would have had alone (P9).
 *
 * The same requests run in the same order in three ways: all of them in one
 * group, each by itself, and by SQLite itself in autocommit.  Replies, session
 * variables and the contents of the file must be the same. */
#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/clock.h"
#include "daemon/dbconn_impl.h"
#include "daemon/stats.h"
#include "daemon/writer_impl.h"
#include "proto/error.h"
#include "proto/frame.h"
#include "tests/lib/faults.h"
#include "tests/lib/oracle.h"

#define COUNT(a)    (sizeof(a) / sizeof((a)[0]))
#define GROUP_MAX   50
#define MIXTURE_MAX 12

static const char schema[] =
    "CREATE TABLE log(id INTEGER PRIMARY KEY, x);"
    "CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE, n NOT NULL DEFAULT 0,"
    "  c CHECK(c < 100));"
    "INSERT INTO t VALUES(1, 'one', 1, 1), (2, 'two', 2, 2);"
    "CREATE TABLE parent(id INTEGER PRIMARY KEY);"
    "INSERT INTO parent VALUES(1);"
    "CREATE TABLE child(p REFERENCES parent(id));"
    "CREATE TABLE late(p REFERENCES parent(id) DEFERRABLE INITIALLY DEFERRED);"
    "INSERT INTO child VALUES(1); INSERT INTO late VALUES(1);"
    "CREATE TABLE tight(i INTEGER) STRICT; INSERT INTO tight VALUES(5), (6);"
    "CREATE TABLE on_rollback(u UNIQUE ON CONFLICT ROLLBACK);"
    "CREATE TABLE on_fail(u UNIQUE ON CONFLICT FAIL);"
    "CREATE TABLE on_ignore(u UNIQUE ON CONFLICT IGNORE);"
    "CREATE TABLE on_replace(u UNIQUE ON CONFLICT REPLACE, v);"
    "INSERT INTO on_rollback VALUES(1); INSERT INTO on_fail VALUES(1);"
    "INSERT INTO on_ignore VALUES(1); INSERT INTO on_replace VALUES(1, 0);"
    "CREATE TABLE noisy(x);"
    "CREATE TRIGGER noisy_i AFTER INSERT ON noisy BEGIN"
    "  INSERT INTO log(x) VALUES('from the trigger'); END;"
    "CREATE TABLE raising(x);"
    "CREATE TRIGGER raising_i AFTER INSERT ON raising BEGIN SELECT CASE NEW.x"
    "  WHEN 'rollback' THEN RAISE(ROLLBACK, 'told to roll back')"
    "  WHEN 'abort' THEN RAISE(ABORT, 'told to abort')"
    "  WHEN 'fail' THEN RAISE(FAIL, 'told to fail')"
    "  WHEN 'ignore' THEN RAISE(IGNORE) END; END;"
    "CREATE VIEW seen AS SELECT id, x FROM log;"
    "CREATE TRIGGER seen_i INSTEAD OF INSERT ON seen BEGIN"
    "  INSERT INTO log(x) VALUES(NEW.x), (NEW.x); END;"
    "CREATE TABLE counted(x NOT NULL);"
    "CREATE TRIGGER counted_i AFTER INSERT ON counted BEGIN"
    "  INSERT INTO log(x) VALUES(changes() || ' ' || total_changes() || ' ' ||"
    "    last_insert_rowid());"
    "  UPDATE t SET n = n + 1 WHERE id = 1;"
    "  INSERT INTO log(x) VALUES(changes() || ' ' || last_insert_rowid()); END;"
    "CREATE VIRTUAL TABLE box USING rtree(id, x0, x1);"
    "INSERT INTO box VALUES(1, 0, 1);"
    "CREATE VIRTUAL TABLE docs USING fts5(body);"
    "INSERT INTO docs(rowid, body) VALUES(1, 'some text');";

static const char dump[] =
    "SELECT 'log', * FROM log; SELECT 't', * FROM t;"
    "SELECT 'parent', * FROM parent; SELECT 'child', * FROM child;"
    "SELECT 'late', * FROM late; SELECT 'tight', * FROM tight;"
    "SELECT 'rollback', * FROM on_rollback; SELECT 'fail', * FROM on_fail;"
    "SELECT 'ignore', * FROM on_ignore; SELECT 'replace', * FROM on_replace;"
    "SELECT 'box', * FROM box; SELECT 'docs', rowid, * FROM docs;"
    "SELECT 'noisy', * FROM noisy; SELECT 'raising', * FROM raising;"
    "SELECT 'counted', * FROM counted;"
    "PRAGMA integrity_check; PRAGMA foreign_key_check;";

/* clang-format off */
static const char *const statements[] = {
	/* constraints */
	"INSERT INTO t(u) VALUES('one')",
	"INSERT INTO t(id, u) VALUES(1, 'new')",
	"INSERT INTO t(u, n) VALUES('null', NULL)",
	"INSERT INTO t(u, c) VALUES('check', 100)",
	"UPDATE t SET c = 1000",
	"UPDATE t SET u = 'two' WHERE id = 1",
	"INSERT INTO child VALUES(99)",
	"DELETE FROM parent WHERE id = 1",
	"INSERT INTO late VALUES(99)",
	"UPDATE late SET p = 99",
	"INSERT INTO tight VALUES('text')",
	"INSERT INTO tight VALUES(1), (2), ('text'), (4)",
	"INSERT OR FAIL INTO tight VALUES(1), (2), ('text'), (4)",
	"INSERT OR IGNORE INTO tight VALUES(1), (2), ('text'), (4)",
	/* several rows, of which a later one fails */
	"INSERT INTO t(u) VALUES('a'), ('b'), ('one'), ('c')",
	"INSERT OR ABORT INTO t(u) VALUES('a'), ('b'), ('one'), ('c')",
	"INSERT OR FAIL INTO t(u) VALUES('f' || (SELECT count(*) FROM t)), ('one'), ('c')",
	"INSERT OR ROLLBACK INTO t(u) VALUES('a'), ('one'), ('c')",
	"INSERT OR IGNORE INTO t(u) VALUES('i' || (SELECT count(*) FROM t)), ('one')",
	"INSERT OR REPLACE INTO t(u) VALUES('p' || (SELECT count(*) FROM t)), ('one')",
	"UPDATE OR FAIL t SET u = 'one'",
	"UPDATE OR ROLLBACK t SET u = 'one'",
	"UPDATE OR IGNORE t SET u = 'one'",
	"UPDATE OR REPLACE t SET u = 'one'",
	"INSERT OR FAIL INTO late VALUES(98), (99)",
	"INSERT OR FAIL INTO child VALUES(1), (99)",
	"INSERT INTO on_rollback VALUES(5), (1)",
	"INSERT INTO on_fail VALUES((SELECT 10 + count(*) FROM on_fail)), (1), (7)",
	"INSERT INTO on_ignore VALUES((SELECT 10 + count(*) FROM on_ignore)), (1)",
	"INSERT INTO on_replace VALUES(1, (SELECT max(v) + 1 FROM on_replace))",
	/* virtual tables */
	"INSERT INTO box VALUES((SELECT max(id) + 1 FROM box), 2, 3)",
	"INSERT INTO box VALUES(100, 0, 1), (1, 0, 1)",
	"INSERT INTO box VALUES(100, 0, 1), (101, 5, 1)",
	"UPDATE box SET id = 1 WHERE id > 1",
	"INSERT OR FAIL INTO box VALUES((SELECT max(id) + 1 FROM box), 0, 1), (1, 0, 1)",
	"INSERT OR IGNORE INTO box VALUES((SELECT max(id) + 1 FROM box), 0, 1), (1, 0, 1)",
	"INSERT OR ROLLBACK INTO box VALUES(100, 0, 1), (1, 0, 1)",
	"INSERT OR REPLACE INTO box VALUES((SELECT max(id) + 1 FROM box), 0, 1), (1, 0, 1)",
	"INSERT INTO docs(rowid, body) VALUES(100, 'new'), (1, 'there already')",
	"UPDATE docs SET body = json(iif(rowid = 1, '[]', '{'))",
	"DELETE FROM docs WHERE docs MATCH 'nothing'",
	/* triggers */
	"INSERT INTO raising VALUES('fine'), ('rollback')",
	"INSERT INTO raising VALUES('fine'), ('abort')",
	"INSERT INTO raising VALUES('fine'), ('fail'), ('fine')",
	"INSERT INTO raising VALUES('fine'), ('ignore'), ('fine')",
	"INSERT INTO noisy VALUES(1), (2)",
	"INSERT INTO seen(x) VALUES('through the view')",
	"INSERT INTO log(x) VALUES(last_insert_rowid())",
	/* results */
	"INSERT INTO t(u) VALUES('r' || (SELECT count(*) FROM t)) RETURNING id, u, n",
	"INSERT INTO t(u) VALUES('q' || (SELECT count(*) FROM t)), ('one') RETURNING id",
	"INSERT INTO late VALUES(77) RETURNING p",
	"INSERT INTO child VALUES(77) RETURNING p",
	"UPDATE t SET n = n + 1 RETURNING id, n AS more",
	"DELETE FROM t WHERE id > 1 RETURNING *",
	"DELETE FROM t WHERE id > 100 RETURNING *",
	"INSERT INTO t(u) VALUES('one') ON CONFLICT(u) DO UPDATE SET n = n + 1 RETURNING n",
	"INSERT INTO t(u) VALUES('one') ON CONFLICT DO NOTHING RETURNING n",
	"INSERT INTO t(u) VALUES('one') ON CONFLICT(u) DO UPDATE SET c = 100",
	/* what changes nothing */
	"UPDATE t SET n = 9 WHERE id = 12345",
	"DELETE FROM tight",
	/* no statement, or a failure at run time */
	"INSERT INTO t(nope) VALUES(1)",
	"INSERT INTO nowhere VALUES(1)",
	"INSERT INTO t(u) VALUES(1,",
	"INSERT INTO log(x) SELECT abs(-9223372036854775808)",
	"INSERT INTO log(x) SELECT json(iif(id = 1, '[]', '{')) FROM t",
	"INSERT INTO log(x) SELECT abs(iif(id = 1, 1, -9223372036854775808)) FROM t",
	"UPDATE t SET n = json(iif(id = 1, '[]', '{'))",
	"DELETE FROM t WHERE json(iif(id = 1, '[]', '{'))",
	"INSERT INTO log(x) SELECT zeroblob(iif(id = 1, 1, 1100000000)) FROM t",
	"INSERT INTO noisy SELECT json(iif(id = 1, '[]', '{')) FROM t",
	"UPDATE tight SET i = iif(i = (SELECT min(i) FROM tight), 7, 'text')",
	"INSERT INTO log(x) VALUES(zeroblob(1100000000))",
};

/* What stands around it. */
static const char *const innocents[] = {
	"INSERT INTO log(x) VALUES('innocent')",
	"UPDATE log SET x = x || '.' WHERE id <= 3",
	"INSERT INTO log(x) VALUES('innocent') RETURNING id",
	"INSERT INTO log(x) SELECT 'two' FROM t LIMIT 2",
};

static const struct spot {
	size_t n, at;
} places[] = {
	{ 1, 0 }, { 2, 0 }, { 2, 1 }, { 3, 0 }, { 3, 1 }, { 3, 2 },
	{ GROUP_MAX, 0 }, { GROUP_MAX, 25 }, { GROUP_MAX, 49 },
};
/* clang-format on */

static const char *
get_sql(const char *guilty, const struct spot *p, size_t i)
{
	return i == p->at ? guilty : innocents[i % COUNT(innocents)];
}

/* Whose request it is: the guilty one's client sends nothing else. */
static size_t
get_client(const struct spot *p, size_t i)
{
	return i == p->at ? 0 : 1 + i % 2;
}

/* --- The daemon ------------------------------------------------------------ */

struct side {
	struct fixture fx;
	struct vars *clients[3];
};

/* The largest file that a side may have; 0: no bound. */
static int max_pages;

static void
limit_pages(struct fixture *fx)
{
	struct dbconn *c = fx->db->writer->conn;
	const char *sql = fixture_format(
	    fx, "PRAGMA max_page_count=%d", max_pages);

	c->guard.internal = true;
	ck_assert_int_eq(sqlite3_exec(c->db, sql, NULL, NULL, NULL), SQLITE_OK);
	c->guard.internal = false;
}

static void
side_open(struct side *s, const char *options)
{
	fixture_open(&s->fx, options, schema);
	if (max_pages)
		limit_pages(&s->fx);
	for (size_t i = 0; i < COUNT(s->clients); i++) {
		s->clients[i] = vars_new();
		ck_assert_ptr_nonnull(s->clients[i]);
	}
}

static void
side_close(struct side *s)
{
	for (size_t i = 0; i < COUNT(s->clients); i++)
		vars_unref(s->clients[i]);
	fixture_close(&s->fx);
}

static void
set_client(struct side *s, struct request *r, size_t client)
{
	vars_unref(r->vars);
	r->vars = vars_ref(s->clients[client]);
}

/* Makes the guilty request; tests differ in that. */
typedef struct request *make_guilty(struct side *s, const void *arg);

static struct request *
submit(struct side *s, const struct spot *p, size_t i, make_guilty *make,
    const void *arg)
{
	struct request *r = i == p->at
	    ? make(s, arg)
	    : fixture_exec(&s->fx, get_sql(NULL, p, i), NULL);

	set_client(s, r, get_client(p, i));
	/* what cannot be prepared got here because it could be when its worker
	 * looked */
	r->kind = KIND_WRITE;
	return fixture_write(&s->fx, r);
}

static void
run_grouped(struct side *s, const struct spot *p, make_guilty *make,
    const void *arg, const char **texts)
{
	struct request *r[GROUP_MAX] = { NULL };

	fixture_hold(&s->fx);
	for (size_t i = 0; i < p->n; i++)
		r[i] = submit(s, p, i, make, arg);
	ck_assert_uint_eq(writer_get_queue_n(s->fx.db->writer), p->n);
	fixture_release(&s->fx);
	for (size_t i = 0; i < p->n; i++)
		texts[i] = fixture_take(&s->fx, r[i]);
}

static void
run_alone(struct side *s, const struct spot *p, make_guilty *make,
    const void *arg, const char **texts)
{
	for (size_t i = 0; i < p->n; i++)
		texts[i] = fixture_take(&s->fx, submit(s, p, i, make, arg));
}

static void
assert_same_texts(
    const struct spot *p, const char *const *got, const char *const *want)
{
	for (size_t i = 0; i < p->n; i++)
		ck_assert_msg(got[i] && want[i] && strcmp(got[i], want[i]) == 0,
		    "number %zu of %zu, the guilty one is %zu:\n%s\nnot\n%s", i,
		    p->n, p->at, got[i], want[i]);
}

static void
assert_same_state(struct side *a, struct side *b, const struct spot *p)
{
	const char *got = fixture_query(&a->fx, dump);
	const char *want = fixture_query(&b->fx, dump);

	ck_assert_msg(strcmp(got, want) == 0, "%zu of %zu: file\n%s\nnot\n%s",
	    p->at, p->n, got, want);
	for (size_t i = 0; i < COUNT(a->clients); i++) {
		const struct vars *x = a->clients[i], *y = b->clients[i];

		ck_assert_int_eq(x->rowid, y->rowid);
		ck_assert_int_eq(x->changes, y->changes);
		ck_assert_int_eq(x->total, y->total);
	}
}

#define SMALL_PLACES_N 6

/* Run it in the first places_n places of a group, and each by itself. */
static void
compare_in(size_t places_n, make_guilty *make, const void *arg)
{
	const char *got[GROUP_MAX] = { NULL }, *want[GROUP_MAX] = { NULL };
	struct side group, alone;

	side_open(&group, "foreign_keys=on");
	side_open(&alone, "foreign_keys=on");
	for (size_t k = 0; k < places_n; k++) {
		run_grouped(&group, &places[k], make, arg, got);
		run_alone(&alone, &places[k], make, arg, want);
		assert_same_texts(&places[k], got, want);
		assert_same_state(&group, &alone, &places[k]);
	}
	side_close(&group);
	side_close(&alone);
}

static void
compare(make_guilty *make, const void *arg)
{
	compare_in(COUNT(places), make, arg);
}

/* --- Single statements ----------------------------------------------------- */

static struct request *
make_statement(struct side *s, const void *arg)
{
	const char *const *sql = arg;

	return fixture_exec(&s->fx, *sql, NULL);
}

static void
assert_like_oracle(struct side *s, struct oracle *o, struct fixture *plain,
    const struct spot *p)
{
	ck_assert_str_eq(
	    fixture_query(&s->fx, dump), fixture_query(plain, dump));
	for (size_t i = 0; i < COUNT(s->clients); i++) {
		ck_assert_msg(s->clients[i]->rowid == o->rowid[i] &&
			s->clients[i]->changes == o->changes[i],
		    "client %zu, %zu of %zu: rowid %lld and changes %lld, not "
		    "%lld and %lld",
		    i, p->at, p->n, (long long)s->clients[i]->rowid,
		    (long long)s->clients[i]->changes, (long long)o->rowid[i],
		    (long long)o->changes[i]);
	}
}

START_TEST(group_gives_each_statement_what_sqlite_gives_it_alone)
{
	const char *got[GROUP_MAX] = { NULL }, *want[GROUP_MAX] = { NULL };
	struct fixture plain;
	struct oracle o;
	struct side s;

	side_open(&s, "foreign_keys=on");
	fixture_init(&plain, "access=shared", schema);
	oracle_open(&o, &plain);
	for (size_t k = 0; k < COUNT(places); k++) {
		const struct spot *p = &places[k];

		run_grouped(&s, p, make_statement, &statements[_i], got);
		for (size_t i = 0; i < p->n; i++)
			want[i] = oracle_run(&o, &plain,
			    get_sql(statements[_i], p, i), get_client(p, i));
		assert_same_texts(p, got, want);
		assert_like_oracle(&s, &o, &plain, p);
	}
	oracle_close(&o);
	fixture_close(&plain);
	side_close(&s);
}
END_TEST

START_TEST(group_gives_each_statement_what_it_gives_it_alone)
{
	compare_in(SMALL_PLACES_N, make_statement, &statements[_i]);
}
END_TEST

/* What counts is each client's own: SQLite itself counts by the connection. */
/* clang-format off */
static const char *const counting[] = {
	"INSERT INTO log(x) VALUES(changes() || ' ' || total_changes() || ' ' || last_insert_rowid())",
	"INSERT INTO counted VALUES(1), (2), (3)",
	"INSERT INTO counted SELECT id FROM t RETURNING x, changes(), total_changes(), last_insert_rowid()",
	"INSERT INTO counted VALUES(4), (NULL)",
	"INSERT OR FAIL INTO counted VALUES(5), (NULL)",
	"INSERT OR ROLLBACK INTO counted VALUES(6), (NULL)",
	"UPDATE counted SET x = x + total_changes()",
	"DELETE FROM counted WHERE x < 100 + changes()",
};
/* clang-format on */

START_TEST(group_counts_for_each_client_what_it_counts_alone)
{
	compare(make_statement, &counting[_i]);
}
END_TEST

/* --- Requests that statements alone cannot make ---------------------------- */

static struct request *
make_stopped(struct side *s, const void *arg)
{
	struct request *r = fixture_exec(&s->fx, arg, NULL);

	request_stop(r, ERR_CANCELLED);
	return r;
}

START_TEST(group_does_not_run_what_was_stopped_before)
{
	compare(make_stopped, "INSERT INTO log(x) VALUES('stopped')");
}
END_TEST

static struct request *
make_limited(struct side *s, const void *arg)
{
	struct request *r = fixture_exec(&s->fx, arg, NULL);

	r->max_frame_bytes = FRAME_LEAST_MAX_BYTES;
	return r;
}

/* clang-format off */
static const char *const large[] = {
	"UPDATE t SET n = n + 1 RETURNING zeroblob(40000)",
	"UPDATE t SET n = n + 1 RETURNING zeroblob(70000)",
	"INSERT INTO t(u) VALUES('big') RETURNING u, zeroblob(65530)",
	"INSERT OR FAIL INTO log(x) SELECT u FROM t RETURNING zeroblob(40000)",
};
/* clang-format on */

START_TEST(group_undoes_a_write_whose_result_is_too_large)
{
	compare(make_limited, large[_i]);
}
END_TEST

static struct request *
make_badly_bound(struct side *s, const void *arg)
{
	return fixture_exec(&s->fx, "INSERT INTO t(u, n) VALUES(?, ?)", arg);
}

static const char *const bad_params[] = { NULL, "[1]", "[1, 2, 3]",
	"{\"nope\": 1}", "[[1], 2]" };

START_TEST(group_is_not_spoiled_by_wrong_parameters)
{
	uint64_t before = stats_get(STAT_groups_rerun);

	compare(make_badly_bound, bad_params[_i]);
	ck_assert_uint_eq(stats_get(STAT_groups_rerun), before);
}
END_TEST

/* clang-format off */
#define STEPS (const struct fixture_step[])
static const struct fixture_step *const batches[] = {
	STEPS{ { .sql = "INSERT INTO t(u) VALUES('b' || (SELECT count(*) FROM t))" },
	       { .sql = "UPDATE t SET n = n + 1" },
	       { .sql = "SELECT count(*), last_insert_rowid(), changes() FROM t" }, { 0 } },
	STEPS{ { .sql = "INSERT INTO log(x) VALUES('gone')" },
	       { .sql = "INSERT INTO t(u) VALUES('one')" },
	       { .sql = "INSERT INTO log(x) VALUES('never')" }, { 0 } },
	STEPS{ { .sql = "INSERT INTO log(x) VALUES('kept')" },
	       { .sql = "INSERT INTO t(u) VALUES('one')" },
	       { .cond = "[1, 1]", .sql = "INSERT INTO log(x) VALUES('it failed')" },
	       { .cond = "[0, 1]", .sql = "INSERT INTO log(x) VALUES('it did not')" }, { 0 } },
	STEPS{ { .sql = "INSERT OR ROLLBACK INTO t(u) VALUES('one')" },
	       { .cond = "[1, 0]", .sql = "INSERT INTO log(x) VALUES('it failed')" }, { 0 } },
	STEPS{ { .sql = "INSERT OR FAIL INTO t(u) VALUES('x'), ('one')" },
	       { .cond = "[1, 0]", .sql = "SELECT count(*) FROM t" }, { 0 } },
	STEPS{ { .sql = "INSERT INTO tight VALUES(1), ('text')" },
	       { .cond = "[1, 0]", .sql = "SELECT count(*) FROM tight" }, { 0 } },
	STEPS{ { .sql = "INSERT INTO late VALUES(99)" },
	       { .sql = "INSERT INTO parent VALUES((SELECT max(id) + 1 FROM parent))" }, { 0 } },
	STEPS{ { .sql = "INSERT INTO late VALUES((SELECT max(id) + 1 FROM parent))" },
	       { .sql = "INSERT INTO parent VALUES((SELECT max(id) + 1 FROM parent))" }, { 0 } },
	STEPS{ { .sql = "INSERT INTO late VALUES(99)" },
	       { .cond = "[3, [0, 0], [2, [1, 0]]]", .sql = "DELETE FROM late WHERE p = 99" }, { 0 } },
	STEPS{ { .params = "[\"bound\"]", .sql = "INSERT INTO log(x) VALUES(?)" },
	       { .params = "[]", .sql = "INSERT INTO log(x) VALUES(?)" }, { 0 } },
	STEPS{ { .sql = "CREATE TABLE made(x)" }, { .sql = "INSERT INTO made VALUES(1)" },
	       { .sql = "DROP TABLE made" }, { 0 } },
	STEPS{ { .sql = "CREATE TABLE made(x)" }, { .sql = "INSERT INTO made VALUES(1)" },
	       { .sql = "INSERT INTO t(u) VALUES('one')" }, { 0 } },
	STEPS{ { .sql = "BEGIN" }, { 0 } },
	STEPS{ { .sql = "INSERT INTO log(x) VALUES('x')" }, { .sql = "COMMIT" }, { 0 } },
	STEPS{ { .sql = "INSERT INTO log(x) VALUES('x')" }, { .sql = "VACUUM" }, { 0 } },
	STEPS{ { .sql = "INSERT INTO log(x) VALUES('x')" }, { .sql = "SELECT" }, { 0 } },
	STEPS{ { 0 } },
};
/* clang-format on */

static struct request *
make_batch(struct side *s, const void *arg)
{
	return fixture_batch(&s->fx, arg);
}

START_TEST(group_gives_each_batch_what_it_gives_it_alone)
{
	compare(make_batch, batches[_i]);
}
END_TEST

/* --- Any mixture ------------------------------------------------------------
 *
 * Several guilty ones in a group, in any order and of any client. */

static unsigned
draw(uint64_t *seed, size_t n)
{
	/* Knuth's MMIX generator */
	*seed = *seed * 6364136223846793005U + 1442695040888963407U;
	return (unsigned)((*seed >> 33) % n);
}

static struct request *
draw_request(struct side *s, uint64_t *seed)
{
	switch (draw(seed, 8)) {
	case 0:
		return make_stopped(s, "INSERT INTO log(x) VALUES('stopped')");
	case 1:
		return make_limited(s, large[draw(seed, COUNT(large))]);
	case 2:
		return make_batch(s, batches[draw(seed, COUNT(batches))]);
	case 3:
	case 4:
		return fixture_exec(
		    &s->fx, innocents[draw(seed, COUNT(innocents))], NULL);
	default:
		return fixture_exec(
		    &s->fx, statements[draw(seed, COUNT(statements))], NULL);
	}
}

/* Submit the requests of a round, all that the seed says. */
static size_t
submit_mixture(struct side *s, uint64_t *seed, struct request **r)
{
	size_t n = 1 + draw(seed, MIXTURE_MAX);

	for (size_t i = 0; i < n; i++) {
		r[i] = draw_request(s, seed);
		set_client(s, r[i], draw(seed, COUNT(s->clients)));
		r[i]->kind = KIND_WRITE;
		fixture_write(&s->fx, r[i]);
	}
	return n;
}

START_TEST(group_is_the_same_as_alone_for_any_mixture)
{
	struct request *r[MIXTURE_MAX], *q[MIXTURE_MAX];
	uint64_t seed = (uint64_t)_i, same_seed = seed;
	struct side group, alone;

	side_open(&group, "foreign_keys=on");
	side_open(&alone, "foreign_keys=on group_max=1");
	for (int round = 0; round < 10; round++) {
		struct spot p = { .at = 0 };

		fixture_hold(&group.fx);
		p.n = submit_mixture(&group, &seed, r);
		fixture_release(&group.fx);
		ck_assert_uint_eq(submit_mixture(&alone, &same_seed, q), p.n);
		for (size_t i = 0; i < p.n; i++)
			ck_assert_str_eq(fixture_take(&group.fx, r[i]),
			    fixture_take(&alone.fx, q[i]));
		assert_same_state(&group, &alone, &p);
	}
	side_close(&group);
	side_close(&alone);
}
END_TEST

/* --- Stopped while it runs ------------------------------------------------- */

static const char long_write[] =
    "INSERT INTO log(x) SELECT barrier('long') UNION ALL SELECT value FROM"
    "  (WITH RECURSIVE c(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM c"
    "   LIMIT 10000000) SELECT value FROM c)";

START_TEST(group_loses_only_the_write_that_is_stopped_while_it_runs)
{
	struct request *first, *slow, *last;
	struct barrier b;
	struct fixture fx;

	fixture_open(&fx, NULL, schema);
	barrier_add(&fx, &b);
	fixture_hold(&fx);
	first = fixture_write(&fx, fixture_exec(&fx, innocents[0], NULL));
	slow = fixture_write(&fx, fixture_exec(&fx, long_write, NULL));
	last = fixture_write(&fx, fixture_exec(&fx, innocents[0], NULL));
	fixture_release(&fx);
	barrier_await(&b);
	request_stop(slow, ERR_CANCELLED);
	barrier_open(&b);
	ck_assert_str_eq(fixture_take(&fx, first), "DONE changes=1 rowid=1");
	ck_assert_str_eq(fixture_take(&fx, slow),
	    "ERROR name=CANCELLED message='request cancelled while it ran'");
	ck_assert_str_eq(fixture_take(&fx, last), "DONE changes=1 rowid=2");
	ck_assert_uint_eq(stats_get(STAT_groups_rerun), 1);
	ck_assert_str_eq(fixture_query(&fx, "SELECT id, x FROM log"),
	    "1|innocent\n2|innocent\n");
	fixture_close(&fx);
}
END_TEST

/* In the order they run in; and nobody is done before the commit. */
START_TEST(group_notes_when_each_member_ran)
{
	enum { N = 3, WAITED_US = 1000 * 1000000 };
	struct request *r[N];
	struct fixture fx;

	fixture_open(&fx, NULL, schema);
	fixture_hold(&fx);
	for (size_t i = 0; i < N; i++) {
		r[i] = fixture_exec(&fx, innocents[0], NULL);
		r[i]->arrived_us -= i == 1 ? WAITED_US : 0;
		fixture_write(&fx, r[i]);
	}
	fixture_release(&fx);
	for (size_t i = 0; i < N; i++)
		fixture_wait(&fx, r[i]);
	for (size_t i = 0; i < N; i++) {
		ck_assert_int_ge(r[i]->started_us, r[i]->arrived_us);
		ck_assert_int_ge(
		    r[i]->started_us, r[i > 0 ? i - 1 : 0]->started_us);
		ck_assert_int_ge(r[i]->ended_us, r[N - 1]->started_us);
		ck_assert_int_le(r[i]->ended_us, clock_now_us());
	}
	ck_assert_uint_ge(stats_get(STAT_write_us_max), WAITED_US);
	ck_assert_uint_lt(
	    stats_get(STAT_write_us_max), (uint64_t)WAITED_US * 2);
	for (size_t i = 0; i < N; i++)
		fixture_take(&fx, r[i]);
	fixture_close(&fx);
}
END_TEST

/* clang-format off */
static const char *const three[] = {
	"INSERT INTO log(id, x) VALUES(101, 'a')",
	"INSERT INTO log(id, x) SELECT 102 + id, 'b' FROM t",
	"INSERT INTO log(id, x) VALUES(105, 'c') RETURNING id",
};
/* clang-format on */

/* --- A lock outside -------------------------------------------------------- */

/* With access = shared another process may hold the write lock: each is told,
 * and the next group succeeds when the lock is gone.  (The other process is a
 * connection of ours: to the plain VFS that is the same.) */
START_TEST(group_tells_everybody_that_a_process_outside_holds_the_lock)
{
	struct request *r[3];
	sqlite3 *outside;
	struct fixture fx;

	fixture_open(&fx, "access=shared busy_wait=off", schema);
	ck_assert_int_eq(sqlite3_open(fx.path, &outside), SQLITE_OK);
	ck_assert_int_eq(
	    sqlite3_exec(outside, "BEGIN IMMEDIATE", NULL, NULL, NULL),
	    SQLITE_OK);
	fixture_hold(&fx);
	for (size_t i = 0; i < COUNT(r); i++)
		r[i] = fixture_write(&fx, fixture_exec(&fx, three[i], NULL));
	fixture_release(&fx);
	for (size_t i = 0; i < COUNT(r); i++)
		ck_assert_str_eq(fixture_take(&fx, r[i]),
		    fixture_format(&fx,
			"ERROR name=EXTERNAL_BUSY message='a process outside "
			"the daemon holds the lock on %s; find it with: fuser "
			"-v %s'",
			fx.path, fx.path));
	ck_assert_uint_eq(stats_get(STAT_external_busy), COUNT(r));
	ck_assert_int_eq(sqlite3_close(outside), SQLITE_OK);
	ck_assert_str_eq(
	    fixture_take(
		&fx, fixture_write(&fx, fixture_exec(&fx, three[0], NULL))),
	    "DONE changes=1 rowid=101");
	fixture_close(&fx);
}
END_TEST

/* --- The disk and the memory -----------------------------------------------
 *
 * Whatever fails: a write that was acknowledged is in the file, one that was
 * refused as not applied is not, and the writer goes on afterwards. */

static const char *const three_keys[] = { "101", "103, 104", "105" };

/* Are the rows of number i in the file: all, or none?  Part of them fails. */
static bool
is_applied(struct fixture *fx, size_t i)
{
	const char *n = fixture_query(fx,
	    fixture_format(fx, "SELECT count(*) FROM log WHERE id IN (%s)",
		three_keys[i]));

	ck_assert(strcmp(n, "0\n") == 0 ||
	    strcmp(n, strchr(three_keys[i], ',') ? "2\n" : "1\n") == 0);
	return n[0] != '0';
}

static void
assert_told_the_truth(struct fixture *fx, const char *const *texts)
{
	for (size_t i = 0; i < COUNT(three); i++) {
		bool applied = is_applied(fx, i);

		if (strncmp(texts[i], "DONE", 4) == 0)
			ck_assert_msg(applied, "lost: %s", texts[i]);
		else if (!strstr(texts[i], "outcome="))
			ck_assert_msg(!applied, "applied: %s", texts[i]);
	}
}

/* Round n: its text makes the statements new to the cache. */
static void
run_three(struct fixture *fx, int n, const char **texts)
{
	struct request *r[COUNT(three)];

	for (size_t i = 0; i < COUNT(three); i++) {
		r[i] = fixture_exec(
		    fx, fixture_format(fx, "%s -- %d", three[i], n), NULL);
		fixture_write(fx, r[i]);
	}
	fixture_release(fx);
	for (size_t i = 0; i < COUNT(three); i++)
		texts[i] = fixture_take(fx, r[i]);
}

static void
assert_goes_on(struct fixture *fx)
{
	const char *text = fixture_take(fx,
	    fixture_write(
		fx, fixture_exec(fx, "DELETE FROM log WHERE id > 100", NULL)));

	ck_assert_msg(strncmp(text, "DONE", 4) == 0, "%s", text);
	ck_assert_str_eq(
	    fixture_query(fx,
		"SELECT count(*) FROM log WHERE id > 100; PRAGMA quick_check"),
	    "0\nok\n");
}

static const struct disk_fault {
	enum fault_call call;
	int code;
} disk_faults[] = {
	{ FAULT_WAL_WRITE, SQLITE_IOERR_WRITE },
	{ FAULT_WAL_WRITE, SQLITE_FULL },
	{ FAULT_WAL_SYNC, SQLITE_IOERR_FSYNC },
};

/* Only one call fails: the group is undone, each runs by itself and succeeds. */
START_TEST(group_survives_one_write_that_fails_at_commit)
{
	const struct disk_fault *f = &disk_faults[_i];
	const char *texts[COUNT(three)] = { NULL };
	struct fixture fx;

	fixture_open(&fx, "synchronous=full", schema);
	faults_watch_files(&fx);
	fixture_hold(&fx);
	faults_arm(f->call, 0, 0, f->code);
	run_three(&fx, 0, texts);
	ck_assert(faults_disarm());
	ck_assert_str_eq(texts[0], "DONE changes=1 rowid=101");
	ck_assert_str_eq(texts[1], "DONE changes=2 rowid=104");
	ck_assert_str_eq(
	    texts[2], "DONE columns=['id'] rows=[[105]] changes=1 rowid=105");
	assert_told_the_truth(&fx, texts);
	assert_goes_on(&fx);
	fixture_close(&fx);
}
END_TEST

/* The group's commit fails and so does that of the first by itself. */
START_TEST(group_tells_the_one_whose_own_commit_fails)
{
	const struct disk_fault *f = &disk_faults[_i];
	const char *texts[COUNT(three)] = { NULL };
	struct fixture fx;

	fixture_open(&fx, "synchronous=full", schema);
	faults_watch_files(&fx);
	fixture_hold(&fx);
	faults_arm(f->call, 0, 1, f->code);
	run_three(&fx, 0, texts);
	ck_assert(faults_disarm());
	ck_assert_int_eq(strncmp(texts[0], "ERROR name=SQLITE_", 18), 0);
	/* whether a commit whose I/O failed is found again, nobody knows */
	ck_assert_int_eq(
	    strstr(texts[0], "outcome=2") != NULL, f->code != SQLITE_FULL);
	ck_assert_str_eq(texts[1], "DONE changes=2 rowid=104");
	assert_told_the_truth(&fx, texts);
	assert_goes_on(&fx);
	fixture_close(&fx);
}
END_TEST

START_TEST(group_answers_all_when_the_disk_stays_broken)
{
	const struct disk_fault *f = &disk_faults[_i];
	const char *texts[COUNT(three)] = { NULL };
	struct fixture fx;

	fixture_open(&fx, "synchronous=full", schema);
	faults_watch_files(&fx);
	fixture_hold(&fx);
	faults_arm(f->call, 0, INT_MAX, f->code);
	run_three(&fx, 0, texts);
	ck_assert(faults_disarm());
	for (size_t i = 0; i < COUNT(three); i++)
		ck_assert_int_eq(
		    strncmp(texts[i], "ERROR name=SQLITE_", 18), 0);
	assert_told_the_truth(&fx, texts);
	assert_goes_on(&fx);
	fixture_close(&fx);
}
END_TEST

/* Fail the first call, the second, ... until one round meets none: once or
 * several times in a row. */
static void
fail_each(const char *options, enum fault_call call, int again, int code)
{
	const char *texts[COUNT(three)] = { NULL };
	struct fixture fx;
	bool hit = true;

	fixture_open(&fx, options, schema);
	faults_watch_files(&fx);
	for (int n = 0; hit; n++) {
		fixture_hold(&fx);
		faults_arm(call, n, again, code);
		run_three(&fx, n, texts);
		hit = faults_disarm();
		assert_told_the_truth(&fx, texts);
		assert_goes_on(&fx);
	}
	ck_assert_int_eq(strncmp(texts[0], "DONE", 4), 0);
	fixture_close(&fx);
}

START_TEST(group_tells_the_truth_whichever_write_fails)
{
	fail_each("synchronous=full", FAULT_WAL_WRITE, _i, SQLITE_IOERR_WRITE);
}
END_TEST

START_TEST(group_tells_the_truth_whichever_allocation_fails)
{
	faults_watch_malloc();
	fail_each(NULL, FAULT_MALLOC, _i, SQLITE_NOMEM);
}
END_TEST

/* SQLITE_FULL in the middle of one of them: of a statement with a statement
 * journal, and of one without, which ends the whole transaction. */
static const char *const filling[] = {
	"INSERT INTO log(x) VALUES(zeroblob(10000000))",
	"INSERT INTO t(u) SELECT zeroblob(5000000 + id) FROM t",
};

START_TEST(group_loses_only_the_write_that_finds_the_file_full)
{
	const char *sql = filling[_i];
	struct request *r;
	struct side s;

	max_pages = 100;
	compare(make_statement, &sql);
	/* it does find it full */
	side_open(&s, NULL);
	r = fixture_write(&s.fx, fixture_exec(&s.fx, sql, NULL));
	ck_assert_str_eq(fixture_take(&s.fx, r),
	    "ERROR name=SQLITE_FULL message='database or disk is full'");
	side_close(&s);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *s = suite_create("group");
	TCase *tc = tcase_create("statements");

	tcase_add_loop_test(tc,
	    group_gives_each_statement_what_sqlite_gives_it_alone, 0,
	    (int)COUNT(statements));
	tcase_add_loop_test(tc,
	    group_gives_each_statement_what_it_gives_it_alone, 0,
	    (int)COUNT(statements));
	tcase_add_loop_test(tc,
	    group_counts_for_each_client_what_it_counts_alone, 0,
	    (int)COUNT(counting));
	suite_add_tcase(s, tc);
	tc = tcase_create("other requests");
	tcase_add_test(tc, group_does_not_run_what_was_stopped_before);
	tcase_add_loop_test(tc, group_undoes_a_write_whose_result_is_too_large,
	    0, (int)COUNT(large));
	tcase_add_loop_test(tc, group_is_not_spoiled_by_wrong_parameters, 0,
	    (int)COUNT(bad_params));
	tcase_add_loop_test(tc, group_gives_each_batch_what_it_gives_it_alone,
	    0, (int)COUNT(batches));
	tcase_add_loop_test(
	    tc, group_is_the_same_as_alone_for_any_mixture, 0, 30);
	tcase_add_test(
	    tc, group_loses_only_the_write_that_is_stopped_while_it_runs);
	tcase_add_test(tc, group_notes_when_each_member_ran);
	tcase_add_test(
	    tc, group_tells_everybody_that_a_process_outside_holds_the_lock);
	suite_add_tcase(s, tc);
	tc = tcase_create("disk and memory");
	tcase_set_timeout(tc, 20);
	tcase_add_loop_test(tc, group_survives_one_write_that_fails_at_commit,
	    0, (int)COUNT(disk_faults));
	tcase_add_loop_test(tc, group_tells_the_one_whose_own_commit_fails, 0,
	    (int)COUNT(disk_faults));
	tcase_add_loop_test(tc, group_answers_all_when_the_disk_stays_broken, 0,
	    (int)COUNT(disk_faults));
	tcase_add_loop_test(
	    tc, group_tells_the_truth_whichever_write_fails, 0, 3);
	tcase_add_loop_test(
	    tc, group_tells_the_truth_whichever_allocation_fails, 0, 3);
	tcase_add_loop_test(tc,
	    group_loses_only_the_write_that_finds_the_file_full, 0,
	    (int)COUNT(filling));
	suite_add_tcase(s, tc);
	return s;
}

int
main(void)
{
	return fixture_run(make_suite());
}
