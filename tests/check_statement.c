/* check_statement.c - a person's SQL for the load generator. */
#include "client/bench/pool.h"

#include <check.h>
#include <stdlib.h>

/* clang-format off */
static const struct {
	const char *sql;
	bool key;
} rows[] = {
	{ "SELECT :key", true },
	{ ":key", true },
	{ "SELECT a FROM t WHERE id=:key AND b=1", true },
	{ "SELECT ':key', :key", true },
	{ "SELECT 'it''s :key'", false },
	{ "SELECT \":key\", [:key], `:key`", false },
	{ "SELECT 1 -- :key", false },
	{ "SELECT 1 -- x\n, :key", true },
	{ "SELECT 1 - :key", true },
	{ "SELECT 1 / :key", true },
	{ "SELECT /* :key */ 1", false },
	{ "SELECT /* x */ :key", true },
	{ "SELECT :keys, :key1, :ke", false },
	{ "SELECT :random", false },
	{ "SELECT ':key", false },
	{ "SELECT [:key", false },
	{ "SELECT /*:key", false },
	{ "", false },
};
/* clang-format on */

START_TEST(statement_parameter_is_found_outside_of_quotes)
{
	ck_assert_int_eq(
	    statement_has_parameter(rows[_i].sql, ":key"), rows[_i].key);
}
END_TEST

START_TEST(every_kind_has_one_statement_or_several)
{
	struct bench_plan plan = { .sql = "SELECT 1" };
	unsigned with = 0;

	for (int i = 0; i < BENCH_KINDS_N; i++)
		if (statement_get_sql(&plan, (enum bench_kind)i))
			with |= 1U << i;
	for (int i = 0; i < POOL_STEPS_N; i++) {
		enum pool_step step = (enum pool_step)i;

		ck_assert_ptr_nonnull(statement_get_step_sql(step));
		with |= 1U << statement_get_step_kind(step);
	}
	ck_assert_uint_eq(with | 1U << BENCH_PING, pool_driver.kinds);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("statement");
	TCase *tc = tcase_create("statement");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_loop_test(tc, statement_parameter_is_found_outside_of_quotes,
	    0, sizeof(rows) / sizeof(rows[0]));
	tcase_add_test(tc, every_kind_has_one_statement_or_several);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
