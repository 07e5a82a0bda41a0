/* check_metrics.c - the page for Prometheus, and that sqlpool-metrics(7) says the
 * same.  (tests/proc/check_metrics.py reads the page as Prometheus does.) */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/metrics.h"
#include "daemon/stats.h"
#include "tests/lib/fixture.h"

static char *
read_all(FILE *f)
{
	char *text = NULL;
	size_t cap = 0;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(getdelim(&text, &cap, '\0', f), 0);
	fclose(f);
	return text;
}

static const char manual_path[] = "daemon/sqlpool-metrics.7";

START_TEST(metrics_manual_is_the_generated_one)
{
	char *want = NULL, *have, path[64];
	size_t n = 0;
	FILE *out = open_memstream(&want, &n);

	metrics_print_manual(out);
	fclose(out);
	have = read_all(fopen(manual_path, "re"));
	if (strcmp(have, want) != 0) {
		snprintf(path, sizeof(path), "/tmp/metrics-%d", (int)getpid());
		out = fopen(path, "we");
		ck_assert_ptr_nonnull(out);
		fputs(want, out);
		fclose(out);
		ck_abort_msg("stats.def changed: cp %s %s", path, manual_path);
	}
	free(want);
	free(have);
}
END_TEST

static char *
get_page(struct fixture *fx)
{
	struct buf b;
	char *text;

	buf_init(&b);
	metrics_put(&fx->dbs, &b);
	ck_assert(!buf_failed(&b));
	text = strndup((const char *)b.p, b.n);
	ck_assert_uint_eq(strlen(text), b.n);
	buf_fini(&b);
	return text;
}

/* Each metric of the manual is on the page, and each of the page in the manual. */
START_TEST(metrics_of_the_page_are_those_of_the_manual)
{
	static struct fixture fx;
	char *manual = read_all(fopen(manual_path, "re")), *page, *at, name[80];
	int in_manual = 0, on_page = 0;

	fixture_open(&fx, NULL, "CREATE TABLE t(v);");
	page = get_page(&fx);
	for (at = manual; (at = strstr(at, "\n.It Ic sqlpool_")); in_manual++) {
		char want[100];

		ck_assert_int_eq(sscanf(at, "\n.It Ic %79s", name), 1);
		snprintf(want, sizeof(want), "\n# TYPE %s ", name);
		ck_assert_msg(strstr(page, want), "%s is not there", name);
		at++;
	}
	for (at = page; (at = strstr(at, "\n# TYPE ")); on_page++)
		at++;
	ck_assert_int_eq(in_manual, on_page);
	ck_assert_int_gt(on_page, STAT_N + HIST_N);
	free(manual);
	free(page);
	fixture_close(&fx);
}
END_TEST

/* What is beyond the bound is counted together. */
START_TEST(metrics_of_very_many_databases_stay_bounded)
{
	static struct fixture fx;
	struct stats_set *set;
	char name[32], *page, *at;
	int n = 0;

	fixture_open(&fx, NULL, "CREATE TABLE t(v);");
	for (int i = 0; i < METRICS_DATABASES_MAX + 50; i++) {
		snprintf(name, sizeof(name), "tenant%d", i);
		set = stats_open(name, STATS_WRITER);
		ck_assert_ptr_nonnull(set);
		stats_count(set, DB_STAT_failed, 1);
		stats_close(set);
	}
	page = get_page(&fx);
	for (at = page; (at = strstr(at, "\nsqlpool_failed_total{")); n++)
		at++;
	ck_assert_int_eq(n, METRICS_DATABASES_MAX + 1);
	/* "app" has one of its own, so these are one more */
	ck_assert_ptr_nonnull(
	    strstr(page, "\nsqlpool_failed_total{database=\"(others)\"} 51\n"));
	free(page);
	fixture_close(&fx);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("metrics");
	TCase *tc = tcase_create("metrics");

	tcase_add_test(tc, metrics_manual_is_the_generated_one);
	tcase_add_test(tc, metrics_of_the_page_are_those_of_the_manual);
	tcase_add_test(tc, metrics_of_very_many_databases_stay_bounded);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
