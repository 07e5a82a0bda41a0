/* check_walk.c - the walk over untrusted bytes, with msgpack-c as the judge. */
#include "proto/walk.h"

#include <check.h>
#include <stdlib.h>

#include "proto/error.h"
#include "proto/value.h"
#include "tests/lib/hex.h"
#include "tests/lib/judge.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define UNTOUCHED   777

static int
walk_hex(const char *hex, size_t *ret_bytes)
{
	struct buf b;
	int rc;

	buf_init(&b);
	ck_assert_int_eq(hex_parse(hex, &b), 0);
	rc = walk_value((struct span){ b.p, b.n }, ret_bytes);
	buf_fini(&b);
	return rc;
}

/* --- One value ------------------------------------------------------------ */

/* Enough for what any format with one or two bytes of length asks for when
 * they are 0x01. */
#define TAIL_BYTES 1024

/* In memory of its own size, so that a sanitizer sees a look beyond it. */
static void
check_cut(const uint8_t *p, size_t n)
{
	uint8_t *copy = malloc(n ? n : 1);
	size_t bytes = UNTOUCHED;

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, p, n);
	ck_assert_int_eq(
	    walk_value((struct span){ copy, n }, &bytes), -ERR_FRAME_MALFORMED);
	ck_assert_uint_eq(bytes, UNTOUCHED);
	free(copy);
}

/* A format byte and a tail of small integers is a whole value, unless its
 * length has four bytes. */
static void
check_format(uint8_t format, uint8_t tail)
{
	uint8_t p[1 + TAIL_BYTES];
	size_t theirs = UNTOUCHED, ours = UNTOUCHED;
	bool accepts;
	int rc;

	memset(p, tail, sizeof(p));
	p[0] = format;
	rc = walk_value((struct span){ p, sizeof(p) }, &ours);
	accepts = judge_accepts((struct span){ p, sizeof(p) }, &theirs);
	ck_assert_int_eq(rc, accepts ? 0 : -ERR_FRAME_MALFORMED);
	if (!accepts) {
		ck_assert_uint_eq(ours, UNTOUCHED);
		return;
	}
	ck_assert_uint_eq(ours, theirs);
	for (size_t n = 0; n < ours; n++)
		check_cut(p, n);
	ck_assert(judge_agrees((struct span){ p, ours }));
}

START_TEST(walk_measures_every_format_and_refuses_it_cut)
{
	check_format((uint8_t)_i, 0);
	/* msgpack-c would reserve memory for 2^24 elements */
	if (_i != 0xdd && _i != 0xdf)
		check_format((uint8_t)_i, 1);
}
END_TEST

START_TEST(walk_refuses_no_bytes_at_all)
{
	size_t n = UNTOUCHED;

	ck_assert_int_eq(
	    walk_value((struct span){ NULL, 0 }, &n), -ERR_FRAME_MALFORMED);
	ck_assert_uint_eq(n, UNTOUCHED);
}
END_TEST

START_TEST(walk_stops_behind_one_value)
{
	size_t n = 0;

	ck_assert_int_eq(walk_hex("0102", &n), 0);
	ck_assert_uint_eq(n, 1);
	ck_assert_int_eq(walk_hex("920102c1", &n), 0);
	ck_assert_uint_eq(n, 3);
}
END_TEST

/* clang-format off */
static const struct {
	const char *hex;
	int rc;
} bombs[] = {
	/* one element more than there are bytes; then as many as there are */
	{ "92c0",                 -ERR_FRAME_MALFORMED },
	{ "91c0",                  0 },
	{ "81c0",                 -ERR_FRAME_MALFORMED },
	{ "81c0c0",                0 },
	{ "dc0002c0",             -ERR_FRAME_MALFORMED },
	{ "dc0001c0",              0 },
	{ "de0001c0",             -ERR_FRAME_MALFORMED },
	{ "de0001c0c0",            0 },
	{ "dd00000002c0",         -ERR_FRAME_MALFORMED },
	{ "dd00000001c0",          0 },
	{ "df00000001c0",         -ERR_FRAME_MALFORMED },
	{ "df00000001c0c0",        0 },
	/* counts and lengths that would wrap in 32 bits */
	{ "ddffffffffc0",         -ERR_FRAME_MALFORMED },
	{ "df80000000c0",         -ERR_FRAME_MALFORMED },
	{ "dfffffffffc0",         -ERR_FRAME_MALFORMED },
	{ "dbffffffffc0",         -ERR_FRAME_MALFORMED },
	{ "dbfffffffbc0",         -ERR_FRAME_MALFORMED },
	{ "c6ffffffffc0",         -ERR_FRAME_MALFORMED },
	{ "c9ffffffff01c0",       -ERR_FRAME_MALFORMED },
	{ "c9fffffffa01c0",       -ERR_FRAME_MALFORMED },
	{ "c9ffffffff",           -ERR_FRAME_MALFORMED },
	/* lengths that are one over */
	{ "a261",                 -ERR_FRAME_MALFORMED },
	{ "d90261",               -ERR_FRAME_MALFORMED },
	{ "c40161",                0 },
	{ "c70001",                0 },
	{ "c700",                 -ERR_FRAME_MALFORMED },
	{ "c7010161",              0 },
	{ "c70101",               -ERR_FRAME_MALFORMED },
	/* a bomb inside, where fewer bytes are left than the outer one had */
	{ "93c0dc0004c0c0c0",     -ERR_FRAME_MALFORMED },
	{ "92dc0003c0c0c0c0",      0 },
	/* the reserved byte, at the top and inside */
	{ "c1",                   -ERR_FRAME_MALFORMED },
	{ "91c1",                 -ERR_FRAME_MALFORMED },
	{ "8101c1",               -ERR_FRAME_MALFORMED },
};
/* clang-format on */

