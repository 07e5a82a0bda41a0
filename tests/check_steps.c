/* check_steps.c - the steps of a BATCH, before anything runs. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/steps.h"
#include "proto/error.h"
#include "proto/value.h"
#include "proto/walk.h"
#include "tests/lib/fixture.h"
#include "tests/lib/hex.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct request *r;
static struct buf bytes;

static void
setup(void)
{
	r = request_new();
	ck_assert_ptr_nonnull(r);
	buf_init(&bytes);
}

static void
teardown(void)
{
	request_free(r);
	buf_fini(&bytes);
}

/* Statement 7 is prepared, and no other. */
static struct span
look_up(void *arg, uint64_t number)
{
	ck_assert_ptr_eq(arg, &bytes);
	if (number != 7)
		return (struct span){ NULL, 0 };
	return (struct span){ (const uint8_t *)"SELECT 7", 8 };
}

/* What comes this far was walked. */
static int
read_steps(const char *hex)
{
	struct span head, body;
	struct buf frame;

	buf_init(&frame);
	ck_assert_int_eq(hex_parse(hex, &bytes), 0);
	ck_assert_int_eq(hex_parse("8081 04", &frame), 0);
	buf_put(&frame, bytes.p, bytes.n);
	ck_assert_int_eq(
	    walk_frame((struct span){ frame.p, frame.n }, &head, &body), 0);
	buf_fini(&frame);
	r->ask.steps = (struct span){ bytes.p, bytes.n };
	return steps_read(r, look_up, &bytes);
}

