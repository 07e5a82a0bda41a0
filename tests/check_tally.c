/* check_tally.c - what statements have cost: sums over connections, and bounds
 * whatever texts there are. */
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/tally.h"

static struct tallies *tallies;
static struct tally_top top;

static void
set_up(void)
{
	tallies = tallies_new();
	ck_assert_ptr_nonnull(tallies);
}

static void
look(void)
{
	memset(&top, 0, sizeof(top));
	tallies_take_top(tallies, "app", &top);
}

/* NULL: it is not among the top. */
static const struct tally_sum *
find(const char *sql)
{
	for (size_t i = 0; i < top.n; i++)
		if (top.rows[i].sql_n == strlen(sql) &&
		    memcmp(top.rows[i].sql, sql, top.rows[i].sql_n) == 0)
			return &top.rows[i].sum;
	return NULL;
}

static void
open_one(struct tally *t, const char *sql)
{
	memset(t, 0, sizeof(*t));
	tally_open(t, tallies, sql, strlen(sql));
}

static void
run_once(const char *sql, int64_t us)
{
	struct tally t;

	open_one(&t, sql);
	tally_note(&t, us, 1, 0);
	tally_close(&t);
}

static uint64_t
count_all(void)
{
	uint64_t n = tally_get_calls(&top.rest);

	for (size_t i = 0; i < top.n; i++)
		n += tally_get_calls(&top.rows[i].sum);
	return n;
}

START_TEST(tally_counts_runs_with_what_they_were)
{
	const struct tally_sum *sum;
	struct tally t;

	open_one(&t, "SELECT 1");
	tally_note(&t, 100, 3, 0);
	tally_note(&t, 20, 0, TALLY_FAILED);
	tally_note(&t, 7, 5, TALLY_AGAIN | TALLY_FAILED);
	tally_note(&t, -1, 0, 0); /* a clock that was read on another CPU */
	look();
	sum = find("SELECT 1");
	ck_assert_ptr_nonnull(sum);
	ck_assert_uint_eq(tally_get_calls(sum), 3);
	ck_assert_uint_eq(sum->counts[TALLY_US], 127);
	ck_assert_uint_eq(sum->counts[TALLY_ROWS], 3);
	ck_assert_uint_eq(sum->counts[TALLY_ERRORS], 1);
	ck_assert_str_eq(top.rows[0].database, "app");
	tally_close(&t);
	tally_close(&t); /* once is enough */
	look();
	ck_assert_uint_eq(count_all(), 3);
}
END_TEST

START_TEST(tally_sums_all_connections_also_closed_ones)
{
	struct tally t[3];

	for (int i = 0; i < 3; i++) {
		open_one(&t[i], "SELECT 1");
		tally_note(&t[i], 10, 1, 0);
	}
	tally_close(&t[1]);
	look();
	ck_assert_uint_eq(top.n, 1);
	ck_assert_uint_eq(top.rows[0].sum.counts[TALLY_US], 30);
	tally_close(&t[0]);
	tally_close(&t[2]);
	open_one(&t[0], "SELECT 1");
	tally_note(&t[0], 10, 1, 0);
	look();
	ck_assert_uint_eq(top.n, 1);
	ck_assert_uint_eq(tally_get_calls(&top.rows[0].sum), 4);
	tally_close(&t[0]);
}
END_TEST

START_TEST(tally_gives_those_that_took_the_most_time)
{
	char sql[32];

	for (int i = 1; i <= 150; i++) { /* in any order: 151 is prime */
		snprintf(sql, sizeof(sql), "SELECT %d", i * 7 % 151);
		run_once(sql, i * 7 % 151);
	}
	look();
	ck_assert_uint_eq(top.n, TALLY_TOP_N);
	for (int i = 51; i <= 150; i++) {
		snprintf(sql, sizeof(sql), "SELECT %d", i);
		ck_assert_msg(find(sql), "%s", sql);
	}
	ck_assert_uint_eq(count_all(), 150);
	ck_assert_uint_eq(top.rest.counts[TALLY_US], 50 * 51 / 2);
}
END_TEST

/* Texts of any length and number, as nobody would write them but an attacker or
 * a program that writes values into its SQL. */
START_TEST(tally_takes_no_more_room_however_many_texts_there_are)
{
	static char sql[20000];
	size_t most = 0, one = 0;

	memset(sql, 'x', sizeof(sql) - 1);
	for (int i = 0; i < 3000; i++) {
		snprintf(sql, 20, "SELECT %8d", i);
		sql[strlen(sql)] = ' ';
		run_once(sql, 10);
		one = one ? one : tally_get_bytes();
		if (tally_get_bytes() > most)
			most = tally_get_bytes();
	}
	ck_assert_uint_le(one, TALLY_SQL_BYTES + 1000);
	ck_assert_uint_eq(most, TALLY_TEXTS_MAX * one);
	look();
	ck_assert_uint_eq(count_all(), 3000);
}
END_TEST

