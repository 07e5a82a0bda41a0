/* check_client_requests.c - libsqlpool-client: what requests say, and the results
 * of those of several steps. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/clientscript.h"

/* ---- what requests say ---- */

static void
assert_span(struct span s, const void *want, size_t n)
{
	ck_assert_uint_eq(s.n, n);
	ck_assert_mem_eq(s.p, want, n);
}

static void
play_fields(struct fakeserver *f)
{
	struct fake_request r;

	fake_take_hello(f, 16, 65536);
	/* the statement with its options */
	ck_assert(fake_take(f, &r));
	ck_assert_uint_eq(r.head.type, TYPE_EXEC);
	ck_assert_uint_eq(r.head.timeout_ms, 1234);
	ck_assert_uint_eq(r.head.stream, 0);
	assert_span(r.ask.sql, "SELECT ?1", 9);
	assert_span(r.ask.params, "\x91\xa1x", 3);
	ck_assert_uint_eq(r.ask.max_rows, 5);
	ck_assert(r.ask.read_only);
	fake_done(f, r.head.id);
	fake_send(f);
	/* without options: the connection's timeout */
	ck_assert(fake_take(f, &r));
	ck_assert_uint_eq(r.head.timeout_ms, 5000);
	ck_assert(!MSG_HAS(&r.ask, ASK_params));
	ck_assert(!MSG_HAS(&r.ask, ASK_max_rows));
	ck_assert(!MSG_HAS(&r.ask, ASK_read_only));
	fake_done(f, r.head.id);
	fake_send(f);
	/* steps with conditions: ok(0); not(or(error(0), and(ok(1)))) */
	ck_assert(fake_take(f, &r));
	ck_assert_uint_eq(r.head.type, TYPE_BATCH);
	assert_span(r.ask.steps,
	    "\x93"
	    "\x81\x00\xa1"
	    "a"
	    "\x83\x00\xa1"
	    "b\x02\x91\x07\x05\x92\x00\x00"
	    "\x82\x00\xa1"
	    "c\x05\x92\x02\x93\x04\x92\x01\x00\x92\x03\x92\x00\x01",
	    33);
	fake_error(f, r.head.id, SQLPOOL_ERR_QUEUE_FULL, "full");
	fake_send(f);
}

