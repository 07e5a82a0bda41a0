/* check_conf.c - the configuration: what is read, what is refused and how. */
#include "conf/conf.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "conf/names.h"

static struct conf *conf;
static char err[CONF_ERR_MAX];
static char file[256];

static void
setup(void)
{
	const char *tmp = getenv("TMPDIR");

	conf = conf_new();
	ck_assert_ptr_nonnull(conf);
	err[0] = '\0';
	snprintf(file, sizeof(file), "%s/conf-%d", tmp != NULL ? tmp : "/tmp",
	    (int)getpid());
}

static void
teardown(void)
{
	conf_free(conf);
	unlink(file);
}

/* Write text to the file and read it as a configuration. */
static int
read_text(const char *text)
{
	FILE *f = fopen(file, "we");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
	return conf_read_file(conf, file, err);
}

static void
assert_says(const char *part)
{
	ck_assert_msg(
	    strstr(err, part) != NULL, "\"%s\" is not in \"%s\"", part, err);
}

START_TEST(conf_has_the_defaults_of_the_table)
{
	ck_assert_str_eq(conf->socket, "");
	ck_assert_uint_eq(conf->socket_mode, 0660);
	ck_assert_uint_eq(conf->log_level, CONF_LOG_INFO);
	ck_assert_uint_eq(conf->workers, 0);
	ck_assert_uint_eq(conf->max_clients, 10000);
	ck_assert_int_eq(conf->max_frame_bytes, 16 << 20);
	ck_assert_int_eq(conf->poll_time_us, 50);
	ck_assert_int_eq(conf->db_default.request_timeout_us, 30000000);
	ck_assert_uint_eq(conf->db_default.access, CONF_ACCESS_EXCLUSIVE);
	ck_assert_uint_eq(conf->db_default.synchronous, CONF_SYNC_FULL);
	ck_assert(!conf->db_default.foreign_keys);
	ck_assert_int_eq(conf->db_default.tx_idle_timeout_us, 5000000);
	ck_assert_uint_eq(conf->db_n, 0);
}
END_TEST

START_TEST(conf_reads_a_file)
{
	int rc = read_text("# comment\n"
			   "socket = \"/run/sqlpoold.sock\"\n"
			   "socket_mode = 0600\n"
			   "workers = 4\n"
			   "log_level = debug\n"
			   "window = 128KB\n"
			   "database app {\n"
			   "\tpath = \"/var/lib/app.db\"\n"
			   "\tforeign_keys = on\n"
			   "\tbusy_wait = 250ms\n"
			   "\tsynchronous = normal\n"
			   "}\n"
			   "database other { path = other.db }\n");

	ck_assert_msg(rc == 0, "%s", err);
	ck_assert_str_eq(conf->socket, "/run/sqlpoold.sock");
	ck_assert_uint_eq(conf->socket_mode, 0600);
	ck_assert_uint_eq(conf->workers, 4);
	ck_assert_uint_eq(conf->log_level, CONF_LOG_DEBUG);
	ck_assert_int_eq(conf->window_bytes, 128 << 10);
	ck_assert_uint_eq(conf->db_n, 2);
	ck_assert_str_eq(conf->dbs[0].name, "app");
	ck_assert_str_eq(conf->dbs[0].path, "/var/lib/app.db");
	ck_assert(conf->dbs[0].foreign_keys);
	ck_assert_int_eq(conf->dbs[0].busy_wait_us, 250000);
	ck_assert_uint_eq(conf->dbs[0].synchronous, CONF_SYNC_NORMAL);
	ck_assert_str_eq(conf->dbs[1].name, "other");
	ck_assert_str_eq(conf->dbs[1].path, "other.db");
	ck_assert(!conf->dbs[1].foreign_keys);
}
END_TEST

START_TEST(conf_reads_an_empty_file)
{
	ck_assert_msg(read_text("") == 0, "%s", err);
	ck_assert_uint_eq(conf->db_n, 0);
}
END_TEST

START_TEST(conf_takes_a_top_level_default_from_below_the_section)
{
	int rc = read_text("database a { path = a.db\n group_max = 7 }\n"
			   "database b { path = b.db }\n"
			   "group_max = 9\n");

	ck_assert_msg(rc == 0, "%s", err);
	ck_assert_uint_eq(conf->dbs[0].group_max, 7);
	ck_assert_uint_eq(conf->dbs[1].group_max, 9);
	ck_assert_uint_eq(conf->db_default.group_max, 9);
}
END_TEST

