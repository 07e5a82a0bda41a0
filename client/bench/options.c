/* options.c - argv into a plan. */
#include "client/bench/options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/bench/mix.h"

#define CLIENTS_DEFAULT   8
#define PROCESSES_DEFAULT 64
#define TIME_DEFAULT_S    10
#define WARMUP_DEFAULT_S  1
#define ROWS_DEFAULT      100000
#define TEXT_DEFAULT      100
#define RANGE_DEFAULT     100
#define LARGE_DEFAULT     10000
#define BULK_DEFAULT      1000

#define CLIENTS_MAX 100000
#define DEPTH_MAX   10000
#define ROWS_MAX    9999999999 /* ten digits are in a row's text */
#define SECONDS_MAX 86400
#define RATE_MAX    1e9
#define COUNT_MAX   1000000000000
#define TEXT_MIN    11
#define TEXT_MAX    1000000
#define PART_MAX    100000000 /* rows of a range and the like */

/* The long options that have no letter. */
enum {
	OPT_SQL = 256,
	OPT_ROWS,
	OPT_RANGE,
	OPT_LARGE,
	OPT_BULK,
	OPT_TEXT,
	OPT_SCALE,
	OPT_WARMUP,
	OPT_SEED,
	OPT_JSON,
	OPT_PER_CLIENT,
	OPT_HELP,
	OPT_VERSION,
};

static const char letters[] = ":s:ic:j:t:d:T:n:R:m:k:o:q";

/* clang-format off */
static const struct option long_options[] = {
	{ "socket",     required_argument, NULL, 's' },
	{ "init",       no_argument,       NULL, 'i' },
	{ "clients",    required_argument, NULL, 'c' },
	{ "processes",  required_argument, NULL, 'j' },
	{ "threads",    required_argument, NULL, 't' },
	{ "depth",      required_argument, NULL, 'd' },
	{ "time",       required_argument, NULL, 'T' },
	{ "count",      required_argument, NULL, 'n' },
	{ "rate",       required_argument, NULL, 'R' },
	{ "mix",        required_argument, NULL, 'm' },
	{ "sql",        required_argument, NULL, OPT_SQL },
	{ "keys",       required_argument, NULL, 'k' },
	{ "rows",       required_argument, NULL, OPT_ROWS },
	{ "range-rows", required_argument, NULL, OPT_RANGE },
	{ "large-rows", required_argument, NULL, OPT_LARGE },
	{ "bulk-rows",  required_argument, NULL, OPT_BULK },
	{ "text-bytes", required_argument, NULL, OPT_TEXT },
	{ "scale",      required_argument, NULL, OPT_SCALE },
	{ "warmup",     required_argument, NULL, OPT_WARMUP },
	{ "seed",       required_argument, NULL, OPT_SEED },
	{ "json",       no_argument,       NULL, OPT_JSON },
	{ "per-client", no_argument,       NULL, OPT_PER_CLIENT },
	{ "option",     required_argument, NULL, 'o' },
	{ "quiet",      no_argument,       NULL, 'q' },
	{ "help",       no_argument,       NULL, OPT_HELP },
	{ "version",    no_argument,       NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};
/* clang-format on */

static const char help[] =
    "Measures how much a database does, and how long it takes.\n"
    "DATABASE is a name that the daemon serves; it may be left out when there\n"
    "is only one.  First make the tables with --init.\n"
    "\n"
    "What is done:\n"
    "  -m, --mix=MIX         read, range, write, rmw, tpcb, large, bulk, sql, "
    "ping,\n"
    "                        or several with weights: read=90,write=10 "
    "(\"mixed\")\n"
    "      --sql=SQL         run this; :key and :random stand for numbers\n"
    "  -k, --keys=KEYS       uniform, zipf[=EXPONENT], serial, own (a row each)"
    "\n"
    "      --rows=N          use rows 1 to N; with --init: make them\n"
    "      --range-rows=N    rows of a range (100)\n"
    "      --large-rows=N    rows of a large result (10000)\n"
    "      --bulk-rows=N     rows of a bulk insert (1000)\n"
    "      --text-bytes=N    with --init: bytes of a row's text (100)\n"
    "      --scale=N         with --init: branches of tpcb (1)\n"
    "      --seed=N          other random numbers\n"
    "How much at once:\n"
    "  -c, --clients=N       connections (8)\n"
    "  -j, --processes=N     processes; by default one for each client, at "
    "most 64\n"
    "  -t, --threads=N       threads of each process (1)\n"
    "  -d, --depth=N         operations that a client has in flight (1)\n"
    "  -R, --rate=N          start N operations per second, whether others "
    "have\n"
    "                        ended or not; their time counts from when they "
    "were due\n"
    "How long:\n"
    "  -T, --time=SECONDS    (10)\n"
    "  -n, --count=N         operations of each client instead\n"
    "      --warmup=SECONDS  before anything is counted (1; with -n 0)\n"
    "Where:\n"
    "  -s, --socket=SOCKET   path of the daemon's socket; default:\n"
    "                        $SQLPOOL_SOCKET, else $XDG_RUNTIME_DIR/"
    "sqlpoold.sock,\n"
    "                        else /run/sqlpoold/sqlpoold.sock\n"
    "  -o, --option=NAME=VALUE\n"
    "                        prepare=no: send the text each time;\n"
    "                        tpcb=batch: the transaction as one request\n"
    "  -i, --init            make the tables, then end; old ones are dropped\n"
    "What is printed:\n"
    "      --json            one JSON object\n"
    "      --per-client      a line for each client\n"
    "  -q, --quiet           no progress\n"
    "      --help, --version\n";

__attribute__((format(printf, 1, 2))) static int
refuse(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s: Error: ", program_invocation_short_name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\nUse --help for a list of options.\n");
	return 2;
}

