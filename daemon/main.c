/* main.c - arguments, start order, and stop order, which is its mirror. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "conf/conf.h"
#include "daemon/db.h"
#include "daemon/log.h"
#include "daemon/server.h"
#include "daemon/stats.h"

static const char usage_text[] =
    "usage: sqlpoold [-c FILE] [-s SOCKET] [-o NAME=VALUE] [[NAME=]PATH ...]\n"
    "\n"
    "Serve SQLite databases to many processes over a Unix socket.\n"
    "\n"
    "  -c FILE        read the configuration (sqlpoold.conf(5))\n"
    "  -s SOCKET      listen here; else $SQLPOOL_SOCKET, the configuration,\n"
    "                 $XDG_RUNTIME_DIR/sqlpoold.sock, or a directory of your\n"
    "                 own under /tmp\n"
    "  -o NAME=VALUE  set an option as in the configuration file\n"
    "  -v             log more\n"
    "  -V             print the version\n"
    "  -h             print this\n"
    "\n"
    "A database is served under NAME, by default its file's name without .db.\n"
    "Example: sqlpoold ./app.db\n";

static int
fail(const char *what)
{
	fprintf(stderr, "sqlpoold: %s\n", what);
	return -1;
}

static int
set_option(struct conf *conf, char *arg, char err[CONF_ERR_MAX])
{
	char *value = arg ? strchr(arg, '=') : NULL;

	if (!value) {
		snprintf(
		    err, CONF_ERR_MAX, "-o %s: write it as NAME=VALUE", arg);
		return -1;
	}
	*value = '\0';
	return conf_set(conf, arg, value + 1, err);
}

struct args {
	const char *file;
	const char *socket;
	int exit_status; /* -1: go on */
};

/* Options on the command line win over the file, so the file is read first. */
static const struct option long_options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "socket", required_argument, NULL, 's' },
	{ "option", required_argument, NULL, 'o' },
	{ "verbose", no_argument, NULL, 'v' },
	{ "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static int
next_option(int argc, char **argv)
{
	return getopt_long(argc, argv, "c:s:o:vVh", long_options, NULL);
}

static int
find_file(int argc, char **argv, struct args *args)
{
	int opt;

	while ((opt = next_option(argc, argv)) != -1) {
		switch (opt) {
		case 'c':
			args->file = optarg;
			break;
		case 's':
			args->socket = optarg;
			break;
		case 'V':
			printf("sqlpoold %s (SQLite %s)\n", SQLPOOLD_VERSION,
			    dbconn_get_library_version());
			args->exit_status = 0;
			return 0;
		case 'h':
			fputs(usage_text, stdout);
			args->exit_status = 0;
			return 0;
		case 'o':
		case 'v':
			break;
		default:
			fputs(usage_text, stderr);
			args->exit_status = 2;
			return 0;
		}
	}
	return 0;
}

static int
read_conf(int argc, char **argv, const struct args *args, struct conf *conf)
{
	char err[CONF_ERR_MAX];
	int opt, rc = 0;

	if (args->file)
		rc = conf_read_file(conf, args->file, err);
	optind = 1;
	while (rc == 0 && (opt = next_option(argc, argv)) != -1) {
		if (opt == 'o')
			rc = set_option(conf, optarg, err);
		else if (opt == 'v')
			conf->log_level = CONF_LOG_DEBUG;
	}
	for (int i = optind; rc == 0 && i < argc; i++)
		rc = conf_add_db(conf, argv[i], err);
	if (rc < 0)
		return fail(err);
	if (conf->db_n == 0)
		return fail("no database to serve: name one, as in \"sqlpoold "
			    "./app.db\", or give a configuration with -c FILE");
	return 0;
}

/* Clients, the WAL and the databases need descriptors: take what is allowed. */
static void
raise_file_limit(const struct conf *conf)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
		return;
	lim.rlim_cur = lim.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &lim) < 0)
		return;
	if (lim.rlim_max < (rlim_t)conf->max_clients + 256)
		log_warn("at most %llu descriptors are allowed, max_clients is "
			 "%u: raise LimitNOFILE or lower max_clients",
		    (unsigned long long)lim.rlim_max, conf->max_clients);
}

static void
say_ready(const struct conf *conf, const char *path)
{
	printf("sqlpoold: ready on %s, serving", path);
	for (size_t i = 0; i < conf->db_n; i++)
		printf("%s %s (%s)", i ? "," : "", conf->dbs[i].name,
		    conf->dbs[i].path);
	printf(
	    "; connect with: sqlpool-cli -s %s %s\n", path, conf->dbs[0].name);
	fflush(stdout);
}

static int
serve(const struct conf *conf, const char *path)
{
	char err[SERVER_ERR_MAX];
	struct server *server;
	struct failure f;
	struct dbs dbs;
	int rc;

	failure_init(&f);
	if (dbconn_setup_library() < 0)
		return fail("cannot set up the SQLite library");
	if (server_open(conf, path, &server, err) < 0)
		return fail(err);
	if (dbs_open(conf, &dbs, &f) < 0) {
		fail(f.text ? f.text : "out of memory");
		failure_fini(&f);
		server_close(server);
		return -1;
	}
	rc = server_start(server, &dbs, err);
	if (rc == 0) {
		say_ready(conf, path);
		server_run(server);
	} else {
		fail(err);
	}
	server_join(server);
	dbs_stop(&dbs);
	server_close(server);
	dbs_close(&dbs);
	if (rc == 0)
		log_info("stopped");
	return rc;
}

int
main(int argc, char **argv)
{
	struct args args = { .exit_status = -1 };
	char path[CONF_SOCKET_MAX + 1], err[SERVER_ERR_MAX];
	const char *wanted;
	struct conf *conf;
	int rc;

	find_file(argc, argv, &args);
	if (args.exit_status >= 0)
		return args.exit_status;
	conf = conf_new();
	if (!conf) {
		fail("out of memory");
		return 1;
	}
	rc = read_conf(argc, argv, &args, conf);
	if (rc == 0) {
		wanted = args.socket ? args.socket : getenv("SQLPOOL_SOCKET");
		if (!wanted || !wanted[0])
			wanted = conf->socket;
		rc = server_choose_path(wanted, path, err);
		if (rc < 0)
			fail(err);
	}
	if (rc == 0) {
		log_set_level(conf->log_level);
		stats_attach();
		raise_file_limit(conf);
		rc = serve(conf, path);
	}
	conf_free(conf);
	return rc < 0 ? 1 : 0;
}
