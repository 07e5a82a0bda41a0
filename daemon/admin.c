/* admin.c - SHOW commands. */
#include "daemon/admin.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "daemon/stats.h"
#include "proto/error.h"
#include "proto/value.h"

#define WORDS_BYTES 64
#define COLUMNS_MAX 8

struct command {
	const char *words;
	const char *columns[COLUMNS_MAX];
	void (*put_rows)(struct dbs *dbs, struct answer *a);
	const char *text;
};

static void put_help(struct dbs *dbs, struct answer *a);

static void
put_cstr(struct buf *b, const char *s)
{
	value_put_text(b, s, strlen(s));
}

static void
put_databases(struct dbs *dbs, struct answer *a)
{
	for (struct db *db = dbs_next(dbs, NULL); db; db = dbs_next(dbs, db)) {
		bool open = db_hold(db);

		value_put_array(a->out, 5);
		put_cstr(a->out, db->conf->name);
		put_cstr(a->out, db->conf->path);
		put_cstr(a->out,
		    db->conf->access == CONF_ACCESS_SHARED ? "shared"
							   : "exclusive");
		value_put_uint(a->out,
		    open ? atomic_load(writer_get_seq(db->writer))
			 : atomic_load(&db->seq));
		value_put_uint(
		    a->out, open ? writer_get_queue_n(db->writer) : 0);
		a->rows_n++;
		if (open)
			db_release(db);
	}
}

static void
put_stat(struct answer *a, const char *name, uint64_t v, const char *database,
    const char *text)
{
	value_put_array(a->out, 4);
	put_cstr(a->out, name);
	value_put_uint(a->out, v);
	if (database)
		put_cstr(a->out, database);
	else
		value_put_nil(a->out);
	put_cstr(a->out, text);
	a->rows_n++;
}

static void
put_db_stats(struct answer *a, const struct stats_db *db)
{
	struct stats_total total = { 0 };

	stats_add_total(db, &total);
	for (int i = 0; i < DB_STAT_N; i++)
		put_stat(a, stats_get_db_stat_name((enum stats_db_id)i),
		    total.counts[i], stats_get_db_name(db),
		    stats_get_db_stat_text((enum stats_db_id)i));
}

static void
put_stats(struct dbs *dbs, struct answer *a)
{
	(void)dbs;
	for (int i = 0; i < STAT_N; i++)
		put_stat(a, stats_get_name((enum stats_id)i),
		    stats_get((enum stats_id)i), NULL,
		    stats_get_text((enum stats_id)i));
	for (struct stats_db *db = stats_next_db(NULL); db;
	     db = stats_next_db(db))
		put_db_stats(a, db);
}

/* Errors that nobody had are left out. */
static void
put_errors(struct dbs *dbs, struct answer *a)
{
	(void)dbs;
	for (size_t i = 0; i < ERROR_INDEX_N; i++) {
		uint64_t n = stats_get_error(i);
		int code = error_get_code(i);

		if (n == 0)
			continue;
		value_put_array(a->out, 4);
		value_put_int(a->out, code);
		put_cstr(a->out, error_get_name(code));
		put_cstr(a->out,
		    error_get_class_name((uint64_t)error_get_class(code)));
		value_put_uint(a->out, n);
		a->rows_n++;
	}
}

static void
put_distribution(struct answer *a, const char *database,
    enum stats_hist_id which, enum stats_road road, const struct stats_sum *sum)
{
	uint64_t n = stats_get_observed(sum);

	if (n == 0)
		return;
	value_put_array(a->out, 7);
	put_cstr(a->out, database);
	put_cstr(a->out, stats_get_hist_name(which));
	if (stats_is_by_road(which))
		put_cstr(a->out, stats_get_road_name(road));
	else
		value_put_nil(a->out);
	value_put_uint(a->out, n);
	value_put_real(a->out, (double)sum->sum / (double)n);
	value_put_uint(a->out, stats_get_quantile(which, sum, 0.5));
	value_put_uint(a->out, stats_get_quantile(which, sum, 0.99));
	a->rows_n++;
}

