/* commands.c - the commands that begin with a dot, one row of a table each. */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "client/cli/shell.h"

#define ARGUMENTS_MAX 50

struct command {
	const char *name;
	const char *usage; /* arguments */
	const char *text;
	int least; /* arguments, without the name */
	int most;
	enum shell_status (*run)(struct shell *shell, int n, char **args);
};

/* ---- helpers ---- */

/* "on", "yes", or a number that is not 0. */
static bool
read_bool(const char *s)
{
	if (strcasecmp(s, "on") == 0 || strcasecmp(s, "yes") == 0)
		return true;
	if (strcasecmp(s, "off") != 0 && strcasecmp(s, "no") != 0 &&
	    (*s < '0' || *s > '9'))
		fprintf(stderr,
		    "ERROR: Not a boolean value: \"%s\". Assuming \"no\".\n",
		    s);
	return strtol(s, NULL, 0) != 0;
}

static enum shell_status
query_failed(struct shell *shell)
{
	fflush(shell->out);
	fprintf(stderr, "Error: %s\n", sqlpool_get_error(shell->conn)->message);
	return SHELL_SQL_ERROR;
}

/* Run a query of our own; arg: its parameter, NULL for SQL's NULL. */
static int
query(struct shell *shell, const char *sql, const char *arg,
    struct sqlpool_result **ret_result)
{
	return sqlpool_query(
	    shell->conn, sql, SQLPOOL_VALUES(SQLPOOL_TEXT(arg)), ret_result);
}

/* ---- lists of names ---- */

struct names {
	FILE *f;
	char *text; /* owned: name after name, each with its NUL */
	size_t bytes;
	size_t n;
	size_t longest; /* bytes */
};

/* In columns, as many as fit into 80 characters, ordered downwards.  -1 when
 * memory ran out. */
static int
names_print(const struct names *names, FILE *f)
{
	size_t width = names->longest + 2;
	size_t columns = width < 80 ? 80 / width : 1;
	size_t rows = (names->n + columns - 1) / columns;
	const char **at = calloc(names->n + 1, sizeof(*at));

	if (!at)
		return -1;
	at[0] = names->text;
	for (size_t i = 1; i < names->n; i++)
		at[i] = at[i - 1] + strlen(at[i - 1]) + 1;
	for (size_t i = 0; i < rows; i++) {
		for (size_t j = i; j < names->n; j += rows)
			fprintf(f, "%s%-*s", j < rows ? "" : "  ",
			    (int)names->longest, at[j]);
		fputc('\n', f);
	}
	free(at);
	return 0;
}

static void
names_add(struct names *names, const char *name)
{
	size_t n = strlen(name);

	fwrite(name, 1, n + 1, names->f);
	if (n > names->longest)
		names->longest = n;
	names->n++;
}

static enum shell_status
print_names(struct shell *shell, const char *sql, const char *pattern)
{
	enum shell_status status = SHELL_OK;
	struct sqlpool_result *result;
	struct names names = { 0 };
	int rc = 0;

	if (query(shell, sql, pattern, &result) < 0)
		return query_failed(shell);
	names.f = open_memstream(&names.text, &names.bytes);
	while (names.f && (rc = sqlpool_next(result)) == SQLPOOL_ROW)
		names_add(&names, sqlpool_column_text(result, 0, NULL));
	if (!names.f || fclose(names.f) != 0 ||
	    (rc == 0 && names_print(&names, shell->out) < 0)) {
		fputs("Error: out of memory\n", stderr);
		status = SHELL_SQL_ERROR;
	} else if (rc < 0) {
		status = query_failed(shell);
	}
	sqlpool_result_free(result);
	free(names.text);
	return status;
}

static enum shell_status
run_tables(struct shell *shell, int n, char **args)
{
	return print_names(shell,
	    "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') "
	    "AND name NOT LIKE 'sqlite__%' ESCAPE '_' "
	    "AND name LIKE coalesce(?1, '%') ORDER BY 1",
	    n > 0 ? args[0] : NULL);
}

static enum shell_status
run_indexes(struct shell *shell, int n, char **args)
{
	return print_names(shell,
	    "SELECT name FROM sqlite_schema WHERE type = 'index' "
	    "AND tbl_name LIKE coalesce(?1, '%') ORDER BY 1",
	    n > 0 ? args[0] : NULL);
}

