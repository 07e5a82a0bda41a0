/* check_random.c - random pipelines of transactions, as an adversary sends them.
 *
 * BEGIN, COMMIT, SAVEPOINT and the others as text and as messages, statements that
 * fail in every way, BATCHes, SCRIPTs and maintenance, in any order and many at a
 * time.  Each reply is compared with what SQLite itself says to the same, one by
 * one; and with CANCELs among them, of which nobody knows where they strike, what
 * is in the file at the end with what the replies have said. */
#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/error.h"
#include "proto/frame.h"
#include "proto/value.h"
#include "tests/lib/judge.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char schema[] =
    "CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE);"
    "INSERT INTO t VALUES(0, 'there');"
    "CREATE TABLE parent(id INTEGER PRIMARY KEY);"
    "CREATE TABLE late(p REFERENCES parent(id) DEFERRABLE INITIALLY DEFERRED)";

/* What a request is, and how it changes the transaction. */
enum act {
	ACT_NONE,
	ACT_BEGIN,
	ACT_COMMIT,
	ACT_ROLLBACK,
	ACT_SAVEPOINT,
	ACT_RELEASE,
	ACT_ROLLBACK_TO,
};

/* %1$d: the first of the ids that are its own. */
/* clang-format off */
static const struct op {
	enum msg_type type;
	enum act act;
	const char *sql;    /* of TX_BEGIN: NULL */
	const char *second; /* BATCH: a step when the first one failed */
	const char *name;   /* of a savepoint */
	int mode;           /* TX_BEGIN; of TX_END, whether it commits */
	int rows_n;         /* that it inserts; below 0: so many in spite of its failure */
} ops[] = {
	{ .type = TYPE_EXEC, .act = ACT_BEGIN, .sql = "BEGIN" },
	{ .type = TYPE_EXEC, .act = ACT_BEGIN, .sql = "; /* a */ begin immediate transaction;" },
	{ .type = TYPE_TX_BEGIN, .act = ACT_BEGIN, .mode = TX_MODE_DEFERRED },
	{ .type = TYPE_TX_BEGIN, .act = ACT_BEGIN, .mode = TX_MODE_EXCLUSIVE },
	{ .type = TYPE_EXEC, .act = ACT_COMMIT, .sql = "COMMIT" },
	{ .type = TYPE_EXEC, .act = ACT_COMMIT, .sql = "-- b\n END TRANSACTION" },
	{ .type = TYPE_TX_END, .act = ACT_COMMIT, .mode = 1 },
	{ .type = TYPE_EXEC, .act = ACT_ROLLBACK, .sql = "ROLLBACK" },
	{ .type = TYPE_TX_END, .act = ACT_ROLLBACK, .mode = 0 },
	{ .type = TYPE_EXEC, .act = ACT_SAVEPOINT, .sql = "SAVEPOINT a", .name = "a" },
	{ .type = TYPE_EXEC, .act = ACT_SAVEPOINT, .sql = "savepoint \"b B\"", .name = "b b" },
	{ .type = TYPE_EXEC, .act = ACT_RELEASE, .sql = "RELEASE A", .name = "a" },
	{ .type = TYPE_EXEC, .act = ACT_RELEASE, .sql = "RELEASE SAVEPOINT 'B b'", .name = "b b" },
	{ .type = TYPE_EXEC, .act = ACT_ROLLBACK_TO, .sql = "ROLLBACK TO a", .name = "a" },
	{ .type = TYPE_EXEC, .act = ACT_ROLLBACK_TO, .sql = "rollback transaction to savepoint [b b]", .name = "b b" },
	{ .type = TYPE_EXEC, .sql = "INSERT INTO t(id) VALUES(%1$d)", .rows_n = 1 },
	{ .type = TYPE_EXEC, .sql = "INSERT INTO t(id) VALUES(%1$d), (%1$d + 1) RETURNING id", .rows_n = 2 },
	{ .type = TYPE_EXEC, .sql = "INSERT INTO t VALUES(%1$d, NULL), (%1$d + 1, 'there')" },
	{ .type = TYPE_EXEC, .sql = "INSERT INTO t VALUES(%1$d, NULL), (%1$d + 1, 'there') RETURNING id" },
	{ .type = TYPE_EXEC, .sql = "INSERT OR FAIL INTO t VALUES(%1$d, NULL), (%1$d + 1, 'there')", .rows_n = -1 },
	{ .type = TYPE_EXEC, .sql = "INSERT OR ROLLBACK INTO t VALUES(%1$d, NULL), (%1$d + 1, 'there')" },
	{ .type = TYPE_EXEC, .sql = "INSERT INTO late VALUES(99)" },
	{ .type = TYPE_EXEC, .sql = "DELETE FROM late" },
	{ .type = TYPE_EXEC, .sql = "SELECT count(*) FROM t" },
	{ .type = TYPE_EXEC, .sql = "SELECT nope FROM t" },
	{ .type = TYPE_EXEC, .sql = "SELEKT 1" },
	{ .type = TYPE_EXEC, .sql = "; -- nothing" },
	{ .type = TYPE_EXEC, .sql = "CREATE TABLE IF NOT EXISTS made(x)" },
	{ .type = TYPE_EXEC, .sql = "DROP TABLE IF EXISTS made" },
	{ .type = TYPE_EXEC, .sql = "INSERT INTO made VALUES(1)" },
	{ .type = TYPE_EXEC, .sql = "; VACUUM" },
	{ .type = TYPE_BATCH, .sql = "INSERT INTO t VALUES(%1$d, 'there')",
	  .second = "INSERT INTO t(id) VALUES(%1$d), (%1$d + 1)", .rows_n = 2 },
	{ .type = TYPE_BATCH, .sql = "INSERT INTO t VALUES(%1$d, 'there')",
	  .second = "INSERT INTO t VALUES(%1$d, NULL), (%1$d + 1, 'there')" },
	{ .type = TYPE_BATCH, .sql = "SELECT nope", .second = "SELECT count(*) FROM t" },
	{ .type = TYPE_SCRIPT, .sql = "INSERT INTO t(id) VALUES(%1$d); INSERT INTO t(id) VALUES(%1$d + 1)", .rows_n = 2 },
	{ .type = TYPE_SCRIPT, .sql = "INSERT INTO t(id) VALUES(%1$d); INSERT INTO t VALUES(%1$d + 1, 'there')" },
};
/* clang-format on */

