/* check_value.c - single values, with msgpack-c as the judge. */
#include "proto/value.h"

#include <check.h>
#include <math.h>
#include <msgpack.h>
#include <stdlib.h>

#include "proto/walk.h"
#include "tests/lib/hex.h"
#include "tests/lib/judge.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* Check that the only value in b reads as v, and give it. */
static struct value
read_only(const struct buf *b)
{
	struct span cur = { b->p, b->n };
	struct value v = { 0 };
	size_t n = 0;

	ck_assert(!buf_failed(b));
	ck_assert_int_eq(walk_value(cur, &n), 0);
	ck_assert_uint_eq(n, b->n);
	ck_assert(judge_agrees(cur));
	value_read(&cur, &v);
	ck_assert_uint_eq(cur.n, 0);
	ck_assert_ptr_eq(cur.p, b->p + b->n);
	return v;
}

static void
check_head(const struct buf *b, const char *hex)
{
	struct buf want;

	buf_init(&want);
	ck_assert_int_eq(hex_parse(hex, &want), 0);
	ck_assert_uint_ge(b->n, want.n);
	ck_assert_msg(
	    memcmp(b->p, want.p, want.n) == 0, "does not begin with %s", hex);
	buf_fini(&want);
}

/* --- Numbers -------------------------------------------------------------- */

/* clang-format off */
static const struct {
	int64_t v;
	const char *hex;
} ints[] = {
	{ 0,                     "00" },
	{ 1,                     "01" },
	{ 127,                   "7f" },
	{ 128,                   "cc80" },
	{ 255,                   "ccff" },
	{ 256,                   "cd0100" },
	{ 65535,                 "cdffff" },
	{ 65536,                 "ce00010000" },
	{ 2147483647,            "ce7fffffff" },
	{ 2147483648,            "ce80000000" },
	{ 4294967295,            "ceffffffff" },
	{ 4294967296,            "cf0000000100000000" },
	{ INT64_MAX,             "cf7fffffffffffffff" },
	{ -1,                    "ff" },
	{ -32,                   "e0" },
	{ -33,                   "d0df" },
	{ -128,                  "d080" },
	{ -129,                  "d1ff7f" },
	{ -32768,                "d18000" },
	{ -32769,                "d2ffff7fff" },
	{ -2147483648,           "d280000000" },
	{ -2147483649,           "d3ffffffff7fffffff" },
	{ INT64_MIN,             "d38000000000000000" },
};
/* clang-format on */

START_TEST(value_writes_an_integer_in_its_shortest_format)
{
	struct buf b;
	struct value v;

	buf_init(&b);
	value_put_int(&b, ints[_i].v);
	ck_assert_uint_eq(b.n, strlen(ints[_i].hex) / 2);
	check_head(&b, ints[_i].hex);
	v = read_only(&b);
	ck_assert_int_eq(v.kind, VALUE_INT);
	ck_assert(v.i == ints[_i].v);
	if (ints[_i].v >= 0) {
		buf_reset(&b);
		value_put_uint(&b, (uint64_t)ints[_i].v);
		check_head(&b, ints[_i].hex);
	}
	buf_fini(&b);
}
END_TEST

/* clang-format off */
static const struct {
	const char *hex;
	enum value_kind kind;
	int64_t i;
} wide_ints[] = {
	{ "cc00",                 VALUE_INT, 0 },
	{ "cd0000",               VALUE_INT, 0 },
	{ "ce00000001",           VALUE_INT, 1 },
	{ "cf0000000000000002",   VALUE_INT, 2 },
	{ "d000",                 VALUE_INT, 0 },
	{ "d07f",                 VALUE_INT, 127 },
	{ "d0ff",                 VALUE_INT, -1 },
	{ "d17fff",               VALUE_INT, 32767 },
	{ "d1ffff",               VALUE_INT, -1 },
	{ "d27fffffff",           VALUE_INT, 2147483647 },
	{ "d2ffffffff",           VALUE_INT, -1 },
	{ "d37fffffffffffffff",   VALUE_INT, INT64_MAX },
	{ "d3ffffffffffffffff",   VALUE_INT, -1 },
	{ "cf8000000000000000",   VALUE_BIG_UINT, INT64_MIN },
	{ "cfffffffffffffffff",   VALUE_BIG_UINT, -1 },
	{ "c2",                   VALUE_BOOL, 0 },
	{ "c3",                   VALUE_BOOL, 1 },
	{ "c0",                   VALUE_NULL, 0 },
};
/* clang-format on */

