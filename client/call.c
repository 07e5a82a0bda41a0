/* call.c - the calls that send one request and wait for it. */
#include "impl.h"

#include "socket.h"
#include <string.h>
#include <unistd.h>

/* Send a request without fields of its own, or with one, and wait for it. */
static int
run_plain(
    struct sqlpool_conn *conn, enum msg_type type, unsigned key, uint64_t value)
{
	struct sqlpool_result *result = NULL;
	struct msg_out m;
	int rc = request_begin(conn, type, 0, &m, &result);

	if (rc < 0)
		return rc;
	if (key)
		msg_put_uint(&m, key, value);
	rc = request_submit(result, &m);
	return rc < 0 ? rc : result_finish(result);
}

int
sqlpool_ping(struct sqlpool_conn *conn)
{
	return run_plain(conn, TYPE_PING, 0, 0);
}

int
sqlpool_exec(struct sqlpool_conn *conn, const char *sql,
    const struct sqlpool_value *values, size_t values_n)
{
	struct statement s = {
		.sql = sql, .values = values, .values_n = values_n
	};
	struct sqlpool_result *result = NULL;
	int rc = request_start_statement(conn, &s, &result);

	return rc < 0 ? rc : result_finish(result);
}

int
sqlpool_query(struct sqlpool_conn *conn, const char *sql,
    const struct sqlpool_value *values, size_t values_n,
    struct sqlpool_result **ret_result)
{
	struct statement s = {
		.sql = sql, .values = values, .values_n = values_n
	};
	struct sqlpool_result *result = NULL;
	int rc = ret_result ? request_start_statement(conn, &s, &result)
			    : -ERR_MISUSE;

	return rc < 0 ? rc : result_begin(result, ret_result);
}

static int
start_script(struct sqlpool_conn *conn, const char *sql, unsigned flags,
    struct sqlpool_result **ret_result)
{
	struct msg_out m;
	int rc = conn_check(conn);

	if (rc < 0)
		return rc;
	if (!sql || (flags & ~(unsigned)SQLPOOL_SCRIPT_NOT_ATOMIC))
		return conn_fail(conn, ERR_MISUSE, OUTCOME_NOT_APPLIED,
		    sql ? "there is no such flag" : "there is no SQL");
	rc = request_begin(conn, TYPE_SCRIPT, 0, &m, ret_result);
	if (rc < 0)
		return rc;
	msg_put_str(&m, ASK_sql, sql);
	msg_key(&m, ASK_atomic);
	value_put_bool(m.b, !(flags & SQLPOOL_SCRIPT_NOT_ATOMIC));
	return request_submit(*ret_result, &m);
}

int
sqlpool_script(struct sqlpool_conn *conn, const char *sql, unsigned flags)
{
	struct sqlpool_result *result = NULL;
	int rc = start_script(conn, sql, flags, &result);

	return rc < 0 ? rc : result_finish(result);
}

/* ---- transactions ---- */

int
sqlpool_begin(struct sqlpool_conn *conn, enum sqlpool_tx_mode mode)
{
	return run_plain(conn, TYPE_TX_BEGIN, ASK_tx_mode, (uint64_t)mode);
}

/* It ended when the connection was lost; this lets the application know. */
static int
end_lost_transaction(struct sqlpool_conn *conn, bool commit)
{
	conn->tx_lost = false;
	conn->in_transaction = false;
	if (!commit)
		return 0;
	return conn_fail(conn, ERR_CONNECTION_LOST, OUTCOME_NOT_APPLIED,
	    "the connection was lost in the transaction, which was rolled "
	    "back: begin it again");
}

static int
end_transaction(struct sqlpool_conn *conn, bool commit)
{
	struct sqlpool_result *result = NULL;
	struct msg_out m;
	int rc;

	if (conn && conn->tx_lost)
		return end_lost_transaction(conn, commit);
	rc = request_begin(conn, TYPE_TX_END, 0, &m, &result);
	if (rc < 0)
		return rc;
	msg_key(&m, ASK_commit);
	value_put_bool(m.b, commit);
	rc = request_submit(result, &m);
	if (rc == 0)
		rc = result_finish(result);
	/* losing the connection rolls back as well */
	if (rc == -ERR_CONNECTION_LOST && !commit && life_can_return(conn))
		rc = 0;
	return rc;
}

int
sqlpool_commit(struct sqlpool_conn *conn)
{
	return end_transaction(conn, true);
}

int
sqlpool_rollback(struct sqlpool_conn *conn)
{
	return end_transaction(conn, false);
}

/* ---- prepared statements ---- */

