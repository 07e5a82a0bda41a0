/* files.c - the limit of file descriptors. */
#include "daemon/files.h"

#include <sys/resource.h>

#include "daemon/log.h"

/* Of the writer, the keeper and two workers, each with the file and its WAL. */
#define FILES_PER_DB UINT64_C(8)
/* Standard ones, the log, event loops. */
#define FILES_ELSE 64
/* With fewer there is nothing to share. */
#define ROOM_LEAST 32

/* What takes descriptors. */
struct load {
	uint32_t max_clients;
	uint64_t dbs_n; /* that are open at one time */
};

static struct load
get_load(const struct conf *conf, uint32_t max_clients, uint32_t max_open)
{
	return (struct load){ max_clients,
		conf->db_n + (conf->directory[0] ? max_open : 0) };
}

static uint64_t
count_files(const struct load *load)
{
	return FILES_ELSE + load->max_clients + FILES_PER_DB * load->dbs_n;
}

static void
say_too_few(const struct load *load, rlim_t most, char *err)
{
	snprintf(err, CONF_ERR_MAX,
	    "at most %llu file descriptors are allowed (RLIMIT_NOFILE), and "
	    "max_clients = %u with %llu open databases needs %llu: raise the "
	    "limit (LimitNOFILE= of the service), or lower max_clients or "
	    "max_open",
	    (unsigned long long)most, load->max_clients,
	    (unsigned long long)load->dbs_n,
	    (unsigned long long)count_files(load));
}

static bool
is_given(const struct conf *conf, enum conf_id id)
{
	return conf->origins[id].from != CONF_FROM_DEFAULT;
}

/* Half for those of the directory, at most; the rest for clients. */
static void
lower(struct conf *conf, uint64_t files_n)
{
	uint64_t taken_n = FILES_ELSE + FILES_PER_DB * conf->db_n;
	uint64_t room_n = files_n > taken_n ? files_n - taken_n : 0;

	if (room_n < ROOM_LEAST)
		return;
	if (conf->directory[0]) {
		uint64_t most = room_n / 2 / FILES_PER_DB;

		if (conf->max_open > most)
			conf->max_open = (uint32_t)most;
		room_n -= FILES_PER_DB * conf->max_open;
	}
	if (conf->max_clients > room_n)
		conf->max_clients = (uint32_t)room_n;
}

int
files_fit(struct conf *conf, char err[CONF_ERR_MAX])
{
	struct load load = get_load(conf, conf->max_clients, conf->max_open);
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
		return 0;
	lim.rlim_cur = lim.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &lim) < 0 ||
	    lim.rlim_max >= count_files(&load))
		return 0;
	say_too_few(&load, lim.rlim_max, err);
	if (is_given(conf, CONF_ID_max_clients) ||
	    is_given(conf, CONF_ID_max_open))
		return -1;
	lower(conf, lim.rlim_max);
	log_warn("%s; until then max_clients is %u, and max_open %u", err,
	    conf->max_clients, conf->max_open);
	return 0;
}

/* What is no more than it was is always good: it may be the first of two changes. */
int
files_fit_change(const struct conf *conf, const struct conf_change *change,
    char err[CONF_ERR_MAX])
{
	uint32_t max_clients = conf->max_clients, max_open = conf->max_open;
	struct load now = get_load(conf, max_clients, max_open), then;
	struct rlimit lim;

	if (change->id == CONF_ID_max_clients)
		max_clients = (uint32_t)change->n;
	else if (change->id == CONF_ID_max_open)
		max_open = (uint32_t)change->n;
	then = get_load(conf, max_clients, max_open);
	if (count_files(&then) <= count_files(&now) ||
	    getrlimit(RLIMIT_NOFILE, &lim) < 0 ||
	    lim.rlim_cur >= count_files(&then))
		return 0;
	say_too_few(&then, lim.rlim_cur, err);
	return -1;
}
