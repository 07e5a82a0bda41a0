/* bulk.c - many rows of one statement in one request, which is one transaction.
 *
 *	bulk SOCKET DATABASE
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>

#include <sqlpool.h>

#define ROWS      20000
#define AT_A_TIME 5000

static void
check(struct sqlpool_conn *conn, int rc)
{
	if (rc < 0)
		errx(1, "%s", sqlpool_get_error(conn)->message);
}

/* The first step has the statement; the others only bring values. */
static struct sqlpool_request *
make_request(int first)
{
	struct sqlpool_request *request = sqlpool_request_new();
	char name[32];

	if (!request)
		errx(1, "out of memory");
	for (int i = 0; i < AT_A_TIME; i++) {
		snprintf(name, sizeof(name), "part %d", first + i);
		if (sqlpool_request_add(request,
			i == 0 ? "INSERT INTO part VALUES (?1, ?2)" : NULL,
			SQLPOOL_VALUES(
			    SQLPOOL_INT(first + i), SQLPOOL_TEXT(name))) < 0)
			errx(1, "out of memory");
	}
	return request;
}

int
main(int argc, char **argv)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	struct sqlpool_conn *conn;
	struct sqlpool_result *result;
	int64_t changes = 0;
	int rc;

	options.socket_path = argc > 1 ? argv[1] : NULL;
	options.database = argc > 2 ? argv[2] : NULL;
	options.app_name = "bulk";
	rc = sqlpool_open(&options, &conn);
	check(conn, rc);
	check(conn,
	    sqlpool_script(conn,
		"DROP TABLE IF EXISTS part;"
		"CREATE TABLE part(id INTEGER PRIMARY KEY, name TEXT)",
		0));

	for (int first = 0; first < ROWS; first += AT_A_TIME) {
		struct sqlpool_request *request = make_request(first);

		check(conn, sqlpool_run_atomic(conn, request, &result));
		sqlpool_request_free(request);
		/* behind the last step the summary is that of them all */
		while (sqlpool_next_result(result) == SQLPOOL_ROW)
			;
		changes += sqlpool_result_summary(result)->changes;
		sqlpool_result_free(result);
	}
	printf("%" PRId64 " rows in %d requests\n", changes, ROWS / AT_A_TIME);

	sqlpool_close(conn);
	return 0;
}