/* ---- numbers ---- */

static bool
read_uint(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	unsigned long long v;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || *end || v < min || v > max)
		return false;
	*ret = v;
	return true;
}

/* Also "2.5" and "1e4". */
static bool
read_real(const char *text, double max, double *ret)
{
	char *end;
	double v;

	if ((text[0] < '0' || text[0] > '9') && text[0] != '.')
		return false;
	v = strtod(text, &end);
	if (*end || end == text || !isfinite(v) || v > max)
		return false;
	*ret = v;
	return true;
}

/* An option as it was given. */
struct argument {
	int option;
	const char *name; /* the long one */
	const char *text; /* "" without one */
};

/* Where a number goes, and between what it must be. */
struct number {
	int option;
	uint64_t min, max;
	unsigned *to;     /* either */
	uint64_t *to_big; /* or */
};

/* Returns -1, the exit status, or 0 if it is none of these. */
static int
take_uint(struct bench_plan *plan, const struct argument *a)
{
	const struct number numbers[] = {
		{ 'c', 1, CLIENTS_MAX, &plan->clients_n, NULL },
		{ 'j', 1, CLIENTS_MAX, &plan->processes_n, NULL },
		{ 't', 1, CLIENTS_MAX, &plan->threads_n, NULL },
		{ 'd', 1, DEPTH_MAX, &plan->depth, NULL },
		{ 'n', 1, COUNT_MAX, NULL, &plan->count_n },
		{ OPT_ROWS, 1, ROWS_MAX, NULL, &plan->rows_n },
		{ OPT_RANGE, 1, PART_MAX, &plan->range_n, NULL },
		{ OPT_LARGE, 1, PART_MAX, &plan->large_n, NULL },
		{ OPT_BULK, 1, PART_MAX, &plan->bulk_n, NULL },
		{ OPT_TEXT, TEXT_MIN, TEXT_MAX, &plan->text_n, NULL },
		{ OPT_SCALE, 1, 10000, &plan->scale_n, NULL },
		{ OPT_SEED, 0, UINT64_MAX, NULL, &plan->seed },
	};
	uint64_t value;

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		const struct number *n = &numbers[i];

		if (n->option != a->option)
			continue;
		if (!read_uint(a->text, n->min, n->max, &value))
			return refuse("--%s takes a number from %llu to %llu, "
				      "not \"%s\"",
			    a->name, (unsigned long long)n->min,
			    (unsigned long long)n->max, a->text);
		if (n->to)
			*n->to = (unsigned)value;
		else
			*n->to_big = value;
		return -1;
	}
	return 0;
}

