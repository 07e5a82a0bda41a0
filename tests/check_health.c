/* check_health.c - facts about a WAL, and what is made of them. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "daemon/clock.h"
#include "daemon/health.h"
#include "daemon/log.h"
#include "proto/error.h"
#include "tests/lib/fixture.h"

#define MB     INT64_C(1048576)
#define NOW_US INT64_C(1000000000)
#define AGO(s) (NOW_US - (int64_t)((s)*1e6))

/* clang-format off */
#define LARGE .wal_bytes = 100 * MB, .over_us = AGO(0.5)
#define PINNED LARGE, .pending_bytes = 90 * MB, .copied_bytes = 10 * MB
#define COPIED LARGE, .pending_bytes = 1 * MB, .copied_bytes = 99 * MB
#define HELD_BY(kind_, s, sql_) \
	.snapshots_n = 3, .oldest = { .kind = kind_, .since_us = AGO(s), \
	  .owner = { .pid = 77, .uid = 33, .app = "report" }, .sql = sql_ }
#define WROTE(mb, open_) \
	.tx = { .bytes = (mb) * MB, .open = open_, \
	  .owner = { .pid = 78, .uid = 33 }, .sql = "DELETE FROM t" }

/* Where several things are wrong, the one that has to be ended first is named. */
static const struct health_case {
	const char *name;
	struct health_facts facts;
	enum health_illness illness;
	enum health_cause cause;
	pid_t pid;
	const char *text;
} cases[] = {
	{ "small", { .wal_bytes = 3 * MB, .pending_bytes = 2 * MB },
	  HEALTH_WELL, HEALTH_NONE, 0,
	  "the WAL has 3.0 MB, 2.0 MB of them not copied yet: nothing is wrong" },
	{ "small, and somebody reads for long",
	  { .wal_bytes = 15 * MB, HELD_BY(SNAPSHOT_TX, 500, "SELECT 1") },
	  HEALTH_WELL, HEALTH_NONE, 0, "nothing is wrong" },
	{ "large for a moment", { .wal_bytes = 20 * MB, .pending_bytes = 1 * MB, .over_us = AGO(0.2) },
	  HEALTH_WELL, HEALTH_NONE, 0, "nothing is wrong" },

	{ "twice as large for a moment",
	  { .wal_bytes = 40 * MB, .pending_bytes = 1 * MB, .over_us = AGO(0.2) },
	  HEALTH_WELL, HEALTH_NONE, 0, "nothing is wrong" },
	{ "a long read transaction", { PINNED, HELD_BY(SNAPSHOT_TX, 65.2, "SELECT 1") },
	  HEALTH_PINNED, HEALTH_LONG_TX, 77,
	  "the WAL has 100.0 MB, 90.0 MB of them not copied yet, pinned: a read "
	  "transaction of pid 77 (report, uid 33) has been open for 65.2 s; its "
	  "last statement: SELECT 1" },
	{ "a read transaction from before the log was copied",
	  { COPIED, HELD_BY(SNAPSHOT_TX, 65.2, "") },
	  HEALTH_NEVER_RESET, HEALTH_LONG_TX, 77,
	  ", 1.0 MB of them not copied yet, copied but never begun anew: a read "
	  "transaction of pid 77" },
	{ "a slow consumer", { PINNED, HELD_BY(SNAPSHOT_STREAM, 2, "SELECT * FROM t") },
	  HEALTH_PINNED, HEALTH_SLOW_CONSUMER, 77,
	  "pid 77 (report, uid 33) has not fetched all of a result that it asked "
	  "for 2.0 s ago, with: SELECT * FROM t" },
	{ "a long read", { PINNED, HELD_BY(SNAPSHOT_READ, 0.6, "SELECT max(x) FROM t") },
	  HEALTH_PINNED, HEALTH_LONG_READ, 77,
	  "a statement of pid 77 (report, uid 33) has run for 0.6 s: SELECT max(x) "
	  "FROM t" },

	{ "a backup", { PINNED, HELD_BY(SNAPSHOT_BACKUP, 30, "BACKUP app TO '/b'") },
	  HEALTH_PINNED, HEALTH_BACKUP, 77,
	  "a backup that pid 77 (report, uid 33) asked for has run for 30.0 s: "
	  "BACKUP app TO '/b'" },
	{ "an outside reader", { PINNED, .outside_pid = 4242 },
	  HEALTH_PINNED, HEALTH_OUTSIDE_READER, 4242,
	  "process 4242, outside the daemon, is in a read transaction" },
	{ "an outside reader in the log", { COPIED, .outside_pid = 4242 },
	  HEALTH_NEVER_RESET, HEALTH_OUTSIDE_READER, 4242, "process 4242" },
	{ "an outside reader that cannot be seen", { PINNED, .outside_pid = -1 },
	  HEALTH_PINNED, HEALTH_OUTSIDE_READER, 0,
	  "a process outside the daemon is in a read transaction; find it with "
	  "fuser" },
	{ "an outside reader and a long one of ours",
	  { PINNED, .outside_pid = 4242, HELD_BY(SNAPSHOT_TX, 2, "SELECT 1") },
	  HEALTH_PINNED, HEALTH_LONG_TX, 77, "" },
	{ "an outside reader and short ones of ours",
	  { PINNED, .outside_pid = 4242, HELD_BY(SNAPSHOT_READ, 0.1, "SELECT 1") },
	  HEALTH_PINNED, HEALTH_OUTSIDE_READER, 4242, "" },

	{ "one huge transaction", { PINNED, WROTE(80, false) },
	  HEALTH_PINNED, HEALTH_HUGE_TX, 78,
	  "one transaction of pid 78 (no application name, uid 33) wrote 80.0 MB, "
	  "with: DELETE FROM t; write in smaller ones" },
	{ "one huge transaction, all copied", { COPIED, WROTE(80, false) },
	  HEALTH_NEVER_RESET, HEALTH_HUGE_TX, 78, "" },
	{ "one huge transaction that is open",
	  { .wal_bytes = 2 * MB, .pending_bytes = 2 * MB, WROTE(80, true) },
	  HEALTH_PINNED, HEALTH_HUGE_TX, 78,
	  "the WAL has 2.0 MB, 2.0 MB of them not copied yet, pinned: one "
	  "transaction of pid 78 (no application name, uid 33) is open and has "
	  "written 80.0 MB" },
	{ "a large transaction beside many others",
	  { PINNED, WROTE(20, false), .checkpoints = { .complete = true } },
	  HEALTH_PINNED, HEALTH_SLOW_DISK, 0, "" },

	{ "a slow disk", { PINNED, .written_s = 80 * MB, .copied_s = 9 * MB,
	  .checkpoints = { .complete = true } },
	  HEALTH_PINNED, HEALTH_SLOW_DISK, 0,
	  "more is written (80.0 MB in the last second) than the disk can copy "
	  "(9.0 MB)" },
	{ "reads without a gap", { COPIED, HELD_BY(SNAPSHOT_READ, 0.1, "SELECT 1") },
	  HEALTH_NEVER_RESET, HEALTH_OVERLAP, 0,
	  "reads overlap without a gap (3 long ones now)" },
	{ "reads without a gap, which also keep it from being copied", { PINNED },
	  HEALTH_PINNED, HEALTH_OVERLAP, 0, "" },
	{ "reads without a gap, a little over the limit for a while",
	  { .wal_bytes = 17 * MB, .pending_bytes = 1 * MB, .over_us = AGO(4) },
	  HEALTH_NEVER_RESET, HEALTH_OVERLAP, 0, "" },

	{ "checkpoints that fail",
	  { .wal_bytes = 1 * MB, .checkpoints = { .failing_us = AGO(3),
	    .error = "database or disk is full" },
	    HELD_BY(SNAPSHOT_TX, 500, "SELECT 1") },
	  HEALTH_NEVER_RESET, HEALTH_FAILING, 0,
	  "checkpoints have failed for 3.0 s: database or disk is full; look after "
	  "the disk" },
	{ "an alarm", { PINNED, .checkpoints = { .alarm = "is not written any more",
	    .failing_us = AGO(3) } },
	  HEALTH_PINNED, HEALTH_ALARM, 0, "it is not written any more" },

	{ "another owner", { PINNED, .external = true },
	  HEALTH_PINNED, HEALTH_EXTERNAL, 0,
	  "checkpoints are left to another program (checkpoint = external), which "
	  "does not keep up or does not run" },
	{ "another owner that is there",
	  { PINNED, .external = true, .outside_pid = 4242 },
	  HEALTH_PINNED, HEALTH_EXTERNAL, 4242, "; process 4242 reads the file" },
	{ "another owner, but one of ours is in its way",
	  { PINNED, .external = true, .outside_pid = 4242,
	    HELD_BY(SNAPSHOT_TX, 5, "SELECT 1") },
	  HEALTH_PINNED, HEALTH_LONG_TX, 77, "" },
};
/* clang-format on */