/* clang-format off */
static const struct {
	const char *text;
	int line;
	const char *says;
} bad_files[] = {
	{ "workers = 4\nworkerz = 4\n", 2,
	  "no such option 'workerz': sqlpoold.conf(5)" },
	{ "checkpoint = nobody\n", 1, "write daemon or external" },
	{ "workers = 65\n", 1, "workers = 65 is out of range: write 0 to 64" },
	{ "workers = -1\n", 1, "workers = -1: write a whole number" },
	{ "workers = 4s\n", 1, "workers = 4s: write a whole number" },
	{ "workers = 99999999999999999999\n", 1,
	  "workers = 99999999999999999999: write a whole number" },
	{ "workers = 4\nlog_level = warn\nworkers = 5\n", 3,
	  "workers is set already, in line 1: remove one of them" },
	{ "workers 4\n", 1, "missing equal sign after option 'workers'" },
	{ "workers = {4}\n", 1, "unexpected token '{'" },
	{ "\n\nsocket_mode = 0668\n", 3,
	  "socket_mode = 0668: write an octal mode" },
	{ "socket_mode = 1777\n", 1,
	  "socket_mode = 1777 is out of range: write 0000 to 0777" },
	{ "user = \"no such user\"\n", 1,
	  "user: no user is called \"no such user\": create it" },
	{ "socket_group = nosuchgroup\n", 1,
	  "socket_group: no group is called \"nosuchgroup\": create it" },
	{ "writers = {root}\nreaders = {root, \"@nosuchgroup\"}\n", 2,
	  "readers: no group is called \"nosuchgroup\": create it" },
	{ "admins = {\"root\",\n \"nosuchuser\"}\n", 2,
	  "admins: no user is called \"nosuchuser\": create it" },
	{ "writers = {root}\nwriters = {daemon}\n", 2,
	  "writers is set already, in line 1: remove one of them" },
	{ "database a {\n path = x.db\n readers = {root} }\n", 3,
	  "database a: readers are chosen, but everybody may write" },
	{ "request_timeout = 5\n", 1,
	  "request_timeout = 5: write a whole number and us, ms, s, min or h" },
	{ "request_timeout = 5 s\n", 1,
	  "request_timeout = 5: write a whole number and us, ms, s, min or h" },
	{ "request_timeout = 5sec\n", 1,
	  "request_timeout = 5sec: write a whole number and us, ms" },
	{ "request_timeout = 25h\n", 1, "write off to 24h" },
	{ "batch_time = off\n", 1, "batch_time = off is out of range: write 100us to 1s" },
	{ "max_frame = 65MB\n", 1, "write 64KB to 64MB" },
	{ "max_frame = 1024\n", 1, "max_frame = 1024: write a whole number and B, KB, MB or GB" },
	{ "log_level = loud\n", 1, "log_level = loud: write error, warn, info or debug" },
	{ "foreign_keys = 2\n", 1, "foreign_keys = 2: write on or off" },
	{ "path = \"x.db\"\n", 1, "path belongs to one database: write database NAME" },
	{ "database a {\n\tsynchronous = off\n}\n", 2,
	  "synchronous = off: write full or normal" },
	{ "database a {\n}\n", 2, "database a has no path: write path =" },
	{ "database a { path = \"\" }\n", 1, "path is empty: write a value between quotes" },
	{ "database a {\n path = x.db\n path = y.db }\n", 3,
	  "path is set already, in line 2" },
	{ "database a { path = x.db }\ndatabase b { path = z.db }\n"
	  "database a { path = y.db }\n", 3,
	  "database a is there already: give one of them another name" },
	{ "database a { path = x.db }\ndatabase b { path = x.db }\n", 2,
	  "database b: x.db is already database a: remove one" },
	{ "database a {\n\tpath = x.db\n\tworkers = 3\n}\n", 3,
	  "workers is not an option of one database: write it outside" },
	{ "database .a { path = x.db }\n", 1,
	  "database name \".a\": write 1 to 64 of A-Z a-z 0-9 _ . -" },
	{ "database \"a b\" { path = x.db }\n", 1, "database name \"a b\"" },
	{ "database \"@a\" { path = x.db }\n", 1, "database name \"@a\"" },
	{ "database { path = x.db }\n", 1, "missing title for section 'database'" },
	{ "databases a { path = x.db }\n", 1, "no such option 'databases'" },
	{ "database a { path = x.db }\n}\n", 2, "unexpected closing brace" },
	{ "database a { path = x.db\n", 2, "the section is not closed: write }" },
	{ "socket = \"/run/x\n", 2, "premature end of file: sqlpoold.conf(5)" },
	{ "\"{reading}\" = 1\n", 1, "syntax error: sqlpoold.conf(5)" },
	/* what conf_check finds */
	{ "database a { path = \"/dev/null\" }\n"
	  "database b { path = \"/dev/../dev/null\" }\n", 2,
	  "database b: /dev/../dev/null is the same file as /dev/null, which is "
	  "database a" },
	{ "database a { path = \"nosuch.db\" }\n"
	  "database b { path = \"./nosuch.db\" }\n", 2,
	  "database b: ./nosuch.db is the same file as nosuch.db" },
	{ "database a { path = \"x.db\" }\n"
	  "database b {\n path = \"x.db-wal\" }\n", 3,
	  "database b: x.db-wal belongs to database a" },
	{ "database a { path = \"x.db-shm\" }\n"
	  "database b { path = \"x.db\" }\n", 1,
	  "database a: x.db-shm belongs to database b" },
	{ "database a { path = \"/tmp/s\" }\nsocket = \"/tmp//s\"\n", 2,
	  "socket: /tmp//s belongs to database a: choose another path" },
	{ "metrics_socket = \"/tmp/s-wal\"\ndatabase a { path = \"/tmp/s\" }\n",
	  1, "metrics_socket: /tmp/s-wal belongs to database a: choose" },
	{ "log_file = \"/tmp/s\"\nsocket = \"/tmp/../tmp/s\"\n", 1,
	  "log_file: /tmp/s is the socket: choose another path" },
	{ "log_format = xml\n", 1, "log_format = xml: write text or json" },
	{ "database a { path = \"/tmp/x\" }\nlog_file = \"/tmp/x-wal\"\n", 2,
	  "log_file: /tmp/x-wal belongs to database a: choose another path" },
	{ "wal_limit = 2GB\ndatabase a { path = x.db }\n", 1,
	  "database a: wal_hard_limit is below wal_limit" },
	{ "database a {\n path = x.db\n wal_hard_limit = 1MB }\n", 3,
	  "database a: wal_hard_limit is below wal_limit" },
	{ "database a {\n path = x.db\n busy_wait = 1s\n}\n", 3,
	  "since access = exclusive: remove busy_wait" },
	{ "tx_max_age = 1s\ntx_idle_timeout = 2s\ndatabase a { path = x.db }\n", 2,
	  "cannot be idle for tx_idle_timeout, since it ends at tx_max_age" },
	{ "database a {\n path = x.db\n checkpoint = external\n}\n", 3,
	  "database a: checkpoint = external leaves checkpoints to another "
	  "program, which cannot open the file unless access = shared" },
	{ "directory = \"/tmp\"\nreaders = {root}\n", 2,
	  "database of the directory: readers are chosen, but everybody" },
	{ "checkpoint = external\naccess = shared\n"
	  "database a {\n path = x.db\n access = exclusive\n}\n", 1,
	  "database a: checkpoint = external" },
	{ "# one\n/* two\ndatabase a { path = x.db }\n", 2, "the comment is not closed" },
	{ "\nmetrics_listen = \"0.0.0.0:9187\"\n", 2,
	  "metrics_listen = 0.0.0.0:9187: write a port of this host alone" },
	{ "metrics_listen = \"127.0.0.1:65536\"\n", 1,
	  "metrics_listen = 127.0.0.1:65536: write a port" },
	{ "metrics_listen = 0\n", 1, "metrics_listen = 0: write a port" },
	{ "metrics_listen = \"[::1]\"\n", 1, "metrics_listen = [::1]: write a port" },
	{ "database a {\n path = x.db\n read_connections = 3\n"
	  " min_read_connections = 4 }\n", 4,
	  "database a: min_read_connections are more than the read_connections" },
};
/* clang-format on */