START_TEST(value_reads_integers_of_every_width)
{
	struct buf b;
	struct value v;

	buf_init(&b);
	ck_assert_int_eq(hex_parse(wide_ints[_i].hex, &b), 0);
	v = read_only(&b);
	ck_assert_int_eq(v.kind, wide_ints[_i].kind);
	if (v.kind != VALUE_NULL)
		ck_assert(v.i == wide_ints[_i].i);
	buf_fini(&b);
}
END_TEST

START_TEST(value_writes_nil_and_booleans)
{
	struct buf b;

	buf_init(&b);
	value_put_nil(&b);
	value_put_bool(&b, false);
	value_put_bool(&b, true);
	ck_assert_uint_eq(b.n, 3);
	check_head(&b, "c0c2c3");
	buf_fini(&b);
}
END_TEST

static const uint64_t reals[] = {
	0,                  /* 0.0 */
	0x8000000000000000, /* -0.0 */
	0x3ff0000000000000, /* 1.0: never an integer */
	0x3fb999999999999a, /* 0.1 */
	0x7fefffffffffffff, /* the largest */
	0x0000000000000001, /* the smallest */
	0x7ff0000000000000, /* infinity */
	0xfff0000000000000, /* -infinity */
	0x7ff8000000000000, /* NaN */
	0x7ff8000000000123, /* a NaN with something to say */
};

START_TEST(value_writes_reals_as_float64_bit_for_bit)
{
	struct buf b;
	struct value v;
	double f;

	buf_init(&b);
	memcpy(&f, &reals[_i], sizeof(f));
	value_put_real(&b, f);
	ck_assert_uint_eq(b.n, 9);
	ck_assert_uint_eq(b.p[0], 0xcb);
	v = read_only(&b);
	ck_assert_int_eq(v.kind, VALUE_REAL);
	ck_assert(judge_get_bits(v.f) == reals[_i]);
	buf_fini(&b);
}
END_TEST

/* clang-format off */
static const struct {
	const char *hex;
	double f;
} floats[] = {
	{ "ca00000000", 0.0 },
	{ "ca3fc00000", 1.5 },
	{ "cabf800000", -1.0 },
	{ "ca7f800000", INFINITY },
	{ "ca00000001", 0x1p-149 },
	{ "ca7f7fffff", 0x1.fffffep127 },
};
/* clang-format on */

START_TEST(value_reads_float32_as_a_real)
{
	struct buf b;
	struct value v;

	buf_init(&b);
	ck_assert_int_eq(hex_parse(floats[_i].hex, &b), 0);
	v = read_only(&b);
	ck_assert_int_eq(v.kind, VALUE_REAL);
	ck_assert(judge_get_bits(v.f) == judge_get_bits(floats[_i].f));
	buf_fini(&b);
}
END_TEST

/* --- Strings -------------------------------------------------------------- */

/* clang-format off */
static const struct {
	size_t n;
	const char *text, *ext, *blob; /* how each begins */
} lengths[] = {
	{ 0,        "a0",         NULL,           "c400" },
	{ 1,        "a1",         "d401",         "c401" },
	{ 2,        "a2",         "d501",         "c402" },
	{ 3,        "a3",         "c70301",       "c403" },
	{ 4,        "a4",         "d601",         "c404" },
	{ 8,        "a8",         "d701",         "c408" },
	{ 16,       "b0",         "d801",         "c410" },
	{ 17,       "b1",         "c71101",       "c411" },
	{ 31,       "bf",         "c71f01",       "c41f" },
	{ 32,       "d920",       "c72001",       "c420" },
	{ 255,      "d9ff",       "c7ff01",       "c4ff" },
	{ 256,      "da0100",     "c8010001",     "c50100" },
	{ 65535,    "daffff",     "c8ffff01",     "c5ffff" },
	{ 65536,    "db00010000", "c90001000001", "c600010000" },
	{ 8 << 20,  "db00800000", "c90080000001", "c600800000" },
};
/* clang-format on */

static void
check_string(const struct buf *b, const char *head, enum value_kind kind,
    struct span want)
{
	struct value v = read_only(b);

