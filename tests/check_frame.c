/* check_frame.c - where a frame ends. */
#include "proto/frame.h"

#include <check.h>
#include <stdlib.h>

#include "proto/error.h"
#include "tests/lib/hex.h"

#define UNTOUCHED 777

/* clang-format off */
static const struct {
	const char *hex;
	size_t max;
	int rc;
	size_t bytes; /* what *ret_bytes becomes */
} rows[] = {
	{ "",                     64, FRAME_PARTIAL, 0 },
	{ "ce",                   64, FRAME_PARTIAL, 0 },
	{ "ce00000000"/* empty */, 64, 0, 5 },
	{ "ce000000",             64, FRAME_PARTIAL, 0 },
	{ "ce00000002",           64, FRAME_PARTIAL, 7 },
	{ "ce0000000280",         64, FRAME_PARTIAL, 7 },
	{ "ce000000028080",       64, 0, 7 },
	{ "ce00000002808080",     64, 0, 7 },
	{ "ce000000028080ff",     64, 0, 7 },
	{ "ce000000028080",        2, 0, 7 },
	{ "ce000000028080",        1, -ERR_FRAME_TOO_LONG, UNTOUCHED },
	{ "ce00000040",           64, FRAME_PARTIAL, 69 },
	{ "ce00000041",           64, -ERR_FRAME_TOO_LONG, UNTOUCHED },
	{ "ce01020304", FRAME_HARD_MAX_BYTES, FRAME_PARTIAL, 0x01020304 + 5 },
	{ "ce04000000", FRAME_HARD_MAX_BYTES, FRAME_PARTIAL, 0x04000000 + 5 },
	{ "ce04000001", FRAME_HARD_MAX_BYTES, -ERR_FRAME_TOO_LONG, UNTOUCHED },
	{ "ce80000000", FRAME_HARD_MAX_BYTES, -ERR_FRAME_TOO_LONG, UNTOUCHED },
	{ "ceffffffff", FRAME_HARD_MAX_BYTES, -ERR_FRAME_TOO_LONG, UNTOUCHED },
	{ "cd",                   64, -ERR_FRAME_MAGIC, UNTOUCHED },
	{ "00",                   64, -ERR_FRAME_MAGIC, UNTOUCHED },
	{ "474554202f",           64, -ERR_FRAME_MAGIC, UNTOUCHED },
};
/* clang-format on */

START_TEST(frame_is_found_or_refused)
{
	struct buf b;
	size_t bytes = UNTOUCHED;

	buf_init(&b);
	ck_assert_int_eq(hex_parse(rows[_i].hex, &b), 0);
	ck_assert_int_eq(
	    frame_peek(b.p, b.n, rows[_i].max, &bytes), rows[_i].rc);
	ck_assert_uint_eq(bytes, rows[_i].bytes);
	buf_fini(&b);
}
END_TEST

START_TEST(frame_refuses_every_other_first_byte)
{
	uint8_t p[6] = { (uint8_t)_i };
	size_t bytes = UNTOUCHED;
	int rc = frame_peek(p, sizeof(p), FRAME_DEFAULT_MAX_BYTES, &bytes);

	ck_assert_int_eq(rc, _i == FRAME_MAGIC ? 0 : -ERR_FRAME_MAGIC);
}
END_TEST

START_TEST(frame_length_is_refused_before_the_content_is_there)
{
	static const uint8_t p[] = { 0xce, 0x00, 0x01, 0x00, 0x01 };
	size_t bytes;

	for (size_t n = 1; n < sizeof(p); n++)
		ck_assert_int_eq(
		    frame_peek(p, n, FRAME_LEAST_MAX_BYTES, &bytes),
		    FRAME_PARTIAL);
	ck_assert_int_eq(
	    frame_peek(p, sizeof(p), FRAME_LEAST_MAX_BYTES, &bytes),
	    -ERR_FRAME_TOO_LONG);
}
END_TEST

START_TEST(frame_prefix_is_read_as_it_was_written)
{
	static const uint32_t lengths[] = { 0, 1, 255, 256, 65535, 65536,
		0x01020304, FRAME_DEFAULT_MAX_BYTES, FRAME_HARD_MAX_BYTES };

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		uint8_t p[FRAME_PREFIX_BYTES];
		size_t bytes = 0;
		int rc;

		frame_put_prefix(p, lengths[i]);
		rc = frame_peek(p, sizeof(p), FRAME_HARD_MAX_BYTES, &bytes);
		ck_assert_int_eq(rc, lengths[i] ? FRAME_PARTIAL : 0);
		ck_assert_uint_eq(bytes, lengths[i] + FRAME_PREFIX_BYTES);
	}
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *s = suite_create("frame");
	TCase *tc = tcase_create("frame");

	tcase_add_loop_test(tc, frame_is_found_or_refused, 0,
	    (int)(sizeof(rows) / sizeof(rows[0])));
	tcase_add_loop_test(tc, frame_refuses_every_other_first_byte, 0, 256);
	tcase_add_test(tc, frame_length_is_refused_before_the_content_is_there);
	tcase_add_test(tc, frame_prefix_is_read_as_it_was_written);
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
