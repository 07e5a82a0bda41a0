/* check_mix.c - the kinds of operations, and what stands in a row. */
#include "client/bench/mix.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "client/bench/keys.h"

/* clang-format off */
static const struct {
	const char *text;
	unsigned read, write, ping;
	const char *why; /* NULL: it is right */
} rows[] = {
	{ "read", 1, 0, 0, NULL },
	{ "read,write", 1, 1, 0, NULL },
	{ "read=90,write=10", 90, 10, 0, NULL },
	{ "mixed", 90, 10, 0, NULL },
	{ "ping=3,read=0", 0, 0, 3, NULL },
	{ "write=10000", 0, 10000, 0, NULL },
	{ "", 0, 0, 0, "\"\" is none of read range write rmw tpcb large bulk sql ping mixed" },
	{ "reads", 0, 0, 0, "\"reads\" is none of " },
	{ "read,", 0, 0, 0, "\"\" is none of " },
	{ "mixed,read", 0, 0, 0, "\"mixed\" is none of " },
	{ "read=", 0, 0, 0, "\"read=\": a weight is a number from 0 to 10000" },
	{ "read=x", 0, 0, 0, "\"read=x\": a weight" },
	{ "read=-1", 0, 0, 0, "\"read=-1\": a weight" },
	{ "read=+1", 0, 0, 0, "\"read=+1\": a weight" },
	{ "read=10001", 0, 0, 0, "\"read=10001\": a weight" },
	{ "read=1x,write", 0, 0, 0, "\"read=1x\": a weight" },
	{ "read=0,write=0", 0, 0, 0, "all weights are 0" },
};
/* clang-format on */

START_TEST(mix_is_read)
{
	unsigned weight[BENCH_KINDS_N];
	char why[200] = "";
	int rc = mix_parse(rows[_i].text, weight, why, sizeof(why));

	if (rows[_i].why) {
		ck_assert_int_eq(rc, -1);
		ck_assert_msg(
		    strncmp(why, rows[_i].why, strlen(rows[_i].why)) == 0, "%s",
		    why);
		return;
	}
	ck_assert_int_eq(rc, 0);
	for (int i = 0; i < BENCH_KINDS_N; i++)
		ck_assert_uint_eq(weight[i],
		    i == BENCH_READ        ? rows[_i].read
			: i == BENCH_WRITE ? rows[_i].write
			: i == BENCH_PING  ? rows[_i].ping
					   : 0);
}
END_TEST

START_TEST(mix_chooses_each_as_often_as_its_weight)
{
	struct bench_plan plan = {
		.weight = { [BENCH_READ] = 90, [BENCH_WRITE] = 10 },
		.rows_n = 1,
	};
	unsigned counts[BENCH_KINDS_N] = { 0 };
	struct keys keys;

	keys_init(&keys, &plan, 0);
	for (int i = 0; i < 100000; i++)
		counts[mix_choose(&plan, keys_random(&keys))]++;
	ck_assert_uint_eq(counts[BENCH_READ] + counts[BENCH_WRITE], 100000);
	ck_assert(counts[BENCH_WRITE] > 9500 && counts[BENCH_WRITE] < 10500);
	ck_assert_int_eq(mix_choose(&plan, 0), BENCH_READ);
	ck_assert_int_eq(mix_choose(&plan, UINT64_MAX), BENCH_WRITE);
	ck_assert_uint_eq(
	    mix_get_kinds(&plan), 1U << BENCH_READ | 1U << BENCH_WRITE);
}
END_TEST

START_TEST(text_is_told_by_the_id_alone)
{
	static const uint32_t sizes[] = { 11, 12, 35, 36, 37, 62, 100, 1000 };
	struct bench_plan plan = { .text_n = sizes[_i] };
	char text[1001];

	for (uint64_t id = 1; id < 60; id++) {
		memset(text, '#', sizeof(text));
		bench_text(&plan, id, text);
		ck_assert_uint_eq(strlen(text), plan.text_n);
		ck_assert(bench_text_is(&plan, id, text, plan.text_n));
		ck_assert(!bench_text_is(&plan, id + 1, text, plan.text_n));
		ck_assert(!bench_text_is(&plan, id, text, plan.text_n - 1));
		for (uint32_t i = 0; i < plan.text_n; i++) {
			text[i] ^= 1;
			ck_assert(!bench_text_is(&plan, id, text, plan.text_n));
			text[i] ^= 1;
		}
	}
	ck_assert(!bench_text_is(&plan, 1, NULL, 0));
}
END_TEST

START_TEST(text_is_the_one_in_the_manual)
{
	struct bench_plan plan = { .text_n = 20 };
	char text[21];

	bench_text(&plan, 42, text);
	ck_assert_str_eq(text, "0000000042qrstuvwxyz");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("mix");
	TCase *tc = tcase_create("mix");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_loop_test(tc, mix_is_read, 0, sizeof(rows) / sizeof(rows[0]));
	tcase_add_test(tc, mix_chooses_each_as_often_as_its_weight);
	tcase_add_loop_test(tc, text_is_told_by_the_id_alone, 0, 8);
	tcase_add_test(tc, text_is_the_one_in_the_manual);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