	check_head(b, head);
	ck_assert_uint_eq(b->n, strlen(head) / 2 + want.n);
	ck_assert_int_eq(v.kind, kind);
	ck_assert_uint_eq(v.s.n, want.n);
	if (want.n > 0)
		ck_assert_int_eq(memcmp(v.s.p, want.p, want.n), 0);
}

START_TEST(value_writes_strings_of_every_length)
{
	size_t n = lengths[_i].n;
	uint8_t *p = malloc(n + 1);
	struct span s = { p, n };
	struct buf b;

	ck_assert_ptr_nonnull(p);
	memset(p, 'a', n + 1);
	if (n > 1)
		p[n / 2] = '\0';
	buf_init(&b);
	value_put_text(&b, p, n);
	check_string(&b, lengths[_i].text, VALUE_TEXT, s);
	buf_reset(&b);
	value_put_str(&b, p, n);
	check_string(&b, lengths[_i].text, VALUE_TEXT, s);
	buf_reset(&b);
	value_put_blob(&b, p, n);
	check_string(&b, lengths[_i].blob, VALUE_BLOB, s);
	if (lengths[_i].ext) {
		p[n - 1] = 0xff;
		buf_reset(&b);
		value_put_text(&b, p, n);
		check_string(&b, lengths[_i].ext, VALUE_TEXT, s);
	}
	buf_fini(&b);
	free(p);
}
END_TEST

/* clang-format off */
static const struct {
	const char *hex;
	enum value_kind kind;
	bool ext;
} strings[] = {
	{ "a0",         VALUE_TEXT, false },
	{ "a161",       VALUE_TEXT, false },
	{ "d900",       VALUE_TEXT, false },
	{ "d90161",     VALUE_TEXT, false },
	{ "da000161",   VALUE_TEXT, false },
	{ "db0000000161", VALUE_TEXT, false },
	{ "c400",       VALUE_BLOB, false },
	{ "c5000100",   VALUE_BLOB, false },
	{ "c60000000100", VALUE_BLOB, false },
	{ "d40161",     VALUE_TEXT, true },
	{ "c70001",     VALUE_TEXT, true },
	{ "c7010161",   VALUE_TEXT, true },
	{ "c800010161", VALUE_TEXT, true },
	{ "c9000000010161", VALUE_TEXT, true },
	{ "d40061",     VALUE_EXT, true },
	{ "d40261",     VALUE_EXT, true },
	{ "d4ff61",     VALUE_EXT, true },
	{ "d6ff00000000", VALUE_EXT, true }, /* msgpack's timestamp */
	{ "c7010261",   VALUE_EXT, true },
};
/* clang-format on */

START_TEST(value_tells_text_blob_and_ext_apart)
{
	struct buf b;
	struct value v;

	buf_init(&b);
	ck_assert_int_eq(hex_parse(strings[_i].hex, &b), 0);
	v = read_only(&b);
	ck_assert_int_eq(v.kind, strings[_i].kind);
	if (v.kind == VALUE_TEXT)
		ck_assert_int_eq(v.ext, strings[_i].ext);
	buf_fini(&b);
}
END_TEST

/* --- UTF-8 ---------------------------------------------------------------- */

/* Decode by the rules of RFC 3629 as they are told, not as value.c has them:
 * the length by the lead, then is it the shortest form, and no surrogate? */
static bool
is_one_character(const uint8_t *p, size_t n)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len = p[0] < 0x80    ? 1
	    : (p[0] & 0xe0) == 0xc0 ? 2
	    : (p[0] & 0xf0) == 0xe0 ? 3
	    : (p[0] & 0xf8) == 0xf0 ? 4
				    : 0;
	uint32_t c = len > 1 ? p[0] & (0xffu >> (len + 1)) : p[0];

	if (len == 0 || len != n)
		return false;
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return false;
		c = c << 6 | (p[i] & 0x3f);
	}
	return c >= least[len] && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);
}

START_TEST(value_knows_utf8_sequences_of_two_and_three_bytes)
{
	uint8_t p[3] = { (uint8_t)_i };

	for (unsigned k = 0; k < 0x10000; k++) {
		bool one;

		p[1] = (uint8_t)(k >> 8);
		p[2] = (uint8_t)k;
		one = is_one_character(p, 3) ||
		    (is_one_character(p, 2) && is_one_character(p + 2, 1)) ||
		    (is_one_character(p, 1) && is_one_character(p + 1, 2)) ||
		    (is_one_character(p, 1) && is_one_character(p + 1, 1) &&
			is_one_character(p + 2, 1));
		if (value_is_utf8(p, 3) != one)
			ck_abort_msg("%02x %02x %02x", p[0], p[1], p[2]);
	}
}
END_TEST