/* ---- .schema ---- */

/* A name as it may stand in SQL. */
static void
put_identifier(FILE *f, const char *name)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
	size_t n = strlen(name);

	if (n > 0 && strspn(name, plain) == n && !strchr("0123456789", *name) &&
	    !sqlite3_keyword_check(name, (int)n)) {
		fputs(name, f);
		return;
	}
	fputc('"', f);
	for (; *name; name++) {
		if (*name == '"')
			fputc('"', f);
		fputc(*name, f);
	}
	fputc('"', f);
}

/* sqlite3 writes a view's or virtual table's columns behind it. */
static int
print_columns(struct shell *shell, const char *name)
{
	struct sqlpool_result *result;
	int columns_n = 0, rc;

	if (query(shell, "SELECT name FROM pragma_table_info(?1)", name,
		&result) < 0)
		return 0; /* the definition itself was printed */
	while ((rc = sqlpool_next(result)) == SQLPOOL_ROW) {
		fputs(columns_n == 0 ? "\n/* " : ",", shell->out);
		if (columns_n++ == 0) {
			put_identifier(shell->out, name);
			fputc('(', shell->out);
		}
		put_identifier(
		    shell->out, sqlpool_column_text(result, 0, NULL));
	}
	if (columns_n > 0)
		fputs(") */", shell->out);
	sqlpool_result_free(result);
	return rc;
}

/* A quoted name behind CREATE TABLE gets IF NOT EXISTS: it may be a virtual
 * table's own. */
static void
print_definition(FILE *f, const char *sql)
{
	static const char create[] = "CREATE TABLE ";
	size_t n = sizeof(create) - 1;

	if (strncasecmp(sql, create, n) == 0 &&
	    (sql[n] == '\'' || sql[n] == '"')) {
		fprintf(f, "%sIF NOT EXISTS ", create);
		sql += n;
	}
	fputs(sql, f);
}

static enum shell_status
run_schema(struct shell *shell, int n, char **args)
{
	enum shell_status status = SHELL_OK;
	struct sqlpool_result *result;
	int rc;

	if (query(shell,
		"SELECT sql, name, type = 'view' OR "
		"sql LIKE 'CREATE VIRTUAL TABLE%' FROM sqlite_schema "
		"WHERE sql NOT NULL AND (?1 IS NULL OR tbl_name LIKE ?1) "
		"ORDER BY rowid",
		n > 0 ? args[0] : NULL, &result) < 0)
		return query_failed(shell);
	while ((rc = sqlpool_next(result)) == SQLPOOL_ROW) {
		print_definition(
		    shell->out, sqlpool_column_text(result, 0, NULL));
		if (sqlpool_column_int64(result, 2) != 0)
			rc = print_columns(
			    shell, sqlpool_column_text(result, 1, NULL));
		fputs(";\n", shell->out);
		if (rc < 0)
			break;
	}
	if (rc < 0)
		status = query_failed(shell);
	sqlpool_result_free(result);
	return status;
}

/* ---- how rows are printed ---- */

static enum shell_status
run_mode(struct shell *shell, int n, char **args)
{
	const struct output_mode *mode;

	if (n == 0) {
		fprintf(shell->out, "current output mode: %s\n",
		    output_mode_name(shell->style.mode));
		return SHELL_OK;
	}
	mode = output_find_mode(args[0]);
	if (mode) {
		output_style_set_mode(&shell->style, mode, true);
		return SHELL_OK;
	}
	fputs("Error: mode should be one of:", stderr);
	for (size_t i = 0; output_get_mode_name(i); i++)
		fprintf(stderr, " %s", output_get_mode_name(i));
	fputc('\n', stderr);
	return SHELL_SQL_ERROR;
}

static enum shell_status
run_headers(struct shell *shell, int n, char **args)
{
	(void)n;
	shell->style.header = read_bool(args[0]);
	shell->style.header_set = true;
	return SHELL_OK;
}

static enum shell_status
run_nullvalue(struct shell *shell, int n, char **args)
{
	(void)n;
	snprintf(shell->style.null_text, sizeof(shell->style.null_text), "%s",
	    args[0]);
	return SHELL_OK;
}

