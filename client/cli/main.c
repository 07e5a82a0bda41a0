/* main.c - sqlpool-cli: its options, and what it runs.
 *
 *	sqlpool-cli [OPTIONS] [DATABASE] [SQL ...]
 *
 * SQL that is given runs; else a script on standard input; else a prompt. */
#include <locale.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/shell.h"
#include "client/cli/top.h"

/* A person waits as long as it takes. */
#define REQUEST_TIMEOUT_MS (24U * 3600 * 1000)

#define NAME_CHARS                   \
	"abcdefghijklmnopqrstuvwxyz" \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZ" \
	"0123456789_.-@"

struct arguments {
	char **sql; /* owned; what it points to is argv's */
	int sql_n;
	char **commands; /* -cmd; in the same memory */
	int commands_n;
	bool batch;
	bool interactive;
	enum shell_status (*watch)(struct shell *shell); /* -top, -stat */
};

static const char help[] =
    "Usage: sqlpool-cli [OPTIONS] [DATABASE] [SQL ...]\n"
    "DATABASE is a name the daemon serves; it may be left out when there is\n"
    "only one.  Without SQL a script is read from standard input.\n"
    "OPTIONS include:\n"
    "   -s SOCKET            path of the daemon's socket; default:\n"
    "                        $SQLPOOL_SOCKET, else $XDG_RUNTIME_DIR/"
    "sqlpoold.sock,\n"
    "                        else /run/sqlpoold/sqlpoold.sock\n"
    "   -ascii               set output mode to 'ascii'\n"
    "   -bail                stop after hitting an error\n"
    "   -batch               force batch I/O\n"
    "   -box                 set output mode to 'box'\n"
    "   -cmd COMMAND         run \"COMMAND\" before the rest\n"
    "   -column              set output mode to 'column'\n"
    "   -csv                 set output mode to 'csv'\n"
    "   -echo                print inputs before execution\n"
    "   -stat                print a line of the daemon's figures each second\n"
    "   -top                 show what the daemon does, live\n"
    "   -[no]header          turn headers on or off\n"
    "   -help                show this message\n"
    "   -html                set output mode to HTML\n"
    "   -interactive         force interactive I/O\n"
    "   -json                set output mode to 'json'\n"
    "   -line                set output mode to 'line'\n"
    "   -list                set output mode to 'list'\n"
    "   -markdown            set output mode to 'markdown'\n"
    "   -metrics             print the daemon's metrics, for Prometheus\n"
    "   -newline SEP         set output row separator. Default: '\\n'\n"
    "   -nullvalue TEXT      set text string for NULL values. Default ''\n"
    "   -quote               set output mode to 'quote'\n"
    "   -separator SEP       set output column separator. Default: '|'\n"
    "   -table               set output mode to 'table'\n"
    "   -tabs                set output mode to 'tabs'\n"
    "   -version             show versions\n";

enum shell_status
shell_connect(struct shell *shell)
{
	if (shell->conn)
		return SHELL_OK;
	if (sqlpool_open(&shell->options, &shell->conn) == 0)
		return SHELL_OK;
	fflush(shell->out);
	fprintf(stderr, "Error: %s\n", sqlpool_get_error(shell->conn)->message);
	sqlpool_close(shell->conn);
	shell->conn = NULL;
	return SHELL_NO_CONNECTION;
}

/* ---- options ---- */

/* What a database can be called (conf/conf.h); anything else is SQL. */
static bool
is_database_name(const char *s)
{
	return s[0] && s[0] != '.' && s[strspn(s, NAME_CHARS)] == '\0';
}

/* Is it what sqlite3 would be given?  SQL may hold a '/' as well, but then also
 * something that is in no plain path. */
static bool
is_file(const char *s)
{
	const char *end = s + strspn(s, NAME_CHARS "/");

	if (strchr(s, '/') && *end == '\0')
		return true;
	return s[0] != '.' && access(s, F_OK) == 0;
}

static void
usage_error(const char *what, const char *option)
{
	fprintf(stderr,
	    "sqlpool-cli: Error: %s: %s\nUse -help for a list of options.\n",
	    what, option);
	exit(SHELL_NO_CONNECTION);
}