#define BAD_N (sizeof(bad_files) / sizeof(bad_files[0]))

/* Read and check one of them, which fails. */
static void
refuse(size_t i)
{
	int rc = read_text(bad_files[i].text);

	if (rc == 0)
		rc = conf_check(conf, err);
	ck_assert_msg(rc == -1, "it was taken: %s", bad_files[i].text);
}

START_TEST(conf_refuses_with_file_line_and_remedy)
{
	char place[300];

	refuse((size_t)_i);
	snprintf(place, sizeof(place), "%s:%d: ", file, bad_files[_i].line);
	assert_says(place);
	assert_says(bad_files[_i].says);
	ck_assert_ptr_null(strchr(err, '\n'));
}
END_TEST

/* The line of the mistake, which is the last thing in each. */
/* clang-format off */
static const struct commented {
	const char *text;
	int line;
} commented[] = {
	{ "# one\n\n#\n## two # three\nmax_open = x\n", 5 },
	{ "// one\n//two\nmax_open = 5 // three\nmax_open = x\n", 4 },
	{ "/* one */ /**/\n/* two\n three ** */ max_open = x\n", 3 },
	{ "log_file = \"/tmp//#/*\\\"#\"\nsocket = /tmp//x # c\nmax_open = x\n", 3 },
	{ "log_file = '/tmp//#/*\\'#'\nsocket = /tmp/*x\nmax_open = x\n", 2 },
	{ "database a {\n # one\n path = x.db # two\n bad = 1\n}\n", 4 },
};
/* clang-format on */

START_TEST(conf_counts_the_lines_of_comments_once)
{
	const struct commented *c = &commented[_i];
	char place[300];

	ck_assert_int_eq(read_text(c->text), -1);
	snprintf(place, sizeof(place), "%s:%d: ", file, c->line);
	assert_says(place);
}
END_TEST

/* Without the place, since a line number alone would make them distinct. */
START_TEST(conf_gives_each_mistake_a_message_of_its_own)
{
	static char said[BAD_N][CONF_ERR_MAX];
	size_t same = 0;

	for (size_t i = 0; i < BAD_N; i++) {
		refuse(i);
		snprintf(said[i], CONF_ERR_MAX, "%s",
		    strstr(err, ": ") ? strstr(err, ": ") + 2 : err);
		teardown();
		setup();
		for (size_t j = 0; j < i; j++)
			same += strcmp(said[i], said[j]) == 0;
	}
	/* "5" and "5 s" are the same value; a limit that is too low is one
	 * message, wherever it comes from */
	ck_assert_uint_eq(same, 3);
	ck_assert_uint_ge(BAD_N - same, 30);
}
END_TEST