START_TEST(health_tells_causes_apart)
{
	const struct health_case *c = &cases[_i];
	struct health_facts f = c->facts;
	struct diagnosis d;

	f.now_us = NOW_US;
	f.limit_bytes = 16 * MB;
	health_judge(&f, &d);
	ck_assert_msg(d.cause == c->cause && d.illness == c->illness &&
		d.pid == c->pid && strstr(d.text, c->text),
	    "%s: %s %s pid %d: %s", c->name, health_get_illness(d.illness),
	    health_get_cause(d.cause), (int)d.pid, d.text);
}
END_TEST

START_TEST(health_has_a_name_for_every_cause)
{
	for (int i = 0; i < HEALTH_CAUSES_N; i++) {
		size_t n = 0;

		for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++)
			n += (int)cases[k].cause == i;
		ck_assert_ptr_nonnull(health_get_cause((enum health_cause)i));
		ck_assert_msg(n > 0, "no case for %s",
		    health_get_cause((enum health_cause)i));
	}
}
END_TEST

START_TEST(health_text_is_bounded)
{
	struct health_facts f = { PINNED, HELD_BY(SNAPSHOT_TX, 5, ""),
		.now_us = NOW_US, .limit_bytes = 16 * MB };
	struct diagnosis d;

	memset(f.oldest.sql, 'x', sizeof(f.oldest.sql) - 1);
	memset(f.oldest.owner.app, 'y', sizeof(f.oldest.owner.app) - 1);
	health_judge(&f, &d);
	ck_assert_ptr_nonnull(strstr(d.text, "xxxxx"));
	ck_assert_ptr_nonnull(strstr(d.text, "pid 77 (yyyy"));
	f.checkpoints.failing_us = AGO(1);
	memset(f.checkpoints.error, 'z', sizeof(f.checkpoints.error) - 1);
	health_judge(&f, &d);
	ck_assert_ptr_nonnull(strstr(d.text, "look after the disk"));
}
END_TEST

