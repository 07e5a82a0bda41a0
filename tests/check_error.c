/* check_error.c - the error table. */
#include "proto/error.h"

#include <check.h>
#include <sqlite3.h>
#include <stddef.h>
#include <string.h>

/* Newer than Debian 12's sqlite3.h. */
#ifndef SQLITE_IOERR_IN_PAGE
#define SQLITE_IOERR_IN_PAGE (SQLITE_IOERR | (34 << 8))
#endif

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* The name becomes sqlite3.h's number: that is what is compared. */
static const struct {
	const char *name;
	int number;
	int theirs;
} sqlite_rows[] = {
#define SQL(name, number) { #name, (number), (name) },
#include "proto/errors.def"
#undef SQL
};

static const struct {
	const char *name;
	int number;
} own_rows[] = {
#define ERR(name, number, class, outcome, text) { #name, (number) },
#include "proto/errors.def"
#undef ERR
};

START_TEST(error_numbers_of_sqlite_are_those_of_its_header)
{
	ck_assert_msg(sqlite_rows[_i].number == sqlite_rows[_i].theirs,
	    "%s is %d", sqlite_rows[_i].name, sqlite_rows[_i].theirs);
	ck_assert_str_eq(
	    error_get_name(sqlite_rows[_i].number), sqlite_rows[_i].name);
	ck_assert_ptr_null(error_get_text(sqlite_rows[_i].number));
}
END_TEST

START_TEST(error_codes_of_ours_are_unique_and_above_those_of_sqlite)
{
	int code = own_rows[_i].number;

	ck_assert_int_gt(code, 0xffff);
	for (size_t i = 0; i < COUNT(own_rows); i++)
		ck_assert(i == (size_t)_i || own_rows[i].number != code);
	ck_assert_str_eq(error_get_name(code), own_rows[_i].name);
	ck_assert_ptr_nonnull(error_get_text(code));
	ck_assert_str_ne(
	    error_get_class_name(error_get_class(code)), "unknown");
}
END_TEST

/* Numbers on the wire: frozen. */
START_TEST(error_numbers_are_frozen)
{
	ck_assert_int_eq(ERR_FRAME_MAGIC, 100001);
	ck_assert_int_eq(ERR_PARAM_TYPE, 100013);
	ck_assert_int_eq(ERR_NO_DATABASE, 100020);
	ck_assert_int_eq(ERR_RESULT_TOO_LARGE, 100035);
	ck_assert_int_eq(ERR_TX_READ_ONLY, 100043);
	ck_assert_int_eq(ERR_NO_MEMORY, 100058);
	ck_assert_int_eq(ERR_COMMIT_UNKNOWN, 100061);
	ck_assert_int_eq(ERR_CONVERSION, 100085);
	ck_assert_int_eq(CLASS_CLIENT, 9);
	ck_assert_int_eq(OUTCOME_UNKNOWN, 2);
}
END_TEST

/* clang-format off */
static const struct {
	int code;
	enum error_class class;
	enum error_outcome outcome;
	const char *name;
} classes[] = {
	{ SQLITE_ERROR, CLASS_SQL, OUTCOME_NOT_APPLIED, "SQLITE_ERROR" },
	{ SQLITE_CONSTRAINT_UNIQUE, CLASS_CONSTRAINT, OUTCOME_NOT_APPLIED, "SQLITE_CONSTRAINT_UNIQUE" },
	{ SQLITE_CONSTRAINT | (99 << 8), CLASS_CONSTRAINT, OUTCOME_NOT_APPLIED, "SQLITE_CONSTRAINT" },
	{ SQLITE_MISMATCH, CLASS_CONSTRAINT, OUTCOME_NOT_APPLIED, "SQLITE_MISMATCH" },
	{ SQLITE_BUSY_SNAPSHOT, CLASS_BUSY, OUTCOME_NOT_APPLIED, "SQLITE_BUSY_SNAPSHOT" },
	{ SQLITE_LOCKED, CLASS_BUSY, OUTCOME_NOT_APPLIED, "SQLITE_LOCKED" },
	{ SQLITE_NOMEM, CLASS_LIMIT, OUTCOME_NOT_APPLIED, "SQLITE_NOMEM" },
	{ SQLITE_TOOBIG, CLASS_LIMIT, OUTCOME_NOT_APPLIED, "SQLITE_TOOBIG" },
	{ SQLITE_AUTH, CLASS_ACCESS, OUTCOME_NOT_APPLIED, "SQLITE_AUTH" },
	{ SQLITE_INTERRUPT, CLASS_CANCEL, OUTCOME_NOT_APPLIED, "SQLITE_INTERRUPT" },
	{ SQLITE_FULL, CLASS_SERVER, OUTCOME_NOT_APPLIED, "SQLITE_FULL" },
	{ SQLITE_IOERR_FSYNC, CLASS_SERVER, OUTCOME_NOT_APPLIED, "SQLITE_IOERR_FSYNC" },
	{ SQLITE_CORRUPT_INDEX, CLASS_SERVER, OUTCOME_NOT_APPLIED, "SQLITE_CORRUPT_INDEX" },
	{ SQLITE_NOTADB, CLASS_SERVER, OUTCOME_NOT_APPLIED, "SQLITE_NOTADB" },
	{ ERR_QUEUE_FULL, CLASS_BUSY, OUTCOME_NOT_APPLIED, "QUEUE_FULL" },
	{ ERR_COMMIT_UNKNOWN, CLASS_SERVER, OUTCOME_UNKNOWN, "COMMIT_UNKNOWN" },
	{ ERR_CONNECTION_LOST, CLASS_CLIENT, OUTCOME_UNKNOWN, "CONNECTION_LOST" },
	/* codes nobody knows */
	{ 200000, CLASS_SQL, OUTCOME_NOT_APPLIED, "UNKNOWN" },
	{ 99, CLASS_SQL, OUTCOME_NOT_APPLIED, "UNKNOWN" },
	{ -1, CLASS_SQL, OUTCOME_NOT_APPLIED, "UNKNOWN" },
};
/* clang-format on */