static bool
is_text(struct span s, const char *text)
{
	return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

#define S1 "81 00 a8 53454c4543542031 "    /* sql: SELECT 1 */
#define SC "82 00 a8 53454c4543542031 05 " /* the same, cond: ... */

START_TEST(steps_are_read_with_sql_parameters_and_conditions)
{
	ck_assert_int_eq(
	    read_steps("94" S1 "82 01 07 02 91 05" /* stmt 7, params [5] */
		       "83 00 a178 02 81a16101 05 92 00 01" SC "92 01 00"),
	    0);
	ck_assert_uint_eq(r->steps_n, 4);
	ck_assert(is_text(r->steps[0].sql, "SELECT 1"));
	ck_assert_uint_eq(r->steps[0].params.n, 0);
	ck_assert_uint_eq(r->steps[0].cond.n, 0);
	ck_assert(is_text(r->steps[1].sql, "SELECT 7"));
	ck_assert(is_text(r->steps[1].params, "\x91\x05"));
	ck_assert(is_text(r->steps[2].sql, "x"));
	ck_assert(is_text(r->steps[2].params,
	    "\x81\xa1"
	    "a\x01"));
	ck_assert_uint_eq(r->steps[2].cond.n, 3);
	/* what a condition tests may fail without failing the batch */
	ck_assert(r->steps[0].caught);
	ck_assert(r->steps[1].caught);
	ck_assert(!r->steps[2].caught);
	ck_assert(!r->steps[3].caught);
}
END_TEST

START_TEST(steps_without_a_statement_run_that_of_the_step_before)
{
	struct span text;

	ck_assert_int_eq(read_steps("95 82 00 a178 02 91 01"
				    "81 02 91 02"
				    "82 02 91 03 05 92 00 00"
				    "82 01 07 02 91 04"
				    "80"),
	    0);
	text = r->steps[0].sql;
	ck_assert(is_text(text, "x"));
	ck_assert_ptr_eq(r->steps[1].sql.p, text.p);
	ck_assert_ptr_eq(r->steps[2].sql.p, text.p);
	ck_assert(is_text(r->steps[2].params, "\x91\x03"));
	ck_assert(is_text(r->steps[3].sql, "SELECT 7"));
	ck_assert(is_text(r->steps[4].sql, "SELECT 7"));
	/* a request's own copy holds each text once */
	ck_assert_int_eq(request_own(r), 0);
	ck_assert_ptr_ne(r->steps[0].sql.p, text.p);
	ck_assert(is_text(r->steps[0].sql, "x"));
	ck_assert_ptr_eq(r->steps[1].sql.p, r->steps[0].sql.p);
	ck_assert_ptr_eq(r->steps[2].sql.p, r->steps[0].sql.p);
	ck_assert(is_text(r->steps[1].params, "\x91\x02"));
	ck_assert_uint_eq(r->steps[2].cond.n, 3);
	ck_assert(is_text(r->steps[4].sql, "SELECT 7"));
	ck_assert_ptr_eq(r->steps[4].sql.p, r->steps[3].sql.p);
}
END_TEST

START_TEST(steps_may_be_none)
{
	ck_assert_int_eq(read_steps("90"), 0);
	ck_assert_uint_eq(r->steps_n, 0);
}
END_TEST

/* clang-format off */
/* Conditions of step 2, behind two steps. */
static const struct cond_case {
	const char *cond;
	const char *part; /* NULL: it is good */
	bool caught[2];
} conds[] = {
	{ "92 00 00", NULL, { true, false } },
	{ "92 01 01", NULL, { false, true } },
	{ "92 02 92 00 01", NULL, { false, true } },
	{ "93 03 92 00 00 92 01 01", NULL, { true, true } },
	{ "92 04 92 00 00", NULL, { true, false } },
	{ "94 04 92 00 00 92 00 00 92 02 92 01 01", NULL, { true, true } },
	{ "92 02 92 02 92 02 92 00 00", NULL, { true, false } },
	{ "90", "is not an array of two or more", { 0 } },
	{ "91 00", "is not an array of two or more", { 0 } },
	{ "92 05 00", "begins with something else than 0 to 4", { 0 } },
	{ "92 ff 00", "begins with something else than 0 to 4", { 0 } },
	{ "92 a1 61 00", "begins with something else", { 0 } },
	{ "92 c0 00", "begins with something else", { 0 } },
	{ "92 90 00", "begins with something else", { 0 } },
	{ "93 00 00 01", "has too many elements", { 0 } },
	{ "93 02 92 00 00 92 00 01", "has too many elements", { 0 } },
	{ "92 00 02", "does not name an earlier step", { 0 } },
	{ "92 00 05", "does not name an earlier step", { 0 } },
	{ "92 01 ff", "does not name an earlier step", { 0 } },
	{ "92 00 cf ffffffffffffffff", "does not name an earlier step", { 0 } },
	{ "92 00 a1 30", "does not name an earlier step", { 0 } },
	{ "92 00 c3", "does not name an earlier step", { 0 } },
	{ "92 02 00", "is not an array of two or more", { 0 } },
	{ "93 03 92 00 00 05", "is not an array of two or more", { 0 } },
	{ "93 04 92 00 00 92 00 02", "does not name an earlier step", { 0 } },
	{ "92 03 80", "is not an array of two or more", { 0 } },
};
/* clang-format on */

START_TEST(steps_conditions_name_earlier_steps)
{
	const struct cond_case *c = &conds[_i];
	char hex[200];
	int rc;

	snprintf(hex, sizeof(hex), "93 " S1 S1 SC "%s", c->cond);
	rc = read_steps(hex);
	if (!c->part) {
		ck_assert_int_eq(rc, 0);
		ck_assert_int_eq(r->steps[0].caught, c->caught[0]);
		ck_assert_int_eq(r->steps[1].caught, c->caught[1]);
		return;
	}
	ck_assert_int_eq(rc, -ERR_FIELD_RANGE);
	ck_assert_int_eq(r->failure.step, 2);
	ck_assert_msg(
	    strstr(r->failure.text, c->part) != NULL, "%s", r->failure.text);
	ck_assert_ptr_nonnull(
	    strstr(r->failure.text, "the condition of step 2 "));
}
END_TEST

/* clang-format off */
static const struct fault_case {
	const char *steps;
	int code, step;
	const char *part;
} faults[] = {
	{ "91 01", ERR_FIELD_TYPE, 0, "step 0: a step must be a map" },
	{ "92" S1 "90", ERR_FIELD_TYPE, 1, "step 1: a step must be a map" },
	{ "92" S1 "c0", ERR_FIELD_TYPE, 1, "must be a map" },
	{ "91 80", ERR_FIELD_MISSING, 0, "no step is before this one" },
	{ "91 82 00 a178 01 07", ERR_FIELD_MISSING, 0, "not both" },
	{ "91 81 02 90", ERR_FIELD_MISSING, 0, "no step is before this one" },
	{ "91 81 01 08", ERR_STATEMENT_UNKNOWN, 0, "no prepared statement" },
	{ "91 81 00 05", ERR_FIELD_TYPE, 0, "field 0 (sql)" },
	{ "91 81 00 a1 ff", ERR_FIELD_TYPE, 0, "field 0 (sql)" },
	{ "91 82 00 a178 02 05", ERR_FIELD_TYPE, 0, "field 2 (params)" },
	{ "91 82 00 a178 05 80", ERR_FIELD_TYPE, 0, "field 5 (cond)" },
	{ "91 81 01 ff", ERR_FIELD_RANGE, 0, "field 1 (stmt)" },
	{ "91 82 00 a178 00 a179", ERR_FIELD_RANGE, 0, "given once" },
	{ "91 82 00 a178 40 05", ERR_FIELD_UNKNOWN, 0, "field 64" },
	{ "91 81 a178 05", ERR_FIELD_TYPE, 0, "a field key must be an integer" },
};
/* clang-format on */

START_TEST(steps_faults_are_named_with_their_step)
{
	const struct fault_case *c = &faults[_i];

	ck_assert_int_eq(read_steps(c->steps), -c->code);
	ck_assert_int_eq(r->failure.code, c->code);
	ck_assert_int_eq(r->failure.step, c->step);
	ck_assert_msg(
	    strstr(r->failure.text, c->part) != NULL, "%s", r->failure.text);
}
END_TEST

START_TEST(steps_ignore_fields_that_they_need_not_know)
{
	ck_assert_int_eq(read_steps("91 82 00 a178 3f 05"), 0);
	ck_assert(is_text(r->steps[0].sql, "x"));
}
END_TEST

/* As many as there may be, and one more. */
START_TEST(steps_are_bounded_in_number)
{
	uint32_t n = STEPS_MAX + (uint32_t)_i;
	struct msg_out m = { .b = &bytes };

	value_put_array(&bytes, n);
	for (uint32_t i = 0; i < n; i++) {
		msg_open_map(&m);
		msg_put_str(&m, ASK_sql, "x");
		msg_close_map(&m);
	}
	r->ask.steps = (struct span){ bytes.p, bytes.n };
	if (_i == 0) {
		ck_assert_int_eq(steps_read(r, look_up, &bytes), 0);
		ck_assert_uint_eq(r->steps_n, STEPS_MAX);
		return;
	}
	ck_assert_int_eq(steps_read(r, look_up, &bytes), -ERR_FIELD_RANGE);
	ck_assert_str_eq(r->failure.text,
	    "a BATCH may have 10000 steps, this one has 10001; send several");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("steps");
	TCase *tc = tcase_create("steps");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, steps_are_read_with_sql_parameters_and_conditions);
	tcase_add_test(
	    tc, steps_without_a_statement_run_that_of_the_step_before);
	tcase_add_test(tc, steps_may_be_none);
	tcase_add_loop_test(
	    tc, steps_conditions_name_earlier_steps, 0, (int)COUNT(conds));
	tcase_add_loop_test(
	    tc, steps_faults_are_named_with_their_step, 0, (int)COUNT(faults));
	tcase_add_test(tc, steps_ignore_fields_that_they_need_not_know);
	tcase_add_loop_test(tc, steps_are_bounded_in_number, 0, 2);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
