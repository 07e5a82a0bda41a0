/* libevent.c - requests under libevent: nothing waits but the loop.
 *
 *	libevent SOCKET DATABASE
 *
 * Three requests are on their way before the connection is open. Each calls back
 * as its rows come; after the last one the loop ends.
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>

#include <sqlpool_libevent.h>

struct square {
	struct event_base *base;
	int64_t of;
	int *left; /* how many have not answered */
};

static void
on_end(struct sqlpool_libevent *glue, int code, void *arg)
{
	(void)code;
	(void)arg;
	errx(1, "%s", sqlpool_get_error(glue->conn)->message);
}

static void
on_rows(struct sqlpool_result *result, void *arg)
{
	struct square *square = arg;
	int rc;

	while ((rc = sqlpool_next(result)) == SQLPOOL_ROW)
		printf("%" PRId64 " squared is %" PRId64 "\n", square->of,
		    sqlpool_column_int64(result, 0));
	if (rc == SQLPOOL_AGAIN)
		return; /* called again when there is more */
	if (rc < 0)
		errx(1, "%s", sqlpool_result_error(result)->message);
	sqlpool_result_free(result);
	if (--*square->left == 0)
		event_base_loopbreak(square->base);
}

static void
ask(struct sqlpool_conn *conn, struct square *square)
{
	struct sqlpool_request *request = sqlpool_request_new();
	struct sqlpool_result *result;

	if (!request ||
	    sqlpool_request_add(request, "SELECT ?1 * ?1",
		SQLPOOL_VALUES(SQLPOOL_INT(square->of))) < 0)
		errx(1, "out of memory");
	if (sqlpool_send(conn, request, &result) < 0 ||
	    sqlpool_set_callback(result, on_rows, square) < 0)
		errx(1, "%s", sqlpool_get_error(conn)->message);
	sqlpool_request_free(request);
}

int
main(int argc, char **argv)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	struct event_base *base = event_base_new();
	struct sqlpool_libevent glue;
	struct sqlpool_conn *conn;
	struct square squares[3];
	int left = 3;

	options.socket_path = argc > 1 ? argv[1] : NULL;
	options.database = argc > 2 ? argv[2] : NULL;
	options.app_name = "libevent";
	if (!base)
		errx(1, "out of memory");
	if (sqlpool_open_start(&options, &conn) < 0)
		errx(1, "%s", sqlpool_get_error(conn)->message);
	for (int i = 0; i < 3; i++) {
		squares[i] = (struct square){ base, i + 5, &left };
		ask(conn, &squares[i]);
	}
	if (sqlpool_libevent_attach(&glue, base, conn, on_end, NULL) < 0)
		errx(1, "%s", sqlpool_get_error(conn)->message);
	event_base_dispatch(base);

	sqlpool_libevent_detach(&glue);
	sqlpool_close(conn);
	event_base_free(base);
	return 0;
}