START_TEST(walk_holds_counts_against_the_bytes_that_are_left)
{
	size_t n;

	ck_assert_int_eq(walk_hex(bombs[_i].hex, &n), bombs[_i].rc);
}
END_TEST

/* clang-format off */
static const struct {
	const char *hex;
	int rc;
} depths[] = {
	{ "9191919191919190",               0 }, /* 8 arrays */
	{ "919191919191919190",            -ERR_FRAME_TOO_DEEP },
	{ "91919191919191919100",          -ERR_FRAME_TOO_DEEP },
	{ "919191919191919100",             0 },
	{ "8100" "8100" "8100" "8100" "8100" "8100" "8100" "80", 0 },
	{ "8100" "8100" "8100" "8100" "8100" "8100" "8100" "8100" "80",
	  -ERR_FRAME_TOO_DEEP },
	{ "91dc0001" "dd00000001" "8100" "de000100" "df0000000100" "9190", 0 },
	{ "91dc0001" "dd00000001" "8100" "de000100" "df0000000100" "919190",
	  -ERR_FRAME_TOO_DEEP },
	/* levels that were closed do not count */
	{ "9a" "91919191919190" "91919191919190" "90909090" "919191919191919100"
	  "9090" "80", -ERR_FRAME_TOO_DEEP },
	{ "99" "91919191919190" "91919191919190" "90909090" "91919191919100"
	  "9080", 0 },
	/* a map's key may be an array */
	{ "81" "9191919191919000",          0 },
	/* after the innermost level the outer ones go on */
	{ "929191919191919001",             0 },
};
/* clang-format on */

START_TEST(walk_counts_open_levels)
{
	size_t n;

	ck_assert_int_eq(walk_hex(depths[_i].hex, &n), depths[_i].rc);
}
END_TEST

START_TEST(walk_takes_no_stack_for_deep_nesting)
{
	size_t n = 1 << 20, bytes;
	uint8_t *p = malloc(n);

	ck_assert_ptr_nonnull(p);
	memset(p, 0x91, n);
	ck_assert_int_eq(
	    walk_value((struct span){ p, n }, &bytes), -ERR_FRAME_TOO_DEEP);
	free(p);
}
END_TEST

START_TEST(walk_agrees_with_msgpack_c_on_random_values)
{
	struct judge_random r = { (uint64_t)_i };

	for (unsigned round = 0; round < 200; round++) {
		struct buf b;
		size_t ours = 0, theirs = 0;

		buf_init(&b);
		judge_put_random(&r, &b, WALK_MAX_DEPTH);
		ck_assert_int_eq(
		    walk_value((struct span){ b.p, b.n }, &ours), 0);
		ck_assert(judge_accepts((struct span){ b.p, b.n }, &theirs));
		ck_assert_uint_eq(ours, b.n);
		ck_assert_uint_eq(theirs, b.n);
		ck_assert(judge_agrees((struct span){ b.p, b.n }));
		for (size_t cut = 0; cut < b.n && cut < 2000; cut++)
			ck_assert_int_eq(
			    walk_value((struct span){ b.p, cut }, &ours),
			    -ERR_FRAME_MALFORMED);
		buf_fini(&b);
	}
}
END_TEST

/* Bytes for which msgpack-c would reserve much memory. */
static bool
is_expensive(const struct buf *b)
{
	return memchr(b->p, 0xdd, b->n) || memchr(b->p, 0xdf, b->n);
}

