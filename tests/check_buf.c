/* check_buf.c - the buffer that grows. */
#include "proto/buf.h"

#include <check.h>

START_TEST(buf_keeps_every_byte_while_it_grows)
{
	struct buf b;

	buf_init(&b);
	for (unsigned i = 0; i < 100000; i++) {
		uint8_t byte = (uint8_t)(i * 7);

		buf_put(&b, &byte, 1);
	}
	ck_assert_uint_eq(b.n, 100000);
	ck_assert_uint_ge(b.cap, b.n);
	for (unsigned i = 0; i < 100000; i++)
		ck_assert_uint_eq(b.p[i], (uint8_t)(i * 7));
	buf_fini(&b);
	ck_assert_ptr_null(b.p);
}
END_TEST

START_TEST(buf_reserve_gives_room_behind_the_bytes)
{
	struct buf b;
	uint8_t *p;

	buf_init(&b);
	p = buf_reserve(&b, 0);
	ck_assert_ptr_nonnull(p);
	ck_assert_uint_eq(b.n, 0);
	buf_put(&b, "abc", 3);
	p = buf_reserve(&b, 1 << 20);
	ck_assert_ptr_eq(p, b.p + 3);
	ck_assert_uint_ge(b.cap - b.n, 1 << 20);
	ck_assert_int_eq(memcmp(b.p, "abc", 3), 0);
	buf_fini(&b);
}
END_TEST

START_TEST(buf_put_of_nothing_changes_nothing)
{
	struct buf b;

	buf_init(&b);
	buf_put(&b, NULL, 0);
	ck_assert_uint_eq(b.n, 0);
	ck_assert(!buf_failed(&b));
	buf_fini(&b);
}
END_TEST

START_TEST(buf_failure_sticks_until_reset)
{
	struct buf b;

	buf_init(&b);
	buf_put(&b, "abc", 3);
	ck_assert_ptr_null(buf_reserve(&b, SIZE_MAX / 2));
	ck_assert(buf_failed(&b));
	buf_put(&b, "d", 1);
	ck_assert_ptr_null(buf_reserve(&b, 1));
	ck_assert_uint_eq(b.n, 3);
	buf_reset(&b);
	ck_assert(!buf_failed(&b));
	ck_assert_uint_eq(b.n, 0);
	buf_put(&b, "e", 1);
	ck_assert_uint_eq(b.n, 1);
	buf_fini(&b);
}
END_TEST

START_TEST(buf_refuses_sizes_that_would_wrap)
{
	static const size_t sizes[] = { SIZE_MAX, SIZE_MAX - 2,
		SIZE_MAX / 2 + 1, SIZE_MAX / 4 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct buf b;

		buf_init(&b);
		buf_put(&b, "abc", 3);
		ck_assert_ptr_null(buf_reserve(&b, sizes[i]));
		buf_fini(&b);
	}
}
END_TEST

START_TEST(buf_cut_drops_the_end)
{
	struct buf b;

	buf_init(&b);
	buf_put(&b, "abcdef", 6);
	buf_cut(&b, 2);
	buf_put(&b, "x", 1);
	ck_assert_uint_eq(b.n, 3);
	ck_assert_int_eq(memcmp(b.p, "abx", 3), 0);
	buf_fini(&b);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *s = suite_create("buf");
	TCase *tc = tcase_create("buf");

	tcase_add_test(tc, buf_keeps_every_byte_while_it_grows);
	tcase_add_test(tc, buf_reserve_gives_room_behind_the_bytes);
	tcase_add_test(tc, buf_put_of_nothing_changes_nothing);
	tcase_add_test(tc, buf_failure_sticks_until_reset);
	tcase_add_test(tc, buf_refuses_sizes_that_would_wrap);
	tcase_add_test(tc, buf_cut_drops_the_end);
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
