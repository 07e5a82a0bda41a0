/* check_sockpath.c - the default socket path. */
#include "proto/sockpath.h"

#include <check.h>
#include <string.h>

#include "proto/error.h"

#define DIR_20 "/aaaaaaaaaaaaaaaaaaa"
#define DIR_80 DIR_20 DIR_20 DIR_20 DIR_20

/* clang-format off */
static const struct {
	const char *runtime_dir;
	uid_t uid;
	const char *path; /* NULL: too long */
} rows[] = {
	{ "/run/user/1000", 1000, "/run/user/1000/sqlpoold.sock" },
	{ "/", 0, "//sqlpoold.sock" },
	{ NULL, 0, "/tmp/sqlpoold-0/sqlpoold.sock" },
	{ "", 1000, "/tmp/sqlpoold-1000/sqlpoold.sock" },
	{ "relative/dir", 1000, "/tmp/sqlpoold-1000/sqlpoold.sock" },
	{ NULL, 4294967294, "/tmp/sqlpoold-4294967294/sqlpoold.sock" },
	/* 93 bytes and 14 for the file make 107, and the NUL */
	{ DIR_80 "/aaaaaaaaaaaa", 0, DIR_80 "/aaaaaaaaaaaa/sqlpoold.sock" },
	{ DIR_80 "/aaaaaaaaaaaaa", 0, NULL },
	{ DIR_80 DIR_80, 0, NULL },
};
/* clang-format on */

START_TEST(sockpath_follows_the_runtime_directory)
{
	char path[SOCKPATH_MAX];
	int rc = sockpath_make_default(
	    rows[_i].runtime_dir, rows[_i].uid, path, sizeof(path));

	if (!rows[_i].path) {
		ck_assert_int_eq(rc, -ERR_FIELD_RANGE);
		return;
	}
	ck_assert_int_eq(rc, 0);
	ck_assert_str_eq(path, rows[_i].path);
}
END_TEST

START_TEST(sockpath_fits_exactly_or_is_refused)
{
	char path[sizeof("/r/sqlpoold.sock")];

	ck_assert_int_eq(sockpath_make_default("/r", 0, path, sizeof(path)), 0);
	ck_assert_str_eq(path, "/r/sqlpoold.sock");
	ck_assert_int_eq(sockpath_make_default("/r", 0, path, sizeof(path) - 1),
	    -ERR_FIELD_RANGE);
	ck_assert_int_eq(
	    sockpath_make_default("/r", 0, path, 0), -ERR_FIELD_RANGE);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *s = suite_create("sockpath");
	TCase *tc = tcase_create("sockpath");

	tcase_add_loop_test(tc, sockpath_follows_the_runtime_directory, 0,
	    (int)(sizeof(rows) / sizeof(rows[0])));
	tcase_add_test(tc, sockpath_fits_exactly_or_is_refused);
	suite_add_tcase(s, tc);
	return s;
}

int
main(void)
{
	SRunner *sr = srunner_create(make_suite());
	int failed;

	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
