/* check_msg.c - messages: every field with every kind of value, keys, faults,
 * and frames being written. */
#include "proto/msg.h"

#include <check.h>
#include <stdlib.h>

#include "proto/error.h"
#include "proto/frame.h"
#include "proto/value.h"
#include "proto/walk.h"
#include "tests/lib/hex.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* --- Reading -------------------------------------------------------------- */

enum table { TABLE_HEAD, TABLE_ASK, TABLE_TELL };

union message {
	struct msg_head head;
	struct msg_ask ask;
	struct msg_tell tell;
};

static int
read_table(enum table table, struct span map, union message *ret,
    struct msg_fault *ret_fault)
{
	switch (table) {
	case TABLE_HEAD:
		return msg_read_head(map, &ret->head, ret_fault);
	case TABLE_ASK:
		return msg_read_ask(map, &ret->ask, ret_fault);
	case TABLE_TELL:
		break;
	}
	return msg_read_tell(map, &ret->tell, ret_fault);
}

struct row {
	enum table table;
	const char *name;
	unsigned key;
	const char *kind;
	size_t offset;
};

/* clang-format off */
static const struct row fields[] = {
#define HEAD(name, key, kind) \
	{ TABLE_HEAD, #name, (key), #kind, offsetof(struct msg_head, name) },
#define ASK(name, key, kind) \
	{ TABLE_ASK, #name, (key), #kind, offsetof(struct msg_ask, name) },
#define TELL(name, key, kind) \
	{ TABLE_TELL, #name, (key), #kind, offsetof(struct msg_tell, name) },
#include "proto/messages.def"
#undef HEAD
#undef ASK
#undef TELL
};

/* Values, the kinds of field they fit, and what the others say of them. */
static const struct {
	const char *hex;
	const char *fits;
	const char *out_of_range; /* the kinds that say -ERR_FIELD_RANGE */
} samples[] = {
	{ "c0",                   "",    "" },
	{ "c2",                   "B",   "" },
	{ "c3",                   "B",   "" },
	{ "00",                   "UI",  "" },
	{ "7f",                   "UI",  "" },
	{ "ccff",                 "UI",  "" },
	{ "d07f",                 "UI",  "" },
	{ "cf7fffffffffffffff",   "UI",  "" },
	{ "cf8000000000000000",   "",    "UI" },
	{ "cfffffffffffffffff",   "",    "UI" },
	{ "ff",                   "I",   "U" },
	{ "d38000000000000000",   "I",   "U" },
	{ "ca3f800000",           "",    "" },
	{ "cb3ff0000000000000",   "",    "" },
	{ "a0",                   "S",   "" },
	{ "a3c3a961",             "S",   "" },
	{ "d90161",               "S",   "" },
	{ "a100",                 "",    "S" },
	{ "a3610062",             "",    "S" },
	{ "a1ff",                 "",    "" },
	{ "a3eda080",             "",    "" },
	{ "a2ff00",               "",    "" },
	{ "c40161",               "",    "" },
	{ "d40161",               "",    "" },
	{ "d40061",               "",    "" },
	{ "90",                   "AV",  "" },
	{ "92019101",             "AV",  "" },
	{ "dc000101",             "AV",  "" },
	{ "dd0000000101",         "AV",  "" },
	{ "80",                   "MV",  "" },
	{ "8101a161",             "MV",  "" },
	{ "de00010102",           "MV",  "" },
	{ "df000000010102",       "MV",  "" },
};
/* clang-format on */

/* A map of one pair, with something after it in the same buffer. */
static void
put_pair(struct buf *b, unsigned key, const char *hex)
{
	value_put_map(b, 1);
	value_put_uint(b, key);
	ck_assert_int_eq(hex_parse(hex, b), 0);
}

static void
check_stored(const struct row *f, const union message *m, struct span raw)
{
	const char *at = (const char *)m + f->offset;
	struct span cur = raw, got;
	struct value v;

	value_read(&cur, &v);
	if (strchr("UI", *f->kind)) {
		int64_t i;

		memcpy(&i, at, sizeof(i));
		ck_assert(i == v.i);
		return;
	}
	if (*f->kind == 'B') {
		ck_assert_int_eq(*(const bool *)at, v.i);
		return;
	}
	memcpy(&got, at, sizeof(got));
	if (*f->kind == 'S')
		raw = v.s;
	ck_assert_ptr_eq(got.p, raw.p);
	ck_assert_uint_eq(got.n, raw.n);
}

static void
check_refused(
    const struct row *f, size_t i, int rc, const struct msg_fault *fault)
{
	int code = strchr(samples[i].out_of_range, *f->kind) ? ERR_FIELD_RANGE
							     : ERR_FIELD_TYPE;

	ck_assert_msg(rc == -code, "%s: %s", f->name, samples[i].hex);
	ck_assert_int_eq(fault->code, code);
	ck_assert_uint_eq(fault->key, f->key);
	ck_assert_str_eq(fault->name, f->name);
	ck_assert_ptr_nonnull(fault->want);
}

static void
check_sample(const struct row *f, size_t i)
{
	bool fits = strchr(samples[i].fits, *f->kind);
	struct msg_fault fault = { .code = -1 };
	union message m;
	struct buf b;
	int rc;

	buf_init(&b);
	put_pair(&b, f->key, samples[i].hex);
	rc = read_table(f->table, (struct span){ b.p, b.n }, &m, &fault);
	ck_assert_uint_eq(m.head.has, fits ? (uint64_t)1 << f->key : 0);
	if (fits) {
		ck_assert_msg(rc == 0, "%s: %s", f->name, samples[i].hex);
		ck_assert_int_eq(fault.code, -1);
		check_stored(f, &m, (struct span){ b.p + 2, b.n - 2 });
	} else {
		check_refused(f, i, rc, &fault);
	}
	buf_fini(&b);
}

START_TEST(msg_takes_a_field_with_its_kind_alone)
{
	for (size_t i = 0; i < COUNT(samples); i++)
		check_sample(&fields[_i], i);
}
END_TEST

START_TEST(msg_refuses_a_key_that_comes_twice)
{
	const struct row *f = &fields[_i];
	struct msg_fault fault;
	union message m;
	struct buf b;

	buf_init(&b);
	value_put_map(&b, 2);
	for (int twice = 0; twice < 2; twice++) {
		value_put_uint(&b, f->key);
		if (strchr("UI", *f->kind))
			value_put_int(&b, 1);
		else if (*f->kind == 'B')
			value_put_bool(&b, true);
		else if (*f->kind == 'S')
			value_put_str(&b, "a", 1);
		else if (*f->kind == 'M')
			value_put_map(&b, 0);
		else
			value_put_array(&b, 0);
	}
	ck_assert_int_eq(
	    read_table(f->table, (struct span){ b.p, b.n }, &m, &fault),
	    -ERR_FIELD_RANGE);
	ck_assert_uint_eq(fault.key, f->key);
	ck_assert_uint_eq(m.head.has, (uint64_t)1 << f->key);
	buf_fini(&b);
}
END_TEST

/* Every key that a byte can say, in each of the tables, with a value that fits
 * no kind of field. */
START_TEST(msg_ignores_low_keys_and_refuses_high_ones)
{
	for (enum table t = TABLE_HEAD; t <= TABLE_TELL; t++) {
		struct msg_fault fault = { 0 };
		union message m;
		struct buf b;
		bool known = false;
		int rc, want;

		for (size_t i = 0; i < COUNT(fields); i++)
			known = known ||
			    (fields[i].table == t &&
				fields[i].key == (unsigned)_i);
		buf_init(&b);
		put_pair(&b, (unsigned)_i, "c0");
		rc = read_table(t, (struct span){ b.p, b.n }, &m, &fault);
		want = known || _i >= MSG_KEY_END ? -ERR_FIELD_TYPE
		    : _i >= MSG_KEY_MUST          ? -ERR_FIELD_UNKNOWN
						  : 0;
		ck_assert_int_eq(rc, want);
		if (rc == 0)
			ck_assert_uint_eq(m.head.has, 0);
		else
			ck_assert(fault.key ==
			    (_i >= MSG_KEY_END ? UINT64_MAX : (uint64_t)_i));
		buf_fini(&b);
	}
}
END_TEST

/* clang-format off */
static const char *const wrong_keys[] = {
	"81ff01",                 /* -1 */
	"81d38000000000000000" "01",
	"81cc80" "01",            /* 128 */
	"81cd0100" "01",          /* 256: not taken for 0 */
	"81cf0000000100000000" "01",
	"81cfffffffffffffffff" "01",
	"81c001", "81c201", "81c301",
	"81cb000000000000000001", /* 0.0 */
	"81ca0000000001",
	"81a001", "81a3737174" "01", "81c40001", "81d4010001",
	"819001", "818001", "8191c001",
};
/* clang-format on */

START_TEST(msg_refuses_keys_that_are_no_small_integers)
{
	for (enum table t = TABLE_HEAD; t <= TABLE_TELL; t++) {
		struct msg_fault fault = { 0 };
		union message m;
		struct buf b;

		buf_init(&b);
		ck_assert_int_eq(hex_parse(wrong_keys[_i], &b), 0);
		ck_assert_int_eq(
		    read_table(t, (struct span){ b.p, b.n }, &m, &fault),
		    -ERR_FIELD_TYPE);
		ck_assert_int_eq(fault.code, ERR_FIELD_TYPE);
		ck_assert(fault.key == UINT64_MAX);
		ck_assert_ptr_null(fault.name);
		buf_fini(&b);
	}
}
END_TEST

START_TEST(msg_reads_keys_of_every_width)
{
	static const char *const maps[] = { "810107", "81cc0107", "81cd000107",
		"81ce0000000107", "81cf000000000000000107", "81d00107",
		"81d1000107", "81d20000000107", "81d3000000000000000107",
		"de00010107", "df000000010107" };

	for (size_t i = 0; i < COUNT(maps); i++) {
		struct msg_fault fault;
		struct msg_head head;
		struct buf b;

		buf_init(&b);
		ck_assert_int_eq(hex_parse(maps[i], &b), 0);
		ck_assert_int_eq(
		    msg_read_head((struct span){ b.p, b.n }, &head, &fault), 0);
		ck_assert_uint_eq(head.has, 1 << HEAD_id);
		ck_assert_uint_eq(head.id, 7);
		buf_fini(&b);
	}
}
END_TEST

START_TEST(msg_steps_over_what_it_ignores)
{
	/* 5: {1: [nil, "ab", {2: 3}]}, 1: 7, 63: ext, 0: 3 */
	static const char map[] = "84"
				  "058101"
				  "93c0a2616281"
				  "0203"
				  "0107"
				  "3fd40500"
				  "0003";
	struct msg_fault fault;
	struct msg_head head;
	struct buf b;

	buf_init(&b);
	ck_assert_int_eq(hex_parse(map, &b), 0);
	ck_assert_int_eq(
	    msg_read_head((struct span){ b.p, b.n }, &head, &fault), 0);
	ck_assert_uint_eq(head.has, 1 << HEAD_id | 1 << HEAD_type);
	ck_assert_uint_eq(head.id, 7);
	ck_assert_uint_eq(head.type, TYPE_EXEC);
	buf_fini(&b);
}
END_TEST

START_TEST(msg_leaves_absent_fields_zero)
{
	static const uint8_t empty = 0x80;
	static const union message zero;
	struct msg_fault fault;
	union message m;

	for (enum table t = TABLE_HEAD; t <= TABLE_TELL; t++) {
		memset(&m, 0x55, sizeof(m));
		ck_assert_int_eq(
		    read_table(t, (struct span){ &empty, 1 }, &m, &fault), 0);
		ck_assert_int_eq(memcmp(&m, &zero,
				     t == TABLE_HEAD       ? sizeof(m.head)
					 : t == TABLE_TELL ? sizeof(m.tell)
							   : sizeof(m.ask)),
		    0);
	}
}
END_TEST

/* --- Words ---------------------------------------------------------------- */

/* clang-format off */
static const struct {
	struct msg_fault fault;
	const char *text;
} words[] = {
	{ { ERR_FIELD_TYPE, 2, "params", "an array or a map" },
	  "field 2 (params) must be an array or a map, given once" },
	{ { ERR_FIELD_RANGE, 1, "id", "an integer from 0 to 2^63-1" },
	  "field 1 (id) must be an integer from 0 to 2^63-1, given once" },
	{ { ERR_FIELD_TYPE, UINT64_MAX, NULL, NULL },
	  "a field key must be an integer from 0 to 127" },
	{ { ERR_FIELD_UNKNOWN, 64, NULL, NULL },
	  "field 64 is not known here, and fields from 64 on must be understood" },
	{ { ERR_FIELD_MISSING, 7, "commit", NULL },
	  "field 7 (commit) is required" },
	{ { ERR_FIELD_MISSING, 7, NULL, NULL },
	  "field 7 (?) is required" },
	{ { ERR_FIELD_RANGE, 7, NULL, NULL },
	  "field 7 (?) must be valid, given once" },
};
/* clang-format on */

START_TEST(msg_puts_faults_into_words)
{
	char text[256], little[8];

	msg_describe_fault(&words[_i].fault, text, sizeof(text));
	ck_assert_str_eq(text, words[_i].text);
	msg_describe_fault(&words[_i].fault, little, sizeof(little));
	ck_assert_uint_eq(strlen(little), sizeof(little) - 1);
}
END_TEST

START_TEST(msg_names_its_types)
{
	ck_assert_str_eq(msg_get_type_name(1), "HELLO");
	ck_assert_str_eq(msg_get_type_name(12), "CREDIT");
	ck_assert_str_eq(msg_get_type_name(36), "GOAWAY");
	ck_assert_ptr_null(msg_get_type_name(0));
	ck_assert_str_eq(msg_get_type_name(5), "SCRIPT");
	ck_assert_ptr_null(msg_get_type_name(31));
	ck_assert_ptr_null(msg_get_type_name(37));
	ck_assert_ptr_null(msg_get_type_name(UINT64_MAX));
}
END_TEST

/* --- Writing -------------------------------------------------------------- */

static void
check_bytes(const struct buf *b, const char *hex)
{
	char *text = hex_format(b->p, b->n);

	ck_assert_str_eq(text, hex);
	free(text);
}

START_TEST(msg_writes_a_frame)
{
	struct msg_out m;
	struct buf b;

	buf_init(&b);
	msg_begin(&m, &b, TYPE_EXEC, 7, 0);
	msg_put_uint(&m, HEAD_timeout_ms, 300);
	msg_open_body(&m);
	msg_put_str(&m, ASK_sql, "SELECT 1");
	msg_key(&m, ASK_params);
	value_put_array(&b, 0);
	ck_assert_int_eq(msg_end(&m, 64), 0);
	check_bytes(&b,
	    "ce00000016"
	    "830003010703cd012c"
	    "8200a853454c4543542031"
	    "0290");
	buf_fini(&b);
}
END_TEST

START_TEST(msg_writes_the_stream_unless_it_is_0)
{
	struct msg_out m;
	struct buf b;

	buf_init(&b);
	msg_begin_body(&m, &b, TYPE_OK, 1, 9);
	ck_assert_int_eq(msg_end(&m, 64), 0);
	msg_begin_body(&m, &b, TYPE_OK, 1, 0);
	ck_assert_int_eq(msg_end(&m, 64), 0);
	check_bytes(&b,
	    "ce00000008"
	    "83002001010209"
	    "80"
	    "ce00000006"
	    "8200200101"
	    "80");
	buf_fini(&b);
}
END_TEST

START_TEST(msg_writes_maps_inside_a_body)
{
	struct msg_out m, step;
	struct buf b;

	buf_init(&b);
	msg_begin_body(&m, &b, TYPE_DONE, 1, 0);
	msg_key(&m, TELL_steps);
	value_put_array(&b, 2);
	step.b = &b;
	msg_open_map(&step);
	msg_put_int(&step, TELL_changes, -1);
	msg_close_map(&step);
	msg_open_map(&step);
	msg_close_map(&step);
	msg_put_uint(&m, TELL_seq, 5);
	ck_assert_int_eq(msg_end(&m, 64), 0);
	check_bytes(&b,
	    "ce0000000e"
	    "8200220101"
	    "8208928102ff800405");
	buf_fini(&b);
}
END_TEST

START_TEST(msg_changes_the_type_of_an_open_frame)
{
	struct msg_out m;
	struct buf b;

	buf_init(&b);
	msg_begin_body(&m, &b, TYPE_DONE, 1, 9);
	msg_set_type(&m, TYPE_ROWS);
	ck_assert_int_eq(msg_end(&m, 64), 0);
	check_bytes(&b,
	    "ce00000008"
	    "83002101010209"
	    "80");
	buf_fini(&b);
}
END_TEST

START_TEST(msg_takes_back_a_frame_that_is_too_long)
{
	struct msg_out m;
	struct buf b;

	buf_init(&b);
	buf_put(&b, "before", 6);
	msg_begin_body(&m, &b, TYPE_OK, 1, 0); /* a content of 6 bytes */
	ck_assert_int_eq(msg_end(&m, 5), -ERR_FRAME_TOO_LONG);
	ck_assert_uint_eq(b.n, 6);
	ck_assert_int_eq(memcmp(b.p, "before", 6), 0);
	msg_begin_body(&m, &b, TYPE_OK, 1, 0);
	ck_assert_int_eq(msg_end(&m, 6), 0);
	ck_assert_uint_eq(b.n, 6 + 11);
	buf_fini(&b);
}
END_TEST

START_TEST(msg_takes_back_a_frame_for_which_memory_ran_out)
{
	struct msg_out m;
	struct buf b;

	buf_init(&b);
	buf_put(&b, "before", 6);
	msg_begin_body(&m, &b, TYPE_DONE, 1, 0);
	msg_put_uint(&m, TELL_seq, 1);
	ck_assert_ptr_null(buf_reserve(&b, SIZE_MAX / 2));
	msg_put_uint(&m, TELL_changes, 1);
	msg_put_str(&m, TELL_message, "lost");
	msg_put_message(&m, TELL_name, "lost");
	msg_set_type(&m, TYPE_ROWS);
	ck_assert_int_eq(msg_end(&m, 1000), -ERR_NO_MEMORY);
	ck_assert_uint_eq(b.n, 6);
	/* the memory at hand is enough for saying so */
	msg_begin_body(&m, &b, TYPE_ERROR, 1, 0);
	msg_put_uint(&m, TELL_code, ERR_NO_MEMORY);
	ck_assert_int_eq(msg_end(&m, 1000), 0);
	ck_assert_uint_gt(b.n, 6);
	buf_fini(&b);
}
END_TEST

START_TEST(msg_keeps_a_failure_that_was_there_before)
{
	struct msg_out m;
	struct buf b;

	buf_init(&b);
	ck_assert_ptr_null(buf_reserve(&b, SIZE_MAX / 2));
	msg_begin_body(&m, &b, TYPE_OK, 1, 0);
	ck_assert_int_eq(msg_end(&m, 1000), -ERR_NO_MEMORY);
	ck_assert(buf_failed(&b));
	buf_fini(&b);
}
END_TEST

START_TEST(msg_abandons_a_frame)
{
	struct msg_out m;
	struct buf b;

	buf_init(&b);
	buf_put(&b, "before", 6);
	msg_begin_body(&m, &b, TYPE_OK, 1, 0);
	msg_abandon(&m);
	ck_assert_uint_eq(b.n, 6);
	buf_fini(&b);
}
END_TEST

START_TEST(msg_cuts_and_repairs_a_message)
{
	char text[2 * MSG_MESSAGE_BYTES];
	struct msg_fault fault;
	struct span head, body;
	struct msg_tell tell;
	struct msg_out m;
	struct buf b;

	memset(text, 'a', sizeof(text));
	text[0] = (char)0xff;
	/* a character across the cut */
	memcpy(text + MSG_MESSAGE_BYTES - 1, "\xc3\xa9", 2);
	text[sizeof(text) - 1] = '\0';
	buf_init(&b);
	msg_begin_body(&m, &b, TYPE_GOAWAY, 0, 0);
	msg_put_message(&m, TELL_message, text);
	ck_assert_int_eq(msg_end(&m, FRAME_LEAST_MAX_BYTES), 0);
	ck_assert_int_eq(walk_frame((struct span){ b.p + FRAME_PREFIX_BYTES,
					b.n - FRAME_PREFIX_BYTES },
			     &head, &body),
	    0);
	ck_assert_int_eq(msg_read_tell(body, &tell, &fault), 0);
	ck_assert_uint_eq(tell.message.n, MSG_MESSAGE_BYTES);
	ck_assert_uint_eq(tell.message.p[0], '?');
	ck_assert_uint_eq(tell.message.p[1], 'a');
	ck_assert_uint_eq(tell.message.p[MSG_MESSAGE_BYTES - 1], '?');
	buf_fini(&b);
}
END_TEST

START_TEST(msg_reads_back_what_it_wrote)
{
	struct msg_fault fault;
	struct span head_map, body_map;
	struct msg_head head;
	struct msg_tell tell;
	struct msg_out m;
	struct buf b;

	buf_init(&b);
	msg_begin_body(&m, &b, TYPE_ERROR, INT64_MAX, INT64_MAX);
	msg_put_uint(&m, TELL_code, ERR_DEADLINE);
	msg_put_int(&m, TELL_changes, INT64_MIN);
	msg_put_str(&m, TELL_name, "DEADLINE");
	ck_assert_int_eq(msg_end(&m, FRAME_DEFAULT_MAX_BYTES), 0);
	ck_assert_int_eq(walk_frame((struct span){ b.p + FRAME_PREFIX_BYTES,
					b.n - FRAME_PREFIX_BYTES },
			     &head_map, &body_map),
	    0);
	ck_assert_int_eq(msg_read_head(head_map, &head, &fault), 0);
	ck_assert_int_eq(msg_read_tell(body_map, &tell, &fault), 0);
	ck_assert_uint_eq(head.type, TYPE_ERROR);
	ck_assert_uint_eq(head.id, INT64_MAX);
	ck_assert_uint_eq(head.stream, INT64_MAX);
	ck_assert_uint_eq(tell.code, ERR_DEADLINE);
	ck_assert(tell.changes == INT64_MIN);
	ck_assert_uint_eq(tell.name.n, 8);
	ck_assert(MSG_HAS(&tell, TELL_code));
	ck_assert(!MSG_HAS(&tell, TELL_seq));
	buf_fini(&b);
}
END_TEST

static TCase *
make_reading(void)
{
	TCase *tc = tcase_create("reading");

	tcase_add_loop_test(
	    tc, msg_takes_a_field_with_its_kind_alone, 0, (int)COUNT(fields));
	tcase_add_loop_test(
	    tc, msg_refuses_a_key_that_comes_twice, 0, (int)COUNT(fields));
	tcase_add_loop_test(
	    tc, msg_ignores_low_keys_and_refuses_high_ones, 0, 130);
	tcase_add_loop_test(tc, msg_refuses_keys_that_are_no_small_integers, 0,
	    (int)COUNT(wrong_keys));
	tcase_add_test(tc, msg_reads_keys_of_every_width);
	tcase_add_test(tc, msg_steps_over_what_it_ignores);
	tcase_add_test(tc, msg_leaves_absent_fields_zero);
	return tc;
}

static TCase *
make_writing(void)
{
	TCase *tc = tcase_create("writing");

	tcase_add_test(tc, msg_writes_a_frame);
	tcase_add_test(tc, msg_writes_the_stream_unless_it_is_0);
	tcase_add_test(tc, msg_writes_maps_inside_a_body);
	tcase_add_test(tc, msg_changes_the_type_of_an_open_frame);
	tcase_add_test(tc, msg_takes_back_a_frame_that_is_too_long);
	tcase_add_test(tc, msg_takes_back_a_frame_for_which_memory_ran_out);
	tcase_add_test(tc, msg_keeps_a_failure_that_was_there_before);
	tcase_add_test(tc, msg_abandons_a_frame);
	tcase_add_test(tc, msg_cuts_and_repairs_a_message);
	tcase_add_test(tc, msg_reads_back_what_it_wrote);
	return tc;
}

static Suite *
make_suite(void)
{
	Suite *s = suite_create("msg");
	TCase *tc = tcase_create("words");

	tcase_add_loop_test(
	    tc, msg_puts_faults_into_words, 0, (int)COUNT(words));
	tcase_add_test(tc, msg_names_its_types);
	suite_add_tcase(s, make_reading());
	suite_add_tcase(s, tc);
	suite_add_tcase(s, make_writing());
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
