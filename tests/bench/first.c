/* first.c - how long the first query on a database takes, and how long later ones
 * do, each about another table, so that none finds its statement prepared.  Before
 * it the program asks @admin and sends PINGs, which do not touch the database: its
 * own code has been run then, and both sides are awake.
 *
 * Later ones are timed twice: in a row, and each after the same as the first, that
 * is a pause and as many requests.  For by then the processor's caches have lost
 * SQLite's code and the schema (NOTES.md, "The first query").
 *
 *	first SOCKET DATABASE TABLES
 *
 * The database has the tables t0, t1, ... with a column id.  One JSON object is
 * printed.
 *
 * Thread: one. */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <sqlpool.h>

#define LATER_N  101
#define RESTED_N 21
#define WARMUP_N 100

/* In make bench 11 to 16 ms pass between what the daemon has SQLite do at the start
 * and the first query, 6 to 8 of them in warm_up. */
#define PAUSE_US 5000

static double
get_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void
ask(struct sqlpool_conn *conn, const char *sql)
{
	struct sqlpool_result *result;

	if (sqlpool_query(conn, sql, NULL, 0, &result) < 0 ||
	    sqlpool_next(result) != SQLPOOL_ROW)
		errx(1, "%s: %s", sql, sqlpool_get_error(conn)->message);
	sqlpool_result_free(result);
}

static double
time_query(struct sqlpool_conn *conn, unsigned long table)
{
	double began_us = get_now_us();
	char sql[64];

	snprintf(
	    sql, sizeof(sql), "SELECT count(*) FROM t%lu WHERE id = 1", table);
	ask(conn, sql);
	return get_now_us() - began_us;
}

static struct sqlpool_conn *
connect_to(const char *socket_path, const char *database)
{
	struct sqlpool_options options = SQLPOOL_OPTIONS;
	struct sqlpool_conn *conn;

	options.socket_path = socket_path;
	options.database = database;
	if (sqlpool_open(&options, &conn) < 0)
		errx(1, "%s", sqlpool_get_error(conn)->message);
	return conn;
}

static void
warm_up(struct sqlpool_conn *conn, struct sqlpool_conn *admin)
{
	for (int i = 0; i < WARMUP_N; i++)
		ask(admin, "SHOW VERSION");
	for (int i = 0; i < WARMUP_N; i++)
		if (sqlpool_ping(conn) < 0)
			errx(1, "%s", sqlpool_get_error(conn)->message);
}

static int
compare(const void *a, const void *b)
{
	double x, y;

	x = *(const double *)a;
	y = *(const double *)b;
	return (x > y) - (x < y);
}

static double
find_median(double *us, size_t n)
{
	qsort(us, n, sizeof(us[0]), compare);
	return us[n / 2];
}

static double
time_later(struct sqlpool_conn *conn)
{
	double us[LATER_N];

	for (unsigned long i = 0; i < LATER_N; i++)
		us[i] = time_query(conn, 1 + i);
	return find_median(us, LATER_N);
}

static double
time_rested(struct sqlpool_conn *conn, struct sqlpool_conn *admin)
{
	double us[RESTED_N];

	for (unsigned long i = 0; i < RESTED_N; i++) {
		usleep(PAUSE_US);
		warm_up(conn, admin);
		us[i] = time_query(conn, 1 + LATER_N + i);
	}
	return find_median(us, RESTED_N);
}

int
main(int argc, char **argv)
{
	unsigned long tables_n = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;
	double first_us, later_us, rested_us;
	struct sqlpool_conn *conn, *admin;

	if (tables_n <= LATER_N + RESTED_N)
		errx(2, "usage: first SOCKET DATABASE TABLES, more than %d",
		    LATER_N + RESTED_N);
	conn = connect_to(argv[1], argv[2]);
	admin = connect_to(argv[1], "@admin");
	warm_up(conn, admin);
	first_us = time_query(conn, 0);
	later_us = time_later(conn);
	rested_us = time_rested(conn, admin);
	sqlpool_close(admin);
	sqlpool_close(conn);
	printf("{\"first_us\": %.1f, \"later_us\": %.1f, "
	       "\"rested_us\": %.1f, \"to_later\": %.3f, "
	       "\"to_rested\": %.3f}\n",
	    first_us, later_us, rested_us, first_us / later_us,
	    first_us / rested_us);
	return 0;
}
