/* check_tx.c - transactions: savepoints, the words they end with, counting. */
#include <check.h>
#include <pthread.h>
#include <string.h>

#include "daemon/clock.h"
#include "proto/error.h"
#include "tests/lib/fixture.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct owner owner = { .pid = 7, .app = "app" };
static struct tx *tx;

static void
setup(void)
{
	tx = tx_new(TX_MODE_DEFERRED, &owner);
	ck_assert_ptr_nonnull(tx);
}

static void
teardown(void)
{
	tx_unref(tx);
}

/* The names of the open ones, the innermost first. */
static void
assert_savepoints(const char *want)
{
	char got[256] = "";

	for (const struct savepoint *s = tx->savepoints; s; s = s->next) {
		strncat(got, s->name, sizeof(got) - strlen(got) - 1);
		if (s->next)
			strncat(got, " ", sizeof(got) - strlen(got) - 1);
	}
	ck_assert_str_eq(got, want);
}

START_TEST(tx_begins_with_what_it_is_given)
{
	ck_assert_int_eq(tx->mode, TX_MODE_DEFERRED);
	ck_assert_int_eq(tx->owner.pid, 7);
	ck_assert_str_eq(tx->owner.app, "app");
	ck_assert_int_eq(tx->expired, 0);
	ck_assert_int_eq(tx->held_us, 0);
	ck_assert_int_le(tx->began_us, clock_now_us());
}
END_TEST

/* What each statement leaves of the savepoints a, B, c, b, b, the last one
 * innermost: sqlite.org/lang_savepoint.html. */
/* clang-format off */
static const struct savepoint_case {
	const char *rollback_to, *release;
	const char *want;
} savepoints[] = {
	{ .rollback_to = "b", .want = "b b c B a" },
	{ .rollback_to = "c", .want = "c B a" },
	{ .rollback_to = "A", .want = "a" },
	{ .rollback_to = "d", .want = "b b c B a" },
	{ .release = "b", .want = "b c B a" },
	{ .release = "C", .want = "B a" },
	{ .release = "a", .want = "" },
	{ .release = "d", .want = "b b c B a" },
	{ .release = "", .want = "b b c B a" },
};
/* clang-format on */

START_TEST(tx_keeps_its_savepoints_in_step)
{
	const struct savepoint_case *c = &savepoints[_i];
	static const char *const names[] = { "a", "B", "c", "b", "b" };

	for (size_t i = 0; i < COUNT(names); i++)
		ck_assert_int_eq(tx_push_savepoint(tx, names[i]), 0);
	if (c->rollback_to)
		tx_rollback_to_savepoint(tx, c->rollback_to);
	else
		tx_release_savepoint(tx, c->release);
	assert_savepoints(c->want);
}
END_TEST

START_TEST(tx_without_savepoints_has_none_to_release)
{
	tx_release_savepoint(tx, "a");
	tx_rollback_to_savepoint(tx, "a");
	assert_savepoints("");
}
END_TEST

START_TEST(tx_remembers_its_last_statement_cut_to_size)
{
	char sql[300];
	int64_t before = clock_now_us();

	memset(sql, 's', sizeof(sql));
	tx_touch(tx, (struct span){ (const uint8_t *)"SELECT 1", 8 });
	ck_assert_str_eq(tx->last_sql, "SELECT 1");
	ck_assert_int_ge(tx->last_us, before);
	/* a TX_END has no text */
	tx_touch(tx, (struct span){ NULL, 0 });
	ck_assert_str_eq(tx->last_sql, "SELECT 1");
	tx_touch(tx, (struct span){ (const uint8_t *)sql, sizeof(sql) });
	ck_assert_uint_eq(strlen(tx->last_sql), TX_SQL_BYTES - 1);
	tx_touch(tx, (struct span){ (const uint8_t *)"x", 1 });
	ck_assert_str_eq(tx->last_sql, "x");
}
END_TEST

START_TEST(tx_says_what_it_expired_of)
{
	char text[1000];

	tx_expire(tx, ERR_TX_EXPIRED, "idle for %d s", 5);
	ck_assert_int_eq(tx->expired, ERR_TX_EXPIRED);
	ck_assert_str_eq(tx->expired_text, "idle for 5 s");
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	tx_expire(tx, ERR_TX_EXPIRED, "%s", text);
	ck_assert_uint_eq(strlen(tx->expired_text), TX_TEXT_BYTES - 1);
}
END_TEST

/* Whoever lets go last frees it; the sanitizers tell whether that was right. */
static void *
hold_and_let_go(void *arg)
{
	struct vars *v = arg;

	for (int i = 0; i < 10000; i++) {
		tx_unref(tx_ref(tx));
		vars_unref(vars_ref(v));
	}
	tx_unref(tx);
	vars_unref(v);
	return NULL;
}

START_TEST(tx_and_vars_are_freed_by_the_last_of_many)
{
	pthread_t threads[4];
	struct vars *v = vars_new();

	ck_assert_ptr_nonnull(v);
	for (size_t i = 0; i < COUNT(threads); i++) {
		tx_ref(tx);
		vars_ref(v);
		ck_assert_int_eq(
		    pthread_create(&threads[i], NULL, hold_and_let_go, v), 0);
	}
	for (size_t i = 0; i < COUNT(threads); i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(tx->refs, 1);
	ck_assert_int_eq(v->refs, 1);
	vars_unref(v);
	/* NULL is fine */
	ck_assert_ptr_null(tx_ref(NULL));
	ck_assert_ptr_null(vars_ref(NULL));
	tx_unref(NULL);
	vars_unref(NULL);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("tx");
	TCase *tc = tcase_create("tx");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, tx_begins_with_what_it_is_given);
	tcase_add_loop_test(
	    tc, tx_keeps_its_savepoints_in_step, 0, (int)COUNT(savepoints));
	tcase_add_test(tc, tx_without_savepoints_has_none_to_release);
	tcase_add_test(tc, tx_remembers_its_last_statement_cut_to_size);
	tcase_add_test(tc, tx_says_what_it_expired_of);
	tcase_add_test(tc, tx_and_vars_are_freed_by_the_last_of_many);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