START_TEST(value_knows_utf8_sequences_of_four_bytes)
{
	static const uint8_t tails[] = { 0x00, 0x7f, 0x80, 0x9a, 0xbf, 0xc0,
		0xff };

	for (unsigned lead = 0xe0; lead < 0x100; lead++) {
		for (unsigned k = 0; k < 256 * 7 * 7; k++) {
			uint8_t p[4] = { (uint8_t)lead, (uint8_t)(k & 0xff),
				tails[(k >> 8) % 7], tails[(k >> 8) / 7] };

			if (lead >= 0xf0 &&
			    value_is_utf8(p, 4) != is_one_character(p, 4))
				ck_abort_msg("%02x %02x %02x %02x", p[0], p[1],
				    p[2], p[3]);
		}
	}
}
END_TEST

/* Around the words of eight bytes that are looked at together. */
START_TEST(value_knows_utf8_at_every_place_in_a_text)
{
	static const struct {
		const char *bytes;
		bool good;
	} rows[] = { { "\xc3\xa9", true }, { "\xe2\x82\xac", true },
		{ "\xf0\x9f\x98\x80", true }, { "\x80", false },
		{ "\xc3", false }, { "\xe2\x82", false },
		{ "\xf0\x9f\x98", false }, { "\xed\xa0\x80", false },
		{ "\xc0\x80", false }, { "\xf4\x90\x80\x80", false },
		{ "\xff", false } };

	for (size_t i = 0; i < COUNT(rows); i++) {
		size_t k = strlen(rows[i].bytes);

		for (size_t n = k; n < 72; n++)
			for (size_t at = 0; at + k <= n; at++) {
				uint8_t *p = malloc(n);

				ck_assert_ptr_nonnull(p);
				memset(p, 'a', n);
				memcpy(p + at, rows[i].bytes, k);
				ck_assert_int_eq(
				    value_is_utf8(p, n), rows[i].good);
				free(p);
			}
	}
	ck_assert(value_is_utf8(NULL, 0));
	ck_assert(value_is_utf8((const uint8_t *)"a\0b", 3));
}
END_TEST

/* clang-format off */
static const struct {
	const char *in, *out;
} messages[] = {
	{ "", "" },
	{ "no such table: t", "no such table: t" },
	{ "caf\xc3\xa9", "caf\xc3\xa9" },
	{ "caf\xe9", "caf?" },
	{ "\xff\xfe" "a\x80", "??a?" },
	{ "\xe2\x82", "??" },
	{ "\xe2\x82\xac\xe2\x82", "\xe2\x82\xac??" },
	{ "\xed\xa0\x80", "???" },
};
/* clang-format on */

START_TEST(value_repairs_messages)
{
	struct buf b;
	struct value v;
	size_t n = strlen(messages[_i].in);

	buf_init(&b);
	value_put_message(&b, messages[_i].in, n);
	v = read_only(&b);
	ck_assert_int_eq(v.kind, VALUE_TEXT);
	ck_assert(!v.ext);
	ck_assert_uint_eq(v.s.n, n);
	if (n > 0)
		ck_assert_int_eq(memcmp(v.s.p, messages[_i].out, n), 0);
	buf_fini(&b);
}
END_TEST

/* --- Arrays and maps ------------------------------------------------------ */

/* clang-format off */
static const struct {
	uint32_t n;
	const char *array, *map;
} counts[] = {
	{ 0,          "90",         "80" },
	{ 15,         "9f",         "8f" },
	{ 16,         "dc0010",     "de0010" },
	{ 65535,      "dcffff",     "deffff" },
	{ 65536,      "dd00010000", "df00010000" },
	{ UINT32_MAX, "ddffffffff", "dfffffffff" },
};
/* clang-format on */