START_TEST(conf_refuses_a_socket_path_too_long_for_the_kernel)
{
	char path[CONF_SOCKET_MAX + 2];

	memset(path, 'x', sizeof(path));
	path[CONF_SOCKET_MAX + 1] = '\0';
	ck_assert_int_eq(conf_set(conf, "socket", path, err), -1);
	assert_says("at most 107");
	path[CONF_SOCKET_MAX] = '\0';
	ck_assert_int_eq(conf_set(conf, "socket", path, err), 0);
	ck_assert_str_eq(conf->socket, path);
}
END_TEST

START_TEST(conf_reads_lists_of_names)
{
	const uint32_t gids[] = { 7, 4321 };
	const struct conf_db *db;
	int rc = read_text("admins = {root,\n\"@4321\"\n}\n"
			   "observers = daemon\n"
			   "database a {\n"
			   "\tpath = a.db\n"
			   "\twriters = {\"1000\", \"@root\"}\n"
			   "\tadmins = {}\n"
			   "}\n"
			   "database b { path = b.db }\n");

	ck_assert_msg(rc == 0, "%s", err);
	db = &conf->dbs[0];
	ck_assert(db->readers->all && !db->writers->all);
	ck_assert(names_have(db->readers, 5, NULL, 0));
	ck_assert(names_have(db->writers, 1000, gids, 2));
	ck_assert(!names_have(db->writers, 1001, gids, 2));
	ck_assert(names_have(db->writers, 1001, &(uint32_t){ 0 }, 1));
	ck_assert(!names_have(db->admins, 0, gids, 2));
	db = &conf->dbs[1];
	ck_assert(names_have(db->admins, 0, NULL, 0));
	ck_assert(names_have(db->admins, 5, gids, 2));
	ck_assert(!names_have(db->admins, 5, gids, 1));
	ck_assert(db->writers->all);
	ck_assert(names_have(conf->observers, 1, NULL, 0));
	ck_assert(!names_have(conf->observers, 2, NULL, 0));
	ck_assert_int_eq(conf_set(conf, "b.writers", "1000 @7,", err), 0);
	ck_assert(names_have(conf->dbs[1].writers, 3, gids, 1));
}
END_TEST

START_TEST(conf_lets_the_environment_go_before_the_file)
{
	char *const environment[] = { "HOME=/root", "SQLPOOLD_WORKERS=5",
		"SQLPOOLD_GROUP_MAX=6", "SQLPOOL_SOCKET=/run/env.sock", NULL };
	int rc = read_text("workers = 4\ngroup_max = 4\nmax_queue = 4\n"
			   "socket = \"/run/file.sock\"\n"
			   "database a { path = a.db\n group_max = 9 }\n"
			   "database b { path = b.db }\n");

	ck_assert_msg(rc == 0, "%s", err);
	ck_assert_int_eq(conf_read_environment(conf, environment, err), 0);
	ck_assert_uint_eq(conf->workers, 5);
	ck_assert_str_eq(conf->socket, "/run/env.sock");
	ck_assert_uint_eq(conf->dbs[0].group_max, 9);
	ck_assert_uint_eq(conf->dbs[1].group_max, 6);
	ck_assert_uint_eq(conf->dbs[1].max_queue, 4);
	ck_assert_int_eq(conf_set(conf, "workers", "7", err), 0);
	ck_assert_int_eq(conf_set(conf, "a.group_max", "8", err), 0);
	ck_assert_uint_eq(conf->workers, 7);
	ck_assert_uint_eq(conf->dbs[0].group_max, 8);
	ck_assert_uint_eq(conf->dbs[1].group_max, 6);
}
END_TEST

/* clang-format off */
static const struct {
	char *variable;
	const char *says;
} bad_variables[] = {
	{ "SQLPOOLD_WORKERZ=4", "environment variable SQLPOOLD_WORKERZ: no option" },
	{ "SQLPOOLD_workers=4", "environment variable SQLPOOLD_workers: no option" },
	{ "SQLPOOLD_=4", "environment variable SQLPOOLD_: no option" },
	{ "SQLPOOLD_WORKERS=", "environment variable SQLPOOLD_WORKERS: workers = :" },
	{ "SQLPOOLD_WORKERS=65", "out of range: write 0 to 64" },
	{ "SQLPOOLD_PATH=x.db", "path belongs to one database" },
	{ "SQLPOOLD_SOCKET=/x", "the socket's variable is SQLPOOL_SOCKET" },
};
/* clang-format on */

START_TEST(conf_refuses_a_variable_by_its_name)
{
	char *const environment[] = { bad_variables[_i].variable, NULL };

	ck_assert_int_eq(conf_read_environment(conf, environment, err), -1);
	assert_says(bad_variables[_i].says);
}
END_TEST

