/* check_conf.c - the configuration: what is read, what is refused and how. */
#include "conf/conf.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
	{ "workers = 65\n", 1, "workers = 65 is out of range: write 0 to 64" },
	{ "workers = -1\n", 1, "write a whole number" },
	{ "workers = 4s\n", 1, "workers = 4s: write a whole number" },
	{ "workers = 99999999999999999999\n", 1, "write a whole number" },
	{ "\n\nsocket_mode = 0668\n", 3, "write an octal mode" },
	{ "socket_mode = 1777\n", 1, "write 0000 to 0777" },
	{ "request_timeout = 5\n", 1, "us, ms, s, min or h" },
	{ "request_timeout = 5 s\n", 1, "us, ms, s, min or h" },
	{ "request_timeout = 5sec\n", 1, "us, ms, s, min or h" },
	{ "request_timeout = 25h\n", 1, "write off to 24h" },
	{ "batch_time = off\n", 1, "write 100us to 1s" },
	{ "max_frame = 65MB\n", 1, "write 64KB to 64MB" },
	{ "max_frame = 1024\n", 1, "B, KB, MB or GB" },
	{ "log_level = loud\n", 1, "write error, warn, info or debug" },
	{ "foreign_keys = 2\n", 1, "write on or off" },
	{ "path = \"x.db\"\n", 1, "path belongs to one database" },
	{ "database a {\n\tsynchronous = off\n}\n", 2, "write full or normal" },
	{ "database a {\n}\n", 2, "database a has no path" },
	{ "database a { path = \"\" }\n", 1, "path is empty" },
	{ "database a { path = x.db }\ndatabase a { path = y.db }\n", 2,
	  "database a is there already, with path x.db" },
	{ "database a { path = x.db }\ndatabase b { path = x.db }\n", 2,
	  "x.db is already database a" },
	{ "database a {\n\tpath = x.db\n\tworkers = 3\n}\n", 3,
	  "workers is not an option of one database" },
	{ "database .a { path = x.db }\n", 1, "database name \".a\"" },
	{ "database \"a b\" { path = x.db }\n", 1, "database name \"a b\"" },
	{ "database \"@a\" { path = x.db }\n", 1, "database name \"@a\"" },
	{ "database { path = x.db }\n", 1, "" },
	{ "workers 4\n", 1, "" },
	{ "socket = \"/run/x\n", 2, "" },
	{ "\"{reading}\" = 1\n", 1, "" },
};
/* clang-format on */

START_TEST(conf_refuses_with_file_line_and_remedy)
{
	char place[300];

	ck_assert_int_eq(read_text(bad_files[_i].text), -1);
	snprintf(place, sizeof(place), "%s:%d: ", file, bad_files[_i].line);
	assert_says(place);
	assert_says(bad_files[_i].says);
	ck_assert_ptr_null(strchr(err, '\n'));
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
	tcase_add_loop_test(tc, conf_refuses_with_file_line_and_remedy, 0,
	    (int)(sizeof(bad_files) / sizeof(bad_files[0])));
	tcase_add_test(tc, conf_refuses_a_socket_path_too_long_for_the_kernel);
	tcase_add_test(tc, conf_says_why_a_file_cannot_be_read);
	tcase_add_test(tc, conf_sets_an_option_by_name);
	tcase_add_test(tc, conf_set_is_the_default_of_databases_old_and_new);
	tcase_add_loop_test(tc, conf_names_a_database_after_its_file, 0,
	    (int)(sizeof(specs) / sizeof(specs[0])));
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
