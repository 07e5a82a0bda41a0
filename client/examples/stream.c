/* stream.c - a result larger than anybody wants to hold: its rows come as they
 * are read, and the daemon waits meanwhile.
 *
 *	stream SOCKET DATABASE
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>

#include <sqlpool.h>

int
main(int argc, char **argv)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	struct sqlpool_conn *conn;
	struct sqlpool_result *result;
	int64_t rows = 0, bytes = 0;
	int rc;

	options.socket_path = argc > 1 ? argv[1] : NULL;
	options.database = argc > 2 ? argv[2] : NULL;
	options.app_name = "stream";
	options.window_bytes = 128 << 10; /* that may wait here unread */
	if (sqlpool_open(&options, &conn) < 0 ||
	    sqlpool_query(conn,
		"WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 "
		"FROM n WHERE i < 300000) SELECT i, hex(zeroblob(50)) FROM n",
		NULL, 0, &result) < 0)
		errx(1, "%s", sqlpool_get_error(conn)->message);

	while ((rc = sqlpool_next(result)) == SQLPOOL_ROW) {
		size_t n;

		(void)sqlpool_column_text(result, 1, &n);
		bytes += (int64_t)n;
		rows++;
	}
	/* an error can come after rows: they are void then */
	if (rc < 0)
		errx(1, "%s", sqlpool_get_error(conn)->message);
	printf(
	    "%" PRId64 " rows with %" PRId64 " bytes of text\n", rows, bytes);

	sqlpool_result_free(result);
	sqlpool_close(conn);
	return 0;
}
