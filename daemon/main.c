/* main.c - arguments, start order, and stop order, which is its mirror. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/conf.h"
#include "daemon/again.h"
#include "daemon/db.h"
#include "daemon/files.h"
#include "daemon/listen.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/retire.h"
#include "daemon/runas.h"
#include "daemon/server.h"
#include "daemon/stats.h"

static const char usage_text[] =
    "usage: sqlpoold [-c FILE] [-s SOCKET] [-u USER] [-o NAME=VALUE]\n"
    "                [[NAME=]PATH ...]\n"
    "       sqlpoold -t | -T[=changed] [the same]\n"
    "\n"
    "Serve SQLite databases to many processes over a Unix socket.\n"
    "\n"
    "  -c, --config FILE        read the configuration (sqlpoold.conf(5))\n"
    "  -s, --socket SOCKET      listen here; else $SQLPOOL_SOCKET, the\n"
    "                           configuration, $XDG_RUNTIME_DIR/sqlpoold.sock,\n"
    "                           or a directory of your own under /tmp\n"
    "  -u, --user USER          run as this user; needed by root\n"
    "  -o, --option NAME=VALUE  set an option as in the configuration file;\n"
    "                           DATABASE.NAME=VALUE sets it for one database\n"
    "  -t, --test               test the configuration and its paths, and end\n"
    "  -T, --print[=changed]    print the configuration in force, or only what\n"
    "                           differs from the defaults, and end\n"
    "  -v, --verbose            log more\n"
    "  -V, --version            print the version\n"
    "  -h, --help               print this\n"
    "\n"
    "A database is served under NAME, by default its file's name without .db.\n"
    "Example: sqlpoold ./app.db\n";

static int
fail(const char *what)
{
	fprintf(stderr, "sqlpoold: %s\n", what);
	return -1;
}

static void
say_problem(const char *line)
{
	fail(line);
}

enum mode { MODE_SERVE, MODE_TEST, MODE_PRINT, MODE_PRINT_CHANGED };

struct args {
	int argc;
	char **argv;
	const char *file;
	enum mode mode;
	int exit_status; /* -1: go on */
	int first_db;    /* index of the first database in argv */
};

