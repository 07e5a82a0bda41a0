/* check_client_memory.c - libsqlpool-client's memory: an application's allocator,
 * what an idle connection holds, and what happens when it runs out.
 *
 * The n-th allocation of the library fails, for each n: nothing crashes, every
 * call fails with NO_MEMORY or works, and all is given back. */
#include <check.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/clientscript.h"

/* ---- an allocator ---- */

static long countdown = -1; /* until one fails; below 0: none does */
static bool failed;
static long blocks_n;     /* that are in use */
static size_t bytes_n;    /* of those, as malloc counts */
static size_t requests_n; /* ever */

static void *
resize(void *p, size_t n)
{
	size_t before = p ? malloc_usable_size(p) : 0;
	void *to;

	ck_assert_uint_gt(n, 0);
	requests_n++;
	if (countdown >= 0 && countdown-- == 0) {
		failed = true;
		return NULL;
	}
	to = realloc(p, n);
	ck_assert_ptr_nonnull(to);
	blocks_n += !p;
	bytes_n += malloc_usable_size(to) - before;
	return to;
}

static void
release(void *p)
{
	ck_assert_ptr_nonnull(p);
	blocks_n--;
	bytes_n -= malloc_usable_size(p);
	free(p);
}

/* ---- the script: answers whatever comes, in parts ---- */

static void
put_wide(struct fakeserver *f, enum msg_type type, uint64_t id, bool first)
{
	fake_begin(f, type, id);
	if (first) {
		msg_key(&f->m, TELL_columns);
		value_put_array(f->m.b, 20);
		for (int i = 0; i < 20; i++)
			value_put_str(f->m.b, "name", 4);
	}
	msg_key(&f->m, TELL_rows);
	value_put_array(f->m.b, 1);
	value_put_array(f->m.b, 20);
	for (int i = 0; i < 20; i++)
		value_put_int(f->m.b, i);
	fake_end(f);
}

static void
play_all(struct fakeserver *f)
{
	struct fake_request r;

	fake_take_hello(f, 4, 65536);
	while (fake_take(f, &r)) {
		if (r.head.id == 0)
			continue;
		if (r.head.type == TYPE_EXEC) {
			put_wide(f, TYPE_ROWS, r.head.id, true);
			put_wide(f, TYPE_ROWS, r.head.id, false);
			put_wide(f, TYPE_DONE, r.head.id, false);
		} else if (r.head.type == TYPE_PREPARE) {
			fake_error(f, r.head.id, 1,
			    "a message that is too long for the text which an "
			    "error holds in itself, so that it has to be "
			    "allocated: one that SQLite would give for a name "
			    "of many letters, like a table's; or a "
			    "constraint's; and so on, for two hundred");
		} else {
			fake_ok(f, r.head.id);
		}
		fake_send(f);
	}
}

static int wrong_rc;
static bool wrong_row;

/* What a call may return. */
static bool
note(int rc)
{
	if (rc < 0 && rc != -1 && rc != -SQLPOOL_ERR_NO_MEMORY)
		wrong_rc = rc;
	return rc >= 0;
}

static void
read_wide(struct sqlpool_result *result)
{
	int rc;

	while ((rc = sqlpool_next(result)) == SQLPOOL_ROW) {
		const char *name = sqlpool_column_name(result, 19);
		const char *text = sqlpool_column_text(result, 19, NULL);

		if ((!name || strcmp(name, "name") != 0) && !failed)
			wrong_row = true;
		if ((!text || strcmp(text, "19") != 0) && !failed)
			wrong_row = true;
	}
	note(rc);
}

static void
use_connection(struct sqlpool_conn *conn)
{
	struct sqlpool_request *request = sqlpool_request_new();
	struct sqlpool_result *results[8] = { NULL }, *result;
	struct sqlpool_stmt *stmt;

	if (note(sqlpool_query(
		conn, "x", SQLPOOL_VALUES(SQLPOOL_TEXT("y")), &result))) {
		read_wide(result);
		sqlpool_result_free(result);
	}
	note(sqlpool_exec(conn, "x", NULL, 0));
	if (note(sqlpool_prepare(conn, "x", &stmt)))
		sqlpool_stmt_free(stmt);
	if (request && note(sqlpool_request_add(request, "x", NULL, 0)))
		for (int i = 0; i < 8; i++)
			note(sqlpool_send(conn, request, &results[i]));
	for (int i = 7; i >= 0; i--) {
		if (results[i])
			read_wide(results[i]);
		sqlpool_result_free(results[i]);
	}
	sqlpool_request_free(request);
	note(sqlpool_ping(conn));
}