START_TEST(conf_takes_an_empty_socket_variable_for_none)
{
	char *const environment[] = { "SQLPOOL_SOCKET=", NULL };

	ck_assert_int_eq(conf_set(conf, "socket", "/run/x", err), 0);
	ck_assert_int_eq(conf_read_environment(conf, environment, err), 0);
	ck_assert_str_eq(conf->socket, "/run/x");
}
END_TEST

START_TEST(conf_refuses_an_option_of_a_database_it_does_not_know)
{
	ck_assert_int_eq(conf_add_db(conf, "x.y.db", err), 0);
	ck_assert_int_eq(conf_set(conf, "x.y.group_max", "3", err), 0);
	ck_assert_uint_eq(conf->dbs[0].group_max, 3);
	ck_assert_int_eq(conf_set(conf, "x.group_max", "3", err), -1);
	assert_says("no database is called x:");
	ck_assert_int_eq(conf_set(conf, "x.y.workers", "3", err), -1);
	assert_says("not an option of one database");
	ck_assert_int_eq(conf_set(conf, "x.y.nothing", "3", err), -1);
	assert_says("no option is called nothing");
}
END_TEST

/* Print the configuration into the file; the caller frees. */
static char *
print(bool changed_only)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(conf_print(conf, changed_only, f), 0);
	ck_assert_int_eq(fclose(f), 0);
	return text;
}

START_TEST(conf_prints_what_differs_with_where_it_was_said)
{
	char *const environment[] = { "SQLPOOLD_BATCH_MAX=32", NULL };
	char want[1000];
	char *text;
	int rc = read_text("max_clients = 10000\n"
			   "tx_max_age = 90s\n"
			   "database app {\n"
			   "\tpath = \"/srv/a \\\"b\\\" ${NOSUCH}\\$.db\"\n"
			   "\tforeign_keys = yes\n"
			   "}\n");

	ck_assert_msg(rc == 0, "%s", err);
	ck_assert_int_eq(conf_read_environment(conf, environment, err), 0);
	ck_assert_int_eq(conf_add_db(conf, "b.db", err), 0);
	ck_assert_int_eq(conf_set(conf, "b.max_queue", "5", err), 0);
	text = print(true);
	snprintf(want, sizeof(want),
	    "batch_max = 32  # environment\n"
	    "tx_max_age = 90s  # %s:2\n"
	    "\ndatabase app {\n"
	    "\tpath = \"/srv/a \\\"b\\\" \\$.db\"  # %s:4\n"
	    "\tforeign_keys = on  # %s:5\n"
	    "}\n"
	    "\ndatabase b {\n"
	    "\tpath = \"b.db\"  # command line\n"
	    "\tmax_queue = 5  # command line\n"
	    "}\n",
	    file, file, file);
	ck_assert_str_eq(text, want);
	free(text);
}
END_TEST

static size_t
count_lines(const char *text)
{
	size_t n = 0;

	for (; *text != '\0'; text++)
		n += *text == '\n';
	return n;
}

START_TEST(conf_prints_a_file_that_reads_back_as_the_same)
{
	char *first, *second;

	ck_assert_int_eq(conf_set(conf, "group_max", "3", err), 0);
	ck_assert_int_eq(conf_set(conf, "user", "root", err), 0);
	ck_assert_int_eq(
	    conf_set(conf, "socket", "/run/\t\x01\xc3\xa4$'{}\\", err), 0);
	ck_assert_int_eq(conf_add_db(conf, "a.db", err), 0);
	ck_assert_int_eq(conf_set(conf, "a.access", "shared", err), 0);
	ck_assert_int_eq(conf_set(conf, "a.writers", "0,@0", err), 0);
	ck_assert_int_eq(conf_set(conf, "a.readers", "", err), 0);
	first = print(false);
	/* every option but path, and the section */
	ck_assert_uint_eq(count_lines(first), CONF_OPTIONS_N - 1 + 7);
	conf_free(conf);
	conf = conf_new();
	ck_assert_msg(read_text(first) == 0, "%s", err);
	ck_assert_str_eq(conf->socket, "/run/\t\x01\xc3\xa4$'{}\\");
	second = print(false);
	/* but for where it was said */
	for (char *a = first, *b = second; *a != '\0';) {
		size_t n = (size_t)(strstr(a, "\n") - a);
		const char *hash = memmem(a, n, "  #", 3);

		ck_assert_int_eq(
		    strncmp(a, b, hash ? (size_t)(hash - a) : n), 0);
		a += n + 1;
		b = strchr(b, '\n') + 1;
	}
	free(first);
	free(second);
}
END_TEST

static char problems[6][CONF_ERR_MAX];
static int problems_n;

static void
keep_problem(const char *line)
{
	ck_assert_int_lt(problems_n, 6);
	snprintf(problems[problems_n++], CONF_ERR_MAX, "%s", line);
}

