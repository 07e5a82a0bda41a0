/* transaction.c - read, decide, write; and try again when it cannot be now.
 *
 *	transaction SOCKET DATABASE
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include <sqlpool.h>

#define ATTEMPTS 5

/* Move one unit from account 1 to account 2, if there is one. */
static int
move_one(struct sqlpool_conn *conn, int64_t *ret_left)
{
	struct sqlpool_result *result;
	int64_t left = 0;
	int rc = sqlpool_begin(conn, SQLPOOL_TX_IMMEDIATE);

	if (rc < 0)
		return rc;
	rc = sqlpool_query(
	    conn, "SELECT amount FROM account WHERE id = 1", NULL, 0, &result);
	if (rc < 0)
		return rc;
	if (sqlpool_next(result) == SQLPOOL_ROW)
		left = sqlpool_column_int64(result, 0);
	sqlpool_result_free(result);
	if (left > 0)
		rc = sqlpool_exec(conn,
		    "UPDATE account SET amount = amount + iif(id = 1, -1, 1)",
		    NULL, 0);
	if (rc == 0)
		rc = sqlpool_commit(conn);
	if (rc == 0)
		*ret_left = left - 1;
	return rc;
}

/* Worth another attempt: it is certain that nothing was applied, and waiting
 * helps. */
static int
is_transient(const struct sqlpool_error *e)
{
	return e->outcome == SQLPOOL_NOT_APPLIED &&
	    e->class_ == SQLPOOL_CLASS_BUSY;
}

int
main(int argc, char **argv)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	struct sqlpool_conn *conn;
	int64_t left = 0;
	int rc;

	options.socket_path = argc > 1 ? argv[1] : NULL;
	options.database = argc > 2 ? argv[2] : NULL;
	options.app_name = "transaction";
	rc = sqlpool_open(&options, &conn);
	if (rc == 0)
		rc = sqlpool_exec(conn,
		    "CREATE TABLE IF NOT EXISTS account(id INTEGER PRIMARY "
		    "KEY, amount INT)",
		    NULL, 0);
	if (rc == 0)
		rc = sqlpool_exec(conn,
		    "INSERT OR IGNORE INTO account VALUES (1, 10), (2, 0)",
		    NULL, 0);
	if (rc < 0)
		errx(1, "%s", sqlpool_get_error(conn)->message);

	for (int i = 0; i < ATTEMPTS; i++) {
		struct sqlpool_error e;
		struct timespec pause = { .tv_nsec = 10000000L << i };

		rc = move_one(conn, &left);
		if (rc == 0)
			break;
		e = *sqlpool_get_error(conn);
		if (!is_transient(&e))
			errx(1, "%s", e.message);
		if (sqlpool_in_transaction(conn) && sqlpool_rollback(conn) < 0)
			errx(1, "%s", sqlpool_get_error(conn)->message);
		nanosleep(&pause, NULL);
	}
	if (rc < 0)
		errx(1, "%s", sqlpool_get_error(conn)->message);
	printf("account 1 has %" PRId64 " left\n", left);
	sqlpool_close(conn);
	return 0;
}
