/* check_escalation.c - reads whose cost changes from one parameter to the next:
 * each is answered once and rightly, whoever runs it, and the daemon remembers
 * for a while which ones are too much for a worker (P4, P9). */
#include <check.h>
#include <stdlib.h>

#include "proto/value.h"
#include "tests/lib/live.h"
#include "tests/lib/rawconn.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static struct live live;
static struct rawconn c;

/* Too long, too large: with a small parameter neither. */
static const struct {
	const char *sql;
	int64_t small, big;
} statements[] = {
	{ "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c "
	  "LIMIT ?1) SELECT count(*) FROM c",
	    10, 300000 },
	{ "SELECT length(b), b FROM (SELECT zeroblob(?1) AS b)", 10, 100000 },
	{ "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c "
	  "LIMIT ?1) SELECT ?1, 1 FROM c",
	    10, 30000 },
};

/* What is run, how often, and what that adds to the counters. */
/* clang-format off */
static const struct {
	bool big;
	int times, inlined, escalated, heavy;
} turns[] = {
	{ false, 5, 5, 0, 0 },
	{ true, 1, 0, 1, 1 },
	{ false, 60, 0, 0, 60 }, /* remembered */
	{ true, 4, 0, 0, 4 },
	{ false, 3, 3, 0, 0 }, /* forgiven */
	{ true, 1, 0, 1, 1 },
	{ false, 64, 0, 0, 64 },
	{ true, 1, 0, 1, 1 }, /* the other chance was not used well */
	{ false, 1, 0, 0, 1 },
};
/* clang-format on */

static void
run_one(const char *sql, int64_t n)
{
	uint64_t id = ++c.last_id;
	struct value v = { .count = 0 };
	int64_t rows = 0, first = 0;
	struct rawreply r;
	struct msg_out m;

	msg_begin_body(&m, &c.out, TYPE_EXEC, id, 0);
	msg_put_str(&m, ASK_sql, sql);
	msg_key(&m, ASK_params);
	value_put_array(m.b, 1);
	value_put_int(m.b, n);
	ck_assert_int_eq(msg_end(&m, 65536), 0);
	raw_flush(&c);
	do {
		struct span cur;

		ck_assert(raw_take(&c, &r));
		ck_assert_uint_eq(r.head.id, id);
		ck_assert_uint_eq(r.tell.code, 0);
		cur = r.tell.rows;
		value_read(&cur, &v);
		rows += v.count;
		if (v.count == 0 || first)
			continue;
		value_read(&cur, &v);
		value_read(&cur, &v);
		first = v.i;
	} while (r.head.type != TYPE_DONE);
	ck_assert_int_eq(first, n);
	ck_assert(rows == 1 || rows == n);
}

/* All columns come once, with the first frame: so a frame of what was stopped
 * would show as another one, or as rows that are there twice. */
START_TEST(a_read_is_answered_once_whatever_it_costs)
{
	static const char *const names[] = { "reads_inline", "reads_escalated",
		"reads_heavy" };
	int64_t was[3], is[3];

	live_init(&live);
	live_start(&live, LIVE_OPTIONS("workers=1"));
	raw_open(&c, live.socket_path);
	for (int k = 0; k < 3; k++)
		was[k] = live_get_stat(&live, names[k]);
	for (size_t i = 0; i < COUNT(turns); i++) {
		const int want[] = { turns[i].inlined, turns[i].escalated,
			turns[i].heavy };

		for (int n = 0; n < turns[i].times; n++)
			run_one(statements[_i].sql,
			    turns[i].big ? statements[_i].big
					 : statements[_i].small);
		for (int k = 0; k < 3; k++) {
			is[k] = live_get_stat(&live, names[k]);
			ck_assert_msg(is[k] - was[k] == want[k],
			    "turn %zu: %s %lld, not %d", i, names[k],
			    (long long)(is[k] - was[k]), want[k]);
			was[k] = is[k];
		}
	}
	/* the one that nobody marked is not punished for it */
	run_one("SELECT ?1", 1);
	ck_assert_int_eq(live_get_stat(&live, names[0]) - was[0], 1);
	raw_close(&c);
	live_stop(&live);
	live_fini(&live);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("escalation");
	TCase *tc = tcase_create("escalation");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, a_read_is_answered_once_whatever_it_costs, 0,
	    (int)COUNT(statements));
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