START_TEST(conf_tests_the_places_it_names)
{
	int rc = read_text("socket = \"/no/such/dir/s\"\n"
			   "metrics_socket = \"/dev/null\"\n"
			   "database a { path = \"/no/such/dir/a.db\" }\n"
			   "database b { path = \"/dev\" }\n"
			   "database c { path = \"/dev/null/c.db\" }\n"
			   "database d { path = \"d.db\" }\n"
			   "database e { path = \"/dev/zero\" }\n");

	ck_assert_msg(rc == 0, "%s", err);
	problems_n = 0;
	ck_assert_int_eq(conf_check_places(conf, keep_problem), 6);
	ck_assert_ptr_nonnull(
	    strstr(problems[5], "/dev/zero is not a regular file"));
	ck_assert_int_eq(problems_n, 6);
	snprintf(err, sizeof(err),
	    "%s:1: socket: directory /no/such/dir: No such file or directory: "
	    "create it or correct the path",
	    file);
	ck_assert_str_eq(problems[0], err);
	snprintf(err, sizeof(err),
	    "%s:2: metrics_socket: /dev/null exists and is not a socket: ",
	    file);
	ck_assert_int_eq(strncmp(problems[1], err, strlen(err)), 0);
	snprintf(err, sizeof(err),
	    "%s:3: database a: directory /no/such/dir: "
	    "No such",
	    file);
	ck_assert_int_eq(strncmp(problems[2], err, strlen(err)), 0);
	ck_assert_ptr_nonnull(strstr(problems[3], "/dev is a directory: give"));
	ck_assert_ptr_nonnull(
	    strstr(problems[4], "/dev/null is not a directory"));
}
END_TEST

START_TEST(conf_follows_the_link_to_a_database)
{
	char dir[] = "/tmp/check_conf.XXXXXX";
	char link[64], real[64], text[256];

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(link, sizeof(link), "%s/l.db", dir);
	ck_assert_int_eq(symlink("real.db", link), 0);
	snprintf(text, sizeof(text),
	    "log_file = \"%s/real.db-wal\"\ndatabase a { path = \"%s\" }\n",
	    dir, link);
	snprintf(real, sizeof(real), "%s/real.db", dir);
	ck_assert_int_eq(mknod(real, S_IFREG | 0600, 0), 0);
	ck_assert_int_eq(read_text(text), 0);
	ck_assert_int_eq(conf_check(conf, err), -1);
	assert_says("real.db-wal belongs to database a");
	ck_assert(unlink(real) == 0 && unlink(link) == 0 && rmdir(dir) == 0);
}
END_TEST

/* When the paths were looked up for each pair it took over 4 s, before the ready
 * line and at every reload. */
START_TEST(conf_checks_many_databases_in_a_moment)
{
	clock_t began;
	char arg[64];

	for (int i = 0; i < 300; i++) {
		snprintf(arg, sizeof(arg), "d%d=/tmp/./nosuch-%d.db", i, i);
		ck_assert_int_eq(conf_add_db(conf, arg, err), 0);
	}
	began = clock();
	ck_assert_int_eq(conf_check(conf, err), 0);
	ck_assert_int_lt(clock() - began, CLOCKS_PER_SEC);
}
END_TEST

START_TEST(conf_says_why_a_file_cannot_be_read)
{
	ck_assert_int_eq(conf_read_file(conf, "/nowhere/at/all", err), -1);
	assert_says("/nowhere/at/all");
	assert_says(strerror(ENOENT));
	ck_assert_int_eq(conf_read_file(conf, "/", err), -1);
	assert_says(strerror(EISDIR));
}
END_TEST

START_TEST(conf_sets_an_option_by_name)
{
	ck_assert_int_eq(conf_set(conf, "workers", "3", err), 0);
	ck_assert_uint_eq(conf->workers, 3);
	ck_assert_int_eq(conf_set(conf, "poll_time", "off", err), 0);
	ck_assert_int_eq(conf->poll_time_us, 0);
	ck_assert_int_eq(conf_set(conf, "poll_time", "0", err), 0);
	ck_assert_int_eq(conf_set(conf, "nothing", "1", err), -1);
	assert_says("nothing");
	ck_assert_int_eq(conf_set(conf, "path", "x.db", err), -1);
	ck_assert_int_eq(conf_set(conf, "workers", "", err), -1);
	ck_assert_uint_eq(conf->workers, 3);
}
END_TEST

START_TEST(conf_set_is_the_default_of_databases_old_and_new)
{
	int rc = read_text("database own { path = own.db\n max_queue = 5 }\n");

	ck_assert_msg(rc == 0, "%s", err);
	ck_assert_int_eq(conf_add_db(conf, "old.db", err), 0);
	ck_assert_int_eq(conf_set(conf, "max_queue", "77", err), 0);
	ck_assert_int_eq(conf_add_db(conf, "new.db", err), 0);
	ck_assert_uint_eq(conf->dbs[0].max_queue, 5);
	ck_assert_uint_eq(conf->dbs[1].max_queue, 77);
	ck_assert_uint_eq(conf->dbs[2].max_queue, 77);
}
END_TEST

