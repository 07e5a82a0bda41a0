/* guard.c - the authorizer. */
#include "daemon/guard.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define VARIABLES_MAX 32766

/* A count(*) of so many pages takes 2 ms at most. */
#define COUNT_PAGES_MAX 2500

__attribute__((format(printf, 2, 3))) static int
refuse(struct guard *g, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(g->reason, sizeof(g->reason), fmt, args);
	va_end(args);
	return SQLITE_DENY;
}

/* OP_IntegrityCk looks at the whole file in one step: until 3.41 without asking
 * whether to stop (sqlite.org/changes.html). */
static bool
checks_file(const char *name)
{
	return strcasecmp(name, "integrity_check") == 0 ||
	    strcasecmp(name, "quick_check") == 0;
}

/* What would set something becomes a statement that does nothing, which setting.c
 * judges when it knows what is in force. */
static int
note_setting(struct guard *g, const struct pragma *p, const char *value)
{
	if (strlen(value) >= sizeof(g->setting_value))
		return refuse(g,
		    "the value of PRAGMA %s is longer than any it can have; "
		    "%s",
		    p->name, p->remedy);
	g->setting = p;
	snprintf(g->setting_value, sizeof(g->setting_value), "%s", value);
	return SQLITE_IGNORE;
}

static int
judge_pragma(struct guard *g, const char *name, const char *arg)
{
	const struct pragma *p = pragma_find(name);

	g->pragma = g->shows_schema = true;
	g->checks = g->checks || checks_file(name);
	if (!p)
		return refuse(g,
		    "PRAGMA %s is not allowed: it would change a connection "
		    "that all clients share; use the options of the daemon's "
		    "configuration",
		    name);
	switch (p->rule) {
	case PRAGMA_READS:
		break;
	case PRAGMA_SETS:
		if (arg)
			return note_setting(g, p, arg);
		break;
	case PRAGMA_STORES:
		g->pragma_writes = arg != NULL;
		break;
	case PRAGMA_WRITES:
		g->pragma_writes = true;
		break;
	case PRAGMA_REFUSED:
		return refuse(
		    g, "PRAGMA %s is not allowed; %s", name, p->remedy);
	}
	return SQLITE_OK;
}

static int
judge_transaction(struct guard *g, const char *op)
{
	g->tx_op = strcmp(op, "BEGIN") == 0 ? GUARD_TX_BEGIN
	    : strcmp(op, "COMMIT") == 0     ? GUARD_TX_COMMIT
					    : GUARD_TX_ROLLBACK;
	return SQLITE_OK;
}

static int
judge_savepoint(struct guard *g, const char *op, const char *name)
{
	g->tx_op = strcmp(op, "BEGIN") == 0 ? GUARD_TX_SAVEPOINT
	    : strcmp(op, "RELEASE") == 0    ? GUARD_TX_RELEASE
					    : GUARD_TX_ROLLBACK_TO;
	if (strlen(name) >= sizeof(g->tx_name))
		return refuse(g,
		    "the savepoint's name is longer than %zu bytes; use a "
		    "shorter one",
		    sizeof(g->tx_name) - 1);
	snprintf(g->tx_name, sizeof(g->tx_name), "%s", name);
	return SQLITE_OK;
}

/* facts.md 0.4: fts3_tokenizer with bound values is a jump to an address. */
static int
judge_function(struct guard *g, const char *name)
{
	if (strcasecmp(name, "fts3_tokenizer") == 0 ||
	    strcasecmp(name, "load_extension") == 0)
		return refuse(g,
		    "%s() is not allowed: it loads code into the "
		    "daemon; name extensions in its configuration",
		    name);
	if (strcasecmp(name, "sqlite_log") == 0)
		return refuse(g,
		    "sqlite_log() is not allowed: it writes to "
		    "the daemon's log; use RAISE(), or a table");
	if (strcasecmp(name, "count") == 0)
		g->counts = true;
	if (strcasecmp(name, "like") == 0 || strcasecmp(name, "glob") == 0)
		g->matches = true;
	return SQLITE_OK;
}