/* Returns whether an allocation failed. */
static bool
run_with_fault(long at)
{
	struct sqlpool_options options;
	struct sqlpool_conn *conn;

	fakeserver_start(&clientscript_fs, play_all, NULL);
	options = clientscript_make_options(5000);
	ck_assert_int_eq(sqlpool_set_allocator(resize, release), 0);
	countdown = at;
	failed = false;
	if (note(sqlpool_open(&options, &conn)))
		use_connection(conn);
	countdown = -1;
	if (!conn)
		close(clientscript_fs.client_fd);
	clientscript_close(conn);
	ck_assert_int_eq(sqlpool_set_allocator(NULL, NULL), 0);
	ck_assert_int_eq(wrong_rc, 0);
	ck_assert(!wrong_row);
	ck_assert_int_eq(blocks_n, 0);
	ck_assert_uint_eq(bytes_n, 0);
	return failed;
}

START_TEST(any_allocation_may_fail)
{
	long at = 0;

	while (run_with_fault(at))
		at++;
	ck_assert_int_gt(at, 20);
}
END_TEST

START_TEST(an_allocator_is_whole_or_none)
{
	ck_assert_int_eq(
	    sqlpool_set_allocator(resize, NULL), -SQLPOOL_ERR_MISUSE);
	ck_assert_int_eq(
	    sqlpool_set_allocator(NULL, release), -SQLPOOL_ERR_MISUSE);
	run_with_fault(-1);
	ck_assert_uint_gt(requests_n, 20);
}
END_TEST

/* The figure of issue 7, in all its blocks. */
START_TEST(an_idle_connection_holds_at_most_4_kib)
{
	struct sqlpool_options options;
	struct sqlpool_conn *conn;

	fakeserver_start(&clientscript_fs, play_all, NULL);
	options = clientscript_make_options(5000);
	options.app_name = "a program with a name";
	options.database = "a database with a name";
	ck_assert_int_eq(sqlpool_set_allocator(resize, release), 0);
	ck_assert_int_eq(sqlpool_open(&options, &conn), 0);
	ck_assert_uint_le(bytes_n, 4096);
	use_connection(conn);
	ck_assert_msg(bytes_n <= 4096, "%zu bytes", bytes_n);
	clientscript_close(conn);
	ck_assert_int_eq(blocks_n, 0);
}
END_TEST

/* Also one whose results were all there, and freed, since it last moved bytes. */
START_TEST(an_idle_connection_keeps_few_of_the_results_it_had)
{
	struct sqlpool_result *results[16];
	struct sqlpool_options options;
	struct sqlpool_conn *conn;

	fakeserver_start(&clientscript_fs, play_all, NULL);
	options = clientscript_make_options(5000);
	ck_assert_int_eq(sqlpool_set_allocator(resize, release), 0);
	ck_assert_int_eq(sqlpool_open(&options, &conn), 0);
	for (int i = 0; i < 16; i++)
		results[i] = clientscript_send(conn, "SELECT");
	for (int i = 15; i >= 0; i--) {
		read_wide(results[i]);
		sqlpool_result_free(results[i]);
	}
	ck_assert_msg(bytes_n <= 4096, "%zu bytes", bytes_n);
	clientscript_close(conn);
	ck_assert_int_eq(blocks_n, 0);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("client_memory");
	TCase *tc = tcase_create("memory");

	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, any_allocation_may_fail);
	tcase_add_test(tc, an_allocator_is_whole_or_none);
	tcase_add_test(tc, an_idle_connection_holds_at_most_4_kib);
	tcase_add_test(tc, an_idle_connection_keeps_few_of_the_results_it_had);
	suite_add_tcase(suite, tc);
	return suite;
}

int
main(void)
{
	SRunner *runner = srunner_create(make_suite());
	int rc;

	srunner_run_all(runner, CK_NORMAL);
	rc = srunner_ntests_failed(runner);
	srunner_free(runner);
	return rc ? EXIT_FAILURE : EXIT_SUCCESS;
}
