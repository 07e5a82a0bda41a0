/* check_options.c - the load generator's arguments. */
#include "client/bench/options.h"

#include <check.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARGS_MAX 32

static const struct bench_driver driver = {
	.name = "fake",
	.kinds = 1U << BENCH_READ | 1U << BENCH_WRITE | 1U << BENCH_SQL |
	    1U << BENCH_PING | 1U << BENCH_RANGE | 1U << BENCH_LARGE,
	.async_kinds = 1U << BENCH_READ | 1U << BENCH_WRITE | 1U << BENCH_SQL |
	    1U << BENCH_RANGE | 1U << BENCH_LARGE,
};

/* Read arguments that are separated by single blanks. */
static int
read_text(struct options *options, const char *text)
{
	static char copy[500], program[] = "bench";
	char *args[ARGS_MAX] = { program }, *at = copy;
	int n = 1, status;

	snprintf(copy, sizeof(copy), "%s", text);
	while (*at) {
		args[n++] = strsep(&at, " ");
		if (!at)
			break;
	}
	optind = 0; /* getopt begins anew */
	status = options_read(options, n, args, &driver);
	return status < 0 ? options_finish(options, &driver) : status;
}

/* Standard error of a refusal; the caller frees it. */
static char *
read_refused(const char *text, int wanted)
{
	struct options options;
	FILE *f = tmpfile();
	int kept = dup(STDERR_FILENO);
	char *said = calloc(1, 1000);

	ck_assert_ptr_nonnull(f);
	ck_assert_ptr_nonnull(said);
	dup2(fileno(f), STDERR_FILENO);
	ck_assert_int_eq(read_text(&options, text), wanted);
	fflush(stderr);
	dup2(kept, STDERR_FILENO);
	close(kept);
	rewind(f);
	(void)!fread(said, 1, 999, f);
	fclose(f);
	return said;
}

START_TEST(options_have_defaults)
{
	struct options o;
	const struct bench_plan *p = &o.plan;

	ck_assert_int_eq(read_text(&o, ""), -1);
	ck_assert_ptr_null(p->socket_path);
	ck_assert_ptr_null(p->database);
	ck_assert_uint_eq(p->clients_n, 8);
	ck_assert_uint_eq(p->processes_n, 8);
	ck_assert_uint_eq(p->threads_n, 1);
	ck_assert_uint_eq(p->depth, 1);
	ck_assert(p->rate == 0 && p->time_s == 10 && p->warmup_s == 1);
	ck_assert_uint_eq(p->count_n, 0);
	ck_assert_uint_eq(p->weight[BENCH_READ], 1);
	ck_assert_uint_eq(p->weight[BENCH_WRITE], 0);
	ck_assert_int_eq(p->keys, BENCH_UNIFORM);
	ck_assert_uint_eq(p->rows_n, 100000);
	ck_assert_uint_eq(p->text_n, 100);
	ck_assert_uint_eq(p->range_n, 100);
	ck_assert_uint_eq(p->large_n, 10000);
	ck_assert_uint_eq(p->bulk_n, 1000);
	ck_assert(!o.init && !o.json && !o.quiet && !o.per_client);
}
END_TEST

START_TEST(options_are_taken)
{
	struct options o;
	const struct bench_plan *p = &o.plan;

	ck_assert_int_eq(
	    read_text(&o,
		"-s /x/y -c 100 -j 10 -t 5 -d 16 -T 2.5 -R 1e4 -k zipf=0.9 "
		"--rows=500 --warmup 0 --seed 3 app"),
	    -1);
	ck_assert_str_eq(p->socket_path, "/x/y");
	ck_assert_str_eq(p->database, "app");
	ck_assert_uint_eq(p->clients_n, 100);
	ck_assert_uint_eq(p->processes_n, 10);
	ck_assert_uint_eq(p->threads_n, 5);
	ck_assert_uint_eq(p->depth, 16);
	ck_assert(p->time_s == 2.5 && p->rate == 1e4 && p->warmup_s == 0);
	ck_assert_int_eq(p->keys, BENCH_ZIPF);
	ck_assert(p->zipf_s == 0.9);
	ck_assert_uint_eq(p->rows_n, 500);
	ck_assert_uint_eq(p->large_n, 500);
	ck_assert_uint_eq(p->seed, 3);
}
END_TEST

