/* check_pipeline.c - pipelines of any depth, with requests and results of any size,
 * complete against a real daemon: nothing is refused, nothing gets stuck. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/live.h"

static struct live live;

/* What is sent before anything is taken. */
static const struct pipe {
	int n;          /* requests */
	size_t request; /* bytes that each brings */
	size_t result;  /* and gets back, as often as rows says */
	int rows;
	bool backwards; /* the last one is taken first */
	const char *option;
} pipes[] = {
	{ 20000, 10, 10, 1, false, NULL },
	{ 20000, 10, 10, 1, true, NULL },
	{ 600, 200000, 200000, 1, false, NULL },
	{ 2000, 60000, 60000, 1, true, NULL },
	{ 60, 10, 50000, 100, false, NULL },
	/* as many large ones as the daemon runs at a time */
	{ 8, 10, 50000, 100, true, NULL },
	/* many times what the daemon takes at a time */
	{ 100, 200000, 70000, 1, false, "max_client_bytes=1MB" },
};

static struct sqlpool_result *
send_one(struct sqlpool_conn *conn, const struct pipe *pipe, const char *bytes)
{
	struct sqlpool_request *request = sqlpool_request_new();
	struct sqlpool_result *result = NULL;
	int rc;

	rc = sqlpool_request_add(request,
	    "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n "
	    "WHERE i < ?3) SELECT iif(length(?1) = ?2, ?1, zeroblob(?2)) FROM n",
	    SQLPOOL_VALUES(SQLPOOL_BLOB(bytes, pipe->request),
		SQLPOOL_INT((int64_t)pipe->result), SQLPOOL_INT(pipe->rows)));
	ck_assert_int_eq(rc, 0);
	rc = sqlpool_send(conn, request, &result);
	ck_assert_msg(rc == 0, "%s", sqlpool_get_error(conn)->message);
	sqlpool_request_free(request);
	return result;
}

static void
take_one(struct sqlpool_result *result, const struct pipe *pipe)
{
	int rows = 0, rc;
	size_t n;

	while ((rc = sqlpool_next(result)) == SQLPOOL_ROW) {
		(void)sqlpool_column_blob(result, 0, &n);
		ck_assert_uint_eq(n, pipe->result);
		rows++;
	}
	ck_assert_msg(rc == SQLPOOL_DONE, "%s: %s",
	    sqlpool_result_error(result)->name,
	    sqlpool_result_error(result)->message);
	ck_assert_int_eq(rows, pipe->rows);
	sqlpool_result_free(result);
}

START_TEST(a_pipeline_completes)
{
	static struct sqlpool_result *results[20000];
	const struct pipe *pipe = &pipes[_i];
	char *bytes = calloc(1, pipe->request);
	struct sqlpool_conn *conn;

	live_init(&live);
	live_start(&live, pipe->option ? LIVE_OPTIONS(pipe->option) : NULL);
	conn = live_connect(&live, "pipeline");
	for (int i = 0; i < pipe->n; i++)
		results[i] = send_one(conn, pipe, bytes);
	for (int i = 0; i < pipe->n; i++)
		take_one(results[pipe->backwards ? pipe->n - 1 - i : i], pipe);
	sqlpool_close(conn);
	free(bytes);
	live_stop(&live);
	live_fini(&live);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("pipeline");
	TCase *tc = tcase_create("depth");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_pipeline_completes, 0,
	    (int)(sizeof(pipes) / sizeof(pipes[0])));
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
