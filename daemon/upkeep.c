/* upkeep.c - ANALYZE and incremental vacuum. */
#include "daemon/upkeep.h"

#include "daemon/dbconn_impl.h"

/* ANALYZE looks at about so many rows of each index: lang_analyze.html, 3,
 * "Approximate ANALYZE", which recommends 100 to 1000. */
#define ANALYZE_ROWS 1000

/* It is worth it when a part of this of the rows has changed. */
#define CHANGED_PART 4

/* Pages given back in one transaction: 4 MB, half of what a checkpoint copies. */
#define VACUUM_PAGES 1000

#define STRING_OF(x) #x
#define STRING(x)    STRING_OF(x)

static int
ask(struct dbconn *c, const char *sql, int64_t *ret, struct failure *f)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(c->db, sql, -1, &st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		*ret = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return rc == SQLITE_ROW ? 0 : dbconn_fail(c, rc, f);
}

static int
run(struct dbconn *c, const char *sql, struct failure *f)
{
	int rc = sqlite3_exec(c->db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : dbconn_fail(c, rc, f);
}

/* How many rows the statistics know of, in all tables: 0 without any. */
static int
count_known(struct dbconn *c, int64_t *ret, struct failure *f)
{
	int64_t any = 0;
	int rc = ask(c,
	    "SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_stat1'",
	    &any, f);

	*ret = 0;
	if (rc < 0 || !any)
		return rc;
	/* fileformat2.html, "The sqlite_stat1 table": the first number of stat */
	return ask(c,
	    "SELECT coalesce(sum(n), 0) FROM (SELECT max(CAST(stat AS INTEGER))"
	    " AS n FROM sqlite_stat1 GROUP BY tbl)",
	    ret, f);
}

static int
analyze(struct dbconn *c, int64_t changed_rows, struct failure *f)
{
	int64_t indexes = 0, known = 0;
	int rc = ask(c,
	    "SELECT count(*) FROM sqlite_schema WHERE type = 'index'", &indexes,
	    f);

	if (rc == 0 && indexes > 0)
		rc = count_known(c, &known, f);
	if (rc < 0 || indexes == 0 || changed_rows == 0 ||
	    changed_rows < known / CHANGED_PART)
		return rc;
	rc = run(
	    c, "PRAGMA analysis_limit=" STRING(ANALYZE_ROWS) "; ANALYZE", f);
	return rc < 0 ? rc : 1;
}

int
upkeep_analyze(struct dbconn *c, int64_t changed_rows, struct failure *f)
{
	int rc;

	c->guard.internal = true;
	rc = analyze(c, changed_rows, f);
	c->guard.internal = false;
	return rc;
}

static int
vacuum(struct dbconn *c, struct failure *f)
{
	enum { INCREMENTAL = 2 }; /* pragma.html, "auto_vacuum" */
	int64_t mode = 0, pages = 0;
	int rc = ask(c, "PRAGMA auto_vacuum", &mode, f);

	if (rc == 0 && mode == INCREMENTAL)
		rc = ask(c, "PRAGMA freelist_count", &pages, f);
	if (rc < 0 || pages == 0)
		return rc;
	rc = run(c, "PRAGMA incremental_vacuum(" STRING(VACUUM_PAGES) ")", f);
	return rc < 0 ? rc : pages > VACUUM_PAGES;
}

int
upkeep_vacuum(struct dbconn *c, struct failure *f)
{
	int rc;

	c->guard.internal = true;
	rc = vacuum(c, f);
	c->guard.internal = false;
	return rc;
}