/* --- What is noted ----------------------------------------------------------- */

static void
note(struct health_log *log, int rc, int frames, int copied, const char *text)
{
	struct wal_copied c = { .frames = frames, .copied = copied };
	struct failure f;

	failure_init(&f);
	if (text)
		failure_set(&f, -rc, "%s", text);
	health_note_checkpoint(log, rc, &c, &f);
	failure_fini(&f);
}

START_TEST(health_log_counts_checkpoints_by_result)
{
	struct health_log log;

	health_log_init(&log);
	note(&log, 0, 10, 10, NULL);
	ck_assert(log.checkpoints.complete);
	note(&log, 0, 10, 9, NULL);
	ck_assert(!log.checkpoints.complete);
	ck_assert(!health_is_failing(&log));
	note(&log, -13, 0, 0, "database or disk is full");
	note(&log, -10, 0, 0, NULL);
	ck_assert(health_is_failing(&log));
	ck_assert_str_eq(log.checkpoints.error, "SQLITE_IOERR");
	ck_assert_uint_eq(log.checkpoints.complete_n, 1);
	ck_assert_uint_eq(log.checkpoints.partial_n, 1);
	ck_assert_uint_eq(log.checkpoints.failed_n, 2);
	note(&log, 0, 10, 10, NULL);
	ck_assert(!health_is_failing(&log));
	health_note_alarm(&log, "is down");
	ck_assert(health_is_failing(&log));
	health_log_fini(&log);
}
END_TEST

START_TEST(health_log_keeps_the_largest_transaction_since_a_reset)
{
	struct owner owner = { .pid = 5 };
	struct request r = { .owner = &owner,
		.sql = { (const uint8_t *)"INSERT", 6 } };
	struct health_log log;

	health_log_init(&log);
	health_note_commit(&log, 1000, &r);
	owner.pid = 6;
	health_note_commit(&log, 999, &r);
	ck_assert_int_eq(log.largest.bytes, 1000);
	ck_assert_int_eq(log.largest.owner.pid, 5);
	ck_assert_str_eq(log.largest.sql, "INSERT");
	health_note_reset(&log);
	ck_assert_int_eq(log.largest.bytes, 0);
	ck_assert_int_gt(log.checkpoints.reset_us, 0);
	health_log_fini(&log);
}
END_TEST

/* sqlite.org/wal.html, "the WAL-reset bug". */
START_TEST(health_knows_which_versions_of_sqlite_have_the_bug)
{
	static const struct {
		int version;
		bool has;
	} versions[] = {
		{ 3006023, false },
		{ 3007000, true },
		{ 3040001, true },
		{ 3044005, true },
		{ 3044006, false },
		{ 3044010, false },
		{ 3045000, true },
		{ 3050006, true },
		{ 3050007, false },
		{ 3051000, true },
		{ 3051002, true },
		{ 3051003, false },
		{ 3052000, false },
	};

	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
		ck_assert_msg(
		    wal_has_reset_bug(versions[i].version) == versions[i].has,
		    "%d", versions[i].version);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("health");
	TCase *tc = tcase_create("diagnosis");

	tcase_add_loop_test(tc, health_tells_causes_apart, 0,
	    (int)(sizeof(cases) / sizeof(cases[0])));
	tcase_add_test(tc, health_has_a_name_for_every_cause);
	tcase_add_test(tc, health_text_is_bounded);
	suite_add_tcase(s, tc);
	tc = tcase_create("log");
	tcase_add_test(tc, health_log_counts_checkpoints_by_result);
	tcase_add_test(
	    tc, health_log_keeps_the_largest_transaction_since_a_reset);
	tcase_add_test(tc, health_knows_which_versions_of_sqlite_have_the_bug);
	suite_add_tcase(s, tc);
	return fixture_run(s);
}