static void
set_text(char to[OUTPUT_TEXT_MAX], const char *from)
{
	snprintf(to, OUTPUT_TEXT_MAX, "%s", from);
}

/* Options with an argument.  False: it is none of them. */
static bool
take_valued(struct shell *shell, struct arguments *arguments, const char *name,
    char *value)
{
	if (strcmp(name, "s") == 0)
		shell->options.socket_path = value;
	else if (strcmp(name, "separator") == 0)
		set_text(shell->style.col_sep, value);
	else if (strcmp(name, "newline") == 0)
		set_text(shell->style.row_sep, value);
	else if (strcmp(name, "nullvalue") == 0)
		set_text(shell->style.null_text, value);
	else if (strcmp(name, "cmd") == 0)
		arguments->commands[arguments->commands_n++] = value;
	else
		return false;
	return true;
}

static bool
has_value(const char *name)
{
	static const char *const names[] = { "s", "separator", "newline",
		"nullvalue", "cmd" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* As if it were asked for by name, and its lines alone. */
static void
take_metrics(struct shell *shell, struct arguments *arguments)
{
	static char sql[] = "SHOW METRICS";

	output_style_set_mode(&shell->style, output_find_mode("list"), false);
	shell->style.header = false;
	shell->style.header_set = true;
	shell->options.database = "@admin";
	arguments->sql[arguments->sql_n++] = sql;
}

static void
take_flag(struct shell *shell, struct arguments *arguments, const char *name)
{
	const struct output_mode *mode = output_find_mode(name);

	if (mode) {
		output_style_set_mode(&shell->style, mode, false);
	} else if (strcmp(name, "header") == 0 ||
	    strcmp(name, "noheader") == 0) {
		shell->style.header = name[0] == 'h';
		shell->style.header_set = true;
	} else if (strcmp(name, "bail") == 0) {
		shell->bail = true;
	} else if (strcmp(name, "echo") == 0) {
		shell->echo = true;
	} else if (strcmp(name, "batch") == 0) {
		arguments->batch = true;
	} else if (strcmp(name, "interactive") == 0) {
		arguments->interactive = true;
	} else if (strcmp(name, "metrics") == 0) {
		take_metrics(shell, arguments);
	} else if (strcmp(name, "top") == 0 || strcmp(name, "stat") == 0) {
		arguments->watch = name[0] == 't' ? top_run : stat_run;
		shell->options.database = "@admin";
	} else if (strcmp(name, "version") == 0) {
		printf("sqlpool-cli %s (SQLite %s)\n", sqlpool_get_version(),
		    sqlite3_libversion());
		exit(SHELL_OK);
	} else if (strcmp(name, "help") == 0) {
		fputs(help, stdout);
		exit(SHELL_OK);
	} else {
		usage_error("unknown option", name);
	}
}

/* Options may stand anywhere; the first other argument is the database, if it
 * can be one. */
static void
read_arguments(
    struct shell *shell, struct arguments *arguments, int argc, char **argv)
{
	bool only_sql = false;

	for (int i = 1; i < argc; i++) {
		const char *name = argv[i];

		if (name[0] != '-' || only_sql) {
			if (arguments->sql_n == 0 && !shell->options.database &&
			    is_database_name(name))
				shell->options.database = name;
			else
				arguments->sql[arguments->sql_n++] = argv[i];
			continue;
		}
		name += name[1] == '-' ? 2 : 1;
		if (!*name && argv[i][1] == '-') {
			only_sql = true;
			continue;
		}
		if (!has_value(name)) {
			take_flag(shell, arguments, name);
			continue;
		}
		if (i + 1 == argc)
			usage_error("missing argument to", argv[i]);
		take_valued(shell, arguments, name, argv[++i]);
	}
}

/* ---- the commonest mistake ---- */

/* Put what the daemon serves behind a colon; nothing if it does not say. */
static void
put_databases(struct sqlpool_conn *conn)
{
	struct sqlpool_result *result = NULL;
	const char *before = ": ";

	if (sqlpool_query(conn, "SHOW DATABASES", NULL, 0, &result) < 0)
		return;
	while (sqlpool_next(result) == SQLPOOL_ROW) {
		const char *name = sqlpool_column_text(result, 0, NULL);

		fprintf(stderr, "%s%s", before, name ? name : "?");
		before = ", ";
	}
	sqlpool_result_free(result);
}

/* Say what stands there instead.  Without a daemon the error of connecting comes
 * first: it says how to start one. */
static enum shell_status
refuse_file(struct shell *shell, const char *name)
{
	enum shell_status status;

	shell->options.database = "@admin";
	status = shell_connect(shell);
	fprintf(stderr,
	    "Error: \"%s\" is a %s; the first argument is the name of a "
	    "database that the daemon serves",
	    name, access(name, F_OK) == 0 ? "file" : "path");
	if (status == SHELL_OK)
		put_databases(shell->conn);
	fputc('\n', stderr);
	return SHELL_NO_CONNECTION;
}

/* ---- running ---- */

static enum shell_status
run_text(struct shell *shell, char *text)
{
	struct shell_place place = { .origin = SHELL_ARGUMENT };

	if (text[0] == '.')
		return shell_run_command(shell, text);
	return shell_run_sql(shell, text, &place);
}

static enum shell_status
run_all(struct shell *shell, const struct arguments *arguments)
{
	enum shell_status status;

	for (int i = 0; i < arguments->commands_n; i++) {
		status = run_text(shell, arguments->commands[i]);
		if (status >= SHELL_NO_CONNECTION ||
		    (status != SHELL_OK && shell->bail))
			return status;
	}
	for (int i = 0; i < arguments->sql_n; i++) {
		status = run_text(shell, arguments->sql[i]);
		if (status != SHELL_OK)
			return status;
	}
	if (arguments->sql_n > 0)
		return SHELL_OK;
	if (!shell->interactive)
		return shell_run_file(shell, stdin);
	printf("sqlpool-cli %s, database \"%s\" at %s (%s, SQLite %s)\n"
	       "Enter \".help\" for usage hints.\n",
	    sqlpool_get_version(), sqlpool_get_server(shell->conn)->database,
	    sqlpool_get_server(shell->conn)->socket_path,
	    sqlpool_get_server(shell->conn)->server,
	    sqlpool_get_server(shell->conn)->sqlite);
	shell_catch_interrupts(NULL);
	(void)shell_run_file(shell, NULL);
	return SHELL_OK;
}

int
main(int argc, char **argv)
{
	struct shell shell = { .options = SQLPOOL_OPTIONS, .out = stdout };
	struct arguments arguments = { 0 };
	enum shell_status status;

	/* for the line editor; numbers keep their points */
	setlocale(LC_CTYPE, "");
	output_style_init(&shell.style);
	arguments.sql = calloc(2 * (size_t)argc, sizeof(char *));
	if (!arguments.sql)
		return SHELL_SQL_ERROR;
	arguments.commands = arguments.sql + argc;
	shell.options.app_name = "sqlpool-cli";
	shell.options.request_timeout_ms = REQUEST_TIMEOUT_MS;
	read_arguments(&shell, &arguments, argc, argv);
	shell.interactive = arguments.sql_n == 0 && !arguments.batch &&
	    (arguments.interactive || isatty(STDIN_FILENO));

	if (!shell.options.database && arguments.sql_n > 0 &&
	    is_file(arguments.sql[0]))
		status = refuse_file(&shell, arguments.sql[0]);
	else
		status = shell_connect(&shell);
	if (status == SHELL_OK && arguments.watch)
		status = arguments.watch(&shell);
	else if (status == SHELL_OK)
		status = run_all(&shell, &arguments);
	if (status == SHELL_QUIT)
		status = SHELL_OK;
	if (fflush(stdout) != 0 && status == SHELL_OK) {
		perror("Error: cannot write the output");
		status = SHELL_SQL_ERROR;
	}
	sqlpool_close(shell.conn);
	free(arguments.sql);
	return (int)status;
}
