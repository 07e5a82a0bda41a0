/* pipeline.c - many requests on their way at once, one system call for all.
 *
 *	pipeline SOCKET DATABASE
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>

#include <sqlpool.h>

#define REQUESTS 100

static void
check(struct sqlpool_conn *conn, int rc)
{
	if (rc < 0)
		errx(1, "%s", sqlpool_get_error(conn)->message);
}

int
main(int argc, char **argv)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	struct sqlpool_conn *conn;
	struct sqlpool_result *results[REQUESTS];
	int64_t sum = 0;
	int rc;

	options.socket_path = argc > 1 ? argv[1] : NULL;
	options.database = argc > 2 ? argv[2] : NULL;
	options.app_name = "pipeline";
	rc = sqlpool_open(&options, &conn);
	check(conn, rc);

	for (int i = 0; i < REQUESTS; i++) {
		struct sqlpool_request *request = sqlpool_request_new();

		if (!request)
			errx(1, "out of memory");
		check(conn,
		    sqlpool_request_add(request, "SELECT ?1 * ?1",
			SQLPOOL_VALUES(SQLPOOL_INT(i))));
		check(conn, sqlpool_send(conn, request, &results[i]));
		sqlpool_request_free(request);
	}
	for (int i = 0; i < REQUESTS; i++) {
		while ((rc = sqlpool_next(results[i])) == SQLPOOL_ROW)
			sum += sqlpool_column_int64(results[i], 0);
		check(conn, rc);
		sqlpool_result_free(results[i]);
	}
	printf(
	    "the sum of the first %d squares is %" PRId64 "\n", REQUESTS, sum);

	sqlpool_close(conn);
	return 0;
}