/* Tables that a module has without CREATE: sqlite.org/vtab.html#eponymous_virtual_tables */
static int
judge_read(struct guard *g, const char *table)
{
	static const struct {
		const char *name, *why;
	} tables[] = {
		{ "sqlite_stmt",
		    "it shows the statements of other clients; use SHOW STATS "
		    "of @admin" },
		{ "dbstat",
		    "it reads the whole file; use PRAGMA page_count, or "
		    "sqlite3_analyzer on a copy" },
		{ "fts3tokenize",
		    "it looks tokenizers up by name; use fts5vocab" },
		{ "sqlite_dbpage", "it writes pages of the file; use SQL" },
		{ "sqlite_dbdata", "it reads pages of the file; use SQL" },
		{ "sqlite_dbptr", "it reads pages of the file; use SQL" },
		{ "bytecode",
		    "it shows the statements of other clients; use EXPLAIN" },
		{ "tables_used",
		    "it shows the statements of other clients; use EXPLAIN" },
	};

	if (strncasecmp(table, "pragma_", 7) == 0) {
		g->shows_schema = true;
		g->checks = g->checks || checks_file(table + 7);
	}
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		if (strcasecmp(table, tables[i].name) == 0)
			return refuse(
			    g, "%s is not allowed: %s", table, tables[i].why);
	return SQLITE_OK;
}

/* A module may read any file; those that come with SQLite and do not are known. */
static int
judge_module(struct guard *g, const char *module)
{
	static const char *const known[] = { "fts3", "fts4", "fts4aux", "fts5",
		"fts5vocab", "rtree", "rtree_i32", "geopoly" };

	if (judge_read(g, module) != SQLITE_OK)
		return SQLITE_DENY;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcasecmp(module, known[i]) == 0)
			return SQLITE_OK;
	if (g->extended)
		return SQLITE_OK;
	return refuse(g,
	    "module %s is not allowed: it is none of those that come with "
	    "SQLite; name the extension that has it in the daemon's "
	    "configuration",
	    module);
}

static int
refuse_temp(struct guard *g)
{
	return refuse(g,
	    "TEMP objects are not allowed: connections are shared "
	    "by all clients; use a WITH clause or an ordinary table");
}

/* temp.NAME comes with the ordinary action codes; what it changes is told by the
 * name of the database.  ALTER TABLE of a main table rewrites sqlite_temp_master
 * too, where nothing is. */
static bool
changes_temp(int action, const char *a, const char *database)
{
	switch (action) {
	case SQLITE_READ:
	case SQLITE_SELECT:
	case SQLITE_FUNCTION:
	case SQLITE_RECURSIVE:
		return false;
	case SQLITE_ALTER_TABLE: /* the database is the third argument */
		return a && strcasecmp(a, "temp") == 0;
	case SQLITE_UPDATE:
		if (a && strcasecmp(a, "sqlite_temp_master") == 0)
			return false;
		break;
	default:
		break;
	}
	return database && strcasecmp(database, "temp") == 0;
}

/* The action codes: sqlite.org/c3ref/c_alter_table.html.  a and b are the third
 * and fourth argument of the callback. */
static int
judge(struct guard *g, int action, const char *a, const char *b)
{
	switch (action) {
	case SQLITE_TRANSACTION:
		return judge_transaction(g, a);
	case SQLITE_SAVEPOINT:
		return judge_savepoint(g, a, b);
	case SQLITE_PRAGMA:
		return judge_pragma(g, a, b);
	case SQLITE_FUNCTION:
		return judge_function(g, b);
	case SQLITE_READ:
		return judge_read(g, a);
	case SQLITE_ATTACH:
	case SQLITE_DETACH:
		/* VACUUM attaches a nameless scratch file while it runs, VACUUM
		 * INTO one with a name */
		if (g->maintenance && (!a || !a[0]))
			return SQLITE_OK;
		return refuse(g,
		    "ATTACH, DETACH and VACUUM INTO are not "
		    "allowed: add the file as a database of its "
		    "own to the daemon");
	case SQLITE_CREATE_TEMP_INDEX:
	case SQLITE_CREATE_TEMP_TABLE:
	case SQLITE_CREATE_TEMP_TRIGGER:
	case SQLITE_CREATE_TEMP_VIEW:
	case SQLITE_DROP_TEMP_INDEX:
	case SQLITE_DROP_TEMP_TABLE:
	case SQLITE_DROP_TEMP_TRIGGER:
	case SQLITE_DROP_TEMP_VIEW:
		return refuse_temp(g);
	case SQLITE_INSERT:
	case SQLITE_UPDATE:
	case SQLITE_DELETE:
		g->writes_rows = true;
		return SQLITE_OK;
	case SQLITE_CREATE_INDEX:
	case SQLITE_CREATE_TABLE:
	case SQLITE_CREATE_TRIGGER:
	case SQLITE_CREATE_VIEW:
	case SQLITE_CREATE_VTABLE:
	case SQLITE_DROP_INDEX:
	case SQLITE_DROP_TABLE:
	case SQLITE_DROP_TRIGGER:
	case SQLITE_DROP_VIEW:
	case SQLITE_DROP_VTABLE:
	case SQLITE_ALTER_TABLE:
	case SQLITE_REINDEX:
	case SQLITE_ANALYZE:
		g->writes_schema = true;
		return SQLITE_OK;
	default: /* SELECT, RECURSIVE, COPY: nothing to judge */
		return SQLITE_OK;
	}
}

