/* check_vectors.c - the codec against proto/vectors.json, and PROTOCOL.md
 * against both the vectors and the lists it was written from. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/error.h"
#include "proto/frame.h"
#include "proto/walk.h"
#include "tests/lib/hex.h"
#include "tests/lib/msgjson.h"
#include "tests/lib/vectors.h"

#define PAGE_PATH "proto/PROTOCOL.md"

static struct vectors vectors;
static char *page;

/* --- The codec ------------------------------------------------------------ */

START_TEST(vectors_decode_to_their_decoded_form)
{
	const struct vector *v = &vectors.v[_i];
	struct msg_fault fault = { 0 };
	json_t *got = NULL;
	char *text;
	int rc = msgjson_decode(
	    (struct span){ v->bytes.p, v->bytes.n }, v->is_reply, &got, &fault);

	ck_assert_msg(rc == v->fault_code, "%s: %d instead of %d", v->name, rc,
	    v->fault_code);
	if (v->has_fault_key)
		ck_assert_msg(fault.key == v->fault_key && fault.code == -rc,
		    "%s: field %llu", v->name, (unsigned long long)fault.key);
	if (rc < 0)
		return;
	text = json_dumps(got, JSON_COMPACT);
	ck_assert_msg(
	    json_equal(got, v->decoded), "%s decodes to %s", v->name, text);
	free(text);
	json_decref(got);
}
END_TEST

START_TEST(vectors_encode_to_the_same_bytes)
{
	const struct vector *v = &vectors.v[_i];
	struct buf b;
	char *text;

	if (!v->encodes)
		return;
	buf_init(&b);
	msgjson_encode(v->decoded, v->is_reply, &b);
	text = hex_format(b.p, b.n);
	ck_assert_msg(b.n == v->bytes.n && memcmp(b.p, v->bytes.p, b.n) == 0,
	    "%s encodes to %s", v->name, text);
	free(text);
	buf_fini(&b);
}
END_TEST

/* Cut anywhere: not there yet for the frame, malformed for its content. */
START_TEST(vectors_are_refused_when_they_are_cut)
{
	const struct vector *v = &vectors.v[_i];
	struct span head, body;
	size_t bytes;

	if (!v->decoded)
		return;
	for (size_t n = 0; n < v->bytes.n; n++)
		ck_assert_int_eq(
		    frame_peek(v->bytes.p, n, FRAME_DEFAULT_MAX_BYTES, &bytes),
		    FRAME_PARTIAL);
	for (size_t n = FRAME_PREFIX_BYTES; n < v->bytes.n; n++)
		ck_assert_int_eq(
		    walk_frame((struct span){ v->bytes.p + FRAME_PREFIX_BYTES,
				   n - FRAME_PREFIX_BYTES },
			&head, &body),
		    -ERR_FRAME_MALFORMED);
}
END_TEST

START_TEST(vectors_have_names_of_their_own)
{
	const struct vector *v = &vectors.v[_i];

	ck_assert_msg(
	    vectors_find(&vectors, v->name) == v, "%s is there twice", v->name);
}
END_TEST

/* --- The page ------------------------------------------------------------- */

static char *
read_page(void)
{
	FILE *f = fopen(PAGE_PATH, "r");
	char *text = NULL;
	size_t n = 0;

	/* no NUL is in it: the whole file is one "line" */
	if (!f || getdelim(&text, &n, '\0', f) < 0) {
		perror(PAGE_PATH);
		exit(2);
	}
	fclose(f);
	return text;
}

/* Append the bytes of one line of an example: what stands before the first
 * double space, or the whole line. */
static void
parse_example_line(const char *line, size_t n, struct buf *b)
{
	char copy[256];
	char *note;

	ck_assert_uint_lt(n, sizeof(copy));
	memcpy(copy, line, n);
	copy[n] = '\0';
	note = strstr(copy, "  ");
	if (note)
		*note = '\0';
	ck_assert_msg(hex_parse(copy, b) == 0, "no hex: %s", copy);
}

/* Read the example whose "```hex NAME" line begins at *at; *at is moved to what
 * follows it. */
static void
parse_example(const char **at, char *name, size_t name_n, struct buf *b)
{
	const char *line = *at + strlen("```hex ");
	const char *end = strchr(line, '\n');

	snprintf(name, name_n, "%.*s", (int)(end - line), line);
	for (;;) {
		line = end + 1;
		end = strchr(line, '\n');
		ck_assert_msg(end != NULL, "%s does not end", name);
		if (strncmp(line, "```", 3) == 0)
			break;
		parse_example_line(line, (size_t)(end - line), b);
	}
	*at = end;
}

static const char *
find_example(const char *from)
{
	const char *at = strstr(from, "\n```hex ");

	return at ? at + 1 : NULL;
}

START_TEST(page_shows_the_bytes_of_the_vectors)
{
	const char *at = page;
	unsigned n = 0;

	while ((at = find_example(at))) {
		const struct vector *v;
		struct buf b;
		char name[128];

		buf_init(&b);
		parse_example(&at, name, sizeof(name), &b);
		v = vectors_find(&vectors, name);
		ck_assert_msg(v != NULL, "no vector %s", name);
		ck_assert_msg(
		    b.n == v->bytes.n && memcmp(b.p, v->bytes.p, b.n) == 0,
		    "%s has other bytes: run tests/proc/wire.py examples",
		    name);
		buf_fini(&b);
		n++;
	}
	ck_assert_uint_gt(n, 0);
}
END_TEST

/* clang-format off */
static const char *const type_names[] = {
#define REQUEST(name, type) #name,
#define REPLY(name, type)   #name,
#include "proto/messages.def"
#undef REQUEST
#undef REPLY
};
/* clang-format on */