#define IDS_N     4  /* of each request */
#define LENGTH    60 /* of a pipeline */
#define ROUNDS    15 /* of one test */
#define STREAMS_N 4

/* A request of a pipeline, and what came back. */
struct sent {
	const struct op *op;
	int id; /* the first of its own */
	uint64_t request;
	uint64_t stream;
	bool answered;
	bool waited; /* it was cancelled before it ran: its state is of then */
	int code, state, outcome;
	int64_t first; /* value of the first row; -1: none */
};

static struct live live;
static struct rawconn conn;
static struct sent sent[LENGTH];

/* --- Sending ------------------------------------------------------------------ */

static void
make_sql(char *to, size_t n, const char *format, int id)
{
/* the table above holds the formats */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	if (strchr(format, '%'))
		snprintf(to, n, format, id);
	else
		snprintf(to, n, "%s", format);
#pragma GCC diagnostic pop
}

static void
put_step(struct msg_out *m, const char *sql, bool when_failed)
{
	value_put_map(m->b, when_failed ? 2 : 1);
	value_put_int(m->b, ASK_sql);
	value_put_text(m->b, sql, strlen(sql));
	if (!when_failed)
		return;
	value_put_int(m->b, ASK_cond);
	value_put_array(m->b, 2);
	value_put_int(m->b, COND_ERROR);
	value_put_int(m->b, 0);
}

