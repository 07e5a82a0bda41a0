/* sync.c - one request after another.
 *
 *	sync SOCKET DATABASE
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>

#include <sqlpool.h>

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
	struct sqlpool_result *result;
	int rc;

	options.socket_path = argc > 1 ? argv[1] : NULL;
	options.database = argc > 2 ? argv[2] : NULL;
	options.app_name = "sync";
	rc = sqlpool_open(&options, &conn);
	check(conn, rc);

	check(conn,
	    sqlpool_exec(conn,
		"CREATE TABLE IF NOT EXISTS note(id INTEGER PRIMARY KEY, "
		"text TEXT)",
		NULL, 0));
	check(conn,
	    sqlpool_exec(conn, "INSERT INTO note(text) VALUES (?1)",
		SQLPOOL_VALUES(SQLPOOL_TEXT("a first note"))));
	printf("inserted row %" PRId64 "\n", sqlpool_get_summary(conn)->rowid);

	check(conn,
	    sqlpool_query(conn, "SELECT id, text FROM note WHERE id > :least",
		SQLPOOL_VALUES(SQLPOOL_NAMED(":least", SQLPOOL_INT(0))),
		&result));
	while ((rc = sqlpool_next(result)) == SQLPOOL_ROW)
		printf("%" PRId64 " %s\n", sqlpool_column_int64(result, 0),
		    sqlpool_column_text(result, 1, NULL));
	check(conn, rc);

	sqlpool_result_free(result);
	sqlpool_close(conn);
	return 0;
}