static void
add_conditions(struct sqlpool_request *request)
{
	struct sqlpool_condition ok0 = { .kind = SQLPOOL_IF_OK, .step = 0 };
	struct sqlpool_condition ok1 = { .kind = SQLPOOL_IF_OK, .step = 1 };
	struct sqlpool_condition either[] = {
		{ .kind = SQLPOOL_IF_ERROR, .step = 0 },
		{ .kind = SQLPOOL_IF_AND, .of = &ok1, .of_n = 1 },
	};
	struct sqlpool_condition any = {
		.kind = SQLPOOL_IF_OR, .of = either, .of_n = 2
	};
	struct sqlpool_condition none = {
		.kind = SQLPOOL_IF_NOT, .of = &any, .of_n = 1
	};

	ck_assert_int_eq(sqlpool_request_add(request, "a", NULL, 0), 0);
	/* a step that is not earlier */
	ck_assert_int_eq(
	    sqlpool_request_set_condition(request, &ok0), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(
	    sqlpool_request_add(request, "b", SQLPOOL_VALUES(SQLPOOL_INT(7))),
	    1);
	/* the last one counts */
	ck_assert_int_eq(
	    sqlpool_request_set_condition(request,
		&(struct sqlpool_condition){
		    .kind = SQLPOOL_IF_NOT, .of = &ok0, .of_n = 1 }),
	    0);
	ck_assert_int_eq(sqlpool_request_set_condition(request, &ok0), 0);
	ck_assert_int_eq(sqlpool_request_add(request, "c", NULL, 0), 2);
	ck_assert_int_eq(sqlpool_request_set_condition(request, &none), 0);
}

START_TEST(requests_carry_their_options_and_conditions)
{
	struct sqlpool_conn *conn = clientscript_open(play_fields, 5000);
	struct sqlpool_request *request = sqlpool_request_new();
	struct sqlpool_result *result;

	ck_assert_int_eq(
	    sqlpool_run(conn, request, &result), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(sqlpool_request_add(request, "SELECT ?1",
			     SQLPOOL_VALUES(SQLPOOL_TEXT("x"))),
	    0);
	ck_assert_int_eq(
	    sqlpool_request_set_option(request, SQLPOOL_TIMEOUT_MS, 1234), 0);
	ck_assert_int_eq(
	    sqlpool_request_set_option(request, SQLPOOL_MAX_ROWS, 5), 0);
	ck_assert_int_eq(
	    sqlpool_request_set_option(request, SQLPOOL_READ_ONLY, 1), 0);
	ck_assert_int_eq(
	    sqlpool_request_set_option(request, SQLPOOL_READ_ONLY, 2),
	    -SQLPOOL_ERR_MISUSE);
	/* a number of rows is for one statement's result */
	ck_assert_int_eq(
	    sqlpool_run_atomic(conn, request, &result), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(
	    sqlpool_request_set_option(request, SQLPOOL_TIMEOUT_MS, UINT64_MAX),
	    -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(sqlpool_request_set_option(
			     request, (enum sqlpool_request_option)99, 5),
	    -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(sqlpool_run(conn, request, &result), 0);
	sqlpool_result_free(result);
	sqlpool_request_free(request);
	ck_assert_int_eq(sqlpool_exec(conn, "x", NULL, 0), 0);
	request = sqlpool_request_new();
	add_conditions(request);
	ck_assert_int_eq(
	    sqlpool_run(conn, request, &result), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(sqlpool_run_atomic(conn, request, &result),
	    -SQLPOOL_ERR_QUEUE_FULL);
	sqlpool_request_free(request);
	clientscript_close(conn);
}
END_TEST

static void
play_rows(struct fakeserver *f)
{
	struct fake_request r;

	fake_take_hello(f, 16, 65536);
	ck_assert(fake_take(f, &r));
	ck_assert_uint_eq(r.head.type, TYPE_BATCH);
	assert_span(r.ask.steps,
	    "\x94"
	    "\x82\x00\xa1"
	    "a\x02\x91\x01"
	    "\x81\x02\x91\x02"
	    "\x81\x02\x81\xa1"
	    "x\x03"
	    "\x80",
	    19);
	fake_error(f, r.head.id, SQLPOOL_ERR_QUEUE_FULL, "full");
	fake_send(f);
}

START_TEST(many_rows_name_their_statement_once)
{
	struct sqlpool_conn *conn = clientscript_open(play_rows, 5000);
	struct sqlpool_request *request = sqlpool_request_new();
	struct sqlpool_result *result;

	/* there is no step before */
	ck_assert_int_eq(
	    sqlpool_request_add(request, NULL, SQLPOOL_VALUES(SQLPOOL_INT(1))),
	    -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(
	    sqlpool_request_add(request, "a", SQLPOOL_VALUES(SQLPOOL_INT(1))),
	    0);
	ck_assert_int_eq(
	    sqlpool_request_add(request, NULL, SQLPOOL_VALUES(SQLPOOL_INT(2))),
	    1);
	ck_assert_int_eq(
	    sqlpool_request_add(request, NULL,
		SQLPOOL_VALUES(SQLPOOL_NAMED("x", SQLPOOL_INT(3)))),
	    2);
	ck_assert_int_eq(sqlpool_request_add(request, NULL, NULL, 0), 3);
	ck_assert_int_eq(sqlpool_run_atomic(conn, request, &result),
	    -SQLPOOL_ERR_QUEUE_FULL);
	sqlpool_request_free(request);
	clientscript_close(conn);
}
END_TEST

/* ---- scripts ---- */

static void
play_script(struct fakeserver *f)
{
	struct fake_request r;

	fake_take_hello(f, 16, 65536);
	ck_assert(fake_take(f, &r));
	ck_assert_uint_eq(r.head.type, TYPE_SCRIPT);
	ck_assert_uint_eq(r.head.timeout_ms, 5000);
	assert_span(r.ask.sql, "a; b", 4);
	ck_assert(MSG_HAS(&r.ask, ASK_atomic) && r.ask.atomic);
	fake_begin(f, TYPE_DONE, r.head.id);
	msg_put_int(&f->m, TELL_changes, 5);
	msg_put_int(&f->m, TELL_rowid, 9);
	msg_put_uint(&f->m, TELL_seq, 7);
	msg_put_uint(&f->m, TELL_statements_n, 2);
	fake_end(f);
	fake_send(f);
	ck_assert(fake_take(f, &r));
	ck_assert_uint_eq(r.head.type, TYPE_SCRIPT);
	ck_assert(MSG_HAS(&r.ask, ASK_atomic) && !r.ask.atomic);
	fake_begin(f, TYPE_ERROR, r.head.id);
	msg_put_uint(&f->m, TELL_code, 787);
	msg_put_str(&f->m, TELL_message, "FOREIGN KEY failed");
	msg_put_uint(&f->m, TELL_outcome, SQLPOOL_APPLIED);
	msg_put_uint(&f->m, TELL_offset, 3);
	msg_put_uint(&f->m, TELL_step, 1);
	fake_end(f);
	fake_send(f);
}

START_TEST(a_script_is_one_request)
{
	struct sqlpool_conn *conn = clientscript_open(play_script, 5000);
	const struct sqlpool_summary *s = sqlpool_get_summary(conn);
	const struct sqlpool_error *e = sqlpool_get_error(conn);

	ck_assert_int_eq(sqlpool_script(NULL, "a", 0), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(sqlpool_script(conn, NULL, 0), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(sqlpool_script(conn, "a", 2), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(sqlpool_script(conn, "a; b", 0), 0);
	ck_assert_int_eq(s->changes, 5);
	ck_assert_int_eq(s->rowid, 9);
	ck_assert_uint_eq(s->seq, 7);
	ck_assert_uint_eq(s->statements_n, 2);
	ck_assert_int_eq(
	    sqlpool_script(conn, "a; b", SQLPOOL_SCRIPT_NOT_ATOMIC), -787);
	clientscript_assert_error(e, 787, SQLPOOL_APPLIED);
	ck_assert_int_eq(e->step, 1);
	ck_assert_int_eq(e->offset, 3);
	clientscript_close(conn);
}
END_TEST

/* ---- atomic requests ---- */

static void
play_batch(struct fakeserver *f)
{
	uint64_t id;
	struct msg_out step = { 0 };

	fake_take_hello(f, 16, 65536);
	id = fake_take_type(f, TYPE_BATCH);
	fake_begin(f, TYPE_DONE, id);
	msg_key(&f->m, TELL_steps);
	value_put_array(f->m.b, 4);
	step.b = f->m.b;
	/* two rows of text; an error; skipped; only figures */
	msg_open_map(&step);
	msg_key(&step, TELL_columns);
	value_put_array(step.b, 1);
	value_put_str(step.b, "n", 1);
	msg_key(&step, TELL_rows);
	value_put_array(step.b, 2);
	for (int i = 0; i < 2; i++) {
		value_put_array(step.b, 1);
		value_put_str(step.b, i ? "two" : "one", 3);
	}
	msg_close_map(&step);
	msg_open_map(&step);
	msg_key(&step, TELL_error);
	value_put_map(step.b, 2);
	value_put_uint(step.b, TELL_code);
	value_put_uint(step.b, 1555);
	value_put_uint(step.b, TELL_message);
	value_put_str(step.b, "not unique", 10);
	msg_close_map(&step);
	value_put_nil(step.b);
	msg_open_map(&step);
	msg_put_int(&step, TELL_changes, 3);
	msg_put_int(&step, TELL_rowid, 9);
	msg_close_map(&step);
	msg_put_int(&f->m, TELL_changes, 4);
	msg_put_uint(&f->m, TELL_seq, 70);
	msg_put_uint(&f->m, TELL_tx_state, TX_STATE_NONE);
	fake_end(f);
	fake_send(f);
}

START_TEST(an_atomic_request_has_a_result_for_each_step)
{
	struct sqlpool_conn *conn = clientscript_open(play_batch, 5000);
	struct sqlpool_request *request = sqlpool_request_new();
	struct sqlpool_result *result;

	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(sqlpool_request_add(request, "x", NULL, 0), i);
	ck_assert_int_eq(sqlpool_run_atomic(conn, request, &result), 0);
	sqlpool_request_free(request);
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
	ck_assert_str_eq(sqlpool_column_text(result, 0, NULL), "one");
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
	ck_assert_str_eq(sqlpool_column_text(result, 0, NULL), "two");
	ck_assert_str_eq(sqlpool_column_name(result, 0), "n");
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_DONE);
	ck_assert_int_eq(sqlpool_next_result(result), SQLPOOL_ROW);
	ck_assert_int_eq(sqlpool_next(result), -1555);
	ck_assert_str_eq(sqlpool_result_error(result)->message, "not unique");
	ck_assert_int_eq(sqlpool_next_result(result), SQLPOOL_ROW);
	ck_assert(sqlpool_result_summary(result)->skipped);
	ck_assert_int_eq(sqlpool_result_error(result)->code, 0);
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_DONE);
	ck_assert_int_eq(sqlpool_next_result(result), SQLPOOL_ROW);
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_DONE);
	ck_assert(!sqlpool_result_summary(result)->skipped);
	ck_assert_int_eq(sqlpool_result_summary(result)->changes, 3);
	ck_assert_int_eq(sqlpool_result_summary(result)->rowid, 9);
	ck_assert_uint_eq(sqlpool_result_summary(result)->seq, 70);
	ck_assert_int_eq(sqlpool_next_result(result), SQLPOOL_DONE);
	ck_assert_int_eq(sqlpool_result_summary(result)->changes, 4);
	ck_assert_uint_eq(sqlpool_get_summary(conn)->seq, 70);
	ck_assert_int_eq(sqlpool_next_result(result), SQLPOOL_DONE);
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_DONE);
	sqlpool_result_free(result);
	clientscript_close(conn);
}
END_TEST

/* ---- statements and transactions ---- */

static void
play_stmt(struct fakeserver *f)
{
	struct fake_request r;
	uint64_t stmt;

	fake_take_hello(f, 16, 65536);
	ck_assert(fake_take(f, &r));
	ck_assert_uint_eq(r.head.type, TYPE_PREPARE);
	assert_span(r.ask.sql, "SELECT ?1", 9);
	stmt = r.ask.stmt;
	ck_assert_uint_ge(stmt, 1);
	fake_begin(f, TYPE_OK, r.head.id);
	msg_key(&f->m, TELL_columns);
	value_put_array(f->m.b, 1);
	value_put_str(f->m.b, "?1", 2);
	msg_put_uint(&f->m, TELL_params_n, 1);
	fake_end(f);
	fake_send(f);
	for (int i = 0; i < 4; i++) {
		if (!fake_take(f, &r))
			return; /* closed early: the second test */
		ck_assert_uint_eq(r.head.type, TYPE_EXEC);
		ck_assert_uint_eq(r.ask.stmt, stmt);
		ck_assert(!MSG_HAS(&r.ask, ASK_sql));
		clientscript_echo(f, &r);
	}
	ck_assert(fake_take(f, &r));
	ck_assert_uint_eq(r.head.type, TYPE_CLOSE);
	ck_assert_uint_eq(r.ask.stmt, stmt);
	fake_ok(f, r.head.id);
	fake_ok(f, fake_take_type(f, TYPE_PING));
	fake_send(f);
}

START_TEST(a_prepared_statement_goes_by_number)
{
	struct sqlpool_conn *conn = clientscript_open(play_stmt, 5000);
	struct sqlpool_result *result, *sent[2];
	struct sqlpool_stmt *stmt;

	ck_assert_int_eq(sqlpool_prepare(conn, "SELECT ?1", &stmt), 0);
	ck_assert_uint_eq(sqlpool_stmt_param_count(stmt), 1);
	ck_assert_uint_eq(sqlpool_stmt_column_count(stmt), 1);
	ck_assert_int_eq(
	    sqlpool_stmt_exec(stmt, SQLPOOL_VALUES(SQLPOOL_INT(1))), 0);
	ck_assert_int_eq(
	    sqlpool_stmt_query(stmt, SQLPOOL_VALUES(SQLPOOL_INT(2)), &result),
	    0);
	ck_assert_int_eq(sqlpool_next(result), SQLPOOL_ROW);
	ck_assert_int_eq(sqlpool_column_int64(result, 0), 2);
	sqlpool_result_free(result);
	for (size_t i = 0; i < 2; i++)
		ck_assert_int_eq(
		    sqlpool_stmt_send(stmt,
			SQLPOOL_VALUES(SQLPOOL_INT((int64_t)i + 3)), &sent[i]),
		    0);
	for (size_t i = 2; i-- > 0;) {
		ck_assert_int_eq(sqlpool_next(sent[i]), SQLPOOL_ROW);
		ck_assert_int_eq(
		    sqlpool_column_int64(sent[i], 0), (int64_t)i + 3);
		sqlpool_result_free(sent[i]);
	}
	sqlpool_stmt_free(stmt);
	ck_assert_int_eq(sqlpool_ping(conn), 0);
	clientscript_close(conn);
}
END_TEST

START_TEST(a_statement_outlives_its_connection_but_does_not_run)
{
	struct sqlpool_conn *conn = clientscript_open(play_stmt, 5000);
	struct sqlpool_request *request = sqlpool_request_new();
	struct sqlpool_result *result;
	struct sqlpool_stmt *stmt;

	ck_assert_int_eq(sqlpool_prepare(conn, "SELECT ?1", &stmt), 0);
	sqlpool_close(conn);
	ck_assert_int_eq(sqlpool_stmt_exec(stmt, NULL, 0), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(
	    sqlpool_stmt_send(stmt, NULL, 0, &result), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(sqlpool_request_add_stmt(request, stmt, NULL, 0),
	    -SQLPOOL_ERR_MISUSE);
	sqlpool_stmt_free(stmt);
	sqlpool_request_free(request);
	fakeserver_stop(&clientscript_fs);
}
END_TEST

static void
put_state(struct fakeserver *f, enum msg_type type, uint64_t state)
{
	struct fake_request r;

	if (!fake_take(f, &r))
		return;
	fake_begin(f, type, r.head.id);
	if (type == TYPE_ERROR) {
		msg_put_uint(&f->m, TELL_code, 787);
		msg_put_str(&f->m, TELL_message, "FOREIGN KEY failed");
	}
	msg_put_uint(&f->m, TELL_tx_state, state);
	fake_end(f);
	fake_send(f);
}

static void
play_tx(struct fakeserver *f)
{
	fake_take_hello(f, 16, 65536);
	put_state(f, TYPE_OK, TX_STATE_OPEN);
	put_state(f, TYPE_DONE, TX_STATE_WRITE);
	fake_ok(f, fake_take_type(f, TYPE_PING));
	fake_send(f);
	fake_begin(f, TYPE_ERROR, fake_take_type(f, TYPE_EXEC));
	msg_put_uint(&f->m, TELL_code, SQLPOOL_ERR_FIELD_TYPE);
	msg_put_uint(&f->m, TELL_class, SQLPOOL_CLASS_PROTOCOL);
	fake_end(f);
	fake_begin(f, TYPE_GOAWAY, 0);
	fake_end(f);
	fake_send(f);
	put_state(f, TYPE_ERROR, TX_STATE_WRITE);
	/* absent: none */
	fake_ok(f, fake_take_type(f, TYPE_TX_END));
	fake_send(f);
}

START_TEST(the_last_reply_says_whether_a_transaction_is_open)
{
	struct sqlpool_conn *conn = clientscript_open(play_tx, 5000);

	ck_assert(!sqlpool_in_transaction(conn));
	ck_assert_int_eq(sqlpool_begin(conn, SQLPOOL_TX_IMMEDIATE), 0);
	ck_assert(sqlpool_in_transaction(conn));
	ck_assert_int_eq(sqlpool_exec(conn, "x", NULL, 0), 0);
	ck_assert(sqlpool_in_transaction(conn));
	/* neither of these says anything about it */
	ck_assert_int_eq(sqlpool_ping(conn), 0);
	ck_assert_int_eq(
	    sqlpool_exec(conn, "x", NULL, 0), -SQLPOOL_ERR_FIELD_TYPE);
	ck_assert(sqlpool_in_transaction(conn));
	/* the daemon has said goodbye, but a transaction may end */
	ck_assert_int_eq(sqlpool_commit(conn), -787);
	ck_assert(sqlpool_in_transaction(conn));
	ck_assert_int_eq(sqlpool_rollback(conn), 0);
	ck_assert(!sqlpool_in_transaction(conn));
	ck_assert_int_eq(
	    sqlpool_exec(conn, "x", NULL, 0), -SQLPOOL_ERR_SHUTTING_DOWN);
	clientscript_close(conn);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("client_requests");
	TCase *tc;

	tc = tcase_create("requests");
	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, requests_carry_their_options_and_conditions);
	tcase_add_test(tc, many_rows_name_their_statement_once);
	tcase_add_test(tc, a_script_is_one_request);
	tcase_add_test(tc, an_atomic_request_has_a_result_for_each_step);
	tcase_add_test(tc, a_prepared_statement_goes_by_number);
	tcase_add_test(
	    tc, a_statement_outlives_its_connection_but_does_not_run);
	tcase_add_test(tc, the_last_reply_says_whether_a_transaction_is_open);
	suite_add_tcase(suite, tc);
	return suite;
}

int
main(void)
{
	SRunner *runner = srunner_create(make_suite());
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