static uint64_t
put_batch(uint64_t stream, const char *first, const char *second)
{
	struct msg_out m;

	msg_begin_body(&m, &conn.out, TYPE_BATCH, ++conn.last_id, stream);
	msg_key(&m, ASK_steps);
	value_put_array(m.b, 2);
	put_step(&m, first, false);
	put_step(&m, second, true);
	ck_assert_int_eq(msg_end(&m, FRAME_DEFAULT_MAX_BYTES), 0);
	return conn.last_id;
}

static uint64_t
put_op(const struct op *op, int id, uint64_t stream)
{
	char sql[256], second[256];

	make_sql(sql, sizeof(sql), op->sql ? op->sql : "", id);
	make_sql(second, sizeof(second), op->second ? op->second : "", id);
	if (op->type == TYPE_TX_BEGIN)
		return raw_put_begin(&conn, stream, (enum msg_tx_mode)op->mode);
	if (op->type == TYPE_TX_END)
		return raw_put_end(&conn, stream, op->mode);
	if (op->type == TYPE_BATCH)
		return put_batch(stream, sql, second);
	if (op->type == TYPE_SCRIPT)
		return raw_put_script(&conn, stream, sql, true);
	return raw_put_exec(&conn, stream, sql);
}

static int64_t
get_first(const struct msg_tell *tell)
{
	struct span rows = tell->rows;
	struct value v;

	if (!MSG_HAS(tell, TELL_rows))
		return -1;
	value_read(&rows, &v);
	if (v.count == 0)
		return -1;
	value_read(&rows, &v);
	value_read(&rows, &v);
	return v.kind == VALUE_INT ? v.i : -1;
}

static void
note_reply(struct sent *s, const struct rawreply *r)
{
	ck_assert_msg(!s->answered, "two replies");
	s->answered = true;
	if (MSG_HAS(&r->tell, TELL_code))
		s->code = (int)r->tell.code;
	if (MSG_HAS(&r->tell, TELL_tx_state))
		s->state = (int)r->tell.tx_state;
	if (MSG_HAS(&r->tell, TELL_outcome))
		s->outcome = (int)r->tell.outcome;
	s->waited = s->code == ERR_CANCELLED &&
	    !memmem(r->tell.message.p, r->tell.message.n, "while it ran", 12);
	s->first = get_first(&r->tell);
}

/* NULL: it is a CANCEL's own reply. */
static struct sent *
find_sent(const struct rawreply *r)
{
	for (size_t i = 0; i < LENGTH; i++)
		if (sent[i].request == r->head.id)
			return &sent[i];
	ck_assert_int_eq((int)r->head.type, TYPE_OK);
	return NULL;
}

/* Take the terminal replies to all of them: one each. */
static void
take_replies(void)
{
	for (size_t n = 0; n < LENGTH;) {
		struct rawreply r;
		struct sent *s;

		ck_assert(raw_take(&conn, &r));
		if (r.head.type == TYPE_ROWS)
			continue;
		s = find_sent(&r);
		if (!s)
			continue;
		note_reply(s, &r);
		n++;
	}
}

/* The end of whatever a stream has open. */
static const struct op *
get_rollback(void)
{
	const struct op *op = ops;

	while (op->type != TYPE_TX_END || op->act != ACT_ROLLBACK)
		op++;
	return op;
}

/* With several streams each ends with a rollback, for else one would wait for what
 * another one has open. */
static void
send_pipeline(
    struct judge_random *random, int *id, bool cancels, uint32_t streams_n)
{
	size_t ends_at = streams_n > 1 ? LENGTH - streams_n : LENGTH;

	for (size_t i = 0; i < LENGTH; i++) {
		bool ends = i >= ends_at;
		struct sent *s = &sent[i];

		*s = (struct sent){ .id = *id, .first = -1 };
		s->op = ends ? get_rollback()
			     : &ops[judge_random_below(random, COUNT(ops))];
		s->stream = ends ? i - ends_at
				 : judge_random_below(random, streams_n);
		s->request = put_op(s->op, *id, s->stream);
		*id += IDS_N;
		if (cancels && !ends && judge_random_below(random, 4) == 0)
			raw_put_cancel(&conn,
			    sent[judge_random_below(random, (uint32_t)i + 1)]
				.request);
		if (judge_random_below(random, 20) == 0)
			raw_flush(&conn);
	}
	raw_flush(&conn);
	take_replies();
}

