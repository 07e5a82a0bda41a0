/* setting.c - settings that are in force anyway, and those that are not. */
#include "daemon/setting.h"

#include <stdio.h>

#include "daemon/dbconn_impl.h"
#include "proto/error.h"

/* Read what is in force into now. */
static int
read_now(struct dbconn *c, const struct pragma *p, char now[PRAGMA_VALUE_BYTES],
    struct failure *f)
{
	sqlite3_stmt *st = NULL;
	char sql[96];
	int rc;

	snprintf(now, PRAGMA_VALUE_BYTES, "%s", p->fixed ? p->fixed : "");
	if (p->values ==
	    VALUES_TEMP_STORE) /* the writer's is not that of reads */
		snprintf(now, PRAGMA_VALUE_BYTES, "%s",
		    c->conf->temp_store == CONF_TEMP_FILE ? "file" : "memory");
	if (now[0])
		return 0;
	snprintf(sql, sizeof(sql), "PRAGMA main.%s", p->name);
	c->guard.internal = true;
	rc = sqlite3_prepare_v2(c->db, sql, -1, &st, NULL);
	c->guard.internal = false;
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		snprintf(now, PRAGMA_VALUE_BYTES, "%s",
		    (const char *)sqlite3_column_text(st, 0));
	sqlite3_finalize(st);
	return rc == SQLITE_ROW ? 0 : dbconn_fail(c, rc, f);
}

/* Put a statement in its place that gives one value. */
static int
answer(struct dbconn *c, const struct pragma *p, const char *value,
    sqlite3_stmt **stmt, struct failure *f)
{
	char *sql = sqlite3_mprintf(
	    p->values == VALUES_WORD ? "SELECT %Q AS %s" : "SELECT %s AS %s",
	    value, p->column);
	int rc = SQLITE_NOMEM;

	sqlite3_finalize(*stmt);
	*stmt = NULL;
	c->guard.internal = true;
	if (sql)
		rc = sqlite3_prepare_v3(
		    c->db, sql, -1, SQLITE_PREPARE_PERSISTENT, stmt, NULL);
	c->guard.internal = false;
	sqlite3_free(sql);
	return rc == SQLITE_OK ? 0 : dbconn_fail(c, rc, f);
}

int
setting_judge(struct dbconn *c, sqlite3_stmt **stmt, struct failure *f)
{
	const struct pragma *p = c->guard.setting;
	const char *value = c->guard.setting_value;
	char now[PRAGMA_VALUE_BYTES];
	int rc = read_now(c, p, now, f);

	if (rc == 0 && !pragma_is_same(p, value, now, c->page_bytes))
		rc = failure_set(f, ERR_NOT_ALLOWED,
		    "PRAGMA %s cannot be set to %s here: connections are "
		    "shared by all clients; %s",
		    p->name, value, p->remedy);
	if (rc < 0) {
		sqlite3_finalize(*stmt);
		*stmt = NULL;
		return rc;
	}
	if (!p->column || sqlite3_stmt_isexplain(*stmt))
		return 0;
	return answer(c, p, p->values == VALUES_ANY ? value : now, stmt, f);
}