START_TEST(tally_keeps_what_took_long_under_a_flood_of_others)
{
	char sql[64];

	run_once("SELECT the long one", 1000000);
	run_once("SELECT the other long one", 2000000);
	for (int i = 0; i < 20 * TALLY_TEXTS_MAX; i++) {
		snprintf(sql, sizeof(sql), "SELECT %d", i);
		run_once(sql, 10);
	}
	look();
	ck_assert_ptr_nonnull(find("SELECT the long one"));
	ck_assert_ptr_nonnull(find("SELECT the other long one"));
	ck_assert_uint_eq(count_all(), 2 + 20 * TALLY_TEXTS_MAX);
}
END_TEST

START_TEST(tally_counts_for_the_others_when_all_texts_are_in_use)
{
	static struct tally t[TALLY_TEXTS_MAX + 3];
	char sql[64];

	for (int i = 0; i < TALLY_TEXTS_MAX + 3; i++) {
		snprintf(sql, sizeof(sql), "SELECT %d", i);
		open_one(&t[i], sql);
		tally_note(&t[i], i < TALLY_TEXTS_MAX ? 1 : 1000000, 1, 0);
	}
	look();
	ck_assert_uint_eq(count_all(), TALLY_TEXTS_MAX + 3);
	ck_assert_uint_ge(top.rest.counts[TALLY_US], 3000000);
	for (int i = 0; i < TALLY_TEXTS_MAX + 3; i++)
		tally_close(&t[i]);
	look();
	ck_assert_uint_eq(count_all(), TALLY_TEXTS_MAX + 3);
	run_once("SELECT the next", 5);
	look();
	ck_assert_ptr_nonnull(find("SELECT the next"));
}
END_TEST

/* What is not kept of them counts as well; and none passes for another one. */
START_TEST(tally_tells_texts_apart_that_begin_alike)
{
	char a[TALLY_SQL_BYTES + 10], b[sizeof(a)];

	memset(a, 'x', sizeof(a));
	a[sizeof(a) - 1] = '\0';
	memcpy(b, a, sizeof(a));
	b[sizeof(b) - 2] = 'y';
	run_once(a, 1);
	run_once(b, 2);
	b[sizeof(b) - 2] = '\0';
	run_once(b, 3);
	look();
	ck_assert_uint_eq(top.n, 3);
	for (size_t i = 0; i < top.n; i++)
		ck_assert_uint_eq(top.rows[i].sql_n, TALLY_SQL_BYTES);
}
END_TEST

START_TEST(tally_quantile_is_a_bound_of_its_share)
{
	struct tally t;

	open_one(&t, "SELECT 1");
	look();
	ck_assert_uint_eq(tally_get_quantile(&top.rows[0].sum, 0.99), 0);
	for (int i = 0; i < 98; i++)
		tally_note(&t, 60, 0, 0);
	tally_note(&t, 3000, 0, 0);
	tally_note(&t, INT64_C(1) << 40, 0, 0);
	look();
	ck_assert_uint_eq(tally_get_quantile(&top.rows[0].sum, 0.5), 64);
	ck_assert_uint_eq(tally_get_quantile(&top.rows[0].sum, 0.99), 4096);
	/* above its last bound nothing is known */
	ck_assert_uint_eq(
	    tally_get_quantile(&top.rows[0].sum, 1), UINT64_C(1) << 25);
	tally_close(&t);
}
END_TEST

#define THREADS_N 4
#define ROUNDS_N  2000UL

static void *
count(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < ROUNDS_N; i++) {
		struct tally t;
		char sql[64];

		snprintf(sql, sizeof(sql), "SELECT %u", i % 50);
		open_one(&t, sql);
		tally_note(&t, 1, 1, 0);
		tally_note(&t, 1, 1, 0);
		tally_close(&t);
	}
	return NULL;
}

START_TEST(tally_of_threads_loses_nothing_while_somebody_looks)
{
	pthread_t threads[THREADS_N];
	uint64_t before = 0;

	for (int i = 0; i < THREADS_N; i++)
		ck_assert_int_eq(
		    pthread_create(&threads[i], NULL, count, NULL), 0);
	for (int i = 0; i < 100; i++) {
		look();
		ck_assert_uint_ge(count_all(), before);
		before = count_all();
	}
	for (int i = 0; i < THREADS_N; i++)
		pthread_join(threads[i], NULL);
	look();
	ck_assert_uint_eq(count_all(), THREADS_N * ROUNDS_N * 2);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("tally");
	TCase *tc = tcase_create("tally");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, set_up, NULL);
	tcase_add_test(tc, tally_counts_runs_with_what_they_were);
	tcase_add_test(tc, tally_sums_all_connections_also_closed_ones);
	tcase_add_test(tc, tally_gives_those_that_took_the_most_time);
	tcase_add_test(
	    tc, tally_takes_no_more_room_however_many_texts_there_are);
	tcase_add_test(tc, tally_keeps_what_took_long_under_a_flood_of_others);
	tcase_add_test(
	    tc, tally_counts_for_the_others_when_all_texts_are_in_use);
	tcase_add_test(tc, tally_tells_texts_apart_that_begin_alike);
	tcase_add_test(tc, tally_quantile_is_a_bound_of_its_share);
	tcase_add_test(tc, tally_of_threads_loses_nothing_while_somebody_looks);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