START_TEST(value_writes_heads_of_every_count)
{
	struct value v;
	struct span cur;
	struct buf b;

	buf_init(&b);
	value_put_array(&b, counts[_i].n);
	ck_assert_uint_eq(b.n, strlen(counts[_i].array) / 2);
	check_head(&b, counts[_i].array);
	cur = (struct span){ b.p, b.n };
	value_read(&cur, &v);
	ck_assert_int_eq(v.kind, VALUE_ARRAY);
	ck_assert_uint_eq(v.count, counts[_i].n);
	ck_assert_uint_eq(cur.n, 0);
	buf_reset(&b);
	value_put_map(&b, counts[_i].n);
	ck_assert_uint_eq(b.n, strlen(counts[_i].map) / 2);
	check_head(&b, counts[_i].map);
	cur = (struct span){ b.p, b.n };
	value_read(&cur, &v);
	ck_assert_int_eq(v.kind, VALUE_MAP);
	ck_assert_uint_eq(v.count, counts[_i].n);
	ck_assert_uint_eq(cur.n, 0);
	buf_fini(&b);
}
END_TEST

START_TEST(value_counts_an_open_array_when_it_closes)
{
	static const uint16_t sizes[] = { 0, 1, 255, 256, 65535 };

	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct value v;
		struct buf b;
		struct span cur;
		size_t at, n;

		buf_init(&b);
		value_put_nil(&b);
		at = b.n;
		value_put_open_array(&b);
		for (unsigned k = 0; k < sizes[i]; k++)
			value_put_int(&b, k);
		value_close_array(&b, at, sizes[i]);
		cur = (struct span){ b.p + at, b.n - at };
		ck_assert_int_eq(walk_value(cur, &n), 0);
		ck_assert_uint_eq(n, b.n - at);
		ck_assert(judge_agrees(cur));
		value_read(&cur, &v);
		ck_assert_int_eq(v.kind, VALUE_ARRAY);
		ck_assert_uint_eq(v.count, sizes[i]);
		buf_fini(&b);
	}
}
END_TEST

START_TEST(value_skip_steps_over_all_a_value_holds)
{
	struct judge_random r = { 77 + (uint64_t)_i };

	for (unsigned round = 0; round < 200; round++) {
		struct buf b;
		struct span cur;
		size_t n;

		buf_init(&b);
		judge_put_random(&r, &b, WALK_MAX_DEPTH);
		n = b.n;
		judge_put_random(&r, &b, WALK_MAX_DEPTH);
		cur = (struct span){ b.p, b.n };
		value_skip(&cur);
		ck_assert_ptr_eq(cur.p, b.p + n);
		ck_assert_uint_eq(cur.n, b.n - n);
		buf_fini(&b);
	}
}
END_TEST

/* --- Both ways ------------------------------------------------------------ */

static int
put_bytes(void *data, const char *p, size_t n)
{
	buf_put(data, p, n);
	return 0;
}

static void
put_copy(struct buf *b, const struct value *v)
{
	switch (v->kind) {
	case VALUE_NULL:
		value_put_nil(b);
		break;
	case VALUE_BOOL:
		value_put_bool(b, v->i != 0);
		break;
	case VALUE_INT:
		value_put_int(b, v->i);
		break;
	case VALUE_BIG_UINT:
		value_put_uint(b, (uint64_t)v->i);
		break;
	case VALUE_REAL:
		value_put_real(b, v->f);
		break;
	case VALUE_TEXT:
		value_put_text(b, v->s.p, v->s.n);
		break;
	case VALUE_BLOB:
		value_put_blob(b, v->s.p, v->s.n);
		break;
	case VALUE_ARRAY:
		value_put_array(b, v->count);
		break;
	case VALUE_MAP:
		value_put_map(b, v->count);
		break;
	case VALUE_EXT:
		break;
	}
}

/* Is there anything that comes out in another form than msgpack-c's packer
 * would choose: ext, float 32, a str that is not UTF-8? */
static bool
is_plain(const struct value *v, uint8_t format)
{
	if (v->kind == VALUE_TEXT)
		return !v->ext && value_is_utf8(v->s.p, v->s.n);
	return v->kind != VALUE_EXT && format != 0xca;
}