/* What the one database was given itself does not help those of the directory. */
START_TEST(conf_change_is_refused_if_the_directory_could_not_have_it)
{
	struct conf_change change;

	ck_assert_int_eq(conf_set(conf, "directory", "/tmp", err), 0);
	ck_assert_int_eq(conf_add_db(conf, "app.db", err), 0);
	ck_assert_int_eq(conf_set(conf, "app.wal_hard_limit", "8GB", err), 0);
	ck_assert_int_eq(conf_set(conf, "app.tx_max_age", "10min", err), 0);
	ck_assert_int_eq(conf_read_change("wal_limit", "2GB", &change, err), 0);
	ck_assert_int_eq(conf_change(conf, &change, err), -1);
	assert_says("database of the directory: wal_hard_limit is below "
		    "wal_limit");
	ck_assert_int_lt(conf->dbs[0].wal_limit_bytes, 2 * CONF_GB);
	ck_assert_int_eq(
	    conf_read_change("tx_idle_timeout", "2min", &change, err), 0);
	ck_assert_int_eq(conf_change(conf, &change, err), -1);
	assert_says("database of the directory: a transaction cannot be idle");
	ck_assert_int_eq(
	    conf->origins[CONF_ID_tx_idle_timeout].from, CONF_FROM_DEFAULT);
	ck_assert_int_eq(
	    conf_read_change("tx_idle_timeout", "1min", &change, err), 0);
	ck_assert_int_eq(conf_change(conf, &change, err), 0);
	ck_assert_int_eq(conf->db_default.tx_idle_timeout_us, CONF_MIN);
	ck_assert_int_eq(conf->dbs[0].tx_idle_timeout_us, CONF_MIN);
}
END_TEST

/* clang-format off */
static const struct {
	const char *spec;
	const char *name; /* NULL: refused */
	const char *path;
} specs[] = {
	{ "app.db", "app", "app.db" },
	{ "./app.db", "app", "./app.db" },
	{ "/var/lib/my-app.sqlite3", "my-app", "/var/lib/my-app.sqlite3" },
	{ "x.sqlite", "x", "x.sqlite" },
	{ "x.db3", "x", "x.db3" },
	{ "x.tar", "x.tar", "x.tar" },
	{ "x.db.db", "x.db", "x.db.db" },
	{ "main=/srv/x.db", "main", "/srv/x.db" },
	{ "main=a=b.db", "main", "a=b.db" },
	{ "./a_b=c.db", NULL, NULL },
	{ "", NULL, NULL },
	{ "main=", NULL, NULL },
	{ "=x.db", NULL, NULL },
	{ "/srv/", NULL, NULL },
	{ ".db", NULL, NULL },
	{ "@x.db", NULL, NULL },
	{ "a b=x.db", NULL, NULL },
	{ "\xc3\xa4.db", NULL, NULL },
	{ "1234567890123456789012345678901234567890123456789012345678901234.db",
	  "1234567890123456789012345678901234567890123456789012345678901234",
	  "1234567890123456789012345678901234567890123456789012345678901234.db" },
	{ "12345678901234567890123456789012345678901234567890123456789012345.db",
	  NULL, NULL },
};
/* clang-format on */

START_TEST(conf_names_a_database_after_its_file)
{
	int rc = conf_add_db(conf, specs[_i].spec, err);

	if (specs[_i].name == NULL) {
		ck_assert_int_eq(rc, -1);
		ck_assert_str_ne(err, "");
		ck_assert_uint_eq(conf->db_n, 0);
		return;
	}
	ck_assert_msg(rc == 0, "%s", err);
	ck_assert_str_eq(conf->dbs[0].name, specs[_i].name);
	ck_assert_str_eq(conf->dbs[0].path, specs[_i].path);
}
END_TEST

/* The reason comes before that of the name. */
START_TEST(conf_refuses_what_is_no_file)
{
	static const char *const no_files[] = { ":memory:", "app=:memory:",
		"app=file:x.db", "file:x.db", "app=FILE::memory:" };

	ck_assert_int_eq(conf_add_db(conf, no_files[_i], err), -1);
	ck_assert_msg(
	    strstr(err, "; write the path of a file") != NULL, "%s", err);
	ck_assert_int_eq(read_text("database app { path = \":memory:\" }"), -1);
	ck_assert_msg(
	    strstr(err, "a database in memory belongs to one connection") !=
		NULL,
	    "%s", err);
}
END_TEST

/* -o was forgotten: else it would be made, under a name that nobody meant. */
START_TEST(conf_takes_no_option_for_a_database)
{
	ck_assert_int_eq(conf_add_db(conf, "metrics_socket=off", err), -1);
	assert_says(
	    "\"metrics_socket=off\": metrics_socket is an option: write "
	    "-o metrics_socket=off; a database of this name needs a "
	    "section in the configuration file");
	ck_assert_int_eq(conf_add_db(conf, "workers.db", err), 0);
	ck_assert_int_eq(
	    read_text("database user { path = \"/srv/user.db\" }"), 0);
}
END_TEST