START_TEST(options_of_a_counted_run_have_no_warm_up)
{
	struct options o;

	ck_assert_int_eq(
	    read_text(&o, "--json -q --per-client -n 7 -c 200 -o a=b -o a=c"),
	    -1);
	ck_assert(o.json && o.quiet && o.per_client);
	ck_assert_uint_eq(o.plan.count_n, 7);
	ck_assert(o.plan.warmup_s == 0 && o.plan.time_s == 0);
	ck_assert_uint_eq(o.plan.processes_n, 64);
	ck_assert_str_eq(bench_get_opt(&o.plan, "a", "d"), "c");
	ck_assert_str_eq(bench_get_opt(&o.plan, "b", "d"), "d");
}
END_TEST

START_TEST(options_take_sql_as_the_mix)
{
	struct options o;

	ck_assert_int_eq(read_text(&o, "--sql=SELECT -d 3"), -1);
	ck_assert_str_eq(o.plan.sql, "SELECT");
	ck_assert_uint_eq(o.plan.weight[BENCH_SQL], 1);
	ck_assert_uint_eq(o.plan.weight[BENCH_READ], 0);
}
END_TEST

/* clang-format off */
static const struct {
	const char *text, *said;
} refused[] = {
	{ "-c 0", "--clients takes a number from 1 to 100000, not \"0\"" },
	{ "-c x", "--clients takes a number" },
	{ "-c -1", "--clients takes a number" },
	{ "-c 1x", "--clients takes a number" },
	{ "--depth=10001", "--depth takes a number from 1 to 10000" },
	{ "-T 1e9", "--time takes a number up to 86400, not \"1e9\"" },
	{ "-T nan", "--time takes a number" },
	{ "-R inf", "--rate takes a number" },
	{ "-T", "--time needs an argument" },
	{ "--rows", "--rows needs an argument" },
	{ "--rows 10000000000", "--rows takes a number from 1 to 9999999999" },
	{ "--json=1", "--json takes no argument" },
	{ "-x", "unknown option -x" },
	{ "--xyz", "unknown option --xyz" },
	{ "a b", "more than one database: b" },
	{ "-T 1 -n 1", "-T and -n: give one of them" },
	{ "-k zip", "--keys is uniform, zipf, zipf=EXPONENT (up to 10), serial or own, not \"zip\"" },
	{ "-k zipf=0", "--keys is" },
	{ "-k own=1", "--keys is" },
	{ "-m reads", "--mix: \"reads\" is none of read" },
	{ "-m tpcb", "--mix: tpcb cannot be done with fake" },
	{ "-m sql", "--mix has sql: say which with --sql" },
	{ "-m read --sql=x", "--sql is given, but --mix does not have sql" },
	{ "-o x", "-o takes NAME=VALUE, not \"x\"" },
	{ "-o =x", "-o takes NAME=VALUE" },
	{ "-i", "there is no --init for fake" },
	{ "-c 2 -j 3", "2 clients are too few for 3 processes" },
	{ "-c 4 -j 2 -t 3", "4 clients are too few for 2 processes of 3 threads" },
	{ "-m ping -d 2", "ping of fake has one operation in flight: -d 1" },
	{ "-m ping -c 4 -j 2 -t 2", "ping of fake blocks: a client has a thread of its own" },
	{ "-m range --rows 50", "a range of 100 rows does not fit into 50" },
	{ "-m large --rows 50 --large-rows 51", "a result of 51 rows does not fit into 50" },
};
/* clang-format on */

START_TEST(options_that_are_wrong_are_refused)
{
	char *said = read_refused(refused[_i].text, 2);

	ck_assert_msg(
	    strstr(said, refused[_i].said), "%s: %s", refused[_i].text, said);
	ck_assert_ptr_nonnull(strstr(said, "Use --help for a list"));
	free(said);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("options");
	TCase *tc = tcase_create("options");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(tc, options_have_defaults);
	tcase_add_test(tc, options_are_taken);
	tcase_add_test(tc, options_of_a_counted_run_have_no_warm_up);
	tcase_add_test(tc, options_take_sql_as_the_mix);
	tcase_add_loop_test(tc, options_that_are_wrong_are_refused, 0,
	    sizeof(refused) / sizeof(refused[0]));
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