START_TEST(value_writes_what_msgpack_c_would)
{
	struct judge_random r = { 4242 + (uint64_t)_i };
	unsigned compared = 0;

	for (unsigned round = 0; round < 3000; round++) {
		struct buf in, ours, theirs;
		msgpack_packer pk;
		msgpack_unpacked result;
		struct span cur;
		bool plain = true;
		size_t at = 0;

		buf_init(&in);
		buf_init(&ours);
		buf_init(&theirs);
		judge_put_random(&r, &in, 3);
		cur = (struct span){ in.p, in.n };
		while (cur.n > 0) {
			uint8_t format = cur.p[0];
			struct value v;

			value_read(&cur, &v);
			plain = plain && is_plain(&v, format);
			put_copy(&ours, &v);
		}
		msgpack_unpacked_init(&result);
		ck_assert_int_eq(
		    msgpack_unpack_next(&result, (const char *)in.p, in.n, &at),
		    MSGPACK_UNPACK_SUCCESS);
		msgpack_packer_init(&pk, &theirs, put_bytes);
		msgpack_pack_object(&pk, result.data);
		if (plain) {
			ck_assert_uint_eq(ours.n, theirs.n);
			ck_assert_int_eq(memcmp(ours.p, theirs.p, ours.n), 0);
			compared++;
		}
		msgpack_unpacked_destroy(&result);
		buf_fini(&in);
		buf_fini(&ours);
		buf_fini(&theirs);
	}
	ck_assert_uint_gt(compared, 1000);
}
END_TEST

START_TEST(value_writes_nothing_after_memory_ran_out)
{
	struct buf b;

	buf_init(&b);
	value_put_int(&b, 1);
	b.failed = true;
	value_put_nil(&b);
	value_put_bool(&b, true);
	value_put_int(&b, 1 << 20);
	value_put_uint(&b, UINT64_MAX);
	value_put_real(&b, 1.0);
	value_put_text(&b, "a", 1);
	value_put_text(&b, "\xff", 1);
	value_put_str(&b, "a", 1);
	value_put_message(&b, "a\xff", 2);
	value_put_blob(&b, "a", 1);
	value_put_array(&b, 3);
	value_put_map(&b, 3);
	value_put_open_array(&b);
	value_close_array(&b, 1, 3);
	ck_assert_uint_eq(b.n, 1);
	ck_assert_uint_eq(b.p[0], 1);
	buf_fini(&b);
}
END_TEST

static void
add_strings(Suite *s)
{
	TCase *tc = tcase_create("strings");

	tcase_add_loop_test(
	    tc, value_writes_strings_of_every_length, 0, (int)COUNT(lengths));
	tcase_add_loop_test(
	    tc, value_tells_text_blob_and_ext_apart, 0, (int)COUNT(strings));
	tcase_add_loop_test(
	    tc, value_knows_utf8_sequences_of_two_and_three_bytes, 0, 256);
	tcase_add_test(tc, value_knows_utf8_sequences_of_four_bytes);
	tcase_add_test(tc, value_knows_utf8_at_every_place_in_a_text);
	tcase_add_loop_test(
	    tc, value_repairs_messages, 0, (int)COUNT(messages));
	suite_add_tcase(s, tc);
}

static Suite *
make_suite(void)
{
	Suite *s = suite_create("value");
	TCase *numbers = tcase_create("numbers");
	TCase *nested = tcase_create("nested");
	TCase *both = tcase_create("both ways");

	tcase_add_loop_test(numbers,
	    value_writes_an_integer_in_its_shortest_format, 0,
	    (int)COUNT(ints));
	tcase_add_loop_test(numbers, value_reads_integers_of_every_width, 0,
	    (int)COUNT(wide_ints));
	tcase_add_test(numbers, value_writes_nil_and_booleans);
	tcase_add_loop_test(numbers, value_writes_reals_as_float64_bit_for_bit,
	    0, (int)COUNT(reals));
	tcase_add_loop_test(
	    numbers, value_reads_float32_as_a_real, 0, (int)COUNT(floats));
	tcase_add_loop_test(
	    nested, value_writes_heads_of_every_count, 0, (int)COUNT(counts));
	tcase_add_test(nested, value_counts_an_open_array_when_it_closes);
	tcase_add_loop_test(
	    nested, value_skip_steps_over_all_a_value_holds, 0, 4);
	tcase_add_loop_test(both, value_writes_what_msgpack_c_would, 0, 4);
	tcase_add_test(both, value_writes_nothing_after_memory_ran_out);
	suite_add_tcase(s, numbers);
	add_strings(s);
	suite_add_tcase(s, nested);
	suite_add_tcase(s, both);
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
