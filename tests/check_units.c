/* check_units.c - numbers with units, read and written. */
#include "conf/units.h"

#include <check.h>
#include <stdlib.h>

/* clang-format off */
static const struct {
	enum units_kind kind;
	const char *text;
	int64_t value; /* -1: refused */
	const char *printed;
} rows[] = {
	{ UNITS_NONE, "0", 0, "0" },
	{ UNITS_NONE, "10000", 10000, "10000" },
	{ UNITS_NONE, "off", -1, NULL },
	{ UNITS_NONE, "", -1, NULL },
	{ UNITS_NONE, " 1", -1, NULL },
	{ UNITS_NONE, "+1", -1, NULL },
	{ UNITS_NONE, "0x10", -1, NULL },
	{ UNITS_NONE, "9223372036854775807", INT64_MAX, "9223372036854775807" },
	{ UNITS_NONE, "9223372036854775808", -1, NULL },
	{ UNITS_OCTAL, "0660", 0660, "0660" },
	{ UNITS_OCTAL, "660", 0660, "0660" },
	{ UNITS_OCTAL, "0680", -1, NULL },
	{ UNITS_TIME, "off", 0, "off" },
	{ UNITS_TIME, "0", 0, "off" },
	{ UNITS_TIME, "0s", 0, "off" },
	{ UNITS_TIME, "500us", 500, "500us" },
	{ UNITS_TIME, "250ms", 250000, "250ms" },
	{ UNITS_TIME, "5000ms", 5000000, "5s" },
	{ UNITS_TIME, "1min", 60000000, "1min" },
	{ UNITS_TIME, "90s", 90000000, "90s" },
	{ UNITS_TIME, "24h", INT64_C(86400000000), "24h" },
	{ UNITS_TIME, "5", -1, NULL },
	{ UNITS_TIME, "5S", -1, NULL },
	{ UNITS_TIME, "5m", -1, NULL },
	{ UNITS_TIME, "1.5s", -1, NULL },
	{ UNITS_TIME, "5 s", -1, NULL },
	{ UNITS_TIME, "s", -1, NULL },
	{ UNITS_TIME, "9223372036854775807h", -1, NULL },
	{ UNITS_BYTES, "off", 0, "off" },
	{ UNITS_BYTES, "1B", 1, "1B" },
	{ UNITS_BYTES, "16KB", 16384, "16KB" },
	{ UNITS_BYTES, "1025B", 1025, "1025B" },
	{ UNITS_BYTES, "64MB", 67108864, "64MB" },
	{ UNITS_BYTES, "64mb", 67108864, "64MB" },
	{ UNITS_BYTES, "4GB", INT64_C(4294967296), "4GB" },
	{ UNITS_BYTES, "64M", -1, NULL },
	{ UNITS_BYTES, "1TB", -1, NULL },
};
/* clang-format on */

START_TEST(units_read_and_write_the_same_number)
{
	int64_t value = -7;
	int rc = units_parse(rows[_i].kind, rows[_i].text, &value);
	char buf[UNITS_TEXT_MAX];

	if (rows[_i].value < 0) {
		ck_assert_int_eq(rc, -1);
		ck_assert_int_eq(value, -7);
		return;
	}
	ck_assert_int_eq(rc, 0);
	ck_assert_int_eq(value, rows[_i].value);
	units_print(rows[_i].kind, value, buf);
	ck_assert_str_eq(buf, rows[_i].printed);
	ck_assert_int_eq(units_parse(rows[_i].kind, buf, &value), 0);
	ck_assert_int_eq(value, rows[_i].value);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("units");
	TCase *tc = tcase_create("units");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_loop_test(tc, units_read_and_write_the_same_number, 0,
	    (int)(sizeof(rows) / sizeof(rows[0])));
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
