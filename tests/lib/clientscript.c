/* clientscript.c - the library on one end, a script on the other. */
#include "tests/lib/clientscript.h"

#include <check.h>

struct fakeserver clientscript_fs;

struct sqlpool_options
clientscript_make_options(uint32_t timeout_ms)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;

	options.use_fd = true;
	options.fd = clientscript_fs.client_fd;
	options.request_timeout_ms = timeout_ms;
	options.connect_timeout_ms = timeout_ms;
	return options;
}

struct sqlpool_conn *
clientscript_open(void (*play)(struct fakeserver *), uint32_t timeout_ms)
{
	struct sqlpool_options options;
	struct sqlpool_conn *conn;
	int rc;

	fakeserver_start(&clientscript_fs, play, NULL);
	options = clientscript_make_options(timeout_ms);
	rc = sqlpool_open(&options, &conn);
	ck_assert_msg(rc == 0, "%s", sqlpool_get_error(conn)->message);
	return conn;
}

void
clientscript_close(struct sqlpool_conn *conn)
{
	sqlpool_close(conn);
	fakeserver_stop(&clientscript_fs);
}

void
clientscript_assert_error(
    const struct sqlpool_error *e, int code, enum sqlpool_outcome outcome)
{
	ck_assert_msg(e->code == code, "%d (%s), not %d: %s", e->code, e->name,
	    code, e->message);
	ck_assert_int_eq(e->outcome, outcome);
}

struct sqlpool_result *
clientscript_send(struct sqlpool_conn *conn, const char *sql)
{
	struct sqlpool_request *request = sqlpool_request_new();
	struct sqlpool_result *result = NULL;

	ck_assert_int_eq(sqlpool_request_add(request, sql, NULL, 0), 0);
	ck_assert_int_eq(sqlpool_send(conn, request, &result), 0);
	sqlpool_request_free(request);
	return result;
}

void
clientscript_echo(struct fakeserver *f, const struct fake_request *r)
{
	struct span params = r->ask.params;
	struct value v = { .count = 0 };
	bool named;

	if (params.n > 0)
		value_read(&params, &v);
	named = v.kind == VALUE_MAP && v.count > 0;
	fake_begin(f, TYPE_DONE, r->head.id);
	msg_key(&f->m, TELL_columns);
	value_put_array(f->m.b, v.count);
	for (uint32_t i = 0; i < v.count; i++)
		value_put_str(f->m.b, "column", 6);
	msg_key(&f->m, TELL_rows);
	value_put_array(f->m.b, 2);
	for (int row = 0; row < 2; row++) {
		struct span at = params;

		value_put_array(f->m.b, v.count);
		for (uint32_t i = 0; i < v.count; i++) {
			struct span before;

			if (named)
				value_skip(&at);
			before = at;
			value_skip(&at);
			buf_put(f->m.b, before.p, before.n - at.n);
		}
	}
	fake_end(f);
	fake_send(f);
}

void
clientscript_play_echo(struct fakeserver *f)
{
	struct fake_request r;

	fake_take_hello(f, 16, 65536);
	while (fake_take(f, &r)) {
		if (r.head.type == TYPE_EXEC)
			clientscript_echo(f, &r);
	}
}