/* SQLite fixes the parameters. */
/* NOLINTBEGIN(readability-function-size) */
static int
authorize(void *arg, int action, const char *a, const char *b,
    const char *database, const char *trigger)
{
	struct guard *g = arg;
	(void)trigger;
	if (g->internal)
		return SQLITE_OK;
	if (changes_temp(action, a, database))
		return refuse_temp(g);
	/* a virtual table's module is the fourth argument */
	if (action == SQLITE_CREATE_VTABLE && judge_module(g, b) != SQLITE_OK)
		return SQLITE_DENY;
	return judge(g, action, a, b);
}
/* NOLINTEND(readability-function-size) */

static int
set_switches(sqlite3 *db)
{
	/* sqlite.org/c3ref/c_dbconfig_defensive.html; the reasons are in
	 * facts.md section 7 */
	static const struct {
		int op;
		int value;
	} switches[] = {
		{ SQLITE_DBCONFIG_DEFENSIVE, 1 },
		{ SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0 },
		{ SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0 },
		{ SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0 },
	};

	for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
		int rc = sqlite3_db_config(
		    db, switches[i].op, switches[i].value, NULL);

		if (rc != SQLITE_OK)
			return rc;
	}
	return SQLITE_OK;
}

int
guard_install(struct guard *g, sqlite3 *db)
{
	int rc = set_switches(db);

	if (rc != SQLITE_OK)
		return rc;
	sqlite3_limit(db, SQLITE_LIMIT_LENGTH, GUARD_VALUE_BYTES);
	sqlite3_limit(
	    db, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, GUARD_PATTERN_BYTES);
	/* SQLite's own default; Debian's 250,000 lets a statement of 20 bytes
	 * ("?250000") take 14 MB */
	sqlite3_limit(db, SQLITE_LIMIT_VARIABLE_NUMBER, VARIABLES_MAX);
	return sqlite3_set_authorizer(db, authorize, g);
}

void
guard_reset(struct guard *g)
{
	g->writes_rows = g->writes_schema = false;
	g->pragma = g->pragma_writes = false;
	g->counts = g->checks = g->matches = g->shows_schema = false;
	g->setting = NULL;
	g->tx_op = GUARD_TX_NONE;
	g->tx_name[0] = g->reason[0] = '\0';
}

/* Skip what SQLite has skipped before a statement: it is known to begin with
 * nothing else (sqlite.org/syntax/comment-syntax.html). */
static const char *
skip_to_statement(const char *sql)
{
	for (;;) {
		sql += strspn(sql, " \t\n\v\f\r;\xef\xbb\xbf");
		if (strncmp(sql, "--", 2) == 0) {
			sql += strcspn(sql, "\n");
		} else if (strncmp(sql, "/*", 2) == 0) {
			const char *end = strstr(sql + 2, "*/");

			sql = end ? end + 2 : sql + strlen(sql);
		} else {
			return sql;
		}
	}
}