static enum shell_status
run_separator(struct shell *shell, int n, char **args)
{
	snprintf(
	    shell->style.col_sep, sizeof(shell->style.col_sep), "%s", args[0]);
	if (n > 1)
		snprintf(shell->style.row_sep, sizeof(shell->style.row_sep),
		    "%s", args[1]);
	return SHELL_OK;
}

/* ---- the shell itself ---- */

static enum shell_status
run_bail(struct shell *shell, int n, char **args)
{
	(void)n;
	shell->bail = read_bool(args[0]);
	return SHELL_OK;
}

static enum shell_status
run_echo(struct shell *shell, int n, char **args)
{
	(void)n;
	shell->echo = read_bool(args[0]);
	return SHELL_OK;
}

static enum shell_status
run_print(struct shell *shell, int n, char **args)
{
	for (int i = 0; i < n; i++)
		fprintf(shell->out, "%s%s", i > 0 ? " " : "", args[i]);
	fputc('\n', shell->out);
	return SHELL_OK;
}

static enum shell_status
run_quit(struct shell *shell, int n, char **args)
{
	(void)shell;
	(void)n;
	(void)args;
	return SHELL_QUIT;
}

static enum shell_status
run_read(struct shell *shell, int n, char **args)
{
	FILE *f = fopen(args[0], "re");
	enum shell_status status;

	(void)n;
	if (!f) {
		fprintf(stderr, "Error: cannot open \"%s\"\n", args[0]);
		return SHELL_SQL_ERROR;
	}
	status = shell_run_file(shell, f);
	fclose(f);
	return status;
}

static enum shell_status
run_script(struct shell *shell, int n, char **args)
{
	(void)n;
	return shell_run_atomic(shell, args[0]);
}

static enum shell_status
run_server(struct shell *shell, int n, char **args)
{
	const struct sqlpool_server *server = sqlpool_get_server(shell->conn);

	(void)n;
	(void)args;
	fprintf(shell->out,
	    "  daemon: %s\n  sqlite: %s\n  socket: %s\ndatabase: %s\n",
	    server->server, server->sqlite, server->socket_path,
	    server->database);
	return SHELL_OK;
}

/* A path as the daemon, which has another directory, has to know it. */
static char *
make_absolute(const char *path)
{
	char *dir, *out = NULL;

	if (path[0] == '/')
		return strdup(path);
	dir = getcwd(NULL, 0);
	if (dir == NULL || asprintf(&out, "%s/%s", dir, path) < 0)
		out = NULL;
	free(dir);
	return out;
}

/* The daemon makes the copy; it is asked on a connection of its own. */
static enum shell_status
run_backup(struct shell *shell, int n, char **args)
{
	struct sqlpool_options options = shell->options;
	const char *database = sqlpool_get_server(shell->conn)->database;
	struct sqlpool_result *result = NULL;
	struct sqlpool_conn *conn = NULL;
	char *path = make_absolute(args[0]);
	char *sql = NULL;
	int rc = -1;

	(void)n;
	if (path != NULL)
		sql = sqlite3_mprintf(
		    "BACKUP \"%w\" TO %Q VERIFY", database, path);
	options.database = "@admin";
	if (sql != NULL)
		rc = sqlpool_open(&options, &conn);
	if (rc == 0)
		rc = sqlpool_query(conn, sql, NULL, 0, &result);
	if (rc < 0)
		fprintf(stderr, "Error: %s\n",
		    sql == NULL ? "out of memory"
				: sqlpool_get_error(conn)->message);
	sqlpool_result_free(result);
	sqlpool_close(conn);
	sqlite3_free(sql);
	free(path);
	return rc < 0 ? SHELL_SQL_ERROR : SHELL_OK;
}

static enum shell_status run_help(struct shell *shell, int n, char **args);