/* --- What SQLite says ---------------------------------------------------------- */

static struct {
	sqlite3 *db;
	bool
	    poisoned; /* an error has ended the transaction, its client has not */
	int64_t first;
} oracle;

static int
take_first(void *arg, int n, char **values, char **names)
{
	(void)arg;
	(void)n;
	(void)names;
	if (oracle.first < 0 && values[0])
		oracle.first = strtol(values[0], NULL, 10);
	return 0;
}

static int
ask_sqlite(const char *sql)
{
	return sqlite3_exec(oracle.db, sql, take_first, NULL, NULL) == SQLITE_OK
	    ? 0
	    : sqlite3_extended_errcode(oracle.db);
}

static bool
in_tx(void)
{
	return !sqlite3_get_autocommit(oracle.db);
}

/* In a savepoint, or a transaction of its own. */
static int
ask_whole(const char *first, const char *second, bool caught)
{
	bool inside = in_tx();
	int rc;

	ask_sqlite(inside ? "SAVEPOINT whole" : "BEGIN IMMEDIATE");
	rc = ask_sqlite(first);
	if (rc && caught) {
		oracle.first = -1;
		rc = ask_sqlite(second);
	}
	if (rc == 0 && !inside)
		rc = ask_sqlite("COMMIT");
	if (rc && in_tx())
		ask_sqlite(inside ? "ROLLBACK TO whole" : "ROLLBACK");
	if (inside)
		ask_sqlite("RELEASE whole");
	return rc;
}

/* What the protocol has instead of SQLite's error, or 0. */
static int
ask_protocol(const struct op *op)
{
	if (oracle.poisoned) {
		if (op->act == ACT_COMMIT || op->act == ACT_ROLLBACK)
			oracle.poisoned = false;
		return op->act == ACT_ROLLBACK ? -1 : ERR_TX_EXPIRED;
	}
	if (op->type == TYPE_TX_END && !in_tx())
		return ERR_TX_NONE;
	if (in_tx() && (op->type == TYPE_TX_BEGIN || op->type == TYPE_SCRIPT))
		return ERR_TX_ACTIVE;
	return 0;
}

static int
ask_oracle(const struct op *op, int id)
{
	static const char *const modes[] = { "BEGIN", "BEGIN IMMEDIATE",
		"BEGIN EXCLUSIVE" };
	char sql[256], second[256];
	bool inside = in_tx();
	int rc = ask_protocol(op);

	oracle.first = -1;
	if (rc)
		return rc < 0 ? 0 : rc;
	make_sql(sql, sizeof(sql), op->sql ? op->sql : "", id);
	make_sql(second, sizeof(second), op->second ? op->second : "", id);
	if (op->type == TYPE_TX_BEGIN)
		rc = ask_sqlite(modes[op->mode]);
	else if (op->type == TYPE_TX_END)
		rc = ask_sqlite(op->mode ? "COMMIT" : "ROLLBACK");
	else if (op->type == TYPE_EXEC)
		rc = ask_sqlite(sql);
	else
		rc = ask_whole(sql, second, op->type == TYPE_BATCH);
	oracle.poisoned = rc && inside && !in_tx() && op->act == ACT_NONE;
	return rc;
}

static void
describe(size_t n)
{
	fprintf(stderr, "ids from %d\n", sent[0].id);
	for (size_t i = 0; i <= n; i++)
		fprintf(stderr, "%2zu %s%s: %d, state %d%s\n", i,
		    sent[i].op->sql                         ? sent[i].op->sql
			: sent[i].op->type == TYPE_TX_BEGIN ? "TX_BEGIN "
							    : "TX_END ",
		    sent[i].op->second ? " ..." : "", sent[i].code,
		    sent[i].state, sent[i].waited ? " (waited)" : "");
}