START_TEST(walk_agrees_with_msgpack_c_on_damaged_values)
{
	struct judge_random r = { 1000 + (uint64_t)_i };

	for (unsigned round = 0; round < 300; round++) {
		struct buf b;
		size_t ours = 0, theirs = 0;
		int rc;

		buf_init(&b);
		judge_put_random(&r, &b, 4);
		for (unsigned k = judge_random_below(&r, 4); k > 0; k--)
			b.p[judge_random_below(&r, (uint32_t)b.n)] =
			    (uint8_t)judge_random_below(&r, 256);
		rc = walk_value((struct span){ b.p, b.n }, &ours);
		if (rc == 0)
			ck_assert(judge_agrees((struct span){ b.p, b.n }));
		else if (rc == -ERR_FRAME_MALFORMED && !is_expensive(&b))
			ck_assert(
			    !judge_accepts((struct span){ b.p, b.n }, &theirs));
		buf_fini(&b);
	}
}
END_TEST

/* --- A frame's content ---------------------------------------------------- */

/* clang-format off */
static const struct {
	const char *hex;
	int rc;
	size_t head_n, body_n;
} frames[] = {
	{ "8080",                     0, 1, 1 },
	{ "8100018101c0",             0, 3, 3 },
	{ "de0000df00000000",         0, 3, 5 },
	{ "",                        -ERR_FRAME_MALFORMED, 0, 0 },
	{ "80",                      -ERR_FRAME_MALFORMED, 0, 0 },
	{ "808080",                  -ERR_FRAME_MALFORMED, 0, 0 },
	{ "8080c1",                  -ERR_FRAME_MALFORMED, 0, 0 },
	{ "9080",                    -ERR_FRAME_MALFORMED, 0, 0 },
	{ "8090",                    -ERR_FRAME_MALFORMED, 0, 0 },
	{ "80c0",                    -ERR_FRAME_MALFORMED, 0, 0 },
	{ "c080",                    -ERR_FRAME_MALFORMED, 0, 0 },
	{ "de00",                    -ERR_FRAME_MALFORMED, 0, 0 },
	{ "80df000000",              -ERR_FRAME_MALFORMED, 0, 0 },
	{ "81008081",                -ERR_FRAME_MALFORMED, 0, 0 },
	/* the maps are the first level */
	{ "80" "8100" "91919191919190",   0, 1, 9 },
	{ "80" "8100" "9191919191919190", -ERR_FRAME_TOO_DEEP, 0, 0 },
	{ "8100" "9191919191919190" "80", -ERR_FRAME_TOO_DEEP, 0, 0 },
};
/* clang-format on */

START_TEST(walk_splits_a_frame_into_two_maps)
{
	struct span head = { NULL, UNTOUCHED }, body = { NULL, UNTOUCHED };
	struct buf b;
	int rc;

	buf_init(&b);
	ck_assert_int_eq(hex_parse(frames[_i].hex, &b), 0);
	rc = walk_frame((struct span){ b.p, b.n }, &head, &body);
	ck_assert_int_eq(rc, frames[_i].rc);
	if (rc == 0) {
		ck_assert_ptr_eq(head.p, b.p);
		ck_assert_uint_eq(head.n, frames[_i].head_n);
		ck_assert_ptr_eq(body.p, b.p + head.n);
		ck_assert_uint_eq(body.n, frames[_i].body_n);
	} else {
		ck_assert_uint_eq(head.n, UNTOUCHED);
		ck_assert_uint_eq(body.n, UNTOUCHED);
	}
	buf_fini(&b);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *s = suite_create("walk");
	TCase *value = tcase_create("value");
	TCase *frame = tcase_create("frame");

	tcase_add_loop_test(
	    value, walk_measures_every_format_and_refuses_it_cut, 0, 256);
	tcase_add_test(value, walk_refuses_no_bytes_at_all);
	tcase_add_test(value, walk_stops_behind_one_value);
	tcase_add_loop_test(value,
	    walk_holds_counts_against_the_bytes_that_are_left, 0,
	    (int)COUNT(bombs));
	tcase_add_loop_test(
	    value, walk_counts_open_levels, 0, (int)COUNT(depths));
	tcase_add_test(value, walk_takes_no_stack_for_deep_nesting);
	tcase_add_loop_test(
	    value, walk_agrees_with_msgpack_c_on_random_values, 0, 4);
	tcase_add_loop_test(
	    value, walk_agrees_with_msgpack_c_on_damaged_values, 0, 4);
	tcase_add_loop_test(
	    frame, walk_splits_a_frame_into_two_maps, 0, (int)COUNT(frames));
	suite_add_tcase(s, value);
	suite_add_tcase(s, frame);
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