static const struct option long_options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "socket", required_argument, NULL, 's' },
	{ "user", required_argument, NULL, 'u' },
	{ "option", required_argument, NULL, 'o' },
	{ "test", no_argument, NULL, 't' },
	{ "print", optional_argument, NULL, 'T' },
	{ "verbose", no_argument, NULL, 'v' },
	{ "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static int
next_option(int argc, char **argv)
{
	return getopt_long(argc, argv, "c:s:u:o:tT::vVh", long_options, NULL);
}

static void
end_with(struct args *args, int exit_status)
{
	args->exit_status = exit_status;
	fputs(usage_text, exit_status ? stderr : stdout);
}

static void
choose_print(struct args *args, const char *what)
{
	if (what && what[0] == '=') /* -T=changed, as it is without getopt */
		what++;
	args->mode = what ? MODE_PRINT_CHANGED : MODE_PRINT;
	if (what && strcmp(what, "changed") != 0)
		end_with(args, 2);
}

/* What is not an option of the configuration. */
static void
read_args(int argc, char **argv, struct args *args)
{
	int opt;

	while (args->exit_status < 0 && (opt = next_option(argc, argv)) != -1) {
		switch (opt) {
		case 'c':
			args->file = optarg;
			break;
		case 't':
			args->mode = MODE_TEST;
			break;
		case 'T':
			choose_print(args, optarg);
			break;
		case 'V':
			printf("sqlpoold %s (SQLite %s)\n", SQLPOOLD_VERSION,
			    dbconn_get_library_version());
			args->exit_status = 0;
			break;
		case 'h':
			end_with(args, 0);
			break;
		case 's':
		case 'u':
		case 'o':
		case 'v':
			break;
		default:
			end_with(args, 2);
			break;
		}
	}
	args->first_db = optind;
}

static int
set_option(struct conf *conf, char *arg, char err[CONF_ERR_MAX])
{
	char *value = arg ? strchr(arg, '=') : NULL;
	int rc;

	if (!value) {
		snprintf(
		    err, CONF_ERR_MAX, "-o %s: write it as NAME=VALUE", arg);
		return -1;
	}
	*value = '\0';
	rc = conf_set(conf, arg, value + 1, err);
	*value = '='; /* it may be read again */
	return rc;
}

static int
read_command_line(
    int argc, char **argv, struct conf *conf, char err[CONF_ERR_MAX])
{
	int opt, rc = 0;

	optind = 1;
	while (rc == 0 && (opt = next_option(argc, argv)) != -1) {
		if (opt == 'o')
			rc = set_option(conf, optarg, err);
		else if (opt == 's')
			rc = conf_set(conf, "socket", optarg, err);
		else if (opt == 'u')
			rc = conf_set(conf, "user", optarg, err);
		else if (opt == 'v')
			rc = conf_set(conf, "log_level", "debug", err);
	}
	return rc;
}

/* Later ones win: the file, the environment, the command line.  Databases of the
 * command line come before its options, which may be for one of them. */
static int
read_conf(const struct args *args, struct conf *conf, char err[CONF_ERR_MAX])
{
	int rc = 0;

	if (args->file)
		rc = conf_read_file(conf, args->file, err);
	if (rc == 0)
		rc = conf_read_environment(conf, environ, err);
	for (int i = args->first_db; rc == 0 && i < args->argc; i++)
		rc = conf_add_db(conf, args->argv[i], err);
	if (rc == 0)
		rc = read_command_line(args->argc, args->argv, conf, err);
	if (rc == 0)
		rc = conf_check(conf, err);
	if (rc == 0 && conf->db_n == 0 && conf->directory[0] == '\0' &&
	    args->mode != MODE_PRINT && args->mode != MODE_PRINT_CHANGED) {
		snprintf(err, CONF_ERR_MAX,
		    "no database to serve: name one, as in \"sqlpoold "
		    "./app.db\", or give a configuration with -c FILE");
		rc = -1;
	}
	return rc;
}

/* --- Reading it again --------------------------------------------------------- */

struct reloading {
	const struct args *args;
	struct dbs *dbs;
	struct server *server;
};

static void
log_refusal(const char *line)
{
	log_error("not reloaded, nothing has changed: %s", line);
	again_say(line);
}

static void
log_restart(void *arg, const char *line)
{
	(void)arg;
	log_warn("reload: %s", line);
	again_say(line);
}

static int
refuse_memory(void)
{
	log_refusal("out of memory");
	return -1;
}

/* From here on it is in force.  Workers may be looking at the lists that were. */
static int
put_in_force(const struct reloading *r, struct conf *fresh)
{
	struct conf_changes changes = { .say = log_restart };
	struct retire *retire = server_new_retire(r->server);

	if (!retire)
		return refuse_memory();
	if (dbs_reload(r->dbs, fresh, &changes) < 0) {
		retire_start(retire, NULL);
		return refuse_memory();
	}
	retire_start(retire, changes.replaced);
	return 0;
}

/* All of it, or nothing. */
static int
read_again(const struct reloading *r, struct conf *fresh)
{
	char err[CONF_ERR_MAX] = "out of memory";

	if (!fresh || read_conf(r->args, fresh, err) < 0 ||
	    files_fit(fresh, err) < 0) {
		log_refusal(err);
		return -1;
	}
	if (conf_check_places(fresh, log_refusal) > 0)
		return -1;
	return put_in_force(r, fresh);
}

static void
reload(void *arg)
{
	const struct reloading *r = arg;
	struct conf *fresh = conf_new();
	int rc;

	again_begin();
	rc = read_again(r, fresh);
	if (rc == 0) {
		stats_add(STAT_reloads, 1);
		log_info("the configuration is reloaded");
	}
	again_end(rc == 0 ? 0 : ERR_NOT_ALLOWED);
	conf_free(fresh);
}

/* --- Serving ------------------------------------------------------------------ */

static void
say_ready(const struct conf *conf, const char *path)
{
	printf("sqlpoold: ready on %s, serving", path);
	for (size_t i = 0; i < conf->db_n; i++)
		printf("%s %s (%s)", i ? "," : "", conf->dbs[i].name,
		    conf->dbs[i].path);
	if (conf->directory[0])
		printf("%s the files of %s", conf->db_n ? "," : "",
		    conf->directory);
	printf("; connect with: sqlpool-cli -s %s %s\n", path,
	    conf->db_n ? conf->dbs[0].name : "NAME");
	fflush(stdout);
}

/* What is set up once, before there are threads; listening comes first, since root
 * may have to. */
static int
prepare(struct conf *conf, struct listener *l, char err[CONF_ERR_MAX])
{
	if (runas_check(conf, err) < 0 || files_fit(conf, err) < 0)
		return -1;
	if (dbconn_setup_library() < 0) {
		snprintf(err, CONF_ERR_MAX, "cannot set up the SQLite library");
		return -1;
	}
	if (listen_open(conf, l, err) < 0)
		return -1;
	if (runas_become(conf, err) == 0 && log_configure(conf, err) == 0)
		return 0;
	listen_close(l);
	return -1;
}

static int
serve(const struct args *args, struct conf *conf, struct listener *l,
    struct notify *n)
{
	struct dbs dbs;
	struct reloading reloading = { .args = args, .dbs = &dbs };
	char err[SERVER_ERR_MAX];
	struct server *server;
	struct failure f;
	int rc;

	failure_init(&f);
	if (server_open(conf, l, n, &server, err) < 0)
		return fail(err);
	notify_begin(n, "opening the databases");
	rc = dbs_open(conf, &dbs, &f);
	notify_end(n);
	if (rc < 0) {
		fail(f.text ? f.text : "out of memory");
		failure_fini(&f);
		server_close(server);
		return -1;
	}
	rc = server_start(server, &dbs, err);
	if (rc == 0) {
		reloading.server = server;
		server_on_reload(server, reload, &reloading);
		say_ready(conf, l->path);
		wal_log_rule();
		server_run(server);
	} else {
		fail(err);
	}
	notify_begin(n, "copying the WALs into the database files");
	server_join(server);
	dbs_stop(&dbs);
	server_close(server);
	dbs_close(&dbs);
	notify_end(n);
	if (rc == 0)
		log_info("stopped");
	return rc;
}

static int
start(const struct args *args, struct conf *conf)
{
	char err[CONF_ERR_MAX];
	struct notify notify;
	struct listener l;
	int rc;

	log_set_level(conf->log_level);
	stats_attach();
	if (prepare(conf, &l, err) < 0)
		return fail(err);
	notify_open(&notify);
	rc = serve(args, conf, &l, &notify);
	listen_close(&l);
	notify_close(&notify);
	return rc;
}

/* Look at it as the user who would run it. */
static int
test(const struct conf *conf)
{
	char err[CONF_ERR_MAX];
	int n;

	if (runas_check(conf, err) < 0 || runas_become(conf, err) < 0)
		return fail(err);
	n = conf_check_places(conf, say_problem);
	if (n == 0)
		printf("sqlpoold: the configuration is good; it has %zu "
		       "database%s\n",
		    conf->db_n, conf->db_n == 1 ? "" : "s");
	return n == 0 ? 0 : -1;
}

static int
run(const struct args *args, struct conf *conf)
{
	switch (args->mode) {
	case MODE_SERVE:
		return start(args, conf);
	case MODE_TEST:
		return test(conf);
	case MODE_PRINT:
	case MODE_PRINT_CHANGED:
		break;
	}
	if (conf_print(conf, args->mode == MODE_PRINT_CHANGED, stdout) < 0)
		return fail("out of memory");
	return 0;
}

int
main(int argc, char **argv)
{
	struct args args = { .argc = argc, .argv = argv, .exit_status = -1 };
	char err[CONF_ERR_MAX];
	struct conf *conf;
	int rc;

	read_args(argc, argv, &args);
	if (args.exit_status >= 0)
		return args.exit_status;
	conf = conf_new();
	if (!conf) {
		fail("out of memory");
		return 1;
	}
	rc = read_conf(&args, conf, err);
	if (rc < 0)
		fail(err);
	else
		rc = run(&args, conf);
	conf_free(conf);
	return rc < 0 ? 1 : 0;
}