START_TEST(error_has_a_class_an_outcome_and_a_name)
{
	int code = classes[_i].code;

	ck_assert_int_eq(error_get_class(code), classes[_i].class);
	ck_assert_int_eq(error_get_outcome(code), classes[_i].outcome);
	ck_assert_str_eq(error_get_name(code), classes[_i].name);
}
END_TEST

START_TEST(error_index_leads_to_the_code_and_back)
{
	for (size_t i = 0; i < ERROR_INDEX_UNKNOWN; i++)
		ck_assert_uint_eq(error_get_index(error_get_code(i)), i);
	ck_assert_int_eq(
	    error_get_code(ERROR_INDEX_QUEUE_FULL), ERR_QUEUE_FULL);
	ck_assert_uint_eq(
	    error_get_index(ERR_QUEUE_FULL), ERROR_INDEX_QUEUE_FULL);
	ck_assert_uint_eq(
	    error_get_index(787), ERROR_INDEX_SQLITE_CONSTRAINT_FOREIGNKEY);
	ck_assert_uint_eq(
	    error_get_index(787 + (50 << 8)), ERROR_INDEX_SQLITE_CONSTRAINT);
	ck_assert_uint_eq(error_get_index(200000), ERROR_INDEX_UNKNOWN);
	ck_assert_uint_eq(error_get_index(99), ERROR_INDEX_UNKNOWN);
	ck_assert_uint_eq(error_get_index(-1), ERROR_INDEX_UNKNOWN);
	ck_assert_int_eq(error_get_code(ERROR_INDEX_UNKNOWN), 0);
	ck_assert_int_eq(error_get_code(ERROR_INDEX_N), 0);
}
END_TEST

START_TEST(error_names_what_it_does_not_know_unknown)
{
	ck_assert_str_eq(error_get_class_name(CLASS_SQL), "sql");
	ck_assert_str_eq(error_get_class_name(CLASS_CLIENT), "client");
	ck_assert_str_eq(error_get_class_name(0), "unknown");
	ck_assert_str_eq(error_get_class_name(10), "unknown");
	ck_assert_str_eq(error_get_class_name(UINT64_MAX), "unknown");
	ck_assert_str_eq(error_get_outcome_name(0), "not_applied");
	ck_assert_str_eq(error_get_outcome_name(1), "applied");
	ck_assert_str_eq(error_get_outcome_name(2), "unknown");
	ck_assert_str_eq(error_get_outcome_name(3), "unknown");
	ck_assert_str_eq(error_get_outcome_name(UINT64_MAX), "unknown");
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *s = suite_create("error");
	TCase *tc = tcase_create("error");

	tcase_add_loop_test(tc, error_numbers_of_sqlite_are_those_of_its_header,
	    0, (int)COUNT(sqlite_rows));
	tcase_add_loop_test(tc,
	    error_codes_of_ours_are_unique_and_above_those_of_sqlite, 0,
	    (int)COUNT(own_rows));
	tcase_add_test(tc, error_numbers_are_frozen);
	tcase_add_loop_test(tc, error_has_a_class_an_outcome_and_a_name, 0,
	    (int)COUNT(classes));
	tcase_add_test(tc, error_index_leads_to_the_code_and_back);
	tcase_add_test(tc, error_names_what_it_does_not_know_unknown);
	suite_add_tcase(s, tc);
	return s;
}

int
main(void)
{
	SRunner *sr = srunner_create(make_suite());
	int failed;

	/* no case harms the next one, and a process for each takes longer */
	srunner_set_fork_status(sr, CK_NOFORK);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