START_TEST(page_has_an_example_of_every_type)
{
	const char *at = page;
	bool found = false;

	while (!found && (at = find_example(at))) {
		struct buf b;
		char name[128];
		json_t *type;

		buf_init(&b);
		parse_example(&at, name, sizeof(name), &b);
		buf_fini(&b);
		type = json_object_get(
		    json_object_get(
			vectors_find(&vectors, name)->decoded, "head"),
		    "type");
		found = strcmp(json_string_value(type), type_names[_i]) == 0;
	}
	ck_assert_msg(found, "no example of %s", type_names[_i]);
}
END_TEST

/* The rows of a table, as they have to begin. */
struct table {
	const char *heading; /* of the section */
	const char *const *rows;
	size_t rows_n;
};

#define KIND_U "uint"
#define KIND_I "int"
#define KIND_B "bool"
#define KIND_S "str"
#define KIND_A "array"
#define KIND_M "map"
#define KIND_V "array or map"

/* clang-format off */
static const char *const type_rows[] = {
#define REQUEST(name, type) "| " #type " | `" #name "` | request |",
#define REPLY(name, type)   "| " #type " | `" #name "` | reply |",
#include "proto/messages.def"
#undef REQUEST
#undef REPLY
};

static const char *const head_rows[] = {
#define HEAD(name, key, kind) "| " #key " | `" #name "` | " KIND_##kind " |",
#include "proto/messages.def"
#undef HEAD
};

static const char *const ask_rows[] = {
#define ASK(name, key, kind) "| " #key " | `" #name "` | " KIND_##kind " |",
#include "proto/messages.def"
#undef ASK
};

static const char *const tell_rows[] = {
#define TELL(name, key, kind) "| " #key " | `" #name "` | " KIND_##kind " |",
#include "proto/messages.def"
#undef TELL
};
/* clang-format on */

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static const struct table tables[] = {
	{ "### Message types\n", type_rows, COUNT(type_rows) },
	{ "### Head fields\n", head_rows, COUNT(head_rows) },
	{ "### Request fields\n", ask_rows, COUNT(ask_rows) },
	{ "### Reply fields\n", tell_rows, COUNT(tell_rows) },
};

/* Give the section below a heading, up to the next heading; NUL-terminated. */
static char *
copy_section(const char *heading)
{
	const char *from = strstr(page, heading);
	const char *to;
	char *copy;

	ck_assert_msg(from != NULL, "no section %s", heading);
	from += strlen(heading);
	to = strstr(from, "\n#");
	copy = strndup(from, to ? (size_t)(to - from) + 1 : strlen(from));
	ck_assert_ptr_nonnull(copy);
	return copy;
}

/* Lines that begin with "| " and a digit. */
static size_t
count_rows(const char *section)
{
	size_t n = 0;

	for (const char *p = section; p; p = strstr(p + 1, "\n| "))
		if (p[0] == '\n' && p[3] >= '0' && p[3] <= '9')
			n++;
	return n;
}

static void
check_row(const char *section, const char *row)
{
	char line[300];

	snprintf(line, sizeof(line), "\n%s", row);
	ck_assert_msg(strstr(section, line) != NULL, "no row %s", row);
}

START_TEST(page_lists_every_message_and_field)
{
	const struct table *t = &tables[_i];
	char *section = copy_section(t->heading);

	for (size_t i = 0; i < t->rows_n; i++)
		check_row(section, t->rows[i]);
	ck_assert_uint_eq(count_rows(section), t->rows_n);
	free(section);
}
END_TEST

static const int own_codes[] = {
#define ERR(name, number, class, outcome, text) (number),
#include "proto/errors.def"
#undef ERR
};

START_TEST(page_lists_every_error)
{
	char *section = copy_section("### Error codes\n");

	for (size_t i = 0; i < COUNT(own_codes); i++) {
		int code = own_codes[i];
		char row[256];

		snprintf(row, sizeof(row), "| %d | `%s` | %s | %s | %s |", code,
		    error_get_name(code),
		    error_get_class_name(error_get_class(code)),
		    error_get_outcome_name(error_get_outcome(code)),
		    error_get_text(code));
		check_row(section, row);
	}
	ck_assert_uint_eq(count_rows(section), COUNT(own_codes));
	free(section);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *s = suite_create("vectors");
	TCase *codec = tcase_create("codec");
	TCase *text = tcase_create("page");

	tcase_add_loop_test(
	    codec, vectors_decode_to_their_decoded_form, 0, (int)vectors.n);
	tcase_add_loop_test(
	    codec, vectors_encode_to_the_same_bytes, 0, (int)vectors.n);
	tcase_add_loop_test(
	    codec, vectors_are_refused_when_they_are_cut, 0, (int)vectors.n);
	tcase_add_loop_test(
	    codec, vectors_have_names_of_their_own, 0, (int)vectors.n);
	tcase_add_test(text, page_shows_the_bytes_of_the_vectors);
	tcase_add_loop_test(
	    text, page_has_an_example_of_every_type, 0, (int)COUNT(type_names));
	tcase_add_loop_test(
	    text, page_lists_every_message_and_field, 0, (int)COUNT(tables));
	tcase_add_test(text, page_lists_every_error);
	suite_add_tcase(s, codec);
	suite_add_tcase(s, text);
	return s;
}

int
main(void)
{
	SRunner *sr;
	int failed;

	vectors_open(&vectors);
	page = read_page();
	sr = srunner_create(make_suite());
	/* no case harms the next one, and a process for each takes longer */
	srunner_set_fork_status(sr, CK_NOFORK);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	free(page);
	vectors_close(&vectors);
	return failed ? 1 : 0;
}