/* clang-format off */
static const struct command commands[] = {
	{ "backup",    "FILE",         "Have the daemon write a verified copy of the database to FILE", 1, 1, run_backup },
	{ "bail",      "on|off",       "Stop after hitting an error", 1, 1, run_bail },
	{ "echo",      "on|off",       "Print what is run", 1, 1, run_echo },
	{ "exit",      "",             "Exit this program", 0, 1, run_quit },
	{ "headers",   "on|off",       "Turn display of headers on or off", 1, 1, run_headers },
	{ "help",      "",             "Show this list", 0, 1, run_help },
	{ "indexes",   "?TABLE?",      "Show names of indexes", 0, 1, run_indexes },
	{ "mode",      "?MODE?",       "Set or show the output mode", 0, 1, run_mode },
	{ "nullvalue", "STRING",       "Use STRING in place of NULL values", 1, 1, run_nullvalue },
	{ "print",     "STRING...",    "Print literal STRING", 0, ARGUMENTS_MAX, run_print },
	{ "quit",      "",             "Exit this program", 0, 0, run_quit },
	{ "read",      "FILE",         "Read input from FILE", 1, 1, run_read },
	{ "schema",    "?PATTERN?",    "Show the CREATE statements of tables like PATTERN", 0, 1, run_schema },
	{ "script",    "FILE",         "Run FILE in one request: all of it or nothing", 1, 1, run_script },
	{ "separator", "COL ?ROW?",    "Change the column and row separators", 1, 2, run_separator },
	{ "server",    "",             "Show which daemon this is", 0, 0, run_server },
	{ "tables",    "?PATTERN?",    "List names of tables like PATTERN", 0, 1, run_tables },
};
/* clang-format on */

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static enum shell_status
run_help(struct shell *shell, int n, char **args)
{
	(void)n;
	(void)args;
	for (size_t i = 0; i < COMMANDS; i++) {
		int width = fprintf(
		    shell->out, ".%s %s", commands[i].name, commands[i].usage);

		fprintf(shell->out, "%*s%s\n", width < 24 ? 24 - width : 1, "",
		    commands[i].text);
	}
	return SHELL_OK;
}

/* A name may be shortened as long as it is nobody else's beginning; the first
 * of the table wins, as .h means .headers. */
static const struct command *
find_command(const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < COMMANDS; i++)
		if (n > 0 && strcmp(commands[i].name, name) == 0)
			return &commands[i];
	for (size_t i = 0; i < COMMANDS; i++)
		if (n > 0 && strncmp(commands[i].name, name, n) == 0)
			return &commands[i];
	return NULL;
}

/* Replace the escapes of a string in double quotes, in place. */
static void
resolve_escapes(char *s)
{
	char *to = s;

	for (; *s; s++) {
		static const char from[] = "abtnvfr\"\\'";
		static const char into[] = "\a\b\t\n\v\f\r\"\\'";
		const char *at;

		if (*s != '\\' || !s[1]) {
			*to++ = *s;
			continue;
		}
		s++;
		at = strchr(from, *s);
		if (at) {
			*to++ = into[at - from];
		} else if (*s >= '0' && *s <= '7') {
			int v = 0;
			int digits = 0;

			while (digits++ < 3 && *s >= '0' && *s <= '7')
				v = v * 8 + (*s++ - '0');
			s--;
			*to++ = (char)v;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* Cut a line into words, which may be quoted; in place. */
static int
split_words(char *line, char **words)
{
	int n = 0;

	while (n < ARGUMENTS_MAX) {
		char quote = 0;

		line += strspn(line, " \t\n\v\f\r");
		if (!*line)
			break;
		if (*line == '"' || *line == '\'')
			quote = *line++;
		words[n++] = line;
		if (!quote) {
			line += strcspn(line, " \t\n\v\f\r");
		} else {
			while (*line && *line != quote)
				line += quote == '"' && *line == '\\' && line[1]
				    ? 2
				    : 1;
		}
		if (*line)
			*line++ = '\0';
		if (quote != '\'')
			resolve_escapes(words[n - 1]);
	}
	return n;
}

enum shell_status
shell_run_command(struct shell *shell, char *line)
{
	char *words[ARGUMENTS_MAX];
	int n = split_words(line + 1, words);
	const struct command *command = n > 0 ? find_command(words[0]) : NULL;
	enum shell_status status;

	if (n == 0)
		return SHELL_OK;
	if (!command) {
		fflush(shell->out);
		fprintf(stderr,
		    "Error: unknown command or invalid arguments:  \"%s\". "
		    "Enter \".help\" for help\n",
		    words[0]);
		return SHELL_SQL_ERROR;
	}
	if (n - 1 < command->least || n - 1 > command->most) {
		fflush(shell->out);
		fprintf(
		    stderr, "Usage: .%s %s\n", command->name, command->usage);
		return SHELL_SQL_ERROR;
	}
	status = shell_connect(shell);
	return status == SHELL_OK ? command->run(shell, n - 1, words + 1)
				  : status;
}