static int
take_real(double *to, const struct argument *a, double max)
{
	if (!read_real(a->text, max, to))
		return refuse("--%s takes a number up to %g, not \"%s\"",
		    a->name, max, a->text);
	return -1;
}

/* ---- words ---- */

static int
take_keys(struct bench_plan *plan, const char *text)
{
	static const char *const names[] = { [BENCH_UNIFORM] = "uniform",
		[BENCH_ZIPF] = "zipf",
		[BENCH_SERIAL] = "serial",
		[BENCH_OWN] = "own" };
	const char *equals = strchr(text, '=');
	size_t n = equals ? (size_t)(equals - text) : strlen(text);

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strlen(names[i]) != n || strncmp(names[i], text, n) != 0)
			continue;
		plan->keys = (enum bench_keys)i;
		if (!equals)
			return -1;
		if (i == BENCH_ZIPF &&
		    read_real(equals + 1, 10, &plan->zipf_s) &&
		    plan->zipf_s > 0)
			return -1;
	}
	return refuse("--keys is uniform, zipf, zipf=EXPONENT (up to 10), "
		      "serial or own, not \"%s\"",
	    text);
}

static int
take_mix(struct bench_plan *plan, const char *text)
{
	char why[200];

	if (mix_parse(text, plan->weight, why, sizeof(why)) < 0)
		return refuse("--mix: %s", why);
	return -1;
}

static int
take_driver_option(struct bench_plan *plan, const char *text)
{
	if (!strchr(text, '=') || text[0] == '=')
		return refuse("-o takes NAME=VALUE, not \"%s\"", text);
	if (plan->opt_n == sizeof(plan->opt) / sizeof(plan->opt[0]))
		return refuse("-o: too many of them");
	plan->opt[plan->opt_n++] = text;
	return -1;
}

/* ---- all of them ---- */

static void
print_help(void)
{
	printf("Usage: %s [OPTIONS] [DATABASE]\n%s",
	    program_invocation_short_name, help);
}

static int
take_flag(struct options *options, int option)
{
	switch (option) {
	case 'i':
		options->init = true;
		break;
	case 'q':
		options->quiet = true;
		break;
	case OPT_JSON:
		options->json = true;
		break;
	case OPT_PER_CLIENT:
		options->per_client = true;
		break;
	case OPT_HELP:
		print_help();
		return 0;
	case OPT_VERSION:
		printf(
		    "%s %s\n", program_invocation_short_name, SQLPOOLD_VERSION);
		return 0;
	}
	return -1;
}

static const char *
get_long_name(int option)
{
	const struct option *o = long_options;

	while (o->name && o->val != option)
		o++;
	return o->name ? o->name : "";
}

static int
refuse_option(int option, const char *written)
{
	if (option == ':')
		return refuse("--%s needs an argument", get_long_name(optopt));
	if (optopt && *get_long_name(optopt))
		return refuse("--%s takes no argument", get_long_name(optopt));
	if (optopt)
		return refuse("unknown option -%c", optopt);
	return refuse("unknown option %s", written);
}

static int
take(struct options *options, const struct argument *a)
{
	struct bench_plan *plan = &options->plan;
	int rc = take_uint(plan, a);

	if (rc != 0)
		return rc;
	switch (a->option) {
	case 's':
		plan->socket_path = a->text;
		return -1;
	case 'T':
		return take_real(&plan->time_s, a, SECONDS_MAX);
	case OPT_WARMUP:
		return take_real(&plan->warmup_s, a, SECONDS_MAX);
	case 'R':
		return take_real(&plan->rate, a, RATE_MAX);
	case 'm':
		return take_mix(plan, a->text);
	case 'k':
		return take_keys(plan, a->text);
	case 'o':
		return take_driver_option(plan, a->text);
	case OPT_SQL:
		plan->sql = a->text;
		return -1;
	default:
		return take_flag(options, a->option);
	}
}

static int
check_kinds(const struct bench_plan *plan, const struct bench_driver *driver)
{
	for (unsigned i = 0; i < BENCH_KINDS_N; i++)
		if (plan->weight[i] && !(driver->kinds >> i & 1))
			return refuse("--mix: %s cannot be done with %s",
			    mix_get_name((enum bench_kind)i), driver->name);
	if (bench_has(plan, BENCH_SQL) && !plan->sql)
		return refuse("--mix has sql: say which with --sql");
	if (plan->sql && !bench_has(plan, BENCH_SQL))
		return refuse("--sql is given, but --mix does not have sql");
	return -1;
}