static void
put_hists(struct answer *a, const struct stats_db *db)
{
	struct stats_total total = { 0 };
	const char *name = stats_get_db_name(db);

	stats_add_total(db, &total);
	for (int i = 0; i < HIST_N; i++)
		for (int road = 0; road < STATS_ROADS_N; road++)
			put_distribution(a, name, (enum stats_hist_id)i,
			    (enum stats_road)road, &total.hists[i][road]);
}

static void
put_latency(struct dbs *dbs, struct answer *a)
{
	(void)dbs;
	for (struct stats_db *db = stats_next_db(NULL); db;
	     db = stats_next_db(db))
		put_hists(a, db);
}

static void
put_version(struct dbs *dbs, struct answer *a)
{
	(void)dbs;
	value_put_array(a->out, 2);
	put_cstr(a->out, "sqlpoold " SQLPOOLD_VERSION);
	put_cstr(a->out, dbconn_get_library_version());
	a->rows_n++;
}

/* clang-format off */
static const struct command commands[] = {
	{ "SHOW DATABASES", { "name", "path", "access", "commits", "queue" },
	  put_databases, "what is served" },
	{ "SHOW STATS", { "name", "value", "database", "text" },
	  put_stats, "counters since the start: of the daemon, then of each database" },
	{ "SHOW LATENCY", { "database", "what", "road", "n", "mean", "p50", "p99" },
	  put_latency, "how long requests wait and run, in microseconds, and how many share" },
	{ "SHOW ERRORS", { "code", "name", "class", "n" },
	  put_errors, "replies with an error since the start, by code" },
	{ "SHOW VERSION", { "server", "sqlite" },
	  put_version, "versions" },
	{ "SHOW HELP", { "command", "text" },
	  put_help, "this list" },
};
/* clang-format on */

static void
put_help(struct dbs *dbs, struct answer *a)
{
	(void)dbs;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		value_put_array(a->out, 2);
		put_cstr(a->out, commands[i].words);
		put_cstr(a->out, commands[i].text);
		a->rows_n++;
	}
}

/* Copy the text with single spaces between words and without a semicolon. */
static void
tidy(struct span sql, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < sql.n && n + 1 < WORDS_BYTES; i++) {
		char ch = (char)sql.p[i];

		if (ch == ';')
			break;
		if (!isspace((unsigned char)ch))
			out[n++] = ch;
		else if (n > 0 && out[n - 1] != ' ')
			out[n++] = ' ';
	}
	while (n > 0 && out[n - 1] == ' ')
		n--;
	out[n] = '\0';
}

static const struct command *
find_command(const char *words)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcasecmp(words, commands[i].words) == 0)
			return &commands[i];
	return NULL;
}

void
admin_run(struct dbs *dbs, struct request *r, struct buf *b)
{
	const struct command *cmd;
	char words[WORDS_BYTES];
	struct answer a;
	uint32_t n = 0;

	tidy(r->sql, words);
	cmd = r->type == TYPE_EXEC ? find_command(words) : NULL;
	answer_init(&a, r, b);
	if (!cmd) {
		failure_set(&r->failure, ERR_NOT_ALLOWED,
		    "@admin does not know \"%s\"; EXEC \"SHOW HELP\" lists "
		    "what it knows",
		    words);
		answer_finish(&a);
		return;
	}
	answer_open(&a);
	while (n < COLUMNS_MAX && cmd->columns[n])
		n++;
	msg_key(&a.frame, TELL_columns);
	value_put_array(b, n);
	for (uint32_t i = 0; i < n; i++)
		put_cstr(b, cmd->columns[i]);
	answer_open_rows(&a);
	cmd->put_rows(dbs, &a);
	answer_finish(&a);
}
