/* client.cc - the library from C++: everything that its headers define is used.
 *
 *	client SOCKET DATABASE
 */
#include <cstdio>
#include <cstring>

#include <sqlpool.h>
#include <sqlpool_libevent.h>
#include <sqlpool_libuv.h>
#include <sqlpool_poll.h>

static int
fail(struct sqlpool_conn *conn)
{
	const struct sqlpool_error *e = sqlpool_get_error(conn);

	std::fprintf(stderr, "%s: %s\n", e->name, e->message);
	return 1;
}

static int seen;

static void
on_rows(struct sqlpool_result *result, void *)
{
	int rc;

	while ((rc = sqlpool_next(result)) == SQLPOOL_ROW)
		seen += static_cast<int>(sqlpool_column_int64(result, 0));
	if (rc != SQLPOOL_AGAIN) {
		sqlpool_result_free(result);
		seen += 1000;
	}
}

static int
run_async(struct sqlpool_conn *conn)
{
	struct sqlpool_request *request = sqlpool_request_new();
	struct event_base *base = event_base_new();
	struct sqlpool_libevent libevent;
	struct sqlpool_result *result;
	struct sqlpool_libuv *libuv;
	uv_loop_t loop;

	if (sqlpool_request_add(
		request, "SELECT ?1", SQLPOOL_VALUES(SQLPOOL_INT(7))) < 0)
		return 1;
	for (int i = 0; i < 3; i++) {
		if (sqlpool_send(conn, request, &result) < 0 ||
		    sqlpool_set_callback(result, on_rows, nullptr) < 0)
			return fail(conn);
		if (i == 0) {
			while (seen < 1000)
				if (sqlpool_poll(&conn, 1, -1) < 0)
					return fail(conn);
		} else if (i == 1) {
			if (sqlpool_libevent_attach(
				&libevent, base, conn, nullptr, nullptr) < 0)
				return fail(conn);
			while (seen < 2000)
				event_base_loop(base, EVLOOP_ONCE);
			sqlpool_libevent_detach(&libevent);
		} else {
			uv_loop_init(&loop);
			if (sqlpool_libuv_attach(
				&loop, conn, nullptr, nullptr, &libuv) < 0)
				return fail(conn);
			while (seen < 3000)
				uv_run(&loop, UV_RUN_ONCE);
			sqlpool_libuv_detach(libuv);
			uv_run(&loop, UV_RUN_DEFAULT);
			uv_loop_close(&loop);
		}
	}
	event_base_free(base);
	sqlpool_request_free(request);
	return 0;
}

int
main(int, char **argv)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	struct sqlpool_conn *conn;
	struct sqlpool_result *result;

	options.socket_path = argv[1];
	options.database = argv[2];
	if (sqlpool_open(&options, &conn) < 0 ||
	    sqlpool_query(conn, "SELECT ?1, ?2, ?3, ?4, ?5, ?6",
		SQLPOOL_VALUES(SQLPOOL_NULL, SQLPOOL_INT(2), SQLPOOL_REAL(0.5),
		    SQLPOOL_TEXT("four"), SQLPOOL_TEXT_N("fives", 4),
		    SQLPOOL_BLOB("six", 3)),
		&result) < 0)
		return fail(conn);
	if (sqlpool_next(result) != SQLPOOL_ROW ||
	    sqlpool_column_type(result, 0) != SQLPOOL_TYPE_NULL ||
	    sqlpool_column_double(result, 2) != 0.5 ||
	    std::strcmp(sqlpool_column_text(result, 4, nullptr), "five") != 0)
		return 2;
	sqlpool_result_free(result);
	if (sqlpool_query(conn, "SELECT :a",
		SQLPOOL_VALUES(SQLPOOL_NAMED(":a", SQLPOOL_INT(1))),
		&result) < 0)
		return fail(conn);
	sqlpool_result_free(result);
	if (run_async(conn) != 0 || seen != 3021)
		return 3;
	sqlpool_close(conn);
	std::puts("ok");
	return 0;
}