/* What no driver has to be asked for. */
static int
check_all(struct options *options, const struct bench_driver *driver)
{
	struct bench_plan *plan = &options->plan;
	bool mixed = mix_get_kinds(plan) != 0;

	if (!mixed)
		plan->weight[plan->sql ? BENCH_SQL : BENCH_READ] = 1;
	if (plan->time_s > 0 && plan->count_n > 0)
		return refuse("-T and -n: give one of them");
	if (options->init && !driver->init)
		return refuse("there is no --init for %s", driver->name);
	if (plan->time_s <= 0 && plan->count_n == 0)
		plan->time_s = TIME_DEFAULT_S;
	if (plan->warmup_s < 0)
		plan->warmup_s = plan->count_n > 0 ? 0 : WARMUP_DEFAULT_S;
	if (plan->processes_n == 0)
		plan->processes_n = plan->clients_n < PROCESSES_DEFAULT
		    ? plan->clients_n
		    : PROCESSES_DEFAULT;
	if (plan->processes_n > plan->clients_n)
		return refuse("%u clients are too few for %u processes",
		    plan->clients_n, plan->processes_n);
	if ((uint64_t)plan->processes_n * plan->threads_n > plan->clients_n)
		return refuse("%u clients are too few for %u processes of %u "
			      "threads",
		    plan->clients_n, plan->processes_n, plan->threads_n);
	return check_kinds(plan, driver);
}

int
options_read(struct options *options, int argc, char **argv,
    const struct bench_driver *driver)
{
	int option, rc = -1;

	*options = (struct options){
		.plan = {
			.clients_n = CLIENTS_DEFAULT,
			.threads_n = 1,
			.depth = 1,
			.warmup_s = -1,
			.zipf_s = 1,
			.range_n = RANGE_DEFAULT,
			.bulk_n = BULK_DEFAULT,
			.async_kinds = driver->async_kinds,
		},
	};
	opterr = 0;
	while (rc < 0 &&
	    (option = getopt_long(argc, argv, letters, long_options, NULL)) >=
		0) {
		struct argument a = { option, get_long_name(option),
			optarg ? optarg : "" };

		if (option == ':' || option == '?')
			rc = refuse_option(option, argv[optind - 1]);
		else
			rc = take(options, &a);
	}
	if (rc >= 0)
		return rc;
	if (argc - optind > 1)
		return refuse("more than one database: %s", argv[optind + 1]);
	options->plan.database = argv[optind];
	return check_all(options, driver);
}

int
options_finish(struct options *options, const struct bench_driver *driver)
{
	struct bench_plan *plan = &options->plan;
	unsigned blocking = mix_get_kinds(plan) & ~plan->async_kinds;

	if (plan->rows_n == 0)
		plan->rows_n = ROWS_DEFAULT;
	if (plan->text_n == 0)
		plan->text_n = TEXT_DEFAULT;
	if (plan->scale_n == 0)
		plan->scale_n = 1;
	if (plan->large_n == 0)
		plan->large_n = plan->rows_n < LARGE_DEFAULT
		    ? (unsigned)plan->rows_n
		    : LARGE_DEFAULT;
	if (bench_has(plan, BENCH_RANGE) && plan->range_n > plan->rows_n)
		return refuse("a range of %u rows does not fit into %llu",
		    plan->range_n, (unsigned long long)plan->rows_n);
	if (bench_has(plan, BENCH_LARGE) && plan->large_n > plan->rows_n)
		return refuse("a result of %u rows does not fit into %llu",
		    plan->large_n, (unsigned long long)plan->rows_n);
	if (blocking && plan->depth > 1)
		return refuse("%s of %s has one operation in flight: -d 1",
		    mix_get_name((enum bench_kind)__builtin_ctz(blocking)),
		    driver->name);
	if (blocking && plan->threads_n > 1)
		return refuse("%s of %s blocks: a client has a thread of its "
			      "own, leave out -t",
		    mix_get_name((enum bench_kind)__builtin_ctz(blocking)),
		    driver->name);
	return -1;
}