static void
compare_with_oracle(void)
{
	for (size_t i = 0; i < LENGTH; i++) {
		const struct sent *s = &sent[i];
		int want = ask_oracle(s->op, s->id);
		int state = oracle.poisoned ? TX_STATE_EXPIRED : TX_STATE_NONE;
		bool right = s->code == want;

		if (in_tx())
			right = right && s->state >= TX_STATE_OPEN &&
			    s->state <= TX_STATE_WRITE;
		else
			right = right && s->state == state;
		/* outside of transactions a read may come behind later writes */
		if (s->op->sql && !strncmp(s->op->sql, "SELECT count", 12))
			right = right &&
			    (s->first == oracle.first ||
				(s->first > oracle.first && !in_tx()));
		if (right)
			continue;
		describe(i);
		ck_abort_msg("number %zu: SQLite says %d, %s, %lld; not %d, "
			     "state %d, %lld",
		    i, want, in_tx() ? "in a transaction" : "in none",
		    (long long)oracle.first, s->code, s->state,
		    (long long)s->first);
	}
}

/* --- What the replies say -------------------------------------------------------- */

/* Rows of the open transaction, and savepoints between them (rows_n 0). */
struct pending {
	int id, rows_n;
	const char *name;
};

static struct {
	struct pending pending[LENGTH * ROUNDS + 1];
	size_t n;
	bool open, implicit;
} books[STREAMS_N], *book;

static sqlite3 *committed; /* a table of what is */

static void
book_rows(int id, int rows_n)
{
	char sql[128];

	for (int i = 0; i < rows_n; i++) {
		snprintf(sql, sizeof(sql), "INSERT INTO t VALUES(%d)", id + i);
		ck_assert_int_eq(
		    sqlite3_exec(committed, sql, NULL, NULL, NULL), SQLITE_OK);
	}
}

static void
book_end(bool commits)
{
	for (size_t i = 0; i < book->n && commits; i++)
		book_rows(book->pending[i].id, book->pending[i].rows_n);
	book->n = 0;
	book->open = book->implicit = false;
}

static void
book_add(int id, int rows_n, const char *name)
{
	if (!book->open) {
		book_rows(id, rows_n);
		return;
	}
	book->pending[book->n++] =
	    (struct pending){ .id = id, .rows_n = rows_n, .name = name };
}

/* Where a savepoint is among what is pending. */
static size_t
find_name(const char *name)
{
	size_t i = book->n;

	do {
		ck_assert_uint_gt(i, 0);
		i--;
	} while (
	    !book->pending[i].name || strcmp(book->pending[i].name, name) != 0);
	return i;
}

static void
book_release(const char *name)
{
	size_t at = find_name(name);
	bool left = false;

	for (size_t i = at; i < book->n; i++)
		book->pending[i].name = NULL;
	for (size_t i = 0; i < book->n; i++)
		left = left || book->pending[i].name;
	if (book->implicit && !left)
		book_end(true);
}

static void
book_success(const struct sent *s)
{
	switch (s->op->act) {
	case ACT_NONE:
		book_add(s->id, s->op->rows_n > 0 ? s->op->rows_n : 0, NULL);
		break;
	case ACT_BEGIN:
		book->open = true;
		break;
	case ACT_COMMIT:
	case ACT_ROLLBACK:
		book_end(s->op->act == ACT_COMMIT);
		break;
	case ACT_SAVEPOINT:
		book->implicit = book->implicit || !book->open;
		book->open = true;
		book_add(s->id, 0, s->op->name);
		break;
	case ACT_RELEASE:
		book_release(s->op->name);
		break;
	case ACT_ROLLBACK_TO:
		book->n = find_name(s->op->name) + 1;
		break;
	}
}

static void
book_failure(const struct sent *s)
{
	ck_assert_msg(s->outcome != OUTCOME_UNKNOWN, "an unknown outcome");
	if (s->outcome == OUTCOME_APPLIED) {
		ck_assert_int_lt(s->op->rows_n, 0);
		book_add(s->id, -s->op->rows_n, NULL);
	}
	if (s->state == TX_STATE_NONE && s->op->act != ACT_NONE && book->open)
		book_end(false);
	else if (s->state == TX_STATE_EXPIRED)
		book->n = 0;
}