/* Look for an opcode in a statement's program: a prepare of its own. */
static bool
has_opcode(sqlite3_stmt *stmt, const char *opcode)
{
	char *sql = sqlite3_mprintf(
	    "EXPLAIN %s", skip_to_statement(sqlite3_sql(stmt)));
	sqlite3_stmt *explain = NULL;
	bool found = false;

	if (sql &&
	    sqlite3_prepare_v2(
		sqlite3_db_handle(stmt), sql, -1, &explain, NULL) == SQLITE_OK)
		while (!found && sqlite3_step(explain) == SQLITE_ROW)
			found = sqlite3_stricmp(
				    (const char *)sqlite3_column_text(
					explain, 1),
				    opcode) == 0;
	sqlite3_finalize(explain);
	sqlite3_free(sql);
	return found;
}

/* VACUUM touches nothing by name, and so does DDL that found nothing to do: only
 * the opcode tells them apart (opcode.html, "Vacuum").  Rare, so it may take a
 * prepare of its own. */
static bool
is_vacuum(sqlite3_stmt *stmt)
{
	return has_opcode(stmt, "Vacuum");
}

/* The bytes of the file, or of its log, whichever SQLITE_FCNTL_ asks for; negative:
 * not known.  A log that was never opened has none. */
static int64_t
get_file_bytes(sqlite3 *db, int which)
{
	sqlite3_file *file = NULL;
	sqlite3_int64 bytes = 0;

	if (sqlite3_file_control(db, "main", which, &file) != SQLITE_OK)
		return -1;
	if (file && file->pMethods &&
	    file->pMethods->xFileSize(file, &bytes) != SQLITE_OK)
		return -1;
	return bytes;
}

/* Every page is in the file or in its log, so together they are no shorter than
 * the database is.  Two system calls, where the PRAGMA below is a statement, a
 * quarter of what it takes to prepare and run a point read. */
static bool
is_surely_small(sqlite3 *db, int page_bytes)
{
	int64_t file = get_file_bytes(db, SQLITE_FCNTL_FILE_POINTER);
	int64_t log = get_file_bytes(db, SQLITE_FCNTL_JOURNAL_POINTER);

	return file >= 0 && log >= 0 &&
	    file + log <= (int64_t)COUNT_PAGES_MAX * page_bytes;
}

static int64_t
count_pages(sqlite3 *db)
{
	sqlite3_stmt *st = NULL;
	int64_t n = 0;

	if (sqlite3_prepare_v2(db, "PRAGMA main.page_count", -1, &st, NULL) ==
		SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW)
		n = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return n;
}

/* OP_Count reads a whole index in one step (opcode.html, "Count"). */
bool
guard_is_unstoppable(struct guard *g, sqlite3_stmt *stmt, int page_bytes)
{
	sqlite3 *db = sqlite3_db_handle(stmt);
	struct guard seen = *g;
	bool counts = g->counts && !g->checks && sqlite3_stmt_readonly(stmt) &&
	    !is_surely_small(db, page_bytes) &&
	    count_pages(db) > COUNT_PAGES_MAX && has_opcode(stmt, "Count");

	*g = seen;
	return g->checks || counts;
}

/* While a statement is prepared a virtual table may be connected, which prepares
 * PRAGMAs and others of its own: so what was seen counts only as far as it fits
 * what the statement is. */
enum msg_kind
guard_get_kind(const struct guard *g, sqlite3_stmt *stmt)
{
	if (!stmt)
		return KIND_EMPTY;
	if (sqlite3_stmt_isexplain(stmt))
		return KIND_READ;
	if (g->tx_op != GUARD_TX_NONE)
		return KIND_TX;
	if (!sqlite3_stmt_readonly(stmt)) {
		if (g->writes_schema)
			return KIND_SCHEMA;
		if (g->writes_rows)
			return KIND_WRITE;
		if (g->pragma)
			return g->pragma_writes ? KIND_SCHEMA : KIND_READ;
		return is_vacuum(stmt) ? KIND_MAINTENANCE : KIND_SCHEMA;
	}
	if (g->pragma_writes)
		return KIND_SCHEMA;
	/* without a column it is no read, but DDL that found nothing to do, by
	 * the schema that this connection knows */
	return g->pragma || sqlite3_column_count(stmt) > 0 ? KIND_READ
							   : KIND_SCHEMA;
}