START_TEST(conf_refuses_the_same_database_twice)
{
	ck_assert_int_eq(conf_add_db(conf, "a/app.db", err), 0);
	ck_assert_int_eq(conf_add_db(conf, "b/app.db", err), -1);
	assert_says("database app is there already, with path a/app.db");
	ck_assert_int_eq(conf_add_db(conf, "again=a/app.db", err), -1);
	assert_says("already database app");
	ck_assert_uint_eq(conf->db_n, 1);
}
END_TEST

/* Read a file to its end; the caller frees. */
static char *
slurp(const char *path)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = fopen(path, "re");

	ck_assert_msg(f != NULL, "%s: %s", path, strerror(errno));
	if (getdelim(&text, &n, '\0', f) < 0)
		ck_abort_msg("%s is empty", path);
	fclose(f);
	return text;
}

START_TEST(conf_example_file_is_the_generated_one)
{
	const char *build = getenv("BUILD");
	FILE *f;
	char *generated;
	char *committed;

	if (build != NULL)
		snprintf(file, sizeof(file), "%s/sqlpoold.conf.example", build);
	f = fopen(file, "we");
	ck_assert_ptr_nonnull(f);
	conf_print_example(f);
	ck_assert_int_eq(fclose(f), 0);
	generated = slurp(file);
	committed = slurp("sqlpoold.conf.example");
	ck_assert_msg(strcmp(generated, committed) == 0,
	    "options.def changed: cp %s sqlpoold.conf.example", file);
	free(generated);
	free(committed);
	if (build != NULL)
		file[0] = '\0';
}
END_TEST

START_TEST(conf_reads_its_example_uncommented)
{
	char *example = slurp("sqlpoold.conf.example");
	char *to = example;

	/* "#name" is an option, "# text" is text. */
	for (char *from = example; *from != '\0'; from++) {
		bool starts = from == example || from[-1] == '\n';

		if (!(starts && *from == '#' && from[1] != ' '))
			*to++ = *from;
	}
	*to = '\0';
	ck_assert_msg(read_text(example) == 0, "%s", err);
	ck_assert_uint_eq(conf->db_n, 1);
	ck_assert_uint_eq(conf->max_clients, 10000);
	free(example);
}
END_TEST

static Suite *
conf_suite(void)
{
	Suite *s = suite_create("conf");
	TCase *tc = tcase_create("conf");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, conf_has_the_defaults_of_the_table);
	tcase_add_test(tc, conf_reads_a_file);
	tcase_add_test(tc, conf_reads_an_empty_file);
	tcase_add_test(
	    tc, conf_takes_a_top_level_default_from_below_the_section);
	tcase_add_loop_test(
	    tc, conf_refuses_with_file_line_and_remedy, 0, (int)BAD_N);
	tcase_add_test(tc, conf_gives_each_mistake_a_message_of_its_own);
	tcase_add_loop_test(tc, conf_counts_the_lines_of_comments_once, 0,
	    (int)(sizeof(commented) / sizeof(commented[0])));
	tcase_add_test(tc, conf_reads_lists_of_names);
	tcase_add_test(tc, conf_lets_the_environment_go_before_the_file);
	tcase_add_loop_test(tc, conf_refuses_a_variable_by_its_name, 0,
	    (int)(sizeof(bad_variables) / sizeof(bad_variables[0])));
	tcase_add_test(tc, conf_takes_an_empty_socket_variable_for_none);
	tcase_add_test(
	    tc, conf_refuses_an_option_of_a_database_it_does_not_know);
	tcase_add_test(tc, conf_prints_what_differs_with_where_it_was_said);
	tcase_add_test(tc, conf_prints_a_file_that_reads_back_as_the_same);
	tcase_add_test(tc, conf_tests_the_places_it_names);
	tcase_add_test(tc, conf_refuses_a_socket_path_too_long_for_the_kernel);
	tcase_add_test(tc, conf_follows_the_link_to_a_database);
	tcase_add_test(tc, conf_checks_many_databases_in_a_moment);
	tcase_add_test(tc, conf_says_why_a_file_cannot_be_read);
	tcase_add_test(tc, conf_sets_an_option_by_name);
	tcase_add_test(tc, conf_set_is_the_default_of_databases_old_and_new);
	tcase_add_test(
	    tc, conf_change_is_refused_if_the_directory_could_not_have_it);
	tcase_add_loop_test(tc, conf_names_a_database_after_its_file, 0,
	    (int)(sizeof(specs) / sizeof(specs[0])));
	tcase_add_loop_test(tc, conf_refuses_what_is_no_file, 0, 5);
	tcase_add_test(tc, conf_takes_no_option_for_a_database);
	tcase_add_test(tc, conf_refuses_the_same_database_twice);
	tcase_add_test(tc, conf_example_file_is_the_generated_one);
	tcase_add_test(tc, conf_reads_its_example_uncommented);
	suite_add_tcase(s, tc);
	return s;
}

int
main(void)
{
	SRunner *sr = srunner_create(conf_suite());
	int failed;

	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