static void
keep_book(void)
{
	for (size_t i = 0; i < LENGTH; i++) {
		book = &books[sent[i].stream];
		if (sent[i].waited)
			continue;
		if (sent[i].code)
			book_failure(&sent[i]);
		else
			book_success(&sent[i]);
		if (book->open != (sent[i].state != TX_STATE_NONE)) {
			describe(i);
			ck_abort_msg("number %zu: state %d", i, sent[i].state);
		}
	}
}

/* --- Tests ------------------------------------------------------------------------ */

static void
start(void)
{
	live_init(&live);
	live_start(
	    &live, LIVE_OPTIONS("foreign_keys=on", "synchronous=normal"));
	raw_open(&conn, live.socket_path);
	raw_expect(&conn, raw_put_script(&conn, 0, schema, true), 0);
	ck_assert_int_eq(sqlite3_open(":memory:", &oracle.db), SQLITE_OK);
	ck_assert_int_eq(ask_sqlite("PRAGMA foreign_keys=on"), 0);
	ck_assert_int_eq(ask_sqlite(schema), 0);
	ck_assert_int_eq(sqlite3_open(":memory:", &committed), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(committed,
			     "CREATE TABLE t(id PRIMARY KEY);"
			     "INSERT INTO t VALUES(0)",
			     NULL, NULL, NULL),
	    SQLITE_OK);
}

/* The rows of a database as a list of ids. */
static int
append_id(void *arg, int n, char **values, char **names)
{
	FILE *f = arg;

	(void)n;
	(void)names;
	fprintf(f, "%s ", values[0]);
	return 0;
}

static char *
list_ids(sqlite3 *db)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(sqlite3_exec(db, "SELECT id FROM t ORDER BY id",
			     append_id, f, NULL),
	    SQLITE_OK);
	ck_assert_int_eq(fclose(f), 0);
	return text;
}

static void
stop(void)
{
	char *got, *want;
	sqlite3 *db;

	raw_close(&conn);
	live_stop(&live);
	live_check_file(live.db_path);
	ck_assert_int_eq(sqlite3_open(live.db_path, &db), SQLITE_OK);
	got = list_ids(db);
	want = list_ids(committed);
	ck_assert_str_eq(got, want);
	free(got);
	free(want);
	sqlite3_close(db);
	sqlite3_close(oracle.db);
	sqlite3_close(committed);
	live_fini(&live);
}

static void
run_rounds(uint64_t seed, bool cancels, uint32_t streams_n)
{
	struct judge_random random = { seed + 1 };
	int id = 1;

	start();
	for (int i = 0; i < ROUNDS; i++) {
		send_pipeline(&random, &id, cancels, streams_n);
		keep_book();
		if (!cancels && streams_n == 1)
			compare_with_oracle();
	}
	/* what is open is rolled back */
	stop();
}

START_TEST(a_pipeline_gets_what_sqlite_says)
{
	run_rounds((uint64_t)_i, false, 1);
}
END_TEST

START_TEST(a_pipeline_with_cancels_is_what_its_replies_say)
{
	run_rounds((uint64_t)_i, true, 1);
}
END_TEST

/* Transactions side by side, which wait for each other. */
START_TEST(a_pipeline_of_many_streams_is_what_its_replies_say)
{
	run_rounds((uint64_t)_i, _i % 2, STREAMS_N);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("random");
	TCase *tc = tcase_create("pipeline");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_pipeline_gets_what_sqlite_says, 0, 10);
	suite_add_tcase(suite, tc);
	tc = tcase_create("cancels");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(
	    tc, a_pipeline_with_cancels_is_what_its_replies_say, 0, 10);
	tcase_add_loop_test(
	    tc, a_pipeline_of_many_streams_is_what_its_replies_say, 0, 10);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