static size_t
count_array(struct span array)
{
	struct value v;

	if (array.n == 0)
		return 0;
	value_read(&array, &v);
	return v.count;
}

static void
take_prepared(void *arg, const struct msg_tell *tell)
{
	struct sqlpool_stmt *stmt = arg;

	stmt->params_n = tell->params_n;
	stmt->columns_n = count_array(tell->columns);
}

static void
link_stmt(struct sqlpool_conn *conn, struct sqlpool_stmt *stmt)
{
	stmt->next = conn->stmts;
	if (stmt->next)
		stmt->next->prev = stmt;
	conn->stmts = stmt;
}

static struct sqlpool_stmt *
stmt_make(const char *sql)
{
	struct sqlpool_stmt *stmt = mem_make(sizeof(*stmt));
	size_t n = strlen(sql) + 1;

	if (!stmt)
		return NULL;
	stmt->sql = mem_resize(NULL, n);
	if (!stmt->sql) {
		mem_free(stmt);
		return NULL;
	}
	memcpy(stmt->sql, sql, n);
	return stmt;
}

static void
stmt_destroy(struct sqlpool_stmt *stmt)
{
	mem_free(stmt->sql);
	mem_free(stmt);
}

int
sqlpool_prepare(
    struct sqlpool_conn *conn, const char *sql, struct sqlpool_stmt **ret_stmt)
{
	struct sqlpool_result *result = NULL;
	struct sqlpool_stmt *stmt;
	int rc = conn_check(conn);

	if (rc < 0)
		return rc;
	if (!sql || !ret_stmt)
		return conn_fail(conn, ERR_MISUSE, OUTCOME_NOT_APPLIED,
		    "there is no SQL, or nowhere to put the statement");
	stmt = stmt_make(sql);
	if (!stmt)
		return conn_fail(
		    conn, ERR_NO_MEMORY, OUTCOME_NOT_APPLIED, "out of memory");
	stmt->number = conn->next_stmt++;
	stmt->conn = conn;
	rc = request_prepare(stmt, &result);
	if (rc == 0) {
		result->on_ok = take_prepared;
		result->on_ok_arg = stmt;
		flight_submit(conn, result);
		rc = result_finish(result);
	}
	if (rc < 0) {
		stmt_destroy(stmt);
		return rc;
	}
	link_stmt(conn, stmt);
	*ret_stmt = stmt;
	return 0;
}

/* Tell the daemon, and wait for nothing. */
static void
send_close(struct sqlpool_stmt *stmt)
{
	struct sqlpool_conn *conn = stmt->conn;
	struct sqlpool_result *result = NULL;
	struct msg_out m;

	if (conn->pid != socket_get_pid() || conn->state != CONN_OPEN ||
	    request_begin(conn, TYPE_CLOSE, 0, &m, &result) < 0)
		return;
	msg_put_uint(&m, ASK_stmt, stmt->number);
	if (request_submit(result, &m) == 0)
		result->zombie = true;
}

void
sqlpool_stmt_free(struct sqlpool_stmt *stmt)
{
	if (!stmt)
		return;
	if (stmt->conn) {
		send_close(stmt);
		if (stmt->prev)
			stmt->prev->next = stmt->next;
		else
			stmt->conn->stmts = stmt->next;
		if (stmt->next)
			stmt->next->prev = stmt->prev;
	}
	stmt_destroy(stmt);
}

size_t
sqlpool_stmt_param_count(const struct sqlpool_stmt *stmt)
{
	return stmt ? stmt->params_n : 0;
}

size_t
sqlpool_stmt_column_count(const struct sqlpool_stmt *stmt)
{
	return stmt ? stmt->columns_n : 0;
}

int
sqlpool_stmt_exec(struct sqlpool_stmt *stmt, const struct sqlpool_value *values,
    size_t values_n)
{
	struct statement s = {
		.stmt = stmt, .values = values, .values_n = values_n
	};
	struct sqlpool_result *result = NULL;
	int rc = stmt ? request_start_statement(stmt->conn, &s, &result)
		      : -ERR_MISUSE;

	return rc < 0 ? rc : result_finish(result);
}

int
sqlpool_stmt_query(struct sqlpool_stmt *stmt,
    const struct sqlpool_value *values, size_t values_n,
    struct sqlpool_result **ret_result)
{
	struct statement s = {
		.stmt = stmt, .values = values, .values_n = values_n
	};
	struct sqlpool_result *result = NULL;
	int rc = stmt && ret_result
	    ? request_start_statement(stmt->conn, &s, &result)
	    : -ERR_MISUSE;

	return rc < 0 ? rc : result_begin(result, ret_result);
}
